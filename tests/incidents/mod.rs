//! The attacks of the past through the gateway, one function per row, with the policy and the pack as shipped.

mod okex_2017;
mod okx_2024;

use crate::client::{Answer, Client};
use crate::kit::Kit;
use crate::world::World;

/// The policy as shipped.
const POLICY: &str = include_str!("../../policies/exchange.policy.toml");
const BALANCE: &str = "/api/v5/account/balance";

const MOSCOW: &str = "198.18.0.20";
const AMSTERDAM: &str = "192.0.2.20";

/// This account's new session at this address.
fn session_at(world: &World, account: &str, session: &str, address: &str) -> Client {
    let token = world.kit.token(account, session, world.now().seconds());
    world.client().from(address).with("authorization", format!("Bearer {token}"))
}

/// Answers a challenge with the authenticator's code.
async fn approve(world: &World, client: &Client, challenge: &str) -> Answer {
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    client.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await
}

/// A second site on the same exchange, with the policy as shipped and this `accounts` word.
fn sister(accounts: &str) -> String {
    format!(
        r#"[[site]]
name = "sister"
hosts = ["other.example"]
upstream = ["http://{{upstream}}"]
actions = ["policies/site.actions.toml"]
policy = "policies/site.policy.toml"
accounts = "{accounts}"

[[site.identity]]
kind = "jwt"
from = ["cookie:session", "bearer"]
algorithms = ["ES256"]
keys = "file:secrets/session.jwks"
issuer = "https://exchange.example"
audience = "exchange"
"#
    )
}

/// The same client on the sister site.
fn at_sister(kit: &Kit, world: &World, client: &Client) -> Client {
    let mut sister = Client::new(world.running.address(), &kit.ca_pem, "other.example");
    sister.headers = client.headers.clone();
    sister
}
