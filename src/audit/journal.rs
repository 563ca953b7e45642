//! The audit file: opened under a lock, appended to, made durable, followed when it is rotated.
//!
//! Never changes a whole line that is in it. Invariant: `head` is where the durable chain stands;
//! bytes of a write that failed are cut off again before the next one, and belong to records that
//! nobody was told are written.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chain::{Head, LINE_BYTES_MAX};
use crate::types::UnixMs;

/// Why the log cannot be used. A gateway does not start then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the audit log {path} cannot be opened")]
    Open { path: PathBuf, source: io::Error },
    #[error("the audit log {path} is in use by another gateway")]
    InUse { path: PathBuf },
    #[error("the end of the audit log {path} is not a record: it was altered, or is another file")]
    Garbage { path: PathBuf },
    #[error("the audit log {path} does not end where this gateway stopped writing")]
    Foreign { path: PathBuf },
    #[error("the audit log's writer cannot be started")]
    Thread(#[source] io::Error),
}

/// The open file and where its chain stands.
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Device and inode of `file`, to see that the path names another file now.
    identity: (u64, u64),
    /// Bytes of whole, durable lines.
    length: u64,
    pub head: Head,
}

/// A cut-off last line that was moved to a file of its own.
pub(super) struct Torn {
    pub moved_to: PathBuf,
    pub bytes: usize,
}

impl Journal {
    /// Opens or creates the file and finds the end of its chain. A cut-off last line is moved to
    /// `<file>.torn-<time>`.
    pub fn open(path: &Path, now: UnixMs) -> Result<(Self, Option<Torn>), OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
        }
        let mut file = open_locked(path)?;
        let mut torn = None;
        let (mut head, mut length) = (Head::GENESIS, 0);
        if file.metadata().map_err(failed)?.is_file() {
            let tail = Tail::read(&mut file).map_err(failed)?;
            length = tail.whole_bytes;
            if length > 0 {
                let garbage = || OpenError::Garbage { path: path.to_owned() };
                head = tail.last_line.as_deref().and_then(Head::after).ok_or_else(garbage)?;
            }
            if !tail.torn.is_empty() {
                // Without one whole line in front, nothing says that this file is ours to cut.
                if length == 0 && !tail.torn.starts_with(br#"{"seq":0,"#) {
                    return Err(OpenError::Garbage { path: path.to_owned() });
                }
                torn = Some(move_aside(path, &file, &tail, now).map_err(failed)?);
            }
        }
        let identity = identity(&file).map_err(failed)?;
        Ok((Self { path: path.to_owned(), file: Some(file), identity, length, head }, torn))
    }

    /// Appends whole lines and makes them durable; `after` is where the chain stands behind them.
    ///
    /// # Errors
    /// Any error of the file. The file is closed then, and `follow` opens it again.
    pub fn append(&mut self, lines: &[u8], after: Head) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if written.is_err() {
            // After a failed sync nobody knows what the disk holds: start again from the file
            // itself.
            self.file = None;
        } else {
            self.length += lines.len() as u64;
            self.head = after;
        }
        written
    }

    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the path names another file now, or none, or the file was emptied under our hands
    /// (logrotate's `copytruncate`).
    pub fn is_rotated(&self) -> bool {
        let found = std::fs::metadata(&self.path);
        !found.is_ok_and(|found| {
            (found.dev(), found.ino()) == self.identity && found.len() >= self.length
        })
    }

    /// Opens what the path names now. The same file is cut back to its durable lines; a new one
    /// must be empty.
    pub fn follow(&mut self) -> Result<(), OpenError> {
        let failed = |source| OpenError::Open { path: self.path.clone(), source };
        // The old lock goes first: it may be on the same file.
        self.file = None;
        let file = open_locked(&self.path)?;
        let found = identity(&file).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        // An empty file is a new one even under the old number: file systems give numbers again.
        let same = found == self.identity && about.len() > 0;
        let length = if same { self.length } else { 0 };
        if about.is_file() {
            if about.len() < length || (!same && about.len() > 0) {
                return Err(OpenError::Foreign { path: self.path.clone() });
            }
            if about.len() > length {
                file.set_len(length).and_then(|()| file.sync_all()).map_err(failed)?;
            }
        }
        (self.file, self.identity, self.length) = (Some(file), found, length);
        Ok(())
    }

    /// Whether the next line is the first of a file that continues an earlier one.
    pub fn continues_in_new_file(&self) -> bool {
        self.length == 0 && self.head != Head::GENESIS
    }
}

