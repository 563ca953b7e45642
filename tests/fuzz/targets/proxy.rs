//! PROXY headers of both versions. What is taken is one whole header of the length that it says itself, and names the
//! address that stands in it.

use std::net::{IpAddr, SocketAddr};

use stepgate::fuzz;

pub fn run(bytes: &[u8]) {
    // The reader hands on nothing else.
    let version_1 = bytes.starts_with(b"PROXY ") && bytes.len() <= 107;
    if !version_1 && !bytes.starts_with(V2_SIGNATURE) {
        return;
    }
    let Ok(source) = fuzz::proxy_header(bytes) else { return };
    assert!(fuzz::proxy_header(&bytes[..bytes.len() - 1]).is_err(), "a part is taken");
    assert!(fuzz::proxy_header(&[bytes, b"x"].concat()).is_err(), "more than a header is taken");
    let expected = if bytes.starts_with(b"PROXY UNKNOWN") {
        // What follows is to be passed over, whatever it is.
        assert!(bytes.ends_with(b"\r\n"));
        None
    } else if version_1 {
        named_by_line(std::str::from_utf8(bytes).expect("version 1 is text"))
    } else {
        named_by_block(bytes)
    };
    assert_eq!(source, expected);
}

fn named_by_line(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.strip_suffix("\r\n").expect("a whole line").split(' ').collect();
    let ["PROXY", family, source, destination, source_port, destination_port] = words[..] else {
        panic!("{words:?}")
    };
    let (source, destination): (IpAddr, IpAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    assert!(source.is_ipv4() == destination.is_ipv4() && source.is_ipv4() == (family == "TCP4"));
    let _: u16 = destination_port.parse().unwrap();
    Some(SocketAddr::new(source, source_port.parse().unwrap()))
}

fn named_by_block(bytes: &[u8]) -> Option<SocketAddr> {
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    assert_eq!(bytes.len(), 16 + length);
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    match (bytes[12] & 15, bytes[13] >> 4) {
        (1, 1) => {
            let ip: [u8; 4] = bytes[16..20].try_into().unwrap();
            Some((ip, port(24)).into())
        }
        (1, 2) => {
            let ip: [u8; 16] = bytes[16..32].try_into().unwrap();
            Some((ip, port(48)).into())
        }
        _ => None,
    }
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
