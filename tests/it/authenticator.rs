//! A passkey in software, with every way in which one can lie.
//!
//! Written against WebAuthn Level 3 alone, and not against what reads it.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Somebody is there, and showed that it is them.
pub const PRESENT: u8 = 1;
pub const VERIFIED: u8 = 4;
const HAS_KEY: u8 = 64;

pub struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
}

/// What a signature says, beside what it is asked to.
#[derive(Clone)]
pub struct Says {
    pub origin: String,
    /// The options' own if there is none.
    pub rp_id: Option<String>,
    pub kind: &'static str,
    /// In base64url; the options' own if there is none.
    pub challenge: Option<String>,
    pub flags: u8,
    pub counter: u32,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            origin: "https://exchange.example".to_owned(),
            rp_id: None,
            kind: "webauthn.get",
            challenge: None,
            flags: PRESENT | VERIFIED,
            counter: 0,
        }
    }
}

impl Authenticator {
    pub fn new(id: &[u8]) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { key, id: id.to_vec() }
    }

    /// Answers `navigator.credentials.create`.
    pub fn create(&self, options: &Value, says: &Says) -> Value {
        let says = Says { kind: "webauthn.create", flags: says.flags | HAS_KEY, ..says.clone() };
        let public = &options["publicKey"];
        let client_data = client_data(public, &says);
        let mut data = head(public["rp"]["id"].as_str().unwrap(), &says);
        data.extend([0; 16]); // no model
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose());
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        self.posted(json!({
            "clientDataJSON": encode(client_data.as_bytes()),
            "attestationObject": encode(&object),
        }))
    }

    /// Answers `navigator.credentials.get`.
    pub fn get(&self, options: &Value, says: &Says) -> Value {
        let public = &options["publicKey"];
        let client_data = client_data(public, says);
        let data = head(public["rpId"].as_str().unwrap(), says);
        let mut message = data.clone();
        message.extend(digest(&SHA256, client_data.as_bytes()).as_ref());
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap();
        self.posted(json!({
            "clientDataJSON": encode(client_data.as_bytes()),
            "authenticatorData": encode(&data),
            "signature": encode(signature.as_ref()),
        }))
    }

    fn posted(&self, response: Value) -> Value {
        let id = encode(&self.id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "response": response,
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
        })
    }

    /// The public key as COSE writes it (RFC 9053 §2.1, ES256).
    fn cose(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut cose = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
        cose.extend(&point[1..33]);
        cose.extend(b"\x22\x58\x20");
        cose.extend(&point[33..65]);
        cose
    }
}

fn client_data(public: &Value, says: &Says) -> String {
    let own = || public["challenge"].as_str().unwrap().to_owned();
    let challenge = says.challenge.clone().unwrap_or_else(own);
    json!({ "type": says.kind, "challenge": challenge, "origin": says.origin, "crossOrigin": false })
        .to_string()
}

fn head(rp_id: &str, says: &Says) -> Vec<u8> {
    let rp_id = says.rp_id.as_deref().unwrap_or(rp_id);
    let mut head = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
    head.push(says.flags);
    head.extend(says.counter.to_be_bytes());
    head
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
