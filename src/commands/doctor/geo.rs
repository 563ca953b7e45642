//! GeoIP files and prices: readable, whole, young enough, and there if a rule looks at what they tell.
//!
//! Never guesses: without the file the fact is unreadable, restrictions that look at it count as true, and everybody is
//! asked. That is safe, and not what was meant.

use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{Finding, Here};
use crate::assemble;
use crate::config::{FileRef, PricesFrom};
use crate::locate::maxmind::Age;
use crate::types::UnixMs;

pub(super) const SUBJECT: &str = "geoip";
pub(super) const PRICES: &str = "prices";

pub(super) fn examine(here: &Here) -> Vec<Finding> {
    let mut findings = databases(here);
    findings.extend(missing(here));
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, "not configured, and no rule looks at it"));
    }
    findings.extend(prices(here));
    findings
}

fn databases(here: &Here) -> Vec<Finding> {
    let (geo, mut faults) = (&here.config.geo, Vec::new());
    let Some(locator) = assemble::locator(&here.config, here.clock.clone(), &mut faults) else {
        let advice = "fetch the file again, and see that the gateway's user can read it";
        return faults.iter().map(|fault| Finding::of(SUBJECT, fault, advice)).collect();
    };
    let files = [(&geo.city, locator.city_age()), (&geo.asn, locator.asn_age())];
    let found = |(file, age): (&Option<FileRef>, Option<Age>)| Some((file.clone()?, age?));
    files.into_iter().filter_map(found).map(|(file, age)| aged(here, &file, age)).collect()
}

fn aged(here: &Here, file: &FileRef, age: Age) -> Finding {
    let name = file.path.display();
    let days = here.now().since_ms(age.built) / DAY_MS;
    if age.stale {
        let max = here.config.geo.age_max_days;
        return Finding::fault(
            SUBJECT,
            format!("{name}: built {days} days ago; older than {max} days it counts as missing"),
            "fetch a new one (for example `geoipupdate`); it is taken into use without a restart",
        );
    }
    Finding::ok(SUBJECT, format!("{name}: built {days} days ago"))
}

/// What rules look at and no file tells.
fn missing(here: &Here) -> Vec<Finding> {
    let geo = &here.config.geo;
    let rows: [(&Option<FileRef>, &str, &str, &[&str]); 3] = [
        (&geo.city, "city", "city = \"geo/GeoLite2-City.mmdb\"", CITY),
        (&geo.asn, "asn", "asn = \"geo/GeoLite2-ASN.mmdb\"", ASN),
        (&geo.lists, "lists", "lists = \"geo/lists\"", LISTS),
    ];
    let unsaid = rows.into_iter().filter(|(file, ..)| file.is_none());
    unsaid
        .filter_map(|(_, key, example, facts)| {
            let used = used(here, |fact| facts.contains(&fact))?;
            let what = format!("rules look at {used}, and [geo] has no `{key}` to tell it");
            Some(Finding::warning(SUBJECT, what, format!("name one: {example}")))
        })
        .collect()
}

/// Those of a ticker are tried with what must be reachable.
fn prices(here: &Here) -> Option<Finding> {
    let Some(prices) = &here.config.prices else {
        return Some(match used(here, is_usd) {
            Some(used) => Finding::warning(
                PRICES,
                format!("rules look at {used}, and there is no [prices] to tell it"),
                "name a file: [prices] file = \"prices.toml\", with [usd] BTC = \"64250.5\" in it",
            ),
            None => Finding::ok(PRICES, "not configured, and no rule looks at them"),
        });
    };
    let PricesFrom::File(file) = &prices.from else { return None };
    Some(price_file(here, &file.path, prices.age_max_ms))
}

fn price_file(here: &Here, path: &Path, age_max_ms: u64) -> Finding {
    let (name, max_s) = (path.display(), age_max_ms / 1000);
    let modified = std::fs::metadata(path).and_then(|it| it.modified());
    let Ok(modified) = modified else {
        let advice = "see that the gateway's user can read it";
        return Finding::fault(PRICES, format!("{name}: cannot be read"), advice);
    };
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let written = UnixMs(i64::try_from(since).unwrap_or(0));
    let age_ms = here.now().since_ms(written);
    if age_ms > age_max_ms {
        return Finding::fault(
            PRICES,
            format!(
                "{name}: written {} s ago; older than {max_s} s its prices count as unreadable",
                age_ms / 1000
            ),
            "see why what writes it has stopped",
        );
    }
    Finding::ok(PRICES, format!("{name}: written less than {max_s} s ago"))
}

/// Those facts of the rules that are meant, as a list; `None` if there are none.
fn used(here: &Here, meant: impl Fn(&str) -> bool) -> Option<String> {
    let names = here.facts.iter().flatten().filter(|fact| meant(fact));
    let names: Vec<&str> = names.map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn is_usd(fact: &str) -> bool {
    fact == "usd_value" || fact.contains(".usd_")
}

/// The facts that each of the files tells.
const CITY: &[&str] = &[
    "geo.country",
    "geo.city",
    "geo.new_country",
    "geo.first_place",
    "geo.distance_km",
    "geo.speed_kmh",
];
const ASN: &[&str] = &["geo.asn", "geo.new_asn"];
const LISTS: &[&str] = &["geo.network"];
const DAY_MS: u64 = 86_400_000;
