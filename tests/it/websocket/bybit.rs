//! Bybit's pack as shipped, over its WebSocket for orders.

use serde_json::Value;

use super::Scene;

const BYBIT: &str = include_str!("../../../policies/bybit.actions.toml");

const RULES: &str = r#"version = 1

[[rule]]
id = "batch-cancels"
on = "batch_cancel"
require = "totp"
"#;

fn call(id: u32, op: &str, order: u32) -> String {
    format!(
        r#"{{"reqId":"{id}","header":{{"X-BAPI-TIMESTAMP":"{id}"}},"op":"{op}","args":[{{"category":"linear","request":[{{"symbol":"BTCUSDT","orderId":"{order}"}}]}}]}}"#
    )
}

/// Its challenge, if it is asked about one.
fn refused(answer: &Value) -> Option<String> {
    assert_eq!(answer["retCode"], 10005, "{answer}");
    let message = answer["retMsg"].as_str().unwrap();
    let (_, id) = message.split_once("/.stepgate/challenge/")?;
    Some(id.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn bybit_orders_pass_after_the_login_and_a_batch_of_cancels_is_asked_about() {
    // The world knows its keys by this header.
    let pack = BYBIT.replace("X-BAPI-API-KEY: {value}", "OK-ACCESS-KEY: {value}");
    let scene = Scene::with(RULES, &pack).await;
    let mut bot = scene.open("/v5/trade").await;
    let cancel = |id| call(id, "order.cancel-batch", 7);
    assert_eq!(refused(&bot.ask(cancel(1)).await), None, "nobody is known yet");
    let auth = r#"{"op":"auth","args":["key-alice","1795176000000","sig"]}"#;
    bot.ask(auth).await;
    bot.ask(call(2, "order.create-batch", 7)).await;
    assert_eq!(scene.sockets.with("order.create-batch"), [call(2, "order.create-batch", 7)]);

    let asked = bot.ask(cancel(3)).await;
    assert_eq!((&asked["reqId"], &asked["op"]), (&"3".into(), &"order.cancel-batch".into()));
    scene.approve(&refused(&asked).unwrap()).await;
    assert!(refused(&bot.ask(call(4, "order.cancel-batch", 8)).await).is_some());
    bot.ask(cancel(5)).await;
    assert_eq!(scene.sockets.with("order.cancel-batch"), [cancel(5)]);
    assert_eq!(refused(&bot.ask(call(6, "asset.withdraw", 7)).await), None);
    let nobody = r#"{"op":"auth","args":[{"x":"key-alice"},"1795176000000","sig"]}"#;
    assert_eq!(refused(&bot.ask(nobody).await), None);
    assert_eq!(scene.sockets.with("auth").len(), 1);
}
