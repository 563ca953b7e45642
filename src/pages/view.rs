//! The pages themselves: what each template is given.
//!
//! Never shows anything that is not in the stored challenge or the sentences. Invariant: a link back leads to this site.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Error, Value, context};
use serde::Serialize;

use super::inspect::{Expect, Form};
use super::respond::{Ctx, challenge_path, factors_path};
use super::said::Said;
use super::text::Table;
use super::thaw::THAW_PATH;
use super::times::{clock, date, machine, span};
use super::{AnswerResult, Language, NoText, Pages};
use crate::stepup::challenge::{Challenge, Destination, Scope, State};
use crate::stepup::device::Device;
use crate::stepup::message::fill;
use crate::stepup::passkey::BUILT;
use crate::types::Factor;

/// What an answer leaves beside the field on a page that is still open.
#[derive(Serialize)]
pub(super) struct Notice {
    /// `good` or `bad`.
    kind: &'static str,
    text: String,
}

/// One line of the transaction, with its name in the reader's language.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// `amount`, `address`, …: for the style sheet, and empty for what a pack invented.
    pub kind: &'static str,
    pub label: Cow<'a, str>,
    pub value: &'a str,
}

#[derive(Serialize)]
struct Link<'a> {
    href: Cow<'a, str>,
    text: &'a str,
}

/// How a page looks at first glance: its colours by `kind`, its picture by `icon`.
pub(super) struct Look<'a> {
    pub template: &'static str,
    pub kind: &'static str,
    pub icon: &'static str,
    pub title: &'a str,
    /// Where the same page is read in another language.
    pub address: Option<String>,
}

impl Pages {
    /// The page of a challenge in whatever state it is.
    pub(super) fn challenge_page(
        &self,
        challenge: &Challenge,
        notice: Option<Notice>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        match challenge.state_at(ctx.now) {
            State::Open if challenge.pending.is_some() || ctx.elsewhere => {
                self.enrol_page(challenge, notice, ctx)
            }
            State::Open => self.open_page(challenge, notice, ctx),
            State::Approved => self.approved_page(challenge, ctx),
            // An approval that lasts is used as soon as it is given; whoever gave it can still go on.
            State::Used if goes_on(challenge) => self.approved_page(challenge, ctx),
            closed => self.closed_page(challenge, closed.word(), ctx),
        }
    }

    fn open_page(
        &self,
        challenge: &Challenge,
        notice: Option<Notice>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let halfway = !challenge.proven.is_empty();
        let notice =
            notice.or_else(|| halfway.then(|| self.answer_notice(AnswerResult::More, ctx)));
        let transaction = challenge.approves_transaction();
        let title = if transaction {
            let action = table.action(challenge.action.as_str());
            fill(table.ui("transaction_title"), &[("action", &action)])
        } else {
            table.ui("place_title").to_owned()
        };
        let sent = challenge.sent.as_ref().filter(|sent| ctx.now < sent.expires);
        let asked = asked_for(challenge, sent.is_some(), ctx.factor);
        let field = match asked {
            Some(Factor::Sms) => sent.is_some(),
            other => other.is_some(),
        };
        let whys: Vec<&str> =
            challenge.requirement.terms.iter().filter_map(|term| term.why.as_deref()).collect();
        let lines = lines(table, challenge);
        let path = challenge_path(&challenge.id);
        let open = challenge.factors_open();
        let passkey = BUILT && open.contains(Factor::Webauthn);
        let values = context! {
            notice => Value::from(Serde(&notice)),
            approves_transaction => transaction,
            shown => Value::from(Serde(&lines)),
            destination => destination(table, challenge, ctx),
            whys => Value::from(Serde(&whys)),
            place => &*challenge.place,
            client => challenge.client.to_string(),
            device => device(table, challenge),
            asked_at => clock(challenge.created),
            address => &*path,
            csrf => ctx.csrf,
            // The factor that this page asks for; whether it has a field for its code yet; the others.
            factor => asked.map(Factor::word),
            field => field,
            passkey => passkey.then(|| sentences(table)),
            sent_to => sent.map(|sent| &*sent.masked_number),
            may_use_totp => asked != Some(Factor::Totp) && open.contains(Factor::Totp),
            may_use_recovery => asked != Some(Factor::Recovery) && open.contains(Factor::Recovery),
            may_use_sms => asked != Some(Factor::Sms) && open.contains(Factor::Sms),
            attempts_left => challenge.attempts_left,
            expires => clock(challenge.expires),
            ends => machine(challenge.expires),
        };
        let (kind, icon) = if transaction { ("transaction", "money") } else { ("place", "person") };
        let address = Some(match ctx.factor {
            Some(factor) => format!("{path}?with={}", factor.word()),
            None => path.clone(),
        });
        let look = Look { template: "challenge.html", kind, icon, title: &title, address };
        let answer = field.then_some(Form::of("/answer").with_code());
        // Where there is another way, a page without this one still serves.
        let alone = (passkey && asked.is_none()).then_some(Form::of("/answer").with_passkey());
        let forms = answer.into_iter().chain(alone).chain([Form::of("/reject")]).collect();
        let expect = Expect { lines: &lines, path: &path, csrf: ctx.csrf, forms };
        self.page(look, values, Some(&expect), ctx)
    }

