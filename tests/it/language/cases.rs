//! Case files themselves: what they may say, and what is told when they do not come out.

use stepgate::fault::Source;
use stepgate::policy::cases;
use stepgate::types::{ActionName, FieldValue, Fields};

use super::{policy, run};

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
        "case \"one\": expected rules {}, the policy says {\"code\"}; \
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
