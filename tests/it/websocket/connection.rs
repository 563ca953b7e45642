//! The connection itself: what is negotiated, what passes untouched, and how it ends.

use tokio_tungstenite::tungstenite::Message;

use super::{LOGIN, PRIVATE, Scene, withdraw};

const OFFER: (&str, &str) =
    ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_offered_on_public_paths_only() {
    let scene = Scene::start().await;
    let headers = [OFFER];
    scene.open_with("/ws/public", &headers).await;
    assert_eq!(scene.sockets.upgrade()[OFFER.0], OFFER.1);
    scene.open_with(PRIVATE, &headers).await;
    let upgrade = scene.sockets.upgrade();
    assert!(!upgrade.contains_key(OFFER.0), "{upgrade:?}");
    assert!(upgrade.contains_key("sec-websocket-version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_stream_passes_whatever_it_holds() {
    let scene = Scene::start().await;
    let mut public = scene.open("/ws/public").await;
    let long = "x".repeat(200_000);
    for text in [withdraw(1, "0.5"), long, "{\"op\":1,\"op\":2}".to_owned()] {
        public.send(Message::text(text.clone())).await;
        public.text().await;
        assert_eq!(scene.sockets.texts().last(), Some(&text));
    }
    public.send(Message::binary(vec![0, 255])).await;
    assert_eq!(scene.sockets.received(4).await[3], Message::binary(vec![0, 255]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_closes_pass_both_ways() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    bot.send(Message::Ping("are you there".into())).await;
    assert_eq!(bot.next().await, Some(Message::Pong("are you there".into())));
    bot.0.close(None).await.unwrap();
    let seen = scene.sockets.received(3).await;
    assert_eq!(seen[1], Message::Ping("are you there".into()), "the exchange's own pong came");
    assert!(seen[2].is_close());
    while bot.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_goodbye() {
    let mut scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let started = std::time::Instant::now();
    tokio::task::block_in_place(|| scene.world.running.stop());
    assert_eq!(bot.closed().await, Some(1001));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(scene.sockets.texts(), [LOGIN]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_holds_for_messages_of_open_connections() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let order = r#"{"id":"1","op":"order"}"#;
    assert_eq!(bot.ask(order).await["code"], "0");
    let pack = super::PACK.replace("\"WS /ws/private op=order\", ", "");
    let path = scene.world.dir().join("policies/site.actions.toml");
    std::fs::write(path, pack).unwrap();
    let answer = scene.world.admin("POST", "/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    super::refused(&bot.ask(order).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_decided_by_the_policy_that_is_in_force_when_it_comes() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let id = super::challenge(&bot.ask(withdraw(1, "0.5")).await);
    let denied = super::RULES.replace("require = \"totp\"", "deny = true\nwhy = \"Not today.\"");
    std::fs::write(scene.world.dir().join("policies/site.policy.toml"), denied).unwrap();
    let answer = scene.world.admin("POST", "/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // What was asked under the other policy can be approved, and is worth nothing under this one.
    scene.approve(&id).await;
    let refused = bot.ask(withdraw(2, "0.5")).await;
    assert!(super::refused(&refused).contains("Not today."), "{refused}");
    let (asked, refused) =
        (scene.world.noted("challenge_opened").await, scene.world.noted("refusal").await);
    assert_ne!(asked["policy"], refused["policy"]);
    assert!(scene.sockets.with("withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_site_that_a_reload_removed_is_closed_at_its_next_message() {
    let scene = Scene::start().await;
    let mut bot = scene.bot().await;
    let config = scene.world.kit.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let text =
        text.replace("hosts = [\"exchange.example\", \"localhost\"]", "hosts = [\"localhost\"]");
    std::fs::write(config, text).unwrap();
    let answer = scene.world.admin("POST", "/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    bot.send(Message::text(r#"{"id":"1","op":"order"}"#)).await;
    assert_eq!(bot.closed().await, Some(1001));
    assert_eq!(scene.sockets.texts(), [LOGIN]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_has_no_websockets() {
    let scene = Scene::start().await;
    let io = hyper_util::rt::TokioIo::new(scene.world.client().connect(&[b"h2"]).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method("CONNECT")
        .uri(format!("https://{}{PRIVATE}", crate::kit::HOST))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    // Not offered (RFC 8441 §3): a client that keeps to the protocol does not even send it.
    let passed =
        sender.send_request(request).await.is_ok_and(|answer| answer.status().is_success());
    assert!(!passed);
}
