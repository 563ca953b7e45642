//! What one operator asked for waits here for a second one: asked, shown, approved once, or refused.
//!
//! Never approved by whoever asked: tokens tell operators apart, not what they say of themselves. Invariant: whoever
//! takes a request off the board is the one who carries it out, so that of any number of approvals, at any gateways, one
//! does something.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Desk, down};
use crate::admin::request::FactorNamed;
use crate::admin::{OperationError, Order, RequestSeen, Waiting};
use crate::audit::{Event, Record};
use crate::crypto::hex;
use crate::gateway::Gateway;
use crate::store::Enrolled;
use crate::store::board::{Board, Posted};
use crate::types::{AccountId, Factor, UnixMs};

/// What would be done. Secrets are sealed, as they will be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Reset(AccountId, Factor),
    Import(Vec<(AccountId, Enrolled)>),
}

/// A request as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub change: Change,
    /// The factors of its accounts as they were: whoever approves means these, not what came later.
    #[serde(default)]
    pub of: Vec<(Factor, UnixMs)>,
    /// How the record names whoever asked.
    pub by: String,
    /// Whose token it was.
    pub operator: String,
    pub reason: String,
    pub since: UnixMs,
}

impl Wanted {
    fn seen(&self, id: &str, until: UnixMs) -> RequestSeen {
        let named = |account: &AccountId, factor, label: Option<&String>| FactorNamed {
            account: account.clone(),
            factor,
            label: label.cloned(),
        };
        let (what, of) = match &self.change {
            Change::Reset(account, factor) => ("reset", vec![named(account, *factor, None)]),
            Change::Import(all) => {
                let one = |(account, it): &(AccountId, Enrolled)| {
                    named(account, it.factor, Some(&it.label))
                };
                ("import", all.iter().map(one).collect())
            }
        };
        let (by, reason) = (self.by.clone(), self.reason.clone());
        let (id, what) = (id.to_owned(), what.to_owned());
        RequestSeen { id, what, of, by, reason, since: self.since, until }
    }
}

