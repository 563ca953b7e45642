//! People with an authenticator each, who look, trade, move money, mistype, press twice, and freeze their account.
//!
//! Each writes down everything that is asked and answered. One code per TOTP step is all that an authenticator gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use stepgate::types::UnixMs;
use tokio::task::JoinSet;

use crate::check::{Answered, Asked, Call, Frozen, Plain};
use crate::client::{Answer, Client};
use crate::gateways::Gateway;
use crate::roll::Roll;
use crate::witness::{Witness, now};
use crate::world::totp_at;
use crate::{TRANSFER, WITHDRAW};

const BALANCE: &str = "/api/v5/account/balance";
const TRADE: &str = "/api/v5/trade/order";
const JSON: (&str, &str) = ("content-type", "application/json");
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often somebody tries again who was told to come back.
const TRIES: usize = 6;

/// What all customers share.
pub struct Street {
    pub gateways: Arc<Vec<Gateway>>,
    pub witness: Arc<Witness>,
    pub over: AtomicBool,
}

impl Street {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
pub struct Customer {
    street: Arc<Street>,
    pub account: String,
    /// At each gateway.
    clients: Vec<Client>,
    roll: Roll,
    orders: u32,
    /// The last step whose code was used for something.
    step: u64,
    /// Wrong codes since the last right one: this customer never locks the own account out.
    wrong: u32,
    /// Approved, and kept for later.
    pocket: Vec<String>,
}

/// What somebody wants to do: path and body.
fn path_of(order: &str) -> &'static str {
    if order.contains("toAddr") { WITHDRAW } else { TRANSFER }
}

fn step_now() -> u64 {
    u64::try_from(now() / 30_000).unwrap()
}

fn code_of(step: u64) -> String {
    totp_at(UnixMs(i64::try_from(step).unwrap() * 30_000))
}

/// A code that is right at no time near.
fn made_up(number: usize) -> String {
    let near: Vec<String> = (step_now() - 2..step_now() + 4).map(code_of).collect();
    let mut codes = (number..).map(|number| format!("{:06}", number % 1_000_000));
    codes.find(|code| !near.contains(code)).unwrap()
}

impl Customer {
    pub fn new(street: Arc<Street>, account: String, clients: Vec<Client>, roll: Roll) -> Self {
        let (orders, step, wrong, pocket) = (0, 0, 0, Vec::new());
        Self { street, account, clients, roll, orders, step, wrong, pocket }
    }

    pub async fn live(mut self) {
        while !self.street.is_over() {
            match self.roll.below(100) {
                0..=49 => self.browse().await,
                50..=84 => self.buy().await,
                85..=89 => self.mistype().await,
                90..=94 => self.replay().await,
                95..=96 => self.freeze().await,
                _ => self.redeem_later().await,
            }
            self.pause(600, 2_000).await;
        }
    }

