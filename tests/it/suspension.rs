//! Operators close an action for a while (INCIDENTS 18 to 20): it is refused everywhere at once, customers are told, and
//! everything else goes on.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Answer, Client};
use crate::fleet::{self, Fleet, until};
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::POLICY;
use crate::operators::stepgate;
use crate::world::{OKX, World};

const BALANCE: &str = "/api/v5/account/balance";
const ORDER: &str = "/api/v5/trade/order";
const CANCEL: &str = "/api/v5/trade/cancel-order";
const HOUR_MS: u64 = 3_600_000;

async fn suspend(world: &World, order: Value) -> String {
    let answer = world.admin("POST", "/suspend", &order.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn resume(world: &World, which: &str) -> Answer {
    world.admin("POST", "/resume", &json!({ "which": which }).to_string()).await
}

async fn alice(world: &World) -> Client {
    world.enrol_totp("alice").await;
    world.session("alice", "s1").await
}

async fn withdraws(client: &Client) -> Answer {
    client.post_json(WITHDRAW, withdrawal("5", "TAddress1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_is_refused_before_anybody_is_asked_and_the_rest_goes_on() {
    let world = World::start().await;
    let alice = alice(&world).await;
    let order = json!({ "action": "withdrawal", "for_ms": 2 * HOUR_MS, "by": "carol" });
    let id = suspend(&world, order).await;
    world.wait_s(60);
    let refused = withdraws(&alice).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), (2 * 3600 - 60).to_string());
    assert!(refused.header("step-up-challenge").is_empty());
    assert!(refused.text().contains("suspended for now"), "{}", refused.text());
    assert_eq!(refused.json()["code"], "50114", "in the exchange's own words: {}", refused.text());
    for open in [TRANSFER, ORDER, CANCEL] {
        let answer = alice.post_json(open, TO_SPOT).await;
        assert_ne!(answer.status, 503, "{open}: {}", answer.text());
    }
    assert_eq!(alice.get(BALANCE).await.status, 200);
    assert_eq!(resume(&world, &id).await.status, 200);
    assert_eq!(withdraws(&alice).await.status, 401, "asked about as ever");
    assert_eq!(resume(&world, &id).await.status, 404, "it has ended");
    let refusal = world.noted("refusal").await;
    assert_eq!(refusal["action"], "withdrawal", "{refusal}");
    assert!(refusal["note"].as_str().unwrap().starts_with("suspended until 2026-11-20T14:00:00Z"));
    let note = world.noted("suspended").await["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("operator:carol: withdrawal from 2026-11-20T12:00:00Z"), "{note}");
    world.noted("resumed").await;
    let metrics = world.admin("GET", "/metrics", "").await.text();
    let counted = r#"stepgate_suspended_requests_total{site="main",action="withdrawal"} 1"#;
    assert!(metrics.contains(counted) && metrics.contains("stepgate_suspensions 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_suspended_and_customers_still_look() {
    let world = World::start().await;
    let alice = alice(&world).await;
    suspend(&world, json!({ "action": "*" })).await;
    for closed in [TRANSFER, WITHDRAW, ORDER] {
        let answer = alice.post_json(closed, TO_SPOT).await;
        assert_eq!(answer.status, 503, "{closed}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), "600", "nobody knows when it ends");
    }
    assert_eq!(alice.get(BALANCE).await.status, 200);
    assert_eq!(alice.get("/.stepgate/factors").await.status, 200);
    assert_eq!(world.exchange.seen().iter().filter(|seen| seen.method == "POST").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_body_is_still_on_its_way_meets_what_was_ordered_meanwhile() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    // Nobody is asked about this direction.
    let body =
        TO_SPOT.replace("\"18\"", "\"x\"").replace("\"6\"", "\"18\"").replace("\"x\"", "\"6\"");
    let (first, rest) = body.split_at(10);
    let client = world.client();
    let mut tls = client.connect(&[b"http/1.1"]).await.unwrap();
    let head = format!(
        "POST {TRANSFER} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{first}",
        crate::kit::HOST,
        body.len()
    );
    tls.write_all(head.as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    // Its head has been judged by then, or is judged later: refused either way.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    world.wait_s(1);
    suspend(&world, json!({ "action": "*" })).await;
    tls.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(world.exchange.seen().iter().filter(|seen| seen.method == "POST").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_taken_for_the_action_that_it_is_named_after() {
    let world = World::start().await;
    let order = json!({ "action": "withdrawal.*" });
    let refused = world.admin("POST", "/suspend", &order.to_string()).await;
    assert_eq!(refused.status, 422, "withdrawals would go on: {}", refused.text());
    assert!(refused.text().contains("suspend `withdrawal`"), "{}", refused.text());
    let far = json!({ "action": "withdrawal", "for_ms": u64::MAX });
    let far = world.admin("POST", "/suspend", &far.to_string()).await;
    assert_eq!(far.status, 422, "{}", far.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_window_begins_and_ends_at_its_times() {
    let world = World::start().await;
    let alice = alice(&world).await;
    let (from, end) = (world.now().plus_ms(HOUR_MS), world.now().plus_ms(3 * HOUR_MS));
    suspend(&world, json!({ "action": "withdrawal", "from": from, "until": end })).await;
    let status = world.admin("GET", "/status", "").await.json();
    assert_eq!(status["suspensions"][0]["action"], "withdrawal", "{status}");
    for (wait_s, expected) in [(0, 401), (3_599, 401), (1, 503), (7_199, 503), (1, 401)] {
        world.wait_s(wait_s);
        assert_eq!(withdraws(&alice).await.status, expected, "at {}", world.now());
    }
    let late = json!({ "action": "withdrawal", "until": from });
    let late = world.admin("POST", "/suspend", &late.to_string()).await;
    assert_eq!(late.status, 422, "it would be over already: {}", late.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_told_in_their_language_on_a_page_or_as_json() {
    let world = World::start().await;
    let alice = alice(&world).await;
    let reasons = json!({ "": "Wallet maintenance <1>.", "de": "Wartung der Wallets." });
    let order = json!({ "action": "transfer", "for_ms": HOUR_MS, "reasons": reasons });
    suspend(&world, order).await;
    let page = |language: &str| {
        let browser = alice.with("accept", "text/html").with("sec-fetch-mode", "navigate");
        let browser = browser.with("sec-fetch-dest", "document");
        let browser = browser.with("accept-language", language);
        async move { browser.post_form(TRANSFER, "ccy=USDT").await }
    };
    for (language, words) in [
        ("en", ["suspended for now", "Wallet maintenance &lt;1&gt;."]),
        ("zh-TW", ["目前暫停", "Wallet maintenance &lt;1&gt;."]),
        ("zh-CN", ["目前暂停", "Wallet maintenance &lt;1&gt;."]),
        ("ja", ["一時停止", "Wallet maintenance &lt;1&gt;."]),
        ("de", ["vorübergehend ausgesetzt", "Wartung der Wallets."]),
    ] {
        let page = page(language).await;
        assert_eq!(
            (page.status.as_u16(), page.header("retry-after")),
            (503, "3600"),
            "{}",
            page.text()
        );
        assert_eq!(page.header("content-language"), language);
        for words in words {
            assert!(page.text().contains(words), "{words} is not in {}", page.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_names_its_type_and_its_end() {
    let plain = "version = 1\nexchange = \"plain\"\nunclassified = { read = \"allow\", write = \"allow\" }\n\n\
        [[action]]\nname = \"withdrawal\"\nmatch = [\"POST /withdraw\"]\nbody = \"json\"\n\
        fields = { amount = \"json.amount\" }\nsample = \"{\\\"amount\\\":\\\"1\\\"}\"\n";
    let world = World::with(POLICY, plain, "").await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let alice = world.client().with("authorization", format!("Bearer {token}"));
    suspend(&world, json!({ "action": "withdrawal", "for_ms": HOUR_MS })).await;
    let refused = alice.post_json("/withdraw", r#"{"amount":"1"}"#).await;
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:stepgate:suspended", "{problem}");
    assert_eq!((refused.status.as_u16(), &problem["status"]), (503, &json!(503)));
    // A program without a session is told the same: nothing of anybody's is in it.
    let nobody = world.client().post_json("/withdraw", r#"{"amount":"1"}"#).await;
    assert_eq!(nobody.json()["type"], "urn:stepgate:suspended", "{}", nobody.text());
    // What no action names goes on, unless all is suspended or just that.
    assert_eq!(alice.post_json("/new", "{}").await.status, 200);
    suspend(&world, json!({ "action": "ordinary" })).await;
    assert_eq!(alice.post_json("/new", "{}").await.status, 503);
    assert_eq!(alice.get("/new").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_is_there_after_a_restart() {
    let mut world = World::start().await;
    let alice_is = alice(&world).await;
    suspend(&world, json!({ "action": "withdrawal" })).await;
    assert_eq!(withdraws(&alice_is).await.status, 503);
    world.restart().await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(withdraws(&alice).await.status, 503);
    assert_eq!(resume(&world, "withdrawal").await.status, 200);
    assert_eq!(withdraws(&alice).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_pack_knows_is_not_suspended() {
    let world = World::start().await;
    for (order, words) in [
        (json!({ "action": "withdrawl" }), "withdrawal"),
        (json!({ "action": "factor.*" }), "no pack has"),
        (json!({ "action": "with*" }), "is no action"),
        (json!({ "action": "withdrawal", "site": "mian" }), "there is: main"),
        (json!({ "action": "*", "for_ms": 0 }), "end before it begins"),
        (json!({ "action": "*", "for_ms": 1, "until": 9_999_999_999_999_i64 }), "not both"),
        (json!({ "action": "*", "reasons": { "xx": "a" } }), "is no language"),
        (json!({ "action": "*", "reasons": { "": "a\nb" } }), "one line"),
    ] {
        let answer = world.admin("POST", "/suspend", &order.to_string()).await;
        assert_eq!(answer.status, 422, "{order}");
        assert!(answer.text().contains(words), "{order}: {}", answer.text());
    }
    let status = world.admin("GET", "/status", "").await.json();
    assert!(status.get("suspensions").is_none(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_at_one_gateway_holds_at_all_and_so_does_its_end() {
    let fleet = Fleet::start(POLICY, OKX).await;
    fleet.enrol_totp("alice").await;
    let alice = fleet.at_home("alice", "s1").await;
    let order = json!({ "action": "transfer", "for_ms": HOUR_MS }).to_string();
    let answer = fleet.admin(0, "POST", "/suspend", &order).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(alice[0].post_json(TRANSFER, TO_SPOT).await.status, 503);
    for client in &alice {
        let refused = async || client.post_json(TRANSFER, TO_SPOT).await.status == 503;
        until("suspended here too", refused).await;
        assert_eq!(client.get(BALANCE).await.status, 200);
    }
    let resumed = fleet.admin(2, "POST", "/resume", r#"{"which":"transfer"}"#).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    for client in &alice {
        let asked = async || client.post_json(TRANSFER, TO_SPOT).await.status == 401;
        until("asked about again", asked).await;
    }
    let challenge = alice[1].post_json(TRANSFER, TO_SPOT).await.challenge();
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, fleet::totp());
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(alice[2].post_json(&path, body).await.status, 200);
    assert_eq!(alice[0].post_json(TRANSFER, TO_SPOT).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_suspends_shows_and_resumes() {
    let world = World::start().await;
    let words =
        ["suspend", "withdrawal", "--for", "2h", "--reason", "Busy", "--reason", "de=Viel los"];
    let done = stepgate(&world, &words);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let status = String::from_utf8_lossy(&stepgate(&world, &["status"]).stdout).into_owned();
    for line in [
        "suspended: withdrawal on all sites, from 2026-11-20 12:00:00 UTC until 2026-11-20 14:00:00 UTC",
        "customers are told: Busy",
        "customers are told (de): Viel los",
        "lets it go on",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert!(stepgate(&world, &["resume", "withdrawal"]).status.success());
    assert!(!stepgate(&world, &["resume", "withdrawal"]).status.success());
    let both = stepgate(&world, &["suspend", "*", "--for", "2h", "--until", "2027-01-01"]);
    assert_eq!(both.status.code(), Some(2));
}
