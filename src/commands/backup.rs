//! `stepgate backup`: everything the store keeps, in one encrypted file; and whether such a file is whole.
//!
//! Never overwrites a file, and never leaves half of one under the name that was asked for. Invariant: what is reported
//! as written was read back from the disk to its end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::operate::Operator;
use super::state::{Sealed, State};
use crate::backup::{Counts, Head, Inventory, Reader, Writer};
use crate::crypto::Keyring;
use crate::store::{Store, StoreError};
use crate::types::UnixMs;
use crate::world::{Clock as _, SystemClock, SystemEntropy};

/// Writes the backup, from the store itself or, if a gateway has it to itself, through that gateway.
///
/// # Errors
/// What kept it from being written; there is no file then.
pub fn take(config: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    refuse_existing(file)?;
    let state = State::at(config)?;
    if !state.is_there() {
        bail!("there is no state at {}: nothing to back up", state.place());
    }
    let mut part = Part::of(file)?;
    match state.open() {
        Ok(store) => {
            let written = state.runtime.block_on(write(&*store, &state.keyring, &mut part.file));
            written.with_context(|| part.lost())?;
        }
        Err(StoreError::InUse { .. }) => {
            let asked = Operator::at(config).context(
                "a gateway has the store open; give it an [admin] interface, or stop it for the backup",
            )?;
            asked.backup(&mut part.file).with_context(|| part.lost())?;
        }
        Err(error) => return Err(error.into()),
    }
    part.file.sync_all().with_context(|| part.lost())?;
    let found = look_through(&part.path, &state.keyring)
        .with_context(|| format!("{} was written and cannot be read back", part.path.display()))?;
    part.take_name(file)?;
    say!("written to {}: {}", file.display(), found.counts);
    found.sealed.tell();
    Ok(ExitCode::SUCCESS)
}

/// Says whether a file is whole, and what is in it.
///
/// # Errors
/// What is wrong with it.
pub fn verify(config: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    let state = State::at(config)?;
    let found = look_through(file, &state.keyring)
        .with_context(|| format!("{} is not a backup to rely on", file.display()))?;
    let Head { created, key, .. } = &found.head;
    say!("whole: {}, of {created}, under the key `{key}`: {}", file.display(), found.counts);
    found.sealed.tell();
    Ok(ExitCode::SUCCESS)
}

/// What a file that was read to its end holds.
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) counts: Counts,
    pub(super) inventory: Inventory,
    pub(super) sealed: Sealed,
}

pub(super) fn look_through(file: &Path, keyring: &Keyring) -> anyhow::Result<Found> {
    let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    look_at(open, keyring, SystemClock.now())
}

/// Reads a file to its end, whoever it is from.
pub(super) fn look_at(source: impl Read, keyring: &Keyring, now: UnixMs) -> anyhow::Result<Found> {
    let mut reader = Reader::open(source, keyring)?;
    let (mut inventory, mut sealed) = (Inventory::at(now), Sealed::default());
    while let Some(kept) = reader.record()? {
        inventory.note(&kept);
        sealed.note(&kept, keyring);
    }
    let (head, counts) = (reader.head().clone(), reader.counts().clone());
    Ok(Found { head, counts, inventory, sealed })
}

async fn write(store: &dyn Store, keyring: &Keyring, out: &mut File) -> anyhow::Result<()> {
    let mut writer = Writer::new(out, keyring, &SystemEntropy, SystemClock.now())?;
    let mut from = None;
    loop {
        let part = store.export(from).await?;
        part.kept.iter().try_for_each(|kept| writer.put(kept))?;
        from = part.next;
        if from.is_none() {
            break;
        }
    }
    writer.finish()?;
    Ok(())
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    if file.symlink_metadata().is_ok() {
        bail!(
            "{} is there already: a backup overwrites nothing, name another file",
            file.display()
        );
    }
    Ok(())
}

/// The file while it is being written; removed unless it comes to its name.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn of(file: &Path) -> anyhow::Result<Self> {
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                "{} is there: another backup is writing it, or one was killed; remove it if none runs",
                path.display()
            ),
            _ => anyhow::Error::from(error).context(format!("cannot write {}", path.display())),
        })?;
        Ok(Self { path, file })
    }

    fn lost(&self) -> String {
        format!(
            "the backup could not be written to {}, and nothing is left there",
            self.path.display()
        )
    }

    /// The rename is durable when the folder is.
    fn take_name(self, name: &Path) -> anyhow::Result<()> {
        refuse_existing(name)?;
        std::fs::rename(&self.path, name)
            .with_context(|| format!("cannot give the backup its name {}", name.display()))?;
        let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).context("the backup's folder cannot be synced")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already if it came to its name.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Operator {
    /// Has the running gateway write its state.
    ///
    /// # Errors
    /// If it does not answer, or refuses to, or breaks off.
    fn backup(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let reply = self.pour("/backup", out)?;
        if !reply.is_ok() {
            bail!("{}", reply.detail());
        }
        Ok(())
    }
}
