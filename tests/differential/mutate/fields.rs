//! Header fields: type, coding, host, connection, and lines that parsers disagree on.

use super::Mutator;
use crate::draft::Draft;
use crate::kit::HOST;
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("media", media),
    ("media", media),
    ("two_media", two_media),
    ("coding", coding),
    ("host", host),
    ("connection", connection),
    ("syntax", syntax),
    ("hop", hop),
    ("many", many),
];

const MEDIA: &[&[u8]] = &[
    b"application/JSON",
    b"APPLICATION/json",
    b"application/json;charset=utf-8",
    b"application/json; charset=UTF-16",
    b"application/json; charset=utf-7",
    b"application/json; charset=utf-8x",
    b"application/json; charset=latin1",
    b"application/json; charset=",
    b"application/json;;",
    b"application/json;",
    b"application/json; x",
    b"application/json, text/plain",
    b"text/plain, application/json",
    b"application/json\t",
    b" application/json",
    b"text/json",
    b"text/plain",
    b"text/html",
    b"*/*",
    b"application/*+json",
    b"application/vnd.api+json",
    b"application/x-json",
    b"application/jsonp",
    b"application/csp-report",
    b"application/x-ndjson",
    b"application/javascript",
    b"application/octet-stream",
    b"application/xml",
    b"json",
    b"",
    b"/",
    b"application/",
    b"application",
    b"x",
    b"application/x-www-form-urlencoded",
    b"application/x-www-form-urlencoded; charset=utf-8",
    b"application/x-www-form-urlencoded;charset=utf-16",
    b"APPLICATION/X-WWW-FORM-URLENCODED",
    b"application/x-www-form-urlencoded, application/json",
    b"multipart/form-data; boundary=x",
    b"multipart/form-data",
    b"multipart/form-data; boundary=\"x\"; boundary=y",
    b"multipart/mixed; boundary=x",
    b"application/json\x00",
    b"application/json\xa0",
    b"\"application/json\"",
    b"application /json",
    b"application/json ; charset=utf-8",
    b"application/json; charset=\"utf-8\"",
    b"application/json; charset=utf-8; charset=utf-16",
];

fn media(draft: &mut Draft, roll: &mut Roll) {
    match roll.below(8) {
        0 => draft.media.clear(),
        _ => draft.media = vec![roll.pick(MEDIA).to_vec()],
    }
}

fn two_media(draft: &mut Draft, roll: &mut Roll) {
    let other = roll.pick(MEDIA).to_vec();
    match roll.below(3) {
        0 => draft.media.push(other),
        1 => draft.media.insert(0, other),
        _ => {
            let name = roll.pick(&[
                "Content_Type",
                "CONTENT_TYPE",
                "Content-Type ",
                "X-Content-Type",
                "HTTP_CONTENT_TYPE",
                "Content-Type\t",
            ]);
            draft.lines.push([name.as_bytes(), b": ", &other].concat());
        }
    }
}

fn coding(draft: &mut Draft, roll: &mut Roll) {
    let name = roll.pick(&[
        "content-encoding",
        "Content-Encoding",
        "content_encoding",
        "Content-Encodin",
        "x-content-encoding",
        "content-transfer-encoding",
    ]);
    let value = roll.pick(&[
        "identity",
        "Identity",
        "gzip",
        "x-gzip",
        "deflate",
        "br",
        "",
        "none",
        "utf-8",
        "identity, identity",
        "gzip, identity",
        "base64",
        "zstd",
    ]);
    draft.header(name, value);
}

fn host(draft: &mut Draft, roll: &mut Roll) {
    let spelt = [
        format!("host: {HOST}:443"),
        format!("Host:{HOST}"),
        format!("HOST:  {HOST}  "),
        format!("host: {}", HOST.to_uppercase()),
        format!("host: {HOST}."),
        format!("host: user@{HOST}"),
        format!("host: {HOST}/x"),
        format!("host: {HOST}, evil.example"),
        format!("host: {HOST}:0443"),
        format!("host: {HOST}:x"),
        format!("host : {HOST}"),
        format!("host: {HOST}%00"),
        format!("host: {HOST}\r\n x"),
        "host: localhost".into(),
        "host: evil.example".into(),
        "host: 127.0.0.1".into(),
        "host:".into(),
    ];
    let line = spelt[roll.below(spelt.len())].clone().into_bytes();
    match roll.below(4) {
        0 => draft.lines.push(line),
        1 => draft.lines.insert(0, line),
        2 if roll.coin() => drop(draft.lines.remove(0)),
        _ => draft.lines[0] = line,
    }
}

