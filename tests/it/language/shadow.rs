//! `shadow = true`: speaks in the record only.

use super::check;

#[test]
fn a_shadow_rule_is_recorded_and_changes_nothing() {
    let outcomes =
        ["freeze = true", "deny = true", "hold = \"1h\"", "require = \"totp\"", "allow = true"];
    for outcome in outcomes {
        check(
            &format!("[[rule]]\nid = \"trial\"\non = \"*\"\n{outcome}\nshadow = true"),
            r#"
[[case]]
name = "recorded"
request = { action = "withdrawal" }
expect = { verdict = "allow", rules = [], shadow = ["trial"] }
"#,
        );
    }
}

#[test]
fn shadow_false_is_aloud() {
    check(
        "[[rule]]\nid = \"r\"\non = \"*\"\ndeny = true\nshadow = false",
        "[[case]]\nname = \"c\"\nrequest = { action = \"login\" }\n\
         expect = { verdict = \"deny\", rules = [\"r\"], shadow = [] }",
    );
}
