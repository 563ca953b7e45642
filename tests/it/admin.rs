//! The admin listener over real sockets, with operations that only write down what they were asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use stepgate::admin::client::{Reply, account_path};
use stepgate::admin::{
    About, Answer, Client, Import, ImportSecret, OperationError, Operations, Order, Ordered,
    Pieces, Readiness, RequestSeen, Resume, RoutesSeen, SiteStatus, StandingSeen, Status, Suspend,
    Text, Token, serve,
};
use stepgate::store::{AccountCard, FactorCard};
use stepgate::suspension::Suspension;
use stepgate::types::{AccountId, Factor, UnixMs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "a-token-of-some-length";

#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    store_down: bool,
    bad_policy: bool,
    texts: Option<Vec<Text>>,
}

impl Fake {
    fn say<T: Send + 'static>(&self, what: String, value: T) -> Answer<'_, T> {
        self.asked.lock().unwrap().push(what);
        Box::pin(async move { Ok(value) })
    }
    fn card(account: AccountId) -> AccountCard {
        AccountCard {
            account,
            frozen: None,
            thawed: None,
            countries: vec!["DE".into()],
            asns: vec![],
            last: None,
            factors: vec![],
            addresses: 0,
            failures: 0,
            blocked_until: None,
        }
    }
}

impl Operations for Fake {
    fn ready(&self) -> Pin<Box<dyn Future<Output = Readiness> + Send + '_>> {
        let store = if self.store_down { Err("no answer".to_owned()) } else { Ok(()) };
        let rest = Ok(());
        let (audit, geo, policy, jwks) = (rest.clone(), rest.clone(), rest.clone(), rest);
        Box::pin(async move { Readiness { store, audit, geo, policy, jwks } })
    }
    fn metrics(&self) -> String {
        "stepgate_up 1\n# EOF\n".to_owned()
    }
    fn reload(&self) -> Answer<'_, String> {
        if self.bad_policy {
            return Box::pin(async { Err(OperationError::Refused("a:1:1 x\nb:2:2 y".into())) });
        }
        self.say("reload".into(), "2 policies".to_owned())
    }
    fn status(&self) -> Answer<'_, Status> {
        let sites =
            vec![SiteStatus { site: "main".into(), policy: "abc".into(), shadow_policy: None }];
        let status = Status {
            version: "0.1.0".into(),
            started: UnixMs(1),
            uptime_s: 5,
            sites,
            sites_since: UnixMs(1),
            last_reload: None,
            prices: None,
            sms_stops: vec![],
            suspensions: vec![],
        };
        self.say("status".into(), status)
    }
    fn routes(&self) -> Answer<'_, RoutesSeen> {
        self.say("routes".into(), RoutesSeen { since: UnixMs(3), routes: vec![] })
    }
    fn account(&self, account: AccountId) -> Answer<'_, AccountCard> {
        self.say(format!("account {account}"), Self::card(account))
    }
    fn standing(&self, account: AccountId, about: About) -> Answer<'_, StandingSeen> {
        let seen = StandingSeen {
            at: UnixMs(9),
            frozen: None,
            countries: vec!["DE".into()],
            arrived: Default::default(),
            asns: vec![],
            last: None,
            elevations: vec![],
            factors: vec![Factor::Totp],
            security_changed: None,
            counters: vec![],
            address: None,
            holds: vec![],
        };
        self.say(format!("standing of {account} as {}", about.credential.id), seen)
    }
    fn freeze(&self, account: AccountId, order: Order) -> Answer<'_, bool> {
        self.say(format!("freeze {account} by {} for {}", order.by, order.reason), true)
    }
    fn thaw(&self, account: AccountId, order: Order) -> Answer<'_, bool> {
        self.say(format!("thaw {account} by {}", order.by), true)
    }
    fn import(&self, factors: Vec<Import>, _order: Order) -> Answer<'_, Ordered<usize>> {
        let word = |import: &Import| match &import.secret {
            ImportSecret::Otpauth(address) => format!("{} {}", import.account, **address),
            ImportSecret::Phone(number) => format!("{} {}", import.account, **number),
            ImportSecret::Mail(address) => format!("{} {}", import.account, **address),
        };
        let words: Vec<String> = factors.iter().map(word).collect();
        self.say(words.join("; "), Ordered::Done(factors.len()))
    }
    fn factors(&self, account: AccountId) -> Answer<'_, Vec<FactorCard>> {
        let card = FactorCard {
            factor: Factor::Totp,
            label: "Exchange".into(),
            since: UnixMs(7),
            disabled: false,
            usable_from: UnixMs(7),
            codes_left: None,
        };
        self.say(format!("factors {account}"), vec![card])
    }
    fn reset_factor(
        &self,
        account: AccountId,
        factor: Factor,
        order: Order,
    ) -> Answer<'_, Ordered<bool>> {
        let said = format!("reset {account} {} by {}", factor.word(), order.by);
        self.say(said, Ordered::Done(true))
    }
    fn requests(&self) -> Answer<'_, Vec<RequestSeen>> {
        self.say("requests".into(), vec![])
    }
    fn approve(&self, id: String, order: Order) -> Answer<'_, RequestSeen> {
        self.say(format!("approve {id} by {}", order.by), request(id))
    }
    fn refuse(&self, id: String, order: Order) -> Answer<'_, RequestSeen> {
        self.say(format!("refuse {id} by {}: {}", order.by, order.reason), request(id))
    }
    fn suspend(&self, wanted: Suspend, order: Order) -> Answer<'_, Suspension> {
        let suspension = Suspension {
            id: "s1".into(),
            action: wanted.action.clone(),
            site: None,
            from: UnixMs(1),
            until: None,
            reasons: Default::default(),
            by: order.by.clone(),
            since: UnixMs(1),
        };
        self.say(format!("suspend {} by {}", wanted.action, order.by), suspension)
    }
    fn resume(&self, which: Resume, order: Order) -> Answer<'_, Vec<Suspension>> {
        self.say(format!("resume {} by {}", which.which, order.by), vec![])
    }
    fn lift_sms_stop(&self, subject: String, order: Order) -> Answer<'_, bool> {
        self.say(format!("lift {subject} by {} for {}", order.by, order.reason), true)
    }
    fn backup(&self, order: Order) -> Answer<'_, Pieces> {
        let (give, pieces) = tokio::sync::mpsc::channel(4);
        let whole = !self.store_down;
        tokio::spawn(async move {
            for _ in 0..100 {
                let _ = give.send(Ok(bytes::Bytes::from(vec![b'x'; 70_000]))).await;
            }
            if !whole {
                let _ = give.send(Err("the store is gone".to_owned())).await;
            }
        });
        self.say(format!("backup by {}", order.by), pieces)
    }
    fn restored(&self, order: Order) -> Answer<'_, ()> {
        self.say(format!("restored by {}: {}", order.by, order.reason), ())
    }
    fn texts(&self) -> Answer<'_, Option<Vec<Text>>> {
        self.say("texts".into(), self.texts.clone())
    }
}

