//! `[sets]`: lists that conditions name with `@`.

use super::{check, refuse};

#[test]
fn a_set_takes_its_type_from_each_use() {
    check(
        r#"
[sets]
office = ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"]
near = ["JP", "TW"]
clouds = [64501, 64502]

[[rule]]
id = "net"
on = "login"
when = "client.ip in @office"
deny = true

[[rule]]
id = "country"
on = "order"
when = "not geo.country in @near"
deny = true

[[rule]]
id = "asn"
on = "transfer"
when = "geo.asn in @clouds"
deny = true
"#,
        r#"
[[case]]
name = "inside"
request = { action = "login" }
facts = { "client.ip" = "203.0.113.255" }
expect = { verdict = "deny" }

[[case]]
name = "one address"
request = { action = "login" }
facts = { "client.ip" = "198.51.100.7" }
expect = { verdict = "deny" }

[[case]]
name = "outside"
request = { action = "login" }
facts = { "client.ip" = "203.0.114.0" }
expect = { verdict = "allow" }

[[case]]
name = "far"
request = { action = "order" }
facts = { "geo.country" = "DE" }
expect = { verdict = "deny" }

[[case]]
name = "near"
request = { action = "order" }
facts = { "geo.country" = "TW" }
expect = { verdict = "allow" }

[[case]]
name = "cloud"
request = { action = "transfer" }
facts = { "geo.asn" = "64502" }
expect = { verdict = "deny" }
"#,
    );
}

#[test]
fn a_set_of_the_wrong_type_and_an_unknown_set_are_refused() {
    refuse(
        r#"
[sets]
office = ["203.0.113.0/24"]

[[rule]]
id = "a"
on = "*"
when = "geo.country in @office or client.ip in @offices"
deny = true
"#,
        &[
            "`@office` does not hold what `geo.country` is, a country: `203.0.113.0/24` is not a country",
            "unknown set `@offices`",
        ],
    );
}

#[test]
fn a_set_is_a_list_of_texts() {
    refuse("[sets]\na = \"x\"", &["this is a string; it should be a list"]);
    refuse("[sets]\na = [true]", &["this is a boolean; it should be a text in quotes"]);
    refuse("[sets]\n\"A b\" = []", &["`A b` cannot be written as a set"]);
}
