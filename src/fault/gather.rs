//! From TOML text to a written form, every fault of it at once.
//!
//! Never shows what a value of the wrong type says: it may be a secret. Invariant: what is misspelt or of the wrong type
//! is told once, then read as what was probably meant, so that the rest of the file is checked and nothing is told that
//! only follows from it.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::syntax::{from_toml, parsed};
use super::{Fault, Source, nearest};

/// Reads a TOML file into its written form and collects every fault: all syntax errors, then unknown keys and wrong
/// types one after the other (each offender is put right or set aside and the rest read again), then what is missing.
/// What is left is answered, so that its values can be checked too.
pub fn salvage<T: DeserializeOwned>(source: &Source, faults: &mut Vec<Fault>) -> Option<T> {
    let mut table = parsed(source, faults)?;
    let mut spelt = Vec::new();
    in_other_bases(table.get_ref(), &mut spelt);
    faults.extend(spelt.into_iter().map(|span| not_decimal(source, span)));
    let (before, mut aside): (usize, Vec<String>) = (faults.len(), Vec::new());
    loop {
        match T::deserialize(table.clone().into_deserializer()) {
            Ok(file) => return Some(file),
            Err(error) => {
                let missing_because_aside =
                    aside.iter().any(|key| error.message() == format!("missing field `{key}`"));
                if missing_because_aside {
                    return None;
                }
                let (fault, mend) = explained(source, &error);
                // What was put right and is still wrong is taken out, so that this ends.
                let same = |told: &Fault| told.span == fault.span && told.message == fault.message;
                let again = faults.iter().skip(before).any(same);
                let mend = if again { Mend::Aside } else { mend };
                if !again {
                    faults.push(fault);
                }
                // Without a span it is the file itself that lacks something.
                let span = error.span().filter(|span| !span.is_empty())?;
                aside.push(put_right(table.get_mut(), &span, &mend)?);
            }
        }
    }
}

/// `0o17` and `0x10` are numbers, and hardly ever what was meant.
pub fn not_decimal(source: &Source, span: Range<usize>) -> Fault {
    Fault::new(source, span, "numbers are written in decimal here")
        .help("write digits only, without `0x`, `0o` or `0b`")
}

fn in_other_bases(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    table.iter().for_each(|(_, value)| other_base(value, found));
}

fn other_base(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Integer(number) if number.radix() != 10 => found.push(value.span()),
        DeValue::Array(items) => items.iter().for_each(|item| other_base(item, found)),
        DeValue::Table(inner) => in_other_bases(inner, found),
        _ => {}
    }
}

