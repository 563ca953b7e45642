//! The sentences about messages: put a code on a challenge, or a notice to its account's contacts; lease a message,
//! finish it.
//!
//! Never sees an address or a text: both are sealed. Invariant: at most one code of a challenge is
//! alive, and a message whose code is dead is not sent any more.

use super::budget;
use super::docs::{Account, Outgoing, Told, as_of, challenge_of, load_challenge, save_challenge};
use super::rows::{Desk, FOR_EVER, Key, Kind, Rows};
use crate::stepup::attempts::{DAY_MS, wait_for_code};
use crate::stepup::challenge::{Challenge, Limits, SentCode, State};
use crate::store::{
    Charge, CodeQueued, Message, NoticeLetter, Notified, Quiet, StoreError, URGENT_AHEAD_MS,
};
use crate::types::{AccountId, ChallengeId, UnixMs};

pub(super) fn send_code(
    desk: &mut Desk<'_>,
    limits: &Limits,
    (id, owner): (&ChallengeId, &AccountId),
    charge: &Charge,
    sent: SentCode,
    sealed: Vec<u8>,
    now: UnixMs,
) -> Result<CodeQueued, StoreError> {
    let account = Account::now(desk, limits, owner, now)?;
    let Some(challenge) = challenge_of(desk, id, owner)? else { return Ok(CodeQueued::Missing) };
    if challenge.state_at(now) != State::Open {
        return Ok(CodeQueued::Closed(as_of(challenge, now)));
    }
    if let Some(until) = account.tally.blocked(limits, now) {
        return Ok(CodeQueued::Limited { retry_after_ms: until.since_ms(now) });
    }
    if let Some(refused) = reserve(desk, limits, charge, Some(&sent.mac), now)? {
        return Ok(refused);
    }
    let expires = sent.expires.min(now.plus_ms(limits.sms_code_ms));
    let sent = SentCode { expires, ..sent };
    queue(desk, Some((id, &sent)), sealed, (now, sent.expires))?;
    let challenge = Challenge { sent: Some(sent), ..challenge };
    save_challenge(desk, challenge.clone(), limits)?;
    Ok(CodeQueued::Queued(challenge))
}

/// Counts one more to a number, within its limits and every budget, or says why it may not go. `mac`: of a code.
fn reserve(
    desk: &mut Desk<'_>,
    limits: &Limits,
    charge: &Charge,
    mac: Option<&str>,
    now: UnixMs,
) -> Result<Option<CodeQueued>, StoreError> {
    let sends_key = Key::new(Kind::Sends).part(&charge.number.0);
    let mut sends: Vec<UnixMs> = desk.find(&sends_key)?.unwrap_or_default();
    sends.retain(|at| now < at.plus_ms(DAY_MS));
    if let Some(retry_after_ms) = wait_for_code(&sends, limits, now) {
        return Ok(Some(CodeQueued::Limited { retry_after_ms }));
    }
    if let Some(refusal) = budget::refused(desk, charge, now)? {
        return Ok(Some(CodeQueued::OverBudget(refusal)));
    }
    budget::count(desk, charge, mac.unwrap_or_default(), now)?;
    sends.push(now);
    desk.put(&sends_key, now.plus_ms(DAY_MS), &sends)?;
    Ok(None)
}

/// The letters of a notice, unless the account was told already.
pub(super) fn notify(
    desk: &mut Desk<'_>,
    limits: &Limits,
    account: &AccountId,
    quiet: &Quiet,
    letters: Vec<NoticeLetter>,
    expires: UnixMs,
    now: UnixMs,
) -> Result<Notified, StoreError> {
    let key = Key::new(Kind::Told).account(account);
    let mut told: Vec<Told> = desk.find(&key)?.unwrap_or_default();
    told.retain(|told| now < told.at.plus_ms(DAY_MS));
    let quiet_now = |told: &Told| told.key == quiet.key && now < told.quiet;
    let kind = |key: &str| key.split(':').next().unwrap_or_default().to_owned();
    let alike = told.iter().filter(|told| kind(&told.key) == kind(&quiet.key)).count();
    if alike >= quiet.per_day_max as usize || told.iter().any(quiet_now) {
        return Ok(Notified::Quiet);
    }
    let (count, mut left_out) = (letters.len(), Vec::new());
    for (place, letter) in letters.into_iter().enumerate() {
        if let Some(charge) = &letter.charge
            && reserve(desk, limits, charge, None, now)?.is_some()
        {
            left_out.push(place);
            continue;
        }
        let ahead_ms = if letter.urgent { URGENT_AHEAD_MS } else { 0 };
        queue(
            desk,
            None,
            letter.sealed,
            (UnixMs(now.0.saturating_sub_unsigned(ahead_ms)), expires),
        )?;
    }
    if count > 0 && left_out.len() == count {
        return Ok(Notified::OverBudget);
    }
    told.push(Told { key: quiet.key.clone(), at: now, quiet: now.plus_ms(quiet.ms()) });
    desk.put(&key, now.plus_ms(DAY_MS), &told)?;
    Ok(Notified::Queued { left_out })
}

