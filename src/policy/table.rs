//! The closed table of facts: what a rule may look at, of which type, and how it is read from
//! `Facts`.
//!
//! Never grows at run time. Invariant: a fact's reader answers with values of the fact's own kind,
//! and says "absent" only for what is known not to be there; everything doubtful is "unreadable".

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::facts::{AddressFacts, Decimal, Fact, Facts, Window};
use super::number;
use super::vocabulary::Vocabulary;
use crate::fault::nearest;
use crate::types::{Factor, FieldValue};

/// The type of a fact. A literal takes its type from the fact that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flag,
    /// Exact decimal.
    Number,
    /// Milliseconds.
    Duration,
    /// An address, compared with networks.
    Network,
    /// Milliseconds since midnight UTC.
    TimeOfDay,
    /// One of a closed list; ASCII case does not matter.
    Word(&'static [&'static str]),
    /// An action that this policy may name.
    Action,
    /// A wallet of the exchange, as packs name them; a near miss of a usual name is a fault.
    Wallet,
    /// ISO 3166-1 alpha-2.
    Country,
    /// A symbol; ASCII case does not matter.
    Name,
    /// Printable ASCII, compared exactly.
    Exact,
    /// Any text, compared exactly.
    Free,
}

impl Kind {
    /// As people are told: "`x` is a …".
    pub fn noun(self) -> &'static str {
        match self {
            Self::Flag => "yes-or-no fact",
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Network => "network address",
            Self::TimeOfDay => "time of day",
            Self::Word(_) => "word of a closed list",
            Self::Action => "action",
            Self::Wallet => "wallet",
            Self::Country => "country",
            Self::Name => "symbol",
            Self::Exact | Self::Free => "text",
        }
    }

    /// Whether `<`, `>` and `between` mean anything.
    pub fn is_ordered(self) -> bool {
        matches!(self, Self::Number | Self::Duration | Self::TimeOfDay)
    }

    /// Whether `matches "glob"` means anything.
    pub fn is_open_text(self) -> bool {
        matches!(self, Self::Wallet | Self::Name | Self::Exact | Self::Free)
    }
}

/// A fact's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'f> {
    Flag(bool),
    Number(Decimal),
    Duration(u64),
    Address(IpAddr),
    TimeOfDay(u32),
    Text(&'f str),
}

/// How a fact without parameters is read.
pub type Reader = for<'f, 'a> fn(&'f Facts<'a>) -> Fact<Value<'f>>;

/// One row of the table; the reference page is made from it.
pub struct FactSpec {
    /// A name with `<…>` stands for a family of facts.
    pub name: &'static str,
    pub kind: Kind,
    pub meaning: &'static str,
    pub when_absent: &'static str,
    pub when_unreadable: &'static str,
    reader: Option<Reader>,
}

impl fmt::Debug for FactSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FactSpec {
    /// `None` for a family of facts.
    pub fn read<'f>(&self, facts: &'f Facts<'_>) -> Option<Fact<Value<'f>>> {
        self.reader.map(|reader| reader(facts))
    }

    /// Whether its reader always finds a value.
    pub fn is_always_known(&self) -> bool {
        self.when_absent == NEVER && self.when_unreadable == NEVER
    }

    /// What a literal is measured in; empty if the kind says it all.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Duration => "s, m, h or d",
            Kind::TimeOfDay => "HH:MM, UTC",
            Kind::Number if self.name.contains("usd") => "USD",
            Kind::Number if self.name.ends_with("_km") => "km",
            Kind::Number if self.name.ends_with("_kmh") => "km/h",
            Kind::Number if self.name == "amount" => "units of the asset",
            _ => "",
        }
    }
}

/// A fact as a compiled condition refers to it.
#[derive(Clone, Debug)]
pub struct FactRef {
    pub name: Arc<str>,
    pub kind: Kind,
    read: Read,
}

/// The facts that are fields of the action and have a row of their own.
pub const FIELD_FACTS: [&str; 7] =
    ["amount", "asset", "address", "network", "tag", "transfer.from", "transfer.to"];

#[derive(Clone, Debug)]
enum Read {
    Plain(Reader),
    Count(Arc<str>, Window),
    Usd(Arc<str>, Window),
    Field(Arc<str>),
}

