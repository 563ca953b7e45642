//! Who the client is: the socket's peer, a trusted PROXY header, or a trusted proxy's
//! `X-Forwarded-For`.
//!
//! Never guesses, and never listens to anybody who is not a listed proxy: an address that an
//! attacker can choose decides every rule about places. What cannot be read where it matters is an
//! error, not the peer's address.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Why a PROXY header is no good; the connection is closed without a word.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is longer than {V2_BYTES_MAX} bytes")]
    TooLong,
    #[error("the connection ended within the PROXY header")]
    Io(#[from] std::io::Error),
}

/// What a trusted proxy says of its client cannot be read; answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the forwarded client address cannot be read")]
pub struct Unreadable;

/// Whether `ip` is in a listed network; an IPv4-mapped address counts as its IPv4 one.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|network| network.contains(&ip))
}

pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The client's address: the right-most hop that is not a trusted proxy, if the peer is one.
/// Several lines count as one list in their order. If a proxy sends both headers, `X-Forwarded-For`
/// decides and `Forwarded` is not looked at: a proxy that manages one of them passes the other on
/// as the client wrote it.
///
/// # Errors
/// When the entry that would decide is not an address.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Result<IpAddr, Unreadable> {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return Ok(peer);
    }
    if headers.contains_key(X_FORWARDED_FOR) {
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops =
            lines.flat_map(|line| text(line).rsplit(',').map(|hop| address(hop.trim_ascii())));
        return last_untrusted(peer, hops, trusted);
    }
    let mut hops = Vec::new();
    for line in headers.get_all(FORWARDED) {
        hops.extend(elements(text(line)).map(forwarded_for));
    }
    last_untrusted(peer, hops.into_iter().rev(), trusted)
}

/// Walks from the nearest hop outwards.
fn last_untrusted(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> Result<IpAddr, Unreadable> {
    let mut client = peer;
    for hop in hops {
        client = hop.ok_or(Unreadable)?.to_canonical();
        if !is_trusted(client, trusted) {
            break;
        }
    }
    Ok(client)
}

/// Empty for a value that is not ASCII; an empty hop is no address.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6)
}

/// The parts of a `Forwarded` line between commas outside quotes (RFC 7239 §4).
fn elements(line: &str) -> impl Iterator<Item = &str> {
    split(line, ',')
}

/// The address of an element's only `for`; `unknown` and hidden names are none.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim_ascii().eq_ignore_ascii_case("for") {
            let value = value.trim_ascii();
            let bare = match value.strip_prefix('"') {
                Some(rest) => rest.strip_suffix('"')?,
                None => value,
            };
            if found.replace(address(bare)?).is_some() {
                return None;
            }
        }
    }
    found
}

fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        let divides = character == separator && !quoted;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        divides
    })
}

/// Reads a PROXY header, version 1 or 2, and not a byte more. `None` if it names no client
/// (`LOCAL`, `UNKNOWN`, other families): the socket's peer counts then.
///
/// # Errors
/// Anything else than a complete, well-formed header. The caller sets the deadline.
pub(super) async fn read_proxy_header(
    tcp: &mut TcpStream,
) -> Result<Option<SocketAddr>, ProxyError> {
    let mut bytes = vec![0; PREFIX_BYTES];
    tcp.read_exact(&mut bytes).await?;
    if bytes.starts_with(b"PROXY ") {
        read_line(tcp, &mut bytes).await?;
    } else if bytes == V2_SIGNATURE {
        read_v2(tcp, &mut bytes).await?;
    } else {
        return Err(ProxyError::Malformed);
    }
    proxy_source(&bytes)
}

/// The client that one whole PROXY header names.
///
/// # Errors
/// If it is malformed, or something follows it.
pub(crate) fn proxy_source(bytes: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (header, length) = ProxyHeader::parse(bytes, config).map_err(|_| ProxyError::Malformed)?;
    if length != bytes.len() {
        return Err(ProxyError::Malformed);
    }
    Ok(header.proxied_address().map(|address| address.source))
}

/// The rest of a version 1 line. What follows it belongs to TLS, so it is peeked at before it is
/// taken.
async fn read_line(tcp: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), ProxyError> {
    while !bytes.ends_with(b"\n") {
        let mut ahead = [0; V1_BYTES_MAX];
        let room = V1_BYTES_MAX.checked_sub(bytes.len()).filter(|room| *room > 0);
        let room = room.ok_or(ProxyError::Malformed)?;
        let seen = tcp.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        let line_end = ahead[..seen].iter().position(|byte| *byte == b'\n');
        let count = line_end.map_or(seen, |end| end + 1);
        let start = bytes.len();
        bytes.resize(start + count, 0);
        tcp.read_exact(&mut bytes[start..]).await?;
    }
    Ok(())
}

