//! `freeze = true`.

use super::check;

#[test]
fn freeze_is_the_strictest() {
    check(
        r#"
[[rule]]
id = "never"
on = "*"
deny = true

[[rule]]
id = "thief"
on = "withdrawal"
when = "address matches 'bc1qthief*'"
freeze = true
"#,
        r#"
[[case]]
name = "frozen"
request = { action = "withdrawal", fields = { address = "bc1qthief77" } }
expect = { verdict = "freeze", rules = ["never", "thief"] }

[[case]]
name = "an address that cannot be read may be the thief's"
request = { action = "withdrawal", fields = { address = "unreadable" } }
expect = { verdict = "freeze" }

[[case]]
name = "denied"
request = { action = "withdrawal", fields = { address = "bc1qhonest" } }
expect = { verdict = "deny", rules = ["never"] }
"#,
    );
}
