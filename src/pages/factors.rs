//! The pages about an account's own factors: what it has, how one is enrolled, and what waits for its owner.
//!
//! Never shows a secret twice: what is enrolled is shown masked. Invariant: every form carries the token of its page and
//! credential.

use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use minijinja::value::Serde;
use minijinja::{Error, Value, context};
use serde::Serialize;
use zeroize::Zeroizing;

use super::inspect::{Expect, Form};
use super::language::Language;
use super::qr;
use super::respond::{Ctx, challenge_path, factors_path, json, json_bytes};
use super::times::{clock, date, machine};
use super::view::{Look, Notice, lines, own_path, sentences};
use super::{Audience, Pages};
use crate::body::Body;
use crate::stepup::challenge::Challenge;
use crate::stepup::message::fill;
use crate::stepup::passkey::Listed;
use crate::stepup::recovery::RecoveryCode;
use crate::store::FactorCard;
use crate::types::{Factor, Shown, UnixMs};

/// What an authenticator app has to be told.
pub struct Secret {
    uri: Zeroizing<String>,
    key: Zeroizing<String>,
    /// The address as a picture, and the length of its side.
    qr: Zeroizing<String>,
    side: usize,
}

impl Secret {
    pub fn new(uri: &str, key: &str) -> Self {
        let (qr, side) = qr::svg_path(uri).unwrap_or_default();
        Self { uri: uri.to_owned().into(), key: key.to_owned().into(), qr: qr.into(), side }
    }
}

/// What was just enrolled, with the recovery codes that came with it.
pub struct Codes {
    factor: Factor,
    usable_from: UnixMs,
    codes: Vec<Zeroizing<String>>,
}

impl Codes {
    pub fn of(factor: Factor, usable_from: UnixMs, codes: &[RecoveryCode]) -> Self {
        Self { factor, usable_from, codes: codes.iter().map(RecoveryCode::shown).collect() }
    }
}

/// What can be added.
#[derive(Clone, Copy, Debug)]
pub struct MayAdd {
    pub totp: bool,
    pub sms: bool,
    pub webauthn: bool,
    pub recovery: bool,
}

impl MayAdd {
    fn words(self) -> Vec<&'static str> {
        let all = [
            (self.totp, Factor::Totp),
            (self.sms, Factor::Sms),
            (self.webauthn, Factor::Webauthn),
            (self.recovery, Factor::Recovery),
        ];
        all.into_iter().filter(|(may, _)| *may).map(|(_, factor)| factor.word()).collect()
    }
}

impl Pages {
    /// What a factor is called.
    pub fn factor(&self, language: Language, factor: Factor) -> &str {
        let table = self.table(language);
        match factor {
            Factor::Totp => table.ui("factor_totp"),
            Factor::Sms => table.ui("factor_sms"),
            Factor::Recovery => table.ui("factor_recovery"),
            Factor::Webauthn => table.ui("factor_webauthn"),
            Factor::Mail | Factor::External => factor.word(),
        }
    }

    /// What one of several passkeys is called.
    pub fn passkey_number(&self, language: Language, number: u32) -> String {
        fill(self.table(language).ui("passkey_number"), &[("number", &number.to_string())])
    }

    /// `GET /.stepgate/factors`.
    pub fn factors(
        &self,
        cards: &[FactorCard],
        passkeys: &[Listed],
        may: MayAdd,
        back: Option<&str>,
        ctx: &Ctx<'_>,
    ) -> Response<Body> {
        match ctx.audience {
            Audience::Page => {
                let page = self.factors_page(cards, passkeys, may, back, ctx);
                self.html(StatusCode::OK, page, ctx)
            }
            Audience::Api => {
                let factors: Vec<_> =
                    cards.iter().map(|card| Card::of(card, self, passkeys, ctx)).collect();
                let body = serde_json::json!({ "factors": factors, "can_add": may.words() });
                json(StatusCode::OK, json_bytes(&body), ctx)
            }
        }
    }

    pub(super) fn factors_page(
        &self,
        cards: &[FactorCard],
        passkeys: &[Listed],
        may: MayAdd,
        back: Option<&str>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        // If that is still to come.
        let young = |usable_from: UnixMs| (ctx.now < usable_from).then(|| date(usable_from));
        let listed: Vec<Value> = passkeys
            .iter()
            .map(|one| {
                context! {
                    number => one.number,
                    name => self.passkey_number(ctx.language, one.number),
                    since => date(one.since),
                    usable_from => young(one.usable_from),
                }
            })
            .collect();
        let shows = |card: &FactorCard| {
            let one_of_a_kind = !matches!(card.factor, Factor::Recovery | Factor::Webauthn);
            let label = one_of_a_kind.then_some(card.label.as_str());
            context! {
                word => card.factor.word(),
                name => self.factor(ctx.language, card.factor),
                label => label,
                since => date(card.since),
                usable_from => young(card.usable_from),
                passkeys => (card.factor == Factor::Webauthn).then_some(&listed),
                disabled => card.disabled,
                codes_left => card.codes_left,
            }
        };
        let known: Vec<Value> = cards.iter().map(shows).collect();
        let has = |factor: Factor| cards.iter().any(|card| card.factor == factor);
        let values = context! {
            factors => known,
            may_totp => may.totp,
            may_sms => may.sms,
            may_webauthn => may.webauthn,
            may_recovery => may.recovery,
            has_totp => has(Factor::Totp),
            has_sms => has(Factor::Sms),
            has_recovery => has(Factor::Recovery),
            return_to => own_path(back),
            address => factors_path(None),
            csrf => ctx.csrf,
        };
        let look = Look {
            template: "factors.html",
            kind: "plain",
            icon: "lock",
            title: table.ui("factors_title"),
            address: Some(factors_path(back)),
        };
        self.page(look, values, None, ctx)
    }

