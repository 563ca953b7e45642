//! People, challenges and requests for the claims.

use std::net::IpAddr;
use std::sync::Arc;

use stepgate::locate::Sighting;
use stepgate::policy::verdict::{FactorExpr, Requirement, Term, Valid};
use stepgate::stepup::budget::{Meter, Scope as BudgetScope, Watch};
use stepgate::stepup::challenge::{Challenge, Destination, Pending, Scope, SentCode, State};
use stepgate::stepup::device::Device;
use stepgate::store::{
    Begin, Begun, Charge, Enrolled, NumberKey, Opened, PasskeyAsked, Proven, Settled, Spent, Store,
};
use stepgate::types::*;

pub const NOW: UnixMs = UnixMs(1_790_000_000_000);
pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

pub fn after(ms: u64) -> UnixMs {
    NOW.plus_ms(ms)
}

pub fn account(name: &str) -> AccountId {
    AccountId::new("main", name)
}

pub fn alice() -> AccountId {
    account("alice")
}

pub fn session(id: &str) -> Credential {
    Credential { kind: CredentialKind::Session, id: CredentialId::new(id) }
}

pub fn intent(n: u8) -> IntentDigest {
    IntentDigest([n; 32])
}

pub fn term(rule: &str, factors: FactorExpr, valid: Option<Valid>) -> Term {
    Term { rule: RuleId::new(rule), factors, valid, geographic: false, notify: false, why: None }
}

pub fn either() -> FactorExpr {
    FactorExpr::Any(vec![FactorExpr::One(Factor::Totp), FactorExpr::One(Factor::Sms)])
}

pub fn requirement(terms: Vec<Term>) -> Requirement {
    Requirement { terms }
}

