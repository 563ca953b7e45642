//! Loose detection: what a request line alone says, for all traffic.
//!
//! Never reads a body and never lets a second spelling through. Invariant: a request that some
//! server would route to a guarded path is never `Ordinary` unless it is spelt exactly and only
//! reads.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::quality::RandomState;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, UnitWeighter};
use serde::{Deserialize, Serialize};

use super::answer::NativeAnswer;
use super::canonical::{TARGET_BYTES_MAX, for_each_key, is_strict};
use super::names;
use super::operation::{self, Operation};
use super::read::{Refused, fits_media_type, overrides_method};
use super::rule::ActionRule;
use super::socket::Socket;
use crate::inbound::{self, Inbound};
use crate::types::ActionName;

/// What the request line alone says, before any body is read.
#[derive(Debug)]
pub enum Detected<'a> {
    /// No action, and nothing that smells of one. The body streams.
    Ordinary,
    /// An action the pack names. If it is guarded, the body must be read whole, then `rule.read`
    /// classifies.
    Action(&'a ActionRule),
    /// One of several actions, or none of them: a member of the body says which. The body must be
    /// read whole, then `ActionSet::select` answers.
    Selected,
    /// A request that no action names, and what the pack says of such: every write, and reads if
    /// they are not simply allowed.
    Unlisted {
        say: Unclassified,
        /// Below a prefix that the pack calls sensitive; `say` is `Deny` then.
        sensitive: bool,
        /// The longest leading path that the packs know: one of few, for metrics.
        route: &'a str,
        answer: Option<&'a Arc<NativeAnswer>>,
    },
    /// Smells like a guarded action and is not spelt canonically: 400. `ActionSet::answer_for` has
    /// its wording.
    NotCanonical(&'static str),
}

/// `unclassified = { read, write }` of a pack, from lax to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclassified {
    Allow,
    Require,
    Deny,
}

impl Unclassified {
    pub(super) const ALL: [Self; 3] = [Self::Allow, Self::Require, Self::Deny];

    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Require => "require",
            Self::Deny => "deny",
        }
    }
}

/// What a pack says of requests that no action names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unlisted {
    pub read: Unclassified,
    pub write: Unclassified,
}

impl Unlisted {
    fn strictest(self, other: Self) -> Self {
        Self { read: self.read.max(other.read), write: self.write.max(other.write) }
    }
}

/// One pack's part of an `ActionSet`.
pub(super) struct Pack {
    pub unlisted: Unlisted,
    pub sensitive: Vec<String>,
    /// The same for reads too, where the exchange acts on a GET.
    pub sensitive_reads: Vec<String>,
    pub answer: Option<Arc<NativeAnswer>>,
    pub socket: Option<Arc<Socket>>,
    pub rules: Vec<ActionRule>,
}

/// All actions of one site, compiled from its packs.
#[derive(Debug)]
pub struct ActionSet {
    rules: Vec<ActionRule>,
    /// Loose key of a pattern without parameters → the rules that have it.
    literal: HashMap<Box<str>, Vec<usize>, RandomState>,
    /// Rules that have a pattern with parameters.
    templated: Vec<usize>,
    sensitive: Vec<Sensitive>,
    /// Some guarded action is a GET.
    guards_reads: bool,
    /// Topmost paths of operations, and the members that say which it is.
    members: Vec<(Box<str>, Box<str>)>,
    /// Private WebSockets, by path.
    private: Vec<(Box<str>, Arc<Socket>)>,
    /// Loose keys of the paths below which WebSockets pass untouched.
    public: Vec<Box<str>>,
    /// Every leading path of every pattern and prefix.
    leads: HashMap<Box<str>, Lead, RandomState>,
    /// For paths that share nothing with any pack.
    root: Lead,
    /// What was found out of request lines: most traffic is a few of them, again and again. Bounded.
    known: Cache<(Method, Box<str>), Smell, UnitWeighter, RandomState>,
}

/// A method and a path, as `known` has them.
#[derive(Hash)]
struct Line<'a>(&'a Method, &'a str);

impl Equivalent<(Method, Box<str>)> for Line<'_> {
    fn equivalent(&self, (method, path): &(Method, Box<str>)) -> bool {
        self.0 == method && *self.1 == **path
    }
}

