//! Loose detection: what a request line alone says, for all traffic.
//!
//! Never reads a body and never lets a second spelling through. Invariant: a request that some
//! server would route to a guarded path is never `Ordinary` unless it is spelt exactly and only
//! reads.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};

use super::answer::NativeAnswer;
use super::canonical::{TARGET_BYTES_MAX, for_each_key, is_strict};
use super::names;
use super::operation::{self, Operation};
use super::read::{Refused, fits_media_type, overrides_method};
use super::rule::ActionRule;
use super::socket::Socket;
use crate::inbound::Inbound;
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

/// What the loose keys of one path have hit.
#[derive(Default)]
struct Smell<'a> {
    /// A rule with this method and exactly this path.
    exact: Option<&'a ActionRule>,
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
    sensitive: Option<&'a Sensitive>,
    /// A private WebSocket's path or one below it.
    private: bool,
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
    }

    /// Every action's name, once.
    pub fn action_names(&self) -> Vec<ActionName> {
        let mut names: Vec<ActionName> = self.rules.iter().map(|rule| rule.name.clone()).collect();
        names.sort();
        names.dedup();
        names
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
        let known = leading_paths(path).find_map(|leading| self.leads.get_key_value(leading));
        known.map_or(("/", &self.root), |(leading, lead)| (&**leading, lead))
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
        if self.rules.is_empty() && self.sensitive.is_empty() && self.private.is_empty() {
            return self.unlisted(method, path, headers);
        }
        let Some(smell) = self.smell(method, path) else {
            return Detected::NotCanonical("the path is too oddly spelt to be told");
        };
        if smell.private && self.socket(path).is_none() {
            return Detected::NotCanonical("nearly a private WebSocket's path");
        }
        match smell.exact {
            _ if smell.guarded || smell.sensitive.is_some() => {
                self.judge(method, target, headers, &smell)
            }
            Some(rule) => smell.found(rule),
            None if smell.below => match self.unlisted(method, path, headers) {
                Detected::Ordinary | Detected::Unlisted { say: Unclassified::Allow, .. } => {
                    Detected::NotCanonical(BELOW)
                }
                told => told,
            },
            None => self.unlisted(method, path, headers),
        }
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
    fn smell(&self, method: &Method, path: &str) -> Option<Smell<'_>> {
        let mut smell = Smell::default();
        let told = for_each_key(path, &mut |key| {
            let literal = self.literal.get(key).map_or(&[][..], Vec::as_slice);
            for rule in literal.iter().chain(&self.templated).filter_map(|at| self.rules.get(*at)) {
                smell.meet(rule, method, path, key);
            }
            if self.guards_reads || !is_safe(method) {
                smell.below |= self.is_below_guarded(method, key);
            }
            smell.private |= self.private.iter().any(|(path, _)| is_below_loosely(key, path));
            let known = self.sensitive.iter().find(|known| is_below(key, &known.key));
            if known.is_some_and(|known| known.reads) || smell.sensitive.is_none() {
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
        smell: &Smell<'a>,
    ) -> Detected<'a> {
        let path = path_of(target);
        if !is_strict(path) || target.len() > TARGET_BYTES_MAX || target.contains('#') {
            return Detected::NotCanonical("a guarded path is spelt in one way only");
        }
        if smell.nearly {
            return Detected::NotCanonical("nearly a guarded path");
        }
        if smell.sensitive.is_some_and(|sensitive| !is_below(path, &sensitive.prefix)) {
            return Detected::NotCanonical("nearly a sensitive path");
        }
        if overrides_method(headers) || query_overrides_method(target) {
            return Detected::NotCanonical("the request asks to be taken as another method");
        }
        if self.query_names_operation(target) {
            return Detected::NotCanonical("the query names an operation");
        }
        // Who looks into the body of a GET may find another action there than the path's.
        if smell.sensitive.is_some() && is_safe(method) && !is_empty(headers) {
            return Detected::NotCanonical("a read with a body");
        }
        if let Some(rule) = smell.exact {
            let apart = rule.guarded || smell.selected || !smell.guarded_exact;
            return match apart || may_share(rule, method, headers) {
                true => smell.found(rule),
                false => Detected::NotCanonical("a guarded action of this path could be meant"),
            };
        }
        if smell.guarded_exact && !self.only_reads(method, target, headers) {
            return Detected::NotCanonical("a guarded path takes only its own methods");
        }
        match smell.sensitive {
            None => self.unlisted(method, path, headers),
            Some(sensitive) if is_safe(method) && !(sensitive.reads && acts(method)) => {
                self.unlisted(method, path, headers)
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

    fn unlisted(&self, method: &Method, path: &str, headers: &HeaderMap) -> Detected<'_> {
        let (route, lead) = self.nearest(path);
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

impl<'a> Smell<'a> {
    fn found(&self, rule: &'a ActionRule) -> Detected<'a> {
        if self.selected { Detected::Selected } else { Detected::Action(rule) }
    }

    /// A rule that may have this key.
    fn meet(&mut self, rule: &'a ActionRule, method: &Method, path: &str, key: &str) {
        for pattern in rule.patterns.iter().filter(|pattern| pattern.fits_loosely(key)) {
            let fits = pattern.fits(path);
            self.guarded |= rule.guarded;
            self.guarded_exact |= rule.guarded && fits;
            self.nearly |= rule.guarded && !fits && !rule.fits(path);
            let read = *method == Method::HEAD && pattern.method == Method::GET && !rule.guarded;
            if fits && (pattern.method == *method || read) {
                self.exact = Some(rule);
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

/// Whether a request is what an ordinary action takes, when a guarded action has the same path
/// under another method: a read without a body, or a body of a kind that the action declares. Its
/// body is not looked at, and in a form or in what has no type some frameworks look for `_method`.
fn may_share(rule: &ActionRule, method: &Method, headers: &HeaderMap) -> bool {
    let empty = is_empty(headers);
    empty || (!is_safe(method) && fits_media_type(rule.body, headers))
}

fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// `/a/b/c`, `/a/b`, `/a`.
fn leading_paths(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let now = rest.filter(|path| !path.is_empty())?;
        rest = now.rfind('/').and_then(|slash| now.get(..slash));
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
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::classify::load;
    use crate::fault::Source;

    const PACK: &str = r#"
        version = 1
        exchange = "one"
        unclassified = { read = "allow", write = "require" }
        sensitive = ["/api/asset/"]
        [challenge]
        body = '{"one":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = "POST /api/asset/withdrawal"
        body = ["form", "query"]
        fields = { amount = "form.amt" }
        sample = "amt=1"
        [[action]]
        name = "key.delete"
        match = "DELETE /api/keys/{id}"
        [[action]]
        name = "order"
        match = "POST /api/Orders"
        guarded = false
    "#;
    const OTHER: &str = r#"
        version = 1
        exchange = "two"
        unclassified = { read = "deny", write = "allow" }
        [challenge]
        body = '{"two":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = "GET /other/withdraw"
        body = "query"
        sample = "amt=1"
    "#;

    fn set(packs: &[&str]) -> ActionSet {
        let sources: Vec<_> = packs.iter().map(|text| Source::new("t.toml", *text)).collect();
        load(&sources, &mut Vec::new()).unwrap()
    }

    fn say(method: &str, target: &str, header: Option<(&'static str, &str)>) -> String {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match set(&[PACK]).detect(&method, target, &headers) {
            Detected::Ordinary => "ordinary".into(),
            Detected::Action(rule) => rule.name.to_string(),
            Detected::Unlisted { say, sensitive, route, .. } => {
                format!("{say:?} {sensitive} {route}")
            }
            Detected::Selected => "selected".into(),
            Detected::NotCanonical(_) => "refused".into(),
        }
    }

    #[test]
    fn dots_and_spaces_are_a_parameter_too() {
        let set = set(&[PACK]);
        let detect = |path| set.detect(&Method::DELETE, path, &HeaderMap::new());
        assert!(matches!(detect("/api/keys/..."), Detected::Action(_)));
        for path in ["/api/keys/%20", "/api/keys/%2e%2e%2e", "/API/keys/..."] {
            assert!(matches!(detect(path), Detected::NotCanonical(_)), "{path}");
        }
    }

    #[test]
    fn an_action_is_found_in_its_one_spelling() {
        assert_eq!(say("POST", "/api/asset/withdrawal", None), "withdrawal");
        assert_eq!(say("POST", "/api/asset/withdrawal?a=/b#", None), "refused");
        assert_eq!(say("DELETE", "/api/keys/k1", None), "key.delete");
        assert_eq!(say("POST", "/api/Orders?x=1", None), "order");
        for target in [
            "/api/asset/Withdrawal",
            "/api/asset/withdrawal/",
            "/api//asset/withdrawal",
            "/api/asset/x/../withdrawal",
            "/api/asset/%77ithdrawal",
            "/API/asset/other",
            "/api/asset/o%20ther",
            "/api/Keys/k1",
            "/api/keys/k%31",
            "/api/keys/k1/",
            "api/asset/withdrawal",
            "http://x/api/asset/withdrawal",
            "",
        ] {
            assert_eq!(say("POST", target, None), "refused", "{target}");
            assert_eq!(say("GET", target, None), "refused", "{target}");
        }
    }

    const RPC: &str = r#"
        version = 1
        exchange = "rpc"
        [websocket]
        private = ["/ws"]
        error = '{"m":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = ["POST /rpc method=private/withdraw", "WS /ws method=private/withdraw"]
        select = "json.method"
        body = "json"
        fields = { amount = "json.params.amount" }
        sample = '{"method":"private/withdraw","params":{"amount":"1"}}'
        [[action]]
        name = "read"
        match = ["POST /rpc method=private/get_*", "POST /rpc method=private/with_*"]
        select = "json.method"
        body = "json"
        guarded = false
    "#;

    fn select(method: &str, target: &str, body: &str) -> String {
        let set = set(&[RPC]);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let head = Inbound {
            request: crate::types::RequestId::new("r"),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            host: "h".into(),
            authority: "h".into(),
            target: target.into(),
            version: http::Version::HTTP_11,
            headers,
            client: std::net::IpAddr::from([127, 0, 0, 1]),
            received: crate::types::UnixMs(0),
        };
        match set.detect_whole(&head, body.as_bytes()) {
            Ok(Detected::Action(rule)) => match rule.read(&head, body.as_bytes()) {
                Ok(action) => format!("{} {}", action.name, action.intent.parameters.len()),
                Err(refused) => refused.to_string(),
            },
            Ok(Detected::Unlisted { say, route, .. }) => format!("{say:?} {route}"),
            Ok(Detected::Ordinary) => "ordinary".into(),
            Ok(_) => "refused".into(),
            Err(_) => "unreadable".into(),
        }
    }

    #[test]
    fn a_member_of_the_body_says_which_action_of_the_path_it_is() {
        let call = |method: &str| format!(r#"{{"method":"{method}","params":{{"amount":"1"}}}}"#);
        assert_eq!(select("POST", "/rpc", &call("private/withdraw")), "withdrawal 4");
        assert_eq!(select("WS", "/ws", &call("private/withdraw")), "withdrawal 4");
        assert_eq!(select("POST", "/rpc", &call("private/get_x")), "read 4");
        assert_eq!(select("POST", "/rpc", &call("private/with_all")), "read 4");
        assert_eq!(select("POST", "/rpc?x=1", &call("private/get_x")), "read 5");
        assert_eq!(select("POST", "/rpc", &call("private/buy")), "Deny /rpc");
        assert_eq!(select("WS", "/ws", &call("private/get_x")), "Deny /ws");
        // `private/with_*` does not let another spelling of the guarded one pass.
        for method in
            ["private/With_draw", "private/with.draw", "Private/withdraw", "private//withdraw"]
        {
            assert_eq!(select("POST", "/rpc", &call(method)), "refused", "{method}");
        }
        for body in ["", "{}", r#"{"Method":"private/withdraw"}"#, r#"{"method":1}"#] {
            assert_eq!(select("POST", "/rpc", body), "unreadable", "{body}");
        }
        // Neither another path, nor another method, nor the query is a way around.
        assert_eq!(select("POST", "/RPC", &call("private/withdraw")), "refused");
        assert_eq!(select("PUT", "/rpc", &call("private/withdraw")), "refused");
        assert_eq!(select("GET", "/rpc?method=private/withdraw", ""), "refused");
        assert_eq!(select("GET", "/rpc", ""), "ordinary");
        for target in ["/rpc?method=x", "/rpc?METHOD=x"] {
            assert_eq!(select("POST", target, &call("private/get_x")), "refused", "{target}");
        }
        assert_eq!(select("POST", "/rpc?x=%zz", &call("private/get_x")), "unreadable");
    }

    #[test]
    fn what_a_policy_names_is_guarded_in_every_spelling() {
        let mut set = set(&[PACK]);
        let refused = |set: &ActionSet, path: &str| {
            let found = set.detect(&Method::POST, path, &HeaderMap::new());
            matches!(found, Detected::NotCanonical(_))
        };
        assert!(!refused(&set, "/api/orders"));
        set.guard(|name| name.as_str() == "order");
        for path in ["/api/orders", "/api/Orders/", "/api/%4Frders"] {
            assert!(refused(&set, path), "{path}");
        }
        let found = set.detect(&Method::POST, "/api/Orders", &HeaderMap::new());
        assert!(matches!(found, Detected::Action(rule) if rule.guarded));
    }

    #[test]
    fn what_a_guarded_action_shares_its_path_with_comes_as_it_is_declared() {
        let shared = r#"
            version = 1
            exchange = "shared"
            [[action]]
            name = "order.cancel_all"
            match = "DELETE /orders"
            body = "query"
            fields = { symbol = "query.symbol" }
            sample = "symbol=BTC"
            [[action]]
            name = "order"
            match = ["POST /orders", "GET /orders"]
            body = "json"
            guarded = false
        "#;
        let set = set(&[shared]);
        let passes = |method: Method, target: &str, headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let found = set.detect(&method, target, &pairs.collect());
            matches!(found, Detected::Action(rule) if rule.name.as_str() == "order")
        };
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        assert!(passes(
            Method::POST,
            "/orders",
            &[("content-type", json), ("content-length", "9")]
        ));
        assert!(passes(Method::POST, "/orders", &[]));
        assert!(passes(Method::GET, "/orders?symbol=BTC", &[]));
        assert!(!passes(
            Method::POST,
            "/orders",
            &[("content-type", form), ("content-length", "9")]
        ));
        assert!(!passes(Method::POST, "/orders", &[("transfer-encoding", "chunked")]));
        assert!(!passes(Method::GET, "/orders", &[("content-length", "9")]));
        assert!(!passes(Method::POST, "/orders?_method=DELETE", &[]));
        let preflight = |target| set.detect(&Method::OPTIONS, target, &HeaderMap::new());
        assert!(matches!(preflight("/orders"), Detected::Ordinary));
        assert!(matches!(preflight("/orders?symbol=BTC"), Detected::NotCanonical(_)));
    }

    #[test]
    fn below_a_guarded_path_nothing_passes_that_no_action_names() {
        let below = |write: &str, method: Method, path: &str| {
            let pack = PACK.replace("\"require\"", &format!("\"{write}\""));
            let set = set(&[&pack]);
            match set.detect(&method, path, &HeaderMap::new()) {
                Detected::NotCanonical(_) => "refused",
                Detected::Unlisted { say: Unclassified::Require, .. } => "asked",
                Detected::Unlisted { say: Unclassified::Deny, .. } => "denied",
                _ => "passes",
            }
        };
        assert_eq!(below("allow", Method::POST, "/api/keys/k1/extra"), "refused");
        assert_eq!(below("allow", Method::POST, "/api/keys/k1;x/extra/more"), "refused");
        assert_eq!(below("require", Method::POST, "/api/keys/k1/extra"), "asked");
        assert_eq!(below("deny", Method::POST, "/api/keys/k1/extra"), "denied");
        assert_eq!(below("allow", Method::GET, "/api/keys/k1/extra"), "passes");
        assert_eq!(below("allow", Method::POST, "/api/keys"), "passes");
    }

    #[test]
    fn writes_that_no_action_names_are_unlisted() {
        assert_eq!(say("POST", "/api/asset/other", None), "Deny true /api/asset");
        assert_eq!(say("POST", "/api/asset", None), "Deny true /api/asset");
        assert_eq!(say("POST", "/api/assets/other", None), "Require false /api");
        assert_eq!(say("POST", "/api/orders", None), "Require false /api");
        assert_eq!(say("QUERY", "/api/other", None), "Require false /api");
        assert_eq!(say("QUERY", "/api/asset/other", None), "refused");
        assert_eq!(say("POST", "/x/y", None), "Require false /");
        assert_eq!(say("POST", "/api/asset/withdrawal/x", None), "refused");
    }

    #[test]
    fn a_guarded_path_takes_only_its_own_methods_and_plain_reads() {
        let path = "/api/asset/withdrawal";
        assert_eq!(say("GET", path, None), "ordinary");
        assert_eq!(say("GET", "/api/asset/withdrawal?lang=de", None), "ordinary");
        assert_eq!(say("GET", path, Some(("content-length", "0"))), "ordinary");
        assert_eq!(say("OPTIONS", path, None), "ordinary");
        for method in ["PUT", "PATCH", "DELETE", "HEAD", "QUERY", "post", "TRACE"] {
            assert_eq!(say(method, path, None), "refused", "{method}");
        }
        for target in ["?amt=1", "?AMT=1", "?amt%00=1", "?_method=POST", "?x=%zz"] {
            assert_eq!(say("GET", &format!("{path}{target}"), None), "refused", "{target}");
        }
        for (name, value) in [("content-length", "42"), ("transfer-encoding", "chunked")] {
            assert_eq!(say("GET", path, Some((name, value))), "refused", "{name}");
        }
    }

    #[test]
    fn a_method_override_on_a_guarded_or_sensitive_path_is_refused() {
        for name in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x_http_method_override",
        ] {
            for (method, path) in [
                ("POST", "/api/asset/withdrawal"),
                ("GET", "/api/asset/other"),
                ("OPTIONS", "/api/keys/k1"),
            ] {
                assert_eq!(say(method, path, Some((name, "DELETE"))), "refused", "{name} {path}");
            }
        }
        assert_eq!(say("GET", "/api/asset/other?%5Fmethod=PUT", None), "refused");
    }

    #[test]
    fn below_a_prefix_of_sensitive_reads_only_listed_reads_pass() {
        let pack = r#"
            version = 1
            exchange = "acting"
            sensitive = ["/api/"]
            sensitive_reads = ["/api/private/"]
            [[action]]
            name = "withdrawal"
            match = "GET /api/private/withdraw"
            body = "query"
            fields = { amount = "query.amount" }
            sample = "amount=1"
            [[action]]
            name = "read"
            match = "GET /api/private/get_x"
            guarded = false
        "#;
        let set = set(&[pack]);
        let say = |method: &str, target: &str, headers: &HeaderMap| match set.detect(
            &method.parse().unwrap(),
            target,
            headers,
        ) {
            Detected::Ordinary => "ordinary".to_owned(),
            Detected::Action(rule) => rule.name.to_string(),
            Detected::Unlisted { say, sensitive, .. } => format!("{say:?} {sensitive}"),
            Detected::NotCanonical(_) | Detected::Selected => "refused".to_owned(),
        };
        let none = HeaderMap::new();
        for (method, target, says) in [
            ("GET", "/api/private/withdraw?amount=1", "withdrawal"),
            ("GET", "/api/private/withdraw", "withdrawal"),
            ("HEAD", "/api/private/withdraw?amount=1", "refused"),
            ("POST", "/api/private/withdraw", "refused"),
            ("OPTIONS", "/api/private/withdraw", "ordinary"),
            ("GET", "/api/private/get_x", "read"),
            ("HEAD", "/api/private/get_x", "read"),
            ("GET", "/api/private/other", "Deny true"),
            ("HEAD", "/api/private/other", "Deny true"),
            ("GET", "/api/private", "Deny true"),
            ("OPTIONS", "/api/private/other", "ordinary"),
            ("GET", "/api/Private/other", "refused"),
            ("GET", "/api/public/../private/other", "refused"),
            ("GET", "/api/private.json", "refused"),
            ("GET", "/api/public/other", "ordinary"),
            ("POST", "/api/public/other", "Deny true"),
            ("GET", "/elsewhere", "ordinary"),
        ] {
            assert_eq!(say(method, target, &none), says, "{method} {target}");
        }
        for (name, value) in [("content-length", "2"), ("transfer-encoding", "chunked")] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static(value));
            for target in ["/api/private/withdraw?amount=1", "/api/private/get_x", "/api/public/x"]
            {
                assert_eq!(say("GET", target, &headers), "refused", "{name} {target}");
            }
            assert_eq!(say("GET", "/elsewhere", &headers), "ordinary");
        }
    }

    #[test]
    fn the_nearest_pack_words_the_refusal() {
        let both = set(&[PACK, OTHER]);
        let word = |target: &str| both.answer_for(target).map(|answer| answer.render("m"));
        assert_eq!(word("/api/asset/x?y").as_deref(), Some(r#"{"one":"m"}"#));
        assert_eq!(word("/other/x/y").as_deref(), Some(r#"{"two":"m"}"#));
        assert_eq!(word("/elsewhere"), None);
        assert!(set(&[PACK]).answer_for("/elsewhere").is_some());
        assert_eq!(both.action_names().len(), 3);
        // Where no pack is nearer than another, the stricter word of each counts.
        let unlisted = both.detect(&Method::GET, "/elsewhere", &HeaderMap::new());
        assert!(matches!(unlisted, Detected::Unlisted { say: Unclassified::Deny, .. }));
        let unlisted = both.detect(&Method::POST, "/elsewhere", &HeaderMap::new());
        assert!(matches!(unlisted, Detected::Unlisted { say: Unclassified::Require, .. }));
        let preflight = both.detect(&Method::OPTIONS, "/elsewhere", &HeaderMap::new());
        assert!(matches!(preflight, Detected::Ordinary));
    }
}
