//! `stepgate explain` on raw requests, with pack and policy as shipped: what would be decided, and why.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{run, said};
use crate::kit::{FRANKFURT, Kit, Options, TOKYO};
use crate::world::OKX;

const POLICY: &str = include_str!("../../policies/exchange.policy.toml");

const WITHDRAWAL: &str = "POST /api/v5/asset/withdrawal HTTP/1.1
Host: exchange.example
Content-Type: application/json

{\"ccy\":\"USDT\",\"amt\":\"12000\",\"toAddr\":\"TAddress\",\"dest\":\"4\",\"chain\":\"USDT-TRC20\",\"fee\":\"0.8\"}";

struct Desk {
    dir: TempDir,
    kit: Kit,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let upstream = ([127, 0, 0, 1], 9).into();
        let extra = "[prices]\nfile = \"prices.toml\"\n";
        let options =
            Options { upstream, policy: POLICY, pack: OKX, extra, workers: 1, sms: false };
        let kit = Kit::write(dir.path(), &options);
        std::fs::write(dir.path().join("prices.toml"), "[usd]\nUSDT = \"1\"\n").unwrap();
        Self { dir, kit }
    }

    /// What is said about this request, and whether it went well.
    fn explain(&self, request: &str, more: &[&str]) -> (bool, String) {
        let file: PathBuf = self.dir.path().join("request.http");
        std::fs::write(&file, request).unwrap();
        let config = self.kit.config();
        let mut arguments =
            vec!["explain", "-c", config.to_str().unwrap(), "--request", file.to_str().unwrap()];
        arguments.extend(more);
        let output = run(self.dir.path(), &arguments);
        (output.status.success(), said(&output))
    }

    fn json(&self, request: &str, more: &[&str]) -> Value {
        let mut arguments = more.to_vec();
        arguments.push("--json");
        let (fine, text) = self.explain(request, &arguments);
        assert!(fine, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

#[test]
fn a_large_withdrawal_in_words() {
    let (fine, text) = Desk::new().explain(WITHDRAWAL, &["--ip", TOKYO, "--account", "alice"]);
    assert!(fine, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_large_withdrawal_as_json() {
    let report = Desk::new().json(WITHDRAWAL, &["--ip", TOKYO, "--account", "alice"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_list_of_withdrawals_is_explained_element_by_element_or_refused() {
    let (fine, text) = Desk::new().explain(&WITHDRAWAL.replace("amt", "Amt"), &["--ip", TOKYO]);
    assert!(fine, "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn ordinary_traffic_from_another_country_has_no_history_to_differ_from() {
    let request = "GET /api/v5/account/balance HTTP/1.1\nHost: exchange.example\n\n";
    let report = Desk::new().json(request, &["--ip", FRANKFURT, "--account", "alice"]);
    assert_eq!(report["action"], "ordinary");
    assert_eq!(report["history"], "empty");
    assert_eq!(report["place"]["country"], "DE");
}

#[test]
fn a_write_that_no_action_names_says_so() {
    let request = "POST /api/v5/asset/no-such-thing HTTP/1.1\nHost: exchange.example\n\n{}";
    let desk = Desk::new();
    let (fine, text) = desk.explain(request, &[]);
    assert!(fine && text.contains("refused  unclassified"), "{text}");
    assert_eq!(desk.json(request, &[])["refused"], "unclassified");
}

#[test]
fn a_disguised_path_is_named_not_canonical() {
    let request = WITHDRAWAL.replace("/asset/withdrawal", "/asset/%77ithdrawal");
    let report = Desk::new().json(&request, &[]);
    assert_eq!(report["refused"], "not-canonical");
}

#[test]
fn what_is_no_request_or_for_nobody_is_told_in_one_line() {
    let desk = Desk::new();
    let (fine, text) = desk.explain("hello", &[]);
    assert!(!fine);
    assert_eq!(text, "stepgate: the request: the first line is not `METHOD /path HTTP/1.1`\n");
    let (fine, text) = desk.explain(&WITHDRAWAL.replace("exchange.example", "elsewhere"), &[]);
    assert!(!fine);
    assert_eq!(
        text,
        "stepgate: the request's Host `elsewhere` is not one of: exchange.example, localhost\n"
    );
}
