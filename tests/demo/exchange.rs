//! A toy exchange: pages for people, an OKX-shaped API for bots, and a log of every request that reached it.
//!
//! Never speaks TLS and knows nothing of the gateway in front of it. Invariant: each request is in the log, with its
//! body, before anything is done about it, so that a test can say what the exchange was asked and how often.
//!
//! The demo runs it, and integration tests include it by path.
#![allow(dead_code)] // Each of the programs that include this file uses a part of it.

#[path = "exchange/books.rs"]
pub mod books;
#[path = "exchange/control.rs"]
mod control;
#[path = "exchange/customers.rs"]
pub mod customers;
#[path = "exchange/okx.rs"]
pub mod okx;
#[path = "exchange/pages.rs"]
mod pages;
#[path = "exchange/session.rs"]
mod session;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stepgate::types::UnixMs;
use stepgate::world::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use books::Books;
use session::Sessions;

/// An answer of the toy exchange; small, so it is never streamed.
pub type Answer = Response<Full<Bytes>>;

/// Longest request body that is read.
const BODY_MAX: usize = 1 << 20;

/// What the exchange is told about itself.
#[derive(Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `iss` of its session tokens.
    pub issuer: String,
    /// `aud` of its session tokens.
    pub audience: String,
    /// Links in the footer of each page, as (name, base address): other places to come from.
    pub doors: Vec<(String, String)>,
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            issuer: "https://exchange.example".into(),
            audience: "exchange".into(),
            doors: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: Method,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case; a name that came twice is listed twice.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

impl Recorded {
    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// How a path answers until it is told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As an exchange would.
    Normal,
    /// Does nothing and answers this status with an empty body.
    Status(u16),
    /// Does nothing and closes the connection without an answer.
    Close,
    /// Does what was asked, then closes the connection without an answer.
    DoThenClose,
    /// As an exchange would, but only after this long.
    Delay(Duration),
}

/// A running toy exchange. It ends when this is dropped.
pub struct Exchange {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    settings: Settings,
    log: Mutex<Vec<Recorded>>,
    behaviours: Mutex<HashMap<String, Behaviour>>,
    sessions: Mutex<Sessions>,
    books: Mutex<HashMap<String, Books>>,
}

impl Exchange {
    /// Opens its listener and serves from a task of its own.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let books = customers::all().into_iter().map(|one| (one.name, Books::opening())).collect();
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            behaviours: Mutex::default(),
            sessions: Mutex::new(Sessions::new(&settings.issuer, &settings.audience)),
            books: Mutex::new(books),
            settings,
        });
        let tasks = vec![tokio::spawn(accept(listener, shared.clone(), answer))];
        Ok(Self { address, shared, tasks })
    }

    /// Also opens the control port: the request log over HTTP, for tests in other languages.
    pub async fn control(&mut self, listen: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        self.tasks.push(tokio::spawn(accept(listener, self.shared.clone(), control::answer)));
        Ok(address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address, for `upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that arrived so far, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.log).clone()
    }

    /// Empties the log.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
    }

    /// From now on this path (without query) behaves so.
    pub fn behave(&self, path: &str, behaviour: Behaviour) {
        lock(&self.shared.behaviours).insert(path.to_owned(), behaviour);
    }

    /// A customer's books as they stand.
    pub fn books(&self, customer: &str) -> Option<Books> {
        lock(&self.shared.books).get(customer).cloned()
    }

    /// A new session of this customer, without a login: the value of the `session` cookie.
    pub fn session(&self, customer: &str) -> Option<String> {
        let customer = customers::find(customer)?;
        Some(lock(&self.shared.sessions).issue(&customer, self.shared.settings.clock.now()))
    }

    /// The key set that session tokens verify with.
    pub fn jwks(&self) -> String {
        lock(&self.shared.sessions).jwks()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A whole request, body read.
struct Call {
    method: Method,
    path: String,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    now: UnixMs,
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("told to close")]
    Told,
    #[error("the body could not be read")]
    Body,
}

async fn accept<F, A>(listener: TcpListener, shared: Arc<Shared>, answer: F)
where
    F: Fn(Arc<Shared>, Request<Incoming>) -> A + Copy + Send + 'static,
    A: Future<Output = Result<Answer, NoAnswer>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of file descriptors, most likely
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            // An error here is a client that went away, or a behaviour that closes: both are the caller's business.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
    let call = read(request, shared.settings.clock.now()).await?;
    lock(&shared.log).push(Recorded {
        method: call.method.clone(),
        target: call.target.clone(),
        headers: (call.headers.iter())
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: call.body.clone(),
    });
    let told = lock(&shared.behaviours).get(&call.path).cloned().unwrap_or(Behaviour::Normal);
    match told {
        Behaviour::Normal => Ok(route(&shared, &call)),
        Behaviour::Status(status) => Ok(plain(status)),
        Behaviour::Close => Err(NoAnswer::Told),
        Behaviour::DoThenClose => {
            route(&shared, &call);
            Err(NoAnswer::Told)
        }
        Behaviour::Delay(time) => {
            tokio::time::sleep(time).await;
            Ok(route(&shared, &call))
        }
    }
}

async fn read(request: Request<Incoming>, now: UnixMs) -> Result<Call, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|_| NoAnswer::Body)?;
    let target = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let path = head.uri.path().to_owned();
    let (method, headers) = (head.method, head.headers);
    Ok(Call { method, path, target, headers, body: body.to_bytes(), now })
}

fn route(shared: &Shared, call: &Call) -> Answer {
    if call.path.starts_with("/api/v5/") {
        okx::answer(shared, call)
    } else {
        pages::answer(shared, call)
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

fn plain(status: u16) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// The pairs of an urlencoded form or query; the last of equal names wins, as in many frameworks.
fn form(text: &[u8]) -> HashMap<String, String> {
    let decode = |raw: &str| {
        let spaced = raw.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    (String::from_utf8_lossy(text).split('&'))
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// A poisoned lock means that a test thread panicked; what it guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
