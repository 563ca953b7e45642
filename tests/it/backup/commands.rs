//! `stepgate backup` and `stepgate restore`, beside a running gateway and without one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};
use stepgate::backup::Reader;
use stepgate::crypto::Keyring;
use stepgate::fault::Source;
use stepgate::stepup::challenge::Limits;
use stepgate::store::Store;
use stepgate::store::embedded::Embedded;
use stepgate::store::moved::Kept;
use stepgate::types::{AccountId, UnixMs};
use stepgate::world::{Clock as _, SystemClock};
use tempfile::TempDir;

use crate::binary::{self, Binary, said};
use crate::exchange::Exchange;
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{Kit, Options, TOTP_SECRET};
use crate::world::{OKX, World, admin, totp_at};

const POLICY: &str = r#"version = 1

[[rule]]
id = "contract-to-spot"
on = "transfer"
when = "transfer.from is contract and transfer.to is spot"
require = "totp"

[[rule]]
id = "young-address"
on = "withdrawal"
when = "address.age < 24h"
hold = "24h"
"#;

/// A gateway's directory.
struct Place {
    kit: Kit,
    _dir: TempDir,
}

impl Place {
    fn in_front_of(upstream: std::net::SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let options =
            Options { upstream, policy: POLICY, pack: OKX, extra: "", workers: 2, sms: false };
        Self { kit: Kit::write(dir.path(), &options), _dir: dir }
    }

    /// Nothing will run here.
    fn idle() -> Self {
        Self::in_front_of(([127, 0, 0, 1], 9).into())
    }

    /// The same with some state: alice is frozen.
    async fn with_state() -> Self {
        let place = Self::idle();
        place.freeze("alice").await;
        place
    }

    async fn freeze(&self, name: &str) {
        let store = self.store();
        let account = AccountId::new("main", name);
        store.freeze(&account, "operator:eve".into(), now()).await.unwrap();
        store.adopt("a-common-key", vec![1]).await.unwrap();
    }

    async fn is_frozen(&self, name: &str) -> bool {
        let card = self.store().account(&AccountId::new("main", name), now()).await.unwrap();
        card.frozen.is_some()
    }

    fn store(&self) -> Arc<dyn Store> {
        let store = Embedded::open(&self.path("state/stepgate.db"), Limits::default()).unwrap();
        Arc::new(store.with_deadline_ms(20_000))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kit.dir.join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.kit.config();
        let with_config = [arguments, &["-c", config.to_str().unwrap()]].concat();
        binary::run(&self.kit.dir, &with_config)
    }

    /// It must end well.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// It must be refused with these words.
    fn refused(&self, arguments: &[&str], words: &str) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }

    fn new_state(&self) {
        std::fs::remove_dir_all(self.path("state")).unwrap();
    }

    fn keys(&self, ids: &[(&str, u8)]) {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let line = |(id, byte): &(&str, u8)| format!("{id} {}\n", STANDARD.encode([*byte; 32]));
        let text: String = ids.iter().map(line).collect();
        std::fs::write(self.path("secrets/master.key"), text).unwrap();
    }

    /// What a backup holds, sorted.
    fn content(&self, name: &str) -> Vec<Kept> {
        let text = std::fs::read_to_string(self.path("secrets/master.key")).unwrap();
        let ring = Keyring::parse(&Source::new("k", text), &mut Vec::new()).unwrap();
        let file = std::fs::File::open(self.path(name)).unwrap();
        let mut reader = Reader::open(file, &ring).unwrap();
        let mut records = Vec::new();
        while let Some(kept) = reader.record().unwrap() {
            records.extend(kept.as_of(now()).map(Kept::in_order));
        }
        records.sort_by_key(Kept::subject);
        records
    }
}

fn now() -> UnixMs {
    SystemClock.now()
}

