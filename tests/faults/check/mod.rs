//! The model: what must be true of every run, whatever was broken. Reads a history and nothing else.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use history::*;

/// Compared guesses in a row that an account is worth; a failover may cost as many again.
const GUESSES_MAX: usize = 5;
/// A guarded request is refused within the deadline of 250 ms; the rest is the client's own handshake on a busy machine.
pub const REFUSED_WITHIN_MS: i64 = 1_500;
/// No gateway's view is older.
const VIEW_AGE_MAX_MS: i64 = 2_000;
/// What was under way when something else happened is over after so long.
const UNDER_WAY_MS: i64 = 1_000;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    Approved,
    Once,
    Recorded,
    Guesses,
    Steps,
    Frozen,
    Chains,
    Ordinary,
    Refused,
    Recovered,
}

impl Rule {
    pub const ALL: [Self; 10] = [
        Self::Approved,
        Self::Once,
        Self::Recorded,
        Self::Guesses,
        Self::Steps,
        Self::Frozen,
        Self::Chains,
        Self::Ordinary,
        Self::Refused,
        Self::Recovered,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved => "every executed action has its own owner's approval before it",
            Self::Once => "no approval is used twice and no request sent twice",
            Self::Recorded => "every executed action has its durable intent record",
            Self::Guesses => "compared guesses in a row: at most 5, and 5 more per failover",
            Self::Steps => "no TOTP step is accepted twice",
            Self::Frozen => "nothing is written for a frozen account",
            Self::Chains => "audit chains are whole",
            Self::Ordinary => "ordinary traffic has no error but at a killed gateway",
            Self::Refused => "without Redis guarded requests are 503 with Retry-After, in time",
            Self::Recovered => "every gateway recovers from every fault without a restart",
        })
    }
}

/// What was violated, by whom, how.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub account: Option<String>,
    pub what: String,
}

/// What was looked at and what was wrong with it.
#[derive(Default)]
pub struct Findings {
    pub looked_at: BTreeMap<Rule, usize>,
    pub violations: Vec<Violation>,
}

impl Findings {
    fn look(&mut self, rule: Rule) {
        *self.looked_at.entry(rule).or_default() += 1;
    }

    fn demand(&mut self, rule: Rule, account: &str, so: bool, what: impl FnOnce() -> String) {
        self.look(rule);
        if !so {
            let account = (!account.is_empty()).then(|| account.to_owned());
            self.violations.push(Violation { rule, account, what: what() });
        }
    }
}

pub fn check(history: &History) -> Findings {
    let mut findings = Findings::default();
    executions(history, &mut findings);
    guesses(history, &mut findings);
    steps(history, &mut findings);
    freezes(history, &mut findings);
    ordinary(history, &mut findings);
    refused(history, &mut findings);
    for chain in &history.chains {
        let said = || format!("gateway {}: {}", chain.gateway, chain.said);
        findings.demand(Rule::Chains, "", chain.whole, said);
    }
    for Recovery { kind, gateway, took_ms } in &history.recoveries {
        let never = || format!("gateway {gateway} never answered again after: {kind}");
        findings.demand(Rule::Recovered, "", took_ms.is_some(), never);
    }
    findings
}

/// May have approved: the code was right, and what came of it is not that it was refused.
fn may_approve(answer: &Answered) -> bool {
    let status = answer.call.status;
    answer.step.is_some() && status.is_none_or(|status| status == 200 || status >= 500)
}

