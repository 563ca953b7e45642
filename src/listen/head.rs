//! The strict look at the raw bytes of HTTP/1, before the HTTP library sees them.
//!
//! Never changes a byte that it lets pass. The library is lenient (bare LF, `Content-Length` beside
//! `Transfer-Encoding`, two `Host` lines, a dropped `#fragment`), and afterwards the difference
//! cannot be seen; any of them can make two servers read one request differently. Invariant: bytes
//! of a head are released only when the head is complete and sound.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use memchr::{memchr, memchr_iter};
use tokio::io::ReadBuf;

use super::Settings;
use super::pulse::Pulse;
use crate::octets;

/// The check of one HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Gate {
    pulse: Arc<Pulse>,
    stage: Stage,
    /// Bytes of a head that is not complete.
    held: Vec<u8>,
    /// How much of `held` is known not to hold the end of the head.
    searched: usize,
    /// Bytes that may pass, and how many of them have.
    released: Vec<u8>,
    taken: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A head was refused: whatever follows it is swallowed until the library has answered.
    Refused,
    /// A body's framing is broken: nothing can follow.
    Broken,
}

/// Where in a message the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Length(u64),
    Chunk(Chunk),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size {
        size: u64,
        digits: u8,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// In the trailer section; `line` is the length of the current line so far.
    Trailer {
        line: u16,
        lines: u8,
    },
    TrailerLf {
        line: u16,
        lines: u8,
    },
}

/// How far a look at some bytes came.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    All,
    /// From here on it is a head without an end.
    Incomplete(usize),
    /// The head that begins here is refused.
    Refuse(usize, &'static str),
    /// The head that begins here is over a limit that the library has too.
    TooLarge(usize),
    /// Here the body's framing is broken.
    Broken(usize),
}

impl Gate {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self {
            pulse,
            stage: Stage::Head,
            held: Vec::new(),
            searched: 0,
            released: Vec::new(),
            taken: 0,
            state: State::Open,
        }
    }

    /// Gives out bytes that were held and may now pass; false if there are none.
    ///
    /// # Errors
    /// After a body whose framing is broken: nothing that follows has a meaning.
    pub(super) fn take_released(&mut self, buf: &mut ReadBuf<'_>) -> IoResult<bool> {
        if !self.held.is_empty() && self.pulse.is_tunnel() {
            self.released.append(&mut self.held);
        }
        let rest = self.released.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return match self.state {
                State::Broken => Err(Error::from(ErrorKind::InvalidData)),
                State::Open | State::Refused => Ok(false),
            };
        }
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.released.len() {
            self.released = Vec::new();
            self.taken = 0;
        }
        Ok(true)
    }

    /// Looks at what was read after `before`, and leaves in `buf` what may pass. False if that is
    /// nothing yet; held bytes that were released are given out by the next `take_released`.
    pub(super) fn pass(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        if self.pulse.is_tunnel() {
            return true;
        }
        if self.state != State::Open {
            buf.set_filled(before);
            return false;
        }
        let fresh = &buf.filled()[before..];
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            buf.set_filled(before);
            self.look_again();
            return false;
        }
        let (look, stage) = look(self.stage, fresh, 0);
        self.stage = stage;
        let pass = match look {
            Look::All => return true,
            Look::Incomplete(at) => {
                self.hold(fresh[at..].to_vec());
                at
            }
            Look::TooLarge(at) => {
                self.released = fresh[at..].to_vec();
                self.let_overflow(0);
                at
            }
            Look::Refuse(at, why) => {
                self.refuse(why);
                at
            }
            Look::Broken(at) => {
                self.break_off();
                at
            }
        };
        buf.set_filled(before + pass);
        pass > 0
    }

    fn look_again(&mut self) {
        let (look, stage) = look(self.stage, &self.held, self.searched);
        self.stage = stage;
        if look == Look::Incomplete(0) {
            self.searched = self.held.len();
            return;
        }
        self.pulse.head_ends();
        self.released = std::mem::take(&mut self.held);
        match look {
            Look::All => {}
            Look::Incomplete(at) => {
                let next = self.released.split_off(at);
                self.hold(next);
            }
            Look::TooLarge(at) => self.let_overflow(at),
            Look::Refuse(at, why) => {
                self.released.truncate(at);
                self.refuse(why);
            }
            Look::Broken(at) => {
                self.released.truncate(at);
                self.break_off();
            }
        }
    }

    fn hold(&mut self, bytes: Vec<u8>) {
        self.searched = bytes.len();
        self.held = bytes;
        self.pulse.head_begins();
    }

    /// Gives the library a byte that no request can begin with: it answers 400 and closes, after it
    /// has answered what came before.
    fn refuse(&mut self, why: &'static str) {
        tracing::debug!(why, "refused a request head");
        self.state = State::Refused;
        self.released.push(0);
    }

    /// Gives the library what came before the head, and as much of that as its own limit, or its too many lines: it
    /// answers 431 and closes.
    fn let_overflow(&mut self, at: usize) {
        tracing::debug!("refused a request head that is too large");
        self.state = State::Refused;
        self.released.truncate(at + HEAD_BYTES_MAX);
    }

    /// Gives the library a byte that no chunk can hold there: who reads the body gets an error and
    /// may answer.
    fn break_off(&mut self) {
        tracing::debug!("refused a body whose chunks are malformed");
        self.state = State::Broken;
        self.released.push(0);
    }
}

