//! What surrounds a request: gathered once, lent to the policy as `Facts`.
//!
//! Never decides. Invariant: a place becomes known only by a request that was allowed without an open geographic
//! requirement.

use std::net::IpAddr;
use std::sync::Arc;

use super::Visit;
use crate::gateway::Gateway;
use crate::identify::Identity;
use crate::locate::travel::{country_age, geo_facts};
use crate::locate::{Place, Sighting};
use crate::policy::facts::{AddressFacts, Counters, Decimal, Fact, Facts, Geo, HoldRunning};
use crate::stepup::challenge::Destination;
use crate::store::Standing;
use crate::types::{ActionName, CredentialKind, Fields, UnixMs};

/// Everything beside the action itself.
pub(super) struct Surroundings<'a> {
    visit: &'a Visit,
    identity: Option<&'a Identity>,
    standing: Arc<Standing>,
    counters: Counters,
    address: Option<AddressFacts>,
    holds: Vec<HoldRunning>,
}

impl<'a> Surroundings<'a> {
    /// From the local view, or the store if the view does not hold the account. `None`: the store is down.
    pub(super) async fn of_account(
        gateway: &Gateway,
        visit: &'a Visit,
        identity: &'a Identity,
    ) -> Option<Self> {
        let (account, credential, now) =
            (&identity.account, &identity.credential, visit.head.received);
        let standing = match gateway.store.glance(account, credential, now) {
            Some(standing) => standing,
            None => gateway.store.look(account, credential, now).await.ok()?,
        };
        Some(Self {
            visit,
            identity: Some(identity),
            standing,
            counters: Counters::default(),
            address: None,
            holds: Vec::new(),
        })
    }

    /// For a request without any credential.
    pub(super) fn of_nobody(visit: &'a Visit) -> Self {
        Self {
            visit,
            identity: None,
            standing: Arc::default(),
            counters: Counters::default(),
            address: None,
            holds: Vec::new(),
        }
    }

    /// From the store's answer to a guarded request that begins.
    pub(super) fn of_begun(
        visit: &'a Visit,
        identity: &'a Identity,
        standing: Standing,
        counters: Counters,
        address: Option<AddressFacts>,
        holds: Vec<HoldRunning>,
    ) -> Self {
        let standing = Arc::new(standing);
        Self { visit, identity: Some(identity), standing, counters, address, holds }
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn frozen(&self) -> bool {
        self.standing.frozen.is_some()
    }

    /// What the account's address book knows of the one destination, if the action has one.
    pub(super) fn destination(&self) -> Option<Destination> {
        let AddressFacts { known, age_ms, .. } = self.address?;
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        let since = UnixMs(self.visit.head.received.0.saturating_sub(age_ms));
        Some(if known { Destination::KnownSince(since) } else { Destination::Unknown })
    }

    /// The facts of one element of an action.
    pub(super) fn element<'b>(
        &'b self,
        action: &'b ActionName,
        fields: &'b Fields,
        usd_value: Fact<Decimal>,
    ) -> Facts<'b> {
        let address = match fields.find("address") {
            None => Fact::Absent,
            Some(_) => self.address.map_or(Fact::Unreadable, Fact::Known),
        };
        let counters = Fact::Known(&self.counters);
        Facts { usd_value, counters, address, ..self.common(action.as_str(), fields) }
    }

    /// The facts of a request that no guarded action names.
    pub(super) fn ordinary<'b>(&'b self, action: Option<&'b ActionName>) -> Facts<'b> {
        self.common(action.map_or("ordinary", ActionName::as_str), &self.visit.no_fields)
    }

    fn common<'b>(&'b self, action: &'b str, fields: &'b Fields) -> Facts<'b> {
        let (head, now) = (&self.visit.head, self.visit.head.received);
        let changed = self.standing.security_changed;
        Facts {
            now,
            site: self.visit.site.name.as_str(),
            action,
            fields,
            usd_value: Fact::Absent,
            client: head.client,
            credential: self.identity.map(|identity| identity.credential.kind),
            session_age_ms: self.identity.map_or(Fact::Absent, |of| session_age_ms(of, now)),
            geo: self.geo(),
            counters: Fact::Absent,
            address: Fact::Absent,
            factors: self.standing.factors,
            security_change_age_ms: changed
                .map_or(Fact::Absent, |at| Fact::Known(now.since_ms(at))),
            elevations: &self.standing.elevations,
            place_key: self.visit.place_key(),
            holds: &self.holds,
        }
    }

    fn geo(&self) -> Geo<'_> {
        let (head, has_account) = (&self.visit.head, self.identity.is_some());
        geo_of(self.visit.place(), head.client, &self.standing, has_account, head.received)
    }

    /// The request was allowed: its place is one of the account's from now on.
    pub(super) fn became_known(&self, gateway: &Gateway) {
        let Some(identity) = self.identity else { return };
        // Whoever is here while the account is frozen is not trusted, and neither is the place.
        if self.standing.frozen.is_some() {
            return;
        }
        let (head, place) = (&self.visit.head, self.visit.place());
        let seen_already = self.standing.last.as_ref().is_some_and(|last| {
            last.client == head.client && head.received.since_ms(last.at) < SIGHTING_EVERY_MS
        });
        if seen_already {
            return;
        }
        let sighting = Sighting {
            at: head.received,
            client: head.client,
            country: place.country.clone(),
            asn: place.asn,
            coordinates: place.coordinates,
        };
        if !gateway.store.sight(&identity.account, &identity.credential, sighting) {
            gateway.metrics.sighting_dropped();
        }
    }
}

/// The place against the account's own history.
pub(crate) fn geo_of<'a>(
    place: &'a Place,
    client: IpAddr,
    standing: &'a Standing,
    has_account: bool,
    now: UnixMs,
) -> Geo<'a> {
    let (countries, asns) = (&standing.countries, &standing.asns);
    let geo = geo_facts(place, client, countries, asns, standing.last.as_ref(), now);
    if has_account {
        let arrived = geo.country.known().and_then(|country| standing.arrived.get(country));
        let country_age = country_age(geo.new_country, countries, arrived.copied(), now);
        return Geo { country_age, ..geo };
    }
    // Without an account there is no history that a place could be new to.
    let (new_country, new_asn, country_age) = (Fact::Absent, Fact::Absent, Fact::Absent);
    Geo { new_country, new_asn, country_age, first_place: false, ..geo }
}

/// A key has no session. A session or token that does not say when its owner signed in may be a moment old.
pub(crate) fn session_age_ms(identity: &Identity, now: UnixMs) -> Fact<u64> {
    match (identity.credential.kind, identity.issued) {
        (CredentialKind::ApiKey | CredentialKind::ClientCertificate, _) => Fact::Absent,
        (CredentialKind::Session | CredentialKind::Bearer, None) => Fact::Unreadable,
        (_, Some(at)) => Fact::Known(now.since_ms(at)),
    }
}

/// A credential that stays where it is is written down this often.
const SIGHTING_EVERY_MS: u64 = 60_000;
