//! A request under construction: its parts as mutators change them, and the bytes that they come to.

use crate::kit::{HOST, TOKYO};

/// The guarded actions of the exchange that the applications implement, as a pack. Nothing is sensitive and every
/// write passes, so that only what is recognised as an action is stopped.
pub const PACK: &str = r#"
version = 1
exchange = "frameworks"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/withdrawal"
body = "json"
fields = { amount = "json.amt", asset = "json.ccy", address = "json.toAddr" }
need = ["asset", "amount", "address"]
sample = '{"amt":"1","ccy":"BTC","toAddr":"a"}'

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/withdrawal-form"
body = "form"
fields = { amount = "form.amt", asset = "form.ccy", address = "form.toAddr" }
need = ["asset", "amount", "address"]
sample = 'amt=1&ccy=BTC&toAddr=a'

[[action]]
name = "withdrawal"
match = ["POST /api/v5/asset/withdrawal-query", "GET /api/v5/asset/withdrawal-get"]
body = "query"
fields = { amount = "query.amt", asset = "query.ccy", address = "query.toAddr" }
need = ["asset", "amount", "address"]
sample = 'amt=1&ccy=BTC&toAddr=a'

[[action]]
name = "withdrawal"
match = "PUT /api/v5/asset/withdrawal-put"
body = "form"
fields = { amount = "form.amt", asset = "form.ccy", address = "form.toAddr" }
need = ["asset", "amount", "address"]
sample = 'amt=1&ccy=BTC&toAddr=a'

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/{asset}/withdrawal-to"
body = "json"
fields = { amount = "json.amt", asset = "path.asset", address = "json.toAddr" }
need = ["asset", "amount", "address"]
sample = '{"amt":"1","toAddr":"a"}'
"#;

/// How the parameters are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Json,
    Form,
    Query,
    Multipart,
}

/// A guarded action: method, path, where its parameters stand.
#[derive(Clone, Copy)]
pub struct Base(pub &'static str, pub &'static str, pub Spelling);

pub const BASES: [Base; 6] = [
    Base("POST", "/api/v5/asset/withdrawal", Spelling::Json),
    Base("POST", "/api/v5/asset/withdrawal-form", Spelling::Form),
    Base("POST", "/api/v5/asset/withdrawal-query", Spelling::Query),
    Base("GET", "/api/v5/asset/withdrawal-get", Spelling::Query),
    Base("PUT", "/api/v5/asset/withdrawal-put", Spelling::Form),
    Base("POST", "/api/v5/asset/BTC/withdrawal-to", Spelling::Json),
];

/// A parameter: name and value as they are written, and whether JSON puts the value in quotes.
#[derive(Clone)]
pub struct Pair {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub quoted: bool,
}

impl Pair {
    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into(), quoted: true }
    }
}

/// Makes of the request's bytes a part of another one's.
pub type Wrap = fn(&Draft, Vec<u8>) -> Vec<u8>;

pub struct Draft {
    pub method: Vec<u8>,
    pub path: Vec<u8>,
    /// With its `?`.
    pub query: Vec<u8>,
    pub version: Vec<u8>,
    /// What separates the three parts of the request line.
    pub gaps: [Vec<u8>; 2],
    pub eol: &'static [u8],
    /// Header lines other than those of type and framing.
    pub lines: Vec<Vec<u8>>,
    /// Values of Content-Type lines.
    pub media: Vec<Vec<u8>>,
    pub pairs: Vec<Pair>,
    pub spelling: Spelling,
    /// The body, once something has changed its bytes.
    body: Option<Vec<u8>>,
    /// Header lines of framing and the body as it is on the wire, once something has changed them.
    framed: Option<(Vec<Vec<u8>>, Vec<u8>)>,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// The request becomes a part of another one.
    pub inside: Option<Wrap>,
    token: String,
    case: String,
}

impl Draft {
    pub fn new(base: Base, token: &str, case: &str) -> Self {
        let Base(method, path, spelling) = base;
        let names = [("amt", "9999"), ("ccy", "BTC"), ("toAddr", "EVIL")];
        let mut draft = Self {
            method: method.into(),
            path: path.into(),
            query: Vec::new(),
            version: "HTTP/1.1".into(),
            gaps: [b" ".to_vec(), b" ".to_vec()],
            eol: b"\r\n",
            lines: Vec::new(),
            media: Vec::new(),
            pairs: names.map(|(name, value)| Pair::new(name, value)).to_vec(),
            spelling,
            body: None,
            framed: None,
            before: Vec::new(),
            after: Vec::new(),
            inside: None,
            token: token.to_owned(),
            case: case.to_owned(),
        };
        draft.lines = draft.credentials();
        draft.lines.push(b"connection: close".to_vec());
        draft.media.extend(media_of(spelling).map(<[u8]>::to_vec));
        draft
    }

