//! The store of many gateways: Redis, single, behind Sentinel, or a Cluster.
//!
//! Never answers from its own memory where a guarded action asks. Invariant: every sentence that touches an account is
//! one script on the server that holds the account's tag, so that it happens wholly or not at all and no two gateways
//! can tell a different story.
//!
//! ## What stands where
//!
//! Every key begins with the prefix and a tag in braces, `stepgate{1f3}`: one of 1,024 that a hash of the account picks,
//! so that all keys of one account lie in one slot of a Cluster. `<a>` is the account: group and name, each after its
//! length and a colon, so that no spelling of a name reaches another's keys.
//!
//! | key | what |
//! | --- | --- |
//! | `{t}m` | hash: the marker of this part of the state: `epoch`, `floor` |
//! | `{t}a<a>` | hash: what protects the account, where it has been, which challenges live; a freeze may have an end |
//! | `{t}s<a><kind>:<id>` | hash: a credential's last sighting and elevations; 30 days |
//! | `{t}c<id>` | hash: a challenge; until a day after its end |
//! | `{t}t<id>` | hash: an attempt; a week |
//! | `{t}q` | sorted set: attempts that are `sending`, by their beginning |
//! | `{t}l<a>` | hash: counters in spans of five minutes and of an hour |
//! | `{t}d<a>` | hash: address book; a year |
//! | `{t}h<a>d<destination>`, `{t}h<a>i<intent>` | holds that run; 30 days |
//! | `{t}y<a>` | what the account's contacts were told, and until when the same is not said again; a day |
//! | `{out}n<number>` | when codes were sent to a number; a day |
//! | `{out}b…`, `{out}v…`, `{out}c<mac>` | codes within a budget; how many came back; where one is counted; a window |
//! | `{out}x` | hash: countries and ranges that nothing is sent to |
//! | `{out}i`, `{out}w`, `{out}o<id>` | the outbox: last id, what is due when, a message |
//! | `{common}k<name>`, `{common}l<name>` | common keys; what is lent |
//! | `{common}p<board>` | hash: notes of operators: what is suspended, what waits for a second one |
//! | `{nodes}n<id>` | a gateway that lives (30 s), or has gone |
//!
//! Keys are kept a day longer than needed: what is over is judged on read, by the time that the caller gives.
//!
//! ## What is lost
//!
//! Each tag's marker holds the server's replication id, which every restart and every promotion changes. A script that
//! finds another one makes it the new `epoch`: challenges and grants of the old one are void, and no TOTP step up to the
//! next is accepted (`floor`), because the last acceptance may be what was lost. A tag without a marker has lost all it
//! held: every script refuses, until a gateway that starts makes the marker anew.

mod account;
mod asking;
mod board;
mod budget;
mod common;
mod export;
mod guarded;
mod keys;
mod ledger;
pub mod link;
mod outbox;
mod reply;
mod scripts;
mod tasks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use self::keys::{account_in, marker};
pub use self::link::ServerFacts;
use self::link::{Call, Heard, Link, Script};
use self::reply::Reply;
use self::tasks::{Seen, Tasks};
use super::board::{Board, Posted};
use super::moved::{Export, Kept};
use super::view::{View, is_news};
use super::{
    AccountCard, Begin, Begun, Charge, CodeQueued, Consult, Consulted, Enrolled, Figures, Learn,
    Message, Notice, NoticeLetter, Notified, Opened, Orphan, PasskeyAsked, Proven, Quiet, Settled,
    Spent, Standing, Store, StoreError, Task, ThawAsked, Told,
};
use crate::locate::travel::Sighting;
use crate::stepup::budget::Stop;
use crate::stepup::challenge::{Challenge, Limits, SentCode};
use crate::types::{AccountId, AttemptId, ChallengeId, Credential, Factor, RuleId, UnixMs};
use crate::world::{Clock, Entropy as _, SystemEntropy};

