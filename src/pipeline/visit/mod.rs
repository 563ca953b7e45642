//! One request from accept to answer: what is known of it, stage by stage.
//!
//! Never decides, and asks nothing of the world. Invariant: what a later stage learns is added, and nothing is taken back.

mod address;
mod end;
mod record;
mod upstream;

pub(super) use self::record::Closing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio_util::task::TaskTracker;

use super::Caller;
use super::socket::{Frame, Tunnel};
use crate::audit::{RuleNoted, ShadowNoted};
use crate::classify::{Action, Echo, Unclassified};
use crate::forward::upgrade::asks_for_websocket;
use crate::gateway::{Gateway, Site};
use crate::identify::{Identity, LastCredentials};
use crate::inbound::Inbound;
use crate::locate::Place;
use crate::notices::Claimed;
use crate::pages::{Audience, Language, NoText};
use crate::policy::facts::{Elevation, Facts, HoldRunning};
use crate::policy::shadow::Observed;
use crate::policy::told::{self, Told};
use crate::policy::verdict::{Decision, Verdict};
use crate::rejection::Rejection;
use crate::stepup::Proof;
use crate::types::{AccountId, ActionName, ChallengeId, Credential, Fields, IntentDigest, Shown};

/// A request on its way, with everything that was learnt of it so far.
pub(crate) struct Visit {
    pub head: Inbound,
    pub site: Arc<Site>,
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
    identity: Option<Arc<Identity>>,
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
            its.identity = mine.identity.clone();
        }
        Ok(again)
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last credentials that came from this caller.
    pub(super) fn last_credentials(&self) -> &LastCredentials {
        &self.caller.last_credentials
    }

    /// Where it comes from.
    pub(crate) fn place(&self) -> &Place {
        &self.caller.place
    }

    /// What an elevation given here is tied to.
    pub(crate) fn place_key(&self) -> &Arc<str> {
        &self.caller.place_key
    }

    /// Who it is turned out to be.
    pub(crate) fn identified(&self, identity: &Arc<Identity>) {
        self.learnt().identity = Some(identity.clone());
    }

    /// The account that asked, and where its token says that its owner is told things.
    pub(super) fn owner(&self) -> Option<(AccountId, Claimed)> {
        let identity = self.learnt().identity.clone()?;
        let claimed = Claimed { phone: identity.phone.clone(), mail: identity.mail.clone() };
        Some((identity.account.clone(), claimed))
    }

    pub(super) fn credential(&self) -> Option<Credential> {
        self.learnt().identity.as_ref().map(|identity| identity.credential.clone())
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
        let identity = learnt.identity.as_deref();
        let who = identity.map(|identity| identity.credential.id.clone());
        let account = identity.map(|identity| &identity.account);
        let place = who.is_none().then_some(self.head.client);
        let what = (who, place, account, said, other.map(|it| it.verdict), others);
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
}
