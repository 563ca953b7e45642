//! Three gateways on one store: a customer cannot tell which one answered, and neither can an attacker.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::fleet::{Fleet, totp, totp_before, until};
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{FRANKFURT, POLICY};
use crate::world::OKX;

const BALANCE: &str = "/api/v5/account/balance";
/// A write that no rule guards: ordinary traffic.
const ORDER: &str = "/api/v5/trade/order";
const BY_OPS: &str = r#"{"by":"ops","reason":"test"}"#;
const NOT_ME: &str = r#"{"freeze":true}"#;
/// How many times a freeze and a thaw are timed.
const FREEZES: usize = 60;

async fn fleet() -> Fleet {
    Fleet::start(POLICY, OKX).await
}

/// Alice has an authenticator, and a session that all three know to be at home.
async fn alice() -> (Fleet, [Client; 3]) {
    let fleet = fleet().await;
    fleet.enrol_totp("alice").await;
    let alice = fleet.at_home("alice", "s1").await;
    (fleet, alice)
}

fn step(challenge: &str, step: &str) -> String {
    format!("/.stepgate/challenge/{challenge}/{step}")
}

async fn guess(client: &Client, challenge: &str, factor: &str, code: &str) -> Answer {
    let body = json!({ "factor": factor, "code": code }).to_string();
    client.post_json(&step(challenge, "answer"), body).await
}

