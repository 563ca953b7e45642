//! Strict acceptance: a guarded request's head and body become an `Action`, or it is refused.
//!
//! Never repairs and never picks one of two readings. Invariant: the values that are shown and the
//! parameters that are hashed come from the same parse.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};

use super::canonical::{TARGET_BYTES_MAX, is_strict};
use super::json::{self, Json};
use super::pairs::{self, Pair};
use super::pattern::Pattern;
use super::place::{LIST, Place};
use super::rule::{ActionRule, BodyKinds, Field};
use super::{Action, Intent, amount, names};
use crate::inbound::Inbound;
use crate::rejection::Rejection;
use crate::types::{FieldValue, Fields, Shown};

/// Longest body of a guarded request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Why a guarded request is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 400: two servers could read it differently, or it lacks what the action needs.
    #[error("not canonical: {0}")]
    NotCanonical(&'static str),
    /// 415: a media type, charset or content coding that the pack does not declare.
    #[error("media type: {0}")]
    MediaType(&'static str),
    /// 413: over `BODY_BYTES_MAX`.
    #[error("the body is too large")]
    TooLarge,
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotCanonical(why) => Self::NotCanonical(why),
            Refused::MediaType(why) => Self::MediaType(why),
            Refused::TooLarge => Self::TooLarge,
        }
    }
}

impl From<&'static str> for Refused {
    fn from(why: &'static str) -> Self {
        Self::NotCanonical(why)
    }
}

/// A request taken apart; everything in it is as sent.
pub(super) struct Parts<'a> {
    pub path: &'a str,
    pub pattern: &'a Pattern,
    pub headers: &'a HeaderMap,
    pub query: Vec<Pair<'a>>,
    pub form: Vec<Pair<'a>>,
    pub json: Option<Json<'a>>,
}

/// The JSON that an element's fields are read in, and which element of the action's list it is.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    json: Option<&'a Json<'a>>,
    at: usize,
}

/// What stands at a place.
pub(super) enum Found {
    Text {
        text: String,
        number: bool,
    },
    /// JSON `null`: there, and saying nothing.
    Null,
}

impl ActionRule {
    /// Reads a request that `detect` answered with this rule. A body that is longer than
    /// `BODY_BYTES_MAX` may be cut off anywhere behind that.
    ///
    /// # Errors
    /// `Refused` for everything that could be read in two ways, is not declared, or lacks a needed
    /// field.
    pub fn read(&self, head: &Inbound, body: &[u8]) -> Result<Action, Refused> {
        let parts = self.take_apart(head, body)?;
        self.refuse_aliases(&parts)?;
        self.refuse_other_operation(&parts)?;
        let elements: Vec<Fields> = self
            .elements(&parts)?
            .into_iter()
            .map(|json| self.element(&parts, json))
            .collect::<Result<_, _>>()?;
        let intent = Intent {
            method: head.method.as_str().into(),
            authority: head.authority.to_ascii_lowercase().into(),
            path: parts.path.into(),
            parameters: self.parameters(&parts)?,
        };
        Ok(Action {
            name: self.name.clone(),
            shown: self.shown(&elements),
            elements,
            intent,
            answer: self.answer.clone(),
        })
    }

    /// Where the fields of each element are read.
    pub(super) fn elements<'a>(&self, parts: &'a Parts<'a>) -> Result<Vec<Element<'a>>, Refused> {
        Ok(match &parts.json {
            Some(Json::Array(values)) if self.is_batch() => {
                values.iter().map(|value| Element { json: Some(value), at: 0 }).collect()
            }
            json => (0..self.list_len(json.as_ref())?)
                .map(|at| Element { json: json.as_ref(), at })
                .collect(),
        })
    }

