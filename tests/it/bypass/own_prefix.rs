//! The gateway's own addresses are spelt in one way; every other spelling is neither ours nor the
//! exchange's.

use super::raw;
use crate::kit::{HOST, POLICY};
use crate::world::{OKX, World};

const NO_RULES: &str =
    "version = 1\nexchange = \"none\"\nunclassified = { read = \"allow\", write = \"allow\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn odd_spellings_reach_nobody() {
    let id = "A".repeat(43);
    let spellings = [
        "//.stepgate/".to_owned(),
        "/./.stepgate/jwks.json".to_owned(),
        "/x/../.stepgate/jwks.json".to_owned(),
        "/%2estepgate/jwks.json".to_owned(),
        "/%2Estepgate".to_owned(),
        "/%252estepgate/".to_owned(),
        "/.%73tepgate/jwks.json".to_owned(),
        "/.STEPGATE/jwks.json".to_owned(),
        "/.StepGate".to_owned(),
        "/.stepgate%2fjwks.json".to_owned(),
        "/.stepgate%00/".to_owned(),
        "/.stepgate;x=1/jwks.json".to_owned(),
        "/.stepgate%20/".to_owned(),
        "/.stepgate./".to_owned(),
        "/\\.stepgate/".to_owned(),
        "/x\\..\\.stepgate/".to_owned(),
        "/%5c.stepgate/".to_owned(),
        "//evil.example/.stepgate/".to_owned(),
        format!("//.stepgate/challenge/{id}/answer"),
        format!("/.Stepgate/challenge/{id}/answer"),
    ];
    for pack in [OKX, NO_RULES] {
        let world = World::with(POLICY, pack, "").await;
        for target in &spellings {
            for method in ["GET", "POST"] {
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\
                     content-length: 0\r\n\r\n"
                );
                let answer = raw(&world.client(), head.as_bytes()).await;
                assert!(answer.starts_with("HTTP/1.1 400"), "{method} {target}: {answer}");
            }
        }
        assert!(world.exchange.seen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_prefix_nothing_is_forwarded_and_nothing_odd_is_answered() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let before = world.exchange.seen().len();
    let id = alice.post_json(super::TRANSFER, super::transfer("1")).await.challenge();
    let targets = [
        "/.stepgate".to_owned(),
        "/.stepgate/".to_owned(),
        "/.stepgate/../api/v5/account/balance".to_owned(),
        "/.stepgate/%2e%2e/api/v5/account/balance".to_owned(),
        "/.stepgate//jwks.json".to_owned(),
        "/.stepgate/./jwks.json".to_owned(),
        "/.stepgate/JWKS.json".to_owned(),
        "/.stepgate/challenge/".to_owned(),
        format!("/.stepgate/challenge/{id}/"),
        format!("/.stepgate/challenge//{id}"),
        format!("/.stepgate/challenge/{id}/answer/"),
        format!("/.stepgate/challenge/{id};x"),
        format!("/.stepgate/challenge/{id}%00"),
    ];
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        for target in &targets {
            let answer = alice.send(method, target, &[], "{}").await;
            // `…/{id}/` is the challenge with an empty step, which only reads.
            let reads = method == "GET" || method == "HEAD";
            let shown = target.ends_with(&format!("{id}/")) && reads;
            let expected = if shown { 200 } else { 404 };
            let expected = if method == "TRACE" { 405 } else { expected };
            assert_eq!(answer.status, expected, "{method} {target}: {}", answer.text());
        }
        let plain = alice.send(method, "/.stepgate/jwks.json", &[], "{}").await;
        let reads = method == "GET" || method == "HEAD";
        let refused = if method == "TRACE" { 405 } else { 404 };
        assert_eq!(plain.status, if reads { 200 } else { refused }, "{method}");
    }
    assert_eq!(world.exchange.seen().len(), before);
}
