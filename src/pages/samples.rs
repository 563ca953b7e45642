//! One of every page, with values that stand nowhere else: an operator's own templates are tried with them.
//!
//! Never shown to anybody. Invariant: every template is rendered in every language, and every branch that an owner's
//! answers can lead to is among the samples.

use super::factors::{Codes, MayAdd, Secret};
use super::refusal::Refusal;
use super::respond::Ctx;
use super::said::Said;
use super::thaw::ThawView;
use super::{AnswerResult, Audience, Language, LinkState, Pages};
use crate::policy::verdict::{FactorExpr, Requirement, Term};
use crate::rejection::Rejection;
use crate::stepup::challenge::{Challenge, Destination, Pending, Scope, SentCode, State};
use crate::stepup::device::Device;
use crate::stepup::fate::Fate;
use crate::stepup::notice::{About, Notice};
use crate::stepup::passkey::Listed;
use crate::stepup::recovery::codes;
use crate::store::{FactorCard, Freeze};
use crate::types::{
    AccountId, ActionName, ChallengeId, Credential, CredentialId, CredentialKind, Factor,
    FactorSet, IntentDigest, PolicyVersion, RequestId, RuleId, Shown, SiteName, UnixMs,
};

impl Pages {
    /// Renders all of it.
    ///
    /// # Errors
    /// The first that cannot be rendered, with the template that was asked for.
    pub(super) fn try_all(&self) -> Result<(), (&'static str, minijinja::Error)> {
        let request = RequestId::new("01997a3c-5f00-7000-8000-000000000001");
        for language in Language::ALL {
            let ctx = context(language, &request);
            self.try_challenges(&ctx)?;
            self.try_factors(&ctx)?;
            for rejection in rejections() {
                let refusal = Refusal::of(&rejection, NOW);
                for now in [NOW, NOW.plus_ms(172_800_000)] {
                    let said = Said::of(&refusal, &ctx);
                    let ctx = Ctx { now, ..ctx };
                    self.refusal_page(&said, &ctx).map_err(|error| ("refusal.html", error))?;
                }
            }
            self.try_thaw(&ctx)?;
            let (used, settled) = (LinkState::Used(NOW), LinkState::Settled(NOW));
            for state in [LinkState::Open(NOW), LinkState::Frozen, used, settled] {
                for notice in notices() {
                    let page = self.not_me_page(&notice, state, "/.stepgate/not-me/sample", &ctx);
                    page.map_err(|error| ("not_me.html", error))?;
                }
            }
        }
        Ok(())
    }

    fn try_challenges(&self, ctx: &Ctx<'_>) -> Result<(), (&'static str, minijinja::Error)> {
        for challenge in challenges() {
            for notice in [None, Some(AnswerResult::Wrong { left: 4 }), Some(AnswerResult::More)] {
                for factor in [None, Some(Factor::Sms)] {
                    let ctx = Ctx { factor, ..*ctx };
                    let notice = notice.map(|result| self.answer_notice(result, &ctx));
                    let page = self.challenge_page(&challenge, notice, &ctx);
                    page.map_err(|error| ("challenge.html", error))?;
                }
            }
            for held in [None, Some(vec![1])] {
                let approved = Challenge { state: State::Approved, held, ..challenge.clone() };
                let page = self.challenge_page(&approved, None, ctx);
                page.map_err(|error| ("approved.html", error))?;
            }
            for fate in fates() {
                let page = self.ended_page(&challenge, &fate, ctx);
                page.map_err(|error| ("closed.html", error))?;
            }
            for word in ["used", "expired", "locked", "rejected", "frozen"] {
                let page = self.closed_page(&challenge, word, ctx);
                page.map_err(|error| ("closed.html", error))?;
            }
        }
        Ok(())
    }
}

impl Pages {
    fn try_thaw(&self, ctx: &Ctx<'_>) -> Result<(), (&'static str, minijinja::Error)> {
        let by = |by: &str| Freeze::new(NOW, by.into());
        let ends = Freeze { opens: Some(NOW.plus_ms(86_400_000)), ..by("owner") };
        let freezes = [Some(by("owner")), Some(by("operator:sample")), Some(ends), None];
        for frozen in freezes {
            for has_factor in [true, false] {
                let frozen = frozen.clone();
                let view = ThawView { frozen, has_factor, delay_ms: 86_400_000 };
                self.thaw_page(&view, ctx).map_err(|error| ("thaw.html", error))?;
            }
        }
        Ok(())
    }

