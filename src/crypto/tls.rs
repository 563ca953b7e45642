//! What TLS is made of, towards clients and upstreams.
//!
//! Never a process-wide default, which could be another library's. Invariant: everything that the library holds to be
//! safe is offered; only the order is ours.

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The suites with AES-128 first (RFC 8446 §9.1 has everybody know them). Their handshakes hash with SHA-256, for which
/// processors have instructions: with SHA-384 a sixth of a whole handshake is hashing.
pub fn tls_provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !AES_128.contains(&suite.suite()));
    Arc::new(provider)
}

const AES_128: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
