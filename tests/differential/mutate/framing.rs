//! Where a message ends: lengths, chunks, requests in front of, behind and inside of one another.

use super::Mutator;
use crate::draft::{Draft, Wrap};
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("chunked", chunked),
    ("chunked", chunked),
    ("length", length),
    ("both", both),
    ("coding", coding),
    ("before", before),
    ("before", before),
    ("after", after),
    ("inside", inside),
    ("inside", inside),
];

/// In chunks, well made or not.
fn chunked(draft: &mut Draft, roll: &mut Roll) {
    let size = roll.pick(&[1, 2, 7, 50, 10_000]);
    let kind = roll.below(16);
    let (lines, body) = draft.framed();
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        let length = chunk.len();
        let head = match kind {
            0 => format!("{length:x};ext=1\r\n"),
            1 => format!("{length:x};ext=\"a\nb\"\r\n"),
            2 => format!("000{length:x}\r\n"),
            3 => format!("{length:X} \r\n"),
            4 => format!("{length:x}\n"),
            5 => format!("0x{length:x}\r\n"),
            6 => format!("+{length:x}\r\n"),
            7 => format!("{length:x};\r\n"),
            _ => format!("{length:x}\r\n"),
        };
        wire.extend([head.as_bytes(), chunk, if kind == 8 { b"\n" } else { b"\r\n" }].concat());
    }
    let end: &[u8] = match kind {
        9 => b"0\r\ncontent-type: application/json\r\n\r\n",
        10 => b"0\r\nx: y\r\n\r\n",
        11 => b"0\r\n",
        12 => b"00000000000000000\r\n\r\n",
        13 => b"",
        14 => b"0;x\r\n\r\n",
        15 => b"0\r\n\r\n0\r\n\r\n",
        _ => b"0\r\n\r\n",
    };
    wire.extend(end);
    *body = wire;
    *lines = vec![b"transfer-encoding: chunked".to_vec()];
}

fn length(draft: &mut Draft, roll: &mut Roll) {
    let (lines, body) = draft.framed();
    let n = body.len();
    *lines = match roll.below(16) {
        0 => vec![format!("content-length: +{n}")],
        1 => vec![format!("content-length: 0{n}")],
        2 => vec![format!("content-length: {n}, {n}")],
        3 => vec![format!("content-length: {n}"), format!("content-length: {n}")],
        4 => vec![format!("content-length: {n}"), "content-length: 0".into()],
        5 => vec!["content-length: 0".into(), format!("content-length: {n}")],
        6 => vec![format!("content-length: {}", n.saturating_sub(1))],
        7 => vec![format!("content-length: {}", n + 1)],
        8 => vec!["content-length: 0".into()],
        9 => Vec::new(),
        10 => vec![format!("content-length: 0x{n:x}")],
        11 => vec![format!("content-length: {n}.0")],
        12 => vec![format!("content-length:\t{n}\t")],
        13 => vec![format!("content_length: {n}")],
        14 => vec![format!("content-length: {n}"), "content_length: 0".into()],
        _ => vec!["content-length: 18446744073709551616".into()],
    }
    .into_iter()
    .map(String::into_bytes)
    .collect();
}

