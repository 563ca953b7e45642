//! The only key that `forward` takes.
//!
//! Never made without a `Permit`, or a `Requirement` met by a `Proof` whose intent digest equals this request's: an
//! unchecked request cannot be sent, it does not compile.

use crate::body::Body;
use crate::inbound::Inbound;
use crate::policy::verdict::{Permit, Requirement};
use crate::stepup::Proof;
use crate::types::{FactorSet, IntentDigest};

/// A request that may be forwarded, once: sending consumes it.
pub struct Cleared {
    head: Inbound,
    body: Body,
    /// What the owner proved for this very request; empty when the policy simply allowed.
    pub factors: FactorSet,
}

/// Why a proof does not clear this request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the approval is for another intent")]
    Intent,
    #[error("the policy now asks for more than was proven")]
    Factors,
}

impl Cleared {
    /// The policy allowed it as it stands.
    pub fn by_permit(_permit: Permit, head: Inbound, body: Body) -> Self {
        Self { head, body, factors: FactorSet::default() }
    }

    /// The owner approved exactly this intent, with factors that meet what is required now.
    ///
    /// # Errors
    /// `Mismatch` if the digest differs or a factor is missing; nothing may be forwarded then.
    pub fn by_proof(
        requirement: &Requirement,
        proof: Proof,
        intent: IntentDigest,
        head: Inbound,
        body: Body,
    ) -> Result<Self, Mismatch> {
        if proof.intent != intent {
            return Err(Mismatch::Intent);
        }
        if !requirement.met_by(proof.factors) {
            return Err(Mismatch::Factors);
        }
        Ok(Self { head, body, factors: proof.factors })
    }

    pub fn head(&self) -> &Inbound {
        &self.head
    }

    /// Takes it apart to be written upstream.
    pub(crate) fn into_parts(self) -> (Inbound, Body) {
        (self.head, self.body)
    }
}
