//! Every fact of one element with its value, or why it has none: for people who ask what a rule could see.
//!
//! Never another value than a rule's own: it is read by the table. Invariant: each fact of the table is there once.

use std::sync::Arc;

use serde::Serialize;

use super::facts::Facts;
use super::table::FACTS;
use super::told::{COUNTERS, Told, tell};

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
    of_told(&tell(std::slice::from_ref(facts)))
}

/// Why a fact that was told has no value.
fn reason(name: &Arc<str>, value: &Arc<str>) -> FactReason {
    let plain = name.split('[').next().unwrap_or(name);
    let spec = FACTS.iter().find(|spec| match plain {
        COUNTERS => spec.name.starts_with("counters."),
        plain => spec.name == plain,
    });
    let why = match (spec, &**value) {
        (_, "absent") if plain == COUNTERS => "ordinary traffic is not counted",
        (Some(spec), "absent") => spec.when_absent,
        (Some(spec), "unreadable") => spec.when_unreadable,
        _ => "",
    };
    FactReason { name: name.clone(), value: value.clone(), why }
}

/// The same of facts that were recorded, in the table's order; those of single elements of a batch come last.
pub fn of_told(told: &Told) -> Vec<FactReason> {
    let place = |name: &str| FACTS.iter().position(|spec| spec.name == name);
    let mut all: Vec<FactReason> = told.iter().map(|(name, value)| reason(name, value)).collect();
    all.sort_by_key(|fact| place(&fact.name).unwrap_or(FACTS.len()));
    all
}

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::staged::Staged;
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
        assert!(find("amount").why.contains("no such field"), "{:?}", find("amount"));
        assert!(!find("geo.country").why.is_empty());
        let before = |one: &str, other: &str| {
            let place = |name| all.iter().position(|fact| &*fact.name == name);
            place(one) < place(other)
        };
        assert!(before("site", "amount") && before("amount", "geo.country"), "the table's order");
        let named = FACTS.iter().filter(|spec| !spec.name.contains('<'));
        assert!(named.count() <= all.len());
    }
}
