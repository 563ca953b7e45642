//! The OKX-shaped API of the toy exchange: enough of `/api/v5` for a real client library to load markets, read
//! balances, order, transfer and withdraw.
//!
//! Never does anything private without a valid signature: key, passphrase, HMAC over the bytes as they arrived and a
//! timestamp of the last 30 s. A gateway that changes one byte of a signed request is found out here.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::books::{ASSETS, Wallet};
use super::customers::{self, ApiKey, Customer};
use super::{Answer, Call, Shared, form, lock};

/// How far a signed timestamp may be from now.
const DRIFT_MS: i64 = 30_000;

/// Signature of one call, as `OK-ACCESS-SIGN` carries it.
pub fn signature(key: &ApiKey, timestamp: &str, method: &str, target: &str, body: &[u8]) -> String {
    let mut context =
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.secret.as_bytes()));
    for part in [timestamp.as_bytes(), method.as_bytes(), target.as_bytes(), body] {
        context.update(part);
    }
    STANDARD.encode(context.sign())
}

pub(super) fn answer(shared: &Shared, call: &Call) -> Answer {
    let path = call.path.strip_prefix("/api/v5/").unwrap_or_default();
    let get = call.method == Method::GET;
    match path {
        "public/time" if get => good(json!([{ "ts": call.now.0.to_string() }])),
        "public/instruments" if get => good(instruments(call)),
        "market/ticker" | "market/tickers" if get => good(tickers(call)),
        _ => match signed_by(call) {
            Ok(customer) => private(shared, call, path, &customer),
            Err((code, message)) => bad(StatusCode::UNAUTHORIZED, code, message),
        },
    }
}

fn private(shared: &Shared, call: &Call, path: &str, customer: &Customer) -> Answer {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    match (call.method.as_str(), path) {
        ("GET", "asset/currencies") => good(currencies()),
        ("GET", "account/balance") => good(trading_balance(shared, call, customer)),
        ("GET", "asset/balances") => good(funding_balance(shared, customer)),
        ("POST", "asset/transfer") => transfer(shared, customer, &body),
        ("POST", "asset/withdrawal") => withdraw(shared, customer, &body),
        ("POST", "trade/order") => good(json!([ordered(call, 0, &body)])),
        ("POST", "trade/batch-orders" | "trade/cancel-batch-orders") => {
            let each = body.as_array().map(Vec::as_slice).unwrap_or_default();
            good(each.iter().enumerate().map(|(at, one)| ordered(call, at, one)).collect())
        }
        _ => bad(StatusCode::NOT_FOUND, "50404", "Not found"),
    }
}

fn signed_by(call: &Call) -> Result<Customer, (&'static str, &'static str)> {
    let id = call.header("ok-access-key").ok_or(("50103", "OK-ACCESS-KEY can't be empty"))?;
    let customer = (customers::all().into_iter())
        .find(|customer| customer.key.id == id)
        .ok_or(("50111", "Invalid OK-ACCESS-KEY"))?;
    if call.header("ok-access-passphrase") != Some(&customer.key.passphrase) {
        return Err(("50105", "OK-ACCESS-PASSPHRASE incorrect"));
    }
    let timestamp = call.header("ok-access-timestamp").unwrap_or_default();
    let at = timestamp.parse::<jiff::Timestamp>().map_err(|_| ("50112", "Invalid timestamp"))?;
    if (call.now.0 - at.as_millisecond()).abs() > DRIFT_MS {
        return Err(("50102", "Timestamp request expired"));
    }
    let expected =
        signature(&customer.key, timestamp, call.method.as_str(), &call.target, &call.body);
    match call.header("ok-access-sign") {
        Some(sign) if sign == expected => Ok(customer),
        _ => Err(("50113", "Invalid Sign")),
    }
}

fn transfer(shared: &Shared, customer: &Customer, body: &Value) -> Answer {
    let wallet = |name| Wallet::from_okx(&text(body, name)).map_or("", Wallet::word);
    let (asset, amount) = (text(body, "ccy"), text(body, "amt"));
    let mut books = lock(&shared.books);
    let books = books.entry(customer.name.clone()).or_insert_with(super::Books::opening);
    match books.transfer(wallet("from"), wallet("to"), &asset, &amount) {
        Ok(receipt) => good(json!([{
            "transId": receipt.number.to_string(), "ccy": asset, "amt": amount,
            "from": text(body, "from"), "to": text(body, "to"), "clientId": text(body, "clientId"),
        }])),
        Err(why) => bad(StatusCode::OK, "58350", why),
    }
}

fn withdraw(shared: &Shared, customer: &Customer, body: &Value) -> Answer {
    let (asset, amount) = (text(body, "ccy"), text(body, "amt"));
    let (address, network) = (text(body, "toAddr"), text(body, "chain"));
    let mut books = lock(&shared.books);
    let books = books.entry(customer.name.clone()).or_insert_with(super::Books::opening);
    match books.withdraw(&asset, &amount, &address, &network) {
        Ok(receipt) => good(json!([{
            "wdId": receipt.number.to_string(), "ccy": asset, "amt": amount, "chain": network,
            "clientId": text(body, "clientId"),
        }])),
        Err(why) => bad(StatusCode::OK, "58350", why),
    }
}

