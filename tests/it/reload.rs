//! Files are replaced while traffic runs: what is good holds at the next request, what is broken changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::binary::Binary;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{self, HOST, Kit, Options, POLICY, TOKYO};
use crate::world::{OKX, World, admin};

const BALANCE: &str = "/api/v5/account/balance";
/// From spot to contract, which the tests' policy lets through.
const TO_CONTRACT: &str = r#"{"ccy":"USDT","amt":"100","from":"6","to":"18","type":"0"}"#;

const SMALL_PACK: &str = r#"
version = 1
exchange = "small"
unclassified = { read = "allow", write = "deny" }

[[action]]
name = "transfer"
match = "POST /api/v5/asset/transfer"
body = "json"
fields = { asset = "json.ccy", amount = "json.amt", "transfer.type" = "json.type" }
need = ["asset", "amount"]
choose = [
    { when = { "json.from" = "18", "json.to" = "6" }, fields = { "transfer.from" = "contract", "transfer.to" = "spot" } },
    { when = { "json.from" = "6", "json.to" = "18" }, fields = { "transfer.from" = "spot", "transfer.to" = "contract" } },
]
sample = '{"ccy":"USDT","amt":"1.5","type":"0","from":"18","to":"6"}'
"#;

/// The tests' policy and one more rule: no transfer at all.
fn no_transfers() -> String {
    format!("{POLICY}\n[[rule]]\nid = \"no-transfers\"\non = \"transfer\"\ndeny = true\n")
}

impl World {
    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.dir().join(file), text).unwrap();
    }

    fn reload(&self) -> Result<String, String> {
        tokio::task::block_in_place(|| self.running.reload())
    }

    /// Waits until the watch has reloaded this often.
    async fn reloads(&self, wanted: usize) {
        for _ in 0..1_000 {
            if self.audit().iter().filter(|line| line["event"] == "reload").count() >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the watch did not notice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_holds_at_the_next_request() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    let before = world.admin("GET", "/status", "").await.json()["sites"].clone();
    world.write("policies/site.policy.toml", no_transfers());
    world.reload().unwrap();
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 403);
    let status = world.admin("GET", "/status", "").await.json();
    assert_eq!(status["last_reload"]["ok"], true);
    assert_ne!(status["sites"], before, "another version of the policy is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_from_before_a_reload_is_still_good_if_the_new_rules_ask_for_no_more() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let code = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(alice.post_json(&path, code).await.status, 200);
    world.write("policies/site.policy.toml", POLICY.replace("withdrawals", "any-withdrawal"));
    world.reload().unwrap();
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);

    // Where they ask for more than was proven, it is not enough.
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    world.wait_s(30);
    let code = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(alice.post_json(&path, code).await.status, 200);
    world.write("policies/site.policy.toml", POLICY.replace("totp or sms", "totp and sms"));
    world.reload().unwrap();
    assert_ne!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

const BROKEN: [(&str, &str); 12] = [
    ("stepgate.toml", "[listen"),
    (
        "policies/site.policy.toml",
        "version = 1\n[[rule]]\nid = \"x\"\non = \"withdraw\"\ndeny = true\n",
    ),
    ("policies/site.actions.toml", "version = 1\nexchange = \"okx\"\nactions = 3\n"),
    ("policies/site.cases.toml", CASE_THAT_FAILS),
    ("policies/site.actions.cases.toml", PACK_CASE_THAT_FAILS),
    ("secrets/session.jwks", r#"{"keys":[{"kty":"EC"}]}"#),
    ("secrets/api-keys.toml", "[[key]]\nid = \"k\"\n"),
    ("prices.toml", "[usd]\nBTC = \"much\"\n"),
    ("gateway.pem", "-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n"),
    ("gateway.key", "no key"),
    ("geo/city.mmdb", "not a database"),
    ("geo/asn.mmdb", ""),
];

const PRICES: (&str, &str) = ("prices.toml", "[usd]\nUSDT = \"1\"\n");

const CASE_THAT_FAILS: &str = r#"version = 1

[[case]]
name = "contract to spot passes"
request = { action = "transfer", fields = { "transfer.from" = "contract", "transfer.to" = "spot" } }
expect = { verdict = "allow", rules = [] }
"#;

const PACK_CASE_THAT_FAILS: &str = r#"version = 1

[[case]]
name = "a transfer is nobody's business"
request = "POST /api/v5/asset/transfer"
expect = { ordinary = true }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_the_last_good_ones_and_says_so() {
    let extra = "[prices]\nfile = \"prices.toml\"\n";
    let world = World::with_files(POLICY, OKX, extra, &[PRICES]).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    for (number, (file, broken)) in BROKEN.iter().enumerate() {
        let good = std::fs::read(world.dir().join(file)).ok();
        world.write(file, broken);
        let said = world.reload().expect_err(file);
        let name = file.rsplit('/').next().unwrap();
        assert!(said.contains(name), "{file} is not named:\n{said}");
        assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401, "{file}");
        assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200, "{file}");

        let status = world.admin("GET", "/status", "").await.json();
        assert_eq!(status["last_reload"]["ok"], false, "{file}");
        assert!(status["last_reload"]["detail"].as_str().unwrap().contains(name), "{file}");
        let metrics = world.admin("GET", "/metrics", "").await.text();
        assert!(refused(&metrics) > number, "{file}: {metrics}");
        match good {
            Some(good) => world.write(file, good),
            None => std::fs::remove_file(world.dir().join(file)).unwrap(),
        }
    }
    world.reload().unwrap();
    let is_refusal = |line: &serde_json::Value| {
        line["event"] == "reload" && line["note"].as_str().unwrap().starts_with("refused: ")
    };
    let status = world.admin("GET", "/status", "").await.json();
    assert_eq!(status["last_reload"]["ok"], true);
    world.reloads(BROKEN.len() + 1).await;
    assert!(world.audit().into_iter().filter(is_refusal).count() >= BROKEN.len());
}

