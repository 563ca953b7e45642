//! What a verified token, or an introspection answer, says of its bearer. Pure.
//!
//! Never looks at a token that was not verified first. A claim given twice is a fault of the whole.

use std::sync::Arc;

use serde::Deserialize;

use super::{Identity, Presented};
use crate::stepup::mailbox::Mailbox;
use crate::types::{AccountId, Credential, CredentialId, UnixMs};

/// The claims that matter, of RFC 7519, OpenID Connect and RFC 7662. Anything else is ignored.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    pub active: bool,
    pub iss: Option<String>,
    pub aud: Option<Audience>,
    pub sub: Option<String>,
    pub username: Option<String>,
    pub exp: Option<Date>,
    pub nbf: Option<Date>,
    pub iat: Option<Date>,
    pub auth_time: Option<Date>,
    pub sid: Option<String>,
    pub jti: Option<String>,
    // Of any type: an issuer that writes them oddly must not lock everybody out.
    pub phone_number: Option<serde_json::Value>,
    pub phone_number_verified: Option<serde_json::Value>,
    pub email: Option<serde_json::Value>,
    pub email_verified: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// A NumericDate: seconds since 1970, perhaps with a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Date(pub UnixMs);

impl TryFrom<f64> for Date {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        // Milliseconds in place of seconds would make a token that never ends.
        if (0.0..=YEAR_9999_S).contains(&seconds) {
            Ok(Self(UnixMs((seconds * 1000.0) as i64)))
        } else {
            Err("not a time in seconds")
        }
    }
}

impl Claims {
    /// The identity that the claims prove, in the account group given.
    ///
    /// # Errors
    /// If they name no usable account.
    pub fn identity(
        self,
        group: &Arc<str>,
        presented: &Presented<'_>,
    ) -> Result<Identity, &'static str> {
        let name = self.sub.as_deref().or(self.username.as_deref()).filter(|name| is_account(name));
        let account = AccountId::new(group.clone(), name.ok_or("names no account")?);
        let id = presented.credential_id(self.sid.as_deref(), self.jti.as_deref());
        Ok(Identity {
            account,
            credential: Credential { kind: presented.kind, id },
            issued: self.auth_time.or(self.iat).map(|date| date.0),
            expires: self.exp.map(|date| date.0),
            phone: self.phone(),
            mail: self.mail(),
            bearer: presented.bearer,
        })
    }

    fn phone(&self) -> Option<Arc<str>> {
        let denied = serde_json::Value::Bool(false);
        let number = self.phone_number.as_ref()?.as_str()?;
        let digits = number.strip_prefix('+')?;
        let sound = (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        (sound && self.phone_number_verified.as_ref() != Some(&denied)).then(|| number.into())
    }
}

impl Claims {
    fn mail(&self) -> Option<Arc<str>> {
        let denied = serde_json::Value::Bool(false);
        let address = self.email.as_ref()?.as_str()?;
        let sound = Mailbox::parse(address).is_ok();
        (sound && self.email_verified.as_ref() != Some(&denied)).then(|| address.into())
    }
}

impl Presented<'_> {
    /// Names the credential without being it. Prefixed by where the name is from, so that a token
    /// cannot choose a `jti` that is another session's `sid`.
    pub fn credential_id(&self, sid: Option<&str>, jti: Option<&str>) -> CredentialId {
        let named = |prefix: &str, id: Option<&str>| {
            id.filter(|id| is_name(id)).map(|id| format!("{prefix}:{id}"))
        };
        let id = named("sid", sid).or_else(|| named("jti", jti)).unwrap_or_else(|| {
            let hex: String = self.hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{hex}")
        });
        CredentialId::new(id)
    }
}

/// An account's name: something, not endless, and nothing that breaks a log line.
pub(super) fn is_account(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(char::is_control)
}

