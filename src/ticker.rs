//! Asks a ticker for its prices from time to time.
//!
//! Never on a request's way, and never follows a redirect. Invariant: whatever goes wrong, the prices stay as they are
//! and grow old, until they are too old to count.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};

use crate::fetch::Fetch;
use crate::prices::{Prices, Settings};
use crate::world::Clock;

/// Keeps the prices fresh, beginning at once. Ends when they are in use no more, or at once if they are none of a
/// ticker or somebody keeps them already. To be spawned whenever prices may be new. `count` is told of every answer
/// whether it was good.
pub(crate) fn watch(
    prices: &Arc<Prices>,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    count: impl Fn(bool) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let watched = prices.claim_watch().then(|| Arc::downgrade(prices));
    async move {
        while let Some(prices) = watched.as_ref().and_then(Weak::upgrade) {
            let Some(settings) = prices.settings() else { return };
            let polled = poll(&prices, settings, &fetch, &*clock).await;
            count(polled);
            let pause_ms = if polled { settings.every_ms } else { settings.every_ms.min(AGAIN_MS) };
            drop(prices);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
}

/// Asks once; whether the answer was good.
async fn poll(prices: &Prices, settings: &Settings, fetch: &Fetch, clock: &dyn Clock) -> bool {
    let at = clock.now();
    let before = prices.state().unwrap_or_default();
    let answer = ask(settings, fetch).await;
    match answer.and_then(|text| prices.take(&text, at)) {
        Ok(other) => {
            let now = prices.state().unwrap_or_default();
            if before.failures > 0 || before.as_of.is_none() {
                tracing::info!(address = settings.url, assets = now.assets, "there are prices");
            }
            if other {
                let assets = now.held_back.join(" ");
                tracing::warn!(assets, "prices that fell by more than half are held back");
            }
            true
        }
        Err(why) => {
            if before.error.as_deref() != Some(&why) {
                tracing::warn!(address = settings.url, why, "the ticker gives no prices");
            }
            prices.failed(&why);
            false
        }
    }
}

/// One answer as text.
///
/// # Errors
/// Why there is none; nothing of the answer is in it.
pub(crate) async fn ask(settings: &Settings, fetch: &Fetch) -> Result<String, String> {
    let request = Request::get(&settings.url)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("stepgate/", env!("CARGO_PKG_VERSION")))
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let answer = fetch.send(request, TIMEOUT_MS, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    String::from_utf8(answer.into_body().into()).map_err(|_| "the answer is no text".to_owned())
}

const TIMEOUT_MS: u64 = 5_000;
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// After a failure it is asked again so soon, unless it is asked more often anyway.
const AGAIN_MS: u64 = 5_000;
