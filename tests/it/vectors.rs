//! 300 mutations of one withdrawal, as sent to eleven real back ends, against the classifier alone.
//!
//! Each line tells which back ends ran the theft (`executed_by`), what a gateway must do
//! (`required`) and which values were read (`reads`). Framing, header syntax and the request line
//! itself are not the classifier's: those classes and lines are named below and checked where the
//! head is.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::Value;
use stepgate::classify::{Action, ActionSet, Detected, Refused, load};
use stepgate::fault::Source;
use stepgate::inbound::Inbound;
use stepgate::types::{RequestId, UnixMs};

/// Decided before a request is a request: host, header syntax, framing.
const CLASSES_OF_THE_HEAD_CHECK: [&str; 3] = ["host", "hdr", "frame"];
/// Request lines and header lines that no parser lets through to the classifier: separators, line
/// ends, versions, control characters, and authorities that are not this site's.
const LINES_OF_THE_HEAD_CHECK: [&str; 13] =
    ["P47", "P48", "P52", "P71", "P72", "P73", "P74", "P76", "P77", "P78", "P79", "M09", "C26"];

pub(crate) const PACK: &str = r#"
version = 1
exchange = "vectors"
unclassified = { read = "allow", write = "allow" }
sensitive = ["/api/v5/asset"]

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/withdrawal"
body = "json"
fields = { amount = "json.amt", asset = "json.ccy", address = "json.toAddr" }
need = ["amount", "asset", "address"]
sample = '{"amt":"1","ccy":"BTC","toAddr":"GOOD"}'

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/withdrawal-form"
body = "form"
fields = { amount = "form.amt", asset = "form.ccy", address = "form.toAddr" }
need = ["amount", "asset", "address"]
sample = "amt=1&ccy=BTC&toAddr=GOOD"

[[action]]
name = "withdrawal"
match = "POST /api/v5/asset/withdrawal-query"
body = "query"
fields = { amount = "query.amt", asset = "query.ccy", address = "query.toAddr" }
need = ["amount", "asset", "address"]
sample = "amt=1&ccy=BTC&toAddr=GOOD"
"#;

/// What the classifier makes of one request.
#[derive(Debug)]
enum Judged {
    StepUp(Box<Action>),
    Reject,
    TooLarge,
    MediaType,
    Ordinary,
}

fn judge(set: &ActionSet, head: &Inbound, body: &[u8]) -> Judged {
    match set.detect(&head.method, &head.target, &head.headers) {
        Detected::Action(rule) => match rule.read(head, body) {
            Ok(action) => Judged::StepUp(Box::new(action)),
            Err(Refused::TooLarge) => Judged::TooLarge,
            Err(Refused::MediaType(_)) => Judged::MediaType,
            Err(Refused::NotCanonical(_)) => Judged::Reject,
        },
        Detected::NotCanonical(_) | Detected::Unlisted { sensitive: true, .. } => Judged::Reject,
        Detected::Unlisted { .. } | Detected::Ordinary | Detected::Selected => Judged::Ordinary,
    }
}

/// The head as the connection hands it on: absolute-form with this site's authority already in
/// origin form.
fn parse(raw: &[u8]) -> Option<(Inbound, Vec<u8>)> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (&raw[..end], &raw[end + 4..]);
    let mut lines =
        head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut request_line = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(request_line.next()?).ok()?;
    let line = request_line.next()?;
    let target = String::from_utf8_lossy(
        line.strip_suffix(b" HTTP/1.1").or(line.strip_suffix(b" HTTP/1.0"))?,
    );
    let lower = target.to_ascii_lowercase();
    let scheme =
        ["http://host/", "https://host/"].into_iter().find(|prefix| lower.starts_with(prefix));
    let target = scheme.map_or(&*target, |prefix| &target[prefix.len() - 1..]);
    let mut headers = HeaderMap::new();
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?);
    }
    let inbound = Inbound {
        request: RequestId::new("r"),
        method,
        host: "host".into(),
        authority: "HOST".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
    };
    Some((inbound, body.to_vec()))
}

