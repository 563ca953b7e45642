//! What a link stands for: one account, one notice, once, for a week.
//!
//! Never kept under the id itself, only under its digest, and sealed. Invariant: the account is frozen before the link
//! counts as used, so that a gateway that dies in between leaves a link that works.

use std::net::IpAddr;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::crypto::{hex, sha256};
use crate::gateway::Gateway;
use crate::stepup::notice::{About, Notice};
use crate::store::{StoreError, Told};
use crate::types::{AccountId, UnixMs};

/// A link as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NotMe {
    pub account: AccountId,
    pub notice: Notice,
    pub until: UnixMs,
    pub used: Option<UnixMs>,
}

impl NotMe {
    /// What its notice told of, as far as a thaw could have settled it.
    pub fn told(&self) -> Told {
        let opens = match self.notice.about {
            About::ThawAsked { opens } => Some(opens),
            _ => None,
        };
        Told { at: self.notice.at, opens }
    }
}

/// Keeps it for any gateway to find.
///
/// # Errors
/// If the store does not answer.
pub(crate) async fn keep(
    gateway: &Gateway,
    id: &str,
    record: &NotMe,
    now: UnixMs,
) -> Result<(), StoreError> {
    let name = name(id);
    let plain =
        serde_json::to_vec(record).map_err(|_| StoreError::Corrupt { what: LABEL.to_owned() })?;
    let sealed = gateway.keyring.seal(LABEL, &[name.as_bytes()], &plain);
    gateway.store.lend(&name, sealed, record.until, now).await
}

/// The link of this id, if it is one and its time is not over.
///
/// # Errors
/// If the store does not answer.
pub(crate) async fn find(
    gateway: &Gateway,
    id: &str,
    now: UnixMs,
) -> Result<Option<NotMe>, StoreError> {
    let name = name(id);
    let Some(sealed) = gateway.store.lent(&name, now).await? else { return Ok(None) };
    let opened = gateway.keyring.open(LABEL, &[name.as_bytes()], &sealed).ok();
    Ok(opened.and_then(|plain| serde_json::from_slice(&plain).ok()))
}

fn name(id: &str) -> String {
    format!("{LABEL}:{}", hex(&sha256(&[LABEL.as_bytes(), id.as_bytes()])))
}

/// Who asked for links that there are not. 256 random bits are not guessed; this tells those who try to stop. Whoever has
/// a link is never held up, whatever others behind the same address do.
pub(crate) struct Misses(Cache<[u8; 16], (UnixMs, u32)>);

impl Default for Misses {
    fn default() -> Self {
        Self(Cache::new(CLIENTS_MAX))
    }
}

impl Misses {
    /// How long this client must wait, if it missed too often.
    pub fn wait_ms(&self, client: IpAddr, now: UnixMs) -> Option<u64> {
        let (since, count) = self.0.get(&key(client))?;
        let left = since.plus_ms(WINDOW_MS).since_ms(now);
        (count >= MISSES_MAX && left > 0).then_some(left)
    }

    pub fn note(&self, client: IpAddr, now: UnixMs) {
        let key = key(client);
        let fresh = self.0.get(&key).filter(|(since, _)| now < since.plus_ms(WINDOW_MS));
        let (since, count) = fresh.unwrap_or((now, 0));
        self.0.insert(key, (since, count.saturating_add(1)));
    }
}

/// An address of IPv4, or a network of 64 bits, which is one client's.
fn key(client: IpAddr) -> [u8; 16] {
    match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

const LABEL: &str = "not-me";
/// A week: a notice may wait over a holiday.
pub(crate) const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
const MISSES_MAX: u32 = 20;
const WINDOW_MS: u64 = 10 * 60_000;
const CLIENTS_MAX: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_misses_in_ten_minutes_are_looked_up_and_no_more() {
        let (misses, client) = (Misses::default(), "2001:db8::1".parse().unwrap());
        let neighbour = "2001:db8::2:1".parse().unwrap();
        for _ in 0..MISSES_MAX {
            assert_eq!(misses.wait_ms(client, UnixMs(5)), None);
            misses.note(client, UnixMs(5));
        }
        assert_eq!(misses.wait_ms(neighbour, UnixMs(5)), Some(WINDOW_MS));
        assert_eq!(misses.wait_ms("198.51.100.7".parse().unwrap(), UnixMs(5)), None);
        assert_eq!(misses.wait_ms(client, UnixMs(5).plus_ms(WINDOW_MS)), None);
    }
}
