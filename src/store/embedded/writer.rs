//! The one thread that writes: sentences wait in a bounded queue, all that wait share one durable
//! commit.
//!
//! Never answers before the commit. Invariant: one sentence after the other, each wholly or not at
//! all; a sentence that fails (something unreadable, even a panic) leaves nothing behind and spoils
//! none of the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use redb::{Database, Durability};
use tokio::sync::oneshot;

use super::rows::{Desk, Rows, STATE, Shelf, Written, apply, sweep, unavailable};
use crate::store::StoreError;
use crate::store::view::View;
use crate::types::{AccountId, UnixMs};

/// A sentence on its way to the writer. Dropped untold, its caller hears that the store is not
/// available.
pub(super) struct Job {
    durable: bool,
    /// The time by which rows are forgotten, from a caller that has one.
    now: Option<UnixMs>,
    run: Box<dyn FnOnce(&mut Desk<'_>) -> Said + Send>,
}

/// What a sentence came to, to be told once it is committed.
struct Said {
    success: bool,
    tell: Box<dyn FnOnce() + Send>,
}

impl Job {
    /// A sentence that somebody waits for; its commit is durable.
    pub(super) fn asked<T: Send + 'static>(
        now: Option<UnixMs>,
        sentence: impl FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (teller, told) = oneshot::channel();
        let run = Box::new(move |desk: &mut Desk<'_>| {
            let result = sentence(desk);
            Said {
                success: result.is_ok(),
                // A caller that has left needs no answer.
                tell: Box::new(move || drop(teller.send(result))),
            }
        });
        (Self { durable: true, now, run }, told)
    }

    /// A sentence that nobody waits for and that may be lost in a crash.
    pub(super) fn noted(
        now: UnixMs,
        sentence: impl FnOnce(&mut Desk<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Self {
        let run = Box::new(move |desk: &mut Desk<'_>| {
            let success = sentence(desk).is_ok();
            Said { success, tell: Box::new(|| ()) }
        });
        Self { durable: false, now: Some(now), run }
    }
}

/// The writer's queue and thread. Dropping it finishes what waits and closes the file.
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>, view: Arc<View>) -> Result<Self, StoreError> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let mut state = State { database, view, lost_in_crash: 0 };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || state.work(&jobs))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Never waits.
    ///
    /// # Errors
    /// `Overload` if the queue is full, `Unavailable` if the thread has ended.
    pub(super) fn submit(&self, job: Job) -> Result<(), StoreError> {
        let stopped = || StoreError::Unavailable("the writer has stopped".to_owned());
        match self.queue.as_ref().ok_or_else(stopped)?.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Overload),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer had panicked");
        }
    }
}

struct State {
    database: Arc<Database>,
    view: Arc<View>,
    /// Commits since the last durable one.
    lost_in_crash: u32,
}

impl State {
    fn work(&mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(BATCH_MAX - 1));
            self.write(batch);
        }
        if self.lost_in_crash > 0 {
            let (job, _told) = Job::asked(None, |_| Ok(()));
            self.write(vec![job]);
        }
    }

    /// Answers a batch, or none of it. Whether or not a failed commit reached the disk, the views
    /// of its accounts are stale.
    fn write(&mut self, batch: Vec<Job>) {
        let mut told = Vec::with_capacity(batch.len());
        let mut touched = Vec::new();
        let done = self.commit(batch, &mut told, &mut touched);
        for account in &touched {
            self.view.raise(account);
        }
        match done {
            Ok(()) => told.into_iter().for_each(|tell| tell()),
            Err(error) => tracing::error!(%error, "the store could not write"),
        }
    }

    fn commit(
        &mut self,
        batch: Vec<Job>,
        told: &mut Vec<Box<dyn FnOnce() + Send>>,
        touched: &mut Vec<AccountId>,
    ) -> Result<(), StoreError> {
        let asked_durable = batch.iter().any(|job| job.durable);
        let durable = asked_durable || self.lost_in_crash >= NOTED_COMMITS_MAX;
        let jobs = batch.len();
        let now = batch.iter().filter_map(|job| job.now).max();
        let mut transaction = self.database.begin_write().map_err(unavailable)?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).map_err(unavailable)?;
        let mut wrote = false;
        {
            let mut table = transaction.open_table(STATE).map_err(unavailable)?;
            for job in batch {
                let Some((written, tell)) = run(job, &Shelf(&table)) else { continue };
                wrote |= !written.writes.is_empty();
                touched.extend(written.touched);
                apply(&mut table, written.writes).map_err(unavailable)?;
                told.push(tell);
            }
            if let Some(now) = now.filter(|_| wrote) {
                sweep(&mut table, now, SWEPT_MIN + SWEPT_PER_JOB * jobs).map_err(unavailable)?;
            }
        }
        let makes_durable = durable && self.lost_in_crash > 0;
        if !wrote && !makes_durable {
            return transaction.abort().map_err(unavailable);
        }
        transaction.commit().map_err(unavailable)?;
        self.lost_in_crash = if durable { 0 } else { self.lost_in_crash + 1 };
        Ok(())
    }
}

