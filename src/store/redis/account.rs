//! The sentences about accounts: look, sight, freeze, thaw, enrol, and what an operator sees.
//!
//! Never decides: the scripts do. Invariant: whatever a script may have changed is stale in the local view before its
//! caller hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::keys::{account_text, credential_text, join, tag_of};
use super::reply::{Fields, Reply, corrupt, list, next, number, text};
use super::{Redis, scripts};
use crate::locate::travel::{Coordinates, Sighting};
use crate::policy::facts::Elevation;
use crate::stepup::attempts::Tally;
use crate::stepup::challenge::{Limits, Pending};
use crate::store::{
    AccountCard, Arrivals, Enrolled, Freeze, Ripeness, Standing, StoreError, ThawAsked, Told,
};
use crate::types::{AccountId, Credential, Factor, FactorSet, RuleId, UnixMs};

/// An account's hash.
pub(super) struct Account {
    /// As it was written: see `when`.
    pub(super) frozen: Option<Freeze>,
    pub(super) thawed: Option<UnixMs>,
    pub(super) security_changed: Option<UnixMs>,
    pub(super) factors: Vec<Enrolled>,
    pub(super) tally: Tally,
    pub(super) countries: Vec<Arc<str>>,
    pub(super) asns: Vec<u32>,
    pub(super) arrived: Arrivals,
    pub(super) last: Option<Sighting>,
    round: i64,
    pub(super) freezes: i64,
    pub(super) number_gone: Option<UnixMs>,
}

impl Account {
    pub(super) fn read(fields: &Fields) -> Result<Self, StoreError> {
        let time = |name| Ok::<_, StoreError>(fields.number(name)?.map(UnixMs));
        let frozen = match (time("frozen_since")?, fields.text("frozen_by")?) {
            (Some(since), Some(by)) => {
                Some(Freeze { opens: time("frozen_opens")?, ..Freeze::new(since, by.into()) })
            }
            _ => None,
        };
        let factors = fields.list("factors")?.into_iter().map(read_enrolled);
        let countries = fields.list("countries")?.into_iter().map(|item| Ok(text(item)?.into()));
        let asns = fields.list("asns")?.into_iter().map(|item| small(number(item)?));
        Ok(Self {
            frozen,
            thawed: time("thawed")?,
            security_changed: time("security_changed")?,
            factors: factors.collect::<Result<_, _>>()?,
            tally: read_tally(fields)?,
            countries: countries.collect::<Result<_, StoreError>>()?,
            asns: asns.collect::<Result<_, _>>()?,
            arrived: read_arrivals(fields)?,
            last: sighting_in(fields)?,
            round: fields.number("round")?.unwrap_or(0),
            freezes: fields.number("freezes")?.unwrap_or(0),
            number_gone: time("number_gone")?,
        })
    }

    /// The factors as they stand: one that failed too often is disabled.
    fn enrolled(&self, limits: &Limits) -> Vec<Enrolled> {
        let mut factors = self.factors.clone();
        for enrolled in &mut factors {
            enrolled.disabled |= self.tally.disables(enrolled.factor, limits);
        }
        factors
    }

    /// As it is now: a freeze whose end has come is over, and what was given before is void.
    fn when(mut self, now: UnixMs) -> Self {
        if self.frozen.as_ref().is_some_and(|freeze| !freeze.holds(now)) {
            self.thawed = self.frozen.take().and_then(|freeze| freeze.opens);
            self.round = self.round.saturating_add(1);
        }
        self
    }

    /// `session`: last sighting, its place, elevations and their round.
    pub(super) fn standing(
        self,
        session: Reply,
        limits: &Limits,
        now: UnixMs,
    ) -> Result<Standing, StoreError> {
        let this = self.when(now);
        let mut session = session.list()?;
        let mut field = || next(&mut session).map(Reply::present);
        let (last, place, elevations, round) = (field()?, field()?, field()?, field()?);
        let last = match (last, place) {
            (Some(last), Some(place)) => Some(read_sighting(&last.bytes()?, &place.bytes()?)?),
            _ => None,
        };
        let round = round.map_or(Ok(0), Reply::number)?;
        let elevations = elevations.map_or(Ok(Vec::new()), Reply::bytes)?;
        let elevations = list(&elevations)?.into_iter().map(read_elevation);
        let mut elevations = elevations.collect::<Result<Vec<_>, _>>()?;
        elevations.retain(|elevation| round == this.round && now < elevation.until);
        let known = this.enrolled(limits);
        let Ripeness { ripe, young, ripens, enrolled } = Ripeness::of(&known, now);
        let since = this.frozen.as_ref().map_or(now, |freeze| freeze.since);
        Ok(Standing {
            factors: ripe,
            ripe_when_frozen: Ripeness::of(&known, since).ripe,
            young,
            ripens,
            enrolled,
            frozen: this.frozen,
            countries: this.countries,
            asns: this.asns,
            arrived: this.arrived,
            last: last.or(this.last),
            elevations,
            security_changed: this.security_changed,
            claims_count_from: this.number_gone.map(|at| at.plus_ms(limits.factor_hold_ms)),
        })
    }
}

