//! What the link counts, for metrics.
//!
//! Never more than an addition on the way of a call.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: AtomicU64),* }

        /// All counts at one moment, and what stands now.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Parts of the state whose calls fail at once (of 1, or of 1,024 in a Cluster).
            pub breakers_open: u64,
            /// Servers that there should be a connection to, and those there is one to.
            pub servers: u64,
            pub servers_connected: u64,
        }

        impl Counters {
            pub(super) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* ..Counts::default() }
            }
        }
    };
}

counters! {
    /// Scripts that were asked for.
    calls,
    /// No answer within the deadline.
    deadline,
    /// No connection, or it broke under the call.
    broken,
    /// The server answered with an error.
    refused,
    /// Refused by the breaker without being tried.
    skipped,
    /// Scripts that found a part of the state gone.
    lost,
    /// Calls that another server had to answer.
    redirected,
    /// Scripts that had to be loaded again.
    loaded,
    /// Connections made.
    connected,
    /// Changes of accounts and credentials that were pushed.
    pushes,
    /// Changes of other keys that were pushed, which nobody here needs.
    pushes_for_nothing,
    /// Times when everything had to be taken as changed.
    all_changed,
    /// Notices of other gateways.
    notices,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
