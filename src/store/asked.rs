//! What came of a question to an account's owner: of opening it, of an attempt at it, of an answer, of a code.
//!
//! Never holds a code. Invariant: an attempt is spent before it is compared.

use super::Enrolled;
use crate::stepup::budget::Refusal;
use crate::stepup::challenge::Challenge;
use crate::types::UnixMs;

/// Answer to `open_challenge`.
#[derive(Debug)]
pub enum Opened {
    New(Challenge),
    /// The same credential asked the same before: same challenge, no second SMS.
    Existing(Challenge),
    /// Step-up is blocked on this account after failures in a row.
    Blocked {
        until: UnixMs,
    },
}

/// Answer to `spend_attempt`: the attempt is counted, durable, whatever happens next.
#[derive(Debug)]
pub enum Spent {
    /// Compare now. `left` counts what remains after this one.
    Compare { challenge: Challenge, enrolled: Option<Enrolled>, left: u32 },
    /// The challenge is not open (any more): its state says why.
    Closed(Challenge),
    /// Too many failures in a row on the account, or on this factor, which is disabled then.
    Blocked { until: UnixMs },
    /// No such challenge for this account and credential.
    Missing,
}

/// Answer to `prove`.
#[derive(Debug)]
pub enum Proven {
    /// This factor counts, another is still needed.
    More(Challenge),
    /// All factors: a grant for the intent, elevations for the rules that have `valid`.
    Approved(Challenge),
    /// The TOTP step was accepted before, or the SMS code was replaced or used.
    Replayed,
    Closed(Challenge),
}

/// Answer to `ask_passkey`.
#[derive(Debug)]
pub enum PasskeyAsked {
    Asked(Challenge),
    /// Step-up is blocked on the account after failures in a row.
    Blocked {
        until: UnixMs,
    },
    Closed(Challenge),
    Missing,
}

/// Answer to `send_code`.
#[derive(Debug)]
pub enum CodeQueued {
    Queued(Challenge),
    /// Too many to this number, or step-up is blocked on the account.
    Limited {
        retry_after_ms: u64,
    },
    /// A budget for text messages is used up, or nothing is sent to this country or range for a while.
    OverBudget(Refusal),
    Closed(Challenge),
    Missing,
}
