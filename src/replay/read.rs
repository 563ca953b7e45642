//! Reads logs in order and hands their lines to workers: all lines of one account to the same one.
//!
//! Never holds more than a few blocks in memory, whatever the length of a log. Invariant: a worker sees the lines of an
//! account in the order in which they were written; a line that cannot be read is counted and named, and the next one
//! is read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::memmem::Finder;

use super::forecast::Key;
use super::judge::{Judge, Setup, Watcher};
use super::tally::Tally;
use crate::policy::recorded::Reader;

/// Bytes that are read at once and handed on at once.
const BLOCK_BYTES: usize = 512 * 1024;
/// Blocks on their way to one worker.
const BLOCKS_MAX: usize = 4;
const LINE_BYTES_MAX: usize = 1 << 20;
const WORKERS_MAX: usize = 4;

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: no line of it is an audit record; is it the right file?", .0.display())]
    NoLog(PathBuf),
    #[error("a worker ended early; this is a fault of stepgate itself")]
    Worker,
}

/// Replays these logs, in this order; `-` stands for standard input.
///
/// # Errors
/// If a log cannot be read, or is none.
pub fn replay(
    setup: &Setup,
    reader: Reader,
    logs: &[PathBuf],
    watcher: &dyn Watcher,
) -> Result<Tally, ReplayError> {
    let reader = Arc::new(reader);
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(1, WORKERS_MAX);
    thread::scope(|scope| {
        let (mut doors, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (door, blocks) = sync_channel(BLOCKS_MAX);
            let judge = Judge::new(setup.clone(), reader.clone(), watcher);
            threads.push(scope.spawn(move || work(judge, &blocks)));
            doors.push(door);
        }
        let mut hands = Hands::new(doors);
        let read = logs.iter().enumerate().try_for_each(|(at, log)| hands.log(at, log, watcher));
        // The doors close with it, and the workers end.
        let mut tally = Tally { torn: std::mem::take(&mut hands.torn), ..Tally::default() };
        drop(hands);
        for thread in threads {
            tally.merge(thread.join().map_err(|_| ReplayError::Worker)?);
        }
        read.map(|()| tally)
    })
}

fn work(mut judge: Judge<'_>, blocks: &Receiver<Block>) -> Tally {
    for block in blocks {
        for (number, line) in block.lines {
            match block.bytes.get(line) {
                Some([]) | None => judge.broken(block.file, number, TOO_LONG),
                Some(bytes) => judge.line(block.file, number, bytes),
            }
        }
    }
    judge.finish()
}

const TOO_LONG: &str = "longer than a megabyte, or empty";

/// Some lines of one file.
#[derive(Default)]
struct Block {
    file: usize,
    bytes: Vec<u8>,
    lines: Vec<(u64, Range<usize>)>,
}

/// Sorts lines to workers.
struct Hands {
    doors: Vec<SyncSender<Block>>,
    blocks: Vec<Block>,
    account: Finder<'static>,
    /// Last lines that are cut off.
    torn: Vec<(usize, u64)>,
}

impl Hands {
    fn new(doors: Vec<SyncSender<Block>>) -> Self {
        let blocks = doors.iter().map(|_| Block::default()).collect();
        Self { doors, blocks, account: Finder::new(ACCOUNT), torn: Vec::new() }
    }

    fn log(&mut self, file: usize, log: &Path, watcher: &dyn Watcher) -> Result<(), ReplayError> {
        let failed = |source| ReplayError::Read { path: log.to_owned(), source };
        let mut input: Box<dyn Read> = match log == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(log).map_err(failed)?),
        };
        self.blocks.iter_mut().for_each(|block| block.file = file);
        let (mut lines, mut records) = (0_u64, 0_u64);
        let mut buffer = vec![0; BLOCK_BYTES];
        // What is left of the buffer's end is the beginning of a line.
        let (mut held, mut skipping) = (0, false);
        loop {
            if held == buffer.len() {
                if buffer.len() > LINE_BYTES_MAX {
                    skipping = true;
                    held = 0;
                } else {
                    buffer.resize(buffer.len() * 2, 0);
                }
            }
            let room = buffer.get_mut(held..).unwrap_or_default();
            let read = match input.read(room) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            watcher.read(read as u64);
            if read == 0 {
                break;
            }
            let filled = held + read;
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', buffer.get(..filled).unwrap_or_default()) {
                lines += 1;
                let line = match skipping {
                    true => &[],
                    false => buffer.get(begin..end).unwrap_or_default(),
                };
                skipping = false;
                records += u64::from(line.starts_with(b"{"));
                self.hand(lines, line);
                begin = end + 1;
            }
            buffer.copy_within(begin..filled, 0);
            held = filled - begin;
        }
        if held > 0 || skipping {
            lines += 1;
            let last = buffer.get(..held).unwrap_or_default();
            records += u64::from(last.starts_with(b"{"));
            match last.ends_with(b"}") {
                true => self.hand(lines, last),
                // Normal on a log that is being written.
                false => self.torn.push((file, lines)),
            }
        }
        self.flush();
        match lines > 0 && records == 0 {
            true => Err(ReplayError::NoLog(log.to_owned())),
            false => Ok(()),
        }
    }

    fn hand(&mut self, number: u64, line: &[u8]) {
        let workers = self.blocks.len().max(1);
        let at = self.whose(line) % workers;
        let Some(block) = self.blocks.get_mut(at) else { return };
        let begin = block.bytes.len();
        block.bytes.extend_from_slice(line);
        block.lines.push((number, begin..block.bytes.len()));
        if block.bytes.len() >= BLOCK_BYTES {
            self.send(at);
        }
    }

    fn send(&mut self, at: usize) {
        let (Some(block), Some(door)) = (self.blocks.get_mut(at), self.doors.get(at)) else {
            return;
        };
        let fresh = Block { file: block.file, ..Block::default() };
        let full = std::mem::replace(block, fresh);
        // A worker that is gone is told of when it is joined.
        let _ = door.send(full);
    }

    fn flush(&mut self) {
        (0..self.blocks.len()).for_each(|at| self.send(at));
    }

    /// A number that is the same for all lines of an account. The member stands before any that a customer can fill.
    fn whose(&self, line: &[u8]) -> usize {
        let Some(at) = self.account.find(line) else { return 0 };
        let rest = line.get(at + ACCOUNT.len()..).unwrap_or_default();
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        Key::of(rest.get(..end)).small()
    }
}

const ACCOUNT: &[u8] = br#","account":""#;
