//! The life of a request: THE file to read first. One line per stage, in the order a request meets them.
//!
//! Never forwards anything that is not `Cleared`. Invariant: every error on the way to a decision on a guarded action
//! is a refusal; on the rest, traffic goes on.

mod ask;
mod caller;
mod facts;
mod guarded;
mod ids;
mod notify;
mod receive;
mod shadow;
mod socket;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::task::JoinError;

pub(crate) use ask::{Texted, blank, factors_to_thaw, text_code};
use caller::Caller;
pub use caller::LastCaller;
pub(crate) use facts::{geo_of, session_age_ms};
pub(crate) use guarded::{Deed, Own, destination, release, within};
pub(crate) use receive::request_id;
use receive::{Received, refuse};
pub(crate) use shadow::{Candidate, Lines};
pub(crate) use visit::Visit;

use crate::answer;
use crate::body::Body;
use crate::classify::{ActionRule, Detected, Unclassified};
use crate::clearance::Cleared;
use crate::forward::headers::{check_connection, check_names};
use crate::forward::upgrade::{self, Upgrade};
use crate::gateway::{Gateway, Worker};
use crate::identify::{IdentifyError, Identity};
use crate::listen::Connection;
use crate::observe;
use crate::pages::inject;
use crate::policy::verdict::{Permit, Verdict};
use crate::rejection::Rejection;
use crate::suspended;
use facts::Surroundings;
use socket::Tunnel;

/// A guarded body, a held request or an answer to a challenge may not be larger.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a story ends with when the request does not reach the upstream.
pub(crate) enum End {
    Answer(Response<Body>),
    Reject(Rejection),
}