/// Walks over `bytes`, of which the first `searched` are known to hold no end of a head.
fn look(mut stage: Stage, bytes: &[u8], mut searched: usize) -> (Look, Stage) {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match stage {
            Stage::Head => {
                let (end, framing) = match read(rest, searched) {
                    Head::Whole(end, framing) => (end, framing),
                    Head::Incomplete => return (Look::Incomplete(at), stage),
                    Head::TooLarge => return (Look::TooLarge(at), stage),
                    Head::Refused(why) => return (Look::Refuse(at, why), stage),
                };
                (searched, stage) = (0, framing);
                at += end;
            }
            Stage::Length(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                at += count;
                stage = match left - count as u64 {
                    0 => Stage::Head,
                    left => Stage::Length(left),
                };
            }
            Stage::Chunk(Chunk::Data { left }) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                at += count;
                stage = Stage::Chunk(match left - count as u64 {
                    0 => Chunk::DataCr,
                    left => Chunk::Data { left },
                });
            }
            Stage::Chunk(chunk) => {
                stage = match step(chunk, rest[0]) {
                    Some(stage) => stage,
                    None => return (Look::Broken(at), stage),
                };
                at += 1;
            }
        }
    }
    (Look::All, stage)
}

/// One byte of chunked framing: strict lines, no extensions (RFC 9112 §7.1), bounded trailers.
fn step(chunk: Chunk, byte: u8) -> Option<Stage> {
    let next = match (chunk, byte) {
        (Chunk::Size { size, digits }, b'\r') if digits > 0 => Chunk::SizeLf { size },
        (Chunk::Size { size, digits }, _) if digits < 15 => {
            let digit = char::from(byte).to_digit(16)?;
            Chunk::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
        }
        (Chunk::SizeLf { size: 0 }, b'\n') => Chunk::Trailer { line: 0, lines: 0 },
        (Chunk::SizeLf { size }, b'\n') => Chunk::Data { left: size },
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataLf, b'\n') => CHUNK_START,
        (Chunk::Trailer { line, lines }, b'\r') => Chunk::TrailerLf { line, lines },
        (Chunk::Trailer { line, lines }, b'\t' | b' '..=b'~' | 0x80..) if line < TRAILER_MAX => {
            Chunk::Trailer { line: line + 1, lines }
        }
        (Chunk::TrailerLf { line: 0, .. }, b'\n') => return Some(Stage::Head),
        (Chunk::TrailerLf { lines, .. }, b'\n') if lines < TRAILERS_MAX => {
            Chunk::Trailer { line: 0, lines: lines + 1 }
        }
        _ => return None,
    };
    Some(Stage::Chunk(next))
}

/// What some bytes are that should begin with a head.
enum Head {
    /// It is sound, so long, and its body is framed like this.
    Whole(usize, Stage),
    Incomplete,
    TooLarge,
    Refused(&'static str),
}

impl From<&'static str> for Head {
    fn from(why: &'static str) -> Self {
        Self::Refused(why)
    }
}

/// Reads the head that begins `bytes`, of which the first `searched` are known to hold no end of it. Nearly every head
/// comes whole. What came in pieces is read when its end is there, or a client that sends it byte by byte would have it
/// read as often; and whether it is sound is said only then, so that it does not matter how it was cut.
fn read(bytes: &[u8], searched: usize) -> Head {
    if searched == 0
        && let Ok(whole) = check(bytes)
    {
        return whole;
    }
    match check_ends(bytes, searched) {
        Ok(true) => check(bytes).unwrap_or_else(|why| why),
        Ok(false) => cut(bytes),
        Err(why) => Head::Refused(why),
    }
}

