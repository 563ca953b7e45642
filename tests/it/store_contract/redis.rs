//! Stores in a real Redis, and what only they promise: what is lost is void, and what is late is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stepgate::stepup::challenge::{Challenge, Limits, State};
use stepgate::store::redis::{Redis, Server, Settings, Topology};
use stepgate::store::{Begin, Notice, Proven, Settled, Spent, Store, StoreError};
use stepgate::types::{AttemptId, ChallengeId, Factor, UnixMs};
use stepgate::world::{Clock as _, SystemClock};

use super::fixtures::*;
use super::{Place, run};
use crate::kit;
use crate::kit::redis::{Cluster, MASTER, Options, Sentinel, Single};

fn settings(topology: Topology, prefix: &str, deadline: Duration) -> Settings {
    Settings {
        topology,
        user: None,
        password: None,
        sentinel_user: None,
        sentinel_password: None,
        tls: None,
        database: 0,
        prefix: prefix.to_owned(),
        deadline,
    }
}

fn at(server: &kit::redis::Server) -> Server {
    Server { host: "127.0.0.1".to_owned(), port: server.port }
}

fn alone(server: &kit::redis::Server) -> Topology {
    Topology::Single(at(server))
}

fn behind_sentinels() -> Topology {
    let sentinels = kit::redis::shared_sentinel().sentinels.iter().map(at).collect();
    Topology::Sentinel { sentinels, master: MASTER.to_owned() }
}

fn in_cluster() -> Topology {
    Topology::Cluster(kit::redis::shared_cluster().masters.iter().map(at).collect())
}

/// A store in these servers under this prefix.
fn open_on(topology: Topology, prefix: &str, limits: Limits) -> Arc<dyn Store> {
    let settings = settings(topology, prefix, Duration::from_secs(20));
    Arc::new(Redis::open(settings, limits, Arc::new(SystemClock)).expect("opens"))
}

fn open_at(server: &kit::redis::Server, prefix: &str, limits: Limits) -> Arc<dyn Store> {
    open_on(alone(server), prefix, limits)
}

/// Stores with different prefixes know nothing of one another.
pub fn prefix() -> String {
    static STORES: AtomicU64 = AtomicU64::new(0);
    format!("test{}-", STORES.fetch_add(1, Ordering::Relaxed))
}

pub fn single(limits: Limits) -> Arc<dyn Store> {
    open_at(&kit::redis::shared().server, &prefix(), limits)
}

pub fn sentinel(limits: Limits) -> Arc<dyn Store> {
    open_on(behind_sentinels(), &prefix(), limits)
}

pub fn cluster(limits: Limits) -> Arc<dyn Store> {
    open_on(in_cluster(), &prefix(), limits)
}

pub fn single_place() -> Place {
    place(|| alone(&kit::redis::shared().server))
}

pub fn sentinel_place() -> Place {
    place(behind_sentinels)
}

pub fn cluster_place() -> Place {
    place(in_cluster)
}

fn place(topology: fn() -> Topology) -> Place {
    let prefix = prefix();
    Box::new(move |limits| open_on(topology(), &prefix, limits))
}

/// A store that waits as long as one does in earnest.
fn hasty(server: &kit::redis::Server) -> Arc<dyn Store> {
    let settings = settings(alone(server), &prefix(), Duration::from_millis(250));
    Arc::new(Redis::open(settings, Limits::default(), Arc::new(SystemClock)).expect("opens"))
}

/// Polls until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited too long: {what}");
}

async fn until_back(store: &Arc<dyn Store>) {
    until("the store answers again", async || store.adopt("back", vec![1]).await.is_ok()).await;
}

fn forget_markers(server: &kit::redis::Server, prefix: &str) {
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
    server.say(&["EVAL", script, "0", &format!("{prefix}{{*}}m")]);
}

#[test]
fn where_the_state_was_lost_everything_is_refused_until_a_gateway_starts() {
    run(|| async {
        let (server, prefix) = (&kit::redis::shared().server, prefix());
        let store = open_at(server, &prefix, Limits::default());
        open(&store, challenge("c"), NOW).await;
        forget_markers(server, &prefix);
        let (id, who, with) = (ChallengeId::new("c"), alice(), session("s"));
        let lost = |error: StoreError| assert!(error.to_string().contains("lost"), "{error}");
        lost(store.begin(begin("a"), NOW).await.expect_err("refuses"));
        let spent = store.spend_attempt(&id, &who, &with, Factor::Totp, NOW).await;
        lost(spent.expect_err("refuses"));
        lost(store.look(&who, &with, NOW).await.expect_err("refuses"));
        lost(store.freeze(&who, "owner".into(), NOW).await.expect_err("refuses"));
        lost(store.ping().await.expect_err("is not ready"));

        let _other = open_at(server, &prefix, Limits::default());
        assert!(store.begin(begin("a"), NOW).await.is_ok());
    });
}

