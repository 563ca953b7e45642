//! HTTP/2 requests that the HTTP library lets through and the protocol forbids (RFC 9113 §8), as raw
//! frames over TLS.

use std::time::Duration;

use serde_json::Value;

use super::approve;
use crate::client::Client;
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Fields, Got, HEADERS, Raw, block, fields, frame, request,
};
use crate::kit::{HOST, POLICY, TOKYO};
use crate::vectors::PACK;
use crate::world::World;

const PATH: &str = "/api/v5/asset/withdrawal";
const BODY: &str = r#"{"amt":"9999","ccy":"BTC","toAddr":"EVIL"}"#;

fn vectors() -> Vec<Value> {
    let text = include_str!("../../fixtures/vectors/http2.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pairs(list: &Value) -> Fields {
    let word = |value: &Value| {
        let text = value.as_str().unwrap();
        text.replace("{authority}", HOST)
            .replace("{path}", PATH)
            .replace("{path_without_slash}", &PATH[1..])
            .replace("{len}", &BODY.len().to_string())
    };
    list.as_array().into_iter().flatten().map(|pair| (word(&pair[0]), word(&pair[1]))).collect()
}

/// The vector's frames with a session, its name and our host in it.
fn armed(vector: &Value, stream: u32, token: &str) -> Vec<u8> {
    let mut fields = pairs(&vector["headers"]);
    let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    add("x-forwarded-for", TOKYO);
    add("x-vector", vector["id"].as_str().unwrap());
    if vector["id"] == "N45" {
        // Its own two session cookies are the credential; the first is a good one.
        for (_, value) in fields.iter_mut().filter(|(name, _)| name == "cookie") {
            *value =
                value.replace("sid=x", &format!("session={token}")).replace("sid=", "session=");
        }
    } else {
        fields.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    if !fields.iter().any(|(name, _)| name == "content-type") {
        fields.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    let (data, trailers) = (vector["data"] == true, pairs(&vector["trailers"]));
    let end = |last: bool| if last { END_STREAM } else { 0 };
    let mut bytes = frame(HEADERS, END_HEADERS | end(!data), stream, &block(&fields));
    if data {
        bytes.extend(frame(DATA, end(trailers.is_empty()), stream, BODY.as_bytes()));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&trailers)));
    }
    bytes
}

async fn send(client: &Client, bytes: &[u8]) -> (Raw, Got) {
    let mut raw = Raw::open(client, &[]).await;
    raw.write(bytes).await;
    raw.read(&[1], Duration::from_secs(20)).await;
    let got = raw.streams.get(&1).cloned().unwrap_or_default();
    (raw, got)
}

