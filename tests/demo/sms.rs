//! The SMS and mail outboxes: what the gateway's `log` providers would have sent, read from their files.
//!
//! Never makes a message up. Invariant: each code is handed out once by `newest_code`, however often it is asked, so
//! that a command of the tour cannot take the code of an earlier step for its own.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::workdir::Workdir;

/// How long a message may be on its way.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// One text message, or a mail.
#[derive(serde::Deserialize)]
pub struct Message {
    pub to: String,
    pub subject: Option<String>,
    pub text: String,
}

/// Where each kind is written.
pub const TEXTS: &str = "sms.jsonl";
pub const MAILS: &str = "mail.jsonl";

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            None => writeln!(f, "SMS to {}", self.to)?,
            Some(subject) => writeln!(f, "Mail to {}: {subject}", self.to)?,
        }
        let mut lines = self.text.lines().filter(|line| !line.is_empty());
        lines.try_for_each(|line| writeln!(f, "  | {line}"))
    }
}

/// Every message in this outbox that begins at `offset`, and where the last one ends.
pub fn since(workdir: &Workdir, outbox: &str, offset: usize) -> (Vec<Message>, usize) {
    let text = fs::read_to_string(workdir.path(outbox)).unwrap_or_default();
    let end = text.rfind('\n').map_or(0, |at| at + 1).max(offset); // a line still being written waits
    let lines = text.get(offset..end).unwrap_or_default().lines();
    (lines.filter_map(|line| serde_json::from_str(line).ok()).collect(), end)
}

/// Waits for a code that was not handed out yet, and hands it out.
pub fn newest_code(workdir: &Workdir) -> anyhow::Result<String> {
    let seen_path = workdir.path("sms.seen");
    let seen = fs::read_to_string(&seen_path).unwrap_or_default().trim().parse().unwrap_or(0);
    let until = Instant::now() + WAIT_MAX;
    loop {
        let (messages, end) = since(workdir, TEXTS, seen);
        if let Some(code) = messages.iter().rev().find_map(|message| code_in(&message.text)) {
            fs::write(&seen_path, end.to_string())?;
            return Ok(code);
        }
        if Instant::now() > until {
            bail!("no new SMS within {} s", WAIT_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The code of the last line, in the form that browsers fill in by themselves: `@host #123456`.
fn code_in(text: &str) -> Option<String> {
    let (host, code) = text.lines().last()?.split_once(" #")?;
    let whole = host.starts_with('@') && code.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| code.to_owned())
}
