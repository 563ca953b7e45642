//! What is kept of a request that may be said twice, until its first answer begins.
//!
//! Never holds a body: only requests without one are repeated. It is written down flat, in one allocation, because it is
//! made for nearly every request and read for hardly any. Invariant: what is read back is what was written.

use bytes::Buf;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Version};
use hyper::Request;

use super::body::Outgoing;
use crate::body::Body;

/// One request's head.
pub(super) struct Spare {
    method: Method,
    version: Version,
    /// Of HTTP/2 requests only.
    origin: Option<(Scheme, Authority)>,
    /// The target, then every field: lengths and text.
    text: Vec<u8>,
}

impl Spare {
    /// None if the head cannot be written down: it is longer than any that is let in.
    pub(super) fn of(request: &Request<Outgoing>) -> Option<Self> {
        let uri = request.uri();
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes();
        let mut text = Vec::with_capacity(TEXT_BYTES);
        put(&mut text, false, target, b"")?;
        for (name, value) in request.headers() {
            put(&mut text, value.is_sensitive(), name.as_str().as_bytes(), value.as_bytes())?;
        }
        let origin = uri.scheme().cloned().zip(uri.authority().cloned());
        Some(Self { method: request.method().clone(), version: request.version(), origin, text })
    }

    /// The request again.
    pub(super) fn request(self) -> Option<Request<Outgoing>> {
        let mut text = &self.text[..];
        let mut uri = http::uri::Parts::default();
        let (_, target, _) = take(&mut text)?;
        uri.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        (uri.scheme, uri.authority) = self.origin.unzip();
        let mut fields = HeaderMap::new();
        while text.has_remaining() {
            let (sensitive, name, value) = take(&mut text)?;
            let name = HeaderName::from_bytes(name).ok()?;
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(sensitive);
            fields.append(name, value);
        }
        let mut request = Request::new(Outgoing::new(Body::empty()));
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        *request.version_mut() = self.version;
        *request.headers_mut() = fields;
        Some(request)
    }
}

/// Both lengths and the mark in one number: three pieces are written for each field, not five.
fn put(text: &mut Vec<u8>, sensitive: bool, name: &[u8], value: &[u8]) -> Option<()> {
    let (name_bytes, value_bytes) = (u32::try_from(name.len()), u32::try_from(value.len()));
    let name_bytes = name_bytes.ok().filter(|bytes| *bytes < SENSITIVE)?;
    let mark = if sensitive { SENSITIVE } else { 0 };
    let lengths = u64::from(mark | name_bytes) << 32 | u64::from(value_bytes.ok()?);
    text.extend_from_slice(&lengths.to_be_bytes());
    text.extend_from_slice(name);
    text.extend_from_slice(value);
    Some(())
}

fn take<'a>(text: &mut &'a [u8]) -> Option<(bool, &'a [u8], &'a [u8])> {
    let (name_bytes, value_bytes) = (text.try_get_u32().ok()?, text.try_get_u32().ok()?);
    let name_length = usize::try_from(name_bytes & !SENSITIVE).ok()?;
    let (name, rest) = text.split_at_checked(name_length)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(value_bytes).ok()?)?;
    *text = rest;
    Some((name_bytes & SENSITIVE != 0, name, value))
}

/// Stands above any length.
const SENSITIVE: u32 = 1 << 31;

/// Most heads fit in this.
const TEXT_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_the_same_again(target: &str, origin: bool, fields: &[(String, Vec<u8>, bool)]) {
        let mut request = Request::new(Outgoing::new(Body::empty()));
        *request.method_mut() = Method::HEAD;
        *request.version_mut() = if origin { Version::HTTP_2 } else { Version::HTTP_11 };
        let before = if origin { "https://a.example:8443" } else { "" };
        *request.uri_mut() = format!("{before}{target}").parse().unwrap();
        for (name, value, sensitive) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut value = HeaderValue::from_bytes(value).unwrap();
            value.set_sensitive(*sensitive);
            request.headers_mut().append(name, value);
        }
        let again = Spare::of(&request).and_then(Spare::request).unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.uri(), request.uri());
        let flat = |map: &HeaderMap| {
            let field = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.clone(), value.clone(), value.is_sensitive())
            };
            map.iter().map(field).collect::<Vec<_>>()
        };
        assert_eq!(flat(again.headers()), flat(request.headers()));
    }

    proptest! {
        #[test]
        fn every_head_is_read_back_as_it_was(
            target in "/[a-z%0-9/]{0,40}(\\?[a-z=&]{0,20})?",
            origin: bool,
            fields in prop::collection::vec(
                ("[a-c]{1,2}|accept|cookie", prop::collection::vec(0x80_u8..=255, 0..40), any::<bool>()),
                0..12,
            ),
        ) {
            is_the_same_again(&target, origin, &fields);
        }
    }
}
