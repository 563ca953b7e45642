//! `[[case.then]]`: the same account later.

use super::{check, rendered, run};

#[test]
fn an_approval_is_good_for_as_long_as_the_policy_says_and_where_it_was_given() {
    check(
        r#"
[[rule]]
id = "abroad"
on = "*"
when = "geo.country is not JP"
require = "totp or sms"
valid = "12h"
"#,
        r#"
[[case]]
name = "asked in Germany"
place = "DE"
request = { action = "ordinary" }
expect = { verdict = "require", rules = ["abroad"], valid = "12h" }
answer = "totp"

[[case.then]]
after = "11h"
expect = { verdict = "allow", satisfied = ["abroad"] }

[[case.then]]
place = "FR"
expect = { verdict = "require", rules = ["abroad"] }

[[case.then]]
after = "1h"
place = "DE"
expect = { verdict = "require", rules = ["abroad"] }
"#,
    );
}

#[test]
fn an_approval_without_valid_is_for_one_request() {
    check(
        "[[rule]]\nid = \"r\"\non = \"order\"\nrequire = \"totp\"",
        r#"
[[case]]
name = "twice"
request = { action = "order" }
expect = { verdict = "require", valid = "once" }
answer = "totp"

[[case.then]]
expect = { verdict = "require", rules = ["r"], satisfied = [] }
"#,
    );
}

#[test]
fn a_hold_that_begins_runs_on_for_its_destination() {
    check(
        "[[rule]]\nid = \"wait\"\non = \"withdrawal\"\nhold = \"24h\"",
        r#"
[[case]]
name = "waits"
request = { action = "withdrawal", fields = { address = "a" } }
expect = { verdict = "hold", until = "24h" }

[[case.then]]
after = "19h"
expect = { verdict = "hold", until = "5h" }

[[case.then]]
request = { action = "withdrawal", fields = { address = "b" } }
expect = { verdict = "hold", until = "24h" }

[[case.then]]
after = "5h"
request = { action = "withdrawal", fields = { address = "a" } }
expect = { verdict = "allow", satisfied = ["wait"] }
"#,
    );
}

#[test]
fn ages_the_hour_and_the_day_move_with_the_clock() {
    check(
        r#"
[[rule]]
id = "young"
on = "withdrawal"
when = "address.age < 24h or account.security_change_age < 24h or session.age < 24h"
deny = true

[[rule]]
id = "night"
on = "withdrawal"
when = "time.of_day < 06:00 and time.weekday is tue"
freeze = true
"#,
        r#"
[[case]]
name = "grows old"
account = { security_change = "5h", addresses = [{ address = "a", added = "6h" }] }
facts = { "session.age" = "7h" }
request = { action = "withdrawal", fields = { address = "a" } }
expect = { verdict = "deny" }

[[case.then]]
after = "13h"
expect = { verdict = "freeze", rules = ["young", "night"] }

[[case.then]]
after = "6h"
expect = { verdict = "allow" }
"#,
    );
}

#[test]
fn what_went_through_is_counted_known_and_leaves_its_window_again() {
    check(
        r#"
[[rule]]
id = "often"
on = "withdrawal"
when = "counters.withdrawal.count_24h >= 2 or counters.withdrawal.usd_24h > 1_000"
deny = true

[[rule]]
id = "abroad"
on = "*"
when = "geo.new_country"
require = "sms"

[[rule]]
id = "young"
on = "withdrawal"
when = "address.age < 1h"
hold = "2h"
"#,
        r#"
[[case]]
name = "counted"
account.done = [{ action = "withdrawal", usd = "300", ago = "20h" }]
request = { action = "withdrawal", fields = { address = "a", amount = "1" } }
facts = { usd_value = "600" }
expect = { verdict = "allow" }

[[case.then]]
after = "1h"
expect = { verdict = "deny", rules = ["often"] }

[[case.then]]
after = "3h"
expect = { verdict = "allow" }

[[case.then]]
expect = { verdict = "deny" }

[[case]]
name = "a place where something went through is known"
place = "DE"
request = { action = "ordinary" }
expect = { verdict = "require" }

[[case.then]]
after = "1h"
expect = { verdict = "require" }
answer = "sms"

[[case.then]]
expect = { verdict = "allow", satisfied = [] }

[[case]]
name = "an address that is added is young from then on, one that is removed is gone"
account.addresses = [{ address = "old", added = "90d" }]
request = { action = "withdrawal", fields = { address = "old" } }
expect = { verdict = "allow" }

[[case.then]]
request = { action = "address_book.add", fields = { address = "new" } }
expect = { verdict = "allow" }

[[case.then]]
after = "59m"
request = { action = "withdrawal", fields = { address = "new" } }
expect = { verdict = "hold", until = "1m" }

[[case.then]]
after = "1d"
request = { action = "withdrawal", fields = { address = "new" } }
expect = { verdict = "allow" }

[[case.then]]
request = { action = "address_book.remove", fields = { address = "old" } }
expect = { verdict = "allow" }

[[case.then]]
after = "1d"
request = { action = "withdrawal", fields = { address = "old" } }
expect = { verdict = "hold", until = "1h" }
"#,
    );
}

#[test]
fn who_travels_between_two_steps_was_as_fast_as_the_clock_says() {
    check(
        "[[rule]]\nid = \"fast\"\non = \"*\"\nwhen = \"geo.speed_kmh > 900\"\ndeny = true",
        r#"
[[case]]
name = "twenty minutes"
request = { action = "ordinary" }
expect = { verdict = "allow" }

[[case.then]]
after = "20m"
place = { country = "RU", distance_km = 7000 }
expect = { verdict = "deny" }

[[case.then]]
after = "10h"
place = { country = "RU", distance_km = 7000 }
expect = { verdict = "allow" }

[[case.then]]
expect = { verdict = "allow" }
"#,
    );
}

#[test]
fn a_place_that_cannot_be_told_leaves_nothing_behind_at_the_next() {
    check(
        "[[rule]]\nid = \"odd\"\non = \"*\"\ndeny = true\n\
         when = \"geo.city is not Tokyo or geo.asn > 64500 or geo.network is unknown or geo.speed_kmh > 1\"",
        r#"
[[case]]
name = "there and back"
account.countries = ["JP", "DE"]
place = { country = "unknown", ip = "10.1.2.3" }
request = { action = "ordinary" }
expect = { verdict = "deny" }

[[case.then]]
place = { country = "JP" }
expect = { verdict = "allow" }

[[case.then]]
place = { country = "DE", city = "Tokyo" }
expect = { verdict = "allow" }

[[case.then]]
place = "DE"
expect = { verdict = "deny" }
"#,
    );
}

#[test]
fn a_step_that_does_not_come_out_says_when_it_was() {
    let (run, faults) = run(
        "[[rule]]\nid = \"r\"\non = \"order\"\nhold = \"2h\"",
        r#"
[[case]]
name = "c"
request = { action = "order" }
expect = { verdict = "hold" }

[[case.then]]
after = "90m"
expect = { verdict = "hold" }

[[case.then]]
after = "30m"
expect = { verdict = "hold" }
"#,
    );
    assert_eq!((run.ran, run.failed), (1, 1));
    let told = "case \"c\", 2h later: expected verdict hold, the policy says allow";
    assert_eq!(faults[0].message, told, "{}", rendered(&faults));
}
