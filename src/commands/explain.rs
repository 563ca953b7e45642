//! `stepgate explain`: what the gateway would decide about one raw request, and why.
//!
//! Never asks a running gateway or its store: the account's history is taken as empty and said so. Invariant: it
//! classifies and decides with the same functions as the pipeline.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde_json::json;

use crate::assemble;
use crate::classify::Detected;
use crate::config;
use crate::fetch::Fetch;
use crate::gateway::Site;
use crate::inbound::Inbound;
use crate::locate::travel::geo_facts;
use crate::locate::{Locate, Place};
use crate::metrics::Metrics;
use crate::policy::explain::explain;
use crate::policy::facts::{AddressFacts, Counters, Fact, Facts};
use crate::prices::decimal;
use crate::rawhttp;
use crate::serve::render;
use crate::types::{ActionName, CredentialKind, FactorSet, Fields, Shown};
use crate::world::{Clock, SystemClock};

/// Explains one request; exits with 0 whatever the verdict.
///
/// # Errors
/// If configuration or request cannot be read.
pub fn run(
    path: &Path,
    request: &Path,
    ip: Option<IpAddr>,
    account: Option<&str>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let faulty = |faults: Vec<crate::fault::Fault>| anyhow!("{}", render(&faults));
    let config = config::load(path).map_err(faulty)?;
    let raw = match request == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin())?,
        false => std::fs::read_to_string(request)
            .with_context(|| format!("cannot read {}", request.display()))?,
    };
    let (mut head, body) = rawhttp::read(&raw).map_err(|error| anyhow!("the request: {error}"))?;
    head.received = SystemClock.now();
    head.client = ip.unwrap_or(head.client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = Fetch::new(None, runtime.handle().clone())?;
    let assembled =
        assemble::assemble(&config, &fetch, &Metrics::default(), None).map_err(faulty)?;
    let mut faults = Vec::new();
    let locator = assemble::locator(&config, Arc::new(SystemClock), &mut faults);
    let locator = locator.ok_or_else(|| faulty(faults))?;
    let Some(site) = assembled.live.site(&head.host) else {
        let hosts: Vec<&str> =
            config.sites.iter().flat_map(|site| &site.hosts).map(String::as_str).collect();
        bail!("the request's Host `{}` is not one of: {}", head.host, hosts.join(", "));
    };
    let place = locator.place(head.client);
    let seen = Seen { site, head: &head, place: &place, account };
    seen.print(&body, as_json)
}

struct Seen<'a> {
    site: &'a Site,
    head: &'a Inbound,
    place: &'a Place,
    account: Option<&'a str>,
}

impl Seen<'_> {
    fn print(&self, body: &[u8], as_json: bool) -> anyhow::Result<ExitCode> {
        let head = self.head;
        let detected = match self.site.actions.detect_whole(head, body) {
            Ok(detected) => detected,
            Err(refused) => return self.refused("not-canonical", &refused.to_string(), as_json),
        };
        match detected {
            Detected::Selected => self.refused("not-canonical", "no operation is named", as_json),
            Detected::NotCanonical(why) => self.refused("not-canonical", why, as_json),
            Detected::Unlisted { say, route, .. } => {
                let why = format!("a write that no action names, below {route}: {say:?}");
                self.refused("unclassified", &why, as_json)
            }
            Detected::Ordinary => {
                self.weigh(&ActionName::new("ordinary"), &[Fields::default()], &[], as_json)
            }
            Detected::Action(rule) => match rule.read(head, body) {
                Err(refused) => self.refused("not-canonical", &refused.to_string(), as_json),
                Ok(action) => self.weigh(&action.name, &action.elements, &action.shown, as_json),
            },
        }
    }

    fn refused(&self, kind: &str, why: &str, as_json: bool) -> anyhow::Result<ExitCode> {
        if as_json {
            say!("{}", json!({ "site": self.site.name, "refused": kind, "why": why }));
        } else {
            say!("site     {}\nrefused  {kind}: {why}", self.site.name);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn weigh(
        &self,
        action: &ActionName,
        elements: &[Fields],
        shown: &[Shown],
        as_json: bool,
    ) -> anyhow::Result<ExitCode> {
        let (counters, key) = (Counters::default(), self.place.key(self.head.client));
        let explanations: Vec<_> = elements
            .iter()
            .map(|fields| explain(&self.site.policy, &self.facts(action, fields, &counters, &key)))
            .collect();
        if as_json {
            let report = json!({
                "site": self.site.name, "action": action, "account": self.account,
                "history": "empty", "place": self.place, "shown": shown,
                "elements": explanations,
            });
            say!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(ExitCode::SUCCESS);
        }
        let place = self.place.country.as_deref().unwrap_or(self.place.network.word());
        say!(
            "site     {}\naction   {action}\nplace    {} ({place})",
            self.site.name,
            self.head.client
        );
        say!("account  {} (history taken as empty)", self.account.unwrap_or("nobody"));
        for line in shown {
            say!("shown    {} = {}", line.name, line.value);
        }
        for explanation in explanations {
            say!("\n{explanation}");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn facts<'b>(
        &'b self,
        action: &'b ActionName,
        fields: &'b Fields,
        counters: &'b Counters,
        place_key: &'b str,
    ) -> Facts<'b> {
        let now = self.head.received;
        let amount = fields.text("amount").and_then(|text| decimal(text));
        let amount = match fields.find("amount") {
            None => Fact::Absent,
            Some(_) => amount.map_or(Fact::Unreadable, Fact::Known),
        };
        let asset = fields.text("asset").map(|asset| &**asset);
        let never = AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 };
        Facts {
            now,
            site: self.site.name.as_str(),
            action: action.as_str(),
            fields,
            usd_value: self.site.prices.value(asset, amount, now),
            client: self.head.client,
            credential: self.account.map(|_| CredentialKind::Session),
            session_age_ms: Fact::Absent,
            geo: geo_facts(self.place, self.head.client, &[], &[], None, now),
            counters: Fact::Known(counters),
            address: fields.find("address").map_or(Fact::Absent, |_| Fact::Known(never)),
            factors: FactorSet::default(),
            security_change_age_ms: Fact::Absent,
            elevations: &[],
            place_key,
            holds: &[],
        }
    }
}
