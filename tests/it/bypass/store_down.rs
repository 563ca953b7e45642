//! The store is down: guarded actions wait, codes are not compared, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stepgate::locate::Sighting;
use stepgate::stepup::budget::Stop;
use stepgate::stepup::challenge::{Challenge, SentCode};
use stepgate::store::board::{Board, Posted};
use stepgate::store::moved::{Export, Kept};
use stepgate::store::{
    AccountCard, Begin, Begun, Charge, CodeQueued, Enrolled, Learn, Message, Notice, NoticeLetter,
    Notified, Opened, Orphan, PasskeyAsked, Proven, Quiet, Settled, Spent, Standing, Store,
    StoreError, Task, ThawAsked, Told,
};
use stepgate::types::{AccountId, AttemptId, ChallengeId, Credential, Factor, RuleId, UnixMs};

use super::{TRANSFER, guess, transfer};
use crate::kit::POLICY;
use crate::world::{OKX, World};

/// A store that can be taken away.
pub(crate) struct Fragile {
    pub store: Arc<dyn Store>,
    pub down: Arc<AtomicBool>,
    /// Only the part that counts text messages.
    pub no_texts: Arc<AtomicBool>,
}

impl Fragile {
    fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// A sentence begins only when it is awaited, so a sentence that is dropped here was never said.
    fn unless_down<'a, T: Send + 'a>(&'a self, task: Task<'a, T>) -> Task<'a, T> {
        if self.is_down() {
            return Box::pin(async { Err(StoreError::Deadline(250)) });
        }
        task
    }
}

impl Store for Fragile {
    fn glance(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Option<Arc<Standing>> {
        if self.is_down() { None } else { self.store.glance(account, credential, now) }
    }

    fn look(
        &self,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Arc<Standing>> {
        self.unless_down(self.store.look(account, credential, now))
    }

    fn sight(&self, account: &AccountId, credential: &Credential, sighting: Sighting) -> bool {
        !self.is_down() && self.store.sight(account, credential, sighting)
    }

    fn begin(&self, begin: Begin, now: UnixMs) -> Task<'_, Begun> {
        self.unless_down(self.store.begin(begin, now))
    }

    fn abandon(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        holds: Vec<RuleId>,
        now: UnixMs,
    ) -> Task<'_, ()> {
        self.unless_down(self.store.abandon(attempt, account, holds, now))
    }

