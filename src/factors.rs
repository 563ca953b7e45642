//! Enrolled secrets at rest: sealed with their account as associated data.
//!
//! Never the same for two accounts: a secret that was moved to another account does not open.

use zeroize::Zeroizing;

use crate::crypto::{Keyring, SealError};
use crate::types::AccountId;

const PURPOSE: &str = "factor";

/// Seals a factor's secret for its account.
pub fn seal(keyring: &Keyring, account: &AccountId, secret: &[u8]) -> Vec<u8> {
    keyring.seal(PURPOSE, &[account.group.as_bytes(), account.name.as_bytes()], secret)
}

/// Opens what was sealed for this account.
///
/// # Errors
/// If it was sealed for another, was altered, or its key is gone.
pub fn open(
    keyring: &Keyring,
    account: &AccountId,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    keyring.open(PURPOSE, &[account.group.as_bytes(), account.name.as_bytes()], sealed)
}
