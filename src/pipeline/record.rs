//! One request from accept to answer: what is known of it, and the record it leaves.
//!
//! Never written for ordinary traffic that passes: only guarded actions, refusals, challenges and, now and then, what a
//! shadow rule or a candidate policy would have done leave a line.
//! Invariant: a guarded request's intent is durable before its first byte goes upstream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderName, HeaderValue, Method, Response, header};
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::socket::{Frame, Tunnel};
use super::{Caller, End};
use crate::audit::{Event, PlaceNoted, Record, RequestState, RuleNoted, ShadowNoted, redact};
use crate::body::Body;
use crate::classify::{Action, Echo, Unclassified};
use crate::forward::upgrade::asks_for_websocket;
use crate::forward::{ForwardError, Stamp};
use crate::gateway::{Gateway, Site};
use crate::identify::{Identity, LastToken};
use crate::inbound::Inbound;
use crate::locate::Place;
use crate::metrics::PolicyKind;
use crate::notices::Claimed;
use crate::pages::language::{self, negotiate};
use crate::pages::{self, Audience, Ctx, Language, Native, NoText, csrf};
use crate::policy::facts::{Elevation, Facts, HoldRunning};
use crate::policy::shadow::Observed;
use crate::policy::told::{self, Told};
use crate::policy::verdict::{Decision, Verdict};
use crate::rejection::Rejection;
use crate::routes::{Ending, Write};
use crate::stepup::Proof;
use crate::stepup::challenge::{Challenge, Scope};
use crate::store::{Settled, StoreError};
use crate::types::{
    AccountId, ActionName, ChallengeId, Credential, Factor, FactorSet, Fields, IntentDigest, Shown,
    UnixMs,
};

/// A request on its way, with everything that was learnt of it so far.
pub(crate) struct Visit {
    pub head: Inbound,
    pub site: Arc<Site>,
    pub place: Arc<Place>,
    /// What an elevation given here is tied to.
    pub place_key: Arc<str>,
    caller: Arc<Caller>,
    pub no_fields: Fields,
    /// Work that must end even if the client goes away.
    pub tasks: TaskTracker,
    /// It is a message of a private WebSocket.
    pub(super) frame: Option<Frame>,
    /// To whom it would be answered and in which language, once the headers have gone upstream.
    spoken: Option<(Audience, Speaks)>,
    released: Option<ChallengeId>,
    learnt: Mutex<Learnt>,
}

/// The language of an answer: a person's is known, a program's is worked out if it is needed after all.
enum Speaks {
    Known(Language),
    Accepts(Option<HeaderValue>),
}

/// What later stages add.
#[derive(Default)]
struct Learnt {
    account: Option<AccountId>,
    credential: Option<Credential>,
    /// Where its owner can be told things, as the verified token says.
    claimed: Claimed,
    action: Option<ActionName>,
    shown: Vec<Shown>,
    intent: Option<IntentDigest>,
    rules: Vec<RuleNoted>,
    grounds: Grounds,
    verdict: Option<&'static str>,
    overheard: Option<Overheard>,
    /// It is ordinary traffic, and what was said of it in shadow is written down if it passes.
    line: bool,
    challenge: Option<ChallengeId>,
    bearer: bool,
    /// Bounded route of a write that no action names, what the pack says of it, and whether it lies below a sensitive
    /// prefix.
    route: Option<(Arc<str>, Unclassified, bool)>,
    /// What of it an answer in the exchange's words repeats, if more than the query says it.
    echo: Option<Echo>,
    /// One of the gateway's own addresses.
    own: bool,
    /// The text message that its challenge needs cannot be sent.
    no_text: Option<NoText>,
    /// Which browser asked, where only that one may go on.
    browser: Option<Arc<str>>,
    /// The client's end of a tunnel, if it asked for one.
    upgrade: Option<Tunnel>,
}

