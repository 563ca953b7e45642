//! `<name>.cases.toml`: what a policy must say, beside the policy.
//!
//! Never touches a live gateway. Invariant: a case that does not come out as written is a fault at
//! its `expect`, with what was expected and what was said.
//!
//! ```toml
//! version = 1
//!
//! [[case]]
//! name = "a large withdrawal asks for both factors"
//! now = "2026-01-05T12:00:00Z"                  # optional
//! request = { action = "withdrawal", fields = { amount = "1", asset = "BTC", address = "bc1q" } }
//! facts = { usd_value = "12000", "address.age" = "90d" }
//! expect = { verdict = "require", rules = ["large-withdrawal"], factors = "totp and sms" }
//! ```
//!
//! `request` is `{ action, fields }` (a list of tables for a batch) or `{ raw = "POST /…" }`.
//! `facts` take values as rules write them, `absent` or `unreadable`.
//! `history = { countries, asns }` says where the account was seen.
//! `elevations = [{ rule, factors, until, place }]` and `holds = [{ rule, since }]` take durations
//! from and before now. In `expect`, `rules` are those that spoke aloud and are not satisfied,
//! `shadow` and `satisfied` the others; what is left out is not compared. `until` is how long a
//! hold lasts from now.
//!
//! What a case does not say: Monday 2026-01-05 12:00 UTC, site `main`, a session 10 minutes old
//! from 192.0.2.10 in Tokyo (JP, AS64500, an ordinary network, where the account has always been),
//! TOTP and SMS enrolled and never changed, no counters. An action with an address has a known,
//! verified one of 90 days, used yesterday. An amount without a `usd_value` has no price, which is
//! unreadable. One `address.*` fact that is absent or unreadable makes them all so.

use std::collections::BTreeSet;

use super::PolicySet;
use super::case_file::{Case, Expect, Reader};
use super::file;
use super::literal::spell_duration;
use super::rule::Spelt;
use super::staged::{NOON, Staged};
use super::verdict::{Decision, FactorExpr, Term, Verdict};
use super::written::{self, Table};
use crate::fault::{Fault, Source};
use crate::types::{ActionName, Factor, FactorSet, Fields, RuleId, UnixMs};

/// Turns a raw HTTP request into the action and elements that the site's packs see in it.
pub type Classify<'c> = &'c dyn Fn(&str) -> Result<(ActionName, Vec<Fields>), String>;

/// How the cases came out. Every failure is a fault besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CasesRun {
    pub ran: usize,
    pub failed: usize,
    /// Rules that no case expects to speak, in any voice.
    pub untested: Vec<RuleId>,
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
    root.only(&["version", "case"], faults);
    if root.value("version").is_some() {
        file::version(&root, faults);
    }
    let mut expected = BTreeSet::new();
    let tables = root.tables("case", faults);
    for (table, span) in tables {
        let mut reader = Reader { source, policy, classify, faults };
        let Some(case) = reader.case(&table, &span) else { continue };
        run.ran += 1;
        if let Err(fault) = judge(source, policy, &case) {
            run.failed += 1;
            faults.push(*fault);
        }
        expected.extend(case.expect.all_rules());
    }
    let untested = policy.rule_ids().filter(|id| !expected.contains(id.as_str()));
    run.untested = untested.cloned().collect();
    run
}

/// Decides the case; every difference is told in one fault.
fn judge(source: &Source, policy: &PolicySet, case: &Case) -> Result<(), Box<Fault>> {
    let facts: Vec<_> = case.elements.iter().map(Staged::facts).collect();
    let decision = policy.decide(&facts);
    let now = case.elements.first().map_or(NOON, |staged| staged.now);
    let differences = differences(&case.expect, &decision, now);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("case \"{}\": {}", case.name, differences.join("; "));
    let fault = Fault::new(source, case.expect.span.clone(), message);
    Err(Box::new(fault.help(what_was_said(&decision))))
}

fn differences(expect: &Expect, decision: &Decision, now: UnixMs) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, said: String| {
        if expected != said {
            differences.push(format!("expected {what} {expected}, the policy says {said}"));
        }
    };
    differ("verdict", expect.verdict.clone(), decision.verdict.word().to_owned());
    let voices = [
        ("rules", &expect.rules, (false, false)),
        ("shadow", &expect.shadow, (true, false)),
        ("satisfied", &expect.satisfied, (false, true)),
    ];
    for (what, expected, voice) in voices {
        let Some(expected) = expected else { continue };
        let said = decision.said.iter().filter(|said| (said.shadow, said.satisfied) == voice);
        let said: BTreeSet<String> = said.map(|said| said.rule.to_string()).collect();
        differ(what, format!("{expected:?}"), format!("{said:?}"));
    }
    if let Some(expected) = &expect.factors {
        let said = match &decision.verdict {
            Verdict::Require(requirement) => asked(&requirement.terms),
            _ => FactorExpr::All(Vec::new()),
        };
        if !same_demand(&said, expected) {
            differ("factors", Spelt(expected).to_string(), Spelt(&said).to_string());
        }
    }
    if let Some(expected) = expect.until_ms {
        let said = match &decision.verdict {
            Verdict::Hold { until, .. } => spell_duration(until.since_ms(now)),
            _ => "nothing".to_owned(),
        };
        differ("until", spell_duration(expected), said);
    }
    differences
}

/// What all terms together ask for.
pub(super) fn asked(terms: &[Term]) -> FactorExpr {
    match terms {
        [only] => only.factors.clone(),
        _ => FactorExpr::All(terms.iter().map(|term| term.factors.clone()).collect()),
    }
}

/// Whether the same factors meet both, however they are spelt.
fn same_demand(one: &FactorExpr, other: &FactorExpr) -> bool {
    (0_u32..1 << Factor::ALL.len()).all(|bits| {
        let proven = Factor::ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        let proven: FactorSet = proven.map(|(_, factor)| factor).collect();
        one.met_by(proven) == other.met_by(proven)
    })
}

fn what_was_said(decision: &Decision) -> String {
    let voice = |shadow, satisfied| match (shadow, satisfied) {
        (true, _) => " in shadow",
        (false, true) => ", satisfied",
        (false, false) => "",
    };
    let said: Vec<String> = decision
        .said
        .iter()
        .map(|said| {
            format!("{} ({}{})", said.rule, said.outcome, voice(said.shadow, said.satisfied))
        })
        .collect();
    match said.is_empty() {
        true => "no rule spoke".to_owned(),
        false => format!("what was said: {}", said.join(", ")),
    }
}
