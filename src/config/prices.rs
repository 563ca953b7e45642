//! `[prices]`: a file, or a ticker and how it is read.
//!
//! Never opens either. Invariant: a ticker's address is https, or on this machine: whoever could change its answer on
//! the way would say how much is much.

use super::check::Checker;
use super::{FileRef, file};
use crate::prices::Settings;
use crate::prices::ticker::{Place, Ticker};

#[derive(Clone, Debug)]
pub struct Prices {
    pub from: PricesFrom,
    pub age_max_ms: u64,
}

#[derive(Clone, Debug)]
pub enum PricesFrom {
    File(FileRef),
    Ticker(Settings),
}

impl Prices {
    /// The file, if that is where they are from.
    pub fn file(&self) -> Option<&FileRef> {
        match &self.from {
            PricesFrom::File(file) => Some(file),
            PricesFrom::Ticker(_) => None,
        }
    }
}

impl Checker<'_> {
    pub(super) fn prices(&mut self, written: toml::Spanned<file::Prices>) -> Option<Prices> {
        let span = written.span();
        let written = written.into_inner();
        let age_max_ms = written.age_max_s.unwrap_or(900).saturating_mul(1000);
        let from = match (&written.file, &written.url) {
            (Some(file), None) => {
                let ticker = [&written.symbol, &written.price, &written.separator];
                if let Some(text) = ticker.into_iter().flatten().next() {
                    self.fault(text.span(), "this says how a ticker is read, and there is a file")
                        .help("leave it out, or name a `url` instead of the `file`");
                }
                PricesFrom::File(self.path(file))
            }
            (None, Some(url)) => PricesFrom::Ticker(self.ticker(url, &written)?),
            (Some(_), Some(url)) => {
                self.fault(url.span(), "prices are from a file or from a ticker, not from both")
                    .help("leave out `file` or `url`");
                return None;
            }
            (None, None) => {
                self.fault(span, "[prices] says neither `file` nor `url`")
                    .help("file = \"prices.toml\", or the `url` of a ticker");
                return None;
            }
        };
        Some(Prices { from, age_max_ms })
    }

    fn ticker(&mut self, url: &file::Text, written: &file::Prices) -> Option<Settings> {
        if !is_safe(url.get_ref()) {
            self.fault(url.span(), "a ticker is asked over https")
                .help("http:// is for addresses of this machine only");
            return None;
        }
        let every_s = match &written.every_s {
            Some(every) if !(1..=86_400).contains(every.get_ref()) => {
                self.fault(every.span(), "this must be from 1 to 86400");
                return None;
            }
            Some(every) => *every.get_ref(),
            None => 60,
        };
        let symbol = self.place(url, written.symbol.as_ref(), "symbol", "json.data[].instId");
        let price = self.place(url, written.price.as_ref(), "price", "json.data[].last");
        let Some(usd) = &written.usd else {
            self.fault(url.span(), "nothing says which quotes count as dollars")
                .help("for example usd = [\"USDT\", \"USD\"]");
            return None;
        };
        let separator = written.separator.as_ref().map_or("", |text| text.get_ref());
        let quotes = usd.get_ref().iter().map(|quote| quote.get_ref().clone()).collect();
        match Ticker::new(symbol?, price?, separator.to_owned(), quotes) {
            Ok(ticker) => {
                let url = url.get_ref().clone();
                Some(Settings { url, every_ms: every_s * 1000, ticker })
            }
            Err(why) => {
                self.fault(usd.span(), why);
                None
            }
        }
    }

    fn place(
        &mut self,
        url: &file::Text,
        text: Option<&file::Text>,
        name: &str,
        example: &str,
    ) -> Option<Place> {
        let help =
            format!("for example {name} = \"{example}\": a member of each element of a list");
        let Some(text) = text else {
            self.fault(url.span(), format!("nothing says where the {name} stands")).help(help);
            return None;
        };
        let place = Place::parse(text.get_ref());
        if place.is_none() {
            self.fault(text.span(), "not a place in a ticker's answer").help(help);
        }
        place
    }
}

fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let local = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        host == "localhost" || address.is_ok_and(|it: std::net::IpAddr| it.is_loopback())
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => local(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn a_ticker_is_asked_over_https_except_on_this_machine() {
        for good in [
            "https://a.example/t?x=1",
            "http://127.0.0.1:9/t",
            "http://[::1]:9/",
            "http://localhost/",
        ] {
            assert!(is_safe(good), "{good}");
        }
        for bad in
            ["http://a.example/", "http://10.0.0.1/", "ftp://a.example/", "a.example", "", "/t"]
        {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