/// The rest of a version 2 header; its own length field is the authority.
async fn read_v2(tcp: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), ProxyError> {
    let mut fixed = [0; 4];
    tcp.read_exact(&mut fixed).await?;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > V2_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    bytes.extend(fixed);
    let start = bytes.len();
    bytes.resize(start + length, 0);
    tcp.read_exact(&mut bytes[start..]).await?;
    Ok(())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Shorter than the shortest header of either version.
const PREFIX_BYTES: usize = 12;
const V1_BYTES_MAX: usize = 107;
const V2_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, lines: &[(&str, &str)]) -> Result<String, Unreadable> {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8:f::/48"].map(|net| net.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let client = client_address(peer.parse().unwrap(), &headers, &trusted);
        client.map(|ip| ip.to_string())
    }

    fn xff(peer: &str, value: &str) -> Result<String, Unreadable> {
        client(peer, &[("x-forwarded-for", value)])
    }

    fn fwd(value: &str) -> Result<String, Unreadable> {
        client("10.0.0.1", &[("forwarded", value)])
    }

    fn is(text: &str) -> Result<String, Unreadable> {
        Ok(text.into())
    }

    #[test]
    fn i01_an_untrusted_peer_is_not_listened_to() {
        assert_eq!(xff("198.51.100.7", "203.0.113.9"), is("198.51.100.7"));
        let lines = [("forwarded", "for=203.0.113.9"), ("x-real-ip", "203.0.113.9")];
        assert_eq!(client("198.51.100.7", &lines), is("198.51.100.7"));
        assert_eq!(xff("198.51.100.7", "garbage"), is("198.51.100.7"));
    }

    #[test]
    fn i02_the_right_most_untrusted_hop_is_the_client() {
        assert_eq!(xff("10.0.0.1", "1.1.1.1, 2.2.2.2"), is("2.2.2.2"));
        assert_eq!(xff("10.0.0.1", "1.1.1.1, 2.2.2.2 ,10.0.0.2"), is("2.2.2.2"));
        assert_eq!(xff("10.0.0.1", "10.0.0.3, 10.0.0.2"), is("10.0.0.3"));
        assert_eq!(client("10.0.0.1", &[]), is("10.0.0.1"));
    }

    #[test]
    fn i03_several_lines_are_one_list_in_their_order() {
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), is("2.2.2.2"));
        let lines = [("forwarded", "for=1.1.1.1"), ("forwarded", "for=2.2.2.2")];
        assert_eq!(client("10.0.0.1", &lines), is("2.2.2.2"));
    }

    #[test]
    fn i04_i06_other_spellings_say_nothing() {
        for name in ["x_forwarded_for", "x-forwarded_for", "x-real-ip", "true-client-ip"] {
            assert_eq!(client("10.0.0.1", &[(name, "203.0.113.9")]), is("10.0.0.1"));
        }
    }

    #[test]
    fn i05_of_two_sources_x_forwarded_for_decides() {
        let lines = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert_eq!(client("10.0.0.1", &lines), is("2.2.2.2"));
        let lines = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "x")];
        assert_eq!(client("10.0.0.1", &lines), Err(Unreadable));
    }

    #[test]
    fn i22_mapped_addresses_are_the_ipv4_ones() {
        assert_eq!(xff("::ffff:10.0.0.1", "::ffff:2.2.2.2"), is("2.2.2.2"));
        assert_eq!(xff("::ffff:198.51.100.7", "2.2.2.2"), is("198.51.100.7"));
        assert_eq!(xff("10.0.0.1", "2.2.2.2, ::ffff:10.1.1.1"), is("2.2.2.2"));
    }

    #[test]
    fn addresses_come_with_and_without_port_and_brackets() {
        for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
            assert_eq!(xff("10.0.0.1", text), is("2001:db8::1"));
        }
        assert_eq!(xff("10.0.0.1", "2.2.2.2:80"), is("2.2.2.2"));
        assert_eq!(xff("2001:db8:f::1", "2.2.2.2"), is("2.2.2.2"));
    }

    #[test]
    fn garbage_matters_only_where_it_decides() {
        for value in ["", "x", "unknown", "1.1.1.1,", "1.1.1.1 2.2.2.2", "1.1.1.1;", "\u{e9}"] {
            assert_eq!(xff("10.0.0.1", value), Err(Unreadable), "{value}");
        }
        assert_eq!(xff("10.0.0.1", "x, 2.2.2.2"), is("2.2.2.2"));
        assert_eq!(xff("10.0.0.1", "x, 2.2.2.2, 10.0.0.2"), is("2.2.2.2"));
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        assert_eq!(fwd("for=1.1.1.1, For=\"[2001:db8::1]:4711\";proto=http"), is("2001:db8::1"));
        assert_eq!(fwd("proto=https; by=\"a,b;for=1.1.1.1\" ;for=2.2.2.2"), is("2.2.2.2"));
        assert_eq!(fwd("by=\"a\\\",for=1.1.1.1\";for=2.2.2.2"), is("2.2.2.2"));
        for value in
            ["for=unknown", "for=_hidden", "proto=http", "for=1.1.1.1;for=2.2.2.2", ";", ""]
        {
            assert_eq!(fwd(value), Err(Unreadable), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_or_trust_a_stranger(xff in ".{0,60}", fwd in ".{0,60}") {
            let _ = client("10.0.0.1", &[("forwarded", &fwd.replace(char::is_control, ""))]);
            let xff = xff.replace(char::is_control, "");
            let stranger = client("192.0.2.1", &[("x-forwarded-for", &xff)]);
            prop_assert_eq!(stranger, is("192.0.2.1"));
            let _ = client("10.0.0.1", &[("x-forwarded-for", &xff)]);
        }
    }
}