    fn approved_page(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let text = match (&challenge.held, challenge.approves_transaction()) {
            (Some(_), _) => table.ui("approved_held"),
            (None, true) => table.ui("approved_repeat"),
            (None, false) => table.ui("approved_place"),
        };
        let (lines, path) = (lines(table, challenge), challenge_path(&challenge.id));
        let values = context! {
            text => text,
            shown => Value::from(Serde(&lines)),
            destination => destination(table, challenge, ctx),
            held => challenge.held.is_some(),
            return_to => own_path(challenge.return_to.as_deref()),
            address => &*path,
            csrf => ctx.csrf,
            expires => clock(challenge.expires),
            ends => machine(challenge.expires),
        };
        let look = Look {
            template: "approved.html",
            kind: "good",
            icon: "check",
            title: table.ui("approved_title"),
            address: Some(path.clone()),
        };
        let release = challenge.held.as_ref().map(|_| Form::of("/release"));
        let forms = release.into_iter().collect();
        let expect = Expect { lines: &lines, path: &path, csrf: ctx.csrf, forms };
        self.page(look, values, Some(&expect), ctx)
    }

    /// `word` is a state, or `frozen` for a rejection that froze the account.
    pub(super) fn closed_page(
        &self,
        challenge: &Challenge,
        word: &str,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let (title, text) = table.state(word);
        // Going back is for those who still want it: not after a refusal by the owner, nor after what may be done.
        let again = word == "expired" || word == "used" && !challenge.approves_transaction();
        let back = again.then_some(challenge.return_to.as_deref());
        let (lines, path) = (lines(table, challenge), challenge_path(&challenge.id));
        let values = context! {
            text => text,
            at => Value::from(()),
            why => Value::from(()),
            not_kept => word == "expired" && challenge.return_to.is_some() && challenge.approves_transaction(),
            shown => Value::from(Serde(&lines)),
            destination => destination(table, challenge, ctx),
            led_to => Value::from(()),
            return_to => own_path(back.flatten()),
            // Whoever refused may have more to fear than this one request.
            may_freeze => word == "rejected",
            address => &*path,
            csrf => ctx.csrf,
        };
        let (kind, icon) = match word {
            "used" => ("plain", "check"),
            "expired" => ("wait", "clock"),
            "locked" | "frozen" => ("bad", "lock"),
            _ => ("bad", "stop"),
        };
        let address = Some(path.clone());
        let look = Look { template: "closed.html", kind, icon, title, address };
        let expect = Expect { lines: &lines, path: &path, csrf: ctx.csrf, forms: Vec::new() };
        self.page(look, values, Some(&expect), ctx)
    }