#[derive(Debug)]
struct Sensitive {
    /// Without a slash at the end.
    prefix: Box<str>,
    key: Box<str>,
    /// Reads that no action names are refused as well.
    reads: bool,
    answer: Option<Arc<NativeAnswer>>,
}

#[derive(Clone, Debug)]
struct Lead {
    unlisted: Unlisted,
    answer: Option<Arc<NativeAnswer>>,
}

/// What the loose keys of one path have hit. Rules and prefixes by their place in the set.
#[derive(Clone, Copy, Debug, Default)]
struct Smell {
    /// A rule with this method and exactly this path.
    exact: Option<usize>,
    /// There are such rules, and the body says which of them it is.
    selected: bool,
    /// A guarded rule's path, whatever the method and spelling.
    guarded: bool,
    /// A guarded rule's path, spelt exactly.
    guarded_exact: bool,
    /// A guarded rule's path in a spelling that the rule does not have.
    nearly: bool,
    /// Below a guarded rule's path, with a method that could be meant for it.
    below: bool,
    sensitive: Option<usize>,
    /// A private WebSocket's path or one below it.
    private: bool,
    /// How long the longest leading path is that the packs know.
    route_bytes: usize,
}

impl ActionSet {
    pub(super) fn new(packs: Vec<Pack>) -> Self {
        let nothing = Unlisted { read: Unclassified::Allow, write: Unclassified::Allow };
        let unlisted = packs.iter().map(|pack| pack.unlisted).fold(nothing, Unlisted::strictest);
        let answer = match packs.as_slice() {
            [only] => only.answer.clone(),
            _ => None,
        };
        let mut set = Self {
            rules: Vec::new(),
            literal: HashMap::default(),
            templated: Vec::new(),
            sensitive: Vec::new(),
            guards_reads: false,
            members: Vec::new(),
            private: Vec::new(),
            public: Vec::new(),
            leads: HashMap::default(),
            root: Lead { unlisted, answer },
            known: Cache::with(
                KNOWN_AT_FIRST,
                KNOWN_MAX,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
        };
        packs.into_iter().for_each(|pack| set.add(pack));
        set
    }

    fn add(&mut self, pack: Pack) {
        let lead = Lead { unlisted: pack.unlisted, answer: pack.answer };
        let writes = pack.sensitive.iter().map(|prefix| (prefix, false));
        let reads = pack.sensitive_reads.iter().map(|prefix| (prefix, true));
        for (prefix, reads) in writes.chain(reads) {
            let prefix = prefix.trim_end_matches('/');
            self.lead(prefix, &lead);
            self.sensitive.push(Sensitive {
                prefix: prefix.into(),
                key: prefix.to_ascii_lowercase().into(),
                reads,
                answer: lead.answer.clone(),
            });
        }
        for path in pack.socket.iter().flat_map(|socket| &socket.private) {
            self.lead(path, &lead);
        }
        if let Some(socket) = pack.socket {
            let paths = socket.private.iter().map(|path| (path.as_str().into(), socket.clone()));
            self.private.extend(paths);
            let public = socket.public.iter().map(|path| path.to_ascii_lowercase().into());
            self.public.extend(public);
        }
        // The stricter ones are found first.
        self.sensitive.sort_by_key(|sensitive| !sensitive.reads);
        for rule in pack.rules {
            let at = self.rules.len();
            for pattern in &rule.patterns {
                self.guards_reads |= rule.guarded && is_safe(&pattern.method);
                let known = pattern.text.split("/{").next().unwrap_or("");
                if let Some(operation) = pattern.operation.as_ref().filter(|_| !pattern.is_frame())
                {
                    let member = operation.member.as_str();
                    let covers =
                        |(at, own): &(Box<str>, Box<str>)| is_below(known, at) && **own == *member;
                    if !self.members.iter().any(covers) {
                        self.members.push((known.into(), member.into()));
                    }
                }
                self.lead(known, &lead);
                let holders = if pattern.is_literal() {
                    self.literal.entry(pattern.text.to_ascii_lowercase().into()).or_default()
                } else {
                    &mut self.templated
                };
                if !holders.contains(&at) {
                    holders.push(at);
                }
            }
            self.rules.push(rule);
        }
    }

    /// Remembers every leading path of `path`; where packs meet, the stricter word counts and the
    /// first pack's answer is given.
    fn lead(&mut self, path: &str, lead: &Lead) {
        for leading in leading_paths(path) {
            self.leads
                .entry(leading.into())
                .and_modify(|known| known.unlisted = known.unlisted.strictest(lead.unlisted))
                .or_insert_with(|| lead.clone());
        }
    }

    /// Guards the actions that a policy names, however their pack calls them: what is decided on
    /// is detected in every spelling.
    pub fn guard(&mut self, named: impl Fn(&ActionName) -> bool) {
        for rule in self.rules.iter_mut().filter(|rule| !rule.guarded && named(&rule.name)) {
            rule.guarded = true;
            self.guards_reads |= rule.patterns.iter().any(|pattern| is_safe(&pattern.method));
        }
        self.known.clear();
    }

    /// Every action's name, once.
    pub fn action_names(&self) -> Vec<ActionName> {
        let mut names: Vec<ActionName> = self.rules.iter().map(|rule| rule.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every field that may be read for an action, over all of its rules; `None` if no pack has it.
    pub fn fields_of(&self, action: &str) -> Option<Vec<Arc<str>>> {
        let mut rules = self.rules.iter().filter(|rule| rule.name.as_str() == action).peekable();
        rules.peek()?;
        Some(rules.flat_map(ActionRule::field_names).collect())
    }

    pub fn rules(&self) -> &[ActionRule] {
        &self.rules
    }

    /// How the pack that is nearest to a target words a refusal; the only pack if there is one.
    pub fn answer_for(&self, target: &str) -> Option<&Arc<NativeAnswer>> {
        self.nearest(path_of(target)).1.answer.as_ref()
    }

    /// The private WebSocket at this very path: its messages are read.
    pub fn socket(&self, path: &str) -> Option<&Arc<Socket>> {
        self.private.iter().find(|(known, _)| **known == *path).map(|(_, socket)| socket)
    }

    /// Whether a WebSocket may be opened at a path at all. Where no pack speaks of WebSockets, anywhere.
    pub fn has_socket(&self, path: &str) -> bool {
        if self.private.is_empty() || self.socket(path).is_some() {
            return true;
        }
        let mut public = true;
        let told = for_each_key(path, &mut |key| {
            public &= self.public.iter().any(|known| is_below(key, known));
        });
        public && told
    }

    fn nearest(&self, path: &str) -> (&str, &Lead) {
        let known = leading_paths(path).find(|leading| self.leads.contains_key(*leading));
        self.lead_of(known.unwrap_or(""))
    }

    fn lead_of(&self, route: &str) -> (&str, &Lead) {
        let known = self.leads.get_key_value(route);
        known.map_or(("/", &self.root), |(route, lead)| (&**route, lead))
    }

    /// Classifies a request line. Allocates nothing unless the path is oddly spelt or very long.
    /// `target` is in origin form; the headers are looked at only where the path is guarded or
    /// sensitive, or where the pack does not let every write pass.
    pub fn detect(&self, method: &Method, target: &str, headers: &HeaderMap) -> Detected<'_> {
        let path = path_of(target);
        if !path.starts_with('/') {
            return match (method, target) {
                (&Method::OPTIONS, "*") => Detected::Ordinary,
                _ => Detected::NotCanonical("the request target does not begin with `/`"),
            };
        }
        let Some(smell) = self.smell(method, path) else {
            return Detected::NotCanonical("the path is too oddly spelt to be told");
        };
        if smell.private && self.socket(path).is_none() {
            return Detected::NotCanonical("nearly a private WebSocket's path");
        }
        match self.exact(&smell) {
            _ if smell.guarded || smell.sensitive.is_some() => {
                self.judge(method, target, headers, &smell)
            }
            Some(rule) => smell.found(rule),
            None if smell.below => match self.unlisted(method, path, headers, &smell) {
                Detected::Ordinary | Detected::Unlisted { say: Unclassified::Allow, .. } => {
                    Detected::NotCanonical(BELOW)
                }
                told => told,
            },
            None => self.unlisted(method, path, headers, &smell),
        }
    }

    fn exact(&self, smell: &Smell) -> Option<&ActionRule> {
        self.rules.get(smell.exact?)
    }

    /// Whether a path is nearly, but not exactly, a guarded one.
    pub(super) fn is_nearly_guarded(&self, method: &Method, path: &str) -> bool {
        self.smell(method, path).is_none_or(|smell| smell.nearly)
    }

    /// The same where the body is there: never `Selected`.
    ///
    /// # Errors
    /// `Refused` if the body does not say which operation it is.
    pub fn detect_whole(&self, head: &Inbound, body: &[u8]) -> Result<Detected<'_>, Refused> {
        match self.detect(&head.method, &head.target, &head.headers) {
            Detected::Selected => self.select(head, body),
            detected => Ok(detected),
        }
    }

    /// Which action of a path it is, as a member of the body says: `Action`, `Unlisted`, or
    /// `NotCanonical` for what some server would take for a guarded one.
    ///
    /// # Errors
    /// `Refused` if the body does not say which operation it is.
    pub fn select(&self, head: &Inbound, body: &[u8]) -> Result<Detected<'_>, Refused> {
        let path = head.path();
        let named = self.operations(&head.method, path);
        let Some((first, frame)) = named.first().map(|(_, op, frame)| (*op, *frame)) else {
            return Err("no operation is known here".into());
        };
        let value = operation::selected(&head.headers, frame, body, &first.member)?;
        let query = head.query().unwrap_or("");
        if named.iter().any(|(rule, ..)| rule.guarded && rule.could_be_in(query)) {
            return Err("a parameter of an operation stands in the query".into());
        }
        let meant = named.iter().find(|(_, operation, _)| operation.fits(&value));
        // What passes because of how it begins must not be another spelling of a guarded operation.
        let certain = meant.filter(|(rule, operation, _)| rule.guarded || operation.is_exact());
        let mut guarded = named.iter().filter(|(rule, ..)| rule.guarded);
        if certain.is_none() && guarded.any(|(_, operation, _)| operation.resembles(&value)) {
            return Ok(Detected::NotCanonical("nearly a guarded operation"));
        }
        if let Some((rule, ..)) = meant {
            return Ok(Detected::Action(rule));
        }
        let (route, lead) = self.nearest(path);
        let sensitive = self.sensitive.iter().find(|known| is_below(path, &known.prefix));
        Ok(Detected::Unlisted {
            say: sensitive.map_or(lead.unlisted.write, |_| Unclassified::Deny),
            sensitive: sensitive.is_some(),
            route,
            answer: lead.answer.as_ref(),
        })
    }

