//! Ids of the messages that a connection has sent: an answer to one of them could be taken for another's.
//!
//! Never forgets an id for the sake of memory: when it is full, only a number above all others is new. Invariant: what is
//! called fresh was never remembered.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// The ids of one connection.
#[derive(Default)]
pub(super) struct Ids {
    /// Hashes: two ids with the same one are merely both doubted.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// Of those that are numbers.
    highest: Option<u64>,
    full: bool,
}

const SEEN_MAX: usize = 4096;

impl Ids {
    /// Whether no message with this id has been sent.
    pub fn is_fresh(&self, id: &str) -> bool {
        let above = number(id).is_some_and(|id| self.highest.is_none_or(|highest| id > highest));
        above || (!self.full && !self.seen.contains(&self.hasher.hash_one(id)))
    }

    /// A message with this id is sent.
    pub fn remember(&mut self, id: &str) {
        self.highest = self.highest.max(number(id));
        self.full |= self.seen.len() >= SEEN_MAX;
        if !self.full {
            self.seen.insert(self.hasher.hash_one(id));
        }
    }
}

/// A number as it is usually written.
fn number(id: &str) -> Option<u64> {
    let plain = id == "0" || !id.starts_with('0');
    let digits = id.len() <= 19 && id.bytes().all(|byte| byte.is_ascii_digit());
    (plain && digits).then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_fresh_once() {
        let mut ids = Ids::default();
        for id in ["7", "a", "", "-3", "07", "99999999999999999999"] {
            assert!(ids.is_fresh(id), "{id}");
            ids.remember(id);
            assert!(!ids.is_fresh(id), "{id}");
        }
        assert!(ids.is_fresh("6") && ids.is_fresh("8") && ids.is_fresh("b"));
    }

    #[test]
    fn after_many_messages_only_higher_numbers_are_fresh() {
        let mut ids = Ids::default();
        for id in 1000..1000 + SEEN_MAX {
            ids.remember(&id.to_string());
        }
        assert!(ids.is_fresh("new") && ids.is_fresh("3"));
        ids.remember("another");
        for id in ["new", "another", "3", "1000", "05", "-1"] {
            assert!(!ids.is_fresh(id), "{id}");
        }
        assert!(ids.is_fresh("9000"));
        ids.remember("9000");
        assert!(!ids.is_fresh("9000") && !ids.is_fresh("8999"));
        assert!(ids.seen.len() <= SEEN_MAX);
    }
}
