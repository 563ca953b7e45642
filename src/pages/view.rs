//! The pages themselves: what each template is given.
//!
//! Never shows anything that is not in the stored challenge or the sentences. Invariant: a link back leads to this site.

use std::borrow::Cow;

use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;

use super::refusal::Refusal;
use super::respond::{Ctx, challenge_path};
use super::{AnswerResult, Pages, escape};
use crate::stepup::challenge::{Challenge, State};
use crate::stepup::message::fill;
use crate::types::{Factor, UnixMs};

/// A line above the forms.
#[derive(Serialize)]
pub(super) struct Notice {
    /// `good` or `bad`.
    kind: &'static str,
    text: String,
}

/// One line of the transaction, with its name in the reader's language.
#[derive(Serialize)]
struct Line<'a> {
    label: Cow<'a, str>,
    value: &'a str,
}

impl Pages {
    /// The page of a challenge in whatever state it is.
    pub(super) fn challenge_page(
        &self,
        challenge: &Challenge,
        notice: Option<Notice>,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        match challenge.state_at(ctx.now) {
            State::Open => self.open_page(challenge, notice, ctx),
            State::Approved => self.approved_page(challenge, ctx),
            closed => self.closed_page(challenge, closed.word(), ctx),
        }
    }

    fn open_page(
        &self,
        challenge: &Challenge,
        notice: Option<Notice>,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        let table = self.table(ctx.language);
        let factors = challenge.factors_open();
        let transaction = challenge.approves_transaction();
        let title = if transaction {
            let action = table.action(challenge.action.as_str());
            fill(table.ui("transaction_title"), &[("action", &action)])
        } else {
            table.ui("place_title").to_owned()
        };
        let sent = challenge.sent.as_ref().filter(|sent| ctx.now < sent.expires);
        let whys: Vec<&str> =
            challenge.requirement.terms.iter().filter_map(|term| term.why.as_deref()).collect();
        let values = context! {
            notice => Value::from(Serde(&notice)),
            approves_transaction => transaction,
            shown => self.lines(challenge, ctx),
            whys => Value::from(Serde(&whys)),
            place => &*challenge.place,
            client => challenge.client.to_string(),
            address => Value::from_safe_string(escape(&challenge_path(&challenge.id))),
            csrf => ctx.csrf,
            totp => factors.contains(Factor::Totp),
            sms => factors.contains(Factor::Sms),
            sent_to => sent.map(|sent| &*sent.masked_number),
            attempts_left => challenge.attempts_left,
            expires => time_of_day(challenge.expires),
        };
        let kind = if transaction { "transaction" } else { "place" };
        self.page("challenge.html", kind, &title, values, ctx)
    }

    fn approved_page(
        &self,
        challenge: &Challenge,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        let table = self.table(ctx.language);
        let text = match (&challenge.held, challenge.approves_transaction()) {
            (Some(_), _) => table.ui("approved_held"),
            (None, true) if challenge.return_to.is_none() => table.ui("approved_repeat"),
            (None, _) => table.ui("approved_place"),
        };
        let values = context! {
            text => text,
            shown => self.lines(challenge, ctx),
            held => challenge.held.is_some(),
            return_to => link(challenge.return_to.as_deref()),
            address => Value::from_safe_string(escape(&challenge_path(&challenge.id))),
            csrf => ctx.csrf,
            expires => time_of_day(challenge.expires),
        };
        self.page("approved.html", "good", table.ui("approved_title"), values, ctx)
    }

    /// `word` is a state, or `frozen` for a rejection that froze the account.
    pub(super) fn closed_page(
        &self,
        challenge: &Challenge,
        word: &str,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        let (title, text) = self.table(ctx.language).state(word);
        // Going back is for those who still want it: not after a refusal by the owner.
        let back = matches!(word, "used" | "expired").then_some(challenge.return_to.as_deref());
        let values = context! {
            text => text,
            shown => self.lines(challenge, ctx),
            return_to => link(back.flatten()),
        };
        let kind = if word == "used" { "plain" } else { "bad" };
        self.page("closed.html", kind, title, values, ctx)
    }

    pub(super) fn refusal_page(
        &self,
        refusal: &Refusal,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        let (title, text) = self.table(ctx.language).refusal(refusal.kind);
        let values = context! {
            text => text,
            why => refusal.why.as_deref(),
            until => refusal.until.map(date_and_time),
            retry_after_s => refusal.retry_after_s,
        };
        self.page("refusal.html", "bad", title, values, ctx)
    }

    /// The notice that an answer leaves on a page that is still open.
    pub(super) fn answer_notice(&self, result: AnswerResult, ctx: &Ctx<'_>) -> Notice {
        let kind = if result == AnswerResult::More { "good" } else { "bad" };
        Notice { kind, text: result.sentence(self.table(ctx.language)) }
    }

    pub(super) fn sent_notice(&self, number: &str, ctx: &Ctx<'_>) -> Notice {
        let text = fill(self.table(ctx.language).ui("sms_sent"), &[("number", number)]);
        Notice { kind: "good", text }
    }

    fn lines(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Value {
        let table = self.table(ctx.language);
        let lines: Vec<Line<'_>> = challenge
            .shown
            .iter()
            .map(|shown| Line { label: table.field(&shown.name), value: &shown.value })
            .collect();
        Value::from(Serde(lines))
    }

    fn page(
        &self,
        template: &str,
        kind: &str,
        title: &str,
        values: Value,
        ctx: &Ctx<'_>,
    ) -> Result<String, minijinja::Error> {
        let table = self.table(ctx.language);
        self.templates.get_template(template)?.render(context! {
            lang => ctx.language.tag(),
            site => ctx.site,
            request => ctx.request.as_str(),
            kind => kind,
            title => title,
            t => Value::from(Serde(&table.ui)),
            ..values
        })
    }
}

fn link(path: Option<&str>) -> Option<Value> {
    own_path(path).map(|path| Value::from_safe_string(escape(path)))
}

/// A path on this site, or nothing: `//host` and `/\host` would lead elsewhere.
fn own_path(path: Option<&str>) -> Option<&str> {
    path.filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'))
}

fn time_of_day(at: UnixMs) -> String {
    written(at, "%H:%M:%S")
}

/// To the second: cut to the minute, the end of a hold would be named before it comes.
pub(super) fn date_and_time(at: UnixMs) -> String {
    written(at, "%Y-%m-%d %H:%M:%S")
}

/// In UTC, and said so beside it. A time outside the calendar is written as its seconds.
fn written(at: UnixMs, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.seconds().to_string(), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_site_is_linked() {
        assert_eq!(own_path(Some("/wallet?tab=1")), Some("/wallet?tab=1"));
        for path in ["//evil.example", "/\\evil.example", "https://evil.example", "wallet", ""] {
            assert_eq!(own_path(Some(path)), None, "{path}");
        }
        assert_eq!(own_path(None), None);
    }

    #[test]
    fn times_are_written_in_utc_and_never_fail() {
        assert_eq!(time_of_day(UnixMs(1_790_000_000_000)), "14:13:20");
        assert_eq!(date_and_time(UnixMs(1_790_000_000_000)), "2026-09-21 14:13:20");
        assert_eq!(date_and_time(UnixMs(i64::MAX)), (i64::MAX / 1000).to_string());
    }
}
