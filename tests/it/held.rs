//! Every end of a request that is held while its owner is asked, over real TLS and with every byte that the exchange got.
//!
//! | what happens | how it ends |
//! | --- | --- |
//! | it is approved and sent on | once, with the body and the fields that the browser sent, cookies of then included |
//! | a form with files, up to 64 KiB | the same, with its own boundary; an action that takes no such form refuses it |
//! | a larger form, another charset | a page that says so, that nothing is kept, and where the form is |
//! | a form from abroad | held like a transaction while its owner says who it is; a larger one is asked about and not kept |
//! | two clicks on "Confirm" | one attempt is counted, and both end on the page with "Send it now" |
//! | two clicks on "Send it now" | one request; the second is told what the exchange made of it, and where its answer is |
//! | a browser that turns away while it is sent | it is sent to the end, once |
//! | back to the question, or loaded anew | the question as it stands now; after it was sent, what became of it |
//! | a wrong code loaded anew | counts again, as the browser asks before it sends a form again |
//! | two tabs with different requests | two questions; neither approval is of use for the other |
//! | two tabs with the same request | one question, one request, and the second tab is told |
//! | the form sent again after the approval | passes with it; nothing is left to release |
//! | signed out meanwhile | a page that says that it is not sent, with the way to sign in |
//! | signed in again, or another session | cannot see, answer or release it, and is told that it was asked elsewhere |
//! | the same cookie in another browser | is the same session: either may answer and release, once |
//! | another account | there is nothing there |
//! | rules, prices or standing changed | decided anew with its release: asked again, refused with the reason, or let through |
//! | another approval lasts and covers it | it is asked about all the same; sent again by hand it passes |
//! | its site, or its host, is gone | not sent, and nobody else's site sends it |
//! | the store does not answer | not sent; what was approved can be released later |
//! | the time is over before or after the approval | not sent; the page leads back to the form |
//! | the exchange cannot be reached | not sent, said so, with the way back to the form |
//! | the exchange answers an error, or nothing | passed on, or said to be unknown; never sent again |
//! | the gateway stops, in good order or killed | what was not on its way can be released; what was is never sent again |
//! | ten wrong codes | five close the question and the account for 15 minutes, five more for 30 |

mod again;
mod budget;
mod bytes;
mod clicks;
mod crash;
mod exchange_down;
mod meanwhile;
mod people;

use crate::client::{Answer, Client};
use crate::world::{World, hidden};

const PACK: &str = r#"version = 1
exchange = "pages"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "form"
fields = { asset = "form.asset", amount = "form.amount", address = "form.address" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = "asset=BTC&amount=1&address=bc1q"
"#;

const FORM: &str = "asset=BTC&amount=0.5&address=bc1qexample&note=a%20%2B+b";
const NOT_KEPT: &str = "is not kept";

/// What a browser sends with every form of this site.
const BROWSER: [(&str, &str); 9] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 Safari/537.36"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.9"),
    ("upgrade-insecure-requests", "1"),
    ("origin", "https://exchange.example"),
    ("referer", "https://exchange.example/withdraw?asset=BTC"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

fn with_cookie(client: &Client, token: &str) -> Client {
    let client = client.with("cookie", format!("theme=dark; session={token}"));
    BROWSER.into_iter().fold(client, |client, (name, value)| client.with(name, value))
}

/// A signed-in browser at home.
async fn browser(world: &World, account: &str, session: &str) -> Client {
    world.session(account, session).await;
    with_cookie(&world.client(), &world.kit.token(account, session, world.now().seconds()))
}

/// A world with one customer who has an authenticator, and that customer's browser.
async fn world() -> (World, Client) {
    under(crate::kit::POLICY).await
}

async fn under(policy: &str) -> (World, Client) {
    let world = World::with(policy, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = browser(&world, "alice", "s1").await;
    (world, alice)
}

/// The page that asks.
struct Question {
    id: String,
    csrf: String,
}

impl Question {
    fn on(page: &Answer) -> Self {
        assert_eq!(page.status, 401, "{}", page.text());
        assert!(page.header("content-type").starts_with("text/html"));
        Self { id: page.challenge(), csrf: csrf(page) }
    }

    async fn of(browser: &Client, form: &str) -> Self {
        Self::on(&browser.post_form("/withdraw", form).await)
    }

    fn at(&self, step: &str) -> String {
        format!("/.stepgate/challenge/{}{step}", self.id)
    }

    async fn answer(&self, browser: &Client, code: &str) -> Answer {
        let form = format!("factor=totp&code={code}&csrf={}", self.csrf);
        browser.post_form(&self.at("/answer"), form).await
    }

    /// With the authenticator's next code.
    async fn confirm(&self, world: &World, browser: &Client) {
        world.wait_s(30);
        let answer = self.answer(browser, &world.totp()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("/release"), "{}", answer.text());
    }

    async fn release(&self, browser: &Client) -> Answer {
        browser.post_form(&self.at("/release"), format!("csrf={}", self.csrf)).await
    }

    /// The page as it is now.
    async fn look(&self, browser: &Client) -> Answer {
        browser.get(&self.at("")).await
    }
}

/// The token in the forms of a page.
fn csrf(page: &Answer) -> String {
    hidden(page, "csrf")
}

/// A page of the gateway for a person, with a way on.
fn is_page(answer: &Answer, status: u16, words: &[&str]) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert!(answer.header("content-type").starts_with("text/html"), "{text}");
    let way_on = text.contains("class=\"button") || text.contains("<button");
    assert!(way_on, "no way on: {text}");
    for words in words {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

fn reload(world: &World) {
    tokio::task::block_in_place(|| world.running.reload()).unwrap();
}

/// Other rules from now on.
fn rules(world: &World, policy: &str) {
    std::fs::write(world.dir().join("policies/site.policy.toml"), policy).unwrap();
    reload(world);
}

fn sent(world: &World) -> usize {
    world.exchange.seen_at("/withdraw").len()
}