    pub(super) fn take_apart<'a>(
        &'a self,
        head: &'a Inbound,
        body: &'a [u8],
    ) -> Result<Parts<'a>, Refused> {
        let path = head.path();
        if !is_strict(path) || head.target.len() > TARGET_BYTES_MAX {
            return Err("the path of a guarded action is spelt in one way only".into());
        }
        let pattern = self
            .patterns
            .iter()
            .find(|pattern| pattern.method == head.method && pattern.fits(path))
            .ok_or("another method or path than the action's")?;
        if overrides_method(&head.headers) {
            return Err("a header that changes the method".into());
        }
        if matches!(head.method, Method::GET | Method::HEAD) && !body.is_empty() {
            return Err("a read with a body".into());
        }
        if let Some(beginning) = body.get(..BODY_BYTES_MAX).filter(|_| body.len() > BODY_BYTES_MAX)
        {
            // Told first, so that the answer is the same for a body that is small enough.
            return Err(match self.body.json && json::is_too_deep(beginning) {
                true => json::TOO_DEEP.into(),
                false => Refused::TooLarge,
            });
        }
        let mut parts = Parts {
            path,
            pattern,
            headers: &head.headers,
            query: pairs::parse(head.query().unwrap_or(""))?,
            form: Vec::new(),
            json: None,
        };
        match body_kind_of(self.body, &head.headers, pattern.is_frame(), body.is_empty())? {
            Kind::Empty => {}
            Kind::Json => parts.json = Some(self.json_root(utf8(body)?)?),
            Kind::Form => parts.form = pairs::parse(utf8(body)?)?,
        }
        Ok(parts)
    }

    fn json_root<'a>(&self, text: &'a str) -> Result<Json<'a>, Refused> {
        let root = json::parse(text)?;
        match (&root, self.is_batch()) {
            (Json::Object(_), false) => Ok(root),
            (Json::Array(elements), true)
                if !elements.is_empty()
                    && elements.iter().all(|element| matches!(element, Json::Object(_))) =>
            {
                Ok(root)
            }
            (_, false) => Err("the body is not a JSON object".into()),
            (_, true) => Err("the body is not an array of JSON objects".into()),
        }
    }

    /// Refuses names that some server would take for a bound one, and bound names where the action
    /// does not read them.
    fn refuse_aliases(&self, parts: &Parts<'_>) -> Result<(), Refused> {
        for (pairs, place) in
            [(&parts.query, Place::Query as fn(String) -> Place), (&parts.form, Place::Form)]
        {
            for pair in pairs {
                if names::is_reserved(&pair.name) {
                    return Err("a parameter has a reserved name".into());
                }
                if names::is_token(&pair.name) {
                    return Err(TOKEN.into());
                }
                for bound in self.bound_places().flat_map(Place::names) {
                    if names::is_variant(&pair.name, bound) {
                        return Err("a parameter's name is a variant of the action's".into());
                    }
                    if pair.name == bound
                        && !self.bound_places().any(|at| *at == place(pair.name.clone()))
                    {
                        return Err("a parameter of the action stands in the wrong place".into());
                    }
                }
            }
        }
        let folded = |name: &HeaderName| name.as_str().replace('_', "-");
        for place in self.bound_places() {
            let Place::Header(bound) = place else { continue };
            // CGI and its heirs fold `_` and `-` into one.
            if parts.headers.keys().any(|name| name != bound && folded(name) == folded(bound)) {
                return Err("a header's name is a variant of the action's".into());
            }
        }
        if parts.json.as_ref().is_some_and(|json| json.any_name(&names::is_token)) {
            return Err(TOKEN.into());
        }
        let bound: Vec<&[String]> = self
            .bound_places()
            .filter_map(|place| match place {
                Place::Json { path, .. } => Some(path.as_slice()),
                _ => None,
            })
            .collect();
        match &parts.json {
            Some(Json::Array(elements)) => {
                elements.iter().try_for_each(|element| refuse_member_aliases(element, &bound))
            }
            Some(root) => refuse_member_aliases(root, &bound),
            None => Ok(()),
        }
    }

    /// A rule reads the operations that it names, and nothing else on their path.
    fn refuse_other_operation(&self, parts: &Parts<'_>) -> Result<(), Refused> {
        let Some(place) = &self.select else { return Ok(()) };
        let Some(Found::Text { text, number: false }) =
            look(parts, Element { json: parts.json.as_ref(), at: 0 }, place, false)?
        else {
            return Err("the body does not say which operation it is".into());
        };
        let named = self.patterns.iter().any(|pattern| {
            let operation = pattern.operation.as_ref();
            pattern.method == parts.pattern.method
                && pattern.fits(parts.path)
                && operation.is_some_and(|operation| operation.fits(&text))
        });
        if named { Ok(()) } else { Err("another operation than the action's".into()) }
    }

    /// How many elements the action's list below the root has; 1 without such a list.
    fn list_len(&self, json: Option<&Json<'_>>) -> Result<usize, Refused> {
        let (Some(root), Some(list)) = (json, self.list()) else { return Ok(1) };
        let found = list.iter().try_fold(root, |value, name| value.member(name));
        match found {
            Some(Json::Array(values))
                if !values.is_empty()
                    && values.iter().all(|value| matches!(value, Json::Object(_))) =>
            {
                Ok(values.len())
            }
            _ => Err("the body has no list of JSON objects where the action has one".into()),
        }
    }

    fn element(&self, parts: &Parts<'_>, json: Element<'_>) -> Result<Fields, Refused> {
        let mut fields = Fields::default();
        for field in &self.fields {
            let found = find(parts, json, &field.places, field.whole)?;
            if field.needed && !matches!(&found, Some(Found::Text { text, .. }) if !text.is_empty())
            {
                return Err("a field that the action needs is missing".into());
            }
            let defaulted = field.amount || DEFAULTED.contains(&&*field.name);
            match found.map(|found| field.value(found)).transpose()? {
                Some(FieldValue::Text(text)) if !defaulted || !text.is_empty() => {
                    fields.set(field.name.clone(), FieldValue::Text(text));
                }
                // The exchange puts something of its own in its place; nothing can be said of it.
                None if !defaulted => {}
                _ => fields.set(field.name.clone(), FieldValue::Unreadable),
            }
        }
        self.choose(parts, json, &mut fields)?;
        for name in &self.unreadable {
            fields.set(name.clone(), FieldValue::Unreadable);
        }
        Ok(fields)
    }

    /// The first row that fits sets its fields, one without conditions always does; without one, they are there and say
    /// nothing.
    fn choose(
        &self,
        parts: &Parts<'_>,
        json: Element<'_>,
        fields: &mut Fields,
    ) -> Result<(), Refused> {
        for row in &self.choose {
            let mut fits = true;
            for (places, wanted) in &row.when {
                let found = find(parts, json, places, false)?;
                fits &= matches!(&found, Some(Found::Text { text, .. }) if wanted.contains(text));
            }
            if fits {
                for (name, value) in &row.fields {
                    fields.set(name.clone(), FieldValue::Text(value.clone()));
                }
                return Ok(());
            }
        }
        for name in self.chosen_names() {
            fields.set(name.clone(), FieldValue::Unreadable);
        }
        Ok(())
    }

    fn shown(&self, elements: &[Fields]) -> Vec<Shown> {
        let mut lines = Vec::new();
        for (at, fields) in elements.iter().enumerate() {
            for name in &self.show {
                let value = match fields.find(name) {
                    Some(FieldValue::Text(text)) if text.is_empty() => continue,
                    Some(FieldValue::Text(text)) => text.clone(),
                    // The coin's own network, mostly: a question mark would only puzzle.
                    Some(FieldValue::Unreadable) if **name == *"network" => continue,
                    Some(FieldValue::Unreadable) => UNREADABLE.into(),
                    None => continue,
                };
                let name = match elements.len() {
                    1 => name.clone(),
                    _ => format!("{name}[{}]", at + 1).into(),
                };
                lines.push(Shown { name, value });
            }
        }
        lines
    }
}

