//! How the servers are set up, as far as the store depends on it.
//!
//! Never changes a setting. Invariant: what a server may not be asked is `None`, not a guess.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::Link;
use super::answers::info;
use super::dial::Whom;
use super::ground::Ground;
use super::node::Node;
use super::trouble::Trouble;
use crate::store::StoreError;
use crate::store::redis::Server;

const LIMIT: Duration = Duration::from_secs(1);

/// What one server is and how it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    pub server: Server,
    pub version: String,
    /// `master` or `slave`, as Redis says.
    pub role: String,
    /// Whether it is part of a Cluster.
    pub clustered: bool,
    pub maxmemory_policy: String,
    /// Bytes; 0 is without limit.
    pub maxmemory: u64,
    pub aof_enabled: bool,
    /// When the whole is saved, as `save` in redis.conf has it; empty for never, `None` if we may not ask.
    pub rdb_save: Option<String>,
    /// Attached replicas.
    pub replicas: usize,
    /// Replicas without which it takes no changes; `None` if we may not ask.
    pub min_replicas_to_write: Option<u64>,
    /// How far its clock is ahead of this machine's.
    pub skew_ms: i64,
    pub round_trip_us: u64,
}

impl Link {
    /// Asks every master how it is set up, and every replica that can be reached.
    ///
    /// # Errors
    /// If a master does not answer.
    pub async fn examine(&self) -> Result<Vec<ServerFacts>, StoreError> {
        let (ground, node) = (self.ground.clone(), self.runtime.clone());
        // On the link's own thread, where connections live.
        let asked = node.spawn(async move { all(&ground).await });
        asked.await.map_err(|_| StoreError::Unavailable("the link has ended".to_owned()))?
    }
}

pub(super) async fn all(ground: &Ground) -> Result<Vec<ServerFacts>, StoreError> {
    let (mut facts, map) = (Vec::new(), ground.map());
    for node in &map.nodes {
        let Some(live) = node.live_now() else {
            let why = node.trouble().map_or_else(|| "no connection".to_owned(), |why| why.text);
            return Err(StoreError::Unavailable(why));
        };
        facts.push(master(ground, node, live.connection, &live.server).await?);
        for replica in node.replicas() {
            match one(ground, &replica).await {
                Ok(of_replica) => facts.push(of_replica),
                Err(trouble) => {
                    tracing::warn!(trouble = trouble.text, "a replica cannot be examined");
                }
            }
        }
    }
    Ok(facts)
}

async fn master(
    ground: &Ground,
    node: &Node,
    mut connection: MultiplexedConnection,
    server: &Server,
) -> Result<ServerFacts, Trouble> {
    let mut facts = ask(&mut connection, server).await?;
    if let Some(offset_us) = node.offset_us() {
        facts.skew_ms = ground.skew_of_ms(offset_us);
    }
    facts.round_trip_us = node.trip_us();
    Ok(facts)
}

async fn one(ground: &Ground, server: &Server) -> Result<ServerFacts, Trouble> {
    let dialed = ground.dialer.dial(server, Whom::Keeper, None, LIMIT).await?;
    let mut connection = dialed.connection.clone();
    let sent_us = ground.now_us();
    let mut facts = ask(&mut connection, server).await?;
    facts.round_trip_us = u64::try_from(ground.now_us() - sent_us).unwrap_or(0);
    let sent_us = ground.now_us();
    let command = redis::cmd("TIME");
    let time = timeout(LIMIT, command.query_async::<(i64, i64)>(&mut connection)).await;
    if let Ok(Ok((seconds, us))) = time {
        let middle_us = sent_us + (ground.now_us() - sent_us) / 2;
        facts.skew_ms = ground.skew_of_ms(seconds * 1_000_000 + us - middle_us);
    }
    Ok(facts)
}

async fn ask(
    connection: &mut MultiplexedConnection,
    server: &Server,
) -> Result<ServerFacts, Trouble> {
    let silent = || Trouble::passing(format!("{server} does not answer"));
    let said = timeout(LIMIT, redis::cmd("INFO").query_async::<String>(connection)).await;
    let said = said.map_err(|_| silent())?.map_err(|error| Trouble::of(server, &error))?;
    let mut command = redis::cmd("CONFIG");
    command.arg(&["GET", "maxmemory-policy", "maxmemory", "save", "min-replicas-to-write"]);
    let set = timeout(LIMIT, command.query_async::<HashMap<String, String>>(connection)).await;
    // Managed servers and careful ACLs do not permit it; INFO says the most important.
    let set = set.map_err(|_| silent())?.unwrap_or_default();
    let line = |name: &str| info(&said, name).unwrap_or_default().to_owned();
    let number = |name: &str| line(name).parse().unwrap_or(0);
    Ok(ServerFacts {
        server: server.clone(),
        version: line("redis_version"),
        role: line("role"),
        clustered: line("cluster_enabled") == "1",
        maxmemory_policy: set
            .get("maxmemory-policy")
            .cloned()
            .unwrap_or_else(|| line("maxmemory_policy")),
        maxmemory: number("maxmemory"),
        aof_enabled: line("aof_enabled") == "1",
        rdb_save: set.get("save").cloned(),
        replicas: usize::try_from(number("connected_slaves")).unwrap_or(0),
        min_replicas_to_write: set.get("min-replicas-to-write").and_then(|n| n.parse().ok()),
        skew_ms: 0,
        round_trip_us: 0,
    })
}

/// Whether a store may live there; says what is only unwise.
pub(super) fn accept(facts: &ServerFacts, in_cluster: bool) -> Result<(), StoreError> {
    let (server, policy) = (&facts.server, &facts.maxmemory_policy);
    if facts.clustered && !in_cluster {
        return Err(StoreError::Unavailable(format!(
            "{server} is part of a Cluster: use `redis+cluster://` in `url`"
        )));
    }
    if policy != "noeviction" {
        return Err(StoreError::Unavailable(format!(
            "{server} throws keys away when it is full (maxmemory-policy {policy}): say `CONFIG SET maxmemory-policy noeviction` to it, and put `maxmemory-policy noeviction` into its redis.conf"
        )));
    }
    if !facts.aof_enabled {
        let rdb = facts.rdb_save.as_deref().unwrap_or("unknown");
        tracing::warn!(
            %server, save = rdb,
            "this store's server keeps no append-only file: after a crash it is older than what was answered; set `appendonly yes`"
        );
    }
    Ok(())
}
