//! The written form of `<name>.policy.toml`, and its way into rules.
//!
//! Never leaves this folder and never stops at the first fault. Invariant: rules come out only if
//! there was no fault at all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use super::analysis;
use super::condition::{self, Condition, Scope, Sets};
use super::rule::{Outcome, Pattern, Place, Rule, Say};
use super::table::FactRef;
use super::verdict::Valid;
use super::vocabulary::Vocabulary;
use super::written::{self, Table, Text};
use crate::fault::{Fault, Source, stranger};
use crate::types::RuleId;

const RULES_MAX: usize = 10_000;
const SET_ITEMS_MAX: usize = 10_000;
const ID_MAX: usize = 64;
const WHY_MAX: usize = 500;
const OUTCOMES: [&str; 5] = ["require", "hold", "deny", "freeze", "allow"];
const ROOT_KEYS: [&str; 3] = ["version", "sets", "rule"];
const RULE_KEYS: [&str; 13] = [
    "id", "on", "when", "unless", "require", "hold", "deny", "freeze", "allow", "valid", "notify",
    "why", "shadow",
];

/// Reads all rules of a policy, or tells every fault of it in the order of the file.
pub fn read(
    source: &Source,
    vocabulary: &Vocabulary,
    faults: &mut Vec<Fault>,
) -> Option<Vec<Rule>> {
    let mut found = Vec::new();
    let rules = read_all(source, vocabulary, &mut found);
    let whole = found.is_empty();
    found.sort_by_key(|fault| fault.span.start);
    faults.append(&mut found);
    rules.filter(|_| whole)
}

fn read_all(
    source: &Source,
    vocabulary: &Vocabulary,
    faults: &mut Vec<Fault>,
) -> Option<Vec<Rule>> {
    let document = written::document(source, faults)?;
    let root = Table::new(source, document.get_ref());
    root.only(&ROOT_KEYS, faults);
    version(&root, faults);
    let sets = sets(&root, faults);
    let rules = root.meant("rule", &ROOT_KEYS);
    let tables = rules.map(|rules| root.tables_of("rule", rules, faults)).unwrap_or_default();
    if tables.len() > RULES_MAX {
        let message = format!("more than {RULES_MAX} rules");
        faults.push(Fault::new(source, root.key_span("rule").unwrap_or(0..0), message));
        return None;
    }
    let scope = Scope { vocabulary, sets: &sets };
    let mut seen = BTreeMap::new();
    let rules: Vec<_> =
        tables.iter().map(|(table, span)| rule(table, span, scope, &mut seen, faults)).collect();
    rules.into_iter().collect()
}

/// The ids of all rules, whatever else is wrong with the file; `None` if some rule has none that can be read.
pub fn ids(source: &Source) -> Option<Vec<String>> {
    let quiet = &mut Vec::new();
    let document = written::document(source, quiet)?;
    let root = Table::new(source, document.get_ref());
    // A misspelt key here may be rules.
    root.only(&ROOT_KEYS, quiet);
    let tables = root.tables("rule", quiet);
    let id = |table: &Table<'_, '_>| table.text("id", &mut Vec::new()).map(|id| id.text);
    let ids: Option<Vec<String>> = tables.iter().map(|(table, _)| id(table)).collect();
    ids.filter(|ids| {
        quiet.is_empty() && !ids.is_empty() && ids.iter().all(|id| is_plain(id, "_-."))
    })
}

/// The version of the written form; this is the first.
pub fn version(root: &Table<'_, '_>, faults: &mut Vec<Fault>) {
    let source = root.source();
    let Some(value) = root.value("version") else {
        faults.push(Fault::new(source, 0..0, "`version` is missing").help("write `version = 1`"));
        return;
    };
    match value.get_ref().as_integer().map(|number| number.as_str()) {
        Some("1") => {}
        Some(_) => {
            let message = "this version of the language is not known";
            faults.push(Fault::new(source, value.span(), message).help("write `version = 1`"));
        }
        None => faults.push(written::unlike(source, value, "the number 1")),
    }
}

fn sets(root: &Table<'_, '_>, faults: &mut Vec<Fault>) -> Sets {
    let Some(value) = root.meant("sets", &ROOT_KEYS) else { return Sets::new() };
    let Some(table) = Table::of(root.source(), value, faults) else { return Sets::new() };
    let mut sets = Sets::new();
    for (name, key_span, value) in table.iter() {
        if !is_plain(name, "_-") {
            let message = format!("`{name}` cannot be written as a set");
            faults.push(
                Fault::new(root.source(), key_span, message)
                    .help("set names are lower-case letters, digits, `_` and `-`"),
            );
        }
        if !value.get_ref().is_array() {
            faults.push(written::unlike(root.source(), value, "a list"));
            continue;
        }
        let items = written::texts(root.source(), value, faults);
        if items.len() > SET_ITEMS_MAX {
            let message = format!("a set holds at most {SET_ITEMS_MAX} items");
            faults.push(Fault::new(root.source(), value.span(), message));
        }
        let items = items.iter().map(|item| set_item(root.source(), item, faults));
        sets.insert(name.into(), items.collect());
    }
    sets
}

