//! The hash chain: how a record becomes a line, and how lines are proven whole.
//!
//! Never reads a file or a clock. The canonical form of a record is the bytes of its line, so that
//! nothing has to be written again to be verified:
//!
//! ```text
//! {"seq":7,"prev":"<hash of line 6>","time":…,"event":…,…,"hash":"<hash of this line>"}
//! hash = SHA-256(prev as 32 bytes ‖ the line up to, but without, `,"hash":"`)
//! ```
//!
//! Record 0 follows 32 zero bytes. Invariant: any change, loss, repetition or change of order in
//! front of a line changes the hash that the line carries. What the chain alone cannot show, a
//! rewritten or cut-off end, is narrowed by signed checkpoints: the signature covers a checkpoint's
//! own `seq` and `prev`.

use aws_lc_rs::digest;
use serde::Deserialize;

use super::keys::{self, Keys};
use super::record::{Checkpoint, CheckpointPlace, Event, Record};
use crate::types::UnixMs;

/// At most so many records between two checkpoints; `verify` holds the writer to it.
pub const CHECKPOINT_RECORDS_MAX: u64 = 1_000;
/// Longest line; a longer one is not a record.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// SHA-256 of a line and, through `prev`, of all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    pub const GENESIS: Self = Self([0; 32]);

    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Lower-case hex only: one spelling, as the writer writes it.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || digits.iter().any(|d| !matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn of(prev: Self, text: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&prev.0);
        context.update(text);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// Makes checkpoint signatures: ES256 over the message given, 64 bytes `r ‖ s`.
pub trait Signer: Send + Sync {
    fn kid(&self) -> &str;
    /// The public half: `kty`, `crv`, `x`, `y`.
    fn jwk(&self) -> serde_json::Value;
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

/// Where a chain stands: what the next record is numbered and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub prev: ChainHash,
}

impl Head {
    pub const GENESIS: Self = Self { seq: 0, prev: ChainHash::GENESIS };

    /// Writes `record` as the next line, newline included, to the end of `out`, and moves on.
    ///
    /// # Errors
    /// Only if the record cannot be written as JSON; nothing has happened then.
    pub fn append(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let body = serde_json::to_vec(record)?;
        let start = out.len();
        out.extend_from_slice(
            format!(r#"{{"seq":{},"prev":"{}","#, self.seq, self.prev.hex()).as_bytes(),
        );
        // A record is a JSON object with at least a time: `{` … `}`, of which the inside is wanted.
        out.extend_from_slice(body.get(1..body.len().saturating_sub(1)).unwrap_or_default());
        let hash = ChainHash::of(self.prev, out.get(start..).unwrap_or_default());
        out.extend_from_slice(SEAL);
        out.extend_from_slice(hash.hex().as_bytes());
        out.extend_from_slice(b"\"}\n");
        *self = Self { seq: self.seq + 1, prev: hash };
        Ok(())
    }

    /// A signed record of where the chain stands.
    pub fn checkpoint(&self, time: UnixMs, place: CheckpointPlace, signer: &dyn Signer) -> Record {
        let signature = signer.sign(&signed_message(*self, place));
        let checkpoint = Checkpoint {
            kid: signer.kid().to_owned(),
            jwk: signer.jwk(),
            place,
            signature: keys::encode(&signature),
        };
        Record { checkpoint: Some(checkpoint), ..Record::new(time, Event::Checkpoint) }
    }

    /// Where the chain stands after this line, if the line by itself is whole (without its
    /// newline).
    pub fn after(line: &[u8]) -> Option<Self> {
        let link = Link::read(line).ok()?;
        Some(Self { seq: link.seq.checked_add(1)?, prev: link.hash })
    }
}

/// One line of one file, without its newline.
#[derive(Clone, Debug)]
pub struct RawLine<'f> {
    pub file: &'f str,
    /// From 1.
    pub number: u64,
    pub bytes: Vec<u8>,
    /// A newline followed. Only the last line of a file can lack it.
    pub terminated: bool,
}

/// The first place where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct Break {
    pub file: String,
    pub line: u64,
    pub what: What,
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("altered: the line does not match its own hash")]
    Altered,
    #[error("unreadable: this is not a whole record (cut off, or altered)")]
    Unreadable,
    #[error("missing: records {from} to {to} are not here")]
    Missing { from: u64, to: u64 },
    #[error("reordered: record {seq} stands where record {expected} belongs")]
    Reordered { seq: u64, expected: u64 },
    #[error("duplicated: record {seq} was there before, record {expected} belongs here")]
    Duplicated { seq: u64, expected: u64 },
    #[error("replaced: record {seq} does not follow the record in front of it")]
    Replaced { seq: u64 },
    #[error("a new chain begins here, record {expected} belongs here")]
    NewChain { expected: u64 },
    #[error("the checkpoint's signature does not hold")]
    Signature,
    #[error("the checkpoint is signed with key {0}, which is not among the given keys")]
    UnknownKey(String),
    #[error("no signed checkpoint for more than {CHECKPOINT_RECORDS_MAX} records")]
    Unsigned,
    #[error("there is no record at all")]
    Empty,
}

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub records: u64,
    pub first_seq: u64,
    /// Number of the last record, and its hash: to be compared with a copy kept elsewhere, because
    /// nobody can see from a log alone that its end was cut off.
    pub last_seq: u64,
    pub last_hash: ChainHash,
    pub last_time: Option<UnixMs>,
    pub checkpoints: u64,
    /// RFC 7638 thumbprints of the keys that signed, in order of appearance. Computed from the
    /// keys, not read.
    pub thumbprints: Vec<String>,
    /// Records behind the last checkpoint: chained, but not yet signed.
    pub unsigned: u64,
    /// The last record is the signed one that a clean stop or a rotation writes.
    pub closed: bool,
    /// The very last line of the last file is cut off in the middle, with so many bytes. It was
    /// never acknowledged: a commit is answered after its newline is durable. A restart moves it
    /// aside and says so in a record.
    pub torn: Option<(u64, usize)>,
}

