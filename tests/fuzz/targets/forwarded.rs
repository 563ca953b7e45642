//! `X-Forwarded-For` and `Forwarded`. A stranger is not listened to, and whatever a client writes, the address that a
//! trusted proxy adds behind it decides.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use stepgate::listen::peer::client_address;

pub fn run(bytes: &[u8]) {
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "2001:db8:f::/48"].map(|net| net.parse().unwrap());
    let (stranger, proxy): (IpAddr, IpAddr) = ([198, 51, 100, 7].into(), [10, 0, 0, 1].into());
    let added: IpAddr = [203, 0, 113, 9].into();
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(6) {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = if kind & 1 == 0 { XFF } else { FORWARDED };
        let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) else { continue };
        headers.append(name, value);
    }
    assert_eq!(client_address(stranger, &headers, &trusted), Ok(stranger));
    assert_eq!(client_address(proxy, &headers, &[]), Ok(proxy));
    if let Ok(client) = client_address(proxy, &headers, &trusted) {
        assert_eq!(client, client.to_canonical());
        assert_eq!(client_address(proxy, &headers, &trusted), Ok(client));
    }
    // A proxy adds a line of its own …
    let mut with_line = headers.clone();
    with_line.append(XFF, HeaderValue::from_static("203.0.113.9, 10.0.0.2"));
    assert_eq!(client_address(proxy, &with_line, &trusted), Ok(added));
    if !headers.contains_key(XFF) {
        headers.append(FORWARDED, HeaderValue::from_static("for=203.0.113.9, for=10.0.0.2"));
        assert_eq!(client_address(proxy, &headers, &trusted), Ok(added));
        return;
    }
    // … or writes behind the last.
    let lines: Vec<HeaderValue> = headers.get_all(XFF).iter().cloned().collect();
    let Some((last, before)) = lines.split_last() else { return };
    headers.remove(XFF);
    for line in before {
        headers.append(XFF, line.clone());
    }
    let longer = [last.as_bytes(), b", 203.0.113.9"].concat();
    headers.append(XFF, HeaderValue::from_bytes(&longer).unwrap());
    let client = client_address(proxy, &headers, &trusted);
    assert!(client == Ok(added) || (client.is_err() && last.to_str().is_err()), "{client:?}");
}

const XFF: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
