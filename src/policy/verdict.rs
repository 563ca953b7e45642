//! What the policy says of one request: one variant per verdict, with the rules that spoke.
//!
//! Never built outside this folder: a `Permit` exists only because `decide` allowed, and a shadow rule's outcome has
//! no way into a `Verdict`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Factor, FactorSet, PolicyVersion, RuleId, UnixMs};

/// Proof that `decide` allowed a request as it stands. Moved into `clearance`, used once.
#[derive(Debug)]
pub struct Permit {
    pub(super) _made_by_policy: (),
}

#[cfg(test)]
impl Permit {
    /// For tests of what comes after a decision.
    pub(crate) fn for_tests() -> Self {
        Self { _made_by_policy: () }
    }
}

/// `totp`, `totp or sms`, `totp and (sms or webauthn)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorExpr {
    One(Factor),
    All(Vec<FactorExpr>),
    Any(Vec<FactorExpr>),
}

impl FactorExpr {
    /// Whether these factors, each proven, are enough.
    pub fn met_by(&self, proven: FactorSet) -> bool {
        match self {
            Self::One(factor) => proven.contains(*factor),
            Self::All(parts) => parts.iter().all(|part| part.met_by(proven)),
            Self::Any(parts) => parts.iter().any(|part| part.met_by(proven)),
        }
    }

    /// Every factor that occurs.
    pub fn factors(&self) -> FactorSet {
        match self {
            Self::One(factor) => [*factor].into_iter().collect(),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().flat_map(|part| part.factors().iter().collect::<Vec<_>>()).collect()
            }
        }
    }
}

/// How long an approval holds beyond the one intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Valid {
    /// Until the credential ends (at most 24 h).
    Session,
    ForMs(u64),
}

/// One rule's part of a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub rule: RuleId,
    pub factors: FactorExpr,
    /// `Some`: meeting it makes an elevation; `None`: it is for this one intent, once.
    pub valid: Option<Valid>,
    /// The rule looks at `geo.*`: until it is met, the place does not become known.
    pub geographic: bool,
    pub notify: bool,
    pub why: Option<Arc<str>>,
}

/// All that must be proven before the request passes: every term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    pub terms: Vec<Term>,
}

impl Requirement {
    pub fn met_by(&self, proven: FactorSet) -> bool {
        self.terms.iter().all(|term| term.factors.met_by(proven))
    }
    pub fn factors(&self) -> FactorSet {
        self.terms
            .iter()
            .flat_map(|term| term.factors.factors().iter().collect::<Vec<_>>())
            .collect()
    }
    /// What all terms together ask for.
    pub fn demand(&self) -> FactorExpr {
        match &*self.terms {
            [only] => only.factors.clone(),
            terms => FactorExpr::All(terms.iter().map(|term| term.factors.clone()).collect()),
        }
    }

    /// For an ordinary request without any credential: there is no owner to ask, and nothing of an account's is at
    /// stake, so that log-in pages and market data stay reachable. Never for a guarded action.
    pub fn waive_for_nobody(self) -> Permit {
        Permit { _made_by_policy: () }
    }

    /// Whether every term only elevates: then the challenge is about the session, not about one intent.
    pub fn only_elevates(&self) -> bool {
        self.terms.iter().all(|term| term.valid.is_some())
    }
}

/// Must be answered, or the request does not pass.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    Allow(Permit),
    Require(Requirement),
    /// Not before `until`. `starts` names the rules whose hold begins with this request and must be recorded.
    Hold {
        until: UnixMs,
        why: Option<Arc<str>>,
        starts: Vec<RuleId>,
    },
    Deny {
        why: Option<Arc<str>>,
    },
    /// Deny, and freeze the account.
    Freeze {
        why: Option<Arc<str>>,
    },
}

impl Verdict {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Require(_) => "require",
            Self::Hold { .. } => "hold",
            Self::Deny { .. } => "deny",
            Self::Freeze { .. } => "freeze",
        }
    }
}

