//! What stands where passkeys are not built in: nothing can be asked of them.
//!
//! Never exists: there is no value of this type, so that what would use one needs no other build.

use serde_json::Value;

use super::{Asserted, Changed, Listed, Nonce, PasskeyError, RelyingParty};
use crate::types::UnixMs;

/// See `ceremony`.
#[derive(Debug)]
pub enum Verifier {}

impl Verifier {
    /// # Errors
    /// Always.
    pub fn new(_party: &RelyingParty) -> Result<Self, String> {
        Err("this stepgate is built without passkeys".to_owned())
    }

    pub fn id(&self) -> &str {
        match *self {}
    }

    pub fn serves(&self, _host: &str) -> bool {
        match *self {}
    }

    /// # Errors
    /// Never: there is none.
    pub fn ask(
        &self,
        _kept: &[u8],
        _signs: &[u8; 32],
        _ripe_at: UnixMs,
        _timeout_ms: u64,
    ) -> Result<Value, PasskeyError> {
        match *self {}
    }

    /// # Errors
    /// Never: there is none.
    pub fn check(
        &self,
        _kept: &[u8],
        _signs: &[u8; 32],
        _ripe_at: UnixMs,
        _posted: &str,
    ) -> Result<Asserted, PasskeyError> {
        match *self {}
    }

    /// # Errors
    /// Never: there is none.
    pub fn offer(
        &self,
        _kept: Option<&[u8]>,
        _account: &str,
        _nonce: &Nonce,
        _signs: &[u8; 32],
        _timeout_ms: u64,
    ) -> Result<Value, PasskeyError> {
        match *self {}
    }

    /// # Errors
    /// Never: there is none.
    pub fn register(
        &self,
        _kept: Option<&[u8]>,
        _nonce: &Nonce,
        _signs: &[u8; 32],
        _posted: &str,
        _now: UnixMs,
        _hold_ms: u64,
    ) -> Result<Changed, PasskeyError> {
        match *self {}
    }
}

/// See `ceremony`.
///
/// # Errors
/// Always: what is kept is another build's.
pub fn listed(_kept: &[u8]) -> Result<Vec<Listed>, PasskeyError> {
    Err(PasskeyError::Unreadable)
}

/// See `ceremony`.
///
/// # Errors
/// Always: what is kept is another build's.
pub fn without(_kept: &[u8], _number: u32) -> Result<Option<Changed>, PasskeyError> {
    Err(PasskeyError::Unreadable)
}
