//! The story of a raw request: seen, read, weighed, answered.
//!
//! Never asks a running gateway unless told so, and then only reads.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::customer::{Counter, Customer, End};
use super::decided::{Element, Grounds, Known, pairs};
use super::person::{Person, Told, identify};
use super::request::{Check, Meaning, Reading, Written, look, read};
use super::{Question, live, loaded, print};
use crate::assemble;
use crate::classify::inspect::{FieldSeen, Likeness, Volatile};
use crate::classify::{Intent, Names};
use crate::config::Config;
use crate::fetch::Fetch;
use crate::gateway::Site;
use crate::identify::Identity;
use crate::locate::{Locate, Place};
use crate::metrics::Metrics;
use crate::pages::language::negotiate;
use crate::policy::explain::asked_for;
use crate::policy::verdict::{Decision, Requirement, Verdict};
use crate::rejection::Rejection;
use crate::serve::render;
use crate::stepup::challenge::{Challenge, Scope, State};
use crate::types::{ActionName, ChallengeId, Factor, FactorSet, IntentDigest, Shown, UnixMs};
use crate::world::{Clock, SystemClock};

/// Everything there is to say, in the order in which the gateway finds it out.
#[derive(Serialize)]
pub(super) struct Story {
    pub site: String,
    pub method: String,
    pub path: String,
    pub host: Arc<str>,
    /// What was put in for the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    pub time: String,
    pub client: String,
    pub place: Arc<Place>,
    #[serde(flatten)]
    pub person: Told,
    /// `empty` or `live`.
    pub history: &'static str,
    pub checks: Vec<Check>,
    /// The last word of the refusal's `urn:stepgate:…`, where one of the looks refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub could_be: Vec<Likeness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<Arc<str>>,
    pub fields: Vec<Vec<FieldSeen>>,
    pub shown: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Bound>,
    /// Facts that were set by hand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The policy's file.
    pub policy_file: String,
    pub elements: Vec<Element>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// What the verdict comes to in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    pub customer: Customer,
}

/// What an approval is bound to.
#[derive(Serialize)]
pub(super) struct Bound {
    /// None without an account: it is part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub method: Arc<str>,
    pub authority: Arc<str>,
    pub path: Arc<str>,
    pub parameters: Vec<(String, String)>,
    pub volatile: Vec<Volatile>,
}

/// # Errors
/// If something cannot be read, or the gateway does not answer.
pub(super) fn run(path: &Path, file: &Path, question: &Question) -> anyhow::Result<ExitCode> {
    let config = loaded(path)?;
    let mut written = read(file, &config)?;
    let at = question.time.map(|at| UnixMs(at.as_millisecond()));
    written.head.received = at.unwrap_or_else(|| SystemClock.now());
    written.head.client = question.ip.unwrap_or(written.head.client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = Fetch::new(None, runtime.handle().clone())?;
    let faulty = |faults: Vec<crate::fault::Fault>| anyhow!("{}", render(&faults));
    let assembled =
        assemble::assemble(&config, &fetch, &Metrics::default(), None).map_err(faulty)?;
    let mut faults = Vec::new();
    let locator = assemble::locator(&config, Arc::new(SystemClock), &mut faults);
    let locator = locator.ok_or_else(|| faulty(faults))?;
    let Some(site) = assembled.live.site(&written.head.host) else {
        let hosts: Vec<&str> =
            config.sites.iter().flat_map(|site| &site.hosts).map(String::as_str).collect();
        bail!("the request's Host `{}` is not one of: {}", written.head.host, hosts.join(", "));
    };
    let teller = Teller {
        path,
        config: &config,
        site,
        place: locator.place(written.head.client),
        written: &written,
        question,
        runtime,
    };
    print(question.json, &teller.story()?)?;
    Ok(ExitCode::SUCCESS)
}

struct Teller<'a> {
    path: &'a Path,
    config: &'a Config,
    site: &'a Site,
    place: Arc<Place>,
    written: &'a Written,
    question: &'a Question,
    runtime: Runtime,
}

/// What was weighed, if it came to that.
#[derive(Default)]
struct Outcome {
    live: bool,
    elements: Vec<Element>,
    verdict: Option<&'static str>,
    says: Option<String>,
}

