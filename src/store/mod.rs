//! State, as about a dozen atomic sentences. Port: the embedded and the Redis store say the same.
//!
//! Never get/set. Each sentence takes `now`, is one transaction, and judges expiry on read. Invariant: what was
//! answered is durable; an error means that nothing may be assumed, and a guarded action is refused.

mod account;
mod asked;
mod attempt;
pub mod board;
pub mod embedded;
mod enrolled;
mod ledger;
mod letters;
pub mod moved;
pub mod redis;
mod view;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::account::{AccountCard, Arrivals, FactorCard, Freeze, Standing, ThawAsked, Told};
pub use self::asked::{CodeQueued, Opened, PasskeyAsked, Proven, Spent};
pub use self::attempt::{Begin, Begun, Consult, Consulted, Learn, Orphan, Settled};
use self::board::{Board, Posted};
pub use self::enrolled::Enrolled;
use self::enrolled::Ripeness;
use self::letters::URGENT_AHEAD_MS;
pub use self::letters::{Charge, Message, NoticeLetter, Notified, NumberKey, Quiet};
use crate::locate::travel::Sighting;
use crate::stepup::budget::Stop;
use crate::stepup::challenge::{Challenge, Scope, SentCode};
use crate::types::{
    AccountId, AttemptId, ChallengeId, Credential, Factor, RequestId, RuleId, UnixMs,
};

/// A sentence on its way.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a sentence has no answer. Nothing may be assumed about what was done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store did not answer within {0} ms")]
    Deadline(u64),
    #[error("the store is not available: {0}")]
    Unavailable(String),
    #[error("the store holds something unreadable at {what}")]
    Corrupt { what: String },
    #[error("the store's queue is full")]
    Overload,
    /// The embedded store serves one process.
    #[error("{what}: another stepgate has it open")]
    InUse { what: String },
    /// What only an owner whose account is not frozen may do; nothing was done.
    #[error("the account is frozen")]
    Frozen,
}

/// How a shared store is doing, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Since the start: `asked`, and of these those that failed, by why.
    pub calls: [(&'static str, u64); 6],
    pub pushes: u64,
    pub servers: u64,
    pub servers_connected: u64,
    /// Parts of the state whose calls fail at once.
    pub breakers_open: u64,
    pub view_fresh: bool,
    pub clock_skew_ms: i64,
}

/// What one gateway tells all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// An operator had its files read again: the others read theirs.
    Reload,
    /// What is suspended has changed: the others read it anew.
    Suspensions,
}

