//! What one account did of one action within the last week, in buckets. Pure.
//!
//! Never counts less than happened: a bucket counts while any part of it is inside the window; the week is told in
//! hours, so that what was merged and what was not gives the same total.
//! Invariant: what `give_back` takes out is exactly what `add` put in.

use serde::{Deserialize, Serialize};

use crate::policy::facts::{CounterTotal, Decimal, Window};
use crate::store::moved;
use crate::types::UnixMs;

/// Counts of one (account, action).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::store) struct Ledger(Vec<Bucket>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    from: i64,
    ms: i64,
    count: u64,
    /// Actions without a price: while there is one, the sum says nothing.
    unpriced: u64,
    /// Exact decimal text.
    usd: String,
}

/// The ledger's text is not a number.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Unreadable;

/// A price that can be summed. Negative, infinite or undefined counts as no price at all, which
/// makes rules stricter.
pub(in crate::store) fn price(usd: Option<Decimal>) -> Option<String> {
    usd.filter(|usd| *usd >= Decimal::ZERO && *usd < Decimal::INFINITY).map(|usd| usd.to_string())
}

impl Ledger {
    /// The totals of every window at `now`, without those that are zero.
    pub(in crate::store) fn totals(
        &self,
        now: UnixMs,
    ) -> Result<Vec<(Window, CounterTotal)>, Unreadable> {
        let mut totals = Vec::new();
        for window in Window::ALL {
            let mut count = 0u64;
            let mut unpriced = 0u64;
            let mut usd = Decimal::ZERO;
            for bucket in self.0.iter().filter(|bucket| bucket.reaches_into(window, now)) {
                count = count.saturating_add(bucket.count);
                unpriced = unpriced.saturating_add(bucket.unpriced);
                usd += number(&bucket.usd)?;
            }
            if count > 0 {
                let usd = (unpriced == 0).then_some(usd);
                totals.push((window, CounterTotal { count, usd }));
            }
        }
        Ok(totals)
    }

    /// One more at `now`, with its `price`.
    pub(in crate::store) fn add(
        &mut self,
        usd: Option<&str>,
        now: UnixMs,
    ) -> Result<(), Unreadable> {
        self.compact(now)?;
        let from = now.0.div_euclid(FINE_MS) * FINE_MS;
        let at = match self.0.iter().position(|bucket| bucket.from == from && bucket.ms == FINE_MS)
        {
            Some(at) => at,
            None => {
                self.0.push(Bucket::empty(from, FINE_MS));
                self.0.len() - 1
            }
        };
        let bucket = &mut self.0[at]; // found or pushed just above
        bucket.count = bucket.count.saturating_add(1);
        match usd {
            Some(usd) => bucket.usd = (number(&bucket.usd)? + number(usd)?).to_string(),
            None => bucket.unpriced = bucket.unpriced.saturating_add(1),
        }
        Ok(())
    }

    /// Takes back one that was added at `at` with this price; nothing if it has left the week.
    pub(in crate::store) fn give_back(
        &mut self,
        usd: Option<&str>,
        at: UnixMs,
    ) -> Result<(), Unreadable> {
        let holds = |bucket: &&mut Bucket| bucket.holds(at) && bucket.count > 0;
        let Some(bucket) = self.0.iter_mut().find(holds) else { return Ok(()) };
        bucket.count -= 1;
        match usd {
            Some(usd) => bucket.usd = (number(&bucket.usd)? - number(usd)?).to_string(),
            None => bucket.unpriced = bucket.unpriced.saturating_sub(1),
        }
        self.0.retain(|bucket| bucket.count > 0);
        Ok(())
    }

    /// The same in the words of a backup.
    pub(in crate::store) fn moved(self) -> Vec<moved::Bucket> {
        let length_ms = |ms: i64| u64::try_from(ms).unwrap_or(0);
        let bucket = |Bucket { from, ms, count, unpriced, usd }: Bucket| moved::Bucket {
            from: UnixMs(from),
            length_ms: length_ms(ms),
            count,
            unpriced,
            usd,
        };
        self.0.into_iter().map(bucket).collect()
    }

    /// What `moved` gave, here or in another store.
    pub(in crate::store) fn from_moved(buckets: Vec<moved::Bucket>) -> Result<Self, Unreadable> {
        let bucket = |bucket: moved::Bucket| {
            number(&bucket.usd)?;
            let ms = i64::try_from(bucket.length_ms).map_err(|_| Unreadable)?;
            let moved::Bucket { from, count, unpriced, usd, .. } = bucket;
            Ok(Bucket { from: from.0, ms, count, unpriced, usd })
        };
        Ok(Self(buckets.into_iter().map(bucket).collect::<Result<_, _>>()?))
    }

    /// When the newest bucket ends.
    pub(in crate::store) fn newest_end(&self) -> Option<UnixMs> {
        self.0.iter().map(Bucket::end).max()
    }

    /// Forgets what has left the week, and merges what has left the day into hours, so that an
    /// account that acts all the time has some 460 buckets and not 2,000.
    fn compact(&mut self, now: UnixMs) -> Result<(), Unreadable> {
        let mut kept: Vec<Bucket> = Vec::with_capacity(self.0.len() + 1);
        for bucket in self.0.drain(..).filter(|bucket| bucket.reaches_into(Window::Week, now)) {
            let hour = bucket.from.div_euclid(HOUR_MS) * HOUR_MS;
            let hour_is_old = !Bucket::empty(hour, HOUR_MS).reaches_into(Window::Day, now);
            if !hour_is_old {
                kept.push(bucket);
                continue;
            }
            match kept.iter_mut().find(|known| known.from == hour && known.ms == HOUR_MS) {
                Some(known) => known.absorb(&bucket)?,
                None => kept.push(Bucket { from: hour, ms: HOUR_MS, ..bucket }),
            }
        }
        self.0 = kept;
        Ok(())
    }
}

