//! Names of keys, and lists as keys, arguments and values hold them.
//!
//! Never names a key whose parts could be read in two ways: each part stands after its length. Invariant: all keys of
//! one account carry the same tag, so that one server holds them all.

use std::sync::Arc;

use crate::types::{AccountId, Credential};

/// Parts of the state that belong to accounts.
pub(super) const TAGS: u16 = 1024;
/// Codes that were sent, and the outbox.
pub(super) const OUT: u16 = TAGS;
/// What all gateways have in common.
pub(super) const COMMON: u16 = TAGS + 1;
/// Which gateways live.
pub(super) const NODES: u16 = TAGS + 2;
/// All of them.
pub(super) const PARTS: u16 = TAGS + 3;

/// The tag of an account: the same on every gateway of every version.
pub(super) fn tag_of(account: &AccountId) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    for byte in account_text(account) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash >> 32) as u16 % TAGS
}

fn tag_text(tag: u16) -> String {
    match tag {
        OUT => "out".to_owned(),
        COMMON => "common".to_owned(),
        NODES => "nodes".to_owned(),
        _ => format!("{tag:03x}"),
    }
}

/// The marker of a part of the state: what names all its other keys.
pub(super) fn marker(prefix: &str, tag: u16) -> Vec<u8> {
    format!("{prefix}{{{}}}m", tag_text(tag)).into_bytes()
}

pub(super) fn account_text(account: &AccountId) -> Vec<u8> {
    join([account.group.as_bytes(), account.name.as_bytes()])
}

pub(super) fn credential_text(credential: &Credential) -> Vec<u8> {
    format!("{}:{}", credential.kind.word(), credential.id).into_bytes()
}

/// The account that a changed key is about: `{t}a…` or `{t}s…`.
pub(super) fn account_in(prefix: &str, key: &[u8]) -> Option<AccountId> {
    let behind = key.strip_prefix(prefix.as_bytes())?.strip_prefix(b"{")?;
    let end = behind.iter().position(|byte| *byte == b'}')?;
    match behind.get(end + 1..)? {
        [b'a' | b's', rest @ ..] => account_from(rest),
        _ => None,
    }
}

/// Reads an account that stands at the beginning.
pub(super) fn account_from(text: &[u8]) -> Option<AccountId> {
    let (group, rest) = first(text)?;
    let (name, _) = first(rest)?;
    let text = |bytes| std::str::from_utf8(bytes).ok().map(Arc::<str>::from);
    Some(AccountId { group: text(group)?, name: text(name)? })
}

/// A list as text: each item after its length and a colon.
pub(super) fn join<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let item = item.as_ref();
        out.extend_from_slice(item.len().to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(item);
    }
    out
}

/// The items of a list; `None` if it is not one.
pub(super) fn split(mut text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    while !text.is_empty() {
        let (item, rest) = first(text)?;
        items.push(item);
        text = rest;
    }
    Some(items)
}

fn first(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (length, rest) = text.split_at_checked(colon)?;
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    rest.get(1..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_key_names_its_account_and_other_keys_do_not() {
        let account = AccountId::new("ma}in", "al|ice:{1}");
        let text = account_text(&account);
        let key = |head: &str, tail: &str| [head.as_bytes(), &text, tail.as_bytes()].concat();
        for key in [key("p{3ff}a", ""), key("p{3ff}s", "session:1:2")] {
            assert_eq!(account_in("p", &key), Some(account.clone()));
        }
        for key in [key("p{3ff}l", ""), key("q{3ff}a", ""), b"p{3ff}a99:x".to_vec(), b"".to_vec()] {
            assert_eq!(account_in("p", &key), None);
        }
    }

    #[test]
    fn lists_keep_every_byte() {
        let items: [&[u8]; 4] = [b"", b"12:", b"\0\xff", b"x"];
        assert_eq!(split(&join(items)).as_deref(), Some(&items[..]));
        for broken in [&b"3:ab"[..], b"x", b"-1:", b"1a"] {
            assert_eq!(split(broken), None);
        }
    }

    #[test]
    fn the_tag_of_an_account_never_changes() {
        let tags = ["alice", "bob"].map(|name| tag_of(&AccountId::new("main", name)));
        assert!(tags.iter().all(|tag| *tag < TAGS));
        assert_eq!(tags, [tags[0], tags[1]]);
    }
}
