//! Two hundred reloads under traffic, every tenth of them broken: no request fails for it, and none is decided by a
//! mixture of two sets of files.
//!
//! The two good sets, `a` and `b`, differ in everything that a request can tell: packs word refusals otherwise, policies
//! have other rules with other words and factors, candidates other rules. Whatever one answer or one record says must be
//! of one letter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stepgate::world::{Clock, SystemClock};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::binary::Binary;
use crate::client::{Answer, Client};
use crate::kit::{HOST, Kit, Options, TOKYO, TOTP_SECRET};
use crate::websocket::exchange::Sockets;
use crate::world::{admin, totp_at};

const ROUNDS: usize = 200;
/// Accounts that give a code with the action; a code is good once.
const PAYERS: usize = 200;
const OTHER: &str = "other.example";
const TRANSFER: &str = "/api/transfer";
const ADDRESS: &str = "/api/address";
const PRIVATE: &str = "/ws/private";

/// `@` stands for the set's letter.
const PACK: &str = r#"version = 1
exchange = "test"
unclassified = { read = "allow", write = "deny" }
accepted = { "json.code" = "0" }
# Of the set @.

[challenge]
status = 401
body = '{"code":"@","msg":"{message}"}'

[websocket]
private = ["/ws/private"]
credentials = { "json.params.apiKey" = "OK-ACCESS-KEY: {value}" }
echo = { id = "json.id", op = "json.op" }
error = '{"id":{id},"op":{op},"code":"@","msg":"{message}"}'

[[action]]
name = "transfer"
match = "POST /api/transfer"
body = "json"
fields = { asset = "json.ccy", amount = "json.amt" }
need = ["asset", "amount"]
sample = '{"ccy":"USDT","amt":"1.5"}'

[[action]]
name = "address_book.add"
match = "POST /api/address"
body = "json"
fields = { address = "json.to" }
need = ["address"]
sample = '{"to":"bc1q"}'

[[action]]
name = "mass_cancel"
match = "WS /ws/private op=mass-cancel"
select = "json.op"
body = "json"
fields = { family = "json.family" }
sample = '{"id":"1","op":"mass-cancel","family":"x"}'

[[action]]
name = "order"
match = "WS /ws/private op=order"
select = "json.op"
body = "json"
guarded = false
"#;

const POLICY: &str = r#"version = 1

[[rule]]
id = "ask-@"
on = "transfer"
require = "FACTORS"

[[rule]]
id = "also-@"
on = "transfer"
require = "FACTORS"

[[rule]]
id = "no-@"
on = "address_book.add"
deny = true
why = "Of the set @."

[[rule]]
id = "hush-@"
on = "*"
when = "client.ip is 192.0.2.1"
deny = true
why = "Of the set @."

[[rule]]
id = "stop-@"
on = "mass_cancel"
deny = true
why = "Of the set @."
"#;

const CANDIDATE: &str = "version = 1\n\n[[rule]]\nid = \"maybe-@\"\non = [\"transfer\", \"address_book.add\"]\ndeny = true\n";

const CASES: &str = r#"version = 1

[[case]]
name = "a mass cancellation is denied"
request = { action = "mass_cancel" }
expect = { verdict = "deny", rules = ["stop-@"] }
"#;

type Spoil = fn(&str) -> String;

/// What a broken set has instead of one of its files.
const BROKEN: [(&str, Spoil); 5] = [
    ("site.policy.toml", |text| format!("{text}\n[[rule]]\nid = \"half")),
    ("site.cases.toml", |text| text.replace("verdict = \"deny\"", "verdict = \"allow\"")),
    ("site.actions.toml", |text| text.replace("body = \"json\"\n", "body = \"jsn\"\n")),
    // A write that was cut short between two rules: a sound policy, and not the one that was meant.
    ("site.policy.toml", |text| text.split("[[rule]]\nid = \"stop").next().unwrap().to_owned()),
    ("candidate.policy.toml", |text| text.replace("deny = true", "deny = tru")),
];

fn of(text: &str, letter: &str) -> String {
    let factors = if letter == "a" { "totp" } else { "totp or sms" };
    text.replace('@', letter).replace("FACTORS", factors)
}

