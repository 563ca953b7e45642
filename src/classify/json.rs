//! One JSON text as a tree in which every scalar and every name keeps its exact spelling.
//!
//! Never converts a number. Invariant: no two parsers that follow RFC 8259 can read two different
//! things out of what passes here, because no name occurs twice.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::names;

#[derive(Debug)]
pub(crate) enum Json<'a> {
    /// The token as it stands: a quoted string, a number, `true`, `false` or `null`.
    Scalar(&'a str),
    Object(Vec<Member<'a>>),
    Array(Vec<Json<'a>>),
}

#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The name as it stands, with its quotes.
    pub raw_name: &'a str,
    pub name: String,
    pub value: Json<'a>,
}

const DEPTH_MAX: usize = 32;
/// In all objects together.
const MEMBERS_MAX: usize = 256;
/// In all arrays together.
const ELEMENTS_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 256;

/// # Errors
/// Why the text is refused.
pub(crate) fn parse(text: &str) -> Result<Json<'_>, &'static str> {
    let root: &RawValue = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
    Budget { members: MEMBERS_MAX, elements: ELEMENTS_MAX }.value(root.get(), DEPTH_MAX)
}

impl<'a> Json<'a> {
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().find(|member| member.name == name).map(|member| &member.value)
            }
            _ => None,
        }
    }
}

impl Json<'_> {
    /// Whether a name in it, however deep, is such a one.
    pub fn any_name(&self, such: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::Array(values) => values.iter().any(|value| value.any_name(such)),
            Self::Object(members) => {
                members.iter().any(|member| such(&member.name) || member.value.any_name(such))
            }
        }
    }

    /// Its text without white space between tokens.
    pub fn text(&self) -> String {
        let list = |texts: Vec<String>| texts.join(",");
        match self {
            Self::Scalar(token) => (*token).to_owned(),
            Self::Array(values) => format!("[{}]", list(values.iter().map(Self::text).collect())),
            Self::Object(members) => {
                let member = |it: &Member<'_>| format!("{}:{}", it.raw_name, it.value.text());
                format!("{{{}}}", list(members.iter().map(member).collect()))
            }
        }
    }
}

/// A string without quotes and escapes; any other scalar as it stands.
pub(super) fn scalar_text(token: &str) -> Option<String> {
    if token.starts_with('"') { serde_json::from_str(token).ok() } else { Some(token.to_owned()) }
}

/// The names in the root object, or in the first object of a root array.
pub(super) fn top_names(text: &str) -> Vec<String> {
    let root = parse(text);
    let object = match &root {
        Ok(Json::Array(elements)) => elements.first(),
        Ok(root) => Some(root),
        Err(_) => None,
    };
    match object {
        Some(Json::Object(members)) => members.iter().map(|member| member.name.clone()).collect(),
        _ => Vec::new(),
    }
}

struct Budget {
    members: usize,
    elements: usize,
}

impl Budget {
    /// `depth` counts the levels that are left; each level scans its text once more, which is
    /// bounded by it.
    fn value<'a>(&mut self, text: &'a str, depth: usize) -> Result<Json<'a>, &'static str> {
        match text.as_bytes().first() {
            Some(b'{') => self.object(text, inner(depth)?),
            Some(b'[') => self.array(text, inner(depth)?),
            _ => scalar_text(text).map(|_| Json::Scalar(text)).ok_or(NOT_JSON),
        }
    }

    fn object<'a>(&mut self, text: &'a str, depth: usize) -> Result<Json<'a>, &'static str> {
        let Members(raw) = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
        self.members = self.members.checked_sub(raw.len()).ok_or("too many members")?;
        let mut members: Vec<Member<'a>> = Vec::with_capacity(raw.len());
        for (raw_name, raw_value) in raw {
            let raw_name = raw_name.get();
            if raw_name.len() > NAME_BYTES_MAX {
                return Err("a member's name is too long");
            }
            let name = scalar_text(raw_name).ok_or(NOT_JSON)?;
            if names::is_reserved(&name) {
                return Err("a member has a reserved name");
            }
            if members.iter().any(|member| member.name == name) {
                return Err("a member is given twice");
            }
            members.push(Member { raw_name, name, value: self.value(raw_value.get(), depth)? });
        }
        Ok(Json::Object(members))
    }

    fn array<'a>(&mut self, text: &'a str, depth: usize) -> Result<Json<'a>, &'static str> {
        let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
        self.elements = self.elements.checked_sub(raw.len()).ok_or("too many elements")?;
        let values = raw.into_iter().map(|element| self.value(element.get(), depth));
        Ok(Json::Array(values.collect::<Result<_, _>>()?))
    }
}

fn inner(depth: usize) -> Result<usize, &'static str> {
    depth.checked_sub(1).ok_or(TOO_DEEP)
}

/// An object's members in order, duplicates included.
pub(crate) struct Members<'a>(pub Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Whether the beginning of a text is nested deeper than is read.
pub(crate) fn is_too_deep(beginning: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in beginning {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

pub(super) const TOO_DEEP: &str = "nested too deep";
const NOT_JSON: &str = "the body is not one JSON text";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scalars_and_names_keep_their_spelling() {
        let json = parse(r#" {"\u0061": 1.50, "b": {"c": "\u0045"}, "d": [true, null]} "#).unwrap();
        let Json::Object(members) = &json else { panic!() };
        assert_eq!(members[0].raw_name, r#""\u0061""#);
        assert!(matches!(json.member("a"), Some(Json::Scalar("1.50"))));
        let inner = json.member("b").and_then(|b| b.member("c"));
        assert!(matches!(inner, Some(Json::Scalar(r#""\u0045""#))));
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for text in [
            "",
            "{",
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1}x"#,
            "{\"a\":1}\0",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"a":1,}"#,
            "{'a':1}",
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":NaN}"#,
            r#"{"a\ud800":1}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\x61":1}"#,
            r#"{"a":1/**/}"#,
            "\u{feff}{}",
            "\u{a0}{}",
            r#"{"__proto__":{"a":1}}"#,
            r#"{"b":[{"constructor":1}]}"#,
            "{\"a\":\"\t\"}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_members_and_elements_are_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)).unwrap_err(), "nested too deep");
        assert!(parse(&nested(30_000)).is_err());
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(!is_too_deep(format!("\"\\\"{}", "[".repeat(99)).as_bytes()));
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!("\"m{at}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(&members(MEMBERS_MAX)).is_ok());
        assert_eq!(parse(&members(MEMBERS_MAX + 1)).unwrap_err(), "too many members");
        assert!(parse(&format!("[{}1]", "1,".repeat(ELEMENTS_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,100}", wild in r#"[{}\[\]",:0-9a\\u. ]{0,60}"#) {
            let _ = parse(&text);
            let _ = parse(&wild);
        }
    }
}
