//! Facts as text, for the record: evidence, and enough to decide a request again under another policy.
//!
//! Never leaves out a fact of the table because no rule looked at it: tomorrow's rule may. Invariant: each fact of the
//! table is there with its value, `absent` or `unreadable`; of the counters those that are not zero.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::explain::spelt;
use super::facts::{Fact, Facts};
use super::number;
use super::table::{FACTS, FIELD_FACTS, Value};
use crate::types::FieldValue;

/// Each fact's value by name. Of a batch, a fact that is not the same as in the first element is said again as
/// `name[1]`, `name[2]`, … for the first elements.
pub type Told = BTreeMap<Arc<str>, Arc<str>>;

/// Elements of a batch whose facts are told.
pub const ELEMENTS_TOLD_MAX: usize = 32;
/// Stands for all counters if they are not known: it is then `absent` or `unreadable`.
pub const COUNTERS: &str = "counters";

/// Tells all facts of one request.
pub fn tell(elements: &[Facts<'_>]) -> Told {
    let Some((first, rest)) = elements.split_first() else { return Told::new() };
    let told: Told = each(first).collect();
    let mut all = told.clone();
    for (at, facts) in rest.iter().enumerate().take(ELEMENTS_TOLD_MAX - 1) {
        let again: Told = each(facts).collect();
        let gone = told.keys().filter(|name| !again.contains_key(*name));
        let gone = gone.map(|name| (name.clone(), ABSENT.into()));
        let other = again.iter().filter(|(name, value)| told.get(*name) != Some(value));
        let other = other.map(|(name, value)| (name.clone(), value.clone()));
        all.extend(gone.chain(other).map(|(name, value)| (tagged(&name, at + 1), value)));
    }
    all
}

/// `address[2]`: the fact of the third element.
fn tagged(name: &str, element: usize) -> Arc<str> {
    format!("{name}[{element}]").into()
}

fn each(facts: &Facts<'_>) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    let rows = FACTS.iter().filter_map(|spec| {
        let value = spec.read(facts)?;
        Some((spec.name.into(), plain(value)))
    });
    let others = facts.fields.iter().filter(|(name, _)| !FIELD_FACTS.contains(&&***name));
    let others = others.map(|(name, value)| {
        let value = match value {
            FieldValue::Text(text) => plain(Fact::Known(Value::Text(text))),
            FieldValue::Unreadable => UNREADABLE.into(),
        };
        (format!("field.{name}").into(), value)
    });
    rows.chain(others).chain(counters(facts))
}

fn counters(facts: &Facts<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let counters = match facts.counters {
        Fact::Known(counters) => counters,
        Fact::Absent => return vec![(COUNTERS.into(), ABSENT.into())],
        Fact::Unreadable => return vec![(COUNTERS.into(), UNREADABLE.into())],
    };
    let rows = counters.0.iter().filter(|(_, _, total)| total.count > 0);
    rows.flat_map(|(action, window, total)| {
        let usd = total.usd.and_then(number::sound);
        let usd = usd.map_or(Fact::Unreadable, |usd| Fact::Known(Value::Number(usd)));
        let name = |what: &str| format!("counters.{action}.{what}_{}", window.word()).into();
        [(name("count"), total.count.to_string().into()), (name("usd"), plain(usd))]
    })
    .collect()
}

/// A value by itself. Text has no quotes, so that what must not be written is recognised; text that could be taken for
/// a state keeps them.
fn plain(value: Fact<Value<'_>>) -> Arc<str> {
    match value {
        Fact::Known(Value::Text(text)) if text != ABSENT && text != UNREADABLE => text.into(),
        other => spelt(other).into(),
    }
}

const ABSENT: &str = "absent";
const UNREADABLE: &str = "unreadable";

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::staged::Staged;
    use super::super::vocabulary::Vocabulary;
    use super::*;
    use crate::types::Fields;

    fn staged(facts: &[(&str, &str)]) -> Staged {
        let mut fields = Fields::default();
        fields.set("amount", FieldValue::Text("5".into()));
        let mut staged = Staged::new("withdrawal", fields, History::default());
        for (name, value) in facts {
            staged.set(name, value, &Vocabulary::new(&[])).unwrap();
        }
        staged.settle();
        staged
    }

    #[test]
    fn every_fact_is_told_and_of_counters_what_is_not_zero() {
        let staged = staged(&[
            ("usd_value", "12000.50"),
            ("field.note", "absent"),
            ("field.memo", "x"),
            ("field.odd", "unreadable"),
            ("network", "absent"),
            ("counters.withdrawal.count_1h", "0"),
            ("counters.withdrawal.count_24h", "2"),
            ("counters.withdrawal.usd_24h", "unreadable"),
        ]);
        let told = tell(&[staged.facts()]);
        let say = |name: &str| told.get(name).map(|value| &**value);
        for spec in FACTS.iter().filter(|spec| !spec.name.contains('<')) {
            assert!(say(spec.name).is_some(), "{}", spec.name);
        }
        assert_eq!(say("usd_value"), Some("12000.5"));
        assert_eq!((say("network"), say("address.age")), (Some("absent"), Some("absent")));
        assert_eq!((say("geo.country"), say("geo.new_country")), (Some("JP"), Some("false")));
        assert_eq!((say("field.memo"), say("field.odd")), (Some("x"), Some("unreadable")));
        assert_eq!((say("field.note"), say("field.amount")), (None, None));
        let counters: Vec<_> = told.iter().filter(|(name, _)| name.starts_with("count")).collect();
        let counters: Vec<_> =
            counters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            counters,
            ["counters.withdrawal.count_24h=2", "counters.withdrawal.usd_24h=unreadable"],
        );
    }

    #[test]
    fn of_a_batch_what_differs_is_told_again() {
        let one = staged(&[("usd_value", "1"), ("field.only", "here")]);
        let two = staged(&[("usd_value", "2"), ("asset", "absent")]);
        let told = tell(&[one.facts(), one.facts(), two.facts()]);
        let again: Vec<_> = told.iter().filter(|(name, _)| name.contains('[')).collect();
        let again: Vec<_> = again.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(again, ["field.only[2]=absent", "usd_value[2]=2"]);
    }

    #[test]
    fn text_that_could_be_taken_for_a_state_is_quoted() {
        let staged = staged(&[]);
        let mut fields = Fields::default();
        fields.set("tag", FieldValue::Text("absent".into()));
        let told = tell(&[Facts { fields: &fields, ..staged.facts() }]);
        assert_eq!(told.get("tag").map(|value| &**value), Some("\"absent\""));
    }
}
