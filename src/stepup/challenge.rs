//! A challenge: an open question to the owner about one intent, and the numbers it lives by.
//!
//! Never compares a code itself. Invariant: what is shown is what was classified, and neither changes after the
//! challenge was opened.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::device::Device;
use crate::policy::verdict::Requirement;
use crate::types::{
    AccountId, ActionName, ChallengeId, Credential, Factor, FactorSet, IntentDigest, PolicyVersion,
    RequestId, Shown, SiteName, UnixMs,
};

/// The states that the wire protocol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    Approved,
    Used,
    Rejected,
    Expired,
    Locked,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Locked => "locked",
        }
    }
}

/// Which requests share one challenge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This intent, once.
    Intent(IntentDigest),
    /// The credential at this place: any request that needs only an elevation.
    Place(Arc<str>),
}

/// The code that was last sent by SMS for a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCode {
    /// HMAC-SHA-256 of challenge id and code, hex; the code itself is nowhere.
    pub mac: String,
    pub expires: UnixMs,
    /// As the owner is shown it: `+49 ••• ••67`.
    pub masked_number: Arc<str>,
}

/// Where the value would go, as the account's address book knew it when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Unknown,
    KnownSince(UnixMs),
}

/// A factor that waits to be enrolled: its challenge is answered with this very factor, which shows that its owner has
/// it and that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub factor: Factor,
    /// Sealed, as the enrolled one's will be.
    pub secret: Vec<u8>,
    pub label: String,
    /// MACs of the recovery codes that come with it, unless the account has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
}

/// One challenge as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Challenge {
    pub id: ChallengeId,
    pub site: SiteName,
    pub account: AccountId,
    pub credential: Credential,
    pub action: ActionName,
    pub scope: Scope,
    pub requirement: Requirement,
    /// The transaction in the pack's order, from the stored intent only (what you see is what you sign).
    pub shown: Vec<Shown>,
    /// Where it was asked from.
    pub client: IpAddr,
    pub place: Arc<str>,
    /// What it was asked with, as far as that says so of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// None if it has none, or several, or is about the address book itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    pub policy: PolicyVersion,
    /// The request that opened it.
    pub request: RequestId,
    pub created: UnixMs,
    pub expires: UnixMs,
    pub attempts_left: u32,
    /// Factors that the account had when it was asked; others are not offered.
    pub usable: FactorSet,
    pub proven: FactorSet,
    pub state: State,
    pub sent: Option<SentCode>,
    /// What a passkey was asked to sign, sealed; taken off by the attempt that answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceremony: Option<Vec<u8>>,
    /// A browser's request, sealed, waiting to be released.
    pub held: Option<Vec<u8>>,
    /// Path and query of this site where its person can begin again: the page that a browser wanted to go to, or the one
    /// that its form stood on.
    pub return_to: Option<String>,
    /// What a right answer enrols, as long as it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Which browser asked, as `browser` names it: only that one can answer it, and only it is shown what it enrols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<Arc<str>>,
}

impl Challenge {
    /// The state at `now`: expiry is judged on read, whatever the store still holds. An open
    /// challenge whose attempts are all spent is locked, and stays so; only the answer that spent
    /// the last one may still approve it.
    pub fn state_at(&self, now: UnixMs) -> State {
        match self.state {
            State::Open if self.attempts_left == 0 => State::Locked,
            State::Open | State::Approved if now >= self.expires => State::Expired,
            state => state,
        }
    }

    /// Whether a code lets one transaction pass. The others only say "this is me" and must look different to their
    /// reader (PSD2 RTS Art. 5; OWASP Transaction Authorization 1.4).
    pub fn approves_transaction(&self) -> bool {
        let asks_who = match self.action.as_str() {
            "login" => true,
            // A form that is held while its owner says who it is.
            "ordinary" => self.requirement.only_elevates(),
            _ => false,
        };
        matches!(self.scope, Scope::Intent(_)) && !asks_who
    }

    /// Factors that can still bring it nearer to approval.
    pub fn factors_open(&self) -> FactorSet {
        self.requirement
            .terms
            .iter()
            .filter(|term| !term.factors.met_by(self.proven))
            .flat_map(|term| term.factors.factors().iter().collect::<Vec<_>>())
            .filter(|factor| self.usable.contains(*factor) && !self.proven.contains(*factor))
            .collect()
    }
}

/// The numbers that challenges and codes live by; all may be set stricter in the configuration. 0 means zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub challenge_ms: u64,
    pub attempts_max: u32,
    pub open_per_account_max: usize,
    /// How long an approval waits to be redeemed.
    pub grant_ms: u64,
    /// Failures in a row that block step-up on the account, and for how long at first.
    pub failures_max: u32,
    pub block_ms: u64,
    pub block_max_ms: u64,
    /// Failures in a row that disable the factor (NIST 63B-4 §3.2.2).
    pub failures_disable: u32,
    pub sms_code_ms: u64,
    pub sms_per_10min_max: u32,
    pub sms_per_day_max: u32,
    /// How long a factor that its owner enrolled approves nothing.
    pub factor_hold_ms: u64,
    /// How long a freeze still holds after its owner asked to lift it.
    pub thaw_delay_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            challenge_ms: 300_000,
            attempts_max: 5,
            open_per_account_max: 3,
            grant_ms: 300_000,
            failures_max: 5,
            block_ms: 900_000,
            block_max_ms: 86_400_000,
            failures_disable: 100,
            sms_code_ms: 300_000,
            sms_per_10min_max: 3,
            sms_per_day_max: 10,
            factor_hold_ms: 86_400_000,
            thaw_delay_ms: 86_400_000,
        }
    }
}
