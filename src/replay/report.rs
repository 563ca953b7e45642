//! From counts to what a risk officer reads: one sentence, the differences by who, where and which rule, the caveats.
//!
//! Never rounds a count. Invariant: every figure of the terminal, of the JSON and of the page comes from here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::change::{Counts, Effect, Kind};
use super::judge::Setup;
use super::tally::{Example, Part, Tally};
use crate::policy::number;
use crate::policy::recorded::Reader;
use crate::types::UnixMs;

/// What the report is about.
pub struct About<'a> {
    pub setup: &'a Setup,
    pub candidate: PathBuf,
    pub logs: &'a [PathBuf],
    /// Actions that the candidate guards and the site's policy and packs do not: their requests left no record.
    pub unseen_actions: Vec<String>,
}

/// A count by kind, those of nothing left out.
type ByKind = BTreeMap<&'static str, u64>;

#[derive(Debug, Serialize)]
pub struct Report {
    /// What would change, in one sentence.
    pub headline: String,
    pub site: String,
    pub policy: PolicyNamed,
    pub logs: Vec<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub days_covered: u64,
    pub lines: u64,
    pub requests: u64,
    pub accounts: u64,
    pub accounts_affected: u64,
    pub accounts_affected_percent: f64,
    pub changed: u64,
    pub changed_percent: f64,
    pub follow_ups: u64,
    pub follow_ups_changed: u64,
    pub prompts: Prompts,
    pub matrix: Vec<MatrixRow>,
    pub kinds: Vec<KindRow>,
    pub rules: Vec<RuleRow>,
    pub countries: Vec<PartRow>,
    pub actions: Vec<PartRow>,
    pub top_accounts: Vec<AccountRow>,
    pub days: Vec<DayRow>,
    pub forecast: ForecastRow,
    /// What limits how far this can be trusted.
    pub caveats: Vec<String>,
    pub assumptions: Vec<String>,
    pub broken: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct PolicyNamed {
    pub file: String,
    pub version: String,
    pub site_version: String,
    /// The site's own policy was replayed.
    pub is_own: bool,
}

#[derive(Debug, Serialize)]
pub struct Prompts {
    pub before: u64,
    pub after: u64,
    pub per_day_before: f64,
    pub per_day_after: f64,
}

#[derive(Debug, Serialize)]
pub struct MatrixRow {
    pub recorded: &'static str,
    pub candidate: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
pub struct KindRow {
    pub kind: Kind,
    pub label: &'static str,
    pub stricter: bool,
    pub requests: u64,
    pub requests_percent: f64,
    pub accounts: u64,
    pub accounts_percent: f64,
    pub usd: String,
    pub usd_unknown: u64,
    pub examples: Vec<Example>,
}

#[derive(Debug, Serialize)]
pub struct RuleRow {
    pub rule: String,
    /// `candidate` for what is stricter, `recorded` for what is not.
    pub of: &'static str,
    pub kind: Kind,
    pub label: &'static str,
    pub requests: u64,
}

#[derive(Debug, Serialize)]
pub struct PartRow {
    pub name: String,
    pub requests: u64,
    pub changed: u64,
    pub kinds: ByKind,
}

#[derive(Debug, Serialize)]
pub struct AccountRow {
    pub account: String,
    pub stricter: u64,
    pub changed: u64,
    pub kinds: ByKind,
}

#[derive(Debug, Serialize)]
pub struct DayRow {
    pub day: String,
    pub requests: u64,
    pub prompts_before: u64,
    pub prompts_after: u64,
    pub changed: u64,
    pub kinds: ByKind,
}

#[derive(Debug, Serialize)]
pub struct ForecastRow {
    pub covered_by_an_answer: u64,
    pub held_again: u64,
    pub passed_after_a_hold: u64,
    pub not_assumed: u64,
    pub asked_without_a_factor: u64,
    pub accounts_without_a_factor: u64,
    pub never_answered: u64,
}

impl Report {
    pub fn new(about: &About<'_>, reader: &Reader, tally: &Tally) -> Self {
        let accounts = tally.all_accounts.len() as u64;
        let affected = tally.accounts.len() as u64;
        let days_covered = days(tally);
        let per_day = |count: u64| tenth(count as f64 / days_covered.max(1) as f64);
        let setup = about.setup;
        let mut report = Self {
            headline: String::new(),
            site: setup.site.to_string(),
            policy: PolicyNamed {
                file: about.candidate.display().to_string(),
                version: setup.candidate.version().to_string(),
                site_version: setup.live.version().to_string(),
                is_own: setup.is_own(),
            },
            logs: about.logs.iter().map(|log| log.display().to_string()).collect(),
            from: tally.first.map(|time| time.to_string()),
            to: tally.last.map(|time| time.to_string()),
            days_covered,
            lines: tally.lines,
            requests: tally.requests,
            accounts,
            accounts_affected: affected,
            accounts_affected_percent: percent(affected, accounts),
            changed: tally.changes.total(),
            changed_percent: percent(tally.changes.total(), questions(tally)),
            follow_ups: tally.follow_ups,
            follow_ups_changed: tally.follow_ups_changed,
            prompts: Prompts {
                before: tally.prompts_before,
                after: tally.prompts_after,
                per_day_before: per_day(tally.prompts_before),
                per_day_after: per_day(tally.prompts_after),
            },
            matrix: matrix(tally),
            kinds: kinds(tally),
            rules: rules(tally),
            countries: parts(&tally.countries),
            actions: parts(&tally.actions),
            top_accounts: top_accounts(tally),
            days: day_rows(tally),
            forecast: ForecastRow {
                covered_by_an_answer: tally.covered,
                held_again: tally.within_hold,
                passed_after_a_hold: tally.after_hold,
                not_assumed: tally.dropped,
                asked_without_a_factor: tally.stranded,
                accounts_without_a_factor: tally.stranded_accounts.len() as u64,
                never_answered: tally.unanswered.len() as u64,
            },
            caveats: Vec::new(),
            assumptions: assumptions(setup),
            broken: broken(about, tally),
        };
        report.headline = report.sentence();
        report.caveats = caveats(about, reader, tally);
        report
    }

