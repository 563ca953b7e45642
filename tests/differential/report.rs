//! What was sent, what became of it, and the words in which a failure is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::frameworks::{COUNT, Framework};
use crate::mutate::{Composition, GROUPS};
use crate::wire::Word;

/// Each framework must execute at least this share of what it is sent directly, in percent.
const EXECUTED_PERCENT_MIN: usize = 5;

/// A withdrawal that an application executed behind the gateway.
pub struct Failure {
    pub number: usize,
    pub framework: usize,
    line: String,
}

pub struct Tally {
    seed: u64,
    compositions: Arc<Vec<Composition>>,
    /// What the gateway made of each.
    pub words: Vec<Word>,
    pub failures: Vec<Failure>,
    pub controls: usize,
    controls_executed: usize,
    /// The compositions that each framework executed when they were sent directly.
    executed: Vec<BTreeSet<usize>>,
}

impl Tally {
    pub fn new(seed: u64, compositions: Arc<Vec<Composition>>) -> Self {
        Self {
            seed,
            compositions,
            words: Vec::new(),
            failures: Vec::new(),
            controls: 0,
            controls_executed: 0,
            executed: Vec::new(),
        }
    }

    /// Reads what was executed behind the gateway. A withdrawal whose request cannot be told is one all the same.
    pub fn through(&mut self, frameworks: &[Framework]) {
        let mut controls = BTreeSet::new();
        for (framework, running) in frameworks.iter().enumerate() {
            for ran in running.ran() {
                if ran.withdrawal {
                    let number = ran.case.get(1..).and_then(|number| number.parse().ok());
                    let number = number.filter(|at| *at < self.compositions.len()).unwrap_or(0);
                    self.failures.push(Failure { number, framework, line: ran.line });
                } else if ran.case.starts_with('c') {
                    controls.insert(ran.case);
                }
            }
        }
        self.controls_executed = controls.len();
    }

    /// Reads what was executed without it.
    pub fn directly(&mut self, frameworks: &[Framework]) {
        let numbers = |running: &Framework| {
            let cases = running.withdrawals().into_keys();
            cases.filter_map(|case| case.strip_prefix('d')?.parse().ok()).collect()
        };
        self.executed = frameworks.iter().map(numbers).collect();
    }

    fn count(&self, is: impl Fn(&Word) -> bool) -> usize {
        self.words.iter().filter(|word| is(word)).count()
    }

    /// The gateway's own answers, by status.
    fn refusals(&self) -> String {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for word in &self.words {
            if let Word::Refused(status) = word {
                *statuses.entry(*status).or_default() += 1;
            }
        }
        let each = statuses.iter().map(|(status, count)| format!("{count} by {status}"));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Compositions that one framework is the first to get.
    fn share(&self, framework: usize) -> usize {
        (framework..self.compositions.len()).step_by(COUNT).count()
    }

    pub fn table(&self, frameworks: &[Framework]) -> String {
        let mut text = format!("seed {}, {} compositions\n", self.seed, self.compositions.len());
        let _ = writeln!(
            text,
            "  gateway: {} challenged, {} refused ({}), {} forwarded as ordinary (each to all {COUNT}), {} not answered",
            self.count(|word| *word == Word::Challenged),
            self.count(|word| matches!(word, Word::Refused(_))),
            self.refusals(),
            self.count(|word| *word == Word::Forwarded),
            self.count(|word| *word == Word::Nothing),
        );
        let _ = writeln!(
            text,
            "  withdrawals executed behind it: {}; ordinary requests executed behind it: {} of {}",
            self.failures.len(),
            self.controls_executed,
            self.controls
        );
        for (at, (running, executed)) in frameworks.iter().zip(&self.executed).enumerate() {
            let share = self.share(at);
            let _ = writeln!(
                text,
                "  {:9} executed {:4} of {share} when sent directly",
                running.name,
                executed.len()
            );
        }
        for (name, (sent, executed)) in self.mutators() {
            let _ = writeln!(
                text,
                "    {name:18} in {sent:4}, of which {executed:4} were executed directly"
            );
        }
        text
    }

    /// How many compositions each mutator was in, and how many of them were executed directly.
    fn mutators(&self) -> BTreeMap<String, (usize, usize)> {
        let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (number, composition) in self.compositions.iter().enumerate() {
            let executed = self.executed.iter().any(|numbers| numbers.contains(&number));
            let names: BTreeSet<String> = composition
                .steps
                .iter()
                .map(|step| {
                    format!("{}.{}", GROUPS[step.group].0, GROUPS[step.group].1[step.mutator].0)
                })
                .collect();
            for name in names {
                let entry = all.entry(name).or_default();
                entry.0 += 1;
                entry.1 += usize::from(executed);
            }
        }
        all
    }

    /// What a run must have shown for its silence to mean anything.
    pub fn demand(&self) {
        assert_eq!(
            self.controls_executed, self.controls,
            "ordinary requests were not executed behind the gateway"
        );
        for (at, executed) in self.executed.iter().enumerate() {
            let wanted = self.share(at) * EXECUTED_PERCENT_MIN / 100;
            assert!(
                executed.len() >= wanted,
                "framework {at} executed only {} mutants",
                executed.len()
            );
        }
        for (group, _) in GROUPS {
            let mine = |name: &String| name.split('.').next() == Some(group);
            let real = self.mutators().into_iter().any(|(name, (_, ran))| mine(&name) && ran > 0);
            assert!(real, "no framework executed anything with a trick of the group {group}");
        }
        for (at, composition) in self.compositions.iter().enumerate() {
            if composition.is_plain() {
                assert_eq!(
                    self.words[at],
                    Word::Challenged,
                    "#{at}, a plain withdrawal: {composition}"
                );
            }
        }
    }

    pub fn failure(&self, smallest: &Composition, frameworks: &[Framework]) -> String {
        let mut text = format!(
            "{} withdrawals were executed without a code; SEED={}\n",
            self.failures.len(),
            self.seed
        );
        for failure in self.failures.iter().take(10) {
            let (name, composition) =
                (frameworks[failure.framework].name, &self.compositions[failure.number]);
            let _ = writeln!(
                text,
                "  {name} #{}: {composition}\n    it ran {}",
                failure.number, failure.line
            );
        }
        let bytes = smallest.bytes("TOKEN", "CASE");
        let _ = write!(
            text,
            "the first, made as small as it stays one: {smallest}\n{}",
            bytes.escape_ascii()
        );
        text
    }
}
