//! What sort of file a fault stands in: the stable word by which code scanning groups faults.
//!
//! Never guesses from the text. Invariant: a word, once given to a sort of file, stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, IdentityKind, Keys};

/// A word for machines, and what it says to people.
pub(super) type Kind = (&'static str, &'static str);

const CONFIG: Kind = ("config", "A fault of the configuration");
const PACK: Kind = ("pack", "A fault of a pack: which request is which action");
const PACK_CASES: Kind =
    ("pack-cases", "A case that a pack does not fulfil, or that is written wrong");
const POLICY: Kind = ("policy", "A fault of a policy's rules");
const POLICY_CASES: Kind =
    ("policy-cases", "A case that a policy does not fulfil, or that is written wrong");
const PRICES: Kind = ("prices", "A fault of the price file");
const KEYS: Kind = ("keys", "A fault of the keys that prove who is asking");
const CERTIFICATE: Kind = ("certificate", "A certificate or private key that cannot be used");
const GEO: Kind = ("geo", "A GeoIP database or network list that cannot be used");
const OTHER: Kind = ("file", "A file or secret that cannot be used");

/// Which file is of which kind.
pub(super) struct Kinds(HashMap<PathBuf, Kind>);

impl Kinds {
    pub fn new(path: &Path, config: Option<&Config>) -> Self {
        let mut kinds = HashMap::from([(path.to_owned(), CONFIG)]);
        let Some(config) = config else { return Self(kinds) };
        for pair in &config.listen.tls {
            kinds.insert(pair.certificate.path.clone(), CERTIFICATE);
            kinds.insert(pair.key.path.clone(), CERTIFICATE);
        }
        let geo = [&config.geo.city, &config.geo.asn, &config.geo.lists];
        kinds.extend(geo.into_iter().flatten().map(|file| (file.path.clone(), GEO)));
        let prices = config.prices.as_ref().and_then(config::Prices::file);
        kinds.extend(prices.map(|file| (file.path.clone(), PRICES)));
        for site in &config.sites {
            kinds.extend(site.actions.iter().map(|pack| (pack.path.clone(), PACK)));
            kinds.insert(site.policy.path.clone(), POLICY);
            kinds.extend(site.identity.iter().filter_map(|identity| match &identity.kind {
                IdentityKind::Jwt { keys: Keys::File(file), .. }
                | IdentityKind::ApiKeyFile { accounts: file } => Some((file.path.clone(), KEYS)),
                _ => None,
            }));
        }
        Self(kinds)
    }

    pub fn of(&self, path: &Path) -> Kind {
        let name = path.to_string_lossy();
        let listed = |parent: &Path| self.0.get(parent).copied();
        match listed(path).or_else(|| path.parent().and_then(listed).filter(|it| *it == GEO)) {
            Some(kind) => kind,
            None if name.ends_with(".actions.cases.toml") => PACK_CASES,
            None if name.ends_with(".cases.toml") => POLICY_CASES,
            None if name.ends_with(".policy.toml") => POLICY,
            None => OTHER,
        }
    }
}
