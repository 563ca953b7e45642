//! A pack's text → its part of an `ActionSet`.
//!
//! Never stops at the first fault. Invariant: what compiles has no two actions that one request
//! could match, and no volatile parameter that anyone looks at.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::answer::NativeAnswer;
use super::canonical::is_strict;
use super::detect::{Pack, Unclassified, Unlisted};
use super::draft::{Draft, is_word, named, unreadable, volatile};
use super::pattern::Pattern;
use super::place::Place;
use super::rule::{ActionRule, BodyKinds, Sign};
use super::sample::{Carrier, Origin, Sample};
use super::socket::{Bearing, Only, Socket};
use super::written::{Keys, Text};
use crate::fault::{Fault, Source, nearest, suggest};
use crate::types::ActionName;

/// The first words of a match.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "WS"];

/// A pattern and where it stands, to compare it with those of the other packs.
pub(super) struct Claim {
    pub pattern: Pattern,
    pub action: ActionName,
    pub source: Source,
    pub span: Range<usize>,
}

const ROOT_KEYS: [&str; 11] = [
    "version",
    "exchange",
    "unclassified",
    "sensitive",
    "sensitive_reads",
    "accepted",
    "unknown",
    "volatile",
    "challenge",
    "websocket",
    "action",
];

/// What the actions of a pack are called, whatever else is wrong with it.
pub(super) fn names(source: &Source) -> Option<Vec<ActionName>> {
    let quiet = RefCell::new(Vec::new());
    let table = crate::fault::read_toml(source, &mut quiet.borrow_mut())?;
    let keys = Keys::new(source, table.get_ref(), 0..0, &quiet);
    keys.only(&ROOT_KEYS);
    let names: Option<Vec<_>> = keys.tables("action").iter().map(name).collect();
    names.filter(|_| quiet.borrow().is_empty())
}

/// A pack with the origins of its rules, in order. None if the file is so broken that nothing in it can be used; faults say so.
pub(super) fn pack(
    source: &Source,
    claims: &mut Vec<Claim>,
    faults: &RefCell<Vec<Fault>>,
) -> Option<(Pack, Vec<Origin>)> {
    let table = crate::fault::read_toml(source, &mut faults.borrow_mut())?;
    let keys = Keys::new(source, table.get_ref(), 0..0, faults);
    keys.only(&ROOT_KEYS);
    version(&keys);
    if keys.text("exchange").is_none() {
        keys.missing("exchange", "name the exchange that this file describes");
    }
    let unlisted = unlisted(&keys);
    let sensitive = prefixes(&keys, "sensitive");
    let sensitive_reads = prefixes(&keys, "sensitive_reads");
    let answer = answer(&keys);
    let (accepted, unknown) = (signs(&keys, "accepted"), signs(&keys, "unknown"));
    let socket = keys.table("websocket").and_then(|table| Socket::compile(&table));
    let defaults =
        Defaults { answer: &answer, accepted, unknown, volatile: keys.texts("volatile") };
    let actions = keys.tables("action");
    let described = actions.iter().filter_map(|keys| rule(keys, &defaults, claims));
    let (rules, origins): (Vec<ActionRule>, _) = described.unzip();
    private(&keys, &rules, socket.as_deref());
    Some((Pack { unlisted, sensitive, sensitive_reads, answer, socket, rules }, origins))
}

pub(super) fn version(keys: &Keys<'_>) {
    match keys.integer("version") {
        Some((1, _)) => {}
        Some((_, span)) => keys.fault(span, "only version 1 is known"),
        None => keys.missing("version", "write `version = 1`"),
    }
}

/// Reads are allowed and writes denied unless the pack says otherwise.
fn unlisted(keys: &Keys<'_>) -> Unlisted {
    let mut unlisted = Unlisted { read: Unclassified::Allow, write: Unclassified::Deny };
    if let Some(table) = keys.table("unclassified") {
        table.only(&["read", "write"]);
        let word = |table: &Keys<'_>, key, default| {
            let Some(text) = table.text(key) else { return default };
            match text.value.as_str() {
                "allow" => Unclassified::Allow,
                "require" => Unclassified::Require,
                "deny" => Unclassified::Deny,
                _ => {
                    let help = suggest(&text.value, ["allow", "require", "deny"]);
                    let message = format!("`{key}` is one of allow, require, deny");
                    table.fault_with(text.span, message, help);
                    default
                }
            }
        };
        unlisted.read = word(&table, "read", unlisted.read);
        unlisted.write = word(&table, "write", unlisted.write);
    }
    unlisted
}

