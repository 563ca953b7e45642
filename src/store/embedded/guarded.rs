//! The sentences about guarded requests: begin, abandon, settle, recover.
//!
//! Never forwards or decides. Invariant: an attempt is counted from its beginning until it is
//! refused or abandoned, and a grant is used by at most one attempt.

use std::sync::Arc;

use super::docs::{Account, Address, Attempt, Holds, Stage, end, save_challenge, standing};
use super::rows::{Desk, Key, Kind, Rows, corrupt};
use crate::policy::facts::{AddressFacts, Counters, HoldRunning, Window};
use crate::stepup::attempts::DAY_MS;
use crate::stepup::challenge::{Challenge, Limits, Scope, State};
use crate::stepup::{Proof, redeem};
use crate::store::ledger::{Ledger, Unreadable, price};
use crate::store::moved::ADDRESS_KEPT_MS;
use crate::store::{Begin, Begun, Consult, Consulted, Learn, Orphan, Settled, StoreError};
use crate::types::{AccountId, ActionName, AttemptId, RuleId, UnixMs};

pub(super) fn begin(
    desk: &mut Desk<'_>,
    limits: &Limits,
    begin: Begin,
    now: UnixMs,
) -> Result<Begun, StoreError> {
    if Attempt::load(desk, &begin.attempt)?.is_some() {
        return Err(StoreError::Unavailable("this attempt has begun before".to_owned()));
    }
    let mut account = Account::now(desk, limits, &begin.account, now)?;
    let live = account.live(desk, now)?;
    let open = open_for(&live, &begin);
    let proof = take_grant(desk, limits, &mut account, live, &begin, now)?;
    let who = Orphan {
        attempt: begin.attempt,
        site: begin.site,
        account: begin.account,
        credential: begin.credential,
        action: begin.action,
        intent: begin.intent,
        began: now,
    };
    let holds_key = Holds::key(&who, begin.destination.as_deref());
    let begun = Begun {
        standing: standing(desk, &who.account, &who.credential, limits, now)?,
        counters: totals(desk, &who.account, now)?,
        address: begin
            .destination
            .as_deref()
            .map(|destination| address_facts(desk, &who.account, destination, now))
            .transpose()?,
        holds: Holds::load(desk, &holds_key, account.freezes, now)?.running,
        proof,
        open,
    };
    let usd = price(begin.usd);
    change_ledger(desk, &who.account, &who.action, now, |ledger| ledger.add(usd.as_deref(), now))?;
    let proved = begun.proof.is_some();
    let attempt =
        Attempt { who, stage: Stage::Sending, usd, destination: begin.destination, proved };
    attempt.save(desk)?;
    Ok(begun)
}

/// What `begin` would say, read and nothing else.
pub(super) fn consult(
    rows: &impl Rows,
    limits: &Limits,
    consult: &Consult,
    now: UnixMs,
) -> Result<Consulted, StoreError> {
    let Consult { account, credential, intent, destination } = consult;
    let freezes = Account::load(rows, account)?.freezes;
    let holds_key = match destination {
        Some(destination) => Holds::key_of(account, "d", destination),
        None => Holds::key_of(account, "i", &intent.hex()),
    };
    let address = destination
        .as_deref()
        .map(|destination| address_facts(rows, account, destination, now))
        .transpose()?;
    Ok(Consulted {
        standing: standing(rows, account, credential, limits, now)?,
        counters: totals(rows, account, now)?,
        address,
        holds: Holds::load(rows, &holds_key, freezes, now)?.running,
    })
}

/// The open challenge for this intent, else the credential's newest one about a place.
fn open_for(live: &[Challenge], begin: &Begin) -> Option<Challenge> {
    let open = || {
        live.iter().rev().filter(|challenge| {
            challenge.state == State::Open && challenge.credential == begin.credential
        })
    };
    open()
        .find(|challenge| challenge.scope == Scope::Intent(begin.intent))
        .or_else(|| open().find(|challenge| matches!(challenge.scope, Scope::Place(_))))
        .cloned()
}

