//! State that moves: out of one store, into another that was empty, and it says the same.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stepgate::locate::{Coordinates, Sighting};
use stepgate::policy::facts::HoldRunning;
use stepgate::stepup::attempts::Tally;
use stepgate::stepup::challenge::{Challenge, Limits};
use stepgate::store::moved::{Bucket, HoldSubject, Kept};
use stepgate::store::{
    Begin, Begun, CodeQueued, Enrolled, Freeze, Learn, NumberKey, Opened, Proven, Settled,
    Standing, Store,
};
use stepgate::types::*;

use super::Make;
use super::fixtures::*;

/// Everything, in parts.
pub async fn taken(store: &Arc<dyn Store>) -> Vec<Kept> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let part = store.export(from).await.expect("exports");
        all.extend(part.kept);
        from = part.next;
        if from.is_none() {
            return all;
        }
    }
}

/// The same in an order that depends on nothing but what is said, without what is over.
fn sorted(kept: Vec<Kept>, now: UnixMs) -> Vec<Kept> {
    let mut kept: Vec<Kept> =
        kept.into_iter().filter_map(|kept| kept.as_of(now)).map(Kept::in_order).collect();
    kept.sort_by_key(Kept::subject);
    kept.dedup();
    kept
}

async fn put(store: &Arc<dyn Store>, kept: Vec<Kept>, now: UnixMs) {
    for some in kept.chunks(100) {
        store.import(some.to_vec(), now).await.expect("imports");
    }
}

/// A new store with everything that the first one says.
pub async fn moved(store: &Arc<dyn Store>, make: Make, now: UnixMs) -> Arc<dyn Store> {
    let target = make(Limits::default());
    put(&target, taken(store).await, now).await;
    target
}

async fn look(store: &Arc<dyn Store>, account: &AccountId, with: &Credential) -> Arc<Standing> {
    store.look(account, with, NOW).await.expect("answers")
}

async fn sight(store: &Arc<dyn Store>, who: &AccountId, with: &Credential, seen: Sighting) {
    assert!(store.sight(who, with, seen));
    all_noted(store).await;
}

/// A customer with something of everything.
async fn populated(make: Make) -> Arc<dyn Store> {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    let sms = Enrolled { factor: Factor::Sms, secret: vec![9; 40], ..totp() };
    store.enrol(&alice(), sms, NOW).await.expect("enrols");
    store.enrol(&alice(), Enrolled { last_step: Some(10), ..totp() }, NOW).await.expect("enrols");
    sight(&store, &alice(), &session("s"), seen("DE", NOW)).await;
    sight(&store, &alice(), &session("t"), seen("FR", after(MINUTE))).await;
    let to = |id: &str, where_to: &str| Begin { destination: Some(where_to.into()), ..begin(id) };
    let added = || Some(Learn::Added { destination: "x".into() });
    begun(&store, to("a", "x"), NOW).await;
    store
        .settle(AttemptId::new("a"), &alice(), Settled::Done, added(), NOW)
        .await
        .expect("settles");
    begun(&store, to("b", "x"), NOW).await;
    abandon(&store, "b", &["young"], NOW).await;
    begun(&store, begin("c"), NOW).await;
    abandon(&store, "c", &["slow"], after(1)).await;
    begun(&store, Begin { usd: None, action: ActionName::new("transfer"), ..begin("d") }, NOW)
        .await;
    settle(&store, "d", Settled::Unknown, NOW).await;
    open(&store, about(2, challenge("open")), NOW).await;
    spend(&store, "open", Factor::Totp, NOW).await;
    let sent = store.send_code(
        &ChallengeId::new("open"),
        &alice(),
        number("n"),
        code("m", NOW),
        vec![1],
        NOW,
    );
    assert!(matches!(sent.await.expect("answers"), CodeQueued::Queued(_)));
    store.adopt("common", vec![7, 0, 255]).await.expect("adopts");
    store.freeze(&account("bob"), "operator:eve".into(), NOW).await.expect("freezes");
    store
}

/// What a beginning is told, as text.
fn told(begun: Begun) -> String {
    let mut counters: Vec<String> = begun
        .counters
        .0
        .iter()
        .map(|(action, window, total)| format!("{action} {} {total:?}", window.word()))
        .collect();
    counters.sort();
    let mut holds = begun.holds;
    holds.sort_by(|a, b| a.rule.cmp(&b.rule));
    format!("{counters:?} {:?} {holds:?}", begun.address)
}

