//! The audit log on real files: what is acknowledged is there, and what is changed is found.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stepgate::audit::chain::{CHECKPOINT_RECORDS_MAX, What};
use stepgate::audit::{
    Audit, AuditError, Event, OpenError, Record, Settings, Signer, Summary, VerifyError, keys,
    verify_files,
};
use stepgate::types::{AccountId, UnixMs};
use stepgate::world::{HandClock, SystemClock};
use tempfile::TempDir;

struct TestSigner(EcdsaKeyPair);

impl TestSigner {
    fn new() -> Arc<Self> {
        Arc::new(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }
    fn jwks(&self) -> String {
        json!({"keys": [{"kty": "RSA"}, self.jwk()]}).to_string()
    }
}

impl Signer for TestSigner {
    fn kid(&self) -> &str {
        "test"
    }
    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..])})
    }
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

fn open(path: &Path, signer: &Arc<TestSigner>) -> Audit {
    try_open(path, signer).unwrap()
}

fn try_open(path: &Path, signer: &Arc<TestSigner>) -> Result<Audit, OpenError> {
    Audit::open(
        &Settings::new(path),
        signer.clone(),
        Arc::new(HandClock::at(UnixMs(1_790_000_000_000))),
    )
}

fn record(number: usize) -> Record {
    Record::new(UnixMs(1_790_000_000_000), Event::Intent)
        .of_account(&AccountId::new("main", "alice"))
        .with_note(format!("number {number}"))
}

fn committed(audit: &Audit, record: Record) -> Result<(), AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(audit.commit(record))
}

/// A closed log: started, ten records, stopped, checkpoint.
struct Log {
    _folder: TempDir,
    path: PathBuf,
    signer: Arc<TestSigner>,
}

impl Log {
    fn of_ten() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
        let audit = open(&path, &signer);
        for number in 0..10 {
            committed(&audit, record(number)).unwrap();
        }
        audit.close();
        Self { _folder: folder, path, signer }
    }
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.path).unwrap().lines().map(str::to_owned).collect()
    }
    fn write(&self, lines: &[String]) {
        fs::write(&self.path, lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    }
    fn summary(&self) -> Summary {
        verify_files(&[&self.path], Some(&self.signer.jwks())).unwrap()
    }
    fn broken(&self) -> (u64, What) {
        match verify_files(&[&self.path], None) {
            Err(VerifyError::Broken(found)) => (found.line, found.what),
            other => panic!("not found: {other:?}"),
        }
    }
}

#[test]
fn a_log_that_nobody_touched_is_whole() {
    let log = Log::of_ten();
    let summary = log.summary();
    assert_eq!((summary.records, summary.first_seq, summary.last_seq), (13, 0, 12));
    assert_eq!((summary.checkpoints, summary.unsigned, summary.closed), (1, 0, true));
    assert_eq!(summary.thumbprints, [keys::thumbprint(&log.signer.jwk()).unwrap()]);
    assert_eq!(summary.torn, None);
}

#[test]
fn every_changed_byte_is_found_in_its_line() {
    let log = Log::of_ten();
    let whole = fs::read(&log.path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&log.path, &bytes).unwrap();
        let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        if at == whole.len() - 1 {
            // The last newline: the line behind it is cut off, and nothing else is wrong.
            assert!(verify_files(&[&log.path], None).unwrap().torn.is_some());
        } else {
            let (found, what) = log.broken();
            assert_eq!(found, line, "byte {at} of {}: {what}", whole.len());
        }
    }
}

#[test]
fn an_altered_value_is_named_altered() {
    let log = Log::of_ten();
    let mut lines = log.lines();
    lines[4] = lines[4].replace("alice", "mallo");
    log.write(&lines);
    assert_eq!(log.broken(), (5, What::Altered));
}

