//! Sealing, MACs, digests and keys, all from aws-lc.
//!
//! Never prints a secret: `Secret` has a redacted `Debug` and is wiped on drop. Invariant: whatever
//! is sealed or MACed is framed by lengths first, so that two different lists of parts never become
//! the same bytes.

mod keyring;
mod mac;
mod seal;
mod secret;
mod sign;
mod stream;
mod tls;

pub use keyring::Keyring;
pub use mac::{framed, hex, random_id, sha256};
pub use seal::SealError;
pub use secret::Secret;
pub use sign::{SignError, SigningKey};
pub use stream::{StreamKey, TAG_BYTES};
pub use tls::tls_provider;
