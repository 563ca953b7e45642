//! Large bodies in constant memory, measured at a gateway process of its own.
//!
//! `STREAM_MIB` says how much goes each way over each protocol; the default makes 1 GiB together.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;

use super::{PACK, RULES};
use crate::client::Client;
use crate::kit::{HOST, Kit, Options};

/// The bytes that bodies repeat. A prime number of them, so that no buffer's size hides a gap.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    (0..65_521_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
});

/// A body of unknown length; counts what was taken from it.
pub struct Pour {
    left: u64,
    at: usize,
    taken: Arc<AtomicU64>,
}

impl Pour {
    pub fn of(bytes: u64) -> Self {
        Self { left: bytes, at: 0, taken: Arc::default() }
    }
}

impl Body for Pour {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let rest = PATTERN.slice(self.at..);
        let chunk = rest.slice(..rest.len().min(usize::try_from(self.left).unwrap()));
        self.at = (self.at + chunk.len()) % PATTERN.len();
        self.left -= chunk.len() as u64;
        self.taken.fetch_add(chunk.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

/// Reads a poured body to its end, after a pause in which only buffers can fill. Answers its length and how far
/// ahead the other end got in the pause.
async fn drink(mut body: Incoming, taken: &AtomicU64) -> (u64, u64) {
    let (mut total, mut at, mut ahead) = (0, 0, None);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PATTERN.len() - at));
            assert!(now == &PATTERN[at..at + now.len()], "other bytes at {total}");
            (at, rest) = ((at + now.len()) % PATTERN.len(), later);
            total += now.len() as u64;
        }
        if ahead.is_none() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            ahead = Some(taken.load(Relaxed));
        }
    }
    (total, ahead.unwrap_or(0))
}

type Boxed = BoxBody<Bytes, Infallible>;

/// `GET` pours, anything else drinks and answers with its two numbers.
async fn upstream(bytes: u64, taken: Arc<AtomicU64>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = taken.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let taken = taken.clone();
                async move {
                    let body: Boxed = if request.method() == Method::GET {
                        Pour { taken, ..Pour::of(bytes) }.boxed()
                    } else {
                        let (total, ahead) = drink(request.into_body(), &taken).await;
                        Full::from(format!("{total} {ahead}")).boxed()
                    };
                    Ok::<_, Infallible>(Response::new(body))
                }
            });
            let io = TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    address
}

/// A gateway in a process of its own.
struct Process {
    child: Child,
    client: Client,
    _dir: TempDir,
}

impl Process {
    async fn start(upstream: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let options =
            Options { upstream, policy: RULES, pack: PACK, extra: "", workers: 1, sms: false };
        let kit = Kit::write(dir.path(), &options);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap();
        let config = std::fs::read_to_string(kit.config()).unwrap();
        let config = config.replacen("127.0.0.1:0", &free.to_string(), 1);
        std::fs::write(kit.config(), config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stepgate"))
            .args(["serve", "-c"])
            .arg(kit.config())
            .env("STEPGATE_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, client: Client::new(free, &kit.ca_pem, HOST), _dir: dir };
        for _ in 0..600 {
            if process.client.connect(&[]).await.is_ok() {
                return process;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing listens on {free}");
    }

    /// The most memory that it ever held; the kernel's sum over its cores can be some pages off, either way.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    async fn send(&self, h2: bool, request: Request<Boxed>) -> Response<Incoming> {
        if h2 {
            let stream = TokioIo::new(self.client.connect(&[b"h2"]).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(1 << 20)
                    .handshake(stream)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            return sender.send_request(request).await.unwrap();
        }
        let stream = TokioIo::new(self.client.connect(&[]).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    /// One large body down or up; answers its length and how far the sender got ahead.
    async fn carry(&self, h2: bool, up: bool, bytes: u64, taken: &Arc<AtomicU64>) -> (u64, u64) {
        taken.store(0, Relaxed);
        let target = if h2 { format!("https://{HOST}/large") } else { "/large".to_owned() };
        let request = Request::builder().uri(target).header("host", HOST);
        if !up {
            let body = Empty::new().boxed();
            let response = self.send(h2, request.body(body).unwrap()).await;
            assert_eq!(response.status(), 200);
            return drink(response.into_body(), taken).await;
        }
        let body = Pour { taken: taken.clone(), ..Pour::of(bytes) }.boxed();
        let response = self.send(h2, request.method("POST").body(body).unwrap()).await;
        assert_eq!(response.status(), 200);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let (total, ahead) = std::str::from_utf8(&text).unwrap().split_once(' ').unwrap();
        (total.parse().unwrap(), ahead.parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_stream_in_constant_memory() {
    let mib = std::env::var("STREAM_MIB").map_or(256, |mib| mib.parse::<u64>().unwrap());
    let (bytes, taken) = (mib << 20, Arc::new(AtomicU64::new(0)));
    let process = Process::start(upstream(bytes, taken.clone()).await).await;
    // One small round first: certificates, pools and tables are no growth.
    for h2 in [false, true] {
        process.carry(h2, true, 1 << 20, &taken).await;
    }
    let before = process.peak_kib();
    for (h2, up) in [(false, false), (false, true), (true, false), (true, true)] {
        let (started, had) = (Instant::now(), process.peak_kib());
        let (total, ahead) = process.carry(h2, up, bytes, &taken).await;
        assert_eq!(total, bytes);
        let (name, way) = (if h2 { "h2" } else { "h1" }, if up { "up" } else { "down" });
        let (secs, grew) =
            (started.elapsed().as_secs_f64(), process.peak_kib().saturating_sub(had));
        println!(
            "{name} {way}: {mib} MiB in {secs:.1} s, {} KiB ahead, grew {grew} KiB",
            ahead >> 10
        );
        assert!(ahead < AHEAD_MAX, "{name} {way}: {ahead} bytes were swallowed in the pause");
    }
    let grew = process.peak_kib().saturating_sub(before);
    println!("peak {before} KiB, grew {grew} KiB");
    assert!(grew < GROWTH_KIB_MAX, "grew {grew} KiB from {before} KiB");
}

/// Far less than any of the bodies: the buffers of a few streams.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// Socket buffers of two hops and the windows of HTTP/2.
const AHEAD_MAX: u64 = 48 << 20;
