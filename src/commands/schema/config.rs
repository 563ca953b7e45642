//! `stepgate.toml`.
//!
//! Never read into: these types serve the schema only; `config::file` is what is read.
#![allow(dead_code)] // Their fields are what is described.

use schemars::JsonSchema;

/// Configuration of stepgate. Paths are relative to the file; secrets are `file:…` or `env:NAME`, never inline.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "stepgate configuration")]
pub(super) struct Config {
    listen: Listen,
    admin: Option<Admin>,
    store: Store,
    geo: Option<Geo>,
    audit: Audit,
    sms: Option<Sms>,
    mail: Option<Mail>,
    limits: Option<Limits>,
    prices: Option<Prices>,
    /// One protected exchange front each.
    site: Option<Vec<Site>>,
}

/// The public listener.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Listen {
    /// Address and port.
    #[schemars(example = &"0.0.0.0:8443")]
    address: String,
    /// The certificate's chain, PEM.
    #[schemars(example = &"certs/gateway.pem")]
    certificate: Option<String>,
    /// Its key, PEM.
    #[schemars(example = &"certs/gateway.key")]
    key: Option<String>,
    /// More certificates, chosen by the name that the client asks for.
    tls: Option<Vec<Pair>>,
    /// Networks that alone may say where a client comes from.
    #[schemars(example = &["10.0.0.0/8"])]
    trusted_proxies: Option<Vec<String>>,
    /// PROXY v1 and v2 are read from the trusted proxies.
    proxy_protocol: Option<bool>,
    /// 10,000 if it is not said.
    #[schemars(range(min = 1))]
    connections_max: Option<u64>,
    /// Threads; as many as there are cores if it is not said.
    #[schemars(range(min = 1))]
    workers: Option<u64>,
    /// 10 s if it is not said.
    handshake_timeout_ms: Option<u64>,
    /// 10 s if it is not said.
    header_timeout_ms: Option<u64>,
    /// For the whole body of a guarded request; 30 s if it is not said.
    body_timeout_ms: Option<u64>,
    /// How long a client may take nothing of an answer; 60 s if it is not said.
    stall_timeout_ms: Option<u64>,
    /// How long a stop waits for requests under way; 30 s if it is not said.
    drain_timeout_ms: Option<u64>,
}

/// A certificate and its key.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Pair {
    certificate: String,
    key: String,
}

/// Health, readiness, metrics and the operators' commands; never on the public listener.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Admin {
    #[schemars(example = &"127.0.0.1:9443")]
    address: String,
    /// 16 characters or more. Whoever has it is the operator `admin`.
    token: Secret,
    /// More operators, each with a token of its own.
    operator: Option<Vec<AdminOperator>>,
    /// Whether what operators do to the factors of an account waits for a second operator's approval. If it is not said:
    /// where there are several operators. `true` refuses it where there is one, `false` lets one of several do it alone.
    four_eyes: Option<bool>,
}

/// One more operator of the admin interface.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AdminOperator {
    /// As the record names it; small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,31}$"), example = &"carol")]
    name: String,
    /// 16 characters or more, and nobody else's.
    token: Secret,
}

/// A file or an environment variable that holds the secret.
#[derive(JsonSchema)]
#[schemars(transparent, example = &"file:secrets/admin.token", example = &"env:STEPGATE_TOKEN")]
struct Secret(#[schemars(regex(pattern = r"^(file|env):.+$"))] String);

/// Where state is kept.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Store {
    /// `file:…`, `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`.
    #[schemars(
        regex(pattern = r"^(file:|rediss?(\+(sentinel|cluster))?://).+$"),
        example = &"file:state/stepgate.db",
        example = &"rediss://stepgate@redis.internal:6379/0"
    )]
    url: String,
    /// Encrypts factors at rest; one line per key: `1 <32 bytes in base64>`.
    master_key: Secret,
    /// Of Redis.
    password: Option<Secret>,
    /// Of Sentinel, if another than Redis has.
    sentinel_user: Option<String>,
    sentinel_password: Option<Secret>,
    /// Authorities that sign the server's certificate; else the system's.
    ca: Option<String>,
    /// For servers that ask for one.
    certificate: Option<String>,
    key: Option<String>,
    /// What every key begins with.
    #[schemars(example = &"stepgate")]
    prefix: Option<String>,
}

