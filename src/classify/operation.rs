//! Which of a path's actions is meant, where a member of the JSON body says so: JSON-RPC methods, WebSocket `op`s.
//!
//! Never takes a second spelling for an operation. Invariant: a body that some server would run as a guarded operation
//! is that operation in its one spelling, or it is refused.

use http::HeaderMap;

use super::canonical::for_each_key;
use super::json::{self, Json};
use super::names;
use super::read::{BODY_BYTES_MAX, Refused, json_text};

/// `member=value` behind the path of a match; a `*` at its end stands for one more word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub member: String,
    value: String,
    /// Everything that begins with `value`.
    open: bool,
}

const VALUE_BYTES_MAX: usize = 128;

impl Operation {
    /// # Errors
    /// What is wrong with it, as a sentence without a full stop.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((member, value)) = text.split_once('=') else {
            return Err(format!("`{text}`: what follows the path is written `member=value`"));
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if member.is_empty() || !member.bytes().all(word) {
            return Err(format!("`{member}`: a member's name is letters, digits and `_`"));
        }
        let (value, open) = match value.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (value, false),
        };
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || !value.bytes().all(is_plain) {
            return Err(format!(
                "`{value}`: an operation is letters, digits, `.`, `_`, `-`, `/`, perhaps with a `*` at the end"
            ));
        }
        Ok(Self { member: member.to_owned(), value: value.to_owned(), open })
    }

    /// Whether it stands for one value only.
    pub fn is_exact(&self) -> bool {
        !self.open
    }

    /// A value that it stands for.
    pub fn example(&self) -> String {
        format!("{}{}", self.value, if self.open { "x" } else { "" })
    }

    /// Whether one body could name both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.open, other.open) {
            (false, false) => self.value == other.value,
            (true, false) => self.fits(&other.value),
            (false, true) => other.fits(&self.value),
            (true, true) => {
                self.value.starts_with(&other.value) || other.value.starts_with(&self.value)
            }
        }
    }

    /// Whether this is the very value. What a `*` stands for has no slash, so that no path can hide in it.
    pub fn fits(&self, value: &str) -> bool {
        if !self.open {
            return self.value == value;
        }
        let plain = |rest: &str| rest.bytes().all(|byte| is_plain(byte) && byte != b'/');
        value.len() <= VALUE_BYTES_MAX
            && value
                .strip_prefix(&self.value)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains("..") && plain(rest))
    }

    /// Whether some server would take another value for this one: other letters, decoded, a path that leads there.
    pub fn resembles(&self, value: &str) -> bool {
        let (own, given) = (names::core(&self.value), names::core(value));
        let mut found = if self.open { given.starts_with(&own) } else { given == own };
        let told = for_each_key(&format!("/{value}"), &mut |key| {
            let key = names::core(key);
            found |= if self.open { key.starts_with(&own) } else { key == own };
        });
        found || !told
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/')
}

