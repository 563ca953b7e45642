//! Guarded requests whose answer is long, or whose client does not wait for it.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::exchange::Reply;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::HOST;
use crate::world::World;

/// A session whose next contract-to-spot transfer is approved.
async fn approved(world: &World) -> Client {
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let answer = alice.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    alice
}

async fn outcome(world: &World) -> serde_json::Value {
    for _ in 0..300 {
        if let Some(line) = world.audit().into_iter().find(|line| line["event"] == "outcome") {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never settled: {:?}", world.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_answer_of_a_megabyte_comes_back_whole() {
    let world = World::start().await;
    let alice = approved(&world).await;
    let rows: Vec<String> = (0..60_000).map(|n| format!(r#"{{"row":{n}}}"#)).collect();
    let long = format!(r#"{{"code":"0","msg":"","data":[{}]}}"#, rows.join(","));
    assert!(long.len() > 700_000);
    world.exchange.will(Reply::Answer(200, Box::leak(long.clone().into_boxed_str())));
    let answer = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == long, "{} of {} bytes", answer.body.len(), long.len());
    let settled = outcome(&world).await;
    assert_eq!(settled["state"], "done", "its beginning says that it was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_request_arrives_with_the_bytes_it_was_signed_over() {
    let world = World::start().await;
    let alice = approved(&world).await;
    let body = "{ \"type\" :\"0\",\r\n\t\"to\":\"6\" , \"from\":\"18\",\"ccy\":\"USDT\",\"amt\":\"100\" }\n";
    let signed = [
        ("content-type", "application/json"),
        ("ok-access-sign", "a+/b=="),
        ("x-n", "1"),
        ("x-n", "2"),
    ];
    let answer = alice.send("POST", TRANSFER, &signed, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = world.exchange.seen_at(TRANSFER).remove(0);
    assert_eq!((&*seen.target, &seen.body[..]), (TRANSFER, body.as_bytes()));
    assert_eq!(seen.headers["ok-access-sign"], "a+/b==");
    assert_eq!(seen.headers.get_all("x-n").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(seen.headers["content-length"], body.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_a_settled_request() {
    let world = World::start().await;
    let alice = approved(&world).await;
    world.exchange.will(Reply::After(Duration::from_millis(700)));
    let fields: String =
        alice.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST {TRANSFER} HTTP/1.1\r\nHost: {HOST}\r\n{fields}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{TO_SPOT}",
        TO_SPOT.len()
    );
    let mut stream = alice.connect(&[]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    for _ in 0..300 {
        if !world.exchange.seen_at(TRANSFER).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    let settled = outcome(&world).await;
    assert_eq!((&settled["state"], &settled["upstream_status"]), (&"done".into(), &200.into()));
    let seen = world.exchange.seen_at(TRANSFER);
    assert_eq!((seen.len(), &*seen[0].method), (1, "POST"));
}
