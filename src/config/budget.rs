//! `[sms.budget]`: what text messages may cost.
//!
//! Never laxer than what is built in: maxima go down, the share of codes that must come back goes up, stops get longer.

use super::check::Checker;
use super::file;
use crate::stepup::budget::{Budget, PerPrefix};

impl Checker<'_> {
    pub(super) fn budget(&mut self, file: &file::Budget) -> Budget {
        let d = Budget::default();
        Budget {
            per_account_hour_max: self.count(&file.per_account_hour_max, d.per_account_hour_max),
            per_account_day_max: self.count(&file.per_account_day_max, d.per_account_day_max),
            per_range_hour_max: self.count(&file.per_range_hour_max, d.per_range_hour_max),
            per_range_day_max: self.count(&file.per_range_day_max, d.per_range_day_max),
            per_prefix_hour_max: self.per_prefix(&file.per_prefix_hour_max, &d.per_prefix_hour_max),
            per_prefix_day_max: self.per_prefix(&file.per_prefix_day_max, &d.per_prefix_day_max),
            overall_hour_max: self.count(&file.overall_hour_max, d.overall_hour_max),
            overall_day_max: self.count(&file.overall_day_max, d.overall_day_max),
            verified_window_ms: self.between(
                file.verified_window_s.as_ref(),
                (WINDOW_S_MIN, DAY_S),
                d.verified_window_ms / 1000,
            ) * 1000,
            verified_sent_min: self.count(&file.verified_sent_min, d.verified_sent_min),
            verified_prefix_sent_min: self
                .count(&file.verified_prefix_sent_min, d.verified_prefix_sent_min),
            verified_percent_min: narrow(self.between(
                file.verified_percent_min.as_ref(),
                (d.verified_percent_min.into(), 100),
                d.verified_percent_min.into(),
            )),
            stop_ms: self.longer(file.stop_s.as_ref(), d.stop_ms / 1000, DAY_S) * 1000,
            urgent_percent: self.count(&file.urgent_percent, d.urgent_percent),
        }
    }

    fn count(&mut self, value: &file::Count, most: u32) -> u32 {
        narrow(self.at_most(value.as_ref(), most.into()))
    }

    fn per_prefix(&mut self, file: &file::PerPrefix, built_in: &PerPrefix) -> PerPrefix {
        let (mut default, mut named) = (built_in.default, Vec::new());
        for (name, value) in file {
            let max = narrow(self.at_most(Some(value), built_in.default.into()));
            let text = name.get_ref();
            let digits = text.strip_prefix('+').unwrap_or("");
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            if text == "default" {
                default = max;
            } else if plain
                && !digits.starts_with('0')
                && (1..=PREFIX_DIGITS_MAX).contains(&digits.len())
            {
                named.push((text.clone(), max));
            } else {
                self.fault(name.span(), format!("`{text}` is not how numbers begin"))
                    .help("`default`, or plus, country code and perhaps more: \"+49\", \"+1876\"");
            }
        }
        PerPrefix { default, named }
    }

    fn between(
        &mut self,
        value: Option<&toml::Spanned<u64>>,
        (least, most): (u64, u64),
        default: u64,
    ) -> u64 {
        match value {
            Some(value) if !(least..=most).contains(value.get_ref()) => {
                self.fault(value.span(), format!("this must be between {least} and {most}"))
                    .help("leave it out for the default");
                default
            }
            Some(value) => *value.get_ref(),
            None => default,
        }
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A code can be used for five minutes, and only older ones are counted.
const WINDOW_S_MIN: u64 = 1_200;
const DAY_S: u64 = 86_400;
const PREFIX_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use crate::config::{Config, parse};
    use crate::fault::{Fault, Source};
    use crate::stepup::budget::Budget;

    fn read(budget: &str) -> Result<Config, Vec<Fault>> {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:1\"\ncertificate = \"a\"\nkey = \"b\"\n[store]\nurl = \"file:s\"\n\
             master_key = \"file:k\"\n[audit]\nfile = \"a\"\n[sms]\nprovider = \"log\"\n[sms.budget]\n{budget}\n\
             [[site]]\nname = \"main\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:9\"]\npolicy = \"p\"\n"
        );
        parse(&Source::new("stepgate.toml", text))
    }

    fn budget(text: &str) -> Budget {
        let config = read(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        config.sms.unwrap().budget
    }

    fn fault(text: &str) -> (String, String) {
        let faults = read(text).expect_err(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        let fault = &faults[0];
        let shown = fault.source.text.get(fault.span.clone()).unwrap_or_default().to_owned();
        (shown, fault.message.clone())
    }

    #[test]
    fn what_is_not_said_is_as_built_in() {
        assert_eq!(budget(""), Budget::default());
    }

    #[test]
    fn numbers_and_prefixes_are_read() {
        let read = budget(
            "overall_hour_max = 0\nper_prefix_hour_max = { default = 100, \"+49\" = 50, \"+1876\" = 0 }\n\
             stop_s = 7200\nverified_percent_min = 50",
        );
        assert_eq!((read.overall_hour_max, read.per_prefix_hour_max.default), (0, 100));
        assert_eq!(read.per_prefix_hour_max.named, [("+1876".into(), 0), ("+49".into(), 50)]);
        assert_eq!((read.stop_ms, read.verified_percent_min), (7_200_000, 50));
    }

    #[test]
    fn nothing_can_be_made_laxer() {
        for (text, place) in [
            ("per_account_hour_max = 6", "6"),
            ("overall_day_max = 50001", "50001"),
            ("per_prefix_hour_max = { \"+49\" = 2001 }", "2001"),
            ("per_prefix_day_max = { default = 10001 }", "10001"),
            ("verified_sent_min = 31", "31"),
            ("verified_prefix_sent_min = 301", "301"),
            ("urgent_percent = 21", "21"),
            ("verified_percent_min = 19", "19"),
            ("verified_window_s = 60", "60"),
            ("stop_s = 60", "60"),
        ] {
            assert_eq!(fault(text).0, place, "{text}");
        }
    }

    #[test]
    fn a_prefix_that_is_none_is_pointed_at() {
        for name in ["49", "+0", "+", "+49 15", "de"] {
            let (shown, message) = fault(&format!("per_prefix_hour_max = {{ \"{name}\" = 1 }}"));
            assert_eq!(shown.trim_matches('"'), name);
            assert!(message.contains("is not how numbers begin"), "{message}");
        }
    }
}
