//! Parts of a rule that change nothing.
//!
//! Never says that a part is wrong: it may be there for a reader. Invariant: a rule speaks of the same requests with a
//! part that "adds nothing" and without it, those whose facts cannot be read among them.

use super::super::rule::{Pattern, Rule};
use super::super::truth::Test;
use super::super::written::Text;
use super::formula::{Formula, Node, Subjects};
use super::words::{doubt, part};
use super::worlds::{Found, Goal, Means, Side, Worlds};
use crate::fault::{Fault, Source};

/// All that is idle in one rule.
pub fn doubts(file: &Source, rule: &Rule, means: &Means) -> Vec<Fault> {
    let mut doubts = repeated(file, rule);
    let formula = Formula::of(rule, &mut Subjects::default());
    let Some(worlds) = Worlds::of(&formula, None, &rule.on, means) else { return doubts };
    let mut look = Look { file, formula: &formula, worlds: &worlds, doubts: &mut doubts };
    if let Some(text) = &rule.place.when {
        look.condition(text, &formula.when, !formula.allows);
    }
    if let (Some(text), Some(unless)) = (&rule.place.unless, &formula.unless) {
        let together = [(&formula.when, true, false), (unless, true, false)];
        if look.never(&together) {
            let message = "this exception never applies: it does not occur with what `when` says";
            look.doubts.push(doubt(file, &part(text, &[]), message.to_owned()));
        } else {
            look.condition(text, unless, formula.allows);
        }
    }
    doubts
}

/// Actions that `on` names more than once.
fn repeated(file: &Source, rule: &Rule) -> Vec<Fault> {
    let covers = |other: &Pattern, pattern: &Pattern| match (other, pattern) {
        (Pattern::Every, _) => true,
        (_, Pattern::Every) => false,
        (_, Pattern::Exact(name) | Pattern::Prefix(name)) => other.covers(name),
    };
    let mut doubts = Vec::new();
    for (at, (pattern, span)) in rule.on.iter().zip(&rule.place.on).enumerate() {
        let mut others = rule.on.iter().enumerate().filter(|(other, _)| *other != at);
        // Of two that are the same the second is too much.
        let spare = others.any(|(other, it)| covers(it, pattern) && (it != pattern || other < at));
        if spare {
            let message = "another item of this list is about that already";
            let help = match rule.on.contains(&Pattern::Every) {
                true => "`*` is about every action",
                false => "leave it out",
            };
            doubts.push(Fault::warning(file, span.clone(), message).help(help));
        }
    }
    doubts
}

struct Look<'l, 'p> {
    file: &'l Source,
    formula: &'l Formula<'p>,
    worlds: &'l Worlds<'p>,
    doubts: &'l mut Vec<Fault>,
}

impl Look<'_, '_> {
    /// Whether parts cannot come out so together: each with what is wanted, and whether doubt will do.
    fn never(&self, wanted: &[(&Node, bool, bool)]) -> bool {
        let goals = wanted.iter().map(|&(node, want, doubt)| {
            let side = Side::One;
            Goal { side, node, want, doubt }
        });
        self.worlds.search(goals.collect()) == Found::Never
    }

    /// `matches "*"` is how one asks whether a text is there.
    fn is_pattern(&self, atom: usize) -> bool {
        let compared = self.formula.atoms.get(atom);
        compared.is_some_and(|compared| matches!(*compared.atom.test, Test::Matches(_)))
    }

    /// `lenient`: what cannot be told counts as true.
    fn condition(&mut self, text: &Text, root: &Node, lenient: bool) {
        if self.never(&[(root, false, false)]) {
            let message = "this condition always holds";
            let fault = doubt(self.file, &part(text, &[]), message.to_owned());
            self.doubts.push(fault.help("leave it out, or write what does not always hold"));
            return;
        }
        self.parts(text, root, true, lenient, &mut Vec::new());
    }

    fn parts(
        &mut self,
        text: &Text,
        node: &Node,
        want: bool,
        lenient: bool,
        path: &mut Vec<usize>,
    ) {
        if let Node::Not(inner) = node {
            path.push(0);
            self.parts(text, inner, !want, lenient, path);
            path.pop();
        }
        if let Node::Atom(at) = node
            && want
            && self.worlds.holds_of_every_value(*at)
            && !self.is_pattern(*at)
        {
            let part = part(text, path);
            let message = format!("`{}` holds of every value", part.text);
            let fault = doubt(self.file, &part, message);
            self.doubts.push(fault.help("it asks only whether there is a value at all"));
        }
        let Some((parts, all)) = node.parts(want) else { return };
        let mut kept: Vec<usize> = (0..parts.len().min(PARTS_MAX)).collect();
        for at in (0..kept.len()).rev() {
            path.push(at);
            match self.idle(parts, &kept, at, want, all, lenient) {
                Some(why) => {
                    kept.retain(|it| *it != at);
                    let part = part(text, path);
                    let fault = doubt(self.file, &part, format!("`{}` {why}", part.text));
                    self.doubts.push(fault);
                }
                None => {
                    if let Some(node) = parts.get(at) {
                        self.parts(text, node, want, lenient, path);
                    }
                }
            }
            path.pop();
        }
    }

    /// Why one of the parts that are kept is not needed beside the others.
    fn idle(
        &self,
        parts: &[Node],
        kept: &[usize],
        at: usize,
        want: bool,
        all: bool,
        lenient: bool,
    ) -> Option<&'static str> {
        let this = parts.get(at)?;
        // In words of the text: behind a `not` what is not wanted is what holds.
        let (never, always) = match want {
            true => ("never holds", "always holds"),
            false => ("always holds", "never holds"),
        };
        if !all && self.never(&[(this, want, false)]) {
            return Some(never);
        }
        if all && self.never(&[(this, !want, false)]) {
            return Some(always);
        }
        let others =
            kept.iter().filter(|other| **other != at).filter_map(|other| parts.get(*other));
        let mut wanted = Vec::with_capacity(kept.len());
        match all {
            // What the others say implies it.
            true => {
                wanted.extend(others.map(|other| (other, want, lenient)));
                wanted.push((this, !want, !lenient));
            }
            // It implies one of the others.
            false => {
                wanted.extend(others.map(|other| (other, !want, !lenient)));
                wanted.push((this, want, lenient));
            }
        }
        let idle = kept.len() > 1 && self.never(&wanted);
        idle.then_some("adds nothing to what stands beside it")
    }
}

/// Of longer lists only so many are compared with one another.
const PARTS_MAX: usize = 64;
