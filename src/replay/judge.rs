//! Decides recorded requests again, one after the other, and counts what comes out otherwise.
//!
//! Never recomputes a fact by itself. Invariant: a request is judged once, from its first line that tells its facts; a request
//! that used an approval is told with the request that was asked for it.

use std::sync::Arc;

use super::anew::placed_anew;
use super::change::{Effect, Kind};
use super::forecast::{Forecast, Key, Recent};
use super::line::{Line, Text};
use super::tally::{Example, Tally, count_at};
use crate::locate::Locate;
use crate::policy::PolicySet;
use crate::policy::facts::{Decimal, Elevation, Fact, Facts, HoldRunning};
use crate::policy::number;
use crate::policy::recorded::{Noted, Reader, Recorded};
use crate::policy::verdict::{Decision, Requirement, Said, Term, Valid, Verdict};
use crate::types::{Factor, FactorSet, UnixMs};

/// What is replayed.
#[derive(Clone)]
pub struct Setup {
    pub site: Arc<str>,
    /// The site's own policy of today.
    pub live: Arc<PolicySet>,
    /// The one that is tried; the same again for a self-check.
    pub candidate: Arc<PolicySet>,
    pub since: Option<UnixMs>,
    pub until: Option<UnixMs>,
    /// Today's databases and lists, if places are to be looked up again.
    pub places: Option<Arc<dyn Locate>>,
}

impl Setup {
    /// A self-check: nothing may come out otherwise.
    pub fn is_own(&self) -> bool {
        Arc::ptr_eq(&self.live, &self.candidate) && self.places.is_none()
    }
}

/// Whoever looks on.
pub trait Watcher: Sync {
    /// So many bytes more were read.
    fn read(&self, _bytes: u64) {}
    /// This request comes out otherwise. Called by several workers.
    fn differs(&self, _kind: Kind, _request: &Example) {}
}

/// Nobody.
impl Watcher for () {}

/// One worker's part of a replay.
pub struct Judge<'w> {
    watcher: &'w dyn Watcher,
    setup: Setup,
    reader: Arc<Reader>,
    tally: Tally,
    forecast: Forecast,
    requests: Recent,
    challenges: Recent,
}

/// Answers and holds that one worker assumes at a time.
const FORECAST_MAX: usize = 500_000;
/// Requests and challenges that one worker remembers: their lines stand close to one another.
const RECENT_MAX: usize = 65_536;
/// Lines of one gateway stand in the order of time, but for those that were written at once.
const DISORDER_MS: u64 = 600_000;
/// An approval of a session holds no longer than this, whatever its credential says.
const SESSION_MS: u64 = 86_400_000;

impl<'w> Judge<'w> {
    pub fn new(setup: Setup, reader: Arc<Reader>, watcher: &'w dyn Watcher) -> Self {
        Self {
            watcher,
            setup,
            reader,
            tally: Tally::default(),
            forecast: Forecast::new(FORECAST_MAX),
            requests: Recent::new(RECENT_MAX),
            challenges: Recent::new(RECENT_MAX),
        }
    }

    pub fn finish(mut self) -> Tally {
        self.tally.dropped += self.forecast.dropped;
        self.tally
    }

