//! Literals of the condition language: a text becomes a value of the type that the fact has.
//!
//! Never converts silently: a wrong unit, a host bit, a word that is not on the list is a fault
//! with help. Invariant: what is stored compares with a fact's value without allocating.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::country;
use super::facts::Decimal;
use super::number::{self, NotANumber};
use super::table::{FactRef, Kind, Value, WALLETS};
use super::vocabulary::Vocabulary;
use crate::fault::{stranger, suggest};

/// A value that facts are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Flag(bool),
    Number(Decimal),
    /// Milliseconds.
    Duration(u64),
    Network(IpNet),
    /// Milliseconds since midnight UTC.
    TimeOfDay(u32),
    /// Compared without ASCII case.
    Word(Arc<str>),
    /// Compared exactly.
    Text(Arc<str>),
}

/// What is wrong with a literal, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub message: String,
    pub help: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }
    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Longest text that a literal may be.
const TEXT_MAX: usize = 256;
/// A century: longer is a slip of the keyboard.
const DURATION_MAX_MS: u64 = 36_525 * 86_400_000;
const UNITS: [(&str, u64); 4] = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Literal {
    /// Reads `text` as a value of the fact's kind. `quoted` says that the author means it as it is.
    ///
    /// # Errors
    /// What is wrong with it, for the author of the rule.
    pub fn parse(
        fact: &FactRef,
        text: &str,
        quoted: bool,
        vocabulary: &Vocabulary,
    ) -> Result<Self, Wrong> {
        let name = &fact.name;
        if text.len() > TEXT_MAX {
            return Err(Wrong::new(format!("this value is longer than {TEXT_MAX} characters")));
        }
        match fact.kind {
            Kind::Flag => Err(Wrong::new(format!("`{name}` is true or false by itself"))
                .help(format!("write `{name}` or `not {name}`"))),
            Kind::Number => literal_number(name, text).map(Self::Number),
            Kind::Duration => duration(text)
                .map_err(|wrong| Wrong {
                    message: format!("`{name}` is a duration, and {}", wrong.message),
                    ..wrong
                })
                .map(Self::Duration),
            Kind::Network => network(text).map(Self::Network),
            Kind::TimeOfDay => time_of_day(text).map(Self::TimeOfDay),
            Kind::Word(list) => word(name, text, list),
            Kind::Action if vocabulary.knows(text) => Ok(Self::Text(text.into())),
            Kind::Action => Err(Wrong {
                message: format!("unknown action `{text}`"),
                help: vocabulary.suggest(text),
            }),
            Kind::Country => country(text),
            Kind::Wallet if !quoted => wallet(text),
            Kind::Wallet | Kind::Name => ascii(text).map(|()| Self::Word(text.into())),
            Kind::Exact => ascii(text).map(|()| Self::Text(text.into())),
            Kind::Free => free(text).map(|()| Self::Text(text.into())),
        }
    }

    /// Whether the fact's value is this, or lies in this network.
    pub fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Network(network), Value::Address(address)) => network.contains(address),
            (Self::Word(word), Value::Text(text)) => word.eq_ignore_ascii_case(text),
            (Self::Text(text), Value::Text(other)) => **text == **other,
            (Self::Flag(flag), Value::Flag(other)) => flag == other,
            _ => self.order(value) == Some(Ordering::Equal),
        }
    }

    /// How the fact's value stands to this; `None` for types without an order.
    pub fn order(&self, value: &Value<'_>) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(literal), Value::Number(value)) => Some(number::compare(value, literal)),
            (Self::Duration(literal), Value::Duration(value)) => Some(value.cmp(literal)),
            (Self::TimeOfDay(literal), Value::TimeOfDay(value)) => Some(value.cmp(literal)),
            _ => None,
        }
    }

    /// Whether `self` to `high` is a range with something in it.
    pub fn is_at_most(&self, high: &Self) -> bool {
        match (self, high) {
            (Self::Number(low), Self::Number(high)) => number::compare(low, high).is_le(),
            (Self::Duration(low), Self::Duration(high)) => low <= high,
            (Self::TimeOfDay(low), Self::TimeOfDay(high)) => low <= high,
            _ => false,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => f.write_str(&number::plain(number)),
            Self::Duration(ms) => f.write_str(&spell_duration(*ms)),
            Self::Address(address) => write!(f, "{address}"),
            Self::TimeOfDay(ms) => write!(f, "{:02}:{:02}", ms / 3_600_000, ms / 60_000 % 60),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// `90m`, `24h`, `7d`, `1500ms`: the largest unit that says it exactly; days from the second on.
pub fn spell_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let usual = |unit: u64| unit < 86_400_000 || ms > 86_400_000;
    let exact = UNITS.iter().rev().find(|(_, unit)| ms.is_multiple_of(*unit) && usual(*unit));
    exact.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
}

/// Reads `24h`, `30m`, `45s`, `7d` into milliseconds.
///
/// # Errors
/// Why it is no duration, with an example.
pub fn duration(text: &str) -> Result<u64, Wrong> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let example = "write `45s`, `30m`, `24h` or `7d`";
    if digits.is_empty() {
        return Err(Wrong::new(format!("`{text}` is not one")).help(example));
    }
    if unit.is_empty() {
        return Err(Wrong::new(format!("`{text}` has no unit")).help(example));
    }
    let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(format!("`{unit}` is not a unit of time")).help(example));
    };
    if digits.len() > 1 && digits.starts_with('0') {
        return Err(Wrong::new(format!("`{text}` begins with a zero")).help(example));
    }
    let ms = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit_ms));
    ms.filter(|ms| *ms <= DURATION_MAX_MS)
        .ok_or_else(|| Wrong::new(format!("`{text}` is longer than a century")))
}

