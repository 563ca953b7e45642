//! Owners are told: what happened on their account goes to every contact that it has, with a link that freezes it.
//!
//! Never waits for anything on the way of a request: what is to be told is put into one of two bounded queues, and what
//! finds it full is counted; what is urgent never stands behind what is not. Invariant: a letter leaves this gateway only
//! through the durable outbox of the store, is charged like a code if it costs like one, and its link works before it does.

mod contacts;
pub(crate) mod not_me;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

pub(crate) use contacts::{Claimed, Contact, claim, contacts_among};

use crate::audit::{Event, Record};
use crate::crypto::{random_id, sha256};
use crate::gateway::{Gateway, Site};
use crate::metrics::Metrics;
use crate::pages::{Language, Pages};
use crate::sms;
use crate::sms::mail::Mail;
use crate::stepup::device::Device;
use crate::stepup::notice::{About, Notice};
use crate::store::{Charge, NoticeLetter, Notified, NumberKey, Quiet, StoreError};
use crate::types::{AccountId, Factor, IntentDigest, RuleId, Shown, UnixMs};
use not_me::NotMe;

/// By which ways owners can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channels {
    pub sms: bool,
    pub mail: bool,
}

/// Something that an account's owner is to know.
pub(crate) struct Occurrence {
    pub account: AccountId,
    pub about: About,
    pub quiet: Quiet,
    pub at: UnixMs,
    pub place: Option<Arc<str>>,
    /// Whence it came about; nothing for what operators do.
    pub client: Option<IpAddr>,
    pub device: Option<Device>,
    /// Where it happened; for what operators do, any site of the account's group.
    pub site: Option<Arc<Site>>,
    /// The visitor's, for contacts that have none of their own.
    pub language: Language,
    /// What the verified token says, for accounts that have not enrolled any.
    pub claimed: Claimed,
    /// Contacts that the account had before it: whoever was replaced is told too.
    pub before: Vec<Contact>,
}

impl Occurrence {
    /// One that no request is behind.
    pub fn new(account: AccountId, about: About, quiet: Quiet, at: UnixMs) -> Self {
        Self {
            account,
            about,
            quiet,
            at,
            place: None,
            client: None,
            device: None,
            site: None,
            language: Language::default(),
            claimed: Claimed::default(),
            before: Vec::new(),
        }
    }
}

/// For how long the same is not said again, and how much of it is said in a day.
pub(crate) fn quiet_of(about: &About, detail: &str) -> Quiet {
    let (ms, per_day_max) = match about {
        About::RemoteLogin => (DAY_MS, LESS_URGENT_MAX),
        About::Rule { .. } => (HOUR_MS, LESS_URGENT_MAX),
        About::Locked => (HOUR_MS, URGENT_MAX),
        About::FactorChange { .. }
        | About::Frozen { .. }
        | About::Thawed
        | About::ThawAsked { .. } => (MINUTE_MS, URGENT_MAX),
    };
    let key = match detail {
        "" => about.word().into(),
        detail => format!("{}:{detail}", about.word()).into(),
    };
    Quiet { key, ms, per_day_max }
}

/// What requests and operators hand their occurrences to.
pub(crate) struct Teller {
    urgent: mpsc::Sender<Occurrence>,
    queue: mpsc::Sender<Occurrence>,
    /// What was told here a moment ago: saves the store the asking, and bounds nothing by itself.
    told: Cache<(AccountId, Arc<str>), UnixMs>,
    channels: Channels,
    under_way: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    pub misses: not_me::Misses,
}

/// The other end of the queues.
pub(crate) struct Heard {
    urgent: mpsc::Receiver<Occurrence>,
    queue: mpsc::Receiver<Occurrence>,
    under_way: Arc<AtomicUsize>,
}

impl Heard {
    /// The next one: of the others none as long as one is urgent.
    async fn next(&mut self) -> Option<Occurrence> {
        tokio::select! {
            biased;
            Some(urgent) = self.urgent.recv() => Some(urgent),
            Some(other) = self.queue.recv() => Some(other),
            else => None,
        }
    }
}

