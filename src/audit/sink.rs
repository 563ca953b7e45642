//! The way into the audit log: a handle for the request path, and one thread that owns the file.
//!
//! Never blocks a caller on the disk unless it asked to wait, and never loses a record in silence:
//! what cannot be queued or kept is counted, and the next record that can be written says how many
//! are gone. Invariant: `commit` answers `Ok` only after its line is durable; many commits share
//! one sync.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::chain::{CHECKPOINT_RECORDS_MAX, Head, Signer};
use super::journal::{Journal, OpenError};
use super::record::{CheckpointPlace, Event, Record};
use super::redact;
use crate::world::Clock;

/// Where the log is and how often it is signed.
#[derive(Clone, Debug)]
pub struct Settings {
    pub file: PathBuf,
    /// Longest time that a record waits for a checkpoint behind it.
    pub checkpoint_ms: u64,
}

impl Settings {
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), checkpoint_ms: 60_000 }
    }
}

/// Why a record is not durable. A guarded action is refused then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("the audit log cannot be written")]
    Unavailable,
    #[error("the audit log's queue is full")]
    Overload,
    #[error("the audit log was not durable within {COMMIT_MS_MAX} ms")]
    Deadline,
    #[error("the audit log is closed")]
    Closed,
}

/// A cheap handle on the log.
#[derive(Clone)]
pub struct Audit {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

impl Audit {
    /// Opens the log, continues its chain, and starts the writer. A disk that is full now is not an
    /// error: the handle is unhealthy, commits fail, and writing is tried again.
    ///
    /// # Errors
    /// If the file cannot be opened, is in use, or does not end in a record.
    pub fn open(
        settings: &Settings,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let (journal, torn) = Journal::open(&settings.file, clock.now())?;
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            journal,
            signer,
            clock,
            shared: shared.clone(),
            checkpoint_every: Duration::from_millis(settings.checkpoint_ms),
            unsigned: 0,
            signed_at: Instant::now(),
            backlog: VecDeque::new(),
            lost: 0,
            retry_at: Instant::now(),
        };
        writer.begin(torn.map(|torn| {
            let moved_to = torn.moved_to.display();
            format!("a cut-off last line of {} bytes was moved to {moved_to}", torn.bytes)
        }));
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(receiver))
            .map_err(OpenError::Thread)?;
        Ok(Self { sender, shared })
    }

    /// Hands a record over without waiting. `false` if the queue has no room left for notes; that
    /// is counted.
    pub fn note(&self, record: Record) -> bool {
        // The last quarter of the queue is kept for commits: a flood of refusals must not stop
        // guarded actions.
        let room = self.shared.queued.load(Ordering::Relaxed) < QUEUE_MAX / 4 * 3;
        let queued = room && self.send(Entry { record, waiting: None }).is_ok();
        if !queued {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Waits until the record is durable.
    ///
    /// # Errors
    /// If it is not, or not in time. After `Deadline` it may still become durable: a record without
    /// a forward does no harm, the reverse would.
    pub async fn commit(&self, record: Record) -> Result<(), AuditError> {
        let (waiting, answer) = oneshot::channel();
        self.send(Entry { record, waiting: Some(waiting) })?;
        match tokio::time::timeout(Duration::from_millis(COMMIT_MS_MAX), answer).await {
            Ok(answer) => answer.unwrap_or(Err(AuditError::Closed)),
            Err(_) => {
                // A disk that hangs gives no error: this is how readiness hears of it.
                self.shared.healthy.store(false, Ordering::Relaxed);
                Err(AuditError::Deadline)
            }
        }
    }

    /// Whether the last write was durable.
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Records that were noted and are lost, since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Follows the path if it names another file now (after a rotation): before the next record, or
    /// within a second. Called on SIGHUP.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Writes what is queued, a `stopped` record and the last signature. Blocks until that is
    /// durable, at most 5 s; whoever writes afterwards is told `Closed`.
    pub fn close(&self) {
        let (done, answer) = sync_channel(1);
        if self.sender.send(Message::Close(done)).is_ok() {
            let _ = answer.recv_timeout(Duration::from_secs(5));
        }
    }

    fn send(&self, entry: Entry) -> Result<(), AuditError> {
        let queued = &self.shared.queued;
        queued.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(Message::Write(Box::new(entry))).map_err(|error| {
            queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => AuditError::Overload,
                TrySendError::Disconnected(_) => AuditError::Closed,
            }
        })
    }
}