    /// Every operation of a path, with its action and whether it is about frames.
    fn operations(&self, method: &Method, path: &str) -> Vec<(&ActionRule, &Operation, bool)> {
        let literal = self.literal.get(path.to_ascii_lowercase().as_str());
        let holders = literal.map_or(&[][..], Vec::as_slice).iter().chain(&self.templated);
        let rules = holders.filter_map(|at| self.rules.get(*at));
        rules
            .flat_map(|rule| rule.patterns.iter().map(move |pattern| (rule, pattern)))
            .filter(|(_, pattern)| pattern.method == *method && pattern.fits(path))
            .filter_map(|(rule, pattern)| {
                pattern.operation.as_ref().map(|it| (rule, it, pattern.is_frame()))
            })
            .collect()
    }

    /// None if the path cannot be told.
    fn smell(&self, method: &Method, path: &str) -> Option<Smell> {
        if self.rules.is_empty() && self.sensitive.is_empty() && self.private.is_empty() {
            return Some(Smell::default());
        }
        if let Some(known) = self.known.get(&Line(method, path)) {
            return Some(known);
        }
        let smell = self.smell_anew(method, path)?;
        if path.len() <= KNOWN_PATH_BYTES_MAX {
            self.known.insert((method.clone(), path.into()), smell);
        }
        Some(smell)
    }

