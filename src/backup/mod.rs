//! The file of a backup: everything a store keeps, encrypted, in pieces of constant size.
//!
//! Never holds a secret in the clear: what is sealed in the store stays sealed inside. Invariant: a file is read to its
//! end and found whole before anything of it is believed.
//!
//! ## The file
//!
//! One line of JSON, the head: `{"stepgate_backup":1,"created":…,"key":"<id of the master key>","salt":…}`. Then the
//! content in chunks of 64 KiB, each sealed with its number and with whether it is the last (`crypto::stream`); the key
//! is derived from the master key and the whole head, salt included. The content is JSON lines: one `Kept` each, at the
//! end `{"end":{…}}` with how many there are of each kind.

mod inventory;
mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

pub use inventory::Inventory;
pub use read::Reader;
pub use write::Writer;

use crate::types::UnixMs;

/// What a file says of itself before it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format; also what makes it a backup of ours.
    pub stepgate_backup: u32,
    #[serde(with = "rfc3339")]
    pub created: UnixMs,
    /// Id of the master key.
    pub key: String,
    /// Makes the key of each file its own.
    salt: String,
}

/// How many records of each kind there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub fn add(&mut self, kind: &str) {
        match self.0.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(kind.to_owned(), 1)),
        }
    }

    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    pub fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

/// `accounts 2, places 1`, or `nothing`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (at, (kind, count)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{kind} {count}")?;
        }
        Ok(())
    }
}

/// Why a file is not taken, or not written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it is not a backup of stepgate: its first line is not the head of one")]
    NotABackup,
    #[error(
        "it is of format {found} and this stepgate knows formats up to {FORMAT}: use the version that wrote it, or a \
         newer one"
    )]
    Newer { found: u32 },
    #[error(
        "it is sealed with the key `{0}`, which is not in store.master_key: put that key back into the key file, below \
         the others"
    )]
    UnknownKey(String),
    #[error(
        "chunk {chunk} does not open: it was altered or cut off, or `{key}` is another key than the one it was sealed \
         with; take another copy of the file"
    )]
    Altered { chunk: u64, key: String },
    #[error(
        "it is cut off: it ends after chunk {chunks}, which is not its last; take another copy of the file"
    )]
    Truncated { chunks: u64 },
    #[error("something was added behind its last chunk, {chunks}: take another copy of the file")]
    Continued { chunks: u64 },
    #[error("record {record} cannot be read: {why}")]
    Unreadable { record: u64, why: String },
    #[error("it says that it holds {said}, and it holds {found}")]
    Miscounted { said: Counts, found: Counts },
    #[error(
        "a record is longer than {RECORD_BYTES_MAX} bytes ({kind}): it cannot be part of a backup"
    )]
    TooLong { kind: &'static str },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The last line of the content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    end: Counts,
}

mod rfc3339 {
    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::UnixMs;

    pub fn serialize<S: Serializer>(time: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMs, D::Error> {
        let time: Timestamp =
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)?;
        Ok(UnixMs(time.as_millisecond()))
    }
}

const FORMAT: u32 = 1;
const PURPOSE: &str = "backup";
/// Text in each chunk but the last, which holds at most as much.
const CHUNK_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 1024;
const RECORD_BYTES_MAX: usize = 1 << 20;
const END: &[u8] = b"{\"end\":";
