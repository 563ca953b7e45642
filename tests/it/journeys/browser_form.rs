//! A browser's form is held, sealed, and released byte for byte, once, after approval.

use crate::client::Client;
use crate::world::{World, hidden};

const PACK: &str = r#"version = 1
exchange = "pages"
unclassified = { read = "allow", write = "deny" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "form"
fields = { asset = "form.asset", amount = "form.amount", address = "form.address" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = "asset=BTC&amount=1&address=bc1q"
"#;

const FORM: &str = "asset=BTC&amount=0.5&address=bc1qexample&note=a%20%2B+b";

async fn world() -> (World, Client) {
    let world = World::with(crate::kit::POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let browser = alice
        .with("accept", "text/html,application/xhtml+xml")
        .with("sec-fetch-mode", "navigate")
        .with("sec-fetch-site", "same-origin");
    (world, browser)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_shown_held_approved_and_released_once() {
    let (world, browser) = world().await;
    let page = browser.post_form("/withdraw", FORM).await;
    assert_eq!(page.status, 401);
    assert!(page.header("content-type").starts_with("text/html"));
    let text = page.text();
    assert!(
        text.contains("0.5")
            && text.contains("BTC")
            && text.contains("autocomplete=\"one-time-code\"")
    );
    assert!(page.header("content-security-policy").contains("frame-ancestors"));
    assert!(world.exchange.seen_at("/withdraw").is_empty());

    let challenge = page.challenge();
    let csrf = hidden(&page, "csrf");
    let at = format!("/.stepgate/challenge/{challenge}");
    let form = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    let wrong = format!("factor=totp&code=000000&csrf={csrf}");
    assert_eq!(browser.post_form(&format!("{at}/answer"), wrong).await.status, 403);
    let no_token = format!("factor=totp&code={}", world.totp());
    assert_eq!(browser.post_form(&format!("{at}/answer"), no_token).await.status, 400);
    let approved = browser.post_form(&format!("{at}/answer"), form).await;
    assert!([200, 303].contains(&approved.status.as_u16()), "{}", approved.text());

    let released = browser.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(released.status, 200, "{}", released.text());
    let seen = world.exchange.seen_at("/withdraw");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, FORM);
    assert_eq!(seen[0].headers["content-type"], "application/x-www-form-urlencoded");

    let again = browser.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(world.exchange.seen_at("/withdraw").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_form_survives_a_restart_and_is_still_released_once() {
    let (mut world, browser) = world().await;
    let page = browser.post_form("/withdraw", FORM).await;
    let (challenge, csrf) = (page.challenge(), hidden(&page, "csrf"));
    world.restart().await;
    let token = browser.headers.clone();
    let mut browser = world.client();
    browser.headers = token;
    let at = format!("/.stepgate/challenge/{challenge}");
    let form = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    browser.post_form(&format!("{at}/answer"), form).await;
    let released = browser.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(released.status, 200, "{}", released.text());
    assert_eq!(world.exchange.seen_at("/withdraw").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_released_before_it_is_approved() {
    let (world, browser) = world().await;
    let page = browser.post_form("/withdraw", FORM).await;
    let (challenge, csrf) = (page.challenge(), hidden(&page, "csrf"));
    let path = format!("/.stepgate/challenge/{challenge}/release");
    let early = browser.post_form(&path, format!("csrf={csrf}")).await;
    assert_ne!(early.status, 200);
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}
