//! Replacing policy, packs, keys, lists, GeoIP files and certificates while traffic runs.
//!
//! Never half: everything is read and checked first, cases included, then swapped. Invariant: a faulty set changes
//! nothing, and is said so in the log, in the metrics, in `status` and in the audit log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::admin::LastReload;
use crate::assemble::{self, Assembled};
use crate::audit::{Event, Record};
use crate::config::{self, Config};
use crate::fault::{Fault, Source};
use crate::fetch::Fetch;
use crate::gateway::Gateway;
use crate::listen::certs::Certificates;
use crate::locate::maxmind::{Locator, Reread};
use crate::metrics::PolicyKind;
use crate::serve::{Parts, render};
use crate::ticker;
use crate::types::UnixMs;
use crate::watch::{self, Seen, Watch};

/// What a reload was told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    Signal,
    Files,
    Operator,
    /// Another gateway of the store.
    Gateway,
}

impl Trigger {
    fn word(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Files => "files",
            Self::Operator => "operator",
            Self::Gateway => "gateway",
        }
    }
}

/// Reads everything again on demand, one reload at a time.
pub(crate) struct Reloader {
    /// What is only read at the start was read from this.
    started: Config,
    /// What the last good reload read.
    config: Mutex<Config>,
    certificates: Arc<Certificates>,
    fetch: Fetch,
    background: Handle,
    /// Since when the sites are as they are.
    since: Mutex<UnixMs>,
    last: Mutex<Option<LastReload>>,
    /// The files of the last attempt, as they were then.
    tried: Mutex<Seen>,
}

/// A set that was read whole and has no fault.
struct Fresh {
    config: Config,
    assembled: Assembled,
    certificates: Certificates,
    geo: Reread,
}

impl Reloader {
    pub fn new(
        config: Config,
        certificates: Arc<Certificates>,
        fetch: Fetch,
        background: &Handle,
        tried: Seen,
        now: UnixMs,
    ) -> Self {
        let (started, config, last) = (config.clone(), Mutex::new(config), Mutex::default());
        let (since, background) = (Mutex::new(now), background.clone());
        let tried = Mutex::new(tried);
        Self { started, config, certificates, fetch, background, since, last, tried }
    }

    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    pub fn last(&self) -> Option<LastReload> {
        lock(&self.last).clone()
    }

    /// Since when the sites are as they are.
    pub fn since(&self) -> UnixMs {
        *lock(&self.since)
    }

    /// What is live now was just swapped in: its key sets and prices are kept fresh and its versions shown.
    pub fn took(&self, gateway: &Gateway) {
        let live = gateway.live.load();
        let mut versions = Vec::new();
        for site in live.sites() {
            self.background.spawn(site.identifier.watch());
            let (name, version) = (site.name.clone(), site.policy.version().clone());
            versions.push((name.clone(), PolicyKind::Live, version));
            if let Some(candidate) = &site.candidate {
                versions.push((name, PolicyKind::Candidate, candidate.policy.version().clone()));
            }
        }
        if let Some(prices) = live.prices() {
            let (fetch, clock) = (self.fetch.clone(), gateway.clock.clone());
            let metrics = gateway.metrics.clone();
            let watch = ticker::watch(prices, fetch, clock, move |ok| metrics.prices_polled(ok));
            self.background.spawn(watch);
        }
        gateway.metrics.policy_info(&versions);
    }

    /// Reads every file again and swaps all of it in, or nothing. Blocks.
    ///
    /// # Errors
    /// All faults, as text.
    pub fn reload(
        &self,
        gateway: &Gateway,
        locator: &Locator,
        by: Trigger,
    ) -> Result<String, String> {
        let mut config = lock(&self.config);
        let outcome = self.attempt(&mut config, gateway, locator);
        let restart = config::needing_restart(&self.started, &config);
        let (ok, detail) = match outcome {
            Ok(detail) => match config::say_restart(&restart) {
                Some(restart) => (true, format!("{detail}; {restart}")),
                None => (true, detail),
            },
            Err(faults) => (false, render(&faults)),
        };
        let (at, by) = (gateway.clock.now(), by.word());
        if ok {
            *lock(&self.since) = at;
            tracing::info!(by, "reloaded: {detail}");
        } else {
            tracing::error!(by, "reload refused, the last good files stay in use:\n{detail}");
        }
        let note = if ok { detail.clone() } else { format!("refused: {detail}") };
        gateway.audit.note(Record::new(at, Event::Reload).with_note(note));
        let restart = restart.into_iter().map(str::to_owned).collect();
        *lock(&self.last) =
            Some(LastReload { at, ok, by: by.to_owned(), detail: detail.clone(), restart });
        gateway.metrics.policy_reloaded(ok);
        if ok { Ok(detail) } else { Err(detail) }
    }

