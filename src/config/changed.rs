//! What a reload does not apply: the members of the configuration that are read at the start only.
//!
//! Never forgets one: each part is taken apart whole, so that a new member does not compile until it is said here
//! whether a reload applies it. Invariant: where something stands in the file does not matter, only what it says.

use super::{
    Admin, AdminOperator, Config, FileRef, Geo, Listen, Mail, RedisStore, SecretRef, Sms,
    SmsProvider, StoreConfig,
};
use crate::stepup::budget::Budget;
use crate::stepup::challenge::Limits;

/// The members that differ from those that the gateway was started with, and need a restart.
pub fn needing_restart(started: &Config, now: &Config) -> Vec<&'static str> {
    let mut changed = Changed::default();
    // Sites with all they name, prices and certificates are read again by every reload.
    let Config {
        source: _,
        listen,
        admin,
        store,
        master_key,
        geo,
        audit,
        sms,
        mail,
        limits,
        prices: _,
        sites: _,
    } = started;
    changed.listen(listen, &now.listen);
    changed.admin(admin.as_ref(), now.admin.as_ref());
    changed.store(store, &now.store);
    changed.secret("store.master_key", Some(master_key), Some(&now.master_key));
    changed.geo(geo, &now.geo);
    changed.unless_same("audit.file", audit, &now.audit);
    changed.sms(sms.as_ref(), now.sms.as_ref());
    changed.mail(mail.as_ref(), now.mail.as_ref());
    changed.limits(limits, &now.limits);
    changed.0
}

