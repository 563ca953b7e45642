//! What can be said of a store's file from outside, beside a gateway that has it open or without one.
//!
//! Never changes the file, not even to repair it. Invariant: it is held shared, and only for the moment of reading, so
//! that a gateway in use of it is not disturbed.

use std::path::Path;

use redb::{DatabaseError, ReadOnlyDatabase, ReadableDatabase as _, StorageError};

use super::rows::{Key, Kind, Rows as _, STATE, Shelf, unavailable};
use super::{FORMAT, StoreError};

/// How a store's file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It will be made at the first start.
    Missing,
    /// A running process has it open.
    InUse,
    /// Its gateway was killed; the next start repairs it.
    Unclean,
    /// Whole; with what is kept under the name that was asked for.
    Sound { kept: Option<Vec<u8>> },
}

/// Looks at the file, and for what `Store::adopt` keeps under `name`.
///
/// # Errors
/// `Unavailable` if it cannot be read or is of another format, `Corrupt` if it is not ours.
pub fn examine(path: &Path, name: &str) -> Result<FileState, StoreError> {
    let here = |what: String| StoreError::Unavailable(format!("{}: {what}", path.display()));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(FileState::Missing);
        }
        Err(error) => return Err(here(error.to_string())),
        Ok(found) if found.is_file() && found.len() == 0 => return Ok(FileState::Missing),
        Ok(_) => {}
    }
    let database = match ReadOnlyDatabase::open(path) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(FileState::InUse),
        Err(DatabaseError::RepairAborted) => return Ok(FileState::Unclean),
        Err(DatabaseError::Storage(StorageError::Corrupted(what))) => {
            return Err(StoreError::Corrupt { what: format!("{}: {what}", path.display()) });
        }
        Err(error) => return Err(here(error.to_string())),
    };
    let transaction = database.begin_read().map_err(unavailable)?;
    let shelf = Shelf(&transaction.open_table(STATE).map_err(unavailable)?);
    match shelf.find(&Key::new(Kind::Format))? {
        Some(FORMAT) => {}
        other => {
            let found: Option<u32> = other;
            let found = found.map_or("none".to_owned(), |format| format.to_string());
            return Err(here(format!("format {found}, this stepgate knows format {FORMAT}")));
        }
    }
    Ok(FileState::Sound { kept: shelf.bytes(&Key::new(Kind::Kept).part(name))? })
}
