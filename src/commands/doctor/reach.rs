//! Who must be reachable: the sites' upstreams, the identities' key sets and introspection, the SMS provider, the mail
//! server, a ticker.
//!
//! Never sends a message or a credential. Invariant: all are tried at once, and said in the configuration's order.

use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::clock::{self, Told};
use super::geo::PRICES;
use super::probe::{Speak, Trouble};
use super::{Finding, Here};
use crate::config::{FileRef, IdentityKind, Keys, Mail, PricesFrom, Site, SmsProvider};
use crate::fetch::Fetch;
use crate::messenger;
use crate::prices;

const UPSTREAM: &str = "upstream";
const IDENTITY: &str = "identity";
const SMS: &str = "sms";
const MAIL: &str = "mail";

/// One thing to be tried, with what the attempt needs.
enum Try {
    Upstream { site: String, url: String, host: Option<String>, speak: Speak },
    KeySet(String),
    Introspection(String),
    Sms(String),
    Ticker(prices::Settings),
}

/// The clock is judged here too: upstreams tell the time in passing.
pub(super) async fn examine(here: &std::sync::Arc<Here>) -> Vec<Finding> {
    let tries = tries(here);
    let (mut under_way, mut done) = (JoinSet::new(), Vec::new());
    for (place, one) in tries.into_iter().enumerate() {
        let here = here.clone();
        under_way.spawn(async move { (place, one.run(&here).await) });
    }
    while let Some(ended) = under_way.join_next().await {
        done.extend(ended);
    }
    done.sort_by_key(|(place, _)| *place);
    let (mut findings, mut told) = (Vec::new(), Vec::new());
    for (_, (finding, time)) in done {
        findings.push(finding);
        told.extend(time);
    }
    findings.extend(files(here));
    findings.extend(unsent(here));
    findings.extend(mail(here).await);
    // Attempts, files and what is not tried at all stand together by subject.
    let order = |finding: &Finding| {
        [UPSTREAM, IDENTITY, SMS, MAIL].iter().position(|it| *it == finding.subject)
    };
    findings.sort_by_key(order);
    findings.push(clock::examine(&told));
    findings
}

fn tries(here: &Here) -> Vec<Try> {
    let config = &here.config;
    let upstreams = config.sites.iter().flat_map(upstreams);
    let identities = config.sites.iter().flat_map(|site| &site.identity);
    let identities = identities.filter_map(|identity| match &identity.kind {
        IdentityKind::Jwt { keys: Keys::Url(url), .. } => Some(Try::KeySet(url.clone())),
        IdentityKind::Introspect { url, .. } => Some(Try::Introspection(url.clone())),
        _ => None,
    });
    let sms = config.sms.iter().filter_map(|sms| match &sms.provider {
        SmsProvider::Twilio { url, .. } | SmsProvider::Webhook { url, .. } => {
            Some(Try::Sms(url.clone()))
        }
        SmsProvider::Log { .. } => None,
    });
    let ticker = config.prices.iter().filter_map(|prices| match &prices.from {
        PricesFrom::Ticker(settings) => Some(Try::Ticker(settings.clone())),
        PricesFrom::File(_) => None,
    });
    ticker.chain(upstreams).chain(identities).chain(sms).collect()
}

fn upstreams(site: &Site) -> impl Iterator<Item = Try> {
    site.upstream.iter().map(|url| Try::Upstream {
        site: site.name.to_string(),
        url: url.clone(),
        host: site.hosts.first().cloned(),
        speak: if site.upstream_h2 { Speak::Http2 } else { Speak::Http1 },
    })
}

impl Try {
    async fn run(self, here: &Here) -> (Finding, Option<Told>) {
        match self {
            Self::Upstream { site, url, host, speak } => {
                let sent = here.now();
                let asked = here.probe.ask(Method::HEAD, &url, host.as_deref(), speak).await;
                let name = format!("{url} (site {site})");
                match asked {
                    Ok(answer) => {
                        let what = format!("{name}: answers {} to HEAD /", answer.status.as_u16());
                        let told = Told::read(&url, &answer.headers, sent, here.now());
                        (Finding::ok(UPSTREAM, what), told)
                    }
                    Err(why) => (wrong(UPSTREAM, &name, &why, "the site's `upstream`"), None),
                }
            }
            Self::KeySet(url) => {
                let name = shown(&url);
                let asked = here.probe.ask(Method::GET, &url, None, Speak::Http1).await;
                (key_set(&name, asked.map(|it| (it.status.as_u16(), it.body))), None)
            }
            Self::Introspection(url) => match here.probe.reach(&url).await {
                Ok(()) => (Finding::ok(IDENTITY, format!("{}: reachable", shown(&url))), None),
                Err(why) => {
                    (wrong(IDENTITY, &shown(&url), &why, "the identity's `introspect`"), None)
                }
            },
            Self::Sms(url) => match here.probe.reach(&url).await {
                Ok(()) => {
                    let what = format!("{}: reachable (no message was sent)", shown(&url));
                    (Finding::ok(SMS, what), None)
                }
                Err(why) => (wrong(SMS, &shown(&url), &why, "[sms] url"), None),
            },
            Self::Ticker(settings) => (ticker(&settings).await, None),
        }
    }
}

