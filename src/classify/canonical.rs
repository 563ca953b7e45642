//! One spelling of a path: the strict grammar that a guarded target must obey, and the loose keys
//! under which every other spelling of it is recognised.
//!
//! Never forwarded: a loose key only ever answers "does this smell like that path?". Invariant: a
//! path that some server would route to a guarded path has that path's key among its keys.

use unicode_normalization::UnicodeNormalization;

/// Longest path of a guarded request, and longest odd path that loose keys are made of.
pub(super) const PATH_BYTES_MAX: usize = 2048;
/// Longest guarded request target, path and query.
pub(super) const TARGET_BYTES_MAX: usize = 8192;
/// Longest path that is looked at without an allocation.
const QUICK_BYTES_MAX: usize = 256;
/// Proxies and frameworks in a row have been seen to decode three times.
const DECODE_ROUNDS: usize = 3;
/// Suffixes that frameworks route to the same handler as the bare path.
const SUFFIXES: [&str; 6] = [".json", ".do", ".action", ".html", ".css", ".xml"];

/// Extensions of scripts that take the path behind their name for the request's (RFC 3875 §4.1.5).
const SCRIPTS: [&str; 11] =
    ["php", "phtml", "php5", "cgi", "fcgi", "pl", "py", "rb", "asp", "aspx", "dll"];

/// Whether a path is spelt as a guarded path must be: only unreserved characters and `/`, no empty,
/// `.` or `..` segment, no `/` at the end, at most 2 KiB.
pub(crate) fn is_strict(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && path.bytes().all(is_plain)
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | "..")))
}

/// Calls `visit` with every loose key of `path`; more than one because servers disagree on what a
/// path means.
///
/// False if that is not all: the path is encoded more often, or oddly spelt and so long that making
/// its keys would be work for an attacker to give.
pub(crate) fn for_each_key(path: &str, visit: &mut dyn FnMut(&str)) -> bool {
    if quick_key(path, visit) {
        return true;
    }
    if path.len() > PATH_BYTES_MAX {
        return false;
    }
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..DECODE_ROUNDS {
        keys_of_round(&bytes, visit);
        match decode_once(&bytes) {
            Some(decoded) => bytes = decoded,
            None => return true,
        }
    }
    keys_of_round(&bytes, visit);
    decode_once(&bytes).is_none()
}

/// The key of a path that holds nothing to argue about, without an allocation unless it is long.
/// False if there is something.
fn quick_key(path: &str, visit: &mut dyn FnMut(&str)) -> bool {
    let mut buffer = [0; QUICK_BYTES_MAX];
    let mut long = Vec::new();
    let key = match buffer.get_mut(..path.len()) {
        Some(key) => key,
        None => {
            long.resize(path.len(), 0);
            &mut long[..]
        }
    };
    let mut previous = 0;
    for (to, from) in key.iter_mut().zip(path.bytes()) {
        *to = PLAIN[usize::from(from)];
        let divides = from == b'/' || from == b'.';
        if *to == 0 || (divides && previous == b'/') || (from == b'/' && previous == b'.') {
            return false;
        }
        previous = from;
    }
    match std::str::from_utf8(key) {
        Ok(key) => visit_trimmed(key, visit),
        Err(_) => return false,
    }
    true
}

