//! A whole candidate policy beside the live one: asked about the same facts, heard only by the record and the metrics.
//!
//! Never has a way into a decision. Invariant: what leaves here is words; the verdict that the candidate's rules made is
//! dropped where it was made, and with it whatever permit, requirement, elevation or hold it held.
//!
//! The answer can be told:
//!
//! ```
//! use stepgate::policy::{facts::Facts, shadow::{Asked, Observed, ShadowPolicy}, verdict::Verdict};
//! fn tell(candidate: &ShadowPolicy, facts: &[Facts<'_>], live: &Verdict) -> &'static str {
//!     let observed: Observed = candidate.observe(facts, live, Asked::default());
//!     observed.verdict
//! }
//! ```
//!
//! and nothing can be decided by it: a candidate has no `decide`, does not give its rules back, and no verdict, permit or
//! requirement can be made of what it answers.
//!
//! ```compile_fail,E0599
//! use stepgate::policy::{facts::Facts, shadow::{Asked, Observed, ShadowPolicy}, verdict::Verdict};
//! fn tell(candidate: &ShadowPolicy, facts: &[Facts<'_>], live: &Verdict) -> &'static str {
//!     candidate.decide(facts).verdict.word()
//! }
//! ```
//!
//! ```compile_fail,E0616
//! use stepgate::policy::{PolicySet, shadow::ShadowPolicy};
//! fn rules(candidate: ShadowPolicy) -> PolicySet {
//!     candidate.0
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use stepgate::policy::{shadow::Observed, verdict::Verdict};
//! fn verdict(observed: Observed) -> Verdict {
//!     observed.verdict
//! }
//! ```
//!
//! ```compile_fail,E0277
//! use stepgate::policy::{shadow::Observed, verdict::Permit};
//! fn permit(observed: Observed) -> Permit {
//!     observed.into()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use stepgate::policy::{shadow::Observed, verdict::{Permit, Verdict}};
//! fn verdict(observed: Observed) -> Verdict {
//!     Verdict::Allow(Permit { _made_by_policy: () })
//! }
//! ```
//!
//! A single rule with `shadow = true` is kept apart in the same way: its outcome can be named and not taken out.
//!
//! ```
//! use stepgate::policy::{Outcome, Say};
//! fn outcome(say: Say) -> Option<Outcome> {
//!     match say {
//!         Say::Aloud(outcome) => Some(outcome),
//!         Say::Shadow(_) => None,
//!     }
//! }
//! ```
//!
//! ```compile_fail,E0616
//! use stepgate::policy::{Outcome, Say};
//! fn outcome(say: Say) -> Option<Outcome> {
//!     match say {
//!         Say::Aloud(outcome) => Some(outcome),
//!         Say::Shadow(shadow) => Some(shadow.0),
//!     }
//! }
//! ```

use std::sync::Arc;

use super::PolicySet;
use super::facts::Facts;
use super::rule::Spelt;
use super::verdict::{Decision, Requirement, Said, Verdict};
use crate::types::{ActionName, Factor, FactorSet, PolicyVersion, RuleId, UnixMs};

/// A policy that only observes.
#[derive(Debug)]
pub struct ShadowPolicy(PolicySet);

/// How the live policy's verdict is carried out, beyond its rules: the candidate's would be carried out so too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The pack wants a code even where no rule does.
    pub at_least: bool,
    /// Nobody is there to be asked, so that what is required is waived.
    pub nobody: bool,
}

/// What the candidate would have said, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub version: PolicyVersion,
    /// `allow`, `require`, `hold`, `deny`, `freeze`.
    pub verdict: &'static str,
    pub said: Vec<Said>,
    /// The live policy was not as strict, or stricter, or asked for something else.
    pub differs: bool,
    /// If it differs: the factors that it would have asked for.
    pub factors: Option<Arc<str>>,
    /// If it differs: until when it would have held.
    pub until: Option<UnixMs>,
}

impl ShadowPolicy {
    pub fn new(policy: PolicySet) -> Self {
        Self(policy)
    }

    /// Which text observes.
    pub fn version(&self) -> &PolicyVersion {
        self.0.version()
    }

    /// Whether some rule names this action other than by `*`.
    pub fn names(&self, action: &ActionName) -> bool {
        self.0.names(action)
    }

    /// The ids of all rules, in the order of the file.
    pub fn rule_ids(&self) -> impl Iterator<Item = &RuleId> {
        self.0.rule_ids()
    }