/// One rule that matched and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    pub rule: RuleId,
    /// `allow`, `require`, `hold`, `deny`, `freeze`.
    pub outcome: &'static str,
    /// Spoke only for the record.
    pub shadow: bool,
    /// Its requirement is already met by an elevation, or its hold has been served.
    pub satisfied: bool,
}

/// A verdict with the reasons for it.
#[derive(Debug)]
pub struct Decision {
    pub verdict: Verdict,
    pub said: Vec<Said>,
    pub version: PolicyVersion,
}

impl Decision {
    /// Whether a line is written even if the request is ordinary traffic: it did not simply pass, or a shadow rule had
    /// a word.
    pub fn leaves_a_record(&self) -> bool {
        !matches!(self.verdict, Verdict::Allow(_)) || self.said.iter().any(|said| said.shadow)
    }

    /// The same, asking for a code where nothing was asked: for writes that no action names, where the pack says so.
    #[must_use]
    pub fn asked_at_least(mut self) -> Self {
        let Verdict::Allow(_) = self.verdict else { return self };
        self.said.push(Said {
            rule: RuleId::new(UNCLASSIFIED),
            outcome: "require",
            shadow: false,
            satisfied: false,
        });
        let term = Term {
            rule: RuleId::new(UNCLASSIFIED),
            factors: FactorExpr::Any(vec![
                FactorExpr::One(Factor::Totp),
                FactorExpr::One(Factor::Sms),
            ]),
            valid: None,
            geographic: false,
            notify: false,
            why: None,
        };
        Self { verdict: Verdict::Require(Requirement { terms: vec![term] }), ..self }
    }
}

impl Decision {
    /// The same, asking beside everything else for one of these factors, which the account has: nobody changes how an
    /// account is protected without one of its means of protection, whatever the policy says. None are asked for where
    /// there are none. `rule`: what it is told as.
    #[must_use]
    pub fn asking_for_one_of(mut self, factors: FactorSet, rule: &str) -> Self {
        if factors.is_empty() {
            return self;
        }
        let mut requirement = match self.verdict {
            Verdict::Allow(_) => Requirement { terms: Vec::new() },
            Verdict::Require(requirement) => requirement,
            stricter => return Self { verdict: stricter, ..self },
        };
        self.said.push(Said {
            rule: RuleId::new(rule),
            outcome: "require",
            shadow: false,
            satisfied: false,
        });
        requirement.terms.push(Term {
            rule: RuleId::new(rule),
            factors: FactorExpr::Any(factors.iter().map(FactorExpr::One).collect()),
            valid: None,
            geographic: false,
            notify: false,
            why: None,
        });
        Self { verdict: Verdict::Require(requirement), ..self }
    }
}

impl Decision {
    /// The same, asking for what was asked of a recorded request whatever the policy said. Which factors its account had
    /// is not in the record: any that can be given stands for them.
    #[must_use]
    pub fn asked_as_recorded(self, spoke: impl Fn(&str) -> bool) -> Self {
        let mut decision = if spoke(UNCLASSIFIED) { self.asked_at_least() } else { self };
        for (rule, second) in [(FACTOR_CHANGE, Factor::Sms), (ACCOUNT_THAW, Factor::Webauthn)] {
            if spoke(rule) {
                let any = [Factor::Totp, second].into_iter().collect();
                decision = decision.asking_for_one_of(any, rule);
            }
        }
        decision
    }
}

/// Stands for a rule where the account's own factors are about to change.
pub const FACTOR_CHANGE: &str = "factor-change";

/// Stands for a rule where the owner of a frozen account asks to lift the freeze.
pub const ACCOUNT_THAW: &str = "account-thaw";

/// Stands for a rule where the pack asks about a write that no action names.
pub const UNCLASSIFIED: &str = "unclassified";
