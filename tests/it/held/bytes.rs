//! What was held goes out as the browser sent it, and what cannot be held is said.

use http::HeaderMap;

use super::{BROWSER, FORM, NOT_KEPT, PACK, Question, browser, is_page, world};
use crate::client::Answer;
use crate::kit::{FRANKFURT, POLICY};
use crate::world::World;

const URLENCODED: &str = "application/x-www-form-urlencoded";

/// What a browser makes of a form with a text, a file and a checkbox.
fn with_file(boundary: &str, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut part = |head: &str, value: &[u8]| {
        body.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; ").as_bytes(),
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"reason\"", "Umzug, 引越し".as_bytes());
    part("name=\"proof\"; filename=\"a b.png\"\r\nContent-Type: image/png", file);
    part("name=\"agree\"", b"on");
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// Every field that the browser sent reached the exchange as it was.
fn as_sent(seen: &HeaderMap, cookie: &str, media: &str) {
    for (name, value) in BROWSER.into_iter().chain([("cookie", cookie), ("content-type", media)]) {
        let all: Vec<_> = seen.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(all, [value], "{name}");
    }
}

fn cookie_of(client: &crate::client::Client) -> String {
    client.headers.iter().find(|(name, _)| name == "cookie").unwrap().1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_goes_out_as_the_browser_sent_it() {
    let (world, alice) = world().await;
    let odd = "asset=BTC&amount=0.50&address=bc1qexample&note=%e5%BC%95+a%20%2B%7E~*-._&empty=&x=";
    for form in [FORM, odd] {
        let question = Question::of(&alice, form).await;
        question.confirm(&world, &alice).await;
        assert_eq!(question.release(&alice).await.status, 200);
        let seen = world.exchange.seen_at("/withdraw").pop().unwrap();
        assert_eq!(seen.body, form);
        assert_eq!((&*seen.method, &*seen.target), ("POST", "/withdraw"));
        as_sent(&seen.headers, &cookie_of(&alice), URLENCODED);
        assert_eq!(seen.headers["content-length"], form.len().to_string());
        assert!(seen.headers.contains_key("stepgate-assertion"));
    }
    assert_eq!(world.exchange.seen_at("/withdraw").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_came_one_by_one_go_out_as_one() {
    let (world, alice) = world().await;
    let whole = cookie_of(&alice);
    let mut crumbs = alice.with("content-type", URLENCODED);
    crumbs.headers.retain(|(name, _)| name != "cookie");
    // As browsers send them over HTTP/2 (RFC 9113 §8.2.3).
    crumbs.headers.extend(whole.split("; ").map(|one| ("cookie".to_owned(), one.to_owned())));
    let question = Question::on(&crumbs.send_h2("POST", "/withdraw", FORM).await);
    question.confirm(&world, &alice).await;
    assert_eq!(question.release(&alice).await.status, 200);
    let seen = world.exchange.seen_at("/withdraw").pop().unwrap();
    as_sent(&seen.headers, &whole, URLENCODED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_a_file_goes_out_with_its_own_boundary() {
    let pack = PACK.replace("write = \"allow\"", "write = \"require\"");
    let world = World::with(POLICY, &pack, "").await;
    world.enrol_totp("alice").await;
    let alice = browser(&world, "alice", "s1").await;
    // Not text in any charset, and something like a boundary in the middle.
    let file: Vec<u8> =
        (0..60_000u32).map(|n| (n * 31 % 256) as u8).chain(*b"\r\n--x--\r\n").collect();
    let boundary = "----WebKitFormBoundaryq8Yw3mUe2x9T0b7n";
    let (media, body) =
        (format!("multipart/form-data; boundary={boundary}"), with_file(boundary, &file));
    let page = alice.post_bytes("/verify?step=2", &media, body.clone()).await;
    let question = Question::on(&page);
    assert!(page.text().contains("POST /verify?step=2"), "{}", page.text());
    question.confirm(&world, &alice).await;
    assert_eq!(question.release(&alice).await.status, 200);
    let seen = world.exchange.seen_at("/verify").pop().unwrap();
    assert_eq!(seen.body, body);
    assert_eq!(seen.target, "/verify?step=2");
    as_sent(&seen.headers, &cookie_of(&alice), &media);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_takes_no_files_says_so() {
    let (world, alice) = world().await;
    let page = alice
        .post_bytes("/withdraw", "multipart/form-data; boundary=x", with_file("x", b"file"))
        .await;
    is_page(&page, 415, &["media type", NOT_KEPT, "/withdraw?asset=BTC"]);
    let page = alice
        .post_bytes("/withdraw", "application/x-www-form-urlencoded; charset=Shift_JIS", FORM)
        .await;
    is_page(&page, 415, &["media type", NOT_KEPT]);
    assert!(world.exchange.seen_at("/withdraw").is_empty());
}

fn padded(bytes: usize) -> String {
    format!("{FORM}&more={}", "x".repeat(bytes - FORM.len() - 6))
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_kib_are_held_and_more_is_said_to_be_too_much() {
    let (world, alice) = world().await;
    let largest = padded(64 * 1024);
    let question = Question::of(&alice, &largest).await;
    question.confirm(&world, &alice).await;
    assert_eq!(question.release(&alice).await.status, 200);
    assert_eq!(world.exchange.seen_at("/withdraw").pop().unwrap().body, largest);

    let page = alice.post_form("/withdraw", padded(64 * 1024 + 1)).await;
    is_page(&page, 413, &["too large", NOT_KEPT, "/withdraw?asset=BTC"]);
    assert_eq!(world.exchange.seen_at("/withdraw").len(), 1);
}

/// Sends a form from a country where the account never was.
async fn from_abroad(world: &World, body: String) -> (crate::client::Client, Answer) {
    let abroad = browser(world, "alice", "s1").await.from(FRANKFURT);
    let page = abroad.post_form("/profile", body).await;
    (abroad, page)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_abroad_waits_until_its_owner_has_said_who_it_is() {
    let (world, _) = world().await;
    let (abroad, page) = from_abroad(&world, FORM.to_owned()).await;
    let question = Question::on(&page);
    assert!(page.text().contains("Is this you?"), "{}", page.text());
    assert!(page.text().contains("It approves no transaction"), "{}", page.text());
    question.confirm(&world, &abroad).await;
    assert!(world.exchange.seen_at("/profile").is_empty());
    assert_eq!(question.release(&abroad).await.status, 200);
    let seen = world.exchange.seen_at("/profile").pop().unwrap();
    assert_eq!(seen.body, FORM);
    as_sent(&seen.headers, &cookie_of(&abroad), URLENCODED);
    is_page(&question.release(&abroad).await, 409, &["the exchange accepted it"]);
    assert_eq!(
        abroad.post_form("/profile", FORM).await.status,
        200,
        "and now this session is known here"
    );
    assert_eq!(world.exchange.seen_at("/profile").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_abroad_that_is_too_large_to_wait_is_asked_about_and_said_to_be_lost() {
    let (world, _) = world().await;
    let (abroad, page) = from_abroad(&world, padded(64 * 1024 + 1)).await;
    let question = Question::on(&page);
    assert!(
        page.text().contains(NOT_KEPT) && page.text().contains("Is this you?"),
        "{}",
        page.text()
    );
    world.wait_s(30);
    let answer = question.answer(&abroad, &world.totp()).await;
    is_page(&answer, 200, &["You can go on", "/withdraw?asset=BTC"]);
    assert!(world.exchange.seen_at("/profile").is_empty());
    assert_eq!(abroad.post_form("/profile", padded(64 * 1024 + 1)).await.status, 200);
}
