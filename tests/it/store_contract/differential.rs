//! The same random sentences to the embedded store and to Redis: every answer is the same.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use stepgate::policy::facts::{Counters, Decimal};
use stepgate::policy::verdict::{FactorExpr, Term, Valid};
use stepgate::stepup::budget::Scope as BudgetScope;
use stepgate::stepup::challenge::{Challenge, Limits, Pending, Scope};
use stepgate::store::{
    Begin, Begun, Charge, Enrolled, Learn, Message, Settled, Store, StoreError, Told,
};
use stepgate::types::*;

use super::fixtures::*;
use super::{embedded, redis, runtime};

/// One sentence; small numbers pick among a few accounts, credentials, intents, challenges and attempts.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Look {
        who: u8,
        with: u8,
    },
    Sight {
        who: u8,
        with: u8,
        place: u8,
    },
    Begin {
        who: u8,
        with: u8,
        intent: u8,
        action: u8,
        usd: Option<String>,
        to: Option<u8>,
    },
    Abandon {
        pick: usize,
        holds: u8,
    },
    Settle {
        pick: usize,
        settled: Settled,
        learn: Option<(u8, u8)>,
    },
    Open {
        who: u8,
        with: u8,
        scope: u8,
        asks: u8,
        held: bool,
    },
    /// Asked and answered rightly at once.
    Approve {
        who: u8,
        intent: u8,
        asks: u8,
    },
    /// Begun and ended at once, so that what it leaves behind is often met again.
    Learn {
        who: u8,
        intent: u8,
        kind: u8,
        to: u8,
    },
    Hold {
        who: u8,
        to: Option<u8>,
        holds: u8,
    },
    /// Asked to show that a new factor works.
    OpenPending {
        who: u8,
        with: u8,
        factor: Factor,
        codes: bool,
    },
    OpenChallenges {
        who: u8,
    },
    Challenge {
        pick: usize,
    },
    Spend {
        pick: usize,
        with: u8,
        factor: Factor,
    },
    Prove {
        pick: usize,
        factor: Factor,
        step: u64,
        mac: usize,
    },
    Reject {
        pick: usize,
        freeze: bool,
    },
    TakeHeld {
        pick: usize,
        with: u8,
    },
    SendCode {
        pick: usize,
        number: u8,
    },
    NextMessage {
        lease_ms: u64,
    },
    MessageDone {
        pick: usize,
        again_ms: Option<u64>,
    },
    AskPasskey {
        pick: usize,
        what: u8,
    },
    Renew {
        who: u8,
        factor: Factor,
        was: u8,
        now: u8,
    },
    /// A passkey was made for a challenge that waits for it, or not.
    Made {
        pick: usize,
        was: Option<u8>,
        now: u8,
    },
    Replace {
        who: u8,
        factor: Factor,
        was: u8,
        now: Option<u8>,
    },
    Freeze {
        who: u8,
    },
    Thaw {
        who: u8,
    },
    AskThaw {
        who: u8,
    },
    FreezeTold {
        who: u8,
        ago_ms: u64,
    },
    Enrol {
        who: u8,
        factor: Factor,
        step: Option<u64>,
        disabled: bool,
        by_owner: bool,
    },
    Disenrol {
        who: u8,
        factor: Factor,
    },
    Account {
        who: u8,
    },
    Adopt {
        name: u8,
        value: u8,
    },
    Lend {
        name: u8,
        value: u8,
        ms: u64,
    },
    Lent {
        name: u8,
    },
}

fn factor() -> impl Strategy<Value = Factor> {
    prop_oneof![
        4 => Just(Factor::Totp),
        3 => Just(Factor::Sms),
        2 => Just(Factor::Webauthn),
        1 => Just(Factor::Mail),
        1 => Just(Factor::Recovery),
    ]
}

