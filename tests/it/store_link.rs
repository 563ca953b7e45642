//! The link to real Redis servers: what it carries out, what it refuses, and what it hears.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stepgate::store::StoreError;
use stepgate::store::redis::link::{Call, Heard, Link, Script};
use stepgate::store::redis::{Server, Settings, Tls, Topology};

use crate::kit::redis::{self as kit, Cluster, Options, Sentinel, Single, within};

/// Adds one to the key and answers the sum.
static ADD: Script = Script {
    name: "add",
    source: r"
local t = redis.call('TIME')
if tonumber(ARGV[1]) > 0 and t[1] * 1000 + math.floor(t[2] / 1000) > tonumber(ARGV[1]) then
  return redis.error_reply('LATE')
end
return redis.call('INCRBY', KEYS[1], ARGV[2] or 1)",
};
static LOST: Script = Script { name: "lost", source: "return redis.error_reply('LOST')" };
static WRONG: Script = Script { name: "wrong", source: "return redis.call('LPUSH', KEYS[1], 1)" };
static SCRIPTS: [&Script; 3] = [&ADD, &LOST, &WRONG];

#[derive(Default)]
struct Log(Mutex<Vec<(Instant, String)>>);

impl Log {
    fn add(&self, word: String) {
        self.0.lock().unwrap().push((Instant::now(), word));
    }
    fn count(&self, word: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, said)| said == word).count()
    }
}

impl Heard for Log {
    fn changed(&self, key: &[u8]) {
        self.add(String::from_utf8_lossy(key).into_owned());
    }
    fn all_changed(&self) {
        self.add("all".to_owned());
    }
    fn notice(&self, bytes: &[u8]) {
        self.add(format!("notice {}", String::from_utf8_lossy(bytes)));
    }
}

fn settings(topology: Topology, prefix: &str) -> Settings {
    Settings {
        topology,
        user: None,
        password: None,
        sentinel_user: None,
        sentinel_password: None,
        tls: None,
        database: 0,
        prefix: prefix.to_owned(),
        deadline: Duration::from_millis(250),
    }
}

fn at(server: &kit::Server) -> Server {
    Server { host: "127.0.0.1".to_owned(), port: server.port }
}

fn single(single: &Single, prefix: &str) -> Settings {
    settings(Topology::Single(at(&single.server)), prefix)
}

fn open(settings: &Settings) -> (Link, Arc<Log>) {
    let log = Arc::new(Log::default());
    let link =
        Link::open(settings, &SCRIPTS, log.clone()).unwrap_or_else(|error| panic!("{error}"));
    (link, log)
}

