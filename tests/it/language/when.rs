//! `when`: missing, true, false, and impossible to tell.

use super::check;

#[test]
fn without_when_a_rule_always_speaks() {
    check(
        "[[rule]]\nid = \"r\"\non = \"withdrawal\"\ndeny = true",
        "[[case]]\nname = \"c\"\nrequest = { action = \"withdrawal\" }\n\
         expect = { verdict = \"deny\", rules = [\"r\"] }",
    );
}

#[test]
fn what_cannot_be_read_makes_a_restriction_speak_and_what_is_absent_does_not() {
    check(
        "[[rule]]\nid = \"r\"\non = \"withdrawal\"\nwhen = \"usd_value > 100\"\ndeny = true",
        r#"
[[case]]
name = "above"
request = { action = "withdrawal" }
facts = { usd_value = "100.01" }
expect = { verdict = "deny" }

[[case]]
name = "not above"
request = { action = "withdrawal" }
facts = { usd_value = "100" }
expect = { verdict = "allow" }

[[case]]
name = "unreadable"
request = { action = "withdrawal" }
facts = { usd_value = "unreadable" }
expect = { verdict = "deny" }

[[case]]
name = "absent"
request = { action = "withdrawal" }
expect = { verdict = "allow" }
"#,
    );
}

#[test]
fn an_amount_that_parsers_disagree_on_counts_against_the_request() {
    for odd in ["1e3", "010", "-5", "+5", " 5", "0x10", "1,000", "１", "NaN", ""] {
        check(
            "[[rule]]\nid = \"r\"\non = \"withdrawal\"\nwhen = \"amount > 100\"\ndeny = true",
            &format!(
                "[[case]]\nname = \"odd\"\n\
                 request = {{ action = \"withdrawal\", fields = {{ amount = \"{odd}\" }} }}\n\
                 expect = {{ verdict = \"deny\" }}"
            ),
        );
    }
}