#[test]
fn after_a_restart_grants_and_open_challenges_are_void_and_steps_begin_anew() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = open_at(&single.server, "p", Limits::default());
        let now = SystemClock.now();
        let step = u64::try_from(now.0 / 30_000).expect("a step");
        let challenge = |id: &str| Challenge { expires: now.plus_ms(HOUR), ..challenge(id) };
        approve(&store, challenge("granted"), step - 1, now).await;
        open(&store, about(2, challenge("open")), now).await;
        let held = Challenge { held: Some(vec![1]), ..about(3, challenge("held")) };
        approve(&store, held, step, now).await;
        begun(&store, Begin { intent: intent(4), ..begin("a") }, now).await;
        store.freeze(&account("bob"), "owner".into(), now).await.expect("freezes");

        single.server.kill();
        single.server.start();
        until_back(&store).await;
        for id in ["granted", "open", "held"] {
            assert_eq!(state(&store, id, now).await, State::Expired, "{id}");
        }
        let (id, who, with) = (ChallengeId::new("held"), alice(), session("s"));
        assert_eq!(store.take_held(&id, &who, &with, now).await.expect("answers"), None);
        assert!(matches!(spend(&store, "open", Factor::Totp, now).await, Spent::Closed(_)));
        assert!(matches!(prove_totp(&store, "open", step + 9, now).await, Proven::Closed(_)));
        let after_it = begun(&store, begin("b"), now).await;
        assert!(after_it.proof.is_none() && after_it.open.is_none());
        assert_eq!(withdrawals(&store, "1h", now).await.0, 2, "what was counted stays");
        let bob = store.look(&account("bob"), &with, now).await.expect("answers");
        assert!(bob.frozen.is_some());

        // The owner is asked again; the last step that may have been accepted is not accepted, nor the next.
        open(&store, challenge("again"), now).await;
        for seen in [step, step + 1] {
            assert!(matches!(prove_totp(&store, "again", seen, now).await, Proven::Replayed));
        }
        // A right code that cannot count is no failure: the account is not blocked by it.
        for _ in 0..6 {
            let spent = spend(&store, "again", Factor::Totp, now).await;
            assert!(matches!(spent, Spent::Compare { left: 4, .. }), "{spent:?}");
            assert!(matches!(prove_totp(&store, "again", step + 1, now).await, Proven::Replayed));
        }
        // By the time of the restart, which may have been in the next step.
        let next = u64::try_from(SystemClock.now().0 / 30_000).expect("a step") + 2;
        assert!(matches!(prove_totp(&store, "again", next, now).await, Proven::Approved(_)));
        assert!(begun(&store, begin("c"), now).await.proof.is_some());
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_done() {
    run(|| async {
        let single = Single::start(&Options::default());
        let store = hasty(&single.server);
        single.server.pause();
        assert!(store.adopt("key", vec![1]).await.is_err());
        let late = store.begin(begin("late"), NOW).await;
        assert!(late.is_err());
        tokio::time::sleep(Duration::from_millis(300)).await; // so that both are late for certain
        single.server.resume();
        until_back(&store).await;
        assert_eq!(store.adopt("key", vec![2]).await.expect("answers"), [2]);
        assert_eq!(withdrawals(&store, "1h", NOW).await.0, 0);
    });
}

#[test]
fn a_beginning_that_nobody_heard_of_is_given_back_and_cannot_begin_any_more() {
    run(|| async {
        let server = &kit::redis::shared().server;
        let prefix = prefix();
        let store = open_at(server, &prefix, Limits::default());
        for n in 0..50 {
            let beginning = store.begin(begin(&format!("a{n}")), NOW);
            // Polled once, so that the sentence is on its way, and dropped.
            let heard = tokio::select! {
                biased;
                begun = beginning => begun.is_ok(),
                () = std::future::ready(()) => false,
            };
            if heard {
                // Answered while it was polled; then it is this caller's to end.
                abandon(&store, &format!("a{n}"), &[], NOW).await;
            }
        }
        let abandoned = async || {
            let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                if redis.call('HGET', key, 'stage') == 'abandoned' then n = n + 1 end end return n";
            let found = server.ask(&["EVAL", script, "0", &format!("{prefix}{{*}}ta*")]);
            redis::from_redis_value::<u32>(found.expect("answers")).expect("a number") == 50
        };
        until("all are abandoned", abandoned).await;
        assert_eq!(withdrawals(&store, "1h", NOW).await, (0, None));
        assert!(store.begin(begin("a7"), NOW).await.is_err());
    });
}

