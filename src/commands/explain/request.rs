//! What the packs make of the request: each look that the gateway takes at it, and what came of it.
//!
//! Never repairs more than a text file needs: line ends, a missing version, length or host are put in and said so.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use serde::Serialize;

use crate::answer::{is_own, resembles_own};
use crate::classify::inspect::{FieldSeen, Likeness, Volatile};
use crate::classify::{Action, ActionRule, Detected, Names, Socket, Unclassified, frame_method};
use crate::config::Config;
use crate::forward::headers::{check_connection, check_names};
use crate::gateway::Site;
use crate::inbound::Inbound;
use crate::listen::head;
use crate::policy::PolicySet;
use crate::rawhttp;
use crate::rejection::Rejection;

/// One look that the gateway takes.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub check: &'static str,
    pub passed: bool,
    pub said: String,
}

/// A request as it was written down.
pub(super) struct Written {
    pub head: Inbound,
    pub body: Bytes,
    /// What was put in for it.
    pub assumed: Vec<String>,
    /// What the look at the raw head says.
    pub unsound: Option<&'static str>,
}

/// What it would do.
pub(super) enum Meaning<'a> {
    /// It ends here, whoever asks.
    Refused(Rejection),
    /// One of the gateway's own addresses.
    Own,
    Ordinary(Option<&'a ActionRule>),
    /// Nobody has a name for it, and the pack wants it to be asked about.
    Asked,
    /// Guarded.
    Action(Action),
}

/// All that was found out without asking who it is.
pub(super) struct Reading<'a> {
    pub checks: Vec<Check>,
    pub meaning: Meaning<'a>,
    /// `POST /path` of a pack, and its `file:line`.
    pub matched: Option<(String, Arc<str>)>,
    /// Guarded actions that an odd path could be meant for.
    pub likenesses: Vec<Likeness>,
    pub fields: Vec<Vec<FieldSeen>>,
    pub volatile: Vec<Volatile>,
    /// It is a message of this WebSocket.
    pub socket: Option<Arc<Socket>>,
    /// Who the message says that it is from.
    pub names: Option<Names>,
}

/// Reads the file.
///
/// # Errors
/// If it holds no request.
pub(super) fn read(file: &Path, config: &Config) -> anyhow::Result<Written> {
    let bytes = match file == Path::new("-") {
        true => {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
            all
        }
        false => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
    };
    let raw =
        String::from_utf8(bytes).map_err(|error| anyhow!("the request: {}", error.utf8_error()))?;
    let (mut head, body) = rawhttp::read(&raw).map_err(|error| anyhow!("the request: {error}"))?;
    let mut assumed = Vec::new();
    if head.host.is_empty() && !head.headers.contains_key(HOST) {
        let [site] = config.sites.as_slice() else {
            bail!("the request has no Host, and there are several sites")
        };
        let host = site.hosts.first().map_or("", String::as_str);
        head.headers.insert(HOST, HeaderValue::from_str(host)?);
        (head.host, head.authority) = (host.into(), host.into());
        assumed.push(format!("Host: {host}"));
    }
    let unsound = match head.method == frame_method() {
        true => {
            head.headers.remove(CONTENT_LENGTH);
            None
        }
        false => head::refusal(&as_sent(&raw, &head, &mut assumed)),
    };
    Ok(Written { head, body, assumed, unsound })
}

/// The head's bytes, with what a person leaves out of a text file.
fn as_sent(raw: &str, head: &Inbound, assumed: &mut Vec<String>) -> Vec<u8> {
    let raw = raw.trim_start_matches(['\r', '\n']);
    let crlf = raw
        .lines()
        .next()
        .is_some_and(|line| raw.get(line.len()..).is_some_and(|rest| rest.starts_with("\r\n")));
    let end = if crlf { raw.find("\r\n\r\n") } else { raw.find("\n\n") };
    let text = end.and_then(|end| raw.get(..end)).unwrap_or(raw).trim_end_matches(['\r', '\n']);
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut first = first.trim_end_matches('\r').to_owned();
    if first.split_whitespace().count() == 2 {
        first += " HTTP/1.1";
        assumed.push("HTTP/1.1".to_owned());
    }
    let rest = if crlf { rest.to_owned() } else { rest.replace('\n', "\r\n") };
    let mut sent = format!("{first}\r\n{rest}");
    if !rest.is_empty() {
        sent += "\r\n";
    }
    let said = |name: &str| {
        rest.lines().any(|line| {
            line.split_once(':').is_some_and(|(known, _)| known.trim().eq_ignore_ascii_case(name))
        })
    };
    for name in [HOST, CONTENT_LENGTH] {
        if let Some(value) = head.headers.get(&name).filter(|_| !said(name.as_str())) {
            sent += &format!("{name}: {}\r\n", value.to_str().unwrap_or(""));
            if name == CONTENT_LENGTH {
                assumed.push("Content-Length".to_owned());
            }
        }
    }
    (sent + "\r\n").into_bytes()
}

