//! What the exchange answered to a guarded request.
//!
//! Never touches state and never looks at an answer again. Invariant: only a clear refusal is
//! `Refused`; whatever could have been executed counts as accepted or unknown, so that its amount
//! stays in the counters.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::classify::{ActionRule, Sign};
use crate::types::Fields;

/// How a forwarded action ended, as far as the answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Refused,
    Unknown,
}

/// Reads status and the beginning of the answer's body. Exchanges answer 200 to what they refuse,
/// so the pack's `accepted` decides on a 2xx; an answer in which its members cannot be found is
/// `Unknown`. 302 and 303 are what web sites answer to a form that was accepted; with 408 Binance says that it waited in
/// vain for its own back end, which may have executed.
pub fn observe(rule: &ActionRule, status: u16, body_prefix: Option<&[u8]>) -> Outcome {
    if body_prefix.is_some_and(|body| says_unknown(rule, body)) {
        return Outcome::Unknown;
    }
    match status {
        200..=299 => accepted(rule, body_prefix),
        302 | 303 => Outcome::Accepted,
        408 => Outcome::Unknown,
        400..=499 => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

fn says_unknown(rule: &ActionRule, body: &[u8]) -> bool {
    let said =
        |sign: &Sign| scalar_at(body, &sign.path).is_some_and(|it| sign.values.contains(&it));
    rule.unknown.iter().any(said)
}

fn accepted(rule: &ActionRule, body_prefix: Option<&[u8]>) -> Outcome {
    // JSON-RPC has an error for what failed, and over a WebSocket no status that says so. It may have been done in part.
    let error = ["error", "code"].map(str::to_owned);
    if rule.accepted.is_empty() && body_prefix.is_some_and(|it| scalar_at(it, &error).is_some()) {
        return Outcome::Unknown;
    }
    let mut outcome = Outcome::Accepted;
    for sign in &rule.accepted {
        match body_prefix.and_then(|body| scalar_at(body, &sign.path)) {
            Some(value) if sign.values.contains(&value) => {}
            Some(_) => return Outcome::Refused,
            None => outcome = Outcome::Unknown,
        }
    }
    outcome
}

/// The scalar at a path of members in JSON that may have been cut off after it.
pub fn scalar_at(body: &[u8], path: &[String]) -> Option<String> {
    let found = RefCell::new(None);
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // Cut inside a character.
        Err(error) => std::str::from_utf8(body.get(..error.valid_up_to())?).ok()?,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // It ends with an error as soon as the value is found, and where the text was cut off.
    let _ = Seek { path, found: &found }.deserialize(&mut deserializer);
    found.into_inner()
}

/// Goes down one path and leaves what it finds in `found`.
struct Seek<'p> {
    path: &'p [String],
    found: &'p RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.path.is_empty() {
            return deserializer.deserialize_map(self);
        }
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        let token = raw.get();
        let value = match token.as_bytes().first() {
            Some(b'"') => serde_json::from_str(token).ok(),
            Some(b'{' | b'[') => is_empty_list(token).then(|| "[]".to_owned()),
            _ => Some(token.to_owned()),
        };
        *self.found.borrow_mut() = value;
        Err(D::Error::custom("found"))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, path)) = self.path.split_first() else { return Ok(()) };
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name == first.as_str() {
                map.next_value_seed(Seek { path, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// `[]`, which exchanges that list their errors send for "none". Other lists say nothing that could be compared.
fn is_empty_list(token: &str) -> bool {
    let inside = token.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim().is_empty())
}

/// Where an action sends value: asset, network, address. A tag is part of the address, as one
/// address with two tags is two people.
pub fn destination(fields: &Fields) -> Option<(Option<&str>, Option<&str>, Cow<'_, str>)> {
    let text = |name| fields.text(name).map(|text| &**text);
    let address = text("address")?;
    let address = match text("tag") {
        Some(tag) if !tag.is_empty() => Cow::Owned(format!("{address}:{tag}")),
        _ => Cow::Borrowed(address),
    };
    Some((text("asset"), text("network"), address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fault::Source;
    use crate::types::FieldValue;

    fn outcome(status: u16, body: Option<&str>) -> Outcome {
        let pack = r#"
            version = 1
            exchange = "test"
            accepted = { "json.code" = ["0", "2", "[]"], "json.a.ok" = "true" }
            unknown = { "json.code" = "504" }
            [[action]]
            name = "withdrawal"
            match = "POST /w"
        "#;
        let set = crate::classify::load(&[Source::new("t", pack)], &mut Vec::new()).unwrap();
        observe(&set.rules()[0], status, body.map(str::as_bytes))
    }

    #[test]
    fn a_2xx_is_accepted_only_with_the_packs_signs() {
        assert_eq!(outcome(200, Some(r#"{"code":"0","a":{"ok":true}}"#)), Outcome::Accepted);
        assert_eq!(outcome(200, Some(r#"{"a":{"x":[1],"ok":true},"code":2}"#)), Outcome::Accepted);
        assert_eq!(outcome(200, Some(r#"{"code":"58350","a":{"ok":true}}"#)), Outcome::Refused);
        assert_eq!(outcome(200, Some(r#"{"code":"0","a":{"ok":false}}"#)), Outcome::Refused);
    }

    #[test]
    fn what_the_exchange_itself_does_not_know_is_unknown_whatever_the_status() {
        for status in [200, 400, 503] {
            let said = outcome(status, Some(r#"{"code":"504","a":{"ok":false}}"#));
            assert_eq!(said, Outcome::Unknown, "{status}");
        }
    }

    #[test]
    fn without_signs_a_2xx_is_accepted_unless_it_is_an_error_of_json_rpc() {
        let pack = "version = 1\nexchange = \"t\"\n[[action]]\nname = \"w\"\nmatch = \"POST /w\"";
        let set = crate::classify::load(&[Source::new("t", pack)], &mut Vec::new()).unwrap();
        let outcome = |body: &str| observe(&set.rules()[0], 200, Some(body.as_bytes()));
        for body in ["", "[]", r#"{"id":1,"result":{}}"#, r#"{"error":null}"#, r#"{"error":[]}"#] {
            assert_eq!(outcome(body), Outcome::Accepted, "{body}");
        }
        let error = r#"{"jsonrpc":"2.0","error":{"message":"no","code":10009},"id":1}"#;
        assert_eq!(outcome(error), Outcome::Unknown);
    }

    #[test]
    fn a_list_of_errors_is_a_sign_only_if_it_is_empty() {
        let said =
            |code: &str| outcome(200, Some(&format!(r#"{{"code":{code},"a":{{"ok":true}}}}"#)));
        assert_eq!(said("[]"), Outcome::Accepted);
        assert_eq!(said("[ ]"), Outcome::Accepted);
        // A warning does not mean that nothing was done.
        assert_eq!(said(r#"["WGeneral:Danger"]"#), Outcome::Unknown);
        assert_eq!(said("{}"), Outcome::Unknown);
    }

    #[test]
    fn a_sign_is_found_in_a_body_that_was_cut_off() {
        assert_eq!(
            outcome(200, Some(r#"{"a":{"ok":true},"code":"0","data":[{"x"#)),
            Outcome::Accepted
        );
        assert_eq!(outcome(200, Some(r#"{"code":"1","data":[{"x"#)), Outcome::Refused);
    }

    #[test]
    fn an_answer_that_does_not_say_is_unknown() {
        for body in [
            None,
            Some(""),
            Some("<html>"),
            Some("[]"),
            Some(r#"{"code":"0"}"#),
            Some(r#"{"code":{},"a":1}"#),
        ] {
            assert_eq!(outcome(200, body), Outcome::Unknown, "{body:?}");
        }
    }

    #[test]
    fn status_decides_outside_2xx() {
        for (status, expected) in [
            (302, Outcome::Accepted),
            (303, Outcome::Accepted),
            (307, Outcome::Unknown),
            (400, Outcome::Refused),
            (408, Outcome::Unknown),
            (429, Outcome::Refused),
            (500, Outcome::Unknown),
            (504, Outcome::Unknown),
            (101, Outcome::Unknown),
        ] {
            assert_eq!(outcome(status, Some("{}")), expected, "{status}");
        }
    }

    #[test]
    fn a_tag_is_part_of_the_destination() {
        let mut fields = Fields::default();
        assert!(destination(&fields).is_none());
        fields.set("address", FieldValue::Text("rX".into()));
        fields.set("asset", FieldValue::Text("XRP".into()));
        assert_eq!(destination(&fields), Some((Some("XRP"), None, "rX".into())));
        fields.set("tag", FieldValue::Text("7".into()));
        assert_eq!(destination(&fields).unwrap().2, "rX:7");
        fields.set("address", FieldValue::Unreadable);
        assert!(destination(&fields).is_none());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            scalar_at(&body, &["code".to_owned()]);
        }
    }
}