#[test]
fn an_end_that_the_store_did_not_hear_is_told_again() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = hasty(&single.server);
        for id in ["a", "b", "c"] {
            begun(&store, begin(id), NOW).await;
        }
        single.server.kill();
        let refused = Settled::Refused;
        let id = AttemptId::new("a");
        assert!(store.settle(id, &alice(), refused, None, NOW).await.is_err());
        assert!(store.abandon(AttemptId::new("b"), &alice(), vec![], NOW).await.is_err());
        single.server.start();
        until_back(&store).await;
        until("both are told", async || withdrawals(&store, "1h", NOW).await.0 == 1).await;
    });
}

#[test]
fn a_freeze_and_a_notice_reach_the_other_gateways() {
    run(|| async {
        let (server, prefix) = (&kit::redis::shared().server, prefix());
        let here = open_at(server, &prefix, Limits::default());
        let there = open_at(server, &prefix, Limits::default());
        let frozen = || there.glance(&alice(), &session("s"), NOW);
        there.look(&alice(), &session("s"), NOW).await.expect("answers");
        here.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
        until("the freeze is heard of", async || {
            frozen().is_none_or(|standing| standing.frozen.is_some())
        })
        .await;
        there.look(&alice(), &session("s"), NOW).await.expect("answers");
        assert!(frozen().is_none_or(|standing| standing.frozen.is_some()));

        here.announce(Notice::Reload).await.expect("is sent");
        let heard = tokio::time::timeout(Duration::from_secs(10), there.heard()).await;
        assert_eq!(heard.expect("in time").expect("is heard"), Notice::Reload);
        there.announce(Notice::Reload).await.expect("is sent");
        let heard = tokio::time::timeout(Duration::from_secs(10), here.heard()).await;
        assert!(heard.expect("in time").is_ok());
        // Its own came back before the other's, and it did not take it for another's.
        let more = tokio::time::timeout(Duration::from_millis(50), here.heard()).await;
        assert!(more.is_err());
    });
}

