//! Forwarding over real sockets, behind the real listener where clients matter.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::testing::{Channel, Recorder, Through, cleared, head, pool, pool_with, stamp};
use super::{Cause, ForwardError, Pool, Settings, Upstream};
use crate::body::Body;
use crate::clearance::Cleared;
use crate::listen::testing::{Answers, Front, get, settings, text, within};
use crate::policy::verdict::Permit;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn upstream(url: &str) -> Upstream {
    Upstream::parse(&[url], false).unwrap()
}

fn through(pool: &Arc<Pool>, upstream: Upstream) -> Front {
    let upstream = Arc::new(upstream);
    Front::start(&settings(), |_| {
        Arc::new(Through { pool: pool.clone(), upstream: upstream.clone() })
    })
}

async fn ask(
    pool: &Arc<Pool>,
    upstream: &Upstream,
    method: Method,
    guarded: bool,
) -> Result<String, ForwardError> {
    let cleared = cleared(method, "/x", Body::empty());
    let response = within(pool.forward(upstream, cleared, stamp(guarded))).await?;
    let bytes = within(response.into_body().collect()).await.unwrap().to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives the connections' tasks a moment, so that what has ended is known to have ended.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// An upstream on hyper; counts what it is sent on `/up`, sends `n` bytes on `/down?n`.
async fn hyper_upstream() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let counted = counted.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let counted = counted.clone();
                async move { Ok::<_, Infallible>(count_or_send(request, &counted).await) }
            });
            let serve = http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(async move { drop(serve.await) });
        }
    });
    (address, count)
}

async fn count_or_send(request: Request<Incoming>, counted: &AtomicU64) -> Response<Body> {
    if let Some(bytes) = request.uri().query() {
        return Response::new(zeros(bytes.parse().unwrap()));
    }
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        counted.fetch_add(length as u64, Ordering::Relaxed);
    }
    Response::new(Body::whole("counted"))
}

fn zeros(bytes: u64) -> Body {
    const PIECE: usize = 64 * 1024;
    let piece = Bytes::from(vec![0; PIECE]);
    let frames = (0..bytes.div_ceil(PIECE as u64))
        .map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone())));
    Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn path_query_body_and_repeated_headers_arrive_as_they_were_sent() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let front = through(&pool(), upstream(&recorder.url()));
    let target = "/a/%2e%2E/b;c=d//e?q=%zz&&x=1&x=2&empty=&y?/\\|'\"";
    let target = target.replace('"', "%22").replace('\\', "%5C").replace('|', "%7c");
    let body = "amt=1&amt=2\r\n\r\n\0\u{e9}";
    let fields = [("x-a", "1"), ("x-b", "one"), ("x-a", " 2"), ("x-a", "1"), ("cookie", "s=1")];
    let mut h1 = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in fields {
        h1 += &format!("{name}: {value}\r\n");
    }
    h1 += &format!("Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(front.raw(&h1).await.ends_with("\r\n\r\nok"));
    let mut request = Request::post(format!("https://localhost{target}"));
    for (name, value) in fields {
        request = request.header(name, value.trim());
    }
    let request = request.body(Body::whole(body)).unwrap();
    let answer = within(front.h2().await.send_request(request)).await.unwrap();
    assert_eq!(text(answer).await, "ok");
    let seen = recorder.seen();
    assert_eq!(seen.len(), 2);
    for (number, (_, request)) in seen.into_iter().enumerate() {
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, body);
        let mut lines = head.lines();
        assert_eq!(lines.next().unwrap(), format!("POST {target} HTTP/1.1"));
        let mut lines: Vec<_> = lines.collect();
        let repeated: Vec<_> = lines.iter().filter(|line| line.starts_with("x-a")).collect();
        assert_eq!(repeated, [&"x-a: 1", &"x-a: 2", &"x-a: 1"]);
        lines.sort_unstable();
        let via = format!("via: {} stepgate", ["1.1", "2"][number]);
        let length = format!("content-length: {}", body.len());
        let expected = [
            length.as_str(),
            "cookie: s=1",
            "forwarded: for=203.0.113.9;proto=https;host=\"a.example:8443\"",
            "host: a.example:8443",
            &via,
            "x-a: 1",
            "x-a: 1",
            "x-a: 2",
            "x-b: one",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: a.example:8443",
            "x-forwarded-proto: https",
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn framing_is_a_length_when_it_is_known_and_chunks_when_not() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    let streamed = || {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.try_send(b"abc".as_slice()).unwrap();
        Body::stream(Channel(receive))
    };
    for (method, body) in [
        (Method::POST, Body::whole("abc")),
        (Method::POST, Body::empty()),
        (Method::DELETE, Body::empty()),
        (Method::POST, streamed()),
        (Method::GET, streamed()),
    ] {
        let sent = pool.forward(&upstream, cleared(method, "/x", body), stamp(false));
        within(within(sent).await.unwrap().into_body().collect()).await.unwrap();
    }
    let framing = |request: &str| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let of = ["content-length", "transfer-encoding"];
        let lines = head.lines().filter(|line| of.iter().any(|name| line.starts_with(name)));
        format!("{}|{body}", lines.collect::<String>())
    };
    let seen: Vec<_> = recorder.seen().iter().map(|(_, request)| framing(request)).collect();
    let chunks = "transfer-encoding: chunked|3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(seen, ["content-length: 3|abc", "content-length: 0|", "|", chunks, chunks]);
}

