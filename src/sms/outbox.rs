//! Empties the outbox: leases a message, sends it on its channel, and says how it ended or when to try again.
//!
//! Never logs address or text, never sends what has expired, and keeps at most a few sends in flight; mails that hang
//! never take the place of text messages, which carry codes. Invariant: a
//! message leaves the store only when a provider took it, refused it for good, or its time is over; a gateway that dies
//! in between leaves a lease that runs out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mail::Carrier;
use super::{Post, Provider, SendError};
use crate::store::{Message, Store};
use crate::types::{ChallengeId, UnixMs};
use crate::world::Clock;

/// Opens what the store was given; `None` if it cannot be read (any more).
pub type Open = Box<dyn Fn(&Message) -> Option<Post> + Send + Sync>;

/// Hears of every message that is given up, by which way it was to go, and why: for the record and the metrics.
pub type Lost = Box<dyn Fn(&Message, Way, Why) + Send + Sync>;

/// How a message goes, as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Sms,
    Mail,
    Unknown,
}

/// Why one is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its time is over, or would be before another try.
    Late,
    /// Its provider refused it for good.
    Refused,
    /// It cannot be opened, or nothing sends this way any more.
    Unsendable,
}

impl Way {
    pub fn word(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Mail => "mail",
            Self::Unknown => "unknown",
        }
    }
}

impl Why {
    pub fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Unsendable => "unsendable",
        }
    }
}

/// Everything the loop needs.
pub struct Outbox {
    pub store: Arc<dyn Store>,
    pub open: Open,
    /// For text messages, if they are sent at all.
    pub sms: Option<Arc<dyn Provider>>,
    /// For mails, likewise.
    pub mail: Option<Arc<dyn Carrier>>,
    pub clock: Arc<dyn Clock>,
    pub lost: Lost,
    /// Notified when a message was queued here, so that it goes out at once. Others are found within a second.
    pub wake: Arc<Notify>,
}

/// Runs until `stop`; then waits a moment for the sends in flight.
pub async fn run(outbox: Outbox, stop: CancellationToken) {
    let outbox = Arc::new(outbox);
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mails = Arc::new(Semaphore::new(MAILS_IN_FLIGHT_MAX));
    let sends = TaskTracker::new();
    let mut unreadable = false;
    while let Some(slot) = unless_stopped(&stop, slots.clone().acquire_owned()).await {
        // The semaphore is never closed.
        let Ok(slot) = slot else { break };
        let due = unless_stopped(&stop, outbox.store.next_message(LEASE_MS, outbox.clock.now()));
        match due.await {
            None => break,
            Some(Ok(Some(message))) => {
                unreadable = false;
                sends.spawn(outbox.clone().deliver(message, slot, mails.clone()));
            }
            Some(Ok(None)) => {
                unreadable = false;
                outbox.rest(&stop).await;
            }
            Some(Err(error)) => {
                if !std::mem::replace(&mut unreadable, true) {
                    tracing::warn!(%error, "the outbox cannot be read; it is tried again every second");
                }
                unless_stopped(&stop, tokio::time::sleep(POLL)).await;
            }
        }
    }
    sends.close();
    if tokio::time::timeout(FINISH, sends.wait()).await.is_err() {
        tracing::warn!(count = sends.len(), "messages were still being sent; their lease runs out");
    }
}

impl Outbox {
    async fn rest(&self, stop: &CancellationToken) {
        let woken = async {
            // Either way the loop looks again; nothing is lost if the wait simply ends.
            let _ = tokio::time::timeout(POLL, self.wake.notified()).await;
        };
        unless_stopped(stop, woken).await;
    }

    async fn deliver(
        self: Arc<Self>,
        message: Message,
        _slot: OwnedSemaphorePermit,
        mails: Arc<Semaphore>,
    ) {
        let again = self.try_once(&message, &mails).await;
        if let Err(error) = self.store.message_done(message.id, again).await {
            // The lease runs out and the message comes again; a second SMS carries the same code.
            tracing::warn!(message = message.id, %error, "the outbox cannot be written");
        }
    }

