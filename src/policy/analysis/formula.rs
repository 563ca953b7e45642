//! A rule's two conditions as one formula: what must hold for the rule to speak.
//!
//! Never changes what was written: its parts are those of the text, in their order, so that each can be found there
//! again. Invariant: subjects (a fact, or a sum of facts) have the same number in all formulas of one `Subjects`.

use std::collections::HashMap;

use super::super::rule::Rule;
use super::super::table::FactRef;
use super::super::truth::{Atom, Expr};

/// Numbers for what comparisons look at.
#[derive(Default)]
pub struct Subjects(HashMap<String, usize>);

impl Subjects {
    fn number(&mut self, facts: &[FactRef]) -> usize {
        let mut names: Vec<&str> = facts.iter().map(|fact| &*fact.name).collect();
        names.sort_unstable();
        let next = self.0.len();
        *self.0.entry(names.join("+")).or_insert(next)
    }
}

/// An expression whose comparisons are told apart by number.
#[derive(Debug)]
pub enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    /// An index into the formula's atoms.
    Atom(usize),
}

impl Node {
    /// The parts, and whether all of them are needed for the whole to come out as wanted. `None` for others than
    /// `and` and `or`.
    pub fn parts(&self, want: bool) -> Option<(&[Node], bool)> {
        match self {
            Self::All(parts) => Some((parts, want)),
            Self::Any(parts) => Some((parts, !want)),
            _ => None,
        }
    }
}

/// One comparison of a formula.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'p> {
    pub subject: usize,
    pub atom: &'p Atom,
}

/// `when` and not `unless`.
#[derive(Debug)]
pub struct Formula<'p> {
    pub when: Node,
    pub unless: Option<Node>,
    pub atoms: Vec<Compared<'p>>,
    /// What is unknown speaks neither for it nor against its exception.
    pub allows: bool,
}

impl<'p> Formula<'p> {
    pub fn of(rule: &'p Rule, subjects: &mut Subjects) -> Self {
        let mut atoms = Vec::new();
        let when = node(rule.when.expr(), subjects, &mut atoms);
        let unless = rule.unless.as_ref().map(|it| node(it.expr(), subjects, &mut atoms));
        Self { when, unless, atoms, allows: rule.say.allows() }
    }

    /// One bit for each subject, as far as bits go: two formulas with nothing in common have no bit in common.
    pub fn mask(&self) -> u64 {
        self.atoms.iter().fold(0, |mask, compared| mask | bit(compared.subject))
    }

    /// The same for each part that must hold.
    pub fn needed_masks(&self) -> Vec<u64> {
        let mut masks = Vec::new();
        self.needed(&self.when, true, &mut masks);
        self.unless.iter().for_each(|unless| self.needed(unless, false, &mut masks));
        masks
    }

    fn needed(&self, node: &Node, want: bool, masks: &mut Vec<u64>) {
        match (node, node.parts(want)) {
            (Node::Not(inner), _) => self.needed(inner, !want, masks),
            (_, Some((parts, true))) => {
                parts.iter().for_each(|part| self.needed(part, want, masks));
            }
            _ => masks.push(self.mask_of(node)),
        }
    }

    fn mask_of(&self, node: &Node) -> u64 {
        match node {
            Node::Any(parts) | Node::All(parts) => {
                parts.iter().fold(0, |mask, part| mask | self.mask_of(part))
            }
            Node::Not(inner) => self.mask_of(inner),
            Node::Atom(at) => self.atoms.get(*at).map_or(0, |compared| bit(compared.subject)),
        }
    }
}

fn bit(subject: usize) -> u64 {
    1 << (subject % 64)
}

fn node<'p>(expr: &'p Expr, subjects: &mut Subjects, atoms: &mut Vec<Compared<'p>>) -> Node {
    match expr {
        Expr::Any(parts) => {
            Node::Any(parts.iter().map(|part| node(part, subjects, atoms)).collect())
        }
        Expr::All(parts) => {
            Node::All(parts.iter().map(|part| node(part, subjects, atoms)).collect())
        }
        Expr::Not(inner) => Node::Not(Box::new(node(inner, subjects, atoms))),
        Expr::Atom(atom) => {
            atoms.push(Compared { subject: subjects.number(&atom.facts), atom });
            Node::Atom(atoms.len() - 1)
        }
    }
}
