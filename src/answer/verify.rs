//! One attempt at one challenge: counted, then compared, then believed.
//!
//! Never compares before the count is durable, and never says which part of a wrong answer was wrong. Invariant: a
//! malformed code costs an attempt like a wrong one.

use super::{passkey, registration};
use crate::audit::Event;
use crate::factors;
use crate::gateway::Gateway;
use crate::pages::{AnswerResult, Audience};
use crate::pipeline::{End, Visit};
use crate::policy::verdict::FACTOR_CHANGE;
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, State};
use crate::stepup::code::{Code, SmsCheck, check_sms};
use crate::stepup::notice::About;
use crate::stepup::recovery::{CODE_LABEL, RecoveryCode, with_parts};
use crate::stepup::totp::{Totp, TotpCheck};
use crate::store::{Enrolled, Proven, Spent};
use crate::types::{Factor, IntentDigest, UnixMs};

/// What an attempt came to, and the challenge after it.
pub(super) struct Attempted {
    pub result: AnswerResult,
    pub challenge: Option<Challenge>,
}

/// Spends an attempt and says what came of it. `text` is a code, or what a passkey's browser posts.
pub(super) async fn attempt(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    factor: Factor,
    text: &str,
) -> Result<Attempted, End> {
    let now = visit.head.received;
    let open = challenge.state_at(now) == State::Open;
    if open && challenge.proven.contains(factor) && visit.audience() == Audience::Page {
        // The page that asks for the next factor, loaded anew or clicked twice: nothing is compared and nothing counted.
        let challenge = Some(challenge.clone());
        return Ok(Attempted { result: AnswerResult::More, challenge });
    }
    if open && !challenge.factors_open().contains(factor) {
        return Err(Rejection::BadRequest("this challenge does not ask for that factor").into());
    }
    let (id, account, credential) = (&challenge.id, &challenge.account, &challenge.credential);
    let spent = gateway.store.spend_attempt(id, account, credential, factor, now).await;
    let spent = spent.map_err(|error| End::from(visit.store_failed(&error)))?;
    let (challenge, enrolled, left) = match spent {
        Spent::Compare { challenge, enrolled, left } => (challenge, enrolled, left),
        Spent::Closed(challenge) => return Ok(closed(challenge, now)),
        Spent::Blocked { until } => {
            visit.tell(gateway, About::Locked);
            let retry_after_s = until.since_ms(now).div_ceil(1000);
            let result = AnswerResult::TooMany { retry_after_s };
            return Ok(Attempted { result, challenge: None });
        }
        Spent::Missing => {
            return Ok(Attempted { result: AnswerResult::Missing, challenge: None });
        }
    };
    let compared = match Code::parse(text) {
        // It was enrolled after the question was asked, and has to wait.
        _ if is_young(&challenge, enrolled.as_ref(), now) => Compared::Wrong,
        _ if factor == Factor::Webauthn && challenge.pending.is_some() => {
            registration::made(gateway, visit, &challenge, text).await?
        }
        _ if factor == Factor::Webauthn => {
            passkey::compare(gateway, visit, &challenge, enrolled.as_ref(), text).await?
        }
        _ if factor == Factor::Recovery => {
            compare_recovery(gateway, &challenge, enrolled.as_ref(), text)
        }
        Err(_) => Compared::Malformed,
        Ok(code) if factor == Factor::Sms => compare_sms(gateway, &challenge, &code, now),
        Ok(code) => compare_totp(gateway, &challenge, enrolled.as_ref(), &code, now)?,
    };
    let (step, mac, made) = match compared {
        Compared::Right { step, mac } => (step, mac, None),
        Compared::Made { was, enrolled } => (None, None, Some((was, *enrolled))),
        Compared::Replayed => {
            return Ok(failed(gateway, visit, challenge, factor, left, AnswerResult::Replayed));
        }
        Compared::Malformed if left > 0 => {
            return Ok(failed(gateway, visit, challenge, factor, left, AnswerResult::BadCode));
        }
        Compared::Wrong | Compared::Malformed => {
            let result = AnswerResult::wrong(factor, left);
            return Ok(failed(gateway, visit, challenge, factor, left, result));
        }
    };
    let code = mac.clone();
    let proven = match made {
        Some((was, made)) => gateway.store.enrol_made(id, account, was, made, now).await,
        None => gateway.store.prove(id, account, factor, step, mac, now).await,
    };
    let proven = proven.map_err(|error| End::from(visit.store_failed(&error)))?;
    if let (Proven::Approved(_) | Proven::More(_), Some(mac)) = (&proven, code) {
        came_back(gateway, visit, mac);
    }
    match proven {
        Proven::Approved(after) => {
            Ok(proved(gateway, visit, after, factor, AnswerResult::Approved))
        }
        Proven::More(after) => Ok(proved(gateway, visit, after, factor, AnswerResult::More)),
        Proven::Replayed => {
            Ok(failed(gateway, visit, challenge, factor, left, AnswerResult::Replayed))
        }
        Proven::Closed(challenge) => Ok(closed(challenge, now)),
    }
}

