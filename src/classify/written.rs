//! A table of a pack as it is written, with the span of everything.
//!
//! Never stops at a fault: a value of the wrong type is reported and counts as absent.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Source, not_decimal, suggest};

/// A string and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub value: String,
    pub span: Range<usize>,
}

/// One table; the faults found anywhere in the file go to one list.
pub(super) struct Keys<'a> {
    pub source: &'a Source,
    table: &'a DeTable<'a>,
    pub span: Range<usize>,
    faults: &'a RefCell<Vec<Fault>>,
}

impl<'a> Keys<'a> {
    pub fn new(
        source: &'a Source,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        faults: &'a RefCell<Vec<Fault>>,
    ) -> Self {
        Self { source, table, span, faults }
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many faults there are so far, of all tables of the file.
    pub fn fault_count(&self) -> usize {
        self.faults.borrow().len()
    }

    pub fn fault(&self, span: Range<usize>, message: impl Into<String>) {
        self.fault_with(span, message, None);
    }

    pub fn fault_with(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let fault = Fault::new(self.source, span, message);
        self.faults.borrow_mut().push(match help {
            Some(help) => fault.help(help),
            None => fault,
        });
    }

    pub fn missing(&self, key: &str, help: &str) {
        self.fault_with(self.span.clone(), format!("`{key}` is missing"), Some(help.to_owned()));
    }

    /// Reports every key that is not one of these.
    pub fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            let word = key.get_ref();
            if !known.contains(&word.as_ref()) {
                let help = suggest(word, known.iter().copied())
                    .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.fault_with(key.span(), format!("unknown key `{word}`"), Some(help));
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.fault(value.span(), format!("`{key}` is {wanted}, not {found}"));
    }

    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub fn holds_text(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_str())
    }

    pub fn text(&self, key: &str) -> Option<Text> {
        let value = self.value(key)?;
        let text = text_of(value);
        if text.is_none() {
            self.wrong_type(key, value, "a string");
        }
        text
    }

    /// A string or a list of strings; empty if absent.
    pub fn texts(&self, key: &str) -> Vec<Text> {
        self.value(key).map_or_else(Vec::new, |value| self.texts_of(key, value))
    }

    fn texts_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Text> {
        let elements = match value.get_ref() {
            DeValue::Array(elements) => elements.as_ref(),
            _ => std::slice::from_ref(value),
        };
        let mut texts = Vec::new();
        for element in elements {
            match text_of(element) {
                Some(text) => texts.push(text),
                None => self.wrong_type(key, element, "a string or a list of strings"),
            }
        }
        texts
    }

    pub fn integer(&self, key: &str) -> Option<(i64, Range<usize>)> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer();
        if number.is_some_and(|number| number.radix() != 10) {
            self.faults.borrow_mut().push(not_decimal(self.source, value.span()));
        }
        let number = number.and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        if number.is_none() {
            self.wrong_type(key, value, "an integer");
        }
        number.map(|number| (number, value.span()))
    }

    pub fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let word = value.get_ref().as_bool();
        if word.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        word
    }

    pub fn table(&self, key: &str) -> Option<Keys<'a>> {
        let value = self.value(key)?;
        let table = self.table_of(value);
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        table
    }

    /// A list of tables; empty if absent.
    pub fn tables(&self, key: &str) -> Vec<Keys<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in elements.iter() {
            match self.table_of(element) {
                Some(table) => tables.push(table),
                None => self.wrong_type(key, element, "a list of tables"),
            }
        }
        tables
    }

    /// A table, or a list of tables; empty if absent.
    pub fn one_or_more_tables(&self, key: &str) -> Vec<Keys<'a>> {
        match self.value(key).and_then(|value| self.table_of(value)) {
            Some(table) => vec![table],
            None => self.tables(key),
        }
    }

    fn table_of(&self, value: &'a Spanned<DeValue<'a>>) -> Option<Keys<'a>> {
        let table = value.get_ref().as_table()?;
        Some(Keys::new(self.source, table, value.span(), self.faults))
    }

    /// Every key with its string or strings.
    pub fn entries(&self) -> Vec<(Text, Vec<Text>)> {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let name = Text { value: key.get_ref().to_string(), span: key.span() };
            let values = self.texts_of(&name.value, value);
            (name, values)
        };
        self.table.iter().map(entry).collect()
    }
}

fn text_of(value: &Spanned<DeValue<'_>>) -> Option<Text> {
    let text = value.get_ref().as_str()?;
    Some(Text { value: text.to_owned(), span: value.span() })
}
