//! WebSockets through the gateway: messages both ways, and a stop that does not wait for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{PACK, RULES};
use crate::exchange::Reply;
use crate::kit::HOST;
use crate::world::World;

/// Sends every message back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn open(world: &World) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = world.client().connect(&[]).await.unwrap();
    let address = format!("wss://{HOST}/ws/v5/public?brokerId=9&x=%20");
    let (socket, answer) = tokio_tungstenite::client_async(address, stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert!(answer.headers().contains_key("stepgate-request"));
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_any_size_come_back_over_a_websocket() {
    let world = World::in_front_of(echo().await, RULES, PACK).await;
    let mut socket = open(&world).await;
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    for message in
        [Message::text("{\"op\":\"subscribe\"}"), Message::binary(long), Message::text("é")]
    {
        socket.send(message.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_while_a_websocket_is_open() {
    let mut world = World::in_front_of(echo().await, RULES, PACK).await;
    let mut socket = open(&world).await;
    socket.send(Message::text("still here")).await.unwrap();
    assert!(socket.next().await.unwrap().is_ok());
    let started = Instant::now();
    tokio::task::block_in_place(|| world.running.stop());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let end = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
    assert!(!matches!(end.expect("the socket ends"), Some(Ok(Message::Text(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_a_request_under_way_finish() {
    let mut world = World::start().await;
    world.exchange.will(Reply::After(Duration::from_millis(800)));
    let client = world.client();
    let slow = tokio::spawn(async move { client.get("/api/v5/market/ticker").await });
    while world.exchange.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::task::block_in_place(|| world.running.stop());
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(world.client().try_send("GET", "/", &[], "").await.is_err(), "nobody listens any more");
}
