//! Passkeys (WebAuthn): what one is asked to sign for a challenge, what is kept of an account's, what a browser sends.
//!
//! Never draws randomness and never talks to a browser. Invariant: what a passkey signs names one challenge and its very
//! intent, so that an assertion is worth nothing anywhere else.

#[cfg(not(feature = "webauthn"))]
mod absent;
#[cfg(feature = "webauthn")]
mod ceremony;
mod posted;

use aws_lc_rs::digest::{Context, SHA256};

#[cfg(not(feature = "webauthn"))]
pub use absent::{Verifier, listed, without};
#[cfg(feature = "webauthn")]
pub use ceremony::{Verifier, listed, without};
pub use posted::{BadPost, Posted, PostedKind};

use super::challenge::{Challenge, Scope};
use crate::types::UnixMs;

/// Whether this program has them at all: cargo feature `webauthn`.
pub const BUILT: bool = cfg!(feature = "webauthn");

/// At most so many per account.
pub const PASSKEYS_MAX: usize = 8;

/// Who asks passkeys to sign, as browsers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The domain that passkeys are made for. They work on it and below it.
    pub id: String,
    /// `https://host` or `https://host:port`: pages whose answers are taken. Never empty.
    pub origins: Vec<String>,
}

/// Whether a host is the domain or below it.
pub fn is_within(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|below| below.ends_with('.'))
}

/// What the owner is asked for: a signature over a challenge of the gateway's that is bound to this question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Approves what the challenge is about.
    Approve,
    /// Makes a new passkey for the account.
    Register,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Approve => b"stepgate passkey approval v1",
            Self::Register => b"stepgate passkey registration v1",
        }
    }
}

/// The bytes that a passkey signs: SHA-256 over label, challenge id, intent or place, and the nonce, each after its
/// length.
pub fn signed_challenge(purpose: Purpose, challenge: &Challenge, nonce: &Nonce) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    part(purpose.label());
    part(challenge.id.as_str().as_bytes());
    match &challenge.scope {
        Scope::Intent(intent) => {
            part(b"intent");
            part(&intent.0);
        }
        Scope::Place(place) => {
            part(b"place");
            part(place.as_bytes());
        }
    }
    part(&nonce.0);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// Drawn for each asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

/// A passkey answered rightly.
#[derive(Debug)]
pub struct Asserted {
    /// What is to be kept of the account's passkeys now, if that changed: one counts its uses.
    pub renewed: Option<Vec<u8>>,
}

/// An account's passkeys after one was made or taken away.
#[derive(Debug)]
pub struct Changed {
    /// What is to be kept of all of them.
    pub kept: Vec<u8>,
    pub count: usize,
    /// Of the oldest.
    pub since: UnixMs,
    /// From when the first of them approves anything; each has a time of its own.
    pub usable_from: UnixMs,
}

/// One of an account's passkeys, as its owner is shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the row of all that were ever made.
    pub number: u32,
    pub since: UnixMs,
    pub usable_from: UnixMs,
}

/// Why nothing can be asked of a passkey, or its answer does not count. For the record, not for who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    #[error("the account has no passkey for this site")]
    NoneHere,
    #[error("the account has as many passkeys as it may have")]
    TooMany,
    #[error("this passkey is there already")]
    Known,
    #[error("what is kept of the passkeys is unreadable")]
    Unreadable,
    #[error("what was posted is not what a browser posts")]
    Malformed,
    #[error("the passkey's answer does not hold")]
    Refused,
}

impl From<BadPost> for PasskeyError {
    fn from(_: BadPost) -> Self {
        Self::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::Requirement;
    use crate::stepup::challenge::State;
    use crate::types::{
        AccountId, ActionName, ChallengeId, Credential, CredentialId, CredentialKind, FactorSet,
        IntentDigest, PolicyVersion, RequestId, SiteName,
    };

    fn challenge(id: &str, scope: Scope) -> Challenge {
        Challenge {
            id: ChallengeId::new(id),
            site: SiteName::new("main"),
            account: AccountId::new("main", "alice"),
            credential: Credential { kind: CredentialKind::Session, id: CredentialId::new("s") },
            action: ActionName::new("withdrawal"),
            scope,
            requirement: Requirement { terms: Vec::new() },
            shown: Vec::new(),
            client: [203, 0, 113, 7].into(),
            place: "DE".into(),
            device: None,
            destination: None,
            policy: PolicyVersion::new("v"),
            request: RequestId::new("r"),
            created: UnixMs(0),
            expires: UnixMs(1),
            attempts_left: 5,
            usable: FactorSet::ALL,
            proven: FactorSet::default(),
            state: State::Open,
            sent: None,
            ceremony: None,
            held: None,
            return_to: None,
            pending: None,
            browser: None,
        }
    }

    #[test]
    fn what_is_signed_differs_with_everything_that_it_is_bound_to() {
        let intent = |n: u8| Scope::Intent(IntentDigest([n; 32]));
        let signed = |purpose, id: &str, scope, nonce: u8| {
            signed_challenge(purpose, &challenge(id, scope), &Nonce([nonce; 32]))
        };
        let all = [
            signed(Purpose::Approve, "a", intent(1), 1),
            signed(Purpose::Register, "a", intent(1), 1),
            signed(Purpose::Approve, "b", intent(1), 1),
            signed(Purpose::Approve, "a", intent(2), 1),
            signed(Purpose::Approve, "a", intent(1), 2),
            signed(Purpose::Approve, "a", Scope::Place("DE".into()), 1),
            signed(Purpose::Approve, "a", Scope::Place("D".into()), 1),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        assert_eq!(all[0], signed(Purpose::Approve, "a", intent(1), 1));
    }

    #[test]
    fn a_host_is_within_its_own_domain_and_those_above_it() {
        for host in ["exchange.example", "api.exchange.example", "a.b.exchange.example"] {
            assert!(is_within(host, "exchange.example"), "{host}");
        }
        for host in ["example", "notexchange.example", "exchange.example.evil", ""] {
            assert!(!is_within(host, "exchange.example"), "{host}");
        }
    }
}
