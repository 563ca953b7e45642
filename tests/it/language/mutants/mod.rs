//! Changed policies: whoever changes a shipped rule, by a slip or on purpose, must hear of it.
//!
//! Each mutant of a shipped policy is refused, makes a case fail, is named by a warning, or means the very same.
//! `SEED=2 COUNT=20000 cargo test --test it mutants` tries other slips, and more of them; `SHOW=Warned` prints those that
//! came to this, with `--nocapture`.

mod changes;
mod configuration;
mod expectations;
mod slips;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use stepgate::classify;
use stepgate::fault::{Fault, Source};
use stepgate::policy::cases::{self, Gap};
use stepgate::policy::{self, PolicySet};

use super::no_packs;
use slips::{Dice, slip};

const SHIPPED: [&str; 2] = ["exchange", "demo"];

/// What becomes of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    FailsACase,
    Warned,
    Same,
    Survives,
}

struct Shipped {
    policy: String,
    cases: Source,
    meaning: BTreeSet<String>,
    /// What its cases leave untried as it is.
    gaps: Vec<Gap>,
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect(name))
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn load(text: &str, faults: &mut Vec<Fault>) -> Option<PolicySet> {
    policy::load(&Source::new("mutant.policy.toml", text), &[], &[], faults)
}

impl Shipped {
    fn read(name: &str) -> Self {
        let policy = read(&format!("{name}.policy.toml"));
        let cases = format!("{name}.cases.toml");
        let cases = Source::new(&cases, read(&cases));
        let loaded = load(&policy, &mut Vec::new()).unwrap();
        let gaps = cases::run(&cases, &loaded, &no_packs, &mut Vec::new()).gaps;
        Self { meaning: loaded.meaning(), cases, policy, gaps }
    }

    fn fate(&self, text: &str) -> Fate {
        let mut faults = Vec::new();
        let Some(policy) = load(text, &mut faults) else {
            assert!(!faults.is_empty(), "refused without a fault");
            faults.iter().for_each(stands);
            return Fate::Refused;
        };
        assert!(faults.is_empty(), "loaded with a fault");
        if policy.meaning() == self.meaning {
            return Fate::Same;
        }
        let run = cases::run(&self.cases, &policy, &no_packs, &mut faults);
        match (faults.is_empty(), run.gaps == self.gaps) {
            (false, _) => Fate::FailsACase,
            (true, false) => Fate::Warned,
            (true, true) => Fate::Survives,
        }
    }
}

/// A fault lies inside its file and can be printed.
fn stands(fault: &Fault) {
    assert!(fault.source.text.get(fault.span.clone()).is_some(), "{}", fault.message);
    assert!(!fault.render().is_empty());
}

/// The lines that are not the same.
fn difference(old: &str, new: &str) -> String {
    let mut told = String::new();
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let until = |all: &[&str]| all.len().saturating_sub(tail).max(head);
    for line in &old[head..until(&old)] {
        writeln!(told, "  {:>4} - {line}", head + 1).unwrap();
    }
    for line in &new[head..until(&new)] {
        writeln!(told, "  {:>4} + {line}", head + 1).unwrap();
    }
    told
}

/// Tries mutants, and tells those that nobody would hear of.
fn try_all(
    name: &str,
    original: &str,
    mutants: impl Iterator<Item = (String, String)>,
    fate: impl Fn(&str) -> Fate,
) {
    let (mut count, mut survivors) = (BTreeMap::new(), Vec::new());
    for (what, text) in mutants {
        let difference = || difference(original, &text);
        let fate = panic::catch_unwind(AssertUnwindSafe(|| fate(&text)))
            .unwrap_or_else(|_| panic!("{name}, {what} makes it panic:\n{}", difference()));
        *count.entry(fate).or_insert(0) += 1;
        if std::env::var_os("SHOW").is_some_and(|it| it == format!("{fate:?}").as_str()) {
            println!("{what}\n{}", difference());
        }
        if fate == Fate::Survives {
            survivors.push(format!("{what}\n{}", difference()));
        }
    }
    println!("{name}: {count:?}");
    assert!(!count.is_empty());
    assert!(
        survivors.is_empty(),
        "{name}: {} changes that no case and no warning tells:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
}

fn slipped<'t>(
    text: &'t str,
    count: usize,
    salt: u64,
) -> impl Iterator<Item = (String, String)> + 't {
    let mut dice = Dice(number("SEED", 1) as u64 * 1_000_003 + salt);
    (0..count).map(move |_| {
        let (what, text) = slip(text, &mut dice);
        (what.to_owned(), text)
    })
}