fn log(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.path("audit/stepgate.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_state_survives_the_loss_of_the_machine() {
    let exchange = Exchange::start().await;
    let place = Place::in_front_of(exchange.address);
    let kit = &place.kit;
    let places = Binary::place(kit);
    let mut gateway = Binary::start(kit, places).await;
    let uri = format!("otpauth://totp/x:alice?secret={TOTP_SECRET}&issuer=x");
    let line = json!({ "account": "alice", "group": "main", "otpauth": uri }).to_string();
    assert_eq!(admin(gateway.admin, "POST", "/factor/import", &line).await.status, 200);
    let by = r#"{"by":"ops"}"#;
    assert_eq!(admin(gateway.admin, "POST", "/account/main/bob/freeze", by).await.status, 200);
    let customer = |gateway: &Binary, name: &str| {
        let token = kit.token(name, "s1", now().seconds());
        gateway.client(kit, "authorization", &format!("Bearer {token}"))
    };
    // The code of the step before, so that the one of this step is still to be had.
    let old_code = totp_at(UnixMs(now().0 - 30_000));
    let alice = customer(&gateway, "alice");
    answer(&alice, &old_code, 200).await;
    let body = withdrawal("5", "TNewAddress");
    let held = alice.post_json(WITHDRAW, body.clone()).await;
    assert_eq!(held.status, 403, "{}", held.text());

    let told = place.done(&["backup", "state.backup"]);
    assert!(told.contains("written to state.backup: accounts 2"), "{told}");
    let mode = place.path("state.backup").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!place.path("state.backup.part").exists());
    let noted = log(&place).into_iter().find(|line| line["event"] == "backup").unwrap();
    let note = noted["note"].as_str().unwrap();
    assert!(note.starts_with("operator:") && note.contains("accounts 2"), "{note}");
    place.refused(&["backup", "state.backup"], "is there already");
    place.refused(&["restore", "state.backup"], "a gateway is running on");
    assert!(gateway.stop());

    place.new_state();
    let told = place.done(&["restore", "state.backup"]);
    assert!(told.contains("accounts 2") && told.contains("read back from the store"), "{told}");
    assert!(!told.contains("restart every gateway"), "{told}");
    place.refused(&["restore", "state.backup"], "is not empty, it has accounts");

    let gateway = Binary::start(kit, places).await;
    place.done(&["backup", "again.backup"]);
    assert_eq!(place.content("again.backup"), place.content("state.backup"));
    let bob = customer(&gateway, "bob");
    assert_eq!(bob.post_json(TRANSFER, TO_SPOT).await.status, 423, "bob is still frozen");
    let alice = customer(&gateway, "alice");
    let still = alice.post_json(WITHDRAW, body).await;
    let wait =
        |answer: &crate::client::Answer| -> u64 { answer.header("retry-after").parse().unwrap() };
    assert_eq!(still.status, 403, "{}", still.text());
    assert!(wait(&still) <= wait(&held), "the wait does not start again");
    let sent = exchange.seen_at(TRANSFER).len();
    answer(&alice, &old_code, 403).await;
    answer(&alice, &totp_at(now()), 200).await;
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);
    assert_eq!(exchange.seen_at(TRANSFER).len(), sent + 1);
}

