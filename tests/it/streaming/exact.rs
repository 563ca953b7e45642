//! Path, query, header values and body reach the upstream as they were sent.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::large::Pour;
use super::wire::{Wire, raw, status};
use crate::kit::HOST;
use crate::world::World;

/// Odd and legal, and none of them smells like the guarded action.
const TARGETS: &[&str] = &[
    "/",
    "/?",
    "/a?",
    "/a?&&=&x",
    "/a%20b/c%2fd/%2E%2e/e",
    "/a;v=1/b;w?x=1;y=2",
    "/a+b?c+d=%2B+e",
    "/%E3%81%82/%e3%81%84?name=%E2%82%AC",
    "/a//b///c/",
    "/a/./b/../c",
    "/~u/!$&'()*+,;=:@",
    "/a?q=/b?c=d&e=http://x.example/%23",
    "/a?q=%00%ff%zz",
    "/A/B?a=1&A=2&a=3",
    // Not in RFC 3986, and sent by every browser.
    "/a?q=[1]{2}|^`",
];

#[tokio::test(flavor = "multi_thread")]
async fn odd_targets_arrive_as_they_were_sent_over_http1() {
    let (wire, world) = Wire::behind_a_gateway().await;
    for target in TARGETS {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        let answer = raw(&world, request.as_bytes()).await;
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(status(&answer), "200", "{target}: {shown}");
        assert_eq!(wire.last().line(), format!("GET {target} HTTP/1.1"));
    }
    assert_eq!(wire.count(), TARGETS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_targets_arrive_as_they_were_sent_over_http2() {
    let (wire, world) = Wire::behind_a_gateway().await;
    for target in TARGETS {
        let answer = world.client().send_h2("GET", target, "").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(wire.last().line(), format!("GET {target} HTTP/1.1"));
    }
    assert_eq!(wire.count(), TARGETS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_arrives_as_its_path_and_query() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let request = format!(
        "GET https://{HOST}/a%20b?c=%2B HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(&world, request.as_bytes()).await;
    assert_eq!(status(&answer), "200", "{}", String::from_utf8_lossy(&answer));
    assert_eq!(wire.last().line(), "GET /a%20b?c=%2B HTTP/1.1");
    assert_eq!(wire.last().one("host"), HOST);
}

const ODD_FIELDS: &[u8] = b"X-Many: one\r\nX-Other:   spaces  inside\tand tab   \r\nX-Many: two, three\r\n\
X-Empty:\r\nX-Many: one\r\nX-Latin: caf\xe9 \xff\r\nX_Under: score\r\nAccept: */*;q=0.1\r\nAccept: \"a, b\"\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn header_values_and_their_repetitions_arrive_in_order() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let head = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    let answer = raw(&world, &[head.as_bytes(), ODD_FIELDS, b"\r\n"].concat()).await;
    assert_eq!(status(&answer), "200", "{}", String::from_utf8_lossy(&answer));
    let seen = wire.last();
    assert_eq!(seen.all("x-many"), [&b"one"[..], b"two, three", b"one"]);
    assert_eq!(seen.all("x-other"), [b"spaces  inside\tand tab"]);
    assert_eq!(seen.all("x-empty"), [b""]);
    assert_eq!(seen.all("x-latin"), [b"caf\xe9 \xff"]);
    assert_eq!(seen.all("x_under"), [b"score"]);
    assert_eq!(seen.all("accept"), [&b"*/*;q=0.1"[..], b"\"a, b\""]);
    assert_eq!(seen.one("host"), HOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_arrive_over_http2_and_cookie_crumbs_as_one_cookie() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let mut client = world.client();
    for (name, value) in
        [("x-many", "one"), ("cookie", "a=1"), ("x-many", "two"), ("cookie", "b=\"2\"; c=")]
    {
        client.headers.push((name.to_owned(), value.to_owned()));
    }
    assert_eq!(client.send_h2("GET", "/a", "").await.status, 200);
    let seen = wire.last();
    assert_eq!(seen.all("x-many"), [b"one", b"two"]);
    assert_eq!(seen.one("cookie"), "a=1; b=\"2\"; c=");
    assert_eq!(seen.one("host"), HOST);
}

/// Every byte there is, many times, longer than any buffer on the way.
fn bytes() -> Vec<u8> {
    (0..200_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_a_length_keeps_its_bytes_and_its_length() {
    let (wire, world) = Wire::behind_a_gateway().await;
    for body in [bytes(), Vec::new(), vec![0]] {
        let head = format!(
            "PUT /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = raw(&world, &[head.as_bytes(), &body].concat()).await;
        assert_eq!(status(&answer), "200", "{}", String::from_utf8_lossy(&answer));
        let seen = wire.last();
        assert_eq!(seen.one("content-length"), body.len().to_string());
        assert!(seen.all("transfer-encoding").is_empty());
        assert!(seen.body == body, "{} bytes arrived", seen.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_keeps_its_bytes_and_stays_chunked() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let body = bytes();
    let mut request =
        format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            .into_bytes();
    let (mut rest, mut size) = (&body[..], 1);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
        (rest, size) = (behind, size * 3 + 1);
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(&world, &request).await;
    assert_eq!(status(&answer), "200", "{}", String::from_utf8_lossy(&answer));
    let seen = wire.last();
    assert_eq!(seen.one("transfer-encoding"), "chunked");
    assert!(seen.all("content-length").is_empty());
    assert!(seen.body == body, "{} bytes arrived", seen.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_bodies_keep_their_bytes_with_and_without_a_length() {
    let (wire, world) = Wire::behind_a_gateway().await;
    let whole = Full::new(Bytes::from(bytes())).boxed();
    send_h2(&world, whole).await;
    let seen = wire.last();
    assert_eq!(seen.one("content-length"), bytes().len().to_string());
    assert!(seen.body == bytes());

    let pour = Pour::of(300_000);
    send_h2(&world, pour.boxed()).await;
    let seen = wire.last();
    assert_eq!(seen.one("transfer-encoding"), "chunked");
    let expected = Pour::of(300_000).collect().await.unwrap().to_bytes();
    assert!(seen.body == expected, "{} bytes arrived", seen.body.len());
}

async fn send_h2(
    world: &World,
    body: http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>,
) {
    let stream = TokioIo::new(world.client().connect(&[b"h2"]).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("https://{HOST}/a")).body(body).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_status_its_fields_and_its_bytes() {
    let body = bytes();
    let mut answer = b"HTTP/1.1 207 Odd\r\nSet-Cookie: a=1; Path=/\r\nX-Latin: caf\xe9\r\n\
        Set-Cookie: b=2\r\nContent-Encoding: gzip\r\nETag: W/\"x\"\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(7919) {
        answer.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    let wire = Wire::answering(&answer).await;
    let world = World::in_front_of(wire.address, super::RULES, super::PACK).await;
    for answer in [world.client().get("/a").await, world.client().send_h2("GET", "/a", "").await] {
        assert_eq!(answer.status, 207);
        assert_eq!(answer.all("set-cookie"), "a=1; Path=/, b=2");
        assert_eq!(answer.headers["x-latin"].as_bytes(), b"caf\xe9");
        assert_eq!(answer.header("content-encoding"), "gzip");
        assert_eq!(answer.header("etag"), "W/\"x\"");
        assert!(answer.body == body, "{} bytes came back", answer.body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_head_keeps_the_length_of_what_is_not_sent() {
    let wire = Wire::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n").await;
    let world = World::in_front_of(wire.address, super::RULES, super::PACK).await;
    for answer in [
        world.client().send("HEAD", "/a", &[], "").await,
        world.client().send_h2("HEAD", "/a", "").await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, "1234567"));
        assert!(answer.body.is_empty());
    }
    assert_eq!(wire.last().line(), "HEAD /a HTTP/1.1");
}
