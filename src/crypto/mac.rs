//! MACs and digests, and ids that nobody can guess.
//!
//! Never compares a MAC in variable time. Invariant: parts are framed by their lengths before they
//! are MACed.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keyring::Keyring;
use crate::world::Entropy;

impl Keyring {
    /// HMAC-SHA-256 over label and parts, under the first key. Two labels never give the same MAC.
    pub fn mac(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let tag = hmac::sign(&self.keys[0].mac, &labelled(label, parts)); // never empty
        let mut mac = [0; 32];
        mac.copy_from_slice(tag.as_ref()); // SHA-256 is 32 bytes long
        mac
    }

    /// Whether `mac` is that of label and parts under any key; constant time per key, and no key is
    /// skipped.
    pub fn matches(&self, label: &str, parts: &[&[u8]], mac: &[u8]) -> bool {
        let message = labelled(label, parts);
        let fits = |key: &super::keyring::MasterKey| hmac::verify(&key.mac, &message, mac).is_ok();
        self.keys.iter().fold(false, |found, key| found | fits(key))
    }
}

fn labelled(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut all = vec![label.as_bytes()];
    all.extend_from_slice(parts);
    framed(&all)
}

/// The parts, each after its length (8 bytes, big endian): different lists give different bytes.
pub fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// SHA-256 of the parts one after the other, as if they were one; where the boundaries matter, use
/// `framed` first.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref()); // SHA-256 is 32 bytes long
    out
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 256 random bits, base64url without padding: 43 characters.
pub fn random_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::keyring::tests::ring;
    use super::*;
    use crate::world::SeededEntropy;

    #[test]
    fn the_digest_is_sha_256() {
        // FIPS 180-4, "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(&[b"a", b"bc"])), expected);
    }

    #[test]
    fn a_mac_is_tied_to_its_label_and_to_each_part() {
        let ring = ring(&["a"]);
        let mac = ring.mac("sms", &[b"id", b"123456"]);
        assert!(ring.matches("sms", &[b"id", b"123456"], &mac));
        assert!(!ring.matches("csrf", &[b"id", b"123456"], &mac));
        assert!(!ring.matches("sms", &[b"id1", b"23456"], &mac));
        assert!(!ring.matches("sms", &[b"id", b"123457"], &mac));
        assert!(!ring.matches("sms", &[b"id", b"123456"], &mac[..16]));
    }

    #[test]
    fn a_mac_outlives_the_rotation_of_its_key() {
        let mac = ring(&["old"]).mac("sms", &[b"x"]);
        assert!(ring(&["new", "old"]).matches("sms", &[b"x"], &mac));
        assert!(!ring(&["new"]).matches("sms", &[b"x"], &mac));
    }

    #[test]
    fn ids_are_256_bits_and_differ() {
        let entropy = SeededEntropy::new(3);
        let (one, two) = (random_id(&entropy), random_id(&entropy));
        assert_eq!(one.len(), 43);
        assert_ne!(one, two);
    }
}
