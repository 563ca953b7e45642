//! The part of an action's table that says which values it has and where they stand.
//!
//! Never lets a parameter be both volatile and looked at.

use std::sync::Arc;

use super::pattern::Pattern;
use super::place::Place;
use super::rule::{ActionRule, BodyKinds, Choice, Field};
use super::written::{Keys, Text};
use crate::fault::stranger;

/// What is known of an action while its places are read.
pub(super) struct Draft<'p> {
    pub body: BodyKinds,
    pub patterns: &'p [Pattern],
    /// Whether the JSON places so far are in elements of a root array.
    pub json_each: Option<bool>,
    /// The array below the root in whose elements some of them are.
    pub list: Option<Vec<String>>,
}

impl Draft<'_> {
    pub fn fields(&mut self, keys: &Keys<'_>) -> Vec<Field> {
        let Some(table) = keys.table("fields") else { return Vec::new() };
        let mut fields: Vec<Field> = Vec::new();
        for (name, sources) in table.entries() {
            let mut name = name;
            if !is_word(&name.value) {
                let plain = stranger::plain(&name.value).to_lowercase();
                table.fault(name.span.clone(), "a name is lower-case letters, digits, `_` and `.`");
                if !is_word(&plain) {
                    continue;
                }
                // What names it elsewhere means this one.
                name.value = plain;
            }
            let mut places: Vec<Place> = Vec::new();
            for source in &sources {
                let alternatives = self.place(&table, source).map(|it| it.alternatives(self.body));
                for place in alternatives.into_iter().flatten() {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
            if sources.is_empty() {
                table.fault(name.span, "a field has a source");
                continue;
            }
            fields.push(Field {
                amount: name.value == "amount",
                name: name.value.into(),
                places,
                needed: false,
                whole: false,
                label: false,
            });
        }
        fields
    }

    /// The member that says which operation a body is; named by every match of the action or by none.
    pub fn select(&mut self, keys: &Keys<'_>) -> Option<Place> {
        let selects = |pattern: &Pattern| pattern.operation.is_some();
        let Some(text) = keys.text("select") else {
            if self.patterns.iter().any(selects) {
                keys.missing("select", "`select = \"json.op\"` names the member behind the path");
            }
            return None;
        };
        let place = self.place(keys, &text)?;
        let member = match &place {
            Place::Json { each: false, path } if path.len() == 1 => path.first()?,
            _ => {
                keys.fault(text.span, "an operation is selected by one member of the body's root");
                return None;
            }
        };
        for pattern in self.patterns {
            match &pattern.operation {
                Some(operation) if operation.member == *member => {}
                Some(_) => keys.fault(
                    text.span.clone(),
                    format!(
                        "a match of this action does not say `{member}=…`: it selects by `{member}`"
                    ),
                ),
                None => keys.fault(
                    text.span.clone(),
                    format!("`select` wants `{member}=…` behind every path of the action"),
                ),
            }
        }
        Some(place)
    }

    pub fn choose(&mut self, keys: &Keys<'_>) -> Vec<Choice> {
        let mut rows = Vec::new();
        for row in keys.tables("choose") {
            row.only(&["when", "fields"]);
            let (when, fields) = (row.table("when"), row.table("fields"));
            if when.as_ref().is_some_and(Keys::is_empty)
                || fields.as_ref().is_none_or(Keys::is_empty)
            {
                row.fault(
                    row.span.clone(),
                    "a row of `choose` has `fields`, and `when` unless it always fits, with entries",
                );
            }
            let mut choice = Choice { when: Vec::new(), fields: Vec::new() };
            if let Some(when) = when {
                for (place, values) in when.entries() {
                    let strange = values.iter().find(|it| stranger::find(&it.value).is_some());
                    if let Some(strange) = strange {
                        let message = "no request has such a value";
                        when.fault(strange.span.clone(), message);
                    }
                    let values = values.into_iter().map(|value| value.value).collect();
                    if let Some(at) = self.place(&when, &place) {
                        choice.when.push((at.alternatives(self.body), values));
                    }
                }
            }
            if let Some(fields) = fields {
                for (name, values) in fields.entries() {
                    match values.as_slice() {
                        [value] if is_word(&name.value) => {
                            choice.fields.push((name.value.into(), value.value.as_str().into()));
                        }
                        _ => {
                            fields.fault(name.span, "a chosen field is a plain name with one value")
                        }
                    }
                }
            }
            rows.push(choice);
        }
        rows
    }

    /// A source that this action can have.
    fn place(&mut self, keys: &Keys<'_>, text: &Text) -> Option<Place> {
        let fault = match Place::parse(&text.value) {
            Ok(place) => match self.declared(&place) {
                None => return Some(place),
                Some(fault) => fault,
            },
            Err(fault) => fault,
        };
        keys.fault_with(text.span.clone(), fault, Place::suggest(&text.value));
        None
    }

    /// Why a place cannot be read in this action.
    fn declared(&mut self, place: &Place) -> Option<String> {
        let missing = |kind: &str| Some(format!("`{place}`, but `body` does not declare {kind}"));
        match place {
            Place::Json { .. } if !self.body.json => missing("json"),
            Place::Form(_) if !self.body.form => missing("form"),
            Place::Query(_) if !self.body.query => missing("query"),
            Place::Json { each, .. } => {
                if *self.json_each.get_or_insert(*each) != *each {
                    return Some(
                        "json. and json[]. cannot be mixed: a body has one root".to_owned(),
                    );
                }
                let list = place.list()?;
                let same = self.list.get_or_insert_with(|| list.to_vec()) == list;
                (!same).then(|| "an action reads the elements of one list".to_owned())
            }
            Place::Path(name) => {
                let has = |pattern: &Pattern| pattern.parameters().any(|known| known == name);
                let everywhere = self.patterns.iter().all(has);
                (!everywhere).then(|| format!("no `{{{name}}}` in every `match` of this action"))
            }
            Place::Form(_) | Place::Query(_) | Place::Header(_) => None,
        }
    }
}

/// A list of names, each of them known.
pub(super) fn named(keys: &Keys<'_>, key: &str, known: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for text in keys.texts(key) {
        match known.iter().find(|name| ***name == *text.value) {
            Some(name) => names.push(name.clone()),
            None => {
                let help = crate::fault::suggest(&text.value, known.iter().map(|name| &**name));
                keys.fault_with(
                    text.span,
                    format!("`{key}` names no field: `{}`", text.value),
                    help,
                );
            }
        }
    }
    names
}

