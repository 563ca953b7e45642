//! Writing a backup, record by record.
//!
//! Never holds more than a chunk and a record. Invariant: what was not finished has no last chunk, and is refused.

use std::io::Write;

use super::{BackupError, CHUNK_BYTES, Counts, FORMAT, Head, PURPOSE, RECORD_BYTES_MAX, Trailer};
use crate::crypto::{Keyring, StreamKey, TAG_BYTES, random_id};
use crate::store::moved::Kept;
use crate::types::UnixMs;
use crate::world::Entropy;

/// A backup that is being written.
pub struct Writer<W> {
    out: W,
    key: StreamKey,
    /// Number of the next chunk.
    chunk: u64,
    /// Text that no chunk holds yet.
    text: Vec<u8>,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    /// Begins a file under the newest master key.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(
        mut out: W,
        keyring: &Keyring,
        entropy: &dyn Entropy,
        now: UnixMs,
    ) -> Result<Self, BackupError> {
        let id = keyring.newest().to_owned();
        let salt = random_id(entropy);
        let head = Head { stepgate_backup: FORMAT, created: now, key: id, salt };
        let mut line = serde_json::to_vec(&head).map_err(std::io::Error::other)?;
        line.push(b'\n');
        let key = keyring
            .stream_key(&head.key, PURPOSE, &line)
            .map_err(|_| BackupError::UnknownKey(head.key.clone()))?;
        out.write_all(&line)?;
        let text = Vec::with_capacity(CHUNK_BYTES * 2);
        Ok(Self { out, key, chunk: 0, text, counts: Counts::default() })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If it cannot be written, or is longer than any reader takes.
    pub fn put(&mut self, kept: &Kept) -> Result<(), BackupError> {
        let before = self.text.len();
        serde_json::to_writer(&mut self.text, kept).map_err(std::io::Error::other)?;
        self.text.push(b'\n');
        if self.text.len() - before > RECORD_BYTES_MAX {
            return Err(BackupError::TooLong { kind: kept.kind() });
        }
        self.counts.add(kept.kind());
        self.seal_full()
    }

    /// Ends the file; how many records it holds.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<(W, Counts), BackupError> {
        let trailer = Trailer { end: self.counts.clone() };
        serde_json::to_writer(&mut self.text, &trailer).map_err(std::io::Error::other)?;
        self.text.push(b'\n');
        self.end()
    }

    /// Where it writes to; what stands there already may be taken away.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Any text at all as the content, for whoever wants to know what readers make of it.
    #[doc(hidden)]
    pub fn with_content(mut self, content: &[u8]) -> Result<W, BackupError> {
        self.text.extend_from_slice(content);
        Ok(self.end()?.0)
    }

    fn end(mut self) -> Result<(W, Counts), BackupError> {
        self.seal_full()?;
        let rest = std::mem::take(&mut self.text);
        self.seal(rest, true)?;
        self.out.flush()?;
        Ok((self.out, self.counts))
    }

    /// Seals what fills a chunk; at least one byte stays, because the last chunk is never empty.
    fn seal_full(&mut self) -> Result<(), BackupError> {
        while self.text.len() > CHUNK_BYTES {
            let rest = self.text.split_off(CHUNK_BYTES);
            let full = std::mem::replace(&mut self.text, rest);
            self.seal(full, false)?;
        }
        Ok(())
    }

    fn seal(&mut self, mut chunk: Vec<u8>, last: bool) -> Result<(), BackupError> {
        chunk.reserve_exact(TAG_BYTES);
        let sealed = self.key.seal(self.chunk, last, &mut chunk);
        sealed.map_err(std::io::Error::other)?;
        self.chunk += 1;
        self.out.write_all(&chunk)?;
        Ok(())
    }
}
