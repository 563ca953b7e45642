//! Key sets (RFC 7517): from a file, or from an https address with refresh.
//!
//! Never shows a key's content, not even in a fault: a set may hold shared secrets. From an
//! address, the last good set stays until a newer one is good, and shared secrets are not taken
//! (what is published is no secret).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::jwt::{Allowed, Key};
use crate::fault::{Fault, Source};
use crate::fetch::Fetch;

/// Keys of one issuer at one time.
pub(super) struct KeySet {
    pub keys: Vec<Key>,
    pub generation: u64,
}

/// The current key set and, for an address, what it takes to get a newer one.
pub(super) struct Keys {
    current: ArcSwapOption<KeySet>,
    remote: Option<Remote>,
}

struct Remote {
    uri: Uri,
    allowed: Allowed,
    fetch: Fetch,
    last: Mutex<Option<Last>>,
    watched: AtomicBool,
}

/// The last time the address was asked.
struct Last {
    at: Instant,
    good: bool,
    body: Bytes,
}

/// One key as written.
#[derive(Deserialize)]
pub(super) struct Jwk {
    pub kty: String,
    pub crv: Option<String>,
    pub alg: Option<String>,
    pub r#use: Option<String>,
    pub key_ops: Option<Vec<String>>,
    pub kid: Option<String>,
    pub n: Option<String>,
    pub e: Option<String>,
    pub x: Option<String>,
    pub y: Option<String>,
    pub k: Option<String>,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl Keys {
    /// Keys of a file; every fault of it goes to `faults`.
    pub fn from_file(source: &Source, allowed: &Allowed, faults: &mut Vec<Fault>) -> Option<Self> {
        let before = faults.len();
        let (keys, troubles) = read(&source.text, allowed);
        let set = KeySet { keys, generation: 1 };
        // The file's text stays out of the fault: the line in question may be a secret.
        let nameless = Source::new(&source.path, "");
        faults.extend(troubles.into_iter().map(|trouble| Fault::new(&nameless, 0..0, trouble)));
        let current = ArcSwapOption::from_pointee(set);
        (faults.len() == before).then_some(Self { current, remote: None })
    }

    /// Keys that an address will give; there are none until it was asked.
    pub fn at(uri: Uri, allowed: Allowed, fetch: Fetch) -> Self {
        let (last, watched) = (Mutex::new(None), AtomicBool::new(false));
        let remote = Some(Remote { uri, allowed, fetch, last, watched });
        Self { current: ArcSwapOption::empty(), remote }
    }

    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// Of the current set.
    pub fn generation(&self) -> Option<u64> {
        self.current.load().as_ref().map(|keys| keys.generation)
    }

    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// True once for an address: whoever gets it keeps the keys fresh.
    pub fn claim_watch(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| !remote.watched.swap(true, Ordering::Relaxed))
    }

    /// Asks the address again because a token names a key that is not known, at most once in 30 s
    /// (in 5 s while it fails); whether the last answer was good. Always false for a file.
    pub async fn refreshed(&self) -> bool {
        self.refresh(GAP_UNKNOWN_KEY).await
    }

    /// Asks the address again if its keys are five minutes old, or were not good.
    pub async fn keep_fresh(&self) {
        self.refresh(GAP_REGULAR).await;
    }

    async fn refresh(&self, gap: Duration) -> bool {
        let Some(remote) = &self.remote else { return false };
        // One asks, the others wait here and then see that it was just done.
        let mut last = remote.last.lock().await;
        if let Some(last) = &*last {
            let gap = if last.good { gap } else { GAP_FAILED };
            if last.at.elapsed() < gap {
                return last.good;
            }
        }
        let at = Instant::now();
        let known = last.as_ref().map(|last| last.body.clone()).unwrap_or_default();
        // Written down before asking: a caller that gives up half-way must not make the next one
        // ask at once.
        *last = Some(Last { at, good: false, body: known.clone() });
        let answer = remote.ask().await;
        let good = match &answer {
            Ok(body) if *body == known && self.current.load().is_some() => true,
            Ok(body) => self.take(body, &remote.allowed, &remote.uri),
            Err(why) => {
                tracing::warn!(address = %remote.uri, why, "the key set cannot be fetched");
                false
            }
        };
        let body = if good { answer.unwrap_or(known) } else { known };
        *last = Some(Last { at, good, body });
        good
    }

    fn take(&self, body: &Bytes, allowed: &Allowed, uri: &Uri) -> bool {
        let text = std::str::from_utf8(body).unwrap_or("");
        let (mut keys, troubles) = read(text, allowed);
        keys.retain(|key| !key.is_secret());
        for trouble in troubles {
            tracing::warn!(address = %uri, trouble, "the key set has a fault");
        }
        if keys.is_empty() {
            return false;
        }
        let generation = self.current.load().as_ref().map_or(1, |current| current.generation + 1);
        self.current.store(Some(Arc::new(KeySet { keys, generation })));
        true
    }
}

impl Remote {
    async fn ask(&self) -> Result<Bytes, String> {
        let request = Request::get(self.uri.clone())
            .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let answer = self.fetch.send(request, TIMEOUT_MS, SET_BYTES_MAX).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body()),
            other => Err(format!("status {other}")),
        }
    }
}

/// The usable keys of a set and what is wrong with the rest.
fn read(text: &str, allowed: &Allowed) -> (Vec<Key>, Vec<String>) {
    let mut troubles = Vec::new();
    let written: Written<'_> = match serde_json::from_str(text) {
        Ok(written) => written,
        Err(error) => {
            // The parser's own words may quote the text.
            let (line, column) = (error.line(), error.column());
            let trouble = format!("not a JSON key set (line {line}, column {column})");
            return (Vec::new(), vec![trouble]);
        }
    };
    let mut keys = Vec::new();
    let mut kids = HashSet::new();
    for (raw, number) in written.keys.into_iter().take(KEYS_MAX).zip(1..) {
        let Ok(jwk) = serde_json::from_str::<Jwk>(raw.get()) else {
            troubles.push(format!("key {number} is not a JSON web key"));
            continue;
        };
        if jwk.kid.as_ref().is_some_and(|kid| !kids.insert(kid.clone())) {
            troubles.push(format!("key {number} has the `kid` of another key"));
        }
        match Key::from_jwk(jwk, allowed) {
            Ok(key) => keys.extend(key),
            Err(why) => troubles.push(format!("key {number} {why}")),
        }
    }
    if keys.is_empty() && troubles.is_empty() {
        troubles.push("no key in this set is for signatures".to_owned());
    }
    (keys, troubles)
}

const GAP_REGULAR: Duration = Duration::from_secs(300);
const GAP_UNKNOWN_KEY: Duration = Duration::from_secs(30);
const GAP_FAILED: Duration = Duration::from_secs(5);
const TIMEOUT_MS: u64 = 3_000;
const SET_BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 100;
