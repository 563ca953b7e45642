//! The report in a terminal.
//!
//! Never trusts a name: an account may be called anything, so what is no plain character is shown escaped. Invariant:
//! what a table leaves out is said below it.

use super::report::{PartRow, Report, grouped, grouped_digits};

/// Rows of a table of countries, actions or rules.
const ROWS_MAX: usize = 12;

/// The whole report.
pub fn shown(report: &Report) -> String {
    let mut out = format!("{}\n\n", report.headline);
    let policy = &report.policy;
    let own = if policy.is_own { ", the site's own: a self-check" } else { "" };
    out += &format!("site       {}\n", report.site);
    out += &format!("policy     {} ({}{own})\n", policy.file, policy.version);
    if let (Some(from), Some(to)) = (&report.from, &report.to) {
        out += &format!("records    {from} to {to}\n");
    }
    out += &format!(
        "read       {} lines, {} requests decided again, {} of them using an approval\n",
        grouped(report.lines),
        grouped(report.requests),
        grouped(report.follow_ups)
    );
    out += &format!(
        "differ     {} requests ({} % of those that used none), {} of {} accounts ({} %)\n",
        grouped(report.changed),
        report.changed_percent,
        grouped(report.accounts_affected),
        grouped(report.accounts),
        report.accounts_affected_percent
    );
    let prompts = &report.prompts;
    out += &format!(
        "questions  {} before, {} after ({} and {} a day)\n",
        grouped(prompts.before),
        grouped(prompts.after),
        prompts.per_day_before,
        prompts.per_day_after
    );
    out += &matrix(report);
    out += &kinds(report);
    out += &rules(report);
    out += &parts("By country", &report.countries);
    out += &parts("By action", &report.actions);
    out += &accounts(report);
    out += &days(report);
    out += &examples(report);
    let forecast = &report.forecast;
    out += "\nAssumed\n";
    out += &format!(
        "  {} requests covered by an answer, {} held again, {} passed after a hold\n",
        grouped(forecast.covered_by_an_answer),
        grouped(forecast.held_again),
        grouped(forecast.passed_after_a_hold)
    );
    report.assumptions.iter().for_each(|line| out += &format!("  - {line}\n"));
    out += "\nMind\n";
    report.caveats.iter().for_each(|line| out += &format!("  - {line}\n"));
    if !report.broken.is_empty() {
        out += "\nLeft out\n";
        report.broken.iter().for_each(|line| out += &format!("  {}\n", plain(line)));
    }
    out
}

fn matrix(report: &Report) -> String {
    let words: Vec<String> =
        report.matrix.iter().map(|row| format!("→ {}", row.recorded)).collect();
    let head = std::iter::once("recorded".to_owned()).chain(words).collect();
    let rows = report.matrix.iter().map(|row| {
        let cells = report.matrix.iter().map(|column| {
            match row.candidate.get(column.recorded).copied().unwrap_or(0) {
                0 => "·".to_owned(),
                count => grouped(count),
            }
        });
        std::iter::once(row.recorded.to_owned()).chain(cells).collect()
    });
    table("Verdicts, recorded → candidate", std::iter::once(head).chain(rows).collect(), 0)
}

fn kinds(report: &Report) -> String {
    let head = ["", "REQUESTS", "%", "ACCOUNTS", "%", "USD", "WORTH UNKNOWN"];
    let rows = report.kinds.iter().filter(|row| row.requests > 0).map(|row| {
        vec![
            row.label.to_owned(),
            grouped(row.requests),
            row.requests_percent.to_string(),
            grouped(row.accounts),
            row.accounts_percent.to_string(),
            grouped_digits(&row.usd),
            grouped(row.usd_unknown),
        ]
    });
    headed("What would change", &head, rows.collect(), 0)
}

