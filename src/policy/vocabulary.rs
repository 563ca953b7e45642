//! The actions that a policy may name.
//!
//! Never holds a path: packs say which request is which action. Invariant: sorted and without
//! duplicates.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::types::ActionName;

/// Actions that every policy may name, whether or not a pack of the site has them.
pub const STANDING_ACTIONS: [&str; 16] = [
    "ordinary",
    "login",
    "order",
    "mass_cancel",
    "batch_cancel",
    "batch_order",
    "close_position",
    "withdrawal",
    "transfer",
    "address_book.add",
    "address_book.change",
    "address_book.remove",
    "api_key.create",
    "api_key.change",
    "api_key.delete",
    "subaccount.access",
];

/// Known action names.
#[derive(Clone, Debug)]
pub struct Vocabulary(Vec<Arc<str>>);

impl Vocabulary {
    /// The standing actions and those of the site's packs.
    pub fn new(known_actions: &[ActionName]) -> Self {
        let packs = known_actions.iter().map(|name| Arc::from(name.as_str()));
        let mut names: Vec<Arc<str>> =
            STANDING_ACTIONS.into_iter().map(Arc::from).chain(packs).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    pub fn knows(&self, action: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(action)).is_ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }

    /// "did you mean …?", else the whole list.
    pub fn suggest(&self, action: &str) -> Option<String> {
        let near = crate::fault::suggest(action, self.0.iter().map(|name| &**name));
        near.or_else(|| Some(format!("known actions: {}", self.0.join(", "))))
    }

    /// The same for `address_book.*`.
    pub fn suggest_group(&self, group: &str) -> Option<String> {
        let groups: BTreeSet<String> = self
            .0
            .iter()
            .filter_map(|name| name.rsplit_once('.').map(|(group, _)| format!("{group}.*")))
            .collect();
        let near = crate::fault::suggest(group, groups.iter().map(String::as_str));
        let all = || groups.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        near.or_else(|| Some(format!("groups are {}", all())))
    }
}