fn refusal(settings: &Settings) -> String {
    match Link::open(settings, &SCRIPTS, Arc::new(Log::default())) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

fn add(prefix: &str, tag: u16, family: &str) -> Call {
    let key = format!("{prefix}{{{tag:03x}}}{family}").into_bytes();
    Call { script: &ADD, tag, keys: vec![key], args: vec![b"1".to_vec()] }
}

async fn sum(link: &Link, call: Call) -> Result<i64, StoreError> {
    Ok(redis::from_redis_value(link.call(call).await?).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_carried_out_and_answered() {
    let (link, _log) = open(&single(kit::shared(), "calls"));
    assert_eq!(sum(&link, add("calls", 7, "n")).await.unwrap(), 1);
    assert_eq!(sum(&link, add("calls", 7, "n")).await.unwrap(), 2);
    link.ping().await.unwrap();
    link.replicated(7).await.unwrap();
    assert!(link.is_fresh() && link.skew_ms().abs() < 1_000);
    let counts = link.counts();
    assert_eq!((counts.calls, counts.servers, counts.servers_connected), (2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_the_server_forgot_is_loaded_again() {
    let own = Single::start(&Options::default());
    let (link, _log) = open(&single(&own, "forgot"));
    own.server.say(&["SCRIPT", "FLUSH"]);
    assert_eq!(sum(&link, add("forgot", 1, "n")).await.unwrap(), 1);
    assert_eq!(link.counts().loaded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_finds_wrong_is_said() {
    let (link, _log) = open(&single(kit::shared(), "wrong"));
    let call = |script| Call { script, ..add("wrong", 1, "n") };
    sum(&link, call(&ADD)).await.unwrap();
    let lost = link.call(call(&LOST)).await.unwrap_err().to_string();
    assert!(lost.ends_with("part of the store's state was lost: restore a backup or start anew"));
    let wrong = link.call(call(&WRONG)).await.unwrap_err().to_string();
    assert!(wrong.contains("answered to `wrong`: WRONGTYPE"), "{wrong}");
    // Answers are no silence: the breaker stays closed.
    for _ in 0..5 {
        link.call(call(&LOST)).await.unwrap_err();
    }
    assert_eq!(sum(&link, call(&ADD)).await.unwrap(), 2);
}

// --- what a server must allow

/// What the documentation of the link says, for the prefix `acl`.
const ACL: &str = "resetkeys ~acl{* resetchannels &acl:notices -@all +@read +@write +@scripting +@pubsub -keys -flushall -flushdb -swapdb +hello +ping +time +wait +info +select +scan +client|tracking +cluster|slots";

fn with_user(options: &Options, acl: &str) -> (Single, Settings) {
    let own = Single::start(options);
    let words = format!("ACL SETUSER gate reset on >first-secret {acl}");
    own.server.say(&words.split(' ').collect::<Vec<_>>());
    let mut settings = single(&own, "acl");
    settings.user = Some("gate".to_owned());
    settings.password = Some("first-secret".to_owned().into());
    (own, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rights_can_do_all_that_the_store_does() {
    let (own, settings) = with_user(&Options::default(), ACL);
    let (link, log) = open(&settings);
    assert_eq!(sum(&link, add("acl", 1, "a")).await.unwrap(), 1);
    link.replicated(1).await.unwrap();
    link.publish(b"reload").await.unwrap();
    let (keys, next) = link.scan(None, "acl{*").await.unwrap();
    assert_eq!((keys, next), (vec![b"acl{001}a".to_vec()], None));
    within(Duration::from_secs(2), "pushes", || {
        log.count("acl{001}a") == 1 && log.count("notice reload") == 1
    });
    let facts = &link.examine().await.unwrap()[0];
    assert_eq!(facts.maxmemory_policy, "noeviction");
    assert_eq!(facts.rdb_save, None, "CONFIG GET is not among its rights");
    let denied = own.server.say(&["ACL", "LOG"]);
    assert!(!denied.contains("tracking"), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_right_are_named() {
    let (own, mut settings) = with_user(&Options::default(), ACL);
    let server = own.server.address();
    settings.password = Some("second-secret".to_owned().into());
    let said = refusal(&settings);
    assert!(said.contains(&format!("{server} does not accept the user or the password")), "{said}");
    assert!(!said.contains("second-secret"));
    settings.password = Some("first-secret".to_owned().into());
    own.server.say(&["ACL", "SETUSER", "gate", "-time"]);
    let said = refusal(&settings);
    assert!(
        said.contains("does not permit what the store needs") && said.contains("time"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_for_the_default_user_is_enough_and_its_lack_is_named() {
    let options = Options { password: Some("open-sesame".to_owned()), ..Options::default() };
    let own = Single::start(&options);
    let mut settings = single(&own, "pass");
    assert!(refusal(&settings).contains("wants a password: add `password = \"file:…\"`"));
    settings.password = Some("open-sesame".to_owned().into());
    let (link, _log) = open(&settings);
    assert_eq!(sum(&link, add("pass", 1, "n")).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_our_own_authority_and_certificate_and_with_no_other() {
    let own = Single::start(&Options { tls: true, ..Options::default() });
    let read = |name: &str| std::fs::read(own.server.dir().join(name)).unwrap();
    let tls = |authorities: Vec<u8>, with_identity: bool| Settings {
        tls: Some(Tls {
            authorities: Some(authorities),
            identity: with_identity.then(|| (read("gateway.pem"), read("gateway.key").into())),
        }),
        ..single(&own, "tls")
    };
    let (link, _log) = open(&tls(read("ca.pem"), true));
    assert_eq!(sum(&link, add("tls", 1, "n")).await.unwrap(), 1);
    let other = tempfile::TempDir::new().unwrap();
    let stranger = crate::kit::certificates(other.path());
    let said = refusal(&tls(stranger.into_bytes(), true));
    assert!(said.contains("shows a certificate that is not accepted"), "{said}");
    let said = refusal(&tls(read("ca.pem"), false));
    assert!(said.contains("alert") || said.contains("refuses our side of TLS"), "{said}");
    let mut elsewhere = tls(read("ca.pem"), true);
    elsewhere.topology =
        Topology::Single(Server { host: "127.0.0.2".to_owned(), port: at(&own.server).port });
    assert!(Link::open(&elsewhere, &SCRIPTS, Arc::new(Log::default())).is_err());
    let plain =
        refusal(&Settings { tls: tls(read("ca.pem"), true).tls, ..single(kit::shared(), "tls") });
    assert!(plain.contains("does not answer in TLS: is this its TLS port"), "{plain}");
    let said = refusal(&single(&own, "tls"));
    assert!(said.contains("hung up at once: does this port want TLS, `rediss://`?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_throws_keys_away_is_refused_and_told_what_to_set() {
    let own =
        Single::start(&Options { policy: Some("allkeys-lru".to_owned()), ..Options::default() });
    let said = refusal(&single(&own, "evict"));
    assert!(said.contains("maxmemory-policy allkeys-lru"), "{said}");
    assert!(said.contains("`CONFIG SET maxmemory-policy noeviction`"), "{said}");
    own.server.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    open(&single(&own, "evict"));
    // The same where only INFO may be asked.
    let options = Options { policy: Some("volatile-ttl".to_owned()), ..Options::default() };
    let (_own, settings) = with_user(&options, ACL);
    assert!(refusal(&settings).contains("maxmemory-policy volatile-ttl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_is_no_silent_one() {
    let own = Single::start(&Options { maxmemory: Some("3mb".to_owned()), ..Options::default() });
    let (link, _log) = open(&single(&own, "full"));
    own.server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..4 {
        let said = link.call(add("full", 1, "n")).await.unwrap_err().to_string();
        assert!(said.contains("is full and takes no changes"), "{said}");
    }
    own.server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(sum(&link, add("full", 1, "n")).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_within_some_seconds() {
    let port = kit::free_port();
    let server = Server { host: "127.0.0.1".to_owned(), port };
    let said = refusal(&settings(Topology::Single(server), "none"));
    assert!(
        said.contains(&format!("127.0.0.1:{port} cannot be reached: Connection refused")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_say_how_they_are_set_up() {
    let more = ["--min-replicas-to-write", "0", "--save", "3600 1"].map(str::to_owned).to_vec();
    let own = Single::start(&Options { aof: true, more, ..Options::default() });
    let (link, _log) = open(&single(&own, "facts"));
    let facts = link.examine().await.unwrap().remove(0);
    assert_eq!((facts.server, facts.role.as_str()), (at(&own.server), "master"));
    assert!(facts.aof_enabled && facts.replicas == 0 && facts.skew_ms.abs() < 1_000);
    assert_eq!((facts.rdb_save.as_deref(), facts.min_replicas_to_write), (Some("3600 1"), Some(0)));
    assert!(facts.version.split('.').count() == 3 && facts.round_trip_us > 0, "{}", facts.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_meets_every_key() {
    let (link, _log) = open(&single(kit::shared(), "walk"));
    for tag in 0..300 {
        sum(&link, add("walk", tag, "n")).await.unwrap();
    }
    assert_eq!(walk(&link, "walk{*").await.len(), 300);
}

async fn walk(link: &Link, pattern: &str) -> std::collections::BTreeSet<Vec<u8>> {
    let (mut all, mut cursor) = (std::collections::BTreeSet::new(), None);
    loop {
        let (keys, next) = link.scan(cursor, pattern).await.unwrap();
        all.extend(keys);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

// --- silence

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_costs_one_deadline_then_nothing_and_does_not_carry_out_what_came_late() {
    let own = Single::start(&Options::default());
    let (link, log) = open(&single(&own, "pause"));
    assert_eq!(sum(&link, add("pause", 1, "n")).await.unwrap(), 1);
    own.server.pause();
    let paused = Instant::now();
    for _ in 0..3 {
        let began = Instant::now();
        // Unavailable, if the pulse gave the connection up before.
        let error = link.call(add("pause", 1, "n")).await.unwrap_err();
        assert!(matches!(error, StoreError::Deadline(250) | StoreError::Unavailable(_)), "{error}");
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    }
    // The breaker: not even tried.
    let error = link.call(add("pause", 1, "n")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let counts = link.counts();
    assert_eq!((counts.deadline + counts.broken, counts.skipped), (3, 1));
    within(Duration::from_secs(4), "the view to grow old", || !link.is_fresh());
    assert!(paused.elapsed() > Duration::from_millis(1_500), "not before it is two seconds old");
    let before = log.count("all");
    own.server.resume();
    let back = async {
        loop {
            match sum(&link, add("pause", 1, "n")).await {
                Ok(sum) => return sum,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let sum = tokio::time::timeout(Duration::from_secs(5), back).await.unwrap();
    assert_eq!(sum, 2, "none of the calls that came late was carried out");
    within(Duration::from_secs(3), "freshness", || link.is_fresh());
    assert!(log.count("all") > before, "what changed meanwhile was not heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sleeps_past_the_deadline_finds_the_call_too_late() {
    let own = Single::start(&Options::default());
    let (link, _log) = open(&single(&own, "late"));
    own.server.pause();
    let error = link.call(add("late", 1, "n")).await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline(250)), "{error}");
    // Before the pulse gives the connection up, so that the call is still in the server's hands.
    own.server.resume();
    assert_eq!(sum(&link, add("late", 1, "n")).await.unwrap(), 1);
    assert_eq!(own.server.info("errorstat_ERR"), "count=1", "it came, and was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_and_started_again_is_found_without_a_restart() {
    let own = Single::start(&Options { aof: true, ..Options::default() });
    let (link, log) = open(&single(&own, "kill"));
    assert_eq!(sum(&link, add("kill", 1, "n")).await.unwrap(), 1);
    own.server.kill();
    for _ in 0..3 {
        let began = Instant::now();
        link.call(add("kill", 1, "n")).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_millis(600));
    }
    // First that the connection broke, then why there is no other.
    let mut said = String::new();
    for _ in 0..500 {
        said = link.call(add("kill", 1, "n")).await.unwrap_err().to_string();
        if said.contains("Connection refused") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(said.contains("Connection refused"), "{said}");
    let all = log.count("all");
    own.server.start();
    eventually(&link, || add("kill", 1, "n"), Duration::from_secs(5)).await;
    within(Duration::from_secs(3), "freshness", || link.is_fresh());
    assert_eq!(log.count("all"), all + 1);
    assert_eq!(own.server.say(&["GET", "kill{001}n"]), "2");
}

/// Calls until an answer comes; answers how long that took.
async fn eventually(link: &Link, call: impl Fn() -> Call, limit: Duration) -> Duration {
    let began = Instant::now();
    loop {
        match link.call(call()).await {
            Ok(_) => return began.elapsed(),
            Err(error) => assert!(began.elapsed() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A replica that has just come says what it has only once a second.
async fn until_replicated(link: &Link, tag: u16) {
    let began = Instant::now();
    while let Err(error) = link.replicated(tag).await {
        assert!(began.elapsed() < Duration::from_secs(10), "{error}");
    }
}

// --- what is heard

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_link_is_heard_on_another_long_before_the_promised_time() {
    const ROUNDS: usize = 1_000;
    let (one, _) = open(&single(kit::shared(), "heard"));
    let (_other, log) = open(&single(kit::shared(), "heard"));
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        sent.push(Instant::now());
        sum(&one, add("heard", (round % 1_024) as u16, &format!("a{round}"))).await.unwrap();
        // Nobody has a view of these.
        sum(&one, add("heard", (round % 1_024) as u16, &format!("c{round}"))).await.unwrap();
    }
    let changes = || {
        let log = log.0.lock().unwrap();
        log.iter().filter(|(_, word)| word.starts_with("heard{")).cloned().collect::<Vec<_>>()
    };
    within(Duration::from_secs(5), "all changes", || changes().len() == ROUNDS);
    let mut delays = Vec::new();
    for (round, (at, key)) in changes().into_iter().enumerate() {
        assert_eq!(key, format!("heard{{{:03x}}}a{round}", round % 1_024), "in order");
        delays.push(at.duration_since(sent[round]));
    }
    delays.sort();
    println!(
        "from the call on one link to the push on another, {ROUNDS} changes: median {:?}, worst {:?}",
        delays[ROUNDS / 2],
        delays[ROUNDS - 1]
    );
    let counts = || (one.counts().pushes, one.counts().pushes_for_nothing);
    within(Duration::from_secs(2), "our own", || counts() == (ROUNDS as u64, ROUNDS as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_reaches_every_link_once() {
    let (one, own) = open(&single(kit::shared(), "notice"));
    let (_other, log) = open(&single(kit::shared(), "notice"));
    one.publish(b"reload it").await.unwrap();
    one.publish(b"reload it").await.unwrap();
    within(Duration::from_secs(2), "notices", || {
        own.count("notice reload it") == 2 && log.count("notice reload it") == 2
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_emptied_changes_all() {
    let own = Single::start(&Options::default());
    let (link, log) = open(&single(&own, "flush"));
    sum(&link, add("flush", 1, "a")).await.unwrap();
    let before = log.count("all");
    own.server.say(&["FLUSHALL"]);
    within(Duration::from_secs(2), "the push", || log.count("all") == before + 1);
}

// --- Sentinel

fn sentinel(all: &Sentinel, prefix: &str) -> Settings {
    let sentinels = all.sentinels.iter().map(at).collect();
    settings(Topology::Sentinel { sentinels, master: kit::MASTER.to_owned() }, prefix)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_master_was_killed_its_successor_is_asked() {
    let all = Sentinel::start(&Options::default());
    let (link, log) = open(&sentinel(&all, "sen"));
    assert_eq!(sum(&link, add("sen", 1, "n")).await.unwrap(), 1);
    until_replicated(&link, 1).await;
    // Either may be elected, so both must have it.
    within(Duration::from_secs(10), "both replicas", || {
        all.servers.iter().all(|server| server.say(&["GET", "sen{001}n"]) == "1")
    });
    assert_eq!(link.examine().await.unwrap().len(), 3, "the master and both replicas");
    let (old, before) = (all.master().unwrap(), log.count("all"));
    all.servers[old].kill();
    let took = eventually(&link, || add("sen", 1, "n"), Duration::from_secs(20)).await;
    println!("calls work again {took:?} after the master was killed");
    within(Duration::from_secs(3), "freshness", || link.is_fresh());
    assert!(log.count("all") > before);
    // On a machine that stands still for a second the sentinels elect once more, and what only the first successor had is
    // gone: then the next one is asked in its turn.
    let began = Instant::now();
    loop {
        let new = all.wait_for_other_master(old);
        match all.servers[new].say(&["GET", "sen{001}n"]).parse::<i64>().unwrap() {
            0 => panic!("the first one was replicated"),
            1 => assert!(began.elapsed() < Duration::from_secs(10), "no successor is ever asked"),
            _ => break,
        }
        eventually(&link, || add("sen", 1, "n"), Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_was_ordered_leaves_nobody_with_the_old_master() {
    let all = Sentinel::start(&Options::default());
    let (link, _log) = open(&sentinel(&all, "order"));
    sum(&link, add("order", 1, "n")).await.unwrap();
    let new = all.failover();
    // Until the sentinels have told the old one, it believes to be the master; then its changes are gone.
    let began = Instant::now();
    while all.servers[new].say(&["GET", "order{001}n"]).parse::<i64>().unwrap() < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "the new master is never asked");
        eventually(&link, || add("order", 1, "n"), Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_do_not_acknowledge_are_not_believed_to_have_it() {
    let all = Sentinel::start(&Options::default());
    let (link, _log) = open(&sentinel(&all, "wait"));
    let master = all.master().unwrap();
    let others = all.servers.iter().enumerate().filter(|(at, _)| *at != master);
    others.clone().for_each(|(_, server)| server.pause());
    let began = Instant::now();
    let error = link.call_replicated(add("wait", 1, "n")).await.unwrap_err().to_string();
    assert!(error.contains("no replica has it; only the master may have it"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Calls do not wait behind it.
    assert_eq!(sum(&link, add("wait", 1, "n")).await.unwrap(), 2);
    others.for_each(|(_, server)| server.resume());
    until_replicated(&link, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_no_sentinel_knows_is_named() {
    let all = Sentinel::start(&Options::default());
    let mut wrong = sentinel(&all, "none");
    if let Topology::Sentinel { master, .. } = &mut wrong.topology {
        *master = "mian".to_owned();
    }
    let said = refusal(&wrong);
    assert!(said.contains("knows no master `mian`: see `sentinel monitor`"), "{said}");
    // One sentinel that is gone is no harm.
    all.sentinels[0].kill();
    let (link, _log) = open(&sentinel(&all, "none"));
    link.ping().await.unwrap();
}

// --- Cluster

fn cluster(all: &Cluster, prefix: &str) -> Settings {
    settings(Topology::Cluster(all.masters.iter().map(at).collect()), prefix)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_cluster_is_reached_heard_and_walked_over() {
    let all = Cluster::start(&Options::default(), false);
    let (link, _) = open(&cluster(&all, "clu"));
    let (_other, log) = open(&cluster(&all, "clu"));
    for tag in 0..1_024 {
        assert_eq!(sum(&link, add("clu", tag, "s")).await.unwrap(), 1);
    }
    assert_eq!(link.counts().redirected, 0);
    assert_eq!(link.examine().await.unwrap().len(), 3);
    assert_eq!(walk(&link, "clu{*").await.len(), 1_024);
    link.publish(b"reload").await.unwrap();
    within(Duration::from_secs(5), "pushes", || {
        let said = log.0.lock().unwrap();
        said.iter().filter(|(_, word)| word.starts_with("clu{")).count() == 1_024
    });
    within(Duration::from_secs(2), "the notice", || log.count("notice reload") > 0);
    link.ping().await.unwrap(); // after whose answers no copy of the notice is on its way any more
    assert_eq!(log.count("notice reload"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_master_of_a_cluster_takes_only_its_own_part_with_it() {
    let all = Cluster::start(&Options::default(), false);
    let (link, _log) = open(&cluster(&all, "part"));
    let whose = |tag: u16| all.master_of(&format!("part{{{tag:03x}}}"));
    let dead = whose(0);
    let other = (0..1_024).find(|tag| whose(*tag) != dead).unwrap();
    all.masters[dead].kill();
    for round in 0..8 {
        assert!(link.call(add("part", 0, "n")).await.is_err());
        assert_eq!(sum(&link, add("part", other, "n")).await.unwrap(), round + 1);
    }
    assert_eq!(link.counts().breakers_open, 1);
    all.masters[dead].start();
    eventually(&link, || add("part", 0, "n"), Duration::from_secs(10)).await;
    within(Duration::from_secs(5), "freshness", || link.is_fresh());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_a_cluster_takes_its_dead_masters_place() {
    let all = Cluster::start(&Options::default(), true);
    let (link, _log) = open(&cluster(&all, "heir"));
    assert_eq!(sum(&link, add("heir", 0, "n")).await.unwrap(), 1);
    until_replicated(&link, 0).await;
    let dead = all.master_of("heir{000}");
    all.masters[dead].kill();
    let took = eventually(&link, || add("heir", 0, "n"), Duration::from_secs(20)).await;
    println!("its part works again {took:?} after the master was killed");
    within(Duration::from_secs(5), "freshness", || link.is_fresh());
    assert_eq!(sum(&link, add("heir", 0, "n")).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_are_refused_while_they_do_and_then_followed() {
    let all = Cluster::start(&Options::default(), false);
    let (link, _log) = open(&cluster(&all, "move"));
    assert_eq!(sum(&link, add("move", 5, "n")).await.unwrap(), 1);
    let key = "move{005}n";
    let (from, to) = (all.master_of(key), (all.master_of(key) + 1) % 3);
    let slot = all.masters[0].ask(&["CLUSTER", "KEYSLOT", key]).unwrap();
    let slot = redis::from_redis_value::<u32>(slot).unwrap().to_string();
    let (from, to) = (&all.masters[from], &all.masters[to]);
    let (from_id, to_id) = (from.say(&["CLUSTER", "MYID"]), to.say(&["CLUSTER", "MYID"]));
    to.say(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.say(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    // A busy machine may keep the new server from hearing of the others for a moment, which then takes nothing.
    let port = to.port.to_string();
    let migrated = || from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).is_ok();
    within(Duration::from_secs(20), "the key's move", migrated);
    // ASK: of other keys of this part the new server may know nothing yet.
    let said = link.call(add("move", 5, "n")).await.unwrap_err().to_string();
    assert!(said.contains("is moving the keys to another server"), "{said}");
    to.say(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    from.say(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    // MOVED, or the map knows by now
    assert_eq!(sum(&link, add("move", 5, "n")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_is_another_is_named() {
    let said = refusal(&settings(Topology::Cluster(vec![at(&kit::shared().server)]), "topo"));
    assert!(said.contains("is not part of a Cluster: use `redis://`"), "{said}");
    let all = Cluster::start(&Options::default(), false);
    let said = refusal(&settings(Topology::Single(at(&all.masters[0])), "topo"));
    assert!(said.contains("is part of a Cluster: use `redis+cluster://`"), "{said}");
}
