//! A refusal in an address of its own, so that it can be read again: in another language, or once its wait is over.
//!
//! Never keeps anything: the address says it all. Invariant: it is signed, so that nobody can make this site say in
//! its own name what the gateway never said.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::respond::Ctx;
use crate::stepup::code::Mac;
use crate::types::UnixMs;

/// What a page about a refusal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Key of its sentences.
    #[serde(rename = "k")]
    pub kind: Arc<str>,
    #[serde(rename = "a")]
    pub at: UnixMs,
    /// The end of a hold.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
    /// When it may be tried again.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub again: Option<UnixMs>,
    /// The rule's own words.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// Path of the page where the person can begin again.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Arc<str>>,
    /// A form was filled in, and it is not kept.
    #[serde(rename = "f", default, skip_serializing_if = "is_not")]
    pub form: bool,
    /// It would pass if the account had another factor.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub enrol: bool,
    /// The request that was refused.
    #[serde(rename = "r")]
    pub request: Arc<str>,
}

impl Said {
    pub fn of(refusal: &Refusal, ctx: &Ctx<'_>) -> Self {
        let at = ctx.now;
        Self {
            kind: refusal.kind.into(),
            at,
            until: refusal.until,
            // What is suspended without an end has no time that a person could be told.
            again: refusal
                .retry_after_s
                .filter(|_| refusal.kind != "suspended")
                .map(|seconds| at.plus_ms(seconds.saturating_mul(1000))),
            why: refusal.why.clone(),
            back: ctx.back.map(Into::into),
            form: ctx.form && refusal.keeps_nothing(),
            enrol: refusal.enrol,
            request: ctx.request.as_str().into(),
        }
    }

    /// Its address below `/.stepgate/said/`; none if it would be too long.
    pub fn token(&self, site: &str, mac: Mac<'_>) -> Option<String> {
        let json = serde_json::to_vec(self).ok().filter(|json| json.len() <= BYTES_MAX)?;
        let tag = mac(LABEL, &[site.as_bytes(), &json]);
        Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Reads an address that this site made, while it means something.
    pub fn read(token: &str, site: &str, mac: Mac<'_>, now: UnixMs) -> Option<Self> {
        let (json, tag) = token.split_once('.').filter(|_| token.len() <= 2 * BYTES_MAX)?;
        let json = URL_SAFE_NO_PAD.decode(json).ok()?;
        let right = mac(LABEL, &[site.as_bytes(), &json]);
        let given = URL_SAFE_NO_PAD.decode(tag).ok()?;
        verify_slices_are_equal(&right, &given).ok()?;
        let said: Self = serde_json::from_slice(&json).ok()?;
        let last = said.until.map_or(said.at, |until| until.max(said.at));
        (now < last.plus_ms(KEPT_MS)).then_some(said)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_not(flag: &bool) -> bool {
    !*flag
}

const LABEL: &str = "said";
const BYTES_MAX: usize = 2048;
/// After this nobody reads it again.
const KEPT_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn toy_mac(label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut tag = [0_u8; 32];
        let bytes = label.bytes().chain(parts.iter().flat_map(|part| part.iter().copied()));
        for (at, byte) in bytes.enumerate() {
            tag[at % 32] = tag[at % 32].wrapping_mul(31).wrapping_add(byte);
        }
        tag
    }

    fn held() -> Said {
        Said {
            kind: "held".into(),
            at: UnixMs(1_000),
            until: Some(UnixMs(90_000)),
            again: None,
            why: Some("This address is young.".into()),
            back: Some("/withdraw".into()),
            enrol: false,
            form: true,
            request: "r".into(),
        }
    }

    #[test]
    fn what_was_said_is_read_again_on_its_site_and_in_its_time() {
        let token = held().token("main", &toy_mac).unwrap();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        let read = |site: &str, now| Said::read(&token, site, &toy_mac, UnixMs(now));
        assert_eq!(read("main", 2_000), Some(held()));
        assert_eq!(read("other", 2_000), None);
        assert_eq!(read("main", 90_000 + 86_400_000), None);
    }

    #[test]
    fn what_was_not_said_is_not_read() {
        let token = held().token("main", &toy_mac).unwrap();
        let forged = Said { why: Some("Call 555-0100.".into()), ..held() };
        let forged = forged.token("main", &|_, _| [0; 32]).unwrap();
        let (json, _) = forged.split_once('.').unwrap();
        let (_, tag) = token.split_once('.').unwrap();
        for bad in [forged.clone(), format!("{json}.{tag}"), json.to_owned(), String::new()] {
            assert_eq!(Said::read(&bad, "main", &toy_mac, UnixMs(2_000)), None);
        }
    }

    #[test]
    fn an_address_has_a_length() {
        let long = Said { why: Some("x".repeat(4096).into()), ..held() };
        assert_eq!(long.token("main", &toy_mac), None);
    }
}
