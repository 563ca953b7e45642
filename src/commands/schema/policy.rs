//! `<name>.policy.toml`: sets and rules.
//!
//! Never read into: these types serve the schema only.
#![allow(dead_code)] // Their fields are what is described.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::shapes::{Duration, Factors, True, Version};
use crate::policy::STANDING_ACTIONS;

/// A policy of stepgate: which action needs what, in facts and not in addresses.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate policy")]
pub(super) struct Policy {
    version: Version,
    /// Lists that conditions name as `@name`.
    #[schemars(example = &["office = [\"203.0.113.0/24\"]"])]
    sets: Option<BTreeMap<String, Vec<Item>>>,
    /// Every rule that matches speaks, and the strictest outcome wins: freeze, deny, hold, require, allow.
    rule: Option<Vec<Rule>>,
}

/// A text as a condition would write it, or a whole number.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Item {
    Text(String),
    Number(i64),
}

/// One rule: the actions that it is about, when it speaks, and one outcome.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Rule {
    /// Names the rule in every record: lower-case letters, digits, `-`, `_` and `.`.
    #[schemars(regex(pattern = r"^[a-z0-9_.-]{1,64}$"), example = &"large-withdrawal")]
    id: String,
    /// An action, a list of actions, a group (`address_book.*`) or `*`.
    on: Actions,
    /// Speaks if this holds; without it, always. `fact < <= > >= is "is not" value`, `in @set`, `between a and b`,
    /// `matches "glob"`, sums of numbers on the left, `and`, `or`, `not`, parentheses.
    #[schemars(
        example = &"geo.new_country",
        example = &"address.age < 24h",
        example = &"usd_value > 10_000 or counters.withdrawal.usd_24h + usd_value > 50_000"
    )]
    when: Option<String>,
    /// Except if this is known to hold.
    #[schemars(example = &"client.ip in @office", example = &"usd_value < 200 and address.verified")]
    unless: Option<String>,
    /// Outcome: asks the owner for these factors.
    require: Option<Factors>,
    /// Outcome: refused until this long after it was first asked for.
    hold: Option<Duration>,
    /// Outcome: refused.
    deny: Option<True>,
    /// Outcome: refused, and the account is frozen.
    freeze: Option<True>,
    /// Outcome: passes; never against a stricter rule.
    allow: Option<True>,
    /// With `require`: an approval holds for the session, or this long, at this place; without it, for one action, once.
    valid: Option<Valid>,
    /// The owner is told when it speaks.
    notify: Option<bool>,
    /// One line for the customer.
    #[schemars(
        length(min = 1, max = 500),
        example = &"This address was added less than a day ago."
    )]
    why: Option<String>,
    /// Speaks only in the record.
    shadow: Option<bool>,
}

/// `session`, or a duration.
struct Valid;

impl JsonSchema for Valid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Valid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`session`, or a duration.",
            "pattern": r"^(session|(0|[1-9][0-9]*)(s|m|h|d))$",
            "examples": ["session", "12h"],
        })
    }
}

/// An action, a list of actions, a group or `*`.
pub(super) struct Actions;

impl JsonSchema for Actions {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Actions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut examples: Vec<Value> = vec!["*".into(), "address_book.*".into()];
        examples.extend(STANDING_ACTIONS.map(Value::from));
        let one = serde_json::json!({
            "type": "string", "pattern": r"^(\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?)$",
            "examples": examples,
        });
        json_schema!({
            "description": "An action of the site's packs or a standing one, a list of actions, a group (`address_book.*`) or `*`.",
            "anyOf": [one, { "type": "array", "minItems": 1, "items": one }],
            "examples": examples,
        })
    }
}
