//! The facts of a case: a quiet day at home, changed by what the case says.
//!
//! Never used for real traffic. Invariant: what a case does not say is harmless (home, known
//! destination, no counters, TOTP and SMS enrolled), except the price: an amount whose worth is not
//! given has none, and that is unreadable.

mod copied;
mod settle;
mod time;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::facts::{
    AddressFacts, CounterTotal, Counters, Decimal, Elevation, Fact, Facts, Geo, HoldRunning, Window,
};
use super::history::History;
use super::literal::{Literal, Wrong};
use super::table::{FIELD_FACTS, FactRef, Kind};
use super::vocabulary::Vocabulary;
use crate::types::{CredentialKind, Factor, FactorSet, FieldValue, Fields, UnixMs};

/// 2026-01-05, a Monday, 12:00 UTC.
pub const NOON: UnixMs = UnixMs(1_767_614_400_000);
/// Where the account is at home unless the case has a history.
pub(super) const HOME: &str = "JP";
pub(super) const HOME_ASN: u32 = 64_500;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Facts from which others follow; a case's word about those others must come later.
const FIRST: [&str; 3] = ["geo.country", "geo.asn", "address.known"];

/// Owned facts of one element.
#[derive(Clone, Debug)]
pub struct Staged {
    pub now: UnixMs,
    pub elevations: Vec<Elevation>,
    pub holds: Vec<HoldRunning>,
    /// What the account did, and what it learns while a story is told.
    pub history: History,
    site: String,
    action: Arc<str>,
    fields: Fields,
    /// `None` until the case says: it follows from the fields.
    usd_value: Option<Fact<Decimal>>,
    address: Option<Fact<AddressFacts>>,
    client: IpAddr,
    credential: Option<CredentialKind>,
    session_age: Fact<u64>,
    country: Fact<String>,
    city: Fact<String>,
    asn: Fact<u32>,
    network: String,
    new_country: Option<Fact<bool>>,
    new_asn: Option<Fact<bool>>,
    country_age: Option<Fact<u64>>,
    first_place: Option<bool>,
    distance_km: Fact<f64>,
    speed_kmh: Fact<f64>,
    counters: Counters,
    counters_unreadable: bool,
    factors: FactorSet,
    security_change_age: Fact<u64>,
    place_key: String,
    /// The case said how far away this is from where the account was seen last.
    moved: bool,
    /// The case said something of the destination in this very step.
    address_said: bool,
}

impl Staged {
    pub fn new(action: &str, fields: Fields, history: History) -> Self {
        Self {
            now: NOON,
            elevations: Vec::new(),
            holds: Vec::new(),
            history,
            site: "main".to_owned(),
            action: action.into(),
            fields,
            usd_value: None,
            address: None,
            client: CLIENT,
            credential: Some(CredentialKind::Session),
            session_age: Fact::Known(10 * MINUTE_MS),
            country: Fact::Known(HOME.to_owned()),
            city: Fact::Known("Tokyo".to_owned()),
            asn: Fact::Known(HOME_ASN),
            network: "ordinary".to_owned(),
            new_country: None,
            new_asn: None,
            country_age: None,
            first_place: None,
            distance_km: Fact::Known(0.0),
            speed_kmh: Fact::Known(0.0),
            counters: Counters::default(),
            counters_unreadable: false,
            factors: [Factor::Totp, Factor::Sms].into_iter().collect(),
            security_change_age: Fact::Absent,
            place_key: String::new(),
            moved: false,
            address_said: false,
        }
    }

    /// Another request of the same account, about which nothing has been said yet.
    pub fn asks(&mut self, action: &str, fields: Fields) {
        self.action = action.into();
        self.fields = fields;
        (self.usd_value, self.address) = (None, None);
    }

    /// What proves who is asking; an API key has no sign-in that could be old.
    pub fn credential(&mut self, kind: CredentialKind) {
        self.credential = Some(kind);
        if kind == CredentialKind::ApiKey {
            self.session_age = Fact::Absent;
        }
    }

