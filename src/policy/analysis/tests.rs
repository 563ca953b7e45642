//! Whatever is claimed of a rule holds for random facts; what can be found is found.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::facts::Facts;
use super::super::file;
use super::super::history::History;
use super::super::rule::Rule;
use super::super::staged::Staged;
use super::super::truth::Truth;
use super::super::verdict::Verdict;
use super::super::vocabulary::Vocabulary;
use super::super::{PolicySet, version};
use super::*;
use crate::types::{Factor, FactorSet, Fields, UnixMs};

const ATOMS: &[&str] = &[
    "usd_value > 5",
    "usd_value > 10",
    "usd_value < 5",
    "usd_value <= 10",
    "usd_value >= 0",
    "usd_value < 0",
    "usd_value is 5",
    "usd_value is not 5",
    "usd_value between 5 and 10",
    "usd_value in [1, 5, 10]",
    "usd_value + amount > 5",
    "amount + usd_value <= 5",
    "amount > 2",
    "amount <= 2",
    "counters.withdrawal.usd_24h + usd_value > 5",
    "counters.withdrawal.count_1h > 1",
    "address.known",
    "address.verified",
    "address.age < 1h",
    "address.age >= 1h",
    "address.age < 24h",
    "address.idle > 0s",
    "asset is BTC",
    "asset is not btc",
    "asset in [BTC, USDT]",
    "asset matches \"usd*\"",
    "asset matches \"*t\"",
    "asset matches \"*\"",
    "address matches \"bc1*\"",
    "address is bc1q",
    "field.note is a",
    "field.note is not a",
    "geo.country is JP",
    "geo.country is not JP",
    "geo.country in [JP, DE]",
    "geo.new_country",
    "client.ip in [192.0.2.0/24]",
    "client.ip is 192.0.2.7",
    "client.ip in [192.0.2.0/25, 192.0.2.128/25]",
    "client.ip in [0.0.0.0/0, ::/0]",
    "time.of_day >= 00:00",
    "time.of_day < 06:00",
    "time.of_day > 06:00",
    "time.of_day is 06:00",
    "time.weekday in [sat, sun]",
    "time.weekday in [mon, tue, wed, thu, fri]",
    "credential.kind is api_key",
    "credential.kind is not api_key",
    "account.has_totp",
    "account.has_sms",
    "account.has_webauthn",
    "account.has_factor",
    "action is withdrawal",
    "action is order",
    "action in [order, login]",
    "session.age < 1h",
    "session.age > 59m",
    "geo.speed_kmh > 900",
    "geo.speed_kmh <= 900",
];

/// A part in the words of the language: a comparison, or several in parentheses.
fn part() -> impl Strategy<Value = String> {
    let atom = || proptest::sample::select(ATOMS).prop_map(str::to_owned);
    let maybe_not = |inner: BoxedStrategy<String>| {
        (inner, 0..4_u8).prop_map(|(it, not)| if not == 0 { format!("not {it}") } else { it })
    };
    let group = (proptest::collection::vec(maybe_not(atom().boxed()), 2..4), any::<bool>())
        .prop_map(|(atoms, all)| format!("({})", atoms.join(if all { " and " } else { " or " })));
    prop_oneof![4 => maybe_not(atom().boxed()), 1 => maybe_not(group.boxed())]
}

/// Some parts, and whether all must hold.
fn condition() -> impl Strategy<Value = (Vec<String>, bool)> {
    (proptest::collection::vec(part(), 1..4), any::<bool>())
}

fn joined((parts, all): &(Vec<String>, bool)) -> String {
    parts.join(if *all { " and " } else { " or " })
}

const SAYS: &[&str] = &[
    "deny = true",
    "freeze = true",
    "allow = true",
    "require = \"totp or sms\"",
    "require = \"totp and sms\"",
    "require = \"totp\"",
    "require = \"totp\"\nvalid = \"session\"",
    "hold = \"24h\"",
    "deny = true\nnotify = true",
    "deny = true\nshadow = true",
];
const ON: &[&str] =
    &["\"withdrawal\"", "\"*\"", "[\"withdrawal\", \"order\"]", "[\"order\", \"*\"]"];

