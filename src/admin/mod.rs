//! The operators' door: health, readiness, metrics, reload, accounts and factors, on a listener of
//! its own.
//!
//! Never on the public listener, and never decides anything itself: it turns HTTP into the
//! sentences of `Operations` and back. Invariant: everything but health, readiness and metrics
//! needs the token.

pub mod client;
pub mod operators;
mod pouring;
pub mod request;
mod routes;
mod server;
pub mod standing;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::prices;
use crate::routes::RouteSeen;
use crate::stepup::budget::Stop;
use crate::store::{AccountCard, FactorCard};
use crate::suspension::Suspension;
use crate::types::{AccountId, Factor, UnixMs};

pub use client::Client;
pub use operators::{Operator, Operators};
pub use pouring::Pieces;
pub use request::{Ordered, RequestSeen, Resume, Suspend, Waiting};
pub use server::serve;
pub use standing::{About, StandingSeen};

/// What an operator can ask of a running gateway. The composition root answers, and writes the
/// audit records.
pub trait Operations: Send + Sync {
    fn ready(&self) -> Pin<Box<dyn Future<Output = Readiness> + Send + '_>>;
    /// All metrics as OpenMetrics text.
    fn metrics(&self) -> String;
    /// Reads configuration, policy, packs, lists and certificates again; what was reloaded, or all
    /// faults as `OperationError::Refused`, with everything as it was.
    fn reload(&self) -> Answer<'_, String>;
    fn status(&self) -> Answer<'_, Status>;
    /// Writes seen in traffic that no action names.
    fn routes(&self) -> Answer<'_, RoutesSeen>;
    fn account(&self, account: AccountId) -> Answer<'_, AccountCard>;
    /// How a request of the account would be received now; changes nothing.
    fn standing(&self, account: AccountId, about: About) -> Answer<'_, StandingSeen>;
    /// `false` if nothing was ever heard of the account, which is frozen all the same.
    fn freeze(&self, account: AccountId, order: Order) -> Answer<'_, bool>;
    /// `false` if it was not frozen.
    fn thaw(&self, account: AccountId, order: Order) -> Answer<'_, bool>;
    /// Enrols all of them, or none: then `OperationError::Refused` names the lines. What replaces a factor waits for a
    /// second operator.
    fn import(&self, factors: Vec<Import>, order: Order) -> Answer<'_, Ordered<usize>>;
    fn factors(&self, account: AccountId) -> Answer<'_, Vec<FactorCard>>;
    /// `false` if the account has no such factor. A second operator has to approve it.
    fn reset_factor(
        &self,
        account: AccountId,
        factor: Factor,
        order: Order,
    ) -> Answer<'_, Ordered<bool>>;
    /// What waits for a second operator.
    fn requests(&self) -> Answer<'_, Vec<RequestSeen>>;
    /// Carries out what another operator asked for, once.
    fn approve(&self, id: String, order: Order) -> Answer<'_, RequestSeen>;
    /// It will not be carried out. Whoever asked may say so as well.
    fn refuse(&self, id: String, order: Order) -> Answer<'_, RequestSeen>;
    fn suspend(&self, wanted: Suspend, order: Order) -> Answer<'_, Suspension>;
    /// Those that ended by it.
    fn resume(&self, which: Resume, order: Order) -> Answer<'_, Vec<Suspension>>;
    /// The last texts of the provider `log`, newest last; none with any other provider.
    fn texts(&self) -> Answer<'_, Option<Vec<Text>>>;
    /// Text messages go out again to a prefix, or from a range; `false` if nothing was stopped there.
    fn lift_sms_stop(&self, subject: String, order: Order) -> Answer<'_, bool>;
    /// Everything that is kept, encrypted, piece by piece.
    fn backup(&self, order: Order) -> Answer<'_, Pieces>;
    /// A backup was put into the store while this gateway was at work on it; `reason` says which.
    fn restored(&self, order: Order) -> Answer<'_, ()>;
}

/// An answer on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, OperationError>> + Send + 'a>>;

/// Why an operation was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// 422: what was sent, or what is in the files, has these faults.
    #[error("{0}")]
    Refused(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 503: the store or the audit log is down.
    #[error("{0}")]
    Unavailable(String),
}

/// Which of the things a gateway stands on are there; `Err` says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub store: Result<(), String>,
    pub audit: Result<(), String>,
    pub geo: Result<(), String>,
    pub policy: Result<(), String>,
    pub jwks: Result<(), String>,
}

