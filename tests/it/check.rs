//! `stepgate check` as a person and as a job want it: everything in one run, in their format, with an exit code.

use std::path::Path;

use serde_json::Value;

use crate::binary::{run, said};
use crate::planted::good;

fn put(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file}: {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn check(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(dir, &[&["check"], arguments].concat());
    (output.status.code().unwrap(), said(&output))
}

/// Where errors are, from the JSON.
fn places(dir: &Path) -> Vec<String> {
    let (_, text) = check(dir, &["--json"]);
    let all: Value = serde_json::from_str(&text).unwrap();
    let faults = all["faults"].as_array().unwrap().iter();
    let errors = faults.filter(|fault| fault["severity"] == "error");
    let place = |it: &Value| format!("{}:{}: {}", it["file"], it["line"], it["message"]);
    errors.map(|error| place(error).replace('"', "")).collect()
}

/// A fault in four files, one with a comma and a percent sign in its message.
fn broken() -> (tempfile::TempDir, crate::kit::Kit) {
    let (dir, kit) = good();
    put(dir.path(), "policies/site.policy.toml", "address.age < 24h", "adress.age < 24h");
    put(dir.path(), "policies/site.policy.toml", "> 10_000", "> 10%");
    put(dir.path(), "prices.toml", "\"64250.5\"", "\"64,250.5\"");
    put(dir.path(), "stepgate.toml", "workers = 1", "workers = 0");
    put(dir.path(), "policies/site.actions.cases.toml", "amount = \"5\"", "amount = \"6\"");
    (dir, kit)
}

#[test]
fn each_format_says_the_same_faults() {
    let (dir, _kit) = broken();
    for format in ["human", "json", "sarif", "github"] {
        let (code, text) = check(dir.path(), &["--format", format]);
        assert_eq!(code, 1, "{text}");
        assert!(!text.contains('\u{1b}'), "no colours where no terminal is");
        insta::assert_snapshot!(format!("check_{format}"), text);
    }
    assert_eq!(check(dir.path(), &["--json"]), check(dir.path(), &["--format", "json"]));
}

#[test]
fn a_site_that_nothing_guards_and_one_that_nobody_reaches_are_told() {
    for (key, value, said) in [
        ("actions", "", "warning: the site has no packs"),
        ("hosts", "hosts = []", "error: the site has no hosts"),
    ] {
        let (dir, _kit) = good();
        let path = dir.path().join("stepgate.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let begins = format!("{key} = [");
        let line = config.lines().find(|line| line.starts_with(&begins)).unwrap();
        std::fs::write(&path, config.replacen(line, value, 1)).unwrap();
        let (_, text) = check(dir.path(), &[]);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn code_scanning_can_read_the_faults() {
    let (dir, _kit) = broken();
    // Named absolutely, as jobs do.
    let config = dir.path().join("stepgate.toml");
    let (_, text) = check(dir.path(), &["-c", config.to_str().unwrap(), "--format", "sarif"]);
    let log: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 5, "{text}");
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        assert!(["error", "warning"].iter().any(|level| result["level"] == *level), "{result}");
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(dir.path().join(uri).is_file() && !uri.starts_with('/'), "{uri}");
        let number = |key: &str| place["region"][key].as_u64().unwrap();
        let (start, end) = (
            (number("startLine"), number("startColumn")),
            (number("endLine"), number("endColumn")),
        );
        assert!(start >= (1, 1) && start <= end, "{result}");
    }
}

#[test]
fn exit_codes_tell_faults_from_wrong_usage() {
    let (dir, _kit) = good();
    let (code, text) = check(dir.path(), &[]);
    assert!(text.contains("warning: ") && text.contains("fine ("), "{text}");
    assert_eq!(code, 0, "warnings are allowed");
    let (code, text) = check(dir.path(), &["--strict"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("0 error(s), "), "{text}");
    put(dir.path(), "prices.toml", "\"1\"", "\"one\"");
    assert_eq!(check(dir.path(), &[]).0, 1);
    assert_eq!(check(dir.path(), &["--format", "xml"]).0, 2);
    assert_eq!(check(dir.path(), &["--json", "--format", "sarif"]).0, 2);
}

#[test]
fn the_help_says_the_exit_codes() {
    let (dir, _kit) = good();
    let (code, text) = check(dir.path(), &["--help"]);
    assert_eq!(code, 0);
    for words in ["Exit codes", "2 wrong usage", "--strict", "sarif", "github"] {
        assert!(text.contains(words), "{words} not in:\n{text}");
    }
}

/// Another site, with these packs and this policy.
fn second_site(dir: &Path, actions: &str, policy: &str) {
    let mut text = std::fs::read_to_string(dir.join("stepgate.toml")).unwrap();
    text += &format!(
        "\n[[site]]\nname = \"second\"\nhosts = [\"second.example\"]\nupstream = [\"http://127.0.0.1:9\"]\n\
         actions = [{actions}]\npolicy = \"{policy}\"\n"
    );
    std::fs::write(dir.join("stepgate.toml"), text).unwrap();
}

#[test]
fn a_site_with_faults_does_not_hide_the_other() {
    let (dir, _kit) = good();
    let policy = "version = 1\n[[rule]]\nid = \"x\"\non = \"transfer\"\ndenny = true\n";
    std::fs::write(dir.path().join("policies/other.policy.toml"), policy).unwrap();
    second_site(dir.path(), "", "policies/other.policy.toml");
    put(dir.path(), "policies/site.actions.toml", "need = [", "neeed = [");
    put(dir.path(), "stepgate.toml", "upstream = [\"http:", "upstream = [\"htp:");
    let told = places(dir.path());
    assert_eq!(told.len(), 3, "{told:#?}");
    for wanted in ["site.actions.toml:16: unknown key", "other.policy.toml:5: ", "stepgate.toml:"] {
        assert!(told.iter().any(|it| it.contains(wanted)), "{wanted} not in {told:#?}");
    }
}

#[test]
fn a_file_that_two_sites_name_is_told_once() {
    let (dir, _kit) = good();
    second_site(dir.path(), "\"policies/site.actions.toml\"", "policies/site.policy.toml");
    put(dir.path(), "policies/site.actions.toml", "need = [", "neeed = [");
    put(dir.path(), "policies/site.policy.toml", "address.age", "adress.age");
    put(dir.path(), "policies/site.cases.toml", "verdict = \"allow\"", "verdict = \"alow\"");
    let told = places(dir.path());
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn the_policy_and_its_cases_are_looked_at_beside_a_faulty_pack() {
    let (dir, _kit) = good();
    put(dir.path(), "policies/site.actions.toml", "[[action]]", "[[action]");
    put(dir.path(), "policies/site.policy.toml", "on = \"transfer\"", "on = \"of_the_pack\"");
    put(dir.path(), "policies/site.policy.toml", "address.age", "adress.age");
    put(dir.path(), "policies/site.cases.toml", "\"young-address\"", "\"young-adress\"");
    put(dir.path(), "policies/site.cases.toml", "verdict = \"allow\"", "verdict = \"deny\"");
    put(dir.path(), "policies/site.actions.cases.toml", "request = \"POST", "reqest = \"POST");
    let told = places(dir.path());
    let files =
        ["site.actions.toml", "site.actions.cases.toml", "site.policy.toml", "site.cases.toml"];
    // The unknown action may be one of the pack's, and a case is not tried against a faulty policy.
    assert_eq!(told.len(), files.len(), "{told:#?}");
    for (file, told) in files.iter().zip(&told) {
        assert!(told.contains(file), "{file}: {told}");
    }
}

#[test]
fn names_of_a_pack_with_faults_are_known() {
    let (dir, _kit) = good();
    put(dir.path(), "policies/site.actions.toml", "need = [", "neeed = [");
    put(dir.path(), "policies/site.policy.toml", "on = \"transfer\"", "on = \"tranfser\"");
    let told = places(dir.path());
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("unknown action"), "{told:#?}");
}

#[test]
fn everything_else_is_looked_at_beside_a_faulty_configuration() {
    let (dir, _kit) = good();
    put(
        dir.path(),
        "stepgate.toml",
        "[listen]\naddress = \"127.0.0.1:0\"",
        "[listen]\naddress = 7",
    );
    put(dir.path(), "stepgate.toml", "url = \"file:", "url = \"fiel:");
    put(dir.path(), "stepgate.toml", "master_key = \"file:", "master_key = \"flie:");
    put(dir.path(), "stepgate.toml", "policy =", "polcy =");
    put(dir.path(), "policies/site.policy.toml", "address.age", "adress.age");
    put(dir.path(), "prices.toml", "\"1\"", "\"one\"");
    let told = places(dir.path());
    assert_eq!(told.len(), 6, "{told:#?}");
    let (_, text) = check(dir.path(), &[]);
    assert!(
        !text.contains("secrets/master.key"),
        "what does not say where it is may be it: {text}"
    );
}

#[test]
fn no_format_shows_a_secret() {
    for (from, to) in [
        ("token = \"file:secrets/admin.token\"", "token = \"hunter2\""),
        ("token = \"file:secrets/admin.token\"", "token = hunter2"),
        ("token = \"file:secrets/admin.token\"", "token = \"hunter2"),
        ("token = \"file:secrets/admin.token\"", "tokne = \"hunter2\""),
        ("token = \"file:secrets/admin.token\"", "token = [\"hunter2\"]"),
        ("master_key = \"file:secrets/master.key\"", "master_key = \u{201c}hunter2\u{201d}"),
        ("url = \"file:state/stepgate.db\"", "url = \"redis://gate:hunter2@10.0.0.5\""),
        ("url = \"file:state/stepgate.db\"", "url = redis://gate:hunter2@10.0.0.5"),
        ("provider = \"log\"", "provider = \"twilio\"\ncredentials = \"AC1:hunter2\""),
        (
            "kind = \"api_key\"\nfrom = [\"header:OK-ACCESS-KEY\"]\naccounts = \"file:secrets/api-keys.toml\"",
            "kind = \"opaque\"\nfrom = [\"coookie:sid\"]\nintrospect = \"http://10.0.0.1/\"\ncredentials = \"id:hunter2\"",
        ),
    ] {
        let (dir, _kit) = good();
        put(dir.path(), "stepgate.toml", from, to);
        for format in ["human", "json", "sarif", "github"] {
            let (code, text) = check(dir.path(), &["--format", format]);
            assert_eq!(code, 1, "{to}: {text}");
            assert!(!text.contains("hunter2"), "{format}: {to}\n{text}");
        }
    }
}