#[derive(Default)]
struct Shared {
    queued: AtomicUsize,
    dropped: AtomicU64,
    healthy: AtomicBool,
    /// Asked for, and not done yet. A flag, because a message could find the queue full.
    reopen: AtomicBool,
}

struct Entry {
    record: Record,
    waiting: Option<oneshot::Sender<Result<(), AuditError>>>,
}

enum Message {
    Write(Box<Entry>),
    Close(SyncSender<()>),
}

struct Writer {
    journal: Journal,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    checkpoint_every: Duration,
    /// Records behind the last checkpoint.
    unsigned: u64,
    signed_at: Instant,
    /// Notes that wait for a disk that works again.
    backlog: VecDeque<Record>,
    /// Lost records that the log itself has been told of.
    lost: u64,
    retry_at: Instant,
}

impl Writer {
    fn begin(&mut self, torn: Option<String>) {
        let now = self.clock.now();
        if self.journal.head != Head::GENESIS {
            // How much of the old tail is signed is not known: sign all of it before anything else.
            self.unsigned = CHECKPOINT_RECORDS_MAX;
        }
        self.backlog.push_back(Record::new(now, Event::Started));
        self.backlog.extend(torn.map(|note| Record::new(now, Event::Notice).with_note(note)));
        self.write(Vec::new(), None);
    }

    fn run(mut self, receiver: Receiver<Message>) {
        loop {
            let mut entries = Vec::new();
            let mut close = None;
            match receiver.recv_timeout(TICK) {
                Ok(Message::Write(entry)) => entries.push(*entry),
                Ok(Message::Close(done)) => close = Some(done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop(),
            }
            while close.is_none() && entries.len() < BATCH_MAX {
                match receiver.try_recv() {
                    Ok(Message::Write(entry)) => entries.push(*entry),
                    Ok(Message::Close(done)) => close = Some(done),
                    Err(_) => break,
                }
            }
            self.shared.queued.fetch_sub(entries.len(), Ordering::Relaxed);
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.rotate();
            }
            self.take(entries);
            if let Some(done) = close {
                self.stop();
                // Who came too late is counted; the queue, the file and its lock are gone before
                // anybody is told.
                let late = receiver.try_iter().count() as u64;
                self.shared.dropped.fetch_add(late, Ordering::Relaxed);
                drop((receiver, self));
                let _ = done.send(());
                return;
            }
        }
    }

    /// One round: mend what is broken, write what has come, sign when it is time.
    fn take(&mut self, entries: Vec<Entry>) {
        if !self.journal.is_open() {
            self.mend();
        }
        let due = self.unsigned > 0 && self.signed_at.elapsed() >= self.checkpoint_every;
        let signature = due.then_some(CheckpointPlace::Middle);
        if !entries.is_empty() || due || !self.backlog.is_empty() {
            self.write(entries, signature);
        }
    }

    /// Tries the file again after a failure, a few times a second at most.
    fn mend(&mut self) {
        if Instant::now() < self.retry_at {
            return;
        }
        self.retry_at = Instant::now() + RETRY;
        if self.follow() {
            // The notice is the probe: only a write that is durable makes the log healthy again.
            let note = "the audit log is written again after a failure";
            let notice = Record::new(self.clock.now(), Event::Notice).with_note(note);
            self.backlog.push_front(notice);
            if !self.write(Vec::new(), None) {
                self.backlog.pop_front();
            }
        }
    }

    fn rotate(&mut self) {
        if !self.journal.is_rotated() {
            return;
        }
        if self.journal.is_open() {
            self.write(Vec::new(), Some(CheckpointPlace::End));
        }
        if self.follow() {
            self.keep(Record::new(self.clock.now(), Event::Notice).with_note("a new file"));
            self.write(Vec::new(), None);
        }
    }

