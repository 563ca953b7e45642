//! One action of a pack, compiled.

use std::sync::Arc;

use super::answer::NativeAnswer;
use super::pattern::Pattern;
use super::place::Place;
use super::socket::{Bearing, Only};
use super::{names, pairs};
use crate::types::ActionName;

/// Where an action's parameters may stand. None of them, or `none`: a request without a body is
/// accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyKinds {
    pub json: bool,
    pub form: bool,
    pub query: bool,
    pub none: bool,
}

/// One action of a pack, compiled.
#[derive(Debug)]
pub struct ActionRule {
    pub name: ActionName,
    /// `file:line` of its table.
    pub origin: Arc<str>,
    pub body: BodyKinds,
    /// Guarded: the body is read, the store is asked, an intent is recorded. `false` only if the
    /// pack says `guarded = false`; such an action is ordinary traffic with a name.
    pub guarded: bool,
    /// The first template, for metrics and logs.
    pub route: Arc<str>,
    /// How the exchange words a refusal.
    pub answer: Option<Arc<NativeAnswer>>,
    /// All of these in a 2xx answer mean that the exchange accepted; none, that every 2xx does.
    pub accepted: Vec<Sign>,
    /// Any of these, whatever the status, means that it may have been executed after all.
    pub unknown: Vec<Sign>,
    /// It says who sends what follows on its WebSocket, and must name somebody we know.
    pub login: bool,
    /// Where its messages name who sends them, beside where all messages do.
    pub(super) credentials: Vec<Bearing>,
    /// What a login must say besides: other ways to log in name others.
    pub(super) only: Vec<Only>,
    /// The member of its answer that is a credential of whoever asked.
    pub learn: Option<Vec<String>>,
    pub(super) patterns: Vec<Pattern>,
    /// The member of the body that says which operation it is; every pattern then has one.
    pub(super) select: Option<Place>,
    pub(super) fields: Vec<Field>,
    pub(super) volatile: Vec<Place>,
    pub(super) show: Vec<Arc<str>>,
    pub(super) choose: Vec<Choice>,
    /// Fields that the request holds in a form that is not read (an invoice's amount).
    pub(super) unreadable: Vec<Arc<str>>,
}

/// A field and where it is read.
#[derive(Debug)]
pub(super) struct Field {
    pub name: Arc<str>,
    /// Exactly one of them holds it.
    pub places: Vec<Place>,
    pub needed: bool,
    /// Compared as an exact decimal.
    pub amount: bool,
    /// May be an object or a list, which is then told as its JSON text.
    pub whole: bool,
    /// A name that somebody gave, in which single spaces may stand.
    pub label: bool,
}

/// One row of `choose`.
#[derive(Debug)]
pub(super) struct Choice {
    /// Each place with the values that fit.
    pub when: Vec<(Vec<Place>, Vec<String>)>,
    pub fields: Vec<(Arc<str>, Arc<str>)>,
}

/// A member of the exchange's answer and the values of it that mean something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    pub path: Vec<String>,
    pub values: Vec<String>,
}

impl ActionRule {
    /// Every field that `read` may set, those of `choose` and `unreadable` included.
    pub fn field_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.fields.iter().map(|field| field.name.clone()).collect();
        for name in self.chosen_names().chain(&self.unreadable) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    pub(super) fn chosen_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.choose.iter().flat_map(|row| row.fields.iter().map(|(name, _)| name))
    }

    /// Every place that a field, a `choose` row or `select` reads.
    pub(super) fn bound_places(&self) -> impl Iterator<Item = &Place> {
        let fields = self.fields.iter().flat_map(|field| &field.places);
        fields
            .chain(&self.select)
            .chain(self.choose.iter().flat_map(|row| row.when.iter().flat_map(|(at, _)| at)))
    }

    /// Whether the root of the JSON body is an array of elements.
    pub(super) fn is_batch(&self) -> bool {
        self.bound_places().any(|place| matches!(place, Place::Json { each: true, .. }))
    }

    /// The array below the root of the JSON body whose elements are read one by one.
    pub(super) fn list(&self) -> Option<&[String]> {
        self.bound_places().find_map(Place::list)
    }

    /// Whether a query could be meant as this action's parameters by a server that mixes places or
    /// methods up.
    pub(super) fn could_be_in(&self, query: &str) -> bool {
        let Ok(pairs) = pairs::parse(query) else { return true };
        pairs.iter().any(|pair| {
            names::is_reserved(&pair.name)
                || self
                    .bound_places()
                    .filter_map(Place::parameter)
                    .any(|bound| pair.name == bound || names::is_variant(&pair.name, bound))
        })
    }
}
