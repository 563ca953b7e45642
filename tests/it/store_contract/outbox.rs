//! Codes that are sent, and the messages that carry them.

use std::sync::Arc;

use stepgate::stepup::budget::Scope;
use stepgate::stepup::challenge::{Challenge, Limits};
use stepgate::store::{
    Charge, CodeQueued, Message, NoticeLetter, Notified, NumberKey, Proven, Quiet, Store,
};
use stepgate::types::{AccountId, ChallengeId, Factor, UnixMs};

use super::Make;
use super::fixtures::*;

async fn send(store: &Arc<dyn Store>, id: &str, to: &str, mac: &str, now: UnixMs) -> CodeQueued {
    let sealed = mac.as_bytes().to_vec();
    let id = ChallengeId::new(id);
    store.send_code(&id, &alice(), number(to), code(mac, now), sealed, now).await.expect("answers")
}

async fn queued(store: &Arc<dyn Store>, id: &str, mac: &str, now: UnixMs) {
    let answer = send(store, id, mac, mac, now).await; // a number of its own: no limit is met
    assert!(matches!(answer, CodeQueued::Queued(_)), "{answer:?}");
}

async fn next(store: &Arc<dyn Store>, now: UnixMs) -> Option<Message> {
    store.next_message(MINUTE, now).await.expect("answers")
}

pub async fn a_code_is_accepted_once(make: Make) {
    let store = make(Limits::default());
    let both = stepgate::policy::verdict::FactorExpr::All(vec![
        stepgate::policy::verdict::FactorExpr::One(Factor::Sms),
        stepgate::policy::verdict::FactorExpr::One(Factor::Totp),
    ]);
    let terms = requirement(vec![term("both", both, None)]);
    let asked = stepgate::stepup::challenge::Challenge { requirement: terms, ..challenge("c") };
    open(&store, asked, NOW).await;
    assert!(matches!(prove_sms(&store, "c", "m", NOW).await, Proven::Replayed));
    queued(&store, "c", "m", NOW).await;
    assert!(matches!(prove_sms(&store, "c", "m", NOW).await, Proven::More(_)));
    assert!(matches!(prove_sms(&store, "c", "m", NOW).await, Proven::Replayed));
}

pub async fn a_newer_code_replaces_the_older(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    queued(&store, "c", "old", NOW).await;
    queued(&store, "c", "new", after(MINUTE)).await;
    assert!(matches!(prove_sms(&store, "c", "old", after(MINUTE)).await, Proven::Replayed));
    assert!(matches!(prove_sms(&store, "c", "new", after(MINUTE)).await, Proven::Approved(_)));
}

