//! A complete working directory for a gateway, made on the spot: certificates, keys, GeoIP files, tokens, configuration.
//!
//! Shared by the integration tests and the benches; nothing in it is a secret of anybody's.
#![allow(dead_code)] // Each of the programs that include this file uses a part of it.

#[path = "../fixtures/geo/make.rs"]
pub mod geo;
pub mod redis;
pub mod smtp;
pub mod twilio;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use stepgate::crypto::SigningKey;

/// Host name of the site under test.
pub const HOST: &str = "exchange.example";
/// Where the account is at home, and where it is not (see `geo`).
pub const TOKYO: &str = "203.0.113.10";
pub const FRANKFURT: &str = "198.51.100.7";
/// 20 bytes, base32.
pub const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// The directory and what signs sessions in it.
pub struct Kit {
    pub dir: PathBuf,
    pub ca_pem: String,
    sessions: SigningKey,
}

/// What may differ between two kits.
pub struct Options<'a> {
    pub upstream: SocketAddr,
    pub policy: &'a str,
    pub pack: &'a str,
    /// More lines for `stepgate.toml`, each a whole table. `{upstream}` stands for the upstream's address.
    pub extra: &'a str,
    pub workers: usize,
    pub sms: bool,
}

/// A policy that asks for a code where the tests want one.
pub const POLICY: &str = r#"version = 1

[[rule]]
id = "remote-login"
on = "*"
when = "geo.new_country"
require = "totp or sms"
valid = "session"
notify = true

[[rule]]
id = "contract-to-spot"
on = "transfer"
when = "transfer.from is contract and transfer.to is spot"
require = "totp or sms"

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp or sms"
"#;

impl Kit {
    /// Writes everything below `dir`.
    pub fn write(dir: &Path, options: &Options<'_>) -> Self {
        for folder in ["secrets", "state", "audit", "geo", "policies"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let ca_pem = certificates(dir);
        let secret = SigningKey::generate().unwrap();
        let sessions = SigningKey::from_pkcs8(secret.expose()).unwrap();
        let jwks = json!({ "keys": [sessions.jwk()] }).to_string();
        let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        put("secrets/session.jwks", &jwks);
        put("secrets/master.key", &format!("k1 {}\n", STANDARD.encode([7; 32])));
        put("secrets/admin.token", "a-token-for-the-tests-only");
        put("secrets/api-keys.toml", API_KEYS);
        put("policies/site.policy.toml", options.policy);
        put("policies/site.actions.toml", options.pack);
        geo::write(&dir.join("geo"));
        put("stepgate.toml", &configuration(options));
        Self { dir: dir.to_owned(), ca_pem, sessions }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("stepgate.toml")
    }

    /// The configuration of one of several gateways: its own logs, the common store.
    pub fn config_of(&self, number: usize, store: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let text = text
            .replace("file:state/stepgate.db", store)
            .replace("audit/stepgate.jsonl", &format!("audit/stepgate-{number}.jsonl"))
            .replace("state/sms.txt", &format!("state/sms-{number}.txt"));
        let file = self.dir.join(format!("stepgate-{number}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A session token of this account, valid from `now` (unix seconds) for 12 hours.
    pub fn token(&self, account: &str, session: &str, now: i64) -> String {
        self.token_with(account, session, now, &json!({}))
    }

    /// The same with more claims.
    pub fn token_with(
        &self,
        account: &str,
        session: &str,
        now: i64,
        more: &serde_json::Value,
    ) -> String {
        let mut claims = json!({
            "iss": "https://exchange.example", "aud": "exchange", "sub": account, "sid": session,
            "iat": now, "auth_time": now, "exp": now + 43_200,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        self.sessions.sign_jws("JWT", &claims).unwrap()
    }
}

const API_KEYS: &str = r#"[[key]]
id = "key-alice"
account = "alice"

[[key]]
id = "key-bob"
account = "bob"
networks = ["203.0.113.0/24"]
"#;

/// Writes a CA and a leaf for the site, `gateway.pem` and `gateway.key`; answers the CA.
pub fn certificates(dir: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = [HOST, "other.example", "localhost", "127.0.0.1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names.to_vec()).unwrap();
    // Not the authority's name, which OpenSSL would take for signing itself.
    leaf.distinguished_name.push(DnType::CommonName, HOST);
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    std::fs::write(dir.join("gateway.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("gateway.key"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    ca.pem()
}

fn configuration(options: &Options<'_>) -> String {
    let sms =
        if options.sms { "[sms]\nprovider = \"log\"\nfile = \"state/sms.txt\"\n" } else { "" };
    format!(
        r#"[listen]
address = "127.0.0.1:0"
certificate = "gateway.pem"
key = "gateway.key"
trusted_proxies = ["127.0.0.0/8"]
workers = {workers}

[admin]
address = "127.0.0.1:0"
token = "file:secrets/admin.token"
four_eyes = false
[store]
url = "file:state/stepgate.db"
master_key = "file:secrets/master.key"

[geo]
city = "geo/city.mmdb"
asn = "geo/asn.mmdb"

[audit]
file = "audit/stepgate.jsonl"

{sms}
{extra}
[[site]]
name = "main"
hosts = ["{HOST}", "localhost"]
upstream = ["http://{upstream}"]
actions = ["policies/site.actions.toml"]
policy = "policies/site.policy.toml"
accounts = "main"

[[site.identity]]
kind = "jwt"
from = ["cookie:session", "bearer"]
algorithms = ["ES256"]
keys = "file:secrets/session.jwks"
issuer = "https://exchange.example"
audience = "exchange"

[[site.identity]]
kind = "api_key"
from = ["header:OK-ACCESS-KEY"]
accounts = "file:secrets/api-keys.toml"
"#,
        workers = options.workers,
        upstream = options.upstream,
        extra = options.extra.replace("{upstream}", &options.upstream.to_string()),
    )
}
