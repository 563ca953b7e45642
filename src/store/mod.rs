//! State, as about a dozen atomic sentences. Port: the embedded and the Redis store say the same.
//!
//! Never get/set. Each sentence takes `now`, is one transaction, and judges expiry on read. Invariant: what was
//! answered is durable; an error means that nothing may be assumed, and a guarded action is refused.

pub mod board;
pub mod embedded;
mod ledger;
pub mod moved;
pub mod redis;
mod view;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::board::{Board, Posted};
use crate::locate::travel::Sighting;
use crate::policy::facts::{AddressFacts, Counters, Elevation, HoldRunning};
use crate::stepup::Proof;
use crate::stepup::budget::{Meter, Refusal, Scope as BudgetScope, Stop, Watch};
use crate::stepup::challenge::{Challenge, Pending, Scope, SentCode};
use crate::types::{
    AccountId, ActionName, AttemptId, ChallengeId, Credential, Factor, FactorSet, IntentDigest,
    RequestId, RuleId, SiteName, UnixMs,
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

/// What is known of an account and one of its credentials, as far as ordinary traffic needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub frozen: Option<Freeze>,
    /// Countries and networks that became known (at most 64 each, oldest forgotten first).
    pub countries: Vec<Arc<str>>,
    pub asns: Vec<u32>,
    pub arrived: Arrivals,
    /// Last sighting of this credential, else of the account.
    pub last: Option<Sighting>,
    /// Live elevations of this credential; the reader still checks `until`.
    pub elevations: Vec<Elevation>,
    /// Factors that may approve something now.
    pub factors: FactorSet,
    /// Factors that wait for their time.
    pub young: FactorSet,
    /// When the first of these may be used: then this is out of date.
    pub ripens: Option<UnixMs>,
    /// All of them, and those that are disabled or used up.
    pub enrolled: FactorSet,
    pub security_changed: Option<UnixMs>,
    /// A number was taken away: one that only a token carries counts for nothing before.
    pub claims_count_from: Option<UnixMs>,
}

impl Standing {
    /// Whether time alone has not made it out of date: a factor that waited may be used now, a freeze may be over.
    fn is_fresh(&self, now: UnixMs) -> bool {
        let frozen = self.frozen.as_ref();
        self.ripens.is_none_or(|at| now < at) && frozen.is_none_or(|freeze| freeze.holds(now))
    }
}

/// When an account was first seen in a country that it knows. The first country of all has no time, nor have those that
/// became known before times were kept: these count as known for ever.
pub type Arrivals = BTreeMap<Arc<str>, UnixMs>;

/// An account that may do nothing guarded until it is thawed (INCIDENTS 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub since: UnixMs,
    /// `owner`, `rule:<id>` or `operator:<name>`.
    pub by: Arc<str>,
    /// When it ends by itself, because its owner asked so with a strong factor. From then on it is over, on every
    /// gateway and whatever a row still says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<UnixMs>,
}

impl Freeze {
    pub fn new(since: UnixMs, by: Arc<str>) -> Self {
        Self { since, by, opens: None }
    }

    pub fn holds(&self, now: UnixMs) -> bool {
        self.opens.is_none_or(|opens| now < opens)
    }

    /// What an operator froze, an operator thaws.
    pub fn by_operator(&self) -> bool {
        self.by.starts_with(OPERATOR)
    }

    /// Frozen again: the first one's time and reason stay, except that an operator's word goes before an owner's or a
    /// rule's. A thaw that was asked for is off.
    fn again(self, by: Arc<str>) -> Self {
        let by = if by.starts_with(OPERATOR) && !self.by_operator() { by } else { self.by };
        Self { since: self.since, by, opens: None }
    }
}

/// A thaw that a notice told of, for whoever follows its link: the freeze that it is to keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: UnixMs,
    /// When the thaw that it tells of takes effect, if it tells of one.
    pub opens: Option<UnixMs>,
}

impl Told {
    /// Whether what it told of was settled by a thaw since. The one that it told of itself does not settle it.
    pub fn is_settled(&self, thawed: Option<UnixMs>) -> bool {
        thawed.is_some_and(|thawed| self.at < thawed && self.opens != Some(thawed))
    }
}

