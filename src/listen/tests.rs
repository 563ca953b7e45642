//! The listener over real sockets.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use proxy_header::{ProxiedAddress, ProxyHeader};
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certs::Certificates;
use super::testing::{Answers, Authority, Front, get, h1_over, settings, text, within};
use super::{Connection, Settings};
use crate::body::Body;
use crate::crypto::tls_provider;

/// Tells what it knows of the connection; `/slow` takes a while, `/panic` panics, `/echo` echoes.
async fn tell(request: Request<Incoming>, connection: Arc<Connection<()>>) -> Response<Body> {
    match request.uri().path() {
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Response::new(Body::whole("slow"))
        }
        "/panic" => panic!("asked to"),
        "/echo" => Response::new(Body::stream(request.into_body())),
        "/detach" => {
            let flag = request.headers()["x-file"].to_str().unwrap().to_owned();
            connection.tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                std::fs::write(flag, "done").unwrap();
            });
            std::future::pending().await
        }
        _ => {
            let sni = connection.sni.as_deref().unwrap_or("-");
            let peer = connection.peer;
            Response::new(Body::whole(format!("{} {sni} {peer}", connection.h2)))
        }
    }
}

fn front(settings: &Settings) -> Front {
    Front::start(settings, |_| Arc::new(Answers(tell)))
}

async fn close_of(tcp: &mut (impl AsyncReadExt + Unpin)) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = within(tcp.read_to_end(&mut rest)).await;
    begun.elapsed()
}

#[tokio::test]
async fn tls_1_2_and_1_3_serve_http_1_and_2() {
    let front = front(&settings());
    for version in [&TLS12, &TLS13] {
        let config = front.authority.client(&["http/1.1"], &[version]);
        let tls = front.tls_over(front.tcp().await, config, "localhost").await.unwrap();
        let peer = tls.get_ref().0.local_addr().unwrap();
        let mut h1 = h1_over(tls).await;
        for _ in 0..3 {
            let answer = text(within(h1.send_request(get("/"))).await.unwrap()).await;
            assert_eq!(answer, format!("false localhost {peer}"));
        }
    }
    let mut h2 = front.h2().await;
    let answers = (0..50).map(|_| h2.send_request(get("https://localhost/")));
    for answer in answers.collect::<Vec<_>>() {
        assert!(text(within(answer).await.unwrap()).await.starts_with("true localhost "));
    }
    front.end().await;
}

#[tokio::test]
async fn a_client_with_other_protocols_only_is_refused_in_the_handshake() {
    let front = front(&settings());
    let config = front.authority.client(&["spdy/3"], rustls::ALL_VERSIONS);
    assert!(front.tls_over(front.tcp().await, config, "localhost").await.is_err());
    let config = front.authority.client(&[], rustls::ALL_VERSIONS);
    let tls = front.tls_over(front.tcp().await, config, "localhost").await.unwrap();
    let answer = h1_over(tls).await.send_request(get("/")).await.unwrap();
    assert!(text(answer).await.starts_with("false"));
}

/// What is spoken with a client that offers these, in this order.
async fn spoken(front: &Front, offered: &[CipherSuite]) -> CipherSuite {
    let mut provider = CryptoProvider::clone(&tls_provider());
    let known = provider.cipher_suites;
    let find = |wanted: &CipherSuite| *known.iter().find(|it| it.suite() == *wanted).unwrap();
    provider.cipher_suites = offered.iter().map(find).collect();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(front.authority.roots())
        .with_no_client_auth();
    let tls = front.tls_over(front.tcp().await, config, "localhost").await.unwrap();
    tls.get_ref().1.negotiated_cipher_suite().unwrap().suite()
}

