//! `stepgate routes`: the writes of real traffic that no action names, for whoever keeps the packs.
//!
//! Never says that there are no others: a read that changes something looks like any read. Invariant: what the gateway
//! saw is shown in full, the most frequent first.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::operate::Operator;
use crate::admin::RoutesSeen;
use crate::audit::{Event, Record};
use crate::routes::{RouteSeen, summed};
use crate::types::UnixMs;

/// Asks the running gateway, or reads audit logs if any are given.
///
/// # Errors
/// If the gateway does not answer, or a log cannot be read.
pub fn run(config: &Path, logs: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let (source, routes) = if logs.is_empty() {
        let seen: RoutesSeen = serde_json::from_str(&Operator::at(config)?.routes()?)
            .context("the gateway's answer cannot be read")?;
        (format!("the running gateway since {}", time(seen.since)), seen.routes)
    } else {
        let mut rows = Vec::new();
        for log in logs {
            read(log, &mut rows)?;
        }
        ("the audit log".to_owned(), summed(rows))
    };
    if as_json {
        let rows: Vec<_> = routes.iter().map(row).collect::<Result<_, _>>()?;
        say!("{}", serde_json::to_string_pretty(&json!({ "routes": rows }))?);
    } else {
        say!("{}", shown(&source, &routes).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn row(route: &RouteSeen) -> serde_json::Result<serde_json::Value> {
    let mut row = serde_json::to_value(route)?;
    row["stub"] = json!(route.stub());
    Ok(row)
}

/// The rows that one log holds. Other records are passed over, and so is a last line that is cut off.
fn read(log: &Path, rows: &mut Vec<RouteSeen>) -> anyhow::Result<()> {
    let open = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    for (number, line) in BufReader::new(open).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", log.display()))?;
        if !line.contains(r#""event":"route_seen""#) || !line.ends_with('}') {
            continue;
        }
        let record: Record = serde_json::from_str(&line)
            .with_context(|| format!("{}:{}: not a record", log.display(), number + 1))?;
        match (record.event, record.route) {
            (Event::RouteSeen, Some(route)) => rows.push(route),
            (Event::RouteSeen, None) => bail!("{}:{}: no route", log.display(), number + 1),
            _ => {}
        }
    }
    Ok(())
}

/// The table, and below it what can be pasted into a pack.
fn shown(source: &str, routes: &[RouteSeen]) -> String {
    let mut out = format!("Writes that no action names, from {source}\n\n");
    if routes.is_empty() {
        return out + "none\n\n" + READS;
    }
    let head = HEAD.map(str::to_owned);
    let rows: Vec<[String; 7]> = [head].into_iter().chain(routes.iter().map(cells)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let mut line = format!("{:>width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            line += &format!("  {cell:<width$}");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out += "\nTo give one a name, paste it into the site's pack and say what is shown of it:\n\n";
    for stub in routes.iter().filter_map(RouteSeen::stub) {
        out += &stub;
        out.push('\n');
    }
    out + READS
}

fn cells(route: &RouteSeen) -> [String; 7] {
    let below = if route.sensitive { " (sensitive)" } else { "" };
    let ended = [("passed", route.passed), ("asked", route.asked), ("refused", route.refused)];
    let ended = ended.iter().filter(|(_, count)| *count > 0);
    let ended: Vec<String> = ended.map(|(word, count)| format!("{word} {count}")).collect();
    let answers: Vec<String> =
        route.answers.iter().map(|(class, count)| format!("{class} {count}")).collect();
    [
        route.count.to_string(),
        format!("{}{below}", route.verdict.word()),
        route.site.as_str().to_owned(),
        format!("{} {}", route.method, route.path),
        ended.join(", "),
        answers.join(", "),
        time(route.last),
    ]
}

fn time(at: UnixMs) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string() + " UTC"
}

const HEAD: [&str; 7] = ["COUNT", "VERDICT", "SITE", "ROUTE", "ENDED", "ANSWERS", "LAST SEEN"];
const READS: &str =
    "Only writes are listed: a GET that changes something looks like any other read.\n";
