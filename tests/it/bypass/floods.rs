//! Floods of HTTP/2 frames at the gateway as its own process: whoever sends one is shown out, nobody
//! else notices, and no memory is kept.

use std::time::Duration;

use tempfile::TempDir;

use crate::binary::Binary;
use crate::client::Client;
use crate::exchange::{Exchange, Reply};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, block, fields, frame, request,
};
use crate::kit::{HOST, Kit, Options, POLICY};
use crate::vectors::PACK;

/// More than any of them may take. A flood that was kept would be hundreds of MiB.
const MEMORY_KB: u64 = 48 * 1024;
const CONNECTIONS: usize = 3;
const SOON: Duration = Duration::from_secs(20);

struct Attacked {
    gateway: Binary,
    exchange: Exchange,
    client: Client,
    _dir: TempDir,
}

impl Attacked {
    async fn start(listen: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let exchange = Exchange::start().await;
        let options = Options {
            upstream: exchange.address,
            policy: POLICY,
            pack: PACK,
            extra: "",
            workers: 1,
            sms: false,
        };
        let kit = Kit::write(dir.path(), &options);
        let text = std::fs::read_to_string(kit.config()).unwrap();
        std::fs::write(
            kit.config(),
            text.replacen("[listen]\n", &format!("[listen]\n{listen}\n"), 1),
        )
        .unwrap();
        let gateway = Binary::start(&kit, Binary::place(&kit)).await;
        let client = gateway.client(&kit, "x-bystander", "1");
        let attacked = Self { gateway, exchange, client, _dir: dir };
        attacked.serves().await;
        attacked
    }

    /// Somebody else is answered.
    async fn serves(&self) {
        for _ in 0..3 {
            assert_eq!(self.client.get("/bystander").await.status, 200);
            assert_eq!(self.client.send_h2("GET", "/bystander", "").await.status, 200);
        }
    }

    /// Sends what `parts` gives on several connections, one part per write, until the gateway takes no more of it;
    /// meanwhile others are served.
    async fn flood(&self, mut parts: impl FnMut(u32) -> Vec<u8>, count: u32) {
        let before = self.gateway.memory_kb();
        for _ in 0..CONNECTIONS {
            let mut raw = Raw::open(&self.client, &[]).await;
            let mut sent = 0;
            while sent < count && raw.write(&parts(sent)).await {
                sent += 1;
                raw.read(&[0], Duration::from_millis(1)).await;
                if raw.away.is_some() || raw.closed {
                    break;
                }
                if sent % 50 == 25 {
                    assert_eq!(self.client.get("/bystander").await.status, 200);
                }
            }
            raw.read(&[0], SOON).await;
            assert!(raw.closed, "after {sent} parts: {:?}", raw.away);
            assert!(sent < count, "it took everything and closed only when it was done");
        }
        self.serves().await;
        let after = self.gateway.memory_kb();
        assert!(after < before + MEMORY_KB, "{before} kB, then {after} kB");
    }
}

fn get(path: &str) -> Vec<(String, String)> {
    fields(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)])
}

