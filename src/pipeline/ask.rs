//! Asking the owner: opens a challenge (or finds the one that is open) and answers with it.
//!
//! Never sends a second message for the same question. Invariant: what is stored, shown and bound comes from the one
//! parse of this request.

use std::sync::Arc;

use bytes::Bytes;
use http::header;

use super::facts::Surroundings;
use super::guarded::Floor;
use super::{End, Visit};
use crate::answer::{self, held};
use crate::audit::Event;
use crate::crypto::random_id;
use crate::factors;
use crate::gateway::{Gateway, Worker};
use crate::identify::Identity;
use crate::inbound::Inbound;
use crate::pages::{Audience, NoText};
use crate::policy::verdict::Requirement;
use crate::rejection::Rejection;
use crate::sms;
use crate::stepup::budget::{Refusal, Why};
use crate::stepup::challenge::{Challenge, Scope, SentCode, State};
use crate::stepup::code::{sms_code, sms_mac};
use crate::stepup::device::Device;
use crate::stepup::notice::About;
use crate::stepup::phone::Number;
use crate::store::{Charge, CodeQueued, NumberKey, Opened, Standing};
use crate::types::{ActionName, ChallengeId, Factor, FactorSet, IntentDigest, Shown, UnixMs};

/// What a challenge would be about.
pub(super) struct Subject<'a> {
    pub action: &'a ActionName,
    pub intent: IntentDigest,
    pub shown: &'a [Shown],
    /// Value would leave, to one destination.
    pub leaves: bool,
    pub body: &'a Bytes,
    /// A code came with the action: nothing is held and nothing is sent.
    pub inline: bool,
    /// What is asked whatever the policy says.
    pub floor: Floor,
}

/// Asks about one intent, once.
pub(super) async fn about_intent(
    worker: &Arc<Worker>,
    visit: &Visit,
    surroundings: &Surroundings<'_>,
    identity: &Identity,
    requirement: Requirement,
    subject: &Subject<'_>,
) -> Result<Challenge, End> {
    let gateway = &worker.gateway;
    let scope = Scope::Intent(subject.intent);
    let mut challenge = blank(gateway, visit, identity, scope, requirement);
    challenge.action = subject.action.clone();
    challenge.shown = subject.shown.to_vec();
    challenge.destination = subject.leaves.then(|| surroundings.destination()).flatten();
    if visit.audience() == Audience::Page && !subject.inline {
        challenge.held = Some(held::seal(gateway, &challenge, &visit.head, subject.body)?);
    }
    if subject.floor.is_own() {
        // A factor that waits may be enough for this change, and for nothing that would last beyond it. Nor does anything
        // last that a frozen account gives.
        challenge.requirement.terms.iter_mut().for_each(|term| term.valid = None);
    }
    let standing = surroundings.standing();
    let usable = match subject.floor {
        Floor::Factors => factors_to_change(gateway, visit, standing, identity),
        _ => usable(gateway, visit, standing, identity),
    };
    let challenge = Challenge { usable, ..challenge };
    open(gateway, visit, surroundings, identity, challenge, subject.inline).await
}

/// Asks about this credential at this place: any request that needs only an elevation shares the question. `Ok` if a
/// code came with the request and was right: the credential is elevated now.
pub(super) async fn about_place(
    worker: &Arc<Worker>,
    visit: &Visit,
    surroundings: &Surroundings<'_>,
    identity: &Identity,
    requirement: Requirement,
) -> Result<(), End> {
    let gateway = &worker.gateway;
    let inline = answer::inline_code(&visit.head.headers)?;
    let scope = Scope::Place(visit.place_key().clone());
    let usable = usable(gateway, visit, surroundings.standing(), identity);
    let challenge = Challenge { usable, ..blank(gateway, visit, identity, scope, requirement) };
    let challenge =
        open(gateway, visit, surroundings, identity, challenge, inline.is_some()).await?;
    match inline {
        Some(code) => answer::with_code(worker, visit, challenge, code).await,
        None => Err(answer_with(gateway, visit, &challenge)),
    }
}

/// The challenge in the words of whoever asked.
pub(super) fn answer_with(gateway: &Gateway, visit: &Visit, challenge: &Challenge) -> End {
    let pages = &visit.site.pages;
    let lost = visit.is_form() && challenge.held.is_none() && challenge.state == State::Open;
    End::Answer(visit.about(gateway, &challenge.id, |ctx| match lost {
        true => pages.challenge_alone(challenge, ctx),
        false => pages.challenge(challenge, ctx),
    }))
}

