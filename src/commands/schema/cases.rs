//! `<name>.cases.toml`: what the policy beside it must decide.
//!
//! Never read into: these types serve the schema only.
#![allow(dead_code)] // Their fields are what is described.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::shapes::{COUNTER, Duration, FIELD, FactorList, Factors, Facts, Texts, Version, Word};
use crate::policy::STANDING_ACTIONS;
use crate::policy::cases::COLUMN_WORDS;
use crate::policy::table::FACTS;

/// Cases of a policy of stepgate. What a case does not say is a quiet day at home: an old session, a known destination, no
/// counters, TOTP and SMS enrolled; only an amount without `usd_value` has no price.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate policy cases")]
pub(super) struct Cases {
    version: Option<Version>,
    /// A story each: a request, and what happens after it.
    case: Option<Vec<Case>>,
    /// Many cases that differ in a few words, one a row.
    table: Option<Vec<CaseTable>>,
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
    account: Option<Account>,
    /// As `account` was called when it knew countries and networks only.
    history: Option<History>,
    place: Option<PlaceOrCountry>,
    credential: Option<Credential>,
    request: Request,
    facts: Option<Facts>,
    /// Approvals that hold beyond one action.
    elevations: Option<Vec<Elevation>>,
    /// Holds that are running.
    holds: Option<Vec<Hold>>,
    expect: Expect,
    /// The codes that the owner gives when asked.
    answer: Option<FactorList>,
    /// What the same account does some time later, one step after the other.
    then: Option<Vec<Then>>,
}

/// The same account after some time: ages grow, windows move, approvals last as long as their rule says.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Then {
    /// Since the step before; at once if it is not said.
    after: Option<Duration>,
    /// From here on; where it was if it is not said.
    place: Option<PlaceOrCountry>,
    credential: Option<Credential>,
    /// The same as before if it is not said.
    request: Option<Request>,
    facts: Option<Facts>,
    expect: Expect,
    /// The codes that the owner gives when asked.
    answer: Option<FactorList>,
}

/// Many cases that differ in a few words: what is said here is said of all, and a cell says it of its row.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CaseTable {
    /// What it is about.
    #[schemars(example = &"what is large")]
    name: String,
    /// What the cells of a row say: facts, and words of cases.
    columns: Vec<Column>,
    /// A list of texts each, as many as there are columns; `-` says nothing, and `none` no rule at all.
    #[schemars(length(min = 1, max = 10_000), example = &[["12000", "require", "large-withdrawal"], ["10", "allow", "none"]])]
    rows: Vec<Vec<Cell>>,
    /// When the request comes, with its zone; Monday 2026-01-05 12:00 UTC if it is not said.
    #[schemars(with = "Option<Time>")]
    now: Option<String>,
    account: Option<Account>,
    place: Option<PlaceOrCountry>,
    credential: Option<Credential>,
    /// Left out if `action` is a column.
    request: Option<Request>,
    facts: Option<Facts>,
    /// Approvals that hold beyond one action.
    elevations: Option<Vec<Elevation>>,
    /// Holds that are running.
    holds: Option<Vec<Hold>>,
    expect: Option<ExpectOfAll>,
    /// The codes that the owner gives when asked.
    answer: Option<FactorList>,
}

/// A text, or a whole number.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Cell {
    Text(String),
    Number(i64),
}

/// A fact, or a word of cases.
struct Column;

impl JsonSchema for Column {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let facts = FACTS.iter().map(|spec| spec.name).filter(|name| !name.contains('<'));
        let names: Vec<&str> = COLUMN_WORDS.into_iter().chain(facts).collect();
        json_schema!({
            "description": "A fact, or a word of cases.",
            "anyOf": [
                { "enum": names },
                { "type": "string", "pattern": COUNTER },
                { "type": "string", "pattern": FIELD },
            ],
        })
    }
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
    Value(Word),
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

