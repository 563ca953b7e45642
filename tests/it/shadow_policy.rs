//! A candidate policy beside the live one: what it would have done is told and counted, and nothing is done.

use std::time::Duration;

use serde_json::{Value, json};

use crate::binary;
use crate::client::Client;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{FRANKFURT, Kit};
use crate::world::World;

const BALANCE: &str = "/api/v5/account/balance";
const ORDER: &str = "/api/v5/trade/order";
/// From spot to contract, on which the live policy has no rule.
const TO_CONTRACT: &str = r#"{"ccy":"USDT","amt":"100","from":"6","to":"18","type":"0"}"#;

/// One guarded action, and one that only has a name.
pub const PACK: &str = r#"
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

[[action]]
name = "order"
match = "POST /api/v5/trade/order"
body = "json"
guarded = false
fields = { asset = "json.ccy", amount = "json.amt", address = "json.to" }
"#;

const LIVE: &str = r#"version = 1

[[rule]]
id = "remote-login"
on = "*"
when = "geo.new_country"
require = "totp"
valid = "session"

[[rule]]
id = "contract-to-spot"
on = "transfer"
when = "transfer.from is contract"
require = "totp"
"#;

fn rule(id: &str, on: &str, rest: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\non = \"{on}\"\n{rest}\n")
}

fn only(rules: &str) -> String {
    format!("version = 1\n{rules}")
}

/// Names the candidate in the kit's configuration and writes it.
fn put_beside(kit: &Kit, candidate: &str) {
    std::fs::write(kit.dir.join("policies/candidate.policy.toml"), candidate).unwrap();
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let live = "policy = \"policies/site.policy.toml\"";
    let both = format!("{live}\nshadow_policy = \"policies/candidate.policy.toml\"");
    std::fs::write(kit.config(), text.replace(live, &both)).unwrap();
}

async fn beside(candidate: &str) -> World {
    let world = World::edited(LIVE, PACK, "", |kit| put_beside(kit, candidate)).await;
    world.enrol_totp("alice").await;
    world
}

fn reload(world: &World) -> Result<String, String> {
    tokio::task::block_in_place(|| world.running.reload())
}

