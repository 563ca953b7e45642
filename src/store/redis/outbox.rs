//! The sentences about sent codes: put one on a challenge, lease its message, finish it.
//!
//! Never sees a number or a text: both are sealed. Numbers and messages live apart from accounts, so each sentence
//! takes several steps. Invariant: a step that fails leaves the earlier ones on the strict side: a send that counts, a
//! code that nobody got.

use super::asking::{read_challenge, said};
use super::keys::{OUT, account_from, account_text};
use super::reply::{Reply, corrupt, next};
use super::{Redis, scripts};
use crate::stepup::challenge::{Challenge, SentCode, State};
use crate::store::{Charge, CodeQueued, Message, StoreError};
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
                sealed,
                expires.0.to_string().into_bytes(),
            ];
            self.shared.ask(&scripts::ENQUEUE, OUT, now, args).await?;
        }
        Ok(put)
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
            let challenge = ChallengeId::new(next(&mut parts)?.text()?);
            let mac = next(&mut parts)?.text()?;
            let sealed = next(&mut parts)?.bytes()?;
            let expires = UnixMs(next(&mut parts)?.number()?);
            let tries = u32::try_from(next(&mut parts)?.number()?).unwrap_or(u32::MAX);
            let account = account.ok_or_else(|| corrupt("a message"))?;
            let asked = self.do_challenge(&challenge, &account, now).await?;
            if asked.is_some_and(|asked| is_alive(&asked, &mac)) {
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

/// Whether the code in a message can still be of use.
fn is_alive(challenge: &Challenge, mac: &str) -> bool {
    challenge.state == State::Open && challenge.sent.as_ref().is_some_and(|sent| sent.mac == mac)
}

pub(super) fn ms(reply: Reply) -> Result<u64, StoreError> {
    u64::try_from(reply.number()?).map_err(|_| corrupt("a number"))
}
