//! One script, one round trip, one answer.
//!
//! Never sends a script a second time unless the server said that it did not run. Invariant: the deadline holds over
//! everything, the wait for a connection included, and a server that sleeps past it does not carry the script out.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use tokio::time::timeout;

use super::breaker::{Admission, Breaker, Ended};
use super::counters::count;
use super::ground::Ground;
use super::node::{Live, Node};
use super::trouble::{Failure, Verdict, judge};
use super::{Call, Link};
use crate::store::StoreError;
use crate::store::redis::Server;

/// Servers that one call may be sent on to.
const HOPS_MAX: usize = 4;

impl Link {
    /// Carries out one script in one round trip. `until` is put before its arguments.
    ///
    /// # Errors
    /// Within the deadline, whatever the servers do. It may have been carried out, unless the error says otherwise.
    pub async fn call(&self, call: Call) -> Result<Value, StoreError> {
        self.answered(&call).await.map(|answer| answer.value)
    }

    /// The same, and if its server has replicas one of them has it too, within another deadline.
    ///
    /// # Errors
    /// As `call`; also if no replica has it, although it was carried out.
    pub async fn call_replicated(&self, call: Call) -> Result<Value, StoreError> {
        let answer = self.answered(&call).await?;
        self.witnessed(call.tag, &answer.node, &answer.live).await?;
        Ok(answer.value)
    }

    /// Waits until a replica of this tag's server has all that was answered before; at once if it has no replicas.
    ///
    /// # Errors
    /// If none has it within the deadline.
    pub async fn replicated(&self, tag: u16) -> Result<(), StoreError> {
        let key = self.key_of(tag);
        let node = self.ground.map().node_of(&key).cloned();
        let node = node.ok_or_else(|| no_server(&key).store_error(0))?;
        match node.live_now() {
            Some(live) => self.witnessed(tag, &node, &live).await,
            None => Err(StoreError::Unavailable(why_not(&node))),
        }
    }

    async fn witnessed(&self, tag: u16, node: &Arc<Node>, live: &Live) -> Result<(), StoreError> {
        let server = &live.server;
        let only = |error: &str| {
            Err(StoreError::Unavailable(format!("{server}: {error}; only the master may have it")))
        };
        // Whoever is asked now may be another server, without the write.
        if node.live_now().is_none_or(|now| now.number != live.number) {
            return only("the connection broke meanwhile");
        }
        if !node.has_replicas(self.ground.now_ms()) {
            // Behind sentinels a master without any may have been replaced, and what only it was told is lost then.
            return match node.has_successors() {
                false => Ok(()),
                true => only("it has no replica"),
            };
        }
        let asked = node.witness.ask(&self.ground, &self.runtime, node, live, self.key_of(tag));
        match timeout(self.ground.deadline, asked).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => only(&error),
            Err(_) => only("no replica has it"),
        }
    }

    /// A key of no value on the tag's server.
    fn key_of(&self, tag: u16) -> Vec<u8> {
        format!("{}{{{tag:03x}}}w", self.ground.prefix).into_bytes()
    }

    async fn answered(&self, call: &Call) -> Result<Answer, StoreError> {
        let ground = &*self.ground;
        count(&ground.counters.calls);
        let Some(pass) = Pass::new(self, call.tag) else {
            count(&ground.counters.skipped);
            return Err(StoreError::Unavailable(self.why_skipped(call)));
        };
        let ends_us = ground.now_us() + micros(ground.deadline);
        let result = match timeout(ground.deadline, carry(ground, call, ends_us)).await {
            Ok(result) => result,
            Err(_) => Err(self.silence(call)),
        };
        pass.ended(result.as_ref().is_err_and(Failure::is_silence));
        result.map_err(|failure| {
            count(match &failure {
                Failure::Deadline => &ground.counters.deadline,
                Failure::Broken(_) => &ground.counters.broken,
                Failure::Refused(_) => &ground.counters.refused,
                Failure::Lost => &ground.counters.lost,
            });
            failure.store_error(ground.deadline.as_millis() as u64)
        })
    }

    /// What the time went by with: no connection, or no answer on it.
    fn silence(&self, call: &Call) -> Failure {
        match self.ground.map().node_of(&self.first_key(call)) {
            Some(node) if node.live_now().is_none() => Failure::Broken(why_not(node)),
            Some(_) => Failure::Deadline,
            None => no_server(&self.first_key(call)),
        }
    }

    fn why_skipped(&self, call: &Call) -> String {
        let map = self.ground.map();
        let why = map.node_of(&self.first_key(call)).filter(|node| node.live_now().is_none());
        why.map_or_else(
            || "it did not answer a moment ago; tried again every half second".to_owned(),
            |node| why_not(node),
        )
    }

    fn first_key(&self, call: &Call) -> Vec<u8> {
        call.keys.first().cloned().unwrap_or_else(|| self.key_of(call.tag))
    }

    /// One plain command on one server.
    pub(super) async fn ask(
        &self,
        node: &Node,
        command: &Cmd,
        limit: Duration,
    ) -> Result<Value, StoreError> {
        let asked = async {
            let mut live = node.live().await?;
            Some((command.query_async::<Value>(&mut live.connection).await, live.server))
        };
        match timeout(limit, asked).await {
            Ok(Some((Ok(value), _))) => Ok(value),
            Ok(Some((Err(error), server))) => {
                Err(super::trouble::Trouble::of(&server, &error).into())
            }
            _ if node.live_now().is_none() => Err(StoreError::Unavailable(why_not(node))),
            _ => Err(StoreError::Deadline(limit.as_millis() as u64)),
        }
    }

    /// The same on any that is connected.
    pub(super) async fn ask_any(&self, command: &Cmd) -> Result<Value, StoreError> {
        let map = self.ground.map();
        let connected = map.nodes.iter().find(|node| node.live_now().is_some());
        let Some(node) = connected.or(map.nodes.first()) else {
            return Err(StoreError::Unavailable("no server is known yet".to_owned()));
        };
        self.ask(node, command, self.ground.deadline).await
    }
}