#[tokio::test]
async fn what_cannot_be_forwarded_as_it_is_is_refused() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    let mut listed = HeaderMap::new();
    listed.insert("connection", HeaderValue::from_static("authorization"));
    let listed =
        Cleared::by_permit(Permit::for_tests(), head(Method::GET, "/", listed), Body::empty());
    for cleared in [
        listed,
        cleared(Method::CONNECT, "/x", Body::empty()),
        cleared(Method::GET, "/x#y", Body::empty()),
        cleared(Method::GET, "/x y", Body::empty()),
    ] {
        let result = pool.forward(&upstream, cleared, stamp(false)).await;
        assert!(matches!(result, Err(ForwardError::Refused(_))), "{:?}", result.err());
    }
    assert!(recorder.seen().is_empty());
}

#[tokio::test]
async fn ordinary_requests_share_a_connection_and_guarded_ones_have_their_own() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    for guarded in [false, false, true, true, false] {
        assert_eq!(ask(&pool, &upstream, Method::GET, guarded).await.unwrap(), "ok");
        settle().await;
    }
    let lines: Vec<_> = recorder.seen().iter().map(|(connection, _)| *connection).collect();
    assert_eq!(lines, [0, 0, 1, 2, 0]);
}

#[tokio::test]
async fn a_safe_request_on_a_stale_connection_is_sent_again_and_no_other() {
    for (method, again) in [(Method::GET, true), (Method::HEAD, true), (Method::POST, false)] {
        let recorder = Recorder::start(|number| (number != 1).then_some(OK)).await;
        let (pool, upstream) = (pool(), upstream(&recorder.url()));
        ask(&pool, &upstream, Method::GET, false).await.unwrap();
        settle().await;
        let result = ask(&pool, &upstream, method.clone(), false).await;
        let seen = recorder.seen().len();
        if again {
            assert!(result.is_ok(), "{method} {result:?}");
            assert_eq!(seen, 3);
        } else {
            assert!(matches!(result, Err(ForwardError::NoAnswer(Cause::Http(_)))), "{result:?}");
            assert_eq!(seen, 2);
        }
    }
}

