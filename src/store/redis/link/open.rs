//! Starts a link: its thread, its connections, and what must be right before anything is asked of the servers.
//!
//! Never starts on servers that may throw keys away. Invariant: an opened link was connected and fresh once.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::breaker::Breaker;
use super::counters::Counters;
use super::dial::Dialer;
use super::ear::Ears;
use super::ground::{Ground, Map};
use super::node::{Node, Whereabouts};
use super::trouble::Trouble;
use super::{Heard, Link, Script, cluster, examine};
use crate::store::StoreError;
use crate::store::redis::{Settings, Topology};

const OPEN_LIMIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);
/// Parts of the state; in a Cluster each has a breaker of its own, because each may lie on another server.
const TAGS: usize = 1_024;

impl Link {
    /// Connects. Waits at most about five seconds. `scripts` are loaded on every connection before it is used.
    ///
    /// # Errors
    /// Which server cannot be used, why, and what to do.
    pub fn open(
        settings: &Settings,
        scripts: &'static [&'static Script],
        heard: Arc<dyn Heard>,
    ) -> Result<Self, StoreError> {
        let counters = Arc::new(Counters::default());
        let ears = Arc::new(Ears::new(heard, counters.clone(), &settings.prefix));
        let dialer = Dialer::new(settings)?;
        let (prefix, deadline) = (&settings.prefix, settings.deadline);
        let ground = Arc::new(Ground::new(dialer, ears, counters, scripts, prefix, deadline));
        let breakers = match settings.topology {
            Topology::Cluster(_) => TAGS,
            _ => 1,
        };
        let stop = CancellationToken::new();
        // From here on whatever fails drops `stopped`, and the thread ends.
        let stopped = stop.clone().drop_guard();
        let runtime = thread(&ground, settings.topology.clone(), &stop)?;
        Ok(Self {
            ground,
            breakers: (0..breakers).map(|_| Mutex::new(Breaker::default())).collect(),
            runtime,
            stop: stopped.disarm(),
        })
    }
}

fn thread(
    ground: &Arc<Ground>,
    topology: Topology,
    stop: &CancellationToken,
) -> Result<tokio::runtime::Handle, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StoreError::Unavailable(format!("no runtime: {error}")))?;
    let handle = runtime.handle().clone();
    let (tell, told) = mpsc::sync_channel(1);
    let (ground, stop) = (ground.clone(), stop.clone());
    std::thread::Builder::new()
        .name("store-redis".to_owned())
        .spawn(move || runtime.block_on(live(ground, topology, stop, tell)))
        .map_err(|error| StoreError::Unavailable(format!("no thread: {error}")))?;
    let opened = told.recv_timeout(OPEN_LIMIT * 2);
    opened
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the servers do not answer".to_owned())))?;
    Ok(handle)
}

type Tell = mpsc::SyncSender<Result<(), StoreError>>;

async fn live(ground: Arc<Ground>, topology: Topology, stop: CancellationToken, tell: Tell) {
    let trouble = Arc::new(Mutex::new(None));
    match topology {
        Topology::Single(server) => one(&ground, Whereabouts::Fixed(server)),
        Topology::Sentinel { sentinels, master } => {
            one(&ground, Whereabouts::Master { sentinels, name: master });
        }
        Topology::Cluster(seeds) => {
            let note = trouble.clone();
            let note = move |new: Trouble| {
                *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
            };
            tokio::spawn(cluster::run(ground.clone(), seeds, note));
        }
    }
    let first = first_contact(&ground, &trouble).await;
    let ready = first.is_ok();
    let _gone = tell.send(first);
    if ready {
        stop.cancelled().await;
    }
}

fn one(ground: &Arc<Ground>, whereabouts: Whereabouts) {
    let node = Arc::new(Node::new(whereabouts));
    ground.map.send_replace(Arc::new(Map { nodes: vec![node.clone()], slots: Vec::new() }));
    tokio::spawn(node.run(ground.clone()));
}

/// Waits until every server was heard, and looks at how they are set up.
async fn first_contact(
    ground: &Ground,
    map_trouble: &Mutex<Option<Trouble>>,
) -> Result<(), StoreError> {
    let ends = Instant::now() + OPEN_LIMIT;
    while !ground.is_fresh() {
        let map = ground.map();
        let of_map = map_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_map = of_map.filter(|_| map.nodes.is_empty());
        let missing = map.nodes.iter().filter(|node| node.answered_ms().is_none());
        let troubles: Vec<_> = missing.filter_map(|node| node.trouble()).chain(of_map).collect();
        let lasting = troubles.iter().find(|trouble| trouble.lasting);
        if let Some(trouble) = lasting.or(troubles.first().filter(|_| Instant::now() >= ends)) {
            return Err(trouble.clone().into());
        }
        if Instant::now() >= ends {
            return Err(StoreError::Unavailable("the servers do not answer".to_owned()));
        }
        sleep(LOOK).await;
    }
    let facts = timeout_at((ends + OPEN_LIMIT / 2).into(), examine::all(ground)).await;
    let facts = facts.map_err(|_| StoreError::Deadline(OPEN_LIMIT.as_millis() as u64))??;
    for server in &facts {
        examine::accept(server, !ground.map().slots.is_empty())?;
    }
    Ok(())
}
