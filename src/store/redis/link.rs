//! The way to the servers: connections, deadlines, the circuit breaker, and what servers push.
//!
//! Never repeats a call that may have been carried out. Invariant: a call has an answer, or an error within the
//! deadline; after an error nothing may be assumed.

use redis::Value;

use crate::store::StoreError;

/// One sentence on its way: a script, the tag whose server runs it, its keys and arguments.
pub(super) struct Call {
    pub(super) script: &'static Script,
    /// Which of the 1,024 parts of the state it is about.
    pub(super) tag: u16,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
}

/// A script with the name that errors and metrics know it by.
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
}

/// The way to the servers.
pub(super) struct Link;

impl Link {
    /// Carries out one script in one round trip. The time (store clock, ms) after which the script must not begin any
    /// more is put before its arguments.
    pub(super) async fn call(&self, _call: Call) -> Result<Value, StoreError> {
        Err(StoreError::Unavailable("not connected".to_owned()))
    }
}
