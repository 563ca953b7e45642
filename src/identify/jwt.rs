//! Signed session tokens (RFC 7519 under the rules of RFC 8725).
//!
//! Never lets a token choose how it is checked: each key has exactly one algorithm, fixed when the
//! key was read, and a token's header can only agree with it. A verified token is remembered by its
//! hash until it ends or the keys change.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::quality::RandomState;
use jsonwebtoken::{Algorithm, DecodingKey};
use moka::sync::Cache;
use serde::Deserialize;

use super::claims::Claims;
use super::jwks::{Jwk, KeySet, Keys};
use super::{CACHED_MAX, CACHED_TTL, CacheKey, Found, IdentifyError, Identity, Presented};
use crate::octets;
use crate::types::UnixMs;

/// Checks the tokens of one issuer.
pub(super) struct Jwt {
    pub group: Arc<str>,
    pub issuer: Option<String>,
    /// Without it any audience is taken: the operator did not say which one is ours.
    pub audience: Option<String>,
    pub keys: Arc<Keys>,
    verified: Cache<CacheKey, Verified, RandomState>,
}

/// A token whose signature and claims hold, apart from its end.
#[derive(Clone)]
pub(super) struct Verified {
    pub identity: Arc<Identity>,
    expires: UnixMs,
    /// Of the key set that verified it.
    generation: u64,
}

/// Why a token does not hold.
enum Failure {
    /// No key of this name: perhaps a newer key set has it.
    UnknownKey,
    Invalid(&'static str),
}

impl Jwt {
    pub fn new(
        group: Arc<str>,
        issuer: Option<String>,
        audience: Option<String>,
        keys: Arc<Keys>,
    ) -> Self {
        let verified = Cache::builder()
            .max_capacity(CACHED_MAX)
            .time_to_live(CACHED_TTL)
            .build_with_hasher(RandomState::default());
        Self { group, issuer, audience, keys, verified }
    }

    /// What is known without verifying anything; None if the token must be verified.
    pub fn recall(&self, presented: &Presented<'_>, fresh: bool, now: UnixMs) -> Option<Found> {
        if !has_shape(presented.text) {
            return Some(Err(IdentifyError::Invalid("not a session token")));
        }
        self.known(presented).map(|verified| verified.alive(fresh, now))
    }

    /// What this token said when it was verified with the keys that are current.
    pub fn known(&self, presented: &Presented<'_>) -> Option<Verified> {
        self.verified.get(&presented.cache_key()).filter(|verified| self.is_current(verified))
    }

    /// Whose token it still is, for traffic that guards nothing.
    pub fn confirm(&self, verified: &Verified, now: UnixMs) -> Option<Arc<Identity>> {
        let alive = self.is_current(verified) && now < verified.until(false);
        alive.then(|| verified.identity.clone())
    }

    fn is_current(&self, verified: &Verified) -> bool {
        self.keys.generation().is_some_and(|current| current == verified.generation)
    }

    /// Verifies the token, with a newer key set if it names a key that is not known.
    pub async fn check(&self, presented: &Presented<'_>, fresh: bool, now: UnixMs) -> Found {
        if let Some(known) = self.recall(presented, fresh, now) {
            return known;
        }
        let first = self.keys.current().map(|keys| self.verify(&keys, presented, now));
        let failure = match first {
            Some(Ok(verified)) => return verified.alive(fresh, now),
            Some(Err(Failure::Invalid(why))) => return Err(IdentifyError::Invalid(why)),
            Some(Err(Failure::UnknownKey)) | None => IdentifyError::Invalid("unknown key"),
        };
        if !self.keys.refreshed().await {
            return Err(if self.keys.is_remote() { IdentifyError::Unavailable } else { failure });
        }
        match self.keys.current().map(|keys| self.verify(&keys, presented, now)) {
            Some(Ok(verified)) => verified.alive(fresh, now),
            Some(Err(Failure::Invalid(why))) => Err(IdentifyError::Invalid(why)),
            Some(Err(Failure::UnknownKey)) => Err(failure),
            None => Err(IdentifyError::Unavailable),
        }
    }

    fn verify(
        &self,
        keys: &KeySet,
        presented: &Presented<'_>,
        now: UnixMs,
    ) -> Result<Verified, Failure> {
        const MALFORMED: Failure = Failure::Invalid("malformed token");
        let (message, signature) = presented.text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = message.split_once('.').ok_or(MALFORMED)?;
        let header: Header = decode(header).ok_or(MALFORMED)?;
        header.check()?;
        signed_by(keys, &header, message, signature)?;
        let claims: Claims = decode(payload).ok_or(Failure::Invalid("unreadable claims"))?;
        let verified = self.accept(claims, presented, keys.generation, now);
        let verified = verified.map_err(Failure::Invalid)?;
        self.verified.insert(presented.cache_key(), verified.clone());
        Ok(verified)
    }

