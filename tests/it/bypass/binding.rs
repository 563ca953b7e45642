//! An approval fits exactly one action of one credential: everything else finds nothing.

use super::{ORDER, TRANSFER, WITHDRAW, approve, transfer};
use crate::client::Client;
use crate::world::World;

const BASE: &str =
    r#"{"ccy":"USDT","amt":"5","toAddr":"TAddress1","dest":"4","chain":"USDT-TRC20","fee":"0.8"}"#;

async fn approved() -> (World, Client) {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(WITHDRAW, BASE).await.challenge();
    approve(&world, &alice, &challenge).await;
    (world, alice)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_approved_withdrawal_passes() {
    let (world, alice) = approved().await;
    let others = [
        BASE.replace("\"5\"", "\"9999\""),
        BASE.replace("TAddress1", "TAddress2"),
        BASE.replace("USDT-TRC20", "USDT-ERC20"),
        BASE.replace("\"4\"", "\"3\""),
        BASE.replace("\"4\"", "4"),
        BASE.replace("0.8", "4.9"),
        BASE.replace("USDT\",\"amt", "BTC\",\"amt"),
        BASE.replace("}", r#","toAddrType":"2"}"#),
        BASE.replace("}", r#","areaCode":"86"}"#),
        BASE.replace("}", r#","rcvrInfo":{"walletType":"private"}}"#),
        BASE.replace("}", r#","memo":""}"#),
        BASE.replace("}", r#","pwd":null}"#),
        BASE.replace("}", r#","AMT":"9999"}"#),
        BASE.replace("}", r#","amt":"9999"}"#),
        BASE.replace("}", r#","amt\u0000":"9999"}"#),
        BASE.replace("\"5\"", "\"5e3\""),
        BASE.replace("\"5\"", "\"9007199254740993\""),
        BASE.replace("\"5\"", "\"5\",\"x\":1"),
        format!("{BASE}{BASE}"),
        format!("[{BASE}]"),
    ];
    for body in others {
        let answer = alice.post_json(WITHDRAW, body.clone()).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{body}: {}", answer.status);
    }
    for target in ["?x=1", "?amt=9999", "/", "/x", ";a=b", "%00", ".json"] {
        let answer = alice.post_json(&format!("{WITHDRAW}{target}"), BASE).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{target}: {}", answer.status);
    }
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let headers = [("content-type", "application/json"), (name, "DELETE")];
        let answer = alice.send("POST", WITHDRAW, &headers, BASE).await;
        assert_eq!(answer.status, 400, "{name}");
    }
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
    // Order, white space and the amount's spelling are free where the client repeats (B3, B4).
    let same = r#"{ "amt":"5.0", "fee":"0.8", "ccy":"USDT","chain":"USDT-TRC20","dest":"4","toAddr":"TAddress1"}"#;
    let passed = alice.post_json(WITHDRAW, same).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = world.exchange.seen_at(WITHDRAW).remove(0);
    assert_eq!((seen.method.as_str(), &*seen.body), ("POST", same.as_bytes()));
    assert_eq!(alice.post_json(WITHDRAW, BASE).await.status, 401, "used once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_use_it() {
    let (world, _alice) = approved().await;
    world.enrol_totp("bob").await;
    let others = [
        world.session("alice", "s2").await,
        world.session("bob", "s1").await,
        world.client().with("ok-access-key", "key-alice"),
        // The same session as a cookie is another credential than as a bearer token.
        world.client().with(
            "cookie",
            format!("session={}", world.kit.token("alice", "s1", world.now().seconds())),
        ),
    ];
    for other in others {
        assert_eq!(other.post_json(WITHDRAW, BASE).await.status, 401);
    }
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_time_with_its_factor_and_with_the_accounts_freedom() {
    let (world, alice) = approved().await;
    world.wait_s(300);
    let late = alice.post_json(WITHDRAW, BASE).await;
    assert_eq!(late.status, 401, "after its time");
    approve(&world, &alice, &late.challenge()).await;
    world.enrol_totp("alice").await;
    let replaced = alice.post_json(WITHDRAW, BASE).await;
    assert_eq!(replaced.status, 401, "after the factor was replaced");
    approve(&world, &alice, &replaced.challenge()).await;
    assert_eq!(world.admin("POST", "/account/main/alice/freeze", ORDER).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, BASE).await.status, 423);
    assert_eq!(world.admin("POST", "/account/main/alice/thaw", ORDER).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, BASE).await.status, 401, "after a freeze");
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_write_that_no_action_names_keeps_its_method() {
    let pack = crate::world::OKX.replace(r#"write = "deny""#, r#"write = "require""#);
    let world = World::with(crate::kit::POLICY, &pack, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json("/new/thing", "{}").await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    approve(&world, &alice, &asked.challenge()).await;
    for name in ["x-http-method-override", "x-http-method", "x_method_override"] {
        for method in ["POST", "GET"] {
            let headers = [("content-type", "application/json"), (name, "DELETE")];
            let answer = alice.send(method, "/new/thing", &headers, "{}").await;
            assert_eq!(answer.status, 400, "{method} {name}: {}", answer.text());
        }
    }
    assert!(world.exchange.seen_at("/new/thing").is_empty());
    assert_eq!(alice.post_json("/new/thing?x", "{}").await.status, 401);
    assert_eq!(alice.post_json("/new/thing", "[]").await.status, 401);
    assert_eq!(alice.post_json("/new/thing", "{}").await.status, 200);
    assert_eq!(world.exchange.seen_at("/new/thing").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_never_given_is_not_spent_again() {
    use crate::exchange::Reply;
    let (world, alice) = approved().await;
    world.exchange.will(Reply::Hangup);
    let unknown = alice.post_json(WITHDRAW, BASE).await;
    assert!([502, 504].contains(&unknown.status.as_u16()), "{}", unknown.text());
    assert_eq!(alice.post_json(WITHDRAW, BASE).await.status, 401, "a new approval is needed");
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 1, "never retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_swapped_under_an_open_challenge_gets_its_own() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let first = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let second = alice.post_json(TRANSFER, transfer("9999")).await.challenge();
    assert_ne!(first, second);
    let shown = alice.get(&format!("/.stepgate/challenge/{first}")).await.text();
    assert!(!shown.contains("9999"), "{shown}");
    approve(&world, &alice, &first).await;
    assert_eq!(alice.post_json(TRANSFER, transfer("9999")).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}
