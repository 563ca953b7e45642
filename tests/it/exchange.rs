//! A fake exchange: records every byte it is sent and answers as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stepgate::types::UnixMs;
use stepgate::world::{Clock, SystemClock};
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    #[allow(dead_code)] // The fault run reads it.
    pub at: UnixMs,
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How the next request is answered; the default is 200 with OKX's success body.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer(u16, &'static str),
    /// 200 with this media type.
    Page(&'static str, &'static str),
    /// 303 to this address.
    SeeOther(&'static str),
    /// Reads the request, waits, then answers success.
    After(Duration),
    /// Reads the request and closes the connection without an answer.
    Hangup,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    replies: VecDeque<Reply>,
}

/// The running fake; it stops with the runtime.
#[derive(Clone)]
pub struct Exchange {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Exchange {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let exchange = Self { address, state: state.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(state.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        exchange
    }

    /// Everything that arrived, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The requests to this path.
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        let is_there = |seen: &Seen| seen.target.split('?').next() == Some(path);
        self.seen().into_iter().filter(is_there).collect()
    }

    /// Queues an answer for the next request.
    pub fn will(&self, reply: Reply) {
        self.state.lock().unwrap().replies.push_back(reply);
    }

    /// Drops the answers that were queued and not used.
    pub fn forget_replies(&self) {
        self.state.lock().unwrap().replies.clear();
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let reply = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            at: SystemClock.now(),
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            headers: parts.headers,
            body,
        });
        state.replies.pop_front()
    };
    let json = "application/json";
    let success = (200, json, r#"{"code":"0","msg":"","data":[{"wdId":"1"}]}"#);
    if let Some(Reply::SeeOther(location)) = reply {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert("location", location.parse().unwrap());
        return Ok(response);
    }
    let (status, media_type, text) = match reply {
        Some(Reply::Answer(status, text)) => (status, json, text),
        Some(Reply::Page(media_type, text)) => (200, media_type, text),
        Some(Reply::After(pause)) => {
            tokio::time::sleep(pause).await;
            success
        }
        Some(Reply::Hangup) => return Err(std::io::Error::other("told to hang up")),
        Some(Reply::SeeOther(_)) | None => success,
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", media_type.parse().unwrap());
    Ok(response)
}
