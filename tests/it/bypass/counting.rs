//! Guessing ends whatever is opened, raced, hung up on or half known (RFC 4226 §7.3).

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{TRANSFER, guess, step, transfer};
use crate::client::Client;
use crate::world::World;

const BOTH: &str = r#"version = 1
[[rule]]
id = "both"
on = "transfer"
require = "totp and sms"
"#;

async fn alice() -> (World, Client) {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

fn compared(world: &World) -> usize {
    let counts = ["attempt_failed", "challenge_locked"];
    let lines = world.audit();
    lines.iter().filter(|line| counts.contains(&line["event"].as_str().unwrap())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_over_many_challenges_and_sessions_are_five() {
    let (world, _) = alice().await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..40 {
        let session = format!("s{}", number % 4);
        let token = world.kit.token("alice", &session, world.now().seconds());
        let client = world.client().with("authorization", format!("Bearer {token}"));
        guesses.spawn(async move {
            let asked = client.post_json(TRANSFER, transfer(&format!("{}", number + 1))).await;
            let id = asked.header("step-up-challenge").to_owned();
            if !id.is_empty() {
                guess(&client, &id, "totp", "000000").await;
            }
            // And the other way in, at the same time.
            let headers = [("content-type", "application/json"), ("step-up-code", "111111")];
            client.send("POST", TRANSFER, &headers, transfer("77")).await.status.as_u16()
        });
    }
    let statuses = guesses.join_all().await;
    assert!(!statuses.contains(&200));
    let count = compared(&world);
    assert!(count <= 5, "{count} were compared");
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_before_the_answer_is_counted() {
    let (world, alice) = alice().await;
    let challenge = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let body = r#"{"factor":"totp","code":"000000"}"#;
    let own = alice.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        step(&challenge, "answer"),
        alice.host,
        own.collect::<String>(),
        body.len()
    );
    for _ in 0..5 {
        let mut stream = alice.connect(&[]).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(stream);
    }
    assert!(
        [423, 429]
            .contains(&guess(&alice, &challenge, "totp", &world.totp()).await.status.as_u16())
    );
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["failures"], 5, "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_authenticator_does_not_buy_guesses_at_the_phone() {
    let world = World::with_policy(BOTH).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345667").await;
    let alice = world.session("alice", "s1").await;
    let mut wrong = 0;
    for round in 0..3 {
        let asked = alice.post_json(TRANSFER, transfer(&format!("{}", round + 1))).await;
        if asked.status == 429 {
            break;
        }
        let challenge = asked.challenge();
        world.wait_s(30);
        let known = guess(&alice, &challenge, "totp", &world.totp()).await;
        assert_eq!(known.status, 200, "{}", known.text());
        alice.post_json(&step(&challenge, "send"), r#"{"factor":"sms"}"#).await;
        for _ in 0..4 {
            let status = guess(&alice, &challenge, "sms", "000000").await.status.as_u16();
            wrong += u32::from(status == 403 || status == 423);
        }
    }
    assert!(wrong <= 5, "{wrong} guesses at the phone were compared without a block");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_on_two_challenges_at_once_approves_one() {
    let (world, alice) = alice().await;
    let first = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let second = alice.post_json(TRANSFER, transfer("2")).await.challenge();
    let code = world.totp();
    let (one, two) =
        tokio::join!(guess(&alice, &first, "totp", &code), guess(&alice, &second, "totp", &code));
    let approved = [one.status, two.status].iter().filter(|status| **status == 200).count();
    assert_eq!(approved, 1, "{} {}", one.text(), two.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_in_many_headers_at_once_passes_once() {
    for same in [true, false] {
        let (world, alice) = alice().await;
        let code = world.totp();
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (alice, code) = (alice.clone(), code.clone());
            let body =
                transfer(if same { "1".to_owned() } else { format!("{}", number + 1) }.as_str());
            requests.spawn(async move {
                let headers =
                    [("content-type", "application/json"), ("step-up-code", code.as_str())];
                alice.send("POST", TRANSFER, &headers, body).await.status.as_u16()
            });
        }
        let statuses = requests.join_all().await;
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, world.exchange.seen_at(TRANSFER).len(), "{statuses:?}");
        assert!(passed <= 1, "{statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_open_challenges_keeps_the_newest_three() {
    let (world, alice) = alice().await;
    let mut ids = Vec::new();
    for number in 1..=10 {
        ids.push(alice.post_json(TRANSFER, transfer(&format!("{number}"))).await.challenge());
    }
    let mut open = 0;
    for id in &ids {
        let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
        open += u32::from(shown["state"] == "open");
    }
    assert_eq!(open, 3);
    let dead = guess(&alice, &ids[0], "totp", &world.totp()).await;
    assert_eq!(dead.status, 410, "{}", dead.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_challenge_looks_like_none() {
    let (world, alice) = alice().await;
    let id = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let other = world.session("alice", "s2").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    for client in [&other, &bot] {
        let foreign = guess(client, &id, "totp", &world.totp()).await;
        let missing = guess(client, &"A".repeat(43), "totp", &world.totp()).await;
        assert_eq!((foreign.status.as_u16(), missing.status.as_u16()), (404, 404));
        let plain = |text: String, id: &str| text.replace(id, "ID").len();
        assert_eq!(plain(foreign.text(), &id), plain(missing.text(), &id));
    }
    let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["attempts_left"], 5, "strangers spend nothing");
}
