//! Codes by text message: sent, verified and refused, by the prefix of the number.
//!
//! Never a number, and never more than 300 prefixes: those of the configuration and countries.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub(super) struct Texts {
    codes: Family<OutcomeLabels, Counter>,
    verified_percent: Family<PrefixLabels, Gauge>,
    refused: Family<ReasonLabels, Counter>,
    stops: Family<ScopeLabels, Counter>,
    /// Prefixes that have series of their own.
    prefixes: Mutex<HashSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    prefix: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrefixLabels {
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    prefix: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

impl Texts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "sms_codes",
            "Codes by text message, by prefix: sent, and verified of these",
            self.codes.clone(),
        );
        registry.register(
            "sms_verified_percent",
            "Share of the codes sent by this gateway since its start that were verified",
            self.verified_percent.clone(),
        );
        registry.register(
            "sms_refused",
            "Codes that were not sent, by prefix and the limit or budget that was used up",
            self.refused.clone(),
        );
        registry.register(
            "sms_stops",
            "Times that sending to a prefix or from a range was stopped because too few codes were verified",
            self.stops.clone(),
        );
    }

    pub(super) fn sent(&self, prefix: &str) {
        self.count(prefix, "sent");
    }

    pub(super) fn verified(&self, prefix: &str) {
        self.count(prefix, "verified");
    }

    pub(super) fn refused(&self, prefix: &str, reason: &'static str) {
        let prefix = self.bounded(prefix);
        self.refused.get_or_create(&ReasonLabels { prefix, reason }).inc();
    }

    pub(super) fn stopped(&self, scope: &'static str) {
        self.stops.get_or_create(&ScopeLabels { scope }).inc();
    }

    fn count(&self, prefix: &str, outcome: &'static str) {
        let prefix = self.bounded(prefix);
        let labels = |outcome| OutcomeLabels { prefix: prefix.clone(), outcome };
        self.codes.get_or_create(&labels(outcome)).inc();
        let sent = self.codes.get_or_create(&labels("sent")).get();
        let verified = self.codes.get_or_create(&labels("verified")).get();
        let percent = verified.saturating_mul(100).checked_div(sent).unwrap_or(100).min(100);
        let percent = i64::try_from(percent).unwrap_or(100);
        self.verified_percent.get_or_create(&PrefixLabels { prefix }).set(percent);
    }

    fn bounded(&self, prefix: &str) -> String {
        let mut known = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(prefix) {
            if known.len() >= PREFIXES_MAX {
                return "other".to_owned();
            }
            known.insert(prefix.to_owned());
        }
        prefix.to_owned()
    }
}

const PREFIXES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_make_no_series_without_end() {
        let texts = Texts::default();
        (0..500).for_each(|n| texts.sent(&format!("+{n}")));
        let other = OutcomeLabels { prefix: "other".to_owned(), outcome: "sent" };
        assert_eq!(texts.codes.get_or_create(&other).get(), 200);
    }
}
