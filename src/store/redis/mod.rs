//! The store of many gateways: Redis, single, behind Sentinel, or a Cluster.
//!
//! Never answers from its own memory where a guarded action asks. Invariant: every sentence that touches an account is
//! one script on the server that holds the account's tag, so that it happens wholly or not at all and no two gateways
//! can tell a different story.
//!
//! ## What stands where
//!
//! Every key begins with the prefix and one of 1,024 tags in braces, `stepgate{1f3}`, which a hash of the account's
//! group and name picks; so all keys of one account lie in one slot of a Cluster. `<a>` is the account as
//! `<length of group>:<group><name>`, so that no spelling of a name reaches another's keys.
//!
//! | key | what |
//! | --- | --- |
//! | `{t}m` | hash: marker of this part of the state: `epoch`, `floor` |
//! | `{t}a<a>` | hash: what protects the account, where it has been, its live challenges |
//! | `{t}s<a>\|<kind>:<id>` | hash: a credential: last sighting, elevations; 30 days |
//! | `{t}c<id>` | hash: a challenge; until a day after its end |
//! | `{t}t<id>` | hash: an attempt; a week |
//! | `{t}q` | sorted set: attempts that are `sending`, with their node, by their beginning |
//! | `{t}l<a>` | hash: counters |
//! | `{t}d<a>` | hash: address book |
//! | `{t}h<a>\|…` | hash: holds of one destination or intent; 30 days |
//! | `{out}…` | sends per number, and the outbox |
//! | `{key}<name>` | common keys |
//! | `{node}<id>` | a gateway that lives; 30 s |

pub mod link;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// How a Redis store is reached.
pub struct Settings {
    pub topology: Topology,
    pub user: Option<String>,
    pub password: Option<Zeroizing<String>>,
    /// Who we are to the sentinels, which have users of their own.
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<Zeroizing<String>>,
    pub tls: Option<Tls>,
    /// Number of the database; 0 in a Cluster.
    pub database: u16,
    /// What every key begins with.
    pub prefix: String,
    /// How long a sentence waits for its answer.
    pub deadline: Duration,
}

/// Which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    Single(Server),
    /// `master` is the name the sentinels know it by.
    Sentinel {
        sentinels: Vec<Server>,
        master: String,
    },
    /// Some of its nodes; the others are asked for.
    Cluster(Vec<Server>),
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// TLS to the servers (`rediss://`).
pub struct Tls {
    /// PEM of the authorities that sign the servers' certificates; the system's if there is none.
    pub authorities: Option<Vec<u8>>,
    /// PEM of our own chain and key, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}
