//! The one place where a rejection, a challenge or an answer becomes HTTP.
//!
//! Never lets an internal text out. Invariant: every answer carries `Stepgate-Request` and is not stored by anyone, and
//! what is not a page navigation is never answered with a page.

use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::factors::Secret;
use super::language::Language;
use super::outcome::{NO_TEXT, words};
use super::refusal::Refusal;
use super::said::Said;
use super::times::date_and_time;
use super::view::{goes_on, own_path};
use super::{AnswerResult, Audience, NoText, Pages};
use crate::body::Body;
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, Destination, State};
use crate::stepup::code::Mac;
use crate::stepup::device::Device;
use crate::stepup::message::fill;
use crate::types::{ChallengeId, Factor, RequestId, Shown, UnixMs};

/// How an exchange's own clients expect an error.
#[derive(Clone, Copy)]
pub struct Native<'a> {
    /// Status of a challenge. Other refusals keep their own.
    pub status: u16,
    /// It answers a WebSocket's message.
    pub message: bool,
    /// The pack's error body around a message.
    pub render: &'a (dyn Fn(&str) -> String + Send + Sync),
}

/// Everything an answer needs besides its subject.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    pub audience: Audience,
    pub request: &'a RequestId,
    pub native: Option<Native<'a>>,
    /// Authority as sent, with its port: the challenge's address is on it.
    pub host: &'a str,
    pub language: Language,
    pub now: UnixMs,
    /// The request carried a bearer token, so RFC 9470's challenge is added.
    pub bearer: bool,
    /// A person filled in a form, and it is not kept if this is a refusal.
    pub form: bool,
    /// The site's name for people.
    pub site: &'a str,
    /// Token for the forms of the challenge that is shown; empty if none is.
    pub csrf: &'a str,
    /// The request that a page is about: another one, where a refusal is read again.
    pub subject: &'a str,
    /// Path of this site where whoever is refused can begin again.
    pub back: Option<&'a str>,
    /// Signs the addresses of refusals; where there is none, a refusal has no address.
    pub sign: Option<Mac<'a>>,
    /// The factor that the person wants to use.
    pub factor: Option<Factor>,
    /// The text message that the challenge needs cannot be sent.
    pub no_text: Option<NoText>,
    /// What an authenticator app has to be told, for whoever enrols it.
    pub secret: Option<&'a Secret>,
    /// The question was asked by another browser, and can only be refused here.
    pub elsewhere: bool,
}

/// Where a challenge lives on its site.
pub fn challenge_path(id: &ChallengeId) -> String {
    format!("/.stepgate/challenge/{id}")
}

/// Where an account's factors are, with the way back to a page of this site.
pub fn factors_path(back: Option<&str>) -> String {
    let path = "/.stepgate/factors";
    match own_path(back) {
        Some(back) => format!("{path}?return_to={}", utf8_percent_encode(back, NON_ALPHANUMERIC)),
        None => path.to_owned(),
    }
}

impl Pages {
    /// The action is not carried out before the owner has answered this.
    pub fn challenge(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        let mut response = match ctx.audience {
            Audience::Page => {
                let notice = ctx.no_text.map(|it| self.no_text_notice(challenge, it, ctx));
                let page = self.challenge_page(challenge, notice, ctx);
                self.html(StatusCode::UNAUTHORIZED, page, ctx)
            }
            Audience::Api => self.challenge_problem(challenge, ctx),
        };
        step_up_headers(response.headers_mut(), challenge, ctx);
        response
    }

    /// The same for a form that does not wait with the question: its person must know.
    pub fn challenge_alone(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        let notice = Some(self.not_kept_notice(ctx));
        let page = self.challenge_page(challenge, notice, ctx);
        let mut response = self.html(StatusCode::UNAUTHORIZED, page, ctx);
        step_up_headers(response.headers_mut(), challenge, ctx);
        response
    }