fn connection(draft: &mut Draft, roll: &mut Roll) {
    let value = roll.pick(&[
        "close, content-type",
        "close, content-length",
        "close, transfer-encoding",
        "close, authorization",
        "close, x-forwarded-for",
        "close, x-case",
        "close, host",
        "close, x",
        "close, Upgrade",
        "keep-alive, close",
        "Close",
        "close,",
        "close, via",
        "close, content-encoding",
        "close, x-http-method-override",
        "close\t",
        "te, close",
        "close, cookie",
    ]);
    let name =
        roll.pick(&["connection", "Connection", "connection", "Proxy-Connection", "Keep-Alive"]);
    draft.header(name, value);
}

fn syntax(draft: &mut Draft, roll: &mut Roll) {
    let line: &[u8] = roll.pick(&[
        b"x-folded: a\r\n b",
        b"x-folded: a\r\n\tb",
        b"x-folded:\r\n  a",
        b"x-blank : a",
        b"x-blank\t: a",
        b" x-first: a",
        b"no colon",
        b": empty name",
        b":",
        b"x-null: a\x00b",
        b"x-cr: a\rb",
        b"x-lf: a\nx-next: b",
        b"x-lf: a\ncontent-length: 0",
        b"x-lf: a\n\nPOST / HTTP/1.1",
        b"x-del: \x7f",
        b"x-high: \xff\xfe",
        b"x-utf8: \xc3\xa4",
        b"x(odd): a",
        b"x\xc3\xa4: a",
        b"x@y: a",
        b"x_underscore: a",
        b"x-empty:",
        b"X-CASE: other",
        b"x-tab:\ta\t",
        b"x-vt: \x0b",
        b"\x00: a",
        b"x-esc: \x1b",
        b"x-quote: \"a",
    ]);
    match roll.below(8) {
        0 => draft.eol = b"\n",
        1 => draft.lines.insert(0, line.to_vec()),
        _ => draft.lines.push(line.to_vec()),
    }
}

/// Fields that are meant for the next hop, or that a proxy in front would have set.
fn hop(draft: &mut Draft, roll: &mut Roll) {
    let (name, value) = roll.pick(&[
        ("Expect", "100-continue"),
        ("Expect", "100-Continue"),
        ("Expect", "x"),
        ("Expect", "100-continue, x"),
        ("Upgrade", "h2c"),
        ("Upgrade", "websocket"),
        ("Upgrade", "TLS/1.0"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("TE", "trailers"),
        ("TE", "chunked"),
        ("Trailer", "content-type"),
        ("Max-Forwards", "0"),
        ("Early-Data", "1"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Prefix", "/x"),
        ("Forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 stepgate"),
        ("Proxy", "http://evil.example"),
        ("Range", "bytes=0-0"),
        ("If-Match", "*"),
        ("Accept", "text/html"),
        ("Origin", "https://evil.example"),
        ("Cookie", "amt=9999; toAddr=EVIL; _method=PUT"),
        ("Cookie", "session=x"),
        ("Content-MD5", "x"),
        ("Content-Range", "bytes 0-5/6"),
        ("Step-Up-Challenge", "x"),
        ("Stepgate-Assertion", "x"),
        ("Stepgate_Assertion", "x"),
        ("X-Requested-With", "XMLHttpRequest"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]);
    draft.header(name, value);
    if name == "Upgrade" {
        draft.header("Connection", "Upgrade");
    }
}

fn many(draft: &mut Draft, roll: &mut Roll) {
    match roll.below(3) {
        0 => {
            (0..roll.pick(&[30, 90, 101, 150])).for_each(|at| draft.header(&format!("x-{at}"), "a"))
        }
        1 => draft.header("x-long", &"a".repeat(roll.pick(&[4_000, 9_000, 17_000, 40_000]))),
        _ => draft.header("cookie", &"a=b; ".repeat(roll.pick(&[100, 1_000]))),
    }
}
