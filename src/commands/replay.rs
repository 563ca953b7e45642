//! `stepgate replay`: recorded traffic under a candidate policy, before anybody meets it.
//!
//! Never asks a running gateway and changes nothing. Invariant: exit 0 says that the log was read, whatever differs;
//! a line that is no record is named and left out, because a log with one is still the best there is.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::assemble;
use crate::classify::{self, ActionSet};
use crate::config::{self, Config, Site};
use crate::fault::{Fault, Source};
use crate::locate::Locate;
use crate::policy::{self, PolicySet, recorded::Reader};
use crate::replay::{self, About, Report, Setup, Watcher};
use crate::serve::render;
use crate::types::{ActionName, UnixMs};
use crate::world::SystemClock;

/// What is asked for on the command line.
pub struct Wanted {
    pub logs: Vec<PathBuf>,
    pub policy: Option<PathBuf>,
    pub site: Option<String>,
    pub html: Option<PathBuf>,
    pub json: bool,
    pub since: Option<String>,
    pub until: Option<String>,
    /// Look places up again in today's databases and lists.
    pub recompute: bool,
}

/// Replays the logs and prints the report.
///
/// # Errors
/// If configuration, policy or a log cannot be read.
pub fn run(path: &Path, wanted: &Wanted) -> anyhow::Result<ExitCode> {
    let config = config::load(path).map_err(faulty)?;
    let site = chosen(&config, wanted.site.as_deref())?;
    let since = wanted.since.as_deref().map(moment).transpose()?;
    let until = wanted.until.as_deref().map(moment).transpose()?;
    let policies = policies(&config, site, wanted.policy.as_deref())?;
    let Policies { live, candidate, actions, file } = policies;
    let places = wanted.recompute.then(|| places(&config)).transpose()?;
    let setup = Setup { site: site.name.clone(), live, candidate, since, until, places };
    let reader = || Reader::new(&[&*setup.live, &*setup.candidate]);
    let bar = Bar(bar(&wanted.logs));
    let tally = replay::replay(&setup, reader(), &wanted.logs, &bar);
    bar.0.finish_and_clear();
    let tally = tally?;
    let unseen_actions = unseen(&setup, &actions);
    let about = About { setup: &setup, candidate: file, logs: &wanted.logs, unseen_actions };
    let report = Report::new(&about, &reader(), &tally);
    if let Some(html) = &wanted.html {
        let page = replay::page(&report).context("the page cannot be made")?;
        std::fs::write(html, page).with_context(|| format!("cannot write {}", html.display()))?;
    }
    match wanted.json {
        true => say!("{}", serde_json::to_string_pretty(&report)?),
        false => say!("{}", replay::shown(&report).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Today's databases and lists.
fn places(config: &Config) -> anyhow::Result<Arc<dyn Locate>> {
    if config.geo.city.is_none() && config.geo.asn.is_none() {
        bail!(
            "--recompute looks places up again, but `[geo]` names no database: set `city` and `asn` there"
        );
    }
    let mut faults = Vec::new();
    let locator = assemble::locator(config, Arc::new(SystemClock), &mut faults);
    let locator = locator.ok_or_else(|| faulty(faults))?;
    Ok(Arc::new(locator))
}

fn faulty(faults: Vec<Fault>) -> anyhow::Error {
    anyhow!("{}", render(&faults))
}

fn chosen<'c>(config: &'c Config, name: Option<&str>) -> anyhow::Result<&'c Site> {
    let names = || config.sites.iter().map(|site| &*site.name).collect::<Vec<_>>().join(", ");
    match (name, &*config.sites) {
        (None, [site]) => Ok(site),
        (None, _) => bail!("say which site's traffic is meant: --site with one of {}", names()),
        (Some(name), sites) => sites
            .iter()
            .find(|site| *site.name == *name)
            .with_context(|| format!("no site is called `{name}`; there are: {}", names())),
    }
}

struct Policies {
    live: Arc<PolicySet>,
    candidate: Arc<PolicySet>,
    actions: ActionSet,
    file: PathBuf,
}

/// The site's own policy and the candidate, over the actions of the site's packs.
fn policies(config: &Config, site: &Site, candidate: Option<&Path>) -> anyhow::Result<Policies> {
    let mut faults = Vec::new();
    let packs: Vec<Source> =
        site.actions.iter().filter_map(|pack| config.read(pack, &mut faults)).collect();
    let actions = classify::load(&packs, &mut faults);
    let names = actions.as_ref().map(ActionSet::action_names).unwrap_or_default();
    let salt: Vec<&[u8]> = packs.iter().map(|pack| pack.text.as_bytes()).collect();
    let load = |source: Option<Source>, faults: &mut Vec<Fault>| {
        source.and_then(|source| policy::load(&source, &names, &salt, faults)).map(Arc::new)
    };
    let own = config.read(&site.policy, &mut faults);
    let live = load(own, &mut faults);
    let (candidate, file) = match candidate {
        None => (live.clone(), site.policy.path.clone()),
        Some(path) => {
            let source = config::read_source(path).map_err(|fault| faults.push(*fault)).ok();
            (load(source, &mut faults), path.to_owned())
        }
    };
    match (live, candidate, actions) {
        (Some(live), Some(candidate), Some(actions)) if faults.is_empty() => {
            Ok(Policies { live, candidate, actions, file })
        }
        _ => Err(faulty(faults)),
    }
}

/// Actions that only the candidate guards.
fn unseen(setup: &Setup, actions: &ActionSet) -> Vec<String> {
    let guarded: BTreeSet<&str> =
        actions.rules().iter().filter(|rule| rule.guarded).map(|rule| rule.name.as_str()).collect();
    let by_pack = actions.action_names();
    let new = by_pack.iter().filter(|name: &&ActionName| {
        setup.candidate.names(name) && !setup.live.names(name) && !guarded.contains(name.as_str())
    });
    let names: BTreeSet<String> = new.map(ToString::to_string).collect();
    names.into_iter().collect()
}

/// `2026-11-20`, or a whole RFC 3339 time.
pub(super) fn moment(text: &str) -> anyhow::Result<UnixMs> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time: jiff::Timestamp = whole
        .parse()
        .map_err(|_| anyhow!("`{text}` is no time: write 2026-11-20 or 2026-11-20T12:00:00Z"))?;
    Ok(UnixMs(time.as_millisecond()))
}

struct Bar(ProgressBar);

impl Watcher for Bar {
    fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

/// On a terminal only, and on standard error: the report can be piped.
fn bar(logs: &[PathBuf]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes = logs.iter().map(|log| std::fs::metadata(log).map(|file| file.len()));
    let bar = match sizes.sum::<Result<u64, _>>() {
        Ok(bytes) => ProgressBar::new(bytes),
        Err(_) => ProgressBar::no_length(),
    };
    let style = "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
