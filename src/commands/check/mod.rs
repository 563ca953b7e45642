//! `stepgate check`: every fault of every file in one run.
//!
//! Never starts anything. Invariant: it reads what `serve` would read, through the same functions, and says every fault
//! once, whatever it is written for.

mod github;
mod human;
mod json;
mod kind;
mod sarif;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use self::kind::Kinds;
use crate::assemble;
use crate::config::{self, Surveyed};
use crate::fault::{Fault, Severity, in_order};
use crate::fetch::Fetch;
use crate::listen::certs::Certificates;
use crate::messenger;
use crate::metrics::Metrics;
use crate::world::{Clock, SystemClock};

/// For whom the faults are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: each fault with its line and what to do; in colours on a terminal, unless NO_COLOR is set.
    #[default]
    Human,
    /// One object: files, faults, sites, cases.
    Json,
    /// SARIF 2.1.0, for code scanning; paths are relative to the working directory.
    Sarif,
    /// Annotations of GitHub Actions; paths are relative to the working directory.
    Github,
}

/// What was read, and what is wrong with it.
struct Report {
    config: PathBuf,
    /// In the order in which they are told.
    faults: Vec<Fault>,
    kinds: Kinds,
    files: usize,
    sites: usize,
    cases: usize,
    strict: bool,
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        self.faults.iter().filter(|fault| fault.severity == severity).count()
    }

    fn is_fine(&self) -> bool {
        self.count(Severity::Error) == 0 && (!self.strict || self.faults.is_empty())
    }
}

/// Checks, prints, and exits with 1 if there is any fault, or with `strict` any warning.
///
/// # Errors
/// If the check itself cannot run.
pub fn run(path: &Path, format: Format, strict: bool) -> anyhow::Result<ExitCode> {
    let report = survey(path, strict)?;
    match format {
        Format::Human => human::print(&report),
        Format::Json => json::print(&report),
        Format::Sarif => sarif::print(&report, &std::env::current_dir()?),
        Format::Github => github::print(&report, &std::env::current_dir()?),
    }
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn survey(path: &Path, strict: bool) -> anyhow::Result<Report> {
    let mut faults = Vec::new();
    let found = config::survey(path, &mut faults);
    let kinds = Kinds::new(path, found.as_ref().map(|found| &found.config));
    let mut report = Report {
        config: path.to_owned(),
        faults: Vec::new(),
        kinds,
        files: 1,
        sites: 0,
        cases: 0,
        strict,
    };
    if let Some(found) = found {
        report.sites = found.config.sites.len();
        report.files = files(&found);
        report.cases = everything(&found, &mut faults)?;
    }
    report.faults = in_order(faults);
    Ok(report)
}

/// All files that the configuration names, and the cases beside them.
fn files(found: &Surveyed) -> usize {
    let files: BTreeSet<_> = assemble::watched(&found.config).into_iter().collect();
    files.iter().filter(|path| path.is_file()).count()
}

/// Everything that `serve` would read, whatever is wrong with the rest; answers how many cases ran.
fn everything(found: &Surveyed, faults: &mut Vec<Fault>) -> anyhow::Result<usize> {
    let config = &found.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = Fetch::new(None, runtime.handle().clone())?;
    let clock = Arc::new(SystemClock);
    if !config.master_key.is_stand_in() {
        assemble::master_key(config, faults);
    }
    assemble::locator(config, clock.clone(), faults);
    assemble::operators(config, faults);
    config.redis_settings(faults);
    messenger::build(config, &fetch, &(clock as Arc<dyn Clock>), runtime.handle(), faults);
    // Without any, the configuration has said so.
    let pairs = assemble::pairs(config);
    if !pairs.is_empty() {
        faults.extend(Certificates::load(&pairs).err().unwrap_or_default());
    }
    let found = assemble::survey(config, &fetch, &Metrics::default(), None);
    faults.extend(found.faults);
    faults.extend(found.warnings);
    Ok(found.cases)
}

/// A path as a job in the working directory calls it.
fn relative(path: &Path, directory: &Path) -> String {
    let path = path.strip_prefix(directory).unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
