//! The 300 mutations of one withdrawal as raw bytes through the running gateway, head and framing
//! included.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::raw;
use crate::kit::{HOST, POLICY, TOKYO};
use crate::vectors::{PACK, vectors};
use crate::world::World;

/// Vectors that may reach the upstream without a step-up although some back end ran them, each with
/// its reason. There are none.
const LET_THROUGH: [(&str, &str); 0] = [];

/// Vectors that are answered otherwise than their line says, each with its reason.
const ANSWERED_OTHERWISE: [(&str, &str); 2] = [
    ("H03", "a host with a dot at its end is not one of ours: 421 before anything is asked"),
    ("J42", "the body is over 64 KiB, and that is said before its depth is looked at: 413"),
];

/// The vector with a session, its name and our host in it.
fn armed(vector: &Value, bytes: &[u8], token: &str) -> Vec<u8> {
    let at = usize::try_from(vector["insert_at"].as_u64().unwrap()).unwrap();
    let (before, after) = bytes.split_at(at);
    let more = format!(
        "authorization: Bearer {token}\r\nx-forwarded-for: {TOKYO}\r\nx-vector: {}\r\n",
        vector["id"].as_str().unwrap()
    );
    [&ours(before), more.as_bytes(), &ours(after)].concat()
}

/// With `HOST` replaced by the site's name.
fn ours(bytes: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|window| window == b"HOST") {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(HOST.as_bytes());
        rest = &rest[at + 4..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

fn ran(vector: &Value) -> bool {
    ["executed_by", "redirected_by", "ran_with"].into_iter().any(|key| match &vector[key] {
        Value::Array(list) => !list.is_empty(),
        Value::Object(list) => !list.is_empty(),
        _ => false,
    })
}

fn word(answer: &str) -> String {
    // A client that waits to be told to go on gets an interim answer first.
    let answer = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(answer);
    let status = answer.get(9..12).unwrap_or("none");
    let challenged = status == "401" && answer.contains("step-up-challenge: ");
    if challenged { "step-up".to_owned() } else { status.to_owned() }
}

fn fits(vector: &Value, word: &str) -> bool {
    let accepted = |wanted: &str| {
        vector["required"] == wanted
            || vector["also_accepted"]
                .as_array()
                .is_some_and(|also| also.iter().any(|also| also == wanted))
    };
    match word {
        "step-up" => accepted("step-up"),
        "200" => accepted("pass"),
        refused => {
            accepted("reject")
                && vector["status"].as_array().is_some_and(|list| {
                    list.iter().any(|status| status.as_u64() == refused.parse().ok())
                })
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_back_end_would_run_reaches_it_unasked() {
    let world = Arc::new(World::with(POLICY, PACK, "").await);
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let before = world.exchange.seen().len();
    let token = Arc::new(world.kit.token("alice", "s1", world.now().seconds()));
    let slots = Arc::new(Semaphore::new(16));
    let mut sent = tokio::task::JoinSet::new();
    for (vector, bytes) in vectors() {
        let (alice, token, slots) = (alice.clone(), token.clone(), slots.clone());
        sent.spawn(async move {
            let _slot = slots.acquire().await.unwrap();
            let answer = raw(&alice, &armed(&vector, &bytes, &token)).await;
            (vector, word(&answer))
        });
    }
    let answers = sent.join_all().await;
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for seen in world.exchange.seen().split_off(before) {
        let name = seen.headers.get("x-vector").map_or("unnamed", |name| name.to_str().unwrap());
        *reached.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(reached.get("unnamed"), None, "something was smuggled");
    let mut leaked = Vec::new();
    let mut otherwise = Vec::new();
    for (vector, word) in &answers {
        let id = vector["id"].as_str().unwrap();
        let line = format!("{id} {word} {}", vector["about"].as_str().unwrap());
        let known = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == id);
        if ran(vector) && reached.contains_key(id) && !known(&LET_THROUGH) {
            leaked.push(line.clone());
        }
        if !fits(vector, word) && !known(&ANSWERED_OTHERWISE) {
            otherwise.push(format!("{line} (wants {} {})", vector["required"], vector["status"]));
        }
    }
    assert_eq!(answers.len(), 300);
    assert!(leaked.is_empty(), "{}", leaked.join("\n"));
    otherwise.sort();
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_method_is_spelt_as_it_is_spelt() {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await.with("content-type", "application/json");
    let body = r#"{"amt":"9999","ccy":"BTC","toAddr":"EVIL"}"#;
    for method in ["post", "Post", "POSTS", "PUT", "TRACE", "FOO", "GET", "PATCH"] {
        let answer = alice.send_h2(method, "/api/v5/asset/withdrawal", body).await;
        assert!(answer.status.is_client_error() || answer.status == 501, "{method}");
    }
    let asked = alice.send_h2("POST", "/api/v5/asset/withdrawal", body).await;
    assert_eq!(asked.status, 401);
    for target in
        ["//api/v5/asset/withdrawal", "/api/v5/asset/%77ithdrawal", "/API/v5/asset/withdrawal"]
    {
        assert_eq!(alice.send_h2("POST", target, body).await.status, 400, "{target}");
    }
    assert!(world.exchange.seen_at("/api/v5/asset/withdrawal").is_empty());
}
