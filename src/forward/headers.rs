//! Which header fields pass, in both directions.
//!
//! Never lets a client speak for the gateway or another hop: fields that name a client, a route or
//! a step-up are removed in every spelling, and only then are ours added. Invariant: what a client
//! lists in `Connection` cannot take away what the next hop needs to see the request as we did.

use std::net::IpAddr;

use http::Version;
use http::header::{
    CONNECTION, COOKIE, FORWARDED, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE, VIA,
};

use super::Stamp;

/// Whether what the request lists in `Connection` may be removed (RFC 9110 §7.6.1). Ordinary
/// requests may list any field that carries no identity, type or framing; a guarded one nothing
/// unusual at all, because it was decided on with the field in it.
///
/// # Errors
/// A short reason; answer 400. Worth asking before an approval is spent.
pub fn check_connection(headers: &HeaderMap, guarded: bool) -> Result<(), &'static str> {
    for name in listed(headers) {
        let name = name.ok_or("Connection cannot be read")?;
        if is_any(name, CONNECTION_OPTIONS) {
            continue;
        }
        let ours = starts(name, "stepgate-") || starts(name, "step-up-");
        if guarded || ours || is_any(name, NEVER_LISTED) {
            return Err("Connection lists a field that must arrive");
        }
    }
    Ok(())
}

/// Whether a guarded request's field names mean the same to every server: those that turn names
/// into variables (RFC 3875 §4.1.18) take `x_user` for `X-User`, and some proxies drop it.
///
/// # Errors
/// A short reason; answer 400.
pub fn check_names(headers: &HeaderMap) -> Result<(), &'static str> {
    match headers.keys().any(|name| name.as_str().contains('_')) {
        true => Err("a header name holds an underscore"),
        false => Ok(()),
    }
}

/// Whether the client asks for this connection to become something else.
pub(super) fn lists_upgrade(headers: &HeaderMap) -> bool {
    listed(headers).any(|name| name.is_some_and(|name| name.eq_ignore_ascii_case("upgrade")))
}

/// Removes what must not go upstream. `TE: trailers` may stay towards HTTP/2, where servers insist
/// on it.
pub(super) fn clean_request(
    headers: &mut HeaderMap,
    guarded: bool,
    h2: bool,
) -> Result<(), &'static str> {
    if headers.contains_key(CONNECTION) {
        check_connection(headers, guarded)?;
        remove_listed(headers);
    }
    let trailers = h2 && headers.get(TE).is_some_and(|value| value == "trailers");
    // What `stamp_request` replaces need not be removed before.
    remove(headers, |name| must_not_go_up(name) && !REPLACED.contains(&name));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// HTTP/2 clients may cut their cookies into several fields, which HTTP/1.1 servers need in one
/// (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    // Every part was a header value, and so is the whole.
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice())) {
        headers.insert(COOKIE, whole);
    }
}

/// Adds what is the gateway's to say: `Via`, `Forwarded`, `X-Forwarded-*` and the assertion.
pub(super) fn stamp_request(headers: &mut HeaderMap, stamp: &Stamp, version: Version) {
    let OnBehalf { authority, forwarded, client } = &*stamp.on_behalf;
    headers.append(VIA, via(version));
    headers.insert(FORWARDED, forwarded.clone());
    headers.insert(X_FORWARDED_FOR, client.clone());
    headers.insert(X_FORWARDED_PROTO, const { HeaderValue::from_static("https") });
    headers.insert(X_FORWARDED_HOST, authority.clone());
    if let Some(assertion) = &stamp.assertion {
        headers.insert(STEPGATE_ASSERTION, assertion.clone());
    }
}

/// Removes what must not reach the client, and adds `Via`.
pub(super) fn clean_response(headers: &mut HeaderMap, version: Version) {
    if headers.get_all(CONNECTION).iter().any(is_unusual) {
        remove_listed(headers);
    }
    headers.remove(CONNECTION);
    remove(headers, must_not_come_down);
    headers.append(VIA, via(version));
}

/// The headers that make a 101, which `clean_*` removed; `websocket` is the only upgrade there is.
pub(super) fn say_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// For whom a request is forwarded, as the fields that say so; the same for all requests of most connections.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// `Host` exactly as the client gave it.
    pub(super) authority: HeaderValue,
    forwarded: HeaderValue,
    client: HeaderValue,
}