fn set() -> ActionSet {
    let mut faults = Vec::new();
    let set = load(&[Source::new("vectors.actions.toml", PACK)], &mut faults);
    assert!(faults.is_empty(), "{}", faults[0].render());
    set.unwrap()
}

pub(crate) fn vectors() -> Vec<(Value, Vec<u8>)> {
    let text = include_str!("../fixtures/vectors/http1.jsonl");
    text.lines()
        .map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            let raw = vector["raw_base64"].as_str().unwrap();
            let raw = base64::engine::general_purpose::STANDARD.decode(raw).unwrap();
            (vector, raw)
        })
        .collect()
}

fn is_ours(vector: &Value) -> bool {
    !CLASSES_OF_THE_HEAD_CHECK.contains(&vector["class"].as_str().unwrap())
        && !LINES_OF_THE_HEAD_CHECK.contains(&vector["id"].as_str().unwrap())
}

#[test]
fn every_vector_is_judged_as_it_must_be() {
    let set = set();
    let mut wrong = Vec::new();
    let mut judged_count = 0;
    for (vector, raw) in vectors().iter().filter(|(vector, _)| is_ours(vector)) {
        judged_count += 1;
        let Some((head, body)) = parse(raw) else {
            wrong.push(format!("{}: no head", vector["id"]));
            continue;
        };
        let judged = judge(&set, &head, &body);
        let word = match &judged {
            Judged::StepUp(_) => "step-up",
            Judged::Ordinary => "pass",
            _ => "reject",
        };
        let accepted = vector["also_accepted"]
            .as_array()
            .is_some_and(|also| also.iter().any(|also| also == word));
        if vector["required"] != word && !accepted {
            wrong.push(format!("{}: {} is {judged:?}", vector["id"], vector["about"]));
        }
        let statuses = vector["status"].as_array().cloned().unwrap_or_default();
        let status = match judged {
            Judged::TooLarge => 413,
            Judged::MediaType => 415,
            Judged::Reject => 400,
            Judged::StepUp(_) | Judged::Ordinary => continue,
        };
        // Methods that nobody knows are 405 or 501 wherever they go; that is said before anything
        // is classified.
        let unknown_method = statuses.iter().any(|known| known == 501);
        if !unknown_method && !statuses.iter().any(|known| known == status) {
            wrong.push(format!(
                "{}: {} got {status}, not {statuses:?}",
                vector["id"], vector["about"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(judged_count, 230);
}

#[test]
fn no_vector_that_some_back_end_ran_is_ordinary() {
    let set = set();
    for (vector, raw) in vectors().iter().filter(|(vector, _)| is_ours(vector)) {
        let ran = |key: &str| {
            vector[key].as_array().is_some_and(|list| !list.is_empty())
                || vector[key].as_object().is_some_and(|list| !list.is_empty())
        };
        if ran("executed_by") || ran("redirected_by") || ran("ran_with") {
            let (head, body) = parse(raw).unwrap();
            let judged = judge(&set, &head, &body);
            assert!(!matches!(judged, Judged::Ordinary), "{}: {}", vector["id"], vector["about"]);
        }
    }
}

#[test]
fn a_vector_that_may_be_asked_for_shows_what_every_back_end_read() {
    let set = set();
    let mut read = 0;
    for (vector, raw) in vectors().iter().filter(|(vector, _)| is_ours(vector)) {
        let (head, body) = parse(raw).unwrap();
        let Judged::StepUp(action) = judge(&set, &head, &body) else {
            assert_ne!(vector["required"], "step-up", "{}", vector["id"]);
            continue;
        };
        let fields = &action.elements[0];
        let Some(reads) = vector["reads"].as_object() else { continue };
        assert_eq!(reads["amt"], **fields.text("amount").unwrap(), "{}", vector["id"]);
        assert_eq!(reads["toAddr"], **fields.text("address").unwrap(), "{}", vector["id"]);
        read += 1;
    }
    assert!(read >= 18, "{read}");
}
