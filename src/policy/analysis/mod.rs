//! What can be said of rules before any request is seen: that one never speaks, that another says the same or more,
//! that a part of a condition adds nothing.
//!
//! Never a guess: only what holds for all facts is said, and where that would take too long nothing is. Invariant:
//! nothing here has a part in a decision.
//!
//! `formula` (a rule's conditions) → `cells` (what a fact can be, as far as conditions tell it apart) → `worlds` (the
//! search for facts) → `silent`, `idle`, `spare` (what is found), `words` (and how it is told).

mod cells;
mod factors;
mod formula;
mod idle;
mod setting;
mod silent;
mod spare;
#[cfg(test)]
mod tests;
mod words;
mod worlds;

use super::rule::Rule;
use super::vocabulary::Vocabulary;
use crate::fault::{Fault, Source};
use worlds::Means;

pub(super) use factors::never_given;
pub use setting::Setting;

/// Rules that never speak, whatever the facts, as long as these can be read.
pub(super) fn never_speaks(file: &Source, rules: &[Rule]) -> Vec<Fault> {
    let means = Means::default();
    rules.iter().filter_map(|rule| silent::fault(file, rule, &means)).collect()
}

/// What works and may not be as meant, in the order of the file.
pub(super) fn doubts(
    file: &Source,
    rules: &[Rule],
    vocabulary: &Vocabulary,
    setting: &Setting<'_>,
) -> Vec<Fault> {
    let means = Means::default();
    let idle = rules.iter().flat_map(|rule| idle::doubts(file, rule, &means));
    let mut doubts: Vec<Fault> = idle.collect();
    doubts.extend(spare::doubts(file, rules, &Means::default()));
    doubts.extend(rules.iter().flat_map(|rule| setting::doubts(file, rule, vocabulary, setting)));
    doubts.sort_by_key(|doubt| doubt.span.start);
    doubts
}
