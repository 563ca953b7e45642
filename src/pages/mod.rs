//! What people and API clients are answered by the gateway itself: pages, JSON, refusals.
//!
//! Never decides anything and never reads a request's parameters. Invariant: a page shows the stored transaction, each
//! value escaped and isolated, and needs no script.
//!
//! A new page is: a template in `html/`, named in `templates`; a function in `view` that gives it its values; its
//! sentences in every `text/*.toml`; a sample in `samples`, with which an operator's own version of it is tried; and a
//! line in `tests/clients/pages.py`, where a real browser looks at it. Text of a message is made like `sms` here.

mod assets;
mod audience;
mod brand;
mod csp;
pub mod csrf;
mod ended;
pub mod factors;
pub mod inject;
mod inspect;
pub mod language;
mod notices;
pub mod outcome;
mod qr;
mod refusal;
pub mod respond;
mod said;
mod samples;
mod templates;
mod text;
pub mod thaw;
mod times;
mod view;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use minijinja::{Environment, Error, ErrorKind, Value};

pub use audience::{Audience, audience};
pub use language::Language;
pub use notices::{LinkState, MailWords};
pub use outcome::{AnswerResult, NoText};
pub use refusal::kind_of;
pub use respond::{Ctx, Native};
pub use times::written_out as written;

use crate::fault::{Fault, Source};
use crate::stepup::challenge::Challenge;
use crate::stepup::code::Code;
use crate::stepup::message::{self, Words, fill};
use crate::types::{Factor, FactorSet};
use brand::Brand;
use inspect::{Expect, Page};
use text::Table;

/// Templates and sentences; made once at start, and again for a site with a look of its own at each reload.
pub struct Pages {
    templates: Environment<'static>,
    tables: [Table; Language::ALL.len()],
    branded: Option<Branded>,
    brand: Brand,
}

/// An operator's own templates over the compiled-in ones.
struct Branded {
    templates: Environment<'static>,
    /// They are being tried: what is wrong is said, and nothing takes their place.
    trial: bool,
}

impl Pages {
    /// # Panics
    /// Never in a build whose tests pass: templates and sentences are part of the program.
    pub fn new() -> Self {
        let templates = templates::environment([]).expect("a compiled-in template parses");
        let tables = Language::ALL.map(Table::of);
        Self { templates, tables, branded: None, brand: Brand::default() }
    }

    /// Those of every site without a look of its own.
    pub fn plain() -> Arc<Self> {
        static PLAIN: LazyLock<Arc<Pages>> = LazyLock::new(Arc::default);
        PLAIN.clone()
    }

    /// Those of a site whose look is in this folder. Every page is tried in every language before any is used.
    /// `named` is where the configuration names it.
    pub fn branded(
        folder: &Path,
        named: (&Source, Range<usize>),
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let brand = Brand::read(folder, named, faults)?;
        let before = faults.len();
        let own: Vec<(&str, &str)> = brand.templates.iter().map(by_name).collect();
        // One by one first, so that the faults of all are said at once.
        for (source, one) in brand.templates.iter().zip(&own) {
            let parsed = templates::environment([*one]);
            faults.extend(parsed.err().map(|error| of_template(source, &error)));
        }
        if faults.len() > before {
            return None;
        }
        let templates = templates::environment(own).ok().filter(|_| !brand.templates.is_empty());
        let branded = templates.map(|templates| Branded { templates, trial: true });
        let mut pages = Self { branded, brand, ..Self::new() };
        if let Err((template, error)) = pages.try_all() {
            let own = &pages.brand.templates;
            let called = |name: &str| own.iter().find(|source| by_name(source).0 == name);
            let blamed = error.name().and_then(called).or_else(|| called(template)).or(own.first());
            faults.extend(blamed.map(|source| of_template(source, &error)));
            return None;
        }
        if let Some(branded) = &mut pages.branded {
            branded.trial = false;
        }
        Some(pages)
    }

    /// The site's name for people.
    pub fn name<'a>(&'a self, site: &'a str) -> &'a str {
        self.brand.name.as_deref().unwrap_or(site)
    }

