//! Time-based codes (RFC 6238): one enrolled authenticator, and what a code is worth at a given time.
//!
//! Never reads a clock and never remembers anything: the last accepted step comes in, the matched step goes out, and
//! the store decides atomically. Invariant: a step in the future, or one at or before the last accepted one, is never
//! right.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::types::UnixMs;

/// One enrolled authenticator.
pub struct Totp {
    /// Exactly as enrolled; this is what is sealed.
    uri: Zeroizing<String>,
    inner: totp_rs::Totp,
}

/// What a code is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TotpCheck {
    /// It is the code of `step`, which is later than the last accepted one.
    Right {
        step: u64,
    },
    /// It is the code of the current or previous step, and that step or a later one was accepted before.
    Replayed,
    Wrong,
}

/// Why an otpauth address is not enrolled. Never quotes the address: it holds the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTotp {
    #[error("not an otpauth://totp/… address")]
    NotOtpauth,
    #[error("the address is longer than {URI_BYTES_MAX} bytes")]
    TooLong,
    #[error("the parameter `{0}` is given twice")]
    Twice(&'static str),
    #[error("the secret is missing or not base32")]
    Secret,
    #[error(
        "the secret has {bits} bits; at least {SECRET_BITS_MIN} are needed (RFC 4226 asks for 128)"
    )]
    ShortSecret { bits: usize },
    #[error("the algorithm is not SHA1, SHA256 or SHA512")]
    Algorithm,
    #[error("codes have {0} digits; 6 or 8 are possible")]
    Digits(u8),
    #[error("a code lasts {0} s; only 30 s is possible")]
    Period(u64),
}

impl Totp {
    /// Reads `otpauth://totp/Issuer:name?secret=…&algorithm=…&digits=…&period=30`.
    ///
    /// Secrets of at least 80 bits are taken: RFC 4226 R6 asks for 128, but the common enrolment of 16 base32
    /// characters has 80, and refusing those would leave their owners without any factor.
    ///
    /// # Errors
    /// `BadTotp`, which never holds any part of the address.
    pub fn parse(uri: &str) -> Result<Self, BadTotp> {
        if uri.len() > URI_BYTES_MAX {
            return Err(BadTotp::TooLong);
        }
        once_each(uri)?;
        let inner = totp_rs::Totp::from_url_unchecked(uri).map_err(|error| cause(&error))?;
        let bits = inner.secret().as_bytes().len() * 8;
        if bits < SECRET_BITS_MIN {
            return Err(BadTotp::ShortSecret { bits });
        }
        if !matches!(inner.digits(), 6 | 8) {
            return Err(BadTotp::Digits(inner.digits()));
        }
        if inner.step() != STEP_S {
            return Err(BadTotp::Period(inner.step()));
        }
        Ok(Self { uri: Zeroizing::new(uri.to_owned()), inner })
    }

    /// One that every authenticator app knows: SHA-1, 6 digits, 30 s. The account's name is for its owner to tell it
    /// from others.
    ///
    /// # Errors
    /// As `parse`.
    pub fn fresh(
        issuer: &str,
        account: &str,
        secret: &[u8; SECRET_BYTES],
    ) -> Result<Self, BadTotp> {
        let part = |text: &str| {
            let text: String = text.chars().filter(|c| *c != ':').take(LABEL_CHARS_MAX).collect();
            utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
        };
        let (issuer, account) = (part(issuer), part(account));
        let secret = base32(secret);
        let uri = Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
            *secret
        ));
        Self::parse(&uri)
    }

    /// The secret as it is typed into an app by hand.
    pub fn key(&self) -> Zeroizing<String> {
        base32(self.inner.secret().as_bytes())
    }

    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// What is sealed into the store: the address itself.
    pub fn to_bytes(&self) -> &[u8] {
        self.uri.as_bytes()
    }

    /// Back from what `to_bytes` gave.
    ///
    /// # Errors
    /// As `parse`; bytes that are not UTF-8 are `NotOtpauth`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadTotp> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| BadTotp::NotOtpauth)?)
    }

    /// Judges `code` at `now`: the current step and the one before it count (RFC 6238 §5.2), none later.
    ///
    /// Takes the same time for every wrong code of the right length.
    pub fn check(&self, code: &str, now: UnixMs, last_step: Option<u64>) -> TotpCheck {
        let Ok(seconds) = u64::try_from(now.seconds()) else { return TotpCheck::Wrong };
        let current = seconds / STEP_S;
        // Both are computed and compared whatever the first says, so that time tells nothing.
        let candidates = [Some(current), current.checked_sub(1)];
        let matched = candidates.map(|step| step.filter(|step| self.is_code_of(code, *step)));
        let fresh = |step: &u64| last_step.is_none_or(|last| *step > last);
        match matched.into_iter().flatten().find(fresh) {
            Some(step) => TotpCheck::Right { step },
            None if matched.iter().any(Option::is_some) => TotpCheck::Replayed,
            None => TotpCheck::Wrong,
        }
    }

    /// Issuer and digits, safe to show: `Exchange (6 digits)`.
    pub fn label(&self) -> String {
        let issuer: String = self
            .inner
            .issuer()
            .unwrap_or("Authenticator")
            .chars()
            .filter(|c| !c.is_control())
            .take(LABEL_CHARS_MAX)
            .collect();
        format!("{issuer} ({} digits)", self.inner.digits())
    }

    fn is_code_of(&self, code: &str, step: u64) -> bool {
        let right = Zeroizing::new(self.inner.generate(step * STEP_S).to_string());
        verify_slices_are_equal(right.as_bytes(), code.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Totp({})", self.label())
    }
}