/// A network with host bits is told where it stands, not at each use; the network itself is what is used.
fn set_item(source: &Source, item: &Text, faults: &mut Vec<Fault>) -> Arc<str> {
    match item.text.parse::<IpNet>() {
        Ok(network) if network.trunc() != network => {
            let message = format!("`{}` has bits set beyond its prefix", item.text);
            let help = format!("write `{}`", network.trunc());
            faults.push(item.fault(source, message).help(help));
            network.trunc().to_string().into()
        }
        _ => Arc::from(&*item.text),
    }
}

fn rule(
    table: &Table<'_, '_>,
    span: &Range<usize>,
    scope: Scope<'_>,
    seen: &mut BTreeMap<String, usize>,
    faults: &mut Vec<Fault>,
) -> Option<Rule> {
    table.only(&RULE_KEYS, faults);
    let id = id(table, span, seen, faults);
    let on = on(table, span, scope.vocabulary, faults);
    let when = match table.value("when") {
        Some(_) => compiled(table, "when", scope, faults),
        None => Some(Condition::always()),
    };
    let unless = match table.value("unless") {
        Some(_) => compiled(table, "unless", scope, faults).map(Some),
        None => Some(None),
    };
    let outcome = outcome(table, span, faults);
    let why = why(table, faults);
    let notify = table.flag("notify", faults);
    let shadow = table.flag("shadow", faults);
    let (when, unless, outcome) = (when?, unless?, outcome?);
    let say = if shadow { Say::shadow(outcome) } else { Say::Aloud(outcome) };
    let geographic = [Some(&when), unless.as_ref()]
        .into_iter()
        .flatten()
        .any(|condition| condition.facts().into_iter().any(FactRef::is_geographic));
    let (line, _) = Fault::new(table.source(), span.clone(), "").position();
    let place = Box::new(place(table));
    Some(Rule { id: id?, line, on: on?, when, unless, say, why, notify, geographic, place })
}

/// Every text has been read before, so nothing is wrong with it now.
fn place(table: &Table<'_, '_>) -> Place {
    let text = |key| table.text(key, &mut Vec::new());
    Place {
        id: table.value("id").map_or(0..0, |id| id.span()),
        on: table.texts("on", &mut Vec::new()).into_iter().map(|text| text.span).collect(),
        when: text("when"),
        unless: text("unless"),
        require: text("require"),
    }
}

fn id(
    table: &Table<'_, '_>,
    span: &Range<usize>,
    seen: &mut BTreeMap<String, usize>,
    faults: &mut Vec<Fault>,
) -> Option<RuleId> {
    let source = table.source();
    if table.value("id").is_none() {
        let help = "an id names the rule in every record, as in `id = \"large-withdrawal\"`";
        faults.push(Fault::new(source, header(span), "this rule has no `id`").help(help));
        return None;
    }
    let id = table.text("id", faults)?;
    if !is_plain(&id.text, "_-.") {
        let message = format!("`{}` cannot be a rule's id", id.text.escape_debug());
        let help = format!("1 to {ID_MAX} lower-case letters, digits, `-`, `_` and `.`");
        faults.push(id.fault(source, message).help(help));
        return None;
    }
    if let Some(first) = seen.get(&id.text) {
        let (line, _) = Fault::new(source, *first..*first, "").position();
        let message = format!("another rule is called `{}` too", id.text);
        faults.push(id.fault(source, message).help(format!("the first is on line {line}")));
        return None;
    }
    seen.insert(id.text.clone(), id.span.start);
    Some(RuleId::new(id.text))
}

/// Lower-case names, as rules and sets have them.
fn is_plain(name: &str, marks: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || marks.contains(c);
    (1..=ID_MAX).contains(&name.len()) && name.chars().all(plain)
}

/// The first characters of a table, where its `[[…]]` stands.
fn header(span: &Range<usize>) -> Range<usize> {
    span.start..span.end.min(span.start + "[[rule]]".len())
}

fn on(
    table: &Table<'_, '_>,
    span: &Range<usize>,
    vocabulary: &Vocabulary,
    faults: &mut Vec<Fault>,
) -> Option<Vec<Pattern>> {
    let source = table.source();
    let Some(value) = table.value("on") else {
        let help =
            "write the actions that it is about, as in `on = \"withdrawal\"` or `on = \"*\"`";
        faults.push(Fault::new(source, header(span), "this rule has no `on`").help(help));
        return None;
    };
    if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
        let message = "a rule about no action never speaks";
        faults
            .push(Fault::new(source, value.span(), message).help("write `\"*\"` for every action"));
        return None;
    }
    let before = faults.len();
    let texts = table.texts("on", faults);
    let patterns = texts.iter().filter_map(|text| {
        pattern(source, text, vocabulary).map_err(|fault| faults.push(*fault)).ok()
    });
    let patterns: Vec<_> = patterns.collect();
    (faults.len() == before).then_some(patterns)
}

