//! Facts of a real request as a case has them, so that one of them can be set to something else.
//!
//! Never leaves a fact out: whoever adds one has to say here how it is copied.

use super::{History, Staged};
use crate::policy::facts::{Fact, Facts};

impl Staged {
    /// The same facts; `history` is where the account was seen, should its place be set anew.
    pub fn of(facts: &Facts<'_>, history: History) -> Self {
        let (counters, counters_unreadable) = match facts.counters {
            Fact::Known(counters) => (counters.clone(), false),
            Fact::Absent | Fact::Unreadable => {
                (Default::default(), facts.counters == Fact::Unreadable)
            }
        };
        let geo = &facts.geo;
        Self {
            now: facts.now,
            elevations: facts.elevations.to_vec(),
            holds: facts.holds.to_vec(),
            history,
            site: facts.site.to_owned(),
            action: facts.action.into(),
            fields: facts.fields.clone(),
            usd_value: Some(facts.usd_value),
            address: Some(facts.address),
            client: facts.client,
            credential: facts.credential,
            session_age: facts.session_age_ms,
            country: geo.country.map(str::to_owned),
            city: geo.city.map(str::to_owned),
            asn: geo.asn,
            network: geo.network.to_owned(),
            new_country: Some(geo.new_country),
            country_age: Some(geo.country_age),
            new_asn: Some(geo.new_asn),
            first_place: Some(geo.first_place),
            distance_km: geo.distance_km,
            speed_kmh: geo.speed_kmh,
            counters,
            counters_unreadable,
            factors: facts.factors,
            security_change_age: facts.security_change_age_ms,
            place_key: facts.place_key.to_owned(),
            moved: false,
            address_said: false,
        }
    }

    /// What follows from this fact is no longer known; `settle` finds it anew.
    pub fn unsettle(&mut self, name: &str) {
        match name {
            "geo.country" => (self.new_country, self.country_age) = (None, None),
            "geo.asn" => self.new_asn = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::told::tell;
    use crate::policy::vocabulary::Vocabulary;
    use crate::types::{FieldValue, Fields};

    #[test]
    fn a_copy_has_the_same_facts() {
        let vocabulary = Vocabulary::new(&[]);
        let mut fields = Fields::default();
        fields.set("amount", FieldValue::Text("5".into()));
        let mut staged = Staged::new("withdrawal", fields, History::default());
        for (name, value) in [
            ("geo.country", "DE"),
            ("geo.distance_km", "unreadable"),
            ("counters.withdrawal.usd_24h", "7"),
            ("usd_value", "12"),
            ("address.age", "1h"),
            ("account.has_sms", "false"),
            ("account.security_change_age", "2h"),
            ("session.age", "absent"),
        ] {
            staged.set(name, value, &vocabulary).unwrap();
        }
        staged.settle();
        let facts = staged.facts();
        let copy = Staged::of(&facts, History::default());
        assert_eq!(tell(&[copy.facts()]), tell(&[facts]));
    }

    #[test]
    fn what_follows_from_a_place_is_found_anew() {
        let mut staged = Staged::new("login", Fields::default(), History::default());
        staged.settle();
        let mut copy = Staged::of(&staged.facts(), History::default());
        copy.set("geo.country", "DE", &Vocabulary::new(&[])).unwrap();
        copy.unsettle("geo.country");
        copy.settle();
        assert_eq!(copy.facts().geo.new_country, Fact::Known(true));
    }
}
