//! A change of factors belongs to the browser that asked: whoever stole the session is shown nothing and does nothing.

use super::*;

/// Alice with an authenticator, and whoever has her session.
async fn alice_and_thief(world: &World) -> (Client, Client) {
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let thief = alice.elsewhere();
    (alice, thief)
}

fn is_denied(answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("another browser"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_with_the_session_reads_no_key_and_finishes_nothing() {
    let world = World::start().await;
    let (alice, thief) = alice_and_thief(&world).await;
    let waiting = Waiting::of(&approved(&world, &alice, TOTP, "{}").await);
    let page = browser(&alice).get(&waiting.path).await.text();
    assert!(page.contains(&format!("secret={}", waiting.secret)), "{page}");

    for path in [&*waiting.path, FACTORS, "/.stepgate/approvals"] {
        for client in [thief.clone(), browser(&thief)] {
            let seen = client.get(path).await;
            assert_eq!(seen.status, 200, "{path}");
            let seen = seen.text();
            assert!(!seen.contains(&waiting.secret) && !seen.contains("otpauth"), "{seen}");
        }
    }
    let seen = browser(&thief).get(&waiting.path).await.text();
    assert!(seen.contains("begun in another browser"), "{seen}");
    assert!(!seen.contains("class=\"qr\"") && !seen.contains("name=\"code\""), "{seen}");
    assert!(seen.contains("/reject\""), "refusing it is what is left: {seen}");

    let code = totp_with(&waiting.secret, world.now());
    is_denied(&answer(&thief, &waiting.path, "totp", &code).await);
    let csrf = hidden(&browser(&thief).get(&waiting.path).await, "csrf");
    let form = format!("csrf={csrf}&factor=totp&code={code}");
    let posted = browser(&thief).post_form(&format!("{}/answer", waiting.path), form).await;
    is_denied(&posted);
    let state = alice.get(&waiting.path).await.json();
    assert_eq!((&state["state"], &state["attempts_left"]), (&json!("open"), &json!(5)));
    // Asking the same again is another question, which is not approved.
    let asked = thief.post_json(TOTP, "{}").await;
    assert_eq!(asked.status, 401, "{}", asked.text());

    assert_eq!(waiting.confirm(&world, &alice).await.status, 200);
    assert_eq!(words(&alice).await, ["recovery", "totp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_can_refuse_what_waits() {
    let world = World::start().await;
    let (alice, thief) = alice_and_thief(&world).await;
    let waiting = Waiting::of(&approved(&world, &alice, TOTP, "{}").await);
    let refused = thief.post_json(&format!("{}/reject", waiting.path), "{}").await;
    assert_eq!(refused.status, 200, "{}", refused.text());
    assert_eq!(waiting.confirm(&world, &alice).await.json()["error"], "rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_the_owner_s_is_none_for_another_browser() {
    let world = World::start().await;
    let (alice, thief) = alice_and_thief(&world).await;
    let asked = alice.post_json(RECOVERY, "{}").await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    is_denied(&answer(&thief, &at, "totp", &world.totp()).await);
    assert_eq!(answer(&alice, &at, "totp", &world.totp()).await.status, 200);
    let taken = thief.post_json(RECOVERY, "{}").await;
    assert_eq!(taken.status, 401, "{}", taken.text());
    assert!(!taken.text().contains("recovery_codes"));
    // What that browser asked is not the owner's to answer by mistake.
    let lure = format!("/.stepgate/challenge/{}", taken.challenge());
    world.wait_s(30);
    is_denied(&answer(&alice, &lure, "totp", &world.totp()).await);
    let page = browser(&alice).get(&lure).await.text();
    assert!(page.contains("another browser") && !page.contains("name=\"code\""), "{page}");
    let given = alice.post_json(RECOVERY, "{}").await;
    assert_eq!(given.json()["recovery_codes"].as_array().map(Vec::len), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_form_is_released_by_the_browser_that_sent_it() {
    let world = World::start().await;
    let (alice, thief) = alice_and_thief(&world).await;
    let (alice, thief) = (browser(&alice), browser(&thief));
    let form = format!("csrf={}", hidden(&alice.get(FACTORS).await, "csrf"));
    let asked = alice.post_form(RECOVERY, form).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let cookie = asked.all("set-cookie");
    assert!(cookie.starts_with("__Host-stepgate-enrol="), "{cookie}");
    for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let csrf = hidden(&asked, "csrf");
    let code = format!("factor=totp&code={}&csrf={csrf}", world.totp());
    assert_eq!(alice.post_form(&format!("{at}/answer"), code).await.status, 200);
    // The token of its forms is the session's, which was stolen with it.
    let stolen = thief.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    is_denied(&stolen);
    let released = alice.post_form(&format!("{at}/release"), format!("csrf={csrf}")).await;
    assert_eq!(released.status, 200, "{}", released.text());
    assert_eq!(released.text().matches("<li><code>").count(), 10, "{}", released.text());
    nothing_went_upstream(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_waits_is_texted_for_its_own_browser_alone() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let thief = alice.elsewhere();
    let waiting = Waiting::of(&alice.post_json(SMS, r#"{"number":"+4915112345678"}"#).await);
    let code = sms_code(&world, 1).await;
    let send = format!("{}/send", waiting.path);
    is_denied(&thief.post_json(&send, r#"{"factor":"sms"}"#).await);
    is_denied(&answer(&thief, &waiting.path, "sms", &code).await);
    let done = answer(&alice, &waiting.path, "sms", &code).await;
    assert_eq!(done.json()["recovery_codes"].as_array().map(Vec::len), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_cookie_is_no_browser() {
    let world = World::start().await;
    let (alice, thief) = alice_and_thief(&world).await;
    let waiting = Waiting::of(&approved(&world, &alice, TOTP, "{}").await);
    for value in ["", "x", &"A".repeat(43), &"A".repeat(9_000)] {
        let pretends = thief.with("cookie", format!("__Host-stepgate-enrol={value}"));
        let seen = browser(&pretends).get(&waiting.path).await;
        assert!(!seen.text().contains(&waiting.secret), "{value}: {}", seen.text());
    }
}
