//! Ordinary requests of the paths around the guarded ones, in harmless variety: each must pass and be executed.

use crate::Front;
use crate::draft::Draft;
use crate::wire;

/// Request line, further header lines, body.
const ORDINARY: [(&str, &str, &str); 12] = [
    ("GET /api/v5/asset/balances", "", ""),
    ("GET /api/v5/asset/balances?ccy=BTC&amt=1", "accept: application/json\r\n", ""),
    ("GET /api/v5/market/ticker?instId=BTC-USDT", "", ""),
    ("GET /api/v5/market/ticker?instId=BTC%2FUSDT&x=%C3%A4", "accept-encoding: gzip\r\n", ""),
    (
        "POST /api/v5/asset/deposit-note",
        "content-type: application/json\r\n",
        r#"{"amt":"1","toAddr":"GOOD"}"#,
    ),
    (
        "POST /api/v5/asset/deposit-note",
        "content-type: application/x-www-form-urlencoded\r\n",
        "amt=1&toAddr=GOOD&x=a%20b",
    ),
    (
        "POST /api/v5/trade/order",
        "content-type: application/json\r\n",
        r#"{"side":"buy","sz":1,"note":"withdrawal"}"#,
    ),
    (
        "POST /api/v5/trade/order",
        "content-type: application/json; charset=utf-8\r\n",
        "{ \"sz\" : [1, 2, {\"a\": null}] }",
    ),
    (
        "POST /api/v5/trade/order?clOrdId=1",
        "content-type: application/x-www-form-urlencoded\r\n",
        "side=sell&sz=1",
    ),
    ("PUT /api/v5/trade/order", "content-type: application/json\r\n", r#"{"newSz":"2"}"#),
    ("GET /api/v5/market/ticker", "user-agent: Mozilla/5.0\r\ncookie: a=b; theme=dark\r\n", ""),
    (
        "POST /api/v5/trade/order",
        "origin: https://exchange.example\r\ncontent-type: application/json\r\n",
        r#"{"memo":"/api/v5/asset/withdrawal"}"#,
    ),
];

/// Sends one of them as case `c{number}`.
pub async fn send(front: &Front, number: usize) {
    let (line, more, body) = ORDINARY[(number / crate::CONTROL_EVERY) % ORDINARY.len()];
    let draft = Draft::new(
        crate::draft::BASES[0],
        &front.tokens[number % crate::ACCOUNTS],
        &format!("c{number}"),
    );
    let framing = match body {
        "" => String::new(),
        _ if number.is_multiple_of(3) => "transfer-encoding: chunked\r\n".into(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let body = match framing.starts_with("transfer") {
        true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        false => body.to_owned(),
    };
    let bytes = draft.ordinary(line, &format!("{more}{framing}connection: close\r\n\r\n{body}"));
    wire::through(&front.client, &bytes, None, wire::LONG).await;
}
