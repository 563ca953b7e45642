//! What the gateway says of itself and of the client, and what stops at it.

use super::wire::{Wire, raw, status};
use super::{PACK, RULES};
use crate::kit::{HOST, TOKYO};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn who_and_where_the_client_is_comes_from_the_gateway_alone() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let head = format!(
        "GET /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nX-Forwarded-For: {TOKYO}\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\n\
         X_Forwarded_For: 192.0.2.66\r\nX-Real-IP: 192.0.2.66\r\nVia: 1.0 mirror\r\n\
         Stepgate-Assertion: forged\r\nStep_Up_Code: 123456\r\nStepgate_Assertion: forged\r\n\r\n"
    );
    let answer = raw(&world, head.as_bytes()).await;
    assert_eq!(status(&answer), "200", "{}", String::from_utf8_lossy(&answer));
    let seen = wire.last();
    assert_eq!(seen.one("x-forwarded-for"), TOKYO);
    assert_eq!(seen.one("x-forwarded-proto"), "https");
    assert_eq!(seen.one("x-forwarded-host"), HOST);
    assert_eq!(seen.one("forwarded"), format!("for={TOKYO};proto=https;host={HOST}"));
    assert_eq!(seen.all("via"), [&b"1.0 mirror"[..], b"1.1 stepgate"]);
    for gone in [
        "x-forwarded-port",
        "x_forwarded_for",
        "x-real-ip",
        "stepgate-assertion",
        "stepgate_assertion",
        "step_up_code",
    ] {
        assert!(seen.all(gone).is_empty(), "{gone} arrived");
    }
    world.client().send_h2("GET", "/a", "").await;
    assert_eq!(wire.last().all("via"), [b"2 stepgate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_one_hop_stays_on_it() {
    let wire = Wire::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Inner\r\nX-Inner: secret\r\n\
          Keep-Alive: timeout=5\r\nAlt-Svc: h3=\":443\"\r\nProxy-Authenticate: Basic\r\n\
          Stepgate-Request: forged\r\nStep-Up-Challenge: forged\r\nX-End: to-end\r\n\r\nok",
    )
    .await;
    let world = World::in_front_of(wire.address, RULES, PACK).await;
    let head = format!(
        "GET /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
         Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
         Proxy: http://evil.example\r\nUpgrade: h2c\r\nX-End: to-end\r\n\r\n"
    );
    let answer = String::from_utf8(raw(&world, head.as_bytes()).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = wire.last();
    for gone in
        ["connection", "x-hop", "te", "keep-alive", "proxy-connection", "proxy-authorization"]
            .into_iter()
            .chain(["proxy", "upgrade"])
    {
        assert!(seen.all(gone).is_empty(), "{gone} arrived");
    }
    assert_eq!(seen.one("x-end"), "to-end");
    let lower = answer.to_lowercase();
    for gone in ["x-inner", "keep-alive", "alt-svc", "proxy-authenticate", "forged"] {
        assert!(!lower.contains(gone), "{gone} came back: {answer}");
    }
    assert!(lower.contains("\r\nvia: 1.1 stepgate\r\n") && lower.contains("\r\nx-end: to-end\r\n"));
    assert!(lower.contains("\r\nstepgate-request: "), "every answer says which request it was");
}
