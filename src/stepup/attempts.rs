//! Counting wrong codes and sent codes: when step-up is blocked, when a factor is disabled, when a
//! number must wait.
//!
//! Never compares a code. Invariant: an attempt is counted before its code is compared and forgiven
//! only by a right one, so that no crash, disconnect or parallel guess is free (RFC 4226 §7.3).

use serde::{Deserialize, Serialize};

use super::challenge::Limits;
use crate::types::{Factor, UnixMs};

/// Attempts of one account that no right code has followed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// In a row, over all factors, challenges and credentials.
    pub failures: u32,
    /// Blocks since the last right code.
    pub blocks: u32,
    pub blocked_until: Option<UnixMs>,
    /// In a row, per factor.
    pub by_factor: Vec<(Factor, u32)>,
}

impl Tally {
    /// Until when no code is compared for this account. With `failures_max` 0 that is always.
    pub fn blocked(&self, limits: &Limits, now: UnixMs) -> Option<UnixMs> {
        if limits.failures_max == 0 {
            return Some(now.plus_ms(limits.block_ms.max(1)));
        }
        self.blocked_until.filter(|until| now < *until)
    }

    /// Whether the factor's failures in a row are used up: it must be enrolled again (NIST SP
    /// 800-63B-4 §3.2.2).
    pub fn disables(&self, factor: Factor, limits: &Limits) -> bool {
        self.of(factor) >= limits.failures_disable
    }

    /// Counts one attempt as a failure, before it is compared. Each `failures_max` in a row block
    /// the account, each time for twice as long; the attempt that completes the row is itself still
    /// compared.
    pub fn spend(&mut self, factor: Factor, limits: &Limits, now: UnixMs) {
        self.failures = self.failures.saturating_add(1);
        match self.by_factor.iter_mut().find(|(known, _)| *known == factor) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.by_factor.push((factor, 1)),
        }
        if self.failures.checked_rem(limits.failures_max).is_none_or(|rest| rest == 0) {
            self.blocks = self.blocks.saturating_add(1);
            self.blocked_until = Some(now.plus_ms(block_ms(self.blocks, limits)));
        }
    }

    /// The code was right, and more is needed: this attempt is taken back and the factor's own row
    /// ends, but not the account's. Or whoever has one factor would have as many guesses at the
    /// other as they like.
    pub fn prove_part(&mut self, factor: Factor, limits: &Limits) {
        if self.failures.checked_rem(limits.failures_max) == Some(0) && self.failures > 0 {
            self.blocks = self.blocks.saturating_sub(1);
            self.blocked_until = None;
        }
        self.failures = self.failures.saturating_sub(1);
        self.forget(factor);
    }

    /// Everything that was asked is proven: the account's row ends, and that of this factor only
    /// (NIST SP 800-63B-4 §3.2.2).
    pub fn prove(&mut self, factor: Factor) {
        self.failures = 0;
        self.blocks = 0;
        self.blocked_until = None;
        self.forget(factor);
    }

    /// The factor was enrolled anew or removed.
    pub fn forget(&mut self, factor: Factor) {
        self.by_factor.retain(|(known, _)| *known != factor);
    }

    /// Which factor was tried first says nothing: for comparing.
    pub fn sort(&mut self) {
        self.by_factor.sort_unstable();
    }

    fn of(&self, factor: Factor) -> u32 {
        self.by_factor.iter().find(|(known, _)| *known == factor).map_or(0, |(_, count)| *count)
    }
}

/// How long the nth block (from 1) lasts.
fn block_ms(nth: u32, limits: &Limits) -> u64 {
    let doublings = nth.saturating_sub(1).min(63);
    limits.block_ms.saturating_mul(1 << doublings).min(limits.block_max_ms)
}

/// How long a number must wait for its next code, given when codes were sent to it; `None` if it
/// may have one now. Sends of the future (the clock went back) count.
pub fn wait_for_code(sent: &[UnixMs], limits: &Limits, now: UnixMs) -> Option<u64> {
    let windows = [(TEN_MINUTES_MS, limits.sms_per_10min_max), (DAY_MS, limits.sms_per_day_max)];
    windows.into_iter().filter_map(|(ms, max)| wait_in_window(sent, ms, max, now)).max()
}