/// Names of fields that are there and cannot be read: no other source may set them.
pub(super) fn unreadable(keys: &Keys<'_>, known: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for text in keys.texts("unreadable") {
        if known.iter().any(|name| **name == *text.value) || !is_word(&text.value) {
            keys.fault(text.span, "`unreadable` names a field that has no source");
        } else {
            names.push(text.value.into());
        }
    }
    names
}

/// A parameter that is left out of the intent may not be one that anyone looks at: it could be
/// changed after the owner has approved.
pub(super) fn volatile(keys: &Keys<'_>, everywhere: &[Text], rule: &ActionRule) -> Vec<Place> {
    let mut places = Vec::new();
    for text in keys.texts("volatile") {
        match volatile_place(&text, rule) {
            Ok(place) => places.push(place),
            Err(why) => keys.fault_with(text.span, why.0, Place::suggest(&text.value)),
        }
    }
    for text in everywhere {
        match volatile_place(text, rule) {
            Ok(place) => places.push(place),
            Err(Unfit(_, true)) => {}
            Err(Unfit(why, false)) => keys.fault(text.span.clone(), why),
        }
    }
    places
}

/// Why a place cannot be volatile, and whether only because the action's `body` has no such kind.
struct Unfit(String, bool);

fn volatile_place(text: &Text, rule: &ActionRule) -> Result<Place, Unfit> {
    let place = Place::parse(&text.value).map_err(|why| Unfit(why, false))?;
    if matches!(place, Place::Path(_) | Place::Header(_)) {
        return Err(Unfit("only query and body parameters can be volatile".to_owned(), false));
    }
    let list = rule.list().map(<[String]>::to_vec);
    let mut draft = Draft { body: rule.body, patterns: &rule.patterns, json_each: None, list };
    if rule.bound_places().any(|bound| matches!(bound, Place::Json { .. })) {
        draft.json_each = Some(rule.is_batch());
    }
    if let Some(why) = draft.declared(&place) {
        return Err(Unfit(why, true));
    }
    // The same parameter under another kind of body is the same parameter.
    let same = place.alternatives(rule.body);
    if rule.bound_places().any(|bound| same.iter().any(|place| place.covers(bound))) {
        let why =
            format!("`{place}` is read by this action: a volatile parameter is bound to nothing");
        return Err(Unfit(why, false));
    }
    Ok(place)
}

/// How actions and fields are named.
pub(super) fn is_word(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(letter))
}
