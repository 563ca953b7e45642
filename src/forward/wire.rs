//! The exchange's end of a private WebSocket: cleared messages go in, the answers to guarded ones are told from the rest.
//!
//! Never writes a message that is not `Cleared`, nor one twice. Invariant: after a write that did not end nothing else is
//! written, so that no half of a frame is taken for the beginning of another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tungstenite::protocol::frame::coding::OpCode;

use super::frames::{TEXT, frame};
use super::{Cause, ForwardError};
use crate::clearance::Cleared;
use crate::world::Entropy;

/// Where the exchange's frames are read.
pub type Incoming = ReadHalf<TokioIo<Upgraded>>;

/// For writing to the exchange.
pub struct Wire {
    /// None once a write has failed.
    writer: tokio::sync::Mutex<Option<WriteHalf<TokioIo<Upgraded>>>>,
    waiting: Mutex<VecDeque<Waiting>>,
    entropy: Arc<dyn Entropy>,
}

struct Waiting {
    id: Arc<str>,
    answer: oneshot::Sender<Bytes>,
}

/// Answers that may be waited for on one connection; what is beyond ends `unknown`.
const WAITING_MAX: usize = 64;
/// How long an exchange may refuse to take what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the answer to a guarded message is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Wire {
    /// Splits the exchange's end of a WebSocket.
    pub fn new(upstream: Upgraded, entropy: Arc<dyn Entropy>) -> (Incoming, Self) {
        let (incoming, writer) = tokio::io::split(TokioIo::new(upstream));
        let wire = Self { writer: Some(writer).into(), waiting: Mutex::default(), entropy };
        (incoming, wire)
    }

    /// Sends one message: the very bytes that were classified.
    ///
    /// # Errors
    /// `NotSent` if the connection was broken before, `NoAnswer` if it broke on the way.
    pub async fn send(&self, cleared: Cleared) -> Result<(), ForwardError> {
        let (_, body) = cleared.into_parts();
        let text = body.collect().await.map_err(|_| ForwardError::NotSent(Cause::Broken))?;
        self.write(frame(TEXT, &text.to_bytes(), Some(self.mask()))).await
    }

    /// Passes a ping, pong or close on.
    ///
    /// # Errors
    /// As `send`.
    pub async fn control(&self, opcode: OpCode, payload: &[u8]) -> Result<(), ForwardError> {
        self.write(frame(opcode, payload, Some(self.mask()))).await
    }

    async fn write(&self, bytes: Bytes) -> Result<(), ForwardError> {
        let mut slot = self.writer.lock().await;
        // Put back only after a whole frame.
        let Some(mut writer) = slot.take() else {
            return Err(ForwardError::NotSent(Cause::Broken));
        };
        let written = tokio::time::timeout(WRITE_TIMEOUT, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                *slot = Some(writer);
                Ok(())
            }
            _ => Err(ForwardError::NoAnswer(Cause::Broken)),
        }
    }

    fn mask(&self) -> [u8; 4] {
        let mut mask = [0; 4];
        self.entropy.fill(&mut mask);
        mask
    }

    /// Remembers that an answer with this id is waited for. Before the message is sent.
    pub fn expect(&self, id: Arc<str>) -> Option<Answer> {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|other| !other.answer.is_closed());
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        waiting.push_back(Waiting { id, answer });
        Some(Answer(receiver))
    }

    /// Another message with this id is sent: whose answer the next one is can no longer be told.
    pub fn doubt(&self, id: &str) {
        self.waiting().retain(|other| *other.id != *id);
    }

    /// Whether any answer is waited for.
    pub fn listens(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// The exchange has answered the message with this id.
    pub fn answered(&self, id: &str, text: Bytes) {
        let mut waiting = self.waiting();
        let at = waiting.iter().position(|other| *other.id == *id);
        if let Some(found) = at.and_then(|at| waiting.remove(at)) {
            // Nobody is there who waited: the time was up.
            let _ = found.answer.send(text);
        }
    }

    /// No answer comes any more.
    pub fn closed(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is waited for.
pub struct Answer(oneshot::Receiver<Bytes>);

impl Answer {
    /// The answer's text; None if the connection ended or the time was up.
    pub async fn text(self) -> Option<Bytes> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.0).await.ok()?.ok()
    }
}
