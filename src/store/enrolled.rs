//! Enrolled factors as rows hold them, and which of them count now.
//!
//! Never opens what is sealed. Invariant: a factor approves nothing before `usable_from`, and nothing while it is disabled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::FactorCard;
use crate::stepup::challenge::Pending;
use crate::types::{Factor, FactorSet, UnixMs};

/// A factor as enrolled; `secret` is sealed with the account as associated data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EnrolledRow")]
pub struct Enrolled {
    pub factor: Factor,
    /// TOTP: sealed otpauth parameters. SMS: sealed E.164 number.
    pub secret: Vec<u8>,
    /// Safe to show: issuer and digits, or the masked number.
    pub label: String,
    pub since: UnixMs,
    /// Disabled after too many failures in a row; must be enrolled again.
    pub disabled: bool,
    /// TOTP: the last accepted step; none at or before it is accepted again (RFC 6238 §5.2).
    pub last_step: Option<u64>,
    /// It approves nothing before. What an operator enrols counts at once (`since`); what the owner enrols waits.
    pub usable_from: UnixMs,
    /// Recovery: MACs of the codes that are not used yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// The language in which its owner is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
}

/// An enrolled factor as rows hold it; those of earlier versions say less.
#[derive(Deserialize)]
struct EnrolledRow {
    factor: Factor,
    secret: Vec<u8>,
    label: String,
    since: UnixMs,
    disabled: bool,
    last_step: Option<u64>,
    usable_from: Option<UnixMs>,
    #[serde(default)]
    codes: Vec<String>,
    language: Option<Arc<str>>,
}

impl From<EnrolledRow> for Enrolled {
    fn from(row: EnrolledRow) -> Self {
        Self {
            factor: row.factor,
            secret: row.secret,
            label: row.label,
            since: row.since,
            disabled: row.disabled,
            last_step: row.last_step,
            usable_from: row.usable_from.unwrap_or(row.since),
            codes: row.codes,
            language: row.language,
        }
    }
}

impl Enrolled {
    /// Whether its owner enrolled it, and not an operator.
    pub fn by_owner(&self) -> bool {
        self.usable_from > self.since
    }

    /// Whether it could ever be answered with: not disabled, and with codes left if it is made of such.
    pub(super) fn works(&self) -> bool {
        self.approves()
            && !self.disabled
            && (self.factor != Factor::Recovery || !self.codes.is_empty())
    }

    /// Whether it is there to approve something: an address for notices is not.
    pub(super) fn approves(&self) -> bool {
        self.factor.approves()
    }

    /// What a challenge's answer is compared with, and what is enrolled if it is right.
    pub(super) fn of_pending(
        pending: &Pending,
        step: Option<u64>,
        hold_ms: u64,
        now: UnixMs,
    ) -> Self {
        Self {
            factor: pending.factor,
            secret: pending.secret.clone(),
            label: pending.label.clone(),
            since: now,
            disabled: false,
            last_step: step,
            usable_from: now.plus_ms(hold_ms),
            codes: Vec::new(),
            language: pending.language.clone(),
        }
    }

    /// What an operator sees of it.
    pub(crate) fn card(self) -> FactorCard {
        let codes_left = (self.factor == Factor::Recovery).then_some(self.codes.len());
        FactorCard {
            factor: self.factor,
            label: self.label,
            since: self.since,
            disabled: self.disabled,
            usable_from: self.usable_from,
            codes_left,
        }
    }
}

/// What can be done with an account's factors at a time.
#[derive(Default)]
pub(super) struct Ripeness {
    pub(super) ripe: FactorSet,
    pub(super) young: FactorSet,
    pub(super) ripens: Vec<(Factor, UnixMs)>,
    pub(super) enrolled: FactorSet,
}

impl Ripeness {
    pub(super) fn of(enrolled: &[Enrolled], now: UnixMs) -> Self {
        let mut all = Self::default();
        for known in enrolled.iter().filter(|known| known.approves()) {
            all.enrolled = all.enrolled.with(known.factor);
            if !known.works() {
                continue;
            }
            if now < known.usable_from {
                all.young = all.young.with(known.factor);
                all.ripens.push((known.factor, known.usable_from));
            } else {
                all.ripe = all.ripe.with(known.factor);
            }
        }
        all.ripens.sort_by_key(|(_, at)| *at);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_of_a_row_that_says_less_counts_since_it_was_enrolled() {
        let row = r#"{"factor":"totp","secret":[1],"label":"x","since":7,"disabled":false,"last_step":null}"#;
        let known: Enrolled = serde_json::from_str(row).unwrap();
        assert_eq!((known.usable_from, known.codes.len(), known.by_owner()), (UnixMs(7), 0, false));
        let again: Enrolled =
            serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
        assert_eq!(again, known);
    }
}
