//! Waits until a replica has what was written.
//!
//! Never on the connection of calls, which would all wait behind it. Invariant: who is told yes asked before the write
//! began that a replica then acknowledged, and replication keeps the order, so everything before it is there too.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::dial::{Dialed, Whom};
use super::ground::Ground;
use super::node::{Live, Node};

/// Those who may wait for the same answer.
const WAITING_MAX: usize = 1_024;

struct Asked {
    key: Vec<u8>,
    number: u64,
    answer: oneshot::Sender<Result<(), String>>,
}

/// The way to the task that waits for one node's replicas; it is started when it is first needed.
#[derive(Default)]
pub(super) struct Witness(OnceLock<mpsc::Sender<Asked>>);

impl Witness {
    /// `key` lies on the node; `live` is the connection on which the write was answered.
    pub(super) async fn ask(
        &self,
        ground: &Arc<Ground>,
        runtime: &tokio::runtime::Handle,
        node: &Arc<Node>,
        live: &Live,
        key: Vec<u8>,
    ) -> Result<(), String> {
        let asks = self.0.get_or_init(|| {
            let (asks, asked) = mpsc::channel(WAITING_MAX);
            // Weak, because the node holds the sender, at whose end the task ends.
            runtime.spawn(run(ground.clone(), Arc::downgrade(node), asked));
            asks
        });
        let (answer, answered) = oneshot::channel();
        let asked = Asked { key, number: live.number, answer };
        asks.send(asked).await.map_err(|_| "the link has ended".to_owned())?;
        answered.await.map_err(|_| "the link has ended".to_owned())?
    }
}

async fn run(ground: Arc<Ground>, node: std::sync::Weak<Node>, mut asked: mpsc::Receiver<Asked>) {
    let mut kept: Option<(u64, Dialed)> = None;
    while let Some(first) = asked.recv().await {
        let mut waiting = vec![first];
        while waiting.len() < WAITING_MAX
            && let Ok(more) = asked.try_recv()
        {
            waiting.push(more);
        }
        let live = node.upgrade().and_then(|node| node.live_now());
        let (number, result) = match live {
            None => (0, Err("no connection".to_owned())),
            Some(live) => {
                let key = waiting.first().map(|asked| asked.key.clone()).unwrap_or_default();
                (live.number, wait(&ground, &live, &key, &mut kept).await)
            }
        };
        for asked in waiting {
            // Another server may be the master by now, without the write.
            let result = match asked.number == number {
                true => result.clone(),
                false => Err("the connection broke meanwhile".to_owned()),
            };
            let _gone = asked.answer.send(result);
        }
    }
}

/// A small write and the wait for it: `WAIT` speaks of the writes of its own connection.
async fn wait(
    ground: &Ground,
    live: &Live,
    key: &[u8],
    kept: &mut Option<(u64, Dialed)>,
) -> Result<(), String> {
    if kept.as_ref().is_none_or(|(number, _)| *number != live.number) {
        let dialed = ground.dialer.dial(&live.server, Whom::Keeper, None, ground.deadline).await;
        *kept = Some((live.number, dialed.map_err(|trouble| trouble.text)?));
    }
    let Some((_, dialed)) = kept else { return Err("no connection".to_owned()) };
    let mut pipe = redis::pipe();
    pipe.cmd("EVAL").arg(WRITE).arg(1).arg(key).arg(KEPT_MS);
    pipe.cmd("WAIT").arg(1).arg(ground.deadline.as_millis() as u64);
    let mut connection = dialed.connection.clone();
    let limit = ground.deadline + Duration::from_millis(50);
    let answer = timeout(limit, pipe.query_async::<(i64, u64)>(&mut connection)).await;
    match answer {
        Ok(Ok((_, replicas))) if replicas > 0 => Ok(()),
        Ok(Ok(_)) => Err("no replica has it".to_owned()),
        Ok(Err(error)) => {
            *kept = None;
            Err(error.to_string())
        }
        Err(_) => {
            *kept = None;
            Err("no replica has it".to_owned())
        }
    }
}

/// A full server refuses to begin writing with what needs memory, but not to go on.
const WRITE: &str =
    "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) return 1";
const KEPT_MS: u64 = 1_000;
