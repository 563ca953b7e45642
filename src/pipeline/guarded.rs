//! A guarded action: classify the body, begin in the store, decide, redeem or ask, record, forward, settle.
//!
//! Never forwards without a durable record, never retries, never forwards twice. Invariant: between `begin` and
//! `settle` the attempt is `sending` in the store, so that a crash leaves it `unknown` and nothing is sent again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::facts::Surroundings;
use super::socket::{Frame, Sending};
use super::visit::Closing;
use super::{BODY_BYTES_MAX, End, Visit, ask};
use crate::answer::{self, fate};
use crate::audit::{Event, Record};
use crate::body::Body;
use crate::classify::{Action, ActionRule, Intent};
use crate::clearance::Cleared;
use crate::crypto::sha256;
use crate::forward::{ForwardError, Stamp};
use crate::gateway::{Gateway, Site, Worker};
use crate::identify::Identity;
use crate::observe::{self, Outcome};
use crate::pages;
use crate::policy::facts::{Decimal, Fact};
use crate::policy::verdict::{ACCOUNT_THAW, Decision, FACTOR_CHANGE, Requirement, Said, Verdict};
use crate::prices::decimal;
use crate::rejection::Rejection;
use crate::stepup::Proof;
use crate::stepup::fate::Fate;
use crate::stepup::notice::{About, FrozenBy};
use crate::store::{Begin, Begun, Learn, Settled, attempt_of, destination_key};
use crate::suspended;
use crate::types::{
    AccountId, ActionName, AttemptId, ChallengeId, Fields, IntentDigest, RuleId, Shown, UnixMs,
};

/// A guarded action as far as the body tells.
struct Attempt<'a> {
    id: AttemptId,
    rule: Option<&'a ActionRule>,
    action: Action,
    intent: IntentDigest,
    identity: Arc<Identity>,
    body: Bytes,
    usd: Vec<Fact<Decimal>>,
    floor: Floor,
}

/// What is asked whatever the policy says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    Nothing,
    /// The pack wants every write that no action names to be asked about.
    Unlisted,
    /// A change of the account's own factors: one of those that it has.
    Factors,
    /// The end of a freeze: a strong one. The only thing that a frozen account may begin.
    Thaw,
}

impl Floor {
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Factors | Self::Thaw)
    }
}

/// What the gateway carries out itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Factors,
    Thaw,
}

/// What the gateway does itself, once that was cleared and recorded. The status of its answer says how it ended, as an
/// exchange's would.
pub(crate) type Deed =
    Box<dyn FnOnce(Cleared) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send>;

/// Runs a guarded action to its end.
pub(super) async fn run(
    worker: &Arc<Worker>,
    visit: &Visit,
    rule: Option<&ActionRule>,
    body: Bytes,
    identity: Arc<Identity>,
    must_ask: bool,
) -> Result<Response<Body>, End> {
    visit.saw(&body);
    let floor = if must_ask { Floor::Unlisted } else { Floor::Nothing };
    let attempt = read(visit, rule, body, identity, floor)?;
    go(worker, visit, attempt, None).await
}

/// The same for what the gateway carries out itself.
pub(crate) async fn within(
    worker: &Arc<Worker>,
    visit: &Visit,
    (own, action): (Own, Action),
    body: Bytes,
    identity: Arc<Identity>,
    deed: Deed,
) -> Result<Response<Body>, End> {
    let intent = action.intent.digest(&identity.account, &identity.credential);
    let attempt = Attempt {
        id: attempt_of(&visit.head.request),
        rule: None,
        usd: vec![Fact::Absent; action.elements.len()],
        action,
        intent,
        identity,
        body,
        floor: match own {
            Own::Factors => Floor::Factors,
            Own::Thaw => Floor::Thaw,
        },
    };
    go(worker, visit, attempt, Some(deed)).await
}

