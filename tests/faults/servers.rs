//! The Redis that the gateways share: what can be done to it, and how it is mended.
//!
//! With an append-only file that is synced at every write, as the store asks for.

use std::time::Duration;

use crate::check::Kind;
use crate::kit::redis::{Options, Sentinel, Single, within};

/// How long a master goes on alone that is lost then; shorter than what the sentinels take for its replicas' end.
const UNHEARD: Duration = Duration::from_millis(600);

pub enum Servers {
    /// No Redis: one gateway on its own file.
    File,
    Single(Single),
    Sentinel(Sentinel),
}

impl Servers {
    pub fn start(topology: &str) -> Self {
        let options = Options { aof: true, ..Options::default() };
        match topology {
            "file" => Self::File,
            "single" => Self::Single(Single::start(&options)),
            "sentinel" => Self::Sentinel(Sentinel::start(&options)),
            other => panic!("TOPOLOGY is single, sentinel or file, not {other}"),
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::File => "file:state/stepgate.db".to_owned(),
            Self::Single(single) => single.url(),
            Self::Sentinel(sentinel) => sentinel.url(),
        }
    }

    /// How many gateways can share it.
    pub fn gateways(&self) -> usize {
        if matches!(self, Self::File) { 1 } else { 3 }
    }

    /// What can be done to it.
    pub fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::File => &[],
            // After a restart no code is accepted for up to a minute, so there is one for two of the others.
            Self::Single(_) => &[
                Kind::StoreKilled,
                Kind::StorePaused,
                Kind::StorePaused,
                Kind::StoreFull,
                Kind::StoreFull,
            ],
            Self::Sentinel(_) => &[Kind::MasterKilled, Kind::MasterLost, Kind::MasterPaused],
        }
    }

    /// Surely broken when this returns. Answers which server it was.
    pub fn breaks(&self, kind: Kind) -> usize {
        match (kind, self) {
            (Kind::StoreKilled, Self::Single(single)) => single.server.kill(),
            (Kind::StorePaused, Self::Single(single)) => single.server.pause(),
            (Kind::StoreFull, Self::Single(single)) => {
                single.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
            }
            (Kind::MasterKilled, Self::Sentinel(sentinel)) => {
                let master = sentinel.master().expect("there is a master");
                sentinel.servers[master].kill();
                return master;
            }
            (Kind::MasterLost, Self::Sentinel(sentinel)) => {
                let master = sentinel.master().expect("there is a master");
                let servers = sentinel.servers.iter().enumerate();
                let replicas: Vec<_> = servers.filter(|(at, _)| *at != master).collect();
                replicas.iter().for_each(|(_, replica)| replica.pause());
                std::thread::sleep(UNHEARD);
                sentinel.servers[master].kill();
                replicas.iter().for_each(|(_, replica)| replica.resume());
                return master;
            }
            (Kind::MasterPaused, Self::Sentinel(sentinel)) => {
                let master = sentinel.master().expect("there is a master");
                sentinel.servers[master].pause();
                return master;
            }
            (kind, _) => panic!("{kind} is not for these servers"),
        }
        0
    }

    /// Mended when this returns; a failover is over.
    pub fn mends(&self, kind: Kind, which: usize) {
        match (kind, self) {
            (Kind::StoreKilled, Self::Single(single)) => single.server.start(),
            (Kind::StorePaused, Self::Single(single)) => single.server.resume(),
            (Kind::StoreFull, Self::Single(single)) => {
                single.server.say(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            (Kind::MasterKilled | Kind::MasterLost, Self::Sentinel(sentinel)) => {
                sentinel.wait_for_other_master(which);
            }
            (Kind::MasterPaused, Self::Sentinel(sentinel)) => {
                sentinel.wait_for_other_master(which);
                sentinel.servers[which].resume();
            }
            (kind, _) => panic!("{kind} is not for these servers"),
        }
    }

    /// After a failover: the old master is a replica again, so that there can be another failover.
    pub fn complete(&self, kind: Kind, which: usize) {
        if let Self::Sentinel(sentinel) = self {
            if kind != Kind::MasterPaused {
                sentinel.servers[which].start();
            }
            within(Duration::from_secs(60), "the old master to follow", || sentinel.is_settled());
        }
    }
}
