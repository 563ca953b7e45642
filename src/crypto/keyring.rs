//! The master keys: `key-id base64(32 bytes)`, one per line; the first seals, all open.
//!
//! Never puts a key into a fault: faults point into a copy of the file in which everything but the
//! key ids is masked. Invariant: a `Keyring` holds at least one key.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::fault::{Fault, Source};
use crate::world::Entropy;

/// All master keys, newest first.
pub struct Keyring {
    pub(super) keys: Vec<MasterKey>,
}

/// One master key as what is derived from it; the key itself is not kept.
pub(super) struct MasterKey {
    pub(super) id: String,
    pub(super) seal: LessSafeKey,
    pub(super) mac: hmac::Key,
    pub(super) stream: hmac::Key,
}

impl Keyring {
    /// Reads the key file. Empty lines and lines that begin with `#` are skipped. A file whose only
    /// line is one base64 word is a key with the id `1`. `None` if there was a fault.
    pub fn parse(source: &Source, faults: &mut Vec<Fault>) -> Option<Self> {
        let masked = mask(source);
        let lines = lines(&source.text);
        let mut keys: Vec<MasterKey> = Vec::new();
        let before = faults.len();
        for (span, line) in &lines {
            match read_line(line, lines.len() == 1) {
                Ok(key) if keys.iter().any(|known| known.id == key.id) => {
                    let message = format!("the key id `{}` is here twice", key.id);
                    faults.push(Fault::new(&masked, span.clone(), message));
                }
                Ok(key) => keys.push(key),
                Err(message) => faults.push(
                    Fault::new(&masked, span.clone(), message)
                        .help("write `key-id`, a space, and 32 bytes in base64"),
                ),
            }
        }
        if lines.is_empty() {
            faults.push(Fault::new(&masked, 0..0, "the file holds no key"));
        }
        (faults.len() == before).then_some(Self { keys })
    }

    /// The text of a new key file with one fresh key.
    pub fn generate(entropy: &dyn Entropy) -> String {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        entropy.fill(key.as_mut());
        let text = Zeroizing::new(STANDARD.encode(key.as_ref()));
        format!("# The first key seals, every key opens. Add new keys at the top.\n1 {}\n", *text)
    }

    /// Ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Lines that say something, trimmed, with where they stand.
fn lines(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut at = 0;
    let mut found = Vec::new();
    for raw in text.split_inclusive('\n') {
        let line = raw.trim();
        let start = at + (raw.len() - raw.trim_start().len());
        at += raw.len();
        if !line.is_empty() && !line.starts_with('#') {
            found.push((start..start + line.len(), line));
        }
    }
    found
}

fn read_line(line: &str, only_line: bool) -> Result<MasterKey, &'static str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (id, text) = match words.as_slice() {
        [text] if only_line => ("1", *text),
        [id, text] => (*id, *text),
        _ => return Err("a line is one key id and one key"),
    };
    let id_fits = (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !id_fits {
        return Err("a key id is 1 to 32 letters, digits, `-`, `_` or `.`");
    }
    let bytes = Zeroizing::new(BASE64.decode(text).map_err(|_| "the key is not base64")?);
    if bytes.len() != KEY_BYTES {
        return Err("the key is not 32 bytes long");
    }
    derive(id, &bytes).ok_or("the key cannot be used")
}

/// One subkey per use, so that no key ever serves two algorithms (RFC 5869).
fn derive(id: &str, master: &[u8]) -> Option<MasterKey> {
    let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"stepgate").extract(master);
    let mut seal = Zeroizing::new([0; KEY_BYTES]);
    root.expand(&[b"seal v1"], hkdf::HKDF_SHA256).ok()?.fill(seal.as_mut()).ok()?;
    let mut mac = Zeroizing::new([0; KEY_BYTES]);
    root.expand(&[b"mac v1"], hkdf::HKDF_SHA256).ok()?.fill(mac.as_mut()).ok()?;
    let mut stream = Zeroizing::new([0; KEY_BYTES]);
    root.expand(&[b"stream v1"], hkdf::HKDF_SHA256).ok()?.fill(stream.as_mut()).ok()?;
    Some(MasterKey {
        id: id.to_owned(),
        seal: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, seal.as_ref()).ok()?),
        mac: hmac::Key::new(hmac::HMAC_SHA256, mac.as_ref()),
        stream: hmac::Key::new(hmac::HMAC_SHA256, stream.as_ref()),
    })
}

