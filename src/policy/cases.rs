//! `<name>.cases.toml`: what a policy must say, beside the policy.
//!
//! Never touches a live gateway. Invariant: a case that does not come out as written is a fault at
//! its `expect`, with what was expected and what was said.
//!
//! ```toml
//! version = 1
//!
//! [[case]]
//! name = "a large withdrawal asks for both factors, twice"
//! now = "2026-01-05T12:00:00Z"                  # optional
//! place = { country = "DE", ip = "95.90.0.1" }  # or "DE"
//! account = { countries = ["JP", "DE"], done = [{ action = "withdrawal", usd = 800, ago = "2h" }] }
//! request = { action = "withdrawal", fields = { amount = "1", asset = "BTC", address = "bc1q" } }
//! facts = { usd_value = 12000, "address.age" = "90d" }
//! expect = { verdict = "require", rules = ["large-withdrawal"], factors = "totp and sms" }
//! answer = ["totp", "sms"]
//!
//! [[case.then]]
//! after = "12h"
//! expect = { verdict = "require", rules = ["large-withdrawal"], valid = "once" }
//!
//! [[table]]
//! name = "a row is a case"
//! request = { action = "withdrawal" }
//! columns = ["usd_value", "place", "verdict", "rules"]
//! rows = [["12000", "-", "require", "large-withdrawal"], ["10", "JP", "allow", "none"]]
//! ```
//!
//! `request` is `{ action, fields }` (a list of tables for a batch) or `{ raw = "POST /…" }`.
//! `facts` take values as rules write them, `absent` or `unreadable`.
//! `account` has `countries`, `asns`, `factors`, `security_change`, `addresses` (its address book; with
//! it any other destination is a stranger) and `done`; `history` is its old name, with the first two.
//! `elevations = [{ rule, factors, until, place }]` and `holds = [{ rule, since }]` take durations
//! from and before now. In `expect`, `rules` are those that spoke aloud and are not satisfied,
//! `shadow` and `satisfied` the others; what is left out is not compared. `until` is how long a
//! hold lasts from now; `factors` and `valid` are of all that is asked, or tables of them by rule;
//! `notify` is whether the owner is told, or by which rules.
//!
//! A `then` is the same account `after` some time: ages grow, windows move, holds run on, approvals
//! last as long as their rule says. What went through in a step (allowed, or asked and answered) is
//! counted, its place known and its destination in the address book.
//!
//! What a case does not say: Monday 2026-01-05 12:00 UTC, site `main`, a session 10 minutes old
//! from 192.0.2.10 in Tokyo (JP, AS64500, an ordinary network, where the account has always been),
//! TOTP and SMS enrolled and never changed, no counters. An action with an address has a known,
//! verified one of 90 days, used yesterday. An amount without a `usd_value` has no price, which is
//! unreadable. One `address.*` fact that is absent or unreadable makes them all so. Of a `place`
//! outside Japan the city cannot be told unless it is said.

use std::collections::BTreeSet;

use super::case_file::Reader;
use super::coverage::Coverage;
use super::written::{self, Table};
use super::{PolicySet, file, story};
use crate::fault::{Fault, Source};
use crate::types::{ActionName, Fields, RuleId};

pub use super::case_file::WORDS as COLUMN_WORDS;
pub use super::coverage::{Gap, Untried};

/// Turns a raw HTTP request into the action and elements that the site's packs see in it.
pub type Classify<'c> = &'c dyn Fn(&str) -> Result<(ActionName, Vec<Fields>), String>;

/// How the cases came out. Every failure is a fault besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CasesRun {
    pub ran: usize,
    pub failed: usize,
    /// Rules that no case expects to speak, in any voice.
    pub untested: Vec<RuleId>,
    /// What no case tries.
    pub gaps: Vec<Gap>,
}

impl CasesRun {
    /// What is not covered, at the rules of the policy's file.
    pub fn warnings(&self, policy: &Source) -> Vec<Fault> {
        self.gaps.iter().map(|gap| gap.warning(policy)).collect()
    }
}

/// Runs all cases against a policy.
pub fn run(
    cases: &Source,
    policy: &PolicySet,
    classify: Classify<'_>,
    faults: &mut Vec<Fault>,
) -> CasesRun {
    let mut found = Vec::new();
    let run = run_all(cases, policy, classify, &mut found);
    found.sort_by_key(|fault| fault.span.start);
    // What a table says of all its rows is wrong once.
    found.dedup();
    faults.append(&mut found);
    run
}

fn run_all(
    source: &Source,
    policy: &PolicySet,
    classify: Classify<'_>,
    faults: &mut Vec<Fault>,
) -> CasesRun {
    let mut run = CasesRun::default();
    let Some(document) = written::document(source, faults) else { return run };
    let root = Table::new(source, document.get_ref());
    root.only(&["version", "case", "table"], faults);
    if root.value("version").is_some() {
        file::version(&root, faults);
    }
    let (cases, tables) = (root.tables("case", faults), root.tables("table", faults));
    let mut reader = Reader { source, policy, classify, faults };
    let mut read: Vec<_> = cases.iter().map(|(case, span)| reader.case(case, span)).collect();
    read.extend(tables.iter().flat_map(|(table, span)| reader.rows(table, span)));
    let (mut expected, mut coverage) = (BTreeSet::new(), Coverage::default());
    for case in read.iter().flatten() {
        run.ran += 1;
        if let Err(fault) = story::tell(source, policy, case, &mut coverage) {
            run.failed += 1;
            faults.push(*fault);
        }
        expected.extend(case.steps.iter().flat_map(|step| step.expect.all_rules()));
    }
    let untested = policy.rule_ids().filter(|id| !expected.iter().any(|it| *it == id.as_str()));
    run.untested = untested.cloned().collect();
    run.gaps = coverage.gaps(policy);
    run
}