struct Answer {
    value: Value,
    node: Arc<Node>,
    live: Live,
}

/// What the breaker let in, and is told the end of, even if the caller goes away.
struct Pass<'a> {
    link: &'a Link,
    breaker: &'a std::sync::Mutex<Breaker>,
    admission: Admission,
    told: bool,
}

impl<'a> Pass<'a> {
    fn new(link: &'a Link, tag: u16) -> Option<Self> {
        let index = usize::from(tag) % link.breakers.len().max(1);
        let breaker = link.breakers.get(index)?;
        let now_ms = link.ground.now_ms();
        let admission = lock(breaker).admit(now_ms);
        let admitted = admission != Admission::Refused;
        admitted.then_some(Self { link, breaker, admission, told: false })
    }

    fn ended(mut self, silent: bool) {
        self.tell(if silent { Ended::Failed } else { Ended::Answered });
    }

    fn tell(&mut self, ended: Ended) {
        self.told = true;
        lock(self.breaker).ended(self.admission, ended, self.link.ground.now_ms());
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Ended::Dropped);
        }
    }
}

fn lock(breaker: &std::sync::Mutex<Breaker>) -> std::sync::MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn carry(ground: &Ground, call: &Call, ends_us: i64) -> Result<Answer, Failure> {
    let key = call
        .keys
        .first()
        .cloned()
        .unwrap_or_else(|| format!("{}{{{:03x}}}w", ground.prefix, call.tag).into_bytes());
    let mut node = whose(ground, |map| map.node_of(&key).cloned()).await;
    let mut loaded = false;
    for _ in 0..HOPS_MAX {
        let Some(mut live) = node.live().await else { return Err(no_server(&key)) };
        let result = send(ground, call, &node, &mut live.connection, ends_us).await;
        let error = match result {
            Ok(value) => return Ok(Answer { value, node, live }),
            Err(error) => error,
        };
        match judge(call.script.name, &live.server, &error) {
            Verdict::Fail(failure) => return Err(failure),
            Verdict::NotMaster(failure) => {
                live.gone.notify_one();
                ground.look_again.notify_one();
                return Err(failure);
            }
            Verdict::Load if loaded => {
                return Err(Failure::Refused(format!("{} forgets its scripts", live.server)));
            }
            Verdict::Load => {
                load(ground, call, &mut live).await?;
                loaded = true;
            }
            Verdict::Moved(server) => node = elsewhere(ground, &server).await?,
        }
    }
    Err(Failure::Refused("the servers send one another the call in a circle".to_owned()))
}

/// Waits until the map says where, as long as the caller does.
async fn whose(
    ground: &Ground,
    find: impl Fn(&super::ground::Map) -> Option<Arc<Node>>,
) -> Arc<Node> {
    let mut maps = ground.map.subscribe();
    loop {
        if let Some(node) = find(&maps.borrow_and_update()) {
            return node;
        }
        ground.look_again.notify_one();
        if maps.changed().await.is_err() {
            std::future::pending::<()>().await; // the link ends; so does the caller's patience
        }
    }
}

async fn elsewhere(ground: &Ground, server: &Server) -> Result<Arc<Node>, Failure> {
    if ground.map().slots.is_empty() {
        return Err(Failure::Refused(
            "the server is part of a Cluster: use `redis+cluster://` in `url`".to_owned(),
        ));
    }
    count(&ground.counters.redirected);
    ground.look_again.notify_one();
    Ok(whose(ground, |map| map.node_at(server).cloned()).await)
}

async fn send(
    ground: &Ground,
    call: &Call,
    node: &Node,
    connection: &mut MultiplexedConnection,
    ends_us: i64,
) -> RedisResult<Value> {
    let until_ms = match node.offset_us() {
        Some(offset_us) => (ends_us + offset_us).div_euclid(1_000),
        None => 1, // long ago: not without knowing the time
    };
    command(ground, call, until_ms).query_async(connection).await
}

fn command(ground: &Ground, call: &Call, until_ms: i64) -> Cmd {
    let known = ground.scripts.iter().find(|known| std::ptr::eq(known.script, call.script));
    let mut command = redis::cmd("EVALSHA");
    match known {
        Some(known) => command.arg(&known.sha),
        None => command.arg(redis::Script::new(call.script.source).get_hash()),
    };
    command.arg(call.keys.len()).arg(&call.keys).arg(until_ms).arg(&call.args);
    command
}

async fn load(ground: &Ground, call: &Call, live: &mut Live) -> Result<(), Failure> {
    count(&ground.counters.loaded);
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(call.script.source);
    command.exec_async(&mut live.connection).await.map_err(|error| {
        match judge(call.script.name, &live.server, &error) {
            Verdict::Fail(failure) | Verdict::NotMaster(failure) => failure,
            _ => Failure::Refused(format!("{} does not take a script", live.server)),
        }
    })
}

fn why_not(node: &Node) -> String {
    node.trouble().map_or_else(|| "there is no connection yet".to_owned(), |why| why.text)
}

fn no_server(key: &[u8]) -> Failure {
    let slot = super::ground::slot(key);
    Failure::Broken(format!("no server of the Cluster has the slot {slot}"))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