pub async fn everything_says_the_same_in_the_store_it_moved_to(make: Make) {
    let from = populated(make).await;
    let to = moved(&from, make, after(2)).await;
    for who in [alice(), account("bob"), account("nobody")] {
        let cards = (from.account(&who, after(2)).await, to.account(&who, after(2)).await);
        let (theirs, mut ours) = (cards.0.expect("answers"), cards.1.expect("answers"));
        ours.factors.sort_by_key(|card| theirs.factors.iter().position(|it| it == card));
        assert_eq!(ours, theirs);
        for with in [session("s"), session("t"), session("new")] {
            let theirs =
                Standing { elevations: vec![], ..(*look(&from, &who, &with).await).clone() };
            assert_eq!(*look(&to, &who, &with).await, theirs);
        }
        let secrets = |factors: Vec<Enrolled>| {
            let mut factors = factors;
            factors.sort_by_key(|enrolled| enrolled.factor);
            factors
        };
        let factors = (from.factors(&who).await, to.factors(&who).await);
        assert_eq!(secrets(factors.1.expect("answers")), secrets(factors.0.expect("answers")));
    }
    for destination in [Some("x"), Some("y"), None] {
        let probe = |n: &str| Begin {
            destination: destination.map(Arc::from),
            ..begin(&format!("probe-{n}-{destination:?}"))
        };
        let theirs = told(begun(&from, probe("1"), after(HOUR)).await);
        let ours = told(begun(&to, probe("1"), after(HOUR)).await);
        assert_eq!(ours, theirs, "{destination:?}");
    }
    assert_eq!(to.adopt("common", vec![1]).await.expect("answers"), [7, 0, 255]);
}

pub async fn an_export_of_what_was_imported_is_the_same(make: Make) {
    let from = populated(make).await;
    let to = moved(&from, make, after(2)).await;
    let expected = sorted(taken(&from).await, after(2));
    assert_eq!(sorted(taken(&to).await, after(2)), expected);
    let kinds: Vec<&str> = expected.iter().map(Kept::kind).collect();
    for kind in
        ["accounts", "places", "sessions", "counters", "addresses", "holds", "numbers", "keys"]
    {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
}

pub async fn records_can_be_put_back_in_any_order_and_twice(make: Make) {
    let from = populated(make).await;
    let mut kept = taken(&from).await;
    let expected = sorted(kept.clone(), after(2));
    kept.reverse();
    let to = make(Limits::default());
    put(&to, kept.clone(), after(2)).await;
    kept.reverse();
    put(&to, kept, after(2)).await;
    assert_eq!(sorted(taken(&to).await, after(2)), expected);
}

pub async fn a_step_that_was_accepted_is_not_accepted_after_the_move(make: Make) {
    let from = make(Limits::default());
    approve(&from, challenge("c"), 10, NOW).await;
    let to = moved(&from, make, NOW).await;
    open(&to, about(2, challenge("d")), NOW).await;
    spend(&to, "d", Factor::Totp, NOW).await;
    assert!(matches!(prove_totp(&to, "d", 10, NOW).await, Proven::Replayed));
    spend(&to, "d", Factor::Totp, NOW).await;
    assert!(matches!(prove_totp(&to, "d", 11, NOW).await, Proven::Approved(_)));
}

pub async fn what_was_asked_or_given_does_not_move(make: Make) {
    let from = populated(make).await;
    let to = moved(&from, make, after(2)).await;
    let probe = begun(&to, begin("p"), after(2)).await;
    assert!(probe.proof.is_none() && probe.open.is_none());
    assert_eq!(probe.standing.elevations, []);
    for id in ["c", "open"] {
        let found = to.challenge(&ChallengeId::new(id), &alice(), after(2)).await;
        assert!(found.expect("answers").is_none(), "{id}");
    }
    assert_eq!(to.next_message(1000, after(2)).await.expect("answers"), None);
}

pub async fn a_frozen_account_arrives_frozen_and_is_thawed(make: Make) {
    let from = make(Limits::default());
    from.freeze(&alice(), "rule:travel".into(), NOW).await.expect("freezes");
    let to = moved(&from, make, after(HOUR)).await;
    let standing = look(&to, &alice(), &session("s")).await;
    assert_eq!(standing.frozen, Some(Freeze::new(NOW, "rule:travel".into())));
    assert!(to.thaw(&alice(), after(HOUR)).await.expect("answers"));
    assert_eq!(look(&to, &alice(), &session("s")).await.frozen, None);
    assert!(!to.thaw(&alice(), after(HOUR)).await.expect("answers"));
}

pub async fn failures_in_a_row_are_carried_over(make: Make) {
    let from = make(Limits::default());
    from.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&from, challenge("c"), NOW).await;
    for _ in 0..5 {
        spend(&from, "c", Factor::Totp, NOW).await;
    }
    let to = moved(&from, make, NOW).await;
    let opened = to.open_challenge(challenge("d"), NOW).await.expect("answers");
    assert!(
        matches!(opened, Opened::Blocked { until } if until == after(15 * MINUTE)),
        "{opened:?}"
    );
    // The next row of five blocks for twice as long.
    let later = after(15 * MINUTE);
    let expires = later.plus_ms(5 * MINUTE);
    open(&to, Challenge { created: later, expires, ..challenge("e") }, later).await;
    for _ in 0..5 {
        spend(&to, "e", Factor::Totp, later).await;
    }
    let card = to.account(&alice(), later).await.expect("answers");
    assert_eq!((card.failures, card.blocked_until), (10, Some(after(45 * MINUTE))));
}

