//! What is wrong in a file that a person wrote: where, why, and what to do.
//!
//! Never stops at the first: loaders collect every fault of every file. Each prints as message, file:line:column,
//! the line and a caret, and the help.

mod gather;
mod once;
pub mod stranger;
mod syntax;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

pub use gather::{not_decimal, salvage};
pub use once::in_order;
pub use syntax::{from_toml, read_toml};

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
        self.place(self.span.start)
    }

    /// The same behind its last character.
    pub fn end(&self) -> (usize, usize) {
        self.place(self.span.end.max(self.span.start))
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.source.text.get(..self.clamp(at)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (line, column)
    }

    /// A byte of the text at which a character begins.
    fn clamp(&self, at: usize) -> usize {
        let mut at = at.min(self.source.text.len());
        while !self.source.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// What the file says there; empty if the file itself is the trouble.
    pub fn written(&self) -> &str {
        let start = self.clamp(self.span.start);
        self.source.text.get(start..self.clamp(self.span.end).max(start)).unwrap_or_default()
    }

    /// The fault as people read it, without colours.
    pub fn render(&self) -> String {
        self.render_with(&Renderer::plain())
    }

    /// The same in the colours of a terminal.
    pub fn render_coloured(&self) -> String {
        self.render_with(&Renderer::styled())
    }

    fn render_with(&self, renderer: &Renderer) -> String {
        let path = self.source.path.display().to_string();
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = Group::with_title(level.primary_title(&self.message));
        if self.source.text.is_empty() {
            let help = self.help.as_ref().map(|help| format!("\n  = help: {help}"));
            let title = renderer.render(&[title]);
            return format!("{title}\n --> {path}{}", help.unwrap_or_default());
        }
        // Only its own lines: a long file with many faults is else read once for each.
        let text = &*self.source.text;
        let start = self.clamp(self.span.start);
        let end = self.clamp(self.span.end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let from = before.rfind('\n').map_or(0, |at| at + 1);
        let behind = text.get(end..).and_then(|rest| rest.find('\n'));
        let to = behind.map_or(text.len(), |at| end + at + 1);
        let lines = text.get(from..to).unwrap_or_default();
        let snippet = Snippet::source(lines).path(path).line_start(self.position().0);
        let span = start - from..end - from;
        let group = title.element(snippet.annotation(AnnotationKind::Primary.span(span)));
        let group = match &self.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        };
        renderer.render(&[group])
    }
}

/// ` Did you mean `x`?`-style help for a misspelt word, if one of `known` is near.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The one of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What only looks like ASCII is as near as what it looks like, and case is no distance.
    let word = stranger::plain(word).to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), known))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let source = Source::new("a.toml", "when = \"x\"\n");
        let nameless = Source::new("b.toml", "");
        for fault in [
            Fault::new(&source, 7..10, "wrong").help("write it right"),
            Fault::warning(&source, 0..4, "odd"),
            Fault::new(&nameless, 0..0, "gone").help("bring it back"),
        ] {
            let coloured = fault.render_coloured();
            let mut plain = String::new();
            for (at, part) in coloured.split('\u{1b}').enumerate() {
                // `[…m` behind each escape.
                plain += if at == 0 { part } else { part.split_once('m').unwrap().1 };
            }
            assert!(coloured.contains('\u{1b}'));
            assert_eq!(plain, fault.render());
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        let source = Source::new("a.toml", "é = 1\nü = \"é\"\n");
        let fault = Fault::new(&source, 12..16, "wrong");
        assert_eq!((fault.position(), fault.end()), ((2, 5), (2, 8)));
        assert_eq!(fault.written(), "\"é\"");
    }
}
