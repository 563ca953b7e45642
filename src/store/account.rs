//! An account as the store answers about it: its standing, its freeze, and what operators see of it.
//!
//! Never changed here but by the store's sentences. Invariant: a freeze holds until its end has come or somebody lifts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::locate::travel::Sighting;
use crate::policy::facts::Elevation;
use crate::types::{AccountId, Factor, FactorSet, UnixMs};

/// What is known of an account and one of its credentials, as far as ordinary traffic needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub frozen: Option<Freeze>,
    /// Countries and networks that became known (at most 64 each, oldest forgotten first).
    pub countries: Vec<Arc<str>>,
    pub asns: Vec<u32>,
    pub arrived: Arrivals,
    /// Last sighting of this credential, else of the account.
    pub last: Option<Sighting>,
    /// Live elevations of this credential; the reader still checks `until`.
    pub elevations: Vec<Elevation>,
    /// Factors that may approve something now.
    pub factors: FactorSet,
    /// Those of them that could when the account was frozen, if it is: only they may end the freeze.
    pub ripe_when_frozen: FactorSet,
    /// Factors that wait for their time.
    pub young: FactorSet,
    /// When each of these may be used, the first one first: then this is out of date.
    pub ripens: Vec<(Factor, UnixMs)>,
    /// All of them, and those that are disabled or used up.
    pub enrolled: FactorSet,
    pub security_changed: Option<UnixMs>,
    /// A number was taken away: one that only a token carries counts for nothing before.
    pub claims_count_from: Option<UnixMs>,
}

impl Standing {
    /// Whether time alone has not made it out of date: a factor that waited may be used now, a freeze may be over.
    pub(super) fn is_fresh(&self, now: UnixMs) -> bool {
        let frozen = self.frozen.as_ref();
        self.ripens.first().is_none_or(|(_, at)| now < *at)
            && frozen.is_none_or(|freeze| freeze.holds(now))
    }
}

/// When an account was first seen in a country that it knows. The first country of all has no time, nor have those that
/// became known before times were kept: these count as known for ever.
pub type Arrivals = BTreeMap<Arc<str>, UnixMs>;

/// An account that may do nothing guarded until it is thawed (INCIDENTS 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub since: UnixMs,
    /// `owner`, `rule:<id>` or `operator:<name>`.
    pub by: Arc<str>,
    /// When it ends by itself, because its owner asked so with a strong factor. From then on it is over, on every
    /// gateway and whatever a row still says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<UnixMs>,
}

impl Freeze {
    pub fn new(since: UnixMs, by: Arc<str>) -> Self {
        Self { since, by, opens: None }
    }

    pub fn holds(&self, now: UnixMs) -> bool {
        self.opens.is_none_or(|opens| now < opens)
    }

    /// What an operator froze, an operator thaws.
    pub fn by_operator(&self) -> bool {
        self.by.starts_with(OPERATOR)
    }

    /// Frozen again: the first one's time and reason stay, except that an operator's word goes before an owner's or a
    /// rule's. A thaw that was asked for is off.
    pub(super) fn again(self, by: Arc<str>) -> Self {
        let by = if by.starts_with(OPERATOR) && !self.by_operator() { by } else { self.by };
        Self { since: self.since, by, opens: None }
    }
}

/// A thaw that a notice told of, for whoever follows its link: the freeze that it is to keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: UnixMs,
    /// When the thaw that it tells of takes effect, if it tells of one.
    pub opens: Option<UnixMs>,
}

impl Told {
    /// Whether what it told of was settled by a thaw since. The one that it told of itself does not settle it.
    pub fn is_settled(&self, thawed: Option<UnixMs>) -> bool {
        thawed.is_some_and(|thawed| self.at < thawed && self.opens != Some(thawed))
    }
}

/// Answer to `ask_thaw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThawAsked {
    /// It ends then; `new` if it was not asked for before.
    Opens {
        at: UnixMs,
        new: bool,
    },
    /// An operator froze it.
    ByOperator,
    NotFrozen,
}

/// What an operator sees of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountCard {
    pub account: AccountId,
    pub frozen: Option<Freeze>,
    /// When the last freeze ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thawed: Option<UnixMs>,
    pub countries: Vec<Arc<str>>,
    pub asns: Vec<u32>,
    pub last: Option<Sighting>,
    pub factors: Vec<FactorCard>,
    pub addresses: usize,
    pub failures: u32,
    pub blocked_until: Option<UnixMs>,
}

impl AccountCard {
    /// Whether anything but an operator's order was ever heard of it. A name without that may be misspelt.
    pub fn was_seen(&self) -> bool {
        let traces = self.countries.len() + self.asns.len() + self.factors.len() + self.addresses;
        traces > 0 || self.last.is_some() || self.failures > 0
    }
}

/// An enrolled factor without its secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactorCard {
    pub factor: Factor,
    pub label: String,
    pub since: UnixMs,
    pub disabled: bool,
    /// It approves nothing before.
    pub usable_from: UnixMs,
    /// Recovery codes that are not used yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes_left: Option<usize>,
}

/// What operators' names follow, where it is said who froze an account.
const OPERATOR: &str = "operator:";