    fn smell_anew(&self, method: &Method, path: &str) -> Option<Smell> {
        let mut smell = Smell::default();
        let route = leading_paths(path).find(|leading| self.leads.contains_key(*leading));
        smell.route_bytes = route.map_or(0, str::len);
        let told = for_each_key(path, &mut |key| {
            let literal = self.literal.get(key).map_or(&[][..], Vec::as_slice);
            for at in literal.iter().chain(&self.templated) {
                if let Some(rule) = self.rules.get(*at) {
                    smell.meet(*at, rule, method, path, key);
                }
            }
            if self.guards_reads || !is_safe(method) {
                smell.below |= self.is_below_guarded(method, key);
            }
            smell.private |= self.private.iter().any(|(path, _)| is_below_loosely(key, path));
            let known = self.sensitive.iter().position(|known| is_below(key, &known.key));
            let reads = known.and_then(|at| self.sensitive.get(at)).is_some_and(|it| it.reads);
            if reads || smell.sensitive.is_none() {
                smell.sensitive = known.or(smell.sensitive);
            }
        });
        told.then_some(smell)
    }

    /// The path smells of something guarded or sensitive.
    fn judge<'a>(
        &'a self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        smell: &Smell,
    ) -> Detected<'a> {
        let path = path_of(target);
        let sensitive = smell.sensitive.and_then(|at| self.sensitive.get(at));
        if !is_strict(path) || target.len() > TARGET_BYTES_MAX || target.contains('#') {
            return Detected::NotCanonical("a guarded path is spelt in one way only");
        }
        if smell.nearly {
            return Detected::NotCanonical("nearly a guarded path");
        }
        if sensitive.is_some_and(|sensitive| !is_below(path, &sensitive.prefix)) {
            return Detected::NotCanonical("nearly a sensitive path");
        }
        if overrides_method(headers) || query_overrides_method(target) {
            return Detected::NotCanonical("the request asks to be taken as another method");
        }
        if self.query_names_operation(target) {
            return Detected::NotCanonical("the query names an operation");
        }
        // Who looks into the body of a GET may find another action there than the path's.
        if sensitive.is_some() && is_safe(method) && !is_empty(headers) {
            return Detected::NotCanonical("a read with a body");
        }
        if let Some(rule) = self.exact(smell) {
            let apart = rule.guarded || smell.selected || !smell.guarded_exact;
            return match apart || may_share(rule, method, headers) {
                true => smell.found(rule),
                false => Detected::NotCanonical("a guarded action of this path could be meant"),
            };
        }
        if smell.guarded_exact && !self.only_reads(method, target, headers) {
            return Detected::NotCanonical("a guarded path takes only its own methods");
        }
        match sensitive {
            None => self.unlisted(method, path, headers, smell),
            Some(sensitive) if is_safe(method) && !(sensitive.reads && acts(method)) => {
                self.unlisted(method, path, headers, smell)
            }
            Some(_) if !is_known(method) => Detected::NotCanonical("an unknown method"),
            Some(_) if smell.below => Detected::NotCanonical(BELOW),
            Some(sensitive) => Detected::Unlisted {
                say: Unclassified::Deny,
                sensitive: true,
                route: &sensitive.prefix,
                answer: sensitive.answer.as_ref(),
            },
        }
    }

    /// Below a path whose bodies say which operation is meant, a server may look for the same word in the query.
    fn query_names_operation(&self, target: &str) -> bool {
        let Some((path, query)) = target.split_once('?') else { return false };
        let mut members = self.members.iter().filter(|(at, _)| is_below(path, at));
        members.any(|(_, known)| {
            query_has(query, |name| name == &**known || names::is_variant(name, known))
        })
    }

    /// Whether a request to a guarded path that the pack does not name for this method can only be
    /// a read: the page that holds the form, or a preflight. A body, or parameters of the action in
    /// the query, would reach handlers that do not look at the method.
    fn only_reads(&self, method: &Method, target: &str, headers: &HeaderMap) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut guarded = self.rules.iter().filter(|rule| rule.guarded && rule.fits(path));
        matches!(*method, Method::GET | Method::OPTIONS)
            && is_empty(headers)
            && !guarded.any(|rule| rule.could_be_in(query))
    }

    /// Some servers route `/path/anything` to the handler of `/path`.
    fn is_below_guarded(&self, method: &Method, key: &str) -> bool {
        leading_paths(key).skip(1).any(|leading| {
            let literal = self.literal.get(leading).map_or(&[][..], Vec::as_slice);
            let rules = literal.iter().chain(&self.templated).filter_map(|at| self.rules.get(*at));
            rules.filter(|rule| rule.guarded).flat_map(|rule| &rule.patterns).any(|pattern| {
                // Below a path of operations are, in the exchanges that have such, the operations by
                // name: unlisted ones.
                pattern.operation.is_none()
                    && (pattern.method == *method || !is_safe(method))
                    && pattern.fits_loosely(leading)
            })
        })
    }

    fn unlisted(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        smell: &Smell,
    ) -> Detected<'_> {
        let route = path.get(..smell.route_bytes).unwrap_or("");
        let (route, lead) = self.lead_of(route);
        // Where writes do not simply pass, one must not come dressed as another, or as a read.
        if lead.unlisted.write != Unclassified::Allow && overrides_method(headers) {
            return Detected::NotCanonical("the request asks to be taken as another method");
        }
        let say = if is_safe(method) { lead.unlisted.read } else { lead.unlisted.write };
        // A preflight asks for nothing, and no client can be asked for a code in it.
        if *method == Method::OPTIONS || (is_safe(method) && say == Unclassified::Allow) {
            return Detected::Ordinary;
        }
        Detected::Unlisted { say, sensitive: false, route, answer: lead.answer.as_ref() }
    }
}

