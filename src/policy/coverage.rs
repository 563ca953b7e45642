//! What the cases of a policy leave untried.
//!
//! Never fails a case. Invariant: a rule without a gap spoke in some case, was silent in another that is about it, and
//! its exception made the difference once.

use std::collections::BTreeMap;

use super::PolicySet;
use super::facts::Facts;
use super::rule::{Rule, Say};
use super::truth::Truth;
use super::verdict::Decision;
use crate::fault::{Fault, Source};
use crate::types::RuleId;

/// What happened to rules while cases ran.
#[derive(Default)]
pub struct Coverage {
    seen: BTreeMap<RuleId, Seen>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    spoke: bool,
    /// Spoke, and was neither satisfied nor served.
    asked: bool,
    silent: bool,
    excused: bool,
}

/// Something about a rule that no case tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub rule: RuleId,
    pub what: Untried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untried {
    /// No case makes it speak.
    Speaking,
    /// Whenever it spoke it was satisfied already.
    Asking,
    /// It spoke in every case that is about it.
    Silence,
    /// `unless` never made the difference.
    Exception,
}

impl Gap {
    fn sentence(&self) -> String {
        let rule = &self.rule;
        match self.what {
            Untried::Speaking => format!("no case makes the rule `{rule}` speak"),
            Untried::Asking => {
                format!("in every case where the rule `{rule}` speaks it is satisfied already")
            }
            Untried::Silence => {
                format!(
                    "the rule `{rule}` speaks in every case about its actions; none shows when it does not"
                )
            }
            Untried::Exception => {
                format!("no case has the rule `{rule}` silent because of its `unless`")
            }
        }
    }

    /// As a warning, at the rule.
    pub fn warning(&self, policy: &Source) -> Fault {
        let (text, id) = (&*policy.text, format!("\"{}\"", self.rule));
        let at = text.match_indices(&id).map(|(at, _)| at).find(|at| {
            let line = text.get(..*at).and_then(|before| before.rsplit('\n').next());
            line.is_some_and(|line| line.trim_start().starts_with("id"))
        });
        let span = at.map_or(0..0, |at| at..at + id.len());
        Fault::warning(policy, span, self.sentence())
    }
}

impl Coverage {
    /// Notes what each rule did in one decision.
    pub fn hear(&mut self, policy: &PolicySet, elements: &[Facts<'_>], decision: &Decision) {
        for facts in elements {
            for rule in policy.rules_about(facts.action) {
                let weighed = rule.weigh(facts);
                let seen = self.seen.entry(rule.id.clone()).or_default();
                seen.spoke |= weighed.matches;
                seen.silent |= !weighed.matches;
                seen.excused |= weighed.unless == Some(Truth::True);
            }
        }
        for said in decision.said.iter().filter(|said| !said.satisfied) {
            self.seen.entry(said.rule.clone()).or_default().asked = true;
        }
    }

    /// What was not tried, in the order of the file.
    pub fn gaps(&self, policy: &PolicySet) -> Vec<Gap> {
        policy.rules.iter().flat_map(|rule| self.gaps_of(rule)).collect()
    }

    fn gaps_of(&self, rule: &Rule) -> Vec<Gap> {
        let seen = self.seen.get(&rule.id).copied().unwrap_or_default();
        let gap = |what| Gap { rule: rule.id.clone(), what };
        if !seen.spoke {
            return vec![gap(Untried::Speaking)];
        }
        // Without a condition it has nothing to be silent about.
        let conditional = rule.unless.is_some() || !rule.when.facts().is_empty();
        let mut gaps = Vec::new();
        if matches!(rule.say, Say::Aloud(_)) && !seen.asked {
            gaps.push(gap(Untried::Asking));
        }
        if conditional && !seen.silent {
            gaps.push(gap(Untried::Silence));
        }
        if rule.unless.is_some() && !seen.excused {
            gaps.push(gap(Untried::Exception));
        }
        gaps
    }
}
