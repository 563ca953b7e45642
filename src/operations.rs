//! What operators can do to a running gateway: the admin interface's sentences, carried out and recorded.
//!
//! Never without a line in the audit log. Invariant: an import enrols all of its factors or none.

mod backup;
mod factors;
mod requests;
mod suspensions;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio_util::sync::CancellationToken;

use crate::admin::{
    About, Answer, Import, OperationError, Operations, Order, Ordered, Pieces, Readiness,
    RequestSeen, Resume, RoutesSeen, SiteStatus, StandingSeen, Status, Suspend, Text,
    operators::FourEyes,
};
use crate::audit::{Event, Record, RequestState};
use crate::classify::Detected;
use crate::gateway::{Gateway, Live};
use crate::notices::{self, Contact, Occurrence};
use crate::reload::Trigger;
use crate::routes::RouteSeen;
use crate::serve::Parts;
use crate::stepup::notice::{About as Happened, FrozenBy};
use crate::store::{AccountCard, Enrolled, FactorCard, Notice, StoreError};
use crate::suspension::Suspension;
use crate::types::{AccountId, Factor, RequestId};

/// Tells the audit log from time to time which writes no action names, until `stop`.
pub(crate) async fn watch_routes(parts: Arc<Parts>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUTES_EVERY) => note_routes(&parts.gateway),
        }
    }
}

/// Records what gateways that have stopped left as `sending`: it is unknown from now on, and never sent again.
///
/// # Errors
/// If the store does not answer.
pub(crate) async fn settle_orphans(gateway: &Gateway) -> Result<(), StoreError> {
    let now = gateway.clock.now();
    for orphan in gateway.store.recover(now).await? {
        let mut record = Record::new(now, Event::OrphanUnknown)
            .of_account(&orphan.account)
            .with_credential(&orphan.credential)
            .with_note("the gateway stopped before the exchange's answer was known");
        record.request = Some(RequestId::new(orphan.attempt.as_str()));
        record.site = Some(orphan.site);
        record.action = Some(orphan.action);
        record.intent = Some(orphan.intent);
        record.state = Some(RequestState::Unknown);
        if gateway.audit.commit(record.clone()).await.is_err() {
            gateway.audit.note(record);
        }
    }
    Ok(())
}

/// The same from time to time, for other gateways of the store that stop and do not come back, until `stop`.
pub(crate) async fn watch_orphans(parts: Arc<Parts>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ORPHANS_EVERY) => {}
        }
        if let Err(error) = settle_orphans(&parts.gateway).await {
            tracing::warn!(%error, "what stopped gateways left behind cannot be looked for");
        }
    }
}

/// Reads every file again, and has the other gateways of the store do so as well. `None` if it broke off.
pub(crate) async fn reload_everywhere(
    parts: &Arc<Parts>,
    by: Trigger,
) -> Option<Result<String, String>> {
    let reloaded = reload(parts, by).await;
    if let Err(error) = parts.gateway.store.announce(Notice::Reload).await {
        tracing::warn!(%error, "the other gateways were not told to reload");
    }
    reloaded
}

/// In a thread where it may block.
async fn reload(parts: &Arc<Parts>, by: Trigger) -> Option<Result<String, String>> {
    let parts = parts.clone();
    let reload = move || parts.reloader.reload(&parts.gateway, &parts.locator, by);
    tokio::task::spawn_blocking(reload).await.ok()
}

/// Does what other gateways' operators ordered everywhere, until `stop`.
pub(crate) async fn heed(parts: Arc<Parts>, stop: CancellationToken) {
    loop {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            heard = parts.gateway.store.heard() => heard,
        };
        match heard {
            Ok(Notice::Suspensions) => suspensions::read_again(&parts.gateway).await,
            Ok(Notice::Reload) => {
                tracing::info!("another gateway was told to reload");
                // The reloader says in the log what came of it.
                let _ = reload(&parts, Trigger::Gateway).await;
            }
            Err(error) => {
                tracing::warn!(%error, "notices of other gateways cannot be heard");
                tokio::time::sleep(HEED_AGAIN).await;
            }
        }
    }
}

pub(crate) use suspensions::watch_suspensions;

/// One record per route that was seen since the last time.
pub(crate) fn note_routes(gateway: &Gateway) {
    for route in gateway.routes.take_untold() {
        let mut record = Record::new(gateway.clock.now(), Event::RouteSeen);
        record.site = Some(route.site.clone());
        record.route = Some(route);
        gateway.audit.note(record);
    }
}

/// Whether a pack still has no name for it.
fn is_unnamed(live: &Live, route: &RouteSeen) -> bool {
    let Some(site) = live.sites().find(|site| site.name == route.site) else { return false };
    let Ok(method) = Method::from_bytes(route.method.as_bytes()) else { return true };
    let detected = site.actions.detect(&method, &route.example(), &HeaderMap::new());
    !matches!(detected, Detected::Action(_))
}

