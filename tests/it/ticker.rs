//! Prices from a ticker: asked from time to time, believed within limits, and never waited for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client::Client;
use crate::journeys::{WITHDRAW, withdrawal};
use crate::world::{OKX, World};

/// What is worth more than 10,000 dollars is denied; so is what nobody knows the worth of.
const RULES: &str = "version = 1\n[[rule]]\nid = \"much\"\non = \"withdrawal\"\nwhen = \"usd_value > 10_000\"\ndeny = true\n";

/// What the ticker answers.
#[derive(Clone)]
enum Says {
    Body(String),
    /// A whole answer, head included.
    Raw(String),
    Silence,
}

/// A ticker on this machine.
struct Ticker {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    says: Arc<Mutex<Says>>,
}

impl Ticker {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, says) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(says)));
        let (count, shared) = (asked.clone(), says.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (count, shared) = (count.clone(), shared.clone());
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let read = stream.read(&mut head).await.unwrap_or(0);
                    assert!(head[..read].starts_with(b"GET /tickers?type=SPOT "));
                    let says = shared.lock().unwrap().clone();
                    count.fetch_add(1, Ordering::SeqCst);
                    let answer = match says {
                        Says::Body(body) => http("200 OK", &body),
                        Says::Raw(answer) => answer,
                        Says::Silence => return tokio::time::sleep(Duration::from_secs(60)).await,
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address, asked, says }
    }

    async fn of(price: &str) -> Self {
        Self::start(Says::Body(btc(price))).await
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn config(&self) -> String {
        format!(
            "[prices]\nurl = \"http://{}/tickers?type=SPOT\"\nevery_s = 1\nage_max_s = 300\n\
             symbol = \"json.data[].instId\"\nprice = \"json.data[].last\"\nseparator = \"-\"\n\
             usd = [\"USDT\"]\n",
            self.address
        )
    }

    async fn world(&self) -> World {
        World::with(RULES, OKX, &self.config()).await
    }
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn btc(price: &str) -> String {
    format!(
        r#"{{"code":"0","msg":"","data":[{{"instId":"BTC-USDT","last":"{price}"}},{{"instId":"BTC-EUR","last":"1"}}]}}"#
    )
}

async fn prices(world: &World) -> Value {
    world.admin("GET", "/status", "").await.json()["prices"].clone()
}

/// Waits until what the gateway says of the ticker is so.
async fn until(world: &World, such: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let said = prices(world).await;
        if such(&said) {
            return said;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_good(world: &World) {
    until(world, |said| said["as_of"] == world.now().0 && said["failures"] == 0).await;
}

/// What so much Bitcoin is worth to the rules, and whether it passes.
async fn worth(world: &World, client: &Client, amount: &str) -> (Value, u16) {
    let body = withdrawal(amount, "TA").replace("\"USDT\"", "\"BTC\"");
    let status = client.post_json(WITHDRAW, body).await.status.as_u16();
    let event = if status == 200 { "intent" } else { "refusal" };
    for _ in 0..500 {
        let of = |line: &&Value| line["event"] == event && line["facts"]["amount"] == *amount;
        if let Some(line) = world.audit().iter().rfind(of) {
            return (line["facts"]["usd_value"].clone(), status);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was decided about {amount}");
}

fn known(text: &str, status: u16) -> (Value, u16) {
    (json!(text), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_worth_what_the_ticker_says_to_the_last_digit() {
    let ticker = Ticker::of("64250.123456789012345678").await;
    let world = ticker.world().await;
    let alice = world.session("alice", "s1").await;
    until_good(&world).await;
    let expected = known("6425.0123456789012345678", 200);
    assert_eq!(worth(&world, &alice, "0.1").await, expected);
    assert_eq!(worth(&world, &alice, "0.2").await, known("12850.0246913578024691356", 403));
    assert_eq!(prices(&world).await["assets"], 2, "Bitcoin, and a dollar");
    let metrics = world.admin("GET", "/metrics", "").await.text();
    for line in ["stepgate_prices_age_seconds 0", "stepgate_prices_polled_total{result=\"ok\"}"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // It is asked again and again, by one.
    let (before, begun) = (ticker.asked.load(Ordering::SeqCst), Instant::now());
    while ticker.asked.load(Ordering::SeqCst) < before + 2 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_answer_nothing_is_known_and_no_request_waits_for_one() {
    let ticker = Ticker::start(Says::Silence).await;
    let world = ticker.world().await;
    let alice = world.session("alice", "s1").await;
    // The ticker has taken the question and says nothing; the request is decided all the same.
    let begun = Instant::now();
    while ticker.asked.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(worth(&world, &alice, "0.1").await, known("unreadable", 403));
    assert_eq!(prices(&world).await["failures"], 0, "it still waits for its answer");
    let failed = until(&world, |said| said["failures"] == 1).await;
    assert!(failed["error"].as_str().unwrap().contains("no answer within"), "{failed}");
    ticker.says(Says::Body(btc("60000")));
    until_good(&world).await;
    assert_eq!(worth(&world, &alice, "0.11").await, known("6600", 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_outlive_bad_answers_until_they_are_too_old() {
    let ticker = Ticker::of("60000").await;
    let world = ticker.world().await;
    let alice = world.session("alice", "s1").await;
    until_good(&world).await;
    let huge = format!("{{\"data\":[{}]}}", " ".repeat(5 * 1024 * 1024));
    let moved = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let cut = http("200 OK", &btc("1")).replace("content-length: ", "content-length: 9");
    for (number, (answer, why)) in [
        (Says::Raw(http("500 Internal Server Error", &btc("1"))), "status 500"),
        (Says::Raw(http("429 Too Many Requests", "")), "status 429"),
        (Says::Raw(moved.to_owned()), "status 302"),
        (Says::Raw(cut), "connection failed"),
        (Says::Body(huge), "larger than"),
        (Says::Body("<html>".to_owned()), "no JSON text"),
        (Says::Body(btc("1").replace("data", "dta")), "has no `data`"),
        (Says::Body(btc("1e5")), "no instrument"),
    ]
    .into_iter()
    .enumerate()
    {
        ticker.says(answer);
        let said =
            until(&world, |said| said["error"].as_str().is_some_and(|error| error.contains(why)))
                .await;
        assert!(said["failures"].as_u64().unwrap() > number as u64, "{said}");
        let amount = format!("0.0{}", number + 1);
        assert_eq!(worth(&world, &alice, &amount).await.1, 200, "{why}");
    }
    world.wait_s(299);
    assert_eq!(worth(&world, &alice, "0.121").await.1, 200);
    world.wait_s(2);
    assert_eq!(worth(&world, &alice, "0.161").await, known("unreadable", 403));
    let metrics = world.admin("GET", "/metrics", "").await.text();
    assert!(metrics.contains("stepgate_prices_age_seconds 301"), "{metrics}");
    assert!(metrics.contains("stepgate_prices_polled_total{result=\"failed\"}"), "{metrics}");
    ticker.says(Says::Body(btc("50000")));
    until_good(&world).await;
    assert_eq!(worth(&world, &alice, "0.162").await, known("8100", 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_that_is_pushed_down_makes_no_withdrawal_look_small() {
    let ticker = Ticker::of("60000").await;
    let world = ticker.world().await;
    let alice = world.session("alice", "s1").await;
    until_good(&world).await;
    assert_eq!(worth(&world, &alice, "10").await.1, 403);
    for (price, amount) in [("600", "10.1"), ("29999", "10.2")] {
        ticker.says(Says::Body(btc(price)));
        world.wait_s(60);
        until(&world, |said| said["as_of"] == world.now().0 && said["held_back"] == json!(["BTC"]))
            .await;
        assert_eq!(worth(&world, &alice, amount).await, known("unreadable", 403));
    }
    assert!(
        world.admin("GET", "/metrics", "").await.text().contains("stepgate_prices_held_back 1")
    );
    // One that comes back counts at once.
    ticker.says(Says::Body(btc("58000")));
    until(&world, |said| said["held_back"] == json!([])).await;
    assert_eq!(worth(&world, &alice, "0.1").await, known("5800", 200));
    // One that stays down counts in the end.
    ticker.says(Says::Body(btc("20000")));
    until(&world, |said| said["held_back"] == json!(["BTC"])).await;
    for _ in 0..31 {
        world.wait_s(60);
        until_good(&world).await;
        if prices(&world).await["held_back"] == json!([]) {
            break;
        }
    }
    assert_eq!(worth(&world, &alice, "0.12").await, known("2400", 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_outlive_a_reload_whatever_becomes_of_the_ticker() {
    let ticker = Ticker::of("60000").await;
    let world = ticker.world().await;
    let alice = world.session("alice", "s1").await;
    until_good(&world).await;
    ticker.says(Says::Raw(http("500 Internal Server Error", "")));
    let reload = || tokio::task::block_in_place(|| world.running.reload());
    reload().unwrap();
    assert_eq!(worth(&world, &alice, "0.1").await, known("6000", 200));
    let config = std::fs::read_to_string(world.kit.config()).unwrap();
    std::fs::write(world.kit.config(), config.replace("every_s = 1\n", "every_s = 2\n")).unwrap();
    reload().unwrap();
    assert_eq!(worth(&world, &alice, "0.11").await, known("6600", 200));
    // The new settings are in use, and what was known of the past is.
    ticker.says(Says::Body(btc("1")));
    until(&world, |said| said["held_back"] == json!(["BTC"])).await;
    // And a set that is at fault changes nothing.
    std::fs::write(world.kit.config(), config.replace("usd = [\"USDT\"]", "usd = []")).unwrap();
    assert!(reload().unwrap_err().contains("`usd` names no quote"));
    ticker.says(Says::Body(btc("59000")));
    until(&world, |said| said["held_back"] == json!([])).await;
    assert_eq!(worth(&world, &alice, "0.12").await, known("7080", 200));
}
