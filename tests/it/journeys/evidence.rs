//! What the record of a guarded action says of the facts that it was decided on (INCIDENTS 11).

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

fn assert_says(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line["facts"][name], value, "{name} in {line}");
    }
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
async fn the_record_of_a_passed_action_holds_all_facts_whether_a_rule_looked_at_them_or_not() {
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
        "geo.first_place": "false",
    });
    let intent = of(&world, "intent");
    assert_says(&intent, &expected);
    assert_says(&written(&world, "challenge_opened").await, &expected);
    let outcome = written(&world, "outcome").await;
    assert!(outcome["facts"].is_null() && outcome["request"] == intent["request"], "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_refused_action_holds_them_too_and_ordinary_refusals_none() {
    let world = World::with_policy(RULES).await;
    let alice = world.session("alice", "s1").await;
    let held = alice.post_json(WITHDRAW, withdrawal("5", "TXabc")).await;
    assert_eq!(held.status, 403, "{}", held.text());
    let line = written(&world, "refusal").await;
    assert_says(&line, &json!({ "address.age": "0s", "amount": "5", "session.age": "0s" }));
    assert_eq!(line["verdict"], "hold");

    let world = World::with_policy(RULES).await;
    assert_eq!(world.client().post_json("/api/v5/asset/unheard-of", "{}").await.status, 403);
    assert!(written(&world, "refusal").await["facts"].is_null());
}
