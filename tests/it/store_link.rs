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
