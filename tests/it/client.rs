//! A client of the gateway: real TLS, one connection per request unless asked otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// All values of a header that may occur more than once.
    pub fn all(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join(", ")
    }
    /// The challenge id of a step-up answer.
    pub fn challenge(&self) -> String {
        let id = self.header("step-up-challenge").to_owned();
        assert!(!id.is_empty(), "no challenge in {} {}", self.status, self.text());
        id
    }
}

/// Trusts one CA and knows where the gateway is.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    pub host: String,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// The cookie that a browser gets when it changes factors. Clients made from one another are one browser.
    jar: Arc<Mutex<Option<String>>>,
}

impl Client {
    pub fn new(address: SocketAddr, ca_pem: &str, host: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            tls: Arc::new(tls),
            host: host.to_owned(),
            headers: Vec::new(),
            jar: Arc::default(),
        }
    }

    /// The same client with one more standing header.
    pub fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(known, _)| known != name);
        client.headers.push((name.to_owned(), value.into()));
        client
    }

    /// Whoever has the same credential, and not the same browser.
    pub fn elsewhere(&self) -> Self {
        Self { jar: Arc::default(), ..self.clone() }
    }

    /// Everything that goes with each request.
    pub fn standing(&self) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        if let Some(own) = self.jar.lock().unwrap().clone() {
            match headers.iter_mut().find(|(name, _)| name == "cookie") {
                Some((_, cookies)) => *cookies = format!("{cookies}; {own}"),
                None => headers.push(("cookie".to_owned(), own)),
            }
        }
        headers
    }

    /// Seen by the gateway as coming from this address.
    pub fn from(&self, client: &str) -> Self {
        self.with("x-forwarded-for", client)
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    pub async fn post_json(&self, target: &str, body: impl Into<String>) -> Answer {
        self.send("POST", target, &[("content-type", "application/json")], body).await
    }

    pub async fn post_form(&self, target: &str, body: impl Into<String>) -> Answer {
        let media = ("content-type", "application/x-www-form-urlencoded");
        self.send("POST", target, &[media], body).await
    }

    /// A body of any bytes.
    pub async fn post_bytes(&self, target: &str, media: &str, body: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", media)];
        self.exchange("POST", target, &headers, body.into()).await.expect("the gateway answers")
    }

    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Answer {
        self.try_send(method, target, headers, body).await.expect("the gateway answers")
    }

    /// Like `send`, for when the gateway may be gone.
    pub async fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        self.exchange(method, target, headers, Bytes::from(body.into())).await
    }

    async fn exchange(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder().method(method).uri(target).header("host", &self.host);
        let standing = self.standing();
        let own = standing.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect(&[]).await?)).await?;
        tokio::spawn(connection);
        let answer = read(sender.send_request(request).await?).await?;
        let set = answer.headers.get_all("set-cookie").iter().filter_map(|it| it.to_str().ok());
        for cookie in set.filter(|it| it.starts_with("__Host-stepgate-enrol=")) {
            *self.jar.lock().unwrap() = cookie.split(';').next().map(str::to_owned);
        }
        Ok(answer)
    }

    /// The same over HTTP/2.
    pub async fn send_h2(&self, method: &str, target: &str, body: impl Into<String>) -> Answer {
        let uri = format!("https://{}{target}", self.host);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.into()))).unwrap();
        let stream = TokioIo::new(self.connect(&[b"h2"]).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        read(sender.send_request(request).await.unwrap()).await.unwrap()
    }

    /// A TLS connection for raw bytes.
    pub async fn connect(
        &self,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = self.host.split(':').next().unwrap_or_default().to_owned();
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    }
}

async fn read(
    response: http::Response<hyper::body::Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