    pub(super) fn refusal_page(&self, said: &Said, ctx: &Ctx<'_>) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let (title, text) = table.refusal(&said.kind);
        let (kind, icon) = match &*said.kind {
            "held" | "too_many" | "suspended" => ("wait", "clock"),
            "frozen" => ("bad", "lock"),
            "unavailable" | "bad_gateway" | "no_answer" | "too_slow" => ("wait", "warning"),
            "unknown_outcome" => ("bad", "warning"),
            "unauthenticated" | "signed_out" | "elsewhere" => ("place", "person"),
            "not_found" => ("plain", "question"),
            _ => ("bad", "stop"),
        };
        let end = said.until.or(said.again);
        let left = end.map(|end| end.since_ms(ctx.now));
        let over = left == Some(0);
        // Read again after its wait, a refusal is no refusal any more.
        let waited = over && matches!(&*said.kind, "held" | "too_many" | "suspended");
        let title = if waited { table.ui("wait_over_title") } else { title };
        let links = self.ways_on(said, over, table);
        let values = context! {
            what => &*said.kind,
            text => Some(text).filter(|_| !waited),
            why => said.why.as_deref().filter(|_| !waited),
            // A hold's end, or the time from which it may be tried again; and whether that has come.
            until => end.map(date),
            ends => end.map(machine),
            span => left.map(|left| span(table, left)),
            not_kept => said.form && !waited,
            over => over,
            links => Value::from(Serde(&links)),
        };
        let token = ctx.sign.and_then(|mac| said.token(ctx.site, mac));
        let address = token.map(|token| format!("/.stepgate/said/{token}"));
        let look = Look { template: "refusal.html", kind, icon, title, address };
        self.page(look, values, None, &Ctx { subject: &said.request, ..*ctx })
    }

    /// Where somebody can go who was refused. Nothing that may have been carried out is offered again.
    fn ways_on<'a>(&'a self, said: &'a Said, over: bool, table: &'a Table) -> Vec<Link<'a>> {
        let brand = self.brand();
        let back = own_path(said.back.as_deref()).map(Cow::Borrowed);
        let link = |href: &'a str, key| Link { href: href.into(), text: table.ui(key) };
        match &*said.kind {
            "unauthenticated" | "signed_out" => vec![link(&brand.sign_in, "sign_in")],
            "unknown_outcome" => vec![link(&brand.home, "look_at_account")],
            "held" | "too_many" | "suspended" if !over => vec![link(&brand.home, "home")],
            "held" | "too_many" | "suspended" | "unavailable" | "bad_gateway" | "no_answer"
            | "too_slow" => {
                let again = back.map(|href| Link { href, text: table.ui("try_again") });
                again.into_iter().chain([link(&brand.home, "home")]).collect()
            }
            "frozen" => {
                let asks = Link { href: THAW_PATH.into(), text: table.notice("thaw_submit") };
                vec![asks, link(&brand.home, "home")]
            }
            _ if said.enrol => {
                let href = factors_path(said.back.as_deref()).into();
                vec![Link { href, text: table.ui("enrol") }, link(&brand.home, "home")]
            }
            _ => {
                let again = back.filter(|_| said.form || &*said.kind == "elsewhere");
                let again = again.map(|href| Link { href, text: table.ui("again") });
                again.into_iter().chain([link(&brand.home, "home")]).collect()
            }
        }
    }

    /// The notice that an answer leaves on a page that is still open.
    pub(super) fn answer_notice(&self, result: AnswerResult, ctx: &Ctx<'_>) -> Notice {
        let kind = if result == AnswerResult::More { "good" } else { "bad" };
        Notice { kind, text: result.sentence(self.table(ctx.language)) }
    }

    pub(super) fn no_text_notice(
        &self,
        challenge: &Challenge,
        no_text: NoText,
        ctx: &Ctx<'_>,
    ) -> Notice {
        Notice { kind: "bad", text: no_text.sentence(challenge, self.table(ctx.language)) }
    }

    pub(super) fn not_kept_notice(&self, ctx: &Ctx<'_>) -> Notice {
        Notice { kind: "bad", text: self.table(ctx.language).ui("not_kept_yet").to_owned() }
    }

    pub(super) fn sent_notice(&self, number: &str, ctx: &Ctx<'_>) -> Notice {
        let text = fill(self.table(ctx.language).ui("sms_sent"), &[("number", number)]);
        Notice { kind: "good", text }
    }

    pub(super) fn page(
        &self,
        look: Look<'_>,
        values: Value,
        expect: Option<&Expect<'_>>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let brand = self.brand();
        let languages: Vec<Choice> = Language::ALL
            .into_iter()
            .filter_map(|language| Choice::of(language, look.address.as_deref()?, ctx.language))
            .collect();
        let values = context! {
            lang => ctx.language.tag(),
            language => ctx.language.name(),
            languages => Value::from(Serde(&languages)),
            site => ctx.site,
            home => &*brand.home,
            support => brand.support.as_deref(),
            logo => brand.logo.is_some(),
            brand_style => brand.css.is_some(),
            request => ctx.subject,
            kind => look.kind,
            icon => look.icon,
            title => look.title,
            t => Value::from(Serde(&table.ui)),
            ..values
        };
        self.render(look.template, &values, expect)
    }
}

