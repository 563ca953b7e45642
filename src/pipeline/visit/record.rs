//! The lines that a request leaves in the audit log, and how it ends.
//!
//! Never written for ordinary traffic that passes: only guarded actions, refusals, challenges and, now and then, what a
//! shadow rule or a candidate policy would have done leave a line. Invariant: a guarded request's intent is durable
//! before its first byte goes upstream.

use super::{Grounds, Visit};
use crate::audit::{Event, PlaceNoted, Record, RequestState};
use crate::gateway::Gateway;
use crate::policy::told::Told;
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, Scope};
use crate::store::{Settled, StoreError};
use crate::types::{Factor, FactorSet, UnixMs};

impl Visit {
    fn blank(&self, time: UnixMs, event: Event) -> Record {
        let learnt = self.learnt();
        let mut record = Record::new(time, event);
        record.request = Some(self.head.request.clone());
        record.site = Some(self.site.name.clone());
        if let Some(identity) = &learnt.identity {
            record = record.of_account(&identity.account).with_credential(&identity.credential);
        }
        record.client = Some(self.head.client);
        record.place = Some(PlaceNoted::from(self.place()));
        record.method = Some(self.head.method.as_str().into());
        record.path = Some(self.head.path().into());
        record.action = learnt.action.clone();
        record.shown = learnt.shown.clone();
        let Grounds { facts, elements, elevations, holds } = learnt.grounds.clone();
        record.facts = facts;
        record.elements = elements;
        record.elevations = elevations;
        record.holds = holds;
        record.rules = learnt.rules.clone();
        record.policy = Some(self.site.policy.version().clone());
        record.verdict = learnt.verdict.map(Into::into);
        record.shadow = learnt.overheard.as_ref().map(|it| it.noted.clone());
        record.challenge = learnt.challenge.clone();
        record.intent = learnt.intent;
        record
    }

    /// Writes a line without waiting for the disk.
    pub(crate) fn note(&self, gateway: &Gateway, event: Event, fill: impl FnOnce(&mut Record)) {
        let mut record = self.blank(gateway.clock.now(), event);
        fill(&mut record);
        gateway.audit.note(record);
    }

    /// A line about a challenge.
    pub(crate) fn note_challenge(
        &self,
        gateway: &Gateway,
        event: Event,
        challenge: &Challenge,
        factor: Option<Factor>,
    ) {
        self.note(gateway, event, |record| {
            if record.verdict.is_none() {
                // Nothing was decided here: what is answered are the terms of the policy that asked.
                record.policy = Some(challenge.policy.clone());
            }
            record.challenge = Some(challenge.id.clone());
            record.action = Some(challenge.action.clone());
            record.shown = challenge.shown.clone();
            record.factor = factor;
            if let Scope::Intent(intent) = challenge.scope {
                record.intent = Some(intent);
            }
        });
    }

    /// The intent record: it must be durable before the first byte goes upstream.
    pub(in crate::pipeline) fn intent(&self, gateway: &Gateway, factors: FactorSet) -> Record {
        let mut record = self.blank(gateway.clock.now(), Event::Intent);
        record.state = Some(RequestState::Sending);
        record.factor = factors.iter().next();
        record
    }

    /// For the task that outlives this visit.
    pub(in crate::pipeline) fn closing(&self) -> Closing {
        let record = self.blank(self.head.received, Event::Outcome);
        // The intent record says them already.
        Closing(Record {
            facts: Told::new(),
            elements: None,
            elevations: Vec::new(),
            holds: Vec::new(),
            ..record
        })
    }

    /// The store gave no answer: said in the log, refused to the client.
    pub(crate) fn store_failed(&self, error: &StoreError) -> Rejection {
        tracing::error!(%error, request = %self.head.request, "the store gave no answer");
        Rejection::Unavailable("the store gave no answer")
    }
}

/// The last line of a guarded request, written when the upstream has answered or has not.
pub(in crate::pipeline) struct Closing(Record);

impl Closing {
    /// Its intent could not be recorded, so nothing was sent. Not waited for: the log is what is broken.
    pub(in crate::pipeline) fn unsent(mut self, gateway: &Gateway, now: UnixMs) {
        self.0.time = now;
        self.0.state = Some(RequestState::Refused);
        gateway.audit.note(self.0);
    }

    /// Durable when this returns, or waiting for a disk that works again. It comes before the store settles: a crash in
    /// between leaves an attempt that the next start calls unknown although its end is recorded here, and never an
    /// attempt of which nothing is recorded.
    pub(in crate::pipeline) async fn outcome(
        mut self,
        gateway: &Gateway,
        settled: Settled,
        status: Option<u16>,
        now: UnixMs,
    ) {
        self.0.time = now;
        self.0.upstream_status = status;
        self.0.state = Some(match settled {
            Settled::Done => RequestState::Done,
            Settled::Refused => RequestState::Refused,
            Settled::Unknown => RequestState::Unknown,
        });
        if gateway.audit.commit(self.0.clone()).await.is_err() {
            gateway.audit.note(self.0);
        }
    }
}
