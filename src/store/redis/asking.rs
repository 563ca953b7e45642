//! The sentences about challenges: open, spend an attempt, prove, reject, release.
//!
//! Never compares a code with a secret. Invariant: what never changes of a challenge is written once, as JSON; what
//! changes stands beside it, where scripts can read it.

use super::account::{
    factor_text, read_factors, read_pending, read_record, write_enrolled, write_pending,
};
use super::keys::{account_text, credential_text, join, tag_of};
use super::reply::{Fields, Reply, corrupt, next};
use super::{Redis, scripts};
use crate::policy::verdict::{Requirement, Valid};
use crate::stepup::attempts::DAY_MS;
use crate::stepup::challenge::{Challenge, Scope, SentCode, State};
use crate::store::{Enrolled, Opened, PasskeyAsked, Proven, Spent, StoreError, scope_key};
use crate::types::{AccountId, ChallengeId, Credential, Factor, UnixMs};

impl Redis {
    pub(super) async fn do_open(
        &self,
        challenge: Challenge,
        now: UnixMs,
    ) -> Result<Opened, StoreError> {
        let only_elevates =
            matches!(challenge.scope, Scope::Place(_)) || challenge.requirement.only_elevates();
        let account = challenge.account.clone();
        let pending = challenge.pending.as_ref().map_or(Vec::new(), write_pending);
        let held = challenge.held.as_ref().map_or(Vec::new(), |held| [b"=", &held[..]].concat());
        let json = Challenge {
            held: None,
            sent: None,
            ceremony: None,
            pending: None,
            ..challenge.clone()
        };
        let json = serde_json::to_vec(&json).map_err(|_| corrupt("a challenge"))?;
        let args = vec![
            challenge.id.as_str().into(),
            credential_text(&challenge.credential),
            scope_key(&challenge.scope).into_bytes(),
            json,
            met(&challenge.requirement),
            elevations(&challenge.requirement),
            challenge.place.as_bytes().to_vec(),
            flag(only_elevates),
            challenge.expires.0.to_string().into_bytes(),
            challenge.attempts_left.to_string().into_bytes(),
            held,
            pending,
        ];
        let reply = self.shared.ask_of(&scripts::OPEN, &account, args, now).await?;
        let (word, mut rest) = said(reply)?;
        Ok(match word.as_str() {
            "new" => Opened::New(read_challenge(next(&mut rest)?)?),
            "existing" => Opened::Existing(read_challenge(next(&mut rest)?)?),
            "blocked" => Opened::Blocked { until: UnixMs(next(&mut rest)?.number()?) },
            "taken" => {
                return Err(StoreError::Unavailable("this challenge id is taken".to_owned()));
            }
            _ => return Err(corrupt("an answer")),
        })
    }

    pub(super) async fn do_challenge(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        now: UnixMs,
    ) -> Result<Option<Challenge>, StoreError> {
        let args = vec![id.as_str().into()];
        let reply = self.shared.ask_of(&scripts::CHALLENGE, account, args, now).await?;
        reply.present().map(read_challenge).transpose()
    }

    pub(super) async fn do_open_challenges(
        &self,
        account: &AccountId,
        now: UnixMs,
    ) -> Result<Vec<Challenge>, StoreError> {
        let script = &scripts::OPEN_CHALLENGES;
        let reply = self.shared.ask_of(script, account, Vec::new(), now).await?;
        reply.list()?.map(read_challenge).collect()
    }

    pub(super) async fn do_ask_passkey(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        ceremony: Vec<u8>,
        now: UnixMs,
    ) -> Result<PasskeyAsked, StoreError> {
        let args = vec![id.as_str().into(), ceremony];
        let reply = self.shared.ask_of(&scripts::ASK_PASSKEY, account, args, now).await?;
        let (word, mut rest) = said(reply)?;
        Ok(match word.as_str() {
            "asked" => PasskeyAsked::Asked(read_challenge(next(&mut rest)?)?),
            "closed" => PasskeyAsked::Closed(read_challenge(next(&mut rest)?)?),
            "blocked" => PasskeyAsked::Blocked { until: UnixMs(next(&mut rest)?.number()?) },
            "missing" => PasskeyAsked::Missing,
            _ => return Err(corrupt("an answer")),
        })
    }

