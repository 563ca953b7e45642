//! The bytes of a body: white space, charsets, codings, what stands around the value.

use super::Mutator;
use crate::draft::{Draft, form};
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("around", around),
    ("within", within),
    ("charset", charset),
    ("escapes", escapes),
    ("zipped", zipped),
    ("separators", separators),
    ("large", large),
];

fn around(draft: &mut Draft, roll: &mut Roll) {
    let (before, after): (&[u8], &[u8]) = roll.pick(&[
        (b"\xef\xbb\xbf", b""),
        (b" \t\r\n", b"\r\n "),
        (b"\n", b""),
        (b"\x00", b""),
        (b"", b"\x00"),
        (b"", b"\x00{}"),
        (b"", b"}"),
        (b"", b"{}"),
        (b"", b"\n{\"amt\":\"1\"}"),
        (b"{}\n", b""),
        (b"//x\n", b""),
        (b"/*x*/", b"/*x*/"),
        (b")]}',\n", b""),
        (b"\x0b", b""),
        (b"\xc2\xa0", b""),
        (b"", b"\xff"),
        (b"", b" x"),
        (b"&", b"&"),
        (b"?", b""),
        (b"amt=1&", b""),
        (b"", b"&amt=1"),
        (b"", b"&amt=9999&toAddr=EVIL"),
        (b"", b"\r\n"),
        (b"", b";"),
        (b"#", b""),
        (b"--x\r\n\r\n", b""),
        (b"\"", b"\""),
    ]);
    let body = draft.body();
    *body = [before, body, after].concat();
}

fn within(draft: &mut Draft, roll: &mut Roll) {
    let (old, new): (&[u8], &[u8]) = roll.pick(&[
        (b"}", b",}"),
        (b"{", b"{,"),
        (b"{", b"{/*x*/"),
        (b"{", b"{//x\n"),
        (b":", b" : "),
        (b":", b"="),
        (b",", b",\n"),
        (b",", b",,"),
        (b",", b";"),
        (b"\"", b"'"),
        (b"\"", b""),
        (b"{", b"{\"\\u0061mt\":\"1\","),
        (b"{", b"{\"amt\":\"1\",\"amt\":\"2\","),
        (b"}", b",\"toAddr\":\"GOOD\"}"),
        (b"}", b",\"x\":NaN}"),
        (b"}", b",\"x\":Infinity}"),
        (b"}", b",\"x\":\"\t\"}"),
        (b"}", b",\"x\":\"\\x41\"}"),
        (b"}", b",\"x\":\"\xed\xa0\x80\"}"),
        (b"}", b",\"x\":01}"),
        (b"}", b""),
        (b"amt", b"amt\xc2\xad"),
        (b"9999", b"99\x009"),
        (b"EVIL", b"EVIL\xff"),
        (b"name=", b"name*=utf-8''"),
        (b"name=", b"NAME="),
        (b"form-data", b"FORM-DATA"),
        (b"form-data;", b"attachment;"),
        (b"form-data;", b"form-data; filename=x;"),
        (b"\r\n\r\n", b"\r\ncontent-type: application/json\r\n\r\n"),
        (b"\r\n\r\n", b"\r\ncontent-transfer-encoding: base64\r\n\r\n"),
        (b"\r\n", b"\n"),
        (b"--x", b"--y"),
    ]);
    let body = draft.body();
    if let Some(at) = body.windows(old.len()).position(|window| window == old) {
        body.splice(at..at + old.len(), new.iter().copied());
    }
}

