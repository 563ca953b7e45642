//! `unless`: the exception, which must be known to hold.

use super::check;

const RULES: &str = r#"
[[rule]]
id = "r"
on = "withdrawal"
when = "usd_value > 10"
unless = "address.verified and usd_value < 200"
deny = true
"#;

#[test]
fn an_exception_counts_only_if_it_is_known() {
    check(
        RULES,
        r#"
[[case]]
name = "exception"
request = { action = "withdrawal" }
facts = { usd_value = "100", "address.verified" = "true" }
expect = { verdict = "allow", rules = [] }

[[case]]
name = "too much for the exception"
request = { action = "withdrawal" }
facts = { usd_value = "200", "address.verified" = "true" }
expect = { verdict = "deny" }

[[case]]
name = "an unreadable address is no exception"
request = { action = "withdrawal" }
facts = { usd_value = "100", "address.verified" = "unreadable" }
expect = { verdict = "deny" }

[[case]]
name = "an absent address is not a verified one"
request = { action = "withdrawal" }
facts = { usd_value = "100" }
expect = { verdict = "deny" }

[[case]]
name = "an unreadable price counts against, twice"
request = { action = "withdrawal" }
facts = { usd_value = "unreadable", "address.verified" = "true" }
expect = { verdict = "deny" }
"#,
    );
}

#[test]
fn denying_an_unknown_leaves_it_unknown() {
    check(
        "[[rule]]\nid = \"r\"\non = \"withdrawal\"\nunless = \"not geo.new_country\"\ndeny = true",
        r#"
[[case]]
name = "home"
request = { action = "withdrawal" }
expect = { verdict = "allow" }

[[case]]
name = "nowhere"
request = { action = "withdrawal" }
facts = { "geo.country" = "unreadable" }
expect = { verdict = "deny" }
"#,
    );
}