/// Uses up the grant for exactly this account, credential and intent, if there is one.
fn take_grant(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &mut Account,
    live: Vec<Challenge>,
    begin: &Begin,
    now: UnixMs,
) -> Result<Option<Proof>, StoreError> {
    let fits = |challenge: &Challenge| {
        challenge.state == State::Approved
            && challenge.scope == Scope::Intent(begin.intent)
            && challenge.account == begin.account
            && challenge.credential == begin.credential
    };
    let Some(granted) = live.into_iter().find(fits) else { return Ok(None) };
    let Ok((used, proof)) = redeem(granted, now) else { return Ok(None) };
    account.live.retain(|id| *id != used.id);
    account.save(desk, &begin.account)?;
    save_challenge(desk, end(used, State::Used), limits)?;
    Ok(Some(proof))
}

/// Gives the reservation back and starts the holds; a grant that was taken stays used.
pub(super) fn abandon(
    desk: &mut Desk<'_>,
    attempt: &AttemptId,
    owner: &AccountId,
    holds: Vec<RuleId>,
    now: UnixMs,
) -> Result<(), StoreError> {
    let Some(attempt) = leave_sending(desk, attempt, Some(owner), Stage::Abandoned)? else {
        return Ok(());
    };
    give_back(desk, &attempt)?;
    if holds.is_empty() {
        return Ok(());
    }
    let freezes = Account::load(desk, &attempt.who.account)?.freezes;
    let key = Holds::key(&attempt.who, attempt.destination.as_deref());
    let mut known = Holds::load(desk, &key, freezes, now)?;
    for rule in holds {
        // The one before was served, and is over.
        known.running.retain(|hold| hold.rule != rule);
        known.running.push(HoldRunning { rule, since: now });
    }
    known.save(desk, &key, now)
}

pub(super) fn settle(
    desk: &mut Desk<'_>,
    attempt: &AttemptId,
    owner: &AccountId,
    settled: Settled,
    learn: Option<Learn>,
    now: UnixMs,
) -> Result<(), StoreError> {
    let stage = match settled {
        Settled::Done => Stage::Done,
        Settled::Refused => Stage::Refused,
        Settled::Unknown => Stage::Unknown,
    };
    let Some(attempt) = leave_sending(desk, attempt, Some(owner), stage)? else { return Ok(()) };
    match (settled, learn) {
        (Settled::Refused, _) => give_back(desk, &attempt),
        (Settled::Done, Some(learn)) => learn_address(desk, &attempt, learn, now),
        _ => Ok(()),
    }
}

/// Attempts that were `sending`: each is `unknown` from now on.
pub(super) fn recover(desk: &mut Desk<'_>) -> Result<Vec<Orphan>, StoreError> {
    let prefix = Key::new(Kind::Sending);
    let mut orphans = Vec::new();
    for (key, _) in desk.raw_range(&prefix, usize::MAX)? {
        let id = AttemptId::new(key.last_part(&prefix).ok_or_else(|| corrupt(&key))?);
        match leave_sending(desk, &id, None, Stage::Unknown)? {
            Some(attempt) => orphans.push(attempt.who),
            None => desk.remove(&key),
        }
    }
    Ok(orphans)
}

/// Ends an attempt of `owner`, or of whomever; `None` if it is unknown or has ended before, which is then final.
fn leave_sending(
    desk: &mut Desk<'_>,
    id: &AttemptId,
    owner: Option<&AccountId>,
    stage: Stage,
) -> Result<Option<Attempt>, StoreError> {
    let found = Attempt::load(desk, id)?
        .filter(|attempt| attempt.stage == Stage::Sending)
        .filter(|attempt| owner.is_none_or(|owner| *owner == attempt.who.account));
    let Some(attempt) = found else { return Ok(None) };
    let attempt = Attempt { stage, ..attempt };
    attempt.save(desk)?;
    Ok(Some(attempt))
}

