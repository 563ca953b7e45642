//! The sentences of each language, one TOML table per language, compiled in.
//!
//! Never falls back to another language for a sentence: every table has every key, a test sees to that. Only names of
//! actions and fields may be missing, because packs invent them; they are shown as the pack spells them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::language::Language;
use crate::stepup::message::Phrases;

type Section = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub ui: Section,
    api: Section,
    answer: Section,
    state_title: Section,
    state_text: Section,
    refusal_title: Section,
    refusal_text: Section,
    action: Section,
    field: Section,
    pub notice: Section,
    sms: Phrases,
}

/// The part of a table that a dialog in somebody's page needs.
#[derive(Debug, Serialize)]
pub(super) struct Script<'a> {
    language: &'static str,
    ui: &'a Section,
    action: &'a Section,
    field: &'a Section,
    state_title: &'a Section,
    state_text: &'a Section,
    more: &'a str,
    unavailable: &'a str,
}

impl Table {
    pub fn of(language: Language) -> Self {
        toml::from_str(source(language)).expect("a compiled-in table of sentences parses")
    }

    pub fn ui<'a>(&'a self, key: &'a str) -> &'a str {
        sentence(&self.ui, key)
    }
    pub fn api<'a>(&'a self, key: &'a str) -> &'a str {
        sentence(&self.api, key)
    }
    pub fn answer<'a>(&'a self, key: &'a str) -> &'a str {
        sentence(&self.answer, key)
    }
    /// Title and text of a challenge's state.
    pub fn state<'a>(&'a self, word: &'a str) -> (&'a str, &'a str) {
        (sentence(&self.state_title, word), sentence(&self.state_text, word))
    }
    /// Title and text of a refusal.
    pub fn refusal<'a>(&'a self, key: &'a str) -> (&'a str, &'a str) {
        (sentence(&self.refusal_title, key), sentence(&self.refusal_text, key))
    }
    pub fn action<'a>(&'a self, name: &'a str) -> Cow<'a, str> {
        name_or_own_words(&self.action, name)
    }
    pub fn field<'a>(&'a self, name: &'a str) -> Cow<'a, str> {
        name_or_own_words(&self.field, name)
    }
    /// What the script for single-page applications says, in its own words.
    pub fn script(&self, language: Language) -> Script<'_> {
        Script {
            language: language.tag(),
            ui: &self.ui,
            action: &self.action,
            field: &self.field,
            state_title: &self.state_title,
            state_text: &self.state_text,
            more: self.answer("more"),
            unavailable: self.refusal("unavailable").1,
        }
    }
    pub fn notice<'a>(&'a self, key: &'a str) -> &'a str {
        sentence(&self.notice, key)
    }
    pub fn sms(&self) -> &Phrases {
        &self.sms
    }
}

/// A missing sentence shows its key: ugly, and nothing breaks.
fn sentence<'a>(section: &'a Section, key: &'a str) -> &'a str {
    section.get(key).map_or(key, String::as_str)
}

fn name_or_own_words<'a>(section: &'a Section, name: &'a str) -> Cow<'a, str> {
    section.get(name).map_or_else(
        || Cow::Owned(name.replace(['_', '.'], " ")),
        |known| Cow::Borrowed(known.as_str()),
    )
}

