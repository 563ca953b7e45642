//! `id`: names a rule in every record, once.

use super::{load, refuse, rendered};

#[test]
fn an_id_is_needed_and_unique() {
    refuse(
        r#"
[[rule]]
on = "*"
deny = true

[[rule]]
id = "twice"
on = "*"
deny = true

[[rule]]
id = "twice"
on = "*"
deny = true
"#,
        &["this rule has no `id`", "another rule is called `twice` too"],
    );
}

#[test]
fn an_id_is_a_plain_lower_case_name() {
    for odd in ["", "Large", "a b", "a\\n", "größe", &"x".repeat(65)] {
        let faults = load(&format!("[[rule]]\nid = \"{odd}\"\non = \"*\"\ndeny = true"));
        let faults = faults.expect_err(odd);
        assert!(rendered(&faults).contains("cannot be a rule's id"), "{odd}");
    }
    assert!(load("[[rule]]\nid = \"kyc-2.level_1\"\non = \"*\"\ndeny = true").is_ok());
}
