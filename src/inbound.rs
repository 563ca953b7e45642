//! A request as it came: method, host, target, headers, peer and TLS facts as plain data.
//!
//! Never rewritten: the path, query and body that were classified are the ones that are shown, hashed and
//! forwarded.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

use crate::types::{RequestId, UnixMs};

/// The head of one request.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub request: RequestId,
    pub method: Method,
    /// Authority in lower case, without the port; picks the site.
    pub host: Arc<str>,
    /// Authority exactly as sent (`Host` or `:authority`), with its port; forwarded as `Host`.
    pub authority: Arc<str>,
    pub target: Target,
    pub version: Version,
    pub headers: HeaderMap,
    /// The client's address after trusted proxies, IPv4-mapped addresses already turned into IPv4.
    pub client: IpAddr,
    pub received: UnixMs,
}

impl Inbound {
    pub fn path(&self) -> &str {
        match &self.target.0 {
            Spelt::Plainly(target) => target.path(),
            Spelt::Oddly(target) => split(target).0,
        }
    }
    pub fn query(&self) -> Option<&str> {
        match &self.target.0 {
            Spelt::Plainly(target) => target.query(),
            Spelt::Oddly(target) => split(target).1,
        }
    }
}

/// Path and query exactly as sent. Text like any other; nearly always it is also what the HTTP library would send, and
/// then it need not be read again for that.
#[derive(Clone, Debug)]
pub struct Target(Spelt);

#[derive(Clone, Debug)]
enum Spelt {
    /// The library keeps every octet of it.
    Plainly(PathAndQuery),
    /// It would be sent otherwise, such as without its fragment, or not at all.
    Oddly(Arc<str>),
}

impl Target {
    /// None if the library would send something else.
    pub fn plain(&self) -> Option<&PathAndQuery> {
        match &self.0 {
            Spelt::Plainly(target) => Some(target),
            Spelt::Oddly(_) => None,
        }
    }
}

impl From<PathAndQuery> for Target {
    fn from(target: PathAndQuery) -> Self {
        match target.as_str() {
            // The library reads nothing at all (of `#`, say) as this, and would send nothing.
            "/" => Self(Spelt::Plainly(PathAndQuery::from_static("/"))),
            text if text.starts_with('/') || text == "*" => Self(Spelt::Plainly(target)),
            // Its path would be read as `/`.
            text => Self(Spelt::Oddly(text.into())),
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match PathAndQuery::try_from(text) {
            Ok(target) if target.as_str() == text => target.into(),
            _ => Self(Spelt::Oddly(text.into())),
        }
    }
}

impl Deref for Target {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Spelt::Plainly(target) => target.as_str(),
            Spelt::Oddly(target) => target,
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

/// A target's path and query.
pub(crate) fn split(target: &str) -> (&str, Option<&str>) {
    let mark = memchr::memchr(b'?', target.as_bytes());
    match mark.and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.strip_prefix('?')),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_read_as_it_is_spelt(text: &str) {
        let target = Target::from(text);
        assert_eq!(&*target, text);
        let head = Inbound {
            request: RequestId::new("r"),
            method: Method::GET,
            host: "a".into(),
            authority: "a".into(),
            target,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            client: IpAddr::from([192, 0, 2, 1]),
            received: UnixMs(0),
        };
        assert_eq!((head.path(), head.query()), split(text), "{text:?}");
        assert!(head.target.plain().is_none_or(|plain| plain.as_str() == text), "{text:?}");
    }

    #[test]
    fn odd_targets_keep_every_octet_and_are_not_plain() {
        for text in
            ["", "?", "?a=1", "/a#b", "/a?b#c", "a", "#", "/a b", "/\u{e9}", "//a", "/?", "*"]
        {
            is_read_as_it_is_spelt(text);
        }
        for text in ["", "?a=1", "/a#b", "/a?b#c", "/a b", "a"] {
            assert!(Target::from(text).plain().is_none(), "{text:?}");
        }
        for text in ["/", "/a?b=1", "//a", "/?", "*", "/a?b?c"] {
            assert!(Target::from(text).plain().is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_the_library_read_is_sent_as_it_was_decided_on() {
        for read in ["#", "#/withdraw", "/", "/#a", "/a?b#c", "?a", "*", "/a"] {
            let Ok(read) = PathAndQuery::try_from(read) else { continue };
            let target = Target::from(read.clone());
            assert_eq!(&*target, read.as_str());
            let Some(plain) = target.plain() else { continue };
            let uri = http::Uri::from(plain.clone());
            assert_eq!(
                (uri.to_string(), uri.path()),
                (target.to_string(), plain.path()),
                "{read:?}"
            );
        }
        assert!(Target::from(PathAndQuery::try_from("#").unwrap()).plain().is_some());
    }

    proptest! {
        #[test]
        fn a_target_is_read_as_it_is_spelt(text in "[/a?#*=% \\x7f-\\xff]{0,12}") {
            is_read_as_it_is_spelt(&text);
        }
    }
}
