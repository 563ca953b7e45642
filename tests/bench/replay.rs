//! How long `stepgate replay` takes over a month of a million decided requests, and what it holds in memory meanwhile.
//!
//! Fails if what differs under a changed rule is not exactly what was planted; how fast it is, is measured and not
//! judged. The month is written into a temporary folder (about 3 GB) and removed. `REQUESTS=100000` makes a smaller one;
//! `KEEP=DIR` keeps the log and a page of each change there.

#[path = "../kit/mod.rs"]
mod kit;
#[path = "../kit/month.rs"]
mod month;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kit::{Kit, Options};
use month::{Changed, Planted};
use serde_json::Value;
use tempfile::TempDir;

const STEPGATE: &str = env!("CARGO_BIN_EXE_stepgate");
const ACCOUNTS: usize = 5_000;

fn main() {
    let requests = std::env::var("REQUESTS").ok().and_then(|text| text.parse().ok());
    let temporary = TempDir::new().unwrap();
    let dir = match std::env::var("KEEP") {
        Ok(kept) => PathBuf::from(kept),
        Err(_) => temporary.path().to_owned(),
    };
    let upstream = ([127, 0, 0, 1], 9).into();
    let (policy, pack) = (month::SHIPPED, month::PACK);
    let kit =
        Kit::write(&dir, &Options { upstream, policy, pack, extra: "", workers: 1, sms: false });
    let begun = Instant::now();
    let log = kit.dir.join("month.jsonl");
    let month = month::write(&log, 1, ACCOUNTS, requests.unwrap_or(1_000_000));
    let bytes = std::fs::metadata(&log).unwrap().len();
    println!(
        "{} decided requests of {} accounts in {} lines, {:.2} GB, written in {:.0} s",
        month.requests,
        month.accounts,
        month.lines,
        bytes as f64 / 1e9,
        begun.elapsed().as_secs_f64()
    );
    println!("| policy | requests that differ | planted | s | peak RSS, MB |");
    println!("| --- | --- | --- | --- | --- |");
    let (own, seconds, megabytes) = replay(&kit.dir, None);
    println!("| the site's own | {} | 0 | {seconds:.1} | {megabytes} |", own["changed"]);
    assert_eq!((&own["changed"], &own["follow_ups_changed"]), (&0.into(), &0.into()));
    assert_eq!(own["requests"], month.requests);
    for (change, planted) in &month.planted {
        let (report, seconds, megabytes) = replay(&kit.dir, Some(*change));
        let all: usize = planted.ids.values().map(std::collections::BTreeSet::len).sum();
        println!("| {change:?} | {} | {all} | {seconds:.1} | {megabytes} |", report["changed"]);
        same(&report, planted, *change);
    }
}

/// The report, the seconds it took, and the most memory that it held.
fn replay(dir: &Path, change: Option<Changed>) -> (Value, f64, u64) {
    let mut command = Command::new(STEPGATE);
    command.args(["replay", "-c", "stepgate.toml", "--audit", "month.jsonl", "--json"]);
    if let Some(change) = change {
        let name = format!("{change:?}.policy.toml");
        std::fs::write(dir.join(&name), change.policy()).unwrap();
        command.args(["--policy", &name, "--html", &format!("{change:?}.html")]);
    }
    let begun = Instant::now();
    let mut child = command.current_dir(dir).stdout(Stdio::piped()).spawn().unwrap();
    let watched = peak_mb(child.id());
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    child.wait().unwrap();
    let report = serde_json::from_slice(&out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    (report, seconds, watched.join().unwrap())
}

/// Looks at the peak that the kernel keeps for a process, in MB, until it has ended.
fn peak_mb(process: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        loop {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kb = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
            // One that has ended has no memory any more, even while it is waited for.
            let Some(kb) = kb else { return peak };
            peak = peak.max(kb / 1024);
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

fn same(report: &Value, planted: &Planted, change: Changed) {
    let rows = report["kinds"].as_array().unwrap().iter();
    let found: BTreeMap<&str, (u64, u64, String)> = rows
        .map(|row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            let usd = row["usd"].as_str().unwrap().to_owned();
            (row["kind"].as_str().unwrap(), (number("requests"), number("accounts"), usd))
        })
        .filter(|(_, (requests, ..))| *requests > 0)
        .collect();
    let wanted: BTreeMap<&str, (u64, u64, String)> = planted
        .ids
        .iter()
        .map(|(kind, ids)| {
            let accounts = planted.accounts[kind].len() as u64;
            (*kind, (ids.len() as u64, accounts, planted.usd[kind].to_string()))
        })
        .collect();
    assert_eq!(found, wanted, "{change:?}");
    let forecast = &report["forecast"];
    let told = ["covered_by_an_answer", "held_again", "asked_without_a_factor", "never_answered"]
        .map(|name| forecast[name].as_u64().unwrap());
    let known = [planted.covered, planted.held_again, planted.stranded, planted.never_answered];
    assert_eq!(told, known, "{change:?}");
}
