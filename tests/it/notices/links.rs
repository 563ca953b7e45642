//! The link in a notice: what follows it changes nothing, its button freezes the account, once, everywhere.

use super::{BALANCE, Post, abroad, enrol_mail, until};
use crate::client::Client;
use crate::fleet::Fleet;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::smtp::{Mode, link_in};
use crate::kit::{POLICY, TOKYO};
use crate::world::{OKX, World};

/// A browser without any session.
const PAGE: (&str, &str) = ("accept", "text/html");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What the form holds does not matter.
const PRESSED: &str = "freeze=true";

/// Alice's mail about a sign-in from abroad, and its link.
async fn linked() -> (Post, String) {
    let post = Post::running(Mode::Plain).await;
    post.world.enrol_totp("alice").await;
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    abroad(&post.world, "s1").await;
    let link = post.mail("main: Neue Anmeldung").await.link();
    (post, link)
}

async fn is_frozen(world: &World) -> bool {
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    !card["frozen"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn scanners_that_follow_the_link_change_nothing_and_the_button_freezes_once() {
    let (post, link) = linked().await;
    let world = &post.world;
    let home = world.session("alice", "home").await;
    assert_eq!(home.post_json(TRANSFER, TO_SPOT).await.status, 401);
    let anybody = world.client();
    for _ in 0..50 {
        for method in ["GET", "HEAD"] {
            let seen = anybody.send(method, &link, &[PAGE], "").await;
            assert_eq!(seen.status, 200);
            assert_eq!(seen.header("referrer-policy"), "no-referrer");
            assert_eq!(seen.header("cache-control"), "no-store");
        }
    }
    assert!(!is_frozen(world).await);
    let page = anybody.send("GET", &link, &[PAGE], "").await.text();
    for said in ["New sign-in", "Frankfurt", "DE", "2026-11-20 12:00:00 UTC", "Freeze my account"] {
        assert!(page.contains(said), "no {said} in {page}");
    }
    assert!(!page.contains("alice"), "the page names no account");

    let done = anybody.send("POST", &link, &[PAGE, FORM, ("origin", "null")], PRESSED).await;
    assert_eq!(done.status, 200);
    assert!(done.text().contains("Your account is frozen"), "{}", done.text());
    assert!(is_frozen(world).await);
    assert_eq!(home.post_json(TRANSFER, TO_SPOT).await.status, 423);
    let line = world.noted("frozen").await;
    assert_eq!(
        (line["note"].as_str(), line["account"].as_str()),
        (Some("owner link"), Some("alice"))
    );
    let told = post.mail("main: Account frozen").await;
    assert_eq!(told.to, ["alice@mail.example"]);

    let order = r#"{"by":"ops","reason":"test"}"#;
    world.admin("POST", "/account/main/alice/thaw", order).await;
    let again = anybody.send("POST", &link, &[PAGE, FORM], PRESSED).await;
    assert!(again.text().contains("This link was used"), "{}", again.text());
    assert!(!is_frozen(world).await, "a used link freezes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_can_freeze_by_the_link_and_another_site_cannot() {
    let (post, link) = linked().await;
    let anybody = post.world.client();
    assert_eq!(anybody.get(&link).await.json()["state"], "open");
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        assert_eq!(anybody.send("POST", &link, &[FORM, foreign], PRESSED).await.status, 400);
    }
    assert!(!is_frozen(&post.world).await);
    assert_eq!(anybody.post_json(&link, "{}").await.json()["state"], "frozen");
    assert!(is_frozen(&post.world).await);
    assert_eq!(anybody.get(&link).await.json()["state"], "used");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_expired_ids_are_one_and_the_same_answer_and_not_many() {
    let (post, link) = linked().await;
    let world = &post.world;
    let wrong =
        format!("{}{}", &link[..link.len() - 1], if link.ends_with('A') { "B" } else { "A" });
    let from = |number: usize| world.client().from(&format!("203.0.113.{number}"));
    let answer = async |client: Client, path: &str| {
        let answer = client.send("GET", path, &[PAGE], "").await;
        let request = answer.header("stepgate-request").to_owned();
        (answer.status, answer.text().replace(&request, "R"))
    };
    let missing = answer(from(21), &wrong).await;
    assert_eq!(missing.0, 404);
    world.wait_s(7 * 86_400 + 1);
    let expired = answer(from(22), &link).await;
    assert_eq!(expired.0, 404);
    for path in ["/.stepgate/not-me/", "/.stepgate/not-me/x", "/.stepgate/not-me/a/b"] {
        assert_eq!(answer(from(23), path).await.0, 404);
    }
    assert!(!expired.1.contains(&link[link.len() - 20..]), "the page repeats no id");
    let mut last = 0;
    for _ in 0..30 {
        last = from(24).get(&wrong).await.status.as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(from(25).get(&wrong).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_links_holds_up_no_neighbour_who_has_one() {
    let (post, link) = linked().await;
    let neighbour = post.world.client();
    let wrong = format!("/.stepgate/not-me/{}", "A".repeat(43));
    for _ in 0..30 {
        neighbour.get(&wrong).await;
        neighbour.get("/.stepgate/not-me/x").await;
    }
    assert_eq!(neighbour.get(&wrong).await.status, 429);
    assert_eq!(neighbour.get(&link).await.json()["state"], "open");
    assert_eq!(neighbour.post_json(&link, "{}").await.json()["state"], "frozen");
    assert!(is_frozen(&post.world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_before_a_thaw_says_that_it_is_settled_and_freezes_nothing() {
    let (post, link) = linked().await;
    let (world, anybody) = (&post.world, post.world.client());
    world.wait_s(60);
    let order = r#"{"by":"ops","reason":"test"}"#;
    world.admin("POST", "/account/main/alice/freeze", order).await;
    assert_eq!(anybody.get(&link).await.json()["state"], "open", "it is frozen, and not settled");
    let newer = post.mail("main: Account frozen").await.link();
    world.wait_s(60);
    world.admin("POST", "/account/main/alice/thaw", order).await;
    for (language, says) in [
        ("en", "This was settled since"),
        ("de", "Das hat sich inzwischen erledigt"),
        ("ja", "すでに解決済みです"),
        ("zh-CN", "此事已经了结"),
        ("zh-TW", "此事已經了結"),
    ] {
        let page = anybody.with("accept-language", language).send("GET", &link, &[PAGE], "").await;
        assert!(page.text().contains(says), "{language}: {}", page.text());
        assert!(!page.text().contains("<form"), "{}", page.text());
    }
    for old in [&link, &newer] {
        let pressed = anybody.send("POST", old, &[PAGE, FORM], PRESSED).await;
        assert_eq!(pressed.status, 200);
        assert!(pressed.text().contains("This was settled since"), "{}", pressed.text());
        assert_eq!(anybody.post_json(old, "{}").await.json()["state"], "settled");
    }
    assert!(!is_frozen(world).await);
    let thawed = post.mail("main: Freeze lifted").await.link();
    assert_eq!(anybody.post_json(&thawed, "{}").await.json()["state"], "frozen");
    assert!(is_frozen(world).await, "the notice of the thaw itself still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_link_is_in_no_log_and_no_metric() {
    let (post, link) = linked().await;
    let world = &post.world;
    let id = link.rsplit('/').next().unwrap().to_owned();
    let anybody = world.client();
    anybody.get(&link).await;
    // Refused, and recorded: nearly our own address, a wrong method, another site.
    anybody.get(&link.replace("/.stepgate/", "//.stepgate/")).await;
    anybody.get(&link.replace("not-me", "NOT-ME")).await;
    anybody.get(&link.replace("not-me", "not%2Dme")).await;
    anybody.send("DELETE", &link, &[], "").await;
    anybody.send("POST", &link, &[FORM, ("sec-fetch-site", "cross-site")], PRESSED).await;
    anybody.post_json(&link, "{}").await;
    world.noted("frozen").await;
    let refusals = || world.audit().iter().filter(|line| line["event"] == "refusal").count();
    until("the refusals are written", || refusals() >= 4).await;
    let audit = std::fs::read_to_string(world.dir().join("audit/stepgate.jsonl")).unwrap();
    assert!(audit.contains("/.stepgate/not-me/"), "the address without the id is there");
    assert!(!audit.contains(&id), "{audit}");
    assert!(!world.admin("GET", "/metrics", "").await.text().contains(&id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_at_every_host_of_its_group_and_at_no_other() {
    let (post, link) = linked().await;
    let address = post.world.running.address();
    let at = |host: &str| Client::new(address, &post.world.kit.ca_pem, host).from(TOKYO);
    assert_eq!(at("other.example").get(&link).await.status, 404);
    assert_eq!(at("other.example").post_json(&link, "{}").await.status, 404);
    assert!(!is_frozen(&post.world).await);
    assert_eq!(at("localhost").post_json(&link, "{}").await.json()["state"], "frozen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_by_the_link_at_one_gateway_holds_at_the_others() {
    let fleet = Fleet::start(POLICY, OKX).await;
    fleet.enrol_phone("alice", "+4915112345667").await;
    let alice = fleet.at_home("alice", "s1").await;
    assert_eq!(alice[0].from(crate::kit::FRANKFURT).get(BALANCE).await.status, 401);
    let texts = || {
        let file = |number| fleet.kit.dir.join(format!("state/sms-{number}.txt"));
        let texts = (0..3).map(|number| std::fs::read_to_string(file(number)).unwrap_or_default());
        texts.collect::<String>()
    };
    until("the owner is told", || texts().contains("/not-me/")).await;
    let texts = texts();
    let line = texts.lines().find(|line| line.contains("/not-me/")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let link = link_in(line["text"].as_str().unwrap());
    assert_eq!(fleet.client(1).get(&link).await.json()["state"], "open");
    assert_eq!(fleet.client(1).post_json(&link, "{}").await.json()["state"], "frozen");
    for gateway in &alice {
        assert_eq!(gateway.post_json(TRANSFER, TO_SPOT).await.status, 423);
    }
    assert_eq!(fleet.client(2).post_json(&link, "{}").await.json()["state"], "used");
}