#[tokio::test]
async fn a_safe_request_that_fails_on_a_new_connection_is_not_sent_again() {
    let recorder = Recorder::start(|_| None).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    let result = ask(&pool, &upstream, Method::GET, false).await;
    assert!(matches!(result, Err(ForwardError::NoAnswer(_))), "{result:?}");
    assert_eq!(recorder.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_the_upstreams_fault() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    for again in [false, true] {
        let parts: [Result<_, std::io::Error>; 2] = [
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(std::io::ErrorKind::UnexpectedEof.into()),
        ];
        let body = Body::stream(StreamBody::new(futures_util::stream::iter(parts)));
        let cleared = cleared(Method::POST, "/x", body);
        let result = within(pool.forward(&upstream, cleared, stamp(false))).await;
        assert!(matches!(result, Err(ForwardError::BrokenBody)), "{again} {:?}", result.err());
        assert!(!pool.keeps_any(), "nothing follows a broken message");
    }
}

#[tokio::test]
async fn a_guarded_request_is_sent_once_whatever_happens() {
    for method in [Method::GET, Method::POST] {
        let recorder = Recorder::start(|number| (number == 0).then_some(OK)).await;
        let (pool, upstream) = (pool(), upstream(&recorder.url()));
        ask(&pool, &upstream, Method::GET, false).await.unwrap();
        settle().await;
        let result = ask(&pool, &upstream, method, true).await;
        assert!(matches!(result, Err(ForwardError::NoAnswer(_))), "{result:?}");
        settle().await;
        assert_eq!(recorder.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let recorder = Recorder::start(move |_| Some(close)).await;
    let (pool, upstream) = (pool(), upstream(&recorder.url()));
    for _ in 0..3 {
        assert_eq!(ask(&pool, &upstream, Method::POST, false).await.unwrap(), "ok");
        settle().await;
    }
    assert_eq!(recorder.seen().len(), 3);
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_time() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let settings = Settings { idle_timeout_ms: 50, ..Settings::default() };
    let (pool, upstream) = (pool_with(settings, RootCertStore::empty()), upstream(&recorder.url()));
    for number in 0..2 {
        ask(&pool, &upstream, Method::GET, false).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(recorder.seen()[number].0, number);
    }
    assert!(!pool.keeps_any());
}

#[tokio::test]
async fn who_cannot_be_reached_has_not_been_sent_anything() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let recorder = Recorder::start(|_| Some(OK)).await;
    let (pool, dead) = (pool(), upstream(&format!("http://{refused}")));
    for guarded in [false, true] {
        let result = ask(&pool, &dead, Method::POST, guarded).await;
        assert!(matches!(result, Err(ForwardError::NotSent(Cause::Connect { .. }))), "{result:?}");
    }
    let both = Upstream::parse(&[format!("http://{refused}"), recorder.url()], false).unwrap();
    for guarded in [false, true, false, true] {
        assert_eq!(ask(&pool, &both, Method::POST, guarded).await.unwrap(), "ok");
    }
    assert_eq!(recorder.seen().len(), 4);
}

#[tokio::test]
async fn several_addresses_take_turns() {
    let (a, b) = (Recorder::start(|_| Some(OK)).await, Recorder::start(|_| Some(OK)).await);
    let both = Upstream::parse(&[a.url(), b.url()], false).unwrap();
    let pool = pool();
    for _ in 0..6 {
        ask(&pool, &both, Method::GET, false).await.unwrap();
        settle().await;
    }
    assert_eq!((a.seen().len(), b.seen().len()), (3, 3));
    assert!(a.seen().iter().all(|(connection, _)| *connection == 0));
}

#[tokio::test]
async fn a_late_answer_is_no_answer_but_a_slow_upload_is_not_late() {
    let recorder = Recorder::start(|number| Some(if number == 0 { "" } else { OK })).await;
    let limits =
        Settings { answer_timeout_ms: 300, guarded_answer_timeout_ms: 100, ..Settings::default() };
    let (pool, upstream) = (pool_with(limits, RootCertStore::empty()), upstream(&recorder.url()));
    let result = ask(&pool, &upstream, Method::POST, true).await;
    assert!(matches!(result, Err(ForwardError::NoAnswer(Cause::AnswerTimeout))), "{result:?}");
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let upload = cleared(Method::POST, "/x", Body::stream(Channel(receive)));
    let feed = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            send.send(b"abc".as_slice()).await.unwrap();
        }
        drop(send);
    };
    let (answer, ()) = tokio::join!(pool.forward(&upstream, upload, stamp(false)), feed);
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_headers_and_the_connection() {
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 300\r\nETag: x\r\n\r\n", Some("300")),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\nETag: x\r\n\r\n", None),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n", None),
    ] {
        let recorder = Recorder::start(move |_| Some(answer)).await;
        let front = through(&pool(), upstream(&recorder.url()));
        let (mut h1, mut h2) = (front.h1().await, front.h2().await);
        for round in 0..2 {
            let mut request = get("/x");
            *request.method_mut() = method.parse().unwrap();
            let response = within(h1.send_request(request)).await.unwrap();
            let said = response.headers().get("content-length").map(|it| it.to_str().unwrap());
            assert_eq!(said, length, "h1 {method} {answer:?}");
            assert_eq!(response.headers()["etag"], "x");
            assert!(response.into_body().is_end_stream());
            let mut request = get("https://localhost/x");
            *request.method_mut() = method.parse().unwrap();
            let response = within(h2.send_request(request)).await.unwrap();
            let said = response.headers().get("content-length").map(|it| it.to_str().unwrap());
            assert_eq!(said, length, "h2 {method} {answer:?}");
            settle().await;
            assert!(recorder.seen().iter().all(|(line, _)| *line == 0), "{round} {answer:?}");
        }
    }
}

