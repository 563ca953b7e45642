//! Notes of operators: posted, read, taken down.
//!
//! Never more of them than a board may hold. Invariant: what is over counts as gone, whether it was swept or not.

use serde::{Deserialize, Serialize};

use super::rows::{Desk, Key, Kind, Rows};
use crate::store::StoreError;
use crate::store::board::{Board, NOTES_MAX, Posted};
use crate::types::UnixMs;

/// A note as its row holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    pub value: Vec<u8>,
    pub until: UnixMs,
}

pub(super) fn key(board: Board, id: &str) -> Key {
    Key::new(Kind::Posted).part(board.word()).part(id)
}

pub(super) fn post(
    desk: &mut Desk<'_>,
    board: Board,
    posted: &Posted,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let there = all(desk, board, now)?;
    if there.len() >= NOTES_MAX || there.iter().any(|known| known.id == posted.id) {
        return Ok(false);
    }
    put(desk, board, posted)?;
    Ok(true)
}

/// Puts it there whatever else is.
pub(super) fn put(desk: &mut Desk<'_>, board: Board, posted: &Posted) -> Result<(), StoreError> {
    let note = Note { value: posted.value.clone(), until: posted.until };
    desk.put(&key(board, &posted.id), posted.until, &note)
}

/// In the order of their ids.
pub(super) fn all(rows: &impl Rows, board: Board, now: UnixMs) -> Result<Vec<Posted>, StoreError> {
    let prefix = Key::new(Kind::Posted).part(board.word());
    // Those that are over and not swept yet do not hide others.
    let found = rows.list::<Note>(&prefix, 4 * NOTES_MAX)?;
    let posted =
        found.into_iter().filter(|(_, note)| now < note.until).filter_map(|(key, note)| {
            let id = key.last_part(&prefix)?.to_owned();
            Some(Posted { id, value: note.value, until: note.until })
        });
    Ok(posted.collect())
}

pub(super) fn take_down(
    desk: &mut Desk<'_>,
    board: Board,
    id: &str,
    now: UnixMs,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key(board, id);
    let Some(note) = desk.find::<Note>(&key)? else { return Ok(None) };
    desk.remove(&key);
    Ok((now < note.until).then_some(note.value))
}
