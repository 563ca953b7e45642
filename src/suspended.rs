//! Whether operators have suspended what a request would do: asked beside the freeze, and again at a release.
//!
//! Never a round trip in good times: what is suspended is kept here, read anew when another gateway says so and every
//! second. Invariant: a guarded action never passes by a list that is older than a few seconds; the store is asked then,
//! and if it gives no answer the action is refused.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::classify::ActionRule;
use crate::gateway::Gateway;
use crate::pipeline::{End, Visit};
use crate::rejection::Rejection;
use crate::store::StoreError;
use crate::store::board::Board;
use crate::suspension::{self, Suspension};
use crate::types::ActionName;

/// What is suspended, as this gateway last read it.
#[derive(Default)]
pub struct Suspended {
    list: ArcSwap<Vec<Suspension>>,
    /// Held while the list is replaced, so that what was read first never replaces what was read later.
    read: Mutex<Option<Instant>>,
}

impl Suspended {
    /// Reads it from the store.
    ///
    /// # Errors
    /// If the store gives no answer, or one that cannot be read: then it stays as it was.
    pub async fn refresh(&self, gateway: &Gateway) -> Result<(), StoreError> {
        let asked = Instant::now();
        let notes = gateway.store.posted(Board::Suspensions, gateway.clock.now()).await?;
        let read = |value: &[u8]| serde_json::from_slice::<Suspension>(value);
        let list: Result<Vec<_>, _> = notes.iter().map(|note| read(&note.value)).collect();
        let list = list.map_err(|_| StoreError::Corrupt { what: "a suspension".to_owned() })?;
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|known| known < asked) {
            *known = Some(asked);
            self.list.store(list.into());
        }
        Ok(())
    }

    /// All of them, those that are announced included.
    pub fn all(&self) -> Vec<Suspension> {
        (**self.list.load()).clone()
    }

    fn is_fresh(&self) -> bool {
        let known = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_some_and(|known| known.elapsed() <= FRESH)
    }
}

/// Refuses what is suspended. `rule`: the action that the request is, if it is one; `guarded`: it passes by nothing that
/// may have ended.
pub(crate) async fn judge(
    gateway: &Gateway,
    visit: &Visit,
    rule: Option<&ActionRule>,
    guarded: bool,
) -> Result<(), End> {
    let (head, suspended) = (&visit.head, &gateway.suspended);
    if guarded && !suspended.is_fresh() {
        let read = Box::pin(suspended.refresh(gateway)).await;
        read.map_err(|error| End::from(visit.store_failed(&error)))?;
    }
    let list = suspended.list.load();
    if list.is_empty() {
        return Ok(());
    }
    let action = match rule {
        // Who only looks goes on looking.
        Some(rule) if !guarded && head.method.is_safe() && !is_named(&list, &rule.name) => {
            return Ok(());
        }
        Some(rule) => rule.name.as_str(),
        None if head.method.is_safe() => return Ok(()),
        None => NO_ACTION,
    };
    let language = visit.language();
    let site = &visit.site.name;
    let closed = suspension::closed(&list, site, action, language.tag(), gateway.clock.now());
    let Some(closed) = closed else { return Ok(()) };
    visit.would_be(action);
    gateway.metrics.suspended(site, action);
    Err(Rejection::Suspended { until: closed.until, why: closed.why.map(Into::into) }.into())
}

/// Whether anything but `*` closes it.
fn is_named(list: &[Suspension], action: &ActionName) -> bool {
    let one = |it: &Suspension| it.action != "*" && suspension::names(&it.action, action.as_str());
    list.iter().any(one)
}

/// How policies name a write that no action names.
pub(crate) const NO_ACTION: &str = "ordinary";
/// Some times the interval at which it is read anyway.
const FRESH: Duration = Duration::from_secs(5);
/// A gateway that a notice does not reach is behind by no more than this.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(1);
