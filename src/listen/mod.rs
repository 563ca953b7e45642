//! The public side: one single-threaded runtime per core, each with its own socket on the same
//! port.
//!
//! Never decides anything about a request: it hands a well-formed one to a `Handler` and writes
//! what comes back. Invariant: every wait for a client has a deadline and every count a limit, and
//! after `stop` no new request is begun while those under way may finish.

pub mod certs;
mod frames;
pub(crate) mod head;
mod http;
mod io;
mod patience;
pub mod peer;
mod pulse;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
pub mod validity;

use std::future::Future;
use std::io::Result as IoResult;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Body;
use certs::Certificates;

/// How the public listener behaves. Zero means zero: no connection, no time.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: SocketAddr,
    /// One thread, runtime and socket each; at least one.
    pub workers: usize,
    /// Every connection begins with a PROXY header, and comes from `trusted_proxies`.
    pub proxy_protocol: bool,
    pub trusted_proxies: Vec<IpNet>,
    /// Open client sockets, shared out evenly among the workers.
    pub connections_max: usize,
    /// PROXY header and TLS handshake together.
    pub handshake_timeout_ms: u64,
    /// From a request's first byte to the end of its head, and from the handshake to the first
    /// request.
    pub header_timeout_ms: u64,
    /// How long a client may take nothing of an answer that waits for it.
    pub stall_timeout_ms: u64,
    /// How long a connection may stay open with no request under way.
    pub idle_timeout_ms: u64,
    /// How long requests under way may take to finish after `stop`.
    pub drain_timeout_ms: u64,
}

impl Settings {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            connections_max: 20_000,
            handshake_timeout_ms: 10_000,
            header_timeout_ms: 10_000,
            stall_timeout_ms: 60_000,
            idle_timeout_ms: 75_000,
            drain_timeout_ms: 30_000,
        }
    }
}

/// What answers requests. One value per worker, so what it holds is never shared between cores.
pub trait Handler: Send + Sync + 'static {
    /// What the handler remembers of one connection; made empty when the connection is.
    type Place: Default + Send + Sync + 'static;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection<Self::Place>>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// The answer to what never reaches `handle`: a method, target, length or expectation that is
    /// never served, an HTTP/2 request that contradicts itself, and 500 after a panic. A malformed
    /// HTTP/1 head is answered 400 or 431 by the HTTP library alone. An HTTP/1 connection ends after
    /// it.
    fn refuse(
        &self,
        status: StatusCode,
        _connection: &Arc<Connection<Self::Place>>,
    ) -> Response<Body> {
        http::plain(status)
    }

    /// A client's socket was opened. What is returned is dropped when it is closed, tunnels included.
    fn opened(&self) -> Open {
        Box::new(())
    }

    /// A client's PROXY header or handshake failed or took too long.
    fn handshake_failed(&self) {}
}

/// Held while a client's socket is open.
pub type Open = Box<dyn Send + Sync>;

/// What is known of the connection that a request came on.
#[derive(Debug)]
pub struct Connection<P> {
    /// The socket's peer, or who the trusted PROXY header says it is.
    pub peer: SocketAddr,
    /// The name the client asked for in its TLS hello, in lower case.
    pub sni: Option<Arc<str>>,
    pub h2: bool,
    pub place: P,
    /// Work that must end even if the client goes away; the worker waits for it when it drains.
    pub tasks: TaskTracker,
    /// Cancelled when the worker begins to drain.
    pub stop: CancellationToken,
}

/// A listener at work.
pub struct Listening {
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Listening {
    /// The bound address, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every worker has drained, which begins when the token given to `run` is
    /// cancelled. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// Binds, then serves on one thread per worker. `make` is called once per worker, inside its
/// runtime.
///
/// # Errors
/// When the address cannot be bound or a thread or runtime cannot be made; nothing serves then.
pub fn run<H: Handler>(
    settings: &Settings,
    certificates: Arc<Certificates>,
    make: impl Fn(usize) -> Arc<H>,
    stop: CancellationToken,
) -> IoResult<Listening> {
    let acceptor = tls::Acceptor::new(certificates)?;
    let workers = settings.workers.max(1);
    let (address, sockets) = bind(settings.address, workers)?;
    let mut threads = Vec::with_capacity(workers);
    for (index, socket) in sockets.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, handler) = {
            let _inside = runtime.enter();
            (socket.listen(BACKLOG), make(index))
        };
        let worker = Worker {
            handler,
            acceptor: acceptor.clone(),
            settings: Arc::new(settings.clone()),
            slots: Arc::new(Semaphore::new(settings.connections_max.div_ceil(workers))),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let thread = match listener {
            Ok(listener) => start(index, runtime, listener, worker),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        };
        threads.push(thread.inspect_err(|_| stop.cancel())?);
    }
    Ok(Listening { address, threads })
}

fn start<H: Handler>(
    index: usize,
    runtime: Runtime,
    listener: TcpListener,
    worker: Worker<H>,
) -> IoResult<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("stepgate-{index}")).spawn(move || {
        runtime.block_on(worker.serve(listener));
        runtime.shutdown_background();
    })
}