impl Teller<'_> {
    fn story(&self) -> anyhow::Result<Story> {
        let head = &self.written.head;
        let mut reading = look(self.written, self.site)?;
        let configured =
            self.config.sites.iter().find(|site| *site.name == *self.site.name.as_str());
        let configured = configured.context("the site is not in the configuration")?;
        let account = self.question.account.as_deref();
        let person = identify(self.site, &configured.accounts, head, &reading, account);
        let person = self.runtime.block_on(person);
        let (end, outcome) = self.outcome(&reading, &person)?;
        let counter = Counter {
            site: self.site,
            head,
            body: &self.written.body,
            socket: reading.socket.clone(),
            bearer: person.identity.as_ref().is_some_and(|identity| identity.bearer),
        };
        let customer = self.runtime.block_on(counter.answer(end));
        let (refused, why) = match &reading.meaning {
            Meaning::Refused(rejection) => (Some(kind(rejection)), Some(rejection.to_string())),
            _ => (None, None),
        };
        let (action, shown, intent) = match &reading.meaning {
            Meaning::Action(action) => {
                let volatile = std::mem::take(&mut reading.volatile);
                let (person, names) = (person.identity.as_deref(), reading.names.as_ref());
                let bound = bound(&action.intent, person, names, volatile);
                (Some(action.name.clone()), action.shown.clone(), Some(bound))
            }
            Meaning::Ordinary(rule) => {
                let name = rule.map(|rule| rule.name.clone());
                (Some(name.unwrap_or_else(|| ActionName::new("ordinary"))), Vec::new(), None)
            }
            Meaning::Asked => (Some(ActionName::new("ordinary")), Vec::new(), None),
            Meaning::Own | Meaning::Refused(_) => (None, Vec::new(), None),
        };
        let (matched, pack) = reading.matched.unzip();
        Ok(Story {
            site: self.site.name.to_string(),
            method: head.method.to_string(),
            path: head.path().to_owned(),
            host: head.host.clone(),
            assumed: self.written.assumed.clone(),
            time: head.received.to_string(),
            client: head.client.to_string(),
            place: self.place.clone(),
            person: person.told,
            history: if outcome.live { "live" } else { "empty" },
            checks: reading.checks,
            refused,
            why,
            could_be: reading.likenesses,
            action,
            matched,
            pack,
            fields: reading.fields,
            shown,
            intent,
            set: self.question.facts.clone(),
            policy_file: configured.policy.path.display().to_string(),
            elements: outcome.elements,
            verdict: outcome.verdict,
            says: outcome.says,
            customer,
        })
    }

    /// What the policy says, and how it ends for the customer.
    fn outcome(&self, reading: &Reading<'_>, person: &Person) -> anyhow::Result<(End, Outcome)> {
        let nothing = |end| Ok((end, Outcome::default()));
        let (action, must_ask) = match &reading.meaning {
            Meaning::Refused(Rejection::BadRequest(_)) if self.written.unsound.is_some() => {
                return nothing(End::Bare);
            }
            Meaning::Refused(rejection) => return nothing(End::Rejected(rejection.clone())),
            Meaning::Own => return nothing(End::Own),
            Meaning::Ordinary(_) => (None, false),
            Meaning::Asked => (None, true),
            Meaning::Action(action) => (Some(action), false),
        };
        let known = match (self.question.live, &person.identity) {
            (false, _) => Known::default(),
            (true, Some(identity)) => {
                live::ask(self.path, identity, action, self.intent(reading, identity))?
            }
            (true, None) => bail!(
                "--live asks about an account, and this request is nobody's: name one with --account"
            ),
        };
        let grounds = Grounds {
            site: self.site,
            head: &self.written.head,
            place: &self.place,
            person,
            known: &known,
            set: pairs(&self.question.facts)?,
        };
        let (elements, decision) = match (action, &reading.meaning) {
            (Some(action), _) => grounds.guarded(&action.name, &action.elements)?,
            (None, Meaning::Ordinary(rule)) => grounds.ordinary(rule.map(|rule| &rule.name))?,
            (None, _) => grounds.ordinary(None)?,
        };
        let decision = if must_ask { decision.asked_at_least() } else { decision };
        let guarded = action.is_some() || must_ask;
        let (word, said) = (decision.verdict.word(), spelt(&decision));
        let end = self.end(reading, person, &known, decision, guarded);
        // The gateway stops there: what rules would say of somebody is no verdict on nobody.
        let (verdict, says) = match person.identity.is_none() && guarded {
            true => (
                None,
                format!(
                    "none: nobody is signed in (name somebody with --account); rules alone would say: {said}"
                ),
            ),
            false => (Some(word), said),
        };
        Ok((end, Outcome { live: known.live, elements, verdict, says: Some(says) }))
    }

    fn intent(&self, reading: &Reading<'_>, identity: &Identity) -> IntentDigest {
        match &reading.meaning {
            Meaning::Action(action) => {
                action.intent.digest(&identity.account, &identity.credential)
            }
            _ => IntentDigest([0; 32]),
        }
    }

    /// As the pipeline goes on from a decision.
    fn end(
        &self,
        reading: &Reading<'_>,
        person: &Person,
        known: &Known,
        decision: Decision,
        guarded: bool,
    ) -> End {
        if let Some(trouble) = &person.trouble {
            return End::Rejected(trouble.clone());
        }
        let Some(identity) = &person.identity else {
            return match (guarded, decision.verdict) {
                (true, _) => End::Rejected(Rejection::Unauthenticated(
                    "this needs a valid session or API key",
                )),
                (false, verdict) => self.verdict(reading, None, known, verdict),
            };
        };
        let frozen = known.standing.frozen.is_some();
        if frozen && (guarded || !self.written.head.method.is_safe()) {
            return End::Rejected(Rejection::Frozen);
        }
        self.verdict(reading, Some(identity), known, decision.verdict)
    }

    fn verdict(
        &self,
        reading: &Reading<'_>,
        identity: Option<&Identity>,
        known: &Known,
        verdict: Verdict,
    ) -> End {
        match (verdict, identity) {
            (Verdict::Allow(_), _) => End::Passes,
            // Nobody is there to be asked: public pages stay reachable.
            (Verdict::Require(_), None) => End::Passes,
            (Verdict::Require(requirement), Some(identity)) => {
                self.asked(reading, identity, known, requirement)
            }
            (Verdict::Hold { until, why, .. }, _) => End::Rejected(Rejection::Held { until, why }),
            (Verdict::Deny { why }, _) => End::Rejected(Rejection::Denied { why }),
            (Verdict::Freeze { .. }, _) => End::Rejected(Rejection::Frozen),
        }
    }

    fn asked(
        &self,
        reading: &Reading<'_>,
        identity: &Identity,
        known: &Known,
        requirement: Requirement,
    ) -> End {
        let usable = self.usable(identity, known, &requirement, &self.written.head.host);
        if !requirement.met_by(usable) {
            let accepts = self.written.head.headers.get(http::header::ACCEPT_LANGUAGE);
            let language = negotiate(accepts.and_then(|value| value.to_str().ok()));
            let why = self.site.pages.lacking(language, requirement.factors(), usable);
            let why = Some(why.into());
            return End::Rejected(Rejection::Denied { why });
        }
        let head = &self.written.head;
        let (action, scope, shown) = match &reading.meaning {
            Meaning::Action(action) => {
                let scope = Scope::Intent(self.intent(reading, identity));
                (action.name.clone(), scope, action.shown.clone())
            }
            _ if requirement.only_elevates() => {
                let place = self.place.key(head.client);
                (ActionName::new("login"), Scope::Place(place), Vec::new())
            }
            _ => {
                let line = format!("{} {}", head.method, head.target);
                let shown = vec![Shown { name: "request".into(), value: line.into() }];
                (ActionName::new("ordinary"), Scope::Intent(IntentDigest([0; 32])), shown)
            }
        };
        let limits = &self.config.limits;
        End::Asked(Box::new(Challenge {
            id: ChallengeId::new(MADE_UP),
            site: self.site.name.clone(),
            account: identity.account.clone(),
            credential: identity.credential.clone(),
            action,
            scope,
            requirement,
            shown,
            client: head.client,
            place: self.place.key(head.client),
            device: None,
            destination: None,
            policy: self.site.policy.version().clone(),
            request: head.request.clone(),
            created: head.received,
            expires: head.received.plus_ms(limits.challenge_ms),
            attempts_left: limits.attempts_max,
            usable,
            proven: FactorSet::default(),
            state: State::Open,
            sent: None,
            ceremony: None,
            held: None,
            return_to: None,
            pending: None,
            browser: None,
        }))
    }

    /// The factors that can be given. Where nothing is known of the account, it has what is asked for.
    fn usable(
        &self,
        identity: &Identity,
        known: &Known,
        requirement: &Requirement,
        host: &str,
    ) -> FactorSet {
        if !known.live {
            return requirement.factors();
        }
        let enrolled = match identity.phone {
            Some(_) => known.standing.factors.with(Factor::Sms),
            None => known.standing.factors,
        };
        self.site.askable(enrolled, host, self.config.sms.is_some())
    }
}