fn prefixes(keys: &Keys<'_>, key: &str) -> Vec<String> {
    let mut prefixes = Vec::new();
    for prefix in keys.texts(key) {
        let bare = prefix.value.strip_suffix('/').unwrap_or(&prefix.value);
        if is_strict(bare) {
            prefixes.push(prefix.value);
        } else {
            keys.fault(prefix.span, "a sensitive prefix is a plain path such as `/api/v5/asset/`");
        }
    }
    prefixes
}

fn answer(keys: &Keys<'_>) -> Option<Arc<NativeAnswer>> {
    let table = keys.table("challenge")?;
    table.only(&["status", "body", "id"]);
    let status = match table.integer("status") {
        None => 401,
        Some((status @ 100..=599, _)) => u16::try_from(status).unwrap_or(401),
        Some((_, span)) => {
            table.fault(span, "an HTTP status is between 100 and 599");
            401
        }
    };
    let Some(body) = table.text("body") else {
        table.missing("body", "write the exchange's error body with `{message}` in it");
        return None;
    };
    match NativeAnswer::new(status, &body.value, repeated(&table)) {
        Ok(answer) => Some(Arc::new(answer)),
        Err(why) => {
            table.fault(body.span, why);
            None
        }
    }
}

/// `id = ["json.id", "query.id"]`: where a request says which answer is its own.
fn repeated(keys: &Keys<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    for text in keys.texts("id") {
        match Place::parse(&text.value) {
            Ok(place @ (Place::Json { each: false, .. } | Place::Query(_))) => places.push(place),
            Ok(_) => keys.fault(text.span, "an id is read at `json.name` or `query.name`"),
            Err(why) => keys.fault(text.span, why),
        }
    }
    places
}

/// `accepted = { "json.code" = "0" }`; a list of values means any of them.
fn signs(keys: &Keys<'_>, key: &'static str) -> Option<Vec<Sign>> {
    let table = keys.table(key)?;
    let mut signs = Vec::new();
    for (place, values) in table.entries() {
        match Place::parse(&place.value) {
            Ok(Place::Json { each: false, path }) => {
                let values = values.into_iter().map(|value| value.value).collect();
                signs.push(Sign { path, values });
            }
            Ok(_) => table.fault(place.span, "an answer is read as JSON: `json.name`"),
            Err(why) => table.fault(place.span, why),
        }
    }
    Some(signs)
}

/// What the pack says for all of its actions.
struct Defaults<'p> {
    answer: &'p Option<Arc<NativeAnswer>>,
    accepted: Option<Vec<Sign>>,
    unknown: Option<Vec<Sign>>,
    /// Counts where an action's `body` has such a kind.
    volatile: Vec<Text>,
}

