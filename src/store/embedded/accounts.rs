//! The sentences about accounts: sight, freeze, thaw, enrol, and what an operator sees.
//!
//! Never shows a secret. Invariant: whatever makes an account less trusted voids its open
//! challenges, its unused grants and its elevations in the same transaction.

use std::sync::Arc;

use super::docs::{Account, Places, Session};
use super::guarded::addresses;
use super::rows::{Desk, FOR_EVER, Key, Kind, Rows};
use crate::locate::travel::Sighting;
use crate::stepup::challenge::Limits;
use crate::store::view::is_news;
use crate::store::{AccountCard, Enrolled, Freeze, HISTORY_MAX, StoreError, ThawAsked, Told};
use crate::types::{AccountId, Credential, Factor, UnixMs};

pub(super) fn sight(
    desk: &mut Desk<'_>,
    account: &AccountId,
    credential: &Credential,
    seen: Sighting,
) -> Result<(), StoreError> {
    let mut places = Places::load(desk, account)?;
    let mut session = Session::load(desk, account, credential)?;
    if !is_news(session.last.as_ref(), &places.countries, &places.asns, &seen) {
        return Ok(());
    }
    if let Some(country) = &seen.country {
        let away = !places.countries.is_empty();
        if learn(&mut places.countries, country.clone()) && away {
            places.arrived.insert(country.clone(), seen.at);
            places.arrived.retain(|name, _| places.countries.contains(name));
        }
    }
    if let Some(asn) = seen.asn {
        learn(&mut places.asns, asn);
    }
    // Requests overtake one another on the way here: the latest sighting stays the last.
    let is_latest = |last: &Option<Sighting>| last.as_ref().is_none_or(|last| last.at <= seen.at);
    if is_latest(&places.last) {
        places.last = Some(seen.clone());
    }
    let at = seen.at;
    if is_latest(&session.last) {
        session.last = Some(seen);
    }
    places.save(desk, account)?;
    session.save(desk, account, credential, at)
}

/// Remembers `item`, and says whether it is new; the one that became known first is forgotten when there are too many.
fn learn<T: PartialEq>(known: &mut Vec<T>, item: T) -> bool {
    if known.contains(&item) {
        return false;
    }
    known.push(item);
    let surplus = known.len().saturating_sub(HISTORY_MAX);
    known.drain(..surplus);
    true
}

pub(super) fn freeze(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    by: Arc<str>,
    now: UnixMs,
) -> Result<(), StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    account.frozen = Some(match account.frozen.take() {
        Some(freeze) => freeze.again(by),
        None => Freeze::new(now, by),
    });
    account.freezes += 1;
    account.void(desk, limits, now)?;
    account.save(desk, id)
}

pub(super) fn freeze_told(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    by: Arc<str>,
    told: Told,
    now: UnixMs,
) -> Result<Option<UnixMs>, StoreError> {
    let thawed = Account::now(desk, limits, id, now)?.thawed;
    if told.is_settled(thawed) {
        return Ok(thawed);
    }
    freeze(desk, limits, id, by, now).map(|()| None)
}

pub(super) fn thaw(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    let was_frozen = account.frozen.is_some();
    if was_frozen {
        account.thaw(desk, limits, now)?;
        account.save(desk, id)?;
    }
    Ok(was_frozen)
}

pub(super) fn ask_thaw(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    now: UnixMs,
) -> Result<ThawAsked, StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    let Some(freeze) = &mut account.frozen else { return Ok(ThawAsked::NotFrozen) };
    if freeze.by_operator() {
        return Ok(ThawAsked::ByOperator);
    }
    if let Some(at) = freeze.opens {
        return Ok(ThawAsked::Opens { at, new: false });
    }
    let at = now.plus_ms(limits.thaw_delay_ms);
    freeze.opens = Some(at);
    account.save(desk, id)?;
    Ok(ThawAsked::Opens { at, new: true })
}

pub(super) fn enrol(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    enrolled: Enrolled,
    now: UnixMs,
) -> Result<(), StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    if enrolled.by_owner() && account.frozen.is_some() {
        return Err(StoreError::Frozen);
    }
    install(desk, limits, &mut account, enrolled, now)?;
    account.save(desk, id)
}

