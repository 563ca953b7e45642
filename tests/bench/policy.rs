//! Nanoseconds that a decision costs, and milliseconds that loading a policy takes.
//!
//! Nothing here fails on a slow machine: it measures, in one run, least and median of many rounds, and the mean of the
//! time on the CPU, which others who use the machine do not change.

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use stepgate::fault::{Fault, Source};
use stepgate::policy::facts::{
    AddressFacts, CounterTotal, Counters, Decimal, Fact, Facts, Geo, Window,
};
use stepgate::policy::{self, PolicySet, Setting};
use stepgate::types::{CredentialKind, Factor, FactorSet, FieldValue, Fields, UnixMs};

const ROUNDS: usize = 201;
/// Rules that are looked at in one round, roughly: a round should end before others get their turn.
const LOOKS: usize = 24_000;
const LOADS: usize = 15;
const NOW: UnixMs = UnixMs(1_790_000_000_000);

fn main() {
    println!(
        "| decision | verdict | ns, least of {ROUNDS} rounds | ns, median | ns on the CPU, mean |\n\
         | --- | --- | --- | --- | --- |"
    );
    let own = [Account::new(0)];
    for count in [12, 1_000] {
        for (what, tail) in [
            ("nothing speaks", ""),
            ("one asks", "require = \"totp or sms\"\n"),
            ("one speaks in shadow", "deny = true\nshadow = true\n"),
        ] {
            let policy = load(&of_one_action(count, tail));
            row(&format!("{count} rules, {what}"), &policy, &own, "withdrawal");
        }
    }
    let others = of_one_action(12, "") + &of_actions(1_000).replace("\"withdrawal\"", "\"login\"");
    row("12 rules beside 1000 of other actions", &load(&others), &own, "withdrawal");
    let shipped = load(include_str!("../../policies/exchange.policy.toml").trim_start());
    row("the shipped policy, a withdrawal", &shipped, &own, "withdrawal");
    row("the shipped policy, ordinary traffic", &shipped, &own, "ordinary");
    let twelve = load(&of_one_action(12, ""));
    let one = row("12 rules, one account", &twelve, &own, "withdrawal");
    let many: Vec<_> = (0..100_000).map(Account::new).collect();
    let all = row("12 rules, 100000 accounts in turn", &twelve, &many, "withdrawal");
    println!("\n100000 accounts cost {:.2} times what one costs\n", all / one);
    println!(
        "| a file of 1000 rules | ms, least of {LOADS} | ms, median | ms on the CPU, mean |\n\
         | --- | --- | --- | --- |"
    );
    loading("about ten actions", &of_actions(1_000));
    loading("all about one action", &of_one_action(1_000, ""));
}

/// What decides about one account.
struct Account {
    fields: Fields,
    counters: Counters,
    usd_value: Decimal,
    age_ms: u64,
    country: &'static str,
    client: IpAddr,
}

impl Account {
    fn new(number: u32) -> Self {
        let mut fields = Fields::default();
        let amount = format!("0.{:03}", number % 1_000);
        for (name, text) in
            [("asset", "BTC"), ("amount", &*amount), ("address", "bc1q"), ("network", "bitcoin")]
        {
            fields.set(name, FieldValue::Text(text.into()));
        }
        let total = CounterTotal { count: 3, usd: Some(Decimal::from(number % 4_000)) };
        let day = |action: &str| (Arc::from(action), Window::Day, total);
        Self {
            fields,
            counters: Counters(vec![day("order"), day("transfer"), day("withdrawal")]),
            usd_value: Decimal::from(number % 5_000),
            age_ms: 90 * 86_400_000 + u64::from(number),
            country: ["JP", "DE"][number as usize % 2],
            client: Ipv4Addr::from(0x0a00_0000 + number).into(),
        }
    }

    fn facts<'a>(&'a self, action: &'a str) -> Facts<'a> {
        let address =
            AddressFacts { known: true, verified: true, age_ms: self.age_ms, idle_ms: 86_400_000 };
        Facts {
            now: NOW,
            site: "main",
            action,
            fields: &self.fields,
            usd_value: Fact::Known(self.usd_value),
            client: self.client,
            credential: Some(CredentialKind::Session),
            session_age_ms: Fact::Known(600_000),
            geo: Geo {
                country: Fact::Known(self.country),
                city: Fact::Known("Tokyo"),
                asn: Fact::Known(64_500),
                network: "ordinary",
                new_country: Fact::Known(false),
                country_age: Fact::Known(90 * 86_400_000),
                new_asn: Fact::Known(false),
                first_place: false,
                distance_km: Fact::Known(1.5),
                speed_kmh: Fact::Known(3.25),
            },
            counters: Fact::Known(&self.counters),
            address: Fact::Known(address),
            factors: [Factor::Totp, Factor::Sms].into_iter().collect::<FactorSet>(),
            security_change_age_ms: Fact::Absent,
            elevations: &[],
            place_key: self.country,
            holds: &[],
        }
    }
}