/// Counts a code that was right as one of those that are worth their price. Nobody waits for it; one that is not counted
/// only makes the share look smaller.
fn came_back(gateway: &Gateway, visit: &Visit, mac: String) {
    let (store, metrics) = (gateway.store.clone(), gateway.metrics.clone());
    let now = visit.head.received;
    visit.tasks.spawn(async move {
        match store.code_verified(&mac, now).await {
            Ok(prefix) => {
                if let Some(prefix) = prefix {
                    metrics.sms_code_verified(&prefix);
                }
            }
            Err(error) => tracing::warn!(%error, "a code that came back was not counted"),
        }
    });
}

/// Whether the factor may not approve this yet. A change of factors may be answered so where all of them wait.
fn is_young(challenge: &Challenge, enrolled: Option<&Enrolled>, now: UnixMs) -> bool {
    challenge.pending.is_none()
        && !is_change(challenge)
        && enrolled.is_some_and(|enrolled| now < enrolled.usable_from)
}

/// Whether the account's own factors would change.
pub(super) fn is_change(challenge: &Challenge) -> bool {
    challenge.requirement.terms.iter().any(|term| term.rule.as_str() == FACTOR_CHANGE)
}

pub(super) enum Compared {
    Right {
        step: Option<u64>,
        mac: Option<String>,
    },
    /// A passkey was made: what was kept of the account's, and what is in its place.
    Made {
        was: Option<Vec<u8>>,
        enrolled: Box<Enrolled>,
    },
    Wrong,
    Replayed,
    Malformed,
}

fn compare_totp(
    gateway: &Gateway,
    challenge: &Challenge,
    enrolled: Option<&Enrolled>,
    code: &Code,
    now: UnixMs,
) -> Result<Compared, Rejection> {
    let Some(enrolled) = enrolled.filter(|enrolled| !enrolled.disabled) else {
        return Ok(Compared::Wrong);
    };
    let secret = factors::open(&gateway.keyring, &challenge.account, &enrolled.secret)
        .map_err(|_| Rejection::Unavailable("a factor cannot be unsealed"))?;
    let totp =
        Totp::from_bytes(&secret).map_err(|_| Rejection::Unavailable("a factor is unreadable"))?;
    Ok(match totp.check(code.as_str(), now, enrolled.last_step) {
        TotpCheck::Right { step } => Compared::Right { step: Some(step), mac: None },
        TotpCheck::Replayed => Compared::Replayed,
        TotpCheck::Wrong => Compared::Wrong,
    })
}

fn compare_sms(gateway: &Gateway, challenge: &Challenge, code: &Code, now: UnixMs) -> Compared {
    let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
    match check_sms(challenge.sent.as_ref(), &challenge.id, code, &mac, now) {
        SmsCheck::Right { mac } => Compared::Right { step: None, mac: Some(mac) },
        SmsCheck::Wrong => Compared::Wrong,
    }
}

/// One of the codes that are not used yet. Which of them is told to the store, which takes it away.
fn compare_recovery(
    gateway: &Gateway,
    challenge: &Challenge,
    enrolled: Option<&Enrolled>,
    text: &str,
) -> Compared {
    let kept = enrolled.filter(|enrolled| !enrolled.disabled).map_or(&[][..], |it| &it.codes[..]);
    let Ok(code) = RecoveryCode::parse(text) else { return Compared::Wrong };
    let right = with_parts(&challenge.account, &code, |parts| {
        let is_it = |kept: &&String| {
            let tag = IntentDigest::from_hex(kept);
            tag.is_some_and(|tag| gateway.keyring.matches(CODE_LABEL, parts, &tag.0))
        };
        kept.iter().find(is_it).cloned()
    });
    match right {
        Some(mac) => Compared::Right { step: None, mac: Some(mac) },
        None => Compared::Wrong,
    }
}

fn proved(
    gateway: &Gateway,
    visit: &Visit,
    challenge: Challenge,
    factor: Factor,
    result: AnswerResult,
) -> Attempted {
    let (event, word) = match result {
        AnswerResult::Approved => (Event::ChallengeApproved, "approved"),
        _ => (Event::ChallengeProven, "proven"),
    };
    visit.note_challenge(gateway, event, &challenge, Some(factor));
    gateway.metrics.challenge(Some(factor), word);
    Attempted { result, challenge: Some(challenge) }
}

fn failed(
    gateway: &Gateway,
    visit: &Visit,
    challenge: Challenge,
    factor: Factor,
    left: u32,
    result: AnswerResult,
) -> Attempted {
    if left == 0 {
        visit.tell(gateway, About::Locked);
    }
    let (event, word) = match left {
        0 => (Event::ChallengeLocked, "locked"),
        _ => (Event::AttemptFailed, "failed"),
    };
    visit.note_challenge(gateway, event, &challenge, Some(factor));
    gateway.metrics.challenge(Some(factor), word);
    let result = if left == 0 { AnswerResult::Locked } else { result };
    Attempted { result, challenge: Some(challenge) }
}

/// What a challenge that is not open says.
pub(super) fn closed(challenge: Challenge, now: UnixMs) -> Attempted {
    let result = AnswerResult::of_state(challenge.state_at(now)).unwrap_or(AnswerResult::More);
    Attempted { result, challenge: Some(challenge) }
}
