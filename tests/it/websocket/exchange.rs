//! A fake exchange that speaks WebSocket: records every message and answers as an exchange does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

#[derive(Default)]
struct State {
    upgrades: Vec<HeaderMap>,
    messages: Vec<Message>,
    /// Guarded operations get no answer.
    silent: bool,
    code: Option<&'static str>,
    /// The answer to a message that said `late`: it comes with the next guarded operation.
    late: Option<String>,
}

/// The running fake; it stops with the runtime.
#[derive(Clone)]
pub struct Sockets {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Sockets {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = Self { address, state: Arc::default() };
        let serving = sockets.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sockets = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| sockets.clone().answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        sockets
    }

    /// Every data message that arrived, in order.
    pub fn texts(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let text = |it: &Message| it.is_text().then(|| it.to_text().unwrap().to_owned());
        state.messages.iter().filter_map(text).collect()
    }

    /// Those with this in them.
    pub fn with(&self, part: &str) -> Vec<String> {
        self.texts().into_iter().filter(|text| text.contains(part)).collect()
    }

    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    /// Waits until so many messages of any kind have come.
    pub async fn received(&self, count: usize) -> Vec<Message> {
        for _ in 0..500 {
            let messages = self.messages();
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {:?}", self.messages());
    }

    pub fn upgrades(&self) -> usize {
        self.state.lock().unwrap().upgrades.len()
    }

    /// The headers of the last upgrade.
    pub fn upgrade(&self) -> HeaderMap {
        self.state.lock().unwrap().upgrades.last().unwrap().clone()
    }

    pub fn be_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    /// The code of every answer from now on.
    pub fn answer_with(&self, code: &'static str) {
        self.state.lock().unwrap().code = Some(code);
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
            let text = match request.uri().path() {
                "/token" => r#"{"error":[],"result":{"token":"t0ken","expires":900}}"#,
                _ => r#"{"code":"0","data":[]}"#,
            };
            return Ok(Response::new(Full::new(Bytes::from(text))));
        };
        self.state.lock().unwrap().upgrades.push(request.headers().clone());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let io = TokioIo::new(upgrade.await.unwrap());
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            self.converse(socket).await;
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", "upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().unwrap());
        Ok(response)
    }

    async fn converse(self, mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) {
        while let Some(Ok(message)) = socket.next().await {
            let reply = self.reply(&message);
            self.state.lock().unwrap().messages.push(message);
            if let Some(reply) = reply
                && socket.send(reply).await.is_err()
            {
                break;
            }
        }
    }

    fn reply(&self, message: &Message) -> Option<Message> {
        let Message::Text(text) = message else { return None };
        if text.as_str() == "ping" {
            return Some(Message::text("pong"));
        }
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        let code = state.code.unwrap_or("0");
        let reply = match value["op"].as_str() {
            Some("login") => serde_json::json!({ "event": "login", "code": "0" }),
            Some("withdraw" | "mass-cancel") if state.silent => {
                return state.late.take().map(Message::text);
            }
            Some(op) => {
                serde_json::json!({ "id": value["id"], "op": op, "code": code, "data": [] })
            }
            None if state.code.is_some() => serde_json::json!({
                "jsonrpc": "2.0", "id": value["id"], "error": { "code": code, "message": "no" },
            }),
            None => serde_json::json!({ "echo": text.as_str() }),
        };
        if value["late"] == true {
            state.late = Some(reply.to_string());
            return None;
        }
        Some(Message::text(reply.to_string()))
    }
}
