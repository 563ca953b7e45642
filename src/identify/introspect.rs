//! Opaque credentials, by asking the exchange (RFC 7662).
//!
//! Never believes anything but `active: true`, never keeps a yes for more than a minute or beyond
//! its `exp`, and asks anew for a guarded action. Tokens travel only to the configured address and
//! appear nowhere else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use super::claims::Claims;
use super::{CACHED_MAX, CACHED_TTL, CacheKey, Found, IdentifyError, Identity, Presented};
use crate::fetch::Fetch;
use crate::types::UnixMs;

/// One introspection endpoint.
pub(super) struct Introspect {
    group: Arc<str>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    fetch: Fetch,
    answers: Cache<CacheKey, Answer>,
    /// Questions under way, so that a page's twenty requests ask once.
    asking: Mutex<HashMap<CacheKey, Arc<OnceCell<Found>>>>,
    /// The endpoint failed; ordinary traffic does not wait for it again before this time.
    down_until: AtomicI64,
}

#[derive(Clone)]
struct Answer {
    identity: Option<Arc<Identity>>,
    until: UnixMs,
}

impl Introspect {
    /// `credentials` is `id:secret` for Basic authentication, else a bearer token (RFC 7662 §2.1).
    pub fn new(group: Arc<str>, uri: Uri, credentials: Option<&str>, fetch: Fetch) -> Self {
        Self {
            group,
            uri,
            authorization: credentials.and_then(authorization),
            fetch,
            answers: Cache::builder().max_capacity(CACHED_MAX).time_to_live(CACHED_TTL).build(),
            asking: Mutex::new(HashMap::new()),
            down_until: AtomicI64::new(i64::MIN),
        }
    }

    /// The last answer, while it holds.
    pub fn recall(&self, presented: &Presented<'_>, now: UnixMs) -> Option<Found> {
        if presented.text.len() > TOKEN_BYTES_MAX {
            return Some(Err(IdentifyError::Invalid("the token is too long")));
        }
        let answer = self.answers.get(&presented.cache_key())?;
        (now < answer.until).then_some(Ok(answer.identity))
    }

    /// Asks, unless an answer that holds is at hand and `fresh` does not forbid it.
    pub async fn check(&self, presented: &Presented<'_>, fresh: bool, now: UnixMs) -> Found {
        // The length is judged before anything else, fresh or not.
        match self.recall(presented, now) {
            Some(known) if !fresh || known.is_err() => return known,
            _ => {}
        }
        if fresh {
            // An answer to a question asked before this request came in is not fresh, so this asks
            // for itself.
            return self.ask(presented, now).await;
        }
        if now.0 < self.down_until.load(Ordering::Relaxed) {
            return Err(IdentifyError::Unavailable);
        }
        let key = presented.cache_key();
        let question = Question { all: &self.asking, key, cell: self.join(key) };
        question.cell.get_or_init(|| self.ask(presented, now)).await.clone()
    }

    fn join(&self, key: CacheKey) -> Arc<OnceCell<Found>> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.entry(key).or_default().clone()
    }

    async fn ask(&self, presented: &Presented<'_>, now: UnixMs) -> Found {
        let claims = self.introspect(presented.text).await.map_err(|why| {
            tracing::warn!(address = %self.uri, why, "introspection failed");
            self.down_until.store(now.plus_ms(DOWN_MS).0, Ordering::Relaxed);
            IdentifyError::Unavailable
        })?;
        let alive = claims.active
            && claims.exp.is_none_or(|ends| now < ends.0)
            && claims.nbf.is_none_or(|begins| begins.0 <= now);
        let identity = if alive {
            let identity = claims.identity(&self.group, presented);
            Some(Arc::new(identity.map_err(IdentifyError::Invalid)?))
        } else {
            None
        };
        let until = match &identity {
            Some(identity) => identity.expires.unwrap_or(UnixMs(i64::MAX)).min(now.plus_ms(YES_MS)),
            None => now.plus_ms(NO_MS),
        };
        let answer = Answer { identity: identity.clone(), until };
        self.answers.insert(presented.cache_key(), answer);
        Ok(identity)
    }

    async fn introspect(&self, token: &str) -> Result<Claims, String> {
        let form = format!("token={}", utf8_percent_encode(token, NON_ALPHANUMERIC));
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Bytes::from(form))
            .map_err(|error| error.to_string())?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.fetch.send(request, TIMEOUT_MS, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status()));
        }
        // The parser's own words may quote the answer.
        serde_json::from_slice(answer.body()).map_err(|_| "not an RFC 7662 answer".to_owned())
    }
}

/// One caller's part in a question; when it leaves, the next request asks anew.
struct Question<'a> {
    all: &'a Mutex<HashMap<CacheKey, Arc<OnceCell<Found>>>>,
    key: CacheKey,
    cell: Arc<OnceCell<Found>>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = all.entry(self.key)
            && Arc::ptr_eq(entry.get(), &self.cell)
        {
            entry.remove();
        }
    }
}

fn authorization(credentials: &str) -> Option<HeaderValue> {
    let value = if credentials.contains(':') {
        format!("Basic {}", STANDARD.encode(credentials))
    } else {
        format!("Bearer {credentials}")
    };
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How long a yes holds for ordinary traffic.
const YES_MS: u64 = 60_000;
/// How long a no holds, so that a dead cookie does not ask with every request.
const NO_MS: u64 = 5_000;
const DOWN_MS: u64 = 2_000;
const TIMEOUT_MS: u64 = 2_000;
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOKEN_BYTES_MAX: usize = 8 * 1024;
