//! Operators suspend actions and let them go on: now or for an announced window, at once on every gateway (INCIDENTS 19).
//!
//! Never suspends what no pack and no policy knows: a misspelt word would stop nothing and look as if it did. Invariant:
//! when an order is answered it is in the store and in force here; the other gateways are told then.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::requests::new_id;
use super::{Desk, down};
use crate::admin::{OperationError, Order, Resume, Suspend};
use crate::audit::{Event, Record};
use crate::fault::suggest;
use crate::gateway::{Gateway, Live};
use crate::pages::Language;
use crate::serve::Parts;
use crate::store::Notice;
use crate::store::board::{Board, Posted};
use crate::suspended::{NO_ACTION, REFRESH_EVERY};
use crate::suspension::{REASON_CHARS_MAX, SUSPENSIONS_MAX, Suspension, is_pattern, names};
use crate::types::{SiteName, UnixMs};

/// Reads from time to time what is suspended, for the notice that did not come, until `stop`.
pub(crate) async fn watch_suspensions(parts: Arc<Parts>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH_EVERY) => read_again(&parts.gateway).await,
        }
    }
}

/// What cannot be read stays as it was, and guarded actions ask for themselves after a few seconds.
pub(super) async fn read_again(gateway: &Gateway) {
    if let Err(error) = gateway.suspended.refresh(gateway).await {
        tracing::warn!(%error, "what is suspended cannot be read anew: guarded actions are refused, others go by what was read last");
    }
}

impl Desk {
    pub(super) async fn do_suspend(
        &self,
        wanted: Suspend,
        order: Order,
    ) -> Result<Suspension, OperationError> {
        let gateway = self.gateway();
        let now = gateway.clock.now();
        let id = new_id(gateway);
        let suspension = checked(&gateway.live.load(), wanted, id, &order.by, now);
        let suspension = suspension.map_err(OperationError::Refused)?;
        let value = serde_json::to_vec(&suspension)
            .map_err(|error| OperationError::Unavailable(error.to_string()))?;
        let (id, until) = (suspension.id.clone(), suspension.kept_until());
        let posted = Posted { id, value, until };
        if !gateway.store.post(Board::Suspensions, posted, now).await.map_err(down)? {
            let why = format!("there are {SUSPENSIONS_MAX} suspensions: resume some of them first");
            return Err(OperationError::Refused(why));
        }
        self.note_suspension(Event::Suspended, &suspension, &order.by);
        self.spread().await?;
        Ok(suspension)
    }

    pub(super) async fn do_resume(
        &self,
        which: Resume,
        order: Order,
    ) -> Result<Vec<Suspension>, OperationError> {
        let gateway = self.gateway();
        gateway.suspended.refresh(gateway).await.map_err(down)?;
        let is_meant = |it: &Suspension| {
            let here = which
                .site
                .as_deref()
                .is_none_or(|site| it.site.as_ref().is_some_and(|its| its.as_str() == site));
            here && (it.id == which.which || it.action == which.which)
        };
        let mut ended = Vec::new();
        for suspension in gateway.suspended.all().into_iter().filter(is_meant) {
            let now = gateway.clock.now();
            let taken = gateway.store.take_down(Board::Suspensions, &suspension.id, now).await;
            if taken.map_err(down)?.is_some() {
                self.note_suspension(Event::Resumed, &suspension, &order.by);
                ended.push(suspension);
            }
        }
        self.spread().await?;
        if ended.is_empty() {
            let why = format!(
                "nothing is suspended as `{}`; `stepgate status` lists what is",
                which.which
            );
            return Err(OperationError::NotFound(why));
        }
        Ok(ended)
    }

    /// In force here, and told to the others.
    async fn spread(&self) -> Result<(), OperationError> {
        let gateway = self.gateway();
        if let Err(error) = gateway.store.announce(Notice::Suspensions).await {
            tracing::warn!(%error, "the other gateways find out by themselves what is suspended");
        }
        gateway.suspended.refresh(gateway).await.map_err(down)
    }

