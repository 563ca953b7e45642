//! Freezes that end by themselves because their owner asked, and those that do not.

use std::sync::Arc;

use stepgate::policy::verdict::Valid;
use stepgate::stepup::challenge::{Challenge, Limits, State};
use stepgate::store::{AccountCard, Enrolled, Freeze, Spent, Store, StoreError, ThawAsked, Told};
use stepgate::types::{Factor, UnixMs};

use super::Make;
use super::fixtures::*;

async fn frozen_at(store: &Arc<dyn Store>, at: UnixMs) -> Option<Freeze> {
    let looked = store.look(&alice(), &session("s"), at).await.expect("answers").frozen.clone();
    // Whatever the view remembers, it never shows what is over.
    if let Some(shown) = store.glance(&alice(), &session("s"), at) {
        assert_eq!(shown.frozen, looked);
    }
    let card: AccountCard = store.account(&alice(), at).await.expect("answers");
    assert_eq!(card.frozen, looked);
    looked
}

async fn thawed(store: &Arc<dyn Store>, at: UnixMs) -> Option<UnixMs> {
    store.account(&alice(), at).await.expect("answers").thawed
}

async fn ask_thaw(store: &Arc<dyn Store>, at: UnixMs) -> ThawAsked {
    store.ask_thaw(&alice(), at).await.expect("answers")
}

async fn freeze(store: &Arc<dyn Store>, by: &str, at: UnixMs) {
    store.freeze(&alice(), by.into(), at).await.expect("freezes");
}

pub async fn a_thaw_that_was_asked_for_takes_effect_by_time_alone(make: Make) {
    let store = make(Limits::default());
    assert_eq!(ask_thaw(&store, NOW).await, ThawAsked::NotFrozen);
    freeze(&store, "owner", NOW).await;
    assert!(frozen_at(&store, after(90 * DAY)).await.is_some(), "nothing thaws unasked");
    let (asked, opens) = (after(HOUR), after(HOUR + DAY));
    assert_eq!(ask_thaw(&store, asked).await, ThawAsked::Opens { at: opens, new: true });
    // Asked again, it comes no sooner and no later.
    assert_eq!(ask_thaw(&store, after(9 * HOUR)).await, ThawAsked::Opens { at: opens, new: false });
    let last = UnixMs(opens.0 - 1);
    assert_eq!(frozen_at(&store, last).await.and_then(|freeze| freeze.opens), Some(opens));
    let begun = store.begin(begin("early"), last).await.expect("begins");
    assert!(begun.standing.frozen.is_some());
    assert_eq!(thawed(&store, last).await, None);
    // Read first, then by a sentence that writes.
    assert_eq!(frozen_at(&store, opens).await, None);
    assert_eq!(
        thawed(&store, after(9 * DAY)).await,
        Some(opens),
        "then, and not when somebody looks"
    );
    let begun = store.begin(begin("late"), after(9 * DAY)).await.expect("begins");
    assert_eq!(begun.standing.frozen, None);
    assert_eq!(thawed(&store, after(9 * DAY)).await, Some(opens));
    assert!(!store.thaw(&alice(), after(9 * DAY)).await.expect("answers"));
    assert_eq!(ask_thaw(&store, after(9 * DAY)).await, ThawAsked::NotFrozen);
}

pub async fn whatever_freezes_again_ends_the_thaw_and_an_operator_overrides_it(make: Make) {
    let store = make(Limits::default());
    freeze(&store, "owner", NOW).await;
    for (n, by) in ["rule:travel", "owner"].into_iter().enumerate() {
        let asked = after(n as u64 * HOUR);
        assert!(matches!(ask_thaw(&store, asked).await, ThawAsked::Opens { new: true, .. }));
        freeze(&store, by, asked.plus_ms(1)).await;
        let still = frozen_at(&store, after(9 * DAY)).await.expect("frozen");
        assert_eq!((still.since, &*still.by, still.opens), (NOW, "owner", None));
    }
    assert!(matches!(ask_thaw(&store, after(DAY)).await, ThawAsked::Opens { new: true, .. }));
    freeze(&store, "operator:eve", after(DAY + 1)).await;
    assert_eq!(ask_thaw(&store, after(DAY + 2)).await, ThawAsked::ByOperator);
    freeze(&store, "owner", after(DAY + 3)).await;
    assert_eq!(ask_thaw(&store, after(DAY + 4)).await, ThawAsked::ByOperator, "his word stays");
    assert!(frozen_at(&store, after(90 * DAY)).await.is_some());
    assert!(store.thaw(&alice(), after(2 * DAY)).await.expect("thaws"));
    assert_eq!(frozen_at(&store, after(2 * DAY)).await, None);
    assert_eq!(thawed(&store, after(2 * DAY)).await, Some(after(2 * DAY)));
    // At once, also where one was asked for.
    freeze(&store, "owner", after(3 * DAY)).await;
    ask_thaw(&store, after(3 * DAY)).await;
    assert!(store.thaw(&alice(), after(3 * DAY + 5)).await.expect("thaws"));
    assert_eq!(thawed(&store, after(9 * DAY)).await, Some(after(3 * DAY + 5)));
}