/// Puts a factor in the place of the one of its kind. The caller saves the account.
pub(super) fn install(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &mut Account,
    enrolled: Enrolled,
    now: UnixMs,
) -> Result<(), StoreError> {
    let replaced = remove_factor(desk, limits, account, enrolled.factor, now)?;
    if enrolled.by_owner() && !replaced {
        account.security_changed = Some(now);
        account.void(desk, limits, now)?;
    }
    account.factors.push(enrolled);
    Ok(())
}

/// What is kept of a factor that was used, unless it was changed meanwhile.
pub(super) fn renew(
    desk: &mut Desk<'_>,
    id: &AccountId,
    factor: Factor,
    was: &[u8],
    secret: Vec<u8>,
) -> Result<bool, StoreError> {
    let mut account = Account::load(desk, id)?;
    let same = |known: &&mut Enrolled| known.factor == factor && known.secret == was;
    let Some(known) = account.factors.iter_mut().find(same) else { return Ok(false) };
    known.secret = secret;
    account.save(desk, id)?;
    Ok(true)
}

/// Another in its place, or none, unless it was changed meanwhile. Its owner asks, who cannot while the account is frozen.
pub(super) fn replace(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    (factor, was): (Factor, &[u8]),
    enrolled: Option<Enrolled>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    if account.frozen.is_some() {
        return Err(StoreError::Frozen);
    }
    if !account.factors.iter().any(|known| known.factor == factor && known.secret == was) {
        return Ok(false);
    }
    match enrolled {
        Some(enrolled) => install(desk, limits, &mut account, enrolled, now)?,
        None => drop(remove_factor(desk, limits, &mut account, factor, now)?),
    }
    account.save(desk, id)?;
    Ok(true)
}

pub(super) fn disenrol(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    factor: Factor,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let mut account = Account::now(desk, limits, id, now)?;
    let removed = remove_factor(desk, limits, &mut account, factor, now)?;
    account.save(desk, id)?;
    Ok(removed)
}

pub(super) fn disenrol_own(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &AccountId,
    factor: Factor,
    now: UnixMs,
) -> Result<bool, StoreError> {
    match Account::now(desk, limits, id, now)?.frozen {
        Some(_) => Err(StoreError::Frozen),
        None => disenrol(desk, limits, id, factor, now),
    }
}

/// Forgets a factor and its failures. If there was one, the account's security has changed.
fn remove_factor(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &mut Account,
    factor: Factor,
    now: UnixMs,
) -> Result<bool, StoreError> {
    account.tally.forget(factor);
    let before = account.factors.len();
    account.factors.retain(|known| known.factor != factor);
    let removed = account.factors.len() < before;
    if removed {
        if factor == Factor::Sms {
            account.number_gone = Some(now);
        }
        account.security_changed = Some(now);
        account.void(desk, limits, now)?;
    }
    Ok(removed)
}

pub(super) fn card(
    rows: &impl Rows,
    limits: &Limits,
    id: &AccountId,
    now: UnixMs,
) -> Result<AccountCard, StoreError> {
    let account = Account::load(rows, id)?.when(now);
    let places = Places::load(rows, id)?;
    Ok(AccountCard {
        account: id.clone(),
        factors: account.enrolled(limits).into_iter().map(Enrolled::card).collect(),
        failures: account.tally.failures,
        blocked_until: account.tally.blocked(limits, now),
        frozen: account.frozen,
        thawed: account.thawed,
        countries: places.countries,
        asns: places.asns,
        last: places.last,
        addresses: addresses(rows, id)?,
    })
}

/// Keeps the first value under a name.
pub(super) fn adopt(
    desk: &mut Desk<'_>,
    name: &str,
    value: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    let key = Key::new(Kind::Kept).part(name);
    if let Some(kept) = desk.bytes(&key)? {
        return Ok(kept);
    }
    desk.put_bytes(&key, FOR_EVER, &value);
    Ok(value)
}

/// Keeps the last value that was lent under a name.
pub(super) fn lend(
    desk: &mut Desk<'_>,
    name: &str,
    value: &[u8],
    until: UnixMs,
) -> Result<(), StoreError> {
    desk.put_bytes(&Key::new(Kind::Lent).part(name), until, value);
    Ok(())
}

pub(super) fn lent(
    rows: &impl Rows,
    name: &str,
    now: UnixMs,
) -> Result<Option<Vec<u8>>, StoreError> {
    rows.bytes_until(&Key::new(Kind::Lent).part(name), now)
}
