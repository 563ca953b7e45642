//! What the command makes of logs as they are found: torn, broken, rotated, of several sites; and how the page looks.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::month::{self, Changed, Month};
use crate::binary::{run, said};
use crate::kit::{Kit, Options};

/// A kit with a small month in its log.
struct Desk {
    dir: TempDir,
    month: Month,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let upstream = ([127, 0, 0, 1], 9).into();
        let (policy, pack) = (month::SHIPPED, month::PACK);
        let options = Options { upstream, policy, pack, extra: "", workers: 1, sms: false };
        let kit = Kit::write(dir.path(), &options);
        let month = month::write(&kit.dir.join("log.jsonl"), 3, 60, 1_500);
        std::fs::write(dir.path().join("next.toml"), Changed::NoTransferRule.policy()).unwrap();
        Self { dir, month }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("log.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(self.path(), &[&["replay", "-c", "stepgate.toml"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_broken_line_is_named_and_the_rest_is_read() {
    let desk = Desk::new();
    let mut lines = desk.lines();
    let whole = desk.json(&["--audit", "log.jsonl"]);
    assert_eq!(whole["requests"].as_u64(), Some(desk.month.requests));

    lines.insert(4, "{\"time\":\"2026-11-01T00:00:00.000Z\",\"event\":".to_owned());
    lines.insert(9, String::new());
    let torn = format!("{}\n{{\"seq\":1,\"prev\":\"00", lines.join("\n"));
    desk.put("broken.jsonl", &torn);
    let report = desk.json(&["--audit", "broken.jsonl"]);
    assert_eq!(report["requests"], whole["requests"]);
    let broken: Vec<&str> =
        report["broken"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(
        broken[0].starts_with("broken.jsonl:5: ") && broken[1].starts_with("broken.jsonl:10: ")
    );
    let caveats = report["caveats"].to_string();
    assert!(caveats.contains("2 lines are no audit records"), "{caveats}");
    assert!(caveats.contains("1 log ends in the middle of a line"), "{caveats}");
    assert!(caveats.contains("stepgate audit verify broken.jsonl"), "{caveats}");
}

#[test]
fn what_is_no_log_or_no_policy_is_refused() {
    let desk = Desk::new();
    desk.put("typo.toml", "version = 1\n[[rule]]\nid = \"r\"\non = \"withdrawl\"\ndeny = true\n");
    for (arguments, why) in [
        (vec!["--audit", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (vec!["--audit", "next.toml"], "no line of it is an audit record"),
        (vec!["--audit", "log.jsonl", "--policy", "typo.toml"], "typo.toml:4:"),
        (vec!["--audit", "log.jsonl", "--site", "sister"], "no site is called `sister`"),
        (vec!["--audit", "log.jsonl", "--since", "yesterday"], "`yesterday` is no time"),
    ] {
        let output = desk.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).contains(why), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn rotated_logs_and_a_span_of_days_add_up() {
    let desk = Desk::new();
    let lines = desk.lines();
    let (head, tail) = lines.split_at(lines.len() / 2);
    desk.put("log.1", &(head.join("\n") + "\n"));
    desk.put("log.2", &(tail.join("\n") + "\n"));
    let policy = ["--policy", "next.toml"];
    let whole = desk.json(&[&["--audit", "log.jsonl"], &policy[..]].concat());
    let parts = desk.json(&[&["--audit", "log.1", "log.2"], &policy[..]].concat());
    assert!(whole["changed"].as_u64().unwrap() > 20);
    for name in ["headline", "kinds", "days", "top_accounts", "matrix", "rules", "forecast"] {
        assert_eq!(whole[name], parts[name], "{name}");
    }
    let changed = |more: &[&str]| {
        let report = desk.json(&[&["--audit", "log.jsonl"], &policy[..], more].concat());
        report["days"].as_array().unwrap().iter().map(|it| it["requests"].as_u64().unwrap()).sum()
    };
    let all: u64 = changed(&[]);
    let (before, after) =
        (changed(&["--until", "2026-11-11"]), changed(&["--since", "2026-11-11T00:00:00Z"]));
    assert!(before > 0 && after > 0);
    assert_eq!(before + after, all);
}

#[test]
fn the_page_stands_alone_and_escapes_whatever_an_account_is_called() {
    let desk = Desk::new();
    let name = desk.lines().iter().find_map(|line| {
        let is_asked =
            line.contains("\"event\":\"challenge_opened\"") && line.contains("contract-to-spot");
        let rest = line.split("\"account\":\"").nth(1).filter(|_| is_asked)?;
        Some(rest.split('"').next().unwrap().to_owned())
    });
    let hostile = "<script src=//evil.example></script>\u{202e}\u{1b}[31m";
    let quoted = serde_json::to_string(hostile).unwrap();
    let log = desk
        .lines()
        .join("\n")
        .replace(&format!("\"account\":\"{}\"", name.unwrap()), &format!("\"account\":{quoted}"));
    desk.put("hostile.jsonl", &(log + "\n"));
    let output =
        desk.run(&["--audit", "hostile.jsonl", "--policy", "next.toml", "--html", "out.html"]);
    assert!(output.status.success(), "{}", said(&output));
    let page = std::fs::read_to_string(desk.path().join("out.html")).unwrap();
    for foreign in ["<script", "<img", "<link", "<iframe", "<object", "<form", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("));
    assert!(page.contains("default-src 'none'") && page.contains("&lt;script"));
    assert!(
        page.contains("<svg") && page.matches("<title>").count() > 20,
        "plots with their figures"
    );
    let text = said(&output);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "a terminal obeys neither");
    let first = text.lines().next().unwrap();
    assert!(first.contains("would no longer be asked") && page.contains(first), "{first}");
}
