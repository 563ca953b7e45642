//! Tokens that an exchange gave out and that stand for whoever asked for them (Kraken's `GetWebSocketsToken`).
//!
//! Never kept unsealed and never for longer than the exchange would take them. Invariant: a token is found only from the
//! address that asked for it, and stands for the credentials that came with that request, which are then checked anew;
//! it is found at every gateway of the store.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::crypto::{Keyring, hex, sha256};
use crate::store::{Store, StoreError};
use crate::types::{SiteName, UnixMs};

/// Kraken's tokens must be used within 15 minutes; a connection that has used one keeps it.
const KEPT_MS: u64 = 15 * 60 * 1000;
/// What the sealed voucher is bound to, beside its name.
const LABEL: &str = "token";

/// The tokens of one site.
pub struct Tokens<'a> {
    pub store: &'a dyn Store,
    pub keyring: &'a Keyring,
    pub site: &'a SiteName,
}

#[derive(Serialize, Deserialize)]
struct Voucher {
    headers: Vec<(String, Vec<u8>)>,
    client: IpAddr,
}

impl Tokens<'_> {
    /// `headers`: the credentials of the request that was answered with this token.
    ///
    /// # Errors
    /// If the store cannot keep it: then the token is nobody's.
    pub async fn learn(
        &self,
        token: &str,
        headers: &HeaderMap,
        client: IpAddr,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        let voucher = Voucher { headers: headers.iter().map(pair).collect(), client };
        let name = self.name(token);
        let plain = serde_json::to_vec(&voucher)
            .map_err(|_| StoreError::Corrupt { what: LABEL.to_owned() })?;
        let sealed = self.keyring.seal(LABEL, &[name.as_bytes()], &plain);
        self.store.lend(&name, sealed, now.plus_ms(KEPT_MS), now).await
    }

    /// The credentials that a token stands for.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn find(
        &self,
        token: &str,
        client: IpAddr,
        now: UnixMs,
    ) -> Result<Option<HeaderMap>, StoreError> {
        let name = self.name(token);
        let sealed = self.store.lent(&name, now).await?;
        Ok(sealed.and_then(|sealed| self.open(&name, &sealed, client)))
    }

    fn open(&self, name: &str, sealed: &[u8], client: IpAddr) -> Option<HeaderMap> {
        let plain = self.keyring.open(LABEL, &[name.as_bytes()], sealed).ok()?;
        let voucher: Voucher = serde_json::from_slice(&plain).ok()?;
        let pair = |(name, value): (String, Vec<u8>)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(&value).ok()?))
        };
        let headers = voucher.headers.into_iter().map(pair).collect::<Option<HeaderMap>>()?;
        (voucher.client == client).then_some(headers)
    }

    /// The token itself is in no store.
    fn name(&self, token: &str) -> String {
        let site = self.site.as_str().as_bytes();
        hex(&sha256(&[&(site.len() as u64).to_be_bytes(), site, token.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;
    use crate::store::embedded::Embedded;
    use crate::world::SeededEntropy;

    #[tokio::test]
    async fn a_token_stands_for_its_request_at_its_site_from_its_address_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(&folder.path().join("state.db"), Default::default()).unwrap();
        let text = Keyring::generate(&SeededEntropy::new(1));
        let keyring = Keyring::parse(&Source::new("master.key", text), &mut Vec::new()).unwrap();
        let at = |site| Tokens { store: &store, keyring: &keyring, site };
        let (main, other) = (SiteName::new("main"), SiteName::new("other"));
        let home = IpAddr::from([203, 0, 113, 10]);
        let mut headers = HeaderMap::new();
        headers.insert("api-key", "k".parse().unwrap());
        at(&main).learn("t", &headers, home, UnixMs(0)).await.unwrap();
        let late = UnixMs(0).plus_ms(KEPT_MS);
        let find =
            async |site, token, client, now| at(site).find(token, client, now).await.unwrap();
        assert_eq!(find(&main, "t", home, UnixMs(late.0 - 1)).await, Some(headers));
        assert_eq!(find(&main, "t", home, late).await, None);
        assert_eq!(find(&main, "u", home, UnixMs(1)).await, None);
        assert_eq!(find(&other, "t", home, UnixMs(1)).await, None);
        assert_eq!(find(&main, "t", IpAddr::from([203, 0, 113, 11]), UnixMs(1)).await, None);
    }
}
