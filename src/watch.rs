//! Notices that a file was replaced: by a poll, which also sees ConfigMaps and network file systems.
//!
//! Never reads the files' contents. Invariant: what was read last is what a change is a change from, whoever had it
//! read; a change is reported after the files have been still for one poll, so that a half-written set is not loaded;
//! and of a set that moves while it is read nothing is used (`read_still`).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files as they were when they were noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What belongs together: read in one piece, or not at all.
    set: BTreeMap<PathBuf, Stamp>,
    /// What may be replaced at any moment, also while the set is read.
    alone: BTreeMap<PathBuf, Stamp>,
}

impl Seen {
    /// Notes them, to be called before they are read. The first time counts.
    pub fn note(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for file in files {
            let now = stamp(&file);
            self.set.entry(file).or_insert(now);
        }
    }

    /// The same for a file that is complete by itself and replaced often, such as prices.
    pub fn note_alone(&mut self, file: PathBuf) {
        let now = stamp(&file);
        self.set.remove(&file);
        self.alone.entry(file).or_insert(now);
    }

    /// The first of them that is another now.
    fn moved(&self) -> Option<&Path> {
        self.set.iter().find(|(file, known)| stamp(file) != **known).map(|(file, _)| file.as_path())
    }

    /// The same files as they are now.
    fn again(&self) -> Self {
        let mut again = Self::default();
        again.note(self.set.keys().cloned());
        self.alone.keys().cloned().for_each(|file| again.note_alone(file));
        again
    }
}

/// What the last poll saw.
#[derive(Debug, Default)]
pub struct Watch(Option<Seen>);

impl Watch {
    /// Whether something is not as it was when it was read, and has been still since the last poll.
    pub fn poll(&mut self, read: &Seen) -> bool {
        let now = read.again();
        let still = self.0.as_ref() == Some(&now);
        let changed = now != *read;
        self.0 = Some(now);
        changed && still
    }
}

/// Reads files again until none of them was replaced in the middle of it: half of one set and half of another are a set
/// that nobody wrote, and it may have no fault. `read` notes each file before it reads it. Blocks.
///
/// # Errors
/// With the file that moved each time.
pub fn read_still<T>(mut read: impl FnMut(&mut Seen) -> T) -> Result<T, PathBuf> {
    let mut moved = PathBuf::new();
    for _ in 0..READS_MAX {
        let mut seen = Seen::default();
        let read = read(&mut seen);
        match seen.moved() {
            None => return Ok(read),
            Some(file) => moved = file.to_owned(),
        }
        std::thread::sleep(READ_AGAIN);
    }
    Err(moved)
}

const READS_MAX: usize = 5;
const READ_AGAIN: Duration = Duration::from_millis(20);

/// Modification time, length, and which file it is: one that was renamed over it may be as old and as long.
type Stamp = Option<(SystemTime, u64, u64)>;

/// A folder's is that of its newest file.
fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_dir() {
        return Some((meta.modified().ok()?, meta.len(), meta.ino()));
    }
    let files = std::fs::read_dir(path).ok()?.flatten().take(1_000);
    let stamps: Vec<_> = files
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        })
        .collect();
    let newest = stamps.iter().map(|(time, ..)| *time).max()?;
    let bytes: u64 = stamps.iter().map(|(_, bytes, _)| bytes).sum();
    let files = stamps.iter().fold(0_u64, |sum, (.., file)| sum.wrapping_add(*file));
    Some((newest, bytes + stamps.len() as u64, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_moves_while_it_is_read_is_read_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str| dir.path().join(name);
        let mut times = 0;
        std::fs::write(file("a"), "one").unwrap();
        let read = read_still(|seen| {
            seen.note([file("a"), file("b")]);
            times += 1;
            let read = std::fs::read_to_string(file("a")).unwrap();
            if times == 1 {
                // As long and as old as the one it takes the place of.
                std::fs::write(file("c"), "two").unwrap();
                let old = std::fs::metadata(file("a")).unwrap().modified().unwrap();
                let old = std::fs::FileTimes::new().set_modified(old);
                let new = std::fs::File::options().write(true).open(file("c")).unwrap();
                new.set_times(old).unwrap();
                std::fs::rename(file("c"), file("a")).unwrap();
            }
            if times == 2 {
                std::fs::write(file("b"), "it was not there before").unwrap();
            }
            read
        });
        assert_eq!((read.unwrap().as_str(), times), ("two", 3));
    }

    #[test]
    fn prices_that_change_all_the_time_keep_no_set_from_being_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, mut text, mut tried) = (dir.path().join("prices"), String::new(), None);
        let read = read_still(|seen| {
            seen.note([file.clone()]);
            seen.note_alone(file.clone());
            tried = Some(seen.clone());
            text.push('x');
            std::fs::write(&file, &text).unwrap();
        });
        assert_eq!(read, Ok(()));
        let (mut watch, tried) = (Watch::default(), tried.unwrap());
        assert!(!watch.poll(&tried) && watch.poll(&tried), "it is a change all the same");
    }

    #[test]
    fn a_set_that_never_stands_still_is_not_used() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, mut text) = (dir.path().join("a"), String::new());
        let read = read_still(|seen| {
            seen.note([file.clone()]);
            text.push('x');
            std::fs::write(&file, &text).unwrap();
        });
        assert_eq!(read, Err(file));
    }

    #[test]
    fn a_change_is_reported_once_it_is_still() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("a");
        let read = || {
            let mut seen = Seen::default();
            seen.note([file.clone()]);
            seen
        };
        std::fs::write(&file, "one").unwrap();
        let (mut watch, one) = (Watch::default(), read());
        assert!(!watch.poll(&one) && !watch.poll(&one));
        std::fs::write(&file, "three").unwrap();
        assert!(!watch.poll(&one), "it may still be moving");
        assert!(watch.poll(&one));
        let three = read();
        assert!(!watch.poll(&three), "it was read");
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.poll(&three) && watch.poll(&three));
    }

    #[test]
    fn what_was_put_back_after_something_else_was_read_is_a_change() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, link) = (|name: &str| dir.path().join(name), dir.path().join("link"));
        let put = |name: &str| {
            std::os::unix::fs::symlink(file(name), file("next")).unwrap();
            std::fs::rename(file("next"), &link).unwrap();
        };
        std::fs::write(file("a"), "one").unwrap();
        std::fs::write(file("b"), "other").unwrap();
        put("a");
        let (mut watch, mut seen) = (Watch::default(), Seen::default());
        seen.note([link.clone()]);
        assert!(!watch.poll(&seen) && !watch.poll(&seen));
        put("b");
        let mut other = Seen::default();
        other.note([link.clone()]);
        // Between two polls somebody had `b` read and put `a` back.
        put("a");
        watch.poll(&other);
        assert!(watch.poll(&other), "`b` is in use");
    }
}
