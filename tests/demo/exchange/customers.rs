//! The demo's customers and their secrets.
//!
//! Never used by the gateway itself: it gets each secret the way an operator would bring it, through files and
//! `stepgate factor import`. Everything here is published with the source and protects nothing.

use totp_rs::{Builder, Secret, Totp};

/// Password of every customer.
pub const PASSWORD: &str = "demo";

/// Seconds that one TOTP code is shown for.
pub const TOTP_STEP_S: u64 = 30;

/// One person, or one person with a bot.
#[derive(Clone, Debug)]
pub struct Customer {
    pub name: String,
    /// Where SMS codes go; `None`: this customer has an authenticator instead.
    pub phone: Option<&'static str>,
    pub key: ApiKey,
}

/// What an OKX-shaped API client is configured with.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: String,
    pub secret: String,
    pub passphrase: String,
}

impl Customer {
    fn new(name: impl Into<String>, phone: Option<&'static str>) -> Self {
        let name = name.into();
        let key = ApiKey {
            id: format!("demo-key-{name}"),
            secret: format!("demo-secret-{name}"),
            passphrase: format!("demo-pass-{name}"),
        };
        Self { name, phone, key }
    }

    /// The shared TOTP secret in base32; `None` for a customer with a phone.
    pub fn totp_secret(&self) -> Option<String> {
        self.phone.is_none().then(|| self.secret().to_base32())
    }

    /// The authenticator app of this customer; `None` for a customer with a phone.
    pub fn authenticator(&self) -> Option<Totp> {
        let app = || Builder::new().with_secret(self.secret()).build();
        self.phone.is_none().then(|| app().expect("20 bytes are a valid TOTP secret"))
    }

    fn secret(&self) -> Secret {
        Secret::from(format!("stepgate-demo-{:*<6}", self.name).into_bytes())
    }
}

/// `alice` has an authenticator, `bob` a phone. `bot1` to `bot19` have an authenticator each, so that a client test can
/// give several codes without waiting for the next 30 s step of one account.
pub fn all() -> Vec<Customer> {
    let people = [Customer::new("alice", None), Customer::new("bob", Some("+81312345678"))];
    let bots = (1..=19).map(|number| Customer::new(format!("bot{number}"), None));
    people.into_iter().chain(bots).collect()
}

pub fn find(name: &str) -> Option<Customer> {
    all().into_iter().find(|customer| customer.name == name)
}
