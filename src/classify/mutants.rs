//! Other spellings of one request: what servers, proxies and frameworks have been seen to take for it.
//!
//! Never random and never sent: the loader asks of each what this gateway would make of it. Invariant: every mutant is
//! a request that some server would run as the sample, or from which two servers would read two things.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};

use super::pattern::FRAME;
use super::place::Place;
use super::rule::ActionRule;
use super::sample::{Carrier, SampleRequest};
use super::{json, pairs};

/// What must become of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    /// Read as the action itself, or refused.
    StayGuarded,
    /// The same; or it is another action that the pack names for exactly this path.
    StayGuardedUnlessNamed,
    /// Read as the action with exactly the sample's values, or refused.
    ReadTheSame,
    BeRefused,
}

/// Calls `visit` with what was done to the request, what must become of it, and the request.
pub(super) type Visit<'v> = dyn FnMut(&'static str, Must, SampleRequest) + 'v;

/// Every mutant of one sample request; those of its body if `bodies`.
pub(super) fn each(
    rule: &ActionRule,
    carrier: Carrier,
    request: &SampleRequest,
    bodies: bool,
    visit: &mut Visit<'_>,
) {
    let mutator = Mutator { rule, carrier, request };
    let visit: &mut Visit<'_> = &mut |what, must, mut mutant| {
        if !mutant.body.is_empty() {
            mutant.head.headers.insert(CONTENT_LENGTH, mutant.body.len().into());
        }
        visit(what, must, mutant);
    };
    // A frame has neither a path nor a type of its own.
    if request.head.method.as_str() != FRAME {
        mutator.paths(visit);
        mutator.methods(visit);
        mutator.overrides(visit);
    }
    if !bodies {
        return;
    }
    if request.head.method.as_str() != FRAME {
        mutator.headers(visit);
        mutator.media_types(visit);
    }
    match carrier {
        Carrier::Json => mutator.json(visit),
        Carrier::Form | Carrier::Query => mutator.pairs(visit),
        Carrier::None => {}
    }
}

struct Mutator<'m> {
    rule: &'m ActionRule,
    carrier: Carrier,
    request: &'m SampleRequest,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

