//! What the log of a real gateway knows of a request, and how a running one says that an account stands.

use serde_json::Value;

use super::{masked, without_facts};
use crate::binary::{run, said};
use crate::client::{Answer, Client};
use crate::journeys::{WITHDRAW, withdrawal};
use crate::kit;
use crate::world::{OKX, World};

/// What is said about this id, and whether it went well.
fn explain(world: &World, id: &str, more: &[&str]) -> (bool, String) {
    let mut arguments = vec!["explain", "-c", "stepgate.toml", "--id", id];
    arguments.extend(more);
    let output = run(world.dir(), &arguments);
    (output.status.success(), said(&output))
}

fn words(world: &World, id: &str) -> String {
    let (fine, text) = explain(world, id, &[]);
    assert!(fine, "{text}");
    masked(&text, world.dir())
}

async fn answer(client: &Client, challenge: &str, code: &str) -> Answer {
    let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
    client.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await
}

/// A withdrawal that was asked about, answered wrong, answered right, and passed: the ids of the first request, of the
/// challenge and of the last request.
async fn withdrawn(world: &World) -> [String; 3] {
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(WITHDRAW, withdrawal("5", "TAddress")).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let challenge = asked.challenge();
    world.wait_s(5);
    assert_eq!(answer(&alice, &challenge, "000000").await.status, 403);
    world.wait_s(5);
    assert_eq!(answer(&alice, &challenge, &world.totp()).await.status, 200);
    world.wait_s(5);
    let passed = alice.post_json(WITHDRAW, withdrawal("5", "TAddress")).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    world.noted("outcome").await;
    let id = |answer: &Answer| answer.header("stepgate-request").to_owned();
    [id(&asked), challenge, id(&passed)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_was_asked_about_and_passed_is_told_from_first_to_last() {
    let world = World::start().await;
    let [first, challenge, last] = withdrawn(&world).await;
    insta::assert_snapshot!("explain_a_passed_withdrawal", words(&world, &last));
    let asked = words(&world, &first);
    assert!(asked.contains("the owner was asked") && asked.contains("status 200"), "{asked}");
    let about = without_facts(&words(&world, &challenge));
    assert!(about.starts_with("challenge "), "{about}");
    for says in ["a wrong code (totp)", "the owner approved by totp", "the exchange accepted it"] {
        assert!(about.contains(says), "{says}: {about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_as_json_names_lines_and_other_requests() {
    let world = World::start().await;
    let [first, challenge, last] = withdrawn(&world).await;
    let (fine, text) =
        explain(&world, &format!("Stepgate-Request: {}", last.to_uppercase()), &["--json"]);
    assert!(fine, "{text}");
    let past: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&past["id"], &past["kind"]), (&last.as_str().into(), &"request".into()));
    assert_eq!(past["challenges"], serde_json::json!([challenge]));
    let anew = &past["rules"]["anew"];
    assert_eq!((&anew["same"], &anew["verdict"]), (&true.into(), &past["verdict"]), "{past:#}");
    assert_eq!(
        (&anew["unsaid"], &anew["differs"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    let happened = past["happened"].as_array().unwrap();
    let events: Vec<&str> = happened.iter().map(|it| it["event"].as_str().unwrap()).collect();
    let order = ["challenge_opened", "attempt_failed", "challenge_approved", "intent", "outcome"];
    assert_eq!(events, order);
    assert_eq!(happened[0]["request"], first.as_str());
    assert_eq!(happened[4]["request"], Value::Null, "its own");
    let facts = past["facts"].as_array().unwrap();
    assert!(facts.iter().any(|it| it["name"] == "usd_value" && it["why"] != ""), "{past:#}");
    assert!(!text.contains("000000"), "no code is in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_another_policy_is_named_another() {
    let policy = "version = 1\n[[rule]]\nid = \"never\"\non = \"withdrawal\"\ndeny = true\n";
    let world = World::with_policy(policy).await;
    let alice = world.session("alice", "s1").await;
    let denied = alice.post_json(WITHDRAW, withdrawal("5", "TAddress")).await;
    assert_eq!(denied.status, 403);
    world.noted("refusal").await;
    let id = denied.header("stepgate-request").to_owned();
    insta::assert_snapshot!("explain_a_refusal", without_facts(&words(&world, &id)));

    std::fs::write(world.dir().join("policies/site.policy.toml"), kit::POLICY).unwrap();
    let text = words(&world, &id);
    insta::assert_snapshot!("explain_under_another_policy", without_facts(&text));
    std::fs::write(world.dir().join("policies/site.policy.toml"), "rubbish").unwrap();
    let text = words(&world, &id);
    assert!(text.contains("cannot be weighed again") && text.contains("never: deny"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_record_does_not_say_is_named_and_not_guessed() {
    let world = World::start().await;
    let [.., last] = withdrawn(&world).await;
    let log = std::fs::read_to_string(world.dir().join("audit/stepgate.jsonl")).unwrap();
    let gone = log.replace("\"geo.new_country\":\"false\",", "");
    assert_ne!(gone, log);
    std::fs::write(world.dir().join("cut.jsonl"), gone).unwrap();
    let (fine, text) = explain(&world, &last, &["--audit", "cut.jsonl"]);
    assert!(fine, "{text}");
    for says in [
        "geo.new_country = unreadable",
        "not in the record: geo.new_country",
        "otherwise than recorded: remote-login speaks, recorded as silent",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_nowhere_says_how_far_was_looked() {
    let world = World::start().await;
    let [_, challenge, last] = withdrawn(&world).await;
    let (fine, text) = explain(&world, "0190a5c2-7b3e-7c11-8d5a-0123456789ab", &[]);
    assert!(!fine && text.contains("no line has the id `0190a5c2"), "{text}");
    assert!(
        text.contains(" lines of ") && text.contains("from 2026-11-20T12:00:00.000Z to "),
        "{text}"
    );
    let mut wrong = last.clone();
    wrong.replace_range(35.., if last.ends_with('0') { "1" } else { "0" });
    let (fine, text) = explain(&world, &wrong, &[]);
    assert!(!fine && text.contains(&format!("did you mean {last}?")), "{text}");
    let (fine, text) = explain(&world, &challenge[..20], &[]);
    assert!(!fine && text.contains(&format!("did you mean {challenge}?")), "{text}");
    let (fine, text) = explain(&world, &last, &["--audit", "gone.jsonl"]);
    assert!(!fine && text.contains("cannot read gone.jsonl"), "{text}");
    let (fine, text) = explain(&world, "short", &[]);
    assert!(!fine && text.contains("too short for an id"), "{text}");
    let (fine, text) = explain(&world, &last, &["--request", "x"]);
    assert!(!fine && text.contains("cannot be used with"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_gateway_says_how_the_account_stands_and_nothing_changes() {
    let prices = [("prices.toml", "[usd]\nUSDT = \"1\"\n")];
    let extra = "[prices]\nfile = \"prices.toml\"\n";
    let world = World::with_files(kit::POLICY, OKX, extra, &prices).await;
    let [..] = withdrawn(&world).await;
    // The configuration names port 0 for the admin interface; the gateway knows which it got.
    let text = std::fs::read_to_string(world.kit.config()).unwrap();
    let admin = format!("[admin]\naddress = \"{}\"", world.running.admin_address().unwrap());
    let text = text.replace("[admin]\naddress = \"127.0.0.1:0\"", &admin);
    std::fs::write(world.dir().join("live.toml"), text).unwrap();
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let request = format!(
        "POST {WITHDRAW} HTTP/1.1\nHost: exchange.example\nContent-Type: application/json\n\
         Authorization: Bearer {token}\n\n{}",
        withdrawal("5", "TAddress")
    );
    std::fs::write(world.dir().join("request.http"), request).unwrap();
    let mut arguments = vec!["explain", "-c", "live.toml", "--request", "request.http", "--live"];
    arguments.extend(["--ip", kit::TOKYO, "--at", "2026-11-20T12:00:20Z"]);
    let before = world.audit().len();
    let card = world.admin("GET", "/account/main/alice", "").await.text();
    let output = run(world.dir(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let text = masked(&said(&output), world.dir());
    assert!(text.contains("history     as the running gateway has it"), "{text}");
    let fact = |name: &str, value: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(found.is_some_and(|line| line.ends_with(value)), "{name} {value}: {text}");
    };
    fact("address.known", "true");
    fact("address.verified", "true");
    fact("account.has_totp", "true");
    fact("geo.new_country", "false");
    fact("counters.withdrawal.count_24h", "1");
    assert!(text.contains("step-up-factors: totp\n"), "what it can give: {text}");
    assert_eq!(world.audit().len(), before);
    assert_eq!(world.admin("GET", "/account/main/alice", "").await.text(), card);
}
