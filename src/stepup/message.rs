//! The text of an SMS: what is about to happen in words, then the code, then the line that binds it to the host.
//!
//! Never shows what the client says, only the stored transaction. Invariant: the last line is exactly `@host #code`
//! (origin-bound one-time codes), and nothing that a client sent can begin a line.

use serde::Deserialize;

use super::challenge::Challenge;
use super::code::Code;
use crate::types::Shown;

/// The sentences of one language. `{…}` are filled in; none may hold a line break.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phrases {
    /// `{site}`, `{action}`, `{what}`, `{code}`: a code that lets one transaction pass.
    pub transaction: String,
    /// `{site}`, `{place}`, `{code}`: a code that only says "this is me".
    pub place: String,
    /// `{address}`, with a space before it where the language has one.
    pub to: String,
    /// `{network}`, likewise.
    pub on: String,
    /// `{count}`: more is shown on the page than fits here.
    pub more: String,
    /// Instead of a value that does not fit.
    pub long: String,
}

/// All words that a text needs, in the owner's language.
pub struct Words<'a> {
    pub phrases: &'a Phrases,
    /// What the action is called.
    pub action: &'a str,
    /// What a field is called.
    pub field: &'a dyn Fn(&str) -> String,
}

/// The text for `challenge`, asked at `site` (its name for people) on `host` (without a port).
pub fn text(
    words: &Words<'_>,
    challenge: &Challenge,
    site: &str,
    host: &str,
    code: &Code,
) -> String {
    let site = plain(site);
    let said = if challenge.approves_transaction() {
        let what = what(words, &challenge.shown);
        let values =
            [("site", &*site), ("action", words.action), ("what", &what), ("code", code.as_str())];
        fill(&words.phrases.transaction, &values)
    } else {
        let place = plain(&challenge.place);
        fill(&words.phrases.place, &[("site", &*site), ("place", &place), ("code", code.as_str())])
    };
    format!("{said}\n\n@{host} #{}", code.as_str())
}

/// Puts values where a template says `{name}`. One pass: a value's own braces stay as they are.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(name, tail)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, tail))
        });
        match known {
            Some((value, tail)) => {
                filled.push_str(value);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// `: 0.5 BTC to bc1qxy...x0wlh on Bitcoin; memo: 7`, or nothing if the action shows nothing.
fn what(words: &Words<'_>, shown: &[Shown]) -> String {
    let first = |name: &str| shown.iter().find(|line| &*line.name == name);
    let amount = match (first("amount"), first("asset")) {
        (Some(amount), Some(asset)) => {
            format!("{} {}", whole(words, &amount.value), whole(words, &asset.value))
        }
        (Some(one), None) | (None, Some(one)) => whole(words, &one.value),
        (None, None) => String::new(),
    };
    let to = first("address").map_or(String::new(), |address| {
        fill(&words.phrases.to, &[("address", &short_address(&address.value))])
    });
    let on = first("network").map_or(String::new(), |network| {
        fill(&words.phrases.on, &[("network", &whole(words, &network.value))])
    });
    let transfer = format!("{amount}{to}{on}");
    let others = shown.iter().filter(|line| !SENTENCE.contains(&&*line.name));
    let others = others
        .take(OTHERS_MAX)
        .map(|line| format!("{}: {}", (words.field)(&line.name), whole(words, &line.value)));
    let parts: Vec<String> =
        [transfer.trim().to_owned()].into_iter().chain(others).filter(|p| !p.is_empty()).collect();
    let unsaid = shown.len() - said(shown);
    match (parts.is_empty(), unsaid) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", parts.join("; ")),
        (false, _) => {
            let more = fill(&words.phrases.more, &[("count", &unsaid.to_string())]);
            format!(": {}; {more}", parts.join("; "))
        }
    }
}

/// How many of the lines a text says. A batch repeats names, and only the first of each is said.
fn said(shown: &[Shown]) -> usize {
    let sentence =
        SENTENCE.iter().filter(|name| shown.iter().any(|line| line.name.as_ref() == **name));
    let others = shown.iter().filter(|line| !SENTENCE.contains(&&*line.name)).count();
    sentence.count() + others.min(OTHERS_MAX)
}

/// A value in full, or words instead of it: a cut amount would be another amount.
fn whole(words: &Words<'_>, value: &str) -> String {
    if value.chars().count() > VALUE_CHARS_MAX { words.phrases.long.clone() } else { plain(value) }
}

/// `bc1qxy...hx0wlh`. A tag after a colon is shortened for itself, so that a short one stays whole. Three full stops
/// rather than an ellipsis, which would turn the whole SMS into UTF-16 and double its price.
fn short_address(address: &str) -> String {
    let parts: Vec<String> = address.splitn(3, ':').map(short).collect();
    parts.join(":")
}

fn short(text: &str) -> String {
    let text = plain(text);
    let count = text.chars().count();
    if count <= 2 * END_CHARS + 4 {
        return text;
    }
    let head: String = text.chars().take(END_CHARS).collect();
    let tail: String = text.chars().skip(count - END_CHARS).collect();
    format!("{head}...{tail}")
}

/// Line breaks, controls and characters that turn or hide text become `?`: none may forge a line or an amount.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if hides(c) { '?' } else { c }).collect()
}

fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Fields that make up the sentence; the others follow with their names.
const SENTENCE: [&str; 4] = ["amount", "asset", "address", "network"];
const OTHERS_MAX: usize = 3;
const VALUE_CHARS_MAX: usize = 40;
/// Six at each end: four are cheap to forge with a vanity address.
const END_CHARS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases() -> Phrases {
        Phrases {
            transaction: "{site} {action}{what}. Code {code}.".into(),
            place: "{site} sign-in from {place}. Code {code}.".into(),
            to: " to {address}".into(),
            on: " on {network}".into(),
            more: "and {count} more".into(),
            long: "(see page)".into(),
        }
    }

    fn say(shown: &[(&str, &str)]) -> String {
        let phrases = phrases();
        let words = Words { phrases: &phrases, action: "withdrawal", field: &str::to_uppercase };
        let shown: Vec<Shown> = shown
            .iter()
            .map(|(name, value)| Shown { name: (*name).into(), value: (*value).into() })
            .collect();
        what(&words, &shown)
    }

    #[test]
    fn amount_asset_address_and_network_make_one_sentence() {
        let address = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh";
        assert_eq!(
            say(&[
                ("amount", "0.5"),
                ("asset", "BTC"),
                ("address", address),
                ("network", "Bitcoin"),
                ("memo", "7")
            ]),
            ": 0.5 BTC to bc1qxy...hx0wlh on Bitcoin; MEMO: 7"
        );
    }

    #[test]
    fn an_action_that_shows_nothing_says_nothing() {
        assert_eq!(say(&[]), "");
    }

    #[test]
    fn a_tag_after_the_address_stays_whole() {
        assert_eq!(short_address("rEb8TK3gBgk5auZkwc6sHnwrGVJH8DuaLh:777"), "rEb8TK...8DuaLh:777");
    }

    #[test]
    fn an_amount_that_does_not_fit_is_never_cut() {
        assert_eq!(say(&[("amount", &"9".repeat(41))]), ": (see page)");
    }

    #[test]
    fn a_batch_says_how_much_more_there_is() {
        let shown = [("amount", "1"), ("asset", "BTC"), ("amount", "2"), ("asset", "ETH")];
        assert_eq!(say(&shown), ": 1 BTC; and 2 more");
    }

    #[test]
    fn no_value_can_begin_a_line_or_turn_the_text() {
        assert_eq!(say(&[("asset", "BTC\n@evil.example #1")]), ": BTC?@evil.example #1");
        assert_eq!(say(&[("asset", "\u{202e}CTB")]), ": ?CTB");
    }

    #[test]
    fn a_filled_value_is_not_filled_again() {
        assert_eq!(fill("{a} {b} {c", &[("a", "{b}"), ("b", "x")]), "{b} x {c");
        assert_eq!(fill("{unknown} {a}", &[("a", "1")]), "{unknown} 1");
    }

    proptest::proptest! {
        #[test]
        fn any_shown_text_stays_on_one_line(name in ".{0,10}", value in "\\PC{0,60}|.{0,60}") {
            let line = say(&[(&name, &value), ("address", &value)]);
            // Names come from packs; values from clients.
            if !name.chars().any(hides) {
                proptest::prop_assert!(!line.chars().any(hides), "{line:?}");
            }
        }
    }
}
