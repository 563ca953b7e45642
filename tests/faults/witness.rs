//! Writes down what customers saw while it happens, and at the end what the others did.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use stepgate::world::{Clock, SystemClock};

use crate::binary::STEPGATE;
use crate::check::{Chain, Executed, History, Noted};
use crate::exchange::{Exchange, Seen};
use crate::{TRANSFER, WITHDRAW};

#[derive(Default)]
pub struct Witness(Mutex<History>);

/// Milliseconds, as everybody's times are.
pub fn now() -> i64 {
    SystemClock.now().0
}

impl Witness {
    pub fn saw(&self, write: impl FnOnce(&mut History)) {
        write(&mut self.0.lock().unwrap());
    }

    /// What is known so far.
    pub fn history(&self) -> History {
        self.0.lock().unwrap().clone()
    }
}

/// The guarded requests that reached the exchange.
pub fn executed(exchange: &Exchange) -> Vec<Executed> {
    let seen = [WITHDRAW, TRANSFER].iter().flat_map(|path| exchange.seen_at(path));
    seen.map(|seen| {
        let claims = claims(&seen);
        Executed {
            at: seen.at.0,
            account: text(&claims["sub"]),
            request: text(&claims["jti"]),
            order: String::from_utf8_lossy(&seen.body).into_owned(),
        }
    })
    .collect()
}

/// What the gateway signed about the request.
fn claims(seen: &Seen) -> Value {
    let token = seen.headers["stepgate-assertion"].to_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// A gateway's audit log. A line that a kill cut off is none.
pub fn noted(gateway: usize, log: &Path) -> Vec<Noted> {
    let written = std::fs::read(log).unwrap_or_default();
    let written = String::from_utf8_lossy(&written);
    let lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .map(|line| Noted {
            gateway,
            at: line["time"].as_str().map_or(0, milliseconds),
            event: text(&line["event"]),
            account: text(&line["account"]),
            request: text(&line["request"]),
            challenge: text(&line["challenge"]),
        })
        .collect()
}

fn milliseconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the program itself says of a log.
pub fn verified(gateway: usize, log: &Path) -> Chain {
    let output = Command::new(STEPGATE).args(["audit", "verify"]).arg(log).output().unwrap();
    let said = crate::binary::said(&output).trim().to_owned();
    let whole = output.status.success() && said.starts_with("whole:");
    Chain { gateway, whole, said }
}