/// Proves that these lines are one whole chain. With `keys`, only signatures of those keys count;
/// without, a checkpoint is held against the key inside it, and `Summary::thumbprints` is for the
/// reader to compare.
///
/// # Errors
/// The first break.
pub fn verify<'f>(
    lines: impl Iterator<Item = RawLine<'f>>,
    keys: Option<&Keys>,
) -> Result<Summary, Break> {
    let mut lines = lines.peekable();
    let mut walk = Walk::new(keys);
    let (mut file, mut number) = (String::new(), 0);
    while let Some(line) = lines.next() {
        if file != line.file {
            file = line.file.to_owned();
        }
        number = line.number;
        if !line.terminated && lines.peek().is_none() {
            walk.torn = Some((number, line.bytes.len()));
            break;
        }
        if let Err(what) = walk.step(&line) {
            return Err(Break { file, line: number, what: found_later(what, lines) });
        }
    }
    walk.finish().map_err(|what| Break { file, line: number, what })
}

/// Tells a record that stands further down from one that is gone.
fn found_later<'f>(what: What, mut rest: impl Iterator<Item = RawLine<'f>>) -> What {
    let What::Missing { from, to } = what else { return what };
    let is_missing = |line: RawLine<'_>| Link::read(&line.bytes).is_ok_and(|link| link.seq == from);
    if rest.any(is_missing) { What::Reordered { seq: to + 1, expected: from } } else { what }
}

/// The state of a walk along the lines.
struct Walk<'k> {
    keys: Option<&'k Keys>,
    /// What the next line must be; none in front of the first.
    head: Option<Head>,
    first_seq: u64,
    records: u64,
    last_time: Option<UnixMs>,
    checkpoints: u64,
    thumbprints: Vec<String>,
    unsigned: u64,
    closed: bool,
    torn: Option<(u64, usize)>,
}

