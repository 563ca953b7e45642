//! The sentences about guarded requests: begin, abandon, settle, recover.
//!
//! Never forwards or decides. Invariant: a beginning that nobody heard of is given back, and an end that the store did
//! not hear of is told again until it has.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::account::Account;
use super::asking::{flag, read_challenge, said};
use super::keys::{NODES, TAGS, account_text, credential_text, join, tag_of};
use super::ledger::{limbs, totals};
use super::reply::{Reply, corrupt, list, next, number, text};
use super::tasks::Again;
use super::{Redis, scripts};
use crate::policy::facts::{AddressFacts, HoldRunning};
use crate::stepup::redeem;
use crate::store::moved::ADDRESS_KEPT_MS;
use crate::store::{Begin, Begun, Consult, Consulted, Learn, Orphan, Settled, StoreError};
use crate::types::{AccountId, AttemptId, RuleId, UnixMs};

/// Gives back a beginning whose caller left, or heard no answer.
struct Unheard<'a> {
    store: &'a Redis,
    begun: Option<(AttemptId, AccountId, UnixMs)>,
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        let Some((attempt, account, now)) = self.begun.take() else { return };
        self.store.tasks.tell_unheard(abandoning(&attempt, &account, &[], true, now));
    }
}

fn abandoning(
    attempt: &AttemptId,
    account: &AccountId,
    holds: &[RuleId],
    unheard: bool,
    now: UnixMs,
) -> Again {
    let args = vec![
        account_text(account),
        attempt.as_str().into(),
        join(holds.iter().map(RuleId::as_str)),
        flag(unheard),
    ];
    Again { script: &scripts::ABANDON, tag: tag_of(account), now, args }
}

impl Redis {
    pub(super) async fn do_begin(&self, begin: Begin, now: UnixMs) -> Result<Begun, StoreError> {
        let account = begin.account.clone();
        let mut unheard =
            Unheard { store: self, begun: Some((begin.attempt.clone(), account.clone(), now)) };
        let has_destination = begin.destination.is_some();
        let args = begin_args(begin, &self.shared.node, now)?;
        let asked = Instant::now();
        let reply = self.shared.ask_of(&scripts::BEGIN, &account, args, now).await?;
        // This process, or this task, stood still: meanwhile the account may have been frozen.
        let deadline = self.shared.link.deadline();
        if asked.elapsed() > deadline.max(HEARD_WITHIN) {
            return Err(StoreError::Deadline(deadline.as_millis() as u64));
        }
        let (word, mut rest) = said(reply)?;
        if word == "taken" {
            unheard.begun = None; // it is another's
            return Err(StoreError::Unavailable("this attempt has begun before".to_owned()));
        }
        let found = Account::read(&next(&mut rest)?.fields()?)?;
        let freezes = found.freezes;
        let standing = found.standing(next(&mut rest)?, &self.shared.limits, now)?;
        let counters = totals(&next(&mut rest)?.fields()?, now)?;
        let address = next(&mut rest)?.present().map(Reply::bytes).transpose()?;
        let address =
            has_destination.then(|| address_facts(address.as_deref(), now)).transpose()?;
        let holds = next(&mut rest)?.present().map_or(Ok(Vec::new()), Reply::bytes)?;
        let holds = holds_running(&holds, freezes, now)?;
        let granted = next(&mut rest)?.present().map(read_challenge).transpose()?;
        let open = next(&mut rest)?.present().map(read_challenge).transpose()?;
        let proof = granted.and_then(|granted| redeem(granted, now).ok()).map(|(_, proof)| proof);
        unheard.begun = None;
        Ok(Begun { standing, counters, address, holds, proof, open })
    }

