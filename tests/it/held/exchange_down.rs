//! The exchange is gone, fails or says nothing when a held request is released.

use super::{FORM, NOT_KEPT, PACK, Question, browser, is_page, sent, world};
use crate::exchange::Reply;
use crate::kit::POLICY;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_was_not_sent_and_says_so() {
    // Nobody listens there: the listener is gone as soon as it has its port.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let exchange = crate::exchange::Exchange::start().await;
    let world = World::in_front_of(exchange.address, POLICY, PACK).await;
    world.enrol_totp("alice").await;
    let alice = browser(&world, "alice", "s1").await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    let config = std::fs::read_to_string(world.kit.config()).unwrap();
    let there = exchange.address.to_string();
    assert!(config.contains(&there));
    std::fs::write(world.kit.config(), config.replace(&there, &nobody.to_string())).unwrap();
    super::reload(&world);
    let page = question.release(&alice).await;
    let words = ["Nothing was carried out", NOT_KEPT, "href=\"/withdraw?asset=BTC\""];
    is_page(&page, 502, &words);
    is_page(
        &question.look(&alice).await,
        200,
        &["It was not sent", "href=\"/withdraw?asset=BTC\""],
    );
    is_page(&question.release(&alice).await, 409, &["It was not sent"]);
    assert!(exchange.seen_at("/withdraw").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_passed_on_and_is_no_reason_to_send_again() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    world.exchange.will(Reply::Answer(503, "the exchange's own words"));
    let answer = question.release(&alice).await;
    assert_eq!((answer.status.as_u16(), &*answer.text()), (503, "the exchange's own words"));
    let words = ["Outcome unknown", "look at your account before you send it again"];
    is_page(&question.release(&alice).await, 409, &words);
    is_page(&question.look(&alice).await, 200, &words);
    assert_eq!(sent(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_nobody_is_told_to_send_it_again() {
    let (world, alice) = world().await;
    let question = Question::of(&alice, FORM).await;
    question.confirm(&world, &alice).await;
    world.exchange.will(Reply::Hangup);
    let words = ["Outcome unknown", "look at your account before you send it again"];
    let page = question.release(&alice).await;
    is_page(&page, 504, &words);
    assert!(
        !page.text().contains(NOT_KEPT) && !page.text().contains("Try again"),
        "{}",
        page.text()
    );
    is_page(&question.release(&alice).await, 409, &words);
    assert_eq!(sent(&world), 1);
}