fn price() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some("NaN".to_owned())),
        1 => Just(Some("-3".to_owned())),
        2 => "[0-9]{1,30}\\.[0-9]{1,30}".prop_map(Some),
        2 => "[0-9]{1,3}E-?[0-9]".prop_map(Some),
        6 => "[0-9]{1,5}\\.[0-9]{2}".prop_map(Some),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let settled = prop_oneof![Just(Settled::Done), Just(Settled::Refused), Just(Settled::Unknown)];
    let wait = prop_oneof![
        6 => 0..MINUTE,
        4 => 0..6 * MINUTE,
        2 => 0..2 * HOUR,
        1 => 0..2 * DAY,
    ];
    let (who, with, pick) = (0..3u8, 0..2u8, 0..40usize);
    prop_oneof![
        12 => wait.prop_map(Step::Wait),
        3 => (who.clone(), with.clone()).prop_map(|(who, with)| Step::Look { who, with }),
        3 => (who.clone(), with.clone(), 0..5u8)
            .prop_map(|(who, with, place)| Step::Sight { who, with, place }),
        12 => (who.clone(), with.clone(), 0..3u8, 0..2u8, price(), proptest::option::of(0..3u8))
            .prop_map(|(who, with, intent, action, usd, to)| {
                Step::Begin { who, with, intent, action, usd, to }
            }),
        4 => (pick.clone(), 0..4u8).prop_map(|(pick, holds)| Step::Abandon { pick, holds }),
        7 => (pick.clone(), settled, proptest::option::of((0..3u8, 0..3u8)))
            .prop_map(|(pick, settled, learn)| Step::Settle { pick, settled, learn }),
        12 => (who.clone(), with.clone(), 0..5u8, 0..6u8, any::<bool>())
            .prop_map(|(who, with, scope, asks, held)| Step::Open { who, with, scope, asks, held }),
        6 => (who.clone(), with.clone(), factor(), any::<bool>()).prop_map(
            |(who, with, factor, codes)| Step::OpenPending { who, with, factor, codes }
        ),
        3 => who.clone().prop_map(|who| Step::OpenChallenges { who }),
        8 => (0..2u8, 0..2u8, prop_oneof![3 => Just(0u8), 1 => 0..6u8])
            .prop_map(|(who, intent, asks)| Step::Approve { who, intent, asks }),
        10 => (0..2u8, 0..2u8, 0..3u8, 0..2u8)
            .prop_map(|(who, intent, kind, to)| Step::Learn { who, intent, kind, to }),
        6 => (0..2u8, proptest::option::of(0..2u8), 1..3u8)
            .prop_map(|(who, to, holds)| Step::Hold { who, to, holds }),
        4 => pick.clone().prop_map(|pick| Step::Challenge { pick }),
        14 => (pick.clone(), with.clone(), factor())
            .prop_map(|(pick, with, factor)| Step::Spend { pick, with, factor }),
        14 => (pick.clone(), factor(), 0..60u64, 0..4usize)
            .prop_map(|(pick, factor, step, mac)| Step::Prove { pick, factor, step, mac }),
        1 => (pick.clone(), any::<bool>()).prop_map(|(pick, freeze)| Step::Reject { pick, freeze }),
        4 => (pick.clone(), with).prop_map(|(pick, with)| Step::TakeHeld { pick, with }),
        6 => (pick.clone(), 0..2u8).prop_map(|(pick, number)| Step::SendCode { pick, number }),
        4 => (0..3 * MINUTE).prop_map(|lease_ms| Step::NextMessage { lease_ms }),
        2 => (pick.clone(), proptest::option::of(0..3 * MINUTE))
            .prop_map(|(pick, again_ms)| Step::MessageDone { pick, again_ms }),
        4 => (pick.clone(), 0..3u8).prop_map(|(pick, what)| Step::AskPasskey { pick, what }),
        2 => (who.clone(), factor(), 0..3u8, 0..3u8)
            .prop_map(|(who, factor, was, now)| Step::Renew { who, factor, was, now }),
        6 => (pick.clone(), proptest::option::of(0..3u8), 0..3u8)
            .prop_map(|(pick, was, now)| Step::Made { pick, was, now }),
        2 => (who.clone(), factor(), 0..3u8, proptest::option::of(0..3u8))
            .prop_map(|(who, factor, was, now)| Step::Replace { who, factor, was, now }),
        2 => who.clone().prop_map(|who| Step::Freeze { who }),
        1 => who.clone().prop_map(|who| Step::Thaw { who }),
        2 => who.clone().prop_map(|who| Step::AskThaw { who }),
        1 => (who.clone(), 0..2 * HOUR).prop_map(|(who, ago_ms)| Step::FreezeTold { who, ago_ms }),
        3 => (who.clone(), factor(), proptest::option::of(0..60u64), 0..10u8, any::<bool>())
            .prop_map(|(who, factor, step, disabled, by_owner)| {
                Step::Enrol { who, factor, step, disabled: disabled == 0, by_owner }
            }),
        1 => (who.clone(), factor()).prop_map(|(who, factor)| Step::Disenrol { who, factor }),
        3 => who.prop_map(|who| Step::Account { who }),
        1 => (0..2u8, 0..3u8).prop_map(|(name, value)| Step::Adopt { name, value }),
        1 => (0..2u8, 0..3u8, 0..HOUR)
            .prop_map(|(name, value, ms)| Step::Lend { name, value, ms }),
        1 => (0..2u8).prop_map(|name| Step::Lent { name }),
    ]
}

