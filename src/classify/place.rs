//! Where in a request a value stands: `json.a.b`, `json[].a`, `json.a[].b`, `form.x`, `query.x`,
//! `path.x`, `header.x`.

use std::fmt;

use http::HeaderName;

use super::BodyKinds;
use crate::fault::{nearest, stranger};

/// A source as a pack writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `each`: in every element of a root array. A `LIST` on the way stands for every element of the
    /// array that is the member before it.
    Json {
        each: bool,
        path: Vec<String>,
    },
    Form(String),
    Query(String),
    Path(String),
    Header(HeaderName),
}

/// What stands in a path for the elements of an array; no name in a pack can be this.
pub(super) const LIST: &str = "[]";

const PREFIXES: [&str; 6] = ["json", "json[]", "form", "query", "path", "header"];

impl Place {
    /// What was meant by a place that begins with no known word.
    pub fn suggest(text: &str) -> Option<String> {
        let Some((prefix, name)) = text.split_once('.') else {
            return Some(format!("for example `json.{text}`"));
        };
        let near = nearest(prefix, PREFIXES).filter(|near| *near != prefix);
        near.map(|near| format!("did you mean `{near}.{name}`?"))
    }

    /// # Errors
    /// What is wrong with it, as a sentence without a full stop.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (prefix, name) = text.split_once('.').unwrap_or((text, ""));
        if !PREFIXES.contains(&prefix) {
            return Err(format!(
                "`{text}` does not say where the value stands; sources begin with {}",
                PREFIXES.join("., ") + "."
            ));
        }
        if let Some((_, odd)) = stranger::find(name) {
            let odd = stranger::describe(odd);
            return Err(format!("`{text}` is no name that a request has: {odd}"));
        }
        if name.is_empty() || name.chars().any(|letter| letter.is_control() || letter == ' ') {
            return Err(format!("`{text}` names nothing after `{prefix}.`"));
        }
        let name = name.to_owned();
        Ok(match prefix {
            "form" => Self::Form(name),
            "query" => Self::Query(name),
            "path" => Self::Path(name),
            "header" => Self::Header(
                HeaderName::try_from(name.as_str())
                    .map_err(|_| format!("`{name}` cannot be a header's name"))?,
            ),
            _ => {
                let each = prefix == "json[]";
                let path = member_path(&name).filter(|path| !(each && path.iter().any(is_list)));
                let path = path.ok_or_else(|| {
                    format!(
                        "`{text}`: members are named with dots, and one of the arrays on the way, \
                         never the value, has `[]`"
                    )
                })?;
                Self::Json { each, path }
            }
        })
    }

    /// Every place where an action with these kinds of body reads it. Clients of one exchange send
    /// the same parameter as form, query or JSON; where a pack allows several kinds, a name is
    /// looked for in each of them.
    pub fn alternatives(&self, kinds: BodyKinds) -> Vec<Self> {
        let name = match self {
            Self::Json { each: false, path } if path.len() == 1 => &path[0],
            Self::Form(name) | Self::Query(name) => name,
            _ => return vec![self.clone()],
        };
        let mut places = Vec::new();
        if kinds.json {
            places.push(Self::Json { each: false, path: vec![name.clone()] });
        }
        if kinds.form {
            places.push(Self::Form(name.clone()));
        }
        if kinds.query {
            places.push(Self::Query(name.clone()));
        }
        places
    }

    /// The name by which a parser that mixes places up would know it: a parameter's name or the
    /// outermost member's.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Json { path, .. } => path.first().map(String::as_str),
            Self::Form(name) | Self::Query(name) => Some(name),
            Self::Path(_) | Self::Header(_) => None,
        }
    }

    /// Every name under which it could stand among the pairs of the same request: of a member, that of each object that it
    /// is in too, for a server may take `?address=` for the `address` in `params`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (path, own) = match self {
            Self::Json { path, .. } => (path.as_slice(), None),
            _ => (&[][..], self.parameter()),
        };
        path.iter().filter(|name| !is_list(name)).map(String::as_str).chain(own)
    }

    /// The path of the array below the root in whose elements it is.
    pub fn list(&self) -> Option<&[String]> {
        let Self::Json { path, .. } = self else { return None };
        path.get(..path.iter().position(is_list)?)
    }

    /// Whether this is the other place or holds it.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json { each, path }, Self::Json { each: other_each, path: other_path }) => {
                each == other_each && (other_path.starts_with(path) || path.starts_with(other_path))
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { each, path } => {
                let path = path.join(".").replace(".[]", LIST);
                write!(f, "json{}.{path}", if *each { LIST } else { "" })
            }
            Self::Form(name) => write!(f, "form.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
        }
    }
}

fn is_list(part: &String) -> bool {
    part == LIST
}

/// `a.b[].c` in parts, with `LIST` for the array's elements; at most one array, and not at the end.
fn member_path(name: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    for part in name.split('.') {
        let (member, list) = match part.strip_suffix(LIST) {
            Some(member) => (member, true),
            None => (part, false),
        };
        if member.is_empty() || member.contains(['[', ']']) {
            return None;
        }
        path.push(member.to_owned());
        path.extend(list.then(|| LIST.to_owned()));
    }
    let lists = path.iter().filter(|part| is_list(part)).count();
    (lists <= 1 && path.last().is_none_or(|part| !is_list(part))).then_some(path)
}
