//! Shapes that several kinds of file have in common.
//!
//! Never read into: these types serve the schemas only.
#![allow(dead_code)] // Their fields are what is described.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::policy::table::{FACTS, FactSpec, Kind};
use crate::types::Factor;

/// The version of the written form; this is the first.
#[derive(JsonSchema)]
#[schemars(transparent, extend("const" = 1))]
pub(super) struct Version(u8);

/// `true`; to say nothing, leave the key out.
#[derive(JsonSchema)]
#[schemars(transparent, extend("const" = true))]
pub(super) struct True(bool);

/// A text, or a list of texts.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Texts {
    One(String),
    More(Vec<String>),
}

/// A text; a whole number, `true` and `false` count as they are spelt.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Word {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// A length of time: a number and `s`, `m`, `h` or `d`.
#[derive(JsonSchema)]
#[schemars(transparent, example = &"24h", example = &"30m", example = &"7d")]
pub(super) struct Duration(#[schemars(regex(pattern = r"^(0|[1-9][0-9]*)(s|m|h|d)$"))] String);

/// Factors joined by `and`, `or` and parentheses.
pub(super) struct Factors;

impl JsonSchema for Factors {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Factors".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = Factor::ALL.map(Factor::word).join("|");
        json_schema!({
            "type": "string",
            "description": "Factors joined by `and`, `or` and parentheses.",
            "pattern": format!("^(?:[()\\s]|\\b(?:{words}|and|or)\\b)+$"),
            "examples": ["totp", "totp or sms", "totp and sms", "totp or (sms and mail)"],
        })
    }
}

/// One factor, or a list of them.
pub(super) struct FactorList;

impl JsonSchema for FactorList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FactorList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = Factor::ALL.map(Factor::word);
        json_schema!({
            "description": "One factor, or a list of them.",
            "anyOf": [{ "enum": words }, { "type": "array", "items": { "enum": words } }],
        })
    }
}

/// Facts by name, each as a rule would write its value, or `absent`, or `unreadable`.
pub(super) struct Facts;

impl JsonSchema for Facts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Facts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut keys: BTreeMap<String, Value> = BTreeMap::new();
        let mut groups: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
        for spec in FACTS.iter().filter(|spec| !spec.name.contains('<')) {
            let value = value_of(spec);
            if let Some((group, name)) = spec.name.split_once('.') {
                groups.entry(group).or_default().insert(name, value.clone());
            }
            keys.insert(spec.name.to_owned(), value);
        }
        // `geo.country = "DE"` is the same as `"geo.country" = "DE"`; an address is a fact and a group.
        for (group, names) in groups {
            let table = json!({
                "type": "object", "properties": names, "additionalProperties": false,
            });
            let own = keys.remove(group);
            let value = own.map_or(table.clone(), |own| json!({ "anyOf": [own, table] }));
            keys.insert(group.to_owned(), value);
        }
        let family = |prefix: &str| {
            let specs = FACTS.iter().filter(|spec| spec.name.starts_with(prefix));
            let said: Vec<String> =
                specs.map(|spec| format!("`{}`: {}", spec.name, spec.meaning)).collect();
            json!({ "type": ["string", "integer"], "description": said.join("; ") })
        };
        for group in ["counters", "field"] {
            keys.insert(group.to_owned(), json!({ "type": "object" }));
        }
        json_schema!({
            "type": "object",
            "description": "Facts by name, each as a rule would write its value, or `absent`, or `unreadable`.",
            "properties": keys,
            "patternProperties": {
                COUNTER: family("counters."),
                FIELD: family("field."),
            },
            "additionalProperties": false,
        })
    }
}

/// Names of facts that go on in the author's own words.
pub(super) const COUNTER: &str = r"^counters\..+\.(count|usd)_(1h|24h|7d)$";
pub(super) const FIELD: &str = r"^field\..+$";

fn value_of(spec: &FactSpec) -> Value {
    let unit = match spec.unit() {
        "" => String::new(),
        unit => format!(", in {unit}"),
    };
    let description = format!(
        "{}{unit}. A {}. Absent: {}. Unreadable: {}.",
        spec.meaning,
        spec.kind.noun(),
        spec.when_absent,
        spec.when_unreadable
    );
    // A whole number is the text of it; `true` and `false` may stand without quotes.
    let words: Vec<Value> = match spec.kind {
        Kind::Flag => vec![json!("true"), json!("false"), json!(true), json!(false)],
        Kind::Word(words) => words.iter().map(|word| json!(word)).collect(),
        Kind::Number => return json!({ "type": ["string", "integer"], "description": description }),
        _ => return json!({ "type": "string", "description": description }),
    };
    let states = [json!("absent"), json!("unreadable")];
    let words: Vec<Value> = words.into_iter().chain(states).collect();
    json!({ "enum": words, "description": description })
}
