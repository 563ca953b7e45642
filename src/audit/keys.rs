//! The public keys that checkpoints are held against: ES256 in JWK form (RFC 7517, RFC 7518 §6.2).
//!
//! Never trusts a key's name: what is reported is the RFC 7638 thumbprint, computed from the key
//! itself, because whoever rewrites a log can also write any `kid` into it.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::chain::What;
use super::record::Checkpoint;

/// P-256 keys of a JWKS.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("not JSON")]
    Syntax(#[from] serde_json::Error),
    #[error("no P-256 key in this key set")]
    None,
}

impl Keys {
    /// # Errors
    /// If the text is not a JWKS with at least one P-256 key. Keys of other kinds are passed over.
    pub fn from_jwks(text: &str) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_str(text)?;
        let listed = set.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let keys: Vec<Key> = listed.iter().filter_map(Key::from_jwk).collect();
        if keys.is_empty() { Err(KeysError::None) } else { Ok(Self(keys)) }
    }
}

/// The thumbprint of the key that signed `message`, if the signature holds.
pub(super) fn check(
    checkpoint: &Checkpoint,
    message: &[u8],
    keys: Option<&Keys>,
) -> Result<String, What> {
    let embedded = Key::from_jwk(&checkpoint.jwk).ok_or(What::Signature)?;
    let key = match keys {
        None => &embedded,
        Some(Keys(known)) => known
            .iter()
            .find(|key| key.point == embedded.point)
            .ok_or_else(|| What::UnknownKey(embedded.thumbprint()))?,
    };
    let signature = URL_SAFE_NO_PAD.decode(&checkpoint.signature).map_err(|_| What::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
        .verify(message, &signature)
        .map_err(|_| What::Signature)?;
    Ok(key.thumbprint())
}

/// The thumbprint of a P-256 JWK, or none if it is not one.
pub fn thumbprint(jwk: &Value) -> Option<String> {
    Key::from_jwk(jwk).map(|key| key.thumbprint())
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[derive(Clone, Debug)]
struct Key {
    /// Uncompressed: `04 ‖ x ‖ y`.
    point: Vec<u8>,
}

impl Key {
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") != Some("EC") || text("crv") != Some("P-256") {
            return None;
        }
        let coordinate = |name| {
            let bytes = URL_SAFE_NO_PAD.decode(text(name)?).ok()?;
            (bytes.len() == 32).then_some(bytes)
        };
        Some(Self { point: [&[4][..], &coordinate("x")?, &coordinate("y")?].concat() })
    }

    /// RFC 7638 §3: SHA-256 over the required members in alphabetical order.
    fn thumbprint(&self) -> String {
        let (x, y) = self.point.get(1..).unwrap_or_default().split_at(32);
        let text =
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y));
        encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }
}
