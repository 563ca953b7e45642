//! Places, and how far and how fast between them. Pure.
//!
//! Never asks a database or the clock. Invariant: unknown is a value of its own and equals nothing,
//! not even another unknown.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::policy::facts::{Fact, Geo};
use crate::types::UnixMs;

/// What kind of network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkClass {
    Hosting,
    Relay,
    Mobile,
    Ordinary,
    Unknown,
    Private,
}

impl NetworkClass {
    pub fn word(self) -> &'static str {
        match self {
            Self::Hosting => "hosting",
            Self::Relay => "relay",
            Self::Mobile => "mobile",
            Self::Ordinary => "ordinary",
            Self::Unknown => "unknown",
            Self::Private => "private",
        }
    }
}

/// A point with the radius (km) that its source trusts it to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    pub latitude: f64,
    pub longitude: f64,
    pub radius_km: f64,
}

/// Where an address is, as far as known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<Arc<str>>,
    pub city: Option<Arc<str>>,
    pub coordinates: Option<Coordinates>,
    pub asn: Option<u32>,
    /// Name of the ASN's organisation.
    pub organisation: Option<Arc<str>>,
    pub network: NetworkClass,
}

impl Place {
    /// What an elevation given here is tied to: the country, else the address itself.
    pub fn key(&self, client: IpAddr) -> Arc<str> {
        self.country.clone().unwrap_or_else(|| client.to_string().into())
    }
}

/// Where a credential (or account) was last seen by a request that was allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    pub at: UnixMs,
    pub client: IpAddr,
    pub country: Option<Arc<str>>,
    pub asn: Option<u32>,
    pub coordinates: Option<Coordinates>,
}

/// Great-circle distance between two points, in km (haversine on a sphere of the earth's mean
/// radius).
pub fn distance_km(from: &Coordinates, to: &Coordinates) -> f64 {
    let (lat_from, lat_to) = (from.latitude.to_radians(), to.latitude.to_radians());
    let half_lat = (lat_to - lat_from) / 2.0;
    let half_lon = (to.longitude - from.longitude).to_radians() / 2.0;
    let chord = half_lat.sin().powi(2) + lat_from.cos() * lat_to.cos() * half_lon.sin().powi(2);
    // Rounding can lift the value of two antipodes above 1, where the arc sine has no answer.
    2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()
}

/// The least speed in km/h that explains both points: the distance less both radii, over the time
/// between them (at least a minute, so that two requests in one second do not divide by nothing).
pub fn speed_kmh(from: &Coordinates, to: &Coordinates, elapsed_ms: u64) -> f64 {
    let travelled = (distance_km(from, to) - from.radius_km - to.radius_km).max(0.0);
    travelled / (elapsed_ms.max(MINUTE_MS) as f64 / HOUR_MS)
}

/// What rules may ask about a place, given where the account is known to be and where it was last
/// seen.
///
/// Without history nothing is new (`first_place` says so instead); what cannot be placed is
/// unreadable, never old.
pub fn geo_facts<'a>(
    place: &'a Place,
    client: IpAddr,
    countries: &[Arc<str>],
    asns: &[u32],
    last: Option<&Sighting>,
    now: UnixMs,
) -> Geo<'a> {
    let readable = place.network != NetworkClass::Private;
    let country = readable.then_some(place.country.as_deref()).flatten();
    let city = readable.then_some(place.city.as_deref()).flatten();
    let asn = readable.then_some(place.asn).flatten();
    let (distance_km, speed_kmh) = moved(place, client, last, now);
    let new_country = new_country(place.network, country, asn, countries, asns);
    Geo {
        country: known_or_unreadable(country),
        city: known_or_unreadable(city),
        asn: known_or_unreadable(asn),
        network: place.network.word(),
        new_country,
        country_age: country_age(new_country, countries, None, now),
        new_asn: known_or_unreadable(asn).map(|asn| !asns.is_empty() && !asns.contains(&asn)),
        first_place: countries.is_empty(),
        distance_km,
        speed_kmh,
    }
}

fn new_country(
    network: NetworkClass,
    country: Option<&str>,
    asn: Option<u32>,
    countries: &[Arc<str>],
    asns: &[u32],
) -> Fact<bool> {
    let Some(country) = country else { return Fact::Unreadable };
    let old = countries.iter().any(|known| **known == *country);
    // A relay lets anyone pick the exit's country, so its word counts only where the account
    // already came from that very network.
    if network == NetworkClass::Relay {
        let same_relay = asn.is_some_and(|asn| asns.contains(&asn));
        return if old && same_relay { Fact::Known(false) } else { Fact::Unreadable };
    }
    Fact::Known(!countries.is_empty() && !old)
}