impl Readiness {
    fn parts(&self) -> [(&'static str, &Result<(), String>); 5] {
        [
            ("store", &self.store),
            ("audit", &self.audit),
            ("geo", &self.geo),
            ("policy", &self.policy),
            ("jwks", &self.jwks),
        ]
    }
    pub fn is_ready(&self) -> bool {
        self.parts().iter().all(|(_, part)| part.is_ok())
    }
}

/// A running gateway in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub started: UnixMs,
    pub uptime_s: u64,
    pub sites: Vec<SiteStatus>,
    /// Since when policies, packs and the rest are as they are: the start, or the last reload that was not refused.
    pub sites_since: UnixMs,
    pub last_reload: Option<LastReload>,
    /// Of the ticker, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<prices::State>,
    /// Countries and ranges that no text messages are sent to at present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sms_stops: Vec<Stop>,
    /// What operators have suspended, now or later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspensions: Vec<Suspension>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    pub site: String,
    /// The version that decides.
    pub policy: String,
    /// The version of the candidate that is only observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_policy: Option<String>,
}

/// The most frequent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesSeen {
    pub since: UnixMs,
    pub routes: Vec<RouteSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    pub at: UnixMs,
    pub ok: bool,
    /// `SIGHUP`, `files`, `operator`, `gateway` (another one of the same store).
    pub by: String,
    /// What was reloaded, or the faults.
    pub detail: String,
    /// Members of the configuration that differ from those the gateway was started with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
}

/// Who orders it, and why; goes into the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub by: String,
    #[serde(default)]
    pub reason: String,
    /// Whose token it came with; nobody can say that of oneself.
    #[serde(skip)]
    pub operator: Arc<str>,
}

/// One factor to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Line of the import, from 1, for faults.
    pub line: usize,
    pub account: AccountId,
    pub secret: ImportSecret,
    /// In which its owner is written to.
    pub language: Option<Arc<str>>,
}

/// What is enrolled. `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq)]
pub enum ImportSecret {
    /// An `otpauth://totp/…` address.
    Otpauth(Zeroizing<String>),
    /// A phone number, E.164.
    Phone(Zeroizing<String>),
    /// An e-mail address, for notices only.
    Mail(Zeroizing<String>),
}

impl fmt::Debug for ImportSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Otpauth(_) => "Otpauth(…)",
            Self::Phone(_) => "Phone(…)",
            Self::Mail(_) => "Mail(…)",
        })
    }
}

/// A text message or mail that the provider `log` would have sent. It may hold a live code: for
/// tests and demos only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub at: UnixMs,
    pub to: String,
    /// Of a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub text: String,
}

/// The admin token. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(Arc<Zeroizing<String>>);

/// A token that anybody could try out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the admin token must be {TOKEN_CHARS_MIN} characters or more, printable and without spaces"
)]
pub struct WeakToken;

impl Token {
    /// # Errors
    /// If it is too short, or cannot stand in a header. White space around it (a file's last
    /// newline) is cut off.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        let strong = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        if strong { Ok(Self(Arc::new(text.to_owned().into()))) } else { Err(WeakToken) }
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares digests, so that neither length nor content shows in the time it takes.
    fn matches(&self, given: &[u8]) -> bool {
        use aws_lc_rs::digest::{SHA256, digest};
        let (mine, theirs) = (digest(&SHA256, self.0.as_bytes()), digest(&SHA256, given));
        aws_lc_rs::constant_time::verify_slices_are_equal(mine.as_ref(), theirs.as_ref()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

const TOKEN_CHARS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_matches_only_itself() {
        assert_eq!(Token::new("short").err(), Some(WeakToken));
        assert!(Token::new("").is_err() && Token::new("sixteen chars or more").is_err());
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.matches(b"0123456789abcdef"));
        for wrong in [&b""[..], b"0123456789abcdeF", b"0123456789abcdef0", b"0123456789abcde"] {
            assert!(!token.matches(wrong));
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn an_import_does_not_show_its_secret() {
        let secret = ImportSecret::Phone("+4915112345667".to_owned().into());
        let import =
            Import { line: 1, account: AccountId::new("main", "a"), secret, language: None };
        assert!(!format!("{import:?}").contains("49151"));
    }
}