/// `step-up`, a status, `reset`, or `nothing`, which is never right.
fn word(raw: &Raw, got: &Got) -> String {
    match got.status {
        Some(401) if got.text().contains("urn:stepgate:step-up-required") => "step-up".to_owned(),
        Some(status) => status.to_string(),
        None if got.reset.is_some() || raw.away.is_some() => "reset".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn fits(vector: &Value, word: &str) -> bool {
    let list = |key: &str| vector[key].as_array().cloned().unwrap_or_default();
    let accepted = |wanted: &str| {
        vector["required"] == wanted || list("also_accepted").contains(&wanted.into())
    };
    match word {
        "step-up" => accepted("step-up"),
        "reset" => accepted("reject") && vector["or_reset"] == true,
        refused => {
            let status = refused.parse::<u16>().unwrap_or(0);
            accepted("reject") && list("status").contains(&status.into())
        }
    }
}

async fn world() -> (World, Client, String) {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    (world, alice, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vector_is_refused_or_asked_about_as_it_must_be() {
    let (world, alice, token) = world().await;
    let before = world.exchange.seen().len();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for vector in vectors() {
        count += 1;
        let (raw, got) = send(&alice, &armed(&vector, 1, &token)).await;
        let word = word(&raw, &got);
        if !fits(&vector, &word) {
            let (id, about) = (&vector["id"], &vector["about"]);
            wrong.push(format!(
                "{id} {word} {about} (wants {})\n{}",
                vector["required"],
                got.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 55);
    assert_eq!(world.exchange.seen().len(), before, "something was forwarded unasked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_about_passes_once_approved_and_without_its_oddities() {
    let (world, alice, token) = world().await;
    let mut passed = 0;
    for vector in vectors() {
        let bytes = armed(&vector, 1, &token);
        let (raw, got) = send(&alice, &bytes).await;
        if word(&raw, &got) != "step-up" {
            continue;
        }
        passed += 1;
        let problem: Value = serde_json::from_slice(&got.body).unwrap();
        approve(&world, &alice, problem["challenge_id"].as_str().unwrap()).await;
        let before = world.exchange.seen().len();
        let (_, got) = send(&alice, &bytes).await;
        assert_eq!(got.status, Some(200), "{} {}", vector["id"], got.text());
        let seen = world.exchange.seen().split_off(before);
        assert_eq!(seen.len(), 1, "{}", vector["id"]);
        assert_eq!((&*seen[0].target, &*seen[0].body), (PATH, BODY.as_bytes()), "{}", vector["id"]);
        for name in ["te", "trailer", "x-user", "x_user", "transfer-encoding", "fragment"] {
            let value = seen[0].headers.get(name);
            assert!(value.is_none(), "{} {name}", vector["id"]);
        }
        let length = seen[0].headers.get_all("content-length").iter().collect::<Vec<_>>();
        assert_eq!(length, [&*BODY.len().to_string()], "{}", vector["id"]);
    }
    assert!(passed >= 4, "{passed} were asked about");
}

/// A head with a session and these fields besides the pseudo ones.
fn head(method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> Fields {
    let mut all = fields(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
        ("authorization", &format!("Bearer {token}")),
        ("x-forwarded-for", TOKYO),
    ]);
    all.extend(fields(more));
    all
}

/// Method, path, more fields, body.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

#[tokio::test(flavor = "multi_thread")]
async fn the_guarded_paths_neighbours_pass_and_so_do_the_protocols_own_habits() {
    let (world, alice, token) = world().await;
    let json = ("content-type", "application/json");
    let cases: [Case<'_>; 8] = [
        ("GET", "/api/v5/asset/balances", &[], None),
        ("GET", "/api/v5/assets", &[("te", "trailers")], None),
        ("POST", "/api/v5/asse", &[json], Some("{}")),
        ("POST", "/api/v5/trade/order", &[json, ("content-length", "2")], Some("{}")),
        ("GET", "/search", &[("cookie", "a=1"), ("cookie", "b=2")], Some("a body in a GET")),
        ("DELETE", "/api/v5/withdrawal", &[("my_own_header", "1")], None),
        ("GET", "/api/v5/market/ticker?instId=BTC-USDT", &[("host", HOST)], Some("")),
        ("HEAD", "/", &[("empty", ""), ("x", "\u{e9}")], None),
    ];
    for (method, path, more, body) in cases {
        let bytes = request(1, &head(method, path, &token, more), body.map(str::as_bytes));
        let (_, got) = send(&alice, &bytes).await;
        assert_eq!(got.status, Some(200), "{method} {path}: {got:?}");
        let seen = world.exchange.seen().pop().unwrap();
        assert_eq!((&*seen.method, &*seen.target), (method, path));
        assert_eq!(&*seen.body, body.unwrap_or("").as_bytes(), "{method} {path}");
        assert!(!seen.headers.contains_key("te"), "{method} {path}");
        if path == "/search" {
            assert_eq!(seen.headers["cookie"], "a=1; b=2");
        }
        let one = |name: &str| seen.headers.get_all(name).iter().count() <= 1;
        assert!(one("host") && one("content-length") && one("transfer-encoding"));
        let both = ["content-length", "transfer-encoding"].map(|it| seen.headers.contains_key(it));
        assert_ne!(both, [true, true], "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_nowhere_and_a_body_of_another_length_arrives_nowhere() {
    let (world, alice, token) = world().await;
    let open = |more: &[(&str, &str)]| {
        frame(HEADERS, END_HEADERS, 1, &block(&head("POST", "/a", &token, more)))
    };
    let trailers = block(&fields(&[("content-length", "0"), ("x-user", "evil"), ("cookie", "a")]));
    let bytes = [
        open(&[]),
        frame(DATA, 0, 1, b"abc"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
    ];
    let (_, got) = send(&alice, &bytes.concat()).await;
    assert_eq!(got.status, Some(200), "{got:?}");
    let seen = world.exchange.seen_at("/a").pop().unwrap();
    assert_eq!(&*seen.body, b"abc");
    for name in ["x-user", "cookie", "trailer"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    for (length, body) in [("9", "abc"), ("2", "abc"), ("1", "a long body, by comparison")] {
        let bytes =
            [open(&[("content-length", length)]), frame(DATA, END_STREAM, 1, body.as_bytes())];
        let (_, got) = send(&alice, &bytes.concat()).await;
        assert!(got.status != Some(200), "{length} {got:?}");
    }
    assert_eq!(world.exchange.seen_at("/a").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_websockets_over_http_2() {
    let (world, alice, token) = world().await;
    let before = world.exchange.seen().len();
    let tunnels: [(&str, &[(&str, &str)]); 4] = [
        ("CONNECT", &[(":protocol", "websocket"), ("sec-websocket-version", "13")]),
        ("CONNECT", &[]),
        ("GET", &[(":protocol", "websocket")]),
        ("GET", &[("connection", "upgrade"), ("upgrade", "websocket")]),
    ];
    for (method, more) in tunnels {
        let mut fields = head(method, "/ws", &token, more);
        // Pseudo-headers come first.
        fields.sort_by_key(|(name, _)| !name.starts_with(':'));
        let (raw, got) = send(&alice, &request(1, &fields, None)).await;
        let word = word(&raw, &got);
        assert!(["reset", "400", "405"].contains(&&*word), "{method} {more:?}: {word}");
    }
    assert_eq!(world.exchange.seen().len(), before);
}

/// Over HTTP/2 an answer that overtakes the body it is about is followed by a reset, over which curl loses the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_a_little_for_the_body_it_is_about() {
    let (_world, alice, token) = world().await;
    let json = ("content-type", "application/json");
    let head = head("POST", "/api/v5/asset/brand-new", &token, &[json]);
    let mut raw = Raw::open(&alice, &[]).await;
    raw.write(&frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
    raw.read(&[1], Duration::from_millis(300)).await;
    raw.write(&frame(DATA, END_STREAM, 1, b"{}")).await;
    raw.read(&[1], Duration::from_secs(5)).await;
    let got = raw.streams.get(&1).expect("an answer");
    assert_eq!((got.status, got.ended, got.reset), (Some(403), true, None), "{got:?}");
    // One that never ends is not waited for.
    raw.write(&frame(HEADERS, END_HEADERS, 3, &block(&head))).await;
    raw.read(&[3], Duration::from_secs(10)).await;
    assert_eq!(raw.streams.get(&3).and_then(|got| got.status), Some(403));
}
