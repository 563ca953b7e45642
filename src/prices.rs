//! What an amount is worth in USD, from a price file.
//!
//! Never guesses: an asset without a price, or a file older than allowed, makes `usd_value` unreadable, and rules that
//! look at it count as true.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use crate::fault::{Fault, Source, salvage};
use crate::policy::facts::{Decimal, Fact};
use crate::types::UnixMs;

/// USD per unit, by asset in upper case.
#[derive(Debug, Default)]
pub struct Prices {
    usd: HashMap<String, Decimal>,
    as_of: UnixMs,
    age_max_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// `BTC = "64250.5"`: strings, so that no digit is lost.
    usd: BTreeMap<Spanned<String>, Spanned<String>>,
}

impl Prices {
    /// Reads `[usd] BTC = "64250.5"`. `as_of` is when the file was written.
    pub fn parse(
        source: &Source,
        as_of: UnixMs,
        age_max_ms: u64,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let file: File = salvage(source, faults)?;
        let mut usd = HashMap::new();
        let mut known = HashSet::new();
        for (asset, text) in file.usd {
            let (name, span) = (asset.get_ref().to_ascii_uppercase(), asset.span());
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                let fault = Fault::new(source, span.clone(), "no asset can be called so");
                faults.push(fault.help("visible ASCII characters, as the exchange spells it"));
            }
            if !known.insert(name.clone()) {
                let message = format!("`{name}` has two prices: case does not matter");
                faults.push(Fault::new(source, span, message).help("keep one of them"));
            }
            let asset = asset.get_ref();
            match price(text.get_ref()) {
                Some(value) => {
                    usd.insert(name, value);
                }
                None => faults.push(
                    Fault::new(source, text.span(), format!("`{asset}` has no readable price"))
                        .help("a plain decimal above zero, for example \"64250.5\""),
                ),
            }
        }
        Some(Self { usd, as_of, age_max_ms })
    }

    /// The value of `amount` of `asset`; absent if the action has no amount.
    pub fn value(&self, asset: Option<&str>, amount: Fact<Decimal>, now: UnixMs) -> Fact<Decimal> {
        let price = asset
            .filter(|_| now.since_ms(self.as_of) <= self.age_max_ms)
            .and_then(|asset| self.usd.get(&asset.to_ascii_uppercase()));
        match (amount, price) {
            (Fact::Absent, _) => Fact::Absent,
            (Fact::Known(amount), Some(price)) => Fact::Known(amount * *price),
            _ => Fact::Unreadable,
        }
    }
}

/// A plain decimal above zero of at most 60 characters.
fn price(text: &str) -> Option<Decimal> {
    // `010` is ten to some and eight to others.
    let octal = text.len() > 1 && text.starts_with('0') && !text.starts_with("0.");
    let value = decimal(text).filter(|_| !octal)?;
    (value > Decimal::ZERO).then_some(value)
}

/// A plain decimal: digits, at most one point, no sign or exponent, at most 80 characters.
pub fn decimal(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if text.len() > 80 || !digits(whole) || !digits(fraction) {
        return None;
    }
    Decimal::from_str(text, fastnum::decimal::Context::default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(text: &str) -> (Option<Prices>, Vec<Fault>) {
        let mut faults = Vec::new();
        let source = Source::new("prices.toml", text);
        let prices = Prices::parse(&source, UnixMs(1_000), 60_000, &mut faults);
        (prices, faults)
    }

    #[test]
    fn an_amount_is_worth_its_price() {
        let (prices, faults) = prices("[usd]\nBTC = \"64250.5\"\n");
        assert!(faults.is_empty());
        let amount = Fact::Known(decimal("0.5").unwrap());
        let value = prices.unwrap().value(Some("btc"), amount, UnixMs(2_000));
        assert_eq!(value, Fact::Known(decimal("32125.25").unwrap()));
    }

    #[test]
    fn a_missing_or_stale_price_is_unreadable() {
        let prices = prices("[usd]\nBTC = \"64250.5\"\n").0.unwrap();
        let amount = Fact::Known(decimal("0.5").unwrap());
        assert_eq!(prices.value(Some("ETH"), amount, UnixMs(2_000)), Fact::Unreadable);
        assert_eq!(prices.value(None, amount, UnixMs(2_000)), Fact::Unreadable);
        assert_eq!(prices.value(Some("BTC"), amount, UnixMs(61_001)), Fact::Unreadable);
        assert_eq!(prices.value(Some("BTC"), Fact::Absent, UnixMs(2_000)), Fact::Absent);
    }

    #[test]
    fn every_unreadable_price_is_a_fault() {
        let (_, faults) = prices("[usd]\nBTC = \"1e5\"\nETH = \"0\"\nXRP = \"-1\"\nSOL = \"1\"\n");
        assert_eq!(faults.len(), 3);
    }
}
