//! Passkeys of sites: the domain that they are made for, and the pages whose answers are taken.
//!
//! Never a domain that no host of the site is on or below: no browser would make a passkey for it. Invariant: sites that
//! share accounts share passkeys, so they have one domain.

use std::net::IpAddr;
use std::ops::Range;

use super::check::Checker;
use super::file;
use crate::stepup::passkey::{BUILT, RelyingParty, is_within};

/// Who asks a site's passkeys.
#[derive(Clone, Debug)]
pub struct Webauthn {
    pub party: RelyingParty,
    pub span: Range<usize>,
}

/// The domain of a group of sites, and which site said so.
struct Domain {
    accounts: String,
    id: String,
    said_by: Option<String>,
}

impl Checker<'_> {
    /// For each site, in their order. `port` is the listener's.
    pub(super) fn webauthn(&mut self, sites: &[file::Site], port: u16) -> Vec<Option<Webauthn>> {
        if !BUILT {
            for site in sites.iter().filter_map(|site| site.webauthn.as_ref()) {
                self.fault(site.span(), "this stepgate is built without passkeys")
                    .help("leave it out, or build with the cargo feature `webauthn`");
            }
            return sites.iter().map(|_| None).collect();
        }
        let domains = self.domains(sites);
        sites.iter().map(|site| self.party(site, &domains, port)).collect()
    }

    /// Of each group the one that is said; else the first host that can be one.
    fn domains(&mut self, sites: &[file::Site]) -> Vec<Domain> {
        let mut domains: Vec<Domain> = Vec::new();
        for site in sites {
            let Some(text) = rp_id(site) else { continue };
            let id = text.get_ref().to_ascii_lowercase();
            if !self.is_possible(site, text, &id) {
                continue;
            }
            let accounts = accounts(site);
            match domains.iter().find(|known| known.accounts == accounts) {
                None => domains.push(Domain {
                    accounts: accounts.to_owned(),
                    id,
                    said_by: Some(site.name.get_ref().clone()),
                }),
                Some(known) if known.id == id => {}
                Some(Domain { id, said_by, .. }) => {
                    let other = said_by.as_deref().unwrap_or_default();
                    let message =
                        format!("the site `{other}` shares these accounts and has `{id}`");
                    self.fault(text.span(), message)
                        .help("passkeys belong to accounts: give both sites the same `rp_id`");
                }
            }
        }
        for site in sites {
            let accounts = accounts(site);
            if domains.iter().any(|known| known.accounts == accounts) {
                continue;
            }
            let mut hosts = site.hosts.iter().map(|host| host.get_ref().to_ascii_lowercase());
            if let Some(id) = hosts.find(|host| is_domain(host)) {
                domains.push(Domain { accounts: accounts.to_owned(), id, said_by: None });
            }
        }
        domains
    }

    fn is_possible(&mut self, site: &file::Site, text: &file::Text, id: &str) -> bool {
        let hosts = || site.hosts.iter().map(|host| host.get_ref().to_ascii_lowercase());
        // A name without a dot is a host of its own, or a whole top-level domain.
        if !is_domain(id) || (!id.contains('.') && !hosts().any(|host| host == id)) {
            self.fault(text.span(), "not a domain that passkeys can be made for")
                .help("a host of the site or a domain above it, for example `exchange.example`");
            return false;
        }
        if !hosts().any(|host| is_within(&host, id)) {
            self.fault(text.span(), format!("no host of this site is `{id}` or below it"))
                .help("browsers make passkeys for the page's own host, or a domain above it");
            return false;
        }
        true
    }

    fn party(&mut self, site: &file::Site, domains: &[Domain], port: u16) -> Option<Webauthn> {
        let accounts = accounts(site);
        let id = &domains.iter().find(|known| known.accounts == accounts)?.id;
        let written = site.webauthn.as_ref();
        let span = written.map_or_else(|| site.name.span(), toml::Spanned::span);
        let mut hosts = site.hosts.iter().map(|host| host.get_ref().to_ascii_lowercase());
        let origins = match written.and_then(|it| it.get_ref().origins.as_ref()) {
            Some(origins) => self.origins(origins, site, id),
            None => hosts.by_ref().filter(|it| is_within(it, id)).flat_map(usual(port)).collect(),
        };
        // A site whose hosts are all elsewhere goes without.
        let party = RelyingParty { id: id.clone(), origins };
        (!party.origins.is_empty()).then_some(Webauthn { party, span })
    }

    fn origins(
        &mut self,
        written: &toml::Spanned<Vec<file::Text>>,
        site: &file::Site,
        id: &str,
    ) -> Vec<String> {
        if written.get_ref().is_empty() {
            self.fault(written.span(), "there is no origin: no passkey could be used")
                .help("leave it out for `https://` and each host of the site");
        }
        let mut origins = Vec::new();
        for text in written.get_ref() {
            let origin = text.get_ref().to_ascii_lowercase();
            let Some(host) = host_of(&origin) else {
                self.fault(text.span(), "not the origin of a page")
                    .help("`https://`, a host, and a port if it is not 443: no path behind it");
                continue;
            };
            if !site.hosts.iter().any(|known| known.get_ref().eq_ignore_ascii_case(host)) {
                self.fault(text.span(), format!("`{host}` is no host of this site"))
                    .help("passkeys are asked for on the site's own pages");
            } else if !is_within(host, id) {
                self.fault(text.span(), format!("`{host}` is not `{id}` or below it"))
                    .help("passkeys of one domain do not work on another");
            } else {
                origins.push(origin);
            }
        }
        origins
    }
}

