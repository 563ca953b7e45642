//! `[websocket]` of a pack: the paths whose messages are read, where a message names who sends it, and how the exchange
//! words a refusal there.
//!
//! Never lets a private path have a second spelling, and never reads a message of any other path. Invariant: a message
//! names at most one credential, in one spelling, or it is refused.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};

use super::canonical::is_strict;
use super::json::{self, Json};
use super::names;
use super::read::{BODY_BYTES_MAX, Refused};
use super::rule::ActionRule;
use super::written::Keys;

/// What a pack says of an exchange's private WebSockets.
#[derive(Debug, PartialEq, Eq)]
pub struct Socket {
    /// Exact paths, strictly spelt.
    pub(super) private: Vec<String>,
    /// What lies below these passes untouched; every other path has no WebSocket.
    pub(super) public: Vec<String>,
    /// Messages that pass as they are and mean nothing, such as `ping`.
    plain: Vec<String>,
    credentials: Vec<Bearing>,
    answer: FrameAnswer,
}

/// A member that names who sends the message, and where the same stands in a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearing {
    path: Vec<Step>,
    as_what: Means,
}

/// A member that a login must have, and the values that it may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Only {
    path: Vec<Step>,
    values: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    /// Every element of a list.
    Each,
    At(usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Means {
    /// It is looked up as if it came in this header, between these texts.
    Header { name: HeaderName, before: String, after: String },
    /// It is a token that some answer of the exchange gave out; see `learn` of an action.
    Learnt,
}

/// Who a message says it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Header(HeaderName, HeaderValue),
    Token(Arc<str>),
}

/// A message as far as its sender and its answer go.
#[derive(Debug, Default)]
pub struct Envelope {
    pub names: Option<Names>,
    /// By which its answer is known.
    pub id: Option<Arc<str>>,
}

/// How the exchange words a refusal on a WebSocket: `{message}` in a string, and members of the message that are
/// repeated as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FrameAnswer {
    template: String,
    /// Name of the hole, and the member that fills it.
    echo: Vec<(String, Vec<String>)>,
}

const MESSAGE: &str = "message";
/// The member that an answer is known by.
const ID: &str = "id";
const ECHO_BYTES_MAX: usize = 256;
const CREDENTIAL_BYTES_MAX: usize = 4096;
const LEARNT: &str = "learnt";
const VALUE: &str = "{value}";

impl Socket {
    /// The table as compiled; None, with every fault, unless it is sound.
    pub(super) fn compile(keys: &Keys<'_>) -> Option<Arc<Self>> {
        keys.only(&["private", "public", "plain", "credentials", "echo", "error"]);
        let before = keys.fault_count();
        let private = paths(keys, "private");
        let public = paths(keys, "public");
        if private.is_empty() {
            keys.missing("private", "name the paths whose messages are to be read");
        }
        let plain = keys.texts("plain").into_iter().map(|text| text.value).collect();
        let credentials = Bearing::compile(keys);
        let answer = answer(keys);
        let sound = keys.fault_count() == before;
        answer
            .filter(|_| sound)
            .map(|answer| Arc::new(Self { private, public, plain, credentials, answer }))
    }

    /// Whether a message passes as it is.
    pub fn is_plain(&self, message: &[u8]) -> bool {
        self.plain.iter().any(|plain| plain.as_bytes() == message)
    }

    /// Who a message is from. `ActionSet::select` says what it would do.
    ///
    /// # Errors
    /// If it is not one JSON object, or names its sender twice or in a second spelling.
    pub fn open(&self, message: &[u8]) -> Result<Envelope, Refused> {
        if message.len() > BODY_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let text = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
        let root = json::parse(text)?;
        let Json::Object(_) = &root else { return Err("the message is not a JSON object".into()) };
        let names = named(&root, &self.credentials, None)?;
        let place = self.answer.echo.iter().find(|(hole, _)| hole == ID).map(|(_, path)| path);
        let id = match place.and_then(|path| token_at(&root, path)) {
            Some(token) => id_of(token)?,
            None => None,
        };
        Ok(Envelope { names, id })
    }

    /// The id that an answer of the exchange names, in its text.
    pub fn answers(&self, message: &[u8]) -> Option<Arc<str>> {
        let place = self.answer.echo.iter().find(|(hole, _)| hole == ID).map(|(_, path)| path)?;
        let root: serde_json::Value = serde_json::from_slice(message).ok()?;
        let value = place.iter().try_fold(&root, |value, name| value.get(name))?;
        match value {
            serde_json::Value::String(text) => Some(text.as_str().into()),
            serde_json::Value::Number(number) => id_of(&number.to_string()).ok().flatten(),
            _ => None,
        }
    }

