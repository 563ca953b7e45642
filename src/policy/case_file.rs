//! The written form of one `[[case]]` and its steps.
//!
//! Never decides. Invariant: a case with any fault in it is not handed on.

use std::ops::Range;

use jiff::Timestamp;
use toml::Spanned;
use toml::de::DeValue;

use super::PolicySet;
use super::case_expect::Expect;
use super::cases::Classify;
use super::facts::{Elevation, HoldRunning};
use super::staged::{NOON, Staged};
use super::written::{Table, Text};
use crate::fault::{Fault, Source, suggest};
use crate::types::{
    ActionName, CredentialKind, Factor, FactorSet, FieldValue, Fields, RuleId, UnixMs,
};

const CASE_KEYS: [&str; 13] = [
    "name",
    "now",
    "account",
    "history",
    "place",
    "credential",
    "request",
    "facts",
    "elevations",
    "holds",
    "expect",
    "answer",
    "then",
];
/// Columns of a table of cases that are not facts.
pub const WORDS: [&str; 13] = [
    "place",
    "credential",
    "action",
    "answer",
    "verdict",
    "rules",
    "shadow",
    "satisfied",
    "factors",
    "until",
    "notify",
    "valid",
    "name",
];
const THEN_KEYS: [&str; 7] =
    ["after", "place", "credential", "request", "facts", "expect", "answer"];
/// What may be said of a place, and the fact that it is.
const PLACE: [(&str, &str); 7] = [
    ("country", "geo.country"),
    ("city", "geo.city"),
    ("asn", "geo.asn"),
    ("network", "geo.network"),
    ("distance_km", "geo.distance_km"),
    ("speed_kmh", "geo.speed_kmh"),
    ("ip", "client.ip"),
];

/// A case, read: what happens, one step after the other.
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
}

/// One request of a case.
pub struct Step {
    /// Since the first.
    pub at_ms: u64,
    /// Not yet settled: what came before has a say.
    pub elements: Vec<Staged>,
    pub answer: Option<Answer>,
    pub expect: Expect,
}

/// The codes that the owner gives when asked.
pub struct Answer {
    pub factors: FactorSet,
    pub span: Range<usize>,
}

/// What one table says, and for a row of many what its cells say instead.
#[derive(Clone, Copy)]
pub struct Words<'w, 'i> {
    pub table: Table<'w, 'i>,
    pub span: &'w Range<usize>,
    pub cells: &'w [(&'w str, Text)],
}

impl Words<'_, '_> {
    pub fn cell(&self, key: &str) -> Option<&Text> {
        self.cells.iter().find(|(column, _)| *column == key).map(|(_, text)| text)
    }

    /// The cell, else the key of the table.
    fn text(&self, key: &str, faults: &mut Vec<Fault>) -> Option<Text> {
        self.cell(key).cloned().or_else(|| self.table.text(key, faults))
    }
}

/// Reads cases of one file.
pub struct Reader<'r> {
    pub source: &'r Source,
    pub policy: &'r PolicySet,
    pub classify: Classify<'r>,
    pub faults: &'r mut Vec<Fault>,
}

