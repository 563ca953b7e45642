//! API keys from a file: key id → account and the networks it may be used from.
//!
//! Never sees a secret: the id is the public part, the exchange checks the signature. An id that
//! the file does not have is refused, so that a key which only the exchange knows does not pass as
//! nobody's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::claims::is_account;
use super::{Found, IdentifyError, Identity, Presented};
use crate::fault::{Fault, Source, salvage, stranger};
use crate::types::{AccountId, Credential, CredentialId, CredentialKind};

/// The keys of one file.
pub(super) struct ApiKeys(HashMap<Box<str>, ApiKey>);

struct ApiKey {
    identity: Arc<Identity>,
    /// None: anywhere. Empty: nowhere.
    networks: Option<Vec<IpNet>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    account: Spanned<String>,
    networks: Option<Vec<Spanned<String>>>,
}

impl ApiKeys {
    /// Reads the file; every fault of it goes to `faults`.
    pub fn read(source: &Source, group: &Arc<str>, faults: &mut Vec<Fault>) -> Option<Self> {
        let before = faults.len();
        let file: File = salvage(source, faults)?;
        let mut keys = HashMap::new();
        for entry in file.key {
            let networks = entry.networks.as_ref().map(|networks| {
                networks.iter().filter_map(|text| network(source, text, faults)).collect()
            });
            let (id, account) = (entry.id.get_ref(), entry.account.get_ref());
            if !(1..=256).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
                let fault = Fault::new(source, entry.id.span(), "a key id cannot be written so");
                faults.push(fault.help("1 to 256 visible ASCII characters without spaces"));
            }
            if !is_account(account) || stranger::find(account).is_some() {
                let fault = Fault::new(source, entry.account.span(), "not an account's name");
                faults.push(fault.help("1 to 256 bytes without control characters"));
            }
            let identity = Arc::new(identity(group, id, account));
            if keys.insert(id.as_str().into(), ApiKey { identity, networks }).is_some() {
                let message = format!("the key id `{id}` is there twice");
                faults.push(Fault::new(source, entry.id.span(), message));
            }
        }
        (faults.len() == before).then_some(Self(keys))
    }

    /// Whose key it is, if it may be used from the client's address.
    pub fn find(&self, presented: &Presented<'_>, client: IpAddr) -> Found {
        let Some(key) = self.0.get(presented.text) else {
            return Err(IdentifyError::Invalid("unknown API key"));
        };
        let allowed = |networks: &Vec<IpNet>| networks.iter().any(|net| net.contains(&client));
        if key.networks.as_ref().is_none_or(allowed) {
            Ok(Some(key.identity.clone()))
        } else {
            Err(IdentifyError::NetworkNotAllowed)
        }
    }
}

fn identity(group: &Arc<str>, id: &str, account: &str) -> Identity {
    let id = CredentialId::new(format!("key:{id}"));
    Identity {
        account: AccountId::new(group.clone(), account),
        credential: Credential { kind: CredentialKind::ApiKey, id },
        issued: None,
        expires: None,
        phone: None,
        mail: None,
        bearer: false,
    }
}

fn network(source: &Source, text: &Spanned<String>, faults: &mut Vec<Fault>) -> Option<IpNet> {
    let network = match text.get_ref().parse::<IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => text.get_ref().parse::<IpNet>().ok(),
    };
    if let Some(network) = network.filter(|network| network.trunc() != *network) {
        let message = format!("`{network}` has bits set beyond its prefix");
        let fault = Fault::new(source, text.span(), message);
        faults.push(fault.help(format!("write `{}`", network.trunc())));
    }
    if network.is_none() {
        let fault = Fault::new(source, text.span(), "not a network");
        faults.push(fault.help("for example `203.0.113.0/24` or `2001:db8::/32`"));
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<ApiKeys>, Vec<Fault>) {
        let mut faults = Vec::new();
        let keys = ApiKeys::read(&Source::new("keys.toml", text), &"main".into(), &mut faults);
        (keys, faults)
    }

    fn find(text: &str, id: &str, client: &str) -> Found {
        let keys = read(text).0.unwrap();
        let presented = Presented { kind: CredentialKind::ApiKey, bearer: false, text: id };
        keys.find(&presented, client.parse().unwrap())
    }

    #[test]
    fn a_key_names_its_account() {
        let file = "[[key]]\nid = \"k1\"\naccount = \"alice\"\n";
        let identity = find(file, "k1", "203.0.113.7").unwrap().unwrap();
        assert_eq!(identity.account, AccountId::new("main", "alice"));
        assert_eq!(identity.credential.id.as_str(), "key:k1");
        assert_eq!(identity.issued, None);
    }

    #[test]
    fn an_unknown_key_is_invalid_not_nobody() {
        let unknown = find("", "k1", "203.0.113.7");
        assert_eq!(unknown.unwrap_err(), IdentifyError::Invalid("unknown API key"));
    }

    #[test]
    fn a_key_is_good_only_in_its_networks_and_an_empty_list_is_nowhere() {
        let file = r#"
            key = [
              { id = "here", account = "a", networks = ["203.0.113.0/24", "2001:db8::1"] },
              { id = "nowhere", account = "a", networks = [] },
            ]
        "#;
        assert!(find(file, "here", "203.0.113.7").is_ok());
        assert!(find(file, "here", "2001:db8::1").is_ok());
        for (id, client) in [("here", "203.0.114.1"), ("here", "2001:db8::2"), ("nowhere", "::1")] {
            assert_eq!(find(file, id, client).unwrap_err(), IdentifyError::NetworkNotAllowed);
        }
    }

    #[test]
    fn every_fault_is_found_with_its_place() {
        let (keys, faults) = read(concat!(
            "[[key]]\nid = \"a b\"\naccount = \"\"\nnetworks = [\"10.0.0.0/33\"]\n",
            "[[key]]\nid = \"k\"\naccount = \"a\"\n",
            "[[key]]\nid = \"k\"\naccount = \"b\"\n",
        ));
        assert!(keys.is_none());
        let lines: Vec<_> = faults.iter().map(|fault| fault.position().0).collect();
        assert_eq!(lines, [4, 2, 3, 9]);
        assert!(faults[3].message.contains("twice"));
    }

    #[test]
    fn a_misspelt_key_is_a_fault() {
        let (_, faults) = read("[[key]]\nid = \"k\"\naccount = \"a\"\nnetwork = []\n");
        assert_eq!(faults[0].help.as_deref(), Some("did you mean `networks`?"));
    }
}