pub async fn a_factor_that_failed_too_often_arrives_disabled(make: Make) {
    let limits = || Limits { failures_disable: 3, ..Limits::default() };
    let from = make(limits());
    from.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&from, challenge("c"), NOW).await;
    for _ in 0..3 {
        spend(&from, "c", Factor::Totp, NOW).await;
    }
    let to = make(limits());
    put(&to, taken(&from).await, NOW).await;
    assert!(to.factors(&alice()).await.expect("answers")[0].disabled);
    assert!(look(&to, &alice(), &session("s")).await.factors.is_empty());
    to.enrol(&alice(), totp(), NOW).await.expect("enrols");
    assert!(!to.factors(&alice()).await.expect("answers")[0].disabled);
}

pub async fn codes_that_were_sent_count_against_the_number_after_the_move(make: Make) {
    async fn send(store: &Arc<dyn Store>, id: &str, now: UnixMs) -> CodeQueued {
        let id = ChallengeId::new(id);
        let sent = store.send_code(&id, &alice(), number("n"), code("m", now), vec![1], now);
        sent.await.expect("answers")
    }
    let from = make(Limits::default());
    open(&from, challenge("c"), NOW).await;
    for n in 0..3 {
        assert!(matches!(send(&from, "c", after(n)).await, CodeQueued::Queued(_)));
    }
    let to = moved(&from, make, after(3)).await;
    open(&to, challenge("d"), after(3)).await;
    let limited = send(&to, "d", after(3)).await;
    assert!(matches!(limited, CodeQueued::Limited { retry_after_ms: 599_997 }), "{limited:?}");
}

pub async fn a_hold_keeps_its_beginning_and_one_before_a_freeze_stays_unserved(make: Make) {
    let from = make(Limits::default());
    begun(&from, begin("a"), NOW).await;
    abandon(&from, "a", &["slow"], NOW).await;
    let to = moved(&from, make, after(HOUR)).await;
    let holds = begun(&to, begin("b"), after(2 * HOUR)).await.holds;
    assert_eq!(holds, [HoldRunning { rule: RuleId::new("slow"), since: NOW }]);

    from.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    assert!(from.thaw(&alice(), NOW).await.expect("thaws"));
    let to = moved(&from, make, after(HOUR)).await;
    assert_eq!(begun(&to, begin("b"), after(2 * HOUR)).await.holds, []);
}

pub async fn what_is_reserved_when_it_moves_stays_counted(make: Make) {
    let from = make(Limits::default());
    begun(&from, begin("a"), NOW).await;
    let to = moved(&from, make, NOW).await;
    assert_eq!(to.recover(NOW).await.expect("recovers"), []);
    settle(&to, "a", Settled::Refused, NOW).await;
    assert_eq!(withdrawals(&to, "24h", after(MINUTE)).await, (1, Some("10".to_owned())));
}

pub async fn what_has_run_out_is_not_put_back(make: Make) {
    let from = populated(make).await;
    let later = after(366 * DAY);
    let to = make(Limits::default());
    put(&to, taken(&from).await, later).await;
    let kinds: Vec<&str> = taken(&to)
        .await
        .into_iter()
        .filter_map(|kept| kept.as_of(later))
        .map(|kept| kept.kind())
        .collect();
    for over in ["sessions", "counters", "addresses", "holds", "numbers"] {
        assert!(!kinds.contains(&over), "{over} in {kinds:?}");
    }
    for stays in ["accounts", "places", "keys"] {
        assert!(kinds.contains(&stays), "{stays} in {kinds:?}");
    }
}

