//! `stepgate doctor`: tries everything that a gateway depends on, and says what is wrong and what to do about it.
//!
//! Never changes anything, sends no message, and does not disturb a gateway that is running beside it. Invariant: every
//! dependency is tried whatever the others say, none for longer than its deadline, and all are said in the same order.

mod certificate;
mod clock;
mod configuration;
mod gateway;
mod geo;
mod machine;
mod probe;
mod reach;

mod servers;
mod store;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::config::Config;
use crate::fault::Fault;
use crate::types::UnixMs;
use crate::world::{Clock, SystemClock};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    /// It works, but not as it should, or not for long.
    Warning,
    /// Something that customers or guarded actions need does not work.
    Fault,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    subject: &'static str,
    level: Level,
    what: String,
    #[serde(rename = "do")]
    advice: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, level: Level::Ok, what: what.into(), advice: None }
    }
    fn warning(subject: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { subject, level: Level::Warning, what: what.into(), advice }
    }
    fn fault(subject: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fault, ..Self::warning(subject, what, advice) }
    }

    /// A fault of a file, on one line; `advice` is for those that bring none of their own.
    fn of(subject: &'static str, fault: &Fault, advice: &str) -> Self {
        let (line, column) = fault.position();
        let mut place = fault.source.path.display().to_string();
        if !fault.source.text.is_empty() {
            place += &format!(":{line}:{column}");
        }
        let advice = fault.help.as_deref().unwrap_or(advice);
        Self::fault(subject, format!("{place}: {}", fault.message), advice)
    }

    /// As people read it: what is wrong, and below it what to do.
    fn line(&self) -> String {
        let word = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warn",
            Level::Fault => "FAULT",
        };
        let mut line = format!("{word:<5} {:<13} {}", self.subject, indented(&self.what));
        if let Some(advice) = &self.advice {
            line += &format!("\n{MARGIN}→ {}", indented(advice));
        }
        line
    }
}

/// Further lines stand below the first.
fn indented(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{MARGIN}"))
}

/// What the examinations share.
struct Here {
    config: Config,
    clock: Arc<dyn Clock>,
    /// The facts that the sites' rules look at; `None` where a policy cannot be read.
    facts: Option<BTreeSet<String>>,
    /// Rules that nobody can meet without a text message.
    need_sms: Vec<String>,
    probe: probe::Probe,
}

impl Here {
    fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

/// Tries, prints, and exits with 1 if anything is at fault.
///
/// # Errors
/// If the examination itself cannot be set up.
pub fn run(path: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(path, Arc::new(SystemClock)))?;
    // A file system or a resolver that hangs must not keep the command.
    runtime.shutdown_background();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    if as_json {
        let all = json!({ "findings": findings, "faults": faults, "warnings": warnings });
        say!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        findings.iter().for_each(|finding| say!("{}", finding.line()));
        say!("\n{faults} fault(s), {warnings} warning(s)");
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(path: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Vec<Finding>> {
    let (here, mut findings) = configuration::read(path, clock)?;
    let Some(here) = here else { return Ok(findings) };
    let here = Arc::new(here);
    let (store, gateway, geo, certificates, reached, machine) = tokio::join!(
        within(store::SUBJECT, STORE_TIMEOUT, store::examine(&here)),
        // Each wait inside has the deadline of its own; this one is for what takes several.
        within(gateway::SUBJECT, TIMEOUT * 2, gateway::examine(&here)),
        apart(geo::SUBJECT, FILES_TIMEOUT, &here, geo::examine),
        apart(certificate::SUBJECT, TIMEOUT, &here, certificate::examine),
        reach::examine(&here),
        apart(machine::SUBJECT, TIMEOUT, &here, machine::examine),
    );
    findings.extend(store.into_iter().chain(gateway).chain(geo).chain(certificates));
    findings.extend(reached.into_iter().chain(machine));
    Ok(findings)
}

/// Waits for an examination, but not for ever.
async fn within(
    subject: &'static str,
    timeout: Duration,
    work: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| vec![hangs(subject)])
}

/// The same for one that only reads files, on a thread of its own.
async fn apart(
    subject: &'static str,
    timeout: Duration,
    here: &Arc<Here>,
    examine: fn(&Here) -> Vec<Finding>,
) -> Vec<Finding> {
    let here = here.clone();
    let work = tokio::task::spawn_blocking(move || examine(&here));
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(findings)) => findings,
        _ => vec![hangs(subject)],
    }
}

fn hangs(subject: &'static str) -> Finding {
    Finding::fault(
        subject,
        "the examination did not come to an end",
        "a file system or a name server that does not answer holds it up",
    )
}

/// How long one dependency is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A store that several gateways share is tried again for some seconds, as at a gateway's start.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);
/// Whole GeoIP databases are read and verified.
const FILES_TIMEOUT: Duration = Duration::from_secs(20);
/// Below the text of a line.
const MARGIN: &str = "                    ";
