//! What a policy means, apart from how it is worded: two texts with the same meaning decide every request alike.
//!
//! Never parses it again. Invariant: what is left out of it (`why`, comments, the order of rules, of alternatives and of
//! list items, the spelling of values) can change no verdict, no term, no hold and nobody's being told.

use std::collections::BTreeSet;

use super::PolicySet;
use super::case_expect::every_set;
use super::condition::Condition;
use super::literal::Literal;
use super::number;
use super::rule::{Outcome, Pattern, Rule, Say};
use super::truth::{Atom, Expr, Test};
use super::verdict::FactorExpr;

impl PolicySet {
    /// One line a rule, sorted.
    pub fn meaning(&self) -> BTreeSet<String> {
        self.rules.iter().map(|rule| self.rule(rule)).collect()
    }

    fn rule(&self, rule: &Rule) -> String {
        // Actions that the vocabulary has not are matched against the patterns: they are part of it.
        let on: BTreeSet<String> = match rule.on.contains(&Pattern::Every) {
            true => BTreeSet::from(["*".to_owned()]),
            false => rule.on.iter().map(|pattern| format!("{pattern:?}")).collect(),
        };
        let (when, unless) = (condition(&rule.when), rule.unless.as_ref().map(condition));
        // Of a rule in shadow the record has its name and the word for its outcome, and nothing else comes of it.
        let says = match &rule.say {
            Say::Aloud(outcome) => format!("{} {}", said(outcome), rule.notify),
            Say::Shadow(_) => format!("shadow {}", rule.say.word()),
        };
        let (id, geographic) = (&rule.id, rule.geographic);
        format!("{id} {on:?} {when} {unless:?} {says} {geographic}")
    }
}

fn condition(condition: &Condition) -> String {
    expr(condition.expr())
}

fn expr(it: &Expr) -> String {
    match it {
        Expr::Any(parts) => format!("any{:?}", sorted(parts, expr)),
        Expr::All(parts) => format!("all{:?}", sorted(parts, expr)),
        Expr::Not(inner) => format!("not({})", expr(inner)),
        Expr::Atom(atom) => comparison(atom),
    }
}

/// Order and repetition change neither truth nor the time at which it clears.
fn sorted<T>(parts: &[T], spell: impl Fn(&T) -> String) -> BTreeSet<String> {
    parts.iter().map(spell).collect()
}

fn comparison(atom: &Atom) -> String {
    // A sum has each of its facts as often as it is written.
    let mut facts: Vec<&str> = atom.facts.iter().map(|fact| &*fact.name).collect();
    facts.sort_unstable();
    let test = match &*atom.test {
        Test::Order(op, value) => format!("{} {}", op.sign(), literal(value)),
        Test::Is(value) => format!("is {}", literal(value)),
        Test::IsNot(value) => format!("is not {}", literal(value)),
        Test::In(values) => match &**values {
            [only] => format!("is {}", literal(only)),
            _ => format!("in {:?}", sorted(values, literal)),
        },
        Test::Between(low, high) => format!("between {} {}", literal(low), literal(high)),
        Test::Matches(glob) => format!("matches {glob:?}"),
    };
    format!("({} {test})", facts.join(" + "))
}

fn literal(value: &Literal) -> String {
    match value {
        Literal::Number(value) => number::plain(value),
        Literal::Word(word) => format!("{:?}", word.to_ascii_lowercase()),
        other => format!("{other:?}"),
    }
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Require { factors, valid } => {
            format!("require {:?} {:?} {valid:?}", demand(factors), factors.factors())
        }
        other => format!("{other:?}"),
    }
}

/// Which sets of factors are enough.
fn demand(factors: &FactorExpr) -> Vec<usize> {
    let enough = every_set().enumerate().filter(|(_, proven)| factors.met_by(*proven));
    enough.map(|(at, _)| at).collect()
}
