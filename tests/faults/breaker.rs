//! Breaks one thing after the other, mends it, and sees whether the gateways come back by themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::check::{Fault, Kind, Recovery};
use crate::client::Client;
use crate::customers::Street;
use crate::roll::Roll;
use crate::servers::Servers;
use crate::witness::now;

/// Within so long a gateway must answer again.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

pub struct Breaker {
    pub street: Arc<Street>,
    pub servers: Arc<Servers>,
    /// A session at each gateway whose orders are refused by the policy, once the store has been asked.
    pub probes: Vec<Client>,
    pub roll: Roll,
}

impl Breaker {
    /// One fault after the other, each kind before any comes again, until the time is up.
    pub async fn run(mut self, until: Instant) {
        let mut waiting: Vec<Kind> = Vec::new();
        self.calm().await;
        while Instant::now() < until {
            if waiting.is_empty() {
                waiting = self.servers.kinds().to_vec();
                waiting.extend([Kind::GatewayKilled(self.anyone()); 2]);
            }
            let kind = waiting.swap_remove(self.roll.below(waiting.len()));
            println!("{:>6} s left: {kind}", (until - Instant::now()).as_secs());
            match kind {
                Kind::GatewayKilled(gateway) => self.kill(gateway).await,
                _ => self.hurt(kind).await,
            }
            self.calm().await;
        }
    }

    fn anyone(&mut self) -> usize {
        self.roll.below(self.street.gateways.len())
    }

    async fn calm(&mut self) {
        let ms = 2_000 + self.roll.below(4_000) as u64;
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn kill(&mut self, gateway: usize) {
        let kind = Kind::GatewayKilled(gateway);
        let from = now();
        self.street.gateways[gateway].kill();
        let ms = self.roll.below(2_000) as u64;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.street.gateways[gateway].start().await;
        let until = now();
        self.street.witness.saw(|it| it.faults.push(Fault { kind, from, until }));
        self.recovers(kind, gateway).await;
    }

    /// Something happens to Redis; one time in four a gateway dies meanwhile.
    async fn hurt(&mut self, kind: Kind) {
        let which = self.to_servers(move |servers| servers.breaks(kind)).await;
        let from = now();
        let pause = Duration::from_millis(1_000 + self.roll.below(4_000) as u64);
        tokio::time::sleep(pause / 2).await;
        let dead = (self.roll.below(4) == 0).then(|| self.anyone());
        let killed = now();
        if let Some(gateway) = dead {
            self.street.gateways[gateway].kill();
        }
        tokio::time::sleep(pause / 2).await;
        let mut until = now();
        self.to_servers(move |servers| servers.mends(kind, which)).await;
        if !kind.is_total() {
            until = now(); // a replica has taken over
        }
        self.street.witness.saw(|it| it.faults.push(Fault { kind, from, until }));
        if let Some(gateway) = dead {
            self.street.gateways[gateway].start().await;
            let kind = Kind::GatewayKilled(gateway);
            let fault = Fault { kind, from: killed, until: now() };
            self.street.witness.saw(|it| it.faults.push(fault));
        }
        for gateway in 0..self.street.gateways.len() {
            self.recovers(kind, gateway).await;
        }
        self.to_servers(move |servers| servers.complete(kind, which)).await;
    }

    /// What is done to servers is waited for on a thread of its own.
    async fn to_servers<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Servers) -> T + Send + 'static,
    ) -> T {
        let servers = self.servers.clone();
        tokio::task::spawn_blocking(move || what(&servers)).await.unwrap()
    }

    /// Asks this gateway to do something guarded until the store answers it.
    async fn recovers(&self, kind: Kind, gateway: usize) {
        let begun = Instant::now();
        let mut took_ms = None;
        while took_ms.is_none() && begun.elapsed() < RECOVERY_MAX {
            let order = crate::withdrawal("1", "TNobody");
            let headers = [("content-type", "application/json")];
            let asked = self.probes[gateway].try_send("POST", crate::WITHDRAW, &headers, order);
            let asked = tokio::time::timeout(Duration::from_secs(2), asked).await;
            if asked.ok().and_then(Result::ok).is_some_and(|answer| answer.status != 503) {
                took_ms = i64::try_from(begun.elapsed().as_millis()).ok();
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let recovery = Recovery { kind, gateway, took_ms };
        self.street.witness.saw(|it| it.recoveries.push(recovery));
    }
}