/// `code`: what a code is for, and what of it is kept.
fn queue(
    desk: &mut Desk<'_>,
    code: Option<(&ChallengeId, &SentCode)>,
    sealed: Vec<u8>,
    (due, expires): (UnixMs, UnixMs),
) -> Result<(), StoreError> {
    let sequence = Key::new(Kind::Sequence);
    let id = desk.find::<u64>(&sequence)?.unwrap_or(0) + 1;
    desk.put(&sequence, FOR_EVER, &id)?;
    let challenge = code.map(|(challenge, _)| challenge.clone());
    let mac = code.map_or_else(String::new, |(_, sent)| sent.mac.clone());
    let message = Message { id, challenge, sealed, expires, tries: 0 };
    put_outgoing(desk, &Outgoing { message, due, mac })
}

/// Leases the oldest message that is due: until `lease_ms` have passed nobody else gets it. `tries`
/// counts the leases, this one included.
pub(super) fn next_message(
    desk: &mut Desk<'_>,
    lease_ms: u64,
    now: UnixMs,
) -> Result<Option<Message>, StoreError> {
    let prefix = Key::new(Kind::Due);
    let not_due = prefix.clone().time(now.plus_ms(1));
    loop {
        let first = desk.raw_range(&prefix, 1)?.pop();
        let Some((due_key, _)) = first.filter(|(key, _)| *key < not_due) else { return Ok(None) };
        desk.remove(&due_key);
        let id = due_key.last_number().unwrap_or_default();
        let Some(mut outgoing) = desk.find::<Outgoing>(&message_key(id))? else { continue };
        if now >= outgoing.message.expires || !is_alive(desk, &outgoing, now)? {
            desk.remove(&message_key(id));
            continue;
        }
        outgoing.message.tries = outgoing.message.tries.saturating_add(1);
        outgoing.due = now.plus_ms(lease_ms);
        put_outgoing(desk, &outgoing)?;
        return Ok(Some(outgoing.message));
    }
}

/// Whether the code in it can still be of use. A notice is, until it expires.
fn is_alive(rows: &impl Rows, outgoing: &Outgoing, now: UnixMs) -> Result<bool, StoreError> {
    let Some(challenge) = &outgoing.message.challenge else { return Ok(true) };
    let challenge = load_challenge(rows, challenge)?;
    Ok(challenge.is_some_and(|challenge| {
        challenge.state_at(now) == State::Open
            && challenge.sent.is_some_and(|sent| sent.mac == outgoing.mac)
    }))
}

pub(super) fn message_done(
    desk: &mut Desk<'_>,
    id: u64,
    again: Option<UnixMs>,
) -> Result<(), StoreError> {
    let Some(mut outgoing) = desk.find::<Outgoing>(&message_key(id))? else { return Ok(()) };
    desk.remove(&due_key(&outgoing));
    match again {
        Some(at) if at < outgoing.message.expires => {
            outgoing.due = at;
            put_outgoing(desk, &outgoing)
        }
        _ => {
            desk.remove(&message_key(id));
            Ok(())
        }
    }
}

fn put_outgoing(desk: &mut Desk<'_>, outgoing: &Outgoing) -> Result<(), StoreError> {
    let keep = outgoing.message.expires;
    desk.put_bytes(&due_key(outgoing), keep, b"");
    desk.put(&message_key(outgoing.message.id), keep, outgoing)
}

fn message_key(id: u64) -> Key {
    Key::new(Kind::Message).number(id)
}

fn due_key(outgoing: &Outgoing) -> Key {
    Key::new(Kind::Due).time(outgoing.due).number(outgoing.message.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_an_earlier_version_is_read() {
        let row = r#"{"message":{"id":7,"challenge":"c","sealed":[1],"expires":9,"tries":1},"due":5,"mac":"m"}"#;
        let outgoing: Outgoing = serde_json::from_str(row).unwrap();
        assert_eq!(outgoing.message.challenge, Some(ChallengeId::new("c")));
        assert_eq!((outgoing.message.id, outgoing.mac.as_str()), (7, "m"));
    }
}
