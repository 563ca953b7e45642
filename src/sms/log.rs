//! The provider of demos and tests: shows every message instead of sending it.
//!
//! Never for production: this is the one place where a number and a code become readable. Invariant: keeps at most
//! the last hundred.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

use tokio::io::AsyncWriteExt;

use super::mail::{Carrier, Mail};
use super::{BoxFuture, Letter, Provider, SendError};

/// One message as it would have been sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    pub to: String,
    /// Of a mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub text: String,
}

/// Prints to the log, keeps the last ones, and appends JSON lines to a file if there is one.
#[derive(Default)]
pub struct Log {
    last: Mutex<VecDeque<Shown>>,
    file: Option<PathBuf>,
}

impl Log {
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { last: Mutex::default(), file }
    }

    /// The last messages, oldest first.
    pub fn last(&self) -> Vec<Shown> {
        self.ring().iter().cloned().collect()
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, VecDeque<Shown>> {
        // A queue of plain strings is whole after any panic.
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn keep(&self, shown: Shown) {
        let mut ring = self.ring();
        if ring.len() == KEPT_MAX {
            ring.pop_front();
        }
        ring.push_back(shown);
    }
}

impl Log {
    async fn write(&self, shown: Shown) -> Result<(), SendError> {
        if let Some(path) = &self.file {
            let unwritable =
                |error: Box<dyn std::error::Error + Send + Sync>| SendError::Unreachable(error);
            let line = serde_json::to_string(&shown).map_err(|error| unwritable(error.into()))?;
            append(path, format!("{line}\n")).await.map_err(|error| unwritable(error.into()))?;
        }
        self.keep(shown);
        Ok(())
    }
}

impl Provider for Log {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>> {
        let (to, text) = (letter.number.to_string(), letter.text.to_string());
        tracing::info!(%to, %text, "demo SMS, not sent");
        Box::pin(self.write(Shown { to, subject: None, text }))
    }
}

impl Carrier for Log {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), SendError>> {
        let (to, text) = (mail.to.to_string(), mail.text.to_string());
        let subject = Some(mail.subject.clone());
        tracing::info!(%to, subject, "demo mail, not sent");
        Box::pin(self.write(Shown { to, subject, text }))
    }
}

async fn append(path: &PathBuf, line: String) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).await?;
    file.write_all(line.as_bytes()).await?;
    file.flush().await
}

const KEPT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::super::fake::letter;
    use super::*;

    #[tokio::test]
    async fn messages_are_kept_and_written_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sms.jsonl");
        let log = Log::new(Some(path.clone()));
        log.send(&letter()).await.unwrap();
        log.send(&letter()).await.unwrap();
        assert_eq!(log.last().len(), 2);
        let written = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["to"], "+4915112345667");
        assert_eq!(lines[0]["text"], log.last()[0].text.as_str());
    }

    #[tokio::test]
    async fn only_the_last_hundred_are_kept() {
        let log = Log::new(None);
        for _ in 0..KEPT_MAX + 5 {
            log.send(&letter()).await.unwrap();
        }
        assert_eq!(log.last().len(), KEPT_MAX);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_an_error() {
        let log = Log::new(Some("/nonexistent/folder/sms.jsonl".into()));
        assert!(matches!(log.send(&letter()).await, Err(SendError::Unreachable(_))));
    }
}
