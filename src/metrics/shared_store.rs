//! What a store that several gateways share says of itself: its servers, its calls, how fresh the local view is.
//!
//! Never counts anything itself: the figures are taken over before each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::store::Figures;

#[derive(Default)]
pub(super) struct SharedStore {
    calls: Family<OutcomeLabels, Counter>,
    pushes: Counter,
    servers: Family<StateLabels, Gauge>,
    breakers_open: Gauge,
    view_fresh: Gauge,
    clock_skew: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl SharedStore {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "store_calls",
            "Calls to a shared store: all, and those that failed by why",
            self.calls.clone(),
        );
        registry.register("store_pushes", "Changes that servers pushed", self.pushes.clone());
        registry.register("store_servers", "Servers of the store", self.servers.clone());
        registry.register(
            "store_breakers_open",
            "Parts of the store whose calls fail at once",
            self.breakers_open.clone(),
        );
        registry.register(
            "store_view_fresh",
            "1 if every change older than two seconds was heard",
            self.view_fresh.clone(),
        );
        registry.register(
            "store_clock_skew_milliseconds",
            "How far the store's clock is ahead of this machine's",
            self.clock_skew.clone(),
        );
    }

    pub(super) fn set(&self, figures: &Figures) {
        for (outcome, count) in figures.calls {
            store(self.calls.get_or_create(&OutcomeLabels { outcome }).inner(), count);
        }
        store(self.pushes.inner(), figures.pushes);
        let servers = [("known", figures.servers), ("connected", figures.servers_connected)];
        for (state, count) in servers {
            self.servers.get_or_create(&StateLabels { state }).set(signed(count));
        }
        self.breakers_open.set(signed(figures.breakers_open));
        self.view_fresh.set(i64::from(figures.view_fresh));
        self.clock_skew.set(figures.clock_skew_ms);
    }
}

fn store(counter: &AtomicU64, count: u64) {
    counter.store(count, Ordering::Relaxed);
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
