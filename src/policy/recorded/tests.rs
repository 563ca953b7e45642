//! What was told reads back: the same decision under any policy.

use proptest::prelude::*;

use super::super::history::History;
use super::super::staged::Staged;
use super::super::told;
use super::super::vocabulary::Vocabulary;
use super::*;
use crate::audit::record::{Event, Record};
use crate::audit::redact;
use crate::fault::Source;
use crate::types::{ActionName, RuleId};

const SHIPPED: [&str; 2] = [
    include_str!("../../../policies/exchange.policy.toml"),
    include_str!("../../../policies/demo.policy.toml"),
];

fn load(text: &str) -> PolicySet {
    let mut faults = Vec::new();
    let actions = [ActionName::new("loan.take")];
    let policy = super::super::load(&Source::new("test", text), &actions, &[], &mut faults);
    policy.unwrap_or_else(|| panic!("{}", faults[0].render()))
}

/// What is written of these facts, cleaned like every record, and read back.
fn again<T>(
    policies: &[&PolicySet],
    elements: &[Facts<'_>],
    look: impl FnOnce(&Recorded<'_>) -> T,
) -> T {
    let mut record = Record::new(elements[0].now, Event::Intent);
    record.facts = told::tell(elements);
    let record = redact::clean(record);
    let facts: Vec<(Arc<str>, Arc<str>)> = record.facts.into_iter().collect();
    let country = elements[0].geo.country.known();
    let noted = Noted {
        time: elements[0].now,
        facts: &facts,
        elements: elements.len(),
        elevations: elements[0].elevations,
        holds: elements[0].holds,
        client: None,
        country,
    };
    look(&Reader::new(policies).read(&noted))
}

/// Each fact with values that a case may set. A counter of nothing is not told, so a sum comes with a count.
const KNOBS: [(&str, &[&str]); 31] = [
    ("geo.country", &["JP", "DE", "unreadable"]),
    ("geo.city", &["Tokyo", "absent", "unreadable", "Zürich"]),
    ("geo.asn", &["64500", "3320", "unreadable"]),
    ("geo.network", &["hosting", "mobile", "relay"]),
    ("geo.new_country", &["true", "false", "unreadable"]),
    ("geo.new_asn", &["true", "false", "absent"]),
    ("geo.first_place", &["true", "false"]),
    ("geo.distance_km", &["0", "300.001", "9350.75", "absent", "unreadable"]),
    ("geo.speed_kmh", &["0", "900.001", "12000", "absent", "unreadable"]),
    ("session.age", &["0s", "59s", "90m", "7d", "absent", "unreadable"]),
    ("credential.kind", &["session", "bearer", "api_key", "client_certificate", "none"]),
    ("account.has_totp", &["true", "false"]),
    ("account.has_sms", &["true", "false"]),
    ("account.has_webauthn", &["true", "false"]),
    ("account.security_change_age", &["absent", "1h", "2d", "unreadable"]),
    ("client.ip", &["203.0.113.5", "192.0.2.10", "2001:db8::7"]),
    ("site", &["main", "sister"]),
    ("usd_value", &["absent", "unreadable", "1", "200", "10000", "10000.000000000000000001"]),
    ("address.known", &["true", "false", "unreadable"]),
    ("address.verified", &["true", "false"]),
    ("address.age", &["1s", "24h", "25h", "90d"]),
    ("address.idle", &["0s", "30d", "31d"]),
    ("counters.withdrawal.count_24h", &["1", "7", "1000"]),
    ("counters.withdrawal.usd_24h", &["0", "49999.5", "70000", "unreadable"]),
    ("counters.order.count_1h", &["1", "99"]),
    ("asset", &["BTC", "usdt", "unreadable", "bad symbol ", "absent"]),
    ("amount", &["1", "1.50", "1e3", "unreadable", "0.000000000000000001", "absent"]),
    ("tag", &["absent", "unreadable", "memo"]),
    ("transfer.from", &["contract", "spot", "unreadable", "absent"]),
    ("transfer.to", &["contract", "spot", "unreadable", "absent"]),
    ("field.address_book.name", &["mine", "absent", "unreadable"]),
];

const ACTIONS: [&str; 7] =
    ["withdrawal", "transfer", "mass_cancel", "address_book.add", "order", "ordinary", "loan.take"];

fn staged(action: &str, turns: &[usize], minute: i64) -> Staged {
    let vocabulary = Vocabulary::new(&[]);
    let mut fields = Fields::default();
    fields.set("address", FieldValue::Text("bc1qexample".into()));
    let mut staged = Staged::new(action, fields, History::default());
    staged.now = UnixMs(staged.now.0 + minute * 60_000 + 59_999);
    for ((name, values), turn) in KNOBS.iter().zip(turns) {
        // `address.known = unreadable` settles the whole address, as `absent` does.
        staged.set(name, values[turn % values.len()], &vocabulary).unwrap();
    }
    staged.settle();
    staged
}

fn age(ms: u64) -> UnixMs {
    UnixMs(super::super::staged::NOON.0 - i64::try_from(ms).unwrap())
}

/// Conditions over every fact, of which a random policy takes some.
const CONDITIONS: [&str; 34] = [
    "geo.country in [JP, DE]",
    "geo.city is \"Tokyo\" or geo.city is \"absent\"",
    "geo.asn is 64_500",
    "geo.network in [hosting, relay]",
    "geo.new_country",
    "not geo.new_asn",
    "geo.first_place",
    "geo.distance_km > 300",
    "geo.speed_kmh between 900 and 10_000",
    "session.age < 60s",
    "session.age > 1h",
    "credential.kind is api_key",
    "account.has_totp and not account.has_sms",
    "account.has_factor",
    "account.security_change_age < 24h",
    "client.ip in [203.0.113.0/24, 2001:db8::/32]",
    "site is sister",
    "usd_value > 10_000",
    "usd_value < 200",
    "address.known",
    "address.verified and address.age < 25h",
    "address.idle > 30d",
    "counters.withdrawal.count_24h >= 7",
    "counters.withdrawal.usd_24h + usd_value > 50_000",
    "counters.order.count_1h > 50",
    "counters.transfer.count_7d < 1",
    "asset is USDT",
    "amount > 1",
    "tag is memo or tag is \"unreadable\"",
    "transfer.from is contract and transfer.to is spot",
    "field.address_book.name matches \"m*\"",
    "time.of_day between 11:00 and 12:30",
    "time.weekday in [mon, sat]",
    "action is withdrawal",
];

const OUTCOMES: [&str; 6] = [
    "require = \"totp or sms\"\nvalid = \"session\"",
    "require = \"totp and sms\"",
    "hold = \"24h\"",
    "deny = true",
    "freeze = true",
    "allow = true",
];

fn random_policy(picks: &[(usize, usize, usize, bool)]) -> PolicySet {
    let rules = picks.iter().enumerate().map(|(at, (when, unless, outcome, shadow))| {
        let (when, unless) =
            (CONDITIONS[when % CONDITIONS.len()], CONDITIONS[unless % CONDITIONS.len()]);
        let outcome = OUTCOMES[outcome % OUTCOMES.len()];
        let shadow = if *shadow { "\nshadow = true" } else { "" };
        format!(
            "[[rule]]\nid = \"r{at}\"\non = \"*\"\nwhen = '{when}'\nunless = '{unless}'\n{outcome}{shadow}\n"
        )
    });
    // Some would never speak, and are refused.
    let sound = |rule: &String| {
        let source = Source::new("test", format!("version = 1\n{rule}"));
        super::super::load(&source, &[], &[], &mut Vec::new()).is_some()
    };
    load(&format!("version = 1\n{}", rules.filter(sound).collect::<String>()))
}

fn spoken(policy: &PolicySet, elements: &[Facts<'_>]) -> String {
    let decision = policy.decide(elements);
    format!("{:?} {:?}", decision.verdict, decision.said)
}

proptest! {
    #[test]
    fn what_was_told_is_decided_the_same_when_it_is_read_back(
        turns in proptest::collection::vec(proptest::collection::vec(0_usize..60, KNOBS.len()), 1..4),
        action in 0..ACTIONS.len(),
        minute in 0_i64..1440,
        picks in proptest::collection::vec(
            (0_usize..99, 0_usize..99, 0_usize..99, any::<bool>()), 1..6),
        rule in prop_oneof![Just("r0"), Just("remote-login"), Just("young-address")],
        since in 0_u64..200_000_000,
        left in 1_u64..100_000_000,
    ) {
        // Of one request the surroundings are the same for every element; fields and value are its own.
        let own = |at: usize| ["usd_value", "asset", "amount", "tag", "transfer.from",
            "transfer.to", "field.address_book.name"].contains(&KNOBS[at].0);
        let mut batch: Vec<Staged> = turns.iter().map(|turn| {
            let mixed: Vec<usize> = turn.iter().enumerate()
                .map(|(at, value)| if own(at) { *value } else { turns[0][at] }).collect();
            staged(ACTIONS[action], &mixed, minute)
        }).collect();
        let elevations = vec![Elevation {
            rule: RuleId::new(rule),
            factors: [Factor::Totp].into_iter().collect(),
            place: "JP".into(),
            until: batch[0].now.plus_ms(left),
        }];
        let holds = vec![HoldRunning { rule: RuleId::new(rule), since: age(since) }];
        for staged in &mut batch {
            staged.elevations.clone_from(&elevations);
            staged.holds.clone_from(&holds);
        }
        let elements: Vec<Facts<'_>> = batch.iter().map(Staged::facts).collect();
        let random = random_policy(&picks);
        for policy in SHIPPED.iter().map(|text| load(text)).chain([random]) {
            let before = spoken(&policy, &elements);
            let (after, unsaid) = again(&[&policy], &elements, |recorded| {
                (spoken(&policy, &recorded.facts()), recorded.unsaid.len())
            });
            prop_assert_eq!(unsaid, 0);
            prop_assert_eq!(before, after);
        }
    }
}

fn at_home(
    policy: &PolicySet,
    change: impl FnOnce(&mut Vec<(String, String)>),
) -> (String, Vec<String>) {
    let mut staged = Staged::new("withdrawal", Fields::default(), History::default());
    staged.settle();
    let told = told::tell(&[staged.facts()]);
    let mut facts: Vec<(String, String)> =
        told.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    change(&mut facts);
    facts.sort();
    let noted = Noted {
        time: staged.now,
        facts: &facts,
        elements: 1,
        elevations: &[],
        holds: &[],
        client: None,
        country: Some("JP"),
    };
    let reader = Reader::new(&[policy]);
    let recorded = reader.read(&noted);
    let unsaid = recorded.unsaid.iter().map(|it| reader.name(*it).to_owned()).collect();
    (policy.decide(&recorded.facts()).verdict.word().to_owned(), unsaid)
}

#[test]
fn what_a_record_does_not_say_is_unreadable_and_named() {
    let rule = |when: &str| {
        load(&format!(
            "version = 1\n[[rule]]\nid = \"r\"\non = \"*\"\nwhen = '{when}'\ndeny = true\n"
        ))
    };
    for (when, fact) in [
        ("geo.new_asn", "geo.new_asn"),
        ("asset is BTC", "asset"),
        ("usd_value > 5", "usd_value"),
        ("account.security_change_age < 1h", "account.security_change_age"),
    ] {
        let policy = rule(when);
        assert_eq!(at_home(&policy, |_| ()), ("allow".into(), vec![]), "{when}");
        let gone = at_home(&policy, |facts| facts.retain(|(name, _)| name != fact));
        assert_eq!(gone, ("deny".into(), vec![fact.to_owned()]), "{when}");
    }
    let hidden = at_home(&rule("field.memo is x"), |facts| {
        facts.push(("field.memo".into(), "[redacted]".into()));
    });
    assert_eq!(hidden, ("deny".into(), vec!["field.memo".to_owned()]));
    let cut = at_home(&rule("field.memo is x"), |facts| {
        facts.push(("field.memo".into(), format!("{}…", "é".repeat(255))));
    });
    assert_eq!(cut.0, "deny");
    assert_eq!(at_home(&rule("field.memo is x"), |_| ()).0, "allow", "not listed: not there");
}

#[test]
fn a_text_that_could_be_taken_for_a_state_reads_back_as_text() {
    let policy = load(
        "version = 1\n[[rule]]\nid = \"r\"\non = \"*\"\nwhen = 'tag is \"absent\"'\ndeny = true\n",
    );
    let mut staged = Staged::new("withdrawal", Fields::default(), History::default());
    staged.settle();
    let mut fields = Fields::default();
    fields.set("tag", FieldValue::Text("absent".into()));
    let facts = Facts { fields: &fields, ..staged.facts() };
    let word = again(&[&policy], &[facts], |it| policy.decide(&it.facts()).verdict.word());
    assert_eq!(word, "deny");
}

#[test]
fn a_counter_that_was_cut_off_a_full_record_is_not_zero() {
    let policy = load(
        "version = 1\n[[rule]]\nid = \"r\"\non = \"*\"\nwhen = 'counters.withdrawal.count_1h > 9'\ndeny = true\n",
    );
    assert_eq!(at_home(&policy, |_| ()).0, "allow");
    let full = at_home(&policy, |facts| {
        facts.clear();
        facts.extend((0..FACTS_MAX).map(|n| (format!("aa.{n:03}"), "x".into())));
    });
    assert_eq!(full, ("deny".into(), vec!["counters.withdrawal.count_1h".to_owned()]));
    assert_eq!(FACTS_MAX, redact::FACTS_MAX);
}

#[test]
fn a_line_written_in_the_next_minute_is_decided_in_its_own() {
    let told = UnixMs(super::super::staged::NOON.0 - 1);
    let late = UnixMs(told.0 + 700);
    assert_eq!(within_minute(late, "11:59"), told);
    assert_eq!(within_minute(late, "12:00"), late);
    assert_eq!(within_minute(late, "23:59"), late, "a clock that far off is not a slow disk");
    assert_eq!(within_minute(late, "odd"), late);
}

#[test]
fn durations_read_back_to_the_millisecond() {
    for ms in [0, 1, 999, 1_000, 1_500, 60_000, 86_400_000, 172_800_000, 90_061_001] {
        assert_eq!(literal::told_duration(&literal::spell_duration(ms)), Some(ms));
    }
    assert_eq!(literal::told_duration("5w"), None);
}
