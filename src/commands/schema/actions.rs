//! `<exchange>.actions.toml` and `<exchange>.actions.cases.toml`: a pack and its cases.
//!
//! Never read into: these types serve the schemas only.
#![allow(dead_code)] // Their fields are what is described.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::shapes::{Texts, True, Version};
use crate::policy::STANDING_ACTIONS;

/// A pack of stepgate: which request of one exchange's API is which action, and what of it is shown and bound.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate pack")]
pub(super) struct Pack {
    version: Version,
    /// The exchange that this file describes.
    #[schemars(example = &"okx")]
    exchange: String,
    unclassified: Option<Unclassified>,
    /// Below these paths every write that no action names is refused, whatever `unclassified` says.
    #[schemars(example = &["/api/v5/asset/"])]
    sensitive: Option<Texts>,
    /// The same for reads too, where the exchange acts on a GET.
    sensitive_reads: Option<Texts>,
    /// Values of the answer that mean that the exchange accepted.
    accepted: Option<Signs>,
    /// Values of the answer that mean that the exchange does not know itself.
    unknown: Option<Signs>,
    /// Parameters of all actions that an approval is not bound to: timestamps, signatures.
    volatile: Option<Places>,
    challenge: Option<Challenge>,
    websocket: Option<Websocket>,
    action: Option<Vec<Action>>,
}

/// What is done with requests that no action names.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Unclassified {
    /// `allow` if it is not said.
    read: Option<Say>,
    /// `deny` if it is not said.
    write: Option<Say>,
}

/// From lax to strict.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Say {
    Allow,
    Require,
    Deny,
}

/// A member of the answer (`json.code`), and the value or values of it that mean so.
type Signs = BTreeMap<String, Texts>;

/// How the exchange words an error, so that its clients understand ours.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Challenge {
    /// HTTP status of a challenge; 401 if it is not said.
    #[schemars(range(min = 100, max = 599))]
    status: Option<u16>,
    /// JSON with `{message}` in a string of it; `{now}` and `{id}` outside of strings.
    #[schemars(example = &r#"{"code":"50114","msg":"{message}","data":[]}"#)]
    body: String,
    /// Where a request says its own id, for `{id}`.
    id: Option<Places>,
}

/// Private WebSockets: their messages are read one by one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Websocket {
    /// Exact paths whose messages are read.
    #[schemars(example = &["/ws/v5/private"])]
    private: Texts,
    /// Paths that are passed on untouched, with all that lies below.
    public: Option<Texts>,
    /// Messages that mean nothing and pass.
    #[schemars(example = &["ping"])]
    plain: Option<Texts>,
    credentials: Option<Credentials>,
    /// What a refusal repeats of the message; `id` also tells which answer is whose.
    echo: Option<BTreeMap<String, String>>,
    /// The exchange's error frame, with `{message}` in a string and the names of `echo` in braces.
    error: String,
}

/// Where a message names its sender, and as which header that counts: `OK-ACCESS-KEY: {value}`, or `learnt`.
type Credentials = BTreeMap<String, String>;

/// One action: what a request with this method and path would do.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Action {
    name: ActionName,
    /// `METHOD /path/{template}`, perhaps with ` member=operation` behind it; `WS /path member=operation` for messages.
    #[schemars(rename = "match")]
    matches: Matches,
    /// The member of the body that says which operation it is.
    #[schemars(example = &"json.method")]
    select: Option<Place>,
    /// Where its parameters may stand.
    body: Option<Bodies>,
    /// Each field with its source or sources; exactly one of them may be in a request.
    fields: Option<BTreeMap<String, Places>>,
    /// Fields that must be there.
    need: Option<Texts>,
    /// Parameters that may differ when the approved action is repeated.
    volatile: Option<Places>,
    /// What the owner is shown, in this order.
    show: Option<Texts>,
    /// Fields that are compared as exact decimals, as `amount` always is.
    amounts: Option<Texts>,
    /// Fields that may be an object or a list, shown as JSON text.
    whole: Option<Texts>,
    /// Fields of plain words, in which single spaces may stand.
    labels: Option<Texts>,
    /// Fields that the request has in a form that is not read, so that rules about them apply.
    unreadable: Option<Texts>,
    /// Fields that follow from the values of others; the first row that fits.
    choose: Option<Vec<Choice>>,
    /// `false` gives ordinary traffic a name that rules and metrics can use.
    guarded: Option<bool>,
    /// It says whose WebSocket this is.
    login: Option<bool>,
    credentials: Option<Credentials>,
    /// With `login`: values without which it does not say whose connection it is.
    only: Option<Signs>,
    /// A member of its answer that is a token of whoever asked.
    #[schemars(example = &"json.result.token")]
    learn: Option<String>,
    /// As for the whole pack.
    accepted: Option<Signs>,
    /// As for the whole pack.
    unknown: Option<Signs>,
    /// The body (or `a=b&c=d`) of a request that is this action; it is tried at load.
    #[schemars(example = &r#"{"ccy":"BTC","amt":"1","toAddr":"bc1q"}"#)]
    sample: Option<String>,
}

