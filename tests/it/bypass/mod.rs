//! Attacks on the running gateway over real sockets. Each file tries one kind of bypass and fails
//! if it works.

mod audit_full;
mod binding;
mod codes;
mod counting;
mod elevation;
mod floods;
mod held;
mod http2;
mod identity;
mod mounted;
mod operations;
mod own_prefix;
mod sequences;
mod sms;
pub(crate) mod store_down;
mod vectors;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Answer, Client};
use crate::world::World;

const TRANSFER: &str = "/api/v5/asset/transfer";
/// An operator's order to freeze or thaw.
const ORDER: &str = r#"{"by":"ops","reason":"test"}"#;
const WITHDRAW: &str = "/api/v5/asset/withdrawal";

fn transfer(amount: &str) -> String {
    format!(r#"{{"ccy":"USDT","amt":"{amount}","from":"18","to":"6","type":"0"}}"#)
}

fn step(challenge: &str, step: &str) -> String {
    format!("/.stepgate/challenge/{challenge}/{step}")
}

async fn guess(client: &Client, challenge: &str, factor: &str, code: &str) -> Answer {
    let body = format!(r#"{{"factor":"{factor}","code":"{code}"}}"#);
    client.post_json(&step(challenge, "answer"), body).await
}

/// Approves with the authenticator's next unused code.
async fn approve(world: &World, client: &Client, challenge: &str) {
    world.wait_s(30);
    let answer = guess(client, challenge, "totp", &world.totp()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Writes bytes as they are and reads what comes until the end, or until nothing came for a while.
async fn raw(client: &Client, bytes: &[u8]) -> String {
    let mut stream = client.connect(&[]).await.unwrap();
    // The gateway may close before it has read everything; what it answered is read all the same.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let pause = std::time::Duration::from_millis(1500);
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(pause, read).await;
    String::from_utf8_lossy(&answer).into_owned()
}
