//! What an amount is worth in USD, from a price file or from a ticker that is polled.
//!
//! Never guesses: an asset without a price, or prices older than allowed, make `usd_value` unreadable, and rules that
//! look at it count as true. Invariant: prices are replaced as a whole, and only by an answer that could be read.

mod peaks;
pub mod ticker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use self::peaks::Peaks;
use self::ticker::Ticker;
use crate::fault::{Fault, Source, salvage};
use crate::policy::facts::{Decimal, Fact};
use crate::policy::number;
use crate::types::UnixMs;

/// USD per unit, by asset in upper case, and where that is from.
#[derive(Debug, Default)]
pub struct Prices {
    table: ArcSwap<Table>,
    age_max_ms: u64,
    polled: Option<Polled>,
}

#[derive(Debug, Default)]
struct Table {
    usd: HashMap<String, Decimal>,
    as_of: UnixMs,
}

/// A ticker that is asked from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub url: String,
    pub every_ms: u64,
    pub ticker: Ticker,
}

#[derive(Debug)]
struct Polled {
    settings: Settings,
    watched: AtomicBool,
    peaks: Mutex<Peaks>,
    state: Mutex<State>,
}

/// How a ticker is doing, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When it was last asked with success.
    pub as_of: Option<UnixMs>,
    /// Assets that have a price.
    pub assets: usize,
    /// Assets whose price fell too fast to be believed.
    pub held_back: Vec<String>,
    /// Failures in a row, and the last one's reason.
    pub failures: u64,
    pub error: Option<String>,
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
        let table = ArcSwap::from_pointee(Table { usd, as_of });
        Some(Self { table, age_max_ms, polled: None })
    }

    /// Prices of a ticker. There are none until it was asked, except those that `previous` has: they stay until then,
    /// and so does all that is known of them if the ticker is the same.
    pub fn polled(settings: Settings, age_max_ms: u64, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let earlier = previous.and_then(|prices| Some((prices, prices.polled.as_ref()?)));
        if let Some((prices, polled)) = earlier
            && polled.settings == settings
            && prices.age_max_ms == age_max_ms
        {
            return prices.clone();
        }
        let table = earlier.map(|(prices, _)| prices.table.load_full()).unwrap_or_default();
        let polled = Polled {
            settings,
            watched: AtomicBool::new(false),
            peaks: earlier.map(|(_, it)| Mutex::new(lock(&it.peaks).clone())).unwrap_or_default(),
            state: earlier.map(|(_, it)| Mutex::new(lock(&it.state).clone())).unwrap_or_default(),
        };
        Arc::new(Self { table: ArcSwap::new(table), age_max_ms, polled: Some(polled) })
    }

    /// True once for a ticker: whoever gets it asks from time to time.
    pub fn claim_watch(&self) -> bool {
        self.polled.as_ref().is_some_and(|polled| !polled.watched.swap(true, Ordering::Relaxed))
    }

    pub fn settings(&self) -> Option<&Settings> {
        self.polled.as_ref().map(|polled| &polled.settings)
    }

    /// How the ticker is doing; `None` for a file.
    pub fn state(&self) -> Option<State> {
        self.polled.as_ref().map(|polled| lock(&polled.state).clone())
    }

    /// How old the prices are; `None` while there are none.
    pub fn age_ms(&self, now: UnixMs) -> Option<u64> {
        let table = self.table.load();
        (!table.usd.is_empty()).then(|| now.since_ms(table.as_of))
    }

    /// Takes over what the ticker answered when it was asked `at`; says whether something else is held back than before.
    ///
    /// # Errors
    /// Why it cannot be read. The prices stay as they are then, and grow old.
    pub fn take(&self, text: &str, at: UnixMs) -> Result<bool, String> {
        let Some(polled) = &self.polled else { return Ok(false) };
        let mut usd = polled.settings.ticker.read(text)?;
        let held_back = lock(&polled.peaks).hold_back(&mut usd, at);
        let mut state = lock(&polled.state);
        let other = state.held_back != held_back;
        let (assets, as_of) = (usd.len(), Some(at));
        *state = State { as_of, assets, held_back, failures: 0, error: None };
        self.table.store(Arc::new(Table { usd, as_of: at }));
        Ok(other)
    }

    /// The ticker could not be asked, or not be read.
    pub fn failed(&self, why: &str) {
        if let Some(polled) = &self.polled {
            let mut state = lock(&polled.state);
            state.failures = state.failures.saturating_add(1);
            state.error = Some(why.to_owned());
        }
    }

    /// The value of `amount` of `asset`; absent if the action has no amount.
    pub fn value(&self, asset: Option<&str>, amount: Fact<Decimal>, now: UnixMs) -> Fact<Decimal> {
        let table = self.table.load();
        let price = asset
            .filter(|_| now.since_ms(table.as_of) <= self.age_max_ms)
            .and_then(|asset| table.usd.get(&asset.to_ascii_uppercase()));
        match (amount, price) {
            (Fact::Absent, _) => Fact::Absent,
            (Fact::Known(amount), Some(price)) => Fact::Known(amount * *price),
            _ => Fact::Unreadable,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A plain decimal above zero of at most 80 characters.
fn price(text: &str) -> Option<Decimal> {
    let value = decimal(text)?;
    (value > Decimal::ZERO).then_some(value)
}

/// A plain decimal as rules read one: no sign, no exponent, and no leading zero, which some take for octal. At most 80
/// characters.
pub fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > 80 {
        return None;
    }
    number::parse(text).ok()
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
    fn what_is_no_amount_to_a_rule_is_worth_nothing_known() {
        for odd in ["010", "1e3", "+1", ".5", "1.", "", " 1", "-1", "NaN", &"9".repeat(81)] {
            assert_eq!(decimal(odd), None, "{odd}");
        }
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