    /// Whether nothing at all would be decided otherwise.
    pub fn is_same(&self) -> bool {
        self.changed == 0 && self.follow_ups_changed == 0
    }

    fn sentence(&self) -> String {
        let span = match self.days_covered {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        if self.requests == 0 {
            return "No request of this site in the log could be decided again.".to_owned();
        }
        if self.is_same() {
            let all = grouped(self.requests);
            return format!(
                "Nothing would change: all {all} requests of {span} come out as recorded."
            );
        }
        let mut said: Vec<String> = Vec::new();
        for row in self.kinds.iter().filter(|row| row.requests > 0) {
            let (who, times) = (people(row.accounts), count(row.requests, "time", "times"));
            said.push(match row.kind {
                Kind::NewlyAsked => format!(
                    "{who} would be asked {} more {}",
                    grouped(row.requests),
                    plural(row.requests, "time", "times")
                ),
                Kind::AskedForMore => format!("{who} would be asked for stronger factors {times}"),
                Kind::NewlyHeld => format!("{who} would be held {times}"),
                Kind::NewlyDenied => format!("{who} would be denied {times}"),
                Kind::NewlyFrozen => format!("{who} would be frozen {times}"),
                Kind::AskedForLess => format!("{who} would be asked for weaker factors {times}"),
                Kind::NoLongerAsked => format!("{who} would no longer be asked, {times}"),
                Kind::NoLongerHeld => format!("{who} would no longer be held, {times}"),
                Kind::NoLongerDenied => format!("{who} would no longer be denied, {times}"),
                Kind::NoLongerFrozen => format!("{who} would no longer be frozen, {times}"),
            });
        }
        if said.is_empty() {
            said.push(format!(
                "only requests that used an approval differ, {}",
                count(self.follow_ups_changed, "time", "times")
            ));
        }
        let sentence = format!("In {span}, {}.", said.join("; "));
        sentence
    }
}

/// First to last day of the records, both counted.
fn days(tally: &Tally) -> u64 {
    let day = |time: UnixMs| time.0.div_euclid(86_400_000);
    match (tally.first, tally.last) {
        (Some(first), Some(last)) => u64::try_from(day(last) - day(first) + 1).unwrap_or(0),
        _ => 0,
    }
}

fn matrix(tally: &Tally) -> Vec<MatrixRow> {
    let rows = Effect::ALL.into_iter().zip(tally.matrix);
    rows.map(|(recorded, row)| MatrixRow {
        recorded: recorded.word(),
        candidate: Effect::ALL.into_iter().map(Effect::word).zip(row).collect(),
    })
    .collect()
}

/// What the figures of differences are part of: a request that used an approval is counted with the one that was asked.
fn questions(tally: &Tally) -> u64 {
    tally.requests.saturating_sub(tally.follow_ups)
}

fn kinds(tally: &Tally) -> Vec<KindRow> {
    let (accounts, requests) = (tally.all_accounts.len() as u64, questions(tally));
    let rows = Kind::ALL.into_iter().zip(&tally.kinds);
    rows.map(|(kind, row)| {
        let met = tally.accounts.values().filter(|counts| counts.of(kind) > 0).count() as u64;
        KindRow {
            kind,
            label: kind.label(),
            stricter: kind.is_stricter(),
            requests: tally.changes.of(kind),
            requests_percent: percent(tally.changes.of(kind), requests),
            accounts: met,
            accounts_percent: percent(met, accounts),
            usd: whole(&number::plain(&row.usd)).to_owned(),
            usd_unknown: row.usd_unknown,
            examples: row.examples.clone(),
        }
    })
    .collect()
}

fn rules(tally: &Tally) -> Vec<RuleRow> {
    let mut rows: Vec<RuleRow> = tally
        .rules
        .iter()
        .map(|((kind, rule), requests)| RuleRow {
            rule: rule.to_string(),
            of: match kind.is_stricter() {
                true => "candidate",
                false => "recorded",
            },
            kind: *kind,
            label: kind.label(),
            requests: *requests,
        })
        .collect();
    rows.sort_by(|a, b| b.requests.cmp(&a.requests).then(a.rule.cmp(&b.rule)));
    rows
}

fn parts(parts: &BTreeMap<std::sync::Arc<str>, Part>) -> Vec<PartRow> {
    let mut rows: Vec<PartRow> = parts
        .iter()
        .map(|(name, part)| PartRow {
            name: name.to_string(),
            requests: part.requests,
            changed: part.changes.total(),
            kinds: by_kind(&part.changes),
        })
        .collect();
    rows.sort_by(|a, b| {
        let order = b.changed.cmp(&a.changed).then(b.requests.cmp(&a.requests));
        order.then(a.name.cmp(&b.name))
    });
    rows
}

/// Those who would meet most, then those with the most differences.
fn top_accounts(tally: &Tally) -> Vec<AccountRow> {
    let mut all: Vec<_> = tally.accounts.iter().collect();
    all.sort_by(|(a, x), (b, y)| {
        let order = y.stricter().cmp(&x.stricter()).then(y.total().cmp(&x.total()));
        order.then(a.cmp(b))
    });
    let row = |(name, counts): (&std::sync::Arc<str>, &Counts)| AccountRow {
        account: name.to_string(),
        stricter: counts.stricter(),
        changed: counts.total(),
        kinds: by_kind(counts),
    };
    all.into_iter().take(TOP_ACCOUNTS).map(row).collect()
}

const TOP_ACCOUNTS: usize = 10;

fn day_rows(tally: &Tally) -> Vec<DayRow> {
    let row = |(day, row): (&i64, &super::tally::Day)| DayRow {
        day: date(*day),
        requests: row.requests,
        prompts_before: row.prompts_before,
        prompts_after: row.prompts_after,
        changed: row.changes.total(),
        kinds: by_kind(&row.changes),
    };
    tally.days.iter().map(row).collect()
}

fn date(day: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(day.saturating_mul(86_400_000));
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d").to_string()
}

fn by_kind(counts: &Counts) -> ByKind {
    let all = Kind::ALL.into_iter().map(|kind| (kind.word(), counts.of(kind)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn broken(about: &About<'_>, tally: &Tally) -> Vec<String> {
    let name = |file: usize| {
        about.logs.get(file).map_or_else(String::new, |log| log.display().to_string())
    };
    let lines = tally.broken_at.iter();
    lines.map(|(file, line, why)| format!("{}:{line}: {why}", name(*file))).collect()
}

fn caveats(about: &About<'_>, reader: &Reader, tally: &Tally) -> Vec<String> {
    let mut said = Vec::new();
    // What came through a pipe is in some file, whose name is not known here.
    let named = |log: &PathBuf| match log.as_os_str() == "-" {
        true => "FILE".to_owned(),
        false => log.display().to_string(),
    };
    let logs = about.logs.iter().map(named).collect::<Vec<_>>().join(" ");
    said.push(format!(
        "Whether the log is whole and unchanged was not checked; `stepgate audit verify {logs}` does."
    ));
    let mut tell = |number: u64, text: &str| {
        if number > 0 {
            said.push(text.replace("{n}", &grouped(number)));
        }
    };
    tell(
        tally.broken,
        "{n} lines are no audit records and were left out; they are listed below. What they held is not in these figures.",
    );
    tell(
        tally.torn.len() as u64,
        "{n} log ends in the middle of a line, as a log does that is being written; that line was left out.",
    );
    tell(
        tally.without_facts,
        "{n} requests were decided but their facts are not in the log; they could not be decided again.",
    );
    for (fact, (records, differ)) in &tally.unsaid {
        let text = format!(
            "{{n}} records do not say `{}`, which counts as unreadable and makes rules stricter; {} of them come out otherwise.",
            reader.name(*fact),
            grouped(*differ)
        );
        tell(*records, &text);
    }
    tell(
        tally.untold,
        "{n} elements of long batches are not in the record in full; their batches were decided on the others.",
    );
    tell(
        tally.terms_unknown,
        "{n} requests are asked for a code under both policies, and what was asked for then is not known, because today's policy of the site does not decide them as recorded. Whether they would be asked for more is not told.",
    );
    tell(
        tally.placed_anew,
        "{n} requests came from another place by today's databases and lists than by those of their time. What was measured against the old country or network (`geo.new_country`, `geo.country_age`, `geo.distance_km`, `geo.speed_kmh`; `geo.new_asn`) counts as unreadable there and makes rules stricter.",
    );
    if about.setup.is_own() {
        tell(
            tally.changes.total() + tally.follow_ups_changed,
            "{n} requests come out otherwise under the site's own policy. If it made these records, that should be none: look at the examples, and at which policy versions made the log.",
        );
    } else {
        tell(
            tally.own_differ,
            "{n} of the requests that the site's policy of today had decided come out otherwise under it now: take as many differences with a grain of salt.",
        );
    }
    let mut versions: Vec<_> = tally.versions.iter().collect();
    versions.sort_by(|a, b| b.1.cmp(a.1));
    let live = about.setup.live.version().as_str();
    let foreign: u64 = versions.iter().filter(|(name, _)| &***name != live).map(|(_, n)| **n).sum();
    if foreign > 0 {
        let named = versions.iter().take(5).map(|(name, n)| format!("{name} ({})", grouped(**n)));
        let text = format!(
            "{{n}} requests were decided by another version than the site's policy of today ({live}): {}.",
            named.collect::<Vec<_>>().join(", ")
        );
        tell(foreign, &text);
    }
    tell(
        tally.dropped,
        "{n} answers, holds or accounts were beyond what is kept in memory; after that, requests count as asked or held each time.",
    );
    tell(
        tally.stranded,
        "{n} requests would be asked of accounts that have enrolled no factor which the rules take: these customers could not go on. A phone number that only their session's token names is not seen here.",
    );
    tell(
        tally.unanswered.len() as u64,
        "{n} questions that would no longer be asked were never answered in this log: whoever was asked would now pass.",
    );
    if !about.unseen_actions.is_empty() {
        said.push(format!(
            "The policy guards actions that were not guarded when the log was written and left no record: {}. What it would do to them is not in these figures; try it with `shadow = true`.",
            about.unseen_actions.join(", ")
        ));
    }
    said.push(
        "Ordinary traffic that passes leaves no record: of a rule for every action, only what guarded actions and refusals show of it is counted."
            .to_owned(),
    );
    said
}

fn assumptions(setup: &Setup) -> Vec<String> {
    let facts = match setup.places {
        None => "Facts are those of the record.",
        Some(_) => {
            "Country, city and network were looked up in today's databases and lists; all other facts are those of the record."
        }
    };
    std::iter::once(facts).chain(ASSUMPTIONS).map(str::to_owned).collect()
}

const ASSUMPTIONS: [&str; 6] = [
    "A question that stays unanswered, or a place that does not become known, changes no later fact.",
    "An approval with `valid` that would be newly asked is asked once for each credential, rule and place, and answered; until it runs out (24 h if valid for the session) what it covers counts as allowed.",
    "A hold that would newly begin runs from its first request for this account, rule and destination; attempts before its end are held again, later ones pass it.",
    "A request that used an approval is counted with the one that was asked, not a second time.",
    "A freeze is counted at each request that a rule would freeze; what an operator does about it is not followed.",
    "A difference that several rules make is counted with each of them.",
];

pub fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 * 10_000.0 / whole as f64).round() / 100.0,
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Without cents.
fn whole(number: &str) -> &str {
    number.split('.').next().unwrap_or(number)
}

fn people(accounts: u64) -> String {
    match accounts {
        // Requests of nobody: a public page.
        0 => "visitors without an account".to_owned(),
        accounts => count(accounts, "customer", "customers"),
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), plural(number, one, many))
}

fn plural<'w>(number: u64, one: &'w str, many: &'w str) -> &'w str {
    if number == 1 { one } else { many }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    grouped_digits(&number.to_string())
}

pub fn grouped_digits(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_in_groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(percent(1, 3), 33.33);
        assert_eq!(percent(0, 0), 0.0);
        assert_eq!(date(20_000), "2024-10-04");
    }
}
