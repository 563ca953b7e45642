//! `valid`: an approval that holds for longer than one intent.

use super::{check, refuse};

#[test]
fn an_elevation_holds_for_its_rule_its_place_its_time_and_its_factors() {
    check(
        r#"
[[rule]]
id = "both"
on = "*"
when = "geo.new_country"
require = "totp and sms"
valid = "session"

[[rule]]
id = "other"
on = "transfer"
require = "totp"
valid = "12h"
"#,
        r#"
[[case]]
name = "asked"
request = { action = "ordinary" }
facts = { "geo.country" = "DE" }
expect = { verdict = "require", rules = ["both"] }

[[case]]
name = "given"
request = { action = "ordinary" }
facts = { "geo.country" = "DE" }
elevations = [{ rule = "both", factors = ["sms", "totp"], place = "DE" }]
expect = { verdict = "allow", satisfied = ["both"] }

[[case]]
name = "only one factor given"
request = { action = "ordinary" }
facts = { "geo.country" = "DE" }
elevations = [{ rule = "both", factors = "sms", place = "DE" }]
expect = { verdict = "require", rules = ["both"] }

[[case]]
name = "one factor twice is not two"
request = { action = "ordinary" }
facts = { "geo.country" = "DE" }
elevations = [{ rule = "both", factors = "sms" }, { rule = "both", factors = "sms" }]
expect = { verdict = "require", rules = ["both"] }

[[case]]
name = "given elsewhere"
request = { action = "ordinary" }
facts = { "geo.country" = "DE" }
elevations = [{ rule = "both", factors = ["sms", "totp"], place = "RU" }]
expect = { verdict = "require", rules = ["both"] }

[[case]]
name = "given for another rule"
request = { action = "transfer" }
elevations = [{ rule = "both", factors = ["sms", "totp"] }]
expect = { verdict = "require", rules = ["other"] }

[[case]]
name = "where the country is unknown, the address is the place"
request = { action = "ordinary" }
facts = { "geo.country" = "unreadable", "client.ip" = "10.0.0.1" }
elevations = [{ rule = "both", factors = ["sms", "totp"], place = "10.0.0.1" }]
expect = { verdict = "allow" }

[[case]]
name = "and another address another place"
request = { action = "ordinary" }
facts = { "geo.country" = "unreadable", "client.ip" = "10.0.0.2" }
elevations = [{ rule = "both", factors = ["sms", "totp"], place = "10.0.0.1" }]
expect = { verdict = "require" }
"#,
    );
}

#[test]
fn valid_is_the_session_or_a_time_and_goes_with_require() {
    let rule = |rest: &str| format!("[[rule]]\nid = \"r\"\non = \"*\"\n{rest}");
    refuse(
        &rule("require = \"totp\"\nvalid = \"sesion\""),
        &["`valid` is a duration, and `sesion` is not one"],
    );
    refuse(&rule("require = \"totp\"\nvalid = \"0m\""), &["`valid` of no time does nothing"]);
    refuse(
        &rule("deny = true\nvalid = \"session\""),
        &["`valid` goes with `require`: only an approval can be valid for longer"],
    );
}
