//! What a case expects, as it is written, and what of it did not come out.
//!
//! Never decides. Invariant: what is left out is not compared; every difference is told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::PolicySet;
use super::case_file::{Reader, Words};
use super::condition;
use super::literal::{self, spell_duration};
use super::rule::Spelt;
use super::verdict::{Decision, FactorExpr, Requirement, Valid, Verdict};
use super::written::{Table, Text};
use crate::fault::{Fault, suggest};
use crate::types::{Factor, FactorSet, UnixMs};

const KEYS: [&str; 8] =
    ["verdict", "rules", "shadow", "satisfied", "factors", "until", "notify", "valid"];
const VERDICTS: [&str; 5] = ["allow", "require", "hold", "deny", "freeze"];
/// In a cell: no rule at all.
const NONE: &str = "none";

/// What is compared; `None` is not.
pub struct Expect {
    /// Of the whole expectation.
    pub span: Range<usize>,
    /// Of the cells of a row.
    pub cells: BTreeMap<&'static str, Range<usize>>,
    pub verdict: String,
    pub rules: Option<BTreeSet<String>>,
    pub shadow: Option<BTreeSet<String>>,
    pub satisfied: Option<BTreeSet<String>>,
    /// Of all rules together.
    pub factors: Option<FactorExpr>,
    /// Of each rule by itself.
    pub factors_by: Vec<(String, FactorExpr)>,
    pub until_ms: Option<u64>,
    pub notify: Option<Notify>,
    /// Of an approval of all that is asked.
    pub valid: Option<Option<Valid>>,
    pub valid_by: Vec<(String, Option<Valid>)>,
}

/// Whether the owner is told.
pub enum Notify {
    Told(bool),
    By(BTreeSet<String>),
}

impl Expect {
    /// Every rule that is expected to speak, in any voice.
    pub fn all_rules(&self) -> impl Iterator<Item = &String> {
        [&self.rules, &self.shadow, &self.satisfied].into_iter().flatten().flatten()
    }

    /// What did not come out: the key, and a sentence.
    pub fn differences(
        &self,
        policy: &PolicySet,
        decision: &Decision,
        now: UnixMs,
    ) -> Vec<(&'static str, String)> {
        let mut differences = Vec::new();
        let mut differ = |key: &'static str, expected: String, said: String| {
            if expected != said {
                let sentence = format!("expected {key} {expected}, the policy says {said}");
                differences.push((key, sentence));
            }
        };
        differ("verdict", self.verdict.clone(), decision.verdict.word().to_owned());
        let voices = [
            ("rules", &self.rules, (false, false)),
            ("shadow", &self.shadow, (true, false)),
            ("satisfied", &self.satisfied, (false, true)),
        ];
        for (key, expected, voice) in voices {
            let Some(expected) = expected else { continue };
            let said = decision.said.iter().filter(|said| (said.shadow, said.satisfied) == voice);
            let said: BTreeSet<String> = said.map(|said| said.rule.to_string()).collect();
            differ(key, listed(expected), listed(&said));
        }
        if let Some(expected) = &self.factors {
            let said = asked(decision.requirement());
            if !same_demand(&said, expected) {
                differ("factors", Spelt(expected).to_string(), Spelt(&said).to_string());
            }
        }
        let term = |rule: &str| {
            let mut terms = decision.requirement()?.terms.iter();
            terms.find(|term| term.rule.as_str() == rule)
        };
        for (rule, expected) in &self.factors_by {
            let nothing = FactorExpr::All(Vec::new());
            let said = term(rule).map_or(&nothing, |term| &term.factors);
            if !same_demand(said, expected) {
                let (expected, said) = (Spelt(expected), Spelt(said));
                differ("factors", format!("{expected} by {rule}"), said.to_string());
            }
        }
        for (rule, expected) in &self.valid_by {
            let said = term(rule).map_or_else(|| "nothing".to_owned(), |it| spell_valid(it.valid));
            if said != spell_valid(*expected) {
                differ("valid", format!("{} by {rule}", spell_valid(*expected)), said);
            }
        }
        if let Some(expected) = self.until_ms {
            let said = match &decision.verdict {
                Verdict::Hold { until, .. } => spell_duration(until.since_ms(now)),
                _ => "nothing".to_owned(),
            };
            differ("until", spell_duration(expected), said);
        }
        let told = told_by(policy, decision);
        match &self.notify {
            None => {}
            Some(Notify::Told(expected)) => {
                differ("notify", expected.to_string(), (!told.is_empty()).to_string());
            }
            Some(Notify::By(expected)) => differ("notify", listed(expected), listed(&told)),
        }
        if let Some(expected) = self.valid {
            let said = decision.requirement().map(|it| spell_valid(shortest(it)));
            let said = said.unwrap_or_else(|| "nothing".to_owned());
            differ("valid", spell_valid(expected), said);
        }
        differences
    }
}

