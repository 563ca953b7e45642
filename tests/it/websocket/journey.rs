//! Asked, approved elsewhere, repeated: the approval fits one message, once.

use super::{LOGIN, PACK, PRIVATE, Scene, challenge, refused, withdraw};
use crate::kit::{FRANKFURT, POLICY};

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_message_is_asked_about_and_its_repeat_passes_once() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let asked = bot.ask(withdraw(1, "0.5")).await;
    assert_eq!((&asked["id"], &asked["op"]), (&"1".into(), &"withdraw".into()));
    let id = challenge(&asked);
    let message = asked["msg"].as_str().unwrap();
    assert!(message.contains(&format!("https://{}/.stepgate/challenge/{id}", crate::kit::HOST)));
    assert!(!message.contains("Step-Up-Code"), "a message has no header: {message}");
    assert!(scene.sockets.with("withdraw").is_empty(), "nothing was sent");

    let shown = scene.owner.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["transaction"][0]["value"], "0.5", "{shown}");
    scene.approve(&id).await;
    assert!(scene.sockets.with("withdraw").is_empty(), "the client repeats, we do not");

    let other = bot.ask(withdraw(2, "0.6")).await;
    assert_ne!(challenge(&other), id, "another amount");
    let passed = bot.ask(withdraw(3, "0.5")).await;
    assert_eq!(passed["code"], "0", "{passed}");
    assert_eq!(scene.sockets.with("withdraw"), [withdraw(3, "0.5")], "byte for byte");

    let again = bot.ask(withdraw(3, "0.5")).await;
    assert_ne!(challenge(&again), id, "an approval is used once");
    assert_eq!(scene.sockets.with("withdraw").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_asked_once() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let first = challenge(&bot.ask(withdraw(1, "0.5")).await);
    assert_eq!(challenge(&bot.ask(withdraw(2, "0.5")).await), first);
    let mut other = scene.bot().await;
    assert_eq!(challenge(&other.ask(withdraw(3, "0.5")).await), first, "another connection");
    scene.approve(&first).await;
    assert_eq!(other.ask(withdraw(4, "0.5")).await["code"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_there_before_the_message_and_the_answer_closes_it() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    assert_eq!(bot.ask(withdraw(2, "0.5")).await["code"], "0");
    let audit = scene.world.audit();
    let intent = audit.iter().find(|line| line["event"] == "intent").expect("an intent");
    assert_eq!(intent["action"], "withdrawal");
    assert_eq!((&intent["method"], &intent["path"]), (&"WS".into(), &PRIVATE.into()));
    assert_eq!(intent["account"], "alice", "{intent}");
    assert_eq!(scene.outcomes(1).await[0]["state"], "done");

    scene.sockets.answer_with("58350");
    let id = challenge(&bot.ask(withdraw(3, "0.5")).await);
    scene.approve(&id).await;
    assert_eq!(bot.ask(withdraw(4, "0.5")).await["code"], "58350");
    assert_eq!(scene.outcomes(2).await[1]["state"], "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_before_tells_nothing_about_an_outcome() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    assert_eq!(bot.ask(r#"{"id":"2","op":"order"}"#).await["code"], "0");
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    scene.sockets.answer_with("58350");
    assert_eq!(bot.ask(withdraw(2, "0.5")).await["code"], "58350");
    assert_eq!(scene.outcomes(1).await[0]["state"], "unknown", "the refusal may be the order's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_tells_nothing_about_an_outcome() {
    let scene = Scene::start().await;
    scene.sockets.be_silent();
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    bot.send(tokio_tungstenite::tungstenite::Message::text(withdraw(2, "0.5"))).await;
    scene.sockets.answer_with("58350");
    assert_eq!(bot.ask(r#"{"id":"2","op":"order"}"#).await["code"], "58350");
    assert_eq!(scene.outcomes(1).await[0]["state"], "unknown", "the refusal was the order's");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_the_outcome_is_unknown_and_other_messages_do_not_wait() {
    let scene = Scene::start().await;
    scene.sockets.be_silent();
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    bot.send(tokio_tungstenite::tungstenite::Message::text(withdraw(2, "0.5"))).await;
    assert_eq!(bot.ask(r#"{"id":"9","op":"order"}"#).await["op"], "order");
    assert_eq!(scene.sockets.with("withdraw").len(), 1);
    assert!(scene.world.audit().iter().all(|line| line["event"] != "outcome"));
    drop(bot);
    assert_eq!(scene.outcomes(1).await[0]["state"], "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_messages_pass_as_they_came() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let order = " {\"op\" : \"order\", \"id\":7 , \"args\":[{\"px\":1.50, \"t\":\"\\u00e9é\"}]}\n";
    assert_eq!(bot.ask(order).await["id"], 7);
    bot.send(tokio_tungstenite::tungstenite::Message::text("ping")).await;
    assert_eq!(bot.text().await, "pong");
    assert_eq!(scene.sockets.texts(), [LOGIN, order, "ping"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_itself_may_carry_the_credential() {
    let scene = Scene::start().await;
    let headers = [("ok-access-key", "key-alice")];
    let (mut bot, _) = scene.open_with(PRIVATE, &headers).await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    assert_eq!(bot.ask(withdraw(2, "0.5")).await["code"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_given_out_through_here_names_whoever_asked_for_it() {
    let scene = Scene::start().await;
    let client = scene.world.client().with("ok-access-key", "key-alice");
    let given = client.send("POST", "/token", &[("content-length", "0")], "").await;
    assert_eq!(given.json()["result"]["token"], "t0ken");
    let with = |token: &str, id: u32| {
        withdraw(id, "0.5").replace("\"ts\"", &format!("\"token\":\"{token}\",\"ts\""))
    };
    let mut bot = scene.open("/ws/token").await;
    assert!(refused(&bot.ask(with("another", 1)).await).contains("sign"));
    let id = challenge(&bot.ask(with("t0ken", 2)).await);
    scene.approve(&id).await;
    assert_eq!(bot.ask(with("t0ken", 3)).await["code"], "0");
    // A connection keeps the token it has used; another one does not get it any more.
    scene.world.wait_s(16 * 60);
    assert_eq!(bot.ask(r#"{"op":"order","id":4,"params":{"token":"t0ken"}}"#).await["code"], "0");
    let mut late = scene.open("/ws/token").await;
    refused(&late.ask(with("t0ken", 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_places_asks_over_a_websocket_too() {
    let scene = Scene::with(POLICY, PACK).await;
    let (mut bot, _) = scene.open_from(FRANKFURT, PRIVATE, &[]).await;
    let asked = bot.ask(LOGIN).await;
    scene.approve(&challenge(&asked)).await;
    assert_eq!(bot.ask(LOGIN).await["event"], "login", "the credential is elevated here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_operation_is_refused_in_the_exchanges_words_and_the_connection_stays() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let order = r#"{"action":"withdrawal"}"#;
    assert_eq!(scene.world.admin("POST", "/suspend", order).await.status, 200);
    let said = bot.ask(withdraw(1, "0.5")).await;
    assert!(refused(&said).contains("suspended"), "{said}");
    let ended = r#"{"which":"withdrawal"}"#;
    assert_eq!(scene.world.admin("POST", "/resume", ended).await.status, 200);
    challenge(&bot.ask(withdraw(2, "0.5")).await);
    assert!(scene.sockets.with("withdraw").is_empty(), "nothing was sent");
}
