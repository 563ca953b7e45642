//! How TLS is spoken with clients.
//!
//! Never accepts early data: it can be replayed, and a replayed withdrawal is a second one (RFC
//! 8446 §8).

use std::io::{Error, IoSlice, Result as IoResult};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::certs::Certificates;
use crate::crypto::tls_provider;

pub(super) type Stream = tokio_rustls::server::TlsStream<Wire>;

/// The client's socket. What the TLS session writes is most often one piece, and `writev` of one piece costs more than
/// `send`.
#[derive(Debug)]
pub(super) struct Wire(pub TcpStream);

impl Wire {
    /// Ready when a read would give bytes, the end or an error.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        self.0.poll_read_ready(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<IoResult<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<IoResult<usize>> {
        match pieces {
            [only] => Pin::new(&mut self.0).poll_write(cx, only),
            several => Pin::new(&mut self.0).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Our side of every handshake.
#[derive(Clone)]
pub(super) struct Acceptor {
    ours: Arc<ServerConfig>,
    /// The same, with the suite that the client likes best.
    theirs: Arc<ServerConfig>,
}

impl Acceptor {
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, certificates from `certificates` at each handshake. A
    /// client that offers only other protocols is refused in the handshake (RFC 7301 §3.2).
    ///
    /// # Errors
    /// When the system gives no randomness for ticket keys.
    pub(super) fn new(certificates: Arc<Certificates>) -> IoResult<Self> {
        let mut theirs = ServerConfig::builder_with_provider(tls_provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        theirs.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        theirs.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::other)?;
        theirs.max_early_data_size = 0;
        let mut ours = theirs.clone();
        ours.ignore_client_order = true;
        Ok(Self { ours: Arc::new(ours), theirs: Arc::new(theirs) })
    }

    /// The handshake, which the caller bounds in time.
    ///
    /// # Errors
    /// When the client breaks off, or there is nothing that both sides speak; it is sent the alert.
    pub(super) async fn accept(&self, wire: Wire) -> IoResult<Stream> {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
        let config = match self.is_chacha_first(start.client_hello().cipher_suites()) {
            true => &self.theirs,
            false => &self.ours,
        };
        start.into_stream(config.clone()).await
    }

    /// Who names ChaCha20 first has no instructions for AES. Most others name AES-256 first as a matter of course.
    fn is_chacha_first(&self, offered: &[CipherSuite]) -> bool {
        let known = &self.ours.crypto_provider().cipher_suites;
        let first = offered.iter().find(|suite| known.iter().any(|known| known.suite() == **suite));
        first.is_some_and(|suite| CHACHA20.contains(suite))
    }
}

const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];
