//! A code as a person types it, and the random one that goes out by SMS.
//!
//! Never stored and never printed: the store holds a MAC of challenge and code, `Debug` shows nothing. Invariant: a
//! `Code` is 6 or 8 ASCII digits.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::challenge::SentCode;
use crate::types::{ChallengeId, UnixMs};
use crate::world::Entropy;

/// HMAC-SHA-256 under a key of the gateways, separated by label, parts length-prefixed.
pub type Mac<'a> = &'a (dyn Fn(&str, &[&[u8]]) -> [u8; 32] + Send + Sync);

/// 6 or 8 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

/// Not 6 or 8 digits. Counts as a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is 6 or 8 digits")]
pub struct BadCode;

impl Code {
    /// Exactly 6 or 8 ASCII digits after ASCII spaces around them are cut off; nothing inside is forgiven, because
    /// every further spelling is one more way to guess.
    ///
    /// # Errors
    /// `BadCode` for anything else.
    pub fn parse(text: &str) -> Result<Self, BadCode> {
        let digits = text.trim_matches(' ');
        if matches!(digits.len(), 6 | 8) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(Zeroizing::new(digits.to_owned())))
        } else {
            Err(BadCode)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// Six digits, each of the million codes equally likely.
pub fn sms_code(entropy: &dyn Entropy) -> Code {
    loop {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        let drawn = u32::from_be_bytes(bytes);
        // Above the largest multiple of a million the remainder would favour small codes: draw again.
        if drawn < CODES * (u32::MAX / CODES) {
            return Code(Zeroizing::new(format!("{:06}", drawn % CODES)));
        }
    }
}

/// What the store keeps of a code that was sent: hex HMAC of challenge and code, so that a code is worth nothing on
/// any other challenge.
pub fn sms_mac(challenge: &ChallengeId, code: &Code, mac: Mac<'_>) -> String {
    let tag = mac(SMS_LABEL, &[challenge.as_str().as_bytes(), code.as_str().as_bytes()]);
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a code is worth against the one that was sent last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum SmsCheck {
    /// It is the one; `mac` is what `Store::prove` compares again.
    Right {
        mac: String,
    },
    Wrong,
}

/// Judges `code` at `now`. A code past its time is as wrong as any other.
pub fn check_sms(
    sent: Option<&SentCode>,
    challenge: &ChallengeId,
    code: &Code,
    mac: Mac<'_>,
    now: UnixMs,
) -> SmsCheck {
    // The MAC is computed in any case, so that time does not tell whether a code was ever sent.
    let given = sms_mac(challenge, code, mac);
    let right = sent.is_some_and(|sent| {
        now < sent.expires && verify_slices_are_equal(sent.mac.as_bytes(), given.as_bytes()).is_ok()
    });
    if right { SmsCheck::Right { mac: given } } else { SmsCheck::Wrong }
}

const CODES: u32 = 1_000_000;
const SMS_LABEL: &str = "sms-code";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SeededEntropy;

    /// Not a MAC, but as different for different parts as these tests need.
    fn toy_mac(label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut tag = [0_u8; 32];
        let bytes = label.bytes().chain(parts.iter().flat_map(|part| part.iter().copied()));
        for (at, byte) in bytes.enumerate() {
            tag[at % 32] = tag[at % 32].wrapping_mul(31).wrapping_add(byte);
        }
        tag
    }

    #[test]
    fn six_or_eight_digits_are_a_code() {
        assert_eq!(Code::parse("012345").unwrap().as_str(), "012345");
        assert_eq!(Code::parse("  01234567 ").unwrap().as_str(), "01234567");
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let bad = [
            "",
            "12345",
            "1234567",
            "123456789",
            "123 456",
            "+123456",
            "-12345",
            "１２３４５６",
            "12345a",
            "123456\n",
            "\t123456",
            "123456\u{a0}",
            "0x1234",
            "null",
            "[]",
            "{}",
        ];
        for text in bad {
            assert_eq!(Code::parse(text), Err(BadCode), "{text:?}");
        }
    }

    #[test]
    fn a_code_never_shows_in_debug() {
        assert_eq!(format!("{:?}", Code::parse("123456").unwrap()), "Code(…)");
    }

    #[test]
    fn random_codes_are_six_digits_and_reach_every_first_digit_evenly() {
        let entropy = SeededEntropy::new(7);
        let mut first = [0_u32; 10];
        for _ in 0..10_000 {
            let code = sms_code(&entropy);
            assert_eq!(code.as_str().len(), 6);
            first[usize::from(code.as_str().as_bytes()[0] - b'0')] += 1;
        }
        assert!(first.iter().all(|count| (800..1200).contains(count)), "{first:?}");
    }

    /// Gives the bytes it was made with, then zeros.
    struct Fixed(std::sync::Mutex<Vec<u8>>);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            let mut left = self.0.lock().unwrap();
            for byte in bytes {
                *byte = if left.is_empty() { 0 } else { left.remove(0) };
            }
        }
    }

    #[test]
    fn a_draw_that_would_favour_small_codes_is_drawn_again() {
        let at = |drawn: u32| {
            let mut bytes = drawn.to_be_bytes().to_vec();
            bytes.extend(123_456_u32.to_be_bytes());
            sms_code(&Fixed(std::sync::Mutex::new(bytes))).as_str().to_owned()
        };
        assert_eq!(at(4_293_999_999), "999999");
        assert_eq!(at(4_294_000_000), "123456");
        assert_eq!(at(u32::MAX), "123456");
    }

    fn sent(challenge: &ChallengeId, code: &Code) -> SentCode {
        SentCode {
            mac: sms_mac(challenge, code, &toy_mac),
            expires: UnixMs(1_000),
            masked_number: "+49 ••• ••67".into(),
        }
    }

    #[test]
    fn the_code_that_was_sent_is_right_until_it_expires() {
        let (id, code) = (ChallengeId::new("a"), Code::parse("123456").unwrap());
        let sent = sent(&id, &code);
        let at = |now| check_sms(Some(&sent), &id, &code, &toy_mac, UnixMs(now));
        assert_eq!(at(999), SmsCheck::Right { mac: sent.mac.clone() });
        assert_eq!(at(1_000), SmsCheck::Wrong);
    }

    #[test]
    fn a_code_of_one_challenge_is_wrong_on_another() {
        let code = Code::parse("123456").unwrap();
        let sent = sent(&ChallengeId::new("a"), &code);
        let other = ChallengeId::new("b");
        assert_eq!(check_sms(Some(&sent), &other, &code, &toy_mac, UnixMs(0)), SmsCheck::Wrong);
        assert_eq!(check_sms(None, &other, &code, &toy_mac, UnixMs(0)), SmsCheck::Wrong);
    }

    proptest::proptest! {
        #[test]
        fn whatever_parses_is_six_or_eight_digits(text in ".{0,12}") {
            if let Ok(code) = Code::parse(&text) {
                proptest::prop_assert!(matches!(code.as_str().len(), 6 | 8));
                proptest::prop_assert!(code.as_str().bytes().all(|byte| byte.is_ascii_digit()));
            }
        }
    }
}