    fn follow(&mut self) -> bool {
        let followed = self.journal.follow();
        if let Err(error) = &followed {
            self.shared.healthy.store(false, Ordering::Relaxed);
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "audit log unavailable");
        }
        followed.is_ok()
    }

    fn stop(&mut self) {
        if !self.journal.is_open() {
            self.mend();
        }
        self.keep(Record::new(self.clock.now(), Event::Stopped));
        self.write(Vec::new(), Some(CheckpointPlace::End));
    }

    /// Writes the backlog and these entries, and answers who waits. `true` if all of it is durable.
    fn write(&mut self, entries: Vec<Entry>, signature: Option<CheckpointPlace>) -> bool {
        let durable = self.journal.is_open() && self.write_batch(&entries, signature);
        for entry in entries {
            match entry.waiting {
                Some(waiting) => {
                    let answer = if durable { Ok(()) } else { Err(AuditError::Unavailable) };
                    let _ = waiting.send(answer);
                }
                None if !durable => self.keep(entry.record),
                None => {}
            }
        }
        durable
    }

    fn write_batch(&mut self, entries: &[Entry], signature: Option<CheckpointPlace>) -> bool {
        let mut batch = Batch::at(self.journal.head, self.unsigned);
        if self.journal.continues_in_new_file() {
            // `verify` accepts a file that begins in the middle of a chain only with this
            // signature.
            batch.sign(CheckpointPlace::Head, self);
        }
        let lost = self.shared.dropped.load(Ordering::Relaxed);
        if lost > self.lost {
            let note = format!("{} records could not be kept and are lost", lost - self.lost);
            batch.add(&Record::new(self.clock.now(), Event::Notice).with_note(note), self);
        }
        for record in self.backlog.iter().chain(entries.iter().map(|entry| &entry.record)) {
            batch.add(record, self);
        }
        if let Some(place) = signature {
            batch.sign(place, self);
        }
        let durable = self.append(&batch.lines, batch.head);
        if durable {
            if batch.signed {
                self.signed_at = Instant::now();
            }
            (self.unsigned, self.lost) = (batch.unsigned, lost);
            self.backlog.clear();
        }
        durable
    }

    fn append(&mut self, lines: &[u8], head: Head) -> bool {
        let written = self.journal.append(lines, head);
        if let Err(error) = &written {
            tracing::error!(%error, "audit log not written");
            self.retry_at = Instant::now() + RETRY;
        }
        self.shared.healthy.store(written.is_ok(), Ordering::Relaxed);
        written.is_ok()
    }

    /// Keeps a note for later; the oldest goes when there are too many.
    fn keep(&mut self, record: Record) {
        self.backlog.push_back(record);
        if self.backlog.len() > BACKLOG_MAX {
            self.backlog.pop_front();
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    /// However the writer ends, nobody may believe that records are still being written.
    fn drop(&mut self) {
        self.shared.healthy.store(false, Ordering::Relaxed);
    }
}

/// Lines that become durable together.
struct Batch {
    lines: Vec<u8>,
    head: Head,
    unsigned: u64,
    signed: bool,
}

impl Batch {
    fn at(head: Head, unsigned: u64) -> Self {
        Self { lines: Vec::new(), head, unsigned, signed: false }
    }

    fn add(&mut self, record: &Record, writer: &Writer) {
        if self.unsigned >= CHECKPOINT_RECORDS_MAX {
            self.sign(CheckpointPlace::Middle, writer);
        }
        self.line(&redact::clean(record.clone()));
        self.unsigned += 1;
    }

    fn sign(&mut self, place: CheckpointPlace, writer: &Writer) {
        let checkpoint = self.head.checkpoint(writer.clock.now(), place, &*writer.signer);
        self.line(&checkpoint);
        (self.unsigned, self.signed) = (0, true);
    }

    fn line(&mut self, record: &Record) {
        // Text, numbers and maps with text keys: there is no value of a record that JSON cannot
        // hold.
        self.head.append(record, &mut self.lines).expect("a record is always JSON");
    }
}

/// Messages waiting for the writer.
const QUEUE_MAX: usize = 4_096;
/// Records that share one sync.
const BATCH_MAX: usize = 512;
/// Notes kept while the disk does not work.
const BACKLOG_MAX: usize = 4_096;
const COMMIT_MS_MAX: u64 = 2_000;
const TICK: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