    pub(super) async fn do_spend(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        factor: Factor,
        now: UnixMs,
    ) -> Result<Spent, StoreError> {
        let skew_ms = self.shared.link.skew_ms().unsigned_abs();
        if factor == Factor::Totp && skew_ms > SKEW_MS_MAX {
            let why = format!("its clock is {skew_ms} ms from ours, too far for TOTP");
            return Err(StoreError::Unavailable(why));
        }
        let args = vec![id.as_str().into(), credential_text(credential), factor_text(factor)];
        let reply = self.shared.ask_of(&scripts::SPEND, account, args, now).await;
        self.shared.view.raise(account);
        let (word, mut rest) = said(reply?)?;
        Ok(match word.as_str() {
            "compare" => {
                let challenge = read_challenge(next(&mut rest)?)?;
                let enrolled = next(&mut rest)?.present().map(|record| {
                    let parts = record.list()?.map(Reply::bytes).collect::<Result<Vec<_>, _>>()?;
                    read_record(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
                });
                let left = challenge.attempts_left;
                Spent::Compare { challenge, enrolled: enrolled.transpose()?, left }
            }
            "closed" => Spent::Closed(read_challenge(next(&mut rest)?)?),
            "blocked" => Spent::Blocked { until: UnixMs(next(&mut rest)?.number()?) },
            "missing" => Spent::Missing,
            _ => return Err(corrupt("an answer")),
        })
    }

    pub(super) async fn do_prove(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        factor: Factor,
        step: Option<u64>,
        mac: Option<String>,
        now: UnixMs,
    ) -> Result<Proven, StoreError> {
        let args = vec![
            id.as_str().into(),
            factor_text(factor),
            step.map_or(Vec::new(), |step| step.to_string().into_bytes()),
            mac.map_or(Vec::new(), |mac| format!("={mac}").into_bytes()),
        ];
        let reply = self.shared.ask_of(&scripts::PROVE, account, args, now).await;
        self.proven(account, reply).await
    }

    pub(super) async fn do_enrol_made(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        was: Option<Vec<u8>>,
        enrolled: &Enrolled,
        now: UnixMs,
    ) -> Result<Proven, StoreError> {
        let was = was.map_or(Vec::new(), |was| [b"=", &was[..]].concat());
        let args = vec![id.as_str().into(), was, write_enrolled(enrolled)];
        let reply = self.shared.ask_of(&scripts::ENROL_MADE, account, args, now).await;
        self.proven(account, reply).await
    }

    async fn proven(
        &self,
        account: &AccountId,
        reply: Result<Reply, StoreError>,
    ) -> Result<Proven, StoreError> {
        self.shared.view.raise(account);
        let (word, mut rest) = said(reply?)?;
        if word == "enrolled" {
            // As for every change of what protects an account: a replica has it too, if there are any.
            self.shared.link.replicated(tag_of(account)).await?;
        }
        Ok(match word.as_str() {
            "more" => Proven::More(read_challenge(next(&mut rest)?)?),
            "approved" | "enrolled" => Proven::Approved(read_challenge(next(&mut rest)?)?),
            "closed" => Proven::Closed(read_challenge(next(&mut rest)?)?),
            "replayed" => Proven::Replayed,
            _ => return Err(corrupt("a challenge")),
        })
    }

    pub(super) async fn do_reject(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        freeze: bool,
        now: UnixMs,
    ) -> Result<Option<Challenge>, StoreError> {
        let args = vec![id.as_str().into(), flag(freeze)];
        let reply = match freeze {
            true => self.shared.ask_replicated(&scripts::REJECT, account, args, now).await,
            false => self.shared.ask_of(&scripts::REJECT, account, args, now).await,
        };
        self.shared.view.raise(account);
        reply?.present().map(read_challenge).transpose()
    }

    pub(super) async fn do_take_held(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let args = vec![id.as_str().into(), credential_text(credential)];
        let reply = self.shared.ask_of(&scripts::TAKE_HELD, account, args, now).await?;
        reply.present().map(Reply::bytes).transpose()
    }
}

impl super::Shared {
    /// A script that begins with the limits and the account.
    pub(super) async fn ask_of(
        &self,
        script: &'static super::link::Script,
        account: &AccountId,
        args: Vec<Vec<u8>>,
        now: UnixMs,
    ) -> Result<Reply, StoreError> {
        self.ask(script, tag_of(account), now, self.of(account, args)).await
    }