impl OnBehalf {
    /// `None` if the authority cannot stand in a header field.
    pub fn of(client: IpAddr, authority: &str) -> Option<Self> {
        let client = client.to_canonical();
        Some(Self {
            authority: HeaderValue::from_str(authority).ok()?,
            forwarded: HeaderValue::try_from(forwarded(client, authority)).ok()?,
            client: HeaderValue::try_from(client.to_string()).ok()?,
        })
    }
}

/// RFC 7239 §4: addresses of version 6 in brackets and quotes, a host with a port in quotes.
fn forwarded(client: IpAddr, host: &str) -> String {
    let mut text = match client {
        IpAddr::V4(ip) => format!("for={ip};proto=https"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto=https"),
    };
    // A host with a quote in it could end the value early; the strict head check lets none through.
    if !host.is_empty() && !host.contains(['"', '\\']) {
        let quote = if host.contains([':', '[', ']']) { "\"" } else { "" };
        text.extend([";host=", quote, host, quote]);
    }
    text
}

/// The protocol that the message was received with (RFC 9110 §7.6.3).
fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => const { HeaderValue::from_static("2 stepgate") },
        Version::HTTP_10 => const { HeaderValue::from_static("1.0 stepgate") },
        _ => const { HeaderValue::from_static("1.1 stepgate") },
    }
}

/// The options of every `Connection` line; `None` for a line that is not ASCII.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(CONNECTION).iter().filter(|value| is_unusual(value));
    lines.flat_map(|value| {
        let (text, bad) = match value.to_str() {
            Ok(text) => (text, None),
            Err(_) => ("", Some(None)),
        };
        let options = text.split(',').map(str::trim_ascii).filter(|option| !option.is_empty());
        options.map(Some).chain(bad)
    })
}

/// Nearly every answer says one of these two, which every reader of the options passes over.
fn is_unusual(connection: &HeaderValue) -> bool {
    !matches!(connection.as_bytes(), b"keep-alive" | b"close")
}

fn remove_listed(headers: &mut HeaderMap) {
    let unusual: Vec<HeaderName> = listed(headers)
        .flatten()
        .filter(|name| !is_any(name, CONNECTION_OPTIONS) && !is_any(name, NEVER_LISTED))
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    for name in unusual {
        headers.remove(name);
    }
}

/// Removes every field whose name is `unwanted`. Looks at each once, however many there are.
fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let found = headers.keys().filter(|name| unwanted(name.as_str())).cloned();
    for name in found.collect::<Vec<_>>() {
        headers.remove(name);
    }
}

fn must_not_go_up(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c') => is_any(name, HOP_C) || is_any(name, CLIENT_C) || is_alias(name),
        Some(b'k') => is(name, "keep-alive"),
        Some(b'o') => is(name, "orig-path-info"),
        Some(b'p') => is_any(name, HOP_P) || is_any(name, PATH_P),
        Some(b'd') => is(name, "do-connecting-ip"),
        Some(b'r') => is_any(name, &["request-uri", "remote-addr", "remote-user"]),
        Some(b't') => is_any(name, HOP_T) || is(name, "true-client-ip"),
        Some(b'u') => is_any(name, &["upgrade", "unencoded-url"]),
        Some(b'e') => is(name, "expect"),
        Some(b'f') => is(name, "forwarded") || is_any(name, CLIENT_F),
        Some(b'h') => is(name, "http2-settings"),
        Some(b's') => starts(name, "stepgate-") || starts(name, "step-up-") || is_any(name, PATH_S),
        Some(b'x') => starts(name, "x-forwarded") || is_any(name, CLIENT_X) || is_any(name, PATH_X),
        _ => false,
    }
}

fn must_not_come_down(name: &str) -> bool {
    match name.as_bytes().first() {
        // Would lead clients around the gateway.
        Some(b'a') => is(name, "alt-svc"),
        Some(b'c') => is_any(name, HOP_C),
        Some(b'k') => is(name, "keep-alive"),
        Some(b'p') => is_any(name, HOP_P),
        Some(b't') => is_any(name, HOP_T),
        Some(b'u') => is(name, "upgrade"),
        Some(b's') => starts(name, "stepgate-") || starts(name, "step-up-"),
        _ => false,
    }
}