impl FactRef {
    /// Finds a fact by the name that a rule uses.
    ///
    /// # Errors
    /// Help for the author, if there is any, when there is no such fact.
    pub fn find(name: &str, vocabulary: &Vocabulary) -> Result<Self, Option<String>> {
        let of = |kind, read| Self { name: name.into(), kind, read };
        if let Some(spec) = FACTS.iter().find(|spec| spec.name == name)
            && let Some(reader) = spec.reader
        {
            return Ok(of(spec.kind, Read::Plain(reader)));
        }
        if let Some(rest) = name.strip_prefix("counters.") {
            return counter(rest, vocabulary).map(|read| of(Kind::Number, read));
        }
        if let Some(field) = name.strip_prefix("field.").filter(|field| !field.is_empty()) {
            return Ok(of(Kind::Free, Read::Field(field.into())));
        }
        let names = FACTS.iter().filter(|spec| spec.reader.is_some()).map(|spec| spec.name);
        Err(crate::fault::suggest(name, names))
    }

    /// Whether a bare word in a condition can only be meant as a fact.
    pub fn is_name(word: &str) -> bool {
        word.starts_with("counters.")
            || word.starts_with("field.")
            || FACTS.iter().any(|spec| spec.name == word)
    }

    pub fn read<'f>(&self, facts: &'f Facts<'_>) -> Fact<Value<'f>> {
        match &self.read {
            Read::Plain(reader) => reader(facts),
            Read::Count(action, window) => counted(facts, action, *window).map(Value::Number),
            Read::Usd(action, window) => spent(facts, action, *window),
            Read::Field(name) => field(facts, name),
        }
    }

    /// The action that it counts, if it is a counter.
    pub fn counts(&self) -> Option<&str> {
        match &self.read {
            Read::Count(action, _) | Read::Usd(action, _) => Some(action),
            _ => None,
        }
    }

    /// Whether it depends on where the client is.
    pub fn is_geographic(&self) -> bool {
        self.name.starts_with("geo.")
    }
}

/// `withdrawal.usd_24h`, after the prefix.
fn counter(rest: &str, vocabulary: &Vocabulary) -> Result<Read, Option<String>> {
    let measures: Vec<String> = Window::ALL
        .iter()
        .flat_map(|window| ["count", "usd"].map(|what| format!("{what}_{}", window.word())))
        .collect();
    let Some((action, measure)) = rest.rsplit_once('.') else {
        return Err(Some("counters are written `counters.<action>.usd_24h`".to_owned()));
    };
    if !vocabulary.knows(action) {
        let near = nearest(action, vocabulary.iter().map(|name| &**name));
        let near = near.map(|near| format!("did you mean `counters.{near}.{measure}`?"));
        return Err(near.or_else(|| vocabulary.suggest(action)));
    }
    let (what, window) = measure.split_once('_').unwrap_or((measure, ""));
    let window = Window::ALL.into_iter().find(|known| known.word() == window);
    match (what, window) {
        ("count", Some(window)) => Ok(Read::Count(action.into(), window)),
        ("usd", Some(window)) => Ok(Read::Usd(action.into(), window)),
        _ => Err(nearest(measure, measures.iter().map(String::as_str))
            .map(|near| format!("did you mean `counters.{action}.{near}`?"))
            .or_else(|| Some(format!("it counts {}", measures.join(", "))))),
    }
}

fn counted(facts: &Facts<'_>, action: &str, window: Window) -> Fact<Decimal> {
    facts.counters.map(|counters| {
        let row = counters.0.iter().find(|(name, of, _)| **name == *action && *of == window);
        row.map_or(0, |(_, _, total)| total.count).into()
    })
}

fn spent<'f>(facts: &Facts<'_>, action: &str, window: Window) -> Fact<Value<'f>> {
    let counters = match facts.counters {
        Fact::Known(counters) => counters,
        Fact::Absent => return Fact::Absent,
        Fact::Unreadable => return Fact::Unreadable,
    };
    match counters.0.iter().find(|(name, of, _)| **name == *action && *of == window) {
        None => Fact::Known(Value::Number(Decimal::ZERO)),
        Some((_, _, total)) => number_or_unreadable(total.usd.and_then(number::sound)),
    }
}

fn field<'f>(facts: &'f Facts<'_>, name: &str) -> Fact<Value<'f>> {
    match facts.fields.find(name) {
        None => Fact::Absent,
        Some(FieldValue::Unreadable) => Fact::Unreadable,
        Some(FieldValue::Text(text)) => Fact::Known(Value::Text(text)),
    }
}

