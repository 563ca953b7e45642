//! One admin request: which operation, may it be asked, what is the answer.
//!
//! Never looks at a body before the token has been checked. Errors are problem+json (RFC 9457).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pouring::Pouring;
use super::{
    Import, ImportSecret, OperationError, Operations, Operators, Order, Ordered, Readiness, Resume,
    Suspend, Waiting,
};
use crate::body::Body;
use crate::types::{AccountId, Factor};

/// What every request is answered with.
pub(super) struct Desk {
    pub operators: Operators,
    pub operations: Arc<dyn Operations>,
}

type Reply = Response<Body>;

/// Never fails: what goes wrong is a reply as well.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Reply {
    let answered = tokio::time::timeout(REQUEST_MAX, route(desk, request)).await;
    let mut reply = match answered {
        Ok(Ok(reply)) => reply,
        Ok(Err(trouble)) => trouble.reply(),
        Err(_) => problem(StatusCode::GATEWAY_TIMEOUT, "the operation took too long"),
    };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn route(desk: &Desk, request: Request<Incoming>) -> Result<Reply, Trouble> {
    let path = request.uri().path().to_owned();
    let Some(words) = decoded(&path) else { return Err(Trouble::NoSuchPlace) };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let place = Place::of(&words).ok_or(Trouble::NoSuchPlace)?;
    let operator = whose_token(&desk.operators, &request);
    if !place.is_open() && operator.is_none() {
        tracing::warn!(path, "admin request without a valid token");
        return Err(Trouble::NoToken);
    }
    let signing = Signing { operator: operator.unwrap_or_default(), among: desk.operators.clone() };
    if request.method() != place.method() {
        return Err(Trouble::Method(place.method()));
    }
    let body = if place.method() == Method::POST { body(request).await? } else { Bytes::new() };
    // In a task of its own: a caller that hangs up half way must not leave a freeze without its
    // record.
    let operations = desk.operations.clone();
    let done = tokio::spawn(async move { perform(&*operations, place, &body, &signing).await });
    done.await.unwrap_or(Err(Trouble::Panicked))
}

/// Everything there is on this listener.
enum Place {
    Health,
    Ready,
    Metrics,
    Reload,
    Status,
    Routes,
    Account(AccountId),
    Standing(AccountId),
    Freeze(AccountId),
    Thaw(AccountId),
    Import,
    Factors(AccountId),
    Reset(AccountId),
    Requests,
    Approve,
    Refuse,
    Suspend,
    Resume,
    Texts,
    LiftSms,
    Backup,
    Restored,
}

impl Place {
    fn of(words: &[&str]) -> Option<Self> {
        let id = |group: &str, name: &str| {
            (!group.is_empty() && !name.is_empty()).then(|| AccountId::new(group, name))
        };
        Some(match words {
            ["health"] => Self::Health,
            ["ready"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["reload"] => Self::Reload,
            ["status"] => Self::Status,
            ["routes"] => Self::Routes,
            ["sms"] => Self::Texts,
            ["sms", "lift"] => Self::LiftSms,
            ["backup"] => Self::Backup,
            ["restored"] => Self::Restored,
            ["factor", "import"] => Self::Import,
            ["factor", "pending"] => Self::Requests,
            ["factor", "approve"] => Self::Approve,
            ["factor", "refuse"] => Self::Refuse,
            ["suspend"] => Self::Suspend,
            ["resume"] => Self::Resume,
            ["account", group, name] => Self::Account(id(group, name)?),
            ["account", group, name, "standing"] => Self::Standing(id(group, name)?),
            ["account", group, name, "freeze"] => Self::Freeze(id(group, name)?),
            ["account", group, name, "thaw"] => Self::Thaw(id(group, name)?),
            ["factor", group, name] => Self::Factors(id(group, name)?),
            ["factor", group, name, "reset"] => Self::Reset(id(group, name)?),
            _ => return None,
        })
    }

    /// Whether it is answered without the token.
    fn is_open(&self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Metrics)
    }

    fn method(&self) -> Method {
        match self {
            Self::Reload
            | Self::Standing(_)
            | Self::Freeze(_)
            | Self::Thaw(_)
            | Self::Import
            | Self::Reset(_)
            | Self::Approve
            | Self::Refuse
            | Self::Suspend
            | Self::Resume
            | Self::LiftSms
            | Self::Backup
            | Self::Restored => Method::POST,
            _ => Method::GET,
        }
    }
}

/// More is no signature.
const SAID_CHARS_MAX: usize = 300;

/// Who asks, and among whom.
struct Signing {
    operator: Arc<str>,
    among: Operators,
}

impl Signing {
    /// What operators say of themselves is shown to colleagues, and kept: one line of a sentence or two.
    fn sign(&self, by: &str, reason: String) -> Result<Order, Trouble> {
        for (what, said) in [("by", by), ("reason", &reason)] {
            if said.chars().count() > SAID_CHARS_MAX || said.chars().any(char::is_control) {
                let why = format!("`{what}` is one line of at most {SAID_CHARS_MAX} characters");
                return Err(Trouble::Faults(why));
            }
        }
        let operator = self.operator.clone();
        Ok(Order { by: self.among.signature(&operator, by), reason, operator })
    }

