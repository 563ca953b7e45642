//! A client that writes HTTP/2 frames as it is told, malformed ones too (RFC 9113, RFC 7541).
//!
//! Headers go out as literals without indexing and without Huffman codes, so that every byte is the test's own. Of what
//! comes back only statuses, bodies and the ways to say no are read.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::Client;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Name and value, one byte per character.
pub type Fields = Vec<(String, String)>;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals.
pub fn block(fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let bytes: Vec<u8> =
                text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            length(bytes.len(), &mut block);
            block.extend(bytes);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap());
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

pub fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A whole request on one stream.
pub fn request(stream: u32, fields: &[(String, String)], body: Option<&[u8]>) -> Vec<u8> {
    let end = if body.is_none() { END_STREAM } else { 0 };
    let mut bytes = frame(HEADERS, END_HEADERS | end, stream, &block(fields));
    if let Some(body) = body {
        bytes.extend(frame(DATA, END_STREAM, stream, body));
    }
    bytes
}

/// What came back on one stream.
#[derive(Clone, Debug, Default)]
pub struct Got {
    pub status: Option<u16>,
    pub body: Vec<u8>,
    pub ended: bool,
    /// The code of an RST_STREAM.
    pub reset: Option<u32>,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn is_done(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// One connection.
pub struct Raw {
    tls: TlsStream<TcpStream>,
    unread: Vec<u8>,
    pub streams: BTreeMap<u32, Got>,
    /// The code of a GOAWAY; the reason in words, if any, with it.
    pub away: Option<(u32, String)>,
    pub closed: bool,
    /// Acknowledged PING and SETTINGS frames.
    pub acks: usize,
}

impl Raw {
    /// Connected, with the preface and these settings written.
    pub async fn open(client: &Client, settings: &[(u16, u32)]) -> Self {
        let tls = client.connect(&[b"h2"]).await.unwrap();
        let mut raw = Self {
            tls,
            unread: Vec::new(),
            streams: BTreeMap::new(),
            away: None,
            closed: false,
            acks: 0,
        };
        let mut payload = Vec::new();
        // HEADER_TABLE_SIZE: nothing is said by pointing at what was said before.
        for (id, value) in [(1, 0)].iter().chain(settings) {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()).await;
        raw
    }

    /// False if the gateway no longer reads.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let sent = async {
            self.tls.write_all(bytes).await?;
            self.tls.flush().await
        };
        // A gateway that has stopped reading must not stop the test.
        match tokio::time::timeout(Duration::from_secs(20), sent).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => false,
        }
    }

    /// Reads until these streams are done, the connection is, or nothing comes for the time given.
    pub async fn read(&mut self, streams: &[u32], patience: Duration) {
        let mut space = vec![0; 16 * 1024];
        while !self.closed && !streams.iter().all(|id| self.is_done(*id)) {
            match tokio::time::timeout(patience, self.tls.read(&mut space)).await {
                Err(_) => return,
                Ok(Ok(count @ 1..)) => self.unread.extend_from_slice(&space[..count]),
                Ok(Ok(0) | Err(_)) => self.closed = true,
            }
            while let Some(answer) = self.take() {
                if !answer.is_empty() && !self.write(&answer).await {
                    self.closed = true;
                }
            }
        }
    }

    fn is_done(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(Got::is_done)
    }

    /// One frame off what was read, and what has to be answered to it.
    fn take(&mut self) -> Option<Vec<u8>> {
        let head = self.unread.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            HEADERS | DATA => {
                let got = self.streams.entry(stream).or_default();
                got.ended |= flags & END_STREAM != 0;
                if kind == HEADERS {
                    got.status = got.status.or(status(&payload));
                } else {
                    got.body.extend(&payload);
                }
            }
            RST_STREAM => self.streams.entry(stream).or_default().reset = Some(code(0)),
            GOAWAY => {
                let reason = String::from_utf8_lossy(&payload[8..]).into_owned();
                self.away = Some((code(4), reason));
            }
            PING | SETTINGS if flags & ACK != 0 => self.acks += 1,
            PING => return Some(frame(PING, ACK, 0, &payload)),
            SETTINGS => return Some(frame(SETTINGS, ACK, 0, &[])),
            _ => {}
        }
        Some(Vec::new())
    }
}

/// `:status`, which comes first: one of the static table's, or its name with a Huffman-coded or plain value.
fn status(block: &[u8]) -> Option<u16> {
    // A change of the table's size may stand before it.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match &block[start..] {
        [indexed @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)])
        }
        [_name, length, value @ ..] => {
            let value = value.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                return std::str::from_utf8(value).ok()?.parse().ok();
            }
            digits(value)
        }
        _ => None,
    }
}

/// Digits in RFC 7541's Huffman code: 0 to 2 in five bits, the others in six.
fn digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u16, |sum, bit| sum * 2 + u16::from(*bit));
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let short = number(bits.get(at..at + 5)?);
        let (digit, taken) = match short {
            0..=2 => (short, 5),
            _ => (number(bits.get(at..at + 6)?).checked_sub(0b01_1001)? + 3, 6),
        };
        value = value * 10 + digit;
        at += taken;
    }
    Some(value)
}
