//! `stepgate restore`: a backup into a store.
//!
//! Never writes before the whole file was read and found authentic and complete. Invariant: success means that
//! everything the file holds was read back out of the store.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::backup::{Found, look_at};
use super::operate::{Operator, by};
use super::state::State;
use crate::backup::{Head, Inventory, Reader};
use crate::crypto::Keyring;
use crate::store::{Store, StoreError};
use crate::types::UnixMs;
use crate::world::{Clock as _, SystemClock};

/// Into an empty store; into another one only with `replace`, and then what the backup says takes the place of what the
/// store says of the same.
///
/// # Errors
/// What kept it from being restored, and whether anything was written.
pub fn run(config: &Path, file: &Path, replace: bool) -> anyhow::Result<ExitCode> {
    let state = State::at(config)?;
    let now = SystemClock.now();
    let mut source = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut found = look_at(&source, &state.keyring, now)
        .with_context(|| format!("nothing was written: {} cannot be restored", file.display()))?;
    let store = state.open().map_err(|error| match error {
        StoreError::InUse { what } => anyhow::anyhow!(
            "nothing was written: a gateway is running on {what}; stop it, restore, and start it again"
        ),
        error => error.into(),
    })?;
    let has_keys = state.runtime.block_on(look_into(&*store, &state.place(), replace, now))?;
    source.seek(SeekFrom::Start(0))?;
    state.runtime.block_on(put_back(&*store, &source, &state.keyring, now))?;
    state.runtime.block_on(compare(&*store, &mut found, now))?;
    tell(&mut found, file, has_keys);
    tell_gateway(config, &found);
    Ok(ExitCode::SUCCESS)
}

/// Refuses a store that is not empty, unless its records may be replaced; whether it has common keys, which every
/// gateway that has run on it leaves behind.
async fn look_into(
    store: &dyn Store,
    place: &str,
    replace: bool,
    now: UnixMs,
) -> anyhow::Result<bool> {
    let (mut has_keys, mut from) = (false, None);
    loop {
        let part = store.export(from).await?;
        for kept in part.kept {
            let kind = kept.kind();
            has_keys |= kind == "keys";
            if !replace && kind != "keys" && kept.as_of(now).is_some() {
                bail!(
                    "nothing was written: the store {place} is not empty, it has {kind}; restore into a new one, or \
                     say --replace to have the backup take the place of what the store says of the same accounts"
                );
            }
        }
        from = part.next;
        if from.is_none() {
            return Ok(has_keys);
        }
    }
}

async fn put_back(
    store: &dyn Store,
    source: &File,
    keyring: &Keyring,
    now: UnixMs,
) -> anyhow::Result<()> {
    let mut reader = Reader::open(source, keyring)?;
    let (mut batch, mut written) = (Vec::new(), 0);
    loop {
        let kept = reader.record().with_context(|| broke_off(written))?;
        let at_end = kept.is_none();
        batch.extend(kept);
        if at_end || batch.len() >= RECORDS_AT_ONCE {
            let records = batch.len();
            let put = store.import(std::mem::take(&mut batch), now).await;
            put.with_context(|| broke_off(written))?;
            written += records;
        }
        if at_end {
            return Ok(());
        }
    }
}

fn broke_off(written: usize) -> String {
    format!(
        "the restore broke off after {written} records: the store is not complete; see to the cause, then restore \
         again with --replace"
    )
}

/// Reads everything back.
async fn compare(store: &dyn Store, found: &mut Found, now: UnixMs) -> anyhow::Result<()> {
    let (mut stored, mut from) = (Inventory::at(now), None);
    loop {
        let part = store.export(from).await?;
        part.kept.iter().for_each(|kept| stored.note(kept));
        from = part.next;
        if from.is_none() {
            break;
        }
    }
    let missing = found.inventory.missing_in(&mut stored);
    if missing.sum() > 0 {
        bail!(
            "the backup was written, but the store does not say the same as the file ({missing}): if a gateway is at \
             work on it these may have changed since, else restore again with --replace"
        );
    }
    Ok(())
}

fn tell(found: &mut Found, file: &Path, has_keys: bool) {
    let counts = found.inventory.counts();
    say!("restored from {} of {}: {counts}", file.display(), found.head.created);
    say!("All of it was read back from the store and is as in the file.");
    if found.inventory.over() > 0 {
        say!("{} more records had run out since.", found.inventory.over());
    }
    say!(
        "Open challenges, unused approvals and elevations are not in a backup: owners are asked again."
    );
    if has_keys {
        say!(
            "The gateways' common keys are the backup's now: restart every gateway that runs on this store."
        );
    }
    found.sealed.tell();
}

/// Where gateways share the store one may be running: its audit log then says what happened.
fn tell_gateway(config: &Path, found: &Found) {
    let Ok(operator) = Operator::at(config) else { return };
    let Head { created, .. } = &found.head;
    let reason = format!("a backup of {created}: {}", found.counts);
    operator.tell("/restored", json!({ "by": by(), "reason": reason }).to_string());
}

const RECORDS_AT_ONCE: usize = 1000;
