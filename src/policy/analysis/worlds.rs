//! Whether the facts can be such that some conditions come out as wanted: a search through all that they can be.
//!
//! Never guesses: beyond its means it says so. Invariant: "never" is said only after every state of every subject was
//! ruled out, each subject by itself; that facts depend on one another can only rule out more.

use std::cell::Cell;

use super::super::rule::Pattern;
use super::super::truth::Atom;
use super::cells::{ABSENT, Cells, Example, Set, UNREADABLE};
use super::formula::{Compared, Formula, Node};

/// What one search may cost, in parts looked at.
const STEPS_MAX: u32 = 4_000;

/// What all searches of one policy may cost together.
const ALL_STEPS_MAX: u64 = 3_000_000;

/// How much more may be looked at in one policy.
pub struct Means(Cell<u64>);

impl Default for Means {
    fn default() -> Self {
        Self(Cell::new(ALL_STEPS_MAX))
    }
}

impl Means {
    fn spend(&self, steps: usize) {
        self.0.set(self.0.get().saturating_sub(steps as u64));
    }

    /// What one search may cost.
    fn share(&self) -> u32 {
        u32::try_from(self.0.get()).unwrap_or(u32::MAX).min(STEPS_MAX)
    }
}

/// A part of a condition, and how it must come out.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'n> {
    pub side: Side,
    pub node: &'n Node,
    pub want: bool,
    /// Whether it will do that the part cannot be told.
    pub doubt: bool,
}

/// Of which formula a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    One,
    Other,
}

/// A search's end.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// For each subject the states that are left; any of them will do.
    World(Vec<Set>),
    Never,
    /// There is more to look at than is worth it.
    Unsure,
}

/// The subjects of one or two formulas, cut into cells.
pub struct Worlds<'p> {
    means: &'p Means,
    subjects: Vec<Subject<'p>>,
    /// For each atom of each side its subject and the states that make it true.
    one: Vec<(usize, Set)>,
    other: Vec<(usize, Set)>,
}

struct Subject<'p> {
    number: usize,
    name: Option<&'p str>,
    cells: Cells<'p>,
}

impl<'p> Worlds<'p> {
    /// `on`: the actions that are meant. `None`: the conditions are too large.
    pub fn of(
        one: &Formula<'p>,
        other: Option<&Formula<'p>>,
        on: &[Pattern],
        means: &'p Means,
    ) -> Option<Self> {
        if means.share() == 0 {
            return None;
        }
        let others = other.map_or(&[][..], |other| &other.atoms);
        let mut by_subject: Vec<(usize, Vec<&'p Atom>)> = Vec::new();
        for Compared { subject, atom } in one.atoms.iter().chain(others) {
            match by_subject.iter_mut().find(|(known, _)| known == subject) {
                Some((_, atoms)) => atoms.push(atom),
                None => by_subject.push((*subject, vec![atom])),
            }
        }
        let subject = |(number, atoms): &(usize, Vec<&'p Atom>)| {
            let name = match atoms.first().map(|atom| &*atom.facts) {
                Some([fact]) => Some(&*fact.name),
                _ => None,
            };
            Some(Subject { number: *number, name, cells: Cells::cut(atoms, on)? })
        };
        let subjects: Vec<_> = by_subject.iter().map(subject).collect::<Option<_>>()?;
        let cells = |(subject, atoms): (&Subject<'p>, &(_, Vec<_>))| {
            subject.cells.examples.len() * atoms.1.len()
        };
        means.spend(subjects.iter().zip(&by_subject).map(cells).sum());
        let truth = |compared: &Compared<'p>| {
            let at = subjects.iter().position(|it| it.number == compared.subject)?;
            Some((at, subjects.get(at)?.cells.truth(&compared.atom.test)))
        };
        let one = one.atoms.iter().map(truth).collect::<Option<_>>()?;
        let other = others.iter().map(truth).collect::<Option<_>>()?;
        Some(Self { means, subjects, one, other })
    }

    /// Looks for facts that meet all goals.
    pub fn search(&self, goals: Vec<Goal<'_>>) -> Found {
        let every = self.subjects.iter().map(|subject| subject.cells.every).collect();
        let share = self.means.share();
        let mut search = Search { worlds: self, steps: share };
        let found = search.go(every, goals, Vec::new());
        self.means.spend((share - search.steps) as usize);
        found
    }

    /// An example of each subject's state in a world that was found. `None` where only an unreadable state is left.
    pub fn examples(&self, world: &[Set]) -> Vec<(usize, Option<Option<Example<'p>>>)> {
        let states = self.subjects.iter().zip(world);
        let state = |(subject, set): (&Subject<'p>, &Set)| {
            let at = usize::try_from(set.trailing_zeros()).unwrap_or(usize::MAX);
            let example = match subject.cells.examples.get(at) {
                Some(example) => Some(Some(example.clone())),
                None => (set & ABSENT != 0).then_some(None),
            };
            (subject.number, example)
        };
        states.map(state).collect()
    }

