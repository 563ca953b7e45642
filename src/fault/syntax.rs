//! What is not TOML in a file, in words for a person who never read the grammar.
//!
//! Never tells what only follows: behind an unclosed bracket everything is wrong. Invariant: a file that the parser
//! refuses has at least one fault.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::{Fault, Source};

/// A file as TOML, or everything in it that is not.
pub fn read_toml<'s>(source: &'s Source, faults: &mut Vec<Fault>) -> Option<Spanned<DeTable<'s>>> {
    if source.text.trim().is_empty() {
        let help = "was it saved? A file of this kind begins with `version = 1`";
        faults.push(Fault::new(source, 0..0, "this file is empty").help(help));
        return None;
    }
    parsed(source, faults)
}

/// The same where an empty file may be meant.
pub(super) fn parsed<'s>(
    source: &'s Source,
    faults: &mut Vec<Fault>,
) -> Option<Spanned<DeTable<'s>>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Some(table);
    }
    match unclosed(&source.text) {
        Some((at, bracket)) => {
            let message = format!("this `{bracket}` is not closed");
            faults.push(Fault::new(source, at..at + 1, message));
        }
        None => faults.extend(told(source, &errors)),
    }
    None
}

fn told(source: &Source, errors: &[toml::de::Error]) -> Vec<Fault> {
    let mut told: Vec<Fault> = Vec::new();
    let mut stumbled = false;
    let mut lines = Vec::new();
    for (at, error) in errors.iter().enumerate() {
        let fault = from_toml(source, error);
        if told.len() == TOLD_MAX {
            let message = format!("{} more places of this file are no TOML", errors.len() - at);
            told.push(Fault { message, help: None, ..fault });
            break;
        }
        // One slip makes the parser stumble more than once on its line, and then lose its table.
        let (line, _) = fault.position();
        let again = lines.contains(&line);
        lines.push(line);
        let twice = error.message().starts_with(DUPLICATE);
        let table = fault.message == SAME_TABLE;
        let follows = twice && stumbled;
        if !again && !follows {
            told.push(fault);
        }
        stumbled |= !twice || table;
    }
    told
}

/// Of a file that is something else altogether, nobody reads every line.
const TOLD_MAX: usize = 20;
const DUPLICATE: &str = "duplicate key";
const SAME_TABLE: &str = "there is a table of this name already";

/// The first fault a TOML parse error names, with its span.
pub fn from_toml(source: &Source, error: &toml::de::Error) -> Fault {
    let span = error.span().unwrap_or(0..0);
    if let Some(fault) = bare_word(source, &span, error.message()) {
        return fault;
    }
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (error.message(), None),
    };
    let before = source.text.get(..span.start).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let line = source.text.get(line..).and_then(|it| it.lines().next()).unwrap_or_default();
    if let Some((message, help)) = plainly(what, line) {
        return Fault::new(source, span, message).help(help);
    }
    let fault = Fault::new(source, span, what);
    match expected.filter(|expected| *expected != "nothing") {
        Some(expected) => fault.help(format!("expected {expected}")),
        None => fault,
    }
}

/// The parser's words for what people do most often, in plainer ones.
fn plainly(what: &str, line: &str) -> Option<(&'static str, &'static str)> {
    if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
        return Some(("this line was left by a merge", "choose one of the two versions"));
    }
    Some(match what {
        DUPLICATE if line.starts_with('[') => {
            (SAME_TABLE, "several of a kind are written `[[name]]`; one table is written once")
        }
        DUPLICATE => (DUPLICATE, "the same key stands further up in this table; keep one of them"),
        "invalid basic string" | "invalid literal string" => {
            ("this text is not closed", "write the same quote at its end, on the same line")
        }
        "unclosed table" | "unclosed array table" => {
            ("this header is not closed", "write `]` at its end")
        }
        "key with no value" | "invalid unquoted key" if line.starts_with("//") => {
            ("this is no comment", "comments begin with `#`")
        }
        "key with no value" => ("this is no `key = value`", "write `=` between key and value"),
        "invalid unquoted key" => ("a key is letters, digits, `-` and `_`", "write `key = value`"),
        "invalid key-value pair" => {
            ("this is no `key = value`", "the file is TOML: https://toml.io")
        }
        "unexpected leading zero" => {
            ("a leading zero looks like an octal number", "write the number without it")
        }
        _ => return None,
    })
}

