//! What the audit log knows of one request or one challenge, in the order of time.
//!
//! Never mixes what was recorded with what the rules say now: that stands beside it, under its own heading. Invariant:
//! every line that names the request, or a challenge that the request named, is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use super::anew::{Anew, voice, weighed};
use super::log::{Hit, Searched, search, value_after};
use super::{loaded, print};
use crate::audit::{Event, PlaceNoted, Record, RequestState, RuleNoted, ShadowNoted};
use crate::policy::facts::{Elevation, HoldRunning};
use crate::policy::reasons::{FactReason, of_told};
use crate::types::{Credential, Shown, SiteName, UnixMs};

/// Everything that the logs say.
#[derive(Serialize)]
pub(super) struct Past {
    pub id: String,
    /// `request` or `challenge`.
    pub kind: &'static str,
    pub searched: Searched,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    pub account: Option<String>,
    pub credential: Option<Credential>,
    pub client: Option<String>,
    pub place: Option<PlaceNoted>,
    pub line: Option<String>,
    pub action: Option<Arc<str>>,
    pub shown: Vec<Shown>,
    pub intent: Option<String>,
    pub challenges: BTreeSet<Arc<str>>,
    pub policy: Option<Arc<str>>,
    pub verdict: Option<Arc<str>>,
    pub facts: Vec<FactReason>,
    /// How many elements a batch has.
    pub elements: Option<usize>,
    pub elevations: Vec<Elevation>,
    pub holds: Vec<HoldRunning>,
    pub rules: Rules,
    /// What the candidate policy beside the live one would have said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<ShadowNoted>,
    pub happened: Vec<Happened>,
    /// There were more lines than are told.
    pub cut: bool,
}

/// What the rules said then, beside what they say of the same facts now.
#[derive(Serialize)]
pub(super) struct Rules {
    /// Those that spoke, as recorded.
    pub recorded: Vec<Spoke>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anew: Option<Anew>,
    /// Why they cannot be weighed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
}

/// A rule that spoke.
#[derive(Serialize)]
pub(super) struct Spoke {
    pub rule: Arc<str>,
    /// `speaks`, `satisfied` or `shadow`.
    pub voice: &'static str,
    pub outcome: Arc<str>,
}

impl Spoke {
    pub fn of(noted: &RuleNoted) -> Self {
        Self {
            rule: noted.rule.as_str().into(),
            voice: voice(Some((noted.shadow, noted.satisfied))),
            outcome: noted.outcome.clone(),
        }
    }
}

/// One line of the log.
#[derive(Serialize)]
pub(super) struct Happened {
    pub time: String,
    pub event: Event,
    pub says: String,
    /// Which request it belongs to, if to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
    pub file: String,
    pub line: u64,
}

/// A line as it was read.
struct Noted {
    record: Record,
    file: String,
    line: u64,
}

/// # Errors
/// If no line of the logs has the id, or one of them cannot be read.
pub(super) fn run(
    path: &Path,
    id: &str,
    logs: &[PathBuf],
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let logs = match logs {
        [] => vec![loaded(path)?.audit],
        logs => logs.to_vec(),
    };
    let id = cleaned(id)?;
    let past = told(path, &id, &logs)?;
    print(as_json, &past)?;
    Ok(ExitCode::SUCCESS)
}

/// As the log has it: people paste whole header lines, and ids in capitals.
fn cleaned(id: &str) -> anyhow::Result<String> {
    let word = id.rsplit([' ', '\t']).next().unwrap_or(id).trim_matches(['"', '\'', ',']);
    let hexadecimal = |c: char| c.is_ascii_hexdigit() || c == '-';
    let word = match word.len() == UUID_CHARS && word.chars().all(hexadecimal) {
        true => word.to_ascii_lowercase(),
        false => word.to_owned(),
    };
    if word.len() < ID_CHARS_MIN {
        bail!("`{id}` is too short for an id: at least {ID_CHARS_MIN} characters of one");
    }
    Ok(word)
}

fn told(path: &Path, id: &str, logs: &[PathBuf]) -> anyhow::Result<Past> {
    let (mut own, mut challenges) = (0, BTreeSet::new());
    let mut kind = "request";
    let mut near: BTreeSet<String> = BTreeSet::new();
    let searched = search(logs, &[id], &mut |hit| {
        let record = read(&hit)?;
        if is_of(&record, id) {
            own += 1;
            challenges.extend(record.challenge.iter().map(|it| Arc::from(it.as_str())));
        } else if record.challenge.as_ref().is_some_and(|it| it.as_str() == id) {
            kind = "challenge";
            challenges.insert(Arc::from(id));
        } else if near.len() < NEAR_MAX {
            near.extend(candidates(&record).filter(|it| it.contains(id)).map(str::to_owned));
        }
        Ok(())
    })?;
    if own == 0 && challenges.is_empty() {
        return Err(missing(id, logs, &searched, near));
    }
    let words: Vec<&str> =
        challenges.iter().take(CHALLENGES_MAX).map(|it| &**it).chain([id]).collect();
    let (mut lines, mut cut) = (Vec::new(), challenges.len() > CHALLENGES_MAX);
    search(logs, &words, &mut |hit| {
        let record = read(&hit)?;
        let named = record.challenge.as_ref().is_some_and(|it| words.contains(&it.as_str()));
        if !is_of(&record, id) && !named {
            return Ok(());
        }
        if lines.len() >= LINES_MAX {
            cut = true;
            return Ok(());
        }
        lines.push(Noted { record, file: hit.file.display().to_string(), line: hit.number });
        Ok(())
    })?;
    lines.sort_by_key(|noted| noted.record.time);
    Ok(past(path, id, kind, searched, challenges, lines, cut))
}