/// All lines of this event, once there are this many.
async fn lines(world: &World, event: &str, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        let mut lines = world.audit();
        lines.retain(|line| line["event"] == event);
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {count} {event} in {:#?}", world.audit());
}

/// The value of one series; 0 if there is none.
async fn metric(world: &World, series: &str) -> u64 {
    let text = world.admin("GET", "/metrics", "").await.text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn decided(world: &World, live: &str, shadow: &str) -> u64 {
    let labels = format!("site=\"main\",live=\"{live}\",shadow=\"{shadow}\"");
    metric(world, &format!("stepgate_shadow_decisions_total{{{labels}}}")).await
}

async fn transfer_with_code(client: &Client, world: &World) -> u16 {
    let (code, json) = (world.totp(), "application/json");
    let headers = [("content-type", json), ("step-up-code", &*code)];
    client.send("POST", TRANSFER, &headers, TO_SPOT).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_candidate_would_have_said_of_a_request_is_explained_from_the_log() {
    let world = beside(&only(&rule("all", "transfer", "require = \"sms\""))).await;
    let alice = world.session("alice", "s1").await;
    let passed = alice.post_json(TRANSFER, TO_CONTRACT).await;
    assert_eq!(passed.status, 200);
    lines(&world, "outcome", 1).await;
    let id = passed.header("stepgate-request");
    let said =
        binary::said(&binary::run(world.dir(), &["explain", "-c", "stepgate.toml", "--id", id]));
    assert!(said.contains("rules of the candidate policy"), "{said}");
    assert!(said.contains("all: require"), "{said}");
    assert!(said.contains("would be  require (sms)"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_would_freeze_everybody_is_told_and_counted_and_freezes_nobody() {
    let world = beside(&only(&rule("all", "*", "freeze = true\nnotify = true"))).await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    assert_eq!(transfer_with_code(&alice, &world).await, 200);
    for intent in lines(&world, "intent", 2).await {
        let shadow = &intent["shadow"];
        assert_eq!((&shadow["verdict"], &shadow["differs"]), (&"freeze".into(), &true.into()));
        assert_eq!(shadow["rules"], json!([{ "rule": "all", "outcome": "freeze" }]), "{intent}");
        assert!(intent["policy"] != shadow["policy"], "{intent}");
        let live = intent["rules"].as_array().map_or(0, Vec::len);
        assert!(live < 2 && !intent["rules"].to_string().contains("all"), "{intent}");
    }
    let account = world.admin("GET", "/account/main/alice", "").await.json();
    assert!(account["frozen"].is_null(), "{account}");
    assert!(world.audit().iter().all(|line| line["event"] != "frozen"));
    assert_eq!(decided(&world, "allow", "freeze").await, 2, "the balance and one transfer");
    assert_eq!(decided(&world, "require", "freeze").await, 1, "once, though it was decided twice");
    let series = "stepgate_rules_total{site=\"main\",rule=\"all\",outcome=\"freeze\",\
                  shadow=\"false\",policy=\"candidate\"}";
    assert_eq!(metric(&world, series).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_guards_nothing_that_the_live_policy_does_not() {
    let dear = rule("dear", "order", "when = \"usd_value > 10\"\nrequire = \"totp\"");
    let moved = rule("moved", "order", "when = \"address is nowhere\"\ndeny = true");
    let much = rule("much", "order", "when = \"counters.order.count_24h > 3\"\ndeny = true");
    let world = beside(&only(&[dear, moved, much].concat())).await;
    // Nobody's, larger than any body that is read, and not JSON either.
    let streamed = "x".repeat(200_000);
    assert_eq!(world.client().post_json(ORDER, streamed.clone()).await.status, 200);
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(ORDER, streamed.clone()).await.status, 200);
    assert!(world.exchange.seen_at(ORDER).iter().all(|seen| seen.body.len() == streamed.len()));
    let told = lines(&world, "decision", 2).await;
    assert!(world.audit().iter().all(|line| line["event"] != "intent"), "the store was not asked");
    // What it did not see may be anything; of counters it knows what ordinary traffic knows.
    for line in told {
        let rules = line["shadow"]["rules"].as_array().unwrap();
        let rules: Vec<_> = rules.iter().map(|said| said["rule"].as_str().unwrap()).collect();
        assert_eq!(rules, ["dear", "moved"], "{line}");
        assert_eq!(line["shadow"]["verdict"], "deny");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_actions_a_candidate_sees_without_their_fields() {
    let world = beside(&only(&rule("dear", "order", "deny = true"))).await;
    let said = binary::run(world.dir(), &["check", "-c", "stepgate.toml"]);
    assert!(said.status.success(), "{}", binary::said(&said));
    let said = binary::said(&said);
    assert!(said.contains("candidate.policy.toml"), "{said}");
    assert!(said.contains("the live policy does not guard `order`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidates_hold_begins_when_the_candidate_is_live() {
    let held = only(&rule("wait", "transfer", "hold = \"24h\""));
    let world = beside(&held).await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    let seen = &lines(&world, "intent", 1).await[0]["shadow"];
    assert_eq!(
        (&seen["verdict"], &seen["until"]),
        (&"hold".into(), &(world.now().0 + DAY_MS).into())
    );
    world.wait_s(3_600);
    std::fs::write(world.dir().join("policies/site.policy.toml"), &held).unwrap();
    reload(&world).unwrap();
    let refused = alice.post_json(TRANSFER, TO_CONTRACT).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["retry_after"], 86_400, "not an hour less");
}

const DAY_MS: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_counts_for_the_candidates_rule_of_the_same_name_and_for_no_other() {
    let other = rule(
        "abroad",
        "*",
        "when = \"geo.country is DE\"\nrequire = \"totp\"\nvalid = \"session\"",
    );
    let world = beside(&format!("{LIVE}{other}")).await;
    world.session("alice", "home").await;
    let token = world.kit.token("alice", "away", world.now().seconds());
    let away = world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"));
    let code = world.totp();
    assert_eq!(away.send("GET", BALANCE, &[("step-up-code", &*code)], "").await.status, 200);
    let line = &lines(&world, "decision", 1).await[0];
    let said = |rule: &str| {
        let rules = line["shadow"]["rules"].as_array().unwrap();
        rules.iter().find(|said| said["rule"] == rule).unwrap()["satisfied"] == true
    };
    assert!(said("remote-login") && !said("abroad"), "{line}");
    assert_eq!(
        (&line["verdict"], &line["shadow"]["verdict"]),
        (&"allow".into(), &"require".into())
    );
    assert_eq!(line["shadow"]["factors"], "totp");
    assert_eq!(away.get(BALANCE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_would_ask_everybody_everywhere_fills_no_disk() {
    let world = beside(&only(&rule("all", "*", "require = \"totp\""))).await;
    let alice = world.session("alice", "s1").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    for _ in 0..20 {
        assert_eq!(alice.get(BALANCE).await.status, 200);
        assert_eq!(bot.get(BALANCE).await.status, 200);
        // There is nobody to be asked, so that nothing would be done otherwise.
        assert_eq!(world.client().get(BALANCE).await.status, 200);
    }
    assert_eq!(decided(&world, "allow", "require").await, 61);
    let skipped = "stepgate_shadow_lines_skipped_total{site=\"main\"}";
    assert_eq!(metric(&world, skipped).await, 39);
    world.wait_s(60);
    assert_eq!(alice.get(BALANCE).await.status, 200);
    let told = lines(&world, "decision", 3).await;
    assert_eq!(told.len(), 3, "one of each credential in a minute: {told:#?}");
    assert!(told[0]["facts"]["geo.country"] == "JP", "with what it was decided on: {}", told[0]);
    assert!(told.iter().all(|line| line["account"] == "alice"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_say_the_same_ordinary_traffic_leaves_no_line() {
    let world = beside(LIVE).await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401);
    let asked = &lines(&world, "challenge_opened", 1).await[0];
    assert_eq!(asked["shadow"]["verdict"], "require");
    assert!(asked["shadow"]["differs"].is_null(), "{asked}");
    assert_eq!(asked["shadow"]["policy"], asked["policy"], "the same text, the same version");
    assert!(world.audit().iter().all(|line| line["event"] != "decision"));
    assert_eq!(
        (decided(&world, "allow", "allow").await, decided(&world, "require", "require").await),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laxer_candidate_spares_nobody_a_code() {
    let world = beside("version = 1\n").await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
    let asked = &lines(&world, "challenge_opened", 1).await[0]["shadow"];
    assert_eq!((&asked["verdict"], &asked["differs"]), (&"allow".into(), &true.into()));
    assert_eq!(decided(&world, "require", "allow").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_candidate_nothing_is_said_of_one() {
    let world = World::with(LIVE, PACK, "").await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    lines(&world, "outcome", 1).await;
    assert!(world.audit().iter().all(|line| line["shadow"].is_null()));
    let metrics = world.admin("GET", "/metrics", "").await.text();
    assert!(!metrics.contains("stepgate_shadow_decisions_total{"), "{metrics}");
    let status = world.admin("GET", "/status", "").await.json();
    assert!(status["sites"][0]["shadow_policy"].is_null(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_comes_changes_and_goes_by_reload_and_its_own_cases_must_hold() {
    let world = World::with(LIVE, PACK, "").await;
    let alice = world.session("alice", "s1").await;
    let before = std::fs::read(world.kit.config()).unwrap();
    put_beside(&world.kit, &only(&rule("all", "*", "deny = true")));
    reload(&world).unwrap();
    assert_eq!(alice.get(BALANCE).await.status, 200);
    assert_eq!(decided(&world, "allow", "deny").await, 1);
    let site = world.admin("GET", "/status", "").await.json()["sites"][0].clone();
    let (live, tried) = (site["policy"].as_str().unwrap(), site["shadow_policy"].as_str().unwrap());
    assert_ne!(live, tried);
    for (kind, version) in [("live", live), ("candidate", tried)] {
        let labels = format!("site=\"main\",policy=\"{kind}\",version=\"{version}\"");
        assert_eq!(metric(&world, &format!("stepgate_policy_info{{{labels}}}")).await, 1);
    }

    let case = "version = 1\n[[case]]\nname = \"all pass\"\nrequest = { action = \"transfer\" }\n\
                expect = { verdict = \"allow\" }\n";
    std::fs::write(world.dir().join("policies/candidate.cases.toml"), case).unwrap();
    let said = reload(&world).unwrap_err();
    assert!(said.contains("candidate.cases.toml") && said.contains("all pass"), "{said}");
    assert_eq!(
        world.admin("GET", "/status", "").await.json()["sites"][0],
        site,
        "the last good one"
    );

    std::fs::write(world.kit.config(), before).unwrap();
    reload(&world).unwrap();
    assert_eq!(alice.get(BALANCE).await.status, 200);
    assert_eq!(decided(&world, "allow", "deny").await, 1, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_replaced_is_noticed() {
    async fn version(world: &World) -> Value {
        world.admin("GET", "/status", "").await.json()["sites"][0]["shadow_policy"].clone()
    }
    let world = beside(LIVE).await;
    let before = version(&world).await;
    let file = world.dir().join("policies/candidate.policy.toml");
    std::fs::write(file, only(&rule("all", "*", "deny = true"))).unwrap();
    for _ in 0..1_000 {
        if version(&world).await != before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the watch did not notice");
}
