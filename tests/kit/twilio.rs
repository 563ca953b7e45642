//! A server in the shape of Twilio's Messages resource: real HTTP on loopback, answering as it is told.
//!
//! Never forgives what the real one would not: a wrong path is a 404, wrong credentials are a 401, a missing field is a
//! 400 with Twilio's own code. Invariant: every request is recorded whole, in the order of its arrival.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The account that may send.
pub const SID: &str = "ACb0a1c2d3e4f5061728394a5b6c7d8e9f";
pub const TOKEN: &str = "8f14e45fceea167a5a36dedd4bea2543";
pub const FROM: &str = "+15005550006";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    /// Names and values, decoded.
    pub form: Vec<(String, String)>,
    pub status: u16,
}

impl Asked {
    pub fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// How a request that is right is answered; 201 unless told.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// Too many requests, with `Retry-After` in seconds if it is given.
    Busy(Option<u32>),
    /// Out of order.
    Down(u16),
    /// Twilio's 400 with this code.
    Refuses(u32),
    /// Takes the message, and says so only after this time.
    Slow(Duration),
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    next: VecDeque<Says>,
    always: Option<Says>,
}

/// The running server; it stops with the runtime.
#[derive(Clone)]
pub struct Twilio {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Twilio {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on an address that is known already.
    pub fn on(listener: TcpListener) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let twilio = Self { address: listener.local_addr().unwrap(), state: state.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(state.clone(), request));
                    // A client that hangs up is its own business.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        twilio
    }

    /// `[sms]` for a gateway that sends through it; the credentials' file is `secrets/sms`.
    pub fn config(address: SocketAddr) -> String {
        format!(
            "[sms]\nprovider = \"twilio\"\nfrom = \"{FROM}\"\nurl = \"http://{address}\"\n\
             credentials = \"file:secrets/sms\"\n"
        )
    }

    /// For the next request that is right.
    pub fn will(&self, says: Says) {
        self.state.lock().unwrap().next.push_back(says);
    }

    /// For every request from now on.
    pub fn always(&self, says: Option<Says>) {
        self.state.lock().unwrap().always = says;
    }

    /// All that arrived, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// What arrived for this number.
    pub fn to(&self, number: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.field("To") == number).collect()
    }

    /// Waits until so many requests for this number have arrived.
    pub async fn reached(&self, number: &str, count: usize) -> Vec<Asked> {
        for _ in 0..3_000 {
            let found = self.to(number);
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} requests for {number} never came: {:#?}", self.asked());
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let form: Vec<(String, String)> = url_decoded(&String::from_utf8_lossy(&body)).collect();
    let mut asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        form,
        status: 0,
    };
    let (said, slow) = {
        let mut state = state.lock().unwrap();
        let wrong = wrong(&asked);
        let says = match wrong {
            Some(_) => None,
            None => state.next.pop_front().or(state.always),
        };
        let said = wrong.unwrap_or_else(|| said(says));
        asked.status = said.0;
        state.asked.push(asked);
        (said, says)
    };
    if let Some(Says::Slow(pause)) = slow {
        tokio::time::sleep(pause).await;
    }
    let (status, retry_after, body) = said;
    let mut response =
        Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    Ok(response.body(Full::new(body.into())).unwrap())
}

type Said = (u16, Option<u32>, String);

/// What the real one would refuse.
fn wrong(asked: &Asked) -> Option<Said> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{SID}:{TOKEN}")));
    let header = |name: &str| asked.headers.get(name).and_then(|it| it.to_str().ok());
    if asked.path != format!("/2010-04-01/Accounts/{SID}/Messages.json") {
        return Some(error(404, 20404, "The requested resource was not found"));
    }
    if header("authorization") != Some(&basic) {
        return Some(error(401, 20003, "Authenticate"));
    }
    if asked.method != "POST" {
        return Some(error(405, 20004, "Method not allowed"));
    }
    if header("content-type") != Some("application/x-www-form-urlencoded") {
        return Some(error(415, 20415, "Unsupported media type"));
    }
    for (field, code) in [("To", 21604), ("From", 21603), ("Body", 21602)] {
        if asked.field(field).is_empty() {
            return Some(error(400, code, &format!("A '{field}' is required.")));
        }
    }
    None
}

fn said(says: Option<Says>) -> Said {
    match says {
        None | Some(Says::Slow(_)) => {
            let body = r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null}"#;
            (201, None, body.to_owned())
        }
        Some(Says::Busy(after)) => {
            let (status, _, body) = error(429, 20429, "Too Many Requests");
            (status, after, body)
        }
        Some(Says::Down(status)) => error(status, 20500, "Internal Server Error"),
        Some(Says::Refuses(code)) => {
            error(400, code, "The 'To' number +4915112345667 is not a valid phone number.")
        }
    }
}

fn error(status: u16, code: u32, message: &str) -> Said {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    let body = serde_json::json!({
        "code": code, "message": message, "more_info": more, "status": status,
    });
    (status, None, body.to_string())
}

fn url_decoded(body: &str) -> impl Iterator<Item = (String, String)> {
    body.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        (text(name), text(value))
    })
}