#[test]
fn a_full_server_begins_nothing_but_freezes_and_ends_what_began() {
    run(|| async {
        let single = Single::start(&Options::default());
        let store = open_at(&single.server, "p", Limits::default());
        begun(&store, begin("a"), NOW).await;
        open(&store, challenge("c"), NOW).await;
        store.ping().await.expect("is ready");
        single.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
        let (id, who, with) = (ChallengeId::new("c"), alice(), session("s"));
        assert!(store.ping().await.is_err(), "it is not ready");
        assert!(store.begin(begin("b"), NOW).await.is_err());
        assert!(store.spend_attempt(&id, &who, &with, Factor::Totp, NOW).await.is_err());
        settle(&store, "a", Settled::Refused, NOW).await;
        store.reject(&id, &who, true, NOW).await.expect("rejects");
        store.freeze(&account("bob"), "owner".into(), NOW).await.expect("freezes");
        single.server.say(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(state(&store, "c", NOW).await, State::Rejected);
        assert_eq!(withdrawals(&store, "1h", NOW).await.0, 0);
        for who in [who, account("bob")] {
            assert!(store.look(&who, &with, NOW).await.expect("answers").frozen.is_some());
        }
    });
}

fn clustered(all: &Cluster, prefix: &str) -> Arc<dyn Store> {
    open_on(Topology::Cluster(all.masters.iter().map(at).collect()), prefix, Limits::default())
}

/// Moves a key and what goes with it as an operator who shares the slots out anew does, and answers what ends it.
fn begin_moving<'a>(all: &'a Cluster, key: &str) -> impl Fn() + use<'a> {
    let slot = all.masters[0].ask(&["CLUSTER", "KEYSLOT", key]).expect("answers");
    let slot = redis::from_redis_value::<u32>(slot).expect("a number").to_string();
    let from = all.master_of(key);
    let (from, to) = (&all.masters[from], &all.masters[(from + 1) % 3]);
    let (from_id, to_id) = (from.say(&["CLUSTER", "MYID"]), to.say(&["CLUSTER", "MYID"]));
    to.say(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.say(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let port = to.port.to_string();
    from.say(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    move || {
        while let Some(key) = {
            let left = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).expect("answers");
            redis::from_redis_value::<Vec<String>>(left).expect("keys").pop()
        } {
            from.say(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
        }
        to.say(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        from.say(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
}

/// Of a part that moves to another server only this key has arrived there.
async fn half_moved(arrived: impl Fn(&str) -> String) {
    let all = Cluster::start(&Options::default(), false);
    let store = clustered(&all, "p");
    begun(&store, begin("before"), NOW).await;
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    let mut accounts = all.masters.iter().flat_map(|server| {
        let keys = server.ask(&["KEYS", "p{*}a4:main5:alice"]).expect("answers");
        redis::from_redis_value::<Vec<String>>(keys).expect("keys")
    });
    let end = begin_moving(&all, &arrived(&accounts.next().expect("a key")));
    let (id, who, with) = (AttemptId::new("before"), alice(), session("s"));
    for _ in 0..3 {
        assert!(store.begin(begin("while"), NOW).await.is_err());
        assert!(store.look(&who, &with, NOW).await.is_err());
        assert!(store.thaw(&who, NOW).await.is_err());
    }
    assert!(store.settle(id, &who, Settled::Done, None, NOW).await.is_err());
    end();
    until("it has moved", async || store.look(&who, &with, NOW).await.is_ok()).await;
    let begun = begun(&store, begin("after"), NOW).await;
    assert!(begun.standing.frozen.is_some() && !begun.counters.0.is_empty());
}

#[test]
fn an_account_whose_keys_have_not_arrived_on_another_server_is_not_taken_for_an_empty_one() {
    run(|| half_moved(|account| account.replace("a4:main5:alice", "m")));
}

#[test]
fn an_account_whose_keys_have_left_their_server_is_not_taken_for_an_empty_one() {
    run(|| half_moved(str::to_owned));
}

#[test]
fn after_a_restart_a_full_server_still_freezes_and_ends_what_began() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = open_at(&single.server, "p", Limits::default());
        begun(&store, begin("a"), NOW).await;
        single.server.kill();
        single.server.start();
        single.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
        until("the store answers", async || store.look(&alice(), &session("s"), NOW).await.is_ok())
            .await;
        assert!(store.begin(begin("b"), NOW).await.is_err());
        store
            .settle(AttemptId::new("a"), &alice(), Settled::Refused, None, NOW)
            .await
            .expect("settles");
        store.freeze(&account("bob"), "owner".into(), NOW).await.expect("freezes");
        let frozen = store.look(&account("bob"), &session("s"), NOW).await.expect("answers");
        assert!(frozen.frozen.is_some());
    });
}

#[test]
fn an_end_that_is_told_late_does_not_lower_the_step_that_is_accepted_after_a_restart() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = open_at(&single.server, "p", Limits::default());
        let now = SystemClock.now();
        let step = u64::try_from(now.0 / 30_000).expect("a step");
        let in_time = |id: &str| Challenge { expires: now.plus_ms(HOUR), ..challenge(id) };
        approve(&store, in_time("granted"), step, now).await;
        begun(&store, begin("a"), now).await;
        // What the last server had accepted is lost.
        let forget =
            "for _, key in ipairs(redis.call('KEYS', 'p{*}a*')) do redis.call('DEL', key) end";
        single.server.say(&["EVAL", forget, "0"]);
        single.server.kill();
        single.server.start();
        until_back(&store).await;
        // It ended minutes ago, and is heard of first.
        let long_ago = UnixMs(now.0 - 300_000);
        settle(&store, "a", Settled::Done, long_ago).await;

        store.enrol(&alice(), totp(), now).await.expect("enrols");
        open(&store, in_time("again"), now).await;
        for seen in [step, step + 1] {
            assert!(matches!(prove_totp(&store, "again", seen, now).await, Proven::Replayed));
        }
    });
}

