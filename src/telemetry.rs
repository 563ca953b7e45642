//! Where the gateway's own messages go: to standard error, as text or as JSON lines.
//!
//! Never the place for evidence (that is `audit`) or for secrets. Invariant: a field has the same
//! name here as in the audit log, so that one search finds both.

use std::io::IsTerminal;

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Why messages cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("{FILTER_VARIABLE} is not a list of target=level")]
    Filter(#[from] ParseError),
    #[error("{FORMAT_VARIABLE} is neither `text` nor `json`")]
    Format,
    #[error("messages are already set up")]
    Twice(#[from] TryInitError),
}

impl Format {
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Sets up messages as `STEPGATE_LOG` (`info`, `stepgate=debug,hyper=warn`) and
/// `STEPGATE_LOG_FORMAT` (`text`, `json`) say. A `format` given on the command line wins.
///
/// # Errors
/// If a variable cannot be read as such, or messages were set up before.
pub fn start(format: Option<Format>) -> Result<(), TelemetryError> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => text.parse()?,
        Err(_) => default_filter(),
    };
    let format = match (format, std::env::var(FORMAT_VARIABLE)) {
        (Some(format), _) => format,
        (None, Ok(word)) => Format::from_word(&word).ok_or(TelemetryError::Format)?,
        (None, Err(_)) => Format::default(),
    };
    let messages = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => {
            let colours = std::io::stderr().is_terminal();
            let text = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
            messages.with(text).try_init()?;
        }
        Format::Json => messages.with(json_layer().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

fn default_filter() -> Targets {
    Targets::new().with_default(tracing::Level::INFO)
}

/// JSON lines with the event's fields at the top level.
fn json_layer<S>() -> fmt::Layer<S, fmt::format::JsonFields, fmt::format::Format<fmt::format::Json>>
{
    fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false)
}

pub const FILTER_VARIABLE: &str = "STEPGATE_LOG";
pub const FORMAT_VARIABLE: &str = "STEPGATE_LOG_FORMAT";

/// Field names, as the audit log has them: `info!({ field::REQUEST } = %id, …)`.
pub mod field {
    pub const REQUEST: &str = "request";
    pub const SITE: &str = "site";
    pub const ACCOUNT: &str = "account";
    pub const CREDENTIAL: &str = "credential";
    pub const CLIENT: &str = "client";
    pub const ACTION: &str = "action";
    pub const VERDICT: &str = "verdict";
    pub const RULE: &str = "rule";
    pub const CHALLENGE: &str = "challenge";
    pub const FACTOR: &str = "factor";
    pub const POLICY: &str = "policy";
    pub const UPSTREAM_STATUS: &str = "upstream_status";
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_message_has_the_audit_logs_names() {
        let written = Written::default();
        let writer = written.clone();
        let layer = json_layer().with_writer(move || writer.clone());
        let messages = tracing_subscriber::registry().with(default_filter()).with(layer);
        tracing::subscriber::with_default(messages, || {
            tracing::info!({ field::REQUEST } = "r1", { field::SITE } = %"main", "passed\n\"x\"");
            tracing::debug!("not asked for");
        });
        let bytes = written.0.lock().unwrap().clone();
        let message: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&message["request"], &message["site"]), (&"r1".into(), &"main".into()));
        assert_eq!(message["message"], "passed\n\"x\"");
    }

    #[test]
    fn formats_are_two_words() {
        assert_eq!(Format::from_word("json"), Some(Format::Json));
        assert_eq!(Format::from_word("yaml"), None);
    }
}
