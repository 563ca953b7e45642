//! The store: whether its file is there and whole, whether its folder can be written, and whether the master key opens
//! what is in it.
//!
//! Never opens the file for writing. A file that a running gateway has open is as it should be.

use std::path::Path;

use super::{Finding, Here, TIMEOUT, gateway, machine, servers};
use crate::assemble;
use crate::config::StoreConfig;
use crate::serve::SIGNING_KEY;
use crate::store::StoreError;
use crate::store::embedded::{self, FileState};

pub(super) const SUBJECT: &str = "store";

pub(super) async fn examine(here: &Here) -> Vec<Finding> {
    match &here.config.store {
        StoreConfig::File(path) => embedded_file(here, path).await,
        StoreConfig::Redis(_) => servers::examine(here).await,
    }
}

async fn embedded_file(here: &Here, path: &Path) -> Vec<Finding> {
    let name = path.display();
    let (writable, found) = looked(path).await;
    let mut findings = Vec::new();
    if let Err(why) = &writable {
        let advice = "give the gateway's user write access to the file and its folder";
        findings.push(Finding::fault(SUBJECT, why, advice));
    }
    match found {
        // What cannot be written cannot be made either.
        Ok(FileState::Missing) | Err(_) if writable.is_err() => {}
        Ok(FileState::Missing) => {
            let what = format!("{name}: not there yet; the first start makes it");
            findings.push(Finding::ok(SUBJECT, what));
        }
        Ok(FileState::InUse) => findings.push(in_use(here, path).await),
        Ok(FileState::Unclean) => {
            let what = format!("{name}: its gateway was killed; the next start repairs it");
            findings.push(Finding::ok(SUBJECT, what));
        }
        Ok(FileState::Sound { kept }) => findings.push(opened(here, path, kept.as_deref())),
        Err(error) => findings.push(Finding::fault(
            SUBJECT,
            match error {
                StoreError::Unavailable(why) => why,
                error => error.to_string(),
            },
            "if it is not a store's file, name another in [store] url; else put back a backup",
        )),
    }
    findings
}

/// Whether it can be written, and how it was found.
async fn looked(path: &Path) -> (Result<(), String>, Result<FileState, StoreError>) {
    let file = path.to_owned();
    let look = tokio::task::spawn_blocking(move || {
        (machine::writable(&file), embedded::examine(&file, SIGNING_KEY))
    });
    match tokio::time::timeout(TIMEOUT, look).await {
        Ok(Ok(found)) => found,
        _ => {
            let late = format!("{}: it cannot be read in time", path.display());
            (Ok(()), Err(StoreError::Unavailable(late)))
        }
    }
}

async fn in_use(here: &Here, path: &Path) -> Finding {
    let name = path.display();
    match &here.config.admin {
        Some(admin) if !gateway::answers(admin).await => Finding::warning(
            SUBJECT,
            format!("{name}: in use, but no gateway answers at {}", admin.address),
            format!("see who has it open (`fuser -v {name}`): two gateways cannot share it"),
        ),
        _ => Finding::ok(SUBJECT, format!("{name}: in use by a running gateway")),
    }
}

/// Whether the configured master key is the one that it was written with.
fn opened(here: &Here, path: &Path, kept: Option<&[u8]>) -> Finding {
    let name = path.display();
    // A key that cannot be read is the configuration's fault, and is said there.
    let keyring = assemble::master_key(&here.config, &mut Vec::new());
    match (keyring, kept) {
        (Some(keyring), Some(kept)) if keyring.open(SIGNING_KEY, &[], kept).is_err() => {
            Finding::fault(
                SUBJECT,
                format!("{name}: sealed with a key that is not in [store] master_key"),
                "put the key that it was made with back, beside the new one",
            )
        }
        (Some(_), Some(_)) => {
            Finding::ok(SUBJECT, format!("{name}: whole, and the master key opens it"))
        }
        _ => Finding::ok(SUBJECT, format!("{name}: whole")),
    }
}
