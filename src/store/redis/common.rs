//! What all gateways have in common: the markers, common keys, notices.
//!
//! Never makes a lost part of the state look whole: whoever makes a marker where others are says so aloud.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::{COMMON, PARTS};
use super::reply::{Reply, corrupt};
use super::{Redis, Shared, scripts, tasks};
use crate::store::{Notice, StoreError};
use crate::types::UnixMs;

/// A notice on its way.
#[derive(Serialize, Deserialize)]
struct Letter {
    from: String,
    notice: Notice,
}

/// A notice of another gateway; its own come back as well.
pub(super) fn read_notice(bytes: &[u8], node: &str) -> Option<Notice> {
    let letter: Letter = serde_json::from_slice(bytes).ok()?;
    (letter.from != node).then_some(letter.notice)
}

/// Makes the markers that are missing and gives the first sign of life. On a thread of its own, because a runtime may
/// be running on this one.
pub(super) fn prepare(shared: Arc<Shared>) -> Result<(), StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
    let prepared = std::thread::spawn(move || runtime.block_on(mark(&shared))).join();
    prepared.unwrap_or_else(|_| Err(StoreError::Unavailable("the start panicked".to_owned())))
}

/// A start is not in a hurry: on a busy server one of a thousand scripts may miss the deadline.
async fn mark(shared: &Shared) -> Result<(), StoreError> {
    let mut tried = 1;
    loop {
        match try_mark(shared).await {
            Err(StoreError::Deadline(_)) if tried < TRIES => tried += 1,
            marked => return marked,
        }
    }
}

async fn try_mark(shared: &Shared) -> Result<(), StoreError> {
    let parts: Vec<u16> = (0..PARTS).collect();
    let now = shared.clock.now();
    let ask = |part: &u16| shared.ask(&scripts::MARK, *part, now, Vec::new());
    let mut made = 0;
    for (_, reply) in super::guarded::each(&parts, ask).await? {
        made += usize::from(reply.number()? == 1);
    }
    if made == parts.len() {
        tracing::warn!(
            "there was no state in Redis under this prefix, and a new one begins: right for a first start, and a loss of all \
             factors and freezes for any other (restore a backup)"
        );
    } else if made > 0 {
        tracing::warn!(
            "{made} of {} parts of the state in Redis had no marker: what they held was lost (unless another gateway \
             starts for the first time right now); frozen accounts and enrolled factors may be among it",
            parts.len()
        );
    }
    tasks::beat(shared, tasks::ALIVE, tasks::BEAT_KEPT_MS).await
}

const TRIES: usize = 5;

impl Redis {
    pub(super) async fn do_adopt(
        &self,
        name: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let now = self.shared.clock.now();
        self.shared.ask(&scripts::ADOPT, COMMON, now, vec![name, value]).await?.bytes()
    }

    pub(super) async fn do_lend(
        &self,
        name: Vec<u8>,
        value: Vec<u8>,
        until: UnixMs,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let args = vec![name, value, until.0.to_string().into_bytes()];
        self.shared.ask(&scripts::LEND, COMMON, now, args).await.map(drop)
    }

    pub(super) async fn do_lent(
        &self,
        name: Vec<u8>,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let reply = self.shared.ask(&scripts::LENT, COMMON, now, vec![name]).await?;
        reply.present().map(Reply::bytes).transpose()
    }

    pub(super) async fn do_announce(&self, notice: Notice) -> Result<(), StoreError> {
        let letter = Letter { from: self.shared.node.clone(), notice };
        let letter = serde_json::to_vec(&letter).map_err(|_| corrupt("a notice"))?;
        self.shared.link.publish(&letter).await
    }
}