fn request(id: String) -> RequestSeen {
    RequestSeen {
        id,
        what: "reset".into(),
        of: vec![],
        by: "carol".into(),
        reason: String::new(),
        since: UnixMs(1),
        until: UnixMs(2),
    }
}

/// A listener on a port of its own.
struct Admin {
    fake: Arc<Fake>,
    address: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Admin {
    async fn with(fake: Fake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (fake, stop) = (Arc::new(fake), CancellationToken::new());
        let token = Token::new(TOKEN).unwrap();
        let serving = tokio::spawn(serve(listener, token, fake.clone(), stop.clone()));
        Self { fake, address, stop, serving }
    }
    async fn new() -> Self {
        Self::with(Fake::default()).await
    }
    fn client(&self) -> Client {
        Client::new(self.address.clone(), Token::new(TOKEN).unwrap())
    }
    async fn get(&self, path: &str) -> Reply {
        self.client().get(path).await.unwrap()
    }
    async fn post(&self, path: &str, body: &'static str) -> Reply {
        self.client().post(path, body).await.unwrap()
    }
    /// Bytes in, bytes out.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
        answer
    }
    fn asked(&self) -> Vec<String> {
        self.fake.asked.lock().unwrap().clone()
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

#[tokio::test]
async fn health_readiness_and_metrics_need_no_token() {
    let admin = Admin::new().await;
    for (path, part) in
        [("/health", "up"), ("/ready", "\"ready\":true"), ("/metrics", "stepgate_up 1")]
    {
        let answer = admin
            .raw(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(part) && answer.contains("cache-control: no-store"), "{answer}");
    }
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let admin = Admin::with(Fake { store_down: true, ..Fake::default() }).await;
    let reply = admin.get("/ready").await;
    assert_eq!(reply.status, 503);
    assert_eq!(json(&reply)["parts"]["store"], "no answer");
    assert_eq!(json(&reply)["parts"]["geo"], "ok");
    assert_eq!(admin.get("/health").await.status, 200);
}

#[tokio::test]
async fn nothing_else_is_answered_without_the_token() {
    let admin = Admin::new().await;
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let wrong = [
        String::new(),
        "authorization: Bearer a-token-of-some-lengtH\r\n".to_owned(),
        format!("authorization: Basic {TOKEN}\r\n"),
        format!("authorization: Bearer {TOKEN} \t x\r\n"),
        format!("authorization: {TOKEN}\r\n"),
        format!("{right}{right}"),
        "authorization: \r\n".to_owned(),
    ];
    for path in [
        "GET /status",
        "GET /routes",
        "POST /reload",
        "GET /account/main/alice",
        "POST /account/main/alice/freeze",
        "POST /account/main/alice/thaw",
        "POST /factor/import",
        "GET /factor/main/alice",
        "POST /factor/main/alice/reset",
        "GET /sms",
        "POST /backup",
        "POST /restored",
    ] {
        for header in &wrong {
            let request =
                format!("{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n");
            let answer = admin.raw(&request).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{path} {header}: {answer}");
            assert!(!answer.contains(TOKEN));
        }
    }
    assert!(admin.asked().is_empty());
    let request = format!("GET /status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{right}\r\n");
    assert!(admin.raw(&request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn accounts_are_shown_frozen_and_thawed() {
    let admin = Admin::new().await;
    let card = admin.get("/account/main/alice").await;
    assert_eq!(json(&card)["countries"][0], "DE");
    let order = r#"{"by":"ops","reason":"call"}"#;
    assert_eq!(admin.post("/account/main/alice/freeze", order).await.status, 200);
    let thawed = admin.post("/account/main/alice/thaw", r#"{"by":"ops"}"#).await;
    assert_eq!(json(&thawed)["changed"], true);
    assert_eq!(
        admin.asked(),
        ["account main/alice", "freeze main/alice by ops for call", "thaw main/alice by ops"]
    );
    for nobody in ["", "{}", r#"{"by":" "}"#, r#"{"by":"ops","resaon":"x"}"#] {
        assert_eq!(admin.post("/account/main/alice/freeze", nobody).await.status, 422, "{nobody}");
    }
}

#[tokio::test]
async fn a_name_with_a_slash_is_one_name() {
    let admin = Admin::new().await;
    let account = AccountId::new("main", "a/b ü");
    let path = account_path("account", &account, "/freeze");
    assert_eq!(admin.post(&path, r#"{"by":"o","reason":"r"}"#).await.status, 200);
    assert_eq!(admin.asked(), ["freeze main/a/b ü by o for r"]);
    for path in ["/account/main/%ff", "/account/main/", "/account//alice", "/", "//status", "/x"] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn factors_are_imported_listed_and_reset() {
    let admin = Admin::new().await;
    let lines = concat!(
        r#"{"account":"alice","group":"main","otpauth":"otpauth://totp/x?secret=A"}"#,
        "\n\n",
        r#"{"account":"bob","group":"main","phone":"+4915112345667"}"#,
        "\r\n"
    );
    assert_eq!(json(&admin.post("/factor/import", lines).await)["imported"], 2);
    assert_eq!(admin.asked(), ["main/alice otpauth://totp/x?secret=A; main/bob +4915112345667"]);
    assert_eq!(json(&admin.get("/factor/main/alice").await)[0]["factor"], "totp");
    let reset = admin.post("/factor/main/alice/reset", r#"{"factor":"sms"}"#).await;
    assert_eq!(json(&reset)["changed"], true);
    assert_eq!(admin.asked()[2], "reset main/alice sms by operator");
    assert_eq!(admin.post("/factor/main/alice/reset", r#"{"factor":"x"}"#).await.status, 422);
}

#[tokio::test]
async fn an_import_with_faults_names_them_all_and_takes_nothing() {
    let admin = Admin::new().await;
    let lines = concat!(
        r#"{"account":"alice","group":"main","phone":"+4915112345667"}"#,
        "\n",
        r#"{"account":"bob","group":"main","otpauth":"otpauth://totp/?secret=JBSW","x":1}"#,
        "\n",
        r#"{"account":"","group":"main","phone":"+1"}"#,
        "\n",
        r#"{"account":"eve","group":"main"}"#
    );
    let reply = admin.post("/factor/import", lines).await;
    assert_eq!(reply.status, 422);
    let detail = reply.detail();
    assert!(["line 2:", "line 3:", "line 4:"].iter().all(|line| detail.contains(line)), "{detail}");
    assert!(!detail.contains("line 1:") && !detail.contains("JBSW"), "{detail}");
    assert_eq!(admin.post("/factor/import", "\n").await.status, 422);
    assert!(admin.asked().is_empty());
}

#[tokio::test]
async fn a_reload_says_what_it_did_or_every_fault() {
    let admin = Admin::new().await;
    let reply = admin.post("/reload", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "2 policies"));
    assert_eq!(admin.get("/reload").await.status, 405);
    let admin = Admin::with(Fake { bad_policy: true, ..Fake::default() }).await;
    let reply = admin.post("/reload", "").await;
    assert_eq!((reply.status, reply.detail().as_str()), (422, "a:1:1 x\nb:2:2 y"));
}

#[tokio::test]
async fn status_routes_and_texts_are_told() {
    let admin = Admin::new().await;
    let status: Status = serde_json::from_str(&admin.get("/status").await.body).unwrap();
    assert_eq!((status.uptime_s, status.sites[0].policy.as_str()), (5, "abc"));
    let routes = admin.get("/routes").await;
    assert_eq!((routes.status, &*routes.body), (200, r#"{"since":3,"routes":[]}"#));
    assert_eq!(admin.get("/sms").await.status, 404);
    let text = Text { at: UnixMs(1), to: "+1".into(), subject: None, text: "code 123456".into() };
    let admin = Admin::with(Fake { texts: Some(vec![text]), ..Fake::default() }).await;
    assert_eq!(json(&admin.get("/sms").await)[0]["text"], "code 123456");
}

#[tokio::test]
async fn a_backup_is_poured_out_whole_or_breaks_off() {
    let order = r#"{"by":"ops"}"#;
    let admin = Admin::new().await;
    let mut poured = Vec::new();
    let reply = admin.client().pour("/backup", order, &mut poured).await.unwrap();
    assert_eq!((reply.status, poured.len()), (200, 7_000_000));
    assert!(poured.iter().all(|byte| *byte == b'x'));
    assert_eq!(admin.get("/backup").await.status, 405);
    let nobody = admin.client().pour("/backup", "{}", &mut poured).await.unwrap();
    assert_eq!((nobody.status, poured.len()), (422, 7_000_000), "a refusal is not written");
    assert_eq!(admin.post("/restored", r#"{"by":"ops","reason":"r"}"#).await.status, 200);
    assert_eq!(admin.asked(), ["backup by ops", "restored by ops: r"]);

    let admin = Admin::with(Fake { store_down: true, ..Fake::default() }).await;
    let broken = admin.client().pour("/backup", order, &mut poured).await.unwrap_err();
    assert!(broken.to_string().contains("breaks off"), "{broken}");
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused() {
    let admin = Admin::new().await;
    let sent = admin.client().post("/factor/import", "x".repeat((1 << 20) + 1)).await;
    // The answer may come before all is sent, and the connection then ends under the sender.
    assert!(sent.map_or(true, |reply| reply.status == 413));
    let declared = format!(
        "POST /factor/import HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 1048577\r\nconnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(&admin.address).await.unwrap();
    stream.write_all(declared.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; (1 << 20) + 1]).await.ok();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    assert!(admin.asked().is_empty());
}

#[tokio::test]
async fn broken_http_does_not_stop_the_listener() {
    let admin = Admin::new().await;
    for garbage in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"] {
        admin.raw(garbage).await;
    }
    assert_eq!(admin.get("/health").await.status, 200);
}

#[tokio::test]
async fn it_stops_when_told_and_the_client_says_so() {
    let admin = Admin::new().await;
    let _idle = TcpStream::connect(&admin.address).await.unwrap();
    admin.get("/health").await;
    admin.stop.cancel();
    let client = admin.client();
    tokio::time::timeout(Duration::from_secs(10), admin.serving).await.unwrap().unwrap();
    let error = client.get("/health").await.unwrap_err();
    assert!(error.to_string().starts_with("no gateway answers at 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn an_account_s_standing_is_told_for_one_credential_and_needs_the_token() {
    let admin = Admin::new().await;
    let about = r#"{"credential":{"kind":"session","id":"s1"},"intent":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
    let reply = admin.post("/account/main/alice/standing", about).await;
    assert_eq!(
        (reply.status, &json(&reply)["countries"][0]),
        (200, &Value::from("DE")),
        "{reply:?}"
    );
    assert_eq!(admin.asked(), ["standing of main/alice as s1"]);
    let wrong = admin.post("/account/main/alice/standing", r#"{"credential":"s1"}"#).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    let request = "POST /account/main/alice/standing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(admin.raw(request).await.starts_with("HTTP/1.1 401"));
}
