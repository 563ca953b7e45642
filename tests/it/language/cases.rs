//! Case files themselves: what they may say, and what is told when they do not come out.

use stepgate::fault::Source;
use stepgate::policy::cases::{self, Untried};
use stepgate::types::{ActionName, FieldValue, Fields};

use super::{check, policy, rendered, run};

const RULES: &str = "[[rule]]\nid = \"code\"\non = \"withdrawal\"\nwhen = \"amount > 1\"\n\
                     require = \"totp or sms\"";

#[test]
fn a_case_that_does_not_come_out_is_a_fault_at_its_expectation() {
    let (run, faults) = run(
        RULES,
        r#"
[[case]]
name = "one"
request = { action = "withdrawal", fields = { amount = "2" } }
expect = { verdict = "require", factors = "totp", rules = [] }
"#,
    );
    assert_eq!((run.ran, run.failed), (1, 1));
    let [fault] = &*faults else { panic!("{faults:?}") };
    assert_eq!(
        fault.message,
        "case \"one\": expected rules none, the policy says code; \
         expected factors totp, the policy says totp or sms"
    );
    assert_eq!(fault.help.as_deref(), Some("what was said: code (require)"));
    assert_eq!(fault.position().0, 6);
}

#[test]
fn mistakes_in_cases_are_told_together_and_such_cases_do_not_run() {
    let (run, faults) = run(
        RULES,
        r#"
[[case]]
nmae = "one"
request = { action = "withdrawl" }
facts = { usd_value = "12k", "geo.contry" = "DE" }
holds = [{ rule = "cod", since = "1h" }]
now = "yesterday"

[[case]]
name = "two"
request = { action = "withdrawal" }
facts = { usd_value = "12k", "geo.contry" = "DE", "client.ip" = "absent" }
expect = { verdict = "reqire", rules = ["kode"], factors = "topt" }
"#,
    );
    assert_eq!((run.ran, run.failed), (0, 0));
    let mut told: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
    told.sort_unstable();
    let mut expected = [
        "unknown key `nmae`",
        "this case has no `name`",
        "this case has no `expect`",
        "unknown action `withdrawl`",
        "the policy has no rule `cod`",
        "`now` is a time with its zone, as in RFC 3339",
        "`usd_value` is a number, and `12k` is not: `k` is not a digit",
        "unknown fact `geo.contry`",
        "`client.ip` cannot be `absent` in a case",
        "unknown verdict `reqire`",
        "the policy has no rule `kode`",
        "unknown factor `topt`",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_raw_request_is_classified_by_the_packs() {
    let text = "version = 1\n[[case]]\nname = \"raw\"\n\
                request = { raw = \"POST /withdraw HTTP/1.1\\n\\namount=2\" }\n\
                expect = { verdict = \"require\" }\n\
                [[case]]\nname = \"odd\"\nrequest = { raw = \"GET / HTTP/1.1\" }\n\
                expect = { verdict = \"allow\" }";
    let classify = |raw: &str| {
        let amount = raw.rsplit_once("amount=").ok_or("no amount")?.1;
        let mut fields = Fields::default();
        fields.set("amount", FieldValue::Text(amount.into()));
        Ok((ActionName::new("withdrawal"), vec![fields]))
    };
    let mut faults = Vec::new();
    let run = cases::run(&Source::new("c", text), &policy(RULES), &classify, &mut faults);
    assert_eq!((run.ran, run.failed, faults.len()), (1, 0, 1), "{faults:?}");
    assert_eq!(faults[0].message, "this request is no action: no amount");
}

#[test]
fn rules_that_no_case_expects_are_named() {
    let (run, _) = run(
        RULES,
        "[[case]]\nname = \"quiet\"\nrequest = { action = \"login\" }\n\
         expect = { verdict = \"allow\" }",
    );
    assert_eq!(run.untested.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["code"]);
}

#[test]
fn time_and_history_can_be_set() {
    super::check(
        r#"
[[rule]]
id = "night"
on = "*"
when = "time.of_day < 06:00 and time.weekday is sun"
deny = true

[[rule]]
id = "new"
on = "*"
when = "geo.new_country"
hold = "1h"
"#,
        r#"
[[case]]
name = "text"
now = "2026-03-01T00:30:00-05:00"
request = { action = "login" }
expect = { verdict = "deny" }

[[case]]
name = "date"
now = 2026-03-01T06:00:00Z
request = { action = "login" }
expect = { verdict = "allow" }

[[case]]
name = "at home elsewhere"
history = { countries = ["JP", "DE"], asns = ["64500"] }
request = { action = "login" }
facts.geo.country = "DE"
expect = { verdict = "allow" }

[[case]]
name = "not at home"
history = { countries = ["DE"] }
request = { action = "login" }
expect = { verdict = "hold" }
"#,
    );
}

#[test]
fn place_credential_and_account_are_said_in_plain_words() {
    check(
        r#"
[[rule]]
id = "abroad"
on = "*"
when = "geo.new_country or geo.city is not Tokyo or geo.asn is 64501"
require = "totp"

[[rule]]
id = "far"
on = "*"
when = "geo.distance_km >= 7000 and geo.speed_kmh > 900"
deny = true

[[rule]]
id = "robot"
on = "*"
when = "credential.kind is api_key and not session.age > 0s"
freeze = true

[[rule]]
id = "busy"
on = "withdrawal"
when = "counters.withdrawal.count_24h >= 3 and counters.withdrawal.usd_1h < 1 and counters.order.count_7d is 0"
deny = true

[[rule]]
id = "stranger"
on = "withdrawal"
when = "not address.known"
hold = "1d"

[[rule]]
id = "young"
on = "withdrawal"
when = "address.age < 6h and address.idle is 1h and not address.verified"
hold = "2h"

[[rule]]
id = "changed"
on = "login"
when = "account.security_change_age < 2h and account.has_totp and not account.has_sms"
deny = true
"#,
        r#"
[[case]]
name = "a country by itself"
place = "DE"
request = { action = "order" }
expect = { verdict = "require", rules = ["abroad"] }

[[case]]
name = "nowhere"
place = "unknown"
request = { action = "order" }
expect = { verdict = "deny", rules = ["abroad", "far"] }

[[case]]
name = "a place in full"
place = { country = "JP", city = "Tokyo", asn = 64501, network = "mobile", distance_km = 7000, speed_kmh = 901, ip = "192.0.2.77" }
request = { action = "order" }
expect = { verdict = "deny", rules = ["abroad", "far"] }

[[case]]
name = "an API key"
credential = "api_key"
request = { action = "order" }
expect = { verdict = "freeze", rules = ["robot"] }

[[case]]
name = "what the account did a few hours ago"
account.done = [
    { action = "withdrawal", times = 2, usd = "800", ago = "2h" },
    { action = "withdrawal", usd = 900, ago = "23h" },
    { action = "order", times = 50, ago = "8d" },
]
request = { action = "withdrawal", fields = { address = "bc1" } }
expect = { verdict = "deny", rules = ["busy"] }

[[case]]
name = "not in the address book"
account.addresses = [{ address = "bc1old", added = "90d" }]
request = { action = "withdrawal", fields = { address = "bc1new" } }
expect = { verdict = "hold", rules = ["stranger"] }

[[case]]
name = "in the address book"
account.addresses = [{ address = "bc1", added = "5h", used = "1h", verified = false }]
request = { action = "withdrawal", fields = { address = "bc1" } }
expect = { verdict = "hold", rules = ["young"], until = "1h" }

[[case]]
name = "other factors"
account = { factors = "totp", security_change = "1h" }
request = { action = "login" }
expect = { verdict = "deny", rules = ["changed"] }

[[case]]
name = "at home in Germany"
account.countries = ["DE"]
place = { country = "DE", city = "Tokyo" }
request = { action = "login" }
expect = { verdict = "allow" }
"#,
    );
}

#[test]
fn a_table_has_a_case_in_each_row() {
    let (run, faults) = run(
        RULES,
        r#"
[[table]]
name = "amounts"
request = { action = "withdrawal" }
columns = ["amount", "verdict", "rules", "factors"]
rows = [
    ["1", "allow", "none", "-"],
    [2, "require", "code", "totp or sms"],
    ["unreadable", "require", "code", "-"],
]

[[table]]
name = "actions"
columns = ["name", "action", "verdict"]
rows = [["signing in", "login", "allow"]]
"#,
    );
    assert!(faults.is_empty(), "{}", rendered(&faults));
    assert_eq!((run.ran, run.failed), (4, 0));
}

#[test]
fn what_a_table_says_wrongly_of_all_rows_is_told_once() {
    let (run, faults) = run(
        RULES,
        "[[table]]\nname = \"t\"\nrequest = { action = \"withdrawal\" }\nfacts = { usd_value = \"x\" }\n\
         columns = [\"amount\", \"verdict\"]\nrows = [[\"1\", \"allow\"], [\"2\", \"require\"]]",
    );
    assert_eq!((run.ran, faults.len()), (0, 1), "{}", rendered(&faults));
}

#[test]
fn whom_the_owner_hears_of_and_how_long_an_approval_is_good_can_be_expected() {
    let rules = r#"
[[rule]]
id = "loud"
on = "withdrawal"
require = "totp"
valid = "12h"
notify = true

[[rule]]
id = "quiet"
on = ["withdrawal", "order"]
require = "totp"
valid = "session"

[[rule]]
id = "trial"
on = "login"
deny = true
shadow = true
notify = true
"#;
    check(
        rules,
        r#"
[[table]]
name = "told"
columns = ["action", "verdict", "notify", "valid"]
rows = [
    ["withdrawal", "require", "true", "12h"],
    ["withdrawal", "require", "loud", "-"],
    ["order", "require", "false", "session"],
    ["order", "require", "none", "-"],
    ["login", "allow", "false", "-"],
]

[[case]]
name = "in a list"
request = { action = "withdrawal" }
expect = { verdict = "require", notify = ["loud"] }
"#,
    );
    let (_, faults) = run(
        &rules.replace("notify = true\n", ""),
        "[[case]]\nname = \"c\"\nrequest = { action = \"withdrawal\" }\n\
         expect = { verdict = \"require\", notify = true }",
    );
    assert_eq!(faults[0].message, "case \"c\": expected notify true, the policy says false");
}

#[test]
fn what_no_case_tries_is_named() {
    let rules = r#"
[[rule]]
id = "mute"
on = "login"
require = "totp"

[[rule]]
id = "never-silent"
on = "order"
when = "geo.new_country"
unless = "client.ip is 203.0.113.9"
deny = true

[[rule]]
id = "never-asks"
on = "transfer"
require = "totp"
valid = "1h"

[[rule]]
id = "tried"
on = "withdrawal"
when = "geo.new_country"
unless = "client.ip is 203.0.113.9"
deny = true
"#;
    let (run, faults) = run(
        rules,
        r#"
[[case]]
name = "one"
place = "DE"
request = { action = "order" }
expect = { verdict = "deny" }

[[case]]
name = "two"
request = { action = "transfer" }
elevations = [{ rule = "never-asks", factors = "totp" }]
expect = { verdict = "allow" }

[[table]]
name = "three"
request = { action = "withdrawal" }
columns = ["place", "client.ip", "verdict"]
rows = [["DE", "-", "deny"], ["DE", "203.0.113.9", "allow"]]
"#,
    );
    assert!(faults.is_empty(), "{}", rendered(&faults));
    let gaps: Vec<_> = run.gaps.iter().map(|gap| (gap.rule.as_str(), gap.what)).collect();
    let expected = [
        ("mute", Untried::Speaking),
        ("never-silent", Untried::Silence),
        ("never-silent", Untried::Exception),
        ("never-asks", Untried::Asking),
    ];
    assert_eq!(gaps, expected);
    let source = Source::new("test.policy.toml", format!("version = 1\n{rules}"));
    insta::assert_snapshot!(rendered(&run.warnings(&source)));
}

/// Every way to write a case wrongly, as it is told.
#[test]
fn faults_of_cases_are_told_in_words() {
    let (run, faults) = run(
        RULES,
        r#"
[[case]]
name = "words"
account = { contries = ["JP"], done = [{ action = "withdrawl", ago = "2h" }, { action = "order" }], addresses = [{ address = "x" }] }
history = { countries = ["JP"] }
place = { country = "DEU", speed = 3 }
credential = "apikey"
request = { action = "withdrawal" }
answer = "topt"
expect = { verdict = "alow", notify = ["cod"], valid = "always" }

[[case.then]]
afer = "2h"

[[table]]
name = "columns"
request = { action = "withdrawal" }
columns = ["usd_vale", "verdict", "verdict", "rulez"]
rows = [["1", "allow", "allow", "none"]]

[[table]]
name = "rows"
request = { action = "withdrawal" }
columns = ["amount", "geo.country", "verdict", "rules"]
rows = [
    ["2", "JP", "require"],
    ["2", "JAP", "reqire", "kode"],
    ["2", "JP", "allow", "code"],
    ["2", "JP", "allow", "none"],
]

[[table]]
name = "nothing"
columns = ["amount"]
rows = [["1"]]

[[case]]
name = "a story"
request = { action = "withdrawal", fields = { amount = "2" } }
expect = { verdict = "require" }
answer = "sms"

[[case.then]]
after = "19h"
expect = { verdict = "allow" }

[[case]]
name = "a wrong answer"
request = { action = "withdrawal", fields = { amount = "2" } }
expect = { verdict = "require" }
answer = "recovery"

[[case]]
name = "an answer to nothing"
request = { action = "login" }
expect = { verdict = "allow" }
answer = "totp"
"#,
    );
    assert_eq!((run.ran, run.failed), (5, 5), "{}", rendered(&faults));
    insta::assert_snapshot!(rendered(&faults));
}