    /// The factors that are enrolled.
    pub fn enrolled(&mut self, factors: FactorSet) {
        self.factors = factors;
    }

    /// How long ago a factor or contact of the account changed.
    pub fn security_changed(&mut self, ms: u64) {
        self.security_change_age = Fact::Known(ms);
    }

    /// Somewhere else, of which nothing more has been said yet. The city of an unusual country cannot be told.
    pub fn travels(&mut self, country: &str) {
        self.city = match country.eq_ignore_ascii_case(HOME) {
            true => Fact::Known("Tokyo".to_owned()),
            false => Fact::Unreadable,
        };
        (self.client, self.asn) = (CLIENT, Fact::Known(HOME_ASN));
        "ordinary".clone_into(&mut self.network);
        if self.distance_km == Fact::Unreadable {
            (self.distance_km, self.speed_kmh) = (Fact::Known(0.0), Fact::Known(0.0));
        }
    }

    /// The destination that the request names.
    pub fn destination(&self) -> Option<&str> {
        match self.fields.find("address") {
            Some(FieldValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// How the credential's place is called in elevations.
    pub fn place_key(&self) -> &str {
        &self.place_key
    }

    /// The order in which a case's facts are set, whatever order they were written in.
    pub fn rank(name: &str) -> usize {
        FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
    }

    /// Sets one fact: a value as a rule would write it, `absent` or `unreadable`.
    ///
    /// # Errors
    /// What is wrong with the name or the value.
    pub fn set(&mut self, name: &str, text: &str, vocabulary: &Vocabulary) -> Result<(), Wrong> {
        let fact = FactRef::find(name, vocabulary)
            .map_err(|help| Wrong { message: format!("unknown fact `{name}`"), help })?;
        if is_field(name) {
            let field = name.strip_prefix("field.").unwrap_or(name);
            return self.set_field(field, text);
        }
        let state = match text {
            "absent" => Fact::Absent,
            "unreadable" => Fact::Unreadable,
            "true" if fact.kind == Kind::Flag => Fact::Known(Literal::Flag(true)),
            "false" if fact.kind == Kind::Flag => Fact::Known(Literal::Flag(false)),
            _ => Fact::Known(Literal::parse(&fact, text, false, vocabulary)?),
        };
        let group = name.split_once('.').map_or(name, |(group, _)| group);
        let known = match group {
            "geo" => self.set_place(name, state),
            "address" => {
                self.address_said = true;
                self.set_address(name, state)
            }
            "counters" => self.set_counter(name, state),
            _ => self.set_other(name, state, text),
        };
        known.ok_or_else(|| Wrong {
            message: format!("`{name}` cannot be `{text}` in a case"),
            help: None,
        })
    }

    /// Any text will do: how odd values are judged is what cases are for.
    fn set_field(&mut self, name: &str, text: &str) -> Result<(), Wrong> {
        match text {
            "absent" if self.fields.find(name).is_some() => {
                let message = format!("`{name}` is not absent: the request has it");
                return Err(Wrong { message, help: None });
            }
            "absent" => {}
            "unreadable" => self.fields.set(name, FieldValue::Unreadable),
            text => self.fields.set(name, FieldValue::Text(text.into())),
        }
        Ok(())
    }

    fn set_place(&mut self, name: &str, state: Fact<Literal>) -> Option<()> {
        match name {
            "geo.country" => {
                self.country = worded(state)?;
                // What was said of another country says nothing about this one.
                self.country_age = None;
                if self.country == Fact::Unreadable {
                    (self.city, self.asn) = (Fact::Unreadable, Fact::Unreadable);
                    (self.distance_km, self.speed_kmh) = (Fact::Unreadable, Fact::Unreadable);
                    "unknown".clone_into(&mut self.network);
                }
            }
            "geo.city" => self.city = worded(state)?,
            "geo.asn" => self.asn = parsed(state)?,
            "geo.network" => worded(state)?.known()?.clone_into(&mut self.network),
            "geo.new_country" => self.new_country = Some(flagged(state)?),
            "geo.country_age" => self.country_age = Some(timed(state)?),
            "geo.new_asn" => self.new_asn = Some(flagged(state)?),
            "geo.first_place" => self.first_place = Some(flagged(state)?.known()?),
            "geo.distance_km" => (self.distance_km, self.moved) = (parsed(state)?, true),
            "geo.speed_kmh" => (self.speed_kmh, self.moved) = (parsed(state)?, true),
            _ => return None,
        }
        Some(())
    }

    fn set_address(&mut self, name: &str, state: Fact<Literal>) -> Option<()> {
        let literal = match state {
            Fact::Known(literal) => literal,
            Fact::Absent => {
                self.address = Some(Fact::Absent);
                return Some(());
            }
            Fact::Unreadable => {
                self.address = Some(Fact::Unreadable);
                return Some(());
            }
        };
        let mut address = match self.address {
            // The address book is read as a whole or not at all.
            Some(Fact::Absent | Fact::Unreadable) => return Some(()),
            Some(Fact::Known(address)) => address,
            None => OLD_FRIEND,
        };
        match (name, literal) {
            ("address.known", Literal::Flag(true)) => address.known = true,
            ("address.known", Literal::Flag(false)) => address = STRANGER,
            ("address.verified", Literal::Flag(verified)) => address.verified = verified,
            ("address.age", Literal::Duration(ms)) => {
                address.age_ms = ms;
                address.idle_ms = address.idle_ms.min(ms);
            }
            ("address.idle", Literal::Duration(ms)) => {
                address.idle_ms = ms;
                address.age_ms = address.age_ms.max(ms);
            }
            _ => return None,
        }
        self.address = Some(Fact::Known(address));
        Some(())
    }

    fn set_counter(&mut self, name: &str, state: Fact<Literal>) -> Option<()> {
        let (action, measure) = name.strip_prefix("counters.")?.rsplit_once('.')?;
        let (what, window) = measure.split_once('_')?;
        let window = Window::ALL.into_iter().find(|known| known.word() == window)?;
        let row =
            self.counters.0.iter().position(|(name, of, _)| **name == *action && *of == window);
        let at = row.unwrap_or_else(|| {
            let nothing = CounterTotal { count: 0, usd: Some(Decimal::ZERO) };
            self.counters.0.push((action.into(), window, nothing));
            self.counters.0.len() - 1
        });
        let (_, _, total) = self.counters.0.get_mut(at)?;
        match (what, state) {
            ("usd", Fact::Known(Literal::Number(usd))) => total.usd = Some(usd),
            ("usd", Fact::Unreadable) => total.usd = None,
            ("count", Fact::Unreadable) => self.counters_unreadable = true,
            ("count", state) => total.count = parsed(state)?.known()?,
            _ => return None,
        }
        Some(())
    }

    fn set_other(&mut self, name: &str, state: Fact<Literal>, text: &str) -> Option<()> {
        match name {
            "site" => worded(state)?.known()?.clone_into(&mut self.site),
            "usd_value" => self.usd_value = Some(exact(state)?),
            "client.ip" => self.client = text.parse().ok()?,
            "credential.kind" => {
                let kinds = [
                    CredentialKind::Session,
                    CredentialKind::Bearer,
                    CredentialKind::ApiKey,
                    CredentialKind::ClientCertificate,
                ];
                let word = worded(state)?.known()?;
                self.credential = kinds.into_iter().find(|kind| kind.word() == word);
            }
            "session.age" => self.session_age = timed(state)?,
            "account.security_change_age" => self.security_change_age = timed(state)?,
            "account.has_totp" => self.enrol(&[Factor::Totp], flagged(state)?.known()?),
            "account.has_sms" => self.enrol(&[Factor::Sms], flagged(state)?.known()?),
            "account.has_webauthn" => {
                self.enrol(&[Factor::Webauthn], flagged(state)?.known()?);
            }
            "account.has_factor" => self.enrol(&Factor::ALL, flagged(state)?.known()?),
            _ => return None,
        }
        Some(())
    }

    fn enrol(&mut self, factors: &[Factor], enrolled: bool) {
        self.factors = match enrolled {
            true => self.factors.iter().chain(factors.iter().take(1).copied()).collect(),
            false => self.factors.iter().filter(|factor| !factors.contains(factor)).collect(),
        };
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts {
            now: self.now,
            site: &self.site,
            action: &self.action,
            fields: &self.fields,
            usd_value: self.usd_value.unwrap_or(Fact::Unreadable),
            client: self.client,
            credential: self.credential,
            session_age_ms: self.session_age,
            geo: Geo {
                country: borrowed(&self.country),
                city: borrowed(&self.city),
                asn: self.asn,
                network: &self.network,
                new_country: self.new_country.unwrap_or(Fact::Unreadable),
                new_asn: self.new_asn.unwrap_or(Fact::Unreadable),
                country_age: self.country_age.unwrap_or(Fact::Unreadable),
                first_place: self.first_place.unwrap_or(false),
                distance_km: self.distance_km,
                speed_kmh: self.speed_kmh,
            },
            counters: match self.counters_unreadable {
                true => Fact::Unreadable,
                false => Fact::Known(&self.counters),
            },
            address: self.address.unwrap_or(Fact::Unreadable),
            factors: self.factors,
            security_change_age_ms: self.security_change_age,
            elevations: &self.elevations,
            place_key: &self.place_key,
            holds: &self.holds,
        }
    }
}

/// A destination in good standing.
const OLD_FRIEND: AddressFacts =
    AddressFacts { known: true, verified: true, age_ms: 90 * DAY_MS, idle_ms: DAY_MS };
/// A destination never seen.
const STRANGER: AddressFacts =
    AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 };

/// Facts that are fields of the request.
fn is_field(name: &str) -> bool {
    FIELD_FACTS.contains(&name) || name.starts_with("field.")
}

fn borrowed(fact: &Fact<String>) -> Fact<&str> {
    match fact {
        Fact::Known(text) => Fact::Known(text),
        Fact::Absent => Fact::Absent,
        Fact::Unreadable => Fact::Unreadable,
    }
}

/// Converts a known value; `None` if it is of the wrong type.
fn taken<T>(state: Fact<Literal>, take: impl FnOnce(Literal) -> Option<T>) -> Option<Fact<T>> {
    Some(match state {
        Fact::Known(literal) => Fact::Known(take(literal)?),
        Fact::Absent => Fact::Absent,
        Fact::Unreadable => Fact::Unreadable,
    })
}

fn worded(state: Fact<Literal>) -> Option<Fact<String>> {
    taken(state, |literal| match literal {
        Literal::Word(word) | Literal::Text(word) => Some(word.to_string()),
        _ => None,
    })
}

fn flagged(state: Fact<Literal>) -> Option<Fact<bool>> {
    taken(state, |literal| match literal {
        Literal::Flag(flag) => Some(flag),
        _ => None,
    })
}

fn timed(state: Fact<Literal>) -> Option<Fact<u64>> {
    taken(state, |literal| match literal {
        Literal::Duration(ms) => Some(ms),
        _ => None,
    })
}

fn exact(state: Fact<Literal>) -> Option<Fact<Decimal>> {
    taken(state, |literal| match literal {
        Literal::Number(number) => Some(number),
        _ => None,
    })
}

fn parsed<T: std::str::FromStr>(state: Fact<Literal>) -> Option<Fact<T>> {
    taken(state, |literal| match literal {
        Literal::Number(number) => super::number::plain(&number).parse().ok(),
        _ => None,
    })
}