/// Where addresses are.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Geo {
    /// A database of cities in MaxMind's format.
    #[schemars(example = &"geo/GeoLite2-City.mmdb")]
    city: Option<String>,
    /// A database of networks in MaxMind's format.
    #[schemars(example = &"geo/GeoLite2-ASN.mmdb")]
    asn: Option<String>,
    /// Lists of networks of one kind.
    lists: Option<String>,
    /// An older database counts as missing; 30 if it is not said.
    age_max_days: Option<u64>,
}

/// The record of decisions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Audit {
    #[schemars(example = &"audit/stepgate.jsonl")]
    file: String,
}

/// How codes are sent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sms {
    provider: Provider,
    /// The sender's number.
    #[schemars(example = &"+15005550006")]
    from: Option<String>,
    /// Of the webhook, or of another region of Twilio.
    url: Option<String>,
    credentials: Option<Secret>,
    /// Numbers that begin so are never sent anything.
    #[schemars(example = &["+882"])]
    blocked_prefixes: Option<Vec<String>>,
    /// Where `log` writes instead of sending.
    file: Option<String>,
    budget: Option<Budget>,
}

/// What text messages may cost. The numbers can be made stricter, never laxer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Budget {
    /// Codes for one account; 5 if it is not said.
    #[schemars(range(max = 5))]
    per_account_hour_max: Option<u64>,
    /// 10 if it is not said.
    #[schemars(range(max = 10))]
    per_account_day_max: Option<u64>,
    /// Codes asked for from one /24, or one /48 in IPv6; 60 if it is not said.
    #[schemars(range(max = 60))]
    per_range_hour_max: Option<u64>,
    /// 300 if it is not said.
    #[schemars(range(max = 300))]
    per_range_day_max: Option<u64>,
    /// Codes to one country: `default` for each, and others for numbers that begin so; the longest that fits counts.
    /// 2,000 if it is not said.
    per_prefix_hour_max: Option<PerPrefix>,
    /// 10,000 if it is not said.
    per_prefix_day_max: Option<PerPrefix>,
    /// 10,000 if it is not said.
    #[schemars(range(max = 10_000))]
    overall_hour_max: Option<u64>,
    /// 50,000 if it is not said.
    #[schemars(range(max = 50_000))]
    overall_day_max: Option<u64>,
    /// Over how long it is counted how many codes to a country, or from a range, came back; 3600 if it is not said.
    #[schemars(range(min = 1_200, max = 86_400))]
    verified_window_s: Option<u64>,
    /// Fewer codes from a range say nothing; 30 if it is not said.
    #[schemars(range(max = 30))]
    verified_sent_min: Option<u64>,
    /// Fewer codes to a country say nothing; 300 if it is not said. A few phones must not stop a whole country.
    #[schemars(range(max = 300))]
    verified_prefix_sent_min: Option<u64>,
    /// If a smaller share came back, nothing more is sent there for a time; 20 if it is not said.
    #[schemars(range(min = 20, max = 100))]
    verified_percent_min: Option<u64>,
    /// For how long; 3600 if it is not said.
    #[schemars(range(min = 3_600, max = 86_400))]
    stop_s: Option<u64>,
    /// Notices are counted like codes, and left out where a budget is spent. Urgent ones (a freeze, a lock, a change of
    /// factors) to an enrolled number have a share of their own, which neither codes nor other notices can use up: so
    /// many percent of each maximum per country and overall, on top of it, and per account and number as many as
    /// codes. A stop does not hold them back. 20 if it is not said; with 0 they go by mail only.
    #[schemars(range(max = 20))]
    urgent_percent: Option<u64>,
}