fn rule_text(id: &str, on: &str, when: &str, unless: Option<&str>, says: &str) -> String {
    let unless = unless.map(|unless| format!("unless = '''{unless}'''\n")).unwrap_or_default();
    format!("[[rule]]\nid = \"{id}\"\non = {on}\nwhen = '''{when}'''\n{unless}{says}\n")
}

fn source(rules: &str) -> Source {
    Source::new("p", format!("version = 1\n{rules}"))
}

/// The rules, faulty ones included.
fn rules(file: &Source) -> Vec<Rule> {
    let mut faults = Vec::new();
    file::read(file, &Vocabulary::new(&[]), &mut faults)
        .unwrap_or_else(|| panic!("{}", faults.iter().map(Fault::render).collect::<String>()))
}

/// Facts and their values, those first from which others follow.
const KNOBS: &[(&str, &[&str])] = &[
    ("geo.country", &["JP", "DE", "FR", "unreadable"]),
    ("address.known", &["true", "false", "true", "absent", "unreadable"]),
    ("usd_value", &["0", "1", "4.9", "5", "5.1", "10", "10.1", "absent", "unreadable"]),
    ("amount", &["0", "1", "2", "2.5", "9", "", "unreadable"]),
    ("counters.withdrawal.usd_24h", &["0", "3", "7", "unreadable"]),
    ("counters.withdrawal.count_1h", &["0", "1", "2", "unreadable"]),
    ("address.verified", &["true", "false"]),
    ("address.age", &["0s", "59m", "1h", "23h", "24h", "90d"]),
    ("address.idle", &["0s", "1s", "90d"]),
    ("asset", &["BTC", "btc", "USDT", "usd", "t", "x", "", "unreadable"]),
    ("address", &["bc1q", "bc1", "BC1Q", "x", "", "unreadable"]),
    ("field.note", &["a", "A", "", "unreadable"]),
    ("geo.new_country", &["true", "false", "unreadable"]),
    ("client.ip", &["192.0.2.7", "192.0.2.200", "192.0.3.0", "::1", "0.0.0.0"]),
    ("credential.kind", &["session", "api_key", "none"]),
    ("account.has_factor", &["false", "true"]),
    ("account.has_totp", &["false", "true"]),
    ("account.has_sms", &["false", "true"]),
    ("account.has_webauthn", &["false", "true"]),
    ("session.age", &["0s", "59m", "1h", "2h", "absent", "unreadable"]),
    ("geo.speed_kmh", &["0", "900", "901", "absent", "unreadable"]),
];
const ACTIONS: &[&str] = &["withdrawal", "order", "login"];
const HOUR_MS: i64 = 3_600_000;

/// One choice for each knob, for the action and for the time.
type Turns = Vec<usize>;

fn turns() -> impl Strategy<Value = Vec<Turns>> {
    let one = proptest::collection::vec(0_usize..720, KNOBS.len() + 2);
    proptest::collection::vec(one, 16)
}

fn staged(turns: &Turns, readable: bool) -> Staged {
    let vocabulary = Vocabulary::new(&[]);
    let mut turn = turns.iter().copied();
    let mut next = |of: usize| turn.next().unwrap() % of;
    let action = ACTIONS[next(ACTIONS.len())];
    let mut staged = Staged::new(action, Fields::default(), History::default());
    staged.now = UnixMs(staged.now.0 + next(168) as i64 * HOUR_MS + 6 * HOUR_MS);
    for (name, values) in KNOBS {
        let value = values[next(values.len())];
        let value = if readable && value == "unreadable" { values[0] } else { value };
        let is_field = matches!(*name, "amount" | "asset" | "address" | "field.note");
        // An empty field is one that is not there.
        if !(is_field && value.is_empty()) {
            let _ = staged.set(name, value, &vocabulary);
        }
    }
    staged.settle();
    staged
}