async fn go(
    worker: &Arc<Worker>,
    visit: &Visit,
    attempt: Attempt<'_>,
    deed: Option<Deed>,
) -> Result<Response<Body>, End> {
    let gateway = &worker.gateway;
    visit.acting(&attempt.action, &attempt.intent);
    let inline = answer::inline_code(&visit.head.headers)?;
    let (requirement, surroundings) = match decide(gateway, visit, &attempt).await? {
        Decided::Cleared(cleared) => {
            return forward(worker, visit, &attempt, *cleared, deed).await;
        }
        Decided::Ask(requirement, surroundings) => (requirement, surroundings),
    };
    let subject = ask::Subject {
        action: &attempt.action.name,
        intent: attempt.intent,
        shown: &attempt.action.shown,
        leaves: leaves(&attempt.action),
        body: &attempt.body,
        inline: inline.is_some(),
        floor: attempt.floor,
    };
    let identity = &attempt.identity;
    let challenge =
        ask::about_intent(worker, visit, &surroundings, identity, requirement, &subject).await?;
    let Some(code) = inline else { return Err(ask::answer_with(gateway, visit, &challenge)) };
    // The code came with the action: answer, then begin anew. The same checks and counters as the endpoint.
    answer::with_code(worker, visit, challenge, code).await?;
    let again = Attempt { id: AttemptId::new(format!("{}+", attempt.id)), ..attempt };
    match decide(gateway, visit, &again).await? {
        Decided::Cleared(cleared) => forward(worker, visit, &again, *cleared, deed).await,
        Decided::Ask(..) => {
            let why = "A twin of this request came at the same time and took the approval.";
            Err(Rejection::Denied { why: Some(why.into()) }.into())
        }
    }
}

/// The same for a held request: policy is asked again, the bytes are the ones that were held.
pub(crate) async fn release(
    worker: &Arc<Worker>,
    visit: &Visit,
    body: Bytes,
    identity: Arc<Identity>,
) -> Result<Response<Body>, End> {
    let head = &visit.head;
    let detected = visit.site.actions.detect_whole(head, &body).map_err(Rejection::from)?;
    let (rule, must_ask) = super::meant(visit, &detected)?;
    suspended::judge(&worker.gateway, visit, rule, true).await?;
    run(worker, visit, rule, body, identity, must_ask).await
}

/// Classifies the body: fields, shown transaction, intent.
fn read<'a>(
    visit: &Visit,
    rule: Option<&'a ActionRule>,
    body: Bytes,
    identity: Arc<Identity>,
    floor: Floor,
) -> Result<Attempt<'a>, Rejection> {
    let head = &visit.head;
    let action = match rule {
        Some(rule) => rule.read(head, &body)?,
        None => unlisted(visit, &body),
    };
    let usd = action.elements.iter().map(|fields| usd(visit, fields)).collect();
    let intent = action.intent.digest(&identity.account, &identity.credential);
    let id = attempt_of(&head.request);
    Ok(Attempt { id, rule, action, intent, identity, body, usd, floor })
}

/// A request that no action names but that must be asked about: its exact bytes are its intent. It keeps the name
/// under which rules speak about such requests, or the rule that asked would be silent here.
fn unlisted(visit: &Visit, body: &Bytes) -> Action {
    let head = &visit.head;
    let hex = IntentDigest(sha256(&[body])).hex();
    let media = header_text(&head.headers, &header::CONTENT_TYPE);
    let line: Arc<str> = format!("{} {}", head.method, head.target).into();
    Action {
        name: ActionName::new("ordinary"),
        elements: vec![Fields::default()],
        shown: vec![Shown { name: "request".into(), value: line }],
        intent: Intent {
            method: head.method.as_str().into(),
            authority: head.authority.to_lowercase().into(),
            path: head.path().into(),
            parameters: vec![
                ("body".to_owned(), hex),
                ("media".to_owned(), media),
                ("query".to_owned(), head.query().unwrap_or("").to_owned()),
            ],
        },
        answer: None,
    }
}

fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    headers.get(name).map_or_else(String::new, |value| format!("{value:?}"))
}

fn usd(visit: &Visit, fields: &Fields) -> Fact<Decimal> {
    let amount = match (fields.find("amount"), fields.text("amount")) {
        (None, _) => Fact::Absent,
        (_, Some(text)) => decimal(text).map_or(Fact::Unreadable, Fact::Known),
        (Some(_), None) => Fact::Unreadable,
    };
    let asset = fields.text("asset").map(|asset| &**asset);
    visit.site.prices.value(asset, amount, visit.head.received)
}

enum Decided<'a> {
    Cleared(Box<Cleared>),
    Ask(Requirement, Surroundings<'a>),
}

