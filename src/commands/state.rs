//! The state of a configuration, for commands that read or write all of it.
//!
//! Never used while requests are decided. Invariant: a store that a gateway has to itself is not touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::assemble;
use crate::config::{self, Config, StoreConfig};
use crate::crypto::{Keyring, SealError};
use crate::factors;
use crate::serve::{StartError, open_store, render};
use crate::store::moved::Kept;
use crate::store::{Store, StoreError};
use crate::world::{Clock, SystemClock};

/// A configuration's store and master keys.
pub(super) struct State {
    config: Config,
    pub(super) keyring: Keyring,
    pub(super) runtime: tokio::runtime::Runtime,
}

impl State {
    /// # Errors
    /// All faults of the configuration and of the key file.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        let config = config::load(path).map_err(|faults| anyhow::anyhow!("{}", render(&faults)))?;
        let mut faults = Vec::new();
        let keyring = assemble::master_key(&config, &mut faults)
            .ok_or_else(|| anyhow::anyhow!("{}", render(&faults)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { config, keyring, runtime })
    }

    /// Where the state is, for people.
    pub(super) fn place(&self) -> String {
        match &self.config.store {
            StoreConfig::File(file) => file.display().to_string(),
            StoreConfig::Redis(redis) => redis.topology.to_string(),
        }
    }

    /// Whether there is any: opening would make it.
    pub(super) fn is_there(&self) -> bool {
        match &self.config.store {
            StoreConfig::File(file) => file.exists(),
            StoreConfig::Redis(_) => true,
        }
    }

    /// # Errors
    /// `InUse` if a gateway has it to itself.
    pub(super) fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut faults = Vec::new();
        let redis = self.config.redis_settings(&mut faults);
        let opened = match faults.is_empty() {
            true => open_store(&self.config, redis, &clock, Some(DEADLINE_MS)),
            false => Err(StartError::Faults(faults)),
        };
        opened.map(|(store, _)| store).map_err(|error| match error {
            StartError::Store(error) => error,
            error => StoreError::Unavailable(format!("{error:#}")),
        })
    }
}

/// What of a backup is sealed with master keys that are not there.
#[derive(Default)]
pub(super) struct Sealed {
    factors: BTreeMap<String, u64>,
    keys: BTreeMap<String, u64>,
}

impl Sealed {
    pub(super) fn note(&mut self, kept: &Kept, keyring: &Keyring) {
        let mut count = |error: SealError, of: fn(&mut Self) -> &mut BTreeMap<String, u64>| {
            if let SealError::UnknownKey(id) = error {
                *of(self).entry(id).or_default() += 1;
            }
        };
        match kept {
            Kept::Account { account, factors, .. } => {
                for enrolled in factors {
                    if let Err(error) = factors::open(keyring, account, &enrolled.secret) {
                        count(error, |sealed| &mut sealed.factors);
                    }
                }
            }
            Kept::Key { name, value } => {
                if let Err(error) = keyring.open(name, &[], value) {
                    count(error, |sealed| &mut sealed.keys);
                }
            }
            _ => {}
        }
    }

    /// Warns of what cannot be used before those keys are back.
    pub(super) fn tell(&self) {
        for (key, count) in &self.factors {
            eprintln!(
                "stepgate: warning: {count} enrolled factors are sealed with the key `{key}`, which is not in \
                 store.master_key: their owners cannot use them until that key is back"
            );
        }
        for (key, count) in &self.keys {
            eprintln!(
                "stepgate: warning: {count} common keys of the gateways are sealed with the key `{key}`, which is not \
                 in store.master_key: no gateway starts on this state until that key is back"
            );
        }
    }
}

/// A command is not in a hurry: it writes a thousand records at once.
const DEADLINE_MS: u64 = 60_000;
