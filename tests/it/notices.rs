//! Owners are told: what happens on an account reaches its phone and its mailbox, and the link in it freezes the account.
//!
//! Mails go to a real server; texts to the provider that writes them down.

mod cost;
mod links;
mod mails;
mod texts;
mod thaws;
mod words;

use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::kit::smtp::{Mode, Smtp, Taken};
use crate::kit::{FRANKFURT, Kit, POLICY};
use crate::world::{OKX, World};

pub const BALANCE: &str = "/api/v5/account/balance";
const GERMAN: &str = "de,en;q=0.5";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; rv:127.0) Gecko/20100101 Firefox/127.0";

/// A gateway that sends mail through a server of its own.
pub struct Post {
    pub world: World,
    pub smtp: Smtp,
}

impl Post {
    pub async fn start(mode: Mode) -> Self {
        Self::with_policy(mode, POLICY).await
    }

    pub async fn with_policy(mode: Mode, policy: &str) -> Self {
        let mut smtp = None;
        let set_up = |kit: &Kit| {
            let server = Smtp::new(&kit.dir, mode);
            std::fs::write(kit.dir.join("secrets/mail"), crate::kit::smtp::CREDENTIALS).unwrap();
            let text = std::fs::read_to_string(kit.config()).unwrap();
            // And a second site, whose accounts are others.
            let site = &text[text.find("[[site]]").unwrap()..];
            let other = site
                .replacen("name = \"main\"", "name = \"other\"", 1)
                .replacen("\"exchange.example\", \"localhost\"", "\"other.example\"", 1)
                .replacen("accounts = \"main\"", "accounts = \"other\"", 1);
            let text = text.replacen("[[site]]", &format!("{}\n[[site]]", server.table()), 1);
            let text = format!("{text}\n{other}");
            std::fs::write(kit.config(), text).unwrap();
            smtp = Some(server);
        };
        let world = World::edited(policy, OKX, "", set_up).await;
        Self { world, smtp: smtp.unwrap() }
    }

    pub async fn running(mode: Mode) -> Self {
        let mut post = Self::start(mode).await;
        post.smtp.start();
        post
    }

    /// Waits for the first mail with this subject.
    pub async fn mail(&self, subject: &str) -> Taken {
        let found = || self.smtp.taken().into_iter().find(|mail| mail.subject == subject);
        until(&format!("a mail `{subject}`"), || found().is_some()).await;
        found().unwrap()
    }

    /// Waits until so many mails were taken.
    pub async fn mails(&self, count: usize) -> Vec<Taken> {
        until(&format!("{count} mails"), || self.smtp.taken().len() >= count).await;
        self.smtp.taken()
    }
}

/// Waits until it is so, for at most a minute: what a busy store did not take at once is tried again after half of that.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// Waits until the gateway has counted so many notices with this result.
pub async fn counted(world: &World, about: &str, result: &str, count: u64) {
    let line = format!("stepgate_notices_total{{about=\"{about}\",result=\"{result}\"}} {count}");
    for _ in 0..3_000 {
        let metrics = world.admin("GET", "/metrics", "").await.text();
        if metrics.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never counted: {line}\n{}", world.admin("GET", "/metrics", "").await.text());
}

pub async fn enrol_mail(world: &World, account: &str, address: &str) {
    let line = json!({ "account": account, "group": "main", "mail": address }).to_string();
    let answer = world.admin("POST", "/factor/import", &line).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Alice's session turns up in Frankfurt, with Firefox, in German.
pub async fn abroad(world: &World, session: &str) -> Client {
    let client = world.session("alice", session).await;
    let client = client.from(FRANKFURT).with("accept-language", GERMAN).with("user-agent", FIREFOX);
    assert_eq!(client.get(BALANCE).await.status, 401);
    client
}
