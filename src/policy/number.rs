//! Exact decimal numbers as amounts and policy literals spell them.
//!
//! Never guesses: a spelling that some parser somewhere reads differently (`010`, `1e3`, `.5`,
//! `+1`, ` 1`) is not a number here. Invariant: sums of what this file reads are exact, and none of
//! its functions can panic.

use std::cmp::Ordering;

use fastnum::decimal::{Context, Sign};

use super::facts::Decimal;

/// Digits before the point; 78 hold every 256-bit token amount in its smallest unit.
pub const WHOLE_DIGITS_MAX: usize = 80;
/// Digits after the point.
pub const FRACTION_DIGITS_MAX: usize = 60;
/// Characters of a whole number with its point.
pub const LENGTH_MAX: usize = 120;
/// Digits that fit into a `Decimal` with room for a sum's carry.
const DIGITS_MAX: usize = 150;
/// A number with more places than this on either side did not come from a price or an amount.
const SCALE_MAX: u16 = 1_000;

/// Why a text is not a number, in words that end a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANumber {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {LENGTH_MAX} characters")]
    TooLong,
    #[error(
        "it has more than {WHOLE_DIGITS_MAX} digits before or {FRACTION_DIGITS_MAX} after the point"
    )]
    TooManyDigits,
    #[error("no fact is ever negative, and signs are not written")]
    Signed,
    #[error("exponents are not written")]
    Exponent,
    #[error("a leading zero looks like an octal number")]
    LeadingZero,
    #[error("digits must stand on both sides of the point")]
    LonelyPoint,
    #[error("`{0}` is not a digit")]
    NotADigit(char),
}

/// Reads `0`, `12000`, `0.000000000000000001`: ASCII digits with at most one point, nothing else.
///
/// # Errors
/// The first reason why `text` is something else.
pub fn parse(text: &str) -> Result<Decimal, NotANumber> {
    if text.len() > LENGTH_MAX {
        return Err(NotANumber::TooLong);
    }
    if text.starts_with(['+', '-']) {
        return Err(NotANumber::Signed);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if text.is_empty() {
        return Err(NotANumber::Empty);
    }
    if whole.is_empty() || fraction.is_some_and(str::is_empty) {
        return Err(NotANumber::LonelyPoint);
    }
    if let Some(odd) = whole.chars().chain(fraction.unwrap_or("").chars()).find(not_a_digit) {
        let exponent = matches!(odd, 'e' | 'E') && whole.starts_with(|c: char| c.is_ascii_digit());
        return Err(if exponent { NotANumber::Exponent } else { NotANumber::NotADigit(odd) });
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(NotANumber::LeadingZero);
    }
    if whole.len() > WHOLE_DIGITS_MAX || fraction.unwrap_or("").len() > FRACTION_DIGITS_MAX {
        return Err(NotANumber::TooManyDigits);
    }
    Decimal::from_str(text, untrapped()).map_err(|_| NotANumber::TooManyDigits)
}

/// Reads back what `plain` wrote, however long: `sound` lets more digits through than people may write.
pub fn told(text: &str) -> Option<Decimal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = Decimal::from_str(text, untrapped()).ok().filter(|_| digits);
    number.and_then(sound)
}

fn not_a_digit(c: &char) -> bool {
    !c.is_ascii_digit()
}

/// Adds two numbers that `sound` let through.
pub fn add(left: Decimal, right: Decimal) -> Decimal {
    left.with_ctx(untrapped()) + right.with_ctx(untrapped())
}

/// The number half-way between two that `parse` read.
pub fn middle(left: Decimal, right: Decimal) -> Decimal {
    let half = Decimal::from_parts(5_u8.into(), -1, Sign::Plus, untrapped());
    add(left, right) * half
}