/// So far it has no end.
fn cut(bytes: &[u8]) -> Head {
    if bytes.len() < HEAD_BYTES_MAX { Head::Incomplete } else { Head::TooLarge }
}

/// Whether the head ends in these bytes. Bare LF is an error at once, or it would look like a head without end.
fn check_ends(bytes: &[u8], searched: usize) -> Result<bool, &'static str> {
    let fresh = bytes.get(searched..).unwrap_or_default();
    for at in memchr_iter(b'\n', fresh).map(|at| searched + at) {
        match &bytes[..at] {
            [.., b'\n', b'\r'] => return Ok(true),
            [b'\r'] => return Err(EMPTY_LINE),
            [.., b'\r'] => {}
            _ => return Err(BARE_LF),
        }
    }
    Ok(false)
}

/// The same, line by line: what is sound comes back as well as what is not.
fn check(bytes: &[u8]) -> Result<Head, Head> {
    let mut lines = Lines { bytes, at: 0 };
    let http11 = match lines.next().ok_or_else(|| cut(bytes))?? {
        [] => return Err(EMPTY_LINE.into()),
        request_line => check_request_line(request_line)?,
    };
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    let mut count = 0;
    loop {
        let line = lines.next().ok_or_else(|| cut(bytes))??;
        if line.is_empty() {
            break;
        }
        if count == HEADERS_MAX {
            return Err(Head::TooLarge);
        }
        count += 1;
        let (name, value) = check_field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
            check_host(value)?;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(check_length(value)?).is_some() {
                return Err("Content-Length is given twice".into());
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding may only be chunked, once".into());
            }
            chunked = true;
        }
    }
    // The request line and the empty one as well.
    check_octets(&bytes[..lines.at], count + 2)?;
    let framing = match (http11, hosts, length, chunked) {
        (true, 0, ..) => return Err("Host is missing".into()),
        (_, 2.., ..) => return Err("Host is given twice".into()),
        (_, _, Some(_), true) => return Err("Content-Length beside Transfer-Encoding".into()),
        (false, _, _, true) => return Err("Transfer-Encoding in HTTP/1.0".into()),
        (.., true) => Stage::Chunk(CHUNK_START),
        (_, _, Some(length @ 1..), _) => Stage::Length(length),
        _ => Stage::Head,
    };
    Ok(Head::Whole(lines.at, framing))
}

/// The lines without their ends, each of which must be CRLF, as far as a head may reach.
struct Lines<'a> {
    bytes: &'a [u8],
    /// How many bytes the lines so far are.
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        let end = memchr(b'\n', rest)?;
        self.at += end + 1;
        (self.at <= HEAD_BYTES_MAX).then(|| rest[..end].strip_suffix(b"\r").ok_or(BARE_LF))
    }
}

/// `GET /path HTTP/1.1`: true for 1.1, false for 1.0.
fn check_request_line(line: &[u8]) -> Result<bool, &'static str> {
    let (line, http11) = match (line.strip_suffix(b" HTTP/1.1"), line.strip_suffix(b" HTTP/1.0")) {
        (Some(line), _) => (line, true),
        (None, Some(line)) => (line, false),
        (None, None) => return Err("the request line does not end in a known HTTP version"),
    };
    let end = line.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'-');
    let target = match end.map(|end| line.split_at(end)) {
        None | Some(([], _)) => return Err("the method is malformed"),
        Some((_, [b' ', target @ ..])) => target,
        Some(_) => return Err("the method is malformed"),
    };
    let visible = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#';
    if target.is_empty() || !octets::all(target, visible) {
        return Err("the target is malformed");
    }
    Ok(http11)
}

/// Name and value of a header line. Its octets are looked at with those of all lines.
fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len());
    match line.split_at(end) {
        ([], _) => Err("a header line has no name"),
        (name, [b':', value @ ..]) => Ok((name, trim(value))),
        _ => Err("a header name is malformed, or not followed by a colon"),
    }
}

/// Whether all control characters are the ends of these lines: a CR by itself is one too many.
fn check_octets(head: &[u8], lines: usize) -> Result<(), &'static str> {
    let control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    match octets::count_if(head, control) == 2 * lines {
        true => Ok(()),
        false => Err("a control character"),
    }
}

/// Without the blanks around it; other white space stays, where no check lets it through.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A name or address and perhaps a port; no userinfo, list or path.
fn check_host(value: &[u8]) -> Result<(), &'static str> {
    if value.is_empty() || !value.iter().all(|byte| HOST[usize::from(*byte)]) {
        return Err("Host is malformed");
    }
    Ok(())
}

