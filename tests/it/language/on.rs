//! `on`: which actions a rule is about.

use super::{check, policy, refuse};
use stepgate::fault::Source;
use stepgate::types::ActionName;

#[test]
fn a_rule_is_about_what_it_names() {
    let rules = r#"
[[rule]]
id = "every"
on = "*"
require = "totp"

[[rule]]
id = "two"
on = ["login", "order"]
require = "totp"

[[rule]]
id = "book"
on = "address_book.*"
require = "totp"

[[rule]]
id = "both"
on = ["*", "login"]
require = "totp"
"#;
    let case = |action: &str, spoke: &str| {
        format!(
            "[[case]]\nname = \"{action}\"\nrequest = {{ action = \"{action}\" }}\n\
             expect = {{ verdict = \"require\", rules = [{spoke}] }}\n"
        )
    };
    let cases = [
        case("ordinary", "\"every\", \"both\""),
        case("login", "\"every\", \"both\", \"two\""),
        case("order", "\"every\", \"both\", \"two\""),
        case("mass_cancel", "\"every\", \"both\""),
        case("address_book.remove", "\"every\", \"both\", \"book\""),
    ];
    check(rules, &cases.concat());

    let policy = policy(rules);
    for (action, named) in
        [("login", true), ("address_book.add", true), ("transfer", false), ("ordinary", false)]
    {
        assert_eq!(policy.names(&ActionName::new(action)), named, "{action}");
    }
}

#[test]
fn actions_of_the_packs_may_be_named() {
    let text = "version = 1\n[[rule]]\nid = \"r\"\non = [\"loan.repay\", \"loan.*\"]\ndeny = true";
    let source = Source::new("p", text);
    let mut faults = Vec::new();
    let loaded = stepgate::policy::load(
        &source,
        &[ActionName::new("loan.repay"), ActionName::new("loan.take")],
        &[],
        &mut faults,
    );
    assert!(loaded.is_some_and(|policy| policy.names(&ActionName::new("loan.take"))));
    assert!(stepgate::policy::load(&source, &[], &[], &mut faults).is_none());
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn what_names_no_action_is_refused() {
    let on = |on: &str| format!("[[rule]]\nid = \"r\"\non = {on}\ndeny = true");
    refuse(&on("\"withdrawl\""), &["unknown action `withdrawl`"]);
    refuse(&on("[]"), &["a rule about no action never speaks"]);
    refuse(&on("\"with*\""), &["`with*` is not a way to name actions"]);
    refuse(&on("\"*.add\""), &["unknown action `*.add`"]);
    refuse(&on("\"adress_book.*\""), &["no action begins with `adress_book.`"]);
    refuse(&on("7"), &["this is an integer; it should be a text in quotes, or a list of such"]);
    refuse("[[rule]]\nid = \"r\"\ndeny = true", &["this rule has no `on`"]);
}
