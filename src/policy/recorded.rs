//! Facts out of a record: the text that `told` wrote, lent to a policy again.
//!
//! Never looks anything up and never fills a gap with a guess. Invariant: what `told::tell` wrote and the log did not
//! cut or black out reads back as facts under which every policy decides the same; what is not there is unreadable, and
//! is named.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::PolicySet;
use super::facts::{
    AddressFacts, CounterTotal, Counters, Decimal, Elevation, Fact, Facts, Geo, HoldRunning, Window,
};
use super::literal;
use super::number;
use super::table::FIELD_FACTS;
use super::told::{COUNTERS, ELEMENTS_TOLD_MAX};
use crate::types::{CredentialKind, Factor, FactorSet, FieldValue, Fields, UnixMs};

/// A record tells at most so many facts; of one that tells them all, some may be missing.
pub const FACTS_MAX: usize = 256;

/// What a record says that matters for deciding it again. Facts are in the order of their names, as they were written.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'r, T> {
    pub time: UnixMs,
    pub facts: &'r [(T, T)],
    /// 1 unless it was a batch.
    pub elements: usize,
    pub elevations: &'r [Elevation],
    pub holds: &'r [HoldRunning],
    /// From the record itself, where its facts do not say.
    pub client: Option<IpAddr>,
    pub country: Option<&'r str>,
}

/// Which facts are read, and where each goes: made once per run.
#[derive(Debug)]
pub struct Reader {
    slots: HashMap<Arc<str>, Entry, RandomState>,
    /// Facts that a policy looks at, by the number that stands for them.
    wanted: Vec<Arc<str>>,
    rows: Vec<(Arc<str>, Window)>,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    wanted: Option<u16>,
}

#[derive(Clone, Debug)]
enum Slot {
    Site,
    Action,
    Usd,
    Client,
    Country,
    City,
    Asn,
    Network,
    NewCountry,
    CountryAge,
    NewAsn,
    FirstPlace,
    Distance,
    Speed,
    SessionAge,
    Credential,
    Totp,
    Sms,
    Webauthn,
    AnyFactor,
    ChangeAge,
    Known,
    Verified,
    Age,
    Idle,
    TimeOfDay,
    /// Follows from the time.
    Weekday,
    Counters,
    Count(usize),
    Spent(usize),
    Field(Arc<str>),
}

const PLAIN: [(&str, Slot); 27] = [
    ("site", Slot::Site),
    ("action", Slot::Action),
    ("usd_value", Slot::Usd),
    ("client.ip", Slot::Client),
    ("geo.country", Slot::Country),
    ("geo.city", Slot::City),
    ("geo.asn", Slot::Asn),
    ("geo.network", Slot::Network),
    ("geo.new_country", Slot::NewCountry),
    ("geo.country_age", Slot::CountryAge),
    ("geo.new_asn", Slot::NewAsn),
    ("geo.first_place", Slot::FirstPlace),
    ("geo.distance_km", Slot::Distance),
    ("geo.speed_kmh", Slot::Speed),
    ("session.age", Slot::SessionAge),
    ("credential.kind", Slot::Credential),
    ("account.has_totp", Slot::Totp),
    ("account.has_sms", Slot::Sms),
    ("account.has_webauthn", Slot::Webauthn),
    ("account.has_factor", Slot::AnyFactor),
    ("account.security_change_age", Slot::ChangeAge),
    ("address.known", Slot::Known),
    ("address.verified", Slot::Verified),
    ("address.age", Slot::Age),
    ("address.idle", Slot::Idle),
    ("time.of_day", Slot::TimeOfDay),
    ("time.weekday", Slot::Weekday),
];

impl Reader {
    /// Reads what these policies look at, and what says who would be held where.
    pub fn new(policies: &[&PolicySet]) -> Self {
        let mut reader = Self { slots: HashMap::default(), wanted: Vec::new(), rows: Vec::new() };
        for (name, slot) in PLAIN {
            reader.slots.insert(name.into(), Entry { slot, wanted: None });
        }
        for name in FIELD_FACTS {
            reader
                .slots
                .insert(name.into(), Entry { slot: Slot::Field(name.into()), wanted: None });
        }
        reader.slots.insert(COUNTERS.into(), Entry { slot: Slot::Counters, wanted: None });
        for name in policies.iter().flat_map(|policy| policy.facts()) {
            reader.want(name);
        }
        reader
    }

