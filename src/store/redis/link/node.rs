//! One server: its connection, looked after for as long as the link lives.
//!
//! Never sends a call itself. Invariant: a connection is shown to callers only after the server said that it is the
//! master, follows our keys, knows our scripts and told its time, and after everything was taken as changed.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::clock::Offset;
use super::counters::count;
use super::dial::{Dialed, Whom};
use super::ear::Ear;
use super::ground::Ground;
use super::replicas::Witness;
use super::trouble::Trouble;
use super::{answers, sentinel};
use crate::store::redis::Server;

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const PULSE: Duration = Duration::from_millis(250);
/// A server that leaves a pulse unanswered for so long is looked for anew.
const PULSE_LIMIT: Duration = Duration::from_secs(1);
/// Replicas that have been away for longer are not waited for.
const REPLICAS_MISSED_MS: u64 = 60_000;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where the server is found.
pub(super) enum Whereabouts {
    Fixed(Server),
    /// At where the sentinels say that the master of this name is.
    Master {
        sentinels: Vec<Server>,
        name: String,
    },
}

pub(super) struct Node {
    whereabouts: Whereabouts,
    live: watch::Sender<Option<Live>>,
    trouble: Mutex<Option<Trouble>>,
    offset_us: AtomicI64,
    trip_us: AtomicU64,
    answered_ms: AtomicU64,
    replicas: Mutex<Vec<Server>>,
    /// One more than when there last were any; 0 for never.
    replicated_ms: AtomicU64,
    connections: AtomicU64,
    pub(super) witness: Witness,
}

/// A connection that works, as far as is known.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Server,
    /// Counts the connections to this node.
    pub(super) number: u64,
    /// To be rung by whoever finds that it does not.
    pub(super) gone: Arc<Notify>,
}

impl Node {
    pub(super) fn new(whereabouts: Whereabouts) -> Self {
        Self {
            whereabouts,
            live: watch::Sender::new(None),
            trouble: Mutex::default(),
            offset_us: AtomicI64::new(i64::MIN),
            trip_us: AtomicU64::new(0),
            answered_ms: AtomicU64::new(0),
            replicas: Mutex::default(),
            replicated_ms: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            witness: Witness::default(),
        }
    }

    pub(super) fn is_at(&self, server: &Server) -> bool {
        match &self.whereabouts {
            Whereabouts::Fixed(fixed) => fixed == server,
            Whereabouts::Master { .. } => {
                self.live.borrow().as_ref().is_some_and(|live| live.server == *server)
            }
        }
    }

    /// Waits for a connection as long as the caller does.
    pub(super) async fn live(&self) -> Option<Live> {
        let mut live = self.live.subscribe();
        live.wait_for(Option::is_some).await.ok()?.clone()
    }

