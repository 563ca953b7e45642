//! Every broken file gives all its faults, each with its position and what to do; the words are kept as snapshots.

use std::path::Path;

use tempfile::TempDir;

use crate::binary::{Binary, run, said};
use crate::exchange::Exchange;
use crate::kit::{Kit, Options, POLICY};
use crate::world::OKX;

const EXTRA: &str = "[prices]\nfile = \"prices.toml\"\n";
const CASES: &str = r#"version = 1

[[case]]
name = "contract to spot asks for a code"
request = { action = "transfer", fields = { "transfer.from" = "contract", "transfer.to" = "spot" } }
expect = { verdict = "require", rules = ["contract-to-spot"] }
"#;

/// A kit without any fault; its upstream is never asked.
fn good() -> (TempDir, Kit) {
    good_in(OKX)
}

fn good_in(pack: &str) -> (TempDir, Kit) {
    let dir = TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let options = Options { upstream, policy: POLICY, pack, extra: EXTRA, workers: 1, sms: true };
    let kit = Kit::write(dir.path(), &options);
    std::fs::write(dir.path().join("prices.toml"), "[usd]\nUSDT = \"1\"\n").unwrap();
    std::fs::write(dir.path().join("policies/site.cases.toml"), CASES).unwrap();
    let lists = dir.path().join("geo/lists");
    std::fs::create_dir_all(&lists).unwrap();
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let text = text.replace("[geo]\n", "[geo]\nlists = \"geo/lists\"\n");
    std::fs::write(kit.config(), text).unwrap();
    (dir, kit)
}

