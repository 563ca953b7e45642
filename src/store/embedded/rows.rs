//! Rows of the one table: keys that cannot be confused, values with the time until which they are
//! kept.
//!
//! Never decides anything. Invariant: every part of a key stands after its length, so that no
//! account name, however it is spelt, reaches into another account's rows; and what a sentence
//! writes is held back until all of it has succeeded.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadableTable, Table, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crypto::hex;
use crate::store::StoreError;
use crate::types::{AccountId, Credential, UnixMs};

/// The table: everything is in it.
pub(super) const STATE: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new("state");

/// What a row is about; the first byte of its key. The numbers are in files: never change one.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Format = 0,
    Account = 1,
    Places = 2,
    Credential = 3,
    Challenge = 4,
    Attempt = 5,
    Sending = 6,
    Ledger = 7,
    Address = 8,
    Holds = 9,
    Sends = 10,
    Message = 11,
    Due = 12,
    Sequence = 13,
    Kept = 14,
    Lent = 15,
    Told = 16,
    /// How many codes were sent within a budget's window.
    Meter = 20,
    /// How many codes came back of those that were sent.
    Watch = 21,
    /// Where a code that was sent is counted.
    Counted = 22,
    /// What nothing is sent to at present.
    Stop = 23,
    /// A note of operators.
    Posted = 30,
    /// (keep until, key) of every row that does not stay for ever.
    Expiry = 255,
}

/// A row's key, or the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(kind: Kind) -> Self {
        Self(vec![kind as u8])
    }
    pub(super) fn part(mut self, part: &str) -> Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part.as_bytes());
        self
    }
    pub(super) fn account(self, account: &AccountId) -> Self {
        self.part(&account.group).part(&account.name)
    }
    pub(super) fn credential(self, credential: &Credential) -> Self {
        self.part(credential.kind.word()).part(credential.id.as_str())
    }
    /// A number that sorts as such.
    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
    pub(super) fn time(self, at: UnixMs) -> Self {
        self.number(u64::try_from(at.0).unwrap_or(0))
    }
    /// The text of the last part, whose key up to there is `prefix`.
    pub(super) fn last_part(&self, prefix: &Self) -> Option<&str> {
        std::str::from_utf8(self.0.get(prefix.0.len() + 8..)?).ok()
    }
    /// Every part's text, if the key is made of such.
    pub(super) fn parts(&self) -> Option<Vec<&str>> {
        let (mut parts, (_, mut rest)) = (Vec::new(), self.0.split_first()?);
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
            let (part, behind) = behind.split_at_checked(length)?;
            parts.push(std::str::from_utf8(part).ok()?);
            rest = behind;
        }
        rest.is_empty().then_some(parts)
    }
    /// As text, for somebody who comes back with it.
    pub(super) fn to_hex(&self) -> String {
        hex(&self.0)
    }
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        Some(Self((0..text.len()).step_by(2).map(byte).collect::<Option<_>>()?))
    }
    pub(super) fn is_of(&self, kind: Kind) -> bool {
        self.0.first() == Some(&(kind as u8))
    }
    /// The number that is the last part.
    pub(super) fn last_number(&self) -> Option<u64> {
        self.0.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
    fn of_expiry(keep: UnixMs, target: &[u8]) -> Self {
        let mut key = Self::new(Kind::Expiry).time(keep);
        key.0.extend_from_slice(target);
        key
    }
    /// For error messages: the kind alone, because names of accounts do not belong there.
    fn what(&self) -> String {
        format!("row kind {}", self.0.first().copied().unwrap_or_default())
    }
}

/// Rows that can be read, in a read transaction or in a sentence.
pub(super) trait Rows {
    /// The stored value with its envelope.
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `max` rows whose key begins with `prefix`, in order, with their envelopes.
    fn raw_range(&self, prefix: &Key, max: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError>;

    /// The value without its envelope.
    fn bytes(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.raw(key)?
            .map(|raw| open_envelope(key, &raw).map(|(_, value)| value.to_vec()))
            .transpose()
    }

    /// The value, if its time is not over.
    fn bytes_until(&self, key: &Key, now: UnixMs) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(raw) = self.raw(key)? else { return Ok(None) };
        let (keep, value) = open_envelope(key, &raw)?;
        Ok((now < keep).then(|| value.to_vec()))
    }

    fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError>
    where
        Self: Sized,
    {
        self.raw(key)?.map(|raw| read(key, open_envelope(key, &raw)?.1)).transpose()
    }

    fn list<T: DeserializeOwned>(
        &self,
        prefix: &Key,
        max: usize,
    ) -> Result<Vec<(Key, T)>, StoreError>
    where
        Self: Sized,
    {
        let read_row = |(key, raw): (Key, Vec<u8>)| {
            let value = read(&key, open_envelope(&key, &raw)?.1)?;
            Ok((key, value))
        };
        self.raw_range(prefix, max)?.into_iter().map(read_row).collect()
    }
}

