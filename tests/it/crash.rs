//! The gateway is killed at many moments: nothing is sent twice, nothing that was sent is without a record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stepgate::types::UnixMs;
use stepgate::world::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::binary::{self, Binary};
use crate::client::Client;
use crate::exchange::{Exchange, Reply, Seen};
use crate::journeys::{TO_SPOT, TRANSFER, WITHDRAW, withdrawal};
use crate::kit::{Kit, Options, TOTP_SECRET};
use crate::world::{OKX, admin, totp_at};

const KILLS: u64 = 28;
const ACCOUNTS: usize = 3;

/// A withdrawal needs a code; contract to spot is let through, so that both kinds are under way.
const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"
"#;

/// The same numbers in every run (xorshift).
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn now() -> UnixMs {
    SystemClock.now()
}

/// One withdrawal whose owner has given the code.
#[derive(Clone)]
struct Approved {
    owner: Client,
    body: String,
}

struct Crash {
    kit: Kit,
    exchange: Exchange,
    gateway: Binary,
    /// Every account that ever acted.
    accounts: Vec<String>,
    _dir: TempDir,
}

impl Crash {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let exchange = Exchange::start().await;
        let options = Options {
            upstream: exchange.address,
            policy: POLICY,
            pack: OKX,
            extra: "",
            workers: 2,
            sms: false,
        };
        let kit = Kit::write(dir.path(), &options);
        let places = Binary::place(&kit);
        let gateway = Binary::start(&kit, places).await;
        Self { kit, exchange, gateway, accounts: Vec::new(), _dir: dir }
    }

    async fn restart(&mut self) {
        let places = (self.gateway.address, self.gateway.admin);
        self.gateway = Binary::start(&self.kit, places).await;
    }

    /// New accounts with an authenticator, each with one approved withdrawal that was not sent yet.
    async fn approved(&mut self, round: u64) -> Vec<Approved> {
        let accounts: Vec<String> = (0..ACCOUNTS).map(|n| format!("account-{round}-{n}")).collect();
        let lines: Vec<String> = accounts
            .iter()
            .map(|account| {
                let uri = format!("otpauth://totp/x:{account}?secret={TOTP_SECRET}&issuer=x");
                json!({ "account": account, "group": "main", "otpauth": uri }).to_string()
            })
            .collect();
        let enrolled = admin(self.gateway.admin, "POST", "/factor/import", &lines.join("\n")).await;
        assert_eq!(enrolled.status, 200, "{}", enrolled.text());
        let mut all = Vec::new();
        for account in &accounts {
            let token = self.kit.token(account, "s1", now().seconds());
            let owner = self.gateway.client(&self.kit, "authorization", &format!("Bearer {token}"));
            let body = withdrawal("5", &format!("T{account}"));
            let challenge = owner.post_json(WITHDRAW, body.clone()).await.challenge();
            let code = json!({ "factor": "totp", "code": totp_at(now()) }).to_string();
            let path = format!("/.stepgate/challenge/{challenge}/answer");
            let answer = owner.post_json(&path, code).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            all.push(Approved { owner, body });
        }
        self.accounts.extend(accounts);
        all
    }

    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log_file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn log_file(&self) -> std::path::PathBuf {
        self.kit.dir.join("audit/stepgate.jsonl")
    }

    /// Leaves half a line at the log's end, as a crash in the middle of a write does.
    fn tear(&self) {
        use std::io::Write;
        let mut file = std::fs::File::options().append(true).open(self.log_file()).unwrap();
        file.write_all(br#"{"seq":99,"time":"2026-11"#).unwrap();
    }
}

