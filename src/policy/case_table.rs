//! `[[table]]`: many cases that differ in a few words, one a row.
//!
//! Never compares. Invariant: a row is a case like any other, with the cells in place of what the table says of all, and
//! a fault of it stands at its cell.

use super::case_file::{Case, Reader, WORDS, Words};
use super::table::{FACTS, FactRef};
use super::written::{self, Table, Text};
use crate::fault::{Fault, suggest};

const KEYS: [&str; 13] = [
    "name",
    "columns",
    "rows",
    "now",
    "account",
    "place",
    "credential",
    "request",
    "facts",
    "elevations",
    "holds",
    "expect",
    "answer",
];
/// What a cell says that says nothing.
const UNSAID: &str = "-";
const ROWS_MAX: usize = 10_000;

impl Reader<'_> {
    /// The cases of one table; `None` for each row that is not written properly.
    pub fn rows(
        &mut self,
        table: &Table<'_, '_>,
        span: &std::ops::Range<usize>,
    ) -> Vec<Option<Case>> {
        table.only(&KEYS, self.faults);
        let header = span.start..span.end.min(span.start + "[[table]]".len());
        let before = self.faults.len();
        for key in ["name", "columns", "rows"] {
            if table.value(key).is_none() {
                let message = format!("this table has no `{key}`");
                self.faults.push(Fault::new(self.source, header.clone(), message));
            }
        }
        let name = table.text("name", self.faults).map(|text| text.text);
        let columns = self.columns(table);
        let rows = table.value("rows").and_then(|value| {
            let rows = value.get_ref().as_array();
            if rows.is_none() {
                self.faults.push(written::unlike(self.source, value, "a list of rows"));
            }
            rows
        });
        let (Some(name), Some(rows)) = (name, rows) else { return Vec::new() };
        if rows.len() > ROWS_MAX || rows.is_empty() {
            let message = format!("a table has 1 to {ROWS_MAX} rows");
            self.faults.push(Fault::new(self.source, header, message));
        }
        if self.faults.len() > before {
            return Vec::new();
        }
        rows.iter().map(|row| self.row(table, &name, &columns, row)).collect()
    }

    fn columns(&mut self, table: &Table<'_, '_>) -> Vec<Text> {
        let columns = table.texts("columns", self.faults);
        columns.iter().for_each(|column| self.column(column));
        for (at, column) in columns.iter().enumerate() {
            if columns.iter().take(at).any(|other| other.text == column.text) {
                let message = format!("the column `{}` is there twice", column.text);
                self.faults.push(column.fault(self.source, message));
            }
        }
        columns
    }

    /// A fact, or a word of cases.
    fn column(&mut self, column: &Text) {
        let name = &*column.text;
        let Err(help) = FactRef::find(name, self.policy.vocabulary()) else { return };
        if WORDS.contains(&name) {
            return;
        }
        let facts = FACTS.iter().map(|spec| spec.name).filter(|name| !name.contains('<'));
        let help = suggest(name, WORDS.into_iter().chain(facts)).or(help);
        let help = help.unwrap_or_else(|| format!("a column is a fact, or {}", WORDS.join(", ")));
        let message = format!("`{name}` is no column: neither a fact nor a word of cases");
        self.faults.push(column.fault(self.source, message).help(help));
    }

    fn row(
        &mut self,
        table: &Table<'_, '_>,
        name: &str,
        columns: &[Text],
        row: &toml::Spanned<toml::de::DeValue<'_>>,
    ) -> Option<Case> {
        let before = self.faults.len();
        if !row.get_ref().is_array() {
            self.faults.push(written::unlike(self.source, row, "a row, a list of texts"));
            return None;
        }
        let cells = written::texts(self.source, row, self.faults);
        if cells.len() != columns.len() {
            let message = format!(
                "this row has {} cells, and there are {} columns",
                cells.len(),
                columns.len()
            );
            let help = format!("a cell that says nothing is written \"{UNSAID}\"");
            self.faults.push(Fault::new(self.source, row.span(), message).help(help));
            return None;
        }
        let cells: Vec<(&str, Text)> = columns
            .iter()
            .map(|column| &*column.text)
            .zip(cells)
            .filter(|(_, cell)| cell.text != UNSAID)
            .collect();
        let span = row.span();
        let words = Words { table: *table, span: &span, cells: &cells };
        let step = self.first(words);
        if step.is_none() && self.faults.len() == before {
            let message = "this row asks for nothing, or expects nothing";
            let help = "say `request` and `expect` for all, or give columns `action` and `verdict`";
            self.faults.push(Fault::new(self.source, span.clone(), message).help(help));
        }
        if self.faults.len() > before {
            return None;
        }
        Some(Case { name: named(name, &cells), steps: vec![step?] })
    }
}

/// `young addresses: address.age 5h, address.verified false`; a column `name` says it instead.
fn named(table: &str, cells: &[(&str, Text)]) -> String {
    if let Some((_, name)) = cells.iter().find(|(column, _)| *column == "name") {
        return format!("{table}: {}", name.text);
    }
    let given = cells.iter().filter(|(column, _)| {
        !WORDS.contains(column) || ["place", "credential", "action", "answer"].contains(column)
    });
    let given: Vec<String> =
        given.map(|(column, cell)| format!("{column} {}", cell.text)).collect();
    format!("{table}: {}", given.join(", "))
}
