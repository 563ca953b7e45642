//! What a request would do: packs turn method, path, query and body into an `Action` or a refusal.
//!
//! Never normalises what is forwarded. Loose detection asks "does this smell like a guarded
//! action?", a strict grammar asks "may it pass?"; loose and not strict is a refusal. Invariant:
//! the one parse that classifies is the one that is shown and hashed.
//!
//! Every guarded action with parameters carries a `sample`, which is read at load, in its own spelling and in every
//! other that some server has been seen to take for it.
//!
//! A pack has four keys beyond those that policies/packs.md describes. `accepted = { "json.code" = "0" }`,
//! for the file or for one action, says what in a 2xx answer means that the exchange accepted (a
//! list: any of these values). `amounts = ["fee"]` names fields that are compared as exact
//! decimals, as `amount` always is. `guarded = false` gives ordinary traffic a name that rules and
//! metrics can use. `unreadable = ["amount"]` says that the request has the field in a form that is
//! not read, such as an invoice, so that rules about it apply.

mod amount;
mod answer;
pub(crate) mod canonical;
mod case_file;
pub mod cases;
mod compile;
mod detect;
mod draft;
pub(crate) mod inspect;
mod intent;
pub(crate) mod json;
mod mutants;
mod names;
mod operation;
pub(crate) mod pairs;
mod parameters;
mod pattern;
mod place;
mod read;
mod rule;
mod sample;
mod selftest;
mod socket;
mod written;

use std::cell::RefCell;
use std::sync::Arc;

pub use answer::{Echo, NativeAnswer};
pub use detect::{ActionSet, Detected, Unclassified};
pub use intent::Intent;
pub use pattern::frame_method;
pub use read::{BODY_BYTES_MAX, Refused};
pub use rule::{ActionRule, BodyKinds, Sign};
pub use socket::{Envelope, Names, Socket};

use crate::fault::{Fault, Source};
use crate::types::{ActionName, Fields, Shown};

/// What a guarded request would do.
#[derive(Clone, Debug)]
pub struct Action {
    pub name: ActionName,
    /// One per element of a batch; exactly one otherwise. The strictest element decides.
    pub elements: Vec<Fields>,
    /// What the owner is shown, in the pack's order; with several elements, each line's name ends
    /// in `[1]`, `[2]`, …
    pub shown: Vec<Shown>,
    pub intent: Intent,
    /// How the exchange words a refusal.
    pub answer: Option<Arc<NativeAnswer>>,
}

/// Whether some server would read `path` as `place` or as something below it, however it is spelt.
/// `place` is in lower case and without a slash at its end.
pub fn resembles(path: &str, place: &str) -> bool {
    let mut found = false;
    canonical::for_each_key(path, &mut |key| {
        let below = key.strip_prefix(place);
        found |= below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    });
    found
}

/// Whether every octet of a path is one that all servers leave as it is.
pub(crate) fn is_plain(path: &str) -> bool {
    canonical::is_all_plain(path)
}

/// Compiles the packs of one site. None, with every fault of every file, unless all of them are
/// sound.
pub fn load(packs: &[Source], faults: &mut Vec<Fault>) -> Option<ActionSet> {
    let found = RefCell::new(Vec::new());
    let mut claims = Vec::new();
    let compiled: Vec<_> =
        packs.iter().filter_map(|source| compile::pack(source, &mut claims, &found)).collect();
    let mut found = found.into_inner();
    let set = found.is_empty().then(|| {
        let (packs, origins): (Vec<_>, Vec<_>) = compiled.into_iter().unzip();
        let origins: Vec<_> = origins.into_iter().flatten().collect();
        let set = ActionSet::new(packs);
        sample::check(&set, &origins, &mut found);
        if found.is_empty() {
            selftest::check(&set, &origins, &mut found);
        }
        set
    });
    let sound = found.is_empty();
    faults.extend(found);
    set.filter(|_| sound)
}

/// The names of all actions of packs that have faults; `None` if some name cannot be read.
pub fn names(packs: &[Source]) -> Option<Vec<ActionName>> {
    packs.iter().map(compile::names).collect::<Option<Vec<_>>>().map(|names| names.concat())
}
