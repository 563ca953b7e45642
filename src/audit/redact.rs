//! What may never be written: codes, cookies, tokens, signatures, passphrases, whole phone numbers.
//!
//! Never decides by value alone where a name says enough. Addresses and amounts are kept: they are
//! the evidence. Invariant: whatever a caller puts into a record, what leaves here is bounded in
//! number and length.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::Record;
use crate::types::{CredentialId, Shown};

/// Characters of one value.
pub const VALUE_CHARS_MAX: usize = 256;
/// Shown fields and rules of one record, each.
pub const FIELDS_MAX: usize = 64;
/// Facts of one record.
pub const FACTS_MAX: usize = 256;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a path or a note.
pub const TEXT_CHARS_MAX: usize = 1024;

/// The record as it may be written. Every record goes through here on its way into the chain.
#[must_use]
pub fn clean(mut record: Record) -> Record {
    record.shown.truncate(FIELDS_MAX);
    for shown in &mut record.shown {
        *shown = Shown { value: value(&shown.name, &shown.value), name: name(&shown.name) };
    }
    record.facts = facts(record.facts);
    record.rules.truncate(FIELDS_MAX);
    if let Some(shadow) = &mut record.shadow {
        shadow.rules.truncate(FIELDS_MAX);
        shadow.factors = shadow.factors.take().map(|text| cut(&text, VALUE_CHARS_MAX));
    }
    record.path = record.path.map(|path| path_only(&path));
    record.note = record.note.map(|note| free_text(&note));
    record.method = record.method.map(|method| cut(&method, NAME_CHARS_MAX));
    record.group = record.group.map(|group| cut(&group, VALUE_CHARS_MAX));
    record.account = record.account.map(|account| cut(&account, VALUE_CHARS_MAX));
    record.credential =
        record.credential.map(|id| CredentialId::new(cut(id.as_str(), VALUE_CHARS_MAX)));
    record
}

fn facts(facts: BTreeMap<Arc<str>, Arc<str>>) -> BTreeMap<Arc<str>, Arc<str>> {
    let cleaned = |(key, text): (Arc<str>, Arc<str>)| {
        // `account.has_totp` sounds like a secret and holds none: yes, no and the two states never do.
        let text = if PLAIN_FACTS.contains(&&*text) { text } else { value(&key, &text) };
        (name(&key), text)
    };
    facts.into_iter().take(FACTS_MAX).map(cleaned).collect()
}

/// A field's value as it may be written.
pub fn value(name: &str, value: &str) -> Arc<str> {
    if names_secret(name, value) || looks_secret(value) {
        return REDACTED.into();
    }
    if looks_phone(value) || (names_phone(name) && digits(value) >= 4) {
        return mask_phone(value);
    }
    cut(value, VALUE_CHARS_MAX)
}

/// `+49 ••• ••67`: the country's first digits and the last two.
pub fn mask_phone(number: &str) -> Arc<str> {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    let head: String = digits.iter().take(2).collect();
    let tail: String = digits.iter().skip(digits.len().saturating_sub(2).max(2)).collect();
    format!("+{head} ••• ••{tail}").into()
}

fn name(name: &str) -> Arc<str> {
    cut(name, NAME_CHARS_MAX)
}

fn path_only(path: &str) -> Arc<str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    match secret_at(path) {
        Some(at) => {
            format!("{}{REDACTED}", cut(path.get(..at).unwrap_or(""), TEXT_CHARS_MAX)).into()
        }
        None => cut(path, TEXT_CHARS_MAX),
    }
}

/// Whether a path says what only the owner of an account may know: the id of a link that freezes it.
pub fn holds_secret(path: &str) -> bool {
    secret_at(path).is_some()
}

/// Where the id begins. However the rest is spelt: what is nearly one of our addresses is refused, and recorded.
fn secret_at(path: &str) -> Option<usize> {
    let mut from = 0;
    for segment in path.split_inclusive('/') {
        from += segment.len();
        let name = percent_encoding::percent_decode_str(segment.trim_end_matches('/'));
        let name = name.decode_utf8_lossy();
        if name.trim_start_matches(['/', '\\']).eq_ignore_ascii_case("not-me") {
            return (from < path.len()).then_some(from);
        }
    }
    None
}

fn free_text(text: &str) -> Arc<str> {
    if looks_secret(text) { REDACTED.into() } else { cut(text, TEXT_CHARS_MAX) }
}

/// At most `chars_max` characters, the last one `…` if something is missing.
fn cut(text: &str, chars_max: usize) -> Arc<str> {
    match text.char_indices().nth(chars_max) {
        None => text.into(),
        Some(_) => {
            let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            (kept + "…").into()
        }
    }
}

/// Whether a name says that its value is a secret. Names are taken apart at punctuation and at
/// `camelCase` humps, so that `OK-ACCESS-SIGN`, `api.secretKey` and `Step-Up-Code` are all seen.
fn names_secret(name: &str, value: &str) -> bool {
    let words = words_of(name);
    words.iter().enumerate().any(|(at, word)| match word.as_str() {
        // A coin may be called a token; what is short and plain is a coin's name.
        "token" => words.len() > 1 || value.chars().count() > COIN_CHARS_MAX,
        "code" => {
            !at.checked_sub(1).is_some_and(|before| PLAIN_CODES.contains(&words[before].as_str()))
        }
        "key" => at > 0 && matches!(words[at - 1].as_str(), "secret" | "private" | "master"),
        word => SECRET_WORDS.contains(&word),
    })
}