/// Sends every approved withdrawal twice at once, and transfers that need no code.
fn act(approved: &[Approved], round: u64) -> JoinSet<()> {
    let mut under_way = JoinSet::new();
    for (number, one) in approved.iter().enumerate() {
        for _ in 0..2 {
            let one = one.clone();
            under_way.spawn(async move {
                // The gateway may be gone at any moment.
                let _ = one.owner.try_send("POST", WITHDRAW, &[JSON], one.body).await;
            });
        }
        let owner = one.owner.clone();
        let body = TO_SPOT.replace("\"100\"", &format!("\"{round}.{number}\""));
        under_way.spawn(async move {
            let _ = owner.try_send("POST", TRANSFER, &[JSON], body).await;
        });
    }
    under_way
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_never_sends_twice_and_never_loses_what_it_sent() {
    let mut crash = Crash::start().await;
    let mut seed = Seed(0x5eed_0000_1234_5678);
    let mut before: Vec<Approved> = Vec::new();
    for round in 0..KILLS {
        // The owners of the round before try the same approved withdrawals again.
        for one in before.drain(..) {
            let again = one.owner.post_json(WITHDRAW, one.body).await;
            assert!([200, 401].contains(&again.status.as_u16()), "{}", again.text());
        }
        let approved = crash.approved(round).await;
        for _ in 0..9 {
            crash.exchange.will(Reply::After(Duration::from_millis(seed.below(40))));
        }
        let under_way = act(&approved, round);
        tokio::time::sleep(Duration::from_millis(seed.below(70))).await;
        crash.gateway.kill();
        under_way.join_all().await;
        crash.exchange.forget_replies();
        before = approved;
        if round % 7 == 3 {
            crash.tear();
        }
        crash.restart().await;
    }
    check_sent(&crash);
    check_counters(&mut crash).await;
    assert!(crash.gateway.stop(), "it ends well in the end");
    let file = crash.log_file();
    let verified = binary::run(&crash.kit.dir, &["audit", "verify", file.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", binary::said(&verified));
    assert!(binary::said(&verified).starts_with("whole:"), "{}", binary::said(&verified));
}

/// What reached the exchange, against what the log says.
fn check_sent(crash: &Crash) {
    let sent: Vec<Seen> =
        [WITHDRAW, TRANSFER].iter().flat_map(|path| crash.exchange.seen_at(path)).collect();
    let mut bodies = BTreeSet::new();
    for seen in &sent {
        assert!(bodies.insert(seen.body.clone()), "sent twice: {:?}", seen.body);
    }
    let log = crash.log();
    let of = |event: &str| -> BTreeMap<String, &Value> {
        let lines = log.iter().filter(|line| line["event"] == event);
        lines.map(|line| (line["request"].as_str().unwrap_or("").to_owned(), line)).collect()
    };
    let (intents, orphans) = (of("intent"), of("orphan_unknown"));
    // Refused after its intent: the disk was too slow to promise the record in time, and nothing was sent.
    let (outcomes, refusals) = (of("outcome"), of("refusal"));
    for seen in &sent {
        let request = request_of(seen);
        assert!(intents.contains_key(&request), "no intent record of {request}: {:?}", seen.body);
    }
    for request in intents.keys() {
        let known = [&outcomes, &orphans, &refusals].iter().any(|of| of.contains_key(request));
        assert!(known, "the log does not say what became of {request}");
    }
    for orphan in orphans.values() {
        assert_eq!(orphan["state"], "unknown");
    }
    // The test is worth something only if the kills met requests at all stages.
    let asked = usize::try_from(KILLS).unwrap() * ACCOUNTS * 2;
    assert!(orphans.len() >= 5, "{} orphans", orphans.len());
    assert!(sent.len() >= asked / 4, "{} of {asked} reached the exchange", sent.len());
}

/// The request id that the gateway signed.
fn request_of(seen: &Seen) -> String {
    let token = seen.headers["stepgate-assertion"].to_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// A rule that denies from one withdrawal a day on stops exactly the accounts that may have made one.
async fn check_counters(crash: &mut Crash) {
    let limit = r#"
[[rule]]
id = "one-a-day"
on = "withdrawal"
when = "counters.withdrawal.count_24h >= 1"
deny = true
"#;
    let policy = crash.kit.dir.join("policies/site.policy.toml");
    std::fs::write(policy, format!("{POLICY}{limit}")).unwrap();
    let reloaded = admin(crash.gateway.admin, "POST", "/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let sent = crash.exchange.seen_at(WITHDRAW);
    for account in &crash.accounts {
        let token = crash.kit.token(account, "s2", now().seconds());
        let owner = crash.gateway.client(&crash.kit, "authorization", &format!("Bearer {token}"));
        let answer = owner.post_json(WITHDRAW, withdrawal("6", "TOther")).await;
        let paid = format!("\"T{account}\"");
        if sent.iter().any(|seen| String::from_utf8_lossy(&seen.body).contains(&paid)) {
            assert_eq!(answer.status, 403, "{account}'s withdrawal was forgotten");
        }
    }
    let token = crash.kit.token("account-new", "s", now().seconds());
    let fresh = crash.gateway.client(&crash.kit, "authorization", &format!("Bearer {token}"));
    let answer = fresh.post_json(WITHDRAW, withdrawal("6", "TOther")).await;
    assert!(!answer.text().contains("one-a-day"), "{}", answer.text());
}

const JSON: (&str, &str) = ("content-type", "application/json");
