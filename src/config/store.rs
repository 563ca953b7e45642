//! `[store]`: one file, or Redis servers and how to reach them.
//!
//! Never shows a password, not even one that somebody wrote where it does not belong. Invariant: what is said of Redis
//! is either used or a fault.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::check::Checker;
use super::{Config, FileRef, SecretRef, file};
use crate::fault::{Fault, Source, suggest};
use crate::store::redis::{Server, Settings, Tls, Topology};

/// Where the state is kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    File(PathBuf),
    Redis(Box<RedisStore>),
}

/// Redis servers, as written; secrets and certificates are still in their files.
#[derive(Clone, Debug)]
pub struct RedisStore {
    pub topology: Topology,
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<SecretRef>,
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<SecretRef>,
    pub ca: Option<FileRef>,
    pub certificate: Option<FileRef>,
    pub key: Option<FileRef>,
    pub database: u16,
    pub prefix: String,
}

/// How long a sentence waits for its answer.
const DEADLINE: Duration = Duration::from_millis(250);
const PREFIX: &str = "stepgate";
const SCHEMES: [&str; 7] = [
    "file:",
    "redis://",
    "rediss://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
];

impl Config {
    /// What a Redis store is opened with; `None` if the store is a file, or something is at fault.
    pub fn redis_settings(&self, faults: &mut Vec<Fault>) -> Option<Settings> {
        let StoreConfig::Redis(redis) = &self.store else { return None };
        let before = faults.len();
        let mut secret = |secret: &Option<SecretRef>| {
            let text = self.secret(secret.as_ref()?, faults)?;
            Some(text.text.trim().to_owned().into())
        };
        let (password, sentinel_password) =
            (secret(&redis.password), secret(&redis.sentinel_password));
        let tls = redis.tls.then(|| self.redis_tls(redis, faults));
        (faults.len() == before).then(|| Settings {
            topology: redis.topology.clone(),
            user: redis.user.clone(),
            password,
            sentinel_user: redis.sentinel_user.clone(),
            sentinel_password,
            tls,
            database: redis.database,
            prefix: redis.prefix.clone(),
            deadline: DEADLINE,
        })
    }

    fn redis_tls(&self, redis: &RedisStore, faults: &mut Vec<Fault>) -> Tls {
        let is_certificate =
            |pem: &[u8]| matches!(CertificateDer::pem_slice_iter(pem).next(), Some(Ok(_)));
        let mut pem = |file: &Option<FileRef>, what: &str, is: &dyn Fn(&[u8]) -> bool| {
            let source = self.read(file.as_ref()?, faults)?;
            if !is(source.text.as_bytes()) {
                let message = format!("there is no {what} in this file");
                // Without its text: it may be another secret.
                let nameless = Source::new(&source.path, "");
                faults.push(Fault::new(&nameless, 0..0, message).help("it must be PEM"));
            }
            Some(source.text.as_bytes().to_vec())
        };
        let authorities = pem(&redis.ca, "certificate", &is_certificate);
        let chain = pem(&redis.certificate, "certificate", &is_certificate);
        let key = pem(&redis.key, "private key", &|pem| PrivateKeyDer::from_pem_slice(pem).is_ok());
        Tls { authorities, identity: chain.zip(key.map(Into::into)) }
    }
}

/// The parts of `scheme://user@hosts/path`, each with where it stands in the URL.
struct Parts<'a> {
    tls: bool,
    kind: Kind,
    user: Option<&'a str>,
    hosts: &'a str,
    hosts_at: usize,
    path: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

impl Kind {
    fn port(self) -> u16 {
        if self == Self::Sentinel { 26_379 } else { 6_379 }
    }
}

