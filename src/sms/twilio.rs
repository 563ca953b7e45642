//! Twilio's Messages resource: one form POST per text.
//!
//! Never follows a redirect and never prints its token. Invariant: only a 2xx answer counts as taken.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{
    ANSWER_BYTES_MAX, BoxFuture, Letter, Provider, SendError, SetupError, TIMEOUT_MS, Transport,
    checked_address, judge,
};

pub struct Twilio {
    transport: Arc<dyn Transport>,
    address: http::Uri,
    from: String,
    authorization: HeaderValue,
}

impl Twilio {
    /// `url` is the service's base (`https://api.twilio.com`), `credentials` the file's text: `sid:token`.
    ///
    /// # Errors
    /// `SetupError` if one of them cannot be used.
    pub fn new(
        transport: Arc<dyn Transport>,
        url: &str,
        from: &str,
        credentials: &str,
    ) -> Result<Self, SetupError> {
        let credentials = credentials.trim();
        let (sid, token) = credentials.split_once(':').ok_or(SetupError::TwilioCredentials)?;
        // The account's id becomes part of the path.
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain(sid) || !plain(token) {
            return Err(SetupError::TwilioCredentials);
        }
        let base = url.trim_end_matches('/');
        let address = checked_address(&format!("{base}/2010-04-01/Accounts/{sid}/Messages.json"))?;
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials)));
        let mut authorization =
            HeaderValue::from_str(&basic).map_err(|_| SetupError::TwilioCredentials)?;
        authorization.set_sensitive(true);
        Ok(Self { transport, address, from: from.to_owned(), authorization })
    }

    fn request(&self, letter: &Letter) -> Result<http::Request<Bytes>, SendError> {
        let field = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "To={}&From={}&Body={}",
            field(&letter.number),
            field(&self.from),
            field(&letter.text)
        );
        http::Request::post(self.address.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into())
            .map_err(SendError::Unwritable)
    }
}

impl fmt::Debug for Twilio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twilio").field("host", &self.address.host()).finish_non_exhaustive()
    }
}

impl Provider for Twilio {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let request = self.request(letter)?;
            let answer = self
                .transport
                .send(request, TIMEOUT_MS, ANSWER_BYTES_MAX)
                .await
                .map_err(SendError::Unreachable)?;
            if let Some(code) = own_code(&answer) {
                // Never its message, which repeats the number.
                tracing::warn!(message = letter.id, code, "Twilio's error code");
            }
            judge(&answer)
        })
    }
}

/// What Twilio calls the error: 21211 for a number that is none, 21408 for a country that the account may not send to.
fn own_code(answer: &http::Response<Bytes>) -> Option<u64> {
    if answer.status().is_success() {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
    body.get("code")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Recorder, answer, letter};
    use super::*;

    fn twilio(recorder: &Arc<Recorder>) -> Twilio {
        Twilio::new(recorder.clone(), "https://api.example/", "+15005550006", "AC12:secret\n")
            .unwrap()
    }

    #[tokio::test]
    async fn a_message_is_one_form_post_with_basic_authorization() {
        let recorder = Arc::new(Recorder::answering(vec![answer(201)]));
        twilio(&recorder).send(&letter()).await.unwrap();
        let requests = recorder.requests.lock().unwrap();
        let request = &requests[0];
        assert_eq!(request.uri(), "https://api.example/2010-04-01/Accounts/AC12/Messages.json");
        assert_eq!(request.headers()[AUTHORIZATION], "Basic QUMxMjpzZWNyZXQ=");
        assert_eq!(
            request.body(),
            "To=%2B4915112345667&From=%2B15005550006&Body=Code%20747723%20%26%20more%0A%0A\
             %40exchange%2Eexample%20%23747723"
        );
    }

    #[tokio::test]
    async fn nobody_there_is_worth_another_try() {
        let recorder = Arc::new(Recorder::default());
        let said = twilio(&recorder).send(&letter()).await;
        assert!(matches!(said, Err(SendError::Unreachable(_))));
    }

    #[test]
    fn of_an_error_its_code_is_read_and_nothing_else() {
        let said = |status: u16, body: &'static str| {
            let mut answer = answer(status);
            *answer.body_mut() = Bytes::from_static(body.as_bytes());
            own_code(&answer)
        };
        let wrong = r#"{"code":21211,"message":"The 'To' number +4915112345667 is not valid.","status":400}"#;
        assert_eq!(said(400, wrong), Some(21211));
        assert_eq!(said(201, r#"{"sid":"SM1","error_code":null}"#), None);
        for odd in ["", "<html>", "[]", r#"{"code":"x"}"#] {
            assert_eq!(said(500, odd), None, "{odd}");
        }
    }

    #[test]
    fn credentials_that_would_change_the_path_are_refused() {
        for bad in ["", "AC12", "AC12:", ":secret", "AC/../x:secret", "AC12:a b"] {
            let said = Twilio::new(Arc::new(Recorder::default()), "https://a.example", "+1", bad);
            assert!(matches!(said, Err(SetupError::TwilioCredentials)), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", twilio(&Arc::new(Recorder::default())));
        assert!(!shown.contains("secret") && !shown.contains("QUMx"), "{shown}");
    }
}
