//! Whoever is not the session that was asked releases nothing, and is told what is up.

use super::{FORM, Question, browser, csrf, is_page, sent, with_cookie, world};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_signed_out_meanwhile_is_told_that_it_is_not_sent() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    // The token of this session is over, or the browser has thrown its cookie away.
    let over = world.kit.token("alice", "s1", world.now().seconds() - 50_000);
    let nobody = with_cookie(&world.client(), "");
    for gone in [with_cookie(&world.client(), &over), nobody] {
        for page in [question.release(&gone).await, question.look(&gone).await] {
            is_page(&page, 401, &["You are signed out", "is not sent", "sign-in page"]);
        }
        let page = question.answer(&gone, &world.totp()).await;
        is_page(&page, 401, &["You are signed out"]);
    }
    assert_eq!(sent(&world), 0);
    assert_eq!(question.release(&alice).await.status, 200, "whoever has the session still can");
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signed_in_again_starts_again() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    let anew = browser(&world, "alice", "s2").await;
    for page in [
        question.look(&anew).await,
        question.answer(&anew, &world.totp()).await,
        question.release(&anew).await,
    ] {
        let words = ["Asked in another sign-in", "is not sent", "href=\"/withdraw?asset=BTC\""];
        is_page(&page, 404, &words);
        assert!(!page.text().contains("<form") && !page.text().contains("bc1q"), "{}", page.text());
    }
    let refused = world.noted("refusal").await;
    assert_eq!(refused["note"], "asked in another session", "{refused}");
    // Programs hear what they always did.
    let program = anew.with("accept", "application/json").with("sec-fetch-mode", "cors");
    let answer = program.get(&question.at("")).await;
    assert_eq!(answer.json()["type"], "urn:stepgate:not-found");
    assert_eq!(sent(&world), 0);
    // The same withdrawal is another question there, which the first approval does not answer.
    let own = Question::of(&anew, FORM).await;
    assert_ne!(own.id, question.id);
    own.confirm(&world, &anew).await;
    assert_eq!(own.release(&anew).await.status, 200);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_account_there_is_nothing() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    let bob = browser(&world, "bob", "s1").await;
    for page in [question.look(&bob).await, question.release(&bob).await] {
        is_page(&page, 404, &["Nothing here"]);
    }
    assert_eq!(sent(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cookie_in_another_browser_answers_and_either_sends_it_once() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    let phone = alice.with("user-agent", "Mozilla/5.0 (iPhone) Safari/604.1");
    let there = Question { id: question.id.clone(), csrf: csrf(&question.look(&phone).await) };
    there.confirm(&world, &phone).await;
    is_page(&question.look(&alice).await, 200, &["/release"]);
    let (one, other) = tokio::join!(question.release(&alice), there.release(&phone));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let seen = world.exchange.seen_at("/withdraw");
    assert_eq!(seen.len(), 1);
    // It goes out as the browser sent it that was asked.
    assert!(seen[0].headers["user-agent"].to_str().unwrap().contains("Chrome"));
}

/// The form and the cookies of its time belong together: a token in it is checked against one of them.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_out_with_the_cookies_of_its_time() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    let renewed = world.kit.token("alice", "s1", world.now().seconds());
    let later = with_cookie(&world.client(), &renewed)
        .with("cookie", format!("theme=light; csrf=2; session={renewed}"));
    assert_eq!(question.release(&later).await.status, 200);
    let seen = world.exchange.seen_at("/withdraw").pop().unwrap();
    let old = alice.headers.iter().find(|(name, _)| name == "cookie").unwrap();
    assert_eq!(seen.headers["cookie"], old.1);
}
