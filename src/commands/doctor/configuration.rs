//! The configuration and every file that `check` reads, through the same functions.
//!
//! Never stops at a fault: what could be read in spite of it is what the other examinations look at.

use std::path::Path;
use std::sync::Arc;

use super::probe::Probe;
use super::{Finding, Here};
use crate::assemble::{self, Assembled};
use crate::config;
use crate::fetch::Fetch;
use crate::messenger;
use crate::metrics::Metrics;
use crate::types::Factor;
use crate::world::Clock;

const SUBJECT: &str = "configuration";

/// `None` if it cannot be read at all. GeoIP files and certificates have examinations of their own.
pub(super) fn read(
    path: &Path,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Option<Here>, Vec<Finding>)> {
    let mut faults = Vec::new();
    let config = config::gather_faults(path, &mut faults);
    let mut assembled = None;
    if let Some(config) = &config {
        let fetch = Fetch::new(None, tokio::runtime::Handle::current())?;
        assemble::master_key(config, &mut faults);
        assemble::operators(config, &mut faults);
        let handle = tokio::runtime::Handle::current();
        messenger::build(config, &fetch, &clock, &handle, &mut faults);
        config.redis_settings(&mut faults);
        match assemble::assemble(config, &fetch, &Metrics::default(), None) {
            Ok(found) => assembled = Some(found),
            Err(found) => faults.extend(found),
        }
    }
    let advice = format!("`stepgate check -c {}` shows the line", path.display());
    let mut findings: Vec<_> =
        faults.iter().map(|fault| Finding::of(SUBJECT, fault, &advice)).collect();
    let Some(config) = config else { return Ok((None, findings)) };
    if let (Some(assembled), true) = (&assembled, findings.is_empty()) {
        let (sites, cases) = (config.sites.len(), assembled.cases);
        let what = format!("{}: {sites} site(s), {cases} case(s)", path.display());
        findings.push(Finding::ok(SUBJECT, what));
    }
    let policies = |assembled: &Assembled| assembled.live.sites().cloned().collect::<Vec<_>>();
    let sites = assembled.as_ref().map(policies);
    let facts = sites.as_ref().map(|sites| {
        sites.iter().flat_map(|site| site.policy.facts()).map(str::to_owned).collect()
    });
    let mut need_sms: Vec<String> = sites
        .iter()
        .flatten()
        .flat_map(|site| site.policy.cannot_do_without(Factor::Sms))
        .map(|rule| rule.as_str().to_owned())
        .collect();
    need_sms.sort();
    need_sms.dedup();
    Ok((Some(Here { config, clock, facts, need_sms, probe: Probe::new()? }), findings))
}
