//! A gateway in this process on a store of choice, one customer's kept connection to it, and the exchange behind it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stepgate::serve::{Running, Start};
use stepgate::world::{Clock, SystemClock, SystemEntropy};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::kit::{HOST, Kit, Options, POLICY, TOKYO};

/// From spot to contract: guarded, because rules speak about transfers, and allowed without a code.
pub const TRANSFER: (&str, &str) =
    ("/api/v5/asset/transfer", r#"{"ccy":"USDT","amt":"100","from":"6","to":"18","type":"0"}"#);
pub const BALANCE: &str = "/api/v5/account/balance";

/// Called by the exchange when a request has reached it, before it answers.
type Hook = Box<dyn Fn() + Send>;

/// Answers success to everything.
#[derive(Clone)]
pub struct Exchange {
    pub address: SocketAddr,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Exchange {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let exchange = Self { address, hook: Arc::default() };
        let hook = exchange.hook.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hook = hook.clone();
                let service = service_fn(move |request| answer(hook.clone(), request));
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serve);
            }
        });
        exchange
    }

    pub fn hook(&self, hook: impl Fn() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn unhook(&self) {
        *self.hook.lock().unwrap() = None;
    }
}

async fn answer(
    hook: Arc<Mutex<Option<Hook>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    if let Some(hook) = &*hook.lock().unwrap() {
        hook();
    }
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"code":"0","data":[]}"#)));
    response.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    Ok(response)
}

pub struct Gateway {
    kept: SendRequest<Full<Bytes>>,
    client: Client,
    _running: Running,
    _dir: TempDir,
}

impl Gateway {
    pub async fn start(exchange: &Exchange, store: &str) -> Self {
        let dir = TempDir::new().expect("a folder");
        let options = Options {
            upstream: exchange.address,
            policy: POLICY,
            pack: include_str!("../../../policies/okx.actions.toml"),
            extra: "",
            workers: 1,
            sms: false,
        };
        let kit = Kit::write(dir.path(), &options);
        let config = kit.config_of(0, store);
        let start =
            Start { config, clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) };
        let started = tokio::task::spawn_blocking(move || stepgate::serve::start(start)).await;
        let running = started.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
        let token = kit.token("alice", "s1", SystemClock.now().seconds());
        let client = Client::new(running.address(), &kit.ca_pem, HOST)
            .from(TOKYO)
            .with("authorization", format!("Bearer {token}"));
        let kept = connect(&client).await;
        let mut gateway = Self { kept, client, _running: running, _dir: dir };
        for _ in 0..50 {
            gateway.read().await;
            gateway.transfer().await;
        }
        gateway
    }

    /// A request that owes nothing.
    pub async fn read(&mut self) {
        self.send("GET", BALANCE, "").await;
    }

    /// A guarded action.
    pub async fn transfer(&mut self) {
        self.send("POST", TRANSFER.0, TRANSFER.1).await;
    }

    async fn send(&mut self, method: &str, path: &str, body: &'static str) {
        let mut request =
            Request::builder().method(method).uri(path).header("host", &self.client.host);
        for (name, value) in &self.client.headers {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes())));
        self.kept.ready().await.expect("the connection stays");
        let response = self.kept.send_request(request.expect("a request")).await;
        let (parts, body) = response.expect("an answer").into_parts();
        body.collect().await.expect("the whole of it");
        assert_eq!(parts.status, 200, "{method} {path}");
    }
}

async fn connect(client: &Client) -> SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(client.connect(&[]).await.expect("a connection"));
    let (kept, connection) =
        hyper::client::conn::http1::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    kept
}
