//! The second story: a person (or a bot) answers a challenge under the one reserved prefix `/.stepgate/`.
//!
//! Never forwards anything of its own, and believes nothing the client says about the transaction. Invariant: an
//! attempt is counted, durably, before any code is compared (RFC 4226 §7.3).

pub(crate) mod held;
mod input;
mod passkey;
mod verify;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use hyper::body::Incoming;

use crate::audit::Event;
use crate::body::Body;
use crate::classify;
use crate::gateway::{Gateway, Worker};
use crate::identify::Identity;
use crate::pages::respond::Ctx;
use crate::pages::{AnswerResult, Audience, Pages, csrf, language};
use crate::pipeline::{self, End, Visit};
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, State};
use crate::store::{CodeQueued, PasskeyAsked};
use crate::types::{ChallengeId, CredentialKind, Factor};
use input::Input;
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
    let bytes = path.as_bytes();
    // The prefix has a segment that begins with a dot. Without one only an odd spelling can come to mean it.
    let dotted = bytes.windows(2).any(|two| two == b"/.");
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(byte);
    (dotted || !bytes.iter().all(plain)) && classify::resembles(path, PREFIX)
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
    let Some((id, step)) = address(visit.head.path()) else { return Err(not_found()) };
    let identity = pipeline::identify(visit, true)
        .await?
        .ok_or(Rejection::Unauthenticated("sign in as the account's owner"))?;
    visit.identified(&identity);
    let challenge = find(gateway, visit, &id, &identity).await?;
    let desk = Desk { gateway, visit, identity: &identity };
    match (step, &visit.head.method) {
        ("", _) if get => {
            let factor = with(visit.head.query());
            let show = |ctx: &Ctx<'_>| desk.pages().show(&challenge, &Ctx { factor, ..*ctx });
            Ok(desk.answer(&challenge, show))
        }
        ("send" | "answer" | "reject" | "release", &Method::POST) => {
            let input = desk.read(&challenge, body).await?;
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

/// The challenge, if this credential may see it. A foreign one and a missing one look the same.
async fn find(
    gateway: &Gateway,
    visit: &Visit,
    id: &ChallengeId,
    identity: &Identity,
) -> Result<Challenge, End> {
    let found = gateway.store.challenge(id, &identity.account, visit.head.received).await;
    let found = found.map_err(|error| End::from(visit.store_failed(&error)))?;
    found.filter(|challenge| may_answer(challenge, identity)).ok_or_else(not_found)
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
        self.visit.about(self.gateway, &challenge.id, f)
    }

    fn result(&self, challenge: &Challenge, attempted: &Attempted) -> Response<Body> {
        let after = attempted.challenge.as_ref();
        self.answer(challenge, |ctx| self.pages().answer(attempted.result, after, ctx))
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
        let attempted = verify::attempt(self.gateway, self.visit, challenge, factor, text).await?;
        let (result, after) = (attempted.result, attempted.challenge.as_ref());
        let chosen = if result == AnswerResult::More { None } else { Some(factor) };
        let answer =
            |ctx: &Ctx<'_>| self.pages().answer(result, after, &Ctx { factor: chosen, ..*ctx });
        Ok(self.answer(challenge, answer))
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
        match pipeline::queue_code(self.gateway, self.visit, challenge, self.identity).await? {
            CodeQueued::Queued(challenge) => {
                let factor = Some(Factor::Sms);
                let sent = |ctx: &Ctx<'_>| self.pages().sent(&challenge, &Ctx { factor, ..*ctx });
                Ok(self.answer(&challenge, sent))
            }
            CodeQueued::Limited { retry_after_ms } => {
                Err(Rejection::TooMany { retry_after_s: retry_after_ms.div_ceil(1000) }.into())
            }
            CodeQueued::Closed(after) => Ok(self.result(challenge, &verify::closed(after, now))),
            CodeQueued::Missing => Err(not_found()),
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
        }
        Ok(self.answer(&after, |ctx| self.pages().rejected(&after, freeze, ctx)))
    }

    /// Sends a held request on: policy is asked again, and the grant can be redeemed once.
    async fn release(
        &self,
        worker: &Arc<Worker>,
        challenge: Challenge,
    ) -> Result<Response<Body>, End> {
        let (gateway, head) = (self.gateway, &self.visit.head);
        let own = challenge.credential == self.identity.credential;
        let taken = if own { self.take_held(&challenge).await? } else { None };
        let held = taken.and_then(|sealed| held::open(gateway, &challenge.id, &sealed, head));
        let Some((inbound, body)) = held else {
            if challenge.state_at(head.received) == State::Open {
                let ask = |ctx: &Ctx<'_>| self.pages().challenge(&challenge, ctx);
                return Ok(self.answer(&challenge, ask));
            }
            let after = challenge.clone();
            return Ok(self.result(&challenge, &verify::closed(after, head.received)));
        };
        if !self.visit.site.hosts.iter().any(|host| **host == *inbound.host) {
            return Err(Rejection::Misdirected.into());
        }
        let again = self.visit.again(inbound)?;
        match pipeline::release(worker, &again, body, self.identity.clone()).await {
            Err(End::Reject(rejection)) => Ok(pipeline::refuse(gateway, &again, &rejection)),
            other => other,
        }
    }
}

impl Desk<'_> {
    /// The sealed request, handed out once and only after approval.
    async fn take_held(&self, challenge: &Challenge) -> Result<Option<Vec<u8>>, End> {
        let (id, account) = (&challenge.id, &challenge.account);
        let now = self.visit.head.received;
        let taken = self.gateway.store.take_held(id, account, &challenge.credential, now).await;
        taken.map_err(|error| self.visit.store_failed(&error).into())
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
