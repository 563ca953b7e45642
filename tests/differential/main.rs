//! A differential test: random compositions of tricks on a guarded withdrawal, sent as raw bytes through the gateway to
//! real frameworks that write down what they executed. No code is ever given, so nothing may be executed.
//!
//! That the tricks are real is shown by sending the same bytes to the same frameworks directly: they execute many. That
//! the gateway does not simply refuse everything is shown by ordinary requests of the neighbours, sent in between: all
//! are executed. `make differential SEED=7 COUNT=50000` tries others.

#[path = "../it/client.rs"]
#[allow(dead_code)]
mod client;
mod draft;
#[path = "../it/exchange.rs"]
#[allow(dead_code)]
mod exchange;
mod frameworks;
#[path = "../kit/mod.rs"]
mod kit;
mod mutate;
mod neighbours;
mod report;
mod roll;
mod wire;
#[path = "../it/world.rs"]
#[allow(dead_code)]
mod world;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::frameworks::{Framework, settle};
use crate::mutate::Composition;
use crate::report::Tally;
use crate::roll::Roll;
use crate::wire::Word;
use crate::world::World;

/// Every withdrawal needs a code, and nothing else does.
const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"
"#;
/// Connections at a time.
const PARALLEL: usize = 48;
/// An ordinary request is sent with every so many compositions.
const CONTROL_EVERY: usize = 20;
/// Challenges are spread over so many.
const ACCOUNTS: usize = 16;

/// A gateway in front of one framework.
struct Front {
    world: World,
    tokens: Vec<String>,
    client: Client,
}

impl Front {
    async fn start(framework: &Framework) -> Self {
        let world = World::in_front_of(framework.address, POLICY, draft::PACK).await;
        let mut tokens = Vec::new();
        for number in 0..ACCOUNTS {
            let account = format!("account-{number}");
            world.enrol_totp(&account).await;
            tokens.push(world.kit.token(&account, "s1", world.now().seconds()));
        }
        let client = world.client();
        Self { world, tokens, client }
    }

    async fn send(&self, composition: &Composition, number: usize, case: &str) -> Word {
        // Open challenges of one account are bounded: time passes, and they end.
        self.world.wait_s(1);
        let bytes = composition.bytes(&self.tokens[number % ACCOUNTS], case);
        let patience = if composition.is_plain() { wire::LONG } else { wire::QUIET };
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = wire::through(&self.client, &bytes, composition.cut, patience).await;
            let word = wire::word(&answer);
            // On a busy machine the store may be too slow for the gateway, which then asks to come again.
            if word != Word::Refused(503) || !composition.is_plain() || tries == 20 {
                return word;
            }
        }
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs `send` on every item, `PARALLEL` at a time; answers in order.
async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    send: impl Fn(usize) -> F,
) -> Vec<T> {
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let mut sent = JoinSet::new();
    for number in 0..count {
        let slot = slots.clone().acquire_owned().await.unwrap();
        let future = send(number);
        sent.spawn(async move {
            let answer = future.await;
            drop(slot);
            (number, answer)
        });
    }
    let mut answers = sent.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_framework_executes_a_composition_of_tricks_without_a_code() {
    let seed = variable("SEED", 1);
    let count = usize::try_from(variable("COUNT", 10_000)).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let frameworks = Arc::new(Framework::start_all(dir.path()));
    let mut fronts = Vec::new();
    for framework in frameworks.iter() {
        fronts.push(Front::start(framework).await);
    }
    let fronts = Arc::new(fronts);
    let mut roll = Roll::new(seed);
    let compositions: Arc<Vec<_>> =
        Arc::new((0..count).map(|_| Composition::draw(&mut roll)).collect());
    let mut tally = Tally::new(seed, compositions.clone());

    tally.words = each(count, |number| {
        let (fronts, compositions) = (fronts.clone(), compositions.clone());
        async move {
            let front = &fronts[number % fronts.len()];
            if number % CONTROL_EVERY == 0 {
                neighbours::send(front, number).await;
            }
            front.send(&compositions[number], number, &format!("m{number}")).await
        }
    })
    .await;
    // What one gateway lets pass, all do: so every framework gets it. A gateway that gave up waiting had passed it on.
    let passed: Arc<Vec<usize>> =
        Arc::new((0..count).filter(|at| tally.words[*at].may_have_passed()).collect());
    let others = frameworks::COUNT - 1;
    each(passed.len() * others, |number| {
        let (fronts, compositions, passed) = (fronts.clone(), compositions.clone(), passed.clone());
        async move {
            let at = passed[number / others];
            let front = &fronts[(at + 1 + number % others) % fronts.len()];
            front.send(&compositions[at], at, &format!("m{at}")).await
        }
    })
    .await;
    settle(&frameworks).await;
    tally.through(&frameworks);
    tally.controls = (0..count).step_by(CONTROL_EVERY).count();
    if let Some(failure) = tally.failures.first() {
        let (composition, framework) = (compositions[failure.number].clone(), failure.framework);
        let smallest = shrink(composition, &fronts[framework], &frameworks[framework]).await;
        panic!("{}", tally.failure(&smallest, &frameworks));
    }

    each(count, |number| {
        let (frameworks, compositions) = (frameworks.clone(), compositions.clone());
        async move {
            let composition = &compositions[number];
            let bytes = composition.bytes("none", &format!("d{number}"));
            let address = frameworks[number % frameworks.len()].address;
            wire::directly(address, &bytes, composition.cut).await;
        }
    })
    .await;
    settle(&frameworks).await;
    tally.directly(&frameworks);
    println!("{}", tally.table(&frameworks));
    tally.demand();
    drop(fronts);
}

/// Takes steps away as long as the rest is still executed.
async fn shrink(mut composition: Composition, front: &Front, framework: &Framework) -> Composition {
    let mut tries = 0;
    'smaller: loop {
        for smaller in composition.smaller().collect::<Vec<_>>() {
            tries += 1;
            let case = format!("s{tries}");
            front.send(&smaller, tries, &case).await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            if framework.withdrawals().contains_key(&case) {
                composition = smaller;
                continue 'smaller;
            }
        }
        return composition;
    }
}
