//! The sentences about challenges: open, spend an attempt, prove, reject, release.
//!
//! Never compares a code with a secret. Invariant: every compare was counted before, on the
//! challenge and on the account; nothing but `prove` forgives.
//!
//! The last attempt: `spend_attempt` leaves the challenge open with no attempts left, which every
//! reader sees as locked. `prove` looks past that, so that the answer which spent the last attempt
//! may still be right.

use super::accounts;
use super::docs::{Account, Session, as_of, challenge_of, end, load_challenge, save_challenge};
use super::rows::{Desk, corrupt};
use super::rows::{Key, Kind, Rows};
use crate::policy::facts::Elevation;
use crate::policy::verdict::Valid;
use crate::stepup::attempts::DAY_MS;
use crate::stepup::challenge::{Challenge, Limits, Scope, State};
use crate::store::{Enrolled, Opened, PasskeyAsked, Proven, Spent, StoreError};
use crate::types::{AccountId, ChallengeId, Credential, Factor, FactorSet, UnixMs};

pub(super) fn open(
    desk: &mut Desk<'_>,
    limits: &Limits,
    challenge: Challenge,
    now: UnixMs,
) -> Result<Opened, StoreError> {
    if load_challenge(desk, &challenge.id)?.is_some() {
        return Err(StoreError::Unavailable("this challenge id is taken".to_owned()));
    }
    let owner = challenge.account.clone();
    let mut account = Account::now(desk, limits, &owner, now)?;
    let mut live = account.live(desk, now)?;
    let same = live.iter().position(|known| {
        known.credential == challenge.credential && known.scope == challenge.scope
    });
    let blocked = account.tally.blocked(limits, now);
    match (same.map(|at| live.swap_remove(at)), blocked) {
        (Some(known), _) if known.state == State::Approved => return Ok(Opened::Existing(known)),
        (_, Some(until)) => return Ok(Opened::Blocked { until }),
        (Some(known), None) => return Ok(Opened::Existing(known)),
        (None, None) => {}
    }
    let mut challenge = within(limits, challenge, now);
    make_room(desk, limits, &mut account, live, &mut challenge)?;
    account.save(desk, &owner)?;
    save_challenge(desk, challenge.clone(), limits)?;
    Ok(Opened::New(as_of(challenge, now)))
}

/// A fresh challenge, whatever the caller put in: nothing proven, and no laxer than the limits.
fn within(limits: &Limits, challenge: Challenge, now: UnixMs) -> Challenge {
    Challenge {
        expires: challenge.expires.min(now.plus_ms(limits.challenge_ms)),
        attempts_left: challenge.attempts_left.min(limits.attempts_max),
        state: State::Open,
        proven: FactorSet::default(),
        sent: None,
        ceremony: None,
        ..challenge
    }
}

/// Voids the oldest open challenges until the new one fits; with a maximum of 0 not even that one
/// does.
fn make_room(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &mut Account,
    live: Vec<Challenge>,
    new: &mut Challenge,
) -> Result<(), StoreError> {
    let mut open: Vec<Challenge> =
        live.into_iter().filter(|known| known.state == State::Open).collect();
    open.sort_by_key(|known| account.live.iter().position(|id| *id == known.id));
    let too_many = (open.len() + 1).saturating_sub(limits.open_per_account_max);
    let voided = too_many.min(open.len());
    for oldest in open.drain(..voided) {
        account.live.retain(|id| *id != oldest.id);
        save_challenge(desk, end(oldest, State::Expired), limits)?;
    }
    if limits.open_per_account_max == 0 {
        *new = end(new.clone(), State::Expired);
    } else {
        account.live.push(new.id.clone());
    }
    Ok(())
}

pub(super) fn ask_passkey(
    desk: &mut Desk<'_>,
    limits: &Limits,
    (id, owner): (&ChallengeId, &AccountId),
    ceremony: Vec<u8>,
    now: UnixMs,
) -> Result<PasskeyAsked, StoreError> {
    let account = Account::now(desk, limits, owner, now)?;
    let Some(challenge) = challenge_of(desk, id, owner)? else { return Ok(PasskeyAsked::Missing) };
    if challenge.state_at(now) != State::Open {
        return Ok(PasskeyAsked::Closed(as_of(challenge, now)));
    }
    if let Some(until) = account.tally.blocked(limits, now) {
        return Ok(PasskeyAsked::Blocked { until });
    }
    let challenge = Challenge { ceremony: Some(ceremony), ..challenge };
    save_challenge(desk, challenge.clone(), limits)?;
    Ok(PasskeyAsked::Asked(challenge))
}

