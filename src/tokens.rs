//! Tokens that an exchange gave out and that stand for whoever asked for them (Kraken's `GetWebSocketsToken`).
//!
//! Never kept on disk and never for longer than the exchange would take them. Invariant: a token is found only from the
//! address that asked for it, and stands for the credentials that came with that request, which are then checked anew.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use moka::sync::Cache;

use crate::crypto::sha256;
use crate::types::{SiteName, UnixMs};

/// Kraken's tokens must be used within 15 minutes; a connection that has used one keeps it.
const KEPT_MS: u64 = 15 * 60 * 1000;
const KEPT_MAX: u64 = 100_000;

/// The tokens of one gateway.
pub struct Tokens(Cache<[u8; 32], Arc<Voucher>>);

struct Voucher {
    headers: HeaderMap,
    client: IpAddr,
    until: UnixMs,
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::new(KEPT_MAX))
    }
}

impl Tokens {
    /// `headers`: the credentials of the request that was answered with this token.
    pub fn learn(
        &self,
        site: &SiteName,
        token: &str,
        headers: HeaderMap,
        client: IpAddr,
        now: UnixMs,
    ) {
        let voucher = Voucher { headers, client, until: now.plus_ms(KEPT_MS) };
        self.0.insert(key(site, token), Arc::new(voucher));
    }

    /// The credentials that a token stands for.
    pub fn find(
        &self,
        site: &SiteName,
        token: &str,
        client: IpAddr,
        now: UnixMs,
    ) -> Option<HeaderMap> {
        let voucher = self.0.get(&key(site, token))?;
        (voucher.client == client && now < voucher.until).then(|| voucher.headers.clone())
    }
}

fn key(site: &SiteName, token: &str) -> [u8; 32] {
    let length = (site.as_str().len() as u64).to_be_bytes();
    sha256(&[&length, site.as_str().as_bytes(), token.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_its_request_at_its_site_from_its_address_for_a_while() {
        let tokens = Tokens::default();
        let (site, home) = (SiteName::new("main"), IpAddr::from([203, 0, 113, 10]));
        let mut headers = HeaderMap::new();
        headers.insert("api-key", "k".parse().unwrap());
        tokens.learn(&site, "t", headers.clone(), home, UnixMs(0));
        let late = UnixMs(0).plus_ms(KEPT_MS);
        assert_eq!(tokens.find(&site, "t", home, UnixMs(late.0 - 1)), Some(headers));
        assert_eq!(tokens.find(&site, "t", home, late), None);
        assert_eq!(tokens.find(&site, "u", home, UnixMs(1)), None);
        assert_eq!(tokens.find(&SiteName::new("other"), "t", home, UnixMs(1)), None);
        assert_eq!(tokens.find(&site, "t", IpAddr::from([203, 0, 113, 11]), UnixMs(1)), None);
    }
}
