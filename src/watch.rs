//! Notices that a file was replaced: by a poll, which also sees ConfigMaps and network file systems.
//!
//! Never reads the files' contents. Invariant: a change is reported after the files have been still for one poll, so
//! that a half-written set is not loaded; and a set that moved while it was read is known to have (`Seen`).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is watched, as last seen.
#[derive(Debug, Default)]
pub struct Watch {
    seen: BTreeMap<PathBuf, Stamp>,
    moving: bool,
}

/// Modification time, length, and which file it is: one that was renamed over it may be as old and as long.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Files as they were at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Stamp>);

impl Seen {
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }

    /// The first of them that is another now.
    pub fn moved(&self) -> Option<&Path> {
        self.0.iter().find(|(file, known)| stamp(file) != **known).map(|(file, _)| file.as_path())
    }
}

impl Watch {
    /// Takes note of these files as they are now.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { seen: Seen::of(files).0, moving: false }
    }

    /// Whether something changed since the last report and has been still since the last poll.
    pub fn poll(&mut self) -> bool {
        let mut changed = false;
        for (file, known) in &mut self.seen {
            let now = stamp(file);
            if *known != now {
                *known = now;
                changed = true;
            }
        }
        let settled = self.moving && !changed;
        self.moving = changed;
        settled
    }
}

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
    fn a_set_that_moves_while_it_is_read_is_known_to_have() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("a"), "one").unwrap();
        let seen = Seen::of([file("a"), file("b")]);
        assert_eq!(seen.moved(), None);
        std::fs::write(file("b"), "new").unwrap();
        assert_eq!(seen.moved(), Some(&*file("b")), "it was not there before");
        let seen = Seen::of([file("a")]);
        // As long and as old as the one it takes the place of.
        std::fs::write(file("c"), "two").unwrap();
        let times = std::fs::FileTimes::new()
            .set_modified(std::fs::metadata(file("a")).unwrap().modified().unwrap());
        std::fs::File::options().write(true).open(file("c")).unwrap().set_times(times).unwrap();
        std::fs::rename(file("c"), file("a")).unwrap();
        assert_eq!(seen.moved(), Some(&*file("a")));
    }

    #[test]
    fn a_change_is_reported_once_it_is_still() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new([file.clone()]);
        assert!(!watch.poll());
        std::fs::write(&file, "three").unwrap();
        assert!(!watch.poll(), "it may still be moving");
        assert!(watch.poll());
        assert!(!watch.poll(), "reported once");
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.poll());
        assert!(watch.poll());
    }
}