fn transfer(amount: usize) -> String {
    TO_SPOT.replace("\"100\"", &format!("\"{amount}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_by_one_answered_at_the_second_redeemed_at_the_third_with_an_authenticator() {
    let (fleet, alice) = alice().await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(alice[1].post_json(TRANSFER, TO_SPOT).await.challenge(), challenge, "one question");
    assert_eq!(guess(&alice[1], &challenge, "totp", &totp()).await.status, 200);
    assert_eq!(alice[2].post_json(TRANSFER, TO_SPOT).await.status, 200);
    for gateway in &alice {
        assert_eq!(gateway.post_json(TRANSFER, TO_SPOT).await.status, 401, "it was used");
    }
    assert_eq!(fleet.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_by_one_answered_at_the_second_redeemed_at_the_third_by_text_message() {
    let fleet = fleet().await;
    fleet.enrol_phone("bob", "+4915112345667").await;
    let bob = fleet.at_home("bob", "s1").await;
    let body = withdrawal("5", "TAddressOfBob1");
    let challenge = bob[0].post_json(WITHDRAW, body.clone()).await.challenge();
    let code = fleet.texted().await;
    let right = guess(&bob[1], &challenge, "sms", &code).await;
    assert_eq!(right.status, 200, "{}", right.text());
    assert_eq!(bob[2].post_json(WITHDRAW, body).await.status, 200);
    assert_eq!(fleet.exchange.seen_at(WITHDRAW).len(), 1);
    let audit = fleet.audit();
    assert_eq!(audit.iter().filter(|line| line["event"] == "code_sent").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_hundred_guesses_at_three_gateways_five_are_compared() {
    let (fleet, alice) = alice().await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    let mut guesses = JoinSet::new();
    for number in 0..300 {
        let (client, challenge) = (alice[number % 3].clone(), challenge.clone());
        guesses.spawn(async move {
            // None of them is right, or the test would be over too early.
            let code = format!("{:06}", (totp().parse::<usize>().unwrap() + 7_919) % 1_000_000);
            guess(&client, &challenge, "totp", &code).await.status.as_u16()
        });
    }
    let statuses = guesses.join_all().await;
    assert!(!statuses.contains(&200));
    for client in &alice {
        let late = guess(client, &challenge, "totp", &totp()).await;
        assert!([423, 429].contains(&late.status.as_u16()), "{}", late.text());
    }
    let card = fleet.admin(2, "GET", "/account/main/alice", "").await.json();
    assert_eq!(card["failures"], 5, "{card}");
    assert!(fleet.exchange.seen_at(TRANSFER).is_empty());
    let compared = ["attempt_failed", "challenge_locked"];
    let audit = fleet.audit();
    let compared = audit.iter().filter(|line| compared.contains(&line["event"].as_str().unwrap()));
    let compared = compared.count();
    assert!((1..=5).contains(&compared), "{compared} were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_redemptions_at_three_gateways_one_reaches_the_exchange() {
    let (fleet, alice) = alice().await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(guess(&alice[1], &challenge, "totp", &totp()).await.status, 200);
    let mut redemptions = JoinSet::new();
    for number in 0..100 {
        let client = alice[number % 3].clone();
        redemptions.spawn(async move { client.post_json(TRANSFER, TO_SPOT).await.status.as_u16() });
    }
    let statuses = redemptions.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(fleet.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_for_two_challenges_at_three_gateways_approves_one() {
    let (fleet, alice) = alice().await;
    let first = alice[0].post_json(TRANSFER, transfer(1)).await.challenge();
    let second = alice[1].post_json(TRANSFER, transfer(2)).await.challenge();
    let (code, mut answers) = (totp(), JoinSet::new());
    // At most four wrong ones in a row, so that none is refused for another reason.
    for number in 0..4 {
        let id = if number % 2 == 0 { first.clone() } else { second.clone() };
        let (client, code) = (alice[number % 3].clone(), code.clone());
        answers.spawn(async move { (guess(&client, &id, "totp", &code).await.status, id) });
    }
    let answers = answers.join_all().await;
    let approved: BTreeSet<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
    assert_eq!(approved.len(), 1, "{answers:?}");
    let mut passed = 0;
    for client in &alice {
        for amount in [1, 2] {
            passed += u32::from(client.post_json(TRANSFER, transfer(amount)).await.status == 200);
        }
    }
    assert_eq!((passed, fleet.exchange.seen_at(TRANSFER).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_accepted_by_one_is_a_replay_at_the_others_and_so_are_older_ones() {
    let (_fleet, alice) = alice().await;
    let (before, code) = (totp_before(), totp());
    let first = alice[0].post_json(TRANSFER, transfer(1)).await.challenge();
    assert_eq!(guess(&alice[0], &first, "totp", &code).await.status, 200);
    let second = alice[1].post_json(TRANSFER, transfer(2)).await.challenge();
    for client in &alice[1..] {
        for old in [&code, &before] {
            assert_eq!(guess(client, &second, "totp", old).await.status, 403);
        }
    }
}

/// One kept connection, so that what is timed is the gateway and not the handshake.
struct Kept {
    sender: SendRequest<Full<bytes::Bytes>>,
    client: Client,
}

impl Kept {
    async fn open(client: &Client) -> Self {
        let stream = hyper_util::rt::TokioIo::new(client.connect(&[]).await.unwrap());
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { sender, client: client.clone() }
    }

    async fn order(&mut self) -> u16 {
        let mut request =
            http::Request::builder().method("POST").uri(ORDER).header("host", &self.client.host);
        for (name, value) in &self.client.headers {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new("{}".into())).unwrap();
        if self.sender.ready().await.is_err() {
            // A refusal that did not read the body ended the connection.
            *self = Self::open(&self.client).await;
        }
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        status
    }

    /// Asks without a pause until this status is answered; before that it must be `before`.
    async fn turns(&mut self, before: u16, after: u16) -> Turned {
        let begun = Instant::now();
        let mut last_before = begun;
        loop {
            let sent = Instant::now();
            let status = self.order().await;
            if status == after {
                return Turned { last_before, first_after: Instant::now() };
            }
            assert_eq!(status, before);
            last_before = sent;
            // The view is never older than two seconds, push or no push.
            assert!(begun.elapsed() < Duration::from_secs(5), "{after} never came");
        }
    }
}

/// When the last request was sent that was answered as before, and when the first other answer was there.
struct Turned {
    last_before: Instant,
    first_after: Instant,
}

/// How long it took until other gateways did as ordered.
#[derive(Default)]
struct Lags {
    since_ordered: Vec<Duration>,
    /// Of requests that still went the old way, since the order was answered; zero if there were none.
    since_answered: Vec<Duration>,
}

impl Lags {
    fn print(mut self, what: &str) {
        for (since, lags) in
            [("ordered", &mut self.since_ordered), ("answered", &mut self.since_answered)]
        {
            lags.sort();
            let (median, worst) = (lags[lags.len() / 2], lags[lags.len() - 1]);
            let count = lags.len();
            println!("{what}, since {since}: {count}, median {median:.1?}, worst {worst:.1?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_at_one_stops_ordinary_writes_at_the_others_and_a_thaw_lets_them_go_on() {
    let (fleet, alice) = alice().await;
    let mut lines = Vec::new();
    for client in &alice {
        lines.push(Kept::open(client).await);
    }
    let mut lines: [Kept; 3] = lines.try_into().ok().unwrap();
    let (mut by_ops, mut by_owner, mut thaws) = (Lags::default(), Lags::default(), Lags::default());
    for round in 0..FREEZES {
        let here = round % 3;
        for line in &mut lines {
            assert_eq!(line.order().await, 200, "each of them has looked");
        }
        if round % 2 == 0 {
            let freeze = fleet.admin(here, "POST", "/account/main/alice/freeze", BY_OPS);
            turn(&mut lines, here, (200, 423), freeze, &mut by_ops).await;
        } else {
            let asked = alice[here].post_json(TRANSFER, transfer(round)).await.challenge();
            let (owner, path) = (alice[here].clone(), step(&asked, "reject"));
            turn(&mut lines, here, (200, 423), owner.post_json(&path, NOT_ME), &mut by_owner).await;
        }
        let thaw = fleet.admin(here, "POST", "/account/main/alice/thaw", BY_OPS);
        turn(&mut lines, here, (423, 200), thaw, &mut thaws).await;
    }
    by_ops.print("a freeze by an operator");
    by_owner.print("a freeze by the owner");
    thaws.print("a thaw");
}

/// The gateway that is told turns at once, the two others when they hear of it.
async fn turn(
    lines: &mut [Kept; 3],
    here: usize,
    (before, after): (u16, u16),
    order: impl Future<Output = Answer>,
    lags: &mut Lags,
) {
    let [a, b, c] = lines;
    let (told, one, two) = match here {
        0 => (a, b, c),
        1 => (b, a, c),
        _ => (c, a, b),
    };
    let ordered = Instant::now();
    let order = async {
        let answer = order.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Instant::now()
    };
    let (answered, one, two) =
        tokio::join!(order, one.turns(before, after), two.turns(before, after));
    assert_eq!(told.order().await, after, "who was told keeps to it");
    for turned in [one, two] {
        lags.since_ordered.push(turned.first_after.duration_since(ordered));
        lags.since_answered.push(turned.last_before.saturating_duration_since(answered));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_guarded_passes_anywhere_once_a_freeze_was_answered() {
    let (fleet, alice) = alice().await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(guess(&alice[1], &challenge, "totp", &totp()).await.status, 200);
    let frozen = fleet.admin(0, "POST", "/account/main/alice/freeze", BY_OPS).await;
    assert_eq!(frozen.status, 200, "{}", frozen.text());
    // No wait: a guarded action asks the store itself.
    for client in &alice[1..] {
        assert_eq!(client.post_json(TRANSFER, TO_SPOT).await.status, 423);
    }
    assert_eq!(fleet.admin(2, "POST", "/account/main/alice/thaw", BY_OPS).await.status, 200);
    for client in &alice {
        assert_eq!(client.post_json(TRANSFER, TO_SPOT).await.status, 401, "the grant is void");
    }
    assert!(fleet.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elevation_given_at_one_holds_at_the_others() {
    let (fleet, _) = alice().await;
    let abroad = fleet.session("alice", "abroad").map(|client| client.from(FRANKFURT));
    let challenge = abroad[0].get(BALANCE).await.challenge();
    for client in &abroad {
        assert_eq!(client.get("/any/page").await.challenge(), challenge, "one question");
    }
    assert_eq!(guess(&abroad[1], &challenge, "totp", &totp()).await.status, 200);
    for client in &abroad {
        // Each had looked before it was given, and hears of it.
        until("elevated here too", async || client.get(BALANCE).await.status == 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_removed_or_replaced_at_one_voids_what_another_has_asked() {
    let (fleet, alice) = alice().await;
    let asked = alice[0].post_json(TRANSFER, transfer(1)).await.challenge();
    let reset = r#"{"factor":"totp","by":"ops","reason":"lost"}"#;
    let gone = fleet.admin(1, "POST", "/factor/main/alice/reset", reset).await;
    assert_eq!(gone.json()["changed"], true, "{}", gone.text());
    assert_eq!(guess(&alice[2], &asked, "totp", &totp()).await.status, 410);
    fleet.enrol_totp("alice").await;
    let asked = alice[1].post_json(TRANSFER, transfer(2)).await.challenge();
    fleet.enrol_totp("alice").await;
    assert_eq!(guess(&alice[2], &asked, "totp", &totp()).await.status, 410);
    for client in &alice {
        assert_eq!(client.post_json(TRANSFER, transfer(2)).await.status, 401);
    }
    assert!(fleet.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ordered_at_one_reaches_the_others() {
    let fleet = fleet().await;
    // No file is touched, so that nobody reloads for another reason.
    for number in 0..3 {
        let before = fleet.admin(number, "GET", "/status", "").await.json();
        assert_eq!(before["last_reload"], Value::Null);
    }
    let told = fleet.admin(0, "POST", "/reload", "").await;
    assert_eq!(told.status, 200, "{}", told.text());
    for number in 1..3 {
        let reloaded = async || {
            let status = fleet.admin(number, "GET", "/status", "").await.json();
            status["last_reload"]["ok"] == true
        };
        until("the others read their files too", reloaded).await;
    }
    let gateways = fleet.gateways.len();
    let audit = fleet.audit();
    let reloads = audit.iter().filter(|line| line["event"] == "reload").count();
    assert_eq!(reloads, gateways, "once each: a notice is not passed on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_tell_which_gateway_answered() {
    let (fleet, alice) = alice().await;
    let challenge = alice[0].post_json(TRANSFER, TO_SPOT).await.challenge();
    let shown = format!("/.stepgate/challenge/{challenge}");
    let mut said: Vec<Vec<String>> = Vec::new();
    for client in &alice {
        let mut answers = Vec::new();
        for path in [BALANCE, "/.stepgate/jwks.json", &shown] {
            answers.push(plain(&client.get(path).await));
        }
        answers.push(plain(&client.post_json(TRANSFER, TO_SPOT).await));
        answers.push(plain(&client.get("/.stepgate/challenge/none").await));
        said.push(answers);
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0], said[2]);
    drop(fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_verifies_every_gateways_assertion_with_one_key() {
    let (fleet, alice) = alice().await;
    let to_contract = r#"{"ccy":"USDT","amt":"1","from":"6","to":"18","type":"0"}"#;
    for client in &alice {
        assert_eq!(client.post_json(TRANSFER, to_contract).await.status, 200);
    }
    let keys = alice[0].get("/.stepgate/jwks.json").await.json();
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys["keys"][0].clone()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
    let seen = fleet.exchange.seen_at(TRANSFER);
    assert_eq!(seen.len(), 3);
    for seen in seen {
        let token = seen.headers["stepgate-assertion"].to_str().unwrap();
        let mut wanted = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        wanted.validate_aud = false;
        let claims = jsonwebtoken::decode::<Value>(token, &key, &wanted);
        assert_eq!(claims.unwrap().claims["sub"], "alice");
    }
}

/// An answer without what differs from one request to the next at one gateway too.
fn plain(answer: &Answer) -> String {
    let id = answer.header("stepgate-request");
    let skipped = ["date", "stepgate-request"];
    let headers = answer.headers.iter().filter(|(name, _)| !skipped.contains(&name.as_str()));
    let headers: Vec<_> = headers.collect();
    let said = format!("{} {headers:?} {}", answer.status, answer.text());
    if id.is_empty() { said } else { said.replace(id, "ID") }
}
