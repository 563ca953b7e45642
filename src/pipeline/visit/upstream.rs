//! What the exchange is told of a request beside its bytes, and what its silence means.
//!
//! Never retries. Invariant: an assertion says what was decided, and nothing that was not.

use http::{HeaderValue, header};
use serde_json::json;

use super::{Speaks, Visit};
use crate::forward::{ForwardError, Stamp};
use crate::gateway::Gateway;
use crate::identify::Identity;
use crate::inbound::Inbound;
use crate::pages::Audience;
use crate::rejection::Rejection;
use crate::types::{ActionName, Factor, FactorSet, IntentDigest};

impl Visit {
    /// The head for the upstream. The headers go with it, because copying them is the dearest thing that ordinary
    /// traffic could be made to pay for.
    pub(in crate::pipeline) fn part_with_head(&mut self) -> Inbound {
        let audience = self.audience();
        let speaks = match audience {
            Audience::Page => Speaks::Known(self.language()),
            Audience::Api => {
                Speaks::Accepts(self.head.headers.get(header::ACCEPT_LANGUAGE).cloned())
            }
        };
        self.spoken = Some((audience, speaks));
        let headers = std::mem::take(&mut self.head.headers);
        let head = &self.head;
        Inbound {
            request: head.request.clone(),
            method: head.method.clone(),
            host: head.host.clone(),
            authority: head.authority.clone(),
            target: head.target.clone(),
            version: head.version,
            headers,
            client: head.client,
            received: head.received,
        }
    }

    /// What the upstream is told beside the request itself.
    pub(in crate::pipeline) fn stamp(
        &self,
        assertion: Option<HeaderValue>,
        guarded: bool,
    ) -> Stamp {
        Stamp { on_behalf: self.caller.on_behalf.clone(), assertion, guarded }
    }

    /// `Stepgate-Assertion`: what was decided, for the exchange to check if it wants (ES256, 60 s).
    pub(in crate::pipeline) fn assertion(
        &self,
        gateway: &Gateway,
        identity: &Identity,
        factors: FactorSet,
    ) -> Option<HeaderValue> {
        let learnt = self.learnt();
        let factors: Vec<&str> = factors.iter().map(Factor::word).collect();
        let rules: Vec<&str> =
            learnt.rules.iter().filter(|it| !it.shadow).map(|it| it.rule.as_str()).collect();
        let claims = json!({
            "iss": "stepgate",
            "aud": self.site.name.as_str(),
            "sub": &*identity.account.name,
            "iat": self.head.received.seconds(),
            "exp": self.head.received.seconds() + 60,
            "jti": self.head.request.as_str(),
            "action": learnt.action.as_ref().map(ActionName::as_str),
            "intent": learnt.intent.as_ref().map(IntentDigest::hex),
            "factors": factors,
            "rules": rules,
        });
        let token = gateway.signer.sign_jws("stepgate-assertion+jwt", &claims).ok()?;
        HeaderValue::from_str(&token).ok()
    }

    /// The upstream gave no answer.
    pub(in crate::pipeline) fn upstream_failed(
        &self,
        error: &ForwardError,
        guarded: bool,
    ) -> Rejection {
        if let ForwardError::BrokenBody = error {
            tracing::debug!(request = %self.head.request, "a request's body broke off on its way");
            return Rejection::BadRequest("the body ended early");
        }
        tracing::warn!(%error, request = %self.head.request, "the upstream gave no answer");
        match error {
            ForwardError::Refused(why) => Rejection::BadRequest(why),
            ForwardError::NotSent(_) => Rejection::BadGateway,
            ForwardError::NoAnswer(_) | ForwardError::BrokenBody => {
                Rejection::NoAnswer { unknown: guarded }
            }
        }
    }
}
