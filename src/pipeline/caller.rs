//! From whom and for which host a request is, with everything about it that takes work to find or to write down.
//!
//! Never outlives what it was made from: a connection keeps the last one, and the next request takes it only if its client
//! and host are the same to the byte and the lists and databases have not been replaced.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::forward::OnBehalf;
use crate::identify::LastCredentials;
use crate::listen::peer::{Unreadable, client_address};
use crate::locate::{Locate, Place};
use crate::rejection::Rejection;
use crate::types::UnixMs;

/// A client at a host.
pub(crate) struct Caller {
    pub client: IpAddr,
    /// `Host` or `:authority` exactly as sent.
    pub authority: Arc<str>,
    /// The same in lower case without the port.
    pub host: Arc<str>,
    pub place: Arc<Place>,
    /// What an elevation given here is tied to.
    pub place_key: Arc<str>,
    pub on_behalf: Arc<OnBehalf>,
    pub last_credentials: LastCredentials,
    /// Of the databases that found the place.
    generation: u64,
}

/// The caller of a connection's last request.
#[derive(Default)]
pub struct LastCaller {
    caller: Mutex<Option<Arc<Caller>>>,
    /// What a trusted proxy said the client was, and what was read from it.
    forwarded: Mutex<Option<(Box<[u8]>, IpAddr)>>,
}

impl LastCaller {
    /// The client's address. The connection's peer and who is trusted do not change while it lasts, so that the same one
    /// line says the same again.
    pub(super) fn client(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &[IpNet],
    ) -> Result<IpAddr, Unreadable> {
        let mut lines = headers.get_all(X_FORWARDED_FOR).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return client_address(peer, headers, trusted);
        };
        let mut last = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((said, client)) = &*last
            && **said == *line.as_bytes()
        {
            return Ok(*client);
        }
        let client = client_address(peer, headers, trusted)?;
        if line.len() <= FORWARDED_BYTES_MAX {
            *last = Some((line.as_bytes().into(), client));
        }
        Ok(client)
    }

    /// The caller of a request: the last one if it is the same, else a new one.
    pub(super) fn or_new(
        &self,
        locator: &dyn Locate,
        client: IpAddr,
        authority: &str,
        now: UnixMs,
    ) -> Result<Arc<Caller>, Rejection> {
        let generation = locator.generation(now);
        let mut last = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        let same = last.as_ref().filter(|last| {
            last.client == client && *last.authority == *authority && last.generation == generation
        });
        if let Some(same) = same {
            return Ok(same.clone());
        }
        let caller = Arc::new(Caller::new(locator.place(client), generation, client, authority)?);
        *last = Some(caller.clone());
        Ok(caller)
    }
}

impl Caller {
    fn new(
        place: Arc<Place>,
        generation: u64,
        client: IpAddr,
        authority: &str,
    ) -> Result<Self, Rejection> {
        const MALFORMED: Rejection = Rejection::BadRequest("not a host name");
        Ok(Self {
            client,
            authority: authority.into(),
            host: host_of(authority).ok_or(MALFORMED)?.into(),
            place_key: place.key(client),
            place,
            on_behalf: Arc::new(OnBehalf::of(client, authority).ok_or(MALFORMED)?),
            last_credentials: LastCredentials::default(),
            generation,
        })
    }

    /// The same client at another authority of the site: a held request keeps its own.
    pub(super) fn at(&self, authority: &str) -> Result<Self, Rejection> {
        Self::new(self.place.clone(), self.generation, self.client, authority)
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a connection may keep of its last request.
const FORWARDED_BYTES_MAX: usize = 256;

/// The host name in lower case without its port; `None` if it holds anything else.
fn host_of(authority: &str) -> Option<String> {
    let (name, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    };
    let port = port.strip_prefix(':').unwrap_or("");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b);
    let readable = !name.is_empty()
        && name.bytes().all(plain)
        && port.len() <= 5
        && port.bytes().all(|b| b.is_ascii_digit());
    readable.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::NetworkClass;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        assert_eq!(host_of("Exchange.Example:8443").as_deref(), Some("exchange.example"));
        assert_eq!(host_of("[2001:db8::1]").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(host_of("[2001:db8::1]:443").as_deref(), Some("[2001:db8::1]"));
        for bad in ["", ":443", "a@b", "a/b", "a,b", "a b", "a:b", "a:123456", "exämple"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_about_the_client_is_read_anew_whenever_it_is_another() {
        let (last, peer) = (LastCaller::default(), "127.0.0.1".parse().unwrap());
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        let mut steps = vec![];
        for line in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1, 192.0.2.9", "192.0.2.1"] {
            steps.push(vec![line]);
            steps.push(vec![line, "198.51.100.1"]);
            steps.push(vec!["nobody"]);
            steps.push(vec![]);
        }
        for lines in steps {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            let read = client_address(peer, &headers, &trusted).ok();
            for _ in 0..2 {
                assert_eq!(last.client(peer, &headers, &trusted).ok(), read, "{lines:?}");
            }
        }
    }

    fn nowhere() -> Place {
        Place {
            country: None,
            city: None,
            coordinates: None,
            asn: None,
            organisation: None,
            network: NetworkClass::Unknown,
        }
    }

    #[test]
    fn a_caller_is_the_last_one_only_if_client_host_and_databases_are_the_same() {
        struct Map(std::sync::atomic::AtomicU64);
        impl Locate for Map {
            fn place(&self, client: IpAddr) -> Arc<Place> {
                let country = Some(format!("{}{client}", self.generation(UnixMs(0))).into());
                Arc::new(Place { country, ..nowhere() })
            }
            fn generation(&self, _now: UnixMs) -> u64 {
                self.0.load(std::sync::atomic::Ordering::SeqCst)
            }
        }
        let (map, last) = (Map(1.into()), LastCaller::default());
        let ask = |client: &str, host| {
            last.or_new(&map, client.parse().unwrap(), host, UnixMs(0)).unwrap()
        };
        let first = ask("192.0.2.1", "A.example:8443");
        assert_eq!((&*first.host, &*first.authority), ("a.example", "A.example:8443"));
        assert!(Arc::ptr_eq(&first, &ask("192.0.2.1", "A.example:8443")));
        assert_eq!(&*ask("192.0.2.1", "b.example").host, "b.example");
        assert_eq!(&*ask("192.0.2.2", "b.example").place_key, "1192.0.2.2");
        map.0.store(2, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(&*ask("192.0.2.2", "b.example").place_key, "2192.0.2.2");
        assert!(last.or_new(&map, "192.0.2.2".parse().unwrap(), "a/b", UnixMs(0)).is_err());
    }
}
