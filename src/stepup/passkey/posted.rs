//! What a browser posts for a passkey: the JSON of a `PublicKeyCredential`, as `toJSON()` spells it.
//!
//! Never believes any of it: signatures are checked elsewhere. Invariant: what is read is of bounded size and depth, and
//! no member that is read is there twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

/// An answer to `navigator.credentials.get` or `.create`.
#[derive(Debug, PartialEq, Eq)]
pub struct Posted {
    /// The id of the passkey.
    pub id: Vec<u8>,
    pub client_data: Vec<u8>,
    pub kind: PostedKind,
}

#[derive(Debug, PartialEq, Eq)]
pub enum PostedKind {
    Assertion { authenticator_data: Vec<u8>, signature: Vec<u8> },
    Attestation { attestation_object: Vec<u8> },
}

/// Not what a browser posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the answer of a passkey")]
pub struct BadPost;

/// Members that are not named here say nothing that is believed, and browsers add to them: they are passed over.
#[derive(Deserialize)]
struct Credential {
    #[serde(rename = "rawId")]
    raw_id: Bytes,
    response: Response,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
enum Kind {
    #[serde(rename = "public-key")]
    PublicKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(rename = "clientDataJSON")]
    client_data: Bytes,
    authenticator_data: Option<Bytes>,
    signature: Option<Bytes>,
    attestation_object: Option<Bytes>,
}

/// base64url without padding.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes());
        bytes.map(Bytes).map_err(|_| serde::de::Error::custom("not base64url"))
    }
}

impl Posted {
    /// Reads it.
    ///
    /// # Errors
    /// `BadPost` for anything that no browser would post.
    pub fn parse(text: &str) -> Result<Self, BadPost> {
        // An array would be read as the members in order.
        let is_object = text.trim_ascii_start().starts_with('{');
        if !is_object || text.len() > BYTES_MAX || depth(text) > DEPTH_MAX {
            return Err(BadPost);
        }
        let read: Credential = serde_json::from_str(text).map_err(|_| BadPost)?;
        let Kind::PublicKey = read.kind;
        let Response { client_data, authenticator_data, signature, attestation_object } =
            read.response;
        let kind = match (attestation_object, authenticator_data, signature) {
            // A browser adds the authenticator's data to its attestation, which holds it already.
            (Some(Bytes(attestation_object)), _, None) => {
                PostedKind::Attestation { attestation_object }
            }
            (None, Some(Bytes(authenticator_data)), Some(Bytes(signature))) => {
                PostedKind::Assertion { authenticator_data, signature }
            }
            _ => return Err(BadPost),
        };
        let id = read.raw_id.0;
        if !(1..=ID_BYTES_MAX).contains(&id.len()) {
            return Err(BadPost);
        }
        Ok(Self { id, client_data: client_data.0, kind })
    }
}

/// How deep brackets are nested, those in strings left out.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An attestation without certificates has well under 2 KiB.
const BYTES_MAX: usize = 16 * 1024;
/// Extensions are the deepest: `clientExtensionResults.prf.results.first`.
const DEPTH_MAX: usize = 8;
/// WebAuthn Level 3 §5.8.3.
const ID_BYTES_MAX: usize = 1023;

#[cfg(test)]
mod tests {
    use super::*;

    const ASSERTION: &str = r#"{"id":"AQI","rawId":"AQI","type":"public-key","authenticatorAttachment":"platform",
        "response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"_-8","userHandle":"AA"},
        "clientExtensionResults":{"credProps":{"rk":true}}}"#;

    #[test]
    fn what_browsers_post_is_read() {
        let read = Posted::parse(ASSERTION).unwrap();
        assert_eq!((&*read.id, &*read.client_data), (&[1, 2][..], &b"{}"[..]));
        let kind =
            PostedKind::Assertion { authenticator_data: vec![0], signature: vec![0xff, 0xef] };
        assert_eq!(read.kind, kind);
        let attestation = ASSERTION.replace("signature", "attestationObject");
        let kind = PostedKind::Attestation { attestation_object: vec![0xff, 0xef] };
        assert_eq!(Posted::parse(&attestation).unwrap().kind, kind);
    }

    #[test]
    fn nothing_else_is() {
        let swapped = |from: &str, to: &str| ASSERTION.replace(from, to);
        let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
        let long = format!("\"{}\"", "A".repeat(BYTES_MAX));
        let bad = [
            String::new(),
            "[]".to_owned(),
            format!("[{ASSERTION}]"),
            format!("{ASSERTION}{ASSERTION}"),
            swapped("public-key", "password"),
            swapped("_-8", "/+8="),
            swapped("\"_-8\"", "null"),
            swapped("\"_-8\"", "[255]"),
            swapped("\"signature\"", "\"signatures\""),
            swapped("\"signature\":", "\"signature\":\"AA\",\"signature\":"),
            swapped("\"rawId\":\"AQI\"", "\"rawId\":\"\""),
            swapped("\"rawId\":\"AQI\"", &format!("\"rawId\":\"{}\"", "A".repeat(1368))),
            swapped("\"platform\"", &deep),
            swapped("\"platform\"", &long),
        ];
        for text in bad {
            assert_eq!(Posted::parse(&text), Err(BadPost), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(text in "[\\[{\":,}\\]a\\\\ ]{0,200}") {
            let _ = Posted::parse(&text);
        }

        #[test]
        fn what_is_read_is_never_larger_than_what_was_posted(
            id in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..1200),
            data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..15_000),
        ) {
            let (raw, data) = (URL_SAFE_NO_PAD.encode(&id), URL_SAFE_NO_PAD.encode(&data));
            // The data first: an id may happen to hold what stands for them.
            let text = ASSERTION.replace("e30", &data).replace("\"AQI\"", &format!("\"{raw}\""));
            match Posted::parse(&text) {
                Ok(read) => proptest::prop_assert!(read.id == id && text.len() <= BYTES_MAX),
                Err(BadPost) => {
                    proptest::prop_assert!(id.len() > ID_BYTES_MAX || text.len() > BYTES_MAX);
                }
            }
        }
    }
}
