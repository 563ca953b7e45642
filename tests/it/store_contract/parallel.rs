//! Many at once: exactly as many win as may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stepgate::stepup::challenge::Limits;
use stepgate::store::{Begin, Opened, Proven, Settled, Spent};
use stepgate::types::{ChallengeId, Factor};
use tokio::task::JoinSet;

use super::Make;
use super::fixtures::*;

pub async fn of_a_hundred_parallel_guesses_five_are_compared(make: Make) {
    let store = make(Limits { failures_max: 1000, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    let mut guesses = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&store);
        guesses.spawn(async move { spend(&store, "c", Factor::Totp, NOW).await });
    }
    let spent = guesses.join_all().await;
    let mut left: Vec<u32> = spent
        .iter()
        .filter_map(|spent| match spent {
            Spent::Compare { left, .. } => Some(*left),
            _ => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert_eq!(store.account(&alice(), NOW).await.expect("answers").failures, 5);
}

pub async fn of_fifty_parallel_beginnings_one_gets_the_grant(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    let mut beginnings = JoinSet::new();
    for n in 0..50 {
        let store = Arc::clone(&store);
        beginnings.spawn(async move { begun(&store, begin(&format!("a{n}")), NOW).await });
    }
    let all = beginnings.join_all().await;
    assert_eq!(all.iter().filter(|begun| begun.proof.is_some()).count(), 1);
    // Each saw all that had begun before it, and only those.
    let mut counts: Vec<u64> = all
        .iter()
        .map(|begun| begun.counters.0.first().map_or(0, |(_, _, total)| total.count))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (0..50).collect::<Vec<u64>>());
}

pub async fn of_parallel_proofs_with_one_step_one_counts(make: Make) {
    let store = make(Limits { open_per_account_max: 20, ..Limits::default() });
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    for n in 0..20 {
        open(&store, about(n, challenge(&format!("c{n}"))), NOW).await;
    }
    let mut proofs = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        proofs.spawn(async move { prove_totp(&store, &format!("c{n}"), 10, NOW).await });
    }
    let all = proofs.join_all().await;
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Approved(_))).count(), 1);
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Replayed)).count(), 19);
}

pub async fn of_parallel_attempts_one_takes_what_the_passkey_was_asked(make: Make) {
    let store = make(Limits { failures_max: 1000, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    ask(&store, "c", b"question", NOW).await;
    let mut attempts = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        attempts.spawn(async move { spend(&store, "c", Factor::Webauthn, NOW).await });
    }
    let all = attempts.join_all().await;
    let taken = |spent: &&Spent| match spent {
        Spent::Compare { challenge, .. } => challenge.ceremony.is_some(),
        _ => false,
    };
    assert_eq!(all.iter().filter(taken).count(), 1);
}

pub async fn of_parallel_openings_one_is_new(make: Make) {
    let store = make(Limits::default());
    let mut openings = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        openings.spawn(async move {
            store.open_challenge(challenge(&format!("c{n}")), NOW).await.expect("answers")
        });
    }
    let all = openings.join_all().await;
    assert_eq!(all.iter().filter(|opened| matches!(opened, Opened::New(_))).count(), 1);
    let mut ids: Vec<ChallengeId> = all
        .into_iter()
        .map(|opened| match opened {
            Opened::New(challenge) | Opened::Existing(challenge) => challenge.id,
            Opened::Blocked { .. } => panic!("nobody is blocked"),
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

pub async fn parallel_beginnings_and_settlings_are_counted_exactly(make: Make) {
    let store = make(Limits::default());
    let mut requests = JoinSet::new();
    for n in 0..60u32 {
        let store = Arc::clone(&store);
        requests.spawn(async move {
            let id = format!("a{n}");
            begun(&store, Begin { usd: Some(usd("0.01")), ..begin(&id) }, NOW).await;
            match n % 4 {
                0 => settle(&store, &id, Settled::Done, NOW).await,
                1 => settle(&store, &id, Settled::Refused, NOW).await,
                2 => abandon(&store, &id, &[], NOW).await,
                _ => settle(&store, &id, Settled::Unknown, NOW).await,
            }
        });
    }
    requests.join_all().await;
    assert_eq!(withdrawals(&store, "24h", NOW).await, (30, Some("0.3".to_owned())));
}

pub async fn of_parallel_adoptions_all_get_the_first(make: Make) {
    let store = make(Limits::default());
    let mut adoptions = JoinSet::new();
    for n in 0..20u8 {
        let store = Arc::clone(&store);
        adoptions.spawn(async move { store.adopt("key", vec![n]).await.expect("answers") });
    }
    let mut kept = adoptions.join_all().await;
    kept.dedup();
    assert_eq!(kept.len(), 1);
}

/// Readers fill the local view all the time while the account is frozen and thawed: once a freeze
/// is answered, no glance may say otherwise until the thaw is asked for.
pub async fn nobody_who_was_told_frozen_is_shown_otherwise(make: Make) {
    let store = make(Limits::default());
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        readers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                store.look(&alice(), &session("s"), NOW).await.expect("answers");
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..100 {
        store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
        for _ in 0..50 {
            let shown = store.glance(&alice(), &session("s"), NOW);
            assert!(shown.is_none_or(|standing| standing.frozen.is_some()));
        }
        store.thaw(&alice(), NOW).await.expect("thaws");
    }
    done.store(true, Ordering::SeqCst);
    readers.join_all().await;
}
