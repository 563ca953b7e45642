//! From hyper's request to a `Visit`: one host, one target, one client address, or a refusal.
//!
//! Never repairs a head: what is ambiguous is refused.

use std::sync::Arc;

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use uuid::Uuid;

use super::Visit;
use super::socket::Tunnel;
use crate::body::Body;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::listen::Connection;
use crate::listen::peer::client_address;
use crate::pages::{Audience, Ctx, Language};
use crate::rejection::Rejection;
use crate::types::{RequestId, UnixMs};

/// Reads the head and finds the site.
pub(super) fn receive(
    gateway: &Gateway,
    request: Request<Incoming>,
    connection: &Arc<Connection<()>>,
) -> Result<(Visit, Incoming), (Rejection, RequestId)> {
    let now = gateway.clock.now();
    let id = request_id(gateway, now);
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let fail = |rejection| (rejection, id.clone());
    let authority = authority(&parts.uri, &parts.headers).map_err(fail)?;
    let host = host_of(&authority).ok_or_else(|| fail(Rejection::BadRequest("not a host name")))?;
    let client = client_address(connection.peer.ip(), &parts.headers, &gateway.trusted_proxies)
        .map_err(|_| fail(Rejection::BadRequest("the forwarded address is not readable")))?;
    if connection.sni.as_deref().is_some_and(|sni| sni != host) {
        return Err(fail(Rejection::Misdirected));
    }
    let site = gateway.live.load().site(&host).cloned();
    let site = site.ok_or_else(|| fail(Rejection::Misdirected))?;
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let head = Inbound {
        request: id.clone(),
        method: parts.method,
        host: host.into(),
        authority: authority.into(),
        target: target.into(),
        version: parts.version,
        headers: parts.headers,
        client,
        received: now,
    };
    let place = gateway.locator.place(client);
    let upgrade = upgrade.map(|client| Tunnel { client, stop: connection.stop.clone() });
    Ok((Visit::new(head, site, place, connection.tasks.clone(), upgrade), body))
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
fn authority(uri: &http::Uri, headers: &HeaderMap) -> Result<String, Rejection> {
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
        (Some(authority), _) => Ok(authority.as_str().to_owned()),
        (None, Some(host)) => Ok(host.to_owned()),
        (None, None) => Err(Rejection::BadRequest("no Host")),
    }
}

/// The host name in lower case without its port; `None` if it holds anything else.
fn host_of(authority: &str) -> Option<String> {
    let (name, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    };
    let port = port.strip_prefix(':').unwrap_or("");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b);
    let readable = !name.is_empty()
        && name.bytes().all(plain)
        && port.len() <= 5
        && port.bytes().all(|b| b.is_ascii_digit());
    readable.then(|| name.to_ascii_lowercase())
}

/// A refusal before there is a site whose words could be used.
pub(super) fn refuse_early(
    gateway: &Gateway,
    rejection: &Rejection,
    request: &RequestId,
) -> Response<Body> {
    gateway.pages.rejection(
        rejection,
        &Ctx {
            audience: Audience::Api,
            request,
            native: None,
            host: "",
            language: Language::En,
            now: gateway.clock.now(),
            bearer: false,
            site: "",
            csrf: "",
        },
    )
}

/// A refusal in the site's own words.
pub(crate) fn refuse(gateway: &Gateway, visit: &Visit, rejection: &Rejection) -> Response<Body> {
    visit.with_context(|ctx| gateway.pages.rejection(rejection, ctx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        assert_eq!(host_of("Exchange.Example:8443").as_deref(), Some("exchange.example"));
        assert_eq!(host_of("[2001:db8::1]").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(host_of("[2001:db8::1]:443").as_deref(), Some("[2001:db8::1]"));
        for bad in ["", ":443", "a@b", "a/b", "a,b", "a b", "a:b", "a:123456", "exämple"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }

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
