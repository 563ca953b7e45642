//! Telephone numbers: strict E.164, how they are shown, and which are never written to.
//!
//! Never guesses: a number without its country code, with punctuation or with other scripts' digits is refused.
//! Invariant: `Debug` and the masked form show no more than the country code and the last two digits.

use std::fmt;

use zeroize::Zeroizing;

/// `+`, a country code, and all in all 7 to 15 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Zeroizing<String>);

/// Not an E.164 number. Never quotes what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a telephone number is written +4915112345678: plus, country code, 7 to 15 digits in all")]
pub struct BadNumber;

/// Which numbers are never sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Beginnings with `+`. The default are networks that belong to no country and are billed at premium rates,
    /// where a flood of codes is somebody's income.
    pub blocked_prefixes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let prefixes = ["+800", "+808", "+870", "+878", "+881", "+882", "+883", "+888", "+979"];
        Self { blocked_prefixes: prefixes.map(str::to_owned).to_vec() }
    }
}

impl Number {
    /// `^\+[1-9][0-9]{6,14}$`, nothing around it.
    ///
    /// # Errors
    /// `BadNumber` for anything else.
    pub fn parse(text: &str) -> Result<Self, BadNumber> {
        let digits = text.strip_prefix('+').ok_or(BadNumber)?.as_bytes();
        let first = digits.first().is_some_and(|byte| (b'1'..=b'9').contains(byte));
        if first && (7..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(BadNumber)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `+49`: the country code with its plus; what caps per country count by.
    pub fn country_code(&self) -> &str {
        let digits = self.0.strip_prefix('+').unwrap_or(&self.0);
        let length = if digits.starts_with(['1', '7']) {
            1
        } else if digits.get(..2).is_some_and(|two| TWO_DIGITS.contains(&two)) {
            2
        } else {
            3
        };
        self.0.get(..=length).unwrap_or(&self.0)
    }

    /// `+49 ••• ••67`, whatever the length.
    pub fn masked(&self) -> String {
        let last = self.0.get(self.0.len().saturating_sub(2)..).unwrap_or("");
        format!("{} ••• ••{last}", self.country_code())
    }

    /// Whether it may never be sent to.
    pub fn is_blocked(&self, settings: &Settings) -> bool {
        settings.blocked_prefixes.iter().any(|prefix| self.0.starts_with(prefix.as_str()))
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({})", self.masked())
    }
}

/// Country codes of two digits (ITU-T E.164 list); 1 and 7 have one digit, all others three.
const TWO_DIGITS: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47",
    "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65",
    "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn strict_e164_is_taken() {
        for text in ["+4915112345667", "+15005550006", "+1234567", "+123456789012345"] {
            assert_eq!(number(text).as_str(), text);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let bad = [
            "",
            "+",
            "4915112345667",
            "004915112345667",
            "+0915112345667",
            "+123456",
            "+1234567890123456",
            "+1 (555) 0100",
            "+1-555-0100",
            "tel:+15005550006",
            "+15005550006;ext=1",
            "+１５００５５５０００６",
            "+15005550006\r\n",
            " +15005550006",
        ];
        for text in bad {
            assert_eq!(Number::parse(text), Err(BadNumber), "{text:?}");
        }
    }

    #[test]
    fn masks_show_country_code_and_last_two_digits_only() {
        assert_eq!(number("+4915112345667").masked(), "+49 ••• ••67");
        assert_eq!(number("+15005550006").masked(), "+1 ••• ••06");
        assert_eq!(number("+886912345678").masked(), "+886 ••• ••78");
        assert_eq!(number("+79991234567").masked(), "+7 ••• ••67");
        assert_eq!(format!("{:?}", number("+4915112345667")), "Number(+49 ••• ••67)");
    }

    #[test]
    fn premium_and_satellite_networks_are_blocked_by_default() {
        let settings = Settings::default();
        for text in ["+882123456789", "+883123456789", "+979123456789", "+881612345678"] {
            assert!(number(text).is_blocked(&settings), "{text}");
        }
        assert!(!number("+886912345678").is_blocked(&settings));
        assert!(!number("+882123456789").is_blocked(&Settings { blocked_prefixes: vec![] }));
    }

    proptest::proptest! {
        #[test]
        fn whatever_parses_is_masked_without_its_middle(text in "\\+?[0-9]{1,17}") {
            if let Ok(number) = Number::parse(&text) {
                let digits = number.masked().chars().filter(char::is_ascii_digit).count();
                proptest::prop_assert!(digits <= 5);
            }
        }
    }
}
