//! Every way a request can be refused by the gateway itself, with its source.
//!
//! Never shown as such: `pages::respond` is the one place that turns it into HTTP. Internal text goes to the log, a
//! short public sentence and the request id to the client.

use std::sync::Arc;

use crate::types::UnixMs;

/// A refusal. The variants' names are the last words of the `urn:stepgate:…` types where one exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// 400 `urn:stepgate:not-canonical`.
    #[error("not canonical: {0}")]
    NotCanonical(&'static str),
    /// 400: malformed beyond spelling (headers, host, cookies given twice, …).
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// 401: a guarded action without a valid credential, or a credential that does not verify.
    #[error("not signed in: {0}")]
    Unauthenticated(&'static str),
    /// 403: the API key may not be used from this network.
    #[error("this key may not be used from this network")]
    NetworkNotAllowed,
    /// 403 `urn:stepgate:denied`.
    #[error("denied")]
    Denied { why: Option<Arc<str>> },
    /// The same, because a factor is asked for that the account has not: it is led to enrol one.
    #[error("a factor is asked for that the account has not")]
    MustEnrol { why: Arc<str> },
    /// 403 `urn:stepgate:held`, `Retry-After`.
    #[error("held until {until}")]
    Held { until: UnixMs, why: Option<Arc<str>> },
    /// 423 `urn:stepgate:frozen`.
    #[error("the account is frozen")]
    Frozen,
    /// 503 `urn:stepgate:suspended`, `Retry-After`: operators have closed this action for a while.
    #[error("{}", until.map_or("suspended".to_owned(), |until| format!("suspended until {until}")))]
    Suspended { until: Option<UnixMs>, why: Option<Arc<str>> },
    /// 403 `urn:stepgate:unclassified`.
    #[error("a write that no action names: {0}")]
    Unclassified(Arc<str>),
    /// 415: a guarded action in a media type or coding that its pack does not declare.
    #[error("media type: {0}")]
    MediaType(&'static str),
    /// 413: a guarded body over 64 KiB, or a held request that is too large.
    #[error("too large")]
    TooLarge,
    /// 408: a body that had to be read did not come in time.
    #[error("the body came too slowly")]
    TooSlow,
    /// 404 under `/.stepgate/`, and 421 for a host that is not ours.
    #[error("nothing here")]
    NotFound,
    /// 401 on the page of a question: whoever was asked is signed out.
    #[error("not signed in any more")]
    SignedOut,
    /// 404 on the page of a question: it was asked in another session of the same account.
    #[error("asked in another session")]
    Elsewhere,
    #[error("not one of our hosts")]
    Misdirected,
    /// 429 with `Retry-After` seconds: step-up is blocked, or too many codes were sent.
    #[error("too many attempts, again in {retry_after_s} s")]
    TooMany { retry_after_s: u64 },
    /// 503 `urn:stepgate:unavailable`: the store, the audit log or the introspection endpoint is down.
    #[error("unavailable: {0}")]
    Unavailable(&'static str),
    /// 502: the upstream refused the connection or broke the protocol before anything was sent.
    #[error("the upstream cannot be reached")]
    BadGateway,
    /// 504: no answer. `unknown`: a guarded request was sent and may have been executed.
    #[error("no answer from the upstream")]
    NoAnswer { unknown: bool },
}