    fn order(&self, body: &[u8]) -> Result<Order, Trouble> {
        let order: Order = read(body)?;
        if order.by.trim().is_empty() {
            return Err(Trouble::Faults("`by` is empty: say who orders it".to_owned()));
        }
        self.sign(&order.by, order.reason)
    }
}

async fn perform(
    operations: &dyn Operations,
    place: Place,
    body: &[u8],
    signing: &Signing,
) -> Result<Reply, Trouble> {
    let order = |body| signing.order(body);
    Ok(match place {
        Place::Health => json_reply(StatusCode::OK, &json!({"status": "up"})),
        Place::Ready => ready(&operations.ready().await),
        Place::Metrics => reply(StatusCode::OK, OPENMETRICS, operations.metrics()),
        Place::Reload => reply(StatusCode::OK, PLAIN, operations.reload().await?),
        Place::Status => json_reply(StatusCode::OK, &operations.status().await?),
        Place::Routes => json_reply(StatusCode::OK, &operations.routes().await?),
        Place::Account(id) => json_reply(StatusCode::OK, &operations.account(id).await?),
        Place::Standing(id) => {
            json_reply(StatusCode::OK, &operations.standing(id, read(body)?).await?)
        }
        Place::Freeze(id) => {
            let seen = operations.freeze(id, order(body)?).await?;
            json_reply(StatusCode::OK, &json!({"frozen": true, "seen": seen}))
        }
        Place::Thaw(id) => {
            let thawed = operations.thaw(id, order(body)?).await?;
            json_reply(StatusCode::OK, &json!({"frozen": false, "changed": thawed}))
        }
        Place::Import => {
            let order = signing.sign(&operator(), String::new())?;
            match operations.import(imports(body)?, order).await? {
                Ordered::Done(count) => json_reply(StatusCode::OK, &json!({"imported": count})),
                Ordered::Waits(waiting) => waits(&waiting),
            }
        }
        Place::Factors(id) => json_reply(StatusCode::OK, &operations.factors(id).await?),
        Place::Reset(id) => {
            let reset: Reset = read(body)?;
            let order = signing.sign(&reset.by, reset.reason)?;
            match operations.reset_factor(id, reset.factor, order).await? {
                Ordered::Done(changed) => json_reply(StatusCode::OK, &json!({"changed": changed})),
                Ordered::Waits(waiting) => waits(&waiting),
            }
        }
        Place::Requests => json_reply(StatusCode::OK, &operations.requests().await?),
        Place::Approve => {
            let named: Named = read(body)?;
            let order = signing.sign(&named.by, named.reason)?;
            json_reply(StatusCode::OK, &operations.approve(named.id, order).await?)
        }
        Place::Refuse => {
            let named: Named = read(body)?;
            let order = signing.sign(&named.by, named.reason)?;
            json_reply(StatusCode::OK, &operations.refuse(named.id, order).await?)
        }
        Place::Suspend => {
            let wanted: Suspend = read(body)?;
            let order = signing.sign(&wanted.by, String::new())?;
            json_reply(StatusCode::OK, &operations.suspend(wanted, order).await?)
        }
        Place::Resume => {
            let which: Resume = read(body)?;
            let order = signing.sign(&which.by, String::new())?;
            json_reply(StatusCode::OK, &operations.resume(which, order).await?)
        }
        Place::Texts => match operations.texts().await? {
            Some(texts) => json_reply(StatusCode::OK, &texts),
            None => return Err(Trouble::NoSuchPlace),
        },
        Place::LiftSms => {
            let lift: Lift = read(body)?;
            let order = signing.sign(&lift.by, lift.reason)?;
            let done = operations.lift_sms_stop(lift.subject, order).await?;
            json_reply(StatusCode::OK, &json!({"changed": done}))
        }
        Place::Backup => {
            let pieces = operations.backup(order(body)?).await?;
            with_body(StatusCode::OK, "application/octet-stream", Body::stream(Pouring(pieces)))
        }
        Place::Restored => {
            operations.restored(order(body)?).await?;
            json_reply(StatusCode::OK, &json!({"noted": true}))
        }
    })
}