/// A fact's value for people: beside a duration that no unit spells exactly stands about how long it is.
pub fn legible(value: &str) -> String {
    let odd = value.strip_suffix("ms").and_then(|digits| digits.parse::<u64>().ok());
    let about = odd.and_then(|ms| {
        let (name, unit) = UNITS.iter().rev().find(|(_, unit)| ms > *unit)?;
        Some(format!(", about {}{name}", (ms + unit / 2) / unit))
    });
    format!("{value}{}", about.unwrap_or_default())
}

/// Reads back what `spell_duration` wrote: also `1500ms`, which no rule may say.
pub fn told_duration(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// A number of a policy: as `number::parse`, with `_` between digits.
fn literal_number(name: &str, text: &str) -> Result<Decimal, Wrong> {
    let lonely = text.starts_with('_')
        || text.ends_with('_')
        || text.contains("__")
        || text.contains("_.")
        || text.contains("._");
    if lonely {
        return Err(Wrong::new(format!("`{text}` is not a number: `_` stands between digits"))
            .help("write `10_000`"));
    }
    let digits = text.replace('_', "");
    number::parse(&digits).map_err(|reason| {
        let wrong = Wrong::new(format!("`{name}` is a number, and `{text}` is not: {reason}"));
        match reason {
            NotANumber::LeadingZero => wrong.help(format!("write `{}`", unpadded(&digits))),
            NotANumber::Exponent => wrong.help("write all digits, as in `10_000` or `0.00001`"),
            _ if duration(text).is_ok() => {
                wrong.help(format!("`{text}` is a duration; which fact did you mean?"))
            }
            NotANumber::NotADigit(_) => wrong.help(unit_or_base(&digits)),
            NotANumber::Signed => wrong.help("write a number of 0 or more"),
            _ => wrong,
        }
    })
}

/// What to do about a number with letters or signs in it.
fn unit_or_base(text: &str) -> String {
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text.strip_suffix(behind).unwrap_or_default();
    match behind {
        _ if text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b") => {
            "write it in decimal".to_owned()
        }
        "k" | "K" if !number.contains('.') => format!("write `{number}_000`"),
        "M" | "m" if !number.contains('.') => format!("write `{number}_000_000`"),
        "%" => "no fact is a percentage; write the number that is meant".to_owned(),
        _ if text.starts_with(['$', '€']) => "write the number alone".to_owned(),
        _ if !number.is_empty() && behind.chars().all(char::is_alphabetic) => {
            format!("write `{number}` alone: the fact has its unit in its name")
        }
        _ => "write digits only, as in `10_000` or `0.5`".to_owned(),
    }
}

