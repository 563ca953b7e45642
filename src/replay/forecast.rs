//! What people would have done: an answer that holds is given once, a hold that has begun runs out.
//!
//! Never grows without bound: when it is full, what has run out is dropped, and if nothing has, the report says that
//! it stopped assuming. Invariant: it adds only what the record cannot know, namely answers and holds of the candidate.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::policy::facts::{Elevation, HoldRunning};
use crate::types::UnixMs;

/// Names something by 64 bits: an account, a credential, a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    pub fn of(parts: impl Hash) -> Self {
        Self(FixedState::with_seed(0x5e_ed).hash_one(parts))
    }

    /// For sorting into a few heaps.
    pub fn small(self) -> usize {
        usize::try_from(self.0 >> 33).unwrap_or(0)
    }
}

/// Assumed answers by credential, assumed holds by account and destination.
#[derive(Debug)]
pub struct Forecast {
    answers: HashMap<Key, Vec<Elevation>, FixedState>,
    holds: HashMap<Key, Vec<(HoldRunning, UnixMs)>, FixedState>,
    kept: usize,
    kept_max: usize,
    /// Answers and holds that could not be assumed any more.
    pub dropped: u64,
}

impl Forecast {
    pub fn new(kept_max: usize) -> Self {
        Self {
            answers: HashMap::default(),
            holds: HashMap::default(),
            kept: 0,
            kept_max,
            dropped: 0,
        }
    }

    /// Answers of this credential that hold at this place.
    pub fn answers(
        &self,
        credential: Key,
        place: &str,
        now: UnixMs,
    ) -> impl Iterator<Item = &Elevation> {
        let all = self.answers.get(&credential).into_iter().flatten();
        all.filter(move |answer| answer.until > now && *answer.place == *place)
    }

    /// Holds that have begun for this account and destination, those that were served too.
    pub fn holds(&self, at: Key) -> impl Iterator<Item = &HoldRunning> {
        self.holds.get(&at).into_iter().flatten().map(|(hold, _)| hold)
    }

    /// The owner answers once; it holds until then.
    pub fn answer(&mut self, credential: Key, answer: Elevation, now: UnixMs) {
        if self.has_room(now) {
            self.answers.entry(credential).or_default().push(answer);
            self.kept += 1;
        }
    }

    /// A hold begins. `until` is when it is served.
    pub fn hold(&mut self, at: Key, hold: HoldRunning, until: UnixMs, now: UnixMs) {
        if self.has_room(now) {
            self.holds.entry(at).or_default().push((hold, until));
            self.kept += 1;
        }
    }

    fn has_room(&mut self, now: UnixMs) -> bool {
        if self.kept >= self.kept_max {
            self.sweep(now);
        }
        let room = self.kept < self.kept_max;
        self.dropped += u64::from(!room);
        room
    }

    fn sweep(&mut self, now: UnixMs) {
        self.answers.retain(|_, answers| {
            answers.retain(|answer| answer.until > now);
            !answers.is_empty()
        });
        // A hold that was served still lets pass for a while: whoever waited comes back within days.
        self.holds.retain(|_, holds| {
            holds.retain(|(_, until)| until.plus_ms(SERVED_KEPT_MS) > now);
            !holds.is_empty()
        });
        self.kept = self.answers.values().map(Vec::len).sum::<usize>()
            + self.holds.values().map(Vec::len).sum::<usize>();
    }
}

const SERVED_KEPT_MS: u64 = 7 * 86_400_000;

/// The last so many things: requests that have been decided, challenges that have been opened.
#[derive(Debug)]
pub struct Recent {
    known: HashSet<Key, FixedState>,
    order: VecDeque<Key>,
    kept_max: usize,
}

impl Recent {
    pub fn new(kept_max: usize) -> Self {
        Self { known: HashSet::default(), order: VecDeque::new(), kept_max }
    }

    /// Whether it was new.
    pub fn note(&mut self, key: Key) -> bool {
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > self.kept_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    pub fn knows(&self, key: Key) -> bool {
        self.known.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Factor, RuleId};

    fn answer(until: i64) -> Elevation {
        Elevation {
            rule: RuleId::new("r"),
            factors: [Factor::Totp].into_iter().collect(),
            place: "JP".into(),
            until: UnixMs(until),
        }
    }

    #[test]
    fn an_answer_holds_for_its_credential_and_place_until_it_runs_out() {
        let mut forecast = Forecast::new(10);
        let (mine, other) = (Key::of("mine"), Key::of("other"));
        forecast.answer(mine, answer(100), UnixMs(0));
        assert_eq!(forecast.answers(mine, "JP", UnixMs(99)).count(), 1);
        assert_eq!(forecast.answers(mine, "JP", UnixMs(100)).count(), 0);
        assert_eq!(forecast.answers(mine, "DE", UnixMs(99)).count(), 0);
        assert_eq!(forecast.answers(other, "JP", UnixMs(99)).count(), 0);
    }

    #[test]
    fn it_is_bounded_and_says_when_it_stopped_assuming() {
        let mut forecast = Forecast::new(3);
        for n in 0..3 {
            forecast.answer(Key::of(n), answer(100), UnixMs(0));
        }
        forecast.answer(Key::of(3), answer(200), UnixMs(50));
        assert_eq!((forecast.dropped, forecast.answers.len()), (1, 3));
        forecast.answer(Key::of(4), answer(200), UnixMs(100));
        assert_eq!((forecast.dropped, forecast.answers.len()), (1, 1), "those had run out");
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let mut recent = Recent::new(2);
        assert!(recent.note(Key::of(1)) && !recent.note(Key::of(1)));
        assert!(recent.note(Key::of(2)) && recent.note(Key::of(3)));
        assert!(!recent.knows(Key::of(1)) && recent.knows(Key::of(2)));
        assert_eq!(recent.known.len(), 2);
    }
}
