//! `hold = "24h"`.

use super::{check, refuse};

const YOUNG: &str = r#"
[[rule]]
id = "young"
on = "withdrawal"
when = "address.age < 24h"
hold = "24h"
"#;

#[test]
fn a_hold_ends_after_its_time_and_asks_nothing_more() {
    check(
        "[[rule]]\nid = \"wait\"\non = \"withdrawal\"\nhold = \"2h\"",
        r#"
[[case]]
name = "begins now"
request = { action = "withdrawal" }
expect = { verdict = "hold", rules = ["wait"], until = "2h" }

[[case]]
name = "runs"
request = { action = "withdrawal" }
holds = [{ rule = "wait", since = "90m" }]
expect = { verdict = "hold", until = "30m" }

[[case]]
name = "a second before the end"
request = { action = "withdrawal" }
holds = [{ rule = "wait", since = "7199s" }]
expect = { verdict = "hold", until = "1s" }

[[case]]
name = "served"
request = { action = "withdrawal" }
holds = [{ rule = "wait", since = "2h" }]
expect = { verdict = "allow", rules = [], satisfied = ["wait"] }
"#,
    );
}

#[test]
fn a_hold_on_age_ends_when_the_age_is_reached() {
    check(
        YOUNG,
        r#"
[[case]]
name = "five hours old"
request = { action = "withdrawal" }
facts = { "address.age" = "5h" }
expect = { verdict = "hold", until = "19h" }

[[case]]
name = "old enough"
request = { action = "withdrawal" }
facts = { "address.age" = "24h" }
expect = { verdict = "allow", rules = [] }

[[case]]
name = "an unreadable age says nothing about the end"
request = { action = "withdrawal" }
facts = { "address.age" = "unreadable" }
expect = { verdict = "hold", until = "24h" }

[[case]]
name = "an action without an address has no young one"
request = { action = "withdrawal" }
expect = { verdict = "allow" }
"#,
    );
}

#[test]
fn of_conditions_joined_by_and_the_first_to_clear_counts_by_or_the_last() {
    let hold = |when: &str| {
        format!("[[rule]]\nid = \"r\"\non = \"withdrawal\"\nwhen = '{when}'\nhold = \"24h\"")
    };
    let until = |until: &str| {
        format!(
            "[[case]]\nname = \"c\"\nrequest = {{ action = \"withdrawal\" }}\n\
             facts = {{ \"address.age\" = \"5h\", \"session.age\" = \"1h\", usd_value = \"9\" }}\n\
             expect = {{ verdict = \"hold\", until = \"{until}\" }}"
        )
    };
    check(&hold("address.age < 10h and session.age < 2h"), &until("1h"));
    check(&hold("address.age < 10h or session.age < 2h"), &until("5h"));
    check(&hold("address.age < 10h and usd_value > 1"), &until("5h"));
    check(&hold("address.age < 10h or usd_value > 1"), &until("24h"));
    check(&hold("not address.age > 10h"), &until("24h"));
}

#[test]
fn the_longest_hold_counts() {
    check(
        &format!("{YOUNG}[[rule]]\nid = \"long\"\non = \"withdrawal\"\nhold = \"3d\""),
        r#"
[[case]]
name = "three days"
request = { action = "withdrawal" }
facts = { "address.age" = "0s" }
expect = { verdict = "hold", rules = ["young", "long"], until = "3d" }
"#,
    );
}

#[test]
fn a_hold_of_no_time_or_without_unit_is_refused() {
    let hold = |value: &str| format!("[[rule]]\nid = \"r\"\non = \"*\"\nhold = {value}");
    refuse(&hold("\"0h\""), &["`hold` of no time does nothing"]);
    refuse(&hold("\"24\""), &["`hold` is a duration, and `24` has no unit"]);
    refuse(&hold("24"), &["this is an integer; it should be a text in quotes"]);
}
