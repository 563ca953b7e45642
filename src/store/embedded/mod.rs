//! The store of one gateway: a durable file (redb), one writer, a local view.
//!
//! Never answers a sentence before its commit is on disk; the one exception is `sight`, which
//! nobody waits for. Invariant: one file, one process. Where `Deadline` is answered the write may
//! still happen: nothing may be assumed. A `begin` that nobody heard of is abandoned as soon as the
//! writer gets to it.

mod accounts;
mod asking;
mod board;
mod budget;
mod docs;
mod examine;
mod export;
mod guarded;
mod outbox;
mod rows;
mod writer;

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _};

use self::docs::Account;
pub use self::examine::{FileState, examine};
use self::rows::{Desk, FOR_EVER, Key, Kind, Rows as _, STATE, Shelf, unavailable};

use self::writer::{Job, Writer};
use super::board::{Board, Posted};
use super::moved::{Export, Kept};
use super::{
    AccountCard, Begin, Begun, Charge, CodeQueued, Consult, Consulted, Enrolled, Learn, Message,
    Notice, NoticeLetter, Notified, Opened, Orphan, PasskeyAsked, Proven, Quiet, Settled, Spent,
    Standing, Store, StoreError, Task, ThawAsked, Told,
};
use crate::locate::travel::Sighting;
use crate::stepup::budget::Stop;
use crate::stepup::challenge::{Challenge, Limits, SentCode};
use crate::store::view::{View, is_news};
use crate::types::{AccountId, AttemptId, ChallengeId, Credential, Factor, RuleId, UnixMs};

/// The embedded store.
pub struct Embedded {
    /// Before the database, so that the thread has ended when the file is closed.
    writer: Writer,
    database: Arc<Database>,
    view: Arc<View>,
    limits: Arc<Limits>,
    deadline: Duration,
    recovered: AtomicBool,
}

impl Embedded {
    /// Opens the file, or makes it (and its folder) readable by its owner only.
    ///
    /// # Errors
    /// `InUse` if another process has it open, `Unavailable` if it cannot be read or made; `Corrupt`
    /// if it is not ours.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let database = Arc::new(open_file(path)?);
        let view = Arc::new(View::new());
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&view))?;
        let deadline = Duration::from_millis(DEADLINE_MS);
        let (limits, recovered) = (Arc::new(limits), AtomicBool::new(false));
        Ok(Self { writer, database, view, limits, deadline, recovered })
    }

    /// How long a caller waits for an answer; 250 ms unless told.
    pub fn with_deadline_ms(mut self, ms: u64) -> Self {
        self.deadline = Duration::from_millis(ms);
        self
    }

    /// Has the writer carry out a sentence, and waits for its commit until the deadline.
    async fn ask<T: Send + 'static>(
        &self,
        now: Option<UnixMs>,
        sentence: impl FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, told) = Job::asked(now, sentence);
        self.writer.submit(job)?;
        match tokio::time::timeout(self.deadline, told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable("the write did not succeed".to_owned())),
            Err(_) => {
                let ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
                Err(StoreError::Deadline(ms))
            }
        }
    }

    /// Reads what was committed last. Some microseconds from memory, so it is done in place.
    fn read<T>(
        &self,
        read: impl FnOnce(&Shelf<'_, Table>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.database.begin_read().map_err(unavailable)?;
        read(&Shelf(&transaction.open_table(STATE).map_err(unavailable)?))
    }
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Gives back a beginning whose caller left, or stopped waiting, before the answer came: the
/// abandoning stands behind it in the queue. If the queue is full the reservation stays until the
/// next start, which is the stricter side.
struct Unheard<'a> {
    store: &'a Embedded,
    begun: Option<(AttemptId, AccountId, UnixMs)>,
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        let Some((attempt, account, now)) = self.begun.take() else { return };
        let (job, _told) = Job::asked(Some(now), move |desk| {
            guarded::abandon(desk, &attempt, &account, Vec::new(), now)
        });
        if self.store.writer.submit(job).is_err() {
            tracing::warn!("a beginning that nobody waits for stays counted");
        }
    }
}