/// What is plain, in lower case; 0 for everything else.
const PLAIN: [u8; 256] = {
    let (mut table, mut byte) = ([0; 256], 0_u8);
    while byte < 128 {
        if is_plain(byte) {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Whether every octet stands for itself, whoever reads the path.
pub(super) fn is_all_plain(path: &str) -> bool {
    path.bytes().all(|byte| PLAIN[usize::from(byte)] != 0)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'/' | b'-')
}

/// The key, and what stands behind each script in it: `/index.php/a` is `/a` to the script.
fn visit_trimmed(key: &str, visit: &mut dyn FnMut(&str)) {
    visit_stems(key, visit);
    if memchr::memchr(b'.', key.as_bytes()).is_none() {
        return;
    }
    for (slash, _) in key.match_indices('/').skip(1) {
        let (before, behind) = key.split_at(slash);
        let extension = before.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
        if extension.is_some_and(|(_, extension)| SCRIPTS.contains(&extension)) {
            visit_stems(behind, visit);
        }
    }
}

/// The key without what may follow a path, and the same without each known suffix at its end. Also
/// with it: a last segment of dots is cut off by some and is the value of a parameter for others.
fn visit_stems(key: &str, visit: &mut dyn FnMut(&str)) {
    let trim = |text: &str| text.trim_end_matches(['/', '.', ' ']).len();
    let whole = key.trim_end_matches('/');
    let mut key = &key[..trim(key)];
    if key.len() < whole.len() {
        visit(whole);
    }
    visit(if key.is_empty() { "/" } else { key });
    if memchr::memchr(b'.', key.as_bytes()).is_none() {
        return; // every suffix begins with one
    }
    while let Some(stem) = SUFFIXES.iter().find_map(|suffix| key.strip_suffix(suffix)) {
        key = &stem[..trim(stem)];
        visit(if key.is_empty() { "/" } else { key });
    }
}

/// One round of percent-decoding, `%uXXXX` included; a `%` that begins neither stays. None if there
/// was nothing.
fn decode_once(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut changed = false;
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| unicode_escape(tail).or_else(|| byte_escape(tail)));
        if let Some((value, after)) = escape.flatten() {
            decoded.extend_from_slice(&value);
            rest = after;
            changed = true;
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    changed.then_some(decoded)
}

type Escape<'a> = Option<(Vec<u8>, &'a [u8])>;

fn byte_escape(tail: &[u8]) -> Escape<'_> {
    let (digits, after) = tail.split_at_checked(2)?;
    Some((vec![u8::try_from(hex(digits)?).ok()?], after))
}

fn unicode_escape(tail: &[u8]) -> Escape<'_> {
    let (digits, after) =
        tail.strip_prefix(b"u").or_else(|| tail.strip_prefix(b"U"))?.split_at_checked(4)?;
    let letter = char::from_u32(hex(digits)?)?;
    Some((letter.to_string().into_bytes(), after))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + (*digit as char).to_digit(16)?))
}

/// Every reading of one round's bytes: a NUL ends the path or is skipped, an encoded `?` or `#`
/// ends it or is a character, `;…` is a parameter or part of the segment, dot segments are resolved
/// or not.
fn keys_of_round(bytes: &[u8], visit: &mut dyn FnMut(&str)) {
    let text = fold(&lenient_utf8(bytes));
    for text in with_and_cut(&text, &['\0']) {
        for text in with_and_cut(text, &['?', '#']) {
            let bare: String = text.chars().filter(|letter| *letter != '\0').collect();
            keys_of_segments(&bare.split('/').collect::<Vec<_>>(), visit);
            if bare.contains(';') {
                let cut = bare.split('/').map(|segment| segment.split(';').next().unwrap_or(""));
                keys_of_segments(&cut.collect::<Vec<_>>(), visit);
            }
        }
    }
}

/// The text, and if it holds one of the letters, also what stands before the first.
fn with_and_cut<'a>(text: &'a str, letters: &[char]) -> impl Iterator<Item = &'a str> {
    let cut = text.split_once(|letter| letters.contains(&letter)).map(|(before, _)| before);
    std::iter::once(text).chain(cut)
}