/// What was begun and opened so far, the same in both stores.
#[derive(Clone, Default)]
struct Past {
    attempts: Vec<(AttemptId, AccountId, UnixMs)>,
    challenges: Vec<(ChallengeId, AccountId, UnixMs)>,
    messages: Vec<u64>,
    made: u32,
}

impl Past {
    /// One of the newest; or one that was never opened, or is another's. What is long over is forgotten by each store
    /// in its own time, so it is not asked for.
    fn challenge(&self, pick: usize, at: UnixMs) -> (ChallengeId, AccountId) {
        let newest_first = self.challenges.iter().rev();
        let mut recent = newest_first.filter(|(_, _, since)| at.since_ms(*since) < DAY);
        match recent.nth(pick % 8) {
            Some((id, ..)) if pick == 39 => (id.clone(), who(2)),
            Some((id, who, _)) => (id.clone(), who.clone()),
            None => (ChallengeId::new("none"), who(0)),
        }
    }
    fn attempt(&self, pick: usize, at: UnixMs) -> (AttemptId, AccountId) {
        let newest_first = self.attempts.iter().rev();
        let mut recent = newest_first.filter(|(_, _, since)| at.since_ms(*since) < 6 * DAY);
        match recent.nth(pick % 10) {
            Some((id, who, _)) => (id.clone(), who.clone()),
            None => (AttemptId::new("none"), who(0)),
        }
    }
    fn name(&mut self) -> String {
        self.made += 1;
        format!("n{}", self.made)
    }
}

/// What `totp` enrols, or what another sentence may have put there.
fn secret(n: u8) -> Vec<u8> {
    if n == 0 { totp().secret } else { vec![n, 0] }
}

fn passkeys(n: u8) -> Enrolled {
    Enrolled { factor: Factor::Webauthn, secret: secret(n), ..totp() }
}

fn who(n: u8) -> AccountId {
    account(["alice", "b|ob:1", "ca\0rol"][usize::from(n)])
}

fn with(n: u8) -> Credential {
    let kind = if n == 0 { CredentialKind::Session } else { CredentialKind::ApiKey };
    Credential { kind, id: CredentialId::new("s") }
}

fn destination(n: u8) -> Arc<str> {
    ["x", "y|z", ""][usize::from(n)].into()
}

fn asked(n: u8) -> Vec<Term> {
    let one = FactorExpr::One;
    let both = || FactorExpr::All(vec![one(Factor::Sms), one(Factor::Totp)]);
    match n {
        0 => vec![term("large", either(), None)],
        1 => vec![term("large", both(), None)],
        2 => vec![term("far", either(), Some(Valid::Session))],
        3 => vec![
            term("far", one(Factor::Totp), Some(Valid::ForMs(MINUTE))),
            term("near", either(), Some(Valid::Session)),
        ],
        4 => vec![term("far", either(), Some(Valid::ForMs(DAY))), term("large", both(), None)],
        _ => vec![],
    }
}

/// The answers in words, with those that may differ left out: the order of counters, why something failed.
fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(_) => "an error".to_owned(),
    }
}

fn told_begun(begun: Result<Begun, StoreError>) -> String {
    let Ok(begun) = begun else { return "an error".to_owned() };
    let Begun { standing, counters: Counters(mut totals), address, holds, proof, open } = begun;
    totals.sort_by(|one, two| (&one.0, one.1).cmp(&(&two.0, two.1)));
    let totals: Vec<_> = totals
        .into_iter()
        .map(|(action, window, total)| {
            let usd = total.usd.map(|usd| shortest(&usd));
            (action, window, total.count, usd)
        })
        .collect();
    format!("{standing:?} {totals:?} {address:?} {holds:?} {proof:?} {open:?}")
}