    pub(super) async fn do_consult(
        &self,
        consult: Consult,
        now: UnixMs,
    ) -> Result<Consulted, StoreError> {
        let Consult { account, credential, intent, destination } = consult;
        let has_destination = destination.is_some();
        let args = vec![
            account_text(&account),
            credential_text(&credential),
            intent.hex().into_bytes(),
            destination.map_or(Vec::new(), |known| format!("={known}").into_bytes()),
        ];
        let reply = self.shared.ask(&scripts::CONSULT, tag_of(&account), now, args).await?;
        let mut rest = reply.list()?;
        let found = Account::read(&next(&mut rest)?.fields()?)?;
        let freezes = found.freezes;
        let standing = found.standing(next(&mut rest)?, &self.shared.limits, now)?;
        let counters = totals(&next(&mut rest)?.fields()?, now)?;
        let address = next(&mut rest)?.present().map(Reply::bytes).transpose()?;
        let address =
            has_destination.then(|| address_facts(address.as_deref(), now)).transpose()?;
        let holds = next(&mut rest)?.present().map_or(Ok(Vec::new()), Reply::bytes)?;
        let holds = holds_running(&holds, freezes, now)?;
        Ok(Consulted { standing, counters, address, holds })
    }

    pub(super) async fn do_abandon(
        &self,
        attempt: &AttemptId,
        account: &AccountId,
        holds: &[RuleId],
        now: UnixMs,
    ) -> Result<(), StoreError> {
        self.tell(abandoning(attempt, account, holds, false, now)).await
    }

    pub(super) async fn do_settle(
        &self,
        attempt: &AttemptId,
        account: &AccountId,
        settled: Settled,
        learn: Option<Learn>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let settled = match settled {
            Settled::Done => "done",
            Settled::Refused => "refused",
            Settled::Unknown => "unknown",
        };
        let (learnt, destination) = match &learn {
            None => ("", ""),
            Some(Learn::Added { destination }) => ("added", &**destination),
            Some(Learn::Removed { destination }) => ("removed", &**destination),
            Some(Learn::Used { destination }) => ("used", &**destination),
        };
        let words = [attempt.as_str(), settled, learnt, destination];
        let mut args = vec![account_text(account)];
        args.extend(words.map(|word| word.as_bytes().to_vec()));
        self.tell(Again { script: &scripts::SETTLE, tag: tag_of(account), now, args }).await
    }

    /// Tells the store how something ended, and again later if it does not hear.
    async fn tell(&self, end: Again) -> Result<(), StoreError> {
        let answer = self.shared.ask(end.script, end.tag, end.now, end.args.clone()).await;
        if answer.is_err() {
            self.tasks.tell_again(end);
        }
        answer.map(drop)
    }

    /// Attempts of gateways that have gone. One that only seems so (its sign of life was lost with a server, say) has
    /// half a minute to show itself.
    pub(super) async fn do_recover(&self, now: UnixMs) -> Result<Vec<Orphan>, StoreError> {
        let tags: Vec<u16> = (0..TAGS).collect();
        let mut sending = Vec::new();
        let ask = |tag: &u16| self.shared.ask(&scripts::SENDING, *tag, now, Vec::new());
        for (tag, reply) in each(&tags, ask).await? {
            for attempt in reply.list()? {
                let mut parts = attempt.list()?;
                let (id, node) = (next(&mut parts)?.text()?, next(&mut parts)?.text()?);
                sending.push((*tag, id, node, UnixMs(next(&mut parts)?.number()?)));
            }
        }
        let nodes: BTreeSet<&str> = sending.iter().map(|(_, _, node, _)| node.as_str()).collect();
        let words = self.shared.ask(&scripts::ALIVE, NODES, now, vec![join(&nodes)]).await?;
        let mut words_of = BTreeMap::new();
        for (node, word) in nodes.iter().zip(words.list()?) {
            words_of.insert(*node, word.present().map(Reply::text).transpose()?);
        }
        let mut orphans: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (tag, id, node, began) in &sending {
            let gone = match words_of.get(node.as_str()).and_then(Option::as_deref) {
                Some(word) => word == super::tasks::GONE,
                None => now.since_ms(*began) > ORPHAN_AGE_MS,
            };
            if gone {
                orphans.entry(*tag).or_default().push(id);
            }
        }
        let tags: Vec<u16> = orphans.keys().copied().collect();
        let take = |tag: &u16| {
            let ids = join(orphans.get(tag).into_iter().flatten());
            self.shared.ask(&scripts::ORPHAN, *tag, now, vec![ids])
        };
        let mut found = Vec::new();
        for (_, reply) in each(&tags, take).await? {
            for orphan in reply.list()? {
                let json = orphan.bytes()?;
                found.push(serde_json::from_slice(&json).map_err(|_| corrupt("an attempt"))?);
            }
        }
        Ok(found)
    }
}

