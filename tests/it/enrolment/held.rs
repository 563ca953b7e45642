//! The forms: bound to their session, held until approved, released once, and never sent upstream.

use super::*;
use crate::binary::Binary;
use crate::exchange::Exchange;
use crate::kit::{Kit, Options, TOTP_SECRET};
use crate::world::{OKX, admin, totp_at};
use stepgate::world::{Clock, SystemClock};

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_the_token_of_its_session_is_refused() {
    let world = World::start().await;
    let person = browser(&world.session("alice", "s1").await);
    let other = browser(&world.session("alice", "s2").await);
    let csrf = hidden(&other.get(FACTORS).await, "csrf");
    for form in ["csrf=".to_owned(), "x=1".to_owned(), format!("csrf={csrf}")] {
        let refused = person.post_form(TOTP, form).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    let csrf = hidden(&person.get(FACTORS).await, "csrf");
    let foreign =
        person.with("sec-fetch-site", "cross-site").post_form(TOTP, format!("csrf={csrf}")).await;
    assert_eq!(foreign.status, 400, "{}", foreign.text());
    assert_eq!(person.post_form(TOTP, format!("csrf={csrf}")).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_held_until_it_is_approved_and_released_once() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let person = browser(&world.session("alice", "s1").await);
    let form = format!("csrf={}", hidden(&person.get(FACTORS).await, "csrf"));
    let asked = person.post_form(REMOVE_TOTP, form).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    assert!(asked.text().contains("Authenticator app"), "{}", asked.text());
    let (at, csrf) =
        (format!("/.stepgate/challenge/{}", asked.challenge()), hidden(&asked, "csrf"));
    let early = person.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(early.status, 401, "{}", early.text());
    let code = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    assert_eq!(person.post_form(&format!("{at}/answer"), code).await.status, 200);
    let released = person.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!((released.status.as_u16(), released.header("location")), (303, FACTORS));
    let again = person.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(again.status, 409, "{}", again.text());
    // It was the gateway's own deed: no exchange is said to have done anything.
    let told = again.text();
    assert!(told.contains("It was done") && !told.contains("exchange accepted"), "{told}");
    nothing_went_upstream(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_between_approval_and_change_changes_once() {
    let dir = tempfile::TempDir::new().unwrap();
    let exchange = Exchange::start().await;
    let policy = crate::kit::POLICY;
    let upstream = exchange.address;
    let options = Options { upstream, policy, pack: OKX, extra: "", workers: 2, sms: false };
    let kit = Kit::write(dir.path(), &options);
    let places = Binary::place(&kit);
    let mut gateway = Binary::start(&kit, places).await;
    let uri = format!("otpauth://totp/x:alice?secret={TOTP_SECRET}&issuer=x");
    let line = json!({ "account": "alice", "group": "main", "otpauth": uri }).to_string();
    assert_eq!(admin(gateway.admin, "POST", "/factor/import", &line).await.status, 200);
    let token = kit.token("alice", "s1", SystemClock.now().seconds());
    let alice = gateway.client(&kit, "authorization", &format!("Bearer {token}"));
    assert_eq!(alice.get("/api/v5/account/balance").await.status, 200);

    let asked = alice.post_json(REMOVE_TOTP, "{}").await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let right = answer(&alice, &at, "totp", &totp_at(SystemClock.now())).await;
    assert_eq!(right.status, 200, "{}", right.text());
    gateway.kill();
    gateway = Binary::start(&kit, places).await;
    assert_eq!(words(&alice).await, ["totp"], "nothing is done that was not asked again");
    assert_eq!(alice.post_json(REMOVE_TOTP, "{}").await.status, 200);
    assert_eq!(words(&alice).await, Vec::<String>::new());
    assert_eq!(alice.post_json(REMOVE_TOTP, "{}").await.status, 404);
    gateway.kill();
    let seen = exchange.seen();
    assert!(seen.iter().all(|seen| !seen.target.contains("stepgate")), "{seen:?}");
}
