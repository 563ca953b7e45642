//! A table of planted faults over all kinds of files: each is refused, told at its line and column, and once.
//!
//! The table is `tests/fixtures/planted/faults.toml`, beside the files that it breaks; what people read is kept as
//! snapshots, one for each kind of file.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use tempfile::TempDir;

use crate::binary::{run, said};
use crate::kit::{Kit, Options};

/// Stands in the planted text where the fault must be told.
const MARK: char = '»';

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    fault: Vec<Planted>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planted {
    name: String,
    file: String,
    /// What is there before; the whole file if absent.
    from: Option<String>,
    to: String,
    /// Other places of the file, `line:column`, that are told too.
    #[serde(default)]
    also: Vec<String>,
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/planted");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn table() -> Vec<Planted> {
    toml::from_str::<Table>(&fixture("faults.toml")).unwrap().fault
}

/// The files as they are before anything is planted.
pub fn good() -> (TempDir, Kit) {
    let dir = TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let (policy, pack) = (&fixture("site.policy.toml"), &fixture("site.actions.toml"));
    let extra = "[prices]\nfile = \"prices.toml\"\n";
    let kit =
        Kit::write(dir.path(), &Options { upstream, policy, pack, extra, workers: 1, sms: true });
    std::fs::create_dir_all(dir.path().join("geo/lists")).unwrap();
    for (name, place) in [
        ("second.actions.toml", "policies/second.actions.toml"),
        ("site.actions.cases.toml", "policies/site.actions.cases.toml"),
        ("site.cases.toml", "policies/site.cases.toml"),
        ("prices.toml", "prices.toml"),
        ("api-keys.toml", "secrets/api-keys.toml"),
        ("hosting.txt", "geo/lists/hosting.txt"),
    ] {
        std::fs::write(dir.path().join(place), fixture(name)).unwrap();
    }
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let text = text
        .replace("[geo]\n", "[geo]\nlists = \"geo/lists\"\n")
        .replace("actions.toml\"]", "actions.toml\", \"policies/second.actions.toml\"]");
    std::fs::write(kit.config(), text).unwrap();
    (dir, kit)
}