/// One round trip to the store, one decision.
async fn decide<'a>(
    gateway: &Gateway,
    visit: &'a Visit,
    attempt: &'a Attempt<'_>,
) -> Result<Decided<'a>, End> {
    let begun = begin(gateway, visit, attempt).await?;
    let Begun { standing, counters, address, holds, proof, .. } = begun;
    let surroundings =
        Surroundings::of_begun(visit, &attempt.identity, standing, counters, address, holds);
    if surroundings.frozen() && attempt.floor != Floor::Thaw {
        abandon(gateway, visit, attempt, Vec::new()).await?;
        return Err(Rejection::Frozen.into());
    }
    // Its body may have taken its time, and an operator's word was given meanwhile.
    if !attempt.floor.is_own()
        && let Err(end) = suspended::judge(gateway, visit, attempt.rule, true).await
    {
        abandon(gateway, visit, attempt, Vec::new()).await?;
        return Err(end);
    }
    let facts: Vec<_> = attempt
        .action
        .elements
        .iter()
        .zip(&attempt.usd)
        .map(|(fields, usd)| surroundings.element(&attempt.action.name, fields, *usd))
        .collect();
    let decision = visit.site.policy.decide(&facts);
    let unlisted = attempt.floor == Floor::Unlisted;
    let decision = if unlisted { decision.asked_at_least() } else { decision };
    if let Some(candidate) = &visit.site.candidate {
        let observed = candidate.of_guarded(&facts, &decision.verdict, unlisted);
        visit.observed(&decision.verdict, &observed);
    }
    let decision = match attempt.floor {
        Floor::Factors => {
            let standing = surroundings.standing();
            let waits = ask::claim_waits(standing, &attempt.identity, visit.head.received);
            if let Some(until) = waits {
                let why = Some(visit.site.pages.too_young(visit.language()).into());
                abandon(gateway, visit, attempt, Vec::new()).await?;
                return Err(Rejection::Held { until, why }.into());
            }
            let has = ask::factors_to_change(gateway, visit, standing, &attempt.identity);
            // Where none of them works any more nobody can give one, and an operator has to help.
            let has = if has.is_empty() { standing.enrolled } else { has };
            decision.asking_for_one_of(has, FACTOR_CHANGE)
        }
        Floor::Thaw => {
            let strong = ask::factors_to_thaw(visit, surroundings.standing());
            if strong.is_empty() {
                abandon(gateway, visit, attempt, Vec::new()).await?;
                let why = visit.site.pages.no_thaw(visit.language(), false);
                return Err(Rejection::Denied { why: Some(why.into()) }.into());
            }
            decision.asking_for_one_of(strong, ACCOUNT_THAW)
        }
        Floor::Nothing | Floor::Unlisted => decision,
    };
    visit.decided(&decision);
    let action = &attempt.action;
    visit.tell_of_rules(gateway, &decision, Some(&action.name), &action.shown);
    visit.decided_on(&facts);
    drop(facts);
    let Decision { verdict, said, .. } = decision;
    match verdict {
        Verdict::Allow(permit) => {
            let body = Body::whole(attempt.body.clone());
            let cleared = Cleared::by_permit(permit, visit.head.clone(), body);
            surroundings.became_known(gateway);
            Ok(Decided::Cleared(Box::new(cleared)))
        }
        Verdict::Require(requirement) => match clear(visit, attempt, &requirement, proof) {
            Some(cleared) => {
                surroundings.became_known(gateway);
                Ok(Decided::Cleared(Box::new(cleared)))
            }
            None => {
                abandon(gateway, visit, attempt, Vec::new()).await?;
                Ok(Decided::Ask(requirement, surroundings))
            }
        },
        Verdict::Hold { until, why, starts } => {
            abandon(gateway, visit, attempt, starts).await?;
            Err(Rejection::Held { until, why }.into())
        }
        Verdict::Deny { why } => {
            abandon(gateway, visit, attempt, Vec::new()).await?;
            Err(Rejection::Denied { why }.into())
        }
        Verdict::Freeze { .. } => {
            abandon(gateway, visit, attempt, Vec::new()).await?;
            freeze(gateway, visit, &attempt.identity, &said).await?;
            Err(Rejection::Frozen.into())
        }
    }
}

fn clear(
    visit: &Visit,
    attempt: &Attempt<'_>,
    requirement: &Requirement,
    proof: Option<Proof>,
) -> Option<Cleared> {
    let proof = proof?;
    visit.redeemed(&proof);
    let (head, body) = (visit.head.clone(), Body::whole(attempt.body.clone()));
    Cleared::by_proof(requirement, proof, attempt.intent, head, body).ok()
}