/// What is done with an offender so that the rest can be read.
enum Mend {
    Aside,
    /// The key was meant to be this one.
    Rename(String),
    /// A value of the right type stands in; its span stays, and nothing more is told about it.
    Replace(DeValue<'static>),
}

/// serde's own words, turned into "what is wrong" and "what to do", and how to go on.
fn explained(source: &Source, error: &toml::de::Error) -> (Fault, Mend) {
    let told = |message: String| Fault::new(source, error.span().unwrap_or(0..0), message);
    let words = error.message();
    if let Some(key) = words.strip_prefix("missing field ") {
        return (told(format!("{key} is missing")), Mend::Aside);
    }
    let Some((what, expected)) = words.split_once(", expected ") else {
        return (from_toml(source, error), Mend::Aside);
    };
    if let Some(found) = what.strip_prefix("invalid type: ") {
        let found = match found.split([' ', '`']).next() {
            Some("floating") => "number with a point",
            Some("map") => "table",
            Some("sequence") => "list",
            word => word.unwrap_or("value"),
        };
        return wrong_type(told, found, expected);
    }
    if what.starts_with("invalid value: ") {
        return (told("this number does not fit here".to_owned()), stand_in(expected));
    }
    let Some(word) = what.split('`').nth(1) else { return (from_toml(source, error), Mend::Aside) };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let fault = told(what.replace("unknown field", "unknown key"));
    let only = known.first().copied().filter(|_| known.len() == 1);
    match nearest(word, known.iter().copied()).or(only) {
        Some(near) => {
            (fault.help(format!("did you mean `{near}`?")), Mend::Rename(near.to_owned()))
        }
        None if known.is_empty() => (fault.help(format!("write {expected} here")), Mend::Aside),
        None => (fault.help(format!("one of: {}", known.join(", "))), Mend::Aside),
    }
}

/// The words that `once` knows the fault by.
pub(super) const WRONG_TYPE: &str = "this is a";

fn wrong_type(told: impl Fn(String) -> Fault, found: &str, expected: &str) -> (Fault, Mend) {
    let article = if found.starts_with(['a', 'e', 'i', 'o', 'u']) { "n" } else { "" };
    let wanted = match expected {
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in `[` and `]`",
        number if is_number(number) => "a whole number",
        table if table.starts_with("struct") || table == "a map" => "a table",
        other => other,
    };
    let fault = told(format!("{WRONG_TYPE}{article} {found}; it should be {wanted}"));
    let fault = match (found, expected) {
        ("string", "a boolean") => fault.help("write `true` or `false` without quotes"),
        ("string", number) if is_number(number) => {
            fault.help("write digits only, without quotes and without a unit: the key says it")
        }
        ("string", "a sequence") => fault.help("write `[` and `]` around it"),
        ("integer" | "number with a point" | "boolean", "a string") => {
            fault.help("put it in quotes")
        }
        _ => fault,
    };
    (fault, stand_in(expected))
}

fn is_number(expected: &str) -> bool {
    matches!(expected, "u8" | "u16" | "u32" | "u64" | "usize" | "i64")
}

fn stand_in(expected: &str) -> Mend {
    match expected {
        "a string" => Mend::Replace(DeValue::String(Cow::Borrowed(""))),
        "a boolean" => Mend::Replace(DeValue::Boolean(false)),
        "a sequence" => Mend::Replace(DeValue::Array(DeArray::new())),
        number if is_number(number) => match DeValue::parse("1") {
            Ok(one) => Mend::Replace(one.into_inner()),
            Err(_) => Mend::Aside,
        },
        _ => Mend::Aside,
    }
}

/// Mends the innermost entry that holds `span`; answers its key. The span of a table that has a header of its own is
/// that header's, so its entries are looked at whatever its span.
fn put_right(table: &mut DeTable<'_>, span: &Range<usize>, mend: &Mend) -> Option<String> {
    let holds = |outer: &Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let keys: Vec<String> = table.iter().map(|(key, _)| key.get_ref().to_string()).collect();
    for key in &keys {
        let inner = match table.get_mut(key.as_str())?.get_mut() {
            DeValue::Table(inner) => put_right(inner, span, mend),
            DeValue::Array(items) => put_right_in(items, span, mend),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    let hit = table.iter().find(|(key, value)| holds(&key.span()) || holds(&value.span()))?;
    let (key, key_span, is_value) =
        (hit.0.get_ref().to_string(), hit.0.span(), hit.1.span() == *span);
    let value = table.remove(key.as_str())?;
    match mend {
        Mend::Rename(to) if !table.contains_key(to.as_str()) => {
            table.insert(Spanned::new(key_span, Cow::Owned(to.clone())), value);
        }
        Mend::Replace(with) if is_value => {
            let key = Spanned::new(key_span, Cow::Owned(key));
            table.insert(key, Spanned::new(span.clone(), with.clone()));
            return Some(String::new());
        }
        _ => {}
    }
    Some(key)
}

/// The same for an array. A table that lacks something is taken out whole, under no name.
fn put_right_in(items: &mut DeArray<'_>, span: &Range<usize>, mend: &Mend) -> Option<String> {
    let inside = items.iter_mut().find_map(|item| match item.get_mut() {
        DeValue::Table(inner) => put_right(inner, span, mend),
        _ => None,
    });
    let is_it = |item: &Spanned<DeValue<'_>>| item.span() == *span;
    if inside.is_some() || !items.iter().any(is_it) {
        return inside;
    }
    *items = items.clone().into_iter().filter(|item| !is_it(item)).collect();
    Some(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        word: Spanned<String>,
        count: Option<u64>,
        #[serde(default)]
        row: Vec<Row>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        name: String,
    }

    fn read(text: &str) -> (Option<File>, Vec<String>) {
        let (source, mut faults) = (Source::new("f.toml", text), Vec::new());
        let file = salvage(&source, &mut faults);
        let told = |fault: &Fault| {
            let ((line, column), help) = (fault.position(), fault.help.as_deref().unwrap_or("-"));
            format!("{line}:{column} {} ({help})", fault.message)
        };
        (file, faults.iter().map(told).collect())
    }

    #[test]
    fn a_misspelt_key_is_told_once_and_read_as_what_was_meant() {
        let (file, faults) = read("wrod = \"x\"\n[[row]]\nnmae = \"y\"\n[[row]]\nname = \"z\"\n");
        assert_eq!(
            faults,
            [
                "3:1 unknown key `nmae` (did you mean `name`?)",
                "1:1 unknown key `wrod` (did you mean `word`?)"
            ]
        );
        let file = file.unwrap();
        let names: Vec<&str> = file.row.iter().map(|row| row.name.as_str()).collect();
        assert_eq!((file.word.get_ref().as_str(), &*names), ("x", &["y", "z"][..]));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_without_saying_it_and_the_rest_is_read() {
        let (file, faults) = read("word = 4711\ncount = \"24h\"\n[[row]]\nname = [1]\n");
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].starts_with("4:8 this is an array; it should be a text")
                || !faults[0].contains("4711")
        );
        assert!(
            !faults.concat().contains("4711") && !faults.concat().contains("24h"),
            "{faults:?}"
        );
        assert_eq!(file.and_then(|file| file.count), Some(1));
    }

    #[test]
    fn a_row_that_lacks_something_does_not_hide_the_next() {
        let (file, faults) = read("word = \"x\"\n[[row]]\n[[row]]\nnam = \"z\"\n");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(file.unwrap().row.len(), 1);
    }

    #[test]
    fn numbers_of_another_base_are_refused() {
        let (_, faults) = read("word = \"x\"\ncount = 0o17\n");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("2:9 numbers are written in decimal"), "{faults:?}");
    }
}