/// A challenge about nothing yet.
pub(crate) fn blank(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Identity,
    scope: Scope,
    requirement: Requirement,
) -> Challenge {
    let head = &visit.head;
    Challenge {
        id: ChallengeId::new(random_id(&*gateway.entropy)),
        site: visit.site.name.clone(),
        account: identity.account.clone(),
        credential: identity.credential.clone(),
        action: ActionName::new("login"),
        scope,
        requirement,
        shown: Vec::new(),
        client: head.client,
        place: visit.place_key().clone(),
        device: device(head),
        destination: None,
        policy: visit.site.policy.version().clone(),
        request: head.request.clone(),
        created: head.received,
        expires: head.received.plus_ms(gateway.limits.challenge_ms),
        attempts_left: gateway.limits.attempts_max,
        usable: FactorSet::default(),
        proven: FactorSet::default(),
        state: State::Open,
        sent: None,
        ceremony: None,
        held: None,
        return_to: visit.return_to(),
        pending: None,
        browser: visit.browser(),
    }
}

fn device(head: &Inbound) -> Option<Device> {
    let agent = head.headers.get(header::USER_AGENT)?.to_str().ok()?;
    Device::of(agent)
}

async fn open(
    gateway: &Gateway,
    visit: &Visit,
    surroundings: &Surroundings<'_>,
    identity: &Identity,
    challenge: Challenge,
    inline: bool,
) -> Result<Challenge, End> {
    visit.tell_of_place(gateway, &challenge.requirement);
    if !challenge.requirement.met_by(challenge.usable) {
        return Err(lacking(visit, surroundings.standing(), &challenge).into());
    }
    let opened = gateway.store.open_challenge(challenge, visit.head.received).await;
    let challenge = match opened.map_err(|error| End::from(visit.store_failed(&error)))? {
        Opened::Existing(challenge) => challenge,
        Opened::Blocked { until } => {
            visit.tell(gateway, About::Locked);
            let retry_after_s = until.since_ms(visit.head.received).div_ceil(1000);
            return Err(Rejection::TooMany { retry_after_s }.into());
        }
        Opened::New(challenge) => {
            visit.note_challenge(gateway, Event::ChallengeOpened, &challenge, None);
            gateway.metrics.challenge(None, "opened");
            let only_sms = challenge.factors_open().iter().eq([Factor::Sms]);
            if only_sms && !inline {
                // The only thing the owner could ask for next; a failure to send leaves the challenge open.
                match text_code(gateway, visit, &challenge, identity).await {
                    Ok(Texted::Sent(sent)) => sent,
                    Ok(Texted::Not(no_text)) => {
                        visit.no_text(no_text);
                        challenge
                    }
                    Ok(Texted::Limited { retry_after_s }) => {
                        visit.no_text(NoText { retry_after_s, down: false });
                        challenge
                    }
                    _ => challenge,
                }
            } else {
                challenge
            }
        }
    };
    Ok(challenge)
}

/// Why the owner is not asked: a factor that is there has to wait, or there is none.
fn lacking(visit: &Visit, standing: &Standing, challenge: &Challenge) -> Rejection {
    let (pages, language) = (&visit.site.pages, visit.language());
    let (wanted, usable) = (challenge.requirement.factors(), challenge.usable);
    if let Some(until) = met_later(standing, &challenge.requirement, usable) {
        return Rejection::Held { until, why: Some(pages.too_young(language).into()) };
    }
    let only_codes = standing.enrolled.iter().eq([Factor::Recovery]);
    if usable.is_empty() && !standing.enrolled.is_empty() && !only_codes {
        // They are there, and none of them works any more: whoever asks could be anybody.
        return Rejection::Denied { why: Some(pages.no_factor(language).into()) };
    }
    let why: Arc<str> = pages.lacking(language, wanted, usable).into();
    match visit.is_own() {
        // The page where more could be enrolled leads nowhere else.
        true => Rejection::Denied { why: Some(why) },
        false => Rejection::MustEnrol { why },
    }
}

/// When enough of the factors that wait may be used, if they are all that is missing.
fn met_later(standing: &Standing, wanted: &Requirement, usable: FactorSet) -> Option<UnixMs> {
    let mut set = usable;
    standing.ripens.iter().find_map(|(factor, at)| {
        set = set.with(*factor);
        wanted.met_by(set).then_some(*at)
    })
}