    fn try_factors(&self, ctx: &Ctx<'_>) -> Result<(), (&'static str, minijinja::Error)> {
        let card = |factor, disabled, codes_left| FactorCard {
            factor,
            label: "Sample <label>".into(),
            since: NOW,
            disabled,
            usable_from: if disabled { NOW } else { NOW.plus_ms(86_400_000) },
            codes_left,
        };
        let cards = [
            card(Factor::Totp, true, None),
            card(Factor::Sms, false, None),
            card(Factor::Webauthn, false, None),
            card(Factor::Recovery, false, Some(9)),
        ];
        let all = MayAdd { totp: true, sms: true, webauthn: true, recovery: true };
        let none = MayAdd { totp: false, sms: false, webauthn: false, recovery: false };
        for (cards, may, back) in [(&cards[..], all, Some("/wallet")), (&[], none, None)] {
            let listed = [NOW, NOW.plus_ms(86_400_000)].map(|usable_from| Listed {
                number: 7,
                since: NOW,
                usable_from,
            });
            let page = self.factors_page(cards, &listed, may, back, ctx);
            page.map_err(|error| ("factors.html", error))?;
        }
        let secret =
            Secret::new("otpauth://totp/sample?secret=GEZDGNBVGY3TQOJQ", "GEZDGNBVGY3TQOJQ");
        let waiting =
            [(Factor::Totp, Some(&secret)), (Factor::Sms, None), (Factor::Webauthn, None)];
        for (factor, secret) in waiting {
            let [.., open] = challenges();
            let pending = Pending {
                factor,
                secret: vec![],
                label: "sample".into(),
                codes: vec![],
                language: None,
            };
            let asked = Challenge { pending: Some(pending), ..open };
            for notice in [None, Some(AnswerResult::Wrong { left: 4 })] {
                let notice = notice.map(|result| self.answer_notice(result, ctx));
                let page = self.challenge_page(&asked, notice, &Ctx { secret, ..*ctx });
                page.map_err(|error| ("enrol.html", error))?;
            }
            let page = self.challenge_page(&asked, None, &Ctx { elsewhere: true, ..*ctx });
            page.map_err(|error| ("enrol.html", error))?;
            let codes = Codes::of(factor, NOW.plus_ms(1), &codes(b"sample", &|_, _| [7; 32]));
            let page = self.enrolled_page(&codes, Some("/wallet"), ctx);
            page.map_err(|error| ("enrolled.html", error))?;
        }
        let waiting: Vec<_> = challenges().into_iter().map(|it| (it, true)).collect();
        for found in [&waiting[..], &[]] {
            let page = self.approvals_page(found, ctx);
            page.map_err(|error| ("approvals.html", error))?;
        }
        Ok(())
    }
}

fn context(language: Language, request: &RequestId) -> Ctx<'_> {
    Ctx {
        audience: Audience::Page,
        request,
        subject: request.as_str(),
        native: None,
        host: "exchange.example",
        language,
        now: NOW,
        bearer: false,
        form: true,
        site: "Example",
        csrf: "csrf-token-of-this-challenge",
        back: Some("/withdraw"),
        sign: Some(&|_, _| [7; 32]),
        factor: None,
        no_text: None,
        secret: None,
        elsewhere: false,
    }
}

/// A transaction, one with many lines and odd values, one to a known address with a code on its way, a sign-in, and
/// one that nobody can answer.
fn challenges() -> [Challenge; 5] {
    let few: Vec<Shown> = [
        ("amount", "0.7300000000000001"),
        ("asset", "SAMPLECOIN"),
        ("address", "bc1qsampleaddress0123456789abcdefghijklmn"),
        ("network", "Samplenet"),
        ("tag", "4711"),
    ]
    .map(|(name, value)| Shown { name: name.into(), value: value.into() })
    .into();
    let many = (0..24).map(|n| Shown {
        name: format!("sample.field{n}").into(),
        value: format!("<q{n}> \"&' value-{n}").into(),
    });
    let sent = SentCode {
        mac: "00".into(),
        expires: NOW.plus_ms(300_000),
        masked_number: "+49 ••• ••67".into(),
    };
    let open = blank(few);
    [
        Challenge { shown: many.collect(), usable: only(Factor::Sms), ..open.clone() },
        Challenge {
            sent: Some(sent),
            destination: Some(Destination::KnownSince(NOW)),
            ..open.clone()
        },
        Challenge {
            scope: Scope::Place("DE".into()),
            shown: Vec::new(),
            device: None,
            destination: None,
            return_to: Some("/wallet".into()),
            ..open.clone()
        },
        Challenge { usable: FactorSet::default(), ..open.clone() },
        open,
    ]
}

