//! An account without any factor: it is led to enrol, and what it enrolled has to wait.

use super::*;
use crate::journeys::{WITHDRAW, withdrawal};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_program_is_told_where_to_enrol() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let plain = alice.with("accept", "application/json");
    let refused = plain.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused.text().contains("https://exchange.example/.stepgate/factors"),
        "{}",
        refused.text()
    );
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_led_from_the_refusal_to_the_enrolment_and_back() {
    let policy = r#"version = 1

[[rule]]
id = "abroad"
on = "ordinary"
when = "geo.country is DE"
require = "totp"
valid = "session"
"#;
    let world = World::with_policy(policy).await;
    let person = browser(&world.session("alice", "s1").await);
    let abroad = person.from(crate::kit::FRANKFURT);
    let refused = abroad.get("/wallet?tab=1").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let link = "/.stepgate/factors?return_to=%2Fwallet%3Ftab%3D1";
    assert!(refused.text().contains(link), "{}", refused.text());

    let page = person.get(link).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let (csrf, back) = (hidden(&page, "csrf"), hidden(&page, "return_to"));
    assert_eq!(back, "/wallet?tab=1");
    let form = format!("csrf={csrf}&return_to=%2Fwallet%3Ftab%3D1");
    let sent_on = person.post_form(TOTP, form).await;
    assert_eq!(sent_on.status, 303, "{}", sent_on.text());
    let at = sent_on.header("location").to_owned();

    let page = person.get(&at).await;
    let text = page.text();
    assert!(text.contains("<svg class=\"qr\"") && text.contains("otpauth://totp/"), "{text}");
    let secret = text.split("secret=").nth(1).unwrap().split(['&', '"']).next().unwrap();
    let csrf = hidden(&page, "csrf");
    let wrong = person
        .post_form(&format!("{at}/answer"), format!("csrf={csrf}&factor=totp&code=000000"))
        .await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.text().contains("<svg class=\"qr\""), "the key is there as long as it waits");
    let code = totp_with(secret, world.now());
    let done = person
        .post_form(&format!("{at}/answer"), format!("csrf={csrf}&factor=totp&code={code}"))
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    let text = done.text();
    assert_eq!(text.matches("<li><code>").count(), 10, "{text}");
    assert!(text.contains("href=\"/wallet?tab=1\""), "{text}");
    assert!(!text.contains(secret) && !text.contains("otpauth"));
    nothing_went_upstream(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_never_shown_again() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    // Asking again is the same question, with the same key.
    assert_eq!(Waiting::of(&alice.post_json(TOTP, "{}").await).secret, waiting.secret);
    let done = waiting.confirm(&world, &alice).await;
    let codes = done.json()["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    for client in [alice.clone(), browser(&alice)] {
        for path in [FACTORS, &waiting.path, "/.stepgate/approvals"] {
            let page = client.get(path).await.text();
            assert!(!page.contains(&waiting.secret), "{path}: {page}");
            assert!(!page.contains(codes[0].as_str().unwrap()), "{path}: {page}");
        }
    }
    let again = waiting.confirm(&world, &alice).await;
    assert_eq!(again.status, 409, "{}", again.text());
    let log = std::fs::read_to_string(world.dir().join("audit/stepgate.jsonl")).unwrap();
    assert!(!log.contains(&waiting.secret) && !log.contains(codes[0].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_that_enrolled_is_not_accepted_again() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let (secret, _) = enrol_first(&world, &alice).await;
    let asked = alice.post_json(REMOVE_TOTP, "{}").await;
    assert_eq!(asked.status, 401, "a young factor is the only one: {}", asked.text());
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let again = answer(&alice, &at, "totp", &totp_with(&secret, world.now())).await;
    assert_eq!(
        (again.status.as_u16(), again.json()["error"].as_str()),
        (403, Some("replayed_code"))
    );
    world.wait_s(30);
    let next = answer(&alice, &at, "totp", &totp_with(&secret, world.now())).await;
    assert_eq!(next.status, 200, "{}", next.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enrols_and_then_withdraws_waits_until_the_hold_is_over() {
    for policy in [HOLDS, crate::kit::POLICY] {
        let world = World::with_policy(policy).await;
        let alice = world.session("alice", "s1").await;
        let (secret, told) = enrol_first(&world, &alice).await;
        assert_eq!(told["usable_from"].as_i64(), Some(world.now().seconds() + 86_400));
        let body = withdrawal("5", "TA");
        for wait_s in [0, 86_000] {
            world.wait_s(wait_s);
            let alice = world.session("alice", &format!("s{wait_s}")).await;
            let held = alice.post_json(WITHDRAW, body.clone()).await;
            assert_eq!(held.status, 403, "{}", held.text());
            assert!(held.text().contains("urn:stepgate:held"), "{}", held.text());
            assert!(!held.header("retry-after").is_empty());
        }
        world.wait_s(401);
        let alice = world.session("alice", "s3").await;
        let asked = alice.post_json(WITHDRAW, body.clone()).await;
        let at = format!("/.stepgate/challenge/{}", asked.challenge());
        let right = answer(&alice, &at, "totp", &totp_with(&secret, world.now())).await;
        assert_eq!(right.status, 200, "{}", right.text());
        assert!(world.exchange.seen_at(WITHDRAW).is_empty());
        assert_eq!(alice.post_json(WITHDRAW, body).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_policy_holds_the_money_of_who_enrolled_a_first_factor() {
    let shipped = include_str!("../../../policies/exchange.policy.toml");
    let world = World::with_policy(shipped).await;
    let alice = world.session("alice", "s1").await;
    enrol_first(&world, &alice).await;
    let held = alice.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    assert_eq!(held.status, 403, "{}", held.text());
    assert!(held.text().contains("urn:stepgate:held"), "{}", held.text());
    world.noted("refusal").await;
    let spoke =
        world.audit().iter().any(|line| line["rules"].to_string().contains("fresh-factors"));
    assert!(spoke, "{:#?}", world.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_a_new_country_enrols_nothing() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let abroad = alice.from(crate::kit::FRANKFURT);
    for answer in [abroad.post_json(TOTP, "{}").await, abroad.get(FACTORS).await] {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    assert_eq!(words(&alice).await, Vec::<String>::new());
}
