//! From hyper's request to a `Visit`: one host, one target, one client address, or a refusal.
//!
//! Never repairs a head: what is ambiguous is refused.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use uuid::Uuid;

use super::socket::Tunnel;
use super::{LastCaller, Visit};
use crate::body::Body;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::listen::Connection;
use crate::pages::language::negotiate;
use crate::pages::{self, Audience, Ctx, Language};
use crate::rejection::Rejection;
use crate::types::{RequestId, UnixMs};

/// A request that is refused before there is a site whose words could be used.
pub(super) struct Early {
    rejection: Rejection,
    request: RequestId,
    /// A person who has come to a host that is not served (any more), in this language.
    person: Option<Language>,
}

/// What there is to be answered, or why there is nothing.
pub(super) type Received = Result<(Box<Visit>, Incoming), Early>;

/// Reads the head and finds the site. The visit is large, and would be moved several times if it were not boxed.
pub(super) fn receive(
    gateway: &Gateway,
    request: Request<Incoming>,
    connection: &Arc<Connection<LastCaller>>,
) -> Received {
    let now = gateway.clock.now();
    let id = request_id(gateway, now);
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let fail = |rejection| Early { rejection, request: id.clone(), person: None };
    let authority = authority(&parts.uri, &parts.headers).map_err(fail)?;
    let (peer, trusted) = (connection.peer.ip(), &gateway.trusted_proxies);
    let client = connection
        .place
        .client(peer, &parts.headers, trusted)
        .map_err(|_| fail(Rejection::BadRequest("the forwarded address is not readable")))?;
    let locator = &*gateway.locator;
    let caller = connection.place.or_new(locator, client, authority, now).map_err(fail)?;
    if connection.sni.as_deref().is_some_and(|sni| *sni != *caller.host) {
        return Err(fail(Rejection::Misdirected));
    }
    if parts.version == Version::HTTP_2
        && !body.is_end_stream()
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        // Said in the words of HTTP/1.1, as it is forwarded; or nothing in the head would tell that there is a body.
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let target = parts.uri.path_and_query().map_or_else(|| "/".into(), |it| it.clone().into());
    let head = Inbound {
        request: id,
        method: parts.method,
        host: caller.host.clone(),
        authority: caller.authority.clone(),
        target,
        version: parts.version,
        headers: parts.headers,
        client,
        received: now,
    };
    let Some(site) = gateway.live.load().site(&head.host).cloned() else {
        let (rejection, person) = (Rejection::Misdirected, person(&head));
        return Err(Early { rejection, request: head.request, person });
    };
    let upgrade = upgrade.map(|client| Tunnel { client, stop: connection.stop.clone() });
    let visit = Visit::new(head, site, caller, connection.tasks.clone(), upgrade);
    Ok((Box::new(visit), body))
}

/// The language of whoever would read a page.
fn person(head: &Inbound) -> Option<Language> {
    let accepts = head.headers.get(header::ACCEPT_LANGUAGE);
    let language = negotiate(accepts.and_then(|value| value.to_str().ok()));
    (pages::audience(head) == Audience::Page).then_some(language)
}

/// UUID v7 from the gateway's own clock and entropy.
pub(crate) fn request_id(gateway: &Gateway, now: UnixMs) -> RequestId {
    let mut random = [0; 10];
    gateway.entropy.fill(&mut random);
    let millis = u64::try_from(now.0).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let mut buffer = Uuid::encode_buffer();
    RequestId::new(&*id.hyphenated().encode_lower(&mut buffer))
}

/// The one authority: `:authority` or absolute-form, equal to Host where both are given (RFC 9113 §8.3.1).
fn authority<'a>(uri: &'a http::Uri, headers: &'a HeaderMap) -> Result<&'a str, Rejection> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|value| value.to_str());
    if hosts.next().is_some() {
        return Err(Rejection::BadRequest("more than one Host"));
    }
    let host = host.transpose().map_err(|_| Rejection::BadRequest("not a host name"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Rejection::BadRequest("a user name in the target"));
    }
    match (uri.authority(), host) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(Rejection::Misdirected)
        }
        (Some(authority), _) => Ok(authority.as_str()),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Rejection::BadRequest("no Host")),
    }
}

pub(super) fn refuse_early(gateway: &Gateway, early: &Early) -> Response<Body> {
    let Early { rejection, request, person } = early;
    gateway.pages.rejection(
        rejection,
        &Ctx {
            audience: person.map_or(Audience::Api, |_| Audience::Page),
            request,
            native: None,
            host: "",
            language: person.unwrap_or_default(),
            now: gateway.clock.now(),
            bearer: false,
            form: false,
            site: "",
            csrf: "",
            subject: request.as_str(),
            back: None,
            sign: None,
            factor: None,
            no_text: None,
            secret: None,
            elsewhere: false,
        },
    )
}

/// A refusal in the site's own words.
pub(super) fn refuse(gateway: &Gateway, visit: &Visit, rejection: &Rejection) -> Response<Body> {
    visit.refusing(gateway, |ctx| visit.site.pages.rejection(rejection, ctx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_authority_must_be_one() {
        let uri: http::Uri = "https://a.example/x".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(authority(&uri, &headers).unwrap(), "a.example");
        headers.append(header::HOST, "b.example".parse().unwrap());
        assert!(authority(&uri, &headers).is_err());
        let origin: http::Uri = "/x".parse().unwrap();
        assert_eq!(authority(&origin, &headers).unwrap(), "b.example");
        headers.append(header::HOST, "b.example".parse().unwrap());
        assert!(authority(&origin, &headers).is_err());
        assert!(authority(&origin, &HeaderMap::new()).is_err());
    }
}