fn shortest(usd: &Decimal) -> String {
    let reduced = usd.reduce();
    if reduced == Decimal::ZERO { "0".to_owned() } else { reduced.to_string() }
}

fn told_message(message: Result<Option<Message>, StoreError>) -> String {
    told(message.map(|found| found.map(|message| Message { id: 0, ..message })))
}

/// One step to one store; some are several sentences.
async fn say(store: &Arc<dyn Store>, past: &mut Past, step: &Step, at: UnixMs) -> String {
    let sentences = match *step {
        Step::Approve { who: n, intent, asks } => {
            if store.factors(&who(n)).await.expect("answers").is_empty() {
                store.enrol(&who(n), totp(), at).await.expect("enrols");
            }
            let fresh = 1_000 + u64::from(past.made);
            let prove = |factor| Step::Prove { pick: 0, factor, step: fresh, mac: 0 };
            vec![
                Step::Open { who: n, with: 0, scope: intent, asks, held: true },
                Step::Spend { pick: 0, with: 0, factor: Factor::Totp },
                prove(Factor::Totp),
            ]
        }
        Step::Learn { who, intent, kind, to } => vec![
            Step::Begin { who, with: 0, intent, action: 0, usd: None, to: Some(to) },
            Step::Settle { pick: 0, settled: Settled::Done, learn: Some((kind, to)) },
        ],
        Step::Hold { who, to, holds } => vec![
            Step::Begin { who, with: 0, intent: 0, action: 0, usd: None, to },
            Step::Abandon { pick: 0, holds },
        ],
        _ => return say_one(store, past, step.clone(), at).await,
    };
    let mut all = String::new();
    for sentence in sentences {
        all += &say_one(store, past, sentence, at).await;
        all.push('\n');
    }
    all
}

