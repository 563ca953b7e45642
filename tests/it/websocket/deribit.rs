//! Deribit's pack as shipped: every method is served over its WebSocket, withdrawals too.

use serde_json::Value;

use super::exchange::Sockets;
use super::{Scene, challenge_in};
use crate::kit::{Kit, POLICY};
use crate::world::World;

const DERIBIT: &str = include_str!("../../../policies/deribit.actions.toml");

async fn scene() -> Scene {
    let keys = |kit: &Kit| {
        let config = std::fs::read_to_string(kit.config()).unwrap();
        let scheme = "authorization:deri-hmac-sha256:id";
        std::fs::write(kit.config(), config.replace("header:OK-ACCESS-KEY", scheme)).unwrap();
    };
    let sockets = Sockets::start().await;
    let world = World::edited_in_front_of(sockets.address, POLICY, DERIBIT, keys).await;
    Scene::in_world(world, sockets).await
}

fn call(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn auth(params: &str) -> String {
    call(1, "public/auth", params)
}

fn withdraw(id: u32, amount: &str) -> String {
    let params = format!(r#"{{"currency":"BTC","amount":{amount},"address":"bc1q"}}"#);
    call(id, "private/withdraw", &params)
}

/// The message of a refusal of this call.
fn error(answer: &Value, id: u32) -> &str {
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&id.into(), &13021.into()), "{answer}");
    answer["error"]["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_over_the_websocket_is_asked_about_and_passes_once() {
    let scene = scene().await;
    let mut bot = scene.open("/ws/api/v2").await;
    error(&bot.ask(withdraw(2, "1")).await, 2);
    let login =
        r#"{"grant_type":"client_credentials","client_id":"key-alice","client_secret":"s"}"#;
    assert_eq!(bot.ask(auth(login)).await["echo"], auth(login));
    let id = challenge_in(error(&bot.ask(withdraw(3, "1")).await, 3));
    scene.approve(&id).await;
    assert_ne!(challenge_in(error(&bot.ask(withdraw(4, "2")).await, 4)), id);
    assert_eq!(bot.ask(withdraw(5, "1")).await["echo"], withdraw(5, "1"));
    error(&bot.ask(withdraw(6, "1")).await, 6);
    assert_eq!(scene.sockets.with("withdraw"), [withdraw(5, "1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_whom_a_connection_speaks_for() {
    let scene = scene().await;
    let mut bot = scene.open("/ws/api/v2").await;
    for params in [
        r#"{"grant_type":"refresh_token","refresh_token":"r"}"#,
        r#"{"grant_type":"refresh_token","refresh_token":"r","client_id":"key-alice"}"#,
        r#"{"grant_type":"password","username":"bob","password":"p"}"#,
        r#"{"grant_type":"authorization_code","code":"bobs","client_id":"key-alice"}"#,
        r#"{"grant_type":"refresh_token","client_id":"key-alice"}"#,
        r#"{"client_id":"key-alice","client_secret":"s"}"#,
        r#"{"grant_type":"client_credentials","Grant_Type":"password","client_id":"key-alice"}"#,
        r#"{"grant_type":["client_credentials"],"client_id":"key-alice"}"#,
        r#"{"grant_type":"client_credentials","client_id":"key-mallory"}"#,
        r#"{"grant_type":"client_credentials","client_id":"key-alice","Client_Id":"key-bob"}"#,
    ] {
        error(&bot.ask(auth(params)).await, 1);
    }
    for method in ["public/exchange_token", "public/fork_token"] {
        error(&bot.ask(call(1, method, r#"{"refresh_token":"r","subject_id":7}"#)).await, 1);
    }
    assert!(scene.sockets.texts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_not_recorded_as_done() {
    let scene = scene().await;
    let mut bot = scene.open("/ws/api/v2").await;
    let login =
        r#"{"grant_type":"client_credentials","client_id":"key-alice","client_secret":"s"}"#;
    bot.ask(auth(login)).await;
    let id = challenge_in(error(&bot.ask(withdraw(3, "1")).await, 3));
    scene.approve(&id).await;
    scene.sockets.answer_with("10009");
    assert_eq!(bot.ask(withdraw(5, "1")).await["error"]["code"], "10009");
    assert_eq!(scene.outcomes(1).await[0]["state"], "unknown");
}
