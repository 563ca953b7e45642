//! What classification saw of one request, for people who ask why it was taken for this action or for none.
//!
//! Never decides: the same parse that classifies is asked again, and what it says is only told.

use std::sync::Arc;

use serde::Serialize;

use super::canonical::for_each_key;
use super::detect::ActionSet;
use super::pattern::Pattern;
use super::place::Place;
use super::read::{Element, Found, Parts, Refused, look};
use super::rule::{ActionRule, Field};
use crate::inbound::Inbound;
use crate::types::{FieldValue, Fields};

/// One field of one element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldSeen {
    pub name: Arc<str>,
    /// Where it was read, or what it follows from.
    pub source: String,
    /// As it stands there; none if nothing can be said of it.
    pub text: Option<Arc<str>>,
}

/// A parameter that is bound to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volatile {
    pub place: String,
    /// As it stands there; none if the request does not have it.
    pub text: Option<String>,
}

/// A way in which some server could read a path, and the guarded action that it is then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Likeness {
    pub read_as: String,
    pub action: String,
    pub origin: Arc<str>,
}

impl ActionSet {
    /// The guarded actions that a path smells of, in any spelling.
    pub(crate) fn likenesses(&self, path: &str) -> Vec<Likeness> {
        let mut found: Vec<Likeness> = Vec::new();
        for_each_key(path, &mut |key| {
            for rule in self.rules().iter().filter(|rule| rule.guarded) {
                let known = || found.iter().any(|like| *like.origin == *rule.origin);
                if rule.patterns.iter().any(|pattern| pattern.fits_loosely(key)) && !known() {
                    found.push(Likeness {
                        read_as: key.to_owned(),
                        action: rule.name.to_string(),
                        origin: rule.origin.clone(),
                    });
                }
            }
        });
        found
    }
}

impl ActionRule {
    /// `POST /path`, perhaps with `member=value`, as the pack has it for this request.
    pub(crate) fn matched(&self, head: &Inbound, body: &[u8]) -> String {
        let parts = self.take_apart(head, body).ok();
        let said = parts.as_ref().zip(self.select.as_ref()).and_then(|(parts, place)| {
            let first = self.elements(parts).ok()?.into_iter().next()?;
            match look(parts, first, place, false) {
                Ok(Some(Found::Text { text, .. })) => Some((place, text)),
                _ => None,
            }
        });
        let operation = said.map(|(place, text)| format!(" {place}={text}")).unwrap_or_default();
        let fits = |it: &&Pattern| it.method == head.method && it.fits(head.path());
        let text = self.patterns.iter().find(fits).map_or(&*self.route, |it| &it.text);
        format!("{} {text}{operation}", head.method)
    }

    /// Each element's fields with where they were read.
    ///
    /// # Errors
    /// As `read` has them.
    pub(crate) fn fields_seen(
        &self,
        head: &Inbound,
        body: &[u8],
        elements: &[Fields],
    ) -> Result<Vec<Vec<FieldSeen>>, Refused> {
        let parts = self.take_apart(head, body)?;
        let places = self.elements(&parts)?;
        let seen = elements.iter().zip(places);
        Ok(seen.map(|(fields, at)| self.element_seen(&parts, at, fields)).collect())
    }

    fn element_seen(&self, parts: &Parts<'_>, at: Element<'_>, fields: &Fields) -> Vec<FieldSeen> {
        let each = fields.iter().map(|(name, value)| {
            let read = self.fields.iter().find(|field| field.name == *name);
            let chosen = self.choose.iter().any(|row| row.fields.iter().any(|(it, _)| it == name));
            let source = match read {
                Some(field) => place_of(field, parts, at),
                None if chosen => self.choice(parts, at),
                None => "the pack calls it unreadable".to_owned(),
            };
            let text = match value {
                FieldValue::Text(text) => Some(text.clone()),
                FieldValue::Unreadable => None,
            };
            FieldSeen { name: name.clone(), source, text }
        });
        each.collect()
    }