impl Smell {
    fn found<'a>(&self, rule: &'a ActionRule) -> Detected<'a> {
        if self.selected { Detected::Selected } else { Detected::Action(rule) }
    }

    /// A rule that may have this key.
    fn meet(&mut self, at: usize, rule: &ActionRule, method: &Method, path: &str, key: &str) {
        for pattern in rule.patterns.iter().filter(|pattern| pattern.fits_loosely(key)) {
            let fits = pattern.fits(path);
            self.guarded |= rule.guarded;
            self.guarded_exact |= rule.guarded && fits;
            self.nearly |= rule.guarded && !fits && !rule.fits(path);
            let read = *method == Method::HEAD && pattern.method == Method::GET && !rule.guarded;
            if fits && (pattern.method == *method || read) {
                self.exact = Some(at);
                self.selected |= pattern.operation.is_some();
            }
        }
    }
}

impl ActionRule {
    fn fits(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(path))
    }
}

const BELOW: &str = "below a guarded path";
/// Request lines that a set remembers, and the longest of them.
const KNOWN_AT_FIRST: usize = 256;
const KNOWN_MAX: u64 = 4_096;
const KNOWN_PATH_BYTES_MAX: usize = 256;

/// Whether a request is what an ordinary action takes, when a guarded action has the same path
/// under another method: a read without a body, or a body of a kind that the action declares. Its
/// body is not looked at, and in a form or in what has no type some frameworks look for `_method`.
fn may_share(rule: &ActionRule, method: &Method, headers: &HeaderMap) -> bool {
    let empty = is_empty(headers);
    empty || (!is_safe(method) && fits_media_type(rule.body, headers))
}

