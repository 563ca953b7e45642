//! The clock of a story: what grows, what is remembered, what the gateway would learn.
//!
//! Never decides. Invariant: only ages grow by themselves; all else comes from a step that went through or was held.

use super::super::facts::{AddressFacts, Decimal, Elevation, Fact, HoldRunning};
use super::super::history::{Begun, Done, History};
use super::{MINUTE_MS, Staged};
use crate::types::RuleId;

const HOUR_MS: f64 = 3_600_000.0;

impl Staged {
    /// The same account later: ages grow, what has a date of its own stays.
    pub fn later(&self, ms: u64) -> Self {
        let grown = |age: Fact<u64>| age.map(|age| age.saturating_add(ms));
        let address = self.address.map(|address| {
            address.map(|address| match address.known {
                true => AddressFacts {
                    age_ms: address.age_ms.saturating_add(ms),
                    idle_ms: address.idle_ms.saturating_add(ms),
                    ..address
                },
                false => address,
            })
        });
        Self {
            now: self.now.plus_ms(ms),
            session_age: grown(self.session_age),
            security_change_age: grown(self.security_change_age),
            country_age: self.country_age.map(grown),
            address,
            moved: false,
            address_said: false,
            ..self.clone()
        }
    }

    /// How fast one must have been for the distance that the case says.
    pub fn in_time(&mut self, ms: u64) {
        if let Fact::Known(km) = self.distance_km {
            self.speed_kmh = Fact::Known(km / (ms.max(MINUTE_MS) as f64 / HOUR_MS));
        }
    }

    /// Takes over what earlier steps of a story brought about. Call before `settle`.
    pub fn remember(&mut self, history: &History, elevations: &[Elevation]) {
        self.history = history.clone();
        self.elevations = elevations.to_vec();
        if self.history.seen_here && !self.moved {
            self.distance_km = self.distance_km.map(|_| 0.0);
            self.speed_kmh = self.speed_kmh.map(|_| 0.0);
        }
    }

    /// The request went through: what the gateway learns from that.
    pub fn passed(&self, history: &mut History, proved: bool) {
        history.learn_place(self.country.clone().known(), self.asn.known(), self.now);
        if &*self.action != "ordinary" {
            let usd = match self.usd_value {
                Some(Fact::Known(usd)) => Some(usd),
                Some(Fact::Absent) => Some(Decimal::ZERO),
                _ => None,
            };
            let done = Done { action: self.action.clone(), at: self.now, count: 1, usd };
            history.done_in_story.push(done);
        }
        if let Some(destination) = self.destination() {
            let was = self.address.and_then(Fact::known);
            history.learn_address(&self.action, destination, was, self.now, proved);
        }
    }

    /// The request was held: these rules' holds run from now on, for this destination.
    pub fn held(&self, history: &mut History, starts: &[RuleId]) {
        history.holds.extend(starts.iter().map(|rule| Begun {
            destination: self.destination().map(str::to_owned),
            running: HoldRunning { rule: rule.clone(), since: self.now },
        }));
    }
}
