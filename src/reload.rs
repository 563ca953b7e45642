//! Replacing policy, packs, keys, lists, GeoIP files and certificates while traffic runs.
//!
//! Never half: everything is read and checked first, cases included, then swapped. Invariant: a faulty set changes
//! nothing, and is said so in the log, in the metrics, in `status` and in the audit log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::admin::LastReload;
use crate::assemble;
use crate::audit::{Event, Record};
use crate::config::{self, Config};
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::gateway::Gateway;
use crate::listen::certs::Certificates;
use crate::locate::maxmind::Locator;
use crate::serve::{Parts, render};
use crate::ticker;
use crate::watch::Watch;

/// Reads everything again on demand, one reload at a time.
pub(crate) struct Reloader {
    config: Mutex<Config>,
    certificates: Arc<Certificates>,
    fetch: Fetch,
    background: Handle,
    last: Mutex<Option<LastReload>>,
}

impl Reloader {
    pub fn new(
        config: Config,
        certificates: Arc<Certificates>,
        fetch: Fetch,
        background: &Handle,
    ) -> Self {
        let (config, last) = (Mutex::new(config), Mutex::default());
        Self { config, certificates, fetch, background: background.clone(), last }
    }

    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    pub fn last(&self) -> Option<LastReload> {
        lock(&self.last).clone()
    }

    /// What is live now was just swapped in: its key sets and prices are kept fresh and its versions shown.
    pub fn took(&self, gateway: &Gateway) {
        let live = gateway.live.load();
        for site in live.sites() {
            self.background.spawn(site.identifier.watch());
        }
        if let Some(prices) = live.prices() {
            let (fetch, clock) = (self.fetch.clone(), gateway.clock.clone());
            let metrics = gateway.metrics.clone();
            let watch = ticker::watch(prices, fetch, clock, move |ok| metrics.prices_polled(ok));
            self.background.spawn(watch);
        }
        let versions: Vec<_> =
            live.sites().map(|site| (site.name.clone(), site.policy.version().clone())).collect();
        gateway.metrics.policy_info(&versions);
    }

    /// Reads every file again and swaps all of it in, or nothing. Blocks.
    ///
    /// # Errors
    /// All faults, as text.
    pub fn reload(&self, gateway: &Gateway, locator: &Locator) -> Result<String, String> {
        let mut config = lock(&self.config);
        let outcome = self.attempt(&mut config, gateway, locator);
        let (ok, detail) = match &outcome {
            Ok(detail) => (true, detail.clone()),
            Err(faults) => (false, render(faults)),
        };
        let at = gateway.clock.now();
        gateway.metrics.policy_reloaded(ok);
        if ok {
            tracing::info!("reloaded: {detail}");
        } else {
            tracing::error!("reload refused, the last good files stay in use:\n{detail}");
        }
        let note = if ok { detail.clone() } else { format!("refused: {detail}") };
        gateway.audit.note(Record::new(at, Event::Reload).with_note(note));
        *lock(&self.last) = Some(LastReload { at, ok, detail: detail.clone() });
        if ok { Ok(detail) } else { Err(detail) }
    }

    fn attempt(
        &self,
        current: &mut Config,
        gateway: &Gateway,
        locator: &Locator,
    ) -> Result<String, Vec<Fault>> {
        let config = config::load(&current.source.path)?;
        let previous = gateway.live.load_full();
        let mut faults = Vec::new();
        let assembled = assemble::assemble(&config, &self.fetch, &gateway.metrics, Some(&previous));
        let certificates = Certificates::load(&assemble::pairs(&config));
        faults.extend(certificates.err().unwrap_or_default());
        let assembled = match assembled {
            Ok(assembled) if faults.is_empty() => assembled,
            assembled => {
                faults.extend(assembled.err().unwrap_or_default());
                // Read for its faults only, so that all are said at once.
                assemble::locator(&config, gateway.clock.clone(), &mut faults);
                return Err(faults);
            }
        };
        // Each of the two keeps its own last good files if it finds a fault after all.
        locator.reload()?;
        let pairs = assemble::pairs(&config);
        self.certificates.reload(&pairs)?;
        self.certificates.warn_of_endings(&pairs, gateway.clock.now());
        gateway.live.store(Arc::new(assembled.live));
        self.took(gateway);
        let detail = format!("{} site(s), {} case(s)", config.sites.len(), assembled.cases);
        let restart = needs_restart(current, &config);
        *current = config;
        match restart {
            true => Ok(format!("{detail}; listen, admin, store, limits and sms need a restart")),
            false => Ok(detail),
        }
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        assemble::watched(&lock(&self.config))
    }
}

/// Whether something changed that is only read at start.
fn needs_restart(old: &Config, new: &Config) -> bool {
    let fixed = |config: &Config| {
        let Config { listen, admin, store, sms, limits, audit, .. } = config;
        format!("{:?}{:?}{store:?}{sms:?}{limits:?}{audit:?}", listen.address, admin)
            + &format!("{:?}{:?}", listen.trusted_proxies, listen.proxy_protocol)
    };
    fixed(old) != fixed(new)
}

/// Reloads when a watched file was replaced, until `stop`.
pub(crate) async fn watch(parts: Arc<Parts>, stop: CancellationToken) {
    let mut files = parts.reloader.files();
    let mut watch = Watch::new(files.clone());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        if !watch.poll() {
            continue;
        }
        let parts_again = parts.clone();
        let reload =
            move || parts_again.reloader.reload(&parts_again.gateway, &parts_again.locator);
        if tokio::task::spawn_blocking(reload).await.is_err() {
            tracing::error!("a reload panicked; the last good files stay in use");
        }
        let now = parts.reloader.files();
        if now != files {
            watch = Watch::new(now.clone());
            files = now;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLL: Duration = Duration::from_secs(1);
