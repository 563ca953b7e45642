//! Connections to upstreams, kept for the next request.
//!
//! Never shared between cores: each worker has its own pool, so its locks are never waited for.
//! Invariant: what is kept has answered its last request completely.

use std::collections::HashMap;
use std::future::Future;
use std::io::{Error as IoError, Result as IoResult};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foldhash::quality::RandomState;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::TlsConnector;

use super::Cause;
use super::body::Outgoing;
use super::upstream::{Address, Upstream};
use crate::crypto::tls_provider;

/// How upstreams are waited for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name look-up, TCP and TLS together, for each address.
    pub connect_timeout_ms: u64,
    /// From the last byte of the request to the head of the answer.
    pub answer_timeout_ms: u64,
    pub guarded_answer_timeout_ms: u64,
    /// Idle connections per address and worker.
    pub idle_max: usize,
    pub idle_timeout_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 2_000,
            answer_timeout_ms: 30_000,
            guarded_answer_timeout_ms: 30_000,
            idle_max: 256,
            idle_timeout_ms: 60_000,
        }
    }
}

/// Whose certificates an `https` upstream may show.
#[derive(Clone, Debug)]
pub struct Trust {
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl Trust {
    /// # Errors
    /// When TLS itself cannot be set up.
    pub fn new(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let mut h1 = ClientConfig::builder_with_provider(tls_provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut h2 = h1.clone();
        h1.alpn_protocols = vec![b"http/1.1".to_vec()];
        h2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { h1: Arc::new(h1), h2: Arc::new(h2) })
    }

    /// The machine's own roots; those that cannot be read are left out.
    ///
    /// # Errors
    /// When TLS itself cannot be set up.
    pub fn system() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::new(roots)
    }
}

/// One worker's connections to every upstream.
pub struct Pool {
    pub(super) settings: Settings,
    trust: Trust,
    /// HTTP/1.1: one request at a time each, the last used at the end. By address name.
    idle: Mutex<HashMap<Arc<str>, Vec<Idle>, RandomState>>,
    /// HTTP/2: one connection for all requests. By address name.
    shared: Mutex<HashMap<Arc<str>, http2::SendRequest<Outgoing>>>,
    sweeping: AtomicBool,
}

struct Idle {
    sender: http1::SendRequest<Outgoing>,
    alarm: Alarm,
    /// When its last exchange began.
    since: Instant,
}

/// The timer of a connection's exchanges. It stays set from one to the next: most answers come long before it rings, and
/// when it rings too early it is set again, which costs less than one timer for each request.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when `deadline` has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// A connection in use.
pub(super) struct Line {
    sender: Sender,
    address: Arc<str>,
    /// It carried requests before, so the upstream may have closed it meanwhile.
    pub(super) reused: bool,
    /// When it was taken for the exchange that it is in.
    pub(super) since: Instant,
    alarm: Alarm,
}

enum Sender {
    H1(http1::SendRequest<Outgoing>),
    H2(http2::SendRequest<Outgoing>),
}

/// How a new connection will be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    H1,
    H1Upgrade,
    /// For all requests from now on.
    H2,
    /// For one request.
    H2Alone,
}

/// The answer's head; or the request back, if nothing of it was written.
type Sent = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>;
/// Boxed because it holds a request, and would be moved with whatever waits for it.
type Answering = Pin<Box<dyn Future<Output = Sent> + Send>>;

impl Line {
    /// The answer to come, and the timer to wait with.
    pub(super) fn send(&mut self, request: Request<Outgoing>) -> (Answering, &mut Alarm) {
        let answering: Answering = match &mut self.sender {
            Sender::H1(sender) => Box::pin(sender.try_send_request(request)),
            Sender::H2(sender) => Box::pin(sender.try_send_request(request)),
        };
        (answering, &mut self.alarm)
    }
}

