//! What the record of a guarded action says of the facts that decided it (INCIDENTS 11).

use serde_json::{Value, json};

use super::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::world::World;

const RULES: &str = r#"version = 1

[[rule]]
id = "contract-to-spot"
on = "transfer"
when = "transfer.from is contract and transfer.to is spot"
unless = "account.has_totp and geo.country is DE"
require = "totp"

[[rule]]
id = "young-address"
on = "withdrawal"
when = "address.age < 24h"
hold = "24h"

[[rule]]
id = "much"
on = "withdrawal"
when = "counters.withdrawal.count_24h > 5"
deny = true
shadow = true
"#;

fn of(world: &World, event: &str) -> Value {
    let found = world.audit().into_iter().rev().find(|line| line["event"] == event);
    found.unwrap_or_else(|| panic!("no {event} in {:?}", world.audit()))
}

/// Lines are written behind the answer.
async fn written(world: &World, event: &str) -> Value {
    for _ in 0..200 {
        if world.audit().iter().any(|line| line["event"] == event) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    of(world, event)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_passed_action_holds_what_its_rules_looked_at() {
    let world = World::with_policy(RULES).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let code = world.totp();
    let headers = [("content-type", "application/json"), ("step-up-code", &*code)];
    assert_eq!(alice.send("POST", TRANSFER, &headers, TO_SPOT).await.status, 200);
    let expected = json!({
        "account.has_totp": "true",
        "geo.country": "JP",
        "transfer.from": "contract",
        "transfer.to": "spot",
    });
    assert_eq!(of(&world, "intent")["facts"], expected);
    assert_eq!(written(&world, "challenge_opened").await["facts"], expected);
    let outcome = written(&world, "outcome").await;
    assert_eq!(outcome["facts"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_refused_action_holds_them_too_and_ordinary_refusals_none() {
    let world = World::with_policy(RULES).await;
    let alice = world.session("alice", "s1").await;
    let held = alice.post_json(WITHDRAW, withdrawal("5", "TXabc")).await;
    assert_eq!(held.status, 403, "{}", held.text());
    let line = written(&world, "refusal").await;
    let expected = json!({ "address.age": "0s", "counters.withdrawal.count_24h": "0" });
    assert_eq!((&line["facts"], &line["verdict"]), (&expected, &"hold".into()));

    let world = World::with_policy(RULES).await;
    assert_eq!(world.client().post_json("/api/v5/asset/unheard-of", "{}").await.status, 403);
    assert!(written(&world, "refusal").await["facts"].is_null());
}
