//! `Stepgate-Assertion`: what the exchange can check of a decision, with the keys that the gateway publishes.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use crate::journeys::{TO_SPOT, TRANSFER};
use crate::world::World;

/// The claims, if one of the published keys signed them.
fn verified(token: &str, keys: &JwkSet) -> Option<Value> {
    let header = decode_header(token).unwrap();
    assert_eq!(header.alg, Algorithm::ES256);
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap())?).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&["main"]);
    rules.set_issuer(&["stepgate"]);
    // The world's clock is not this machine's; the span is checked below.
    rules.validate_exp = false;
    decode(token, &key, &rules).ok().map(|token| token.claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assertion_of_a_guarded_action_verifies_and_says_what_was_decided() {
    stepgate::install_crypto();
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let code = world.totp();
    let headers = [("content-type", "application/json"), ("step-up-code", &*code)];
    assert_eq!(alice.send("POST", TRANSFER, &headers, TO_SPOT).await.status, 200);

    let published = world.client().get("/.stepgate/jwks.json").await;
    let keys: JwkSet = serde_json::from_slice(&published.body).unwrap();
    assert!(!published.text().contains("\"d\""), "a private key is published");
    let seen = world.exchange.seen_at(TRANSFER);
    let token = seen[0].headers["stepgate-assertion"].to_str().unwrap();
    let claims = verified(token, &keys).expect("signed by a published key");
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["action"], "transfer");
    assert_eq!(claims["factors"], serde_json::json!(["totp"]));
    assert_eq!(claims["rules"], serde_json::json!(["contract-to-spot"]));
    assert_eq!(claims["iat"], world.now().seconds());
    assert_eq!(claims["exp"], world.now().seconds() + 60);
    let audit = world.audit();
    let intent = audit.iter().find(|line| line["event"] == "intent").unwrap();
    assert_eq!(claims["intent"], intent["intent"], "the very intent that was recorded");
    assert_eq!(claims["jti"], intent["request"]);

    // Any other byte, and it is nobody's word.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let other = if body.ends_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{}{other}.{signature}", &body[..body.len() - 1]);
    assert!(verified(&forged, &keys).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_traffic_carries_no_assertion() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    alice.with("stepgate-assertion", "mine").get("/api/v5/market/ticker").await;
    let seen = world.exchange.seen_at("/api/v5/market/ticker");
    assert!(!seen[0].headers.contains_key("stepgate-assertion"));
}