pub async fn a_code_ends_before_its_challenge(make: Make) {
    let store = make(Limits { sms_code_ms: MINUTE, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    queued(&store, "c", "m", NOW).await;
    assert!(matches!(prove_sms(&store, "c", "m", after(MINUTE)).await, Proven::Replayed));
    assert!(matches!(prove_sms(&store, "c", "m", after(MINUTE - 1)).await, Proven::Approved(_)));
}

pub async fn a_resend_gives_no_attempts_back(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    queued(&store, "c", "a", NOW).await;
    spend(&store, "c", Factor::Sms, NOW).await;
    match send(&store, "c", "b", "b", NOW).await {
        CodeQueued::Queued(challenge) => assert_eq!(challenge.attempts_left, 4),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.account(&alice(), NOW).await.expect("answers").failures, 1);
}

pub async fn three_codes_in_ten_minutes_and_ten_a_day_per_number(make: Make) {
    let store = make(Limits { challenge_ms: 2 * DAY, ..Limits::default() });
    let long = stepgate::stepup::challenge::Challenge { expires: after(2 * DAY), ..challenge("c") };
    open(&store, long, NOW).await;
    for _ in 0..3 {
        assert!(matches!(send(&store, "c", "n", "m", NOW).await, CodeQueued::Queued(_)));
    }
    match send(&store, "c", "n", "m", after(MINUTE)).await {
        CodeQueued::Limited { retry_after_ms } => assert_eq!(retry_after_ms, 9 * MINUTE),
        other => panic!("{other:?}"),
    }
    assert!(matches!(send(&store, "c", "other", "m", NOW).await, CodeQueued::Queued(_)));
    for n in 1..8 {
        let at = after(n * HOUR);
        assert!(matches!(send(&store, "c", "n", "m", at).await, CodeQueued::Queued(_)));
    }
    match send(&store, "c", "n", "m", after(8 * HOUR)).await {
        CodeQueued::Limited { retry_after_ms } => assert_eq!(retry_after_ms, 16 * HOUR),
        other => panic!("{other:?}"),
    }
    assert!(matches!(send(&store, "c", "n", "m", after(DAY)).await, CodeQueued::Queued(_)));
}

pub async fn no_code_is_sent_for_a_closed_or_blocked_challenge(make: Make) {
    let store = make(Limits::default());
    assert!(matches!(send(&store, "none", "n", "m", NOW).await, CodeQueued::Missing));
    open(&store, challenge("c"), NOW).await;
    let late = send(&store, "c", "n", "m", after(5 * MINUTE)).await;
    assert!(matches!(late, CodeQueued::Closed(_)));
    open(&store, about(2, challenge("d")), NOW).await;
    for _ in 0..5 {
        spend(&store, "c", Factor::Sms, NOW).await;
    }
    assert!(matches!(send(&store, "c", "n", "m", NOW).await, CodeQueued::Closed(_)));
    match send(&store, "d", "n", "m", NOW).await {
        CodeQueued::Limited { retry_after_ms } => assert_eq!(retry_after_ms, 15 * MINUTE),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&store, NOW).await, None);
}

pub async fn a_message_is_leased_once_and_comes_back(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    queued(&store, "c", "m", NOW).await;
    let first = next(&store, NOW).await.expect("the message");
    assert_eq!((first.sealed.as_slice(), first.tries), (&b"m"[..], 1));
    assert_eq!((first.challenge, first.expires), (Some(ChallengeId::new("c")), after(5 * MINUTE)));
    assert_eq!(next(&store, after(MINUTE - 1)).await, None);
    let second = next(&store, after(MINUTE)).await.expect("again");
    assert_eq!((second.id, second.tries), (first.id, 2));
    store.message_done(second.id, None).await.expect("answers");
    assert_eq!(next(&store, after(3 * MINUTE)).await, None);
    store.message_done(second.id, Some(NOW)).await.expect("answers");
    assert_eq!(next(&store, after(3 * MINUTE)).await, None);
}

pub async fn a_message_tried_later_is_due_then(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    queued(&store, "c", "m", NOW).await;
    let id = next(&store, NOW).await.expect("the message").id;
    store.message_done(id, Some(after(1000))).await.expect("answers");
    assert_eq!(next(&store, after(999)).await, None);
    assert_eq!(next(&store, after(1000)).await.expect("again").id, id);
    store.message_done(id, Some(after(5 * MINUTE))).await.expect("answers");
    assert_eq!(next(&store, after(5 * MINUTE)).await, None);
}

pub async fn messages_come_oldest_first(make: Make) {
    let store = make(Limits::default());
    for (n, id) in [(1, "a"), (2, "b"), (3, "c")] {
        open(&store, about(n, challenge(id)), NOW).await;
        queued(&store, id, id, after(u64::from(n))).await;
    }
    for id in ["a", "b", "c"] {
        assert_eq!(
            next(&store, after(10)).await.expect("a message").challenge,
            Some(ChallengeId::new(id))
        );
    }
}

pub async fn a_message_whose_code_is_dead_is_dropped(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("replaced"), NOW).await;
    queued(&store, "replaced", "1", NOW).await;
    queued(&store, "replaced", "2", NOW).await;
    open(&store, about(2, challenge("rejected")), NOW).await;
    queued(&store, "rejected", "3", NOW).await;
    store.reject(&ChallengeId::new("rejected"), &alice(), false, NOW).await.expect("answers");
    assert_eq!(next(&store, NOW).await.expect("the newer").sealed, b"2");
    assert_eq!(next(&store, NOW).await, None);
    assert_eq!(next(&store, after(5 * MINUTE)).await, None);
}

/// Tells alice's contacts under this key, quiet for an hour.
async fn tell(store: &Arc<dyn Store>, key: &str, letters: &[&str], now: UnixMs) -> bool {
    let quiet = Quiet { key: key.into(), ms: HOUR, per_day_max: 5 };
    let letters = letters.iter().map(|letter| free(letter)).collect();
    said(store.notify(&alice(), quiet, letters, now.plus_ms(DAY), now).await.expect("answers"))
}

/// A letter that costs nothing.
fn free(text: &str) -> NoticeLetter {
    NoticeLetter { sealed: text.as_bytes().to_vec(), charge: None, urgent: false }
}

