//! Recovery codes: how they are made, written, read back and kept.
//!
//! Never kept in the clear: the store holds a MAC of account and code. Invariant: a code has 80 bits that nobody can
//! guess, and is worth nothing on any other account.

use std::fmt;

use zeroize::Zeroizing;

use super::code::Mac;
use crate::types::AccountId;

/// One code: 16 symbols, each of five bits.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<String>);

/// Not such a code. Counts as a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recovery code is {SYMBOLS_EACH} letters and digits")]
pub struct BadRecoveryCode;

impl RecoveryCode {
    /// Capital letters are small ones, an O is a nought, an I or L is a one; spaces and hyphens say nothing. There is no
    /// other spelling.
    ///
    /// # Errors
    /// `BadRecoveryCode` for anything else.
    pub fn parse(text: &str) -> Result<Self, BadRecoveryCode> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadRecoveryCode);
        }
        let mut symbols = Zeroizing::new(String::with_capacity(SYMBOLS_EACH));
        for symbol in text.chars().filter(|symbol| !matches!(symbol, ' ' | '-')) {
            let symbol = match symbol.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                other => other,
            };
            if !symbol.is_ascii() || !ALPHABET.contains(&(symbol as u8)) {
                return Err(BadRecoveryCode);
            }
            symbols.push(symbol);
        }
        if symbols.len() == SYMBOLS_EACH { Ok(Self(symbols)) } else { Err(BadRecoveryCode) }
    }

    /// In groups of four, as it is shown once.
    pub fn shown(&self) -> Zeroizing<String> {
        let mut shown = Zeroizing::new(String::with_capacity(SYMBOLS_EACH + 3));
        for (at, symbol) in self.0.chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                shown.push('-');
            }
            shown.push(symbol);
        }
        shown
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let (mut bits, mut count) = (0_u32, 0);
        let mut symbols = Zeroizing::new(String::with_capacity(SYMBOLS_EACH));
        for byte in bytes.iter().take(BYTES_EACH) {
            bits = bits << 8 | u32::from(*byte);
            count += 8;
            while count >= 5 {
                count -= 5;
                let symbol = ALPHABET.get((bits >> count & 31) as usize);
                symbols.push(symbol.copied().map_or('0', char::from));
            }
            bits &= (1 << count) - 1;
        }
        Self(symbols)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

/// The codes of one seed, which nobody can know: under a key of the gateways, the same whenever they are asked for.
pub fn codes(seed: &[u8], mac: Mac<'_>) -> Vec<RecoveryCode> {
    let code = |n: u8| RecoveryCode::of_bytes(&mac(TEXT_LABEL, &[seed, &[n]]));
    (0..CODES).map(code).collect()
}

/// What the store keeps of a code, in hex.
pub fn code_mac(account: &AccountId, code: &RecoveryCode, mac: Mac<'_>) -> String {
    let tag = with_parts(account, code, |parts| mac(CODE_LABEL, parts));
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Label and parts that a kept MAC is of, for whoever has older keys as well.
pub fn with_parts<T>(account: &AccountId, code: &RecoveryCode, f: impl FnOnce(&[&[u8]]) -> T) -> T {
    f(&[account.group.as_bytes(), account.name.as_bytes(), code.0.as_bytes()])
}

pub const CODE_LABEL: &str = "recovery-code";
const TEXT_LABEL: &str = "recovery-text";
const CODES: u8 = 10;
const SYMBOLS_EACH: usize = 16;
const BYTES_EACH: usize = 10;
const TEXT_BYTES_MAX: usize = 64;
/// Crockford's: no letter that is taken for a digit, and no U.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    /// Not safe, but every byte of it depends on every byte that went in (FNV-1a).
    fn toy_mac(label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let bytes = label.bytes().chain(parts.iter().flat_map(|part| part.iter().copied()));
        let mut state = bytes.fold(0xcbf2_9ce4_8422_2325, mix);
        std::array::from_fn(|_| {
            state = mix(state, 1);
            state.to_be_bytes()[2]
        })
    }

    #[test]
    fn ten_codes_are_made_and_each_is_another() {
        let mut made: Vec<String> =
            codes(b"seed", &toy_mac).iter().map(|code| code.shown().to_string()).collect();
        assert!(made.iter().all(|code| code.len() == 19), "{made:?}");
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 10);
    }

    #[test]
    fn every_bit_is_in_the_code() {
        let one = RecoveryCode::of_bytes(&[0; 10]);
        assert_eq!(&*one.shown(), "0000-0000-0000-0000");
        assert_eq!(&*RecoveryCode::of_bytes(&[255; 10]).shown(), "zzzz-zzzz-zzzz-zzzz");
        let mut last = [0; 10];
        last[9] = 1;
        assert_eq!(&*RecoveryCode::of_bytes(&last).shown(), "0000-0000-0000-0001");
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let made = codes(b"seed", &toy_mac);
        for code in &made {
            let shown = code.shown();
            for typed in [
                shown.to_string(),
                shown.to_uppercase(),
                shown.replace('-', " "),
                shown.replace('0', "O").replace('1', "l"),
            ] {
                assert!(RecoveryCode::parse(&typed) == Ok(code.clone()), "{typed}");
            }
        }
        for bad in ["", "0000-0000-0000-000", "0000-0000-0000-00000", "0000-0000-0000-000u", "é"] {
            assert!(RecoveryCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_code_of_one_account_is_no_code_of_another() {
        let code = &codes(b"seed", &toy_mac)[0];
        let of = |name: &str| code_mac(&AccountId::new("main", name), code, &toy_mac);
        assert_ne!(of("alice"), of("bob"));
        assert!(!format!("{code:?}").contains(&*code.shown()));
    }
}
