//! The pages' language: chosen by the browser until a person chooses another one, and nothing is lost by choosing.

use crate::client::{Answer, Client};
use crate::kit::POLICY;
use crate::world::World;

const PACK: &str = r#"version = 1
exchange = "pages"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "form"
fields = { asset = "form.asset", amount = "form.amount", address = "form.address" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = "asset=BTC&amount=1&address=bc1q"
"#;
const FORM: &str = "asset=BTC&amount=0.5&address=bc1qexample";
const HOLD: &str = r#"
[[rule]]
id = "wait"
on = "withdrawal"
when = "asset is ETH"
hold = "24h"
why = "Ether has to wait."
"#;

fn step(challenge: &str, step: &str) -> String {
    format!("/.stepgate/challenge/{challenge}{step}")
}

async fn alice() -> (World, Client) {
    let world = World::with(&format!("{POLICY}{HOLD}"), PACK, "").await;
    world.enrol_totp("alice").await;
    let browser = world
        .session("alice", "s1")
        .await
        .with("accept", "text/html")
        .with("accept-language", "ja")
        .with("sec-fetch-mode", "navigate")
        .with("sec-fetch-site", "same-origin");
    (world, browser)
}

/// The addresses that a page's switch leads to.
fn switch(page: &Answer) -> Vec<String> {
    let text = page.text();
    let links = text.split("<a href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    links.map(|(href, _)| href.to_owned()).filter(|href| href.contains("lang=")).collect()
}

fn to<'a>(links: &'a [String], tag: &str) -> &'a str {
    links.iter().find(|link| link.ends_with(&format!("lang={tag}"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_held_goes_out_once_after_its_owner_has_read_it_in_another_language() {
    let (world, browser) = alice().await;
    let page = browser.post_form("/withdraw", FORM).await;
    assert_eq!((page.status.as_u16(), page.header("content-language")), (401, "ja"));
    let id = page.challenge();
    let links = switch(&page);
    assert_eq!(links.len(), 5, "{links:?}");

    let german = browser.get(to(&links, "de")).await;
    assert_eq!((german.status.as_u16(), german.header("content-language")), (200, "de"));
    assert!(german.text().contains("bc1qexample"), "the same challenge");
    let cookie = german.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(cookie, "__Host-stepgate-lang=de");
    let browser = browser.with("cookie", cookie);

    let csrf = german.text().split("name=\"csrf\" value=\"").nth(1).unwrap().to_owned();
    let csrf = csrf.split('"').next().unwrap();
    let wrong = format!("factor=totp&code=000000&csrf={csrf}");
    let wrong = browser.post_form(&step(&id, "/answer"), wrong).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("content-language")), (403, "de"));
    let right = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    assert_eq!(browser.post_form(&step(&id, "/answer"), right).await.status, 200);
    let done = browser.post_form(&step(&id, "/release"), format!("csrf={csrf}")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let seen = world.exchange.seen_at("/withdraw");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, FORM.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_form_is_told_again_in_another_language_and_later() {
    let (world, browser) = alice().await;
    let browser = browser.with("referer", format!("https://{}/wallet?tab=2", browser.host));
    let held = browser.post_form("/withdraw", FORM.replace("BTC", "ETH")).await;
    assert_eq!(held.status, 403, "{}", held.text());
    let address = to(&switch(&held), "de").to_owned();
    let german = browser.get(&address).await;
    assert_eq!((german.status.as_u16(), german.header("content-language")), (200, "de"));
    let text = german.text();
    assert!(text.contains("Noch nicht möglich") && text.contains("Ether has to wait."), "{text}");
    assert!(text.contains("rund 24 Stunden") && !text.contains("/wallet?tab=2"), "{text}");
    world.wait_s(86_400);
    let over = browser.get(&address).await.text();
    assert!(over.contains("<h1>Die Wartezeit ist vorbei</h1>"), "{over}");
    assert!(!over.contains("muss diese Aktion warten"), "{over}");
    assert!(over.contains("/wallet?tab=2"), "the page where it can be sent again\n{over}");
    world.wait_s(86_400);
    assert_eq!(browser.get(&address).await.status, 404, "in time nobody reads it any more");
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_make_the_site_say_what_it_did_not_say() {
    let (_world, browser) = alice().await;
    let held = browser.post_form("/withdraw", FORM.replace("BTC", "ETH")).await;
    let address = to(&switch(&held), "en").split('?').next().unwrap().to_owned();
    assert_eq!(browser.get(&address).await.status, 200);
    let mut bytes = address.clone().into_bytes();
    for at in ["/.stepgate/said/".len() + 8, bytes.len() - 8] {
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(browser.get(&forged).await.status, 404, "{forged}");
    }
    for forged in ["/.stepgate/said/", "/.stepgate/said/e30.", "/.stepgate/said/e30.AAAA"] {
        assert_eq!(browser.get(forged).await.status, 404, "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_choose_and_a_program_is_not_asked() {
    let (_world, browser) = alice().await;
    let page = browser.post_form("/withdraw", FORM).await;
    let german = to(&switch(&page), "de").to_owned();
    let linked = browser.with("sec-fetch-site", "cross-site").get(&german).await;
    assert_eq!(linked.header("content-language"), "de");
    assert_eq!(linked.header("set-cookie"), "");
    let program = browser.with("accept", "application/json").with("sec-fetch-mode", "cors");
    assert_eq!(program.get(&german).await.header("set-cookie"), "");
    let unknown = browser.get(&german.replace("lang=de", "lang=fr")).await;
    assert_eq!(unknown.header("content-language"), "ja");
    assert_eq!(unknown.header("set-cookie"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_asks_for_one_code_and_the_other_factor_is_a_link_away() {
    let (world, browser) = alice().await;
    world.enrol_phone("alice", "+491701234567").await;
    let page = browser.post_form("/withdraw", FORM).await;
    let id = page.challenge();
    let fields = |page: &Answer| page.text().matches("autocomplete=\"one-time-code\"").count();
    assert_eq!(fields(&page), 1);
    let csrf = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap().to_owned();
    let csrf = csrf.split('"').next().unwrap();
    let sent = browser.post_form(&step(&id, "/send"), format!("factor=sms&csrf={csrf}")).await;
    assert_eq!(sent.status, 202);
    assert!(sent.text().contains("value=\"sms\"") && fields(&sent) == 1, "{}", sent.text());
    let app = browser.get(&format!("{}?with=totp", step(&id, ""))).await;
    assert!(app.text().contains("name=\"factor\" value=\"totp\""), "{}", app.text());
    assert_eq!(fields(&app), 1);
    assert!(switch(&app).iter().all(|link| link.contains("?with=totp&amp;lang=")), "it stays");
}
