//! The raw look at HTTP/1. What passes does not depend on how it is cut into reads, is the input's own beginning, and
//! every head in it is one that httparse reads whole and frames the same way.

use stepgate::fuzz;

pub fn run(bytes: &[u8]) {
    let whole = fuzz::head(&[bytes]);
    let cut = bytes.first().map_or(1, |byte| usize::from(*byte).max(1));
    for size in [1, cut] {
        let reads: Vec<&[u8]> = bytes.chunks(size).collect();
        let other = fuzz::head(&reads);
        // After a head that is too large the library gets more or less of what follows, and reads none of it.
        let too_large = whole.1 && bytes.starts_with(&whole.0);
        let alike = other.1 == whole.1 && too_large && bytes.starts_with(&other.0);
        assert!(alike || other == whole, "it depends on how it is cut");
    }
    let (passed, refused) = &whole;
    let own = match passed.strip_suffix(b"\0") {
        Some(own) if *refused => own,
        _ => passed,
    };
    assert!(bytes.starts_with(own), "a byte was changed");
    // A head that is too large is given to the library as it is, for the library to refuse.
    let too_large = *refused && bytes.starts_with(passed);
    follow(own, *refused, too_large);
}

/// Reads the requests that passed as another library would.
fn follow(mut rest: &[u8], refused: bool, too_large: bool) {
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        let end = match request.parse(rest) {
            Ok(httparse::Status::Complete(end)) => end,
            Err(_) if too_large => return,
            Ok(httparse::Status::Partial) if too_large && rest.len() >= HEAD_BYTES_MAX => return,
            other => panic!("half a head passed, or a malformed one: {other:?}"),
        };
        assert!(end <= HEAD_BYTES_MAX);
        let field = |name: &str| {
            let mut values = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
            let first = values.next().map(|it| it.value.trim_ascii());
            assert!(values.next().is_none(), "{name} twice");
            first
        };
        assert!(!request.path.unwrap().contains('#'));
        let version = request.version.unwrap();
        assert!(field("host").is_some() || version == 0, "no host");
        let length = field("content-length").map(|it| std::str::from_utf8(it).unwrap());
        let chunked = field("transfer-encoding").is_some();
        assert!(length.is_none() || !chunked, "two framings");
        assert!(!chunked || version == 1);
        rest = &rest[end..];
        let body = if chunked {
            chunks(rest, refused)
        } else {
            let length: u64 = length.map_or(0, |it| it.parse().unwrap());
            usize::try_from(length).ok().filter(|length| *length <= rest.len())
        };
        match body {
            Some(length) => rest = &rest[length..],
            None => return,
        }
    }
}

/// Length of a whole chunked body, read by httparse's reader of sizes.
fn chunks(body: &[u8], refused: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        let (line, size) = match httparse::parse_chunk_size(&body[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return None,
            // A bad byte ends what passes; what stands before it need not be a size.
            Err(_) => {
                assert!(refused, "a bad chunk size passed");
                return None;
            }
        };
        at += line;
        if size == 0 {
            let mut trailers = [httparse::EMPTY_HEADER; 64];
            return loop {
                match body.get(at..)?.iter().position(|byte| *byte == b'\n') {
                    Some(1) => break Some(at + 2),
                    Some(end) => at += end + 1,
                    None => {
                        let _ = httparse::parse_headers(&body[at..], &mut trailers);
                        break None;
                    }
                }
            };
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        match body.get(at..at + 2) {
            Some(end) => assert_eq!(end, b"\r\n"),
            None => return None,
        }
        at += 2;
    }
}

const HEAD_BYTES_MAX: usize = 32 * 1024;