/// What a payment always has, whether the request says so or leaves it to the exchange.
const DEFAULTED: [&str; 3] = ["asset", "address", "network"];
/// A longer object or list is bound, and not shown to be read.
const WHOLE_BYTES_MAX: usize = 1000;

/// The owner of the credential in the head is asked; the exchange might act for another.
const TOKEN: &str = "a token among the parameters";

/// What the owner sees where a value cannot be told.
const UNREADABLE: &str = "?";

impl Field {
    fn value(&self, found: Found) -> Result<FieldValue, Refused> {
        let Found::Text { text, number } = found else {
            return if self.amount {
                Err("an amount is no plain decimal".into())
            } else {
                Ok(FieldValue::Unreadable)
            };
        };
        if self.whole && text.len() > WHOLE_BYTES_MAX {
            return Ok(FieldValue::Unreadable);
        }
        if text.chars().any(char::is_control) {
            return Err("a field holds a control character".into());
        }
        // What looks like another address, or like none at all, cannot be approved by looking at
        // it.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let readable = match self.label {
            true => text.is_empty() || text.split(' ').all(|word| !word.is_empty() && plain(word)),
            false => plain(&text),
        };
        if matches!(&*self.name, "address" | "tag") && !readable {
            return Err("an address or tag is not plain ASCII".into());
        }
        if self.amount {
            if amount::canonical(&text).is_none() {
                return Err("an amount is no plain decimal".into());
            }
            if number && !amount::is_exact_double(&text) {
                return Err("an amount has more digits than a JSON number keeps".into());
            }
        }
        Ok(FieldValue::Text(Arc::from(text)))
    }
}