    /// Something was asked to be enrolled: this is where it is shown to work.
    pub fn waits(&self, challenge: &Challenge, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => see_other(&challenge_path(&challenge.id), ctx),
            Audience::Api => {
                let body = Waits {
                    challenge_id: challenge.id.as_str(),
                    challenge_url: &format!(
                        "https://{}{}",
                        ctx.host,
                        challenge_path(&challenge.id)
                    ),
                    factor: challenge.pending.as_ref().map(|pending| pending.factor.word()),
                    expires_at: challenge.expires.seconds(),
                    otpauth: ctx.secret.map(|secret| secret.uri.as_str()),
                    secret: ctx.secret.map(|secret| secret.key.as_str()),
                };
                json(StatusCode::CREATED, json_bytes(&body), ctx)
            }
        }
    }

    /// The page of a factor that waits to be shown to work.
    pub(super) fn enrol_page(
        &self,
        challenge: &Challenge,
        notice: Option<Notice>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let factor = challenge.pending.as_ref().map_or(Factor::Totp, |pending| pending.factor);
        let sent = challenge.sent.as_ref().filter(|sent| ctx.now < sent.expires);
        let here = !ctx.elsewhere;
        let field = here
            && match factor {
                Factor::Sms => sent.is_some(),
                other => other != Factor::Webauthn,
            };
        let passkey = here && factor == Factor::Webauthn;
        let lines = lines(table, challenge);
        let path = challenge_path(&challenge.id);
        let title = match factor {
            _ if ctx.elsewhere => &*table.action(challenge.action.as_str()),
            Factor::Sms => table.ui("enrol_sms_title"),
            Factor::Webauthn => table.ui("passkey_add"),
            _ => table.ui("enrol_totp_title"),
        };
        let values = context! {
            notice => Value::from(Serde(&notice)),
            shown => Value::from(Serde(&lines)),
            factor => factor.word(),
            elsewhere => ctx.elsewhere.then(|| table.answer("other_browser")),
            field => field,
            passkey => passkey.then(|| sentences(table)),
            sent_to => sent.map(|sent| &*sent.masked_number),
            uri => ctx.secret.map(|secret| secret.uri.as_str()),
            key => ctx.secret.map(|secret| secret.key.as_str()),
            qr => ctx.secret.map(|secret| secret.qr.as_str()),
            side => ctx.secret.map(|secret| secret.side),
            address => &*path,
            csrf => ctx.csrf,
            attempts_left => challenge.attempts_left,
            expires => clock(challenge.expires),
            ends => machine(challenge.expires),
        };
        let answer = field.then_some(Form::of("/answer").with_code());
        let answer = answer.or(passkey.then_some(Form::of("/answer").with_passkey()));
        let forms = answer.into_iter().chain([Form::of("/reject")]).collect();
        let expect = Expect { lines: &lines, path: &path, csrf: ctx.csrf, forms };
        let address = Some(path.clone());
        let look = Look { template: "enrol.html", kind: "plain", icon: "lock", title, address };
        self.page(look, values, Some(&expect), ctx)
    }

    /// It is enrolled. The codes are shown here and nowhere else.
    pub fn enrolled(&self, codes: &Codes, back: Option<&str>, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => self.html(StatusCode::OK, self.enrolled_page(codes, back, ctx), ctx),
            Audience::Api => {
                let body = EnrolledJson {
                    state: "approved",
                    factor: codes.factor.word(),
                    usable_from: codes.usable_from.seconds(),
                    recovery_codes: codes.codes.iter().map(|code| code.as_str()).collect(),
                };
                json(StatusCode::OK, json_bytes(&body), ctx)
            }
        }
    }

    pub(super) fn enrolled_page(
        &self,
        codes: &Codes,
        back: Option<&str>,
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let texts: Vec<Value> = codes.codes.iter().map(|code| Value::from(code.as_str())).collect();
        let values = context! {
            factor => self.factor(ctx.language, codes.factor),
            usable_from => (ctx.now < codes.usable_from).then(|| date(codes.usable_from)),
            codes => texts,
            return_to => own_path(back),
            factors => factors_path(None),
        };
        let look = Look {
            template: "enrolled.html",
            kind: "good",
            icon: "check",
            title: table.ui("enrolled_title"),
            address: None,
        };
        self.page(look, values, None, ctx)
    }

    /// A factor was taken away.
    pub fn removed(&self, path: &str, ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => see_other(path, ctx),
            Audience::Api => {
                json(StatusCode::OK, json_bytes(&serde_json::json!({ "removed": true })), ctx)
            }
        }
    }

    /// What waits for the account's owner. `true`: the credential that reads this may answer it.
    pub fn approvals(&self, found: &[(Challenge, bool)], ctx: &Ctx<'_>) -> Response<Body> {
        match ctx.audience {
            Audience::Page => self.html(StatusCode::OK, self.approvals_page(found, ctx), ctx),
            Audience::Api => {
                let challenges: Vec<_> = found
                    .iter()
                    .map(|(challenge, may)| Waiting::of(challenge, *may, ctx))
                    .collect();
                let body = serde_json::json!({ "challenges": challenges });
                json(StatusCode::OK, json_bytes(&body), ctx)
            }
        }
    }

    pub(super) fn approvals_page(
        &self,
        found: &[(Challenge, bool)],
        ctx: &Ctx<'_>,
    ) -> Result<String, Error> {
        let table = self.table(ctx.language);
        let items: Vec<Value> = found
            .iter()
            .map(|(challenge, may)| {
                let title = match challenge.approves_transaction() {
                    true => table.action(challenge.action.as_str()).into_owned(),
                    false => table.ui("place_title").to_owned(),
                };
                context! {
                    title => title,
                    shown => Value::from(Serde(&lines(table, challenge))),
                    href => may.then(|| challenge_path(&challenge.id)),
                    place => &*challenge.place,
                    client => challenge.client.to_string(),
                    asked_at => clock(challenge.created),
                    expires => clock(challenge.expires),
                }
            })
            .collect();
        let values = context! { items => items };
        let look = Look {
            template: "approvals.html",
            kind: "plain",
            icon: "question",
            title: table.ui("approvals_title"),
            address: Some("/.stepgate/approvals".to_owned()),
        };
        self.page(look, values, None, ctx)
    }
}

