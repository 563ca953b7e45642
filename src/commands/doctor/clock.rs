//! This machine's clock, against the time that others tell.
//!
//! Never says whose clock is wrong: of several that tell the time the one nearest to ours counts, because a single
//! upstream with a wrong clock is no fault of this machine.

use http::HeaderMap;
use http::header::DATE;

use super::Finding;
use crate::types::UnixMs;

const SUBJECT: &str = "clock";

/// What an answer's `Date` said, against when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    by: String,
    /// How far our clock is ahead of it at least; negative if it is behind, 0 if that cannot be told apart.
    ahead_ms: i64,
}

impl Told {
    /// `sent` and `came` are our own times around the exchange.
    pub(super) fn read(by: &str, headers: &HeaderMap, sent: UnixMs, came: UnixMs) -> Option<Self> {
        let text = headers.get(DATE)?.to_str().ok()?;
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
        // It was written between `sent` and `came`, and stands for a whole second.
        let (least, most) = (sent.0 - (date + 999), came.0 - date);
        let ahead_ms = if least > 0 { least } else { most.min(0) };
        Some(Self { by: by.to_owned(), ahead_ms })
    }
}

pub(super) fn examine(told: &[Told]) -> Finding {
    let Some(Told { by, ahead_ms }) = told.iter().min_by_key(|told| told.ahead_ms.abs()) else {
        return Finding::warning(
            SUBJECT,
            "cannot be compared: no upstream told the time",
            "see that the machine keeps time by NTP (`timedatectl status`)",
        );
    };
    let skew_ms = ahead_ms.unsigned_abs();
    let side = if *ahead_ms > 0 { "ahead of" } else { "behind" };
    let what = format!("{} s {side} {by}", skew_ms / 1000);
    let advice = "set this machine's clock by NTP (`timedatectl status`), or that one's";
    if skew_ms > FAULT_MS {
        let what = format!("{what}: codes of authenticator apps will be refused");
        return Finding::fault(SUBJECT, what, advice);
    }
    if skew_ms > WARN_MS {
        return Finding::warning(SUBJECT, what, advice);
    }
    Finding::ok(SUBJECT, format!("within {} s of {by}", WARN_MS / 1000))
}

const WARN_MS: u64 = 2_000;
/// One step of RFC 6238.
const FAULT_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;

    /// 1994-11-06 08:49:37 UTC.
    const DATE_MS: i64 = 784_111_777_000;

    fn told(sent: i64, came: i64) -> Told {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        Told::read("http://a", &headers, UnixMs(DATE_MS + sent), UnixMs(DATE_MS + came)).unwrap()
    }

    #[test]
    fn what_the_second_and_the_way_explain_is_no_skew() {
        assert_eq!(told(0, 0).ahead_ms, 0);
        assert_eq!(told(999, 1_500).ahead_ms, 0);
        assert_eq!(told(-1_500, 200).ahead_ms, 0);
        assert_eq!(told(3_999, 4_100).ahead_ms, 3_000);
        assert_eq!(told(-5_000, -4_000).ahead_ms, -4_000);
    }

    #[test]
    fn a_skew_is_judged_by_what_it_breaks() {
        let level = |ahead_ms| examine(&[Told { by: "a".into(), ahead_ms }]).level;
        assert_eq!([level(2_000), level(-2_000)], [Level::Ok, Level::Ok]);
        assert_eq!([level(2_001), level(-30_000)], [Level::Warning, Level::Warning]);
        assert_eq!([level(30_001), level(-30_001)], [Level::Fault, Level::Fault]);
    }

    #[test]
    fn one_of_several_with_a_wrong_clock_does_not_count() {
        let all = [("a", 90_000), ("b", 0)].map(|(by, ahead_ms)| Told { by: by.into(), ahead_ms });
        assert_eq!(examine(&all).level, Level::Ok);
        assert_eq!(examine(&[]).level, Level::Warning);
    }
}