fn executions(history: &History, findings: &mut Findings) {
    // Which challenge a gateway says it took, by the request that took it.
    let mut intents: BTreeMap<&str, &str> = BTreeMap::new();
    for note in history.noted.iter().filter(|note| note.event == "intent") {
        intents.insert(&note.request, &note.challenge);
    }
    let (mut requests, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for done in &history.executed {
        let (account, request, order) = (&done.account, &*done.request, &done.order);
        let new = requests.insert(request);
        findings.demand(Rule::Once, account, new, || format!("sent twice: {request} {order}"));
        let challenge = intents.get(request).copied();
        let missing = || format!("no intent record of {request}: {order}");
        findings.demand(Rule::Recorded, account, challenge.is_some(), missing);
        let Some(challenge) = challenge else { continue };
        let new = taken.insert(challenge);
        findings.demand(Rule::Once, account, new, || format!("used twice: {challenge} {order}"));
        let shown = history.asked.iter().any(|asked| {
            asked.challenge.as_deref() == Some(challenge)
                && asked.order == *order
                && asked.call.account == *account
        });
        let approved = history.answered.iter().any(|answer| {
            answer.challenge == challenge
                && answer.call.account == *account
                && answer.call.sent <= done.at
                && may_approve(answer)
        });
        let what = || {
            let shown = if shown { "no right code was given for" } else { "it was not shown" };
            format!("{order} was executed by request {request}: {shown} challenge {challenge}")
        };
        findings.demand(Rule::Approved, account, shown && approved, what);
    }
}

/// What a gateway compared, by account in its order: whether it was right.
fn compared(history: &History) -> BTreeMap<&str, Vec<(i64, bool)>> {
    let mut by_request: BTreeMap<(&str, &str), (i64, bool)> = BTreeMap::new();
    for note in &history.noted {
        let right = match &*note.event {
            "attempt_failed" | "challenge_locked" => false,
            "challenge_approved" | "challenge_proven" => true,
            _ => continue,
        };
        by_request.insert((&note.account, &note.request), (note.at, right));
    }
    for answer in &history.answered {
        let (call, error) = (&answer.call, &*answer.call.error);
        let right = match call.status {
            Some(200) => true,
            Some(403) if ["wrong_code", "replayed_code"].contains(&error) => false,
            Some(400) if error == "bad_code" => false,
            _ => continue,
        };
        by_request.entry((&call.account, &call.request)).or_insert((call.done, right));
    }
    let mut by_account: BTreeMap<&str, Vec<(i64, bool)>> = BTreeMap::new();
    for ((account, _), compared) in by_request {
        by_account.entry(account).or_default().push(compared);
    }
    by_account.values_mut().for_each(|all| all.sort_unstable());
    by_account
}

fn guesses(history: &History, findings: &mut Findings) {
    let most = GUESSES_MAX * (1 + history.failovers());
    for (account, compared) in compared(history) {
        let rights = compared.iter().filter(|(_, right)| *right).map(|(at, _)| *at);
        let rights: Vec<i64> = rights.collect();
        // What was wrong at about the time of something right may stand on either side of it.
        let beside = |at: i64| rights.iter().any(|right| (at - right).abs() <= UNDER_WAY_MS);
        let (mut row, mut longest) = (0, 0);
        for (at, right) in compared {
            match right {
                true => row = 0,
                false if beside(at) => {}
                false => row += 1,
            }
            longest = longest.max(row);
        }
        let what = || format!("{longest} guesses in a row were compared, at most {most} may be");
        findings.demand(Rule::Guesses, account, longest <= most, what);
    }
}

fn steps(history: &History, findings: &mut Findings) {
    let mut intents = history.noted.iter().filter(|note| note.event == "intent");
    let taken: BTreeSet<&str> = intents.by_ref().map(|note| &*note.challenge).collect();
    let mut approved: BTreeSet<&str> = taken;
    let notes = history.noted.iter().filter(|note| note.event == "challenge_approved");
    approved.extend(notes.map(|note| &*note.challenge));
    // The steps by which each approved challenge may have been approved.
    let mut by_challenge: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for answer in history.answered.iter().filter(|answer| may_approve(answer)) {
        let (challenge, account) = (&*answer.challenge, &*answer.call.account);
        if answer.call.status == Some(200) || approved.contains(challenge) {
            by_challenge.entry((account, challenge)).or_default().extend(answer.step);
        }
    }
    let mut accepted: BTreeMap<(&str, u64), &str> = BTreeMap::new();
    for ((account, challenge), steps) in by_challenge {
        // With two it is not known which of them counted.
        let [step] = *steps.into_iter().collect::<Vec<_>>() else { continue };
        let before = accepted.insert((account, step), challenge);
        let what = || format!("step {step} approved {challenge} and {}", before.unwrap_or(""));
        findings.demand(Rule::Steps, account, before.is_none(), what);
    }
}

fn freezes(history: &History, findings: &mut Findings) {
    for Frozen { account, from, until } in &history.frozen {
        let executed = history.executed.iter().find(|done| {
            done.account == *account && (from + UNDER_WAY_MS..*until).contains(&done.at)
        });
        let what = || format!("executed while frozen: {executed:?}");
        findings.demand(Rule::Frozen, account, executed.is_none(), what);
        let stale = from + VIEW_AGE_MAX_MS;
        let passed = history.plain.iter().find(|it| {
            it.write
                && it.call.account == *account
                && it.call.sent >= stale
                && it.call.done <= *until
                && it.call.status == Some(200)
                // Without a store nobody can be asked, and a session that verifies goes on.
                && !history.faults.iter().any(|fault| {
                    fault.kind.is_stores()
                        && it.call.done >= fault.from
                        && it.call.sent <= fault.until + VIEW_AGE_MAX_MS
                })
        });
        let what = || format!("an ordinary write passed while frozen: {passed:?}");
        findings.demand(Rule::Frozen, account, passed.is_none(), what);
    }
}

fn ordinary(history: &History, findings: &mut Findings) {
    for Plain { call, write } in &history.plain {
        // A write may be refused because the account is frozen; that is no error.
        let well = call.status == Some(200) || *write && call.status == Some(423);
        let what = || format!("ordinary request {call}");
        findings.demand(Rule::Ordinary, &call.account, well || history.was_away(call), what);
    }
}

fn refused(history: &History, findings: &mut Findings) {
    let asked = history.asked.iter().map(|it| &it.call);
    let calls = asked.chain(history.answered.iter().map(|it| &it.call));
    for call in calls.filter(|call| !history.was_away(call)) {
        if call.status.is_none() {
            let what = || format!("a guarded request had no answer {call}");
            findings.demand(Rule::Refused, &call.account, false, what);
        } else if let Some(fault) = history.without_store(call) {
            let well = call.status == Some(503) && call.retry_after;
            let what = || format!("during \"{}\": {call}", fault.kind);
            findings.demand(Rule::Refused, &call.account, well, what);
        } else if call.status == Some(503) {
            let what = || format!("503 without Retry-After {call}");
            findings.demand(Rule::Refused, &call.account, call.retry_after, what);
        }
        if history.store_fault(call).is_some() {
            let took = call.done - call.sent;
            let what = || format!("answered only after {took} ms {call}");
            findings.demand(Rule::Refused, &call.account, took <= REFUSED_WITHIN_MS, what);
        }
    }
}