fn without(rules: &[Rule], id: &str) -> PolicySet {
    let rest = rules.iter().filter(|rule| rule.id.as_str() != id).cloned().collect();
    PolicySet::new(rest, Vocabulary::new(&[]), version("", &[]))
}

/// Verdicts that nobody can tell apart.
fn same(left: &Verdict, right: &Verdict) -> bool {
    let sets = || {
        (0..64_u32).map(|bits| {
            let chosen = Factor::ALL.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            chosen.map(|(_, factor)| factor).collect::<FactorSet>()
        })
    };
    match (left, right) {
        (Verdict::Require(left), Verdict::Require(right)) => {
            sets().all(|proven| left.met_by(proven) == right.met_by(proven))
        }
        (Verdict::Hold { until, .. }, Verdict::Hold { until: other, .. }) => until == other,
        _ => left.word() == right.word(),
    }
}

fn matches(rules: &[Rule], id: &str, facts: &Facts<'_>) -> bool {
    let rule = rules.iter().find(|rule| rule.id.as_str() == id).unwrap();
    rule.on.iter().any(|on| on.covers(facts.action)) && rule.weigh(facts).matches
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_rule_that_is_said_never_to_speak_never_does(
        when in condition(),
        unless in proptest::option::of(condition()),
        on in proptest::sample::select(ON),
        says in proptest::sample::select(SAYS),
        worlds in turns(),
    ) {
        let unless = unless.as_ref().map(joined);
        let file = source(&rule_text("r", on, &joined(&when), unless.as_deref(), says));
        let rules = rules(&file);
        if let [fault] = &*never_speaks(&file, &rules) {
            for turns in worlds {
                let staged = staged(&turns, true);
                prop_assert!(!matches(&rules, "r", &staged.facts()), "{}", fault.render());
            }
        }
    }

    #[test]
    fn a_part_that_is_said_to_change_nothing_changes_nothing(
        when in condition(),
        says in proptest::sample::select(SAYS),
        worlds in turns(),
    ) {
        let file = source(&rule_text("r", "\"*\"", &joined(&when), None, says));
        let whole = rules(&file);
        for fault in idle::doubts(&file, &whole[0], &Means::default()) {
            let text = &file.text[fault.span.clone()];
            let always = fault.message == "this condition always holds";
            let mut rest = when.clone();
            let opens = "when = '''";
            let begins = file.text.find(opens).unwrap() + opens.len();
            let gap = if when.1 { " and ".len() } else { " or ".len() };
            let is_it = |at: &usize| {
                let before: usize = when.0[..*at].iter().map(|part| part.len() + gap).sum();
                let part = &*when.0[*at];
                let bare = part.strip_prefix('(').map_or(part, |it| &it[..it.len() - 1]);
                let inside = usize::from(bare.len() < part.len());
                bare == text && begins + before + inside == fault.span.start
            };
            let Some(at) = (0..when.0.len()).find(is_it).filter(|_| !always) else {
                for turns in worlds.iter().filter(|_| always) {
                    let staged = staged(turns, true);
                    let truth = whole[0].when.truth(&staged.facts());
                    prop_assert_eq!(truth, Truth::True, "{}", fault.render());
                }
                continue;
            };
            let nothing = fault.message.ends_with("adds nothing to what stands beside it");
            let dead = fault.message.ends_with("never holds") || fault.message.ends_with("always holds");
            rest.0.remove(at);
            if !(nothing || dead) || rest.0.is_empty() {
                continue;
            }
            let shorter = rules(&source(&rule_text("r", "\"*\"", &joined(&rest), None, says)));
            for turns in &worlds {
                let staged = staged(turns, dead);
                let facts = staged.facts();
                prop_assert_eq!(
                    matches(&whole, "r", &facts), matches(&shorter, "r", &facts), "{}", fault.render()
                );
            }
        }
    }

    #[test]
    fn without_a_rule_that_is_said_to_change_nothing_every_verdict_is_the_same(
        one in (condition(), proptest::option::of(condition())),
        other in (condition(), proptest::option::of(condition())),
        alike in 0..4_u8,
        narrower in proptest::option::of(part()),
        on in (proptest::sample::select(ON), proptest::sample::select(ON)),
        says in (proptest::sample::select(SAYS), proptest::sample::select(SAYS)),
        worlds in turns(),
    ) {
        // Unrelated conditions seldom imply one another: most are made from one.
        let wide = if alike == 0 { joined(&other.0) } else { joined(&one.0) };
        let narrow = match narrower {
            Some(part) => format!("({}) and {part}", joined(&one.0)),
            None => joined(&one.0),
        };
        let exceptions = match alike {
            0 => (one.1.as_ref().map(joined), other.1.as_ref().map(joined)),
            1 => (one.1.as_ref().map(joined), None),
            _ => (None, None),
        };
        let file = source(&format!(
            "{}{}",
            rule_text("one", on.0, &narrow, exceptions.0.as_deref(), says.0),
            rule_text("other", on.1, &wide, exceptions.1.as_deref(), says.1),
        ));
        let rules = rules(&file);
        let whole = without(&rules, "");
        for fault in spare::doubts(&file, &rules, &Means::default()) {
            let id = file.text[fault.span.clone()].trim_matches('"').to_owned();
            let rest = without(&rules, &id);
            let by = if id == "one" { "other" } else { "one" };
            for turns in &worlds {
                let staged = staged(turns, false);
                let facts = [staged.facts()];
                let [it] = &facts;
                prop_assert!(
                    !matches(&rules, &id, it) || matches(&rules, by, it), "{}", fault.render()
                );
                let (with, without) = (whole.decide(&facts), rest.decide(&facts));
                prop_assert!(same(&with.verdict, &without.verdict), "{}", fault.render());
            }
        }
    }
}

