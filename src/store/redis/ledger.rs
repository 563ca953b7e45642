//! Prices as limbs that a script can add exactly, and the totals of its buckets.
//!
//! Never rounds: a price that the limbs cannot hold counts as none, which makes rules stricter. Invariant: the totals
//! are those that `store::ledger` would give.

use std::sync::Arc;

use super::reply::{Fields, corrupt};
use crate::policy::facts::{CounterTotal, Counters, Decimal, Window};
use crate::store::StoreError;
use crate::store::ledger::{FINE_MS, HOUR_MS, number, price, reaches_into};
use crate::types::UnixMs;

/// A price in limbs of nine digits: units, first fraction, next higher, second fraction, and so on, without the zeros
/// at the end. Empty if there is no price that can be summed.
pub(super) fn limbs(usd: Option<Decimal>) -> String {
    let Some(limbs) = price(usd).and_then(|text| of_text(&text)) else { return String::new() };
    let used = limbs.iter().rposition(|limb| *limb != 0).map_or(1, |last| last + 1);
    let texts: Vec<String> = limbs.iter().take(used).map(u64::to_string).collect();
    texts.join(" ")
}

/// Reads `123.45` or `1.5E-7`.
fn of_text(text: &str) -> Option<[u64; LIMBS]> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (units, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(units.len()).ok()?.checked_add(exponent)?;
    let mut limbs = [0; LIMBS];
    for (at, digit) in units.bytes().chain(fraction.bytes()).enumerate() {
        let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        if digit == 0 {
            continue;
        }
        let power = point - 1 - i32::try_from(at).ok()?;
        let (limb, within) = (power.div_euclid(9), power.rem_euclid(9).unsigned_abs());
        *limbs.get_mut(place(limb)?)? += digit * 10_u64.pow(within);
    }
    Some(limbs)
}

/// Where the limb of 10^(9 × `limb`) stands: units first, then fractions and higher ones by turns.
fn place(limb: i32) -> Option<usize> {
    usize::try_from(if limb >= 0 { 2 * limb } else { -2 * limb - 1 }).ok()
}

/// The totals at `now` of the buckets that an account's ledger has.
pub(super) fn totals(ledger: &Fields, now: UnixMs) -> Result<Counters, StoreError> {
    let mut actions: Vec<(&str, [Sum; 3])> = Vec::new();
    for (field, value) in ledger.iter() {
        let (span, action) = field.split_once('|').ok_or_else(|| corrupt("a ledger"))?;
        let bucket = Sum::read(value)?;
        let at = match actions.iter().position(|(known, _)| *known == action) {
            Some(at) => at,
            None => {
                actions.push((action, Default::default()));
                actions.len() - 1
            }
        };
        let Some((_, sums)) = actions.get_mut(at) else { continue };
        for (window, sum) in Window::ALL.into_iter().zip(sums) {
            // The week is told in hours, the others in spans of five minutes.
            let (tier, ms) = if window == Window::Week { ("h", HOUR_MS) } else { ("f", FINE_MS) };
            let Some(number) = span.strip_prefix(tier) else { continue };
            let number: i64 = number.parse().map_err(|_| corrupt("a ledger"))?;
            if reaches_into(number.saturating_mul(ms).saturating_add(ms), window, now) {
                sum.absorb(&bucket);
            }
        }
    }
    actions.sort_by_key(|(action, _)| (action.len(), *action));
    let mut counters = Counters::default();
    for (action, sums) in actions {
        let action: Arc<str> = action.into();
        for (window, sum) in Window::ALL.into_iter().zip(sums).filter(|(_, sum)| sum.count > 0) {
            counters.0.push((action.clone(), window, sum.total()?));
        }
    }
    Ok(counters)
}

/// What buckets add up to.
#[derive(Default)]
struct Sum {
    count: u64,
    unpriced: u64,
    limbs: [u64; LIMBS],
}

impl Sum {
    fn read(text: &[u8]) -> Result<Self, StoreError> {
        let numbers: Option<Vec<u64>> = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.split(' ').map(|number| number.parse().ok()).collect());
        let numbers = numbers.ok_or_else(|| corrupt("a ledger"))?;
        let [count, unpriced, rest @ ..] = numbers.as_slice() else {
            return Err(corrupt("a ledger"));
        };
        let mut limbs = [0; LIMBS];
        limbs.get_mut(..rest.len()).ok_or_else(|| corrupt("a ledger"))?.copy_from_slice(rest);
        Ok(Self { count: *count, unpriced: *unpriced, limbs })
    }

    fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        for (limb, more) in self.limbs.iter_mut().zip(other.limbs) {
            *limb = limb.saturating_add(more);
        }
    }

    fn total(&self) -> Result<CounterTotal, StoreError> {
        let exact = self.unpriced == 0 && self.count <= EXACT_COUNT_MAX;
        Ok(CounterTotal { count: self.count, usd: exact.then(|| self.usd()).transpose()? })
    }

    fn usd(&self) -> Result<Decimal, StoreError> {
        let (lowest, highest) = (-(LIMBS as i32 / 2), LIMBS as i32 / 2);
        let (mut parts, mut carry) = (Vec::with_capacity(LIMBS), 0);
        for limb in lowest..highest {
            let sum = place(limb).and_then(|at| self.limbs.get(at)).unwrap_or(&0) + carry;
            parts.push(format!("{:09}", sum % LIMB));
            carry = sum / LIMB;
        }
        parts.push(carry.to_string());
        parts.reverse();
        let (units, fraction) = parts.split_at(parts.len() - lowest.unsigned_abs() as usize);
        let (units, fraction) = (units.concat(), fraction.concat());
        let text = format!("{}.{}", units.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let text = text.trim_end_matches('.');
        let text = if text.is_empty() { "0" } else { text };
        let text = if text.starts_with('.') { format!("0{text}") } else { text.to_owned() };
        number(&text).map_err(|_| corrupt("a ledger"))
    }
}

/// Four above the point, four below.
const LIMBS: usize = 8;
const LIMB: u64 = 1_000_000_000;
/// So many limbs can be added in a script without losing a digit (2^53 / 10^9).
const EXACT_COUNT_MAX: u64 = 9_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_stands_in_limbs_or_counts_as_none() {
        let of = |text: &str| limbs(Some(number(text).expect("a number")));
        assert_eq!(of("0"), "0");
        assert_eq!(of("10"), "10");
        assert_eq!(of("0.1"), "0 100000000");
        assert_eq!(of("9007199254740993.3"), "254740993 300000000 9007199");
        assert_eq!(of("0.000000000000000001"), "0 0 0 1");
        assert_eq!(of("1E+12"), "0 0 1000");
        assert_eq!(of("1E-40"), "");
        assert_eq!(of("1E+40"), "");
        assert_eq!(limbs(None), "");
        assert_eq!(limbs(Some(-Decimal::ONE)), "");
    }

    #[test]
    fn sums_carry_over_every_limb() {
        let mut sum = Sum::default();
        for _ in 0..11 {
            sum.absorb(&Sum::read(b"1 0 999999999 999999999 999999999").expect("reads"));
        }
        let usd = sum.usd().expect("a number");
        assert_eq!(usd, number("10999999999999999999.999999989").expect("a number"));
        assert_eq!(Sum::default().usd().expect("a number"), Decimal::ZERO);
    }
}
