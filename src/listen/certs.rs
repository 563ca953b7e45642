//! Certificates and keys: read from PEM files, checked, swapped while running.
//!
//! Never echoes a file's content. Invariant: what new handshakes use is always a complete,
//! consistent set; a set with any fault is not taken.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::validity::{self, DAYS_WARN, Validity};
use crate::crypto::tls_provider;
use crate::fault::{Fault, Source};
use crate::types::UnixMs;

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The certificates in use. The first whose names cover the client's SNI is taken (a wildcard
/// covers one level), and the very first if none does.
pub struct Certificates(ArcSwap<Vec<Arc<CertifiedKey>>>);

impl Certificates {
    /// # Errors
    /// Every fault of every file.
    pub fn load(pairs: &[Pair]) -> Result<Self, Vec<Fault>> {
        Ok(Self(ArcSwap::from_pointee(read_all(pairs)?)))
    }

    /// Swaps in what the files hold now; handshakes under way and open connections keep what they
    /// have.
    ///
    /// # Errors
    /// Every fault of every file; the old certificates stay in use.
    pub fn reload(&self, pairs: &[Pair]) -> Result<(), Vec<Fault>> {
        self.take(Self::load(pairs)?);
        Ok(())
    }

    /// Swaps in what was loaded.
    pub fn take(&self, loaded: Self) {
        self.0.store(loaded.0.into_inner());
    }

    /// Says in the log which of them have ended or are about to; `pairs` is what they were read from.
    pub fn warn_of_endings(&self, pairs: &[Pair], now: UnixMs) {
        for (key, pair) in self.0.load().iter().zip(pairs) {
            let Some(validity) = Validity::of(&key.cert) else { continue };
            if validity.days_left(now) < DAYS_WARN || !validity.has_begun(now) {
                let certificate = pair.certificate.display();
                tracing::warn!("the certificate {certificate} {}", validity.say(now));
            }
        }
    }

    fn choose(&self, sni: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let all = self.0.load();
        let named = match sni {
            Some(name) if all.len() > 1 => all.iter().find(|key| covers(key, name)),
            _ => None,
        };
        named.or(all.first()).cloned()
    }
}

/// What a certificate says of itself.
#[derive(Clone, Debug)]
pub struct Seen {
    pub names: Vec<String>,
    /// Of the whole chain; `None` where a part of it cannot be read.
    pub validity: Option<Validity>,
    key: Arc<CertifiedKey>,
}

impl Seen {
    /// Whether a client that came for this host accepts it.
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.key, host.trim_start_matches('[').trim_end_matches(']'))
    }
}

/// Reads one pair as `load` would.
///
/// # Errors
/// Every fault of its files.
pub fn inspect(pair: &Pair) -> Result<Seen, Vec<Fault>> {
    let key = Arc::new(read(pair, &tls_provider())?);
    let names = key.cert.first().map(validity::names).unwrap_or_default();
    Ok(Seen { names, validity: Validity::of(&key.cert), key })
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.0.load().len())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

fn covers(key: &CertifiedKey, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    let leaf = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    leaf.is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
}

fn read_all(pairs: &[Pair]) -> Result<Vec<Arc<CertifiedKey>>, Vec<Fault>> {
    let provider = tls_provider();
    let mut keys = Vec::with_capacity(pairs.len());
    let mut faults = Vec::new();
    for pair in pairs {
        match read(pair, &provider) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(more) => faults.extend(more),
        }
    }
    if pairs.is_empty() {
        faults.push(fault(Path::new("[listen]"), "no certificate is configured".into()));
    }
    if faults.is_empty() { Ok(keys) } else { Err(faults) }
}

fn read(pair: &Pair, provider: &CryptoProvider) -> Result<CertifiedKey, Vec<Fault>> {
    let (chain, key) = match (read_chain(&pair.certificate), read_key(&pair.key)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|error| {
        vec![fault(&pair.key, format!("this private key cannot be used: {error}"))]
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|error| {
        let message = format!("does not go with the key {}: {error}", pair.key.display());
        vec![
            fault(&pair.certificate, message)
                .help("the first certificate in the file must be the one made for this key"),
        ]
    })?;
    Ok(certified)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(fault(path, "no certificate in this file".into())
            .help("PEM is expected: -----BEGIN CERTIFICATE-----, the leaf first")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(fault(path, format!("not readable as PEM: {error}"))),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let pem = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    // The parser's error can quote the line it stumbled over, and this file holds a secret.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        fault(path, "no private key in this file".into())
            .help("PEM without a passphrase is expected: PKCS#8, PKCS#1 or SEC1")
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    fault(path, format!("cannot be read: {error}"))
}

fn fault(path: &Path, message: String) -> Fault {
    Fault::new(&Source::new(path, ""), 0..0, message)
}