    fn note_suspension(&self, event: Event, suspension: &Suspension, by: &str) {
        let mut record = Record::new(self.gateway().clock.now(), event);
        record.site = suspension.site.clone();
        let time = |at: UnixMs| at.to_string();
        let until = suspension.until.map_or("resumed".to_owned(), time);
        let why = suspension.reasons.values().map(|why| format!(": {why}")).next();
        self.gateway().audit.note(record.with_note(format!(
            "operator:{by}: {} from {} until {until} ({}){}",
            suspension.action,
            suspension.from,
            suspension.id,
            why.unwrap_or_default(),
        )));
    }
}

/// What was asked for, if it can be meant.
fn checked(
    live: &Live,
    wanted: Suspend,
    id: String,
    by: &str,
    now: UnixMs,
) -> Result<Suspension, String> {
    let Suspend { action, site, from, until, for_ms, reasons, by: _ } = wanted;
    let sites: Vec<&str> = live.sites().map(|it| it.name.as_str()).collect();
    if let Some(unknown) = site.as_deref().filter(|site| !sites.contains(site)) {
        let mut sites = sites;
        sites.sort_unstable();
        sites.dedup();
        return Err(format!("there is no site `{unknown}`; there is: {}", sites.join(", ")));
    }
    let site = site.map(SiteName::new);
    is_known(live, site.as_ref(), &action)?;
    let from = from.unwrap_or(now);
    let until = match (until, for_ms) {
        (Some(_), Some(_)) => return Err("either `until` or `for`, not both".to_owned()),
        (until, None) => until,
        (None, Some(ms)) => Some(from.plus_ms(ms)),
    };
    let latest = now.plus_ms(WINDOW_MS_MAX);
    if from > latest || until.is_some_and(|until| until > latest) {
        return Err(
            "it lies more than a year ahead: leave the end out if nobody knows it".to_owned()
        );
    }
    if until.is_some_and(|until| until <= from || until <= now) {
        return Err("it would end before it begins, or before now".to_owned());
    }
    for (tag, why) in &reasons {
        if !tag.is_empty() && !Language::ALL.iter().any(|known| known.tag() == tag) {
            return Err(format!("`{tag}` is no language: en, zh-TW, zh-CN, ja and de are"));
        }
        let printable = why.chars().all(|c| !c.is_control());
        if why.trim().is_empty() || !printable || why.chars().count() > REASON_CHARS_MAX {
            return Err(format!("a reason is one line of at most {REASON_CHARS_MAX} characters"));
        }
    }
    Ok(Suspension { id, action, site, from, until, reasons, by: by.to_owned(), since: now })
}

/// Whether a pack of a site in question has anything of the kind. What policies could name beside that is nothing that
/// could be suspended.
fn is_known(live: &Live, site: Option<&SiteName>, action: &str) -> Result<(), String> {
    if !is_pattern(action) {
        return Err(format!(
            "`{action}` is no action: write `withdrawal`, `address_book.*` or `*`"
        ));
    }
    let sites: Vec<_> =
        live.sites().filter(|it| site.is_none_or(|site| *site == it.name)).collect();
    let packs = sites.iter().flat_map(|it| it.actions.rules()).map(|rule| rule.name.as_str());
    let mut known: Vec<&str> = packs.chain([NO_ACTION]).collect();
    known.sort_unstable();
    known.dedup();
    if let Some(itself) = action.strip_suffix(".*").filter(|name| known.contains(name)) {
        return Err(format!(
            "`{action}` would leave `{itself}` open, which is an action itself: suspend `{itself}`, and what begins with it by itself"
        ));
    }
    if known.iter().any(|name| names(action, name)) {
        return Ok(());
    }
    let near = suggest(action, known.iter().copied());
    let help = near.unwrap_or_else(|| format!("there is: {}", known.join(", ")));
    Err(format!("no pack has an action `{action}`; {help}"))
}

/// What customers are told lies within a year.
const WINDOW_MS_MAX: u64 = 366 * 86_400_000;