fn post(path: &str) -> Vec<(String, String)> {
    fields(&[(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", path)])
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread")]
async fn streams_opened_and_reset_at_once() {
    let attacked = Attacked::start("").await;
    let open_and_reset = |part: u32| -> Vec<u8> {
        let streams = (0..100).map(|n| (part * 100 + n) * 2 + 1);
        let both = |id| {
            let open = request(id, &get("/reset"), None);
            [open, frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        };
        streams.flat_map(both).collect()
    };
    attacked.flood(open_and_reset, 1_000).await;
    let seen = attacked.exchange.seen_at("/reset").len();
    assert!(seen < 1_500, "{seen} of {} requests reached the exchange", 100_000 * CONNECTIONS);
}

/// The same, each time waiting until the requests are on their way upstream, which the library does not count.
#[tokio::test(flavor = "multi_thread")]
async fn streams_reset_once_they_are_under_way() {
    let attacked = Attacked::start("").await;
    let before = attacked.gateway.memory_kb();
    let (mut raw, mut sent) = (Raw::open(&attacked.client, &[]).await, 0);
    while sent < 10_000 && raw.away.is_none() && !raw.closed {
        let streams: Vec<u32> = (sent..sent + 50).map(|n| n * 2 + 1).collect();
        let open = streams.iter().flat_map(|id| request(*id, &get("/reset"), None));
        let open: Vec<u8> = open.chain(frame(PING, 0, 0, &[7; 8])).collect();
        let acks = raw.acks;
        raw.write(&open).await;
        while raw.acks == acks && raw.away.is_none() && !raw.closed {
            raw.read(&[0], Duration::from_millis(5)).await;
        }
        let reset = streams.iter().flat_map(|id| frame(RST_STREAM, 0, *id, &[0, 0, 0, 8]));
        raw.write(&reset.collect::<Vec<u8>>()).await;
        sent += 50;
    }
    raw.read(&[0], SOON).await;
    assert!(raw.closed, "it took {sent} and is still there");
    assert!(sent < 10_000, "it took all of them");
    let seen = attacked.exchange.seen_at("/reset").len();
    assert!(seen < 5_000, "{seen} requests reached the exchange");
    attacked.serves().await;
    let after = attacked.gateway.memory_kb();
    assert!(after < before + MEMORY_KB, "{before} kB, then {after} kB");
}

/// CVE-2025-8671: the gateway is made to reset the streams itself.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_the_gateway_is_made_to_reset() {
    let attacked = Attacked::start("").await;
    let no_increment = |part: u32| {
        let id = part * 2 + 1;
        let open = frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&get("/made")));
        [open, frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat()
    };
    attacked.flood(no_increment, 2_000).await;
    let too_wide = |part: u32| {
        let id = part * 2 + 1;
        let open = frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&get("/made")));
        [open, frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes())].concat()
    };
    attacked.flood(too_wide, 2_000).await;
    let depends_on_itself = |part: u32| {
        let id = part * 2 + 1;
        let open = frame(HEADERS, END_HEADERS, id, &block(&post("/made")));
        let itself = [id.to_be_bytes().as_slice(), &[1]].concat();
        [open, frame(PRIORITY, 0, id, &itself)].concat()
    };
    attacked.flood(depends_on_itself, 2_000).await;
    let seen = attacked.exchange.seen_at("/made").len();
    assert!(seen < 1_000, "{seen} requests reached the exchange");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_carry_nothing() {
    let attacked = Attacked::start("").await;
    attacked.flood(|_| frame(SETTINGS, 0, 0, &[]).repeat(100), 500).await;
    attacked.flood(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(100), 500).await;
    attacked.flood(|_| frame(PING, 0, 0, &[7; 8]).repeat(1_000), 500).await;
    attacked.flood(|_| frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1]).repeat(1_000), 500).await;
    attacked.flood(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(1_000), 500).await;
    attacked.flood(|_| frame(GOAWAY, 0, 0, &[0; 8]).repeat(100), 500).await;
    attacked.flood(|_| frame(0x99, 0, 0, &[0; 8]).repeat(1_000), 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_an_end() {
    let attacked = Attacked::start("").await;
    let small = |part: u32| match part {
        0 => frame(HEADERS, 0, 1, &block(&get("/endless"))),
        _ => frame(CONTINUATION, 0, 1, &block(&fields(&[("x", "y")]))),
    };
    attacked.flood(small, 1_000).await;
    let empty = |part: u32| match part {
        0 => frame(HEADERS, 0, 1, &block(&get("/endless"))),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    attacked.flood(empty, 1_000).await;
    let long = "a".repeat(16_000);
    let large = |part: u32| match part {
        0 => frame(HEADERS, 0, 1, &block(&get("/endless"))),
        _ => frame(CONTINUATION, 0, 1, &block(&fields(&[("x", &long)]))),
    };
    attacked.flood(large, 1_000).await;
    // One name of 1 GiB, of which the pieces come one by one.
    let name = |part: u32| match part {
        0 => frame(HEADERS, 0, 1, &[0, 127, 0x81, 0xff, 0xff, 0xff, 3]),
        _ => frame(CONTINUATION, 0, 1, &[b'a'; 16_000]),
    };
    attacked.flood(name, 1_000).await;
    assert!(attacked.exchange.seen_at("/endless").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_carries_nothing() {
    let attacked = Attacked::start("").await;
    let empty = |part: u32| match part {
        0 => frame(HEADERS, END_HEADERS, 1, &block(&post("/empty"))),
        _ => frame(DATA, 0, 1, &[]).repeat(100),
    };
    attacked.flood(empty, 1_000).await;
    // Nothing but padding: 255 bytes of it in each frame.
    let padding = [[255].as_slice(), &[0; 255]].concat();
    let padded = |part: u32| match part {
        0 => frame(HEADERS, END_HEADERS, 1, &block(&post("/empty"))),
        _ => frame(DATA, 8, 1, &padding).repeat(100),
    };
    attacked.flood(padded, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_list_has_a_limit() {
    let attacked = Attacked::start("").await;
    for (length, allowed) in [(30_000, true), (40_000, false), (1_000_000, false)] {
        let mut list = get("/long");
        let field = ("x-long".to_owned(), "a".repeat(4_000));
        list.extend(std::iter::repeat_n(field, length / 4_000));
        let whole = block(&list);
        let mut pieces = whole.chunks(16_000).peekable();
        let mut bytes = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, end, 1, piece));
        }
        let mut raw = Raw::open(&attacked.client, &[]).await;
        raw.write(&bytes).await;
        raw.read(&[1], SOON).await;
        let got = raw.streams.remove(&1).unwrap_or_default();
        let said_no = got.status == Some(431) || got.reset.is_some() || raw.closed;
        assert_eq!((got.status == Some(200), said_no), (allowed, !allowed), "{length} {got:?}");
    }
    assert_eq!(attacked.exchange.seen_at("/long").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_streams_at_once_and_no_more() {
    let attacked = Attacked::start("").await;
    for _ in 0..128 {
        attacked.exchange.will(Reply::After(Duration::from_secs(3)));
    }
    let mut raw = Raw::open(&attacked.client, &[]).await;
    let streams: Vec<u32> = (0..200).map(|n| n * 2 + 1).collect();
    let all: Vec<u8> = streams.iter().flat_map(|id| request(*id, &get("/many"), None)).collect();
    raw.write(&all).await;
    raw.read(&streams, SOON).await;
    let answered = raw.streams.values().filter(|got| got.status == Some(200)).count();
    // REFUSED_STREAM: may be tried again (RFC 9113 §8.7).
    let refused = raw.streams.values().filter(|got| got.reset == Some(7)).count();
    assert_eq!((answered, refused), (128, 72));
    assert_eq!(attacked.exchange.seen_at("/many").len(), 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_answer_loses_it_and_nothing_else() {
    let attacked = Attacked::start("stall_timeout_ms = 400").await;
    // INITIAL_WINDOW_SIZE: nothing of any answer.
    let mut raw = Raw::open(&attacked.client, &[(4, 0)]).await;
    raw.write(&request(1, &get("/stalled"), None)).await;
    raw.read(&[1], SOON).await;
    let got = raw.streams[&1].clone();
    assert_eq!((got.status, got.ended, got.reset.is_some()), (Some(200), false, true), "{got:?}");
    // The connection goes on, and an answer that is taken late comes whole.
    raw.write(&request(3, &get("/stalled"), None)).await;
    raw.write(&frame(WINDOW_UPDATE, 0, 3, &1_000_u32.to_be_bytes())).await;
    raw.read(&[3], SOON).await;
    let got = raw.streams[&3].clone();
    assert_eq!((got.status, got.ended, got.reset), (Some(200), true, None), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_a_long_answer_frees_the_upstream() {
    use tokio::io::AsyncWriteExt;
    let attacked = Attacked::start("stall_timeout_ms = 400").await;
    let long: &'static str = Box::leak("a".repeat(40_000_000).into_boxed_str());
    // The window of the connection as a whole stays at 64 KiB.
    attacked.exchange.will(Reply::Answer(200, long));
    let mut raw = Raw::open(&attacked.client, &[(4, 0x7fff_ffff)]).await;
    raw.write(&request(1, &get("/long"), None)).await;
    raw.read(&[1], SOON).await;
    let got = raw.streams[&1].clone();
    assert!(got.reset.is_some() && got.body.len() <= 65_535, "{} bytes", got.body.len());
    // Over HTTP/1.1 the client just does not read.
    attacked.exchange.will(Reply::Answer(200, long));
    let mut tls = attacked.client.connect(&[]).await.unwrap();
    let head = format!("GET /long HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    tls.write_all(head.as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    attacked.closes(&tls.get_ref().0.local_addr().unwrap()).await;
    attacked.serves().await;
}

impl Attacked {
    /// Waits until the gateway has given up its end of this client's connection.
    async fn closes(&self, client: &std::net::SocketAddr) {
        let of = |port: u16| format!(":{port:04X} ");
        let (mine, its) = (of(client.port()), of(self.gateway.address.port()));
        let begun = std::time::Instant::now();
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            // Its own end: local is the gateway's port. 01 is ESTABLISHED.
            let open = table.lines().any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let ends = [words.next().unwrap_or(""), words.next().unwrap_or("")];
                let state = words.next().unwrap_or("");
                ends[0].ends_with(its.trim()) && ends[1].ends_with(mine.trim()) && state == "01"
            });
            if !open {
                return;
            }
            assert!(begun.elapsed() < SOON, "it still waits");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