#[tokio::test]
async fn trailers_and_hop_by_hop_fields_end_here() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\
                  Connection: x-hop\r\nX-Hop: 1\r\nStepgate-Request: forged\r\n\
                  Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n";
    let recorder = Recorder::start(move |_| Some(answer)).await;
    let front = through(&pool(), upstream(&recorder.url()));
    let said = front
        .raw(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTE: trailers\r\n\
             Trailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: evil\r\n\r\n",
        )
        .await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "2\r\nok\r\n0\r\n\r\n");
    for gone in ["x-t", "x-hop", "stepgate-request", "trailer:"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert!(head.contains("set-cookie: a\r\nset-cookie: b\r\n"), "{head}");
    assert!(head.contains("via: 1.1 stepgate"), "{head}");
    let (_, sent) = recorder.seen().remove(0);
    assert!(sent.ends_with("\r\n\r\n1\r\na\r\n0\r\n\r\n"), "{sent}");
    for gone in ["x-t", "te:", "trailer", "connection"] {
        assert!(!sent.contains(gone), "{gone} in {sent}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_an_ordinary_exchange_but_not_a_guarded_one() {
    for (guarded, finished) in [(false, false), (true, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (said, mut heard) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            assert!(tcp.read(&mut buffer).await.unwrap() > 0);
            said.send("asked").await.unwrap();
            tokio::select! {
                _ = tcp.read(&mut buffer) => said.send("left alone").await.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(700)) => {
                    tcp.write_all(OK.as_bytes()).await.unwrap();
                    said.send("answered").await.unwrap();
                }
            }
        });
        let front = through(&pool(), upstream(&format!("http://{address}")));
        let mut tls = front.tls("http/1.1").await;
        let field = if guarded { "X-Guarded: 1\r\n" } else { "" };
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
        tls.write_all(request.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        assert_eq!(within(heard.recv()).await, Some("asked"));
        drop(tls);
        let outcome = if finished { "answered" } else { "left alone" };
        assert_eq!(within(heard.recv()).await, Some(outcome));
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_reaches_the_client_and_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU64::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                assert!(tcp.read(&mut buffer).await.unwrap() > 0);
                let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
                tcp.write_all(answer.as_bytes()).await.unwrap();
                while tcp.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let front = through(&pool(), upstream(&url));
    let mut h2 = front.h2().await;
    for number in 1..=3 {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(b"begun".as_slice()).await.unwrap();
        let request = Request::post("https://localhost/x").body(Body::stream(Channel(receive)));
        let answer = within(h2.send_request(request.unwrap())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(text(answer).await, "big");
        drop(send);
        settle().await;
        assert_eq!(connections.load(Ordering::Relaxed), number);
    }
}

#[tokio::test]
async fn a_gibibyte_passes_in_constant_memory() {
    // 256 MiB each way over each protocol: 1 GiB in all, which a debug build moves in seconds.
    const BYTES: u64 = 256 * 1024 * 1024;
    let (address, counted) = hyper_upstream().await;
    let front = through(&pool(), upstream(&format!("http://{address}")));
    let (mut h1, mut h2) = (front.h1().await, front.h2().await);
    let begun = rss_mib();
    let mut most = 0;
    for h2_turn in [false, true] {
        let base = if h2_turn { "https://localhost" } else { "" };
        let up = Request::post(format!("{base}/up")).header("host", "localhost");
        let up = up.body(zeros(BYTES)).unwrap();
        let down = get(&format!("{base}/down?{BYTES}"));
        counted.store(0, Ordering::Relaxed);
        let answer = match h2_turn {
            true => h2.send_request(up).await.unwrap(),
            false => h1.send_request(up).await.unwrap(),
        };
        assert_eq!(text(answer).await, "counted");
        assert_eq!(counted.load(Ordering::Relaxed), BYTES);
        most = most.max(rss_mib());
        let answer = match h2_turn {
            true => h2.send_request(down).await.unwrap(),
            false => h1.send_request(down).await.unwrap(),
        };
        let (mut body, mut received) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len() as u64;
            if received % (1024 * 1024) < 64 {
                most = most.max(rss_mib());
            }
        }
        assert_eq!(received, BYTES);
        most = most.max(rss_mib());
    }
    assert!(most < begun + 96, "memory grew from {begun} to {most} MiB");
}

#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back() {
    let (address, _) = hyper_upstream().await;
    let front = through(&pool(), upstream(&format!("http://{address}")));
    for protocol in ["h1", "h2"] {
        let begun = rss_mib();
        let request = get(&format!("https://localhost/down?{}", 256 * 1024 * 1024));
        let answer = match protocol {
            "h1" => within(front.h1().await.send_request(request)).await.unwrap(),
            _ => within(front.h2().await.send_request(request)).await.unwrap(),
        };
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let now = rss_mib();
        assert!(now < begun + 96, "{protocol}: memory grew from {begun} to {now} MiB");
        drop(answer);
    }
}

#[tokio::test]
async fn https_and_http2_upstreams_are_spoken_to() {
    // Our own listener plays the upstream: it knows TLS and both protocols.
    let seen: Arc<Mutex<Vec<(Version, String)>>> = Arc::default();
    let record = seen.clone();
    let origin = Front::start(&settings(), move |_| {
        let record = record.clone();
        Arc::new(Answers(move |request: Request<Incoming>, _| {
            let host = match request.uri().authority() {
                Some(authority) => authority.to_string(),
                None => request.headers()["host"].to_str().unwrap().to_owned(),
            };
            record.lock().unwrap().push((request.version(), host));
            async move { Response::new(Body::stream(request.into_body())) }
        }))
    });
    let url = format!("https://localhost:{}", origin.address.port());
    let pool = pool_with(Settings::default(), origin.authority.roots());
    for (h2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let upstream = Upstream::parse(&[&url], h2).unwrap();
        for guarded in [false, true, false] {
            let cleared = cleared(Method::POST, "/x", Body::whole("echo"));
            let answer = within(pool.forward(&upstream, cleared, stamp(guarded))).await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_11);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "echo");
            let last = seen.lock().unwrap().last().cloned();
            assert_eq!(last, Some((version, "a.example:8443".to_owned())));
        }
    }
    let strangers = pool_with(Settings::default(), RootCertStore::empty());
    let result = ask(&strangers, &upstream(&url), Method::POST, false).await;
    assert!(matches!(result, Err(ForwardError::NotSent(Cause::Connect { .. }))), "{result:?}");
}

