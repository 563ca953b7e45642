//! The way to the servers: connections, deadlines, the circuit breaker, and what servers push.
//!
//! Never repeats a call that may have been carried out. Invariant: a call has an answer, or an error within the
//! deadline; after an error nothing may be assumed, except that what has not begun by then does not begin any more.
//!
//! All connections live on one thread of the link's own; calls come from any runtime. Each server has one connection for
//! calls, pushes and pulses alike, so that a pulse's answer says that everything pushed before it was handled.
//!
//! ## What the store's user must be permitted
//!
//! ```text
//! ACL SETUSER stepgate on >SECRET resetkeys ~stepgate{* resetchannels &stepgate:notices
//!     -@all +@read +@write +@scripting +@pubsub -keys -flushall -flushdb -swapdb
//!     +hello +ping +time +wait +info +select +scan
//!     +client|tracking +cluster|slots +config|get
//! ```
//!
//! `config|get` may be left out: then `INFO` is asked, and `doctor` knows less.

mod answers;
mod breaker;
mod call;
mod clock;
mod cluster;
mod counters;
mod dial;
mod ear;
mod examine;
mod ground;
mod node;
mod open;
mod replicas;
mod scan;
mod sentinel;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::breaker::Breaker;
pub use self::clock::StoreClock;
pub use self::counters::Counts;
pub use self::examine::ServerFacts;
use self::ground::Ground;
use crate::store::StoreError;
use crate::world::{Clock, Entropy, SystemEntropy};

/// One sentence on its way: a script, the tag whose server runs it, its keys and arguments.
#[derive(Clone)]
pub struct Call {
    pub script: &'static Script,
    /// Which of the 1,024 parts of the state it is about.
    pub tag: u16,
    /// All with the same tag in braces; the first finds the server.
    pub keys: Vec<Vec<u8>>,
    pub args: Vec<Vec<u8>>,
}

/// A script with the name that errors and metrics know it by.
///
/// Its first argument is `until` (store clock, ms): the moment after which it must not begin, and answers the error
/// `LATE`, because nobody waits for it any more. If it finds a part of the state gone, it answers the error `LOST`.
pub struct Script {
    pub name: &'static str,
    pub source: &'static str,
}

/// Who is told what servers push. Called on the link's own thread, in order; must not wait.
pub trait Heard: Send + Sync {
    /// Somebody, perhaps we, changed or removed this key.
    fn changed(&self, key: &[u8]);
    /// Anything may have changed.
    fn all_changed(&self);
    /// A gateway published this, perhaps we.
    fn notice(&self, bytes: &[u8]);
}

/// The way to the servers.
pub struct Link {
    ground: Arc<Ground>,
    breakers: Box<[Mutex<Breaker>]>,
    runtime: Handle,
    stop: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    /// Whether every change that is older than two seconds was heard. Costs next to nothing.
    pub fn is_fresh(&self) -> bool {
        self.ground.is_fresh()
    }

    /// How long a call waits.
    pub fn deadline(&self) -> std::time::Duration {
        self.ground.deadline
    }

    /// How far the store's clock is ahead of this machine's.
    pub fn skew_ms(&self) -> i64 {
        self.ground.skew_ms()
    }

    /// The store's time over a clock of ours.
    pub fn clock(&self, local: Arc<dyn Clock>) -> StoreClock {
        let ground = self.ground.clone();
        StoreClock::new(local, Box::new(move || ground.skew_ms()))
    }

    /// Tells every gateway of this store, this one included.
    ///
    /// # Errors
    /// If no server took it within the deadline.
    pub async fn publish(&self, notice: &[u8]) -> Result<(), StoreError> {
        let mut mark = [0; 12];
        SystemEntropy.fill(&mut mark);
        let mut message: Vec<u8> =
            mark.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect();
        message.push(b' ');
        message.extend_from_slice(notice);
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.ground.ears.channel).arg(message);
        self.ask_any(&command).await.map(|_| ())
    }

    /// Readiness: one cheap round trip to each server.
    ///
    /// # Errors
    /// The first server that did not answer within the deadline.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let map = self.ground.map();
        if map.nodes.is_empty() {
            return Err(StoreError::Unavailable("no server is known yet".to_owned()));
        }
        for node in &map.nodes {
            self.ask(node, &redis::cmd("PING"), self.ground.deadline).await?;
        }
        Ok(())
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let map = self.ground.map();
        let open = self
            .breakers
            .iter()
            .filter(|breaker| breaker.lock().unwrap_or_else(PoisonError::into_inner).is_open());
        Counts {
            breakers_open: open.count() as u64,
            servers: map.nodes.len() as u64,
            servers_connected: map.nodes.iter().filter(|node| node.live_now().is_some()).count()
                as u64,
            ..self.ground.counters.counts()
        }
    }
}