/// `on = withdrawal`, or in quotes that are none: the parser takes it for a broken number, date or truth.
fn bare_word(source: &Source, span: &Range<usize>, what: &str) -> Option<Fault> {
    let text = &*source.text;
    let line = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let sign = text.get(line..span.start)?.rfind('=')? + line;
    let value = text.get(sign + 1..)?.lines().next()?;
    let start = sign + 1 + (value.len() - value.trim_start().len());
    let value = text.get(start..)?.lines().next()?;
    let odd = value.chars().next()?;
    let end = value.find([',', ']', '}', '#']).unwrap_or(value.len());
    let word = value.get(..end)?.trim_end();
    let unquoted = odd.is_ascii_alphabetic() || what.starts_with("string values must be quoted");
    if unquoted && !["true", "false", "inf", "nan"].contains(&word) {
        let span = start..start + word.len();
        match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => {
                let fault = Fault::new(source, span, "yes is written `true`");
                return Some(fault.help("write `true`, without quotes"));
            }
            "false" | "no" | "off" => {
                let fault = Fault::new(source, span, "no is written `false`");
                return Some(fault.help("write `false`, or leave the key out"));
            }
            _ => {}
        }
        let fault = Fault::new(source, start..start + word.len(), "a text stands in quotes");
        return Some(fault.help(format!("write `\"{word}\"`")));
    }
    let quote = super::stranger::look_alike(odd).filter(|plain| matches!(plain, '"' | '\''))?;
    let span = start..start + odd.len_utf8();
    let message = format!("{}, and quotes nothing", super::stranger::describe(odd));
    Some(Fault::new(source, span, message).help(format!("write an ordinary `{quote}`")))
}

/// The bracket of a list or inline table in which the next key or header of the file stands.
fn unclosed(text: &str) -> Option<(usize, char)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((at, bracket)) = open.last() {
            let next = line.starts_with("[[") || is_header(line);
            if next || (*bracket == '[' && is_entry(line)) {
                return Some((*at, *bracket));
            }
        }
        // Texts of several lines are left to the parser.
        if line.contains("\"\"\"") || line.contains("'''") {
            return None;
        }
        if !open.is_empty() || !line.starts_with('[') {
            brackets(line, start, &mut open);
        }
        start += line.len();
    }
    open.last().copied()
}

/// `[sets]`, and not a list in a list.
fn is_header(line: &str) -> bool {
    let inside = line.trim_end().strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    inside.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b"._-".contains(&b))
    })
}

/// `key = …` at the beginning of a line.
fn is_entry(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim_end();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    line.contains('=') && !key.is_empty() && key.bytes().all(plain)
}

/// Keeps account of the brackets that one line opens and closes, outside texts and comments.
fn brackets(line: &str, start: usize, open: &mut Vec<(usize, char)>) {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(closing), c) if c == closing && !escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => return,
            (None, '[' | '{') => open.push((start + at, c)),
            (None, ']' | '}') => {
                open.pop();
            }
            (None, _) => {}
        }
        escaped = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (source, mut faults) = (Source::new("f", text), Vec::new());
        assert!(read_toml(&source, &mut faults).is_none(), "{text}");
        let said = |fault: &Fault| {
            let (line, column) = fault.position();
            format!("{line}:{column} {}", fault.message)
        };
        faults.iter().map(said).collect()
    }

    #[test]
    fn an_unclosed_bracket_is_told_where_it_opens_and_nothing_else() {
        let next = "\n[[rule]]\nid = \"x\"\n[[rule]]\nid = \"y\"\n";
        assert_eq!(faults(&format!("a = [\"x]\", \"y\"{next}")), ["1:5 this `[` is not closed"]);
        assert_eq!(faults(&format!("a = {{ b = [1] # }}{next}")), ["1:5 this `{` is not closed"]);
        assert_eq!(faults("a = [\n  1,\nb = 2\n"), ["1:5 this `[` is not closed"]);
        assert_eq!(faults("a = [1, 2"), ["1:5 this `[` is not closed"]);
    }

    #[test]
    fn a_word_without_quotes_is_told_as_such() {
        for word in ["transfer", "false_friend", "info", "nancy", "Withdrawal"] {
            assert_eq!(faults(&format!("on = {word}\n")), ["1:6 a text stands in quotes"]);
        }
        assert_eq!(faults("on = \u{201c}x\u{201d}\n").len(), 1);
    }

    #[test]
    fn what_people_write_for_yes_comments_and_tables_is_understood() {
        assert_eq!(faults("a = yes\n"), ["1:5 yes is written `true`"]);
        assert_eq!(faults("a = 24h\n"), ["1:5 a text stands in quotes"]);
        assert!(faults("// x\n")[0].ends_with("this is no comment"));
        assert!(faults("<<<<<<< HEAD\na = 1\n")[0].ends_with("left by a merge"));
        let twice = "[[rule]]\n[rule]\na = 1\n[[rule]]\n[[rule]]\n";
        assert_eq!(faults(twice), ["2:2 there is a table of this name already"]);
    }

    #[test]
    fn of_another_kind_of_file_not_every_line_is_told() {
        let log = "2026-11-21 GET /x\n".repeat(1_000);
        let faults = faults(&log);
        assert_eq!(faults.len(), TOLD_MAX + 1);
        assert!(faults[TOLD_MAX].ends_with("more places of this file are no TOML"), "{faults:?}");
    }

    #[test]
    fn an_unclosed_header_does_not_make_the_next_tables_twice() {
        assert_eq!(faults("[sets\n[[rule]]\nid = 1\n[[rule]]\nid = 2\n").len(), 1);
    }
}
