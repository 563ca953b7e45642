//! Whose messages they are, and what becomes of them: attempts to have them taken for another account's, for nobody's, or
//! for messages that were refused.

use tokio_tungstenite::tungstenite::Message;

use super::exchange::Sockets;
use super::{LOGIN, PACK, PRIVATE, RULES, Scene, challenge, refused, withdraw};
use crate::kit::Kit;
use crate::world::World;

const ORDER: &str = r#"{"id":"1","op":"order"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_somebody_is_never_the_upgrades_sender() {
    // A site that knows sessions, and no keys: what a login names is nobody.
    let sessions_only = |kit: &Kit| {
        let config = std::fs::read_to_string(kit.config()).unwrap();
        std::fs::write(kit.config(), config.replace("header:OK-ACCESS-KEY", "header:X-OTHER"))
            .unwrap();
    };
    let sockets = Sockets::start().await;
    let world = World::edited_in_front_of(sockets.address, RULES, PACK, sessions_only).await;
    let scene = Scene::in_world(world, sockets).await;
    let token = scene.world.kit.token("alice", "s2", scene.world.now().seconds());
    let (mut bot, _) =
        scene.open_with(PRIVATE, &[("authorization", &format!("Bearer {token}"))]).await;
    refused(&bot.ask(LOGIN.replace("key-alice", "key-bob")).await);
    refused(&bot.ask(r#"{"op":"order","id":1,"params":{"apiKey":"key-bob"}}"#).await);
    assert!(scene.sockets.texts().is_empty());
    assert_eq!(bot.ask(ORDER).await["code"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_its_accounts_after_the_session_has_ended() {
    let scene = Scene::start().await;
    let now = scene.world.now().seconds();
    let ends = serde_json::json!({ "exp": now + 60 });
    let token = scene.world.kit.token_with("alice", "s2", now, &ends);
    let bearer = format!("Bearer {token}");
    let (mut bot, _) = scene.open_with(PRIVATE, &[("authorization", &bearer)]).await;
    let (mut quiet, _) = scene.open_with(PRIVATE, &[("authorization", &bearer)]).await;
    assert_eq!(bot.ask(ORDER).await["code"], "0");
    scene.world.wait_s(3600);
    assert_eq!(bot.ask(ORDER).await["code"], "0", "whether it goes on is the exchange's to say");
    refused(&bot.ask(withdraw(1, "0.5")).await);
    let frozen = r#"{"by":"ops","reason":"test"}"#;
    let answer = scene.world.admin("POST", "/account/main/alice/freeze", frozen).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    refused(&bot.ask(ORDER).await);
    refused(&quiet.ask(ORDER).await);
    refused(&quiet.ask(LOGIN.replace("key-alice", "key-bob")).await);
    assert_eq!(scene.sockets.texts(), [ORDER, ORDER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_another_key_does_not_change_who_is_logged_in() {
    let second_key = |kit: &Kit| {
        let path = kit.config().with_file_name("secrets/api-keys.toml");
        let more = "[[key]]\nid = \"key-alice-2\"\naccount = \"alice\"\n";
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + more).unwrap();
    };
    let sockets = Sockets::start().await;
    let world = World::edited_in_front_of(sockets.address, RULES, PACK, second_key).await;
    let scene = Scene::in_world(world, sockets).await;
    let mut bot = scene.bot().await;
    let second = r#"{"op":"order","id":1,"params":{"apiKey":"key-alice-2"}}"#;
    assert_eq!(bot.ask(second).await["code"], "0");
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    let mut other = scene.bot().await;
    assert_eq!(challenge(&other.ask(withdraw(2, "0.5")).await), id, "the same key asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_long_ago_tells_nothing_about_an_outcome() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    scene.sockets.be_silent();
    scene.sockets.answer_with("58350");
    let late = r#"{"id":"2","op":"order","late":true}"#;
    bot.send(Message::text(late)).await;
    for id in 100..400 {
        bot.ask(format!(r#"{{"id":"{id}","op":"order"}}"#)).await;
    }
    assert_eq!(bot.ask(withdraw(2, "0.5")).await["op"], "order", "the late answer");
    assert_eq!(scene.outcomes(1).await[0]["state"], "unknown", "the refusal was the order's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_an_exchange_may_repeat_in_another_spelling_is_refused() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    for id in ["2.0", "2e0", "-0", "20E-1"] {
        refused(&bot.ask(format!(r#"{{"id":{id},"op":"order"}}"#)).await);
    }
    assert_eq!(bot.ask(r#"{"id":-2,"op":"order"}"#).await["id"], -2);
    assert_eq!(bot.ask(r#"{"id":null,"op":"order"}"#).await["code"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_with_a_body_is_refused() {
    let scene = Scene::start().await;
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let ask =
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), key];
    let credential = ("ok-access-key", "key-alice");
    // What a server that knows no body of a GET would take for the first frame.
    let text = withdraw(1, "0.5");
    let mut body = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    body.extend(text.bytes().map(|byte| byte & 0x7f));
    let body = String::from_utf8_lossy(&body).into_owned();
    let length = body.len().to_string();
    for (path, framing) in [
        (PRIVATE, ("content-length", length.as_str())),
        ("/ws/public", ("content-length", length.as_str())),
    ] {
        let headers = [&ask[..], &[credential, framing]].concat();
        let answer = scene.world.client().send("GET", path, &headers, &body).await;
        assert_eq!(answer.status, 400, "{path}");
    }
    assert_eq!(scene.sockets.upgrades(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_passes_one_of_two_messages_at_the_same_time() {
    let scene = Scene::start().await;
    let (mut one, mut two) = (scene.bot().await, scene.bot().await);
    let id = challenge(&one.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    let (first, second) = tokio::join!(one.ask(withdraw(2, "0.5")), two.ask(withdraw(2, "0.5")));
    let passed = [&first, &second].iter().filter(|answer| answer["code"] == "0").count();
    assert_eq!(passed, 1, "{first} {second}");
    assert_eq!(scene.sockets.with("withdraw").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_sent_at_once_keep_their_order() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    let before = r#"{"id":"a","op":"order"}"#;
    let after = r#"{"id":"b","op":"order"}"#;
    for text in [before.to_owned(), withdraw(2, "0.5"), withdraw(3, "0.5"), after.to_owned()] {
        bot.send(Message::text(text)).await;
    }
    for _ in 0..4 {
        bot.text().await;
    }
    assert_eq!(
        scene.sockets.texts()[1..],
        [before.to_owned(), withdraw(2, "0.5"), after.to_owned()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_account_is_no_use_on_a_connection() {
    let scene = Scene::start().await;
    let bob = scene.world.client().with("ok-access-key", "key-bob");
    assert_eq!(bob.send("POST", "/token", &[("content-length", "0")], "").await.status, 200);
    let (mut bot, _) = scene.open_with("/ws/token", &[("ok-access-key", "key-alice")]).await;
    let order = |id: u32| format!(r#"{{"op":"order","id":{id},"params":{{"token":"t0ken"}}}}"#);
    refused(&bot.ask(order(1)).await);
    refused(&bot.ask(withdraw(2, "0.5").replace("\"ts\"", "\"token\":\"t0ken\",\"ts\"")).await);
    assert!(scene.sockets.texts().is_empty());
    let mut bobs = scene.open("/ws/token").await;
    assert_eq!(bobs.ask(order(3)).await["code"], "0");
    let alices = r#"{"op":"order","id":4,"params":{"apiKey":"key-alice"}}"#;
    refused(&bobs.ask(alices).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_no_request_and_nothing_but_websocket_is_switched_to() {
    let scene = Scene::start().await;
    let client = scene.world.client().with("ok-access-key", "key-alice");
    let length = withdraw(1, "0.5").len().to_string();
    let answer =
        client.send("WS", PRIVATE, &[("content-length", &length)], &withdraw(1, "0.5")).await;
    assert_eq!(answer.status, 501);
    for upgrade in ["h2c, websocket", "websocket, h2c", "WebSocket/13", "h2c"] {
        let headers = [("connection", "upgrade"), ("upgrade", upgrade)];
        assert_eq!(
            client.send("GET", PRIVATE, &headers, "").await.status,
            200,
            "a plain request: {upgrade}"
        );
    }
}