    /// Judges the claims of a token whose signature holds.
    fn accept(
        &self,
        mut claims: Claims,
        presented: &Presented<'_>,
        generation: u64,
        now: UnixMs,
    ) -> Result<Verified, &'static str> {
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err("another issuer's token");
        }
        if let Some(ours) = &self.audience
            && !claims.aud.as_ref().is_some_and(|audience| audience.contains(ours))
        {
            return Err("a token for another audience");
        }
        if claims.nbf.is_some_and(|begins| begins.0 > now.plus_ms(LEEWAY_MS)) {
            return Err("a token that is not valid yet");
        }
        let expires = claims.exp.ok_or("a token without an end")?.0;
        // Only introspection may name an account by `username`; in a token it is a display name.
        claims.username = None;
        let identity = Arc::new(claims.identity(&self.group, presented)?);
        Ok(Verified { identity, expires, generation })
    }
}

impl Verified {
    /// A token is somebody's for a little longer than it may act: while the exchange's clock may
    /// still honour it, its traffic is not nobody's, but a guarded action wants it unexpired.
    fn until(&self, fresh: bool) -> UnixMs {
        if fresh { self.expires } else { self.expires.plus_ms(LEEWAY_MS) }
    }

    fn alive(self, fresh: bool, now: UnixMs) -> Found {
        Ok((now < self.until(fresh)).then_some(self.identity))
    }
}

/// The protected header. `jku`, `x5u`, `jwk` and `x5c` are not even read (RFC 8725 §3.10).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

impl Header {
    fn check(&self) -> Result<(), Failure> {
        if self.crit.is_some() {
            return Err(Failure::Invalid("a token with critical extensions"));
        }
        // Other kinds of token that the same issuer signs (logout, DPoP, …) are not sessions (RFC
        // 8725 §3.11).
        let typ = self.typ.as_deref().unwrap_or("JWT");
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt") {
            Ok(())
        } else {
            Err(Failure::Invalid("a token of another kind"))
        }
    }
}

fn signed_by(
    keys: &KeySet,
    header: &Header,
    message: &str,
    signature: &str,
) -> Result<(), Failure> {
    let named = |key: &&Key| match (&header.kid, &key.kid) {
        (Some(wanted), Some(kid)) => wanted == kid,
        _ => true,
    };
    let mut fitting = keys.keys.iter().filter(named).peekable();
    if fitting.peek().is_none() {
        return Err(Failure::UnknownKey);
    }
    let agreeing = fitting.filter(|key| key.agrees(&header.alg)).take(KEYS_TRIED_MAX);
    let mut tried = false;
    for key in agreeing {
        tried = true;
        if key.verifies(message, signature) {
            return Ok(());
        }
    }
    Err(Failure::Invalid(if tried { "bad signature" } else { "an algorithm that no key has" }))
}

/// A public key, or a shared secret, with the one algorithm it is for.
pub(super) struct Key {
    pub kid: Option<String>,
    algorithm: Algorithm,
    material: DecodingKey,
}

/// The algorithms that a configuration allows; empty for those that the keys say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Allowed(Vec<Algorithm>);

impl Allowed {
    /// # Errors
    /// The first name that is none; `none` is never one.
    pub fn parse(names: &[String]) -> Result<Self, &str> {
        let algorithm = |name: &String| ALGORITHMS.iter().find(|(_, known)| known == name);
        let found = names.iter().map(|name| Ok(algorithm(name).ok_or(name.as_str())?.0));
        found.collect::<Result<_, _>>().map(Self)
    }
}

impl Key {
    /// Fixes a key's algorithm from its type, its curve, its `alg` and what is allowed; None if the
    /// key is not for signatures at all.
    ///
    /// # Errors
    /// Says why the key cannot be used, without any of its content.
    pub fn from_jwk(jwk: Jwk, allowed: &Allowed) -> Result<Option<Self>, &'static str> {
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if jwk.r#use.as_deref().is_some_and(|r#use| r#use != "sig")
            || jwk.key_ops.as_ref().is_some_and(|ops| !verifies(ops))
        {
            return Ok(None);
        }
        let possible: &[Algorithm] = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => &[Algorithm::ES256],
            ("EC", Some("P-384")) => &[Algorithm::ES384],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
            ("RSA", _) => &RSA,
            ("oct", _) => &HMAC,
            _ => return Err("is of a type or curve that is not supported"),
        };
        let fits = |algorithm: &&Algorithm| {
            jwk.alg.as_deref().is_none_or(|alg| is_named(**algorithm, alg))
                && (allowed.0.is_empty() || allowed.0.contains(algorithm))
        };
        let mut fitting = possible.iter().filter(fits);
        let algorithm = match (fitting.next(), fitting.next()) {
            (Some(one), None) => *one,
            (None, _) => return Err("has no algorithm that is allowed here"),
            _ => return Err("does not say which algorithm it is for (`alg`)"),
        };
        let material = material(&jwk, algorithm)?;
        Ok(Some(Self { kid: jwk.kid, algorithm, material }))
    }

    /// Whether it is a shared secret.
    pub fn is_secret(&self) -> bool {
        HMAC.contains(&self.algorithm)
    }

    fn agrees(&self, alg: &str) -> bool {
        is_named(self.algorithm, alg)
    }

    fn verifies(&self, message: &str, signature: &str) -> bool {
        let message = message.as_bytes();
        jsonwebtoken::crypto::verify(signature, message, &self.material, self.algorithm)
            .unwrap_or(false)
    }
}