    /// A refusal of this message in the exchange's own words. What cannot be read is answered without repeating it.
    pub fn refusal(&self, message: &[u8], why: &str) -> String {
        let root = std::str::from_utf8(message).ok().and_then(|text| json::parse(text).ok());
        let token = |path: &[String]| root.as_ref().and_then(|root| token_at(root, path));
        self.answer.render(why, &token)
    }
}

impl ActionRule {
    /// Who a message of this action is from, if it does not say so where every message may.
    ///
    /// # Errors
    /// If it names more than one credential, `already` included, or one in a second spelling.
    pub fn named(&self, message: &[u8], already: Option<Names>) -> Result<Option<Names>, Refused> {
        if self.credentials.is_empty() && self.only.is_empty() {
            return Ok(already);
        }
        let text = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
        let root = json::parse(text)?;
        self.only.iter().try_for_each(|only| only.check(&root))?;
        named(&root, &self.credentials, already)
    }
}

fn named(
    root: &Json<'_>,
    credentials: &[Bearing],
    already: Option<Names>,
) -> Result<Option<Names>, Refused> {
    let mut names = already;
    for bearing in credentials {
        let mut found = Vec::new();
        look(root, &bearing.path, &mut found)?;
        for value in found {
            if names.replace(bearing.named(&value)?).is_some() {
                return Err("a message names more than one credential".into());
            }
        }
    }
    Ok(names)
}

fn paths(keys: &Keys<'_>, key: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for path in keys.texts(key) {
        if is_strict(&path.value) {
            paths.push(path.value);
        } else {
            keys.fault(path.span, "a WebSocket's path is a plain path such as `/ws/v5/private`");
        }
    }
    paths
}

/// The scalar at a path of members, as it stands.
fn token_at<'a>(root: &Json<'a>, path: &[String]) -> Option<&'a str> {
    let value = path.iter().try_fold(root, |value, name| value.member(name))?;
    match value {
        Json::Scalar(token) if token.len() <= ECHO_BYTES_MAX => Some(token),
        _ => None,
    }
}

/// The text of an id. A number beyond 15 digits is none, because some exchanges round it.
fn id_of(token: &str) -> Result<Option<Arc<str>>, Refused> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    match token.as_bytes().first() {
        Some(b'"') => Ok(json::scalar_text(token).map(Into::into)),
        Some(b'-' | b'0'..=b'9')
            if token == "-0" || !digits.bytes().all(|it| it.is_ascii_digit()) =>
        {
            Err("an id that is no plain integer: the exchange may repeat another spelling".into())
        }
        Some(b'-' | b'0'..=b'9') => Ok((digits.len() <= 15).then(|| token.into())),
        _ => Ok(None),
    }
}

/// Every value at a path. Another spelling of a member on the way is refused: the exchange may read that one.
fn look(value: &Json<'_>, path: &[Step], found: &mut Vec<String>) -> Result<(), Refused> {
    let Some((step, rest)) = path.split_first() else {
        return match value {
            Json::Scalar(token) if token.starts_with('"') => {
                found.extend(json::scalar_text(token));
                Ok(())
            }
            _ => Err("what says who logs in is no string".into()),
        };
    };
    match (step, value) {
        (Step::Member(name), Json::Object(members)) => {
            if members.iter().any(|member| names::is_variant(&member.name, name)) {
                return Err("a member's name is a variant of a credential's".into());
            }
            value.member(name).map_or(Ok(()), |value| look(value, rest, found))
        }
        (Step::Each, Json::Array(values)) => {
            values.iter().try_for_each(|value| look(value, rest, found))
        }
        (Step::At(at), Json::Array(values)) => {
            values.get(*at).map_or(Ok(()), |value| look(value, rest, found))
        }
        // Another message than the one that names somebody.
        _ => Ok(()),
    }
}

impl Only {
    /// `only = { "json.params.grant_type" = ["client_credentials"] }`, of a login.
    pub fn compile(keys: &Keys<'_>) -> Vec<Self> {
        let Some(table) = keys.table("only") else { return Vec::new() };
        if keys.boolean("login") != Some(true) {
            keys.fault(table.span.clone(), "`only` belongs to an action with `login = true`");
        }
        let mut all = Vec::new();
        for (place, values) in table.entries() {
            match steps(&place.value) {
                Ok(path) => {
                    let values = values.into_iter().map(|value| value.value).collect();
                    all.push(Self { path, values });
                }
                Err(why) => table.fault(place.span, why),
            }
        }
        all
    }