/// A number that came from elsewhere (a price times an amount), if it can be reckoned with: finite,
/// not negative and of sane length.
pub fn sound(number: Decimal) -> Option<Decimal> {
    let sane = !number.is_nan()
        && !number.is_infinite()
        && (number.sign() == Sign::Plus || number.is_zero())
        && number.fractional_digits_count().unsigned_abs() <= SCALE_MAX
        && number.digits_count() <= DIGITS_MAX;
    sane.then_some(number)
}

/// A measured length or speed, to the thousandth.
pub fn measured(value: f64) -> Option<Decimal> {
    const LARGEST: f64 = 1e12;
    let sane = value.is_finite() && (0.0..=LARGEST).contains(&value);
    // The range keeps the product far inside u64.
    sane.then(|| {
        let thousandths = (value * 1000.0).round() as u64;
        Decimal::from_parts(thousandths.into(), -3, Sign::Plus, untrapped())
    })
}

/// Total order of two numbers that `sound` let through.
pub fn compare(left: &Decimal, right: &Decimal) -> Ordering {
    left.cmp(right)
}

/// Digits with a point and never an exponent, for people.
pub fn plain(number: &Decimal) -> String {
    let digits = number.digits().to_string();
    let places = number.fractional_digits_count();
    let Ok(places) = usize::try_from(places) else {
        return digits + &"0".repeat(usize::from(places.unsigned_abs()));
    };
    let padded = format!("{digits:0>width$}", width = places + 1);
    match padded.split_at(padded.len() - places) {
        (whole, "") => whole.to_owned(),
        (whole, fraction) => {
            format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// Signals never become panics.
fn untrapped() -> Context {
    Context::default().without_traps()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Decimal {
        parse(text).unwrap()
    }

    #[test]
    fn the_smallest_difference_counts() {
        let (less, more) = (read("0.250000000000000001"), read("0.250000000000000002"));
        assert_eq!(compare(&less, &more), Ordering::Less);
        assert_eq!(compare(&read("1.50"), &read("1.5")), Ordering::Equal);
        let huge = "9".repeat(78);
        assert_eq!(compare(&read(&huge), &read(&format!("{huge}.5"))), Ordering::Less);
    }

    #[test]
    fn sums_of_extreme_numbers_are_exact() {
        let (large, small) = ("9".repeat(59), format!("0.{}1", "0".repeat(59)));
        let sum = add(read(&large), read(&small));
        assert_eq!(plain(&sum), format!("{large}.{}1", "0".repeat(59)));
        assert_eq!(compare(&sum, &read(&large)), Ordering::Greater);
    }

    #[test]
    fn spellings_that_parsers_disagree_on_are_not_numbers() {
        let odd = ["", ".", ".5", "5.", "+5", "-5", " 5", "5 ", "010", "00", "1e3", "1E-3", "0x10"];
        for text in odd.into_iter().chain(["1_000", "1,5", "１", "NaN", "inf", "1.2.3", "5\u{0}"])
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("1e3"), Err(NotANumber::Exponent));
        assert_eq!(parse("010"), Err(NotANumber::LeadingZero));
        assert_eq!(parse(&"9".repeat(121)), Err(NotANumber::TooLong));
        assert_eq!(parse(&"9".repeat(81)), Err(NotANumber::TooManyDigits));
    }

    #[test]
    fn what_cannot_be_reckoned_with_is_not_sound() {
        let one = Decimal::ONE.with_ctx(untrapped());
        let zero = Decimal::ZERO.with_ctx(untrapped());
        for odd in [Decimal::NAN, Decimal::INFINITY, -one, one / zero] {
            assert!(sound(odd).is_none());
        }
        assert!(sound(zero).is_some());
        assert!([f64::NAN, f64::INFINITY, -1.0, 1e300].into_iter().all(|v| measured(v).is_none()));
        assert_eq!(plain(&measured(903.25).unwrap()), "903.25");
    }

    #[test]
    fn people_read_digits_not_exponents() {
        for text in ["0", "10", "0.000000000000000001", "12000", "1.5"] {
            assert_eq!(plain(&read(text)), text);
        }
        assert_eq!(plain(&read("1.500")), "1.5");
    }
}
