//! Passkeys: made with a factor that the account has, each with a time of its own, and taken away one by one.

use super::*;
use crate::authenticator::{Authenticator, PRESENT, Says, encode};
use crate::journeys::{WITHDRAW, withdrawal};

const PASSKEY: &str = "/.stepgate/factors/webauthn";
const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "webauthn"
"#;

/// A challenge that waits for a passkey, after the code of the account's authenticator.
async fn waits(world: &World, client: &Client) -> Waiting {
    world.wait_s(30);
    Waiting::of(&approved(world, client, PASSKEY, "{}").await)
}

async fn options(client: &Client, path: &str) -> Value {
    let asked = client.post_json(&format!("{path}/send"), r#"{"factor":"webauthn"}"#).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    asked.json()
}

async fn gives(client: &Client, path: &str, made: &Value) -> Answer {
    let body = json!({ "factor": "webauthn", "assertion": made }).to_string();
    client.post_json(&format!("{path}/answer"), body).await
}

async fn makes(world: &World, client: &Client, key: &Authenticator) -> Answer {
    let waiting = waits(world, client).await;
    let made = key.create(&options(client, &waiting.path).await, &Says::default());
    gives(client, &waiting.path, &made).await
}

async fn passkeys(client: &Client) -> Vec<Value> {
    let page = client.get(FACTORS).await.json();
    let all = page["factors"].as_array().unwrap();
    let found = all.iter().find(|one| one["factor"] == "webauthn");
    found.map_or(Vec::new(), |one| one["passkeys"].as_array().unwrap().clone())
}

/// Asks for a withdrawal, and answers with this passkey.
async fn withdraws(client: &Client, key: &Authenticator, to: &str) -> Answer {
    let asked = client.post_json(WITHDRAW, withdrawal("5", to)).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    gives(client, &at, &key.get(&options(client, &at).await, &Says::default())).await
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.json()["error"], "wrong_passkey");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_makes_a_passkey_and_withdraws_with_it_a_day_later() {
    let phone = "+4915112345667";
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", phone).await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(PASSKEY, "{}").await;
    assert_eq!((asked.status.as_u16(), asked.header("step-up-factors")), (401, "totp sms"));
    assert!(asked.json()["transaction"].to_string().contains("Passkey"), "{}", asked.text());

    let waiting = waits(&world, &alice).await;
    let asked = options(&alice, &waiting.path).await;
    let public = &asked["publicKey"];
    assert_eq!(public["rp"]["id"], "exchange.example");
    assert_eq!(public["user"]["name"], "alice");
    assert_eq!(public["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(public["excludeCredentials"], json!([]));
    let key = Authenticator::new(b"key of alice");
    let done = gives(&alice, &waiting.path, &key.create(&asked, &Says::default())).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let ripe = world.now().seconds() + 86_400;
    let body = done.json();
    assert_eq!((&body["factor"], &body["usable_from"]), (&json!("webauthn"), &json!(ripe)));
    assert_eq!(body["recovery_codes"].as_array().map(Vec::len), Some(10));
    let listed = passkeys(&alice).await;
    let one = json!({
        "number": 1, "label": "Passkey 1", "since": world.now().seconds(), "usable_from": ripe,
    });
    assert_eq!(listed, [one]);
    let told = sms_with(&world, "Passkey added").await;
    assert!(told.contains(phone), "{told}");
    assert_eq!(world.noted("challenge_approved").await["action"], "factor.add");

    let early = alice.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    assert_eq!(early.status, 403, "{}", early.text());
    assert!(early.text().contains("urn:stepgate:held"), "{}", early.text());
    world.wait_s(86_401);
    let alice = world.session("alice", "s2").await;
    assert_eq!(withdraws(&alice, &key, "TA").await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("5", "TA")).await.status, 200);
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 1);
    nothing_went_upstream(&world);
}

async fn sms_with(world: &World, what: &str) -> String {
    for _ in 0..300 {
        if let Some(line) = world.sms().lines().find(|line| line.contains(what)) {
            return line.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody was told: {}", world.sms());
}

/// Alice with a passkey that she may use, and one that she has made a moment ago.
async fn alice_with_two(world: &World) -> (Client, Authenticator, Authenticator) {
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let (old, new) = (Authenticator::new(b"old"), Authenticator::new(b"new"));
    assert_eq!(makes(world, &alice, &old).await.status, 200);
    world.wait_s(86_401);
    let alice = world.session("alice", "s2").await;
    let made = makes(world, &alice, &new).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(made.json()["recovery_codes"].is_null(), "there are some already");
    (alice, old, new)
}

/// The challenge asks for the older one, is not approved by the other, and then by it.
async fn only_the_old_one(alice: &Client, at: &str, old: &Authenticator, new: &Authenticator) {
    let asked = options(alice, at).await;
    let allowed = asked["publicKey"]["allowCredentials"].as_array().unwrap();
    assert_eq!(allowed.iter().map(|it| &it["id"]).collect::<Vec<_>>(), [&json!(encode(b"old"))]);
    is_refused(&gives(alice, at, &new.get(&asked, &Says::default())).await);
    let asked = options(alice, at).await;
    assert_eq!(gives(alice, at, &old.get(&asked, &Says::default())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_passkey_waits_and_the_older_one_does_not() {
    let world = World::with_policy(POLICY).await;
    let (alice, old, new) = alice_with_two(&world).await;
    let asked = alice.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    only_the_old_one(&alice, &at, &old, &new).await;
    // Nor does the young one change factors where another one can.
    let change = alice.post_json(RECOVERY, "{}").await;
    let at = format!("/.stepgate/challenge/{}", change.challenge());
    is_refused(&gives(&alice, &at, &new.get(&options(&alice, &at).await, &Says::default())).await);

    world.wait_s(86_401);
    let alice = world.session("alice", "s3").await;
    assert_eq!(withdraws(&alice, &new, "TB").await.status, 200);
    assert_eq!(withdraws(&alice, &old, "TC").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_that_came_of_age_during_a_freeze_does_not_end_it_and_an_older_one_does() {
    let world = World::with_policy(POLICY).await;
    let (alice, old, new) = alice_with_two(&world).await;
    let change = alice.post_json(RECOVERY, "{}").await;
    let at = format!("/.stepgate/challenge/{}/reject", change.challenge());
    assert_eq!(alice.post_json(&at, r#"{"freeze":true}"#).await.status, 200);
    world.wait_s(2 * 86_400);
    let alice = world.session("alice", "s3").await;
    let asked = alice.post_json("/.stepgate/thaw", "{}").await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    only_the_old_one(&alice, &at, &old, &new).await;
    assert_eq!(alice.post_json("/.stepgate/thaw", "{}").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_wait_a_young_passkey_changes_factors() {
    let world = World::with_policy(POLICY).await;
    let alice = world.session("alice", "s1").await;
    let key = Authenticator::new(b"key of alice");
    let waiting = Waiting::of(&alice.post_json(PASSKEY, "{}").await);
    let made = key.create(&options(&alice, &waiting.path).await, &Says::default());
    assert_eq!(gives(&alice, &waiting.path, &made).await.status, 200);
    let asked = alice.post_json("/.stepgate/factors/webauthn/1/remove", "{}").await;
    assert!(asked.header("step-up-factors").contains("webauthn"), "{}", asked.text());
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let right = key.get(&options(&alice, &at).await, &Says::default());
    assert_eq!(gives(&alice, &at, &right).await.status, 200);
    let gone = alice.post_json("/.stepgate/factors/webauthn/1/remove", "{}").await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    assert_eq!(words(&alice).await, ["recovery"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_for_another_challenge_or_says_too_little_is_refused() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let key = Authenticator::new(b"key of alice");
    let waiting = waits(&world, &alice).await;
    let first = options(&alice, &waiting.path).await;
    let refused = alice.post_json(&format!("{}/reject", waiting.path), "{}").await;
    assert_eq!(refused.status, 200, "{}", refused.text());
    let waiting = waits(&world, &alice).await;
    options(&alice, &waiting.path).await;
    is_refused(&gives(&alice, &waiting.path, &key.create(&first, &Says::default())).await);
    let lies = [
        Says { flags: PRESENT, ..Says::default() },
        Says { origin: "https://evil.example".to_owned(), ..Says::default() },
        Says { challenge: Some(encode(&[0; 32])), ..Says::default() },
    ];
    for lie in lies {
        let asked = options(&alice, &waiting.path).await;
        is_refused(&gives(&alice, &waiting.path, &key.create(&asked, &lie)).await);
    }
    assert_eq!(passkeys(&alice).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_taken_once_and_none_twice() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let key = Authenticator::new(b"key of alice");
    let waiting = waits(&world, &alice).await;
    let made = key.create(&options(&alice, &waiting.path).await, &Says::default());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (alice, path, made) = (alice.clone(), waiting.path.clone(), made.clone());
        all.spawn(async move { gives(&alice, &path, &made).await.status.as_u16() });
    }
    let all = all.join_all().await;
    assert!(all.iter().filter(|status| **status == 200).count() <= 1, "{all:?}");
    let count = passkeys(&alice).await.len();
    assert!(count == 1 || all.contains(&503), "{all:?}");
    if count == 0 {
        return;
    }
    let again = waits(&world, &alice).await;
    let asked = options(&alice, &again.path).await;
    let known = &asked["publicKey"]["excludeCredentials"][0]["id"];
    assert_eq!(known, &json!(encode(b"key of alice")));
    is_refused(&gives(&alice, &again.path, &key.create(&asked, &Says::default())).await);
    assert_eq!(passkeys(&alice).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_passkeys_are_enough_and_one_of_them_goes_alone() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    for n in 0..8_u8 {
        assert_eq!(makes(&world, &alice, &Authenticator::new(&[n])).await.status, 200, "{n}");
    }
    let ninth = alice.post_json(PASSKEY, "{}").await;
    assert_eq!(ninth.status, 403, "{}", ninth.text());
    assert!(ninth.text().contains("Remove one first"), "{}", ninth.text());
    assert!(!alice.get(FACTORS).await.json()["can_add"].to_string().contains("webauthn"));
    world.wait_s(30);
    let third = "/.stepgate/factors/webauthn/3/remove";
    for path in ["9", "0", "x", "-1", "3/4"] {
        let path = format!("/.stepgate/factors/webauthn/{path}/remove");
        assert_eq!(alice.post_json(&path, "{}").await.status, 404, "{path}");
    }
    let asked = alice.post_json(third, "{}").await.json();
    assert!(asked["transaction"].to_string().contains("Passkey 3"), "{asked}");
    assert_eq!(approved(&world, &alice, third, "{}").await.status, 200);
    let numbers = async || {
        let listed = passkeys(&alice).await;
        listed.iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers().await, [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(alice.post_json(third, "{}").await.status, 404);
    // Its number is not given again.
    assert_eq!(makes(&world, &alice, &Authenticator::new(b"new")).await.status, 200);
    assert_eq!(numbers().await, [1, 2, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_with_the_session_makes_no_passkey() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let thief = alice.elsewhere();
    let waiting = waits(&world, &alice).await;
    let send = format!("{}/send", waiting.path);
    assert_eq!(thief.post_json(&send, r#"{"factor":"webauthn"}"#).await.status, 403);
    let asked = options(&alice, &waiting.path).await;
    let theirs = Authenticator::new(b"key of a thief").create(&asked, &Says::default());
    let denied = gives(&thief, &waiting.path, &theirs).await;
    assert!(denied.text().contains("another browser"), "{}", denied.text());
    let page = browser(&thief).get(&waiting.path).await.text();
    assert!(!page.contains("passkey.js") && page.contains("another browser"), "{page}");
    assert_eq!(passkeys(&alice).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_lead_from_the_list_to_the_button_and_say_what_needs_a_script() {
    let world = World::with_policy(POLICY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let person = browser(&alice);
    let page = person.get(FACTORS).await;
    let text = page.text();
    assert!(text.contains("action=\"/.stepgate/factors/webauthn\""), "{text}");
    assert!(text.contains("<noscript>") && text.contains("only with JavaScript"), "{text}");
    let form = format!("csrf={}&return_to=%2Fwallet", hidden(&page, "csrf"));
    let asked = person.post_form(PASSKEY, form).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let csrf = hidden(&asked, "csrf");
    let code = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    assert_eq!(person.post_form(&format!("{at}/answer"), code).await.status, 200);
    let sent_on = person.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(sent_on.status, 303, "{}", sent_on.text());

    let at = sent_on.header("location").to_owned();
    let page = person.get(&at).await;
    let text = page.text();
    assert!(text.contains(r#"<script type="module" src="/.stepgate/passkey.js">"#), "{text}");
    assert!(page.header("content-security-policy").contains("connect-src"));
    assert!(text.contains("Make the passkey") && !text.contains("name=\"code\""), "{text}");
    let csrf = hidden(&page, "csrf");
    let asked = options(&alice, &at).await;
    let made = Authenticator::new(b"key").create(&asked, &Says::default()).to_string();
    let made = percent_encoding::utf8_percent_encode(&made, percent_encoding::NON_ALPHANUMERIC);
    let form = format!("csrf={csrf}&factor=webauthn&assertion={made}");
    let done = person.post_form(&format!("{at}/answer"), form).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.text().matches("<li><code>").count(), 10, "{}", done.text());
    assert!(done.text().contains("href=\"/wallet\""), "{}", done.text());
    let text = person.get(FACTORS).await.text();
    assert!(text.contains("Passkey 1") && text.contains("/webauthn/1/remove\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_passkeys_do_not_reach_offers_none() {
    let world = World::with_policy(POLICY).await;
    let mut alice = world.session("alice", "s1").await;
    alice.host = "localhost".to_owned();
    assert_eq!(alice.post_json(PASSKEY, "{}").await.status, 404);
    let page = browser(&alice).get(FACTORS).await.text();
    assert!(!page.contains("passkey"), "{page}");
}
