//! What text messages may cost: how many codes and notices go out for an account, from a client's range, to a country
//! and in all, and when a country or a range is stopped because hardly any of its codes come back.
//!
//! Never sees a code and sends nothing; of a number it keeps the prefix. Invariant: what is counted is given back by
//! whole spans of time and never early, so that no window ever holds more than its maximum; and what is kept for urgent
//! notices is counted apart, so that nobody can starve them by asking for codes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::phone::Number;
use crate::types::{AccountId, UnixMs};

/// The numbers of `[sms.budget]`; all may be set stricter in the configuration. 0 means zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub per_account_hour_max: u32,
    pub per_account_day_max: u32,
    pub per_range_hour_max: u32,
    pub per_range_day_max: u32,
    pub per_prefix_hour_max: PerPrefix,
    pub per_prefix_day_max: PerPrefix,
    pub overall_hour_max: u32,
    pub overall_day_max: u32,
    /// Over how long it is counted how many codes came back.
    pub verified_window_ms: u64,
    /// Fewer codes from a range say nothing.
    pub verified_sent_min: u32,
    /// Fewer codes to a country say nothing: a few phones must not stop all of it.
    pub verified_prefix_sent_min: u32,
    /// Under this share nothing more is sent for `stop_ms`.
    pub verified_percent_min: u32,
    pub stop_ms: u64,
    /// What urgent notices to enrolled numbers may cost beside all of that, in percent of the maxima per country and
    /// overall; per account and number they may be as many as codes.
    pub urgent_percent: u32,
}

/// A number for every country, and others for the prefixes that are named; the longest that fits counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerPrefix {
    pub default: u32,
    /// `+49`, `+1876`.
    pub named: Vec<(String, u32)>,
}

impl Default for Budget {
    fn default() -> Self {
        let all = |default| PerPrefix { default, named: Vec::new() };
        Self {
            per_account_hour_max: 5,
            per_account_day_max: 10,
            // A range is often one carrier's: many people share it.
            per_range_hour_max: 60,
            per_range_day_max: 300,
            per_prefix_hour_max: all(2_000),
            per_prefix_day_max: all(10_000),
            overall_hour_max: 10_000,
            overall_day_max: 50_000,
            verified_window_ms: HOUR_MS,
            verified_sent_min: 30,
            verified_prefix_sent_min: 300,
            verified_percent_min: 20,
            stop_ms: HOUR_MS,
            urgent_percent: 20,
        }
    }
}

/// What a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Account,
    Range,
    Prefix,
    Overall,
}

impl Scope {
    pub fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Range => "range",
            Self::Prefix => "prefix",
            Self::Overall => "overall",
        }
    }
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Account, Self::Range, Self::Prefix, Self::Overall]
            .into_iter()
            .find(|scope| scope.word() == word)
    }
}

/// One count that a code has to fit into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    pub scope: Scope,
    pub subject: Arc<str>,
    pub window_ms: u64,
    pub max: u32,
}

/// Whose codes have to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub scope: Scope,
    pub subject: Arc<str>,
    pub window_ms: u64,
    /// A younger code may still come back: it is not counted yet.
    pub settle_ms: u64,
    pub sent_min: u32,
    pub percent_min: u32,
    pub stop_ms: u64,
}

/// Why a code is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub scope: Scope,
    pub subject: Arc<str>,
    pub why: Why,
    pub retry_after_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The window is full.
    Spent,
    /// Too few codes came back, some time ago.
    Stopped,
    /// The same, found out just now: said once for each stop.
    Stopping { sent: u32, verified: u32 },
}

/// A country or a range that nothing is sent to at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub scope: Scope,
    pub subject: Arc<str>,
    pub until: UnixMs,
}

