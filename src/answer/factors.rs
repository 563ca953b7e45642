//! An account's own factors: what its owner sees of them, and the changes, each of which is a guarded action like any
//! other and is carried out here instead of at the exchange.
//!
//! Never shows a secret but to the credential that is enrolling it, and never enrols what was not shown to work.
//! Invariant: nothing changes but by a `Deed`, which takes what was cleared.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use hyper::body::Incoming;

use super::browser::Browser;
use super::change::Change;
use super::input::FactorInput;
use super::{Desk, PREFIX, forged_words, not_found, registration};
use crate::audit::Event;
use crate::body::Body;
use crate::classify::Action;
use crate::clearance::Cleared;
use crate::factors;
use crate::gateway::{Gateway, Worker};
use crate::identify::Identity;
use crate::pages::factors::{Codes, MayAdd, Secret};
use crate::pages::respond::factors_path;
use crate::pages::{Ctx, csrf};
use crate::pipeline::{self, Deed, End, Visit};
use crate::policy::verdict::{FactorExpr, Requirement, Term};
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, Pending, Scope};
use crate::stepup::notice;
use crate::stepup::passkey::BUILT;
use crate::stepup::recovery::{self, RecoveryCode, code_mac};
use crate::stepup::totp::{SECRET_BYTES, Totp};
use crate::store::{Enrolled, Opened};
use crate::types::{ChallengeId, CredentialKind, Factor, RuleId, UnixMs};

/// What a change came to.
#[derive(Clone)]
enum Done {
    /// It has to be shown to work; `new` if this was not asked before.
    Waits {
        challenge: Box<Challenge>,
        new: bool,
    },
    Blocked {
        until: UnixMs,
    },
    Codes {
        codes: Arc<Vec<RecoveryCode>>,
        usable_from: UnixMs,
    },
    Removed,
    NotThere,
    /// The account was frozen after this was cleared.
    Frozen,
    Failed,
}