fn unpadded(digits: &str) -> &str {
    let stripped = digits.trim_start_matches('0');
    if stripped.is_empty() || stripped.starts_with('.') {
        &digits[digits.len() - stripped.len() - 1..]
    } else {
        stripped
    }
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    let example = "write an address or a network, as in `192.0.2.7` or `2001:db8::/32`";
    let bare = text.parse::<IpAddr>().map(IpNet::from).ok();
    let Some(network) = bare.or_else(|| text.parse::<IpNet>().ok()) else {
        return Err(Wrong::new(format!("`{text}` is not a network")).help(example));
    };
    if network.trunc() != network {
        return Err(Wrong::new(format!("`{text}` has bits set beyond its prefix"))
            .help(format!("write `{}`", network.trunc())));
    }
    if let IpAddr::V6(address) = network.addr()
        && address.to_ipv4_mapped().is_some()
    {
        return Err(Wrong::new(format!("`{text}` is an IPv4 network in IPv6 form"))
            .help("write it as IPv4: clients are compared in that form"));
    }
    Ok(network)
}

fn time_of_day(text: &str) -> Result<u32, Wrong> {
    let two = |digits: &str, below: u32| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|value| plain && *value < below)
    };
    let parts =
        text.split_once(':').and_then(|(hour, minute)| Some((two(hour, 24)?, two(minute, 60)?)));
    parts.map(|(hour, minute)| hour * 3_600_000 + minute * 60_000).ok_or_else(|| {
        Wrong::new(format!("`{text}` is not a time of day")).help(
            "write hours and minutes in UTC, from `00:00` to `23:59`; the end of a day is `00:00`",
        )
    })
}

fn word(name: &str, text: &str, list: &'static [&'static str]) -> Result<Literal, Wrong> {
    if let Some(known) = list.iter().find(|known| known.eq_ignore_ascii_case(text)) {
        return Ok(Literal::Word((*known).into()));
    }
    let near = suggest(&text.to_ascii_lowercase(), list.iter().copied());
    Err(Wrong {
        message: format!("`{name}` is never `{text}`"),
        help: Some(near.unwrap_or_else(|| format!("it is one of {}", list.join(", ")))),
    })
}

fn country(text: &str) -> Result<Literal, Wrong> {
    if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Wrong::new(format!("`{text}` is not a country"))
            .help("write the two letters of ISO 3166-1, as in `JP`"));
    }
    if text.eq_ignore_ascii_case("uk") {
        return Err(Wrong::new(format!("`{text}` is not a country code"))
            .help("the United Kingdom is `GB`"));
    }
    let code = text.to_ascii_uppercase();
    if !country::is_known(&code) {
        let near = country::other_name(&code).map(|code| format!("did you mean `{code}`?"));
        let help = near.unwrap_or_else(|| "codes are those of ISO 3166-1, as in `JP`".to_owned());
        return Err(Wrong::new(format!("no country has the code `{text}`")).help(help));
    }
    if code != text {
        return Err(
            Wrong::new(format!("`{text}` is written in capitals")).help(format!("write `{code}`"))
        );
    }
    Ok(Literal::Word(code.into()))
}

/// Any language, but nothing that nobody can see or that only looks like another letter.
fn free(text: &str) -> Result<(), Wrong> {
    match stranger::find(text) {
        None => Ok(()),
        Some((_, odd)) => {
            let help = match stranger::look_alike(odd) {
                Some(plain) => format!("if `{plain}` is meant, write that"),
                None => "take it out; was this pasted from a document?".to_owned(),
            };
            Err(Wrong::new(stranger::describe(odd)).help(help))
        }
    }
}

/// Packs are free to name wallets, so only what looks like a slip is refused.
fn wallet(text: &str) -> Result<Literal, Wrong> {
    ascii(text)?;
    let lower = text.to_ascii_lowercase();
    if !WALLETS.contains(&&*lower)
        && let Some(help) = suggest(&lower, WALLETS.iter().copied())
    {
        return Err(Wrong::new(format!("`{text}` is almost the usual name of a wallet"))
            .help(format!("{help} If packs really say `{text}`, put it in quotes")));
    }
    Ok(Literal::Word(text.into()))
}

fn ascii(text: &str) -> Result<(), Wrong> {
    let Some(odd) = text.chars().find(|c| !matches!(c, ' '..='~')) else {
        return Ok(());
    };
    Err(Wrong::new(format!("{}, and never stands in this fact", stranger::describe(odd)))
        .help("only printable ASCII characters can match; was this pasted from a document?"))
}
