//! One line of the audit log as plain data (INCIDENTS 11: who, where, which factor, shown what,
//! bound to what, decided by which rule of which policy version).
//!
//! Never holds a code, a cookie, a signature or a query: the fields that could are not here, and
//! `redact` cleans the free ones. Invariant: a record says the same whoever reads it; it refers to
//! nothing that changes later.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::policy::facts::{Elevation, HoldRunning};
use crate::routes::RouteSeen;
use crate::types::{
    AccountId, ActionName, ChallengeId, Credential, CredentialId, CredentialKind, Factor,
    IntentDigest, PolicyVersion, RequestId, RuleId, Shown, SiteName, UnixMs,
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A shadow rule, or a candidate policy, would have done otherwise to ordinary traffic that passed. Not every time.
    Decision,
    /// A guarded request is about to be sent: durable before the first byte goes upstream.
    Intent,
    /// How the forwarded request ended.
    Outcome,
    ChallengeOpened,
    CodeSent,
    AttemptFailed,
    /// One factor of several was proven.
    ChallengeProven,
    ChallengeApproved,
    ChallengeRejected,
    ChallengeLocked,
    /// A grant was used, or an elevation began.
    Redeemed,
    Refusal,
    Frozen,
    /// The owner asked to lift a freeze; the note says when it ends.
    ThawAsked,
    Thawed,
    /// The account's contacts were told something; the note says what, and by which ways.
    OwnerTold,
    /// A text message or a mail was given up; the note says why.
    MessageLost,
    /// An attempt was `sending` when its gateway stopped; what became of it is not known.
    OrphanUnknown,
    Reload,
    Operator,
    /// Everything that is kept was given out, encrypted.
    Backup,
    /// A backup was put into the store that this gateway works on.
    Restored,
    /// Operators closed an action for a while, or let it go on.
    Suspended,
    Resumed,
    Started,
    Stopped,
    /// A signature over the chain so far.
    Checkpoint,
    Notice,
    /// Too few codes to a country, or from a range, came back: nothing more is sent there for a while.
    SmsStopped,
    /// What was seen of a write that no action names since the last such record of it.
    RouteSeen,
}

/// Where a guarded request stands; persisted at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    Verified,
    Sending,
    Done,
    Refused,
    Unknown,
}

/// Where the client was, as far as known at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceNoted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// `hosting`, `relay`, `mobile`, `ordinary`, `unknown`, `private`.
    pub network: Arc<str>,
}

/// One rule that spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleNoted {
    pub rule: RuleId,
    /// `allow`, `require`, `hold`, `deny`, `freeze`.
    pub outcome: Arc<str>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub satisfied: bool,
}

/// What a candidate policy beside the live one would have said. It decided nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowNoted {
    /// The candidate's version.
    pub policy: PolicyVersion,
    pub verdict: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleNoted>,
    /// Another would have been done to the request than was.
    #[serde(default, skip_serializing_if = "is_false")]
    pub differs: bool,
    /// If it differs: what would have been asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factors: Option<Arc<str>>,
    /// If it differs: until when it would have been held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
}

/// The signed part of a checkpoint record. The signature covers the record's own `seq` and `prev`,
/// and so every record before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub kid: String,
    /// The public key, so that a log can be read where the key set is gone. It proves nothing by
    /// itself: a reader compares its thumbprint with one kept elsewhere.
    pub jwk: serde_json::Value,
    pub place: CheckpointPlace,
    /// ES256, 64 bytes, base64url without padding.
    pub signature: String,
}

/// Where in its file a checkpoint stands. Signed, so that the head of a file cannot be cut off up
/// to some checkpoint in its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointPlace {
    /// First record of a file that continues the chain of an earlier one.
    Head,
    Middle,
    /// Last record before the file was closed.
    End,
}

