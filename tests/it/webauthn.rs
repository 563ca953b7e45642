//! Passkeys at the running gateway: what one is asked, which answers count, and that each counts once.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stepgate::crypto::Keyring;
use stepgate::fault::Source;
use stepgate::stepup::passkey::{Nonce, RelyingParty, Verifier};
use stepgate::store::{Enrolled, Store};
use stepgate::types::{AccountId, Factor, UnixMs};
use tokio::task::JoinSet;

use crate::authenticator::{Authenticator, PRESENT, Says, VERIFIED, encode};
use crate::client::{Answer, Client};
use crate::kit::redis::{self, Single};
use crate::world::{OKX, World};

const WITHDRAW: &str = "/api/v5/asset/withdrawal";
const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "webauthn or totp"

[[rule]]
id = "transfers"
on = "transfer"
require = "webauthn and totp"
"#;

/// A gateway whose store is at hand, and Alice with a passkey.
struct Desk {
    world: World,
    store: Arc<dyn Store>,
    alice: Client,
    key: Authenticator,
    _redis: Option<Single>,
}

impl Desk {
    async fn open() -> Self {
        Self::on(None).await
    }

    async fn on_redis() -> Self {
        let start = || Single::start(&redis::Options { aof: true, ..Default::default() });
        Self::on(Some(tokio::task::spawn_blocking(start).await.unwrap())).await
    }

    async fn on(redis: Option<Single>) -> Self {
        let found: Arc<Mutex<Option<Arc<dyn Store>>>> = Arc::default();
        let keep = found.clone();
        let around = move |store: Arc<dyn Store>| {
            *keep.lock().unwrap() = Some(store.clone());
            store
        };
        let url = redis.as_ref().map(Single::url);
        let edit = |kit: &crate::kit::Kit| {
            let Some(url) = &url else { return };
            let file = kit.config();
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, text.replace("file:state/stepgate.db", url)).unwrap();
        };
        let world = World::edited_on(POLICY, OKX, edit, around).await;
        let store = found.lock().unwrap().take().unwrap();
        let alice = world.session("alice", "s1").await;
        let key = Authenticator::new(b"key of alice");
        let desk = Self { world, store, alice, key, _redis: redis };
        desk.enrol("alice", &desk.key).await;
        desk
    }

    async fn enrol(&self, account: &str, key: &Authenticator) {
        let kept = registered(key, self.world.now());
        let account = AccountId::new("main", account);
        let secret = keyring().seal("factor", &[b"main", account.name.as_bytes()], &kept);
        let enrolled = Enrolled {
            factor: Factor::Webauthn,
            secret,
            label: "1 passkey".to_owned(),
            since: self.world.now(),
            disabled: false,
            last_step: None,
            usable_from: self.world.now(),
            codes: Vec::new(),
            language: None,
        };
        self.store.enrol(&account, enrolled, self.world.now()).await.unwrap();
    }

    /// What the account's passkeys are kept as.
    async fn kept(&self) -> Value {
        let known = self.store.factors(&AccountId::new("main", "alice")).await.unwrap();
        let enrolled = known.iter().find(|it| it.factor == Factor::Webauthn).unwrap();
        let kept = keyring().open("factor", &[b"main", b"alice"], &enrolled.secret).unwrap();
        serde_json::from_slice(&kept).unwrap()
    }

    /// A withdrawal of so much, which is asked about.
    async fn withdraws(&self, amount: &str) -> String {
        let answer = self.alice.post_json(WITHDRAW, withdrawal(amount)).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        answer.challenge()
    }

    async fn asks(&self, id: &str) -> Value {
        let answer = asks(&self.alice, id).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn answers(&self, id: &str, assertion: &Value) -> Answer {
        answers(&self.alice, id, assertion).await
    }

    /// The state and the attempts left.
    async fn stands(&self, id: &str) -> (String, u64) {
        let shown = self.alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
        let left = shown["attempts_left"].as_u64().unwrap();
        (shown["state"].as_str().unwrap().to_owned(), left)
    }

    /// The withdrawal passes, this once.
    async fn passes(&self, amount: &str) {
        let before = self.world.exchange.seen_at(WITHDRAW).len();
        let answer = self.alice.post_json(WITHDRAW, withdrawal(amount)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.world.exchange.seen_at(WITHDRAW).len(), before + 1);
    }
}