impl From<Rejection> for End {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

/// Answers one request. What is answered on the gateway's own pages is done to its end even if the client goes away: a
/// factor that is changed is told of, and an approval is written down.
///
/// Not an `async fn`, as is nothing that every request goes through with something large: that would hold each argument
/// twice.
pub fn run(
    worker: &Arc<Worker>,
    request: Request<Incoming>,
    connection: &Arc<Connection<LastCaller>>,
) -> impl Future<Output = Response<Body>> + Send {
    let head = request.method() == Method::HEAD;
    async move {
        let mut response = match request.method().is_safe() || !answer::is_own(request.uri().path())
        {
            true => answered(worker, receive::receive(&worker.gateway, request, connection)).await,
            false => Box::pin(to_the_end(worker, request, connection)).await,
        };
        if head && matches!(response.body(), Body::Whole(_)) {
            // HTTP/1 drops it by itself; on HTTP/2 a body would break the stream (RFC 9110 §9.3.2).
            *response.body_mut() = Body::empty();
        }
        response
    }
}

/// The same in a task of its own.
async fn to_the_end(
    worker: &Arc<Worker>,
    request: Request<Incoming>,
    connection: &Arc<Connection<LastCaller>>,
) -> Response<Body> {
    let (worker, connection) = (worker.clone(), connection.clone());
    let (tasks, gateway) = (connection.tasks.clone(), worker.gateway.clone());
    let to_the_end = async move {
        answered(&worker, receive::receive(&worker.gateway, request, &connection)).await
    };
    done(tasks.spawn(to_the_end).await, || {
        let request = request_id(&gateway, gateway.clock.now());
        gateway.pages.bare(StatusCode::SERVICE_UNAVAILABLE, &request)
    })
}

/// What a task of its own came to. A panic is answered where those of all requests are; a task that the runtime
/// cancelled, as it does when it is made to stop, is nobody's fault and is not known to have done anything.
fn done<T>(task: Result<T, JoinError>, cancelled: impl FnOnce() -> T) -> T {
    match task.map_err(JoinError::try_into_panic) {
        Ok(response) => response,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => cancelled(),
    }
}

async fn answered(worker: &Arc<Worker>, received: Received) -> Response<Body> {
    let gateway = &worker.gateway;
    let _in_flight = gateway.metrics.in_flight();
    let (mut visit, body) = match received {
        Ok(received) => received,
        Err(early) => return receive::refuse_early(gateway, &early),
    };
    let mut body = Arriving::Stream(body);
    let into_page = visit.wants_script();
    let ended = story(worker, &mut visit, &mut body).await;
    let ended = match into_page && !visit.is_own() {
        true => ended.map(inject::into_page),
        false => ended,
    };
    if let Arriving::Stream(unread) = body {
        Box::pin(read_out(&visit, unread)).await;
    }
    visit.close(gateway, ended)
}

/// site → identify → locate → classify → (ordinary | guarded).
///
/// What is rare is boxed: a future is as large as its largest branch, and it is moved several times before it runs.
async fn story(
    worker: &Arc<Worker>,
    visit: &mut Visit,
    body: &mut Arriving,
) -> Result<Response<Body>, End> {
    let (head, site) = (&visit.head, &visit.site);
    if answer::is_own(head.path()) {
        return match body.take() {
            Arriving::Stream(body) => Box::pin(answer::own(worker, visit, body)).await,
            Arriving::Whole(_) | Arriving::Taken => Err(BODY_TAKEN.into()),
        };
    }
    if answer::resembles_own(head.path()) {
        return Err(Rejection::NotCanonical("nearly one of the gateway's own addresses").into());
    }
    let mut detected = site.actions.detect(&head.method, &head.target, &head.headers);
    if matches!(detected, Detected::Selected) {
        let bytes = Box::pin(body.take().collect(&worker.gateway)).await?;
        visit.saw(&bytes);
        detected = site.actions.select(head, &bytes).map_err(Rejection::from)?;
        *body = Arriving::Whole(bytes);
    }
    let (rule, must_ask) = meant(visit, &detected).inspect_err(|_| recognise(visit))?;
    let guarded =
        must_ask || rule.is_some_and(|rule| rule.guarded || site.policy.names(&rule.name));
    let identity = identify(visit, guarded).await?;
    if let Some(identity) = &identity {
        visit.identified(identity);
    }
    suspended::judge(&worker.gateway, visit, rule, guarded).await?;
    let learning = rule.filter(|_| identity.is_some()).and_then(|rule| Learning::of(visit, rule));
    let ended = if guarded {
        let identity =
            identity.ok_or(Rejection::Unauthenticated("this needs a valid session or API key"))?;
        Box::pin(whole(worker, visit, rule, body.take(), identity, must_ask)).await
    } else {
        let hold = rule.is_none() && visit.is_form();
        match decide(worker, visit, rule, identity.as_ref(), hold).await? {
            Decided::AboutThisOne(identity) => {
                Box::pin(whole(worker, visit, rule, body.take(), identity, false)).await
            }
            Decided::HoldThisOne(identity) => {
                Box::pin(hold_form(worker, visit, body.take(), identity)).await
            }
            Decided::Cleared(permit) => {
                if learning.is_some() {
                    // An answer in another coding would not be read.
                    visit.head.headers.remove(http::header::ACCEPT_ENCODING);
                }
                ordinary(worker, visit, permit, body.take().into(), identity).await
            }
        }
    };
    match learning {
        Some(learning) => Ok(Box::pin(learning.learn(&worker.gateway, visit, ended?)).await),
        None => ended,
    }
}

/// A request whose answer holds a credential of whoever asked.
struct Learning {
    member: Vec<String>,
    voucher: HeaderMap,
}

impl Learning {
    fn of(visit: &Visit, rule: &ActionRule) -> Option<Self> {
        let member = rule.learn.clone()?;
        let voucher = visit.site.identifier.voucher(&visit.head.headers);
        Some(Self { member, voucher })
    }

    async fn learn(
        self,
        gateway: &Gateway,
        visit: &Visit,
        response: Response<Body>,
    ) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let (prefix, body) = guarded::peek(body).await;
        if let Some(token) = observe::scalar_at(&prefix, &self.member) {
            let (tokens, head) = (gateway.tokens(&visit.site.name), &visit.head);
            let learnt = tokens.learn(&token, &self.voucher, head.client, head.received).await;
            if let Err(error) = learnt {
                tracing::warn!(%error, "a token cannot be kept and will be nobody's");
            }
        }
        Response::from_parts(parts, body)
    }
}