/// Digits without sign or leading zero.
fn check_length(value: &[u8]) -> Result<u64, &'static str> {
    let plain = match value {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    let number = std::str::from_utf8(value).ok().filter(|_| plain);
    number.and_then(|text| text.parse().ok()).ok_or("Content-Length is malformed")
}

/// Which bytes a name may hold (RFC 9110 §5.6.2), and a host with its port.
const TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");
const HOST: [bool; 256] = alphanumeric_or(b"-._~:[]");

const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let (mut table, mut at) = ([false; 256], 0);
    while at < 128 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Why this complete head, with the empty line at its end, is refused before anybody reads it.
pub(crate) fn refusal(head: &[u8]) -> Option<&'static str> {
    match read(head, 0) {
        Head::Whole(end, _) if end == head.len() => None,
        Head::Whole(..) | Head::Incomplete => Some("the head does not end where it should"),
        Head::TooLarge => Some("the head is too long"),
        Head::Refused(why) => Some(why),
    }
}

/// What the library would get to see of these reads of one connection, and whether something in
/// them was refused.
pub(crate) fn through(reads: &[&[u8]]) -> (Vec<u8>, bool) {
    let settings = Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut gate = Gate::new(Arc::new(Pulse::new(&settings)));
    let longest = reads.iter().map(|read| read.len()).max().unwrap_or(0).max(1);
    let (mut space, mut seen) = (vec![0; longest], Vec::new());
    for read in reads {
        let mut buf = ReadBuf::new(&mut space);
        buf.put_slice(read);
        gate.pass(&mut buf, 0);
        seen.extend_from_slice(buf.filled());
        buf.clear();
        while gate.take_released(&mut buf).is_ok_and(|more| more) {
            seen.extend_from_slice(buf.filled());
            buf.clear();
        }
    }
    (seen, gate.state != State::Open)
}

