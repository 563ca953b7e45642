//! What of a request its account's owner is told.
//!
//! Never waits, and never fails a request: see `notices`. Invariant: what is told was decided, not only said in shadow.

use std::sync::Arc;

use http::header;

use super::Visit;
use crate::gateway::Gateway;
use crate::notices::{Occurrence, claim, contacts_among, of_factor, of_rule, quiet_of};
use crate::policy::verdict::{Decision, Requirement, Said, Verdict};
use crate::stepup::device::Device;
use crate::stepup::notice::{About, Change};
use crate::store::{Enrolled, Quiet};
use crate::types::{AccountId, ActionName, Factor, RuleId, Shown};

impl Visit {
    /// Tells the account that asked, if there is one.
    pub(crate) fn tell(&self, gateway: &Gateway, about: About) {
        // One that was kept up and is asked for again is another.
        let detail = match about {
            About::ThawAsked { opens } => opens.0.to_string(),
            _ => String::new(),
        };
        let quiet = quiet_of(&about, &detail);
        self.tell_quietly(gateway, about, quiet);
    }

    /// Tells of a change that its owner made, those who were its contacts before included.
    pub(crate) fn tell_of_factor(
        &self,
        gateway: &Gateway,
        factor: Factor,
        change: Change,
        before: &[Enrolled],
    ) {
        let Some((account, claimed)) = self.owner() else { return };
        let about = About::FactorChange { factor, change };
        let quiet = of_factor(&about, factor);
        let mut before = contacts_among(gateway, &account, before);
        // Until now this was where its owner was reached.
        claim(&mut before, &claimed);
        let blank = Occurrence::new(account, about, quiet, gateway.clock.now());
        gateway.notices.tell(Occurrence { claimed, before, ..self.seen(blank) });
    }

    /// Tells another account than the one that asked: nobody has to be signed in for some of it.
    pub(crate) fn tell_of(&self, gateway: &Gateway, account: AccountId, about: About) {
        let quiet = quiet_of(&about, "");
        let blank = Occurrence::new(account, about, quiet, gateway.clock.now());
        gateway.notices.tell(self.seen(blank));
    }

    /// A session is stopped at a place that is new to its account: told once for each session and country.
    pub(super) fn tell_of_place(&self, gateway: &Gateway, requirement: &Requirement) {
        if requirement.terms.iter().any(|term| term.geographic) {
            let credential = self.credential().map(|it| it.id.to_string()).unwrap_or_default();
            let quiet =
                quiet_of(&About::RemoteLogin, &format!("{}:{credential}", self.place_key()));
            self.tell_quietly(gateway, About::RemoteLogin, quiet);
        }
    }

    /// Rules that spoke and say `notify`. Those that ask because of the place are told of when they ask, and a freeze
    /// when it has frozen.
    pub(super) fn tell_of_rules(
        &self,
        gateway: &Gateway,
        decision: &Decision,
        action: Option<&ActionName>,
        shown: &[Shown],
    ) {
        if decision.said.is_empty() || !gateway.notices.is_on() {
            return;
        }
        let aloud = |said: &&Said| !said.shadow && !said.satisfied && said.outcome != "freeze";
        for said in decision.said.iter().filter(aloud) {
            let (asks_for_place, why) = terms_of(&decision.verdict, &said.rule);
            if asks_for_place || !self.site.policy.notifies(&said.rule) {
                continue;
            }
            let action = action.cloned().unwrap_or_else(|| ActionName::new("ordinary"));
            let about = About::Rule { action, shown: shown.to_vec(), why };
            let quiet = of_rule(&about, &said.rule, shown);
            self.tell_quietly(gateway, about, quiet);
        }
    }

    fn tell_quietly(&self, gateway: &Gateway, about: About, quiet: Quiet) {
        let Some((account, claimed)) = self.owner() else { return };
        if !gateway.notices.is_news(&account, &quiet, gateway.clock.now()) {
            return;
        }
        let blank = Occurrence::new(account, about, quiet, gateway.clock.now());
        gateway.notices.tell(Occurrence { claimed, ..self.seen(blank) });
    }

    /// With what is known of whoever asked.
    fn seen(&self, occurrence: Occurrence) -> Occurrence {
        let agent = self.head.headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok());
        Occurrence {
            place: Some(self.whereabouts()),
            client: Some(self.head.client),
            device: agent.and_then(Device::of),
            site: Some(self.site.clone()),
            language: self.language(),
            ..occurrence
        }
    }

    /// `Frankfurt am Main, DE`, or the address where no country is known.
    fn whereabouts(&self) -> Arc<str> {
        match (&self.place().city, &self.place().country) {
            (Some(city), Some(country)) => format!("{city}, {country}").into(),
            (None, Some(country)) => country.clone(),
            _ => self.head.client.to_string().into(),
        }
    }
}

/// Whether this rule asks because of the place, and its own words.
fn terms_of(verdict: &Verdict, rule: &RuleId) -> (bool, Option<Arc<str>>) {
    match verdict {
        Verdict::Require(requirement) => {
            let term = requirement.terms.iter().find(|term| term.rule == *rule);
            term.map_or((false, None), |term| (term.geographic, term.why.clone()))
        }
        Verdict::Hold { why, .. } | Verdict::Deny { why } => (false, why.clone()),
        Verdict::Allow(_) | Verdict::Freeze { .. } => (false, None),
    }
}