/// The one value among the places; two are refused.
fn find(
    parts: &Parts<'_>,
    json: Element<'_>,
    places: &[Place],
    whole: bool,
) -> Result<Option<Found>, Refused> {
    let mut found = None;
    for place in places {
        if let Some(value) = look(parts, json, place, whole)? {
            if found.is_some() {
                return Err("a field is given in two places".into());
            }
            found = Some(value);
        }
    }
    Ok(found)
}

pub(super) fn look(
    parts: &Parts<'_>,
    json: Element<'_>,
    place: &Place,
    whole: bool,
) -> Result<Option<Found>, Refused> {
    let text = match place {
        Place::Json { path, .. } => {
            return json.json.map_or(Ok(None), |root| look_in_json(root, json.at, path, whole));
        }
        Place::Form(name) => pair_value(&parts.form, name)?,
        Place::Query(name) => pair_value(&parts.query, name)?,
        Place::Path(name) => parts.pattern.parameter(parts.path, name).map(str::to_owned),
        Place::Header(name) => {
            let mut values = parts.headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => {
                    Some(value.to_str().map_err(|_| "a header is not plain ASCII")?.to_owned())
                }
                (Some(_), Some(_)) => return Err("a header is given twice".into()),
                _ => None,
            }
        }
    };
    Ok(text.map(|text| Found::Text { text, number: false }))
}