/// Errors as people read them, in their order, without warnings and the last line.
fn errors(dir: &Path) -> Vec<String> {
    let output = run(dir, &["check"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let text = said(&output);
    let mut errors: Vec<String> = Vec::new();
    let mut told = false;
    for line in text.lines() {
        if line.starts_with("error: ") {
            errors.push(String::new());
        }
        let begins = line.starts_with("error: ") || line.starts_with("warning: ");
        told = if begins { line.starts_with("error: ") } else { told };
        if let Some(error) = errors.last_mut().filter(|_| told && !line.contains("error(s), ")) {
            *error += &format!("{line}\n");
        }
    }
    errors
}

/// `file:line:column` of an error; a file as a whole is its beginning.
fn place(error: &str) -> String {
    let arrow = error.lines().find_map(|line| line.trim_start().strip_prefix("--> ")).unwrap();
    match arrow.ends_with(|c: char| c.is_ascii_digit()) {
        true => arrow.to_owned(),
        false => format!("{arrow}:1:1"),
    }
}

/// Plants it, looks, and takes it out again; what was told.
fn plant(dir: &Path, planted: &Planted) -> String {
    let (file, name) = (dir.join(&planted.file), &planted.name);
    let before = std::fs::read_to_string(&file).unwrap();
    let broken = match &planted.from {
        Some(from) => {
            assert!(before.contains(from), "{name}: nothing to replace");
            before.replacen(from, &planted.to, 1)
        }
        None => planted.to.clone(),
    };
    let mark = broken.find(MARK).unwrap_or_else(|| panic!("{name}: no mark"));
    // Nobody sees a byte order mark, and no editor counts it.
    let ahead = broken[..mark].trim_start_matches('\u{feff}');
    let line = ahead.matches('\n').count() + 1;
    let column = ahead.rsplit('\n').next().unwrap().chars().count() + 1;
    std::fs::write(&file, broken.replacen(MARK, "", 1)).unwrap();
    let told = errors(dir);
    std::fs::write(&file, before).unwrap();
    let places: BTreeSet<String> = told.iter().map(|error| place(error)).collect();
    let also = planted.also.iter().map(|at| format!("{}:{at}", planted.file));
    let wanted: BTreeSet<String> =
        also.chain([format!("{}:{line}:{column}", planted.file)]).collect();
    assert_eq!(places, wanted, "{name}:\n{}", told.concat());
    assert_eq!(told.len(), wanted.len(), "{name}: told more than once:\n{}", told.concat());
    told.concat().trim_end().to_owned()
}

/// Every fault planted in such a file.
fn all(of: impl Fn(&str) -> bool) -> String {
    let (dir, _kit) = good();
    assert_eq!(errors(dir.path()), Vec::<String>::new(), "something is wrong before");
    let mut page = String::new();
    for planted in table().into_iter().filter(|planted| of(&planted.file)) {
        page += &format!("=== {}\n{}\n\n", planted.name, plant(dir.path(), &planted));
    }
    page.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn the_table_has_enough_of_every_kind() {
    let table = table();
    let names: BTreeSet<&str> = table.iter().map(|planted| planted.name.as_str()).collect();
    assert_eq!(names.len(), table.len(), "two have one name");
    for (kind, least) in [
        ("site.policy.toml", 60),
        ("policies/site.cases.toml", 8),
        ("actions.toml", 20),
        ("actions.cases.toml", 5),
        ("prices.toml", 5),
        ("api-keys.toml", 4),
        ("hosting.txt", 1),
        ("stepgate.toml", 15),
    ] {
        let count = table.iter().filter(|planted| planted.file.ends_with(kind)).count();
        assert!(count >= least, "{count} in {kind}");
    }
}

#[test]
fn each_fault_of_a_policy_is_told_at_its_place() {
    insta::assert_snapshot!("planted_in_policies", all(|file| file.ends_with(".policy.toml")));
}

#[test]
fn each_fault_of_cases_is_told_at_its_place() {
    insta::assert_snapshot!("planted_in_cases", all(|file| file.ends_with("cases.toml")));
}

#[test]
fn each_fault_of_a_pack_is_told_at_its_place() {
    insta::assert_snapshot!("planted_in_packs", all(|file| file.ends_with(".actions.toml")));
}

#[test]
fn each_fault_of_the_configuration_is_told_at_its_place() {
    insta::assert_snapshot!("planted_in_configurations", all(|file| file == "stepgate.toml"));
}

#[test]
fn each_fault_of_prices_keys_and_lists_is_told_at_its_place() {
    let of = |file: &str| !file.starts_with("policies/") && file != "stepgate.toml";
    insta::assert_snapshot!("planted_in_other_files", all(of));
}

#[test]
fn a_policy_of_two_megabytes_is_refused_where_it_is_named() {
    let (dir, _kit) = good();
    let path = dir.path().join("policies/site.policy.toml");
    let long = format!("{}# {}\n", fixture("site.policy.toml"), "x".repeat(2 << 20));
    std::fs::write(&path, long).unwrap();
    let told = errors(dir.path());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("at most 1048576 are read"), "{}", told[0]);
    assert!(place(&told[0]).starts_with("stepgate.toml:"), "{}", told[0]);
}

#[test]
fn a_file_that_is_nested_without_end_is_refused() {
    let (dir, _kit) = good();
    let deep = format!("version = 1\nsets = {}\n", "[".repeat(100_000));
    std::fs::write(dir.path().join("policies/site.policy.toml"), deep).unwrap();
    let told = errors(dir.path());
    assert_eq!(told.len(), 1, "{}", told.len());
    assert!(place(&told[0]).starts_with("policies/site.policy.toml:2:"), "{}", place(&told[0]));
}

#[test]
fn line_endings_of_windows_move_no_fault() {
    let (dir, _kit) = good();
    let path = dir.path().join("policies/site.policy.toml");
    let text = fixture("site.policy.toml").replace("address.age", "adress.age");
    std::fs::write(&path, &text).unwrap();
    let unix: Vec<String> = errors(dir.path()).iter().map(|error| place(error)).collect();
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let windows: Vec<String> = errors(dir.path()).iter().map(|error| place(error)).collect();
    assert_eq!((unix.len(), &unix), (1, &windows));
}
