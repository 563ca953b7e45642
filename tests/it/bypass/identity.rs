//! Who is asking and from where: nothing that a client writes may change it, and nothing of ours
//! can be forged.

use super::{TRANSFER, raw, transfer};
use crate::client::Client;
use crate::kit::{FRANKFURT, HOST, POLICY, TOKYO};
use crate::world::{OKX, World};

const BALANCE: &str = "/api/v5/account/balance";

async fn home() -> (World, Client) {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

fn there(client: &Client, name: &str, value: &str) -> Client {
    let mut client = client.clone();
    client.headers.retain(|(known, _)| known != "x-forwarded-for");
    client.with(name, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_write_itself_home() {
    let (world, alice) = home().await;
    let spoofs = [
        ("x-forwarded-for", format!("{TOKYO}, {FRANKFURT}")),
        ("x-forwarded-for", format!("{TOKYO},{TOKYO} , {FRANKFURT}, 127.0.0.1")),
        ("forwarded", format!("for={TOKYO}, for={FRANKFURT}")),
    ];
    for (name, value) in spoofs {
        assert_eq!(there(&alice, name, &value).get(BALANCE).await.status, 401, "{value}");
    }
    let own = ["x-real-ip", "true-client-ip", "cf-connecting-ip", "x_forwarded_for", "forwarded"];
    for name in own {
        let spoof = alice.from(FRANKFURT).with(name, TOKYO);
        assert_eq!(spoof.get(BALANCE).await.status, 401, "{name}");
    }
    for bad in ["", "unknown", "203.0.113.10.1", "evil", "203.0.113.10 198.51.100.7"] {
        let status = there(&alice, "x-forwarded-for", bad).get(BALANCE).await.status;
        assert_eq!(status, 400, "{bad:?}");
    }
    world.exchange.seen();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_no_proxy_is_not_believed() {
    let world = World::edited(POLICY, OKX, "", |kit| {
        let text = std::fs::read_to_string(kit.config()).unwrap();
        let text = text.replace("[\"127.0.0.0/8\"]", "[\"10.0.0.0/8\"]");
        std::fs::write(kit.config(), text).unwrap();
    })
    .await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let alice = world.client().with("authorization", format!("Bearer {token}"));
    alice.get(BALANCE).await;
    let seen = world.exchange.seen();
    if let Some(seen) = seen.last() {
        assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
        assert!(!format!("{:?}", seen.headers).contains(TOKYO));
    }
    let log = format!("{:?}", world.audit());
    assert!(!log.contains(TOKYO), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_gateway_says_never_comes_from_a_client() {
    let (world, alice) = home().await;
    let forged = [
        "stepgate-assertion",
        "Stepgate_Assertion",
        "stepgate-account",
        "step-up-code",
        "step_up_code",
        "step-up-challenge",
        "x-forwarded-host",
        "x_forwarded_host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-original-url",
        "x-rewrite-url",
        "x-real-ip",
        "x_real_ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "fastly-client-ip",
        "x-envoy-external-address",
        "cf-connecting-ip",
        "client-ip",
        "proxy",
        "content_length",
    ];
    let headers: Vec<_> = forged.iter().map(|name| (*name, "forged")).collect();
    assert_eq!(alice.send("GET", BALANCE, &headers, "").await.status, 200);
    let seen = world.exchange.seen().pop().unwrap();
    assert!(!format!("{:?}", seen.headers).contains("forged"), "{:?}", seen.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_takes_nothing_away() {
    let (world, alice) = home().await;
    let before = world.exchange.seen().len();
    let taken = ["authorization", "cookie", "content-type", "stepgate-assertion", "host", "via"];
    for name in taken.into_iter().chain(["Authorization, x", "close,,content-length"]) {
        let answer = alice.send("GET", BALANCE, &[("connection", name)], "").await;
        assert_eq!(answer.status, 400, "{name}");
    }
    assert_eq!(world.exchange.seen().len(), before);
    let ours = [("connection", "x-forwarded-for, forwarded, x-forwarded-proto")];
    assert_eq!(alice.send("GET", BALANCE, &ours, "").await.status, 200);
    let seen = world.exchange.seen().pop().unwrap();
    assert_eq!(seen.headers["x-forwarded-for"], TOKYO);
    // An approval is not spent on a request that cannot be sent.
    let headers = [("content-type", "application/json"), ("connection", "x-nonce")];
    let guarded = alice.send("POST", TRANSFER, &headers, transfer("1")).await;
    assert!([400, 401].contains(&guarded.status.as_u16()));
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ways_to_read_a_credential_are_none() {
    let (world, alice) = home().await;
    let before = world.exchange.seen().len();
    let mine = world.kit.token("alice", "s1", world.now().seconds());
    let theirs = world.kit.token("bob", "s1", world.now().seconds());
    let cookies = [
        format!("session={mine}; session={theirs}"),
        format!("session={mine}; session={mine}"),
        format!("session=\"{mine}\""),
        format!("$Version=1; session={mine}"),
        format!("a=1,session={theirs}; session={mine}"),
        format!("session ={theirs}; session={mine}"),
        format!("x=\"; session={theirs}; y=\"; session={mine}"),
    ];
    for cookie in &cookies {
        let answer = world.client().with("cookie", cookie.as_str()).get(BALANCE).await;
        assert_eq!(answer.status, 400, "{cookie}");
    }
    let both = alice.with("cookie", format!("session={theirs}"));
    assert_eq!(both.get(BALANCE).await.status, 400, "two accounts");
    let twice = [("authorization", "Basic YTpi")];
    assert_eq!(alice.send("GET", BALANCE, &twice, "").await.status, 400);
    assert_eq!(alice.get(&format!("{BALANCE}?access_token={theirs}")).await.status, 400);
    assert_eq!(alice.get(&format!("{BALANCE}?Access%5ftoken={theirs}")).await.status, 400);
    let bad = world.client().with("authorization", format!("Bearer {mine}x"));
    assert_eq!(bad.get(BALANCE).await.status, 401, "a bad credential is not nobody's");
    let key = world.client().from(FRANKFURT).with("ok-access-key", "key-bob");
    assert_eq!(key.get(BALANCE).await.status, 403, "a key outside its networks");
    assert_eq!(world.exchange.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_ours_or_refused() {
    let (world, alice) = home().await;
    let before = world.exchange.seen().len();
    let heads = [
        ("host: evil.example\r\n".to_owned(), BALANCE.to_owned()),
        (format!("host: {HOST}.\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}\r\nhost: {HOST}\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}\r\nhost: evil.example\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}@evil.example\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}/x\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}, evil.example\r\n"), BALANCE.to_owned()),
        (format!("host: {HOST}:8443:1\r\n"), BALANCE.to_owned()),
        ("host:\r\n".to_owned(), BALANCE.to_owned()),
        (String::new(), BALANCE.to_owned()),
        // Another site's name under this name's certificate.
        ("host: localhost\r\n".to_owned(), BALANCE.to_owned()),
        (format!("host: {HOST}\r\n"), format!("http://evil.example{BALANCE}")),
        (format!("host: {HOST}\r\n"), format!("https://{HOST}@evil.example{BALANCE}")),
        ("host: evil.example\r\n".to_owned(), format!("https://evil.example{BALANCE}")),
        (format!("host: {HOST}\r\n"), format!("{BALANCE}#x")),
    ];
    let token = world.kit.token("alice", "s1", world.now().seconds());
    for (host, target) in heads {
        let head = format!(
            "GET {target} HTTP/1.1\r\n{host}connection: close\r\nx-forwarded-for: {TOKYO}\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        let answer = raw(&alice, head.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or("");
        assert!(["400", "421"].contains(&status), "{host:?} {target}: {answer}");
    }
    assert_eq!(world.exchange.seen().len(), before);
}