/// `default`, or how numbers begin, and the most of them.
#[derive(JsonSchema)]
#[schemars(transparent, example = &serde_json::json!({ "default": 500, "+49": 200 }))]
struct PerPrefix(std::collections::BTreeMap<String, u64>);

/// `log` prints codes, for demos; the others send them.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Provider {
    Log,
    Twilio,
    Webhook,
}

/// How owners are told what happened on their account, beside text messages.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Mail {
    provider: MailProvider,
    /// `smtps://host:465`, or `smtp://host:587`, which goes on with STARTTLS only; in clear text to this machine alone.
    #[schemars(
        regex(pattern = r"^smtps?://[^@]+$"),
        example = &"smtps://mail.example:465"
    )]
    url: Option<String>,
    /// The sender: an address, alone or with a name.
    #[schemars(example = &"Example <notices@exchange.example>")]
    from: Option<String>,
    /// Authorities that sign the server's certificate; else the system's.
    ca: Option<String>,
    /// `user:password`.
    credentials: Option<Secret>,
    /// Where `log` writes instead of sending.
    file: Option<String>,
}

/// `log` writes mails down, for demos; `smtp` sends them.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum MailProvider {
    Log,
    Smtp,
}

/// Numbers of challenges and codes; they can be made stricter, never laxer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// How long a challenge is open.
    challenge_s: Option<u64>,
    /// Wrong codes on one challenge.
    attempts_max: Option<u64>,
    /// Open challenges of one account.
    open_per_account_max: Option<u64>,
    /// How long an approval waits to be used.
    grant_s: Option<u64>,
    /// Failures in a row before the account's step-up is blocked.
    failures_max: Option<u64>,
    /// For how long.
    block_s: Option<u64>,
    /// Failures in a row before a factor is disabled.
    failures_disable: Option<u64>,
    /// How long a code by text message can be used.
    sms_code_s: Option<u64>,
    /// To one number.
    sms_per_10min_max: Option<u64>,
    /// To one number.
    sms_per_day_max: Option<u64>,
    /// How long a factor that its owner enrolled approves nothing.
    factor_hold_s: Option<u64>,
    /// How long a freeze still holds after its owner asked, with a strong factor, to lift it; 86400 if it is not said.
    #[schemars(range(min = 86_400, max = 2_592_000))]
    thaw_delay_s: Option<u64>,
}

/// What assets are worth: from a `file`, or from the `url` of a ticker.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Prices {
    /// `[usd]` with `BTC = "64250.5"`.
    #[schemars(example = &"prices.toml")]
    file: Option<String>,
    /// A ticker, over https; http is for this machine only.
    #[schemars(example = &"https://www.okx.com/api/v5/market/tickers?instType=SPOT")]
    url: Option<String>,
    /// How often the ticker is asked; 60 if it is not said.
    #[schemars(range(min = 1, max = 86_400))]
    every_s: Option<u64>,
    /// Older prices say nothing; 900 if it is not said.
    age_max_s: Option<u64>,
    /// Where the ticker's answer says which instrument.
    #[schemars(regex(pattern = r"^json.*\[\]"), example = &"json.data[].instId")]
    symbol: Option<String>,
    /// Where it says its price.
    #[schemars(regex(pattern = r"^json.*\[\]"), example = &"json.data[].last")]
    price: Option<String>,
    /// What stands between asset and quote; nothing if it is not said.
    #[schemars(example = &"-")]
    separator: Option<String>,
    /// Quotes that count as one dollar each.
    #[schemars(example = &["USDT", "USD"])]
    usd: Option<Vec<String>>,
}

