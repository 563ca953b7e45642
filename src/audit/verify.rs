//! `stepgate audit verify FILE…`: the files of a log, oldest first, as one row of lines for
//! `chain::verify`.
//!
//! Never writes, and never holds more than one line in memory.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::{self, Break, LINE_BYTES_MAX, RawLine, Summary};
use super::keys::{Keys, KeysError};

/// Why nothing was proven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain does not hold; this is the first place.
    #[error(transparent)]
    Broken(#[from] Break),
    #[error("the key set cannot be used")]
    Keys(#[from] KeysError),
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
}

/// Proves that the files, given oldest first, hold one whole chain. `jwks` is the text of the
/// gateway's key set (as served at `/.stepgate/jwks.json`); without it, compare
/// `Summary::thumbprints` with a copy kept elsewhere.
///
/// A last line that is cut off, and stays so for a moment (a running gateway may just be writing
/// it), is in `Summary::torn`. It is no break of the chain: a gateway that crashed leaves it
/// behind, and moves it aside when it starts. But a file can also be cut by hand, so callers should
/// not call such a log sound.
///
/// # Errors
/// The first break, or a file or key set that cannot be read.
pub fn verify_files<P: AsRef<Path>>(
    paths: &[P],
    jwks: Option<&str>,
) -> Result<Summary, VerifyError> {
    let keys = jwks.map(Keys::from_jwks).transpose()?;
    let names: Vec<String> = paths.iter().map(|path| path.as_ref().display().to_string()).collect();
    let mut summary = walk(&names, keys.as_ref())?;
    for _ in 0..LIVE_TRIES {
        if summary.torn.is_none() {
            break;
        }
        std::thread::sleep(LIVE_PAUSE);
        summary = walk(&names, keys.as_ref())?;
    }
    Ok(summary)
}

fn walk(names: &[String], keys: Option<&Keys>) -> Result<Summary, VerifyError> {
    let mut lines = Lines { names: names.iter(), open: None, failed: None };
    let verdict = chain::verify(&mut lines, keys);
    // A file that could not be read to its end looks like a short one to the chain: the cause comes
    // first.
    match lines.failed {
        Some((path, source)) => Err(VerifyError::Read { path, source }),
        None => Ok(verdict?),
    }
}

impl Summary {
    /// Nothing is wrong, not even a cut-off end.
    pub fn is_sound(&self) -> bool {
        self.torn.is_none()
    }
}

impl fmt::Display for Summary {
    /// For `audit verify`: what was proven, and what a reader has to compare with a copy kept
    /// elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, first_seq, last_seq, checkpoints, unsigned, .. } = self;
        writeln!(f, "whole: {records} records, {first_seq} to {last_seq}")?;
        if *first_seq > 0 {
            writeln!(f, "begins where an earlier file ended, with a signature that says so")?;
        }
        writeln!(f, "last hash: {}", self.last_hash.hex())?;
        writeln!(f, "checkpoints: {checkpoints}; records behind the last one: {unsigned}")?;
        for thumbprint in &self.thumbprints {
            writeln!(f, "signed by key: {thumbprint}")?;
        }
        if let Some((line, bytes)) = self.torn {
            writeln!(f, "cut off: line {line} of the last file breaks off after {bytes} bytes")?;
        }
        f.write_str(if self.closed {
            "the last record is the signed end of its file"
        } else {
            "no signed end: the gateway is running, has crashed, or the end was cut off"
        })
    }
}

struct Lines<'f> {
    names: std::slice::Iter<'f, String>,
    open: Option<(&'f str, u64, BufReader<File>)>,
    failed: Option<(PathBuf, io::Error)>,
}

impl<'f> Lines<'f> {
    fn next_line(&mut self) -> io::Result<Option<RawLine<'f>>> {
        let Some((name, number, reader)) = &mut self.open else { return Ok(None) };
        let mut bytes = Vec::new();
        reader.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        *number += 1;
        let terminated = bytes.pop_if(|last| *last == b'\n').is_some();
        Ok(Some(RawLine { file: name, number: *number, bytes, terminated }))
    }
}

impl<'f> Iterator for Lines<'f> {
    type Item = RawLine<'f>;

    fn next(&mut self) -> Option<RawLine<'f>> {
        while self.failed.is_none() {
            let here = self.open.as_ref().map(|(name, ..)| *name);
            match self.next_line() {
                Ok(Some(line)) => return Some(line),
                Ok(None) => {}
                Err(error) => {
                    self.failed = Some((here.unwrap_or_default().into(), error));
                    return None;
                }
            }
            let name = self.names.next()?;
            match File::open(name) {
                Ok(file) => self.open = Some((name, 0, BufReader::new(file))),
                Err(error) => self.failed = Some((name.into(), error)),
            }
        }
        None
    }
}

const LIVE_TRIES: usize = 3;
const LIVE_PAUSE: Duration = Duration::from_millis(100);
