//! Names, ids and plain values that every layer speaks.
//!
//! Never does I/O and holds no behaviour beyond parsing and printing. Invariant: two ids of different kinds are
//! different types, so that an account cannot be passed where a credential is meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name_type {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

name_type! {
    /// One protected exchange front.
    SiteName,
    /// What a request would do: `withdrawal`, `transfer`, `address_book.add`, …
    ActionName,
    /// A rule of a policy file.
    RuleId,
    /// Key into the audit log, sent as `Stepgate-Request`. UUID v7.
    RequestId,
    /// An open question to the owner; 256 random bits, base64url.
    ChallengeId,
    /// One try to forward one guarded request; equals the request id that made it.
    AttemptId,
    /// Names a session, token or key without being it: `sid`, `jti`, key id or a hash. Safe to log.
    CredentialId,
    /// Content hash of the policy and the packs that decided.
    PolicyVersion,
}

/// An account inside its group; sites with the same `accounts` word share the group (INCIDENTS 9, 18).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId {
    pub group: Arc<str>,
    pub name: Arc<str>,
}

impl AccountId {
    pub fn new(group: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { group: group.into(), name: name.into() }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

/// What kind of proof of identity the request carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    Session,
    Bearer,
    ApiKey,
    ClientCertificate,
}

impl CredentialKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
            Self::ClientCertificate => "client_certificate",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Session, Self::Bearer, Self::ApiKey, Self::ClientCertificate]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// The credential of one request: its kind and its loggable name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credential {
    pub kind: CredentialKind,
    pub id: CredentialId,
}

/// Milliseconds since 1970-01-01 UTC. Arithmetic saturates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

/// As RFC 3339 writes it.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl UnixMs {
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }
    /// Milliseconds from `earlier` to self; 0 if the clock went back.
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A way for the owner to say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    Totp,
    Sms,
    Webauthn,
    Mail,
    Recovery,
    External,
}

impl Factor {
    pub const ALL: [Self; 6] =
        [Self::Totp, Self::Sms, Self::Webauthn, Self::Mail, Self::Recovery, Self::External];

    pub fn word(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Sms => "sms",
            Self::Webauthn => "webauthn",
            Self::Mail => "mail",
            Self::Recovery => "recovery",
            Self::External => "external",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.word() == word)
    }

    /// Whether it can prove anything. An e-mail address is where notices go, and never a factor that approves.
    pub fn approves(self) -> bool {
        self != Self::Mail
    }
}

/// A set of factors; a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FactorSet(u8);

impl FactorSet {
    /// Every factor.
    pub const ALL: Self = Self(0b11_1111);

    pub fn with(self, factor: Factor) -> Self {
        Self(self.0 | (1 << factor as u8))
    }
    pub fn contains(self, factor: Factor) -> bool {
        self.0 & (1 << factor as u8) != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub fn iter(self) -> impl Iterator<Item = Factor> {
        Factor::ALL.into_iter().filter(move |factor| self.contains(*factor))
    }
}

impl FromIterator<Factor> for FactorSet {
    fn from_iter<I: IntoIterator<Item = Factor>>(factors: I) -> Self {
        factors.into_iter().fold(Self::default(), Self::with)
    }
}

/// SHA-256 over the canonical form of an intent. Equality is what an approval means.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentDigest(pub [u8; 32]);

impl IntentDigest {
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for IntentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl Serialize for IntentDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for IntentDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not 64 hex digits"))
    }
}

/// What a pack read out of a request for one field of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// The value in its exact lexical form (a JSON string without its quotes and escapes, a number as written).
    Text(Arc<str>),
    /// The field is there but says nothing we can rely on, or a `choose` table does not list its value:
    /// restrictions that look at it count as true.
    Unreadable,
}

/// The fields of one element of an action, by the pack's names (`amount`, `transfer.from`, …). A name that is
/// not listed is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Arc<str>, FieldValue)>);

impl Fields {
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: FieldValue) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((name, value)),
        }
    }
    pub fn find(&self, name: &str) -> Option<&FieldValue> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }
    /// The text of a readable field.
    pub fn text(&self, name: &str) -> Option<&Arc<str>> {
        match self.find(name) {
            Some(FieldValue::Text(text)) => Some(text),
            _ => None,
        }
    }
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &FieldValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// One line of the transaction as the owner is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub name: Arc<str>,
    pub value: Arc<str>,
}