fn pattern(source: &Source, on: &Text, vocabulary: &Vocabulary) -> Result<Pattern, Box<Fault>> {
    let name = &*on.text;
    if name == "*" {
        return Ok(Pattern::Every);
    }
    if let Some(prefix) = name.strip_suffix('*') {
        if !prefix.ends_with('.') || prefix.contains('*') {
            let fault = on.fault(source, format!("`{name}` is not a way to name actions"));
            return Err(Box::new(
                fault.help("write an action, a whole group as in `address_book.*`, or `*`"),
            ));
        }
        if !vocabulary.has_group(prefix) {
            let fault = on.fault(source, format!("no action begins with `{prefix}`"));
            return Err(Box::new(Fault { help: vocabulary.suggest_group(name), ..fault }));
        }
        return Ok(Pattern::Prefix(prefix.into()));
    }
    if !vocabulary.knows(name) {
        let fault = on.fault(source, format!("unknown action `{}`", name.escape_debug()));
        if name.contains([',', ' ']) {
            let help = "several actions are a list, as in `[\"withdrawal\", \"transfer\"]`";
            return Err(Box::new(fault.help(help)));
        }
        return Err(Box::new(Fault { help: vocabulary.suggest(name), ..fault }));
    }
    Ok(Pattern::Exact(name.into()))
}

fn compiled(
    table: &Table<'_, '_>,
    key: &str,
    scope: Scope<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Condition> {
    let text = table.text(key, faults)?;
    let mut troubles = Vec::new();
    let condition = Condition::compile(&text.text, scope, &mut troubles);
    faults.extend(troubles.into_iter().map(|trouble| text.trouble(table.source(), trouble)));
    condition
}

fn outcome(table: &Table<'_, '_>, span: &Range<usize>, faults: &mut Vec<Fault>) -> Option<Outcome> {
    let source = table.source();
    let said: Vec<&str> =
        OUTCOMES.into_iter().filter(|outcome| table.value(outcome).is_some()).collect();
    if said.is_empty() {
        faults.push(
            Fault::new(source, header(span), "this rule says nothing")
                .help("give it one of `require`, `hold`, `deny`, `freeze`, `allow`"),
        );
    }
    if let [_, .., last] = &*said {
        let message = format!("a rule says one thing; this says {}", said.join(" and "));
        let at = table.key_span(last).unwrap_or_else(|| header(span));
        faults.push(Fault::new(source, at, message).help("split it into several rules"));
    }
    let valid = valid(table, faults);
    let outcomes: Vec<_> = said.iter().map(|key| one_outcome(table, key, valid, faults)).collect();
    if !said.contains(&"require")
        && let Some(at) = table.key_span("valid")
    {
        let message = "`valid` goes with `require`: only an approval can be valid for longer";
        faults.push(Fault::new(source, at, message));
    }
    outcomes.into_iter().next().flatten()
}

fn one_outcome(
    table: &Table<'_, '_>,
    key: &str,
    valid: Option<Valid>,
    faults: &mut Vec<Fault>,
) -> Option<Outcome> {
    match key {
        "require" => {
            let text = table.text(key, faults)?;
            let factors = condition::factors(&text.text)
                .map_err(|trouble| faults.push(text.trouble(table.source(), trouble)))
                .ok()?;
            faults.extend(analysis::never_given(table.source(), &text, &factors));
            Some(Outcome::Require { factors, valid })
        }
        "hold" => table.duration(key, faults).map(|ms| Outcome::Hold { ms }),
        _ => {
            let before = faults.len();
            let said = table.flag(key, faults);
            if !said && faults.len() == before {
                let at = table.value(key).map_or(0..0, |value| value.span());
                let message = format!("`{key} = false` says nothing");
                faults.push(Fault::new(table.source(), at, message).help("leave it out"));
            }
            said.then_some(match key {
                "deny" => Outcome::Deny,
                "freeze" => Outcome::Freeze,
                _ => Outcome::Allow,
            })
        }
    }
}

fn valid(table: &Table<'_, '_>, faults: &mut Vec<Fault>) -> Option<Valid> {
    let value = table.value("valid")?;
    if value.get_ref().as_str() == Some("session") {
        return Some(Valid::Session);
    }
    let before = faults.len();
    let ms = table.duration("valid", faults);
    for fault in faults.iter_mut().skip(before) {
        fault.help = Some("write `\"session\"` or a duration such as `\"12h\"`".to_owned());
    }
    ms.map(Valid::ForMs)
}

fn why(table: &Table<'_, '_>, faults: &mut Vec<Fault>) -> Option<Arc<str>> {
    let why = table.text("why", faults)?;
    if why.text.is_empty() || why.text.len() > WHY_MAX || why.text.contains(char::is_control) {
        let message = format!("`why` is one line of 1 to {WHY_MAX} bytes, for the customer");
        faults.push(why.fault(table.source(), message));
        return None;
    }
    if let Some(odd) = why.text.chars().find(|c| stranger::reorders(*c)) {
        let message = format!("{}: customers would read another sentence", stranger::describe(odd));
        faults.push(why.fault(table.source(), message).help("write the sentence without it"));
        return None;
    }
    Some(why.text.into())
}
