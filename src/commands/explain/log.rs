//! Lines of audit logs that hold certain words, found without reading the others as records.
//!
//! Never holds more of a log than a block and the line that is cut by its end. Invariant: every line of every file is
//! looked at, the last one too if it has no end.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};
use serde::Serialize;

/// What was looked through.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Searched {
    pub files: usize,
    pub lines: u64,
    /// Time of the first line and of the last.
    pub from: Option<String>,
    pub until: Option<String>,
}

/// A line that holds one of the words.
pub(super) struct Hit<'a> {
    pub file: &'a Path,
    pub number: u64,
    pub line: &'a [u8],
}

/// Shows every line with one of the words, each once, in order.
///
/// # Errors
/// If a file cannot be read, or `visit` says so.
pub(super) fn search(
    files: &[PathBuf],
    words: &[&str],
    visit: &mut dyn FnMut(Hit<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Searched> {
    let finders: Vec<Finder<'_>> = words.iter().map(|word| Finder::new(word.as_bytes())).collect();
    let mut searched = Searched::default();
    for file in files {
        let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut sieve = Sieve { file, finders: &finders, searched: &mut searched, before: 0 };
        sieve.run(open, visit).with_context(|| format!("cannot read {}", file.display()))?;
        searched.files += 1;
    }
    Ok(searched)
}

struct Sieve<'a> {
    file: &'a Path,
    finders: &'a [Finder<'a>],
    searched: &'a mut Searched,
    /// Lines of this file before the block.
    before: u64,
}

impl Sieve<'_> {
    fn run(
        &mut self,
        mut file: impl Read,
        visit: &mut dyn FnMut(Hit<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut block, mut filled) = (vec![0; BLOCK_BYTES], 0);
        loop {
            let Some(space) = block.get_mut(filled..).filter(|space| !space.is_empty()) else {
                if block.len() >= LINE_BYTES_MAX {
                    bail!("line {} is longer than {LINE_BYTES_MAX} bytes", self.before + 1);
                }
                block.resize(block.len() * 2, 0);
                continue;
            };
            let read = match file.read(space) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            filled += read;
            let whole = block.get(..filled).unwrap_or_default();
            let Some(end) = memrchr(b'\n', whole).map(|end| end + 1) else { continue };
            self.block(whole.get(..end).unwrap_or_default(), visit)?;
            block.copy_within(end..filled, 0);
            filled -= end;
        }
        match block.get(..filled) {
            Some(rest) if !rest.is_empty() => self.block(rest, visit),
            _ => Ok(()),
        }
    }

    /// Whole lines.
    fn block(
        &mut self,
        block: &[u8],
        visit: &mut dyn FnMut(Hit<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.note_times(block);
        let mut starts: Vec<usize> = Vec::new();
        for finder in self.finders {
            let at = finder.find_iter(block);
            let before = |at: usize| block.get(..at).and_then(|before| memrchr(b'\n', before));
            starts.extend(at.map(|at| before(at).map_or(0, |end| end + 1)));
        }
        starts.sort_unstable();
        starts.dedup();
        let (mut counted, mut number) = (0, self.before);
        for start in starts {
            let skipped = block.get(counted..start).unwrap_or_default();
            number += memchr_iter(b'\n', skipped).count() as u64;
            counted = start;
            let rest = block.get(start..).unwrap_or_default();
            let line = rest.get(..memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default();
            visit(Hit { file: self.file, number: number + 1, line })?;
        }
        let mut lines = memchr_iter(b'\n', block).count() as u64;
        lines += u64::from(!block.ends_with(b"\n"));
        self.before += lines;
        self.searched.lines += lines;
        Ok(())
    }

    fn note_times(&mut self, block: &[u8]) {
        let first = block.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let last = block.strip_suffix(b"\n").unwrap_or(block);
        let last = memrchr(b'\n', last).and_then(|end| last.get(end + 1..)).unwrap_or(last);
        if self.searched.from.is_none() {
            self.searched.from = time_of(first);
        }
        self.searched.until = time_of(last).or(self.searched.until.take());
    }
}

/// `"time":"…"` of a line.
fn time_of(line: &[u8]) -> Option<String> {
    value_after(line, b"\"time\":\"").map(str::to_owned)
}

/// The string behind a member's name.
pub(super) fn value_after<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l str> {
    let at = memchr::memmem::find(line, name)? + name.len();
    let rest = line.get(at..)?;
    std::str::from_utf8(rest.get(..memchr(b'"', rest)?)?).ok()
}

const BLOCK_BYTES: usize = 1 << 20;
const LINE_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, words: &[&str], block: usize) -> (Vec<String>, u64) {
        let finders: Vec<_> = words.iter().map(|word| Finder::new(word.as_bytes())).collect();
        let mut searched = Searched::default();
        let mut sieve =
            Sieve { file: Path::new("x"), finders: &finders, searched: &mut searched, before: 0 };
        let mut hits = Vec::new();
        // A reader that gives little at a time.
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(block.max(1)).collect();
        let mut reader: Box<dyn Read> = Box::new(std::io::empty());
        for chunk in chunks {
            reader = Box::new(reader.chain(chunk));
        }
        sieve
            .run(reader, &mut |hit| {
                hits.push(format!("{}:{}", hit.number, String::from_utf8_lossy(hit.line)));
                Ok(())
            })
            .unwrap();
        (hits, searched.lines)
    }

    #[test]
    fn lines_are_found_however_they_are_read() {
        let text = "one a\ntwo b\nthree a b\nfour\nfive a";
        for block in [1, 2, 7, 1000] {
            let (hits, lines) = found(text, &["a", "b"], block);
            assert_eq!(hits, ["1:one a", "2:two b", "3:three a b", "5:five a"], "{block}");
            assert_eq!(lines, 5);
        }
    }

    #[test]
    fn a_line_longer_than_a_block_is_read_whole() {
        let text = format!("short\n{}needle{}\nshort\n", "x".repeat(BLOCK_BYTES), "y".repeat(9));
        let (hits, lines) = found(&text, &["needle"], 1 << 16);
        assert_eq!((hits.len(), lines), (1, 3));
        assert_eq!(hits[0].len(), 2 + BLOCK_BYTES + 6 + 9);
    }
}
