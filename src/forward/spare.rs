//! What is kept of a request that may be said twice, until its first answer begins.
//!
//! Never holds a body: only requests without one are repeated. It is written down flat, in one allocation, because it is
//! made for nearly every request and read for hardly any. Invariant: what is read back is what was written.

use bytes::{Buf, BufMut};
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
        let mut text = Vec::with_capacity(TEXT_BYTES);
        put(&mut text, uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes())?;
        for (name, value) in request.headers() {
            text.put_u8(value.is_sensitive().into());
            put(&mut text, name.as_str().as_bytes())?;
            put(&mut text, value.as_bytes())?;
        }
        let origin = uri.scheme().cloned().zip(uri.authority().cloned());
        Some(Self { method: request.method().clone(), version: request.version(), origin, text })
    }

    /// The request again.
    pub(super) fn request(self) -> Option<Request<Outgoing>> {
        let mut text = &self.text[..];
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(PathAndQuery::try_from(take(&mut text)?).ok()?);
        (uri.scheme, uri.authority) = self.origin.unzip();
        let mut fields = HeaderMap::new();
        while text.has_remaining() {
            let sensitive = text.get_u8() != 0;
            let name = HeaderName::from_bytes(take(&mut text)?).ok()?;
            let mut value = HeaderValue::from_bytes(take(&mut text)?).ok()?;
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

fn put(text: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    text.put_u32(part.len().try_into().ok()?);
    text.put_slice(part);
    Some(())
}

fn take<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = text.try_get_u32().ok()?.try_into().ok()?;
    let (part, rest) = text.split_at_checked(length)?;
    *text = rest;
    Some(part)
}

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