    /// Takes in one line of file number `file`.
    pub fn line(&mut self, file: usize, number: u64, bytes: &[u8]) {
        self.tally.lines += 1;
        match serde_json::from_slice::<Line<'_>>(bytes) {
            Err(error) => self.tally.broken(file, number, error.to_string()),
            Ok(line) => match line.time.as_ref().parse::<jiff::Timestamp>() {
                Err(error) => self.tally.broken(file, number, error.to_string()),
                Ok(time) => self.take(&line, UnixMs(time.as_millisecond())),
            },
        }
    }

    pub fn broken(&mut self, file: usize, number: u64, why: &str) {
        self.tally.lines += 1;
        self.tally.broken(file, number, why.to_owned());
    }

    fn take(&mut self, line: &Line<'_>, time: UnixMs) {
        let (Some(site), Some(request)) = (&line.site, &line.request) else { return };
        let outside = self.setup.since.is_some_and(|since| time < since)
            || self.setup.until.is_some_and(|until| time >= until);
        if site.as_ref() != &*self.setup.site {
            self.tally.other_sites += 1;
            return;
        }
        if outside {
            self.tally.out_of_window += 1;
            return;
        }
        if line.event.as_ref() == "challenge_approved"
            && let Some(challenge) = &line.challenge
        {
            self.tally.unanswered.remove(&Key::of(challenge.as_ref()));
        }
        let old = match &line.verdict {
            Some(word) => Effect::from_word(word.as_ref()),
            // No rule had anything to say.
            None if !line.facts.0.is_empty() => Some(Effect::Allow),
            None => None,
        };
        let Some(old) = old else { return };
        let is_decided = DECIDED.contains(&line.event.as_ref());
        if line.facts.0.is_empty() && !is_decided {
            return;
        }
        if !self.requests.note(Key::of(request.as_ref())) {
            return;
        }
        if line.facts.0.is_empty() {
            self.tally.without_facts += 1;
            return;
        }
        let noted = Noted {
            time,
            facts: &line.facts.0,
            elements: line.elements.unwrap_or(1),
            elevations: &line.elevations,
            holds: &line.holds,
            client: line.client,
            country: line.place.as_ref().and_then(|place| Some(place.country.as_ref()?.as_ref())),
        };
        let reader = self.reader.clone();
        let recorded = reader.read(&noted);
        // Nobody is there to be asked: such a requirement is waived.
        let old = waived(old, line);
        let places = self.setup.places.clone();
        match places.and_then(|places| placed_anew(line, time, &*places)) {
            None => self.judge(line, old, recorded, None),
            Some(facts) => {
                self.tally.placed_anew += 1;
                let anew = reader.read(&Noted { facts: &facts, ..noted });
                self.judge(line, old, anew, Some(&recorded));
            }
        }
    }

    /// `told` is what the record says, where it is decided on something else.
    fn judge(
        &mut self,
        line: &Line<'_>,
        old: Effect,
        mut recorded: Recorded<'_>,
        told: Option<&Recorded<'_>>,
    ) {
        let who = Who::of(line, &recorded);
        let late = |last: UnixMs| recorded.now.plus_ms(DISORDER_MS) < last;
        self.tally.disordered += u64::from(self.tally.last.is_some_and(late));
        self.tally.seen_at(recorded.now);
        self.tally.requests += 1;
        if let Some(version) = &line.policy {
            let version: Arc<str> = version.as_ref().into();
            *self.tally.versions.entry(version).or_default() += 1;
        }
        let before = (!self.setup.is_own())
            .then(|| self.before(line, old, told.unwrap_or(&recorded)))
            .flatten();
        let known = Known { elevations: recorded.elevations.len(), holds: recorded.holds.len() };
        self.assume(&who, &mut recorded);
        let facts = recorded.facts();
        let decision = decided(&self.setup.candidate, &facts, line);
        let new = waived(effect(&decision.verdict), line);
        let is_follow_up = who.follows(line) && self.challenges.knows(who.challenge);
        let case = Case { line, old, new, facts: &facts, recorded: &recorded, known, who: &who };
        if is_follow_up {
            self.tally.follow_ups += 1;
            self.tally.follow_ups_changed += u64::from(old != new);
            return;
        }
        if line.event.as_ref() == OPENED && line.challenge.is_some() {
            self.challenges.note(who.challenge);
        }
        self.count(&case, &decision, before.as_ref());
        self.expect(&case, &decision, before.as_ref());
    }

    /// What the site's policy of today asks for, if it decides this request as it was decided.
    fn before(
        &mut self,
        line: &Line<'_>,
        old: Effect,
        recorded: &Recorded<'_>,
    ) -> Option<Requirement> {
        let decision = decided(&self.setup.live, &recorded.facts(), line);
        let same = waived(effect(&decision.verdict), line) == old
            && decision.said.iter().filter(|said| speaks(said)).all(|said| noted(line, said))
            && line.rules.iter().filter(|spoke| !spoke.shadow && !spoke.satisfied).all(|spoke| {
                decision.said.iter().any(|said| said.rule.as_str() == spoke.rule.as_ref())
            });
        if line.policy.as_ref().is_some_and(|it| it.as_ref() == self.setup.live.version().as_str())
        {
            self.tally.own += 1;
            self.tally.own_differ += u64::from(!same);
        }
        match decision.verdict {
            Verdict::Require(requirement) if same => Some(requirement),
            _ => None,
        }
    }

    /// What the candidate would have been answered, and which of its holds would run.
    fn assume(&self, who: &Who, recorded: &mut Recorded<'_>) {
        let answers = self.forecast.answers(who.credential, &recorded.place, recorded.now);
        let answers: Vec<Elevation> = answers.cloned().collect();
        recorded.elevations.extend(answers);
        recorded.holds.extend(self.forecast.holds(who.destination).cloned());
    }

    fn count(&mut self, case: &Case<'_>, decision: &Decision, before: Option<&Requirement>) {
        let Case { line, old, new, .. } = *case;
        let (first, is_own) = (case.facts.first(), self.setup.is_own());
        let action = first.map_or("", |facts| facts.action);
        let country = first.and_then(|facts| facts.geo.country.known()).unwrap_or("unknown");
        let kind = match Kind::between(old, new) {
            None if old == Effect::Require && !is_own => self.terms(before, &decision.verdict),
            kind => kind,
        };
        let tally = &mut self.tally;
        tally.untold += case.recorded.untold as u64;
        tally.matrix(old, new);
        let asked_before = u64::from(line.event.as_ref() == OPENED);
        let asked_after = match (old, new) {
            (Effect::Require, Effect::Require) => asked_before,
            (_, Effect::Require) => 1,
            _ => 0,
        };
        tally.prompts_before += asked_before;
        tally.prompts_after += asked_after;
        let day = tally.day(case.recorded.now);
        day.requests += 1;
        day.prompts_before += asked_before;
        day.prompts_after += asked_after;
        kind.into_iter().for_each(|kind| day.changes.add(kind));
        for (parts, name) in [(&mut tally.countries, country), (&mut tally.actions, action)] {
            count_at(parts, name, |part| {
                part.requests += 1;
                kind.into_iter().for_each(|kind| part.changes.add(kind));
            });
        }
        for fact in &case.recorded.unsaid {
            let (records, differ) = tally.unsaid.entry(*fact).or_default();
            *records += 1;
            *differ += u64::from(kind.is_some());
        }
        if line.account.is_some() {
            tally.all_accounts.insert(case.who.account);
        }
        self.assumed(case, decision);
        if let Some(kind) = kind {
            self.change(case, kind, decision, before, (action, country));
        }
    }

    /// Both verdicts ask: for the same?
    fn terms(&mut self, before: Option<&Requirement>, after: &Verdict) -> Option<Kind> {
        let Verdict::Require(after) = after else { return None };
        let Some(before) = before else {
            self.tally.terms_unknown += 1;
            return None;
        };
        if before == after {
            return None;
        }
        let all = || (0..64_u8).map(set_of);
        if all().any(|proven| before.met_by(proven) && !after.met_by(proven)) {
            return Some(Kind::AskedForMore);
        }
        all()
            .any(|proven| after.met_by(proven) && !before.met_by(proven))
            .then_some(Kind::AskedForLess)
    }

    /// Where an assumption of the forecast decided.
    fn assumed(&mut self, case: &Case<'_>, decision: &Decision) {
        let answers = case.recorded.elevations.get(case.known.elevations..).unwrap_or_default();
        let holds = case.recorded.holds.get(case.known.holds..).unwrap_or_default();
        if answers.is_empty() && holds.is_empty() {
            return;
        }
        let met = |said: &&Said| said.satisfied && !noted_met(case.line, said);
        let by_answer = |said: &Said| answers.iter().any(|answer| answer.rule == said.rule);
        let by_hold = |said: &Said| holds.iter().any(|hold| hold.rule == said.rule);
        let mut satisfied = decision.said.iter().filter(met);
        let covered = satisfied.clone().any(by_answer) && case.new == Effect::Allow;
        let served = satisfied.any(by_hold) && case.new < Effect::Hold;
        let within = decision.said.iter().any(|said| speaks(said) && by_hold(said));
        self.tally.covered += u64::from(covered);
        self.tally.after_hold += u64::from(served);
        self.tally.within_hold += u64::from(within && case.new == Effect::Hold);
    }

    fn change(
        &mut self,
        case: &Case<'_>,
        kind: Kind,
        decision: &Decision,
        before: Option<&Requirement>,
        (action, country): (&str, &str),
    ) {
        let rules = made_by(case, kind, decision, before);
        let account = case.line.account.as_ref().map_or("", AsRef::as_ref);
        let tally = &mut self.tally;
        let example = Example {
            time: case.recorded.now,
            request: case.line.request.as_ref().map_or("", AsRef::as_ref).to_owned(),
            account: account.to_owned(),
            action: action.to_owned(),
            country: country.to_owned(),
            rules: rules.clone(),
        };
        self.watcher.differs(kind, &example);
        tally.kind(kind, worth(case.facts), example);
        rules.iter().for_each(|rule| tally.rule(kind, rule));
        if case.line.account.is_some() {
            tally.account(account, kind);
        }
        if is_stranded(case, &decision.verdict, before) {
            tally.stranded += 1;
            tally.stranded_accounts.insert(case.who.account);
        }
        if kind == Kind::NoLongerAsked && case.line.event.as_ref() == OPENED {
            tally.unanswered.insert(case.who.challenge);
        }
    }

    /// What follows from it: the owner answers, a hold begins.
    fn expect(&mut self, case: &Case<'_>, decision: &Decision, before: Option<&Requirement>) {
        let now = case.recorded.now;
        match &decision.verdict {
            Verdict::Require(requirement) if !is_stranded(case, &decision.verdict, before) => {
                for term in &requirement.terms {
                    let Some(valid) = term.valid else { continue };
                    if was_asked(case, term, before) {
                        continue;
                    }
                    let ms = match valid {
                        Valid::Session => SESSION_MS,
                        Valid::ForMs(ms) => ms,
                    };
                    let answer = Elevation {
                        rule: term.rule.clone(),
                        factors: term.factors.factors(),
                        place: case.recorded.place.clone(),
                        until: now.plus_ms(ms),
                    };
                    self.forecast.answer(case.who.credential, answer, now);
                }
            }
            Verdict::Hold { until, starts, .. } => {
                for rule in starts {
                    let held = case.line.rules.iter().any(|spoke| {
                        spoke.rule.as_ref() == rule.as_str()
                            && spoke.outcome.as_ref() == "hold"
                            && !spoke.shadow
                    });
                    if held && case.old == Effect::Hold {
                        continue;
                    }
                    let hold = HoldRunning { rule: rule.clone(), since: now };
                    self.forecast.hold(case.who.destination, hold, *until, now);
                }
            }
            _ => {}
        }
    }
}