    fn brand(&self) -> &Brand {
        &self.brand
    }

    /// An operator's template that fails after all, or leaves something out that an owner must see, is not used.
    fn render(
        &self,
        template: &str,
        values: &Value,
        expect: Option<&Expect<'_>>,
    ) -> Result<String, Error> {
        if let Some(branded) = &self.branded {
            match branded.render(template, values, expect) {
                Ok(page) => return Ok(page),
                Err(error) if branded.trial => return Err(error),
                Err(error) => {
                    tracing::error!(%error, template, "a brand's template is not used");
                }
            }
        }
        self.templates.get_template(template)?.render(values)
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

    /// What the account would have to enrol.
    pub fn lacking(&self, language: Language, wanted: FactorSet, usable: FactorSet) -> String {
        let table = self.table(language);
        let missing: Vec<_> = wanted.iter().filter(|factor| !usable.contains(*factor)).collect();
        if missing.len() == wanted.iter().count() {
            return table.answer("lacking_all").to_owned();
        }
        let words = missing.into_iter().map(|factor| match factor {
            Factor::Totp => table.answer("lacking_totp"),
            Factor::Sms => table.answer("lacking_sms"),
            Factor::Webauthn => table.answer("lacking_webauthn"),
            Factor::Recovery => table.answer("lacking_recovery"),
            other => other.word(),
        });
        let words = words.collect::<Vec<_>>().join(table.answer("lacking_and"));
        fill(table.answer("lacking_some"), &[("factors", &words)])
    }

    pub fn no_passkey(&self, language: Language) -> &str {
        self.table(language).answer("no_passkey")
    }

    /// There is no room for another passkey.
    pub fn passkeys_full(&self, language: Language) -> &str {
        self.table(language).answer("passkeys_full")
    }

    /// Another browser began it.
    pub fn other_browser(&self, language: Language) -> &str {
        self.table(language).answer("other_browser")
    }

    /// A factor is there, and has to wait.
    pub fn too_young(&self, language: Language) -> &str {
        self.table(language).answer("too_young")
    }

    /// None of the account's factors works.
    pub fn no_factor(&self, language: Language) -> &str {
        self.table(language).ui("no_factor")
    }

    /// An API key does not change factors.
    pub fn not_by_key(&self, language: Language) -> &str {
        self.table(language).answer("not_by_key")
    }

    pub fn bad_number(&self, language: Language) -> &str {
        self.table(language).answer("bad_number")
    }

    /// Recovery codes need something that they recover.
    pub fn codes_alone(&self, language: Language) -> &str {
        self.table(language).answer("codes_alone")
    }

    pub fn no_number(&self, language: Language) -> &str {
        self.table(language).answer("no_number")
    }

    /// Never an operator's own: what a mail holds is not looked at like a page.
    fn mail_html(&self, values: &Value) -> Result<String, Error> {
        self.templates.get_template("mail.html")?.render(values)
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

impl Branded {
    fn render(
        &self,
        template: &str,
        values: &Value,
        expect: Option<&Expect<'_>>,
    ) -> Result<String, Error> {
        let text = self.templates.get_template(template)?.render(values)?;
        let page = Page::read(&text);
        let missing = expect.and_then(|expect| expect.missing_in(&page));
        match missing.or(page.forbidden) {
            Some(why) => Err(Error::new(ErrorKind::InvalidOperation, why)),
            None => Ok(text),
        }
    }
}

/// A template's name and text.
fn by_name(source: &Source) -> (&str, &str) {
    let name = source.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    (name, &source.text)
}

fn of_template(source: &Source, error: &Error) -> Fault {
    let own = error.name() == Some(by_name(source).0);
    let line = error.line().and_then(|line| line_of(&source.text, line));
    let span = error.range().or(line).filter(|_| own).unwrap_or(0..0);
    let said = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    Fault::new(source, span, said).help("the template of the same name in src/pages/html works")
}

/// The bytes of a line, counted from 1.
fn line_of(text: &str, line: usize) -> Option<Range<usize>> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let length = text.get(start..)?.lines().next().map_or(0, str::len);
    Some(start..start + length)
}