/// What is known of the account. What is not said is a quiet life at home.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Account {
    /// Countries where it was seen before, two letters each; an empty list: nowhere.
    #[schemars(example = &["JP", "DE"])]
    countries: Option<Texts>,
    /// Networks that it was seen in before.
    #[schemars(example = &[64500])]
    asns: Option<Numbers>,
    /// What it can prove itself with.
    factors: Option<FactorList>,
    /// How long ago its factors were changed.
    security_change: Option<Duration>,
    /// Its address book; with it, any other destination is a stranger.
    addresses: Option<Vec<Address>>,
    /// What it did before.
    done: Option<Vec<Done>>,
}

/// An entry of the address book.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Address {
    #[schemars(example = &"bc1q")]
    address: String,
    /// How long ago.
    added: Duration,
    /// How long ago it was last used; when it was added if it is not said.
    used: Option<Duration>,
    /// `true` if it is not said.
    verified: Option<bool>,
}

/// Something that the account did, for counters.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Done {
    action: Action,
    /// How often; once if it is not said.
    #[schemars(example = &3)]
    times: Option<Whole>,
    /// What it was worth in all.
    #[schemars(example = &"41000")]
    usd: Option<Whole>,
    ago: Duration,
}

/// A whole number, or a number as text.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Whole {
    Number(#[schemars(range(min = 0))] u64),
    Text(#[schemars(regex(pattern = r"^[0-9][0-9_]*(\.[0-9]+)?$"))] String),
}

/// A country, two letters or `unknown`; or a table that says more of where the request comes from.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PlaceOrCountry {
    #[schemars(example = &"DE")]
    Country(String),
    Place(Place),
}

/// Where the request comes from, each as the fact of its name, or `absent`, or `unreadable`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Place {
    /// `geo.country`: two letters, or `unknown`.
    #[schemars(example = &"DE")]
    country: Option<Word>,
    /// `geo.city`.
    #[schemars(example = &"Berlin")]
    city: Option<Word>,
    /// `geo.asn`.
    #[schemars(example = &64501)]
    asn: Option<Word>,
    /// `geo.network`.
    #[schemars(example = &"vpn")]
    network: Option<Word>,
    /// `geo.distance_km`; in a `then`, the speed follows from it and the time.
    #[schemars(example = &7000)]
    distance_km: Option<Word>,
    /// `geo.speed_kmh`.
    #[schemars(example = &900)]
    speed_kmh: Option<Word>,
    /// `client.ip`.
    #[schemars(example = &"95.90.0.1")]
    ip: Option<Word>,
}

/// Who is asking: `session`, `bearer`, `api_key` or `client_certificate`.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Credential {
    Session,
    Bearer,
    ApiKey,
    ClientCertificate,
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
    /// What is asked for, however it is spelt; or a table of it by rule.
    factors: Option<FactorsOrByRule>,
    /// How long a hold lasts from now.
    until: Option<Duration>,
    /// Whether the owner is told, or because of which rules.
    notify: Option<Notify>,
    /// How long an approval of all that is asked is good for; or a table of it by rule.
    valid: Option<ValidOrByRule>,
}

/// What must come out of all rows. What is left out is not compared, or is said by a cell.
struct ExpectOfAll;

impl JsonSchema for ExpectOfAll {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExpectOfAll".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Expect::json_schema(generator);
        schema.remove("required");
        let said = "What must come out of all rows. What is left out is not compared, or is said by a cell.";
        schema.insert("description".to_owned(), said.into());
        schema
    }
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum FactorsOrByRule {
    All(Factors),
    By(BTreeMap<String, Factors>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Notify {
    Told(bool),
    By(Texts),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ValidOrByRule {
    All(Valid),
    By(BTreeMap<String, Valid>),
}

/// `once`, `session` or a duration.
struct Valid;

impl JsonSchema for Valid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Valid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`once`, `session` or a duration.",
            "pattern": r"^(once|session|(0|[1-9][0-9]*)(s|m|h|d))$",
            "examples": ["once", "session", "12h"],
        })
    }
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