impl Pool {
    pub fn new(settings: Settings, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            settings,
            trust,
            idle: Mutex::default(),
            shared: Mutex::default(),
            sweeping: AtomicBool::new(false),
        })
    }

    /// A connection to the address whose turn it is, kept or new; on to the next if it cannot be
    /// reached.
    pub(super) async fn line(&self, upstream: &Upstream) -> Result<Line, Cause> {
        let usage = if upstream.h2 { Use::H2 } else { Use::H1 };
        let now = Instant::now();
        self.reach(upstream, usage, |address| self.kept(address, usage, now)).await
    }

    /// A new connection. With `share`, later requests may use it too if it speaks HTTP/2.
    pub(super) async fn fresh(&self, upstream: &Upstream, share: bool) -> Result<Line, Cause> {
        let usage = match (upstream.h2, share) {
            (true, true) => Use::H2,
            (true, false) => Use::H2Alone,
            (false, _) => Use::H1,
        };
        self.reach(upstream, usage, |_| None).await
    }

    /// A new HTTP/1.1 connection that may stop being HTTP.
    pub(super) async fn fresh_for_upgrade(&self, upstream: &Upstream) -> Result<Line, Cause> {
        self.reach(upstream, Use::H1Upgrade, |_| None).await
    }

    async fn reach(
        &self,
        upstream: &Upstream,
        usage: Use,
        kept: impl Fn(&Address) -> Option<Line>,
    ) -> Result<Line, Cause> {
        let mut trouble = Cause::NoAddress;
        for address in upstream.in_turn() {
            if let Some(line) = kept(address) {
                return Ok(line);
            }
            let limit = Duration::from_millis(self.settings.connect_timeout_ms);
            // Boxed because it is large and rare: every request would carry it about otherwise.
            let dial = Box::pin(self.dial(address, usage));
            trouble = match tokio::time::timeout(limit, dial).await {
                Ok(Ok(sender)) => {
                    address.mark_reachable(true);
                    let (address, alarm) = (address.name.clone(), Alarm::default());
                    let since = Instant::now();
                    return Ok(Line { sender, address, reused: false, since, alarm });
                }
                Ok(Err(source)) => Cause::Connect { address: address.name.clone(), source },
                Err(_) => Cause::ConnectTimeout(address.name.clone()),
            };
            address.mark_reachable(false);
            tracing::warn!(error = %trouble, "upstream not reached");
        }
        Err(trouble)
    }

    async fn dial(&self, address: &Address, usage: Use) -> IoResult<Sender> {
        let tcp = TcpStream::connect((&*address.host, address.port)).await?;
        tcp.set_nodelay(true)?;
        let sender = match &address.tls {
            None => handshake(tcp, usage).await.map_err(IoError::other)?,
            Some(name) => {
                let h2 = matches!(usage, Use::H2 | Use::H2Alone);
                let config = if h2 { &self.trust.h2 } else { &self.trust.h1 };
                let connector = TlsConnector::from(config.clone());
                let tls = connector.connect(name.clone(), tcp).await?;
                if h2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(IoError::other("the upstream does not speak HTTP/2"));
                }
                handshake(tls, usage).await.map_err(IoError::other)?
            }
        };
        if let (Use::H2, Sender::H2(sender)) = (usage, &sender) {
            lock(&self.shared).insert(address.name.clone(), sender.clone());
        }
        Ok(sender)
    }

    fn kept(&self, address: &Address, usage: Use, now: Instant) -> Option<Line> {
        let (sender, alarm) = match usage {
            Use::H2 => {
                let shared = lock(&self.shared);
                let sender = shared.get(&address.name).filter(|sender| !sender.is_closed());
                (Sender::H2(sender?.clone()), Alarm::default())
            }
            _ => {
                let idle = self.take_idle(&address.name, now)?;
                (Sender::H1(idle.sender), idle.alarm)
            }
        };
        Some(Line { sender, address: address.name.clone(), reused: true, since: now, alarm })
    }

    /// The last one kept that is ready. One that is not yet stays: its last exchange is being put
    /// away. Only what is taken is looked at closely: with many kept, looking at all of them would
    /// cost more than the request.
    fn take_idle(&self, name: &Arc<str>, now: Instant) -> Option<Idle> {
        let mut idle = lock(&self.idle);
        let kept = idle.get_mut(name)?;
        let usable = |idle: &Idle| idle.sender.is_ready() || idle.sender.is_closed();
        while let Some(at) = kept.iter().rposition(usable) {
            let last = kept.remove(at);
            if self.is_fresh(&last, now) {
                return Some(last);
            }
        }
        None
    }

    /// Puts a connection back whose answer has been read to the end.
    pub(super) fn keep(self: &Arc<Self>, line: Line) {
        let Sender::H1(sender) = line.sender else { return };
        if sender.is_closed() || self.settings.idle_max == 0 {
            return;
        }
        let mut idle = lock(&self.idle);
        let kept = idle.entry(line.address).or_default();
        if kept.len() >= self.settings.idle_max {
            kept.remove(0);
        }
        kept.push(Idle { sender, alarm: line.alarm, since: line.since });
        if !self.sweeping.swap(true, Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout()));
        }
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        !idle.sender.is_closed() && now.duration_since(idle.since) < self.idle_timeout()
    }

    fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.idle_timeout_ms)
    }
}

/// Closes what lay idle too long, until nothing is kept any more.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        tokio::time::sleep(every.max(SWEEP_AT_MOST_EVERY)).await;
        let Some(pool) = pool.upgrade() else { return };
        let (mut idle, now) = (lock(&pool.idle), Instant::now());
        idle.retain(|_, kept| {
            kept.retain(|idle| pool.is_fresh(idle, now));
            !kept.is_empty()
        });
        if idle.is_empty() {
            pool.sweeping.store(false, Relaxed);
            return;
        }
    }
}

/// Begins HTTP on a connection and leaves it to a task of its own, which ends with it.
async fn handshake<T>(io: T, usage: Use) -> hyper::Result<Sender>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(io);
    match usage {
        Use::H1 | Use::H1Upgrade => {
            let mut builder = http1::Builder::new();
            // Most requests are one piece, and `writev` of one piece costs more than `send`.
            builder.max_buf_size(H1_BUFFER_BYTES).writev(false);
            let (sender, connection) = builder.handshake(io).await?;
            if usage == Use::H1Upgrade {
                tokio::spawn(log_end(connection.with_upgrades()));
            } else {
                tokio::spawn(log_end(connection));
            }
            Ok(Sender::H1(sender))
        }
        Use::H2 | Use::H2Alone => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .initial_stream_window_size(H2_STREAM_WINDOW)
                .initial_connection_window_size(H2_CONNECTION_WINDOW)
                .max_header_list_size(H2_HEADER_BYTES)
                .max_send_buf_size(H2_SEND_BUFFER)
                .keep_alive_interval(H2_PING_EVERY)
                .keep_alive_timeout(H2_PING_TIMEOUT);
            let (sender, connection) = builder.handshake(io).await?;
            tokio::spawn(log_end(connection));
            Ok(Sender::H2(sender))
        }
    }
}

async fn log_end(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "upstream connection ended");
    }
}

/// A panic while a lock is held leaves at worst one connection too many or too few behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SWEEP_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// What is read at once of a large answer, and what a client that reads slowly can make us hold. Twice as much saves
/// nothing; half of it costs a tenth more CPU on 1 MiB.
const H1_BUFFER_BYTES: usize = 128 * 1024;
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_HEADER_BYTES: u32 = 64 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
impl Pool {
    pub(super) fn keeps_any(&self) -> bool {
        !lock(&self.idle).is_empty()
    }
}
