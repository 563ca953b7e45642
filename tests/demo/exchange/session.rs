//! Session cookies of the toy exchange: ES256 tokens that the gateway verifies by the published key.
//!
//! Never accepts a token that it did not issue itself: the exchange looks tokens up and does not parse them.

use std::collections::HashMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use stepgate::types::UnixMs;

use super::customers::Customer;

/// How long a session lasts.
const SESSION_S: i64 = 12 * 3600;

/// Name of the signing key in header and key set.
const KEY_ID: &str = "demo-1";

/// Issues sessions and knows them again.
pub struct Sessions {
    key: EcdsaKeyPair,
    issuer: String,
    audience: String,
    live: HashMap<String, String>,
}

impl Sessions {
    pub fn new(issuer: &str, audience: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("a P-256 key can be made");
        let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
        Self { key, issuer, audience, live: HashMap::new() }
    }

    /// The public key as a JWKS document.
    pub fn jwks(&self) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32); // 0x04, then two coordinates of 32 bytes (SEC 1 §2.3.3)
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] })
        .to_string()
    }

    /// A new session of this customer: the value of the `session` cookie.
    pub fn issue(&mut self, customer: &Customer, now: UnixMs) -> String {
        let mut sid = [0; 16];
        aws_lc_rs::rand::fill(&mut sid).expect("the operating system gives randomness");
        let mut claims = json!({
            "iss": self.issuer, "aud": self.audience, "sub": customer.name,
            "sid": URL_SAFE_NO_PAD.encode(sid),
            "iat": now.seconds(), "auth_time": now.seconds(), "exp": now.seconds() + SESSION_S,
        });
        if let Some(phone) = customer.phone {
            claims["phone_number"] = json!(phone);
        }
        claims["email"] = json!(format!("{}@mail.example", customer.name));
        let token = self.sign(&claims);
        self.live.insert(token.clone(), customer.name.clone());
        token
    }

    /// Whose session this is.
    pub fn owner(&self, token: &str) -> Option<&String> {
        self.live.get(token)
    }

    pub fn end(&mut self, token: &str) {
        self.live.remove(token);
    }

    fn sign(&self, claims: &serde_json::Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": KEY_ID });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .expect("a P-256 key signs any bytes");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