#[test]
fn what_is_given_back_twice_does_not_spoil_the_counters() {
    run(|| async {
        let store = single(Limits::default());
        let half = |id: &str| Begin { usd: Some(usd("0.5")), ..begin(id) };
        let began = store.clone();
        for id in ["a", "b", "c"] {
            begun(&store, half(id), NOW).await;
        }
        // A backup of now takes the place of what the store says, while all three are on their way.
        let mut kept = Vec::new();
        let mut from = None;
        loop {
            let export = began.export(from).await.expect("exports");
            kept.extend(export.kept);
            from = export.next;
            if from.is_none() {
                break;
            }
        }
        store.import(kept, NOW).await.expect("imports");
        for id in ["a", "b"] {
            settle(&store, id, Settled::Refused, NOW).await;
        }
        let (count, sum) = withdrawals(&store, "1h", NOW).await;
        assert_eq!(count, 1);
        assert!(sum.is_none_or(|sum| sum == "0.5"));
    });
}

#[test]
fn a_beginning_that_its_caller_looks_at_too_late_is_given_back() {
    run(|| async {
        let store = hasty(&kit::redis::shared().server);
        let mut beginnings = (0..).map(|n| (format!("a{n}"), begin(&format!("a{n}"))));
        // Polled once, so that the sentence is on its way; then its gateway stands still.
        let beginning = loop {
            let (id, begin) = beginnings.next().expect("never ends");
            let mut beginning = store.begin(begin, NOW);
            tokio::select! {
                biased;
                // Answered while it was polled; then it is this caller's to end, and another one is tried.
                begun = &mut beginning => drop(begun.expect("begins")),
                () = std::future::ready(()) => break beginning,
            }
            abandon(&store, &id, &[], NOW).await;
        };
        std::thread::sleep(Duration::from_millis(1_500)); // so that it is late for certain
        assert!(beginning.await.is_err());
        until("it is given back", async || withdrawals(&store, "1h", NOW).await.0 == 0).await;
    });
}

#[test]
fn beginnings_that_fail_do_not_take_the_room_of_ends() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = hasty(&single.server);
        begun(&store, begin("a"), NOW).await;
        single.server.kill();
        for n in 0..20_500 {
            assert!(store.begin(begin(&format!("b{n}")), NOW).await.is_err());
        }
        let (id, refused) = (AttemptId::new("a"), Settled::Refused);
        assert!(store.settle(id, &alice(), refused, None, NOW).await.is_err());
        single.server.start();
        until_back(&store).await;
        until("it is told", async || withdrawals(&store, "1h", NOW).await.0 == 0).await;
    });
}

#[test]
fn on_a_full_server_beginnings_that_fail_do_not_hold_ends_up() {
    run(|| async {
        let single = Single::start(&Options::default());
        let store = hasty(&single.server);
        begun(&store, begin("a"), NOW).await;
        single.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
        for n in 0..100 {
            assert!(store.begin(begin(&format!("b{n}")), NOW).await.is_err());
        }
        // Cut short, so that it has to be told again.
        drop(store.begin(begin("c"), NOW));
        single.server.pause();
        let (id, refused) = (AttemptId::new("a"), Settled::Refused);
        assert!(store.settle(id, &alice(), refused, None, NOW).await.is_err());
        single.server.resume();
        let told = async || {
            let stage = single.server.ask(&["EVAL", STAGE, "0"]).expect("answers");
            redis::from_redis_value::<String>(stage).expect("a word") == "refused"
        };
        until("it is told", told).await;
    });
}

const STAGE: &str = "return redis.call('HGET', redis.call('KEYS', '*}ta')[1], 'stage')";

#[test]
fn what_is_lent_takes_no_room_when_it_is_over() {
    run(|| async {
        let (server, prefix) = (&kit::redis::shared().server, prefix());
        let store = open_at(server, &prefix, Limits::default());
        store.lend("token", vec![1], after(15 * MINUTE), NOW).await.expect("lends");
        assert_eq!(
            store.lent("token", after(15 * MINUTE - 1)).await.expect("answers"),
            Some(vec![1])
        );
        let left = server.ask(&["PTTL", &format!("{prefix}{{common}}ltoken")]).expect("answers");
        let left_ms: u64 = redis::from_redis_value(left).expect("a number");
        assert!((14 * MINUTE..20 * MINUTE).contains(&left_ms), "{left_ms}");
    });
}

