//! A policy that cannot be used, because it or a pack beside it has faults: for checking what else can be checked.
//!
//! Never decides a request: nothing of it comes out but faults. Invariant: nothing is told that only follows from a
//! fault that was told before.

use super::cases;
use super::vocabulary::Vocabulary;
use super::{PolicySet, file};
use crate::fault::{Fault, Source};
use crate::types::{ActionName, Fields};

/// What the cases beside such a policy can be checked against.
pub struct Draft {
    /// The policy, or one with rules of the same names if it has faults itself.
    policy: PolicySet,
    /// Whether it is the policy, so that cases can be tried.
    whole: bool,
    /// Whether the names of all rules are known.
    named: bool,
}

/// Stands in for what a raw request would be while no pack can say it.
const NO_PACK: &str = "no pack can say";

impl Draft {
    /// Reads a policy for its faults. `actions` are those of the packs, `None` if they cannot be known.
    pub fn read(source: &Source, actions: Option<&[ActionName]>, faults: &mut Vec<Fault>) -> Self {
        let vocabulary = actions.map_or_else(Vocabulary::open, Vocabulary::new);
        let rules = file::read(source, &vocabulary, faults);
        let whole = rules.is_some();
        let ids = file::ids(source);
        let rules = rules.or_else(|| named(ids.as_deref().unwrap_or_default()));
        let version = super::version(&source.text, &[]);
        let policy = PolicySet::new(rules.unwrap_or_default(), vocabulary, version);
        Self { policy, whole, named: ids.is_some() }
    }

    /// Checks cases as far as they mean anything now; answers how many ran.
    pub fn proofread(&self, source: &Source, faults: &mut Vec<Fault>) -> usize {
        let mut found = Vec::new();
        let no_pack =
            |_: &str| -> Result<(ActionName, Vec<Fields>), String> { Err(NO_PACK.to_owned()) };
        let run = cases::run(source, &self.policy, &no_pack, &mut found);
        let follows = |fault: &Fault| {
            fault.message.ends_with(NO_PACK)
                || (!self.whole && fault.message.starts_with("case \""))
                || (!self.named && fault.message.starts_with("the policy has no rule"))
        };
        faults.extend(found.into_iter().filter(|fault| !follows(fault)));
        if self.whole { run.ran } else { 0 }
    }
}

/// Rules of these names, for the cases that name them.
fn named(ids: &[String]) -> Option<Vec<super::rule::Rule>> {
    let rule = |id: &String| format!("[[rule]]\nid = \"{id}\"\non = \"*\"\nallow = true\n");
    let mut once: Vec<&String> = ids.iter().collect();
    once.sort();
    once.dedup();
    let text: String = once.into_iter().map(rule).collect();
    let source = Source::new("", format!("version = 1\n{text}"));
    file::read(&source, &Vocabulary::open(), &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = "version = 1\n[[case]]\nname = \"a\"\nrequest = { action = \"withdrawal\" }\n\
        expect = { verdict = \"allow\", rules = [\"two\"] }\n\
        [[case]]\nname = \"b\"\nrequest = { raw = \"POST /x\" }\nexpect = { verdict = \"deni\" }\n";

    fn told(policy: &str, actions: Option<&[ActionName]>) -> (Vec<String>, Vec<String>) {
        let (mut of_policy, mut of_cases) = (Vec::new(), Vec::new());
        let source = Source::new("p", format!("version = 1\n{policy}"));
        let draft = Draft::read(&source, actions, &mut of_policy);
        draft.proofread(&Source::new("c", CASES), &mut of_cases);
        let messages = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.message).collect();
        (messages(of_policy), messages(of_cases))
    }

    const ONE: &str = "[[rule]]\nid = \"one\"\non = \"withdrawal\"\n";
    const TWO: &str = "[[rule]]\nid = \"two\"\non = \"what.a.pack.has\"\ndeny = true\n";

    #[test]
    fn cases_of_a_faulty_policy_are_read_and_not_tried() {
        let (policy, cases) = told(&format!("{ONE}denny = true\n"), Some(&[]));
        assert_eq!(policy, ["this rule says nothing", "unknown key `denny`"]);
        assert_eq!(cases, ["the policy has no rule `two`", "unknown verdict `deni`"]);
    }

    #[test]
    fn names_of_rules_that_cannot_be_read_are_not_missed() {
        let (policy, cases) = told("[[rule]]\non = \"withdrawal\"\ndeny = true\n", Some(&[]));
        assert_eq!(policy, ["this rule has no `id`"]);
        assert_eq!(cases, ["unknown verdict `deni`"]);
    }

    #[test]
    fn without_packs_unknown_actions_are_not_told_and_cases_are_tried_that_need_none() {
        let (policy, cases) = told(&format!("{ONE}deny = true\n{TWO}"), None);
        assert_eq!(policy, Vec::<String>::new());
        assert_eq!(cases.len(), 2, "{cases:?}");
        assert!(cases[0].contains("expected verdict allow, the policy says deny"), "{cases:?}");
        let (policy, _) = told(&format!("{ONE}deny = true\n{TWO}"), Some(&[]));
        assert_eq!(policy, ["unknown action `what.a.pack.has`"]);
    }
}
