//! The circuit breaker: when calls are not even tried.
//!
//! Never reads a clock. Invariant: while it is open at most one call is on its way, and only that one's success, or that
//! of a call from before, closes it.

/// Failures in a row after which calls fail at once.
pub(super) const FAILURES_MAX: u32 = 3;
/// How long they do before one is tried.
pub(super) const OPEN_MS: u64 = 500;

#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_since_ms: Option<u64>,
    probing: bool,
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go,
    /// Alone, to find out.
    Probe,
    Refused,
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    Failed,
    /// Its caller went away: nothing is known.
    Dropped,
}

impl Breaker {
    pub(super) fn admit(&mut self, now_ms: u64) -> Admission {
        match self.open_since_ms {
            None => Admission::Go,
            Some(since) if !self.probing && now_ms.saturating_sub(since) >= OPEN_MS => {
                self.probing = true;
                Admission::Probe
            }
            Some(_) => Admission::Refused,
        }
    }

    pub(super) fn ended(&mut self, admission: Admission, ended: Ended, now_ms: u64) {
        let probe = admission == Admission::Probe;
        match ended {
            Ended::Answered => *self = Self::default(),
            Ended::Failed => {
                self.failures = self.failures.saturating_add(1);
                if probe || (self.open_since_ms.is_none() && self.failures >= FAILURES_MAX) {
                    self.open_since_ms = Some(now_ms);
                }
                self.probing &= !probe;
            }
            Ended::Dropped => self.probing &= !probe,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_since_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(breaker: &mut Breaker, now_ms: u64) {
        let admission = breaker.admit(now_ms);
        assert_eq!(admission, Admission::Go);
        breaker.ended(admission, Ended::Failed, now_ms);
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| failed(&mut breaker, 100));
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_in_between_does_not() {
        let mut breaker = Breaker::default();
        failed(&mut breaker, 1);
        failed(&mut breaker, 2);
        breaker.ended(Admission::Go, Ended::Answered, 3);
        failed(&mut breaker, 4);
        failed(&mut breaker, 5);
        assert_eq!(breaker.admit(6), Admission::Go);
        breaker.ended(Admission::Go, Ended::Failed, 6);
        assert_eq!(breaker.admit(7), Admission::Refused);
        assert!(breaker.is_open());
    }

    #[test]
    fn after_half_a_second_one_call_probes_and_the_others_wait_for_what_it_finds() {
        let mut breaker = open();
        assert_eq!(breaker.admit(599), Admission::Refused);
        assert_eq!(breaker.admit(600), Admission::Probe);
        assert_eq!(breaker.admit(600), Admission::Refused);
        breaker.ended(Admission::Probe, Ended::Failed, 850);
        assert_eq!(breaker.admit(1_349), Admission::Refused);
        assert_eq!(breaker.admit(1_350), Admission::Probe);
        breaker.ended(Admission::Probe, Ended::Answered, 1_351);
        assert_eq!(breaker.admit(1_351), Admission::Go);
    }

    #[test]
    fn a_probe_whose_caller_went_away_makes_room_for_the_next() {
        let mut breaker = open();
        assert_eq!(breaker.admit(600), Admission::Probe);
        breaker.ended(Admission::Probe, Ended::Dropped, 601);
        assert_eq!(breaker.admit(601), Admission::Probe);
    }

    #[test]
    fn calls_from_before_it_opened_do_not_keep_it_open_longer() {
        let mut breaker = open();
        breaker.ended(Admission::Go, Ended::Failed, 590);
        assert_eq!(breaker.admit(600), Admission::Probe);
        breaker.ended(Admission::Go, Ended::Answered, 601);
        assert_eq!(breaker.admit(601), Admission::Go);
    }
}
