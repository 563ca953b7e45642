//! The machine: room and permission for the audit log, who may read the secrets, how many files may be open.
//!
//! Never writes a file to see whether it could: the system is asked. What it answers holds for the user who asks.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use super::{Finding, Here};
use crate::config::{Config, IdentityKind, Mail, SecretRef, SmsProvider, StoreConfig};

pub(super) const SUBJECT: &str = "audit";
const SECRETS: &str = "secrets";
const FILES: &str = "open files";

pub(super) fn examine(here: &Here) -> Vec<Finding> {
    let mut findings = vec![audit(&here.config.audit)];
    findings.extend(secrets(&here.config));
    findings.push(open_files(here.config.listen.connections_max as u64));
    findings
}

/// Whether a file could be written, or made, and why not.
pub(super) fn writable(file: &Path) -> Result<(), String> {
    let there = nearest(file);
    let wrong = |why: &dyn std::fmt::Display| {
        format!("{} cannot be written: {}: {why}", file.display(), there.display())
    };
    if there != file && !there.is_dir() {
        return Err(wrong(&"not a folder"));
    }
    let needed = if there == file { Access::WRITE_OK } else { Access::WRITE_OK | Access::EXEC_OK };
    access(&there, needed).map_err(|error| wrong(&std::io::Error::from(error)))
}

/// The path itself, or the nearest folder above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let above = path.ancestors().find(|path| !path.as_os_str().is_empty() && path.exists());
    above.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn audit(file: &Path) -> Finding {
    let name = file.display();
    if let Err(why) = writable(file) {
        let advice = "give the gateway's user write access: without its log it does not start";
        return Finding::fault(SUBJECT, why, advice);
    }
    match statvfs(nearest(file)) {
        Ok(disk) => room(&name.to_string(), disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => Finding::warning(
            SUBJECT,
            format!("{name}: the free disk space cannot be read ({error})"),
            "see that there is some: with a full disk every guarded action is refused",
        ),
    }
}

fn room(name: &str, bytes: u64) -> Finding {
    let advice = "make room: with a full disk every guarded action is refused";
    if bytes >= GIB {
        return Finding::ok(SUBJECT, format!("{name}: {} GiB free", bytes / GIB));
    }
    let what = format!("{name}: only {} MiB free", bytes / MIB);
    if bytes < ROOM_FAULT {
        return Finding::fault(SUBJECT, what, advice);
    }
    Finding::warning(SUBJECT, what, advice)
}

/// Files that only their owner has any business to read.
fn secrets(config: &Config) -> Vec<Finding> {
    let path = |secret: &SecretRef| match secret {
        SecretRef::File(file) => Some(file.path.clone()),
        SecretRef::Env { .. } => None,
    };
    let mut files: Vec<PathBuf> = path(&config.master_key).into_iter().collect();
    files.extend(config.admin.iter().filter_map(|admin| path(&admin.token)));
    let operators = config.admin.iter().flat_map(|admin| &admin.operators);
    files.extend(operators.filter_map(|operator| path(&operator.token)));
    files.extend(config.sms.iter().filter_map(|sms| match &sms.provider {
        SmsProvider::Twilio { credentials, .. } | SmsProvider::Webhook { credentials, .. } => {
            path(credentials)
        }
        SmsProvider::Log { .. } => None,
    }));
    if let Some(Mail::Smtp { credentials: Some(credentials), .. }) = &config.mail {
        files.extend(path(credentials));
    }
    if let StoreConfig::Redis(redis) = &config.store {
        let secrets = [&redis.password, &redis.sentinel_password];
        files.extend(secrets.into_iter().flatten().filter_map(path));
        files.extend(redis.key.iter().map(|key| key.path.clone()));
    }
    let identities = config.sites.iter().flat_map(|site| &site.identity);
    files.extend(identities.filter_map(|identity| match &identity.kind {
        IdentityKind::Introspect { credentials: Some(credentials), .. } => path(credentials),
        _ => None,
    }));
    files.extend(config.listen.tls.iter().map(|pair| pair.key.path.clone()));
    files.sort();
    files.dedup(); // sites may share one
    let open: Vec<_> = files.iter().filter_map(|file| readable_by_others(file)).collect();
    if open.is_empty() {
        let what = format!("{} file(s) that only their owner can read", files.len());
        return vec![Finding::ok(SECRETS, what)];
    }
    open
}

/// One that is missing is the configuration's fault, and is said there.
fn readable_by_others(file: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let name = file.display();
    (mode & 0o077 != 0).then(|| {
        let what = format!("{name}: its group or everybody has access to it (mode {mode:04o})");
        Finding::warning(SECRETS, what, format!("chmod 600 {name}"))
    })
}

fn open_files(connections_max: u64) -> Finding {
    enough(connections_max, getrlimit(Resource::Nofile).current)
}

/// Each client has a connection of its own to the upstream while it is served; the rest is for files and listeners.
fn enough(connections_max: u64, limit: Option<u64>) -> Finding {
    let needed = connections_max.saturating_mul(2).saturating_add(SPARE);
    let for_them = format!("connections_max = {connections_max} can need {needed}");
    match limit {
        Some(limit) if limit < needed => Finding::warning(
            FILES,
            format!("{limit} may be open here, and {for_them}"),
            format!(
                "LimitNOFILE={needed} in the gateway's unit, `ulimit -n {needed}` in its shell, or \
                 a smaller [listen] connections_max"
            ),
        ),
        Some(limit) => Finding::ok(FILES, format!("{limit} may be open here; {for_them}")),
        None => Finding::ok(FILES, format!("as many as wanted may be open here; {for_them}")),
    }
}

const SPARE: u64 = 64;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// So little is full within minutes.
const ROOM_FAULT: u64 = 16 * MIB;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;

    #[test]
    fn little_room_is_a_warning_and_none_a_fault() {
        let level = |bytes| room("a", bytes).level;
        let expected = [Level::Fault, Level::Fault, Level::Warning, Level::Warning, Level::Ok];
        let found = [0, ROOM_FAULT - 1, ROOM_FAULT, GIB - 1, GIB].map(level);
        assert_eq!(found, expected);
    }

    #[test]
    fn every_client_may_need_two_files() {
        assert_eq!(enough(10_000, Some(20_063)).level, Level::Warning);
        assert_eq!(enough(10_000, Some(20_064)).level, Level::Ok);
        assert_eq!(enough(usize::MAX as u64, None).level, Level::Ok);
    }

    #[test]
    fn a_file_can_be_made_where_its_nearest_folder_can_be_written() {
        let dir = tempfile::TempDir::new().unwrap();
        assert_eq!(writable(&dir.path().join("a/b/c.db")), Ok(()));
        std::fs::write(dir.path().join("a"), "").unwrap();
        let why = writable(&dir.path().join("a/b/c.db")).unwrap_err();
        assert!(why.contains("not a folder"), "{why}");
        assert_eq!(writable(&dir.path().join("a")), Ok(()));
    }
}
