//! Parameters: doubled, renamed, of another kind, somewhere else.

use super::Mutator;
use crate::draft::{Draft, Pair, Spelling, form, json, media_of};
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("double", double),
    ("rename", rename),
    ("alias", alias),
    ("value", value),
    ("extra", extra),
    ("respell", respell),
    ("respell", respell),
    ("elsewhere", elsewhere),
    ("elsewhere", elsewhere),
    ("nest", nest),
];

fn some(draft: &Draft, roll: &mut Roll) -> usize {
    roll.below(draft.pairs.len())
}

/// A decoy before or after.
fn double(draft: &mut Draft, roll: &mut Roll) {
    let at = some(draft, roll);
    let mut decoy = draft.pairs[at].clone();
    decoy.value = if decoy.name == b"amt" { b"1".to_vec() } else { b"GOOD".to_vec() };
    draft.pairs.insert(at + roll.below(2), decoy);
}

/// Other spellings of a name; `{}` is the name.
const NAMES: &[&str] = &[
    "{}[]",
    "{}[0]",
    "[{}]",
    "{}[x]",
    "data[{}]",
    "{}.x",
    "{} ",
    " {}",
    "+{}",
    "%20{}",
    "{}%20",
    "{}%00",
    "{}%00x",
    "{}\\u0000",
    "{};x",
    "x;{}",
    "__proto__[{}]",
    "constructor[prototype][{}]",
    "{}%5b%5d",
    "{}%5B0%5D",
    "{}[",
    "{}]",
    "{}%0a",
    "{}\\n",
    "_{}",
    "{}\u{200b}",
    "\u{feff}{}",
    "$.{}",
    "{}__x",
];

fn respelt(name: &[u8], roll: &mut Roll) -> Vec<u8> {
    let name = String::from_utf8_lossy(name).into_owned();
    match roll.below(8) {
        0 => name.to_uppercase().into(),
        1 => {
            let mut letters = name.into_bytes();
            if let Some(first) = letters.first_mut() {
                first.make_ascii_uppercase();
            }
            letters
        }
        // The first letter in a notation that its parser takes away.
        2 => format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]).into(),
        3 => format!("%{:02x}{}", name.as_bytes()[0], &name[1..]).into(),
        4 => name
            .chars()
            .map(|letter| char::from_u32(letter as u32 + 0xfee0).unwrap_or(letter))
            .collect::<String>()
            .into(),
        _ => roll.pick(NAMES).replace("{}", &name).into(),
    }
}

fn rename(draft: &mut Draft, roll: &mut Roll) {
    let at = some(draft, roll);
    if draft.pairs[at].name.is_ascii() && !draft.pairs[at].name.is_empty() {
        draft.pairs[at].name = respelt(&draft.pairs[at].name.clone(), roll);
    }
}

/// The decoy under the right name, the theft under another spelling of it.
fn alias(draft: &mut Draft, roll: &mut Roll) {
    let at = some(draft, roll);
    let mut theft = draft.pairs[at].clone();
    if theft.name.is_ascii() && !theft.name.is_empty() {
        theft.name = respelt(&theft.name, roll);
    }
    draft.pairs[at].value = b"1".to_vec();
    draft.pairs.insert(at + roll.below(2), theft);
}

fn value(draft: &mut Draft, roll: &mut Roll) {
    let at = some(draft, roll);
    let (value, quoted): (&[u8], bool) = roll.pick(&[
        (b"9999", false),
        (b"9999.0", false),
        (b"1e4", false),
        (b"1E400", false),
        (b"-1", false),
        (b"[9999]", false),
        (b"[1,9999]", false),
        (b"{\"$gt\":0}", false),
        (b"{\"amt\":9999}", false),
        (b"null", false),
        (b"true", false),
        (b"9007199254740993", false),
        (b"0x270f", false),
        (b"NaN", false),
        (b"'9999'", false),
        (b"", true),
        (b" 9999", true),
        (b"+9999", true),
        (b"9,999", true),
        (b"\xef\xbc\x91", true),
        (b"9999%00", true),
        (b"9999\\u0000", true),
        (b"9999\xff", true),
        (b"\\ud800", true),
        (b"a&amt=1", true),
        (b"a;amt=1", true),
        (b"%", true),
        (b"%zz", true),
        (b"%u0039", true),
        (b"a=b", true),
        (b"{\"a\":1}", true),
        (b"1\r\n--x--", true),
    ]);
    draft.pairs[at].value = value.to_vec();
    draft.pairs[at].quoted = quoted;
}