#[test]
fn a_deleted_line_is_named_missing_wherever_it_was() {
    let log = Log::of_ten();
    let lines = log.lines();
    for at in 0..lines.len() - 1 {
        let mut fewer = lines.clone();
        fewer.remove(at);
        log.write(&fewer);
        let gone = at as u64;
        assert_eq!(log.broken(), (gone + 1, What::Missing { from: gone, to: gone }));
    }
}

#[test]
fn swapped_lines_are_named_reordered() {
    let log = Log::of_ten();
    let mut lines = log.lines();
    lines.swap(3, 4);
    log.write(&lines);
    assert_eq!(log.broken(), (4, What::Reordered { seq: 4, expected: 3 }));
}

#[test]
fn a_repeated_line_is_named_duplicated() {
    let log = Log::of_ten();
    let mut lines = log.lines();
    lines.insert(5, lines[2].clone());
    log.write(&lines);
    assert_eq!(log.broken(), (6, What::Duplicated { seq: 2, expected: 5 }));
}

#[test]
fn a_line_cut_off_in_the_middle_of_the_log_is_a_break() {
    let log = Log::of_ten();
    let mut lines = log.lines();
    lines[5].truncate(40);
    log.write(&lines);
    assert_eq!(log.broken(), (6, What::Unreadable));
}

#[test]
fn an_end_cut_off_in_the_middle_of_a_line_is_reported() {
    let log = Log::of_ten();
    let whole = fs::read(&log.path).unwrap();
    fs::write(&log.path, &whole[..whole.len() - 10]).unwrap();
    let summary = log.summary();
    assert_eq!(summary.torn.map(|(line, _)| line), Some(13));
    assert!(!summary.closed && !summary.is_sound());
    assert!(summary.to_string().contains("cut off: line 13"), "{summary}");
    // The same in front of another file is no crash.
    let found = verify_files(&[&log.path, &log.path], None);
    assert!(matches!(found, Err(VerifyError::Broken(found)) if found.what == What::Unreadable));
}

#[test]
fn an_end_that_is_gone_is_not_called_closed() {
    let log = Log::of_ten();
    let mut lines = log.lines();
    lines.truncate(8);
    log.write(&lines);
    let summary = log.summary();
    assert_eq!((summary.closed, summary.unsigned, summary.last_seq), (false, 8, 7));
}

#[test]
fn a_rewritten_chain_does_not_hold_against_the_gateways_key() {
    let (log, forged) = (Log::of_ten(), Log::of_ten());
    fs::copy(&forged.path, &log.path).unwrap();
    let found = verify_files(&[&log.path], Some(&log.signer.jwks()));
    let Err(VerifyError::Broken(found)) = found else { panic!("{found:?}") };
    assert_eq!(found.what, What::UnknownKey(keys::thumbprint(&forged.signer.jwk()).unwrap()));
    // Without the key set, the reader sees whose key it is.
    let summary = verify_files(&[&log.path], None).unwrap();
    assert_ne!(summary.thumbprints, [keys::thumbprint(&log.signer.jwk()).unwrap()]);
}

#[test]
fn an_empty_log_proves_nothing() {
    let log = Log::of_ten();
    fs::write(&log.path, "").unwrap();
    assert_eq!(log.broken().1, What::Empty);
    let missing = verify_files(&[log.path.with_extension("gone")], None);
    assert!(matches!(missing, Err(VerifyError::Read { .. })));
}

#[test]
fn a_restart_goes_on_with_the_chain() {
    let log = Log::of_ten();
    let audit = open(&log.path, &log.signer);
    assert!(audit.healthy());
    assert!(matches!(try_open(&log.path, &log.signer), Err(OpenError::InUse { .. })));
    committed(&audit, record(10)).unwrap();
    audit.close();
    assert_eq!(committed(&audit, record(11)), Err(AuditError::Closed));
    let summary = log.summary();
    assert_eq!((summary.records, summary.closed), (13 + 5, true));
}

#[test]
fn a_gateway_whose_writer_has_ended_is_not_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let audit = open(&folder.path().join("not/yet/there/audit.jsonl"), &TestSigner::new());
    assert!(audit.healthy());
    audit.close();
    assert!(!audit.healthy() && !audit.note(record(0)));
}

