//! OKEx and OKCoin, August and September 2017 (INCIDENTS 1, 3, 6, 7, 9, 18).

use super::{AMSTERDAM, BALANCE, MOSCOW, POLICY, approve, at_sister, session_at, sister};
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{FRANKFURT, TOKYO};
use crate::world::{OKX, World};

const FREEZE: &str = "/account/main/alice/freeze";

/// The lines of the audit log in which this rule spoke; waits for the first.
async fn spoke(world: &World, rule: &str) -> Vec<serde_json::Value> {
    let spoke = |line: &serde_json::Value| {
        line["rules"].as_array().is_some_and(|rules| rules.iter().any(|it| it["rule"] == rule))
    };
    for _ in 0..300 {
        let lines: Vec<_> = world.audit().into_iter().filter(spoke).collect();
        if !lines.is_empty() {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the word of {rule} is not in the record");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_1_the_session_from_germany_reaches_nothing_but_the_question() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    let before = world.exchange.seen().len();

    let thief = session_at(&world, "alice", "remote", FRANKFURT);
    let question = thief.get(BALANCE).await.challenge();
    let closing = [
        ("GET", "/api/v5/account/positions", ""),
        ("POST", "/api/v5/trade/close-position", "{}"),
        ("POST", "/api/v5/trade/cancel-batch-orders", "[]"),
        ("POST", "/api/v5/trade/order", "{}"),
        ("POST", TRANSFER, TO_SPOT),
        ("DELETE", "/anything", ""),
    ];
    for (method, target, body) in closing {
        let answer = thief.send(method, target, &[JSON], body).await;
        assert!(answer.status.is_client_error(), "{method} {target}: {}", answer.status);
    }
    assert_eq!(world.exchange.seen().len(), before, "nothing but the challenge is reachable");

    assert_eq!(approve(&world, &thief, &question).await.status, 200);
    assert_eq!(thief.get(BALANCE).await.status, 200, "the owner on a journey goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_3_contract_to_spot_needs_a_code_and_the_other_direction_does_not() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "home").await;
    let back =
        TO_SPOT.replace("\"18\"", "\"x\"").replace("\"6\"", "\"18\"").replace("\"x\"", "\"6\"");
    assert_eq!(alice.post_json(TRANSFER, back).await.status, 200);
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
    assert_eq!(approve(&world, &alice, &challenge).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
    assert_eq!(world.exchange.seen_at(TRANSFER)[1].body, TO_SPOT);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_6_japan_and_twenty_minutes_later_russia_is_written_down_in_shadow() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    // Russia is a known country, so that nothing but the shadow rule has a reason to speak.
    let session = session_at(&world, "alice", "s", MOSCOW);
    assert_eq!(session.get(BALANCE).await.status, 200, "the first place is not new");
    world.wait_s(30 * 86_400);
    let home = session_at(&world, "alice", "s", TOKYO);
    let challenge = home.get(BALANCE).await.challenge();
    assert_eq!(approve(&world, &home, &challenge).await.status, 200);
    assert_eq!(home.get(BALANCE).await.status, 200);
    known(&world, "JP").await;

    world.wait_s(20 * 60);
    let hop = home.from(MOSCOW);
    let answer = hop.get(BALANCE).await;
    assert_eq!(answer.status, 200, "a shadow rule stops nobody: {}", answer.text());
    let lines = spoke(&world, "impossible-travel").await;
    let rules = lines[0]["rules"].as_array().unwrap();
    let said = rules.iter().find(|it| it["rule"] == "impossible-travel").unwrap();
    assert_eq!(said["shadow"], true);
    assert_eq!(lines[0]["place"]["country"], "RU");

    // Out of the shadow, the same hop is stopped.
    let strict = POLICY.replace("shadow = true\n", "");
    std::fs::write(world.dir().join("policies/site.policy.toml"), strict).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    world.wait_s(20 * 60);
    let before = last(&world).await;
    let back = session_at(&world, "alice", "s2", TOKYO);
    assert_eq!(back.get(BALANCE).await.status, 200, "Tokyo is among the office's networks");
    for _ in 0..300 {
        if last(&world).await != before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.wait_s(20 * 60);
    let hop = back.from(MOSCOW);
    assert_eq!(hop.get(BALANCE).await.header("step-up-factors"), "totp");
}

/// Where `alice` was seen last.
async fn last(world: &World) -> serde_json::Value {
    world.admin("GET", "/account/main/alice", "").await.json()["last"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_6_an_address_that_hops_between_russia_and_the_netherlands_is_asked_at_each_new_country()
 {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s").await;
    let (russia, netherlands) = (alice.from(MOSCOW), alice.from(AMSTERDAM));
    let first = russia.get(BALANCE).await.challenge();
    let second = netherlands.get(BALANCE).await.challenge();
    assert_ne!(first, second);
    assert_eq!(approve(&world, &russia, &first).await.status, 200);
    assert_eq!(russia.get(BALANCE).await.status, 200);
    assert_eq!(netherlands.get(BALANCE).await.status, 401, "a code for one is none for the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_the_owner_freezes_the_account_with_one_call() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let owner = world.session("alice", "owner").await;
    let thief = world.session("alice", "thief").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    let challenge = owner.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(owner.post_json(&path, r#"{"freeze":true}"#).await.status, 200);
    for client in [&owner, &thief, &bot] {
        assert_eq!(client.post_json(WITHDRAW, withdrawal("1", "T1")).await.status, 423);
        assert_eq!(client.post_json("/api/v5/trade/order", "{}").await.status, 423);
        assert_eq!(client.get(BALANCE).await.status, 200, "looking is allowed");
    }
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 0);
    let frozen = |line: &serde_json::Value| line["event"] == "frozen" && line["account"] == "alice";
    for _ in 0..300 {
        if world.audit().iter().any(frozen) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the freeze is not in the record");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_a_freeze_ends_approvals_that_were_given_before() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(approve(&world, &alice, &challenge).await.status, 200);
    assert_eq!(world.admin("POST", FREEZE, r#"{"by":"ops"}"#).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_an_operator_freezes_and_it_holds_at_once_and_over_a_restart() {
    let mut world = World::with_policy(POLICY).await;
    let alice = world.session("alice", "s").await;
    let bob = world.session("bob", "s").await;
    assert_eq!(world.admin("POST", FREEZE, r#"{"by":"ops"}"#).await.status, 200);
    assert_eq!(alice.post_json("/api/v5/trade/order", "{}").await.status, 423);
    assert_ne!(bob.post_json("/api/v5/trade/order", "{}").await.status, 423, "only this account");
    world.restart().await;
    let alice = session_at(&world, "alice", "s", TOKYO);
    assert_eq!(alice.post_json("/api/v5/trade/order", "{}").await.status, 423);
    assert_eq!(
        world.admin("POST", "/account/main/alice/thaw", r#"{"by":"ops"}"#).await.status,
        200
    );
    assert_ne!(alice.post_json("/api/v5/trade/order", "{}").await.status, 423);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_9_sister_sites_share_freezes_places_and_factors() {
    let world = World::with(POLICY, OKX, &sister("main")).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s").await;
    // Germany is new on the sister site although the account was never seen there before.
    let abroad = at_sister(&world.kit, &world, &session_at(&world, "alice", "r", FRANKFURT));
    assert_eq!(abroad.get(BALANCE).await.status, 401, "its history is the other site's too");
    let home = at_sister(&world.kit, &world, &alice);
    assert_eq!(home.get(BALANCE).await.status, 200);
    // The authenticator was enrolled once.
    assert_eq!(home.post_json(TRANSFER, TO_SPOT).await.header("step-up-factors"), "totp");
    // Frozen on one, frozen on the other.
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(alice.post_json(&path, r#"{"freeze":true}"#).await.status, 200);
    assert_eq!(home.post_json(TRANSFER, TO_SPOT).await.status, 423);
    assert_eq!(home.post_json("/api/v5/trade/order", "{}").await.status, 423);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_9_an_approval_for_one_site_is_none_for_its_sister() {
    let world = World::with(POLICY, OKX, &sister("main")).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(approve(&world, &alice, &challenge).await.status, 200);
    let sister = at_sister(&world.kit, &world, &alice);
    assert_eq!(sister.post_json(TRANSFER, TO_SPOT).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_sites_that_do_not_share_accounts_know_nothing_of_each_other() {
    let world = World::with(POLICY, OKX, &sister("tenant")).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s").await;
    assert_eq!(world.admin("POST", FREEZE, r#"{"by":"ops"}"#).await.status, 200);
    assert_eq!(alice.post_json("/api/v5/trade/order", "{}").await.status, 423);
    // Another person of the same name: not frozen, no history, no factor.
    let namesake = at_sister(&world.kit, &world, &session_at(&world, "alice", "n", FRANKFURT));
    assert_eq!(namesake.get(BALANCE).await.status, 200, "her first place");
    assert_ne!(namesake.post_json("/api/v5/trade/order", "{}").await.status, 423);
    let refused = namesake.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(refused.status, 403, "no factor of hers: {}", refused.text());
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["countries"], serde_json::json!(["JP"]));
}

/// Waits until a country is among those of `alice`.
async fn known(world: &World, country: &str) {
    for _ in 0..300 {
        let card = world.admin("GET", "/account/main/alice", "").await.json();
        if card["countries"].as_array().unwrap().iter().any(|known| known == country) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{country} did not become known");
}

const JSON: (&str, &str) = ("content-type", "application/json");