/// All of it.
fn said(answer: Notified) -> bool {
    answer == Notified::Queued { left_out: Vec::new() }
}

/// A text message to this number, within these budgets.
fn priced(text: &str, to: &str, charge: Charge) -> NoticeLetter {
    let charge = Some(Charge { number: NumberKey(to.to_owned()), ..charge });
    NoticeLetter { charge, ..free(text) }
}

async fn tell_all(
    store: &Arc<dyn Store>,
    key: &str,
    letters: Vec<NoticeLetter>,
    now: UnixMs,
) -> Notified {
    let quiet = Quiet { key: key.into(), ms: HOUR, per_day_max: 5 };
    store.notify(&alice(), quiet, letters, now.plus_ms(DAY), now).await.expect("answers")
}

pub async fn a_notice_by_text_is_counted_with_the_codes_and_left_out_where_none_may_go(make: Make) {
    let limits = Limits { sms_per_10min_max: 3, ..Limits::default() };
    let store = make(limits);
    let budget = |max| Charge { meters: vec![meter(Scope::Overall, "", HOUR, max)], ..number("-") };
    let text = |to: &str, max| vec![priced("text", to, budget(max)), free("mail")];
    // The number's own limit: a code and two notices, and no more.
    open(&store, challenge("c"), NOW).await;
    let charge = Charge { number: NumberKey("n".into()), ..budget(9) };
    let id = ChallengeId::new("c");
    let code_sent = store.send_code(&id, &alice(), charge, code("m", NOW), vec![1], NOW).await;
    assert!(matches!(code_sent, Ok(CodeQueued::Queued(_))));
    for n in 0..2 {
        assert!(said(tell_all(&store, &format!("k{n}:"), text("n", 9), NOW).await));
    }
    let left_out = Notified::Queued { left_out: vec![0] };
    assert_eq!(tell_all(&store, "k3:", text("n", 9), NOW).await, left_out);
    // The budget: three are spent.
    assert_eq!(tell_all(&store, "k4:", text("other", 3), NOW).await, left_out);
    assert!(said(tell_all(&store, "k5:", text("other", 4), NOW).await));
    // And what a notice has spent no code gets.
    open(&store, about(2, challenge("d")), NOW).await;
    let (id, charge) = (ChallengeId::new("d"), budget(4));
    let refused = store.send_code(&id, &alice(), charge, code("m2", NOW), vec![1], NOW).await;
    assert!(matches!(refused, Ok(CodeQueued::OverBudget(_))), "{refused:?}");
}

pub async fn a_notice_that_nothing_pays_for_was_not_said(make: Make) {
    let store = make(Limits::default());
    let budget =
        |max| Charge { meters: vec![meter(Scope::Prefix, "+49", HOUR, max)], ..number("-") };
    let text = |max| vec![priced("text", "n", budget(max))];
    for _ in 0..9 {
        assert_eq!(tell_all(&store, "login", text(0), NOW).await, Notified::OverBudget);
    }
    assert_eq!(next(&store, NOW).await, None);
    assert!(said(tell_all(&store, "login", text(1), NOW).await), "it counts as not told");
    assert_eq!(tell_all(&store, "login", text(9), NOW).await, Notified::Quiet);
}

pub async fn a_notice_goes_to_no_prefix_that_is_stopped_and_is_watched_nowhere(make: Make) {
    let store = make(Limits { challenge_ms: 90 * DAY, ..Limits::default() });
    let stops = || Charge { stops: vec![(Scope::Prefix, "+49".into())], ..number("-") };
    let watched = |to: &str| Charge {
        number: NumberKey(to.to_owned()),
        watches: vec![watch(Scope::Prefix, "+49")],
        ..number("-")
    };
    open(&store, Challenge { expires: after(60 * DAY), ..challenge("c") }, NOW).await;
    let id = ChallengeId::new("c");
    for n in 0..9 {
        assert!(said(
            tell_all(&store, &format!("k{n}:"), vec![priced("x", &format!("n{n}"), stops())], NOW)
                .await
        ));
    }
    // Nine notices that nobody typed in are no reason to stop; four codes are.
    for (n, at) in [(0, NOW), (1, NOW), (2, NOW), (3, NOW), (4, after(11 * MINUTE))] {
        let mac = format!("m{n}");
        let sent = store.send_code(&id, &alice(), watched(&mac), code(&mac, at), vec![1], at).await;
        assert_eq!(matches!(sent, Ok(CodeQueued::Queued(_))), n < 4, "{n} {sent:?}");
    }
    let letter = vec![priced("x", "n", stops())];
    let later = after(12 * MINUTE);
    assert_eq!(tell_all(&store, "last:", letter.clone(), later).await, Notified::OverBudget);
    assert!(said(tell_all(&store, "last:", letter, after(12 * HOUR)).await));
}

