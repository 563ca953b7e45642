//! One connection to somebody the gateway depends on, and one request over it.
//!
//! Never waits longer than the deadline, follows no redirect and sends no secret. Invariant: what failed is said by the
//! step that failed, because a name, a port, a certificate and a protocol are put right in different places.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::TIMEOUT;
use crate::fetch;

/// Why nobody could be spoken to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("this is not an http:// or https:// address")]
    Address,
    #[error("the name `{0}` cannot be resolved ({1})")]
    Name(String, std::io::Error),
    #[error("no connection ({0})")]
    Connect(std::io::Error),
    #[error("the TLS handshake fails ({0})")]
    Tls(std::io::Error),
    #[error("it does not answer in HTTP ({0})")]
    Http(String),
    #[error("no answer within {} s ({during})", TIMEOUT.as_secs())]
    Late { during: &'static str },
}

impl Trouble {
    /// What to do; `key` is where the address is written.
    pub(super) fn advice(&self, key: &str) -> String {
        match self {
            Self::Address => format!("correct {key}"),
            Self::Name(..) => format!("correct the name in {key}, or this machine's name servers"),
            Self::Connect(_) | Self::Late { .. } => {
                format!(
                    "start what should answer there, let the firewall through, or correct {key}"
                )
            }
            Self::Tls(_) => format!(
                "add its issuer to this machine's root certificates (or name a file in \
                 SSL_CERT_FILE), have its certificate renewed, or correct {key}"
            ),
            Self::Http(_) => format!("see what listens there, and whether {key} names its port"),
        }
    }
}

/// How the other end is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speak {
    Http1,
    /// Over TLS, or in clear with prior knowledge.
    Http2,
}

/// What it answered.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Opens connections as the gateway would: with the machine's root certificates.
pub(super) struct Probe {
    tls: ClientConfig,
}

impl Probe {
    pub(super) fn new() -> anyhow::Result<Self> {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(fetch::roots(None)?)
            .with_no_client_auth();
        Ok(Self { tls })
    }

    /// Whether somebody is there: TCP, and TLS if the address says so.
    pub(super) async fn reach(&self, url: &str) -> Result<(), Trouble> {
        let to = Place::parse(url)?;
        let reached = self.connect(&to, Speak::Http1);
        let late = Err(Trouble::Late { during: "connecting" });
        tokio::time::timeout(TIMEOUT, reached).await.unwrap_or(late).map(drop)
    }

    /// One request, whatever the status of its answer. `host` is the name that is asked for.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        host: Option<&str>,
        speak: Speak,
    ) -> Result<Answer, Trouble> {
        let to = Place::parse(url)?;
        let asked = async {
            let stream = self.connect(&to, speak).await?;
            let response = to.send(stream, method, host, speak).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Trouble::Http(error.to_string()))?.to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        let late = Err(Trouble::Late { during: "connecting, or waiting for its answer" });
        tokio::time::timeout(TIMEOUT, asked).await.unwrap_or(late)
    }

    async fn connect(&self, to: &Place, speak: Speak) -> Result<Box<dyn Stream>, Trouble> {
        let found = tokio::net::lookup_host((&*to.host, to.port)).await;
        let found = found.map_err(|error| Trouble::Name(to.host.clone(), error))?;
        let addresses: Vec<_> = found.collect();
        let stream = TcpStream::connect(&*addresses).await.map_err(Trouble::Connect)?;
        let Some(name) = &to.tls else { return Ok(Box::new(stream)) };
        let mut tls = self.tls.clone();
        tls.alpn_protocols = match speak {
            Speak::Http1 => vec![b"http/1.1".to_vec()],
            Speak::Http2 => vec![b"h2".to_vec()],
        };
        let connected = TlsConnector::from(Arc::new(tls)).connect(name.clone(), stream).await;
        Ok(Box::new(connected.map_err(Trouble::Tls)?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where an address leads.
struct Place {
    uri: Uri,
    host: String,
    port: u16,
    /// The name that the certificate must have.
    tls: Option<ServerName<'static>>,
}

impl Place {
    fn parse(url: &str) -> Result<Self, Trouble> {
        let uri: Uri = url.parse().map_err(|_| Trouble::Address)?;
        let host = uri.host().ok_or(Trouble::Address)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = || ServerName::try_from(host.clone()).map_err(|_| Trouble::Address);
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(name()?), 443),
            Some("http") => (None, 80),
            _ => return Err(Trouble::Address),
        };
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { host, port, tls, uri })
    }

    async fn send(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        host: Option<&str>,
        speak: Speak,
    ) -> Result<Response<Incoming>, Trouble> {
        let odd = |error: hyper::Error| Trouble::Http(error.to_string());
        let authority = host.or(self.uri.authority().map(|it| it.as_str())).unwrap_or_default();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder().method(method);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let request = match speak {
            Speak::Http1 => request.uri(path).header(http::header::HOST, authority),
            Speak::Http2 => request.uri(format!("{scheme}://{authority}{path}")),
        };
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Trouble::Http(error.to_string()))?;
        let io = TokioIo::new(stream);
        match speak {
            Speak::Http1 => {
                let (mut sender, connection) = http1::handshake(io).await.map_err(odd)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(odd)
            }
            Speak::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io).await;
                let (mut sender, connection) = handshake.map_err(odd)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(odd)
            }
        }
    }
}

const BODY_BYTES_MAX: usize = 1 << 20;