/// The operators' desk of one gateway.
pub(crate) struct Desk(pub Arc<Parts>, pub FourEyes);

impl Desk {
    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    fn geo(&self) -> Result<(), String> {
        let ages = [("city", self.0.locator.city_age()), ("asn", self.0.locator.asn_age())];
        match ages.into_iter().find(|(_, age)| age.is_some_and(|age| age.stale)) {
            Some((name, _)) => Err(format!("the {name} database is too old and counts as missing")),
            None => Ok(()),
        }
    }

    fn keys(&self) -> Result<(), String> {
        let live = self.gateway().live.load();
        let waiting = live.sites().find(|site| !site.identifier.has_keys());
        waiting.map_or(Ok(()), |site| Err(format!("{}: no session keys yet", site.name)))
    }

    /// Tells the account's contacts, those of before included.
    fn tell(&self, account: &AccountId, about: Happened, before: Vec<Contact>) {
        let now = self.gateway().clock.now();
        let quiet = match &about {
            Happened::FactorChange { factor, .. } => notices::of_factor(&about, *factor),
            _ => notices::quiet_of(&about, ""),
        };
        let occurrence = Occurrence::new(account.clone(), about, quiet, now);
        self.gateway().notices.tell(Occurrence { before, ..occurrence });
    }

    fn note(&self, event: Event, account: &AccountId, note: String) {
        let record = Record::new(self.gateway().clock.now(), event).of_account(account);
        self.gateway().audit.note(record.with_note(note));
    }
}

fn down(error: StoreError) -> OperationError {
    OperationError::Unavailable(error.to_string())
}

