//! Where in a request a value stands: `json.a.b`, `json[].a`, `form.x`, `query.x`, `path.x`,
//! `header.x`.

use std::fmt;

use http::HeaderName;

use super::BodyKinds;

/// A source as a pack writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `each`: in every element of a root array.
    Json {
        each: bool,
        path: Vec<String>,
    },
    Form(String),
    Query(String),
    Path(String),
    Header(HeaderName),
}

/// As a part of a path: the element of a list that has no other.
pub(super) const THE_ONE: &str = "[0]";

/// `name`, or `name[0]` in two.
fn parts(part: &str) -> Vec<String> {
    match part.strip_suffix(THE_ONE) {
        Some(name) => vec![name.to_owned(), THE_ONE.to_owned()],
        None => vec![part.to_owned()],
    }
}

const PREFIXES: [&str; 6] = ["json", "json[]", "form", "query", "path", "header"];

impl Place {
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
                let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                let path: Vec<String> = path.iter().flat_map(|part| parts(part)).collect();
                let plain = |part: &String| !part.is_empty() && !part.contains(['[', ']']);
                if !path.iter().all(|part| plain(part) || part == THE_ONE) {
                    return Err(format!(
                        "`{text}`: members are named with dots, `name[0]` is the one element of a list, and \
                         only the root can be a list of more"
                    ));
                }
                Self::Json { each: prefix == "json[]", path }
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
                write!(f, "json{}.{}", if *each { "[]" } else { "" }, path.join("."))
            }
            Self::Form(name) => write!(f, "form.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
        }
    }
}