/// How a Redis store is reached.
pub struct Settings {
    pub topology: Topology,
    pub user: Option<String>,
    pub password: Option<Zeroizing<String>>,
    /// Who we are to the sentinels, which have users of their own.
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<Zeroizing<String>>,
    pub tls: Option<Tls>,
    /// Number of the database; 0 in a Cluster.
    pub database: u16,
    /// What every key begins with.
    pub prefix: String,
    /// How long a sentence waits for its answer.
    pub deadline: Duration,
}

/// Which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    Single(Server),
    /// `master` is the name the sentinels know it by.
    Sentinel {
        sentinels: Vec<Server>,
        master: String,
    },
    /// Some of its nodes; the others are asked for.
    Cluster(Vec<Server>),
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, servers) = match self {
            Self::Single(server) => return write!(f, "Redis at {server}"),
            Self::Sentinel { sentinels, master } => (format!("`{master}` of sentinels"), sentinels),
            Self::Cluster(seeds) => ("Redis Cluster".to_owned(), seeds),
        };
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        write!(f, "{what} at {}", servers.join(", "))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// TLS to the servers (`rediss://`).
pub struct Tls {
    /// PEM of the authorities that sign the servers' certificates; the system's if there is none.
    pub authorities: Option<Vec<u8>>,
    /// PEM of our own chain and key, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

/// How the servers are set up, for people who are to see that it is right.
///
/// # Errors
/// What a store would not open on: which server, why, and what to do. Blocks, some seconds at most.
pub fn examine(settings: &Settings) -> Result<Vec<ServerFacts>, StoreError> {
    let link = Link::open(settings, &[], Arc::new(Deaf))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    runtime.block_on(link.examine())
}

/// Nobody who would have to be told.
struct Deaf;

impl Heard for Deaf {
    fn changed(&self, _key: &[u8]) {}
    fn all_changed(&self) {}
    fn notice(&self, _bytes: &[u8]) {}
}

/// The store.
pub struct Redis {
    /// Before the rest, so that its thread says goodbye while there still is a link.
    tasks: Tasks,
    shared: Arc<Shared>,
    notices: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Notice>>,
}

/// What sentences and tasks share.
struct Shared {
    link: Link,
    view: Arc<View>,
    limits: Limits,
    /// As scripts read them.
    limits_text: Vec<u8>,
    clock: Arc<dyn Clock>,
    prefix: String,
    /// Which gateway this is, from its start to its end.
    node: String,
}

/// What servers push, put where it belongs.
struct Ear {
    view: Arc<View>,
    prefix: String,
    node: String,
    notices: tokio::sync::mpsc::Sender<Notice>,
}

impl Heard for Ear {
    fn changed(&self, key: &[u8]) {
        if let Some(account) = account_in(&self.prefix, key) {
            self.view.raise(&account);
        }
    }
    fn all_changed(&self) {
        self.view.raise_all();
    }
    fn notice(&self, bytes: &[u8]) {
        if let Some(notice) = common::read_notice(bytes, &self.node) {
            // With so many unread, one more says nothing new.
            let _ = self.notices.try_send(notice);
        }
    }
}

impl Redis {
    /// Connects, and makes what a new store needs. Blocks until that is done.
    ///
    /// # Errors
    /// `Unavailable` with what is wrong, if no server can be reached or it will not do.
    pub fn open(
        settings: Settings,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        if settings.prefix.contains(['{', '}']) {
            let why =
                "what keys begin with has no braces: they would change which server has a key";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        let mut id = [0; 8];
        SystemEntropy.fill(&mut id);
        let node: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let view = Arc::new(View::new());
        let (notices, heard) = tokio::sync::mpsc::channel(NOTICES_MAX);
        let prefix = settings.prefix.clone();
        let ear = Ear { view: view.clone(), prefix: prefix.clone(), node: node.clone(), notices };
        let link = Link::open(&settings, &scripts::ALL, Arc::new(ear))?;
        let limits_text = limits_text(&limits);
        let shared = Arc::new(Shared { link, view, limits, limits_text, clock, prefix, node });
        common::prepare(Arc::clone(&shared))?;
        let tasks = Tasks::start(Arc::clone(&shared))?;
        Ok(Self { tasks, shared, notices: tokio::sync::Mutex::new(heard) })
    }
}

impl Redis {
    /// The store's time, which all of its gateways have in common.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.shared.link.clock(self.shared.clock.clone()))
    }
}

impl Shared {
    /// One script on the server that holds the tag.
    async fn ask(
        &self,
        script: &'static Script,
        tag: u16,
        now: UnixMs,
        args: Vec<Vec<u8>>,
    ) -> Result<Reply, StoreError> {
        self.link.call(self.call(script, tag, now, args)).await.map(Reply)
    }