/// A browser may see the listener itself, or whatever stands before it on the usual port.
fn usual(port: u16) -> impl Fn(String) -> Vec<String> {
    move |host| {
        let mut origins = vec![format!("https://{host}")];
        if !matches!(port, 0 | 443) {
            origins.push(format!("https://{host}:{port}"));
        }
        origins
    }
}

fn rp_id(site: &file::Site) -> Option<&file::Text> {
    site.webauthn.as_ref()?.get_ref().rp_id.as_ref()
}

fn accounts(site: &file::Site) -> &str {
    site.accounts.as_ref().unwrap_or(&site.name).get_ref()
}

/// A name of labels; browsers make no passkeys for addresses.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain)
    };
    text.split('.').all(label) && text.parse::<IpAddr>().is_err()
}

/// The host of `https://host` or `https://host:port`.
fn host_of(origin: &str) -> Option<&str> {
    let authority = origin.strip_prefix("https://")?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, "1"));
    let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_domain(host) && port_fits).then_some(host)
}

#[cfg(all(test, feature = "webauthn"))]
mod tests {
    use super::super::parse;
    use crate::fault::{Fault, Source};

    fn text(sites: &str) -> Source {
        let head = r#"[listen]
address = "0.0.0.0:8443"
certificate = "a.pem"
key = "a.key"

[store]
url = "file:state.db"
master_key = "file:key"

[audit]
file = "audit.jsonl"
"#;
        Source::new("stepgate.toml", format!("{head}{sites}"))
    }

    fn site(name: &str, hosts: &str, more: &str) -> String {
        format!(
            "\n[[site]]\nname = \"{name}\"\nhosts = [{hosts}]\nupstream = [\"http://127.0.0.1:1\"]\npolicy = \"p\"\n{more}\n"
        )
    }

    /// Domain and origins of each site.
    fn parties(sites: &str) -> Vec<Option<(String, Vec<String>)>> {
        let config = parse(&text(sites)).unwrap_or_else(|faults| panic!("{faults:?}"));
        let party = |site: super::super::Site| {
            let party = site.webauthn?.party;
            Some((party.id, party.origins))
        };
        config.sites.into_iter().map(party).collect()
    }

    /// Message and line of each fault.
    fn faults(sites: &str) -> Vec<(String, String)> {
        let said = |fault: &Fault| {
            let place = fault.source.text.get(fault.span.clone()).unwrap_or("");
            (fault.message.clone(), place.to_owned())
        };
        parse(&text(sites)).expect_err("has faults").iter().map(said).collect()
    }