    /// Whether the atom is true of every value, and its subject may be absent.
    pub fn holds_of_every_value(&self, atom: usize) -> bool {
        let Some((at, truth)) = self.one.get(atom) else { return false };
        let Some(Subject { cells, .. }) = self.subjects.get(*at) else { return false };
        truth & cells.known() == cells.known() && cells.every & !truth & ABSENT != 0
    }

    /// The states that make an atom come out as wanted.
    fn states(&self, side: Side, atom: usize, want: bool, doubt: bool) -> Option<(usize, Set)> {
        let side = if side == Side::One { &self.one } else { &self.other };
        let (at, truth) = *side.get(atom)?;
        let every = self.subjects.get(at)?.cells.every;
        let sure = if want { truth } else { every & !truth & !UNREADABLE };
        Some((at, if doubt { sure | every & UNREADABLE } else { sure }))
    }

    /// Whether facts that are read together contradict one another.
    fn is_torn(&self, world: &[Set]) -> bool {
        let states = || self.subjects.iter().zip(world);
        let of = |name: &str| {
            let mut found = states().filter(|(subject, _)| subject.name == Some(name));
            found.next().map(|(_, set)| *set)
        };
        // Their cells are "no" and "yes".
        let has_none = of("account.has_factor") == Some(NO);
        let each = ["account.has_totp", "account.has_sms", "account.has_webauthn"];
        let has_one = each.iter().any(|it| of(it) == Some(YES));
        // An entry of the address book is read as a whole or not at all.
        let address = || states().filter(|(it, _)| it.name.is_some_and(is_of_address));
        let can_be = |state: Set| address().all(|(_, set)| set & state != 0);
        let known = address().all(|(_, set)| set & !(ABSENT | UNREADABLE) != 0);
        has_none && has_one || !(known || can_be(ABSENT) || can_be(UNREADABLE))
    }
}

const NO: Set = 1;
const YES: Set = 2;

fn is_of_address(name: &str) -> bool {
    name.starts_with("address.")
}

struct Search<'w, 'p> {
    worlds: &'w Worlds<'p>,
    steps: u32,
}

impl Search<'_, '_> {
    /// `open` are goals to look at, `choices` those of which one part suffices.
    fn go<'n>(
        &mut self,
        mut world: Vec<Set>,
        mut open: Vec<Goal<'n>>,
        mut choices: Vec<Goal<'n>>,
    ) -> Found {
        while let Some(goal) = open.pop() {
            let Some(left) = self.steps.checked_sub(1) else { return Found::Unsure };
            self.steps = left;
            match (goal.node, goal.node.parts(goal.want)) {
                (_, Some((parts, true))) => {
                    open.extend(parts.iter().map(|node| Goal { node, ..goal }));
                }
                (_, Some((_, false))) => match self.as_one(goal) {
                    Some(states) => {
                        if !narrow(&mut world, states) {
                            return Found::Never;
                        }
                    }
                    None => choices.push(goal),
                },
                (Node::Not(node), _) => open.push(Goal { node, want: !goal.want, ..goal }),
                (Node::Atom(at), _) => {
                    let states = self.worlds.states(goal.side, *at, goal.want, goal.doubt);
                    if !states.is_some_and(|states| narrow(&mut world, states)) {
                        return Found::Never;
                    }
                }
                _ => return Found::Unsure,
            }
        }
        let Some(choice) = choices.pop() else {
            return if self.worlds.is_torn(&world) { Found::Never } else { Found::World(world) };
        };
        let (parts, _) = choice.node.parts(choice.want).unwrap_or_default();
        for node in parts {
            match self.go(world.clone(), vec![Goal { node, ..choice }], choices.clone()) {
                Found::Never => {}
                found => return found,
            }
        }
        Found::Never
    }

    /// A choice among atoms about one subject, as one set of states.
    fn as_one(&self, choice: Goal<'_>) -> Option<(usize, Set)> {
        let (parts, _) = choice.node.parts(choice.want)?;
        let mut all: Option<(usize, Set)> = None;
        for part in parts {
            let (node, want) = match part {
                Node::Not(inner) => (&**inner, !choice.want),
                node => (node, choice.want),
            };
            let Node::Atom(at) = node else { return None };
            let (subject, states) = self.worlds.states(choice.side, *at, want, choice.doubt)?;
            all = match all {
                None => Some((subject, states)),
                Some((known, so_far)) if known == subject => Some((known, so_far | states)),
                Some(_) => return None,
            };
        }
        all
    }
}

/// Leaves these states only; whether any is left.
fn narrow(world: &mut [Set], (subject, states): (usize, Set)) -> bool {
    world.get_mut(subject).is_some_and(|set| {
        *set &= states;
        *set != 0
    })
}
