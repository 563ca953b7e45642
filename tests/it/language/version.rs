//! `version`: of the language, and of the text that decided.

use stepgate::fault::{Fault, Source};
use stepgate::policy;
use stepgate::types::PolicyVersion;

fn load(text: &str, salt: &[&[u8]]) -> Result<PolicyVersion, Vec<Fault>> {
    let mut faults = Vec::new();
    let loaded = policy::load(&Source::new("p", text), &[], salt, &mut faults);
    loaded.map(|policy| policy.version().clone()).ok_or(faults)
}

#[test]
fn the_version_of_the_language_is_one() {
    for (text, message) in [
        ("", "this file is empty"),
        ("# nothing\n", "`version` is missing"),
        ("version = 2", "this version of the language is not known"),
        ("version = \"1\"", "this is a string; it should be the number 1"),
    ] {
        let faults = load(text, &[]).expect_err(text);
        assert_eq!(faults.first().map(|fault| &*fault.message), Some(message));
    }
}

#[test]
fn a_policy_without_rules_says_nothing_and_is_valid() {
    assert!(load("version = 1", &[]).is_ok());
}

#[test]
fn the_version_names_the_text_and_the_salt() {
    let plain = load("version = 1", &[]).unwrap();
    // printf 'version = 1' | sha256sum | cut -c -16
    assert_eq!(plain.as_str(), "4eab33c0b9ba9ded");
    let same = load("version = 1", &[]).unwrap();
    let other = load("version = 1 ", &[]).unwrap();
    let salted = load("version = 1", &[b"ab", b"c"]).unwrap();
    let shifted = load("version = 1", &[b"a", b"bc"]).unwrap();
    assert_eq!(plain, same);
    assert!(plain != other && plain != salted && salted != shifted);
}
