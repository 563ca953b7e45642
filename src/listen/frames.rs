//! Counts the HTTP/2 frames that carry nothing, before the HTTP library sees them.
//!
//! Never changes a byte and never reads what is inside a frame. The library bounds some floods (CONTINUATION, empty DATA,
//! resets of streams it has not handed out yet); each PING and SETTINGS it answers, each stream that is opened and reset
//! (CVE-2023-44487) costs an upstream connection, and of those it takes any number. Invariant: over any time a connection
//! gets no more of them than the budget and what it has earned by taking answers.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::time::Instant;

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    /// What may still be spent.
    budget: u64,
    refilled: Instant,
    /// Bytes written to the client that have earned nothing yet.
    written: u64,
    place: Place,
}

/// Where in the client's bytes the next one belongs.
#[derive(Debug)]
enum Place {
    Preface { left: usize },
    Head { have: usize, bytes: [u8; HEAD_BYTES] },
    Payload { left: usize },
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            budget: BUDGET_MAX,
            refilled: Instant::now(),
            written: 0,
            place: Place::Preface { left: PREFACE_BYTES },
        }
    }

    /// Counts the frames that begin in these bytes, the next ones that the client sent.
    ///
    /// # Errors
    /// When they are more than the client may send: the connection is to end.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> IoResult<()> {
        let mut cost = 0;
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Preface { left } | Place::Payload { left } => {
                    let count = bytes.len().min(*left);
                    bytes = &bytes[count..];
                    *left -= count;
                    if *left == 0 {
                        self.place = START;
                    }
                }
                Place::Head { have, bytes: head } => {
                    let count = bytes.len().min(HEAD_BYTES - *have);
                    head[*have..*have + count].copy_from_slice(&bytes[..count]);
                    *have += count;
                    bytes = &bytes[count..];
                    if *have == HEAD_BYTES {
                        cost += cost_of(head[3]);
                        let left = usize::from(head[0]) << 16
                            | usize::from(head[1]) << 8
                            | usize::from(head[2]);
                        self.place = if left == 0 { START } else { Place::Payload { left } };
                    }
                }
            }
        }
        if cost == 0 { Ok(()) } else { self.spend(cost) }
    }

    /// Counts bytes that the client has to take: who downloads has windows to update.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    fn spend(&mut self, cost: u64) -> IoResult<()> {
        if cost > self.budget {
            let ms = u64::try_from(self.refilled.elapsed().as_millis()).unwrap_or(u64::MAX);
            let earned = ms.saturating_add(self.written / BYTES_PER_CREDIT);
            self.budget = self.budget.saturating_add(earned).min(BUDGET_MAX);
            self.refilled = Instant::now();
            self.written = 0;
        }
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => {
                tracing::debug!("refused a flood of HTTP/2 frames");
                Err(Error::new(ErrorKind::InvalidData, "a flood of HTTP/2 frames"))
            }
        }
    }
}

/// By type. A reset may end a request that is already on its way upstream; SETTINGS may change the window of every
/// stream.
fn cost_of(kind: u8) -> u64 {
    match kind {
        DATA | HEADERS => 0,
        RST_STREAM | SETTINGS | GOAWAY => 20,
        _ => 1,
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const START: Place = Place::Head { have: 0, bytes: [0; HEAD_BYTES] };
/// 500 resets or 10,000 window updates at once; refilled by one each millisecond (50 resets a second) and each KiB that
/// the client is sent.
const BUDGET_MAX: u64 = 10_000;
const BYTES_PER_CREDIT: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(kind: u8, length: usize, count: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let head = [size[1], size[2], size[3], kind, 0, 0, 0, 0, 1];
        let one = [head.as_slice(), &vec![0; length]].concat();
        one.repeat(count)
    }

    /// How many of these bytes, given in pieces of this size, pass.
    fn passes(bytes: &[u8], piece: usize) -> bool {
        let mut meter = Meter::new();
        meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        bytes.chunks(piece).all(|piece| meter.read(piece).is_ok())
    }

    #[test]
    fn what_carries_something_is_free() {
        for kind in [DATA, HEADERS] {
            assert!(passes(&frames(kind, 100, 30_000), 4096));
        }
    }

    #[test]
    fn what_carries_nothing_has_an_end_however_it_is_cut() {
        for (kind, length, count) in [
            (RST_STREAM, 4, 500),
            (SETTINGS, 0, 500),
            (SETTINGS, 6, 500),
            (6, 8, 10_000),
            (8, 4, 10_000),
            (2, 5, 10_000),
            (0x99, 70_000, 50),
            (0x99, 0, 10_000),
        ] {
            for piece in [1, 7, 9, 4096, usize::MAX] {
                let some = frames(kind, length, count.min(400));
                assert!(passes(&some, piece), "{kind} {length} {piece}");
            }
            if count == 50 {
                continue;
            }
            // Twice and more, so that what a slow machine earns by time does not matter.
            assert!(!passes(&frames(kind, length, count * 4), 4096), "{kind} {length}");
        }
    }

    #[test]
    fn who_takes_answers_may_update_windows() {
        let mut meter = Meter::new();
        meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        for _ in 0..10_000 {
            meter.wrote(16 * 1024);
            assert!(meter.read(&frames(8, 4, 16)).is_ok());
        }
    }
}
