//! What an exchange's own clients expect a refusal to look like.
//!
//! Never holds anything but the pack's text, and repeats nothing of a request but one number or
//! string. Invariant: what `render` returns is JSON, whatever the message is and whoever wrote what
//! is repeated.

use super::json::{self, Json};
use super::pairs;
use super::place::Place;
use crate::types::UnixMs;

/// `[challenge]` of a pack: status and body in the exchange's own error format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeAnswer {
    pub status: u16,
    template: String,
    /// Where a request says by which id its client knows the answer again.
    id: Vec<Place>,
}

/// A request's own id as JSON that is safe to repeat: an integer, a string or `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo(String);

const MESSAGE: &str = "{message}";
const ID: &str = "{id}";
const NOW: &str = "{now}";
/// Longer ids are not repeated.
const ID_CHARS_MAX: usize = 128;

impl Default for Echo {
    fn default() -> Self {
        Self("null".to_owned())
    }
}

impl Echo {
    /// A text that looks like an integer is repeated as one, as servers do that read queries by
    /// types.
    fn of_text(text: &str) -> Self {
        let integer = text.parse::<i64>().ok().map(|number| number.to_string());
        match integer.filter(|number| number == text) {
            Some(number) => Self(number),
            None => Self::of_value(&serde_json::Value::from(text)),
        }
    }

    /// Written anew from what was read, never copied.
    fn of_value(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Number(number) if !number.is_f64() => Self(number.to_string()),
            serde_json::Value::String(text) if text.chars().count() <= ID_CHARS_MAX => {
                Self(value.to_string())
            }
            _ => Self::default(),
        }
    }
}

impl NativeAnswer {
    /// # Errors
    /// Why the template cannot be a body, as a sentence without a full stop.
    pub(super) fn new(status: u16, template: &str, id: Vec<Place>) -> Result<Self, String> {
        if !template.contains(MESSAGE) {
            return Err(format!("the body has no `{MESSAGE}`"));
        }
        if template.contains(ID) == id.is_empty() {
            return Err(format!("`{ID}` and `id`, which says where it is read, go together"));
        }
        let answer = Self { status, template: template.to_owned(), id };
        // A message that breaks out of a string, or stands outside of one, does not survive this;
        // nor does an id or a time inside of one.
        const PROBE: &str = "probe \" \\ \n";
        const PROBE_ID: &str = "id \" \\ \n";
        const PROBE_NOW: i64 = 1_234_567_890_123;
        let rendered = answer.render_to(PROBE, &Echo::of_text(PROBE_ID), UnixMs(PROBE_NOW));
        let Ok(body) = serde_json::from_str::<serde_json::Value>(&rendered) else {
            return Err(format!(
                "the body is not JSON with `{MESSAGE}` inside a string, `{ID}` and `{NOW}` outside"
            ));
        };
        let said = |hole: &str, counts: &dyn Fn(&serde_json::Value) -> usize| {
            count(&body, counts) == template.matches(hole).count()
        };
        if !said(MESSAGE, &|value| value.as_str().map_or(0, |text| text.matches(PROBE).count())) {
            return Err(format!("`{MESSAGE}` must stand in a string that is a value"));
        }
        if !said(ID, &|value| usize::from(value == PROBE_ID))
            || !said(NOW, &|value| usize::from(value == PROBE_NOW))
        {
            return Err(format!("`{ID}` and `{NOW}` are values, not parts of a string"));
        }
        Ok(answer)
    }

