//! The account of a case: where it was seen, whom it pays, what it did, what it is protected by.
//!
//! Never reaches facts by itself: it becomes a history, from which they follow. Invariant: everything is said as how
//! long ago it was.

use super::case_file::Reader;
use super::facts::Decimal;
use super::history::{Done, Entry, History, Kept};
use super::number;
use super::staged::Staged;
use super::written::{Table, Text};
use crate::fault::Fault;
use crate::types::{FactorSet, UnixMs};

const KEYS: [&str; 6] = ["countries", "asns", "factors", "security_change", "addresses", "done"];

/// What a case says of its account.
#[derive(Default)]
pub struct Account {
    pub history: History,
    factors: Option<FactorSet>,
    security_change_ms: Option<u64>,
}

impl Account {
    /// What of it is no history.
    pub fn enrol(&self, staged: &mut Staged) {
        if let Some(factors) = self.factors {
            staged.enrolled(factors);
        }
        if let Some(ms) = self.security_change_ms {
            staged.security_changed(ms);
        }
    }
}

impl Reader<'_> {
    /// `account`, or `history`, as it was called when it knew countries and networks only.
    pub fn account(&mut self, table: &Table<'_, '_>, now: UnixMs) -> Account {
        let (key, keys) = match table.value("account") {
            Some(_) => ("account", &KEYS[..]),
            None => ("history", &KEYS[..2]),
        };
        if key == "account"
            && let Some(span) = table.key_span("history")
        {
            let message = "`history` is part of `account`";
            self.faults.push(Fault::new(self.source, span, message).help("say it there only"));
        }
        let Some(value) = table.value(key) else { return Account::default() };
        let Some(table) = Table::of(self.source, value, self.faults) else {
            return Account::default();
        };
        table.only(keys, self.faults);
        let countries = table.texts("countries", self.faults);
        let mut history = History {
            countries: countries.into_iter().map(|text| text.text.to_ascii_uppercase()).collect(),
            asns: self.asns(&table),
            done: self.done(&table, now),
            book: self.book(&table, now),
            ..History::default()
        };
        // An account of which only other things are said is at home.
        if key == "account" && table.value("countries").is_none() {
            history.countries = History::default().countries;
        }
        if key == "account" && table.value("asns").is_none() {
            history.asns = History::default().asns;
        }
        let factors = table.value("factors").map(|_| table.texts("factors", self.faults));
        let factors = factors.map(|all| all.iter().filter_map(|text| self.factor(text)).collect());
        Account {
            history,
            factors,
            security_change_ms: table.duration("security_change", self.faults),
        }
    }

    fn asns(&mut self, table: &Table<'_, '_>) -> Vec<u32> {
        let mut asns = Vec::new();
        for text in table.texts("asns", self.faults) {
            match text.text.parse() {
                Ok(asn) => asns.push(asn),
                Err(_) => self.faults.push(text.fault(self.source, "this is not a number")),
            }
        }
        asns
    }

    /// `{ address = "bc1q", added = "5h", used = "1h", verified = false }`.
    fn book(&mut self, table: &Table<'_, '_>, now: UnixMs) -> Option<Vec<Entry>> {
        table.value("addresses")?;
        let mut book = Vec::new();
        for (entry, span) in table.tables("addresses", self.faults) {
            entry.only(&["address", "added", "used", "verified"], self.faults);
            let address = entry.text("address", self.faults);
            let added = entry.duration("added", self.faults);
            let (Some(address), Some(added)) = (address, added) else {
                let message = "an entry has an `address` and was `added` some time ago";
                self.faults.push(Fault::new(self.source, span, message));
                continue;
            };
            let used = entry.duration("used", self.faults).unwrap_or(added);
            let unconfirmed =
                entry.value("verified").is_some() && !entry.flag("verified", self.faults);
            let kept =
                Kept { added: ago(now, added), touched: ago(now, used), verified: !unconfirmed };
            book.push(Entry { address: address.text, kept: Some(kept) });
        }
        Some(book)
    }

    /// `{ action = "withdrawal", times = 3, usd = "41000", ago = "20h" }`.
    fn done(&mut self, table: &Table<'_, '_>, now: UnixMs) -> Vec<Done> {
        let mut all = Vec::new();
        for (done, span) in table.tables("done", self.faults) {
            done.only(&["action", "times", "usd", "ago"], self.faults);
            let action = done.text("action", self.faults).and_then(|it| self.known_action(&it));
            let Some(ms) = done.duration("ago", self.faults) else {
                let message = "this was done some time ago: write `ago`";
                self.faults.push(Fault::new(self.source, span, message));
                continue;
            };
            let times = done.word("times", self.faults);
            let count = times.map_or(Some(1), |text| self.number(&text)?.try_into().ok());
            let usd = done.word("usd", self.faults).and_then(|text| self.number(&text));
            let Some((action, count)) = action.zip(count) else { continue };
            all.push(Done { action: action.as_str().into(), at: ago(now, ms), count, usd });
        }
        all
    }

    fn number(&mut self, text: &Text) -> Option<Decimal> {
        number::parse(&text.text)
            .map_err(|why| {
                let message = format!("`{}` is not a number: {why}", text.text);
                self.faults.push(text.fault(self.source, message));
            })
            .ok()
    }
}

fn ago(now: UnixMs, ms: u64) -> UnixMs {
    UnixMs(now.0.saturating_sub_unsigned(ms))
}
