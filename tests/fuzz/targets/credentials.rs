//! Credentials in a head. What is found is plain text that stands there exactly once, and lax parsers (commas, quotes,
//! white space) find no other in its place.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use stepgate::fuzz;

pub fn run(bytes: &[u8]) {
    let Some((choice, lines)) = bytes.split_first() else { return };
    let from = FROM[usize::from(*choice) % FROM.len()];
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(8) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        headers.append(name, value);
    }
    let Ok(Some(found)) = fuzz::credential(from, &headers) else { return };
    assert!(!found.is_empty() && found.bytes().all(|byte| byte.is_ascii_graphic()), "{found:?}");
    match from {
        "cookie:sid" => {
            let lax = lax_cookies(&headers);
            assert!(lax.iter().all(|other| *other == found.as_bytes()), "{lax:?} beside {found}");
        }
        "bearer" => {
            let value = only(&headers, &AUTHORIZATION);
            let words: Vec<&[u8]> =
                value.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
            assert!(words.len() == 2 && words[0].eq_ignore_ascii_case(b"bearer"), "{words:?}");
            assert_eq!(words[1], found.as_bytes());
        }
        "header:x-key" => {
            let value = only(&headers, &HeaderName::from_static("x-key"));
            assert_eq!(value.trim_ascii(), found.as_bytes());
        }
        _ => {
            let value = only(&headers, &AUTHORIZATION);
            let lower = value.to_ascii_lowercase();
            let named = |piece: &&[u8]| piece.starts_with(b"credential=");
            let lax = lower.split(|byte| b",; \t\"'".contains(byte)).filter(named).count();
            let quoted = lower.split(|byte| *byte == b'"').filter(named).count();
            assert!(lower.starts_with(b"hmac ") && lax <= 1 && quoted <= 1, "{lax} of {found:?}");
        }
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h [u8] {
    let mut values = headers.get_all(name).iter();
    let first = values.next().expect("it was found").as_bytes();
    assert!(values.next().is_none(), "two {name} headers");
    first
}

/// Every value of a cookie `sid` that some parser has been seen to find.
fn lax_cookies(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for line in headers.get_all(COOKIE) {
        for separators in [&b";"[..], b";,", b"; \t", b";,\" \t"] {
            for piece in line.as_bytes().split(|byte| separators.contains(byte)) {
                let piece = piece.trim_ascii();
                let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { continue };
                if piece[..equals].trim_ascii() == b"sid" {
                    found.push(piece[equals + 1..].trim_ascii().to_vec());
                }
            }
        }
    }
    found
}

const FROM: [&str; 4] = ["cookie:sid", "bearer", "header:x-key", "authorization:hmac:credential"];
