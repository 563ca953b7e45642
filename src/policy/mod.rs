//! On what terms a request passes: `decide(facts, policy) -> Decision`. Pure, total, deterministic.
//!
//! Never knows a URL, a header or a body: rules name actions and facts. Invariant: every rule that
//! matches speaks, the strictest outcome wins, and what cannot be read makes a rule stricter, never
//! laxer.
//!
//! The way of a policy: `written` (TOML by hand) and `tokens`, `syntax` (grammar) → `file` and
//! `condition` (meaning, typed by `table`) → `rule` → `PolicySet`. The way of a decision: `truth`
//! per condition → `rule` → `decide`.

pub mod analysis;
mod case_account;
mod case_expect;
mod case_file;
mod case_table;
pub mod cases;
mod condition;
mod country;
mod coverage;
mod decide;
pub mod draft;
pub mod explain;
pub mod facts;
mod file;
mod glob;
pub mod history;
pub mod literal;
mod meaning;
pub mod number;
mod places;
pub mod reasons;
pub mod recorded;
pub mod reference;
mod rule;
pub mod shadow;
pub mod staged;
mod story;
mod syntax;
pub mod table;
mod tokens;
pub mod told;
mod truth;
pub mod verdict;
pub mod vocabulary;
mod written;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest;
use foldhash::quality::RandomState;

use crate::fault::{Fault, Source};
use crate::types::{ActionName, Factor, FactorSet, PolicyVersion, RuleId};
use rule::{Pattern, Rule};
use vocabulary::Vocabulary;

pub use analysis::Setting;
pub use rule::{Outcome, Say, Shadow};
pub use vocabulary::STANDING_ACTIONS;

/// The rules of one policy file, compiled. Immutable; a request takes its `Arc` once and keeps it.
#[derive(Debug)]
pub struct PolicySet {
    rules: Vec<Rule>,
    /// Action → the rules about it, those for every action included, in the order of the file.
    index: HashMap<Arc<str>, Box<[usize]>, RandomState>,
    /// Actions that some rule names other than by `*`, or counts.
    named: HashSet<Arc<str>, RandomState>,
    vocabulary: Vocabulary,
    version: PolicyVersion,
}

/// Compiles a policy. Rules may name `known_actions` (those of the site's packs) and the standing
/// ones. `salt` is whatever else decides of itself (packs): it goes into the version. Prices, GeoIP files and lists do
/// not: they are what facts are made of, and a record holds the facts.
///
/// `None` if there was any fault; all of them are then in `faults`, in the order of the file.
pub fn load(
    policy: &Source,
    known_actions: &[ActionName],
    salt: &[&[u8]],
    faults: &mut Vec<Fault>,
) -> Option<PolicySet> {
    let vocabulary = Vocabulary::new(known_actions);
    let rules = file::read(policy, &vocabulary, faults)?;
    let mut silent = analysis::never_speaks(policy, &rules);
    if !silent.is_empty() {
        faults.append(&mut silent);
        return None;
    }
    Some(PolicySet::new(rules, vocabulary, version(&policy.text, salt)))
}

/// First 16 hex digits of SHA-256 over the text and each salt with its length.
fn version(text: &str, salt: &[&[u8]]) -> PolicyVersion {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(text.as_bytes());
    for part in salt {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hex: String =
        hash.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    PolicyVersion::new(hex)
}

impl PolicySet {
    fn new(mut rules: Vec<Rule>, vocabulary: Vocabulary, version: PolicyVersion) -> Self {
        let mut known = Vec::new();
        let conditions =
            rules.iter_mut().flat_map(|rule| [Some(&mut rule.when), rule.unless.as_mut()]);
        conditions.flatten().for_each(|condition| condition.number(&mut known));
        let about = |action: &str, patterns: fn(&Pattern) -> bool| -> Box<[usize]> {
            let covers = |rule: &Rule| {
                rule.on.iter().any(|pattern| patterns(pattern) && pattern.covers(action))
            };
            (0..rules.len()).filter(|at| covers(&rules[*at])).collect()
        };
        let index = vocabulary.iter().map(|name| (name.clone(), about(name, |_| true))).collect();
        let reads = |rule: &Rule, name: &str| {
            let named = |on: &Pattern| *on != Pattern::Every && on.covers(name);
            rule.on.iter().any(named)
        };
        // What is not read is not counted, and a counter that stays at zero would be no counter.
        let counts = |rule: &Rule, name: &str| {
            let conditions = [Some(&rule.when), rule.unless.as_ref()].into_iter().flatten();
            conditions.flat_map(|it| it.facts()).any(|fact| fact.counts() == Some(name))
        };
        let wants = |rule: &Rule, name: &str| reads(rule, name) || counts(rule, name);
        let named = |name: &&Arc<str>| rules.iter().any(|rule| wants(rule, name));
        let named = vocabulary.iter().filter(named).cloned().collect();
        Self { rules, index, named, vocabulary, version }
    }

    /// Whether requests of this action are read and checked before they are decided on: some rule names it other than
    /// by `*`, or looks at its counters.
    pub fn names(&self, action: &ActionName) -> bool {
        self.named.contains(action.as_str())
    }

    /// Which text decided, for the record.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// The actions that rules and cases may name.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// For ordinary traffic of a verified session while the store cannot be asked: guarded actions fail closed, the
    /// rest goes on.
    pub fn permit_ordinary_without_store(&self) -> verdict::Permit {
        verdict::Permit { _made_by_policy: () }
    }

    /// Whether the owner is to be told when this rule speaks.
    pub fn notifies(&self, rule: &RuleId) -> bool {
        self.rules.iter().any(|known| known.id == *rule && known.notify)
    }

    /// The facts that its rules look at, each once.
    pub fn facts(&self) -> BTreeSet<&str> {
        let conditions =
            self.rules.iter().flat_map(|rule| [Some(&rule.when), rule.unless.as_ref()]);
        conditions.flatten().flat_map(|it| it.facts()).map(|fact| &*fact.name).collect()
    }

    /// The rules that ask for something that cannot be given without this factor.
    pub fn cannot_do_without(&self, factor: Factor) -> impl Iterator<Item = &RuleId> {
        let others: FactorSet = Factor::ALL.into_iter().filter(|other| *other != factor).collect();
        let needs = move |rule: &&Rule| match &rule.say {
            Say::Aloud(Outcome::Require { factors, .. }) => !factors.met_by(others),
            _ => false,
        };
        self.rules.iter().filter(needs).map(|rule| &rule.id)
    }

    /// What may not be as meant in the file that this was loaded from, and what cannot work in this setting.
    pub fn doubts(&self, file: &Source, setting: &Setting<'_>) -> Vec<Fault> {
        analysis::doubts(file, &self.rules, &self.vocabulary, setting)
    }

    /// The ids of all rules, in the order of the file.
    pub fn rule_ids(&self) -> impl Iterator<Item = &RuleId> {
        self.rules.iter().map(|rule| &rule.id)
    }

    /// The rules about an action, in the order of the file. An action that the policy was not
    /// loaded for is matched against the patterns themselves: forgetting to list it must not
    /// silence a rule.
    fn rules_about(&self, action: &str) -> impl Iterator<Item = &Rule> {
        let listed = self.index.get(action);
        let unlisted = if listed.is_none() { &*self.rules } else { &[] };
        let covers = move |rule: &&Rule| rule.on.iter().any(|pattern| pattern.covers(action));
        let listed = listed.into_iter().flatten().filter_map(|at| self.rules.get(*at));
        listed.chain(unlisted.iter().filter(covers))
    }
}