fn material(jwk: &Jwk, algorithm: Algorithm) -> Result<DecodingKey, &'static str> {
    let part = |part: &Option<String>, lengths: std::ops::RangeInclusive<usize>| {
        let bytes = part.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.filter(|bytes| lengths.contains(&bytes.len())).ok_or("has a part of a wrong length")
    };
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let size = if algorithm == Algorithm::ES256 { 32 } else { 48 };
            let point = [vec![4], part(&jwk.x, size..=size)?, part(&jwk.y, size..=size)?].concat();
            Ok(DecodingKey::from_ec_der(&point))
        }
        Algorithm::EdDSA => Ok(DecodingKey::from_ed_der(&part(&jwk.x, 32..=32)?)),
        // RFC 7518 §3.2: a shared secret is at least as long as the hash.
        Algorithm::HS256 => Ok(DecodingKey::from_secret(&part(&jwk.k, 32..=1024)?)),
        Algorithm::HS384 => Ok(DecodingKey::from_secret(&part(&jwk.k, 48..=1024)?)),
        Algorithm::HS512 => Ok(DecodingKey::from_secret(&part(&jwk.k, 64..=1024)?)),
        // RFC 7518 §3.3: 2048 bits or more.
        _ => Ok(DecodingKey::from_rsa_raw_components(
            &part(&jwk.n, 256..=1024)?,
            &part(&jwk.e, 1..=8)?,
        )),
    }
}

fn is_named(algorithm: Algorithm, name: &str) -> bool {
    // RFC 9864 calls EdDSA over Ed25519 by the curve's name.
    let name = if name == "Ed25519" { "EdDSA" } else { name };
    ALGORITHMS.iter().any(|(known, spelling)| *known == algorithm && *spelling == name)
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Three parts, whatever is in them.
fn has_shape(text: &str) -> bool {
    text.len() <= TOKEN_BYTES_MAX && octets::count(text.as_bytes(), b'.') == 2
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

pub(super) const ALGORITHMS: [(Algorithm, &str); 12] = [
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::HS256, "HS256"),
    (Algorithm::HS384, "HS384"),
    (Algorithm::HS512, "HS512"),
];

const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the issuer's clock may be from ours.
const LEEWAY_MS: u64 = 60_000;
/// Signatures tried for a token that does not name its key.
const KEYS_TRIED_MAX: usize = 8;

/// Signs tokens the way exchanges do, for tests.
#[cfg(test)]
pub(super) mod sign {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};

    use super::*;

    pub struct Issuer {
        pub kid: String,
        /// The key as a verifier is given it.
        pub jwk: Value,
        pub algorithm: &'static str,
        key: EncodingKey,
    }

    impl Issuer {
        pub fn es256(kid: &str) -> Self {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
            let point = &pair.public_key().as_ref()[1..];
            let [x, y] = [&point[..32], &point[32..]].map(|part| URL_SAFE_NO_PAD.encode(part));
            let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y });
            let key = EncodingKey::from_ec_der(pkcs8.as_ref());
            Self { kid: kid.to_owned(), jwk, algorithm: "ES256", key }
        }

        pub fn hs256(kid: &str, secret: &[u8]) -> Self {
            let k = URL_SAFE_NO_PAD.encode(secret);
            let jwk = json!({ "kty": "oct", "alg": "HS256", "kid": kid, "k": k });
            let key = EncodingKey::from_secret(secret);
            Self { kid: kid.to_owned(), jwk, algorithm: "HS256", key }
        }

        pub fn token(&self, claims: &Value) -> String {
            self.token_with(&json!({ "alg": self.algorithm, "kid": self.kid }), claims)
        }

        /// The same with any header, true or not.
        pub fn token_with(&self, header: &Value, claims: &Value) -> String {
            let [header, claims] =
                [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            let message = format!("{header}.{claims}");
            let algorithm = self.algorithm.parse().unwrap();
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap();
            format!("{message}.{signature}")
        }
    }
}
