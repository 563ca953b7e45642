//! The sentences about messages: put a code on a challenge, or a notice to its account's contacts; lease a message,
//! finish it.
//!
//! Never sees an address or a text: both are sealed. Numbers and messages live apart from accounts, so each sentence
//! takes several steps. Invariant: a step that fails leaves the earlier ones on the strict side: a send that counts, a
//! code that nobody got. A notice is claimed for a short while before it is put into the outbox, and quiet for long only
//! when it is there: at worst it is said twice, never lost for the whole of its time.

use super::asking::{read_challenge, said};
use super::keys::{OUT, account_from, account_text, join, tag_of};
use super::reply::{Reply, corrupt, next};
use super::{Redis, scripts};
use crate::stepup::challenge::{Challenge, SentCode, State};
use crate::store::{
    Charge, CodeQueued, Message, NoticeLetter, Notified, Quiet, StoreError, URGENT_AHEAD_MS,
};
use crate::types::{AccountId, ChallengeId, UnixMs};

impl Redis {
    pub(super) async fn do_send_code(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        charge: &Charge,
        sent: SentCode,
        sealed: Vec<u8>,
        now: UnixMs,
    ) -> Result<CodeQueued, StoreError> {
        let expires = sent.expires.min(now.plus_ms(self.shared.limits.sms_code_ms));
        let sent = SentCode { expires, ..sent };
        let asked = self.put_code(id, account, None, now).await?;
        let CodeQueued::Queued(_) = asked else { return Ok(asked) };
        if let Some(refused) = self.reserve(charge, &sent.mac, now).await? {
            return Ok(refused);
        }
        let put = self.put_code(id, account, Some(&sent), now).await?;
        if let CodeQueued::Queued(_) = put {
            let args = vec![
                account_text(account),
                id.as_str().into(),
                sent.mac.into_bytes(),
                join([sealed]),
                expires.0.to_string().into_bytes(),
                now.0.to_string().into_bytes(),
            ];
            self.shared.ask(&scripts::ENQUEUE, OUT, now, args).await?;
        }
        Ok(put)
    }

    pub(super) async fn do_notify(
        &self,
        account: &AccountId,
        quiet: &Quiet,
        letters: Vec<NoticeLetter>,
        expires: UnixMs,
        now: UnixMs,
    ) -> Result<Notified, StoreError> {
        let claim_ms = quiet.ms().min(CLAIM_MS);
        if !self.mark_told(account, quiet, (claim_ms, Mark::Claim), now).await? {
            return Ok(Notified::Quiet);
        }
        let (count, mut left_out) = (letters.len(), Vec::new());
        let (mut sealed, mut urgent) = (Vec::with_capacity(count), false);
        for (place, letter) in letters.into_iter().enumerate() {
            if let Some(charge) = &letter.charge
                && self.reserve(charge, "", now).await?.is_some()
            {
                left_out.push(place);
                continue;
            }
            urgent |= letter.urgent;
            sealed.push(letter.sealed);
        }
        if count > 0 && sealed.is_empty() {
            self.mark_told(account, quiet, (0, Mark::GiveBack), now).await?;
            return Ok(Notified::OverBudget);
        }
        // All of them or none: what failed is tried again, and nobody is told twice.
        let due = if urgent { now.0.saturating_sub_unsigned(URGENT_AHEAD_MS) } else { now.0 };
        let args = vec![
            account_text(account),
            Vec::new(),
            Vec::new(),
            join(sealed),
            expires.0.to_string().into_bytes(),
            due.to_string().into_bytes(),
        ];
        self.shared.ask(&scripts::ENQUEUE, OUT, now, args).await?;
        // They are in the outbox: if this fails, the worst is that the same is said again soon.
        if let Err(error) = self.mark_told(account, quiet, (quiet.ms(), Mark::Told), now).await {
            tracing::warn!(%error, "what an account was told is quiet for a short while only");
        }
        Ok(Notified::Queued { left_out })
    }

