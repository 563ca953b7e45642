//! The local view: what ordinary traffic needs to know of its account, in memory.
//!
//! Never does I/O. Invariant: an entry is shown only while its account's generation is the one that
//! was read *before* the store was; whoever changes the account raises the generation after the change is
//! durable and before it is answered. So nobody who was told "frozen" can still be shown "not frozen".

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, UnitWeighter};

use crate::locate::travel::Sighting;
use crate::store::Standing;
use crate::types::{AccountId, Credential};

/// Standings by account and credential; bounded.
pub(in crate::store) struct View {
    entries: Cache<(AccountId, Credential), Entry, UnitWeighter, RandomState>,
    /// One generation for all accounts with the same hash: a bounded number of them, at the price
    /// of an entry that is read again for nothing now and then.
    generations: Box<[AtomicU64]>,
    /// Added to each of them.
    all: AtomicU64,
    hasher: RandomState,
}

/// A key that need not be cloned to be looked up; hashes as the pair does.
#[derive(Hash)]
struct Borrowed<'a>(&'a AccountId, &'a Credential);

impl Equivalent<(AccountId, Credential)> for Borrowed<'_> {
    fn equivalent(&self, key: &(AccountId, Credential)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

#[derive(Clone)]
struct Entry {
    generation: u64,
    standing: Arc<Standing>,
}

impl View {
    pub(in crate::store) fn new() -> Self {
        Self {
            entries: Cache::with(
                ENTRIES_AT_FIRST,
                ENTRIES_MAX,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hasher: RandomState::default(),
        }
    }

    /// Must be called before the table is read for `keep`.
    pub(in crate::store) fn generation(&self, account: &AccountId) -> u64 {
        let own = self.slot(account).load(Ordering::SeqCst);
        own.wrapping_add(self.all.load(Ordering::SeqCst))
    }

    pub(in crate::store) fn glance(
        &self,
        account: &AccountId,
        credential: &Credential,
    ) -> Option<Arc<Standing>> {
        let generation = self.generation(account);
        let entry = self.entries.get(&Borrowed(account, credential))?;
        (entry.generation == generation).then_some(entry.standing)
    }

    /// Keeps what was read after `generation` was.
    pub(in crate::store) fn keep(
        &self,
        account: &AccountId,
        credential: &Credential,
        generation: u64,
        standing: Arc<Standing>,
    ) {
        self.entries.insert((account.clone(), credential.clone()), Entry { generation, standing });
    }

    /// Every entry of the account is stale from now on.
    pub(in crate::store) fn raise(&self, account: &AccountId) {
        self.slot(account).fetch_add(1, Ordering::SeqCst);
    }

    /// Every entry is stale from now on.
    pub(in crate::store) fn raise_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn slot(&self, account: &AccountId) -> &AtomicU64 {
        let hash = self.hasher.hash_one(account) as usize; // the low bits are as good as any
        &self.generations[hash % GENERATIONS]
    }
}

/// Whether a sighting says something that is not known yet, or that is known for a minute and more.
pub(in crate::store) fn is_news(
    last: Option<&Sighting>,
    countries: &[Arc<str>],
    asns: &[u32],
    seen: &Sighting,
) -> bool {
    let known_place = seen.country.as_ref().is_none_or(|country| countries.contains(country))
        && seen.asn.is_none_or(|asn| asns.contains(&asn));
    let seen_just_now = last.is_some_and(|last| {
        last.client == seen.client && seen.at.since_ms(last.at) < SIGHTINGS_APART_MS
    });
    !(known_place && seen_just_now)
}

const SIGHTINGS_APART_MS: u64 = 60_000;
const ENTRIES_AT_FIRST: usize = 1_000;
const ENTRIES_MAX: u64 = 200_000;
const GENERATIONS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CredentialId, CredentialKind};

    #[test]
    fn what_was_read_before_a_change_is_not_shown_after_it() {
        let view = View::new();
        let account = AccountId::new("main", "alice");
        let session = Credential { kind: CredentialKind::Session, id: CredentialId::new("s") };
        let generation = view.generation(&account);
        view.keep(&account, &session, generation, Arc::default());
        assert!(view.glance(&account, &session).is_some());
        view.raise(&account);
        assert!(view.glance(&account, &session).is_none());
        // A slow reader comes back with what it read before the change.
        view.keep(&account, &session, generation, Arc::default());
        assert!(view.glance(&account, &session).is_none());
    }
}