    /// What an answer to this request repeats. A body that cannot be read has no id.
    pub fn echo(&self, target: &str, body: &[u8]) -> Echo {
        let query = || target.split_once('?').and_then(|(_, query)| pairs::parse(query).ok());
        let found = self.id.iter().find_map(|place| match place {
            Place::Json { each: false, path } => json_id(body, path),
            Place::Query(name) => {
                let pairs = query()?;
                let value = pairs.iter().find(|pair| pair.name == *name)?.value.as_deref()?;
                Some(Echo::of_text(value))
            }
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The body, `application/json`, of an answer that repeats nothing.
    pub fn render(&self, message: &str) -> String {
        self.render_to(message, &Echo::default(), UnixMs(0))
    }

    /// The body, `application/json`.
    pub fn render_to(&self, message: &str, id: &Echo, now: UnixMs) -> String {
        let quoted = serde_json::Value::from(message).to_string();
        let escaped = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let now = now.0.to_string();
        let holes = [(MESSAGE, escaped.unwrap_or("")), (ID, id.0.as_str()), (NOW, &now)];
        // In one pass: nothing that is put in is looked at again.
        let mut body = String::with_capacity(self.template.len() + message.len());
        let mut rest = self.template.as_str();
        while let Some((before, tail)) = rest.find('{').map(|at| rest.split_at(at)) {
            body.push_str(before);
            let filled = holes
                .iter()
                .find_map(|(hole, value)| tail.strip_prefix(hole).map(|after| (*value, after)));
            let (value, after) = filled.unwrap_or(("{", tail.strip_prefix('{').unwrap_or("")));
            body.push_str(value);
            rest = after;
        }
        body.push_str(rest);
        body
    }
}

fn json_id(body: &[u8], path: &[String]) -> Option<Echo> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_empty())?;
    let root = json::parse(text).ok()?;
    let value = path.iter().try_fold(&root, |value, name| value.member(name))?;
    let Json::Scalar(token) = value else { return None };
    serde_json::from_str(token).ok().map(|value| Echo::of_value(&value))
}

/// Sums over all values that hold no others.
fn count(value: &serde_json::Value, of: &dyn Fn(&serde_json::Value) -> usize) -> usize {
    match value {
        serde_json::Value::Array(values) => values.iter().map(|value| count(value, of)).sum(),
        serde_json::Value::Object(members) => members.values().map(|value| count(value, of)).sum(),
        scalar => of(scalar),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(template: &str) -> Result<NativeAnswer, String> {
        NativeAnswer::new(401, template, Vec::new())
    }

    fn rpc() -> NativeAnswer {
        let id = ["json.id", "query.id"].map(|text| Place::parse(text).unwrap());
        let template = r#"{"id":{id},"error":{"message":"{message}"},"at":{now}}"#;
        NativeAnswer::new(401, template, id.to_vec()).unwrap()
    }

    fn answered(target: &str, body: &str) -> serde_json::Value {
        let answer = rpc();
        let body = answer.render_to("m", &answer.echo(target, body.as_bytes()), UnixMs(7));
        serde_json::from_str(&body).unwrap_or_else(|why| panic!("{body}: {why}"))
    }

    #[test]
    fn a_message_cannot_break_out_of_its_string() {
        let answer = plain(r#"{"code":"50114","msg":"{message}","data":[]}"#).unwrap();
        let body: serde_json::Value =
            serde_json::from_str(&answer.render("say \"x\", \\ \n {message}")).unwrap();
        assert_eq!(body["msg"], "say \"x\", \\ \n {message}");
        assert_eq!(body["code"], "50114");
    }

    #[test]
    fn a_template_without_a_place_in_a_string_is_refused() {
        for template in [
            r#"{"msg":"x"}"#,
            r#"{"msg":{message}}"#,
            r#"{"{message}":1}"#,
            r#"{"msg":"{message}"} {message}"#,
            r#"{"msg":"{message}","time":"{now}"}"#,
            r#"{"msg":"{message}","id":{id}}"#,
            "{message}",
        ] {
            assert!(plain(template).is_err(), "{template}");
        }
        let id = || vec![Place::parse("json.id").unwrap()];
        for template in [
            r#"{"msg":"{message}"}"#,
            r#"{"msg":"{message}","id":"{id}"}"#,
            r#"{"{id}":"{message}"}"#,
        ] {
            assert!(NativeAnswer::new(401, template, id()).is_err(), "{template}");
        }
    }

    #[test]
    fn the_id_of_the_request_is_repeated_as_it_was_meant() {
        for (target, body, id) in [
            ("/a", r#"{"id":42}"#, serde_json::json!(42)),
            ("/a", r#"{"id":-1}"#, serde_json::json!(-1)),
            ("/a", r#"{"id":18446744073709551615}"#, serde_json::json!(u64::MAX)),
            ("/a", r#"{"id":"\u0061\"}"}"#, serde_json::json!("a\"}")),
            ("/a?id=7", "", serde_json::json!(7)),
            ("/a?id=007", "", serde_json::json!("007")),
            ("/a?id=%22%2C%22x%22%3A%7B", "", serde_json::json!("\",\"x\":{")),
            ("/a?id=7", r#"{"id":8}"#, serde_json::json!(8)),
        ] {
            assert_eq!(answered(target, body)["id"], id, "{target} {body}");
        }
        assert_eq!(answered("/a", r#"{"id":42}"#)["at"], 7);
    }

    #[test]
    fn what_is_no_integer_and_no_short_string_is_not_repeated() {
        let long = format!(r#"{{"id":"{}"}}"#, "a".repeat(ID_CHARS_MAX + 1));
        for body in [
            "",
            "{",
            "[]",
            r#"{"id":1.5}"#,
            r#"{"id":1e400}"#,
            r#"{"id":123456789012345678901234567890}"#,
            r#"{"id":true}"#,
            r#"{"id":{"a":1}}"#,
            r#"{"id":[1]}"#,
            r#"{"id":1,"id":2}"#,
            r#"{"params":{"id":1}}"#,
            &long,
        ] {
            assert_eq!(answered("/a", body)["id"], serde_json::Value::Null, "{body}");
        }
        for target in ["/a", "/a?id", "/a?id=1&id=2", "/a?id=%ff"] {
            assert_eq!(answered(target, "")["id"], serde_json::Value::Null, "{target}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_becomes_structure(
            id in "\\PC{0,20}", wild in r#"[{}\[\]",:0-9a\\{idnow} ]{0,40}"#, message in "\\PC{0,20}",
        ) {
            let answer = rpc();
            let encoded = percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC);
            let body = format!(r#"{{"id":{wild}}}"#);
            for echo in [answer.echo(&format!("/a?id={encoded}"), b""), answer.echo("/a", body.as_bytes())] {
                let text = answer.render_to(&message, &echo, UnixMs(1));
                let body: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(body.as_object().unwrap().len(), 3);
                prop_assert_eq!(&body["error"]["message"], &message);
                prop_assert!(!body["id"].is_object() && !body["id"].is_array());
            }
        }
    }
}
