//! State on its way from one store into another: what a backup holds.
//!
//! Never holds what must not come back: challenges, grants, elevations, attempts and unsent messages are void in a
//! store that was restored, and the owner is asked again. Invariant: every record says one thing about one account (or
//! one number, or one common key) and can be put back in any order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::{HOUR_MS, number, reaches_into};
use super::{Arrivals, Enrolled, Freeze, NumberKey};
use crate::crypto::framed;
use crate::locate::travel::Sighting;
use crate::policy::facts::{HoldRunning, Window};
use crate::stepup::attempts::{DAY_MS, Tally};
use crate::types::{AccountId, ActionName, Credential, UnixMs};

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kept {
    /// What protects an account. Sealed secrets stay sealed.
    Account {
        account: AccountId,
        frozen: Option<Freeze>,
        /// When the last freeze ended; backups of earlier versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thawed: Option<UnixMs>,
        security_changed: Option<UnixMs>,
        factors: Vec<Enrolled>,
        tally: Tally,
        /// Holds begun before the last freeze are not served.
        freezes: u64,
        /// Backups of earlier versions say nothing of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number_gone: Option<UnixMs>,
    },
    /// Where an account has been.
    Places {
        account: AccountId,
        countries: Vec<Arc<str>>,
        asns: Vec<u32>,
        last: Option<Sighting>,
        /// Backups of earlier versions have none.
        #[serde(default, skip_serializing_if = "Arrivals::is_empty")]
        arrived: Arrivals,
    },
    /// Where a credential was last seen.
    Session { account: AccountId, credential: Credential, last: Sighting },
    /// What an account did of one action within the last week.
    Counters { account: AccountId, action: ActionName, buckets: Vec<Bucket> },
    /// A destination of the address book.
    Address {
        account: AccountId,
        destination: Arc<str>,
        added: UnixMs,
        verified: bool,
        touched: UnixMs,
    },
    /// Holds that run for one subject: a destination, or the intent (hex) of an action that has none.
    Holds { account: AccountId, subject: HoldSubject, freezes: u64, running: Vec<HoldRunning> },
    /// When codes were sent to a number.
    Sends { number: NumberKey, at: Vec<UnixMs> },
    /// A common key of the gateways, sealed.
    Key { name: String, value: Vec<u8> },
    /// Something that operators have suspended.
    Suspension { id: String, value: Vec<u8>, until: UnixMs },
}

/// What a hold belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldSubject {
    Destination(Arc<str>),
    Intent(String),
}

/// Counts of a span of time: five minutes, or an hour for what has left the day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub from: UnixMs,
    pub length_ms: u64,
    pub count: u64,
    /// Of these without a price.
    pub unpriced: u64,
    /// Exact decimal text.
    pub usd: String,
}

/// A part of everything, and where the next part begins; `None` after the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    pub kept: Vec<Kept>,
    pub next: Option<String>,
}