impl<'k> Walk<'k> {
    fn new(keys: Option<&'k Keys>) -> Self {
        Self {
            keys,
            head: None,
            first_seq: 0,
            records: 0,
            last_time: None,
            checkpoints: 0,
            thumbprints: Vec::new(),
            unsigned: 0,
            closed: false,
            torn: None,
        }
    }

    fn step(&mut self, line: &RawLine<'_>) -> Result<(), What> {
        if !line.terminated {
            return Err(What::Unreadable);
        }
        let link = Link::read(&line.bytes)?;
        match self.head {
            Some(head) => link.follows(head, self.first_seq)?,
            None => self.begin(&link)?,
        }
        self.sign(&link)?;
        self.head = Some(Head { seq: link.seq + 1, prev: link.hash });
        self.records += 1;
        self.last_time = Some(link.record.time);
        Ok(())
    }

    /// A chain begins at record 0, or at the signed head of a file that continues an earlier one.
    fn begin(&mut self, link: &Link) -> Result<(), What> {
        let continues = matches!(
            &link.record.checkpoint,
            Some(Checkpoint { place: CheckpointPlace::Head, .. })
        );
        if link.seq == 0 && link.prev != ChainHash::GENESIS {
            return Err(What::Replaced { seq: 0 });
        }
        if link.seq > 0 && !continues {
            return Err(What::Missing { from: 0, to: link.seq - 1 });
        }
        self.first_seq = link.seq;
        Ok(())
    }

    fn sign(&mut self, link: &Link) -> Result<(), What> {
        let Some(checkpoint) = &link.record.checkpoint else {
            self.unsigned += 1;
            self.closed = false;
            let too_many = self.unsigned > CHECKPOINT_RECORDS_MAX;
            return if too_many { Err(What::Unsigned) } else { Ok(()) };
        };
        let stands = Head { seq: link.seq, prev: link.prev };
        let message = signed_message(stands, checkpoint.place);
        let thumbprint = keys::check(checkpoint, &message, self.keys)?;
        if !self.thumbprints.contains(&thumbprint) {
            self.thumbprints.push(thumbprint);
        }
        self.checkpoints += 1;
        self.unsigned = 0;
        self.closed = checkpoint.place == CheckpointPlace::End;
        Ok(())
    }

    fn finish(self) -> Result<Summary, What> {
        let head = self.head.ok_or(What::Empty)?;
        Ok(Summary {
            records: self.records,
            first_seq: self.first_seq,
            last_seq: head.seq - 1,
            last_hash: head.prev,
            last_time: self.last_time,
            checkpoints: self.checkpoints,
            thumbprints: self.thumbprints,
            unsigned: self.unsigned,
            closed: self.closed,
            torn: self.torn,
        })
    }
}

/// One line taken apart; its own hash holds.
struct Link {
    seq: u64,
    prev: ChainHash,
    record: Record,
    hash: ChainHash,
}

impl Link {
    fn read(line: &[u8]) -> Result<Self, What> {
        let sealed = line.len().checked_sub(SEAL.len() + 64 + 2).ok_or(What::Unreadable)?;
        let (text, seal) = line.split_at(sealed);
        let hash = seal
            .strip_prefix(SEAL)
            .and_then(|rest| rest.strip_suffix(b"\"}"))
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(ChainHash::from_hex)
            .ok_or(What::Unreadable)?;
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
            prev: String,
        }
        let place: Place = serde_json::from_slice(line).map_err(|_| What::Altered)?;
        let prev = ChainHash::from_hex(&place.prev).ok_or(What::Altered)?;
        if ChainHash::of(prev, text) != hash || place.seq == u64::MAX {
            return Err(What::Altered);
        }
        let record: Record = serde_json::from_slice(line).map_err(|_| What::Unreadable)?;
        Ok(Self { seq: place.seq, prev, record, hash })
    }

    fn follows(&self, head: Head, first_seq: u64) -> Result<(), What> {
        let (seq, expected) = (self.seq, head.seq);
        if seq == expected && self.prev == head.prev {
            Ok(())
        } else if seq == expected {
            Err(What::Replaced { seq })
        } else if seq > expected {
            Err(What::Missing { from: expected, to: seq - 1 })
        } else if seq == 0 && self.record.event == Event::Started {
            Err(What::NewChain { expected })
        } else if seq >= first_seq {
            Err(What::Duplicated { seq, expected })
        } else {
            Err(What::Reordered { seq, expected })
        }
    }
}