/// Spelt with another mark, these become the field itself in servers that turn header names into
/// variables (RFC 3875 §4.1.18), and contradict the one that was checked.
fn is_alias(name: &str) -> bool {
    let known = ["content-type", "content-length", "content-encoding"];
    known.iter().any(|known| name != *known && is(name, known))
}

fn is_any(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| is(name, known))
}

/// Equal up to case, and with any mark for `-`: CGI knows letters, digits and `_` only (RFC 3875 §4.1.18), and servers
/// that speak it turn one, several or all of the others into that.
fn is(name: &str, known: &str) -> bool {
    name.len() == known.len() && starts(name, known)
}

fn starts(name: &str, known: &str) -> bool {
    let same = |(ours, theirs): (&u8, &u8)| match ours {
        byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase() == *theirs,
        _ => *theirs == b'-',
    };
    name.len() >= known.len() && name.as_bytes().iter().zip(known.as_bytes()).all(same)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const STEPGATE_ASSERTION: HeaderName = HeaderName::from_static("stepgate-assertion");
/// Exactly these are inserted into every request, in place of all fields of the name.
const REPLACED: [&str; 4] =
    ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// What clients list in `Connection` as a matter of course; all are removed anyway.
const CONNECTION_OPTIONS: &[&str] =
    &["close", "keep-alive", "upgrade", "te", "trailer", "http2-settings", "proxy-connection"];
/// Without these the next hop would see another request than we did.
const NEVER_LISTED: &[&str] = &[
    "authorization",
    "cookie",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "host",
    "via",
];
const HOP_C: &[&str] = &["connection"];
/// `Proxy` itself becomes `HTTP_PROXY` in CGI-like servers, which then send their own requests
/// through it.
const HOP_P: &[&str] = &["proxy", "proxy-connection", "proxy-authenticate", "proxy-authorization"];
const HOP_T: &[&str] = &["te", "trailer", "transfer-encoding"];
const CLIENT_C: &[&str] = &["cf-connecting-ip", "cf-connecting-ipv6", "client-ip"];
const CLIENT_F: &[&str] =
    &["fastly-client-ip", "fly-client-ip", "forwarded-for", "front-end-https"];
const CLIENT_X: &[&str] = &[
    "x-real-ip",
    "x-appengine-remote-addr",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-original-forwarded-for",
    "x-original-host",
    "x-remote-addr",
    "x-remote-ip",
    "x-remote-user",
    "x-scheme",
    "x-url-scheme",
];
/// By these a server routes a request to another path than the one on its line, or takes a prefix
/// off it: gunicorn by `SCRIPT_NAME` from a proxy on its own machine, many by `X-Script-Name`.
const PATH_P: &[&str] = &["path-info", "path-translated"];
const PATH_S: &[&str] = &["script-name", "script-filename"];
const PATH_X: &[&str] = &[
    "x-envoy-original-path",
    "x-ingress-path",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-replaced-path",
    "x-rewrite-url",
    "x-script-name",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn stamped(map: &mut HeaderMap) {
        let on_behalf = OnBehalf::of("192.0.2.1".parse().unwrap(), "a.example").unwrap();
        let stamp = Stamp { on_behalf: on_behalf.into(), assertion: None, guarded: false };
        stamp_request(map, &stamp, Version::HTTP_11);
    }

    /// Of what the client said.
    fn left(pairs: &[(&str, &str)]) -> Vec<String> {
        let (mut map, mut ours) = (headers(pairs), HeaderMap::new());
        clean_request(&mut map, false, false).unwrap();
        stamped(&mut map);
        stamped(&mut ours);
        let theirs = |(name, value): &(&HeaderName, &HeaderValue)| ours.get(*name) != Some(value);
        let mut names: Vec<_> =
            map.iter().filter(theirs).map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn ordinary_headers_and_their_doubles_pass_in_order() {
        let pairs = [("accept", "a"), ("x-mbx-apikey", "k"), ("accept", "b"), ("cookie", "c")];
        let mut map = headers(&pairs);
        clean_request(&mut map, true, false).unwrap();
        assert_eq!(map, headers(&pairs));
        assert_eq!(map.get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_client_cannot_say_who_it_is() {
        for name in [
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded_For",
            "X-Forwarded-Uri",
            "X-Forwarded-Prefix",
            "X-Forwarded-Method",
            "Forwarded",
            "X-Real-IP",
            "X_Real_IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "Fastly-Client-IP",
            "X-Envoy-External-Address",
            "X-Azure-ClientIP",
            "X-AppEngine-User-IP",
            "X-Remote-Addr",
            "Remote_Addr",
            "Remote-User",
            "X_Remote_User",
            "Forwarded-For",
            "Fly-Client-IP",
            "DO-Connecting-IP",
            "Front-End-Https",
            "X-Scheme",
            "X-Original-URL",
            "X-Rewrite-URL",
            "Stepgate-Assertion",
            "stepgate_assertion",
            "Step-Up-Code",
            "Step_Up_Code",
            "Step.Up~Code",
            "X.Forwarded.For",
            "Stepgate~Assertion",
            "Content_Type",
            "Content_Length",
            "Proxy",
        ] {
            assert_eq!(left(&[(name, "1"), ("accept", "*")]), ["accept"], "{name}");
        }
        assert_eq!(
            left(&[("content-type", "a"), ("x-forward", "b")]),
            ["content-type", "x-forward"]
        );
    }

    #[test]
    fn any_number_of_unwanted_fields_is_removed() {
        let names: Vec<String> = (0..50).map(|n| format!("x-forwarded-{n}")).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert!(left(&pairs).is_empty());
    }

    #[test]
    fn connection_takes_its_fields_with_it_and_not_ours() {
        let mut map = headers(&[
            ("connection", "X-Forwarded-For, x-hop , ,close"),
            ("connection", "keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("x-end", "1"),
        ]);
        clean_request(&mut map, false, false).unwrap();
        stamped(&mut map);
        let expected = headers(&[
            ("x-end", "1"),
            ("via", "1.1 stepgate"),
            ("forwarded", "for=192.0.2.1;proto=https;host=a.example"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn connection_may_not_take_identity_or_framing_away() {
        for name in ["Authorization", "cookie", "Content-Type", "Host", "Stepgate-Assertion", "Via"]
        {
            let map = headers(&[("connection", name)]);
            assert!(check_connection(&map, false).is_err(), "{name}");
        }
        assert!(check_connection(&headers(&[("connection", "x-hop")]), false).is_ok());
        assert!(check_connection(&headers(&[("connection", "x-hop")]), true).is_err());
        assert!(check_connection(&headers(&[("connection", "keep-alive, Upgrade")]), true).is_ok());
    }

    #[test]
    fn cookie_crumbs_become_one_cookie_in_their_order() {
        let mut map = headers(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut map);
        assert_eq!(map, headers(&[("cookie", "a=1; b=2; c=3"), ("x", "y")]));
    }

    #[test]
    fn te_stays_only_towards_http2_and_only_for_trailers() {
        for (value, h2, stays) in
            [("trailers", true, true), ("trailers", false, false), ("gzip", true, false)]
        {
            let mut map = headers(&[("te", value), ("connection", "te")]);
            clean_request(&mut map, false, h2).unwrap();
            assert_eq!(map.contains_key(TE), stays, "{value} {h2}");
        }
    }

    #[test]
    fn forwarded_quotes_what_needs_quotes() {
        let v6 = "2001:db8::1".parse().unwrap();
        let text = forwarded(v6, "a.example:8443");
        assert_eq!(text, "for=\"[2001:db8::1]\";proto=https;host=\"a.example:8443\"");
        let text = forwarded("192.0.2.1".parse().unwrap(), "a\";for=x");
        assert_eq!(text, "for=192.0.2.1;proto=https");
    }

    #[test]
    fn an_upstream_cannot_speak_for_the_gateway() {
        let mut map = headers(&[
            ("stepgate-request", "1"),
            ("step_up_challenge", "1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("alt-svc", "h3=\":443\""),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        clean_response(&mut map, Version::HTTP_11);
        let expected =
            headers(&[("set-cookie", "a"), ("set-cookie", "b"), ("via", "1.1 stepgate")]);
        assert_eq!(map, expected);
    }
}
