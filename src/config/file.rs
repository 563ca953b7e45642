//! The written form of `stepgate.toml`.
//!
//! Never leaves this folder: `check` turns it into `Config`. Unknown keys are errors.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub listen: Listen,
    pub admin: Option<Admin>,
    pub store: Store,
    #[serde(default)]
    pub geo: Geo,
    pub audit: Audit,
    pub sms: Option<Sms>,
    pub mail: Option<Mail>,
    #[serde(default)]
    pub limits: Limits,
    pub prices: Option<Spanned<Prices>>,
    #[serde(default)]
    pub site: Vec<Site>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub address: Text,
    pub certificate: Option<Text>,
    pub key: Option<Text>,
    #[serde(default)]
    pub tls: Vec<Pair>,
    #[serde(default)]
    pub trusted_proxies: Vec<Text>,
    #[serde(default)]
    pub proxy_protocol: bool,
    pub connections_max: Option<Spanned<usize>>,
    pub workers: Option<Spanned<usize>>,
    pub handshake_timeout_ms: Option<u64>,
    pub header_timeout_ms: Option<u64>,
    pub body_timeout_ms: Option<u64>,
    pub stall_timeout_ms: Option<u64>,
    pub drain_timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub certificate: Text,
    pub key: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub address: Text,
    pub token: Text,
    #[serde(default)]
    pub operator: Vec<AdminOperator>,
    pub four_eyes: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminOperator {
    pub name: Text,
    pub token: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub url: Text,
    pub master_key: Text,
    pub password: Option<Text>,
    pub sentinel_user: Option<Text>,
    pub sentinel_password: Option<Text>,
    pub ca: Option<Text>,
    pub certificate: Option<Text>,
    pub key: Option<Text>,
    pub prefix: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Geo {
    pub city: Option<Text>,
    pub asn: Option<Text>,
    pub lists: Option<Text>,
    pub age_max_days: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub file: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    pub provider: Text,
    pub from: Option<Text>,
    pub url: Option<Text>,
    pub credentials: Option<Text>,
    #[serde(default)]
    pub blocked_prefixes: Vec<Text>,
    pub file: Option<Text>,
    #[serde(default)]
    pub budget: Budget,
}

pub(super) type Count = Option<Spanned<u64>>;
/// `default`, and prefixes of numbers.
pub(super) type PerPrefix = BTreeMap<Text, Spanned<u64>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    pub per_account_hour_max: Count,
    pub per_account_day_max: Count,
    pub per_range_hour_max: Count,
    pub per_range_day_max: Count,
    #[serde(default)]
    pub per_prefix_hour_max: PerPrefix,
    #[serde(default)]
    pub per_prefix_day_max: PerPrefix,
    pub overall_hour_max: Count,
    pub overall_day_max: Count,
    pub verified_window_s: Count,
    pub verified_sent_min: Count,
    pub verified_prefix_sent_min: Count,
    pub verified_percent_min: Count,
    pub stop_s: Count,
    /// What is kept for notices that nobody may be able to starve: see `Budget::urgent_percent`.
    pub urgent_percent: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    pub provider: Text,
    pub url: Option<Text>,
    pub from: Option<Text>,
    pub ca: Option<Text>,
    pub credentials: Option<Text>,
    pub file: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub challenge_s: Option<Spanned<u64>>,
    pub attempts_max: Option<Spanned<u64>>,
    pub open_per_account_max: Option<Spanned<u64>>,
    pub grant_s: Option<Spanned<u64>>,
    pub failures_max: Option<Spanned<u64>>,
    pub block_s: Option<Spanned<u64>>,
    pub failures_disable: Option<Spanned<u64>>,
    pub sms_code_s: Option<Spanned<u64>>,
    pub sms_per_10min_max: Option<Spanned<u64>>,
    pub sms_per_day_max: Option<Spanned<u64>>,
    pub factor_hold_s: Option<Spanned<u64>>,
    pub thaw_delay_s: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    pub file: Option<Text>,
    pub url: Option<Text>,
    pub every_s: Option<Spanned<u64>>,
    pub age_max_s: Option<u64>,
    pub symbol: Option<Text>,
    pub price: Option<Text>,
    pub separator: Option<Text>,
    pub usd: Option<Spanned<Vec<Text>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub name: Text,
    pub hosts: Vec<Text>,
    pub upstream: Spanned<Vec<Text>>,
    #[serde(default)]
    pub upstream_h2: bool,
    #[serde(default)]
    pub inject: bool,
    #[serde(default)]
    pub actions: Vec<Text>,
    pub policy: Text,
    pub shadow_policy: Option<Text>,
    pub accounts: Option<Text>,
    pub brand: Option<Text>,
    pub address: Option<Text>,
    pub webauthn: Option<Spanned<Webauthn>>,
    #[serde(default)]
    pub identity: Vec<Identity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webauthn {
    pub rp_id: Option<Text>,
    pub origins: Option<Spanned<Vec<Text>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub kind: Text,
    pub from: Spanned<Vec<Text>>,
    pub algorithms: Option<Vec<Text>>,
    pub keys: Option<Text>,
    pub issuer: Option<Text>,
    pub audience: Option<Text>,
    pub accounts: Option<Text>,
    pub introspect: Option<Text>,
    pub credentials: Option<Text>,
}