impl Mutator<'_> {
    fn with_target(&self, target: &str) -> SampleRequest {
        let mut request = self.request.clone();
        request.head.target = target.into();
        request
    }

    fn with_header(&self, name: &'static str, value: &'static str) -> SampleRequest {
        let mut request = self.request.clone();
        request.head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        request
    }

    fn with_body(&self, media_type: Option<&'static str>, body: &[u8]) -> SampleRequest {
        let mut request = self.request.clone();
        request.head.headers.remove(CONTENT_TYPE);
        if let Some(media_type) = media_type {
            request.head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        request.body = body.to_vec();
        request
    }

    /// The target with more in its query.
    fn with_more_query(&self, more: &str) -> SampleRequest {
        let target = &self.request.head.target;
        let joint = if target.contains('?') { '&' } else { '?' };
        self.with_target(&format!("{target}{joint}{more}"))
    }

    fn paths(&self, visit: &mut Visit<'_>) {
        let (path, query) = (self.request.head.path(), self.request.head.query());
        let mut respelt = |what, must, path: &str| {
            let target = match query {
                Some(query) => format!("{path}?{query}"),
                None => path.to_owned(),
            };
            visit(what, must, self.with_target(&target));
        };
        respell(path, &mut |what, path| respelt(what, Must::StayGuarded, path));
        for behind in ["/extra", "/1"] {
            let longer = format!("{path}{behind}");
            respelt("more path behind it", Must::StayGuardedUnlessNamed, &longer);
        }
    }

    fn methods(&self, visit: &mut Visit<'_>) {
        const METHODS: [&str; 9] =
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE"];
        let own = self.request.head.method.as_str();
        let lower = own.to_ascii_lowercase();
        let with = |method: &str, mut request: SampleRequest| {
            request.head.method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::TRACE);
            request
        };
        visit("the method in lower case", Must::StayGuarded, with(&lower, self.request.clone()));
        let must = Must::StayGuardedUnlessNamed;
        let has_names = !self.names().is_empty();
        for method in METHODS.into_iter().filter(|method| *method != own) {
            // A read that has nothing of the action in it is only a read.
            let plain = matches!(method, "GET" | "OPTIONS");
            if !plain || has_names || !self.request.body.is_empty() {
                visit("another method", must, with(method, self.request.clone()));
            }
            if self.carrier == Carrier::Form && (!plain || has_names) {
                let text = String::from_utf8_lossy(&self.request.body);
                let mut request = with(method, self.with_more_query(&text));
                request.body.clear();
                visit("another method, parameters in the query", must, request);
            }
        }
    }

    /// Some frameworks let a header or a parameter change the method.
    fn overrides(&self, visit: &mut Visit<'_>) {
        const HEADERS: [&str; 4] = [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x_http_method_override",
        ];
        let own = &self.request.head.method;
        let other = if *own == Method::POST { Method::GET } else { Method::POST };
        for method in [own, &other] {
            for name in HEADERS {
                let mut request = self.request.clone();
                request.head.method = method.clone();
                let value = HeaderValue::from_str(own.as_str());
                request
                    .head
                    .headers
                    .extend(value.into_iter().map(|value| (HeaderName::from_static(name), value)));
                visit("a header that overrides the method", Must::BeRefused, request);
            }
            let mut request = self.with_more_query(&format!("_method={own}"));
            request.head.method = method.clone();
            visit("a query that overrides the method", Must::BeRefused, request);
        }
        if other == Method::POST {
            let mut body = format!("_method={own}");
            if self.carrier == Carrier::Form {
                body = format!("{}&{body}", String::from_utf8_lossy(&self.request.body));
            }
            for media_type in [Some(FORM), None] {
                let mut request = self.with_body(media_type, body.as_bytes());
                request.head.method = Method::POST;
                visit("a form that overrides the method", Must::BeRefused, request);
            }
        }
    }

    /// A header that the action reads, given twice or in the spelling that CGI folds into it.
    fn headers(&self, visit: &mut Visit<'_>) {
        for place in self.rule.bound_places() {
            let Place::Header(name) = place else { continue };
            let folded = HeaderName::try_from(name.as_str().replace('-', "_"));
            for name in folded.into_iter().chain([name.clone()]) {
                let mut request = self.request.clone();
                request.head.headers.append(name, HeaderValue::from_static("0"));
                visit("a header given twice", Must::BeRefused, request);
            }
        }
    }

    fn media_types(&self, visit: &mut Visit<'_>) {
        const TYPES: [&str; 10] = [
            JSON,
            FORM,
            "text/plain",
            "text/json",
            "application/problem+json",
            "application/json, text/plain",
            "application/json;charset=utf-7",
            "application/x-www-form-urlencoded;charset=utf-16",
            "multipart/form-data; boundary=x",
            "*/*",
        ];
        let body = &self.request.body;
        if body.is_empty() {
            for (media_type, body) in [(JSON, "{\"a\":1}"), (FORM, "a=1"), ("text/plain", "a")] {
                let request = self.with_body(Some(media_type), body.as_bytes());
                visit("a body", Must::ReadTheSame, request);
            }
            return;
        }
        visit("no media type", Must::ReadTheSame, self.with_body(None, body));
        for media_type in TYPES {
            let request = self.with_body(Some(media_type), body);
            visit("another media type", Must::ReadTheSame, request);
        }
        let twice = self.with_header("content-type", "text/plain");
        visit("two media types", Must::BeRefused, twice);
        visit("two media types", Must::BeRefused, self.with_header("content_type", "text/plain"));
        let coded = self.with_header("content-encoding", "gzip");
        visit("a content coding", Must::BeRefused, coded);
        let wide: Vec<u8> = body.iter().flat_map(|byte| [*byte, 0]).collect();
        self.bodies("UTF-16", &wide, visit);
        self.bodies("a byte order mark", &[b"\xef\xbb\xbf", body.as_slice()].concat(), visit);
        self.bodies("a NUL behind it", &[body.as_slice(), b"\0"].concat(), visit);
    }

    /// The sample's media type with another body that must be refused.
    fn bodies(&self, what: &'static str, body: &[u8], visit: &mut Visit<'_>) {
        let mut request = self.request.clone();
        request.body = body.to_vec();
        visit(what, Must::BeRefused, request);
    }

    /// The names that the action reads, as far as the sample has them.
    fn names(&self) -> Vec<&str> {
        let text = self.text();
        let given: Vec<String> = match self.carrier {
            Carrier::Json => json::top_names(&text),
            _ => pairs::parse(&text)
                .map(|pairs| pairs.into_iter().map(|pair| pair.name).collect())
                .unwrap_or_default(),
        };
        let mut names: Vec<&str> = self.rule.bound_places().filter_map(Place::parameter).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| given.iter().any(|known| known == name));
        names
    }

    fn text(&self) -> String {
        match self.carrier {
            Carrier::Query => self.request.head.query().unwrap_or("").to_owned(),
            _ => String::from_utf8_lossy(&self.request.body).into_owned(),
        }
    }

    fn json(&self, visit: &mut Visit<'_>) {
        let text = self.text();
        for name in self.names() {
            for (what, other) in aliases(name) {
                let quoted = format!("{{\"{other}\":\"0\",");
                self.bodies(what, text.replacen('{', &quoted, 1).as_bytes(), visit);
            }
            let decoy = self.with_more_query(&format!("{name}=0"));
            visit("a parameter in the query as well", Must::BeRefused, decoy);
            let escaped: String =
                name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let mut respelt = self.request.clone();
            respelt.body =
                text.replace(&format!("\"{name}\""), &format!("\"{escaped}\"")).into_bytes();
            visit("escapes in a name", Must::ReadTheSame, respelt);
        }
        let polluted = text.replacen('{', "{\"__proto__\":{\"a\":\"0\"},", 1);
        self.bodies("a member that reaches the prototype", polluted.as_bytes(), visit);
        for (what, body) in [
            ("something behind the JSON text", format!("{text}x")),
            ("two JSON texts", format!("{text}{text}")),
            ("a comment", format!("/**/{text}")),
            ("a comma too many", text.replacen('}', ",}", 1)),
            ("a guard against scripts", format!(")]}}',\n{text}")),
            ("JSON inside a string", serde_json::Value::from(text.as_str()).to_string()),
            ("a list around it", format!("[{text}]")),
            (
                "too deep",
                text.replacen('{', &format!("{{\"d\":{}1{},", "[".repeat(99), "]".repeat(99)), 1),
            ),
        ] {
            self.bodies(what, body.as_bytes(), visit);
        }
    }

    fn pairs(&self, visit: &mut Visit<'_>) {
        let text = self.text();
        let mut put = |what, must, text: &str| {
            let request = match self.carrier {
                Carrier::Query => self.with_target(&format!("{}?{text}", self.request.head.path())),
                _ => self.with_body(Some(FORM), text.as_bytes()),
            };
            visit(what, must, request);
        };
        for name in self.names() {
            for other in [
                name.to_owned(),
                encoded(name),
                name.to_ascii_uppercase() + "%00",
                format!("{name}[]"),
                format!("{name}[x]"),
                format!("{name}%00"),
                format!("+{name}"),
                format!("__proto__[{name}]"),
            ] {
                put("a parameter twice", Must::BeRefused, &format!("{text}&{other}=0"));
            }
            put("another separator", Must::BeRefused, &format!("{text};{name}=0"));
            let respelt = text.replacen(name, &encoded(name), 1);
            put("escapes in a name", Must::ReadTheSame, &respelt);
        }
        for (what, text) in [
            ("a parameter that changes the charset", format!("{text}&_charset_=utf-7")),
            ("a broken escape", format!("{text}&%zz=1")),
            ("an empty parameter", format!("{text}&&a=1")),
            ("a fragment", format!("{text}#&a=1")),
        ] {
            put(what, Must::BeRefused, &text);
        }
        self.other_place(visit, &text);
    }

    /// The parameters where the action does not, or not only, expect them.
    fn other_place(&self, visit: &mut Visit<'_>, text: &str) {
        if self.carrier == Carrier::Query {
            let body = self.with_body(Some(FORM), text.as_bytes());
            let twice = if self.names().is_empty() { Must::ReadTheSame } else { Must::BeRefused };
            visit("the parameters in the body as well", twice, body);
            let mut moved = self.with_body(Some(FORM), text.as_bytes());
            moved.head.target = self.request.head.path().into();
            visit("the parameters in the body", Must::ReadTheSame, moved);
            return;
        }
        for name in self.names() {
            let decoy = self.with_more_query(&format!("{name}=0"));
            visit("a parameter in the query as well", Must::BeRefused, decoy);
        }
        let mut moved = self.with_more_query(text);
        moved.body.clear();
        visit("the parameters in the query", Must::ReadTheSame, moved);
    }
}