fn extra(draft: &mut Draft, roll: &mut Roll) {
    let (name, value, quoted) = roll.pick(&[
        ("__proto__", "{\"amt\":9999}", false),
        ("constructor", "{}", false),
        ("_method", "POST", true),
        ("_method", "GET", true),
        ("_charset_", "utf-16", true),
        ("x", "1", true),
        ("", "", true),
        ("clientId", "1", true),
        ("utf8", "\u{2713}", true),
        ("x", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", false),
        ("amount", "1", true),
        ("data", "{\"amt\":\"9999\",\"toAddr\":\"EVIL\"}", false),
        ("json", "{\"amt\":\"9999\",\"toAddr\":\"EVIL\"}", true),
        ("XDEBUG_SESSION", "1", true),
        ("jsoncallback", "x", true),
    ]);
    let at = roll.below(draft.pairs.len() + 1);
    draft.pairs.insert(at, Pair { quoted, ..Pair::new(name, value) });
}

/// Another spelling of all of them; the media type follows or does not.
fn respell(draft: &mut Draft, roll: &mut Roll) {
    draft.spelling =
        roll.pick(&[Spelling::Json, Spelling::Form, Spelling::Query, Spelling::Multipart]);
    if roll.coin() {
        draft.media = media_of(draft.spelling).map(<[u8]>::to_vec).into_iter().collect();
    }
}

/// Some or all of them in the query, or a body of another kind beside a query.
fn elsewhere(draft: &mut Draft, roll: &mut Roll) {
    match roll.below(4) {
        0 => {
            let at = some(draft, roll);
            let moved = if draft.pairs.len() > 1 {
                draft.pairs.remove(at)
            } else {
                draft.pairs[at].clone()
            };
            draft.ask(&String::from_utf8_lossy(&form(&[moved])));
        }
        1 => {
            let all = form(&draft.pairs);
            draft.ask(&String::from_utf8_lossy(&all));
            draft.body().clear();
        }
        2 => {
            let decoys: Vec<Pair> = draft
                .pairs
                .iter()
                .map(|pair| Pair { value: b"1".to_vec(), ..pair.clone() })
                .collect();
            draft.ask(&String::from_utf8_lossy(&form(&decoys)));
        }
        _ => {
            // The query action's parameters in a body that it should not have.
            let body = if roll.coin() { json(&draft.pairs) } else { form(&draft.pairs) };
            *draft.body() = body;
            if roll.coin() {
                draft.media = media_of(roll.pick(&[Spelling::Json, Spelling::Form]))
                    .map(<[u8]>::to_vec)
                    .into_iter()
                    .collect();
            }
        }
    }
}

/// The whole object below something.
fn nest(draft: &mut Draft, roll: &mut Roll) {
    let inner = json(&draft.pairs);
    let (before, after): (&[u8], &[u8]) = roll.pick(&[
        (b"[", b"]"),
        (b"[[", b"]]"),
        (b"[{},", b"]"),
        (b"[", b",{}]"),
        (b"{\"data\":", b"}"),
        (b"{\"params\":", b"}"),
        (b"{\"\":", b"}"),
        (b"{\"__proto__\":", b"}"),
        (b"json=", b""),
        (b"payload=", b""),
        (b"data=", b"&amt=1"),
        (b"", b""),
    ]);
    *draft.body() = [before, &inner, after].concat();
}
