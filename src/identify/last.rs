//! The credentials of a connection's last request, which most often are those of its next one too, and whom they proved.
//!
//! Never says that a token is good: its check is asked each time. Invariant: whoever is named was proved by exactly the
//! headers that are there now, read in the way that holds now.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName};

use super::Identity;
use super::jwt::{Jwt, Verified};
use crate::crypto::Secret;
use crate::types::UnixMs;

/// One request's credentials, if a session token was all there was of them. Wiped when they are replaced and when the
/// connection ends.
#[derive(Default)]
pub(crate) struct LastCredentials(Mutex<Option<Known>>);

struct Known {
    /// Those that were looked at: after a reload they are others.
    names: Arc<[HeaderName]>,
    said: Secret,
    check: Arc<Jwt>,
    verified: Verified,
}

impl LastCredentials {
    /// Whose request it is, if its credentials are the last ones.
    pub(super) fn recall(
        &self,
        names: &Arc<[HeaderName]>,
        headers: &HeaderMap,
        now: UnixMs,
    ) -> Option<Arc<Identity>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|known| Arc::ptr_eq(&known.names, names))?;
        let same = is_same(known.said.expose(), names, headers);
        same.then(|| known.check.confirm(&known.verified, now)).flatten()
    }

    /// These headers were read, and all they held was this token.
    pub(super) fn keep(
        &self,
        names: &Arc<[HeaderName]>,
        headers: &HeaderMap,
        check: &Arc<Jwt>,
        verified: Verified,
    ) {
        let mut said = Vec::new();
        each(names, headers, |part| said.extend_from_slice(part));
        if said.len() <= SAID_BYTES_MAX {
            let (names, check, said) = (names.clone(), check.clone(), Secret::new(said));
            let known = Known { names, said, check, verified };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        }
    }
}

/// Shows every value under every name, its length first, and where each name ends.
fn each(names: &[HeaderName], headers: &HeaderMap, mut see: impl FnMut(&[u8])) {
    for name in names {
        for value in headers.get_all(name) {
            see(&u32::try_from(value.len()).unwrap_or(NO_LENGTH).to_be_bytes());
            see(value.as_bytes());
        }
        see(&NO_LENGTH.to_be_bytes());
    }
}

/// Whether these headers are what was said.
fn is_same(said: &[u8], names: &[HeaderName], headers: &HeaderMap) -> bool {
    let (mut rest, mut same) = (said, true);
    each(names, headers, |part| match rest.split_at_checked(part.len()) {
        Some((known, after)) => {
            same &= is_equal(known, part);
            rest = after;
        }
        None => same = false,
    });
    same && rest.is_empty()
}

/// Without stopping at the first difference: behind a proxy that shares its connections, the last credentials may be
/// another client's, and the time must not tell how much of them was guessed.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

/// Longer than any head.
const NO_LENGTH: u32 = u32::MAX;
/// What a connection may keep of its last request.
const SAID_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [HeaderName; 3] {
        ["cookie", "authorization", "ok-access-key"].map(HeaderName::from_static)
    }

    fn said(headers: &HeaderMap) -> Vec<u8> {
        let mut said = Vec::new();
        each(&names(), headers, |part| said.extend_from_slice(part));
        said
    }

    #[test]
    fn headers_are_the_same_only_if_every_value_stands_where_it_stood() {
        let long = "x".repeat(300);
        let all = [
            &[][..],
            &[("cookie", "a=1")],
            &[("cookie", "a=1"), ("cookie", "b=2")],
            &[("cookie", "b=2"), ("cookie", "a=1")],
            &[("cookie", "a=1; b=2")],
            &[("authorization", "a=1")],
            &[("cookie", "a=1"), ("authorization", "b=2")],
            &[("cookie", "a=1"), ("ok-access-key", "b=2")],
            &[("cookie", "")],
            &[("cookie", ""), ("cookie", "")],
            &[("cookie", &long)],
            &[("cookie", "a=2")],
        ]
        .map(|pairs| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            headers
        });
        for (at, one) in all.iter().enumerate() {
            let mut other = all[at].clone();
            other.insert("accept", "whatever".parse().unwrap());
            assert!(is_same(&said(one), &names(), &other));
            for (place, other) in all.iter().enumerate() {
                assert_eq!(is_same(&said(one), &names(), other), at == place, "{one:?} {other:?}");
            }
        }
    }
}
