//! OKX's pack as shipped, over its WebSocket.

use super::{LOGIN, Scene, challenge, refused};
use crate::world::OKX;

const RULES: &str = r#"version = 1

[[rule]]
id = "mass-cancels"
on = "mass_cancel"
require = "totp"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn orders_pass_and_a_mass_cancel_is_asked_about() {
    let scene = Scene::with(RULES, OKX).await;
    let mut bot = scene.open("/ws/v5/private").await;
    assert_eq!(bot.ask(LOGIN).await["event"], "login");
    let order = r#"{"id":"1512","op":"batch-orders","args":[{"side":"buy","instId":"BTC-USDT","tdMode":"cash","ordType":"limit","px":"1","sz":"2"}]}"#;
    assert_eq!(bot.ask(order).await["id"], "1512");
    let subscribe = r#"{"op":"subscribe","args":[{"channel":"account"}]}"#;
    bot.ask(subscribe).await;

    let cancel = |id: u32, family: &str| {
        format!(
            r#"{{"id":"{id}","op":"mass-cancel","args":[{{"instType":"OPTION","instFamily":"{family}"}}]}}"#
        )
    };
    let asked = bot.ask(cancel(1, "BTC-USD")).await;
    assert_eq!(asked["id"], "1");
    let id = challenge(&asked);
    let shown = scene.owner.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["transaction"][1]["value"], "BTC-USD", "{shown}");
    scene.approve(&id).await;
    challenge(&bot.ask(cancel(2, "ETH-USD")).await);
    assert_eq!(bot.ask(cancel(3, "BTC-USD")).await["code"], "0");
    assert_eq!(scene.sockets.with("mass-cancel"), [cancel(3, "BTC-USD")]);
    let two = cancel(4, "BTC-USD").replace("}]", "},{\"instType\":\"SWAP\",\"instFamily\":\"X\"}]");
    assert_ne!(challenge(&bot.ask(two).await), id, "every element is shown and bound");
    refused(&bot.ask(r#"{"id":"5","op":"withdrawal","args":[]}"#).await);
}
