//! A guarded request from its beginning to its end: what the store is told of it, and what it answers.
//!
//! Never says more than was made durable. Invariant: what is counted is counted before it is sent, and given back only
//! where it is known that nothing happened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::policy::facts::{AddressFacts, Counters, HoldRunning};
use crate::stepup::Proof;
use crate::stepup::challenge::Challenge;
use crate::types::{AccountId, ActionName, AttemptId, Credential, IntentDigest, SiteName, UnixMs};

/// A guarded request that asks to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    pub attempt: AttemptId,
    pub site: SiteName,
    pub account: AccountId,
    pub credential: Credential,
    pub action: ActionName,
    pub intent: IntentDigest,
    /// What it would add to the action's counters: one, and its value if it has a price.
    pub usd: Option<crate::policy::facts::Decimal>,
    /// The destination, as `destination_key` spells it, if the action has one.
    pub destination: Option<Arc<str>>,
}

/// Everything that the store says to one beginning: its reservation is made, its grant (if one fits) is taken.
#[derive(Debug)]
pub struct Begun {
    pub standing: Standing,
    /// Totals without this attempt's own reservation, with those of all others still open.
    pub counters: Counters,
    pub address: Option<AddressFacts>,
    pub holds: Vec<HoldRunning>,
    /// An approved challenge for exactly this account, credential and intent; it is used now.
    pub proof: Option<Proof>,
    /// The challenge that is already open for this intent or place, if any.
    pub open: Option<Challenge>,
}

/// A guarded request that somebody only asks about.
#[derive(Clone, Debug)]
pub struct Consult {
    pub account: AccountId,
    pub credential: Credential,
    pub intent: IntentDigest,
    /// As `destination_key` spells it.
    pub destination: Option<Arc<str>>,
}

/// What `begin` would say to it now, its grant and its challenge left out.
#[derive(Clone, Debug)]
pub struct Consulted {
    pub standing: Standing,
    pub counters: Counters,
    pub address: Option<AddressFacts>,
    pub holds: Vec<HoldRunning>,
}

/// How a forwarded attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The exchange accepted; counters stay.
    Done,
    /// The exchange refused (4xx or its own error code), or nothing was sent: counters are given back.
    Refused,
    /// No answer, or the gateway stopped in between: counters stay.
    Unknown,
}

/// What an accepted action teaches the address book. The destination counts as verified if the
/// attempt took a grant: the owner then approved exactly the request that named it. One that is
/// added or removed begins its holds anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learn {
    /// `address_book.add` or a change: known from now, and new.
    Added {
        destination: Arc<str>,
    },
    Removed {
        destination: Arc<str>,
    },
    /// A withdrawal to it was accepted.
    Used {
        destination: Arc<str>,
    },
}

/// An attempt that was `sending` when its gateway stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub attempt: AttemptId,
    pub site: SiteName,
    pub account: AccountId,
    pub credential: Credential,
    pub action: ActionName,
    pub intent: IntentDigest,
    pub began: UnixMs,
}