/// Every file of one set, by name.
fn files(letter: &str) -> Vec<(&'static str, String)> {
    let other = POLICY.replace("-@", "-other-@");
    let cases = CASES.replace("-@", "-other-@");
    let plain = PACK.replace(
        "[challenge]\nstatus = 401\nbody = '{\"code\":\"@\",\"msg\":\"{message}\"}'\n",
        "",
    );
    [
        ("site.policy.toml", POLICY),
        ("site.actions.toml", PACK),
        ("site.cases.toml", CASES),
        ("candidate.policy.toml", CANDIDATE),
        ("other.policy.toml", &*other),
        ("other.cases.toml", &*cases),
        ("other.actions.toml", &*plain),
    ]
    .map(|(name, text)| (name, of(text, letter)))
    .into()
}

/// First 16 hex digits of SHA-256 over the policy, and the pack with its length before it.
fn version(policy: &str, pack: &str) -> String {
    let mut bytes = policy.as_bytes().to_vec();
    bytes.extend((pack.len() as u64).to_be_bytes());
    bytes.extend(pack.as_bytes());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Version → (site, letter); of candidates the site is `candidate`.
fn versions() -> BTreeMap<String, (&'static str, &'static str)> {
    let mut versions = BTreeMap::new();
    for letter in ["a", "b"] {
        let files: BTreeMap<_, _> = files(letter).into_iter().collect();
        for (site, policy, pack) in [
            ("main", "site.policy.toml", "site.actions.toml"),
            ("candidate", "candidate.policy.toml", "site.actions.toml"),
            ("other", "other.policy.toml", "other.actions.toml"),
        ] {
            versions.insert(version(&files[policy], &files[pack]), (site, letter));
        }
    }
    versions
}

/// Puts a whole set in the place of the last one, at once, as a mounted ConfigMap is.
fn swap(dir: &Path, set: &str) {
    let link = dir.join("policies.next");
    std::os::unix::fs::symlink(format!("sets/{set}"), &link).unwrap();
    std::fs::rename(link, dir.join("policies")).unwrap();
}

fn write_sets(dir: &Path) {
    let write = |set: &str, files: &[(&str, String)]| {
        std::fs::create_dir_all(dir.join("sets").join(set)).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join("sets").join(set).join(name), text).unwrap();
        }
    };
    write("a", &files("a"));
    write("b", &files("b"));
    for (number, (broken, spoil)) in BROKEN.iter().enumerate() {
        // All else in it is sound and new: nothing of it may ever be seen.
        let mut files = files("x");
        let file = files.iter_mut().find(|(name, _)| name == broken).unwrap();
        file.1 = spoil(&file.1);
        write(&format!("x{number}"), &files);
    }
    std::fs::remove_dir_all(dir.join("policies")).unwrap();
    swap(dir, "a");
}

/// What one answer said, to be compared with what the audit log says of it.
struct Heard {
    request: String,
    letter: String,
}

struct Load {
    kit: Kit,
    gateway: Binary,
    done: AtomicBool,
    count: AtomicUsize,
    heard: Mutex<Vec<Heard>>,
    excused: AtomicUsize,
}

impl Load {
    fn client(&self, host: &str, account: &str) -> Client {
        let token = self.kit.token(account, "s1", SystemClock.now().seconds());
        let client = Client::new(self.gateway.address, &self.kit.ca_pem, host).from(TOKYO);
        client.with("authorization", format!("Bearer {token}"))
    }

    fn goes_on(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        !self.done.load(Ordering::Relaxed)
    }

    /// Whether the store did not answer in its time, as on a machine that has other things to do: a refusal, with its
    /// reason in the log, and none of the reload's.
    fn excuses(&self, said: &str, request: &str) -> bool {
        if !said.contains("unavailable") && !said.contains("Not available") {
            return false;
        }
        let log = std::fs::read_to_string(self.kit.dir.join("stderr.txt")).unwrap();
        let told = |line: &str| line.contains("the store gave no answer") && line.contains(request);
        self.excused.fetch_add(1, Ordering::Relaxed);
        log.lines().any(told)
    }

    fn excuses_answer(&self, answer: &Answer) -> bool {
        answer.status == 503 && self.excuses(&answer.text(), answer.header("stepgate-request"))
    }