async fn begin(gateway: &Gateway, visit: &Visit, attempt: &Attempt<'_>) -> Result<Begun, End> {
    let destination = destination(&attempt.action);
    let usd = attempt.usd.iter().try_fold(Decimal::ZERO, |sum, usd| match usd {
        Fact::Known(usd) => Some(sum + *usd),
        Fact::Absent => Some(sum),
        Fact::Unreadable => None,
    });
    let begin = Begin {
        attempt: attempt.id.clone(),
        site: visit.site.name.clone(),
        account: attempt.identity.account.clone(),
        credential: attempt.identity.credential.clone(),
        action: attempt.action.name.clone(),
        intent: attempt.intent,
        usd,
        destination,
    };
    let started = Instant::now();
    let begun = gateway.store.begin(begin, visit.head.received).await;
    gateway.metrics.store_took(started.elapsed());
    begun.map_err(|error| visit.store_failed(&error).into())
}

async fn abandon(
    gateway: &Gateway,
    visit: &Visit,
    attempt: &Attempt<'_>,
    starts: Vec<RuleId>,
) -> Result<(), End> {
    let abandoned = gateway
        .store
        .abandon(attempt.id.clone(), &attempt.identity.account, starts, visit.head.received)
        .await;
    abandoned.map_err(|error| visit.store_failed(&error).into())
}

/// Freezes the account because a rule said so, everywhere and at once.
pub(super) async fn freeze(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Identity,
    said: &[Said],
) -> Result<(), End> {
    let rule = said.iter().find(|said| said.outcome == "freeze" && !said.shadow);
    let by: Arc<str> = rule.map_or("rule".into(), |said| format!("rule:{}", said.rule).into());
    gateway
        .store
        .freeze(&identity.account, by.clone(), visit.head.received)
        .await
        .map_err(|error| End::from(visit.store_failed(&error)))?;
    visit.note(gateway, Event::Frozen, |record| record.note = Some(by));
    visit.tell(gateway, About::Frozen { by: FrozenBy::Rule });
    Ok(())
}

/// The one destination. With several, none: their address facts are then unreadable, and strict rules apply.
pub(crate) fn destination(action: &Action) -> Option<Arc<str>> {
    let mut keys = action.elements.iter().map(|fields| {
        observe::destination(fields)
            .map(|(asset, network, address)| destination_key(asset, network, &address))
    });
    let first = keys.next()??;
    keys.all(|key| key.as_ref() == Some(&first)).then_some(first)
}

/// Whether value would go to one destination. What changes the address book itself sends nothing there.
fn leaves(action: &Action) -> bool {
    !action.name.as_str().starts_with("address_book.") && destination(action).is_some()
}

/// Record, send, observe, settle: in a task of its own that runs to its end even if the client goes away, so that
/// nothing stays reserved or half recorded for a client that hung up.
async fn forward(
    worker: &Arc<Worker>,
    visit: &Visit,
    attempt: &Attempt<'_>,
    cleared: Cleared,
    deed: Option<Deed>,
) -> Result<Response<Body>, End> {
    let (gateway, decided) = (&worker.gateway, Instant::now());
    // A message has no header that the assertion could stand in, and a deed no upstream that would read it.
    let assertion = match (&visit.frame, &deed) {
        (None, None) => visit.assertion(gateway, &attempt.identity, cleared.factors),
        _ => None,
    };
    let stamp = visit.stamp(assertion, true);
    let rules = visit.site.actions.rules();
    let ending = Ending {
        worker: worker.clone(),
        site: visit.site.clone(),
        closing: visit.closing(),
        attempt: attempt.id.clone(),
        account: attempt.identity.account.clone(),
        learn: learn(&attempt.action),
        rule: attempt.rule.and_then(|rule| rules.iter().position(|it| std::ptr::eq(it, rule))),
        decided,
        told_at: visit.told_at(),
        authority: visit.head.authority.clone(),
        own: deed.is_some(),
    };
    let intent = visit.intent(gateway, cleared.factors);
    let ended = match (deed, visit.frame.as_ref().map(Frame::sending)) {
        (Some(deed), _) => visit.tasks.spawn(ending.run(intent, cleared, Way::Within(deed))).await,
        (None, None) => visit.tasks.spawn(ending.run(intent, cleared, Way::Request(stamp))).await,
        (None, Some(sending)) => {
            let (told, sent) = oneshot::channel();
            let way = Way::Message(sending, told);
            let task = visit.tasks.spawn(ending.run(intent, cleared, way));
            if sent.await.is_ok() {
                // The answer finds its way to the client by itself; the next message need not wait for it.
                return Ok(Response::new(Body::empty()));
            }
            task.await
        }
    };
    match ended {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Failed::Unsent(why))) => Err(Rejection::Unavailable(why).into()),
        Ok(Err(Failed::Upstream(error))) => Err(visit.upstream_failed(&error, true).into()),
        // The task panicked: whether anything was sent is not known, and the record says so after a restart.
        Err(_) => Err(Rejection::NoAnswer { unknown: true }.into()),
    }
}