pub(super) fn spend_attempt(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &ChallengeId,
    account: &AccountId,
    credential: &Credential,
    factor: Factor,
    now: UnixMs,
) -> Result<Spent, StoreError> {
    let mut protection = Account::now(desk, limits, account, now)?;
    let Some(mut challenge) = theirs(desk, id, account, credential)? else {
        return Ok(Spent::Missing);
    };
    if let Some(until) = protection.tally.blocked(limits, now) {
        return Ok(Spent::Blocked { until });
    }
    if challenge.state_at(now) != State::Open {
        return Ok(Spent::Closed(as_of(challenge, now)));
    }
    let known = protection.factors.iter().find(|known| known.factor == factor).cloned();
    // Nobody can guess at what is not enrolled yet: a disabled factor may be replaced.
    let enrolled = match &challenge.pending {
        Some(pending) if pending.factor == factor => {
            Some(Enrolled::of_pending(pending, None, limits.factor_hold_ms, now))
        }
        _ => known.filter(|_| challenge.pending.is_none()),
    };
    let disabled = enrolled.as_ref().is_some_and(|known| known.disabled)
        || protection.tally.disables(factor, limits) && challenge.pending.is_none();
    if disabled {
        // A disabled factor is never compared, whatever the caller would make of it.
        return Ok(Spent::Blocked { until: now.plus_ms(limits.block_max_ms) });
    }
    challenge.attempts_left = challenge.attempts_left.saturating_sub(1);
    protection.tally.spend(factor, limits, now);
    protection.save(desk, account)?;
    let ceremony = challenge.ceremony.take_if(|_| factor == Factor::Webauthn);
    save_challenge(desk, challenge.clone(), limits)?;
    challenge.ceremony = ceremony.or(challenge.ceremony);
    let left = challenge.attempts_left;
    Ok(Spent::Compare { challenge, enrolled, left })
}

/// What is open, as whoever may answer it sees it.
pub(super) fn open_challenges(
    rows: &impl Rows,
    owner: &AccountId,
    now: UnixMs,
) -> Result<Vec<Challenge>, StoreError> {
    let live = Account::load(rows, owner)?.when(now).live(rows, now)?.into_iter();
    let open = live.filter(|challenge| challenge.state == State::Open);
    Ok(open.map(|challenge| Challenge { held: None, ..challenge }).collect())
}

/// The challenge, if it belongs to exactly this account and credential.
pub(super) fn theirs(
    rows: &impl Rows,
    id: &ChallengeId,
    account: &AccountId,
    credential: &Credential,
) -> Result<Option<Challenge>, StoreError> {
    Ok(challenge_of(rows, id, account)?.filter(|known| known.credential == *credential))
}

pub(super) fn prove(
    desk: &mut Desk<'_>,
    limits: &Limits,
    (id, owner): (&ChallengeId, &AccountId),
    factor: Factor,
    step: Option<u64>,
    mac: Option<&str>,
    now: UnixMs,
) -> Result<Proven, StoreError> {
    let (challenge, mut account) = match answerable(desk, limits, id, owner, now)? {
        Answerable::Yes(challenge, account) => (*challenge, *account),
        Answerable::No(challenge) => return Ok(Proven::Closed(*challenge)),
    };
    if let Some(pending) = &challenge.pending {
        let right = factor == pending.factor
            && match factor {
                Factor::Totp => step.is_some(),
                Factor::Sms => is_last_code(&challenge, mac, now),
                _ => false,
            };
        let enrolled = Enrolled::of_pending(pending, step, limits.factor_hold_ms, now);
        return enrol_pending(desk, limits, (account, owner), challenge, (enrolled, right), now);
    }
    let fresh = match factor {
        Factor::Totp => remember_step(&mut account, step),
        Factor::Sms => is_last_code(&challenge, mac, now),
        Factor::Recovery => use_up(&mut account, mac),
        _ => true,
    };
    if !fresh {
        return Ok(Proven::Replayed);
    }
    let sent = challenge.sent.clone().filter(|_| factor != Factor::Sms);
    let challenge = Challenge { proven: challenge.proven.with(factor), sent, ..challenge };
    if !challenge.requirement.met_by(challenge.proven) {
        account.tally.prove_part(factor, limits);
        account.save(desk, owner)?;
        save_challenge(desk, challenge.clone(), limits)?;
        return Ok(Proven::More(as_of(challenge, now)));
    }
    account.tally.prove(factor);
    let challenge = approve(desk, limits, &mut account, challenge, now)?;
    account.save(desk, owner)?;
    save_challenge(desk, challenge.clone(), limits)?;
    Ok(Proven::Approved(challenge))
}

