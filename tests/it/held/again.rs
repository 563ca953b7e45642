//! Back, loaded anew, two tabs: every page says how things stand, and nothing is sent a second time.

use super::{FORM, Question, csrf, is_page, sent, world};
use crate::exchange::Reply;

const OTHER: &str = "asset=ETH&amount=2&address=0xother";

#[tokio::test(flavor = "multi_thread")]
async fn back_at_the_question_after_it_was_sent_one_is_told_so() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    world.exchange.will(Reply::SeeOther("https://exchange.example/receipt/1?new=1"));
    assert_eq!(question.release(&alice).await.status, 303);
    let page = question.look(&alice).await;
    is_page(&page, 200, &["It was sent", "the exchange answered it", "href=\"/receipt/1?new=1\""]);
    assert!(!page.text().contains("<form"), "nothing is left to do: {}", page.text());
    // The code once more, as a page that is loaded anew sends it.
    is_page(&question.answer(&alice, "000000").await, 200, &["the exchange answered it"]);
    for (tag, words) in [
        ("de", "geantwortet"),
        ("ja", "応答がありました"),
        ("zh-TW", "已回覆"),
        ("zh-CN", "已答复"),
    ] {
        let page = question.look(&alice.with("accept-language", tag)).await;
        is_page(&page, 200, &[words]);
    }
    // The form once more is a new withdrawal, and a new question.
    let anew = Question::of(&alice, FORM).await;
    assert_ne!(anew.id, question.id);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_can_be_loaded_anew() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    assert_eq!(Question::of(&alice, FORM).await.id, question.id, "the form");
    // The addresses that forms are sent to, typed in or opened from the history.
    for step in ["/answer", "/send", "/reject", "/release"] {
        let answer = alice.get(&question.at(step)).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, &*question.at("")));
    }
    let wrong = question.answer(&alice, "000000").await;
    assert!(wrong.text().contains("Attempts left: 4"), "{}", wrong.text());
    let wrong = question.answer(&alice, "000000").await;
    assert!(wrong.text().contains("Attempts left: 3"), "a wrong code counts: {}", wrong.text());
    let looked = question.look(&alice).await;
    assert!(looked.text().contains("Attempts left: 3"), "looking does not: {}", looked.text());
    question.confirm(&world, &alice).await;
    let again = question.answer(&alice, &world.totp()).await;
    is_page(&again, 200, &["It is sent exactly as shown"]);
    is_page(&question.look(&alice).await, 200, &["It is sent exactly as shown"]);
    assert_eq!(question.release(&alice).await.status, 200);
    is_page(&question.release(&alice).await, 409, &["the exchange accepted it"]);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_with_different_withdrawals_do_not_mix() {
    let (world, alice) = world().await;
    let (one, other) = (Question::of(&alice, FORM).await, Question::of(&alice, OTHER).await);
    assert_ne!(one.id, other.id);
    one.confirm(&world, &alice).await;
    // The other tab has no approval, whoever asks for its release and by whichever token.
    let page = other.release(&alice).await;
    assert_eq!((page.status.as_u16(), page.challenge()), (401, other.id.clone()));
    assert!(page.text().contains("0xother"), "{}", page.text());
    let mixed = alice.post_form(&other.at("/release"), format!("csrf={}", one.csrf)).await;
    assert_eq!(mixed.status, 400, "{}", mixed.text());
    assert_eq!(sent(&world), 0);
    assert_eq!(one.release(&alice).await.status, 200);
    other.confirm(&world, &alice).await;
    assert_eq!(other.release(&alice).await.status, 200);
    let seen = world.exchange.seen_at("/withdraw");
    assert_eq!(seen.iter().map(|seen| &seen.body).collect::<Vec<_>>(), [FORM, OTHER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_with_the_same_withdrawal_are_one() {
    let (world, alice) = world().await;
    let (one, other) = (Question::of(&alice, FORM).await, Question::of(&alice, FORM).await);
    assert_eq!((&one.id, &one.csrf), (&other.id, &other.csrf));
    one.confirm(&world, &alice).await;
    assert_eq!(one.release(&alice).await.status, 200);
    is_page(&other.answer(&alice, &world.totp()).await, 200, &["the exchange accepted it"]);
    is_page(&other.release(&alice).await, 409, &["the exchange accepted it"]);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_sent_again_after_the_approval_takes_it() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    world.exchange.will(Reply::SeeOther("/receipt/2"));
    assert_eq!(alice.post_form("/withdraw", FORM).await.status, 303);
    is_page(&question.release(&alice).await, 409, &["the exchange answered it", "/receipt/2"]);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_program_asked_says_that_there_is_nothing_to_send() {
    let (world, alice) = world().await;
    let program = alice.with("accept", "application/json").with("sec-fetch-mode", "cors");
    let id = program.post_form("/withdraw", FORM).await.challenge();
    let page = alice.get(&format!("/.stepgate/challenge/{id}")).await;
    let question = Question { id, csrf: csrf(&page) };
    // The same as a form finds this question, which keeps nothing: its person is told at once.
    let page = alice.post_form("/withdraw", FORM).await;
    assert_eq!(page.challenge(), question.id);
    assert!(page.text().contains(super::NOT_KEPT), "{}", page.text());
    world.wait_s(30);
    let answer = question.answer(&alice, &world.totp()).await;
    is_page(&answer, 200, &["send the same request again"]);
    is_page(&question.release(&alice).await, 200, &["send the same request again"]);
    assert_eq!(sent(&world), 0);
    assert_eq!(alice.post_form("/withdraw", FORM).await.status, 200);
    assert_eq!(sent(&world), 1);
}
