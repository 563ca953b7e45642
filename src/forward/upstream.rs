//! Where requests go: one or several addresses of the exchange.
//!
//! Never connects. Addresses take turns; one that could not be reached is asked last for a while.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::{Scheme, Uri};
use rustls::pki_types::ServerName;

/// The upstream of one site.
#[derive(Debug)]
pub struct Upstream {
    addresses: Vec<Address>,
    /// Speak HTTP/2, over TLS or in clear with prior knowledge. HTTP/1.1 otherwise.
    pub(super) h2: bool,
    next: AtomicUsize,
}

/// One `http://host:port` or `https://host:port`.
#[derive(Debug)]
pub struct Address {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    /// The name that the certificate must have; `None` is plain HTTP.
    pub(super) tls: Option<ServerName<'static>>,
    /// As written; names the address in pools and errors.
    pub(super) name: Arc<str>,
    unreachable_since: Mutex<Option<Instant>>,
}

/// Why a configured upstream is no good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    #[error("an upstream needs at least one address")]
    Empty,
    #[error("`{0}` is not of the form http://host:port or https://host:port")]
    Form(String),
    #[error("`{0}` has a path or query; requests are forwarded to the path they came for")]
    Path(String),
}

impl Upstream {
    /// # Errors
    /// The first address that is no good.
    pub fn parse<S: AsRef<str>>(urls: &[S], h2: bool) -> Result<Self, UpstreamError> {
        let addresses: Vec<_> =
            urls.iter().map(|url| Address::parse(url.as_ref())).collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(UpstreamError::Empty);
        }
        Ok(Self { addresses, h2, next: AtomicUsize::new(0) })
    }

    /// Every address once: the one whose turn it is first, the unreachable ones last.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Address> {
        let (one, several) = match self.addresses.as_slice() {
            [one] => (Some(one), Vec::new()),
            several => (None, self.rotate(several)),
        };
        one.into_iter().chain(several)
    }

    fn rotate<'a>(&self, addresses: &'a [Address]) -> Vec<&'a Address> {
        let first = self.next.fetch_add(1, Relaxed) % addresses.len().max(1);
        let mut turn: Vec<_> = addresses.iter().cycle().skip(first).take(addresses.len()).collect();
        turn.sort_by_key(|address| address.is_unreachable());
        turn
    }
}

impl Address {
    /// # Errors
    /// When it is not a bare `http` or `https` origin.
    pub fn parse(url: &str) -> Result<Self, UpstreamError> {
        let form = || UpstreamError::Form(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| form())?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(form)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(UpstreamError::Path(url.to_owned()));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => {
                Some(ServerName::try_from(host.to_owned()).map_err(|_| form())?)
            }
            Some(scheme) if *scheme == Scheme::HTTP => None,
            _ => return Err(form()),
        };
        // A port that does not parse must not quietly become the default.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if tls.is_some() => 443,
            Some("") => 80,
            rest => rest.and_then(|rest| rest.strip_prefix(':')?.parse().ok()).ok_or_else(form)?,
        };
        Ok(Self {
            host: host.into(),
            port,
            tls,
            name: url.trim_end_matches('/').into(),
            unreachable_since: Mutex::new(None),
        })
    }

    pub(super) fn mark_reachable(&self, reachable: bool) {
        let since = (!reachable).then(Instant::now);
        *self.unreachable_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn is_unreachable(&self) -> bool {
        let since = *self.unreachable_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < ASK_LAST_FOR)
    }
}

const ASK_LAST_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Option<(String, u16, bool)> {
        let address = Address::parse(url).ok()?;
        Some((address.host.to_string(), address.port, address.tls.is_some()))
    }

    #[test]
    fn origins_are_read_with_their_default_ports() {
        assert_eq!(parse("http://127.0.0.1:9000"), Some(("127.0.0.1".into(), 9000, false)));
        assert_eq!(parse("https://api.example/"), Some(("api.example".into(), 443, true)));
        assert_eq!(parse("http://[::1]:81"), Some(("::1".into(), 81, false)));
        assert_eq!(parse("http://a"), Some(("a".into(), 80, false)));
    }

    #[test]
    fn anything_but_a_bare_origin_is_refused() {
        for url in [
            "",
            "a:80",
            "/x",
            "ftp://a",
            "http://u@a",
            "http://a/path",
            "http://a/?q",
            "http://a:99999",
            "http://a:",
            "//a",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
        assert_eq!(Upstream::parse::<&str>(&[], false).err(), Some(UpstreamError::Empty));
    }

    #[test]
    fn addresses_take_turns_and_an_unreachable_one_is_asked_last() {
        let upstream = Upstream::parse(&["http://a", "http://b", "http://c"], false).unwrap();
        let turn = || upstream.in_turn().map(|address| &*address.host).collect::<String>();
        assert_eq!([turn(), turn(), turn(), turn()], ["abc", "bca", "cab", "abc"]);
        upstream.addresses[1].mark_reachable(false);
        assert_eq!([turn(), turn()], ["cab", "cab"]);
        upstream.addresses[1].mark_reachable(true);
        assert_eq!(turn(), "abc");
    }
}
