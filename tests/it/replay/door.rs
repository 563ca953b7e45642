//! A running gateway leaves a log; under the policy that made it nothing differs, under a stricter one what must.

use serde_json::Value;

use crate::binary::{run, said};
use crate::client::{Answer, Client};
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{FRANKFURT, POLICY, TOKYO};
use crate::world::World;

const BALANCE: &str = "/api/v5/account/balance";

/// The report on this world's own log; `policy` is tried if there is one.
fn report(world: &World, policy: Option<&str>) -> Value {
    report_with(world, policy, &[])
}

fn report_with(world: &World, policy: Option<&str>, more: &[&str]) -> Value {
    let mut arguments =
        vec!["replay", "-c", "stepgate.toml", "--audit", "audit/stepgate.jsonl", "--json"];
    if let Some(policy) = policy {
        std::fs::write(world.dir().join("candidate.policy.toml"), policy).unwrap();
        arguments.extend(["--policy", "candidate.policy.toml"]);
    }
    arguments.extend(more);
    let output = run(world.dir(), &arguments);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The kinds of which there is something: how many requests, and of how many accounts.
fn kinds(report: &Value) -> Vec<(String, u64, u64)> {
    let rows = report["kinds"].as_array().unwrap().iter();
    rows.map(|row| {
        let number = |name: &str| row[name].as_u64().unwrap();
        (row["kind"].as_str().unwrap().to_owned(), number("requests"), number("accounts"))
    })
    .filter(|(_, requests, _)| *requests > 0)
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_own_log_does_not_differ_under_its_own_policy_and_does_under_another() {
    let mut world = World::with_policy(POLICY).await;
    for account in ["alice", "bob"] {
        world.enrol_totp(account).await;
    }
    let home = world.session("alice", "home").await;
    assert_eq!(home.post_json(TRANSFER, backwards()).await.status, 200);
    let asked = home.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(approve(&world, &home, &asked).await.status, 200);
    assert_eq!(home.post_json(TRANSFER, TO_SPOT).await.status, 200);
    world.wait_s(60);
    let body = withdrawal("50", "TAddress");
    let asked = home.post_json(WITHDRAW, &body).await.challenge();
    assert_eq!(approve(&world, &home, &asked).await.status, 200);
    assert_eq!(home.post_json(WITHDRAW, &body).await.status, 200);
    // Asked and never answered.
    world.wait_s(60);
    home.post_json(WITHDRAW, withdrawal("60", "TAddress")).await.challenge();

    let token = world.kit.token("alice", "remote", world.now().seconds());
    let remote = world.client().from(FRANKFURT);
    let thief = remote.with("authorization", format!("Bearer {token}"));
    let question = thief.get(BALANCE).await.challenge();
    assert!(thief.post_json(TRANSFER, TO_SPOT).await.status.is_client_error());
    world.wait_s(60);
    assert_eq!(approve(&world, &thief, &question).await.status, 200);
    assert_eq!(thief.post_json(TRANSFER, backwards()).await.status, 200);

    // Twice within an hour: one question under a rule whose answer holds.
    let bob = world.session("bob", "b").await;
    for _ in 0..2 {
        assert_eq!(bob.post_json(TRANSFER, backwards()).await.status, 200);
        world.wait_s(60);
    }
    tokio::task::block_in_place(|| world.running.stop());

    let own = report(&world, None);
    assert_eq!((own["changed"].as_u64(), own["follow_ups_changed"].as_u64()), (Some(0), Some(0)));
    assert_eq!(own["follow_ups"], 2, "{own:#}");
    assert!(own["requests"].as_u64().unwrap() >= 9, "{own:#}");
    assert!(own["headline"].as_str().unwrap().starts_with("Nothing would change"), "{own:#}");
    assert_eq!(kinds(&own), []);

    let both = POLICY.replace(
        "on = \"withdrawal\"\nrequire = \"totp or sms\"",
        "on = \"withdrawal\"\nrequire = \"totp and sms\"",
    );
    let strict = report(&world, Some(&both));
    assert_eq!(kinds(&strict), [("asked_for_more".to_owned(), 2, 1)], "{strict:#}");
    assert_eq!(strict["rules"][0]["rule"], "withdrawals");
    assert_eq!(strict["forecast"]["asked_without_a_factor"], 2, "no phone is enrolled");

    let lax = POLICY.replace(
        "on = \"withdrawal\"\nrequire = \"totp or sms\"",
        "on = \"withdrawal\"\nallow = true",
    );
    let lax = report(&world, Some(&lax));
    assert_eq!(kinds(&lax), [("no_longer_asked".to_owned(), 2, 1)], "{lax:#}");
    assert_eq!(lax["forecast"]["never_answered"], 1);

    let every = format!(
        "{POLICY}\n[[rule]]\nid = \"moves\"\non = \"transfer\"\nwhen = \"transfer.to is contract\"\nrequire = \"totp\"\nvalid = \"1h\"\n"
    );
    let every = report(&world, Some(&every));
    assert_eq!(kinds(&every), [("newly_asked".to_owned(), 3, 2)], "{every:#}");
    assert_eq!(every["forecast"]["covered_by_an_answer"], 1);
    let example = &every["kinds"][0]["examples"][0];
    let text = std::fs::read_to_string(world.dir().join("audit/stepgate.jsonl")).unwrap();
    assert!(text.contains(example["request"].as_str().unwrap()));
    assert_eq!((&example["account"], &example["action"]), (&"alice".into(), &"transfer".into()));

    let nobody = "version = 1\n[[rule]]\nid = \"shut\"\non = \"withdrawal\"\nhold = \"1h\"\n";
    let held = report(&world, Some(nobody));
    let held_kinds = kinds(&held);
    assert!(held_kinds.contains(&("newly_held".to_owned(), 2, 1)), "{held_kinds:?}");
    assert_eq!(held["forecast"]["held_again"], 1, "the second attempt meets the same hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn todays_places_are_looked_up_where_that_is_asked_for_and_only_there() {
    let mut world = World::with_policy(POLICY).await;
    world.enrol_totp("bob").await;
    let bob = world.session("bob", "b").await;
    for _ in 0..2 {
        assert_eq!(bob.post_json(TRANSFER, backwards()).await.status, 200);
        world.wait_s(60);
    }
    tokio::task::block_in_place(|| world.running.stop());
    // As if the database of that time had taken an address of Taipei for one of Tokyo.
    let log = world.dir().join("audit/stepgate.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    let (home, taipei) = (format!("\"{TOKYO}\""), "\"198.18.1.10\"");
    assert!(text.contains(&home));
    std::fs::write(&log, text.replace(&home, taipei)).unwrap();

    let recorded = report(&world, None);
    assert_eq!(
        (recorded["changed"].as_u64(), recorded["policy"]["is_own"].as_bool()),
        (Some(0), Some(true))
    );
    let today = report_with(&world, None, &["--recompute"]);
    assert_eq!(today["policy"]["is_own"], false);
    assert_eq!(kinds(&today), [("newly_asked".to_owned(), 1, 1)], "{today:#}");
    assert_eq!(today["forecast"]["covered_by_an_answer"], 1, "the second is the same session's");
    assert_eq!(today["rules"][0]["rule"], "remote-login");
    assert_eq!(today["kinds"][0]["examples"][0]["country"], "TW");
    let caveats = today["caveats"].to_string();
    assert!(caveats.contains("2 requests came from another place"), "{caveats}");

    let config = world.dir().join("stepgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("city = \"geo/city.mmdb\"\nasn = \"geo/asn.mmdb\"\n", ""))
        .unwrap();
    let arguments =
        ["replay", "-c", "stepgate.toml", "--audit", "audit/stepgate.jsonl", "--recompute"];
    let output = run(world.dir(), &arguments);
    assert!(!output.status.success());
    assert!(said(&output).contains("`[geo]` names no database"), "{}", said(&output));
}

async fn approve(world: &World, client: &Client, challenge: &str) -> Answer {
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    client.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await
}

/// Spot to contract, which nobody is asked about.
fn backwards() -> String {
    TO_SPOT.replace("\"18\"", "\"x\"").replace("\"6\"", "\"18\"").replace("\"x\"", "\"6\"")
}