#[tokio::test]
async fn aes_128_is_spoken_with_all_but_those_who_name_chacha20_first() {
    let front = front(&settings());
    for [aes_256, aes_128, chacha20] in [
        [
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        [
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
    ] {
        for (offered, expected) in [
            (&[aes_256, aes_128, chacha20][..], aes_128),
            (&[aes_256, chacha20, aes_128], aes_128),
            (&[chacha20, aes_256, aes_128], chacha20),
            (&[aes_256, chacha20], aes_256),
            (&[aes_256], aes_256),
            (&[chacha20], chacha20),
        ] {
            assert_eq!(spoken(&front, offered).await, expected, "{offered:?}");
        }
    }
}

#[tokio::test]
async fn a_session_is_taken_up_again_by_whoever_comes_back() {
    let front = front(&settings());
    for version in [&TLS12, &TLS13] {
        let config = front.authority.client(&["http/1.1"], &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let tcp = front.tcp().await;
            let mut tls = front.tls_over(tcp, config.clone(), "localhost").await.unwrap();
            tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            within(tls.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert_eq!(tls.get_ref().1.handshake_kind(), Some(expected));
        }
    }
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let front = front(&settings());
    let pairs = [
        front.authority.issue("default", &["localhost"]),
        front.authority.issue("exact", &["api.example"]),
        front.authority.issue("wild", &["*.shop.example"]),
    ];
    front.certificates.reload(&pairs).unwrap();
    for (name, fits) in [
        ("localhost", true),
        ("api.example", true),
        ("API.example", true),
        ("www.shop.example", true),
        ("a.b.shop.example", false),
        ("other", false),
    ] {
        let config = front.authority.client(&["h2"], rustls::ALL_VERSIONS);
        let tls = front.tls_over(front.tcp().await, config, name).await;
        assert_eq!(tls.is_ok(), fits, "{name}");
    }
}

#[tokio::test]
async fn new_certificates_are_for_new_handshakes_and_bad_ones_are_not_taken() {
    let front = front(&settings());
    let mut before = front.h1().await;
    assert!(before.send_request(get("/")).await.is_ok());
    before.ready().await.unwrap();

    let other = Authority::new();
    let pair = other.issue("localhost", &["localhost"]);
    front.certificates.reload(std::slice::from_ref(&pair)).unwrap();
    let config = other.client(&["http/1.1"], rustls::ALL_VERSIONS);
    assert!(front.tls_over(front.tcp().await, config.clone(), "localhost").await.is_ok());
    let old = front.authority.client(&["http/1.1"], rustls::ALL_VERSIONS);
    assert!(front.tls_over(front.tcp().await, old, "localhost").await.is_err());
    assert!(before.send_request(get("/")).await.is_ok(), "open connections stay");

    std::fs::write(&pair.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    assert!(front.certificates.reload(&[pair]).is_err());
    assert!(front.tls_over(front.tcp().await, config, "localhost").await.is_ok());
}

#[test]
fn faults_name_the_file_and_show_nothing_of_it() {
    let authority = Authority::new();
    let (a, b) = (authority.issue("a", &["a"]), authority.issue("b", &["b"]));
    let secret = std::fs::read_to_string(&a.key).unwrap();
    let garbled = authority.write("garbled.key", &secret.replace("-----END", "-----ENDE"));
    let missing = authority.path().join("missing.pem");
    let mut swapped = a.clone();
    swapped.key = b.key.clone();
    let mut no_key = a.clone();
    no_key.key = a.certificate.clone();
    let mut nothing = b.clone();
    nothing.certificate = missing.clone();
    nothing.key = garbled.clone();
    let faults = Certificates::load(&[swapped, no_key, nothing]).unwrap_err();
    let said: Vec<String> = faults.iter().map(crate::fault::Fault::render).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].contains("a.pem") && said[0].contains("does not go with the key"));
    assert!(said[1].contains("a.pem") && said[1].contains("no private key"));
    assert!(said[2].contains("missing.pem") && said[2].contains("cannot be read"));
    assert!(said[3].contains("garbled.key"));
    let line = secret.lines().nth(1).unwrap();
    assert!(said.iter().all(|said| !said.contains(line)));
    assert_eq!(Certificates::load(&[]).unwrap_err().len(), 1);
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_closed() {
    let mut settings = settings();
    settings.handshake_timeout_ms = 200;
    let front = front(&settings);
    let mut tcp = front.tcp().await;
    tcp.write_all(&[22, 3, 1]).await.unwrap();
    let took = close_of(&mut tcp).await;
    assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let mut settings = settings();
    settings.header_timeout_ms = 300;
    settings.idle_timeout_ms = 300;
    let front = front(&settings);
    for begun in ["", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut tls = front.tls("http/1.1").await;
        tls.write_all(begun.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let took = close_of(&mut tls).await;
        assert!(took < Duration::from_secs(10), "{begun:?} {took:?}");
    }
    let mut silent_h2 = front.tls("h2").await;
    assert!(close_of(&mut silent_h2).await < Duration::from_secs(20));
    let mut busy = front.h1().await;
    let answer = within(busy.send_request(get("/slow"))).await.unwrap();
    assert_eq!(text(answer).await, "slow", "a request under way is not idle");
}

#[tokio::test]
async fn a_farewell_is_heard_right_behind_whatever_came_before_it() {
    let front = front(&settings());
    let get = |target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for before in [String::new(), get("/"), get("/slow"), get("/").repeat(3), get("/").repeat(300)]
    {
        let mut tls = front.tls("http/1.1").await;
        let session = tls.get_mut().1;
        session.writer().write_all(before.as_bytes()).unwrap();
        session.send_close_notify();
        // The socket itself stays open.
        tls.flush().await.unwrap();
        let took = close_of(&mut tls).await;
        assert!(took < Duration::from_secs(20), "{} bytes {took:?}", before.len());
    }
}

#[tokio::test]
async fn bytes_arrive_whatever_records_and_segments_they_come_in() {
    let front = front(&settings());
    let body: String = (0..100_000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    let request = format!("{head}\r\n{body}{head}Connection: close\r\n\r\n{body}");
    for (record, segment) in
        [(1_000_000, 1_000_000), (1_000_000, 700), (50, 1_000_000), (3_000, 8_192)]
    {
        let tls = front.tls("http/1.1").await;
        let (mut tcp, mut session) = tls.into_inner();
        session.set_buffer_limit(None);
        for part in request.as_bytes().chunks(record) {
            session.writer().write_all(part).unwrap();
        }
        let mut wire = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut wire).unwrap();
        }
        let (mut reading, mut writing) = tcp.split();
        let send = async {
            for part in wire.chunks(segment) {
                writing.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let mut answer = Vec::new();
        within(async { tokio::join!(send, reading.read_to_end(&mut answer)) }).await.1.unwrap();
        let mut plain = Vec::new();
        let mut rest = &answer[..];
        while !rest.is_empty() {
            session.read_tls(&mut rest).unwrap();
            session.process_new_packets().unwrap();
            let _ = session.reader().read_to_end(&mut plain);
        }
        let plain = String::from_utf8(plain).unwrap();
        assert_eq!(plain.matches(&body).count(), 2, "records of {record}, segments of {segment}");
    }
}

#[tokio::test]
async fn a_connection_outlives_a_refusal_whatever_records_the_refused_body_comes_in() {
    let front = front(&settings());
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n";
    let mut tls = front.tls("http/1.1").await;
    let session = tls.get_mut().1;
    // Nobody reads this body. Each part is a record of its own, all in one segment.
    let body = ["a"; 12];
    let next = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for part in [head].iter().chain(&body).chain(&[next]) {
        session.writer().write_all(part.as_bytes()).unwrap();
    }
    tls.flush().await.unwrap();
    let mut answers = String::new();
    within(tls.read_to_string(&mut answers)).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test]
async fn at_the_limit_new_connections_wait_for_old_ones_to_end() {
    let mut settings = settings();
    settings.workers = 1;
    settings.connections_max = 2;
    let front = front(&settings);
    let (mut first, _second) = (front.h1().await, front.h1().await);
    assert!(first.send_request(get("/")).await.is_ok());
    let third = front.tls("http/1.1");
    tokio::pin!(third);
    let early = tokio::time::timeout(Duration::from_millis(300), third.as_mut()).await;
    assert!(early.is_err(), "no third connection is served");
    drop(first);
    within(third).await;
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_nothing_new() {
    let front = front(&settings());
    let mut idle = front.h1().await;
    assert!(idle.send_request(get("/")).await.is_ok());
    let (mut h1, mut h2) = (front.h1().await, front.h2().await);
    let slow = tokio::spawn(h1.send_request(get("/slow")));
    let slow2 = tokio::spawn(h2.send_request(get("https://localhost/slow")));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let address = front.address;
    let ended = tokio::spawn(front.end());
    let slow = within(slow).await.unwrap().unwrap();
    assert_eq!(text(slow).await, "slow");
    assert_eq!(text(within(slow2).await.unwrap().unwrap()).await, "slow");
    within(ended).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert!(idle.send_request(get("/")).await.is_err());
}

#[tokio::test]
async fn draining_waits_for_detached_work_and_then_no_longer() {
    for (limit_ms, done) in [(5_000, true), (50, false)] {
        let mut settings = settings();
        settings.drain_timeout_ms = limit_ms;
        let front = front(&settings);
        let flag = tempfile::tempdir().unwrap();
        let file = flag.path().join("flag");
        let mut h1 = front.h1().await;
        let mut request = get("/detach");
        request.headers_mut().insert("x-file", file.to_str().unwrap().parse().unwrap());
        let asked = h1.send_request(request);
        let _ = tokio::time::timeout(Duration::from_millis(100), asked).await;
        drop(h1);
        front.end().await;
        assert_eq!(file.exists(), done);
    }
}

#[tokio::test]
async fn a_panic_costs_only_its_own_request() {
    let front = front(&settings());
    let mut h2 = front.h2().await;
    let slow = h2.send_request(get("https://localhost/slow"));
    let answer = within(h2.send_request(get("https://localhost/panic"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text(within(slow).await.unwrap()).await, "slow");
    let mut h1 = front.h1().await;
    let answer = within(h1.send_request(get("/panic"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(front.h1().await.send_request(get("/")).await.is_ok());
}

#[tokio::test]
async fn unsound_heads_are_answered_400_and_closed() {
    let front = front(&settings());
    let good = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for bad in [
        "GET / HTTP/1.1\nHost: localhost\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = front.raw(&format!("{bad}{good}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?} {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{bad:?} {answer:?}");
        let answer = front.raw(&format!("{good}{bad}{good}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{bad:?} {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{bad:?} {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 2, "{bad:?} {answer:?}");
    }
}

#[tokio::test]
async fn heads_that_are_too_long_are_answered_431() {
    let front = front(&settings());
    for length in [33_000, 66_000, 200_000] {
        let field = "a".repeat(length);
        let answer =
            front.raw(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {field}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{length} {answer:?}");
    }
    let field = "a".repeat(32_000);
    let fits =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {field}\r\nConnection: close\r\n\r\n");
    assert!(front.raw(&fits).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn malformed_chunks_are_an_error_to_who_reads_the_body() {
    let front = Front::start(&settings(), |_| {
        Arc::new(Answers(async |request: Request<Incoming>, _| {
            let status = match request.into_body().collect().await {
                Ok(_) => StatusCode::OK,
                Err(_) => StatusCode::BAD_REQUEST,
            };
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }))
    });
    for (chunks, status) in [
        ("1\r\na\r\n0\r\n\r\n", "200"),
        ("1\r\na\r\n0x1\r\nb\r\n0\r\n\r\n", "400"),
        ("1;x=y\r\na\r\n0\r\n\r\n", "400"),
        ("1\na\r\n0\r\n\r\n", "400"),
        ("1\r\na\r\n0\r\nx\ny\r\n\r\n", "400"),
    ] {
        let next = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = front.raw(&format!("{head}{chunks}{next}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{chunks:?} {answer:?}");
        let answers = if status == "200" { 2 } else { 1 };
        assert_eq!(answer.matches("HTTP/1.1").count(), answers, "{chunks:?} {answer:?}");
    }
}

#[tokio::test]
async fn only_waiting_can_be_expected_of_us() {
    let front = front(&settings());
    for (expect, status) in [("100-Continue", "HTTP/1.1 200"), ("nonsense", "HTTP/1.1 417")] {
        let request = format!(
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: {expect}\r\n\
             Connection: close\r\nContent-Length: 2\r\n\r\nok"
        );
        let answer = front.raw(&request).await;
        assert!(answer.contains(status), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_never_served_is_said_so_and_the_connection_ends() {
    let front = front(&settings());
    for (line, status) in [
        ("post / HTTP/1.1\r\nContent-Length: 0", "501"),
        ("QUERY / HTTP/1.1", "501"),
        ("TRACE / HTTP/1.1", "405"),
        ("CONNECT localhost:80 HTTP/1.1", "405"),
        ("POST / HTTP/1.1", "411"),
        ("POST * HTTP/1.1\r\nContent-Length: 0", "400"),
    ] {
        let next = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = front.raw(&format!("{line}\r\nHost: localhost\r\n\r\n{next}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line:?} {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{line:?} {answer:?}");
    }
    let many = "x: y\r\n".repeat(200);
    let answer = front.raw(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test]
async fn http2_requests_that_contradict_themselves_are_answered_400() {
    let front = front(&settings());
    let mut h2 = front.h2().await;
    let mut ask = async |uri: &str, name: &'static str, value: &'static str| {
        let request = Request::get(uri).header(name, value).body(Body::empty()).unwrap();
        within(h2.send_request(request)).await.unwrap().status()
    };
    assert_eq!(ask("https://localhost/", "host", "localhost").await, StatusCode::OK);
    assert_eq!(ask("https://localhost/", "host", "other").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("https://u@localhost/", "a", "b").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("http://localhost/", "a", "b").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("https://localhost/", "a", "b ").await, StatusCode::BAD_REQUEST);
    let twice = Request::post("https://localhost/").header("content-length", "0");
    let twice = twice.header("content-length", "0").body(Body::empty()).unwrap();
    let answer = within(h2.send_request(twice)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_proxy_header_names_the_client_whichever_way_it_is_cut() {
    let mut settings = settings();
    settings.proxy_protocol = true;
    settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let front = front(&settings);
    let named = ProxiedAddress::stream(
        "203.0.113.9:4711".parse().unwrap(),
        "192.0.2.1:443".parse().unwrap(),
    );
    let (mut v1, mut v2, mut local) = (Vec::new(), Vec::new(), Vec::new());
    ProxyHeader::with_address(named.clone()).encode_v1(&mut v1).unwrap();
    let tlv = [proxy_header::Tlv::UniqueId(vec![7; 200].into())];
    ProxyHeader::with_tlvs(Some(named), tlv).encode_v2(&mut v2).unwrap();
    ProxyHeader::with_local().encode_v2(&mut local).unwrap();
    let mapped = b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for (header, named) in
        [(v1, true), (v2.clone(), true), (mapped, true), (local, false), (unknown, false)]
    {
        for cut in [1, header.len() - 1, header.len()] {
            let mut tcp = front.tcp().await;
            let me = tcp.local_addr().unwrap();
            tcp.set_nodelay(true).unwrap();
            tcp.write_all(&header[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            tcp.write_all(&header[cut..]).await.unwrap();
            let config = front.authority.client(&["http/1.1"], rustls::ALL_VERSIONS);
            let tls = within(front.tls_over(tcp, config, "localhost")).await.unwrap();
            let answer = h1_over(tls).await.send_request(get("/")).await.unwrap();
            let peer = if named { "203.0.113.9:4711".parse().unwrap() } else { me };
            assert_eq!(text(answer).await, format!("false localhost {peer}"));
        }
    }
    let mut too_long = v2.clone();
    too_long[14] = 0xff;
    let mut bad_family = v2.clone();
    bad_family[13] = 0x77;
    let mut short = v2[..16].to_vec();
    short[15] = 3;
    short.extend([0; 3]);
    for bad in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\n".to_vec(),
        b"PROXY TCP4 203.0.113.999 192.0.2.1 4711 443\r\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        too_long,
        bad_family,
        short,
    ] {
        let mut tcp = front.tcp().await;
        let _ = tcp.write_all(&bad).await;
        assert!(close_of(&mut tcp).await < Duration::from_secs(5), "{bad:?}");
    }
}

#[tokio::test]
async fn a_proxy_header_is_believed_from_listed_proxies_on_their_listener_only() {
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n";
    let mut proxied = settings();
    proxied.proxy_protocol = true;
    proxied.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let mut public = settings();
    public.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for settings in [proxied, public] {
        let front = front(&settings);
        let mut tcp = front.tcp().await;
        tcp.write_all(header).await.unwrap();
        let config = front.authority.client(&["h2"], rustls::ALL_VERSIONS);
        assert!(within(front.tls_over(tcp, config, "localhost")).await.is_err());
    }
}

#[tokio::test]
async fn bodies_stream_back_as_they_come() {
    let front = front(&settings());
    let mut h1 = front.h1().await;
    let (send, receive) = tokio::sync::mpsc::channel::<&'static [u8]>(1);
    let body = crate::forward::testing::Channel(receive);
    let request = Request::post("/echo").header("host", "localhost").body(Body::stream(body));
    send.send(b"one").await.unwrap();
    let answer = within(h1.send_request(request.unwrap())).await.unwrap();
    let mut body = answer.into_body();
    for (have, next) in [("one", Some("two")), ("two", None)] {
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), have);
        if let Some(next) = next {
            send.send(next.as_bytes()).await.unwrap();
        }
    }
    drop(send);
    assert!(within(body.frame()).await.is_none());
}
