//! Several messages on one connection, as raw bytes: what the end of one hides must not become the
//! next.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use super::approve;
use crate::client::Client;
use crate::frames::{Raw, fields, request};
use crate::kit::{HOST, POLICY, TOKYO};
use crate::vectors::PACK;
use crate::world::World;

const WITHDRAW: &str = "/api/v5/asset/withdrawal";
const SOON: Duration = Duration::from_secs(20);

fn sequence(id: &str) -> Value {
    let text = include_str!("../../fixtures/vectors/sequences.jsonl");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["id"] == id).unwrap()
}

/// The client's writes, with our host and this session in the requests that are for us.
fn writes(id: &str, token: &str) -> Vec<Vec<u8>> {
    let armed =
        format!("Host: {HOST}\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: {TOKYO}\r\n");
    let sequence = sequence(id);
    let list = sequence["writes_base64"].as_array().unwrap().iter();
    list.map(|text| {
        let bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
        match String::from_utf8(bytes) {
            Ok(text) => text.replace("Host: HOST\r\n", &armed).into_bytes(),
            Err(frame) => frame.into_bytes(),
        }
    })
    .collect()
}

struct Talk {
    tls: TlsStream<TcpStream>,
    heard: Vec<u8>,
}

impl Talk {
    async fn open(client: &Client) -> Self {
        Self { tls: client.connect(&[]).await.unwrap(), heard: Vec::new() }
    }

    async fn say(&mut self, bytes: &[u8]) {
        // The gateway may have closed already; what it said is read all the same.
        let _ = self.tls.write_all(bytes).await;
        let _ = self.tls.flush().await;
    }

    /// Listens until there are so many final answers, or the gateway closes; true if it closed.
    async fn hear(&mut self, answers: usize) -> bool {
        let mut space = vec![0; 4096];
        while self.statuses().len() < answers {
            match tokio::time::timeout(SOON, self.tls.read(&mut space)).await.expect("in time") {
                Ok(count @ 1..) => self.heard.extend_from_slice(&space[..count]),
                Ok(0) | Err(_) => return true,
            }
        }
        false
    }

    /// True if nothing but the end of the connection comes.
    async fn ends(&mut self) -> bool {
        let before = self.statuses().len();
        self.hear(usize::MAX).await && self.statuses().len() == before
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// Without interim answers.
    fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let after = text.split("HTTP/1.1 ").skip(1);
        let all = after.map(|rest| rest.get(..3).unwrap_or("0").parse().unwrap_or(0));
        all.filter(|status| *status != 100).collect()
    }
}

async fn alice_in(world: &World) -> (Client, String) {
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (alice, world.kit.token("alice", "s1", world.now().seconds()))
}

async fn world() -> (World, Client, String) {
    let world = World::with(POLICY, PACK, "").await;
    let (alice, token) = alice_in(&world).await;
    (world, alice, token)
}