/// The end of a file.
struct Tail {
    /// Bytes up to and with the last newline.
    whole_bytes: u64,
    /// The last line with a newline, without it; none if it is longer than a record can be.
    last_line: Option<Vec<u8>>,
    torn: Vec<u8>,
}

impl Tail {
    fn read(file: &mut File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let window = length.min(2 * LINE_BYTES_MAX as u64);
        file.seek(SeekFrom::Start(length - window))?;
        let mut bytes = Vec::new();
        Read::by_ref(file).take(window).read_to_end(&mut bytes)?;
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            let whole_bytes = length - bytes.len() as u64;
            return Ok(Self { whole_bytes, last_line: None, torn: bytes });
        };
        let torn = bytes.split_off(end + 1);
        bytes.pop();
        let begin = bytes.iter().rposition(|byte| *byte == b'\n').map(|before| before + 1);
        let begin = begin.or((window == length).then_some(0));
        let last_line = begin.and_then(|begin| bytes.get(begin..)).map(<[u8]>::to_vec);
        Ok(Self { whole_bytes: length - torn.len() as u64, last_line, torn })
    }
}

fn move_aside(path: &Path, file: &File, tail: &Tail, now: UnixMs) -> io::Result<Torn> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".torn-{}", now.0));
    let moved_to = PathBuf::from(name);
    let mut aside = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&moved_to)?;
    aside.write_all(&tail.torn)?;
    aside.sync_all()?;
    file.set_len(tail.whole_bytes)?;
    file.sync_all()?;
    Ok(Torn { moved_to, bytes: tail.torn.len() })
}

/// Two gateways on one file would break the chain of both.
fn open_locked(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Open { path: path.to_owned(), source };
    let existed = path.exists();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    if !existed {
        // The name itself must survive a crash, or the first records would be durable in a file
        // nobody finds.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(file)
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|about| (about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{self, RawLine};
    use crate::audit::record::{Event, Record};

    fn append(journal: &mut Journal, note: &str) {
        let (mut head, mut lines) = (journal.head, Vec::new());
        let record = Record::new(UnixMs(0), Event::Notice).with_note(note);
        head.append(&record, &mut lines).unwrap();
        journal.append(&lines, head).unwrap();
    }

    #[test]
    fn what_a_failed_write_left_behind_is_cut_off_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut journal, _) = Journal::open(&path, UnixMs(0)).unwrap();
        append(&mut journal, "one");
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(br#"{"seq":1,"prev":"half a rec"#).unwrap();
        journal.file = None;
        assert!(!journal.is_open());
        journal.follow().unwrap();
        append(&mut journal, "two");
        let text = std::fs::read_to_string(&path).unwrap();
        let line = |(number, line): (u64, &str)| RawLine {
            file: "f",
            number,
            bytes: line.as_bytes().to_vec(),
            terminated: true,
        };
        let summary = chain::verify((1..).zip(text.lines()).map(line), None).unwrap();
        assert_eq!(summary.records, 2);
    }

    #[test]
    fn a_file_that_lost_durable_lines_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (mut journal, _) = Journal::open(&path, UnixMs(0)).unwrap();
        append(&mut journal, "one");
        OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert!(matches!(journal.follow(), Err(OpenError::Foreign { .. })));
        assert!(!journal.is_open());
        // Emptied, it is a new file of the same chain.
        std::fs::write(&path, "").unwrap();
        assert!(journal.is_rotated());
        journal.follow().unwrap();
        assert!(journal.continues_in_new_file() && journal.head.seq == 1);
        // Another log was put in its place.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "something else\n").unwrap();
        assert!(matches!(journal.follow(), Err(OpenError::Foreign { .. })));
    }
}
