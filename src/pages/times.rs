//! Times as people read them: a point in UTC that a script may put into local time, and "about 19 hours".
//!
//! Pure. Never fails: a time outside the calendar is written as its seconds.

use minijinja::Value;

use super::templates::escape;
use super::text::Table;
use crate::stepup::message::fill;
use crate::types::UnixMs;

/// `<time>` with the clock's time.
pub(super) fn clock(at: UnixMs) -> Value {
    element(at, "clock", &written(at, "%H:%M:%S UTC"))
}

/// `<time>` with date and time.
pub(super) fn date(at: UnixMs) -> Value {
    element(at, "date", &written(at, "%Y-%m-%d %H:%M:%S UTC"))
}

/// To the second: cut to the minute, the end of a hold would be named before it comes.
pub(super) fn date_and_time(at: UnixMs) -> String {
    written(at, "%Y-%m-%d %H:%M:%S")
}

/// The same, and whose time it is: for the lines of a transaction.
pub fn written_out(at: UnixMs) -> String {
    format!("{} UTC", date_and_time(at))
}

/// For a text message: `11-20 12:00 UTC`.
pub(super) fn minutes(at: UnixMs) -> String {
    written(at, "%m-%d %H:%M UTC")
}

/// `about 19 hours`. Each word stands for two and more, so that no language needs another form for one.
pub(super) fn span(table: &Table, ms: u64) -> String {
    let rounded = |unit: u64| ((ms + unit / 2) / unit).to_string();
    let (key, count) = match ms {
        0..MINUTE => ("span_less", String::new()),
        MINUTE..ALMOST_2_HOURS => ("span_minutes", (ms.div_ceil(MINUTE)).max(2).to_string()),
        ALMOST_2_HOURS..ALMOST_2_DAYS => ("span_hours", rounded(HOUR)),
        _ => ("span_days", rounded(24 * HOUR)),
    };
    fill(table.ui(key), &[("count", &count)])
}

/// As a script reads it.
pub(super) fn machine(at: UnixMs) -> String {
    written(at, "%Y-%m-%dT%H:%M:%SZ")
}

fn element(at: UnixMs, class: &str, shown: &str) -> Value {
    let (machine, shown) = (escape(&machine(at)), escape(shown));
    Value::from_safe_string(format!(r#"<time class="{class}" datetime="{machine}">{shown}</time>"#))
}

/// In UTC.
fn written(at: UnixMs, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.seconds().to_string(), |time| time.strftime(format).to_string())
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const ALMOST_2_HOURS: u64 = 90 * MINUTE;
const ALMOST_2_DAYS: u64 = 36 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Language;

    #[test]
    fn times_are_written_in_utc_and_never_fail() {
        let at = UnixMs(1_790_000_000_000);
        assert_eq!(
            clock(at).to_string(),
            "<time class=\"clock\" datetime=\"2026-09-21T14:13:20Z\">14:13:20 UTC</time>"
        );
        assert_eq!(date_and_time(at), "2026-09-21 14:13:20");
        assert_eq!(date_and_time(UnixMs(i64::MAX)), (i64::MAX / 1000).to_string());
    }

    #[test]
    fn a_span_is_said_in_a_unit_that_has_at_least_two_of_them() {
        let table = Table::of(Language::En);
        for (ms, words) in [
            (0, "less than a minute"),
            (59_999, "less than a minute"),
            (60_000, "about 2 minutes"),
            (900_000, "about 15 minutes"),
            (89 * MINUTE, "about 89 minutes"),
            (90 * MINUTE, "about 2 hours"),
            (19 * HOUR + 5, "about 19 hours"),
            (36 * HOUR, "about 2 days"),
            (u64::MAX / 2, "about 106751991167 days"),
        ] {
            assert_eq!(span(&table, ms), words);
        }
    }
}
