//! The commands behind the command line, each in a function that returns its exit code.
//!
//! Never prints a secret. Invariant: 0 means that all is well, 1 that something is not.

/// Prints a line; a reader that has gone away (`stepgate check | head`) is no reason to fail.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

pub mod backup;
pub mod check;
pub mod doctor;
pub mod explain;
pub mod facts;
pub mod operate;
pub mod replay;
pub mod restore;
pub mod routes;
pub mod schema;
mod state;
mod status;
pub mod suspend;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use crate::audit;
use crate::serve::{self, Signals, Start};
use crate::world::{SystemClock, SystemEntropy};

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting.
pub fn serve(config: &Path) -> anyhow::Result<ExitCode> {
    crate::telemetry::start(None)?;
    let start = Start {
        config: config.to_owned(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::listen() })?;
    let running = serve::start(start)?;
    runtime.block_on(serve::until_told(running, signals))?;
    Ok(ExitCode::SUCCESS)
}

/// Proves audit files whole, in the order given.
///
/// # Errors
/// If a file or the key set cannot be read.
pub fn verify(files: &[PathBuf], jwks: Option<&Path>) -> anyhow::Result<ExitCode> {
    let jwks = match jwks {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        ),
        None => None,
    };
    match audit::verify_files(files, jwks.as_deref()) {
        Ok(summary) => {
            say!("{summary}");
            Ok(if summary.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            say!("{:#}", anyhow::Error::from(error));
            Ok(ExitCode::FAILURE)
        }
    }
}