fn every_change(name: &str) {
    let shipped = Shipped::read(name);
    let mutants = changes::changes(&shipped.policy);
    assert!(mutants.len() > 500, "{}", mutants.len());
    try_all(name, &shipped.policy, mutants.into_iter(), |text| shipped.fate(text));
}

#[test]
fn no_change_of_a_rule_of_the_exchange_goes_unnoticed() {
    every_change("exchange");
}

#[test]
fn no_change_of_a_rule_of_the_demo_goes_unnoticed() {
    every_change("demo");
}

#[test]
fn no_slip_in_a_shipped_policy_goes_unnoticed() {
    for name in SHIPPED {
        let shipped = Shipped::read(name);
        let mutants = slipped(&shipped.policy, number("COUNT", 700), 0);
        try_all(name, &shipped.policy, mutants, |text| shipped.fate(text));
    }
}

#[test]
fn whatever_a_shipped_case_expects_is_compared() {
    for name in SHIPPED {
        let shipped = Shipped::read(name);
        let policy = load(&shipped.policy, &mut Vec::new()).unwrap();
        let rules: Vec<String> = policy.rule_ids().map(ToString::to_string).collect();
        let mutants = expectations::changes(&shipped.cases.text, &rules);
        assert!(mutants.len() > 200, "{}", mutants.len());
        // One in so many, others with another seed; all of them with `COUNT`.
        let each = if std::env::var_os("COUNT").is_some() { 1 } else { 10 };
        let mutants = mutants.into_iter().skip(number("SEED", 1) % each).step_by(each);
        try_all(&format!("cases of {name}"), &shipped.cases.text, mutants, |text| {
            let mut faults = Vec::new();
            let run = cases::run(&Source::new("mutant", text), &policy, &no_packs, &mut faults);
            faults.iter().for_each(stands);
            match (faults.is_empty(), run.failed) {
                (true, _) => Fate::Survives,
                (false, 0) => Fate::Refused,
                (false, _) => Fate::FailsACase,
            }
        });
    }
}

#[test]
fn no_slip_in_a_file_of_cases_breaks_more_than_the_case() {
    for name in SHIPPED {
        let shipped = Shipped::read(name);
        let policy = load(&shipped.policy, &mut Vec::new()).unwrap();
        let mutants = slipped(&shipped.cases.text, number("COUNT", 80), 1);
        // A slip in what a case begins with makes another case, which may come out as well.
        try_all(&format!("slips in cases of {name}"), &shipped.cases.text, mutants, |text| {
            let mut faults = Vec::new();
            let run = cases::run(&Source::new("mutant", text), &policy, &no_packs, &mut faults);
            faults.iter().for_each(stands);
            assert!(run.failed <= faults.len() && run.failed <= run.ran);
            match (faults.is_empty(), run.failed) {
                (true, _) => Fate::Same,
                (false, 0) => Fate::Refused,
                (false, _) => Fate::FailsACase,
            }
        });
    }
}

#[test]
fn no_slip_in_a_pack_or_its_cases_makes_anything_panic() {
    let packs = ["demo", "kraken-futures", "coinbase-exchange"];
    for (salt, name) in packs.into_iter().enumerate() {
        let (pack, beside) = (format!("{name}.actions.toml"), format!("{name}.actions.cases.toml"));
        let (pack, beside) = (read(&pack), read(&beside));
        let count = number("COUNT", 40) / (1 + salt * 3);
        try_all(name, &pack, slipped(&pack, count, 2), |text| classified(text, &beside));
        try_all(&format!("cases of {name}"), &beside, slipped(&beside, count / 4, 3), |text| {
            classified(&pack, text)
        });
    }
}

fn classified(pack: &str, beside: &str) -> Fate {
    let mut faults = Vec::new();
    let Some(set) = classify::load(&[Source::new("mutant", pack)], &mut faults) else {
        assert!(!faults.is_empty(), "refused without a fault");
        faults.iter().for_each(stands);
        return Fate::Refused;
    };
    classify::cases::run(&Source::new("mutant", beside), &set, &mut faults);
    faults.iter().for_each(stands);
    // Which of these decide alike is another question: packs have their own changes in their own test.
    if faults.is_empty() { Fate::Same } else { Fate::FailsACase }
}