fn path_of(target: &str) -> &str {
    inbound::split(target).0
}

/// `/a/b/c`, `/a/b`, `/a`.
fn leading_paths(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let now = rest.filter(|path| !path.is_empty())?;
        rest = memchr::memrchr(b'/', now.as_bytes()).and_then(|slash| now.get(..slash));
        Some(now)
    })
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `key` is in lower case.
fn is_below_loosely(key: &str, path: &str) -> bool {
    let (head, rest) = key.split_at_checked(path.len()).unwrap_or(("", key));
    head.eq_ignore_ascii_case(path) && (rest.is_empty() || rest.starts_with('/'))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A preflight never does.
fn acts(method: &Method) -> bool {
    *method != Method::OPTIONS
}

/// Whether the head announces no body.
fn is_empty(headers: &HeaderMap) -> bool {
    !headers.contains_key(TRANSFER_ENCODING)
        && headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0")
}

fn is_known(method: &Method) -> bool {
    is_safe(method)
        || matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

/// `_method=PUT`, as several frameworks have it. Found in any spelling, for it only ever refuses.
fn query_overrides_method(target: &str) -> bool {
    query_has(target.split_once('?').map_or("", |(_, query)| query), names::is_reserved)
}

fn query_has(query: &str, such: impl Fn(&str) -> bool) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or("");
        such(&percent_encoding::percent_decode_str(name).decode_utf8_lossy())
    })
}

#[cfg(test)]
mod tests;
