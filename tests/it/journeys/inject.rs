//! A site that wants it gets the script for single-page applications into its pages, and nothing else is touched.

use crate::client::Client;
use crate::exchange::Reply;
use crate::world::World;

const PAGE: &str =
    "<!doctype html><html><head><title>Wallet</title></head><body>1 BTC</body></html>";
const TAG: &str = "<script src=\"/.stepgate/client.js\"></script>";

async fn world(inject: bool) -> (World, Client) {
    let accounts = "accounts = \"main\"\n";
    let world = World::edited(crate::kit::POLICY, crate::world::OKX, "", |kit| {
        let config = std::fs::read_to_string(kit.config()).unwrap();
        let with = format!("{accounts}inject = {inject}\n");
        std::fs::write(kit.config(), config.replacen(accounts, &with, 1)).unwrap();
    })
    .await;
    let client = world.session("alice", "s1").await;
    (world, client)
}

fn navigating(client: &Client) -> Client {
    let browser = client.clone().with("accept", "text/html,*/*").with("sec-fetch-mode", "navigate");
    browser.with("accept-encoding", "gzip, br")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_one_tag_and_is_asked_for_uncompressed() {
    let (world, client) = world(true).await;
    world.exchange.will(Reply::Page("text/html; charset=utf-8", PAGE));
    let page = navigating(&client).get("/wallet").await;
    assert_eq!(page.text(), PAGE.replacen("<head>", &format!("<head>{TAG}"), 1));
    assert!(!page.headers.contains_key("content-length"));
    assert!(!world.exchange.seen_at("/wallet")[0].headers.contains_key("accept-encoding"));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_what_scripts_load_pass_as_they_are() {
    let (world, client) = world(true).await;
    world.exchange.will(Reply::Page("application/json", "{\"head\":\"<head>\"}"));
    assert_eq!(navigating(&client).get("/data").await.text(), "{\"head\":\"<head>\"}");

    world.exchange.will(Reply::Page("text/html", PAGE));
    let loading = client.clone().with("accept", "*/*").with("accept-encoding", "gzip");
    assert_eq!(loading.get("/fragment").await.text(), PAGE);
    assert_eq!(world.exchange.seen_at("/fragment")[0].headers["accept-encoding"], "gzip");

    // The gateway's own pages need no such script.
    let own = navigating(&client).get("/.stepgate/challenge/none").await;
    assert!(!own.text().contains("client.js"), "{}", own.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_does_not_ask_for_it_keeps_its_pages() {
    let (world, client) = world(false).await;
    world.exchange.will(Reply::Page("text/html", PAGE));
    let page = navigating(&client).get("/wallet").await;
    assert_eq!((page.text().as_str(), page.header("content-length")), (PAGE, "80"));
    assert_eq!(world.exchange.seen_at("/wallet")[0].headers["accept-encoding"], "gzip, br");
}
