//! What passes is passed as it came: byte for byte, in constant memory, both ways, over HTTP/1.1 and HTTP/2.

mod assertion;
mod exact;
mod headers;
mod large;
mod longer;
mod websocket;
mod wire;

/// One guarded action; everything else passes.
pub const PACK: &str = r#"version = 1
exchange = "plain"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "withdrawal"
match = ["POST /withdraw"]
body = "json"
fields = { asset = "json.ccy", amount = "json.amt", address = "json.to" }
need = ["asset", "amount", "address"]
show = ["amount", "asset", "address"]
sample = '{"ccy":"BTC","amt":"1","to":"bc1q"}'
"#;

pub const RULES: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp"
"#;
