//! A held form goes out once, for its own session, under the policy of that moment, and by its
//! owner's hand.

use super::{ORDER, approve, step};
use crate::client::Client;
use crate::kit::POLICY;
use crate::world::{World, hidden};

const PACK: &str = r#"version = 1
exchange = "pages"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "form"
fields = { asset = "form.asset", amount = "form.amount", address = "form.address" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = "asset=BTC&amount=1&address=bc1q"
"#;

const FORM: &str = "asset=BTC&amount=0.5&address=bc1qexample";

fn browser(client: &Client) -> Client {
    client
        .with("accept", "text/html,application/xhtml+xml")
        .with("sec-fetch-mode", "navigate")
        .with("sec-fetch-site", "same-origin")
}

/// A world with a held and approved form: its browser, challenge and form token.
async fn held() -> (World, Client, String, String) {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let browser = browser(&world.session("alice", "s1").await);
    let page = browser.post_form("/withdraw", FORM).await;
    let (id, token) = (page.challenge(), hidden(&page, "csrf"));
    (world, browser, id, token)
}

async fn approve_by_form(world: &World, browser: &Client, id: &str, token: &str) {
    let form = format!("factor=totp&code={}&csrf={token}", world.totp());
    let answer = browser.post_form(&step(id, "answer"), form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_releases_at_once_are_one() {
    let (world, browser, id, token) = held().await;
    approve_by_form(&world, &browser, &id, &token).await;
    let mut releases = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (browser, path) = (browser.clone(), step(&id, "release"));
        let form = format!("csrf={token}");
        releases.spawn(async move { browser.post_form(&path, form).await.status.as_u16() });
    }
    // The same action repeated by hand, in between.
    browser.post_form("/withdraw", FORM).await;
    releases.join_all().await;
    assert_eq!(world.exchange.seen_at("/withdraw").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_session_releases_it() {
    let (world, alice, id, token) = held().await;
    approve_by_form(&world, &alice, &id, &token).await;
    world.enrol_totp("bob").await;
    let others = [
        browser(&world.session("alice", "s2").await),
        browser(&world.session("bob", "s1").await),
        browser(&world.client().with("ok-access-key", "key-alice")),
        browser(&world.client()),
    ];
    for other in others {
        let answer = other.post_form(&step(&id, "release"), format!("csrf={token}")).await;
        assert!([401, 404].contains(&answer.status.as_u16()), "{}", answer.status);
        let answer = other.post_json(&step(&id, "release"), "{}").await;
        assert!([401, 404].contains(&answer.status.as_u16()), "{}", answer.status);
    }
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_became_stricter_is_asked_again() {
    let (world, browser, id, token) = held().await;
    approve_by_form(&world, &browser, &id, &token).await;
    let strict = format!("{POLICY}\n[[rule]]\nid = \"no\"\non = \"withdrawal\"\ndeny = true\n");
    std::fs::write(world.dir().join("policies/site.policy.toml"), strict).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    let answer = browser.post_form(&step(&id, "release"), format!("csrf={token}")).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_wants_two_factors_is_not_met_by_one() {
    let (world, browser, id, token) = held().await;
    world.enrol_phone("alice", "+4915112345667").await;
    approve_by_form(&world, &browser, &id, &token).await;
    let strict = POLICY.replace(
        "on = \"withdrawal\"\nrequire = \"totp or sms\"",
        "on = \"withdrawal\"\nrequire = \"totp and sms\"",
    );
    assert_ne!(strict, POLICY);
    std::fs::write(world.dir().join("policies/site.policy.toml"), strict).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    let answer = browser.post_form(&step(&id, "release"), format!("csrf={token}")).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_under_another_version_is_recorded_with_both() {
    let (world, browser, id, token) = held().await;
    approve_by_form(&world, &browser, &id, &token).await;
    let renamed = POLICY.replace("\"withdrawals\"", "\"any-withdrawal\"");
    std::fs::write(world.dir().join("policies/site.policy.toml"), renamed).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    let answer = browser.post_form(&step(&id, "release"), format!("csrf={token}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (opened, intent) = (world.noted("challenge_opened").await, world.noted("intent").await);
    assert_eq!(opened["challenge"], intent["challenge"]);
    assert_ne!(opened["policy"], intent["policy"]);
    assert_eq!(opened["rules"][0]["rule"], "withdrawals", "{opened}");
    assert_eq!(intent["rules"][0]["rule"], "any-withdrawal", "{intent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_releases_nothing() {
    let (world, browser, id, token) = held().await;
    approve_by_form(&world, &browser, &id, &token).await;
    world.admin("POST", "/account/main/alice/freeze", ORDER).await;
    let answer = browser.post_form(&step(&id, "release"), format!("csrf={token}")).await;
    assert_ne!(answer.status, 200);
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_press_the_buttons() {
    let (world, browser, id, token) = held().await;
    let other = browser.post_form("/withdraw", "asset=BTC&amount=9&address=bc1qevil").await;
    let (other_id, other_token) = (other.challenge(), hidden(&other, "csrf"));
    assert_ne!(token, other_token);
    let form = |token: &str| format!("factor=totp&code={}&csrf={token}&freeze=on", world.totp());
    let at = |name: &str| step(&id, name);
    for name in ["answer", "release", "reject", "send"] {
        for wrong in ["", "x", &other_token, &token.to_uppercase()] {
            let answer = browser.post_form(&at(name), form(wrong)).await;
            assert_eq!(answer.status, 400, "{name} with the token {wrong:?}");
        }
        let foreign = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "http://exchange.example"),
            ("origin", "https://exchange.example.evil.example"),
            ("origin", "https://exchange.example:444"),
            ("origin", "null"),
        ];
        for (header, value) in foreign {
            let there = browser.with(header, value);
            assert_eq!(there.post_form(&at(name), form(&token)).await.status, 400, "{value}");
            let json = there.post_json(&at(name), r#"{"freeze":true}"#).await;
            assert_eq!(json.status, 400, "{value}");
        }
    }
    for id in [&id, &other_id] {
        let shown = browser.with("accept", "application/json").with("sec-fetch-mode", "cors");
        let shown = shown.get(&format!("/.stepgate/challenge/{id}")).await.json();
        assert_eq!((&shown["state"], &shown["attempts_left"]), (&"open".into(), &5.into()));
    }
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert!(card["frozen"].is_null(), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_leads_nowhere_else() {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    for (number, target) in
        ["/\\evil.example/x", "//evil.example/x", "/\\/evil.example"].into_iter().enumerate()
    {
        let session = format!("abroad{number}");
        let token = world.kit.token("alice", &session, world.now().seconds());
        let abroad = world.client().with("authorization", format!("Bearer {token}"));
        let abroad = browser(&abroad.from(crate::kit::FRANKFURT));
        let own = abroad.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{}\r\n",
            abroad.host,
            own.collect::<String>()
        );
        let page = super::raw(&abroad, head.as_bytes()).await;
        let Some(id) = page.split("step-up-challenge: ").nth(1).and_then(|rest| rest.get(..43))
        else {
            assert!(page.starts_with("HTTP/1.1 400"), "{page}");
            continue;
        };
        let json = abroad.with("accept", "application/json").with("sec-fetch-mode", "cors");
        approve(&world, &json, id).await;
        let shown = abroad.get(&format!("/.stepgate/challenge/{id}")).await.text();
        assert!(!shown.contains("evil.example"), "{shown}");
    }
}
