//! Budgets for text messages: counted where the outbox is, in one script with the limits per number.
//!
//! Never counts a code that is refused. Invariant: one script asks every budget and counts in every one, so that any
//! number of gateways never send one code too many.

use std::sync::Arc;

use super::asking::said;
use super::keys::{OUT, join};
use super::outbox::ms;
use super::reply::{Reply, corrupt, next};
use super::{Redis, scripts};
use crate::stepup::budget::{Meter, Refusal, Scope, Stop, Watch, Why};
use crate::store::{Charge, CodeQueued, StoreError};
use crate::types::UnixMs;

impl Redis {
    /// Counts a code, or a notice (which has no `mac`), or says why it may not go.
    pub(super) async fn reserve(
        &self,
        charge: &Charge,
        mac: &str,
        now: UnixMs,
    ) -> Result<Option<CodeQueued>, StoreError> {
        let limits = &self.shared.limits;
        let args = vec![
            charge.number.0.clone().into_bytes(),
            limits.sms_per_10min_max.to_string().into_bytes(),
            limits.sms_per_day_max.to_string().into_bytes(),
            join(charge.meters.iter().flat_map(meter_text)),
            join(charge.watches.iter().flat_map(watch_text)),
            mac.as_bytes().to_vec(),
            join(charge.stops.iter().map(|(_, subject)| subject.as_bytes())),
        ];
        let reply = self.shared.ask(&scripts::RESERVE, OUT, now, args).await?;
        reply.present().map(|refused| read_refusal(charge, refused)).transpose()
    }

    pub(super) async fn do_code_verified(
        &self,
        mac: Vec<u8>,
        now: UnixMs,
    ) -> Result<Option<Arc<str>>, StoreError> {
        let reply = self.shared.ask(&scripts::CODE_VERIFIED, OUT, now, vec![mac]).await?;
        Ok(reply.present().map(Reply::text).transpose()?.map(Arc::from))
    }

    pub(super) async fn do_sms_stops(&self, now: UnixMs) -> Result<Vec<Stop>, StoreError> {
        let reply = self.shared.ask(&scripts::SMS_STOPS, OUT, now, vec![Vec::new()]).await?;
        let (mut items, mut stops) = (reply.list()?, Vec::new());
        while let Some(subject) = items.next() {
            let subject = subject.text()?.into();
            let scope = Scope::from_word(&next(&mut items)?.text()?);
            let until = UnixMs(next(&mut items)?.number()?);
            stops.push(Stop { scope: scope.ok_or_else(|| corrupt("a stop"))?, subject, until });
        }
        stops.sort_by(|a, b| a.subject.cmp(&b.subject));
        Ok(stops)
    }

    pub(super) async fn do_lift_sms_stop(
        &self,
        subject: Vec<u8>,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        if subject.is_empty() {
            return Ok(false);
        }
        let reply = self.shared.ask(&scripts::SMS_STOPS, OUT, now, vec![subject]).await?;
        Ok(reply.number()? == 1)
    }
}

fn meter_text(meter: &Meter) -> [String; 4] {
    let Meter { scope, subject, window_ms, max } = meter;
    [scope.word().to_owned(), subject.to_string(), window_ms.to_string(), max.to_string()]
}

fn watch_text(watch: &Watch) -> [String; 7] {
    let Watch { scope, subject, window_ms, settle_ms, sent_min, percent_min, stop_ms } = watch;
    [
        scope.word().to_owned(),
        subject.to_string(),
        window_ms.to_string(),
        settle_ms.to_string(),
        sent_min.to_string(),
        percent_min.to_string(),
        stop_ms.to_string(),
    ]
}

/// {why, wait} of the number; {why, which one, wait, …} of a budget, counted from 1 in the order in which they were given.
fn read_refusal(charge: &Charge, reply: Reply) -> Result<CodeQueued, StoreError> {
    let (word, mut rest) = said(reply)?;
    if word == "number" {
        return Ok(CodeQueued::Limited { retry_after_ms: ms(next(&mut rest)?)? });
    }
    let which = usize::try_from(ms(next(&mut rest)?)?).ok().and_then(|which| which.checked_sub(1));
    let which = which.ok_or_else(|| corrupt("a refusal"))?;
    let retry_after_ms = ms(next(&mut rest)?)?;
    let mut count = || ms(next(&mut rest)?).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let why = match word.as_str() {
        "spent" => Why::Spent,
        "stopped" => Why::Stopped,
        "stopping" => Why::Stopping { sent: count()?, verified: count()? },
        _ => return Err(corrupt("an answer")),
    };
    let of = match why {
        Why::Spent => charge.meters.get(which).map(|meter| (meter.scope, meter.subject.clone())),
        _ if charge.watches.is_empty() => charge.stops.get(which).cloned(),
        _ => charge.watches.get(which).map(|watch| (watch.scope, watch.subject.clone())),
    };
    let (scope, subject) = of.ok_or_else(|| corrupt("a refusal"))?;
    Ok(CodeQueued::OverBudget(Refusal { scope, subject, why, retry_after_ms }))
}