/// One protected exchange front.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Site {
    #[schemars(example = &"main")]
    name: String,
    /// Host names that it answers to, without scheme or port.
    #[schemars(example = &["exchange.example"])]
    hosts: Vec<String>,
    /// Where the exchange is.
    #[schemars(example = &["http://127.0.0.1:9000"])]
    upstream: Vec<String>,
    /// The exchange is spoken to in HTTP/2.
    upstream_h2: Option<bool>,
    /// Puts the script of the dialog into the head of HTML pages, so that no page has to be changed.
    inject: Option<bool>,
    /// Packs.
    #[schemars(example = &["policies/okx.actions.toml"])]
    actions: Option<Vec<String>>,
    #[schemars(example = &"policies/exchange.policy.toml")]
    policy: String,
    /// A policy that decides beside it, for the record only.
    #[schemars(example = &"policies/next.policy.toml")]
    shadow_policy: Option<String>,
    /// A folder with `brand.toml`, `brand.css`, a logo and templates: the look of this site's pages.
    #[schemars(example = &"brand")]
    brand: Option<String>,
    /// Where people reach it: what links in notices begin with; https:// and the first host if it is not said.
    #[schemars(regex(pattern = r"^https://[^/@]+$"), example = &"https://exchange.example:8443")]
    address: Option<String>,
    /// Passkeys; without it they are for the first host, asked for on every host that is it or below it.
    webauthn: Option<Webauthn>,
    /// Sites with the same word share accounts, freezes and geography; the site's name if it is not said.
    accounts: Option<String>,
    /// Who is asking: tried in order.
    identity: Option<Vec<Identity>>,
}

/// Whose passkeys are asked for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Webauthn {
    /// The domain that passkeys are made for, one for all sites that share accounts. Another makes all of them useless.
    #[schemars(example = &"exchange.example")]
    rp_id: Option<String>,
    /// Pages whose answers are taken: `https://host`, with the port that browsers see if it is not 443.
    #[schemars(example = &["https://exchange.example"], inner(regex(pattern = r"^https://[^/]+$")))]
    origins: Option<Vec<String>>,
}

/// One way to know who is asking.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Identity {
    kind: IdentityKind,
    /// `cookie:NAME`, `bearer`, `header:NAME` or `authorization:SCHEME:NAME`.
    #[schemars(example = &["cookie:session", "bearer"])]
    from: Vec<String>,
    /// Of `jwt`.
    algorithms: Option<Vec<Algorithm>>,
    /// Of `jwt`: a JWKS file or an https:// address.
    #[schemars(example = &"file:secrets/session.jwks")]
    keys: Option<String>,
    /// Of `jwt`.
    issuer: Option<String>,
    /// Of `jwt`.
    audience: Option<String>,
    /// Of `api_key`: a file with `[[key]] id, account, networks`.
    #[schemars(example = &"file:secrets/api-keys.toml")]
    accounts: Option<String>,
    /// Of `opaque` and `api_key`: an RFC 7662 address.
    introspect: Option<String>,
    /// For the introspection.
    credentials: Option<Secret>,
}

/// Signed token, key of an API, or opaque session.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum IdentityKind {
    Jwt,
    ApiKey,
    Opaque,
}

/// A signature that is believed.
#[derive(JsonSchema)]
enum Algorithm {
    #[schemars(rename = "ES256")]
    Es256,
    #[schemars(rename = "ES384")]
    Es384,
    #[schemars(rename = "EdDSA")]
    EdDsa,
    #[schemars(rename = "RS256")]
    Rs256,
    #[schemars(rename = "RS384")]
    Rs384,
    #[schemars(rename = "RS512")]
    Rs512,
    #[schemars(rename = "PS256")]
    Ps256,
    #[schemars(rename = "PS384")]
    Ps384,
    #[schemars(rename = "PS512")]
    Ps512,
    #[schemars(rename = "HS256")]
    Hs256,
    #[schemars(rename = "HS384")]
    Hs384,
    #[schemars(rename = "HS512")]
    Hs512,
}
