//! Everything a rule may look at, as plain data.
//!
//! Never looks anything up: the pipeline fills this in. Invariant: absent ("known not to be there") and unreadable
//! ("there may be something, we cannot tell") are different states, and only unreadable makes a rule stricter.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{CredentialKind, FactorSet, Fields, RuleId, UnixMs};

/// Exact decimal number of policy literals, amounts and sums.
pub type Decimal = fastnum::D512;

/// The state of one fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    Known(T),
    Absent,
    Unreadable,
}

impl<T> Fact<T> {
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(f(value)),
            Self::Absent => Fact::Absent,
            Self::Unreadable => Fact::Unreadable,
        }
    }
}

/// Where the request comes from, against the account's own history (INCIDENTS 1, 6).
#[derive(Clone, Debug)]
pub struct Geo<'a> {
    /// ISO 3166-1 alpha-2, upper case. Unreadable when the place is unknown, private or a relay's exit is not trusted.
    pub country: Fact<&'a str>,
    pub city: Fact<&'a str>,
    pub asn: Fact<u32>,
    /// `hosting`, `relay`, `mobile`, `ordinary`, `unknown`, `private`; always known.
    pub network: &'a str,
    /// False with no history at all; unreadable when the country is.
    pub new_country: Fact<bool>,
    pub new_asn: Fact<bool>,
    /// Since the account was first seen in this country (ms); 0 for a new one, absent with no history at all.
    pub country_age: Fact<u64>,
    /// True when the account has no known place yet.
    pub first_place: bool,
    /// From the last sighting; absent when there is none, unreadable when either place has no coordinates.
    pub distance_km: Fact<f64>,
    /// Distance less both accuracy radii over time; 0 for the same address.
    pub speed_kmh: Fact<f64>,
}

/// The destination in the gateway's own address book. For one never seen, `age_ms` is 0 and `known` false.
#[derive(Clone, Copy, Debug)]
pub struct AddressFacts {
    pub known: bool,
    pub verified: bool,
    pub age_ms: u64,
    /// Since it was last added, verified or paid to.
    pub idle_ms: u64,
}

/// What the account did in one rolling window; this action's own reservation is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CounterTotal {
    pub count: u64,
    /// None when some counted action had no price.
    pub usd: Option<Decimal>,
}

/// The windows that counters are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    Hour,
    Day,
    Week,
}

impl Window {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];
    /// As it stands at the end of a fact's name: `count_24h`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }
    pub fn ms(self) -> u64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
            Self::Week => 604_800_000,
        }
    }
}

/// Counters of one account: (action, window) → total. A pair that is not listed is zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters(pub Vec<(Arc<str>, Window, CounterTotal)>);

/// "This credential's owner gave this factor because of this rule, here, until then" (never a flag that opens
/// everything).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elevation {
    pub rule: RuleId,
    pub factors: FactorSet,
    /// Country code, or the address when the country is unknown; the elevation holds only there.
    pub place: Arc<str>,
    pub until: UnixMs,
}

/// A hold that has been running for this account, rule and destination since `since`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRunning {
    pub rule: RuleId,
    pub since: UnixMs,
}

/// All facts of one element of one request.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub now: UnixMs,
    pub site: &'a str,
    /// The action's name; `ordinary` for traffic that no action names.
    pub action: &'a str,
    pub fields: &'a Fields,
    /// Unreadable without a fresh price; absent when the action has no amount.
    pub usd_value: Fact<Decimal>,
    pub client: IpAddr,
    pub credential: Option<CredentialKind>,
    /// Since the owner signed in (`auth_time`, else `iat`); absent for API keys, unreadable if a session does not say.
    pub session_age_ms: Fact<u64>,
    pub geo: Geo<'a>,
    /// Absent when the store was not asked, which it is for guarded actions only.
    pub counters: Fact<&'a Counters>,
    /// Absent when the action has no address.
    pub address: Fact<AddressFacts>,
    pub factors: FactorSet,
    /// Since a factor of the account was replaced or removed; absent if never.
    pub security_change_age_ms: Fact<u64>,
    pub elevations: &'a [Elevation],
    /// What an elevation's `place` must equal to hold here.
    pub place_key: &'a str,
    pub holds: &'a [HoldRunning],
}