pub async fn what_was_asked_or_given_under_a_freeze_is_void_when_it_ends(make: Make) {
    let store = make(Limits { challenge_ms: 9 * DAY, grant_ms: 9 * DAY, ..Limits::default() });
    let long = |challenge| Challenge { expires: after(5 * DAY), ..challenge };
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    freeze(&store, "owner", NOW).await;
    ask_thaw(&store, NOW).await;
    let terms = vec![term("remote", either(), Some(Valid::Session)), term("large", either(), None)];
    let asked = Challenge { requirement: requirement(terms), ..long(challenge("given")) };
    approve(&store, asked, 10, after(1)).await;
    open(&store, long(about(2, challenge("open"))), after(1)).await;
    assert_eq!(store.look(&alice(), &session("s"), after(2)).await.unwrap().elevations.len(), 1);
    let over = after(DAY);
    let standing = store.look(&alice(), &session("s"), over).await.expect("answers");
    assert_eq!((standing.frozen.clone(), standing.elevations.len()), (None, 0));
    assert_eq!(store.open_challenges(&alice(), over).await.expect("answers"), []);
    assert!(matches!(spend(&store, "open", Factor::Totp, over).await, Spent::Closed(_)));
    let begun = store.begin(begin("a"), over).await.expect("begins");
    assert!(begun.proof.is_none() && begun.open.is_none());
    assert_eq!(state(&store, "given", over).await, State::Expired);
    // What is asked from then on lives.
    open(&store, long(about(3, challenge("later"))), over).await;
    assert!(matches!(spend(&store, "later", Factor::Totp, over).await, Spent::Compare { .. }));
}

pub async fn what_was_told_before_the_last_thaw_freezes_nothing(make: Make) {
    let store = make(Limits::default());
    let told = |at, opens| Told { at, opens };
    let by_link = async |told, at| {
        store.freeze_told(&alice(), "owner link".into(), told, at).await.expect("answers")
    };
    assert_eq!(by_link(told(NOW, None), after(1)).await, None);
    assert_eq!(frozen_at(&store, after(1)).await.map(|it| it.since), Some(after(1)));
    assert!(store.thaw(&alice(), after(HOUR)).await.expect("thaws"));
    assert_eq!(by_link(told(after(5), None), after(2 * HOUR)).await, Some(after(HOUR)));
    assert_eq!(frozen_at(&store, after(2 * HOUR)).await, None);
    // The notice of the thaw itself is as old as it is.
    assert_eq!(by_link(told(after(HOUR), None), after(2 * HOUR)).await, None);
    assert!(frozen_at(&store, after(2 * HOUR)).await.is_some());

    // A thaw that was asked for: its own notice stops it, before and after; an older one does not.
    let ThawAsked::Opens { at: opens, .. } = ask_thaw(&store, after(3 * HOUR)).await else {
        panic!()
    };
    let asked = told(after(3 * HOUR), Some(opens));
    assert_eq!(by_link(asked, after(4 * HOUR)).await, None);
    assert_eq!(frozen_at(&store, after(9 * DAY)).await.and_then(|it| it.opens), None);
    let ThawAsked::Opens { at: opens, .. } = ask_thaw(&store, after(5 * HOUR)).await else {
        panic!()
    };
    let over = opens.plus_ms(1);
    assert_eq!(by_link(told(after(4 * HOUR), None), over).await, Some(opens));
    assert_eq!(by_link(asked, over).await, Some(opens), "another thaw than it told of");
    assert_eq!(frozen_at(&store, over).await, None);
    assert_eq!(by_link(told(after(5 * HOUR), Some(opens)), over).await, None);
    assert_eq!(frozen_at(&store, over).await.map(|it| it.since), Some(over));
}

pub async fn an_owner_changes_no_factor_of_a_frozen_account_and_an_operator_does(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    freeze(&store, "owner", NOW).await;
    let own = |factor| Enrolled { factor, usable_from: after(DAY), ..totp() };
    let refused = store.enrol(&alice(), own(Factor::Recovery), NOW).await;
    assert!(matches!(refused, Err(StoreError::Frozen)), "{refused:?}");
    let refused = store.disenrol_own(&alice(), Factor::Totp, NOW).await;
    assert!(matches!(refused, Err(StoreError::Frozen)), "{refused:?}");
    let known = store.factors(&alice()).await.expect("answers");
    assert_eq!(known, [totp()]);
    let sms = Enrolled { factor: Factor::Sms, ..totp() };
    store.enrol(&alice(), sms, NOW).await.expect("an operator may");
    assert!(store.disenrol(&alice(), Factor::Sms, NOW).await.expect("an operator may"));
    // When it is over, its owner may again.
    ask_thaw(&store, NOW).await;
    assert!(store.disenrol_own(&alice(), Factor::Totp, UnixMs(after(DAY).0 - 1)).await.is_err());
    assert!(store.disenrol_own(&alice(), Factor::Totp, after(DAY)).await.expect("may"));
    store.enrol(&alice(), own(Factor::Recovery), after(DAY)).await.expect("may");
}

pub async fn a_thaw_that_was_asked_for_moves_along(make: Make) {
    let from = make(Limits::default());
    freeze(&from, "owner", NOW).await;
    assert!(from.thaw(&alice(), after(1)).await.expect("thaws"));
    freeze(&from, "owner", after(2)).await;
    ask_thaw(&from, after(2)).await;
    let to = super::moved::moved(&from, make, after(3)).await;
    assert_eq!(thawed(&to, after(3)).await, Some(after(1)));
    let opens = after(DAY + 2);
    assert_eq!(frozen_at(&to, after(3)).await.and_then(|it| it.opens), Some(opens));
    assert_eq!(frozen_at(&to, opens).await, None);
    assert_eq!(thawed(&to, opens).await, Some(opens));
}
