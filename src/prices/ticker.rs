//! An exchange's ticker, read as the configuration says: which member is the instrument, and which its price.
//!
//! Never goes through a float, and never guesses: a price that is no plain decimal above zero, and an instrument that is
//! there twice, are none. Invariant: of several markets of one asset the highest price counts, so that a thin market
//! that is pushed down makes no withdrawal look small.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::decimal;
use crate::classify::json::{self, Json, Members};
use crate::policy::facts::Decimal;

/// How a ticker's answer is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticker {
    symbol: Place,
    price: Place,
    /// Between asset and quote; may be empty.
    separator: String,
    /// Quotes that count as one dollar each.
    usd: Vec<String>,
}

/// `json.data[].last`: a list in the answer, and a member of each of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    list: Vec<String>,
    member: Vec<String>,
}

impl Place {
    /// `None` if it is not written so.
    pub fn parse(text: &str) -> Option<Self> {
        let (list, member) = text.strip_prefix("json")?.split_once("[]")?;
        let names = |text: &str| -> Option<Vec<String>> {
            if text.is_empty() {
                return Some(Vec::new());
            }
            let names: Vec<String> =
                text.strip_prefix('.')?.split('.').map(str::to_owned).collect();
            let plain = |name: &String| !name.is_empty() && !name.contains(['[', ']', '*', ' ']);
            names.iter().all(plain).then_some(names)
        };
        let place = Self { list: names(list)?, member: names(member)? };
        (!place.member.is_empty()).then_some(place)
    }
}

impl Ticker {
    /// Why such a ticker cannot be read, if it cannot.
    ///
    /// # Errors
    /// In words for whoever wrote it.
    pub fn new(
        symbol: Place,
        price: Place,
        separator: String,
        usd: Vec<String>,
    ) -> Result<Self, String> {
        if symbol.list != price.list {
            return Err("`symbol` and `price` must be members of one list's elements".to_owned());
        }
        if usd.is_empty() {
            return Err("`usd` names no quote, so that nothing would have a price".to_owned());
        }
        let short = usd.iter().find(|quote| separator.is_empty() && quote.len() < 4);
        if let Some(quote) = short {
            // BTCFDUSD would be BTCFD in USD.
            return Err(format!("without a `separator`, `{quote}` is the end of other quotes too"));
        }
        let usd = usd.iter().map(|quote| quote.to_ascii_uppercase()).collect();
        Ok(Self { symbol, price, separator, usd })
    }

    /// The dollars per unit of each asset that has a price. A quote that counts as a dollar is one.
    ///
    /// # Errors
    /// Why the answer is none of this ticker; its text is not in it.
    pub fn read(&self, text: &str) -> Result<HashMap<String, Decimal>, String> {
        let mut by_symbol: HashMap<String, Option<Decimal>> = HashMap::new();
        for row in self.rows(text)? {
            let Ok(row) = json::parse(row.get()) else { continue };
            let Some(symbol) = scalar(&row, &self.symbol.member) else { continue };
            let price = scalar(&row, &self.price.member).and_then(decimal);
            let price = price.filter(|price| *price > Decimal::ZERO);
            // Of one that is there twice nobody can say which is meant.
            by_symbol
                .entry(symbol.to_ascii_uppercase())
                .and_modify(|it| *it = None)
                .or_insert(price);
        }
        let mut prices: HashMap<String, Decimal> = HashMap::new();
        for (symbol, price) in by_symbol {
            let (Some(asset), Some(price)) = (self.asset(&symbol), price) else { continue };
            let known = prices.entry(asset.to_owned()).or_insert(price);
            *known = (*known).max(price);
        }
        if prices.is_empty() {
            return Err("no instrument in the answer has a price in dollars".to_owned());
        }
        for quote in &self.usd {
            let known = prices.entry(quote.clone()).or_insert(Decimal::ONE);
            *known = (*known).max(Decimal::ONE);
        }
        Ok(prices)
    }