/// Asks the packs.
///
/// # Errors
/// If it is a message of a WebSocket that no pack reads.
pub(super) fn look<'a>(written: &Written, site: &'a Site) -> anyhow::Result<Reading<'a>> {
    let (head, body) = (&written.head, &written.body);
    let mut reading = Reading {
        checks: Vec::new(),
        meaning: Meaning::Ordinary(None),
        matched: None,
        likenesses: Vec::new(),
        fields: Vec::new(),
        volatile: Vec::new(),
        socket: None,
        names: None,
    };
    if head.method == frame_method() {
        let socket = site.actions.socket(head.path());
        let socket =
            socket.with_context(|| format!("the packs read no WebSocket at `{}`", head.path()))?;
        reading.socket = Some(socket.clone());
        if !reading.opened(socket, body) {
            return Ok(reading);
        }
    } else if !reading.sound(written) {
        return Ok(reading);
    }
    reading.detect(site, head, body);
    Ok(reading)
}

impl<'a> Reading<'a> {
    fn pass(&mut self, check: &'static str, said: impl Into<String>) {
        self.checks.push(Check { check, passed: true, said: said.into() });
    }

    fn refuse(&mut self, check: &'static str, rejection: Rejection) {
        let said = match &rejection {
            Rejection::NotCanonical(why) | Rejection::BadRequest(why) => (*why).to_owned(),
            other => other.to_string(),
        };
        self.checks.push(Check { check, passed: false, said });
        self.meaning = Meaning::Refused(rejection);
    }

    /// The raw head and the gateway's own addresses; whether there is more to look at.
    fn sound(&mut self, written: &Written) -> bool {
        if let Some(why) = written.unsound {
            self.refuse("head", Rejection::BadRequest(why));
            return false;
        }
        self.pass("head", "sound: no byte of it can be read in two ways");
        let path = written.head.path();
        if is_own(path) {
            self.pass("address", "one of the gateway's own addresses: never forwarded");
            self.meaning = Meaning::Own;
            return false;
        }
        if resembles_own(path) {
            let why = "nearly one of the gateway's own addresses";
            self.refuse("address", Rejection::NotCanonical(why));
            return false;
        }
        true
    }

    /// A message: whether there is more to look at.
    fn opened(&mut self, socket: &Socket, body: &[u8]) -> bool {
        if socket.is_plain(body) {
            self.pass("message", "one that passes as it is");
            return false;
        }
        match socket.open(body) {
            Ok(envelope) => {
                self.pass("message", "one JSON object");
                self.names = envelope.names;
                true
            }
            Err(refused) => {
                self.refuse("message", refused.into());
                false
            }
        }
    }

    fn detect(&mut self, site: &'a Site, head: &Inbound, body: &[u8]) {
        let detected = match site.actions.detect_whole(head, body) {
            Ok(detected) => detected,
            Err(refused) => return self.refuse("route", refused.into()),
        };
        match detected {
            Detected::Selected => {
                self.refuse("route", Rejection::NotCanonical("no operation is named"));
            }
            Detected::NotCanonical(why) => {
                self.refuse("route", Rejection::NotCanonical(why));
                self.likenesses = site.actions.likenesses(head.path());
            }
            Detected::Ordinary => {
                self.pass("route", "no action has it, and nothing of it smells of a guarded one");
            }
            Detected::Unlisted { say, route, sensitive, .. } => {
                self.unlisted(say, route, sensitive);
            }
            Detected::Action(rule) => self.action(site, rule, head, body),
        }
    }

    fn unlisted(&mut self, say: Unclassified, route: &str, sensitive: bool) {
        let below = if sensitive { "sensitive" } else { "known" };
        let said = format!("no action names it; the longest {below} path before it is {route}");
        match say {
            Unclassified::Allow => self.pass("route", said + "; the pack lets such pass"),
            Unclassified::Require => {
                self.pass("route", said + "; the pack wants such to be asked about");
                self.meaning = Meaning::Asked;
            }
            Unclassified::Deny => {
                self.checks.push(Check { check: "route", passed: false, said });
                self.meaning = Meaning::Refused(Rejection::Unclassified(route.into()));
            }
        }
    }

    fn action(&mut self, site: &'a Site, rule: &'a ActionRule, head: &Inbound, body: &[u8]) {
        let matched = rule.matched(head, body);
        self.pass("route", format!("{matched} is `{}` ({})", rule.name, rule.origin));
        self.matched = Some((matched, rule.origin.clone()));
        if self.socket.is_some() {
            match rule.named(body, self.names.take()) {
                Ok(names) => self.names = names,
                Err(refused) => return self.refuse("sender", refused.into()),
            }
        }
        if !is_guarded(rule, &site.policy) {
            self.meaning = Meaning::Ordinary(Some(rule));
            return self.pass("guard", "not guarded: only a name for ordinary traffic");
        }
        if let Err(why) = check_connection(&head.headers, true).and(check_names(&head.headers)) {
            return self.refuse("headers", Rejection::BadRequest(why));
        }
        match rule.read(head, body) {
            Err(refused) => self.refuse("strict", refused.into()),
            Ok(action) => {
                self.pass(
                    "strict",
                    "path, query, headers and body are spelt in the one way there is",
                );
                // The same parse has just succeeded.
                self.fields = rule.fields_seen(head, body, &action.elements).unwrap_or_default();
                self.volatile = rule.volatile_seen(head, body).unwrap_or_default();
                self.meaning = Meaning::Action(action);
            }
        }
    }
}

fn is_guarded(rule: &ActionRule, policy: &PolicySet) -> bool {
    rule.guarded || policy.names(&rule.name)
}