/// One record. Everything but `time` and `event` may be missing, and is not written then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// UTC with milliseconds, RFC 3339.
    #[serde(with = "rfc3339")]
    pub time: UnixMs,
    pub event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// The account's group; written with `account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_kind: Option<CredentialKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceNoted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Arc<str>>,
    /// Without the query: API keys sign it and clients put secrets there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    /// The transaction as the owner is shown it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Shown>,
    /// All facts that it was decided on, as text; where an outcome follows, they are in the lines before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<Arc<str>, Arc<str>>,
    /// How many elements a batch has; facts of the first few are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<usize>,
    /// Approvals of this credential that held at that moment, here or elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elevations: Vec<Elevation>,
    /// Holds of this account and destination that were running or had been served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HoldRunning>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleNoted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyVersion>,
    /// `allow`, `require`, `hold`, `deny`, `freeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowNoted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Factor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RequestState>,
    /// One sentence for people: why it was refused, who the operator was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// Writes that no action names are not recorded one by one if they pass, but counted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteSeen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

impl Record {
    /// A record with nothing but its time and event; callers fill in what they know.
    pub fn new(time: UnixMs, event: Event) -> Self {
        Self {
            time,
            event,
            request: None,
            site: None,
            group: None,
            account: None,
            credential_kind: None,
            credential: None,
            client: None,
            place: None,
            method: None,
            path: None,
            action: None,
            shown: Vec::new(),
            facts: BTreeMap::new(),
            elements: None,
            elevations: Vec::new(),
            holds: Vec::new(),
            rules: Vec::new(),
            policy: None,
            verdict: None,
            shadow: None,
            challenge: None,
            factor: None,
            intent: None,
            upstream_status: None,
            state: None,
            note: None,
            route: None,
            checkpoint: None,
        }
    }

    #[must_use]
    pub fn of_account(mut self, account: &AccountId) -> Self {
        self.group = Some(account.group.clone());
        self.account = Some(account.name.clone());
        self
    }

    #[must_use]
    pub fn with_credential(mut self, credential: &Credential) -> Self {
        self.credential_kind = Some(credential.kind);
        self.credential = Some(credential.id.clone());
        self
    }

    #[must_use]
    pub fn with_note(mut self, note: impl Into<Arc<str>>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The account it is about, if it names one.
    pub fn account_id(&self) -> Option<AccountId> {
        Some(AccountId { group: self.group.clone()?, name: self.account.clone()? })
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Times as people read them. Always three decimals, so that lines sort as text.
pub(crate) mod rfc3339 {
    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::UnixMs;

    pub fn serialize<S: Serializer>(time: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
        // A clock outside the calendar must not cost us the record: it is written as 1970.
        let time = Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH);
        serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMs, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(UnixMs(time.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_record_is_time_and_event_only() {
        let record = Record::new(UnixMs(1_790_000_000_120), Event::Started);
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"time":"2026-09-21T14:13:20.120Z","event":"started"}"#
        );
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut record = Record::new(UnixMs(1_790_000_000_000), Event::Intent)
            .of_account(&AccountId::new("main", "alice"))
            .with_credential(&Credential {
                kind: CredentialKind::ApiKey,
                id: CredentialId::new("k1"),
            })
            .with_note("sent");
        record.client = Some("2001:db8::1".parse().unwrap());
        record.factor = Some(Factor::Totp);
        record.intent = Some(IntentDigest([7; 32]));
        record.state = Some(RequestState::Sending);
        record.facts.insert("geo.country".into(), "DE".into());
        record.shown.push(Shown { name: "amount".into(), value: "0.5".into() });
        record.rules.push(RuleNoted {
            rule: RuleId::new("large"),
            outcome: "require".into(),
            shadow: false,
            satisfied: true,
        });
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""account":"alice""#) && text.contains(r#""state":"sending""#));
        assert!(!text.contains("shadow") && !text.contains("null"));
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn an_impossible_time_still_gives_a_line() {
        let text = serde_json::to_string(&Record::new(UnixMs(i64::MAX), Event::Notice)).unwrap();
        assert!(text.contains("1970-01-01T00:00:00.000Z"), "{text}");
    }
}
