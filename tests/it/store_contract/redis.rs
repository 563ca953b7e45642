//! Stores in a real Redis, and what only they promise: what is lost is void, and what is late is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stepgate::stepup::challenge::Limits;
use stepgate::store::Store;
use stepgate::store::redis::{Redis, Server, Settings, Topology};
use stepgate::world::SystemClock;

use super::Place;
use crate::kit;

/// A store in this server under this prefix.
pub fn open_at(server: &kit::redis::Server, prefix: &str, limits: Limits) -> Arc<dyn Store> {
    let server = Server { host: server.host.clone(), port: server.port };
    let settings = Settings {
        topology: Topology::Single(server),
        user: None,
        password: None,
        tls: None,
        database: 0,
        prefix: prefix.to_owned(),
        deadline: Duration::from_secs(20),
    };
    Arc::new(Redis::open(settings, limits, Arc::new(SystemClock)).expect("opens"))
}

/// Stores with different prefixes know nothing of one another.
pub fn prefix() -> String {
    static STORES: AtomicU64 = AtomicU64::new(0);
    format!("test{}-", STORES.fetch_add(1, Ordering::Relaxed))
}

pub fn single(limits: Limits) -> Arc<dyn Store> {
    open_at(&kit::redis::shared(), &prefix(), limits)
}

pub fn single_place() -> Place {
    let prefix = prefix();
    Box::new(move |limits| open_at(&kit::redis::shared(), &prefix, limits))
}
