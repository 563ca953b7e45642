//! Sending through an operator's own service: one signed JSON POST per text.
//!
//! Never follows a redirect and never prints its key. Invariant: the signature covers the time and the exact body, so
//! that a receiver can refuse what is old or altered.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::{
    ANSWER_BYTES_MAX, BoxFuture, Letter, Provider, SendError, SetupError, TIMEOUT_MS, Transport,
    checked_address, judge,
};
use crate::types::UnixMs;
use crate::world::Clock;

pub struct Webhook {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    address: http::Uri,
    key: hmac::Key,
}

impl Webhook {
    /// `key` is the credentials file's text; white space around it does not count.
    ///
    /// # Errors
    /// `SetupError` for an unusable address or a key under 16 bytes.
    pub fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        url: &str,
        key: &str,
    ) -> Result<Self, SetupError> {
        let key = key.trim().as_bytes();
        if key.len() < KEY_BYTES_MIN {
            return Err(SetupError::ShortKey);
        }
        let address = checked_address(url)?;
        Ok(Self { transport, clock, address, key: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }

    fn request(&self, letter: &Letter, now: UnixMs) -> Result<http::Request<Bytes>, SendError> {
        let body = serde_json::json!({
            "to": letter.number.as_str(),
            "text": letter.text.as_str(),
            "id": letter.id.to_string(),
        })
        .to_string();
        http::Request::post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Stepgate-Signature", self.signature(now.seconds(), &body))
            .body(body.into())
            .map_err(SendError::Unwritable)
    }

    /// `t=<unix>,v1=<hex of HMAC-SHA-256 over "t.body">`.
    fn signature(&self, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{seconds}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={hex}")
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.address.host()).finish_non_exhaustive()
    }
}

impl Provider for Webhook {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let request = self.request(letter, self.clock.now())?;
            let answer = self
                .transport
                .send(request, TIMEOUT_MS, ANSWER_BYTES_MAX)
                .await
                .map_err(SendError::Unreachable)?;
            judge(&answer)
        })
    }
}

const KEY_BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::fake::{Recorder, answer, letter};
    use super::*;
    use crate::world::HandClock;

    const KEY: &str = "0123456789abcdef";

    #[tokio::test]
    async fn a_receiver_with_the_key_can_verify_time_and_body() {
        let recorder = Arc::new(Recorder::answering(vec![answer(204)]));
        let clock = Arc::new(HandClock::at(UnixMs(1_790_000_000_500)));
        let webhook =
            Webhook::new(recorder.clone(), clock, "https://sms.example/send", KEY).unwrap();
        webhook.send(&letter()).await.unwrap();

        let requests = recorder.requests.lock().unwrap();
        let request = &requests[0];
        let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["to"], "+4915112345667");
        assert_eq!(body["id"], "7");
        let signature = request.headers()["Stepgate-Signature"].to_str().unwrap();
        let (time, tag) = signature.split_once(",v1=").unwrap();
        assert_eq!(time, "t=1790000000");
        let bytes: Vec<u8> = (0..tag.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap())
            .collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        let mut signed = b"1790000000.".to_vec();
        signed.extend_from_slice(request.body());
        assert!(hmac::verify(&key, &signed, &bytes).is_ok());
        signed.push(b' ');
        assert!(hmac::verify(&key, &signed, &bytes).is_err());
    }

    #[test]
    fn a_short_key_is_refused() {
        let clock = Arc::new(HandClock::at(UnixMs(0)));
        let said = Webhook::new(Arc::new(Recorder::default()), clock, "https://a.example", "short");
        assert!(matches!(said, Err(SetupError::ShortKey)));
    }
}