/// Asks as the gateway does, and reads the answer.
async fn ticker(settings: &prices::Settings) -> Finding {
    let name = shown(&settings.url);
    let answer = match Fetch::new(None, tokio::runtime::Handle::current()) {
        Ok(fetch) => crate::ticker::ask(settings, &fetch).await,
        Err(error) => Err(error.to_string()),
    };
    match answer.and_then(|text| settings.ticker.read(&text)) {
        Ok(found) => Finding::ok(PRICES, format!("{name}: prices of {} assets", found.len())),
        Err(why) => Finding::fault(
            PRICES,
            format!("{name}: {why}"),
            "until it gives prices every `usd_value` is unreadable; correct what [prices] says of it",
        ),
    }
}

/// An address without what may be a secret in it.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn wrong(subject: &'static str, name: &str, why: &Trouble, key: &str) -> Finding {
    Finding::fault(subject, format!("{name}: {why}"), why.advice(key))
}

fn key_set(url: &str, asked: Result<(u16, bytes::Bytes), Trouble>) -> Finding {
    let key = "the identity's `keys`";
    match asked {
        Err(why) => wrong(IDENTITY, url, &why, key),
        Ok((200, body)) => {
            let set: Value = serde_json::from_slice(&body).unwrap_or_default();
            match set["keys"].as_array().map_or(0, Vec::len) {
                0 => Finding::fault(
                    IDENTITY,
                    format!("{url}: answers, but not with a key set"),
                    format!("correct {key}: it must be the address of a JWKS document"),
                ),
                keys => Finding::ok(IDENTITY, format!("{url}: {keys} key(s)")),
            }
        }
        Ok((status, _)) => Finding::fault(
            IDENTITY,
            format!("{url}: answers {status} instead of a key set"),
            format!("correct {key}, or see why its server refuses"),
        ),
    }
}

/// Identities that need nobody else. A file that cannot be used is the configuration's fault, and is said there.
fn files(here: &Here) -> Vec<Finding> {
    let identities = here.config.sites.iter().flat_map(|site| &site.identity);
    let files = identities.filter_map(|identity| match &identity.kind {
        IdentityKind::Jwt { keys: Keys::File(file), .. }
        | IdentityKind::ApiKeyFile { accounts: file } => Some(file),
        _ => None,
    });
    let there = files.filter(|file| std::fs::File::open(&file.path).is_ok());
    let ok = |file: &FileRef| Finding::ok(IDENTITY, format!("{}: readable", file.path.display()));
    let mut found: Vec<_> = there.map(ok).collect();
    found.dedup(); // sites may share one
    found
}

/// Says who we are to the mail server, and leaves. What of it cannot be used at all is the configuration's fault.
async fn mail(here: &Here) -> Option<Finding> {
    let mail = here.config.mail.as_ref()?;
    let handle = tokio::runtime::Handle::current();
    let smtp = match mail {
        Mail::Log { .. } => {
            return Some(Finding::warning(
                MAIL,
                "the provider `log` only writes mails down: no customer gets one",
                "for anything but a demo: provider = \"smtp\"",
            ));
        }
        Mail::Smtp { .. } => messenger::smtp(&here.config, mail, &handle, &mut Vec::new())?,
    };
    let name = smtp.name();
    Some(match tokio::time::timeout(super::TIMEOUT, smtp.examine()).await {
        Ok(Ok(())) => Finding::ok(MAIL, format!("{name}: takes us (no mail was sent)")),
        Ok(Err(error)) => {
            let why = std::error::Error::source(&error).map(|it| format!(": {it}"));
            let what = format!("{name}: {error}{}", why.unwrap_or_default());
            Finding::fault(MAIL, what, "correct [mail] `url`, `ca` or `credentials`, or start it")
        }
        Err(_) => Finding::fault(
            MAIL,
            format!("{name}: does not answer within {} s", super::TIMEOUT.as_secs()),
            "start it, open the way to it, or correct [mail] `url`",
        ),
    })
}

/// Text messages that nobody will get.
fn unsent(here: &Here) -> Option<Finding> {
    match &here.config.sms {
        None if here.need_sms.is_empty() => {
            Some(Finding::ok(SMS, "not configured, and no rule insists on it"))
        }
        None => Some(Finding::warning(
            SMS,
            format!("there is no [sms], and nobody can meet {}", here.need_sms.join(", ")),
            "configure a provider, or let those rules take another factor too",
        )),
        Some(sms) if matches!(sms.provider, SmsProvider::Log { .. }) => Some(Finding::warning(
            SMS,
            "the provider `log` only writes messages down: no customer gets a code",
            "for anything but a demo: provider = \"twilio\" or \"webhook\"",
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        assert_eq!(shown("https://a.example:8/sms"), "https://a.example:8/sms");
        assert_eq!(shown("https://me:word@a.example?key=1"), "https://a.example");
        assert_eq!(shown("https://a.example/p@th?key=a@b/c"), "https://a.example/p@th");
    }
}
