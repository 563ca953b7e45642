//! `deny = true`.

use super::{check, refuse};

#[test]
fn deny_is_stricter_than_hold_and_require() {
    check(
        r#"
[[rule]]
id = "code"
on = "withdrawal"
require = "totp"

[[rule]]
id = "wait"
on = "withdrawal"
hold = "1h"

[[rule]]
id = "never"
on = "withdrawal"
when = "asset is XMR"
deny = true
"#,
        r#"
[[case]]
name = "denied"
request = { action = "withdrawal", fields = { asset = "xmr" } }
expect = { verdict = "deny", rules = ["code", "wait", "never"] }

[[case]]
name = "held"
request = { action = "withdrawal", fields = { asset = "BTC" } }
expect = { verdict = "hold", rules = ["code", "wait"] }
"#,
    );
}

#[test]
fn the_strictest_element_of_a_batch_decides() {
    check(
        "[[rule]]\nid = \"never\"\non = \"withdrawal\"\nwhen = \"asset is XMR\"\ndeny = true",
        r#"
[[case]]
name = "one of three"
request = { action = "withdrawal", fields = [{ asset = "BTC" }, { asset = "XMR" }, {}] }
expect = { verdict = "deny" }
"#,
    );
}

#[test]
fn deny_false_is_refused() {
    refuse("[[rule]]\nid = \"r\"\non = \"*\"\ndeny = false", &["`deny = false` says nothing"]);
}