    fn want(&mut self, name: &str) {
        let slot = match self.slots.get(name) {
            Some(entry) if entry.wanted.is_some() => return,
            Some(entry) => entry.slot.clone(),
            None if name.starts_with("counters.") => match self.counter(name) {
                Some(slot) => slot,
                None => return,
            },
            None => match name.strip_prefix("field.") {
                Some(field) => Slot::Field(field.into()),
                None => return,
            },
        };
        let Ok(number) = u16::try_from(self.wanted.len()) else { return };
        self.slots.insert(name.into(), Entry { slot, wanted: Some(number) });
        self.wanted.push(name.into());
    }

    fn counter(&mut self, name: &str) -> Option<Slot> {
        let (action, measure) = name.strip_prefix("counters.")?.rsplit_once('.')?;
        let (what, window) = measure.split_once('_')?;
        let window = Window::ALL.into_iter().find(|known| known.word() == window)?;
        let row = self.rows.iter().position(|(name, of)| **name == *action && *of == window);
        let row = row.unwrap_or_else(|| {
            self.rows.push((action.into(), window));
            self.rows.len() - 1
        });
        match what {
            "count" => Some(Slot::Count(row)),
            "usd" => Some(Slot::Spent(row)),
            _ => None,
        }
    }

    /// The fact's name, by its number in `Recorded::unsaid`.
    pub fn name(&self, wanted: u16) -> &str {
        self.wanted.get(usize::from(wanted)).map_or("", |name| name)
    }

    /// Reads one record.
    pub fn read<'r, T: AsRef<str>>(&self, noted: &Noted<'r, T>) -> Recorded<'r> {
        let told = noted.elements.clamp(1, ELEMENTS_TOLD_MAX);
        let mut reading = Reading {
            reader: self,
            heard: vec![None; self.wanted.len()],
            now: noted.time,
            first: Element::blank(noted.client, self.rows.len()),
            others: Vec::new(),
        };
        let plain = |name: &str| told == 1 || !name.ends_with(']');
        for (name, value) in noted.facts.iter().filter(|(name, _)| plain(name.as_ref())) {
            reading.hear(name.as_ref(), value.as_ref(), None);
        }
        reading.others = vec![reading.first.clone(); told - 1];
        for (name, value) in noted.facts.iter().filter(|(name, _)| !plain(name.as_ref())) {
            if let Some((name, at)) = untagged(name.as_ref()) {
                reading.hear(name, value.as_ref(), Some(at));
            }
        }
        let cut = noted.facts.last().filter(|_| noted.facts.len() >= FACTS_MAX);
        let unsaid = reading.unsaid(cut.map(|(name, _)| name.as_ref()));
        reading.forget(&unsaid);
        let Reading { mut now, first, others, .. } = reading;
        // What is recorded as holding did hold: the line was written a moment after the decision.
        for elevation in noted.elevations {
            now = now.min(UnixMs(elevation.until.0.saturating_sub(1)));
        }
        let client = first.client;
        let place = noted.country.map_or_else(|| client.to_string().into(), Arc::from);
        let lent = |element: Element<'r>| element.settle(self);
        Recorded {
            now,
            elements: std::iter::once(first).chain(others).map(lent).collect(),
            elevations: noted.elevations.to_vec(),
            holds: noted.holds.to_vec(),
            place,
            unsaid,
            untold: match cut {
                // Which element a fact that was cut off belongs to cannot be told.
                Some(_) if told > 1 => noted.elements - 1,
                _ => noted.elements.saturating_sub(told),
            },
        }
    }
}

/// `usd_value[2]`: the fact, and the number of its element.
fn untagged(name: &str) -> Option<(&str, usize)> {
    let (name, at) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((name, at.parse().ok().filter(|at| *at > 0)?))
}

/// One record on its way in.
struct Reading<'p, 'r> {
    reader: &'p Reader,
    /// Of each wanted fact: not met yet, or whether its value could be read.
    heard: Vec<Option<bool>>,
    now: UnixMs,
    first: Element<'r>,
    others: Vec<Element<'r>>,
}

