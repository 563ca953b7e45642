//! The gateway's own outgoing requests: key sets, introspection, SMS providers, webhooks.
//!
//! Never follows a redirect, never waits longer or reads more than the caller allows. The work runs
//! on one background runtime, so a request thread of any runtime may await it; a caller that goes
//! away takes its request with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Why there is no answer. Texts name no secret: neither the request's body nor its headers.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {0} ms")]
    Deadline(u64),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("too many requests are under way")]
    Overload,
    #[error("the connection failed: {0}")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the extra CA certificate cannot be used: {0}")]
    Ca(String),
    #[error("the background runtime is gone")]
    Stopped,
}

/// A pooled HTTP and HTTPS client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    background: Handle,
    under_way: Arc<Semaphore>,
}

impl Fetch {
    /// Trusts the machine's root certificates and those of `extra_ca` (PEM). Work runs on
    /// `background`.
    ///
    /// # Errors
    /// `Ca` if `extra_ca` holds no certificate or a broken one.
    pub fn new(extra_ca: Option<&str>, background: Handle) -> Result<Self, FetchError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::Ca(error.to_string()))?
            .with_root_certificates(roots(extra_ca)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self { client, background, under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)) })
    }

    /// Sends one request and reads the whole answer, whatever its status. `timeout_ms` covers
    /// everything from name resolution to the last byte; `max_bytes` bounds the answer's body.
    ///
    /// # Errors
    /// See `FetchError`. After `Deadline` or `Connection` the other side may or may not have acted.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout_ms: u64,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let permit =
            self.under_way.clone().try_acquire_owned().map_err(|_| FetchError::Overload)?;
        let client = self.client.clone();
        let work = async move {
            let _permit = permit;
            let answer = exchange(&client, request, max_bytes);
            let limit = Duration::from_millis(timeout_ms);
            tokio::time::timeout(limit, answer)
                .await
                .unwrap_or(Err(FetchError::Deadline(timeout_ms)))
        };
        // Aborting on drop keeps a client that hangs up from leaving requests behind.
        AbortOnDropHandle::new(self.background.spawn(work))
            .await
            .unwrap_or(Err(FetchError::Stopped))
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}

async fn exchange(
    client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    request: Request<Bytes>,
    max_bytes: usize,
) -> Result<Response<Bytes>, FetchError> {
    let answer = client
        .request(request.map(Full::new))
        .await
        .map_err(|error| FetchError::Connection(error.into()))?;
    let (head, body) = answer.into_parts();
    match Limited::new(body, max_bytes).collect().await {
        Ok(whole) => Ok(Response::from_parts(head, whole.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge(max_bytes)),
        Err(error) => Err(FetchError::Connection(error)),
    }
}

/// The machine's root certificates and those of `extra_ca` (PEM).
pub(crate) fn roots(extra_ca: Option<&str>) -> Result<RootCertStore, FetchError> {
    let mut roots = RootCertStore::empty();
    // A machine without root certificates can still reach plain HTTP and the extra CA; anything
    // else then fails in its handshake, which says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(pem) = extra_ca else { return Ok(roots) };
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| FetchError::Ca(error.to_string()))?;
        roots.add(certificate).map_err(|error| FetchError::Ca(error.to_string()))?;
        found = true;
    }
    if found { Ok(roots) } else { Err(FetchError::Ca("no certificate in it".to_owned())) }
}

const IDLE: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Requests under way at once, of all kinds together.
const UNDER_WAY_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime::Runtime;

    /// A server that reads a little and answers every connection with the same bytes, or never.
    fn server(background: &Runtime, answer: Option<&'static str>) -> String {
        let listener = background.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        background.spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                if let Some(answer) = answer {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
                open.push(stream);
            }
        });
        format!("http://{address}/")
    }

    fn background() -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn ask(answer: Option<&'static str>, max_bytes: usize) -> Result<Response<Bytes>, FetchError> {
        let background = background();
        let url = server(&background, answer);
        let fetch = Fetch::new(None, background.handle().clone()).unwrap();
        let request = Request::get(url).body(Bytes::new()).unwrap();
        // A runtime without I/O and timer, as unlike the background one as can be.
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        other.block_on(fetch.send(request, 300, max_bytes))
    }

    #[test]
    fn a_request_is_answered_on_a_runtime_that_has_neither_io_nor_timer() {
        let answer = ask(Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), 64).unwrap();
        assert_eq!(answer.body().as_ref(), b"hi");
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let moved = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(ask(Some(moved), 64).unwrap().status(), 302);
    }

    #[test]
    fn an_answer_over_the_limit_is_an_error() {
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789";
        assert!(matches!(ask(Some(long), 8), Err(FetchError::TooLarge(8))));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        assert!(matches!(ask(None, 64), Err(FetchError::Deadline(300))));
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        let background = background();
        let fetch = Fetch::new(Some("nothing here"), background.handle().clone());
        assert!(matches!(fetch, Err(FetchError::Ca(_))));
    }
}
