//! Commands and latency of requests through whole gateways.
//!
//! Commands are counted by the server itself, as the difference of `INFO commandstats`. What gateways say on their own
//! account (that they live, that nothing is to be sent) is measured in an idle time and shown apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::gateway::{Exchange, Gateway};
use crate::kit::redis::{Options, Server, Single};
use crate::spread;

const READS: usize = 20_000;
const COUNTED: usize = 101;
const TIMED: usize = 3_000;

/// Calls by command.
type Calls = BTreeMap<String, u64>;

pub async fn run() {
    let always = Options { aof: true, ..Options::default() };
    let redis = Arc::new(Single::start(&always));
    let exchange = Exchange::start().await;
    let mut on_redis = Gateway::start(&exchange, &redis.url()).await;
    ordinary(&redis.server, &mut on_redis).await;
    guarded(&redis, &exchange, &mut on_redis).await;
    let mut embedded = Gateway::start(&exchange, "file:state/stepgate.db").await;
    let everysec = ["--appendonly", "yes", "--appendfsync", "everysec"].map(str::to_owned);
    let relaxed = Single::start(&Options { more: everysec.into(), ..Options::default() });
    let mut on_relaxed = Gateway::start(&exchange, &relaxed.url()).await;
    latency(&mut embedded, &mut on_redis, &mut on_relaxed).await;
}

fn calls(server: &Server) -> Calls {
    let said = server.say(&["INFO", "commandstats"]);
    let lines = said.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(":calls=")?;
            let count = rest.split(',').next()?.parse().ok()?;
            (name != "info").then(|| (name.to_owned(), count))
        })
        .collect()
}

fn since(before: &Calls, after: &Calls) -> Calls {
    let grown = |(name, count): (&String, &u64)| {
        let more = count - before.get(name).copied().unwrap_or(0);
        (more > 0).then(|| (name.clone(), more))
    };
    after.iter().filter_map(grown).collect()
}

/// What a client sent: scripts and waits. All the rest stands inside of scripts.
fn sent(calls: &Calls) -> u64 {
    let names = ["evalsha", "eval", "fcall", "script|load", "wait", "waitaof"];
    calls.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, count)| count).sum()
}

async fn ordinary(server: &Server, gateway: &mut Gateway) {
    // What it does by itself settles first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (calls(server), Instant::now());
    for _ in 0..READS {
        gateway.read().await;
    }
    let (after, took) = (calls(server), begun.elapsed());
    tokio::time::sleep(took).await;
    let idle = calls(server);
    let (busy, quiet) = (since(&before, &after), since(&after, &idle));
    let total = |calls: &Calls| calls.values().sum::<u64>();
    let more = total(&busy).saturating_sub(total(&quiet));
    println!("| Redis commands, those inside scripts too | count |\n| --- | --- |");
    println!("| {READS} ordinary requests, {:.1} s | {} |", took.as_secs_f64(), total(&busy));
    println!("| the same time without any request | {} |", total(&quiet));
    println!("| per ordinary request | {:.4} |", more as f64 / READS as f64);
    println!("busy: {busy:?}\nidle: {quiet:?}\n");
}

/// One action at a time, so that everything in between is its own; the median leaves out what is not.
async fn guarded(redis: &Arc<Single>, exchange: &Exchange, gateway: &mut Gateway) {
    let (at_exchange, counting) = (Arc::new(Mutex::new(Calls::new())), redis.clone());
    let arrived = at_exchange.clone();
    exchange.hook(move || *arrived.lock().unwrap() = calls(&counting.server));
    let (mut before_forward, mut in_all, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..COUNTED {
        let before = calls(&redis.server);
        gateway.transfer().await;
        // It is settled behind the answer.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let after = calls(&redis.server);
        before_forward.push(sent(&since(&before, &at_exchange.lock().unwrap())));
        let all = since(&before, &after);
        in_all.push(sent(&all));
        inside.push(all.values().sum::<u64>() - sent(&all));
    }
    exchange.unhook();
    println!("| per guarded action (median, most of {COUNTED}) | commands sent |\n| --- | --- |");
    for (what, mut counts) in
        [("before it forwards", before_forward), ("in all", in_all), ("inside of scripts", inside)]
    {
        counts.sort_unstable();
        println!("| {what} | {}, {} |", counts[COUNTED / 2], counts[COUNTED - 1]);
    }
}

async fn latency(embedded: &mut Gateway, always: &mut Gateway, everysec: &mut Gateway) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..TIMED {
        for (gateway, times) in
            [&mut *embedded, &mut *always, &mut *everysec].into_iter().zip(&mut times)
        {
            let begun = Instant::now();
            gateway.transfer().await;
            times.push(begun.elapsed());
        }
    }
    println!(
        "\n| guarded action through the gateway, µs ({TIMED} each, alternating) | median | p99 |"
    );
    println!("| --- | --- | --- |");
    let names = ["embedded", "Redis, appendfsync always", "Redis, appendfsync everysec"];
    for (name, times) in names.into_iter().zip(times) {
        let (median, p99) = spread(times);
        println!("| {name} | {median:.0} | {p99:.0} |");
    }
}
