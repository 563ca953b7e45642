//! Long texts in chunks: AES-256-GCM, each chunk bound to its number and to whether it is the last (STREAM; Hoang,
//! Reyhanitabar, Rogaway, Vizár 2015).
//!
//! Never opens a chunk in another place than its own, so that a text that was cut off, reordered or spliced is noticed.
//! Invariant: every stream has a key of its own, derived from what its head says; so no nonce is ever used twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use super::keyring::Keyring;
use super::mac::framed;
use super::seal::SealError;

/// The key of one stream.
pub struct StreamKey(LessSafeKey);

impl Keyring {
    /// The key of the stream that begins with `head`, under the master key with this id. Whoever makes a stream puts
    /// fresh randomness into its head.
    ///
    /// # Errors
    /// `UnknownKey` if there is no such master key.
    pub fn stream_key(&self, id: &str, purpose: &str, head: &[u8]) -> Result<StreamKey, SealError> {
        let unknown = || SealError::UnknownKey(id.to_owned());
        let master = self.keys.iter().find(|key| key.id == id).ok_or_else(unknown)?;
        let derived = hmac::sign(&master.stream, &framed(&[purpose.as_bytes(), head]));
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).map_err(|_| unknown())?;
        Ok(StreamKey(LessSafeKey::new(key)))
    }

    /// The id of the key that seals.
    pub fn newest(&self) -> &str {
        &self.keys[0].id // a keyring holds at least one key
    }
}

impl StreamKey {
    /// Seals a chunk in place; it grows by `TAG_BYTES`. Each number is used once, and `last` with the highest.
    pub fn seal(&self, number: u64, last: bool, chunk: &mut Vec<u8>) -> Result<(), SealError> {
        self.0
            .seal_in_place_append_tag(nonce(number, last), Aad::empty(), chunk)
            .map_err(|_| SealError::Malformed)
    }

    /// Opens what `seal` made of a chunk with this number and `last`; it shrinks by `TAG_BYTES`.
    ///
    /// # Errors
    /// `Forged`; the chunk's content is then void.
    pub fn open(&self, number: u64, last: bool, chunk: &mut Vec<u8>) -> Result<(), SealError> {
        let opened = self.0.open_in_place(nonce(number, last), Aad::empty(), chunk);
        let bytes = opened.map_err(|_| SealError::Forged)?.len();
        chunk.truncate(bytes);
        Ok(())
    }
}

/// 3 zeros, the chunk's number in 8 bytes, 1 for the last.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// What a sealed chunk is longer than its text.
pub const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::keyring::tests::ring;
    use super::*;

    fn sealed(key: &StreamKey, number: u64, last: bool) -> Vec<u8> {
        let mut chunk = b"text".to_vec();
        key.seal(number, last, &mut chunk).expect("seals");
        chunk
    }

    #[test]
    fn a_chunk_opens_in_its_own_place_only() {
        let key = ring(&["a"]).stream_key("a", "test", b"head").expect("is there");
        let chunk = sealed(&key, 2, false);
        assert_eq!(chunk.len(), 4 + TAG_BYTES);
        for (number, last) in [(2, true), (1, false), (3, false), (2 << 8, false)] {
            assert_eq!(key.open(number, last, &mut chunk.clone()), Err(SealError::Forged));
        }
        let mut opened = chunk.clone();
        key.open(2, false, &mut opened).expect("opens");
        assert_eq!(opened, b"text");
    }

    #[test]
    fn a_chunk_opens_under_its_own_head_purpose_and_master_key_only() {
        let ring = ring(&["a", "b"]);
        let of = |id: &str, purpose: &str, head: &[u8]| {
            ring.stream_key(id, purpose, head).expect("is there")
        };
        let chunk = sealed(&of("a", "test", b"head"), 0, true);
        for other in [of("a", "test", b"heaD"), of("a", "tes", b"thead"), of("b", "test", b"head")]
        {
            assert_eq!(other.open(0, true, &mut chunk.clone()), Err(SealError::Forged));
        }
        assert!(of("a", "test", b"head").open(0, true, &mut chunk.clone()).is_ok());
        let unknown = ring.stream_key("c", "test", b"head").err();
        assert_eq!(unknown, Some(SealError::UnknownKey("c".to_owned())));
    }
}
