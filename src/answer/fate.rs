//! What became of a request that an owner approved on a page, kept for the next look at that page.
//!
//! Never in the way of the request itself: what cannot be kept is missing from a page, not from the audit log. Invariant: sealed, because where an exchange leads to is its customer's business.

use std::time::Duration;

use http::{HeaderMap, header};

use crate::gateway::Gateway;
use crate::stepup::fate::{FATE_KEPT_MS, Fate};
use crate::store::StoreError;
use crate::types::{ChallengeId, UnixMs};

/// Keeps it in the place of what was kept before. What cannot be kept is not told, and that is all.
pub(crate) async fn keep_if_possible(gateway: &Gateway, challenge: &ChallengeId, fate: &Fate) {
    if let Err(error) = keep(gateway, challenge, fate).await {
        tracing::warn!(%error, "a page will not tell what became of a request");
    }
}

async fn keep(gateway: &Gateway, challenge: &ChallengeId, fate: &Fate) -> Result<(), StoreError> {
    let now = gateway.clock.now();
    let plain =
        serde_json::to_vec(fate).map_err(|_| StoreError::Corrupt { what: LABEL.to_owned() })?;
    let sealed = gateway.keyring.seal(LABEL, &[challenge.as_str().as_bytes()], &plain);
    gateway.store.lend(&name(challenge), sealed, now.plus_ms(FATE_KEPT_MS), now).await
}

/// What is known of it.
pub(super) async fn find(
    gateway: &Gateway,
    challenge: &ChallengeId,
    now: UnixMs,
) -> Result<Option<Fate>, StoreError> {
    let Some(sealed) = gateway.store.lent(&name(challenge), now).await? else { return Ok(None) };
    let plain = gateway.keyring.open(LABEL, &[challenge.as_str().as_bytes()], &sealed);
    let fate = plain.ok().and_then(|plain| serde_json::from_slice::<Fate>(&plain).ok());
    Ok(fate.map(|fate| fate.as_of(now)))
}

/// The same, once it is over: a second click on a button waits for what the first one brings, which may only just have
/// begun and not have said so yet.
pub(super) async fn wait(
    gateway: &Gateway,
    challenge: &ChallengeId,
) -> Result<Option<Fate>, StoreError> {
    let mut known = find(gateway, challenge, gateway.clock.now()).await?;
    for looks in 0..LOOKS_MAX {
        match &known {
            Some(fate) if fate.is_over() => break,
            None if looks >= LOOKS_FOR_BEGINNING => break,
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
        known = find(gateway, challenge, gateway.clock.now()).await?;
    }
    Ok(known)
}

/// Where an answer leads to, if that is a page of this site.
pub(crate) fn led_to(headers: &HeaderMap, authority: &str) -> Option<String> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    let path =
        text.strip_prefix("https://").and_then(|rest| rest.strip_prefix(authority)).unwrap_or(text);
    let local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    (local && path.len() <= LED_TO_BYTES_MAX).then(|| path.to_owned())
}

fn name(challenge: &ChallengeId) -> String {
    format!("fate:{challenge}")
}

const LABEL: &str = "fate";
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_MAX: usize = 100;
const LOOKS_FOR_BEGINNING: usize = 10;
const LED_TO_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_site_are_led_to() {
        let led = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            led_to(&headers, "exchange.example:8443")
        };
        assert_eq!(led("/receipt/1").as_deref(), Some("/receipt/1"));
        assert_eq!(led("https://exchange.example:8443/r?x=1").as_deref(), Some("/r?x=1"));
        for other in [
            "https://exchange.example/r",
            "https://exchange.example:8443.evil.example/r",
            "//evil.example/r",
            "/\\evil.example",
            "receipt",
            "",
        ] {
            assert_eq!(led(other), None, "{other}");
        }
    }
}
