//! The end of a freeze, asked for by the account's owner: a guarded action like any other, the only one that a frozen
//! account may begin, and carried out here.
//!
//! Never ends a freeze at once, and never one that an operator ordered. Invariant: it takes a strong factor that was the
//! account's before, then time; and every contact is told, with a link that keeps the freeze up.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::factors::{own_post, person};
use crate::audit::Event;
use crate::body::Body;
use crate::classify::{Action, Intent};
use crate::clearance::Cleared;
use crate::gateway::Worker;
use crate::identify::Identity;
use crate::pages::thaw::{THAW_PATH, ThawView};
use crate::pipeline::{self, Deed, End, Own, Visit};
use crate::rejection::Rejection;
use crate::stepup::notice::About;
use crate::store::{Freeze, StoreError, ThawAsked};
use crate::types::{ActionName, ChallengeId, Fields, Shown};

/// The action that it is.
pub(super) const THAW: &str = "account.thaw";

pub(super) fn is_it(path: &str) -> bool {
    path == THAW_PATH
}

/// The form of this page is about no challenge; no challenge has this id.
fn form() -> ChallengeId {
    ChallengeId::new("thaw")
}

/// `GET /.stepgate/thaw`: whether the account is frozen, and what can be done about it.
pub(super) async fn show(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
) -> Result<Response<Body>, End> {
    person(visit, identity)?;
    pipeline::as_ordinary(worker, visit, identity).await?;
    let view = view(worker, visit, identity).await?;
    Ok(visit.about(&worker.gateway, &form(), |ctx| visit.site.pages.thaw(&view, ctx)))
}

/// `POST /.stepgate/thaw`.
pub(super) async fn post(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    body: Incoming,
) -> Result<Response<Body>, End> {
    let (_, bytes) = own_post(&worker.gateway, visit, identity, &form(), body).await?;
    ask(worker, visit, identity, bytes).await
}

/// The same for one that was held until its owner had approved it.
pub(super) async fn released(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    body: Bytes,
) -> Result<Response<Body>, End> {
    visit.own();
    ask(worker, visit, identity, body).await
}

async fn ask(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    body: Bytes,
) -> Result<Response<Body>, End> {
    let (gateway, pages) = (&worker.gateway, &visit.site.pages);
    let view = view(worker, visit, identity).await?;
    match &view.frozen {
        // Asked before, or over: nothing is left to confirm.
        None => return Ok(visit.with_context(|ctx| pages.thaw_asked(&view, ctx))),
        Some(freeze) if freeze.opens.is_some() => {
            return Ok(visit.with_context(|ctx| pages.thaw_asked(&view, ctx)));
        }
        Some(freeze) if freeze.by_operator() => return Err(refused(visit).into()),
        Some(_) => {}
    }
    let own = (Own::Thaw, action(visit, view.frozen.as_ref()));
    let deed = deed(worker, visit, identity);
    let response = pipeline::within(worker, visit, own, body, identity.clone(), deed).await?;
    match response.extensions().get::<Done>() {
        Some(Done(Ok(ThawAsked::Opens { at, new }))) => {
            if *new {
                let note = format!("asked for by its owner; it ends at {}", at.seconds());
                visit.note(gateway, Event::ThawAsked, |line| line.note = Some(note.into()));
                visit.tell(gateway, About::ThawAsked { opens: *at });
            }
            let frozen = view.frozen.map(|freeze| Freeze { opens: Some(*at), ..freeze });
            let view = ThawView { frozen, ..view };
            Ok(visit.with_context(|ctx| pages.thaw_asked(&view, ctx)))
        }
        Some(Done(Ok(ThawAsked::NotFrozen))) => {
            let view = ThawView { frozen: None, ..view };
            Ok(visit.with_context(|ctx| pages.thaw_asked(&view, ctx)))
        }
        Some(Done(Ok(ThawAsked::ByOperator))) => Err(refused(visit).into()),
        Some(Done(Err(error))) => Err(visit.store_failed(error).into()),
        None => Err(Rejection::Unavailable("a thaw had no end").into()),
    }
}

/// What asking came to.
#[derive(Clone)]
struct Done(Result<ThawAsked, Arc<StoreError>>);

/// What is done once it is cleared. The status is as an exchange would answer, for the record.
fn deed(worker: &Arc<Worker>, visit: &Visit, identity: &Identity) -> Deed {
    let (gateway, now) = (worker.gateway.clone(), visit.head.received);
    let account = identity.account.clone();
    Box::new(move |cleared: Cleared| {
        Box::pin(async move {
            drop(cleared);
            let asked = gateway.store.ask_thaw(&account, now).await.map_err(Arc::new);
            let status = match &asked {
                Ok(ThawAsked::Opens { .. }) => StatusCode::ACCEPTED,
                Ok(ThawAsked::NotFrozen | ThawAsked::ByOperator) => StatusCode::CONFLICT,
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response.extensions_mut().insert(Done(asked));
            response
        })
    })
}

/// As every action is classified. The freeze itself is part of it: an approval to end one is none to end the next.
fn action(visit: &Visit, frozen: Option<&Freeze>) -> Action {
    let since = frozen.map(|freeze| freeze.since);
    let shown = since
        .map(|at| Shown { name: "frozen_since".into(), value: crate::pages::written(at).into() });
    let since = since.map(|at| ("frozen_since".to_owned(), at.0.to_string()));
    let intent = Intent {
        method: visit.head.method.as_str().into(),
        authority: visit.head.authority.to_lowercase().into(),
        path: visit.head.path().into(),
        parameters: since.into_iter().collect(),
    };
    Action {
        name: ActionName::new(THAW),
        elements: vec![Fields::default()],
        shown: shown.into_iter().collect(),
        intent,
        answer: None,
    }
}

fn refused(visit: &Visit) -> Rejection {
    let why = visit.site.pages.no_thaw(visit.language(), true);
    Rejection::Denied { why: Some(why.into()) }
}

/// The account as the store has it.
async fn view(worker: &Arc<Worker>, visit: &Visit, identity: &Identity) -> Result<ThawView, End> {
    let (gateway, now) = (&worker.gateway, visit.head.received);
    let standing = gateway.store.look(&identity.account, &identity.credential, now).await;
    let standing = standing.map_err(|error| End::from(visit.store_failed(&error)))?;
    Ok(ThawView {
        frozen: standing.frozen.clone(),
        has_factor: !pipeline::factors_to_thaw(visit, &standing).is_empty(),
        delay_ms: gateway.limits.thaw_delay_ms,
    })
}