fn charset(draft: &mut Draft, roll: &mut Roll) {
    let Ok(text) = String::from_utf8(draft.body().clone()) else { return };
    let (name, mark, bytes): (&str, &[u8], Vec<u8>) = match roll.below(6) {
        0 => ("utf-16le", b"\xff\xfe", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        1 => ("utf-16", b"\xfe\xff", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        2 => (
            "utf-32",
            b"\xff\xfe\0\0",
            text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect(),
        ),
        3 => (
            "utf-32be",
            b"\0\0\xfe\xff",
            text.chars().flat_map(|letter| u32::from(letter).to_be_bytes()).collect(),
        ),
        4 => ("utf-7", b"", text.replace('{', "+AHs-").replace('"', "+ACI-").into()),
        _ => ("ibm037", b"", ebcdic(&text)),
    };
    let marked = roll.coin();
    *draft.body() = if marked { [mark, &bytes].concat() } else { bytes };
    if roll.coin()
        && let Some(media) = draft.media.first_mut()
    {
        media.extend(format!("; charset={name}").bytes());
    }
}

/// Letters and digits of IBM code page 37, with the punctuation of a form.
fn ebcdic(text: &str) -> Vec<u8> {
    let code = |byte: u8| match byte {
        b'0'..=b'9' => 0xf0 + (byte - b'0'),
        b'a'..=b'i' => 0x81 + (byte - b'a'),
        b'j'..=b'r' => 0x91 + (byte - b'j'),
        b's'..=b'z' => 0xa2 + (byte - b's'),
        b'A'..=b'I' => 0xc1 + (byte - b'A'),
        b'J'..=b'R' => 0xd1 + (byte - b'J'),
        b'S'..=b'Z' => 0xe2 + (byte - b'S'),
        b'=' => 0x7e,
        b'&' => 0x50,
        b'"' => 0x7f,
        b':' => 0x7a,
        b',' => 0x6b,
        b'{' => 0xc0,
        b'}' => 0xd0,
        other => other,
    };
    text.bytes().map(code).collect()
}

/// Letters of names and values as escapes of JSON or of forms.
fn escapes(draft: &mut Draft, roll: &mut Roll) {
    let share = roll.pick(&[2, 6]);
    let kind = roll.below(4);
    let mut body = Vec::new();
    for byte in draft.body().clone() {
        let spelt = match kind {
            _ if !byte.is_ascii_alphanumeric() || roll.below(share) != 0 => vec![byte],
            0 => format!("\\u{byte:04x}").into_bytes(),
            1 => format!("%{byte:02x}").into_bytes(),
            2 => format!("%u{byte:04x}").into_bytes(),
            _ => format!("%25{byte:02x}").into_bytes(),
        };
        body.extend(spelt);
    }
    *draft.body() = body;
}

/// A coded body, honestly labelled or not.
fn zipped(draft: &mut Draft, roll: &mut Roll) {
    let plain = draft.body().clone();
    let (name, bytes) = match roll.below(3) {
        0 => ("gzip", gzip(&plain)),
        1 => ("deflate", zlib(&plain)),
        _ => ("deflate", stored(&plain)),
    };
    *draft.body() = bytes;
    match roll.below(6) {
        0 => {}
        1 => draft.header("content-encoding", &name.to_uppercase()),
        2 => draft.header("Content_Encoding", name),
        _ => draft.header("content-encoding", name),
    }
}

/// One uncompressed block of DEFLATE.
fn stored(plain: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let plain = &plain[..usize::from(length)];
    [&[1], &length.to_le_bytes()[..], &(!length).to_le_bytes(), plain].concat()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let crc = !plain.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let length = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    [&head[..], &stored(plain), &crc.to_le_bytes(), &length.to_le_bytes()].concat()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let (low, high) = plain.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    [&[0x78, 0x01][..], &stored(plain), &((high << 16) | low).to_be_bytes()].concat()
}

/// The separators of form pairs as other parsers have them, in body and query.
fn separators(draft: &mut Draft, roll: &mut Roll) {
    let with: &[u8] =
        roll.pick(&[b";", b"&&", b"&amp;", b"%26", b"\n", b"&=&", b"& ", b"&x&", b"|", b","]);
    let pairs = form(&draft.pairs);
    let spelt: Vec<u8> = pairs.split(|byte| *byte == b'&').collect::<Vec<_>>().join(with);
    let text = String::from_utf8_lossy(&spelt).into_owned();
    if draft.media.is_empty() {
        draft.body().clear();
        draft.ask(&text);
    } else {
        *draft.body() = spelt;
    }
}

/// More than an inspector may want to read, before or behind.
fn large(draft: &mut Draft, roll: &mut Roll) {
    let count = roll.pick(&[1_000, 9_000, 66_000, 120_000]);
    let filler = roll.pick(b" &\na");
    let filler = vec![filler; count];
    let body = draft.body();
    *body = if roll.coin() { [&filler[..], body].concat() } else { [&body[..], &filler].concat() };
}