/// Since the account came to the country that it is in: `arrived`, or for ever if that is not known. A new country has
/// no age, and an account that was nowhere yet has none to speak of.
pub fn country_age(
    new_country: Fact<bool>,
    countries: &[Arc<str>],
    arrived: Option<UnixMs>,
    now: UnixMs,
) -> Fact<u64> {
    match new_country {
        Fact::Unreadable => Fact::Unreadable,
        _ if countries.is_empty() => Fact::Absent,
        Fact::Absent => Fact::Absent,
        Fact::Known(true) => Fact::Known(0),
        Fact::Known(false) => Fact::Known(now.since_ms(arrived.unwrap_or(UnixMs(0)))),
    }
}

/// Distance and speed from the last sighting.
fn moved(
    place: &Place,
    client: IpAddr,
    last: Option<&Sighting>,
    now: UnixMs,
) -> (Fact<f64>, Fact<f64>) {
    let Some(last) = last else { return (Fact::Absent, Fact::Absent) };
    // A database update may move an address over night; its owner has not moved.
    if last.client == client {
        return (Fact::Known(0.0), Fact::Known(0.0));
    }
    match (&last.coordinates, &place.coordinates) {
        (Some(from), Some(to)) => (
            Fact::Known(distance_km(from, to)),
            Fact::Known(speed_kmh(from, to, now.since_ms(last.at))),
        ),
        _ => (Fact::Unreadable, Fact::Unreadable),
    }
}

fn known_or_unreadable<T>(value: Option<T>) -> Fact<T> {
    value.map_or(Fact::Unreadable, Fact::Known)
}