    /// The request is refused.
    pub fn rejection(&self, rejection: &Rejection, ctx: &Ctx<'_>) -> Response<Body> {
        let refusal = Refusal::of(rejection, ctx.now);
        let mut response = match ctx.audience {
            Audience::Page => {
                let said = Said::of(&refusal, ctx);
                self.html(refusal.status, self.refusal_page(&said, ctx), ctx)
            }
            Audience::Api => self.refusal_problem(&refusal, ctx),
        };
        if let Some(seconds) = refusal.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if refusal.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names a scheme. RFC 6750 §3.1: no error where no token was sent.
            let scheme = if ctx.bearer { r#"Bearer error="invalid_token""# } else { "Bearer" };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }

    /// `GET /.stepgate/said/{token}`: a refusal read again, if this site ever said it. Programs have its first answer.
    pub fn said_again(&self, token: &str, ctx: &Ctx<'_>) -> Option<Response<Body>> {
        let said = ctx.sign.and_then(|mac| Said::read(token, ctx.site, mac, ctx.now))?;
        (ctx.audience == Audience::Page)
            .then(|| self.html(StatusCode::OK, self.refusal_page(&said, ctx), ctx))
    }

    /// `GET /.stepgate/challenge/{id}`.
    pub fn show(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => {
                self.html(StatusCode::OK, self.challenge_page(challenge, None, ctx), ctx)
            }
            Audience::Api => json(StatusCode::OK, challenge_json(challenge, ctx.now), ctx),
        }
    }

    /// A refusal that is nothing but its status: what the listener turned away before there was a request to speak of.
    pub fn bare(&self, status: StatusCode, request: &RequestId) -> Response<Body> {
        let title = status.canonical_reason().unwrap_or("Refused");
        let body = serde_json::json!({
            "type": "about:blank", "title": title, "status": status.as_u16(),
        });
        let mut response = Response::new(Body::whole(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        put(headers, STEPGATE_REQUEST, request.as_str());
        response
    }

    /// `POST …/answer`. `challenge` is the challenge after the answer, where there is one.
    pub fn answer(
        &self,
        result: AnswerResult,
        challenge: Option<&Challenge>,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        let ctx = &Ctx { native: None, ..*ctx };
        match (result, ctx.audience, challenge) {
            (AnswerResult::Missing, _, _) => self.rejection(&Rejection::NotFound, ctx),
            (AnswerResult::TooMany { retry_after_s }, _, _) => {
                self.rejection(&Rejection::TooMany { retry_after_s }, ctx)
            }
            (_, Audience::Page, Some(challenge)) => {
                let page = match result.state() {
                    State::Open => {
                        let notice = self.answer_notice(result, ctx);
                        self.challenge_page(challenge, Some(notice), ctx)
                    }
                    State::Approved => self.challenge_page(challenge, None, ctx),
                    // A second click on the button that gave an approval which lasts.
                    State::Used if goes_on(challenge) => {
                        let page = self.challenge_page(challenge, None, ctx);
                        return self.html(StatusCode::OK, page, ctx);
                    }
                    closed => self.closed_page(challenge, closed.word(), ctx),
                };
                self.html(result.status(), page, ctx)
            }
            // A page about a challenge that is not there has nothing to show.
            (_, Audience::Page, None) => self.rejection(&Rejection::NotFound, ctx),
            (_, Audience::Api, _) => {
                let body = result.json(challenge, self.table(ctx.language));
                if result.error().is_some() {
                    problem(result.status(), body, ctx)
                } else {
                    json(result.status(), body, ctx)
                }
            }
        }
    }

    /// `POST …/send`: a code is on its way to the number that the challenge names.
    pub fn sent(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        let number = challenge.sent.as_ref().map_or("", |sent| &*sent.masked_number);
        match ctx.audience {
            Audience::Page => {
                let notice = self.sent_notice(number, ctx);
                let page = self.challenge_page(challenge, Some(notice), ctx);
                self.html(StatusCode::ACCEPTED, page, ctx)
            }
            Audience::Api => {
                let body = Sent {
                    state: challenge.state_at(ctx.now).word(),
                    sent_to: number,
                    code_expires_at: challenge.sent.as_ref().map(|sent| sent.expires.seconds()),
                };
                json(StatusCode::ACCEPTED, json_bytes(&body), ctx)
            }
        }
    }

    /// `POST …/send`: no code can be sent now. The challenge stays open for whatever else answers it.
    pub fn no_text(&self, challenge: &Challenge, no_text: NoText, ctx: &Ctx<'_>) -> Response<Body> {
        let mut response = match ctx.audience {
            Audience::Page => {
                let notice = self.no_text_notice(challenge, no_text, ctx);
                let page = self.challenge_page(challenge, Some(notice), ctx);
                self.html(no_text.status(), page, ctx)
            }
            Audience::Api => {
                let body = no_text.json(challenge, self.table(ctx.language));
                problem(no_text.status(), body, ctx)
            }
        };
        response.headers_mut().insert(RETRY_AFTER, no_text.retry_after_s.into());
        response
    }

    /// `POST …/send` for a passkey: what its browser hands to `navigator.credentials`. Only a script has any use for it.
    pub fn passkey_asked(
        &self,
        challenge: &Challenge,
        options: &serde_json::Value,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        match ctx.audience {
            Audience::Page => {
                self.html(StatusCode::OK, self.challenge_page(challenge, None, ctx), ctx)
            }
            Audience::Api => {
                let state = challenge.state_at(ctx.now).word();
                let body = PasskeyQuestion { state, factor: Factor::Webauthn.word(), options };
                json(StatusCode::OK, json_bytes(&body), ctx)
            }
        }
    }

    /// `POST …/reject`: the owner said "not me".
    pub fn rejected(&self, challenge: &Challenge, frozen: bool, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => {
                let word = if frozen { "frozen" } else { "rejected" };
                self.html(StatusCode::OK, self.closed_page(challenge, word, ctx), ctx)
            }
            Audience::Api => {
                let body = Rejected { state: State::Rejected.word(), frozen };
                json(StatusCode::OK, json_bytes(&body), ctx)
            }
        }
    }

    fn challenge_problem(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        let table = self.table(ctx.language);
        let factors = words(challenge.factors_open().iter());
        let url = format!("https://{}{}", ctx.host, challenge_path(&challenge.id));
        let values = [
            ("action", challenge.action.as_str()),
            ("id", challenge.id.as_str()),
            ("factors", &factors.join(" ")),
            ("url", &url),
        ];
        // A message has no header for a code.
        let message = ctx.native.is_some_and(|native| native.message);
        let about = match (challenge.approves_transaction(), message) {
            (true, false) => "step_up_transaction",
            (true, true) => "step_up_transaction_message",
            (false, false) => "step_up_place",
            (false, true) => "step_up_place_message",
        };
        let mut detail = fill(table.api(about), &values);
        if let Some(no_text) = ctx.no_text {
            detail = format!("{} {detail}", no_text.sentence(challenge, table));
        }
        if let Some(native) = ctx.native {
            let status = StatusCode::from_u16(native.status).unwrap_or(StatusCode::UNAUTHORIZED);
            return json(status, (native.render)(&detail), ctx);
        }
        let status = StatusCode::UNAUTHORIZED;
        let body = StepUpProblem {
            kind: "urn:stepgate:step-up-required",
            title: table.api("step_up_title"),
            status: status.as_u16(),
            detail: &detail,
            challenge_id: challenge.id.as_str(),
            factors,
            expires_at: challenge.expires.seconds(),
            challenge_url: &url,
            transaction: &challenge.shown,
            rules: challenge.requirement.terms.iter().map(|term| term.rule.as_str()).collect(),
            error: ctx.no_text.map(|_| NO_TEXT),
            retry_after: ctx.no_text.map(|it| it.retry_after_s),
        };
        problem(status, json_bytes(&body), ctx)
    }

    fn refusal_problem(&self, refusal: &Refusal, ctx: &Ctx<'_>) -> Response<Body> {
        let (title, text) = self.table(ctx.language).refusal(refusal.kind);
        let why = refusal.why.as_deref();
        let enrol_url =
            refusal.enrol.then(|| format!("https://{}{}", ctx.host, factors_path(None)));
        if let Some(native) = ctx.native {
            let message = native_message(refusal, title, text, enrol_url.as_deref(), ctx);
            return json(refusal.status, (native.render)(&message), ctx);
        }
        let body = RefusalProblem {
            kind: refusal.urn(),
            title,
            status: refusal.status.as_u16(),
            detail: why.map_or_else(|| text.to_owned(), |why| format!("{text} {why}")),
            request: ctx.request.as_str(),
            until: refusal.until.map(UnixMs::seconds),
            retry_after: refusal.retry_after_s,
            transaction_state: refusal.unknown.then_some("unknown"),
            enrol_url,
        };
        problem(refusal.status, json_bytes(&body), ctx)
    }

    /// A page. If it cannot be rendered the status still stands, with a sentence instead of the page.
    pub(super) fn html(
        &self,
        status: StatusCode,
        page: Result<String, minijinja::Error>,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, request = %ctx.request, "a page cannot be rendered");
                let said = format!("{status}. Request {}.", ctx.request);
                return whole(status, "text/plain; charset=utf-8", said, ctx);
            }
        };
        // The one script of ours that calls home: see `challenge.html`.
        let calls = page.contains(super::assets::PASSKEY_SCRIPT_PATH);
        let mut response = whole(status, "text/html; charset=utf-8", page, ctx);
        let headers = response.headers_mut();
        put(headers, CONTENT_SECURITY_POLICY, &page_policy(ctx.host, calls));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        // Not `no-referrer`: with it a browser sends `Origin: null` for our own forms.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        put(headers, CONTENT_LANGUAGE, ctx.language.tag());
        response
    }
}