/// A length and chunks.
fn both(draft: &mut Draft, roll: &mut Roll) {
    let (lines, body) = draft.framed();
    let n = body.len();
    if roll.coin() {
        let chunk = format!("{n:x}\r\n");
        *body = [chunk.as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    }
    let length = format!("content-length: {}", roll.pick(&[0, 1, n, body.len()])).into_bytes();
    *lines = vec![b"transfer-encoding: chunked".to_vec(), length];
    if roll.coin() {
        lines.reverse();
    }
}

/// Odd spellings of the transfer coding.
fn coding(draft: &mut Draft, roll: &mut Roll) {
    let (lines, body) = draft.framed();
    let chunk = format!("{:x}\r\n", body.len());
    let coded = [chunk.as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    let spelt: &[&str] = roll.pick(&[
        &["Transfer-Encoding: Chunked"][..],
        &["transfer-encoding: chunked, identity"],
        &["transfer-encoding: identity, chunked"],
        &["transfer-encoding: identity"],
        &["transfer-encoding: xchunked"],
        &["transfer-encoding:\tchunked\t"],
        &["transfer-encoding: chunked;q=1"],
        &["transfer-encoding: \"chunked\""],
        &["transfer-encoding: chunked", "transfer-encoding: chunked"],
        &["transfer-encoding: chunked", "transfer-encoding: identity"],
        &["transfer-encoding : chunked"],
        &["transfer_encoding: chunked"],
        &["transfer-encoding:"],
        &["transfer-encoding: gzip, chunked"],
        &["transfer-encoding: chunked,"],
        &["transfer-encoding:\x0bchunked"],
    ]);
    let keep = roll.coin();
    if roll.coin() {
        *body = coded;
    }
    if !keep {
        lines.clear();
    }
    lines.extend(spelt.iter().map(|line| line.as_bytes().to_vec()));
}

/// Other bytes or requests come first on the connection.
fn before(draft: &mut Draft, roll: &mut Roll) {
    let ordinary = |line, more| draft.ordinary(line, more);
    draft.before = match roll.below(12) {
        0 => b"\r\n".to_vec(),
        1 => b"\n".to_vec(),
        2 => b"\r\n\r\n".to_vec(),
        3 => ordinary("GET /api/v5/market/ticker", "\r\n"),
        4 => ordinary("POST /api/v5/trade/order", "content-length: 2\r\n\r\n{}"),
        5 => ordinary(
            "POST /api/v5/trade/order",
            "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ),
        6 => ordinary("GET /api/v5/market/ticker", "content-length: 2\r\n\r\n{}"),
        7 => ordinary("OPTIONS *", "\r\n"),
        8 => ordinary("HEAD /api/v5/asset/balances", "\r\n"),
        9 => ordinary(
            "GET /api/v5/market/ticker",
            "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        10 => ordinary(
            "POST /api/v5/trade/order",
            "expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
        ),
        _ => ordinary(
            "GET /api/v5/market/ticker",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        ),
    };
}

fn after(draft: &mut Draft, roll: &mut Roll) {
    draft.after = match roll.below(5) {
        0 => b"\r\n".to_vec(),
        1 => b"x".to_vec(),
        2 => b"0\r\n\r\n".to_vec(),
        3 => draft.ordinary("GET /api/v5/market/ticker", "\r\n"),
        _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    };
}

/// The whole request as the body of an ordinary one, or as what an ordinary one's framing leaves over.
fn inside(draft: &mut Draft, roll: &mut Roll) {
    draft.inside = Some(roll.pick(&[
        (|draft, guarded| wrapped(draft, "POST /api/v5/trade/order", &guarded, |n| format!("content-length: {n}"))) as Wrap,
        |draft, guarded| wrapped(draft, "GET /api/v5/market/ticker", &guarded, |n| format!("content-length: {n}")),
        |draft, guarded| wrapped(draft, "OPTIONS /api/v5/market/ticker", &guarded, |n| format!("content-length: {n}")),
        |draft, guarded| wrapped(draft, "DELETE /api/v5/trade/order", &guarded, |n| format!("content-length: {n}")),
        |draft, guarded| wrapped(draft, "GET /api/v5/asset/balances", &guarded, |n| format!("content_length: {n}")),
        |draft, guarded| wrapped(draft, "HEAD /api/v5/asset/balances", &guarded, |n| format!("content-length: {n}")),
        |draft, guarded| wrapped(draft, "POST /api/v5/trade/order", &guarded, |n| format!("content-length: {n}\r\nexpect: 100-continue")),
        |draft, guarded| wrapped(draft, "POST /api/v5/trade/order", &guarded, |n| format!("content-length: {n}\r\ntransfer-encoding: identity")),
        |draft, guarded| wrapped(draft, "POST /api/v5/trade/order", &guarded, |n| format!("content-length: {n}\r\nconnection: content-length")),
        |draft, guarded| wrapped(draft, "GET /api/v5/market/ticker", &guarded, |n| format!("content-length: {n}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")),
        |draft, guarded| left_over(draft, &guarded, "0\r\n\r\n"),
        |draft, guarded| left_over(draft, &guarded, "0;\n\n\r\n\r\n"),
        |draft, guarded| left_over(draft, &guarded, "1;\r\nx\r\n0\r\n\r\n"),
    ]));
}

fn wrapped(draft: &Draft, line: &str, guarded: &[u8], framing: fn(usize) -> String) -> Vec<u8> {
    let head = draft.ordinary(line, &format!("{}\r\n\r\n", framing(guarded.len())));
    [&head[..], guarded].concat()
}

/// Behind the end that chunks have and the length has not.
fn left_over(draft: &Draft, guarded: &[u8], end: &str) -> Vec<u8> {
    let length = end.len() + guarded.len();
    let more = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{end}");
    [&draft.ordinary("POST /api/v5/trade/order", &more)[..], guarded].concat()
}
