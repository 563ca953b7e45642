//! What a run came to, for people: requests by kind and outcome, faults, checks.

use std::collections::BTreeMap;

use crate::check::{Call, Findings, History, Rule};

pub fn print(history: &History, findings: &Findings) {
    println!("\n| requests | sent | outcomes |\n| --- | --- | --- |");
    let plain = |write| history.plain.iter().filter(move |it| it.write == write);
    row("ordinary reads", plain(false).map(|it| &it.call));
    row("ordinary writes", plain(true).map(|it| &it.call));
    row("guarded orders", history.asked.iter().map(|it| &it.call));
    let codes = |right| history.answered.iter().filter(move |it| it.step.is_some() == right);
    row("codes of an authenticator", codes(true).map(|it| &it.call));
    row("made-up codes", codes(false).map(|it| &it.call));
    println!(
        "\nexecuted at the exchange: {}, freezes: {}, audit lines: {}",
        history.executed.len(),
        history.frozen.len(),
        history.noted.len()
    );
    faults(history);
    println!("\n| check | looked at | violated |\n| --- | --- | --- |");
    for rule in Rule::ALL {
        let looked_at = findings.looked_at.get(&rule).copied().unwrap_or(0);
        let violated = findings.violations.iter().filter(|it| it.rule == rule).count();
        println!("| {rule} | {looked_at} | {violated} |");
    }
}

fn row<'a>(what: &str, calls: impl Iterator<Item = &'a Call>) {
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let outcome = call.status.map_or("no answer".to_owned(), |status| status.to_string());
        *outcomes.entry(outcome).or_default() += 1;
    }
    let sent: usize = outcomes.values().sum();
    let outcomes = outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}"));
    println!("| {what} | {sent} | {} |", outcomes.collect::<Vec<_>>().join(", "));
}

fn faults(history: &History) {
    println!("\n| fault | times | in all, s | recovery median, ms | worst |");
    println!("| --- | --- | --- | --- | --- |");
    let mut kinds: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    for fault in &history.faults {
        let (times, ms) = kinds.entry(fault.kind.to_string()).or_default();
        (*times, *ms) = (*times + 1, *ms + fault.until - fault.from);
    }
    for (kind, (times, ms)) in kinds {
        let of_kind = history.recoveries.iter().filter(|it| it.kind.to_string() == kind);
        let mut took: Vec<i64> = of_kind.filter_map(|it| it.took_ms).collect();
        took.sort_unstable();
        let median = took.get(took.len() / 2).map_or("-".to_owned(), ToString::to_string);
        let worst = took.last().map_or("-".to_owned(), ToString::to_string);
        println!("| {kind} | {times} | {:.1} | {median} | {worst} |", ms as f64 / 1_000.0);
    }
}