/// A challenge that an answer may still end, with its account.
enum Answerable {
    Yes(Box<Challenge>, Box<Account>),
    No(Box<Challenge>),
}

fn answerable(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &ChallengeId,
    owner: &AccountId,
    now: UnixMs,
) -> Result<Answerable, StoreError> {
    let key = Key::new(Kind::Challenge).part(id.as_str());
    let account = Account::now(desk, limits, owner, now)?;
    let challenge = challenge_of(desk, id, owner)?.ok_or_else(|| corrupt(&key))?;
    // Not `state_at`: the attempt that was just spent may have been the last.
    if challenge.state != State::Open || now >= challenge.expires {
        return Ok(Answerable::No(Box::new(as_of(challenge, now))));
    }
    // Whatever voids an account's challenges forgets them; one without attempts has no state that would show it.
    Ok(match account.live.contains(id) {
        true => Answerable::Yes(Box::new(challenge), Box::new(account)),
        false => Answerable::No(Box::new(as_of(challenge, now))),
    })
}

/// The passkey was made that a challenge waited for.
pub(super) fn enrol_made(
    desk: &mut Desk<'_>,
    limits: &Limits,
    (id, owner): (&ChallengeId, &AccountId),
    was: Option<&[u8]>,
    enrolled: Enrolled,
    now: UnixMs,
) -> Result<Proven, StoreError> {
    let (challenge, account) = match answerable(desk, limits, id, owner, now)? {
        Answerable::Yes(challenge, account) => (*challenge, *account),
        Answerable::No(challenge) => return Ok(Proven::Closed(*challenge)),
    };
    let waits = challenge.pending.as_ref().map(|pending| pending.factor);
    let known = account.factors.iter().find(|known| known.factor == Factor::Webauthn);
    let right = (waits, enrolled.factor) == (Some(Factor::Webauthn), Factor::Webauthn)
        && known.map(|known| known.secret.as_slice()) == was;
    enrol_pending(desk, limits, (account, owner), challenge, (enrolled, right), now)
}

/// The factor that waited is enrolled by the answer that shows it works. Whatever else was asked or given was so in
/// another state of the account.
fn enrol_pending(
    desk: &mut Desk<'_>,
    limits: &Limits,
    (mut account, owner): (Account, &AccountId),
    challenge: Challenge,
    (enrolled, right): (Enrolled, bool),
    now: UnixMs,
) -> Result<Proven, StoreError> {
    if account.frozen.is_some() {
        let challenge = end(challenge, State::Expired);
        save_challenge(desk, challenge.clone(), limits)?;
        return Ok(Proven::Closed(challenge));
    }
    if !right {
        return Ok(Proven::Replayed);
    }
    let factor = enrolled.factor;
    account.tally.prove(factor);
    let has_codes = account.factors.iter().any(|known| known.factor == Factor::Recovery);
    if let Some(pending) =
        challenge.pending.as_ref().filter(|it| !it.codes.is_empty() && !has_codes)
    {
        let codes = pending.codes.clone();
        let blank = Enrolled::of_pending(pending, None, limits.factor_hold_ms, now);
        let (label, secret) = ("recovery codes".to_owned(), Vec::new());
        let factor = Factor::Recovery;
        account.factors.push(Enrolled { factor, secret, label, codes, ..blank });
    }
    accounts::install(desk, limits, &mut account, enrolled, now)?;
    account.security_changed = Some(now);
    account.void(desk, limits, now)?;
    account.save(desk, owner)?;
    let expires = now.plus_ms(limits.grant_ms);
    let proven = challenge.proven.with(factor);
    let challenge = Challenge { expires, proven, ..end(challenge, State::Used) };
    save_challenge(desk, challenge.clone(), limits)?;
    Ok(Proven::Approved(challenge))
}