impl Redis {
    pub(super) async fn do_look(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<Arc<Standing>, StoreError> {
        let generation = self.shared.view.generation(account);
        let mut reply = self.read(account, credential_text(credential), now).await?;
        let found = Account::read(&next(&mut reply)?.fields()?)?;
        let standing = Arc::new(found.standing(next(&mut reply)?, &self.shared.limits, now)?);
        self.shared.view.keep(account, credential, generation, Arc::clone(&standing));
        Ok(standing)
    }

    pub(super) async fn do_card(
        &self,
        id: &AccountId,
        now: UnixMs,
    ) -> Result<AccountCard, StoreError> {
        let mut reply = self.read(id, Vec::new(), now).await?;
        let account = Account::read(&next(&mut reply)?.fields()?)?.when(now);
        let addresses = next(&mut reply).and_then(|_| next(&mut reply))?.number()?;
        let limits = &self.shared.limits;
        Ok(AccountCard {
            account: id.clone(),
            factors: account.enrolled(limits).into_iter().map(Enrolled::card).collect(),
            failures: account.tally.failures,
            blocked_until: account.tally.blocked(limits, now),
            frozen: account.frozen,
            thawed: account.thawed,
            countries: account.countries,
            asns: account.asns,
            last: account.last,
            addresses: usize::try_from(addresses).unwrap_or(0),
        })
    }

    pub(super) async fn do_factors(&self, id: &AccountId) -> Result<Vec<Enrolled>, StoreError> {
        let mut reply = self.read(id, Vec::new(), self.shared.clock.now()).await?;
        let account = Account::read(&next(&mut reply)?.fields()?)?;
        Ok(account.enrolled(&self.shared.limits))
    }

    async fn read(
        &self,
        account: &AccountId,
        credential: Vec<u8>,
        now: UnixMs,
    ) -> Result<std::vec::IntoIter<Reply>, StoreError> {
        let args = vec![account_text(account), credential];
        self.shared.ask(&scripts::LOOK, tag_of(account), now, args).await?.list()
    }

    /// Changes the account, and waits until a replica knows it.
    pub(super) async fn protect(
        &self,
        script: &'static super::link::Script,
        account: &AccountId,
        args: Vec<Vec<u8>>,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let answer = self.shared.ask_replicated(script, account, args, now).await;
        self.shared.view.raise(account);
        match answer?.number()? {
            REFUSED => Err(StoreError::Frozen),
            number => Ok(number == 1),
        }
    }

    /// `told`: what is to be stopped by it, unless a thaw since has settled that.
    pub(super) async fn do_freeze(
        &self,
        account: &AccountId,
        by: &str,
        told: Option<Told>,
        now: UnixMs,
    ) -> Result<Option<UnixMs>, StoreError> {
        let time = |at: Option<UnixMs>| at.map_or(Vec::new(), |at| at.0.to_string().into_bytes());
        let (at, opens) = (told.map(|told| told.at), told.and_then(|told| told.opens));
        let args = vec![by.as_bytes().to_vec(), time(at), time(opens)];
        let answer = self.shared.ask_replicated(&scripts::FREEZE, account, args, now).await;
        self.shared.view.raise(account);
        let thawed = answer?.number()?;
        Ok((thawed != 1).then_some(UnixMs(thawed)))
    }

    pub(super) async fn do_ask_thaw(
        &self,
        account: &AccountId,
        now: UnixMs,
    ) -> Result<ThawAsked, StoreError> {
        let answer = self.shared.ask_replicated(&scripts::ASK_THAW, account, Vec::new(), now).await;
        self.shared.view.raise(account);
        let mut answer = answer?.list()?;
        let mut number = || next(&mut answer)?.number();
        Ok(match number()? {
            -1 => ThawAsked::NotFrozen,
            0 => ThawAsked::ByOperator,
            at => ThawAsked::Opens { at: UnixMs(at), new: number()? == 1 },
        })
    }
}

/// What scripts answer to an owner whose account is frozen.
const REFUSED: i64 = -1;

/// {factor, secret, label, since, disabled, last step, usable from, recovery codes, language}.
pub(super) fn write_enrolled(enrolled: &Enrolled) -> Vec<u8> {
    join([
        &factor_text(enrolled.factor)[..],
        &enrolled.secret,
        enrolled.label.as_bytes(),
        enrolled.since.0.to_string().as_bytes(),
        if enrolled.disabled { b"1" } else { b"0" },
        enrolled.last_step.map_or(String::new(), |step| step.to_string()).as_bytes(),
        enrolled.usable_from.0.to_string().as_bytes(),
        &join(&enrolled.codes),
        &optional(enrolled.language.as_deref()),
    ])
}

pub(super) fn read_enrolled(record: &[u8]) -> Result<Enrolled, StoreError> {
    read_record(&list(record)?)
}

pub(super) fn read_record(record: &[&[u8]]) -> Result<Enrolled, StoreError> {
    let [factor, secret, label, since, disabled, step, later @ ..] = record else {
        return Err(corrupt("a factor"));
    };
    // Records of earlier versions end here.
    let (usable_from, codes, language) = match later {
        [] => (*since, &b""[..], &b""[..]),
        [usable_from, codes, language] => (*usable_from, *codes, *language),
        _ => return Err(corrupt("a factor")),
    };
    let step = if step.is_empty() { None } else { u64::try_from(number(step)?).ok() };
    Ok(Enrolled {
        factor: read_factor(factor)?,
        secret: secret.to_vec(),
        label: text(label)?.to_owned(),
        since: UnixMs(number(since)?),
        disabled: *disabled == b"1",
        last_step: step,
        usable_from: UnixMs(number(usable_from)?),
        codes: texts(codes)?,
        language: read_optional(language)?,
    })
}

/// {factor, secret, label, language, recovery codes}.
pub(super) fn write_pending(pending: &Pending) -> Vec<u8> {
    join([
        &factor_text(pending.factor)[..],
        &pending.secret,
        pending.label.as_bytes(),
        &optional(pending.language.as_deref()),
        &join(&pending.codes),
    ])
}

pub(super) fn read_pending(record: &[u8]) -> Result<Pending, StoreError> {
    let record = list(record)?;
    let [factor, secret, label, language, codes] = record.as_slice() else {
        return Err(corrupt("a factor that waits"));
    };
    Ok(Pending {
        factor: read_factor(factor)?,
        secret: secret.to_vec(),
        label: text(label)?.to_owned(),
        codes: texts(codes)?,
        language: read_optional(language)?,
    })
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, StoreError> {
    list(bytes)?.into_iter().map(|item| Ok(text(item)?.to_owned())).collect()
}

/// `=` and the text, or nothing.
fn optional(text: Option<&str>) -> Vec<u8> {
    text.map_or(Vec::new(), |text| format!("={text}").into_bytes())
}

fn read_optional(bytes: &[u8]) -> Result<Option<Arc<str>>, StoreError> {
    Ok(text(bytes)?.strip_prefix('=').map(Arc::from))
}

/// The number that scripts know a factor by: its bit.
pub(super) fn factor_text(factor: Factor) -> Vec<u8> {
    (factor as u8).to_string().into_bytes()
}

fn read_factor(bytes: &[u8]) -> Result<Factor, StoreError> {
    let number = number(bytes)?;
    let found = Factor::ALL.into_iter().find(|factor| i64::from(*factor as u8) == number);
    found.ok_or_else(|| corrupt("a factor"))
}

pub(super) fn read_factors(bits: i64) -> FactorSet {
    Factor::ALL.into_iter().filter(|factor| bits & (1 << *factor as u8) != 0).collect()
}

fn read_tally(fields: &Fields) -> Result<Tally, StoreError> {
    let count = |name: &str| small(fields.number(name)?.unwrap_or(0));
    let mut by_factor = Vec::new();
    for factor in Factor::ALL {
        match count(&format!("failed{}", factor as u8))? {
            0 => {}
            failures => by_factor.push((factor, failures)),
        }
    }
    Ok(Tally {
        failures: count("failures")?,
        blocks: count("blocks")?,
        blocked_until: fields.number("blocked_until")?.map(UnixMs),
        by_factor,
    })
}

fn read_elevation(record: &[u8]) -> Result<Elevation, StoreError> {
    let record = list(record)?;
    let [rule, factors, place, until] = record.as_slice() else {
        return Err(corrupt("an elevation"));
    };
    Ok(Elevation {
        rule: RuleId::new(text(rule)?),
        factors: read_factors(number(factors)?),
        place: text(place)?.into(),
        until: UnixMs(number(until)?),
    })
}

/// Names and times in turn.
pub(super) fn write_arrivals(arrived: &Arrivals) -> Vec<u8> {
    join(arrived.iter().flat_map(|(name, at)| [name.to_string(), at.0.to_string()]))
}

fn read_arrivals(fields: &Fields) -> Result<Arrivals, StoreError> {
    let items = fields.list("arrived")?;
    let read = |pair: &[&[u8]]| match pair {
        [name, at] => Ok((text(name)?.into(), UnixMs(number(at)?))),
        _ => Err(corrupt("the days of arrival")),
    };
    items.chunks(2).map(read).collect()
}

/// `<at>|<client>` and `<network>|<latitude;longitude;radius>|=<country>`: there is one per session, and hashes are
/// small as long as no value has more than 64 bytes.
pub(super) fn write_sighting(seen: &Sighting) -> [(&'static str, Vec<u8>); 2] {
    let asn = seen.asn.map_or(String::new(), |asn| asn.to_string());
    let coordinates = seen
        .coordinates
        .map_or(String::new(), |at| format!("{};{};{}", at.latitude, at.longitude, at.radius_km));
    let country = seen.country.as_ref().map_or(String::new(), |country| format!("={country}"));
    let last = format!("{}|{}", seen.at.0, seen.client);
    [("last", last.into_bytes()), ("place", format!("{asn}|{coordinates}|{country}").into_bytes())]
}

pub(super) fn sighting_in(fields: &Fields) -> Result<Option<Sighting>, StoreError> {
    match (fields.bytes("last"), fields.bytes("place")) {
        (Some(last), Some(place)) => read_sighting(last, place).map(Some),
        _ => Ok(None),
    }
}

fn read_sighting(last: &[u8], place: &[u8]) -> Result<Sighting, StoreError> {
    parse_sighting(text(last)?, text(place)?).ok_or_else(|| corrupt("a sighting"))
}

fn parse_sighting(last: &str, place: &str) -> Option<Sighting> {
    let (at, client) = last.split_once('|')?;
    let mut parts = place.splitn(3, '|');
    let asn = match parts.next()? {
        "" => None,
        asn => Some(asn.parse().ok()?),
    };
    let coordinates = match parts.next()? {
        "" => None,
        text => {
            let mut numbers = text.split(';').map(str::parse::<f64>);
            let mut next = || numbers.next()?.ok();
            let (latitude, longitude, radius_km) = (next()?, next()?, next()?);
            Some(Coordinates { latitude, longitude, radius_km })
        }
    };
    let country = parts.next()?.strip_prefix('=').map(Arc::from);
    let (at, client): (_, IpAddr) = (UnixMs(at.parse().ok()?), client.parse().ok()?);
    Some(Sighting { at, client, country, asn, coordinates })
}

fn small(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| corrupt("a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_is_read_as_it_was_written() {
        let everything = Sighting {
            at: UnixMs(1_790_000_000_000),
            client: IpAddr::from([203, 0, 113, 7]),
            country: Some("a|b".into()),
            asn: Some(3320),
            coordinates: Some(Coordinates { latitude: 0.1, longitude: -179.9999, radius_km: 5e-7 }),
        };
        let nothing = Sighting {
            at: UnixMs(-1),
            client: "2001:db8::1".parse().expect("an address"),
            country: None,
            asn: None,
            coordinates: None,
        };
        let empty = Sighting { country: Some("".into()), ..nothing.clone() };
        for seen in [everything, nothing, empty] {
            let [(_, last), (_, place)] = write_sighting(&seen);
            assert_eq!(read_sighting(&last, &place).expect("reads"), seen);
        }
    }
}
