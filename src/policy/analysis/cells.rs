//! What one subject can be, cut into cells within which no comparison at hand can tell two values apart.
//!
//! Never decides a comparison itself: each cell has a value in it, and the comparison is asked about that one.
//! Invariant: every state of the subject lies in some cell. A cell may stand for nothing that exists; then less is
//! found, and never too much.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::super::facts::Decimal;
use super::super::glob::Glob;
use super::super::literal::Literal;
use super::super::number;
use super::super::rule::Pattern;
use super::super::table::{FACTS, FactRef, Kind, Value};
use super::super::truth::{Atom, Test};

/// A set of cells.
pub type Set = u128;
/// The state of a subject that is not there.
pub const ABSENT: Set = 1 << 126;
/// The state of a subject that cannot be read.
pub const UNREADABLE: Set = 1 << 127;
const CELLS_MAX: usize = 126;
/// Patterns of one subject that are told apart; each doubles the cells.
const GLOBS_MAX: usize = 4;

/// A value of a cell.
#[derive(Clone, Debug)]
pub enum Example<'p> {
    Value(Value<'p>),
    /// Some text that no literal names, and the patterns that it fits.
    Other(Vec<&'p Glob>),
}

impl Example<'_> {
    /// Whether all values of the cell pass the test.
    pub fn passes(&self, test: &Test) -> bool {
        match (self, test) {
            (Self::Value(value), _) => test.holds(value),
            (Self::Other(fits), Test::Matches(glob)) => glob.matches_all() || fits.contains(&glob),
            (Self::Other(_), Test::IsNot(_)) => true,
            (Self::Other(_), _) => false,
        }
    }
}

/// All states of one subject.
#[derive(Debug)]
pub struct Cells<'p> {
    pub examples: Vec<Example<'p>>,
    /// Every state, absent and unreadable among them if they can be.
    pub every: Set,
}

impl<'p> Cells<'p> {
    /// Cuts what `atoms`, all about one subject, can tell apart. `on`: the actions that are meant. `None`: too much.
    pub fn cut(atoms: &[&'p Atom], on: &[Pattern]) -> Option<Self> {
        let first = atoms.first()?;
        let fact = first.facts.first()?;
        let tests: Vec<&'p Test> = atoms.iter().map(|atom| &*atom.test).collect();
        let examples = examples(fact, &tests, on)?;
        let known = 1_u128.checked_shl(u32::try_from(examples.len()).ok()?)?.checked_sub(1)?;
        let gone = if is_always_known(&first.facts) { 0 } else { ABSENT | UNREADABLE };
        (examples.len() <= CELLS_MAX).then_some(Self { examples, every: known | gone })
    }

    /// The states in which the test is true.
    pub fn truth(&self, test: &Test) -> Set {
        let absent = if is_true_of_absent(test) { ABSENT } else { 0 };
        let known = self.examples.iter().enumerate().filter(|(_, example)| example.passes(test));
        known.fold(absent & self.every, |set, (at, _)| set | 1 << at)
    }

    /// The states that have a value.
    pub fn known(&self) -> Set {
        self.every & !(ABSENT | UNREADABLE)
    }
}

/// Nothing is like what is not there.
pub fn is_true_of_absent(test: &Test) -> bool {
    matches!(test, Test::IsNot(_))
}

/// Facts that the table says are never absent and never unreadable.
pub fn is_always_known(facts: &[FactRef]) -> bool {
    let [fact] = facts else { return false };
    FACTS.iter().any(|spec| spec.name == &*fact.name && spec.is_always_known())
}

fn examples<'p>(fact: &FactRef, tests: &[&'p Test], on: &[Pattern]) -> Option<Vec<Example<'p>>> {
    let mut literals = Vec::new();
    for test in tests {
        match test {
            Test::Order(_, literal) | Test::Is(literal) | Test::IsNot(literal) => {
                literals.push(literal);
            }
            Test::In(many) => literals.extend(many),
            Test::Between(low, high) => literals.extend([low, high]),
            Test::Matches(_) => {}
        }
    }
    if literals.len() > 2 * CELLS_MAX {
        return None;
    }
    Some(match fact.kind {
        Kind::Flag => values([Value::Flag(false), Value::Flag(true)]),
        Kind::Number => numbers(&literals),
        Kind::Duration => values(steps(&literals).map(Value::Duration)),
        Kind::TimeOfDay => {
            let steps = steps(&literals).filter(|ms| *ms < DAY_MS);
            values(steps.filter_map(|ms| u32::try_from(ms).ok()).map(Value::TimeOfDay))
        }
        Kind::Network => networks(&literals),
        Kind::Word(list) => values(list.iter().map(|word| Value::Text(word))),
        Kind::Action => actions(&literals, on),
        Kind::Wallet | Kind::Country | Kind::Name | Kind::Exact | Kind::Free => {
            texts(&literals, tests)?
        }
    })
}