/// Prints what one decision costs; answers the median in ns.
fn row(name: &str, policy: &PolicySet, accounts: &[Account], action: &str) -> f64 {
    let decisions = LOOKS / policy.rule_ids().count().max(12);
    let mut next = accounts.iter().cycle();
    let mut verdict = "";
    let on_cpu = cpu_ns();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for account in next.by_ref().take(decisions) {
                let facts = [account.facts(action)];
                verdict = black_box(policy.decide(black_box(&facts))).verdict.word();
            }
            begun.elapsed().as_nanos() as f64 / decisions as f64
        })
        .collect();
    let on_cpu = (cpu_ns() - on_cpu) / (ROUNDS * decisions) as f64;
    times.sort_by(f64::total_cmp);
    let median = times[ROUNDS / 2];
    println!("| {name} | {verdict} | {:.0} | {median:.0} | {on_cpu:.0} |", times[0]);
    median
}

/// What this thread has had of the CPU. Exact to a tick of the kernel, some milliseconds.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(f64::NAN)
}

fn loading(name: &str, text: &str) {
    let policy = load(text);
    timed(&format!("{name}: read and checked for rules that never speak"), || {
        black_box(load(text));
    });
    timed(&format!("{name}: searched for what changes nothing"), || {
        black_box(doubts(&policy, text));
    });
}

fn timed(name: &str, work: impl Fn()) {
    let on_cpu = cpu_ns();
    let mut times: Vec<f64> = (0..LOADS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    let on_cpu = (cpu_ns() - on_cpu) / LOADS as f64 / 1e6;
    times.sort_by(f64::total_cmp);
    println!("| {name} | {:.1} | {:.1} | {on_cpu:.1} |", times[0], times[LOADS / 2]);
}

fn source(text: &str) -> Source {
    let version = if text.contains("version = 1") { "" } else { "version = 1\n" };
    Source::new("bench.policy.toml", format!("{version}{text}"))
}

fn load(text: &str) -> PolicySet {
    let mut faults = Vec::new();
    let policy = policy::load(&source(text), &[], &[], &mut faults);
    policy.unwrap_or_else(|| panic!("{}", faults.iter().map(Fault::render).collect::<String>()))
}

fn doubts(policy: &PolicySet, text: &str) -> usize {
    let fields = |_: &str| None;
    let setting = Setting {
        countries: true,
        networks: true,
        prices: true,
        sms: true,
        passkeys: true,
        fields: &fields,
    };
    policy.doubts(&source(text), &setting).len()
}

/// Conditions as people write them; none holds for the accounts above.
fn condition(number: usize) -> String {
    let limit = 10_000 + 37 * number;
    let country = ["FR", "CH", "US", "BR", "IN", "KR", "SG"][number % 7];
    match number % 12 {
        0 => format!("usd_value > {limit}"),
        1 => format!(
            "usd_value > {limit} or counters.withdrawal.usd_24h + usd_value > {}",
            5 * limit
        ),
        2 => format!("address.age < {}h", 1 + number % 48),
        3 => format!("address.idle > {}d", 30 + number % 300),
        4 => "account.security_change_age < 24h".to_owned(),
        5 => format!("geo.country is {country} and usd_value > {}", number % 500),
        6 => "geo.new_country".to_owned(),
        7 => format!("geo.speed_kmh > {} and geo.distance_km > 300", 900 + number),
        8 => format!("asset in [USDT, USDC] and amount > {limit}"),
        9 => format!("client.ip in [198.51.{}.0/24, 203.0.113.0/24]", number % 256),
        10 => format!("counters.withdrawal.count_24h >= {}", 5 + number % 40),
        _ => "not address.verified and credential.kind is api_key".to_owned(),
    }
}

/// The last rule always speaks, if it says anything.
fn of_one_action(count: usize, tail: &str) -> String {
    let mut text = String::new();
    let quiet = count - usize::from(!tail.is_empty());
    for number in 0..quiet {
        let _ = write!(
            text,
            "[[rule]]\nid = \"r{number}\"\non = \"withdrawal\"\nwhen = \"{}\"\n{}",
            condition(number),
            ["require = \"totp or sms\"\n", "require = \"totp and sms\"\n", "hold = \"24h\"\n"]
                [number % 3],
        );
    }
    if !tail.is_empty() {
        let _ = write!(text, "[[rule]]\nid = \"last\"\non = \"withdrawal\"\n{tail}");
    }
    text
}

fn of_actions(count: usize) -> String {
    const ACTIONS: [&str; 10] = [
        "withdrawal",
        "transfer",
        "order",
        "mass_cancel",
        "login",
        "address_book.add",
        "address_book.change",
        "api_key.create",
        "api_key.change",
        "subaccount.access",
    ];
    let mut text = String::new();
    for number in 0..count {
        let _ = write!(
            text,
            "[[rule]]\nid = \"a{number}\"\non = \"{}\"\nwhen = \"{}\"\nunless = \"client.ip in [10.{}.0.0/16] and address.verified\"\n{}notify = true\n",
            ACTIONS[number / 12 % 10],
            condition(number),
            number % 256,
            ["require = \"totp or sms\"\n", "require = \"totp and sms\"\n", "deny = true\n"]
                [number % 3],
        );
    }
    text
}