fn pair_value(pairs: &[Pair<'_>], name: &str) -> Result<Option<String>, Refused> {
    let Some(pair) = pairs.iter().find(|pair| pair.name == name) else { return Ok(None) };
    match &pair.value {
        Some(value) => Ok(Some(value.clone())),
        None => Err("a parameter of the action has no value".into()),
    }
}

/// `at`: which element of a list on the way.
fn look_in_json(
    json: &Json<'_>,
    at: usize,
    path: &[String],
    whole: bool,
) -> Result<Option<Found>, Refused> {
    let mut value = json;
    for name in path {
        if name == LIST {
            let Json::Array(values) = value else {
                return Err("a field stands in something that is no list".into());
            };
            value = values.get(at).ok_or("a list has no such element")?;
            continue;
        }
        let Json::Object(_) = value else {
            return Err("a field stands in something that is no object".into());
        };
        match value.member(name) {
            Some(member) => value = member,
            None => return Ok(None),
        }
    }
    match value {
        Json::Scalar("null") => Ok(Some(Found::Null)),
        Json::Scalar(token) => {
            let text = json::scalar_text(token).ok_or("the body is not one JSON text")?;
            let number = token.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            Ok(Some(Found::Text { text, number }))
        }
        Json::Object(_) | Json::Array(_) if whole => {
            Ok(Some(Found::Text { text: value.text(), number: false }))
        }
        Json::Object(_) | Json::Array(_) => Err("a field is an object or an array".into()),
    }
}

/// `bound`: paths of bound members, seen from this object.
fn refuse_member_aliases(json: &Json<'_>, bound: &[&[String]]) -> Result<(), Refused> {
    let members = match json {
        Json::Scalar(_) => return Ok(()),
        Json::Array(values) => {
            let inside = bound.iter().filter_map(|path| path.split_first());
            let below: Vec<_> =
                inside.filter(|(first, _)| *first == LIST).map(|(_, rest)| rest).collect();
            return values.iter().try_for_each(|value| refuse_member_aliases(value, &below));
        }
        Json::Object(members) => members,
    };
    for member in members {
        let mut below: Vec<&[String]> = Vec::new();
        for path in bound {
            match path.split_first() {
                Some((first, rest)) if *first == member.name => below.push(rest),
                Some((first, _)) if names::is_variant(&member.name, first) => {
                    return Err("a member's name is a variant of the action's".into());
                }
                _ => {}
            }
        }
        if !below.is_empty() {
            refuse_member_aliases(&member.value, &below)?;
        }
    }
    Ok(())
}

/// Whether a header asks the upstream to take the request as another method. `_` counts as `-`, as
/// CGI has it.
pub(super) fn overrides_method(headers: &HeaderMap) -> bool {
    const HEADERS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
    headers.keys().any(|name| {
        let name = name.as_str();
        HEADERS.iter().any(|known| {
            known.len() == name.len()
                && name
                    .bytes()
                    .zip(known.bytes())
                    .all(|(one, two)| one == two || one == b'_' && two == b'-')
        })
    })
}

enum Kind {
    Empty,
    Json,
    Form,
}

/// Whether a body comes as one of the declared kinds.
pub(super) fn fits_media_type(kinds: BodyKinds, headers: &HeaderMap) -> bool {
    body_kind(kinds, headers, false).is_ok()
}

/// The JSON text of a body or, `frame`, of a WebSocket's message, which declares no media type.
pub(super) fn json_text<'a>(
    headers: &HeaderMap,
    frame: bool,
    body: &'a [u8],
) -> Result<&'a str, Refused> {
    let kinds = BodyKinds { json: true, ..BodyKinds::default() };
    body_kind_of(kinds, headers, frame, body.is_empty())?;
    utf8(body)
}

fn body_kind_of(
    kinds: BodyKinds,
    headers: &HeaderMap,
    frame: bool,
    empty: bool,
) -> Result<Kind, Refused> {
    if frame { Ok(Kind::Json) } else { body_kind(kinds, headers, empty) }
}

/// Which of the declared kinds the body is.
fn body_kind(kinds: BodyKinds, headers: &HeaderMap, empty: bool) -> Result<Kind, Refused> {
    for coding in headers.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(Refused::MediaType("a guarded body has no content coding"));
        }
    }
    let no_body_declared = !kinds.json && !kinds.form;
    if empty && (kinds.none || kinds.query || no_body_declared) {
        return Ok(Kind::Empty);
    }
    if no_body_declared {
        return Err("the action has no body".into());
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (one, more) = (types.next(), types.next());
    // Servers that fold `_` into `-` would see another Content-Type than this one.
    if more.is_some() || headers.contains_key("content_type") {
        return Err("more than one Content-Type".into());
    }
    let one = one.ok_or(Refused::MediaType("a body needs a Content-Type"))?;
    match media_type(one.as_bytes()).as_deref() {
        Some("application/json") if kinds.json => Ok(Kind::Json),
        Some("application/x-www-form-urlencoded") if kinds.form => Ok(Kind::Form),
        _ => Err(Refused::MediaType("a media type that the action does not declare")),
    }
}

/// The media type in lower case, if it has no parameter but `charset=utf-8`.
fn media_type(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let (name, parameter) = match text.split_once(';') {
        Some((name, parameter)) => (name, Some(parameter.trim_matches(' '))),
        None => (text.as_str(), None),
    };
    let fits = matches!(parameter, None | Some("charset=utf-8" | "charset=\"utf-8\""));
    fits.then(|| name.trim_end_matches(' ').to_owned())
}

fn utf8(body: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(body).map_err(|_| Refused::NotCanonical("the body is not UTF-8"))
}