/// A challenge as its owner's program sees it.
pub fn challenge_json(challenge: &Challenge, now: UnixMs) -> Vec<u8> {
    let state = challenge.state_at(now);
    json_bytes(&ChallengeCard {
        challenge_id: challenge.id.as_str(),
        state: state.word(),
        about: if challenge.approves_transaction() { "transaction" } else { "place" },
        action: challenge.action.as_str(),
        factors: words(challenge.factors_open().iter()),
        attempts_left: challenge.attempts_left,
        expires_at: challenge.expires.seconds(),
        transaction: &challenge.shown,
        why: challenge.requirement.terms.iter().filter_map(|term| term.why.as_deref()).collect(),
        place: &challenge.place,
        client: challenge.client.to_string(),
        device: challenge.device.as_ref(),
        asked_at: challenge.created.seconds(),
        address_known: challenge.destination.map(|it| it != Destination::Unknown),
        address_since: match challenge.destination {
            Some(Destination::KnownSince(since)) => Some(since.seconds()),
            _ => None,
        },
        sent_to: challenge.sent.as_ref().map(|sent| &*sent.masked_number),
        held: challenge.held.is_some(),
    })
}

/// Our own types always have a JSON form; an empty body would only mean a fault in them.
pub(super) fn json_bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// `Not yet. This action has to wait. … (urn:stepgate:held, until … UTC, request …)`: client libraries keep nothing of an
/// error but this text.
fn native_message(
    refusal: &Refusal,
    title: &str,
    text: &str,
    enrol_url: Option<&str>,
    ctx: &Ctx<'_>,
) -> String {
    let mut message = format!("{title}: {text}");
    if let Some(why) = &refusal.why {
        message.push(' ');
        message.push_str(why);
    }
    if let Some(url) = enrol_url {
        message.push(' ');
        message.push_str(url);
    }
    let until = refusal.until.map(|until| format!(", until {} UTC", date_and_time(until)));
    let state = if refusal.unknown { ", transaction_state: unknown" } else { "" };
    let until = until.unwrap_or_default();
    format!("{message} ({}{until}{state}, request {})", refusal.urn(), ctx.request)
}