/// One language of the switch.
#[derive(Serialize)]
struct Choice {
    tag: &'static str,
    name: &'static str,
    href: String,
    current: bool,
}

impl Choice {
    fn of(language: Language, address: &str, current: Language) -> Option<Self> {
        let mark = if address.contains('?') { '&' } else { '?' };
        let href = format!("{address}{mark}lang={}", language.tag());
        let current = language == current;
        Some(Self { tag: language.tag(), name: language.name(), href, current })
    }
}

pub(super) fn goes_on(challenge: &Challenge) -> bool {
    challenge.held.is_some() || matches!(challenge.scope, Scope::Place(_))
}

/// The one factor that the page asks for: the one that was chosen, else the one whose code is on its way, else the app.
fn asked_for(challenge: &Challenge, sent: bool, chosen: Option<Factor>) -> Option<Factor> {
    let open = challenge.factors_open();
    let typed = [Factor::Totp, Factor::Sms, Factor::Recovery];
    let preferred = if sent { [Factor::Sms, Factor::Totp] } else { [Factor::Totp, Factor::Sms] };
    chosen
        .into_iter()
        .chain(preferred)
        .chain([Factor::Recovery])
        .find(|factor| open.contains(*factor) && typed.contains(factor))
}

/// What the script for passkeys says, as JSON.
pub(super) fn sentences(table: &Table) -> String {
    let keys = ["passkey_unsupported", "passkey_not_given", "passkey_known", "passkey_failed"];
    let said: BTreeMap<&str, &str> = keys.into_iter().map(|key| (key, table.ui(key))).collect();
    serde_json::to_string(&said).unwrap_or_default()
}

pub(super) fn lines<'a>(table: &'a Table, challenge: &'a Challenge) -> Vec<Line<'a>> {
    let line = |shown: &'a crate::types::Shown| Line {
        kind: KINDS.into_iter().find(|kind| **kind == *shown.name).unwrap_or(""),
        label: table.field(&shown.name),
        value: &shown.value,
    };
    challenge.shown.iter().map(line).collect()
}

/// Lines that the style sheet knows.
const KINDS: [&str; 5] = ["amount", "asset", "address", "network", "tag"];

/// What the address book says of where it goes: `{known, text}`.
pub(super) fn destination(table: &Table, challenge: &Challenge, ctx: &Ctx<'_>) -> Option<Value> {
    let (known, text) = match challenge.destination? {
        Destination::Unknown => (false, table.ui("address_unknown").to_owned()),
        Destination::KnownSince(since) => {
            let span = span(table, ctx.now.since_ms(since));
            (true, fill(table.ui("address_known"), &[("span", &span)]))
        }
    };
    Some(context! { known => known, text => text })
}

fn device(table: &Table, challenge: &Challenge) -> Option<String> {
    challenge.device.as_ref().map(|device| device_words(table, device))
}

pub(super) fn device_words(table: &Table, device: &Device) -> String {
    match &device.system {
        None => device.program.to_string(),
        Some(system) => {
            let pairs = [("program", &*device.program), ("system", &**system)];
            fill(table.ui("device_on"), &pairs)
        }
    }
}

/// A path on this site, or nothing: `//host` and `/\host` would lead elsewhere.
pub(super) fn own_path(path: Option<&str>) -> Option<&str> {
    path.filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'))
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
}