pub async fn what_is_urgent_goes_out_before_what_waits(make: Make) {
    let store = make(Limits::default());
    for n in 0..3 {
        assert!(tell(&store, &format!("rule:{n}"), &["other"], after(n)).await);
    }
    let urgent = NoticeLetter { urgent: true, ..free("frozen") };
    assert!(said(tell_all(&store, "frozen", vec![urgent], after(5)).await));
    assert_eq!(next(&store, after(5)).await.expect("a message").sealed, b"frozen");
    assert_eq!(next(&store, after(5)).await.expect("a message").sealed, b"other");
}

pub async fn a_notice_goes_to_every_contact_and_stays_until_it_is_sent(make: Make) {
    let store = make(Limits::default());
    assert!(tell(&store, "login", &["sms", "mail"], NOW).await);
    let (first, second) = (next(&store, NOW).await.unwrap(), next(&store, NOW).await.unwrap());
    assert_eq!((&*first.sealed, &*second.sealed), (&b"sms"[..], &b"mail"[..]));
    assert_eq!((first.challenge, first.expires), (None, after(DAY)));
    assert_eq!(next(&store, NOW).await, None);
    store.message_done(first.id, None).await.expect("answers");
    store.message_done(second.id, Some(after(HOUR))).await.expect("answers");
    assert_eq!(next(&store, after(HOUR - 1)).await, None);
    let again = next(&store, after(HOUR)).await.expect("it is tried again");
    assert_eq!((again.id, again.tries), (second.id, 2));
    assert_eq!(next(&store, after(DAY)).await, None);
}

pub async fn the_same_is_not_said_again_while_it_is_quiet(make: Make) {
    let store = make(Limits::default());
    assert!(tell(&store, "login", &["one"], NOW).await);
    assert!(!tell(&store, "login", &["two"], after(HOUR - 1)).await);
    assert!(tell(&store, "frozen", &["three"], after(HOUR - 1)).await);
    assert!(tell(&store, "login", &["four"], after(HOUR)).await);
    assert!(!tell(&store, "login", &["five"], after(2 * HOUR - 1)).await);
    let mut sent = Vec::new();
    while let Some(message) = next(&store, after(HOUR)).await {
        sent.push(String::from_utf8(message.sealed).unwrap());
    }
    assert_eq!(sent, ["one", "three", "four"]);
}

pub async fn an_account_is_told_so_often_a_day_and_others_do_not_count(make: Make) {
    let store = make(Limits::default());
    for n in 0..5 {
        assert!(tell(&store, &format!("rule:{n}"), &["x"], after(n)).await);
    }
    assert!(!tell(&store, "rule:6", &["x"], after(6)).await);
    assert!(tell(&store, "login:DE", &[], after(6)).await, "another kind has a bound of its own");
    let urgent = Quiet { key: "frozen".into(), ms: MINUTE, per_day_max: 6 };
    let letters = || vec![free("urgent")];
    let told = store.notify(&alice(), urgent.clone(), letters(), after(DAY), after(6)).await;
    assert!(said(told.unwrap()), "what is urgent has a place of its own");
    let bob = AccountId::new("main", "bob");
    let told = store.notify(&bob, urgent, letters(), after(DAY), after(6)).await;
    assert!(said(told.unwrap()));
    assert!(!tell(&store, "rule:7", &["x"], after(DAY - 1)).await);
    assert!(tell(&store, "rule:7", &["x"], after(DAY + 10)).await);
}

pub async fn of_parallel_notices_of_one_thing_one_is_said(make: Make) {
    let store = make(Limits::default());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        tasks.spawn(async move { tell(&store, "login", &["x"], after(n)).await });
    }
    let said = tasks.join_all().await.into_iter().filter(|said| *said).count();
    assert_eq!(said, 1);
    assert!(next(&store, after(HOUR)).await.is_some());
    assert_eq!(next(&store, after(HOUR)).await, None);
}
