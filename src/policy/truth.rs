//! Compiled conditions and their three-valued truth.
//!
//! Never decides what an unknown means: rules do. Invariant: evaluation allocates nothing, and an
//! atom is unknown exactly when a fact that it needs is unreadable (strong Kleene logic above
//! that).

use std::cell::OnceCell;
use std::sync::Arc;

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

/// The facts of one decision. Each is read (parsed, measured, added up) once, however many rules look at it.
pub struct Reading<'f, 'a> {
    pub facts: &'f Facts<'a>,
    kept: [OnceCell<Left<'f>>; KEPT_MAX],
}

/// The left side of a comparison.
struct Left<'f> {
    state: Fact<Value<'f>>,
    /// Nearly the same; not a number if it has no measure.
    near: f64,
}

impl<'f, 'a> Reading<'f, 'a> {
    pub fn new(facts: &'f Facts<'a>) -> Self {
        // Made one by one: that they are empty is all that has to be written.
        Self { facts, kept: std::array::from_fn(|_| OnceCell::new()) }
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

/// One comparison. Small, and what is seldom looked at lies elsewhere: a thousand of them are walked through at once.
#[derive(Clone, Debug)]
pub struct Atom {
    /// One fact, or several numbers to be added.
    pub facts: Box<[FactRef]>,
    pub test: Box<Test>,
    /// Under which number a reading keeps the left side; beyond those that it has nothing is kept.
    slot: usize,
    near: Near,
}

/// What a test comes to where the left side is far from what it is compared with.
#[derive(Clone, Copy, Debug)]
enum Near {
    Below(f64),
    Above(f64),
    At(f64),
    /// There is no measure.
    Nowhere,
}

/// Left sides that a reading keeps: more than there are facts in any policy that we have seen.
const KEPT_MAX: usize = 24;
/// What `near` may be wrong by, as a part of the number; ten thousand times what it is.
const NEAR: f64 = 1e-9;

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
    pub fn truth(&self, reading: &Reading<'_, '_>) -> Truth {
        match self {
            Self::Any(parts) => first_or(parts, reading, Truth::True, Truth::False),
            Self::All(parts) => first_or(parts, reading, Truth::False, Truth::True),
            Self::Not(inner) => match inner.truth(reading) {
                Truth::True => Truth::False,
                Truth::Unknown => Truth::Unknown,
                Truth::False => Truth::True,
            },
            Self::Atom(atom) => atom.truth(reading),
        }
    }

    /// Gives each left side a number, the same wherever it occurs.
    pub fn number(&mut self, known: &mut Vec<Vec<Arc<str>>>) {
        match self {
            Self::Any(parts) | Self::All(parts) => {
                parts.iter_mut().for_each(|part| part.number(known));
            }
            Self::Not(inner) => inner.number(known),
            Self::Atom(atom) => atom.number(known),
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

    /// When the latest of what it calls young came to be: the address was added, the factor changed. Something of no age
    /// at all was never there before, and has no beginning.
    pub fn came_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().filter_map(|part| part.came_at(facts)).max()
            }
            Self::Not(_) => None,
            Self::Atom(atom) => atom.came_at(facts),
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
fn first_or(parts: &[Expr], reading: &Reading<'_, '_>, decisive: Truth, otherwise: Truth) -> Truth {
    let mut so_far = otherwise;
    for part in parts {
        match part.truth(reading) {
            truth if truth == decisive => return decisive,
            Truth::Unknown => so_far = Truth::Unknown,
            _ => {}
        }
    }
    so_far
}

impl Near {
    fn of(test: &Test) -> Self {
        match test {
            Test::Order(Op::Less | Op::LessOrEqual, limit) => {
                measure(limit).map_or(Self::Nowhere, Self::Below)
            }
            Test::Order(Op::Greater | Op::GreaterOrEqual, limit) => {
                measure(limit).map_or(Self::Nowhere, Self::Above)
            }
            Test::Is(value) => measure(value).map_or(Self::Nowhere, Self::At),
            _ => Self::Nowhere,
        }
    }

    /// What the test comes to, if it is enough to know nearly what the left side is: exact numbers are long.
    fn tell(self, left: f64) -> Option<bool> {
        let (limit, above, below) = match self {
            Self::Below(limit) => (limit, false, true),
            Self::Above(limit) => (limit, true, false),
            Self::At(limit) => (limit, false, false),
            Self::Nowhere => return None,
        };
        let apart = left - limit;
        let far = apart.abs() > NEAR * (left.abs() + limit.abs());
        far.then_some(if apart > 0.0 { above } else { below })
    }
}

fn measure(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Number(number) => Some(number.to_f64()),
        Literal::Duration(ms) => Some(*ms as f64),
        Literal::TimeOfDay(ms) => Some(f64::from(*ms)),
        Literal::Flag(flag) => Some(f64::from(u8::from(*flag))),
        Literal::Network(_) | Literal::Word(_) | Literal::Text(_) => None,
    }
}

impl<'f> Left<'f> {
    fn new(state: Fact<Value<'f>>) -> Self {
        let near = match &state {
            Fact::Known(Value::Number(number)) => number.to_f64(),
            Fact::Known(Value::Duration(ms)) => *ms as f64,
            Fact::Known(Value::TimeOfDay(ms)) => f64::from(*ms),
            Fact::Known(Value::Flag(flag)) => f64::from(u8::from(*flag)),
            Fact::Known(Value::Address(_) | Value::Text(_)) | Fact::Absent | Fact::Unreadable => {
                f64::NAN
            }
        };
        Self { state, near }
    }
}

impl Atom {
    pub fn new(facts: Vec<FactRef>, test: Test) -> Self {
        let near = Near::of(&test);
        Self { facts: facts.into(), test: Box::new(test), slot: usize::MAX, near }
    }

    fn number(&mut self, known: &mut Vec<Vec<Arc<str>>>) {
        let is_it = |names: &Vec<Arc<str>>| names.iter().eq(self.facts.iter().map(|it| &it.name));
        let at = known.iter().position(is_it);
        self.slot = at.unwrap_or(known.len());
        if at.is_none() && known.len() < KEPT_MAX {
            known.push(self.facts.iter().map(|fact| fact.name.clone()).collect());
        }
    }

    fn truth(&self, reading: &Reading<'_, '_>) -> Truth {
        let Some(kept) = reading.kept.get(self.slot) else {
            return self.truth_of(&self.left(reading.facts));
        };
        let left = kept.get_or_init(|| Left::new(self.left(reading.facts)));
        match self.near.tell(left.near) {
            Some(holds) => Truth::of(holds),
            None => self.truth_of(&left.state),
        }
    }

    fn truth_of(&self, left: &Fact<Value<'_>>) -> Truth {
        match left {
            Fact::Unreadable => Truth::Unknown,
            // Nothing is like what is not there: only "is not" holds of it.
            Fact::Absent => Truth::of(matches!(*self.test, Test::IsNot(_))),
            Fact::Known(value) => Truth::of(self.test.holds(value)),
        }
    }

    /// The fact, or the sum. In a sum what is absent adds nothing; a sum of nothing is absent.
    fn left<'f>(&self, facts: &'f Facts<'_>) -> Fact<Value<'f>> {
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

    fn came_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        self.clears_at(facts)?;
        let age = self.facts.first()?;
        // A destination is known from the payment on that its hold was for; one added anew begins its hold in the store.
        if age.name.starts_with("address.") {
            return None;
        }
        match age.read(facts) {
            Fact::Known(Value::Duration(age @ 1..)) => {
                Some(UnixMs(facts.now.0.saturating_sub_unsigned(age)))
            }
            _ => None,
        }
    }

    fn clears_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        let [age] = &*self.facts else { return None };
        let Test::Order(op, Literal::Duration(limit)) = &*self.test else { return None };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::history::History;
    use super::super::staged::Staged;
    use super::super::vocabulary::Vocabulary;
    use super::*;
    use crate::types::Fields;

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "0|[1-9][0-9]{0,30}",
            "(0|[1-9][0-9]{0,20})\\.[0-9]{1,30}",
            "99999999999999999\\.[09]{1,3}",
        ]
    }

    proptest! {
        #[test]
        fn what_is_decided_by_nearly_the_number_is_decided_by_the_number(
            value in number(), limit in number(), same in any::<bool>(),
        ) {
            let vocabulary = Vocabulary::new(&[]);
            let limit = if same { value.clone() } else { limit };
            let mut staged = Staged::new("order", Fields::default(), History::default());
            staged.set("usd_value", &value, &vocabulary).unwrap();
            let fact = FactRef::find("usd_value", &vocabulary).unwrap();
            let literal = Literal::parse(&fact, &limit, false, &vocabulary).unwrap();
            for op in [Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual] {
                let mut atom = Atom::new(vec![fact.clone()], Test::Order(op, literal.clone()));
                let facts = staged.facts();
                let exact = atom.truth(&Reading::new(&facts));
                atom.number(&mut Vec::new());
                prop_assert_eq!(atom.slot, 0);
                prop_assert_eq!(atom.truth(&Reading::new(&facts)), exact);
            }
        }
    }
}