/// Sends a browser on after its form, so that reading the page again sends nothing again.
fn see_other(path: &str, ctx: &Ctx<'_>) -> Response<Body> {
    let mut response =
        super::respond::whole(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "", ctx);
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

#[derive(Serialize)]
struct Card<'a> {
    factor: &'static str,
    label: &'a str,
    since: i64,
    usable_from: i64,
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    codes_left: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkeys: Option<Vec<PasskeyCard>>,
}

#[derive(Serialize)]
struct PasskeyCard {
    number: u32,
    label: String,
    since: i64,
    usable_from: i64,
}

impl<'a> Card<'a> {
    fn of(card: &'a FactorCard, pages: &Pages, listed: &[Listed], ctx: &Ctx<'_>) -> Self {
        let passkey = |one: &Listed| PasskeyCard {
            number: one.number,
            label: pages.passkey_number(ctx.language, one.number),
            since: one.since.seconds(),
            usable_from: one.usable_from.seconds(),
        };
        let is_passkey = card.factor == Factor::Webauthn;
        Self {
            factor: card.factor.word(),
            label: &card.label,
            since: card.since.seconds(),
            usable_from: card.usable_from.seconds(),
            disabled: card.disabled,
            codes_left: card.codes_left,
            passkeys: is_passkey.then(|| listed.iter().map(passkey).collect()),
        }
    }
}

#[derive(Serialize)]
struct Waits<'a> {
    challenge_id: &'a str,
    challenge_url: &'a str,
    factor: Option<&'static str>,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    otpauth: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Serialize)]
struct EnrolledJson<'a> {
    state: &'static str,
    factor: &'static str,
    usable_from: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recovery_codes: Vec<&'a str>,
}

#[derive(Serialize)]
struct Waiting<'a> {
    action: &'a str,
    about: &'static str,
    transaction: &'a [Shown],
    place: &'a str,
    client: String,
    asked_at: i64,
    expires_at: i64,
    can_answer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_url: Option<String>,
}

impl<'a> Waiting<'a> {
    /// An id is for whoever may use it.
    fn of(challenge: &'a Challenge, may: bool, ctx: &Ctx<'_>) -> Self {
        Self {
            action: challenge.action.as_str(),
            about: if challenge.approves_transaction() { "transaction" } else { "place" },
            transaction: &challenge.shown,
            place: &challenge.place,
            client: challenge.client.to_string(),
            asked_at: challenge.created.seconds(),
            expires_at: challenge.expires.seconds(),
            can_answer: may,
            challenge_id: may.then_some(challenge.id.as_str()),
            challenge_url: may
                .then(|| format!("https://{}{}", ctx.host, challenge_path(&challenge.id))),
        }
    }
}
