//! Attacks on a private WebSocket. Each tries to have an operation executed that nobody approved, and fails if it works.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{LOGIN, PRIVATE, Scene, challenge, refused, withdraw};
use crate::kit::FRANKFURT;

fn part(opcode: OpCode, payload: &str, last: bool) -> Message {
    let payload = payload.as_bytes().to_vec();
    if opcode == OpCode::Control(Control::Ping) {
        return Message::Ping(payload.into());
    }
    Message::Frame(Frame::message(payload, opcode, last))
}

const TEXT: OpCode = OpCode::Data(Data::Text);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_a_guarded_operation_passes() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let sound = withdraw(1, "0.5");
    let order = r#"{"id":"1","op":"order","params":{}}"#;
    let spellings = [
        sound.replace("withdraw", "Withdraw"),
        sound.replace("withdraw", "withdraw "),
        sound.replace("withdraw", "with-draw"),
        sound.replace("withdraw", "withdraw\\u0000"),
        sound.replace("\"op\"", "\"OP\""),
        sound.replace("\"op\"", "\"op\":\"order\",\"op\""),
        sound.replace("\"op\"", "\"op\":\"order\",\"\\u006fp\""),
        sound.replace("\"op\"", "\"op\":\"order\",\"Op\""),
        sound.replace("\"withdraw\"", "[\"withdraw\"]"),
        sound.replace("\"withdraw\"", "null"),
        sound.replace("\"amt\"", "\"amt\":\"1\",\"amt\""),
        sound.replace("\"amt\"", "\"Amt\":\"1\",\"amt\""),
        format!("[{sound}]"),
        format!("{order}{sound}"),
        format!("{order}\n{sound}"),
        "{}".to_owned(),
        "withdraw".to_owned(),
        "PING".to_owned(),
        String::new(),
    ];
    for text in spellings {
        refused(&bot.ask(text.as_str()).await);
    }
    let escaped = sound.replace("withdraw", "w\\u0069thdraw");
    challenge(&bot.ask(escaped).await);
    assert_eq!(scene.sockets.texts(), [LOGIN]);
    assert_eq!(bot.ask(order).await["op"], "order", "the connection stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_no_action_names_is_refused_and_the_connection_stays() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let answer = bot.ask(r#"{"id":"x","op":"mass-cancel","args":[]}"#).await;
    assert_eq!((&answer["id"], &answer["op"]), (&"x".into(), &"mass-cancel".into()));
    refused(&answer);
    assert_eq!(bot.ask(r#"{"id":"1","op":"order"}"#).await["code"], "0");
    assert!(scene.sockets.with("mass-cancel").is_empty());
    assert_eq!(scene.world.noted("refusal").await["path"], PRIVATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_operation_in_pieces_is_guarded() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let text = withdraw(1, "0.5");
    let (one, rest) = text.split_at(14);
    let (two, three) = rest.split_at(7);
    let ping = OpCode::Control(Control::Ping);
    for (opcode, payload, last) in
        [(TEXT, one, false), (ping, "p", true), (CONTINUE, two, false), (CONTINUE, three, true)]
    {
        bot.send(part(opcode, payload, last)).await;
    }
    // The exchange's pong and the challenge, in either order.
    let answers = [bot.next().await.unwrap(), bot.next().await.unwrap()];
    assert!(answers.iter().any(|it| *it == Message::Pong("p".into())), "{answers:?}");
    let text = answers.iter().find_map(|it| it.to_text().ok().filter(|text| text.contains("code")));
    challenge(&serde_json::from_str(text.unwrap()).unwrap());
    assert!(scene.sockets.with("draw").is_empty());
    assert!(scene.sockets.messages().contains(&Message::Ping("p".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_closes_the_connection_and_reaches_nobody() {
    let scene = Scene::start().await;
    let long = withdraw(1, "0.5").replace("bc1q", &"q".repeat(70_000));
    let mut compressed = Frame::message(b"x".to_vec(), TEXT, true);
    compressed.header_mut().rsv1 = true;
    let invalid = Frame::message(vec![b'"', 0xff, b'"'], TEXT, true);
    for (message, code) in [
        (Message::binary(withdraw(1, "0.5").into_bytes()), 1003),
        (Message::text(long), 1009),
        (Message::Frame(compressed), 1002),
        (Message::Frame(invalid), 1007),
        (part(CONTINUE, "x", true), 1002),
    ] {
        let mut bot = scene.bot().await;
        bot.send(message).await;
        assert_eq!(bot.closed().await, Some(code));
    }
    assert!(scene.sockets.texts().iter().all(|text| text == LOGIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_for_one_account() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let bobs = LOGIN.replace("key-alice", "key-bob");
    assert!(refused(&bot.ask(bobs.as_str()).await).len() > 5);
    let named = r#"{"op":"order","id":1,"params":{"apiKey":"key-bob"}}"#;
    refused(&bot.ask(named).await);
    let both = r#"{"op":"login","args":[{"apiKey":"key-alice"},{"apiKey":"key-bob"}]}"#;
    let mut fresh = scene.open(PRIVATE).await;
    refused(&fresh.ask(both).await);
    let (mut mixed, _) = scene.open_with(PRIVATE, &[("ok-access-key", "key-alice")]).await;
    refused(&mixed.ask(bobs.as_str()).await);
    assert_eq!(scene.sockets.texts(), [LOGIN]);
    assert_eq!(bot.ask(LOGIN).await["event"], "login", "the same account may say so again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_names_a_credential_that_is_known_here_in_one_spelling() {
    let scene = Scene::start().await;
    let mut bot = scene.open(PRIVATE).await;
    for login in [
        r#"{"op":"login","args":[]}"#,
        r#"{"op":"login"}"#,
        r#"{"op":"login","refresh_token":"r"}"#,
        r#"{"op":"login","args":[{"apiKey":"key-mallory"}]}"#,
        r#"{"op":"login","args":[{"apikey":"key-alice"}]}"#,
        r#"{"op":"login","args":[{"apiKey":"key-alice","ApiKey":"key-bob"}]}"#,
        r#"{"op":"login","args":[{"apiKey":"key-alice, key-bob"}]}"#,
        r#"{"op":"login","args":[{"apiKey":["key-alice"]}]}"#,
        r#"{"op":"login","params":{"apiKey":"key-alice"},"args":[{"apiKey":"key-alice"}]}"#,
        r#"{"op":"login","params":{"apiKEY":"key-alice"}}"#,
    ] {
        refused(&bot.ask(login).await);
    }
    refused(&bot.ask(withdraw(1, "0.5")).await);
    assert!(scene.sockets.texts().is_empty());
    // key-bob may be used from one network only.
    let (mut away, _) = scene.open_from(FRANKFURT, PRIVATE, &[]).await;
    refused(&away.ask(LOGIN.replace("key-alice", "key-bob")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_the_credential_that_asked() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let id = challenge(&bot.ask(withdraw(1, "0.5")).await);
    scene.approve(&id).await;
    let mut bob = scene.open(PRIVATE).await;
    bob.ask(LOGIN.replace("key-alice", "key-bob")).await;
    let other = bob.ask(withdraw(2, "0.5")).await;
    assert_eq!(other["code"], "50114", "{other}");
    assert!(scene.sockets.with("withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_reaches_connections_that_are_open() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let order = r#"{"id":"1","op":"order"}"#;
    assert_eq!(bot.ask(order).await["code"], "0");
    let frozen = r#"{"by":"ops","reason":"test"}"#;
    let answer = scene.world.admin("POST", "/account/main/alice/freeze", frozen).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    refused(&bot.ask(order).await);
    refused(&bot.ask(withdraw(1, "0.5")).await);
    assert_eq!(scene.sockets.with("order").len(), 1);
    scene.world.admin("POST", "/account/main/alice/thaw", frozen).await;
    assert_eq!(bot.ask(order).await["code"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_path_has_one_spelling() {
    let scene = Scene::start().await;
    for path in [
        "/ws/Private",
        "/ws/private/",
        "//ws/private",
        "/ws/%70rivate",
        "/ws/private/x",
        "/ws/x/../private",
    ] {
        let answer = scene.world.client().get(path).await;
        assert_eq!(answer.status, 400, "{path}");
    }
    assert_eq!(scene.world.client().get("/ws/private?brokerId=9").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_websocket_at_a_path_that_the_pack_does_not_name() {
    let scene = Scene::start().await;
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let headers =
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), key];
    for path in
        ["/", "/ws", "/ws/public2", "/ws/other", "/ws/public/../other", "/ws/public/%2e%2e/x"]
    {
        let answer = scene.world.client().send("GET", path, &headers, "").await;
        assert_eq!(answer.status, 403, "{path}");
    }
    let open = scene.world.client().send("GET", "/ws/public/stream?x=1", &headers, "").await;
    assert_eq!(open.status, 101);
}
