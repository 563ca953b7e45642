//! Reading TOML by hand so that every fault of a file is found in one pass.
//!
//! Never interprets: it knows tables, texts and flags, not rules. Invariant: a fault points at the
//! bytes of the value it is about, inside a text wherever the file spells the text as it is.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::literal::{self, Wrong};
use super::places::{self, Places};
use super::tokens::Trouble;
use crate::fault::{Fault, Source, nearest, suggest};

type Value<'i> = Spanned<DeValue<'i>>;

/// Parses a document, or tells everything that is not TOML about it.
pub fn document<'i>(source: &'i Source, faults: &mut Vec<Fault>) -> Option<Spanned<DeTable<'i>>> {
    crate::fault::read_toml(source, faults)
}

/// A text of the file.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: String,
    pub span: Range<usize>,
    /// Where its bytes stand in the file, if that can be said.
    inside: Option<Places>,
}

impl Text {
    fn read(source: &Source, value: &Value<'_>) -> Option<Self> {
        let text = value.get_ref().as_str()?.to_owned();
        let span = value.span();
        let inside = source.text.get(span.clone()).and_then(|raw| places::of(raw, &text));
        Some(Self { text, span, inside })
    }

    /// Where these bytes of the text stand in the file; the whole text if it is spelt with escapes.
    pub fn span_of(&self, part: &Range<usize>) -> Range<usize> {
        match &self.inside {
            Some(places) => {
                let at = |byte: usize| self.span.start + places.at(byte);
                at(part.start)..at(part.end)
            }
            None => self.span.clone(),
        }
    }

    /// A text that stands somewhere as it is.
    pub fn at(text: &str, span: Range<usize>) -> Self {
        Self { text: text.to_owned(), span, inside: None }
    }

    /// Another text at the same place.
    pub fn spelt(&self, text: &str) -> Self {
        Self::at(text, self.span.clone())
    }

    /// Its words, parted by spaces or commas, each a text of its own at the same place.
    pub fn words(&self) -> Vec<Self> {
        let words = self.text.split([' ', ',']).filter(|word| !word.is_empty());
        words.map(|word| self.spelt(word)).collect()
    }

    /// A duration in milliseconds, more than zero; `key` is what it is about.
    pub fn duration(&self, source: &Source, key: &str, faults: &mut Vec<Fault>) -> Option<u64> {
        match literal::duration(&self.text) {
            Ok(0) => {
                let message = format!("`{key}` of no time does nothing");
                faults.push(self.fault(source, message).help("leave the key out instead"));
                None
            }
            Ok(ms) => Some(ms),
            Err(wrong) => {
                let message = format!("`{key}` is a duration, and {}", wrong.message);
                faults.push(self.wrong(source, Wrong { message, ..wrong }));
                None
            }
        }
    }

    /// A fault about the whole text.
    pub fn fault(&self, source: &Source, message: impl Into<String>) -> Fault {
        Fault::new(source, self.span.clone(), message)
    }

    /// A fault about some bytes of the text.
    pub fn trouble(&self, source: &Source, trouble: Trouble) -> Fault {
        let span = self.span_of(&trouble.span);
        Fault { help: trouble.help, ..Fault::new(source, span, trouble.message) }
    }

    /// A fault about the text as a value.
    pub fn wrong(&self, source: &Source, wrong: Wrong) -> Fault {
        Fault { help: wrong.help, ..self.fault(source, wrong.message) }
    }
}

/// A table of the file, read key by key.
#[derive(Clone, Copy)]
pub struct Table<'t, 'i> {
    source: &'t Source,
    entries: &'t DeTable<'i>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub fn new(source: &'t Source, entries: &'t DeTable<'i>) -> Self {
        Self { source, entries }
    }

