//! Every page and every API answer as it leaves the gateway.

use http::Response;
use http_body_util::BodyExt;
use stepgate::body::Body;
use stepgate::pages::{AnswerResult, Audience, Ctx, Language, Native, Pages};
use stepgate::policy::verdict::{FactorExpr, Requirement, Term};
use stepgate::rejection::Rejection;
use stepgate::stepup::challenge::{Challenge, Destination, Scope, SentCode, State};
use stepgate::stepup::device::Device;
use stepgate::types::{
    AccountId, ActionName, ChallengeId, Credential, CredentialId, CredentialKind, Factor,
    FactorSet, IntentDigest, PolicyVersion, RequestId, RuleId, Shown, SiteName, UnixMs,
};

const SCRIPT: &str = r#"<script src="/.stepgate/page.js" defer></script>"#;
/// 2026-09-21 14:13:20 UTC.
const NOW: UnixMs = UnixMs(1_790_000_000_000);
const ADDRESS: &str = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh";

/// A withdrawal that needs an authenticator's code or one by SMS.
pub fn withdrawal() -> Challenge {
    let shown = [
        ("amount", "0.5"),
        ("asset", "BTC"),
        ("address", ADDRESS),
        ("network", "Bitcoin"),
        ("memo", "7"),
    ];
    Challenge {
        id: ChallengeId::new("q8Yw3mUe2x9T0b7n"),
        site: SiteName::new("main"),
        account: AccountId::new("main", "alice"),
        credential: Credential { kind: CredentialKind::Session, id: CredentialId::new("s1") },
        action: ActionName::new("withdrawal"),
        scope: Scope::Intent(IntentDigest([7; 32])),
        requirement: requirement(&[Factor::Totp, Factor::Sms], None),
        shown: shown.map(|(name, value)| Shown { name: name.into(), value: value.into() }).to_vec(),
        client: [203, 0, 113, 9].into(),
        place: "DE".into(),
        device: Device::of("Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/127.0"),
        destination: Some(Destination::Unknown),
        policy: PolicyVersion::new("p1"),
        request: request_id(),
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

/// A sign-in from a new country: any request of the credential opens it.
pub fn new_place() -> Challenge {
    Challenge {
        action: ActionName::new("ordinary"),
        scope: Scope::Place("DE".into()),
        shown: vec![],
        destination: None,
        return_to: Some("/wallet?tab=1".into()),
        ..withdrawal()
    }
}

fn requirement(factors: &[Factor], why: Option<&str>) -> Requirement {
    let any = factors.iter().map(|factor| FactorExpr::One(*factor)).collect();
    Requirement {
        terms: vec![Term {
            rule: RuleId::new("large-withdrawal"),
            factors: FactorExpr::Any(any),
            valid: None,
            geographic: false,
            notify: false,
            why: why.map(Into::into),
        }],
    }
}

fn with_code_sent(challenge: Challenge) -> Challenge {
    let sent = SentCode {
        mac: "00".into(),
        expires: NOW.plus_ms(300_000),
        masked_number: "+49 ••• ••67".into(),
    };
    Challenge { sent: Some(sent), ..challenge }
}

fn in_state(state: State) -> Challenge {
    Challenge { state, ..withdrawal() }
}

fn request_id() -> RequestId {
    RequestId::new("01997a3c-5f00-7000-8000-000000000001")
}

fn context<'a>(
    audience: Audience,
    language: Language,
    request: &'a RequestId,
    native: Option<Native<'a>>,
) -> Ctx<'a> {
    Ctx {
        audience,
        request,
        native,
        host: "exchange.example:8443",
        language,
        now: NOW,
        bearer: false,
        form: false,
        site: "Example Exchange",
        csrf: "token-of-this-challenge",
        subject: request.as_str(),
        back: Some("/withdraw"),
        sign: Some(&toy_mac),
        factor: None,
        no_text: None,
        secret: None,
        elsewhere: false,
    }
}