impl Store for Embedded {
    fn glance(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Option<Arc<Standing>> {
        let known = self.view.glance(account, credential)?;
        known.is_fresh(now).then_some(known)
    }

    fn look(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Arc<Standing>> {
        let (account, credential) = (account.clone(), credential.clone());
        Box::pin(async move {
            let generation = self.view.generation(&account);
            let standing = Arc::new(
                self.read(|rows| docs::standing(rows, &account, &credential, &self.limits, now))?,
            );
            self.view.keep(&account, &credential, generation, Arc::clone(&standing));
            Ok(standing)
        })
    }

    fn sight(&self, account: &AccountId, credential: &Credential, sighting: Sighting) -> bool {
        let known = self.view.glance(account, credential).is_some_and(|known| {
            !is_news(known.last.as_ref(), &known.countries, &known.asns, &sighting)
        });
        if known {
            return true;
        }
        let (account, credential) = (account.clone(), credential.clone());
        let job = Job::noted(sighting.at, move |desk| {
            accounts::sight(desk, &account, &credential, sighting)
        });
        self.writer.submit(job).is_ok()
    }

    fn consult(&self, consult: Consult, now: UnixMs) -> Task<'_, Consulted> {
        Box::pin(
            async move { self.read(|rows| guarded::consult(rows, &self.limits, &consult, now)) },
        )
    }

    fn begin(&self, begin: Begin, now: UnixMs) -> Task<'_, Begun> {
        let limits = Arc::clone(&self.limits);
        Box::pin(async move {
            let mut unheard = Unheard {
                store: self,
                begun: Some((begin.attempt.clone(), begin.account.clone(), now)),
            };
            let answer =
                self.ask(Some(now), move |desk| guarded::begin(desk, &limits, begin, now)).await;
            if !matches!(answer, Err(StoreError::Deadline(_))) {
                unheard.begun = None;
            }
            answer
        })
    }

