//! Every fact of one element with its value, or why it has none: for people who ask what a rule could see.
//!
//! Never another value than a rule's own: it is read by the table. Invariant: each fact of the table is there once.

use std::sync::Arc;

use serde::Serialize;

use super::facts::{Fact, Facts};
use super::table::FACTS;
use super::told::{Told, tell};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactReason {
    pub name: Arc<str>,
    /// As text: the value, `absent` or `unreadable`.
    pub value: Arc<str>,
    /// Why it is absent or unreadable.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
}

/// All facts in the table's order; then other fields and the counters that are not zero.
pub fn reasons(facts: &Facts<'_>) -> Vec<FactReason> {
    let mut told = tell(std::slice::from_ref(facts));
    let mut all = Vec::new();
    for spec in FACTS {
        let Some(fact) = spec.read(facts) else { continue };
        let Some((name, value)) = told.remove_entry(spec.name) else { continue };
        let why = match fact {
            Fact::Known(_) => "",
            Fact::Absent => spec.when_absent,
            Fact::Unreadable => spec.when_unreadable,
        };
        all.push(FactReason { name, value, why });
    }
    all.extend(told.into_iter().map(|(name, value)| FactReason { name, value, why: "" }));
    all
}

/// The same of facts that were recorded, in the table's order; those of single elements of a batch come last.
pub fn of_told(told: &Told) -> Vec<FactReason> {
    let reason = |name: &Arc<str>, value: &Arc<str>| {
        let plain = name.split('[').next().unwrap_or(name);
        let spec = FACTS.iter().find(|spec| *spec.name == *plain);
        let why = match (spec, &**value) {
            (Some(spec), "absent") => spec.when_absent,
            (Some(spec), "unreadable") => spec.when_unreadable,
            _ => "",
        };
        FactReason { name: name.clone(), value: value.clone(), why }
    };
    let place = |name: &str| FACTS.iter().position(|spec| spec.name == name);
    let mut all: Vec<FactReason> = told.iter().map(|(name, value)| reason(name, value)).collect();
    all.sort_by_key(|fact| place(&fact.name).unwrap_or(FACTS.len()));
    all
}

#[cfg(test)]
mod tests {
    use super::super::staged::{History, Staged};
    use super::*;
    use crate::types::Fields;

    #[test]
    fn what_has_no_value_says_why() {
        let mut staged = Staged::new("withdrawal", Fields::default(), History::default());
        let vocabulary = super::super::Vocabulary::new(&[]);
        staged.set("geo.country", "unreadable", &vocabulary).unwrap();
        staged.settle();
        let all = reasons(&staged.facts());
        let find = |name: &str| all.iter().find(|fact| &*fact.name == name).unwrap();
        assert_eq!((&*find("geo.country").value, find("site").why), ("unreadable", ""));
        assert!(find("amount").why.contains("request"), "{:?}", find("amount"));
        assert!(!find("geo.country").why.is_empty());
        let told = tell(&[staged.facts()]);
        assert_eq!(of_told(&told), all, "recorded facts say the same");
        let named = FACTS.iter().filter(|spec| !spec.name.contains('<'));
        assert!(named.count() <= all.len());
    }
}