fn rules(report: &Report) -> String {
    let rows = report.rules.iter().take(ROWS_MAX).map(|row| {
        let of = if row.of == "candidate" { "of this policy" } else { "of the record" };
        vec![plain(&row.rule), row.label.to_owned(), of.to_owned(), grouped(row.requests)]
    });
    let left_out = report.rules.len().saturating_sub(ROWS_MAX);
    headed("By rule", &["RULE", "", "", "REQUESTS"], rows.collect(), left_out)
}

fn parts(title: &str, parts: &[PartRow]) -> String {
    let changed: Vec<&PartRow> = parts.iter().filter(|part| part.changed > 0).collect();
    let rows = changed.iter().take(ROWS_MAX).map(|part| {
        let kinds = kinds_of(&part.kinds);
        vec![plain(&part.name), grouped(part.changed), grouped(part.requests), kinds]
    });
    let left_out = changed.len().saturating_sub(ROWS_MAX);
    headed(title, &["", "DIFFER", "OF", ""], rows.collect(), left_out)
}

fn accounts(report: &Report) -> String {
    let rows = report
        .top_accounts
        .iter()
        .map(|row| vec![plain(&row.account), grouped(row.changed), kinds_of(&row.kinds)]);
    let shown = report.top_accounts.len() as u64;
    let left_out = usize::try_from(report.accounts_affected.saturating_sub(shown)).unwrap_or(0);
    headed("Most affected accounts", &["ACCOUNT", "DIFFER", ""], rows.collect(), left_out)
}

fn days(report: &Report) -> String {
    if report.changed == 0 {
        return String::new();
    }
    let rows = report.days.iter().map(|day| {
        vec![
            day.day.clone(),
            grouped(day.requests),
            grouped(day.prompts_before),
            grouped(day.prompts_after),
            grouped(day.changed),
            kinds_of(&day.kinds),
        ]
    });
    let head = ["DAY", "REQUESTS", "QUESTIONS", "→ AFTER", "DIFFER", ""];
    headed("By day (UTC)", &head, rows.collect(), 0)
}

fn examples(report: &Report) -> String {
    let mut out = String::new();
    for row in report.kinds.iter().filter(|row| !row.examples.is_empty()) {
        out += &format!("\nExamples, {} (`stepgate explain` tells more of each)\n", row.label);
        for example in &row.examples {
            out += &format!(
                "  {}  {}  {}  {}  {}  {}\n",
                plain(&example.request),
                example.time,
                plain(&example.account),
                plain(&example.action),
                plain(&example.country),
                plain(&example.rules.join(", "))
            );
        }
    }
    out
}

fn kinds_of(kinds: &std::collections::BTreeMap<&'static str, u64>) -> String {
    let said =
        kinds.iter().map(|(word, count)| format!("{} {}", grouped(*count), word.replace('_', " ")));
    said.collect::<Vec<_>>().join(", ")
}

fn headed(title: &str, head: &[&str], rows: Vec<Vec<String>>, left_out: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    table(title, std::iter::once(head).chain(rows).collect(), left_out)
}

/// Numbers to the right, names to the left.
fn table(title: &str, rows: Vec<Vec<String>>, left_out: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
    let is_number = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || ",.·".contains(c))
    };
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|at| {
            let width = rows.iter().map(|row| cell(row, at).chars().count()).max().unwrap_or(0);
            (width, rows.iter().skip(1).all(|row| is_number(&cell(row, at))))
        })
        .collect();
    let mut out = format!("\n{title}\n");
    for row in &rows {
        let mut line = String::new();
        for (at, (width, right)) in layout.iter().enumerate() {
            let text = cell(row, at);
            match right {
                true => line += &format!("  {text:>width$}"),
                false => line += &format!("  {text:<width$}"),
            }
        }
        out += line.trim_end();
        out.push('\n');
    }
    if left_out > 0 {
        out += &format!("  and {} more\n", grouped(left_out as u64));
    }
    out
}

/// A name with its control and look-alike characters made visible: a terminal obeys some of them.
fn plain(text: &str) -> String {
    let shown = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' || c == '…';
    text.chars()
        .map(|c| if shown(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}
