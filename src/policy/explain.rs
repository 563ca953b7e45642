//! A decision in sentences: each rule of the action, what it looked at, and why it spoke or not.
//!
//! Never decides differently from `decide`: it weighs the same rules with the same code. Invariant:
//! every rule about the action is listed, shadow rules too.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::PolicySet;
use super::decide::holds_until;
use super::facts::{Fact, Facts};
use super::literal::legible;
use super::rule::{Outcome, Rule, Say, Spelt, Weighed};
use super::table::{FactRef, Value};
use super::truth::Truth;
use super::verdict::Requirement;
use crate::types::{PolicyVersion, RuleId};

/// All that a policy has to say about one element of one request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub action: Arc<str>,
    pub version: PolicyVersion,
    /// `allow`, `require`, `hold`, `deny`, `freeze`.
    pub verdict: &'static str,
    pub rules: Vec<RuleSay>,
}

/// One rule's part.
#[derive(Debug, Serialize)]
pub struct RuleSay {
    pub rule: RuleId,
    /// Where it begins in the policy's file.
    pub line: usize,
    pub matched: bool,
    /// `when` as it came out; a rule without one is true.
    pub when: Truth,
    /// Absent if the rule has no `unless`, or `when` settled it.
    pub unless: Option<Truth>,
    /// The whole reason in one sentence.
    pub because: String,
    /// `require totp and sms`, `hold for 24h`, …
    pub outcome: String,
    pub shadow: bool,
    pub satisfied: bool,
    /// Each fact of the rule's conditions, once.
    pub looked_at: Vec<FactSay>,
}

/// A fact as a rule saw it.
#[derive(Debug, Serialize)]
pub struct FactSay {
    pub name: Arc<str>,
    /// The value as a policy would spell it, `absent` or `unreadable`.
    pub value: String,
}

/// Weighs every rule about the facts' action.
pub fn explain(policy: &PolicySet, facts: &Facts<'_>) -> Explanation {
    let decision = policy.decide(std::slice::from_ref(facts));
    Explanation {
        action: facts.action.into(),
        version: decision.version,
        verdict: decision.verdict.word(),
        rules: policy.rules_about(facts.action).map(|rule| say(rule, facts)).collect(),
    }
}

/// Every factor expression of a requirement as a policy would spell it.
pub fn asked_for(requirement: &Requirement) -> String {
    let mut terms: Vec<String> = Vec::new();
    for term in &requirement.terms {
        let factors = Spelt(&term.factors).to_string();
        if !terms.contains(&factors) {
            terms.push(factors);
        }
    }
    match terms.as_slice() {
        [only] => only.clone(),
        _ => terms.iter().map(|term| format!("({term})")).collect::<Vec<_>>().join(" and "),
    }
}

/// As a policy would spell it.
pub(super) fn spelt(value: Fact<Value<'_>>) -> String {
    match value {
        Fact::Known(value) => value.to_string(),
        Fact::Absent => "absent".to_owned(),
        Fact::Unreadable => "unreadable".to_owned(),
    }
}

fn facts_of(rule: &Rule) -> impl Iterator<Item = &FactRef> {
    std::iter::once(&rule.when).chain(&rule.unless).flat_map(|condition| condition.facts())
}

fn say(rule: &Rule, facts: &Facts<'_>) -> RuleSay {
    let weighed = rule.weigh(facts);
    let satisfied = weighed.matches && is_satisfied(rule, facts);
    RuleSay {
        rule: rule.id.clone(),
        line: rule.line,
        matched: weighed.matches,
        when: weighed.when,
        unless: weighed.unless,
        because: because(rule, weighed),
        outcome: rule.say.to_string(),
        shadow: rule.say.is_shadow(),
        satisfied,
        looked_at: looked_at(rule, facts),
    }
}

fn is_satisfied(rule: &Rule, facts: &Facts<'_>) -> bool {
    match &rule.say {
        Say::Aloud(Outcome::Require { factors, valid: Some(_) }) => rule.elevated(factors, facts),
        Say::Aloud(Outcome::Hold { ms }) => holds_until(rule, *ms, facts).is_none(),
        Say::Aloud(_) | Say::Shadow(_) => false,
    }
}

