//! How TLS is spoken with clients.
//!
//! Never accepts early data: it can be replayed, and a replayed withdrawal is a second one (RFC
//! 8446 §8).

use std::io::{Error, Result as IoResult};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::net::TcpStream;

use super::certs::Certificates;

pub(super) type Stream = tokio_rustls::server::TlsStream<TcpStream>;

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
