//! What a connection is doing, so that one coarse timer per connection can end the ones that do
//! nothing.
//!
//! Never costs a timer per request: requests only store a time. Invariant: a connection with a
//! request under way is never overdue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Settings;

/// Times are milliseconds since the connection began. All on one thread; atomics only because tasks
/// must be `Send`.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    under_way: AtomicU32,
    served: AtomicU32,
    /// When the last request ended.
    quiet_since: AtomicU64,
    /// When the first byte of an unfinished head came; `NONE` if there is no such head.
    head_since: AtomicU64,
    /// Its bytes are no longer HTTP.
    tunnel: AtomicBool,
    header_timeout_ms: u64,
    idle_timeout_ms: u64,
}

impl Pulse {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            born: Instant::now(),
            under_way: AtomicU32::new(0),
            served: AtomicU32::new(0),
            quiet_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NONE),
            tunnel: AtomicBool::new(false),
            header_timeout_ms: settings.header_timeout_ms,
            idle_timeout_ms: settings.idle_timeout_ms,
        }
    }

    /// Counts a request as under way until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Relaxed);
        self.served.store(1, Relaxed);
        Busy(self.clone())
    }

    pub(super) fn head_begins(&self) {
        let _ = self.head_since.compare_exchange(NONE, self.now_ms(), Relaxed, Relaxed);
    }

    pub(super) fn head_ends(&self) {
        self.head_since.store(NONE, Relaxed);
    }

    /// To be called before the 101 is written.
    pub(super) fn becomes_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// How long until the connection has to be looked at again; `None` if its time is up.
    pub(super) fn left(&self) -> Option<Duration> {
        // A head can begin at any time, so no sleep is longer than a head may take.
        let longest = self.header_timeout_ms.max(1);
        if self.under_way.load(Relaxed) > 0 {
            return Some(Duration::from_millis(longest));
        }
        let head_since = self.head_since.load(Relaxed);
        let end = if head_since != NONE {
            head_since.saturating_add(self.header_timeout_ms)
        } else if self.served.load(Relaxed) == 0 {
            self.header_timeout_ms
        } else {
            self.quiet_since.load(Relaxed).saturating_add(self.idle_timeout_ms)
        };
        let left = end.saturating_sub(self.now_ms());
        (left > 0).then(|| Duration::from_millis(left.min(longest)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
        self.0.quiet_since.store(self.0.now_ms(), Relaxed);
    }
}

const NONE: u64 = u64::MAX;
