//! A message as it lies in the outbox: number and text, sealed for its challenge.
//!
//! Never readable without the master key, and never as the message of another challenge.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Letter;
use crate::crypto::Keyring;
use crate::store::Message;
use crate::types::ChallengeId;

#[derive(Serialize, Deserialize)]
struct Plain {
    number: Zeroizing<String>,
    text: Zeroizing<String>,
}

/// Seals a message for its challenge.
pub fn seal(keyring: &Keyring, challenge: &ChallengeId, number: &str, text: &str) -> Vec<u8> {
    let plain = Plain { number: number.to_owned().into(), text: text.to_owned().into() };
    // Two strings always serialise; an empty message would be dropped by `open`.
    let plain = Zeroizing::new(serde_json::to_vec(&plain).unwrap_or_default());
    keyring.seal(PURPOSE, &[challenge.as_str().as_bytes()], &plain)
}

/// The letter, if it is one of ours for this challenge.
pub fn open(keyring: &Keyring, message: &Message) -> Option<Letter> {
    let challenge = message.challenge.as_str().as_bytes();
    let plain = keyring.open(PURPOSE, &[challenge], &message.sealed).ok()?;
    let Plain { number, text } = serde_json::from_slice(&plain).ok()?;
    Some(Letter { id: message.id, number, text })
}

const PURPOSE: &str = "sms";