/// Runs one sentence. `None` if it panicked: its caller hears that from the answer that is dropped.
fn run(job: Job, shelf: &dyn Rows) -> Option<(Written, Box<dyn FnOnce() + Send>)> {
    let mut desk = Desk::new(shelf);
    let Ok(said) = catch_unwind(AssertUnwindSafe(|| (job.run)(&mut desk))) else {
        tracing::error!("a sentence to the store panicked");
        return None;
    };
    let written = if said.success { desk } else { Desk::new(shelf) };
    Some((written.finish(), said.tell))
}

const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 256;
/// Pages that a non-durable commit frees are reused only after a durable one.
const NOTED_COMMITS_MAX: u32 = 64;
/// A batch forgets more rows than its sentences can add, so that the sweeping never falls behind.
const SWEPT_MIN: usize = 16;
const SWEPT_PER_JOB: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use redb::ReadableDatabase as _;

    use super::super::docs::Account;
    use super::super::rows::{FOR_EVER, Key, Kind};
    use super::*;

    fn start() -> (Writer, Arc<Database>) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = super::super::open_file(&folder.path().join("state.db")).expect("opens");
        let database = Arc::new(file);
        let view = Arc::new(View::new());
        (Writer::start(Arc::clone(&database), view).expect("starts"), database)
    }

    /// Stops the writer at a sentence until the sender is dropped, so that what follows shares one
    /// batch.
    fn stop(writer: &Writer) -> Sender<()> {
        let (go_on, gate) = channel();
        let (reached, at_gate) = channel();
        let (job, _told) = Job::asked(None, move |_| {
            reached.send(()).expect("the test waits");
            let _ = gate.recv();
            Ok(())
        });
        writer.submit(job).expect("has room");
        at_gate.recv().expect("the writer gets there");
        go_on
    }

    fn key(name: &str) -> Key {
        Key::new(Kind::Kept).part(name)
    }

    fn stored(database: &Database, name: &str) -> bool {
        let transaction = database.begin_read().expect("reads");
        let table = transaction.open_table(STATE).expect("is there");
        Shelf(&table).raw(&key(name)).expect("reads").is_some()
    }

    #[test]
    fn a_sentence_that_fails_leaves_nothing_and_spoils_no_other() {
        let (writer, database) = start();
        let go_on = stop(&writer);
        let write = |name: &'static str, end: fn() -> Result<(), StoreError>| {
            let (job, told) = Job::asked(None, move |desk| {
                desk.put(&key(name), FOR_EVER, &1)?;
                end()
            });
            writer.submit(job).expect("has room");
            told
        };
        let first = write("first", || Ok(()));
        let failing = write("failing", || Err(StoreError::Overload));
        let panicking = write("panicking", || panic!("as the test wants"));
        let last = write("last", || Ok(()));
        drop(go_on);
        assert!(matches!(first.blocking_recv(), Ok(Ok(()))));
        assert!(matches!(failing.blocking_recv(), Ok(Err(StoreError::Overload))));
        assert!(panicking.blocking_recv().is_err());
        assert!(matches!(last.blocking_recv(), Ok(Ok(()))));
        let kept = ["first", "failing", "panicking", "last"].map(|name| stored(&database, name));
        assert_eq!(kept, [true, false, false, true]);
    }

    #[test]
    fn an_unreadable_row_is_an_error_of_its_own_sentence() {
        let (writer, _database) = start();
        let account = AccountId::new("main", "alice");
        let row = Key::new(Kind::Account).account(&account);
        let (job, told) = Job::asked(None, move |desk| {
            desk.put_bytes(&row, FOR_EVER, b"{broken");
            Ok(())
        });
        writer.submit(job).expect("has room");
        assert!(matches!(told.blocking_recv(), Ok(Ok(()))));
        let load = |name: &str| {
            let account = AccountId::new("main", name);
            let (job, told) = Job::asked(None, move |desk| Account::load(desk, &account).map(drop));
            writer.submit(job).expect("has room");
            told.blocking_recv().expect("is answered")
        };
        assert!(matches!(load("alice"), Err(StoreError::Corrupt { .. })));
        assert!(load("bob").is_ok());
    }

    #[test]
    fn a_full_queue_refuses_and_never_waits() {
        let (writer, _database) = start();
        let go_on = stop(&writer);
        let submit = || writer.submit(Job::noted(UnixMs(0), |_| Ok(())));
        for _ in 0..QUEUE_MAX {
            submit().expect("has room");
        }
        assert!(matches!(submit(), Err(StoreError::Overload)));
        drop(go_on);
    }
}