fn step_up_headers(headers: &mut HeaderMap, challenge: &Challenge, ctx: &Ctx<'_>) {
    let factors = words(challenge.factors_open().iter());
    put(headers, STEP_UP_CHALLENGE, challenge.id.as_str());
    put(headers, STEP_UP_FACTORS, &factors.join(" "));
    put(headers, STEP_UP_EXPIRES, &challenge.expires.seconds().to_string());
    put(headers, WWW_AUTHENTICATE, &format!(r#"StepUp challenge="{}""#, challenge.id));
    if ctx.bearer {
        let levels: Vec<String> =
            factors.iter().map(|factor| format!("urn:stepgate:{factor}")).collect();
        let bearer = format!(
            r#"Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="{}", max_age="0""#,
            levels.join(" ")
        );
        if let Ok(value) = HeaderValue::from_str(&bearer) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
}

pub(super) fn json(
    status: StatusCode,
    body: impl Into<bytes::Bytes>,
    ctx: &Ctx<'_>,
) -> Response<Body> {
    whole(status, "application/json", body, ctx)
}

fn problem(status: StatusCode, body: impl Into<bytes::Bytes>, ctx: &Ctx<'_>) -> Response<Body> {
    whole(status, "application/problem+json", body, ctx)
}

pub(super) fn whole(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<bytes::Bytes>,
    ctx: &Ctx<'_>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    put(headers, STEPGATE_REQUEST, ctx.request.as_str());
    response
}

/// Ids are base64url or UUIDs; what could not be a header value is left out rather than cut.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[derive(Serialize)]
struct StepUpProblem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    challenge_id: &'a str,
    factors: Vec<&'static str>,
    expires_at: i64,
    challenge_url: &'a str,
    transaction: &'a [Shown],
    rules: Vec<&'a str>,
    /// The code that it needs was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct RefusalProblem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: String,
    request: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_state: Option<&'static str>,
    /// Where its owner enrols what is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrol_url: Option<String>,
}

#[derive(Serialize)]
struct ChallengeCard<'a> {
    challenge_id: &'a str,
    state: &'static str,
    about: &'static str,
    action: &'a str,
    factors: Vec<&'static str>,
    attempts_left: u32,
    expires_at: i64,
    transaction: &'a [Shown],
    why: Vec<&'a str>,
    place: &'a str,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a Device>,
    asked_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_known: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_to: Option<&'a str>,
    held: bool,
}

#[derive(Serialize)]
struct PasskeyQuestion<'a> {
    state: &'static str,
    factor: &'static str,
    /// `publicKey`, and nothing else.
    #[serde(flatten)]
    options: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Sent<'a> {
    state: &'static str,
    sent_to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_expires_at: Option<i64>,
}

#[derive(Serialize)]
struct Rejected {
    state: &'static str,
    frozen: bool,
}

pub(super) const STEPGATE_REQUEST: HeaderName = HeaderName::from_static("stepgate-request");
const STEP_UP_CHALLENGE: HeaderName = HeaderName::from_static("step-up-challenge");
const STEP_UP_FACTORS: HeaderName = HeaderName::from_static("step-up-factors");
const STEP_UP_EXPIRES: HeaderName = HeaderName::from_static("step-up-expires");

/// Style, script and logo from below our own prefix and nowhere else, not even from the rest of the site: what users
/// upload there is no script of ours. Forms only to this site, framed only by this site.
fn page_policy(host: &str, calls: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte);
    let own = match !host.is_empty() && host.bytes().all(plain) {
        true => format!("https://{host}/.stepgate/"),
        false => "'none'".to_owned(),
    };
    let connect = if calls { format!("connect-src {own}; ") } else { String::new() };
    format!(
        "default-src 'none'; style-src {own}; script-src {own}; img-src {own}; {connect}form-action 'self'; \
         frame-ancestors 'self'; base-uri 'none'"
    )
}
