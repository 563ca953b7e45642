//! What is wrong in a file that a person wrote: where, why, and what to do.
//!
//! Never stops at the first: loaders collect every fault of every file. Each prints as message, file:line:column,
//! the line and a caret, and the help.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A file's path and text, shared by the faults found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    pub text: Arc<str>,
}

impl Source {
    pub fn new(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The files work, and perhaps not as meant: said by `check`, and nothing is refused for it.
    Warning,
    /// Nothing is loaded.
    Error,
}

/// One fault. `span` is a byte range of `source.text`; an empty text means the file itself is the trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub source: Source,
    pub span: Range<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    pub severity: Severity,
}

impl Fault {
    pub fn new(source: &Source, span: Range<usize>, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { source: source.clone(), span, message: message.into(), help: None, severity }
    }
    /// The same, as a warning.
    pub fn warning(source: &Source, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(source, span, message) }
    }
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// 1-based line and column (in characters) where the fault begins.
    pub fn position(&self) -> (usize, usize) {
        let mut end = self.span.start.min(self.source.text.len());
        while !self.source.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.source.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (line, column)
    }

    /// The fault as people read it, without colours.
    pub fn render(&self) -> String {
        let path = self.source.path.display().to_string();
        if self.source.text.is_empty() {
            let help = self.help.as_ref().map(|help| format!("\n  = help: {help}"));
            let word = match self.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            return format!("{word}: {}\n --> {path}{}", self.message, help.unwrap_or_default());
        }
        let text = &*self.source.text;
        let clamp = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = clamp(self.span.start);
        let span = start..clamp(self.span.end).max(start);
        let snippet =
            Snippet::source(text).path(path).annotation(AnnotationKind::Primary.span(span));
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.message));
        group = group.element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        Renderer::plain().render(&[group])
    }
}

/// The first fault a TOML parse error names, with its span.
pub fn from_toml(source: &Source, error: &toml::de::Error) -> Fault {
    Fault::new(source, error.span().unwrap_or(0..0), error.message().to_owned())
}

/// ` Did you mean `x`?`-style help for a misspelt word, if one of `known` is near.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Reads a TOML file into its written form and collects every fault: all syntax errors, then unknown keys and wrong
/// types one after the other (each offender is set aside and the rest read again), then what is missing.
pub fn gather<T: serde::de::DeserializeOwned>(
    source: &Source,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let before = faults.len();
    salvage(source, faults).filter(|_| faults.len() == before)
}

/// The same, but what is left without the offenders is answered, so that its values can be checked too.
pub fn salvage<T: serde::de::DeserializeOwned>(
    source: &Source,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let (mut table, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        faults.extend(errors.iter().map(|error| from_toml(source, error)));
        return None;
    }
    let mut aside: Vec<String> = Vec::new();
    loop {
        match T::deserialize(table.clone().into_deserializer()) {
            Ok(file) => return Some(file),
            Err(error) => {
                let missing_because_aside =
                    aside.iter().any(|key| error.message() == format!("missing field `{key}`"));
                if missing_because_aside {
                    return None;
                }
                faults.push(explained(source, &error));
                // Without a span it is the file itself that lacks something.
                let span = error.span().filter(|span| !span.is_empty())?;
                aside.push(set_aside(table.get_mut(), &span)?);
            }
        }
    }
}

/// serde's own words, turned into "what is wrong" and "what to do".
fn explained(source: &Source, error: &toml::de::Error) -> Fault {
    let fault = from_toml(source, error);
    let Some((what, expected)) = error.message().split_once(", expected ") else { return fault };
    let Some(word) = what.split('`').nth(1) else { return fault };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let help = match suggest(word, known.iter().copied()) {
        Some(nearest) => nearest,
        None if known.is_empty() => format!("write {expected} here"),
        None => format!("one of: {}", known.join(", ")),
    };
    Fault { message: what.to_owned(), ..fault }.help(help)
}

/// Takes the innermost entry that holds `span` out of the table; answers its key. The span of a table that has a
/// header of its own is that header's, so its entries are looked at whatever its span.
fn set_aside(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let keys: Vec<String> = table.iter().map(|(key, _)| key.get_ref().to_string()).collect();
    for key in &keys {
        let inner = match table.get_mut(key.as_str())?.get_mut() {
            DeValue::Table(inner) => set_aside(inner, span),
            DeValue::Array(items) => set_aside_in(items, span),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    let hit = table.iter().find(|(key, value)| holds(&key.span()) || holds(&value.span()))?;
    let key = hit.0.get_ref().to_string();
    table.remove(key.as_str());
    Some(key)
}

/// The same for the tables of an array. One that lacks something is taken out whole, under no name.
fn set_aside_in(items: &mut DeArray<'_>, span: &Range<usize>) -> Option<String> {
    let inside = items.iter_mut().find_map(|item| match item.get_mut() {
        DeValue::Table(inner) => set_aside(inner, span),
        _ => None,
    });
    let is_it = |item: &Spanned<DeValue<'_>>| item.get_ref().is_table() && item.span() == *span;
    if inside.is_some() || !items.iter().any(is_it) {
        return inside;
    }
    *items = items.clone().into_iter().filter(|item| !is_it(item)).collect();
    Some(String::new())
}
