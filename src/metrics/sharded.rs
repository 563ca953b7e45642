//! Counters that cores do not fight for.
//!
//! Never exact while threads are adding: a scrape sums the shards one after the other. Invariant:
//! nothing added is ever lost, whichever thread adds and whichever takes away.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric, counter, gauge};

/// One number in as many parts as there are shards; arithmetic wraps, so that parts may be
/// negative.
#[derive(Debug, Default)]
pub(super) struct Sharded([Shard; SHARDS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

impl Sharded {
    /// Adds to this thread's part, and answers what the part was before.
    fn add(&self, value: u64) -> u64 {
        self.0.get(shard()).map_or(0, |part| part.0.fetch_add(value, Ordering::Relaxed))
    }
    fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, part| sum.wrapping_add(part.0.load(Ordering::Relaxed)))
    }
}

/// `inc` and `inc_by` answer the former value of one part only; nothing here uses the answer.
impl counter::Atomic<u64> for Sharded {
    fn inc(&self) -> u64 {
        self.add(1)
    }
    fn inc_by(&self, value: u64) -> u64 {
        self.add(value)
    }
    fn get(&self) -> u64 {
        self.sum()
    }
}

impl gauge::Atomic<i64> for Sharded {
    fn inc(&self) -> i64 {
        self.add(1).cast_signed()
    }
    fn inc_by(&self, value: i64) -> i64 {
        self.add(value.cast_unsigned()).cast_signed()
    }
    fn dec(&self) -> i64 {
        self.inc_by(-1)
    }
    fn dec_by(&self, value: i64) -> i64 {
        self.inc_by(value.wrapping_neg())
    }
    fn set(&self, value: i64) -> i64 {
        let before = gauge::Atomic::get(self);
        self.inc_by(value.wrapping_sub(before));
        before
    }
    fn get(&self) -> i64 {
        self.sum().cast_signed()
    }
}

/// A histogram of times from 0.1 ms to 10 s.
#[derive(Clone, Debug)]
pub(super) struct Latency(Arc<[Times; SHARDS]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Times {
    /// One per bound, and one for everything above.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Times::default())))
    }
}

impl Latency {
    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        let Some(times) = self.0.get(shard()) else { return };
        if let Some(count) = times.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        times.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds
            .enumerate()
            .map(|(at, bound)| {
                let parts = self.0.iter().filter_map(|times| times.counts.get(at));
                (bound, parts.map(|count| count.load(Ordering::Relaxed)).sum())
            })
            .collect();
        let sum_us: u64 = self.0.iter().map(|times| times.sum_us.load(Ordering::Relaxed)).sum();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum_us as f64 / 1e6, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Which part this thread adds to: threads take turns when they first ask.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        mine.get()
    })
}

const SHARDS: usize = 16;
const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    2_500_000, 10_000_000,
];