/// Each recovery code counts once.
fn use_up(account: &mut Account, mac: Option<&str>) -> bool {
    let recovery = account.factors.iter_mut().find(|known| known.factor == Factor::Recovery);
    let (Some(recovery), Some(mac)) = (recovery, mac) else { return false };
    let Some(at) = recovery.codes.iter().position(|code| code == mac) else { return false };
    recovery.codes.remove(at);
    true
}

/// Each TOTP step counts once per account, and none before it ever again (RFC 6238 §5.2).
fn remember_step(account: &mut Account, step: Option<u64>) -> bool {
    let totp = account.factors.iter_mut().find(|enrolled| enrolled.factor == Factor::Totp);
    let (Some(totp), Some(step)) = (totp, step) else { return false };
    if totp.last_step.is_some_and(|last| step <= last) {
        return false;
    }
    totp.last_step = Some(step);
    true
}

fn is_last_code(challenge: &Challenge, mac: Option<&str>, now: UnixMs) -> bool {
    let (Some(sent), Some(mac)) = (&challenge.sent, mac) else { return false };
    sent.mac == mac && now < sent.expires
}

/// The approved challenge, with the elevations of the rules that have `valid`. One that only
/// elevates is used at once: there is nothing left to redeem, and its held request waits for
/// `take_held`.
fn approve(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &mut Account,
    challenge: Challenge,
    now: UnixMs,
) -> Result<Challenge, StoreError> {
    elevate(desk, account, &challenge, now)?;
    let only_elevates =
        matches!(challenge.scope, Scope::Place(_)) || challenge.requirement.only_elevates();
    let state = if only_elevates { State::Used } else { State::Approved };
    if only_elevates {
        account.live.retain(|id| *id != challenge.id);
    }
    Ok(Challenge {
        state,
        expires: now.plus_ms(limits.grant_ms),
        sent: None,
        ceremony: None,
        ..challenge
    })
}

fn elevate(
    desk: &mut Desk<'_>,
    account: &Account,
    challenge: &Challenge,
    now: UnixMs,
) -> Result<(), StoreError> {
    let mut session = Session::load(desk, &challenge.account, &challenge.credential)?;
    let round = account.round;
    session.elevations.retain(|known| session.round == round && now < known.until);
    session.round = round;
    let mut changed = false;
    for term in &challenge.requirement.terms {
        let Some(valid) = term.valid else { continue };
        let ms = match valid {
            Valid::Session => DAY_MS,
            Valid::ForMs(ms) => ms,
        };
        let elevation = Elevation {
            rule: term.rule.clone(),
            factors: challenge.proven,
            place: challenge.place.clone(),
            until: now.plus_ms(ms),
        };
        session
            .elevations
            .retain(|known| known.rule != elevation.rule || known.place != elevation.place);
        session.elevations.push(elevation);
        changed = true;
    }
    let surplus = session.elevations.len().saturating_sub(ELEVATIONS_MAX);
    session.elevations.drain(..surplus);
    if changed {
        session.save(desk, &challenge.account, &challenge.credential, now)?;
    }
    Ok(())
}

pub(super) fn reject(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &ChallengeId,
    owner: &AccountId,
    freeze: bool,
    now: UnixMs,
) -> Result<Option<Challenge>, StoreError> {
    // A freeze that is over takes what was asked under it along.
    Account::now(desk, limits, owner, now)?;
    let Some(mut challenge) = challenge_of(desk, id, owner)? else { return Ok(None) };
    if matches!(challenge.state_at(now), State::Open | State::Approved) {
        challenge = end(challenge, State::Rejected);
        save_challenge(desk, challenge.clone(), limits)?;
    }
    if freeze {
        accounts::freeze(desk, limits, owner, "owner".into(), now)?;
    }
    Ok(Some(as_of(challenge, now)))
}

pub(super) fn take_held(
    desk: &mut Desk<'_>,
    limits: &Limits,
    id: &ChallengeId,
    account: &AccountId,
    credential: &Credential,
    now: UnixMs,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut challenge) = theirs(desk, id, account, credential)? else { return Ok(None) };
    let answered = matches!(challenge.state, State::Approved | State::Used);
    if !answered || now >= challenge.expires {
        return Ok(None);
    }
    let held = challenge.held.take();
    if held.is_some() {
        save_challenge(desk, challenge, limits)?;
    }
    Ok(held)
}

const ELEVATIONS_MAX: usize = 64;
