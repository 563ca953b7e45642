//! The page of a question whose request has gone its way: what became of it, and where to go from there.
//!
//! Never offers to send again what may have been carried out. Invariant: it says that nothing was sent only of what the
//! gateway itself stopped.

use http::{Response, StatusCode};
use minijinja::value::Serde;
use minijinja::{Error, Value, context};

use super::Pages;
use super::inspect::Expect;
use super::respond::{Ctx, challenge_path};
use super::times::date;
use super::view::{Look, destination, lines, own_path};
use crate::body::Body;
use crate::stepup::challenge::Challenge;
use crate::stepup::fate::Fate;
use crate::types::UnixMs;

/// How a fate is told.
struct Told<'a> {
    kind: &'static str,
    icon: &'static str,
    title: &'a str,
    /// With `{time}` where there is one.
    text: &'a str,
    at: Option<UnixMs>,
    /// Why, where the gateway refused it.
    why: Option<&'a str>,
    /// It is not kept; the way to where it can be started again.
    again: bool,
    led_to: Option<&'a str>,
}

impl Pages {
    /// What became of it. `status` is that of whatever asked.
    pub fn ended(
        &self,
        challenge: &Challenge,
        fate: &Fate,
        status: StatusCode,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        self.html(status, self.ended_page(challenge, fate, ctx), ctx)
    }

    pub(super) fn ended_page(
        &self,
        challenge: &Challenge,
        fate: &Fate,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let told = self.told(fate, ctx);
        let (lines, path) = (lines(table, challenge), challenge_path(&challenge.id));
        let back = challenge.return_to.as_deref().filter(|_| told.again);
        let values = context! {
            text => told.text,
            at => told.at.map(date),
            why => told.why,
            not_kept => told.again,
            shown => Value::from(Serde(&lines)),
            destination => destination(table, challenge, ctx),
            led_to => own_path(told.led_to),
            return_to => own_path(back),
            may_freeze => false,
            address => &*path,
            csrf => ctx.csrf,
        };
        let look = Look {
            template: "closed.html",
            kind: told.kind,
            icon: told.icon,
            title: told.title,
            address: Some(path.clone()),
        };
        let expect = Expect { lines: &lines, path: &path, csrf: ctx.csrf, forms: Vec::new() };
        self.page(look, values, Some(&expect), ctx)
    }

    fn told<'a>(&'a self, fate: &'a Fate, ctx: &Ctx<'_>) -> Told<'a> {
        let table = self.table(ctx.language);
        let plain = |kind, icon, title, text| Told {
            kind,
            icon,
            title: table.ui(title),
            text: table.ui(text),
            at: None,
            why: None,
            again: false,
            led_to: None,
        };
        match fate {
            Fate::Sending { .. } => plain("wait", "clock", "sending_title", "sending"),
            Fate::Accepted { at, led_to: None } => {
                Told { at: Some(*at), ..plain("good", "check", "sent_title", "sent_accepted") }
            }
            // Sites answer forms that they refuse with a page to go to as well.
            Fate::Accepted { at, led_to } => Told {
                at: Some(*at),
                led_to: led_to.as_deref(),
                ..plain("good", "check", "sent_title", "sent_answered")
            },
            Fate::Refused { at, led_to } => Told {
                at: Some(*at),
                led_to: led_to.as_deref(),
                ..plain("plain", "stop", "sent_title", "sent_refused")
            },
            Fate::Done { at } => {
                Told { at: Some(*at), ..plain("good", "check", "own_done_title", "own_done") }
            }
            Fate::NotDone { at } => {
                Told { at: Some(*at), ..plain("bad", "stop", "own_not_done_title", "own_not_done") }
            }
            Fate::Unknown { .. } => {
                let (title, text) = table.refusal("unknown_outcome");
                Told { title, text, ..plain("bad", "warning", "sent_title", "sending") }
            }
            Fate::NotSent { at, why } => Told {
                at: Some(*at),
                why: Some(table.refusal(why).1),
                again: true,
                ..plain("bad", "stop", "not_sent_title", "not_sent")
            },
            Fate::AskedAgain { .. } => {
                plain("plain", "question", "asked_again_title", "asked_again")
            }
        }
    }
}
