//! What operators have suspended, and how many requests that refused.
//!
//! Never counts anything by what a client sends: actions are those of packs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub(super) struct Suspended {
    in_force: Gauge,
    refused: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    site: String,
    action: String,
}

impl Suspended {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("suspensions", "Suspensions that are in force", self.in_force.clone());
        registry.register(
            "suspended_requests",
            "Requests that were refused because their action is suspended",
            self.refused.clone(),
        );
    }

    pub(super) fn in_force(&self, count: usize) {
        self.in_force.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self, site: &str, action: &str) {
        let labels = Labels { site: site.to_owned(), action: action.to_owned() };
        self.refused.get_or_create(&labels).inc();
    }
}
