//! `stepgate explain`: what the gateway would decide about one raw request and why, or what it recorded of a real one.
//!
//! Never changes anything: a running gateway is only asked, and only if told so. Invariant: it classifies and decides with
//! the same functions as the pipeline.

mod anew;
mod customer;
mod decided;
mod live;
mod log;
mod past;
mod person;
mod raw;
mod recorded;
mod request;
mod words;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;

use crate::config::{self, Config};
use crate::serve::render;

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// A file with the raw request, `-` for standard input. A message of a WebSocket is written `WS /path`, an empty line
    /// and the message.
    #[arg(long, value_name = "FILE", required_unless_present = "id")]
    pub request: Option<PathBuf>,
    /// Instead: the id of a request that was recorded (the answer's `Stepgate-Request`), or of a challenge.
    #[arg(long, value_name = "ID", allow_hyphen_values = true, conflicts_with_all = ["request", "ip", "account", "live", "facts", "time"])]
    pub id: Option<String>,
    /// The logs to look for it in, the oldest first; without them the configuration's own.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "id")]
    pub audit: Vec<PathBuf>,
    /// The client's address.
    #[arg(long)]
    pub ip: Option<IpAddr>,
    /// The account that asks, whatever the request carries.
    #[arg(long)]
    pub account: Option<String>,
    /// Ask the running gateway how the account stands now; without it, its history is taken as empty.
    #[arg(long)]
    pub live: bool,
    /// Set a fact, as cases do: `--fact address.age=2h --fact geo.country=unreadable`.
    #[arg(long = "fact", value_name = "NAME=VALUE")]
    pub facts: Vec<String>,
    /// When the request came: `2026-01-05T12:00:00Z`. Without it, now.
    #[arg(long = "at", value_name = "TIME")]
    pub time: Option<jiff::Timestamp>,
    #[arg(long)]
    pub json: bool,
}

/// Explains one request; exits with 0 whatever the verdict.
///
/// # Errors
/// If configuration, request or log cannot be read, or no log has the id.
pub fn run(path: &Path, question: &Question) -> anyhow::Result<ExitCode> {
    match (&question.id, &question.request) {
        (Some(id), _) => recorded::run(path, id, &question.audit, question.json),
        (None, Some(request)) => raw::run(path, request, question),
        (None, None) => Err(anyhow!("give --request FILE or --id ID")),
    }
}

fn loaded(path: &Path) -> anyhow::Result<Config> {
    config::load(path).map_err(|faults| anyhow!("{}", render(&faults)))
}

/// What was found, as JSON or in words.
fn print(json: bool, story: &(impl serde::Serialize + std::fmt::Display)) -> anyhow::Result<()> {
    match json {
        true => say!("{}", serde_json::to_string_pretty(story)?),
        false => say!("{}", story.to_string().trim_end()),
    }
    Ok(())
}
