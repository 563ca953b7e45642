//! What all tasks of a link share: the map of servers, freshness, the store's time.
//!
//! Never locks on the way of ordinary traffic: freshness and time are one atomic number each, written by whoever hears a
//! pulse. Invariant: fresh means that every server answered a pulse that was sent within the last two seconds.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::Script;
use super::clock::Watchman;
use super::counters::Counters;
use super::dial::Dialer;
use super::ear::Ears;
use super::node::Node;
use crate::store::redis::Server;
use crate::world::{Clock, SystemClock};

/// How old the local view may be.
pub(super) const FRESH: Duration = Duration::from_secs(2);

pub(super) struct Ground {
    base: Instant,
    pub(super) dialer: Dialer,
    pub(super) ears: Arc<Ears>,
    pub(super) counters: Arc<Counters>,
    pub(super) scripts: Vec<Prepared>,
    pub(super) prefix: String,
    pub(super) deadline: Duration,
    pub(super) map: watch::Sender<Arc<Map>>,
    /// Rung when a call found the map wrong.
    pub(super) look_again: Notify,
    fresh_until_ms: AtomicU64,
    /// The store's clock (unix, us) less `base`'s; `i64::MIN` before the first pulse.
    offset_us: AtomicI64,
    watchman: Mutex<Watchman>,
}

/// A script and the name that servers know it by.
pub(super) struct Prepared {
    pub(super) script: &'static Script,
    pub(super) sha: String,
}

impl Prepared {
    pub(super) fn new(script: &'static Script) -> Self {
        Self { script, sha: redis::Script::new(script.source).get_hash().to_owned() }
    }
}

/// Which servers there are and which slots they hold.
#[derive(Default)]
pub(super) struct Map {
    pub(super) nodes: Vec<Arc<Node>>,
    /// Slot → index of a node; empty if one server has all.
    pub(super) slots: Vec<u16>,
}

impl Map {
    pub(super) fn node_of(&self, key: &[u8]) -> Option<&Arc<Node>> {
        if self.slots.is_empty() {
            return self.nodes.first();
        }
        let index = self.slots.get(usize::from(slot(key)))?;
        self.nodes.get(usize::from(*index))
    }

    pub(super) fn node_at(&self, server: &Server) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.is_at(server))
    }
}

impl Ground {
    pub(super) fn new(
        dialer: Dialer,
        ears: Arc<Ears>,
        counters: Arc<Counters>,
        scripts: &'static [&'static Script],
        prefix: &str,
        deadline: Duration,
    ) -> Self {
        Self {
            base: Instant::now(),
            dialer,
            ears,
            counters,
            scripts: scripts.iter().map(|script| Prepared::new(script)).collect(),
            prefix: prefix.to_owned(),
            deadline,
            map: watch::Sender::new(Arc::default()),
            look_again: Notify::new(),
            fresh_until_ms: AtomicU64::new(0),
            offset_us: AtomicI64::new(i64::MIN),
            watchman: Mutex::default(),
        }
    }

    pub(super) fn map(&self) -> Arc<Map> {
        self.map.borrow().clone()
    }

    pub(super) fn now_us(&self) -> i64 {
        i64::try_from(self.base.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.now_ms() < self.fresh_until_ms.load(Ordering::Acquire)
    }

    /// How far the store's clock is ahead of this machine's; 0 before anything is known.
    pub(super) fn skew_ms(&self) -> i64 {
        match self.offset_us.load(Ordering::Relaxed) {
            i64::MIN => 0,
            offset_us => self.skew_of_ms(offset_us),
        }
    }

    /// The same of one server.
    pub(super) fn skew_of_ms(&self, offset_us: i64) -> i64 {
        (self.now_us() + offset_us).div_euclid(1_000) - SystemClock.now().0
    }

    /// A pulse was answered, or the map changed.
    pub(super) fn felt(&self) {
        let map = self.map();
        let mut offsets: Vec<i64> = map.nodes.iter().filter_map(|node| node.offset_us()).collect();
        offsets.sort_unstable();
        if let Some(middle) = offsets.get(offsets.len() / 2) {
            self.offset_us.store(*middle, Ordering::Relaxed);
            self.mind_the_skew();
        }
        let oldest = map.nodes.iter().map(|node| node.answered_ms()).min().flatten();
        let until = oldest.map_or(0, |sent_ms| sent_ms + FRESH.as_millis() as u64);
        self.fresh_until_ms.store(until, Ordering::Release);
    }

    fn mind_the_skew(&self) {
        let skew_ms = self.skew_ms();
        let mut watchman = self.watchman.lock().unwrap_or_else(PoisonError::into_inner);
        if watchman.look(skew_ms) {
            tracing::warn!(
                skew_ms,
                "this machine's clock and the store's disagree; the store's counts"
            );
        }
    }
}

/// The slot of a Cluster that a key lies in: its tag's, if it has one.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let behind = key.get(open + 1..)?;
        let end = behind.iter().position(|byte| *byte == b'}')?;
        behind.get(..end).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

pub(super) const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM, as the cluster's specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_in_the_slots_that_redis_says() {
        // CLUSTER KEYSLOT of each.
        assert_eq!(slot(b"123456789"), 12_739);
        assert_eq!(slot(b"stepgate{1f3}a5:mainbob"), slot(b"1f3"));
        assert_eq!(slot(b"foo{}{bar}"), 8_363);
        assert_eq!(slot(b"foo{{bar}}zap"), 4_015);
    }
}