/// A request that is decided on with its whole body.
async fn whole(
    worker: &Arc<Worker>,
    visit: &Visit,
    rule: Option<&ActionRule>,
    body: Arriving,
    identity: Arc<Identity>,
    must_ask: bool,
) -> Result<Response<Body>, End> {
    forwardable(&visit.head.headers)?;
    let bytes = body.collect(&worker.gateway).await?;
    guarded::run(worker, visit, rule, bytes, identity, must_ask).await
}

/// A form that would pass if it came from where the account is at home: it waits for its owner like a guarded action.
/// What is too large to wait is asked about all the same, and the page says that it is not kept.
async fn hold_form(
    worker: &Arc<Worker>,
    visit: &Visit,
    body: Arriving,
    identity: Arc<Identity>,
) -> Result<Response<Body>, End> {
    match whole(worker, visit, None, body, identity.clone(), false).await {
        Err(End::Reject(Rejection::TooLarge)) => {
            match decide(worker, visit, None, Some(&identity), false).await {
                Ok(_) => Err(Rejection::TooLarge.into()),
                Err(end) => Err(end),
            }
        }
        ended => ended,
    }
}

/// The action that a request was detected as, and whether the pack wants it asked about because it has none.
fn meant<'a>(
    visit: &Visit,
    detected: &Detected<'a>,
) -> Result<(Option<&'a ActionRule>, bool), Rejection> {
    match detected {
        Detected::Ordinary => Ok((None, false)),
        Detected::Action(rule) => Ok((Some(*rule), false)),
        Detected::NotCanonical(why) => Err(Rejection::NotCanonical(why)),
        Detected::Selected => Err(Rejection::NotCanonical("no operation is named")),
        Detected::Unlisted { say, route, sensitive, .. } => {
            visit.unlisted(route, *say, *sensitive);
            match say {
                Unclassified::Allow => Ok((None, false)),
                Unclassified::Require => Ok((None, true)),
                Unclassified::Deny => Err(Rejection::Unclassified((*route).into())),
            }
        }
    }
}

/// Whose credential a request carries that is refused before anybody had to be asked, for the record: as far as memory
/// tells.
fn recognise(visit: &Visit) {
    let (head, identifier) = (&visit.head, &visit.site.identifier);
    let known = identifier.recall(&head.headers, head.query(), head.client, head.received);
    if let Some(Ok(Some(identity))) = known {
        visit.identified(&identity);
    }
}

/// Takes in what the client of a refused HTTP/2 request is still sending, within bounds. An answer that overtakes the
/// body it is about is followed by a reset of the stream, and some clients (curl among them) lose the answer over that.
async fn read_out(visit: &Visit, unread: Incoming) {
    if visit.head.version == http::Version::HTTP_2 {
        let rest = Limited::new(unread, BODY_BYTES_MAX).collect();
        let _ = tokio::time::timeout(READ_OUT, rest).await;
    }
}

const READ_OUT: Duration = Duration::from_secs(1);
const BODY_TAKEN: Rejection = Rejection::BadRequest("the body ended early");

/// A request's body: still to come, or read because a member of it says what the request is, or given away.
enum Arriving {
    Stream(Incoming),
    Whole(Bytes),
    Taken,
}

impl Arriving {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Taken)
    }

    async fn collect(self, gateway: &Gateway) -> Result<Bytes, Rejection> {
        match self {
            Self::Stream(body) => collect(gateway, body).await,
            Self::Whole(bytes) => Ok(bytes),
            Self::Taken => Err(BODY_TAKEN),
        }
    }
}

impl From<Arriving> for Body {
    fn from(body: Arriving) -> Self {
        match body {
            Arriving::Stream(body) => Self::stream(body),
            Arriving::Whole(bytes) => Self::whole(bytes),
            Arriving::Taken => Self::broken("the body was given away".into()),
        }
    }
}

/// What was decided about a request that no action guards.
enum Decided {
    Cleared(Permit),
    /// Some rule wants an approval of this very request: it is treated like a guarded action.
    AboutThisOne(Arc<Identity>),
    /// The same for a person's form of which nothing but an elevation is wanted: it is held meanwhile.
    HoldThisOne(Arc<Identity>),
}

