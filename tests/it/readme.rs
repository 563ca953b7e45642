//! What the README files say of the tree is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands in back quotes on one line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_that_the_readme_names_is_there() {
    let page = page("README.md");
    let folders = ["tests/", "src/", "policies/", "certs/"];
    let named: BTreeSet<_> = (page.lines().flat_map(quoted))
        .filter(|text| folders.iter().any(|folder| text.starts_with(folder)))
        .filter(|text| !text.contains(['*', '<', ' ']))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for path in named {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
}

#[test]
fn every_rule_that_the_readme_names_is_shipped() {
    let (page, policy) = (page("README.md"), page("policies/exchange.policy.toml"));
    let cells = page.lines().flat_map(|line| line.split('|')).map(str::trim);
    let named: BTreeSet<_> =
        cells.filter(|cell| cell.starts_with("rule")).flat_map(quoted).collect();
    assert!(named.len() > 5, "{named:?}");
    for id in named {
        assert!(policy.contains(&format!("id = \"{id}\"")), "{id}");
    }
}

#[test]
fn the_page_of_facts_is_what_the_command_prints() {
    let made = stepgate::policy::reference::markdown();
    let renew = "renew it: `cargo run -- facts --markdown > policies/facts.md`";
    assert!(page("policies/facts.md") == made, "policies/facts.md is not up to date; {renew}");
    assert!(page("policies/README.md").contains("(facts.md)"));
}

#[test]
fn facts_are_listed_without_any_configuration() {
    let nowhere = tempfile::TempDir::new().unwrap();
    let list = |option: &[&str]| {
        let mut command = std::process::Command::new(crate::binary::STEPGATE);
        let output =
            command.arg("facts").args(option).current_dir(nowhere.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list(&["--markdown"]), page("policies/facts.md"));
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let age = json["facts"].as_array().unwrap().iter().find(|row| row["name"] == "session.age");
    assert_eq!(age.unwrap()["unit"], "s, m, h or d");
    let plain = list(&[]);
    assert!(plain.contains("\nsession.age  (duration, s, m, h or d)\n"), "{plain}");
    assert!(plain.lines().all(|line| line.chars().count() <= 100), "it is not a terminal");
}
