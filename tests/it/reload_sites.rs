//! What a reload does to requests under way, to sites that come, change and go, and what it says that it did not do.

use std::time::Duration;

use serde_json::Value;

use crate::binary::{self, Binary};
use crate::client::{Answer, Client};
use crate::exchange::{Exchange, Reply};
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{HOST, Kit, Options, POLICY, TOKYO};
use crate::shadow_policy::PACK;
use crate::world::World;

const BALANCE: &str = "/api/v5/account/balance";
const OTHER: &str = "other.example";
/// Long enough for a reload in the middle of it.
const SLOW: Duration = Duration::from_secs(5);

fn config(world: &World) -> String {
    std::fs::read_to_string(world.kit.config()).unwrap()
}

/// Writes the configuration changed, and reloads.
fn change(world: &World, old: &str, new: &str) -> Result<String, String> {
    let text = config(world);
    assert!(text.contains(old), "{old}");
    std::fs::write(world.kit.config(), text.replace(old, new)).unwrap();
    reload(world)
}

fn reload(world: &World) -> Result<String, String> {
    tokio::task::block_in_place(|| world.running.reload())
}

/// A request that is at the exchange when this returns; its answer comes later.
async fn under_way(world: &World, client: &Client) -> tokio::task::JoinHandle<Answer> {
    let (before, client) = (world.exchange.seen().len(), client.clone());
    world.exchange.will(Reply::After(SLOW));
    let answer = tokio::spawn(async move { client.get("/slow").await });
    for _ in 0..500 {
        if world.exchange.seen().len() > before {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not arrive");
}

fn elsewhere(world: &World) -> Client {
    Client::new(world.running.address(), &world.kit.ca_pem, OTHER).from(TOKYO)
}

const OTHER_SITE: &str = r#"
[[site]]
name = "other"
hosts = ["other.example"]
upstream = ["UPSTREAM"]
policy = "policies/site.policy.toml"

[[site]]
name = "main""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_added_is_served_and_one_that_is_removed_ends_its_requests_first() {
    let world = World::with(POLICY, PACK, "").await;
    assert_eq!(elsewhere(&world).get("/").await.status, 421);
    let upstream = format!("http://{}", world.exchange.address);
    let main = "\n[[site]]\nname = \"main\"";
    let other = OTHER_SITE.replace("UPSTREAM", &upstream);
    let said = change(&world, main, &other).unwrap();
    assert_eq!(said, "2 site(s), 0 case(s)", "a site needs no restart");
    assert_eq!(elsewhere(&world).get("/").await.status, 200);

    let slow = under_way(&world, &elsewhere(&world)).await;
    change(&world, &other, main).unwrap();
    assert_eq!(elsewhere(&world).get("/").await.status, 421, "it is gone");
    assert!(!slow.is_finished(), "or nothing was under way");
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(world.client().get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_moves_to_another_site_is_the_other_sites_at_once() {
    let world = World::with(POLICY, PACK, "").await;
    let local = Client::new(world.running.address(), &world.kit.ca_pem, "localhost").from(TOKYO);
    assert_eq!(local.get("/").await.status, 200);
    change(&world, ", \"localhost\"", ", \"other.example\"").unwrap();
    assert_eq!(local.get("/").await.status, 421);
    assert_eq!(elsewhere(&world).get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_gets_the_next_request_and_the_old_one_still_answers_its_own() {
    let (world, new) = (World::with(POLICY, PACK, "").await, Exchange::start().await);
    let slow = under_way(&world, &world.client()).await;
    let (old_address, new_address) = (world.exchange.address, new.address);
    change(&world, &old_address.to_string(), &new_address.to_string()).unwrap();
    let before = world.exchange.seen().len();
    assert_eq!(world.client().get("/").await.status, 200);
    assert_eq!((new.seen().len(), world.exchange.seen().len()), (1, before));
    assert!(!slow.is_finished(), "or nothing was under way");
    assert_eq!(slow.await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_an_identity_that_was_taken_out_are_nobodys() {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    let session = world.session("alice", "s1").await;
    assert!(!bot.post_json(TRANSFER, TO_SPOT).await.challenge().is_empty());
    let text = config(&world);
    let key = text.find("[[site.identity]]\nkind = \"api_key\"").unwrap();
    std::fs::write(world.kit.config(), &text[..key]).unwrap();
    reload(&world).unwrap();
    let refused = bot.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!((refused.status.as_u16(), refused.header("step-up-challenge")), (401, ""));
    assert!(!session.post_json(TRANSFER, TO_SPOT).await.challenge().is_empty());
    std::fs::write(world.kit.config(), text).unwrap();
    reload(&world).unwrap();
    assert!(!bot.post_json(TRANSFER, TO_SPOT).await.challenge().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_does_not_apply_is_named_until_it_is_so_again() {
    let world = World::with(POLICY, PACK, "").await;
    let said = change(&world, "workers = 2", "workers = 3").unwrap();
    assert_eq!(said, "1 site(s), 0 case(s); listen.workers needs a restart");
    let said = change(&world, "city = \"geo/city.mmdb\"\n", "").unwrap();
    assert!(said.ends_with("; listen.workers and geo.city need a restart"), "{said}");
    assert_eq!(reload(&world).unwrap(), said, "not only the first time");
    let status = world.admin("GET", "/status", "").await.json();
    let restart = &status["last_reload"]["restart"];
    assert_eq!(*restart, serde_json::json!(["listen.workers", "geo.city"]), "{status}");
    let said = change(&world, "asn = \"geo/asn.mmdb\"", "asn = \"geo/city.mmdb\"").unwrap_err();
    assert!(said.contains("city.mmdb"), "another file is tried before the restart: {said}");
    change(&world, "asn = \"geo/city.mmdb\"", "city = \"geo/city.mmdb\"\nasn = \"geo/asn.mmdb\"")
        .unwrap();
    assert_eq!(change(&world, "workers = 3", "workers = 2").unwrap(), "1 site(s), 0 case(s)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_on_its_own_terms_and_the_action_decided_on_the_new_ones() {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let file = world.dir().join("policies/site.policy.toml");
    std::fs::write(file, POLICY.replace("contract-to-spot", "to-spot")).unwrap();
    reload(&world).unwrap();
    let code = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(alice.post_json(&path, code).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
    world.noted("outcome").await;
    let (opened, approved) =
        (noted(&world, "challenge_opened"), noted(&world, "challenge_approved"));
    let intent = noted(&world, "intent");
    assert_eq!(opened["challenge"], challenge.as_str());
    assert_eq!(approved["policy"], opened["policy"], "what was approved is what was asked");
    assert_eq!(
        approved["challenge"], intent["challenge"],
        "the record names what it was approved by"
    );
    assert_ne!(intent["policy"], opened["policy"], "it was decided anew");
    assert_eq!(intent["rules"][0]["rule"], "to-spot", "{intent}");
}

fn noted(world: &World, event: &str) -> Value {
    let mut lines = world.audit();
    lines.retain(|line| line["event"] == event);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_command_says_what_is_in_force_and_that_a_reload_was_refused() {
    let (dir, exchange) = (tempfile::TempDir::new().unwrap(), Exchange::start().await);
    let upstream = exchange.address;
    let options =
        Options { upstream, policy: POLICY, pack: PACK, extra: "", workers: 1, sms: false };
    let kit = Kit::write(dir.path(), &options);
    let places = Binary::place(&kit);
    let mut gateway = Binary::start(&kit, places).await;
    let ask = |more: &[&str]| {
        let arguments = [&["status", "-c", "stepgate.toml"], more].concat();
        binary::said(&binary::run(dir.path(), &arguments))
    };
    let fresh = ask(&[]);
    assert!(fresh.contains("no reload since the start"), "{fresh}");
    let json: Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    assert!(fresh.contains(json["sites"][0]["policy"].as_str().unwrap()), "{fresh}");

    std::fs::write(dir.path().join("policies/site.policy.toml"), "version = 2\n").unwrap();
    gateway.signal("HUP");
    let mut said = String::new();
    for _ in 0..500 {
        said = ask(&[]);
        if said.contains("REFUSED") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        said.contains("(by SIGHUP): REFUSED") || said.contains("(by files): REFUSED"),
        "{said}"
    );
    assert!(said.contains("this version of the language is not known"), "{said}");
    assert!(said.contains("site.policy.toml:1:"), "{said}");
    assert!(said.contains(json["sites"][0]["policy"].as_str().unwrap()), "still in force: {said}");
    let client = gateway.client(&kit, "ok-access-key", "key-alice");
    assert_eq!((client.host.as_str(), client.get(BALANCE).await.status.as_u16()), (HOST, 200));
    assert!(gateway.stop());
}