impl Budget {
    /// Everything that one code is counted in.
    pub fn meters(&self, account: &AccountId, client: IpAddr, number: &Number) -> Vec<Meter> {
        let meter = |scope, subject: &str, window_ms, max| Meter {
            scope,
            subject: subject.into(),
            window_ms,
            max,
        };
        let owner = format!("{}:{}{}", account.group.len(), account.group, account.name);
        let range = range_of(client);
        let (hour_prefix, hour_max) = self.per_prefix_hour_max.of(number);
        let (day_prefix, day_max) = self.per_prefix_day_max.of(number);
        vec![
            meter(Scope::Account, &owner, HOUR_MS, self.per_account_hour_max),
            meter(Scope::Account, &owner, DAY_MS, self.per_account_day_max),
            meter(Scope::Range, &range, HOUR_MS, self.per_range_hour_max),
            meter(Scope::Range, &range, DAY_MS, self.per_range_day_max),
            meter(Scope::Prefix, hour_prefix, HOUR_MS, hour_max),
            meter(Scope::Prefix, day_prefix, DAY_MS, day_max),
            meter(Scope::Overall, "", HOUR_MS, self.overall_hour_max),
            meter(Scope::Overall, "", DAY_MS, self.overall_day_max),
        ]
    }

    /// What an urgent notice to an enrolled number is counted in: meters that nothing else is counted in. Where it
    /// came about says nothing: whoever starves a range would starve its neighbours' notices.
    pub fn urgent_meters(&self, account: &AccountId, number: &Number) -> Vec<Meter> {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let mut meters = self.meters(account, nobody, number);
        meters.retain(|meter| meter.scope != Scope::Range);
        for meter in &mut meters {
            meter.subject = format!("{URGENT}{}", meter.subject).into();
            if meter.scope != Scope::Account {
                let share = u64::from(meter.max) * u64::from(self.urgent_percent);
                meter.max = u32::try_from(share.div_ceil(100)).unwrap_or(u32::MAX);
            }
        }
        meters
    }

    /// What any other notice is counted in: the same as codes. What operators do comes from no range.
    pub fn notice_meters(
        &self,
        account: &AccountId,
        client: Option<IpAddr>,
        number: &Number,
    ) -> Vec<Meter> {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let mut meters = self.meters(account, client.unwrap_or(nobody), number);
        meters.retain(|meter| client.is_some() || meter.scope != Scope::Range);
        meters
    }

    /// What nothing is sent to, or from, while it is stopped.
    pub fn stops(&self, client: Option<IpAddr>, number: &Number) -> Vec<(Scope, Arc<str>)> {
        let range = client.map(|client| (Scope::Range, range_of(client).into()));
        range.into_iter().chain([(Scope::Prefix, self.prefix(number).into())]).collect()
    }

    /// Whose codes it is one of. `settle_ms`: how long a code can be used. A number that is not `enrolled` was typed in by
    /// anybody: where nobody answers it says something of whoever typed it, and nothing of its country. The range stands
    /// first: one that is stopped brings its country no nearer to that.
    pub fn watches(
        &self,
        client: IpAddr,
        number: &Number,
        settle_ms: u64,
        enrolled: bool,
    ) -> Vec<Watch> {
        let watch = |scope, subject: &str, sent_min| Watch {
            scope,
            subject: subject.into(),
            window_ms: self.verified_window_ms,
            settle_ms,
            sent_min,
            percent_min: self.verified_percent_min,
            stop_ms: self.stop_ms,
        };
        let of_prefix = self.verified_prefix_sent_min;
        let country = enrolled.then(|| watch(Scope::Prefix, self.prefix(number), of_prefix));
        let range = watch(Scope::Range, &range_of(client), self.verified_sent_min);
        [range].into_iter().chain(country).collect()
    }

    /// The longest prefix of a number that has a name of its own here, else its country's.
    pub fn prefix<'a>(&'a self, number: &'a Number) -> &'a str {
        let (hour, _) = self.per_prefix_hour_max.of(number);
        let (day, _) = self.per_prefix_day_max.of(number);
        if day.len() > hour.len() { day } else { hour }
    }
}

impl PerPrefix {
    /// What a number is counted under, and the most that may be.
    fn of<'a>(&'a self, number: &'a Number) -> (&'a str, u32) {
        let fitting =
            self.named.iter().filter(|(prefix, _)| number.as_str().starts_with(prefix.as_str()));
        match fitting.max_by_key(|(prefix, _)| prefix.len()) {
            Some((prefix, max)) => (prefix, *max),
            None => (number.country_code(), self.default),
        }
    }
}

