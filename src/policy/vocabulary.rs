//! The actions that a policy may name.
//!
//! Never holds a path: packs say which request is which action. Invariant: sorted and without
//! duplicates.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::types::ActionName;

/// Actions that every policy may name, whether or not a pack of the site has them.
pub const STANDING_ACTIONS: [&str; 19] = [
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
    "factor.add",
    "factor.remove",
    "account.thaw",
];

/// Known action names.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    names: Vec<Arc<str>>,
    /// There may be others: the pack that has them cannot be read.
    open: bool,
}

impl Vocabulary {
    /// The standing actions and those of the site's packs.
    pub fn new(known_actions: &[ActionName]) -> Self {
        let packs = known_actions.iter().map(|name| Arc::from(name.as_str()));
        let mut names: Vec<Arc<str>> =
            STANDING_ACTIONS.into_iter().map(Arc::from).chain(packs).collect();
        names.sort_unstable();
        names.dedup();
        Self { names, open: false }
    }

    /// Whatever a rule names is known. For checking what else a policy says.
    pub(super) fn open() -> Self {
        Self { open: true, ..Self::new(&[]) }
    }

    pub fn knows(&self, action: &str) -> bool {
        self.open || self.names.binary_search_by(|known| (**known).cmp(action)).is_ok()
    }

    /// Whether an action begins so.
    pub fn has_group(&self, prefix: &str) -> bool {
        self.open || self.names.iter().any(|action| action.starts_with(prefix))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// "did you mean …?", else the whole list.
    pub fn suggest(&self, action: &str) -> Option<String> {
        let near = crate::fault::suggest(action, self.names.iter().map(|name| &**name));
        near.or_else(|| Some(format!("known actions: {}", self.names.join(", "))))
    }

    /// The same for `address_book.*`.
    pub fn suggest_group(&self, group: &str) -> Option<String> {
        let groups: BTreeSet<String> = self
            .names
            .iter()
            .filter_map(|name| name.rsplit_once('.').map(|(group, _)| format!("{group}.*")))
            .collect();
        let near = crate::fault::suggest(group, groups.iter().map(String::as_str));
        let all = || groups.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        near.or_else(|| Some(format!("groups are {}", all())))
    }
}
