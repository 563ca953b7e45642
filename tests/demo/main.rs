//! `make demo`: gateway, toy exchange, three places to come from and a tour, all on this machine.
//!
//! Never a model for production: secrets lie in a directory, names and prices are made up. With words behind it, it is
//! one of the small helpers that the tour's commands call.

mod certs;
mod doors;
mod exchange;
mod gateway;
#[path = "../fixtures/geo/make.rs"]
mod geo;
mod helpers;
mod ports;
mod sms;
mod tour;
mod workdir;

use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use doors::CITIES;
use exchange::{Exchange, Settings};
use gateway::Gateway;
use tour::Doors;
use workdir::{Facts, Workdir};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let workdir = Workdir::from_env();
    if !words.is_empty() {
        return helpers::run(&workdir, words);
    }
    gateway::program()?;
    tokio::runtime::Runtime::new()?.block_on(demo(&workdir))
}

async fn demo(workdir: &Workdir) -> anyhow::Result<()> {
    let (gateway_address, gateway_port) = ports::GATEWAY.reserve().await?;
    let (admin_address, admin_port) = ports::ADMIN.reserve().await?;
    let doors = open_doors(gateway_address).await?;
    let (exchange, control) = start_exchange(&doors).await?;

    workdir.fresh()?;
    let settings = Settings::default();
    workdir.furnish(&Facts {
        gateway: gateway_address,
        origins: [&doors.tokyo, &doors.frankfurt, &doors.moscow],
        admin: admin_address,
        front: &doors.tokyo,
        exchange_url: &exchange.url(),
        jwks: &exchange.jwks(),
        issuer: &settings.issuer,
        audience: &settings.audience,
    })?;
    workdir.write_helpers()?;

    drop((gateway_port, admin_port));
    let gateway = Gateway::start(workdir, gateway_address, admin_address).await?;
    gateway.import_factors(workdir)?;

    let (screen, script) = tour::write(workdir, &doors);
    fs::write(workdir.path("tour.sh"), script)?;
    fs::write(workdir.path("env"), environment(workdir, &doors, admin_address, control))?;
    println!("The demo is up. Paste line by line:\n\n{screen}\nCtrl-C stops everything.\n");
    watch(workdir, gateway).await
}

async fn open_doors(gateway: SocketAddr) -> anyhow::Result<Doors> {
    let mut bases = Vec::new();
    for city in CITIES {
        let listener = city.port.bind().await?;
        bases.push(format!("https://localhost:{}", listener.local_addr()?.port()));
        tokio::spawn(doors::serve(listener, city.address, gateway));
    }
    let [tokyo, frankfurt, moscow] =
        <[String; 3]>::try_from(bases).expect("one base address per city");
    Ok(Doors { tokyo, frankfurt, moscow })
}

async fn start_exchange(doors: &Doors) -> anyhow::Result<(Exchange, SocketAddr)> {
    let listen = ports::EXCHANGE.address()?;
    let bases = [&doors.tokyo, &doors.frankfurt, &doors.moscow];
    let named = CITIES.iter().zip(bases).map(|(city, base)| (city.name.to_owned(), base.clone()));
    let settings = Settings { listen, doors: named.collect(), ..Settings::default() };
    let started = Exchange::start(settings).await;
    let mut exchange = started.with_context(|| ports::EXCHANGE.taken(listen))?;
    let listen = ports::CONTROL.address()?;
    let control = exchange.control(listen).await.with_context(|| ports::CONTROL.taken(listen))?;
    Ok((exchange, control))
}

/// What client tests need to know, as shell assignments. Written last: when it is there, everything runs.
fn environment(workdir: &Workdir, doors: &Doors, admin: SocketAddr, control: SocketAddr) -> String {
    let Doors { tokyo, frankfurt, moscow } = doors;
    format!(
        "CONFIG={config}\nGATEWAY={tokyo}\nGATEWAY_FRANKFURT={frankfurt}\nGATEWAY_MOSCOW={moscow}\n\
         CA={ca}\nACCOUNTS={accounts}\nCONTROL=http://{control}/_control/requests\n\
         ADMIN=http://{admin}\nDEMO_DO={helper}\nTOUR={tour}\n",
        config = workdir.spell("stepgate.toml"),
        ca = workdir.spell("ca.pem"),
        accounts = workdir.spell("accounts.json"),
        helper = workdir.spell("do"),
        tour = workdir.spell("tour.sh"),
    )
}

/// Prints each SMS and mail as it goes out, until somebody stops the demo or the gateway ends.
async fn watch(workdir: &Workdir, mut gateway: Gateway) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut seen = [(sms::TEXTS, 0), (sms::MAILS, 0)];
    loop {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            _ = tick.tick() => {
                for (outbox, seen) in &mut seen {
                    let (messages, end) = sms::since(workdir, outbox, *seen);
                    *seen = end;
                    messages.iter().for_each(|message| print!("{message}"));
                }
                if let Some(words) = gateway.ended() {
                    anyhow::bail!(words);
                }
            }
        }
    }
    println!("Stopping.");
    gateway.stop();
    Ok(())
}
