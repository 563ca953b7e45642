//! What a shared store costs: Redis commands per request, latency of a guarded action against the embedded store, and,
//! with `PART=memory`, bytes per session and account and the latency of a decision among a million of them.
//!
//! Starts its own `redis-server`. Nothing here fails on a slow machine: it measures.

#[path = "../it/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "store/gateway.rs"]
mod gateway;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "store/memory.rs"]
mod memory;
#[path = "store/traffic.rs"]
mod traffic;

use std::time::Duration;

use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    match std::env::var("PART").as_deref() {
        Ok("memory") => memory::run(&runtime),
        _ => runtime.block_on(traffic::run()),
    }
}

/// Median and 99th percentile in microseconds.
fn spread(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}
