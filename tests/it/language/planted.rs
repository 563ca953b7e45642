//! Policies with one planted fault each, and beside each what its author is told, to the letter.
//!
//! After a change of wording: `UPDATE=1 cargo test --test it planted`, and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use stepgate::fault::Source;

use super::rendered;

fn planted() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut policies: Vec<_> =
        entries.filter(|path| path.to_string_lossy().ends_with(".policy.toml")).collect();
    policies.sort();
    policies
}

#[test]
fn each_planted_fault_is_told_as_written_beside_it() {
    let policies = planted();
    assert!(policies.len() >= 20, "only {} policies", policies.len());
    for path in policies {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = Source::new(&name, fs::read_to_string(&path).unwrap());
        let mut faults = Vec::new();
        let loaded = stepgate::policy::load(&source, &[], &[], &mut faults);
        assert!(loaded.is_none() && !faults.is_empty(), "{name} loads");
        let told = rendered(&faults) + "\n";
        let beside = path.with_file_name(name.replace(".policy.toml", ".expected.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&beside).unwrap_or_default(), "{name}");
        let one = name.starts_with("several") || faults.len() == 1;
        assert!(one, "{name} has one planted fault:\n{told}");
    }
}