/// Answer to `ask_thaw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThawAsked {
    /// It ends then; `new` if it was not asked for before.
    Opens {
        at: UnixMs,
        new: bool,
    },
    /// An operator froze it.
    ByOperator,
    NotFrozen,
}

/// A guarded request that asks to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    pub attempt: AttemptId,
    pub site: SiteName,
    pub account: AccountId,
    pub credential: Credential,
    pub action: ActionName,
    pub intent: IntentDigest,
    /// What it would add to the action's counters: one, and its value if it has a price.
    pub usd: Option<crate::policy::facts::Decimal>,
    /// The destination, as `destination_key` spells it, if the action has one.
    pub destination: Option<Arc<str>>,
}

/// Everything that the store says to one beginning: its reservation is made, its grant (if one fits) is taken.
#[derive(Debug)]
pub struct Begun {
    pub standing: Standing,
    /// Totals without this attempt's own reservation, with those of all others still open.
    pub counters: Counters,
    pub address: Option<AddressFacts>,
    pub holds: Vec<HoldRunning>,
    /// An approved challenge for exactly this account, credential and intent; it is used now.
    pub proof: Option<Proof>,
    /// The challenge that is already open for this intent or place, if any.
    pub open: Option<Challenge>,
}

/// A guarded request that somebody only asks about.
#[derive(Clone, Debug)]
pub struct Consult {
    pub account: AccountId,
    pub credential: Credential,
    pub intent: IntentDigest,
    /// As `destination_key` spells it.
    pub destination: Option<Arc<str>>,
}

/// What `begin` would say to it now, its grant and its challenge left out.
#[derive(Clone, Debug)]
pub struct Consulted {
    pub standing: Standing,
    pub counters: Counters,
    pub address: Option<AddressFacts>,
    pub holds: Vec<HoldRunning>,
}

/// How a forwarded attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The exchange accepted; counters stay.
    Done,
    /// The exchange refused (4xx or its own error code), or nothing was sent: counters are given back.
    Refused,
    /// No answer, or the gateway stopped in between: counters stay.
    Unknown,
}

/// What an accepted action teaches the address book. The destination counts as verified if the
/// attempt took a grant: the owner then approved exactly the request that named it. One that is
/// added or removed begins its holds anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learn {
    /// `address_book.add` or a change: known from now, and new.
    Added {
        destination: Arc<str>,
    },
    Removed {
        destination: Arc<str>,
    },
    /// A withdrawal to it was accepted.
    Used {
        destination: Arc<str>,
    },
}

/// An attempt that was `sending` when its gateway stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub attempt: AttemptId,
    pub site: SiteName,
    pub account: AccountId,
    pub credential: Credential,
    pub action: ActionName,
    pub intent: IntentDigest,
    pub began: UnixMs,
}

/// Answer to `open_challenge`.
#[derive(Debug)]
pub enum Opened {
    New(Challenge),
    /// The same credential asked the same before: same challenge, no second SMS.
    Existing(Challenge),
    /// Step-up is blocked on this account after failures in a row.
    Blocked {
        until: UnixMs,
    },
}

/// A factor as enrolled; `secret` is sealed with the account as associated data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EnrolledRow")]
pub struct Enrolled {
    pub factor: Factor,
    /// TOTP: sealed otpauth parameters. SMS: sealed E.164 number.
    pub secret: Vec<u8>,
    /// Safe to show: issuer and digits, or the masked number.
    pub label: String,
    pub since: UnixMs,
    /// Disabled after too many failures in a row; must be enrolled again.
    pub disabled: bool,
    /// TOTP: the last accepted step; none at or before it is accepted again (RFC 6238 §5.2).
    pub last_step: Option<u64>,
    /// It approves nothing before. What an operator enrols counts at once (`since`); what the owner enrols waits.
    pub usable_from: UnixMs,
    /// Recovery: MACs of the codes that are not used yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// The language in which its owner is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
}

