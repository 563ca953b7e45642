//! Loose detection: what a request line alone says, for all traffic.
//!
//! Never reads a body and never lets a second spelling through. Invariant: a request that some
//! server would route to a guarded path is never `Ordinary` unless it is spelt exactly and only
//! reads.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};

use super::answer::NativeAnswer;
use super::canonical::{TARGET_BYTES_MAX, for_each_key, is_strict};
use super::names;
use super::read::overrides_method;
use super::rule::ActionRule;
use crate::types::ActionName;

/// What the request line alone says, before any body is read.
#[derive(Debug)]
pub enum Detected<'a> {
    /// No action, and nothing that smells of one. The body streams.
    Ordinary,
    /// An action the pack names. If it is guarded, the body must be read whole, then `rule.read`
    /// classifies.
    Action(&'a ActionRule),
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
    pub answer: Option<Arc<NativeAnswer>>,
    pub rules: Vec<ActionRule>,
}

/// All actions of one site, compiled from its packs.
#[derive(Debug)]
pub struct ActionSet {
    rules: Vec<ActionRule>,
    /// Loose key of a pattern without parameters → the rules that have it.
    literal: HashMap<Box<str>, Vec<usize>>,
    /// Rules that have a pattern with parameters.
    templated: Vec<usize>,
    sensitive: Vec<Sensitive>,
    /// Every leading path of every pattern and prefix.
    leads: HashMap<Box<str>, Lead>,
    /// For paths that share nothing with any pack.
    root: Lead,
}

#[derive(Debug)]
struct Sensitive {
    /// Without a slash at the end.
    prefix: Box<str>,
    key: Box<str>,
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
    /// A guarded rule's path, whatever the method and spelling.
    guarded: bool,
    /// A guarded rule's path, spelt exactly.
    guarded_exact: bool,
    sensitive: Option<&'a Sensitive>,
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
            literal: HashMap::new(),
            templated: Vec::new(),
            sensitive: Vec::new(),
            leads: HashMap::new(),
            root: Lead { unlisted, answer },
        };
        packs.into_iter().for_each(|pack| set.add(pack));
        set
    }

    fn add(&mut self, pack: Pack) {
        let lead = Lead { unlisted: pack.unlisted, answer: pack.answer };
        for prefix in pack.sensitive {
            let prefix = prefix.trim_end_matches('/');
            self.lead(prefix, &lead);
            self.sensitive.push(Sensitive {
                prefix: prefix.into(),
                key: prefix.to_ascii_lowercase().into(),
                answer: lead.answer.clone(),
            });
        }
        for rule in pack.rules {
            let at = self.rules.len();
            for pattern in &rule.patterns {
                let known = pattern.text.split("/{").next().unwrap_or("");
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
        if self.rules.is_empty() && self.sensitive.is_empty() {
            return self.unlisted(method, path, headers);
        }
        let Some(smell) = self.smell(method, path) else {
            return Detected::NotCanonical("the path is too oddly spelt to be told");
        };
        match smell.exact {
            _ if smell.guarded || smell.sensitive.is_some() => {
                self.judge(method, target, headers, &smell)
            }
            Some(rule) => Detected::Action(rule),
            None => self.unlisted(method, path, headers),
        }
    }

    /// None if the path cannot be told.
    fn smell(&self, method: &Method, path: &str) -> Option<Smell<'_>> {
        let mut smell = Smell::default();
        let told = for_each_key(path, &mut |key| {
            let literal = self.literal.get(key).map_or(&[][..], Vec::as_slice);
            for rule in literal.iter().chain(&self.templated).filter_map(|at| self.rules.get(*at)) {
                smell.meet(rule, method, path, key);
            }
            let sensitive = || self.sensitive.iter().find(|known| is_below(key, &known.key));
            smell.sensitive = smell.sensitive.or_else(sensitive);
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
        if smell.guarded && !smell.guarded_exact && smell.exact.is_none() {
            return Detected::NotCanonical("nearly a guarded path");
        }
        if smell.sensitive.is_some_and(|sensitive| !is_below(path, &sensitive.prefix)) {
            return Detected::NotCanonical("nearly a sensitive path");
        }
        if overrides_method(headers) || query_overrides_method(target) {
            return Detected::NotCanonical("the request asks to be taken as another method");
        }
        if let Some(rule) = smell.exact {
            return Detected::Action(rule);
        }
        if smell.guarded_exact && !self.only_reads(method, target, headers) {
            return Detected::NotCanonical("a guarded path takes only its own methods");
        }
        match smell.sensitive {
            None => self.unlisted(method, path, headers),
            Some(_) if is_safe(method) => self.unlisted(method, path, headers),
            Some(_) if !is_known(method) => Detected::NotCanonical("an unknown method"),
            // Some servers route `/path/anything` to the handler of `/path`.
            Some(_) if self.is_below_guarded(path) => {
                Detected::NotCanonical("below a guarded path")
            }
            Some(sensitive) => Detected::Unlisted {
                say: Unclassified::Deny,
                sensitive: true,
                route: &sensitive.prefix,
                answer: sensitive.answer.as_ref(),
            },
        }
    }

    /// Whether a request to a guarded path that the pack does not name for this method can only be
    /// a read: the page that holds the form, or a preflight. A body, or parameters of the action in
    /// the query, would reach handlers that do not look at the method.
    fn only_reads(&self, method: &Method, target: &str, headers: &HeaderMap) -> bool {
        if *method == Method::OPTIONS {
            return true;
        }
        let empty = !headers.contains_key(TRANSFER_ENCODING)
            && headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut guarded = self.rules.iter().filter(|rule| rule.guarded && rule.fits(path));
        *method == Method::GET && empty && !guarded.any(|rule| rule.could_be_in(query))
    }

    fn is_below_guarded(&self, path: &str) -> bool {
        let guarded = self.rules.iter().filter(|rule| rule.guarded);
        guarded
            .flat_map(|rule| &rule.patterns)
            .any(|pattern| leading_paths(path).any(|leading| pattern.fits_loosely(leading)))
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
    /// A rule that may have this key.
    fn meet(&mut self, rule: &'a ActionRule, method: &Method, path: &str, key: &str) {
        for pattern in rule.patterns.iter().filter(|pattern| pattern.fits_loosely(key)) {
            let fits = pattern.fits(path);
            self.guarded |= rule.guarded;
            self.guarded_exact |= rule.guarded && fits;
            let read = *method == Method::HEAD && pattern.method == Method::GET && !rule.guarded;
            if fits && (pattern.method == *method || read) {
                self.exact = Some(rule);
            }
        }
    }
}

impl ActionRule {
    fn fits(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(path))
    }
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

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_known(method: &Method) -> bool {
    is_safe(method)
        || matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

/// `_method=PUT`, as several frameworks have it. Found in any spelling, for it only ever refuses.
fn query_overrides_method(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or("");
        let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        names::is_reserved(&decoded)
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