/// What `check` says of the kit, with its directory's name taken out, and whether it is content.
fn check(dir: &Path) -> (bool, String) {
    let output = run(dir, &["check", "-c", dir.join("stepgate.toml").to_str().unwrap()]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
    let text = said(&output).replace(&format!("{}/", dir.display()), "");
    (output.status.success(), text)
}

/// The words about this file when it says `broken`.
fn faults(file: &str, broken: impl AsRef<[u8]>) -> String {
    let (dir, _kit) = good();
    std::fs::write(dir.path().join(file), broken).unwrap();
    let (content, text) = check(dir.path());
    assert!(!content, "{file}:\n{text}");
    text
}

/// The configuration after one exchange of words per pair.
fn configuration(changes: &[(&str, &str)]) -> String {
    let (dir, kit) = good();
    let mut text = std::fs::read_to_string(kit.config()).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(kit.config(), text).unwrap();
    let (content, text) = check(dir.path());
    assert!(!content, "{text}");
    text
}

#[test]
fn a_kit_without_faults_is_fine() {
    let (dir, _kit) = good();
    let (content, text) = check(dir.path());
    assert!(content, "{text}");
    assert!(text.contains("stepgate.toml: fine (1 site(s), 1 case(s))"), "{text}");
}

#[test]
fn a_configuration_with_misspelt_words() {
    insta::assert_snapshot!(configuration(&[
        ("certificate =", "certficate ="),
        ("[geo]\n", "[geo]\ncountry = \"x.mmdb\"\n"),
        ("kind = \"api_key\"", "kind = \"apikey\""),
        ("provider = \"log\"", "provider = \"twillio\""),
    ]));
}

#[test]
fn a_configuration_with_wrong_values() {
    insta::assert_snapshot!(configuration(&[
        ("address = \"127.0.0.1:0\"", "address = \"127.0.0.1\""),
        ("127.0.0.0/8", "127.0.0.0/33"),
        ("workers = 1", "workers = 0"),
        ("url = \"file:state/stepgate.db\"", "url = \"state/stepgate.db\""),
        ("token = \"file:secrets/admin.token\"", "token = \"hunter2\""),
        ("hosts = [\"exchange.example\"", "hosts = [\"https://exchange.example/\""),
        ("[prices]", "[limits]\nattempts_max = 50\n\n[prices]"),
    ]));
}

#[test]
fn a_ticker_that_is_written_wrong() {
    let said = |lines: &str| configuration(&[("file = \"prices.toml\"", lines)]);
    let good = "url = \"https://exchange.example/tickers\"\nusd = [\"USDT\"]\n\
                symbol = \"json[].s\"\nprice = \"json[].p\"";
    let all: Vec<String> = [
        format!("file = \"prices.toml\"\n{good}"),
        "file = \"prices.toml\"\nprice = \"json[].p\"".to_owned(),
        "age_max_s = 60".to_owned(),
        good.replace("https://", "http://"),
        good.replace("json[].s", "json.s"),
        good.replace("price = \"json[].p\"", ""),
        good.replace("usd = [\"USDT\"]", ""),
        good.replace("USDT", "USD"),
        good.replace("json[].p", "json.data[].p"),
        format!("{good}\nevery_s = 0"),
    ]
    .iter()
    .map(|lines| said(lines))
    .collect();
    insta::assert_snapshot!(all.join("\n----\n"));
}

/// The configuration when `[store]` begins so.
fn store(lines: &str) -> String {
    configuration(&[("url = \"file:state/stepgate.db\"", lines)])
}

#[test]
fn a_redis_store_that_is_written_wrong() {
    insta::assert_snapshot!(store(
        r#"url = "redis://gate:hunter2@10.0.0.5:6379x"
password = "hunter2"
prefix = "step gate"
ca = "certs/ca.pem"
sentinel_user = "watch""#
    ));
    insta::assert_snapshot!(
        "a_redis_store_with_a_misspelt_word",
        store("url = \"redis://10.0.0.5\"\npasword = \"env:REDIS_PASSWORD\"")
    );
}

#[test]
fn a_store_that_is_a_file_and_redis() {
    insta::assert_snapshot!(store(
        "url = \"file:state/stepgate.db\"\nprefix = \"stepgate\"\npassword = \"env:REDIS_PASSWORD\""
    ));
}

#[test]
fn a_redis_store_whose_files_are_not_there_or_are_others() {
    insta::assert_snapshot!(store(
        r#"url = "rediss+sentinel://gate@10.0.0.5,10.0.0.6/main"
password = "env:STEPGATE_TEST_NO_SUCH_PASSWORD"
sentinel_password = "file:secrets/sentinel"
ca = "secrets/master.key"
certificate = "gateway.pem"
key = "ca.pem""#
    ));
}

#[test]
fn a_configuration_whose_sites_share_a_host() {
    let twin = r#"[[site]]
name = "twin"
hosts = ["EXCHANGE.example", "localhost"]
upstream = ["http://127.0.0.1:9"]
policy = "policies/site.policy.toml"

[[site]]
name = "main""#;
    insta::assert_snapshot!(configuration(&[("[[site]]\nname = \"main\"", twin)]));
}

#[test]
fn a_configuration_that_is_not_toml() {
    insta::assert_snapshot!(configuration(&[
        ("[admin]", "[admin"),
        ("name = \"main\"", "name = main"),
    ]));
}

#[test]
fn a_configuration_whose_files_are_not_there() {
    let text = configuration(&[
        ("gateway.pem", "gatway.pem"),
        ("geo/city.mmdb", "geo/town.mmdb"),
        ("site.actions.toml", "okx.actions.toml"),
        ("site.policy.toml", "okx.policy.toml"),
        ("session.jwks", "sessions.jwks"),
        ("file:secrets/master.key", "env:STEPGATE_TEST_NO_SUCH_KEY"),
        ("prices.toml", "price.toml"),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_configuration_that_is_not_there() {
    let dir = TempDir::new().unwrap();
    let (content, text) = check(dir.path());
    assert!(!content);
    insta::assert_snapshot!(text);
}

#[test]
fn an_upstream_and_identities_that_cannot_be_used() {
    insta::assert_snapshot!(configuration(&[
        ("http://127.0.0.1:9\"", "ftp://127.0.0.1:9/api\""),
        ("\"ES256\"", "\"none\""),
        ("\"header:OK-ACCESS-KEY\"", "\"heeder:OK-ACCESS-KEY\", \"header:Host\""),
    ]));
}

#[test]
fn a_pack() {
    let pack = r#"version = 1
exchange = "okx"
unclassified = { read = "allow", write = "forbid" }

[[action]]
name = "withdrawal"
match = ["POST api/v5/asset/withdrawal", "FETCH /x"]
body = "jsn"
fields = { amount = "json.amt", address = "body.toAddr" }
need = ["amount", "asset"]

[[action]]
name = "transfer"
match = ["POST /api/v5/asset/transfer"]
body = "json"
fields = { amount = "json.amt" }
colour = "red"

[[action]]
name = "also"
match = ["POST /api/v5/asset/{what}"]
body = "json"
"#;
    insta::assert_snapshot!(faults("policies/site.actions.toml", pack));
}

#[test]
fn a_policy() {
    let policy = r#"version = 1

[[rule]]
id = "one"
on = "withdrawl"
when = "usd_value >> 10"
require = "totp or smss"

[[rule]]
id = "one"
on = "transfer"
when = "transfer.form is contract"
hold = "24"
deny = true
"#;
    insta::assert_snapshot!(faults("policies/site.policy.toml", policy));
}

#[test]
fn cases() {
    let cases = r#"version = 1

[[case]]
name = "contract to spot passes"
request = { action = "transfer", fields = { "transfer.from" = "contract", "transfer.to" = "spot" } }
expect = { verdict = "allow", rules = [] }

[[case]]
name = "a withdrawal is asked for more"
request = { action = "withdrawal", fields = { amount = "5", asset = "USDT" } }
expect = { verdict = "require", rules = ["withdrawals", "no-such-rule"] }

[[case]]
name = "a raw request"
request = { raw = "POST /api/v5/asset/withdrawal HTTP/1.1\nHost: x\n\n{}" }
expect = { verdict = "require" }
"#;
    insta::assert_snapshot!(faults("policies/site.cases.toml", cases));
}

#[test]
fn cases_of_a_pack() {
    let cases = r#"version = 1

[[case]]
name = "another amount"
request = """
POST /api/v5/asset/transfer
Content-Type: application/json

{"ccy":"USDT","amt":"5","from":"18","to":"6"}
"""
expect = { action = "transfer", fields = { amount = "6", "transfer.to" = "contract" } }

[[case]]
name = "an order is not read"
request = "POST /api/v5/trade/order"
expect = { action = "order" }

[[case]]
name = "mistakes"
requst = "GET /"
expect = { action = "transfer", fields = { amont = "5" } }

[[case]]
name = "nothing is sent"
expect = { refused = true }
"#;
    insta::assert_snapshot!(faults("policies/site.actions.cases.toml", cases));
}

#[test]
fn geo_databases() {
    let (dir, _kit) = good();
    let city = std::fs::read(dir.path().join("geo/city.mmdb")).unwrap();
    std::fs::write(dir.path().join("geo/city.mmdb"), &city[..city.len() / 2]).unwrap();
    std::fs::write(dir.path().join("geo/asn.mmdb"), "<html>You are out of quota</html>").unwrap();
    std::fs::write(
        dir.path().join("geo/lists/hosting.txt"),
        "203.0.113.0/24\nnext line\n1.2.3.4.5\n",
    )
    .unwrap();
    let (content, text) = check(dir.path());
    assert!(!content);
    insta::assert_snapshot!(text);
}

#[test]
fn geo_databases_of_the_wrong_kind() {
    let (dir, _kit) = good();
    std::fs::rename(dir.path().join("geo/asn.mmdb"), dir.path().join("geo/other")).unwrap();
    std::fs::rename(dir.path().join("geo/city.mmdb"), dir.path().join("geo/asn.mmdb")).unwrap();
    std::fs::rename(dir.path().join("geo/other"), dir.path().join("geo/city.mmdb")).unwrap();
    let (content, text) = check(dir.path());
    assert!(!content);
    insta::assert_snapshot!(text);
}

#[test]
fn a_key_set() {
    let short = r#"{"keys":[
  {"kty":"EC","crv":"P-256","kid":"a","x":"AAAA","y":"AAAA"},
  {"kty":"oct","kid":"b","k":"c2hvcnQ"},
  {"kty":"RSA","kid":"c"}
]}"#;
    insta::assert_snapshot!("key_set", faults("secrets/session.jwks", short));
    insta::assert_snapshot!("key_set_not_json", faults("secrets/session.jwks", "-----BEGIN"));
    insta::assert_snapshot!("key_set_empty", faults("secrets/session.jwks", "{\"keys\":[]}"));
}

#[test]
fn certificates() {
    let (dir, _kit) = good();
    let text = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
    std::fs::write(dir.path().join("gateway.pem"), text).unwrap();
    let text = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    std::fs::write(dir.path().join("gateway.key"), text).unwrap();
    let (content, both) = check(dir.path());
    assert!(!content);
    insta::assert_snapshot!("certificate_and_key", both);
    insta::assert_snapshot!("certificate_of_another_key", {
        let (other, _kit) = good();
        faults("gateway.pem", std::fs::read(other.path().join("gateway.pem")).unwrap())
    });
    insta::assert_snapshot!("certificate_empty", faults("gateway.pem", ""));
}

#[test]
fn api_keys() {
    let text = r#"[[key]]
id = "a key with spaces"
account = ""
networks = ["203.0.113.0/24", "everywhere"]

[[key]]
id = "twice"
account = "alice"

[[key]]
id = "twice"
acount = "bob"
"#;
    insta::assert_snapshot!(faults("secrets/api-keys.toml", text));
}

#[test]
fn api_keys_that_are_there_twice() {
    let text = "[[key]]\nid = \"twice\"\naccount = \"alice\"\n\n[[key]]\nid = \"twice\"\naccount = \"bob\"\nnetworks = [\"all\"]\n";
    insta::assert_snapshot!(faults("secrets/api-keys.toml", text));
}

#[test]
fn a_master_key() {
    let secret = "k1 c2hvcnQ=\nk1 not-base64!\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
    let text = faults("secrets/master.key", secret);
    assert!(!text.contains("c2hvcnQ") && !text.contains("BwcH"), "no part of a key is shown");
    insta::assert_snapshot!("master_key", text);
    insta::assert_snapshot!("master_key_empty", faults("secrets/master.key", "\n# nothing\n"));
}

#[test]
fn an_admin_token() {
    let text = faults("secrets/admin.token", "short");
    assert!(!text.contains("\"short\""));
    insta::assert_snapshot!(text);
}

#[test]
fn prices() {
    let text = "[usd]\nBTC = \"64,250.5\"\nETH = 3200\nUSDT = \"-1\"\n[eur]\nBTC = \"1\"\n";
    insta::assert_snapshot!("prices", faults("prices.toml", text));
    let text = "[usd]\nBTC = \"64,250.5\"\nUSDT = \"-1\"\n";
    insta::assert_snapshot!("prices_not_decimal", faults("prices.toml", text));
}

#[test]
fn a_file_that_is_not_text() {
    insta::assert_snapshot!(faults("policies/site.policy.toml", [0xff, 0xfe, 0x00]));
}

#[test]
fn faults_of_several_files_are_said_at_once() {
    let (dir, kit) = good();
    std::fs::write(dir.path().join("policies/site.policy.toml"), "version = 1\nrule = 3\n")
        .unwrap();
    std::fs::write(dir.path().join("prices.toml"), "[usd]\nBTC = \"x\"\n").unwrap();
    std::fs::write(dir.path().join("secrets/api-keys.toml"), "[[key]]\nid = \"a\"\n").unwrap();
    let text = std::fs::read_to_string(kit.config()).unwrap();
    std::fs::write(kit.config(), text.replace("workers = 1", "workers = 0")).unwrap();
    let (content, text) = check(dir.path());
    assert!(!content);
    for name in
        ["policies/site.policy.toml", "prices.toml", "secrets/api-keys.toml", "stepgate.toml"]
    {
        assert!(text.contains(&format!("--> {name}:")), "{name} is not named:\n{text}");
    }
    assert!(text.ends_with("4 error(s), 0 warning(s)\n"), "{text}");
}

// --- the program does not start

/// What `serve` says before it ends.
fn refusal(dir: &Path) -> String {
    let output = run(dir, &["serve", "-c", dir.join("stepgate.toml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output).replace(&format!("{}/", dir.display()), "");
    let lines = text.lines().filter(|line| line.starts_with("stepgate: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_on_a_store_or_log_that_another_gateway_uses() {
    let (_dir, kit) = good();
    let places = Binary::place(&kit);
    let mut gateway = Binary::start(&kit, places).await;
    assert_eq!(refusal(&kit.dir), "stepgate: state/stepgate.db: another stepgate has it open");
    let text = std::fs::read_to_string(kit.config()).unwrap();
    std::fs::write(kit.config(), text.replace("stepgate.db", "other.db")).unwrap();
    assert_eq!(
        refusal(&kit.dir),
        "stepgate: the audit log audit/stepgate.jsonl is in use by another gateway"
    );
    assert!(gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_on_a_port_in_use() {
    let (_dir, kit) = good();
    let taken = Exchange::start().await.address;
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let public = text.replacen("127.0.0.1:0", &taken.to_string(), 1);
    std::fs::write(kit.config(), public).unwrap();
    let wanted =
        format!("stepgate: cannot listen on {taken}: Address already in use (os error 98)");
    assert_eq!(refusal(&kit.dir), wanted);
    let (before, after) = text.rsplit_once("127.0.0.1:0").unwrap();
    std::fs::write(kit.config(), format!("{before}{taken}{after}")).unwrap();
    assert_eq!(refusal(&kit.dir), wanted);
    let log = std::fs::read_to_string(kit.dir.join("audit/stepgate.jsonl")).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().filter(|event| event["event"] == "stopped").count(), 2, "{log}");
    assert_eq!(events.last().unwrap()["event"], "checkpoint", "the end is signed: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_share_its_port_with_a_gateway_on_another_store() {
    let (_first_dir, first) = good();
    let places = Binary::place(&first);
    let mut gateway = Binary::start(&first, places).await;
    let (_dir, kit) = good();
    let text = std::fs::read_to_string(kit.config()).unwrap();
    std::fs::write(kit.config(), text.replacen("127.0.0.1:0", &places.0.to_string(), 1)).unwrap();
    let wanted =
        format!("stepgate: cannot listen on {}: Address already in use (os error 98)", places.0);
    assert_eq!(refusal(&kit.dir), wanted);
    assert!(gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_start_with_another_master_key() {
    let (_dir, kit) = good();
    let places = Binary::place(&kit);
    assert!(Binary::start(&kit, places).await.stop());
    std::fs::write(
        kit.dir.join("secrets/master.key"),
        "k2 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    )
    .unwrap();
    assert_eq!(
        refusal(&kit.dir),
        "stepgate: the gateways' common signing key cannot be used: it is sealed with a master key that is not in `store.master_key`"
    );
}

#[test]
fn it_does_not_start_on_an_audit_log_that_is_none() {
    let (_dir, kit) = good();
    let log = kit.dir.join("audit/stepgate.jsonl");
    std::fs::create_dir(&log).unwrap();
    let said = refusal(&kit.dir);
    assert_eq!(
        said,
        "stepgate: the audit log audit/stepgate.jsonl cannot be opened: Is a directory (os error 21)"
    );
    std::fs::remove_dir(&log).unwrap();
    std::fs::write(&log, "these are\nsomebody's notes\n").unwrap();
    assert_eq!(
        refusal(&kit.dir),
        "stepgate: the end of the audit log audit/stepgate.jsonl is not a record: it was altered, or is another file"
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "these are\nsomebody's notes\n");
}

#[test]
fn it_does_not_start_on_a_store_that_is_none() {
    let (_dir, kit) = good();
    std::fs::write(kit.dir.join("state/stepgate.db"), "no database").unwrap();
    let said = refusal(&kit.dir);
    assert!(
        said.starts_with("stepgate: the store is not available: state/stepgate.db: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn it_does_not_start_with_a_faulty_file_and_says_the_same_as_check() {
    let (dir, _kit) = good();
    std::fs::write(dir.path().join("policies/site.policy.toml"), "version = 1\nrule = 3\n")
        .unwrap();
    let output = run(dir.path(), &["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let checked = run(dir.path(), &["check"]);
    let fault = said(&checked);
    let fault = fault.split("\n\n").next().unwrap();
    assert!(said(&output).contains(fault), "{}", said(&output));
}
