//! What an account's contacts are told: plain data, that the texts in every language are made of.
//!
//! Pure. Never holds a code. Invariant: it says what was known when it happened, so that the page behind its link says the
//! same a week later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::device::Device;
use crate::types::{ActionName, Factor, Shown, UnixMs};

/// One thing that its owner should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub about: About,
    pub at: UnixMs,
    /// The site's name for people.
    pub site: Arc<str>,
    /// `Frankfurt am Main, DE`; nothing where no request was behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Arc<str>>,
    /// As far as it says so of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A session was stopped at a place that is new to the account.
    RemoteLogin,
    FactorChange {
        factor: Factor,
        change: Change,
    },
    /// Too many wrong codes.
    Locked,
    Frozen {
        by: FrozenBy,
    },
    Thawed,
    /// Its owner asked to lift a freeze: it ends then, unless somebody keeps it up.
    ThawAsked {
        opens: UnixMs,
    },
    /// A rule of the policy spoke that says `notify`.
    Rule {
        action: ActionName,
        shown: Vec<Shown>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Arc<str>>,
    },
}

/// What became of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Replaced,
    Removed,
}

/// Who froze an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenBy {
    Owner,
    Rule,
    Operator,
}

impl About {
    /// The word of it in records and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::RemoteLogin => "remote_login",
            Self::FactorChange { .. } => "factor_change",
            Self::Locked => "locked",
            Self::Frozen { .. } => "frozen",
            Self::Thawed => "thawed",
            Self::ThawAsked { .. } => "thaw_asked",
            Self::Rule { .. } => "rule",
        }
    }

    /// Whether its owner must know of it whatever else was said, and at whatever cost.
    pub fn is_urgent(&self) -> bool {
        !matches!(self, Self::RemoteLogin | Self::Rule { .. })
    }

    /// The key of its sentences.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::RemoteLogin => "remote_login",
            Self::FactorChange { change: Change::Added, .. } => "factor_added",
            Self::FactorChange { change: Change::Replaced, .. } => "factor_replaced",
            Self::FactorChange { change: Change::Removed, .. } => "factor_removed",
            Self::Locked => "locked",
            Self::Frozen { by: FrozenBy::Owner } => "frozen_owner",
            Self::Frozen { by: FrozenBy::Rule } => "frozen_rule",
            Self::Frozen { by: FrozenBy::Operator } => "frozen_operator",
            Self::Thawed => "thawed",
            Self::ThawAsked { .. } => "thaw_asked",
            Self::Rule { .. } => "rule",
        }
    }
}

/// Whether a text message of these words is charged as one: 160 characters of GSM 03.38, or 70 of UTF-16.
pub fn is_one_segment(text: &str) -> bool {
    let gsm = |c: char| match c {
        '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€' => Some(2),
        '\n' | '\r' | ' '..='_' | 'a'..='z' => Some(1),
        c if GSM.contains(c) => Some(1),
        _ => None,
    };
    match text.chars().map(gsm).sum::<Option<usize>>() {
        Some(septets) => septets <= 160,
        None => text.encode_utf16().count() <= 70,
    }
}

const GSM: &str = "£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_holds_160_plain_characters_or_70_others() {
        assert!(is_one_segment(&"a".repeat(160)) && !is_one_segment(&"a".repeat(161)));
        assert!(is_one_segment(&"ü".repeat(160)) && !is_one_segment(&"[".repeat(81)));
        assert!(is_one_segment(&"登".repeat(70)) && !is_one_segment(&"登".repeat(71)));
        assert!(!is_one_segment(&format!("{}•", "a".repeat(70))));
    }
}