    fn call(&self, script: &'static Script, tag: u16, now: UnixMs, args: Vec<Vec<u8>>) -> Call {
        let mut all = vec![now.0.to_string().into_bytes()];
        all.extend(args);
        Call { script, tag, keys: vec![marker(&self.prefix, tag)], args: all }
    }
}

impl Store for Redis {
    fn glance(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Option<Arc<Standing>> {
        let known =
            self.shared.link.is_fresh().then(|| self.shared.view.glance(account, credential))??;
        known.is_fresh(now).then_some(known)
    }

    fn look(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Arc<Standing>> {
        let (account, credential) = (account.clone(), credential.clone());
        Box::pin(async move { self.do_look(&account, &credential, now).await })
    }

    fn sight(&self, account: &AccountId, credential: &Credential, sighting: Sighting) -> bool {
        let known = self.shared.view.glance(account, credential).is_some_and(|known| {
            !is_news(known.last.as_ref(), &known.countries, &known.asns, &sighting)
        });
        let (account, credential) = (account.clone(), credential.clone());
        known || self.tasks.note(Seen { account, credential, sighting })
    }

    fn consult(&self, consult: Consult, now: UnixMs) -> Task<'_, Consulted> {
        Box::pin(self.do_consult(consult, now))
    }

    fn begin(&self, begin: Begin, now: UnixMs) -> Task<'_, Begun> {
        Box::pin(self.do_begin(begin, now))
    }

    fn abandon(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        holds: Vec<RuleId>,
        now: UnixMs,
    ) -> Task<'_, ()> {
        let account = account.clone();
        Box::pin(async move { self.do_abandon(&attempt, &account, &holds, now).await })
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
        Box::pin(async move { self.do_settle(&attempt, &account, settled, learn, now).await })
    }