/// Every reading of the segments (the first is what stands before the first `/`).
fn keys_of_segments(segments: &[&str], visit: &mut dyn FnMut(&str)) {
    let mut emit = |parts: &[&str]| {
        let key: String = parts.iter().flat_map(|part| ["/", part]).collect();
        visit_trimmed(&key, visit);
    };
    let filled = || segments.iter().copied().filter(|segment| !segment.is_empty());
    let literal: Vec<&str> = filled().collect();
    emit(&literal);
    // `//host/path` is read by some as a reference with an authority.
    if segments.len() > 2 && segments.first() == Some(&"") && segments.get(1) == Some(&"") {
        emit(&resolve(segments.iter().copied().skip(3)));
    }
    // Some drop dots and spaces at the end of every segment, as file names do.
    let trimmed = |segment: &&str| !matches!(*segment, "." | "..") && segment.ends_with(['.', ' ']);
    if literal.iter().any(trimmed) {
        let bare: Vec<&str> = literal
            .iter()
            .map(
                |segment| {
                    if trimmed(segment) { segment.trim_end_matches(['.', ' ']) } else { segment }
                },
            )
            .collect();
        emit(&resolve(bare.into_iter()));
    }
    if literal.iter().any(|segment| matches!(*segment, "." | "..")) {
        emit(&resolve(filled()));
        // `a//../b`: `..` takes back the empty segment only (RFC 3986 §5.2.4), where slashes are
        // not merged first.
        emit(&resolve(segments.iter().copied().skip(1)));
    }
}

/// Dot segments resolved, empty segments dropped afterwards.
fn resolve<'a>(segments: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    for segment in segments {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    kept.retain(|segment| !segment.is_empty());
    kept
}

/// Bytes as text the way the laxest decoder reads them: overlong forms count, what is no character
/// is skipped.
fn lenient_utf8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (valid, tail) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, &rest[rest.len()..]),
            Err(error) => {
                let (valid, tail) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or(""), tail)
            }
        };
        text.push_str(valid);
        let (letter, length) = overlong(tail);
        text.extend(letter);
        rest = tail.get(length..).unwrap_or(&[]);
    }
    text
}

/// The character that an overlong sequence at the start of `bytes` stands for, and how many bytes
/// to go on.
fn overlong(bytes: &[u8]) -> (Option<char>, usize) {
    let length = match bytes.first() {
        Some(0xC0 | 0xC1) => 2,
        Some(0xE0) => 3,
        Some(0xF0) => 4,
        _ => return (None, 1),
    };
    let tail = bytes.get(1..length).unwrap_or(&[]);
    if tail.is_empty() || tail.iter().any(|byte| byte & 0xC0 != 0x80) {
        return (None, 1);
    }
    let first = bytes.first().map_or(0, |byte| u32::from(byte & 0x1F) * u32::from(length == 2));
    let value = tail.iter().fold(first, |sum, byte| (sum << 6) | u32::from(byte & 0x3F));
    (char::from_u32(value), length)
}

/// One letter form for all that look or sort the same: compatibility forms, case, every kind of
/// slash, nothing that is invisible. A NUL stays, it is looked at later.
pub(super) fn fold(text: &str) -> String {
    text.nfkc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .map(|letter| match letter {
            '\\' | '\u{2044}' | '\u{2215}' | '\u{29F5}' | '\u{29F8}' => '/',
            _ => letter,
        })
        .filter(|letter| !is_invisible(*letter))
        .collect()
}

