//! Which browser began a change of factors: a random cookie, drawn when it asked, that only it sends.
//!
//! Never kept but as its digest, and never read by a page's script. Invariant: whoever has a stolen session and not this
//! cookie is shown no key and no codes, and answers, sends and releases nothing of what another browser began.

use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::crypto::{framed, hex, random_id, sha256};
use crate::gateway::Gateway;
use crate::stepup::challenge::Challenge;

/// The cookie's value.
pub(super) struct Browser(String);

impl Browser {
    /// The one that asks, by its cookie; one that has none is given one.
    pub fn of(gateway: &Gateway, headers: &HeaderMap) -> Self {
        sent(headers).unwrap_or_else(|| Self(random_id(&*gateway.entropy)))
    }

    /// What is kept of it.
    pub fn name(&self) -> Arc<str> {
        hex(&sha256(&[&framed(&[LABEL, self.0.as_bytes()])])).into()
    }

    /// `Set-Cookie`: for the time that a change of factors takes, its approval included.
    pub fn cookie(&self) -> Option<HeaderValue> {
        let value = &self.0;
        let text = format!(
            "{COOKIE_NAME}={value}; Path=/; Max-Age={KEPT_S}; Secure; HttpOnly; SameSite=Strict"
        );
        HeaderValue::from_str(&text).ok()
    }
}

/// Whether what this challenge asks may be answered with these headers. Most ask whoever has the credential.
pub(super) fn may_go_on(challenge: &Challenge, headers: &HeaderMap) -> bool {
    let Some(asked) = &challenge.browser else {
        // Nothing enrols without it.
        return challenge.pending.is_none();
    };
    sent(headers).is_some_and(|browser| browser.name() == *asked)
}

/// The cookie, if it is there once and as it was made.
fn sent(headers: &HeaderMap) -> Option<Browser> {
    // Bytes, not text: a cookie of somebody else's beside it may be spelt in any way.
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    let mut values = pairs.filter_map(|pair| {
        pair.trim_ascii().strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"=")
    });
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_ours = value.len() == VALUE_BYTES
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let text = std::str::from_utf8(value).ok().filter(|_| is_ours)?;
    Some(Browser(text.to_owned()))
}

/// `__Host-`: no other host, and no page without TLS, can have set it.
const COOKIE_NAME: &str = "__Host-stepgate-enrol";
const LABEL: &[u8] = b"stepgate enrolling browser v1";
/// As `random_id` writes 256 bits.
const VALUE_BYTES: usize = 43;
const KEPT_S: u32 = 1800;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn only_a_cookie_that_is_there_once_and_whole_counts() {
        let value = "A".repeat(VALUE_BYTES);
        let own = format!("{COOKIE_NAME}={value}");
        let name = sent(&headers(&[&format!("session=x; {own}")])).unwrap().name();
        assert_eq!(sent(&headers(&["session=x", &own])).unwrap().name(), name);
        let beside = [COOKIE_NAME.as_bytes(), b"=", value.as_bytes(), b"; x=\xe9"].concat();
        let beside = std::iter::once((COOKIE, HeaderValue::from_bytes(&beside).unwrap())).collect();
        assert_eq!(sent(&beside).unwrap().name(), name, "whatever stands beside it");
        assert_eq!(name.len(), 64);
        assert!(!name.contains(&value));
        for lines in [
            vec![],
            vec!["session=x".to_owned()],
            vec![format!("x{own}")],
            vec![format!("{own}A")],
            vec![own.replace('A', "é")],
            vec![format!("{own}; {COOKIE_NAME}={}", "B".repeat(VALUE_BYTES))],
            vec![own.clone(), own.clone()],
            vec![format!("{COOKIE_NAME}={}", "/".repeat(VALUE_BYTES))],
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert!(sent(&headers(&lines)).is_none(), "{lines:?}");
        }
    }

    #[test]
    fn the_cookie_is_of_this_host_alone_and_for_no_script() {
        let cookie = Browser("A".repeat(VALUE_BYTES)).cookie().unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-stepgate-enrol=A"), "{cookie}");
        for word in ["Path=/;", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=1800"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        assert!(!cookie.contains("Domain"));
    }
}
