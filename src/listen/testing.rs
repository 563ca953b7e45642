//! A small world for tests over real sockets: certificates made on the spot, a listener, clients.
//!
//! Never used outside tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::certs::{Certificates, Pair};
use super::{Connection, Handler, Listening, Settings, run};
use crate::body::Body;
use crate::crypto::tls_provider;

/// A certification authority and a folder for what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a certificate for `names` and its key; the same `stem` overwrites.
    pub(crate) fn issue(&self, stem: &str, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: self.write(&format!("{stem}.pem"), &signed.pem()),
            key: self.write(&format!("{stem}.key"), &key.serialize_pem()),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        roots
    }

    pub(crate) fn client(
        &self,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(tls_provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A listener that serves `localhost`, and everything to talk to it.
pub(crate) struct Front {
    pub(crate) authority: Authority,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    listening: Option<Listening>,
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    settings.workers = 2;
    settings.drain_timeout_ms = 5_000;
    settings
}

impl Front {
    pub(crate) fn start<H: Handler>(settings: &Settings, make: impl Fn(usize) -> Arc<H>) -> Self {
        let authority = Authority::new();
        let pair = authority.issue("localhost", &["localhost"]);
        let certificates = Arc::new(Certificates::load(&[pair]).unwrap());
        let stop = CancellationToken::new();
        let listening = run(settings, certificates.clone(), make, stop.clone()).unwrap();
        let address = listening.address();
        Self { authority, certificates, address, stop, listening: Some(listening) }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn tls_over(
        &self,
        tcp: TcpStream,
        config: ClientConfig,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    pub(crate) async fn tls(&self, alpn: &str) -> TlsStream<TcpStream> {
        let config = self.authority.client(&[alpn], rustls::ALL_VERSIONS);
        self.tls_over(self.tcp().await, config, "localhost").await.unwrap()
    }

    pub(crate) async fn h1(&self) -> http1::SendRequest<Body> {
        h1_over(self.tls("http/1.1").await).await
    }

    pub(crate) async fn h2(&self) -> http2::SendRequest<Body> {
        let io = TokioIo::new(self.tls("h2").await);
        let (sender, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Sends these bytes over TLS and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let mut tls = self.tls("http/1.1").await;
        tls.write_all(bytes.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let mut answer = Vec::new();
        let _ = within(tls.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops and waits until the workers have ended.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        if let Some(listening) = self.listening.take() {
            within(tokio::task::spawn_blocking(|| listening.join())).await.unwrap();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn h1_over(tls: TlsStream<TcpStream>) -> http1::SendRequest<Body> {
    let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// Long enough for a busy machine, short enough not to hang.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

pub(crate) fn get(target: &str) -> Request<Body> {
    let request = Request::get(target).header("host", "localhost");
    request.body(Body::empty()).unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let bytes = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A handler from an async closure over the request and its connection.
pub(crate) struct Answers<F>(pub(crate) F);

impl<F, R> Handler for Answers<F>
where
    F: Fn(Request<Incoming>, Arc<Connection<()>>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    type Place = ();

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection<()>>,
    ) -> impl Future<Output = Response<Body>> + Send {
        (self.0)(request, connection.clone())
    }
}