impl Desk {
    pub(super) async fn ask_for(
        &self,
        change: Change,
        order: Order,
    ) -> Result<Waiting, OperationError> {
        let gateway = self.gateway();
        let now = gateway.clock.now();
        let operator = order.operator.to_string();
        let Order { by, reason, .. } = order;
        let of = self.state_of(&change).await?;
        let wanted = Wanted { change, of, by, operator, reason, since: now };
        let (id, until) = (new_id(gateway), now.plus_ms(WAITS_MS));
        let value = serde_json::to_vec(&wanted)
            .map_err(|error| OperationError::Unavailable(error.to_string()))?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(OperationError::Refused(
                "so much cannot wait: ask for it in parts".to_owned(),
            ));
        }
        let posted = Posted { id: id.clone(), value, until };
        if !gateway.store.post(Board::Requests, posted, now).await.map_err(down)? {
            let why = "too much waits for a second operator already: approve or refuse some of it first \
                       (stepgate factor pending)";
            return Err(OperationError::Refused(why.to_owned()));
        }
        let note = format!("operator:{} asks a second operator for request {id}", wanted.by);
        self.note_each(&wanted, &note);
        Ok(Waiting { id, until })
    }

    pub(super) async fn do_requests(&self) -> Result<Vec<RequestSeen>, OperationError> {
        let mut all: Vec<RequestSeen> = self
            .waiting()
            .await?
            .iter()
            .map(|(posted, wanted)| wanted.seen(&posted.id, posted.until))
            .collect();
        all.sort_by_key(|seen| seen.since.0);
        Ok(all)
    }

    pub(super) async fn do_approve(
        &self,
        id: String,
        order: Order,
    ) -> Result<RequestSeen, OperationError> {
        let (posted, wanted) = self.waits(&id).await?;
        if *wanted.operator == *order.operator {
            let why = format!(
                "you ({}) asked for this yourself: another operator has to approve it",
                order.operator
            );
            return Err(OperationError::Refused(why));
        }
        self.take(&id).await?;
        let seen = wanted.seen(&id, posted.until);
        if self.state_of(&wanted.change).await? != wanted.of {
            let why = format!(
                "the account's factors were changed since request {id} was made, so it is off: ask anew"
            );
            return Err(OperationError::Refused(why));
        }
        self.record_approval(&wanted, &order, &id).await?;
        if let Err(error) = self.carry_out(wanted, &order.by).await {
            let why = format!("{error}; request {id} is used up: see what was done, and ask anew");
            return Err(OperationError::Unavailable(why));
        }
        Ok(seen)
    }

    pub(super) async fn do_refuse(
        &self,
        id: String,
        order: Order,
    ) -> Result<RequestSeen, OperationError> {
        let (posted, wanted) = self.waits(&id).await?;
        self.take(&id).await?;
        let note = format!("operator:{} refuses request {id}: {}", order.by, order.reason);
        self.note_each(&wanted, &note);
        Ok(wanted.seen(&id, posted.until))
    }

    async fn waiting(&self) -> Result<Vec<(Posted, Wanted)>, OperationError> {
        let gateway = self.gateway();
        let notes = gateway.store.posted(Board::Requests, gateway.clock.now()).await;
        let notes = notes.map_err(down)?.into_iter();
        // What another version wrote can neither be shown nor approved here, and ends by itself.
        let read = |posted: Posted| {
            let wanted = serde_json::from_slice(&posted.value).ok()?;
            Some((posted, wanted))
        };
        Ok(notes.filter_map(read).collect())
    }

    async fn waits(&self, id: &str) -> Result<(Posted, Wanted), OperationError> {
        let mut all = self.waiting().await?.into_iter();
        all.find(|(posted, _)| posted.id == id).ok_or_else(|| gone(id))
    }

    async fn take(&self, id: &str) -> Result<(), OperationError> {
        let gateway = self.gateway();
        let taken = gateway.store.take_down(Board::Requests, id, gateway.clock.now()).await;
        taken.map_err(down)?.map(drop).ok_or_else(|| gone(id))
    }

    /// Which factors the accounts in question have, and since when.
    async fn state_of(&self, change: &Change) -> Result<Vec<(Factor, UnixMs)>, OperationError> {
        let accounts: BTreeSet<&AccountId> = match change {
            Change::Reset(account, _) => [account].into(),
            Change::Import(all) => all.iter().map(|(account, _)| account).collect(),
        };
        let mut state = Vec::new();
        for account in accounts {
            let known = self.gateway().store.factors(account).await.map_err(down)?;
            state.extend(known.iter().map(|it| (it.factor, it.since)));
        }
        Ok(state)
    }

    /// No record, no deed: it is durable before anything is done.
    async fn record_approval(
        &self,
        wanted: &Wanted,
        order: &Order,
        id: &str,
    ) -> Result<(), OperationError> {
        let note = format!("operator:{} approves request {id}", order.by);
        self.note_each(wanted, &note);
        let record = Record::new(self.gateway().clock.now(), Event::Operator).with_note(note);
        self.gateway().audit.commit(record).await.map_err(|error| {
            let why = format!("{error}: nothing was done, and request {id} is used up; ask anew");
            OperationError::Unavailable(why)
        })
    }

    /// One line for each account, so that it is found where that account is looked for.
    fn note_each(&self, wanted: &Wanted, note: &str) {
        let now = self.gateway().clock.now();
        let one = |account: &AccountId, what: String| {
            let record = Record::new(now, Event::Operator).of_account(account);
            self.gateway().audit.note(record.with_note(format!("{note}: {what}")));
        };
        match &wanted.change {
            Change::Reset(account, factor) => {
                one(account, format!("{} reset: {}", factor.word(), wanted.reason));
            }
            Change::Import(all) => {
                for (account, enrolled) in all {
                    one(account, format!("{} import: {}", enrolled.factor.word(), enrolled.label));
                }
            }
        }
    }
}

/// Short enough to be typed, and without a dash at its beginning.
pub(super) fn new_id(gateway: &Gateway) -> String {
    let mut bytes = [0; 16];
    gateway.entropy.fill(&mut bytes);
    hex(&bytes)
}

fn gone(id: &str) -> OperationError {
    OperationError::NotFound(format!(
        "nothing waits under {id}: it was approved or refused, or nobody did within an hour"
    ))
}

const WAITS_MS: u64 = 3_600_000;
/// Of 64 requests at the most; every look at them reads them all.
const VALUE_BYTES_MAX: usize = 256 * 1024;