/// What a checkpoint signs. Fixed lengths behind a fixed label: one reading only.
fn signed_message(head: Head, place: CheckpointPlace) -> Vec<u8> {
    let place = match place {
        CheckpointPlace::Head => 0,
        CheckpointPlace::Middle => 1,
        CheckpointPlace::End => 2,
    };
    [&b"stepgate audit checkpoint 1\n"[..], &head.seq.to_be_bytes(), &head.prev.0, &[place]]
        .concat()
}

const SEAL: &[u8] = br#","hash":""#;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain_of(count: usize) -> Vec<Vec<u8>> {
        let mut head = Head::GENESIS;
        let line = |_| {
            let mut line = Vec::new();
            head.append(&Record::new(UnixMs(0), Event::Notice), &mut line).unwrap();
            line.pop();
            line
        };
        (0..count).map(line).collect()
    }

    fn verified(lines: Vec<Vec<u8>>) -> Result<Summary, Break> {
        let raw = |(at, bytes)| RawLine { file: "f", number: at, bytes, terminated: true };
        verify((1..).zip(lines).map(raw), None)
    }

    #[test]
    fn a_line_is_the_documented_one() {
        let line = String::from_utf8(chain_of(1).remove(0)).unwrap();
        let prev = "0".repeat(64);
        let text = format!(
            r#"{{"seq":0,"prev":"{prev}","time":"1970-01-01T00:00:00.000Z","event":"notice""#
        );
        let hash = ChainHash::of(ChainHash::GENESIS, text.as_bytes()).hex();
        assert_eq!(line, format!(r#"{text},"hash":"{hash}"}}"#));
        assert_eq!(Head::after(line.as_bytes()).map(|head| head.seq), Some(1));
    }

    #[test]
    fn a_record_that_was_replaced_along_with_its_hash_is_found_behind_it() {
        let mut lines = chain_of(3);
        let mut head = Head::after(&lines[0]).unwrap();
        let mut forged = Vec::new();
        head.append(&Record::new(UnixMs(9), Event::Thawed), &mut forged).unwrap();
        forged.pop();
        lines[1] = forged;
        assert_eq!(verified(lines).unwrap_err().what, What::Replaced { seq: 2 });
    }

    #[test]
    fn a_chain_without_signatures_ends_after_a_thousand_records() {
        assert!(verified(chain_of(1_000)).is_ok());
        let found = verified(chain_of(1_001)).unwrap_err();
        assert_eq!((found.line, found.what), (1_001, What::Unsigned));
    }

    #[test]
    fn a_second_chain_in_one_file_is_named() {
        let mut head = Head::GENESIS;
        let mut started = Vec::new();
        head.append(&Record::new(UnixMs(0), Event::Started), &mut started).unwrap();
        started.pop();
        let lines = [chain_of(2), vec![started]].concat();
        assert_eq!(verified(lines).unwrap_err().what, What::NewChain { expected: 2 });
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_verifier_panic(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)
        ) {
            prop_assert!(verified(lines).is_err());
        }

        #[test]
        fn no_change_of_one_byte_goes_unseen(at in 0_usize..1_000, value in any::<u8>()) {
            let mut lines = chain_of(4);
            let line = at % 4;
            let place = at % lines[line].len();
            prop_assume!(lines[line][place] != value);
            lines[line][place] = value;
            prop_assert_eq!(verified(lines).unwrap_err().line, line as u64 + 1);
        }
    }
}