    /// What it would have said of a request on which the live policy said `live`.
    pub fn observe(&self, elements: &[Facts<'_>], live: &Verdict, asked: Asked) -> Observed {
        let decision = self.0.decide(elements);
        let decision = if asked.at_least { decision.asked_at_least() } else { decision };
        let Decision { verdict, said, version } = decision;
        let differs = match (waived(live, asked), waived(&verdict, asked)) {
            (true, true) => false,
            (false, false) => !same(live, &verdict),
            _ => true,
        };
        let (factors, until) = match &verdict {
            Verdict::Require(requirement) if differs => (Some(spelt(requirement)), None),
            Verdict::Hold { until, .. } if differs => (None, Some(*until)),
            _ => (None, None),
        };
        Observed { version, verdict: verdict.word(), said, differs, factors, until }
    }
}

/// Whether a request passes with this verdict without anything being asked.
fn waived(verdict: &Verdict, asked: Asked) -> bool {
    match verdict {
        Verdict::Allow(_) => true,
        Verdict::Require(_) => asked.nobody,
        _ => false,
    }
}

/// Whether two verdicts that stop a request do the same to it.
fn same(live: &Verdict, other: &Verdict) -> bool {
    match (live, other) {
        (Verdict::Require(live), Verdict::Require(other)) => {
            live.only_elevates() == other.only_elevates() && same_factors(live, other)
        }
        (Verdict::Hold { until: live, .. }, Verdict::Hold { until: other, .. }) => live == other,
        (live, other) => live.word() == other.word(),
    }
}

/// Whether the same factors meet both, however they are spelt.
fn same_factors(one: &Requirement, other: &Requirement) -> bool {
    (0_u32..1 << Factor::ALL.len()).all(|bits| {
        let proven = Factor::ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        let proven: FactorSet = proven.map(|(_, factor)| factor).collect();
        one.met_by(proven) == other.met_by(proven)
    })
}

fn spelt(requirement: &Requirement) -> Arc<str> {
    Spelt(&requirement.demand()).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::staged::Staged;
    use super::super::vocabulary::Vocabulary;
    use super::*;
    use crate::fault::Source;
    use crate::types::{FieldValue, Fields};

    fn policy(rules: &str) -> PolicySet {
        let (text, mut faults) = (format!("version = 1\n{rules}"), Vec::new());
        let loaded = super::super::load(&Source::new("p", text), &[], &[], &mut faults);
        loaded.unwrap_or_else(|| panic!("{faults:?}"))
    }

    fn rule(id: &str, outcome: &str) -> String {
        format!("[[rule]]\nid = \"{id}\"\non = \"withdrawal\"\n{outcome}\n")
    }

    /// What a candidate says beside a live policy, each with one rule.
    fn beside(live: &str, candidate: &str, how: Asked) -> Observed {
        let mut fields = Fields::default();
        fields.set("amount", FieldValue::Text("5".into()));
        let mut staged = Staged::new("withdrawal", fields, History::default());
        staged.set("usd_value", "1", &Vocabulary::new(&[])).unwrap();
        staged.settle();
        let facts = [staged.facts()];
        let of = |id, outcome: &str| match outcome {
            "" => policy(""),
            outcome => policy(&rule(id, outcome)),
        };
        let live = of("live", live).decide(&facts);
        let live = if how.at_least { live.asked_at_least() } else { live };
        ShadowPolicy::new(of("tried", candidate)).observe(&facts, &live.verdict, how)
    }

    #[test]
    fn what_would_be_done_otherwise_differs() {
        const TOTP: &str = "require = \"totp\"";
        for (live, candidate, differs) in [
            ("", "", false),
            ("", "allow = true", false),
            ("", "deny = true\nshadow = true", false),
            ("", TOTP, true),
            (TOTP, "", true),
            (TOTP, TOTP, false),
            ("require = \"totp and sms\"", "require = \"sms and totp\"", false),
            (TOTP, "require = \"totp or sms\"", true),
            (TOTP, "require = \"totp\"\nvalid = \"session\"", true),
            ("hold = \"1h\"", "hold = \"60m\"", false),
            ("hold = \"1h\"", "hold = \"2h\"", true),
            ("deny = true", "deny = true", false),
            ("deny = true", "freeze = true", true),
        ] {
            let observed = beside(live, candidate, Asked::default());
            assert_eq!(observed.differs, differs, "{live} beside {candidate}");
        }
    }

    #[test]
    fn it_is_told_in_words_what_would_have_been_done() {
        let asks = beside("", "require = \"totp and sms\"", Asked::default());
        assert_eq!((asks.verdict, asks.factors.as_deref()), ("require", Some("totp and sms")));
        assert_eq!((asks.said[0].rule.as_str(), asks.said[0].outcome), ("tried", "require"));
        let holds = beside("", "hold = \"1h\"", Asked::default());
        let hour = super::super::staged::NOON.plus_ms(3_600_000);
        assert_eq!((holds.verdict, holds.until), ("hold", Some(hour)));
    }

    #[test]
    fn what_the_pack_demands_and_what_nobody_can_be_asked_for_is_so_for_both() {
        const TOTP: &str = "require = \"totp\"";
        let pack = Asked { at_least: true, nobody: false };
        assert_eq!(beside("", "", pack).verdict, "require");
        assert!(!beside("", "", pack).differs);
        let nobody = Asked { at_least: false, nobody: true };
        assert!(!beside("", TOTP, nobody).differs && !beside(TOTP, "", nobody).differs);
        assert!(beside(TOTP, "deny = true", nobody).differs);
    }
}
