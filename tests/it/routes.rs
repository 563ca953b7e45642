//! `stepgate routes` of a real process: from the running gateway, and from the log it leaves.

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Binary, run, said};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::kit::{HOST, Kit, Options, TOKYO};

const PACK: &str = r#"version = 1
exchange = "small"
unclassified = { write = "allow" }
sensitive = ["/api/v5/asset/"]
"#;

/// Times of this run as `…`.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        word.contains(['-', ':'])
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"-:".contains(&byte))
    };
    let line = |line: &str| {
        let words: Vec<&str> =
            line.split(' ').map(|word| if is_time(word) { "…" } else { word }).collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_gateway_and_its_log_tell_the_same_routes() {
    let (dir, exchange) = (TempDir::new().unwrap(), Exchange::start().await);
    let upstream = exchange.address;
    let policy = "version = 1\n";
    let options = Options { upstream, policy, pack: PACK, extra: "", workers: 1, sms: false };
    let kit = Kit::write(dir.path(), &options);
    let mut gateway = Binary::start(&kit, Binary::place(&kit)).await;
    let client = Client::new(gateway.address, &kit.ca_pem, HOST).from(TOKYO);
    for id in 4711..4714 {
        let path = format!("/api/v5/users/{id}/nickname");
        assert_eq!(client.post_json(&path, "{}").await.status, 200);
    }
    assert_eq!(client.post_json("/api/v5/asset/unheard-of", "{}").await.status, 403);

    let asked = run(&kit.dir, &["routes", "-c", "stepgate.toml"]);
    assert!(asked.status.success(), "{}", said(&asked));
    insta::assert_snapshot!("routes_of_a_running_gateway", without_times(&said(&asked)));
    let json = run(&kit.dir, &["routes", "-c", "stepgate.toml", "--json"]);
    let json: Value = serde_json::from_str(&said(&json)).unwrap();

    assert!(gateway.stop());
    let read = run(&kit.dir, &["routes", "--audit", "audit/stepgate.jsonl", "--json"]);
    assert!(read.status.success(), "{}", said(&read));
    assert_eq!(serde_json::from_str::<Value>(&said(&read)).unwrap(), json);
    assert!(json["routes"][0]["stub"].as_str().unwrap().starts_with("[[action]]"), "{json}");
    let whole = run(&kit.dir, &["audit", "verify", "audit/stepgate.jsonl"]);
    assert!(whole.status.success(), "{}", said(&whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_or_a_log_it_says_so() {
    let dir = TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let policy = "version = 1\n";
    let options = Options { upstream, policy, pack: PACK, extra: "", workers: 1, sms: false };
    let kit = Kit::write(dir.path(), &options);
    Binary::place(&kit);
    let asked = run(&kit.dir, &["routes", "-c", "stepgate.toml"]);
    assert!(
        !asked.status.success() && said(&asked).contains("no gateway answers"),
        "{}",
        said(&asked)
    );
    let read = run(&kit.dir, &["routes", "--audit", "gone.jsonl"]);
    assert!(!read.status.success() && said(&read).contains("gone.jsonl"), "{}", said(&read));
    let log =
        r#"{"seq":0,"prev":"","time":"2026-11-20T12:00:00.000Z","event":"route_seen","hash":""}"#;
    std::fs::write(dir.path().join("odd.jsonl"), format!("not a record\n{log}\n")).unwrap();
    let odd = run(&kit.dir, &["routes", "--audit", "odd.jsonl"]);
    assert!(!odd.status.success() && said(&odd).contains("odd.jsonl:2"), "{}", said(&odd));
}