    fn recover(&self, now: UnixMs) -> Task<'_, Vec<Orphan>> {
        Box::pin(self.do_recover(now))
    }

    fn open_challenge(&self, challenge: Challenge, now: UnixMs) -> Task<'_, Opened> {
        Box::pin(self.do_open(challenge, now))
    }

    fn challenge(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_challenge(&id, &account, now).await })
    }

    fn open_challenges(&self, account: &AccountId, now: UnixMs) -> Task<'_, Vec<Challenge>> {
        let account = account.clone();
        Box::pin(async move { self.do_open_challenges(&account, now).await })
    }

    fn ask_passkey(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        ceremony: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, PasskeyAsked> {
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_ask_passkey(&id, &account, ceremony, now).await })
    }

    fn spend_attempt(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        factor: Factor,
        now: UnixMs,
    ) -> Task<'_, Spent> {
        let (id, account, credential) = (id.clone(), account.clone(), credential.clone());
        Box::pin(async move { self.do_spend(&id, &account, &credential, factor, now).await })
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
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_prove(&id, &account, factor, step, mac, now).await })
    }

    fn enrol_made(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        was: Option<Vec<u8>>,
        enrolled: Enrolled,
        now: UnixMs,
    ) -> Task<'_, Proven> {
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_enrol_made(&id, &account, was, &enrolled, now).await })
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
        let args = vec![account::factor_text(factor), was, secret];
        Box::pin(async move { self.protect(&scripts::RENEW, &account, args, now).await })
    }

    fn reject(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        freeze: bool,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_reject(&id, &account, freeze, now).await })
    }

    fn take_held(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Option<Vec<u8>>> {
        let (id, account, credential) = (id.clone(), account.clone(), credential.clone());
        Box::pin(async move { self.do_take_held(&id, &account, &credential, now).await })
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
        let (id, account) = (id.clone(), account.clone());
        Box::pin(async move { self.do_send_code(&id, &account, &charge, sent, sealed, now).await })
    }

    fn code_verified(&self, mac: &str, now: UnixMs) -> Task<'_, Option<Arc<str>>> {
        let mac = mac.as_bytes().to_vec();
        Box::pin(self.do_code_verified(mac, now))
    }

    fn sms_stops(&self, now: UnixMs) -> Task<'_, Vec<Stop>> {
        Box::pin(self.do_sms_stops(now))
    }

    fn lift_sms_stop(&self, subject: &str, now: UnixMs) -> Task<'_, bool> {
        let subject = subject.as_bytes().to_vec();
        Box::pin(self.do_lift_sms_stop(subject, now))
    }

    fn notify(
        &self,
        account: &AccountId,
        quiet: Quiet,
        letters: Vec<NoticeLetter>,
        expires: UnixMs,
        now: UnixMs,
    ) -> Task<'_, Notified> {
        let account = account.clone();
        Box::pin(async move { self.do_notify(&account, &quiet, letters, expires, now).await })
    }

    fn next_message(&self, lease_ms: u64, now: UnixMs) -> Task<'_, Option<Message>> {
        Box::pin(self.do_next_message(lease_ms, now))
    }

    fn message_done(&self, id: u64, again: Option<UnixMs>) -> Task<'_, ()> {
        Box::pin(self.do_message_done(id, again))
    }

    fn freeze(&self, account: &AccountId, by: Arc<str>, now: UnixMs) -> Task<'_, ()> {
        let account = account.clone();
        Box::pin(async move { self.do_freeze(&account, &by, None, now).await.map(drop) })
    }

    fn freeze_told(
        &self,
        account: &AccountId,
        by: Arc<str>,
        told: Told,
        now: UnixMs,
    ) -> Task<'_, Option<UnixMs>> {
        let account = account.clone();
        Box::pin(async move { self.do_freeze(&account, &by, Some(told), now).await })
    }

    fn thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, bool> {
        let account = account.clone();
        Box::pin(async move { self.protect(&scripts::THAW, &account, Vec::new(), now).await })
    }

    fn ask_thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, ThawAsked> {
        let account = account.clone();
        Box::pin(async move { self.do_ask_thaw(&account, now).await })
    }

    fn enrol(&self, account: &AccountId, enrolled: Enrolled, now: UnixMs) -> Task<'_, ()> {
        let account = account.clone();
        let args = vec![account::write_enrolled(&enrolled), asking::flag(enrolled.by_owner())];
        Box::pin(async move { self.protect(&scripts::ENROL, &account, args, now).await.map(drop) })
    }

    fn factors(&self, account: &AccountId) -> Task<'_, Vec<Enrolled>> {
        let account = account.clone();
        Box::pin(async move { self.do_factors(&account).await })
    }

    fn disenrol(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        let account = account.clone();
        let args = vec![account::factor_text(factor), asking::flag(false)];
        Box::pin(async move { self.protect(&scripts::DISENROL, &account, args, now).await })
    }

    fn disenrol_own(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        let account = account.clone();
        let args = vec![account::factor_text(factor), asking::flag(true)];
        Box::pin(async move { self.protect(&scripts::DISENROL, &account, args, now).await })
    }

    fn replace_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        enrolled: Option<Enrolled>,
        now: UnixMs,
    ) -> Task<'_, bool> {
        let account = account.clone();
        let record = enrolled.as_ref().map_or(Vec::new(), account::write_enrolled);
        let args = vec![account::factor_text(factor), was, record];
        Box::pin(async move { self.protect(&scripts::REPLACE, &account, args, now).await })
    }

    fn account(&self, account: &AccountId, now: UnixMs) -> Task<'_, AccountCard> {
        let account = account.clone();
        Box::pin(async move { self.do_card(&account, now).await })
    }

    fn adopt(&self, name: &str, value: Vec<u8>) -> Task<'_, Vec<u8>> {
        let name = name.as_bytes().to_vec();
        Box::pin(self.do_adopt(name, value))
    }

    fn export(&self, from: Option<String>) -> Task<'_, Export> {
        Box::pin(self.do_export(from))
    }

    fn import(&self, kept: Vec<Kept>, now: UnixMs) -> Task<'_, ()> {
        Box::pin(self.do_import(kept, now))
    }

    fn lend(&self, name: &str, value: Vec<u8>, until: UnixMs, now: UnixMs) -> Task<'_, ()> {
        let name = name.as_bytes().to_vec();
        Box::pin(self.do_lend(name, value, until, now))
    }

    fn lent(&self, name: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        let name = name.as_bytes().to_vec();
        Box::pin(self.do_lent(name, now))
    }

    fn post(&self, board: Board, posted: Posted, now: UnixMs) -> Task<'_, bool> {
        Box::pin(self.do_post(board, posted, now))
    }

    fn posted(&self, board: Board, now: UnixMs) -> Task<'_, Vec<Posted>> {
        Box::pin(self.do_posted(board, now))
    }

    fn take_down(&self, board: Board, id: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        Box::pin(self.do_take_down(board, id.as_bytes().to_vec(), now))
    }

    fn announce(&self, notice: Notice) -> Task<'_, ()> {
        Box::pin(self.do_announce(notice))
    }

    fn heard(&self) -> Task<'_, Notice> {
        Box::pin(async {
            let ended = || StoreError::Unavailable("no more notices will come".to_owned());
            self.notices.lock().await.recv().await.ok_or_else(ended)
        })
    }

    fn figures(&self) -> Option<Figures> {
        let link = &self.shared.link;
        let counts = link.counts();
        Some(Figures {
            calls: [
                ("asked", counts.calls),
                ("deadline", counts.deadline),
                ("broken", counts.broken),
                ("refused", counts.refused),
                ("skipped", counts.skipped),
                ("lost", counts.lost),
            ],
            pushes: counts.pushes,
            servers: counts.servers,
            servers_connected: counts.servers_connected,
            breakers_open: counts.breakers_open,
            view_fresh: link.is_fresh(),
            clock_skew_ms: link.skew_ms(),
        })
    }

    fn ping(&self) -> Task<'_, ()> {
        Box::pin(async {
            self.shared.link.ping().await?;
            // A server that answers may still be full, alone, or have lost what it held.
            tasks::beat(&self.shared, tasks::ALIVE, tasks::BEAT_KEPT_MS).await
        })
    }
}

/// The numbers that the scripts judge by, in the order in which they read them.
fn limits_text(limits: &Limits) -> Vec<u8> {
    let numbers = [
        limits.challenge_ms,
        limits.attempts_max.into(),
        limits.open_per_account_max as u64,
        limits.grant_ms,
        limits.failures_max.into(),
        limits.block_ms,
        limits.block_max_ms,
        limits.failures_disable.into(),
        limits.sms_code_ms,
        limits.factor_hold_ms,
        limits.thaw_delay_ms,
    ];
    numbers.map(|number| number.to_string()).join(" ").into_bytes()
}

const NOTICES_MAX: usize = 64;