const OPENED: &str = "challenge_opened";
/// Events of a request that rules decided.
const DECIDED: [&str; 4] = ["intent", "decision", "refusal", OPENED];

/// One request with both verdicts.
struct Case<'c> {
    line: &'c Line<'c>,
    old: Effect,
    new: Effect,
    facts: &'c [Facts<'c>],
    recorded: &'c Recorded<'c>,
    known: Known,
    who: &'c Who,
}

/// How many elevations and holds were recorded; the others are assumed.
#[derive(Clone, Copy)]
struct Known {
    elevations: usize,
    holds: usize,
}

/// By what a request is known to the forecast.
struct Who {
    account: Key,
    credential: Key,
    destination: Key,
    challenge: Key,
}

impl Who {
    fn of(line: &Line<'_>, recorded: &Recorded<'_>) -> Self {
        let account = (said(&line.group), said(&line.account));
        let facts = recorded.facts();
        let to = |facts: &Facts<'_>| {
            ["asset", "network", "address"].map(|name| facts.fields.text(name).cloned())
        };
        let first = facts.first().map(to);
        // A batch to several destinations has none.
        let first = first.filter(|first| facts.iter().all(|facts| to(facts) == *first));
        Self {
            credential: Key::of((account, said(&line.credential))),
            destination: Key::of((account, "to", first)),
            account: Key::of(account),
            challenge: Key::of(said(&line.challenge).unwrap_or_default()),
        }
    }

    /// It used the approval of a challenge that another request had opened.
    fn follows(&self, line: &Line<'_>) -> bool {
        line.challenge.is_some() && line.event.as_ref() != OPENED
    }
}