    fn check(&self, root: &Json<'_>) -> Result<(), Refused> {
        let mut found = Vec::new();
        look(root, &self.path, &mut found)?;
        match found.as_slice() {
            [value] if self.values.contains(value) => Ok(()),
            _ => Err("a way to log in that does not say who does".into()),
        }
    }
}

impl Bearing {
    pub fn compile(keys: &Keys<'_>) -> Vec<Self> {
        compile(keys)
    }

    fn named(&self, value: &str) -> Result<Names, Refused> {
        let plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'"' | b'\\');
        if value.is_empty() || value.len() > CREDENTIAL_BYTES_MAX || !value.bytes().all(plain) {
            return Err("a credential holds a character that none has".into());
        }
        match &self.as_what {
            Means::Learnt => Ok(Names::Token(value.into())),
            Means::Header { name, before, after } => {
                let value = HeaderValue::from_str(&format!("{before}{value}{after}"));
                let value = value.map_err(|_| "a credential holds a character that none has")?;
                Ok(Names::Header(name.clone(), value))
            }
        }
    }
}

/// `credentials = { "json.args[].apiKey" = "OK-ACCESS-KEY: {value}" }`.
fn compile(keys: &Keys<'_>) -> Vec<Bearing> {
    let Some(table) = keys.table("credentials") else { return Vec::new() };
    let mut bearings = Vec::new();
    for (place, meanings) in table.entries() {
        let path = match steps(&place.value) {
            Ok(path) => path,
            Err(why) => {
                table.fault(place.span, why);
                continue;
            }
        };
        let [meaning] = meanings.as_slice() else {
            table.fault(place.span, "a credential stands for one header");
            continue;
        };
        match means(&meaning.value) {
            Some(as_what) => bearings.push(Bearing { path, as_what }),
            None => table.fault(
                meaning.span.clone(),
                "a credential is written as the header that it stands for, `API-Key: {value}`, or `learnt`",
            ),
        }
    }
    bearings
}

fn means(text: &str) -> Option<Means> {
    if text == LEARNT {
        return Some(Means::Learnt);
    }
    let (name, value) = text.split_once(':')?;
    let (before, after) = value.trim().split_once(VALUE)?;
    HeaderValue::from_str(&format!("{before}{after}")).ok()?;
    let name = HeaderName::try_from(name.trim()).ok()?;
    Some(Means::Header { name, before: before.to_owned(), after: after.to_owned() })
}

/// `json.args[].apiKey`, `json.args[0]`, `json.params.token`.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let wrong = || {
        format!("`{text}`: a place in a message is written `json.args[].name` or `json.args[0]`")
    };
    let path = text.strip_prefix("json.").ok_or_else(wrong)?;
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, list) = match part.split_once('[') {
            Some((name, list)) => (name, Some(list.strip_suffix(']').ok_or_else(wrong)?)),
            None => (part, None),
        };
        if name.is_empty() || name.contains([']', ' ']) {
            return Err(wrong());
        }
        steps.push(Step::Member(name.to_owned()));
        match list {
            None => {}
            Some("") => steps.push(Step::Each),
            Some(at) => steps.push(Step::At(at.parse().map_err(|_| wrong())?)),
        }
    }
    Ok(steps)
}

fn answer(keys: &Keys<'_>) -> Option<FrameAnswer> {
    let mut echo = Vec::new();
    if let Some(table) = keys.table("echo") {
        for (hole, places) in table.entries() {
            let path: Option<Vec<String>> = match places.as_slice() {
                [place] => place
                    .value
                    .strip_prefix("json.")
                    .map(|path| path.split('.').map(str::to_owned).collect()),
                _ => None,
            };
            match path {
                Some(path) if hole.value != MESSAGE && !path.iter().any(String::is_empty) => {
                    echo.push((hole.value, path));
                }
                _ => table.fault(hole.span, "what is repeated is one member: `id = \"json.id\"`"),
            }
        }
    }
    let Some(error) = keys.text("error") else {
        keys.missing("error", "write the exchange's error message with `{message}` in it");
        return None;
    };
    let answer = FrameAnswer { template: error.value, echo };
    match answer.check() {
        Ok(()) => Some(answer),
        Err(why) => {
            keys.fault(error.span, why);
            None
        }
    }
}