    fn attempt(
        &self,
        current: &mut Config,
        gateway: &Gateway,
        locator: &Locator,
    ) -> Result<String, Vec<Fault>> {
        let fresh = self.read_still(current, gateway, locator)?;
        let Fresh { config, assembled, certificates, geo } = fresh;
        locator.take(geo);
        self.certificates.take(certificates);
        self.certificates.warn_of_endings(&assemble::pairs(&config), gateway.clock.now());
        gateway.live.store(Arc::new(assembled.live));
        self.took(gateway);
        let detail = format!("{} site(s), {} case(s)", config.sites.len(), assembled.cases);
        *current = config;
        Ok(detail)
    }

    /// The whole set as it stands at one moment.
    fn read_still(
        &self,
        current: &Config,
        gateway: &Gateway,
        locator: &Locator,
    ) -> Result<Fresh, Vec<Fault>> {
        let itself = &current.source.path;
        let read = watch::read_still(|seen| {
            seen.note([itself.clone()]);
            let config = config::load(itself);
            if let Ok(config) = &config {
                assemble::note(config, seen);
            }
            *lock(&self.tried) = seen.clone();
            let config = config?;
            self.read(config, gateway, locator)
        });
        read.unwrap_or_else(|moved| {
            let message = "this file is being written: it changed each time that it was read";
            let fault = Fault::new(&Source::new(moved, ""), 0..0, message);
            Err(vec![fault.help("reload again once it is complete")])
        })
    }

    /// Everything once, with all its faults.
    fn read(
        &self,
        config: Config,
        gateway: &Gateway,
        locator: &Locator,
    ) -> Result<Fresh, Vec<Fault>> {
        let (previous, mut faults) = (gateway.live.load_full(), Vec::new());
        let assembled = assemble::assemble(&config, &self.fetch, &gateway.metrics, Some(&previous));
        let certificates = Certificates::load(&assemble::pairs(&config));
        let geo = locator.read_again();
        // Other GeoIP files than those of the start are not used before a restart; they are read for their faults.
        let restart = config::needing_restart(&self.started, &config);
        if restart.iter().any(|member| member.starts_with("geo.")) {
            assemble::locator(&config, gateway.clock.clone(), &mut faults);
        }
        match (assembled, certificates, geo) {
            (Ok(assembled), Ok(certificates), Ok(geo)) if faults.is_empty() => {
                Ok(Fresh { config, assembled, certificates, geo })
            }
            (assembled, certificates, geo) => {
                faults.extend(certificates.err().unwrap_or_default());
                faults.extend(assembled.err().unwrap_or_default());
                faults.extend(geo.err().unwrap_or_default());
                Err(faults)
            }
        }
    }

    fn tried(&self) -> Seen {
        lock(&self.tried).clone()
    }
}

/// Reloads when a watched file was replaced, until `stop`.
pub(crate) async fn watch(parts: Arc<Parts>, stop: CancellationToken) {
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        if !watch.poll(&parts.reloader.tried()) {
            continue;
        }
        let parts_again = parts.clone();
        let reload = move || {
            let Parts { gateway, locator, reloader, .. } = &*parts_again;
            reloader.reload(gateway, locator, Trigger::Files)
        };
        if tokio::task::spawn_blocking(reload).await.is_err() {
            tracing::error!("a reload panicked; the last good files stay in use");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLL: Duration = Duration::from_secs(1);