    fn rows<'a>(&self, text: &'a str) -> Result<Vec<&'a RawValue>, String> {
        let broken = || "the answer is no JSON text, or cut off".to_owned();
        let mut at: &RawValue = serde_json::from_str(text).map_err(|_| broken())?;
        for name in &self.symbol.list {
            let Members(members) = serde_json::from_str(at.get())
                .map_err(|_| format!("the answer has no object with `{name}` in it"))?;
            let quoted = format!("\"{name}\"");
            let mut found = members.into_iter().filter(|(key, _)| key.get() == quoted);
            at = match (found.next(), found.next()) {
                (Some((_, value)), None) => value,
                (None, _) => return Err(format!("the answer has no `{name}`")),
                _ => return Err(format!("the answer has `{name}` twice")),
            };
        }
        let rows: Vec<&RawValue> = serde_json::from_str(at.get())
            .map_err(|_| "where the list should be is something else".to_owned())?;
        match rows.len() > ROWS_MAX {
            true => Err(format!("the answer has more than {ROWS_MAX} instruments")),
            false => Ok(rows),
        }
    }

    /// `BTC` of `BTC-USDT`; `None` if its quote is no dollar.
    fn asset<'a>(&self, symbol: &'a str) -> Option<&'a str> {
        let of = |quote: &String| symbol.strip_suffix(quote)?.strip_suffix(&self.separator);
        let asset = self.usd.iter().find_map(of)?;
        let one_part = self.separator.is_empty() || !asset.contains(&self.separator);
        (one_part && !asset.is_empty() && asset.len() <= ASSET_BYTES_MAX).then_some(asset)
    }
}

/// A string's or a number's text as it stands. A string with escapes is none that is meant here.
fn scalar<'a>(row: &Json<'a>, path: &[String]) -> Option<&'a str> {
    let mut at = row;
    for name in path {
        at = at.member(name)?;
    }
    let Json::Scalar(token) = at else { return None };
    let text = token.strip_prefix('"').and_then(|token| token.strip_suffix('"')).unwrap_or(token);
    (!text.contains(['\\', '"'])).then_some(text)
}

