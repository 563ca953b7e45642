//! How an account stands, for whoever explains a request of it: what rules could look at, and no secret.
//!
//! Bounded like what it is made of: 64 places each, a credential's live elevations, the counters of the actions that the
//! site has. Amounts are text, so that no digit is lost.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::locate::travel::Sighting;
use crate::policy::facts::{AddressFacts, CounterTotal, Counters, Elevation, HoldRunning, Window};
use crate::policy::number::plain;
use crate::prices::decimal;
use crate::store::{Arrivals, Consult, Consulted, Freeze, Standing};
use crate::types::{AccountId, Credential, Factor, FactorSet, IntentDigest, UnixMs};

/// Which request it would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub credential: Credential,
    pub intent: IntentDigest,
    #[serde(default)]
    pub destination: Option<Arc<str>>,
}

impl About {
    /// # Errors
    /// If something in it is longer than anything that the gateway could have made.
    pub(crate) fn of(self, account: AccountId) -> Result<Consult, String> {
        let Self { credential, intent, destination } = self;
        let longest =
            destination.as_ref().map_or(0, |it| it.len()).max(credential.id.as_str().len());
        if longest > TEXT_BYTES_MAX {
            return Err(format!("more than {TEXT_BYTES_MAX} bytes"));
        }
        Ok(Consult { account, credential, intent, destination })
    }
}

/// What the gateway knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandingSeen {
    /// By the gateway's clock.
    pub at: UnixMs,
    pub frozen: Option<Freeze>,
    pub countries: Vec<Arc<str>>,
    /// Since when, of those that are not the first.
    #[serde(default)]
    pub arrived: Arrivals,
    pub asns: Vec<u32>,
    pub last: Option<Sighting>,
    pub elevations: Vec<Elevation>,
    pub factors: Vec<Factor>,
    pub security_changed: Option<UnixMs>,
    pub counters: Vec<CounterSeen>,
    pub address: Option<AddressSeen>,
    pub holds: Vec<HoldRunning>,
}

/// One action's total in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterSeen {
    pub action: Arc<str>,
    pub window: Arc<str>,
    pub count: u64,
    /// None if something counted had no price.
    pub usd: Option<String>,
}

/// The destination as the address book has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSeen {
    pub known: bool,
    pub verified: bool,
    pub age_ms: u64,
    pub idle_ms: u64,
}

impl StandingSeen {
    pub(crate) fn new(seen: Consulted, at: UnixMs) -> Self {
        let Consulted { standing, counters, address, holds } = seen;
        let counted = counters.0.into_iter().filter(|(_, _, total)| total.count > 0);
        let counters = counted.map(|(action, window, total)| CounterSeen {
            action,
            window: window.word().into(),
            count: total.count,
            usd: total.usd.as_ref().map(plain),
        });
        Self {
            at,
            frozen: standing.frozen,
            countries: standing.countries,
            arrived: standing.arrived,
            asns: standing.asns,
            last: standing.last,
            elevations: standing.elevations,
            factors: standing.factors.iter().collect(),
            security_changed: standing.security_changed,
            counters: counters.collect(),
            address: address.map(|AddressFacts { known, verified, age_ms, idle_ms }| AddressSeen {
                known,
                verified,
                age_ms,
                idle_ms,
            }),
            holds,
        }
    }

    /// As the policy is told it. A counter in a window that is not known here is left out by nobody: it is an error.
    ///
    /// # Errors
    /// If a gateway of another version says what is not understood.
    pub(crate) fn read(self) -> Result<Consulted, String> {
        let mut counters = Counters::default();
        for counter in self.counters {
            let window = Window::ALL.into_iter().find(|known| known.word() == &*counter.window);
            let window = window.ok_or_else(|| format!("a window `{}`", counter.window))?;
            let usd =
                counter.usd.map(|usd| decimal(&usd).ok_or_else(|| format!("an amount `{usd}`")));
            let total = CounterTotal { count: counter.count, usd: usd.transpose()? };
            counters.0.push((counter.action, window, total));
        }
        let address = self.address.map(|AddressSeen { known, verified, age_ms, idle_ms }| {
            AddressFacts { known, verified, age_ms, idle_ms }
        });
        let standing = Standing {
            frozen: self.frozen,
            countries: self.countries,
            arrived: self.arrived,
            asns: self.asns,
            last: self.last,
            elevations: self.elevations,
            factors: self.factors.into_iter().collect::<FactorSet>(),
            ripe_when_frozen: FactorSet::default(),
            young: FactorSet::default(),
            ripens: Vec::new(),
            enrolled: FactorSet::default(),
            security_changed: self.security_changed,
            claims_count_from: None,
        };
        Ok(Consulted { standing, counters, address, holds: self.holds })
    }
}

const TEXT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::facts::Decimal;
    use crate::types::RuleId;

    #[test]
    fn what_is_told_is_read_as_it_was() {
        let usd = |text: &str| decimal(text);
        let total = |count, usd: Option<Decimal>| CounterTotal { count, usd };
        let seen = Consulted {
            standing: Standing {
                countries: vec!["JP".into(), "DE".into()],
                arrived: [("DE".into(), UnixMs(4))].into(),
                asns: vec![64_500],
                factors: [Factor::Totp].into_iter().collect(),
                security_changed: Some(UnixMs(5)),
                elevations: vec![Elevation {
                    rule: RuleId::new("r"),
                    factors: [Factor::Sms].into_iter().collect(),
                    place: "JP".into(),
                    until: UnixMs(9),
                }],
                ..Standing::default()
            },
            counters: Counters(vec![
                ("withdrawal".into(), Window::Day, total(2, usd("12000.000000000000000001"))),
                ("transfer".into(), Window::Week, total(1, None)),
            ]),
            address: Some(AddressFacts { known: true, verified: false, age_ms: 7, idle_ms: 3 }),
            holds: vec![HoldRunning { rule: RuleId::new("h"), since: UnixMs(1) }],
        };
        let text = serde_json::to_string(&StandingSeen::new(seen.clone(), UnixMs(10))).unwrap();
        let back: StandingSeen = serde_json::from_str(&text).unwrap();
        let back = back.read().unwrap();
        assert_eq!(format!("{back:?}"), format!("{seen:?}"));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let about: About = serde_json::from_value(serde_json::json!({
            "credential": { "kind": "session", "id": "s" },
            "intent": IntentDigest([1; 32]), "destination": "x".repeat(5000),
        }))
        .unwrap();
        assert!(about.of(AccountId::new("main", "a")).is_err());
    }
}