fn rule(
    keys: &Keys<'_>,
    defaults: &Defaults<'_>,
    claims: &mut Vec<Claim>,
) -> Option<(ActionRule, Origin)> {
    let faults = keys.fault_count();
    keys.only(&[
        "name",
        "match",
        "select",
        "body",
        "fields",
        "need",
        "volatile",
        "show",
        "amounts",
        "whole",
        "labels",
        "unreadable",
        "choose",
        "guarded",
        "login",
        "credentials",
        "only",
        "learn",
        "accepted",
        "unknown",
        "sample",
    ]);
    let name = name(keys)?;
    let patterns = patterns(keys, &name, claims);
    let body = body_kinds(keys);
    let guarded = keys.boolean("guarded").unwrap_or(true);
    let mut draft = Draft { body, patterns: &patterns, json_each: None, list: None };
    let select = draft.select(keys);
    let mut fields = draft.fields(keys);
    let choose = draft.choose(keys);
    let known: Vec<Arc<str>> = fields.iter().map(|field| field.name.clone()).collect();
    let [needed, amounts, whole, labels] =
        ["need", "amounts", "whole", "labels"].map(|key| named(keys, key, &known));
    for field in &mut fields {
        field.needed |= needed.contains(&field.name);
        field.amount |= amounts.contains(&field.name);
        field.whole |= whole.contains(&field.name);
        field.label |= labels.contains(&field.name);
    }
    let unreadable = unreadable(keys, &known);
    let chosen = choose.iter().flat_map(|row| row.fields.iter().map(|(name, _)| name.clone()));
    let show = named(
        keys,
        "show",
        &known.iter().chain(&unreadable).cloned().chain(chosen).collect::<Vec<_>>(),
    );
    let [accepted, unknown] = [("accepted", &defaults.accepted), ("unknown", &defaults.unknown)]
        .map(|(key, default)| signs(keys, key).or_else(|| default.clone()).unwrap_or_default());
    let route = patterns.first()?.text.as_str().into();
    let (line, _) = Fault::new(keys.source, keys.span.clone(), "").position();
    let mut rule = ActionRule {
        name,
        origin: format!("{}:{line}", keys.source.path.display()).into(),
        body,
        guarded,
        route,
        answer: defaults.answer.clone(),
        volatile: Vec::new(),
        login: keys.boolean("login").unwrap_or(false),
        credentials: Bearing::compile(keys),
        only: Only::compile(keys),
        learn: learn(keys),
        patterns,
        select,
        fields,
        show,
        choose,
        unreadable,
        accepted,
        unknown,
    };
    rule.volatile = volatile(keys, &defaults.volatile, &rule);
    let sample = sample(keys, &rule, keys.fault_count() == faults);
    Some((rule, Origin { source: keys.source.clone(), span: keys.span.clone(), sample }))
}

/// A guarded action with parameters without a sample is a fault, if it has no other (`sound`).
fn sample(keys: &Keys<'_>, rule: &ActionRule, sound: bool) -> Option<Sample> {
    let kinds = keys.texts("body");
    let first = kinds.iter().find(|kind| kind.value != "none").map(|kind| kind.value.as_str());
    let carrier = match first {
        Some("json") => Carrier::Json,
        Some("form") => Carrier::Form,
        Some("query") => Carrier::Query,
        _ => Carrier::None,
    };
    match keys.text("sample") {
        Some(text) if carrier == Carrier::None => {
            // A kind that is misspelt was told.
            if sound {
                keys.fault(text.span, "`sample`, but `body` declares no kind that could hold it");
            }
            None
        }
        Some(Text { value: text, span }) => Some(Sample { text, carrier, span }),
        None if !rule.guarded => None,
        None if carrier == Carrier::None => {
            Some(Sample { text: String::new(), carrier, span: keys.span.clone() })
        }
        None => {
            if sound {
                let example = match carrier {
                    Carrier::Json => r#"sample = '{"amt":"1"}'`: the body"#,
                    Carrier::Form => "sample = 'amt=1'`: the body",
                    _ => "sample = 'amt=1'`: the query",
                };
                keys.missing(
                    "sample",
                    &format!("write `{example} of a request that is this action"),
                );
            }
            None
        }
    }
}

/// `learn = "json.result.token"`: a member of the answer.
fn learn(keys: &Keys<'_>) -> Option<Vec<String>> {
    let text = keys.text("learn")?;
    match Place::parse(&text.value) {
        Ok(Place::Json { each: false, path }) => Some(path),
        _ => {
            keys.fault(text.span, "an answer is read as JSON: `json.name`");
            None
        }
    }
}

/// Messages of a path are read only if it is private: an action elsewhere would guard nothing.
fn private(keys: &Keys<'_>, rules: &[ActionRule], socket: Option<&Socket>) {
    let frames = rules.iter().flat_map(|rule| &rule.patterns).filter(|pattern| pattern.is_frame());
    for pattern in frames {
        if !socket.is_some_and(|socket| socket.private.contains(&pattern.text)) {
            let help = format!("add it to `private` of `[websocket]`: `{}`", pattern.text);
            let message = format!("messages of `{}` are not read", pattern.text);
            keys.fault_with(keys.span.clone(), message, Some(help));
        }
    }
}

