//! An owner asks to end a freeze: with a strong factor, slowly, and so that every contact can stop it.

use serde_json::json;

use super::{BALANCE, Post, enrol_mail, until};
use crate::client::{Answer, Client};
use crate::enrolment::{browser, hidden};
use crate::fleet::Fleet;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::POLICY;
use crate::kit::smtp::{Mode, link_in};
use crate::world::{OKX, World};

/// A sign-in of that day: tokens last a few hours.
async fn later(world: &World, account: &str, seconds: i64) -> Client {
    world.wait_s(seconds);
    world.session(account, &format!("at-{}", world.now().seconds())).await
}

/// A transfer is asked about, so that the account is not frozen.
async fn may_begin(client: &Client) {
    client.post_json(TRANSFER, TO_SPOT).await.challenge();
}

const THAW: &str = "/.stepgate/thaw";
const DAY_S: i64 = 86_400;

/// Alice, who has just frozen her account.
async fn frozen(world: &World) -> Client {
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(alice.post_json(&path, r#"{"freeze":true}"#).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    alice
}

async fn with_totp() -> (World, Client) {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345667").await;
    let alice = frozen(&world).await;
    (world, alice)
}

async fn answer(client: &Client, challenge: &str, factor: &str, code: &str) -> Answer {
    let body = json!({ "factor": factor, "code": code }).to_string();
    client.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await
}

/// Asks, confirms with the authenticator, asks again.
async fn asked(world: &World, client: &Client) -> Answer {
    let challenge = client.post_json(THAW, "{}").await.challenge();
    let right = answer(client, &challenge, "totp", &world.totp()).await;
    assert_eq!(right.status, 200, "{}", right.text());
    client.post_json(THAW, "{}").await
}

/// The links that were texted, oldest first.
async fn links(world: &World, about: &str, count: usize) -> Vec<String> {
    let found = || -> Vec<String> {
        let lines = world.sms();
        let texts = lines.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line["text"].as_str()?.to_owned())
        });
        texts.filter(|text| text.contains(about)).map(|text| link_in(&text)).collect()
    };
    until(&format!("{count} texts: {about}"), || found().len() >= count).await;
    found()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_ends_a_day_after_its_owner_asked_with_a_strong_factor() {
    let (world, alice) = with_totp().await;
    let state = alice.get(THAW).await.json();
    assert_eq!((&state["state"], &state["may_ask"]), (&json!("frozen"), &json!(true)));
    let first = alice.post_json(THAW, "{}").await;
    assert_eq!(first.status, 401, "{}", first.text());
    assert_eq!(first.header("step-up-factors"), "totp", "no text message ends a freeze");
    assert!(first.text().contains("account-thaw"), "{}", first.text());
    let done = asked(&world, &alice).await;
    assert_eq!(done.status, 202, "{}", done.text());
    let opens = world.now().seconds() + DAY_S;
    assert_eq!(
        (&done.json()["state"], &done.json()["opens_at"]),
        (&json!("frozen"), &json!(opens))
    );
    let note = world.noted("thaw_asked").await["note"].clone();
    assert!(note.as_str().unwrap().contains(&opens.to_string()), "{note}");
    assert_eq!(world.noted("outcome").await["action"], "account.thaw");
    links(&world, "Freeze ends", 1).await;

    // Asked again it needs no code and comes no later; nothing else passes until then.
    world.wait_s(3_600);
    assert_eq!(alice.post_json(THAW, "{}").await.json()["opens_at"], json!(opens));
    let alice = later(&world, "alice", DAY_S - 3_601).await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    assert_eq!(alice.post_json("/api/v5/trade/order", "{}").await.status, 423);
    world.wait_s(1);
    may_begin(&alice).await;
    assert_eq!(alice.get(THAW).await.json()["state"], "not_frozen");
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert!(card["frozen"].is_null() && !card["thawed"].is_null(), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_contact_keeps_the_freeze_up_by_the_link_it_was_sent() {
    let post = Post::running(Mode::Plain).await;
    let world = &post.world;
    world.enrol_totp("alice").await;
    enrol_mail(world, "alice", "alice@mail.example").await;
    let alice = frozen(world).await;
    assert_eq!(asked(world, &alice).await.status, 202);
    let mail = post.mail("main: Freeze ends 11-21 12:00 UTC").await;
    assert!(mail.text.contains("your account stays frozen"), "{}", mail.text);
    let (link, anybody) = (mail.link(), world.client());
    for _ in 0..5 {
        let page = anybody.send("GET", &link, &[("accept", "text/html")], "").await;
        assert!(page.text().contains("Keep my account frozen"), "{}", page.text());
    }
    assert!(!alice.get(THAW).await.json()["opens_at"].is_null(), "reading it stopped nothing");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let kept = anybody.send("POST", &link, &[("accept", "text/html"), form], "x=1").await;
    assert!(kept.text().contains("Your account stays frozen"), "{}", kept.text());
    assert!(alice.get(THAW).await.json()["opens_at"].is_null());
    let alice = later(world, "alice", 2 * DAY_S).await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    assert_eq!(anybody.get(&link).await.json()["state"], "used");
    // Asked for anew it is another, and its link another.
    assert_eq!(asked(world, &alice).await.status, 202);
    assert_ne!(post.mail("main: Freeze ends 11-23 12:00 UTC").await.link(), link);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_freezes_again_what_a_thief_got_thawed() {
    let (world, alice) = with_totp().await;
    assert_eq!(asked(&world, &alice).await.status, 202);
    let link = links(&world, "Freeze ends", 1).await.remove(0);
    let old = links(&world, "Account frozen", 1).await.remove(0);
    let alice = later(&world, "alice", DAY_S + 60).await;
    may_begin(&alice).await;
    let anybody = world.client();
    assert_eq!(anybody.post_json(&old, "{}").await.json()["state"], "settled");
    may_begin(&alice).await;
    assert_eq!(anybody.post_json(&link, "{}").await.json()["state"], "frozen");
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_factor_a_young_one_or_none_ends_no_freeze() {
    for phone in [true, false] {
        let world = World::start().await;
        if phone {
            world.enrol_phone("bob", "+4915112345667").await;
        }
        let bob = world.session("bob", "s1").await;
        let order = r#"{"by":"rule","reason":"test"}"#;
        world.admin("POST", "/account/main/bob/freeze", order).await;
        assert_eq!(bob.get(THAW).await.json()["may_ask"], false);
        let refused = bob.post_json(THAW, "{}").await;
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    // An authenticator that its owner has only just enrolled.
    let world = World::start().await;
    let carol = world.session("carol", "s1").await;
    crate::enrolment::enrol_first(&world, &carol).await;
    let challenge = carol.post_json("/.stepgate/factors/totp/remove", "{}").await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(carol.post_json(&path, r#"{"freeze":true}"#).await.status, 200);
    assert_eq!(carol.post_json(THAW, "{}").await.status, 403);
    // It came of age while the account was frozen, and may be what the account was frozen for.
    let carol = later(&world, "carol", 2 * DAY_S).await;
    assert_eq!(carol.get(THAW).await.json()["may_ask"], false);
    let refused = carol.post_json(THAW, "{}").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_froze_only_an_operator_thaws() {
    let (world, alice) = with_totp().await;
    assert_eq!(asked(&world, &alice).await.status, 202);
    let order = r#"{"by":"ops","reason":"test"}"#;
    world.admin("POST", "/account/main/alice/freeze", order).await;
    let refused = alice.post_json(THAW, "{}").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("only support"), "{}", refused.text());
    let alice = later(&world, "alice", 9 * DAY_S).await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    world.admin("POST", "/account/main/alice/thaw", order).await;
    may_begin(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_and_foreign_credentials_end_no_freeze() {
    let (world, alice) = with_totp().await;
    let key = world.client().with("ok-access-key", "key-alice");
    for answer in [key.get(THAW).await, key.post_json(THAW, "{}").await] {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    assert_eq!(world.client().post_json(THAW, "{}").await.status, 401);
    let challenge = alice.post_json(THAW, "{}").await.challenge();
    let sms = format!("/.stepgate/challenge/{challenge}/send");
    assert_eq!(alice.post_json(&sms, r#"{"factor":"sms"}"#).await.status, 400);
    for _ in 0..5 {
        assert_ne!(answer(&alice, &challenge, "totp", "000000").await.status, 200);
    }
    assert_eq!(alice.post_json(THAW, "{}").await.status, 429, "blocked as everywhere");
    assert!(alice.get(THAW).await.json()["opens_at"].is_null());
    // What may be approved while the account is frozen is this and nothing else.
    world.wait_s(3_600);
    let thaw = alice.post_json(THAW, "{}").await.challenge();
    assert_eq!(answer(&alice, &thaw, "totp", &world.totp()).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 423);
    for path in ["/.stepgate/factors/totp", "/.stepgate/factors/totp/remove"] {
        assert_eq!(alice.post_json(path, "{}").await.status, 423, "{path}");
    }
    assert_eq!(alice.post_json(THAW, "{}").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_finds_the_way_from_the_refusal_and_its_form_waits_for_the_code() {
    let (world, alice) = with_totp().await;
    let person = browser(&alice);
    let refused = person.post_form("/api/v5/trade/order", "x=1").await;
    assert_eq!(refused.status, 423);
    assert!(refused.text().contains("href=\"/.stepgate/thaw\""), "{}", refused.text());
    let page = person.get(THAW).await;
    assert!(page.text().contains("Ask to lift the freeze"), "{}", page.text());
    assert!(page.text().contains("about 24 hours"), "{}", page.text());
    let forged = person.post_form(THAW, "csrf=wrong").await;
    assert_eq!(forged.status, 400);
    let question = person.post_form(THAW, format!("csrf={}", hidden(&page, "csrf"))).await;
    assert_eq!(question.status, 401, "{}", question.text());
    assert!(question.text().contains("Lifting of the freeze"), "{}", question.text());
    let (challenge, csrf) = (question.challenge(), hidden(&question, "csrf"));
    let path = format!("/.stepgate/challenge/{challenge}");
    let form = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    let approved = person.post_form(&format!("{path}/answer"), form).await;
    assert_eq!(approved.status, 200, "{}", approved.text());
    let csrf = hidden(&approved, "csrf");
    let sent = person.post_form(&format!("{path}/release"), format!("csrf={csrf}")).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, THAW), "{}", sent.text());
    let page = person.get(THAW).await;
    assert!(page.text().contains("The freeze ends at"), "{}", page.text());
    assert!(!page.text().contains("<form"), "{}", page.text());
    let person = browser(&later(&world, "alice", DAY_S).await);
    assert!(person.get(THAW).await.text().contains("Your account is not frozen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thaw_holds_on_every_gateway_and_after_a_restart() {
    let fleet = Fleet::start(POLICY, OKX).await;
    fleet.enrol_totp("alice").await;
    let alice = fleet.at_home("alice", "s1").await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(alice[0].post_json(&path, r#"{"freeze":true}"#).await.status, 200);
    let challenge = alice[1].post_json(THAW, "{}").await.challenge();
    assert_eq!(answer(&alice[1], &challenge, "totp", &crate::fleet::totp()).await.status, 200);
    let asked = alice[1].post_json(THAW, "{}").await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    for gateway in &alice {
        assert_eq!(gateway.get(THAW).await.json()["opens_at"], asked.json()["opens_at"]);
        assert_eq!(gateway.post_json(TRANSFER, TO_SPOT).await.status, 423);
    }

    let (mut world, alice) = with_totp().await;
    let opens = self::asked(&world, &alice).await.json()["opens_at"].clone();
    world.restart().await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.get(THAW).await.json()["opens_at"], opens);
    assert_eq!(alice.get(BALANCE).await.status, 200);
    may_begin(&later(&world, "alice", DAY_S).await).await;
}