/// locate → facts → decide, for a request that no action guards. A code in its header may elevate it on the way.
async fn decide(
    worker: &Arc<Worker>,
    visit: &Visit,
    rule: Option<&ActionRule>,
    identity: Option<&Arc<Identity>>,
    hold: bool,
) -> Result<Decided, End> {
    let (gateway, policy) = (&worker.gateway, &visit.site.policy);
    for _ in 0..2 {
        let surroundings = match identity {
            Some(identity) => Surroundings::of_account(gateway, visit, identity).await,
            None => Some(Surroundings::of_nobody(visit)),
        };
        let Some(surroundings) = surroundings else {
            // The store is down and the session verifies without it: ordinary traffic goes on.
            return Ok(Decided::Cleared(policy.permit_ordinary_without_store()));
        };
        if surroundings.frozen() && !visit.head.method.is_safe() {
            return Err(Rejection::Frozen.into());
        }
        let facts = [surroundings.ordinary(rule.map(|rule| &rule.name))];
        let decision = policy.decide(&facts);
        visit.decided(&decision);
        if identity.is_some() {
            visit.tell_of_rules(gateway, &decision, rule.map(|rule| &rule.name), &[]);
        }
        if let Some(candidate) = &visit.site.candidate {
            let [facts] = &facts;
            let observed =
                candidate.of_ordinary(facts, rule, &decision.verdict, identity.is_none());
            visit.observed(&decision.verdict, &observed);
        }
        if visit.leaves_a_line(gateway, &decision) {
            visit.decided_on(&facts);
        }
        match (decision.verdict, identity) {
            (Verdict::Allow(permit), _) => {
                surroundings.became_known(gateway);
                return Ok(Decided::Cleared(permit));
            }
            // Nobody is there to be asked, and nothing of anybody's is at stake: public pages stay reachable.
            (Verdict::Require(requirement), None) => {
                return Ok(Decided::Cleared(requirement.waive_for_nobody()));
            }
            (Verdict::Require(requirement), Some(identity))
                if hold && requirement.only_elevates() =>
            {
                return Ok(Decided::HoldThisOne(identity.clone()));
            }
            (Verdict::Require(requirement), Some(identity)) if requirement.only_elevates() => {
                Box::pin(ask::about_place(worker, visit, &surroundings, identity, requirement))
                    .await?;
            }
            (Verdict::Require(_), Some(identity)) => {
                return Ok(Decided::AboutThisOne(identity.clone()));
            }
            (Verdict::Hold { until, why, .. }, _) => {
                return Err(Rejection::Held { until, why }.into());
            }
            (Verdict::Deny { why }, _) => return Err(Rejection::Denied { why }.into()),
            (Verdict::Freeze { .. }, identity) => {
                if let Some(identity) = identity {
                    Box::pin(guarded::freeze(gateway, visit, identity, &decision.said)).await?;
                }
                return Err(Rejection::Frozen.into());
            }
        }
    }
    Err(Rejection::Denied { why: None }.into())
}

/// The same for a page of the gateway's own that shows something of the account.
pub(crate) async fn as_ordinary(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
) -> Result<(), End> {
    match decide(worker, visit, None, Some(identity), false).await? {
        Decided::Cleared(_) => Ok(()),
        Decided::AboutThisOne(_) | Decided::HoldThisOne(_) => {
            Err(Rejection::Denied { why: None }.into())
        }
    }
}

/// Who is asking. For a guarded action the answer is fresh and must be there.
pub(crate) async fn identify(visit: &Visit, guarded: bool) -> Result<Option<Arc<Identity>>, End> {
    identify_by(visit, &visit.head.headers, guarded).await
}

/// The same, by these headers.
async fn identify_by(
    visit: &Visit,
    headers: &HeaderMap,
    guarded: bool,
) -> Result<Option<Arc<Identity>>, End> {
    let (head, identifier) = (&visit.head, &visit.site.identifier);
    let recalled = (!guarded).then(|| {
        identifier.recall_on(
            visit.last_credentials(),
            headers,
            head.query(),
            head.client,
            head.received,
        )
    });
    let answer = match recalled.flatten() {
        Some(answer) => answer,
        None => {
            let (query, now) = (head.query(), head.received);
            Box::pin(identifier.identify(headers, query, head.client, guarded, now)).await
        }
    };
    match answer {
        Ok(identity) => Ok(identity),
        Err(IdentifyError::Conflict) => {
            Err(Rejection::BadRequest("two credentials name two accounts").into())
        }
        Err(IdentifyError::Ambiguous(why)) => Err(Rejection::BadRequest(why).into()),
        Err(IdentifyError::Invalid(why)) => Err(Rejection::Unauthenticated(why).into()),
        Err(IdentifyError::NetworkNotAllowed) => Err(Rejection::NetworkNotAllowed.into()),
        Err(IdentifyError::Unavailable) if guarded => {
            Err(Rejection::Unavailable("credentials cannot be checked right now").into())
        }
        Err(IdentifyError::Unavailable) => Ok(None),
    }
}

