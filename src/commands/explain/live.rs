//! How the account stands, asked of the running gateway.
//!
//! Only reads: the gateway takes, counts and begins nothing for it.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::decided::Known;
use crate::admin::{About, StandingSeen};
use crate::classify::Action;
use crate::commands::operate::Operator;
use crate::identify::Identity;
use crate::pipeline::destination;
use crate::store::Consulted;
use crate::types::IntentDigest;

/// # Errors
/// If no gateway answers, or what it says is not understood.
pub(super) fn ask(
    path: &Path,
    identity: &Identity,
    action: Option<&Action>,
    intent: IntentDigest,
) -> anyhow::Result<Known> {
    let about = About {
        credential: identity.credential.clone(),
        intent,
        destination: action.and_then(destination),
    };
    let body = serde_json::to_string(&about)?;
    let answer = Operator::at(path)?.standing(&identity.account, body)?;
    let seen: StandingSeen =
        serde_json::from_str(&answer).context("the gateway's answer cannot be read")?;
    let Consulted { standing, counters, address, holds } = seen
        .read()
        .map_err(|what| anyhow!("the gateway speaks of {what}, which is not known here"))?;
    Ok(Known { live: true, standing, counters, address, holds })
}
