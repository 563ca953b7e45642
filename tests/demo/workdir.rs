//! The demo's work directory: everything the gateway is started with, written afresh at each start.
//!
//! Never empties a directory that an earlier demo did not make. Invariant: what is in here is all the state there is,
//! so two starts behave alike.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::certs::{self, write_secret};
use crate::exchange::customers::{self, Customer};
use crate::geo;

/// File that marks a directory as ours.
const MARK: &str = ".stepgate-demo";

/// The networks alice's API key may be used from: Tokyo's.
const ALICE_NETWORK: &str = "203.0.113.0/24";

/// The directory, as it is spelled in the tour's commands.
#[derive(Clone, Debug)]
pub struct Workdir(PathBuf);

/// What the configuration needs to know of the running parts.
pub struct Facts<'a> {
    pub gateway: SocketAddr,
    /// Where browsers find it: its doors.
    pub origins: [&'a str; 3],
    pub admin: SocketAddr,
    /// Where a browser finds it.
    pub front: &'a str,
    pub exchange_url: &'a str,
    pub jwks: &'a str,
    pub issuer: &'a str,
    pub audience: &'a str,
}

impl Workdir {
    /// `DEMO_DIR`, else `target/demo`.
    pub fn from_env() -> Self {
        Self(std::env::var_os("DEMO_DIR").map_or_else(|| "target/demo".into(), PathBuf::from))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file of the directory as a command line spells it.
    pub fn spell(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Makes the directory, empty but for the mark and its folders.
    pub fn fresh(&self) -> anyhow::Result<()> {
        if self.0.is_dir() {
            let ours = self.path(MARK).exists();
            if !ours && fs::read_dir(&self.0)?.next().is_some() {
                bail!(
                    "{} is not empty and no demo made it; choose another DEMO_DIR",
                    self.0.display()
                );
            }
            fs::remove_dir_all(&self.0)?;
        }
        for folder in ["secrets", "state", "audit", "geo", "policies", "totp", "brand"] {
            fs::create_dir_all(self.path(folder))?;
        }
        fs::write(self.path(MARK), "")?;
        Ok(())
    }

    /// Everything the gateway reads at its start.
    pub fn furnish(&self, facts: &Facts<'_>) -> anyhow::Result<()> {
        certs::write(&self.0)?;
        geo::write(&self.path("geo"));
        self.copy_policies()?;
        self.write_secrets(facts)?;
        fs::write(self.path("prices.toml"), PRICES)?;
        fs::write(self.path("brand/brand.toml"), BRAND)?;
        fs::write(self.path("stepgate.toml"), configuration(facts))?;
        Ok(())
    }

    /// What the tour and the client tests use: curl's settings, the helper, all customers' keys.
    pub fn write_helpers(&self) -> anyhow::Result<()> {
        let curl = format!(
            "cacert = \"{}\"\nheader = \"Accept: application/json\"\ndump-header = \"{}\"\n\
             write-out = \"\\n%{{http_code}}\\n\"\nsilent\nshow-error\n",
            self.spell("ca.pem"),
            self.spell("head"),
        );
        fs::write(self.path("curl"), curl)?;
        let program = std::env::current_exe()?;
        let script = format!(
            "#!/bin/sh\nDEMO_DIR='{}' exec '{}' \"$@\"\n",
            self.0.display(),
            program.display()
        );
        let path = self.path("do");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let accounts: Vec<_> = customers::all().iter().map(account_card).collect();
        fs::write(self.path("accounts.json"), serde_json::to_string_pretty(&accounts)?)?;
        Ok(())
    }

    /// Copies, so that a rule can be changed while the demo runs without touching the source tree.
    fn copy_policies(&self) -> anyhow::Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let entries = fs::read_dir(&source).with_context(|| format!("{}", source.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.path().extension().is_some_and(|it| it == "toml") {
                fs::copy(entry.path(), self.path("policies").join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    fn write_secrets(&self, facts: &Facts<'_>) -> io::Result<()> {
        let secret = |name: &str, text: &str| write_secret(&self.path("secrets").join(name), text);
        secret("session.jwks", facts.jwks)?;
        secret("admin.token", &STANDARD.encode(random::<24>()))?;
        secret("master.key", &format!("1 {}\n", STANDARD.encode(random::<32>())))?;
        secret("api-keys.toml", &api_keys())?;
        secret("factors.jsonl", &factors())
    }
}

/// What the toy exchange's coins are worth, for rules that look at `usd_value`.
const PRICES: &str = "[usd]\nBTC = \"60000\"\nETH = \"3000\"\nUSDT = \"1\"\n";

/// What the gateway's own pages call the site, and where they send people who are not signed in.
const BRAND: &str = "name = \"Demo exchange\"\nsign_in = \"/login\"\n";

fn configuration(facts: &Facts<'_>) -> String {
    let origins = facts.origins.map(|origin| format!("\"{origin}\"")).join(", ");
    let webauthn = match stepgate::stepup::passkey::BUILT {
        true => format!("webauthn = {{ rp_id = \"localhost\", origins = [{origins}] }}\n"),
        false => String::new(),
    };
    let Facts { gateway, admin, front, exchange_url, issuer, audience, .. } = facts;
    format!(
        r#"# Written by the demo at each start. The README's sketch explains the keys.
[listen]
address = "{gateway}"
certificate = "gateway.pem"
key = "gateway.key"
trusted_proxies = ["127.0.0.0/8"]     # the demo's three doors
proxy_protocol = true

[admin]
address = "{admin}"
token = "file:secrets/admin.token"

[store]
url = "file:state/stepgate.db"
master_key = "file:secrets/master.key"

[geo]
city = "geo/city.mmdb"
asn = "geo/asn.mmdb"

[audit]
file = "audit/stepgate.jsonl"

[sms]
provider = "log"
file = "sms.jsonl"

[mail]
provider = "log"
file = "mail.jsonl"

[prices]
file = "prices.toml"

[[site]]
name = "demo"
hosts = ["localhost", "exchange.localhost", "127.0.0.1"]
upstream = ["{exchange_url}"]
actions = ["policies/okx.actions.toml", "policies/demo.actions.toml"]
policy = "policies/demo.policy.toml"
accounts = "demo"
inject = true
address = "{front}"                 # for links in notices
brand = "brand"                       # brand.toml, brand.css, a logo, own templates
{webauthn}
[[site.identity]]
kind = "jwt"
from = ["cookie:session", "bearer"]
algorithms = ["ES256"]
keys = "file:secrets/session.jwks"
issuer = "{issuer}"
audience = "{audience}"

[[site.identity]]
kind = "api_key"
from = ["header:OK-ACCESS-KEY"]
accounts = "file:secrets/api-keys.toml"
"#
    )
}

fn api_keys() -> String {
    let entry = |customer: &Customer| {
        let networks = if customer.name == "alice" {
            format!("networks = [\"{ALICE_NETWORK}\"]\n")
        } else {
            String::new()
        };
        format!(
            "[[key]]\nid = \"{}\"\naccount = \"{}\"\n{networks}\n",
            customer.key.id, customer.name
        )
    };
    customers::all().iter().map(entry).collect()
}

/// What `stepgate factor import` reads: one JSON object per line.
fn factors() -> String {
    let entry = |customer: &Customer| {
        let factor = match (customer.phone, customer.totp_secret()) {
            (Some(number), _) => ("phone", number.to_owned()),
            (None, secret) => ("otpauth", otpauth(&customer.name, &secret.unwrap_or_default())),
        };
        format!("{}\n", json!({ "account": customer.name, factor.0: factor.1 }))
    };
    customers::all().iter().map(entry).collect()
}

/// The address behind the QR code that an authenticator app scans.
fn otpauth(name: &str, secret: &str) -> String {
    let step = customers::TOTP_STEP_S;
    format!(
        "otpauth://totp/Demo%20exchange:{name}?secret={secret}&issuer=Demo%20exchange\
         &algorithm=SHA1&digits=6&period={step}"
    )
}

fn account_card(customer: &Customer) -> serde_json::Value {
    json!({
        "name": customer.name, "password": customers::PASSWORD, "key": customer.key.id,
        "secret": customer.key.secret, "passphrase": customer.key.passphrase,
        "totp": customer.totp_secret(), "phone": customer.phone,
    })
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
