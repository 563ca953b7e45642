//! From the written form to `Config`: every fault at once.
//!
//! Never opens the files that are named. Invariant: numbers of the step-up limits can be made stricter, never laxer.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::file;
use super::{
    Admin, Config, FileRef, Geo, Identity, IdentityKind, Keys, Listen, Pair, SecretRef, Site, Sms,
    SmsProvider, StoreConfig, Surveyed, Webauthn,
};
use crate::fault::{Fault, Source, suggest};
use crate::stepup::challenge::Limits;

pub(super) struct Checker<'a> {
    source: &'a Source,
    /// The same without the secrets that were found in it.
    shown: Source,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Checker<'a> {
    /// `shown` is the same text without secrets.
    pub(super) fn new(source: &'a Source, shown: Source, faults: &'a mut Vec<Fault>) -> Self {
        Self { source, shown, faults }
    }

    pub(super) fn config(&mut self, file: file::File) -> Surveyed {
        let (listen, listens) = self.listen(file.listen);
        let admin = file.admin.and_then(|admin| self.admin(&admin));
        let store = self.store(&file.store);
        let master_key = self.secret(&file.store.master_key);
        let whole = listens && store.is_some() && master_key.is_some();
        let sms = file.sms.and_then(|sms| self.sms(sms));
        let mail = file.mail.and_then(|mail| self.mail(&mail));
        let limits = self.limits(&file.limits);
        if file.site.is_empty() {
            self.fault(0..0, "there is no [[site]]").help("add one: name, hosts, upstream, policy");
        }
        self.hosts_once(&file.site);
        let parties = self.webauthn(&file.site, listen.address.port());
        let sites = file.site.into_iter().zip(parties);
        let sites = sites.filter_map(|(site, party)| self.site(site, party)).collect();
        let config = Config {
            source: self.shown.clone(),
            listen,
            admin,
            store: store.unwrap_or_else(|| StoreConfig::File(PathBuf::new())),
            master_key: master_key
                .unwrap_or_else(|| SecretRef::stand_in(file.store.master_key.span())),
            geo: Geo {
                city: file.geo.city.map(|path| self.path(&path)),
                asn: file.geo.asn.map(|path| self.path(&path)),
                lists: file.geo.lists.map(|path| self.path(&path)),
                age_max_days: file.geo.age_max_days.unwrap_or(30),
            },
            audit: self.path(&file.audit.file).path,
            sms,
            mail,
            limits,
            prices: file.prices.and_then(|prices| self.prices(prices)),
            sites,
        };
        Surveyed { config, whole }
    }

    /// And whether its address can be used.
    fn listen(&mut self, file: file::Listen) -> (Listen, bool) {
        let mut tls = Vec::new();
        match (&file.certificate, &file.key) {
            (Some(certificate), Some(key)) => {
                tls.push(Pair { certificate: self.path(certificate), key: self.path(key) })
            }
            (Some(one), None) | (None, Some(one)) => {
                self.fault(one.span(), "certificate and key belong together")
                    .help("give both, or [[listen.tls]] entries");
            }
            (None, None) if file.tls.is_empty() => {
                self.fault(file.address.span(), "the listener has no certificate")
                    .help("add `certificate` and `key` to [listen]");
            }
            (None, None) => {}
        }
        for pair in &file.tls {
            tls.push(Pair { certificate: self.path(&pair.certificate), key: self.path(&pair.key) });
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let trusted_proxies =
            file.trusted_proxies.iter().filter_map(|text| self.network(text)).collect();
        let address = self.address(&file.address);
        let listen = Listen {
            address: address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            tls,
            trusted_proxies,
            proxy_protocol: file.proxy_protocol,
            connections_max: self.at_least_one(file.connections_max.as_ref(), 10_000),
            workers: self.at_least_one(file.workers.as_ref(), cores),
            handshake_timeout_ms: file.handshake_timeout_ms.unwrap_or(10_000),
            header_timeout_ms: file.header_timeout_ms.unwrap_or(10_000),
            body_timeout_ms: file.body_timeout_ms.unwrap_or(30_000),
            stall_timeout_ms: file.stall_timeout_ms.unwrap_or(60_000),
            drain_timeout_ms: file.drain_timeout_ms.unwrap_or(30_000),
        };
        (listen, address.is_some())
    }

    fn at_least_one(&mut self, value: Option<&toml::Spanned<usize>>, default: usize) -> usize {
        match value {
            Some(value) if *value.get_ref() == 0 => {
                self.fault(value.span(), "this must be at least 1")
                    .help("leave it out for the default");
                default
            }
            Some(value) => *value.get_ref(),
            None => default,
        }
    }

    fn admin(&mut self, file: &file::Admin) -> Option<Admin> {
        let (address, token) = (self.address(&file.address), self.secret(&file.token));
        let operators = self.operators(&file.operator);
        // One alone has nobody to ask.
        let four_eyes = file.four_eyes.unwrap_or(!file.operator.is_empty());
        Some(Admin { address: address?, token: token?, operators, four_eyes })
    }

    fn sms(&mut self, file: file::Sms) -> Option<Sms> {
        let url = file.url.as_ref();
        let credentials = file.credentials.as_ref().and_then(|text| self.secret(text));
        let span = file.provider.span();
        let provider = match file.provider.get_ref().as_str() {
            "log" => {
                Some(SmsProvider::Log { file: file.file.as_ref().map(|path| self.path(path).path) })
            }
            "twilio" => {
                let url = url.map_or_else(
                    || "https://api.twilio.com".to_owned(),
                    |url| url.get_ref().clone(),
                );
                match (&file.from, credentials) {
                    (Some(from), Some(credentials)) => {
                        Some(SmsProvider::Twilio { url, from: from.get_ref().clone(), credentials })
                    }
                    _ => {
                        self.fault(span, "twilio needs `from` and `credentials`")
                            .help("credentials = \"file:secrets/sms\" with `sid:token` in it");
                        None
                    }
                }
            }
            "webhook" => match (url, credentials) {
                (Some(url), Some(credentials)) => {
                    Some(SmsProvider::Webhook { url: url.get_ref().clone(), credentials })
                }
                _ => {
                    self.fault(span, "webhook needs `url` and `credentials`")
                        .help("credentials = \"file:secrets/sms\": the key that signs the POSTs");
                    None
                }
            },
            other => {
                let help = suggest(other, ["log", "twilio", "webhook"]);
                self.fault(span, format!("unknown SMS provider `{other}`"))
                    .help(help.unwrap_or_else(|| "one of: log, twilio, webhook".to_owned()));
                None
            }
        };
        let budget = self.budget(&file.budget);
        let blocked_prefixes =
            file.blocked_prefixes.into_iter().map(toml::Spanned::into_inner).collect();
        Some(Sms { provider: provider?, blocked_prefixes, budget })
    }

    /// Stricter than the default is accepted, laxer is a fault.
    fn limits(&mut self, file: &file::Limits) -> Limits {
        let d = Limits::default();
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Limits {
            challenge_ms: self.at_most(file.challenge_s.as_ref(), d.challenge_ms / 1000) * 1000,
            attempts_max: narrow(self.at_most(file.attempts_max.as_ref(), d.attempts_max.into())),
            open_per_account_max: self
                .at_most(file.open_per_account_max.as_ref(), d.open_per_account_max as u64)
                as usize,
            grant_ms: self.at_most(file.grant_s.as_ref(), d.grant_ms / 1000) * 1000,
            failures_max: narrow(self.at_most(file.failures_max.as_ref(), d.failures_max.into())),
            block_ms: self.longer(file.block_s.as_ref(), d.block_ms / 1000, DAY_S) * 1000,
            block_max_ms: d.block_max_ms,
            failures_disable: narrow(
                self.at_most(file.failures_disable.as_ref(), d.failures_disable.into()),
            ),
            sms_code_ms: self.at_most(file.sms_code_s.as_ref(), d.sms_code_ms / 1000) * 1000,
            sms_per_10min_max: narrow(
                self.at_most(file.sms_per_10min_max.as_ref(), d.sms_per_10min_max.into()),
            ),
            sms_per_day_max: narrow(
                self.at_most(file.sms_per_day_max.as_ref(), d.sms_per_day_max.into()),
            ),
            factor_hold_ms: self.longer(
                file.factor_hold_s.as_ref(),
                d.factor_hold_ms / 1000,
                30 * DAY_S,
            ) * 1000,
            thaw_delay_ms: self.longer(
                file.thaw_delay_s.as_ref(),
                d.thaw_delay_ms / 1000,
                30 * DAY_S,
            ) * 1000,
        }
    }

    pub(super) fn at_most(&mut self, value: Option<&toml::Spanned<u64>>, limit: u64) -> u64 {
        match value {
            Some(value) if *value.get_ref() > limit => {
                self.fault(value.span(), format!("this may be at most {limit}"))
                    .help("the numbers may be made stricter, not laxer");
                limit
            }
            Some(value) => *value.get_ref(),
            None => limit,
        }
    }

    pub(super) fn longer(
        &mut self,
        value: Option<&toml::Spanned<u64>>,
        limit: u64,
        max: u64,
    ) -> u64 {
        match value {
            Some(value) if !(limit..=max).contains(value.get_ref()) => {
                self.fault(value.span(), format!("this must be between {limit} and {max}"))
                    .help("the numbers may be made stricter, not laxer");
                limit
            }
            Some(value) => *value.get_ref(),
            None => limit,
        }
    }

    fn site(&mut self, file: file::Site, webauthn: Option<Webauthn>) -> Option<Site> {
        let name = file.name.get_ref().clone();
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            self.fault(file.name.span(), "a site's name is letters, digits, `-`, `_` and `.`");
        }
        if file.upstream.get_ref().is_empty() {
            self.fault(file.upstream.span(), "the site has no upstream")
                .help("for example upstream = [\"http://127.0.0.1:9000\"]");
        }
        if file.hosts.is_empty() {
            self.fault(file.name.span(), "the site has no hosts: no request is for it")
                .help("for example hosts = [\"www.exchange.example\"]");
        }
        if let Some(accounts) = &file.accounts {
            let word = accounts.get_ref();
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if word.is_empty() || !word.bytes().all(plain) {
                self.fault(accounts.span(), "not a word that sites can share accounts under")
                    .help("letters, digits, `-`, `_` and `.`");
            }
        }
        let hosts: Vec<String> = file.hosts.iter().filter_map(|host| self.host(host)).collect();
        let address = self.site_address(file.address.as_ref(), &hosts);
        let identity =
            file.identity.into_iter().filter_map(|identity| self.identity(identity)).collect();
        Some(Site {
            address,
            hosts,
            upstream: file.upstream.get_ref().iter().map(|url| url.get_ref().clone()).collect(),
            upstream_span: file.upstream.span(),
            upstream_h2: file.upstream_h2,
            inject: file.inject,
            actions: file.actions.iter().map(|path| self.path(path)).collect(),
            policy: self.path(&file.policy),
            shadow_policy: file.shadow_policy.as_ref().map(|path| self.path(path)),
            brand: file.brand.map(|folder| self.path(&folder)),
            webauthn,
            accounts: file.accounts.map_or_else(|| name.clone(), |word| word.into_inner()).into(),
            identity,
            name: name.into(),
        })
    }

    fn host(&mut self, host: &file::Text) -> Option<String> {
        let text = host.get_ref().to_ascii_lowercase();
        let plain = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b));
        if plain && !text.ends_with('.') {
            return Some(text);
        }
        self.fault(host.span(), "not a host name")
            .help("a plain name without scheme, port or trailing dot; IDNs in their xn-- form");
        None
    }

    fn hosts_once(&mut self, sites: &[file::Site]) {
        let mut seen: Vec<(String, &str)> = Vec::new();
        for site in sites {
            for host in &site.hosts {
                let (name, text) = (site.name.get_ref().as_str(), host.get_ref().to_lowercase());
                if let Some((_, other)) = seen.iter().find(|(known, _)| *known == text) {
                    let message = format!("`{text}` belongs to the site `{other}` already");
                    self.fault(host.span(), message).help("take it out of one of the two");
                }
                seen.push((text, name));
            }
        }
    }

    fn identity(&mut self, file: file::Identity) -> Option<Identity> {
        let span = file.kind.span();
        let kind = match file.kind.get_ref().as_str() {
            "jwt" => {
                let Some(keys) = &file.keys else {
                    self.fault(span, "a jwt identity needs `keys`")
                        .help("keys = \"file:secrets/session.jwks\" or an https:// address");
                    return None;
                };
                IdentityKind::Jwt {
                    algorithms: file
                        .algorithms
                        .unwrap_or_default()
                        .into_iter()
                        .map(toml::Spanned::into_inner)
                        .collect(),
                    keys: self.keys(keys)?,
                    issuer: file.issuer.map(toml::Spanned::into_inner),
                    audience: file.audience.map(toml::Spanned::into_inner),
                }
            }
            kind @ ("api_key" | "opaque") => match (&file.accounts, file.introspect) {
                (Some(accounts), None) if kind == "api_key" => match self.secret(accounts)? {
                    SecretRef::File(accounts) => IdentityKind::ApiKeyFile { accounts },
                    SecretRef::Env { span, .. } => {
                        self.fault(span, "api keys come from a file").help("use `file:…`");
                        return None;
                    }
                },
                (None, Some(url)) => IdentityKind::Introspect {
                    url: url.into_inner(),
                    credentials: file.credentials.and_then(|text| self.secret(&text)),
                    api_key: kind == "api_key",
                },
                _ => {
                    let message = format!("an {kind} identity needs where to look accounts up");
                    self.fault(span, message).help(
                        "api_key: `accounts = \"file:…\"` or `introspect = \"http…\"`; opaque: `introspect`",
                    );
                    return None;
                }
            },
            other => {
                let help = suggest(other, ["jwt", "api_key", "opaque"]);
                self.fault(span, format!("unknown identity kind `{other}`"))
                    .help(help.unwrap_or_else(|| "one of: jwt, api_key, opaque".to_owned()));
                return None;
            }
        };
        Some(Identity {
            from_span: file.from.span(),
            from: file.from.into_inner().into_iter().map(toml::Spanned::into_inner).collect(),
            kind,
        })
    }

    fn keys(&mut self, text: &file::Text) -> Option<Keys> {
        if text.get_ref().starts_with("https://") {
            return Some(Keys::Url(text.get_ref().clone()));
        }
        match self.secret(text)? {
            SecretRef::File(file) => Some(Keys::File(file)),
            SecretRef::Env { span, .. } => {
                self.fault(span, "keys come from a file or an https:// address");
                None
            }
        }
    }

    pub(super) fn secret(&mut self, text: &file::Text) -> Option<SecretRef> {
        let span = text.span();
        let quoted = self.written(span.clone()).is_some_and(|it| it.starts_with(['"', '\'']));
        if text.get_ref().is_empty() && !quoted {
            // It stands in for something of another type, which was told.
            return None;
        }
        if let Some(path) = text.get_ref().strip_prefix("file:") {
            return Some(SecretRef::File(FileRef { path: self.join(path), span }));
        }
        if let Some(name) = text.get_ref().strip_prefix("env:") {
            return Some(SecretRef::Env { name: name.to_owned(), span });
        }
        let inside = span.start + 1..span.end.saturating_sub(1).max(span.start + 1);
        self.secret_fault(inside, "a secret is never written inline")
            .help("write `file:PATH` or `env:NAME`");
        None
    }

    fn address(&mut self, text: &file::Text) -> Option<SocketAddr> {
        let address = text.get_ref().parse().ok();
        if address.is_none() {
            self.fault(text.span(), "not an address")
                .help("for example `0.0.0.0:8443` or `[::]:8443`");
        }
        address
    }

    fn network(&mut self, text: &file::Text) -> Option<IpNet> {
        let network: Option<IpNet> = text.get_ref().parse().ok();
        let Some(network) = network else {
            self.fault(text.span(), "not a network")
                .help("for example `10.0.0.0/8` or `2001:db8::/32`");
            return None;
        };
        if network.trunc() != network {
            let message = format!("`{network}` has bits set beyond its prefix");
            let help = format!("write `{}`", network.trunc());
            self.fault(text.span(), message).help(help);
        }
        Some(network)
    }

    pub(super) fn path(&self, text: &file::Text) -> FileRef {
        FileRef { path: self.join(text.get_ref()), span: text.span() }
    }

    pub(super) fn join(&self, path: &str) -> PathBuf {
        self.source.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// What the file says there.
    pub(super) fn written(&self, span: Range<usize>) -> Option<&str> {
        self.source.text.get(span)
    }

    /// A fault about a place where a secret stands: it is shown without what stands there.
    pub(super) fn secret_fault(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Helped<'_> {
        let stars = "*".repeat(span.len());
        let text = &self.shown.text;
        let parts = (text.get(0..span.start), text.get(span.end..text.len()));
        // Nothing is shown rather than too much.
        let text = match parts {
            (Some(before), Some(behind)) => format!("{before}{stars}{behind}"),
            _ => String::new(),
        };
        self.shown = Source::new(&self.source.path, text);
        // Other faults may be about the same line.
        for fault in self.faults.iter_mut().filter(|it| it.source.path == self.source.path) {
            fault.source = self.shown.clone();
        }
        self.fault(span, message)
    }

    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>) -> Helped<'_> {
        self.faults.push(Fault::new(&self.shown, span, message));
        Helped(self.faults)
    }
}

/// Lets a fault that was just recorded say what to do.
pub(super) struct Helped<'a>(&'a mut Vec<Fault>);

impl Helped<'_> {
    pub(super) fn help(self, help: impl Into<String>) {
        if let Some(fault) = self.0.last_mut() {
            fault.help = Some(help.into());
        }
    }
}

const DAY_S: u64 = 86_400;
