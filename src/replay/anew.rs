//! Where recorded requests came from by today's databases and lists, if that is asked for.
//!
//! Never touches what else the record says. Invariant: what was measured against a place that is another one now
//! (whether it is new, how far, how fast) is unreadable, never left as it was measured.

use super::line::{Line, Text};
use crate::locate::Locate;
use crate::locate::travel::geo_facts;
use crate::policy::facts::Fact;
use crate::types::UnixMs;

/// What depends on the country, on the place in it, and on the network.
const OF_COUNTRY: [&str; 2] = ["geo.new_country", "geo.country_age"];
const OF_PLACE: [&str; 2] = ["geo.distance_km", "geo.speed_kmh"];
const OF_ASN: [&str; 1] = ["geo.new_asn"];
const UNREADABLE: &str = "unreadable";

/// The line's facts with today's places; `None` if the record does not say which address it was, or nothing is another.
pub fn placed_anew<'l>(
    line: &Line<'l>,
    time: UnixMs,
    locate: &dyn Locate,
) -> Option<Vec<(Text<'l>, Text<'l>)>> {
    let client = line.client?;
    let place = locate.place(client);
    let geo = geo_facts(&place, client, &[], &[], None, time);
    let today = [
        ("geo.country", told(geo.country)),
        ("geo.city", told(geo.city)),
        ("geo.asn", told(geo.asn)),
        ("geo.network", geo.network.to_owned()),
    ];
    let other = |name: &str| {
        let said = line.facts.0.iter().find(|(known, _)| known.as_ref() == name);
        let today = today.iter().find(|(known, _)| *known == name);
        said.zip(today).is_some_and(|((_, said), (_, today))| said.as_ref() != today)
    };
    let (country, asn) = (other("geo.country"), other("geo.asn"));
    let place = country || other("geo.city");
    if !place && !asn && !other("geo.network") {
        return None;
    }
    let again = line.facts.0.iter().map(|(name, value)| {
        let of = |names: &[&str]| names.contains(&name.as_ref());
        let value = match today.iter().find(|(known, _)| *known == name.as_ref()) {
            Some((_, today)) => Text::from(today.clone()),
            None if (country && of(&OF_COUNTRY))
                || (place && of(&OF_PLACE))
                || (asn && of(&OF_ASN)) =>
            {
                Text::from(UNREADABLE.to_owned())
            }
            None => value.clone(),
        };
        (name.clone(), value)
    });
    Some(again.collect())
}

fn told(fact: Fact<impl ToString>) -> String {
    match fact {
        Fact::Known(value) => value.to_string(),
        Fact::Absent => "absent".to_owned(),
        Fact::Unreadable => UNREADABLE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::locate::{NetworkClass, Place};

    struct Germany;

    impl Locate for Germany {
        fn place(&self, _: IpAddr) -> Arc<Place> {
            Arc::new(Place {
                country: Some("DE".into()),
                city: None,
                coordinates: None,
                asn: Some(3320),
                organisation: None,
                network: NetworkClass::Ordinary,
            })
        }
        fn generation(&self, _: UnixMs) -> u64 {
            0
        }
    }

    fn again(facts: &str) -> Option<Vec<String>> {
        let text = format!(
            "{{\"time\":\"t\",\"event\":\"allowed\",\"client\":\"192.0.2.1\",\"facts\":{{{facts}}}}}"
        );
        let line: Line<'_> = serde_json::from_str(&text).unwrap();
        let told = placed_anew(&line, UnixMs(0), &Germany)?;
        let told = told.iter().map(|(name, value)| format!("{}={}", name.as_ref(), value.as_ref()));
        Some(told.collect())
    }

    #[test]
    fn what_was_measured_against_another_country_is_unreadable() {
        let facts = r#""asset":"BTC","geo.country":"JP","geo.asn":"3320","geo.city":"unreadable",
            "geo.network":"ordinary","geo.new_country":"false","geo.new_asn":"true""#;
        let expected = [
            "asset=BTC",
            "geo.country=DE",
            "geo.asn=3320",
            "geo.city=unreadable",
            "geo.network=ordinary",
            "geo.new_country=unreadable",
            "geo.new_asn=true",
        ];
        assert_eq!(again(facts).unwrap(), expected);
    }

    #[test]
    fn what_was_measured_from_another_town_is_unreadable_though_the_country_is_the_same() {
        let facts = r#""geo.country":"DE","geo.asn":"3320","geo.city":"Berlin","geo.speed_kmh":"5","geo.new_country":"false""#;
        let expected = [
            "geo.country=DE",
            "geo.asn=3320",
            "geo.city=unreadable",
            "geo.speed_kmh=unreadable",
            "geo.new_country=false",
        ];
        assert_eq!(again(facts).unwrap(), expected);
    }

    #[test]
    fn another_network_leaves_the_country_as_it_was() {
        let facts =
            r#""geo.country":"DE","geo.asn":"1","geo.distance_km":"5","geo.new_asn":"false""#;
        let expected =
            ["geo.country=DE", "geo.asn=3320", "geo.distance_km=5", "geo.new_asn=unreadable"];
        assert_eq!(again(facts).unwrap(), expected);
    }

    #[test]
    fn the_same_place_is_not_read_again() {
        assert_eq!(again(r#""geo.country":"DE","geo.asn":"3320""#), None);
    }
}