impl Teller {
    pub fn new(channels: Channels, metrics: Arc<Metrics>) -> (Self, Heard) {
        let (urgent, heard_first) = mpsc::channel(QUEUE_MAX);
        let (queue, heard) = mpsc::channel(QUEUE_MAX);
        let under_way = Arc::new(AtomicUsize::new(0));
        let told = Cache::new(TOLD_MAX);
        let misses = not_me::Misses::default();
        let heard = Heard { urgent: heard_first, queue: heard, under_way: under_way.clone() };
        (Self { urgent, queue, told, channels, under_way, metrics, misses }, heard)
    }

    /// Whether anybody can be told at all.
    pub fn is_on(&self) -> bool {
        self.channels != Channels::default()
    }

    /// Whether this would be said, as far as this gateway knows.
    pub fn is_news(&self, account: &AccountId, quiet: &Quiet, now: UnixMs) -> bool {
        let known = self.told.get(&(account.clone(), quiet.key.clone()));
        self.is_on() && known.is_none_or(|until| until <= now)
    }

    /// Says it, soon. Never waits.
    pub fn tell(&self, occurrence: Occurrence) {
        let Occurrence { account, quiet, at, .. } = &occurrence;
        if !self.is_news(account, quiet, *at) {
            return;
        }
        self.told.insert((account.clone(), quiet.key.clone()), at.plus_ms(quiet.ms()));
        let (key, about) = ((account.clone(), quiet.key.clone()), occurrence.about.word());
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let queue = if occurrence.about.is_urgent() { &self.urgent } else { &self.queue };
        if queue.try_send(occurrence).is_err() {
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            self.told.invalidate(&key);
            self.metrics.notice(about, "dropped");
            tracing::warn!(about, "the queue of notices is full: its owner is not told");
        }
    }

    /// Waits until all that was said before is in the outbox, but not for long.
    pub async fn settled(&self) {
        let all = async {
            while self.under_way.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(SETTLED_POLL).await;
            }
        };
        let _ = tokio::time::timeout(SETTLED_MAX, all).await;
    }

    fn forget(&self, account: &AccountId, key: &Arc<str>) {
        self.told.invalidate(&(account.clone(), key.clone()));
    }
}