/// One sentence to one store.
async fn say_one(store: &Arc<dyn Store>, past: &mut Past, step: Step, at: UnixMs) -> String {
    match step {
        Step::Approve { .. } | Step::Learn { .. } | Step::Hold { .. } => unreachable!("not one"),
        Step::Wait(_) => String::new(),
        Step::Look { who: n, with: w } => told(store.look(&who(n), &with(w), at).await),
        Step::Sight { who: n, with: w, place } => {
            let mut sighting = seen(["DE", "FR", "US", "JP", ""][usize::from(place)], at);
            if place == 3 {
                (sighting.country, sighting.asn) = (None, None);
            }
            assert!(store.sight(&who(n), &with(w), sighting));
            all_noted(store).await;
            String::new()
        }
        Step::Begin { who: n, with: w, intent: i, action, usd, to } => {
            let id = past.name();
            past.attempts.push((AttemptId::new(id.as_str()), who(n), at));
            let action = ActionName::new(["withdrawal", "trans|fer"][usize::from(action)]);
            let usd = usd.map(|usd| match usd.as_str() {
                "NaN" => Decimal::NAN,
                number => number.parse().expect("a number"),
            });
            let begin = Begin {
                account: who(n),
                credential: with(w),
                action,
                intent: intent(i),
                usd,
                destination: to.map(destination),
                ..begin(&id)
            };
            told_begun(store.begin(begin, at).await)
        }
        Step::Abandon { pick, holds } => {
            let (id, who) = past.attempt(pick, at);
            let holds = (0..holds).map(|n| RuleId::new(format!("r{}", n % 3))).collect();
            told(store.abandon(id, &who, holds, at).await)
        }
        Step::Settle { pick, settled, learn } => {
            let (id, who) = past.attempt(pick, at);
            let learn = learn.map(|(kind, to)| {
                let destination = destination(to);
                match kind {
                    0 => Learn::Added { destination },
                    1 => Learn::Removed { destination },
                    _ => Learn::Used { destination },
                }
            });
            told(store.settle(id, &who, settled, learn, at).await)
        }
        Step::Open { who: n, with: w, scope, asks, held } => {
            let id = past.name();
            past.challenges.push((ChallengeId::new(id.as_str()), who(n), at));
            let scope = match scope {
                0..3 => Scope::Intent(intent(scope)),
                place => Scope::Place(["DE", "F|R"][usize::from(place) - 3].into()),
            };
            let challenge = Challenge {
                account: who(n),
                credential: with(w),
                scope,
                requirement: requirement(asked(asks)),
                created: at,
                expires: at.plus_ms(u64::from(asks) * 2 * MINUTE + 1),
                held: held.then(|| vec![0, 255, 13]),
                ..challenge(&id)
            };
            told(store.open_challenge(challenge, at).await)
        }
        Step::OpenPending { who: n, with: w, factor, codes } => {
            let id = past.name();
            past.challenges.push((ChallengeId::new(id.as_str()), who(n), at));
            let codes = if codes { codes_from(past) } else { Vec::new() };
            let waits = Challenge {
                account: who(n),
                credential: with(w),
                created: at,
                expires: at.plus_ms(5 * MINUTE),
                ..pending(&id, factor)
            };
            let pending = waits.pending.map(|pending| Pending { codes, ..pending });
            told(store.open_challenge(Challenge { pending, ..waits }, at).await)
        }
        Step::OpenChallenges { who: n } => told(store.open_challenges(&who(n), at).await),
        Step::Challenge { pick } => {
            let (id, who) = past.challenge(pick, at);
            told(store.challenge(&id, &who, at).await)
        }
        Step::Spend { pick, with: w, factor } => {
            let (id, who) = past.challenge(pick, at);
            told(store.spend_attempt(&id, &who, &with(w), factor, at).await)
        }
        Step::Prove { pick, factor, step, mac } => {
            let (id, who) = past.challenge(pick, at);
            let step = (step != 58).then_some(step);
            let mac = (mac < 3).then(|| format!("m{}", past.made.saturating_sub(mac as u32)));
            let code = mac.clone().unwrap_or_default();
            let proven = told(store.prove(&id, &who, factor, step, mac, at).await);
            proven + &told(store.code_verified(&code, at).await)
        }
        Step::Reject { pick, freeze } => {
            let (id, who) = past.challenge(pick, at);
            told(store.reject(&id, &who, freeze, at).await)
        }
        Step::TakeHeld { pick, with: w } => {
            let (id, who) = past.challenge(pick, at);
            told(store.take_held(&id, &who, &with(w), at).await)
        }
        Step::SendCode { pick, number: n } => {
            let (id, who) = past.challenge(pick, at);
            let mac = format!("m{}", past.made);
            let sealed = mac.as_bytes().to_vec();
            let to = Charge {
                meters: vec![
                    meter(BudgetScope::Prefix, &format!("+{}", n % 2), DAY, 5),
                    meter(BudgetScope::Overall, "", HOUR, 4),
                ],
                watches: vec![watch(BudgetScope::Range, &format!("r:{}", n % 2))],
                ..number(&n.to_string())
            };
            told(store.send_code(&id, &who, to, code(&mac, at), sealed, at).await)
        }
        Step::NextMessage { lease_ms } => {
            let stops = told(store.sms_stops(at).await);
            let message = store.next_message(lease_ms, at).await;
            if let Ok(Some(message)) = &message {
                past.messages.push(message.id);
            }
            stops + &told_message(message)
        }
        Step::MessageDone { pick, again_ms } => {
            let Some(id) = past.messages.iter().rev().nth(pick % 3) else { return String::new() };
            told(store.message_done(*id, again_ms.map(|ms| at.plus_ms(ms))).await)
        }
        Step::AskPasskey { pick, what } => {
            let (id, who) = past.challenge(pick, at);
            told(store.ask_passkey(&id, &who, vec![what, 0, 255], at).await)
        }
        Step::Made { pick, was, now } => {
            let (id, who) = past.challenge(pick, at);
            let enrolled = Enrolled { since: at, usable_from: at.plus_ms(HOUR), ..passkeys(now) };
            told(store.enrol_made(&id, &who, was.map(secret), enrolled, at).await)
        }
        Step::Replace { who: n, factor, was, now } => {
            let enrolled = now.map(|n| Enrolled { factor, since: at, ..passkeys(n) });
            told(store.replace_factor(&who(n), factor, secret(was), enrolled, at).await)
        }
        Step::Renew { who: n, factor, was, now } => {
            told(store.renew_factor(&who(n), factor, secret(was), secret(now), at).await)
        }
        Step::Freeze { who: n } => {
            let by = if n == 0 { "owner" } else { "operator:eve" };
            told(store.freeze(&who(n), by.into(), at).await)
        }
        Step::AskThaw { who: n } => told(store.ask_thaw(&who(n), at).await),
        Step::FreezeTold { who: n, ago_ms } => {
            let told_at = Told { at: UnixMs(at.0.saturating_sub_unsigned(ago_ms)), opens: None };
            told(store.freeze_told(&who(n), "owner link".into(), told_at, at).await)
        }
        Step::Thaw { who: n } => told(store.thaw(&who(n), at).await),
        Step::Enrol { who: n, factor, step, disabled, by_owner } => {
            let usable_from = at.plus_ms(if by_owner { HOUR } else { 0 });
            let codes = if factor == Factor::Recovery { codes_from(past) } else { Vec::new() };
            let enrolled = Enrolled { usable_from, codes, ..totp() };
            let enrolled = Enrolled { factor, last_step: step, disabled, since: at, ..enrolled };
            told(store.enrol(&who(n), enrolled, at).await)
        }
        Step::Disenrol { who: n, factor } => told(store.disenrol(&who(n), factor, at).await),
        Step::Account { who: n } => {
            let card = told(store.account(&who(n), at).await);
            format!("{card} {}", told(store.factors(&who(n)).await))
        }
        Step::Adopt { name, value } => told(store.adopt(&format!("k{name}"), vec![value]).await),
        Step::Lend { name, value, ms } => {
            let until = at.plus_ms(ms);
            told(store.lend(&format!("k{name}"), vec![value], until, at).await)
        }
        Step::Lent { name } => told(store.lent(&format!("k{name}"), at).await),
    }
}