#[test]
fn a_freeze_that_only_the_lost_master_had_is_not_answered_by_its_successor() {
    run(|| async {
        let all = Sentinel::start(&Options::default());
        let store = watched(&all, "p");
        let (who, with) = (alice(), session("s"));
        let old = all.master().expect("a master");
        let replicas = || all.servers.iter().enumerate().filter(|(at, _)| *at != old);
        replicas().for_each(|(_, replica)| replica.pause());
        all.servers[old].say(&["CLIENT", "KILL", "TYPE", "replica"]);
        let mut freezing = store.freeze(&who, "owner".into(), NOW);
        tokio::select! {
            biased;
            frozen = &mut freezing => panic!("too soon: {}", frozen.is_ok()),
            () = std::future::ready(()) => {}
        }
        let is_frozen = "return redis.call('EXISTS', redis.call('KEYS', 'p{*}a*')[1] or 'none')";
        until("the master has it", async || {
            let found = all.servers[old].ask(&["EVAL", is_frozen, "0"]).expect("answers");
            redis::from_redis_value::<bool>(found).expect("a flag")
        })
        .await;
        // So that its answer has arrived.
        tokio::time::sleep(Duration::from_millis(100)).await;
        all.servers[old].kill();
        replicas().for_each(|(_, replica)| replica.resume());
        all.wait_for_other_master(old);
        until("the successor is found", async || store.look(&who, &with, NOW).await.is_ok()).await;
        let standing = store.look(&who, &with, NOW).await.expect("answers");
        // The sentinels cut all connections of the one that they promote, a moment later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answer = freezing.await;
        if answer.is_ok() {
            assert!(standing.frozen.is_some(), "answered, and lost");
        }
    });
}

fn watched(all: &Sentinel, prefix: &str) -> Arc<dyn Store> {
    let sentinels = all.sentinels.iter().map(at).collect();
    let topology = Topology::Sentinel { sentinels, master: MASTER.to_owned() };
    open_on(topology, prefix, Limits::default())
}

#[test]
fn a_full_server_with_replicas_freezes_as_well() {
    run(|| async {
        let all = Sentinel::start(&Options::default());
        let store = watched(&all, "p");
        let master = &all.servers[all.master().expect("a master")];
        master.say(&["CONFIG", "SET", "maxmemory", "1"]);
        store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
        let found = store.look(&alice(), &session("s"), NOW).await.expect("answers");
        assert!(found.frozen.is_some());
    });
}

#[test]
fn a_freeze_is_not_answered_while_replicas_are_only_away() {
    run(|| async {
        let all = Sentinel::start(&Options::default());
        let store = watched(&all, "p");
        store.freeze(&account("bob"), "owner".into(), NOW).await.expect("freezes");
        let master = all.master().expect("a master");
        let others = all.servers.iter().enumerate().filter(|(at, _)| *at != master);
        others.for_each(|(_, replica)| replica.kill());
        let alone = || all.servers[master].info("connected_slaves") == "0";
        kit::redis::within(Duration::from_secs(10), "nobody to follow", alone);
        tokio::time::sleep(Duration::from_millis(600)).await; // two pulses: by now it is known
        assert!(store.freeze(&alice(), "owner".into(), NOW).await.is_err());
        let found = store.look(&alice(), &session("s"), NOW).await.expect("answers");
        assert!(found.frozen.is_some(), "it holds where it can");
    });
}

#[test]
fn a_notice_that_could_not_be_queued_counts_no_longer_than_its_claim() {
    use stepgate::store::{NoticeLetter, Notified, Quiet};
    run(|| async {
        let single = Single::start(&Options::default());
        let store = open_at(&single.server, "p", Limits::default());
        let tell = async |at: UnixMs| {
            let quiet = Quiet { key: "frozen".into(), ms: MINUTE, per_day_max: 1 };
            let letter = NoticeLetter { sealed: vec![1], charge: None, urgent: true };
            store.notify(&alice(), quiet, vec![letter], at.plus_ms(DAY), at).await
        };
        // The account's part is there and the outbox's is not.
        let epoch = single.server.say(&["HGET", "p{out}m", "epoch"]);
        single.server.say(&["DEL", "p{out}m"]);
        assert!(tell(NOW).await.is_err());
        single.server.say(&["HSET", "p{out}m", "epoch", epoch.trim()]);
        assert_eq!(tell(after(29_999)).await.expect("answers"), Notified::Quiet, "claimed");
        let told = tell(after(30_000)).await.expect("answers");
        assert_eq!(told, Notified::Queued { left_out: Vec::new() }, "one a day, and none was told");
        assert_eq!(tell(after(2 * MINUTE)).await.expect("answers"), Notified::Quiet);
    });
}
