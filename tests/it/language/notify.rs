//! `notify = true`: the owner is told.

use super::{policy, refuse};
use stepgate::types::RuleId;

#[test]
fn only_rules_that_say_so_notify() {
    let policy = policy(
        "[[rule]]\nid = \"loud\"\non = \"*\"\nhold = \"1h\"\nnotify = true\n\
         [[rule]]\nid = \"quiet\"\non = \"*\"\nhold = \"1h\"",
    );
    assert!(policy.notifies(&RuleId::new("loud")));
    assert!(!policy.notifies(&RuleId::new("quiet")));
    assert!(!policy.notifies(&RuleId::new("nobody")));
}

#[test]
fn notify_is_true_or_false() {
    refuse(
        "[[rule]]\nid = \"r\"\non = \"*\"\ndeny = true\nnotify = \"yes\"",
        &["this is a string; it should be true or false"],
    );
}
