//! Method, version and separators of the request line; methods in disguise.

use super::Mutator;
use crate::draft::{Draft, Pair, Spelling, media_of};
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("method", method),
    ("disguise", disguise),
    ("disguise", disguise),
    ("version", version),
    ("gap", gap),
];

fn method(draft: &mut Draft, roll: &mut Roll) {
    let spelt: &[u8] = roll.pick(&[
        b"post",
        b"Post",
        b"PoST",
        b"put",
        b"get",
        b"POST ",
        b" POST",
        b"\tPOST",
        b"POST\x00",
        b"P\xd6ST",
        b"PUT",
        b"PATCH",
        b"DELETE",
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"FOO",
        b"CONNECT",
        b"TRACE",
        b"PROPFIND",
        b"QUERY",
        b"SEARCH",
        b"LINK",
        b"POSTS",
        b"X",
        b"",
        b"M-SEARCH",
        b"%50OST",
        b"POST,PUT",
        b"HEAD",
        b"HEAD",
    ]);
    draft.method = spelt.to_vec();
}

/// The action's method is asked for beside another one on the line.
fn disguise(draft: &mut Draft, roll: &mut Roll) {
    let wanted = String::from_utf8_lossy(&draft.method).into_owned();
    let wanted: String = wanted.chars().filter(char::is_ascii_graphic).collect();
    draft.method = roll
        .pick(&["POST", "POST", "POST", "GET", "PUT", "PATCH", "HEAD", "DELETE", "OPTIONS"])
        .into();
    let wanted = match roll.below(4) {
        0 => wanted.to_lowercase(),
        1 => format!("{wanted} "),
        _ => wanted,
    };
    match roll.below(5) {
        0 | 1 => {
            let name = roll.pick(&[
                "X-HTTP-Method-Override",
                "X-HTTP-Method",
                "X-Method-Override",
                "x_http_method_override",
                "X_HTTP-Method_Override",
                "X-Original-Method",
                "X-HTTP-Override",
                "X-Http_Method-Override",
                "Method-Override",
                "X-Request-Method",
                "X-Method",
                "X_HTTP_Method",
                "X-Forwarded-Method",
                "REQUEST_METHOD",
                "X-HTTP-Verb-Override",
            ]);
            draft.header(name, &wanted);
        }
        2 => {
            let name = roll.pick(&[
                "_method",
                "_METHOD",
                "%5fmethod",
                "%5Fm%65thod",
                "_method[]",
                "_Method",
                "x=1;_method",
                "_method=GET&_method",
                "+_method",
                "%20_method",
                "_method%00",
                "[_method]",
                "_method.",
                "http_method",
                "method",
                "_m%65thod",
                "%255fmethod",
                "_http_method",
                "X-HTTP-Method-Override",
            ]);
            draft.ask(&format!("{name}={wanted}"));
        }
        _ => {
            let name = roll.pick(&[
                "_method",
                "_METHOD",
                "%5fmethod",
                "_method[]",
                "\\u005fmethod",
                "+_method",
                "_method%00",
                "[_method]",
                "_Method",
                "%255fmethod",
            ]);
            let at = roll.below(draft.pairs.len() + 1);
            draft.pairs.insert(at, Pair::new(name, &wanted));
            if draft.spelling == Spelling::Query && roll.coin() {
                draft.spelling = roll.pick(&[Spelling::Form, Spelling::Multipart, Spelling::Json]);
                draft.media = media_of(draft.spelling).map(<[u8]>::to_vec).into_iter().collect();
            }
        }
    }
}

fn version(draft: &mut Draft, roll: &mut Roll) {
    let spelt: &[u8] = roll.pick(&[
        b"HTTP/1.0",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"HTTP/1.2",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1\t",
        b"",
        b"HTTP/0.9",
        b"HTTP/01.1",
        b"HTTP/1.01",
        b"HTTP/1",
        b"HTTP/1.1x",
        b"HTTP 1.1",
        b"HTTPS/1.1",
        b"HTTP/1,1",
        b"HTTP/9.9",
        b"ICAP/1.0",
    ]);
    draft.version = spelt.to_vec();
}

fn gap(draft: &mut Draft, roll: &mut Roll) {
    let at = roll.below(2);
    let spelt: &[u8] = roll.pick(&[
        b"  ", b"\t", b" \t", b"\x0b", b"\x0c", b"\r", b"\xa0", b" x ", b"", b"\x00", b"   ",
        b" /x ",
    ]);
    draft.gaps[at] = spelt.to_vec();
}