    fn settle(
        &self,
        attempt: AttemptId,
        account: &AccountId,
        settled: Settled,
        learn: Option<Learn>,
        now: UnixMs,
    ) -> Task<'_, ()> {
        self.unless_down(self.store.settle(attempt, account, settled, learn, now))
    }

    fn recover(&self, now: UnixMs) -> Task<'_, Vec<Orphan>> {
        self.unless_down(self.store.recover(now))
    }

    fn open_challenge(&self, challenge: Challenge, now: UnixMs) -> Task<'_, Opened> {
        self.unless_down(self.store.open_challenge(challenge, now))
    }

    fn challenge(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        self.unless_down(self.store.challenge(id, account, now))
    }

    fn open_challenges(&self, account: &AccountId, now: UnixMs) -> Task<'_, Vec<Challenge>> {
        self.unless_down(self.store.open_challenges(account, now))
    }

    fn ask_passkey(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        ceremony: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, PasskeyAsked> {
        self.unless_down(self.store.ask_passkey(id, account, ceremony, now))
    }

    fn enrol_made(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        was: Option<Vec<u8>>,
        enrolled: Enrolled,
        now: UnixMs,
    ) -> Task<'_, Proven> {
        self.unless_down(self.store.enrol_made(id, account, was, enrolled, now))
    }

    fn replace_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        enrolled: Option<Enrolled>,
        now: UnixMs,
    ) -> Task<'_, bool> {
        self.unless_down(self.store.replace_factor(account, factor, was, enrolled, now))
    }

    fn renew_factor(
        &self,
        account: &AccountId,
        factor: Factor,
        was: Vec<u8>,
        secret: Vec<u8>,
        now: UnixMs,
    ) -> Task<'_, bool> {
        self.unless_down(self.store.renew_factor(account, factor, was, secret, now))
    }

    fn spend_attempt(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        factor: Factor,
        now: UnixMs,
    ) -> Task<'_, Spent> {
        self.unless_down(self.store.spend_attempt(id, account, credential, factor, now))
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
        self.unless_down(self.store.prove(id, account, factor, step, mac, now))
    }

    fn reject(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        freeze: bool,
        now: UnixMs,
    ) -> Task<'_, Option<Challenge>> {
        self.unless_down(self.store.reject(id, account, freeze, now))
    }

    fn take_held(
        &self,
        id: &ChallengeId,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Task<'_, Option<Vec<u8>>> {
        self.unless_down(self.store.take_held(id, account, credential, now))
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
        if self.no_texts.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Deadline(250)) });
        }
        self.unless_down(self.store.send_code(id, account, charge, sent, sealed, now))
    }

    fn code_verified(&self, mac: &str, now: UnixMs) -> Task<'_, Option<Arc<str>>> {
        self.unless_down(self.store.code_verified(mac, now))
    }

    fn sms_stops(&self, now: UnixMs) -> Task<'_, Vec<Stop>> {
        self.unless_down(self.store.sms_stops(now))
    }

    fn lift_sms_stop(&self, subject: &str, now: UnixMs) -> Task<'_, bool> {
        self.unless_down(self.store.lift_sms_stop(subject, now))
    }

    fn notify(
        &self,
        account: &AccountId,
        quiet: Quiet,
        letters: Vec<NoticeLetter>,
        expires: UnixMs,
        now: UnixMs,
    ) -> Task<'_, Notified> {
        self.unless_down(self.store.notify(account, quiet, letters, expires, now))
    }

    fn next_message(&self, lease_ms: u64, now: UnixMs) -> Task<'_, Option<Message>> {
        self.unless_down(self.store.next_message(lease_ms, now))
    }

    fn message_done(&self, id: u64, again: Option<UnixMs>) -> Task<'_, ()> {
        self.unless_down(self.store.message_done(id, again))
    }

    fn freeze(&self, account: &AccountId, by: Arc<str>, now: UnixMs) -> Task<'_, ()> {
        self.unless_down(self.store.freeze(account, by, now))
    }

    fn freeze_told(
        &self,
        account: &AccountId,
        by: Arc<str>,
        told: Told,
        now: UnixMs,
    ) -> Task<'_, Option<UnixMs>> {
        self.unless_down(self.store.freeze_told(account, by, told, now))
    }

    fn thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, bool> {
        self.unless_down(self.store.thaw(account, now))
    }

    fn ask_thaw(&self, account: &AccountId, now: UnixMs) -> Task<'_, ThawAsked> {
        self.unless_down(self.store.ask_thaw(account, now))
    }

    fn disenrol_own(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        self.unless_down(self.store.disenrol_own(account, factor, now))
    }

    fn enrol(&self, account: &AccountId, enrolled: Enrolled, now: UnixMs) -> Task<'_, ()> {
        self.unless_down(self.store.enrol(account, enrolled, now))
    }

    fn factors(&self, account: &AccountId) -> Task<'_, Vec<Enrolled>> {
        self.unless_down(self.store.factors(account))
    }

    fn disenrol(&self, account: &AccountId, factor: Factor, now: UnixMs) -> Task<'_, bool> {
        self.unless_down(self.store.disenrol(account, factor, now))
    }

    fn account(&self, account: &AccountId, now: UnixMs) -> Task<'_, AccountCard> {
        self.unless_down(self.store.account(account, now))
    }

    fn adopt(&self, name: &str, value: Vec<u8>) -> Task<'_, Vec<u8>> {
        self.unless_down(self.store.adopt(name, value))
    }

    fn export(&self, from: Option<String>) -> Task<'_, Export> {
        self.unless_down(self.store.export(from))
    }

    fn import(&self, kept: Vec<Kept>, now: UnixMs) -> Task<'_, ()> {
        self.unless_down(self.store.import(kept, now))
    }

    fn lend(&self, name: &str, value: Vec<u8>, until: UnixMs, now: UnixMs) -> Task<'_, ()> {
        self.unless_down(self.store.lend(name, value, until, now))
    }

    fn lent(&self, name: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        self.unless_down(self.store.lent(name, now))
    }

    fn post(&self, board: Board, posted: Posted, now: UnixMs) -> Task<'_, bool> {
        self.unless_down(self.store.post(board, posted, now))
    }

    fn posted(&self, board: Board, now: UnixMs) -> Task<'_, Vec<Posted>> {
        self.unless_down(self.store.posted(board, now))
    }

    fn take_down(&self, board: Board, id: &str, now: UnixMs) -> Task<'_, Option<Vec<u8>>> {
        self.unless_down(self.store.take_down(board, id, now))
    }

    fn announce(&self, notice: Notice) -> Task<'_, ()> {
        self.unless_down(self.store.announce(notice))
    }

    fn heard(&self) -> Task<'_, Notice> {
        self.store.heard()
    }

    fn ping(&self) -> Task<'_, ()> {
        self.unless_down(self.store.ping())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_nothing_guarded_passes_and_nothing_else_stops() {
    let down = Arc::new(AtomicBool::new(false));
    let switch = down.clone();
    let world = World::on(POLICY, OKX, move |store| {
        Arc::new(Fragile { store, down: switch, no_texts: Arc::default() })
    })
    .await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let open = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let approved = alice.post_json(TRANSFER, transfer("2")).await.challenge();
    assert_eq!(guess(&alice, &approved, "totp", &world.totp()).await.status, 200);

    down.store(true, Ordering::SeqCst);
    world.wait_s(30);
    for amount in ["1", "2", "3"] {
        let refused = alice.post_json(TRANSFER, transfer(amount)).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.headers.contains_key("step-up-challenge"));
    }
    let headers = [("content-type", "application/json"), ("step-up-code", &*world.totp())];
    assert_eq!(alice.send("POST", TRANSFER, &headers, transfer("3")).await.status, 503);
    assert_eq!(guess(&alice, &open, "totp", &world.totp()).await.status, 503);
    assert_eq!(alice.get("/api/v5/account/balance").await.status, 200);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());

    down.store(false, Ordering::SeqCst);
    assert_eq!(
        alice.post_json(TRANSFER, transfer("2")).await.status,
        200,
        "the grant is still there"
    );
    assert_eq!(guess(&alice, &open, "totp", &world.totp()).await.status, 200, "and the challenge");
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_part_that_counts_texts_none_goes_out_and_the_authenticator_still_works() {
    let no_texts = Arc::new(AtomicBool::new(true));
    let (down, switch) = (Arc::new(AtomicBool::new(false)), no_texts.clone());
    let around =
        move |store| -> Arc<dyn Store> { Arc::new(Fragile { store, down, no_texts: switch }) };
    let world = World::on(POLICY, OKX, around).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345667").await;
    world.enrol_phone("bob", "+4915112345668").await;
    let alice = world.session("alice", "s1").await;
    let bob = world.session("bob", "s1").await;

    let challenge = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let send = super::step(&challenge, "send");
    let refused = alice.post_json(&send, r#"{"factor":"sms"}"#).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["error"], "sms_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(guess(&alice, &challenge, "totp", &world.totp()).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, transfer("1")).await.status, 200);

    let asked = bob.post_json(TRANSFER, transfer("2")).await;
    assert!(asked.text().contains("No text message can be sent right now"), "{}", asked.text());
    no_texts.store(false, Ordering::SeqCst);
    let again =
        bob.post_json(&super::step(&asked.challenge(), "send"), r#"{"factor":"sms"}"#).await;
    assert_eq!(again.status, 202, "{}", again.text());
    super::sms::sms(&world, 1).await;
    assert_eq!(world.sms().matches(" #").count(), 1, "only the last was sent");
}
