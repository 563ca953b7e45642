//! The life of a request: THE file to read first. One line per stage, in the order a request meets them.
//!
//! Never forwards anything that is not `Cleared`. Invariant: every error on the way to a decision on a guarded action
//! is a refusal; on the rest, traffic goes on.

mod ask;
mod facts;
mod guarded;
mod receive;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

pub(crate) use ask::queue_code;
pub(crate) use guarded::release;
pub(crate) use receive::{refuse, request_id};
pub(crate) use record::Visit;

use crate::answer;
use crate::body::Body;
use crate::classify::{ActionRule, Detected, Unclassified};
use crate::clearance::Cleared;
use crate::forward::headers::check_connection;
use crate::forward::upgrade::{Upgrade, tunnel};
use crate::gateway::Worker;
use crate::identify::{IdentifyError, Identity};
use crate::listen::Connection;
use crate::policy::verdict::{Permit, Verdict};
use crate::rejection::Rejection;
use facts::Surroundings;

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

/// Answers one request.
pub async fn run(
    worker: &Arc<Worker>,
    request: Request<Incoming>,
    connection: &Arc<Connection<()>>,
) -> Response<Body> {
    let gateway = &worker.gateway;
    let _in_flight = gateway.metrics.in_flight();
    match receive::receive(gateway, request, connection) {
        Ok((mut visit, body)) => {
            let ended = story(worker, &mut visit, body).await;
            visit.close(gateway, ended)
        }
        Err((rejection, id)) => receive::refuse_early(gateway, &rejection, &id),
    }
}

/// site → identify → locate → classify → (ordinary | guarded).
async fn story(
    worker: &Arc<Worker>,
    visit: &mut Visit,
    body: Incoming,
) -> Result<Response<Body>, End> {
    let (head, site) = (&visit.head, &visit.site);
    if answer::is_own(head.path()) {
        return answer::own(worker, visit, body).await;
    }
    if answer::resembles_own(head.path()) {
        return Err(Rejection::NotCanonical("nearly one of the gateway's own addresses").into());
    }
    let detected = site.actions.detect(&head.method, &head.target, &head.headers);
    let (rule, must_ask) = match &detected {
        Detected::Ordinary => (None, false),
        Detected::Action(rule) => (Some(*rule), false),
        Detected::NotCanonical(why) => return Err(Rejection::NotCanonical(why).into()),
        Detected::Unlisted { say, route, sensitive, .. } => {
            visit.unlisted(route, *say, *sensitive);
            match say {
                Unclassified::Allow => (None, false),
                Unclassified::Require => (None, true),
                Unclassified::Deny => return Err(Rejection::Unclassified((*route).into()).into()),
            }
        }
    };
    let guarded =
        must_ask || rule.is_some_and(|rule| rule.guarded || site.policy.names(&rule.name));
    let identity = identify(visit, guarded).await?;
    if let Some(identity) = &identity {
        visit.identified(identity);
    }
    if guarded {
        let identity =
            identity.ok_or(Rejection::Unauthenticated("this needs a valid session or API key"))?;
        // Asked before anything of the owner's is spent on a request that cannot be forwarded.
        check_connection(&head.headers, true).map_err(Rejection::BadRequest)?;
        let bytes = collect(body).await?;
        return guarded::run(worker, visit, rule, bytes, identity, must_ask).await;
    }
    match decide(worker, visit, rule, identity.as_ref()).await? {
        Decided::Cleared(permit) => {
            let head = visit.part_with_head();
            ordinary(worker, visit, Cleared::by_permit(permit, head, Body::stream(body))).await
        }
        Decided::AboutThisOne(identity) => {
            let bytes = collect(body).await?;
            guarded::run(worker, visit, rule, bytes, identity, false).await
        }
    }
}

/// What was decided about a request that no action guards.
enum Decided {
    Cleared(Permit),
    /// Some rule wants an approval of this very request: it is treated like a guarded action.
    AboutThisOne(Arc<Identity>),
}

/// locate → facts → decide, for a request that no action guards. A code in its header may elevate it on the way.
async fn decide(
    worker: &Arc<Worker>,
    visit: &Visit,
    rule: Option<&ActionRule>,
    identity: Option<&Arc<Identity>>,
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
        let decision = policy.decide(&[surroundings.ordinary(rule.map(|rule| &rule.name))]);
        visit.decided(&decision);
        match (decision.verdict, identity) {
            (Verdict::Allow(permit), _) => {
                surroundings.became_known(gateway);
                return Ok(Decided::Cleared(permit));
            }
            // Nobody is there to be asked, and nothing of anybody's is at stake: public pages stay reachable.
            (Verdict::Require(requirement), None) => {
                return Ok(Decided::Cleared(requirement.waive_for_nobody()));
            }
            (Verdict::Require(requirement), Some(identity)) if requirement.only_elevates() => {
                ask::about_place(worker, visit, &surroundings, identity, requirement).await?;
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
                    guarded::freeze(gateway, visit, identity, &decision.said).await?;
                }
                return Err(Rejection::Frozen.into());
            }
        }
    }
    Err(Rejection::Denied { why: None }.into())
}

/// Who is asking. For a guarded action the answer is fresh and must be there.
pub(crate) async fn identify(visit: &Visit, guarded: bool) -> Result<Option<Arc<Identity>>, End> {
    let (head, identifier) = (&visit.head, &visit.site.identifier);
    let recalled = (!guarded)
        .then(|| identifier.recall(&head.headers, head.query(), head.client, head.received));
    let answer = match recalled.flatten() {
        Some(answer) => answer,
        None => {
            identifier
                .identify(&head.headers, head.query(), head.client, guarded, head.received)
                .await
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
    visit: &Visit,
    cleared: Cleared,
) -> Result<Response<Body>, End> {
    let (upstream, stamp) = (&visit.site.upstream, visit.stamp(None, false));
    let sent = match visit.take_upgrade() {
        None => worker.pool.forward(upstream, cleared, stamp).await,
        Some(client) => match worker.pool.upgrade(upstream, cleared, stamp).await {
            Ok(Upgrade::Answered(response)) => Ok(response),
            Ok(Upgrade::Switched(response, server)) => {
                // Not among the connection's tasks: a drain does not wait for open WebSockets.
                tokio::spawn(async move {
                    if let Err(error) = tunnel(client, server).await {
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

/// The whole of a body that must be read, or 413.
pub(crate) async fn collect(body: Incoming) -> Result<Bytes, Rejection> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Rejection::TooLarge),
        Err(_) => Err(Rejection::BadRequest("the body ended early")),
    }
}