fn said<'l>(text: &'l Option<Text<'_>>) -> Option<&'l str> {
    text.as_ref().map(AsRef::as_ref)
}

fn decided(policy: &PolicySet, facts: &[Facts<'_>], line: &Line<'_>) -> Decision {
    let decision = policy.decide(facts);
    let spoke = |rule: &str| line.rules.iter().any(|spoke| spoke.rule.as_ref() == rule);
    decision.asked_as_recorded(spoke)
}

fn effect(verdict: &Verdict) -> Effect {
    match verdict {
        Verdict::Allow(_) => Effect::Allow,
        Verdict::Require(_) => Effect::Require,
        Verdict::Hold { .. } => Effect::Hold,
        Verdict::Deny { .. } => Effect::Deny,
        Verdict::Freeze { .. } => Effect::Freeze,
    }
}

fn waived(effect: Effect, line: &Line<'_>) -> Effect {
    match effect {
        Effect::Require if line.account.is_none() => Effect::Allow,
        effect => effect,
    }
}

fn speaks(said: &Said) -> bool {
    !said.shadow && !said.satisfied
}

fn noted(line: &Line<'_>, said: &Said) -> bool {
    line.rules.iter().any(|spoke| {
        spoke.rule.as_ref() == said.rule.as_str()
            && spoke.outcome.as_ref() == said.outcome
            && (spoke.shadow, spoke.satisfied) == (said.shadow, said.satisfied)
    })
}

fn noted_met(line: &Line<'_>, said: &Said) -> bool {
    line.rules.iter().any(|spoke| spoke.rule.as_ref() == said.rule.as_str() && spoke.satisfied)
}

/// The owner was asked for this very term: what they did is in the record.
fn was_asked(case: &Case<'_>, term: &Term, before: Option<&Requirement>) -> bool {
    let asked = case.line.rules.iter().any(|spoke| {
        spoke.rule.as_ref() == term.rule.as_str()
            && spoke.outcome.as_ref() == "require"
            && !spoke.shadow
            && !spoke.satisfied
    });
    let same = before.is_none_or(|before| {
        before.terms.iter().any(|it| it.rule == term.rule && it.factors == term.factors)
    });
    case.old == Effect::Require && asked && same
}

/// The rules that made the difference: of the candidate where it is stricter, else those of the record.
fn made_by(
    case: &Case<'_>,
    kind: Kind,
    decision: &Decision,
    before: Option<&Requirement>,
) -> Vec<String> {
    if let (Kind::AskedForMore, Verdict::Require(after), Some(before)) =
        (kind, &decision.verdict, before)
    {
        let new = after.terms.iter().filter(|term| !before.terms.contains(term));
        return new.map(|term| term.rule.to_string()).collect();
    }
    if kind.is_stricter() {
        let word = case.new.word();
        let spoke = decision.said.iter().filter(|said| speaks(said) && said.outcome == word);
        return spoke.map(|said| said.rule.to_string()).collect();
    }
    let word = case.old.word();
    let spoke = case
        .line
        .rules
        .iter()
        .filter(|spoke| spoke.outcome.as_ref() == word && !spoke.shadow && !spoke.satisfied);
    spoke.map(|spoke| spoke.rule.as_ref().to_owned()).collect()
}

/// Asked for what the account cannot give, and was not before. A number that only the token carried is not in the
/// record.
fn is_stranded(case: &Case<'_>, verdict: &Verdict, before: Option<&Requirement>) -> bool {
    let Verdict::Require(requirement) = verdict else { return false };
    let usable = case.facts.first().map_or(FactorSet::default(), |facts| facts.factors);
    let was_able = match case.old {
        Effect::Require => before.is_some_and(|before| before.met_by(usable)),
        _ => true,
    };
    was_able && !requirement.met_by(usable)
}

/// What all elements together are worth; absent if none has an amount.
fn worth(facts: &[Facts<'_>]) -> Fact<Decimal> {
    let mut sum = Fact::Absent;
    for facts in facts {
        sum = match (sum, facts.usd_value) {
            (Fact::Unreadable, _) | (_, Fact::Unreadable) => return Fact::Unreadable,
            (Fact::Known(sum), Fact::Known(usd)) => Fact::Known(number::add(sum, usd)),
            (Fact::Absent, usd) => usd,
            (sum, Fact::Absent) => sum,
        };
    }
    sum
}

fn set_of(bits: u8) -> FactorSet {
    let here = |(at, _): &(usize, Factor)| bits & (1 << at) != 0;
    Factor::ALL.into_iter().enumerate().filter(here).map(|(_, factor)| factor).collect()
}