/// How a cleared request goes upstream, or is done here.
enum Way {
    Request(Stamp),
    Within(Deed),
    /// As a message; it is told when that has been sent, long before its answer is there.
    Message(Sending, oneshot::Sender<()>),
}

/// Why a cleared request has no answer.
enum Failed {
    /// Nothing was sent.
    Unsent(&'static str),
    Upstream(ForwardError),
}

/// What was decided is carried out at once or not at all: where a process stood still in between, its owner may have
/// frozen the account, and another gateway may have written the attempt off.
fn in_time(decided: Instant, now: Instant) -> Result<(), &'static str> {
    match now.saturating_duration_since(decided) > DECIDED_KEPT {
        true => Err("the gateway stood still after it had decided"),
        false => Ok(()),
    }
}

const DECIDED_KEPT: Duration = Duration::from_secs(5);

/// What is left to do once the upstream has answered, or has not.
struct Ending {
    worker: Arc<Worker>,
    site: Arc<Site>,
    closing: Closing,
    attempt: AttemptId,
    account: AccountId,
    learn: Option<Learn>,
    /// Place of the action's rule in the site's pack; none for a write that no action names.
    rule: Option<usize>,
    decided: Instant,
    /// The challenge whose page tells what became of it; true if it tells already that it is on its way.
    told_at: Option<(ChallengeId, bool)>,
    authority: Arc<str>,
    /// The gateway does it itself.
    own: bool,
}

impl Ending {
    /// No record, no forward; nor after a stop of the process in between.
    async fn run(
        self,
        intent: Record,
        cleared: Cleared,
        way: Way,
    ) -> Result<Response<Body>, Failed> {
        let gateway = &self.worker.gateway;
        let recorded = gateway.audit.commit(intent).await.map_err(|error| {
            tracing::error!(%error, "no record, no forward");
            "the audit log cannot be written"
        });
        if let Err(why) = recorded.and_then(|()| in_time(self.decided, Instant::now())) {
            tracing::error!(why, "nothing was sent");
            let now = gateway.clock.now();
            if let Err(error) =
                gateway.store.abandon(self.attempt.clone(), &self.account, Vec::new(), now).await
            {
                tracing::error!(%error, "what was reserved stays so until the next start");
            }
            self.closing.unsent(gateway, now);
            return Err(Failed::Unsent(why));
        }
        if let Some((challenge, false)) = &self.told_at {
            let sending = Fate::Sending { since: gateway.clock.now() };
            fate::keep_if_possible(gateway, challenge, &sending).await;
        }
        let started = Instant::now();
        let sent = match way {
            // Nothing goes upstream.
            Way::Within(deed) => {
                let done = deed(cleared).await;
                return self.finish(Ok(done)).await.map_err(Failed::Upstream);
            }
            Way::Request(stamp) => {
                self.worker.pool.forward(&self.site.upstream, cleared, stamp).await
            }
            Way::Message(sending, told) => {
                // Nobody waits any more if the connection is gone.
                let tell = || {
                    let _ = told.send(());
                };
                sending.run(cleared, tell).await
            }
        };
        gateway.metrics.upstream_took(&self.site.name, started.elapsed());
        self.finish(sent).await.map_err(Failed::Upstream)
    }

