//! Sealing at rest: AES-256-GCM-SIV (RFC 8452) under the first master key.
//!
//! Never opens what was sealed for another purpose or account: both are associated data, so that a
//! sealed secret that is copied into another account's record is worthless there. SIV, because a
//! repeated random nonce then reveals equality and nothing more.
//!
//! Layout: version (1 byte), length of the key id (1 byte), key id, nonce (12 bytes), ciphertext
//! with tag.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::keyring::Keyring;
use super::mac::framed;
use crate::world::{Entropy, SystemEntropy};

/// Why sealed bytes cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("not a sealed value of a version this program knows")]
    Malformed,
    #[error("sealed under the key `{0}`, which is not in the key file")]
    UnknownKey(String),
    #[error("sealed for something else, or changed")]
    Forged,
}

impl Keyring {
    /// Seals `plain` for `purpose`; `aad` names whose it is (account group and name at least).
    pub fn seal(&self, purpose: &str, aad: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        let key = &self.keys[0]; // a keyring holds at least one key
        let mut nonce = [0; NONCE_LEN];
        SystemEntropy.fill(&mut nonce);
        let mut sealed = vec![VERSION, key.id.len() as u8]; // ids are at most 32 bytes long
        sealed.extend_from_slice(key.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        // In a buffer that is long enough from the start: a reallocation would leave plain text
        // behind.
        let mut buffer = Vec::with_capacity(plain.len() + TAG_BYTES);
        buffer.extend_from_slice(plain);
        key.seal
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(&key.id, purpose, aad)),
                &mut buffer,
            )
            .expect("AES-GCM-SIV takes every length that fits in memory");
        sealed.append(&mut buffer);
        sealed
    }

    /// Opens what `seal` made with the same `purpose` and `aad`, under whichever key it was.
    ///
    /// # Errors
    /// `Malformed`, `UnknownKey` after a key was removed too early, `Forged` for everything else.
    pub fn open(
        &self,
        purpose: &str,
        aad: &[&[u8]],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, nonce, ciphertext) = take_apart(sealed).ok_or(SealError::Malformed)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let plain_bytes = key
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(&key.id, purpose, aad)),
                &mut buffer,
            )
            .map_err(|_| SealError::Forged)?
            .len();
        buffer.truncate(plain_bytes);
        Ok(buffer)
    }
}

fn take_apart(sealed: &[u8]) -> Option<(&str, [u8; NONCE_LEN], &[u8])> {
    let (&version, rest) = sealed.split_first()?;
    let (&id_bytes, rest) = rest.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(id_bytes))?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
    let id = std::str::from_utf8(id).ok()?;
    (version == VERSION).then_some((id, *nonce, ciphertext))
}

fn bound_to(id: &str, purpose: &str, aad: &[&[u8]]) -> Vec<u8> {
    let mut parts = vec![&[VERSION][..], id.as_bytes(), purpose.as_bytes()];
    parts.extend_from_slice(aad);
    framed(&parts)
}

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::keyring::tests::ring;
    use super::*;

    const ALICE: &[&[u8]] = &[b"main", b"alice"];

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_and_account() {
        let ring = ring(&["a"]);
        let sealed = ring.seal("totp", ALICE, b"secret");
        assert_eq!(*ring.open("totp", ALICE, &sealed).expect("opens"), b"secret");
    }

    #[test]
    fn it_does_not_open_for_another_account_or_purpose() {
        let ring = ring(&["a"]);
        let sealed = ring.seal("totp", ALICE, b"secret");
        let moved: [(&str, &[&[u8]]); 4] = [
            ("totp", &[b"main", b"bob"]),
            ("totp", &[b"mainalice"]),
            ("totp", &[b"maina", b"lice"]),
            ("sms", ALICE),
        ];
        for (purpose, aad) in moved {
            assert_eq!(ring.open(purpose, aad, &sealed), Err(SealError::Forged));
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let ring = ring(&["a"]);
        let sealed = ring.seal("totp", ALICE, b"secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring.open("totp", ALICE, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_older_key_still_opens_and_the_newest_seals() {
        let sealed = ring(&["old"]).seal("totp", ALICE, b"secret");
        let rotated = ring(&["new", "old"]);
        assert_eq!(*rotated.open("totp", ALICE, &sealed).expect("opens"), b"secret");
        let again = rotated.seal("totp", ALICE, b"secret");
        assert_eq!(
            ring(&["old"]).open("totp", ALICE, &again),
            Err(SealError::UnknownKey("new".to_owned()))
        );
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let ring = ring(&["a"]);
        assert_ne!(ring.seal("totp", ALICE, b"x"), ring.seal("totp", ALICE, b"x"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ring(&["a"]).open("totp", ALICE, &bytes).is_err());
        }
    }
}
