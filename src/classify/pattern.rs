//! `METHOD /path/{template}` of a pack, perhaps with `member=value` of the body behind it.
//!
//! Never matches anything but the exact spelling; loose keys are compared with `loose`. A parameter
//! stands for one whole segment.

use http::Method;

use super::canonical::{PATH_BYTES_MAX, is_strict};
use super::operation::Operation;

/// A method and a path in which some segments may be parameters.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub method: Method,
    /// The path.
    pub text: String,
    segments: Vec<Segment>,
    /// It has no parameter: its text is all there is to compare.
    literal: bool,
    /// Only bodies whose member says so.
    pub operation: Option<Operation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Stands for the method where a match is about the messages of a WebSocket.
pub(super) const FRAME: &str = "WS";

/// The method of a message as a request. No HTTP request has it.
pub fn frame_method() -> Method {
    // Never the other: the name is a token.
    Method::from_bytes(FRAME.as_bytes()).unwrap_or(Method::CONNECT)
}

/// The methods that a pack may name.
const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

impl Pattern {
    /// # Errors
    /// What is wrong with it, as a sentence without a full stop.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((method, path)) = text.split_once(' ') else {
            return Err("a match is written `METHOD /path`".into());
        };
        let (path, operation) = match path.split_once(' ') {
            Some((path, operation)) => (path, Some(Operation::parse(operation)?)),
            None => (path, None),
        };
        let known = METHODS.into_iter().find(|known| known.as_str() == method);
        let method = match known {
            _ if method == FRAME => frame_method(),
            Some(known) => known,
            None => {
                return Err(format!("`{method}` is not one of GET, POST, PUT, PATCH, DELETE, WS"));
            }
        };
        match (method.as_str(), &operation) {
            (FRAME, None) => return Err("`WS /path` is followed by ` member=value`".into()),
            ("POST" | FRAME, _) | (_, None) => {}
            _ => return Err("only the body of a POST or WS says which operation it is".into()),
        }
        let segments = path
            .strip_prefix('/')
            .ok_or("the path begins with `/`")?
            .split('/')
            .map(Segment::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let literal = segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        let pattern = Self { method, text: path.to_owned(), segments, literal, operation };
        let names: Vec<&str> = pattern.parameters().collect();
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))
        {
            return Err(format!("the parameter `{{{}}}` occurs twice", twice.1));
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(format!("the path is longer than {PATH_BYTES_MAX} bytes"));
        }
        Ok(pattern)
    }

    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The path with `filling` for every parameter.
    pub fn filled(&self, filling: &str) -> String {
        let part = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            Segment::Parameter(_) => format!("/{filling}"),
        };
        self.segments.iter().map(part).collect()
    }

    /// The path with the other pattern's segments for its parameters, if both are equally long.
    pub fn filled_from(&self, other: &Self) -> Option<String> {
        let given = other.filled("1");
        let given: Vec<&str> = given.split('/').skip(1).collect();
        let part = |(segment, given): (&Segment, &&str)| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            Segment::Parameter(_) => format!("/{given}"),
        };
        (given.len() == self.segments.len())
            .then(|| self.segments.iter().zip(&given).map(part).collect())
    }

    pub fn is_literal(&self) -> bool {
        self.literal
    }

    /// Whether this is the very path.
    pub fn fits(&self, path: &str) -> bool {
        self.fits_by(path, |literal, segment| literal == segment)
    }

    /// Whether a loose key is this path's.
    pub fn fits_loosely(&self, key: &str) -> bool {
        self.fits_by(key, str::eq_ignore_ascii_case)
    }

    fn fits_by(&self, path: &str, same: impl Fn(&str, &str) -> bool) -> bool {
        if self.literal {
            return same(&self.text, path);
        }
        let mut given = path.strip_prefix('/').unwrap_or("").split('/');
        self.segments.iter().all(|segment| {
            given.next().is_some_and(|text| match segment {
                Segment::Literal(literal) => same(literal, text),
                Segment::Parameter(_) => !text.is_empty(),
            })
        }) && given.next().is_none()
    }

    /// What stands at a parameter in a path that fits.
    pub fn parameter<'a>(&self, path: &'a str, name: &str) -> Option<&'a str> {
        let wanted = Segment::Parameter(name.to_owned());
        let at = self.segments.iter().position(|segment| *segment == wanted)?;
        path.strip_prefix('/')?.split('/').nth(at)
    }

    /// Whether it is about the frames of a WebSocket.
    pub fn is_frame(&self) -> bool {
        self.method.as_str() == FRAME
    }

    /// Whether one request could match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let operations = match (&self.operation, &other.operation) {
            (Some(one), Some(two)) => one.member != two.member || one.overlaps(two),
            _ => true,
        };
        operations && self.shares_path(other)
    }

    /// Whether one request line could match both.
    fn shares_path(&self, other: &Self) -> bool {
        self.method == other.method
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(two)) => one == two,
                _ => true,
            })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                return Err(format!("`{text}`: a parameter's name is letters, digits and `_`"));
            }
            return Ok(Self::Parameter(name.to_owned()));
        }
        if text.contains(['{', '}']) {
            return Err(format!("`{text}`: a parameter stands for a whole segment, `{{name}}`"));
        }
        if !is_strict(&format!("/{text}")) {
            return Err(format!(
                "the path segment `{text}` has something else than letters, digits, `.`, `_`, `~`, `-`"
            ));
        }
        Ok(Self::Literal(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_parameter_is_one_whole_segment() {
        let orders = pattern("DELETE /orders/{id}/fills");
        assert!(orders.fits("/orders/7/fills"));
        assert_eq!(orders.parameter("/orders/7/fills", "id"), Some("7"));
        assert!(!orders.fits("/orders//fills"));
        assert!(!orders.fits("/orders/7/8/fills"));
        assert!(!orders.fits("/Orders/7/fills"));
        assert!(orders.fits_loosely("/ORDERS/7/fills"));
    }

    #[test]
    fn a_path_without_parameters_is_its_own_text() {
        let order = pattern("POST /v5/Order");
        assert!(order.fits("/v5/Order") && order.fits_loosely("/V5/order"));
        for other in ["/v5/order", "/v5/Order/", "/v5/Orders", "/v5", "v5/Order", ""] {
            assert!(!order.fits(other), "{other}");
        }
    }

    #[test]
    fn two_patterns_that_one_request_could_match_overlap() {
        assert!(pattern("POST /a/{x}").overlaps(&pattern("POST /a/b")));
        assert!(pattern("POST /a/{x}").overlaps(&pattern("POST /{y}/b")));
        assert!(!pattern("POST /a/{x}").overlaps(&pattern("GET /a/b")));
        assert!(!pattern("POST /a/{x}").overlaps(&pattern("POST /b/{x}")));
        assert!(!pattern("POST /a").overlaps(&pattern("POST /a/b")));
    }

    #[test]
    fn operations_share_a_path_only_by_the_same_member() {
        let a = pattern("POST /rpc method=a");
        assert!(!a.overlaps(&pattern("POST /rpc method=b")));
        assert!(!a.overlaps(&pattern("WS /rpc method=a")));
        assert!(a.overlaps(&pattern("POST /rpc op=b")));
        assert!(a.overlaps(&pattern("POST /rpc")));
        assert!(a.overlaps(&pattern("POST /{x} method=a")));
    }

    #[test]
    fn a_template_with_a_fault_says_which() {
        for (text, says) in [
            ("/a", "METHOD /path"),
            ("QUERY /a", "not one of"),
            ("WS /ws", "followed by ` member=value`"),
            ("DELETE /a op=order", "only the body"),
            ("POST /a op", "member=value"),
            ("POST /a op=a b", "an operation is"),
            ("POST a", "begins with `/`"),
            ("POST /a/", "segment ``"),
            ("POST /a//b", "segment ``"),
            ("POST /a/../b", "segment `..`"),
            ("POST /a/{x}{y}", "parameter"),
            ("POST /a/b{x}", "whole segment"),
            ("POST /a/{x}/{x}", "twice"),
            ("POST /a%20b", "segment `a%20b`"),
            ("POST /a?b=c", "segment `a?b=c`"),
        ] {
            let message = Pattern::parse(text).unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
