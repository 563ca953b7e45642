//! Passkeys at a challenge: what one is asked to sign, and whether what it signed counts.
//!
//! Never compares with anything but what this very challenge asked, and that once: the attempt took it off. Invariant:
//! a passkey's use is counted, durably, before its answer is believed.

use serde_json::Value;

use super::registration;
use super::thaw::THAW;
use super::verify::{Compared, is_change};
use crate::factors;
use crate::gateway::Gateway;
use crate::pipeline::{End, Visit};
use crate::rejection::Rejection;
use crate::stepup::challenge::Challenge;
use crate::stepup::passkey::{Nonce, PasskeyError, Purpose, Verifier, signed_challenge};
use crate::store::{Enrolled, PasskeyAsked};
use crate::types::{Factor, UnixMs};

/// What a passkey was asked, or why it cannot be.
pub(super) enum Asked {
    /// What a browser hands to `navigator.credentials`.
    Options(Box<Challenge>, Value),
    Store(Box<PasskeyAsked>),
}

/// Asks the account's passkeys of this site, in place of what was asked before; or for a new one, where that waits.
pub(super) async fn ask(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
) -> Result<Asked, End> {
    let now = visit.head.received;
    let mut nonce = Nonce([0; 32]);
    gateway.entropy.fill(&mut nonce.0);
    let options = match challenge.pending {
        Some(_) => registration::offer(gateway, visit, challenge, &nonce).await?,
        None => approval(gateway, visit, challenge, &nonce).await?,
    };
    let ceremony = gateway.keyring.seal(PURPOSE, &[challenge.id.as_str().as_bytes()], &nonce.0);
    let asked = gateway.store.ask_passkey(&challenge.id, &challenge.account, ceremony, now).await;
    match asked.map_err(|error| End::from(visit.store_failed(&error)))? {
        PasskeyAsked::Asked(challenge) => Ok(Asked::Options(Box::new(challenge), options)),
        other => Ok(Asked::Store(Box::new(other))),
    }
}

/// What is asked of those that are there.
async fn approval(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    nonce: &Nonce,
) -> Result<Value, End> {
    let now = visit.head.received;
    let verifier = verifier(visit)?;
    let known = gateway.store.factors(&challenge.account).await;
    let known = known.map_err(|error| End::from(visit.store_failed(&error)))?;
    let enrolled = known.iter().find(|it| it.factor == Factor::Webauthn && !it.disabled);
    let enrolled = enrolled.ok_or_else(|| no_passkey(visit))?;
    let kept = factors::open(&gateway.keyring, &challenge.account, &enrolled.secret)
        .map_err(|_| SEALED)?;
    let signs = signed_challenge(Purpose::Approve, challenge, nonce);
    let ripe_at = ripe_at(gateway, visit, challenge, enrolled).await?;
    match verifier.ask(&kept, &signs, ripe_at, challenge.expires.since_ms(now)) {
        Ok(options) => Ok(options),
        Err(PasskeyError::NoneHere) => Err(no_passkey(visit)),
        Err(_) => Err(Rejection::Unavailable("a factor is unreadable").into()),
    }
}

/// Passkeys that are usable at this time may answer. A change of factors may be answered with a young one where all are;
/// a freeze is ended with one that was usable when it began.
async fn ripe_at(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    enrolled: &Enrolled,
) -> Result<UnixMs, Rejection> {
    let now = visit.head.received;
    if challenge.action.as_str() == THAW {
        let card = gateway.store.account(&challenge.account, now).await;
        let card = card.map_err(|error| visit.store_failed(&error))?;
        return Ok(card.frozen.map_or(now, |freeze| freeze.since.min(now)));
    }
    Ok(match is_change(challenge) && now < enrolled.usable_from {
        true => UnixMs(i64::MAX),
        false => now,
    })
}

/// Whether what was posted is the answer of one of the account's passkeys to what this challenge asked.
pub(super) async fn compare(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    enrolled: Option<&Enrolled>,
    posted: &str,
) -> Result<Compared, End> {
    let verifier = verifier(visit)?;
    let Some(nonce) = asked(gateway, challenge) else { return Ok(Compared::Wrong) };
    let Some(enrolled) = enrolled.filter(|enrolled| !enrolled.disabled) else {
        return Ok(Compared::Wrong);
    };
    let kept = factors::open(&gateway.keyring, &challenge.account, &enrolled.secret)
        .map_err(|_| SEALED)?;
    let signs = signed_challenge(Purpose::Approve, challenge, &nonce);
    let ripe_at = ripe_at(gateway, visit, challenge, enrolled).await?;
    let asserted = match verifier.check(&kept, &signs, ripe_at, posted) {
        Ok(asserted) => asserted,
        Err(PasskeyError::Unreadable) => {
            return Err(Rejection::Unavailable("a factor is unreadable").into());
        }
        Err(why) => {
            tracing::debug!(%why, challenge = %challenge.id, "a passkey's answer is refused");
            return Ok(Compared::Wrong);
        }
    };
    let Some(renewed) = asserted.renewed else { return Ok(RIGHT) };
    let counted = count(gateway, challenge, enrolled, &renewed, visit.head.received).await;
    let counted = counted.map_err(|error| End::from(visit.store_failed(&error)))?;
    // Whoever used it meanwhile used it rightly, and this answer is older.
    Ok(if counted { RIGHT } else { Compared::Wrong })
}

const RIGHT: Compared = Compared::Right { step: None, mac: None };

/// Keeps what a passkey says of its uses.
async fn count(
    gateway: &Gateway,
    challenge: &Challenge,
    was: &Enrolled,
    kept: &[u8],
    now: UnixMs,
) -> Result<bool, crate::store::StoreError> {
    let account = &challenge.account;
    let sealed = factors::seal(&gateway.keyring, account, kept);
    gateway.store.renew_factor(account, Factor::Webauthn, was.secret.clone(), sealed, now).await
}

/// The nonce of what this challenge asked, as the attempt found it.
pub(super) fn asked(gateway: &Gateway, challenge: &Challenge) -> Option<Nonce> {
    let sealed = challenge.ceremony.as_deref()?;
    let plain = gateway.keyring.open(PURPOSE, &[challenge.id.as_str().as_bytes()], sealed).ok()?;
    Some(Nonce(plain.as_slice().try_into().ok()?))
}

pub(super) fn verifier(visit: &Visit) -> Result<&Verifier, End> {
    let verifier = visit.site.passkeys.as_ref();
    verifier.ok_or_else(|| no_passkey(visit))
}

pub(super) fn no_passkey(visit: &Visit) -> End {
    let why = visit.site.pages.no_passkey(visit.language());
    Rejection::Denied { why: Some(why.into()) }.into()
}

pub(super) const SEALED: Rejection = Rejection::Unavailable("a factor cannot be unsealed");
const PURPOSE: &str = "ceremony";
