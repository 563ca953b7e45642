//! What the facts of the table say of real requests: each as it stands in the record of a guarded action.

use serde_json::{Value, json};

use super::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::client::{Answer, Client};
use crate::exchange::Reply;
use crate::kit::{FRANKFURT, HOST, TOKYO};
use crate::world::{NOON, OKX, World};

/// Everything passes, and is written down.
const OPEN: &str = "version = 1\n[[rule]]\nid = \"open\"\non = \"withdrawal\"\nwhen = \"amount > 1000000\"\ndeny = true\n";
const PRICES: &str = "[prices]\nfile = \"prices.toml\"\nage_max_s = 1000000000\n";
const TABLE: (&str, &str) = ("prices.toml", "[usd]\nUSDT = \"1\"\nBTC = \"60000\"\n");
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

/// The facts of the last guarded action that was decided.
fn facts(world: &World) -> Value {
    let lines = world.audit();
    let intent = lines.iter().rfind(|line| line["event"] == "intent" && line["facts"].is_object());
    intent.unwrap_or_else(|| panic!("nothing was decided: {lines:#?}"))["facts"].clone()
}

fn ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Withdraws and says what the facts were.
async fn withdraws(world: &World, client: &Client, amount: &str, to: &str) -> Value {
    ok(&client.post_json(WITHDRAW, withdrawal(amount, to)).await);
    facts(world)
}

