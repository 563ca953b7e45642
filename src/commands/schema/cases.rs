//! `<name>.cases.toml`: what the policy beside it must decide.
//!
//! Never read into: these types serve the schema only.
#![allow(dead_code)] // Their fields are what is described.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::shapes::{Duration, FactorList, Factors, Facts, Texts, Version};
use crate::policy::STANDING_ACTIONS;

/// Cases of a policy of stepgate. What a case does not say is a quiet day at home: an old session, a known destination, no
/// counters, TOTP and SMS enrolled; only an amount without `usd_value` has no price.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate policy cases")]
pub(super) struct Cases {
    version: Option<Version>,
    case: Option<Vec<Case>>,
}

/// One case: it comes out as expected, or `stepgate check` says what was said instead.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Case {
    /// What it is about, in one sentence.
    #[schemars(example = &"a large withdrawal asks for both factors")]
    name: String,
    /// When the request comes, with its zone; Monday 2026-01-05 12:00 UTC if it is not said.
    #[schemars(with = "Option<Time>")]
    now: Option<String>,
    request: Request,
    facts: Option<Facts>,
    history: Option<History>,
    /// Approvals that hold beyond one action.
    elevations: Option<Vec<Elevation>>,
    /// Holds that are running.
    holds: Option<Vec<Hold>>,
    expect: Expect,
}

/// What is asked for: an action with fields, or a raw HTTP request.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Request {
    action: Option<Action>,
    /// The fields as the pack would read them, or `unreadable`; a list of tables for a batch.
    fields: Option<OneOrMoreFields>,
    /// An HTTP request as text: `POST /path`, headers, an empty line, the body.
    raw: Option<String>,
}

/// An action of the site's packs, or a standing one.
struct Action;

impl JsonSchema for Action {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Action".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An action of the site's packs, or a standing one.",
            "examples": STANDING_ACTIONS,
        })
    }
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMoreFields {
    One(BTreeMap<String, FieldOrGroup>),
    More(Vec<BTreeMap<String, FieldOrGroup>>),
}

/// A value, or a table of values: `transfer.from = "spot"` is the field `transfer.from`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum FieldOrGroup {
    Value(String),
    Group(BTreeMap<String, FieldOrGroup>),
}

/// A time with its zone, as TOML has it or as text.
struct Time;

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time with its zone, as TOML has it or as text.",
            "examples": ["2026-01-05T12:00:00Z"],
        })
    }
}

/// Where the account was seen before; empty lists: nowhere.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct History {
    /// Countries, two letters each.
    #[schemars(example = &["JP", "DE"])]
    countries: Option<Texts>,
    /// Numbers of networks.
    asns: Option<Numbers>,
}

/// A number as text, or a list of numbers.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Numbers {
    One(String),
    More(Vec<Number>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Number {
    Text(String),
    Number(u32),
}

/// The owner gave these factors because of this rule.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Elevation {
    /// The rule that asked.
    rule: String,
    factors: Option<FactorList>,
    /// Where it holds; the place of the case if it is not said.
    #[schemars(example = &"DE")]
    place: Option<String>,
    /// How long from now on; an hour if it is not said.
    until: Option<Duration>,
}

/// A hold of this rule that has been running for so long.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hold {
    rule: String,
    since: Duration,
}

/// What must come out. What is left out is not compared.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Expect {
    verdict: Verdict,
    /// Rules that spoke aloud and are not satisfied.
    rules: Option<Texts>,
    /// Rules that spoke only for the record.
    shadow: Option<Texts>,
    /// Rules whose demand is met already.
    satisfied: Option<Texts>,
    /// What is asked for, however it is spelt.
    factors: Option<Factors>,
    /// How long a hold lasts from now.
    until: Option<Duration>,
}

/// From lax to strict: `allow`, `require`, `hold`, `deny`, `freeze`.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Verdict {
    Allow,
    Require,
    Hold,
    Deny,
    Freeze,
}