fn wait_in_window(sent: &[UnixMs], window_ms: u64, max: u32, now: UnixMs) -> Option<u64> {
    let mut within: Vec<UnixMs> =
        sent.iter().copied().filter(|at| now < at.plus_ms(window_ms)).collect();
    within.sort_unstable();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if within.len() < max {
        return None;
    }
    // The send whose leaving the window brings the count below `max`; with `max` 0 there is none.
    let leaves = within.get(within.len() - max);
    Some(leaves.map_or(window_ms, |at| at.plus_ms(window_ms).since_ms(now)))
}

const TEN_MINUTES_MS: u64 = 600_000;
pub const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn limits() -> Limits {
        Limits::default()
    }

    fn failed(times: u32, limits: &Limits) -> Tally {
        let mut tally = Tally::default();
        (0..times).for_each(|_| tally.spend(Factor::Totp, limits, NOW));
        tally
    }

    #[test]
    fn five_failures_in_a_row_block_for_a_quarter_of_an_hour() {
        assert_eq!(failed(4, &limits()).blocked(&limits(), NOW), None);
        let until = NOW.plus_ms(900_000);
        let tally = failed(5, &limits());
        assert_eq!(tally.blocked(&limits(), NOW), Some(until));
        assert_eq!(tally.blocked(&limits(), UnixMs(until.0 - 1)), Some(until));
        assert_eq!(tally.blocked(&limits(), until), None);
    }

    #[test]
    fn each_further_block_doubles_up_to_a_day() {
        let mut tally = Tally::default();
        let mut lengths = Vec::new();
        for _ in 0..9 {
            (0..5).for_each(|_| tally.spend(Factor::Sms, &limits(), NOW));
            lengths.push(tally.blocked(&limits(), NOW).expect("blocked").since_ms(NOW) / 60_000);
        }
        assert_eq!(lengths, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
    }

    #[test]
    fn a_right_code_ends_the_row_of_the_account_and_of_its_factor_only() {
        let mut tally = failed(99, &limits());
        tally.spend(Factor::Sms, &limits(), NOW);
        tally.prove(Factor::Sms);
        assert_eq!((tally.failures, tally.blocked(&limits(), NOW)), (0, None));
        assert!(!tally.disables(Factor::Totp, &limits()));
        tally.spend(Factor::Totp, &limits(), NOW);
        assert!(tally.disables(Factor::Totp, &limits()));
        assert!(!tally.disables(Factor::Sms, &limits()));
    }

    #[test]
    fn one_of_two_factors_takes_back_its_own_attempt_only() {
        let mut tally = failed(3, &limits());
        tally.spend(Factor::Sms, &limits(), NOW);
        tally.spend(Factor::Sms, &limits(), NOW);
        assert!(tally.blocked(&limits(), NOW).is_some());
        tally.prove_part(Factor::Sms, &limits());
        assert_eq!((tally.failures, tally.blocks, tally.blocked(&limits(), NOW)), (4, 0, None));
        tally.spend(Factor::Totp, &limits(), NOW);
        assert!(tally.blocked(&limits(), NOW).is_some(), "the row goes on");
    }

    #[test]
    fn zero_means_zero() {
        let none = Limits { failures_max: 0, failures_disable: 0, ..limits() };
        let tally = Tally::default();
        assert!(tally.blocked(&none, NOW).is_some());
        assert!(tally.disables(Factor::Totp, &none));
        let no_codes = Limits { sms_per_10min_max: 0, ..limits() };
        assert_eq!(wait_for_code(&[], &no_codes, NOW), Some(600_000));
    }

    #[test]
    fn the_fourth_code_within_ten_minutes_waits_for_the_first_to_leave() {
        let minute = |n: u64| NOW.plus_ms(n * 60_000);
        let sent = [minute(0), minute(1), minute(2)];
        assert_eq!(wait_for_code(&sent[..2], &limits(), minute(2)), None);
        assert_eq!(wait_for_code(&sent, &limits(), minute(3)), Some(7 * 60_000));
        assert_eq!(wait_for_code(&sent, &limits(), minute(10)), None);
    }

    #[test]
    fn the_eleventh_code_of_a_day_waits_for_the_day_to_pass() {
        let sent: Vec<UnixMs> = (0..10).map(|n| NOW.plus_ms(n * 3_600_000)).collect();
        let now = NOW.plus_ms(10 * 3_600_000);
        assert_eq!(wait_for_code(&sent, &limits(), now), Some(14 * 3_600_000));
    }

    #[test]
    fn a_clock_that_went_back_gives_no_free_codes() {
        let later = NOW.plus_ms(3_600_000);
        assert!(wait_for_code(&[later, later, later], &limits(), NOW).is_some());
    }
}