fn assert_say(facts: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&facts[name], value, "{name} in {facts:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_say_what_was_done_before_in_each_window() {
    let world = World::with_files(OPEN, OKX, PRICES, &[TABLE]).await;
    let alice = world.session("alice", "s1").await;
    let of =
        |facts: &Value, measure: &str| facts[&format!("counters.withdrawal.{measure}")].clone();
    let first = withdraws(&world, &alice, "5", "TA").await;
    assert!(of(&first, "count_1h").is_null(), "zero is not told: {first}");
    assert_eq!(first["usd_value"], "5");
    let second = withdraws(&world, &alice, "7.50", "TA").await;
    for window in ["1h", "24h", "7d"] {
        assert_eq!(of(&second, &format!("count_{window}")), "1");
        assert_eq!(of(&second, &format!("usd_{window}")), "5");
    }
    // What the exchange refuses is given back.
    world.exchange.will(Reply::Answer(400, r#"{"code":"51000","msg":"bad","data":[]}"#));
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("100", "TA")).await.status, 400);
    world.wait_s(2 * HOUR_S);
    let later = withdraws(&world, &alice, "1", "TA").await;
    assert!(of(&later, "count_1h").is_null());
    assert_eq!((of(&later, "count_24h"), of(&later, "usd_24h")), (json!("2"), json!("12.5")));
    world.wait_s(26 * HOUR_S);
    let alice = world.session("alice", "s2").await;
    let next_day = withdraws(&world, &alice, "1", "TA").await;
    assert!(of(&next_day, "count_24h").is_null());
    assert_eq!((of(&next_day, "count_7d"), of(&next_day, "usd_7d")), (json!("3"), json!("13.5")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_price_makes_the_value_and_its_counter_unreadable_and_not_the_count() {
    let world = World::with_files(OPEN, OKX, PRICES, &[TABLE]).await;
    let alice = world.session("alice", "s1").await;
    let unpriced = withdrawal("5", "TA").replace(r#""ccy":"USDT""#, r#""ccy":"DOGE""#);
    ok(&alice.post_json(WITHDRAW, unpriced).await);
    assert_eq!(facts(&world)["usd_value"], "unreadable");
    let next = withdraws(&world, &alice, "5", "TA").await;
    let expected = json!({
        "usd_value": "5",
        "counters.withdrawal.count_24h": "1",
        "counters.withdrawal.usd_24h": "unreadable",
    });
    assert_say(&next, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_new_then_known_then_idle() {
    let world = World::with_policy(OPEN).await;
    let alice = world.session("alice", "s1").await;
    let stranger = json!({
        "address.known": "false", "address.verified": "false", "address.age": "0s", "address.idle": "0s",
    });
    assert_say(&withdraws(&world, &alice, "1", "TA").await, &stranger);
    world.wait_s(2 * HOUR_S);
    let friend = json!({ "address.known": "true", "address.age": "2h", "address.idle": "2h" });
    assert_say(&withdraws(&world, &alice, "1", "TA").await, &friend);
    world.wait_s(HOUR_S);
    let older = json!({ "address.known": "true", "address.age": "3h", "address.idle": "1h" });
    assert_say(&withdraws(&world, &alice, "1", "TA").await, &older);
    // Another network's is another destination, and another account knows neither.
    let elsewhere = withdrawal("1", "TA").replace("USDT-TRC20", "USDT-ERC20");
    ok(&alice.post_json(WITHDRAW, elsewhere).await);
    assert_say(&facts(&world), &stranger);
    let bob = world.session("bob", "s1").await;
    assert_say(&withdraws(&world, &bob, "1", "TA").await, &stranger);
    // What has no address has no age either.
    ok(&alice.send("POST", TRANSFER, &[("content-type", "application/json")], TO_SPOT).await);
    for fact in ["address", "address.known", "address.age", "address.idle", "address.verified"] {
        assert_eq!(facts(&world)[fact], "absent", "{fact}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_verified_by_a_code_for_a_request_that_names_it() {
    let policy = "version = 1\n[[rule]]\nid = \"new\"\non = \"withdrawal\"\nunless = \"address.known\"\nrequire = \"totp\"\n";
    let world = World::with_policy(policy).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let code = world.totp();
    let headers = [("content-type", "application/json"), ("step-up-code", &*code)];
    ok(&alice.send("POST", WITHDRAW, &headers, withdrawal("1", "TA")).await);
    assert_say(&facts(&world), &json!({ "address.verified": "false" }));
    let again = withdraws(&world, &alice, "2", "TA").await;
    assert_say(&again, &json!({ "address.known": "true", "address.verified": "true" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_as_old_as_its_sign_in_and_one_that_does_not_say_is_unreadable() {
    let world = World::with_policy(OPEN).await;
    let now = NOON.seconds();
    let with = |claims: Value| {
        let token = world.kit.token_with("alice", "s1", now, &claims);
        world.client().with("authorization", format!("Bearer {token}"))
    };
    let age =
        async |client: &Client| withdraws(&world, client, "1", "TA").await["session.age"].clone();
    assert_eq!(age(&with(json!({ "auth_time": now - 7200, "iat": now - 60 }))).await, "2h");
    assert_eq!(age(&with(json!({ "auth_time": null, "iat": now - 60 }))).await, "1m");
    // A clock that is a little ahead of ours makes nothing older than it is.
    assert_eq!(age(&with(json!({ "auth_time": now + 5, "iat": now }))).await, "0s");
    assert_eq!(age(&with(json!({ "auth_time": null, "iat": null }))).await, "unreadable");
    let key = world.client().with("ok-access-key", "key-alice");
    assert_eq!(age(&key).await, "absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_young_sessions_speaks_about_one_that_does_not_say_its_age() {
    let policy = "version = 1\n[[rule]]\nid = \"young\"\non = \"withdrawal\"\nwhen = \"session.age < 10m\"\ndeny = true\n";
    let world = World::with_policy(policy).await;
    let now = NOON.seconds();
    for (claims, status) in [
        (json!({ "auth_time": now - 7200 }), 200),
        (json!({ "auth_time": now - 60 }), 403),
        (json!({ "auth_time": null, "iat": null }), 403),
    ] {
        let token = world.kit.token_with("alice", "s1", now, &claims);
        let client = world.client().with("authorization", format!("Bearer {token}"));
        let answer = client.post_json(WITHDRAW, withdrawal("1", "TA")).await;
        assert_eq!(answer.status, status, "{claims}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_a_bearer_token_and_a_key_are_told_apart() {
    let world = World::with_policy(OPEN).await;
    let token = world.kit.token("alice", "s1", NOON.seconds());
    for (name, value, kind) in [
        ("cookie", format!("session={token}"), "session"),
        ("authorization", format!("Bearer {token}"), "bearer"),
        ("ok-access-key", "key-alice".to_owned(), "api_key"),
    ] {
        let client = world.client().with(name, value);
        let site = format!("https://{HOST}");
        let headers = [("content-type", "application/json"), ("origin", &*site)];
        ok(&client.send("POST", WITHDRAW, &headers, withdrawal("1", "TA")).await);
        assert_eq!(facts(&world)["credential.kind"], kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_the_request_s_in_utc() {
    let world = World::with_policy(OPEN).await;
    world.wait_s(5 * HOUR_S + 61);
    let alice = world.session("alice", "s1").await;
    // 2026-11-20 is a Friday.
    let friday = withdraws(&world, &alice, "1", "TA").await;
    assert_say(&friday, &json!({ "time.weekday": "fri" }));
    assert!(friday["time.of_day"].as_str().unwrap().starts_with("17:01"), "{friday}");
    world.wait_s(7 * HOUR_S);
    assert_say(&withdraws(&world, &alice, "1", "TA").await, &json!({ "time.weekday": "sat" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn security_changes_when_a_factor_is_replaced_or_removed() {
    let world = World::with_policy(OPEN).await;
    let alice = world.session("alice", "s1").await;
    let fact =
        async || withdraws(&world, &alice, "1", "TA").await["account.security_change_age"].clone();
    assert_eq!(fact().await, "absent");
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345678").await;
    let enrolled = withdraws(&world, &alice, "1", "TA").await;
    assert_say(
        &enrolled,
        &json!({
            "account.security_change_age": "absent", "account.has_totp": "true", "account.has_sms": "true",
        }),
    );
    world.enrol_phone("alice", "+4915187654321").await;
    assert_eq!(fact().await, "0s");
    world.wait_s(HOUR_S);
    assert_eq!(fact().await, "1h");
    let reset = world.admin("POST", "/factor/main/alice/reset", r#"{"factor":"totp"}"#).await;
    assert_eq!(reset.status, 200, "{}", reset.text());
    let without = withdraws(&world, &alice, "1", "TA").await;
    assert_say(
        &without,
        &json!({ "account.security_change_age": "0s", "account.has_totp": "false" }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_told_as_the_account_knows_them() {
    let world = World::with_policy(OPEN).await;
    let token = world.kit.token("alice", "s1", NOON.seconds());
    let alice = world.client().with("authorization", format!("Bearer {token}"));
    let first = withdraws(&world, &alice, "1", "TA").await;
    assert_say(
        &first,
        &json!({
            "geo.country": "JP", "geo.city": "Tokyo", "geo.asn": "2516", "geo.first_place": "true",
            "geo.new_country": "false", "geo.new_asn": "false", "geo.country_age": "absent",
            "geo.distance_km": "absent", "geo.speed_kmh": "absent", "client.ip": TOKYO,
        }),
    );
    let alice = world.session("alice", "s1").await;
    let home = withdraws(&world, &alice, "1", "TA").await;
    assert_say(
        &home,
        &json!({
            "geo.first_place": "false", "geo.new_country": "false", "geo.distance_km": "0", "geo.speed_kmh": "0",
        }),
    );
    assert_ne!(home["geo.country_age"], "0s");
    let nowhere = withdraws(&world, &alice.clone().from("198.18.77.1"), "1", "TA").await;
    assert_say(
        &nowhere,
        &json!({
            "geo.country": "unreadable", "geo.city": "unreadable", "geo.asn": "unreadable",
            "geo.new_country": "unreadable", "geo.new_asn": "unreadable", "geo.country_age": "unreadable",
            "geo.distance_km": "unreadable", "geo.speed_kmh": "unreadable", "geo.network": "unknown",
        }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_country_is_young_from_the_first_request_that_was_allowed_there() {
    let world = World::with_policy(OPEN).await;
    let alice = world.session("alice", "s1").await;
    let abroad = alice.clone().from(FRANKFURT);
    let there = withdraws(&world, &abroad, "1", "TA").await;
    assert_say(&there, &json!({ "geo.new_country": "true", "geo.country_age": "0s" }));
    world.wait_s(DAY_S);
    let token = world.kit.token("alice", "s2", world.now().seconds());
    let abroad = abroad.with("authorization", format!("Bearer {token}"));
    let known = async || {
        for _ in 0..200 {
            let card = world.admin("GET", "/account/main/alice", "").await.json();
            if card["countries"] == json!(["JP", "DE"]) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("Germany never became known");
    };
    known().await;
    let next_day = withdraws(&world, &abroad, "1", "TA").await;
    assert_say(&next_day, &json!({ "geo.new_country": "false", "geo.country_age": "24h" }));
}
