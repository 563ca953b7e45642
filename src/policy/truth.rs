//! Compiled conditions and their three-valued truth.
//!
//! Never decides what an unknown means: rules do. Invariant: evaluation allocates nothing, and an
//! atom is unknown exactly when a fact that it needs is unreadable (strong Kleene logic above
//! that).

use super::facts::{Fact, Facts};
use super::glob::Glob;
use super::literal::Literal;
use super::number;

use super::table::{FactRef, Value};
use super::tokens::Op;
use crate::types::UnixMs;

/// True, false, or "it depends on something that cannot be read".
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    False,
    Unknown,
    True,
}

impl Truth {
    fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A compiled condition.
#[derive(Clone, Debug)]
pub enum Expr {
    Any(Vec<Expr>),
    /// True when empty.
    All(Vec<Expr>),
    Not(Box<Expr>),
    Atom(Atom),
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Atom {
    /// One fact, or several numbers to be added.
    pub facts: Vec<FactRef>,
    pub test: Test,
}

/// What a fact is tested for.
#[derive(Clone, Debug)]
pub enum Test {
    Order(Op, Literal),
    Is(Literal),
    IsNot(Literal),
    In(Vec<Literal>),
    /// Both ends included.
    Between(Literal, Literal),
    Matches(Glob),
}

impl Expr {
    pub fn truth(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Self::Any(parts) => first_or(parts, facts, Truth::True, Truth::False),
            Self::All(parts) => first_or(parts, facts, Truth::False, Truth::True),
            Self::Not(inner) => match inner.truth(facts) {
                Truth::True => Truth::False,
                Truth::Unknown => Truth::Unknown,
                Truth::False => Truth::True,
            },
            Self::Atom(atom) => atom.truth(facts),
        }
    }

    /// When waiting alone will have made this false for the same request, if that can be told. Only
    /// `age < literal` clears: of several that must all hold the first to clear suffices, of
    /// alternatives the last.
    pub fn clears_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        match self {
            Self::All(parts) => parts.iter().filter_map(|part| part.clears_at(facts)).min(),
            Self::Any(parts) => parts
                .iter()
                .map(|part| part.clears_at(facts))
                .try_fold(facts.now, |latest, at| Some(latest.max(at?))),
            Self::Not(_) => None,
            Self::Atom(atom) => atom.clears_at(facts),
        }
    }

    /// Calls `see` with each fact that the condition mentions, in the order of its text.
    pub fn each_fact<'e>(&'e self, see: &mut impl FnMut(&'e FactRef)) {
        match self {
            Self::Any(parts) | Self::All(parts) => {
                parts.iter().for_each(|part| part.each_fact(see));
            }
            Self::Not(inner) => inner.each_fact(see),
            Self::Atom(atom) => atom.facts.iter().for_each(see),
        }
    }
}

/// `decisive` if any part is, else unknown if any part is, else `otherwise`.
fn first_or(parts: &[Expr], facts: &Facts<'_>, decisive: Truth, otherwise: Truth) -> Truth {
    let mut so_far = otherwise;
    for part in parts {
        match part.truth(facts) {
            truth if truth == decisive => return decisive,
            Truth::Unknown => so_far = Truth::Unknown,
            _ => {}
        }
    }
    so_far
}

impl Atom {
    fn truth(&self, facts: &Facts<'_>) -> Truth {
        match self.left(facts) {
            Fact::Unreadable => Truth::Unknown,
            // Nothing is like what is not there: only "is not" holds of it.
            Fact::Absent => Truth::of(matches!(self.test, Test::IsNot(_))),
            Fact::Known(value) => Truth::of(self.test.holds(&value)),
        }
    }

    /// The fact, or the sum. In a sum what is absent adds nothing; a sum of nothing is absent.
    fn left<'f>(&'f self, facts: &'f Facts<'_>) -> Fact<Value<'f>> {
        if let [only] = &*self.facts {
            return only.read(facts);
        }
        let mut sum = Fact::Absent;
        for fact in &self.facts {
            match (fact.read(facts), sum) {
                (Fact::Known(Value::Number(more)), Fact::Known(Value::Number(so_far))) => {
                    sum = Fact::Known(Value::Number(number::add(so_far, more)));
                }
                (Fact::Known(first @ Value::Number(_)), _) => sum = Fact::Known(first),
                (Fact::Absent, _) => {}
                (Fact::Unreadable | Fact::Known(_), _) => return Fact::Unreadable,
            }
        }
        sum
    }

    fn clears_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        let [age] = &*self.facts else { return None };
        let Test::Order(op, Literal::Duration(limit)) = &self.test else { return None };
        let limit = match op {
            Op::Less => *limit,
            Op::LessOrEqual => limit.saturating_add(1),
            Op::Greater | Op::GreaterOrEqual => return None,
        };
        match age.read(facts) {
            Fact::Known(Value::Duration(age)) => Some(facts.now.plus_ms(limit.saturating_sub(age))),
            _ => None,
        }
    }
}

impl Test {
    pub(super) fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Order(op, literal) => literal.order(value).is_some_and(|order| match op {
                Op::Less => order.is_lt(),
                Op::LessOrEqual => order.is_le(),
                Op::Greater => order.is_gt(),
                Op::GreaterOrEqual => order.is_ge(),
            }),
            Self::Is(literal) => literal.holds(value),
            Self::IsNot(literal) => !literal.holds(value),
            Self::In(literals) => literals.iter().any(|literal| literal.holds(value)),
            Self::Between(low, high) => {
                low.order(value).is_some_and(|order| order.is_ge())
                    && high.order(value).is_some_and(|order| order.is_le())
            }
            Self::Matches(glob) => match value {
                Value::Text(text) => glob.matches(text),
                _ => false,
            },
        }
    }
}
