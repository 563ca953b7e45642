//! The same rules over HTTP/2 as over HTTP/1.1.

use super::{TO_SPOT, TRANSFER};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_over_http_2_is_asked_about_and_passes_once_with_the_code() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await.with("content-type", "application/json");

    let asked = alice.send_h2("POST", TRANSFER, TO_SPOT).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    assert!(!asked.challenge().is_empty());
    assert!(world.exchange.seen_at(TRANSFER).is_empty(), "nothing was forwarded");

    let code = world.totp();
    let passed = alice.with("step-up-code", &code).send_h2("POST", TRANSFER, TO_SPOT).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = world.exchange.seen_at(TRANSFER);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), &seen[0].body[..]), ("POST", TO_SPOT.as_bytes()));
    assert_eq!(alice.send_h2("POST", TRANSFER, TO_SPOT).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_that_the_gateway_answers_itself_has_no_body() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    for (target, status) in [("/.stepgate/style.css", 200), ("/.stepgate/nothing", 404)] {
        let answer = alice.send_h2("HEAD", target, "").await;
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_a_guarded_path_has_no_body_even_where_no_header_announces_one() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await.with("content-type", "application/json");
    for method in ["GET", "OPTIONS"] {
        let answer = alice.send_h2(method, TRANSFER, TO_SPOT).await;
        assert_eq!(answer.status, 400, "{method}: {}", answer.text());
        assert_eq!(alice.send_h2(method, TRANSFER, "").await.status, 200, "{method}");
    }
    let seen = world.exchange.seen_at(TRANSFER);
    assert!(seen.iter().all(|request| request.body.is_empty()), "no body arrived");
}
