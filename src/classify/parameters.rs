//! The parameters of an intent: every query and body parameter, whether the pack knows it or not.
//!
//! Never decodes: a value counts as it was sent. Invariant: the list is the same for two requests
//! exactly when they differ only in volatile parameters, in the order of members and pairs, in
//! white space between JSON tokens, or in the spelling of a declared amount that is the same
//! number.

use super::amount;
use super::json::{self, Json};
use super::pairs::Pair;
use super::place::Place;
use super::read::{Parts, Refused};
use super::rule::ActionRule;

type Parameters = Vec<(String, String)>;

impl ActionRule {
    pub(super) fn parameters(&self, parts: &Parts<'_>) -> Result<Parameters, Refused> {
        let mut list = Vec::new();
        for pair in &parts.query {
            self.pair("query", &Place::Query(pair.name.clone()), pair, &mut list)?;
        }
        for pair in &parts.form {
            self.pair("form", &Place::Form(pair.name.clone()), pair, &mut list)?;
        }
        if let Some(json) = &parts.json {
            let mut walk = Walk { rule: self, names: Vec::new(), list: &mut list };
            walk.json("json", json)?;
        }
        let mut headers: Vec<_> = self
            .bound_places()
            .filter_map(|place| match place {
                Place::Header(name) => Some(name),
                _ => None,
            })
            .collect();
        headers.sort_by_key(|name| name.as_str());
        headers.dedup();
        for name in headers {
            if let Some(value) = parts.headers.get(name).and_then(|value| value.to_str().ok()) {
                list.push((format!("header.{name}"), value.to_owned()));
            }
        }
        list.sort_unstable();
        Ok(list)
    }

    fn pair(
        &self,
        kind: &str,
        place: &Place,
        pair: &Pair<'_>,
        list: &mut Parameters,
    ) -> Result<(), Refused> {
        if self.volatile.contains(place) {
            return Ok(());
        }
        let name = format!("{kind}.{}", pair.raw_name);
        let value = match (&pair.value, pair.raw_value) {
            (Some(value), _) if self.is_amount(place) => canonical_amount(value)?,
            // With its `=`: a name without one is not the same as an empty value.
            (_, Some(raw)) => format!("={raw}"),
            (_, None) => String::new(),
        };
        list.push((name, value));
        Ok(())
    }

    fn is_amount(&self, place: &Place) -> bool {
        self.fields.iter().any(|field| field.amount && field.places.contains(place))
    }
}

/// Goes through a JSON body; `names` are the decoded names on the way, without indices.
struct Walk<'w, 'r> {
    rule: &'r ActionRule,
    names: Vec<String>,
    list: &'w mut Parameters,
}

impl Walk<'_, '_> {
    fn json(&mut self, spelt: &str, value: &Json<'_>) -> Result<(), Refused> {
        match value {
            Json::Scalar(token) => {
                let text = match self.rule.is_amount(&self.place()) {
                    true => canonical_amount(&json::scalar_text(token).unwrap_or_default())?,
                    false => (*token).to_owned(),
                };
                self.list.push((spelt.to_owned(), text));
            }
            Json::Array(values) => {
                self.list.push((spelt.to_owned(), "[".to_owned()));
                // The elements of a batch are the places that the pack names; any other array is a
                // place of its own.
                let root = self.names.is_empty() && self.rule.is_batch();
                self.names.extend((!root).then(|| "[]".to_owned()));
                for (at, value) in values.iter().enumerate() {
                    self.json(&format!("{spelt}[{at}]"), value)?;
                }
                self.names.truncate(self.names.len().saturating_sub(usize::from(!root)));
            }
            Json::Object(members) => {
                self.list.push((spelt.to_owned(), "{".to_owned()));
                for member in members {
                    self.names.push(member.name.clone());
                    if !self.rule.volatile.contains(&self.place()) {
                        self.json(&format!("{spelt}.{}", member.raw_name), &member.value)?;
                    }
                    self.names.pop();
                }
            }
        }
        Ok(())
    }

    fn place(&self) -> Place {
        Place::Json { each: self.rule.is_batch(), path: self.names.clone() }
    }
}

fn canonical_amount(text: &str) -> Result<String, Refused> {
    amount::canonical(text).map(str::to_owned).ok_or("an amount is no plain decimal".into())
}