/// A row of `choose`; without `when` it always fits.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Choice {
    /// Sources and the value or values that fit.
    when: Option<Signs>,
    /// Fields and what they are then.
    fields: BTreeMap<String, String>,
}

/// Lower-case letters, digits, `_` and `.`.
struct ActionName;

impl JsonSchema for ActionName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ActionName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "What policies call it: a standing action or a name of your own, of lower-case letters, digits, `_` and `.`.",
            "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*$",
            "examples": STANDING_ACTIONS,
        })
    }
}

/// A text with this pattern, or a list of such.
fn one_or_more(description: &str, pattern: &str, examples: &[&str]) -> Schema {
    let one = json!({ "type": "string", "pattern": pattern, "examples": examples });
    json_schema!({
        "description": description,
        "anyOf": [one, { "type": "array", "items": one }],
    })
}

struct Matches;

impl JsonSchema for Matches {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Matches".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_more(
            "`METHOD /path/{template}`, or a list of such.",
            r"^(GET|POST|PUT|PATCH|DELETE|WS) /[^ ]*( [A-Za-z0-9_]+=[^ ]+)?$",
            &["POST /api/v5/asset/withdrawal", "WS /ws/v5/private op=order"],
        )
    }
}

struct Bodies;

impl JsonSchema for Bodies {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bodies".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json!({ "enum": ["json", "form", "query", "none"] });
        json_schema!({
            "description": "Kinds of body: `json`, `form`, `query`, `none`.",
            "anyOf": [one, { "type": "array", "items": one }],
        })
    }
}

/// Where a value stands in a request.
struct Place;

impl JsonSchema for Place {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PLACE, "examples": PLACES })
    }
}

struct Places;

impl JsonSchema for Places {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Places".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_more("A source, or a list of sources.", PLACE, &PLACES)
    }
}

const PLACE: &str = r"^(json(\[\])?|form|query|path|header)\.[^ ]+$";
const PLACES: [&str; 7] = [
    "json.amt",
    "json[].amt",
    "json.orders[].amt",
    "form.amount",
    "query.id",
    "path.id",
    "header.x-id",
];

/// Cases of a pack of stepgate: what it must take requests for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate pack cases")]
pub(super) struct PackCases {
    version: Version,
    case: Option<Vec<PackCase>>,
}

/// One request, and what it must be taken for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PackCase {
    /// What it is about, in one sentence.
    name: String,
    /// An HTTP request as text; a message of a WebSocket is `WS /path`, an empty line and the message.
    request: String,
    expect: PackExpect,
}

/// One of `action`, `ordinary`, `unlisted` and `refused`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PackExpect {
    /// The guarded action that it is.
    action: Option<ActionName>,
    /// Its fields as sent, `absent` or `unreadable`; a list of tables for a batch.
    fields: Option<OneOrMoreTables>,
    /// What the owner is shown, in order: `amount = 5`.
    shown: Option<Texts>,
    /// It streams through unread; a text: under this name.
    ordinary: Option<Certainly>,
    /// No action names it, and this is what the pack says of such.
    unlisted: Option<Say>,
    /// It is not accepted; a text: for a reason in which these words stand.
    refused: Option<Certainly>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMoreTables {
    One(BTreeMap<String, String>),
    More(Vec<BTreeMap<String, String>>),
}

/// `true`, or a text that says more.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Certainly {
    Yes(True),
    Text(String),
}