    /// The same, and a replica has it too, if there are any: one of the very server that carried it out.
    pub(super) async fn ask_replicated(
        &self,
        script: &'static super::link::Script,
        account: &AccountId,
        args: Vec<Vec<u8>>,
        now: UnixMs,
    ) -> Result<Reply, StoreError> {
        let call = self.call(script, tag_of(account), now, self.of(account, args));
        self.link.call_replicated(call).await.map(Reply)
    }

    fn of(&self, account: &AccountId, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut all = vec![self.limits_text.clone(), account_text(account)];
        all.extend(args);
        all
    }
}

/// An answer's first word, and the rest.
pub(super) fn said(reply: Reply) -> Result<(String, std::vec::IntoIter<Reply>), StoreError> {
    let mut items = reply.list()?;
    Ok((next(&mut items)?.text()?, items))
}

/// {state, fields}.
pub(super) fn read_challenge(reply: Reply) -> Result<Challenge, StoreError> {
    let mut items = reply.list()?;
    let state = next(&mut items)?.text()?;
    let mut fields = next(&mut items)?.fields()?;
    let broken = || corrupt("a challenge");
    let fixed: Challenge = serde_json::from_slice(fields.bytes("json").ok_or_else(broken)?)
        .map_err(|_| corrupt("a challenge"))?;
    let count = |name: &str| fields.number(name)?.ok_or_else(broken);
    Ok(Challenge {
        expires: UnixMs(count("expires")?),
        attempts_left: u32::try_from(count("left")?).map_err(|_| corrupt("a challenge"))?,
        proven: read_factors(count("proven")?),
        state: STATES.into_iter().find(|known| known.word() == state).ok_or_else(broken)?,
        sent: read_sent(&fields)?,
        ceremony: fields.take("ceremony"),
        held: fields.take("held"),
        pending: fields.bytes("pending").map(read_pending).transpose()?,
        ..fixed
    })
}

fn read_sent(fields: &Fields) -> Result<Option<SentCode>, StoreError> {
    let Some(mac) = fields.text("mac")? else { return Ok(None) };
    let (expires, masked) = (fields.number("code_expires")?, fields.text("masked")?);
    Ok(Some(SentCode {
        mac: mac.to_owned(),
        expires: UnixMs(expires.ok_or_else(|| corrupt("a challenge"))?),
        masked_number: masked.ok_or_else(|| corrupt("a challenge"))?.into(),
    }))
}

/// For each of the 64 sets of factors, whether it is enough.
fn met(requirement: &Requirement) -> Vec<u8> {
    (0..64).map(|bits| if requirement.met_by(read_factors(bits)) { b'1' } else { b'0' }).collect()
}

/// What an approval elevates: rule and time by turns.
fn elevations(requirement: &Requirement) -> Vec<u8> {
    let mut items = Vec::new();
    for term in &requirement.terms {
        let ms = match term.valid {
            None => continue,
            Some(Valid::Session) => DAY_MS,
            Some(Valid::ForMs(ms)) => ms,
        };
        items.extend([term.rule.to_string(), ms.to_string()]);
    }
    join(items)
}

pub(super) fn flag(set: bool) -> Vec<u8> {
    if set { b"1".to_vec() } else { b"0".to_vec() }
}

const STATES: [State; 6] =
    [State::Open, State::Approved, State::Used, State::Rejected, State::Expired, State::Locked];
/// A code of a step that our clock thinks over may be right for the others'.
const SKEW_MS_MAX: u64 = 5_000;