    fn hear(&self, answer: &Answer, letter: &str) {
        assert!(["a", "b"].contains(&letter), "{}", answer.text());
        let (request, letter) = (answer.header("stepgate-request").to_owned(), letter.to_owned());
        assert!(!request.is_empty());
        self.heard.lock().unwrap().push(Heard { request, letter });
    }

    /// Ordinary traffic: nothing to be said of it but that it passes.
    async fn read_balances(self: Arc<Self>) {
        let alice = self.client(HOST, "alice");
        while self.goes_on() {
            let answer = alice.get("/api/balance").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// The pack's wording, the rules' words and the factors are of one set.
    async fn be_refused(self: Arc<Self>) {
        let (bob, mut number) = (self.client(HOST, "bob"), 0);
        while self.goes_on() {
            number += 1;
            let denied = bob.post_json(ADDRESS, json!({ "to": "bc1q" }).to_string()).await;
            if self.excuses_answer(&denied) {
                continue;
            }
            assert_eq!(denied.status, 403, "{}", denied.text());
            let letter = denied.json()["code"].as_str().unwrap().to_owned();
            assert!(denied.text().contains(&format!("Of the set {letter}.")), "{}", denied.text());
            self.hear(&denied, &letter);

            let asked = bob.post_json(TRANSFER, transfer(number)).await;
            if self.excuses_answer(&asked) {
                continue;
            }
            assert_eq!(asked.status, 401, "{}", asked.text());
            let letter = asked.json()["code"].as_str().unwrap().to_owned();
            let factors = if letter == "a" { "totp" } else { "totp sms" };
            assert_eq!(asked.header("step-up-factors"), factors, "{}", asked.text());
            self.hear(&asked, &letter);
        }
    }

    /// Decided twice in one request: first it is asked about, then the code is right.
    async fn pay(self: Arc<Self>) {
        let payers: Vec<_> = (0..PAYERS).map(|it| self.client(HOST, &format!("p{it}"))).collect();
        let mut used: Vec<u64> = vec![0; PAYERS];
        let mut number = 0;
        while self.goes_on() {
            let now = SystemClock.now();
            let step = u64::try_from(now.seconds()).unwrap() / 30;
            number += 1;
            let at = number % PAYERS;
            // A code is good once, also if the answer comes in the next step.
            if step < used[at] + 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            used[at] = step;
            let code = totp_at(now);
            let headers = [("content-type", "application/json"), ("step-up-code", &*code)];
            let answer = payers[at].send("POST", TRANSFER, &headers, transfer(number)).await;
            if self.excuses_answer(&answer) {
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            // There are only so many codes, and reloads go on for a while.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The other site, whose refusals are in the gateway's own words.
    async fn be_refused_elsewhere(self: Arc<Self>) {
        let carol = self.client(OTHER, "carol");
        while self.goes_on() {
            let denied = carol.post_json(ADDRESS, json!({ "to": "bc1q" }).to_string()).await;
            if self.excuses_answer(&denied) {
                continue;
            }
            assert_eq!(denied.status, 403, "{}", denied.text());
            let detail = denied.json()["detail"].as_str().unwrap().to_owned();
            let letter = detail.split("Of the set ").nth(1).unwrap().split('.').next().unwrap();
            self.hear(&denied, letter);
        }
    }

    /// One connection for the whole time; each message is decided by what is in force when it comes.
    async fn send_messages(self: Arc<Self>) -> BTreeSet<String> {
        let stream = self.client(HOST, "alice").connect(&[]).await.unwrap();
        let mut request = format!("wss://{HOST}{PRIVATE}").into_client_request().unwrap();
        request.headers_mut().append("x-forwarded-for", TOKYO.parse().unwrap());
        request.headers_mut().append("ok-access-key", "key-alice".parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let (mut number, mut letters) = (0, BTreeSet::new());
        while self.goes_on() {
            number += 1;
            let op = if number % 2 == 0 { "order" } else { "mass-cancel" };
            let message = json!({ "id": number.to_string(), "op": op, "family": "x" });
            socket.send(Message::text(message.to_string())).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
            let Some(Ok(Message::Text(answer))) = answer.unwrap() else { panic!("it was closed") };
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let code = answer["code"].as_str().unwrap();
            if op == "order" {
                assert_eq!(code, "0", "{answer}");
                continue;
            }
            let said = answer["msg"].as_str().unwrap();
            let request = said.split("request ").nth(1).and_then(|rest| rest.split(')').next());
            if request.is_some_and(|request| self.excuses(said, request)) {
                continue;
            }
            assert!(said.contains(&format!("Of the set {code}.")), "{answer}");
            letters.insert(code.to_owned());
        }
        letters
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        admin(self.gateway.admin, method, path, "").await
    }

    /// Reloads that were counted: good, refused.
    async fn counted(&self) -> (usize, usize) {
        let text = self.ask("GET", "/metrics").await.text();
        let count = |result: &str| {
            let prefix = format!("stepgate_policy_reload_total{{result=\"{result}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
            line.map_or(0, |count| count.parse().unwrap())
        };
        (count("ok"), count("refused"))
    }

    /// What both sites are decided by: the set's letter.
    async fn in_force(&self, versions: &BTreeMap<String, (&str, &str)>) -> String {
        let status = self.ask("GET", "/status").await.json();
        let sites = status["sites"].as_array().unwrap();
        let mut letters = BTreeSet::new();
        for site in sites {
            let version = |name: &str| versions[site[name].as_str().unwrap()].1;
            letters.insert(version("policy"));
            if site["site"] == "main" {
                letters.insert(version("shadow_policy"));
            }
        }
        assert_eq!((sites.len(), letters.len()), (2, 1), "{status}");
        letters.first().unwrap().to_string()
    }

    /// One reload, and what came of it.
    async fn round(&self, number: usize, set: &str, versions: &BTreeMap<String, (&str, &str)>) {
        let (broken, before) = (set.starts_with('x'), self.counted().await);
        swap(&self.kit.dir, set);
        match number % 40 {
            // Nobody says so: the watch has to see it. Once with a broken set.
            7 | 30 => {}
            at if at % 2 == 0 => self.gateway.signal("HUP"),
            _ => {
                let answer = self.ask("POST", "/reload").await;
                assert_eq!(answer.status, if broken { 422 } else { 200 }, "{}", answer.text());
            }
        }
        for _ in 0..2_000 {
            let came = match broken {
                true => self.counted().await.1 > before.1,
                false => self.in_force(versions).await == set,
            };
            if came {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nothing came of round {number} with the set {set}");
    }
}

fn transfer(number: usize) -> String {
    json!({ "ccy": "USDT", "amt": format!("{number}.5") }).to_string()
}

async fn start(dir: &Path, upstream: std::net::SocketAddr) -> Load {
    let extra = format!(
        "[[site]]\nname = \"other\"\nhosts = [\"{OTHER}\"]\nupstream = [\"http://{upstream}\"]\n\
         actions = [\"policies/other.actions.toml\"]\npolicy = \"policies/other.policy.toml\"\n\
         accounts = \"main\"\n\n[[site.identity]]\nkind = \"jwt\"\nfrom = [\"bearer\"]\n\
         algorithms = [\"ES256\"]\nkeys = \"file:secrets/session.jwks\"\n\
         issuer = \"https://exchange.example\"\naudience = \"exchange\"\n"
    );
    let options = Options { upstream, policy: "", pack: "", extra: &extra, workers: 2, sms: true };
    let kit = Kit::write(dir, &options);
    write_sets(dir);
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let live = "policy = \"policies/site.policy.toml\"";
    let both = format!("{live}\nshadow_policy = \"policies/candidate.policy.toml\"");
    std::fs::write(kit.config(), text.replace(live, &both)).unwrap();
    let places = Binary::place(&kit);
    let gateway = Binary::start(&kit, places).await;
    let mut factors = Vec::new();
    for account in (0..PAYERS).map(|it| format!("p{it}")).chain(["bob".to_owned()]) {
        let uri = format!("otpauth://totp/stepgate:{account}?secret={TOTP_SECRET}&issuer=stepgate");
        factors.push(json!({ "account": account, "group": "main", "otpauth": uri }).to_string());
    }
    let phone = json!({ "account": "bob", "group": "main", "phone": "+4915112345667" });
    factors.push(phone.to_string());
    let enrolled = admin(gateway.admin, "POST", "/factor/import", &factors.join("\n")).await;
    assert_eq!(enrolled.status, 200, "{}", enrolled.text());
    let (done, heard) = (AtomicBool::new(false), Mutex::default());
    let (count, excused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Load { kit, gateway, done, count, heard, excused }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reloads_under_traffic_fail_no_request_and_mix_no_decision() {
    let (dir, upstream) = (TempDir::new().unwrap(), Sockets::start().await);
    let (load, versions) = (Arc::new(start(dir.path(), upstream.address).await), versions());
    let mut traffic = tokio::task::JoinSet::new();
    traffic.spawn(load.clone().read_balances());
    traffic.spawn(load.clone().be_refused());
    traffic.spawn(load.clone().pay());
    traffic.spawn(load.clone().be_refused_elsewhere());
    let messages = tokio::spawn(load.clone().send_messages());
    let (mut letter, mut held) = ("a", Vec::new());
    for number in 1..=ROUNDS {
        if number % 10 == 0 {
            load.round(number, &format!("x{}", number / 10 % BROKEN.len()), &versions).await;
            assert_eq!(load.in_force(&versions).await, letter, "the last good one");
            let status = load.ask("GET", "/status").await.json();
            assert_eq!(status["last_reload"]["ok"], false, "{status}");
        } else {
            letter = if letter == "a" { "b" } else { "a" };
            load.round(number, letter, &versions).await;
        }
        if number % 50 == 0 {
            held.push((load.gateway.memory_kb(), load.gateway.open_files()));
        }
    }
    load.done.store(true, Ordering::Relaxed);
    while let Some(ended) = traffic.join_next().await {
        ended.unwrap();
    }
    let letters = messages.await.unwrap();
    assert_eq!(letters.len(), 2, "the connection stayed, and its messages met both sets");
    let (good, refused) = load.counted().await;
    assert!(good >= ROUNDS / 10 * 9 && refused >= ROUNDS / 10, "{good} good, {refused} refused");
    let (count, excused) = (&load.count, &load.excused);
    println!("{count:?} requests, {excused:?} excused, {good} + {refused} reloads, {held:?}");
    // What a set leaves behind would be there a hundred times.
    let [_, (early, few), .., (late, many)] = held[..] else { panic!("{held:?}") };
    assert!(late < early + 30_000, "{held:?} kB");
    assert!(many < few + 20, "{held:?} open files");
    check_records(&load, &versions);
}

/// Every record that names a policy names one that was in force, and says nothing of another.
fn check_records(load: &Load, versions: &BTreeMap<String, (&str, &str)>) {
    let text = std::fs::read_to_string(load.kit.dir.join("audit/stepgate.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut requests: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| !line["policy"].is_null()) {
        let (site, letter) = versions[line["policy"].as_str().unwrap()];
        assert_eq!(line["site"], site, "{line}");
        assert!(rules(line).all(|rule| rule.ends_with(&format!("-{letter}"))), "{line}");
        let shadow = &line["shadow"];
        if site == "main" && !line["verdict"].is_null() {
            let observed = versions[shadow["policy"].as_str().unwrap()];
            assert_eq!(observed, ("candidate", letter), "{line}");
            assert!(rules(shadow).all(|rule| rule.ends_with(&format!("-{letter}"))), "{line}");
        }
        // From its first line to its last one request is of one version.
        let before = requests.insert(line["request"].as_str().unwrap(), letter);
        assert!(before.is_none_or(|before| before == letter), "{line}");
        *seen.entry((line["event"].as_str().unwrap(), letter)).or_default() += 1;
    }
    for event in ["challenge_opened", "challenge_approved", "intent", "outcome", "refusal"] {
        for letter in ["a", "b"] {
            assert!(seen.contains_key(&(event, letter)), "no {event} of {letter} in {seen:?}");
        }
    }
    let heard = load.heard.lock().unwrap();
    for Heard { request, letter } in heard.iter() {
        assert_eq!(requests.get(&**request), Some(&&**letter), "{request} was answered otherwise");
    }
    assert!(heard.len() > 200, "{} answers", heard.len());
    let refused = lines.iter().filter(|line| {
        line["event"] == "reload" && line["note"].as_str().unwrap().starts_with("refused: ")
    });
    assert!(refused.count() >= ROUNDS / 10);
}

fn rules(said: &Value) -> impl Iterator<Item = &str> {
    said["rules"].as_array().into_iter().flatten().map(|rule| rule["rule"].as_str().unwrap())
}