/// The claims above are worth little if nothing is ever claimed.
#[test]
fn random_rules_are_often_enough_at_fault() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut silent, mut idle) = (0, 0);
    for _ in 0..1_000 {
        let when = condition().new_tree(&mut runner).unwrap().current();
        let file = source(&rule_text("r", "\"withdrawal\"", &joined(&when), None, "deny = true"));
        let rules = rules(&file);
        silent += never_speaks(&file, &rules).len();
        idle += idle::doubts(&file, &rules[0], &Means::default()).len().min(1);
    }
    assert!(silent > 25 && idle > 75, "{silent} {idle}");
}

/// Many rules of one action, all about the same facts, and conditions as long as they may be.
#[test]
fn work_is_bounded() {
    let many: String = (0..300)
        .map(|n| {
            let when =
                format!("usd_value > {n} and geo.country is not JP and amount < {}", 20_000 - n);
            rule_text(&format!("r{n}"), "\"withdrawal\"", &when, None, SAYS[n % SAYS.len()])
        })
        .collect();
    let file = source(&many);
    let _ = spare::doubts(&file, &rules(&file), &Means::default());
    let pair = |n: usize| format!("(usd_value is not {n} or amount is not {n} or tag is {n})");
    let hard: Vec<_> = (0..60).map(pair).collect();
    let file = source(&rule_text("r", "\"*\"", &hard.join(" and "), None, "deny = true"));
    let rules = rules(&file);
    assert!(never_speaks(&file, &rules).is_empty());
    let _ = idle::doubts(&file, &rules[0], &Means::default());
}

#[test]
fn facts_that_are_read_together_cannot_contradict_one_another() {
    for when in [
        "account.has_totp and not account.has_factor",
        "not (account.has_factor or not account.has_sms)",
        "credential.kind is session and credential.kind is bearer",
        "client.ip in [192.0.2.0/25, 192.0.2.128/25] and not client.ip is 192.0.2.0/24",
        "time.weekday in [sat, sun] and time.weekday in [mon, tue]",
        "address.age > 23h and not address.age >= 24h and address.age < 1h",
    ] {
        let file = source(&rule_text("r", "\"*\"", when, None, "deny = true"));
        assert_eq!(never_speaks(&file, &rules(&file)).len(), 1, "{when}");
    }
}