impl FrameAnswer {
    /// In one pass: nothing that is put in is looked at again.
    fn render<'a>(&self, why: &str, token: &dyn Fn(&[String]) -> Option<&'a str>) -> String {
        let quoted = serde_json::Value::from(why).to_string();
        let escaped = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let mut text = String::with_capacity(self.template.len() + why.len());
        let mut rest = self.template.as_str();
        while let Some((before, tail)) = rest.split_once('{') {
            text.push_str(before);
            let hole = tail.split_once('}');
            let echoed = |name: &str| self.echo.iter().find(|(hole, _)| hole == name);
            match hole.map(|(name, after)| (name, echoed(name), after)) {
                Some((MESSAGE, _, after)) => {
                    text.push_str(escaped.unwrap_or(""));
                    rest = after;
                }
                Some((_, Some((_, path)), after)) => {
                    text.push_str(token(path).unwrap_or("null"));
                    rest = after;
                }
                _ => {
                    text.push('{');
                    rest = tail;
                }
            }
        }
        text.push_str(rest);
        text
    }

    /// Whether what is rendered is JSON, whatever is put in.
    fn check(&self) -> Result<(), String> {
        const PROBE: &str = "probe \" \\ \n";
        const TOKEN: &str = "\"token \\\" \"";
        let text = self.render(PROBE, &|_| Some(TOKEN));
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
            return Err(
                "the message is not JSON with `{message}` inside a string and the rest outside"
                    .into(),
            );
        };
        let said = |wanted: &dyn Fn(&str) -> usize| strings(&value, wanted);
        if said(&|text| usize::from(text.contains(PROBE))) == 0 {
            return Err("the message has no `{message}` in a string".into());
        }
        for (hole, _) in &self.echo {
            if !self.template.contains(&format!("{{{hole}}}")) {
                return Err(format!("`echo` names `{hole}`, but the message has no `{{{hole}}}`"));
            }
        }
        let holes =
            self.echo.iter().map(|(hole, _)| self.template.matches(&format!("{{{hole}}}")).count());
        match said(&|text| usize::from(text == "token \" ")) == holes.sum::<usize>() {
            true => Ok(()),
            false => {
                Err("what is repeated stands outside of strings: it brings its own quotes".into())
            }
        }
    }
}

