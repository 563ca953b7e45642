//! `allow = true`: a rule that says so in the record and loosens nothing.

use super::check;

#[test]
fn allow_never_lowers_what_another_rule_asks() {
    check(
        r#"
[[rule]]
id = "friend"
on = "withdrawal"
when = "usd_value < 100"
allow = true

[[rule]]
id = "code"
on = "withdrawal"
require = "totp"
"#,
        r#"
[[case]]
name = "both speak, the stricter wins"
request = { action = "withdrawal" }
facts = { usd_value = "5" }
expect = { verdict = "require", rules = ["friend", "code"] }
"#,
    );
}

#[test]
fn what_cannot_be_read_allows_nothing() {
    check(
        r#"
[[rule]]
id = "friend"
on = "withdrawal"
when = "usd_value < 100"
unless = "geo.new_country"
allow = true
"#,
        r#"
[[case]]
name = "readable"
request = { action = "withdrawal" }
facts = { usd_value = "5" }
expect = { verdict = "allow", rules = ["friend"] }

[[case]]
name = "no price"
request = { action = "withdrawal" }
facts = { usd_value = "unreadable" }
expect = { verdict = "allow", rules = [] }

[[case]]
name = "no place: the exception counts"
request = { action = "withdrawal" }
facts = { usd_value = "5", "geo.country" = "unreadable" }
expect = { verdict = "allow", rules = [] }
"#,
    );
}