pub async fn an_account_that_is_replaced_has_nothing_open_any_more(make: Make) {
    let from = make(Limits::default());
    from.enrol(&alice(), Enrolled { secret: vec![8], ..totp() }, NOW).await.expect("enrols");
    let to = make(Limits::default());
    let valid = Some(stepgate::policy::verdict::Valid::Session);
    let terms = vec![term("remote", either(), valid), term("large", either(), None)];
    approve(&to, Challenge { requirement: requirement(terms), ..challenge("c") }, 10, NOW).await;
    open(&to, about(2, challenge("d")), NOW).await;
    assert_eq!(look(&to, &alice(), &session("s")).await.elevations.len(), 1);
    put(&to, taken(&from).await, NOW).await;
    assert!(look(&to, &alice(), &session("s")).await.elevations.is_empty());
    let probe = begun(&to, begin("p"), NOW).await;
    assert!(probe.proof.is_none() && probe.open.is_none());
    assert_eq!(to.factors(&alice()).await.expect("answers")[0].secret, [8]);
}

pub async fn an_export_of_many_comes_in_parts_that_miss_nothing(make: Make) {
    let from = make(Limits::default());
    let many: Vec<Kept> = (0..700)
        .flat_map(|n| {
            let account = account(&format!("a{n}|{}", "x".repeat(n % 7)));
            let last = seen("DE", NOW);
            [
                Kept::Account {
                    account: account.clone(),
                    frozen: None,
                    thawed: None,
                    security_changed: Some(UnixMs(n as i64)),
                    factors: vec![],
                    tally: Tally::default(),
                    freezes: 0,
                    number_gone: None,
                },
                Kept::Session { account, credential: session(&format!("s{n}")), last },
            ]
        })
        .collect();
    put(&from, many.clone(), NOW).await;
    assert_eq!(sorted(taken(&from).await, NOW), sorted(many, NOW));
}

pub async fn random_populations_arrive_as_they_were(make: Make) {
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let strategy = proptest::collection::vec(kept(), 0..40);
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let checked = runner.run(&strategy, |population| {
            handle.block_on(async {
                let from = make(Limits::default());
                // One by one, so that the last of several about the same thing stays.
                for one in &population {
                    put(&from, vec![one.clone()], NOW).await;
                }
                let mut last: Vec<Kept> = Vec::new();
                for one in population {
                    last.retain(|known| known.subject() != one.subject());
                    last.push(one);
                }
                let to = moved(&from, make, NOW).await;
                assert_eq!(sorted(taken(&from).await, NOW), sorted(last.clone(), NOW));
                assert_eq!(sorted(taken(&to).await, NOW), sorted(last, NOW));
            });
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{error}"));
    });
}

