//! What the gateway counts of connections, and what every answer on one carries.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fleet::until;
use crate::world::World;

/// One of the figures that `/metrics` shows.
async fn figure(world: &World, name: &str) -> i64 {
    let metrics = world.admin("GET", "/metrics", "").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_counted_until_they_are_closed() {
    let world = World::start().await;
    let client = world.client();
    let (idle, served) = (client.connect(&[]).await.unwrap(), client.connect(&[b"h2"]).await);
    let unfinished = TcpStream::connect(world.running.address()).await.unwrap();
    until("three are open", async || figure(&world, "stepgate_connections").await == 3).await;
    drop((idle, served, unfinished));
    until("none is open", async || figure(&world, "stepgate_connections").await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_fail_are_counted() {
    let world = World::start().await;
    assert!(world.client().connect(&[]).await.is_ok());
    assert_eq!(figure(&world, "stepgate_tls_handshake_failures_total").await, 0);
    for _ in 0..3 {
        let mut tcp = TcpStream::connect(world.running.address()).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    }
    let counted = async || figure(&world, "stepgate_tls_handshake_failures_total").await == 3;
    until("three have failed", counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_its_id_once() {
    let world = World::start().await;
    let client = world.client();
    for target in ["/", "/api/v5/account/balance", "/.stepgate/nope", "/.stepgate/style.css"] {
        for answer in [client.get(target).await, client.send_h2("GET", target, "").await] {
            let said = answer.headers.get_all("stepgate-request").iter().count();
            assert_eq!(said, 1, "{target}: {} {:?}", answer.status, answer.headers);
        }
    }
    let transfer = r#"{"ccy":"USDT","amt":"25","from":"18","to":"6"}"#;
    let refused = client.post_json("/api/v5/asset/transfer", transfer).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.headers.get_all("stepgate-request").iter().count(), 1);
}
