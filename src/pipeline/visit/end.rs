//! How a request ends: it is counted, refused in words if it must be, and answered under its own name.
//!
//! Never decides. Invariant: every request is counted once, however often it was decided.

use http::{HeaderName, HeaderValue, Response};

use super::Visit;
use crate::audit::Event;
use crate::body::Body;
use crate::gateway::Gateway;
use crate::metrics::PolicyKind;
use crate::pipeline::End;
use crate::rejection::Rejection;
use crate::routes::{Ending, Write};
use crate::types::ActionName;

impl Visit {
    /// Counts and records how it ended, and answers.
    pub(crate) fn close(
        &self,
        gateway: &Gateway,
        ended: Result<Response<Body>, End>,
    ) -> Response<Body> {
        let (quiet, line) = {
            let learnt = self.learnt();
            let quiet =
                learnt.rules.is_empty() && learnt.action.is_none() && learnt.route.is_none();
            // Of a guarded action the intent record says what was said in shadow.
            (quiet, learnt.action.is_none() && learnt.line)
        };
        if !quiet {
            self.count_route(gateway, &ended);
        }
        self.count_overheard(gateway);
        let mut response = match ended {
            Ok(response) => {
                match quiet {
                    true => self.site.ordinary.count(),
                    false => self.count(gateway, None),
                }
                if line {
                    self.note(gateway, Event::Decision, |_| ());
                }
                response
            }
            Err(End::Answer(response)) => {
                self.count(gateway, Some("challenged"));
                response
            }
            Err(End::Reject(rejection)) => {
                self.count(gateway, Some("refused"));
                self.note(gateway, Event::Refusal, |record| {
                    record.note = Some(rejection.to_string().into());
                });
                crate::pipeline::refuse(gateway, self, &rejection)
            }
        };
        if let Ok(mut value) = HeaderValue::from_str(self.head.request.as_str()) {
            // No secret, but never the same again: HTTP/2 need not remember it for the next answer.
            value.set_sensitive(true);
            // In place of what our own pages said, and of nothing else: the upstream's was removed.
            response.headers_mut().insert(STEPGATE_REQUEST, value);
        }
        response
    }

    /// Once for each request, however often it was decided.
    fn count_overheard(&self, gateway: &Gateway) {
        let Some(candidate) = &self.site.candidate else { return };
        let (site, learnt) = (&self.site.name, self.learnt());
        let Some(overheard) = &learnt.overheard else { return };
        for said in &overheard.noted.rules {
            let kind = PolicyKind::Candidate;
            gateway.metrics.rule_spoke(site, &said.rule, &said.outcome, said.shadow, kind);
        }
        match (overheard.live, overheard.verdict) {
            ("allow", "allow") => candidate.agreed.count(),
            (live, verdict) => gateway.metrics.shadow_decision(site, live, verdict),
        }
    }

    /// A write that no action names leaves a count, so that what no rule covers can be seen.
    fn count_route(&self, gateway: &Gateway, ended: &Result<Response<Body>, End>) {
        let Some((_, verdict, sensitive)) = self.learnt().route.clone() else { return };
        if self.head.method.is_safe() {
            return;
        }
        let ending = match ended {
            Ok(response) => Ending::Passed(Some(response.status().as_u16())),
            Err(End::Answer(_)) => Ending::Asked,
            Err(End::Reject(Rejection::BadGateway | Rejection::NoAnswer { .. })) => {
                Ending::Passed(None)
            }
            Err(End::Reject(_)) => Ending::Refused,
        };
        let (method, path) = (self.head.method.as_str(), self.head.path());
        let write = Write { method, path, verdict, sensitive };
        gateway.routes.count(&self.site.name, &write, ending, self.head.received);
    }

    fn count(&self, gateway: &Gateway, verdict: Option<&'static str>) {
        let (site, learnt) = (&self.site.name, self.learnt());
        for said in &learnt.rules {
            let kind = PolicyKind::Live;
            gateway.metrics.rule_spoke(site, &said.rule, &said.outcome, said.shadow, kind);
        }
        if let Some((route, ..)) = &learnt.route {
            gateway.metrics.unclassified_write(site, route);
        }
        let verdict = verdict.or(learnt.verdict).unwrap_or("allow");
        match &learnt.action {
            Some(action) => gateway.metrics.request(site, action, verdict),
            None => gateway.metrics.request(site, &ActionName::new("ordinary"), verdict),
        }
    }
}

const STEPGATE_REQUEST: HeaderName = HeaderName::from_static("stepgate-request");
