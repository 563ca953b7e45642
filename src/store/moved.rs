//! State on its way from one store into another: what a backup holds.
//!
//! Never holds what must not come back: challenges, grants, elevations, attempts and unsent messages are void in a
//! store that was restored, and the owner is asked again. Invariant: every record says one thing about one account (or
//! one number, or one common key) and can be put back in any order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Enrolled, Freeze, NumberKey};
use crate::locate::travel::Sighting;
use crate::policy::facts::HoldRunning;
use crate::stepup::attempts::Tally;
use crate::types::{AccountId, ActionName, Credential, UnixMs};

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// What protects an account. Sealed secrets stay sealed.
    Account {
        account: AccountId,
        frozen: Option<Freeze>,
        security_changed: Option<UnixMs>,
        factors: Vec<Enrolled>,
        tally: Tally,
        /// Holds begun before the last freeze are not served.
        freezes: u64,
    },
    /// Where an account has been.
    Places { account: AccountId, countries: Vec<Arc<str>>, asns: Vec<u32>, last: Option<Sighting> },
    /// Where a credential was last seen.
    Session { account: AccountId, credential: Credential, last: Sighting },
    /// What an account did of one action within the last week.
    Counters { account: AccountId, action: ActionName, buckets: Vec<Bucket> },
    /// A destination of the address book.
    Address {
        account: AccountId,
        destination: Arc<str>,
        added: UnixMs,
        verified: bool,
        touched: UnixMs,
    },
    /// Holds that run for one subject: a destination, or the intent (hex) of an action that has none.
    Holds { account: AccountId, subject: HoldSubject, freezes: u64, running: Vec<HoldRunning> },
    /// When codes were sent to a number.
    Sends { number: NumberKey, at: Vec<UnixMs> },
    /// A common key of the gateways, sealed.
    Key { name: String, value: Vec<u8> },
}

/// What a hold belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldSubject {
    Destination(Arc<str>),
    Intent(String),
}

/// Counts of a span of time: five minutes, or an hour for what has left the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub from: UnixMs,
    pub length_ms: u64,
    pub count: u64,
    /// Of these without a price.
    pub unpriced: u64,
    /// Exact decimal text.
    pub usd: String,
}

/// A part of everything, and where the next part begins; `None` after the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    pub kept: Vec<Kept>,
    pub next: Option<String>,
}