fn only(factor: Factor) -> FactorSet {
    [factor].into_iter().collect()
}

fn blank(shown: Vec<Shown>) -> Challenge {
    let one = |factor| FactorExpr::One(factor);
    let requirement = Requirement {
        terms: vec![Term {
            rule: RuleId::new("sample"),
            factors: FactorExpr::Any(vec![
                one(Factor::Totp),
                one(Factor::Sms),
                one(Factor::Webauthn),
            ]),
            valid: None,
            geographic: false,
            notify: false,
            why: Some("Sample <why>.".into()),
        }],
    };
    Challenge {
        id: ChallengeId::new("sample-challenge"),
        site: SiteName::new("sample"),
        account: AccountId::new("sample", "sample"),
        credential: Credential { kind: CredentialKind::Session, id: CredentialId::new("s") },
        action: ActionName::new("withdrawal"),
        scope: Scope::Intent(IntentDigest([7; 32])),
        requirement,
        shown,
        client: [203, 0, 113, 9].into(),
        place: "DE".into(),
        device: Device::of("Firefox/127.0 Windows"),
        destination: Some(Destination::Unknown),
        policy: PolicyVersion::new("p"),
        request: RequestId::new("r"),
        created: NOW,
        expires: NOW.plus_ms(300_000),
        attempts_left: 5,
        usable: FactorSet::ALL,
        proven: FactorSet::default(),
        state: State::Open,
        sent: None,
        ceremony: None,
        held: None,
        return_to: None,
        pending: None,
        browser: None,
    }
}

fn fates() -> [Fate; 8] {
    let led_to = Some("/receipt/1".to_owned());
    [
        Fate::Sending { since: NOW },
        Fate::Accepted { at: NOW, led_to },
        Fate::Refused { at: NOW, led_to: None },
        Fate::Done { at: NOW },
        Fate::NotDone { at: NOW },
        Fate::Unknown { at: NOW },
        Fate::NotSent { at: NOW, why: "denied".to_owned() },
        Fate::AskedAgain { challenge: ChallengeId::new("sample") },
    ]
}

/// One with everything, and one that no request is behind.
fn notices() -> [Notice; 3] {
    let shown = blank(Vec::new()).shown;
    let address = Shown { name: "address".into(), value: "bc1qsampleaddress0123".into() };
    let about = About::Rule {
        action: ActionName::new("withdrawal"),
        shown: shown.into_iter().chain([address]).collect(),
        why: Some("Sample <why>.".into()),
    };
    let full = Notice {
        about,
        at: NOW,
        site: "Example".into(),
        place: Some("Sampletown, DE".into()),
        device: Device::of("Firefox/127.0 Windows"),
    };
    let bare = Notice { about: About::Thawed, place: None, device: None, ..full.clone() };
    let asked = About::ThawAsked { opens: NOW.plus_ms(86_400_000) };
    let asked = Notice { about: asked, ..full.clone() };
    [full, bare, asked]
}

fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::Unauthenticated("sample"),
        Rejection::Denied { why: Some("Sample <why>.".into()) },
        Rejection::Held { until: NOW.plus_ms(86_400_000), why: None },
        Rejection::Frozen,
        Rejection::Suspended {
            until: Some(NOW.plus_ms(86_400_000)),
            why: Some("Sample <why>.".into()),
        },
        Rejection::Suspended { until: None, why: None },
        Rejection::NotFound,
        Rejection::SignedOut,
        Rejection::Elsewhere,
        Rejection::TooMany { retry_after_s: 900 },
        Rejection::Unavailable("sample"),
        Rejection::NoAnswer { unknown: true },
    ]
}

const NOW: UnixMs = UnixMs(1_790_000_000_000);