/// One record about few accounts with odd names; it says something at `NOW`.
pub fn kept() -> impl Strategy<Value = Kept> {
    let who = || {
        prop::sample::select(vec!["a", "b", "a|b", "a\0", "é/\"\\", "{a}", "a:b c"])
            .prop_map(|name| AccountId::new("main", name))
    };
    let at = || (0..20 * DAY).prop_map(|ago| UnixMs(NOW.0 - ago as i64));
    let lately = || (0..20 * HOUR).prop_map(|ago| UnixMs(NOW.0 - ago as i64));
    let factor = prop::sample::select(vec![Factor::Totp, Factor::Sms]);
    let enrolled = (factor, prop::collection::vec(any::<u8>(), 0..60), at(), any::<Option<u32>>())
        .prop_map(|(factor, secret, since, step)| Enrolled {
            factor,
            secret,
            label: "x ••67".to_owned(),
            since,
            disabled: step.is_none(),
            last_step: step.map(u64::from),
            usable_from: if step.is_some_and(|step| step % 2 == 0) {
                since.plus_ms(DAY)
            } else {
                since
            },
            codes: step.iter().map(|step| format!("{step:x}")).collect(),
            language: step.map(|_| "zh-TW".into()),
        });
    let factors = prop::collection::vec(enrolled, 0..2);
    let tally = (0..7u32, lately()).prop_map(|(times, now)| {
        let mut tally = Tally::default();
        (0..times).for_each(|_| tally.spend(Factor::Totp, &Limits::default(), now));
        tally
    });
    let frozen = prop::option::of(at())
        .prop_map(|since| since.map(|since| Freeze::new(since, "rule:x".into())));
    let gone = prop::option::of(at());
    let account = (who(), frozen, prop::option::of(at()), factors, tally, 0..4u64, gone).prop_map(
        |(account, frozen, security_changed, factors, tally, freezes, number_gone)| Kept::Account {
            account,
            frozen,
            thawed: security_changed,
            security_changed,
            factors,
            tally,
            freezes,
            number_gone,
        },
    );
    let sighting = || {
        let place = (-90.0..90.0f64, -180.0..180.0f64, 0.0..1000.0f64);
        (lately(), any::<Option<u32>>(), any::<[u8; 4]>(), prop::option::of(place)).prop_map(
            |(at, asn, ip, place)| Sighting {
                at,
                client: ip.into(),
                country: Some("DE".into()),
                asn,
                coordinates: place.map(|(latitude, longitude, radius_km)| Coordinates {
                    latitude,
                    longitude,
                    radius_km,
                }),
            },
        )
    };
    let countries = prop::collection::btree_set("[A-Z]{2}", 0..5);
    let asns = prop::collection::btree_set(any::<u32>(), 0..5);
    let places = (who(), countries, asns, prop::option::of(sighting())).prop_map(
        |(account, countries, asns, last)| Kept::Places {
            account,
            arrived: countries
                .iter()
                .skip(1)
                .map(|name| (name.as_str().into(), after(u64::from(name.as_bytes()[0]))))
                .collect(),
            countries: countries.into_iter().map(Arc::from).collect(),
            asns: asns.into_iter().collect(),
            last,
        },
    );
    let credential = (
        prop::sample::select(vec![CredentialKind::Session, CredentialKind::ApiKey]),
        "[a-c|:{}]{1,3}",
    )
        .prop_map(|(kind, id)| Credential { kind, id: CredentialId::new(id) });
    let seen_last = (who(), credential, sighting())
        .prop_map(|(account, credential, last)| Kept::Session { account, credential, last });
    let action =
        || prop::sample::select(vec!["withdrawal", "transfer", "a.b"]).prop_map(ActionName::new);
    let bucket = (0..200u64, 1..9u64, 0..2u64, 0..1_000_000u64);
    let buckets = prop::collection::btree_map(0..200u64, bucket, 0..8).prop_map(|buckets| {
        let five_minutes = 300_000;
        let base = NOW.0 - NOW.0.rem_euclid(five_minutes);
        let bucket = |(at, (_, count, unpriced, cents)): (u64, (u64, u64, u64, u64))| Bucket {
            from: UnixMs(base - at as i64 * five_minutes),
            length_ms: five_minutes as u64,
            count,
            unpriced: unpriced.min(count),
            usd: format!("{}.{:02}", cents / 100, cents % 100),
        };
        buckets.into_iter().map(bucket).collect::<Vec<_>>()
    });
    let counters = (who(), action(), buckets)
        .prop_map(|(account, action, buckets)| Kept::Counters { account, action, buckets });
    let destination = || "[a-c|:{}é]{1,3}".prop_map(Arc::<str>::from);
    let address = (who(), destination(), at(), any::<bool>(), at()).prop_map(
        |(account, destination, added, verified, touched)| Kept::Address {
            account,
            destination,
            added,
            verified,
            touched,
        },
    );
    let subject = prop_oneof![
        destination().prop_map(HoldSubject::Destination),
        any::<u8>().prop_map(|n| HoldSubject::Intent(intent(n % 3).hex())),
    ];
    let running = prop::collection::btree_map("[a-z]{1,4}", at(), 0..4).prop_map(|running| {
        let hold = |(rule, since): (String, UnixMs)| HoldRunning { rule: RuleId::new(rule), since };
        running.into_iter().map(hold).collect::<Vec<_>>()
    });
    let holds =
        (who(), subject, 0..3u64, running).prop_map(|(account, subject, freezes, running)| {
            Kept::Holds { account, subject, freezes, running }
        });
    let sends = ("[a-c]{1,2}", prop::collection::vec(lately(), 0..10))
        .prop_map(|(number, at)| Kept::Sends { number: NumberKey(number), at });
    let key = ("[a-c]{1,2}", prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(name, value)| Kept::Key { name, value });
    let suspension = ("[a-c]{1,2}", prop::collection::vec(any::<u8>(), 0..40), any::<bool>())
        .prop_map(|(id, value, open)| {
            let until = if open { UnixMs(i64::MAX) } else { after(HOUR) };
            Kept::Suspension { id, value, until }
        });
    prop_oneof![account, places, seen_last, counters, address, holds, sends, key, suspension]
        .prop_filter("says something", |kept| kept.clone().as_of(NOW).is_some())
}