/// The MACs that are tried next are among them.
fn codes_from(past: &Past) -> Vec<String> {
    (past.made..past.made + 8).map(|n| format!("m{n}")).collect()
}

fn limits() -> impl Strategy<Value = Limits> {
    let few = || prop_oneof![8 => Just(3u32), 4 => Just(5), 2 => Just(1), 1 => Just(0)];
    (few(), few(), few(), 0..4usize, prop_oneof![4 => Just(100u32), 2 => Just(4), 1 => Just(0)])
        .prop_map(|(attempts_max, failures_max, sends, open_per_account_max, failures_disable)| {
            Limits {
                attempts_max,
                failures_max,
                failures_disable,
                open_per_account_max,
                sms_per_10min_max: sends,
                sms_per_day_max: sends + 1,
                thaw_delay_ms: u64::from(sends) * MINUTE,
                ..Limits::default()
            }
        })
}

#[test]
fn redis_says_what_the_embedded_store_says() {
    compare(limits(), proptest::collection::vec(step(), 1..150), 40);
}

/// Counters alone, over weeks.
#[test]
fn the_totals_are_those_of_the_embedded_ledger() {
    let wait = prop_oneof![3 => 0..HOUR, 2 => 0..30 * HOUR];
    let begin = (0..2u8, price()).prop_map(|(action, usd)| Step::Begin {
        who: 0,
        with: 0,
        intent: 0,
        action,
        usd,
        to: None,
    });
    let step = prop_oneof![
        4 => wait.prop_map(Step::Wait),
        4 => begin,
        1 => (0..10usize).prop_map(|pick| Step::Abandon { pick, holds: 0 }),
    ];
    compare(Just(Limits::default()), proptest::collection::vec(step, 1..120), 20);
}

fn compare(
    limits: impl Strategy<Value = Limits>,
    steps: impl Strategy<Value = Vec<Step>>,
    cases: u32,
) {
    let more = std::env::var("STEPGATE_TEST_CASES").ok().and_then(|text| text.parse().ok());
    let config = Config { cases: more.unwrap_or(cases), ..Config::default() };
    let runtime = runtime();
    let outcome = TestRunner::new(config).run(&(limits, steps), |(limits, steps)| {
        runtime.block_on(async {
            let stores = [embedded(limits.clone()), redis::single(limits)];
            say_to_both(&stores, &steps).await
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn say_to_both(stores: &[Arc<dyn Store>; 2], steps: &[Step]) -> Result<(), TestCaseError> {
    let ([first, second], mut at) = (stores, NOW);
    let (mut one, mut two) = (Past::default(), Past::default());
    for (n, step) in steps.iter().enumerate() {
        if let Step::Wait(ms) = step {
            // A month is what sessions are kept for.
            at = at.plus_ms(*ms).min(after(29 * DAY));
        }
        let expected = say(first, &mut one, step, at).await;
        let answer = say(second, &mut two, step, at).await;
        prop_assert_eq!(answer, expected, "step {}: {:?}", n, step);
    }
    Ok(())
}