    async fn mark_told(
        &self,
        account: &AccountId,
        quiet: &Quiet,
        (ms, mark): (u64, Mark),
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let args = vec![
            account_text(account),
            quiet.key.as_bytes().to_vec(),
            ms.to_string().into_bytes(),
            quiet.per_day_max.to_string().into_bytes(),
            match mark {
                Mark::Claim => Vec::new(),
                Mark::Told => b"1".to_vec(),
                Mark::GiveBack => b"0".to_vec(),
            },
        ];
        let reply = self.shared.ask(&scripts::TELL, tag_of(account), now, args).await?;
        Ok(reply.number()? == 1)
    }

    /// Puts the code on the challenge; without one only says whether it could be.
    async fn put_code(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        sent: Option<&SentCode>,
        now: UnixMs,
    ) -> Result<CodeQueued, StoreError> {
        let mut args: Vec<Vec<u8>> = vec![id.as_str().into()];
        args.extend(match sent {
            None => [Vec::new(), Vec::new(), Vec::new()],
            Some(sent) => [
                format!("={}", sent.mac).into_bytes(),
                sent.expires.0.to_string().into_bytes(),
                sent.masked_number.as_bytes().to_vec(),
            ],
        });
        let reply = self.shared.ask_of(&scripts::PUT_CODE, account, args, now).await?;
        let (word, mut rest) = said(reply)?;
        Ok(match word.as_str() {
            "queued" => CodeQueued::Queued(read_challenge(next(&mut rest)?)?),
            "closed" => CodeQueued::Closed(read_challenge(next(&mut rest)?)?),
            "limited" => CodeQueued::Limited { retry_after_ms: ms(next(&mut rest)?)? },
            "missing" => CodeQueued::Missing,
            _ => return Err(corrupt("an answer")),
        })
    }

    pub(super) async fn do_next_message(
        &self,
        lease_ms: u64,
        now: UnixMs,
    ) -> Result<Option<Message>, StoreError> {
        loop {
            let args = vec![lease_ms.to_string().into_bytes()];
            let reply = self.shared.ask(&scripts::LEASE, OUT, now, args).await?;
            let Some(leased) = reply.present() else { return Ok(None) };
            let mut parts = leased.list()?;
            let id = ms(next(&mut parts)?)?;
            let account = account_from(&next(&mut parts)?.bytes()?);
            let challenge = next(&mut parts)?.text()?;
            let challenge = Some(challenge).filter(|id| !id.is_empty()).map(ChallengeId::new);
            let mac = next(&mut parts)?.text()?;
            let sealed = next(&mut parts)?.bytes()?;
            let expires = UnixMs(next(&mut parts)?.number()?);
            let tries = u32::try_from(next(&mut parts)?.number()?).unwrap_or(u32::MAX);
            let account = account.ok_or_else(|| corrupt("a message"))?;
            let alive = match &challenge {
                Some(id) => {
                    let asked = self.do_challenge(id, &account, now).await?;
                    asked.is_some_and(|asked| is_alive(&asked, &mac))
                }
                None => true,
            };
            if alive {
                return Ok(Some(Message { id, challenge, sealed, expires, tries }));
            }
            self.do_message_done(id, None).await?;
        }
    }

    pub(super) async fn do_message_done(
        &self,
        id: u64,
        again: Option<UnixMs>,
    ) -> Result<(), StoreError> {
        let again = again.map_or(String::new(), |at| at.0.to_string());
        let args = vec![id.to_string().into_bytes(), again.into_bytes()];
        let now = self.shared.clock.now();
        self.shared.ask(&scripts::MESSAGE_DONE, OUT, now, args).await.map(drop)
    }
}

/// How far a notice has come: a claim counts for as long as it lasts and no longer.
#[derive(Clone, Copy)]
enum Mark {
    Claim,
    Told,
    GiveBack,
}

/// Whether the code in a message can still be of use.
fn is_alive(challenge: &Challenge, mac: &str) -> bool {
    challenge.state == State::Open && challenge.sent.as_ref().is_some_and(|sent| sent.mac == mac)
}

/// How long another gateway leaves a notice to the one that is about to put it into the outbox.
const CLAIM_MS: u64 = 30_000;

pub(super) fn ms(reply: Reply) -> Result<u64, StoreError> {
    u64::try_from(reply.number()?).map_err(|_| corrupt("a number"))
}