    async fn finish(
        self,
        sent: Result<Response<Body>, ForwardError>,
    ) -> Result<Response<Body>, ForwardError> {
        let gateway = &self.worker.gateway;
        let (settled, status, result) = match sent {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let (prefix, body) = peek(body).await;
                let settled = self.observe(parts.status.as_u16(), &prefix);
                (settled, Some(parts.status.as_u16()), Ok(Response::from_parts(parts, body)))
            }
            Err(error @ (ForwardError::NoAnswer(_) | ForwardError::BrokenBody)) => {
                (Settled::Unknown, None, Err(error))
            }
            Err(error) => (Settled::Refused, None, Err(error)),
        };
        let learn = self.learn.filter(|_| settled == Settled::Done);
        let now = gateway.clock.now();
        self.closing.outcome(gateway, settled, status, now).await;
        if let Err(error) =
            gateway.store.settle(self.attempt, &self.account, settled, learn, now).await
        {
            // The attempt stays `sending`; the next start reports it as unknown.
            tracing::error!(%error, "a finished attempt could not be settled");
        }
        if let Some((challenge, _)) = &self.told_at {
            let fate = match fate_of(&result, settled, &self.authority, now) {
                Fate::Accepted { at, .. } if self.own => Fate::Done { at },
                Fate::Refused { at, .. } if self.own => Fate::NotDone { at },
                fate => fate,
            };
            fate::keep_if_possible(gateway, challenge, &fate).await;
        }
        result
    }

    fn observe(&self, status: u16, prefix: &[u8]) -> Settled {
        let rule = self.rule.and_then(|at| self.site.actions.rules().get(at));
        let outcome = match rule {
            Some(rule) => observe::observe(rule, status, Some(prefix)),
            None if (400..500).contains(&status) => Outcome::Refused,
            None if status < 400 => Outcome::Accepted,
            None => Outcome::Unknown,
        };
        match outcome {
            Outcome::Accepted => Settled::Done,
            Outcome::Refused => Settled::Refused,
            Outcome::Unknown => Settled::Unknown,
        }
    }
}

/// What its owner will be told of it.
fn fate_of(
    sent: &Result<Response<Body>, ForwardError>,
    settled: Settled,
    authority: &str,
    at: UnixMs,
) -> Fate {
    let led_to = |response: &Response<Body>| fate::led_to(response.headers(), authority);
    let not_sent = |rejection| Fate::NotSent { at, why: pages::kind_of(&rejection).to_owned() };
    match (sent, settled) {
        (Ok(response), Settled::Done) => Fate::Accepted { at, led_to: led_to(response) },
        (Ok(response), Settled::Refused) => Fate::Refused { at, led_to: led_to(response) },
        (Ok(_), Settled::Unknown)
        | (Err(ForwardError::NoAnswer(_) | ForwardError::BrokenBody), _) => Fate::Unknown { at },
        (Err(ForwardError::Refused(why)), _) => not_sent(Rejection::BadRequest(why)),
        (Err(ForwardError::NotSent(_)), _) => not_sent(Rejection::BadGateway),
    }
}

/// The first 64 KiB of an answer for `observe`, and a body that still yields all of it.
pub(super) async fn peek(mut body: Body) -> (Bytes, Body) {
    let mut seen = Vec::new();
    while seen.len() < BODY_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => seen.extend_from_slice(&data),
                Err(_trailers) => break,
            },
            Some(Err(error)) => {
                let seen = Bytes::from(seen);
                return (seen.clone(), Body::after(seen, Body::broken(error)));
            }
            None => {
                let seen = Bytes::from(seen);
                return (seen.clone(), Body::whole(seen));
            }
        }
    }
    let seen = Bytes::from(seen);
    (seen.clone(), Body::after(seen, body))
}

/// What the address book learns if the exchange accepts.
fn learn(action: &Action) -> Option<Learn> {
    let destination = destination(action)?;
    match action.name.as_str() {
        "address_book.add" | "address_book.change" => Some(Learn::Added { destination }),
        "address_book.remove" => Some(Learn::Removed { destination }),
        "withdrawal" => Some(Learn::Used { destination }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_that_was_not_carried_out_at_once_is_not_carried_out_any_more() {
        let decided = Instant::now();
        assert!(in_time(decided, decided).is_ok());
        assert!(in_time(decided, decided + DECIDED_KEPT).is_ok());
        assert!(in_time(decided, decided + DECIDED_KEPT + Duration::from_millis(1)).is_err());
    }
}
