//! The store's time: how far its clock is from ours, learnt from its answers.
//!
//! Never trusts a slow answer over a quick one. Invariant: what `StoreClock` tells does not go back by little; if a clock
//! was set back by seconds, it follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::types::UnixMs;
use crate::world::Clock;

/// Answers that are remembered.
const SAMPLES: usize = 8;

/// Where the server's clock stands against a clock of ours that only runs forward. In microseconds.
#[derive(Debug, Default)]
pub(super) struct Offset {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset_us: i64,
    trip_us: i64,
}

impl Offset {
    /// Takes an answer in: when it was asked for, when it came, what it said. Answers the offset that counts from now
    /// on: that of the quickest of the last answers.
    pub(super) fn learn(&mut self, sent_us: i64, answered_us: i64, said_us: i64) -> i64 {
        let trip_us = (answered_us - sent_us).max(0);
        let new = Sample { offset_us: said_us - sent_us - trip_us / 2, trip_us };
        // Both can be wrong by half of their trips and no more. If that does not explain it, a clock was set.
        let agrees = |old: &Sample| {
            (old.offset_us - new.offset_us).abs() <= (old.trip_us + new.trip_us) / 2 + DRIFT_US
        };
        if !self.samples.iter().all(agrees) {
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(new);
        self.samples.iter().min_by_key(|sample| sample.trip_us).map_or(0, |best| best.offset_us)
    }
}

/// By how much a correction may hold the time up.
const BACK_MS_MAX: i64 = 2_000;
/// What two good clocks may lose against one another while the samples are collected.
const DRIFT_US: i64 = 1_000;

/// The store's time as everybody's clock.
pub struct StoreClock {
    local: Arc<dyn Clock>,
    skew_ms: Box<dyn Fn() -> i64 + Send + Sync>,
    last: AtomicI64,
}

impl StoreClock {
    pub(super) fn new(local: Arc<dyn Clock>, skew_ms: Box<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self { local, skew_ms, last: AtomicI64::new(i64::MIN) }
    }
}

impl Clock for StoreClock {
    fn now(&self) -> UnixMs {
        let now = self.local.now().0.saturating_add((self.skew_ms)());
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        if last.saturating_sub(now) > BACK_MS_MAX {
            // A clock was set right: standing still until it is reached again would be worse.
            self.last.store(now, Ordering::Relaxed);
            return UnixMs(now);
        }
        UnixMs(last.max(now))
    }
}

/// Says once per change that the clocks disagree.
#[derive(Debug, Default)]
pub(super) struct Watchman {
    said_ms: i64,
}

impl Watchman {
    /// Whether this skew is worth a warning.
    pub(super) fn look(&mut self, skew_ms: i64) -> bool {
        let changed = (skew_ms - self.said_ms).abs() > 1_000;
        if changed {
            self.said_ms = skew_ms;
        }
        changed && skew_ms.abs() > 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::HandClock;

    #[test]
    fn the_quickest_of_the_last_eight_answers_counts() {
        let mut offset = Offset::default();
        assert_eq!(offset.learn(0, 200, 5_000_100), 5_000_000);
        // Slow ones, whose half trip says little.
        for at in (1_000..8_000).step_by(1_000) {
            assert_eq!(offset.learn(at, at + 900, 5_000_000 + at + 100), 5_000_000);
        }
        // The ninth pushes the first out.
        assert_eq!(offset.learn(9_000, 9_900, 5_009_100), 4_999_650);
    }

    #[test]
    fn a_server_whose_clock_was_set_is_believed_at_once() {
        let mut offset = Offset::default();
        offset.learn(0, 100, 1_000_050);
        assert_eq!(offset.learn(250_000, 250_400, 61_250_200), 61_000_000);
    }

    #[test]
    fn its_time_does_not_go_back_by_little() {
        let skew = Arc::new(AtomicI64::new(5_000));
        let (hand, read) = (Arc::new(HandClock::at(UnixMs(1_000))), skew.clone());
        let clock = StoreClock::new(hand.clone(), Box::new(move || read.load(Ordering::Relaxed)));
        assert_eq!(clock.now(), UnixMs(6_000));
        skew.store(4_000, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixMs(6_000));
        hand.advance_ms(3_000);
        assert_eq!(clock.now(), UnixMs(8_000));
        skew.store(-1_000, Ordering::Relaxed);
        assert_eq!(clock.now(), UnixMs(3_000), "it was set back for good");
        hand.advance_ms(1);
        assert_eq!(clock.now(), UnixMs(3_001));
    }

    #[test]
    fn a_skew_is_said_once_per_change() {
        let mut watchman = Watchman::default();
        assert!(!watchman.look(900) && watchman.look(1_500));
        assert!(!watchman.look(1_600) && !watchman.look(2_400));
        assert!(watchman.look(2_600) && !watchman.look(0) && watchman.look(-1_200));
    }
}