/// Puts what is to be told into the outbox. Ends with its runtime: what is said while the gateway drains is told too.
pub(crate) async fn run(gateway: Arc<Gateway>, mut heard: Heard) {
    let (urgent, others) = (TaskTracker::new(), TaskTracker::new());
    while let Some(occurrence) = heard.next().await {
        let later = if occurrence.about.is_urgent() { &urgent } else { &others };
        match write(&gateway, &occurrence).await {
            Ok(()) => {}
            Err(error) if later.len() < LATER_MAX => {
                tracing::warn!(%error, "a notice cannot be put into the outbox; it is tried again");
                later.spawn(again(gateway.clone(), occurrence));
            }
            Err(error) => given_up(&gateway, &occurrence, &error),
        }
        heard.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Not before another gateway's claim on the same notice, or our own, has run out.
async fn again(gateway: Arc<Gateway>, occurrence: Occurrence) {
    let mut last = None;
    for after in AGAIN {
        tokio::time::sleep(after).await;
        match write(&gateway, &occurrence).await {
            Ok(()) => return,
            Err(error) => last = Some(error),
        }
    }
    if let Some(error) = last {
        given_up(&gateway, &occurrence, &error);
    }
}

fn given_up(gateway: &Gateway, occurrence: &Occurrence, error: &StoreError) {
    let about = occurrence.about.word();
    tracing::error!(%error, about, "an account's owner was not told");
    gateway.metrics.notice(about, "failed");
    gateway.notices.forget(&occurrence.account, &occurrence.quiet.key);
}

/// One occurrence, to all contacts, at once.
async fn write(gateway: &Gateway, occurrence: &Occurrence) -> Result<(), StoreError> {
    let account = &occurrence.account;
    let about = occurrence.about.word();
    let contacts = contacts::all(gateway, occurrence).await?;
    let channels = gateway.notices.channels;
    let contacts: Vec<Contact> = contacts
        .into_iter()
        .filter(|contact| match contact {
            Contact::Sms { .. } => channels.sms,
            Contact::Mail { .. } => channels.mail,
        })
        .take(CONTACTS_MAX)
        .collect();
    let live = gateway.live.load();
    let site = occurrence.site.clone().or_else(|| {
        let own = |site: &&Arc<Site>| *site.identifier.group() == *account.group;
        live.sites().filter(own).min_by(|a, b| a.name.cmp(&b.name)).cloned()
    });
    let (Some(site), false) = (site, contacts.is_empty()) else {
        gateway.metrics.notice(about, "nobody");
        // There may be somebody soon.
        let soon = occurrence.at.plus_ms(MINUTE_MS);
        gateway.notices.told.insert((account.clone(), occurrence.quiet.key.clone()), soon);
        return Ok(());
    };
    let now = gateway.clock.now();
    let notice = Notice {
        about: occurrence.about.clone(),
        at: occurrence.at,
        site: site.pages.name(site.name.as_str()).into(),
        place: occurrence.place.clone(),
        device: occurrence.device.clone(),
    };
    let id = random_id(&*gateway.entropy);
    let until = now.plus_ms(not_me::KEPT_MS);
    let link = format!("{}{}/not-me/{id}", site.address, crate::answer::PREFIX);
    let record = NotMe { account: account.clone(), notice, until, used: None };
    not_me::keep(gateway, &id, &record, now).await?;
    let letters = contacts
        .iter()
        .map(|contact| NoticeLetter {
            sealed: letter(gateway, &site.pages, contact, occurrence.language, &record, &link),
            charge: charge(gateway, occurrence, contact),
            urgent: occurrence.about.is_urgent(),
        })
        .collect();
    let expires = now.plus_ms(DAY_MS);
    let quiet = occurrence.quiet.clone();
    let left_out = match gateway.store.notify(account, quiet, letters, expires, now).await? {
        Notified::Quiet => {
            gateway.metrics.notice(about, "quiet");
            return Ok(());
        }
        Notified::OverBudget => (0..contacts.len()).collect(),
        Notified::Queued { left_out } => {
            gateway.outbox.notify_one();
            left_out
        }
    };
    if !left_out.is_empty() {
        gateway.metrics.notice(about, "over_budget");
        tracing::warn!(about, "there is no budget for the text message of a notice");
    }
    let told = |(place, contact): (usize, &Contact)| {
        (!left_out.contains(&place)).then_some(contact.word())
    };
    let ways: Vec<&str> = contacts.iter().enumerate().filter_map(told).collect();
    if ways.is_empty() {
        // Not said, so that it may be said again, but not asked for again at once.
        let soon = now.plus_ms(MINUTE_MS);
        gateway.notices.told.insert((account.clone(), occurrence.quiet.key.clone()), soon);
    } else {
        gateway.metrics.notice(about, "queued");
    }
    let (event, note) = match (&*ways, &*left_out) {
        ([], _) => (Event::MessageLost, format!("{about}: no budget for a text message")),
        (_, []) => (Event::OwnerTold, format!("{about}: told by {}", ways.join(", "))),
        _ => {
            let ways = ways.join(", ");
            (Event::OwnerTold, format!("{about}: told by {ways}; no budget for a text message"))
        }
    };
    let mut line = Record::new(now, event).of_account(account).with_note(note);
    line.site = Some(site.name.clone());
    gateway.audit.note(line);
    Ok(())
}

/// What a letter is counted against, if it costs anything. An urgent one to an enrolled number has meters of its own,
/// which nobody can fill by asking for codes; one to a number that only a token claims never has.
fn charge(gateway: &Gateway, occurrence: &Occurrence, contact: &Contact) -> Option<Charge> {
    let Contact::Sms { number, enrolled, .. } = contact else { return None };
    let (budget, account, client) = (&gateway.budget, &occurrence.account, occurrence.client);
    let NumberKey(key) = gateway.number_key(number);
    let none = Charge::from(NumberKey(key.clone()));
    Some(match occurrence.about.is_urgent() && *enrolled {
        true => Charge {
            // Of each kind by itself: whoever has an account locked over and over uses up no word of a changed factor.
            number: NumberKey(format!("{key}:{}", occurrence.about.word())),
            meters: budget.urgent_meters(account, number),
            ..none
        },
        false => Charge {
            meters: budget.notice_meters(account, client, number),
            stops: budget.stops(client, number),
            ..none
        },
    })
}

/// The notice for one contact, sealed.
fn letter(
    gateway: &Gateway,
    pages: &Pages,
    contact: &Contact,
    language: Language,
    record: &NotMe,
    link: &str,
) -> Vec<u8> {
    match contact {
        Contact::Sms { number, language: own, .. } => {
            let text = pages.notice_sms(own.unwrap_or(language), &record.notice, link);
            sms::seal_text(&gateway.keyring, number.as_str(), &text)
        }
        Contact::Mail { address, language: own } => {
            let own = own.unwrap_or(language);
            let words = pages.notice_mail(own, &record.notice, link, record.until);
            let mail = Mail {
                id: random_id(&*gateway.entropy),
                to: Zeroizing::new(address.as_str().to_owned()),
                subject: words.subject,
                text: words.text.into(),
                html: words.html.into(),
            };
            sms::seal_mail(&gateway.keyring, mail)
        }
    }
}

/// The key of what a rule says of this transaction: a small one to an old address keeps nobody quiet about another.
pub(crate) fn of_rule(about: &About, rule: &RuleId, shown: &[Shown]) -> Quiet {
    let lines: Vec<&[u8]> =
        shown.iter().flat_map(|line| [line.name.as_bytes(), line.value.as_bytes()]).collect();
    let lengths: Vec<u8> = lines.iter().flat_map(|line| line.len().to_be_bytes()).collect();
    let digest = IntentDigest(sha256(&[&lengths, &lines.concat()])).hex();
    let of_transaction = digest.get(..16).unwrap_or_default();
    quiet_of(about, &format!("{rule}:{of_transaction}"))
}

/// The key of a change of this factor.
pub(crate) fn of_factor(about: &About, factor: Factor) -> Quiet {
    quiet_of(about, &format!("{}:{}", about.sentence(), factor.word()))
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Notices of one account in a day: what somebody can bring about who only has its password.
const LESS_URGENT_MAX: u32 = 12;
/// And with what its owner must know whatever else was said.
const URGENT_MAX: u32 = 40;
const QUEUE_MAX: usize = 1024;
/// Entries, each of two short names.
const TOLD_MAX: u64 = 16_384;
/// Notices that wait for a store to come back.
const LATER_MAX: usize = 256;
const AGAIN: [Duration; 3] =
    [Duration::from_secs(31), Duration::from_secs(60), Duration::from_secs(180)];
const SETTLED_POLL: Duration = Duration::from_millis(5);
const SETTLED_MAX: Duration = Duration::from_secs(2);
/// Phone and mail, before and after a change.
const CONTACTS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(number: usize, about: About) -> Occurrence {
        let account = AccountId::new("main", &*format!("a{number}"));
        let quiet = quiet_of(&about, "");
        Occurrence::new(account, about, quiet, UnixMs(0))
    }

    #[tokio::test]
    async fn a_freeze_never_stands_behind_sign_ins_that_somebody_makes_up() {
        let channels = Channels { sms: true, mail: true };
        let (teller, mut heard) = Teller::new(channels, Arc::new(Metrics::default()));
        for number in 0..QUEUE_MAX + 50 {
            teller.tell(occurrence(number, About::RemoteLogin));
        }
        teller.tell(occurrence(7, About::Locked));
        assert_eq!(heard.next().await.map(|it| it.about.word()), Some("locked"));
        assert_eq!(heard.next().await.map(|it| it.about.word()), Some("remote_login"));
        teller.tell(occurrence(8, About::Thawed));
        assert_eq!(heard.next().await.map(|it| it.about.word()), Some("thawed"));
    }
}
