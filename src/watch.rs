//! Notices that a file was replaced: by a poll, which also sees ConfigMaps and network file systems.
//!
//! Never reads the files' contents. Invariant: a change is reported after the files have been still for one poll, so
//! that a half-written set is not loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is watched, as last seen.
#[derive(Debug, Default)]
pub struct Watch {
    seen: BTreeMap<PathBuf, Stamp>,
    moving: bool,
}

type Stamp = Option<(SystemTime, u64)>;

impl Watch {
    /// Takes note of these files as they are now.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let seen = files.into_iter().map(|file| (file.clone(), stamp(&file))).collect();
        Self { seen, moving: false }
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

/// Modification time and length; a folder's is that of its newest file.
fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_dir() {
        return Some((meta.modified().ok()?, meta.len()));
    }
    let files = std::fs::read_dir(path).ok()?.flatten().take(1_000);
    let stamps: Vec<_> = files
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len()))
        })
        .collect();
    let newest = stamps.iter().map(|(time, _)| *time).max()?;
    Some((newest, stamps.iter().map(|(_, len)| len).sum::<u64>() + stamps.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

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