fn because(rule: &Rule, weighed: Weighed) -> String {
    let text = rule.when.text();
    let when = match weighed.when {
        Truth::False => return format!("not: {text}"),
        Truth::Unknown if !weighed.matches && weighed.unless.is_none() => {
            return format!("cannot be told, and doubt allows nothing: {text}");
        }
        Truth::Unknown => format!("cannot be told, so it counts: {text}"),
        Truth::True => text.to_owned(),
    };
    let except = rule.unless.as_ref().map_or("", |condition| condition.text());
    match weighed.unless {
        None => when,
        Some(Truth::True) => format!("{when}; but {except}"),
        Some(Truth::Unknown) => format!("{when}; the exception cannot be told: {except}"),
        Some(Truth::False) => format!("{when}; and not: {except}"),
    }
}

fn looked_at(rule: &Rule, facts: &Facts<'_>) -> Vec<FactSay> {
    let mut seen: Vec<FactSay> = Vec::new();
    for fact in facts_of(rule) {
        if !seen.iter().any(|say| say.name == fact.name) {
            let value = spelt(fact.read(facts));
            seen.push(FactSay { name: fact.name.clone(), value });
        }
    }
    seen
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} under policy {}: {}", self.action, self.version, self.verdict)?;
        if self.rules.is_empty() {
            writeln!(f, "  no rule is about this action")?;
        }
        self.rules.iter().try_for_each(|rule| write!(f, "{rule}"))
    }
}

impl fmt::Display for RuleSay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.matched, self.shadow, self.satisfied) {
            (false, _, _) => "silent",
            (true, true, _) => "shadow",
            (true, false, true) => "satisfied",
            (true, false, false) => "speaks",
        };
        writeln!(f, "  {mark:<10}{}: {} (line {})", self.rule, self.outcome, self.line)?;
        writeln!(f, "            {}", self.because)?;
        for fact in &self.looked_at {
            writeln!(f, "            {} = {}", fact.name, legible(&fact.value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::staged::Staged;
    use super::*;
    use crate::fault::Source;
    use crate::policy::vocabulary::Vocabulary;
    use crate::types::Fields;

    #[test]
    fn each_rule_says_what_it_saw_and_why_it_spoke() {
        let text = r#"version = 1
[[rule]]
id = "code"
on = "withdrawal"
require = "totp or (sms and webauthn)"
[[rule]]
id = "large"
on = "withdrawal"
when = "usd_value > 10_000"
unless = "address.verified"
hold = "24h"
[[rule]]
id = "far"
on = "*"
when = "geo.speed_kmh > 900"
deny = true
shadow = true
[[rule]]
id = "friend"
on = "withdrawal"
when = "geo.speed_kmh < 900"
allow = true
"#;
        let mut faults = Vec::new();
        let policy = crate::policy::load(&Source::new("p", text), &[], &[], &mut faults).unwrap();
        let mut staged = Staged::new("withdrawal", Fields::default(), History::default());
        for (name, value) in [("usd_value", "12000.50"), ("geo.speed_kmh", "unreadable")] {
            staged.set(name, value, &Vocabulary::new(&[])).unwrap();
        }
        staged.settle();
        let explanation = explain(&policy, &staged.facts());
        let expected = "
  speaks    code: require totp or (sms and webauthn) (line 2)
            always
  speaks    large: hold for 24h (line 6)
            usd_value > 10_000; and not: address.verified
            usd_value = 12000.5
            address.verified = absent
  shadow    far: deny (line 12)
            cannot be told, so it counts: geo.speed_kmh > 900
            geo.speed_kmh = unreadable
  silent    friend: allow (line 18)
            cannot be told, and doubt allows nothing: geo.speed_kmh < 900
            geo.speed_kmh = unreadable
";
        let said = explanation.to_string();
        let head = format!("withdrawal under policy {}: hold", policy.version());
        assert_eq!(said, head + expected);
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["verdict"], "hold");
        assert_eq!(json["rules"][2]["when"], "unknown");
    }
}
