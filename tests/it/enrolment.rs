//! An owner enrols, replaces and removes factors, through a running gateway: the journeys, and what stops a thief.

mod approvals;
mod browser;
mod changes;
mod first;
mod held;
mod numbers;
#[cfg(feature = "webauthn")]
mod passkeys;
mod recovery;

use serde_json::{Value, json};

use crate::client::{Answer, Client};
pub use crate::world::hidden;
use crate::world::{World, totp_with};

pub const TOTP: &str = "/.stepgate/factors/totp";
pub const SMS: &str = "/.stepgate/factors/sms";
pub const RECOVERY: &str = "/.stepgate/factors/recovery";
pub const FACTORS: &str = "/.stepgate/factors";
pub const REMOVE_TOTP: &str = "/.stepgate/factors/totp/remove";

/// Withdrawals wait for a day after a change of factors, as in the shipped policy.
pub const HOLDS: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp or sms"

[[rule]]
id = "fresh-factors"
on = "withdrawal"
when = "account.security_change_age < 24h"
hold = "24h"
"#;

/// A browser with this session.
pub fn browser(client: &Client) -> Client {
    client
        .with("accept", "text/html,application/xhtml+xml")
        .with("sec-fetch-mode", "navigate")
        .with("sec-fetch-site", "same-origin")
}

/// What a program is told of a factor that waits: its challenge's path, and its secret.
pub struct Waiting {
    pub path: String,
    pub secret: String,
}

impl Waiting {
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let body = answer.json();
        let id = body["challenge_id"].as_str().unwrap();
        let secret = body["secret"].as_str().unwrap_or_default().to_owned();
        Self { path: format!("/.stepgate/challenge/{id}"), secret }
    }

    pub async fn confirm(&self, world: &World, client: &Client) -> Answer {
        answer(client, &self.path, "totp", &totp_with(&self.secret, world.now())).await
    }
}

pub async fn answer(client: &Client, path: &str, factor: &str, code: &str) -> Answer {
    let body = json!({ "factor": factor, "code": code }).to_string();
    client.post_json(&format!("{path}/answer"), body).await
}

/// Asks for a change, gives the code of the account's authenticator, and asks again.
pub async fn approved(world: &World, client: &Client, path: &str, body: &str) -> Answer {
    let asked = client.post_json(path, body).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let challenge = format!("/.stepgate/challenge/{}", asked.challenge());
    let right = answer(client, &challenge, "totp", &world.totp()).await;
    assert_eq!(right.status, 200, "{}", right.text());
    client.post_json(path, body).await
}

/// Enrols an authenticator for an account that has none; answers its secret and what was said of it.
pub async fn enrol_first(world: &World, client: &Client) -> (String, Value) {
    let waiting = Waiting::of(&client.post_json(TOTP, "{}").await);
    let done = waiting.confirm(world, client).await;
    assert_eq!(done.status, 200, "{}", done.text());
    (waiting.secret, done.json())
}

/// The words of the factors that are enrolled.
pub async fn words(client: &Client) -> Vec<String> {
    let page = client.get(FACTORS).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let factors = page.json()["factors"].as_array().unwrap().clone();
    factors.iter().map(|one| one["factor"].as_str().unwrap().to_owned()).collect()
}

/// The newest code that was sent by SMS, when this many were.
pub async fn sms_code(world: &World, count: usize) -> String {
    for _ in 0..300 {
        let text = world.sms();
        let codes: Vec<&str> = text.lines().filter_map(|line| line.split(" #").nth(1)).collect();
        if let Some(code) = codes.get(count - 1) {
            return code.trim().chars().take(6).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("SMS {count} never came: {}", world.sms());
}

/// Nothing of the gateway's own ever reached the exchange.
pub fn nothing_went_upstream(world: &World) {
    let seen = world.exchange.seen();
    assert!(seen.iter().all(|seen| !seen.target.contains("stepgate")), "{seen:?}");
}
