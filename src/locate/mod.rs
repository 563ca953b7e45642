//! Where a request comes from: the `Locate` port and what it answers.
//!
//! Never fails: an address that cannot be placed has a `Place` that says so.

mod address;
mod lists;
pub mod maxmind;
pub mod travel;

use std::net::IpAddr;
use std::sync::Arc;

pub use travel::{Coordinates, NetworkClass, Place, Sighting};

use crate::types::UnixMs;

/// Places addresses. `client` has been through `to_canonical` already; implementations unwrap 6to4,
/// NAT64 and Teredo.
pub trait Locate: Send + Sync {
    fn place(&self, client: IpAddr) -> Arc<Place>;
    /// Changes whenever a new database or list is in use, so that callers may keep a place per
    /// connection.
    fn generation(&self, now: UnixMs) -> u64;
}