    /// The lines that every request needs to be somebody's.
    pub fn credentials(&self) -> Vec<Vec<u8>> {
        vec![
            format!("host: {HOST}").into(),
            format!("authorization: Bearer {}", self.token).into(),
            format!("x-forwarded-for: {TOKYO}").into(),
            format!("x-case: {}", self.case).into(),
        ]
    }

    /// A whole ordinary request of the same client; its connection stays open.
    pub fn ordinary(&self, line: &str, more: &str) -> Vec<u8> {
        let mut bytes = format!("{line} HTTP/1.1\r\n").into_bytes();
        for credential in self.credentials() {
            bytes.extend([&credential[..], b"\r\n"].concat());
        }
        bytes.extend(more.as_bytes());
        bytes
    }

    pub fn header(&mut self, name: &str, value: &str) {
        self.lines.push(format!("{name}: {value}").into());
    }

    /// Adds a pair to the query string.
    pub fn ask(&mut self, pair: &str) {
        self.query.push(if self.query.is_empty() { b'?' } else { b'&' });
        self.query.extend(pair.as_bytes());
    }

    /// The body's bytes, from now on changed directly.
    pub fn body(&mut self) -> &mut Vec<u8> {
        if self.body.is_none() {
            self.body = Some(self.spelt());
        }
        self.body.as_mut().unwrap()
    }

    fn spelt(&self) -> Vec<u8> {
        match self.spelling {
            Spelling::Json => json(&self.pairs),
            Spelling::Form => form(&self.pairs),
            Spelling::Query => Vec::new(),
            Spelling::Multipart => multipart(&self.pairs),
        }
    }

    /// The framing's header lines and the body on the wire, from now on changed directly.
    pub fn framed(&mut self) -> &mut (Vec<Vec<u8>>, Vec<u8>) {
        if self.framed.is_none() {
            self.framed = Some(self.plainly_framed());
        }
        self.framed.as_mut().unwrap()
    }

    fn plainly_framed(&self) -> (Vec<Vec<u8>>, Vec<u8>) {
        let body = self.body.clone().unwrap_or_else(|| self.spelt());
        let reads = matches!(&self.method[..], b"GET" | b"HEAD" | b"OPTIONS");
        let lines = match body.is_empty() && reads {
            true => Vec::new(),
            false => vec![format!("content-length: {}", body.len()).into()],
        };
        (lines, body)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (framing, body) = self.framed.clone().unwrap_or_else(|| self.plainly_framed());
        let mut query = self.query.clone();
        if self.spelling == Spelling::Query && self.body.is_none() {
            query.push(if query.is_empty() { b'?' } else { b'&' });
            query.extend(form(&self.pairs));
        }
        let [first, second] = &self.gaps;
        let line = [&self.method, first, &self.path, &query, second, &self.version];
        let mut bytes = line.map(|part| part.as_slice()).concat();
        let media = self.media.iter().map(|value| [b"content-type: ", &value[..]].concat());
        let lines = self.lines.iter().cloned().chain(media).chain(framing);
        for line in lines {
            bytes.extend([self.eol, &line].concat());
        }
        bytes.extend([self.eol, self.eol, &body].concat());
        let bytes = match self.inside {
            Some(wrap) => wrap(self, bytes),
            None => bytes,
        };
        [&self.before[..], &bytes, &self.after].concat()
    }
}

pub fn media_of(spelling: Spelling) -> Option<&'static [u8]> {
    match spelling {
        Spelling::Json => Some(b"application/json"),
        Spelling::Form => Some(b"application/x-www-form-urlencoded"),
        Spelling::Query => None,
        Spelling::Multipart => Some(b"multipart/form-data; boundary=x"),
    }
}

pub fn json(pairs: &[Pair]) -> Vec<u8> {
    let members = pairs.iter().map(|pair| {
        let quote: &[u8] = if pair.quoted { b"\"" } else { b"" };
        [b"\"", &pair.name[..], b"\":", quote, &pair.value, quote].concat()
    });
    [b"{", &members.collect::<Vec<_>>().join(&b","[..])[..], b"}"].concat()
}

pub fn form(pairs: &[Pair]) -> Vec<u8> {
    let written = pairs.iter().map(|pair| [&pair.name[..], b"=", &pair.value].concat());
    written.collect::<Vec<_>>().join(&b"&"[..])
}

fn multipart(pairs: &[Pair]) -> Vec<u8> {
    let mut body = Vec::new();
    for pair in pairs {
        body.extend(b"--x\r\ncontent-disposition: form-data; name=\"");
        body.extend([&pair.name[..], b"\"\r\n\r\n", &pair.value, b"\r\n"].concat());
    }
    body.extend(b"--x--\r\n");
    body
}