/// An enrolled factor as rows hold it; those of earlier versions say less.
#[derive(Deserialize)]
struct EnrolledRow {
    factor: Factor,
    secret: Vec<u8>,
    label: String,
    since: UnixMs,
    disabled: bool,
    last_step: Option<u64>,
    usable_from: Option<UnixMs>,
    #[serde(default)]
    codes: Vec<String>,
    language: Option<Arc<str>>,
}

impl From<EnrolledRow> for Enrolled {
    fn from(row: EnrolledRow) -> Self {
        Self {
            factor: row.factor,
            secret: row.secret,
            label: row.label,
            since: row.since,
            disabled: row.disabled,
            last_step: row.last_step,
            usable_from: row.usable_from.unwrap_or(row.since),
            codes: row.codes,
            language: row.language,
        }
    }
}

impl Enrolled {
    /// Whether its owner enrolled it, and not an operator.
    pub fn by_owner(&self) -> bool {
        self.usable_from > self.since
    }

    /// Whether it could ever be answered with: not disabled, and with codes left if it is made of such.
    fn works(&self) -> bool {
        self.approves()
            && !self.disabled
            && (self.factor != Factor::Recovery || !self.codes.is_empty())
    }

    /// Whether it is there to approve something: an address for notices is not.
    fn approves(&self) -> bool {
        self.factor.approves()
    }

    /// What a challenge's answer is compared with, and what is enrolled if it is right.
    fn of_pending(pending: &Pending, step: Option<u64>, hold_ms: u64, now: UnixMs) -> Self {
        Self {
            factor: pending.factor,
            secret: pending.secret.clone(),
            label: pending.label.clone(),
            since: now,
            disabled: false,
            last_step: step,
            usable_from: now.plus_ms(hold_ms),
            codes: Vec::new(),
            language: pending.language.clone(),
        }
    }

    /// What an operator sees of it.
    pub(crate) fn card(self) -> FactorCard {
        let codes_left = (self.factor == Factor::Recovery).then_some(self.codes.len());
        FactorCard {
            factor: self.factor,
            label: self.label,
            since: self.since,
            disabled: self.disabled,
            usable_from: self.usable_from,
            codes_left,
        }
    }
}

/// What can be done with an account's factors at a time.
#[derive(Default)]
struct Ripeness {
    ripe: FactorSet,
    young: FactorSet,
    ripens: Option<UnixMs>,
    enrolled: FactorSet,
}

impl Ripeness {
    fn of(enrolled: &[Enrolled], now: UnixMs) -> Self {
        let mut all = Self::default();
        for known in enrolled.iter().filter(|known| known.approves()) {
            all.enrolled = all.enrolled.with(known.factor);
            if !known.works() {
                continue;
            }
            if now < known.usable_from {
                all.young = all.young.with(known.factor);
                let first = all.ripens.map_or(known.usable_from, |at| at.min(known.usable_from));
                all.ripens = Some(first);
            } else {
                all.ripe = all.ripe.with(known.factor);
            }
        }
        all
    }
}

/// Answer to `spend_attempt`: the attempt is counted, durable, whatever happens next.
#[derive(Debug)]
pub enum Spent {
    /// Compare now. `left` counts what remains after this one.
    Compare { challenge: Challenge, enrolled: Option<Enrolled>, left: u32 },
    /// The challenge is not open (any more): its state says why.
    Closed(Challenge),
    /// Too many failures in a row on the account, or on this factor, which is disabled then.
    Blocked { until: UnixMs },
    /// No such challenge for this account and credential.
    Missing,
}

/// Answer to `prove`.
#[derive(Debug)]
pub enum Proven {
    /// This factor counts, another is still needed.
    More(Challenge),
    /// All factors: a grant for the intent, elevations for the rules that have `valid`.
    Approved(Challenge),
    /// The TOTP step was accepted before, or the SMS code was replaced or used.
    Replayed,
    Closed(Challenge),
}