#[test]
fn a_torn_line_is_moved_aside_and_told_of() {
    let log = Log::of_ten();
    let whole = fs::read(&log.path).unwrap();
    fs::write(&log.path, &whole[..whole.len() - 10]).unwrap();
    open(&log.path, &log.signer).close();
    let summary = log.summary();
    assert!(summary.closed && summary.torn.is_none());
    assert!(log.lines().iter().any(|line| line.contains("cut-off last line")));
    let aside: Vec<_> = fs::read_dir(log.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".torn-"))
        .collect();
    let torn = fs::read(&aside[0]).unwrap();
    assert!(whole[..whole.len() - 10].ends_with(&torn) && torn.starts_with(br#"{"seq":12,"#));
}

#[test]
fn a_file_that_does_not_end_in_a_record_is_not_written_to() {
    let log = Log::of_ten();
    let whole = fs::read(&log.path).unwrap();
    for garbage in [&b"hello\n"[..], b"hello", b"{}\n", &[0; 5000], &[b'\n'; 3]] {
        fs::write(&log.path, garbage).unwrap();
        assert!(matches!(try_open(&log.path, &log.signer), Err(OpenError::Garbage { .. })));
        assert_eq!(fs::read(&log.path).unwrap(), garbage);
        fs::write(&log.path, [&whole[..], garbage, b"\n"].concat()).unwrap();
        assert!(matches!(try_open(&log.path, &log.signer), Err(OpenError::Garbage { .. })));
    }
}

#[test]
fn a_rotated_log_is_one_chain_and_its_new_file_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let signer = TestSigner::new();
    let audit = open(&path, &signer);
    committed(&audit, record(0)).unwrap();
    audit.reopen();
    committed(&audit, record(1)).unwrap();
    fs::rename(&path, &old).unwrap();
    committed(&audit, record(2)).unwrap();
    assert!(!path.exists(), "nothing is followed unasked");
    audit.reopen();
    committed(&audit, record(3)).unwrap();
    audit.close();
    let jwks = signer.jwks();
    let both = verify_files(&[&old, &path], Some(&jwks)).unwrap();
    assert_eq!((both.first_seq, both.closed), (0, true));
    assert!(verify_files(&[&old], Some(&jwks)).unwrap().closed);
    let new = verify_files(&[&path], Some(&jwks)).unwrap();
    assert_eq!(new.first_seq + new.records, both.records);
    assert!(fs::read_to_string(&path).unwrap().contains("number 3"));
    let wrong = verify_files(&[&path, &old], Some(&jwks));
    assert!(matches!(wrong, Err(VerifyError::Broken(_))), "{wrong:?}");
    // The head of the new file cannot be cut off.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.split_once('\n').unwrap().1).unwrap();
    assert!(matches!(verify_files(&[&path], None), Err(VerifyError::Broken(_))));
}

#[test]
fn a_log_that_was_removed_goes_on_in_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let audit = open(&path, &signer);
    for number in 0..3 {
        committed(&audit, record(number)).unwrap();
        fs::remove_file(&path).unwrap();
        audit.reopen();
    }
    committed(&audit, record(3)).unwrap();
    audit.close();
    let summary = verify_files(&[&path], Some(&signer.jwks())).unwrap();
    assert!(summary.first_seq > 3 && summary.closed);
}

#[test]
fn a_checkpoint_stands_behind_every_thousand_records() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let audit = open(&path, &signer);
    let count = 2 * CHECKPOINT_RECORDS_MAX + 10;
    for number in 0..count {
        while !audit.note(record(number as usize)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    audit.close();
    let summary = verify_files(&[&path], Some(&signer.jwks())).unwrap();
    assert_eq!(summary.checkpoints, 3);
    assert!(summary.records >= count + 2 + 3);
}

#[test]
fn a_checkpoint_follows_when_time_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let settings = Settings { checkpoint_ms: 100, ..Settings::new(&path) };
    let audit = Audit::open(&settings, signer.clone(), Arc::new(SystemClock)).unwrap();
    committed(&audit, record(0)).unwrap();
    let signed = || verify_files(&[&path], None).is_ok_and(|summary| summary.unsigned == 0);
    eventually(signed);
}