    /// Sends once; `Some` says when it is worth trying again.
    async fn try_once(&self, message: &Message, mails: &Semaphore) -> Option<UnixMs> {
        if self.clock.now() >= message.expires {
            tracing::info!(message = message.id, "an expired message is not sent");
            (self.lost)(message, Way::Unknown, Why::Late);
            return None;
        }
        let Some(post) = (self.open)(message) else {
            tracing::error!(message = message.id, "a message cannot be opened and is dropped");
            (self.lost)(message, Way::Unknown, Why::Unsendable);
            return None;
        };
        let way = match &post {
            Post::Sms(_) => Way::Sms,
            Post::Mail(_) => Way::Mail,
        };
        let sent = match (&post, &self.sms, &self.mail) {
            (Post::Sms(letter), Some(sms), _) => sms.send(letter).await,
            (Post::Mail(mail), _, Some(carrier)) => {
                let Ok(_place) = mails.try_acquire() else {
                    return self.later(message, way, MAIL_WAITS_MS);
                };
                carrier.deliver(mail).await
            }
            _ => {
                tracing::warn!(message = message.id, "nothing sends on this channel any more");
                (self.lost)(message, way, Why::Unsendable);
                return None;
            }
        };
        let Err(error) = sent else {
            let challenge = message.challenge.as_ref().map(ChallengeId::as_str);
            tracing::info!(message = message.id, challenge, "sent");
            return None;
        };
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(message = message.id, %error, source, tries = message.tries, "not sent");
        match error {
            SendError::Busy { after_ms, .. } => self.later(message, way, after_ms.unwrap_or(0)),
            SendError::Unreachable(_) => self.later(message, way, 0),
            SendError::Refused { .. } | SendError::Unwritable(_) | SendError::BadLetter => {
                (self.lost)(message, way, Why::Refused);
                None
            }
        }
    }

    /// Another try, or the end of it.
    fn later(&self, message: &Message, way: Way, asked_ms: u64) -> Option<UnixMs> {
        let again = next_try(asked_ms, message, self.clock.now());
        if again.is_none() {
            (self.lost)(message, way, Why::Late);
        }
        again
    }
}

/// When to try again: what was asked for or our own step, whichever is later, if that is before the message expires.
/// Every step is as long as the one before, or longer: nothing is tried without end at short intervals.
fn next_try(asked_ms: u64, message: &Message, now: UnixMs) -> Option<UnixMs> {
    // A code is of use for minutes, a notice for a day.
    let steps: &[u64] = if message.challenge.is_some() { &BACK_OFF_MS } else { &PATIENT_MS };
    // The lease of the first try is counted already.
    let failed = usize::try_from(message.tries).unwrap_or(usize::MAX).saturating_sub(1);
    let own = steps.get(failed.min(steps.len() - 1)).copied().unwrap_or(LEASE_MS);
    let again = now.plus_ms(own.max(asked_ms));
    (again < message.expires).then_some(again)
}

async fn unless_stopped<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        done = work => Some(done),
    }
}