fn ready(readiness: &Readiness) -> Reply {
    let status =
        if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let parts: serde_json::Map<_, _> = readiness
        .parts()
        .into_iter()
        .map(|(part, state)| {
            let word = state.as_ref().map_or_else(|wrong| json!(wrong), |()| json!("ok"));
            (part.to_owned(), word)
        })
        .collect();
    json_reply(status, &json!({"ready": readiness.is_ready(), "parts": parts}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    factor: Factor,
    #[serde(default = "operator")]
    by: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lift {
    /// `+49`, `203.0.113.0/24`.
    subject: String,
    #[serde(default = "operator")]
    by: String,
    #[serde(default)]
    reason: String,
}

/// What waits for a second operator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
    #[serde(default = "operator")]
    by: String,
    #[serde(default)]
    reason: String,
}

pub(super) fn operator() -> String {
    "operator".to_owned()
}

/// It is not carried out yet, and this is how it will be.
fn waits(waiting: &Waiting) -> Reply {
    let next = format!("a second operator carries it out: stepgate factor approve {}", waiting.id);
    let waits = json!({"pending": waiting.id, "until": waiting.until.seconds(), "next": next});
    json_reply(StatusCode::ACCEPTED, &waits)
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| Trouble::Faults(error.to_string()))
}

/// JSON lines; all faults at once, and nothing is taken if there is one.
fn imports(body: &[u8]) -> Result<Vec<Import>, Trouble> {
    let (mut imports, mut faults) = (Vec::new(), Vec::new());
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            match import(at + 1, line) {
                Ok(import) => imports.push(import),
                Err(fault) => faults.push(format!("line {}: {fault}", at + 1)),
            }
        }
    }
    if imports.is_empty() && faults.is_empty() {
        faults.push("there is no line".to_owned());
    }
    if faults.is_empty() { Ok(imports) } else { Err(Trouble::Faults(faults.join("\n"))) }
}

fn import(number: usize, line: &[u8]) -> Result<Import, &'static str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        account: String,
        group: String,
        otpauth: Option<String>,
        phone: Option<String>,
        mail: Option<String>,
        language: Option<String>,
    }
    // serde's own message may quote the line, and with it the secret.
    let line: Line = serde_json::from_slice(line)
        .map_err(|_| "not {\"account\", \"group\", \"otpauth\", \"phone\" or \"mail\"} as JSON")?;
    if line.account.is_empty() || line.group.is_empty() {
        return Err("`account` or `group` is empty");
    }
    let secret = match (line.otpauth, line.phone, line.mail) {
        (Some(address), None, None) => ImportSecret::Otpauth(address.into()),
        (None, Some(number), None) => ImportSecret::Phone(number.into()),
        (None, None, Some(address)) => ImportSecret::Mail(address.into()),
        _ => return Err("either `otpauth`, `phone` or `mail` is needed"),
    };
    let account = AccountId::new(line.group, line.account);
    Ok(Import { line: number, account, secret, language: line.language.map(Into::into) })
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Trouble> {
    let limited = Limited::new(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_MAX, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Trouble::TooLarge),
        Ok(Err(_)) => Err(Trouble::Faults("the body broke off".to_owned())),
        Err(_) => Err(Trouble::TooSlow),
    }
}

fn whose_token(operators: &Operators, request: &Request<Incoming>) -> Option<Arc<str>> {
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(first), None) = (given.next(), given.next()) else { return None };
    let (scheme, credentials) = first.as_bytes().split_at_checked(7)?;
    operators.of(credentials).filter(|_| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// The path's words. Decoded one by one, so that an account may have a slash in its name.
fn decoded(path: &str) -> Option<Vec<String>> {
    let words = path.strip_prefix('/')?.split('/');
    words.map(|word| Some(percent_decode_str(word).decode_utf8().ok()?.into_owned())).collect()
}

/// Every way not to be served.
enum Trouble {
    NoSuchPlace,
    NoToken,
    Method(Method),
    TooLarge,
    TooSlow,
    Panicked,
    Faults(String),
    Operation(OperationError),
}

impl From<OperationError> for Trouble {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl Trouble {
    fn reply(self) -> Reply {
        match self {
            Self::NoSuchPlace => problem(StatusCode::NOT_FOUND, "there is nothing here"),
            Self::NoToken => {
                let mut reply = problem(StatusCode::UNAUTHORIZED, "the admin token is needed");
                reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                reply
            }
            Self::Method(method) => {
                let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
                let allow = if method == Method::POST { "POST" } else { "GET" };
                reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
                reply
            }
            Self::TooLarge => problem(StatusCode::PAYLOAD_TOO_LARGE, "more than 1 MiB"),
            Self::TooSlow => problem(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Self::Panicked => {
                problem(StatusCode::INTERNAL_SERVER_ERROR, "the operation broke off, see the log")
            }
            Self::Faults(faults) | Self::Operation(OperationError::Refused(faults)) => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, &faults)
            }
            Self::Operation(OperationError::NotFound(what)) => {
                problem(StatusCode::NOT_FOUND, &what)
            }
            Self::Operation(OperationError::Unavailable(what)) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, &what)
            }
        }
    }
}

fn problem(status: StatusCode, detail: &str) -> Reply {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"title": title, "status": status.as_u16(), "detail": detail});
    reply(status, "application/problem+json", body.to_string())
}

fn json_reply<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    match serde_json::to_string(value) {
        Ok(text) => reply(status, "application/json", text),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written"),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Reply {
    with_body(status, kind, Body::whole(body))
}

fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_MAX: Duration = Duration::from_secs(10);
/// A reload may have to fetch key sets.
const REQUEST_MAX: Duration = Duration::from_secs(60);
