//! The table of facts as a page to read: for a terminal, as Markdown, as JSON.
//!
//! Never says anything that the table does not. Invariant: every fact of the table has its row and an example that
//! compiles.

use serde_json::{Value, json};

use super::table::{FACTS, FactSpec, Kind};

/// A condition with each fact, by its name in the table.
const EXAMPLES: &[(&str, &str)] = &[
    ("site", "site is main"),
    ("action", "action is withdrawal"),
    ("amount", "amount > 10_000"),
    ("asset", "asset in [USDT, USDC]"),
    ("address", "address in @treasury"),
    ("network", "network is not TRC20"),
    ("tag", "tag is \"12345\""),
    ("transfer.from", "transfer.from is contract"),
    ("transfer.to", "transfer.to is not spot"),
    ("field.<name>", "field.permissions matches \"*withdraw*\""),
    ("usd_value", "usd_value > 10_000"),
    ("counters.<action>.count_<1h|24h|7d>", "counters.withdrawal.count_1h > 3"),
    ("counters.<action>.usd_<1h|24h|7d>", "counters.withdrawal.usd_24h + usd_value > 50_000"),
    ("address.known", "not address.known"),
    ("address.verified", "usd_value < 200 and address.verified"),
    ("address.age", "address.age < 24h"),
    ("address.idle", "address.idle > 90d"),
    ("client.ip", "client.ip in @office"),
    ("geo.country", "geo.country in [KP, IR]"),
    ("geo.city", "geo.city is \"Tokyo\""),
    ("geo.asn", "geo.asn is 16509"),
    ("geo.network", "geo.network in [hosting, relay]"),
    ("geo.new_country", "geo.new_country"),
    ("geo.country_age", "geo.country_age < 7d"),
    ("geo.new_asn", "geo.new_asn and geo.network is hosting"),
    ("geo.first_place", "geo.first_place"),
    ("geo.distance_km", "geo.distance_km > 300"),
    ("geo.speed_kmh", "geo.speed_kmh > 900 and geo.distance_km > 300"),
    ("session.age", "session.age > 12h"),
    ("credential.kind", "credential.kind is api_key"),
    ("account.has_totp", "not account.has_totp"),
    ("account.has_sms", "account.has_sms"),
    ("account.has_webauthn", "not account.has_webauthn"),
    ("account.has_factor", "not account.has_factor"),
    ("account.security_change_age", "account.security_change_age < 24h"),
    ("time.of_day", "time.of_day between 22:00 and 23:59"),
    ("time.weekday", "time.weekday in [sat, sun]"),
];

fn example(spec: &FactSpec) -> &'static str {
    EXAMPLES.iter().find(|(name, _)| *name == spec.name).map_or("", |(_, example)| example)
}