pub(super) fn ledger_prefix(account: &AccountId) -> Key {
    Key::new(Kind::Ledger).account(account)
}

fn totals(rows: &impl Rows, account: &AccountId, now: UnixMs) -> Result<Counters, StoreError> {
    let prefix = ledger_prefix(account);
    let mut counters = Counters::default();
    for (key, ledger) in rows.list::<Ledger>(&prefix, usize::MAX)? {
        let action: Arc<str> = key.last_part(&prefix).ok_or_else(|| corrupt(&key))?.into();
        for (window, total) in ledger.totals(now).map_err(|Unreadable| corrupt(&key))? {
            counters.0.push((action.clone(), window, total));
        }
    }
    Ok(counters)
}

fn give_back(desk: &mut Desk<'_>, attempt: &Attempt) -> Result<(), StoreError> {
    let Orphan { account, action, began, .. } = &attempt.who;
    change_ledger(desk, account, action, *began, |ledger| {
        ledger.give_back(attempt.usd.as_deref(), *began)
    })
}

fn change_ledger(
    desk: &mut Desk<'_>,
    account: &AccountId,
    action: &ActionName,
    at: UnixMs,
    change: impl FnOnce(&mut Ledger) -> Result<(), Unreadable>,
) -> Result<(), StoreError> {
    let key = ledger_prefix(account).part(action.as_str());
    let mut ledger: Ledger = desk.find(&key)?.unwrap_or_default();
    change(&mut ledger).map_err(|Unreadable| corrupt(&key))?;
    save_ledger(desk, &key, &ledger, at)
}

pub(super) fn save_ledger(
    desk: &mut Desk<'_>,
    key: &Key,
    ledger: &Ledger,
    at: UnixMs,
) -> Result<(), StoreError> {
    let keep = ledger.newest_end().unwrap_or(at).plus_ms(Window::Week.ms() + DAY_MS);
    desk.put(key, keep, ledger)
}

pub(super) fn address_key(account: &AccountId, destination: &str) -> Key {
    Key::new(Kind::Address).account(account).part(destination)
}

fn address_facts(
    rows: &impl Rows,
    account: &AccountId,
    destination: &str,
    now: UnixMs,
) -> Result<AddressFacts, StoreError> {
    let found: Option<Address> = rows.find(&address_key(account, destination))?;
    Ok(match found {
        None => AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 },
        Some(address) => AddressFacts {
            known: true,
            verified: address.verified,
            age_ms: now.since_ms(address.added),
            idle_ms: now.since_ms(address.touched),
        },
    })
}

/// What an accepted action teaches. An address that is added, changed or removed begins anew: a
/// hold that was served for it before says nothing about whoever adds it now.
fn learn_address(
    desk: &mut Desk<'_>,
    attempt: &Attempt,
    learn: Learn,
    now: UnixMs,
) -> Result<(), StoreError> {
    let account = &attempt.who.account;
    let keep = now.plus_ms(ADDRESS_KEPT_MS);
    let verified = attempt.proved;
    match learn {
        Learn::Added { destination } => {
            desk.remove(&Holds::key(&attempt.who, Some(&destination)));
            let address = Address { added: now, verified, touched: now };
            desk.put(&address_key(account, &destination), keep, &address)
        }
        Learn::Removed { destination } => {
            desk.remove(&Holds::key(&attempt.who, Some(&destination)));
            desk.remove(&address_key(account, &destination));
            Ok(())
        }
        Learn::Used { destination } => {
            let key = address_key(account, &destination);
            let new = Address { added: now, verified: false, touched: now };
            let known = desk.find(&key)?.unwrap_or(new);
            let verified = known.verified || verified;
            desk.put(&key, keep, &Address { verified, touched: now, ..known })
        }
    }
}

/// How many destinations an account's book has.
pub(super) fn addresses(rows: &impl Rows, account: &AccountId) -> Result<usize, StoreError> {
    Ok(rows.raw_range(&Key::new(Kind::Address).account(account), usize::MAX)?.len())
}
