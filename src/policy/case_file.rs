//! The written form of one `[[case]]`.
//!
//! Never decides. Invariant: a case with any fault in it is not handed on.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::Timestamp;
use toml::Spanned;
use toml::de::DeValue;

use super::PolicySet;
use super::cases::Classify;
use super::condition;
use super::facts::{Elevation, HoldRunning};
use super::staged::{History, NOON, Staged};
use super::verdict::FactorExpr;
use super::written::{Table, Text};
use crate::fault::{Fault, Source, suggest};
use crate::types::{ActionName, Factor, FactorSet, FieldValue, Fields, RuleId, UnixMs};

const CASE_KEYS: [&str; 8] =
    ["name", "now", "request", "facts", "history", "elevations", "holds", "expect"];
const EXPECT_KEYS: [&str; 6] = ["verdict", "rules", "shadow", "satisfied", "factors", "until"];
const VERDICTS: [&str; 5] = ["allow", "require", "hold", "deny", "freeze"];

/// A case, read.
pub struct Case {
    pub name: String,
    pub elements: Vec<Staged>,
    pub expect: Expect,
}

/// What is compared; `None` is not.
pub struct Expect {
    pub span: Range<usize>,
    pub verdict: String,
    pub rules: Option<BTreeSet<String>>,
    pub shadow: Option<BTreeSet<String>>,
    pub satisfied: Option<BTreeSet<String>>,
    pub factors: Option<FactorExpr>,
    pub until_ms: Option<u64>,
}

impl Expect {
    /// Every rule that is expected to speak, in any voice.
    pub fn all_rules(self) -> impl Iterator<Item = String> {
        [self.rules, self.shadow, self.satisfied].into_iter().flatten().flatten()
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
    /// Reads one case; `None` and faults if it is not written properly.
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
        let now = self.now(table);
        let history = self.history(table);
        let request = self.request(table);
        let elevations = self.elevations(table, now);
        let holds = self.holds(table, now);
        let expect = self.expect(table);
        let mut elements = Vec::new();
        for (index, fields) in request.iter().flat_map(|(_, all)| all).enumerate() {
            let action = request.as_ref().map_or("ordinary", |(action, _)| action.as_str());
            let mut staged = Staged::new(action, fields.clone(), history.clone());
            staged.now = now;
            staged.elevations.clone_from(&elevations);
            staged.holds.clone_from(&holds);
            self.set_facts(table, &mut staged, index == 0);
            staged.settle();
            elements.push(staged);
        }
        if self.faults.len() > before {
            return None;
        }
        Some(Case { name: name?.text, elements, expect: expect? })
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

    fn history(&mut self, table: &Table<'_, '_>) -> History {
        let Some(value) = table.value("history") else { return History::default() };
        let Some(table) = Table::of(self.source, value, self.faults) else {
            return History::default();
        };
        table.only(&["countries", "asns"], self.faults);
        let countries = table.texts("countries", self.faults);
        let mut asns = Vec::new();
        for text in table.texts("asns", self.faults) {
            match text.text.parse() {
                Ok(asn) => asns.push(asn),
                Err(_) => self.faults.push(text.fault(self.source, "this is not a number")),
            }
        }
        History { countries: countries.into_iter().map(|text| text.text).collect(), asns }
    }

    fn request(&mut self, table: &Table<'_, '_>) -> Option<(ActionName, Vec<Fields>)> {
        let value = table.value("request")?;
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
        let Some(action) = table.text("action", self.faults) else {
            let message = "a request has an `action`, or is `raw`";
            self.faults.push(Fault::new(self.source, value.span(), message));
            return None;
        };
        if !self.policy.vocabulary().knows(&action.text) {
            let message = format!("unknown action `{}`", action.text);
            let help = self.policy.vocabulary().suggest(&action.text);
            self.faults.push(Fault { help, ..action.fault(self.source, message) });
            return None;
        }
        let fields = match table.value("fields") {
            None => vec![Fields::default()],
            Some(value) => match value.get_ref().as_array() {
                Some(batch) => batch.iter().filter_map(|item| self.fields(item)).collect(),
                None => self.fields(value).into_iter().collect(),
            },
        };
        Some((ActionName::new(action.text), fields))
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
                    None => flat.extend(table.text(key, self.faults).map(|text| (name, text))),
                }
            }
        }
        flat
    }

    /// `tell`: faults are told for the first element only, as they are the same for all.
    fn set_facts(&mut self, table: &Table<'_, '_>, staged: &mut Staged, tell: bool) {
        let Some(value) = table.value("facts") else { return };
        let before = self.faults.len();
        if let Some(table) = Table::of(self.source, value, self.faults) {
            let mut facts = self.flattened(&table);
            facts.sort_by_key(|(name, _)| Staged::rank(name));
            for (name, text) in facts {
                if let Err(wrong) = staged.set(&name, &text.text, self.policy.vocabulary()) {
                    self.faults.push(text.wrong(self.source, wrong));
                }
            }
        }
        if !tell {
            self.faults.truncate(before);
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

    fn factor(&mut self, text: &Text) -> Option<Factor> {
        let factor = Factor::from_word(&text.text);
        if factor.is_none() {
            let help = suggest(&text.text, Factor::ALL.map(Factor::word));
            let fault = text.fault(self.source, format!("unknown factor `{}`", text.text));
            self.faults.push(Fault { help, ..fault });
        }
        factor
    }

    fn rule(&mut self, text: &Text) -> Option<RuleId> {
        let known = self.policy.rule_ids().find(|id| id.as_str() == text.text);
        if known.is_none() {
            let help = suggest(&text.text, self.policy.rule_ids().map(RuleId::as_str));
            let fault = text.fault(self.source, format!("the policy has no rule `{}`", text.text));
            self.faults.push(Fault { help, ..fault });
        }
        known.cloned()
    }

    fn rules(&mut self, table: &Table<'_, '_>, key: &str) -> Option<BTreeSet<String>> {
        table.value(key)?;
        let texts = table.texts(key, self.faults);
        Some(texts.iter().filter_map(|text| self.rule(text)).map(|id| id.to_string()).collect())
    }

    fn expect(&mut self, table: &Table<'_, '_>) -> Option<Expect> {
        let value = table.value("expect")?;
        let table = Table::of(self.source, value, self.faults)?;
        table.only(&EXPECT_KEYS, self.faults);
        let Some(verdict) = table.text("verdict", self.faults) else {
            let message = "a case expects a `verdict`";
            self.faults.push(Fault::new(self.source, value.span(), message));
            return None;
        };
        if !VERDICTS.contains(&&*verdict.text) {
            let help = format!("verdicts are {}", VERDICTS.join(", "));
            let fault = verdict.fault(self.source, format!("unknown verdict `{}`", verdict.text));
            self.faults.push(fault.help(help));
        }
        let factors = table.text("factors", self.faults).and_then(|text| {
            let factors = condition::factors(&text.text);
            factors.map_err(|t| self.faults.push(text.trouble(self.source, t))).ok()
        });
        Some(Expect {
            span: value.span(),
            verdict: verdict.text,
            rules: self.rules(&table, "rules"),
            shadow: self.rules(&table, "shadow"),
            satisfied: self.rules(&table, "satisfied"),
            factors,
            until_ms: table.duration("until", self.faults),
        })
    }
}
