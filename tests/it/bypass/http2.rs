//! HTTP/2 requests that the HTTP library lets through and the protocol forbids (RFC 9113 §8), as raw
//! frames over TLS.

use std::time::Duration;

use serde_json::Value;

use super::approve;
use crate::client::Client;
use crate::frames::{DATA, END_HEADERS, END_STREAM, Fields, Got, HEADERS, Raw, block, frame};
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
