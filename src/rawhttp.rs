//! A raw HTTP/1.1 request in a text file: for `explain` and for cases. Never part of the gateway's own listener.
//!
//! Lenient where a person types (bare LF, a missing Content-Length), exact in what it passes on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::inbound::Inbound;
use crate::types::{RequestId, UnixMs};

/// Head and body of the request.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn read(raw: &str) -> Result<(Inbound, Bytes), String> {
    let raw = raw.trim_start_matches(['\r', '\n']);
    let (head, body) = match (raw.split_once("\r\n\r\n"), raw.split_once("\n\n")) {
        (Some(parts), _) | (None, Some(parts)) => parts,
        (None, None) => (raw, ""),
    };
    let mut lines = head.lines();
    let mut line = lines.next().unwrap_or("").split_whitespace();
    let (Some(method), Some(target)) = (line.next(), line.next()) else {
        return Err("the first line is not `METHOD /path HTTP/1.1`".to_owned());
    };
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is no method"))?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is not `Name: value`"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let name = name.map_err(|_| format!("`{line}` has no header name"))?;
        let value = HeaderValue::from_str(value.trim());
        headers.append(name, value.map_err(|_| format!("`{line}` has no readable value"))?);
    }
    let authority = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let authority: Arc<str> = authority.into();
    let host = authority.split(':').next().unwrap_or("").to_lowercase();
    // An editor ends the file with a line break that is not part of the body.
    let body = body.strip_suffix('\n').map_or(body, |body| body.strip_suffix('\r').unwrap_or(body));
    let announced = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    if !body.is_empty() && !announced.iter().any(|name| headers.contains_key(name)) {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let head = Inbound {
        request: RequestId::new("explain"),
        method,
        host: host.into(),
        authority,
        target: target.into(),
        version: Version::HTTP_11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
        headers,
    };
    Ok((head, Bytes::copy_from_slice(body.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_request_is_read_as_it_is() {
        let raw = "POST /a?b=1 HTTP/1.1\nHost: X.example:8443\nContent-Type: application/json\n\n{\"a\":1}\n";
        let (head, body) = read(raw).unwrap();
        assert_eq!(
            (head.method.as_str(), &*head.target, &*head.host),
            ("POST", "/a?b=1", "x.example")
        );
        assert_eq!(&*body, b"{\"a\":1}");
        // No server would take the body for one otherwise.
        assert_eq!(head.headers[header::CONTENT_LENGTH], "7");
        assert!(read("GET /a\n\n\n").unwrap().0.headers.is_empty());
        assert!(read("nonsense").is_err());
        assert!(read("GET / HTTP/1.1\nbroken").is_err());
    }
}