/// Members that some parser would take for `name`, the name itself included.
fn aliases(name: &str) -> Vec<(&'static str, String)> {
    let mut aliases = vec![
        ("a member twice", name.to_owned()),
        ("a member's name with a space behind it", format!("{name} ")),
        ("a member's name with a NUL behind it", format!("{name}\\u0000")),
        ("a member's name with an invisible letter", format!("{name}\u{200b}")),
    ];
    if let Some(first) = name.chars().next() {
        let rest = name.get(first.len_utf8()..).unwrap_or("");
        aliases
            .push(("a member twice, once escaped", format!("\\u{:04x}{rest}", u32::from(first))));
        if let Some(wide) = full_width(first) {
            aliases.push(("a member's name in a compatibility form", format!("{wide}{rest}")));
        }
    }
    for other in [name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
        if other != name {
            aliases.push(("a member's name in other letter case", other));
        }
    }
    aliases
}

fn full_width(letter: char) -> Option<char> {
    letter.is_ascii_graphic().then(|| char::from_u32(u32::from(letter) + 0xFEE0)).flatten()
}

/// The name with its first byte percent-encoded.
fn encoded(name: &str) -> String {
    match name.split_at_checked(1) {
        Some((first, rest)) => format!("{}{rest}", percent(first)),
        None => name.to_owned(),
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Every respelling of a path that some server has been seen to route to the same handler.
fn respell(path: &str, put: &mut dyn FnMut(&'static str, &str)) {
    for (what, other) in letter_case(path) {
        put(what, &other);
    }
    // The last letter is in a literal segment unless the path has none.
    if let Some(at) = path.rfind(|letter: char| letter.is_ascii_lowercase()) {
        let (before, rest) = path.split_at(at);
        let (letter, after) = rest.split_at(1);
        for (what, respelt) in letters(letter) {
            put(what, &format!("{before}{respelt}{after}"));
        }
    }
    if let Some((before, after)) = path.rsplit_once('/') {
        for (what, slash) in SLASHES {
            put(what, &format!("{before}{slash}{after}"));
        }
    }
    let inner = path.get(1..).unwrap_or("");
    put("every slash encoded", &format!("/{}", inner.replace('/', "%2F")));
    put("every slash a backslash", &path.replace('/', "\\"));
    put("a path parameter in the first segment", &format!("/{}", inner.replacen('/', ";x/", 1)));
    put("no slash at the beginning", inner);
    for (what, before) in BEFORE {
        put(what, &format!("{before}{path}"));
    }
    for (what, behind) in BEHIND {
        put(what, &format!("{path}{behind}"));
    }
}

fn letter_case(path: &str) -> Vec<(&'static str, String)> {
    let mut capital = true;
    let title: String = path
        .chars()
        .map(|letter| {
            let mapped = if capital { letter.to_ascii_uppercase() } else { letter };
            capital = letter == '/';
            mapped
        })
        .collect();
    [path.to_ascii_uppercase(), path.to_ascii_lowercase(), title]
        .into_iter()
        .filter(|other| other != path)
        .map(|other| ("other letter case", other))
        .collect()
}

/// Other spellings of one lower-case letter.
fn letters(letter: &str) -> Vec<(&'static str, String)> {
    let code = letter.bytes().next().unwrap_or(0);
    let wide = full_width(char::from(code)).map(String::from).unwrap_or_default();
    let mut spellings = vec![
        ("a letter percent-encoded", percent(letter)),
        ("a letter percent-encoded", percent(letter).to_ascii_uppercase()),
        ("a letter percent-encoded twice", format!("%25{code:02x}")),
        ("a letter percent-encoded three times", format!("%2525{code:02x}")),
        ("a letter as %u", format!("%u{code:04x}")),
        ("a letter in an overlong form", format!("%c1%{:02x}", 0x80 | (code & 0x3F))),
        ("a letter in full width", percent(&wide)),
        ("an invisible letter", format!("{letter}%e2%80%8b")),
        ("a byte that is no letter", format!("{letter}%ff")),
        ("a NUL inside", format!("{letter}%00")),
        ("a soft hyphen inside", format!("%c2%ad{letter}")),
    ];
    match letter {
        "s" => spellings.push(("a letter that folds to another", "%c5%bf".to_owned())),
        "k" => spellings.push(("a letter that folds to another", "%e2%84%aa".to_owned())),
        _ => {}
    }
    spellings
}

/// For the last slash of a path.
const SLASHES: [(&str, &str); 12] = [
    ("a doubled slash", "//"),
    ("a slash percent-encoded", "%2f"),
    ("a slash percent-encoded twice", "%252F"),
    ("a backslash", "\\"),
    ("a backslash, encoded", "%5c"),
    ("a slash in an overlong form", "%c0%af"),
    ("a slash in an overlong form", "%e0%80%af"),
    ("a letter that looks like a slash", "%e2%88%95"),
    ("a dot segment", "/./"),
    ("a dot segment, encoded", "/%2e/"),
    ("two dots", "/x/../"),
    ("a dot segment with a parameter", "/.;a/"),
];

const BEFORE: [(&str, &str); 9] = [
    ("a doubled slash", "/"),
    ("a dot segment", "/."),
    ("two dots above the root", "/.."),
    ("two dots", "/x/.."),
    ("two dots, encoded", "/x/%2e%2e"),
    ("two dots with a parameter", "/x/..;a"),
    ("two dots behind a doubled slash", "/x//.."),
    ("another authority", "//other.example"),
    ("a target in absolute form", "http://other.example"),
];

const BEHIND: [(&str, &str); 28] = [
    ("a slash behind it", "/"),
    ("two slashes behind it", "//"),
    ("an encoded slash behind it", "%2f"),
    ("a dot segment behind it", "/."),
    ("a dot segment behind it, encoded", "/%2e"),
    ("two dots behind it", "/x/.."),
    ("two dots behind it, encoded", "%2Fx%2F..%2F"),
    ("a path parameter", ";"),
    ("a path parameter", ";a=b"),
    ("a path parameter with a suffix", ";.css"),
    ("a path parameter, encoded", "%3b"),
    ("a suffix", ".json"),
    ("a suffix", ".do"),
    ("a suffix", ".action"),
    ("a suffix", ".html"),
    ("a suffix", ".css"),
    ("a dot behind it", "."),
    ("a dot behind it, encoded", "%2e"),
    ("a space behind it", "%20"),
    ("a tab behind it", "%09"),
    ("a line break behind it", "%0a"),
    ("a line break behind it", "%0d%0a"),
    ("a NUL behind it", "%00"),
    ("a NUL and a suffix", "%00.css"),
    ("an encoded question mark", "%3fa=b"),
    ("an encoded fragment", "%23"),
    ("a fragment", "#"),
    ("a fragment", "#/public"),
];
