//! The written form of one `[[case]]` of a pack.
//!
//! Never classifies. Invariant: a case with any fault in it, a name that the packs do not know included, is not handed on.

use std::ops::Range;

use super::detect::{ActionSet, Unclassified};
use super::written::{Keys, Text};
use crate::fault::suggest;
use crate::types::FieldValue;

/// A case, read.
pub(super) struct Case {
    pub name: String,
    /// The request as text.
    pub request: Text,
    pub expect: Expect,
    /// Where `expect` stands.
    pub span: Range<usize>,
}

/// What the packs must take a request for. What is left out is not compared.
pub(super) enum Expect {
    /// A guarded action.
    Action {
        name: String,
        elements: Option<Vec<Vec<Wanted>>>,
        shown: Option<Vec<String>>,
    },
    /// What streams through unread, perhaps under this name.
    Ordinary(Option<String>),
    Unlisted(Unclassified),
    /// Not accepted, perhaps with these words among the reasons.
    Refused(Option<String>),
}

/// One field of an element; `None` is one that must not be there.
pub(super) struct Wanted {
    pub field: String,
    pub value: Option<FieldValue>,
}

const ENDS: [&str; 4] = ["action", "ordinary", "unlisted", "refused"];

/// Reads one case; `None` and faults if it is not written properly. Without a set every name is taken for a known one.
pub(super) fn case(keys: &Keys<'_>, set: Option<&ActionSet>) -> Option<Case> {
    let before = keys.fault_count();
    keys.only(&["name", "request", "expect"]);
    let (name, request) = (keys.text("name"), keys.text("request"));
    let table = keys.table("expect");
    let expect = table.as_ref().and_then(|table| expect(table, set));
    // A value of the wrong type was told already.
    if keys.fault_count() == before {
        let missing = |key, absent: bool, help| absent.then(|| keys.missing(key, help));
        missing("name", name.is_none(), "say in one sentence what the case is about");
        missing("request", request.is_none(), "write the request as text: `POST /path` and on");
        missing("expect", table.is_none(), "for example expect = { action = \"withdrawal\" }");
    }
    let (name, request, expect, table) = (name?, request?, expect?, table?);
    let case = Case { name: name.value, request, expect, span: table.span };
    (keys.fault_count() == before).then_some(case)
}

fn expect(keys: &Keys<'_>, set: Option<&ActionSet>) -> Option<Expect> {
    keys.only(&["action", "fields", "shown", "ordinary", "unlisted", "refused"]);
    let given: Vec<&str> = ENDS.into_iter().filter(|key| keys.has(key)).collect();
    let [end] = given.as_slice() else {
        let message = format!("a case expects one of {}", ENDS.join(", "));
        keys.fault(keys.span.clone(), message);
        return None;
    };
    if *end != "action" && (keys.has("fields") || keys.has("shown")) {
        keys.fault(keys.span.clone(), "only an action has `fields` and `shown`");
    }
    match *end {
        "ordinary" => {
            let name = certainly(keys, "ordinary")?;
            let known = |name: &Text| is_known(keys, set, name);
            name.as_ref().is_none_or(known).then(|| Expect::Ordinary(name.map(|it| it.value)))
        }
        "refused" => certainly(keys, "refused").map(|why| Expect::Refused(why.map(|it| it.value))),
        "unlisted" => unlisted(keys).map(Expect::Unlisted),
        _ => action(keys, set),
    }
}

/// `true`, or a text that says more.
fn certainly(keys: &Keys<'_>, key: &str) -> Option<Option<Text>> {
    if keys.holds_text(key) {
        return keys.text(key).map(Some);
    }
    let yes = keys.boolean(key)?;
    if !yes {
        keys.fault(keys.span.clone(), format!("`{key}` is true or a text"));
    }
    yes.then_some(None)
}

fn unlisted(keys: &Keys<'_>) -> Option<Unclassified> {
    let text = keys.text("unlisted")?;
    let said = Unclassified::ALL.into_iter().find(|said| said.word() == text.value);
    if said.is_none() {
        let help = suggest(&text.value, Unclassified::ALL.map(Unclassified::word));
        keys.fault_with(text.span, "`unlisted` is one of allow, require, deny", help);
    }
    said
}

fn action(keys: &Keys<'_>, set: Option<&ActionSet>) -> Option<Expect> {
    let name = keys.text("action")?;
    if !is_known(keys, set, &name) {
        return None;
    }
    let elements = keys.has("fields").then(|| {
        let tables = keys.one_or_more_tables("fields");
        tables.iter().map(|table| fields(table, set, &name.value)).collect()
    });
    let shown = keys.has("shown").then(|| {
        let lines = keys.texts("shown").into_iter();
        lines.map(|line| line.value).collect()
    });
    Some(Expect::Action { name: name.value, elements, shown })
}

fn is_known(keys: &Keys<'_>, set: Option<&ActionSet>, name: &Text) -> bool {
    let Some(set) = set else { return true };
    let names = set.action_names();
    let known = names.iter().any(|known| known.as_str() == name.value);
    if !known {
        let message = format!("the packs have no action `{}`", name.value);
        let help = suggest(&name.value, names.iter().map(|name| name.as_str()));
        keys.fault_with(name.span.clone(), message, help);
    }
    known
}

fn fields(keys: &Keys<'_>, set: Option<&ActionSet>, action: &str) -> Vec<Wanted> {
    let rules = set.into_iter().flat_map(ActionSet::rules);
    let rules = rules.filter(|rule| rule.name.as_str() == action);
    let known: Vec<_> = rules.flat_map(|rule| rule.field_names()).collect();
    let mut wanted = Vec::new();
    for (field, values) in keys.entries() {
        if set.is_some() && !known.iter().any(|name| **name == *field.value) {
            let message = format!("`{action}` has no field `{}`", field.value);
            let help = suggest(&field.value, known.iter().map(|name| &**name));
            keys.fault_with(field.span.clone(), message, help);
        }
        let value = match values.as_slice() {
            [only] if only.value == "absent" => None,
            [only] if only.value == "unreadable" => Some(FieldValue::Unreadable),
            [only] => Some(FieldValue::Text(only.value.as_str().into())),
            _ => {
                keys.fault(field.span, "a field has one value");
                continue;
            }
        };
        wanted.push(Wanted { field: field.value, value });
    }
    wanted
}
