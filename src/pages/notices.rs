//! What an account's contacts are told, in their language, and the page behind the link in it.
//!
//! Never says a code, and never a destination in a text message. Invariant: no value begins a line, turns the text or
//! escapes its markup, and nothing in a mail is fetched from anywhere.

use http::header::{HeaderValue, REFERRER_POLICY};
use http::{Response, StatusCode};
use minijinja::value::Serde;
use minijinja::{Error, Value, context};
use serde::Serialize;

use super::inspect::{Expect, Form};
use super::respond::{Ctx, json, json_bytes};
use super::text::Table;
use super::times::{date_and_time, minutes};
use super::view::{Line, Look, device_words};
use super::{Audience, Language, Pages};
use crate::body::Body;
use crate::stepup::message::{fill, plain};
use crate::stepup::notice::{About, Notice, is_one_segment};
use crate::types::UnixMs;

/// One notice as a mail says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailWords {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// How far the link of a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It can be used, until then.
    Open(UnixMs),
    /// It froze the account just now.
    Frozen,
    /// It froze the account before.
    Used(UnixMs),
    /// A freeze ended since, at this time: it freezes nothing.
    Settled(UnixMs),
}

impl Pages {
    /// One segment if that can be: the program and then the city are left out for it.
    pub fn notice_sms(&self, language: Language, notice: &Notice, link: &str) -> String {
        let table = self.table(language);
        let site = plain(&notice.site);
        let what = title(table, &notice.about);
        let time = minutes(notice.at);
        let whole = notice.place.as_deref().map(plain);
        let country = whole.as_deref().and_then(|place| place.rsplit(", ").next());
        let program = notice.device.as_ref().map(|device| plain(&device.program));
        let say = |place: Option<&str>, program: Option<&str>| {
            let details: Vec<&str> = place.into_iter().chain(program).chain([&*time]).collect();
            let details = details.join(", ");
            let values = [("site", &*site), ("what", &what), ("details", &details), ("link", link)];
            fill(table.notice("sms"), &values)
        };
        [(whole.as_deref(), program.as_deref()), (whole.as_deref(), None)]
            .into_iter()
            .map(|(place, program)| say(place, program))
            .find(|text| is_one_segment(text))
            .unwrap_or_else(|| say(country, None))
    }

    /// The same words as plain text and as HTML. `until`: how long the link can be used.
    pub fn notice_mail(
        &self,
        language: Language,
        notice: &Notice,
        link: &str,
        until: UnixMs,
    ) -> MailWords {
        let table = self.table(language);
        let (site, title) = (plain(&notice.site), title(table, &notice.about));
        let subject = fill(table.notice("subject"), &[("site", &site), ("what", &title)]);
        let (text, lines) = (words(table, &notice.about), facts(table, notice));
        let until = format!("{} UTC", date_and_time(until));
        let intro = match notice.about {
            About::ThawAsked { .. } => "keep_link",
            _ => "link_intro",
        };
        let intro = fill(table.notice(intro), &[("until", &until)]);
        let values = context! {
            lang => language.tag(),
            site => &*site,
            title => &*title,
            text => &*text,
            lines => Value::from(Serde(&lines)),
            intro => &*intro,
            link => link,
            n => Value::from(Serde(&table.notice)),
        };
        let html = self.mail_html(&values).unwrap_or_else(|error| {
            // The plain text says all of it.
            tracing::error!(%error, "the HTML of a mail cannot be rendered");
            String::new()
        });
        let mut plain = format!("{title}\n\n{text}\n\n");
        for line in &lines {
            plain.push_str(&format!("{}: {}\n", line.label, line.value));
        }
        let (fine, no_code) = (table.notice("fine"), table.notice("no_code"));
        plain.push_str(&format!("\n{intro}\n\n{link}\n\n{fine}\n{no_code}\n\n{site}\n"));
        MailWords { subject, text: plain, html }
    }