impl Done {
    /// As an exchange would answer, for the record: what is not known to be done is not called refused.
    fn answer(self) -> Response<Body> {
        let status = match &self {
            Self::Waits { .. } | Self::Codes { .. } | Self::Removed => StatusCode::OK,
            Self::Blocked { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotThere => StatusCode::NOT_FOUND,
            Self::Frozen => StatusCode::LOCKED,
            Self::Failed => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.extensions_mut().insert(self);
        response
    }
}

/// The forms of these pages are about no challenge; no challenge has this id.
pub(super) fn forms() -> ChallengeId {
    ChallengeId::new("factors")
}

/// An API key acts for its owner; who may say so is not its to change.
pub(super) fn person(visit: &Visit, identity: &Identity) -> Result<(), Rejection> {
    match identity.credential.kind {
        CredentialKind::ApiKey => {
            let why = visit.site.pages.not_by_key(visit.language());
            Err(Rejection::Denied { why: Some(why.into()) })
        }
        _ => Ok(()),
    }
}

/// `GET /.stepgate/factors`: what is enrolled, and what can be done about it.
pub(super) async fn show(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
) -> Result<Response<Body>, End> {
    person(visit, identity)?;
    pipeline::as_ordinary(worker, visit, identity).await?;
    let gateway = &worker.gateway;
    let known = known(gateway, visit, identity).await?;
    let listed = registration::listed(gateway, &identity.account, &known);
    let may = MayAdd {
        totp: true,
        sms: gateway.sms,
        webauthn: registration::is_offered(visit) && !registration::is_full(&known, &listed),
        recovery: has_other(&known, identity),
    };
    // What a build without passkeys finds is another one's.
    let shown = known.into_iter().filter(|known| BUILT || known.factor != Factor::Webauthn);
    let cards: Vec<_> = shown.map(Enrolled::card).collect();
    let back = FactorInput::return_to(visit.head.query());
    let page = |ctx: &Ctx<'_>| visit.site.pages.factors(&cards, &listed, may, back.as_deref(), ctx);
    Ok(visit.about(gateway, &forms(), page))
}

/// `GET /.stepgate/approvals`: what waits for the owner, with the way to what this credential may answer.
pub(super) async fn approvals(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
) -> Result<Response<Body>, End> {
    pipeline::as_ordinary(worker, visit, identity).await?;
    let found = worker.gateway.store.open_challenges(&identity.account, visit.head.received).await;
    let found = found.map_err(|error| End::from(visit.store_failed(&error)))?;
    // A key sees what it asked itself.
    let is_key = identity.credential.kind == CredentialKind::ApiKey;
    let found =
        found.into_iter().filter(|asked| !is_key || asked.credential == identity.credential);
    let marked = found.map(|challenge| {
        let may = super::may_answer(&challenge, identity);
        (challenge, may)
    });
    let marked: Vec<_> = marked.collect();
    Ok(visit.with_context(|ctx| visit.site.pages.approvals(&marked, ctx)))
}

/// `POST /.stepgate/factors/…`.
pub(super) async fn post(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    path: &str,
    body: Incoming,
) -> Result<Response<Body>, End> {
    let gateway = &worker.gateway;
    let (input, bytes) = own_post(gateway, visit, identity, &forms(), body).await?;
    let browser = Browser::of(gateway, &visit.head.headers);
    change(worker, visit, identity, &browser, path, input, bytes).await
}

/// What a person posts to a page of the gateway's own that is about no challenge; `form` is what its token is for.
pub(super) async fn own_post(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Arc<Identity>,
    form: &ChallengeId,
    body: Incoming,
) -> Result<(FactorInput, Bytes), End> {
    person(visit, identity)?;
    let forged = |error: csrf::Forged| End::from(Rejection::BadRequest(forged_words(error)));
    let kind = csrf::post_kind(&visit.head).map_err(forged)?;
    let bytes = pipeline::collect(gateway, body).await?;
    let input = FactorInput::read(&visit.head, kind, &bytes)?;
    if kind == csrf::PostKind::Form {
        let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
        csrf::check_token(Some(&input.csrf), form, &identity.credential, &mac).map_err(forged)?;
    }
    Ok((input, bytes))
}

/// The same for one that was held until its owner had approved it. `browser` is the one that releases it.
pub(super) async fn released(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    browser: &Browser,
    body: Bytes,
) -> Result<Response<Body>, End> {
    visit.own();
    let path =
        visit.head.path().strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/factors/"));
    let path = path.ok_or_else(not_found)?;
    let kind = csrf::post_kind(&visit.head)
        .map_err(|error| End::from(Rejection::BadRequest(forged_words(error))))?;
    let input = FactorInput::read(&visit.head, kind, &body)?;
    change(worker, visit, identity, browser, path, input, body).await
}

/// Whatever comes of it, the browser keeps what shows that it asked.
async fn change(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    browser: &Browser,
    path: &str,
    input: FactorInput,
    body: Bytes,
) -> Result<Response<Body>, End> {
    visit.bound_to(browser.name());
    let mut ended = begin(worker, visit, identity, browser, path, input, body).await;
    if let (Ok(response) | Err(End::Answer(response)), Some(cookie)) =
        (&mut ended, browser.cookie())
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    ended
}

async fn begin(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    browser: &Browser,
    path: &str,
    input: FactorInput,
    body: Bytes,
) -> Result<Response<Body>, End> {
    let gateway = &worker.gateway;
    let change = Change::read(visit, gateway, path, &input.number)?;
    let known = known(gateway, visit, identity).await?;
    let is_known = known.iter().any(|known| known.factor == change.factor());
    match &change {
        Change::Remove(_) if !is_known => return Err(not_found()),
        Change::Passkey | Change::RemovePasskey(_) => {
            passkey_possible(gateway, visit, identity, &change, &known)?;
        }
        Change::Recovery if !has_other(&known, identity) => {
            let why = visit.site.pages.codes_alone(visit.language());
            return Err(Rejection::Denied { why: Some(why.into()) }.into());
        }
        _ => {}
    }
    let action = change.action(visit, browser);
    let deed = deed(worker, visit, identity, &change, &action, &known, &input)?;
    let own = (pipeline::Own::Factors, action);
    let response = pipeline::within(worker, visit, own, body, identity.clone(), deed).await?;
    let Some(done) = response.extensions().get::<Done>().cloned() else {
        return Err(Rejection::Unavailable("a change of factors had no end").into());
    };
    let what = match (&done, is_known) {
        (Done::Removed, _) => Some(notice::Change::Removed),
        (Done::Codes { .. }, true) => Some(notice::Change::Replaced),
        (Done::Codes { .. }, false) => Some(notice::Change::Added),
        _ => None,
    };
    if let Some(what) = what {
        visit.tell_of_factor(gateway, change.factor(), what, &known);
    }
    told(worker, visit, identity, done, input.return_to.as_deref()).await
}

fn passkey_possible(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Identity,
    change: &Change,
    known: &[Enrolled],
) -> Result<(), End> {
    let listed = registration::listed(gateway, &identity.account, known);
    match change {
        Change::Passkey if registration::is_full(known, &listed) => {
            let why = visit.site.pages.passkeys_full(visit.language());
            Err(Rejection::Denied { why: Some(why.into()) }.into())
        }
        Change::RemovePasskey(number) if listed.iter().all(|one| one.number != *number) => {
            Err(not_found())
        }
        _ => Ok(()),
    }
}

/// What is done once it is cleared.
fn deed(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    change: &Change,
    action: &Action,
    known: &[Enrolled],
    input: &FactorInput,
) -> Result<Deed, Rejection> {
    let (gateway, now) = (worker.gateway.clone(), visit.head.received);
    let account = identity.account.clone();
    let deed: Deed = match change {
        Change::Totp | Change::Sms(_) | Change::Passkey => {
            let asks = waiting(&gateway, visit, identity, change, action, known)?;
            let asks = Challenge { return_to: input.return_to.clone(), ..asks };
            Box::new(move |cleared: Cleared| {
                Box::pin(async move {
                    drop(cleared);
                    open(&gateway, asks, now).await.answer()
                })
            })
        }
        Change::Recovery => {
            let mut seed = [0; 32];
            gateway.entropy.fill(&mut seed);
            let language = Some(visit.language().tag().into());
            Box::new(move |cleared: Cleared| {
                Box::pin(async move {
                    drop(cleared);
                    let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
                    let codes = recovery::codes(&seed, &mac);
                    let usable_from = now.plus_ms(gateway.limits.factor_hold_ms);
                    let enrolled = Enrolled {
                        factor: Factor::Recovery,
                        secret: Vec::new(),
                        label: "recovery codes".to_owned(),
                        since: now,
                        disabled: false,
                        last_step: None,
                        usable_from,
                        codes: codes.iter().map(|code| code_mac(&account, code, &mac)).collect(),
                        language,
                    };
                    let done = match gateway.store.enrol(&account, enrolled, now).await {
                        Ok(()) => Done::Codes { codes: Arc::new(codes), usable_from },
                        Err(error) => failed(&error),
                    };
                    done.answer()
                })
            })
        }
        Change::Remove(factor) => {
            let factor = *factor;
            Box::new(move |cleared: Cleared| {
                Box::pin(async move {
                    drop(cleared);
                    removed(gateway.store.disenrol_own(&account, factor, now).await).answer()
                })
            })
        }
        Change::RemovePasskey(number) => {
            let number = *number;
            Box::new(move |cleared: Cleared| {
                Box::pin(async move {
                    drop(cleared);
                    removed(registration::remove(&gateway, &account, number, now).await).answer()
                })
            })
        }
    };
    Ok(deed)
}

fn removed(answer: Result<bool, crate::store::StoreError>) -> Done {
    match answer {
        Ok(true) => Done::Removed,
        Ok(false) => Done::NotThere,
        Err(error) => failed(&error),
    }
}

fn failed(error: &crate::store::StoreError) -> Done {
    if matches!(error, crate::store::StoreError::Frozen) {
        return Done::Frozen;
    }
    tracing::error!(%error, "the store gave no answer to a change of factors");
    Done::Failed
}

async fn open(gateway: &Gateway, asks: Challenge, now: UnixMs) -> Done {
    match gateway.store.open_challenge(asks, now).await {
        Ok(Opened::New(challenge)) => Done::Waits { challenge: Box::new(challenge), new: true },
        Ok(Opened::Existing(challenge)) => {
            Done::Waits { challenge: Box::new(challenge), new: false }
        }
        Ok(Opened::Blocked { until }) => Done::Blocked { until },
        Err(error) => failed(&error),
    }
}

/// The question whose answer enrols it.
fn waiting(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Identity,
    change: &Change,
    action: &Action,
    known: &[Enrolled],
) -> Result<Challenge, Rejection> {
    let unusable = |_| Rejection::Unavailable("no secret can be made");
    let (secret, label) = match change {
        Change::Sms(number) => (number.as_str().as_bytes().to_vec(), number.masked()),
        // What is kept of it is known when it is made.
        Change::Passkey => (Vec::new(), "passkey".to_owned()),
        _ => {
            let mut bytes = [0; SECRET_BYTES];
            gateway.entropy.fill(&mut bytes);
            let issuer = visit.site.pages.name(visit.site.name.as_str());
            let totp = Totp::fresh(issuer, &identity.account.name, &bytes).map_err(unusable)?;
            (totp.to_bytes().to_vec(), totp.label())
        }
    };
    let factor = change.factor();
    let term = Term {
        rule: RuleId::new(ENROLMENT),
        factors: FactorExpr::One(factor),
        valid: None,
        geographic: false,
        notify: false,
        why: None,
    };
    let requirement = Requirement { terms: vec![term] };
    // Not the intent that the change was approved by: the approval of one is none of the other.
    let mut intent = action.intent.clone();
    intent.parameters.push(("confirm".to_owned(), factor.word().to_owned()));
    let digest = intent.digest(&identity.account, &identity.credential);
    let asks = pipeline::blank(gateway, visit, identity, Scope::Intent(digest), requirement);
    let has_codes = known.iter().any(|known| known.factor == Factor::Recovery);
    let codes = if has_codes { Vec::new() } else { codes_of(gateway, &asks) };
    let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
    let pending = Pending {
        factor,
        secret: factors::seal(&gateway.keyring, &identity.account, &secret),
        label,
        codes: codes.iter().map(|code| code_mac(&identity.account, code, &mac)).collect(),
        language: Some(visit.language().tag().into()),
    };
    Ok(Challenge {
        action: action.name.clone(),
        shown: action.shown.clone(),
        usable: [factor].into_iter().collect(),
        pending: Some(pending),
        ..asks
    })
}

/// The recovery codes that come with what waits: they are shown when it is enrolled, and kept nowhere.
fn codes_of(gateway: &Gateway, challenge: &Challenge) -> Vec<RecoveryCode> {
    let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
    recovery::codes(challenge.id.as_str().as_bytes(), &mac)
}

/// Says what a change came to.
async fn told(
    worker: &Arc<Worker>,
    visit: &Visit,
    identity: &Arc<Identity>,
    done: Done,
    back: Option<&str>,
) -> Result<Response<Body>, End> {
    let (gateway, pages) = (&worker.gateway, &visit.site.pages);
    match done {
        Done::Waits { challenge, new } => {
            if new {
                visit.note_challenge(gateway, Event::ChallengeOpened, &challenge, None);
                gateway.metrics.challenge(None, "opened");
                let is_sms = challenge.usable.contains(Factor::Sms);
                // A failure to send leaves the challenge open, and its page offers to send again.
                if is_sms
                    && let Err(End::Reject(why)) =
                        pipeline::text_code(gateway, visit, &challenge, identity).await
                {
                    tracing::warn!(%why, "the code that shows a number is the owner's was not sent");
                }
            }
            let desk = Desk { gateway, visit, identity };
            Ok(desk.answer(&challenge, |ctx| pages.waits(&challenge, ctx)))
        }
        Done::Blocked { until } => {
            let retry_after_s = until.since_ms(visit.head.received).div_ceil(1000);
            Err(Rejection::TooMany { retry_after_s }.into())
        }
        Done::Codes { codes, usable_from } => {
            let codes = Codes::of(Factor::Recovery, usable_from, &codes);
            Ok(visit.with_context(|ctx| pages.enrolled(&codes, back, ctx)))
        }
        Done::Removed => Ok(visit.with_context(|ctx| pages.removed(&factors_path(back), ctx))),
        Done::NotThere => Err(not_found()),
        Done::Frozen => Err(Rejection::Frozen.into()),
        Done::Failed => Err(Rejection::Unavailable("the store gave no answer").into()),
    }
}

/// What a right answer enrolled, as its page shows it once.
pub(super) async fn confirmed(
    desk: &Desk<'_>,
    asked: &Challenge,
    before: &[Enrolled],
) -> Option<Codes> {
    let pending = asked.pending.as_ref()?;
    // A passkey stands beside the others, unless they were switched off.
    let replaces = |known: &Enrolled| {
        known.factor == pending.factor && (known.factor != Factor::Webauthn || known.disabled)
    };
    let what = match before.iter().any(replaces) {
        true => notice::Change::Replaced,
        false => notice::Change::Added,
    };
    desk.visit.tell_of_factor(desk.gateway, pending.factor, what, before);
    let mac = |label: &str, parts: &[&[u8]]| desk.gateway.keyring.mac(label, parts);
    // Another answer may have brought other codes meanwhile; only those that count are shown.
    let known = desk.gateway.store.factors(&asked.account).await.unwrap_or_default();
    let kept = |code: &RecoveryCode| {
        let tag = code_mac(&asked.account, code, &mac);
        known.iter().any(|known| known.codes.contains(&tag))
    };
    let codes = match pending.codes.is_empty() {
        true => Vec::new(),
        false => codes_of(desk.gateway, asked).into_iter().filter(kept).collect(),
    };
    let hold_ms = desk.gateway.limits.factor_hold_ms;
    Some(Codes::of(pending.factor, desk.visit.head.received.plus_ms(hold_ms), &codes))
}

/// What an authenticator app has to be told, for the credential that enrols it and as long as it waits.
pub(super) fn secret(desk: &Desk<'_>, challenge: &Challenge) -> Option<Secret> {
    let pending = challenge.pending.as_ref().filter(|pending| pending.factor == Factor::Totp)?;
    if challenge.credential != desk.identity.credential {
        return None;
    }
    let opened = factors::open(&desk.gateway.keyring, &challenge.account, &pending.secret).ok()?;
    let totp = Totp::from_bytes(&opened).ok()?;
    Some(Secret::new(totp.uri(), &totp.key()))
}

pub(super) async fn known(
    gateway: &Gateway,
    visit: &Visit,
    identity: &Identity,
) -> Result<Vec<Enrolled>, End> {
    let known = gateway.store.factors(&identity.account).await;
    known.map_err(|error| visit.store_failed(&error).into())
}

/// Recovery codes stand beside something that can be lost.
fn has_other(known: &[Enrolled], identity: &Identity) -> bool {
    let other = |known: &Enrolled| !matches!(known.factor, Factor::Recovery | Factor::Mail);
    identity.phone.is_some() || known.iter().any(other)
}

/// Stands for a rule on the question whose answer enrols a factor.
const ENROLMENT: &str = "enrolment";
