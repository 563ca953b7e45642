//! "This wasn't me": the page behind the link of a notice, and its one button.
//!
//! Never changes anything when it is read, however often and by whatever program follows links in mails; needs no
//! sign-in. Invariant: a link freezes its account once, on every gateway, and nothing says whether another id is one; one
//! whose notice is older than the end of the last freeze freezes nothing, for what it told of was settled by then.

use bytes::Bytes;
use http::{Method, Response, header};
use hyper::body::Incoming;

use crate::audit::Event;
use crate::body::Body;
use crate::gateway::Gateway;
use crate::notices::not_me::{self, NotMe};
use crate::pages::LinkState;
use crate::pipeline::{self, End, Visit};
use crate::rejection::Rejection;
use crate::stepup::notice::{About, FrozenBy};

/// The id that a path of ours names, if it is about a link.
pub(super) fn address(rest: &str) -> Option<&str> {
    rest.strip_prefix("/not-me/")
}

/// Answers for one link.
pub(super) async fn answer(
    gateway: &Gateway,
    visit: &Visit,
    id: &str,
    body: Incoming,
) -> Result<Response<Body>, End> {
    let (head, now) = (&visit.head, visit.head.received);
    let found = match is_id(id) {
        true => not_me::find(gateway, id, now).await,
        false => Ok(None),
    };
    let found = found.map_err(|error| End::from(visit.store_failed(&error)))?;
    let own = |record: &NotMe| *record.account.group == *visit.site.identifier.group();
    let Some(record) = found.filter(own) else { return Err(missed(gateway, visit).into()) };
    let state = match record.used {
        Some(at) => LinkState::Used(at),
        None => {
            let card = gateway.store.account(&record.account, now).await;
            let card = card.map_err(|error| End::from(visit.store_failed(&error)))?;
            match card.thawed.filter(|_| record.told().is_settled(card.thawed)) {
                Some(thawed) => LinkState::Settled(thawed),
                None => LinkState::Open(record.until),
            }
        }
    };
    match head.method {
        Method::GET | Method::HEAD => Ok(show(visit, &record, state)),
        Method::POST => {
            if !meant(visit) {
                return Err(Rejection::BadRequest("the request comes from another site").into());
            }
            let _: Bytes = pipeline::collect(gateway, body).await?;
            match state {
                LinkState::Open(_) => freeze(gateway, visit, id, record).await,
                over => Ok(show(visit, &record, over)),
            }
        }
        _ => Err(Rejection::NotFound.into()),
    }
}

/// No such link: said, or after too many of them not even that.
fn missed(gateway: &Gateway, visit: &Visit) -> Rejection {
    let (misses, client, now) = (&gateway.notices.misses, visit.head.client, visit.head.received);
    match misses.wait_ms(client, now) {
        Some(wait_ms) => Rejection::TooMany { retry_after_s: wait_ms.div_ceil(1000) },
        None => {
            misses.note(client, now);
            Rejection::NotFound
        }
    }
}

async fn freeze(
    gateway: &Gateway,
    visit: &Visit,
    id: &str,
    record: NotMe,
) -> Result<Response<Body>, End> {
    let now = visit.head.received;
    let failed = |error| End::from(visit.store_failed(&error));
    let frozen = gateway.store.freeze_told(&record.account, BY.into(), record.told(), now).await;
    if let Some(thawed) = frozen.map_err(failed)? {
        return Ok(show(visit, &record, LinkState::Settled(thawed)));
    }
    let used = NotMe { used: Some(now), ..record.clone() };
    if let Err(error) = not_me::keep(gateway, id, &used, now).await {
        // The account is frozen, which is what counts; the link can do no more than that again.
        tracing::warn!(%error, "a link that was used cannot be marked so");
    }
    visit.note(gateway, Event::Frozen, |line| {
        *line = line.clone().of_account(&record.account).with_note(BY);
    });
    let about = About::Frozen { by: FrozenBy::Owner };
    visit.tell_of(gateway, record.account.clone(), about);
    Ok(show(visit, &record, LinkState::Frozen))
}

fn show(visit: &Visit, record: &NotMe, state: LinkState) -> Response<Body> {
    let path = visit.head.path();
    visit.with_context(|ctx| visit.site.pages.not_me(&record.notice, state, path, ctx))
}

/// Whether a browser that says where a request comes from says: from here. A page without referrer posts from `null`.
fn meant(visit: &Visit) -> bool {
    let headers = &visit.head.headers;
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own = |origin: &http::HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        origin == "null"
            || origin
                .strip_prefix("https://")
                .is_some_and(|it| it.eq_ignore_ascii_case(&visit.head.authority))
    };
    sites.all(|site| site == "same-origin") && origins.all(own)
}

/// 256 bits in base64url.
fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    id.len() == 43 && id.bytes().all(plain)
}

/// Who froze it, in the record.
const BY: &str = "owner link";