/// Asks for the transfer and answers its challenge with this code.
async fn answer(customer: &crate::client::Client, code: &str, status: u16) {
    let challenge = customer.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    let body = json!({ "factor": "totp", "code": code }).to_string();
    let answer = customer.post_json(&path, body).await;
    assert_eq!(answer.status, status, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_records_what_was_given_out_and_what_was_put_in() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let poured = world.admin("POST", "/backup", r#"{"by":"ops","reason":"weekly"}"#).await;
    assert_eq!(poured.status, 200);
    assert!(poured.body.starts_with(b"{\"stepgate_backup\":1"));
    let given = world.noted("backup").await;
    assert_eq!(given["note"], "operator:ops: accounts 1, keys 1; weekly");
    let put_in = r#"{"by":"ops","reason":"a backup of yesterday"}"#;
    assert_eq!(world.admin("POST", "/restored", put_in).await.status, 200);
    assert_eq!(world.noted("restored").await["note"], "operator:ops: a backup of yesterday");
    assert_eq!(world.admin("POST", "/backup", "{}").await.status, 422, "nobody ordered it");
}

#[tokio::test]
async fn a_store_that_no_gateway_uses_is_backed_up_checked_and_restored() {
    let place = Place::with_state().await;
    let told = place.done(&["backup", "a.backup"]);
    assert!(told.contains("written to a.backup: accounts 1, keys 1"), "{told}");
    let told = place.done(&["backup", "--verify", "a.backup"]);
    assert!(told.starts_with("whole: a.backup, of ") && told.contains("under the key `k1`"));
    // The key is not one of ours, and says nothing against the file.
    assert!(!told.contains("warning"), "{told}");
    place.new_state();
    place.done(&["restore", "a.backup"]);
    assert!(place.is_frozen("alice").await);
    place.new_state();
    place.refused(&["backup", "b.backup"], "nothing to back up");
    assert!(!place.path("state").exists() && !place.path("b.backup").exists());
}

#[tokio::test]
async fn a_store_that_is_not_empty_is_restored_into_only_when_told_to() {
    let place = Place::with_state().await;
    place.done(&["backup", "a.backup"]);
    place.new_state();
    place.freeze("bob").await;
    place.refused(&["restore", "a.backup"], "--replace");
    assert!(!place.is_frozen("alice").await);
    let told = place.done(&["restore", "--replace", "a.backup"]);
    assert!(told.contains("restart every gateway"), "{told}");
    assert!(place.is_frozen("alice").await && place.is_frozen("bob").await);
}

#[tokio::test]
async fn a_store_with_nothing_but_common_keys_counts_as_empty() {
    let place = Place::with_state().await;
    place.done(&["backup", "a.backup"]);
    place.new_state();
    place.store().adopt("a-common-key", vec![2]).await.unwrap();
    place.done(&["restore", "a.backup"]);
    assert_eq!(place.store().adopt("a-common-key", vec![3]).await.unwrap(), [1]);
}

#[tokio::test]
async fn nothing_is_written_of_a_file_that_is_not_whole() {
    let place = Place::with_state().await;
    place.done(&["backup", "a.backup"]);
    place.new_state();
    let file = std::fs::read(place.path("a.backup")).unwrap();
    let put = |bytes: &[u8]| std::fs::write(place.path("b.backup"), bytes).unwrap();
    let mut altered = file.clone();
    *altered.last_mut().unwrap() ^= 1;
    let wrong = [
        (&altered[..], "chunk 1 does not open"),
        (&file[..file.len() - 1], "chunk 1 does not open"),
        (b"not one", "it is not a backup"),
        (b"{\"stepgate_backup\":7}\n", "it is of format 7"),
    ];
    for (bytes, words) in wrong {
        put(bytes);
        place.refused(&["restore", "b.backup"], words);
        place.refused(&["restore", "b.backup"], "nothing was written");
        place.refused(&["restore", "--replace", "b.backup"], words);
        place.refused(&["backup", "--verify", "b.backup"], words);
    }
    place.refused(&["restore", "none.backup"], "cannot read none.backup");
    assert!(!place.path("state").exists(), "not even a store was made");
}

#[tokio::test]
async fn the_master_key_is_named_that_a_backup_needs() {
    let place = Place::with_state().await;
    place.done(&["backup", "a.backup"]);
    place.keys(&[("k2", 9)]);
    place.refused(
        &["restore", "--replace", "a.backup"],
        "the key `k1`, which is not in store.master_key",
    );
    place.keys(&[("k2", 9), ("k1", 7)]);
    place.done(&["restore", "--replace", "a.backup"]);
    place.done(&["backup", "b.backup"]);
    assert!(place.done(&["backup", "--verify", "b.backup"]).contains("under the key `k2`"));
    place.keys(&[("k1", 9)]);
    place.refused(&["backup", "--verify", "a.backup"], "`k1` is another key");
}

#[tokio::test]
async fn secrets_under_a_key_that_is_gone_are_told_of() {
    use stepgate::store::Enrolled;
    use stepgate::types::Factor;
    let place = Place::with_state().await;
    let text = std::fs::read_to_string(place.path("secrets/master.key")).unwrap();
    let ring = Keyring::parse(&Source::new("k", text), &mut Vec::new()).unwrap();
    let sealed = Enrolled {
        factor: Factor::Totp,
        secret: ring.seal("factor", &[b"main", b"alice"], b"x"),
        label: "x".to_owned(),
        since: now(),
        disabled: false,
        last_step: None,
        usable_from: now(),
        codes: Vec::new(),
        language: None,
    };
    place.store().enrol(&AccountId::new("main", "alice"), sealed, now()).await.unwrap();
    assert!(!place.done(&["backup", "a.backup"]).contains("warning"));
    place.keys(&[("k2", 9)]);
    let told = place.done(&["backup", "b.backup"]);
    assert!(told.contains("warning: 1 enrolled factors are sealed with the key `k1`"), "{told}");
}

#[tokio::test]
async fn a_backup_that_cannot_be_written_leaves_nothing_behind() {
    let place = Place::with_state().await;
    place.refused(&["backup", "no-folder/a.backup"], "cannot write no-folder/a.backup.part");
    std::fs::write(place.path("a.backup.part"), "of another").unwrap();
    place.refused(&["backup", "a.backup"], "another backup is writing it");
    let left = std::fs::read_to_string(place.path("a.backup.part")).unwrap();
    assert_eq!(left, "of another", "it is not ours to remove");
    let link = place.path("b.backup");
    std::os::unix::fs::symlink(Path::new("elsewhere"), link).unwrap();
    place.refused(&["backup", "b.backup"], "is there already");
    assert!(!place.path("elsewhere").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_fails_the_backup_and_not_the_gateway() {
    let exchange = Exchange::start().await;
    let place = Place::in_front_of(exchange.address);
    let places = Binary::place(&place.kit);
    let gateway = Binary::start(&place.kit, places).await;
    // Files of this command may have no byte more; the signal that says so is ignored.
    let script = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} backup -c {} full.backup",
        binary::STEPGATE,
        place.kit.config().display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&place.kit.dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("could not be written to full.backup.part"),
        "{}",
        said(&output)
    );
    assert!(!place.path("full.backup").exists() && !place.path("full.backup.part").exists());
    assert_eq!(admin(gateway.admin, "GET", "/health", "").await.status, 200);
    place.done(&["backup", "good.backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_interface_the_gateway_has_to_be_stopped() {
    let place = Place::with_state().await;
    let text = std::fs::read_to_string(place.kit.config()).unwrap();
    let (before, admin) = text.split_once("[admin]").unwrap();
    let after = admin.split_once("\n[").unwrap().1;
    std::fs::write(place.kit.config(), format!("{before}[{after}")).unwrap();
    let _open = place.store();
    place.refused(&["backup", "a.backup"], "give it an [admin] interface, or stop it");
}
