//! How two verdicts on one request differ, in the words of the report.
//!
//! Never weighs anything: it names. Invariant: two verdicts that are the same have no name, and every other pair has
//! exactly one.

use serde::Serialize;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    Allow,
    Require,
    Hold,
    Deny,
    Freeze,
}

impl Effect {
    pub const ALL: [Self; 5] = [Self::Allow, Self::Require, Self::Hold, Self::Deny, Self::Freeze];

    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Require => "require",
            Self::Hold => "hold",
            Self::Deny => "deny",
            Self::Freeze => "freeze",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.word() == word)
    }
}

/// One kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    NewlyAsked,
    AskedForMore,
    NewlyHeld,
    NewlyDenied,
    NewlyFrozen,
    AskedForLess,
    NoLongerAsked,
    NoLongerHeld,
    NoLongerDenied,
    NoLongerFrozen,
}

/// How many kinds there are.
pub const KINDS: usize = 10;

impl Kind {
    pub const ALL: [Self; KINDS] = [
        Self::NewlyAsked,
        Self::AskedForMore,
        Self::NewlyHeld,
        Self::NewlyDenied,
        Self::NewlyFrozen,
        Self::AskedForLess,
        Self::NoLongerAsked,
        Self::NoLongerHeld,
        Self::NoLongerDenied,
        Self::NoLongerFrozen,
    ];

    /// As JSON and styles say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NewlyAsked => "newly_asked",
            Self::AskedForMore => "asked_for_more",
            Self::NewlyHeld => "newly_held",
            Self::NewlyDenied => "newly_denied",
            Self::NewlyFrozen => "newly_frozen",
            Self::AskedForLess => "asked_for_less",
            Self::NoLongerAsked => "no_longer_asked",
            Self::NoLongerHeld => "no_longer_held",
            Self::NoLongerDenied => "no_longer_denied",
            Self::NoLongerFrozen => "no_longer_frozen",
        }
    }

    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::NewlyAsked => "newly asked",
            Self::AskedForMore => "asked for stronger factors",
            Self::NewlyHeld => "newly held",
            Self::NewlyDenied => "newly denied",
            Self::NewlyFrozen => "newly frozen",
            Self::AskedForLess => "asked for weaker factors",
            Self::NoLongerAsked => "no longer asked",
            Self::NoLongerHeld => "no longer held",
            Self::NoLongerDenied => "no longer denied",
            Self::NoLongerFrozen => "no longer frozen",
        }
    }

    /// The customer meets more than before.
    pub fn is_stricter(self) -> bool {
        self < Self::AskedForLess
    }

    /// What the difference between two verdicts is called.
    pub fn between(old: Effect, new: Effect) -> Option<Self> {
        if old == new {
            return None;
        }
        Some(match (old, new) {
            (old, Effect::Require) if old < new => Self::NewlyAsked,
            (old, Effect::Hold) if old < new => Self::NewlyHeld,
            (old, Effect::Deny) if old < new => Self::NewlyDenied,
            (old, Effect::Freeze) if old < new => Self::NewlyFrozen,
            (Effect::Require | Effect::Allow, _) => Self::NoLongerAsked,
            (Effect::Hold, _) => Self::NoLongerHeld,
            (Effect::Deny, _) => Self::NoLongerDenied,
            (Effect::Freeze, _) => Self::NoLongerFrozen,
        })
    }
}

/// A count for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; KINDS]);

impl Counts {
    pub fn add(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count += 1;
        }
    }
    pub fn of(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or(0)
    }
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
    /// Of those in which the customer meets more than before.
    pub fn stricter(&self) -> u64 {
        Kind::ALL.into_iter().filter(|kind| kind.is_stricter()).map(|kind| self.of(kind)).sum()
    }
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_verdicts_has_one_name_and_equal_ones_have_none() {
        for old in Effect::ALL {
            for new in Effect::ALL {
                let kind = Kind::between(old, new);
                assert_eq!(kind.is_none(), old == new);
                assert_eq!(kind.is_some_and(Kind::is_stricter), new > old, "{old:?} {new:?}");
                let named = if new > old { new } else { old };
                let stem = match named {
                    Effect::Allow => "",
                    Effect::Require => "asked",
                    Effect::Hold => "held",
                    Effect::Deny => "denied",
                    Effect::Freeze => "frozen",
                };
                assert!(kind.is_none_or(|kind| kind.word().ends_with(stem)));
            }
        }
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }
}
