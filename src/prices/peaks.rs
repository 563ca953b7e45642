//! Prices that fell too fast to be believed.
//!
//! Never holds back a price that rose: that makes rules stricter. Invariant: a price below half of the highest of the
//! last quarter to half hour is none, however small the steps were in which it got there.

use std::collections::HashMap;

use crate::policy::facts::Decimal;
use crate::types::UnixMs;

/// The highest prices of this span of time and of the one before.
#[derive(Clone, Debug, Default)]
pub(super) struct Peaks {
    began: UnixMs,
    now: HashMap<String, Decimal>,
    before: HashMap<String, Decimal>,
}

impl Peaks {
    /// Takes out of `prices` what fell by more than half, and says what that was.
    pub(super) fn hold_back(
        &mut self,
        prices: &mut HashMap<String, Decimal>,
        at: UnixMs,
    ) -> Vec<String> {
        let elapsed = at.since_ms(self.began);
        if elapsed >= SPAN_MS {
            self.before = std::mem::take(&mut self.now);
            if elapsed >= 2 * SPAN_MS {
                self.before.clear();
            }
            self.began = at;
        }
        for (asset, price) in prices.iter() {
            let peak = self.now.entry(asset.clone()).or_insert(*price);
            *peak = (*peak).max(*price);
        }
        let mut held = Vec::new();
        prices.retain(|asset, price| {
            let peaks = [self.now.get(asset), self.before.get(asset)];
            let fell = peaks.into_iter().flatten().any(|peak| *price + *price < *peak);
            if fell {
                held.push(asset.clone());
            }
            !fell
        });
        held.sort();
        held
    }
}

/// So long a fall must last at least, and at most twice as long, until it is believed.
const SPAN_MS: u64 = 15 * 60_000;

#[cfg(test)]
mod tests {
    use super::super::decimal;
    use super::*;

    const MINUTE: i64 = 60_000;

    /// Polls BTC every minute at these prices; which of them were held back.
    fn held(from_minute: i64, peaks: &mut Peaks, prices: &[&str]) -> Vec<bool> {
        let poll = |(minute, price): (i64, &&str)| {
            let mut prices = HashMap::from([("BTC".to_owned(), decimal(price).unwrap())]);
            let held = peaks.hold_back(&mut prices, UnixMs(minute * MINUTE));
            assert_eq!(held.is_empty(), prices.contains_key("BTC"));
            !held.is_empty()
        };
        (from_minute..).zip(prices).map(poll).collect()
    }

    #[test]
    fn a_price_that_halves_is_believed_and_one_that_falls_further_is_held_back_until_it_stays() {
        let mut peaks = Peaks::default();
        assert_eq!(held(100, &mut peaks, &["60000", "30000", "29999"]), [false, false, true]);
        let later = held(103, &mut peaks, &["20000"; 40]);
        let until = later.iter().position(|held| !held).unwrap();
        assert!((12..=30).contains(&until), "{until}");
        assert!(later[until..].iter().all(|held| !held));
    }

    #[test]
    fn small_steps_are_no_way_around_it() {
        let mut peaks = Peaks::default();
        let steps = ["60000", "35000", "20000", "12000", "7000", "4000"];
        assert_eq!(held(100, &mut peaks, &steps), [false, false, true, true, true, true]);
    }

    #[test]
    fn a_price_that_comes_back_counts_at_once() {
        let mut peaks = Peaks::default();
        let steps = ["60000", "6", "6", "60000", "600000", "60000"];
        assert_eq!(held(100, &mut peaks, &steps), [false, true, true, false, false, true]);
    }

    #[test]
    fn what_was_long_ago_says_nothing() {
        let mut peaks = Peaks::default();
        assert_eq!(held(100, &mut peaks, &["60000"]), [false]);
        assert_eq!(held(129, &mut peaks, &["6"]), [true]);
        let mut peaks = Peaks::default();
        assert_eq!(held(100, &mut peaks, &["60000"]), [false]);
        assert_eq!(held(131, &mut peaks, &["6"]), [false]);
    }
}