const EARTH_RADIUS_KM: f64 = 6371.0088;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: f64 = 3_600_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKYO: Coordinates = point(35.6897, 139.6895, 20.0);
    const FRANKFURT: Coordinates = point(50.1188, 8.6843, 20.0);
    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    const fn point(latitude: f64, longitude: f64, radius_km: f64) -> Coordinates {
        Coordinates { latitude, longitude, radius_km }
    }

    fn place(country: Option<&str>, network: NetworkClass, asn: Option<u32>) -> Place {
        Place {
            country: country.map(Into::into),
            city: None,
            coordinates: Some(TOKYO),
            asn,
            organisation: None,
            network,
        }
    }

    fn japan() -> Place {
        place(Some("JP"), NetworkClass::Ordinary, Some(2516))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The facts of a request from 203.0.113.7.
    fn facts<'a>(
        place: &'a Place,
        countries: &[&str],
        asns: &[u32],
        last: Option<&Sighting>,
    ) -> Geo<'a> {
        let countries: Vec<Arc<str>> = countries.iter().map(|code| (*code).into()).collect();
        geo_facts(place, ip("203.0.113.7"), &countries, asns, last, NOW)
    }

    fn seen(client: &str, coordinates: Option<Coordinates>, ago_ms: i64) -> Sighting {
        let at = UnixMs(NOW.0 - ago_ms);
        Sighting { at, client: ip(client), country: None, asn: None, coordinates }
    }

    #[test]
    fn tokyo_to_frankfurt_is_about_9350_km() {
        let km = distance_km(&TOKYO, &FRANKFURT);
        assert!((9_300.0..9_400.0).contains(&km), "{km}");
        assert_eq!(distance_km(&TOKYO, &TOKYO), 0.0);
    }

    #[test]
    fn antipodes_and_the_date_line_have_a_distance() {
        let half = distance_km(&point(0.0, 0.0, 0.0), &point(0.0, 180.0, 0.0));
        assert!((20_000.0..20_030.0).contains(&half), "{half}");
        let across = distance_km(&point(0.0, 179.5, 0.0), &point(0.0, -179.5, 0.0));
        assert!((111.0..112.0).contains(&across), "{across}");
    }

    #[test]
    fn speed_forgives_both_radii_and_the_first_minute() {
        let near = point(35.7, 139.7, 20.0);
        assert_eq!(speed_kmh(&TOKYO, &near, 0), 0.0);
        let at_once = speed_kmh(&TOKYO, &FRANKFURT, 0);
        assert_eq!(at_once, speed_kmh(&TOKYO, &FRANKFURT, 60_000));
        let in_ten_hours = speed_kmh(&TOKYO, &FRANKFURT, 36_000_000);
        assert!((925.0..940.0).contains(&in_ten_hours), "{in_ten_hours}");
    }

    #[test]
    fn with_no_history_nothing_is_new_and_it_is_the_first_place() {
        let japan = japan();
        let geo = facts(&japan, &[], &[], None);
        assert_eq!(geo.new_country, Fact::Known(false));
        assert_eq!(geo.new_asn, Fact::Known(false));
        assert!(geo.first_place);
        assert_eq!(geo.distance_km, Fact::Absent);
        assert_eq!(geo.speed_kmh, Fact::Absent);
    }

    #[test]
    fn a_country_and_an_asn_out_of_the_history_are_new() {
        let japan = japan();
        let geo = facts(&japan, &["DE", "NL"], &[1136], None);
        assert_eq!(geo.country, Fact::Known("JP"));
        assert_eq!(geo.new_country, Fact::Known(true));
        assert_eq!(geo.new_asn, Fact::Known(true));
        assert!(!geo.first_place);
        let geo = facts(&japan, &["DE", "JP"], &[2516], None);
        assert_eq!(geo.new_country, Fact::Known(false));
        assert_eq!(geo.new_asn, Fact::Known(false));
    }

    #[test]
    fn an_unknown_place_is_unreadable_even_without_history() {
        let nowhere = Place { coordinates: None, ..place(None, NetworkClass::Unknown, None) };
        for countries in [&[][..], &["JP"]] {
            let geo = facts(&nowhere, countries, &[], None);
            assert_eq!(geo.country, Fact::Unreadable);
            assert_eq!(geo.city, Fact::Unreadable);
            assert_eq!(geo.asn, Fact::Unreadable);
            assert_eq!(geo.new_country, Fact::Unreadable);
            assert_eq!(geo.new_asn, Fact::Unreadable);
        }
    }

    #[test]
    fn a_private_network_has_no_country_whatever_the_database_says() {
        let private = place(Some("JP"), NetworkClass::Private, Some(2516));
        let geo = facts(&private, &["JP"], &[2516], None);
        assert_eq!(geo.network, "private");
        assert_eq!(geo.country, Fact::Unreadable);
        assert_eq!(geo.new_country, Fact::Unreadable);
    }

    #[test]
    fn a_relay_is_old_only_if_country_and_network_both_are() {
        let relay = place(Some("JP"), NetworkClass::Relay, Some(36183));
        let new =
            |countries: &[&str], asns: &[u32]| facts(&relay, countries, asns, None).new_country;
        assert_eq!(new(&["JP"], &[36183]), Fact::Known(false));
        assert_eq!(new(&["JP"], &[2516]), Fact::Unreadable);
        assert_eq!(new(&["DE"], &[36183]), Fact::Unreadable);
        assert_eq!(new(&[], &[]), Fact::Unreadable);
        assert_eq!(facts(&relay, &[], &[], None).country, Fact::Known("JP"));
    }

    #[test]
    fn the_same_address_has_not_moved_though_its_coordinates_did() {
        let japan = japan();
        let geo = facts(&japan, &["JP"], &[], Some(&seen("203.0.113.7", Some(FRANKFURT), 1000)));
        assert_eq!(geo.distance_km, Fact::Known(0.0));
        assert_eq!(geo.speed_kmh, Fact::Known(0.0));
    }

    #[test]
    fn another_address_without_coordinates_on_either_side_is_unreadable() {
        let (japan, nowhere) = (japan(), place(None, NetworkClass::Unknown, None));
        let nowhere = Place { coordinates: None, ..nowhere };
        let unplaced = seen("198.51.100.1", None, 1000);
        assert_eq!(facts(&japan, &[], &[], Some(&unplaced)).speed_kmh, Fact::Unreadable);
        let placed = seen("198.51.100.1", Some(FRANKFURT), 1000);
        assert_eq!(facts(&nowhere, &[], &[], Some(&placed)).distance_km, Fact::Unreadable);
    }

    #[test]
    fn a_flight_faster_than_any_plane_is_measured() {
        let japan = japan();
        let hour_ago = seen("198.51.100.1", Some(FRANKFURT), 3_600_000);
        let geo = facts(&japan, &["DE"], &[], Some(&hour_ago));
        assert!(geo.speed_kmh.known().unwrap() > 9_000.0);
        let from_the_future = seen("198.51.100.1", Some(FRANKFURT), -5_000);
        assert!(facts(&japan, &[], &[], Some(&from_the_future)).speed_kmh.known().unwrap() > 900.0);
    }

    #[test]
    fn a_country_is_as_old_as_the_account_s_first_visit() {
        let age = |place: &Place, known: &[&str], arrived: Option<i64>| {
            let known: Vec<Arc<str>> = known.iter().map(|code| (*code).into()).collect();
            let geo = geo_facts(place, ip("203.0.113.7"), &known, &[2516], None, NOW);
            country_age(geo.new_country, &known, arrived.map(UnixMs), NOW)
        };
        let japan = japan();
        assert_eq!(age(&japan, &["DE", "JP"], Some(NOW.0 - 5_000)), Fact::Known(5_000));
        assert_eq!(age(&japan, &["DE"], None), Fact::Known(0));
        // The first country of all, and one that became known before times were kept, are old.
        assert_eq!(age(&japan, &["JP"], None), Fact::Known(NOW.0 as u64));
        assert_eq!(age(&japan, &[], None), Fact::Absent);
        let nowhere = place(None, NetworkClass::Ordinary, Some(2516));
        assert_eq!(age(&nowhere, &["JP"], Some(1)), Fact::Unreadable);
        assert_eq!(age(&nowhere, &[], None), Fact::Unreadable);
        let relay = place(Some("JP"), NetworkClass::Relay, Some(1));
        assert_eq!(age(&relay, &["JP"], Some(1)), Fact::Unreadable);
    }
}
