//! The gateway stops while a request is held: what was not on its way can be released once; what was is not sent again.

use std::time::Duration;

use stepgate::world::{Clock, SystemClock};
use tempfile::TempDir;

use super::{FORM, PACK, Question, is_page, with_cookie};
use crate::binary::Binary;
use crate::client::{Answer, Client};
use crate::exchange::{Exchange, Reply};
use crate::kit::{HOST, Kit, Options, TOKYO, TOTP_SECRET};
use crate::world::{admin, totp_at};

const POLICY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"
"#;

struct Gateway {
    kit: Kit,
    exchange: Exchange,
    process: Binary,
    accounts: u32,
    _dir: TempDir,
}

impl Gateway {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let exchange = Exchange::start().await;
        let upstream = exchange.address;
        let options =
            Options { upstream, policy: POLICY, pack: PACK, extra: "", workers: 2, sms: false };
        let kit = Kit::write(dir.path(), &options);
        let places = Binary::place(&kit);
        let process = Binary::start(&kit, places).await;
        Self { kit, exchange, process, accounts: 0, _dir: dir }
    }

    async fn restart(&mut self) {
        let places = (self.process.address, self.process.admin);
        self.process = Binary::start(&self.kit, places).await;
    }

    /// The browser of a new customer, because an authenticator has one code in thirty seconds.
    async fn browser(&mut self) -> Client {
        self.accounts += 1;
        let account = format!("a{}", self.accounts);
        let uri = format!("otpauth://totp/x:{account}?secret={TOTP_SECRET}&issuer=x");
        let line = serde_json::json!({ "account": account, "group": "main", "otpauth": uri });
        let enrolled = admin(self.process.admin, "POST", "/factor/import", &line.to_string()).await;
        assert_eq!(enrolled.status, 200, "{}", enrolled.text());
        let client = Client::new(self.process.address, &self.kit.ca_pem, HOST).from(TOKYO);
        with_cookie(&client, &self.kit.token(&account, "s1", SystemClock.now().seconds()))
    }

    fn sent(&self, form: &str) -> usize {
        self.exchange.seen_at("/withdraw").iter().filter(|seen| seen.body == form).count()
    }

    async fn reached(&self, form: &str) {
        for _ in 0..500 {
            if self.sent(form) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not reach the exchange");
    }
}

async fn confirm(question: &Question, browser: &Client) {
    let answer = question.answer(browser, &totp_at(SystemClock.now())).await;
    is_page(&answer, 200, &["/release"]);
}

fn try_release(question: &Question, browser: &Client) -> tokio::task::JoinHandle<Option<Answer>> {
    let (browser, path) = (browser.clone(), question.at("/release"));
    let form = format!("csrf={}", question.csrf);
    let media = ("content-type", "application/x-www-form-urlencoded");
    tokio::spawn(async move { browser.try_send("POST", &path, &[media], form).await.ok() })
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_before_it_is_released_it_waits_and_goes_out_once() {
    let mut gateway = Gateway::start().await;
    // In good order and killed; before the code and after it.
    for (number, (in_order, confirmed)) in
        [(true, false), (true, true), (false, false), (false, true)].into_iter().enumerate()
    {
        let form = format!("{FORM}&number={number}");
        let browser = gateway.browser().await;
        let question = Question::of(&browser, &form).await;
        if confirmed {
            confirm(&question, &browser).await;
        }
        match in_order {
            true => assert!(gateway.process.stop()),
            false => gateway.process.kill(),
        }
        gateway.restart().await;
        if !confirmed {
            confirm(&question, &browser).await;
        }
        assert_eq!(gateway.sent(&form), 0);
        is_page(&question.look(&browser).await, 200, &["It is sent exactly as shown"]);
        assert_eq!(question.release(&browser).await.status, 200);
        is_page(&question.release(&browser).await, 409, &["the exchange accepted it"]);
        assert_eq!(gateway.sent(&form), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_exchange_works_on_it_it_is_never_sent_again() {
    let mut gateway = Gateway::start().await;
    let browser = gateway.browser().await;
    let question = Question::of(&browser, FORM).await;
    confirm(&question, &browser).await;
    gateway.exchange.will(Reply::After(Duration::from_secs(5)));
    let under_way = try_release(&question, &browser);
    gateway.reached(FORM).await;
    gateway.process.kill();
    assert!(under_way.await.unwrap().is_none());
    gateway.restart().await;
    // First it may still be on its way, in the end nobody knows; neither is an invitation to send it again.
    let page = question.look(&browser).await;
    is_page(&page, 200, &["do not send it a second time"]);
    assert!(!page.text().contains("<form"), "{}", page.text());
    assert_eq!(gateway.sent(FORM), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_of_the_release_it_is_sent_at_most_once_and_no_page_says_otherwise() {
    let mut gateway = Gateway::start().await;
    let (mut before, mut after) = (0, 0);
    for round in 0..14_u64 {
        let form = format!("{FORM}&round={round}");
        let browser = gateway.browser().await;
        let question = Question::of(&browser, &form).await;
        confirm(&question, &browser).await;
        let under_way = try_release(&question, &browser);
        // A release takes some ten milliseconds here: from nothing of it to all of it.
        tokio::time::sleep(Duration::from_micros(round * 2_500)).await;
        gateway.process.kill();
        let first = under_way.await.unwrap();
        gateway.restart().await;
        let was_sent = gateway.sent(&form);
        let page = question.look(&browser).await;
        let text = page.text();
        let waits = text.contains("/release\"");
        assert!(page.status == 200 && (was_sent == 0 || !waits), "round {round}: {text}");
        if waits {
            assert_eq!(question.release(&browser).await.status, 200, "round {round}");
            assert_eq!(gateway.sent(&form), 1, "round {round}");
            before += 1;
        } else {
            // Sent, or perhaps sent, or known not to be: asking once more sends nothing. What was on its way is waited
            // for longer than this test has patience.
            let again = try_release(&question, &browser);
            let _ = tokio::time::timeout(Duration::from_millis(1_500), again).await;
            assert_eq!(gateway.sent(&form), was_sent, "round {round}: {text}");
            assert!(was_sent == 1 || !text.contains("accepted"), "round {round}: {text}");
            after += 1;
        }
        if first.is_some_and(|answer| answer.status == 200) {
            assert_eq!(was_sent, 1, "round {round}");
        }
        assert!(gateway.sent(&form) <= 1, "round {round}");
    }
    assert!(before > 0 && after > 0, "{before} kills came before it, {after} after it had begun");
}