/// What it was decided on: evidence, and enough to decide it again under another policy.
#[derive(Clone, Default)]
struct Grounds {
    facts: Told,
    elements: Option<usize>,
    elevations: Vec<Elevation>,
    holds: Vec<HoldRunning>,
}

/// What the candidate policy said beside the live one.
struct Overheard {
    noted: ShadowNoted,
    live: &'static str,
    verdict: &'static str,
}

impl Visit {
    pub(super) fn new(
        head: Inbound,
        site: Arc<Site>,
        caller: Arc<Caller>,
        tasks: TaskTracker,
        upgrade: Option<Tunnel>,
    ) -> Self {
        let upgrade = upgrade.filter(|_| asks_for_websocket(&head));
        Self {
            head,
            site,
            place: caller.place.clone(),
            place_key: caller.place_key.clone(),
            caller,
            no_fields: Fields::default(),
            tasks,
            frame: None,
            spoken: None,
            released: None,
            learnt: Mutex::new(Learnt { upgrade, ..Learnt::default() }),
        }
    }

    /// A message of a private WebSocket.
    pub(super) fn of_frame(
        head: Inbound,
        site: Arc<Site>,
        caller: Arc<Caller>,
        tasks: TaskTracker,
        frame: Frame,
    ) -> Self {
        Self { frame: Some(frame), ..Self::new(head, site, caller, tasks, None) }
    }

    /// By which id its answer will be known.
    pub(super) fn framed(&mut self, id: Option<Arc<str>>) {
        if let Some(frame) = &mut self.frame {
            frame.id = id;
        }
    }

