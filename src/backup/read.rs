//! Reading a backup, record by record.
//!
//! Never gives out a byte that is not authentic and in its place, and never holds more than a chunk and a record.
//! Invariant: only after `record` has answered `None` is the file known to be whole; whoever writes what it holds reads
//! it to that end first.

use std::io::{BufRead as _, BufReader, Read};

use super::{
    BackupError, CHUNK_BYTES, Counts, END, FORMAT, HEAD_BYTES_MAX, Head, PURPOSE, RECORD_BYTES_MAX,
    Trailer,
};
use crate::crypto::{Keyring, SealError, StreamKey, TAG_BYTES};
use crate::store::moved::Kept;

/// A backup that is being read.
pub struct Reader<R> {
    source: BufReader<R>,
    head: Head,
    key: StreamKey,
    /// Number of the next chunk.
    chunk: u64,
    /// The first byte of the next chunk, read to see whether there is one.
    ahead: Option<u8>,
    at_end: bool,
    /// Opened text from `at` on.
    text: Vec<u8>,
    at: usize,
    counts: Counts,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// If it is no backup, or of a format or under a key that is not known.
    pub fn open(source: R, keyring: &Keyring) -> Result<Self, BackupError> {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        let mut limited = source.by_ref().take(HEAD_BYTES_MAX as u64);
        limited.read_until(b'\n', &mut line)?;
        let head = head(&line)?;
        let key = keyring.stream_key(&head.key, PURPOSE, &line).map_err(|error| match error {
            SealError::UnknownKey(id) => BackupError::UnknownKey(id),
            _ => BackupError::NotABackup,
        })?;
        Ok(Self {
            source,
            head,
            key,
            chunk: 0,
            ahead: None,
            at_end: false,
            text: Vec::new(),
            at: 0,
            counts: Counts::default(),
            done: false,
        })
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What was read so far; all there is, once `record` has answered `None`.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The next record; `None` when the whole file was read and found complete.
    ///
    /// # Errors
    /// Whatever is wrong with the file. Nothing can be read after that.
    pub fn record(&mut self) -> Result<Option<Kept>, BackupError> {
        if self.done {
            return Ok(None);
        }
        let (from, to) = self.line()?;
        let line = self.text.get(from..to).unwrap_or_default();
        let record = self.counts.sum() + 1;
        let unreadable = |error: serde_json::Error| {
            // Its own words may quote the record.
            let why = format!("{:?} error at column {}", error.classify(), error.column());
            BackupError::Unreadable { record, why }
        };
        if !line.starts_with(END) {
            let kept: Kept = serde_json::from_slice(line).map_err(unreadable)?;
            self.counts.add(kept.kind());
            return Ok(Some(kept));
        }
        let said = serde_json::from_slice::<Trailer>(line).map_err(unreadable)?.end;
        if said != self.counts {
            return Err(BackupError::Miscounted { said, found: self.counts.clone() });
        }
        if !self.at_end || self.at < self.text.len() {
            let why = "it stands behind the end".to_owned();
            return Err(BackupError::Unreadable { record, why });
        }
        self.done = true;
        Ok(None)
    }

    /// Where the next line stands in `text`, without its end.
    fn line(&mut self) -> Result<(usize, usize), BackupError> {
        let mut looked = self.at;
        loop {
            let unseen = self.text.get(looked..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', unseen) {
                let (from, to) = (self.at, looked + end);
                self.at = to + 1;
                return Ok((from, to));
            }
            looked = self.text.len() - self.at;
            let record = self.counts.sum() + 1;
            if looked > RECORD_BYTES_MAX {
                let why = format!("it is longer than {RECORD_BYTES_MAX} bytes");
                return Err(BackupError::Unreadable { record, why });
            }
            if self.at_end {
                let why = "there is no end behind it".to_owned();
                return Err(BackupError::Unreadable { record, why });
            }
            self.text.drain(..self.at);
            self.at = 0;
            self.open_chunk()?;
        }
    }

    /// Opens the next chunk behind `text`.
    fn open_chunk(&mut self) -> Result<(), BackupError> {
        let mut sealed: Vec<u8> = self.ahead.take().into_iter().collect();
        let wanted = SEALED_BYTES + 1 - sealed.len();
        self.source.by_ref().take(wanted as u64).read_to_end(&mut sealed)?;
        let last = sealed.len() <= SEALED_BYTES;
        if !last {
            self.ahead = sealed.pop();
        }
        let mut opened = sealed.clone();
        if self.key.open(self.chunk, last, &mut opened).is_err() {
            return Err(self.why_not(sealed, last));
        }
        self.chunk += 1;
        self.at_end = last;
        self.text.append(&mut opened);
        Ok(())
    }

    /// Whether a chunk that does not open here would open if it stood elsewhere.
    fn why_not(&self, mut sealed: Vec<u8>, last: bool) -> BackupError {
        let chunk = self.chunk + 1;
        if sealed.is_empty() {
            return BackupError::Truncated { chunks: self.chunk };
        }
        match (self.key.open(self.chunk, !last, &mut sealed), last) {
            (Ok(()), true) => BackupError::Truncated { chunks: chunk },
            (Ok(()), false) => BackupError::Continued { chunks: chunk },
            (Err(_), _) => BackupError::Altered { chunk, key: self.head.key.clone() },
        }
    }
}

fn head(line: &[u8]) -> Result<Head, BackupError> {
    #[derive(serde::Deserialize)]
    struct Any {
        stepgate_backup: u32,
    }
    if !line.ends_with(b"\n") {
        return Err(BackupError::NotABackup);
    }
    let any: Any = serde_json::from_slice(line).map_err(|_| BackupError::NotABackup)?;
    if any.stepgate_backup > FORMAT {
        return Err(BackupError::Newer { found: any.stepgate_backup });
    }
    let head: Head = serde_json::from_slice(line).map_err(|_| BackupError::NotABackup)?;
    if head.stepgate_backup == FORMAT { Ok(head) } else { Err(BackupError::NotABackup) }
}

const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