/// Distinguishes what it is given, and no more.
fn toy_mac(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut tag = [0_u8; 32];
    let bytes = label.bytes().chain(parts.iter().flat_map(|part| part.iter().copied()));
    for (at, byte) in bytes.enumerate() {
        tag[at % 32] = tag[at % 32].wrapping_mul(31).wrapping_add(byte);
    }
    tag
}

/// Everything that can be refused.
fn rejections() -> Vec<(&'static str, Rejection)> {
    let why = || Some("This address was added less than a day ago.".into());
    vec![
        ("not_canonical", Rejection::NotCanonical("an encoded slash")),
        ("bad_request", Rejection::BadRequest("two hosts")),
        ("unauthenticated", Rejection::Unauthenticated("the token has expired")),
        ("network_not_allowed", Rejection::NetworkNotAllowed),
        ("denied", Rejection::Denied { why: why() }),
        ("held", Rejection::Held { until: NOW.plus_ms(86_400_000), why: why() }),
        ("frozen", Rejection::Frozen),
        ("unclassified", Rejection::Unclassified("POST /api/v5/asset/new".into())),
        ("too_large", Rejection::TooLarge),
        ("too_slow", Rejection::TooSlow),
        ("not_found", Rejection::NotFound),
        ("misdirected", Rejection::Misdirected),
        ("too_many", Rejection::TooMany { retry_after_s: 900 }),
        ("unavailable", Rejection::Unavailable("the store did not answer")),
        ("bad_gateway", Rejection::BadGateway),
        ("no_answer", Rejection::NoAnswer { unknown: false }),
        ("unknown_outcome", Rejection::NoAnswer { unknown: true }),
    ]
}

/// Every answer about a challenge, for whoever `ctx` says.
fn answers(pages: &Pages, ctx: &Ctx<'_>) -> Vec<(&'static str, Response<Body>)> {
    let open = withdrawal();
    let sms = with_code_sent(withdrawal());
    let needs_more =
        Challenge { proven: [Factor::Totp].into_iter().collect(), ..with_code_sent(withdrawal()) };
    let needs_more = Challenge {
        requirement: Requirement {
            terms: vec![Term {
                factors: FactorExpr::All(vec![
                    FactorExpr::One(Factor::Totp),
                    FactorExpr::One(Factor::Sms),
                ]),
                ..needs_more.requirement.terms[0].clone()
            }],
        },
        ..needs_more
    };
    let why = "Withdrawals above 10,000 USD need a code.";
    let explained =
        Challenge { requirement: requirement(&[Factor::Totp], Some(why)), ..open.clone() };
    let unusable =
        Challenge { requirement: requirement(&[Factor::External], None), ..open.clone() };
    let approved = in_state(State::Approved);
    let held = Challenge { held: Some(vec![1]), ..approved.clone() };
    let back = Challenge { state: State::Approved, ..new_place() };
    let answer = |result, challenge| pages.answer(result, Some(challenge), ctx);
    vec![
        ("challenge", pages.challenge(&open, ctx)),
        ("challenge_with_reason", pages.challenge(&explained, ctx)),
        ("challenge_of_a_place", pages.challenge(&new_place(), ctx)),
        ("challenge_without_usable_factor", pages.challenge(&unusable, ctx)),
        ("show_open", pages.show(&sms, ctx)),
        ("sent", pages.sent(&sms, ctx)),
        ("more", answer(AnswerResult::More, &needs_more)),
        ("wrong", answer(AnswerResult::Wrong { left: 4 }, &open)),
        ("wrong_last", answer(AnswerResult::Wrong { left: 0 }, &in_state(State::Locked))),
        ("replayed", answer(AnswerResult::Replayed, &open)),
        ("bad_code", answer(AnswerResult::BadCode, &open)),
        ("approved", answer(AnswerResult::Approved, &approved)),
        ("approved_held", answer(AnswerResult::Approved, &held)),
        ("approved_place", answer(AnswerResult::Approved, &back)),
        ("used", answer(AnswerResult::Used, &in_state(State::Used))),
        ("expired", answer(AnswerResult::Expired, &in_state(State::Expired))),
        ("locked", answer(AnswerResult::Locked, &in_state(State::Locked))),
        ("answer_to_rejected", answer(AnswerResult::Rejected, &in_state(State::Rejected))),
        ("too_many", answer(AnswerResult::TooMany { retry_after_s: 60 }, &open)),
        ("missing", pages.answer(AnswerResult::Missing, None, ctx)),
        ("rejected", pages.rejected(&in_state(State::Rejected), false, ctx)),
        ("rejected_and_frozen", pages.rejected(&in_state(State::Rejected), true, ctx)),
    ]
}

