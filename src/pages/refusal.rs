//! A `Rejection` as plain data for the wire: status, kind, time.
//!
//! Never carries the internal text of a rejection: that goes to the log, the client gets a fixed sentence.

use std::sync::Arc;

use http::StatusCode;

use crate::rejection::Rejection;
use crate::types::UnixMs;

/// What the client learns.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// Key of its sentences, and with `-` the end of its URN.
    pub kind: &'static str,
    pub retry_after_s: Option<u64>,
    pub until: Option<UnixMs>,
    /// The rule's own words.
    pub why: Option<Arc<str>>,
    /// A guarded request was sent and may have been carried out.
    pub unknown: bool,
    /// It would pass if the account had another factor.
    pub enrol: bool,
}

/// The key of its sentences.
pub fn kind_of(rejection: &Rejection) -> &'static str {
    Refusal::of(rejection, UnixMs(0)).kind
}

impl Refusal {
    pub fn of(rejection: &Rejection, now: UnixMs) -> Self {
        use Rejection as R;
        match rejection {
            R::NotCanonical(_) => Self::plain(StatusCode::BAD_REQUEST, "not_canonical"),
            R::BadRequest(_) => Self::plain(StatusCode::BAD_REQUEST, "bad_request"),
            R::Unauthenticated(_) => Self::plain(StatusCode::UNAUTHORIZED, "unauthenticated"),
            R::NetworkNotAllowed => Self::plain(StatusCode::FORBIDDEN, "network_not_allowed"),
            R::Denied { why } => {
                Self { why: why.clone(), ..Self::plain(StatusCode::FORBIDDEN, "denied") }
            }
            R::MustEnrol { why } => Self {
                why: Some(why.clone()),
                enrol: true,
                ..Self::plain(StatusCode::FORBIDDEN, "denied")
            },
            R::Held { until, why } => Self {
                why: why.clone(),
                until: Some(*until),
                // Rounded up, so that a client that obeys is not one second early.
                retry_after_s: Some(until.since_ms(now).div_ceil(1000).max(1)),
                ..Self::plain(StatusCode::FORBIDDEN, "held")
            },
            R::Frozen => Self::plain(StatusCode::LOCKED, "frozen"),
            R::Suspended { until, why } => Self {
                why: why.clone(),
                until: *until,
                retry_after_s: Some(
                    until.map_or(OPEN_RETRY_S, |until| until.since_ms(now).div_ceil(1000).max(1)),
                ),
                ..Self::plain(StatusCode::SERVICE_UNAVAILABLE, "suspended")
            },
            R::Unclassified(_) => Self::plain(StatusCode::FORBIDDEN, "unclassified"),
            R::MediaType(_) => Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            R::TooLarge => Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            R::TooSlow => Self::plain(StatusCode::REQUEST_TIMEOUT, "too_slow"),
            R::NotFound => Self::plain(StatusCode::NOT_FOUND, "not_found"),
            R::SignedOut => Self::plain(StatusCode::UNAUTHORIZED, "signed_out"),
            R::Elsewhere => Self::plain(StatusCode::NOT_FOUND, "elsewhere"),
            R::Misdirected => Self::plain(StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            R::TooMany { retry_after_s } => Self {
                retry_after_s: Some((*retry_after_s).max(1)),
                ..Self::plain(StatusCode::TOO_MANY_REQUESTS, "too_many")
            },
            R::Unavailable(_) => Self {
                retry_after_s: Some(UNAVAILABLE_RETRY_S),
                ..Self::plain(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            },
            R::BadGateway => Self::plain(StatusCode::BAD_GATEWAY, "bad_gateway"),
            R::NoAnswer { unknown: false } => Self::plain(StatusCode::GATEWAY_TIMEOUT, "no_answer"),
            R::NoAnswer { unknown: true } => Self {
                unknown: true,
                ..Self::plain(StatusCode::GATEWAY_TIMEOUT, "unknown_outcome")
            },
        }
    }

    /// Whether a form that was refused so was certainly not carried out. What has to wait says so in its own words.
    pub fn keeps_nothing(&self) -> bool {
        !matches!(self.kind, "held" | "no_answer" | "unknown_outcome" | "signed_out" | "elsewhere")
    }

    pub fn urn(&self) -> String {
        format!("urn:stepgate:{}", self.kind.replace('_', "-"))
    }

    fn plain(status: StatusCode, kind: &'static str) -> Self {
        Self {
            status,
            kind,
            retry_after_s: None,
            until: None,
            why: None,
            unknown: false,
            enrol: false,
        }
    }
}

const UNAVAILABLE_RETRY_S: u64 = 5;
/// Nobody knows when what has no end will end: a client looks again after a while.
const OPEN_RETRY_S: u64 = 600;
