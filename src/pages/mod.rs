//! What people and API clients are answered by the gateway itself: pages, JSON, refusals.
//!
//! Never decides anything and never reads a request's parameters. Invariant: a page shows the stored transaction, each
//! value escaped and isolated, and needs no script.

mod assets;
mod audience;
mod csp;
pub mod csrf;
pub mod inject;
pub mod language;
pub mod outcome;
mod refusal;
pub mod respond;
mod text;
mod view;

use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

pub use audience::{Audience, audience};
pub use language::Language;
pub use outcome::AnswerResult;
pub use respond::{Ctx, Native};

use crate::stepup::challenge::Challenge;
use crate::stepup::code::Code;
use crate::stepup::message::{self, Words, fill};
use text::Table;

/// Templates and sentences, compiled in; made once at start.
pub struct Pages {
    templates: Environment<'static>,
    tables: [Table; Language::ALL.len()],
}

impl Pages {
    /// # Panics
    /// Never in a build whose tests pass: templates and sentences are part of the program.
    pub fn new() -> Self {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // Whatever a template is called, its values are escaped for HTML.
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.add_filter("fill", fill_filter);
        templates.add_filter("grouped", grouped);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source).expect("a compiled-in template parses");
        }
        Self { templates, tables: Language::ALL.map(Table::of) }
    }

    /// The text of an SMS for this challenge. `site` is the site's name for people, `host` has no port.
    pub fn sms(
        &self,
        language: Language,
        challenge: &Challenge,
        site: &str,
        host: &str,
        code: &Code,
    ) -> String {
        let table = self.table(language);
        let field = |name: &str| table.field(name).into_owned();
        let action = table.action(challenge.action.as_str());
        let words = Words { phrases: table.sms(), action: &action, field: &field };
        message::text(&words, challenge, site, host, code)
    }

    fn table(&self, language: Language) -> &Table {
        let [en, zh_tw, zh_cn, ja, de] = &self.tables;
        match language {
            Language::En => en,
            Language::ZhTw => zh_tw,
            Language::ZhCn => zh_cn,
            Language::Ja => ja,
            Language::De => de,
        }
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::new()
    }
}

/// `{{ t.valid_until|fill(time=expires) }}`. The result is escaped like any other text.
fn fill_filter(template: &str, values: Kwargs) -> Result<String, minijinja::Error> {
    let mut pairs = Vec::new();
    for name in values.args() {
        pairs.push((name, values.get::<Value>(name)?.to_string()));
    }
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, &**value)).collect();
    Ok(fill(template, &pairs))
}

/// An address-like value in groups of four, set apart by style and not by characters: a copy of it is the value.
fn grouped(value: &str) -> Value {
    let whole = escape(value);
    if !is_address_like(value) {
        return Value::from_safe_string(whole);
    }
    let characters: Vec<char> = value.chars().collect();
    let groups: Vec<String> = characters
        .chunks(4)
        .map(|group| format!("<span>{}</span>", escape(&group.iter().collect::<String>())))
        .collect();
    let groups = groups.join("<wbr>");
    Value::from_safe_string(format!(r#"<data class="grouped" value="{whole}">{groups}</data>"#))
}

/// Long, without spaces, with a letter (an amount has none) and not an e-mail address.
fn is_address_like(value: &str) -> bool {
    value.len() > 16
        && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// For text and quoted attributes. A slash is harmless in both, and addresses stay readable.
fn escape(text: &str) -> String {
    minijinja::HtmlEscape(text).to_string().replace("&#x2f;", "/")
}

const TEMPLATES: [(&str, &str); 6] = [
    ("base.html", include_str!("html/base.html")),
    ("parts.html", include_str!("html/parts.html")),
    ("challenge.html", include_str!("html/challenge.html")),
    ("approved.html", include_str!("html/approved.html")),
    ("closed.html", include_str!("html/closed.html")),
    ("refusal.html", include_str!("html/refusal.html")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_grouped_by_elements_only() {
        let shown = grouped("bc1qxy2kgdygjrsqtz<").to_string();
        assert_eq!(
            shown,
            "<data class=\"grouped\" value=\"bc1qxy2kgdygjrsqtz&lt;\"><span>bc1q</span><wbr>\
             <span>xy2k</span><wbr><span>gdyg</span><wbr><span>jrsq</span><wbr>\
             <span>tz&lt;</span></data>"
        );
    }

    #[test]
    fn amounts_and_short_values_are_not_grouped() {
        assert_eq!(grouped("0.000000000000000001").to_string(), "0.000000000000000001");
        assert_eq!(grouped("USDT-TRC20").to_string(), "USDT-TRC20");
        assert_eq!(grouped("<b>").to_string(), "&lt;b&gt;");
    }

    proptest::proptest! {
        #[test]
        fn no_value_escapes_its_markup(value in ".{0,40}|[!-~]{17,40}") {
            let shown = grouped(&value).to_string();
            let bare = shown
                .replace("<data class=\"grouped\" value=\"", "")
                .replace("\"><span>", "")
                .replace("</span></data>", "")
                .replace("</span><wbr><span>", "");
            proptest::prop_assert!(!bare.contains(['<', '>', '"']), "{bare}");
        }
    }
}