    fn abandon(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        holds: Vec<RuleId>,
        now: UnixMs,
    ) -> Task<'_, ()> {
        let account = account.clone();
        Box::pin(
            self.ask(Some(now), move |desk| guarded::abandon(desk, &attempt, &account, holds, now)),
        )
    }

    fn settle(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        settled: Settled,
        learn: Option<Learn>,
        now: UnixMs,
    ) -> Task<'_, ()> {
        let account = account.clone();
        Box::pin(self.ask(Some(now), move |desk| {
            guarded::settle(desk, &attempt, &account, settled, learn, now)
        }))
    }

    fn recover(&self, now: UnixMs) -> Task<'_, Vec<Orphan>> {
        // One process has the file: only an earlier run can have left anything, and the first call finds it.
        if self.recovered.swap(true, Ordering::SeqCst) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        Box::pin(async move {
            let found = self.ask(Some(now), guarded::recover).await;
            if found.is_err() {
                self.recovered.store(false, Ordering::SeqCst);
            }
            found
        })
    }

    fn open_challenge(&self, challenge: Challenge, now: UnixMs) -> Task<'_, Opened> {
        let limits = Arc::clone(&self.limits);
        Box::pin(self.ask(Some(now), move |desk| asking::open(desk, &limits, challenge, now)))
    }

    fn challenge(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move {
            let found = self.read(|rows| docs::challenge_of(rows, &id, &account))?;
            Ok(found.map(|challenge| docs::as_of(challenge, now)))
        })
    }

    fn open_challenges(&self, account: &AccountId, now: UnixMs) -> Task<'_, Vec<Challenge>> {
        let account = account.clone();
        Box::pin(async move { self.read(|rows| asking::open_challenges(rows, &account, now)) })
    }

    fn ask_passkey(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        ceremony: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, PasskeyAsked> {
        let limits = Arc::clone(&self.limits);
        let (id, account) = (id.clone(), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            asking::ask_passkey(desk, &limits, (&id, &account), ceremony, now)
        }))
    }

    fn spend_attempt(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        factor: Factor,
        now: UnixMs,
    ) -> Task<'_, Spent> {
        let limits = Arc::clone(&self.limits);
        let (id, account, credential) = (id.clone(), account.clone(), credential.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            asking::spend_attempt(desk, &limits, &id, &account, &credential, factor, now)
        }))
    }

    fn prove(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        factor: Factor,
        step: Option<u64>,
        mac: Option<String>,
        now: UnixMs,
    ) -> Task<'_, Proven> {
        let limits = Arc::clone(&self.limits);
        let (id, account) = (id.clone(), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            asking::prove(desk, &limits, (&id, &account), factor, step, mac.as_deref(), now)
        }))
    }

    fn enrol_made(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        was: Option<Vec<u8>>,
        enrolled: Enrolled,
        now: UnixMs,
    ) -> Task<'_, Proven> {
        let limits = Arc::clone(&self.limits);
        let (id, account) = (id.clone(), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            asking::enrol_made(desk, &limits, (&id, &account), was.as_deref(), enrolled, now)
        }))
    }

    fn renew_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        secret: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, bool> {
        let account = account.clone();
        Box::pin(
            self.ask(Some(now), move |desk| accounts::renew(desk, &account, factor, &was, secret)),
        )
    }

    fn reject(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        freeze: bool,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        let limits = Arc::clone(&self.limits);
        let (id, account) = (id.clone(), account.clone());
        Box::pin(
            self.ask(Some(now), move |desk| {
                asking::reject(desk, &limits, &id, &account, freeze, now)
            }),
        )
    }

    fn take_held(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Option<Vec<u8>>> {
        let limits = Arc::clone(&self.limits);
        let (id, account, credential) = (id.clone(), account.clone(), credential.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            asking::take_held(desk, &limits, &id, &account, &credential, now)
        }))
    }

    fn send_code(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        charge: Charge,
        sent: SentCode,
        sealed: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, CodeQueued> {
        let limits = Arc::clone(&self.limits);
        let (id, account) = (id.clone(), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            outbox::send_code(desk, &limits, (&id, &account), &charge, sent, sealed, now)
        }))
    }

    fn code_verified(&self, mac: &str, now: UnixMs) -> Task<'_, Option<Arc<str>>> {
        let mac = mac.to_owned();
        Box::pin(self.ask(Some(now), move |desk| budget::verified(desk, &mac, now)))
    }

    fn sms_stops(&self, now: UnixMs) -> Task<'_, Vec<Stop>> {
        Box::pin(async move { self.read(|rows| budget::stops(rows, now)) })
    }

    fn lift_sms_stop(&self, subject: &str, now: UnixMs) -> Task<'_, bool> {
        let subject = subject.to_owned();
        Box::pin(self.ask(Some(now), move |desk| budget::lift(desk, &subject, now)))
    }

    fn notify(
        &self,
        account: &AccountId,
        quiet: Quiet,
        letters: Vec<NoticeLetter>,
        expires: UnixMs,
        now: UnixMs,
    ) -> Task<'_, Notified> {
        let (limits, account) = (Arc::clone(&self.limits), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            outbox::notify(desk, &limits, &account, &quiet, letters, expires, now)
        }))
    }

    fn next_message(&self, lease_ms: u64, now: UnixMs) -> Task<'_, Option<Message>> {
        Box::pin(self.ask(Some(now), move |desk| outbox::next_message(desk, lease_ms, now)))
    }

    fn message_done(&self, id: u64, again: Option<UnixMs>) -> Task<'_, ()> {
        Box::pin(self.ask(None, move |desk| outbox::message_done(desk, id, again)))
    }

    fn freeze(&self, account: &AccountId, by: Arc<str>, now: UnixMs) -> Task<'_, ()> {
        let limits = Arc::clone(&self.limits);
        let account = account.clone();
        Box::pin(
            self.ask(Some(now), move |desk| accounts::freeze(desk, &limits, &account, by, now)),
        )
    }

    fn freeze_told(
        &self,
        account: &AccountId,
        by: Arc<str>,
        told: Told,
        now: UnixMs,
    ) -> Task<'_, Option<UnixMs>> {
        let (limits, account) = (Arc::clone(&self.limits), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            accounts::freeze_told(desk, &limits, &account, by, told, now)
        }))
    }

    fn thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, bool> {
        let limits = Arc::clone(&self.limits);
        let account = account.clone();
        Box::pin(self.ask(Some(now), move |desk| accounts::thaw(desk, &limits, &account, now)))
    }

    fn ask_thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, ThawAsked> {
        let (limits, account) = (Arc::clone(&self.limits), account.clone());
        Box::pin(self.ask(Some(now), move |desk| accounts::ask_thaw(desk, &limits, &account, now)))
    }

    fn enrol(&self, account: &AccountId, enrolled: Enrolled, now: UnixMs) -> Task<'_, ()> {
        let limits = Arc::clone(&self.limits);
        let account = account.clone();
        Box::pin(
            self.ask(Some(now), move |desk| {
                accounts::enrol(desk, &limits, &account, enrolled, now)
            }),
        )
    }

    fn factors(&self, account: &AccountId) -> Task<'_, Vec<Enrolled>> {
        let account = account.clone();
        Box::pin(async move {
            self.read(|rows| Ok(Account::load(rows, &account)?.enrolled(&self.limits)))
        })
    }

    fn disenrol(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        let limits = Arc::clone(&self.limits);
        let account = account.clone();
        Box::pin(
            self.ask(Some(now), move |desk| {
                accounts::disenrol(desk, &limits, &account, factor, now)
            }),
        )
    }

    fn replace_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        enrolled: Option<Enrolled>,
        now: UnixMs,
    ) -> Task<'_, bool> {
        let limits = Arc::clone(&self.limits);
        let account = account.clone();
        Box::pin(self.ask(Some(now), move |desk| {
            accounts::replace(desk, &limits, &account, (factor, &was), enrolled, now)
        }))
    }

    fn disenrol_own(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        let (limits, account) = (Arc::clone(&self.limits), account.clone());
        Box::pin(self.ask(Some(now), move |desk| {
            accounts::disenrol_own(desk, &limits, &account, factor, now)
        }))
    }

    fn account(&self, account: &AccountId, now: UnixMs) -> Task<'_, AccountCard> {
        let account = account.clone();
        Box::pin(async move { self.read(|rows| accounts::card(rows, &self.limits, &account, now)) })
    }

    fn adopt(&self, name: &str, value: Vec<u8>) -> Task<'_, Vec<u8>> {
        let name = name.to_owned();
        Box::pin(self.ask(None, move |desk| accounts::adopt(desk, &name, value)))
    }

    fn export(&self, from: Option<String>) -> Task<'_, Export> {
        Box::pin(async move { self.read(|rows| export::part(rows, from.as_deref())) })
    }

    fn import(&self, kept: Vec<Kept>, now: UnixMs) -> Task<'_, ()> {
        let limits = Arc::clone(&self.limits);
        Box::pin(self.ask(Some(now), move |desk| {
            kept.into_iter().try_for_each(|kept| export::put_back(desk, &limits, kept, now))
        }))
    }

    fn lend(&self, name: &str, value: Vec<u8>, until: UnixMs, now: UnixMs) -> Task<'_, ()> {
        let name = name.to_owned();
        Box::pin(self.ask(Some(now), move |desk| accounts::lend(desk, &name, &value, until)))
    }

    fn lent(&self, name: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        let name = name.to_owned();
        Box::pin(async move { self.read(|rows| accounts::lent(rows, &name, now)) })
    }

    fn post(&self, board: Board, posted: Posted, now: UnixMs) -> Task<'_, bool> {
        Box::pin(self.ask(Some(now), move |desk| board::post(desk, board, &posted, now)))
    }

    fn posted(&self, board: Board, now: UnixMs) -> Task<'_, Vec<Posted>> {
        Box::pin(async move { self.read(|rows| board::all(rows, board, now)) })
    }

    fn take_down(&self, board: Board, id: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        let id = id.to_owned();
        Box::pin(self.ask(Some(now), move |desk| board::take_down(desk, board, &id, now)))
    }

    fn announce(&self, _notice: Notice) -> Task<'_, ()> {
        Box::pin(async { Ok(()) }) // there is nobody else
    }

    fn heard(&self) -> Task<'_, Notice> {
        Box::pin(std::future::pending())
    }

    fn ping(&self) -> Task<'_, ()> {
        Box::pin(self.ask(None, |_| Ok(())))
    }
}

