//! The generated month: exactly what was planted is found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use stepgate::policy::recorded::Reader;
use stepgate::replay::{self, About, Example, Kind, Report, Setup, Tally, Watcher};
use tempfile::TempDir;

use super::month::{self, Changed, Month, Planted};

/// Every request that differs, by kind.
#[derive(Default)]
struct Found(Mutex<BTreeMap<&'static str, BTreeSet<String>>>);

impl Watcher for Found {
    fn differs(&self, kind: Kind, request: &Example) {
        let mut all = self.0.lock().unwrap();
        assert!(all.entry(kind.word()).or_default().insert(request.request.clone()), "twice");
    }
}

fn replayed(setup: &Setup, log: &PathBuf) -> (BTreeMap<&'static str, BTreeSet<String>>, Report) {
    let found = Found::default();
    let reader = || Reader::new(&[&*setup.live, &*setup.candidate]);
    let logs = std::slice::from_ref(log);
    let tally: Tally = replay::replay(setup, reader(), logs, &found).unwrap();
    let candidate = PathBuf::from("candidate.policy.toml");
    let about = About { setup, candidate, logs, unseen_actions: Vec::new() };
    let report = Report::new(&about, &reader(), &tally);
    (found.0.into_inner().unwrap(), report)
}

fn changed(change: Option<Changed>) -> Setup {
    let live = Arc::new(month::loaded(month::SHIPPED));
    let candidate = change.map_or_else(|| live.clone(), |it| Arc::new(month::loaded(&it.policy())));
    Setup { site: "main".into(), live, candidate, since: None, until: None, places: None }
}

fn same(report: &Report, month: &Month, planted: &Planted, change: Changed) {
    assert_eq!((report.requests, report.lines), (month.requests, month.lines));
    assert_eq!((report.follow_ups, report.prompts.before), (month.follow_ups, month.prompts));
    for row in &report.kinds {
        let of = |all: &BTreeMap<&str, BTreeSet<String>>| {
            all.get(row.kind.word()).map_or(0, |ids| ids.len() as u64)
        };
        assert_eq!(row.requests, of(&planted.ids), "{change:?} {:?}", row.kind);
        assert_eq!(row.accounts, of(&planted.accounts), "{change:?} {:?}", row.kind);
        let usd = planted.usd.get(row.kind.word()).copied().unwrap_or(0);
        assert_eq!((&*row.usd, row.usd_unknown), (&*usd.to_string(), 0), "{change:?}");
    }
    let all = planted.ids.values().map(BTreeSet::len).sum::<usize>() as u64;
    assert_eq!(report.changed, all);
    for sum in [
        report.days.iter().map(|row| row.changed).sum::<u64>(),
        report.countries.iter().map(|row| row.changed).sum(),
        report.actions.iter().map(|row| row.changed).sum(),
    ] {
        assert_eq!(sum, all);
    }
    let forecast = &report.forecast;
    let assumed = (forecast.covered_by_an_answer, forecast.held_again, forecast.not_assumed);
    assert_eq!(assumed, (planted.covered, planted.held_again, 0), "{change:?}");
    let helpless = (forecast.asked_without_a_factor, forecast.never_answered);
    assert_eq!(helpless, (planted.stranded, planted.never_answered), "{change:?}");
}

#[test]
fn a_month_with_one_rule_changed_differs_exactly_where_it_was_made_to() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("month.jsonl");
    let month = month::write(&log, 7, 600, 30_000);
    assert!(month.requests > 25_000, "{}", month.requests);
    for (change, planted) in &month.planted {
        let (found, report) = replayed(&changed(Some(*change)), &log);
        assert!(planted.ids.values().map(BTreeSet::len).sum::<usize>() > 20, "{change:?}");
        for (kind, ids) in &planted.ids {
            let found = found.get(kind).cloned().unwrap_or_default();
            let missed: Vec<_> = ids.difference(&found).take(5).collect();
            let extra: Vec<_> = found.difference(ids).take(5).collect();
            assert!(
                missed.is_empty() && extra.is_empty(),
                "{change:?} {kind}: {missed:?} {extra:?}"
            );
        }
        assert_eq!(found.keys().collect::<Vec<_>>(), planted.ids.keys().collect::<Vec<_>>());
        same(&report, &month, planted, *change);
    }
    let (found, report) = replayed(&changed(None), &log);
    assert!(found.is_empty() && report.is_same(), "{found:?}");
    assert_eq!(report.requests, month.requests);
    assert!(report.headline.starts_with("Nothing would change"), "{}", report.headline);
    let mild = "answers, holds or accounts were beyond";
    assert!(report.caveats.iter().all(|line| !line.contains(mild)), "{:?}", report.caveats);
}
