//! `stepgate explain`: of raw requests what would be decided and why, of real ones what the log knows.
//!
//! Ids, versions and lines of files are masked, so that another text of a shipped policy changes no snapshot.

mod recorded;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{run, said};
use crate::kit::{self, FRANKFURT, Kit, Options, TOKYO};
use crate::world::OKX;

const POLICY: &str = include_str!("../../policies/exchange.policy.toml");

/// When the requests come.
const AT: [&str; 2] = ["--at", "2026-11-20T12:00:00Z"];

const WITHDRAWAL: &str = "POST /api/v5/asset/withdrawal HTTP/1.1
Host: exchange.example
Content-Type: application/json

{\"ccy\":\"USDT\",\"amt\":\"12000\",\"toAddr\":\"TAddress\",\"dest\":\"4\",\"chain\":\"USDT-TRC20\",\"fee\":\"0.8\"}";

const TO_SPOT: &str = "POST /api/v5/asset/transfer HTTP/1.1
Host: exchange.example
Content-Type: application/json

{\"ccy\":\"USDT\",\"amt\":\"5\",\"from\":\"18\",\"to\":\"6\",\"clientId\":\"c-1\"}";

struct Desk {
    dir: TempDir,
    kit: Kit,
}

impl Desk {
    fn new() -> Self {
        Self::with(POLICY, OKX)
    }

    fn with(policy: &str, pack: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let upstream = ([127, 0, 0, 1], 9).into();
        let extra = "[prices]\nfile = \"prices.toml\"\n";
        let options = Options { upstream, policy, pack, extra, workers: 1, sms: false };
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
        arguments.extend(AT);
        arguments.extend(more);
        let output = run(self.dir.path(), &arguments);
        (output.status.success(), said(&output))
    }

    /// The same, masked and as it has to be.
    fn words(&self, request: &str, more: &[&str]) -> String {
        let (fine, text) = self.explain(request, more);
        assert!(fine, "{text}");
        masked(&text, self.dir.path())
    }

    fn json(&self, request: &str, more: &[&str]) -> Value {
        let mut arguments = more.to_vec();
        arguments.push("--json");
        let (fine, text) = self.explain(request, &arguments);
        assert!(fine, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Without what is another in every run or for every text of a policy.
fn masked(text: &str, dir: &Path) -> String {
    let text = text.replace(dir.to_str().unwrap(), "DIR");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (mut out, mut ids, mut last) = (String::new(), Vec::new(), String::new());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| is_word(c) == is_word(first);
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        if !is_word(first) {
            out += word;
            continue;
        }
        let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        let kind = match word.len() {
            16 if hex => Some("VERSION"),
            36 if hex => Some("REQUEST"),
            43 => Some("CHALLENGE"),
            64 if hex => Some("INTENT"),
            _ => None,
        };
        match kind {
            Some(kind) => {
                let at = ids.iter().position(|id| id == word).unwrap_or_else(|| {
                    ids.push(word.to_owned());
                    ids.len() - 1
                });
                out += &format!("{kind}-{}", at + 1);
            }
            None if digits && (last == "line" || last == "toml") => out.push('N'),
            None => out += word,
        }
        word.clone_into(&mut last);
    }
    out
}

/// Without the table of facts, which has a snapshot of its own.
fn without_facts(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        inside = line.starts_with("facts") || (inside && line.starts_with("  "));
        !inside
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_large_withdrawal_in_words() {
    insta::assert_snapshot!(Desk::new().words(WITHDRAWAL, &["--ip", TOKYO, "--account", "alice"]));
}

#[test]
fn a_large_withdrawal_as_json() {
    let desk = Desk::new();
    let mut report = desk.json(WITHDRAWAL, &["--ip", TOKYO, "--account", "alice"]);
    let element = report["elements"][0].as_object_mut().unwrap();
    assert!(element["facts"].as_array().unwrap().len() > 30);
    element.insert("facts".into(), "…".into());
    let text = serde_json::to_string_pretty(&report).unwrap();
    insta::assert_snapshot!(masked(&text, desk.dir.path()));
}

#[test]
fn ordinary_traffic_with_a_session_passes() {
    let desk = Desk::with(kit::POLICY, OKX);
    let token = desk.kit.token("alice", "s1", 1_795_176_000);
    let request = format!(
        "GET /api/v5/account/balance HTTP/1.1\nHost: exchange.example\nAuthorization: Bearer {token}\n\n"
    );
    let text = desk.words(&request, &["--ip", TOKYO]);
    assert!(!text.contains(&token[token.len() - 20..]), "the credential is not shown");
    insta::assert_snapshot!(without_facts(&text));
}

#[test]
fn an_action_that_is_allowed_goes_to_the_exchange() {
    let desk = Desk::with(kit::POLICY, OKX);
    let request = TO_SPOT.replace("\"18\"", "\"6\"").replace("\"to\":\"6\"", "\"to\":\"18\"");
    insta::assert_snapshot!(without_facts(
        &desk.words(&request, &["--ip", TOKYO, "--account", "alice"])
    ));
}

#[test]
fn an_action_that_is_asked_about_shows_the_challenge() {
    let desk = Desk::with(kit::POLICY, OKX);
    insta::assert_snapshot!(without_facts(
        &desk.words(TO_SPOT, &["--ip", TOKYO, "--account", "alice"])
    ));
}

#[test]
fn an_action_that_is_denied_says_why() {
    let policy = "version = 1\n[[rule]]\nid = \"never\"\non = \"transfer\"\nunless = \"client.ip in [192.0.2.0/24]\"\ndeny = true\nwhy = \"Not in this house.\"\n";
    let desk = Desk::with(policy, OKX);
    insta::assert_snapshot!(without_facts(
        &desk.words(TO_SPOT, &["--ip", TOKYO, "--account", "alice"])
    ));
}

#[test]
fn a_person_in_a_browser_gets_a_page() {
    let desk = Desk::with(kit::POLICY, OKX);
    let request = "GET /wallet HTTP/1.1\nHost: exchange.example\nAccept: text/html\n\n";
    let more = ["--ip", FRANKFURT, "--account", "alice", "--fact", "geo.new_country=true"];
    let report = desk.json(request, &more);
    assert_eq!(report["verdict"], "require", "{report:#}");
    assert_eq!(report["customer"]["status"], 401);
    assert!(report["customer"]["body"].as_str().unwrap().starts_with("a page: "), "{report:#}");
}

#[test]
fn a_guarded_action_of_nobody_is_refused_whatever_the_rules_say() {
    let desk = Desk::with(kit::POLICY, OKX);
    let report = desk.json(TO_SPOT, &["--ip", TOKYO]);
    assert_eq!(report["verdict"], Value::Null, "a verdict is on somebody");
    let says = report["says"].as_str().unwrap();
    assert!(says.starts_with("none: nobody is signed in") && says.contains("require"), "{says}");
    assert_eq!(report["customer"]["status"], 401);
    assert!(report["customer"]["body"].as_str().unwrap().contains("urn:stepgate:unauthenticated"));
    assert_eq!(report["carries"], serde_json::json!([]));
}

#[test]
fn an_expired_token_is_found_and_not_believed() {
    let desk = Desk::with(kit::POLICY, OKX);
    let token = desk.kit.token("alice", "s1", 1_795_176_000 - 100_000);
    let request = TO_SPOT.replace("\n\n{", &format!("\nCookie: session={token}\n\n{{"));
    let report = desk.json(&request, &["--ip", TOKYO]);
    assert_eq!(report["carries"], serde_json::json!(["cookie:session"]));
    assert!(report["how"].as_str().unwrap().contains("expired"), "{report:#}");
    assert_eq!(report["account"], Value::Null);
}

const BATCH: &str = r#"version = 1
exchange = "small"
[websocket]
private = ["/ws"]
credentials = { "json.key" = "OK-ACCESS-KEY: {value}" }
echo = { id = "json.id" }
error = '{"id":{id},"error":"{message}"}'
[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "json"
fields = { amount = "json[].amt", asset = "json[].ccy", address = "json[].to" }
need = ["address"]
show = ["amount", "asset", "address"]
sample = '[{"amt":"1","ccy":"USDT","to":"a"}]'
[[action]]
name = "mass_cancel"
match = "WS /ws op=cancel-all"
select = "json.op"
body = "json"
sample = '{"op":"cancel-all"}'
"#;

const BATCH_POLICY: &str = r#"version = 1
[[rule]]
id = "large"
on = "withdrawal"
when = "usd_value > 1_000"
require = "totp"
[[rule]]
id = "all-orders"
on = "mass_cancel"
require = "totp or sms"
"#;

#[test]
fn of_a_batch_every_element_is_explained() {
    let desk = Desk::with(BATCH_POLICY, BATCH);
    let request = "POST /withdraw\nHost: exchange.example\nContent-Type: application/json\n\n\
                   [{\"amt\":\"5\",\"ccy\":\"USDT\",\"to\":\"a\"},{\"amt\":\"5000\",\"ccy\":\"USDT\",\"to\":\"b\"}]";
    insta::assert_snapshot!(without_facts(
        &desk.words(request, &["--ip", TOKYO, "--account", "alice"])
    ));
}

#[test]
fn a_message_of_a_websocket_is_explained_like_a_request() {
    let desk = Desk::with(BATCH_POLICY, BATCH);
    let request =
        "WS /ws\nHost: exchange.example\n\n{\"op\":\"cancel-all\",\"key\":\"key-alice\",\"id\":7}";
    let text = desk.words(request, &["--ip", TOKYO]);
    assert_eq!(text.matches("key-alice").count(), 1, "only by its name for logs: {text}");
    insta::assert_snapshot!(without_facts(&text));
    let (fine, text) = desk.explain("WS /elsewhere\n\n{}", &[]);
    assert!(!fine && text.contains("no WebSocket at `/elsewhere`"), "{text}");
}

#[test]
fn a_field_that_is_spelt_otherwise_is_refused() {
    let (fine, text) = Desk::new().explain(&WITHDRAWAL.replace("amt", "Amt"), &["--ip", TOKYO]);
    assert!(fine, "{text}");
    assert!(text.contains("refused strict"), "{text}");
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
    insta::assert_snapshot!(desk.words(request, &[]));
    assert_eq!(desk.json(request, &[])["refused"], "unclassified");
}

#[test]
fn a_disguised_path_is_refused_and_says_what_it_could_be() {
    let request = WITHDRAWAL.replace("/asset/withdrawal", "/asset/%77ithdrawal");
    let desk = Desk::new();
    insta::assert_snapshot!(desk.words(&request, &[]));
    assert_eq!(desk.json(&request, &[])["refused"], "not-canonical");
}

#[test]
fn an_unsound_head_is_refused_before_anybody_reads_it() {
    let request =
        WITHDRAWAL.replace("Host: exchange.example\n", "Host: exchange.example\nHost: b\n");
    let desk = Desk::new();
    let report = desk.json(&request, &[]);
    assert_eq!(report["checks"][0]["said"], "Host is given twice", "{report:#}");
    assert_eq!(report["customer"]["status"], 400);
    let request = WITHDRAWAL
        .replace("Content-Type", "Transfer-Encoding: chunked\nContent-Length: 5\nContent-Type");
    let report = desk.json(&request, &[]);
    assert_eq!(report["checks"][0]["passed"], false, "{report:#}");
    let whole = WITHDRAWAL.replace('\n', "\r\n");
    assert_eq!(desk.json(&whole, &[])["checks"][0]["passed"], true);
}

#[test]
fn facts_are_set_as_cases_set_them() {
    let desk = Desk::new();
    let mut more = vec!["--ip", TOKYO, "--account", "alice", "--fact", "address.age=90d"];
    more.extend([
        "--fact",
        "amount=5",
        "--fact",
        "address.verified=true",
        "--fact",
        "geo.country=DE",
    ]);
    let report = desk.json(WITHDRAWAL, &more);
    let fact = |name: &str| {
        let facts = report["elements"][0]["facts"].as_array().unwrap();
        facts.iter().find(|fact| fact["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!((fact("usd_value"), fact("address.age")), ("5".into(), "90d".into()));
    assert_eq!((fact("geo.country"), fact("amount")), ("DE".into(), "5".into()));
    assert_eq!(report["verdict"], "require", "{report:#}");
    for (wrong, says) in [
        ("adress.age=1h", "did you mean `address.age`?"),
        ("address.age", "write NAME=VALUE"),
        ("address.age=soon", "--fact address.age=soon"),
    ] {
        let (fine, text) = desk.explain(WITHDRAWAL, &["--account", "alice", "--fact", wrong]);
        assert!(!fine && text.contains(says), "{text}");
    }
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
    let (fine, text) = desk.explain(TO_SPOT, &["--live"]);
    assert!(!fine && text.contains("name one with --account"), "{text}");
    let (fine, text) = desk.explain(TO_SPOT, &["--live", "--account", "alice"]);
    assert!(!fine && text.contains("no gateway answers"), "{text}");
}