/// `listen.address and geo.city need a restart`; nothing if nothing does.
pub fn say_restart(members: &[&'static str]) -> Option<String> {
    match members {
        [] => None,
        [one] => Some(format!("{one} needs a restart")),
        [all @ .., last] => Some(format!("{} and {last} need a restart", all.join(", "))),
    }
}

/// Who it is, and where the token is.
fn spelt(operator: &AdminOperator) -> String {
    format!("{} {}", operator.name, place(&operator.token))
}

fn place(secret: &SecretRef) -> String {
    match secret {
        SecretRef::File(file) => format!("file:{}", file.path.display()),
        SecretRef::Env { name, .. } => format!("env:{name}"),
    }
}

#[derive(Default)]
struct Changed(Vec<&'static str>);

impl Changed {
    fn unless_same<T: PartialEq>(&mut self, name: &'static str, started: &T, now: &T) {
        if started != now {
            self.0.push(name);
        }
    }

    fn file(&mut self, name: &'static str, started: Option<&FileRef>, now: Option<&FileRef>) {
        self.unless_same(name, &started.map(|file| &file.path), &now.map(|file| &file.path));
    }

    fn secret(&mut self, name: &'static str, started: Option<&SecretRef>, now: Option<&SecretRef>) {
        self.unless_same(name, &started.map(place), &now.map(place));
    }

    fn listen(&mut self, started: &Listen, now: &Listen) {
        let Listen {
            address,
            tls: _, // Reloaded.
            trusted_proxies,
            proxy_protocol,
            connections_max,
            workers,
            handshake_timeout_ms,
            header_timeout_ms,
            body_timeout_ms,
            stall_timeout_ms,
            drain_timeout_ms,
        } = started;
        self.unless_same("listen.address", address, &now.address);
        self.unless_same("listen.trusted_proxies", trusted_proxies, &now.trusted_proxies);
        self.unless_same("listen.proxy_protocol", proxy_protocol, &now.proxy_protocol);
        for (name, started, now) in [
            ("listen.connections_max", *connections_max, now.connections_max),
            ("listen.workers", *workers, now.workers),
        ] {
            self.unless_same(name, &started, &now);
        }
        for (name, started, now) in [
            ("listen.handshake_timeout_ms", handshake_timeout_ms, now.handshake_timeout_ms),
            ("listen.header_timeout_ms", header_timeout_ms, now.header_timeout_ms),
            ("listen.body_timeout_ms", body_timeout_ms, now.body_timeout_ms),
            ("listen.stall_timeout_ms", stall_timeout_ms, now.stall_timeout_ms),
            ("listen.drain_timeout_ms", drain_timeout_ms, now.drain_timeout_ms),
        ] {
            self.unless_same(name, started, &now);
        }
    }

    fn admin(&mut self, started: Option<&Admin>, now: Option<&Admin>) {
        match (started, now) {
            (Some(Admin { address, token, operators, four_eyes }), Some(now)) => {
                self.unless_same("admin.address", address, &now.address);
                self.secret("admin.token", Some(token), Some(&now.token));
                self.unless_same("admin.four_eyes", four_eyes, &now.four_eyes);
                let known: Vec<String> = operators.iter().map(spelt).collect();
                self.unless_same(
                    "admin.operator",
                    &known,
                    &now.operators.iter().map(spelt).collect(),
                );
            }
            (started, now) => self.unless_same("admin", &started.is_some(), &now.is_some()),
        }
    }

    fn store(&mut self, started: &StoreConfig, now: &StoreConfig) {
        match (started, now) {
            (StoreConfig::File(started), StoreConfig::File(now)) => {
                self.unless_same("store.url", started, now);
            }
            (StoreConfig::Redis(started), StoreConfig::Redis(now)) => self.redis(started, now),
            _ => self.0.push("store.url"),
        }
    }

    fn redis(&mut self, started: &RedisStore, now: &RedisStore) {
        let RedisStore {
            topology,
            tls,
            user,
            password,
            sentinel_user,
            sentinel_password,
            ca,
            certificate,
            key,
            database,
            prefix,
        } = started;
        self.unless_same(
            "store.url",
            &(topology, tls, user, database),
            &(&now.topology, &now.tls, &now.user, &now.database),
        );
        let then = now;
        self.secret("store.password", password.as_ref(), then.password.as_ref());
        self.unless_same("store.sentinel_user", sentinel_user, &now.sentinel_user);
        let (sentinel, name) = (sentinel_password.as_ref(), "store.sentinel_password");
        self.secret(name, sentinel, now.sentinel_password.as_ref());
        self.file("store.ca", ca.as_ref(), now.ca.as_ref());
        self.file("store.certificate", certificate.as_ref(), now.certificate.as_ref());
        self.file("store.key", key.as_ref(), now.key.as_ref());
        self.unless_same("store.prefix", prefix, &now.prefix);
    }

    fn geo(&mut self, started: &Geo, now: &Geo) {
        let Geo { city, asn, lists, age_max_days } = started;
        self.file("geo.city", city.as_ref(), now.city.as_ref());
        self.file("geo.asn", asn.as_ref(), now.asn.as_ref());
        self.file("geo.lists", lists.as_ref(), now.lists.as_ref());
        self.unless_same("geo.age_max_days", age_max_days, &now.age_max_days);
    }

    fn sms(&mut self, started: Option<&Sms>, now: Option<&Sms>) {
        let (Some(started), Some(now)) = (started, now) else {
            return self.unless_same("sms", &started.is_some(), &now.is_some());
        };
        let Sms { provider, blocked_prefixes, budget } = started;
        self.budget(budget, &now.budget);
        match (provider, &now.provider) {
            (SmsProvider::Log { file: started }, SmsProvider::Log { file: now }) => {
                self.unless_same("sms.file", started, now);
            }
            (
                SmsProvider::Twilio { url, from, credentials },
                SmsProvider::Twilio { url: url_now, from: from_now, credentials: now },
            ) => {
                self.unless_same("sms.url", url, url_now);
                self.unless_same("sms.from", from, from_now);
                self.secret("sms.credentials", Some(credentials), Some(now));
            }
            (
                SmsProvider::Webhook { url, credentials },
                SmsProvider::Webhook { url: url_now, credentials: now },
            ) => {
                self.unless_same("sms.url", url, url_now);
                self.secret("sms.credentials", Some(credentials), Some(now));
            }
            _ => self.0.push("sms.provider"),
        }
        self.unless_same("sms.blocked_prefixes", blocked_prefixes, &now.blocked_prefixes);
    }

    fn budget(&mut self, started: &Budget, now: &Budget) {
        let Budget {
            per_account_hour_max,
            per_account_day_max,
            per_range_hour_max,
            per_range_day_max,
            per_prefix_hour_max,
            per_prefix_day_max,
            overall_hour_max,
            overall_day_max,
            verified_window_ms,
            verified_sent_min,
            verified_prefix_sent_min,
            verified_percent_min,
            stop_ms,
            urgent_percent,
        } = started;
        for (name, started, now) in [
            ("sms.budget.per_account_hour_max", per_account_hour_max, now.per_account_hour_max),
            ("sms.budget.per_account_day_max", per_account_day_max, now.per_account_day_max),
            ("sms.budget.per_range_hour_max", per_range_hour_max, now.per_range_hour_max),
            ("sms.budget.per_range_day_max", per_range_day_max, now.per_range_day_max),
            ("sms.budget.overall_hour_max", overall_hour_max, now.overall_hour_max),
            ("sms.budget.overall_day_max", overall_day_max, now.overall_day_max),
            ("sms.budget.verified_sent_min", verified_sent_min, now.verified_sent_min),
            (
                "sms.budget.verified_prefix_sent_min",
                verified_prefix_sent_min,
                now.verified_prefix_sent_min,
            ),
            ("sms.budget.urgent_percent", urgent_percent, now.urgent_percent),
            ("sms.budget.verified_percent_min", verified_percent_min, now.verified_percent_min),
        ] {
            self.unless_same(name, started, &now);
        }
        for (name, started, now) in [
            ("sms.budget.per_prefix_hour_max", per_prefix_hour_max, &now.per_prefix_hour_max),
            ("sms.budget.per_prefix_day_max", per_prefix_day_max, &now.per_prefix_day_max),
        ] {
            self.unless_same(name, started, now);
        }
        for (name, started, now) in [
            ("sms.budget.verified_window_s", verified_window_ms, now.verified_window_ms),
            ("sms.budget.stop_s", stop_ms, now.stop_ms),
        ] {
            self.unless_same(name, started, &now);
        }
    }

    fn mail(&mut self, started: Option<&Mail>, now: Option<&Mail>) {
        match (started, now) {
            (Some(Mail::Log { file: started }), Some(Mail::Log { file: now })) => {
                self.unless_same("mail.file", started, now);
            }
            (
                Some(Mail::Smtp { server, from, ca, credentials, span: _ }),
                Some(Mail::Smtp {
                    server: server_now,
                    from: from_now,
                    ca: ca_now,
                    credentials: now,
                    span: _,
                }),
            ) => {
                self.unless_same("mail.url", server, server_now);
                self.unless_same("mail.from", from, from_now);
                self.file("mail.ca", ca.as_ref(), ca_now.as_ref());
                self.secret("mail.credentials", credentials.as_ref(), now.as_ref());
            }
            (Some(_), Some(_)) => self.0.push("mail.provider"),
            (started, now) => self.unless_same("mail", &started.is_some(), &now.is_some()),
        }
    }

    fn limits(&mut self, started: &Limits, now: &Limits) {
        let Limits {
            challenge_ms,
            attempts_max,
            open_per_account_max,
            grant_ms,
            failures_max,
            block_ms,
            block_max_ms: _, // Not in the file.
            failures_disable,
            sms_code_ms,
            sms_per_10min_max,
            sms_per_day_max,
            factor_hold_ms,
            thaw_delay_ms,
        } = started;
        self.unless_same(
            "limits.open_per_account_max",
            open_per_account_max,
            &now.open_per_account_max,
        );
        for (name, started, now) in [
            ("limits.challenge_s", challenge_ms, now.challenge_ms),
            ("limits.grant_s", grant_ms, now.grant_ms),
            ("limits.block_s", block_ms, now.block_ms),
            ("limits.sms_code_s", sms_code_ms, now.sms_code_ms),
            ("limits.factor_hold_s", factor_hold_ms, now.factor_hold_ms),
            ("limits.thaw_delay_s", thaw_delay_ms, now.thaw_delay_ms),
        ] {
            self.unless_same(name, started, &now);
        }
        for (name, started, now) in [
            ("limits.attempts_max", attempts_max, now.attempts_max),
            ("limits.failures_max", failures_max, now.failures_max),
            ("limits.failures_disable", failures_disable, now.failures_disable),
            ("limits.sms_per_10min_max", sms_per_10min_max, now.sms_per_10min_max),
            ("limits.sms_per_day_max", sms_per_day_max, now.sms_per_day_max),
        ] {
            self.unless_same(name, started, &now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;

    const STARTED: &str = r#"[listen]
address = "127.0.0.1:1"
certificate = "a.pem"
key = "a.key"

[admin]
address = "127.0.0.1:2"
token = "file:token"

[store]
url = "file:state.db"
master_key = "file:key"

[geo]
city = "city.mmdb"

[audit]
file = "audit.jsonl"

[sms]
provider = "log"
file = "sms.txt"

[[site]]
name = "main"
hosts = ["a.example"]
upstream = ["http://127.0.0.1:9"]
policy = "a.policy.toml"
"#;

    fn read(text: &str) -> Config {
        let read = super::super::parse(&Source::new("stepgate.toml", text));
        read.unwrap_or_else(|faults| panic!("{text}\n{faults:?}"))
    }

    /// What needs a restart after this part of the file was replaced by that one.
    fn after(old: &str, new: &str) -> Vec<&'static str> {
        assert!(STARTED.contains(old), "{old}");
        needing_restart(&read(STARTED), &read(&STARTED.replacen(old, new, 1)))
    }

    #[test]
    fn every_member_that_is_read_at_the_start_only_is_named() {
        let listen = |line: &str| format!("[listen]\n{line}");
        for (line, name) in [
            ("trusted_proxies = [\"10.0.0.0/8\"]", "listen.trusted_proxies"),
            ("proxy_protocol = true", "listen.proxy_protocol"),
            ("connections_max = 7", "listen.connections_max"),
            ("workers = 77", "listen.workers"),
            ("handshake_timeout_ms = 7", "listen.handshake_timeout_ms"),
            ("header_timeout_ms = 7", "listen.header_timeout_ms"),
            ("body_timeout_ms = 7", "listen.body_timeout_ms"),
            ("stall_timeout_ms = 7", "listen.stall_timeout_ms"),
            ("drain_timeout_ms = 7", "listen.drain_timeout_ms"),
        ] {
            assert_eq!(after("[listen]", &listen(line)), [name]);
        }
        for (old, new, name) in [
            ("127.0.0.1:1\"", "127.0.0.1:3\"", "listen.address"),
            ("127.0.0.1:2\"", "127.0.0.1:3\"", "admin.address"),
            ("file:token", "env:TOKEN", "admin.token"),
            ("[admin]", "[admin]\nfour_eyes = true", "admin.four_eyes"),
            (
                "[store]",
                "four_eyes = false\n[[admin.operator]]\nname = \"carol\"\ntoken = \"file:c\"\n\n[store]",
                "admin.operator",
            ),
            ("[admin]\naddress = \"127.0.0.1:2\"\ntoken = \"file:token\"\n", "", "admin"),
            ("file:state.db", "file:other.db", "store.url"),
            ("file:state.db", "redis://10.0.0.5", "store.url"),
            ("file:key", "file:other", "store.master_key"),
            ("city = \"city.mmdb\"", "city = \"other.mmdb\"", "geo.city"),
            ("[geo]", "[geo]\nasn = \"asn.mmdb\"", "geo.asn"),
            ("[geo]", "[geo]\nlists = \"lists\"", "geo.lists"),
            ("[geo]", "[geo]\nage_max_days = 7", "geo.age_max_days"),
            ("audit.jsonl", "other.jsonl", "audit.file"),
            ("[sms]\nprovider = \"log\"\nfile = \"sms.txt\"\n", "", "sms"),
            ("sms.txt", "other.txt", "sms.file"),
            ("[sms]", "[sms]\nblocked_prefixes = [\"+1\"]", "sms.blocked_prefixes"),
            ("[sms]", "[mail]\nprovider = \"log\"\n[sms]", "mail"),
        ] {
            assert_eq!(after(old, new), [name], "{new}");
        }
        let limits = |line: &str| format!("[limits]\n{line}\n\n[sms]");
        for (line, name) in [
            ("challenge_s = 7", "limits.challenge_s"),
            ("attempts_max = 1", "limits.attempts_max"),
            ("open_per_account_max = 1", "limits.open_per_account_max"),
            ("grant_s = 7", "limits.grant_s"),
            ("failures_max = 1", "limits.failures_max"),
            ("block_s = 86400", "limits.block_s"),
            ("failures_disable = 1", "limits.failures_disable"),
            ("sms_code_s = 7", "limits.sms_code_s"),
            ("sms_per_10min_max = 1", "limits.sms_per_10min_max"),
            ("sms_per_day_max = 1", "limits.sms_per_day_max"),
            ("factor_hold_s = 172800", "limits.factor_hold_s"),
            ("thaw_delay_s = 172800", "limits.thaw_delay_s"),
        ] {
            assert_eq!(after("[sms]", &limits(line)), [name]);
        }
        let budget = |line: &str| format!("file = \"sms.txt\"\n\n[sms.budget]\n{line}");
        for (line, name) in [
            ("per_account_hour_max = 1", "sms.budget.per_account_hour_max"),
            ("per_account_day_max = 1", "sms.budget.per_account_day_max"),
            ("per_range_hour_max = 1", "sms.budget.per_range_hour_max"),
            ("per_range_day_max = 1", "sms.budget.per_range_day_max"),
            ("per_prefix_hour_max = { \"+49\" = 1 }", "sms.budget.per_prefix_hour_max"),
            ("per_prefix_day_max = { default = 1 }", "sms.budget.per_prefix_day_max"),
            ("overall_hour_max = 1", "sms.budget.overall_hour_max"),
            ("overall_day_max = 1", "sms.budget.overall_day_max"),
            ("verified_window_s = 7200", "sms.budget.verified_window_s"),
            ("verified_sent_min = 1", "sms.budget.verified_sent_min"),
            ("verified_prefix_sent_min = 1", "sms.budget.verified_prefix_sent_min"),
            ("urgent_percent = 7", "sms.budget.urgent_percent"),
            ("verified_percent_min = 77", "sms.budget.verified_percent_min"),
            ("stop_s = 7200", "sms.budget.stop_s"),
        ] {
            assert_eq!(after("file = \"sms.txt\"", &budget(line)), [name]);
        }
    }

    #[test]
    fn the_members_of_a_mail_server_are_told_apart() {
        let mail = "[mail]\nprovider = \"smtp\"\nurl = \"smtps://a.example\"\nfrom = \"a@b.example\"\n\
                    ca = \"ca.pem\"\ncredentials = \"env:M\"\n\n[sms]";
        let started = STARTED.replacen("[sms]", mail, 1);
        let logged = "[mail]\nprovider = \"log\"\nfile = \"mail.txt\"\n\n[sms]";
        let logged = STARTED.replacen("[sms]", logged, 1);
        assert_eq!(needing_restart(&read(&started), &read(&logged)), ["mail.provider"]);
        for (started, old, new, name) in [
            (&started, "smtps://a.example", "smtp://a.example", "mail.url"),
            (&started, "a@b.example", "b@b.example", "mail.from"),
            (&started, "ca.pem", "other.pem", "mail.ca"),
            (&started, "env:M", "env:N", "mail.credentials"),
            (&logged, "mail.txt", "other.txt", "mail.file"),
        ] {
            let now = started.replacen(old, new, 1);
            assert_eq!(needing_restart(&read(started), &read(&now)), [name], "{new}");
        }
    }

    #[test]
    fn the_members_of_a_shared_store_and_of_sms_providers_are_told_apart() {
        let redis = STARTED.replace("file:state.db", "redis://u@10.0.0.5");
        let redis = redis.replace("[store]", "[store]\npassword = \"env:P\"");
        let sms = "provider = \"webhook\"\nurl = \"http://127.0.0.1:8\"\ncredentials = \"env:S\"";
        let redis = redis.replace("provider = \"log\"\nfile = \"sms.txt\"", sms);
        for (old, new, name) in [
            ("10.0.0.5", "10.0.0.6", "store.url"),
            ("env:P", "env:Q", "store.password"),
            ("[store]", "[store]\nprefix = \"other\"", "store.prefix"),
            ("127.0.0.1:8", "127.0.0.1:9", "sms.url"),
            ("env:S", "env:T", "sms.credentials"),
            ("provider = \"webhook\"", "from = \"+1\"\nprovider = \"twilio\"", "sms.provider"),
        ] {
            let now = redis.replacen(old, new, 1);
            assert_eq!(needing_restart(&read(&redis), &read(&now)), [name], "{new}");
        }
    }

    #[test]
    fn what_a_reload_applies_and_where_it_stands_are_not_named() {
        for (old, new) in [
            ("[listen]", "# A remark.\n\n[listen]"),
            ("a.pem", "b.pem"),
            ("a.example", "b.example"),
            ("http://127.0.0.1:9", "http://127.0.0.1:8"),
            ("a.policy.toml", "b.policy.toml"),
            ("[sms]", "[prices]\nfile = \"p\"\n\n[sms]"),
            ("[[site]]", "[[site]]\nshadow_policy = \"c.policy.toml\""),
        ] {
            assert_eq!(after(old, new), [""; 0], "{new}");
        }
    }

    #[test]
    fn it_is_said_in_a_sentence() {
        assert_eq!(say_restart(&[]), None);
        assert_eq!(say_restart(&["listen.address"]).unwrap(), "listen.address needs a restart");
        assert_eq!(say_restart(&["a", "b", "c"]).unwrap(), "a, b and c need a restart");
    }
}
