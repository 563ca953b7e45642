//! From rules that match to one decision: the strictest outcome of all elements and all rules wins.
//!
//! Never asks anything of the world. Invariant: freeze > deny > hold > require > allow; a shadow
//! rule leaves its trace in `said` and nowhere else; nothing is allocated while nothing matches.

use std::sync::Arc;

use super::PolicySet;
use super::facts::Facts;
use super::rule::{Outcome, Rule, Say};
use super::truth::Reading;
use super::verdict::{Decision, FactorExpr, Permit, Requirement, Said, Term, Valid, Verdict};
use crate::types::{RuleId, UnixMs};

impl PolicySet {
    /// Decides one request. `elements` are the facts of each element of a batch, or of the one
    /// action.
    ///
    /// No element at all is a mistake of the caller and denied: nothing may pass by being about
    /// nothing.
    pub fn decide(&self, elements: &[Facts<'_>]) -> Decision {
        let mut tally = Tally::default();
        for facts in elements {
            let reading = Reading::new(facts);
            for rule in self.rules_about(facts.action) {
                if rule.weigh_in(&reading).matches {
                    tally.hear(rule, facts);
                }
            }
        }
        if elements.is_empty() {
            tally.deny = Some(None);
        }
        let Tally { said, freeze, deny, hold, terms } = tally;
        let verdict = match (freeze, deny, hold) {
            (Some(why), _, _) => Verdict::Freeze { why },
            (None, Some(why), _) => Verdict::Deny { why },
            (None, None, Some(Hold { until, why, starts })) => Verdict::Hold { until, why, starts },
            (None, None, None) if !terms.is_empty() => Verdict::Require(Requirement { terms }),
            (None, None, None) => Verdict::Allow(Permit { _made_by_policy: () }),
        };
        Decision { verdict, said, version: self.version().clone() }
    }
}

/// The first reason that a rule gave for an outcome, once some rule spoke for it.
type Why = Option<Option<Arc<str>>>;

/// What was said so far.
#[derive(Default)]
struct Tally {
    said: Vec<Said>,
    freeze: Why,
    deny: Why,
    hold: Option<Hold>,
    terms: Vec<Term>,
}

struct Hold {
    until: UnixMs,
    /// Of the rule that holds longest.
    why: Option<Arc<str>>,
    starts: Vec<RuleId>,
}

impl Tally {
    fn hear(&mut self, rule: &Rule, facts: &Facts<'_>) {
        let satisfied = match &rule.say {
            Say::Shadow(_) => false,
            Say::Aloud(outcome) => self.apply(rule, outcome, facts),
        };
        match self.said.iter_mut().find(|said| said.rule == rule.id) {
            // One element that is not satisfied outweighs those that are.
            Some(said) => said.satisfied &= satisfied,
            None => self.said.push(Said {
                rule: rule.id.clone(),
                outcome: rule.say.word(),
                shadow: rule.say.is_shadow(),
                satisfied,
            }),
        }
    }

    /// Adds the outcome, unless it is already satisfied; answers whether it is.
    fn apply(&mut self, rule: &Rule, outcome: &Outcome, facts: &Facts<'_>) -> bool {
        match outcome {
            Outcome::Allow => {}
            Outcome::Freeze => reason(&mut self.freeze, rule),
            Outcome::Deny => reason(&mut self.deny, rule),
            Outcome::Hold { ms } => match holds_until(rule, *ms, facts) {
                Some(until) => self.hold(rule, (*ms, until), facts),
                None => return true,
            },
            Outcome::Require { factors, valid } => {
                if valid.is_some() && rule.elevated(factors, facts) {
                    return true;
                }
                self.require(rule, factors, *valid);
            }
        }
        false
    }

    fn require(&mut self, rule: &Rule, factors: &FactorExpr, valid: Option<Valid>) {
        if self.terms.iter().any(|term| term.rule == rule.id) {
            return;
        }
        self.terms.push(Term {
            rule: rule.id.clone(),
            factors: factors.clone(),
            valid,
            geographic: rule.geographic,
            notify: rule.notify,
            why: rule.why.clone(),
        });
    }