    /// The value as a table, or a fault.
    pub fn of(source: &'t Source, value: &'t Value<'i>, faults: &mut Vec<Fault>) -> Option<Self> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            faults.push(unlike(source, value, "a table"));
        }
        table.map(|entries| Self { source, entries })
    }

    pub fn source(&self) -> &'t Source {
        self.source
    }

    /// Every key that is not in `known` is a fault.
    pub fn only(&self, known: &[&str], faults: &mut Vec<Fault>) {
        for (key, _) in self.entries {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let help = suggest(name, known.iter().copied())
                .unwrap_or_else(|| format!("the keys here are {}", known.join(", ")));
            let message = format!("unknown key `{name}`");
            faults.push(Fault::new(self.source, key.span(), message).help(help));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'t str, Range<usize>, &'t Value<'i>)> {
        self.entries.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value))
    }

    pub fn value(&self, key: &str) -> Option<&'t Value<'i>> {
        self.entries.get(key)
    }

    /// The same, or what stands under a misspelt key that was meant to be this one of `known`: that it is misspelt is
    /// told by `only`, and nothing that follows from it.
    pub fn meant(&self, key: &str, known: &[&str]) -> Option<&'t Value<'i>> {
        let misspelt = || {
            let entry = self.entries.iter().find(|(name, _)| {
                let name: &str = name.get_ref();
                !known.contains(&name) && nearest(name, known.iter().copied()) == Some(key)
            });
            entry.map(|(_, value)| value)
        };
        self.value(key).or_else(misspelt)
    }

    /// Where the key itself stands.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    pub fn text(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Text> {
        let value = self.value(key)?;
        let text = Text::read(self.source, value);
        if text.is_none() {
            faults.push(unlike(self.source, value, "a text in quotes"));
        }
        text
    }

    /// A text; a whole number or `true` counts as it is spelt.
    pub fn word(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Text> {
        let value = self.value(key)?;
        let plain = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        };
        match plain {
            Some(text) => Some(Text { text, span: value.span(), inside: None }),
            None => self.text(key, faults),
        }
    }

    /// False if the key is not there.
    pub fn flag(&self, key: &str, faults: &mut Vec<Fault>) -> bool {
        let Some(value) = self.value(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            faults.push(unlike(self.source, value, "true or false"));
            false
        })
    }

    /// A duration in milliseconds, more than zero.
    pub fn duration(&self, key: &str, faults: &mut Vec<Fault>) -> Option<u64> {
        let text = self.text(key, faults)?;
        text.duration(self.source, key, faults)
    }

    /// The tables of `[[key]]`.
    pub fn tables(&self, key: &str, faults: &mut Vec<Fault>) -> Vec<(Table<'t, 'i>, Range<usize>)> {
        self.value(key).map(|value| self.tables_of(key, value, faults)).unwrap_or_default()
    }

    pub fn tables_of(
        &self,
        key: &str,
        value: &'t Value<'i>,
        faults: &mut Vec<Fault>,
    ) -> Vec<(Table<'t, 'i>, Range<usize>)> {
        let Some(items) = value.get_ref().as_array() else {
            faults.push(unlike(self.source, value, &format!("written as `[[{key}]]`")));
            return Vec::new();
        };
        let table = |item: &'t Value<'i>| {
            Table::of(self.source, item, faults).map(|table| (table, item.span()))
        };
        items.iter().filter_map(table).collect()
    }

    /// A text, or a list of texts.
    pub fn texts(&self, key: &str, faults: &mut Vec<Fault>) -> Vec<Text> {
        let Some(value) = self.value(key) else { return Vec::new() };
        texts(self.source, value, faults)
    }
}

/// A text, or a list of texts; integers in lists count as their digits.
pub fn texts(source: &Source, value: &Value<'_>, faults: &mut Vec<Fault>) -> Vec<Text> {
    let Some(items) = value.get_ref().as_array() else {
        let text = Text::read(source, value);
        if text.is_none() {
            faults.push(unlike(source, value, "a text in quotes, or a list of such"));
        }
        return text.into_iter().collect();
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match (Text::read(source, item), item.get_ref().as_integer()) {
            (Some(text), _) => texts.push(text),
            (None, Some(number)) if number.radix() == 10 => {
                texts.push(Text {
                    text: number.as_str().to_owned(),
                    span: item.span(),
                    inside: None,
                });
            }
            _ => faults.push(unlike(source, item, "a text in quotes")),
        }
    }
    texts
}

/// "This is an integer; it should be a text."
pub fn unlike(source: &Source, value: &Value<'_>, wanted: &str) -> Fault {
    let found = value.get_ref().type_str();
    let article = if found.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let message = format!("this is {article} {found}; it should be {wanted}");
    let fault = Fault::new(source, value.span(), message);
    match (found, wanted) {
        ("string", "true or false") => fault.help("write `true` or `false` without quotes"),
        ("integer" | "float" | "boolean", wanted) if wanted.starts_with("a text in quotes") => {
            fault.help("put it in quotes")
        }
        ("string", "a list") => fault.help("write `[` and `]` around it"),
        _ => fault,
    }
}
