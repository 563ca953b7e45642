//! What a client can do to one request so that two servers read it differently. Each mutator is one trick with its
//! variants; compositions apply several.

mod body;
mod fields;
mod framing;
mod line;
mod pairs;
mod path;

use crate::draft::{BASES, Base, Draft};
use crate::roll::Roll;

pub type Apply = fn(&mut Draft, &mut Roll);
/// A trick's name and what it does.
pub type Mutator = (&'static str, Apply);

/// In the order in which they are applied: the bytes of a body exist only after its parameters, and are framed last.
pub const GROUPS: [(&str, &[Mutator]); 6] = [
    ("path", path::ALL),
    ("line", line::ALL),
    ("fields", fields::ALL),
    ("pairs", pairs::ALL),
    ("body", body::ALL),
    ("framing", framing::ALL),
];

/// One mutation: which, and the seed of its choices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub group: usize,
    pub mutator: usize,
    pub roll: u64,
}

/// An action and what is done to it.
#[derive(Clone)]
pub struct Composition {
    pub base: usize,
    pub steps: Vec<Step>,
    /// Where the bytes are cut in two writes, as a share of 256.
    pub cut: Option<u8>,
}

impl Composition {
    /// Up to four mutations; few have none, and must then be asked for a code.
    pub fn draw(roll: &mut Roll) -> Self {
        let base = roll.below(BASES.len());
        let count = roll.pick(&[0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4]);
        let mut steps: Vec<Step> = (0..count)
            .map(|_| {
                let group = roll.below(GROUPS.len());
                Step { group, mutator: roll.below(GROUPS[group].1.len()), roll: roll.next() }
            })
            .collect();
        steps.sort();
        let cut = (roll.below(4) == 0).then(|| roll.next() as u8);
        Self { base, steps, cut }
    }

    pub fn bytes(&self, token: &str, case: &str) -> Vec<u8> {
        let base: Base = BASES[self.base];
        let mut draft = Draft::new(base, token, case);
        for step in &self.steps {
            let (_, apply) = GROUPS[step.group].1[step.mutator];
            apply(&mut draft, &mut Roll::new(step.roll));
        }
        draft.bytes()
    }

    /// Whether nothing is done to the action.
    pub fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    /// The same without each one of its steps.
    pub fn smaller(&self) -> impl Iterator<Item = Self> + '_ {
        let steps = (0..self.steps.len()).map(|at| {
            let mut smaller = self.clone();
            smaller.steps.remove(at);
            smaller
        });
        let whole = self.cut.map(|_| Self { cut: None, ..self.clone() });
        whole.into_iter().chain(steps)
    }
}

impl std::fmt::Display for Composition {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Base(method, path, _) = BASES[self.base];
        write!(out, "{method} {path}")?;
        for step in &self.steps {
            let (group, mutators) = GROUPS[step.group];
            write!(out, " + {group}.{}({:x})", mutators[step.mutator].0, step.roll)?;
        }
        match self.cut {
            Some(cut) => write!(out, " in two writes, cut at {cut}/256"),
            None => Ok(()),
        }
    }
}
