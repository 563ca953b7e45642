//! Whether a POST to the gateway's own addresses was meant by the person whose browser sent it.
//!
//! Never trusts a cookie alone. Invariant: a form counts only with the token of this challenge and this credential; a
//! JSON body counts only with a media type that no foreign page can send without asking first.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, HeaderMap, ORIGIN};

use crate::inbound::Inbound;
use crate::stepup::code::Mac;
use crate::types::{ChallengeId, Credential};

/// How a POST to `/.stepgate/` carries its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostKind {
    Json,
    Form,
}

/// Why a POST is not believed. All of them are one refusal to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("the request comes from another site")]
    CrossSite,
    #[error("the media type is neither a form nor JSON")]
    MediaType,
    #[error("the form's token is missing or belongs to another challenge or credential")]
    Token,
}

/// The token of a challenge's forms for one credential.
pub fn token(challenge: &ChallengeId, credential: &Credential, mac: Mac<'_>) -> String {
    let parts = [
        challenge.as_str().as_bytes(),
        credential.kind.word().as_bytes(),
        credential.id.as_str().as_bytes(),
    ];
    URL_SAFE_NO_PAD.encode(mac(LABEL, &parts))
}

/// Judges a POST by its head, before its body is read.
///
/// # Errors
/// `CrossSite` if the browser says so, `MediaType` if the body is neither JSON nor a form.
pub fn post_kind(inbound: &Inbound) -> Result<PostKind, Forged> {
    if !same_origin(inbound) {
        return Err(Forged::CrossSite);
    }
    match media_type(&inbound.headers).as_deref() {
        Some("application/json") => Ok(PostKind::Json),
        Some("application/x-www-form-urlencoded") => Ok(PostKind::Form),
        _ => Err(Forged::MediaType),
    }
}

/// Judges a form's `csrf` field.
///
/// # Errors
/// `Token` if it is missing or is not the token of this challenge and credential.
pub fn check_token(
    given: Option<&str>,
    challenge: &ChallengeId,
    credential: &Credential,
    mac: Mac<'_>,
) -> Result<(), Forged> {
    let right = token(challenge, credential, mac);
    let given = given.unwrap_or("");
    verify_slices_are_equal(right.as_bytes(), given.as_bytes()).map_err(|_| Forged::Token)
}

/// Where the browser says where a request comes from, it must be here. Clients that are no browsers say nothing.
fn same_origin(inbound: &Inbound) -> bool {
    let headers = &inbound.headers;
    let site = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin");
    let origin = headers.get_all(ORIGIN).iter().all(|origin| {
        let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
        own.is_some_and(|authority| authority.eq_ignore_ascii_case(&inbound.authority))
    });
    site && origin
}

/// The one media type, without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let essence = value.to_str().ok()?.split(';').next()?.trim();
    Some(essence.to_ascii_lowercase())
}

const LABEL: &str = "csrf";

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Version};

    use super::*;
    use crate::types::{CredentialId, CredentialKind, RequestId, UnixMs};

    fn toy_mac(label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut tag = [0_u8; 32];
        let bytes = label.bytes().chain(parts.iter().flat_map(|part| part.iter().copied()));
        for (at, byte) in bytes.enumerate() {
            tag[at % 32] = tag[at % 32].wrapping_mul(31).wrapping_add(byte);
        }
        tag
    }

    fn credential(id: &str) -> Credential {
        Credential { kind: CredentialKind::Session, id: CredentialId::new(id) }
    }

    fn post(headers: &[(&'static str, &str)]) -> Inbound {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Inbound {
            request: RequestId::new("r"),
            method: Method::POST,
            host: "exchange.example".into(),
            authority: "exchange.example:8443".into(),
            target: "/.stepgate/challenge/c/answer".into(),
            version: Version::HTTP_11,
            headers: map,
            client: [192, 0, 2, 1].into(),
            received: UnixMs(0),
        }
    }

    #[test]
    fn a_token_is_of_one_challenge_and_one_credential() {
        let (a, b) = (ChallengeId::new("a"), ChallengeId::new("b"));
        let given = token(&a, &credential("s"), &toy_mac);
        let check = |given, challenge: &ChallengeId, id| {
            check_token(given, challenge, &credential(id), &toy_mac)
        };
        assert_eq!(check(Some(given.as_str()), &a, "s"), Ok(()));
        assert_eq!(check(Some(given.as_str()), &b, "s"), Err(Forged::Token));
        assert_eq!(check(Some(given.as_str()), &a, "t"), Err(Forged::Token));
        assert_eq!(check(Some(""), &a, "s"), Err(Forged::Token));
        assert_eq!(check(None, &a, "s"), Err(Forged::Token));
    }

    #[test]
    fn json_and_forms_from_here_or_from_no_browser_pass() {
        let json = ("content-type", "application/json; charset=utf-8");
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(post_kind(&post(&[json])), Ok(PostKind::Json));
        assert_eq!(post_kind(&post(&[form])), Ok(PostKind::Form));
        let own =
            [form, ("origin", "https://exchange.example:8443"), ("sec-fetch-site", "same-origin")];
        assert_eq!(post_kind(&post(&own)), Ok(PostKind::Form));
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let json = ("content-type", "application/json");
        let foreign = [
            ("origin", "https://evil.example"),
            ("origin", "http://exchange.example:8443"),
            ("origin", "https://exchange.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ];
        for header in foreign {
            assert_eq!(post_kind(&post(&[json, header])), Err(Forged::CrossSite), "{header:?}");
        }
    }

    #[test]
    fn media_types_that_any_page_can_send_are_not_json() {
        for value in ["text/plain", "multipart/form-data", "application/jsonp", ""] {
            let said = post_kind(&post(&[("content-type", value)]));
            assert_eq!(said, Err(Forged::MediaType), "{value:?}");
        }
        assert_eq!(post_kind(&post(&[])), Err(Forged::MediaType));
        let twice = [("content-type", "text/plain"), ("content-type", "application/json")];
        assert_eq!(post_kind(&post(&twice)), Err(Forged::MediaType));
    }
}
