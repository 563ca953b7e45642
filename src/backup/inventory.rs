//! What records say, small enough to compare a whole store with a whole file.
//!
//! Never holds the records themselves: 32 bytes for each. Invariant: of two records about the same thing the later one
//! counts, as it does when they are put into a store.

use super::Counts;
use crate::crypto::sha256;
use crate::store::moved::Kept;
use crate::types::UnixMs;

/// Digests of records as they stand at one time.
pub struct Inventory {
    now: UnixMs,
    entries: Vec<Entry>,
    /// How many said nothing any more.
    over: u64,
}

struct Entry {
    subject: u64,
    content: u64,
    kind: &'static str,
}

impl Inventory {
    /// What still says something at `now` counts.
    pub fn at(now: UnixMs) -> Self {
        Self { now, entries: Vec::new(), over: 0 }
    }

    pub fn note(&mut self, kept: &Kept) {
        let Some(kept) = kept.clone().as_of(self.now) else {
            self.over += 1;
            return;
        };
        let kept = kept.in_order();
        // A record always has a JSON form: it has just come from one, or is on its way into one.
        let content = serde_json::to_vec(&kept).unwrap_or_default();
        let entry =
            Entry { subject: short(&kept.subject()), content: short(&content), kind: kept.kind() };
        self.entries.push(entry);
    }

    /// How many had run out.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// How many things of each kind are known.
    pub fn counts(&mut self) -> Counts {
        self.settle();
        counts(self.entries.iter())
    }

    /// What `other` does not say, or says otherwise.
    pub fn missing_in(&mut self, other: &mut Self) -> Counts {
        self.settle();
        other.settle();
        counts(self.entries.iter().filter(|mine| {
            let found = other.entries.binary_search_by_key(&mine.subject, |entry| entry.subject);
            let theirs = found.ok().and_then(|at| other.entries.get(at));
            theirs.is_none_or(|theirs| theirs.content != mine.content)
        }))
    }

    /// Sorts by subject and leaves the last of each.
    fn settle(&mut self) {
        self.entries.sort_by_key(|entry| entry.subject);
        self.entries.reverse();
        self.entries.dedup_by_key(|entry| entry.subject);
        self.entries.reverse();
    }
}

fn counts<'a>(entries: impl Iterator<Item = &'a Entry>) -> Counts {
    let mut counts = Counts::default();
    entries.for_each(|entry| counts.add(entry.kind));
    counts
}

fn short(bytes: &[u8]) -> u64 {
    let digest = sha256(&[bytes]);
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NumberKey;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn key(name: &str, value: u8) -> Kept {
        Kept::Key { name: name.to_owned(), value: vec![value] }
    }

    fn of(records: &[Kept]) -> Inventory {
        let mut inventory = Inventory::at(NOW);
        records.iter().for_each(|kept| inventory.note(kept));
        inventory
    }

    #[test]
    fn order_and_repetition_do_not_matter_and_the_later_record_counts() {
        let mut file = of(&[key("a", 1), key("b", 1), key("a", 2)]);
        let mut store = of(&[key("b", 1), key("a", 2), key("b", 1)]);
        assert_eq!(file.missing_in(&mut store), Counts::default());
        assert_eq!(store.missing_in(&mut file), Counts::default());
        assert_eq!(file.counts().of("keys"), 2);
    }

    #[test]
    fn what_is_missing_or_different_is_counted_by_kind() {
        let sends = Kept::Sends { number: NumberKey("n".to_owned()), at: vec![NOW] };
        let mut file = of(&[key("a", 1), key("b", 1), sends]);
        let missing = file.missing_in(&mut of(&[key("a", 1), key("b", 2), key("c", 1)]));
        assert_eq!(missing.to_string(), "keys 1, numbers 1");
    }

    #[test]
    fn what_has_run_out_is_expected_nowhere() {
        let day = 86_400_000;
        let sends = Kept::Sends { number: NumberKey("n".to_owned()), at: vec![NOW] };
        let mut later = Inventory::at(NOW.plus_ms(day));
        later.note(&sends);
        assert_eq!((later.over(), later.counts().sum()), (1, 0));
    }
}
