//! The other end: how `stepgate account`, `factor`, `status` and `backup` talk to a running gateway.
//!
//! Never keeps a connection, and never reads an answer without an end into memory.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Token;
use crate::types::AccountId;

/// One gateway's admin listener.
#[derive(Clone, Debug)]
pub struct Client {
    /// `host:port`.
    pub address: String,
    pub token: Token,
}

/// What it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a person is told when it is not ok: the problem's detail, else the body as it is.
    pub fn detail(&self) -> String {
        serde_json::from_str::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()))
            .unwrap_or_else(|| self.body.clone())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no gateway answers at {address}")]
    Connect { address: String, source: io::Error },
    #[error("the gateway's answer cannot be read")]
    Exchange(#[from] hyper::Error),
    #[error("this cannot be asked")]
    Request(#[from] hyper::http::Error),
    #[error("the gateway's answer breaks off or is too long")]
    Body,
    #[error("no answer within {} s", REQUEST_MAX.as_secs())]
    Deadline,
    #[error("the gateway's answer cannot be written")]
    Write(#[source] io::Error),
}

impl Client {
    pub fn new(address: impl Into<String>, token: Token) -> Self {
        Self { address: address.into(), token }
    }

    /// # Errors
    /// If there is no answer; a refusal is a `Reply`.
    pub async fn get(&self, path: &str) -> Result<Reply, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// # Errors
    /// If there is no answer; it may have been carried out all the same.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Reply, ClientError> {
        self.ask(Method::POST, path, body.into()).await
    }

    /// Writes the answer's body to `out` as it comes, if it is one that was hoped for; a refusal is a `Reply` as ever.
    ///
    /// # Errors
    /// If there is no answer, if it breaks off, or if it cannot be written.
    pub async fn pour(
        &self,
        path: &str,
        body: impl Into<Bytes>,
        out: &mut impl Write,
    ) -> Result<Reply, ClientError> {
        let request = self.request(Method::POST, path, body.into())?;
        let (response, _talking) = within(self.send(request)).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return within(collected(status, response.into_body())).await;
        }
        let mut body = response.into_body();
        loop {
            let frame = within(async { Ok(body.frame().await) }).await?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| ClientError::Body)?;
            if let Ok(piece) = frame.into_data() {
                out.write_all(&piece).map_err(ClientError::Write)?;
            }
        }
        Ok(Reply { status, body: String::new() })
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        let request = self.request(method, path, body)?;
        within(async {
            let (response, _talking) = self.send(request).await?;
            collected(response.status().as_u16(), response.into_body()).await
        })
        .await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        Ok(Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?)
    }

    /// The answer's head; its body comes as long as what stands beside it is kept.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Talking), ClientError> {
        let connected = TcpStream::connect(&self.address).await;
        let stream = connected
            .map_err(|source| ClientError::Connect { address: self.address.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let talking = Talking(tokio::spawn(connection));
        Ok((sender.send_request(request).await?, talking))
    }
}

/// A connection at work; it ends with whoever asked.
struct Talking(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn collected(status: u16, body: Incoming) -> Result<Reply, ClientError> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|_| ClientError::Body)?.to_bytes();
    let body = String::from_utf8(bytes.into()).map_err(|_| ClientError::Body)?;
    Ok(Reply { status, body })
}

async fn within<T>(step: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    tokio::time::timeout(REQUEST_MAX, step).await.unwrap_or(Err(ClientError::Deadline))
}

/// `/account/main/alice`, with `rest` (`/freeze`) behind it; `kind` is `account` or `factor`.
pub fn account_path(kind: &str, account: &AccountId, rest: &str) -> String {
    let word = |text| utf8_percent_encode(text, PATH_WORD);
    format!("/{kind}/{}/{}{rest}", word(&account.group), word(&account.name))
}

/// What may stand in a path as it is (RFC 3986 §2.3).
const PATH_WORD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');
const ANSWER_BYTES_MAX: usize = 16 << 20;
const REQUEST_MAX: Duration = Duration::from_secs(65);
