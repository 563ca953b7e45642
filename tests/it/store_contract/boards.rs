//! Notes of operators: bounded, over at their time, and given to one who takes them down.

use std::sync::Arc;

use stepgate::stepup::challenge::Limits;
use stepgate::store::Store;
use stepgate::store::board::{Board, NOTES_MAX, Posted};
use stepgate::store::moved::Kept;
use stepgate::types::UnixMs;
use tokio::task::JoinSet;

use super::fixtures::*;
use super::{Make, moved};

pub fn note(id: &str, until: UnixMs) -> Posted {
    Posted { id: id.to_owned(), value: format!("{id}:\0\u{e9}").into_bytes(), until }
}

pub async fn post(store: &Arc<dyn Store>, board: Board, posted: Posted, now: UnixMs) -> bool {
    store.post(board, posted, now).await.expect("answers")
}

pub async fn ids(store: &Arc<dyn Store>, board: Board, now: UnixMs) -> Vec<String> {
    let all = store.posted(board, now).await.expect("answers");
    all.into_iter().map(|posted| posted.id).collect()
}

pub async fn a_note_is_read_until_its_time_and_taken_down_once(make: Make) {
    let store = make(Limits::default());
    let mine = note("a", after(HOUR));
    assert!(post(&store, Board::Requests, mine.clone(), NOW).await);
    assert!(post(&store, Board::Requests, note("b", UnixMs(i64::MAX)), NOW).await);
    assert!(!post(&store, Board::Requests, note("a", after(DAY)), NOW).await, "it is there");
    let before = store.posted(Board::Requests, after(HOUR - 1)).await.expect("answers");
    assert_eq!(before, [mine, note("b", UnixMs(i64::MAX))]);
    assert_eq!(ids(&store, Board::Requests, after(HOUR)).await, ["b"]);
    let take = |id: &'static str, at| {
        let store = store.clone();
        async move { store.take_down(Board::Requests, id, at).await.expect("answers") }
    };
    assert_eq!(take("a", after(HOUR)).await, None, "its time is over");
    assert_eq!(take("b", after(400 * DAY)).await, Some(note("b", NOW).value));
    assert_eq!(take("b", after(400 * DAY)).await, None);
    assert_eq!(take("c", NOW).await, None);
}

pub async fn boards_are_apart(make: Make) {
    let store = make(Limits::default());
    assert!(post(&store, Board::Requests, note("a", after(HOUR)), NOW).await);
    assert!(post(&store, Board::Suspensions, note("a", after(DAY)), NOW).await);
    assert!(store.take_down(Board::Requests, "a", NOW).await.expect("answers").is_some());
    assert_eq!(ids(&store, Board::Suspensions, NOW).await, ["a"]);
    assert!(ids(&store, Board::Requests, NOW).await.is_empty());
}

pub async fn a_board_holds_so_many_and_what_is_over_makes_room(make: Make) {
    let store = make(Limits::default());
    for n in 0..NOTES_MAX {
        let until = if n == 0 { after(MINUTE) } else { after(HOUR) };
        assert!(post(&store, Board::Requests, note(&format!("{n:03}"), until), NOW).await);
    }
    assert!(!post(&store, Board::Requests, note("more", after(HOUR)), NOW).await);
    assert!(post(&store, Board::Suspensions, note("more", after(HOUR)), NOW).await);
    assert!(post(&store, Board::Requests, note("more", after(HOUR)), after(MINUTE)).await);
    assert!(!post(&store, Board::Requests, note("most", after(HOUR)), after(MINUTE)).await);
    assert_eq!(ids(&store, Board::Requests, after(MINUTE)).await.len(), NOTES_MAX);
}

pub async fn of_parallel_takers_one_is_given_the_note(make: Make) {
    let store = make(Limits::default());
    assert!(post(&store, Board::Requests, note("a", after(HOUR)), NOW).await);
    let mut takers = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        takers.spawn(async move { store.take_down(Board::Requests, "a", NOW).await });
    }
    let given = takers.join_all().await;
    let given = given.into_iter().filter(|taken| taken.as_ref().expect("answers").is_some());
    assert_eq!(given.count(), 1);
}

pub async fn a_suspension_moves_and_a_request_is_asked_for_anew(make: Make) {
    let store = make(Limits::default());
    for board in Board::ALL {
        assert!(post(&store, board, note("a", UnixMs(i64::MAX)), NOW).await);
        assert!(post(&store, board, note("b", after(MINUTE)), NOW).await);
    }
    let kept = moved::taken(&store).await;
    let suspensions = kept.iter().filter(|kept| matches!(kept, Kept::Suspension { .. }));
    assert_eq!(suspensions.count(), 2);
    let target = make(Limits::default());
    target.import(kept, after(HOUR)).await.expect("imports");
    let there = target.posted(Board::Suspensions, after(HOUR)).await.expect("answers");
    assert_eq!(there, [note("a", UnixMs(i64::MAX))]);
    assert!(ids(&target, Board::Requests, after(HOUR)).await.is_empty());
}
