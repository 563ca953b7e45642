//! What the policy says of the request, with the facts that it could see.
//!
//! Never decides otherwise than the pipeline: facts are gathered in the same way, and only those that were set by hand
//! differ.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::person::Person;
use crate::gateway::Site;
use crate::inbound::Inbound;
use crate::locate::Place;
use crate::pipeline::{geo_of, session_age_ms};
use crate::policy::explain::{Explanation, explain};
use crate::policy::facts::{AddressFacts, Counters, Decimal, Fact, Facts, Geo, HoldRunning};
use crate::policy::history::History;
use crate::policy::reasons::{FactReason, reasons};
use crate::policy::staged::Staged;
use crate::policy::table::FIELD_FACTS;
use crate::policy::verdict::Decision;
use crate::prices::decimal;
use crate::store::Standing;
use crate::types::{ActionName, Fields};

/// What is known of the account beside the request.
#[derive(Default)]
pub(super) struct Known {
    /// The gateway said so; else nothing is known, and its history counts as empty.
    pub live: bool,
    pub standing: Standing,
    pub counters: Counters,
    /// None: the request has no destination, or not one.
    pub address: Option<AddressFacts>,
    pub holds: Vec<HoldRunning>,
}

/// One element of a batch, or the one that there is.
#[derive(Debug, Serialize)]
pub(super) struct Element {
    pub facts: Vec<FactReason>,
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// What the decision stands on.
pub(super) struct Grounds<'a> {
    pub site: &'a Site,
    pub head: &'a Inbound,
    pub place: &'a Place,
    pub person: &'a Person,
    pub known: &'a Known,
    /// Facts set by hand.
    pub set: Vec<(&'a str, &'a str)>,
}

/// `name=value`, each.
///
/// # Errors
/// For what is not.
pub(super) fn pairs(facts: &[String]) -> anyhow::Result<Vec<(&str, &str)>> {
    let pair = |text: &'_ String| -> anyhow::Result<(usize, usize)> {
        let at = text.find('=').ok_or_else(|| anyhow!("--fact {text}: write NAME=VALUE"))?;
        Ok((at, at + 1))
    };
    let mut pairs = Vec::new();
    for text in facts {
        let (end, begin) = pair(text)?;
        let (name, value) = (text.get(..end).unwrap_or(""), text.get(begin..).unwrap_or(""));
        pairs.push((name.trim(), value.trim()));
    }
    pairs.sort_by_key(|(name, _)| Staged::rank(name));
    Ok(pairs)
}

