//! What arrives at a real mail server.

use serde_json::json;

use super::{BALANCE, Post, abroad, counted, enrol_mail};
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::FRANKFURT;
use crate::kit::smtp::Mode;

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_from_germany_is_told_by_mail_in_the_owners_language() {
    let post = Post::running(Mode::Wrapped).await;
    post.world.enrol_totp("alice").await;
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    abroad(&post.world, "s1").await;
    let mail = post.mail("main: Neue Anmeldung").await;
    assert_eq!(mail.to, ["alice@mail.example"]);
    assert!(mail.tls && mail.authenticated);
    assert_eq!(mail.header("from"), "Example <notices@exchange.example>");
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    assert!(mail.header("message-id").ends_with("@exchange.example>"));
    for said in ["main", "2026-11-20 12:00:00 UTC", "Frankfurt", "DE", "Firefox auf Windows"] {
        assert!(mail.text.contains(said), "no {said} in {}", mail.text);
        assert!(mail.html.contains(said), "no {said} in {}", mail.html);
    }
    assert!(mail.html.contains("lang=\"de\""));
    // Nothing is fetched when it is opened, and its one link is ours.
    for remote in ["<img", "<link", "<script", "url(", "@import", "src="] {
        assert!(!mail.html.contains(remote), "{remote} in {}", mail.html);
    }
    let links = mail.html.matches("href=\"").count();
    let ours = mail.html.matches("href=\"https://exchange.example/.stepgate/not-me/").count();
    assert_eq!((links, ours), (1, 1), "{}", mail.html);
    assert!(!mail.text.contains("123456"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_starttls_gets_mail_encrypted_only() {
    let post = Post::running(Mode::Upgraded).await;
    post.world.enrol_totp("alice").await;
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    let mail = post.mails(1).await.pop().unwrap();
    assert!(mail.tls && mail.authenticated);
    assert_eq!(mail.subject, "main: E-mail address added");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_address_of_the_token_is_told_where_none_is_enrolled() {
    let post = Post::running(Mode::Plain).await;
    post.world.enrol_totp("alice").await;
    let now = post.world.now().seconds();
    let token = |claims| post.world.kit.token_with("alice", "s1", now, &claims);
    let session = |claims| {
        let bearer = format!("Bearer {}", token(claims));
        post.world.client().with("authorization", bearer)
    };
    post.world.session("alice", "s1").await;
    let disowned = json!({ "email": "eve@mail.example", "email_verified": false });
    assert_eq!(session(disowned).from(FRANKFURT).get(BALANCE).await.status, 401);
    counted(&post.world, "remote_login", "nobody", 1).await;
    let claimed = json!({ "email": "claimed@mail.example", "sid": "s2" });
    assert_eq!(session(claimed).from(FRANKFURT).get(BALANCE).await.status, 401);
    assert_eq!(post.mails(1).await[0].to, ["claimed@mail.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_notices_approves_nothing() {
    let post = Post::running(Mode::Plain).await;
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    let alice = post.world.session("alice", "s1").await;
    let refused = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.header("step-up-challenge").is_empty());
    post.world.enrol_totp("alice").await;
    let asked = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(asked.header("step-up-factors"), "totp");
    let path = format!("/.stepgate/challenge/{}/answer", asked.challenge());
    let answer = alice.post_json(&path, r#"{"factor":"mail","code":"123456"}"#).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_and_the_new_address_are_told_when_one_replaces_the_other() {
    let post = Post::running(Mode::Plain).await;
    enrol_mail(&post.world, "alice", "old@mail.example").await;
    enrol_mail(&post.world, "alice", "new@mail.example").await;
    let mails = post.mails(2).await;
    let mut told: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["new@mail.example", "old@mail.example"]);
    assert!(mails.iter().all(|mail| mail.subject == "main: E-mail address replaced"));
    let order = r#"{"factor":"mail","by":"ops","reason":"test"}"#;
    post.world.admin("POST", "/factor/main/alice/reset", order).await;
    let last = post.mail("main: E-mail address removed").await;
    assert_eq!(last.to, ["new@mail.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_down_stops_nothing_and_gets_its_mail_when_it_is_back() {
    let mut post = Post::start(Mode::Wrapped).await;
    post.world.enrol_totp("alice").await;
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    let alice = post.world.session("alice", "s1").await;
    counted(&post.world, "factor_change", "queued", 1).await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let code = format!(r#"{{"factor":"totp","code":"{}"}}"#, post.world.totp());
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(alice.post_json(&path, code).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
    assert!(post.smtp.taken().is_empty());
    post.smtp.start();
    post.world.wait_s(700);
    assert_eq!(post.mails(1).await[0].to, ["alice@mail.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_to_be_told_is_told_after_the_gateway_was_killed() {
    use crate::binary::Binary;
    let Post { mut world, mut smtp } = Post::start(Mode::Wrapped).await;
    tokio::task::block_in_place(|| world.running.stop());
    let kit_at = Binary::place(&world.kit);
    let mut gateway = Binary::start(&world.kit, kit_at).await;
    let import = |line: serde_json::Value| {
        let admin = gateway.admin;
        async move {
            let line = line.to_string();
            let answer = crate::world::admin(admin, "POST", "/factor/import", &line).await;
            assert_eq!(answer.status, 200);
        }
    };
    let line = |address: &str| json!({ "account": "alice", "group": "main", "mail": address });
    import(line("old@mail.example")).await;
    import(line("new@mail.example")).await;
    let audit = world.dir().join("audit/stepgate.jsonl");
    let told = || std::fs::read_to_string(&audit).unwrap_or_default().contains("owner_told");
    super::until("it is in the outbox", told).await;
    gateway.kill();
    smtp.start();
    let _again = Binary::start(&world.kit, kit_at).await;
    // The lease of the killed gateway may have to run out first.
    super::until("both addresses are told", || smtp.taken().len() >= 2).await;
    assert_eq!(smtp.taken().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_or_address_begins_a_header() {
    let post = Post::running(Mode::Plain).await;
    for bad in ["a@b.example\r\nBcc: eve@evil.example", "a@b.example,eve@evil.example", "a b@c.d"] {
        let line = json!({ "account": "alice", "group": "main", "mail": bad }).to_string();
        let answer = post.world.admin("POST", "/factor/import", &line).await;
        assert_eq!(answer.status, 422, "{bad:?}");
        assert!(!answer.text().contains("evil"), "{}", answer.text());
    }
    enrol_mail(&post.world, "alice", "alice@mail.example").await;
    post.world.enrol_totp("alice").await;
    let alice = post.world.session("alice", "s1").await;
    // What a client says of itself is shown from a table only.
    let agent = "Firefox/127.0 Windows <b>x</b>";
    alice.from(FRANKFURT).with("user-agent", agent).get(BALANCE).await;
    let mail = post.mail("main: New sign-in").await;
    assert!(!mail.html.contains("<b>x") && !mail.text.contains("<b>x"));
    assert_eq!(mail.headers.iter().filter(|(name, _)| name == "To").count(), 1);
}
