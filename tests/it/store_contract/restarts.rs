//! What a gateway that starts again finds of the one before.

use stepgate::stepup::challenge::{Limits, State};
use stepgate::store::board::Board;
use stepgate::store::{Begin, Settled};
use stepgate::types::{Factor, UnixMs};

use super::Place;
use super::boards::{ids, note, post};
use super::fixtures::*;

pub async fn attempts_that_were_sending_are_returned_once_and_stay_counted(place: Place) {
    let stopped = place(Limits::default());
    for id in ["a", "b", "c"] {
        begun(&stopped, begin(id), NOW).await;
    }
    settle(&stopped, "b", Settled::Done, NOW).await;
    drop(stopped);
    let store = place(Limits::default());
    let mut orphans = store.recover(after(1)).await.expect("recovers");
    orphans.sort_by(|one, two| one.attempt.cmp(&two.attempt));
    let ids: Vec<_> = orphans.iter().map(|orphan| orphan.attempt.as_str()).collect();
    assert_eq!(ids, ["a", "c"]);
    assert_eq!((&orphans[0].account, orphans[0].began), (&alice(), NOW));
    assert_eq!(store.recover(after(2)).await.expect("recovers"), []);
    settle(&store, "a", Settled::Refused, after(2)).await;
    assert_eq!(withdrawals(&store, "1h", after(2)).await.0, 3);
}

pub async fn everything_that_was_answered_is_there_after_a_restart(place: Place) {
    {
        let store = place(Limits::default());
        approve(&store, challenge("granted"), 10, NOW).await;
        open(&store, about(2, challenge("open")), NOW).await;
        spend(&store, "open", Factor::Totp, NOW).await;
        begun(&store, Begin { intent: intent(3), ..begin("a") }, NOW).await;
        settle(&store, "a", Settled::Done, NOW).await;
        begun(&store, Begin { intent: intent(3), ..begin("b") }, NOW).await;
        store.adopt("key", vec![7]).await.expect("adopts");
        store.freeze(&account("bob"), "owner".into(), NOW).await.expect("freezes");
        store.ask_thaw(&account("bob"), NOW).await.expect("answers");
        sight(&store, "DE", NOW).await;
    }
    let store = place(Limits::default());
    assert_eq!(state(&store, "granted", NOW).await, State::Approved);
    assert_eq!(state(&store, "open", NOW).await, State::Open);
    let orphans = store.recover(NOW).await.expect("recovers");
    assert_eq!(orphans.len(), 1);
    assert_eq!(withdrawals(&store, "1h", NOW).await, (2, Some("20".to_owned())));
    assert!(begun(&store, begin("c"), NOW).await.proof.is_some());
    assert_eq!(store.adopt("key", vec![8]).await.expect("adopts"), [7]);
    let card = store.account(&alice(), NOW).await.expect("answers");
    assert_eq!((card.failures, card.countries), (1, vec!["DE".into()]));
    let bob = store.look(&account("bob"), &session("s"), NOW).await.expect("answers");
    assert!(bob.frozen.is_some());
    let bob = store.look(&account("bob"), &session("s"), after(DAY)).await.expect("answers");
    assert!(bob.frozen.is_none(), "its owner asked for that");
}

pub async fn notes_are_there_after_a_restart(place: Place) {
    let store = place(Limits::default());
    assert!(post(&store, Board::Suspensions, note("a", UnixMs(i64::MAX)), NOW).await);
    drop(store);
    let store = place(Limits::default());
    assert_eq!(ids(&store, Board::Suspensions, NOW).await, ["a"]);
}