fn read(hit: &Hit<'_>) -> anyhow::Result<Record> {
    let read = || -> serde_json::Result<Record> {
        let mut line = serde_json::from_slice(hit.line)?;
        make_visible(&mut line);
        serde_json::from_value(line)
    };
    let place = || format!("{}:{}: not a record, or cut off", hit.file.display(), hit.number);
    read().map_err(|_| anyhow::anyhow!(place()))
}

/// Characters that a terminal would obey instead of showing them are spelt out: a log may have been tampered with.
fn make_visible(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(items) => items.iter_mut().for_each(make_visible),
        Value::Object(members) => {
            members.values_mut().for_each(make_visible);
            let named = std::mem::take(members).into_iter();
            *members = named.map(|(name, value)| (visible(&name), value)).collect();
        }
        _ => {}
    }
}

fn visible(text: &str) -> String {
    let spell = |c: char| if is_obeyed(c) { c.escape_default().to_string() } else { c.into() };
    text.chars().map(spell).collect()
}

/// Controls, and marks that turn the direction of writing or are not seen.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A code that came with the action makes a second attempt, which is told by `+`.
fn is_of(record: &Record, id: &str) -> bool {
    let request = record.request.as_ref().map(|request| request.as_str());
    request.is_some_and(|it| it == id || it.strip_suffix('+') == Some(id))
}

fn candidates(record: &Record) -> impl Iterator<Item = &str> {
    let request = record.request.iter().map(|it| it.as_str());
    request.chain(record.challenge.iter().map(|it| it.as_str()))
}

/// Nothing was found: how far was looked, and what is nearly it.
fn missing(
    id: &str,
    logs: &[PathBuf],
    searched: &Searched,
    mut near: BTreeSet<String>,
) -> anyhow::Error {
    if near.is_empty() {
        near = misread(id, logs).unwrap_or_default();
    }
    let files: Vec<String> = logs.iter().map(|log| log.display().to_string()).collect();
    let span = match (&searched.from, &searched.until) {
        (Some(from), Some(until)) => format!(", from {from} to {until}"),
        _ => String::new(),
    };
    let help = match near.len() {
        0 => "ordinary traffic that passes leaves no line; an older log can be given with --audit"
            .to_owned(),
        _ => format!("did you mean {}?", near.into_iter().collect::<Vec<_>>().join(", ")),
    };
    anyhow::anyhow!(
        "no line has the id `{id}`: {} lines of {} were searched{span}; {help}",
        searched.lines,
        files.join(", ")
    )
}

/// Ids of requests that differ in a character or two.
fn misread(id: &str, logs: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let mut near = BTreeSet::new();
    search(logs, &["\"request\":\""], &mut |hit| {
        let other = value_after(hit.line, b"\"request\":\"").unwrap_or("");
        let differ = || id.bytes().zip(other.bytes()).filter(|(one, two)| one != two).count();
        if near.len() < NEAR_MAX && other.len() == id.len() && differ() <= 2 {
            near.insert(other.to_owned());
        }
        Ok(())
    })?;
    Ok(near)
}

fn past(
    path: &Path,
    id: &str,
    kind: &'static str,
    searched: Searched,
    challenges: BTreeSet<Arc<str>>,
    lines: Vec<Noted>,
    cut: bool,
) -> Past {
    let own = |noted: &&Noted| kind == "challenge" || is_of(&noted.record, id);
    let records = || lines.iter().filter(own).map(|noted| &noted.record);
    // The line that has the facts has everything; with a challenge, the first one asked.
    let main = records().find(|record| !record.facts.is_empty()).or_else(|| records().next());
    let happened = lines.iter().map(|noted| happened(noted, id)).collect();
    let rules = rules(path, main);
    let intent = records().find_map(|record| record.intent.as_ref().map(|it| it.hex()));
    Past {
        id: id.to_owned(),
        kind,
        searched,
        site: main.and_then(|it| it.site.clone()),
        account: main.and_then(|it| it.account_id()).map(|account| account.to_string()),
        credential: main.and_then(|it| {
            Some(Credential { kind: it.credential_kind?, id: it.credential.clone()? })
        }),
        client: main.and_then(|it| it.client).map(|client| client.to_string()),
        place: main.and_then(|it| it.place.clone()),
        line: main.and_then(|it| Some(format!("{} {}", it.method.as_ref()?, it.path.as_ref()?))),
        action: main.and_then(|it| it.action.as_ref()).map(|action| action.as_str().into()),
        shown: main.map_or(Vec::new(), |it| it.shown.clone()),
        intent,
        challenges,
        policy: main.and_then(|it| it.policy.as_ref()).map(|policy| policy.as_str().into()),
        verdict: main.and_then(|it| it.verdict.clone()),
        facts: main.map_or(Vec::new(), |it| of_told(&it.facts)),
        elements: main.and_then(|it| it.elements),
        elevations: main.map_or(Vec::new(), |it| it.elevations.clone()),
        holds: main.map_or(Vec::new(), |it| it.holds.clone()),
        rules,
        candidate: main.and_then(|it| it.shadow.clone()),
        happened,
        cut,
    }
}

