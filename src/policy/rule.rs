//! One compiled rule: whom it concerns, when it speaks, what it says.
//!
//! Never merges with others: that is `decide`'s business. Invariant: what cannot be read makes a
//! restriction apply and an allowance not; a shadow rule's outcome cannot be taken out of its
//! `Shadow`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::condition::Condition;
use super::facts::Facts;
use super::literal::spell_duration;
use super::truth::{Reading, Truth};
use super::verdict::{FactorExpr, Valid};
use super::written::Text;
use crate::types::{RuleId, UnixMs};

/// A rule of a policy file.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: RuleId,
    /// Where its table begins in the policy's file.
    pub line: usize,
    pub on: Vec<Pattern>,
    pub when: Condition,
    pub unless: Option<Condition>,
    pub say: Say,
    pub why: Option<Arc<str>>,
    pub notify: bool,
    /// It looks at `geo.*`.
    pub geographic: bool,
    pub place: Box<Place>,
}

/// Where a rule's parts stand in its file, for what is said about them later.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: Range<usize>,
    /// One for each pattern.
    pub on: Vec<Range<usize>>,
    pub when: Option<Text>,
    pub unless: Option<Text>,
    pub require: Option<Text>,
}

/// Which actions a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `*`.
    Every,
    /// `withdrawal`.
    Exact(Arc<str>),
    /// `address_book.*`, without the star.
    Prefix(Arc<str>),
}

impl Pattern {
    pub fn covers(&self, action: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Exact(name) => **name == *action,
            Self::Prefix(prefix) => action.starts_with(&**prefix),
        }
    }
}

/// What a rule says when it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allow,
    Require { factors: FactorExpr, valid: Option<Valid> },
    Hold { ms: u64 },
    Deny,
    Freeze,
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Require { .. } => "require",
            Self::Hold { .. } => "hold",
            Self::Deny => "deny",
            Self::Freeze => "freeze",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Require { factors, valid } => {
                write!(f, "require {}", Spelt(factors))?;
                match valid {
                    None => Ok(()),
                    Some(Valid::Session) => f.write_str(", valid for the session"),
                    Some(Valid::ForMs(ms)) => write!(f, ", valid for {}", spell_duration(*ms)),
                }
            }
            Self::Hold { ms } => write!(f, "hold for {}", spell_duration(*ms)),
            other => f.write_str(other.word()),
        }
    }
}

/// A factor expression as a policy spells it.
pub struct Spelt<'e>(pub &'e FactorExpr);

impl fmt::Display for Spelt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, joint) = match self.0 {
            FactorExpr::One(factor) => return f.write_str(factor.word()),
            FactorExpr::All(parts) | FactorExpr::Any(parts) if parts.is_empty() => {
                return f.write_str("nothing");
            }
            FactorExpr::All(parts) => (parts, " and "),
            FactorExpr::Any(parts) => (parts, " or "),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(joint)?;
            }
            match part {
                FactorExpr::One(_) => write!(f, "{}", Spelt(part))?,
                _ => write!(f, "({})", Spelt(part))?,
            }
        }
        Ok(())
    }
}

/// Aloud into the verdict, or only into the record.
#[derive(Clone, Debug)]
pub enum Say {
    Aloud(Outcome),
    Shadow(Shadow),
}

impl Say {
    pub fn shadow(outcome: Outcome) -> Self {
        Self::Shadow(Shadow(outcome))
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Aloud(outcome) | Self::Shadow(Shadow(outcome)) => outcome.word(),
        }
    }

    pub fn is_shadow(&self) -> bool {
        matches!(self, Self::Shadow(_))
    }

    /// Not a restriction: nothing that is unknown may speak for it.
    pub fn allows(&self) -> bool {
        matches!(self, Self::Aloud(Outcome::Allow) | Self::Shadow(Shadow(Outcome::Allow)))
    }
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aloud(outcome) | Self::Shadow(Shadow(outcome)) => write!(f, "{outcome}"),
        }
    }
}

/// An outcome that can be named and nothing else: it has no way into a verdict.
#[derive(Clone, Debug)]
pub struct Shadow(Outcome);

/// How the two conditions of a rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    pub when: Truth,
    /// `None`: the rule has no `unless`, or `when` settled it.
    pub unless: Option<Truth>,
    pub matches: bool,
}

const DAY_MS: u64 = 86_400_000;

impl Rule {
    /// Whether the rule speaks of a request with these facts, and why.
    pub fn weigh(&self, facts: &Facts<'_>) -> Weighed {
        self.weigh_in(&Reading::new(facts))
    }

    /// The same, for facts that several rules look at.
    pub fn weigh_in(&self, reading: &Reading<'_, '_>) -> Weighed {
        let when = self.when.truth_in(reading);
        let passes = if self.say.allows() { when == Truth::True } else { when != Truth::False };
        if !passes {
            return Weighed { when, unless: None, matches: false };
        }
        let unless = self.unless.as_ref().map(|condition| condition.truth_in(reading));
        let matches = match unless {
            None | Some(Truth::False) => true,
            Some(Truth::Unknown) => !self.say.allows(),
            Some(Truth::True) => false,
        };
        Weighed { when, unless, matches }
    }

    /// Whether an elevation that was given because of this rule, here, still holds and is enough.
    pub fn elevated(&self, factors: &FactorExpr, facts: &Facts<'_>) -> bool {
        facts.elevations.iter().any(|elevation| {
            elevation.rule == self.id
                && *elevation.place == *facts.place_key
                && elevation.until > facts.now
                && factors.met_by(elevation.factors)
        })
    }

    /// Since when the rule's hold of `ms` has been running for this destination. One that was served serves for as long
    /// again, a day at least; and never for what came after it began, such as a second change of factors (INCIDENTS 14).
    pub fn held_since(&self, ms: u64, facts: &Facts<'_>) -> Option<UnixMs> {
        let good_ms = ms.saturating_add(ms.max(DAY_MS));
        let cause = self.when.came_at(facts);
        let good = |since: &UnixMs| {
            facts.now < since.plus_ms(good_ms) && cause.is_none_or(|cause| cause <= *since)
        };
        let begun = facts.holds.iter().filter(|hold| hold.rule == self.id).map(|hold| hold.since);
        begun.filter(good).max()
    }
}
