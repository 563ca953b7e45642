//! A seeded fault run: three gateway processes on one Redis, an exchange that writes everything down, customers, and
//! somebody who breaks one thing after the other. At the end a model reads what all of them saw.
//!
//! `make faults SEED=1 SECONDS=300` on a single server, `TOPOLOGY=sentinel` with a master and two replicas.

mod breaker;
mod check;
mod customers;
mod gateways;
mod report;
mod servers;
mod witness;

#[path = "../it/binary.rs"]
#[allow(dead_code)]
mod binary;
#[path = "../it/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../it/exchange.rs"]
#[allow(dead_code)]
mod exchange;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "../differential/roll.rs"]
#[allow(dead_code)]
mod roll;
#[path = "../it/world.rs"]
#[allow(dead_code)]
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::breaker::Breaker;
use crate::check::{Findings, History};
use crate::client::Client;
use crate::customers::{Customer, Street};
use crate::exchange::Exchange;
use crate::gateways::Gateway;
use crate::kit::{HOST, Kit, Options, TOKYO, TOTP_SECRET};
use crate::roll::Roll;
use crate::servers::Servers;
use crate::witness::{Witness, now};

const TRANSFER: &str = "/api/v5/asset/transfer";
const WITHDRAW: &str = "/api/v5/asset/withdrawal";
const CUSTOMERS: usize = 48;
const ATTACKERS: usize = 4;
/// Accounts that each of them tries.
const VICTIMS: usize = 30;

/// All that moves money needs a code, each time.
const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"

[[rule]]
id = "contract-to-spot"
on = "transfer"
when = "transfer.from is contract and transfer.to is spot"
require = "totp"
"#;