/// The type as people are told, and what a word may be.
fn kind(spec: &FactSpec) -> (&'static str, &'static [&'static str]) {
    match spec.kind {
        Kind::Flag => ("yes or no", &[]),
        Kind::Word(words) => ("word", words),
        Kind::Network => ("address", &[]),
        other => (other.noun(), &[]),
    }
}

/// For programs: each fact, with empty text where there is nothing to say.
pub fn json() -> Value {
    let rows = FACTS.iter().map(|spec| {
        let (kind, words) = kind(spec);
        json!({
            "name": spec.name,
            "type": kind,
            "words": words,
            "unit": spec.unit(),
            "meaning": spec.meaning,
            "absent": spec.when_absent,
            "unreadable": spec.when_unreadable,
            "example": example(spec),
        })
    });
    json!({ "facts": rows.collect::<Vec<_>>() })
}

/// The page `policies/facts.md`.
pub fn markdown() -> String {
    let mut page = format!("{TITLE}\n\n{STATES}\n\n");
    page += "| fact | type | meaning | absent if | unreadable if | example |\n";
    page += "| --- | --- | --- | --- | --- | --- |\n";
    for spec in FACTS {
        let (kind, words) = kind(spec);
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let cells = [
            format!("`{}`", spec.name),
            [kind, spec.unit()]
                .into_iter()
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
                + if words.is_empty() { "" } else { ": " }
                + &words.join(", "),
            spec.meaning.to_owned(),
            spec.when_absent.to_owned(),
            spec.when_unreadable.to_owned(),
            format!("`{}`", example(spec)),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page
}

/// For a terminal that is so many columns wide.
pub fn plain(width: usize) -> String {
    let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
    let mut page = String::new();
    wrap(&mut page, width, "", STATES);
    for spec in FACTS {
        let (kind, words) = kind(spec);
        let unit = if spec.unit().is_empty() { "" } else { ", " };
        page += &format!("\n{}  ({kind}{unit}{})\n", spec.name, spec.unit());
        wrap(&mut page, width, "    ", spec.meaning);
        if !words.is_empty() {
            wrap(&mut page, width, "    one of:     ", &words.join(", "));
        }
        wrap(&mut page, width, "    absent:     ", spec.when_absent);
        wrap(&mut page, width, "    unreadable: ", spec.when_unreadable);
        wrap(&mut page, width, "    example:    ", example(spec));
    }
    page
}

/// Lines of at most `width`, the first behind `label` and the others below it.
fn wrap(page: &mut String, width: usize, label: &str, text: &str) {
    let indent = " ".repeat(label.len());
    let mut line = label.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.len() + 1 + word.len() > width {
            page.push_str(&line);
            page.push('\n');
            (line, empty) = (indent.clone(), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    page.push_str(&line);
    page.push('\n');
}

const TITLE: &str =
    "<!-- Made by `stepgate facts --markdown > policies/facts.md`; change src/policy/table.rs. -->
# Facts

Everything that a rule may look at.";
const STATES: &str = "\
A fact may be **absent** (known not to be there: comparisons with it are false, `is not` is true) or **unreadable** (it
should be there and nothing can be said). What depends on an unreadable fact counts as true in the `when` of a
restriction and as false in `unless` and for `allow`: doubt asks.";
const WIDTH_MIN: usize = 50;
const WIDTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::condition::{Condition, Scope};
    use super::super::vocabulary::Vocabulary;
    use super::*;

    #[test]
    fn every_fact_has_one_example_that_compiles_and_looks_at_it() {
        let vocabulary = Vocabulary::new(&[]);
        let office: Vec<_> = vec!["10.0.0.0/8".into()];
        let sets = BTreeMap::from([("office".into(), office.clone()), ("treasury".into(), office)]);
        assert_eq!(EXAMPLES.len(), FACTS.len());
        for spec in FACTS {
            let mut troubles = Vec::new();
            let scope = Scope { vocabulary: &vocabulary, sets: &sets };
            let condition = Condition::compile(example(spec), scope, &mut troubles);
            let condition = condition.unwrap_or_else(|| panic!("{}: {troubles:?}", spec.name));
            let family = spec.name.split('<').next().unwrap();
            let looked_at = |name: &str| match family == spec.name {
                true => name == family,
                false => name.starts_with(family),
            };
            assert!(condition.facts().iter().any(|fact| looked_at(&fact.name)), "{}", spec.name);
        }
    }

    #[test]
    fn the_terminal_page_keeps_to_the_width_and_leaves_nothing_out() {
        for width in [0, 72, 100, 1000] {
            let page = plain(width);
            let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
            for line in page.lines() {
                assert!(line.len() <= width || !line.starts_with(' '), "{line}");
            }
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let page = words(&page);
            for spec in FACTS {
                for text in [spec.name, spec.meaning, spec.when_absent, example(spec)] {
                    assert!(page.contains(&words(text)), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_json_page_has_every_fact_once() {
        let page = json();
        let rows = page["facts"].as_array().unwrap();
        let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
        assert!(names.iter().copied().eq(FACTS.iter().map(|spec| spec.name)));
        let network = rows.iter().find(|row| row["name"] == "geo.network").unwrap();
        assert_eq!(network["words"][0], "hosting");
    }
}
