//! Budgets for text messages: what a code is counted in before it is sent, and what stops when too few come back.
//!
//! Never counts a code that is refused. Invariant: whoever counts has asked every budget before, in the same sentence.

use std::sync::Arc;

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::rows::{Desk, Key, Kind, Rows, Shelf};
use crate::stepup::budget::{Meter, Refusal, Returned, Scope, Spent, Stop, Watch, Why, kept_until};
use crate::store::{Charge, StoreError};
use crate::types::UnixMs;

/// Where one code is counted as sent.
#[derive(Serialize, Deserialize)]
struct Counted {
    at: UnixMs,
    of: Vec<(Scope, Arc<str>, u64)>,
}

/// Why the code may not go; writes no more than that something is stopped from now on.
pub(super) fn refused(
    desk: &mut Desk<'_>,
    charge: &Charge,
    now: UnixMs,
) -> Result<Option<Refusal>, StoreError> {
    for watch in &charge.watches {
        let stop: Option<Stop> = desk.find(&stop_key(&watch.subject))?;
        if let Some(stop) = stop.filter(|stop| now < stop.until) {
            let wait_ms = stop.until.since_ms(now);
            return Ok(Some(refusal(watch.scope, &watch.subject, Why::Stopped, wait_ms)));
        }
    }
    for (scope, subject) in &charge.stops {
        let stop: Option<Stop> = desk.find(&stop_key(subject))?;
        if let Some(stop) = stop.filter(|stop| now < stop.until) {
            let wait_ms = stop.until.since_ms(now);
            return Ok(Some(refusal(*scope, subject, Why::Stopped, wait_ms)));
        }
    }
    for watch in &charge.watches {
        let returned: Returned =
            desk.find(&watch_key(watch.scope, &watch.subject))?.unwrap_or_default();
        if let Some((sent, verified)) = returned.too_few(watch, now) {
            stop(desk, watch, now)?;
            let why = Why::Stopping { sent, verified };
            return Ok(Some(refusal(watch.scope, &watch.subject, why, watch.stop_ms)));
        }
    }
    for meter in &charge.meters {
        let spent: Spent = desk.find(&meter_key(meter))?.unwrap_or_default();
        if let Some(wait_ms) = spent.wait(meter, now) {
            return Ok(Some(refusal(meter.scope, &meter.subject, Why::Spent, wait_ms)));
        }
    }
    Ok(None)
}

fn refusal(scope: Scope, subject: &Arc<str>, why: Why, retry_after_ms: u64) -> Refusal {
    Refusal { scope, subject: subject.clone(), why, retry_after_ms }
}

/// What led to a stop is forgotten, so that it is not the reason for the next.
fn stop(desk: &mut Desk<'_>, watch: &Watch, now: UnixMs) -> Result<(), StoreError> {
    let until = now.plus_ms(watch.stop_ms);
    let stop = Stop { scope: watch.scope, subject: watch.subject.clone(), until };
    desk.remove(&watch_key(watch.scope, &watch.subject));
    desk.put(&stop_key(&watch.subject), until, &stop)
}

pub(super) fn count(
    desk: &mut Desk<'_>,
    charge: &Charge,
    mac: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    for meter in &charge.meters {
        let key = meter_key(meter);
        let mut spent: Spent = desk.find(&key)?.unwrap_or_default();
        spent.add(meter, now);
        desk.put(&key, kept_until(meter.window_ms, now), &spent)?;
    }
    let mut counted = Counted { at: now, of: Vec::with_capacity(charge.watches.len()) };
    let mut settled = now;
    for watch in &charge.watches {
        let key = watch_key(watch.scope, &watch.subject);
        let mut returned: Returned = desk.find(&key)?.unwrap_or_default();
        returned.add_sent(watch.window_ms, now);
        desk.put(&key, kept_until(watch.window_ms, now), &returned)?;
        counted.of.push((watch.scope, watch.subject.clone(), watch.window_ms));
        settled = settled.max(now.plus_ms(watch.settle_ms));
    }
    if settled > now {
        desk.put(&counted_key(mac), settled, &counted)?;
    }
    Ok(())
}

pub(super) fn verified(
    desk: &mut Desk<'_>,
    mac: &str,
    now: UnixMs,
) -> Result<Option<Arc<str>>, StoreError> {
    let key = counted_key(mac);
    if desk.bytes_until(&key, now)?.is_none() {
        return Ok(None);
    }
    let Some(counted) = desk.find::<Counted>(&key)? else { return Ok(None) };
    desk.remove(&key);
    let mut prefix = None;
    for (scope, subject, window_ms) in counted.of {
        let key = watch_key(scope, &subject);
        if let Some(mut returned) = desk.find::<Returned>(&key)? {
            returned.add_verified(window_ms, counted.at);
            desk.put(&key, kept_until(window_ms, now), &returned)?;
        }
        prefix = prefix.or((scope == Scope::Prefix).then_some(subject));
    }
    Ok(prefix)
}

pub(super) fn stops<T: ReadableTable<&'static [u8], &'static [u8]>>(
    rows: &Shelf<'_, T>,
    now: UnixMs,
) -> Result<Vec<Stop>, StoreError> {
    let found = rows.list::<Stop>(&Key::new(Kind::Stop), STOPS_MAX)?;
    let mut stops: Vec<Stop> =
        found.into_iter().map(|(_, stop)| stop).filter(|stop| now < stop.until).collect();
    stops.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(stops)
}

pub(super) fn lift(desk: &mut Desk<'_>, subject: &str, now: UnixMs) -> Result<bool, StoreError> {
    let key = stop_key(subject);
    let stop: Option<Stop> = desk.find(&key)?;
    desk.remove(&key);
    Ok(stop.is_some_and(|stop| now < stop.until))
}

fn meter_key(meter: &Meter) -> Key {
    let window = meter.window_ms.to_string();
    Key::new(Kind::Meter).part(meter.scope.word()).part(&window).part(&meter.subject)
}

fn watch_key(scope: Scope, subject: &str) -> Key {
    Key::new(Kind::Watch).part(scope.word()).part(subject)
}

fn counted_key(mac: &str) -> Key {
    Key::new(Kind::Counted).part(mac)
}

fn stop_key(subject: &str) -> Key {
    Key::new(Kind::Stop).part(subject)
}

/// Of so many an operator is told.
const STOPS_MAX: usize = 256;