fn values<'p>(values: impl IntoIterator<Item = Value<'p>>) -> Vec<Example<'p>> {
    values.into_iter().map(Example::Value).collect()
}

/// Each literal, one number between each two of them, one above, and one below if there is any: none is negative.
fn numbers<'p>(literals: &[&'p Literal]) -> Vec<Example<'p>> {
    let number = |literal: &&Literal| match literal {
        Literal::Number(number) => Some(*number),
        _ => None,
    };
    let mut cuts: Vec<Decimal> = literals.iter().filter_map(number).collect();
    cuts.push(Decimal::ZERO);
    cuts.sort_by(number::compare);
    cuts.dedup_by(|left, right| number::compare(left, right).is_eq());
    let above = cuts.last().map(|last| number::add(*last, Decimal::ONE));
    let between = cuts.windows(2).filter_map(|pair| match pair {
        [low, high] => Some(number::middle(*low, *high)),
        _ => None,
    });
    let mut all: Vec<Decimal> = between.chain(above).collect();
    all.extend(cuts);
    values(all.into_iter().map(Value::Number))
}

/// The same for whole milliseconds.
fn steps(literals: &[&Literal]) -> impl Iterator<Item = u64> {
    let ms = |literal: &&Literal| match literal {
        Literal::Duration(ms) => Some(*ms),
        Literal::TimeOfDay(ms) => Some(u64::from(*ms)),
        _ => None,
    };
    let mut cuts: Vec<u64> = literals.iter().filter_map(ms).chain([0]).collect();
    // The number after a cut is a cut or lies in the cell above it.
    cuts.extend(cuts.clone().into_iter().map(|cut| cut.saturating_add(1)));
    cuts.sort_unstable();
    cuts.dedup();
    cuts.into_iter()
}

/// The first address of what is in the same networks is the first one of a network, or follows the last one of
/// another: these are all that are needed.
fn networks<'p>(literals: &[&'p Literal]) -> Vec<Example<'p>> {
    let network = |literal: &&Literal| match literal {
        Literal::Network(network) => Some(*network),
        _ => None,
    };
    let networks: Vec<IpNet> = literals.iter().filter_map(network).collect();
    let firsts = networks.iter().map(IpNet::network);
    let nexts = networks.iter().filter_map(|network| after(network.broadcast()));
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let (mut seen, mut examples) = (Vec::new(), Vec::new());
    for address in all.into_iter().chain(firsts).chain(nexts) {
        let inside: Vec<bool> = networks.iter().map(|it| it.contains(&address)).collect();
        if !seen.contains(&inside) {
            seen.push(inside);
            examples.push(Example::Value(Value::Address(address)));
        }
    }
    examples
}

fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => IpAddr::V4(u32::from(v4).checked_add(1)?.into()),
        IpAddr::V6(v6) => IpAddr::V6(u128::from(v6).checked_add(1)?.into()),
    })
}

/// The actions that are named, as far as they are meant, and one of the others if others are meant.
fn actions<'p>(literals: &[&'p Literal], on: &[Pattern]) -> Vec<Example<'p>> {
    let mut examples = named(literals);
    examples.retain(|text| on.iter().any(|pattern| pattern.covers(text)));
    let is_other = |pattern: &Pattern| match pattern {
        Pattern::Exact(action) => !examples.contains(&&**action),
        Pattern::Every | Pattern::Prefix(_) => true,
    };
    let other = on.iter().any(is_other).then(|| Example::Other(Vec::new()));
    let mut examples = values(examples.into_iter().map(Value::Text));
    examples.extend(other);
    examples
}

/// Each literal's text once, without regard to ASCII case where comparisons have none.
fn named<'p>(literals: &[&'p Literal]) -> Vec<&'p str> {
    let mut named: Vec<&'p str> = Vec::new();
    for literal in literals {
        let (text, same): (_, fn(&str, &str) -> bool) = match literal {
            Literal::Word(word) => (&**word, str::eq_ignore_ascii_case),
            Literal::Text(text) => (&**text, |left, right| left == right),
            _ => continue,
        };
        if !named.iter().any(|known| same(known, text)) {
            named.push(text);
        }
    }
    named
}

/// The texts that are named, and all others by the patterns that they fit.
fn texts<'p>(literals: &[&'p Literal], tests: &[&'p Test]) -> Option<Vec<Example<'p>>> {
    let mut globs: Vec<&'p Glob> = Vec::new();
    for test in tests {
        if let Test::Matches(glob) = test
            && !glob.matches_all()
            && !globs.contains(&glob)
        {
            globs.push(glob);
        }
    }
    if globs.len() > GLOBS_MAX {
        return None;
    }
    let mut examples = values(named(literals).into_iter().map(Value::Text));
    for choice in 0..1_usize << globs.len() {
        let fits = globs.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
        examples.push(Example::Other(fits.map(|(_, glob)| *glob).collect()));
    }
    Some(examples)
}

const DAY_MS: u64 = 86_400_000;
