//! What is counted while a log is replayed. Each worker counts for itself; the sums are put together at the end.
//!
//! Never grows with the number of records: with accounts that differ, days, rules, countries and actions, each bounded.
//! Invariant: what is merged says the same as if one worker had seen everything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde::Serialize;

use super::change::{Counts, Effect, KINDS, Kind};
use super::forecast::Key;
use crate::policy::facts::{Decimal, Fact};
use crate::policy::number;
use crate::types::UnixMs;

/// Names of one sort; what is beyond them is counted as `OTHERS`.
const NAMES_MAX: usize = 1_000;
/// Days of a report.
const DAYS_MAX: usize = 4_000;
/// Accounts of which single figures are kept.
const ACCOUNTS_MAX: usize = 2_000_000;
/// Examples of each kind.
pub const EXAMPLES_MAX: usize = 5;
/// Broken lines that are named.
const BROKEN_MAX: usize = 20;
pub const OTHERS: &str = "(others)";

/// One request that would be decided otherwise, to look up with `stepgate explain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Example {
    #[serde(serialize_with = "as_time")]
    pub time: UnixMs,
    pub request: String,
    pub account: String,
    pub action: String,
    pub country: String,
    pub rules: Vec<String>,
}

fn as_time<S: serde::Serializer>(time: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// What is counted of one kind.
#[derive(Clone, Debug)]
pub struct KindTally {
    pub usd: Decimal,
    /// Requests with an amount whose worth is not known.
    pub usd_unknown: u64,
    /// The earliest.
    pub examples: Vec<Example>,
}

impl Default for KindTally {
    fn default() -> Self {
        Self { usd: Decimal::ZERO, usd_unknown: 0, examples: Vec::new() }
    }
}

/// Something that is counted by name: an action, a country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub requests: u64,
    pub changes: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    pub requests: u64,
    pub prompts_before: u64,
    pub prompts_after: u64,
    pub changes: Counts,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Tally {
    pub lines: u64,
    pub requests: u64,
    /// Requests that used an approval: told with the request that was asked.
    pub follow_ups: u64,
    pub follow_ups_changed: u64,
    /// Requests from another place than recorded, by today's databases.
    pub placed_anew: u64,
    pub other_sites: u64,
    pub out_of_window: u64,
    /// Decided, but their facts are not in the log.
    pub without_facts: u64,
    /// Elements of batches that are not in the record in full.
    pub untold: u64,
    pub broken: u64,
    pub broken_at: Vec<(usize, u64, String)>,
    /// Last lines of a file that are cut off: file and line.
    pub torn: Vec<(usize, u64)>,
    /// Requests that are older than others before them.
    pub disordered: u64,
    pub first: Option<UnixMs>,
    pub last: Option<UnixMs>,
    pub matrix: [[u64; 5]; 5],
    pub kinds: [KindTally; KINDS],
    pub changes: Counts,
    pub prompts_before: u64,
    pub prompts_after: u64,
    /// Passed because an answer that the candidate would have asked for still holds.
    pub covered: u64,
    /// Held again by a hold that had begun before.
    pub within_hold: u64,
    /// Passed because such a hold had been served.
    pub after_hold: u64,
    pub dropped: u64,
    /// Newly asked requests of accounts that have no factor to answer with.
    pub stranded: u64,
    pub stranded_accounts: HashSet<Key, FixedState>,
    /// Questions that would not be asked any more and that nobody has answered.
    pub unanswered: HashSet<Key, FixedState>,
    /// Both verdicts ask, and what had been asked for is not known.
    pub terms_unknown: u64,
    pub days: BTreeMap<i64, Day>,
    /// By kind and rule.
    pub rules: BTreeMap<(Kind, Arc<str>), u64>,
    pub countries: BTreeMap<Arc<str>, Part>,
    pub actions: BTreeMap<Arc<str>, Part>,
    /// Accounts with a difference.
    pub accounts: HashMap<Arc<str>, Counts, FixedState>,
    pub all_accounts: HashSet<Key, FixedState>,
    /// By number of the fact: records that do not say it, and how many of these differ.
    pub unsaid: BTreeMap<u16, (u64, u64)>,
    /// Requests by the policy version that had decided them.
    pub versions: BTreeMap<Arc<str>, u64>,
    /// Of the requests of the site's own version: how many it decides differently now.
    pub own: u64,
    pub own_differ: u64,
}

impl Tally {
    pub fn broken(&mut self, file: usize, line: u64, why: String) {
        self.broken += 1;
        self.broken_at.push((file, line, why));
        self.trim_broken();
    }

    fn trim_broken(&mut self) {
        self.broken_at.sort();
        self.broken_at.truncate(BROKEN_MAX);
    }

    pub fn seen_at(&mut self, time: UnixMs) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }

    pub fn day(&mut self, time: UnixMs) -> &mut Day {
        let day = time.0.div_euclid(86_400_000);
        let full = self.days.len() >= DAYS_MAX && !self.days.contains_key(&day);
        let last = self.days.keys().next_back().copied().unwrap_or(day);
        self.days.entry(if full { last } else { day }).or_default()
    }

    pub fn matrix(&mut self, old: Effect, new: Effect) {
        if let Some(cell) =
            self.matrix.get_mut(old as usize).and_then(|row| row.get_mut(new as usize))
        {
            *cell += 1;
        }
    }

    pub fn kind(&mut self, kind: Kind, usd: Fact<Decimal>, example: Example) {
        self.changes.add(kind);
        let Some(tally) = self.kinds.get_mut(kind as usize) else { return };
        match usd {
            Fact::Known(usd) => tally.usd = number::add(tally.usd, usd),
            Fact::Unreadable => tally.usd_unknown += 1,
            Fact::Absent => {}
        }
        // Records come in order, but for the few that two workers see at once.
        if tally.examples.len() < EXAMPLES_MAX {
            tally.examples.push(example);
        }
    }

    pub fn account(&mut self, name: &str, kind: Kind) {
        if let Some(counts) = self.accounts.get_mut(name) {
            counts.add(kind);
        } else if self.accounts.len() < ACCOUNTS_MAX {
            self.accounts.entry(name.into()).or_default().add(kind);
        } else {
            self.dropped += 1;
        }
    }

    pub fn rule(&mut self, kind: Kind, rule: &str) {
        bounded(&mut self.rules, (kind, rule.into()), (kind, OTHERS.into()), |count| *count += 1);
    }

    /// Puts another worker's figures to these.
    pub fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.requests += other.requests;
        self.follow_ups += other.follow_ups;
        self.follow_ups_changed += other.follow_ups_changed;
        self.placed_anew += other.placed_anew;
        self.other_sites += other.other_sites;
        self.out_of_window += other.out_of_window;
        self.without_facts += other.without_facts;
        self.untold += other.untold;
        self.broken += other.broken;
        self.torn.extend(other.torn);
        self.disordered += other.disordered;
        self.broken_at.extend(other.broken_at);
        self.trim_broken();
        other.first.into_iter().chain(other.last).for_each(|time| self.seen_at(time));
        for (row, more) in self.matrix.iter_mut().zip(other.matrix) {
            row.iter_mut().zip(more).for_each(|(cell, more)| *cell += more);
        }
        for (kind, more) in self.kinds.iter_mut().zip(other.kinds) {
            kind.usd = number::add(kind.usd, more.usd);
            kind.usd_unknown += more.usd_unknown;
            kind.examples.extend(more.examples);
            kind.examples.sort();
            kind.examples.truncate(EXAMPLES_MAX);
        }
        self.changes.merge(&other.changes);
        self.prompts_before += other.prompts_before;
        self.prompts_after += other.prompts_after;
        self.covered += other.covered;
        self.within_hold += other.within_hold;
        self.after_hold += other.after_hold;
        self.dropped += other.dropped;
        self.stranded += other.stranded;
        self.stranded_accounts.extend(other.stranded_accounts);
        self.unanswered.extend(other.unanswered);
        self.terms_unknown += other.terms_unknown;
        for (day, more) in other.days {
            let day = self.day(UnixMs(day.saturating_mul(86_400_000)));
            day.requests += more.requests;
            day.prompts_before += more.prompts_before;
            day.prompts_after += more.prompts_after;
            day.changes.merge(&more.changes);
        }
        for ((kind, rule), more) in other.rules {
            bounded(&mut self.rules, (kind, rule), (kind, OTHERS.into()), |count| *count += more);
        }
        merge_parts(&mut self.countries, other.countries);
        merge_parts(&mut self.actions, other.actions);
        for (name, counts) in other.accounts {
            self.accounts.entry(name).or_default().merge(&counts);
        }
        self.all_accounts.extend(other.all_accounts);
        for (fact, (records, differ)) in other.unsaid {
            let sum = self.unsaid.entry(fact).or_default();
            *sum = (sum.0 + records, sum.1 + differ);
        }
        for (version, more) in other.versions {
            bounded(&mut self.versions, version, OTHERS.into(), |count| *count += more);
        }
        self.own += other.own;
        self.own_differ += other.own_differ;
    }
}

fn merge_parts(parts: &mut BTreeMap<Arc<str>, Part>, more: BTreeMap<Arc<str>, Part>) {
    for (name, more) in more {
        bounded(parts, name, OTHERS.into(), |part| {
            part.requests += more.requests;
            part.changes.merge(&more.changes);
        });
    }
}

/// Counts at this name, or at the one that stands for all others once there are too many.
fn bounded<K: Ord, V: Default>(
    map: &mut BTreeMap<K, V>,
    key: K,
    others: K,
    f: impl FnOnce(&mut V),
) {
    let full = map.len() >= NAMES_MAX && !map.contains_key(&key);
    f(map.entry(if full { others } else { key }).or_default());
}

/// Counts at this name, which is copied only the first time.
pub fn count_at(parts: &mut BTreeMap<Arc<str>, Part>, name: &str, f: impl FnOnce(&mut Part)) {
    match parts.get_mut(name) {
        Some(part) => f(part),
        None => bounded(parts, name.into(), OTHERS.into(), f),
    }
}
