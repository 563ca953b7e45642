//! A decision in sentences: each rule of the action, what it looked at, and why it spoke or not.
//!
//! Never decides differently from `decide`: it weighs the same rules with the same code. Invariant:
//! every rule about the action is listed, shadow rules too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::PolicySet;
use super::decide::holds_until;
use super::facts::{Fact, Facts};
use super::rule::{Outcome, Rule, Say, Weighed};
use super::table::{FactRef, Value};
use super::truth::Truth;
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

impl PolicySet {
    /// What the rules about an action looked at, for the record: each fact's value as text, `absent` or `unreadable`.
    /// Of a batch, a fact that is not the same as in the first element is said again as `name[1]`, `name[2]`, … for
    /// the first few elements.
    pub fn facts_seen(&self, elements: &[Facts<'_>]) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut seen: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (at, facts) in elements.iter().enumerate().take(ELEMENTS_TOLD_MAX) {
            for fact in self.rules_about(facts.action).flat_map(facts_of) {
                let value = plain(fact, facts);
                match seen.get(&fact.name) {
                    Some(first) if **first == *value => {}
                    Some(_) if at > 0 => {
                        seen.insert(format!("{}[{at}]", fact.name).into(), value.into());
                    }
                    _ => {
                        seen.insert(fact.name.clone(), value.into());
                    }
                }
            }
        }
        seen
    }
}

/// A value by itself. Text has no quotes, so that what must not be written is recognised; text that could be taken for
/// a state keeps them.
fn plain(fact: &FactRef, facts: &Facts<'_>) -> String {
    match fact.read(facts) {
        Fact::Known(Value::Text(text)) if !STATES.contains(&text) => text.to_owned(),
        other => spelt(other),
    }
}

/// As a policy would spell it.
fn spelt(value: Fact<Value<'_>>) -> String {
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
        for rule in &self.rules {
            let mark = match (rule.matched, rule.shadow, rule.satisfied) {
                (false, _, _) => "silent",
                (true, true, _) => "shadow",
                (true, false, true) => "satisfied",
                (true, false, false) => "speaks",
            };
            writeln!(f, "  {mark:<10}{}: {}", rule.rule, rule.outcome)?;
            writeln!(f, "            {}", rule.because)?;
            for fact in &rule.looked_at {
                writeln!(f, "            {} = {}", fact.name, fact.value)?;
            }
        }
        Ok(())
    }
}

const STATES: [&str; 2] = ["absent", "unreadable"];
/// Elements of a batch whose facts are told.
const ELEMENTS_TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::staged::{History, Staged};
    use super::*;
    use crate::fault::Source;
    use crate::policy::vocabulary::Vocabulary;
    use crate::types::{FieldValue, Fields};

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
  speaks    code: require totp or (sms and webauthn)
            always
  speaks    large: hold for 24h
            usd_value > 10_000; and not: address.verified
            usd_value = 12000.5
            address.verified = absent
  shadow    far: deny
            cannot be told, so it counts: geo.speed_kmh > 900
            geo.speed_kmh = unreadable
  silent    friend: allow
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

    #[test]
    fn what_was_seen_is_told_once_and_of_a_batch_what_differs() {
        let text = r#"version = 1
[[rule]]
id = "large"
on = "withdrawal"
when = "usd_value > 10_000 and asset is USDT"
unless = "address.verified"
deny = true
[[rule]]
id = "network"
on = "withdrawal"
when = "network is TRC20 or asset is BTC"
deny = true
shadow = true
[[rule]]
id = "other"
on = "transfer"
when = "geo.speed_kmh > 900"
deny = true
"#;
        let mut faults = Vec::new();
        let policy = crate::policy::load(&Source::new("p", text), &[], &[], &mut faults).unwrap();
        let staged = |usd: &str, network: Option<&str>| {
            let mut fields = Fields::default();
            fields.set("asset", FieldValue::Text("USDT".into()));
            if let Some(network) = network {
                fields.set("network", FieldValue::Text(network.into()));
            }
            let mut staged = Staged::new("withdrawal", fields, History::default());
            staged.set("usd_value", usd, &Vocabulary::new(&[])).unwrap();
            staged.settle();
            staged
        };
        let (one, two) = (staged("12000.50", None), staged("unreadable", Some("absent")));
        let told = |elements: &[Facts<'_>]| {
            let seen = policy.facts_seen(elements);
            seen.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let first = "address.verified=absent asset=USDT network=absent";
        assert_eq!(told(&[one.facts()]), format!("{first} usd_value=12000.5"));
        assert_eq!(
            told(&[one.facts(), one.facts(), two.facts()]),
            format!("{first} network[2]=\"absent\" usd_value=12000.5 usd_value[2]=unreadable"),
        );
    }
}
