//! A million sessions and a million accounts in Redis: what each takes, and what a decision takes among them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stepgate::locate::Sighting;
use stepgate::stepup::challenge::Limits;
use stepgate::store::moved::Kept;
use stepgate::store::redis::{self, Redis, Settings, Topology};
use stepgate::store::{Begin, Enrolled, Store};
use stepgate::types::*;
use stepgate::world::{Clock, SystemClock};
use tokio::runtime::Runtime;

use crate::kit::redis::{Options, Single};
use crate::spread;

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
/// Records of one import, imports at a time.
const PART: usize = 1_000;
const PARALLEL: usize = 4;
const DECISIONS: usize = 5_000;

pub fn run(runtime: &Runtime) {
    let server = Single::start(&Options::default());
    let loader = open(&server, Duration::from_secs(60));
    let store = open(&server, Duration::from_millis(250));
    let memory = || server.server.info("used_memory").parse::<f64>().expect("a number");
    runtime.block_on(async {
        load(&loader, 0..FEW, session).await;
        load(&loader, 0..FEW, account).await;
        let few = decide(&store, FEW).await;
        let begun = Instant::now();
        let empty = memory();
        load(&loader, FEW..MANY, session).await;
        let sessions = memory();
        load(&loader, FEW..MANY, account).await;
        let accounts = memory();
        let took = begun.elapsed().as_secs_f64();
        let many = decide(&store, MANY).await;
        let each = (MANY - FEW) as f64;
        println!("| {MANY} sessions and {MANY} accounts, loaded in {took:.0} s | bytes each |");
        println!("| --- | --- |");
        println!("| session | {:.0} |", (sessions - empty) / each);
        println!(
            "| account with an authenticator and a place | {:.0} |",
            (accounts - sessions) / each
        );
        println!(
            "\n| decision (`begin`), µs, {DECISIONS} each | median | p99 |\n| --- | --- | --- |"
        );
        println!("| among {FEW} | {:.0} | {:.0} |", few.0, few.1);
        println!("| among {MANY} | {:.0} | {:.0} |", many.0, many.1);
    });
}

fn open(server: &Single, deadline: Duration) -> Arc<dyn Store> {
    let (host, port) = ("127.0.0.1".to_owned(), server.server.port);
    let settings = Settings {
        topology: Topology::Single(redis::Server { host, port }),
        user: None,
        password: None,
        tls: None,
        sentinel_user: None,
        sentinel_password: None,
        database: 0,
        prefix: "stepgate".to_owned(),
        deadline,
    };
    let opened = Redis::open(settings, Limits::default(), Arc::new(SystemClock));
    Arc::new(opened.unwrap_or_else(|error| panic!("{error}")))
}

async fn load(
    store: &Arc<dyn Store>,
    numbers: std::ops::Range<usize>,
    make: fn(usize) -> Vec<Kept>,
) {
    let mut imports = tokio::task::JoinSet::new();
    for from in numbers.clone().step_by(PART) {
        if imports.len() == PARALLEL {
            imports.join_next().await.expect("one runs").expect("no panic");
        }
        let kept: Vec<Kept> = (from..(from + PART).min(numbers.end)).flat_map(make).collect();
        let store = store.clone();
        imports.spawn(async move {
            store.import(kept, SystemClock.now()).await.expect("imported");
        });
    }
    imports.join_all().await;
}

fn name(number: usize) -> AccountId {
    AccountId::new("main", format!("customer-{number:07}"))
}

fn credential(number: usize) -> Credential {
    // As long as a session id of 128 bits in base64.
    Credential { kind: CredentialKind::Session, id: CredentialId::new(format!("{number:022}")) }
}

fn sighting(number: usize) -> Sighting {
    let bytes = (number as u32).to_be_bytes();
    Sighting {
        at: SystemClock.now(),
        client: [10, bytes[1], bytes[2], bytes[3]].into(),
        country: Some("JP".into()),
        asn: Some(2516),
        coordinates: None,
    }
}

fn session(number: usize) -> Vec<Kept> {
    let last = sighting(number);
    vec![Kept::Session { account: name(number), credential: credential(number), last }]
}

fn account(number: usize) -> Vec<Kept> {
    let account = name(number);
    let totp = Enrolled {
        factor: Factor::Totp,
        // As long as a sealed secret with its parameters.
        secret: vec![7; 72],
        label: "SHA-1, 6 digits".to_owned(),
        since: SystemClock.now(),
        disabled: false,
        last_step: Some(59_000_000),
        usable_from: SystemClock.now(),
        codes: Vec::new(),
        language: None,
    };
    let (countries, asns, last) = (vec!["JP".into()], vec![2516], Some(sighting(number)));
    vec![
        Kept::Account {
            account: account.clone(),
            frozen: None,
            thawed: None,
            security_changed: None,
            factors: vec![totp],
            tally: Default::default(),
            freezes: 0,
            number_gone: None,
        },
        Kept::Places { account, countries, asns, last, arrived: Default::default() },
    ]
}

/// Beginnings of guarded actions of accounts all over the place, each given back.
async fn decide(store: &Arc<dyn Store>, among: usize) -> (f64, f64) {
    let mut times = Vec::new();
    for round in 0..DECISIONS {
        let number = round * 7_919 % among;
        let attempt = AttemptId::new(format!("{among}-{round}"));
        let begin = Begin {
            attempt: attempt.clone(),
            site: SiteName::new("main"),
            account: name(number),
            credential: credential(number),
            action: ActionName::new("withdrawal"),
            intent: IntentDigest([7; 32]),
            usd: None,
            destination: None,
        };
        let begun = Instant::now();
        store.begin(begin, SystemClock.now()).await.expect("begins");
        times.push(begun.elapsed());
        let given_back = store.abandon(attempt, &name(number), Vec::new(), SystemClock.now());
        given_back.await.expect("is given back");
    }
    spread(times)
}
