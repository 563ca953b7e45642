//! The faults of one run as they are told: each once, in the order of severity, file and place.
//!
//! Never drops a fault that another place or another message has. Invariant: what a person cannot see in a line
//! (a Cyrillic letter, a space of no width) is named.

use std::collections::HashSet;
use std::path::PathBuf;

use super::gather::WRONG_TYPE;
use super::{Fault, Severity, stranger};

/// Puts them in order, errors first and files as they were met, and takes out what is there twice: two sites may
/// name one file. What was told to be of the wrong type is told nothing more about.
pub fn in_order(faults: Vec<Fault>) -> Vec<Fault> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut seen = HashSet::new();
    let mut mistyped = HashSet::new();
    let mut kept = Vec::with_capacity(faults.len());
    let misspelt = misspelt(&faults);
    for fault in faults.into_iter().filter(|fault| !follows(fault, &misspelt)) {
        let place = (fault.source.path.clone(), fault.span.clone());
        if mistyped.contains(&place) || !seen.insert((place.clone(), fault.message.clone())) {
            continue;
        }
        if fault.message.starts_with(WRONG_TYPE) && !fault.span.is_empty() {
            mistyped.insert(place);
        }
        if !files.contains(&fault.source.path) {
            files.push(fault.source.path.clone());
        }
        kept.push(named(fault));
    }
    let file = |fault: &Fault| files.iter().position(|path| *path == fault.source.path);
    kept.sort_by_key(|fault| (fault.severity == Severity::Warning, file(fault), fault.span.start));
    kept
}

/// What misspelt keys were meant to be, and where they stand.
fn misspelt(faults: &[Fault]) -> Vec<(PathBuf, usize, String)> {
    let near = |fault: &Fault| {
        let near = fault.help.as_ref()?.strip_prefix("did you mean `")?.split('`').next()?;
        let is_key = fault.message.starts_with("unknown key ");
        is_key.then(|| (fault.source.path.clone(), fault.span.start, near.to_owned()))
    };
    faults.iter().filter_map(near).collect()
}

/// Whether a fault says that a key is missing which is there in another spelling: in the table that begins at the
/// fault, so that no other header stands between.
fn follows(fault: &Fault, misspelt: &[(PathBuf, usize, String)]) -> bool {
    let missed = fault.message.ends_with("is missing")
        || fault.message.contains(" has no ")
        || fault.message.starts_with("a case expects ")
        || fault.message.starts_with("this rule says nothing");
    if !missed {
        return false;
    }
    let said = format!("{} {}", fault.message, fault.help.as_deref().unwrap_or_default());
    let (text, start) = (&fault.source.text, fault.span.start);
    let end = text.get(start + 1..).and_then(|rest| rest.find("\n[")).map(|at| start + 1 + at);
    let table = start..end.unwrap_or(text.len());
    misspelt.iter().any(|(path, at, key)| {
        table.contains(at) && *path == fault.source.path && said.contains(&format!("`{key}`"))
    })
}

/// A fault whose place has a character that only looks like another says so.
fn named(fault: Fault) -> Fault {
    if fault.message.contains("U+") {
        return fault;
    }
    let Some((at, odd)) = stranger::near(&fault.source.text, &fault.span) else { return fault };
    let (line, column) = fault.place(at);
    let note = format!("{} at {line}:{column}", stranger::describe(odd));
    match &fault.help {
        Some(help) if help.contains("U+") => fault,
        Some(help) => {
            let help = format!("{help}; {note}");
            fault.help(help)
        }
        None => fault.help(note),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    #[test]
    fn errors_come_first_and_each_is_told_once() {
        let (one, two) = (Source::new("1", "abc\n"), Source::new("2", "abc\n"));
        let faults = vec![
            Fault::warning(&one, 0..1, "w"),
            Fault::new(&two, 2..3, "late"),
            Fault::new(&one, 1..2, "here"),
            Fault::new(&two, 0..1, "early"),
            Fault::new(&one, 1..2, "here"),
            Fault::new(&one, 1..2, "another message"),
        ];
        let told: Vec<_> = in_order(faults).into_iter().map(|fault| fault.message).collect();
        assert_eq!(told, ["here", "another message", "early", "late", "w"]);
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let source = Source::new("1", "\u{430}mount = 1\n");
        let faults = in_order(vec![Fault::new(&source, 0..7, "unknown key")]);
        let help = faults[0].help.as_deref().unwrap();
        assert_eq!(help, "U+0430 CYRILLIC SMALL LETTER A looks like `a` at 1:1");
    }

    #[test]
    fn what_is_there_in_another_spelling_is_not_missing() {
        let text = "[[rule]]\ndenny = true\n[[rule]]\nid = \"x\"\n";
        let source = Source::new("1", text);
        let nothing = |at: usize| {
            Fault::new(&source, at..at + 8, "this rule says nothing").help("one of `deny`, `hold`")
        };
        let key = Fault::new(&source, 9..14, "unknown key `denny`").help("did you mean `deny`?");
        let told = in_order(vec![nothing(0), key, nothing(22)]);
        let told: Vec<_> = told.iter().map(Fault::position).collect();
        assert_eq!(told, [(2, 1), (3, 1)]);
    }
}