/// Orders are accepted and forgotten: the demo has no market.
fn ordered(call: &Call, at: usize, order: &Value) -> Value {
    json!({
        "ordId": format!("{}{at:02}", call.now.0), "clOrdId": text(order, "clOrdId"),
        "tag": text(order, "tag"), "ts": call.now.0.to_string(), "sCode": "0", "sMsg": "",
    })
}

fn trading_balance(shared: &Shared, call: &Call, customer: &Customer) -> Value {
    let books = lock(&shared.books);
    let lines = books.get(&customer.name).into_iter().flat_map(|it| it.wallet(Wallet::Contract));
    let details: Vec<_> = lines
        .map(|(asset, amount)| {
            json!({ "ccy": asset, "cashBal": amount.to_string(), "eq": amount.to_string(),
                "availBal": amount.to_string(), "availEq": amount.to_string(), "frozenBal": "0" })
        })
        .collect();
    json!([{ "uTime": call.now.0.to_string(), "totalEq": "", "details": details }])
}

fn funding_balance(shared: &Shared, customer: &Customer) -> Value {
    let books = lock(&shared.books);
    let lines = books.get(&customer.name).into_iter().flat_map(|it| it.wallet(Wallet::Spot));
    lines
        .map(|(asset, amount)| {
            json!({ "ccy": asset, "bal": amount.to_string(), "availBal": amount.to_string(),
                "frozenBal": "0" })
        })
        .collect()
}

fn currencies() -> Value {
    (ASSETS.into_iter().zip(["BTC-Bitcoin", "ETH-ERC20", "USDT-TRC20"]))
        .map(|(asset, chain)| {
            json!({ "ccy": asset, "name": asset, "chain": chain, "canDep": true, "canWd": true,
                "canInternal": true, "mainNet": true, "fee": "0.8", "minFee": "0.8",
                "maxFee": "1.6", "minWd": "0.001", "maxWd": "100000", "wdTickSz": "8" })
        })
        .collect()
}

fn instruments(call: &Call) -> Value {
    let spot = |base: &str| {
        json!({ "instType": "SPOT", "instId": format!("{base}-USDT"), "baseCcy": base,
            "quoteCcy": "USDT", "settleCcy": "", "uly": "", "state": "live", "lotSz": "0.00000001",
            "minSz": "0.00001", "tickSz": "0.1", "lever": "10", "ctVal": "", "ctMult": "",
            "ctType": "", "ctValCcy": "", "expTime": "", "listTime": "1548133413000",
            "optType": "", "stk": "", "alias": "", "category": "1" })
    };
    let swap = json!({ "instType": "SWAP", "instId": "BTC-USDT-SWAP", "baseCcy": "",
        "quoteCcy": "", "settleCcy": "USDT", "uly": "BTC-USDT", "instFamily": "BTC-USDT",
        "state": "live", "lotSz": "1", "minSz": "1", "tickSz": "0.1", "lever": "100",
        "ctVal": "0.01", "ctMult": "1", "ctType": "linear", "ctValCcy": "BTC", "expTime": "",
        "listTime": "1573557408000", "optType": "", "stk": "", "alias": "", "category": "1" });
    match form(call.query().as_bytes()).get("instType").map(String::as_str) {
        Some("SPOT") => json!([spot("BTC"), spot("ETH")]),
        Some("SWAP") => json!([swap]),
        _ => json!([]),
    }
}

fn tickers(call: &Call) -> Value {
    let asked = form(call.query().as_bytes());
    let all = [
        ("SPOT", "BTC-USDT", "60000"),
        ("SPOT", "ETH-USDT", "3000"),
        ("SWAP", "BTC-USDT-SWAP", "60010"),
    ];
    (all.into_iter())
        .filter(|(_, id, _)| asked.get("instId").is_none_or(|wanted| wanted == id))
        .filter(|(kind, _, _)| asked.get("instType").is_none_or(|wanted| wanted == kind))
        .map(|(kind, id, price)| {
            json!({ "instType": kind, "instId": id, "last": price, "lastSz": "1", "askPx": price,
                "askSz": "1", "bidPx": price, "bidSz": "1", "open24h": price, "high24h": price,
                "low24h": price, "volCcy24h": "1000", "vol24h": "10", "sodUtc0": price,
                "sodUtc8": price, "ts": call.now.0.to_string() })
        })
        .collect()
}

fn text(body: &Value, name: &str) -> String {
    match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn good(data: Value) -> Answer {
    super::json(StatusCode::OK, &json!({ "code": "0", "msg": "", "data": data }))
}

fn bad(status: StatusCode, code: &str, message: &str) -> Answer {
    super::json(status, &json!({ "code": code, "msg": message, "data": [] }))
}