/// Answer to `ask_passkey`.
#[derive(Debug)]
pub enum PasskeyAsked {
    Asked(Challenge),
    /// Step-up is blocked on the account after failures in a row.
    Blocked {
        until: UnixMs,
    },
    Closed(Challenge),
    Missing,
}

/// Answer to `send_code`.
#[derive(Debug)]
pub enum CodeQueued {
    Queued(Challenge),
    /// Too many to this number, or step-up is blocked on the account.
    Limited {
        retry_after_ms: u64,
    },
    /// A budget for text messages is used up, or nothing is sent to this country or range for a while.
    OverBudget(Refusal),
    Closed(Challenge),
    Missing,
}

/// A message to be sent, until a provider took it or it expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: u64,
    /// What its code is for; none for a notice, which has no code.
    #[serde(default)]
    pub challenge: Option<ChallengeId>,
    /// Sealed address and text.
    pub sealed: Vec<u8>,
    pub expires: UnixMs,
    /// How often it was leased, this time included.
    pub tries: u32,
}

/// A number as counters know it: HMAC, never the number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumberKey(pub String);

/// Everything that a code is counted against before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub number: NumberKey,
    pub meters: Vec<Meter>,
    pub watches: Vec<Watch>,
    /// What must not be stopped, for what carries no code: nobody types it in, so that it is watched nowhere.
    pub stops: Vec<(BudgetScope, Arc<str>)>,
}

/// Within the limits per number alone.
impl From<NumberKey> for Charge {
    fn from(number: NumberKey) -> Self {
        Self { number, meters: Vec::new(), watches: Vec::new(), stops: Vec::new() }
    }
}

/// A notice for one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeLetter {
    pub sealed: Vec<u8>,
    /// What a text message is counted against; a mail costs nothing.
    pub charge: Option<Charge>,
    /// It is sent before what is less so.
    pub urgent: bool,
}

/// Answer to `notify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    /// They are in the outbox, but for those (by their places) that no budget is left for.
    Queued { left_out: Vec<usize> },
    /// The account was told the same already, or too much.
    Quiet,
    /// No budget is left for any of them: nothing was said, and the account counts as not told.
    OverBudget,
}

/// How often an account's contacts are told of one thing, so that nobody can make a storm of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The thing: for so long the same key says nothing again; at most a day.
    pub key: Arc<str>,
    pub ms: u64,
    /// Nothing is said either if the account was told so often within a day of things of this kind: what stands before
    /// a colon in the key. One kind cannot use up another's.
    pub per_day_max: u32,
}

impl Quiet {
    pub fn ms(&self) -> u64 {
        self.ms.min(crate::stepup::attempts::DAY_MS)
    }
}

/// What an operator sees of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountCard {
    pub account: AccountId,
    pub frozen: Option<Freeze>,
    /// When the last freeze ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thawed: Option<UnixMs>,
    pub countries: Vec<Arc<str>>,
    pub asns: Vec<u32>,
    pub last: Option<Sighting>,
    pub factors: Vec<FactorCard>,
    pub addresses: usize,
    pub failures: u32,
    pub blocked_until: Option<UnixMs>,
}

/// An enrolled factor without its secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactorCard {
    pub factor: Factor,
    pub label: String,
    pub since: UnixMs,
    pub disabled: bool,
    /// It approves nothing before.
    pub usable_from: UnixMs,
    /// Recovery codes that are not used yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes_left: Option<usize>,
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

/// What operators' names follow, where it is said who froze an account.
const OPERATOR: &str = "operator:";

/// How far ahead of the rest of the outbox urgent notices stand.
const URGENT_AHEAD_MS: u64 = 600_000;

/// Countries and networks remembered per account.
pub const HISTORY_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_of_a_row_that_says_less_counts_since_it_was_enrolled() {
        let row = r#"{"factor":"totp","secret":[1],"label":"x","since":7,"disabled":false,"last_step":null}"#;
        let known: Enrolled = serde_json::from_str(row).unwrap();
        assert_eq!((known.usable_from, known.codes.len(), known.by_owner()), (UnixMs(7), 0, false));
        let again: Enrolled =
            serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
        assert_eq!(again, known);
    }
}
