//! An account that has factors gives one of them before any of them changes.

use super::*;
use crate::journeys::{WITHDRAW, withdrawal};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_added_with_the_first_one() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let body = r#"{"number":"+49 151 12345678"}"#;
    let asked = alice.post_json(SMS, body).await;
    assert_eq!(asked.header("step-up-factors"), "totp");
    let shown = asked.json()["transaction"].to_string();
    assert!(shown.contains("factor") && shown.contains("number"), "{shown}");
    assert!(!shown.contains("12345678"), "the number is masked: {shown}");
    assert_eq!(world.sms(), "", "nothing is sent before it is approved");

    let waiting = Waiting::of(&approved(&world, &alice, SMS, body).await);
    let code = sms_code(&world, 1).await;
    let done = answer(&alice, &waiting.path, "sms", &code).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json()["recovery_codes"].as_array().map(Vec::len), Some(10));
    assert_eq!(words(&alice).await, ["totp", "recovery", "sms"]);
    nothing_went_upstream(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_one_change_and_for_no_other() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(SMS, r#"{"number":"+4915112345678"}"#).await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    assert_eq!(answer(&alice, &at, "totp", &world.totp()).await.status, 200);
    for (path, body) in [(SMS, r#"{"number":"+4915112345679"}"#), (TOTP, "{}"), (REMOVE_TOTP, "{}")]
    {
        let other = alice.post_json(path, body).await;
        assert_eq!(other.status, 401, "{path} {}", other.text());
    }
    assert_eq!(words(&alice).await, ["totp"]);
    // A removal that was approved is carried out once.
    world.wait_s(30);
    assert_eq!(approved(&world, &alice, REMOVE_TOTP, "{}").await.status, 200);
    assert_eq!(words(&alice).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_last_factor_an_account_passes_nothing() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let removed = approved(&world, &alice, REMOVE_TOTP, "{}").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    let refused = alice.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_factor_voids_what_was_asked_and_approved_before() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let body = withdrawal("5", "TA");
    let granted = alice.post_json(WITHDRAW, body.clone()).await.challenge();
    let at = format!("/.stepgate/challenge/{granted}");
    assert_eq!(answer(&alice, &at, "totp", &world.totp()).await.status, 200);
    let open = alice.post_json(WITHDRAW, withdrawal("6", "TB")).await.challenge();
    world.wait_s(30);
    let waiting = Waiting::of(&approved(&world, &alice, TOTP, "{}").await);
    assert_eq!(waiting.confirm(&world, &alice).await.status, 200);

    let refused = alice.post_json(WITHDRAW, body).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("urn:stepgate:held"), "{}", refused.text());
    let state = alice.get(&format!("/.stepgate/challenge/{open}")).await;
    assert_eq!(state.json()["state"], "expired");
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_can_ask_for_more_but_not_for_less() {
    let rules = |outcome: &str| {
        format!("version = 1\n[[rule]]\nid = \"own\"\non = \"factor.*\"\n{outcome}\n")
    };
    for (outcome, status, says) in [
        ("allow = true", 401, "factor-change"),
        ("require = \"totp and sms\"", 403, "text message"),
        ("deny = true", 403, "denied"),
        ("hold = \"24h\"", 403, "held"),
        ("freeze = true", 423, "frozen"),
    ] {
        let world = World::with_policy(&rules(outcome)).await;
        world.enrol_totp("alice").await;
        let alice = world.session("alice", "s1").await;
        let answer = alice.post_json(REMOVE_TOTP, "{}").await;
        assert_eq!(answer.status, status, "{outcome}: {}", answer.text());
        assert!(answer.text().contains(says), "{outcome}: {}", answer.text());
        let card = world.admin("GET", "/account/main/alice", "").await.json();
        assert_eq!(card["factors"].as_array().map(Vec::len), Some(1));
        assert_eq!(card["frozen"].is_null(), status != 423);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_changes_no_factor() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let key = world.client().with("ok-access-key", "key-alice");
    for path in [TOTP, RECOVERY, REMOVE_TOTP] {
        let refused = key.with("step-up-code", world.totp()).post_json(path, "{}").await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
    }
    assert_eq!(key.get(FACTORS).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_enrols_nothing() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    let by = r#"{"by":"ops","reason":"test"}"#;
    assert_eq!(world.admin("POST", "/account/main/alice/freeze", by).await.status, 200);
    assert_ne!(waiting.confirm(&world, &alice).await.status, 200);
    assert_eq!(alice.post_json(TOTP, "{}").await.status, 423);
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["factors"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_was_switched_off_opens_no_way_around_it() {
    let limits = "[limits]\nfailures_disable = 3\n";
    let world = World::with(crate::kit::POLICY, crate::world::OKX, limits).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(REMOVE_TOTP, "{}").await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    for _ in 0..3 {
        answer(&alice, &at, "totp", "000000").await;
    }
    for path in [TOTP, REMOVE_TOTP] {
        let refused = alice.post_json(path, "{}").await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
    }
    assert_eq!(words(&alice).await, ["totp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_or_account_sees_nothing_of_what_waits() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    for other in [world.session("alice", "s2").await, world.session("bob", "s1").await] {
        assert_eq!(other.get(&waiting.path).await.status, 404);
        let tried =
            answer(&other, &waiting.path, "totp", &totp_with(&waiting.secret, world.now())).await;
        assert_eq!(tried.status, 404);
        assert_ne!(Waiting::of(&other.post_json(TOTP, "{}").await).secret, waiting.secret);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_says_what_was_changed_and_by_which_factor() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(approved(&world, &alice, REMOVE_TOTP, "{}").await.status, 200);
    let outcome = world.noted("outcome").await;
    assert_eq!((&outcome["action"], &outcome["state"]), (&json!("factor.remove"), &json!("done")));
    let intent = world.noted("intent").await;
    assert_eq!(intent["factor"], "totp");
    assert!(intent["rules"].to_string().contains("factor-change"), "{intent}");
    assert!(intent["shown"].to_string().contains("Authenticator"), "{intent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_another_number_or_loses_a_factor_is_told_at_the_old_number_and_the_new() {
    let (old, new) = ("+4915112345667", "+4915112345678");
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", old).await;
    let alice = world.session("alice", "s1").await;
    let body = json!({ "number": new }).to_string();
    let waiting = Waiting::of(&approved(&world, &alice, SMS, &body).await);
    let code = sms_code(&world, 1).await;
    assert_eq!(answer(&alice, &waiting.path, "sms", &code).await.status, 200);
    told(&world, "Phone number replaced", &[new, old]).await;
    world.wait_s(60);
    assert_eq!(approved(&world, &alice, REMOVE_TOTP, "{}").await.status, 200);
    told(&world, "Authenticator app removed", &[new]).await;
}

/// Waits until exactly these numbers were told, with a link to stop it.
async fn told(world: &World, what: &str, numbers: &[&str]) {
    let texts = || -> Vec<Value> {
        let log = world.sms();
        let texts = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        texts.filter(|text| text["text"].as_str().unwrap().contains(what)).collect()
    };
    for _ in 0..300 {
        if texts().len() >= numbers.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let texts = texts();
    let to: Vec<&str> = texts.iter().map(|text| text["to"].as_str().unwrap()).collect();
    assert!(to.len() == numbers.len() && numbers.iter().all(|it| to.contains(it)), "{texts:?}");
    assert!(texts.iter().all(|text| text["text"].as_str().unwrap().contains("/not-me/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_notices_is_not_its_sessions_to_remove() {
    let world = World::start().await;
    let line = json!({ "account": "alice", "group": "main", "mail": "alice@example.net" });
    assert_eq!(world.admin("POST", "/factor/import", &line.to_string()).await.status, 200);
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json("/.stepgate/factors/mail/remove", "{}").await.status, 404);
    assert_eq!(words(&alice).await, ["mail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_waits_changes_factors_and_opens_nothing_else() {
    let policy = r#"version = 1

[[rule]]
id = "abroad"
on = "*"
when = "geo.country is DE"
require = "totp"
valid = "session"
"#;
    let world = World::with_policy(policy).await;
    let alice = world.session("alice", "s1").await;
    let (secret, _) = enrol_first(&world, &alice).await;
    let abroad = alice.from(crate::kit::FRANKFURT);
    world.wait_s(60);
    let asked = abroad.post_json(RECOVERY, "{}").await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let right = answer(&abroad, &at, "totp", &totp_with(&secret, world.now())).await;
    assert_eq!(right.status, 200, "{}", right.text());
    let held = abroad.get("/api/v5/account/balance").await;
    assert_eq!(held.status, 403, "no elevation came of it: {}", held.text());
    assert_eq!(abroad.post_json(RECOVERY, "{}").await.status, 200, "the change itself is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_while_a_factor_is_changed_keeps_nobody_from_being_told() {
    use tokio::io::AsyncWriteExt as _;

    let phone = "+4915112345667";
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", phone).await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(REMOVE_TOTP, "{}").await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    assert_eq!(answer(&alice, &at, "totp", &world.totp()).await.status, 200);
    let headers: String =
        alice.standing().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST {REMOVE_TOTP} HTTP/1.1\r\nhost: exchange.example\r\n{headers}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    // Too early and nothing is done, too late and it is no hanging up: somewhere between it is under way.
    for wait_ms in [0, 1, 2, 4, 8, 16, 32, 64, 1_000] {
        let mut connection = alice.connect(&[b"http/1.1"]).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
        drop(connection);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if words(&alice).await == ["sms"] {
            break;
        }
    }
    told(&world, "Authenticator app removed", &[phone]).await;
    assert_eq!(words(&alice).await, ["sms"]);
}