/// A message's own credential is among its parameters, and not shown.
fn bound(
    intent: &Intent,
    identity: Option<&Identity>,
    names: Option<&Names>,
    volatile: Vec<Volatile>,
) -> Bound {
    let digest = identity.map(|it| intent.digest(&it.account, &it.credential).hex());
    let secret = match names {
        Some(Names::Header(_, value)) => value.to_str().unwrap_or(""),
        Some(Names::Token(token)) => token,
        None => "",
    };
    let shown = |(place, text): &(String, String)| {
        let bare = text.trim_matches('"');
        let hidden = bare.len() >= SECRET_BYTES_MIN && secret.contains(bare);
        let text = if hidden { "the credential" } else { text };
        (place.clone(), text.to_owned())
    };
    Bound {
        digest,
        method: intent.method.clone(),
        authority: intent.authority.clone(),
        path: intent.path.clone(),
        parameters: intent.parameters.iter().map(shown).collect(),
        volatile,
    }
}

/// `require totp and sms`, `hold until …`.
fn spelt(decision: &Decision) -> String {
    let because =
        |why: &Option<Arc<str>>| why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match &decision.verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Require(requirement) => format!("require {}", asked_for(requirement)),
        Verdict::Hold { until, why, .. } => format!("hold until {until}{}", because(why)),
        Verdict::Deny { why } => format!("deny{}", because(why)),
        Verdict::Freeze { why } => format!("freeze{}", because(why)),
    }
}

fn kind(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::NotCanonical(_) => "not-canonical",
        Rejection::Unclassified(_) => "unclassified",
        Rejection::MediaType(_) => "media-type",
        Rejection::TooLarge => "too-large",
        _ => "bad-request",
    }
}

/// What is shorter could be anything.
const SECRET_BYTES_MIN: usize = 6;
const MADE_UP: &str = "an-id-that-is-made-up-then";
