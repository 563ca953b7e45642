//! What one operator asked for and a second one has to approve, and orders to suspend: as the admin interface spells
//! them.
//!
//! Never holds a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{AccountId, Factor, UnixMs};

/// What came of an order that may need a second operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered<T> {
    Done(T),
    Waits(Waiting),
}

/// It is carried out when another operator approves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub id: String,
    /// Nobody approves it any more after this.
    pub until: UnixMs,
}

/// What waits for a second operator, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSeen {
    pub id: String,
    /// `reset` or `import`.
    pub what: String,
    /// Whose factors.
    pub of: Vec<FactorNamed>,
    /// Who asked.
    pub by: String,
    pub reason: String,
    pub since: UnixMs,
    pub until: UnixMs,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorNamed {
    pub account: AccountId,
    pub factor: Factor,
    /// Of an import: what is to be enrolled, safe to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// An order to suspend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    pub action: String,
    #[serde(default)]
    pub site: Option<String>,
    /// Now if it is not said.
    #[serde(default)]
    pub from: Option<UnixMs>,
    #[serde(default)]
    pub until: Option<UnixMs>,
    /// Counted from its beginning; not together with `until`.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// By language; `""` for all others.
    #[serde(default)]
    pub reasons: BTreeMap<String, String>,
    #[serde(default = "super::routes::operator")]
    pub by: String,
}

/// An order to end what is suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Its id, or the action as it was suspended.
    pub which: String,
    /// Only on this site.
    #[serde(default)]
    pub site: Option<String>,
    #[serde(default = "super::routes::operator")]
    pub by: String,
}
