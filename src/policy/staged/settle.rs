//! What of a case's facts follows from others and from its history.
//!
//! Never overrides what the case says. Invariant: after `settle` every fact has a value or is known to have none.

use std::sync::Arc;

use super::super::facts::{Fact, Window};
use super::super::history::{self, Kept};
use super::{OLD_FRIEND, STRANGER, Staged};
use crate::types::UnixMs;

impl Staged {
    /// Fills in what follows from the rest. Call once, after everything is set.
    pub fn settle(&mut self) {
        self.place_key = match &self.country {
            Fact::Known(country) => country.clone(),
            _ => self.client.to_string(),
        };
        self.settle_place();
        let has_amount = self.fields.find("amount").is_some();
        self.usd_value.get_or_insert(if has_amount { Fact::Unreadable } else { Fact::Absent });
        self.settle_address();
        self.settle_counters();
        for elevation in &mut self.elevations {
            if elevation.place.is_empty() {
                elevation.place = self.place_key.as_str().into();
            }
        }
        let here = self.destination();
        let begun = self.history.holds.iter().filter(|hold| hold.destination.as_deref() == here);
        let begun: Vec<_> = begun.map(|hold| hold.running.clone()).collect();
        self.holds.extend(begun);
    }

    fn settle_place(&mut self) {
        let seen_nowhere = self.history.countries.is_empty();
        let country = self
            .country
            .clone()
            .map(|country| !seen_nowhere && !self.history.countries.contains(&country));
        let new_country = *self.new_country.get_or_insert(country);
        let here = self.country.clone().known();
        let since = here.and_then(|country| self.history.since(&country));
        // A known place is one since long ago, unless the case says how long or its story tells.
        self.country_age.get_or_insert(match new_country {
            Fact::Unreadable => Fact::Unreadable,
            Fact::Known(true) => Fact::Known(0),
            Fact::Known(false) if !seen_nowhere => {
                Fact::Known(self.now.since_ms(since.unwrap_or(UnixMs(0))))
            }
            _ => Fact::Absent,
        });
        let asns = &self.history.asns;
        let asn = self.asn.map(|asn| !asns.is_empty() && !asns.contains(&asn));
        self.new_asn.get_or_insert(asn);
        self.first_place.get_or_insert(seen_nowhere);
    }

    /// What this step says of the destination, else what the story did to it, else what the case says, its address
    /// book, or that it is an old friend.
    fn settle_address(&mut self) {
        let facts = |kept: Option<Kept>| kept.map_or(STRANGER, |kept| kept.facts(self.now));
        let learnt = self.destination().and_then(|it| self.history.learnt(it));
        let entry = self.destination().and_then(|it| self.history.entry(it));
        let unsaid = match (self.fields.find("address"), entry, &self.history.book) {
            (None, _, _) => Fact::Absent,
            (Some(_), Some(entry), _) => Fact::Known(facts(entry.kept)),
            (Some(_), None, Some(_)) => Fact::Known(STRANGER),
            (Some(_), None, None) => Fact::Known(OLD_FRIEND),
        };
        self.address = match (self.address_said, learnt) {
            (false, Some(learnt)) => Some(Fact::Known(facts(learnt.kept))),
            _ => Some(self.address.unwrap_or(unsaid)),
        };
    }

    /// What the case says of a counter, else what the account did before; and what it did in the story.
    fn settle_counters(&mut self) {
        let before = history::totals(&self.history.done, self.now);
        let said = self.counters.0.clone();
        let is_said =
            |name: &Arc<str>, of: Window| said.iter().any(|row| row.0 == *name && row.1 == of);
        self.counters.0.extend(before.into_iter().filter(|(name, of, _)| !is_said(name, *of)));
        for (name, window, more) in history::totals(&self.history.done_in_story, self.now) {
            match self.counters.0.iter_mut().find(|(of, at, _)| *of == name && *at == window) {
                Some((_, _, total)) => *total = history::sum(*total, more),
                None => self.counters.0.push((name, window, more)),
            }
        }
    }
}
