//! Upstreams that record, and a handler that forwards everything: for tests over real sockets.
//!
//! Never used outside tests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::{Request, Response};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;

use super::upgrade::{Upgrade, asks_for_websocket, tunnel};
use super::{ForwardError, OnBehalf, Pool, Settings, Stamp, Trust, Upstream};
use crate::body::Body;
use crate::clearance::Cleared;
use crate::inbound::Inbound;
use crate::listen::{Connection, Handler};
use crate::policy::verdict::Permit;
use crate::types::{RequestId, UnixMs};

/// A body of unknown length, fed from a test.
pub(crate) struct Channel(pub(crate) Receiver<&'static [u8]>);

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes.into()))))
    }
}

/// A plain server that keeps every byte of every request, and answers by number.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Recorder {
    /// `script` says what to write for the n-th request; `None` closes without a word.
    pub(crate) async fn start(
        script: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let (record, script) = (seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((mut tcp, _)) = listener.accept().await else { return };
                let (record, script) = (record.clone(), script.clone());
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut tcp).await {
                        let number = {
                            let mut record = record.lock().unwrap();
                            record.push((connection, request));
                            record.len() - 1
                        };
                        let Some(answer) = script(number) else { return };
                        tcp.write_all(answer.as_bytes()).await.unwrap();
                        if answer.contains("101 ") {
                            tcp.shutdown().await.unwrap();
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came, with the number of the connection that it came on.
    pub(crate) fn seen(&self) -> Vec<(usize, String)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_request(tcp: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let complete = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        match length {
            Some(length) => (body.len() >= length.parse().unwrap()).then_some(()),
            None if head.contains("chunked") => body.ends_with("0\r\n\r\n").then_some(()),
            None => Some(()),
        }
    };
    while complete(&bytes).is_none() {
        if tcp.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

pub(crate) fn pool_with(settings: Settings, roots: RootCertStore) -> Arc<Pool> {
    Pool::new(settings, Trust::new(roots).unwrap())
}

pub(crate) fn pool() -> Arc<Pool> {
    pool_with(Settings::default(), RootCertStore::empty())
}

pub(crate) fn stamp(guarded: bool) -> Stamp {
    let on_behalf = OnBehalf::of("203.0.113.9".parse().unwrap(), "a.example:8443").unwrap();
    Stamp { on_behalf: on_behalf.into(), assertion: None, guarded }
}

pub(crate) fn head(method: Method, target: &str, headers: HeaderMap) -> Inbound {
    Inbound {
        request: RequestId::new("r"),
        method,
        host: "a.example".into(),
        authority: "a.example:8443".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers,
        client: "203.0.113.9".parse().unwrap(),
        received: UnixMs(0),
    }
}

pub(crate) fn cleared(method: Method, target: &str, body: Body) -> Cleared {
    Cleared::by_permit(Permit::for_tests(), head(method, target, HeaderMap::new()), body)
}

/// Forwards everything; a request with `X-Guarded` as a guarded one, in a task of its own.
pub(crate) struct Through {
    pub(crate) pool: Arc<Pool>,
    pub(crate) upstream: Arc<Upstream>,
}

impl Handler for Through {
    type Place = ();

    async fn handle(
        &self,
        mut request: Request<Incoming>,
        connection: &Arc<Connection<()>>,
    ) -> Response<Body> {
        let client = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let guarded = parts.headers.contains_key("x-guarded");
        let mut head =
            head(parts.method, parts.uri.path_and_query().unwrap().as_str(), parts.headers);
        head.version = parts.version;
        let (pool, upstream) = (self.pool.clone(), self.upstream.clone());
        if asks_for_websocket(&head) {
            let cleared = Cleared::by_permit(Permit::for_tests(), head, Body::empty());
            return match pool.upgrade(&upstream, cleared, stamp(guarded)).await {
                Ok(Upgrade::Switched(response, end)) => {
                    tokio::spawn(tunnel(client, end));
                    response
                }
                Ok(Upgrade::Answered(response)) => response,
                Err(error) => refusal(&error),
            };
        }
        let cleared = Cleared::by_permit(Permit::for_tests(), head, Body::stream(body));
        let exchange = async move { pool.forward(&upstream, cleared, stamp(guarded)).await };
        let result = match guarded {
            true => connection.tasks.spawn(exchange).await.unwrap(),
            false => exchange.await,
        };
        result.unwrap_or_else(|error| refusal(&error))
    }
}

fn refusal(error: &ForwardError) -> Response<Body> {
    let mut response = Response::new(Body::whole(format!("{error:?}")));
    *response.status_mut() = match error {
        ForwardError::Refused(_) | ForwardError::BrokenBody => StatusCode::BAD_REQUEST,
        ForwardError::NotSent(_) => StatusCode::BAD_GATEWAY,
        ForwardError::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    response
}