/// What one subscriber can move within: a /24, or in IPv6 a /48, the most that a provider gives to one line.
pub fn range_of(client: IpAddr) -> String {
    let client = client.to_canonical();
    let bits = if client.is_ipv4() { 24 } else { 48 };
    IpNet::new(client, bits).map_or_else(|_| client.to_string(), |net| net.trunc().to_string())
}

/// The length of the spans that a window is counted in.
fn span_ms(window_ms: u64) -> u64 {
    (window_ms / SPANS).max(1)
}

fn span_at(at: UnixMs, window_ms: u64) -> UnixMs {
    let span = i64::try_from(span_ms(window_ms)).unwrap_or(i64::MAX);
    UnixMs(at.0.div_euclid(span).saturating_mul(span))
}

/// When what was sent in this span counts no more.
fn leaves(start: UnixMs, window_ms: u64) -> UnixMs {
    start.plus_ms(span_ms(window_ms)).plus_ms(window_ms)
}

/// How many went out in each span of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spent(Vec<(UnixMs, u32)>);

impl Spent {
    /// How long the next one has to wait; `None` if it may go now. Spans of the future (the clock went back) count.
    pub fn wait(&self, meter: &Meter, now: UnixMs) -> Option<u64> {
        let mut spans: Vec<(UnixMs, u32)> = self.live(meter, now).collect();
        spans.sort_unstable();
        let mut left = spans.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        if left < meter.max {
            return None;
        }
        for (start, count) in spans {
            left -= count.min(left);
            if left < meter.max {
                return Some(leaves(start, meter.window_ms).since_ms(now));
            }
        }
        // With a maximum of 0 none that leaves makes room.
        Some(meter.window_ms)
    }

    pub fn add(&mut self, meter: &Meter, now: UnixMs) {
        self.0 = self.live(meter, now).collect();
        let start = span_at(now, meter.window_ms);
        match self.0.iter_mut().find(|(known, _)| *known == start) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((start, 1)),
        }
    }

    fn live(&self, meter: &Meter, now: UnixMs) -> impl Iterator<Item = (UnixMs, u32)> {
        self.0.iter().copied().filter(move |(start, _)| now < leaves(*start, meter.window_ms))
    }
}

/// How many went out in each span of a window, and how many of these came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Returned(Vec<(UnixMs, u32, u32)>);

impl Returned {
    /// `(sent, verified)` if that is reason to stop.
    pub fn too_few(&self, watch: &Watch, now: UnixMs) -> Option<(u32, u32)> {
        let settled = |start: UnixMs| {
            start.plus_ms(span_ms(watch.window_ms)).plus_ms(watch.settle_ms) <= now
                && now < leaves(start, watch.window_ms)
        };
        let (mut sent, mut verified) = (0_u32, 0_u32);
        for (_, out, back) in self.0.iter().filter(|(start, ..)| settled(*start)) {
            sent = sent.saturating_add(*out);
            verified = verified.saturating_add(*back);
        }
        let enough = u64::from(sent) * u64::from(watch.percent_min) <= u64::from(verified) * 100;
        (sent >= watch.sent_min && !enough).then_some((sent, verified))
    }

    pub fn add_sent(&mut self, window_ms: u64, now: UnixMs) {
        self.0.retain(|(start, ..)| now < leaves(*start, window_ms));
        let start = span_at(now, window_ms);
        match self.0.iter_mut().find(|(known, ..)| *known == start) {
            Some((_, sent, _)) => *sent = sent.saturating_add(1),
            None => self.0.push((start, 1, 0)),
        }
    }

    /// One that was sent at `at` came back. What was forgotten meanwhile stays so.
    pub fn add_verified(&mut self, window_ms: u64, at: UnixMs) {
        let start = span_at(at, window_ms);
        if let Some((_, sent, verified)) = self.0.iter_mut().find(|(known, ..)| *known == start) {
            *verified = verified.saturating_add(1).min(*sent);
        }
    }
}

/// Until when counts of a window are of use.
pub fn kept_until(window_ms: u64, now: UnixMs) -> UnixMs {
    leaves(now, window_ms)
}

