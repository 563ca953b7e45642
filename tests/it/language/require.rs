//! `require = "totp and (sms or webauthn)"`.

use super::{check, refuse};

#[test]
fn requirements_of_several_rules_add_up() {
    check(
        r#"
[[rule]]
id = "one"
on = "withdrawal"
require = "totp or sms"

[[rule]]
id = "two"
on = "withdrawal"
when = "usd_value > 100"
require = "sms or webauthn"
"#,
        r#"
[[case]]
name = "one"
request = { action = "withdrawal" }
facts = { usd_value = "1" }
expect = { verdict = "require", rules = ["one"], factors = "sms or totp" }

[[case]]
name = "two"
request = { action = "withdrawal" }
facts = { usd_value = "101" }
expect = { verdict = "require", rules = ["one", "two"], factors = "sms or (totp and webauthn)" }

[[case]]
name = "a batch asks for each rule once"
request = { action = "withdrawal", fields = [{}, {}] }
facts = { usd_value = "101" }
expect = { verdict = "require", rules = ["one", "two"], factors = "sms or (totp and webauthn)" }
"#,
    );
}

#[test]
fn without_valid_no_elevation_helps() {
    check(
        "[[rule]]\nid = \"once\"\non = \"withdrawal\"\nrequire = \"totp\"",
        r#"
[[case]]
name = "asked again"
request = { action = "withdrawal" }
elevations = [{ rule = "once", factors = "totp" }]
expect = { verdict = "require", rules = ["once"] }
"#,
    );
}

#[test]
fn what_is_no_factor_is_refused() {
    let require =
        |factors: &str| format!("[[rule]]\nid = \"r\"\non = \"*\"\nrequire = \"{factors}\"");
    refuse(&require("topt"), &["unknown factor `topt`"]);
    refuse(&require("totp and"), &["expected a factor, but the requirement ends"]);
    refuse(&require("not sms"), &["a factor that is not given cannot be required"]);
    refuse(&require("totp + sms"), &["factors are joined with `and` and `or`"]);
    refuse(&require("totp > 1"), &["factors are joined with `and` and `or`"]);
    refuse(&require(""), &["this requirement is empty"]);
}

#[test]
fn a_rule_says_one_thing() {
    refuse(
        "[[rule]]\nid = \"r\"\non = \"*\"\nrequire = \"totp\"\ndeny = true",
        &["a rule says one thing; this says require and deny"],
    );
    refuse("[[rule]]\nid = \"r\"\non = \"*\"", &["this rule says nothing"]);
}
