//! Sends a cleared request upstream and brings the answer back.
//!
//! Never takes anything but `Cleared`, never changes path, query or body, and never sends a guarded
//! request twice. Invariant: an error says whether the upstream may have seen the request.

mod body;
pub mod frames;
pub mod headers;
mod masked;
mod pool;
mod spare;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod upgrade;
mod upstream;
pub mod wire;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};
use tokio::time::Instant;

pub use headers::OnBehalf;
pub use pool::{Pool, Settings, Trust};
pub use upstream::{Address, Upstream, UpstreamError};

use crate::body::Body;
use crate::clearance::Cleared;
use crate::inbound::Inbound;
use body::{Answer, Outgoing};
use pool::Line;
use spare::Spare;

/// What the gateway adds of its own to one request.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub on_behalf: Arc<OnBehalf>,
    /// The signed statement about a guarded action, for `Stepgate-Assertion`.
    pub assertion: Option<HeaderValue>,
    /// The request must not be sent twice: its own connection, no retry.
    pub guarded: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The request cannot be forwarded as it stands; answer 400. Nothing was sent.
    #[error("the request cannot be forwarded: {0}")]
    Refused(&'static str),
    /// The upstream has not seen the request.
    #[error("the request was not sent")]
    NotSent(#[source] Cause),
    /// The client's body broke off while it was passed on; answer 400. The upstream has seen a broken request.
    #[error("the request's body broke off")]
    BrokenBody,
    /// The upstream may have executed the request: its outcome is unknown.
    #[error("no answer to a request that may have been sent")]
    NoAnswer(#[source] Cause),
}

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("the upstream has no address")]
    NoAddress,
    #[error("cannot connect to {address}")]
    Connect { address: Arc<str>, source: std::io::Error },
    #[error("no connection to {0} in time")]
    ConnectTimeout(Arc<str>),
    #[error("the upstream did not answer in time")]
    AnswerTimeout,
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the upstream switched protocols without being asked")]
    Switched,
    #[error("the WebSocket is broken")]
    Broken,
}

impl Pool {
    /// Sends the request and returns the answer as soon as its head is there; both bodies stream.
    ///
    /// Not an `async fn`: that would hold the request twice. Dropping the future or the answer's body
    /// ends the exchange. A guarded request must therefore run in a task of its own, so that a client
    /// that goes away does not make its outcome unknown.
    ///
    /// # Errors
    /// `ForwardError`; for a guarded request only `NoAnswer` leaves the outcome open.
    pub fn forward(
        self: &Arc<Self>,
        upstream: &Upstream,
        cleared: Cleared,
        stamp: Stamp,
    ) -> impl Future<Output = Result<Response<Body>, ForwardError>> + Send {
        let guarded = stamp.guarded;
        let prepared = prepare(cleared, &stamp, upstream.h2);
        async move {
            let mut request = prepared?;
            let line = match guarded {
                true => Box::pin(self.fresh(upstream, false)).await,
                false => self.line(upstream).await,
            };
            let mut line = line.map_err(ForwardError::NotSent)?;
            loop {
                // Only a connection that lay idle may be stale, and only what can be said twice is kept
                // for it.
                let spare =
                    (line.reused && repeatable(&request)).then(|| Spare::of(&request)).flatten();
                let progress = request.body().progress();
                let failure = match self.exchange(&mut line, request, guarded).await {
                    Ok(response) => {
                        // An answer before the end of the request leaves bytes on the way that a next
                        // answer could be taken for one to.
                        let whole = progress.is_none_or(|progress| progress.has_ended());
                        let home = (whole && !guarded).then(|| self.clone());
                        return answered(response, line, home);
                    }
                    Err(failure) => *failure,
                };
                if progress.is_some_and(|progress| progress.is_broken()) {
                    return Err(ForwardError::BrokenBody);
                }
                let sent = failure.unsent.is_none();
                let spare = spare.filter(|_| failure.cause.is_stale());
                let again = failure.unsent.or_else(|| spare.and_then(Spare::request));
                request = match again {
                    Some(request) if line.reused => request,
                    _ if sent => return Err(ForwardError::NoAnswer(failure.cause)),
                    _ => return Err(ForwardError::NotSent(failure.cause)),
                };
                line = Box::pin(self.fresh(upstream, true)).await.map_err(ForwardError::NotSent)?;
            }
        }
    }