/// What the subjects of urgent notices begin with; no subject of codes does.
const URGENT: &str = "urgent ";
pub const HOUR_MS: u64 = 3_600_000;
pub const DAY_MS: u64 = 86_400_000;
/// Five minutes of an hour, two hours of a day.
const SPANS: u64 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    /// At the beginning of a span of two hours.
    const NOW: UnixMs = UnixMs(1_790_006_400_000);
    const MINUTE: u64 = 60_000;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    fn meter(max: u32) -> Meter {
        Meter { scope: Scope::Overall, subject: "".into(), window_ms: HOUR_MS, max }
    }

    fn watch() -> Watch {
        let budget = Budget { verified_sent_min: 10, ..Budget::default() };
        let number = number("+4915112345667");
        budget.watches([203, 0, 113, 7].into(), &number, 5 * MINUTE, true).remove(0)
    }

    #[test]
    fn numbers_that_anybody_types_in_do_not_stop_their_country() {
        let of = |enrolled| {
            let number = number("+4915112345667");
            let watches =
                Budget::default().watches([203, 0, 113, 7].into(), &number, MINUTE, enrolled);
            watches.iter().map(|watch| watch.scope.word()).collect::<Vec<_>>()
        };
        assert_eq!(of(true), ["range", "prefix"]);
        assert_eq!(of(false), ["range"]);
    }

    #[test]
    fn a_country_is_stopped_by_many_more_codes_than_a_range() {
        let number = number("+4915112345667");
        let watches = Budget::default().watches([203, 0, 113, 7].into(), &number, MINUTE, true);
        let least: Vec<_> = watches.iter().map(|it| (it.scope.word(), it.sent_min)).collect();
        assert_eq!(least, [("range", 30), ("prefix", 300)]);
        // All that one range may be sent in the window is not enough.
        assert!(Budget::default().per_range_hour_max < least[1].1);
    }

    #[test]
    fn urgent_notices_are_counted_apart_and_zero_stays_zero() {
        let account = AccountId::new("main", "alice");
        let named = PerPrefix { default: 2_000, named: vec![("+1876".into(), 0)] };
        let budget = Budget { per_prefix_hour_max: named, ..Budget::default() };
        let client = [203, 0, 113, 7].into();
        for phone in ["+4915112345667", "+18765550006"] {
            let phone = number(phone);
            let urgent = budget.urgent_meters(&account, &phone);
            let codes = budget.meters(&account, client, &phone);
            let shared = |meter: &Meter| {
                codes.iter().any(|it| (it.scope, &it.subject) == (meter.scope, &meter.subject))
            };
            assert!(!urgent.iter().any(shared));
            assert!(urgent.iter().all(|meter| meter.scope != Scope::Range));
        }
        let maxima = |phone| -> Vec<u32> {
            budget.urgent_meters(&account, &number(phone)).iter().map(|it| it.max).collect()
        };
        assert_eq!(maxima("+4915112345667"), [5, 10, 400, 2_000, 2_000, 10_000]);
        assert_eq!(maxima("+18765550006")[2], 0);
        let none = Budget { urgent_percent: 0, ..Budget::default() };
        assert!(
            none.urgent_meters(&account, &number("+4915112345667"))[2..]
                .iter()
                .all(|it| it.max == 0)
        );
    }

    #[test]
    fn the_longest_prefix_that_fits_counts_and_else_the_country() {
        let per = PerPrefix {
            default: 9,
            named: vec![("+1".into(), 5), ("+1876".into(), 0), ("+49".into(), 7)],
        };
        assert_eq!(per.of(&number("+18765550006")), ("+1876", 0));
        assert_eq!(per.of(&number("+15005550006")), ("+1", 5));
        assert_eq!(per.of(&number("+886912345678")), ("+886", 9));
        let budget = Budget { per_prefix_day_max: per, ..Budget::default() };
        assert_eq!(budget.prefix(&number("+18765550006")), "+1876");
        assert_eq!(budget.prefix(&number("+4915112345667")), "+49");
    }

    #[test]
    fn an_address_is_counted_with_all_that_its_subscriber_can_have() {
        for (client, range) in [
            ("203.0.113.200", "203.0.113.0/24"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(range_of(client.parse().unwrap()), range);
        }
    }

    #[test]
    fn accounts_of_two_groups_never_share_a_budget() {
        let budget = Budget::default();
        let subject = |group: &str, name: &str| {
            let number = number("+4915112345667");
            let account = AccountId::new(group, name);
            budget.meters(&account, [203, 0, 113, 7].into(), &number).remove(0).subject
        };
        assert_ne!(subject("a", "bc"), subject("ab", "c"));
        assert_ne!(subject("a", "1:bc"), subject("a1", ":bc"));
    }

    #[test]
    fn a_full_window_waits_until_its_oldest_span_has_left() {
        let (mut spent, meter) = (Spent::default(), meter(3));
        for minutes in [1, 2, 20] {
            assert_eq!(spent.wait(&meter, NOW.plus_ms(minutes * MINUTE)), None);
            spent.add(&meter, NOW.plus_ms(minutes * MINUTE));
        }
        assert_eq!(spent.wait(&meter, NOW.plus_ms(20 * MINUTE)), Some(45 * MINUTE));
        assert_eq!(spent.wait(&meter, NOW.plus_ms(64 * MINUTE)), Some(MINUTE));
        assert_eq!(spent.wait(&meter, NOW.plus_ms(65 * MINUTE)), None);
    }

    #[test]
    fn zero_means_zero_and_a_clock_that_went_back_gives_nothing_free() {
        assert_eq!(Spent::default().wait(&meter(0), NOW), Some(HOUR_MS));
        let mut spent = Spent::default();
        spent.add(&meter(1), NOW.plus_ms(HOUR_MS));
        assert!(spent.wait(&meter(1), NOW).is_some());
    }

    #[test]
    fn codes_that_may_still_come_back_are_no_reason_to_stop() {
        let (mut returned, watch) = (Returned::default(), watch());
        (0..10).for_each(|_| returned.add_sent(watch.window_ms, NOW));
        assert_eq!(returned.too_few(&watch, NOW.plus_ms(10 * MINUTE - 1)), None);
        assert_eq!(returned.too_few(&watch, NOW.plus_ms(10 * MINUTE)), Some((10, 0)));
        assert_eq!(returned.too_few(&watch, NOW.plus_ms(65 * MINUTE)), None, "forgotten");
    }

    #[test]
    fn a_share_at_the_floor_is_enough_and_few_codes_say_nothing() {
        let (mut returned, watch) = (Returned::default(), watch());
        let later = NOW.plus_ms(10 * MINUTE);
        (0..9).for_each(|_| returned.add_sent(watch.window_ms, NOW));
        assert_eq!(returned.too_few(&watch, later), None);
        returned.add_sent(watch.window_ms, NOW);
        returned.add_verified(watch.window_ms, NOW.plus_ms(MINUTE));
        assert_eq!(returned.too_few(&watch, later), Some((10, 1)));
        returned.add_verified(watch.window_ms, NOW);
        assert_eq!(returned.too_few(&watch, later), None);
    }

    proptest::proptest! {
        /// Whenever they are asked for: no window of any position holds more than its maximum.
        #[test]
        fn no_window_ever_holds_more_than_its_maximum(
            steps in proptest::collection::vec(0_u64..15 * MINUTE, 1..120), max in 0_u32..6,
        ) {
            let (mut spent, meter) = (Spent::default(), meter(max));
            let (mut now, mut sent) = (NOW, Vec::new());
            for step in steps {
                now = now.plus_ms(step);
                if spent.wait(&meter, now).is_none() {
                    spent.add(&meter, now);
                    sent.push(now);
                }
                let within = sent.iter().filter(|at| now < at.plus_ms(HOUR_MS)).count();
                proptest::prop_assert!(within <= max as usize);
            }
        }

        /// Whoever waits as long as told may go.
        #[test]
        fn the_wait_that_is_told_is_enough(
            steps in proptest::collection::vec(0_u64..10 * MINUTE, 1..60), max in 1_u32..6,
        ) {
            let (mut spent, meter) = (Spent::default(), meter(max));
            let mut now = NOW;
            for step in steps {
                now = now.plus_ms(step);
                if let Some(wait) = spent.wait(&meter, now) {
                    proptest::prop_assert!(spent.wait(&meter, now.plus_ms(wait - 1)).is_some());
                    now = now.plus_ms(wait);
                }
                proptest::prop_assert_eq!(spent.wait(&meter, now), None);
                spent.add(&meter, now);
            }
        }
    }
}
