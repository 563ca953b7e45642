//! The recorded facts of one request, weighed again by the site's present policy.
//!
//! Never looks anything up and never guesses: what the record does not say is named. Invariant: if the present policy is
//! the one that decided, and the record says all that it looks at, what comes out is what was recorded.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;

use super::loaded;
use crate::assemble;
use crate::audit::{Record, RuleNoted};
use crate::fetch::Fetch;
use crate::metrics::Metrics;
use crate::policy::PolicySet;
use crate::policy::explain::{Explanation, explain};
use crate::policy::recorded::{Noted, Reader, Recorded};
use crate::policy::verdict::{ACCOUNT_THAW, Decision, FACTOR_CHANGE, UNCLASSIFIED};
use crate::serve::render;
use crate::types::PolicyVersion;

/// What the rules say of the recorded facts.
#[derive(Serialize)]
pub(super) struct Anew {
    pub policy: PolicyVersion,
    /// It is the one that decided.
    pub same: bool,
    /// Of all elements together.
    pub verdict: &'static str,
    /// One, or those of a batch that the record tells.
    pub elements: Vec<Explanation>,
    /// Elements of a batch that the record does not tell.
    pub untold: usize,
    /// Facts that these rules look at and that the record does not say.
    pub unsaid: BTreeSet<Arc<str>>,
    /// Rules that say something else than is recorded, if it is the policy that decided.
    pub differs: Vec<Differs>,
}

/// A rule that says something else than it did.
#[derive(Serialize)]
pub(super) struct Differs {
    pub rule: Arc<str>,
    pub recorded: &'static str,
    pub weighed: &'static str,
}

/// # Errors
/// If the record has no facts, or the configuration has no policy for them.
pub(super) fn weighed(path: &Path, record: Option<&Record>) -> anyhow::Result<Anew> {
    let record = record.context("no line says what was decided")?;
    if record.facts.is_empty() {
        bail!("no facts are recorded");
    }
    let config = loaded(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = Fetch::new(None, runtime.handle().clone())?;
    let assembled = assemble::assemble(&config, &fetch, &Metrics::default(), None)
        .map_err(|faults| anyhow::anyhow!("{}", render(&faults)))?;
    let name = record.site.as_ref().context("no line names a site")?;
    let site = assembled.live.sites().find(|site| site.name == *name);
    let site = site.with_context(|| format!("the configuration has no site `{name}`"))?;
    Ok(anew(&site.policy, record))
}

fn anew(policy: &PolicySet, record: &Record) -> Anew {
    let pairs: Vec<(Arc<str>, Arc<str>)> =
        record.facts.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let reader = Reader::new(&[policy]);
    let recorded = reader.read(&Noted {
        time: record.time,
        facts: &pairs,
        elements: record.elements.unwrap_or(1),
        elevations: &record.elevations,
        holds: &record.holds,
        client: record.client,
        country: record.place.as_ref().and_then(|place| place.country.as_deref()),
    });
    let facts = recorded.facts();
    let decision = policy.decide(&facts);
    let noted = |rule: &str| record.rules.iter().any(|noted| noted.rule.as_str() == rule);
    let decision = decision.asked_as_recorded(noted);
    let elements: Vec<Explanation> = facts.iter().map(|facts| explain(policy, facts)).collect();
    let same = record.policy.as_ref() == Some(policy.version());
    Anew {
        policy: policy.version().clone(),
        same,
        verdict: decision.verdict.word(),
        untold: recorded.untold,
        unsaid: unsaid(&reader, &recorded, &elements),
        differs: if same { differs(&decision, &record.rules) } else { Vec::new() },
        elements,
    }
}

fn unsaid(
    reader: &Reader,
    recorded: &Recorded<'_>,
    elements: &[Explanation],
) -> BTreeSet<Arc<str>> {
    let unsaid: Vec<&str> = recorded.unsaid.iter().map(|number| reader.name(*number)).collect();
    let looked_at = elements.iter().flat_map(|it| &it.rules).flat_map(|rule| &rule.looked_at);
    let names = looked_at.map(|fact| &fact.name);
    names.filter(|name| unsaid.contains(&&***name)).cloned().collect()
}

fn differs(decision: &Decision, recorded: &[RuleNoted]) -> Vec<Differs> {
    let now = decision.said.iter().map(|said| said.rule.as_str());
    let rules: BTreeSet<&str> = now.chain(recorded.iter().map(|it| it.rule.as_str())).collect();
    let differs = |rule: &str| {
        let noted = recorded.iter().find(|noted| noted.rule.as_str() == rule);
        let said = decision.said.iter().find(|said| said.rule.as_str() == rule);
        let recorded = voice(noted.map(|it| (it.shadow, it.satisfied)));
        let weighed = voice(said.map(|it| (it.shadow, it.satisfied)));
        (recorded != weighed).then(|| Differs { rule: rule.into(), recorded, weighed })
    };
    // What the pack says of a request is no rule of the policy.
    rules
        .into_iter()
        .filter(|rule| ![UNCLASSIFIED, FACTOR_CHANGE, ACCOUNT_THAW].contains(rule))
        .filter_map(differs)
        .collect()
}

/// How a rule spoke: whether for the record only, and whether it was met already.
pub(super) fn voice(said: Option<(bool, bool)>) -> &'static str {
    match said {
        None => "silent",
        Some((true, _)) => "shadow",
        Some((false, true)) => "satisfied",
        Some((false, false)) => "speaks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;

    #[test]
    fn of_a_batch_each_recorded_element_is_weighed_and_the_others_are_counted() {
        let text = "version = 1\n[[rule]]\nid = \"large\"\non = \"withdrawal\"\nwhen = \"usd_value > 1_000\"\nrequire = \"totp\"\n[[rule]]\nid = \"young\"\non = \"withdrawal\"\nwhen = \"address.age < 24h\"\nhold = \"24h\"\nshadow = true\n";
        let source = Source::new("p.toml", text);
        let policy = crate::policy::load(&source, &[], &[], &mut Vec::new()).unwrap();
        let line = |policy: &str| {
            let facts = r#"{"action":"withdrawal","usd_value":"5","usd_value[1]":"5000"}"#;
            let rules = r#"[{"rule":"large","outcome":"require"}]"#;
            let line = format!(
                r#"{{"time":"2026-01-05T12:00:00.000Z","event":"decision","elements":40,"facts":{facts},"rules":{rules},"policy":"{policy}"}}"#
            );
            serde_json::from_str::<Record>(&line).unwrap()
        };
        let own = anew(&policy, &line(policy.version().as_str()));
        let verdicts: Vec<&str> = own.elements.iter().take(3).map(|it| it.verdict).collect();
        assert_eq!((own.same, own.verdict, own.untold), (true, "require", 8));
        assert_eq!(verdicts, ["allow", "require", "allow"]);
        assert_eq!(own.unsaid.iter().map(|it| &**it).collect::<Vec<_>>(), ["address.age"]);
        // In doubt a rule speaks: only this one does otherwise than recorded.
        let differs = own.differs.iter().map(|it| (&*it.rule, it.recorded, it.weighed));
        assert_eq!(differs.collect::<Vec<_>>(), [("young", "silent", "shadow")]);
        let other = anew(&policy, &line("0123456789abcdef"));
        assert!(!other.same && other.differs.is_empty());
    }
}
