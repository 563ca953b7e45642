//! Asking the owner, and believing the answer. Pure: arithmetic on challenges, codes and attempts.
//!
//! Never does I/O. Invariant: a `Proof` exists only for a challenge whose requirement was met, and carries the digest
//! of the intent it was met for.

pub mod attempts;
pub mod budget;
pub mod challenge;
pub mod code;
pub mod device;
pub mod fate;
pub mod mailbox;
pub mod message;
pub mod notice;
pub mod passkey;
pub mod phone;
pub mod recovery;
pub mod totp;

use crate::types::{ChallengeId, FactorSet, IntentDigest, UnixMs};
use challenge::{Challenge, Scope, State};

/// Proof that the owner approved one intent; moved into `clearance`, used once.
#[derive(Debug)]
pub struct Proof {
    pub challenge: ChallengeId,
    pub intent: IntentDigest,
    pub factors: FactorSet,
    _made_by_redeem: Redeemed,
}

/// Has no meaning but that only this folder can write it.
#[derive(Debug)]
struct Redeemed;

/// Turns an approved challenge into a used one and its proof. Stores call this inside the transaction that makes the
/// use durable, so that of any number of parallel redemptions one wins.
///
/// # Errors
/// The challenge comes back as it was if it is not approved at `now`, or is about a place rather than an intent.
pub fn redeem(challenge: Challenge, now: UnixMs) -> Result<(Challenge, Proof), Box<Challenge>> {
    let Scope::Intent(intent) = challenge.scope else { return Err(Box::new(challenge)) };
    if challenge.state_at(now) != State::Approved || !challenge.requirement.met_by(challenge.proven)
    {
        return Err(Box::new(challenge));
    }
    let proof = Proof {
        challenge: challenge.id.clone(),
        intent,
        factors: challenge.proven,
        _made_by_redeem: Redeemed,
    };
    Ok((Challenge { state: State::Used, held: None, ..challenge }, proof))
}
