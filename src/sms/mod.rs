//! Sending text messages and mails: the `Provider` and `Carrier` ports, their implementations, and the loop that empties
//! the outbox.
//!
//! Never logs an address or a text (only the `log` provider of demos reveals them). Invariant: that a provider took a
//! message proves nothing about the owner; only the code does.

pub mod log;
pub mod mail;
pub mod outbox;
mod sealed;
pub mod smtp;
pub mod twilio;
pub mod webhook;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use zeroize::Zeroizing;

use crate::body::BoxError;
pub use sealed::{Post, open, seal, seal_mail, seal_text};

/// Something on its way.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One text message. `id` is the same for every try, so that a receiver can tell a repetition.
pub struct Letter {
    pub id: u64,
    /// E.164.
    pub number: Zeroizing<String>,
    pub text: Zeroizing<String>,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({})", self.id)
    }
}

/// Whoever delivers text messages.
pub trait Provider: Send + Sync {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>>;
}

/// The HTTP client that providers use: no redirects, the answer at most `bytes_max` long, all within `timeout_ms`.
pub trait Transport: Send + Sync {
    fn send(
        &self,
        request: Request<Bytes>,
        timeout_ms: u64,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, BoxError>>;
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Worth another try, not before `after_ms` if the provider said so.
    #[error("the provider is busy (status {status})")]
    Busy { status: u16, after_ms: Option<u64> },
    #[error("the provider cannot be reached")]
    Unreachable(#[source] BoxError),
    /// For good: trying again would be refused again.
    #[error("the provider refused the message (status {status})")]
    Refused { status: u16 },
    #[error("the request to the provider cannot be written")]
    Unwritable(#[source] http::Error),
    #[error("the mail cannot be written")]
    BadLetter,
}

/// Why a provider cannot be set up. Never quotes the credentials.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the credentials must read `sid:token`")]
    TwilioCredentials,
    #[error("the key in the credentials file must have at least 16 bytes")]
    ShortKey,
    #[error("the address of the provider is not usable")]
    Address(#[source] http::uri::InvalidUri),
    #[error("the address of the provider must begin with https:// (http:// only to this machine)")]
    Plaintext,
    #[error(
        "`from` must be an e-mail address, alone or with a name: `Example <notices@exchange.example>`"
    )]
    Sender,
    #[error("the credentials must read `user:password`")]
    MailCredentials,
    #[error("there is no usable certificate in `ca`")]
    Authorities,
}

/// Sorts an answer: 2xx taken, 429 and 5xx again later, everything else refused. Redirects are refused, because
/// following one would carry number and code to another host.
fn judge(answer: &Response<Bytes>) -> Result<(), SendError> {
    let status = answer.status();
    if status.is_success() {
        Ok(())
    } else if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let after_ms = retry_after_ms(answer.headers());
        Err(SendError::Busy { status: status.as_u16(), after_ms })
    } else {
        Err(SendError::Refused { status: status.as_u16() })
    }
}

/// `Retry-After` in seconds; its date form is left to our own back-off.
fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.min(RETRY_AFTER_S_MAX) * 1000)
}

/// Codes and numbers travel encrypted, or not beyond this machine.
fn checked_address(url: &str) -> Result<http::Uri, SetupError> {
    let uri: http::Uri = url.parse().map_err(SetupError::Address)?;
    let local = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if local => Ok(uri),
        _ => Err(SetupError::Plaintext),
    }
}

/// One try; shorter than the outbox's lease, so that a message is never sent by two gateways at once.
const TIMEOUT_MS: u64 = 10_000;
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const RETRY_AFTER_S_MAX: u64 = 3600;

#[cfg(test)]
pub(crate) mod fake {
    //! A transport that records requests and answers from a list.

    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    pub struct Recorder {
        pub requests: Mutex<Vec<Request<Bytes>>>,
        pub answers: Mutex<Vec<Response<Bytes>>>,
    }

    impl Recorder {
        pub fn answering(answers: Vec<Response<Bytes>>) -> Self {
            Self { requests: Mutex::default(), answers: Mutex::new(answers) }
        }
    }

    impl Transport for Recorder {
        fn send(
            &self,
            request: Request<Bytes>,
            _timeout_ms: u64,
            _bytes_max: usize,
        ) -> BoxFuture<'_, Result<Response<Bytes>, BoxError>> {
            self.requests.lock().unwrap().push(request);
            let mut answers = self.answers.lock().unwrap();
            let answer =
                if answers.is_empty() { Err("nobody there".into()) } else { Ok(answers.remove(0)) };
            Box::pin(async move { answer })
        }
    }

    pub fn answer(status: u16) -> Response<Bytes> {
        Response::builder().status(status).body(Bytes::new()).unwrap()
    }

    pub fn letter() -> Letter {
        Letter {
            id: 7,
            number: Zeroizing::new("+4915112345667".into()),
            text: Zeroizing::new("Code 747723 & more\n\n@exchange.example #747723".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_into_taken_later_and_never() {
        assert!(judge(&fake::answer(201)).is_ok());
        for status in [429, 500, 503] {
            let said = judge(&fake::answer(status));
            assert!(matches!(said, Err(SendError::Busy { .. })), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 422] {
            let said = judge(&fake::answer(status));
            assert!(matches!(said, Err(SendError::Refused { .. })), "{status}");
        }
    }

    #[test]
    fn retry_after_is_heeded_up_to_an_hour() {
        let mut answer = fake::answer(429);
        answer.headers_mut().insert(RETRY_AFTER, "99999".parse().unwrap());
        let said = judge(&answer).unwrap_err();
        assert!(matches!(said, SendError::Busy { status: 429, after_ms: Some(3_600_000) }));
    }

    #[test]
    fn plain_http_is_only_for_this_machine() {
        assert!(checked_address("https://api.example/x").is_ok());
        assert!(checked_address("http://127.0.0.1:9000").is_ok());
        assert!(matches!(checked_address("http://api.example"), Err(SetupError::Plaintext)));
        assert!(matches!(checked_address("/relative"), Err(SetupError::Plaintext)));
    }

    #[test]
    fn debug_of_a_letter_shows_neither_number_nor_text() {
        assert_eq!(format!("{:?}", fake::letter()), "Letter(7)");
    }
}
