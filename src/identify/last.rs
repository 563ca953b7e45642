//! The digest of a connection's last token, which most often is its next one too.
//!
//! Never says that a token is good: it only saves hashing the same text again. Invariant: the digest handed out is that of
//! the text asked about.

use std::sync::{Mutex, PoisonError};

use crate::crypto::Secret;

/// One text with its SHA-256. Wiped when it is replaced and when the connection ends.
#[derive(Debug, Default)]
pub(crate) struct LastToken(Mutex<Option<(Secret, [u8; 32])>>);

impl LastToken {
    /// SHA-256 of the text.
    pub(super) fn digest(&self, text: &str) -> [u8; 32] {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, digest)) = &*last
            && is_same(known.expose(), text.as_bytes())
        {
            return *digest;
        }
        let digest = sha256(text);
        if text.len() <= TEXT_BYTES_MAX {
            *last = Some((Secret::new(text), digest));
        }
        digest
    }
}

/// SHA-256 of the text.
pub(super) fn sha256(text: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Without stopping at the first difference: behind a proxy that shares its connections, the last token may be another
/// client's, and the time must not tell how much of it was guessed.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && differences == 0
}

/// What a connection may keep of its last request.
const TEXT_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_is_of_the_text_that_was_asked_about() {
        let last = LastToken::default();
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for text in ["a", "a", "b", "ab", "a", "", "", "aa", &long, "aa", &long, &long] {
            assert_eq!(last.digest(text), sha256(text), "{text}");
        }
    }
}
