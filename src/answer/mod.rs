//! The second story: a person (or a bot) answers a challenge under the one reserved prefix `/.stepgate/`.
//!
//! Never forwards anything of its own, and believes nothing the client says about the transaction. Invariant: an
//! attempt is counted, durably, before any code is compared (RFC 4226 §7.3).

mod browser;
mod change;
mod factors;
pub(crate) mod fate;
pub(crate) mod held;
mod input;
mod not_me;
mod passkey;
mod registration;
mod release;
mod thaw;
mod verify;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::audit::Event;
use crate::body::Body;
use crate::classify;
use crate::gateway::{Gateway, Worker};
use crate::identify::Identity;
use crate::pages::respond::{Ctx, challenge_path};
use crate::pages::{AnswerResult, Audience, Pages, csrf, language};
use crate::pipeline::{self, End, Texted, Visit};
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, State};
use crate::stepup::fate::Fate;
use crate::stepup::notice::{About, FrozenBy};
use crate::store::PasskeyAsked;
use crate::types::{ChallengeId, CredentialKind, Factor};
use input::Input;
use release::Release;
use verify::Attempted;

/// Everything below this is the gateway's own and is never forwarded.
pub(crate) const PREFIX: &str = "/.stepgate";

/// Whether a path is the gateway's own, spelt as it is spelt.
pub(crate) fn is_own(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path that is not the gateway's own would be taken for it by somebody: such a request is
/// for nobody. Behind the gateway may be another one, or a server that tidies paths up.
pub(crate) fn resembles_own(path: &str) -> bool {
    // The prefix has a segment that begins with a dot. Without one only an odd spelling can come to mean it.
    let dotted = memchr::memchr(b'.', path.as_bytes()).is_some() && path.contains("/.");
    (dotted || !classify::is_plain(path)) && classify::resembles(path, PREFIX)
}

/// Answers a request to one of the gateway's own addresses. A language that is chosen there is remembered.
pub(crate) async fn own(
    worker: &Arc<Worker>,
    visit: &Visit,
    body: Incoming,
) -> Result<Response<Body>, End> {
    visit.own();
    let mut response = answer_own(worker, visit, body).await?;
    let headers = &visit.head.headers;
    let by_others = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if let Some(language) = visit.language_asked()
        && visit.audience() == Audience::Page
        && !by_others
        && let Ok(cookie) = HeaderValue::from_str(&language::remember(language))
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn answer_own(
    worker: &Arc<Worker>,
    visit: &Visit,
    body: Incoming,
) -> Result<Response<Body>, End> {
    let gateway = &worker.gateway;
    let get = visit.head.method == Method::GET || visit.head.method == Method::HEAD;
    match visit.head.path().strip_prefix(PREFIX).unwrap_or("") {
        "/jwks.json" if get => return Ok(jwks(gateway)),
        path if get => {
            let asset = visit.site.pages.asset(path, visit.language(), &visit.head.request);
            if let Some(asset) = asset {
                return Ok(asset);
            }
            if let Some(token) = path.strip_prefix("/said/") {
                let said = visit.refusing(gateway, |ctx| visit.site.pages.said_again(token, ctx));
                return said.ok_or_else(not_found);
            }
        }
        _ => {}
    }
    let path = visit.head.path().strip_prefix(PREFIX).unwrap_or("");
    if let Some(id) = not_me::address(path) {
        return not_me::answer(gateway, visit, id, body).await;
    }
    let change = path.strip_prefix("/factors/").filter(|_| visit.head.method == Method::POST);
    let page = get && matches!(path, "/factors" | "/approvals");
    let address = address(visit.head.path());
    let thaws = thaw::is_it(visit.head.path()) && (get || visit.head.method == Method::POST);
    if change.is_none() && !page && address.is_none() && !thaws {
        return Err(not_found());
    }
    let identity = whoever_is_there(visit).await?;
    visit.identified(&identity);
    if thaws {
        return match get {
            true => thaw::show(worker, visit, &identity).await,
            false => thaw::post(worker, visit, &identity, body).await,
        };
    }
    if let Some(change) = change {
        return factors::post(worker, visit, &identity, change, body).await;
    }
    let Some((id, step)) = address else {
        return match path {
            "/factors" => factors::show(worker, visit, &identity).await,
            _ => factors::approvals(worker, visit, &identity).await,
        };
    };
    let challenge = find(gateway, visit, &id, &identity).await?;
    let desk = Desk { gateway, visit, identity: &identity };
    match (step, &visit.head.method) {
        ("", _) if get => desk.show(&challenge).await,
        // The address that a form was sent to, opened again.
        ("send" | "answer" | "reject" | "release", _)
            if get && visit.audience() == Audience::Page =>
        {
            Ok(see_other(&challenge.id))
        }
        ("send" | "answer" | "reject" | "release", &Method::POST) => {
            let input = desk.read(&challenge, body).await?;
            if step != "reject" {
                desk.goes_on(&challenge)?;
            }
            match step {
                "send" => desk.send(&challenge, &input).await,
                "answer" => desk.attempt(&challenge, &input).await,
                "reject" => desk.reject(&challenge, input.freeze).await,
                _ => desk.release(worker, challenge).await,
            }
        }
        _ => Err(not_found()),
    }
}

fn not_found() -> End {
    Rejection::NotFound.into()
}

/// The factor that the person wants to use instead of the one that the page would ask for: `?with=totp`.
fn with(query: Option<&str>) -> Option<Factor> {
    query?.split('&').find_map(|pair| pair.strip_prefix("with=")).and_then(Factor::from_word)
}

/// The keys that `Stepgate-Assertion` is signed with.
fn jwks(gateway: &Gateway) -> Response<Body> {
    let keys = serde_json::json!({ "keys": [gateway.signer.jwk()] }).to_string();
    let mut response = Response::new(Body::whole(Bytes::from(keys)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// `/.stepgate/challenge/{id}` or `/.stepgate/challenge/{id}/{step}`.
fn address(path: &str) -> Option<(ChallengeId, &str)> {
    let rest = path.strip_prefix(PREFIX)?.strip_prefix("/challenge/")?;
    let (id, step) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (id.len() == 43 && id.bytes().all(plain)).then(|| (ChallengeId::new(id), step))
}

/// Who is there to answer; a person whose session is over learns what that means for the question.
async fn whoever_is_there(visit: &Visit) -> Result<Arc<Identity>, End> {
    let identity = pipeline::identify(visit, true).await;
    match (identity, visit.audience()) {
        (Ok(None) | Err(End::Reject(Rejection::Unauthenticated(_))), Audience::Page) => {
            Err(Rejection::SignedOut.into())
        }
        (Ok(None), Audience::Api) => {
            Err(Rejection::Unauthenticated("sign in as the account's owner").into())
        }
        (Ok(Some(identity)), _) => Ok(identity),
        (Err(end), _) => Err(end),
    }
}

/// The challenge, if this credential may see it. A foreign one and a missing one look the same; an account's owner in
/// another session of it is told that much.
async fn find(
    gateway: &Gateway,
    visit: &Visit,
    id: &ChallengeId,
    identity: &Identity,
) -> Result<Challenge, End> {
    let found = gateway.store.challenge(id, &identity.account, visit.head.received).await;
    let found = found.map_err(|error| End::from(visit.store_failed(&error)))?;
    let found = found.ok_or_else(not_found)?;
    match (may_answer(&found, identity), visit.audience()) {
        (true, _) => Ok(found),
        (false, Audience::Page) if found.credential.kind == identity.credential.kind => {
            Err(elsewhere(gateway, visit, &found))
        }
        (false, _) => Err(not_found()),
    }
}

/// With the way to where the request can be started again.
fn elsewhere(gateway: &Gateway, visit: &Visit, challenge: &Challenge) -> End {
    let rejection = Rejection::Elsewhere;
    visit.note(gateway, Event::Refusal, |record| record.note = Some(rejection.to_string().into()));
    let back = challenge.return_to.as_deref();
    let page = |ctx: &Ctx<'_>| visit.site.pages.rejection(&rejection, &Ctx { back, ..*ctx });
    End::Answer(visit.refusing(gateway, page))
}

fn see_other(id: &ChallengeId) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    if let Ok(path) = HeaderValue::from_str(&challenge_path(id)) {
        headers.insert(header::LOCATION, path);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The credential that asked; or, for an API key, a signed-in session of the same account: a bot's owner approves
/// out of band (INCIDENTS 21). Never the other way round, and never one session for another (challenge fixation).
fn may_answer(challenge: &Challenge, identity: &Identity) -> bool {
    let out_of_band = challenge.credential.kind == CredentialKind::ApiKey
        && identity.credential.kind != CredentialKind::ApiKey;
    challenge.account == identity.account
        && (challenge.credential == identity.credential || out_of_band)
}

/// One person at one challenge.
struct Desk<'a> {
    gateway: &'a Gateway,
    visit: &'a Visit,
    identity: &'a Arc<Identity>,
}

impl Desk<'_> {
    fn pages(&self) -> &Pages {
        &self.visit.site.pages
    }

    fn answer(
        &self,
        challenge: &Challenge,
        f: impl FnOnce(&Ctx<'_>) -> Response<Body>,
    ) -> Response<Body> {
        // What this very answer set in motion is its browser's: see `factors`.
        let elsewhere = !browser::may_go_on(challenge, &self.visit.head.headers)
            && (challenge.browser.is_none() || self.visit.browser() != challenge.browser);
        let secret = if elsewhere { None } else { factors::secret(self, challenge) };
        let with = |ctx: &Ctx<'_>| f(&Ctx { secret: secret.as_ref(), elsewhere, ..*ctx });
        self.visit.about(self.gateway, &challenge.id, with)
    }

    fn result(&self, challenge: &Challenge, attempted: &Attempted) -> Response<Body> {
        let after = attempted.challenge.as_ref();
        self.answer(challenge, |ctx| self.pages().answer(attempted.result, after, ctx))
    }

    /// What another browser began can only be refused: a stolen session does not take part in what its owner enrols.
    fn goes_on(&self, challenge: &Challenge) -> Result<(), Rejection> {
        if browser::may_go_on(challenge, &self.visit.head.headers) {
            return Ok(());
        }
        let why = self.pages().other_browser(self.visit.language());
        Err(Rejection::Denied { why: Some(why.into()) })
    }

    /// The POST's fields, if this person's own page or program sent them.
    async fn read(&self, challenge: &Challenge, body: Incoming) -> Result<Input, End> {
        let forged = |error: csrf::Forged| End::from(Rejection::BadRequest(forged_words(error)));
        let kind = csrf::post_kind(&self.visit.head).map_err(forged)?;
        let bytes = pipeline::collect(self.gateway, body).await?;
        let input = Input::read(&self.visit.head, kind, &bytes)?;
        if kind == csrf::PostKind::Form {
            let mac = |label: &str, parts: &[&[u8]]| self.gateway.keyring.mac(label, parts);
            let credential = &self.identity.credential;
            csrf::check_token(Some(&input.csrf), &challenge.id, credential, &mac)
                .map_err(forged)?;
        }
        Ok(input)
    }

    async fn attempt(&self, challenge: &Challenge, input: &Input) -> Result<Response<Body>, End> {
        let factor = input.factor.ok_or(Rejection::BadRequest("which factor the code is of"))?;
        let text = match factor {
            // The page's own form without its script: nothing was answered, so nothing is counted.
            Factor::Webauthn if input.assertion.is_empty() => {
                return Err(
                    Rejection::BadRequest("`assertion` is what the passkey answered").into()
                );
            }
            Factor::Webauthn => &input.assertion,
            _ => &input.code,
        };
        // Whoever is replaced is told as well.
        let before = match challenge.pending {
            Some(_) => factors::known(self.gateway, self.visit, self.identity).await?,
            None => Vec::new(),
        };
        let attempted = verify::attempt(self.gateway, self.visit, challenge, factor, text).await?;
        let (result, after) = (attempted.result, attempted.challenge.as_ref());
        if result == AnswerResult::Approved
            && let Some(codes) = factors::confirmed(self, challenge, &before).await
        {
            let back = challenge.return_to.as_deref();
            return Ok(self.visit.with_context(|ctx| self.pages().enrolled(&codes, back, ctx)));
        }
        if let (AnswerResult::Used | AnswerResult::Approved, Some(after)) = (result, after)
            && after.held.is_none()
            && let Some(ended) = self.ended(after, StatusCode::OK).await?
        {
            return Ok(ended);
        }
        let chosen = if result == AnswerResult::More { None } else { Some(factor) };
        let answer =
            |ctx: &Ctx<'_>| self.pages().answer(result, after, &Ctx { factor: chosen, ..*ctx });
        Ok(self.answer(after.unwrap_or(challenge), answer))
    }

    async fn send(&self, challenge: &Challenge, input: &Input) -> Result<Response<Body>, End> {
        let now = self.visit.head.received;
        let factor = input.factor.filter(|it| matches!(it, Factor::Sms | Factor::Webauthn));
        let asks = factor.is_some_and(|factor| challenge.factors_open().contains(factor));
        if challenge.state_at(now) == State::Open && !asks {
            return Err(Rejection::BadRequest("this challenge has no such factor to send").into());
        }
        if factor == Some(Factor::Webauthn) {
            return self.ask_passkey(challenge).await;
        }
        match pipeline::text_code(self.gateway, self.visit, challenge, self.identity).await? {
            Texted::Sent(challenge) => {
                let factor = Some(Factor::Sms);
                let sent = |ctx: &Ctx<'_>| self.pages().sent(&challenge, &Ctx { factor, ..*ctx });
                Ok(self.answer(&challenge, sent))
            }
            Texted::Not(no_text) => {
                let said = |ctx: &Ctx<'_>| self.pages().no_text(challenge, no_text, ctx);
                Ok(self.answer(challenge, said))
            }
            Texted::Limited { retry_after_s } => Err(Rejection::TooMany { retry_after_s }.into()),
            Texted::Closed(after) => Ok(self.result(challenge, &verify::closed(after, now))),
            Texted::Missing => Err(not_found()),
        }
    }

    async fn ask_passkey(&self, challenge: &Challenge) -> Result<Response<Body>, End> {
        let now = self.visit.head.received;
        match passkey::ask(self.gateway, self.visit, challenge).await? {
            passkey::Asked::Options(after, options) => {
                let asked = |ctx: &Ctx<'_>| self.pages().passkey_asked(&after, &options, ctx);
                Ok(self.answer(challenge, asked))
            }
            passkey::Asked::Store(instead) => match *instead {
                PasskeyAsked::Blocked { until } => {
                    let retry_after_s = until.since_ms(now).div_ceil(1000);
                    Err(Rejection::TooMany { retry_after_s }.into())
                }
                PasskeyAsked::Closed(after) | PasskeyAsked::Asked(after) => {
                    Ok(self.result(challenge, &verify::closed(after, now)))
                }
                PasskeyAsked::Missing => Err(not_found()),
            },
        }
    }

    async fn reject(&self, challenge: &Challenge, freeze: bool) -> Result<Response<Body>, End> {
        let (gateway, visit) = (self.gateway, self.visit);
        let was_frozen = match freeze {
            true => {
                let card = gateway.store.account(&challenge.account, visit.head.received).await;
                // Nothing keeps a freeze back: it is told once more then.
                card.is_ok_and(|card| card.frozen.is_some_and(|freeze| freeze.opens.is_none()))
            }
            false => false,
        };
        let rejected = gateway
            .store
            .reject(&challenge.id, &challenge.account, freeze, visit.head.received)
            .await;
        let rejected = rejected.map_err(|error| End::from(visit.store_failed(&error)))?;
        let after = rejected.ok_or_else(not_found)?;
        visit.note_challenge(gateway, Event::ChallengeRejected, &after, None);
        gateway.metrics.challenge(None, "rejected");
        if freeze {
            visit.note(gateway, Event::Frozen, |record| record.note = Some("owner".into()));
            // Said before, and nothing was on its way to end it: again and again it would use up what pays for texts.
            if !was_frozen {
                visit.tell(gateway, About::Frozen { by: FrozenBy::Owner });
            }
        }
        Ok(self.answer(&after, |ctx| self.pages().rejected(&after, freeze, ctx)))
    }

    /// Sends a held request on, once. A task of its own: a second click makes the browser drop this request.
    async fn release(
        &self,
        worker: &Arc<Worker>,
        challenge: Challenge,
    ) -> Result<Response<Body>, End> {
        let visit = self.visit;
        let own =
            challenge.credential == self.identity.credential && challenge.site == visit.site.name;
        if own && challenge.held.is_some() {
            let release = Release {
                worker: worker.clone(),
                visit: visit.again(visit.head.clone())?,
                identity: self.identity.clone(),
                challenge: challenge.clone(),
            };
            match visit.tasks.spawn(release.run()).await {
                Ok(Ok(Some(response))) => return Ok(response),
                Ok(Ok(None)) => {}
                Ok(Err(end)) => return Err(end),
                Err(_panicked) => return Err(Rejection::NoAnswer { unknown: true }.into()),
            }
        }
        let now = find(self.gateway, visit, &challenge.id, self.identity).await?;
        if now.state_at(visit.head.received) == State::Open {
            return Ok(self.answer(&now, |ctx| self.pages().challenge(&now, ctx)));
        }
        if let Some(response) = self.ended(&now, StatusCode::CONFLICT).await? {
            return Ok(response);
        }
        Ok(self.result(&now, &verify::closed(now.clone(), visit.head.received)))
    }

    async fn show(&self, challenge: &Challenge) -> Result<Response<Body>, End> {
        if challenge.held.is_none()
            && let Some(ended) = self.ended(challenge, StatusCode::OK).await?
        {
            return Ok(ended);
        }
        let factor = with(self.visit.head.query());
        let show = |ctx: &Ctx<'_>| self.pages().show(challenge, &Ctx { factor, ..*ctx });
        Ok(self.answer(challenge, show))
    }

    /// The page that tells what became of the request, if it has gone its way.
    async fn ended(
        &self,
        challenge: &Challenge,
        status: StatusCode,
    ) -> Result<Option<Response<Body>>, End> {
        let (gateway, now) = (self.gateway, self.visit.head.received);
        let answered = matches!(challenge.state_at(now), State::Approved | State::Used);
        // An approval that was not used in time expires; what was sent by then was sent.
        let gone = answered || challenge.state == State::Approved;
        if !gone || self.visit.audience() == Audience::Api {
            return Ok(None);
        }
        let fate = match status {
            StatusCode::OK => fate::find(gateway, &challenge.id, now).await,
            _ => fate::wait(gateway, &challenge.id).await,
        };
        let fate = fate.map_err(|error| End::from(self.visit.store_failed(&error)))?;
        let Some(fate) = fate else { return Ok(None) };
        if let Fate::AskedAgain { challenge: next } = &fate
            && let Ok(next) = find(gateway, self.visit, next, self.identity).await
        {
            return Ok(Some(self.answer(&next, |ctx| self.pages().show(&next, ctx))));
        }
        let ended = |ctx: &Ctx<'_>| self.pages().ended(challenge, &fate, status, ctx);
        Ok(Some(self.answer(challenge, ended)))
    }
}

fn forged_words(error: csrf::Forged) -> &'static str {
    match error {
        csrf::Forged::CrossSite => "the request comes from another site",
        csrf::Forged::MediaType => "send JSON, or the page's form",
        csrf::Forged::Token => "this form is out of date: open the page again",
    }
}

/// A code that came with the action itself, in the `Step-Up-Code` header.
///
/// # Errors
/// More than one such header, or one that is not text: 400.
pub(crate) fn inline_code(headers: &HeaderMap) -> Result<Option<String>, Rejection> {
    let mut values = headers.get_all("step-up-code").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::BadRequest("more than one Step-Up-Code"));
    }
    let text = value.to_str().map_err(|_| Rejection::BadRequest("Step-Up-Code is not digits"))?;
    Ok(Some(text.to_owned()))
}

/// Answers a challenge with a code that came with the action: the same checks and counters as the endpoint.
pub(crate) async fn with_code(
    worker: &Arc<Worker>,
    visit: &Visit,
    challenge: Challenge,
    code: String,
) -> Result<(), End> {
    let gateway = &worker.gateway;
    let open = challenge.factors_open();
    // A code that was sent for this challenge is the one the owner has in hand; else the authenticator's.
    let factor = match (&challenge.sent, open.contains(Factor::Totp), open.contains(Factor::Sms)) {
        (Some(_), _, true) | (None, false, true) => Factor::Sms,
        _ => Factor::Totp,
    };
    let attempted = verify::attempt(gateway, visit, &challenge, factor, &code).await?;
    match attempted.result {
        AnswerResult::Approved => Ok(()),
        // The action itself was refused, so the answer is the challenge as it stands now: a library that repeats
        // the action understands no other.
        AnswerResult::TooMany { retry_after_s } => Err(Rejection::TooMany { retry_after_s }.into()),
        _ => {
            let now = attempted.challenge.unwrap_or(challenge);
            let answer = |ctx: &Ctx<'_>| visit.site.pages.challenge(&now, ctx);
            let mut response = visit.about(gateway, &now.id, answer);
            let headers = response.headers_mut();
            let error = attempted.result.error().unwrap_or("one_more_factor");
            headers.insert("step-up-error", HeaderValue::from_static(error));
            headers.insert("step-up-attempts-left", now.attempts_left.into());
            Err(End::Answer(response))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spelling_that_comes_to_mean_the_prefix_is_for_nobody() {
        for odd in
            ["//.stepgate/x", "/.Stepgate", "/%2estepgate", "/a/../.stepgate/x", "/.stepgate%2fx"]
        {
            assert!(resembles_own(odd), "{odd}");
        }
        for other in ["/", "/.stepgatex", "/a/.stepgate", "/.well-known/x", "/stepgate", "/a%20b"] {
            assert!(!resembles_own(other), "{other}");
        }
    }

    #[test]
    fn only_whole_challenge_addresses_are_read() {
        let id = "A".repeat(43);
        let path = format!("/.stepgate/challenge/{id}/answer");
        assert_eq!(address(&path), Some((ChallengeId::new(id.as_str()), "answer")));
        assert_eq!(
            address(&format!("/.stepgate/challenge/{id}")),
            Some((ChallengeId::new(id.as_str()), ""))
        );
        for bad in ["/.stepgate/challenge/short", "/.stepgatex/challenge/", "/.stepgate/"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
