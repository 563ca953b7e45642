//! Two operators (INCIDENTS 15): what weakens an account takes both, once, and the record names them.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::client::Answer;
use crate::fleet::Fleet;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{Kit, POLICY, TOTP_SECRET};
use crate::world::{OKX, World, admin_as};

const CAROL: &str = "the-token-of-carol-for-tests";
const DAVE: &str = "the-token-of-dave-for-tests";
const ADMIN: &str = "a-token-for-the-tests-only";
const RESET: &str = "/factor/main/alice/reset";
const LOST: &str = r#"{"factor":"totp","by":"eve","reason":"phone lost"}"#;

/// Gives the kit's operators names and tokens.
pub fn with_operators(kit: &Kit) {
    unsaid(kit);
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let mut more = String::new();
    for (name, token) in [("carol", CAROL), ("dave", DAVE)] {
        std::fs::write(kit.dir.join(format!("secrets/{name}.token")), token).unwrap();
        more += &format!(
            "\n[[admin.operator]]\nname = \"{name}\"\ntoken = \"file:secrets/{name}.token\"\n"
        );
    }
    std::fs::write(kit.config(), text + &more).unwrap();
}

/// One operator, where two are wanted whatever there is.
fn alone(kit: &Kit) {
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let (one, two) = ("four_eyes = false\n", "four_eyes = true\n");
    assert!(text.contains(one));
    std::fs::write(kit.config(), text.replace(one, two)).unwrap();
}

/// Takes out what the kit says of it.
fn unsaid(kit: &Kit) {
    let text = std::fs::read_to_string(kit.config()).unwrap();
    std::fs::write(kit.config(), text.replace("four_eyes = false\n", "")).unwrap();
}

async fn world() -> World {
    World::edited(POLICY, OKX, "", with_operators).await
}

async fn ask(world: &World, token: &str, path: &str, body: &str) -> Answer {
    admin_as(world.running.admin_address().unwrap(), token, "POST", path, body).await
}

async fn kinds(world: &World, account: &str) -> Vec<String> {
    let known = world.admin("GET", &format!("/factor/main/{account}"), "").await.json();
    let known = known.as_array().unwrap().iter();
    known.map(|card| card["factor"].as_str().unwrap().to_owned()).collect()
}

fn waits(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let said = answer.json();
    let id = said["pending"].as_str().unwrap().to_owned();
    assert!(said["next"].as_str().unwrap().contains(&format!("stepgate factor approve {id}")));
    id
}

fn named(id: &str) -> String {
    json!({ "id": id, "by": "somebody" }).to_string()
}

fn notes(world: &World) -> Vec<String> {
    let lines = world.audit().into_iter().filter(|line| line["event"] == "operator");
    lines.map(|line| line["note"].as_str().unwrap().to_owned()).collect()
}

/// A line of an import.
fn app(account: &str, secret: &str) -> String {
    let uri = format!("otpauth://totp/stepgate:{account}?secret={secret}&issuer=stepgate");
    json!({ "account": account, "group": "main", "otpauth": uri }).to_string()
}