fn name(keys: &Keys<'_>) -> Option<ActionName> {
    let Some(name) = keys.text("name") else {
        keys.missing("name", "policies name actions: `name = \"withdrawal\"`");
        return None;
    };
    if !is_word(&name.value) {
        keys.fault(name.span, "a name is lower-case letters, digits, `_` and `.`");
    }
    Some(ActionName::new(name.value))
}

fn patterns(keys: &Keys<'_>, action: &ActionName, claims: &mut Vec<Claim>) -> Vec<Pattern> {
    let texts = keys.texts("match");
    if texts.is_empty() {
        keys.missing("match", "write `match = [\"POST /path\"]`");
    }
    let mut patterns = Vec::new();
    for text in texts {
        match Pattern::parse(&text.value) {
            Ok(pattern) => {
                claim(keys, &pattern, action, &text, claims);
                patterns.push(pattern);
            }
            Err(why) => {
                let (method, rest) = text.value.split_once(' ').unwrap_or((&text.value, ""));
                let near = nearest(method, METHODS).filter(|near| *near != method);
                let help = match near {
                    Some(near) => Some(format!("did you mean `{near} {rest}`?")),
                    None if rest.contains("://") => {
                        Some("write the path alone; the site has its host".to_owned())
                    }
                    None if rest.contains('?') => {
                        Some("a path ends before the `?`; the query is read with `query.x`".into())
                    }
                    None => None,
                };
                keys.fault_with(text.span, why, help);
            }
        }
    }
    patterns
}

/// A request that two actions could match would have two meanings.
fn claim(
    keys: &Keys<'_>,
    pattern: &Pattern,
    action: &ActionName,
    text: &Text,
    claims: &mut Vec<Claim>,
) {
    let source = keys.source.clone();
    if let Some(other) = claims.iter().find(|other| other.pattern.overlaps(pattern)) {
        let (line, column) =
            Fault::new(&other.source, other.span.clone(), String::new()).position();
        let at = format!("{}:{line}:{column}", other.source.path.display());
        let message = format!("one request could match this and `{}` at {at}", other.action);
        let help = "a request has one meaning: take one of the two out, or make it narrower";
        keys.fault_with(text.span.clone(), message, Some(help.to_owned()));
        return;
    }
    claims.push(Claim {
        pattern: pattern.clone(),
        action: action.clone(),
        source,
        span: text.span.clone(),
    });
}

