//! Whole journeys of customers, each through a running gateway in front of a recording exchange.

mod browser_form;
mod counters;
mod evidence;
mod http2;
mod inject;
mod inline_code;
mod lockout;
mod not_me;
mod remote_login;
mod routes;
mod sms;
mod transfer;
mod young_address;

/// Contract to spot in OKX's shape.
pub const TO_SPOT: &str = r#"{"ccy":"USDT","amt":"100","from":"18","to":"6","type":"0"}"#;
pub const TRANSFER: &str = "/api/v5/asset/transfer";
pub const WITHDRAW: &str = "/api/v5/asset/withdrawal";

/// A withdrawal in OKX's shape.
pub fn withdrawal(amount: &str, address: &str) -> String {
    format!(
        r#"{{"ccy":"USDT","amt":"{amount}","toAddr":"{address}","dest":"4","chain":"USDT-TRC20","fee":"0.8"}}"#
    )
}