    pub(super) fn live_now(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the last pulse was sent that was answered.
    pub(super) fn answered_ms(&self) -> Option<u64> {
        self.answered_ms.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn offset_us(&self) -> Option<i64> {
        Some(self.offset_us.load(Ordering::Relaxed)).filter(|offset_us| *offset_us != i64::MIN)
    }

    pub(super) fn trip_us(&self) -> u64 {
        self.trip_us.load(Ordering::Relaxed)
    }

    /// Replicas that were attached at the last pulse.
    pub(super) fn replicas(&self) -> Vec<Server> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there are replicas, or were a moment ago: a master that was just promoted has none yet, and what it alone
    /// has may be lost with it.
    pub(super) fn has_replicas(&self, now_ms: u64) -> bool {
        let last = self.replicated_ms.load(Ordering::Relaxed).checked_sub(1);
        last.is_some_and(|last_ms| now_ms.saturating_sub(last_ms) < REPLICAS_MISSED_MS)
    }

    /// Connects, and connects again, until it is dropped.
    pub(super) async fn run(self: Arc<Self>, ground: Arc<Ground>) {
        let mut pause = PAUSE_MIN;
        loop {
            let trouble = match self.connect(&ground).await {
                Ok((dialed, live)) => {
                    pause = PAUSE_MIN;
                    // Whatever changed while nobody listened.
                    ground.ears.all_changed();
                    self.live.send_replace(Some(live.clone()));
                    tracing::info!(server = %live.server, "connected to the store");
                    let trouble = self.watch(&ground, live).await;
                    self.live.send_replace(None);
                    drop(dialed);
                    tracing::warn!(trouble = trouble.text, "the connection to the store ended");
                    trouble
                }
                Err(trouble) => trouble,
            };
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self, ground: &Arc<Ground>) -> Result<(Dialed, Live), Trouble> {
        match &self.whereabouts {
            Whereabouts::Fixed(server) => self.connect_to(ground, server).await,
            Whereabouts::Master { sentinels, name } => {
                let master = sentinel::master(ground, sentinels, name).await?;
                let prepared = self.connect_to(ground, &master).await?;
                // A server that was stopped takes connections, and answers when it goes on: by then it may have a
                // successor that it has not heard of.
                sentinel::still(ground, sentinels, name, &master).await?;
                Ok(prepared)
            }
        }
    }

    async fn connect_to(
        &self,
        ground: &Ground,
        server: &Server,
    ) -> Result<(Dialed, Live), Trouble> {
        let gone = Arc::new(Notify::new());
        let ear = Arc::new(Ear { ears: ground.ears.clone(), gone: gone.clone() });
        let dialed = ground.dialer.dial(server, Whom::Keeper, Some(ear), CONNECT_LIMIT).await?;
        let mut connection = dialed.connection.clone();
        let prepared = timeout(CONNECT_LIMIT, self.prepare(ground, server, &mut connection));
        prepared.await.unwrap_or_else(|_| {
            Err(Trouble::passing(format!("{server} does not answer although it is connected")))
        })?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        count(&ground.counters.connected);
        let live = Live { connection, server: server.clone(), number, gone };
        Ok((dialed, live))
    }

    async fn prepare(
        &self,
        ground: &Ground,
        server: &Server,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Trouble> {
        let trouble = |error| Trouble::of(server, &error);
        let sent_us = ground.now_us();
        let pulse = beat(connection).await.map_err(trouble)?;
        let mut offset = Offset::default();
        self.felt(ground, server, pulse, sent_us, &mut offset)?;
        redis::cmd("CLIENT")
            .arg(&["TRACKING", "ON", "BCAST", "PREFIX"])
            .arg(&ground.ears.beginning)
            .exec_async(connection)
            .await
            .map_err(trouble)?;
        connection.subscribe(&ground.ears.channel).await.map_err(trouble)?;
        if !ground.scripts.is_empty() {
            let mut pipe = redis::pipe();
            for prepared in &ground.scripts {
                pipe.cmd("SCRIPT").arg("LOAD").arg(prepared.script.source);
            }
            pipe.exec_async(connection).await.map_err(trouble)?;
        }
        Ok(())
    }

    /// Whether another server may take its place.
    pub(super) fn has_successors(&self) -> bool {
        matches!(self.whereabouts, Whereabouts::Master { .. })
    }

    /// Whether the sentinels, if there are any, still send callers to this server.
    async fn is_still_master(&self, ground: &Arc<Ground>, server: &Server) -> Result<(), Trouble> {
        match &self.whereabouts {
            Whereabouts::Fixed(_) => Ok(()),
            Whereabouts::Master { sentinels, name } => {
                sentinel::still(ground, sentinels, name, server).await
            }
        }
    }

    /// Waits until the connection ends or another server is to be asked; answers why.
    async fn watch(&self, ground: &Arc<Ground>, live: Live) -> Trouble {
        let server = live.server.clone();
        match &self.whereabouts {
            Whereabouts::Fixed(_) => self.attend(ground, live).await,
            Whereabouts::Master { sentinels, name } => tokio::select! {
                trouble = self.attend(ground, live) => trouble,
                trouble = sentinel::other_master(ground, sentinels, name, &server) => trouble,
            },
        }
    }

    /// Feels the pulse until the connection ends; answers why it did.
    async fn attend(&self, ground: &Arc<Ground>, live: Live) -> Trouble {
        let (server, mut connection) = (live.server, live.connection);
        let mut offset = Offset::default();
        let mut ticks = interval(PULSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let broken = || Trouble::passing(format!("the connection to {server} broke"));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = live.gone.notified() => return broken(),
            }
            let sent_us = ground.now_us();
            let answer = tokio::select! {
                answer = timeout(PULSE_LIMIT, beat(&mut connection)) => answer,
                () = live.gone.notified() => return broken(),
            };
            let felt = match answer {
                Ok(Ok(pulse)) => self.felt(ground, &server, pulse, sent_us, &mut offset),
                Ok(Err(error)) => Err(Trouble::of(&server, &error)),
                Err(_) => Err(Trouble::passing(format!("{server} does not answer any more"))),
            };
            if let Err(trouble) = felt {
                return trouble;
            }
            // It stood still for a while; somebody may have taken its place.
            if ground.now_us() - sent_us > PULSE.as_micros() as i64
                && let Err(trouble) = self.is_still_master(ground, &server).await
            {
                return trouble;
            }
            let sent_ms = u64::try_from(sent_us / 1_000).unwrap_or(0);
            self.answered_ms.store(sent_ms + 1, Ordering::Relaxed);
            ground.felt();
        }
    }

    fn felt(
        &self,
        ground: &Ground,
        server: &Server,
        pulse: Pulse,
        sent_us: i64,
        offset: &mut Offset,
    ) -> Result<(), Trouble> {
        let answered_us = ground.now_us();
        let Some(replicas) = pulse.replicas else {
            let text = format!("{server} is a replica, and only a master can be asked");
            return Err(Trouble::passing(text));
        };
        if !replicas.is_empty() {
            self.replicated_ms.store(ground.now_ms() + 1, Ordering::Relaxed);
        }
        *self.replicas.lock().unwrap_or_else(PoisonError::into_inner) = replicas;
        let offset_us = offset.learn(sent_us, answered_us, pulse.time_us);
        self.offset_us.store(offset_us, Ordering::Relaxed);
        let trip_us = u64::try_from(answered_us - sent_us).unwrap_or(0);
        self.trip_us.store(trip_us, Ordering::Relaxed);
        Ok(())
    }
}

/// What a server says of itself four times a second.
struct Pulse {
    time_us: i64,
    /// `None` if it is no master.
    replicas: Option<Vec<Server>>,
}

async fn beat(connection: &mut MultiplexedConnection) -> redis::RedisResult<Pulse> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("replication").cmd("TIME");
    let (role, time): (String, (i64, i64)) = pipe.query_async(connection).await?;
    Ok(Pulse { time_us: time.0 * 1_000_000 + time.1, replicas: answers::master_role(&role) })
}