impl Checker<'_> {
    pub(super) fn store(&mut self, store: &file::Store) -> Option<StoreConfig> {
        let (url, span) = (store.url.get_ref(), store.url.span());
        if let Some(path) = url.strip_prefix("file:") {
            self.only_for_redis(store);
            return Some(StoreConfig::File(self.join(path)));
        }
        let Some(parts) = parts(url) else {
            let near = url.split_inclusive("//").next().and_then(|it| suggest(it, SCHEMES));
            // Before an `@` there may be a password.
            let fault = match url.contains('@') {
                true => self.secret_fault(span, "not a store URL"),
                false => self.fault(span, "not a store URL"),
            };
            fault.help(near.unwrap_or_else(|| {
                "for example `file:state/stepgate.db` or `redis://10.0.0.5:6379`".to_owned()
            }));
            return None;
        };
        // One fault, which hides the password; others would show the line.
        let is_clean = !self.has_password_in(store, &parts);
        let topology = is_clean.then(|| self.topology(store, &parts)).flatten();
        let database = is_clean.then(|| self.database(store, &parts)).flatten();
        let prefix = self.prefix(store);
        self.belonging_together(store, &parts);
        let password = store.password.as_ref().and_then(|text| self.secret(text));
        let sentinel_password = store.sentinel_password.as_ref().and_then(|text| self.secret(text));
        let text = |text: &Option<file::Text>| text.as_ref().map(|text| text.get_ref().clone());
        Some(StoreConfig::Redis(Box::new(RedisStore {
            topology: topology?,
            tls: parts.tls,
            user: parts.user.map(str::to_owned),
            password,
            sentinel_user: text(&store.sentinel_user),
            sentinel_password,
            ca: store.ca.as_ref().map(|path| self.path(path)),
            certificate: store.certificate.as_ref().map(|path| self.path(path)),
            key: store.key.as_ref().map(|path| self.path(path)),
            database: database?,
            prefix: prefix?,
        })))
    }

    fn only_for_redis(&mut self, store: &file::Store) {
        for (name, value) in [
            ("password", &store.password),
            ("sentinel_user", &store.sentinel_user),
            ("sentinel_password", &store.sentinel_password),
            ("ca", &store.ca),
            ("certificate", &store.certificate),
            ("key", &store.key),
            ("prefix", &store.prefix),
        ] {
            if let Some(value) = value {
                self.fault(value.span(), format!("`{name}` is for a Redis store"))
                    .help("take it out, or let `url` begin with `redis://`");
            }
        }
    }

    fn has_password_in(&mut self, store: &file::Store, parts: &Parts<'_>) -> bool {
        let Some((user, password)) = parts.user.and_then(|user| user.split_once(':')) else {
            return false;
        };
        let end = parts.hosts_at.saturating_sub(1);
        let span = self.within(&store.url, end.saturating_sub(password.len())..end);
        self.secret_fault(span, "a password is never written into a URL").help(format!(
            "write `{}@…` here and `password = \"file:PATH\"` or `\"env:NAME\"` below",
            if user.is_empty() { "user" } else { user }
        ));
        true
    }

    fn topology(&mut self, store: &file::Store, parts: &Parts<'_>) -> Option<Topology> {
        let (mut servers, mut at, mut good) = (Vec::new(), parts.hosts_at, true);
        for host in parts.hosts.split(',') {
            match server(host, parts.kind.port()) {
                Some(server) => servers.push(server),
                None => {
                    let span = self.within(&store.url, at..at + host.len());
                    self.fault(span, "not a host and port")
                        .help("for example `10.0.0.5:6379`, `redis-1` or `[2001:db8::5]:6379`");
                    good = false;
                }
            }
            at += host.len() + 1;
        }
        if !good {
            return None;
        }
        match parts.kind {
            Kind::Cluster => Some(Topology::Cluster(servers)),
            Kind::Single if servers.len() == 1 => servers.pop().map(Topology::Single),
            Kind::Single => {
                self.fault(store.url.span(), "this names more than one server").help(
                    "`redis+sentinel://…/NAME` for a master and its replicas, `redis+cluster://…` for a Cluster",
                );
                None
            }
            Kind::Sentinel => {
                let name = parts.path.and_then(|path| path.split('/').next());
                match name.filter(|name| !name.is_empty()) {
                    Some(name) => {
                        Some(Topology::Sentinel { sentinels: servers, master: name.to_owned() })
                    }
                    None => {
                        self.fault(store.url.span(), "the master's name is missing").help(
                            "end with what `sentinel monitor` calls it: `redis+sentinel://h1,h2/NAME`",
                        );
                        None
                    }
                }
            }
        }
    }

    /// The number behind the last slash.
    fn database(&mut self, store: &file::Store, parts: &Parts<'_>) -> Option<u16> {
        let text = match (parts.kind, parts.path) {
            (_, None) => return Some(0),
            (Kind::Sentinel, Some(path)) => match path.split_once('/') {
                Some((_name, number)) => number,
                None => return Some(0),
            },
            (_, Some(path)) => path,
        };
        if text.is_empty() {
            return Some(0);
        }
        let url = store.url.get_ref();
        let span = self.within(&store.url, url.len() - text.len()..url.len());
        match text.parse() {
            Ok(0) => Some(0),
            Ok(_) if parts.kind == Kind::Cluster => {
                self.fault(span, "a Cluster has only the database 0").help("take it out");
                None
            }
            Ok(number) => Some(number),
            Err(_) => {
                self.fault(span, "not the number of a database").help("for example `/0`");
                None
            }
        }
    }

    fn prefix(&mut self, store: &file::Store) -> Option<String> {
        let Some(prefix) = &store.prefix else { return Some(PREFIX.to_owned()) };
        let text = prefix.get_ref();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Some(text.clone());
        }
        self.fault(prefix.span(), "a prefix is 1 to 64 letters, digits, `-` and `_`")
            .help("gateways with the same prefix share their state");
        None
    }

    fn belonging_together(&mut self, store: &file::Store, parts: &Parts<'_>) {
        for (name, value) in
            [("ca", &store.ca), ("certificate", &store.certificate), ("key", &store.key)]
        {
            if let (Some(value), false) = (value, parts.tls) {
                self.fault(value.span(), format!("`{name}` is for TLS, and this URL is without"))
                    .help("let `url` begin with `rediss`");
            }
        }
        if let (Some(one), None) | (None, Some(one)) = (&store.certificate, &store.key) {
            self.fault(one.span(), "certificate and key belong together").help("give both");
        }
        for (name, value) in [
            ("sentinel_user", &store.sentinel_user),
            ("sentinel_password", &store.sentinel_password),
        ] {
            if let (Some(value), true) = (value, parts.kind != Kind::Sentinel) {
                self.fault(value.span(), format!("`{name}` is for sentinels, and there are none"))
                    .help("take it out, or let `url` begin with `redis+sentinel://`");
            }
        }
        if let (Some(user), None) = (&store.sentinel_user, &store.sentinel_password) {
            self.fault(user.span(), "the sentinels' user has no password")
                .help("add `sentinel_password = \"file:PATH\"`");
        }
        let in_url = parts.user.is_some_and(|user| user.contains(':'));
        if parts.user.is_some() && store.password.is_none() && !in_url {
            self.fault(store.url.span(), "this user has no password")
                .help("add `password = \"file:PATH\"` or `\"env:NAME\"` to [store]");
        }
    }

    /// Where a part of a text stands in the file, if it is written there as it is read.
    fn within(&self, text: &file::Text, part: Range<usize>) -> Range<usize> {
        let span = text.span();
        let inside = span.start + 1..span.start + 1 + text.get_ref().len();
        match self.written(inside.clone()) == Some(text.get_ref()) {
            true => inside.start + part.start..inside.start + part.end,
            false => span,
        }
    }
}

fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (tls, kind) = match scheme {
        "redis" => (false, Kind::Single),
        "rediss" => (true, Kind::Single),
        "redis+sentinel" => (false, Kind::Sentinel),
        "rediss+sentinel" => (true, Kind::Sentinel),
        "redis+cluster" => (false, Kind::Cluster),
        "rediss+cluster" => (true, Kind::Cluster),
        _ => return None,
    };
    // A password that somebody put there may hold anything.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (hosts, path) = match rest.split_once('/') {
        Some((hosts, path)) => (hosts, Some(path)),
        None => (rest, None),
    };
    let hosts_at = url.len() - rest.len();
    Some(Parts { tls, kind, user, hosts, hosts_at, path })
}

fn server(text: &str, port: u16) -> Option<Server> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (host, behind) = inside.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match behind {
                "" => port,
                behind => behind.strip_prefix(':')?.parse().ok()?,
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, port),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (!host.is_empty() && host.bytes().all(plain) && port > 0)
        .then(|| Server { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(lines: &str) -> Result<StoreConfig, Vec<String>> {
        let text = format!(
            "[listen]\naddress = \"0.0.0.0:1\"\ncertificate = \"a\"\nkey = \"b\"\n[audit]\nfile = \"x\"\n\
             [[site]]\nname = \"m\"\nhosts = [\"h\"]\nupstream = [\"http://h\"]\npolicy = \"p\"\n\
             [store]\nmaster_key = \"file:k\"\n{lines}\n"
        );
        match super::super::parse(&Source::new("stepgate.toml", text)) {
            Ok(config) => Ok(config.store),
            Err(faults) => Err(faults.into_iter().map(|fault| fault.message).collect()),
        }
    }

    fn redis(url: &str) -> RedisStore {
        match store(&format!("url = {url:?}\npassword = \"env:P\"")) {
            Ok(StoreConfig::Redis(redis)) => *redis,
            other => panic!("{url}: {other:?}"),
        }
    }

    fn at(host: &str, port: u16) -> Server {
        Server { host: host.to_owned(), port }
    }

    #[test]
    fn each_kind_of_url_is_read() {
        let one = redis("redis://gate@10.0.0.5/3");
        assert_eq!(one.topology, Topology::Single(at("10.0.0.5", 6_379)));
        assert_eq!((one.user.as_deref(), one.database, one.tls), (Some("gate"), 3, false));
        assert_eq!(one.prefix, "stepgate");
        let v6 = redis("rediss://[2001:db8::5]:7000");
        assert_eq!(v6.topology, Topology::Single(at("2001:db8::5", 7_000)));
        assert!(v6.tls);
        let sentinels = vec![at("a", 26_379), at("b", 1)];
        let watched = redis("rediss+sentinel://gate@a,b:1/main/2");
        assert_eq!(watched.topology, Topology::Sentinel { sentinels, master: "main".to_owned() });
        assert_eq!((watched.database, watched.tls), (2, true));
        let cluster = redis("redis+cluster://a:1,b:2,c");
        assert_eq!(
            cluster.topology,
            Topology::Cluster(vec![at("a", 1), at("b", 2), at("c", 6_379)])
        );
    }

    #[test]
    fn a_url_that_says_too_much_or_too_little_is_refused() {
        for (url, wanted) in [
            ("redis://a,b", "this names more than one server"),
            ("redis+sentinel://a,b", "the master's name is missing"),
            ("redis+sentinel://a/main/x", "not the number of a database"),
            ("redis+cluster://a/1", "a Cluster has only the database 0"),
            ("redis://", "not a host and port"),
            ("redis://a:0", "not a host and port"),
            ("redis://a?protocol=resp3", "not a host and port"),
            ("redis://gate@a", "this user has no password"),
            ("memcached://a", "not a store URL"),
            ("rediss:/a", "not a store URL"),
        ] {
            let faults = store(&format!("url = {url:?}")).unwrap_err();
            assert_eq!(faults, [wanted], "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for url in ["redis://gate:hunter2@a", "redis://:hunter2@a:1/0", "redis://gate:hun@ter2@a"] {
            let text = format!(
                "[store]\nmaster_key = \"file:k\"\nurl = \"{url}\"\n[listen]\naddress = \"0.0.0.0:1\"\n[audit]\nfile = \"x\"\n"
            );
            let faults = super::super::parse(&Source::new("stepgate.toml", text)).unwrap_err();
            let said: String = faults.iter().map(|fault| fault.render()).collect();
            assert!(said.contains("a password is never written into a URL"), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
        }
    }

    #[test]
    fn what_is_not_a_url_does_not_show_its_password_either() {
        const REST: &str = "[listen]\naddress = \"0.0.0.0:1\"\n[audit]\nfile = \"x\"\n";
        for url in ["reddis://gate:hunter2@a", "redis:/gate:hunter2@a", "redis+tls://:hunter2@a"] {
            let text = format!("[store]\nmaster_key = \"file:k\"\nurl = \"{url}\"\n{REST}");
            let faults = super::super::parse(&Source::new("stepgate.toml", text)).unwrap_err();
            let said: String = faults.iter().map(|fault| fault.render()).collect();
            assert!(said.contains("not a store URL") && !said.contains("hunter2"), "{said}");
        }
        let line = "store = { master_key = \"file:k\", url = \"redis://g:hunter2@a\", ca = \"c\", prefix = \"}\" }\n";
        let text = format!("{line}{REST}");
        let faults = super::super::parse(&Source::new("stepgate.toml", text)).unwrap_err();
        let said: String = faults.iter().map(|fault| fault.render()).collect();
        assert!(!said.contains("hunter2"), "{said}");
    }
}