/// Asks about every item, some at a time.
pub(super) async fn each<T, F: Future<Output = Result<Reply, StoreError>>>(
    items: &[T],
    ask: impl Fn(&T) -> F,
) -> Result<Vec<(&T, Reply)>, StoreError> {
    let mut replies = Vec::with_capacity(items.len());
    for some in items.chunks(AT_ONCE) {
        let mut asked: Vec<_> = some.iter().map(|item| Asked::Waits(Box::pin(ask(item)))).collect();
        // Each is polled once, so that all are on their way before the first is waited for.
        std::future::poll_fn(|context| {
            asked.iter_mut().for_each(|asked| asked.poll(context));
            Poll::Ready(())
        })
        .await;
        for (item, asked) in some.iter().zip(asked) {
            replies.push((item, asked.answer().await?));
        }
    }
    Ok(replies)
}

enum Asked<F> {
    Waits(Pin<Box<F>>),
    Answered(Result<Reply, StoreError>),
}

impl<F: Future<Output = Result<Reply, StoreError>>> Asked<F> {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Self::Waits(waits) = self
            && let Poll::Ready(answer) = waits.as_mut().poll(context)
        {
            *self = Self::Answered(answer);
        }
    }
    async fn answer(self) -> Result<Reply, StoreError> {
        match self {
            Self::Waits(waits) => waits.await,
            Self::Answered(answer) => answer,
        }
    }
}

fn begin_args(begin: Begin, node: &str, now: UnixMs) -> Result<Vec<Vec<u8>>, StoreError> {
    let destination = begin.destination.map_or(String::new(), |known| format!("={known}"));
    let price = limbs(begin.usd);
    let who = Orphan {
        attempt: begin.attempt,
        site: begin.site,
        account: begin.account,
        credential: begin.credential,
        action: begin.action,
        intent: begin.intent,
        began: now,
    };
    Ok(vec![
        who.attempt.as_str().into(),
        credential_text(&who.credential),
        who.intent.hex().into_bytes(),
        who.action.as_str().into(),
        price.into_bytes(),
        destination.into_bytes(),
        serde_json::to_vec(&who).map_err(|_| corrupt("an attempt"))?,
        node.into(),
    ])
}

fn address_facts(known: Option<&[u8]>, now: UnixMs) -> Result<AddressFacts, StoreError> {
    let unknown = AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 };
    let Some(known) = known else { return Ok(unknown) };
    let (added, verified, touched) = address_of(known)?;
    if now >= touched.plus_ms(ADDRESS_KEPT_MS) {
        return Ok(unknown);
    }
    let (age_ms, idle_ms) = (now.since_ms(added), now.since_ms(touched));
    Ok(AddressFacts { known: true, verified, age_ms, idle_ms })
}

/// `<added> <verified> <touched>`.
pub(super) fn address_of(known: &[u8]) -> Result<(UnixMs, bool, UnixMs), StoreError> {
    let numbers = text(known)?.split(' ').map(|part| number(part.as_bytes()));
    match numbers.collect::<Result<Vec<_>, _>>()?.as_slice() {
        [added, verified, touched] => Ok((UnixMs(*added), *verified == 1, UnixMs(*touched))),
        _ => Err(corrupt("an address")),
    }
}

/// The round of freezes that they began in, then rule and time by turns.
fn holds_running(stored: &[u8], freezes: i64, now: UnixMs) -> Result<Vec<HoldRunning>, StoreError> {
    let items = list(stored)?;
    let Some((round, holds)) = items.split_first() else { return Ok(Vec::new()) };
    if number(round)? != freezes {
        return Ok(Vec::new());
    }
    let mut running = Vec::new();
    for hold in holds.chunks(2) {
        let [rule, since] = hold else { return Err(corrupt("a hold")) };
        let since = UnixMs(number(since)?);
        if now < since.plus_ms(HOLD_KEPT_MS) {
            running.push(HoldRunning { rule: RuleId::new(text(rule)?), since });
        }
    }
    Ok(running)
}

const AT_ONCE: usize = 64;
/// How old the answer to a beginning may be, if the deadline is shorter.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
const ORPHAN_AGE_MS: u64 = 30_000;
pub(super) use crate::store::moved::HOLD_KEPT_MS;