    /// `GET` and `POST /.stepgate/not-me/{id}`.
    pub fn not_me(
        &self,
        notice: &Notice,
        state: LinkState,
        path: &str,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        let mut response = match ctx.audience {
            Audience::Page => {
                self.html(StatusCode::OK, self.not_me_page(notice, state, path, ctx), ctx)
            }
            Audience::Api => json(StatusCode::OK, json_bytes(&Card::of(notice, state)), ctx),
        };
        // The address is the secret. That our own form then comes from `Origin: null` is known where it is read.
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    pub(super) fn not_me_page(
        &self,
        notice: &Notice,
        state: LinkState,
        path: &str,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let lines = facts(table, notice);
        let until = format!(
            "{} UTC",
            date_and_time(match state {
                LinkState::Open(at) | LinkState::Used(at) | LinkState::Settled(at) => at,
                LinkState::Frozen => ctx.now,
            })
        );
        let opens = match notice.about {
            About::ThawAsked { opens } => Some(format!("{} UTC", date_and_time(opens))),
            _ => None,
        };
        let (kind, icon, heading, text) = match (state, &opens) {
            (LinkState::Open(_), None) => ("place", "warning", "page_title", "page_intro"),
            (LinkState::Open(_), Some(_)) => ("place", "warning", "keep_title", "keep_text"),
            (LinkState::Frozen, None) => ("bad", "lock", "done_title", "done_text"),
            (LinkState::Frozen, Some(_)) => ("bad", "lock", "kept_title", "kept_text"),
            (LinkState::Used(_), _) => ("plain", "check", "used_title", "used_text"),
            (LinkState::Settled(_), _) => ("plain", "check", "settled_title", "settled_text"),
        };
        let time = match (state, &opens) {
            (LinkState::Open(_), Some(opens)) => opens,
            _ => &until,
        };
        let submit = if opens.is_some() { "keep_submit" } else { "page_submit" };
        let what = title(table, &notice.about);
        let said = words(table, &notice.about);
        let values = context! {
            what => &*what,
            said => &*said,
            lines => Value::from(Serde(&lines)),
            text => fill(table.notice(text), &[("time", time)]),
            submit => table.notice(submit),
            open => matches!(state, LinkState::Open(_)),
            until => fill(table.notice("page_until"), &[("time", &until)]),
            address => path,
            n => Value::from(Serde(&table.notice)),
        };
        let look = Look {
            template: "not_me.html",
            kind,
            icon,
            title: table.notice(heading),
            address: Some(path.to_owned()),
        };
        let form = matches!(state, LinkState::Open(_)).then_some(Form {
            step: "",
            code: false,
            passkey: false,
        });
        let forms = form.into_iter().collect();
        let shown: Vec<Line<'_>> = lines.iter().map(Fact::line).collect();
        let expect = Expect { lines: &shown, path, csrf: "", forms };
        self.page(look, values, Some(&expect), ctx)
    }
}

/// What happened, in few words.
fn title(table: &Table, about: &About) -> String {
    let named = match about {
        About::FactorChange { factor, .. } => {
            ("factor", table.notice(&format!("factor_{}", factor.word())).to_owned())
        }
        About::Rule { action, .. } if action.as_str() == "ordinary" => {
            ("action", table.notice("ordinary").to_owned())
        }
        About::Rule { action, .. } => ("action", plain(&table.action(action.as_str()))),
        About::ThawAsked { opens } => ("time", minutes(*opens)),
        _ => ("", String::new()),
    };
    fill(table.notice(about.sentence()), &[(named.0, &named.1)])
}

/// The same as a sentence.
fn words(table: &Table, about: &About) -> String {
    let text = table.notice(&format!("{}_text", about.sentence())).to_owned();
    match about {
        About::Rule { why: Some(why), .. } => format!("{text} {}", plain(why)),
        About::ThawAsked { opens } => {
            fill(&text, &[("time", &format!("{} UTC", date_and_time(*opens)))])
        }
        _ => text,
    }
}

/// What, when, where and with what: each on its line.
fn facts(table: &Table, notice: &Notice) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut say = |label: String, value: String| facts.push(Fact { label, value });
    if let About::Rule { shown, .. } = &notice.about {
        for line in shown.iter().take(SHOWN_MAX) {
            say(plain(&table.field(&line.name)), plain(&line.value));
        }
    }
    say(table.notice("when").to_owned(), format!("{} UTC", date_and_time(notice.at)));
    if let Some(place) = &notice.place {
        say(table.notice("where").to_owned(), plain(place));
    }
    if let Some(device) = &notice.device {
        say(table.ui("device").to_owned(), device_words(table, device));
    }
    facts
}

/// One line of a notice.
#[derive(Serialize)]
struct Fact {
    label: String,
    value: String,
}

impl Fact {
    fn line(&self) -> Line<'_> {
        Line { kind: "", label: self.label.as_str().into(), value: &self.value }
    }
}

/// A notice as a program reads it.
#[derive(Serialize)]
struct Card<'a> {
    /// `open`, `frozen`, `used`, `settled`.
    state: &'static str,
    what: &'static str,
    at: i64,
    site: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
}

impl<'a> Card<'a> {
    fn of(notice: &'a Notice, state: LinkState) -> Self {
        Self {
            state: match state {
                LinkState::Open(_) => "open",
                LinkState::Frozen => "frozen",
                LinkState::Used(_) => "used",
                LinkState::Settled(_) => "settled",
            },
            what: notice.about.word(),
            at: notice.at.seconds(),
            site: &notice.site,
            place: notice.place.as_deref(),
        }
    }
}

/// Lines of a transaction in one notice.
const SHOWN_MAX: usize = 12;
