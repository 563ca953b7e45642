//! What is remembered: one JSON line per decision that matters, hash-linked and signed (INCIDENTS
//! 11).
//!
//! Never answers "written" before the line is durable. Invariant: no record, no forward. If the log
//! cannot be written, guarded actions are refused and the rest of the traffic goes on.

pub mod chain;
mod journal;
pub mod keys;
pub mod record;
pub mod redact;
pub mod sink;
mod verify;

pub use chain::{Break, Signer, Summary};
pub use journal::OpenError;
pub use keys::Keys;
pub use record::{Event, PlaceNoted, Record, RequestState, RuleNoted, ShadowNoted};
pub use sink::{Audit, AuditError, Settings};
pub use verify::{VerifyError, verify_files};

use crate::locate::Place;
use crate::policy::shadow::Observed;
use crate::policy::verdict::Said;

impl From<&Place> for PlaceNoted {
    fn from(place: &Place) -> Self {
        Self {
            country: place.country.clone(),
            city: place.city.clone(),
            asn: place.asn,
            network: place.network.word().into(),
        }
    }
}

impl From<&Said> for RuleNoted {
    fn from(said: &Said) -> Self {
        Self {
            rule: said.rule.clone(),
            outcome: said.outcome.into(),
            shadow: said.shadow,
            satisfied: said.satisfied,
        }
    }
}

impl From<&Observed> for ShadowNoted {
    fn from(observed: &Observed) -> Self {
        Self {
            policy: observed.version.clone(),
            verdict: observed.verdict.into(),
            rules: observed.said.iter().map(RuleNoted::from).collect(),
            differs: observed.differs,
            factors: observed.factors.clone(),
            until: observed.until,
        }
    }
}
