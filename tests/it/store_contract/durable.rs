//! What the embedded store keeps when its process ends, however it ends.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use stepgate::stepup::challenge::{Limits, State};
use stepgate::store::embedded::Embedded;
use stepgate::store::{Begin, Settled, Store, StoreError};
use stepgate::types::AccountId;

use super::fixtures::*;
use super::run;

fn open_at(path: &Path) -> Arc<dyn Store> {
    let store = Embedded::open(path, Limits::default()).expect("opens");
    Arc::new(store.with_deadline_ms(20_000))
}

#[test]
fn a_second_process_is_told_that_the_file_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state/of/it.db");
    let _first = open_at(&path);
    let second = Embedded::open(&path, Limits::default()).err().expect("refuses");
    assert!(second.to_string().contains("another stepgate has it open"), "{second}");
}

#[test]
fn the_file_is_readable_by_its_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state/it.db");
    let _store = open_at(&path);
    let mode = |path: &Path| path.metadata().expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    for content in [&b"not a store"[..], &[0x5a; 10_000][..]] {
        std::fs::write(&path, content).expect("writes");
        let error = Embedded::open(&path, Limits::default()).err().expect("refuses");
        assert!(error.to_string().contains("state.db"), "{error}");
        assert_eq!(std::fs::read(&path).expect("reads"), content);
    }
}

#[test]
fn a_caller_waits_no_longer_than_the_deadline_and_leaves_nothing_counted() {
    run(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        {
            let store = Embedded::open(&path, Limits::default()).expect("opens");
            let hasty: Arc<dyn Store> = Arc::new(store.with_deadline_ms(0));
            for n in 0..20 {
                let late = hasty.begin(begin(&format!("a{n}")), NOW).await;
                assert!(matches!(late, Ok(_) | Err(StoreError::Deadline(0))), "{late:?}");
                if late.is_ok() {
                    // Answered in no time at all; then it is this caller's to end.
                    let _ = hasty
                        .abandon(
                            stepgate::types::AttemptId::new(format!("a{n}")),
                            &alice(),
                            vec![],
                            NOW,
                        )
                        .await;
                }
            }
        }
        let store = open_at(&path);
        assert_eq!(store.recover(NOW).await.expect("recovers"), []);
        assert_eq!(withdrawals(&store, "1h", NOW).await, (0, None));
    });
}

#[test]
fn a_caller_that_leaves_leaves_nothing_counted() {
    run(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open_at(&folder.path().join("state.db"));
        for n in 0..50 {
            let beginning = store.begin(begin(&format!("a{n}")), NOW);
            // Polled once, so that the sentence is on its way, and dropped.
            tokio::select! {
                biased;
                begun = beginning => drop(begun),
                () = std::future::ready(()) => {}
            }
        }
        store.ping().await.expect("answers");
        assert_eq!(store.recover(NOW).await.expect("recovers"), []);
    });
}

#[test]
fn what_is_over_is_forgotten_in_time_and_not_before() {
    run(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let store = open_at(&path);
        open(&store, challenge("c"), NOW).await;
        begun(&store, begin("a"), NOW).await;
        settle(&store, "a", Settled::Done, NOW).await;
        assert_eq!(state(&store, "c", after(DAY)).await, State::Expired);
        // Any sentence that writes sweeps as well.
        store.freeze(&account("x"), "owner".into(), after(DAY)).await.expect("freezes");
        assert_eq!(state(&store, "c", after(DAY)).await, State::Expired);
        for n in 0..3u64 {
            let at = after((2 + n) * DAY);
            store.freeze(&account("x"), "owner".into(), at).await.expect("freezes");
        }
        let id = stepgate::types::ChallengeId::new("c");
        assert!(store.challenge(&id, &alice(), after(4 * DAY)).await.expect("answers").is_none());
        assert!(
            store.begin(begin("a"), after(5 * DAY)).await.is_err(),
            "the attempt is remembered"
        );
        let at = after(8 * DAY);
        store.freeze(&account("x"), "owner".into(), at).await.expect("freezes");
        assert!(store.begin(begin("a"), at).await.is_ok(), "the attempt is forgotten");
    });
}

const CHILD: &str = "STEPGATE_TEST_STORE_CHILD";

/// Runs only inside the process that the next test starts: begins attempts until it is killed, and
/// says each one that was answered.
#[test]
fn child_begins_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    run(|| async {
        let store = open_at(Path::new(&path));
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for n in 0.. {
                    let id = format!("a{task}-{n}");
                    begun(
                        &store,
                        Begin { account: AccountId::new("main", id.as_str()), ..begin(&id) },
                        NOW,
                    )
                    .await;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "begun {id}").expect("the parent listens");
                    out.flush().expect("the parent listens");
                }
            });
        }
        tasks.join_all().await;
    });
}

#[test]
fn a_kill_loses_nothing_that_was_answered() {
    for round in 0..5u64 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let said = begin_in_child_and_kill(&path, 20 + round * 40);
        run(|| async {
            let store = open_at(&path);
            let orphans = store.recover(NOW).await.expect("recovers");
            let ids: Vec<String> =
                orphans.iter().map(|orphan| orphan.attempt.to_string()).collect();
            let found: BTreeSet<String> = ids.iter().cloned().collect();
            assert_eq!(found.len(), ids.len(), "each once");
            let lost: Vec<_> = said.difference(&found).collect();
            assert!(lost.is_empty(), "lost {lost:?}");
            assert_eq!(store.recover(NOW).await.expect("recovers"), []);
        });
    }
}

/// Starts this binary again on the child's test alone, and kills it after so many answers.
fn begin_in_child_and_kill(path: &Path, answers: u64) -> BTreeSet<String> {
    let this = std::env::current_exe().expect("has a path");
    let name = "store_contract::durable::child_begins_until_it_is_killed";
    let mut child = Command::new(this)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut said = BTreeSet::new();
    let mut note = |line: std::io::Result<String>| {
        if let Some((_, id)) = line.ok().as_deref().and_then(|line| line.split_once("begun ")) {
            said.insert(id.to_owned());
            return true;
        }
        false
    };
    let mut heard = 0;
    while heard < answers {
        heard += u64::from(note(lines.next().expect("the child still runs")));
    }
    child.kill().expect("is killed");
    for line in lines {
        note(line); // said before the kill, heard after it
    }
    child.wait().expect("has ended");
    said
}