/// The factors this account can use: those enrolled, and SMS to the number that a verified token carries. Where a number
/// is enrolled it is that one, and it may have to wait; where one was taken away, what a token carries has to wait as if
/// it were enrolled now.
fn usable(gateway: &Gateway, visit: &Visit, standing: &Standing, identity: &Identity) -> FactorSet {
    let waits = standing.claims_count_from.is_some_and(|from| visit.head.received < from);
    let claimed = identity.phone.is_some() && !waits && !standing.young.contains(Factor::Sms);
    let set = if claimed { standing.factors.with(Factor::Sms) } else { standing.factors };
    visit.site.askable(set, &visit.head.host, gateway.sms)
}

/// Until when nobody changes the factors of an account that has had none but a number which its token claims: that number
/// waits, or one that was enrolled in its place does. Whoever answered once would go on with a number of his own.
pub(super) fn claim_waits(standing: &Standing, identity: &Identity, now: UnixMs) -> Option<UnixMs> {
    identity.phone.as_ref()?;
    if standing.enrolled.is_empty() {
        return standing.claims_count_from.filter(|from| now < *from);
    }
    let young = standing.ripens.iter().find(|(factor, _)| *factor == Factor::Sms);
    young.filter(|_| standing.factors.is_empty()).map(|(_, at)| *at)
}

/// One of these is given before the account's factors change: of those that it can use, or of those that wait if all
/// do.
pub(super) fn factors_to_change(
    gateway: &Gateway,
    visit: &Visit,
    standing: &Standing,
    identity: &Identity,
) -> FactorSet {
    let ripe = usable(gateway, visit, standing, identity);
    if !ripe.is_empty() {
        return ripe;
    }
    // There are some, and none of them can be given on this host: those that wait do not take their place.
    if !standing.factors.is_empty() {
        return standing.factors;
    }
    visit.site.askable(standing.young, &visit.head.host, gateway.sms)
}

/// One of these is given before a freeze ends by itself: a code by text message would go to whoever took the number over,
/// and recovery codes are for those who have nothing else.
pub(crate) fn factors_to_thaw(visit: &Visit, standing: &Standing) -> FactorSet {
    let strong = |factor: &Factor| {
        matches!(factor, Factor::Totp | Factor::Webauthn)
            // What became usable since may be the very thing that the freeze was for.
            && standing.ripe_when_frozen.contains(*factor)
    };
    let strong: FactorSet = standing.factors.iter().filter(strong).collect();
    visit.site.askable(strong, &visit.head.host, false)
}

/// The account's number: the enrolled one, else the one that the verified token carries. Where a number is enrolled
/// no other one counts, not even if the enrolled one is disabled.
async fn number(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    identity: &Identity,
) -> Result<Option<Number>, End> {
    let known = gateway.store.factors(&challenge.account).await;
    let known = known.map_err(|error| End::from(visit.store_failed(&error)))?;
    let enrolled = known.iter().find(|known| known.factor == Factor::Sms);
    let number = match (enrolled, &identity.phone) {
        (Some(enrolled), _) if enrolled.disabled => None,
        (Some(enrolled), _) => unsealed(gateway, challenge, &enrolled.secret)?,
        (None, Some(claimed)) => Number::parse(claimed).ok(),
        (None, None) => None,
    };
    Ok(number)
}

fn unsealed(
    gateway: &Gateway,
    challenge: &Challenge,
    sealed: &[u8],
) -> Result<Option<Number>, Rejection> {
    let opened = factors::open(&gateway.keyring, &challenge.account, sealed);
    let bytes = opened.map_err(|_| Rejection::Unavailable("a factor cannot be unsealed"))?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| Number::parse(text).ok()))
}

/// What came of sending a code.
pub(crate) enum Texted {
    Sent(Challenge),
    /// Too many to this number, or step-up is blocked on the account.
    Limited {
        retry_after_s: u64,
    },
    /// No message can be paid for now, or counted.
    Not(NoText),
    Closed(Challenge),
    Missing,
}

