//! What is said of policies that load and may not be as meant, to the letter.
//!
//! After a change of wording: `UPDATE=1 cargo test --test it doubts`, and read the difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stepgate::fault::{Severity, Source};
use stepgate::policy::{self, Setting};

use super::rendered;

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<_> =
        entries.filter(|path| path.to_string_lossy().ends_with(".policy.toml")).collect();
    policies.sort();
    policies
}

/// A site where everything can be told, but for what the file's name says.
fn doubts(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let source = Source::new(&name, fs::read_to_string(path).unwrap());
    let mut faults = Vec::new();
    let loaded = policy::load(&source, &[], &[], &mut faults);
    let loaded = loaded.unwrap_or_else(|| panic!("{}", rendered(&faults)));
    let bare = name.starts_with("setting");
    let fields = |action: &str| -> Option<Vec<Arc<str>>> {
        let all = ["amount", "asset", "address", "network", "transfer.from", "transfer.to", "note"];
        match (action, bare) {
            (_, false) => None,
            ("withdrawal", _) => Some(["amount", "address", "note"].map(Arc::from).to_vec()),
            ("transfer", _) => Some(all.map(Arc::from).to_vec()),
            _ => None,
        }
    };
    let told = loaded.doubts(
        &source,
        &Setting {
            countries: !bare,
            networks: !bare,
            prices: !bare,
            sms: !name.starts_with("factors"),
            passkeys: !name.starts_with("factors"),
            fields: &fields,
        },
    );
    assert!(told.iter().all(|fault| fault.severity == Severity::Warning), "{name}");
    rendered(&told) + "\n"
}

#[test]
fn each_doubt_is_told_as_written_beside_its_policy() {
    let policies = folder("tests/fixtures/doubts");
    assert!(policies.len() >= 8, "only {} policies", policies.len());
    for path in policies {
        let told = doubts(&path);
        let beside = path.to_string_lossy().replace(".policy.toml", ".expected.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&beside).unwrap_or_default(), "{}", path.display());
    }
}

#[test]
fn nothing_is_said_of_a_policy_whose_rules_all_change_something() {
    assert_eq!(
        doubts(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doubts/fine.policy.toml")
        ),
        "\n"
    );
}

#[test]
fn nothing_is_said_of_the_shipped_policies() {
    let policies = folder("policies");
    assert!(!policies.is_empty());
    for path in policies {
        assert_eq!(doubts(&path), "\n", "{}", path.display());
    }
}
