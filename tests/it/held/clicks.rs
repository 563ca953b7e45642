//! Two clicks, and browsers that turn away in between: one request, and everybody is told.

use std::time::Duration;

use super::{FORM, Question, is_page, sent, under, world};
use crate::exchange::Reply;

const SLOW: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread")]
async fn two_clicks_on_confirm_are_one_attempt() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    let code = world.totp();
    let (one, other) = tokio::join!(question.answer(&alice, &code), question.answer(&alice, &code));
    // Whichever was later is told that the code was used, or sees the same page.
    assert!(one.status == 200 || other.status == 200, "{}", one.text());
    is_page(&question.look(&alice).await, 200, &["It is sent exactly as shown", "/release"]);
    is_page(
        &question.answer(&alice, &code).await,
        200,
        &["It is sent exactly as shown", "/release"],
    );
    assert_eq!(question.release(&alice).await.status, 200);
    assert_eq!(sent(&world), 1);
}

/// An approval that lasts is used as soon as it is given; what waits for it still waits.
#[tokio::test(flavor = "multi_thread")]
async fn two_clicks_on_confirm_lead_on_where_the_approval_lasts() {
    let lasting = "version = 1\n\n[[rule]]\nid = \"w\"\non = \"withdrawal\"\nrequire = \"totp\"\nvalid = \"1h\"\n";
    let (world, alice) = under(lasting).await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    let again = question.answer(&alice, &world.totp()).await;
    is_page(&again, 200, &["It is sent exactly as shown", "/release"]);
    assert_eq!(question.release(&alice).await.status, 200);
    is_page(&question.release(&alice).await, 409, &["the exchange accepted it"]);
    is_page(&question.answer(&alice, &world.totp()).await, 200, &["the exchange accepted it"]);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_click_is_told_what_became_of_the_first() {
    for (reply, words, link) in [
        (Reply::SeeOther("/receipt/7"), "the exchange answered it", "href=\"/receipt/7\""),
        (Reply::Answer(422, "no"), "the exchange did not accept it", "class=\"button"),
        (Reply::Answer(500, "no"), "It may have been carried out", "class=\"button"),
        (Reply::Hangup, "It may have been carried out", "class=\"button"),
        (Reply::After(SLOW), "the exchange accepted it", "class=\"button"),
    ] {
        let (world, alice) = world().await;
        let question = Question::of(&alice, FORM).await;
        question.confirm(&world, &alice).await;
        world.exchange.will(reply.clone());
        let (one, other) = tokio::join!(question.release(&alice), question.release(&alice));
        let told = if one.status == 409 { one } else { other };
        is_page(&told, 409, &[words, link]);
        assert!(!told.text().contains("/release"), "{reply:?}: {}", told.text());
        is_page(&question.look(&alice).await, 200, &[words, link]);
        assert_eq!(sent(&world), 1, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_turns_away_at_any_moment_neither_stops_it_nor_sends_it_twice() {
    let (world, alice) = world().await;
    let mut cut_short = 0;
    for round in 0..24_u64 {
        world.wait_s(1_000);
        let form = format!("{FORM}&round={round}");
        let alice = super::browser(&world, "alice", "s1").await;
        let question = Question::of(&alice, &form).await;
        question.confirm(&world, &alice).await;
        world.exchange.will(Reply::After(Duration::from_millis(20)));
        let patience = Duration::from_micros(round * 1_500);
        let first = tokio::time::timeout(patience, question.release(&alice)).await;
        cut_short += usize::from(first.is_err());
        let second = question.release(&alice).await;
        // Either the first click never arrived, or the second one is told of it.
        match u16::from(second.status) {
            200 => assert!(first.is_err(), "sent twice"),
            _ => is_page(&second, 409, &["the exchange accepted it"]),
        }
        let seen = world.exchange.seen_at("/withdraw");
        let of_round = seen.iter().filter(|seen| seen.body == form).count();
        assert_eq!(of_round, 1, "round {round}");
        world.exchange.forget_replies();
    }
    assert!(cut_short > 4, "{cut_short} of the first clicks were cut short");
    drop(alice);
}