/// Opens the file, checks that it is of this format, and sees that the table is there for readers.
fn open_file(path: &Path) -> Result<Database, StoreError> {
    let here = |what: &str| StoreError::Unavailable(format!("{}: {what}", path.display()));
    make_private(path).map_err(|error| here(&error.to_string()))?;
    let database = Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            StoreError::InUse { what: path.display().to_string() }
        }
        DatabaseError::Storage(redb::StorageError::Corrupted(what)) => {
            StoreError::Corrupt { what: format!("{}: {what}", path.display()) }
        }
        error => here(&error.to_string()),
    })?;
    let transaction = database.begin_write().map_err(unavailable)?;
    {
        let mut table = transaction.open_table(STATE).map_err(unavailable)?;
        let shelf = Shelf(&table);
        let format = Key::new(Kind::Format);
        let found: Option<u32> = shelf.find(&format)?;
        if let Some(other) = found.filter(|found| *found != FORMAT) {
            return Err(here(&format!("format {other}, this stepgate knows format {FORMAT}")));
        }
        let mut desk = Desk::new(&shelf);
        desk.put(&format, FOR_EVER, &FORMAT)?;
        let written = desk.finish();
        rows::apply(&mut table, written.writes).map_err(unavailable)?;
    }
    transaction.commit().map_err(unavailable)?;
    Ok(database)
}

/// Makes the folder and the file, if they are not there, for their owner only: they hold sealed
/// secrets.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

const DEADLINE_MS: u64 = 250;
const FORMAT: u32 = 1;