impl Bucket {
    fn empty(from: i64, ms: i64) -> Self {
        Self { from, ms, count: 0, unpriced: 0, usd: "0".to_owned() }
    }
    fn end(&self) -> UnixMs {
        UnixMs(self.from.saturating_add(self.ms))
    }
    fn reaches_into(&self, window: Window, now: UnixMs) -> bool {
        let hour_end = self.from.div_euclid(HOUR_MS).saturating_add(1).saturating_mul(HOUR_MS);
        let end = if window == Window::Week { hour_end } else { self.end().0 };
        reaches_into(end, window, now)
    }
    fn holds(&self, at: UnixMs) -> bool {
        self.from <= at.0 && at < self.end()
    }
    fn absorb(&mut self, other: &Self) -> Result<(), Unreadable> {
        self.count = self.count.saturating_add(other.count);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        self.usd = (number(&self.usd)? + number(&other.usd)?).to_string();
        Ok(())
    }
}

/// Whether what ended at `end` still counts.
pub(in crate::store) fn reaches_into(end: i64, window: Window, now: UnixMs) -> bool {
    UnixMs(end).plus_ms(window.ms()) > now
}

pub(in crate::store) fn number(text: &str) -> Result<Decimal, Unreadable> {
    Decimal::from_str(text, fastnum::decimal::Context::default()).map_err(|_| Unreadable)
}

pub(in crate::store) const FINE_MS: i64 = 300_000;
pub(in crate::store) const HOUR_MS: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn total(ledger: &Ledger, window: Window, now: UnixMs) -> (u64, Option<String>) {
        let totals = ledger.totals(now).expect("readable");
        let found = totals.into_iter().find(|(known, _)| *known == window);
        found.map_or((0, None), |(_, total)| (total.count, total.usd.map(|usd| usd.to_string())))
    }

    #[test]
    fn sums_are_exact_decimals() {
        let mut ledger = Ledger::default();
        for _ in 0..10 {
            ledger.add(Some("0.1"), NOW).expect("adds");
        }
        ledger.add(Some("0.000000000000000001"), NOW).expect("adds");
        assert_eq!(
            total(&ledger, Window::Hour, NOW),
            (11, Some("1.000000000000000001".to_owned()))
        );
    }

    #[test]
    fn one_action_without_a_price_makes_the_sum_unknown_until_it_is_given_back() {
        let mut ledger = Ledger::default();
        ledger.add(Some("5"), NOW).expect("adds");
        ledger.add(None, NOW).expect("adds");
        assert_eq!(total(&ledger, Window::Day, NOW), (2, None));
        ledger.give_back(None, NOW).expect("gives back");
        assert_eq!(total(&ledger, Window::Day, NOW), (1, Some("5".to_owned())));
    }

    #[test]
    fn a_window_lets_go_of_what_is_older_and_never_earlier() {
        let mut ledger = Ledger::default();
        ledger.add(Some("5"), NOW).expect("adds");
        for window in Window::ALL {
            assert_eq!(total(&ledger, window, NOW.plus_ms(window.ms() - 1)).0, 1);
            let span_ms = if window == Window::Week { 3_600_000 } else { 300_000 };
            assert_eq!(total(&ledger, window, NOW.plus_ms(window.ms() + span_ms)).0, 0);
        }
    }

    #[test]
    fn a_price_that_is_not_one_counts_as_none() {
        assert_eq!(price(Some(Decimal::NAN)), None);
        assert_eq!(price(Some(Decimal::INFINITY)), None);
        assert_eq!(price(Some(-Decimal::ONE)), None);
        assert_eq!(price(Some(Decimal::ONE)), Some("1".to_owned()));
    }

    #[test]
    fn a_week_of_constant_action_stays_small_and_complete() {
        let mut ledger = Ledger::default();
        for n in 0..2016u64 {
            ledger.add(Some("1"), NOW.plus_ms(n * 300_000)).expect("adds");
        }
        let end = NOW.plus_ms(2015 * 300_000);
        assert!(ledger.0.len() <= 460, "{}", ledger.0.len());
        assert_eq!(total(&ledger, Window::Week, end), (2016, Some("2016".to_owned())));
    }

    proptest! {
        /// Whatever was added and given back, in whatever order and however late, the rest is
        /// exact.
        #[test]
        fn giving_back_undoes_adding(
            steps in proptest::collection::vec(
                (0u64..7_200_000, 0u64..1_000_000, any::<bool>()),
                1..60,
            )
        ) {
            let mut ledger = Ledger::default();
            let mut now = NOW;
            let mut expected = (0u64, Decimal::ZERO);
            let mut back = Vec::new();
            for (ms, cents, stays) in steps {
                now = now.plus_ms(ms);
                let usd = format!("{}.{:02}", cents / 100, cents % 100);
                ledger.add(Some(&usd), now).expect("adds");
                if stays {
                    expected = (expected.0 + 1, expected.1 + number(&usd).expect("a number"));
                } else {
                    back.push((usd, now));
                }
            }
            for (usd, at) in back {
                ledger.give_back(Some(&usd), at).expect("gives back");
            }
            let totals = ledger.totals(now).expect("readable");
            let week = totals.into_iter().find(|(window, _)| *window == Window::Week);
            let (count, usd) =
                week.map_or((0, Decimal::ZERO), |(_, t)| (t.count, t.usd.expect("priced")));
            prop_assert_eq!((count, usd), expected);
        }
    }
}
