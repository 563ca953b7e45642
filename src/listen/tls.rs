//! How TLS is spoken with clients.
//!
//! Never accepts early data: it can be replayed, and a replayed withdrawal is a second one (RFC
//! 8446 §8).

use std::io::{Error, IoSlice, Result as IoResult};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::certs::Certificates;

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

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, certificates from `certificates` at each handshake. A
/// client that offers only other protocols is refused in the handshake (RFC 7301 §3.2).
///
/// # Errors
/// When the system gives no randomness for ticket keys.
pub(super) fn server_config(certificates: Arc<Certificates>) -> IoResult<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::other)?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Given explicitly everywhere: a process-wide default could be another library's.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
