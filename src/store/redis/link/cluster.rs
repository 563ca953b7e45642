//! Keeps the map of a Cluster: which masters there are and which slots they hold, looked up anew every second.
//!
//! Never routes a call itself. Invariant: a master that is new on the map counts as not heard until it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::answers::{self, Holding};
use super::dial::Whom;
use super::ground::{Ground, Map, SLOTS};
use super::node::{Node, Whereabouts};
use super::trouble::Trouble;
use crate::store::redis::Server;

const LIMIT: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_secs(1);
/// Not more often, however many calls find it wrong.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// A node that is looked after, until it leaves the map.
struct Kept {
    node: Arc<Node>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks the map up for as long as the link lives; what is in the way goes to `trouble`.
pub(super) async fn run(ground: Arc<Ground>, seeds: Vec<Server>, trouble: impl Fn(Trouble)) {
    let mut kept: HashMap<Server, Kept> = HashMap::new();
    let mut turn = 0;
    loop {
        match look(&ground, &seeds, turn).await {
            Ok(holdings) => draw(&ground, &mut kept, &holdings),
            Err(error) => trouble(error),
        }
        turn += 1;
        sleep(AT_MOST_EVERY).await;
        tokio::select! {
            () = sleep(EVERY) => {}
            () = ground.look_again.notified() => {}
        }
    }
}

/// Asks one server after the other, a different one first each time, so that one that is cut off is not believed long.
async fn look(ground: &Ground, seeds: &[Server], turn: usize) -> Result<Vec<Holding>, Trouble> {
    let mut trouble = None;
    let lives: Vec<_> = ground.map().nodes.iter().filter_map(|node| node.live_now()).collect();
    for step in 0..lives.len() {
        let Some(live) = lives.get((turn + step) % lives.len()) else { continue };
        match ask(&live.server, live.connection.clone()).await {
            Ok(holdings) => return Ok(holdings),
            Err(error) => trouble = Some(error),
        }
    }
    for seed in seeds {
        let asked = match ground.dialer.dial(seed, Whom::Keeper, None, LIMIT).await {
            Ok(dialed) => ask(seed, dialed.connection.clone()).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(holdings) => return Ok(holdings),
            Err(error) => trouble = Some(error),
        }
    }
    Err(trouble.unwrap_or_else(|| Trouble::lasting("no server of the Cluster is named")))
}

async fn ask(
    server: &Server,
    mut connection: MultiplexedConnection,
) -> Result<Vec<Holding>, Trouble> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = timeout(LIMIT, command.query_async::<Value>(&mut connection)).await;
    let answer = answer
        .map_err(|_| Trouble::passing(format!("{server} does not answer")))?
        .map_err(|error| match error.to_string().contains("cluster support disabled") {
            true => Trouble::lasting(format!("{server} is not part of a Cluster: use `redis://`")),
            false => Trouble::of(server, &error),
        })?;
    let holdings = answers::cluster_slots(&answer, server);
    if holdings.is_empty() {
        return Err(Trouble::passing(format!("{server} knows no master of its Cluster")));
    }
    Ok(holdings)
}

/// Makes the map say so, and looks after those that are new on it.
fn draw(ground: &Arc<Ground>, kept: &mut HashMap<Server, Kept>, holdings: &[Holding]) {
    kept.retain(|server, _| holdings.iter().any(|(holder, _)| holder == server));
    let mut map = Map { nodes: Vec::new(), slots: vec![u16::MAX; usize::from(SLOTS)] };
    for (server, (from, to)) in holdings {
        let node = kept.entry(server.clone()).or_insert_with(|| look_after(ground, server));
        let known = map.nodes.iter().position(|other| Arc::ptr_eq(other, &node.node));
        let index = known.unwrap_or_else(|| {
            map.nodes.push(node.node.clone());
            map.nodes.len() - 1
        });
        let range = map.slots.get_mut(usize::from(*from)..=usize::from(*to));
        range.into_iter().flatten().for_each(|slot| *slot = index as u16);
    }
    let same = {
        let old = ground.map.borrow();
        old.slots == map.slots
            && old.nodes.len() == map.nodes.len()
            && old.nodes.iter().zip(&map.nodes).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    if !same {
        ground.map.send_replace(Arc::new(map));
        ground.felt();
    }
}

fn look_after(ground: &Arc<Ground>, server: &Server) -> Kept {
    let node = Arc::new(Node::new(Whereabouts::Fixed(server.clone())));
    let task = tokio::spawn(node.clone().run(ground.clone()));
    Kept { node, task }
}
