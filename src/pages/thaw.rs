//! The page of a frozen account: since when, by whom, when it ends, and the button by which its owner asks for that.
//!
//! Never says more of who froze it than that: an operator's name and a rule's are not the owner's to know. Invariant: the
//! button is offered only to whom it can help.

use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use minijinja::{Error, Value, context};
use serde::Serialize;

use super::inspect::{Expect, Form};
use super::respond::{Ctx, json, json_bytes, whole};
use super::times::{date, machine, span};
use super::view::Look;
use super::{Audience, Language, Pages};
use crate::body::Body;
use crate::stepup::message::fill;
use crate::store::Freeze;

/// Where it is.
pub const THAW_PATH: &str = "/.stepgate/thaw";

/// What it tells.
#[derive(Clone, Debug)]
pub struct ThawView {
    pub frozen: Option<Freeze>,
    /// The account has a factor that is strong enough and can be used.
    pub has_factor: bool,
    pub delay_ms: u64,
}

impl ThawView {
    /// Whether asking would change anything.
    pub fn may_ask(&self) -> bool {
        let waits = |freeze: &Freeze| freeze.opens.is_none() && !freeze.by_operator();
        self.has_factor && self.frozen.as_ref().is_some_and(waits)
    }
}

impl Pages {
    /// `GET /.stepgate/thaw`.
    pub fn thaw(&self, view: &ThawView, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => self.html(StatusCode::OK, self.thaw_page(view, ctx), ctx),
            Audience::Api => json(StatusCode::OK, json_bytes(&Card::of(view)), ctx),
        }
    }

    /// `POST /.stepgate/thaw`: it was asked for.
    pub fn thaw_asked(&self, view: &ThawView, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => {
                let status = StatusCode::SEE_OTHER;
                let mut response = whole(status, "text/plain; charset=utf-8", "", ctx);
                response.headers_mut().insert(LOCATION, HeaderValue::from_static(THAW_PATH));
                response
            }
            Audience::Api => json(StatusCode::ACCEPTED, json_bytes(&Card::of(view)), ctx),
        }
    }

    /// Why an owner cannot ask: an operator froze it, or there is nothing to confirm it with.
    pub fn no_thaw(&self, language: Language, by_operator: bool) -> &str {
        let key = if by_operator { "thaw_operator" } else { "thaw_needs" };
        self.table(language).notice(key)
    }

    pub(super) fn thaw_page(&self, view: &ThawView, ctx: &Ctx<'_>) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let frozen = view.frozen.as_ref();
        let opens = frozen.and_then(|freeze| freeze.opens);
        let (title, text) = match frozen {
            None => ("thaw_none_title", table.notice("thaw_none").to_owned()),
            Some(freeze) if freeze.opens.is_some() => {
                ("thaw_title", table.refusal("frozen").1.to_owned())
            }
            Some(_) if view.may_ask() => {
                let wait = span(table, view.delay_ms);
                ("thaw_title", fill(table.notice("thaw_intro"), &[("span", &wait)]))
            }
            Some(freeze) => {
                ("thaw_title", self.no_thaw(ctx.language, freeze.by_operator()).to_owned())
            }
        };
        let by = frozen.map(|freeze| match by(freeze) {
            "operator" => table.notice("thaw_by_operator"),
            "rule" => table.notice("thaw_by_rule"),
            _ => table.notice("thaw_by_owner"),
        });
        let values = context! {
            text => text,
            since => frozen.map(|freeze| date(freeze.since)),
            by => by,
            until => opens.map(date),
            ends => opens.map(machine),
            may_ask => view.may_ask(),
            address => THAW_PATH,
            csrf => ctx.csrf,
            n => Value::from(minijinja::value::Serde(&table.notice)),
        };
        let (kind, icon) = match frozen {
            Some(_) => ("bad", "lock"),
            None => ("good", "check"),
        };
        let look = Look {
            template: "thaw.html",
            kind,
            icon,
            title: table.notice(title),
            address: Some(THAW_PATH.to_owned()),
        };
        let form = view.may_ask().then_some(Form::of(""));
        let forms = form.into_iter().collect();
        let expect = Expect { lines: &[], path: THAW_PATH, csrf: ctx.csrf, forms };
        self.page(look, values, Some(&expect), ctx)
    }
}

/// `operator`, `rule` or `owner`.
fn by(freeze: &Freeze) -> &'static str {
    match &*freeze.by {
        _ if freeze.by_operator() => "operator",
        by if by.starts_with("rule") => "rule",
        _ => "owner",
    }
}

/// The same for programs.
#[derive(Serialize)]
struct Card {
    /// `frozen`, `not_frozen`.
    state: &'static str,
    may_ask: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// From then on the account is not frozen any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_at: Option<i64>,
}

impl Card {
    fn of(view: &ThawView) -> Self {
        let frozen = view.frozen.as_ref();
        Self {
            state: if frozen.is_some() { "frozen" } else { "not_frozen" },
            may_ask: view.may_ask(),
            since: frozen.map(|freeze| freeze.since.seconds()),
            by: frozen.map(by),
            // Rounded up: whoever comes then finds it over.
            opens_at: frozen
                .and_then(|freeze| freeze.opens)
                .map(|at| at.0.saturating_add(999).div_euclid(1000)),
        }
    }
}