fn source(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("text/en.toml"),
        Language::ZhTw => include_str!("text/zh-TW.toml"),
        Language::ZhCn => include_str!("text/zh-CN.toml"),
        Language::Ja => include_str!("text/ja.toml"),
        Language::De => include_str!("text/de.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ActionName, Factor};

    /// (section.key, the names in braces, sorted)
    fn shape(language: Language) -> Vec<(String, Vec<String>)> {
        let table: BTreeMap<String, Section> = toml::from_str(source(language)).unwrap();
        table
            .iter()
            .flat_map(|(section, sentences)| {
                sentences.iter().map(move |(key, text)| {
                    let mut names: Vec<String> = text
                        .split('{')
                        .skip(1)
                        .map(|tail| tail.split('}').next().unwrap().to_owned())
                        .collect();
                    names.sort();
                    (format!("{section}.{key}"), names)
                })
            })
            .collect()
    }

    #[test]
    fn every_language_has_every_key_with_the_same_values_to_fill_in() {
        for language in Language::ALL {
            assert_eq!(shape(language), shape(Language::En), "{language:?}");
        }
    }

    #[test]
    fn no_sentence_is_empty_or_holds_a_line_break() {
        for language in Language::ALL {
            let table: BTreeMap<String, Section> = toml::from_str(source(language)).unwrap();
            for (key, text) in table.values().flatten() {
                assert!(!text.trim().is_empty() && !text.contains('\n'), "{language:?} {key}");
            }
        }
    }

    #[test]
    fn every_state_and_every_factor_answer_has_its_sentences() {
        use crate::stepup::challenge::State;
        let table = Table::of(Language::En);
        for state in [
            State::Open,
            State::Approved,
            State::Used,
            State::Rejected,
            State::Expired,
            State::Locked,
        ] {
            assert!(table.state_title.contains_key(state.word()), "{state:?}");
            assert!(table.state_text.contains_key(state.word()), "{state:?}");
        }
        assert_eq!(
            table.refusal_title.keys().collect::<Vec<_>>(),
            table.refusal_text.keys().collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_sentence_of_the_pages_is_said_somewhere() {
        let said = [
            include_str!("html/base.html"),
            include_str!("html/parts.html"),
            include_str!("html/challenge.html"),
            include_str!("html/approved.html"),
            include_str!("html/closed.html"),
            include_str!("html/refusal.html"),
            include_str!("html/factors.html"),
            include_str!("html/enrol.html"),
            include_str!("html/enrolled.html"),
            include_str!("html/approvals.html"),
            include_str!("factors.rs"),
            include_str!("script/client.js"),
            include_str!("script/passkey.js"),
            include_str!("view.rs"),
            include_str!("ended.rs"),
            include_str!("times.rs"),
        ];
        let says = |text: &str, key: &str| {
            [format!("t.{key}"), format!("t.ui.{key}"), format!("\"{key}\"")]
                .iter()
                .any(|word| text.contains(word.as_str()))
        };
        for key in Table::of(Language::En).ui.keys() {
            assert!(said.iter().any(|text| says(text, key)), "ui.{key}");
        }
    }

    #[test]
    fn every_sentence_of_notices_is_said_somewhere_and_every_kind_has_its_own() {
        use crate::stepup::notice::{About, Change, FrozenBy};
        let change = |change| About::FactorChange { factor: Factor::Totp, change };
        let kinds = [
            About::RemoteLogin,
            change(Change::Added),
            change(Change::Replaced),
            change(Change::Removed),
            About::Locked,
            About::Frozen { by: FrozenBy::Owner },
            About::Frozen { by: FrozenBy::Rule },
            About::Frozen { by: FrozenBy::Operator },
            About::Thawed,
            About::ThawAsked { opens: crate::types::UnixMs(0) },
            About::Rule { action: ActionName::new("order"), shown: Vec::new(), why: None },
        ];
        let kinds = kinds
            .iter()
            .flat_map(|about| [about.sentence().to_owned(), format!("{}_text", about.sentence())]);
        let factors = Factor::ALL.map(|factor| format!("factor_{}", factor.word()));
        let computed: Vec<String> = kinds.chain(factors).collect();
        let table = Table::of(Language::En);
        for key in &computed {
            assert!(table.notice.contains_key(key), "notice.{key} is missing");
        }
        let said = [
            include_str!("html/not_me.html"),
            include_str!("html/mail.html"),
            include_str!("html/thaw.html"),
            include_str!("notices.rs"),
            include_str!("thaw.rs"),
            include_str!("view.rs"),
        ];
        for key in table.notice.keys().filter(|key| !computed.contains(key)) {
            let named = [format!("n.{key}"), format!("\"{key}\"")];
            let found = said.iter().any(|text| named.iter().any(|name| text.contains(name)));
            assert!(found, "notice.{key} is never said");
        }
    }

    #[test]
    fn names_that_packs_invent_are_shown_as_words() {
        let table = Table::of(Language::De);
        assert_eq!(table.action("withdrawal"), "Auszahlung");
        assert_eq!(table.action("lightning.pay_out"), "lightning pay out");
        assert_eq!(table.field("questionnaire"), "questionnaire");
    }
}