fn body_kinds(keys: &Keys<'_>) -> BodyKinds {
    let mut kinds = BodyKinds::default();
    for text in keys.texts("body") {
        match text.value.as_str() {
            "json" => kinds.json = true,
            "form" => kinds.form = true,
            "query" => kinds.query = true,
            "none" => kinds.none = true,
            other => {
                let near = nearest(other, ["json", "form", "query", "none"]);
                let help = near.map(|near| format!("did you mean `{near}`?"));
                let message = format!("`{other}` is not one of json, form, query, none");
                keys.fault_with(text.span, message, help);
                // What it was meant to be is declared, so that no source is told to be undeclared.
                kinds.json |= near.is_none_or(|near| near == "json");
                kinds.form |= near.is_none_or(|near| near == "form");
                kinds.query |= near.is_none_or(|near| near == "query");
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use crate::classify::load;
    use crate::fault::Source;

    const HEAD: &str = "version = 1\nexchange = \"t\"\n";

    /// The messages of all faults, with the line of each.
    fn faults(texts: &[&str]) -> Vec<String> {
        let sources: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| Source::new(format!("{at}.toml"), *text))
            .collect();
        let mut faults = Vec::new();
        let set = load(&sources, &mut faults);
        assert_eq!(set.is_none(), !faults.is_empty());
        faults
            .iter()
            .map(|fault| {
                let help = fault.help.as_deref().unwrap_or("");
                format!("{}: {} ({help})", fault.position().0, fault.message)
            })
            .collect()
    }

    fn one_fault(action: &str, says: &str) {
        let text = format!("{HEAD}[[action]]\nname = \"a\"\n{action}");
        let found = faults(&[&text]);
        assert!(found.len() == 1 && found[0].contains(says), "{action}: {found:?}");
    }

    #[test]
    fn a_sound_pack_compiles() {
        let text = format!(
            r#"{HEAD}
            unclassified = {{ read = "require", write = "allow" }}
            sensitive = ["/a/", "/b"]
            accepted = {{ "json.code" = "0" }}
            volatile = ["query.ts", "json.ts"]
            [challenge]
            body = '{{"m":"{{message}}"}}'
            [[action]]
            name = "w"
            match = ["POST /a/w/{{id}}", "PUT /a/w/{{id}}"]
            body = ["form", "query"]
            fields = {{ amount = "form.amt", id = "path.id", ua = "header.User-Agent" }}
            need = ["amount"]
            volatile = ["form.ts"]
            show = ["amount", "kind"]
            sample = "amt=1&k=2"
            choose = [{{ when = {{ "form.k" = ["1", "2"] }}, fields = {{ kind = "x" }} }}]
            "#
        );
        assert_eq!(faults(&[&text]), Vec::<String>::new());
    }

    #[test]
    fn every_fault_of_every_pack_is_found_at_once() {
        let first = r#"version = 2
            sensitiv = []
            unclassified = { read = "perhaps", writ = "deny" }
            sensitive = ["a/"]
            [challenge]
            status = 700
            body = "nothing"
            [[action]]
            match = "POST /a"
            [[action]]
            name = "Loud"
            match = ["POST /a", "GET a", 3]
            body = "xml"
            need = ["x"]
        "#;
        let found = faults(&[first, "version = 1\nexchange = 5", "= broken"]);
        for says in [
            "1: only version 1",
            "2: unknown key `sensitiv` (did you mean `sensitive`?)",
            "`exchange` is missing",
            "3: unknown key `writ`",
            "3: `read` is one of",
            "4: a sensitive prefix",
            "6: an HTTP status",
            "7: the body has no `{message}`",
            "8: `name` is missing",
            "11: a name is lower-case",
            "12: the path begins",
            "12: `match` is a string or a list of strings, not integer",
            "13: `xml` is not one of",
            "14: `need` names no field: `x`",
            "2: `exchange` is a string, not integer",
        ] {
            assert!(found.iter().any(|fault| fault.contains(says)), "{says} not in {found:#?}");
        }
        assert!(found.len() > 15, "{found:#?}");
    }

    #[test]
    fn two_actions_that_one_request_could_match_are_refused_across_packs() {
        let action = |name: &str, pattern: &str| {
            format!("{HEAD}[[action]]\nname = \"{name}\"\nmatch = \"{pattern}\"\n")
        };
        let found = faults(&[&action("a", "POST /x/{y}"), &action("b", "POST /x/z")]);
        assert!(found.len() == 1 && found[0].contains("`a` at 0.toml:5:9"), "{found:?}");
        let apart = faults(&[&action("a", "POST /x/{y}"), &action("a", "GET /x/z")]);
        assert_eq!(apart, Vec::<String>::new());
        let selected = |name: &str, pattern: &str| {
            let select = "select = \"json.op\"\nbody = \"json\"";
            let sample = "sample = '{\"op\":\"{operation}\"}'";
            format!("{}{select}\n{sample}\n", action(name, pattern))
        };
        let rpc = |text: &str| format!("POST /rpc op={text}");
        let found = faults(&[&selected("a", &rpc("a*")), &selected("b", &rpc("ab"))]);
        assert!(found.len() == 1 && found[0].contains("one request could match"), "{found:?}");
        assert!(faults(&[&selected("a", &rpc("a")), &selected("b", &rpc("b"))]).is_empty());
        let found = faults(&[&selected("a", &rpc("a")), &action("b", "POST /rpc")]);
        assert!(found.len() == 1 && found[0].contains("one request could match"), "{found:?}");
    }

    #[test]
    fn a_source_that_the_request_cannot_have_is_refused() {
        one_fault("match = \"POST /a\"\nfields = { x = \"jsn.a\" }", "does not say where");
        one_fault("match = \"POST /a\"\nfields = { x = \"json.a\" }", "does not declare json");
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nfields = { x = \"query.a\" }",
            "does not declare query",
        );
        one_fault("match = \"POST /a/{b}\"\nfields = { x = \"path.a\" }", "no `{a}`");
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nfields = { x = \"json.a\", y = \"json[].a\" }",
            "cannot be mixed",
        );
        for (sources, says) in [
            ("x = \"json.a[]\"", "never the value"),
            ("x = \"json.a[].b[].c\"", "one of the arrays"),
            ("x = \"json[].a[].b\"", "one of the arrays"),
            ("x = \"json.[].b\"", "named with dots"),
            ("x = \"json.a[].b\", y = \"json.c[].b\"", "the elements of one list"),
        ] {
            one_fault(
                &format!("match = \"POST /a\"\nbody = \"json\"\nfields = {{ {sources} }}"),
                says,
            );
        }
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nchoose = [{ when = {}, fields = { b = \"c\" } }]",
            "unless it always fits",
        );
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nchoose = [{ when = { \"form.a\" = \"1\" }, fields = { b = \"c\" } }]",
            "does not declare form",
        );
        one_fault("match = \"POST /rpc op=order\"\nbody = \"json\"", "names the member");
        one_fault("match = \"POST /rpc op=order\"\nselect = \"json.op\"", "does not declare json");
        let select = "\nselect = \"json.op\"\nbody = \"json\"";
        one_fault(&format!("match = \"POST /rpc\"{select}"), "behind every path");
        one_fault(&format!("match = \"POST /rpc method=order\"{select}"), "selects by `op`");
        one_fault(
            "match = \"POST /rpc op=order\"\nbody = \"json\"\nselect = \"json.a.op\"",
            "one member of the body's root",
        );
        one_fault(
            &format!("match = \"POST /rpc op=order\"{select}\nfields = {{ x = \"json[].a\" }}"),
            "cannot be mixed",
        );
        one_fault(
            &format!("match = \"POST /rpc op=order\"{select}\nvolatile = [\"json.op\"]"),
            "is read by this action",
        );
        one_fault("match = \"POST /a\"\nshow = [\"amount\"]", "`show` names no field");
        one_fault("match = \"POST /a\"\nwhen = 1", "unknown key `when`");
        one_fault("match = \"POST /a\"\nwhole = [\"x\"]", "`whole` names no field");
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nfields = { x = [\"json.a\", \"query.b\"] }",
            "does not declare query",
        );
        one_fault("match = \"POST /a\"\nfields = { x = [] }", "a field has a source");
        let answer = |id: &str| {
            let body = r#"{"id":{id},"m":"{message}"}"#;
            faults(&[&format!("{HEAD}[challenge]\nbody = '{body}'\nid = {id}\n")])
        };
        assert_eq!(answer("[\"json.id\", \"query.id\"]"), Vec::<String>::new());
        for place in ["\"form.id\"", "\"json[].id\"", "\"id\""] {
            let found = answer(place);
            assert!(found.iter().any(|fault| fault.starts_with("5: ")), "{place}: {found:?}");
        }
    }

    #[test]
    fn a_volatile_parameter_that_anyone_looks_at_is_refused() {
        let fields =
            "match = \"POST /a\"\nbody = [\"form\", \"query\"]\nfields = { x = \"form.a\" }\n";
        one_fault(&format!("{fields}volatile = [\"form.a\"]"), "is read by this action");
        one_fault(&format!("{fields}volatile = [\"query.a\"]"), "is read by this action");
        one_fault(&format!("{fields}volatile = [\"header.a\"]"), "only query and body");
        let all = format!(
            "{HEAD}volatile = [\"json.a\", \"query.a\"]\n[[action]]\nname = \"a\"\n{fields}"
        );
        let found = faults(&[&all]);
        assert!(found.len() == 1 && found[0].starts_with("3: `query.a` is read by"), "{found:?}");
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nfields = { x = \"json.a.b\" }\nvolatile = [\"json.a\"]",
            "is read by this action",
        );
        one_fault(
            "match = \"POST /a\"\nbody = \"json\"\nvolatile = [\"json.k\"]\n\
             choose = [{ when = { \"json.k\" = \"1\" }, fields = { b = \"c\" } }]",
            "is read by this action",
        );
    }
}
