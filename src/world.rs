//! The outside world as arguments: time and randomness.
//!
//! Never read directly by the core: `SystemTime::now` and the random source are called only here, so that tests
//! can move the clock by hand and seed the entropy.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroize;

use crate::types::UnixMs;

/// Wall time.
pub trait Clock: Send + Sync {
    fn now(&self) -> UnixMs;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the machine's clock
    fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The operating system's random source through aws-lc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        DRAWN.with_borrow_mut(|drawn| drawn.fill(bytes));
    }
}

/// Randomness drawn ahead, because every request has an id and a call costs much more than the bytes that it brings.
/// Each byte is given out once and wiped.
struct Drawn {
    bytes: [u8; DRAWN_BYTES],
    left: usize,
}

impl Drawn {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > DRAWN_BYTES {
            return draw(bytes);
        }
        if bytes.len() > self.left {
            draw(&mut self.bytes);
            self.left = DRAWN_BYTES;
        }
        let rest = self.left - bytes.len();
        let given = &mut self.bytes[rest..self.left];
        bytes.copy_from_slice(given);
        given.zeroize();
        self.left = rest;
    }
}

/// aws-lc's generator fails only when the operating system has no randomness at all; going on would mean guessable ids,
/// so the process stops.
fn draw(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the operating system gives randomness");
}

const DRAWN_BYTES: usize = 1024;

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAWN_BYTES], left: 0 }) };
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn at(now: UnixMs) -> Self {
        Self(AtomicI64::new(now.0))
    }
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

/// Repeatable bytes for tests (xorshift64*); never used by the gateway itself.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed | 1))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for byte in bytes {
            *state ^= *state >> 12;
            *state ^= *state << 25;
            *state ^= *state >> 27;
            *byte = (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_random_byte_is_given_out_twice() {
        let mut seen = std::collections::HashSet::new();
        for round in 0..3_000 {
            let mut bytes = [0; 10];
            SystemEntropy.fill(&mut bytes);
            assert!(seen.insert(bytes), "round {round}");
        }
        let mut long = [0; DRAWN_BYTES + 1];
        SystemEntropy.fill(&mut long);
        assert!(long.chunks(16).all(|chunk| chunk.len() < 16 || chunk != [0; 16]));
        SystemEntropy.fill(&mut []);
    }
}