/// Alice's session `s` is asked for TOTP or SMS about intent 1.
pub fn challenge(id: &str) -> Challenge {
    Challenge {
        id: ChallengeId::new(id),
        site: SiteName::new("main"),
        account: alice(),
        credential: session("s"),
        action: ActionName::new("withdrawal"),
        scope: Scope::Intent(intent(1)),
        requirement: requirement(vec![term("large", either(), None)]),
        shown: vec![Shown { name: "amount".into(), value: "0.5".into() }],
        client: IpAddr::from([203, 0, 113, 7]),
        place: "DE".into(),
        device: Device::of("curl/8.9.1"),
        destination: Some(Destination::KnownSince(NOW)),
        policy: PolicyVersion::new("v1"),
        request: RequestId::new("r1"),
        created: NOW,
        expires: after(5 * MINUTE),
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

/// Alice's session `s` is asked to show that a new factor works.
pub fn pending(id: &str, factor: Factor) -> Challenge {
    Challenge {
        action: ActionName::new("factor.add"),
        scope: Scope::Intent(intent(200 + factor as u8)),
        requirement: requirement(vec![term("enrolment", FactorExpr::One(factor), None)]),
        pending: Some(Pending {
            factor,
            secret: vec![7, 0, 255],
            label: "new".to_owned(),
            codes: vec!["c1".to_owned(), "c2".to_owned()],
            language: Some("ja".into()),
        }),
        ..challenge(id)
    }
}

pub fn about(n: u8, challenge: Challenge) -> Challenge {
    Challenge { scope: Scope::Intent(intent(n)), ..challenge }
}

pub fn totp() -> Enrolled {
    Enrolled {
        factor: Factor::Totp,
        secret: vec![1, 2, 3],
        label: "exchange, 6 digits".to_owned(),
        since: NOW,
        disabled: false,
        last_step: None,
        usable_from: NOW,
        codes: Vec::new(),
        language: None,
    }
}

pub fn begin(id: &str) -> Begin {
    Begin {
        attempt: AttemptId::new(id),
        site: SiteName::new("main"),
        account: alice(),
        credential: session("s"),
        action: ActionName::new("withdrawal"),
        intent: intent(1),
        usd: Some(usd("10")),
        destination: None,
    }
}

pub fn usd(text: &str) -> stepgate::policy::facts::Decimal {
    text.parse().expect("a decimal")
}

pub fn code(mac: &str, at: UnixMs) -> SentCode {
    SentCode {
        mac: mac.to_owned(),
        expires: at.plus_ms(5 * MINUTE),
        masked_number: "+49 ••• ••67".into(),
    }
}

/// Within the limits of this number, and no budget.
pub fn number(text: &str) -> Charge {
    NumberKey(text.to_owned()).into()
}

/// So many codes within an hour, or another window.
pub fn meter(scope: BudgetScope, subject: &str, window_ms: u64, max: u32) -> Meter {
    Meter { scope, subject: subject.into(), window_ms, max }
}

/// Half of four codes or more within an hour have to come back.
pub fn watch(scope: BudgetScope, subject: &str) -> Watch {
    Watch {
        scope,
        subject: subject.into(),
        window_ms: HOUR,
        settle_ms: 5 * MINUTE,
        sent_min: 4,
        percent_min: 50,
        stop_ms: 2 * HOUR,
    }
}

pub fn seen(country: &str, at: UnixMs) -> Sighting {
    Sighting {
        at,
        client: IpAddr::from([203, 0, 113, 7]),
        country: Some(country.into()),
        asn: Some(3320),
        coordinates: None,
    }
}

pub async fn sight(store: &Arc<dyn Store>, country: &str, at: UnixMs) {
    assert!(store.sight(&alice(), &session("s"), seen(country, at)));
    all_noted(store).await;
}

/// Sightings are noted in the background, one after the other: once another account's is there, so are all before it.
pub async fn all_noted(store: &Arc<dyn Store>) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static BEACONS: AtomicU64 = AtomicU64::new(0);
    let beacon = account(&format!("beacon-{}", BEACONS.fetch_add(1, Ordering::Relaxed)));
    assert!(store.sight(&beacon, &session("s"), seen("DE", NOW)));
    for _ in 0..10_000 {
        let standing = store.look(&beacon, &session("s"), NOW).await.expect("answers");
        if standing.last.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("sightings are noted");
}

/// Opens it; it must be new.
pub async fn open(store: &Arc<dyn Store>, challenge: Challenge, now: UnixMs) -> Challenge {
    match store.open_challenge(challenge, now).await.expect("answers") {
        Opened::New(challenge) => challenge,
        other => panic!("{other:?}"),
    }
}

pub async fn spend(store: &Arc<dyn Store>, id: &str, factor: Factor, now: UnixMs) -> Spent {
    let id = ChallengeId::new(id);
    store.spend_attempt(&id, &alice(), &session("s"), factor, now).await.expect("answers")
}

pub async fn ask(store: &Arc<dyn Store>, id: &str, what: &[u8], now: UnixMs) -> PasskeyAsked {
    let id = ChallengeId::new(id);
    store.ask_passkey(&id, &alice(), what.to_vec(), now).await.expect("answers")
}

pub async fn prove_totp(store: &Arc<dyn Store>, id: &str, step: u64, now: UnixMs) -> Proven {
    store
        .prove(&ChallengeId::new(id), &alice(), Factor::Totp, Some(step), None, now)
        .await
        .expect("answers")
}

pub async fn prove_sms(store: &Arc<dyn Store>, id: &str, mac: &str, now: UnixMs) -> Proven {
    let mac = Some(mac.to_owned());
    store
        .prove(&ChallengeId::new(id), &alice(), Factor::Sms, None, mac, now)
        .await
        .expect("answers")
}

/// Enrols Alice's TOTP, opens the challenge and answers it with this step.
pub async fn approve(store: &Arc<dyn Store>, challenge: Challenge, step: u64, now: UnixMs) {
    let (account, id) = (challenge.account.clone(), challenge.id.clone());
    if store.factors(&account).await.expect("answers").is_empty() {
        store.enrol(&account, totp(), now).await.expect("enrols");
    }
    let credential = challenge.credential.clone();
    open(store, challenge, now).await;
    let spent =
        store.spend_attempt(&id, &account, &credential, Factor::Totp, now).await.expect("answers");
    assert!(matches!(spent, Spent::Compare { .. }), "{spent:?}");
    let proven = prove_totp(store, id.as_str(), step, now).await;
    assert!(matches!(proven, Proven::Approved(_)), "{proven:?}");
}

pub async fn state(store: &Arc<dyn Store>, id: &str, now: UnixMs) -> State {
    let found = store.challenge(&ChallengeId::new(id), &alice(), now).await.expect("answers");
    found.expect("is there").state
}

pub async fn begun(store: &Arc<dyn Store>, begin: Begin, now: UnixMs) -> Begun {
    store.begin(begin, now).await.expect("begins")
}

pub async fn settle(store: &Arc<dyn Store>, id: &str, settled: Settled, now: UnixMs) {
    store.settle(AttemptId::new(id), &alice(), settled, None, now).await.expect("settles");
}

pub async fn abandon(store: &Arc<dyn Store>, id: &str, holds: &[&str], now: UnixMs) {
    let holds = holds.iter().map(|rule| RuleId::new(*rule)).collect();
    store.abandon(AttemptId::new(id), &alice(), holds, now).await.expect("abandons");
}

/// Count and sum of Alice's withdrawals within the window, as a probing beginning sees them.
pub async fn withdrawals(
    store: &Arc<dyn Store>,
    window: &str,
    now: UnixMs,
) -> (u64, Option<String>) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PROBES: AtomicU64 = AtomicU64::new(0);
    let id = format!("probe-{}", PROBES.fetch_add(1, Ordering::Relaxed));
    let probe = Begin { intent: intent(255), ..begin(&id) };
    let counters = begun(store, probe, now).await.counters;
    abandon(store, &id, &[], now).await;
    let mut found = counters.0.into_iter();
    found
        .find(|(action, known, _)| &**action == "withdrawal" && known.word() == window)
        .map_or((0, None), |(_, _, total)| (total.count, total.usd.map(shortest)))
}

/// A number without the zeros at its end, which say nothing.
fn shortest(usd: stepgate::policy::facts::Decimal) -> String {
    let text = usd.to_string();
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