/// Puts a fresh code for this challenge into the outbox, if there is a budget for it. Without a store that counts
/// nothing is sent.
pub(crate) async fn text_code(
    gateway: &Gateway,
    visit: &Visit,
    challenge: &Challenge,
    identity: &Identity,
) -> Result<Texted, End> {
    let waiting = challenge.pending.as_ref().map(|pending| pending.secret.as_slice());
    let number = match waiting {
        Some(sealed) => Some(unsealed(gateway, challenge, sealed)?).flatten(),
        None => number(gateway, visit, challenge, identity).await?,
    };
    let number = number.filter(|number| !number.is_blocked(&gateway.phones));
    let Some(number) = number else {
        let why = visit.site.pages.no_number(visit.language());
        return Err(Rejection::Denied { why: Some(why.into()) }.into());
    };
    let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
    let code = sms_code(&*gateway.entropy);
    let now = visit.head.received;
    let sent = SentCode {
        mac: sms_mac(&challenge.id, &code, &mac),
        expires: now.plus_ms(gateway.limits.sms_code_ms),
        masked_number: number.masked().into(),
    };
    let (pages, host) = (&visit.site.pages, &visit.head.host);
    let site = pages.name(visit.site.name.as_str());
    let text = pages.sms(visit.language(), challenge, site, host, &code);
    let sealed = sms::seal(&gateway.keyring, &challenge.id, number.as_str(), &text);
    let charge = charge(gateway, visit, challenge, &number);
    let queued =
        gateway.store.send_code(&challenge.id, &challenge.account, charge, sent, sealed, now).await;
    let prefix = gateway.budget.prefix(&number);
    Ok(match queued {
        Ok(CodeQueued::Queued(challenge)) => {
            gateway.outbox.notify_one();
            visit.note_challenge(gateway, Event::CodeSent, &challenge, Some(Factor::Sms));
            gateway.metrics.challenge(Some(Factor::Sms), "sent");
            gateway.metrics.sms_code_sent(prefix);
            Texted::Sent(challenge)
        }
        Ok(CodeQueued::Limited { retry_after_ms }) => {
            gateway.metrics.sms_code_refused(prefix, "number");
            Texted::Limited { retry_after_s: retry_after_ms.div_ceil(1000) }
        }
        Ok(CodeQueued::OverBudget(refusal)) => {
            over_budget(gateway, visit, &refusal, prefix);
            let retry_after_s = refusal.retry_after_ms.div_ceil(1000).max(1);
            Texted::Not(NoText { retry_after_s, down: false })
        }
        Ok(CodeQueued::Closed(after)) => Texted::Closed(after),
        Ok(CodeQueued::Missing) => Texted::Missing,
        Err(error) => {
            visit.store_failed(&error);
            gateway.metrics.sms_code_refused(prefix, "store");
            Texted::Not(NoText { retry_after_s: STORE_AGAIN_S, down: true })
        }
    })
}

/// Everything that a code is counted against.
fn charge(gateway: &Gateway, visit: &Visit, challenge: &Challenge, number: &Number) -> Charge {
    let (budget, client) = (&gateway.budget, visit.head.client);
    let NumberKey(key) = gateway.number_key(number);
    Charge {
        // A number that somebody only typed in: its owner's own codes and notices are counted apart from it.
        number: match &challenge.pending {
            Some(_) => NumberKey(format!("{key}:typed")),
            None => NumberKey(key),
        },
        meters: budget.meters(&challenge.account, client, number),
        watches: budget.watches(
            client,
            number,
            gateway.limits.sms_code_ms,
            challenge.pending.is_none(),
        ),
        stops: Vec::new(),
    }
}

/// Counts it; of a stop that begins operators are told once.
fn over_budget(gateway: &Gateway, visit: &Visit, refusal: &Refusal, prefix: &str) {
    let reason = match refusal.why {
        Why::Spent => refusal.scope.word(),
        Why::Stopped | Why::Stopping { .. } => "stopped",
    };
    gateway.metrics.sms_code_refused(prefix, reason);
    let Why::Stopping { sent, verified } = refusal.why else { return };
    let (scope, subject) = (refusal.scope.word(), &*refusal.subject);
    let stopped_s = refusal.retry_after_ms / 1000;
    tracing::warn!(
        scope,
        subject,
        sent,
        verified,
        stopped_s,
        "too few codes come back: no text messages for a while"
    );
    gateway.metrics.sms_stopped(scope);
    let note = format!(
        "no text messages for {stopped_s} s, {scope} {subject}: {verified} of {sent} codes were verified"
    );
    visit.note(gateway, Event::SmsStopped, |record| record.note = Some(note.into()));
}

/// A store that gave no answer may give one soon.
const STORE_AGAIN_S: u64 = 5;