impl Kept {
    /// What it is, in the plural, as people count it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account { .. } => "accounts",
            Self::Places { .. } => "places",
            Self::Session { .. } => "sessions",
            Self::Counters { .. } => "counters",
            Self::Address { .. } => "addresses",
            Self::Holds { .. } => "holds",
            Self::Sends { .. } => "numbers",
            Self::Key { .. } => "keys",
            Self::Suspension { .. } => "suspensions",
        }
    }

    /// The same bytes for two records only if the second replaces the first.
    pub fn subject(&self) -> Vec<u8> {
        let kind = self.kind().as_bytes();
        let of = |account: &AccountId, parts: &[&str]| {
            let mut all = vec![kind, account.group.as_bytes(), account.name.as_bytes()];
            all.extend(parts.iter().map(|part| part.as_bytes()));
            framed(&all)
        };
        match self {
            Self::Account { account, .. } | Self::Places { account, .. } => of(account, &[]),
            Self::Session { account, credential, .. } => {
                of(account, &[credential.kind.word(), credential.id.as_str()])
            }
            Self::Counters { account, action, .. } => of(account, &[action.as_str()]),
            Self::Address { account, destination, .. } => of(account, &[destination]),
            Self::Holds { account, subject, .. } => match subject {
                HoldSubject::Destination(destination) => of(account, &["d", destination]),
                HoldSubject::Intent(intent) => of(account, &["i", intent]),
            },
            Self::Sends { number, .. } => framed(&[kind, number.0.as_bytes()]),
            Self::Key { name, .. } => framed(&[kind, name.as_bytes()]),
            Self::Suspension { id, .. } => framed(&[kind, id.as_bytes()]),
        }
    }

    /// What of it still says something at `now`; `None` if nothing does. A store may forget the rest at any moment.
    #[must_use]
    pub fn as_of(mut self, now: UnixMs) -> Option<Self> {
        let says_something = match &mut self {
            Self::Account {
                frozen,
                thawed,
                security_changed,
                factors,
                tally,
                freezes,
                number_gone,
                ..
            } => {
                frozen.is_some()
                    || thawed.is_some()
                    || number_gone.is_some()
                    || security_changed.is_some()
                    || !factors.is_empty()
                    || *tally != Tally::default()
                    || *freezes > 0
            }
            Self::Places { countries, asns, last, .. } => {
                !countries.is_empty() || !asns.is_empty() || last.is_some()
            }
            Self::Session { last, .. } => now < last.at.plus_ms(SESSION_KEPT_MS),
            Self::Counters { buckets, .. } => {
                buckets.retain(|bucket| {
                    bucket.count > 0 && reaches_into(bucket.hour_end(), Window::Week, now)
                });
                !buckets.is_empty()
            }
            Self::Address { touched, .. } => now < touched.plus_ms(ADDRESS_KEPT_MS),
            Self::Holds { running, .. } => {
                running.retain(|hold| now < hold.since.plus_ms(HOLD_KEPT_MS));
                !running.is_empty()
            }
            Self::Sends { at, .. } => {
                at.retain(|at| now < at.plus_ms(DAY_MS));
                !at.is_empty()
            }
            Self::Key { .. } => true,
            Self::Suspension { until, .. } => now < *until,
        };
        says_something.then_some(self)
    }

    /// The same with every list that has no order of its own sorted: for comparing what two stores say.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        match &mut self {
            Self::Account { factors, tally, .. } => {
                factors.sort_by_key(|enrolled| enrolled.factor);
                tally.sort();
            }
            Self::Counters { buckets, .. } => {
                for bucket in buckets.iter_mut() {
                    // How many zeros it ends with says nothing.
                    if let Ok(usd) = number(&bucket.usd) {
                        bucket.usd = usd.reduce().to_string();
                    }
                }
                buckets.sort();
            }
            Self::Holds { running, .. } => running.sort_by(|a, b| a.rule.cmp(&b.rule)),
            Self::Sends { at, .. } => at.sort(),
            Self::Places { .. }
            | Self::Session { .. }
            | Self::Address { .. }
            | Self::Key { .. }
            | Self::Suspension { .. } => {}
        }
        self
    }
}

impl Bucket {
    /// The end of its hour: so long it counts towards the week.
    fn hour_end(&self) -> i64 {
        self.from.0.div_euclid(HOUR_MS).saturating_add(1).saturating_mul(HOUR_MS)
    }
}

/// How long a credential is remembered that is not seen.
pub const SESSION_KEPT_MS: u64 = 30 * DAY_MS;
/// An address nobody added or paid to for a year is new again.
pub const ADDRESS_KEPT_MS: u64 = 365 * DAY_MS;
/// A hold that is not come back to for so long begins anew.
pub const HOLD_KEPT_MS: u64 = 30 * DAY_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_backup_that_has_no_days_of_arrival_are_read() {
        let before = r#"{"places":{"account":{"group":"main","name":"alice"},"countries":["DE","FR"],"asns":[1],"last":null}}"#;
        let kept: Kept = serde_json::from_str(before).unwrap();
        let Kept::Places { countries, arrived, .. } = &kept else { panic!("{kept:?}") };
        assert_eq!((countries.len(), arrived.len()), (2, 0));
        // Nor does an account without them get any more bytes.
        assert_eq!(serde_json::to_string(&kept).unwrap(), before);
    }
}