/// Audit lines are written behind the answer.
async fn noted(world: &World, what: &str) -> String {
    for _ in 0..200 {
        if let Some(note) = notes(world).into_iter().find(|note| note.contains(what)) {
            return note;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no {what} in {:#?}", notes(world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_waits_for_another_operator_and_the_record_names_both() {
    let world = world().await;
    let phone = r#"{"account":"alice","group":"main","phone":"+4915112345678"}"#;
    let both = format!("{}\n{phone}", app("alice", TOTP_SECRET));
    let first = ask(&world, CAROL, "/factor/import", &both).await;
    assert_eq!(first.status, 200, "a first enrolment, of two kinds: {}", first.text());
    let alice = world.session("alice", "s1").await;
    let id = waits(&ask(&world, CAROL, RESET, LOST).await);
    assert_eq!(kinds(&world, "alice").await, ["totp", "sms"], "nothing has happened yet");
    let pending = world.admin("GET", "/factor/pending", "").await.json();
    assert_eq!(pending[0]["id"], id.as_str(), "{pending}");
    assert_eq!((&pending[0]["by"], &pending[0]["what"]), (&"carol".into(), &"reset".into()));
    assert_eq!(pending[0]["of"][0]["account"]["name"], "alice");
    let own = ask(&world, CAROL, "/factor/approve", &named(&id)).await;
    assert_eq!(own.status, 422);
    assert!(own.text().contains("you (carol) asked for this yourself"), "{}", own.text());
    assert_eq!(kinds(&world, "alice").await, ["totp", "sms"]);
    let approved = ask(&world, DAVE, "/factor/approve", &named(&id)).await;
    assert_eq!(approved.status, 200, "{}", approved.text());
    assert_eq!(kinds(&world, "alice").await, ["sms"]);
    assert_eq!(ask(&world, DAVE, "/factor/approve", &named(&id)).await.status, 404, "once");
    let done = noted(&world, "approved by").await;
    assert_eq!(done, "operator:carol, approved by operator:dave: totp reset: phone lost");
    assert!(notes(&world).iter().all(|note| !note.contains("eve")), "tokens say who it is");
    world.noted("owner_told").await;
    let after = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(after.header("step-up-factors"), "sms", "{}", after.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_approved() {
    let world = World::edited(POLICY, OKX, "", |kit| {
        with_operators(kit);
        std::os::unix::fs::symlink("/dev/full", kit.dir.join("audit/stepgate.jsonl")).unwrap();
    })
    .await;
    let first = ask(&world, CAROL, "/factor/import", &app("alice", TOTP_SECRET)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let id = waits(&ask(&world, CAROL, RESET, LOST).await);
    let approved = ask(&world, DAVE, "/factor/approve", &named(&id)).await;
    assert_eq!(approved.status, 503, "{}", approved.text());
    assert!(approved.text().contains("nothing was done"), "{}", approved.text());
    assert_eq!(kinds(&world, "alice").await, ["totp"]);
    assert_eq!(
        ask(&world, DAVE, "/factor/approve", &named(&id)).await.status,
        404,
        "it is used up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_replaces_is_a_reset_and_a_first_one_is_not() {
    let world = world().await;
    let line = |secret: &str| app("alice", secret);
    let first = ask(&world, CAROL, "/factor/import", &line(TOTP_SECRET)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    // Where either of two is asked for, to add one is as good as to replace the other.
    let phone = r#"{"account":"alice","group":"main","phone":"+4915112345678"}"#;
    waits(&ask(&world, CAROL, "/factor/import", phone).await);
    let mail = r#"{"account":"alice","group":"main","mail":"a@example.net"}"#;
    let mail = ask(&world, CAROL, "/factor/import", mail).await;
    assert_eq!(mail.status, 200, "an address for notices approves nothing: {}", mail.text());
    let alice = world.session("alice", "s1").await;
    let other = "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU";
    let id = waits(&ask(&world, CAROL, "/factor/import", &line(other)).await);
    let pending = world.admin("GET", "/factor/pending", "").await.text();
    assert!(!pending.contains(other) && pending.contains("\"import\""), "{pending}");
    // What counts is still the old one.
    let asked = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let path = format!("/.stepgate/challenge/{asked}/answer");
    assert_eq!(alice.post_json(&path, body).await.status, 200);
    assert_eq!(ask(&world, DAVE, "/factor/approve", &named(&id)).await.status, 200);
    world.wait_s(30);
    let asked = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{asked}/answer");
    let with = |code: String| format!(r#"{{"factor":"totp","code":"{code}"}}"#);
    assert_eq!(alice.post_json(&path, with(world.totp())).await.status, 403);
    let code = crate::world::totp_with(other, world.now());
    assert_eq!(alice.post_json(&path, with(code)).await.status, 200);
    let twice = format!(
        "{}\n{}",
        line(other).replace("alice", "bob"),
        line(TOTP_SECRET).replace("alice", "bob")
    );
    waits(&ask(&world, CAROL, "/factor/import", &twice).await);
    assert!(kinds(&world, "bob").await.is_empty(), "the second line would replace the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_reset_gets_a_factor_by_two_operators_too() {
    let world = world().await;
    world.enrol_totp("alice").await;
    let id = waits(&ask(&world, CAROL, RESET, LOST).await);
    assert_eq!(ask(&world, DAVE, "/factor/approve", &named(&id)).await.status, 200);
    assert!(kinds(&world, "alice").await.is_empty());
    waits(&ask(&world, CAROL, "/factor/import", &app("alice", TOTP_SECRET)).await);
    assert!(kinds(&world, "alice").await.is_empty(), "one of them could have asked for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_means_the_factors_that_were_there_when_it_was_asked_for() {
    let world = world().await;
    world.enrol_totp("alice").await;
    let old = waits(&ask(&world, CAROL, RESET, LOST).await);
    world.wait_s(60);
    let other = "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU";
    let new = waits(&ask(&world, CAROL, "/factor/import", &app("alice", other)).await);
    assert_eq!(ask(&world, DAVE, "/factor/approve", &named(&new)).await.status, 200);
    let late = ask(&world, DAVE, "/factor/approve", &named(&old)).await;
    assert_eq!(late.status, 422, "{}", late.text());
    assert!(late.text().contains("ask anew"), "{}", late.text());
    assert_eq!(kinds(&world, "alice").await, ["totp"], "the new one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_say_of_themselves_is_one_short_line() {
    let world = world().await;
    world.enrol_totp("alice").await;
    for reason in ["x".repeat(301), "two\nlines".to_owned(), "\u{1b}[31mred".to_owned()] {
        let body = json!({ "factor": "totp", "by": "eve", "reason": reason }).to_string();
        let refused = ask(&world, CAROL, RESET, &body).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains("one line of at most 300"), "{}", refused.text());
    }
    let pending = world.admin("GET", "/factor/pending", "").await.json();
    assert_eq!(pending, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_an_hour_old_is_not_carried_out() {
    let world = world().await;
    world.enrol_totp("alice").await;
    let refused = waits(&ask(&world, CAROL, RESET, LOST).await);
    assert_eq!(ask(&world, DAVE, "/factor/refuse", &named(&refused)).await.status, 200);
    let old = waits(&ask(&world, CAROL, RESET, LOST).await);
    world.wait_s(3_599);
    assert_eq!(world.admin("GET", "/factor/pending", "").await.json()[0]["id"], old.as_str());
    world.wait_s(1);
    for id in [refused, old, "nothing".to_owned()] {
        let answer = ask(&world, DAVE, "/factor/approve", &named(&id)).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    assert_eq!(kinds(&world, "alice").await, ["totp"]);
    noted(&world, "operator:dave refuses request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_approvals_at_several_gateways_one_does_something() {
    let fleet = Fleet::edited(POLICY, OKX, with_operators).await;
    fleet.enrol_totp("alice").await;
    let at = |number: usize| fleet.gateways[number].admin_address().unwrap();
    let asked = admin_as(at(0), CAROL, "POST", RESET, LOST).await;
    let id = waits(&asked);
    let mut approvals = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (address, body) = (at(number % 3), named(&id));
        let token = if number % 2 == 0 { DAVE } else { ADMIN };
        approvals.spawn(async move {
            admin_as(address, token, "POST", "/factor/approve", &body).await.status
        });
    }
    let mut said = approvals.join_all().await;
    said.sort_unstable();
    assert_eq!(said[0], 200);
    assert!(said[1..].iter().all(|status| *status == 404), "{said:?}");
    let known = fleet.admin(2, "GET", "/factor/main/alice", "").await.json();
    assert_eq!(known, json!([]));
    let audit = fleet.audit();
    let did = |line: &&Value| line["note"].as_str().is_some_and(|it| it.contains("approved by"));
    assert_eq!(audit.iter().filter(did).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_operator_has_nobody_to_ask() {
    let world = World::edited(POLICY, OKX, "", unsaid).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345678").await;
    assert_eq!(world.admin("POST", RESET, LOST).await.status, 200);
    assert_eq!(kinds(&world, "alice").await, ["sms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_two_are_wanted_a_lone_operator_is_told_what_to_configure() {
    let world = World::edited(POLICY, OKX, "", alone).await;
    world.enrol_totp("alice").await;
    let reset = world.admin("POST", RESET, LOST).await;
    assert_eq!(reset.status, 422);
    for word in ["[[admin.operator]]", "four_eyes = true"] {
        assert!(reset.text().contains(word), "{}", reset.text());
    }
    let uri = format!("otpauth://totp/x:alice?secret={TOTP_SECRET}");
    let line = json!({ "account": "alice", "group": "main", "otpauth": uri }).to_string();
    let replace = world.admin("POST", "/factor/import", &line).await;
    assert_eq!(replace.status, 422, "{}", replace.text());
    assert_eq!(kinds(&world, "alice").await, ["totp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_sixty_four_requests_wait() {
    let world = world().await;
    world.enrol_totp("alice").await;
    for _ in 0..64 {
        waits(&ask(&world, CAROL, RESET, LOST).await);
    }
    let more = ask(&world, CAROL, RESET, LOST).await;
    assert_eq!(more.status, 422);
    assert!(more.text().contains("stepgate factor pending"), "{}", more.text());
}

/// The command line against this world's gateway.
pub fn stepgate(world: &World, words: &[&str]) -> Output {
    let text = std::fs::read_to_string(world.kit.config()).unwrap();
    let address = world.running.admin_address().unwrap();
    let there = format!("[admin]\naddress = \"{address}\"");
    let text = text.replace("[admin]\naddress = \"127.0.0.1:0\"", &there);
    let config = world.dir().join("asking.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepgate"));
    tokio::task::block_in_place(|| {
        command.args(words).arg("-c").arg(&config).env_remove("STEPGATE_OPERATOR").output().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_lists_and_approves_with_the_token_of_whoever_it_is_told() {
    let world = world().await;
    world.enrol_totp("alice").await;
    let asked = stepgate(&world, &["factor", "reset", "alice", "totp", "--operator", "carol"]);
    let said: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let id = said["pending"].as_str().unwrap();
    let listed = stepgate(&world, &["factor", "pending"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(id));
    let own = stepgate(&world, &["factor", "approve", id, "--operator", "carol"]);
    assert!(!own.status.success());
    assert!(String::from_utf8_lossy(&own.stderr).contains("another operator has to approve it"));
    let nobody = stepgate(&world, &["factor", "approve", id, "--operator", "mallory"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("names no operator `mallory`"));
    let done = stepgate(&world, &["factor", "approve", id]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(kinds(&world, "alice").await.is_empty());
    noted(&world, "operator:carol, approved by operator:admin (").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_freezes_a_name_that_was_never_heard_of_is_told_so() {
    let world = world().await;
    let frozen = stepgate(&world, &["account", "freeze", "alcie"]);
    let warning = String::from_utf8_lossy(&frozen.stderr);
    assert!(frozen.status.success() && warning.contains("`main/alcie`"), "{warning}");
    assert!(String::from_utf8_lossy(&frozen.stdout).contains(r#""frozen":true"#));
    let card = world.admin("GET", "/account/main/alcie", "").await.json();
    assert!(card["frozen"].is_object(), "it is frozen all the same: {card}");
    let first = ask(&world, CAROL, "/factor/import", &app("alice", TOTP_SECRET)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let frozen = stepgate(&world, &["account", "freeze", "alice"]);
    assert_eq!(String::from_utf8_lossy(&frozen.stderr), "");
    assert!(String::from_utf8_lossy(&frozen.stdout).contains(r#""seen":true"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_one_token_is_not_two_operators() {
    let world = world().await;
    std::fs::write(world.dir().join("secrets/dave.token"), CAROL).unwrap();
    let checked = stepgate(&world, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("the token of `dave` is another operator's"), "{said}");
    assert!(!said.contains(CAROL), "{said}");
}
