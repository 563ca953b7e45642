//! Amounts as exact decimals: one grammar, one canonical form.
//!
//! Never goes through floating point. Invariant: two texts have the same canonical form exactly
//! when they are the same number.

/// Longest amount; longer than any ledger's precision.
const AMOUNT_CHARS_MAX: usize = 80;
/// Decimal digits that an IEEE 754 double keeps. A JSON number with more is read as another number
/// by back ends that parse doubles.
const DOUBLE_DIGITS: usize = 15;

/// The canonical form of `0`, `12`, `0.10`; None for anything that is not plain decimal notation.
pub(super) fn canonical(text: &str) -> Option<&str> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let spelt = text.len() <= AMOUNT_CHARS_MAX
        && digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits);
    match (spelt, fraction) {
        (false, _) => None,
        (true, None) => Some(text),
        (true, Some(_)) => Some(text.trim_end_matches('0').trim_end_matches('.')),
    }
}

/// Whether a JSON number in plain notation survives being read as a double.
pub(super) fn is_exact_double(number: &str) -> bool {
    let digits = number.trim_matches('0').bytes().filter(u8::is_ascii_digit);
    digits.count() <= DOUBLE_DIGITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_number_has_the_same_form() {
        for (text, form) in
            [("5", "5"), ("5.0", "5"), ("0.10", "0.1"), ("0", "0"), ("0.000", "0"), ("100", "100")]
        {
            assert_eq!(canonical(text), Some(form), "{text}");
        }
    }

    #[test]
    fn what_is_shown_otherwise_than_sent_is_no_amount() {
        for text in [
            "", ".1", "1.", "00.1", "01", "1e-1", "1E3", "+1", "-1", "-0", " 1", "1 ", "1,000",
            "0x1f", "NaN", "１", "1_0",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical(&"1".repeat(AMOUNT_CHARS_MAX + 1)), None);
    }

    #[test]
    fn a_number_beyond_a_double_is_seen() {
        assert!(is_exact_double("9999.0"));
        assert!(is_exact_double("100000000000000000000"));
        assert!(!is_exact_double("9007199254740993"));
    }

    proptest! {
        #[test]
        fn zeros_at_the_end_of_a_fraction_do_not_count(whole in 0u64.., fraction in "[0-9]{1,20}", zeros in "0{0,9}") {
            let text = format!("{whole}.{fraction}");
            let padded = format!("{text}{zeros}");
            prop_assert_eq!(canonical(&text), canonical(&padded));
        }
    }
}