impl<'r> Reading<'_, 'r> {
    fn hear(&mut self, name: &str, value: &'r str, at: Option<usize>) {
        let Some(entry) = self.reader.slots.get(name) else { return };
        let element = match at {
            None => Some(&mut self.first),
            Some(at) => self.others.get_mut(at - 1),
        };
        let Some(element) = element else { return };
        let said = match &entry.slot {
            Slot::TimeOfDay => {
                self.now = within_minute(self.now, value);
                true
            }
            slot => element.take(slot, value, entry.wanted.is_some()),
        };
        let heard = entry.wanted.and_then(|wanted| self.heard.get_mut(usize::from(wanted)));
        if let Some(heard) = heard {
            // A batch says what it can of each element: one that is blacked out is missing.
            *heard = Some(said && heard.unwrap_or(true));
        }
    }

    /// What was looked for and not found. Facts that sort behind the last one of a full record may have been cut off;
    /// of the others, a counter that is not listed is zero and a field is not there.
    fn unsaid(&self, cut: Option<&str>) -> Vec<u16> {
        let known = |name: &str| {
            let listed_if_there = name.starts_with("counters.") || name.starts_with("field.");
            let cut_off = cut.is_some_and(|last| last < name || (last.ends_with(']')));
            listed_if_there && !cut_off
        };
        let pairs = self.reader.wanted.iter().zip(&self.heard).zip(0_u16..);
        pairs
            .filter(|((name, heard), _)| !heard.unwrap_or_else(|| known(name)))
            .map(|(_, number)| number)
            .collect()
    }

    /// What the record does not say is not taken for absent or zero.
    fn forget(&mut self, unsaid: &[u16]) {
        for name in unsaid.iter().map(|number| self.reader.name(*number)) {
            let Some(entry) = self.reader.slots.get(name) else { continue };
            for element in std::iter::once(&mut self.first).chain(&mut self.others) {
                match &entry.slot {
                    Slot::Field(name) if element.fields.iter().all(|(known, _)| known != name) => {
                        element.field(name, Fact::Unreadable);
                    }
                    slot @ (Slot::Count(_) | Slot::Spent(_)) => {
                        element.lose(slot);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The line's time is a moment behind the decision's; where the minute has changed in between, the minute told holds.
fn within_minute(time: UnixMs, told: &str) -> UnixMs {
    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;
    let two = |digits: Option<&str>| digits?.parse::<i64>().ok();
    let (Some(hour), Some(minute)) = (two(told.get(0..2)), two(told.get(3..5))) else {
        return time;
    };
    let behind = (time.0.rem_euclid(DAY) / MINUTE - hour * 60 - minute).rem_euclid(24 * 60);
    match behind {
        0 => time,
        // More than that is no slow disk: the record's time stands.
        1..=60 => UnixMs((time.0.div_euclid(MINUTE) - behind + 1) * MINUTE - 1),
        _ => time,
    }
}

/// The facts of one element, as far as they have been heard.
#[derive(Clone)]
struct Element<'r> {
    site: &'r str,
    action: &'r str,
    fields: Vec<(Arc<str>, Fact<&'r str>)>,
    usd_value: Fact<Decimal>,
    client: IpAddr,
    credential: Option<CredentialKind>,
    session_age: Fact<u64>,
    country: Fact<&'r str>,
    city: Fact<&'r str>,
    asn: Fact<u32>,
    network: &'r str,
    new_country: Fact<bool>,
    new_asn: Fact<bool>,
    first_place: bool,
    distance: Fact<f64>,
    speed: Fact<f64>,
    counters: Fact<()>,
    rows: Vec<(u64, Fact<Decimal>)>,
    known: Fact<bool>,
    verified: Fact<bool>,
    age: Fact<u64>,
    idle: Fact<u64>,
    factors: FactorSet,
    any_factor: bool,
    change_age: Fact<u64>,
    country_age: Fact<u64>,
}

impl<'r> Element<'r> {
    fn blank(client: Option<IpAddr>, rows: usize) -> Self {
        Self {
            site: "",
            action: "",
            fields: Vec::new(),
            usd_value: Fact::Unreadable,
            client: client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            credential: None,
            session_age: Fact::Unreadable,
            country: Fact::Unreadable,
            city: Fact::Unreadable,
            asn: Fact::Unreadable,
            network: "unknown",
            new_country: Fact::Unreadable,
            new_asn: Fact::Unreadable,
            first_place: false,
            distance: Fact::Unreadable,
            speed: Fact::Unreadable,
            counters: Fact::Known(()),
            rows: vec![(0, Fact::Known(Decimal::ZERO)); rows],
            known: Fact::Unreadable,
            verified: Fact::Unreadable,
            age: Fact::Unreadable,
            idle: Fact::Unreadable,
            factors: FactorSet::default(),
            any_factor: false,
            change_age: Fact::Unreadable,
            country_age: Fact::Unreadable,
        }
    }

    /// Takes one fact; answers whether the record really says it.
    fn take(&mut self, slot: &Slot, value: &'r str, wanted: bool) -> bool {
        if is_hidden(value) {
            if let Slot::Field(name) = slot {
                self.field(name, Fact::Unreadable);
            }
            return self.lose(slot);
        }
        match slot {
            Slot::Site => self.site = unquoted(value),
            Slot::Action => self.action = unquoted(value),
            Slot::Usd => self.usd_value = state(value, number::told),
            Slot::Client => self.client = value.parse().unwrap_or(self.client),
            Slot::Country => self.country = text(value),
            Slot::City => self.city = text(value),
            Slot::Asn => self.asn = state(value, |it| it.parse().ok()),
            Slot::Network => self.network = unquoted(value),
            Slot::NewCountry => self.new_country = flag(value),
            Slot::NewAsn => self.new_asn = flag(value),
            Slot::FirstPlace => self.first_place = value == "true",
            Slot::Distance => self.distance = state(value, |it| it.parse().ok()),
            Slot::Speed => self.speed = state(value, |it| it.parse().ok()),
            Slot::SessionAge => self.session_age = state(value, literal::told_duration),
            Slot::Credential => self.credential = CredentialKind::from_word(value),
            Slot::Totp => self.factor(Factor::Totp, value),
            Slot::Sms => self.factor(Factor::Sms, value),
            Slot::Webauthn => self.factor(Factor::Webauthn, value),
            Slot::AnyFactor => self.any_factor = value == "true",
            Slot::ChangeAge => self.change_age = state(value, literal::told_duration),
            Slot::CountryAge => self.country_age = state(value, literal::told_duration),
            Slot::Known => self.known = flag(value),
            Slot::Verified => self.verified = flag(value),
            Slot::Age => self.age = state(value, literal::told_duration),
            Slot::Idle => self.idle = state(value, literal::told_duration),
            Slot::Counters => self.counters = state(value, |_| Some(())),
            Slot::Count(row) => {
                if let Some((count, _)) = self.rows.get_mut(*row) {
                    *count = value.parse().unwrap_or(0);
                }
            }
            Slot::Spent(row) => {
                if let Some((_, usd)) = self.rows.get_mut(*row) {
                    // A row that is gone in a later element is zero there.
                    *usd = match value {
                        "absent" => Fact::Known(Decimal::ZERO),
                        value => state(value, number::told),
                    };
                }
            }
            Slot::Field(name) if wanted || DESTINATION.contains(&&**name) => {
                let value = text(value);
                self.field(name, value);
            }
            Slot::Field(_) | Slot::TimeOfDay | Slot::Weekday => {}
        }
        true
    }

    /// The record does not say it: what is true of the first element must not be taken for true of this one.
    fn lose(&mut self, slot: &Slot) -> bool {
        match slot {
            Slot::Usd => self.usd_value = Fact::Unreadable,
            Slot::Count(_) => self.counters = Fact::Unreadable,
            Slot::Spent(row) => {
                if let Some((_, usd)) = self.rows.get_mut(*row) {
                    *usd = Fact::Unreadable;
                }
            }
            Slot::City => self.city = Fact::Unreadable,
            _ => {}
        }
        false
    }

    fn field(&mut self, name: &Arc<str>, value: Fact<&'r str>) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => self.fields.push((name.clone(), value)),
        }
    }

    fn factor(&mut self, factor: Factor, value: &str) {
        self.factors = match value {
            "true" => self.factors.with(factor),
            _ => self.factors.iter().filter(|known| *known != factor).collect(),
        };
    }

    fn settle(self, reader: &Reader) -> Lent<'r> {
        let mut fields = Fields::default();
        for (name, value) in &self.fields {
            match value {
                Fact::Absent => {}
                Fact::Unreadable => fields.set(name.clone(), FieldValue::Unreadable),
                Fact::Known(text) => fields.set(name.clone(), FieldValue::Text((*text).into())),
            }
        }
        let rows = reader.rows.iter().zip(&self.rows).map(|((action, window), (count, usd))| {
            let total = CounterTotal { count: *count, usd: usd.known() };
            (action.clone(), *window, total)
        });
        let counters = self.counters.map(|()| Counters(rows.collect()));
        let address = match (self.known, self.verified, self.age, self.idle) {
            (Fact::Known(known), Fact::Known(verified), Fact::Known(age), Fact::Known(idle)) => {
                Fact::Known(AddressFacts { known, verified, age_ms: age, idle_ms: idle })
            }
            (Fact::Absent, ..) => Fact::Absent,
            _ => Fact::Unreadable,
        };
        let only_others = self.any_factor && self.factors.is_empty();
        let factors = if only_others { self.factors.with(Factor::Mail) } else { self.factors };
        Lent { fields, counters, address, factors, element: self }
    }
}

/// Fields that say where a hold is.
const DESTINATION: [&str; 3] = ["asset", "network", "address"];

/// The facts of one element, ready to be lent.
struct Lent<'r> {
    element: Element<'r>,
    fields: Fields,
    counters: Fact<Counters>,
    address: Fact<AddressFacts>,
    factors: FactorSet,
}

/// One record's facts. What the forecast adds to elevations and holds counts like what was recorded.
pub struct Recorded<'r> {
    pub now: UnixMs,
    pub elevations: Vec<Elevation>,
    pub holds: Vec<HoldRunning>,
    /// What an elevation's place must equal to hold here.
    pub place: Arc<str>,
    /// Facts that a policy looks at and that the record does not say, by number.
    pub unsaid: Vec<u16>,
    /// Elements of a batch that are not in the record.
    pub untold: usize,
    elements: Vec<Lent<'r>>,
}

impl Recorded<'_> {
    /// To decide on.
    pub fn facts(&self) -> Vec<Facts<'_>> {
        self.elements.iter().map(|lent| self.lend(lent)).collect()
    }

    fn lend<'s>(&'s self, lent: &'s Lent<'_>) -> Facts<'s> {
        let element = &lent.element;
        Facts {
            now: self.now,
            site: element.site,
            action: element.action,
            fields: &lent.fields,
            usd_value: element.usd_value,
            client: element.client,
            credential: element.credential,
            session_age_ms: element.session_age,
            geo: Geo {
                country: element.country,
                city: element.city,
                asn: element.asn,
                network: element.network,
                new_country: element.new_country,
                country_age: element.country_age,
                new_asn: element.new_asn,
                first_place: element.first_place,
                distance_km: element.distance,
                speed_kmh: element.speed,
            },
            counters: match &lent.counters {
                Fact::Known(counters) => Fact::Known(counters),
                Fact::Absent => Fact::Absent,
                Fact::Unreadable => Fact::Unreadable,
            },
            address: lent.address,
            factors: lent.factors,
            security_change_age_ms: element.change_age,
            elevations: &self.elevations,
            place_key: &self.place,
            holds: &self.holds,
        }
    }
}

/// The value was blacked out or cut on its way into the log.
fn is_hidden(value: &str) -> bool {
    value == "[redacted]" || value.contains("•••") || (value.ends_with('…') && value.len() > 255)
}

fn state<T>(value: &str, read: impl FnOnce(&str) -> Option<T>) -> Fact<T> {
    match value {
        "absent" => Fact::Absent,
        "unreadable" => Fact::Unreadable,
        value => read(value).map_or(Fact::Unreadable, Fact::Known),
    }
}

fn flag(value: &str) -> Fact<bool> {
    state(value, |it| match it {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}

fn text(value: &str) -> Fact<&str> {
    match value {
        "absent" => Fact::Absent,
        "unreadable" => Fact::Unreadable,
        value => Fact::Known(unquoted(value)),
    }
}

/// Only a text that could be taken for a state was put in quotes.
fn unquoted(value: &str) -> &str {
    match value {
        "\"absent\"" => "absent",
        "\"unreadable\"" => "unreadable",
        value => value,
    }
}

#[cfg(test)]
mod tests;