    /// The same visitor with a request that was held, decided anew.
    ///
    /// # Errors
    /// When its host is none.
    pub(crate) fn again(&self, head: Inbound) -> Result<Self, Rejection> {
        let caller = Arc::new(self.caller.at(&head.authority)?);
        let again = Self::new(head, self.site.clone(), caller, self.tasks.clone(), None);
        {
            let (mine, mut its) = (self.learnt(), again.learnt());
            its.account = mine.account.clone();
            its.credential = mine.credential.clone();
            its.bearer = mine.bearer;
            its.claimed = mine.claimed.clone();
        }
        Ok(again)
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last token that came from this caller.
    pub(super) fn token(&self) -> &LastToken {
        &self.caller.token
    }

    /// Who it is turned out to be.
    pub(crate) fn identified(&self, identity: &Identity) {
        let mut learnt = self.learnt();
        learnt.account = Some(identity.account.clone());
        learnt.credential = Some(identity.credential.clone());
        learnt.bearer = identity.bearer;
        learnt.claimed = Claimed { phone: identity.phone.clone(), mail: identity.mail.clone() };
    }

    /// The account that asked, and where its token says that its owner is told things.
    pub(super) fn owner(&self) -> Option<(AccountId, Claimed)> {
        let learnt = self.learnt();
        Some((learnt.account.clone()?, learnt.claimed.clone()))
    }

    pub(super) fn credential(&self) -> Option<Credential> {
        self.learnt().credential.clone()
    }

    /// Only this browser may answer what is asked, and be told what comes of it.
    pub(crate) fn bound_to(&self, browser: Arc<str>) {
        self.learnt().browser = Some(browser);
    }

    pub(crate) fn browser(&self) -> Option<Arc<str>> {
        self.learnt().browser.clone()
    }

    /// The text message that its challenge needs cannot be sent.
    pub(super) fn no_text(&self, no_text: NoText) {
        self.learnt().no_text = Some(no_text);
    }

    /// What it would do turned out to be.
    pub(super) fn acting(&self, action: &Action, intent: &IntentDigest) {
        let mut learnt = self.learnt();
        learnt.action = Some(action.name.clone());
        learnt.shown = action.shown.clone();
        learnt.intent = Some(*intent);
    }

    /// It is refused before its body was read: all that is known is which action it is.
    pub(crate) fn would_be(&self, action: &str) {
        self.learnt().action = Some(ActionName::new(action));
    }

    pub(super) fn decided(&self, decision: &Decision) {
        if decision.said.is_empty() {
            return;
        }
        let mut learnt = self.learnt();
        learnt.verdict = Some(decision.verdict.word());
        learnt.rules = decision.said.iter().map(RuleNoted::from).collect();
    }

    /// What the candidate policy says of what the live one has decided.
    pub(super) fn observed(&self, live: &Verdict, observed: &Observed) {
        let noted = ShadowNoted::from(observed);
        let overheard = Overheard { noted, live: live.word(), verdict: observed.verdict };
        self.learnt().overheard = Some(overheard);
    }

    /// Whether ordinary traffic leaves a line: always if it does not simply pass; now and then if it would not have,
    /// by a rule in shadow or the candidate policy. The rest of those is counted.
    pub(super) fn leaves_a_line(&self, gateway: &Gateway, decision: &Decision) -> bool {
        if !matches!(decision.verdict, Verdict::Allow(_)) {
            return true;
        }
        if self.site.candidate.is_none() && !decision.leaves_a_record() {
            return false;
        }
        let mut learnt = self.learnt();
        let other = learnt.overheard.as_ref().filter(|it| it.noted.differs);
        if other.is_none() && !decision.leaves_a_record() {
            return false;
        }
        let rules = |said: &RuleNoted| (said.rule.clone(), said.shadow);
        let said: Vec<_> =
            decision.said.iter().map(|said| (said.rule.clone(), said.shadow)).collect();
        let others: Option<Vec<_>> = other.map(|it| it.noted.rules.iter().map(rules).collect());
        let who = learnt.credential.as_ref().map(|credential| credential.id.clone());
        let place = who.is_none().then_some(self.head.client);
        let what = (who, place, &learnt.account, said, other.map(|it| it.verdict), others);
        let takes = self.site.lines.take(&what, self.head.received);
        if !takes {
            gateway.metrics.shadow_line_skipped(&self.site.name);
        }
        learnt.line = takes;
        takes
    }

    /// The facts that it was decided on.
    pub(super) fn decided_on(&self, elements: &[Facts<'_>]) {
        let Some(first) = elements.first() else { return };
        let holding = first.elevations.iter().filter(|elevation| elevation.until > first.now);
        self.learnt().grounds = Grounds {
            facts: told::tell(elements),
            elements: Some(elements.len()).filter(|count| *count > 1),
            elevations: holding.cloned().collect(),
            holds: first.holds.to_vec(),
        };
    }

    /// The client's end of a WebSocket, handed out once.
    pub(super) fn take_upgrade(&self) -> Option<Tunnel> {
        self.learnt().upgrade.take()
    }

    /// The body is there: an answer may have to repeat something of it.
    pub(super) fn saw(&self, body: &[u8]) {
        let native = self.site.actions.answer_for(&self.head.target);
        let echo = native.map(|pack| pack.echo(&self.head.target, body));
        self.learnt().echo = echo;
    }

    /// It is for one of the gateway's own addresses.
    pub(crate) fn own(&self) {
        self.learnt().own = true;
    }

    pub(super) fn is_own(&self) -> bool {
        self.learnt().own
    }

    /// Whether its answer may be a page that gets the script for single-page applications. Such a page is asked for
    /// whole and uncompressed.
    pub(super) fn wants_script(&mut self) -> bool {
        let wants = self.site.inject && self.audience() == Audience::Page;
        if wants {
            self.head.headers.remove(header::ACCEPT_ENCODING);
            self.head.headers.remove(header::RANGE);
        }
        wants
    }

    /// It is a request that was held, and this is the challenge that it waited at.
    pub(crate) fn releases(&mut self, challenge: ChallengeId) {
        self.released = Some(challenge);
    }

    /// The challenge whose page will be looked at for what became of this request, and whether it says already that it
    /// is on its way.
    pub(super) fn told_at(&self) -> Option<(ChallengeId, bool)> {
        if let Some(challenge) = &self.released {
            return Some((challenge.clone(), true));
        }
        let redeemed = self.learnt().challenge.clone();
        redeemed.filter(|_| self.audience() == Audience::Page).map(|challenge| (challenge, false))
    }

    pub(super) fn redeemed(&self, proof: &Proof) {
        self.learnt().challenge = Some(proof.challenge.clone());
    }

    /// A write that no action names, by its bounded route.
    pub(super) fn unlisted(&self, route: &str, say: Unclassified, sensitive: bool) {
        self.learnt().route = Some((route.into(), say, sensitive));
    }

    /// The head for the upstream. The headers go with it, because copying them is the dearest thing that ordinary
    /// traffic could be made to pay for.
    pub(super) fn part_with_head(&mut self) -> Inbound {
        let audience = self.audience();
        let speaks = match audience {
            Audience::Page => Speaks::Known(self.language()),
            Audience::Api => {
                Speaks::Accepts(self.head.headers.get(header::ACCEPT_LANGUAGE).cloned())
            }
        };
        self.spoken = Some((audience, speaks));
        let headers = std::mem::take(&mut self.head.headers);
        Inbound { headers, ..self.head.clone() }
    }

    pub(crate) fn audience(&self) -> Audience {
        self.spoken.as_ref().map_or_else(|| pages::audience(&self.head), |(audience, _)| *audience)
    }

    /// What the person chose on a page, else what the client says it accepts.
    pub(crate) fn language(&self) -> Language {
        let accepts = match &self.spoken {
            Some((_, Speaks::Known(language))) => return *language,
            Some((_, Speaks::Accepts(languages))) => languages.as_ref(),
            None => self.head.headers.get(header::ACCEPT_LANGUAGE),
        };
        let chosen = match self.spoken.is_none() && self.audience() == Audience::Page {
            true => self.language_asked().or_else(|| language::remembered(&self.head.headers)),
            false => None,
        };
        chosen.unwrap_or_else(|| negotiate(accepts.and_then(|value| value.to_str().ok())))
    }

    /// What the switch on a page of ours asks for.
    pub(crate) fn language_asked(&self) -> Option<Language> {
        let own = self.learnt().own;
        own.then(|| language::asked(self.head.query())).flatten()
    }

    /// Where a person can begin again who is refused: the page that was asked for, or the one that its form stood on.
    fn back(&self) -> Option<&str> {
        let short = |path: &&str| {
            path.starts_with('/') && path.len() <= BACK_BYTES_MAX && !redact::holds_secret(path)
        };
        if self.head.method.is_safe() {
            return Some(&*self.head.target).filter(short);
        }
        let from = self.head.headers.get(header::REFERER)?.to_str().ok()?;
        let path = from.strip_prefix("https://")?.strip_prefix(&*self.head.authority)?;
        Some(path).filter(short)
    }

    /// A person's form, and no code with it.
    pub(super) fn is_form(&self) -> bool {
        self.head.method == Method::POST
            && self.audience() == Audience::Page
            && !self.head.headers.contains_key("step-up-code")
    }

    /// Where a browser wanted to go, if going there again is harmless, or the page that its form stood on.
    pub(super) fn return_to(&self) -> Option<String> {
        if self.audience() != Audience::Page {
            return None;
        }
        if self.head.method != Method::GET {
            return self.back().map(str::to_owned);
        }
        let local = self.head.target.starts_with('/') && !self.head.target.starts_with("//");
        local.then(|| self.head.target.to_string())
    }

    /// Runs `f` with what an answer of the gateway's own needs to know.
    pub(crate) fn with_context<T>(&self, f: impl FnOnce(&Ctx<'_>) -> T) -> T {
        let audience = self.audience();
        let (bearer, own, seen, no_text) = {
            let learnt = self.learnt();
            (learnt.bearer, learnt.own, learnt.echo.clone(), learnt.no_text)
        };
        let native = match audience {
            Audience::Api if !own => self.site.actions.answer_for(&self.head.target),
            _ => None,
        };
        let render = |message: &str| {
            if let Some(frame) = &self.frame {
                return frame.refusal(message);
            }
            native.map_or_else(String::new, |pack| {
                let echo = seen.clone().unwrap_or_else(|| pack.echo(&self.head.target, b""));
                pack.render_to(message, &echo, self.head.received)
            })
        };
        // A message is always answered by a message; its status is nobody's.
        let status = match self.frame {
            Some(_) => Some(401),
            None => native.map(|pack| pack.status),
        };
        f(&Ctx {
            audience,
            request: &self.head.request,
            native: status.map(|status| Native {
                status,
                message: self.frame.is_some(),
                render: &render,
            }),
            host: &self.head.authority,
            language: self.language(),
            now: self.head.received,
            bearer,
            form: audience == Audience::Page && self.head.method == Method::POST && !own,
            site: self.site.pages.name(self.site.name.as_str()),
            csrf: "",
            subject: self.head.request.as_str(),
            back: self.back(),
            sign: None,
            factor: None,
            no_text,
            secret: None,
            elsewhere: false,
        })
    }

    /// The same for an answer about a challenge: its forms carry a token of this challenge and credential.
    pub(crate) fn about<T>(
        &self,
        gateway: &Gateway,
        challenge: &ChallengeId,
        f: impl FnOnce(&Ctx<'_>) -> T,
    ) -> T {
        let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
        let token = match (self.audience(), &self.learnt().credential) {
            (Audience::Page, Some(credential)) => csrf::token(challenge, credential, &mac),
            _ => String::new(),
        };
        self.with_context(|ctx| f(&Ctx { csrf: &token, ..*ctx }))
    }

    /// The same for a refusal: its page has an address of its own.
    pub(crate) fn refusing<T>(&self, gateway: &Gateway, f: impl FnOnce(&Ctx<'_>) -> T) -> T {
        let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
        self.with_context(|ctx| f(&Ctx { sign: Some(&mac), ..*ctx }))
    }

    /// What the upstream is told beside the request itself.
    pub(super) fn stamp(&self, assertion: Option<HeaderValue>, guarded: bool) -> Stamp {
        Stamp { on_behalf: self.caller.on_behalf.clone(), assertion, guarded }
    }

    /// `Stepgate-Assertion`: what was decided, for the exchange to check if it wants (ES256, 60 s).
    pub(super) fn assertion(
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

    fn blank(&self, time: UnixMs, event: Event) -> Record {
        let learnt = self.learnt();
        let mut record = Record::new(time, event);
        record.request = Some(self.head.request.clone());
        record.site = Some(self.site.name.clone());
        if let Some(account) = &learnt.account {
            record = record.of_account(account);
        }
        if let Some(credential) = &learnt.credential {
            record = record.with_credential(credential);
        }
        record.client = Some(self.head.client);
        record.place = Some(PlaceNoted::from(&*self.place));
        record.method = Some(self.head.method.as_str().into());
        record.path = Some(self.head.path().into());
        record.action = learnt.action.clone();
        record.shown = learnt.shown.clone();
        let Grounds { facts, elements, elevations, holds } = learnt.grounds.clone();
        record.facts = facts;
        record.elements = elements;
        record.elevations = elevations;
        record.holds = holds;
        record.rules = learnt.rules.clone();
        record.policy = Some(self.site.policy.version().clone());
        record.verdict = learnt.verdict.map(Into::into);
        record.shadow = learnt.overheard.as_ref().map(|it| it.noted.clone());
        record.challenge = learnt.challenge.clone();
        record.intent = learnt.intent;
        record
    }

    /// Writes a line without waiting for the disk.
    pub(crate) fn note(&self, gateway: &Gateway, event: Event, fill: impl FnOnce(&mut Record)) {
        let mut record = self.blank(gateway.clock.now(), event);
        fill(&mut record);
        gateway.audit.note(record);
    }

    /// A line about a challenge.
    pub(crate) fn note_challenge(
        &self,
        gateway: &Gateway,
        event: Event,
        challenge: &Challenge,
        factor: Option<Factor>,
    ) {
        self.note(gateway, event, |record| {
            if record.verdict.is_none() {
                // Nothing was decided here: what is answered are the terms of the policy that asked.
                record.policy = Some(challenge.policy.clone());
            }
            record.challenge = Some(challenge.id.clone());
            record.action = Some(challenge.action.clone());
            record.shown = challenge.shown.clone();
            record.factor = factor;
            if let Scope::Intent(intent) = challenge.scope {
                record.intent = Some(intent);
            }
        });
    }

    /// The intent record: it must be durable before the first byte goes upstream.
    pub(super) fn intent(&self, gateway: &Gateway, factors: FactorSet) -> Record {
        let mut record = self.blank(gateway.clock.now(), Event::Intent);
        record.state = Some(RequestState::Sending);
        record.factor = factors.iter().next();
        record
    }

    /// For the task that outlives this visit.
    pub(super) fn closing(&self) -> Closing {
        let record = self.blank(self.head.received, Event::Outcome);
        // The intent record says them already.
        Closing(Record {
            facts: Told::new(),
            elements: None,
            elevations: Vec::new(),
            holds: Vec::new(),
            ..record
        })
    }

    /// The store gave no answer: said in the log, refused to the client.
    pub(crate) fn store_failed(&self, error: &StoreError) -> Rejection {
        tracing::error!(%error, request = %self.head.request, "the store gave no answer");
        Rejection::Unavailable("the store gave no answer")
    }

    /// The upstream gave no answer.
    pub(super) fn upstream_failed(&self, error: &ForwardError, guarded: bool) -> Rejection {
        tracing::warn!(%error, request = %self.head.request, "the upstream gave no answer");
        match error {
            ForwardError::Refused(why) => Rejection::BadRequest(why),
            ForwardError::NotSent(_) => Rejection::BadGateway,
            ForwardError::NoAnswer(_) => Rejection::NoAnswer { unknown: guarded },
        }
    }

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
        self.count_route(gateway, &ended);
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
                super::refuse(gateway, self, &rejection)
            }
        };
        if let Ok(mut value) = HeaderValue::from_str(self.head.request.as_str()) {
            // No secret, but never the same again: HTTP/2 need not remember it for the next answer.
            value.set_sensitive(true);
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

/// Longer paths are not linked.
const BACK_BYTES_MAX: usize = 512;
const STEPGATE_REQUEST: HeaderName = HeaderName::from_static("stepgate-request");

/// The last line of a guarded request, written when the upstream has answered or has not.
pub(super) struct Closing(Record);

impl Closing {
    /// Its intent could not be recorded, so nothing was sent. Not waited for: the log is what is broken.
    pub(super) fn unsent(mut self, gateway: &Gateway, now: UnixMs) {
        self.0.time = now;
        self.0.state = Some(RequestState::Refused);
        gateway.audit.note(self.0);
    }

    /// Durable when this returns, or waiting for a disk that works again. It comes before the store settles: a crash in
    /// between leaves an attempt that the next start calls unknown although its end is recorded here, and never an
    /// attempt of which nothing is recorded.
    pub(super) async fn outcome(
        mut self,
        gateway: &Gateway,
        settled: Settled,
        status: Option<u16>,
        now: UnixMs,
    ) {
        self.0.time = now;
        self.0.upstream_status = status;
        self.0.state = Some(match settled {
            Settled::Done => RequestState::Done,
            Settled::Refused => RequestState::Refused,
            Settled::Unknown => RequestState::Unknown,
        });
        if gateway.audit.commit(self.0.clone()).await.is_err() {
            gateway.audit.note(self.0);
        }
    }
}