impl Reader<'_> {
    pub fn expect(&mut self, words: Words<'_, '_>) -> Option<Expect> {
        let value = words.table.value("expect");
        let table = match value {
            Some(value) => Some(Table::of(self.source, value, self.faults)?),
            None => None,
        };
        table.inspect(|table| table.only(&KEYS, self.faults));
        let in_row = words.cells.iter().any(|(column, _)| KEYS.contains(column));
        let span = match value {
            Some(value) if !in_row => value.span(),
            _ => words.span.clone(),
        };
        if value.is_none() && !in_row {
            return None;
        }
        let Some(verdict) = self.text(words, table, "verdict") else {
            let message = "a case expects a `verdict`";
            self.faults.push(Fault::new(self.source, span, message));
            return None;
        };
        if !VERDICTS.contains(&&*verdict.text) {
            let help = suggest(&verdict.text, VERDICTS)
                .unwrap_or_else(|| format!("verdicts are {}", VERDICTS.join(", ")));
            let fault = verdict.fault(self.source, format!("unknown verdict `{}`", verdict.text));
            self.faults.push(fault.help(help));
        }
        let factors_by = self.by_rule(table, "factors");
        let factors_by =
            factors_by.into_iter().filter_map(|(id, it)| Some((id, self.demand(&it)?)));
        let factors_by = factors_by.collect();
        let factors = self.said(words, table, "factors").and_then(|it| self.demand(&it));
        let valid_by = self.by_rule(table, "valid");
        let valid_by = valid_by.into_iter().filter_map(|(id, it)| Some((id, self.valid(&it)?)));
        let valid_by = valid_by.collect();
        let valid = self.said(words, table, "valid").and_then(|it| self.valid(&it));
        let until = self.text(words, table, "until");
        let spans = KEYS.iter().filter_map(|key| Some((*key, words.cell(key)?.span.clone())));
        Some(Expect {
            span,
            cells: spans.collect(),
            verdict: verdict.text,
            rules: self.rules(words, table, "rules"),
            shadow: self.rules(words, table, "shadow"),
            satisfied: self.rules(words, table, "satisfied"),
            factors,
            factors_by,
            until_ms: until.and_then(|text| text.duration(self.source, "until", self.faults)),
            notify: self.notify(words, table),
            valid,
            valid_by,
        })
    }

    fn text(
        &mut self,
        words: Words<'_, '_>,
        table: Option<Table<'_, '_>>,
        key: &str,
    ) -> Option<Text> {
        words.cell(key).cloned().or_else(|| table?.text(key, self.faults))
    }

    fn rules(
        &mut self,
        words: Words<'_, '_>,
        table: Option<Table<'_, '_>>,
        key: &str,
    ) -> Option<BTreeSet<String>> {
        let texts = match (words.cell(key), table) {
            (Some(cell), _) if cell.text == NONE => Vec::new(),
            (Some(cell), _) => cell.words(),
            (None, Some(table)) => {
                table.value(key)?;
                table.texts(key, self.faults)
            }
            (None, None) => return None,
        };
        Some(texts.iter().filter_map(|text| self.rule(text)).map(|id| id.to_string()).collect())
    }

    fn notify(&mut self, words: Words<'_, '_>, table: Option<Table<'_, '_>>) -> Option<Notify> {
        let flag = match words.cell("notify") {
            Some(cell) => cell.text.parse().ok(),
            None => table?.value("notify")?.get_ref().as_bool(),
        };
        match flag {
            Some(told) => Some(Notify::Told(told)),
            None => self.rules(words, table, "notify").map(Notify::By),
        }
    }

    /// A text that is one for all rules.
    fn said(
        &mut self,
        words: Words<'_, '_>,
        table: Option<Table<'_, '_>>,
        key: &str,
    ) -> Option<Text> {
        let by_rule = table.and_then(|it| it.value(key)).is_some_and(|it| it.get_ref().is_table());
        if by_rule && words.cell(key).is_none() {
            return None;
        }
        self.text(words, table, key)
    }

    /// `factors.large-withdrawal = "totp and sms"`: texts by rule.
    fn by_rule(&mut self, table: Option<Table<'_, '_>>, key: &str) -> Vec<(String, Text)> {
        let by_rule = table.and_then(|it| it.value(key)?.get_ref().as_table());
        let Some(by_rule) = by_rule.map(|entries| Table::new(self.source, entries)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (id, span, _) in by_rule.iter() {
            let known = self.rule(&Text::at(id, span));
            let text = by_rule.text(id, self.faults);
            found.extend(known.zip(text).map(|(id, text)| (id.to_string(), text)));
        }
        found
    }

    fn demand(&mut self, text: &Text) -> Option<FactorExpr> {
        let factors = condition::factors(&text.text);
        factors.map_err(|t| self.faults.push(text.trouble(self.source, t))).ok()
    }

    /// `once`, `session` or a duration.
    fn valid(&mut self, text: &Text) -> Option<Option<Valid>> {
        match &*text.text {
            "once" => Some(None),
            "session" => Some(Some(Valid::Session)),
            other => match literal::duration(other) {
                Ok(ms) => Some(Some(Valid::ForMs(ms))),
                Err(_) => {
                    let message = format!("`{other}` is not how long an approval is good for");
                    let help = "write `once`, `session` or a duration such as `12h`";
                    self.faults.push(text.fault(self.source, message).help(help));
                    None
                }
            },
        }
    }
}

