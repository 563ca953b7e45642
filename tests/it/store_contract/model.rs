//! Random sentences against a small model of counters and challenges.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stepgate::stepup::challenge::{Challenge, Limits, State};
use stepgate::store::{Begin, Opened, Proven, Settled, Spent, Store};
use stepgate::types::{ChallengeId, Factor, UnixMs};

use super::Make;
use super::fixtures::*;

/// One sentence; small numbers pick among a few attempts, intents and challenges.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Begin { intent: u8 },
    Settle { pick: usize, settled: Settled },
    Abandon { pick: usize },
    Open { intent: u8 },
    Spend { intent: u8 },
    Prove { intent: u8, step: u64 },
    Reject { intent: u8 },
    Freeze,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let settled = prop_oneof![Just(Settled::Done), Just(Settled::Refused), Just(Settled::Unknown)];
    let step = prop_oneof![
        2 => (0..3 * MINUTE).prop_map(Step::Wait),
        4 => (0..3u8).prop_map(|intent| Step::Begin { intent }),
        3 => (any::<usize>(), settled).prop_map(|(pick, settled)| Step::Settle { pick, settled }),
        2 => any::<usize>().prop_map(|pick| Step::Abandon { pick }),
        5 => (0..3u8).prop_map(|intent| Step::Open { intent }),
        5 => (0..3u8).prop_map(|intent| Step::Spend { intent }),
        4 => (0..3u8, 0..40u64).prop_map(|(intent, step)| Step::Prove { intent, step }),
        1 => (0..3u8).prop_map(|intent| Step::Reject { intent }),
        1 => Just(Step::Freeze),
    ];
    proptest::collection::vec(step, 1..60)
}

/// One account and one credential; three intents, so that the limit of open challenges is never
/// met.
#[derive(Default)]
struct Model {
    sending: Vec<String>,
    counted: u64,
    /// By intent: the newest challenge's id, state, attempts left and expiry.
    challenges: BTreeMap<u8, (String, State, u32, UnixMs)>,
    failures: u32,
    blocks: u32,
    blocked_until: Option<UnixMs>,
    last_step: Option<u64>,
    made: u32,
}

impl Model {
    fn state(&self, intent: u8, now: UnixMs) -> Option<State> {
        let (_, state, left, expires) = self.challenges.get(&intent)?;
        Some(match state {
            State::Open if *left == 0 => State::Locked,
            State::Open | State::Approved if now >= *expires => State::Expired,
            state => *state,
        })
    }

    fn blocked(&self, now: UnixMs) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    fn id(&self, intent: u8) -> String {
        self.challenges.get(&intent).map_or("none".to_owned(), |(id, ..)| id.clone())
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("n{}", self.made)
    }

    async fn step(&mut self, store: &Arc<dyn Store>, step: Step, now: UnixMs) {
        match step {
            Step::Wait(_) => {}
            Step::Begin { intent: n } => self.begin(store, n, now).await,
            Step::Settle { pick, settled } => {
                let Some(id) = self.pick(pick) else { return };
                settle(store, &id, settled, now).await;
                self.counted -= u64::from(settled == Settled::Refused);
            }
            Step::Abandon { pick } => {
                let Some(id) = self.pick(pick) else { return };
                abandon(store, &id, &[], now).await;
                self.counted -= 1;
            }
            Step::Open { intent } => self.open(store, intent, now).await,
            Step::Spend { intent } => self.spend(store, intent, now).await,
            Step::Prove { intent, step } => self.prove(store, intent, step, now).await,
            Step::Reject { intent } => {
                store
                    .reject(&ChallengeId::new(self.id(intent)), &alice(), false, now)
                    .await
                    .expect("answers");
                self.end(intent, State::Rejected, now);
            }
            Step::Freeze => {
                store.freeze(&alice(), "owner".into(), now).await.expect("freezes");
                (0..3).for_each(|intent| self.end(intent, State::Expired, now));
            }
        }
    }

    fn pick(&mut self, pick: usize) -> Option<String> {
        let at = pick.checked_rem(self.sending.len())?;
        Some(self.sending.remove(at))
    }

    fn end(&mut self, intent: u8, end: State, now: UnixMs) {
        if matches!(self.state(intent, now), Some(State::Open | State::Approved)) {
            self.challenges.get_mut(&intent).expect("has a state").1 = end;
        }
    }