    async fn pause(&mut self, least_ms: u64, more_ms: usize) {
        let ms = least_ms + self.roll.below(more_ms) as u64;
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn anywhere(&mut self) -> usize {
        self.roll.below(self.clients.len())
    }

    /// One call, whatever comes of it.
    async fn call(&self, gateway: usize, method: &str, path: &str, body: &str) -> (Call, Answer) {
        let sent = now();
        let headers = [JSON];
        let sending = self.clients[gateway].try_send(method, path, &headers, body);
        let answer = tokio::time::timeout(PATIENCE, sending).await.ok().and_then(Result::ok);
        let mut call = Call {
            gateway,
            account: self.account.clone(),
            sent,
            done: now(),
            status: answer.as_ref().map(|answer| answer.status.as_u16()),
            ..Call::default()
        };
        let answer = answer.unwrap_or_else(|| Answer {
            status: http::StatusCode::IM_A_TEAPOT,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
        });
        call.retry_after = answer.headers.contains_key("retry-after");
        call.request = answer.header("stepgate-request").to_owned();
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        call.error = said["error"].as_str().unwrap_or_default().to_owned();
        (call, answer)
    }

    async fn browse(&mut self) {
        for _ in 0..2 {
            let at = self.anywhere();
            let (call, _) = self.call(at, "GET", BALANCE, "").await;
            self.street.witness.saw(|it| it.plain.push(Plain { call, write: false }));
        }
        self.trade().await;
    }

    /// A write that no rule guards.
    async fn trade(&mut self) {
        let at = self.anywhere();
        let (call, _) = self.call(at, "POST", TRADE, "{}").await;
        self.street.witness.saw(|it| it.plain.push(Plain { call, write: true }));
    }

    /// An order that nobody has given before.
    fn order(&mut self) -> String {
        self.orders += 1;
        let (account, number) = (&self.account, self.orders);
        match self.roll.coin() {
            true => crate::withdrawal("5", &format!("T{account}x{number}")),
            false => crate::transfer(&format!("{number}"), account),
        }
    }

    async fn ask(&self, gateway: usize, order: &str) -> (Option<u16>, Option<String>) {
        let (call, answer) = self.call(gateway, "POST", path_of(order), order).await;
        let challenge = answer.header("step-up-challenge").to_owned();
        let challenge = (!challenge.is_empty()).then_some(challenge);
        let status = call.status;
        let asked = Asked { call, order: order.to_owned(), challenge: challenge.clone() };
        self.street.witness.saw(|it| it.asked.push(asked));
        (status, challenge)
    }

    /// The same anywhere, until somebody has an answer.
    async fn insist(&mut self, order: &str) -> (Option<u16>, Option<String>) {
        for _ in 0..TRIES {
            let at = self.anywhere();
            let asked = self.ask(at, order).await;
            if !matches!(asked.0, None | Some(503)) || self.street.is_over() {
                return asked;
            }
            self.pause(200, 400).await;
        }
        (None, None)
    }

    /// The code of a step, or one that is made up.
    async fn answer(&self, gateway: usize, challenge: &str, step: Option<u64>) -> Option<u16> {
        let code = step.map_or_else(|| made_up(self.orders as usize * 7), code_of);
        self.answer_with(gateway, challenge, step, &code).await
    }

    async fn answer_with(
        &self,
        gateway: usize,
        challenge: &str,
        step: Option<u64>,
        code: &str,
    ) -> Option<u16> {
        let path = format!("/.stepgate/challenge/{challenge}/answer");
        let body = json!({ "factor": "totp", "code": code }).to_string();
        let (call, _) = self.call(gateway, "POST", &path, &body).await;
        let status = call.status;
        let answered = Answered { call, challenge: challenge.to_owned(), step };
        self.street.witness.saw(|it| it.answered.push(answered));
        status
    }

    /// A step whose code was not used yet.
    fn fresh_step(&mut self) -> Option<u64> {
        let step = step_now();
        (step > self.step).then(|| {
            self.step = step;
            step
        })
    }

    /// Moves money; every time in another way.
    async fn buy(&mut self) {
        if self.wrong >= 3 && self.roll.below(4) != 0 {
            return self.browse().await;
        }
        let Some(step) = self.fresh_step() else { return self.browse().await };
        let order = self.order();
        let (_, Some(challenge)) = self.insist(&order).await else { return };
        let approved = match self.roll.below(4) {
            _ if self.wrong > 1 => self.approve(&challenge, step).await,
            0 => {
                self.guess(&challenge).await;
                self.approve(&challenge, step).await
            }
            1 => self.answer_twice(&challenge, step).await,
            2 => return self.one_code_for_two(order, challenge, step).await,
            _ => self.approve(&challenge, step).await,
        };
        if !approved {
            return;
        }
        match self.roll.below(4) {
            0 => self.pocket.push(order),
            1 => self.redeem_at_once(&order).await,
            _ => drop(self.insist(&order).await),
        }
    }

    async fn guess(&mut self, challenge: &str) {
        self.wrong += 1;
        let at = self.anywhere();
        self.answer(at, challenge, None).await;
    }

    async fn approve(&mut self, challenge: &str, step: u64) -> bool {
        for _ in 0..TRIES {
            let at = self.anywhere();
            let status = self.answer(at, challenge, Some(step)).await;
            match status {
                Some(200) => self.wrong = 0,
                // After a failover codes count again only with the step after the next.
                Some(403) => (self.wrong, self.step) = (self.wrong + 1, step + 1),
                _ => {}
            }
            if !matches!(status, None | Some(503)) || self.street.is_over() {
                return status == Some(200);
            }
            self.pause(200, 400).await;
        }
        false
    }

    /// The same code at two gateways at the same time.
    async fn answer_twice(&mut self, challenge: &str, step: u64) -> bool {
        let (one, two) = (self.anywhere(), self.anywhere());
        let (one, two) = tokio::join!(
            self.answer(one, challenge, Some(step)),
            self.answer(two, challenge, Some(step))
        );
        self.wrong += 1;
        [one, two].contains(&Some(200))
    }

    /// One code for two orders at the same time: one of them at most may pass.
    async fn one_code_for_two(&mut self, first: String, challenge: String, step: u64) {
        let second = self.order();
        let (_, Some(other)) = self.insist(&second).await else { return };
        let (one, two) = (self.anywhere(), self.anywhere());
        tokio::join!(
            self.answer(one, &challenge, Some(step)),
            self.answer(two, &other, Some(step))
        );
        self.wrong += 1;
        for order in [first, second] {
            self.insist(&order).await;
        }
    }

    /// The same order many times at once, at all gateways.
    async fn redeem_at_once(&self, order: &str) {
        let mut orders = JoinSet::new();
        for number in 0..6 {
            let (customer, order) = (self.clone(), order.to_owned());
            let at = number % self.clients.len();
            orders.spawn(async move { customer.ask(at, &order).await });
        }
        orders.join_all().await;
    }

    /// What was approved before, and perhaps before something broke.
    async fn redeem_later(&mut self) {
        match self.pocket.pop() {
            Some(order) => drop(self.insist(&order).await),
            None => self.browse().await,
        }
    }

    async fn mistype(&mut self) {
        if self.wrong > 0 {
            return self.browse().await;
        }
        let order = self.order();
        if let (_, Some(challenge)) = self.insist(&order).await {
            self.guess(&challenge).await;
            self.insist(&order).await;
        }
    }

    /// The last code once more, for something else.
    async fn replay(&mut self) {
        if self.wrong > 0 || self.step + 1 < step_now() {
            return self.browse().await;
        }
        let order = self.order();
        if let (_, Some(challenge)) = self.insist(&order).await {
            self.wrong += 1;
            let (at, step) = (self.anywhere(), self.step);
            self.answer(at, &challenge, Some(step)).await;
            self.insist(&order).await;
        }
    }

    /// An operator's order about this account.
    async fn operator(&mut self, order: &str) -> Option<u16> {
        let at = self.anywhere();
        let path = format!("/account/main/{}/{order}", self.account);
        let body = r#"{"by":"ops","reason":"fault run"}"#;
        crate::admin(self.street.gateways[at].admin, &path, body).await
    }

    async fn freeze(&mut self) {
        let frozen = self.operator("freeze").await == Some(200);
        let from = now();
        let order = self.order();
        for _ in 0..4 {
            let at = self.anywhere();
            self.ask(at, &order).await;
            self.trade().await;
            self.pause(500, 700).await;
        }
        let until = now();
        if frozen {
            let account = self.account.clone();
            self.street.witness.saw(|it| it.frozen.push(Frozen { account, from, until }));
        }
        self.pocket.clear();
        while self.operator("thaw").await != Some(200) && !self.street.is_over() {
            self.pause(200, 400).await;
        }
    }

    /// Guesses at one question as fast as the gateways let anybody, at all of them.
    async fn attack(&mut self) {
        let order = self.order();
        let (_, Some(challenge)) = self.insist(&order).await else { return };
        let mut guesses = JoinSet::new();
        for number in 0..9 {
            let (customer, challenge) = (self.clone(), challenge.clone());
            let code = made_up(self.roll.below(1_000_000));
            let at = number % self.clients.len();
            guesses.spawn(async move { customer.answer_with(at, &challenge, None, &code).await });
        }
        guesses.join_all().await;
    }
}

/// Attacks one account after the other, so that there are some at every moment that were not blocked yet, and comes back
/// to each: perhaps its block was forgotten.
pub async fn attack(street: Arc<Street>, mut victims: Vec<Customer>, mut roll: Roll) {
    let mut known = 1;
    while !street.is_over() {
        let which = if roll.coin() { known - 1 } else { roll.below(known) };
        victims[which].attack().await;
        known = (known + usize::from(which == known - 1)).min(victims.len());
        let pause = Duration::from_millis(500 + roll.below(3_000) as u64);
        tokio::time::sleep(pause).await;
    }
}
