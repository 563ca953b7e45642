//! Who is asking, when the answer is hard to get or is two answers: guarded actions are refused, ordinary ones go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{FRANKFURT, POLICY, TOKYO};
use crate::world::{NOON, OKX, World};

const BALANCE: &str = "/api/v5/account/balance";
const TO_CONTRACT: &str = r#"{"ccy":"USDT","amt":"100","from":"6","to":"18","type":"0"}"#;

/// Answers RFC 7662 questions: `sid-NAME` is NAME's session, everything else is nobody's.
struct Introspection {
    address: SocketAddr,
    down: Arc<AtomicBool>,
    withdrawn: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Introspection {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (down, withdrawn) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let asked = Arc::new(AtomicUsize::new(0));
        let state = (down.clone(), withdrawn.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(state.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, down, withdrawn, asked }
    }

    /// A second site whose sessions are opaque and asked about here.
    fn site(&self) -> String {
        format!(
            r#"[[site]]
name = "opaque"
hosts = ["other.example"]
upstream = ["http://{{upstream}}"]
actions = ["policies/site.actions.toml"]
policy = "policies/site.policy.toml"
accounts = "main"

[[site.identity]]
kind = "opaque"
from = ["cookie:sid"]
introspect = "http://{}/introspect"
"#,
            self.address
        )
    }
}

type State = (Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicUsize>);

async fn answer(
    (down, withdrawn, asked): State,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    asked.fetch_add(1, Ordering::Relaxed);
    if down.load(Ordering::Relaxed) {
        return Err(std::io::Error::other("told to be down"));
    }
    let text = String::from_utf8_lossy(&body).replace("%2D", "-");
    let account = text.strip_prefix("token=sid-").filter(|_| !withdrawn.load(Ordering::Relaxed));
    let answer = match account {
        Some("timed") => {
            let signed_in = NOON.seconds() - 3600;
            format!(
                r#"{{"active":true,"sub":"alice","iat":{},"auth_time":{signed_in}}}"#,
                signed_in + 60
            )
        }
        Some(account) => format!(r#"{{"active":true,"sub":"{account}"}}"#),
        None => r#"{"active":false}"#.to_owned(),
    };
    let response = Response::builder().header("content-type", "application/json");
    response.body(Full::new(Bytes::from(answer))).map_err(std::io::Error::other)
}

async fn with_introspection() -> (World, Introspection, Client) {
    let introspection = Introspection::start().await;
    let world = World::with(POLICY, OKX, &introspection.site()).await;
    let client = Client::new(world.running.address(), &world.kit.ca_pem, "other.example")
        .from(TOKYO)
        .with("cookie", "sid=sid-alice");
    (world, introspection, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_session_is_asked_about_once_for_ordinary_and_each_time_for_guarded_requests() {
    let (world, introspection, alice) = with_introspection().await;
    for _ in 0..5 {
        assert_eq!(alice.get(BALANCE).await.status, 200);
    }
    assert_eq!(introspection.asked.load(Ordering::Relaxed), 1);
    for _ in 0..2 {
        assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    }
    assert_eq!(introspection.asked.load(Ordering::Relaxed), 3);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_session_is_as_old_as_introspection_says_and_else_nobody_knows() {
    let (world, _introspection, alice) = with_introspection().await;
    for (cookie, age) in [("sid=sid-timed", "1h"), ("sid=sid-alice", "unreadable")] {
        let answer = alice.with("cookie", cookie).post_json(TRANSFER, TO_CONTRACT).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let intent = world.audit().into_iter().rfind(|line| line["event"] == "intent").unwrap();
        assert_eq!(intent["facts"]["session.age"], age);
        assert_eq!(intent["facts"]["credential.kind"], "session");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_identity_is_down_guarded_actions_are_503_and_the_rest_goes_on() {
    let (world, introspection, alice) = with_introspection().await;
    assert_eq!(alice.get(BALANCE).await.status, 200);
    introspection.down.store(true, Ordering::Relaxed);
    for client in [&alice, &alice.with("cookie", "sid=sid-never-seen")] {
        let refused = client.post_json(TRANSFER, TO_CONTRACT).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(client.get(BALANCE).await.status, 200);
    }
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
    introspection.down.store(false, Ordering::Relaxed);
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_session_can_no_longer_act_at_once() {
    let (world, introspection, alice) = with_introspection().await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    introspection.withdrawn.store(true, Ordering::Relaxed);
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 401);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_nobodys() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    world.wait_s(43_200 + 120);
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 401);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_that_was_taken_out_of_the_file_is_refused_after_the_reload() {
    let world = World::start().await;
    let bot = world.client().with("ok-access-key", "key-alice");
    assert_eq!(bot.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    let keys = "[[key]]\nid = \"key-bob\"\naccount = \"bob\"\n";
    std::fs::write(world.dir().join("secrets/api-keys.toml"), keys).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    assert_eq!(bot.post_json(TRANSFER, TO_CONTRACT).await.status, 401);
    assert_eq!(bot.get(BALANCE).await.status, 401, "a bad credential does not pass as none");
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_keys_that_were_replaced_no_longer_verify() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let secret = stepgate::crypto::SigningKey::generate().unwrap();
    let fresh = stepgate::crypto::SigningKey::from_pkcs8(secret.expose()).unwrap();
    let keys = serde_json::json!({ "keys": [fresh.jwk()] }).to_string();
    std::fs::write(world.dir().join("secrets/session.jwks"), keys).unwrap();
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
    assert_eq!(alice.post_json(TRANSFER, TO_CONTRACT).await.status, 401);
    assert_eq!(alice.get(BALANCE).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_of_two_accounts_are_refused() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let before = world.exchange.seen().len();
    let both = alice.with("ok-access-key", "key-bob");
    assert_eq!(both.post_json(TRANSFER, TO_SPOT).await.status, 400);
    assert_eq!(both.get(BALANCE).await.status, 400);
    assert_eq!(world.exchange.seen().len(), before);
    let same = alice.with("ok-access-key", "key-alice");
    assert_eq!(same.get(BALANCE).await.status, 200, "two credentials of one account may be");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cookie_that_is_there_twice_is_refused() {
    let world = World::start().await;
    let now = world.now().seconds();
    let (alice, bob) = (world.kit.token("alice", "a", now), world.kit.token("bob", "b", now));
    for cookies in [
        format!("session={alice}; session={bob}"),
        format!("session={alice}; x=1; session={alice}"),
        format!("session={alice}; session="),
    ] {
        let client = world.client().with("cookie", cookies.clone());
        assert_eq!(client.get(BALANCE).await.status, 400, "{cookies}");
        assert_eq!(client.post_json(WITHDRAW, withdrawal("1", "T")).await.status, 400, "{cookies}");
    }
    assert!(world.exchange.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_outside_its_networks_is_refused() {
    let world = World::start().await;
    let bot = world.client().with("ok-access-key", "key-bob");
    assert_eq!(bot.get(BALANCE).await.status, 200);
    let elsewhere = bot.from(FRANKFURT);
    assert_eq!(elsewhere.get(BALANCE).await.status, 403);
    assert_eq!(elsewhere.post_json(TRANSFER, TO_SPOT).await.status, 403);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 0);
}
