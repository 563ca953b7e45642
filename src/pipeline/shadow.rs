//! What is only observed: a candidate policy beside the live one, and how often it is written down.
//!
//! Never asks the store, never reads a body, never stops anything: what a candidate would need for that it cannot read.
//! Invariant: however many requests a candidate would stop, the lines about those that passed are bounded, and so is
//! what is remembered of them; the rest is counted.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use foldhash::quality::RandomState;

use crate::classify::{ActionRule, ActionSet};
use crate::metrics::{Metrics, ShadowAgreed};
use crate::policy::facts::{Fact, Facts};
use crate::policy::shadow::{Asked, Observed, ShadowPolicy};
use crate::policy::verdict::Verdict;
use crate::types::{ActionName, FieldValue, Fields, SiteName, UnixMs};

/// A site's candidate policy.
pub(crate) struct Candidate {
    pub policy: ShadowPolicy,
    /// Counts requests that both policies allow.
    pub agreed: ShadowAgreed,
    /// The fields of actions that the candidate names and nobody reads, because the live policy does not guard them.
    unread: HashMap<ActionName, Fields, RandomState>,
}

impl Candidate {
    /// `actions` as the live policy guards them.
    pub fn new(
        policy: ShadowPolicy,
        actions: &ActionSet,
        metrics: &Metrics,
        site: &SiteName,
    ) -> Self {
        let mut unread: HashMap<_, Fields, _> = HashMap::default();
        let seen_only = |rule: &&ActionRule| !rule.guarded && policy.names(&rule.name);
        for rule in actions.rules().iter().filter(seen_only) {
            let fields = unread.entry(rule.name.clone()).or_default();
            for name in rule.field_names() {
                fields.set(name, FieldValue::Unreadable);
            }
        }
        Self { policy, agreed: metrics.shadow_agreed(site), unread }
    }

    /// Actions that it names, and of which it sees no field.
    pub fn seen_only(&self) -> Vec<&ActionName> {
        let mut names: Vec<_> = self.unread.keys().collect();
        names.sort();
        names
    }

    /// What it says of a guarded action, of which it knows what the live policy knows.
    pub fn of_guarded(&self, facts: &[Facts<'_>], live: &Verdict, at_least: bool) -> Observed {
        self.policy.observe(facts, live, Asked { at_least, nobody: false })
    }

    /// What it says of ordinary traffic. Of an action that only it would guard, there may be something in each field.
    pub fn of_ordinary(
        &self,
        facts: &Facts<'_>,
        rule: Option<&ActionRule>,
        live: &Verdict,
        nobody: bool,
    ) -> Observed {
        let asked = Asked { at_least: false, nobody };
        let Some(fields) = rule.and_then(|rule| self.unread.get(&rule.name)) else {
            return self.policy.observe(std::slice::from_ref(facts), live, asked);
        };
        let usd_value = unread(fields, "amount");
        let address = unread(fields, "address");
        let facts = Facts { fields, usd_value, address, ..facts.clone() };
        self.policy.observe(&[facts], live, asked)
    }
}

fn unread<T>(fields: &Fields, name: &str) -> Fact<T> {
    fields.find(name).map_or(Fact::Absent, |_| Fact::Unreadable)
}

/// How many lines one site writes about ordinary traffic that passed: one per credential (or address, if there is none)
/// and what was said of it in a minute, and no more than `LINES_MAX` of them all.
#[derive(Default)]
pub(crate) struct Lines {
    hasher: RandomState,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    minute: i64,
    keys: HashSet<u64>,
}

impl Lines {
    /// Whether this one is written.
    pub fn take(&self, what: &impl std::hash::Hash, now: UnixMs) -> bool {
        let (key, minute) = (self.hasher.hash_one(what), now.0.div_euclid(MINUTE_MS));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.minute != minute {
            *told = Told { minute, keys: HashSet::new() };
        }
        told.keys.len() < LINES_MAX && told.keys.insert(key)
    }
}

const MINUTE_MS: i64 = 60_000;
/// In a minute, for one site.
const LINES_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_a_minute() {
        let lines = Lines::default();
        assert!(lines.take(&("alice", "x"), UnixMs(0)) && lines.take(&("bob", "x"), UnixMs(0)));
        assert!(!lines.take(&("alice", "x"), UnixMs(59_999)));
        assert!(lines.take(&("alice", "y"), UnixMs(59_999)), "something else was said");
        assert!(lines.take(&("alice", "x"), UnixMs(60_000)));
    }

    #[test]
    fn no_flood_of_credentials_makes_a_flood_of_lines() {
        let lines = Lines::default();
        let written = (0..10_000).filter(|number| lines.take(number, UnixMs(0))).count();
        assert_eq!(written, LINES_MAX);
        assert_eq!(lines.told.lock().unwrap().keys.len(), LINES_MAX);
        assert!(lines.take(&0, UnixMs(60_000)), "the next minute is another one");
    }
}