    fn some(id: &str, origins: &[&str]) -> Option<(String, Vec<String>)> {
        Some((id.to_owned(), origins.iter().map(|it| (*it).to_owned()).collect()))
    }

    #[test]
    fn without_a_word_passkeys_are_for_the_first_host_and_what_is_below_it() {
        let sites = site(
            "main",
            r#""127.0.0.1", "Exchange.example", "api.exchange.example", "other.example""#,
            "",
        );
        let origins = [
            "https://exchange.example",
            "https://exchange.example:8443",
            "https://api.exchange.example",
            "https://api.exchange.example:8443",
        ];
        assert_eq!(parties(&sites), [some("exchange.example", &origins)]);
        assert_eq!(parties(&site("main", r#""127.0.0.1", "[::1]""#, "")), [None]);
    }

    #[test]
    fn sites_that_share_accounts_have_one_domain() {
        let said = r#"accounts = "all"
webauthn = { rp_id = "exchange.example", origins = ["https://www.exchange.example"] }"#;
        let sites = site("first", r#""api.exchange.example""#, "accounts = \"all\"")
            + &site("second", r#""www.exchange.example""#, said)
            + &site("third", r#""elsewhere.example""#, "accounts = \"all\"")
            + &site("alone", r#""alone.example""#, "");
        let api = ["https://api.exchange.example", "https://api.exchange.example:8443"];
        let alone = ["https://alone.example", "https://alone.example:8443"];
        assert_eq!(
            parties(&sites),
            [
                some("exchange.example", &api),
                some("exchange.example", &["https://www.exchange.example"]),
                None,
                some("alone.example", &alone),
            ]
        );
        let other =
            said.replace("rp_id = \"exchange.example\"", "rp_id = \"www.exchange.example\"");
        let two = site("a", r#""www.exchange.example""#, said)
            + &site("b", r#""www.exchange.example.", "www.exchange.example""#, &other);
        let found = faults(&two);
        let wanted = "the site `a` shares these accounts and has `exchange.example`";
        assert!(found.iter().any(|(said, at)| said == wanted && at == "\"www.exchange.example\""));
    }

    #[test]
    fn what_no_browser_would_take_is_a_fault_where_it_stands() {
        let one = |more: &str| {
            let sites = site("main", r#""exchange.example", "localhost""#, more);
            let found = faults(&sites);
            assert_eq!(found.len(), 1, "{more}: {found:?}");
            found.into_iter().next().expect("one")
        };
        for (id, message) in [
            ("example", "not a domain that passkeys can be made for"),
            ("https://exchange.example", "not a domain that passkeys can be made for"),
            ("127.0.0.1", "not a domain that passkeys can be made for"),
            ("exchange.example.", "not a domain that passkeys can be made for"),
            ("other.example", "no host of this site is `other.example` or below it"),
            ("api.exchange.example", "no host of this site is `api.exchange.example` or below it"),
        ] {
            let more = format!("webauthn = {{ rp_id = \"{id}\" }}");
            assert_eq!(one(&more), (message.to_owned(), format!("\"{id}\"")));
        }
        for (origin, message) in [
            ("http://exchange.example", "not the origin of a page"),
            ("https://exchange.example/", "not the origin of a page"),
            ("https://exchange.example:0", "not the origin of a page"),
            ("https://*.exchange.example", "not the origin of a page"),
            ("https://www.exchange.example", "`www.exchange.example` is no host of this site"),
            ("https://localhost:8443", "`localhost` is not `exchange.example` or below it"),
        ] {
            let more = format!("webauthn = {{ origins = [\"{origin}\"] }}");
            assert_eq!(one(&more), (message.to_owned(), format!("\"{origin}\"")));
        }
        let (message, _) = one("webauthn = { origins = [] }");
        assert_eq!(message, "there is no origin: no passkey could be used");
        let found = faults(&site("main", r#""exchange.example""#, "webauthn = { id = \"x\" }"));
        assert!(found[0].0.contains("unknown"), "{found:?}");
    }
}