    fn hold(&mut self, rule: &Rule, (ms, until): (u64, UnixMs), facts: &Facts<'_>) {
        let why = || rule.why.clone();
        let hold = self.hold.get_or_insert_with(|| Hold { until, why: why(), starts: Vec::new() });
        if until > hold.until {
            hold.until = until;
            hold.why = why();
        }
        if rule.held_since(ms, facts).is_none() && !hold.starts.contains(&rule.id) {
            hold.starts.push(rule.id.clone());
        }
    }
}

fn reason(slot: &mut Why, rule: &Rule) {
    let why = slot.get_or_insert(None);
    if why.is_none() {
        why.clone_from(&rule.why);
    }
}

/// When the hold ends: after its time, or when the condition clears by itself if that is sooner.
/// `None` if it has been served.
pub(super) fn holds_until(rule: &Rule, ms: u64, facts: &Facts<'_>) -> Option<UnixMs> {
    let since = rule.held_since(ms, facts).unwrap_or(facts.now);
    let until = since.plus_ms(ms);
    if facts.now >= until {
        return None;
    }
    Some(rule.when.clears_at(facts).map_or(until, |clears| until.min(clears)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::history::History;
    use super::super::staged::Staged;
    use super::*;
    use crate::fault::{Fault, Source};
    use crate::types::{FieldValue, Fields};

    fn load(rules: &str) -> PolicySet {
        load_text(&format!("version = 1\n{rules}"))
    }

    fn load_text(text: &str) -> PolicySet {
        let mut faults = Vec::new();
        let policy = super::super::load(&Source::new("test", text), &[], &[], &mut faults);
        policy.unwrap_or_else(|| {
            panic!("{}", faults.iter().map(Fault::render).collect::<String>());
        })
    }

    fn shipped() -> PolicySet {
        load_text(include_str!("../../policies/exchange.policy.toml"))
    }

    fn at_home(action: &str) -> Staged {
        let mut staged = Staged::new(action, Fields::default(), History::default());
        staged.settle();
        staged
    }

    #[test]
    fn nothing_passes_by_being_about_nothing() {
        let decision = load("").decide(&[]);
        assert!(matches!(decision.verdict, Verdict::Deny { why: None }));
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let decision = load("").decide(&[at_home("withdrawal").facts()]);
        assert!(matches!(decision.verdict, Verdict::Allow(_)));
    }

    #[test]
    fn rules_of_other_actions_are_not_looked_at() {
        let one = "[[rule]]\nid = \"mine\"\non = \"withdrawal\"\nrequire = \"totp\"\n";
        let others: String = (0..1000)
            .map(|n| format!("[[rule]]\nid = \"o{n}\"\non = \"order\"\ndeny = true\n"))
            .collect();
        let policy = load(&format!("{one}{others}"));
        assert_eq!(policy.rules_about("withdrawal").count(), 1);
        assert_eq!(policy.rules_about("ordinary").count(), 0);
        assert_eq!(policy.rules_about("order").count(), 1000);
        assert_eq!(policy.decide(&[at_home("withdrawal").facts()]).verdict.word(), "require");
    }

    #[test]
    fn an_action_is_read_if_some_rule_names_it_or_counts_it() {
        let read = |rules: &str| load(rules).names(&crate::types::ActionName::new("order"));
        let rule = |on: &str, when: &str| {
            format!("[[rule]]\nid = \"r\"\non = \"{on}\"\nwhen = \"{when}\"\nrequire = \"totp\"\n")
        };
        assert!(read(&rule("order", "geo.new_country")));
        assert!(!read(&rule("*", "geo.new_country")));
        assert!(!read(&rule("withdrawal", "counters.transfer.count_1h > 5")));
        // What is not read is not counted.
        assert!(read(&rule("withdrawal", "counters.order.count_1h > 500")));
    }

    #[test]
    fn quiet_traffic_allocates_nothing_for_what_is_said() {
        let decision = shipped().decide(&[at_home("ordinary").facts()]);
        assert!(matches!(decision.verdict, Verdict::Allow(_)));
        assert_eq!(decision.said.capacity(), 0);
    }

    #[test]
    fn an_action_that_was_not_listed_still_meets_its_rules() {
        let policy = load(
            "[[rule]]\nid = \"all\"\non = \"*\"\nrequire = \"sms\"\n\
             [[rule]]\nid = \"book\"\non = \"address_book.*\"\ndeny = true",
        );
        assert_eq!(policy.decide(&[at_home("address_book.export").facts()]).verdict.word(), "deny");
        assert_eq!(policy.decide(&[at_home("loan").facts()]).verdict.word(), "require");
    }

    #[test]
    fn an_ipv4_client_in_ipv6_form_is_the_same_client() {
        let policy = load(
            "[[rule]]\nid = \"r\"\non = \"*\"\nunless = \"client.ip is 192.0.2.0/24\"\ndeny = true",
        );
        let staged = at_home("login");
        let client = "::ffff:192.0.2.1".parse().unwrap();
        let facts = Facts { client, ..staged.facts() };
        assert_eq!(policy.decide(&[facts]).verdict.word(), "allow");
    }

    #[test]
    fn a_term_says_what_its_rule_says() {
        let policy = load(
            "[[rule]]\nid = \"geo\"\non = \"login\"\nunless = \"geo.country is DE\"\n\
             require = \"totp\"\nvalid = \"12h\"\nnotify = true\nwhy = \"Far.\"\n\
             [[rule]]\nid = \"plain\"\non = \"login\"\nrequire = \"sms\"",
        );
        let Verdict::Require(requirement) = policy.decide(&[at_home("login").facts()]).verdict
        else {
            panic!("a code is asked for");
        };
        let [geo, plain] = &*requirement.terms else { panic!("two terms") };
        assert!(geo.geographic && geo.notify && geo.why.as_deref() == Some("Far."));
        assert_eq!(geo.valid, Some(Valid::ForMs(43_200_000)));
        assert!(!plain.geographic && !plain.notify && plain.valid.is_none());
    }

    #[test]
    fn a_hold_names_the_rules_that_begin_with_it() {
        let policy = load(
            "[[rule]]\nid = \"runs\"\non = \"order\"\nhold = \"2h\"\nwhy = \"short\"\n\
             [[rule]]\nid = \"new\"\non = \"order\"\nhold = \"3h\"\nwhy = \"long\"",
        );
        let mut staged = at_home("order");
        let since = UnixMs(staged.now.0 - 3_600_000);
        staged.holds.push(crate::policy::facts::HoldRunning { rule: RuleId::new("runs"), since });
        let Verdict::Hold { until, why, starts } = policy.decide(&[staged.facts()]).verdict else {
            panic!("held");
        };
        assert_eq!(until, staged.now.plus_ms(3 * 3_600_000));
        assert_eq!(why.as_deref(), Some("long"));
        assert_eq!(starts, [RuleId::new("new")]);
    }

    #[test]
    fn a_served_hold_serves_for_its_cause_and_as_long_again() {
        let rule = |when: &str, hold: &str| {
            load(&format!("[[rule]]\nid = \"r\"\non = \"order\"\n{when}\nhold = \"{hold}\""))
        };
        let of = |policy: &PolicySet, held_h: u64, name: &str, age: &str| {
            let mut staged = Staged::new("order", Fields::default(), History::default());
            let vocabulary = super::super::vocabulary::Vocabulary::new(&[]);
            staged.set(name, age, &vocabulary).unwrap();
            staged.settle();
            let since = UnixMs(staged.now.0.saturating_sub_unsigned(held_h * 3_600_000));
            let hold = crate::policy::facts::HoldRunning { rule: RuleId::new("r"), since };
            staged.holds.push(hold);
            policy.decide(&[staged.facts()]).verdict.word()
        };
        let says = |policy: &PolicySet, held_h, age: &str| {
            of(policy, held_h, "account.security_change_age", age)
        };
        let plain = rule("", "30h");
        assert_eq!(says(&plain, 29, "absent"), "hold");
        assert_eq!((says(&plain, 30, "absent"), says(&plain, 59, "absent")), ("allow", "allow"));
        assert_eq!(says(&plain, 60, "absent"), "hold", "it begins anew");
        // A second change, an hour after the hold for the first was served.
        let change = rule("when = \"account.security_change_age < 24h\"", "6h");
        assert_eq!((says(&change, 7, "8h"), says(&change, 7, "1h")), ("allow", "hold"));
        // The payment that was held an hour ago made the destination known: the next one need not wait again.
        let young = rule("when = \"address.age < 24h\"", "24h");
        assert_eq!(of(&young, 25, "address.age", "1h"), "allow");
    }

    /// Who spoke aloud and is not satisfied.
    fn asked(policy: &PolicySet, staged: &Staged) -> BTreeSet<String> {
        let decision = policy.decide(&[staged.facts()]);
        let aloud = decision.said.iter().filter(|said| !said.shadow && !said.satisfied);
        aloud.map(|said| said.rule.to_string()).collect()
    }

    const KNOBS: [(&str, [&str; 3]); 12] = [
        ("geo.country", ["JP", "DE", "JP"]),
        ("usd_value", ["1", "10001", "absent"]),
        ("counters.withdrawal.usd_24h", ["0", "49999.5", "70000"]),
        ("address.age", ["1h", "25h", "90d"]),
        ("address.idle", ["1h", "31d", "30d"]),
        ("address.verified", ["true", "false", "true"]),
        ("account.security_change_age", ["absent", "1h", "2d"]),
        ("geo.speed_kmh", ["0", "901", "absent"]),
        ("geo.distance_km", ["0", "301", "absent"]),
        ("geo.new_asn", ["true", "false", "false"]),
        ("transfer.from", ["contract", "spot", "absent"]),
        ("transfer.to", ["contract", "spot", "absent"]),
    ];

    fn turned(action: &str, turns: &[usize], blind: Option<usize>) -> Staged {
        let vocabulary = super::super::vocabulary::Vocabulary::new(&[]);
        let mut fields = Fields::default();
        fields.set("address", FieldValue::Text("bc1q".into()));
        let mut staged = Staged::new(action, fields, History::default());
        for (at, ((name, values), turn)) in KNOBS.iter().zip(turns).enumerate() {
            let value = if blind == Some(at) { "unreadable" } else { values[*turn] };
            if value != "absent" || !name.starts_with("transfer") {
                staged.set(name, value, &vocabulary).unwrap();
            }
        }
        staged.settle();
        staged
    }

    proptest! {
        #[test]
        fn not_being_able_to_read_a_fact_never_silences_a_rule(
            action in prop_oneof![Just("withdrawal"), Just("transfer"), Just("mass_cancel")],
            turns in proptest::collection::vec(0_usize..3, KNOBS.len()),
            blind in 0..KNOBS.len(),
        ) {
            let policy = shipped();
            let sighted = asked(&policy, &turned(action, &turns, None));
            let blinded = asked(&policy, &turned(action, &turns, Some(blind)));
            prop_assert!(sighted.is_subset(&blinded), "{sighted:?} {blinded:?}");
        }
    }
}
