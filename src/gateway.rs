//! What all stories share: the live sites, the state, the record, the clock.
//!
//! Never changes under a request: a request takes its `Live` once and keeps it to the end, so that no decision is a
//! mixture of two policies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use ipnet::IpNet;
use tokio::sync::Notify;

use crate::audit::Audit;
use crate::classify::ActionSet;
use crate::crypto::{Keyring, SigningKey};
use crate::forward::{Pool, Upstream};
use crate::identify::Identifier;
use crate::locate::Locate;
use crate::metrics::{Metrics, OrdinaryRequests};
use crate::notices::Teller;
use crate::pages::Pages;
use crate::pipeline::{Candidate, Lines};
use crate::policy::PolicySet;
use crate::prices::Prices;
use crate::routes::Routes;
use crate::stepup::budget::Budget;
use crate::stepup::challenge::Limits;
use crate::stepup::passkey::Verifier;
use crate::stepup::phone;
use crate::store::{NumberKey, Store};
use crate::suspended::Suspended;
use crate::tokens::Tokens;
use crate::types::{Factor, FactorSet, IntentDigest, SiteName};
use crate::world::{Clock, Entropy};

/// One process's common parts.
pub struct Gateway {
    pub live: ArcSwap<Live>,
    pub store: Arc<dyn Store>,
    pub audit: Audit,
    pub metrics: Arc<Metrics>,
    /// Writes that no action names.
    pub routes: Routes,
    pub locator: Arc<dyn Locate>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub keyring: Arc<Keyring>,
    /// Signs `Stepgate-Assertion` and audit checkpoints; the same on every gateway of one store.
    pub signer: Arc<SigningKey>,
    pub limits: Limits,
    /// How long a body may take that must be read whole.
    pub body_timeout: Duration,
    pub trusted_proxies: Vec<IpNet>,
    pub phones: phone::Settings,
    /// What text messages may cost.
    pub budget: Budget,
    /// What is answered where no site is known.
    pub pages: Arc<Pages>,
    /// Rung when a message was queued, so that it goes out at once.
    pub outbox: Arc<Notify>,
    /// Whether an SMS provider is configured at all.
    pub sms: bool,
    /// What operators have closed for a while.
    pub suspended: Suspended,
    /// Takes what owners are to be told.
    pub(crate) notices: Teller,
}

impl Gateway {
    /// Tokens that the site's exchange gave out for its WebSockets.
    pub fn tokens<'a>(&'a self, site: &'a SiteName) -> Tokens<'a> {
        Tokens { store: &*self.store, keyring: &self.keyring, site }
    }

    /// A number as counters know it.
    pub fn number_key(&self, number: &phone::Number) -> NumberKey {
        NumberKey(IntentDigest(self.keyring.mac("number", &[number.as_str().as_bytes()])).hex())
    }
}

/// One core's share: the gateway and this core's upstream connections.
pub struct Worker {
    pub gateway: Arc<Gateway>,
    pub pool: Arc<Pool>,
}

/// Everything that a reload replaces at once.
pub struct Live {
    sites: HashMap<Box<str>, Arc<Site>, RandomState>,
}

impl Live {
    pub fn new(sites: Vec<Site>) -> Self {
        let sites = sites.into_iter().map(Arc::new);
        let by_host = sites.flat_map(|site| {
            let hosts = site.hosts.clone();
            hosts.into_iter().map(move |host| (host.into_boxed_str(), site.clone()))
        });
        Self { sites: by_host.collect() }
    }

    /// The site that serves this host name (lower case, without port).
    pub fn site(&self, host: &str) -> Option<&Arc<Site>> {
        self.sites.get(host)
    }

    /// The prices, which all sites have in common.
    pub fn prices(&self) -> Option<&Arc<Prices>> {
        self.sites.values().next().map(|site| &site.prices)
    }

    pub fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.values()
    }
}

/// One protected exchange front, compiled.
pub struct Site {
    pub name: SiteName,
    pub hosts: Vec<String>,
    /// What links in notices begin with: `https://exchange.example`.
    pub address: String,
    pub identifier: Identifier,
    pub actions: ActionSet,
    pub policy: PolicySet,
    /// A policy that is only observed.
    pub candidate: Option<Candidate>,
    /// How often what is only observed is written down.
    pub lines: Lines,
    pub upstream: Upstream,
    pub prices: Arc<Prices>,
    /// Its pages get the script for single-page applications.
    pub inject: bool,
    /// What its people and programs are answered.
    pub pages: Arc<Pages>,
    /// Who asks passkeys; nothing where the site has none.
    pub passkeys: Option<Verifier>,
    /// Counts its ordinary requests; resolved once, because there are many.
    pub ordinary: OrdinaryRequests,
}

impl Site {
    /// Those of these factors that can be asked for on this host.
    pub fn askable(&self, factors: FactorSet, host: &str, sms: bool) -> FactorSet {
        let can = |factor: &Factor| match factor {
            Factor::Sms => sms,
            Factor::Webauthn => self.passkeys.as_ref().is_some_and(|it| it.serves(host)),
            other => other.approves(),
        };
        factors.iter().filter(can).collect()
    }
}
