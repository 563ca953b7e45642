//! Private WebSockets over real sockets: every message is decided as a request is, and the owner approves elsewhere.

mod accounts;
mod bybit;
mod bypass;
mod connection;
mod deribit;
pub mod exchange;
mod journey;
mod okx;
mod shadow;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;

use crate::client::Client;
use crate::kit::{HOST, TOKYO};
use crate::world::World;
use exchange::Sockets;

const PRIVATE: &str = "/ws/private";

/// One guarded operation, some that pass, and a token that an answer gives out.
const PACK: &str = r#"version = 1
exchange = "test"
accepted = { "json.code" = "0" }

[websocket]
private = ["/ws/private", "/ws/token"]
public = ["/ws/public"]
plain = ["ping"]
credentials = { "json.params.apiKey" = "OK-ACCESS-KEY: {value}", "json.params.token" = "learnt" }
echo = { id = "json.id", op = "json.op" }
error = '{"id":{id},"op":{op},"code":"50114","msg":"{message}"}'

[[action]]
name = "withdrawal"
match = ["WS /ws/private op=withdraw", "WS /ws/token op=withdraw"]
select = "json.op"
body = "json"
fields = { asset = "json.params.ccy", amount = "json.params.amt", address = "json.params.to" }
need = ["asset", "amount", "address"]
volatile = ["json.id", "json.params.ts", "json.params.token"]
show = ["amount", "asset", "address"]
sample = '{"id":"1","op":"withdraw","params":{"ccy":"BTC","amt":"1","to":"bc1q"}}'

[[action]]
name = "login"
match = ["WS /ws/private op=login"]
select = "json.op"
body = "json"
guarded = false
login = true
credentials = { "json.args[].apiKey" = "OK-ACCESS-KEY: {value}" }

[[action]]
name = "order"
match = ["WS /ws/private op=order", "WS /ws/private op=subscribe", "WS /ws/token op=order"]
select = "json.op"
body = "json"
guarded = false

[[action]]
name = "websocket_token"
match = "POST /token"
body = "none"
guarded = false
learn = "json.result.token"
"#;

const RULES: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"
"#;

const LOGIN: &str = r#"{"op":"login","args":[{"apiKey":"key-alice","sign":"s"}]}"#;

fn withdraw(id: u32, amount: &str) -> String {
    format!(
        r#"{{ "id" : "{id}","op":"withdraw","params":{{"ccy":"BTC","amt":"{amount}","to":"bc1q","ts":{id}}}}}"#
    )
}

/// A gateway in front of an exchange that speaks WebSocket, with alice's owner signed in.
struct Scene {
    world: World,
    sockets: Sockets,
    owner: Client,
}

impl Scene {
    async fn start() -> Self {
        Self::with(RULES, PACK).await
    }

    async fn with(rules: &str, pack: &str) -> Self {
        let sockets = Sockets::start().await;
        let world = World::in_front_of(sockets.address, rules, pack).await;
        Self::in_world(world, sockets).await
    }

    async fn in_world(world: World, sockets: Sockets) -> Self {
        world.enrol_totp("alice").await;
        let owner = world.session("alice", "s1").await;
        Self { world, sockets, owner }
    }

    async fn open(&self, path: &str) -> Socket {
        self.open_with(path, &[]).await.0
    }

    async fn open_with(&self, path: &str, headers: &[(&'static str, &str)]) -> (Socket, Response) {
        self.open_from(TOKYO, path, headers).await
    }

    async fn open_from(
        &self,
        from: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (Socket, Response) {
        let client = self.world.client().from(from);
        let stream = client.connect(&[]).await.unwrap();
        let mut request = format!("wss://{HOST}{path}").into_client_request().unwrap();
        let own = client.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        (Socket(socket), response)
    }

    /// Opened and logged in as alice's bot.
    async fn bot(&self) -> Socket {
        let mut bot = self.open(PRIVATE).await;
        assert_eq!(bot.ask(LOGIN).await["event"], "login");
        bot
    }

    /// Approves with the authenticator's next unused code, out of band.
    async fn approve(&self, challenge: &str) {
        self.world.wait_s(30);
        let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, self.world.totp());
        let path = format!("/.stepgate/challenge/{challenge}/answer");
        let answer = self.owner.post_json(&path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The outcome records, once there are this many.
    async fn outcomes(&self, count: usize) -> Vec<Value> {
        for _ in 0..500 {
            let mut lines = self.world.audit();
            lines.retain(|line| line["event"] == "outcome");
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {count} outcomes in {:#?}", self.world.audit());
    }
}

/// A client's end.
struct Socket(WebSocketStream<TlsStream<TcpStream>>);

impl Socket {
    async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
        next.expect("the gateway answers").and_then(Result::ok)
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("no text but {other:?}"),
        }
    }

    /// Sends a text and reads the next one.
    async fn ask(&mut self, text: impl Into<String>) -> Value {
        self.send(Message::text(text.into())).await;
        let answer = self.text().await;
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The code that the connection is closed with.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// The challenge that an error message names.
fn challenge(refused: &Value) -> String {
    assert_eq!(refused["code"], "50114", "{refused}");
    challenge_in(refused["msg"].as_str().unwrap())
}

fn challenge_in(message: &str) -> String {
    let at = message.find("/.stepgate/challenge/").unwrap_or_else(|| panic!("{message}"));
    let id = &message[at + "/.stepgate/challenge/".len()..];
    id.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

fn refused(answer: &Value) -> &str {
    assert_eq!(answer["code"], "50114", "{answer}");
    let message = answer["msg"].as_str().unwrap();
    assert!(!message.contains("/challenge/"), "no challenge: {message}");
    message
}
