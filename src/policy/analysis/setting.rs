//! Rules that cannot work where they are used: facts that nothing tells, fields that no pack reads.
//!
//! Never an error: one policy may serve several sites. Invariant: what is called never readable has no value in any
//! request to this site.

use std::sync::Arc;

use super::super::rule::Rule;
use super::super::syntax::{self, Raw, Speech};
use super::super::table::FIELD_FACTS;
use super::super::vocabulary::Vocabulary;
use super::factors;
use crate::fault::{Fault, Source};

/// What the configuration and the packs of a site offer to its rules.
#[derive(Clone, Copy)]
pub struct Setting<'s> {
    /// There is a file of countries.
    pub countries: bool,
    /// There is a file of networks.
    pub networks: bool,
    /// Something tells prices.
    pub prices: bool,
    /// Text messages can be sent.
    pub sms: bool,
    /// The site asks for passkeys.
    pub passkeys: bool,
    /// The fields that the packs read for an action; `None` if they do not have it.
    pub fields: &'s dyn Fn(&str) -> Option<Vec<Arc<str>>>,
}

/// What cannot work of one rule.
pub fn doubts(
    file: &Source,
    rule: &Rule,
    vocabulary: &Vocabulary,
    setting: &Setting<'_>,
) -> Vec<Fault> {
    let mut doubts = factors::doubts(file, rule, setting.sms, setting.passkeys);
    let mut fields: Option<Vec<Arc<str>>> = None;
    let about = |action: &&Arc<str>| rule.on.iter().any(|pattern| pattern.covers(action));
    for action in vocabulary.iter().filter(about) {
        if let Some(more) = (setting.fields)(action) {
            fields.get_or_insert_default().extend(more);
        }
    }
    for text in [&rule.place.when, &rule.place.unless].into_iter().flatten() {
        let raw = syntax::parse(&text.text, Speech::Condition);
        let mut seen = Vec::new();
        raw.iter().for_each(|raw| {
            each_fact(raw, &mut |name, span| {
                if seen.contains(&name) {
                    return;
                }
                seen.push(name);
                let fault = |message| Fault::warning(file, text.span_of(&span), message);
                if let Some((lacks, help)) = unreadable(name, setting) {
                    let message = format!("`{name}` is never readable: there is no {lacks}");
                    doubts.push(fault(message).help(help));
                } else if let (Some(field), Some(fields)) = (field(name), &fields)
                    && !fields.iter().any(|known| **known == *field)
                {
                    let message = format!("`{name}` is always absent here");
                    let help =
                        format!("no action of this rule has the field `{field}` in the packs");
                    doubts.push(fault(message).help(help));
                }
            });
        });
    }
    doubts
}

/// What it would take to read this fact, if that is missing.
fn unreadable(name: &str, setting: &Setting<'_>) -> Option<(&'static str, &'static str)> {
    let counts = "what cannot be read counts against the request: a restriction speaks, an exception does not";
    match name {
        "geo.country" | "geo.city" | "geo.new_country" if !setting.countries => {
            Some(("`city` file in `[geo]`", counts))
        }
        "geo.asn" | "geo.new_asn" if !setting.networks => Some(("`asn` file in `[geo]`", counts)),
        "usd_value" if !setting.prices => Some(("`[prices]`", counts)),
        _ => None,
    }
}

/// The field that a fact is read from.
fn field(name: &str) -> Option<&str> {
    if let Some(field) = name.strip_prefix("field.") {
        return Some(field);
    }
    match name {
        "usd_value" => Some("amount"),
        _ if name.starts_with("address.") => Some("address"),
        _ => FIELD_FACTS.into_iter().find(|known| *known == name),
    }
}

fn each_fact<'i>(raw: &Raw<'i>, see: &mut impl FnMut(&'i str, std::ops::Range<usize>)) {
    match raw {
        Raw::Any(parts) | Raw::All(parts) => parts.iter().for_each(|part| each_fact(part, see)),
        Raw::Not(inner, _) => each_fact(inner, see),
        Raw::Atom(atom) => {
            atom.facts.iter().for_each(|fact| see(fact.text, fact.span.clone()));
        }
    }
}
