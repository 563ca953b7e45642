//! Where a part of a condition stands in its file, and how it is spelt there.
//!
//! Never prints anything of its own: what is quoted is the author's text. Invariant: a path leads through the tree of
//! the text as it leads through the compiled condition, because both have the same shape.

use std::ops::Range;

use super::super::syntax::{self, Raw, RawAtom, RawTest, Speech};
use super::super::written::Text;
use crate::fault::{Fault, Source};

/// A part of a condition.
pub struct Part {
    pub span: Range<usize>,
    /// As it is written, shortened if it is long.
    pub text: String,
}

/// The part at the end of a path of indexes; what is behind a `not` is its first part.
pub fn part(condition: &Text, path: &[usize]) -> Part {
    let raw = syntax::parse(&condition.text, Speech::Condition).ok();
    let mut at = raw.as_ref();
    for step in path {
        at = match at {
            Some(Raw::Any(parts) | Raw::All(parts)) => parts.get(*step),
            Some(Raw::Not(inner, _)) => Some(inner),
            _ => None,
        };
    }
    let whole = 0..condition.text.len();
    let inside = at.map_or(whole, |raw| start(raw)..end(raw, &condition.text));
    let inside = balanced(&condition.text, inside);
    let text = condition.text.get(inside.clone()).unwrap_or(&condition.text);
    Part { span: condition.span_of(&inside), text: short(text) }
}

fn start(raw: &Raw<'_>) -> usize {
    match raw {
        Raw::Any(parts) | Raw::All(parts) => parts.first().map_or(0, start),
        Raw::Not(_, span) => span.start,
        Raw::Atom(atom) => atom.facts.first().map_or(0, |fact| fact.span.start),
    }
}

fn end(raw: &Raw<'_>, text: &str) -> usize {
    match raw {
        Raw::Any(parts) | Raw::All(parts) => parts.last().map_or(0, |part| end(part, text)),
        Raw::Not(inner, _) => end(inner, text),
        Raw::Atom(atom) => atom_end(atom, text),
    }
}

fn atom_end(atom: &RawAtom<'_>, text: &str) -> usize {
    match &atom.test {
        RawTest::Holds => atom.facts.last().map_or(0, |fact| fact.span.end),
        RawTest::Order(_, value)
        | RawTest::Is(value)
        | RawTest::IsNot(value)
        | RawTest::Between(_, value)
        | RawTest::Matches(value)
        | RawTest::InSet(value) => value.span.end,
        RawTest::In(values) => {
            let last = values.last().map_or(atom.operator.end, |value| value.span.end);
            let close = text.get(last..).and_then(|rest| rest.find(']'));
            close.map_or(last, |at| last + at + 1)
        }
    }
}

/// With the parentheses that belong to it: the tree does not say where they stand.
fn balanced(text: &str, mut part: Range<usize>) -> Range<usize> {
    let (mut open, mut missing, mut quote) = (0_usize, 0_usize, None);
    for c in text.get(part.clone()).unwrap_or_default().chars() {
        match (c, quote) {
            (_, Some(mark)) if c != mark => {}
            (_, Some(_)) => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('(', None) => open += 1,
            (')', None) if open == 0 => missing += 1,
            (')', None) => open -= 1,
            _ => {}
        }
    }
    for _ in 0..missing {
        let before = text.get(..part.start).and_then(|before| before.rfind('('));
        part.start = before.unwrap_or(part.start);
    }
    for _ in 0..open {
        let after = text.get(part.end..).and_then(|after| after.find(')'));
        part.end = after.map_or(part.end, |at| part.end + at + 1);
    }
    part
}

/// On one line, and not longer than is read at a glance.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A warning about a part.
pub fn doubt(file: &Source, part: &Part, message: String) -> Fault {
    Fault::warning(file, part.span.clone(), message)
}

const TEXT_MAX: usize = 60;