fn withdrawal(amount: &str) -> String {
    json!({
        "ccy": "BTC", "amt": amount, "dest": "4", "toAddr": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
        "chain": "BTC-Bitcoin", "fee": "0.0001",
    })
    .to_string()
}

async fn asks(client: &Client, id: &str) -> Answer {
    let target = format!("/.stepgate/challenge/{id}/send");
    client.post_json(&target, r#"{"factor":"webauthn"}"#).await
}

async fn answers(client: &Client, id: &str, assertion: &Value) -> Answer {
    let body = json!({ "factor": "webauthn", "assertion": assertion }).to_string();
    client.post_json(&format!("/.stepgate/challenge/{id}/answer"), body).await
}

fn keyring() -> Keyring {
    let text = format!("k1 {}\n", STANDARD.encode([7; 32]));
    Keyring::parse(&Source::new("master.key", text), &mut Vec::new()).unwrap()
}

fn verifier() -> Verifier {
    let origins = vec!["https://exchange.example".to_owned()];
    Verifier::new(&RelyingParty { id: "exchange.example".to_owned(), origins }).unwrap()
}

/// What an account keeps whose only passkey this is.
fn registered(key: &Authenticator, now: UnixMs) -> Vec<u8> {
    let (nonce, signs) = (Nonce([1; 32]), [2; 32]);
    let verifier = verifier();
    let options = verifier.offer(None, "alice", &nonce, &signs, 60_000).unwrap();
    let posted = key.create(&options, &Says::default()).to_string();
    verifier.register(None, &nonce, &signs, &posted, now, 0).unwrap().kept
}

fn is_refused(answer: &Answer, left: u64) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["error"], &body["attempts_left"]), (&json!("wrong_passkey"), &json!(left)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_approves_this_withdrawal_once() {
    let desk = Desk::open().await;
    let id = desk.withdraws("1").await;
    let asked = desk.asks(&id).await;
    let public = &asked["publicKey"];
    assert_eq!(public["rpId"], "exchange.example");
    assert_eq!(public["userVerification"], "required");
    assert_eq!(public["challenge"].as_str().unwrap().len(), 43);
    assert!(public["timeout"].as_u64().unwrap() <= 300_000, "{public}");
    let allowed: Vec<&Value> =
        public["allowCredentials"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(allowed, [&json!(encode(b"key of alice"))]);
    let answer = desk.answers(&id, &desk.key.get(&asked, &Says::default())).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (200, &json!("approved")));
    let line = desk.world.noted("challenge_approved").await;
    assert_eq!(line["factor"], "webauthn");
    desk.passes("1").await;
    desk.withdraws("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_for_another_intent_is_refused() {
    let desk = Desk::open().await;
    let (small, large) = (desk.withdraws("1").await, desk.withdraws("100").await);
    let for_small = desk.key.get(&desk.asks(&small).await, &Says::default());
    is_refused(&desk.answers(&large, &for_small).await, 4);
    desk.asks(&large).await;
    is_refused(&desk.answers(&large, &for_small).await, 3);
    // Where it belongs it is right.
    assert_eq!(desk.answers(&small, &for_small).await.status, 200);
    assert_eq!(desk.stands(&large).await, ("open".to_owned(), 3));
    let refused = desk.alice.post_json(WITHDRAW, withdrawal("100")).await;
    assert_eq!(refused.status, 401);
    desk.passes("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_answer_to_what_was_asked_last_counts_and_that_once() {
    let desk = Desk::open().await;
    let id = desk.withdraws("1").await;
    let nothing_asked = json!({ "publicKey": { "rpId": "exchange.example", "challenge": "AA" } });
    is_refused(&desk.answers(&id, &desk.key.get(&nothing_asked, &Says::default())).await, 4);
    let older = desk.key.get(&desk.asks(&id).await, &Says::default());
    let newer = desk.asks(&id).await;
    is_refused(&desk.answers(&id, &older).await, 3);
    // The attempt took the newer question off.
    let newer = desk.key.get(&newer, &Says::default());
    is_refused(&desk.answers(&id, &newer).await, 2);
    let right = desk.key.get(&desk.asks(&id).await, &Says::default());
    assert_eq!(desk.answers(&id, &right).await.status, 200);
    let again = desk.answers(&id, &right).await;
    assert_eq!(again.json(), json!({ "state": "approved" }), "told again, and nothing more");
    desk.passes("1").await;
    let next = desk.withdraws("1").await;
    desk.asks(&next).await;
    is_refused(&desk.answers(&next, &right).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_s_passkey_approves_nothing() {
    let desk = Desk::open().await;
    let bobs = Authenticator::new(b"key of bob");
    desk.enrol("bob", &bobs).await;
    let id = desk.withdraws("1").await;
    let asked = desk.asks(&id).await;
    is_refused(&desk.answers(&id, &bobs.get(&asked, &Says::default())).await, 4);
    // Nor one that calls itself Alice's.
    let pretends = Authenticator::new(b"key of alice");
    let asked = desk.asks(&id).await;
    is_refused(&desk.answers(&id, &pretends.get(&asked, &Says::default())).await, 3);
    // Bob does not even see her challenge.
    let bob = desk.world.session("bob", "b1").await;
    assert_eq!(asks(&bob, &id).await.status, 404);
    let asked = desk.asks(&id).await;
    let right = desk.key.get(&asked, &Says::default());
    assert_eq!(answers(&bob, &id, &right).await.status, 404);
    assert_eq!(desk.stands(&id).await, ("open".to_owned(), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_say_all_that_is_asked_is_refused_and_counted() {
    let desk = Desk::open().await;
    let honest = Says::default;
    let origin = |origin: &str| Says { origin: origin.to_owned(), ..honest() };
    let lies = [
        Says { flags: PRESENT, ..honest() },
        Says { flags: VERIFIED, ..honest() },
        Says { flags: 0, ..honest() },
        origin("http://exchange.example"),
        origin("https://evil.example"),
        origin("https://www.exchange.example"),
        origin("https://exchange.example:9999"),
        origin("https://exchange.example.evil.example"),
        origin("null"),
        Says { rp_id: Some("localhost".to_owned()), ..honest() },
        Says { rp_id: Some("example".to_owned()), ..honest() },
        Says { kind: "webauthn.create", ..honest() },
        Says { kind: "payment.get", ..honest() },
        Says { challenge: Some(encode(&[0; 32])), ..honest() },
        Says { challenge: Some(String::new()), ..honest() },
    ];
    for (at, says) in lies.iter().enumerate() {
        // A challenge of its own for each, and its account's row of failures ends with a right one.
        let amount = format!("{}", at + 1);
        let id = desk.withdraws(&amount).await;
        let asked = desk.asks(&id).await;
        is_refused(&desk.answers(&id, &desk.key.get(&asked, says)).await, 4);
        let right = desk.key.get(&desk.asks(&id).await, &honest());
        assert_eq!(desk.answers(&id, &right).await.status, 200, "{at}");
        desk.passes(&amount).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_signature_or_one_over_other_data_is_refused() {
    let desk = Desk::open().await;
    let id = desk.withdraws("1").await;
    for (left, part) in [(4, "signature"), (3, "authenticatorData"), (2, "clientDataJSON")] {
        let asked = desk.asks(&id).await;
        let mut assertion = desk.key.get(&asked, &Says::default());
        let other = desk.key.get(&asked, &Says { counter: 9, ..Says::default() });
        let swapped = match part {
            "clientDataJSON" => encode(br#"{"type":"webauthn.get"}"#),
            part => other["response"][part].as_str().unwrap().to_owned(),
        };
        assertion["response"][part] = json!(swapped);
        is_refused(&desk.answers(&id, &assertion).await, left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_goes_forward_or_the_passkey_was_copied() {
    let desk = Desk::open().await;
    let says = |counter| Says { counter, ..Says::default() };
    for (amount, counter, status) in [("1", 7, 200), ("2", 7, 403), ("3", 6, 403), ("4", 8, 200)] {
        let id = desk.withdraws(amount).await;
        let asked = desk.asks(&id).await;
        let answer = desk.answers(&id, &desk.key.get(&asked, &says(counter))).await;
        assert_eq!(answer.status.as_u16(), status, "{amount} {}", answer.text());
    }
    let kept = desk.kept().await.to_string();
    assert!(kept.contains("\"counter\":8"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_browser_posts_costs_an_attempt_and_nothing_at_all_does_not() {
    let desk = Desk::open().await;
    let id = desk.withdraws("1").await;
    let target = format!("/.stepgate/challenge/{id}/answer");
    for nothing in [
        r#"{"factor":"webauthn"}"#,
        r#"{"factor":"webauthn","code":"123456"}"#,
        r#"{"factor":"webauthn","assertion":null}"#,
    ] {
        let answer = desk.alice.post_json(&target, nothing).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(desk.stands(&id).await, ("open".to_owned(), 5));
    desk.asks(&id).await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for (left, odd) in [(4, "{}"), (3, "7"), (2, &*deep), (1, r#""AAAA""#)] {
        let body = format!(r#"{{"factor":"webauthn","assertion":{odd}}}"#);
        is_refused(&desk.alice.post_json(&target, body).await, left);
    }
    let large = format!(r#"{{"factor":"webauthn","assertion":"{}"}}"#, "A".repeat(70_000));
    assert_eq!(desk.alice.post_json(&target, large).await.status, 413);
    assert_eq!(desk.stands(&id).await, ("open".to_owned(), 1));
}

async fn of_fifty_answers_one_counts(desk: Desk) {
    let id = desk.withdraws("1").await;
    let assertion = desk.key.get(&desk.asks(&id).await, &Says::default());
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let (alice, id, assertion) = (desk.alice.clone(), id.clone(), assertion.clone());
        all.spawn(async move { answers(&alice, &id, &assertion).await });
    }
    let all = all.join_all().await;
    assert!(all.iter().all(|answer| answer.status != 500));
    // A busy machine's store may be too slow for the one that would have counted: then none does.
    if all.iter().all(|answer| answer.status != 503) {
        desk.world.noted("challenge_approved").await;
        desk.passes("1").await;
    }
    let approvals = desk.world.audit();
    let counted = approvals.iter().filter(|line| line["event"] == "challenge_approved").count();
    assert!(counted <= 1, "{counted}");
    desk.alice.post_json(WITHDRAW, withdrawal("1")).await;
    let again = desk.alice.post_json(WITHDRAW, withdrawal("1")).await;
    assert_ne!(again.status, 200, "one approval, one withdrawal");
    assert!(desk.world.exchange.seen_at(WITHDRAW).len() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_parallel_answers_with_one_assertion_one_counts() {
    of_fifty_answers_one_counts(Desk::open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_parallel_answers_with_one_assertion_one_counts_in_redis_too() {
    of_fifty_answers_one_counts(Desk::on_redis().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_a_passkey_approves_and_its_uses_are_counted() {
    let desk = Desk::on_redis().await;
    let (small, large) = (desk.withdraws("1").await, desk.withdraws("100").await);
    let says = Says { counter: 3, ..Says::default() };
    let for_small = desk.key.get(&desk.asks(&small).await, &says);
    desk.asks(&large).await;
    is_refused(&desk.answers(&large, &for_small).await, 4);
    assert_eq!(desk.answers(&small, &for_small).await.status, 200);
    desk.passes("1").await;
    assert!(desk.kept().await.to_string().contains("\"counter\":3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_and_a_code_are_both_needed_where_a_rule_says_and() {
    let desk = Desk::open().await;
    desk.world.enrol_totp("alice").await;
    let transfer = r#"{"ccy":"USDT","amt":"5","from":"18","to":"6","type":"0"}"#;
    let asked = desk.alice.post_json("/api/v5/asset/transfer", transfer).await;
    assert_eq!(asked.header("step-up-factors"), "totp webauthn");
    let id = asked.challenge();
    let assertion = desk.key.get(&desk.asks(&id).await, &Says::default());
    let first = desk.answers(&id, &assertion).await.json();
    assert_eq!((&first["state"], &first["factors"]), (&json!("open"), &json!(["totp"])));
    assert_eq!(asks(&desk.alice, &id).await.status, 400, "it was given");
    let code = json!({ "factor": "totp", "code": desk.world.totp() }).to_string();
    let second = desk.alice.post_json(&format!("/.stepgate/challenge/{id}/answer"), code).await;
    assert_eq!(second.json()["state"], "approved");
    let done = desk.alice.post_json("/api/v5/asset/transfer", transfer).await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_passkeys_is_told_what_it_lacks() {
    let desk = Desk::open().await;
    let bob = desk.world.session("bob", "b1").await;
    let refused = bob.post_json("/api/v5/asset/transfer", TRANSFER).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    desk.world.enrol_totp("bob").await;
    let refused = bob.post_json("/api/v5/asset/transfer", TRANSFER).await;
    assert!(refused.text().contains("a passkey"), "{}", refused.text());
}

const TRANSFER: &str = r#"{"ccy":"USDT","amt":"5","from":"18","to":"6","type":"0"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_passkeys_do_not_reach_does_not_ask_for_one() {
    let desk = Desk::open().await;
    let mut elsewhere = desk.alice.clone();
    elsewhere.host = "localhost".to_owned();
    let refused = elsewhere.post_json(WITHDRAW, withdrawal("1")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    desk.world.enrol_totp("alice").await;
    let asked = elsewhere.post_json(WITHDRAW, withdrawal("1")).await;
    assert_eq!(asked.header("step-up-factors"), "totp");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_the_passkey_by_a_script_of_ours_and_takes_its_answer_in_a_form() {
    let desk = Desk::open().await;
    desk.world.enrol_totp("alice").await;
    let token = desk.world.kit.token("alice", "s1", desk.world.now().seconds());
    let browser = desk.world.client().with("cookie", format!("session={token}"));
    let browser = browser.with("accept", "text/html").with("sec-fetch-mode", "navigate");
    let id = browser.post_json(WITHDRAW, withdrawal("1")).await.challenge();
    let page = browser.get(&format!("/.stepgate/challenge/{id}")).await;
    let text = page.text();
    assert!(text.contains(r#"<script type="module" src="/.stepgate/passkey.js">"#), "{text}");
    assert!(text.contains("<noscript>") && text.contains("only with JavaScript"), "{text}");
    assert!(text.contains(r#"autocomplete="one-time-code""#), "the app serves as well");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("connect-src https://exchange.example/.stepgate/;"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let script = browser.get("/.stepgate/passkey.js").await;
    assert_eq!(script.status, 200);
    assert!(script.header("content-type").starts_with("text/javascript"));
    let script = browser.with("accept", "application/json").with("sec-fetch-mode", "cors");
    let asked = asks(&script, &id).await.json();
    let assertion = desk.key.get(&asked, &Says::default()).to_string();
    let csrf = text.split(r#"name="csrf" value=""#).nth(1).unwrap().split('"').next().unwrap();
    let form = |csrf: &str, assertion: &str| {
        let encoded =
            percent_encoding::utf8_percent_encode(assertion, percent_encoding::NON_ALPHANUMERIC);
        format!("csrf={csrf}&factor=webauthn&assertion={encoded}")
    };
    let target = format!("/.stepgate/challenge/{id}/answer");
    let forged = browser.post_form(&target, form("x", &assertion)).await;
    assert_eq!(forged.status, 400, "{}", forged.text());
    let unanswered = browser.post_form(&target, form(csrf, "")).await;
    assert_eq!(unanswered.status, 400);
    let done = browser.post_form(&target, form(csrf, &assertion)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("Confirmed"), "{}", done.text());
}