impl Grounds<'_> {
    /// Decides on a guarded action.
    ///
    /// # Errors
    /// If a fact cannot be set so.
    pub fn guarded(
        &self,
        action: &ActionName,
        elements: &[Fields],
    ) -> anyhow::Result<(Vec<Element>, Decision)> {
        let elements: Vec<Fields> = elements
            .iter()
            .map(|fields| self.set_fields(action, fields))
            .collect::<Result<_, _>>()?;
        let place_key = self.place.key(self.head.client);
        let facts = elements.iter().map(|fields| self.element(action.as_str(), fields, &place_key));
        self.decide(facts.collect())
    }

    /// Decides on ordinary traffic, perhaps with a name.
    ///
    /// # Errors
    /// If a fact cannot be set so.
    pub fn ordinary(
        &self,
        action: Option<&ActionName>,
    ) -> anyhow::Result<(Vec<Element>, Decision)> {
        let (nothing, place_key) = (Fields::default(), self.place.key(self.head.client));
        let name = action.map_or("ordinary", ActionName::as_str);
        self.decide(vec![self.common(name, &nothing, &place_key)])
    }

    fn decide(&self, facts: Vec<Facts<'_>>) -> anyhow::Result<(Vec<Element>, Decision)> {
        let policy = &self.site.policy;
        if self.set.is_empty() {
            let elements = facts.iter().map(|facts| self.explained(facts)).collect();
            return Ok((elements, policy.decide(&facts)));
        }
        let staged: Vec<Staged> =
            facts.iter().map(|facts| self.staged(facts)).collect::<Result<_, _>>()?;
        let facts: Vec<Facts<'_>> = staged.iter().map(Staged::facts).collect();
        let elements = facts.iter().map(|facts| self.explained(facts)).collect();
        Ok((elements, policy.decide(&facts)))
    }

    fn explained(&self, facts: &Facts<'_>) -> Element {
        Element { facts: reasons(facts), explanation: explain(&self.site.policy, facts) }
    }

    fn history(&self) -> History {
        let standing = &self.known.standing;
        let countries = standing.countries.iter().map(ToString::to_string).collect();
        History { countries, asns: standing.asns.clone(), ..History::default() }
    }

    fn staged(&self, facts: &Facts<'_>) -> anyhow::Result<Staged> {
        let mut staged = Staged::of(facts, self.history());
        for (name, value) in self.set.iter().filter(|(name, _)| !is_field(name)) {
            set(&mut staged, name, value, self.site)?;
            staged.unsettle(name);
        }
        staged.settle();
        Ok(staged)
    }

    /// Fields first: what an amount is worth follows from them.
    fn set_fields(&self, action: &ActionName, fields: &Fields) -> anyhow::Result<Fields> {
        let mut staged = Staged::new(action.as_str(), fields.clone(), History::default());
        for (name, value) in self.set.iter().filter(|(name, _)| is_field(name)) {
            set(&mut staged, name, value, self.site)?;
        }
        Ok(staged.facts().fields.clone())
    }

    fn element<'b>(&'b self, action: &'b str, fields: &'b Fields, place_key: &'b str) -> Facts<'b> {
        let never = AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 };
        let address = match (fields.find("address"), self.known.address) {
            (None, _) => Fact::Absent,
            (Some(_), Some(address)) => Fact::Known(address),
            (Some(_), None) if self.known.live => Fact::Unreadable,
            (Some(_), None) => Fact::Known(never),
        };
        Facts {
            usd_value: usd(self.site, fields, self.head),
            counters: Fact::Known(&self.known.counters),
            address,
            ..self.common(action, fields, place_key)
        }
    }

    fn common<'b>(&'b self, action: &'b str, fields: &'b Fields, place_key: &'b str) -> Facts<'b> {
        let (now, standing) = (self.head.received, &self.known.standing);
        let identity = self.person.identity.as_ref();
        Facts {
            now,
            site: self.site.name.as_str(),
            action,
            fields,
            usd_value: Fact::Absent,
            client: self.head.client,
            credential: identity.map(|identity| identity.credential.kind),
            session_age_ms: identity.map_or(Fact::Absent, |of| session_age_ms(of, now)),
            geo: self.geo(),
            counters: Fact::Absent,
            address: Fact::Absent,
            factors: standing.factors,
            security_change_age_ms: standing
                .security_changed
                .map_or(Fact::Absent, |at| Fact::Known(now.since_ms(at))),
            elevations: &standing.elevations,
            place_key,
            holds: &self.known.holds,
        }
    }

    fn geo(&self) -> Geo<'_> {
        let (head, has_account) = (self.head, self.person.identity.is_some());
        geo_of(self.place, head.client, &self.known.standing, has_account, head.received)
    }
}

fn is_field(name: &str) -> bool {
    FIELD_FACTS.contains(&name) || name.starts_with("field.")
}

fn set(staged: &mut Staged, name: &str, value: &str, site: &Site) -> anyhow::Result<()> {
    let Err(wrong) = staged.set(name, value, site.policy.vocabulary()) else { return Ok(()) };
    let help = wrong.help.map(|help| format!(" ({help})")).unwrap_or_default();
    bail!("--fact {name}={value}: {}{help}", wrong.message)
}

fn usd(site: &Site, fields: &Fields, head: &Inbound) -> Fact<Decimal> {
    let amount = match (fields.find("amount"), fields.text("amount")) {
        (None, _) => Fact::Absent,
        (_, Some(text)) => decimal(text).map_or(Fact::Unreadable, Fact::Known),
        (Some(_), None) => Fact::Unreadable,
    };
    let asset: Option<&Arc<str>> = fields.text("asset");
    site.prices.value(asset.map(|asset| &**asset), amount, head.received)
}
