//! What text messages cost: storms end at the budget, owners are told how to go on, and countries whose codes nobody types
//! in are stopped.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::journeys::{WITHDRAW, withdrawal};
use crate::kit::{FRANKFURT, POLICY};
use crate::world::{OKX, World, hidden};

const PHONE: &str = "+4915112345667";
const SMS: &str = r#"{"factor":"sms"}"#;

/// In OKX's own words a challenge has no place for ours: this pack has none, so that answers are ours.
const PLAIN: &str = r#"version = 1
exchange = "plain"
unclassified = { read = "allow", write = "deny" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "form"
fields = { asset = "form.asset", amount = "form.amount", address = "form.address" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = "asset=BTC&amount=1&address=bc1q"
"#;

async fn world(budget: &str) -> World {
    World::with(POLICY, PLAIN, &format!("[sms.budget]\n{budget}\n")).await
}

/// A customer with this phone and nothing else, seen at home.
async fn customer(world: &World, name: &str, phone: &str) -> Client {
    world.enrol_phone(name, phone).await;
    world.session(name, "s1").await
}

async fn withdraw(client: &Client, amount: u32) -> Answer {
    client.post_form("/withdraw", format!("asset=BTC&amount={amount}&address=bc1qexample")).await
}

fn at(challenge: &str, step: &str) -> String {
    format!("/.stepgate/challenge/{challenge}/{step}")
}

fn browser(client: &Client) -> Client {
    client
        .with("accept", "text/html,application/xhtml+xml")
        .with("sec-fetch-mode", "navigate")
        .with("sec-fetch-site", "same-origin")
}

/// Exactly so many codes went into the outbox. One that is replaced before its turn never leaves it.
async fn all_sent(world: &World, count: u64) {
    let metrics = world.admin("GET", "/metrics", "").await.text();
    let to = |line: &str| {
        let (labels, value) = line.strip_prefix("stepgate_sms_codes_total{")?.split_once("} ")?;
        labels.ends_with("outcome=\"sent\"").then(|| value.parse::<u64>().unwrap())
    };
    assert_eq!(metrics.lines().filter_map(to).sum::<u64>(), count, "{metrics}");
}

/// Waits for the first code that arrives.
async fn arrived(world: &World) -> String {
    for _ in 0..1_000 {
        if let Some(line) = world.sms().lines().next() {
            return line.rsplit_once(" #").unwrap().1.chars().take(6).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no code came");
}

/// It says that none can be sent, in the machine's word and with a time.
fn says_no(answer: &Answer) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let wait_s: u64 = answer.header("retry-after").parse().expect("Retry-After in seconds");
    let said = answer.json();
    assert_eq!((&said["error"], &said["state"]), (&json!("sms_unavailable"), &json!("open")));
    assert_eq!((&said["retry_after"], &said["status"]), (&json!(wait_s), &json!(429)));
    assert!(wait_s > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_storm_through_the_api_sends_three_messages_and_then_says_when_to_come_back() {
    let world = world("").await;
    let bob = customer(&world, "bob", PHONE).await;
    let challenge = withdraw(&bob, 1).await.challenge();
    let mut storm = JoinSet::new();
    for _ in 0..40 {
        let (bob, send) = (bob.clone(), at(&challenge, "send"));
        storm.spawn(async move { bob.post_json(&send, SMS).await });
    }
    let answers = storm.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 2);
    for refused in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!(refused.status, 429, "{}", refused.text());
        let wait_s: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=600).contains(&wait_s));
    }
    all_sent(&world, 3).await;
    world.wait_s(600);
    // The challenge is over; a new one finds the same number.
    let next = withdraw(&bob, 1).await.challenge();
    assert_ne!(next, challenge);
    all_sent(&world, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_storm_through_the_page_sends_three_messages_and_ten_a_day() {
    let world = World::with(POLICY, PLAIN, "").await;
    let bob = browser(&customer(&world, "bob", PHONE).await);
    let mut all = 0;
    for round in 0..6 {
        let page = withdraw(&bob, round + 1).await;
        let (challenge, csrf) = (page.challenge(), hidden(&page, "csrf"));
        for _ in 0..6 {
            let form = format!("factor=sms&csrf={csrf}");
            let answer = bob.post_form(&at(&challenge, "send"), form).await;
            assert!([202, 429].contains(&answer.status.as_u16()), "{}", answer.text());
            assert!(answer.header("content-type").starts_with("text/html"));
            if answer.status == 429 {
                assert!(!answer.header("retry-after").is_empty());
            }
        }
        // Five in an hour for an account; three in ten minutes and ten in a day for a number.
        all = [3, 5, 8, 10, 10, 10][round as usize];
        all_sent(&world, all).await;
        // Two rounds within an hour, and then the next.
        world.wait_s(if round % 2 == 0 { 660 } else { 3_660 });
    }
    assert_eq!(all, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_budget_is_spent_the_api_says_so_and_the_authenticator_still_works() {
    let world = world("overall_hour_max = 1").await;
    world.enrol_totp("alice").await;
    let alice = customer(&world, "alice", PHONE).await;
    let bob = customer(&world, "bob", "+886912345678").await;
    withdraw(&bob, 1).await.challenge();
    all_sent(&world, 1).await;

    let challenge = withdraw(&alice, 2).await.challenge();
    let refused = alice.post_json(&at(&challenge, "send"), SMS).await;
    says_no(&refused);
    assert_eq!(refused.json()["factors"], json!(["totp", "sms"]));
    let title = refused.json()["title"].as_str().unwrap().to_owned();
    assert!(title.contains("authenticator app"), "{title}");
    let wait_s: i64 = refused.header("retry-after").parse().unwrap();

    let code = world.totp();
    let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
    let right = alice.post_json(&at(&challenge, "answer"), body).await;
    assert_eq!(right.status, 200, "{}", right.text());
    assert_eq!(withdraw(&alice, 2).await.status, 200);
    all_sent(&world, 1).await;

    world.wait_s(wait_s);
    let later = withdraw(&alice, 3).await.challenge();
    assert_eq!(alice.post_json(&at(&later, "send"), SMS).await.status, 202);
    all_sent(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_it_too_and_offers_the_authenticator_in_its_place() {
    let world = world("overall_hour_max = 0").await;
    world.enrol_totp("alice").await;
    let alice = browser(&customer(&world, "alice", PHONE).await);
    let page = withdraw(&alice, 2).await;
    assert!(!page.text().contains("No text message"), "nobody has asked for one yet");
    let (challenge, csrf) = (page.challenge(), hidden(&page, "csrf"));
    let refused = alice.post_form(&at(&challenge, "send"), format!("factor=sms&csrf={csrf}")).await;
    assert_eq!(refused.status, 429);
    assert!(!refused.header("retry-after").is_empty());
    let text = refused.text();
    assert!(text.contains("No text message can be sent right now. Confirm another way"), "{text}");
    assert!(text.contains("Code from your authenticator app"), "{text}");
    let form = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    assert_eq!(alice.post_form(&at(&challenge, "answer"), form).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_nothing_but_a_phone_is_told_at_once_that_no_text_can_be_sent() {
    let world = world("overall_hour_max = 0").await;
    let bob = customer(&world, "bob", PHONE).await;
    let asked = withdraw(&bob, 1).await;
    assert_eq!(asked.status, 401);
    let said = asked.json();
    assert_eq!(said["error"], "sms_unavailable");
    assert!(said["retry_after"].as_u64().is_some_and(|wait_s| wait_s > 0), "{said}");
    assert!(said["detail"].as_str().unwrap().starts_with("No text message can be sent"), "{said}");
    for (language, words) in [
        ("en", "and this cannot be confirmed without one"),
        ("de", "ohne sie lässt sich dies nicht bestätigen"),
        ("ja", "SMS を送信できません"),
        ("zh-CN", "目前无法发送短信"),
        ("zh-TW", "目前無法傳送簡訊"),
    ] {
        let page = withdraw(&browser(&bob).with("accept-language", language), 7).await;
        assert_eq!(page.status, 401);
        // Only the first of these opens the challenge; the others ask for a code as the page offers.
        let csrf = hidden(&page, "csrf");
        let send = at(&page.challenge(), "send");
        let client = browser(&bob).with("accept-language", language);
        let again = client.post_form(&send, format!("factor=sms&csrf={csrf}")).await;
        assert_eq!(again.status, 429);
        assert!(again.text().contains(words), "{language}: {}", again.text());
        if language == "en" {
            assert!(page.text().contains(words), "{}", page.text());
        }
    }
    all_sent(&world, 0).await;
    assert_eq!(world.sms(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanges_own_client_finds_it_in_the_exchanges_own_words() {
    let world = World::with(POLICY, OKX, "[sms.budget]\noverall_hour_max = 0\n").await;
    let bob = customer(&world, "bob", PHONE).await;
    let asked = bob.post_json(WITHDRAW, withdrawal("5", "TAddressOfBob1")).await;
    let message = asked.json()["msg"].as_str().unwrap().to_owned();
    assert!(message.contains("No text message can be sent right now"), "{message}");
    assert!(message.contains(&asked.challenge()), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_many_accounts_in_one_range_ends_at_the_ranges_budget() {
    let world = world("per_range_hour_max = 4").await;
    let mut customers = Vec::new();
    for n in 0..10_u8 {
        let client = customer(&world, &format!("c{n}"), &format!("+49151123456{n:02}")).await;
        customers.push(client.from(&format!("203.0.113.{}", 20 + n)));
    }
    let mut storm = JoinSet::new();
    for client in customers.clone() {
        storm.spawn(async move { withdraw(&client, 1).await });
    }
    let answers = storm.join_all().await;
    let told = answers.iter().filter(|answer| answer.json()["error"] == "sms_unavailable").count();
    assert_eq!(told, 6);
    all_sent(&world, 4).await;
    let abroad = customers[0].from(FRANKFURT).get("/balance").await;
    assert_eq!(abroad.json()["error"], json!(null), "another range: {}", abroad.text());
    all_sent(&world, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_country_has_a_budget_of_its_own_and_the_longest_prefix_counts() {
    let budget = "per_prefix_hour_max = { default = 2, \"+49\" = 1, \"+49151\" = 0 }";
    let world = world(budget).await;
    for (n, (phone, goes)) in [
        ("+4915112345667", false),
        ("+4917112345667", true),
        ("+4917112345668", false),
        ("+886912345671", true),
        ("+886912345672", true),
        ("+886912345673", false),
    ]
    .into_iter()
    .enumerate()
    {
        let client = customer(&world, &format!("c{n}"), phone).await;
        let answer = withdraw(&client, 1).await;
        assert_eq!(answer.json()["error"] != "sms_unavailable", goes, "{phone}: {}", answer.text());
    }
    all_sent(&world, 3).await;
    let metrics = world.admin("GET", "/metrics", "").await.text();
    for line in [
        r#"stepgate_sms_refused_total{prefix="+49151",reason="prefix"} 1"#,
        r#"stepgate_sms_refused_total{prefix="+49",reason="prefix"} 1"#,
        r#"stepgate_sms_codes_total{prefix="+886",outcome="sent"} 2"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_claims_another_number_each_time_gets_no_more_than_five_in_an_hour() {
    let world = world("").await;
    let home = world.session("mallory", "s").await;
    let mut refused = 0;
    for n in 0..8 {
        let claims =
            json!({ "phone_number": format!("+49151123456{n:02}"), "phone_number_verified": true });
        let token =
            world.kit.token_with("mallory", &format!("s{n}"), world.now().seconds(), &claims);
        let client = home.with("authorization", format!("Bearer {token}"));
        let asked = withdraw(&client, n + 1).await;
        refused += usize::from(asked.json()["error"] == "sms_unavailable");
    }
    all_sent(&world, 5).await;
    assert_eq!(refused, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_country_whose_codes_nobody_types_in_is_stopped_and_operators_are_told_once() {
    let world = world("verified_prefix_sent_min = 3").await;
    for n in 0..3 {
        let bot = customer(&world, &format!("bot{n}"), &format!("+96055512{n:02}")).await;
        bot.from(FRANKFURT).get("/balance").await.challenge();
    }
    all_sent(&world, 3).await;
    world.wait_s(660);
    let owner = customer(&world, "owner", "+9605551299").await;
    for amount in 1..3 {
        let asked = withdraw(&owner, amount).await;
        assert_eq!(asked.json()["error"], "sms_unavailable", "{}", asked.text());
    }
    let line = world.noted("sms_stopped").await;
    let note = line["note"].as_str().unwrap();
    assert_eq!(note, "no text messages for 3600 s, prefix +960: 0 of 3 codes were verified");
    let audit = world.audit();
    assert_eq!(audit.iter().filter(|line| line["event"] == "sms_stopped").count(), 1);
    assert!(!format!("{audit:?}").contains("55512"), "no number in the record");
    let metrics = world.admin("GET", "/metrics", "").await.text();
    assert!(metrics.contains(r#"stepgate_sms_stops_total{scope="prefix"} 1"#), "{metrics}");
    assert!(!metrics.contains("55512"), "no number in the metrics");

    let stops = &world.admin("GET", "/status", "").await.json()["sms_stops"];
    assert_eq!((&stops[0]["subject"], &stops[0]["scope"]), (&json!("+960"), &json!("prefix")));
    let lift = r#"{"subject":"+960","by":"ops","reason":"a campaign"}"#;
    assert_eq!(world.admin("POST", "/sms/lift", lift).await.json()["changed"], true);
    assert_eq!(world.admin("POST", "/sms/lift", lift).await.json()["changed"], false);
    assert!(world.admin("GET", "/status", "").await.json().get("sms_stops").is_none());
    withdraw(&owner, 3).await.challenge();
    all_sent(&world, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_whose_codes_nobody_types_in_is_stopped_though_its_numbers_are_from_many_countries()
{
    let world = world("verified_sent_min = 3").await;
    for (n, phone) in ["+9605551201", "+2215551202", "+9925551203"].into_iter().enumerate() {
        let bot = customer(&world, &format!("bot{n}"), phone).await;
        withdraw(&bot, 1).await.challenge();
    }
    all_sent(&world, 3).await;
    world.wait_s(660);
    let owner = customer(&world, "owner", PHONE).await;
    assert_eq!(withdraw(&owner, 1).await.json()["error"], "sms_unavailable");
    let note = world.noted("sms_stopped").await["note"].clone();
    assert!(note.as_str().unwrap().contains("range 203.0.113.0/24: 0 of 3"), "{note}");
    let abroad = owner.from(FRANKFURT).get("/balance").await;
    assert_eq!(abroad.json()["error"], json!(null), "{}", abroad.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn six_phones_in_one_range_stop_the_range_and_not_their_country() {
    let world = world("").await;
    for n in 0..6 {
        let bot = customer(&world, &format!("bot{n}"), &format!("+96055512{n:02}")).await;
        for amount in 1..4 {
            withdraw(&bot, amount).await.challenge();
        }
    }
    all_sent(&world, 18).await;
    world.wait_s(720);
    for n in 0..6 {
        let bot = world.session(&format!("bot{n}"), "s1").await;
        for amount in 4..6 {
            withdraw(&bot, amount).await.challenge();
        }
    }
    all_sent(&world, 30).await;
    world.wait_s(660);
    let seventh = customer(&world, "seventh", "+9605551277").await;
    assert_eq!(withdraw(&seventh, 1).await.json()["error"], "sms_unavailable");
    let note = world.noted("sms_stopped").await["note"].clone();
    assert!(note.as_str().unwrap().contains("range 203.0.113.0/24: 0 of 30"), "{note}");
    // Whoever has a phone of that country and is elsewhere is served.
    let owner = customer(&world, "owner", "+9605551299").await;
    let abroad = owner.from(FRANKFURT).get("/balance").await;
    assert_eq!(abroad.json()["error"], json!(null), "{}", abroad.text());
    all_sent(&world, 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_are_typed_in_keep_their_country_open() {
    let world = world("verified_prefix_sent_min = 3").await;
    for n in 0..3 {
        let owner = customer(&world, &format!("c{n}"), &format!("+96055512{n:02}")).await;
        let challenge = withdraw(&owner, 1).await.challenge();
        if n == 0 {
            let code = arrived(&world).await;
            let body = format!(r#"{{"factor":"sms","code":"{code}"}}"#);
            let right = owner.post_json(&at(&challenge, "answer"), body).await;
            assert_eq!(right.status, 200, "{}", right.text());
        }
    }
    all_sent(&world, 3).await;
    verified(&world, "+960").await;
    world.wait_s(660);
    let next = customer(&world, "next", "+9605551299").await;
    let asked = withdraw(&next, 1).await;
    assert_eq!(asked.json()["error"], json!(null), "one of three is enough: {}", asked.text());
    all_sent(&world, 4).await;
}

/// Waits until a code to this prefix was counted as one that came back.
async fn verified(world: &World, prefix: &str) {
    let line = format!("stepgate_sms_codes_total{{prefix=\"{prefix}\",outcome=\"verified\"}} 1");
    for _ in 0..1_000 {
        let metrics = world.admin("GET", "/metrics", "").await.text();
        if metrics.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no code to {prefix} was counted as verified");
}
