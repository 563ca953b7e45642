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

fn settings(server: &kit::redis::Server, prefix: &str, deadline: Duration) -> Settings {
    let server = Server { host: "127.0.0.1".to_owned(), port: server.port };
    Settings {
        topology: Topology::Single(server),
        user: None,
        password: None,
        sentinel_user: None,
        sentinel_password: None,
        tls: None,
        database: 0,
        prefix: prefix.to_owned(),
        deadline,
    }
}

/// A store in this server under this prefix.
fn open_at(server: &kit::redis::Server, prefix: &str, limits: Limits) -> Arc<dyn Store> {
    let settings = settings(server, prefix, Duration::from_secs(20));
    Arc::new(Redis::open(settings, limits, Arc::new(SystemClock)).expect("opens"))
}

/// Stores with different prefixes know nothing of one another.
pub fn prefix() -> String {
    static STORES: AtomicU64 = AtomicU64::new(0);
    format!("test{}-", STORES.fetch_add(1, Ordering::Relaxed))
}

pub fn single(limits: Limits) -> Arc<dyn Store> {
    open_at(&kit::redis::shared().server, &prefix(), limits)
}

pub fn single_place() -> Place {
    let prefix = prefix();
    Box::new(move |limits| open_at(&kit::redis::shared().server, &prefix, limits))
}