    /// The parameters that a `choose` table looks at, as they stand in the request.
    fn choice(&self, parts: &Parts<'_>, at: Element<'_>) -> String {
        let mut said: Vec<String> = Vec::new();
        for place in self.choose.iter().flat_map(|row| row.when.iter().flat_map(|(all, _)| all)) {
            let text = match look(parts, at, place, false) {
                Ok(Some(Found::Text { text, .. })) => format!("{place} = {text}"),
                Ok(Some(Found::Null)) => format!("{place} = null"),
                _ => continue,
            };
            if !said.contains(&text) {
                said.push(text);
            }
        }
        match said.is_empty() {
            true => "chosen".to_owned(),
            false => format!("chosen by {}", said.join(", ")),
        }
    }

    /// The parameters that the pack leaves out of the intent.
    ///
    /// # Errors
    /// As `read` has them.
    pub(crate) fn volatile_seen(
        &self,
        head: &Inbound,
        body: &[u8],
    ) -> Result<Vec<Volatile>, Refused> {
        let parts = self.take_apart(head, body)?;
        let first = self.elements(&parts)?.into_iter().next();
        let text = |place: &Place| match look(&parts, first?, place, true) {
            Ok(Some(Found::Text { text, .. })) => Some(text),
            Ok(Some(Found::Null)) => Some("null".to_owned()),
            _ => None,
        };
        let each = self.volatile.iter();
        Ok(each.map(|place| Volatile { place: place.to_string(), text: text(place) }).collect())
    }
}

fn place_of(field: &Field, parts: &Parts<'_>, at: Element<'_>) -> String {
    let found = |place: &&Place| matches!(look(parts, at, place, field.whole), Ok(Some(_)));
    match field.places.iter().find(found) {
        Some(place) => place.to_string(),
        None => {
            let places: Vec<String> = field.places.iter().map(ToString::to_string).collect();
            format!("not at {}: the exchange decides", places.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::load;
    use crate::fault::Source;
    use crate::rawhttp;

    const PACK: &str = r#"version = 1
exchange = "t"
[[action]]
name = "withdrawal"
match = ["POST /v1/withdraw", "POST /v2/withdraw"]
body = "json"
fields = { amount = "json.amt", address = "json.to", asset = "json.ccy" }
volatile = ["json.id", "json.note"]
choose = [{ when = { "json.dest" = "4" }, fields = { destination = "on_chain" } }]
sample = '{"amt":"1","to":"a","ccy":"BTC","dest":"4"}'
"#;

    fn set() -> ActionSet {
        let mut faults = Vec::new();
        load(&[Source::new("t.toml", PACK)], &mut faults).unwrap_or_else(|| panic!("{faults:#?}"))
    }

    #[test]
    fn fields_say_where_they_were_read() {
        let set = set();
        let raw = "POST /v2/withdraw\nContent-Type: application/json\n\n\
                   {\"amt\":\"5\",\"to\":\"x\",\"dest\":\"4\",\"id\":\"c1\"}";
        let (head, body) = rawhttp::read(raw).unwrap();
        let rule = &set.rules()[0];
        let action = rule.read(&head, &body).unwrap();
        let seen = rule.fields_seen(&head, &body, &action.elements).unwrap();
        let said: Vec<String> = seen[0]
            .iter()
            .map(|it| format!("{} = {:?} {}", it.name, it.text.as_deref(), it.source))
            .collect();
        assert_eq!(
            said,
            [
                "address = Some(\"x\") json.to",
                "amount = Some(\"5\") json.amt",
                "asset = None not at json.ccy: the exchange decides",
                "destination = Some(\"on_chain\") chosen by json.dest = 4",
            ]
        );
        assert_eq!(rule.matched(&head, &body), "POST /v2/withdraw");
        assert_eq!(&*rule.origin, "t.toml:3");
        let volatile = rule.volatile_seen(&head, &body).unwrap();
        assert_eq!(volatile[0].text.as_deref(), Some("c1"));
        assert_eq!(volatile[1].text, None);
    }

    #[test]
    fn a_likeness_says_how_the_path_was_read() {
        let like = set().likenesses("/v1/%57ithdraw");
        assert_eq!((like.len(), &*like[0].action), (1, "withdrawal"));
        assert_eq!(like[0].read_as, "/v1/withdraw");
        assert!(set().likenesses("/v1/orders").is_empty());
    }
}
