//! What the store does on its own: it notes sightings, tells ends again that were not heard, and shows that this
//! gateway lives.
//!
//! Never keeps a caller waiting. Invariant: both queues are bounded; what does not fit is said aloud.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::keys::{NODES, account_text, credential_text, tag_of};
use super::link::Script;
use super::{Shared, scripts};
use crate::locate::travel::Sighting;
use crate::store::StoreError;
use crate::store::redis::account::write_sighting;
use crate::types::{AccountId, Credential, UnixMs};

/// An end that is told until the store has heard it.
pub(super) struct Again {
    pub(super) script: &'static Script,
    pub(super) tag: u16,
    pub(super) now: UnixMs,
    pub(super) args: Vec<Vec<u8>>,
}

/// A credential that was seen.
pub(super) struct Seen {
    pub(super) account: AccountId,
    pub(super) credential: Credential,
    pub(super) sighting: Sighting,
}

/// The thread that does all this. Dropping it tells once more what was not heard, and says goodbye.
pub(super) struct Tasks {
    sights: Sender<Seen>,
    ends: Sender<Again>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tasks {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let unavailable = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        let (sights, seen) = channel(SIGHTS_MAX);
        let (ends, again) = channel(AGAIN_MAX);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unavailable)?;
        let thread = std::thread::Builder::new()
            .name("store-tasks".to_owned())
            .spawn(move || runtime.block_on(work(&shared, seen, again, stopped)))
            .map_err(unavailable)?;
        Ok(Self { sights, ends, stop: Some(stop), thread: Some(thread) })
    }

    /// `false` if there is no room.
    pub(super) fn note(&self, seen: Seen) -> bool {
        self.sights.try_send(seen).is_ok()
    }

    /// A beginning that nobody heard of, if there is room to spare: while the store is down there are many of them, and
    /// hardly one was carried out.
    pub(super) fn tell_unheard(&self, beginning: Again) {
        if self.ends.capacity() > AGAIN_MAX / 2 {
            self.tell_again(beginning);
        }
    }

    pub(super) fn tell_again(&self, end: Again) {
        if self.ends.try_send(end).is_err() {
            tracing::error!(
                "{AGAIN_MAX} ended attempts wait for the store to come back; one more stays counted as sending"
            );
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's tasks had panicked");
        }
    }
}

async fn work(
    shared: &Shared,
    mut seen: Receiver<Seen>,
    mut again: Receiver<Again>,
    stopped: oneshot::Receiver<()>,
) {
    let mut untold = VecDeque::new();
    tokio::select! {
        _ = stopped => {}
        () = note_all(shared, &mut seen) => {}
        () = tell_all(shared, &mut again, &mut untold) => {}
        () = live(shared) => {}
    }
    while let Some(end) = untold.pop_front().or_else(|| again.try_recv().ok()) {
        if !tell(shared, &end).await {
            tracing::error!("the store did not hear how {} attempts ended", untold.len() + 1);
            break;
        }
    }
    let _ = beat(shared, GONE, GONE_KEPT_MS).await;
}

async fn note_all(shared: &Shared, seen: &mut Receiver<Seen>) {
    while let Some(seen) = seen.recv().await {
        note(shared, seen).await;
    }
}

/// Sightings may be lost.
async fn note(shared: &Shared, seen: Seen) {
    let sighting = &seen.sighting;
    let country = sighting.country.as_ref().map_or(String::new(), |name| format!("={name}"));
    let asn = sighting.asn.map_or(String::new(), |asn| format!("={asn}"));
    let [(_, last), (_, place)] = write_sighting(sighting);
    let args = vec![
        account_text(&seen.account),
        credential_text(&seen.credential),
        last,
        place,
        country.into_bytes(),
        asn.into_bytes(),
    ];
    let tag = tag_of(&seen.account);
    let noted = shared.ask(&scripts::SIGHT, tag, sighting.at, args).await;
    let was_known = noted.is_ok_and(|reply| reply.number().is_ok_and(|news| news == 0));
    if !was_known {
        shared.view.raise(&seen.account);
    }
}

/// One end that is not heard does not hold up the others for longer than a try.
async fn tell_all(shared: &Shared, again: &mut Receiver<Again>, untold: &mut VecDeque<Again>) {
    loop {
        if untold.is_empty() {
            let Some(end) = again.recv().await else { return };
            untold.push_back(end);
        }
        while untold.len() < AGAIN_MAX
            && let Ok(end) = again.try_recv()
        {
            untold.push_back(end);
        }
        let Some(end) = untold.front() else { continue };
        let heard = tell(shared, end).await;
        if let Some(end) = untold.pop_front().filter(|_| !heard) {
            untold.push_back(end);
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

async fn tell(shared: &Shared, end: &Again) -> bool {
    shared.ask(end.script, end.tag, end.now, end.args.clone()).await.is_ok()
}

async fn live(shared: &Shared) {
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    loop {
        ticks.tick().await;
        let _ = beat(shared, ALIVE, BEAT_KEPT_MS).await;
    }
}

/// A sign of life that does not arrive is followed by another one soon.
pub(super) async fn beat(shared: &Shared, word: &str, kept_ms: u64) -> Result<(), StoreError> {
    let args = vec![
        shared.node.clone().into_bytes(),
        word.as_bytes().to_vec(),
        kept_ms.to_string().into_bytes(),
    ];
    shared.ask(&scripts::BEAT, NODES, shared.clock.now(), args).await.map(drop)
}

pub(super) const ALIVE: &str = "alive";
pub(super) const GONE: &str = "gone";
pub(super) const BEAT_KEPT_MS: u64 = 30_000;
/// As long as attempts are kept, and a day.
const GONE_KEPT_MS: u64 = 8 * 86_400_000;
const BEAT_EVERY: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const AGAIN_MAX: usize = 10_000;
const SIGHTS_MAX: usize = 4_096;