/// A symbol with odd characters may be read as another symbol by the exchange: nothing can be said
/// about it.
fn symbol<'f>(facts: &'f Facts<'_>, name: &str) -> Fact<Value<'f>> {
    let plain = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && text.trim() == text
    };
    match field(facts, name) {
        Fact::Known(Value::Text(text)) if !plain(text) => Fact::Unreadable,
        fact => fact,
    }
}

fn amount<'f>(facts: &'f Facts<'_>) -> Fact<Value<'f>> {
    match field(facts, "amount") {
        Fact::Known(Value::Text(text)) => number_or_unreadable(number::parse(text).ok()),
        fact => fact,
    }
}

fn number_or_unreadable<'f>(number: Option<Decimal>) -> Fact<Value<'f>> {
    number.map_or(Fact::Unreadable, |number| Fact::Known(Value::Number(number)))
}

fn usd_value<'f>(facts: &'f Facts<'_>) -> Fact<Value<'f>> {
    match facts.usd_value {
        Fact::Known(value) => number_or_unreadable(number::sound(value)),
        Fact::Absent => Fact::Absent,
        Fact::Unreadable => Fact::Unreadable,
    }
}

fn measure<'f>(fact: Fact<f64>) -> Fact<Value<'f>> {
    match fact {
        Fact::Known(value) => number_or_unreadable(number::measured(value)),
        Fact::Absent => Fact::Absent,
        Fact::Unreadable => Fact::Unreadable,
    }
}

fn of_address<'f>(
    facts: &'f Facts<'_>,
    take: fn(AddressFacts) -> Value<'static>,
) -> Fact<Value<'f>> {
    facts.address.map(take)
}

fn factor<'f>(facts: &'f Facts<'_>, factor: Factor) -> Fact<Value<'f>> {
    Fact::Known(Value::Flag(facts.factors.contains(factor)))
}

fn time_of_day<'f>(facts: &'f Facts<'_>) -> Fact<Value<'f>> {
    // The remainder of a day in milliseconds is below 2^27.
    Fact::Known(Value::TimeOfDay(facts.now.0.rem_euclid(DAY_MS) as u32))
}

fn weekday<'f>(facts: &'f Facts<'_>) -> Fact<Value<'f>> {
    // 1970-01-01 was a Thursday, which is day 3 of a week that begins on Monday.
    let day = (facts.now.0.div_euclid(DAY_MS) + 3).rem_euclid(7);
    let word = usize::try_from(day).ok().and_then(|day| WEEKDAYS.get(day));
    word.map_or(Fact::Unreadable, |word| Fact::Known(Value::Text(word)))
}

const DAY_MS: i64 = 86_400_000;
pub const WEEKDAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NETWORKS: &[&str] = &["hosting", "relay", "mobile", "ordinary", "unknown", "private"];
const CREDENTIALS: &[&str] = &["session", "bearer", "api_key", "client_certificate", "none"];
/// Usual names of wallets; packs may use others.
pub const WALLETS: &[&str] = &[
    "spot", "contract", "margin", "funding", "trading", "unified", "futures", "options", "earn",
    "savings", "main", "sub",
];

const NEVER: &str = "never";
const NOT_IN_REQUEST: &str = "the action has no such field";
const FIELD_ODD: &str = "the field is there but cannot be relied on";
const FIELD_ODD_OR_OUT: &str = "the field cannot be relied on, or is left out";
const PLACE_UNKNOWN: &str = "the address cannot be placed";
const NO_ADDRESS: &str = "the action has no address";
const NO_DESTINATION: &str =
    "the address, asset or network cannot be relied on, or a batch pays to several addresses";
const NO_ACCOUNT: &str = "nobody is signed in";
const NOT_GUARDED: &str = "the request is no guarded action";
const NO_COORDINATES: &str = "one of the places has no coordinates";

const fn fact(
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    when_absent: &'static str,
    when_unreadable: &'static str,
    reader: Reader,
) -> FactSpec {
    FactSpec { name, kind, meaning, when_absent, when_unreadable, reader: Some(reader) }
}

const fn family(
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    when_absent: &'static str,
    when_unreadable: &'static str,
) -> FactSpec {
    FactSpec { name, kind, meaning, when_absent, when_unreadable, reader: None }
}