/// Controls, format characters, variation selectors and the dot that lower-casing leaves of a
/// Turkish capital I.
fn is_invisible(letter: char) -> bool {
    (letter.is_control() && letter != '\0')
        || matches!(u32::from(letter),
            0xAD | 0x307 | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(path: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for_each_key(path, &mut |key| keys.push(key.to_owned()));
        keys
    }

    fn smells(path: &str) -> bool {
        keys(path).iter().any(|key| key == "/api/v5/asset/withdrawal")
    }

    #[test]
    fn every_known_spelling_of_a_path_has_its_key() {
        for path in [
            "/api/v5/asset/withdrawal",
            "/API/v5/Asset/Withdrawal",
            "/api/v5/asset/withdrawal/",
            "/api/v5/asset/withdrawal//",
            "/api/v5/asset/withdrawal.json",
            "/api/v5/asset/withdrawal.json.css",
            "/api/v5/asset/withdrawal/..json.json",
            "/api/v5/asset/withdrawal.",
            "//api/v5/asset/withdrawal",
            "//evil.example/api/v5/asset/withdrawal",
            "/%2fevil.example/api/v5/asset/withdrawal",
            "/api\\v5/asset%5cwithdrawal",
            "/api/v5/x/../asset/./withdrawal",
            "/x//../api/v5/asset/withdrawal",
            "/x/..;a=b/api/v5/asset/withdrawal",
            "/api;x/v5/asset/withdrawal;jsessionid=1",
            "/api/v5/asset/withdrawal/%253b/..",
            "/api/v5/asset/withdrawal/a%252fb/..",
            "/api/v5/asset/%252577ithdrawal",
            "/api/v5/asset/%u0077ithdrawal",
            "/api/v5/asset/%ef%bd%97ithdrawal",
            "/api/v5/a%c5%bfset/withdrawal",
            "/api/v5/asset%c0%afwithdrawal",
            "/api/v5/asset%e0%80%afwithdrawal",
            "/api/v5/asset%f0%80%80%afwithdrawal",
            "/api/v5/asset%e2%88%95withdrawal",
            "/api/v5/asset/with%e2%80%8bdrawal",
            "/api/v5/asset/with%ffdrawal",
            "/api/v5/asset/withdrawal%00.css",
            "/api/v5/asset/withdra%00wal",
            "/api/v5/asset/withdrawal%3fx=1",
            "/api/v5/asset/withdrawal%23",
            "/api/v5/asset/withdrawal#/public",
            "/api/v5/asset/withdrawal%0d%0a",
            "/api/v5/asset/withdrawal%20.%20",
            "/api/v5/asset./withdrawal",
            "/api/v5/asset%20/withdrawal",
            "/../api/v5/asset/withdrawal",
            "/index.php/api/v5/asset/withdrawal",
            "/INDEX.PHP/api/v5/asset/withdrawal/",
            "/a/index%2ephp//api/v5/asset/withdrawal",
            "/x.php/y.php/api/v5/asset/withdrawal",
            "/cgi-bin/app.fcgi/api/v5/asset/withdrawal",
        ] {
            assert!(smells(path), "{path} gives only {:?}", keys(path));
        }
    }

    #[test]
    fn a_last_segment_of_dots_is_one_reading_and_no_segment_another() {
        for (path, whole, bare) in
            [("/orders/...", "/orders/...", "/orders"), ("/orders/a./", "/orders/a.", "/orders/a")]
        {
            let keys = keys(path);
            assert!([whole, bare].iter().all(|key| keys.iter().any(|it| it == key)), "{keys:?}");
        }
    }

    #[test]
    fn another_path_has_another_key() {
        for path in [
            "/api/v5/asset/withdrawal-history",
            "/api/v5/asset",
            "/v5/asset/withdrawal",
            "/docs/v1.2/api/v5/asset/withdrawal",
            "/index.php",
            "/",
        ] {
            assert!(!smells(path), "{path}");
        }
    }

    #[test]
    fn only_unreserved_characters_and_plain_segments_are_strict() {
        assert!(is_strict("/api/v5/asset/withdrawal"));
        assert!(is_strict("/orders/2f0c-91_x~1.5"));
        for path in [
            "", "*", "/", "a", "/a/", "//a", "/a//b", "/a/./b", "/a/..", "/a%62", "/a;b", "/a b",
            "/ä", "/a#",
        ] {
            assert!(!is_strict(path), "{path}");
        }
        assert!(!is_strict(&format!("/{}", "a".repeat(PATH_BYTES_MAX))));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "\\PC{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            keys(&path);
            keys_of_round(&bytes, &mut |_| {});
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            keys(&encoded);
        }

        #[test]
        fn a_strict_path_smells_of_itself(path in "(/[a-z0-9_~-]{1,8}){1,5}") {
            prop_assert!(is_strict(&path));
            prop_assert_eq!(keys(&path), vec![path]);
        }

        #[test]
        fn the_quick_way_finds_what_the_slow_way_finds(path in "(/[a-zA-Z.]{1,9}){1,4}/?") {
            let mut quick = Vec::new();
            if quick_key(&path, &mut |key| quick.push(key.to_owned())) {
                let mut slow = Vec::new();
                keys_of_round(path.as_bytes(), &mut |key| slow.push(key.to_owned()));
                for key in &slow {
                    prop_assert!(quick.contains(key), "{} lacks {}", path, key);
                }
            }
        }
    }
}