impl Decision {
    fn requirement(&self) -> Option<&Requirement> {
        match &self.verdict {
            Verdict::Require(requirement) => Some(requirement),
            _ => None,
        }
    }
}

/// `a, b`, or `none`.
fn listed(rules: &BTreeSet<String>) -> String {
    match rules.is_empty() {
        true => NONE.to_owned(),
        false => rules.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// The rules because of which the owner is told: those that spoke aloud and still want something.
fn told_by(policy: &PolicySet, decision: &Decision) -> BTreeSet<String> {
    let open = decision.said.iter().filter(|said| !said.shadow && !said.satisfied);
    open.filter(|said| policy.notifies(&said.rule)).map(|said| said.rule.to_string()).collect()
}

/// For how long an approval of all terms spares another: the shortest counts.
fn shortest(requirement: &Requirement) -> Option<Valid> {
    let length = |valid: &Option<Valid>| match valid {
        None => 0,
        Some(Valid::ForMs(ms)) => *ms,
        Some(Valid::Session) => u64::MAX,
    };
    requirement.terms.iter().map(|term| term.valid).min_by_key(length).flatten()
}

fn spell_valid(valid: Option<Valid>) -> String {
    match valid {
        None => "once".to_owned(),
        Some(Valid::Session) => "session".to_owned(),
        Some(Valid::ForMs(ms)) => spell_duration(ms),
    }
}

/// What all terms together ask for; nothing without a requirement.
fn asked(requirement: Option<&Requirement>) -> FactorExpr {
    requirement.map_or(FactorExpr::All(Vec::new()), Requirement::demand)
}

/// Whether the same factors meet both, however they are spelt.
fn same_demand(one: &FactorExpr, other: &FactorExpr) -> bool {
    every_set().all(|proven| one.met_by(proven) == other.met_by(proven))
}

/// Every set of factors that can be given.
pub fn every_set() -> impl Iterator<Item = FactorSet> {
    (0_u32..1 << Factor::ALL.len()).map(|bits| {
        let given = Factor::ALL.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        given.map(|(_, factor)| factor).collect()
    })
}