impl Operations for Desk {
    fn ready(&self) -> std::pin::Pin<Box<dyn Future<Output = Readiness> + Send + '_>> {
        Box::pin(async {
            let store = self.gateway().store.ping().await.map_err(|error| error.to_string());
            let audit = self.gateway().audit.healthy();
            Readiness {
                store,
                audit: audit.then_some(()).ok_or("the audit log cannot be written".to_owned()),
                geo: self.geo(),
                // A faulty reload does not stop traffic; it is said so, not made an outage.
                policy: Ok(()),
                jwks: self.keys(),
            }
        })
    }

    fn metrics(&self) -> String {
        let gateway = self.gateway();
        gateway.metrics.audit(gateway.audit.dropped(), gateway.audit.healthy());
        if let Some(figures) = gateway.store.figures() {
            gateway.metrics.shared_store(&figures);
        }
        let now = gateway.clock.now();
        let suspended = gateway.suspended.all();
        gateway.metrics.suspensions(suspended.iter().filter(|it| it.in_force(now)).count());
        let locator = &self.0.locator;
        for (name, age) in [("city", locator.city_age()), ("asn", locator.asn_age())] {
            if let Some(age) = age {
                gateway.metrics.geo_age_s(name, now.since_ms(age.built) / 1000);
            }
        }
        if let Some(prices) = gateway.live.load().prices() {
            let held_back = prices.state().map_or(0, |state| state.held_back.len());
            gateway.metrics.prices(prices.age_ms(now), held_back);
        }
        gateway.metrics.encode()
    }

    fn reload(&self) -> Answer<'_, String> {
        Box::pin(async {
            match reload_everywhere(&self.0, Trigger::Operator).await {
                Some(Ok(detail)) => Ok(detail),
                Some(Err(faults)) => Err(OperationError::Refused(faults)),
                None => Err(OperationError::Unavailable("the reload broke off".to_owned())),
            }
        })
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async {
            let live = self.gateway().live.load();
            let mut sites: Vec<SiteStatus> = live
                .sites()
                .map(|site| SiteStatus {
                    site: site.name.to_string(),
                    policy: site.policy.version().to_string(),
                    shadow_policy: site
                        .candidate
                        .as_ref()
                        .map(|candidate| candidate.policy.version().to_string()),
                })
                .collect();
            sites.sort_by(|a, b| a.site.cmp(&b.site));
            sites.dedup();
            let now = self.gateway().clock.now();
            // The rest is of use without it, and whether the store answers is said by `ready`.
            let sms_stops = self.gateway().store.sms_stops(now).await.unwrap_or_default();
            Ok(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.0.started,
                uptime_s: now.since_ms(self.0.started) / 1000,
                sites,
                sites_since: self.0.reloader.since(),
                last_reload: self.0.reloader.last(),
                prices: self.gateway().live.load().prices().and_then(|prices| prices.state()),
                sms_stops,
                suspensions: self.gateway().suspended.all(),
            })
        })
    }

    fn routes(&self) -> Answer<'_, RoutesSeen> {
        Box::pin(async {
            let live = self.gateway().live.load();
            let mut routes = self.gateway().routes.all();
            routes.retain(|route| is_unnamed(&live, route));
            Ok(RoutesSeen { since: self.0.started, routes })
        })
    }

    fn account(&self, account: AccountId) -> Answer<'_, AccountCard> {
        Box::pin(async move {
            let now = self.gateway().clock.now();
            self.gateway().store.account(&account, now).await.map_err(down)
        })
    }

    fn standing(&self, account: AccountId, about: About) -> Answer<'_, StandingSeen> {
        Box::pin(async move {
            let now = self.gateway().clock.now();
            let consult = about.of(account).map_err(OperationError::Refused)?;
            let seen = self.gateway().store.consult(consult, now).await.map_err(down)?;
            Ok(StandingSeen::new(seen, now))
        })
    }

    fn freeze(&self, account: AccountId, order: Order) -> Answer<'_, bool> {
        Box::pin(async move {
            let by = format!("operator:{}", order.by);
            let now = self.gateway().clock.now();
            self.gateway().store.freeze(&account, by.as_str().into(), now).await.map_err(down)?;
            self.note(Event::Frozen, &account, format!("{by}: {}", order.reason));
            let about = Happened::Frozen { by: FrozenBy::Operator };
            self.tell(&account, about, Vec::new());
            // It is frozen whether or not this can be told.
            let card = self.gateway().store.account(&account, now).await;
            Ok(card.map_or(true, |card| card.was_seen()))
        })
    }

    fn thaw(&self, account: AccountId, order: Order) -> Answer<'_, bool> {
        Box::pin(async move {
            let now = self.gateway().clock.now();
            let thawed = self.gateway().store.thaw(&account, now).await.map_err(down)?;
            self.note(Event::Thawed, &account, format!("operator:{}: {}", order.by, order.reason));
            if thawed {
                self.tell(&account, Happened::Thawed, Vec::new());
            }
            Ok(thawed)
        })
    }

    fn import(&self, factors: Vec<Import>, order: Order) -> Answer<'_, Ordered<usize>> {
        Box::pin(self.do_import(factors, order))
    }

    fn factors(&self, account: AccountId) -> Answer<'_, Vec<FactorCard>> {
        Box::pin(async move {
            let factors = self.gateway().store.factors(&account).await.map_err(down)?;
            Ok(factors.into_iter().map(Enrolled::card).collect())
        })
    }

    fn reset_factor(
        &self,
        account: AccountId,
        factor: Factor,
        order: Order,
    ) -> Answer<'_, Ordered<bool>> {
        Box::pin(self.do_reset(account, factor, order))
    }

    fn requests(&self) -> Answer<'_, Vec<RequestSeen>> {
        Box::pin(self.do_requests())
    }

    fn approve(&self, id: String, order: Order) -> Answer<'_, RequestSeen> {
        Box::pin(self.do_approve(id, order))
    }

    fn refuse(&self, id: String, order: Order) -> Answer<'_, RequestSeen> {
        Box::pin(self.do_refuse(id, order))
    }

    fn suspend(&self, wanted: Suspend, order: Order) -> Answer<'_, Suspension> {
        Box::pin(self.do_suspend(wanted, order))
    }

    fn resume(&self, which: Resume, order: Order) -> Answer<'_, Vec<Suspension>> {
        Box::pin(self.do_resume(which, order))
    }

    fn texts(&self) -> Answer<'_, Option<Vec<Text>>> {
        Box::pin(async {
            let at = self.gateway().clock.now();
            let logs = self.0.messenger.as_ref().map(|it| [it.log.as_ref(), it.mail_log.as_ref()]);
            let logs: Vec<_> = logs.into_iter().flatten().flatten().collect();
            let text = |shown: crate::sms::log::Shown| Text {
                at,
                to: shown.to,
                subject: shown.subject,
                text: shown.text,
            };
            let last = logs.iter().flat_map(|log| log.last()).map(text).collect();
            Ok((!logs.is_empty()).then_some(last))
        })
    }

    fn lift_sms_stop(&self, subject: String, order: Order) -> Answer<'_, bool> {
        Box::pin(async move {
            let now = self.gateway().clock.now();
            let lifted = self.gateway().store.lift_sms_stop(&subject, now).await.map_err(down)?;
            if lifted {
                let Order { by, reason, .. } = order;
                let note = format!("operator:{by}: text messages to {subject} go on: {reason}");
                let record = Record::new(now, Event::Operator).with_note(note);
                self.gateway().audit.note(record);
            }
            Ok(lifted)
        })
    }

    fn backup(&self, order: Order) -> Answer<'_, Pieces> {
        Box::pin(backup::begin(&self.0.gateway, order))
    }

    fn restored(&self, order: Order) -> Answer<'_, ()> {
        Box::pin(async move {
            let note = format!("operator:{}: {}", order.by, order.reason);
            let record = Record::new(self.gateway().clock.now(), Event::Restored).with_note(note);
            self.gateway().audit.note(record);
            Ok(())
        })
    }
}

/// A gateway that crashes loses so much of what it saw.
const ORPHANS_EVERY: Duration = Duration::from_secs(15);
const HEED_AGAIN: Duration = Duration::from_secs(1);
const ROUTES_EVERY: Duration = Duration::from_secs(15 * 60);