fn is_name(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

const YEAR_9999_S: f64 = 253_402_300_799.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CredentialKind;

    fn identity(json: &str) -> Result<Identity, &'static str> {
        let claims: Claims = serde_json::from_str(json).map_err(|_| "unreadable")?;
        let kind = CredentialKind::Session;
        let presented = Presented { kind, bearer: false, text: "token" };
        claims.identity(&"main".into(), &presented)
    }

    #[test]
    fn the_credential_is_named_by_session_then_token_id_then_hash() {
        let id = |json| identity(json).unwrap().credential.id.to_string();
        assert_eq!(id(r#"{"sub":"a","sid":"s1","jti":"j1"}"#), "sid:s1");
        assert_eq!(id(r#"{"sub":"a","jti":"j1"}"#), "jti:j1");
        assert_eq!(id(r#"{"sub":"a"}"#), "sha256:3c469e9d6c5875d37a43f353d4f88e61");
        assert_eq!(id(r#"{"sub":"a","sid":"a b"}"#), id(r#"{"sub":"a"}"#));
    }

    #[test]
    fn an_account_has_a_plain_name() {
        for json in [r#"{}"#, r#"{"sub":""}"#, r#"{"sub":null}"#, "{\"sub\":\"a\\n\"}"] {
            assert_eq!(identity(json).unwrap_err(), "names no account", "{json}");
        }
        let long = format!(r#"{{"sub":"{}"}}"#, "a".repeat(257));
        assert!(identity(&long).is_err());
        assert_eq!(&*identity(r#"{"username":"alice"}"#).unwrap().account.name, "alice");
        assert_eq!(&*identity(r#"{"sub":"é","username":"a"}"#).unwrap().account.name, "é");
    }

    #[test]
    fn a_claim_given_twice_spoils_the_token() {
        assert_eq!(identity(r#"{"sub":"a","sub":"b"}"#).unwrap_err(), "unreadable");
    }

    #[test]
    fn a_time_in_milliseconds_or_before_1970_is_refused() {
        for exp in ["1790000000000", "-1", "1e400", "\"1790000000\""] {
            assert!(identity(&format!(r#"{{"sub":"a","exp":{exp}}}"#)).is_err(), "{exp}");
        }
        let expires = identity(r#"{"sub":"a","exp":1790000000.5}"#).unwrap().expires;
        assert_eq!(expires, Some(UnixMs(1_790_000_000_500)));
    }

    #[test]
    fn a_session_begins_when_the_owner_signed_in() {
        let issued = |json| identity(json).unwrap().issued;
        assert_eq!(issued(r#"{"sub":"a","iat":20,"auth_time":10}"#), Some(UnixMs(10_000)));
        assert_eq!(issued(r#"{"sub":"a","iat":20}"#), Some(UnixMs(20_000)));
    }

    #[test]
    fn only_a_whole_and_not_disowned_phone_number_counts() {
        let phone = |json| identity(json).unwrap().phone;
        assert_eq!(phone(r#"{"sub":"a","phone_number":"+8613800000000"}"#).unwrap().len(), 14);
        assert_eq!(phone(r#"{"sub":"a","phone_number":"13800000000"}"#), None);
        assert_eq!(phone(r#"{"sub":"a","phone_number":5}"#), None);
        let disowned =
            r#"{"sub":"a","phone_number":"+8613800000000","phone_number_verified":false}"#;
        assert_eq!(phone(disowned), None);
    }

    #[test]
    fn only_a_plain_and_not_disowned_e_mail_address_counts() {
        let mail = |json| identity(json).unwrap().mail;
        assert_eq!(mail(r#"{"sub":"a","email":"a@b.example"}"#).as_deref(), Some("a@b.example"));
        assert_eq!(mail(r#"{"sub":"a","email":"a@b.example\r\nBcc: c@d.example"}"#), None);
        assert_eq!(mail(r#"{"sub":"a","email":["a@b.example"]}"#), None);
        assert_eq!(mail(r#"{"sub":"a","email":"a@b.example","email_verified":false}"#), None);
    }
}