#[test]
fn a_full_disk_fails_commits_and_loses_nothing_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let real = folder.path().join("real.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let audit = open(&path, &signer);
    assert!(!audit.healthy());
    assert_eq!(committed(&audit, record(0)), Err(AuditError::Unavailable));
    assert!(audit.note(record(1)));
    // The disk has room again.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    eventually(|| audit.healthy());
    committed(&audit, record(2)).unwrap();
    audit.close();
    let text = fs::read_to_string(&real).unwrap();
    assert!(!text.contains("number 0"), "refused, so not written");
    assert!(text.contains("number 1") && text.contains("number 2"));
    assert!(text.contains("written again after a failure"));
    assert_eq!(audit.dropped(), 0);
    verify_files(&[&real], Some(&signer.jwks())).unwrap();
}

#[test]
fn what_is_lost_is_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let real = folder.path().join("real.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let audit = open(&path, &signer);
    for number in 0..10_000 {
        audit.note(record(number));
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    eventually(|| audit.healthy());
    audit.close();
    let lost = audit.dropped();
    assert!(lost > 0);
    let text = fs::read_to_string(&real).unwrap();
    assert!(text.contains("records could not be kept and are lost"));
    // Each of the 10,000 notes and the `started` record is either written or counted.
    let written = text.matches("number ").count() + text.matches(r#""event":"started""#).count();
    assert_eq!(written as u64 + lost, 10_000 + 1);
    verify_files(&[&real], None).unwrap();
}

#[test]
fn many_commits_share_a_sync_and_all_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signer) = (folder.path().join("audit.jsonl"), TestSigner::new());
    let audit = open(&path, &signer);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..500 {
            let audit = audit.clone();
            tasks.spawn(async move { audit.commit(record(number)).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("number ").count(), 500);
    audit.close();
    verify_files(&[&path], Some(&signer.jwks())).unwrap();
}

#[test]
fn a_secret_in_a_record_does_not_reach_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = open(&path, &TestSigner::new());
    let mut secret = record(0);
    secret.facts.insert("Step-Up-Code".into(), "424242".into());
    secret.path = Some("/withdraw?signature=feedbeef".into());
    committed(&audit, secret).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("424242") && !text.contains("feedbeef"), "{text}");
}

/// Not a claim of its own: the body of the child that the next test kills. Does nothing without its
/// variable.
#[test]
fn writes_until_it_is_killed() {
    let Ok(path) = std::env::var("STEPGATE_TEST_AUDIT_CHILD") else { return };
    let audit = open(Path::new(&path), &TestSigner::new());
    for number in 0.. {
        committed(&audit, record(number)).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number};").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn every_acknowledged_commit_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut expected = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::writes_until_it_is_killed", "--nocapture"])
            .env("STEPGATE_TEST_AUDIT_CHILD", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = |line: String| {
            let (_, rest) = line.split_once("acknowledged ")?;
            rest.split_once(';')?.0.parse::<usize>().ok()
        };
        let mut last = None;
        while last.is_none_or(|last| last < 40 * round) {
            last = acknowledged(lines.next().expect("the child lives").unwrap()).or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.map_while(Result::ok).filter_map(acknowledged).last().or(last);
        expected.push(last.unwrap());
    }
    open(&path, &TestSigner::new()).close();
    verify_files(&[&path], None).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for number in 0..=*expected.iter().max().unwrap() {
        let rounds = expected.iter().filter(|last| number <= **last).count();
        let found = text.matches(&format!(r#""number {number}""#)).count();
        assert!(found >= rounds, "number {number}: {found} of {rounds}");
    }
}

fn eventually(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "did not come about in 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}