/// What the member of a JSON body says. `frame`: of a WebSocket, which declares no media type.
///
/// # Errors
/// If the body is not one JSON object with this member, once, in one spelling and a string.
pub(super) fn selected(
    headers: &HeaderMap,
    frame: bool,
    body: &[u8],
    member: &str,
) -> Result<String, Refused> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Refused::TooLarge);
    }
    let root = json::parse(json_text(headers, frame, body)?)?;
    let Json::Object(members) = &root else {
        return Err("the body is not a JSON object".into());
    };
    if members.iter().any(|other| names::is_variant(&other.name, member)) {
        return Err("a member's name is a variant of the one that names the operation".into());
    }
    match root.member(member) {
        Some(Json::Scalar(token)) if token.starts_with('"') => {
            json::scalar_text(token).ok_or("the body is not one JSON text".into())
        }
        Some(_) => Err("the operation is no string".into()),
        None => Err("the body does not say which operation it is".into()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn operation(text: &str) -> Operation {
        Operation::parse(text).unwrap()
    }

    #[test]
    fn an_operation_is_one_value_or_a_beginning() {
        let one = operation("method=private/withdraw");
        assert_eq!(one.member, "method");
        assert!(one.fits("private/withdraw") && !one.fits("private/withdraw2"));
        let open = operation("method=public/get_*");
        for value in ["public/get_time", "public/get_a.b-c"] {
            assert!(open.fits(value), "{value}");
        }
        for value in
            ["public/get_", "public/get_/../x", "public/get_..", "public/get_a b", "Public/get_a"]
        {
            assert!(!open.fits(value), "{value}");
        }
    }

    #[test]
    fn what_some_server_takes_for_the_operation_resembles_it() {
        let one = operation("method=private/withdraw");
        for value in [
            "Private/Withdraw",
            " private/withdraw",
            "private/withdraw\0",
            "private//withdraw",
            "/private/withdraw/",
            "private\\withdraw",
            "private%2Fwithdraw",
            "public/../private/withdraw",
            "private.withdraw",
            "privateWithdraw",
            "ｐrivate/withdraw",
            "%25252525252570rivate/withdraw",
        ] {
            assert!(!one.fits(value) && one.resembles(value), "{value}");
        }
        for value in ["private/withdraw_history", "withdraw", "", "public/ticker"] {
            assert!(!one.resembles(value), "{value}");
        }
        assert!(operation("op=batch-*").resembles("Batch-Orders"));
    }

    #[test]
    fn two_operations_that_one_body_could_name_overlap() {
        for (one, two, overlap) in [
            ("m=a", "m=a", true),
            ("m=a", "m=b", false),
            ("m=a*", "m=ab", true),
            ("m=a*", "m=a", false),
            ("m=a*", "m=ab*", true),
            ("m=a*", "m=b*", false),
        ] {
            assert_eq!(operation(one).overlaps(&operation(two)), overlap, "{one} {two}");
            assert_eq!(operation(two).overlaps(&operation(one)), overlap, "{two} {one}");
        }
    }

    #[test]
    fn an_operation_with_a_fault_says_which() {
        for (text, says) in [
            ("order", "member=value"),
            ("=order", "a member's name"),
            ("json.op=order", "a member's name"),
            ("op=", "an operation is"),
            ("op=*", "an operation is"),
            ("op=a*b", "an operation is"),
            ("op=a%62", "an operation is"),
        ] {
            let message = Operation::parse(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    fn read(media: &'static str, body: &str) -> Result<String, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media));
        selected(&headers, false, body.as_bytes(), "method")
    }

    #[test]
    fn the_member_is_a_string_once_in_one_spelling() {
        let json = "application/json";
        assert_eq!(read(json, r#"{"id":1,"method":"a\/b"}"#).unwrap(), "a/b");
        assert_eq!(read(json, r#"{"m\u0065thod":"a"}"#).unwrap(), "a");
        for body in [
            "",
            "{}",
            "[]",
            r#"[{"method":"a"}]"#,
            r#"{"method":null}"#,
            r#"{"method":1}"#,
            r#"{"method":["a"]}"#,
            r#"{"method":{"method":"a"}}"#,
            r#"{"method":"a","method":"b"}"#,
            r#"{"method":"a","Method":"b"}"#,
            r#"{"method":"a","\u004dethod":"b"}"#,
            r#"{"Method":"b"}"#,
            r#"{"method":"a"} {"method":"b"}"#,
            r#"{"params":{"method":"a"}}"#,
        ] {
            assert!(matches!(read(json, body), Err(Refused::NotCanonical(_))), "{body}");
        }
        let (form, sound) = ("application/x-www-form-urlencoded", r#"{"method":"a"}"#);
        assert!(matches!(read(form, sound), Err(Refused::MediaType(_))));
        assert_eq!(selected(&HeaderMap::new(), true, sound.as_bytes(), "method").unwrap(), "a");
        let long = format!("{{\"method\":\"{}\"}}", "a".repeat(BODY_BYTES_MAX));
        assert!(matches!(read(json, &long), Err(Refused::TooLarge)));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "\\PC{0,60}", wild in "[privatewhd/%25.\\\\]{0,40}") {
            let one = operation("method=private/withdraw");
            for value in [&value, &wild] {
                let _ = one.resembles(value);
                prop_assert!(!one.fits(value) || one.resembles(value));
            }
        }
    }
}