const IN_FLIGHT_MAX: usize = 8;
/// So that text messages always have a place.
const MAILS_IN_FLIGHT_MAX: usize = 4;
/// For a mail that finds all of its places taken.
const MAIL_WAITS_MS: u64 = 30_000;
/// Longer than a try and the store's answer to it.
const LEASE_MS: u64 = 30_000;
const POLL: Duration = Duration::from_secs(1);
const FINISH: Duration = Duration::from_secs(5);
const BACK_OFF_MS: [u64; 4] = [2_000, 5_000, 15_000, 40_000];
const PATIENT_MS: [u64; 8] = [2_000, 5_000, 15_000, 60_000, 180_000, 600_000, 1_800_000, 3_600_000];

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use zeroize::Zeroizing;

    use super::*;
    use crate::locate::travel::Sighting;
    use crate::sms::mail::{Mail, fake};
    use crate::sms::{BoxFuture, Letter};
    use crate::stepup::challenge::{Challenge, SentCode};
    use crate::store::*;
    use crate::types::{AccountId, AttemptId, ChallengeId, Credential, Factor, RuleId};
    use crate::world::HandClock;

    fn message(tries: u32) -> Message {
        Message {
            id: 1,
            challenge: Some(ChallengeId::new("c")),
            sealed: vec![],
            expires: UnixMs(100_000),
            tries,
        }
    }

    fn busy(after_ms: Option<u64>) -> SendError {
        SendError::Busy { status: 429, after_ms }
    }

    #[test]
    fn tries_come_further_and_further_apart_until_the_message_expires() {
        let again = |tries, now| next_try(0, &message(tries), UnixMs(now));
        assert_eq!(again(1, 0), Some(UnixMs(2_000)), "after the first try");
        assert_eq!(again(2, 0), Some(UnixMs(5_000)));
        assert_eq!(again(3, 0), Some(UnixMs(15_000)));
        assert_eq!(again(9, 0), Some(UnixMs(40_000)));
        assert_eq!(again(9, 60_000), None);
        assert!(BACK_OFF_MS.is_sorted() && PATIENT_MS.is_sorted());
    }

    #[test]
    fn the_providers_word_counts_if_it_is_later() {
        let again = |after| next_try(after, &message(1), UnixMs(0));
        assert_eq!(again(1_000), Some(UnixMs(2_000)));
        assert_eq!(again(9_000), Some(UnixMs(9_000)));
        assert_eq!(again(100_000), None);
    }

    /// The outbox of a store, without the rest of it.
    #[derive(Default)]
    struct Queue {
        waiting: Mutex<Vec<Message>>,
        done: Mutex<Vec<(u64, Option<UnixMs>)>>,
    }

    impl Queue {
        fn done(&self) -> Vec<(u64, Option<UnixMs>)> {
            self.done.lock().unwrap().clone()
        }
    }

    macro_rules! not_asked {
        ($($name:ident($($argument:ty),*) -> $answer:ty;)*) => {$(
            fn $name(&self, $(_: $argument),*) -> $answer {
                unreachable!("the outbox never asks for it")
            }
        )*};
    }

    impl Store for Queue {
        fn next_message(&self, _lease_ms: u64, _now: UnixMs) -> Task<'_, Option<Message>> {
            let mut waiting = self.waiting.lock().unwrap();
            let next = if waiting.is_empty() { None } else { Some(waiting.remove(0)) };
            Box::pin(async move { Ok(next) })
        }
        fn message_done(&self, id: u64, again: Option<UnixMs>) -> Task<'_, ()> {
            self.done.lock().unwrap().push((id, again));
            Box::pin(async { Ok(()) })
        }
        not_asked! {
            glance(&AccountId, &Credential, UnixMs) -> Option<Arc<Standing>>;
            look(&AccountId, &Credential, UnixMs) -> Task<'_, Arc<Standing>>;
            sight(&AccountId, &Credential, Sighting) -> bool;
            begin(Begin, UnixMs) -> Task<'_, Begun>;
            abandon(AttemptId, &AccountId, Vec<RuleId>, UnixMs) -> Task<'_, ()>;
            settle(AttemptId, &AccountId, Settled, Option<Learn>, UnixMs) -> Task<'_, ()>;
            recover(UnixMs) -> Task<'_, Vec<Orphan>>;
            open_challenge(Challenge, UnixMs) -> Task<'_, Opened>;
            challenge(&ChallengeId, &AccountId, UnixMs) -> Task<'_, Option<Challenge>>;
            open_challenges(&AccountId, UnixMs) -> Task<'_, Vec<Challenge>>;
            ask_passkey(&ChallengeId, &AccountId, Vec<u8>, UnixMs) -> Task<'_, crate::store::PasskeyAsked>;
            enrol_made(&ChallengeId, &AccountId, Option<Vec<u8>>, Enrolled, UnixMs) -> Task<'_, Proven>;
            replace_factor(&AccountId, Factor, Vec<u8>, Option<Enrolled>, UnixMs) -> Task<'_, bool>;
            renew_factor(&AccountId, Factor, Vec<u8>, Vec<u8>, UnixMs) -> Task<'_, bool>;
            spend_attempt(&ChallengeId, &AccountId, &Credential, Factor, UnixMs) -> Task<'_, Spent>;
            prove(&ChallengeId, &AccountId, Factor, Option<u64>, Option<String>, UnixMs) -> Task<'_, Proven>;
            reject(&ChallengeId, &AccountId, bool, UnixMs) -> Task<'_, Option<Challenge>>;
            take_held(&ChallengeId, &AccountId, &Credential, UnixMs) -> Task<'_, Option<Vec<u8>>>;
            send_code(&ChallengeId, &AccountId, Charge, SentCode, Vec<u8>, UnixMs) -> Task<'_, CodeQueued>;
            code_verified(&str, UnixMs) -> Task<'_, Option<Arc<str>>>;
            sms_stops(UnixMs) -> Task<'_, Vec<crate::stepup::budget::Stop>>;
            lift_sms_stop(&str, UnixMs) -> Task<'_, bool>;
            freeze(&AccountId, Arc<str>, UnixMs) -> Task<'_, ()>;
            notify(&AccountId, Quiet, Vec<NoticeLetter>, UnixMs, UnixMs) -> Task<'_, Notified>;
            freeze_told(&AccountId, Arc<str>, Told, UnixMs) -> Task<'_, Option<UnixMs>>;
            thaw(&AccountId, UnixMs) -> Task<'_, bool>;
            ask_thaw(&AccountId, UnixMs) -> Task<'_, ThawAsked>;
            disenrol_own(&AccountId, Factor, UnixMs) -> Task<'_, bool>;
            enrol(&AccountId, Enrolled, UnixMs) -> Task<'_, ()>;
            factors(&AccountId) -> Task<'_, Vec<Enrolled>>;
            disenrol(&AccountId, Factor, UnixMs) -> Task<'_, bool>;
            account(&AccountId, UnixMs) -> Task<'_, AccountCard>;
            adopt(&str, Vec<u8>) -> Task<'_, Vec<u8>>;
            export(Option<String>) -> Task<'_, crate::store::moved::Export>;
            import(Vec<crate::store::moved::Kept>, UnixMs) -> Task<'_, ()>;
            lend(&str, Vec<u8>, UnixMs, UnixMs) -> Task<'_, ()>;
            lent(&str, UnixMs) -> Task<'_, Option<Vec<u8>>>;
            announce(crate::store::Notice) -> Task<'_, ()>;
            heard() -> Task<'_, crate::store::Notice>;
            ping() -> Task<'_, ()>;
        }
    }

    /// Takes letters or is busy, after a moment.
    #[derive(Default)]
    struct Texts {
        busy: bool,
        refuses: bool,
        taken: Mutex<Vec<u64>>,
        at_once: AtomicUsize,
        at_once_max: AtomicUsize,
    }

    impl Provider for Texts {
        fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>> {
            Box::pin(async move {
                let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                self.at_once_max.fetch_max(at_once, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                if self.refuses {
                    return Err(SendError::Refused { status: 400 });
                }
                if self.busy {
                    return Err(busy(None));
                }
                self.taken.lock().unwrap().push(letter.id);
                Ok(())
            })
        }
    }

    /// Runs the loop at time `now` until `count` messages are done; then stops it and waits for its end.
    async fn run_until_done(queue: &Arc<Queue>, post: &Arc<Texts>, now: UnixMs, count: usize) {
        drop(lost_until_done(queue, post, now, count).await);
    }

    /// The same; says which were given up, and why.
    async fn lost_until_done(
        queue: &Arc<Queue>,
        post: &Arc<Texts>,
        now: UnixMs,
        count: usize,
    ) -> Vec<(u64, Why)> {
        let lost = Arc::new(Mutex::new(Vec::new()));
        let hears = lost.clone();
        let wake = Arc::new(Notify::new());
        let open: Open = Box::new(|message| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().map(Zeroizing::new);
            let number = Zeroizing::new("+4915112345667".to_owned());
            let letter = |text| Post::Sms(Letter { id: message.id, number, text });
            text(&message.sealed).map(letter)
        });
        let outbox = Outbox {
            store: queue.clone(),
            open,
            sms: Some(post.clone()),
            mail: None,
            clock: Arc::new(HandClock::at(now)),
            lost: Box::new(move |message, _, why| hears.lock().unwrap().push((message.id, why))),
            wake: wake.clone(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(outbox, stop.clone()));
        let done = async {
            while queue.done().len() < count {
                wake.notify_one();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), done).await.expect("all are done in time");
        stop.cancel();
        running.await.unwrap();
        let lost = lost.lock().unwrap();
        lost.clone()
    }

    #[tokio::test]
    async fn whatever_is_given_up_is_told_of_with_its_reason() {
        let texts = |refuses| Arc::new(Texts { busy: true, refuses, ..Texts::default() });
        let last = || queue(vec![message(9)]);
        let lost = lost_until_done(&last(), &texts(false), UnixMs(90_000), 1).await;
        assert_eq!(lost, [(1, Why::Late)], "no other try is in time");
        let lost = lost_until_done(&last(), &texts(true), UnixMs(0), 1).await;
        assert_eq!(lost, [(1, Why::Refused)]);
        let lost = lost_until_done(&last(), &texts(false), UnixMs(0), 1).await;
        assert_eq!(lost, [], "it is tried again");
    }

    fn queue(messages: Vec<Message>) -> Arc<Queue> {
        Arc::new(Queue { waiting: Mutex::new(messages), ..Queue::default() })
    }

    #[tokio::test]
    async fn every_message_is_sent_once_and_few_at_a_time() {
        let messages = (0..20).map(|id| Message { id, ..message(0) }).collect();
        let (queue, post) = (queue(messages), Arc::new(Texts::default()));
        run_until_done(&queue, &post, UnixMs(0), 20).await;
        let mut taken = post.taken.lock().unwrap().clone();
        taken.sort_unstable();
        assert_eq!(taken, (0..20).collect::<Vec<_>>());
        assert!(queue.done().iter().all(|(_, again)| again.is_none()));
        assert_eq!(post.at_once_max.load(Ordering::SeqCst), IN_FLIGHT_MAX);
    }

    #[tokio::test]
    async fn a_busy_provider_means_another_try() {
        let (queue, post) =
            (queue(vec![message(1)]), Arc::new(Texts { busy: true, ..Texts::default() }));
        run_until_done(&queue, &post, UnixMs(0), 1).await;
        assert_eq!(queue.done(), [(1, Some(UnixMs(2_000)))]);
    }

    #[tokio::test]
    async fn what_has_expired_or_cannot_be_opened_is_never_sent() {
        let unreadable = Message { id: 2, sealed: vec![0xff], ..message(0) };
        let (queue, post) = (queue(vec![unreadable]), Arc::new(Texts::default()));
        run_until_done(&queue, &post, UnixMs(0), 1).await;
        queue.waiting.lock().unwrap().push(message(0));
        run_until_done(&queue, &post, UnixMs(100_000), 2).await;
        assert_eq!(queue.done(), [(2, None), (1, None)]);
        assert!(post.taken.lock().unwrap().is_empty());
    }

    /// Hangs until it is told to go on.
    #[derive(Default)]
    struct Stuck {
        begun: AtomicUsize,
        on: Notify,
    }

    impl Carrier for Stuck {
        fn deliver<'a>(&'a self, _mail: &'a Mail) -> BoxFuture<'a, Result<(), SendError>> {
            Box::pin(async move {
                self.begun.fetch_add(1, Ordering::SeqCst);
                self.on.notified().await;
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn mails_that_hang_leave_places_for_text_messages() {
        let mut messages: Vec<_> = (0..20)
            .map(|id| Message { id, challenge: None, sealed: b"mail".to_vec(), ..message(0) })
            .collect();
        messages.push(Message { id: 99, ..message(0) });
        let (queue, texts, stuck) =
            (queue(messages), Arc::new(Texts::default()), Arc::new(Stuck::default()));
        let outbox = Outbox {
            store: queue.clone(),
            open: Box::new(|message| match &*message.sealed {
                b"mail" => Some(Post::Mail(fake::mail())),
                _ => {
                    let letter = Letter { id: message.id, ..crate::sms::fake::letter() };
                    Some(Post::Sms(letter))
                }
            }),
            sms: Some(texts.clone()),
            mail: Some(stuck.clone()),
            clock: Arc::new(HandClock::at(UnixMs(0))),
            lost: Box::new(|_, _, _| {}),
            wake: Arc::default(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(outbox, stop.clone()));
        let sent = async {
            while texts.taken.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), sent).await.expect("the text is sent");
        assert_eq!(*texts.taken.lock().unwrap(), [99]);
        assert_eq!(stuck.begun.load(Ordering::SeqCst), MAILS_IN_FLIGHT_MAX);
        assert!(queue.done().iter().all(|(_, again)| *again != Some(UnixMs(0))));
        stuck.on.notify_waiters();
        stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn a_notice_is_tried_for_hours() {
        let notice = Message { challenge: None, expires: UnixMs(86_400_000), ..message(9) };
        assert_eq!(next_try(0, &notice, UnixMs(0)), Some(UnixMs(3_600_000)));
    }

    #[tokio::test]
    async fn a_send_in_flight_is_finished_before_the_loop_ends() {
        let (queue, post) = (queue(vec![message(0)]), Arc::new(Texts::default()));
        let outbox = Outbox {
            store: queue.clone(),
            open: Box::new(|_| Some(Post::Sms(super::super::fake::letter()))),
            sms: Some(post.clone()),
            mail: None,
            clock: Arc::new(HandClock::at(UnixMs(0))),
            lost: Box::new(|_, _, _| {}),
            wake: Arc::default(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(outbox, stop.clone()));
        while post.at_once.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
        assert_eq!(queue.done(), [(1, None)]);
    }
}
