//! What an account of a case did before, and what it learns while a story is told.
//!
//! Never asks the store; it does by hand what the store does. Invariant: everything here has a date of its own, so that
//! ages and windows follow when the clock is moved.

use std::sync::Arc;

use super::facts::{AddressFacts, CounterTotal, Decimal, HoldRunning, Window};
use super::number;
use super::staged::{HOME, HOME_ASN};
use crate::types::UnixMs;

/// Where the account was seen, whom it paid, how often.
#[derive(Clone, Debug)]
pub struct History {
    pub countries: Vec<String>,
    /// Of these, the ones that became known in the story.
    pub countries_learnt: Vec<(String, UnixMs)>,
    pub asns: Vec<u32>,
    /// `None`: every destination is an old friend.
    pub book: Option<Vec<Entry>>,
    /// What became of destinations in the story.
    pub learnt: Vec<Entry>,
    /// What the case says of the time before.
    pub done: Vec<Done>,
    /// What went through in the story.
    pub done_in_story: Vec<Done>,
    pub holds: Vec<Begun>,
    /// The step before went through, so that this is where the account was seen last.
    pub seen_here: bool,
}

impl Default for History {
    fn default() -> Self {
        Self {
            countries: vec![HOME.to_owned()],
            countries_learnt: Vec::new(),
            asns: vec![HOME_ASN],
            book: None,
            learnt: Vec::new(),
            done: Vec::new(),
            done_in_story: Vec::new(),
            holds: Vec::new(),
            seen_here: false,
        }
    }
}

/// A destination in the address book; `None` if it was taken out of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub address: String,
    pub kept: Option<Kept>,
}

#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub added: UnixMs,
    pub touched: UnixMs,
    pub verified: bool,
}

impl Kept {
    pub fn facts(self, now: UnixMs) -> AddressFacts {
        AddressFacts {
            known: true,
            verified: self.verified,
            age_ms: now.since_ms(self.added),
            idle_ms: now.since_ms(self.touched),
        }
    }
}

/// Something that the account did.
#[derive(Clone, Debug)]
pub struct Done {
    pub action: Arc<str>,
    pub at: UnixMs,
    pub count: u64,
    /// Of all together; `None` without a price.
    pub usd: Option<Decimal>,
}

/// A hold that began in the story.
#[derive(Clone, Debug)]
pub struct Begun {
    pub destination: Option<String>,
    pub running: HoldRunning,
}

impl History {
    /// What the book says of a destination at the story's beginning.
    pub fn entry(&self, address: &str) -> Option<&Entry> {
        self.book.iter().flatten().find(|entry| entry.address == address)
    }

    /// What the story did to a destination.
    pub fn learnt(&self, address: &str) -> Option<&Entry> {
        self.learnt.iter().rev().find(|entry| entry.address == address)
    }

    /// Since when the account comes from this country, if the story tells.
    pub fn since(&self, country: &str) -> Option<UnixMs> {
        self.countries_learnt.iter().find(|(known, _)| known == country).map(|(_, since)| *since)
    }

    /// A place where something went through is one of the account's.
    pub fn learn_place(&mut self, country: Option<String>, asn: Option<u32>, now: UnixMs) {
        if let Some(country) = country.filter(|country| !self.countries.contains(country)) {
            self.countries.push(country.clone());
            self.countries_learnt.push((country, now));
        }
        self.asns.extend(asn.filter(|asn| !self.asns.contains(asn)));
    }

    /// As the store does after an accepted action: what is added begins anew, what is paid to stays known. `was` is the
    /// destination as the case had it.
    pub fn learn_address(
        &mut self,
        action: &str,
        address: &str,
        was: Option<AddressFacts>,
        now: UnixMs,
        proved: bool,
    ) {
        let new = Kept { added: now, touched: now, verified: proved };
        let kept = match action {
            "address_book.remove" => None,
            "address_book.add" | "address_book.change" => Some(new),
            "withdrawal" => Some(was.filter(|was| was.known).map_or(new, |was| Kept {
                added: UnixMs(now.0.saturating_sub_unsigned(was.age_ms)),
                touched: now,
                verified: was.verified || proved,
            })),
            _ => return,
        };
        if action.starts_with("address_book.") {
            self.holds.retain(|hold| hold.destination.as_deref() != Some(address));
        }
        self.learnt.push(Entry { address: address.to_owned(), kept });
    }
}

/// Per action and window, what was done in it.
pub fn totals(done: &[Done], now: UnixMs) -> Vec<(Arc<str>, Window, CounterTotal)> {
    let mut totals: Vec<(Arc<str>, Window, CounterTotal)> = Vec::new();
    for done in done {
        for window in Window::ALL.into_iter().filter(|it| now.since_ms(done.at) < it.ms()) {
            let more = CounterTotal { count: done.count, usd: done.usd };
            match totals.iter_mut().find(|(name, of, _)| *name == done.action && *of == window) {
                Some((_, _, total)) => *total = sum(*total, more),
                None => totals.push((done.action.clone(), window, more)),
            }
        }
    }
    totals
}

/// Both together; what has no price makes a sum without one.
pub fn sum(one: CounterTotal, other: CounterTotal) -> CounterTotal {
    CounterTotal {
        count: one.count.saturating_add(other.count),
        usd: one.usd.zip(other.usd).map(|(one, other)| number::add(one, other)),
    }
}