fn main() -> ExitCode {
    let number = |name: &str, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (seed, seconds) = (number("SEED", 1), number("SECONDS", 40));
    let topology = std::env::var("TOPOLOGY").unwrap_or("single".to_owned());
    println!("fault run: seed {seed}, {seconds} s, {topology}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = TempDir::new().expect("a temporary folder");
    let length = Duration::from_secs(seconds);
    let history = runtime.block_on(run(dir.path(), seed, length, &topology));
    let findings = check::check(&history);
    // With so few the run would show nothing.
    assert!(history.executed.len() >= CUSTOMERS / 6, "{} executed", history.executed.len());
    report::print(&history, &findings);
    let well = tell(&history, &findings);
    if !well || std::env::var_os("KEEP").is_some() {
        println!("what the gateways wrote is kept in {}", dir.keep().display());
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The whole story of whoever a violation is about.
fn tell(history: &History, findings: &Findings) -> bool {
    let (mut told, mut shown) = (Vec::new(), BTreeMap::new());
    for violation in &findings.violations {
        let count = shown.entry(violation.rule).or_insert(0);
        *count += 1;
        if *count > 5 {
            continue;
        }
        println!("\nVIOLATED: {}\n  {}", violation.rule, violation.what);
        let Some(account) = &violation.account else { continue };
        if told.len() < 3 && !told.contains(account) {
            println!("the story of {account}:\n{}", history.story(account));
            told.push(account.clone());
        }
    }
    let well = findings.violations.is_empty();
    println!("\n{}", if well { "no violation" } else { "VIOLATED" });
    well
}

async fn run(dir: &Path, seed: u64, length: Duration, topology: &str) -> History {
    let servers = Arc::new(Servers::start(topology));
    let exchange = Exchange::start().await;
    let options = Options {
        upstream: exchange.address,
        policy: POLICY,
        pack: world::OKX,
        extra: "",
        workers: 1,
        sms: false,
    };
    let kit = Kit::write(dir, &options);
    let place = |number| Gateway::place(&kit, number, &servers.url());
    let gateways: Arc<Vec<Gateway>> = Arc::new((0..servers.gateways()).map(place).collect());
    for gateway in gateways.iter() {
        gateway.start().await;
    }
    let street = Arc::new(Street {
        gateways: gateways.clone(),
        witness: Arc::new(Witness::default()),
        over: false.into(),
    });
    let mut roll = Roll::new(seed);
    let lives = settle_in(&street, &kit, &mut roll).await;
    let probes = sessions(&gateways, &kit, "probe");
    let breaker = Breaker { street: street.clone(), servers: servers.clone(), probes, roll };
    breaker.run(Instant::now() + length).await;
    street.over.store(true, Ordering::SeqCst);
    lives.join_all().await;
    for (number, gateway) in gateways.iter().enumerate() {
        assert!(gateway.runs(), "gateway {number} ended by itself: {}", gateway.said());
        assert!(gateway.stop(), "gateway {number} did not end well: {}", gateway.said());
    }
    drop(servers);
    let mut history = street.witness.history();
    history.executed = witness::executed(&exchange);
    for (number, gateway) in gateways.iter().enumerate() {
        history.noted.extend(witness::noted(number, &gateway.log));
        history.chains.push(witness::verified(number, &gateway.log));
    }
    history
}

/// Everybody gets an authenticator and begins to live.
async fn settle_in(street: &Arc<Street>, kit: &Kit, roll: &mut Roll) -> JoinSet<()> {
    let people = (0..CUSTOMERS).map(|number| format!("customer-{number}"));
    let victims = (0..ATTACKERS * VICTIMS).map(|number| format!("attacked-{number}"));
    let accounts: Vec<String> = people.chain(victims).collect();
    let lines = accounts.iter().map(|account| {
        let uri = format!("otpauth://totp/x:{account}?secret={TOTP_SECRET}&issuer=x");
        json!({ "account": account, "group": "main", "otpauth": uri }).to_string()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let begun = Instant::now();
    // A busy machine may miss the store's deadline.
    while admin(street.gateways[0].admin, "/factor/import", &lines).await != Some(200) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", street.gateways[0].said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut customers = accounts.into_iter().map(|account| {
        let clients = sessions(&street.gateways, kit, &account);
        Customer::new(street.clone(), account, clients, Roll::new(roll.next()))
    });
    let mut lives = JoinSet::new();
    for customer in customers.by_ref().take(CUSTOMERS) {
        lives.spawn(customer.live());
    }
    let victims: Vec<Customer> = customers.collect();
    for few in victims.chunks(VICTIMS) {
        let roll = Roll::new(roll.next());
        lives.spawn(customers::attack(street.clone(), few.to_vec(), roll));
    }
    lives
}

/// One session, at each gateway.
fn sessions(gateways: &[Gateway], kit: &Kit, account: &str) -> Vec<Client> {
    let bearer = format!("Bearer {}", kit.token(account, "s1", now() / 1_000));
    let client = |gateway: &Gateway| {
        Client::new(gateway.address, &kit.ca_pem, HOST)
            .from(TOKYO)
            .with("authorization", bearer.as_str())
    };
    gateways.iter().map(client).collect()
}

/// A call to a gateway's admin interface; none if there is no answer.
async fn admin(address: SocketAddr, path: &str, body: &str) -> Option<u16> {
    let stream = TokioIo::new(TcpStream::connect(address).await.ok()?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    let request = http::Request::post(path)
        .header("host", "admin")
        .header("authorization", "Bearer a-token-for-the-tests-only")
        .body(Full::new(Bytes::from(body.to_owned())));
    let answer = sender.send_request(request.expect("a request")).await.ok()?;
    Some(answer.status().as_u16())
}

/// OKX's shapes.
fn withdrawal(amount: &str, address: &str) -> String {
    format!(
        r#"{{"ccy":"USDT","amt":"{amount}","toAddr":"{address}","dest":"4","chain":"USDT-TRC20","fee":"0.8"}}"#
    )
}

/// From contract to spot; the client's own id keeps two accounts' transfers apart.
fn transfer(amount: &str, account: &str) -> String {
    format!(
        r#"{{"ccy":"USDT","amt":"{amount}","from":"18","to":"6","type":"0","clientId":"{account}"}}"#
    )
}
