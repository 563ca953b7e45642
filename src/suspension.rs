//! What operators have suspended: which actions, on which site, from when until when, and what customers are told.
//!
//! Never asks anything: what is in force is handed to it. Invariant: where several cover a request, the answer is the
//! end of all of them, so that a client that waits as long as it is told does not meet the next one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{SiteName, UnixMs};

/// One order of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    pub id: String,
    /// `withdrawal`, `address_book.*`, `*`.
    pub action: String,
    /// Every site if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    pub from: UnixMs,
    /// Until somebody resumes it if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
    /// What customers are told, by language; under the empty word what all others are told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// Who ordered it, and when.
    pub by: String,
    pub since: UnixMs,
}

/// What a suspended request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed<'a> {
    pub until: Option<UnixMs>,
    pub why: Option<&'a str>,
}

impl Suspension {
    fn covers(&self, site: &SiteName, action: &str) -> bool {
        self.site.as_ref().is_none_or(|it| it == site) && names(&self.action, action)
    }

    /// Whether it holds at this time.
    pub fn in_force(&self, now: UnixMs) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// When it may be forgotten.
    pub fn kept_until(&self) -> UnixMs {
        self.until.unwrap_or(UnixMs(i64::MAX))
    }

    fn why(&self, language: &str) -> Option<&str> {
        let told = self.reasons.get(language).or_else(|| self.reasons.get(""));
        told.map(String::as_str)
    }
}

/// Whether a pattern of an operator names this action.
pub fn names(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => action.starts_with(prefix),
        None => pattern == action,
    }
}

/// Whether it is spelt as policies spell actions: a name, `group.*`, or `*`.
pub fn is_pattern(text: &str) -> bool {
    let word = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase())
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let name = text.strip_suffix(".*").unwrap_or(text);
    text == "*" || (text.len() <= PATTERN_CHARS_MAX && name.split('.').all(word))
}

/// Whether this action is suspended on this site now, and for how long.
pub fn closed<'a>(
    all: &'a [Suspension],
    site: &SiteName,
    action: &str,
    language: &str,
    now: UnixMs,
) -> Option<Closed<'a>> {
    let covering: Vec<&Suspension> = all.iter().filter(|it| it.covers(site, action)).collect();
    let first = covering.iter().find(|it| it.in_force(now))?;
    let mut end = now;
    // One that begins where another ends prolongs it.
    while let Some(next) = covering.iter().find(|it| it.in_force(end)) {
        match next.until {
            Some(until) => end = until,
            None => return Some(Closed { until: None, why: first.why(language) }),
        }
    }
    Some(Closed { until: Some(end), why: first.why(language) })
}

const PATTERN_CHARS_MAX: usize = 64;
/// So many stand at one time.
pub const SUSPENSIONS_MAX: usize = 64;
/// A reason is a sentence or two.
pub const REASON_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(action: &str, from: i64, until: Option<i64>) -> Suspension {
        Suspension {
            id: format!("{action}{from}"),
            action: action.into(),
            site: None,
            from: UnixMs(from),
            until: until.map(UnixMs),
            reasons: BTreeMap::from([
                (String::new(), "Maintenance.".to_owned()),
                ("de".to_owned(), "Wartung.".to_owned()),
            ]),
            by: "ops".into(),
            since: UnixMs(0),
        }
    }

    fn until(all: &[Suspension], action: &str, now: i64) -> Option<Option<i64>> {
        let closed = closed(all, &SiteName::new("main"), action, "ja", UnixMs(now))?;
        Some(closed.until.map(|until| until.0))
    }

    #[test]
    fn a_window_closes_its_actions_from_its_beginning_to_its_end() {
        let all = [of("transfer.*", 10, Some(20))];
        assert_eq!(until(&all, "transfer.in", 9), None);
        assert_eq!(until(&all, "transfer.in", 10), Some(Some(20)));
        assert_eq!(until(&all, "transfer.in", 19), Some(Some(20)));
        assert_eq!(until(&all, "transfer.in", 20), None);
        for other in ["transfer", "transfers.in", "withdrawal"] {
            assert_eq!(until(&all, other, 15), None, "{other}");
        }
    }

    #[test]
    fn windows_that_touch_or_overlap_end_with_the_last() {
        let all = [of("*", 10, Some(20)), of("order", 15, Some(30)), of("order", 30, Some(40))];
        assert_eq!(until(&all, "order", 12), Some(Some(40)));
        assert_eq!(until(&all, "withdrawal", 12), Some(Some(20)));
        let open = [of("*", 10, Some(20)), of("order", 18, None)];
        assert_eq!(until(&open, "order", 12), Some(None));
    }

    #[test]
    fn sites_are_apart_and_reasons_are_told_in_the_customers_language() {
        let mut one = of("*", 0, None);
        one.site = Some(SiteName::new("tokyo"));
        let all = [one];
        let said = |site: &str, language: &str| {
            closed(&all, &SiteName::new(site), "order", language, UnixMs(1))
                .map(|closed| closed.why.unwrap_or("").to_owned())
        };
        assert_eq!(said("main", "de"), None);
        assert_eq!(said("tokyo", "de").as_deref(), Some("Wartung."));
        assert_eq!(said("tokyo", "ja").as_deref(), Some("Maintenance."));
    }

    #[test]
    fn patterns_are_spelt_as_in_policies() {
        for good in ["*", "withdrawal", "address_book.*", "address_book.add", "a.b.c"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "**", "with*", ".*", "a..b", "A", "a b", "a.", "*.a", "1a", &"a".repeat(65)]
        {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