/// RFC 4648, without padding.
fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 8 / 5 + 1));
    let (mut bits, mut count) = (0_u32, 0);
    let mut push =
        |value: u32| text.push(BASE32.get(value as usize).copied().map_or('A', char::from));
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            push(bits >> count & 31);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        push(bits << (5 - count) & 31);
    }
    text
}

/// A parameter given twice would mean one secret here and another in the authenticator.
fn once_each(uri: &str) -> Result<(), BadTotp> {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    for name in ["secret", "algorithm", "digits", "period"] {
        let times = query
            .split('&')
            .filter(|pair| pair.split('=').next().is_some_and(|key| key == name))
            .count();
        if times > 1 {
            return Err(BadTotp::Twice(name));
        }
    }
    Ok(())
}

/// The library's error without the text it quotes.
fn cause(error: &totp_rs::TotpError) -> BadTotp {
    use totp_rs::TotpError;
    match error {
        TotpError::SecretNotSet | TotpError::InvalidSecret => BadTotp::Secret,
        TotpError::InvalidAlgorithm { .. } => BadTotp::Algorithm,
        TotpError::InvalidDigits { digits } => BadTotp::Digits(*digits),
        TotpError::DigitsParse { .. } => BadTotp::Digits(0),
        TotpError::StepParse { .. } | TotpError::InvalidStepZero => BadTotp::Period(0),
        _ => BadTotp::NotOtpauth,
    }
}