/// Every fact there is.
#[rustfmt::skip]
pub const FACTS: &[FactSpec] = &[
    fact("site", Kind::Exact, "the site's name", NEVER, NEVER,
        |facts| Fact::Known(Value::Text(facts.site))),
    fact("action", Kind::Action, "what the request would do", NEVER, NEVER,
        |facts| Fact::Known(Value::Text(facts.action))),
    fact("amount", Kind::Number, "how much of the asset", NOT_IN_REQUEST,
        "it is not a plain decimal number, or left out", amount),
    fact("asset", Kind::Name, "which asset", NOT_IN_REQUEST, FIELD_ODD_OR_OUT,
        |facts| symbol(facts, "asset")),
    fact("address", Kind::Exact, "where it would go", NOT_IN_REQUEST, FIELD_ODD_OR_OUT,
        |facts| field(facts, "address")),
    fact("network", Kind::Name, "over which chain", NOT_IN_REQUEST, FIELD_ODD_OR_OUT,
        |facts| symbol(facts, "network")),
    fact("tag", Kind::Exact, "memo or destination tag", NOT_IN_REQUEST, FIELD_ODD,
        |facts| field(facts, "tag")),
    fact("transfer.from", Kind::Wallet, "wallet that pays", NOT_IN_REQUEST,
        "the pack does not list the request's value", |facts| symbol(facts, "transfer.from")),
    fact("transfer.to", Kind::Wallet, "wallet that receives", NOT_IN_REQUEST,
        "the pack does not list the request's value", |facts| symbol(facts, "transfer.to")),
    family("field.<name>", Kind::Free, "any other field that the pack reads",
        NOT_IN_REQUEST, FIELD_ODD),
    fact("usd_value", Kind::Number, "what the amount is worth", "the action has no amount",
        "there is no fresh price, or the amount is unreadable", usd_value),
    family("counters.<action>.count_<1h|24h|7d>", Kind::Number,
        "how often the account did it in the window, this request not counted", NOT_GUARDED, NEVER),
    family("counters.<action>.usd_<1h|24h|7d>", Kind::Number,
        "what that was worth, this request not counted", NOT_GUARDED,
        "something that is counted had no price"),
    fact("address.known", Kind::Flag, "the destination is in the gateway's address book",
        NO_ADDRESS, NO_DESTINATION,
        |facts| of_address(facts, |address| Value::Flag(address.known))),
    fact("address.verified", Kind::Flag, "the owner confirmed the destination with a factor",
        NO_ADDRESS, NO_DESTINATION,
        |facts| of_address(facts, |address| Value::Flag(address.verified))),
    fact("address.age", Kind::Duration, "since the destination was added; 0 for one never seen",
        NO_ADDRESS, NO_DESTINATION,
        |facts| of_address(facts, |address| Value::Duration(address.age_ms))),
    fact("address.idle", Kind::Duration, "since it was last added, verified or paid to",
        NO_ADDRESS, NO_DESTINATION,
        |facts| of_address(facts, |address| Value::Duration(address.idle_ms))),
    fact("client.ip", Kind::Network, "the client's address", NEVER, NEVER,
        |facts| Fact::Known(Value::Address(facts.client.to_canonical()))),
    fact("geo.country", Kind::Country, "country of the client's address", NEVER, PLACE_UNKNOWN,
        |facts| facts.geo.country.map(Value::Text)),
    fact("geo.city", Kind::Free, "city of the client's address, in English", NEVER, PLACE_UNKNOWN,
        |facts| facts.geo.city.map(Value::Text)),
    fact("geo.asn", Kind::Number, "autonomous system of the client's address", NEVER, PLACE_UNKNOWN,
        |facts| facts.geo.asn.map(|asn| Value::Number(asn.into()))),
    fact("geo.network", Kind::Word(NETWORKS), "kind of the client's network", NEVER, NEVER,
        |facts| Fact::Known(Value::Text(facts.geo.network))),
    fact("geo.new_country", Kind::Flag,
        "the account was seen elsewhere, and never in this country", NO_ACCOUNT,
        "the address cannot be placed, or is a relay that the account has not used", |facts| facts.geo.new_country.map(Value::Flag)),
    fact("geo.country_age", Kind::Duration,
        "since the account was first seen in this country; 0 for a new one, since 1970 for its first",
        "nobody is signed in, or the account has no known place yet",
        "the address cannot be placed, or is a relay that the account has not used",
        |facts| facts.geo.country_age.map(Value::Duration)),
    fact("geo.new_asn", Kind::Flag, "the account was seen elsewhere, and never in this network",
        NO_ACCOUNT, PLACE_UNKNOWN, |facts| facts.geo.new_asn.map(Value::Flag)),
    fact("geo.first_place", Kind::Flag, "the account has no known place yet", NEVER, NEVER,
        |facts| Fact::Known(Value::Flag(facts.geo.first_place))),
    fact("geo.distance_km", Kind::Number, "distance from where the session, else the account, was seen last",
        "it was not seen before", NO_COORDINATES,
        |facts| measure(facts.geo.distance_km)),
    fact("geo.speed_kmh", Kind::Number, "how fast one must have travelled from there",
        "it was not seen before", NO_COORDINATES,
        |facts| measure(facts.geo.speed_kmh)),
    fact("session.age", Kind::Duration, "since the owner signed in (`auth_time`, else `iat`)",
        "it is an API key, or nobody is signed in", "the session or token does not say", |facts| facts.session_age_ms.map(Value::Duration)),
    fact("credential.kind", Kind::Word(CREDENTIALS), "what proves who is asking", NEVER, NEVER,
        |facts| Fact::Known(Value::Text(facts.credential.map_or("none", |kind| kind.word())))),
    fact("account.has_totp", Kind::Flag, "an authenticator is enrolled", NEVER, NEVER,
        |facts| factor(facts, Factor::Totp)),
    fact("account.has_sms", Kind::Flag, "a phone number is enrolled", NEVER, NEVER,
        |facts| factor(facts, Factor::Sms)),
    fact("account.has_webauthn", Kind::Flag, "a passkey is enrolled", NEVER, NEVER,
        |facts| factor(facts, Factor::Webauthn)),
    fact("account.has_factor", Kind::Flag, "at least one factor is enrolled", NEVER, NEVER,
        |facts| Fact::Known(Value::Flag(!facts.factors.is_empty()))),
    fact("account.security_change_age", Kind::Duration,
        "since an enrolled factor of the account was replaced or removed", "none ever was", NEVER,
        |facts| facts.security_change_age_ms.map(Value::Duration)),
    fact("time.of_day", Kind::TimeOfDay, "time of the request", NEVER, NEVER,
        time_of_day),
    fact("time.weekday", Kind::Word(WEEKDAYS), "day of the request", NEVER, NEVER,
        weekday),
];

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::staged::Staged;
    use super::*;
    use crate::types::Fields;

    #[test]
    fn every_reader_answers_with_its_own_kind() {
        let mut fields = Fields::default();
        for name in ["asset", "address", "network", "tag", "transfer.from", "transfer.to"] {
            fields.set(name, FieldValue::Text("x".into()));
        }
        fields.set("amount", FieldValue::Text("1".into()));
        let vocabulary = Vocabulary::new(&[]);
        let mut staged = Staged::new("withdrawal", fields, History::default());
        for (name, value) in [("usd_value", "1"), ("account.security_change_age", "1h")] {
            staged.set(name, value, &vocabulary).unwrap();
        }
        staged.settle();
        let facts = staged.facts();
        for spec in FACTS.iter().filter(|spec| spec.reader.is_some()) {
            let fact = FactRef::find(spec.name, &vocabulary).unwrap();
            let fits = match (fact.read(&facts), spec.kind) {
                (Fact::Known(Value::Flag(_)), Kind::Flag)
                | (Fact::Known(Value::Number(_)), Kind::Number)
                | (Fact::Known(Value::Duration(_)), Kind::Duration)
                | (Fact::Known(Value::Address(_)), Kind::Network)
                | (Fact::Known(Value::TimeOfDay(_)), Kind::TimeOfDay) => true,
                (Fact::Known(Value::Text(text)), Kind::Word(list)) => list.contains(&text),
                (Fact::Known(Value::Text(_)), kind) => {
                    kind.is_open_text() || matches!(kind, Kind::Action | Kind::Country)
                }
                _ => false,
            };
            assert!(fits, "{}", spec.name);
        }
    }

    #[test]
    fn names_of_the_table_are_unique_and_explained() {
        for (at, spec) in FACTS.iter().enumerate() {
            let again = FACTS.iter().skip(at + 1).any(|other| other.name == spec.name);
            assert!(!again && !spec.meaning.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn days_of_the_week_follow_the_calendar() {
        let staged = Staged::new("login", Fields::default(), History::default());
        for (now, day) in
            [(0, "thu"), (-1, "wed"), (1_767_614_400_000, "mon"), (951_782_400_000, "tue")]
        {
            let facts = Facts { now: crate::types::UnixMs(now), ..staged.facts() };
            assert_eq!(weekday(&facts), Fact::Known(Value::Text(day)));
        }
    }
}