impl Reader<'_> {
    /// Reads one `[[case]]`; `None` and faults if it is not written properly.
    pub fn case(&mut self, table: &Table<'_, '_>, span: &Range<usize>) -> Option<Case> {
        let before = self.faults.len();
        table.only(&CASE_KEYS, self.faults);
        for key in ["name", "request", "expect"] {
            if table.value(key).is_none() {
                let header = span.start..span.end.min(span.start + "[[case]]".len());
                let message = format!("this case has no `{key}`");
                self.faults.push(Fault::new(self.source, header, message));
            }
        }
        let name = table.text("name", self.faults);
        let words = Words { table: *table, span, cells: &[] };
        let mut steps: Vec<Step> = self.first(words).into_iter().collect();
        for (then, span) in table.tables("then", self.faults) {
            let words = Words { table: then, span: &span, cells: &[] };
            let next = steps.last().and_then(|last| self.then(words, last));
            steps.extend(next);
        }
        if self.faults.len() > before {
            return None;
        }
        Some(Case { name: name?.text, steps })
    }

    /// How a case begins.
    pub fn first(&mut self, words: Words<'_, '_>) -> Option<Step> {
        let table = &words.table;
        let now = self.now(table);
        let account = self.account(table, now);
        let request = self.request(words);
        let elevations = self.elevations(table, now);
        let holds = self.holds(table, now);
        let (answer, expect) = (self.answer(words), self.expect(words));
        let (action, all) = request?;
        let stage = |fields: Fields| {
            let mut staged = Staged::new(action.as_str(), fields, account.history.clone());
            staged.now = now;
            staged.elevations.clone_from(&elevations);
            staged.holds.clone_from(&holds);
            account.enrol(&mut staged);
            staged
        };
        let mut elements: Vec<Staged> = all.into_iter().map(stage).collect();
        self.say(words, &mut elements);
        Some(Step { at_ms: 0, elements, answer, expect: expect? })
    }

    /// What happens after `last`.
    fn then(&mut self, words: Words<'_, '_>, last: &Step) -> Option<Step> {
        let table = &words.table;
        table.only(&THEN_KEYS, self.faults);
        let after = table.duration("after", self.faults).unwrap_or(0);
        let mut elements: Vec<Staged> = last.elements.iter().map(|it| it.later(after)).collect();
        if table.value("request").is_some()
            && let Some((action, all)) = self.request(words)
            && let Some(account) = elements.first().cloned()
        {
            let asks = |fields: Fields| {
                let mut staged = account.clone();
                staged.asks(action.as_str(), fields);
                staged
            };
            elements = all.into_iter().map(asks).collect();
        }
        self.say(words, &mut elements);
        let timed = table.value("place").and_then(|it| it.get_ref().as_table());
        if timed.is_some_and(|it| it.contains_key("distance_km") && !it.contains_key("speed_kmh")) {
            elements.iter_mut().for_each(|staged| staged.in_time(after));
        }
        let answer = self.answer(words);
        if table.value("expect").is_none() {
            let header =
                words.span.start..words.span.end.min(words.span.start + "[[case.then]]".len());
            self.faults.push(Fault::new(self.source, header, "this step has no `expect`"));
        }
        let expect = self.expect(words)?;
        Some(Step { at_ms: last.at_ms.saturating_add(after), elements, answer, expect })
    }

    /// Place, credential and facts. Faults are told of the first element only, as they are the same for all.
    fn say(&mut self, words: Words<'_, '_>, elements: &mut [Staged]) {
        for (index, staged) in elements.iter_mut().enumerate() {
            let before = self.faults.len();
            self.place(words, staged);
            self.credential(words, staged);
            self.set_facts(words, staged);
            if index > 0 {
                self.faults.truncate(before);
            }
        }
    }

    fn place(&mut self, words: Words<'_, '_>, staged: &mut Staged) {
        let text = words.cell("place").cloned();
        let Some(value) = words.table.value("place") else {
            return text.iter().for_each(|text| self.country(text, staged));
        };
        if text.is_some() || value.get_ref().is_str() {
            let text = text.or_else(|| words.table.text("place", self.faults));
            return text.iter().for_each(|text| self.country(text, staged));
        }
        let Some(place) = Table::of(self.source, value, self.faults) else { return };
        place.only(&PLACE.map(|(key, _)| key), self.faults);
        for (key, fact) in PLACE {
            let Some(text) = place.word(key, self.faults) else { continue };
            match key {
                "country" => self.country(&text, staged),
                _ => self.set(fact, &text, staged),
            }
        }
    }

    fn country(&mut self, text: &Text, staged: &mut Staged) {
        staged.travels(&text.text);
        match &*text.text {
            "unknown" => self.set("geo.country", &text.spelt("unreadable"), staged),
            _ => self.set("geo.country", text, staged),
        }
    }

    fn credential(&mut self, words: Words<'_, '_>, staged: &mut Staged) {
        let Some(text) = words.text("credential", self.faults) else { return };
        match CredentialKind::from_word(&text.text) {
            Some(kind) => staged.credential(kind),
            None => {
                let kinds = ["session", "bearer", "api_key", "client_certificate"];
                let help = suggest(&text.text, kinds)
                    .unwrap_or_else(|| format!("credentials are {}", kinds.join(", ")));
                let message = format!("unknown credential `{}`", text.text);
                self.faults.push(text.fault(self.source, message).help(help));
            }
        }
    }

    fn set(&mut self, name: &str, text: &Text, staged: &mut Staged) {
        if let Err(wrong) = staged.set(name, &text.text, self.policy.vocabulary()) {
            self.faults.push(text.wrong(self.source, wrong));
        }
    }

    fn answer(&mut self, words: Words<'_, '_>) -> Option<Answer> {
        let given = match words.cell("answer") {
            Some(cell) => cell.words(),
            None => words.table.texts("answer", self.faults),
        };
        let span = given.first()?.span.start..given.last()?.span.end;
        let factors = given.iter().filter_map(|text| self.factor(text)).collect();
        Some(Answer { factors, span })
    }

    fn now(&mut self, table: &Table<'_, '_>) -> UnixMs {
        let Some(value) = table.value("now") else { return NOON };
        let text = match value.get_ref() {
            DeValue::Datetime(datetime) => datetime.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        match text.parse::<Timestamp>() {
            Ok(at) => UnixMs(at.as_millisecond()),
            Err(_) => {
                let message = "`now` is a time with its zone, as in RFC 3339";
                let help = "write `2026-01-05T12:00:00Z`";
                self.faults.push(Fault::new(self.source, value.span(), message).help(help));
                NOON
            }
        }
    }

    fn request(&mut self, words: Words<'_, '_>) -> Option<(ActionName, Vec<Fields>)> {
        let Some(value) = words.table.value("request") else {
            let action = words.cell("action")?;
            return Some((self.known_action(action)?, vec![Fields::default()]));
        };
        let table = Table::of(self.source, value, self.faults)?;
        table.only(&["action", "fields", "raw"], self.faults);
        if let Some(raw) = table.text("raw", self.faults) {
            return (self.classify)(&raw.text)
                .map_err(|reason| {
                    let message = format!("this request is no action: {reason}");
                    self.faults.push(raw.fault(self.source, message));
                })
                .ok();
        }
        let action = words.cell("action").cloned().or_else(|| table.text("action", self.faults));
        let Some(action) = action else {
            let message = "a request has an `action`, or is `raw`";
            self.faults.push(Fault::new(self.source, value.span(), message));
            return None;
        };
        let action = self.known_action(&action)?;
        let fields = match table.value("fields") {
            None => vec![Fields::default()],
            Some(value) => match value.get_ref().as_array() {
                Some(batch) => batch.iter().filter_map(|item| self.fields(item)).collect(),
                None => self.fields(value).into_iter().collect(),
            },
        };
        Some((action, fields))
    }

    pub fn known_action(&mut self, action: &Text) -> Option<ActionName> {
        if self.policy.vocabulary().knows(&action.text) {
            return Some(ActionName::new(action.text.clone()));
        }
        let message = format!("unknown action `{}`", action.text);
        let help = self.policy.vocabulary().suggest(&action.text);
        self.faults.push(Fault { help, ..action.fault(self.source, message) });
        None
    }

    fn fields(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Fields> {
        let table = Table::of(self.source, value, self.faults)?;
        let mut fields = Fields::default();
        for (name, text) in self.flattened(&table) {
            let value = match &*text.text {
                "unreadable" => FieldValue::Unreadable,
                text => FieldValue::Text(text.into()),
            };
            fields.set(name, value);
        }
        Some(fields)
    }

    /// `geo.country = "DE"` and `"geo.country" = "DE"` are both understood.
    fn flattened(&mut self, table: &Table<'_, '_>) -> Vec<(String, Text)> {
        let mut flat = Vec::new();
        let mut open = vec![(String::new(), *table)];
        while let Some((prefix, table)) = open.pop() {
            for (key, _, value) in table.iter() {
                let name = format!("{prefix}{key}");
                match value.get_ref().as_table() {
                    Some(inner) => open.push((name + ".", Table::new(self.source, inner))),
                    None => flat.extend(table.word(key, self.faults).map(|text| (name, text))),
                }
            }
        }
        flat
    }

    /// The facts of the table, then those of the cells.
    fn set_facts(&mut self, words: Words<'_, '_>, staged: &mut Staged) {
        let table = words.table.value("facts");
        let table = table.and_then(|value| Table::of(self.source, value, self.faults));
        let mut facts = table.map(|table| self.flattened(&table)).unwrap_or_default();
        let cells = words.cells.iter().filter(|(column, _)| !WORDS.contains(column));
        facts.extend(cells.map(|(column, text)| ((*column).to_owned(), text.clone())));
        facts.sort_by_key(|(name, _)| Staged::rank(name));
        for (name, text) in facts {
            self.set(&name, &text, staged);
        }
    }

    fn elevations(&mut self, table: &Table<'_, '_>, now: UnixMs) -> Vec<Elevation> {
        let mut elevations = Vec::new();
        for (table, _) in table.tables("elevations", self.faults) {
            table.only(&["rule", "factors", "place", "until"], self.faults);
            let rule = table.text("rule", self.faults).and_then(|rule| self.rule(&rule));
            let factors: FactorSet =
                table.texts("factors", self.faults).iter().filter_map(|f| self.factor(f)).collect();
            let lasts = table.duration("until", self.faults).unwrap_or(3_600_000);
            let place = table.text("place", self.faults).map(|place| place.text);
            elevations.extend(rule.map(|rule| Elevation {
                rule,
                factors,
                // An empty place is filled in with the place of the case.
                place: place.unwrap_or_default().into(),
                until: now.plus_ms(lasts),
            }));
        }
        elevations
    }

    fn holds(&mut self, table: &Table<'_, '_>, now: UnixMs) -> Vec<HoldRunning> {
        let mut holds = Vec::new();
        for (table, span) in table.tables("holds", self.faults) {
            table.only(&["rule", "since"], self.faults);
            let rule = table.text("rule", self.faults).and_then(|rule| self.rule(&rule));
            let Some(since) = table.duration("since", self.faults) else {
                let message = "a hold has run for some time: write `since`";
                self.faults.push(Fault::new(self.source, span, message));
                continue;
            };
            let since = UnixMs(now.0.saturating_sub_unsigned(since));
            holds.extend(rule.map(|rule| HoldRunning { rule, since }));
        }
        holds
    }

    pub fn factor(&mut self, text: &Text) -> Option<Factor> {
        let factor = Factor::from_word(&text.text);
        if factor.is_none() {
            let help = suggest(&text.text, Factor::ALL.map(Factor::word));
            let fault = text.fault(self.source, format!("unknown factor `{}`", text.text));
            self.faults.push(Fault { help, ..fault });
        }
        factor
    }

    pub fn rule(&mut self, text: &Text) -> Option<RuleId> {
        let known = self.policy.rule_ids().find(|id| id.as_str() == text.text);
        if known.is_none() {
            let help = suggest(&text.text, self.policy.rule_ids().map(RuleId::as_str));
            let fault = text.fault(self.source, format!("the policy has no rule `{}`", text.text));
            self.faults.push(Fault { help, ..fault });
        }
        known.cloned()
    }
}