/// What reached the exchange, but for the sign-in of the test itself.
fn arrived(world: &World) -> Vec<(String, String)> {
    let seen = world.exchange.seen().into_iter();
    let of = seen.map(|seen| (format!("{} {}", seen.method, seen.target), seen.body));
    of.skip(1).map(|(line, body)| (line, String::from_utf8_lossy(&body).into_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_two_lengths_are_refused_and_what_follows_is_not_served() {
    let (world, alice, token) = world().await;
    let mut talk = Talk::open(&alice).await;
    talk.say(&writes("S40", &token)[0]).await;
    assert!(!talk.hear(1).await && talk.ends().await, "{}", talk.text());
    assert_eq!(talk.statuses(), [400]);
    assert_eq!(arrived(&world), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_an_unknown_upgrade_is_an_ordinary_request_and_the_next_stands_for_itself() {
    let (world, alice, token) = world().await;
    let mut talk = Talk::open(&alice).await;
    talk.say(&writes("S41", &token)[0]).await;
    talk.hear(2).await;
    // The second is for a host that is not ours.
    assert_eq!(talk.statuses(), [200, 421], "{}", talk.text());
    assert_eq!(arrived(&world), [("POST /a".to_owned(), "abc".to_owned())]);
    assert!(!world.exchange.seen()[1].headers.contains_key("upgrade"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s42_a_body_that_looks_like_a_request_is_a_body() {
    let (world, alice, token) = world().await;
    let mut talk = Talk::open(&alice).await;
    let bytes = writes("S42", &token).remove(0);
    talk.say(&bytes).await;
    talk.hear(1).await;
    talk.say(format!("GET /after HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    talk.hear(2).await;
    assert_eq!(talk.statuses(), [200, 200], "{}", talk.text());
    let inner = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(
        arrived(&world),
        [("GET /a".to_owned(), inner.to_owned()), ("GET /after".to_owned(), String::new())]
    );
    let guarded = String::from_utf8(bytes).unwrap().replace("GET /a ", &format!("GET {WITHDRAW} "));
    let mut talk = Talk::open(&alice).await;
    talk.say(guarded.as_bytes()).await;
    talk.hear(1).await;
    assert_eq!(talk.statuses(), [400], "{}", talk.text());
    assert_eq!(arrived(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_waiting_to_be_told_to_go_on_hides_no_request_in_the_body() {
    let (world, alice, token) = world().await;
    let mut talk = Talk::open(&alice).await;
    talk.say(&writes("S43", &token)[0]).await;
    talk.hear(1).await;
    talk.say(format!("GET /after HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    talk.hear(2).await;
    assert_eq!(talk.statuses(), [200, 200], "{}", talk.text());
    assert!(talk.text().starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{}", talk.text());
    let inner = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(
        arrived(&world),
        [("POST /a".to_owned(), inner.to_owned()), ("GET /after".to_owned(), String::new())]
    );
    assert!(!world.exchange.seen()[1].headers.contains_key("expect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s44_a_write_without_a_length_is_refused_and_what_follows_is_not_served() {
    let (world, alice, token) = world().await;
    let mut talk = Talk::open(&alice).await;
    talk.say(&writes("S44", &token)[0]).await;
    assert!(!talk.hear(1).await && talk.ends().await, "{}", talk.text());
    assert_eq!(talk.statuses(), [411]);
    assert_eq!(arrived(&world), []);
}

/// An upstream that says its answers one after the other, each after a head, whatever else comes.
#[derive(Clone)]
struct Scripted {
    address: SocketAddr,
    /// What each connection brought.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Scripted {
    async fn start(first: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = scripted.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                tokio::spawn(answer(stream, heard.clone(), number, first));
            }
        });
        scripted
    }

    fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn count(&self, what: &str) -> usize {
        self.heard().iter().map(|heard| heard.matches(what).count()).sum()
    }
}

/// Answers each head at once; `first` is for the withdrawals and WebSockets, 200 for the rest.
async fn answer(
    mut stream: TcpStream,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    number: usize,
    first: &'static str,
) {
    let (mut space, mut answered) = (vec![0; 4096], 0);
    while let Ok(count @ 1..) = stream.read(&mut space).await {
        let text = {
            let mut heard = heard.lock().unwrap();
            heard[number].extend_from_slice(&space[..count]);
            String::from_utf8_lossy(&heard[number]).into_owned()
        };
        let heads = text.matches("\r\n\r\n").count();
        for _ in answered..heads {
            let odd = text.contains(WITHDRAW) || text.starts_with("GET /ws ");
            let answer = if odd { first } else { OK };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        answered = heads;
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn s45_an_early_answer_is_nobody_elses() {
    let upstream =
        Scripted::start("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n").await;
    let world = World::in_front_of(upstream.address, POLICY, PACK).await;
    let (alice, token) = alice_in(&world).await;
    let bytes = writes("S45", &token).remove(0);
    let mut talk = Talk::open(&alice).await;
    talk.say(&bytes).await;
    talk.hear(1).await;
    assert_eq!(talk.statuses(), [401], "{}", talk.text());
    assert_eq!(upstream.count(WITHDRAW), 0);
    let text = talk.text();
    let at = text.find("step-up-challenge: ").unwrap() + "step-up-challenge: ".len();
    let challenge = text[at..].split("\r\n").next().unwrap();
    approve(&world, &alice, challenge).await;
    // The upstream hears nothing before the last byte is there.
    let mut talk = Talk::open(&alice).await;
    let (most, last) = bytes.split_at(bytes.len() - 1);
    talk.say(most).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = upstream.heard().len();
    assert_eq!(upstream.count(WITHDRAW), 0);
    talk.say(last).await;
    talk.hear(1).await;
    assert_eq!(talk.statuses(), [413], "{}", talk.text());
    assert_eq!((upstream.count(WITHDRAW), upstream.heard().len()), (1, before + 1));
    // Whoever comes next is answered on another connection.
    for _ in 0..3 {
        assert_eq!(alice.get("/next").await.status, 200);
    }
    let with_both = upstream.heard().into_iter().filter(|heard| heard.contains(WITHDRAW));
    assert!(with_both.map(|heard| heard.contains("/next")).eq([false]));
}

/// What the sequence's key is answered with.
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const NOT_FOR_THIS_KEY: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
const ANOTHER_PROTOCOL: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn s46_without_a_101_there_is_no_tunnel() {
    for (answer, first) in [(OK, 200), (NOT_FOR_THIS_KEY, 504), (ANOTHER_PROTOCOL, 504)] {
        let upstream = Scripted::start(answer).await;
        let world = World::in_front_of(upstream.address, POLICY, PACK).await;
        let (alice, token) = alice_in(&world).await;
        let mut talk = Talk::open(&alice).await;
        let writes = writes("S46", &token);
        talk.say(&writes.concat()).await;
        talk.hear(2).await;
        assert_eq!(talk.statuses(), [first, 401], "{}", talk.text());
        assert!(talk.text().contains("step-up-challenge: "));
        assert_eq!(upstream.count(WITHDRAW), 0, "{:?}", upstream.heard());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s47_a_request_inside_a_tunnel_goes_nowhere() {
    let upstream = Scripted::start(SWITCHED).await;
    let world = World::in_front_of(upstream.address, POLICY, PACK).await;
    let (alice, token) = alice_in(&world).await;
    let writes = writes("S47", &token);
    // After the 101, in one packet with the question, and after a frame that is one.
    for (first, then) in [
        (writes[0].clone(), writes[1].clone()),
        (writes.concat(), Vec::new()),
        (writes[0].clone(), [b"\x81\x80\x01\x02\x03\x04", &*writes[1]].concat()),
    ] {
        let mut talk = Talk::open(&alice).await;
        talk.say(&first).await;
        talk.hear(1).await;
        assert_eq!(talk.statuses(), [101], "{}", talk.text());
        talk.say(&then).await;
        assert!(talk.ends().await);
        // A close frame that says "protocol error".
        assert!(talk.heard.ends_with(&[0x88, 2, 0x03, 0xea]), "{:?}", talk.heard);
        assert_eq!(upstream.count(WITHDRAW), 0, "{:?}", upstream.heard());
    }
    assert_eq!(upstream.count("GET /ws "), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn s48_a_message_passes_where_no_pack_declares_operations() {
    let upstream = Scripted::start(SWITCHED).await;
    let world = World::in_front_of(upstream.address, POLICY, PACK).await;
    let (alice, token) = alice_in(&world).await;
    let writes = writes("S48", &token);
    let mut talk = Talk::open(&alice).await;
    talk.say(&writes[0]).await;
    talk.hear(1).await;
    talk.say(&writes[1]).await;
    let there = async {
        let arrived = || {
            let heard = upstream.heard.lock().unwrap();
            heard.iter().any(|heard| heard.ends_with(&writes[1]))
        };
        while !arrived() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, there).await.expect("it arrives as it was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn s49_a_guarded_body_that_drips_is_given_up() {
    let quick = |kit: &crate::kit::Kit| {
        let text = std::fs::read_to_string(kit.config()).unwrap();
        let defaults = stepgate::config::load(&kit.config()).unwrap();
        assert!(defaults.listen.body_timeout_ms <= 30_000);
        let text = text.replacen("[listen]\n", "[listen]\nbody_timeout_ms = 600\n", 1);
        std::fs::write(kit.config(), text).unwrap();
    };
    let world = World::edited(POLICY, PACK, "", quick).await;
    let (alice, token) = alice_in(&world).await;
    let bytes = writes("S49", &token).remove(0);
    let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut talk = Talk::open(&alice).await;
    talk.say(&bytes[..body]).await;
    // Each byte is in time, all of them together are not.
    for byte in &bytes[body..] {
        talk.say(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!talk.hear(1).await && talk.ends().await, "{}", talk.text());
    assert_eq!(talk.statuses(), [408], "{}", talk.text());
    // The same over HTTP/2, where the connection goes on.
    let mut raw = Raw::open(&alice, &[]).await;
    let head = withdrawal(&token);
    let mut open = request(1, &head, Some(b"{"));
    let end = open.len() - 10 + 4;
    open[end] = 0;
    raw.write(&open).await;
    raw.read(&[1], SOON).await;
    assert_eq!(raw.streams[&1].status, Some(408), "{}", raw.streams[&1].text());
    raw.write(&request(3, &head, Some(BODY.as_bytes()))).await;
    raw.read(&[3], SOON).await;
    assert_eq!(raw.streams[&3].status, Some(401), "{}", raw.streams[&3].text());
    // The same at the gateway's own addresses: a code that drips in.
    let id: Value = serde_json::from_slice(&raw.streams[&3].body).unwrap();
    let own = format!(
        "POST /.stepgate/challenge/{}/answer HTTP/1.1\r\nHost: {HOST}\r\n\
         Authorization: Bearer {token}\r\nX-Forwarded-For: {TOKYO}\r\n\
         Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{",
        id["challenge_id"].as_str().unwrap()
    );
    let mut talk = Talk::open(&alice).await;
    talk.say(own.as_bytes()).await;
    talk.hear(1).await;
    assert_eq!(talk.statuses(), [408], "{}", talk.text());
    assert_eq!(arrived(&world), []);
}

const BODY: &str = r#"{"amt":"9999","ccy":"BTC","toAddr":"EVIL"}"#;

fn withdrawal(token: &str) -> Vec<(String, String)> {
    fields(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", WITHDRAW),
        ("content-type", "application/json"),
        ("authorization", &format!("Bearer {token}")),
        ("x-forwarded-for", TOKYO),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn s50_one_approval_in_one_packet_twice_is_used_once() {
    let (world, alice, token) = world().await;
    let head = withdrawal(&token);
    for round in 1..=10 {
        let asked = alice.post_json(WITHDRAW, BODY).await;
        approve(&world, &alice, &asked.challenge()).await;
        let mut raw = Raw::open(&alice, &[]).await;
        let streams: Vec<u32> = (0..4).map(|n| n * 2 + 1).collect();
        let all: Vec<u8> =
            streams.iter().flat_map(|id| request(*id, &head, Some(BODY.as_bytes()))).collect();
        raw.write(&all).await;
        raw.read(&streams, SOON).await;
        let mut statuses: Vec<_> = raw.streams.values().map(|got| got.status.unwrap()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401, 401]);
        assert_eq!(world.exchange.seen_at(WITHDRAW).len(), round);
        world.wait_s(600);
    }
}
