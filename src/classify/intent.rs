//! What an approval is bound to.
//!
//! Never normalises anything but declared amounts. Invariant: two requests have the same digest
//! exactly when account, credential, method, authority, path and every parameter that is not
//! volatile are the same.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::types::{AccountId, Credential, IntentDigest};

/// The canonical form of an action without account and credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub method: Arc<str>,
    /// As sent, in lower case.
    pub authority: Arc<str>,
    pub path: Arc<str>,
    /// (place and name, exact lexical form), sorted; without the volatile ones. Declared amounts
    /// are in canonical decimal form.
    pub parameters: Vec<(String, String)>,
}

impl Intent {
    /// SHA-256 over version, account, credential and every part, each length-prefixed.
    pub fn digest(&self, account: &AccountId, credential: &Credential) -> IntentDigest {
        let mut context = Context::new(&SHA256);
        let mut part = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        part("v1");
        part(&account.group);
        part(&account.name);
        part(credential.kind.word());
        part(credential.id.as_str());
        part(&self.method);
        part(&self.authority);
        part(&self.path);
        for (name, value) in &self.parameters {
            part(name);
            part(value);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        IntentDigest(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CredentialId, CredentialKind};

    fn intent() -> Intent {
        Intent {
            method: "POST".into(),
            authority: "api.exchange.example".into(),
            path: "/w".into(),
            parameters: vec![("query.a".into(), "1".into()), ("query.b".into(), String::new())],
        }
    }

    fn digest(
        intent: &Intent,
        group: &str,
        name: &str,
        kind: CredentialKind,
        id: &str,
    ) -> IntentDigest {
        let credential = Credential { kind, id: CredentialId::new(id) };
        intent.digest(&AccountId::new(group, name), &credential)
    }

    #[test]
    fn every_part_counts() {
        let base = digest(&intent(), "main", "alice", CredentialKind::Session, "s1");
        assert_eq!(base, digest(&intent(), "main", "alice", CredentialKind::Session, "s1"));
        let mut others = vec![
            digest(&intent(), "mainalice", "", CredentialKind::Session, "s1"),
            digest(&intent(), "main", "bob", CredentialKind::Session, "s1"),
            digest(&intent(), "main", "alice", CredentialKind::ApiKey, "s1"),
            digest(&intent(), "main", "alice", CredentialKind::Session, "s2"),
        ];
        let changes: [fn(&mut Intent); 6] = [
            |intent| intent.method = "PUT".into(),
            |intent| intent.authority = "exchange.example".into(),
            |intent| intent.path = "/w2".into(),
            |intent| intent.parameters[0].1 = "01".into(),
            |intent| drop(intent.parameters.pop()),
            |intent| intent.parameters[0] = ("query.a1".into(), String::new()),
        ];
        for change in changes {
            let mut changed = intent();
            change(&mut changed);
            others.push(digest(&changed, "main", "alice", CredentialKind::Session, "s1"));
        }
        for (at, other) in others.iter().enumerate() {
            assert_ne!(*other, base, "{at}");
            assert!(!others[..at].contains(other), "{at}");
        }
    }
}
