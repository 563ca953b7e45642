//! Passkeys as an owner's factor: one is offered, made and added to those that are there; one of them goes.
//!
//! Never makes an older one wait, nor a young one ripe: each has a time of its own. Invariant: what is written was made
//! from what the store still holds, so that of two changes at once none undoes the other.

use serde_json::Value;
use zeroize::Zeroizing;

use super::passkey::{self, asked, no_passkey, verifier};
use super::verify::Compared;
use crate::factors;
use crate::gateway::Gateway;
use crate::pipeline::{End, Visit};
use crate::rejection::Rejection;
use crate::stepup::challenge::Challenge;
use crate::stepup::passkey::{
    self as passkeys, Changed, Listed, Nonce, PASSKEYS_MAX, PasskeyError, Purpose, signed_challenge,
};
use crate::store::{Enrolled, StoreError};
use crate::types::{AccountId, Factor, UnixMs};

/// Whether the account's owner can make one on this page of this site.
pub(super) fn is_offered(visit: &Visit) -> bool {
    visit.site.passkeys.as_ref().is_some_and(|it| it.serves(&visit.head.host))
}

/// Those that the account has, as its owner is shown them. What another build keeps is not shown.
pub(super) fn listed(gateway: &Gateway, account: &AccountId, known: &[Enrolled]) -> Vec<Listed> {
    let found = of(known).and_then(|enrolled| kept(gateway, account, enrolled).ok());
    found.and_then(|kept| passkeys::listed(&kept).ok()).unwrap_or_default()
}

/// Whether there is no room for another one.
pub(super) fn is_full(known: &[Enrolled], listed: &[Listed]) -> bool {
    // Where they are switched off, a new one takes the place of all.
    listed.len() >= PASSKEYS_MAX && of(known).is_some_and(|enrolled| !enrolled.disabled)
}

/// What a browser hands to `navigator.credentials.create`, for the challenge that waits for it.
pub(super) async fn offer(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    nonce: &Nonce,
) -> Result<Value, End> {
    let verifier = verifier(visit)?;
    let known = enrolled(gateway, visit, &challenge.account).await?;
    let kept = known.as_ref().filter(|it| !it.disabled);
    let kept = kept.map(|it| self::kept(gateway, &challenge.account, it)).transpose()?;
    let signs = signed_challenge(Purpose::Register, challenge, nonce);
    let timeout_ms = challenge.expires.since_ms(visit.head.received);
    let kept = kept.as_ref().map(|kept| kept.as_slice());
    let offered = verifier.offer(kept, &challenge.account.name, nonce, &signs, timeout_ms);
    offered.map_err(|why| refused(visit, why))
}

/// Whether what was posted is a passkey that was made for this very challenge; then what is to be kept with it.
pub(super) async fn made(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    posted: &str,
) -> Result<Compared, End> {
    let verifier = verifier(visit)?;
    let Some(nonce) = asked(gateway, challenge) else { return Ok(Compared::Wrong) };
    let account = &challenge.account;
    let known = enrolled(gateway, visit, account).await?;
    let kept = known.as_ref().filter(|it| !it.disabled);
    let kept = kept.map(|it| self::kept(gateway, account, it)).transpose()?;
    let signs = signed_challenge(Purpose::Register, challenge, &nonce);
    let (now, hold_ms) = (visit.head.received, gateway.limits.factor_hold_ms);
    let kept = kept.as_ref().map(|kept| kept.as_slice());
    let made = match verifier.register(kept, &nonce, &signs, posted, now, hold_ms) {
        Ok(made) => made,
        Err(why @ (PasskeyError::Unreadable | PasskeyError::TooMany)) => {
            return Err(refused(visit, why));
        }
        Err(why) => {
            tracing::debug!(%why, challenge = %challenge.id, "a new passkey is refused");
            return Ok(Compared::Wrong);
        }
    };
    let language = challenge.pending.as_ref().and_then(|pending| pending.language.clone());
    let blank = Enrolled { language, ..blank(now) };
    let enrolled = Box::new(changed(gateway, account, made, blank));
    Ok(Compared::Made { was: known.map(|known| known.secret), enrolled })
}

/// Takes one of them away; `false` if there is none of this number.
///
/// # Errors
/// If the store gives no answer, or what it keeps is unreadable. Then nothing was done.
pub(super) async fn remove(
    gateway: &Gateway,
    account: &AccountId,
    number: u32,
    now: UnixMs,
) -> Result<bool, StoreError> {
    // A use of one in between changes what is kept; then it is read anew.
    for _ in 0..TRIES_MAX {
        let known = gateway.store.factors(account).await?;
        let Some(was) = of(&known) else { return Ok(false) };
        let broken = || StoreError::Corrupt { what: "an account's passkeys".to_owned() };
        let kept = kept(gateway, account, was).map_err(|_| broken())?;
        let left = match passkeys::without(&kept, number) {
            Ok(left) => left,
            Err(PasskeyError::NoneHere) => return Ok(false),
            Err(_) => return Err(broken()),
        };
        let left = left.map(|left| changed(gateway, account, left, was.clone()));
        let secret = was.secret.clone();
        if gateway.store.replace_factor(account, Factor::Webauthn, secret, left, now).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Unavailable("the account's passkeys change all the time".to_owned()))
}

/// The account's passkeys as one factor: as old as the oldest, and ripe when the first of them is.
fn changed(gateway: &Gateway, account: &AccountId, changed: Changed, was: Enrolled) -> Enrolled {
    let label = match changed.count {
        1 => "1 passkey".to_owned(),
        count => format!("{count} passkeys"),
    };
    Enrolled {
        secret: factors::seal(&gateway.keyring, account, &changed.kept),
        label,
        since: changed.since,
        usable_from: changed.usable_from,
        ..was
    }
}

fn blank(now: UnixMs) -> Enrolled {
    Enrolled {
        factor: Factor::Webauthn,
        secret: Vec::new(),
        label: String::new(),
        since: now,
        disabled: false,
        last_step: None,
        usable_from: now,
        codes: Vec::new(),
        language: None,
    }
}

fn of(known: &[Enrolled]) -> Option<&Enrolled> {
    known.iter().find(|known| known.factor == Factor::Webauthn)
}

async fn enrolled(
    gateway: &Gateway,
    visit: &Visit,
    account: &AccountId,
) -> Result<Option<Enrolled>, End> {
    let known = gateway.store.factors(account).await;
    let known = known.map_err(|error| End::from(visit.store_failed(&error)))?;
    Ok(of(&known).cloned())
}

fn kept(
    gateway: &Gateway,
    account: &AccountId,
    enrolled: &Enrolled,
) -> Result<Zeroizing<Vec<u8>>, Rejection> {
    factors::open(&gateway.keyring, account, &enrolled.secret).map_err(|_| passkey::SEALED)
}

fn refused(visit: &Visit, why: PasskeyError) -> End {
    match why {
        PasskeyError::TooMany => {
            let why = visit.site.pages.passkeys_full(visit.language());
            Rejection::Denied { why: Some(why.into()) }.into()
        }
        PasskeyError::NoneHere => no_passkey(visit),
        _ => Rejection::Unavailable("a factor is unreadable").into(),
    }
}

const TRIES_MAX: u32 = 3;