const ROWS_MAX: usize = 20_000;
const ASSET_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ticker(symbol: &str, price: &str, separator: &str, usd: &[&str]) -> Result<Ticker, String> {
        let usd = usd.iter().map(|quote| (*quote).to_owned()).collect();
        let place = |text| Place::parse(text).unwrap();
        Ticker::new(place(symbol), place(price), separator.to_owned(), usd)
    }

    fn okx() -> Ticker {
        ticker("json.data[].instId", "json.data[].last", "-", &["USDT", "USD", "USDC"]).unwrap()
    }

    fn binance() -> Ticker {
        ticker("json[].symbol", "json[].price", "", &["USDT"]).unwrap()
    }

    fn price(ticker: &Ticker, text: &str, asset: &str) -> Option<String> {
        ticker.read(text).unwrap().get(asset).map(ToString::to_string)
    }

    #[test]
    fn tickers_of_two_shapes_are_read_to_the_last_digit() {
        let text = r#"{"code":"0","msg":"","data":[
            {"instType":"SPOT","instId":"BTC-USDT","last":"64250.123456789012345678","vol":"1"},
            {"instId":"ETH-BTC","last":"0.05"},
            {"instId":"pepe-USDT","last":"0.00000000000001234"},
            {"instId":"BTC-USDT-SWAP","last":"1"},{"instId":"ETH-BTC-USDT","last":"1"}]}"#;
        let found = okx();
        assert_eq!(price(&found, text, "BTC").as_deref(), Some("64250.123456789012345678"));
        let tiny = decimal("0.00000000000001234");
        assert_eq!(found.read(text).unwrap().get("PEPE").copied(), tiny);
        assert_eq!(price(&found, text, "ETH"), None);
        assert_eq!(price(&found, text, "ETH-BTC"), None);
        let text = r#"[{"symbol":"BTCUSDT","price":"64250.5"},{"symbol":"ETHUSDT","price":3000.25},
            {"symbol":"USDT","price":"7"},{"symbol":"BTCFDUSD","price":"1"}]"#;
        assert_eq!(price(&binance(), text, "BTC").as_deref(), Some("64250.5"));
        assert_eq!(price(&binance(), text, "ETH").as_deref(), Some("3000.25"));
        assert_eq!(binance().read(text).unwrap().len(), 3, "the two, and a dollar");
    }

    #[test]
    fn what_is_no_plain_price_is_none() {
        for odd in [
            r#""0""#,
            r#""-1""#,
            "-1",
            "0",
            "0.0",
            r#""NaN""#,
            "null",
            r#""1e5""#,
            "1e5",
            "1E-5",
            r#""""#,
            r#""Infinity""#,
            r#"" 1""#,
            r#""01""#,
            "[1]",
            "{}",
            "true",
            r#""1\u0030""#,
        ] {
            let text = format!(
                r#"[{{"symbol":"ETHUSDT","price":"3000"}},{{"symbol":"BTCUSDT","price":{odd}}}]"#
            );
            let Ok(prices) = binance().read(&text) else { continue };
            assert!(!prices.contains_key("BTC"), "{odd}");
            assert!(prices.contains_key("ETH"), "{odd}");
        }
    }

    #[test]
    fn an_instrument_that_is_there_twice_has_no_price() {
        let text = r#"[{"symbol":"BTCUSDT","price":"6"},{"symbol":"ETHUSDT","price":"3000"},
            {"symbol":"btcusdt","price":"60000"},{"symbol":"BTCUSDT","price":"60000"}]"#;
        assert_eq!(price(&binance(), text, "BTC"), None);
        // So has one whose price is there twice.
        let text = r#"[{"symbol":"BTCUSDT","price":"6","price":"60000"},{"symbol":"ETHUSDT","price":"3"}]"#;
        assert_eq!(price(&binance(), text, "BTC"), None);
        assert!(okx().read(r#"{"data":[{"instId":"A-USD","last":"1"}],"data":[]}"#).is_err());
    }

    #[test]
    fn of_several_markets_the_highest_counts_and_a_quote_is_a_dollar() {
        let text = r#"{"data":[{"instId":"BTC-USDC","last":"10"},{"instId":"BTC-USDT","last":"60000"},
            {"instId":"BTC-USD","last":"59000"},{"instId":"USDC-USDT","last":"0.5"},
            {"instId":"USDT-USD","last":"1.01"}]}"#;
        let found = okx();
        assert_eq!(price(&found, text, "BTC").as_deref(), Some("60000"));
        // A coin that lost its peg is worth what the configuration says it is.
        assert_eq!(price(&found, text, "USDC").as_deref(), Some("1"));
        assert_eq!(price(&found, text, "USDT").as_deref(), Some("1.01"));
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        for text in [
            "",
            "not json",
            "{}",
            "[]",
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":null}"#,
            r#"{"data":[{"instId":"BTC-USDT","last":"1"}"#,
            r#"{"code":"50011","msg":"Too Many"}"#,
            r#"{"data":[{"instId":"BTC-EUR","last":"1"}]}"#,
        ] {
            assert!(okx().read(text).is_err(), "{text}");
        }
        let many = r#"{"symbol":"BTCUSDT","price":"6"},"#.repeat(ROWS_MAX + 1);
        let why = binance().read(&format!("[{}]", many.trim_end_matches(','))).unwrap_err();
        assert!(why.contains("more than"), "{why}");
    }

    #[test]
    fn a_place_is_a_member_of_each_element_of_one_list() {
        for good in ["json[].a", "json.a[].b", "json.a.b[].c.d"] {
            assert!(Place::parse(good).is_some(), "{good}");
        }
        for bad in
            ["json.a", "json[]", "a[].b", "json[].a[].b", "json..a[].b", "json[]a", "query.x"]
        {
            assert!(Place::parse(bad).is_none(), "{bad}");
        }
        assert!(ticker("json.a[].s", "json.b[].p", "-", &["USD"]).is_err());
        assert!(ticker("json[].s", "json[].p", "", &["USD"]).is_err());
        assert!(ticker("json[].s", "json[].p", "-", &[]).is_err());
    }
}
