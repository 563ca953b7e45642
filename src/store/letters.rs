//! Messages that wait in the outbox, what each is charged to, and which notices are kept quiet.
//!
//! Never sends. Invariant: what costs money is charged in the sentence that puts it into the outbox.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stepup::budget::Scope as BudgetScope;
use crate::stepup::budget::{Meter, Watch};
use crate::types::{ChallengeId, UnixMs};

/// A message to be sent, until a provider took it or it expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: u64,
    /// What its code is for; none for a notice, which has no code.
    #[serde(default)]
    pub challenge: Option<ChallengeId>,
    /// Sealed address and text.
    pub sealed: Vec<u8>,
    pub expires: UnixMs,
    /// How often it was leased, this time included.
    pub tries: u32,
}

/// A number as counters know it: HMAC, never the number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumberKey(pub String);

/// Everything that a code is counted against before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub number: NumberKey,
    pub meters: Vec<Meter>,
    pub watches: Vec<Watch>,
    /// What must not be stopped, for what carries no code: nobody types it in, so that it is watched nowhere.
    pub stops: Vec<(BudgetScope, Arc<str>)>,
}

/// Within the limits per number alone.
impl From<NumberKey> for Charge {
    fn from(number: NumberKey) -> Self {
        Self { number, meters: Vec::new(), watches: Vec::new(), stops: Vec::new() }
    }
}

/// A notice for one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeLetter {
    pub sealed: Vec<u8>,
    /// What a text message is counted against; a mail costs nothing.
    pub charge: Option<Charge>,
    /// It is sent before what is less so.
    pub urgent: bool,
}

/// Answer to `notify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    /// They are in the outbox, but for those (by their places) that no budget is left for.
    Queued { left_out: Vec<usize> },
    /// The account was told the same already, or too much.
    Quiet,
    /// No budget is left for any of them: nothing was said, and the account counts as not told.
    OverBudget,
}

/// How often an account's contacts are told of one thing, so that nobody can make a storm of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The thing: for so long the same key says nothing again; at most a day.
    pub key: Arc<str>,
    pub ms: u64,
    /// Nothing is said either if the account was told so often within a day of things of this kind: what stands before
    /// a colon in the key. One kind cannot use up another's.
    pub per_day_max: u32,
}

impl Quiet {
    pub fn ms(&self) -> u64 {
        self.ms.min(crate::stepup::attempts::DAY_MS)
    }
}

/// How far ahead of the rest of the outbox urgent notices stand.
pub(super) const URGENT_AHEAD_MS: u64 = 600_000;