    /// One request on one connection, until the head of the answer.
    fn exchange(
        &self,
        line: &mut Line,
        request: Request<Outgoing>,
        guarded: bool,
    ) -> impl Future<Output = Result<Response<Incoming>, Box<Failure>>> + Send {
        let limit = Duration::from_millis(match guarded {
            true => self.settings.guarded_answer_timeout_ms,
            false => self.settings.answer_timeout_ms,
        });
        let (mut since, progress) = (line.since, request.body().progress());
        let (mut answer, alarm) = line.send(request);
        async move {
            let mut seen = 0;
            loop {
                let deadline = since + limit;
                let waited = poll_fn(|cx| match answer.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => alarm.poll(cx, deadline).map(|()| None),
                });
                if let Some(result) = waited.await {
                    return result.map_err(|mut error| {
                        let unsent = error.take_message();
                        Box::new(Failure { unsent, cause: error.into_error().into() })
                    });
                }
                // While the client is still sending, the upstream cannot be late.
                let now = progress.as_ref().map_or(0, |progress| progress.frames());
                if now == seen {
                    let cause = Cause::AnswerTimeout;
                    return Err(Box::new(Failure { unsent: None, cause }));
                }
                (seen, since) = (now, Instant::now());
            }
        }
    }
}

/// Why one connection brought no answer.
struct Failure {
    cause: Cause,
    /// The request, if nothing of it was written.
    unsent: Option<Request<Outgoing>>,
}

impl Cause {
    /// The connection ended without a word of an answer.
    fn is_stale(&self) -> bool {
        match self {
            Self::Http(error) => {
                !(error.is_parse() || error.is_user() || error.is_body_write_aborted())
            }
            _ => false,
        }
    }
}

/// The request as it goes upstream: same method, path, query and body; headers by the rules of
/// `headers`.
fn prepare(cleared: Cleared, stamp: &Stamp, h2: bool) -> Result<Request<Outgoing>, ForwardError> {
    let (head, body) = cleared.into_parts();
    if head.method == Method::CONNECT {
        return Err(ForwardError::Refused("CONNECT is not for gateways"));
    }
    let uri = target(&head, h2)?;
    let mut fields = head.headers;
    headers::clean_request(&mut fields, stamp.guarded, h2).map_err(ForwardError::Refused)?;
    if head.version == Version::HTTP_2 && !h2 {
        headers::join_cookies(&mut fields);
    }
    frame(&mut fields, &head.method, &body, h2);
    headers::stamp_request(&mut fields, stamp, head.version);
    if h2 {
        fields.remove(HOST);
    } else {
        fields.insert(HOST, stamp.on_behalf.authority.clone());
    }
    let mut request = Request::new(Outgoing::new(body));
    *request.method_mut() = head.method;
    *request.uri_mut() = uri;
    *request.version_mut() = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = fields;
    Ok(request)
}

/// Origin-form for HTTP/1.1; HTTP/2 wants the public authority in its pseudo-headers.
fn target(head: &Inbound, h2: bool) -> Result<Uri, ForwardError> {
    let refused = |_| ForwardError::Refused("the target is malformed");
    // What is sent must be what was decided on.
    let path = head.target.plain().ok_or(ForwardError::Refused("the target is not canonical"))?;
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.clone());
    if h2 {
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(Authority::try_from(&*head.authority).map_err(refused)?);
    }
    Uri::from_parts(parts).map_err(|_| ForwardError::Refused("the target is malformed"))
}

/// One length, the body's own; or chunks when it is not known.
fn frame(fields: &mut HeaderMap, method: &Method, body: &Body, h2: bool) {
    let stated = fields.contains_key(CONTENT_LENGTH);
    let expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match body.size_hint().exact() {
        Some(0) if !stated && !expected => {}
        Some(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            fields.remove(CONTENT_LENGTH);
            // Said aloud because the library would otherwise drop the body of a GET.
            if !h2 {
                fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

/// Safe methods without a body mean the same when said twice (RFC 9110 §9.2.2).
fn repeatable(request: &Request<Outgoing>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream()
}

/// The answer as it goes to the client. The connection goes `home` when the body has been read to
/// its end.
fn answered(
    response: Response<Incoming>,
    line: Line,
    home: Option<Arc<Pool>>,
) -> Result<Response<Body>, ForwardError> {
    let (mut parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ForwardError::NoAnswer(Cause::Switched));
    }
    headers::clean_response(&mut parts.headers, parts.version);
    let mut response = Response::new(Answer::body(incoming, line, home));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    Ok(response)
}
