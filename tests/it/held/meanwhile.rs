//! Things change while a request is held: it is decided anew when it is released, and its person is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{FORM, NOT_KEPT, PACK, Question, browser, is_page, reload, rules, sent, under, world};
use crate::bypass::store_down::Fragile;
use crate::kit::{HOST, POLICY};
use crate::world::World;

const ORDER: &str = r#"{"by":"ops","reason":"test"}"#;

fn more(rule: &str) -> String {
    format!("{POLICY}\n[[rule]]\nid = \"more\"\non = \"withdrawal\"\n{rule}\n")
}

/// A form that is held and approved.
async fn approved() -> (World, crate::client::Client, Question) {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    (world, alice, question)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_came_meanwhile_stops_it_and_says_why() {
    let (world, alice, question) = approved().await;
    rules(&world, &more("deny = true\nwhy = \"Withdrawals are closed.\""));
    let page = question.release(&alice).await;
    is_page(&page, 403, &["Withdrawals are closed.", NOT_KEPT, "href=\"/withdraw?asset=BTC\""]);
    is_page(
        &question.look(&alice).await,
        200,
        &["It was not sent", "href=\"/withdraw?asset=BTC\""],
    );
    is_page(&question.release(&alice).await, 409, &["It was not sent"]);
    let refused = world.noted("refusal").await;
    assert_eq!((&refused["action"], &refused["verdict"]), (&"withdrawal".into(), &"deny".into()));
    assert_eq!(sent(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_began_meanwhile_says_until_when() {
    let (world, alice, question) = approved().await;
    rules(&world, &more("hold = \"24h\""));
    let page = question.release(&alice).await;
    is_page(&page, 403, &["Not yet", "is not kept", "24 hours"]);
    is_page(&question.look(&alice).await, 200, &["It was not sent", "has to wait"]);
    assert_eq!(sent(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_went_meanwhile_lets_it_through() {
    let (world, alice, question) = approved().await;
    let (remote_login, _) = POLICY.split_once("[[rule]]\nid = \"contract-to-spot\"").unwrap();
    rules(&world, remote_login);
    assert_eq!(question.release(&alice).await.status, 200);
    is_page(&question.release(&alice).await, 409, &["the exchange accepted it"]);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_account_is_told_so() {
    let (world, alice, question) = approved().await;
    world.admin("POST", "/account/main/alice/freeze", ORDER).await;
    let page = question.release(&alice).await;
    assert!(page.text().contains("class=\"button"), "{}", page.text());
    world.admin("POST", "/account/main/alice/thaw", ORDER).await;
    question.release(&alice).await;
    assert_eq!(sent(&world), 0, "a thaw does not bring back what was approved before");
}

/// Held and asked about once more, with all that was typed.
#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_rose_meanwhile_asks_again() {
    let priced = format!(
        "{POLICY}\n[[rule]]\nid = \"large\"\non = \"withdrawal\"\nwhen = \"usd_value > 10_000\"\nrequire = \"totp and sms\"\n"
    );
    let extra = "[prices]\nfile = \"prices.toml\"\nage_max_s = 1000000000\n";
    let files = [("prices.toml", "[usd]\nBTC = \"1000\"\nUSDT = \"1\"\n")];
    let world = World::with_files(&priced, PACK, extra, &files).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+4915112345667").await;
    let alice = browser(&world, "alice", "s1").await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    std::fs::write(world.dir().join("prices.toml"), "[usd]\nBTC = \"100000\"\nUSDT = \"1\"\n")
        .unwrap();
    reload(&world);
    let page = question.release(&alice).await;
    let anew = Question::on(&page);
    assert_ne!(anew.id, question.id);
    assert!(page.text().contains("bc1qexample"), "{}", page.text());
    assert_eq!(sent(&world), 0);
    // The old page leads to the new question.
    let old = question.look(&alice).await;
    assert!(old.text().contains(&anew.id), "{}", old.text());
    let old = question.release(&alice).await;
    assert!(old.text().contains(&anew.id), "{}", old.text());
    world.wait_s(30);
    let half = anew.answer(&alice, &world.totp()).await;
    assert!(half.text().contains("One more is needed"), "{}", half.text());
    // Loaded anew: it is half way still, and no attempt is counted.
    let half = anew.answer(&alice, &world.totp()).await;
    assert!(half.text().contains("One more is needed"), "{}", half.text());
    assert!(half.text().contains("Attempts left: 4"), "{}", half.text());
    let asked = format!("factor=sms&csrf={}", anew.csrf);
    alice.post_form(&anew.at("/send"), asked).await;
    let code = sms_code(&world).await;
    let form = format!("factor=sms&code={code}&csrf={}", anew.csrf);
    is_page(&alice.post_form(&anew.at("/answer"), form).await, 200, &["/release"]);
    assert_eq!(anew.release(&alice).await.status, 200);
    let seen = world.exchange.seen_at("/withdraw");
    assert_eq!((seen.len(), &*seen[0].body), (1, FORM.as_bytes()));
}

/// The code of the last message, which ends in `@host #code`.
async fn sms_code(world: &World) -> String {
    for _ in 0..200 {
        let text = world.sms();
        if let Some((_, rest)) = text.rsplit_once(&format!("@{HOST} #")) {
            return rest.chars().take(6).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no message: {}", world.sms());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_approval_that_lasts_does_not_release_it() {
    let lasting = "version = 1\n\n[[rule]]\nid = \"w\"\non = \"withdrawal\"\nrequire = \"totp\"\nvalid = \"1h\"\n";
    let (world, alice) = under(lasting).await;
    let waiting = Question::of(&alice, FORM).await;
    let other = Question::of(&alice, "asset=ETH&amount=1&address=0xother").await;
    other.confirm(&world, &alice).await;
    assert_eq!(other.release(&alice).await.status, 200);
    assert_eq!(waiting.release(&alice).await.status, 401, "it was not confirmed");
    assert_eq!(sent(&world), 1);
    assert_eq!(alice.post_form("/withdraw", FORM).await.status, 200, "sent again, it passes");
    assert_eq!(sent(&world), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_gone_sends_nothing() {
    let (world, alice, question) = approved().await;
    let config = std::fs::read_to_string(world.kit.config()).unwrap();
    let hosts = format!("hosts = [\"{HOST}\", \"localhost\"]");
    assert!(config.contains(&hosts));
    std::fs::write(world.kit.config(), config.replace(&hosts, "hosts = [\"localhost\"]")).unwrap();
    reload(&world);
    let gone = question.release(&alice).await;
    assert_eq!(gone.status, 421, "{}", gone.text());
    assert!(gone.header("content-type").starts_with("text/html"), "{}", gone.text());
    assert!(gone.text().contains("Wrong host"), "{}", gone.text());
    // The same account at the host that is left: the request was meant for another.
    let mut there = alice.with("origin", "https://localhost");
    there.host = "localhost".to_owned();
    is_page(&question.release(&there).await, 421, &["Wrong host"]);
    assert_eq!(sent(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_keeps_it_for_later() {
    let down = Arc::new(AtomicBool::new(false));
    let taken = down.clone();
    let world = World::on(POLICY, PACK, move |store| {
        Arc::new(Fragile { store, down: taken, no_texts: Arc::default() })
    })
    .await;
    world.enrol_totp("alice").await;
    let alice = browser(&world, "alice", "s1").await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    down.store(true, Ordering::SeqCst);
    let at_page = alice.with("referer", format!("https://{HOST}{}", question.at("/answer")));
    // The way on leads to the page that it came from, which is the question's.
    is_page(
        &question.release(&at_page).await,
        503,
        &["was not carried out", &question.at("/answer")],
    );
    assert_eq!(question.look(&alice).await.status, 503);
    down.store(false, Ordering::SeqCst);
    assert_eq!(question.release(&alice).await.status, 200, "nothing was lost");
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_it_is_not_sent_and_the_page_leads_back_to_the_form() {
    for confirm in [false, true] {
        let (world, alice) = world().await;
        let question = Question::of(&alice, FORM).await;
        if confirm {
            question.confirm(&world, &alice).await;
        }
        world.wait_s(301);
        let words = ["Expired", NOT_KEPT, "href=\"/withdraw?asset=BTC\""];
        is_page(&question.look(&alice).await, 200, &words);
        is_page(&question.release(&alice).await, 410, &words);
        is_page(&question.answer(&alice, &world.totp()).await, 410, &words);
        assert_eq!(sent(&world), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_meanwhile_is_not_sent_and_its_page_says_so_ever_after() {
    let (world, alice, question) = approved().await;
    let order = r#"{"action":"withdrawal","for_ms":3600000,"reasons":{"":"Maintenance."}}"#;
    assert_eq!(world.admin("POST", "/suspend", order).await.status, 200);
    let refused = question.release(&alice).await;
    is_page(&refused, 503, &["suspended for now", "Maintenance."]);
    assert_eq!(refused.header("retry-after"), "3600");
    assert_eq!(sent(&world), 0);
    is_page(&question.look(&alice).await, 200, &["It was not sent", "suspended for now"]);
    assert_eq!(world.admin("POST", "/resume", r#"{"which":"withdrawal"}"#).await.status, 200);
    // It is not kept, so a later click sends nothing.
    assert_eq!(question.release(&alice).await.status, 409);
    assert_eq!(sent(&world), 0);
}
