//! What became of a request that its owner's approval let pass: for whoever looks at its page again.
//!
//! Never the evidence: that is the audit log. Invariant: what says that something was not sent is written only by those
//! who know it; where nobody knows, it says so.

use serde::{Deserialize, Serialize};

use crate::types::{ChallengeId, UnixMs};

/// One end, or the way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// On its way; a gateway that stopped in between leaves it so.
    Sending {
        since: UnixMs,
    },
    /// The exchange did it. `led_to`: where its answer led, if that is on this site.
    Accepted {
        at: UnixMs,
        led_to: Option<String>,
    },
    /// The exchange answered that it did not.
    Refused {
        at: UnixMs,
        led_to: Option<String>,
    },
    /// The gateway did it itself, or could not: nothing was sent to any exchange.
    Done {
        at: UnixMs,
    },
    NotDone {
        at: UnixMs,
    },
    /// It was sent, and nobody knows what came of it.
    Unknown {
        at: UnixMs,
    },
    /// The gateway refused it; the key of the sentences about why.
    NotSent {
        at: UnixMs,
        why: String,
    },
    /// Other rules held when it was released, and the owner was asked again.
    AskedAgain {
        challenge: ChallengeId,
    },
}

impl Fate {
    /// What it means at `now`: what has been on its way for longer than any answer may take has no known end.
    pub fn as_of(self, now: UnixMs) -> Self {
        match self {
            Self::Sending { since } if now.since_ms(since) > SENDING_MS_MAX => {
                Self::Unknown { at: since }
            }
            known => known,
        }
    }

    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Sending { .. })
    }
}

/// More than connecting and the longest wait for an answer together.
const SENDING_MS_MAX: u64 = 60_000;
/// As long as the challenge itself is remembered after its end.
pub const FATE_KEPT_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ended_is_unknown_and_what_ended_stays_so() {
        let sending = Fate::Sending { since: UnixMs(1_000) };
        assert_eq!(sending.clone().as_of(UnixMs(61_000)), sending);
        assert_eq!(sending.as_of(UnixMs(61_001)), Fate::Unknown { at: UnixMs(1_000) });
        let done = Fate::Accepted { at: UnixMs(0), led_to: None };
        assert_eq!(done.clone().as_of(UnixMs(9_000_000)), done);
    }
}
