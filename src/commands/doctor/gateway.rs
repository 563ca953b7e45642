//! The gateway that runs beside this command, if one does: what it says of its own parts.
//!
//! Never orders it anything: it is asked for its readiness only. None running is no fault.

use serde_json::Value;
use tokio::net::TcpStream;

use super::{Finding, Here, TIMEOUT};
use crate::admin::client::{Client, ClientError, Reply};
use crate::assemble;
use crate::config::Admin;

pub(super) const SUBJECT: &str = "gateway";

pub(super) async fn examine(here: &Here) -> Vec<Finding> {
    let Some(admin) = &here.config.admin else {
        let what = "there is no [admin] interface at which a running gateway could be asked";
        let advice = "add [admin] address and token: it also has health, readiness and metrics";
        return vec![Finding::warning(SUBJECT, what, advice)];
    };
    // A token that cannot be read is the configuration's fault, and is said there.
    let Some(token) = assemble::admin_token(&here.config, &mut Vec::new()) else {
        return vec![Finding::ok(SUBJECT, "not asked, because the admin token cannot be read")];
    };
    let address = admin.address.to_string();
    let client = Client::new(address.clone(), token);
    let asked = tokio::time::timeout(TIMEOUT, client.get("/ready")).await;
    match asked.unwrap_or(Err(ClientError::Deadline)) {
        Err(ClientError::Connect { .. }) => {
            vec![Finding::ok(SUBJECT, format!("none is running at {address}"))]
        }
        Err(error) => vec![Finding::fault(
            SUBJECT,
            format!("{address}: {error}"),
            "see whether it is the gateway that listens there, and what its log says",
        )],
        Ok(reply) => readiness(&address, &reply),
    }
}

/// Whether anything listens at the admin address.
pub(super) async fn answers(admin: &Admin) -> bool {
    let connect = TcpStream::connect(admin.address);
    matches!(tokio::time::timeout(TIMEOUT, connect).await, Ok(Ok(_)))
}

/// One finding for each part that is not ready.
fn readiness(address: &str, reply: &Reply) -> Vec<Finding> {
    let said: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    if said["ready"] == true {
        return vec![Finding::ok(SUBJECT, format!("{address}: running, and ready"))];
    }
    let parts = said["parts"].as_object().into_iter().flatten();
    let wrong = parts.filter(|(_, state)| *state != "ok");
    let mut findings: Vec<_> = wrong
        .map(|(part, state)| {
            let why = state.as_str().unwrap_or("not ready");
            let what = format!("{address}: running, but its {part} is not ready: {why}");
            Finding::fault(SUBJECT, what, "its log says more")
        })
        .collect();
    if findings.is_empty() {
        let what = format!("{address}: answers {} to /ready", reply.status);
        findings.push(Finding::fault(SUBJECT, what, "see whether it is the gateway that listens"));
    }
    findings
}