/// Forwards traffic that owes nothing: no record, no store, both bodies streamed.
async fn ordinary(
    worker: &Arc<Worker>,
    visit: &mut Visit,
    permit: Permit,
    body: Body,
    identity: Option<Arc<Identity>>,
) -> Result<Response<Body>, End> {
    if let Some(tunnel) = visit.take_upgrade() {
        return Box::pin(tunnelled(worker, visit, permit, body, (tunnel, identity))).await;
    }
    let stamp = visit.stamp(None, false);
    let cleared = Cleared::by_permit(permit, visit.part_with_head(), body);
    let sent = worker.pool.forward(&visit.site.upstream, cleared, stamp).await;
    sent.map_err(|error| visit.upstream_failed(&error, false).into())
}

/// The same for what asks to become a WebSocket.
async fn tunnelled(
    worker: &Arc<Worker>,
    visit: &mut Visit,
    permit: Permit,
    body: Body,
    (tunnel, identity): (Tunnel, Option<Arc<Identity>>),
) -> Result<Response<Body>, End> {
    let path = visit.head.path();
    if !visit.site.actions.has_socket(path) {
        return Err(Rejection::Unclassified("a WebSocket".into()).into());
    }
    let private = visit.site.actions.socket(path).map(|_| visit.head.clone());
    let mut head = visit.part_with_head();
    if private.is_some() {
        // What was compressed could not be read.
        head.headers.remove(http::header::SEC_WEBSOCKET_EXTENSIONS);
    }
    let cleared = Cleared::by_permit(permit, head, body);
    let stamp = visit.stamp(None, false);
    let sent = match private {
        Some(head) => socket::open(worker, visit, tunnel, (cleared, stamp), (head, identity)).await,
        None => match worker.pool.upgrade(&visit.site.upstream, cleared, stamp).await {
            Ok(Upgrade::Answered(response)) => Ok(response),
            Ok(Upgrade::Switched(response, server)) => {
                // Not among the connection's tasks: a drain does not wait for open WebSockets.
                tokio::spawn(async move {
                    if let Err(error) = upgrade::tunnel(tunnel.client, server).await {
                        tracing::debug!(%error, "a WebSocket ended early");
                    }
                });
                Ok(response)
            }
            Err(error) => Err(error),
        },
    };
    sent.map_err(|error| visit.upstream_failed(&error, false).into())
}

/// Asked before anything of the owner's is spent on a request that could not be forwarded as it was decided on.
fn forwardable(headers: &HeaderMap) -> Result<(), Rejection> {
    check_connection(headers, true).map_err(Rejection::BadRequest)?;
    check_names(headers).map_err(Rejection::BadRequest)
}

/// The whole of a body that must be read, or 413, or 408. Its trailers are dropped unread.
pub(crate) async fn collect(gateway: &Gateway, body: Incoming) -> Result<Bytes, Rejection> {
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(gateway.body_timeout, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::TooLarge),
        Ok(Err(_)) => Err(Rejection::BadRequest("the body ended early")),
        Err(_) => Err(Rejection::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_the_runtime_cancelled_is_answered_and_one_that_panicked_panics() {
        let never = tokio::spawn(std::future::pending::<u16>());
        never.abort();
        assert_eq!(done(never.await, || 503), 503);
        assert_eq!(done(tokio::spawn(async { 200 }).await, || 503), 200);
        let panicked = tokio::spawn(async { panic!("as the test wants") }).await;
        let again =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| done(panicked, || ())));
        assert!(again.is_err());
    }
}