/// The same file with every byte that may belong to a key replaced, lengths kept, so that spans
/// still fit. Only the first word of a line of several words stays.
fn mask(source: &Source) -> Source {
    let mut text = String::with_capacity(source.text.len());
    for line in source.text.split_inclusive('\n') {
        let id_ends = match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [id, _, ..] if id.len() <= ID_BYTES_MAX => line.find(id).unwrap_or(0) + id.len(),
            _ => 0,
        };
        for (at, letter) in line.char_indices() {
            if at < id_ends || letter == '\n' {
                text.push(letter);
            } else {
                text.extend(std::iter::repeat_n('*', letter.len_utf8()));
            }
        }
    }
    Source::new(source.path.clone(), text)
}

const KEY_BYTES: usize = 32;
pub(super) const ID_BYTES_MAX: usize = 32;

/// Standard base64, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::world::SeededEntropy;

    /// A ring with these ids; the same id is always the same key.
    pub(in crate::crypto) fn ring(ids: &[&str]) -> Keyring {
        let line = |id: &&str| {
            let seed = id.bytes().fold(7, |sum: u64, byte| sum * 131 + u64::from(byte) * 2);
            let mut key = [0; 32];
            SeededEntropy::new(seed).fill(&mut key);
            format!("{id} {}\n", STANDARD.encode(key))
        };
        let text: String = ids.iter().map(line).collect();
        Keyring::parse(&Source::new("master.key", text), &mut Vec::new()).expect("fits")
    }

    fn faults(text: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let ring = Keyring::parse(&Source::new("master.key", text), &mut faults);
        assert_eq!(ring.is_none(), !faults.is_empty());
        faults
    }

    #[test]
    fn a_generated_file_is_read_back() {
        let text = Keyring::generate(&SeededEntropy::new(1));
        assert_eq!(faults(&text), []);
    }

    #[test]
    fn the_first_line_is_the_first_key() {
        let ids: Vec<_> = ring(&["2026-b", "2026-a"]).ids().map(str::to_owned).collect();
        assert_eq!(ids, ["2026-b", "2026-a"]);
    }

    #[test]
    fn one_base64_word_is_key_1() {
        let text = STANDARD.encode([9; 32]);
        let ring = Keyring::parse(&Source::new("k", format!("{text}\n")), &mut Vec::new());
        assert_eq!(ring.expect("fits").ids().collect::<Vec<_>>(), ["1"]);
        assert_eq!(faults(text.trim_end_matches('=')), []);
    }

    #[test]
    fn every_fault_is_named_where_it_stands() {
        let good = STANDARD.encode([1; 32]);
        let short = STANDARD.encode([1; 16]);
        let text = format!("# keys\na {good}\n\na {good}\nb {short}\n  c !!!\nd e f\n{good}\n");
        let found: Vec<_> =
            faults(&text).iter().map(|fault| (fault.position(), fault.message.clone())).collect();
        let expected = [
            ((4, 1), "the key id `a` is here twice"),
            ((5, 1), "the key is not 32 bytes long"),
            ((6, 3), "the key is not base64"),
            ((7, 1), "a line is one key id and one key"),
            ((8, 1), "a line is one key id and one key"),
        ];
        assert_eq!(found, expected.map(|(at, message)| (at, message.to_owned())));
    }

    #[test]
    fn an_empty_file_is_a_fault() {
        assert_eq!(faults("# nothing\n").len(), 1);
        assert_eq!(faults("").len(), 1);
    }

    #[test]
    fn a_fault_shows_nothing_of_a_key() {
        let key = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I";
        for text in [format!("new {key}é x\n"), format!("{key} {key}\n"), format!(" {key}\nb x")] {
            for fault in faults(&text) {
                let shown = format!("{} {fault:?}", fault.render());
                assert!(!shown.contains("c2Vj"), "{shown}");
            }
        }
    }
}