/// RFC 4226 R6 recommends 160 bits.
pub const SECRET_BYTES: usize = 20;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// RFC 6238 §5.2.
const STEP_S: u64 = 30;
const SECRET_BITS_MIN: usize = 80;
const URI_BYTES_MAX: usize = 2048;
const LABEL_CHARS_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    /// The secrets of RFC 6238 appendix B, in base32.
    const SHA1: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const SHA256: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA";
    const SHA512: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                          GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA";

    fn at(seconds: i64) -> UnixMs {
        UnixMs(seconds * 1000)
    }

    fn eight(secret: &str, algorithm: &str) -> Totp {
        Totp::parse(&format!(
            "otpauth://totp/Exchange:alice?secret={secret}&issuer=Exchange&algorithm={algorithm}\
             &digits=8&period=30"
        ))
        .unwrap()
    }

    #[test]
    fn a_fresh_one_is_what_every_app_knows() {
        let totp = Totp::fresh("My: Exchange", "al?ice&", b"12345678901234567890").unwrap();
        assert_eq!(&*totp.key(), SHA1);
        assert_eq!(totp.label(), "My Exchange (6 digits)");
        assert_eq!(totp.check("287082", at(59), None), TotpCheck::Right { step: 1 });
        assert_eq!(
            totp.uri(),
            format!(
                "otpauth://totp/My%20Exchange:al%3Fice%26?secret={SHA1}&issuer=My%20Exchange\
                 &algorithm=SHA1&digits=6&period=30"
            )
        );
        assert_eq!(&*base32(b"f"), "MY");
    }

    fn six() -> Totp {
        Totp::parse(&format!("otpauth://totp/Exchange:alice?secret={SHA1}&issuer=Exchange"))
            .unwrap()
    }

    fn code_at(totp: &Totp, seconds: u64) -> String {
        totp.inner.generate(seconds).to_string()
    }

    #[test]
    fn the_vectors_of_rfc_6238_are_right() {
        let vectors = [
            (SHA1, "SHA1", 59, "94287082"),
            (SHA256, "SHA256", 59, "46119246"),
            (SHA512, "SHA512", 59, "90693936"),
            (SHA1, "SHA1", 1_111_111_109, "07081804"),
            (SHA256, "SHA256", 1_234_567_890, "91819424"),
            (SHA512, "SHA512", 20_000_000_000, "47863826"),
        ];
        for (secret, algorithm, seconds, code) in vectors {
            let step = u64::try_from(seconds / 30).unwrap();
            assert_eq!(
                eight(secret, algorithm).check(code, at(seconds), None),
                TotpCheck::Right { step },
                "{algorithm} at {seconds}"
            );
        }
    }

    #[test]
    fn the_current_and_the_previous_step_count_and_no_other() {
        let totp = six();
        let check = |seconds: u64| totp.check(&code_at(&totp, seconds), at(3_000), None);
        assert_eq!(check(3_000), TotpCheck::Right { step: 100 });
        assert_eq!(check(2_970), TotpCheck::Right { step: 99 });
        assert_eq!(check(2_940), TotpCheck::Wrong, "two steps ago");
        assert_eq!(check(3_030), TotpCheck::Wrong, "the next step");
    }

    #[test]
    fn a_step_at_or_before_the_last_accepted_one_is_replayed() {
        let totp = six();
        let code = code_at(&totp, 3_000);
        assert_eq!(totp.check(&code, at(3_000), Some(99)), TotpCheck::Right { step: 100 });
        assert_eq!(totp.check(&code, at(3_000), Some(100)), TotpCheck::Replayed);
        let previous = code_at(&totp, 2_970);
        assert_eq!(totp.check(&previous, at(3_000), Some(100)), TotpCheck::Replayed);
        assert_eq!(totp.check(&code, at(3_000), Some(101)), TotpCheck::Replayed, "clock went back");
    }

    #[test]
    fn the_first_step_of_all_has_none_before_it() {
        let totp = six();
        assert_eq!(totp.check(&code_at(&totp, 0), at(0), None), TotpCheck::Right { step: 0 });
        assert_eq!(totp.check("000000", UnixMs(-1), None), TotpCheck::Wrong);
    }

    #[test]
    fn a_code_of_another_length_or_spelling_is_wrong() {
        let totp = eight(SHA1, "SHA1");
        for code in ["", "287082", "094287082", "+4287082", "94287082 ", "９４２８７０８２"]
        {
            assert_eq!(totp.check(code, at(59), None), TotpCheck::Wrong, "{code:?}");
        }
    }

    #[test]
    fn what_cannot_be_enrolled_is_refused_with_its_cause() {
        let with = |rest: &str| Totp::parse(&format!("otpauth://totp/X:a?{rest}")).unwrap_err();
        assert_eq!(Totp::parse("https://x/?secret=GE").unwrap_err(), BadTotp::NotOtpauth);
        assert_eq!(
            Totp::parse(&format!("otpauth://hotp/X:a?secret={SHA1}")).unwrap_err(),
            BadTotp::NotOtpauth
        );
        assert_eq!(with("issuer=X"), BadTotp::Secret);
        assert_eq!(with("secret=0189"), BadTotp::Secret);
        assert_eq!(with("secret=GEZDGNBV"), BadTotp::ShortSecret { bits: 40 });
        assert_eq!(with(&format!("secret={SHA1}&digits=7")), BadTotp::Digits(7));
        assert_eq!(with(&format!("secret={SHA1}&period=60")), BadTotp::Period(60));
        assert_eq!(with(&format!("secret={SHA1}&algorithm=MD5")), BadTotp::Algorithm);
        assert_eq!(with(&format!("secret={SHA1}&secret={SHA1}")), BadTotp::Twice("secret"));
        assert_eq!(with(&"a".repeat(3000)), BadTotp::TooLong);
    }

    #[test]
    fn a_secret_of_sixteen_base32_characters_is_taken() {
        assert!(Totp::parse("otpauth://totp/X:a?secret=GEZDGNBVGY3TQOJQ").is_ok());
    }

    #[test]
    fn sealing_bytes_come_back_as_the_same_authenticator() {
        let back = Totp::from_bytes(six().to_bytes()).unwrap();
        assert_eq!(code_at(&back, 59), code_at(&six(), 59));
        assert_eq!(Totp::from_bytes(&[0xff]).unwrap_err(), BadTotp::NotOtpauth);
    }

    #[test]
    fn neither_debug_nor_label_shows_the_secret() {
        let totp = six();
        assert_eq!(totp.label(), "Exchange (6 digits)");
        assert_eq!(format!("{totp:?}"), "Totp(Exchange (6 digits))");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_or_quote_it(text in "(otpauth://totp/)?[ -~]{0,80}") {
            if let Err(error) = Totp::parse(&text) {
                let said = error.to_string();
                proptest::prop_assert!(text.len() < 12 || !said.contains(&text));
            }
        }
    }
}