/// One socket per worker on the same port; the kernel shares new connections out among them.
fn bind(address: SocketAddr, count: usize) -> IoResult<(SocketAddr, Vec<TcpSocket>)> {
    // Alone first: a second gateway would otherwise quietly take a share of the first one's
    // connections, with a store and a policy of its own.
    let alone = socket(address)?;
    alone.bind(address)?;
    drop(alone);
    let mut bound = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address)?;
        socket.set_reuseport(true)?;
        socket.bind(bound)?;
        bound = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok((bound, sockets))
}

fn socket(address: SocketAddr) -> IoResult<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Held by each open client socket, tunnels included.
struct Slot {
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

/// One core's share of the listener.
struct Worker<H> {
    handler: Arc<H>,
    acceptor: tls::Acceptor,
    settings: Arc<Settings>,
    slots: Arc<Semaphore>,
    /// Connections, and what handlers want finished.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<H> Clone for Worker<H> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            acceptor: self.acceptor.clone(),
            settings: self.settings.clone(),
            slots: self.slots.clone(),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        }
    }
}

impl<H: Handler> Worker<H> {
    async fn serve(self, listener: TcpListener) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.accept(&listener) => {}
        }
        // Closing the socket first means that new clients are refused rather than left waiting.
        drop(listener);
        self.tasks.close();
        let drain = Duration::from_millis(self.settings.drain_timeout_ms);
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "connections were cut after the drain timeout");
        }
    }

    /// Takes a permit before each connection, so that at the limit new ones wait in the kernel's
    /// queue.
    async fn accept(&self, listener: &TcpListener) {
        let mut pause_ms = PAUSE_FIRST_MS;
        while let Ok(slot) = self.slots.clone().acquire_owned().await {
            let tcp = loop {
                match listener.accept().await {
                    Ok((tcp, _)) => break tcp,
                    // The client gave up while it waited: nothing is wrong here.
                    Err(error) if is_the_clients(&error) => {}
                    // Out of descriptors or memory: trying again at once would spin.
                    Err(error) => {
                        tracing::warn!(%error, pause_ms, "cannot accept");
                        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                        pause_ms = (pause_ms * 2).min(PAUSE_MAX_MS);
                    }
                }
            };
            pause_ms = PAUSE_FIRST_MS;
            let worker = self.clone();
            let slot = Slot { _permit: slot, _open: worker.handler.opened() };
            self.tasks.spawn(async move {
                let handshake = worker.handshake(tcp);
                let limit = Duration::from_millis(worker.settings.handshake_timeout_ms);
                let stopped = worker.stop.cancelled();
                let ready = tokio::select! {
                    biased;
                    ready = tokio::time::timeout(limit, handshake) => ready,
                    () = stopped => return,
                };
                match ready {
                    Ok(Ok((tls, peer))) => http::serve(&worker, tls, peer, slot).await,
                    Ok(Err(error)) => {
                        worker.handler.handshake_failed();
                        tracing::debug!(%error, "handshake failed");
                    }
                    Err(_) => {
                        worker.handler.handshake_failed();
                        tracing::debug!("handshake timed out");
                    }
                }
            });
        }
    }

    /// PROXY header if the listener has one, then TLS.
    async fn handshake(&self, mut tcp: TcpStream) -> Result<(tls::Stream, SocketAddr), Refused> {
        tcp.set_nodelay(true)?;
        let mut peer = peer::canonical(tcp.peer_addr()?);
        if self.settings.proxy_protocol {
            if !peer::is_trusted(peer.ip(), &self.settings.trusted_proxies) {
                return Err(Refused::Untrusted(peer));
            }
            if let Some(source) = peer::read_proxy_header(&mut tcp).await? {
                peer = peer::canonical(source);
            }
        }
        let tls = self.acceptor.accept(tls::Wire(tcp)).await?;
        Ok((tls, peer))
    }
}

/// Why a connection came to nothing before its first request.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0} is not a trusted proxy")]
    Untrusted(SocketAddr),
    #[error(transparent)]
    Proxy(#[from] peer::ProxyError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

const BACKLOG: u32 = 1024;
const PAUSE_FIRST_MS: u64 = 10;
const PAUSE_MAX_MS: u64 = 1_000;