    async fn begin(&mut self, store: &Arc<dyn Store>, n: u8, now: UnixMs) {
        let id = self.name();
        let begun = begun(store, Begin { intent: intent(n), ..begin(&id) }, now).await;
        let total = begun.counters.0.first().map_or(0, |(_, _, total)| total.count);
        assert_eq!(total, self.counted);
        let granted = self.state(n, now) == Some(State::Approved);
        assert_eq!(begun.proof.is_some(), granted);
        assert_eq!(begun.open.is_some(), self.state(n, now) == Some(State::Open));
        if granted {
            self.challenges.get_mut(&n).expect("granted").1 = State::Used;
        }
        self.sending.push(id);
        self.counted += 1;
    }

    async fn open(&mut self, store: &Arc<dyn Store>, n: u8, now: UnixMs) {
        let id = self.name();
        let expires = now.plus_ms(5 * MINUTE);
        let asked = about(n, Challenge { expires, ..challenge(&id) });
        let opened = store.open_challenge(asked, now).await.expect("answers");
        match (self.state(n, now), opened) {
            (Some(State::Approved), Opened::Existing(known)) => {
                assert_eq!(known.id.as_str(), self.id(n));
            }
            (_, Opened::Blocked { until }) => assert_eq!(Some(until), self.blocked_until),
            (Some(State::Open), Opened::Existing(known)) => {
                assert_eq!(known.id.as_str(), self.id(n));
            }
            (known, Opened::New(_)) => {
                assert!(!matches!(known, Some(State::Open | State::Approved)), "{known:?}");
                assert!(!self.blocked(now));
                self.challenges.insert(n, (id, State::Open, 5, expires));
            }
            other => panic!("{other:?}"),
        }
    }

    async fn spend(&mut self, store: &Arc<dyn Store>, n: u8, now: UnixMs) {
        let spent = spend(store, &self.id(n), Factor::Totp, now).await;
        match (self.state(n, now), spent) {
            (None, Spent::Missing) => {}
            (_, Spent::Blocked { until }) => assert_eq!(Some(until), self.blocked_until),
            (Some(State::Open), Spent::Compare { left, .. }) => {
                assert!(!self.blocked(now));
                let known = self.challenges.get_mut(&n).expect("open");
                known.2 -= 1;
                assert_eq!(left, known.2);
                self.failures += 1;
                if self.failures.is_multiple_of(5) {
                    self.blocks += 1;
                    let ms = (15 * MINUTE) << (self.blocks - 1).min(7);
                    self.blocked_until = Some(now.plus_ms(ms.min(DAY)));
                }
            }
            (Some(state), Spent::Closed(closed)) => assert_eq!(closed.state, state),
            other => panic!("{other:?}"),
        }
    }

    async fn prove(&mut self, store: &Arc<dyn Store>, n: u8, step: u64, now: UnixMs) {
        let raw = self.challenges.get(&n).map(|(_, state, _, expires)| (*state, *expires));
        let Some((raw, expires)) = raw else { return };
        match prove_totp(store, &self.id(n), step, now).await {
            Proven::Approved(_) => {
                assert!(raw == State::Open && now < expires);
                assert!(self.last_step.is_none_or(|last| step > last));
                self.last_step = Some(step);
                (self.failures, self.blocks, self.blocked_until) = (0, 0, None);
                let known = self.challenges.get_mut(&n).expect("open");
                (known.1, known.3) = (State::Approved, now.plus_ms(5 * MINUTE));
            }
            Proven::Replayed => assert!(self.last_step.is_some_and(|last| step <= last)),
            Proven::Closed(_) => assert!(raw != State::Open || now >= expires),
            Proven::More(_) => panic!("one factor is enough"),
        }
    }

    async fn compare(&self, store: &Arc<dyn Store>, now: UnixMs) {
        for intent in 0..3 {
            let id = ChallengeId::new(self.id(intent));
            let found = store.challenge(&id, &alice(), now).await.expect("answers");
            assert_eq!(found.map(|known| known.state), self.state(intent, now));
        }
        let card = store.account(&alice(), now).await.expect("answers");
        assert_eq!(card.failures, self.failures);
        assert_eq!(card.blocked_until, self.blocked_until.filter(|until| now < *until));
    }
}

pub async fn random_sentences_agree_with_the_model(make: Make) {
    let runtime = tokio::runtime::Handle::current();
    let check = move || {
        let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
        let outcome = runner.run(&steps(), |steps| {
            runtime.block_on(async {
                let store = make(Limits::default());
                store.enrol(&alice(), totp(), NOW).await.expect("enrols");
                let (mut model, mut now) = (Model::default(), NOW);
                for step in steps {
                    if let Step::Wait(ms) = step {
                        now = now.plus_ms(ms);
                    }
                    model.step(&store, step, now).await;
                    model.compare(&store, now).await;
                }
            });
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    };
    tokio::task::spawn_blocking(check).await.expect("the model and the store agree");
}