#[tokio::test]
async fn http2_upstreams_are_dialled_again_after_they_went_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::whole("ok"))) });
            let serve = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(tokio::time::timeout(Duration::from_millis(300), serve));
        }
    });
    let (pool, upstream) = (pool(), Upstream::parse(&[&url], true).unwrap());
    for _ in 0..3 {
        assert_eq!(ask(&pool, &upstream, Method::POST, false).await.unwrap(), "ok");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Echoes WebSocket messages, on plain TCP.
async fn websocket_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn websockets_pass_both_ways_and_count_as_connections() {
    let address = websocket_upstream().await;
    let upstream = Arc::new(upstream(&format!("http://{address}")));
    let mut limits = settings();
    limits.workers = 1;
    limits.connections_max = 1;
    limits.idle_timeout_ms = 300;
    let pool = pool();
    let front = Front::start(&limits, |_| {
        Arc::new(Through { pool: pool.clone(), upstream: upstream.clone() })
    });
    let tls = front.tls("http/1.1").await;
    let (mut socket, response) =
        within(tokio_tungstenite::client_async("wss://localhost/ws?x", tls)).await.unwrap();
    assert_eq!(response.headers()["via"], "1.1 stepgate");
    let big = Message::binary(vec![7; 3_000_000]);
    for message in [Message::text("hello"), big, Message::text("GET / HTTP/1.1\n\n")] {
        within(socket.send(message.clone())).await.unwrap();
        assert_eq!(within(socket.next()).await.unwrap().unwrap(), message);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let second = tokio::time::timeout(Duration::from_millis(300), front.tls("http/1.1")).await;
    assert!(second.is_err(), "the tunnel holds the only slot");
    within(socket.close(None)).await.unwrap();
    while let Some(Ok(_)) = within(socket.next()).await {}
    drop(socket);
    within(front.tls("http/1.1")).await;
}

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn only_101_makes_a_tunnel() {
    for answer in [OK, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"] {
        let recorder = Recorder::start(move |_| Some(answer)).await;
        let front = through(&pool(), upstream(&recorder.url()));
        let next = "GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let said = front.raw(&format!("{WEBSOCKET}{next}")).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 2, "{said}");
        let seen = recorder.seen();
        assert!(seen[0].1.starts_with("GET /ws ") && seen[1].1.starts_with("GET /next "));
        assert_ne!(seen[0].0, seen[1].0, "the upgrade has a connection of its own");
        assert!(!seen[0].1.contains("/next"));
    }
}

#[tokio::test]
async fn other_upgrades_are_ordinary_requests() {
    let recorder = Recorder::start(|_| Some(OK)).await;
    let front = through(&pool(), upstream(&recorder.url()));
    for upgrade in ["h2c", "websocket, h2c", "TLS/1.0"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
             Upgrade: {upgrade}\r\nHTTP2-Settings: AAA\r\n\r\n"
        );
        assert!(front.raw(&request).await.ends_with("ok"));
    }
    let seen = recorder.seen();
    assert_eq!(seen.len(), 3);
    for (_, request) in seen {
        assert!(!request.contains("pgrade") && !request.contains("http2-settings"), "{request}");
    }
}

#[tokio::test]
async fn an_upstream_that_switches_unasked_is_no_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let wrong_key = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (request, switch) in [(plain, switch), (WEBSOCKET, switch), (WEBSOCKET, wrong_key)] {
        let recorder = Recorder::start(move |_| Some(switch)).await;
        let front = through(&pool(), upstream(&recorder.url()));
        let tls = front.tls("http/1.1");
        let mut tls = within(tls).await;
        tls.write_all(request.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let mut answer = [0; 12];
        within(tls.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 504");
    }
}

#[tokio::test]
async fn websockets_reach_https_upstreams_that_also_speak_http2() {
    let inner = websocket_upstream().await;
    let origin = through(&pool(), upstream(&format!("http://{inner}")));
    let url = format!("https://localhost:{}", origin.address.port());
    let pool = pool_with(Settings::default(), origin.authority.roots());
    let front = through(&pool, Upstream::parse(&[&url], true).unwrap());
    let tls = front.tls("http/1.1").await;
    let (mut socket, _) =
        within(tokio_tungstenite::client_async("wss://localhost/ws", tls)).await.unwrap();
    within(socket.send(Message::text("hello"))).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap(), Message::text("hello"));
}
