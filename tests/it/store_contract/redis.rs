//! Stores in a real Redis, and what only they promise: what is lost is void, and what is late is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stepgate::stepup::challenge::{Challenge, Limits, State};
use stepgate::store::redis::{Redis, Server, Settings, Topology};
use stepgate::store::{Begin, Notice, Proven, Settled, Spent, Store, StoreError};
use stepgate::types::{AttemptId, ChallengeId, Factor};
use stepgate::world::SystemClock;

use super::fixtures::*;
use super::{Place, run};
use crate::kit;
use crate::kit::redis::{Options, Single};

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
    Topology::Sentinel { sentinels, master: kit::redis::MASTER.to_owned() }
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
    for _ in 0..1_000 {
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

        let _other = open_at(server, &prefix, Limits::default());
        assert!(store.begin(begin("a"), NOW).await.is_ok());
    });
}

#[test]
fn after_a_restart_grants_and_open_challenges_are_void_and_steps_begin_anew() {
    run(|| async {
        let single = Single::start(&Options { aof: true, ..Options::default() });
        let store = open_at(&single.server, "p", Limits::default());
        let step = u64::try_from(NOW.0 / 30_000).expect("a step");
        approve(&store, challenge("granted"), step - 1, NOW).await;
        open(&store, about(2, challenge("open")), NOW).await;
        let held = Challenge { held: Some(vec![1]), ..about(3, challenge("held")) };
        approve(&store, held, step, NOW).await;
        begun(&store, Begin { intent: intent(4), ..begin("a") }, NOW).await;
        store.freeze(&account("bob"), "owner".into(), NOW).await.expect("freezes");

        single.server.kill();
        single.server.start();
        until_back(&store).await;
        for id in ["granted", "open", "held"] {
            assert_eq!(state(&store, id, NOW).await, State::Expired, "{id}");
        }
        let (id, who, with) = (ChallengeId::new("held"), alice(), session("s"));
        assert_eq!(store.take_held(&id, &who, &with, NOW).await.expect("answers"), None);
        assert!(matches!(spend(&store, "open", Factor::Totp, NOW).await, Spent::Closed(_)));
        assert!(matches!(prove_totp(&store, "open", step + 9, NOW).await, Proven::Closed(_)));
        let after_it = begun(&store, begin("b"), NOW).await;
        assert!(after_it.proof.is_none() && after_it.open.is_none());
        assert_eq!(withdrawals(&store, "1h", NOW).await.0, 2, "what was counted stays");
        let bob = store.look(&account("bob"), &with, NOW).await.expect("answers");
        assert!(bob.frozen.is_some());

        // The owner is asked again; the last step that may have been accepted is not accepted, nor the next.
        open(&store, challenge("again"), NOW).await;
        for seen in [step, step + 1] {
            assert!(matches!(prove_totp(&store, "again", seen, NOW).await, Proven::Replayed));
        }
        assert!(matches!(prove_totp(&store, "again", step + 2, NOW).await, Proven::Approved(_)));
        assert!(begun(&store, begin("c"), NOW).await.proof.is_some());
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
        single.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
        let (id, who, with) = (ChallengeId::new("c"), alice(), session("s"));
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