fn strings(value: &serde_json::Value, count: &dyn Fn(&str) -> usize) -> usize {
    match value {
        serde_json::Value::String(text) => count(text),
        serde_json::Value::Array(values) => values.iter().map(|it| strings(it, count)).sum(),
        serde_json::Value::Object(members) => members.values().map(|it| strings(it, count)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classify::load;
    use crate::fault::Source;

    const SOCKET: &str = r#"
        [websocket]
        private = ["/ws/private"]
        plain = ["ping"]
        credentials = { "json.params.apiKey" = "X-KEY: {value}", "json.params.token" = "learnt" }
        echo = { id = "json.id", op = "json.op" }
        error = '{"id":{id},"op":{op},"msg":"{message}","data":{"x":{id}}}'
        [[action]]
        name = "login"
        match = "WS /ws/private op=login"
        select = "json.op"
        body = "json"
        guarded = false
        login = true
        credentials = { "json.args[].key" = "Authorization: scheme id={value},v=1", "json.list[0]" = "X-KEY: {value}" }
    "#;

    fn faults(text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let text = format!("version = 1\nexchange = \"t\"\n{text}");
        let set = load(&[Source::new("t.toml", text)], &mut faults);
        assert_eq!(set.is_none(), !faults.is_empty());
        faults.iter().map(|fault| fault.message.clone()).collect()
    }

    fn with<T>(run: impl FnOnce(&Socket, &ActionRule) -> T) -> T {
        let text = format!("version = 1\nexchange = \"t\"\n{SOCKET}");
        let set = load(&[Source::new("t.toml", text)], &mut Vec::new()).unwrap();
        run(set.socket("/ws/private").unwrap(), &set.rules()[0])
    }

    fn names(message: &str) -> Result<Option<String>, Refused> {
        with(|socket, login| {
            let names = socket.open(message.as_bytes())?.names;
            Ok(login.named(message.as_bytes(), names)?.map(|names| match names {
                Names::Header(name, value) => format!("{name}: {}", value.to_str().unwrap()),
                Names::Token(token) => format!("token {token}"),
            }))
        })
    }

    #[test]
    fn a_message_names_its_sender_where_the_pack_says() {
        for (message, name) in [
            (r#"{"op":"x"}"#, None),
            (r#"{"params":{"apiKey":"k"}}"#, Some("x-key: k")),
            (r#"{"params":{"\u0061piKey":"\u006b"}}"#, Some("x-key: k")),
            (r#"{"params":{"token":"t+/="}}"#, Some("token t+/=")),
            (r#"{"args":[{"key":"k"}]}"#, Some("authorization: scheme id=k,v=1")),
            (r#"{"list":["k",1,"s"]}"#, Some("x-key: k")),
            (r#"{"args":[],"list":[]}"#, None),
            (r#"{"params":[{"apiKey":"k"}]}"#, None),
        ] {
            assert_eq!(names(message).unwrap().as_deref(), name, "{message}");
        }
    }

    #[test]
    fn a_sender_that_could_be_read_in_two_ways_is_refused() {
        for message in [
            "",
            "[]",
            r#"[{"params":{"apiKey":"k"}}]"#,
            r#"{"params":{"apiKey":"k","apiKey":"l"}}"#,
            r#"{"params":{"apiKey":"k"},"params":{}}"#,
            r#"{"params":{"apiKey":"k","ApiKey":"l"}}"#,
            r#"{"params":{"apikey":"k"}}"#,
            r#"{"Params":{"apiKey":"k"}}"#,
            r#"{"params":{"apiKey":"k","token":"t"}}"#,
            r#"{"params":{"apiKey":"k"},"list":["l"]}"#,
            r#"{"args":[{"key":"k"},{"key":"k"}]}"#,
            r#"{"params":{"apiKey":1}}"#,
            r#"{"params":{"apiKey":null}}"#,
            r#"{"params":{"apiKey":["k"]}}"#,
            r#"{"params":{"apiKey":""}}"#,
            r#"{"params":{"apiKey":"k l"}}"#,
            r#"{"params":{"apiKey":"k,id=l"}}"#,
            r#"{"params":{"apiKey":"k\u000d\u000ax: y"}}"#,
            r#"{"params":{"apiKey":"é"}}"#,
        ] {
            assert!(names(message).is_err(), "{message}");
        }
        assert!(names(&format!(r#"{{"params":{{"apiKey":"{}"}}}}"#, "k".repeat(5000))).is_err());
    }

    #[test]
    fn a_login_is_taken_only_in_the_ways_that_the_pack_names() {
        let only = "login = true\n only = { \"json.params.how\" = [\"key\", \"signature\"] }";
        let text = SOCKET.replace("login = true", only);
        let text = format!("version = 1\nexchange = \"t\"\n{text}");
        let set = load(&[Source::new("t.toml", text)], &mut Vec::new()).unwrap();
        let named = |how: &str| {
            let message = format!(r#"{{"op":"login","args":[{{"key":"k"}}],"params":{{{how}}}}}"#);
            set.rules()[0].named(message.as_bytes(), None)
        };
        for how in [r#""how":"key""#, r#""how":"signature""#, r#""\u0068ow":"k\u0065y""#] {
            assert!(named(how).unwrap().is_some(), "{how}");
        }
        for how in [
            "",
            r#""how":"code""#,
            r#""how":"KEY""#,
            r#""How":"key""#,
            r#""how":"key","How":"code""#,
            r#""how":["key"]"#,
            r#""how":null"#,
        ] {
            assert!(named(how).is_err(), "{how}");
        }
    }

    #[test]
    fn an_answer_is_known_by_its_id() {
        with(|socket, _| {
            for (message, id) in [
                (r#"{"id":"7","op":"x"}"#, Some("7")),
                (r#"{"op":"x","id":7}"#, Some("7")),
                (r#"{"id":{"a":1}}"#, None),
                (r#"{"id":7.0}"#, None),
                (r#"{"id":1795176000000000}"#, None),
                (r#"{"id":"1795176000000000"}"#, Some("1795176000000000")),
                ("pong", None),
            ] {
                assert_eq!(socket.answers(message.as_bytes()).as_deref(), id, "{message}");
            }
            assert_eq!(socket.open(br#"{"id":7}"#).unwrap().id.as_deref(), Some("7"));
            for (id, text) in [
                ("-7", Some("-7")),
                ("\"7.0\"", Some("7.0")),
                ("null", None),
                ("true", None),
                ("[7]", None),
                ("1795176000000000", None),
            ] {
                let message = format!(r#"{{"id":{id}}}"#);
                assert_eq!(socket.open(message.as_bytes()).unwrap().id.as_deref(), text, "{id}");
            }
            for id in ["7.0", "7e0", "-0", "-7E1", "17951760000000000000.5"] {
                assert!(socket.open(format!(r#"{{"id":{id}}}"#).as_bytes()).is_err(), "{id}");
            }
            assert!(socket.is_plain(b"ping") && !socket.is_plain(b"ping "));
        });
    }

    #[test]
    fn a_refusal_repeats_what_the_message_said_and_nothing_else() {
        let said =
            |message: &str| with(|socket, _| socket.refusal(message.as_bytes(), "no \"{id}\" \n"));
        let why = r#""no \"{id}\" \n""#;
        for (message, id, op) in [
            (r#"{"id":"1","op":"order"}"#, "\"1\"", "\"order\""),
            (r#"{"id":-15,"op":null}"#, "-15", "null"),
            (r#"{"id":{"a":1},"op":"{message}"}"#, "null", "\"{message}\""),
            (r#"{"id":1,"id":2,"op":"x"}"#, "null", "null"),
            ("no json", "null", "null"),
        ] {
            let wanted = format!(r#"{{"id":{id},"op":{op},"msg":{why},"data":{{"x":{id}}}}}"#);
            assert_eq!(said(message), wanted, "{message}");
        }
    }

    #[test]
    fn a_websocket_with_a_fault_says_which() {
        assert_eq!(faults(SOCKET), Vec::<String>::new());
        let error = "error = '{\"m\":\"{message}\"}'";
        for (table, says) in [
            (error.to_owned(), "`private` is missing"),
            (format!("private = \"/ws/\"\n{error}"), "plain path"),
            (format!("private = \"/ws\"\npublic = \"ws\"\n{error}"), "plain path"),
            ("private = \"/ws\"".to_owned(), "`error` is missing"),
            ("private = \"/ws\"\nerror = '{\"m\":1}'".to_owned(), "no `{message}`"),
            ("private = \"/ws\"\nerror = '{\"m\":{message}}'".to_owned(), "not JSON"),
            (format!("private = \"/ws\"\necho = {{ id = \"json.id\" }}\n{error}"), "has no `{id}`"),
            (
                "private = \"/ws\"\necho = { id = \"json.id\" }\nerror = '{\"m\":\"{message}\",\"i\":\"{id}\"}'".to_owned(),
                "JSON",
            ),
            (format!("private = \"/ws\"\necho = {{ id = \"query.id\" }}\n{error}"), "one member"),
            (format!("private = \"/ws\"\ncredentials = {{ \"params.key\" = \"X: {{value}}\" }}\n{error}"), "is written"),
            (format!("private = \"/ws\"\ncredentials = {{ \"json.a[x]\" = \"X: {{value}}\" }}\n{error}"), "is written"),
            (format!("private = \"/ws\"\ncredentials = {{ \"json.a\" = \"X\" }}\n{error}"), "as the header"),
            (format!("private = \"/ws\"\npaths = 1\n{error}"), "unknown key `paths`"),
        ] {
            let found = faults(&format!("[websocket]\n{table}"));
            assert!(found.iter().any(|fault| fault.contains(says)), "{table}: {found:?}");
        }
        let only = SOCKET.replace("login = true", "only = { \"json.how\" = \"key\" }");
        assert!(faults(&only)[0].contains("belongs to an action with `login = true`"));
        let only = SOCKET.replace("login = true", "login = true\nonly = { how = \"key\" }");
        assert!(faults(&only)[0].contains("is written"), "{:?}", faults(&only));
        let action = SOCKET.replace("WS /ws/private", "WS /ws/elsewhere");
        assert!(faults(&action)[0].contains("messages of `/ws/elsewhere` are not read"));
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_becomes_structure(
            id in r#"[{}\[\]",:0-9a\\{idmessage} ]{0,40}"#, op in "\\PC{0,20}", why in "\\PC{0,20}",
        ) {
            let op = serde_json::Value::from(op).to_string();
            for message in [format!(r#"{{"id":{id},"op":{op}}}"#), format!(r#"{{"id":"{id}","op":{op}}}"#)] {
                let text = with(|socket, _| socket.refusal(message.as_bytes(), &why));
                let refusal: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(refusal.as_object().unwrap().len(), 4);
                prop_assert_eq!(&refusal["msg"], &why);
                prop_assert!(!refusal["id"].is_object() && !refusal["id"].is_array());
                let _ = with(|socket, login| {
                    login.named(message.as_bytes(), None).map(drop).ok();
                    socket.answers(message.as_bytes())
                });
            }
        }
    }
}
