//! ES256 (ECDSA on P-256 with SHA-256): the gateway's assertions, and the checkpoints of the audit
//! chain.
//!
//! Never gives the private key away, except as PKCS#8 once, when it is generated, to be sealed.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::mac::sha256;
use super::secret::Secret;

/// Why a key cannot be made or does not sign.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("not a P-256 private key in PKCS#8")]
    NotAKey,
    #[error("aws-lc refused to sign")]
    Refused,
}

/// A P-256 key that signs.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
}

impl SigningKey {
    /// A fresh key as PKCS#8, to be sealed and kept.
    ///
    /// # Errors
    /// `Refused` if aws-lc cannot make one.
    pub fn generate() -> Result<Secret, SignError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| SignError::Refused)?;
        let document = pair.to_pkcs8v1().map_err(|_| SignError::Refused)?;
        Ok(Secret::new(document.as_ref()))
    }

    /// # Errors
    /// `NotAKey`.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
            .map_err(|_| SignError::NotAKey)?;
        let (x, y) = coordinates(&pair).ok_or(SignError::NotAKey)?;
        // RFC 7638 §3.2: the required members in lexical order, without white space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(sha256(&[canonical.as_bytes()]));
        Ok(Self { pair, kid })
    }

    /// The key's RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK (RFC 7517).
    pub fn jwk(&self) -> Value {
        let (x, y) = coordinates(&self.pair).unwrap_or_default();
        json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "kid": self.kid, "alg": "ES256", "use": "sig",
        })
    }

    /// A compact JWS (RFC 7515) over the claims, with `typ` in its header.
    ///
    /// # Errors
    /// `Refused` if aws-lc cannot sign.
    pub fn sign_jws(&self, typ: &str, claims: &Value) -> Result<String, SignError> {
        let header = json!({ "alg": "ES256", "kid": self.kid, "typ": typ });
        let mut jws = URL_SAFE_NO_PAD.encode(header.to_string());
        jws.push('.');
        jws.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.sign(jws.as_bytes())?;
        jws.push('.');
        jws.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(jws)
    }

    /// The signature as r and s, 32 bytes each.
    ///
    /// # Errors
    /// `Refused` if aws-lc cannot sign.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature =
            self.pair.sign(&SystemRandom::new(), bytes).map_err(|_| SignError::Refused)?;
        Ok(signature.as_ref().to_vec())
    }

    /// Whether this key made `signature` over `bytes`.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(bytes, signature)
            .is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// x and y of an uncompressed point (SEC 1 §2.3.3): 0x04, 32 bytes, 32 bytes.
fn coordinates(pair: &EcdsaKeyPair) -> Option<(String, String)> {
    let (&form, point) = pair.public_key().as_ref().split_first()?;
    let (x, y) = point.split_at_checked(32)?;
    (form == 4 && y.len() == 32).then(|| (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(SigningKey::generate().expect("makes one").expose()).expect("reads")
    }

    #[test]
    fn a_signature_holds_for_its_bytes_and_key_only() {
        let (one, two) = (key(), key());
        let signature = one.sign(b"hello").expect("signs");
        assert!(one.verify(b"hello", &signature));
        assert!(!one.verify(b"hellO", &signature));
        assert!(!two.verify(b"hello", &signature));
    }

    #[test]
    fn the_kid_is_the_thumbprint_and_survives_reading_back() {
        let pkcs8 = SigningKey::generate().expect("makes one");
        let one = SigningKey::from_pkcs8(pkcs8.expose()).expect("reads");
        let two = SigningKey::from_pkcs8(pkcs8.expose()).expect("reads");
        assert_eq!(one.jwk(), two.jwk());
        assert_eq!(one.jwk()["kid"], one.kid());
        assert_eq!(one.kid().len(), 43);
    }

    #[test]
    fn another_library_accepts_the_jws() {
        let key = key();
        let jws = key.sign_jws("stepgate+jwt", &json!({ "sub": "alice" })).expect("signs");
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).expect("a JWK");
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        rules.set_required_spec_claims::<&str>(&[]);
        rules.validate_exp = false;
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("a key");
        let claims = jsonwebtoken::decode::<Value>(&jws, &decoding, &rules).expect("verifies");
        assert_eq!(claims.claims["sub"], "alice");
        assert_eq!(claims.header.typ.as_deref(), Some("stepgate+jwt"));
    }

    #[test]
    fn rubbish_is_not_a_key() {
        assert_eq!(SigningKey::from_pkcs8(b"rubbish").err(), Some(SignError::NotAKey));
    }
}