const EMPTY_LINE: &str = "an empty line before the request line";
const BARE_LF: &str = "a line ends without CR";
const CHUNK_START: Chunk = Chunk::Size { size: 0, digits: 0 };
/// Also the library's limit, so that a longer head is one that it refuses too.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The library's own default.
const HEADERS_MAX: usize = 100;
const TRAILER_MAX: u16 = 4 * 1024;
const TRAILERS_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(reads: &[&[u8]]) -> Vec<u8> {
        super::through(reads).0
    }

    fn passes(text: &str) -> bool {
        let whole = through(&[text.as_bytes()]);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let ok = whole == text.as_bytes();
        assert_eq!(ok, through(&bytes) == text.as_bytes(), "{text:?} depends on how it is cut");
        ok
    }

    fn get(fields: &str) -> String {
        format!("GET /a?b HTTP/1.1\r\n{fields}\r\n")
    }

    #[test]
    fn a_head_that_is_too_large_takes_nothing_from_what_came_before_it() {
        let lines = "a:b\r\n".repeat(HEADERS_MAX + 1);
        let too_large = format!("GET /b HTTP/1.1\r\nHost: b\r\n{lines}\r\n");
        let fields = format!("Host: a\r\nx: {}\r\n", "a".repeat(32_400));
        let body = format!("{fields}Content-Length: 500\r\n\r\n{}", "b".repeat(500));
        for before in [
            get(&fields),
            get(&fields).replace("\r\n\r\n", &format!("\r\n{}", &body[fields.len()..])),
        ] {
            let whole = format!("{before}{too_large}");
            let seen = through(&[whole.as_bytes()]);
            assert!(seen.starts_with(before.as_bytes()) && seen.len() > before.len());
            for cut in [1, 32_300, before.len() - 1, before.len(), before.len() + 9] {
                let (one, other) = whole.as_bytes().split_at(cut);
                assert_eq!(through(&[one, other]).len(), seen.len(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn ordinary_requests_pass_byte_for_byte() {
        assert!(passes(&get("Host: a.example:8443\r\n")));
        assert!(passes(&get("Host:[::1]:80\r\nx-a:\t b \r\nempty:\r\n")));
        assert!(passes("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert!(passes("GET / HTTP/1.0\r\n\r\n"));
        assert!(passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"));
    }

    #[test]
    fn requests_on_one_connection_are_each_looked_at() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\n\n\n";
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                       3\r\n\n\r\n\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        let trailers = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                        3\r\n\n\n\n\r\n0\r\nx: y\r\nx: GET / HTTP/1.1\r\n\r\n";
        let get = get("Host: a\r\n");
        let all = format!("{post}{chunked}{get}{trailers}{chunked}");
        assert!(passes(&all));
        for bad in ["GET / HTTP/1.1\n\n", "G T / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let seen = through(&[format!("{all}{bad}{get}").as_bytes(), get.as_bytes()]);
            assert_eq!(seen, [all.as_bytes(), b"\0"].concat());
        }
    }

    #[test]
    fn lines_end_in_crlf_and_hold_no_controls() {
        for text in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\ra\r\n\r\n",
            "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: \x0ca\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\x7f\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx: a\x0c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0cchunked\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(!passes(text), "{text:?}");
        }
    }

    #[test]
    fn the_request_line_is_three_parts_in_visible_ascii() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /",
            "GET / x HTTP/1.1",
            "p\u{f6}st / HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET / http/1.1",
            "GET /a#b HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET /\x01 HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /a\0b HTTP/1.1",
            "GET /a\x0bb HTTP/1.1",
            "GET /a HTTP/1.1 ",
            "GET / HTTP/1.1\t",
            "GET  HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET\t/ HTTP/1.1",
        ] {
            assert!(!passes(&format!("{line}\r\nHost: a\r\n\r\n")), "{line:?}");
        }
    }

    #[test]
    fn header_names_and_folds_hide_nothing() {
        for field in
            ["Host : a", "Host\t: a", " x: a", "x: a\r\n b", ": a", "x", "X(Foo): a", "\u{e9}: a"]
        {
            assert!(!passes(&get(&format!("Host: a\r\n{field}\r\n"))), "{field:?}");
        }
    }

    #[test]
    fn there_is_one_host_and_it_is_a_host() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nhOST: b\r\n",
            "Host:\r\n",
            "Host: u@a\r\n",
            "Host: a,b\r\n",
            "Host: a/b\r\n",
            "Host: a b\r\n",
            "Host: a\\b\r\n",
            "Host: a?b\r\n",
            "Host: a#b\r\n",
            "Host: a%2eb\r\n",
            "Host: \u{e9}\r\n",
        ] {
            assert!(!passes(&get(fields)), "{fields:?}");
        }
    }

    #[test]
    fn the_body_has_one_length() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 01",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding: \x0cchunked",
            "Transfer-Encoding: chunked\r",
            "Transfer-Encoding: chunked,",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding:",
            "Transfer-Encoding : chunked",
            "Content-Length: 1\x0c",
            "Content-Length: -0",
            "Content-Length: 1_0",
            "Content-Length: 1;2",
            "Content-Length : 1",
        ] {
            assert!(!passes(&get(&format!("Host: a\r\n{fields}\r\n"))), "{fields:?}");
        }
        assert!(!passes("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn chunks_are_plain() {
        let head = get("Host: a\r\nTransfer-Encoding: chunked\r\n");
        assert!(passes(&format!("{head}1\r\na\r\n0\r\nx: y\r\n\r\n")));
        for body in [
            "1;a=b\r\na\r\n0\r\n\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1\na\n",
            "1 \r\na\r\n",
            "\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nx\ny\r\n\r\n",
        ] {
            assert!(!passes(&format!("{head}{body}")), "{body:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_limit() {
        let drip = vec![b'a'; 1024];
        let reads: Vec<&[u8]> = std::iter::repeat_n(drip.as_slice(), 40).collect();
        assert_eq!(through(&reads[..31]), b"");
        assert_eq!(through(&reads), vec![b'a'; HEAD_BYTES_MAX], "the library says 431 to that");
        let many = |count| get(&format!("Host: a\r\n{}", "x: y\r\n".repeat(count)));
        assert!(passes(&many(HEADERS_MAX - 1)));
        assert_eq!(through(&[many(HEADERS_MAX).as_bytes(), b"x"]), many(HEADERS_MAX).as_bytes());
    }

    proptest! {
        #[test]
        fn what_passes_does_not_depend_on_how_it_is_cut(
            bytes in "(GET|POST) /[a-z ]{0,3} HTTP/1.1\r\n(Host: a\r\n|Content-Length: [0-3]\r\n|\
                      Transfer-Encoding: chunked\r\n){0,3}\r?\n?[0-3]?\r?\n?[a-z\r\n]{0,20}",
            cut in 1..40_usize,
        ) {
            let whole = through(&[bytes.as_bytes()]);
            let parts: Vec<&[u8]> = bytes.as_bytes().chunks(cut).collect();
            let cut = through(&parts);
            prop_assert_eq!(whole, cut);
        }
    }
}