fn names_phone(name: &str) -> bool {
    words_of(name).iter().any(|word| matches!(word.as_str(), "phone" | "mobile" | "msisdn" | "sms"))
}

fn words_of(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        let hump = character.is_uppercase() && after_lower;
        if (hump || !character.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        after_lower = character.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Values that are secrets under any name: tokens, authorization headers, keys, enrolment
/// addresses.
fn looks_secret(value: &str) -> bool {
    let lower = value.trim_start().to_ascii_lowercase();
    ["bearer ", "basic ", "dpop "].iter().any(|scheme| lower.starts_with(scheme))
        || lower.contains("otpauth:")
        || lower.contains("-----begin")
        || value
            .split(|character: char| character.is_whitespace() || "\"'=,;".contains(character))
            .any(looks_jwt)
}

/// Three base64url parts of which the first is a JSON object.
fn looks_jwt(word: &str) -> bool {
    word.starts_with("eyJ")
        && word.split('.').count() >= 3
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// E.164 with its plus sign and the usual punctuation, nothing else.
fn looks_phone(value: &str) -> bool {
    value.strip_prefix('+').is_some_and(|rest| {
        rest.chars().all(|character| character.is_ascii_digit() || " -()".contains(character))
            && (8..=15).contains(&digits(rest))
    })
}

fn digits(value: &str) -> usize {
    value.chars().filter(char::is_ascii_digit).count()
}

const REDACTED: &str = "[redacted]";
const PLAIN_FACTS: [&str; 4] = ["true", "false", "absent", "unreadable"];
const COIN_CHARS_MAX: usize = 12;
const PLAIN_CODES: [&str; 7] =
    ["country", "currency", "asset", "status", "error", "language", "network"];
const SECRET_WORDS: [&str; 21] = [
    "authorization",
    "cookie",
    "cookies",
    "cvv",
    "hmac",
    "jwt",
    "mnemonic",
    "otp",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "pwd",
    "secret",
    "seed",
    "sig",
    "sign",
    "signature",
    "totp",
    "webauthn",
    "assertion",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Event;
    use crate::types::UnixMs;

    fn written(name: &str, text: &str) -> String {
        value(name, text).to_string()
    }

    #[test]
    fn secrets_are_not_written_whatever_their_spelling() {
        for name in [
            "code",
            "Step-Up-Code",
            "sms_code",
            "otp",
            "json.passphrase",
            "OK-ACCESS-SIGN",
            "secretKey",
            "apiSecret",
            "cookie",
            "Authorization",
            "access_token",
            "fundPwd",
            "private_key",
            "X-Signature",
            "PASSWORD",
        ] {
            assert_eq!(written(name, "123456"), REDACTED, "{name}");
        }
        for text in [
            "Bearer abc",
            "basic YTpi",
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
            "sid=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln; x",
            "otpauth://totp/a?secret=B",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert_eq!(written("memo", text), REDACTED, "{text}");
        }
    }

    #[test]
    fn evidence_is_kept() {
        for (name, text) in [
            ("address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
            ("amount", "0.000000000000000001"),
            ("asset", "BTC"),
            ("token", "USDT"),
            ("country_code", "DE"),
            ("api_key.networks", "10.0.0.0/8"),
            ("design", "blue"),
            ("client.ip", "203.0.113.7"),
        ] {
            assert_eq!(written(name, text), text);
        }
    }

    #[test]
    fn phone_numbers_are_masked() {
        assert_eq!(written("to", "+4915112345667"), "+49 ••• ••67");
        assert_eq!(written("phone", "015112345667"), "+01 ••• ••67");
        assert_eq!(written("amount", "+5"), "+5");
        assert_eq!(&*mask_phone(""), "+ ••• ••");
    }

    #[test]
    fn a_yes_or_no_fact_is_no_secret_whatever_its_name() {
        let mut record = Record::new(UnixMs(0), Event::Intent);
        for (name, value) in [("account.has_totp", "true"), ("field.totp", "123456")] {
            record.facts.insert(name.into(), value.into());
        }
        let facts = clean(record).facts;
        assert_eq!((&*facts["account.has_totp"], &*facts["field.totp"]), ("true", REDACTED));
    }

    #[test]
    fn a_record_is_bounded() {
        let mut record = Record::new(UnixMs(0), Event::Decision).with_note("x".repeat(5000));
        for number in 0..300 {
            record.facts.insert(format!("f{number}").into(), "é".repeat(2000).into());
            record.shown.push(Shown { name: "n".repeat(200).into(), value: "v".into() });
        }
        record.path = Some("/a/b?signature=1".into());
        let record = clean(record);
        assert_eq!((record.facts.len(), record.shown.len()), (FACTS_MAX, FIELDS_MAX));
        assert_eq!(record.facts["f0"].chars().count(), VALUE_CHARS_MAX);
        assert!(record.facts["f0"].ends_with('…'));
        assert_eq!(record.shown[0].name.chars().count(), NAME_CHARS_MAX);
        assert_eq!(record.note.unwrap().chars().count(), TEXT_CHARS_MAX);
        assert_eq!(record.path.as_deref(), Some("/a/b"));
    }
}