/// The sentences. Implementations: `embedded` and `redis`; each passes the contract suite.
pub trait Store: Send + Sync {
    /// The local view, if it is fresh enough for ordinary traffic. No I/O.
    fn glance(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Option<Arc<Standing>>;

    /// Fills the local view.
    fn look(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Arc<Standing>>;

    /// This credential was seen here by an allowed request; the place becomes known. Best effort, never waits;
    /// `false` if the queue is full (the caller counts it).
    fn sight(&self, account: &AccountId, credential: &Credential, sighting: Sighting) -> bool;

    /// A guarded request begins: counters reserved, a fitting grant taken, the attempt recorded as `sending`.
    /// The one round trip before it forwards.
    fn begin(&self, begin: Begin, now: UnixMs) -> Task<'_, Begun>;

    /// How a request would be received, for operators who ask: nothing is taken, reserved or begun.
    fn consult(&self, consult: Consult, now: UnixMs) -> Task<'_, Consulted> {
        let _ = (consult, now);
        Box::pin(async { Err(StoreError::Unavailable("this store cannot be consulted".into())) })
    }

    /// It will not be forwarded: the reservation is given back. `holds` begin for (account, rule,
    /// destination), or the intent of an action without one, unless they run already. A grant that
    /// `begin` took stays used.
    fn abandon(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        holds: Vec<RuleId>,
        now: UnixMs,
    ) -> Task<'_, ()>;

    /// It was forwarded and ended so.
    fn settle(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        settled: Settled,
        learn: Option<Learn>,
        now: UnixMs,
    ) -> Task<'_, ()>;

    /// Attempts that were `sending` when their gateway stopped; each is `unknown` from now on and returned once.
    fn recover(&self, now: UnixMs) -> Task<'_, Vec<Orphan>>;

    /// Opens a challenge, or returns the one that is open for the same account, credential and scope. At most
    /// `open_per_account_max` are open; the oldest is voided.
    fn open_challenge(&self, challenge: Challenge, now: UnixMs) -> Task<'_, Opened>;

    /// A challenge of this account. Callers check the credential before they show anything.
    fn challenge(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>>;

    /// The account's open challenges, oldest first, whichever credential asked. Held requests are left out.
    fn open_challenges(&self, account: &AccountId, now: UnixMs) -> Task<'_, Vec<Challenge>>;

    /// Keeps on an open challenge what a passkey is asked to sign, in place of what it was asked before.
    fn ask_passkey(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        ceremony: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, PasskeyAsked>;

    /// Counts one attempt, on the challenge and on the account, before any comparing. After the
    /// last one the challenge is locked for everybody but the `prove` of that very answer. What is
    /// compared with is what is enrolled, or what waits to be enrolled by this very challenge. One with a
    /// passkey takes what was asked off the challenge: of any number of answers one is compared with it.
    fn spend_attempt(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        factor: Factor,
        now: UnixMs,
    ) -> Task<'_, Spent>;

    /// The code was right: remembers the TOTP step (accepted once per account) or uses up the SMS or recovery code,
    /// clears the failures, adds the factor, and approves if nothing is missing. `mac` is the SMS code's, which must
    /// still be the one that was sent last, or the recovery code's, which must still be unused.
    ///
    /// If a factor waits to be enrolled by this challenge it is enrolled by the same: the challenge is used, whatever
    /// else was asked or given is void, and the account's security has changed.
    fn prove(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        factor: Factor,
        step: Option<u64>,
        mac: Option<String>,
        now: UnixMs,
    ) -> Task<'_, Proven>;

    /// The passkey was made that this challenge waited for: enrols as `prove` does, in place of what was kept of the
    /// account's passkeys (`was`, nothing if there were none), if it still is that; else it is `Replayed`.
    fn enrol_made(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        was: Option<Vec<u8>>,
        enrolled: Enrolled,
        now: UnixMs,
    ) -> Task<'_, Proven>;

    /// Replaces what is kept of a factor, if it still is `was`: a passkey counts its uses. No security change.
    fn renew_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        secret: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, bool>;

    /// The owner says "not me": the challenge is dead; `freeze` freezes the account in the same transaction.
    fn reject(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        freeze: bool,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>>;

    /// Takes the browser's request off its challenge once the owner has approved it; `None` to all
    /// who come later, so that it is released once even where an elevation, which is not used up,
    /// lets it pass.
    fn take_held(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Option<Vec<u8>>>;

    /// Puts a code on the challenge and its message into the durable outbox, within the limits per number and the
    /// budgets: all of them are counted before, in one transaction, or none. A crash in between may only leave counted
    /// what was not sent.
    fn send_code(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        charge: Charge,
        sent: SentCode,
        sealed: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, CodeQueued>;

    /// The code with this MAC came back: it counts as verified, once, wherever it was counted as sent. Answers the
    /// country's prefix.
    fn code_verified(&self, mac: &str, now: UnixMs) -> Task<'_, Option<Arc<str>>>;

    /// Countries and ranges that nothing is sent to at present.
    fn sms_stops(&self, now: UnixMs) -> Task<'_, Vec<Stop>>;

    /// Lets codes be sent again; `false` if nothing was stopped under this name.
    fn lift_sms_stop(&self, subject: &str, now: UnixMs) -> Task<'_, bool>;

    /// Puts the letters of one notice (one for each contact) into the durable outbox, unless the account was told
    /// already; each that has a price within the limits per number and the budgets. A gateway that dies half way leaves a
    /// key that is quiet for a short while only, and that counts no longer than that.
    fn notify(
        &self,
        account: &AccountId,
        quiet: Quiet,
        letters: Vec<NoticeLetter>,
        expires: UnixMs,
        now: UnixMs,
    ) -> Task<'_, Notified>;

    /// Leases the oldest message that is due, for `lease_ms`; expired ones are dropped.
    fn next_message(&self, lease_ms: u64, now: UnixMs) -> Task<'_, Option<Message>>;

    /// It is finished (taken, or refused for good), or it is tried again at `again`.
    fn message_done(&self, id: u64, again: Option<UnixMs>) -> Task<'_, ()>;

    /// Freezes, also what is frozen: then a thaw that was asked for is off.
    fn freeze(&self, account: &AccountId, by: Arc<str>, now: UnixMs) -> Task<'_, ()>;

    /// Freezes because of what a notice told, unless that was settled by a thaw since, whose time is the answer then.
    fn freeze_told(
        &self,
        account: &AccountId,
        by: Arc<str>,
        told: Told,
        now: UnixMs,
    ) -> Task<'_, Option<UnixMs>>;

    /// Ends a freeze at once; `false` if there is none.
    fn thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, bool>;

    /// Ends a freeze `limits.thaw_delay_ms` from now, unless it was asked for before: then it stays as it was. No timer
    /// is needed: every sentence compares the times.
    fn ask_thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, ThawAsked>;

    /// Enrols or replaces. The account's security has changed if it replaces, or if the owner enrolled it. An owner
    /// (see `Enrolled::by_owner`) cannot while the account is frozen: `StoreError::Frozen`.
    fn enrol(&self, account: &AccountId, enrolled: Enrolled, now: UnixMs) -> Task<'_, ()>;
    fn factors(&self, account: &AccountId) -> Task<'_, Vec<Enrolled>>;
    fn disenrol(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool>;
    /// The same by its owner, who cannot while the account is frozen: `StoreError::Frozen`.
    fn disenrol_own(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool>;

    /// Takes a factor away, or puts another in its place, if what is kept of it still is `was`: one of several passkeys
    /// goes. The account's security has changed. Its owner does, who cannot while the account is frozen:
    /// `StoreError::Frozen`.
    fn replace_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        enrolled: Option<Enrolled>,
        now: UnixMs,
    ) -> Task<'_, bool>;

    fn account(&self, account: &AccountId, now: UnixMs) -> Task<'_, AccountCard>;

    /// Keeps `value` under `name` unless something is there; answers what is kept. For the gateways' common keys.
    fn adopt(&self, name: &str, value: Vec<u8>) -> Task<'_, Vec<u8>>;

    /// A part of everything that is kept, beginning at `from` (`next` of the part before). What changes meanwhile may
    /// be in it as it was or as it is.
    fn export(&self, from: Option<String>) -> Task<'_, moved::Export>;

    /// Puts exported records into a store. One that is there already is replaced.
    fn import(&self, kept: Vec<moved::Kept>, now: UnixMs) -> Task<'_, ()>;

    /// Keeps something for a short time under a name, for any gateway to find.
    fn lend(&self, name: &str, value: Vec<u8>, until: UnixMs, now: UnixMs) -> Task<'_, ()>;

    /// What was lent under this name and is not over.
    fn lent(&self, name: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>>;

    /// Hangs up a note of operators; `false` if the board is full, or has one of this id.
    fn post(&self, board: Board, posted: Posted, now: UnixMs) -> Task<'_, bool> {
        let _ = (board, posted, now);
        Box::pin(async { Err(no_board()) })
    }

    /// The notes that are not over, in the order of their ids.
    fn posted(&self, board: Board, now: UnixMs) -> Task<'_, Vec<Posted>> {
        let _ = (board, now);
        Box::pin(async { Err(no_board()) })
    }

    /// Takes down a note: of all who try, one is given it.
    fn take_down(&self, board: Board, id: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        let _ = (board, id, now);
        Box::pin(async { Err(no_board()) })
    }

    /// Tells every gateway of this store, this one included.
    fn announce(&self, notice: Notice) -> Task<'_, ()>;

    /// Waits for the next notice of another gateway. A store of one gateway never has any.
    fn heard(&self) -> Task<'_, Notice>;

    /// What a store says of itself that several gateways share.
    fn figures(&self) -> Option<Figures> {
        None
    }

    /// Readiness: one cheap round trip.
    fn ping(&self) -> Task<'_, ()>;
}

fn no_board() -> StoreError {
    StoreError::Unavailable("this store has no boards".to_owned())
}

/// The key of a destination in the address book and of holds: what decides where the money goes.
pub fn destination_key(
    action_asset: Option<&str>,
    network: Option<&str>,
    address: &str,
) -> Arc<str> {
    format!("{}|{}|{address}", action_asset.unwrap_or(""), network.unwrap_or("")).into()
}

/// The scope under which requests share a challenge.
pub fn scope_key(scope: &Scope) -> String {
    match scope {
        Scope::Intent(digest) => format!("i:{}", digest.hex()),
        Scope::Place(place) => format!("p:{place}"),
    }
}

/// Marks where a request id and an attempt id are the same thing.
pub fn attempt_of(request: &RequestId) -> AttemptId {
    AttemptId::new(request.as_str())
}

/// Countries and networks remembered per account.
pub const HISTORY_MAX: usize = 64;
