//! A held request goes on its way: taken once, decided anew, sent once, and what became of it is kept.
//!
//! Never ends half way because a browser turned away, as a second click on the button makes it do. Invariant: before it
//! is decided anew, whoever looks at its page is told that it is on its way.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::browser::Browser;
use super::{factors, fate, held, thaw};
use crate::body::Body;
use crate::gateway::Worker;
use crate::identify::Identity;
use crate::inbound::Inbound;
use crate::pages;
use crate::pipeline::{self, End, Visit};
use crate::rejection::Rejection;
use crate::stepup::challenge::Challenge;
use crate::stepup::fate::Fate;
use crate::types::ChallengeId;

/// One click on the button.
pub(super) struct Release {
    pub worker: Arc<Worker>,
    /// Whoever clicked.
    pub visit: Visit,
    pub identity: Arc<Identity>,
    pub challenge: Challenge,
}

impl Release {
    /// `None` if there is nothing to release, or not any more.
    pub async fn run(self) -> Result<Option<Response<Body>>, End> {
        let (gateway, head) = (&self.worker.gateway, &self.visit.head);
        let Challenge { id, account, credential, .. } = &self.challenge;
        let taken = gateway.store.take_held(id, account, credential, head.received).await;
        let taken = taken.map_err(|error| End::from(self.visit.store_failed(&error)))?;
        let Some(sealed) = taken else { return Ok(None) };
        let Some((inbound, body)) = held::open(gateway, id, &sealed, head) else {
            return Err(self.not_sent(GONE).await);
        };
        if !self.visit.site.hosts.iter().any(|host| **host == *inbound.host) {
            return Err(self.not_sent(Rejection::Misdirected).await);
        }
        self.send(inbound, body).await.map(Some)
    }

    async fn send(&self, inbound: Inbound, body: Bytes) -> Result<Response<Body>, End> {
        let (gateway, id) = (&self.worker.gateway, &self.challenge.id);
        let mut again = self.visit.again(inbound)?;
        again.releases(id.clone());
        let sending = Fate::Sending { since: again.head.received };
        fate::keep_if_possible(gateway, id, &sending).await;
        let ended = match super::is_own(again.head.path()) {
            true if thaw::is_it(again.head.path()) => {
                thaw::released(&self.worker, &again, &self.identity, body).await
            }
            true => {
                let browser = Browser::of(gateway, &self.visit.head.headers);
                factors::released(&self.worker, &again, &self.identity, &browser, body).await
            }
            false => pipeline::release(&self.worker, &again, body, self.identity.clone()).await,
        };
        if let Some(fate) = self.unsent(&ended) {
            fate::keep_if_possible(gateway, id, &fate).await;
        }
        Ok(again.close(gateway, ended))
    }

    /// What became of what did not reach the exchange; of the rest, whoever sent it tells.
    fn unsent(&self, ended: &Result<Response<Body>, End>) -> Option<Fate> {
        match ended {
            Ok(_) => None,
            Err(End::Answer(response)) => {
                let challenge = response.headers().get("step-up-challenge")?.to_str().ok()?;
                Some(Fate::AskedAgain { challenge: ChallengeId::new(challenge) })
            }
            Err(End::Reject(Rejection::NoAnswer { .. } | Rejection::BadGateway)) => None,
            Err(End::Reject(rejection)) => Some(self.refused(rejection)),
        }
    }

    async fn not_sent(&self, rejection: Rejection) -> End {
        let fate = self.refused(&rejection);
        fate::keep_if_possible(&self.worker.gateway, &self.challenge.id, &fate).await;
        rejection.into()
    }

    fn refused(&self, rejection: &Rejection) -> Fate {
        let why = pages::kind_of(rejection).to_owned();
        Fate::NotSent { at: self.worker.gateway.clock.now(), why }
    }
}

const GONE: Rejection = Rejection::Unavailable("what was held cannot be opened any more");