/// Refused reloads, as the metrics count them (the watch may have tried on its own).
fn refused(metrics: &str) -> usize {
    let prefix = "stepgate_policy_reload_total{result=\"refused\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(prefix));
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_all_files_are_said_in_one_reload() {
    let world = World::start().await;
    for (file, broken) in BROKEN.iter().filter(|(file, _)| {
        !["stepgate.toml", "prices.toml", "policies/site.actions.toml"].contains(file)
            && !file.ends_with("cases.toml")
    }) {
        world.write(file, broken);
    }
    let said = world.reload().unwrap_err();
    for name in [
        "site.policy.toml",
        "session.jwks",
        "api-keys.toml",
        "gateway.pem",
        "gateway.key",
        "city.mmdb",
        "asn.mmdb",
    ] {
        assert!(said.contains(name), "{name} is not named:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_during_fifty_reloads_every_fifth_broken() {
    // A small pack: trying all of OKX's against its mutants fifty times would take the time that the store is given.
    let world = World::with(POLICY, SMALL_PACK, "").await;
    let alice = world.session("alice", "s1").await;
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut traffic = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (alice, done, count) = (alice.clone(), done.clone(), count.clone());
        traffic.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let answer = match number % 2 {
                    0 => alice.get(BALANCE).await,
                    _ => alice.post_json(TRANSFER, TO_CONTRACT).await,
                };
                assert_eq!(answer.status, 200, "{}", answer.text());
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 1..=50 {
        let policy = match round % 5 {
            0 => "version = 1\n[[rule]]\nid = \"half".to_owned(),
            _ => format!("# {round}\n{POLICY}"),
        };
        world.write("policies/site.policy.toml", policy);
        assert_eq!(world.reload().is_ok(), round % 5 != 0);
    }
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = traffic.join_next().await {
        ended.unwrap();
    }
    assert!(count.load(Ordering::Relaxed) >= 50, "traffic ran all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_handshakes_get_the_new_certificate_and_open_connections_go_on() {
    let world = World::start().await;
    let old = world.client();
    let mut open = old.connect(&[]).await.unwrap();
    assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"));
    let ca_pem = kit::certificates(world.dir());
    world.reload().unwrap();
    assert!(ask(&mut open).await.starts_with("HTTP/1.1 200"), "the open one goes on");
    // A client without a session of before, which would not look at certificates again.
    let stranger = world.client().connect(&[]).await;
    assert!(stranger.is_err(), "the old CA did not sign what is shown now");
    let new = Client::new(world.running.address(), &ca_pem, HOST).from(TOKYO);
    assert_eq!(new.get("/").await.status, 200);
}

/// One request on an open connection; the head of its answer.
async fn ask<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: {TOKYO}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 8_192];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_is_not_taken() {
    let world = World::start().await;
    let key = std::fs::read(world.dir().join("gateway.key")).unwrap();
    kit::certificates(world.dir());
    world.write("gateway.key", key);
    let said = world.reload().unwrap_err();
    assert!(said.contains("does not go with the key"), "{said}");
    assert_eq!(world.client().get("/").await.status, 200, "the old pair is in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_are_noticed_without_being_told() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    world.write("policies/site.policy.toml", no_transfers());
    world.reloads(1).await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 403);
    world.write("policies/site.policy.toml", "version = 1\nbroken");
    world.reloads(2).await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 403, "the last good one");
    // One that was not there before.
    world.write("policies/site.actions.cases.toml", PACK_CASE_THAT_FAILS);
    world.reloads(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_the_running_program() {
    let (dir, exchange) = (TempDir::new().unwrap(), Exchange::start().await);
    let upstream = exchange.address;
    let options =
        Options { upstream, policy: POLICY, pack: OKX, extra: "", workers: 2, sms: false };
    let kit = Kit::write(dir.path(), &options);
    let places = Binary::place(&kit);
    let mut gateway = Binary::start(&kit, places).await;
    let bot = gateway.client(&kit, "ok-access-key", "key-alice");
    assert_eq!(bot.post_json(TRANSFER, TO_CONTRACT).await.status, 200);

    // Nothing changed, so that only the signal can be the reason.
    gateway.signal("HUP");
    assert!(hears(&gateway, "\"ok\":true").await);
    std::fs::write(dir.path().join("policies/site.policy.toml"), no_transfers()).unwrap();
    gateway.signal("HUP");
    for _ in 0..500 {
        if bot.post_json(TRANSFER, TO_CONTRACT).await.status == 403 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bot.post_json(TRANSFER, TO_CONTRACT).await.status, 403);
    std::fs::write(dir.path().join("policies/site.policy.toml"), "version = 2\n").unwrap();
    gateway.signal("HUP");
    assert!(hears(&gateway, "\"ok\":false").await);
    assert_eq!(bot.post_json(TRANSFER, TO_CONTRACT).await.status, 403);
    assert!(gateway.stop());
}

/// Whether the status says this within some seconds.
async fn hears(gateway: &Binary, text: &str) -> bool {
    for _ in 0..500 {
        let status = admin(gateway.admin, "GET", "/status", "").await.text();
        if status.replace(' ', "").contains(text) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
