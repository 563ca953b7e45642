//! The policy language, one file per keyword, all through one door: a policy, its cases, and
//! nothing else.

mod allow;
mod cases;
mod conditions;
mod deny;
mod doubts;
mod facts;
mod freeze;
mod hold;
mod id;
mod mutants;
mod notify;
mod on;
mod planted;
mod recipes;
mod require;
mod sets;
mod shadow;
mod shipped;
mod stories;
mod unless;
mod valid;
mod version;
mod when;
mod why;

use stepgate::fault::{Fault, Source};
use stepgate::policy::cases::CasesRun;
use stepgate::policy::{self, PolicySet};
use stepgate::types::{ActionName, Fields};

/// Most of these tests bring no raw HTTP.
fn no_packs(_: &str) -> Result<(ActionName, Vec<Fields>), String> {
    Err("no pack is loaded".to_owned())
}

/// Loads rules without their `version` line.
fn load(rules: &str) -> Result<PolicySet, Vec<Fault>> {
    let source = Source::new("test.policy.toml", format!("version = 1\n{rules}"));
    let mut faults = Vec::new();
    policy::load(&source, &[], &[], &mut faults).ok_or(faults)
}

fn rendered(faults: &[Fault]) -> String {
    faults.iter().map(Fault::render).collect::<Vec<_>>().join("\n\n")
}

#[track_caller]
fn policy(rules: &str) -> PolicySet {
    load(rules).unwrap_or_else(|faults| panic!("{}", rendered(&faults)))
}

fn run(rules: &str, cases: &str) -> (CasesRun, Vec<Fault>) {
    let source = Source::new("test.cases.toml", format!("version = 1\n{cases}"));
    let mut faults = Vec::new();
    let run = policy::cases::run(&source, &policy(rules), &no_packs, &mut faults);
    (run, faults)
}

/// The door: every case must come out as written.
#[track_caller]
fn check(rules: &str, cases: &str) {
    let (run, faults) = run(rules, cases);
    assert!(faults.is_empty(), "{}", rendered(&faults));
    assert!(run.ran > 0, "a check without cases checks nothing");
}

/// The other door: the policy is refused with exactly these messages, in this order.
#[track_caller]
fn refuse(rules: &str, messages: &[&str]) {
    let faults = load(rules).expect_err("the policy has faults");
    let found: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
    assert_eq!(found, messages);
}

/// The only message about a condition of a rule on withdrawals, and the text that it points at.
#[track_caller]
fn refuse_when(condition: &str) -> (String, String) {
    let rules =
        format!("[[rule]]\nid = \"r\"\non = \"withdrawal\"\nwhen = '''{condition}'''\ndeny = true");
    let faults = load(&rules).expect_err(condition);
    let [fault] = &*faults else { panic!("{}", rendered(&faults)) };
    (fault.message.clone(), fault.source.text[fault.span.clone()].to_owned())
}

/// Whether a rule with this condition speaks, for facts in the form of a case.
#[track_caller]
fn speaks(condition: &str, facts: &str) -> bool {
    let rules =
        format!("[[rule]]\nid = \"r\"\non = \"withdrawal\"\nwhen = '''{condition}'''\ndeny = true");
    let case = |verdict: &str| {
        format!(
            "[[case]]\nname = \"c\"\nrequest = {{ action = \"withdrawal\" }}\n\
             facts = {{ {facts} }}\nexpect = {{ verdict = \"{verdict}\" }}"
        )
    };
    let (denied, faults) = run(&rules, &case("deny"));
    assert_eq!(denied.ran, 1, "{}", rendered(&faults));
    assert_eq!(run(&rules, &case("allow")).0.failed, 1 - denied.failed);
    denied.failed == 0
}
