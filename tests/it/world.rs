//! A gateway in this process: real sockets, real store, hand-moved clock, a fake exchange behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stepgate::serve::{Running, Start};
use stepgate::store::Store;
use stepgate::types::UnixMs;
use stepgate::world::{Clock, HandClock, SystemEntropy};
use tempfile::TempDir;

use crate::client::{Answer, Client};
use crate::exchange::Exchange;
use crate::kit::{HOST, Kit, Options, POLICY, TOKYO, TOTP_SECRET};

/// 2026-11-20 12:00:00 UTC, on a TOTP step's beginning.
pub const NOON: UnixMs = UnixMs(1_795_176_000_000);

/// OKX's pack as shipped: real routes for the tests.
pub const OKX: &str = include_str!("../../policies/okx.actions.toml");

pub struct World {
    pub exchange: Exchange,
    pub clock: Arc<HandClock>,
    pub kit: Kit,
    pub running: Running,
    // Dropped last: the gateway's files live in it.
    _dir: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with_policy(POLICY).await
    }

    pub async fn with_policy(policy: &str) -> Self {
        Self::with(policy, OKX, "").await
    }

    pub async fn with(policy: &str, pack: &str, extra: &str) -> Self {
        Self::edited(policy, pack, extra, |_| {}).await
    }

    /// The same, with its files changed before the gateway starts.
    pub async fn edited(policy: &str, pack: &str, extra: &str, edit: impl FnOnce(&Kit)) -> Self {
        let exchange = Exchange::start().await;
        let upstream = exchange.address;
        let options = Options { upstream, policy, pack, extra, workers: 2, sms: true };
        Self::made(exchange, options, edit, |store| store).await
    }

    /// The same with more files, by their paths in the kit's directory.
    pub async fn with_files(policy: &str, pack: &str, extra: &str, files: &[(&str, &str)]) -> Self {
        let add = |kit: &Kit| {
            for (name, text) in files {
                let file = kit.dir.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
        };
        Self::edited(policy, pack, extra, add).await
    }

    /// The same with something around its store.
    pub async fn on(policy: &str, pack: &str, around: impl Around) -> Self {
        let exchange = Exchange::start().await;
        let upstream = exchange.address;
        let options = Options { upstream, policy, pack, extra: "", workers: 2, sms: true };
        Self::made(exchange, options, |_| {}, around).await
    }

    /// The same with its files changed as well.
    pub async fn edited_on(
        policy: &str,
        pack: &str,
        edit: impl FnOnce(&Kit),
        around: impl Around,
    ) -> Self {
        let exchange = Exchange::start().await;
        let upstream = exchange.address;
        let options = Options { upstream, policy, pack, extra: "", workers: 2, sms: true };
        Self::made(exchange, options, edit, around).await
    }

    /// In front of another upstream than the fake exchange, which then sees nothing.
    pub async fn in_front_of(upstream: SocketAddr, policy: &str, pack: &str) -> Self {
        let options = Options { upstream, policy, pack, extra: "", workers: 2, sms: true };
        Self::made(Exchange::start().await, options, |_| {}, |store| store).await
    }

    /// The same with its files changed before the gateway starts.
    pub async fn edited_in_front_of(
        upstream: SocketAddr,
        policy: &str,
        pack: &str,
        edit: impl FnOnce(&Kit),
    ) -> Self {
        let options = Options { upstream, policy, pack, extra: "", workers: 2, sms: true };
        Self::made(Exchange::start().await, options, edit, |store| store).await
    }

    async fn made(
        exchange: Exchange,
        options: Options<'_>,
        edit: impl FnOnce(&Kit),
        around: impl Around,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let kit = Kit::write(dir.path(), &options);
        edit(&kit);
        let clock = Arc::new(HandClock::at(NOON));
        let running = start(&kit, clock.clone(), around).await;
        Self { exchange, clock, kit, running, _dir: dir }
    }

    pub fn dir(&self) -> &Path {
        &self.kit.dir
    }

    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    pub fn wait_s(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1000);
    }

    /// A client at home in Tokyo without any credential.
    pub fn client(&self) -> Client {
        Client::new(self.running.address(), &self.kit.ca_pem, HOST).from(TOKYO)
    }

    /// A signed-in session of this account, seen once so that Tokyo is known.
    pub async fn session(&self, account: &str, session: &str) -> Client {
        let token = self.kit.token(account, session, self.now().seconds());
        let client = self.client().with("authorization", format!("Bearer {token}"));
        assert_eq!(client.get("/api/v5/account/balance").await.status, 200);
        self.settled(account).await;
        client
    }

    /// Waits until the account's first sighting is written.
    async fn settled(&self, account: &str) {
        for _ in 0..200 {
            let card = self.admin("GET", &format!("/account/main/{account}"), "").await;
            if card.json()["countries"].as_array().is_some_and(|known| !known.is_empty()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{account} was never sighted");
    }

    /// Enrols an authenticator app with `TOTP_SECRET`.
    pub async fn enrol_totp(&self, account: &str) {
        let uri = format!("otpauth://totp/stepgate:{account}?secret={TOTP_SECRET}&issuer=stepgate");
        let line = serde_json::json!({ "account": account, "group": "main", "otpauth": uri });
        let answer = self.admin("POST", "/factor/import", &line.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub async fn enrol_phone(&self, account: &str, phone: &str) {
        let line = serde_json::json!({ "account": account, "group": "main", "phone": phone });
        let answer = self.admin("POST", "/factor/import", &line.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The authenticator's code at the world's time.
    pub fn totp(&self) -> String {
        totp_at(self.now())
    }

    /// The codes that were sent, oldest first.
    pub fn sms(&self) -> String {
        std::fs::read_to_string(self.dir().join("state/sms.txt")).unwrap_or_default()
    }

    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir().join("audit/stepgate.jsonl")).unwrap();
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first line of this event, which is written behind the answer.
    pub async fn noted(&self, event: &str) -> serde_json::Value {
        for _ in 0..200 {
            if let Some(line) = self.audit().into_iter().find(|line| line["event"] == event) {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("no {event} in {:#?}", self.audit());
    }

    /// A call to the admin interface.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        admin(self.running.admin_address().unwrap(), method, path, body).await
    }

    /// Stops this gateway in good order and starts another on the same files.
    pub async fn restart(&mut self) {
        tokio::task::block_in_place(|| self.running.stop());
        self.running = start(&self.kit, self.clock.clone(), |store| store).await;
    }
}

/// What stands around the store.
pub trait Around: FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send + 'static {}

impl<F: FnOnce(Arc<dyn Store>) -> Arc<dyn Store> + Send + 'static> Around for F {}

async fn start(kit: &Kit, clock: Arc<HandClock>, around: impl Around) -> Running {
    let start = Start { config: kit.config(), clock, entropy: Arc::new(SystemEntropy) };
    let started = tokio::task::spawn_blocking(move || stepgate::serve::start_on(start, around))
        .await
        .unwrap();
    started.unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)))
}

/// The value of a page's first hidden field of this name.
pub fn hidden(page: &Answer, name: &str) -> String {
    let text = page.text();
    let field = text.split("<input").find(|input| input.contains(&format!("name=\"{name}\"")));
    let field = field.unwrap_or_else(|| panic!("no field {name} in {text}"));
    field.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// The code of `TOTP_SECRET` at a time.
pub fn totp_at(now: UnixMs) -> String {
    totp_with(TOTP_SECRET, now)
}

/// The code of a secret in base32 at a time (RFC 6238, SHA-1, 6 digits).
pub fn totp_with(secret: &str, now: UnixMs) -> String {
    use aws_lc_rs::hmac;
    let secret = base32(secret);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let counter = u64::try_from(now.seconds()).unwrap() / 30;
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes[19] & 15);
    let word = u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

fn base32(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bits, mut count, mut out) = (0u64, 0, Vec::new());
    for symbol in text.bytes() {
        let value = alphabet.iter().position(|known| *known == symbol).unwrap() as u64;
        bits = (bits << 5) | value;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

pub async fn admin(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    admin_as(address, "a-token-for-the-tests-only", method, path, body).await
}

/// The same with the token of another operator.
pub async fn admin_as(
    address: std::net::SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    use http_body_util::{BodyExt, Full};
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "admin")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}