/// The table itself.
pub(super) struct Shelf<'t, T>(pub(super) &'t T);

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Rows for Shelf<'_, T> {
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.0.get(key.0.as_slice()).map_err(unavailable)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn raw_range(&self, prefix: &Key, max: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let mut rows = Vec::new();
        for row in self.0.range(prefix.0.as_slice()..).map_err(unavailable)?.take(max) {
            let (key, value) = row.map_err(unavailable)?;
            if !key.value().starts_with(&prefix.0) {
                break;
            }
            rows.push((Key(key.value().to_vec()), value.value().to_vec()));
        }
        Ok(rows)
    }
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Shelf<'_, T> {
    /// The first `max` rows of one kind behind a key, in order, without their envelopes.
    pub(super) fn behind(
        &self,
        key: &Key,
        kind: Kind,
        max: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let from = (Bound::Excluded(key.0.as_slice()), Bound::Unbounded);
        let mut rows = Vec::new();
        for row in self.0.range::<&[u8]>(from).map_err(unavailable)?.take(max) {
            let (key, value) = row.map_err(unavailable)?;
            let key = Key(key.value().to_vec());
            if !key.is_of(kind) {
                break;
            }
            let value = open_envelope(&key, value.value())?.1.to_vec();
            rows.push((key, value));
        }
        Ok(rows)
    }
}

/// One sentence at work: it reads the table with its own writes over it. The writes reach the table
/// only when the whole sentence has succeeded, so that one that fails leaves nothing behind in the
/// transaction it shares.
pub(super) struct Desk<'a> {
    shelf: &'a dyn Rows,
    writes: BTreeMap<Key, Option<Vec<u8>>>,
    touched: Vec<AccountId>,
}

/// What a sentence that succeeded wrote, and whose standing it changed.
pub(super) struct Written {
    pub(super) writes: BTreeMap<Key, Option<Vec<u8>>>,
    pub(super) touched: Vec<AccountId>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(shelf: &'a dyn Rows) -> Self {
        Self { shelf, writes: BTreeMap::new(), touched: Vec::new() }
    }

    pub(super) fn finish(self) -> Written {
        Written { writes: self.writes, touched: self.touched }
    }

    /// Writes a value that may be forgotten after `keep`.
    pub(super) fn put<T: Serialize>(
        &mut self,
        key: &Key,
        keep: UnixMs,
        value: &T,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(|_| corrupt(key))?;
        self.put_bytes(key, keep, &json);
        Ok(())
    }

    pub(super) fn put_bytes(&mut self, key: &Key, keep: UnixMs, value: &[u8]) {
        let mut raw = Vec::with_capacity(value.len() + 8);
        raw.extend_from_slice(&keep.0.to_be_bytes());
        raw.extend_from_slice(value);
        self.writes.insert(key.clone(), Some(raw));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.writes.insert(key.clone(), None);
    }

    /// Every local view of this account is stale once this is committed.
    pub(super) fn touch(&mut self, account: &AccountId) {
        self.touched.push(account.clone());
    }
}

impl Rows for Desk<'_> {
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.shelf.raw(key),
        }
    }

    fn raw_range(&self, prefix: &Key, max: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let own: Vec<_> = self
            .writes
            .range(prefix..)
            .take_while(|(key, _)| key.0.starts_with(&prefix.0))
            .collect();
        // Each own write hides at most one stored row.
        let stored = self.shelf.raw_range(prefix, max.saturating_add(own.len()))?;
        let mut rows: BTreeMap<Key, Vec<u8>> = stored.into_iter().collect();
        for (key, written) in own {
            match written {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(max).collect())
    }
}

/// Puts a sentence's writes into the table, with their places in the expiry index.
pub(super) fn apply(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    writes: BTreeMap<Key, Option<Vec<u8>>>,
) -> Result<(), redb::StorageError> {
    for (key, value) in writes {
        let Some(value) = value else {
            table.remove(key.0.as_slice())?;
            continue;
        };
        let before = table.insert(key.0.as_slice(), value.as_slice())?;
        let indexed = before.is_some_and(|old| keep_of(old.value()) < FOR_EVER);
        let keep = keep_of(&value);
        if keep < FOR_EVER && !indexed {
            table.insert(Key::of_expiry(keep, &key.0).0.as_slice(), &[][..])?;
        }
    }
    Ok(())
}

/// Forgets up to `max` rows whose time is over at `now`. A row that was prolonged since it was
/// indexed gets a new place in the index.
pub(super) fn sweep(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    now: UnixMs,
    max: usize,
) -> Result<(), redb::StorageError> {
    let first = Key::new(Kind::Expiry);
    let end = Key::new(Kind::Expiry).time(now);
    let mut due = Vec::new();
    for row in table.range(first.0.as_slice()..end.0.as_slice())?.take(max) {
        due.push(row?.0.value().to_vec());
    }
    for index in due {
        table.remove(index.as_slice())?;
        let target = index.get(first.0.len() + 8..).unwrap_or_default();
        let keep = table.get(target)?.map(|value| keep_of(value.value()));
        match keep {
            Some(keep) if keep < now => drop(table.remove(target)?),
            Some(keep) if keep < FOR_EVER => {
                table.insert(Key::of_expiry(keep, target).0.as_slice(), &[][..])?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn keep_of(raw: &[u8]) -> UnixMs {
    raw.first_chunk().map_or(FOR_EVER, |bytes| UnixMs(i64::from_be_bytes(*bytes)))
}

fn open_envelope<'a>(key: &Key, raw: &'a [u8]) -> Result<(UnixMs, &'a [u8]), StoreError> {
    let (keep, value) = raw.split_first_chunk().ok_or_else(|| corrupt(key))?;
    Ok((UnixMs(i64::from_be_bytes(*keep)), value))
}

pub(super) fn read<T: DeserializeOwned>(key: &Key, json: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|_| corrupt(key))
}

pub(super) fn corrupt(key: &Key) -> StoreError {
    StoreError::Corrupt { what: key.what() }
}

pub(super) fn unavailable(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupt { what },
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// Kept until it is removed.
pub(super) const FOR_EVER: UnixMs = UnixMs(i64::MAX);