fn rules(path: &Path, record: Option<&Record>) -> Rules {
    let recorded = record.map_or(&[][..], |record| &record.rules);
    let (anew, cannot) = match weighed(path, record) {
        Ok(anew) => (Some(anew), None),
        Err(why) => (None, Some(format!("{why:#}"))),
    };
    Rules { recorded: recorded.iter().map(Spoke::of).collect(), anew, cannot }
}

fn happened(noted: &Noted, id: &str) -> Happened {
    let record = &noted.record;
    let request = record.request.as_ref().filter(|_| !is_of(record, id));
    Happened {
        time: written(record.time),
        event: record.event,
        says: says(record),
        request: request.map(|request| request.as_str().into()),
        file: noted.file.clone(),
        line: noted.line,
    }
}

fn written(time: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// What happened, in a few words.
fn says(record: &Record) -> String {
    let factor = record.factor.map_or("", |factor| factor.word());
    let note = record.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    let verdict = record.verdict.as_deref().unwrap_or("");
    let text = match record.event {
        Event::Decision => format!("decided: {verdict}"),
        Event::Intent if factor.is_empty() => "recorded, and about to be sent".to_owned(),
        Event::Intent => {
            format!("the approval (by {factor}) was used; recorded, and about to be sent")
        }
        Event::Outcome => outcome(record),
        Event::ChallengeOpened => {
            "the owner was asked: a challenge was opened and shown".to_owned()
        }
        Event::CodeSent => format!("a code was sent by {factor}"),
        Event::AttemptFailed => format!("a wrong code ({factor})"),
        Event::ChallengeProven => {
            format!("one factor was proven ({factor}), another was still needed")
        }
        Event::ChallengeApproved => format!("the owner approved by {factor}"),
        Event::ChallengeRejected => "the owner said: not me".to_owned(),
        Event::ChallengeLocked => "the challenge was locked: no attempts were left".to_owned(),
        Event::Redeemed => "the approval was used".to_owned(),
        Event::Refusal => "refused".to_owned(),
        Event::Frozen => "the account was frozen".to_owned(),
        Event::ThawAsked => "the owner asked to lift the freeze".to_owned(),
        Event::Thawed => "the account was thawed".to_owned(),
        Event::OwnerTold => "the owner was told".to_owned(),
        Event::MessageLost => "a message was given up".to_owned(),
        Event::OrphanUnknown => {
            "the gateway stopped in between: what became of it is not known".to_owned()
        }
        other => serde_json::to_string(&other).unwrap_or_default().trim_matches('"').to_owned(),
    };
    text + &note
}

fn outcome(record: &Record) -> String {
    let state = match record.state {
        Some(RequestState::Done) => "the exchange accepted it",
        Some(RequestState::Refused) => "the exchange refused it, or nothing was sent",
        Some(RequestState::Unknown) => "what became of it is not known",
        _ => "it ended",
    };
    match record.upstream_status {
        Some(status) => format!("{state}: status {status}"),
        None => format!("{state}; there was no answer"),
    }
}

const UUID_CHARS: usize = 36;
const ID_CHARS_MIN: usize = 8;
const NEAR_MAX: usize = 5;
/// An id of a request names one or two.
const CHALLENGES_MAX: usize = 32;
const LINES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        let mut line = serde_json::json!({
            "facts": { "a\u{1b}b": "x\ny" }, "list": ["\u{202e}z", 1], "plain": "日本 ok"
        });
        make_visible(&mut line);
        let text = line.to_string();
        assert!(!text.chars().any(is_obeyed), "{text}");
        assert_eq!(
            (&line["facts"]["a\\u{1b}b"], &line["plain"]),
            (&"x\\ny".into(), &"日本 ok".into())
        );
    }

    #[test]
    fn ids_are_taken_as_people_paste_them() {
        let id = "0190a5c2-7b3e-7c11-8d5a-0123456789ab";
        for text in [
            id.to_owned(),
            id.to_uppercase(),
            format!("Stepgate-Request: {id}"),
            format!("\"{id}\","),
        ] {
            assert_eq!(cleaned(&text).unwrap(), id);
        }
        assert_eq!(cleaned("AbCdEfGhIj").unwrap(), "AbCdEfGhIj");
        assert!(cleaned("0190").is_err());
    }
}