fn refused(pages: &Pages, ctx: &Ctx<'_>) -> Vec<(&'static str, Response<Body>)> {
    let answer = |(name, rejection): (_, Rejection)| (name, pages.rejection(&rejection, ctx));
    rejections().into_iter().map(answer).collect()
}

async fn body_of(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Status, headers and body as text.
async fn written(response: Response<Body>) -> String {
    let mut text = format!("{}\n", response.status());
    for (name, value) in response.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    format!("{text}\n{}", body_of(response).await)
}

async fn all_written(responses: Vec<(&'static str, Response<Body>)>) -> String {
    let mut text = String::new();
    for (name, response) in responses {
        text.push_str(&format!("=== {name}\n{}\n\n", written(response).await));
    }
    text
}

#[tokio::test]
async fn every_page_in_english() {
    let (pages, request) = (Pages::new(), request_id());
    let ctx = context(Audience::Page, Language::En, &request, None);
    for (name, response) in answers(&pages, &ctx) {
        insta::assert_snapshot!(format!("page_{name}"), written(response).await);
    }
    for (name, response) in refused(&pages, &ctx) {
        insta::assert_snapshot!(format!("page_refused_{name}"), written(response).await);
    }
}

#[tokio::test]
async fn every_answer_to_programs() {
    let (pages, request) = (Pages::new(), request_id());
    let ctx = context(Audience::Api, Language::En, &request, None);
    insta::assert_snapshot!("api_answers", all_written(answers(&pages, &ctx)).await);
    insta::assert_snapshot!("api_refused", all_written(refused(&pages, &ctx)).await);
    let bearer = Ctx { bearer: true, ..ctx };
    let asked = vec![
        ("challenge", pages.challenge(&withdrawal(), &bearer)),
        ("unauthenticated", pages.rejection(&Rejection::Unauthenticated("expired"), &bearer)),
    ];
    insta::assert_snapshot!("api_bearer", all_written(asked).await);
}

#[tokio::test]
async fn every_answer_in_an_exchanges_own_words() {
    let (pages, request) = (Pages::new(), request_id());
    let render = |message: &str| serde_json::json!({ "code": "50114", "msg": message }).to_string();
    let native = Native { status: 401, message: false, render: &render };
    let ctx = context(Audience::Api, Language::En, &request, Some(native));
    let mut all = vec![("challenge", pages.challenge(&withdrawal(), &ctx))];
    all.extend(refused(&pages, &ctx));
    insta::assert_snapshot!("api_native", all_written(all).await);
}

#[tokio::test]
async fn a_pack_may_choose_the_status_of_its_challenge() {
    let (pages, request) = (Pages::new(), request_id());
    let render = |message: &str| message.to_owned();
    let native = Native { status: 200, message: false, render: &render };
    let ctx = context(Audience::Api, Language::En, &request, Some(native));
    assert_eq!(pages.challenge(&withdrawal(), &ctx).status(), 200);
    assert_eq!(pages.rejection(&Rejection::Frozen, &ctx).status(), 423);
}

#[tokio::test]
async fn every_page_renders_in_every_language_without_script_or_inline_style() {
    let (pages, request) = (Pages::new(), request_id());
    for language in Language::ALL {
        let ctx = context(Audience::Page, language, &request, None);
        for (name, response) in answers(&pages, &ctx).into_iter().chain(refused(&pages, &ctx)) {
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{name}");
            assert_eq!(response.headers()["content-language"], language.tag());
            assert_eq!(response.headers()["stepgate-request"], request.as_str());
            let page = body_of(response).await;
            assert!(page.contains(&format!("<html lang=\"{}\">", language.tag())));
            for forbidden in ["<script", " style=", "javascript:", "{", "}}", " onclick"] {
                // The pattern of the code field is the one place with braces, and one script is ours.
                let page = page.replace("[0-9]{6}|[0-9]{8}", "").replace(SCRIPT, "");
                assert!(!page.contains(forbidden), "{language:?} {name}: {forbidden}\n{page}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_a_client_sent_becomes_markup() {
    let (pages, request) = (Pages::new(), request_id());
    let evil = "\"'><script>alert(1)</script>";
    let challenge = Challenge {
        shown: vec![Shown { name: evil.into(), value: evil.into() }],
        place: evil.into(),
        action: ActionName::new(evil),
        requirement: requirement(&[Factor::Totp], Some(evil)),
        return_to: Some(format!("/{evil}")),
        ..with_code_sent(withdrawal())
    };
    let ctx = context(Audience::Page, Language::En, &request, None);
    let ctx = Ctx { site: evil, csrf: evil, ..ctx };
    for state in [State::Open, State::Approved, State::Used, State::Expired] {
        let challenge = Challenge { state, ..challenge.clone() };
        let page = body_of(pages.show(&challenge, &ctx)).await;
        let page = page.replace(SCRIPT, "");
        assert!(!page.contains("<script") && !page.contains("\"'>"), "{page}");
    }
    let denied = Rejection::Denied { why: Some(evil.into()) };
    let page = body_of(pages.rejection(&denied, &ctx)).await.replace(SCRIPT, "");
    assert!(!page.contains("<script"), "{page}");
}

#[tokio::test]
async fn the_full_address_is_in_the_page_as_one_text() {
    let (pages, request) = (Pages::new(), request_id());
    let ctx = context(Audience::Page, Language::En, &request, None);
    assert!(body_of(pages.show(&withdrawal(), &ctx)).await.contains(ADDRESS));
}

#[tokio::test]
async fn a_link_to_another_site_is_not_shown() {
    let (pages, request) = (Pages::new(), request_id());
    let ctx = context(Audience::Page, Language::En, &request, None);
    for path in ["//evil.example", "/\\evil.example", "https://evil.example/"] {
        let challenge =
            Challenge { return_to: Some(path.into()), state: State::Approved, ..new_place() };
        assert!(!body_of(pages.show(&challenge, &ctx)).await.contains("evil.example"));
    }
}

#[tokio::test]
async fn internal_texts_of_rejections_stay_inside() {
    let (pages, request) = (Pages::new(), request_id());
    for audience in [Audience::Page, Audience::Api] {
        let ctx = context(audience, Language::En, &request, None);
        for (name, response) in refused(&pages, &ctx) {
            let text = written(response).await;
            for inside in
                ["encoded slash", "two hosts", "token has expired", "/api/v5", "the store"]
            {
                assert!(!text.contains(inside), "{name}: {inside}");
            }
        }
    }
}

#[tokio::test]
async fn a_challenge_past_its_time_is_shown_as_expired() {
    let (pages, request) = (Pages::new(), request_id());
    let ctx = context(Audience::Api, Language::En, &request, None);
    let late = Ctx { now: NOW.plus_ms(300_000), ..ctx };
    let body: serde_json::Value =
        serde_json::from_str(&body_of(pages.show(&withdrawal(), &late)).await).unwrap();
    assert_eq!(body["state"], "expired");
    let page = Ctx { audience: Audience::Page, ..late };
    assert!(!body_of(pages.show(&withdrawal(), &page)).await.contains("<form"));
}

#[test]
fn the_style_sheet_is_plain_css_that_may_be_cached() {
    let response = Pages::new().asset("/style.css", Language::En, &request_id()).unwrap();
    assert_eq!(response.headers()["content-type"], "text/css; charset=utf-8");
    assert_eq!(response.headers()["stepgate-request"], request_id().as_str());
}
