//! Several gateways in this process on one store, in front of one exchange: the clock is the machine's, because the
//! store's is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stepgate::serve::{Running, Start, StartError};
use stepgate::store::StoreError;
use stepgate::types::UnixMs;
use stepgate::world::{Clock, SystemClock, SystemEntropy};
use tempfile::TempDir;

use crate::client::{Answer, Client};
use crate::exchange::Exchange;
use crate::kit::redis::{self, Single};
use crate::kit::{HOST, Kit, Options, TOKYO, TOTP_SECRET};
use crate::world::{admin, totp_at};

const GATEWAYS: usize = 3;
const STARTS: usize = 10;

pub struct Fleet {
    pub exchange: Exchange,
    pub kit: Kit,
    pub gateways: Vec<Running>,
    // Dropped last, each after what stands on it.
    _redis: Single,
    _dir: TempDir,
}

impl Fleet {
    pub async fn start(policy: &str, pack: &str) -> Self {
        Self::edited(policy, pack, |_| {}).await
    }

    /// The same with its files changed before the gateways start.
    pub async fn edited(policy: &str, pack: &str, edit: impl FnOnce(&Kit)) -> Self {
        let exchange = Exchange::start().await;
        let start_redis = || Single::start(&redis::Options { aof: true, ..Default::default() });
        let redis = tokio::task::spawn_blocking(start_redis).await.unwrap();
        let dir = TempDir::new().unwrap();
        let options =
            Options { upstream: exchange.address, policy, pack, extra: "", workers: 2, sms: true };
        let kit = Kit::write(dir.path(), &options);
        edit(&kit);
        let mut gateways = Vec::new();
        for number in 0..GATEWAYS {
            gateways.push(start(kit.config_of(number, &redis.url())).await);
        }
        Self { exchange, kit, gateways, _redis: redis, _dir: dir }
    }

    /// A client at home in Tokyo, at this gateway.
    pub fn client(&self, number: usize) -> Client {
        let address = self.gateways[number].address();
        Client::new(address, &self.kit.ca_pem, HOST).from(TOKYO)
    }

    /// A session of this account, at three gateways.
    pub fn session(&self, account: &str, session: &str) -> [Client; 3] {
        let token = self.kit.token(account, session, now().seconds());
        let bearer = format!("Bearer {token}");
        [0, 1, 2].map(|number| self.client(number).with("authorization", &bearer))
    }

    /// The same, seen once so that Tokyo is known.
    pub async fn at_home(&self, account: &str, session: &str) -> [Client; 3] {
        let clients = self.session(account, session);
        assert_eq!(clients[0].get("/api/v5/account/balance").await.status, 200);
        let path = format!("/account/main/{account}");
        let known = async || {
            let card = self.admin(1, "GET", &path, "").await.json();
            card["countries"].as_array().is_some_and(|known| !known.is_empty())
        };
        until("the first sighting is written", known).await;
        clients
    }

    pub async fn enrol_totp(&self, account: &str) {
        let uri = format!("otpauth://totp/stepgate:{account}?secret={TOTP_SECRET}&issuer=stepgate");
        let line = serde_json::json!({ "account": account, "group": "main", "otpauth": uri });
        let answer = self.admin(0, "POST", "/factor/import", &line.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub async fn enrol_phone(&self, account: &str, phone: &str) {
        let line = serde_json::json!({ "account": account, "group": "main", "phone": phone });
        let answer = self.admin(0, "POST", "/factor/import", &line.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// A call to this gateway's admin interface.
    pub async fn admin(&self, number: usize, method: &str, path: &str, body: &str) -> Answer {
        let address = self.gateways[number].admin_address().unwrap();
        admin(address, method, path, body).await
    }

    /// The code that was sent last, by whichever gateway.
    pub async fn texted(&self) -> String {
        let texts = || {
            let file = |number| self.kit.dir.join(format!("state/sms-{number}.txt"));
            let texts = (0..self.gateways.len()).map(|n| std::fs::read_to_string(file(n)));
            texts.map(Result::unwrap_or_default).collect::<String>()
        };
        until("a message was sent", async || texts().contains(" #")).await;
        texts().rsplit_once(" #").unwrap().1.trim().chars().take(6).collect()
    }

    /// Stops all gateways in good order; what they recorded.
    pub fn audit(mut self) -> Vec<Value> {
        let file = |number| self.kit.dir.join(format!("audit/stepgate-{number}.jsonl"));
        let files: Vec<PathBuf> = (0..self.gateways.len()).map(file).collect();
        for gateway in &mut self.gateways {
            tokio::task::block_in_place(|| gateway.stop());
        }
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn now() -> UnixMs {
    SystemClock.now()
}

/// The authenticator's code now.
pub fn totp() -> String {
    totp_at(now())
}

/// The code before that, which still counts.
pub fn totp_before() -> String {
    totp_at(UnixMs(now().0 - 30_000))
}

/// Waits until it is so, for at most ten seconds.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// As a supervisor would: on a busy machine the store may miss its deadline while a gateway starts.
async fn start(config: PathBuf) -> Running {
    let clock = Arc::new(SystemClock);
    for _ in 0..STARTS {
        let (config, clock) = (config.clone(), clock.clone());
        let start = Start { config, clock, entropy: Arc::new(SystemEntropy) };
        let started = tokio::task::spawn_blocking(move || stepgate::serve::start(start)).await;
        match started.unwrap() {
            Ok(running) => return running,
            Err(StartError::Store(StoreError::Deadline(_))) => {}
            Err(error) => panic!("{:#}", anyhow::Error::from(error)),
        }
    }
    panic!("the store missed its deadline at every start");
}
