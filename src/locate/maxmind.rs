//! Places from MaxMind-format files and drop-in lists, replaced while in use.
//!
//! Never takes a file into use before it is verified, never keeps a place past its file's age, and
//! never fails a look-up: what cannot be found is unknown. A reload that finds a fault keeps the
//! last good files.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use maxminddb::Reader;
use moka::sync::Cache;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::lists::Lists;
use super::{Coordinates, Locate, NetworkClass, Place, address};
use crate::fault::{Fault, Source};
use crate::types::UnixMs;
use crate::world::Clock;

/// Which files to use. Each may be left out; what it would tell is then unknown.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub city: Option<PathBuf>,
    pub asn: Option<PathBuf>,
    /// Folder of drop-in lists, see `lists`.
    pub lists: Option<PathBuf>,
    /// A database built longer ago than this counts as missing.
    pub age_max_days: u64,
}

/// What a reload found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// New files are in use, under this generation.
    Files(u64),
}

/// State of one database, for `doctor` and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    pub built: UnixMs,
    /// Too old: counts as missing.
    pub stale: bool,
}

/// The port's real implementation.
pub struct Locator {
    settings: Settings,
    clock: Arc<dyn Clock>,
    tables: ArcSwap<Tables>,
    /// Held through a swap, so that no two sets of files are of one generation.
    reloading: Mutex<()>,
}

impl Locator {
    /// Reads and verifies all files; None if any has a fault.
    pub fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let stamps = stamps(&settings);
        let tables = Tables::read(&settings, stamps, 1, faults)?;
        let tables = ArcSwap::from_pointee(tables);
        Some(Self { settings, clock, tables, reloading: Mutex::new(()) })
    }

    /// Takes changed files into use. Reads and verifies whole databases, so not for a request
    /// thread.
    ///
    /// # Errors
    /// Every fault found; the files in use stay.
    pub fn reload(&self) -> Result<Changed, Vec<Fault>> {
        Ok(self.take(self.read_again()?))
    }

    /// Reads the files if they changed, and takes nothing into use yet.
    ///
    /// # Errors
    /// Every fault found.
    pub fn read_again(&self) -> Result<Reread, Vec<Fault>> {
        let current = self.tables.load();
        let stamps = stamps(&self.settings);
        if stamps == current.stamps {
            return Ok(Reread(None));
        }
        let mut faults = Vec::new();
        let tables = Tables::read(&self.settings, stamps, 0, &mut faults);
        tables.map(|tables| Reread(Some(Box::new(tables)))).ok_or(faults)
    }

    /// Takes into use what was read.
    pub fn take(&self, reread: Reread) -> Changed {
        let _alone = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut tables) = reread.0 else { return Changed::Nothing };
        let generation = self.tables.load().generation + 1;
        tables.generation = generation;
        self.tables.store(Arc::from(tables));
        Changed::Files(generation)
    }

    /// State of the city file, if one is configured.
    pub fn city_age(&self) -> Option<Age> {
        let now = self.clock.now();
        self.tables.load().city.as_ref().map(|table| table.age(now))
    }

    /// State of the ASN file, if one is configured.
    pub fn asn_age(&self) -> Option<Age> {
        let now = self.clock.now();
        self.tables.load().asn.as_ref().map(|table| table.age(now))
    }
}

impl Locate for Locator {
    fn place(&self, client: IpAddr) -> Arc<Place> {
        let (tables, now) = (self.tables.load(), self.clock.now());
        // The cache holds what fresh files say; once one is stale its places must not live on
        // there.
        if tables.stale(now) != (false, false) {
            return Arc::new(tables.find(client, now));
        }
        if let Some(place) = tables.cache.get(&client) {
            return place;
        }
        let place = Arc::new(tables.find(client, now));
        tables.cache.insert(client, place.clone());
        place
    }

    fn generation(&self, now: UnixMs) -> u64 {
        let tables = self.tables.load();
        // A file that grows stale changes the answers just as a new file does.
        let (city, asn) = tables.stale(now);
        tables.generation << 2 | u64::from(city) << 1 | u64::from(asn)
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Files that were read and verified, and are not in use yet; nothing if they are the same as before.
pub struct Reread(Option<Box<Tables>>);

/// The files of one generation with the places already found in them.
struct Tables {
    city: Option<Table>,
    asn: Option<Table>,
    lists: Lists,
    stamps: Vec<Stamp>,
    generation: u64,
    cache: Cache<IpAddr, Arc<Place>, RandomState>,
}

impl Tables {
    fn read(
        settings: &Settings,
        stamps: Vec<Stamp>,
        generation: u64,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let before = faults.len();
        let age_max_ms = settings.age_max_days.saturating_mul(DAY_MS);
        let mut open = |path: &Option<PathBuf>, kinds: &[&str]| {
            let path = path.as_ref()?;
            let table = Table::open(path, kinds, age_max_ms);
            table.map_err(|fault| faults.push(*fault)).ok()
        };
        let city = open(&settings.city, &["City", "Country", "Enterprise"]);
        let asn = open(&settings.asn, &["ASN", "ISP"]);
        let lists = settings.lists.as_ref().map(|folder| Lists::read(folder, faults));
        let lists = lists.unwrap_or_default();
        let cache =
            Cache::builder().max_capacity(PLACES_MAX).build_with_hasher(RandomState::default());
        (faults.len() == before).then_some(Self { city, asn, lists, stamps, generation, cache })
    }

    /// Whether the city and the ASN file are too old.
    fn stale(&self, now: UnixMs) -> (bool, bool) {
        let stale = |table: &Option<Table>| table.as_ref().is_some_and(|table| table.stale(now));
        (stale(&self.city), stale(&self.asn))
    }

    fn find(&self, client: IpAddr, now: UnixMs) -> Place {
        let client = address::inner(client);
        if address::is_private(client) {
            return nowhere(NetworkClass::Private);
        }
        let mut place = nowhere(NetworkClass::Unknown);
        if let Some(city) = self.city.as_ref().filter(|city| !city.stale(now)) {
            city.look_up(client, |record: CityRecord<'_>| record.fill(&mut place));
        }
        if let Some(asn) = self.asn.as_ref().filter(|asn| !asn.stale(now)) {
            asn.look_up(client, |record: AsnRecord<'_>| record.fill(&mut place));
        }
        place.network = self.lists.class(client, place.asn);
        place
    }
}

/// One verified database in memory. Mapping the file instead would crash when it is cut short while
/// in use.
struct Table {
    reader: Reader<Vec<u8>>,
    built: UnixMs,
    age_max_ms: u64,
}

impl Table {
    fn open(path: &Path, kinds: &[&str], age_max_ms: u64) -> Result<Self, Box<Fault>> {
        let fault = |message: String| Box::new(Fault::new(&Source::new(path, ""), 0..0, message));
        let broken = |error| fault(format!("not a sound MaxMind database: {error}"));
        let size = std::fs::metadata(path).map(|metadata| metadata.len());
        if size.is_ok_and(|size| size > FILE_BYTES_MAX) {
            return Err(fault(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let bytes = std::fs::read(path)
            .map_err(|error| fault(format!("cannot read this file: {error}")))?;
        let reader = Reader::from_source(bytes).map_err(broken)?;
        reader.verify().map_err(broken)?;
        let kind = &reader.metadata().database_type;
        if !kinds.iter().any(|known| kind.contains(known)) {
            let expected = kinds.join(" or ");
            return Err(fault(format!("this is a `{kind}` database, not one for {expected}")));
        }
        let built_ms = reader.metadata().build_epoch.saturating_mul(1000);
        let built = UnixMs(0).plus_ms(built_ms);
        Ok(Self { reader, built, age_max_ms })
    }

    fn stale(&self, now: UnixMs) -> bool {
        now.since_ms(self.built) > self.age_max_ms
    }

    fn age(&self, now: UnixMs) -> Age {
        Age { built: self.built, stale: self.stale(now) }
    }

    /// Hands the address's record to `use_it`. A record of another shape counts as none.
    fn look_up<'a, R: Deserialize<'a>>(&'a self, client: IpAddr, use_it: impl FnOnce(R)) {
        let found = self.reader.lookup(client).and_then(|result| result.decode::<R>());
        if let Ok(Some(record)) = found {
            use_it(record);
        }
    }
}

#[derive(Deserialize)]
struct CityRecord<'a> {
    #[serde(borrow)]
    country: Option<CountryPart<'a>>,
    #[serde(borrow)]
    city: Option<CityPart<'a>>,
    location: Option<LocationPart>,
}

#[derive(Deserialize)]
struct CountryPart<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct CityPart<'a> {
    #[serde(borrow)]
    names: Option<NamesPart<'a>>,
}

#[derive(Deserialize)]
struct NamesPart<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize)]
struct LocationPart {
    latitude: Option<Number>,
    longitude: Option<Number>,
    accuracy_radius: Option<Number>,
}

#[derive(Deserialize)]
struct AsnRecord<'a> {
    autonomous_system_number: Option<Number>,
    autonomous_system_organization: Option<&'a str>,
}

/// A number of whatever type the file's maker chose; every value that matters here fits a double
/// exactly.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }
    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }
}

impl CityRecord<'_> {
    fn fill(self, place: &mut Place) {
        let code = self.country.and_then(|country| country.iso_code).filter(|code| is_code(code));
        place.country = code.map(|code| code.to_ascii_uppercase().into());
        let city = self.city.and_then(|city| city.names).and_then(|names| names.en);
        place.city = city.filter(|name| !name.is_empty()).map(Into::into);
        place.coordinates = self.location.and_then(LocationPart::coordinates);
    }
}

impl LocationPart {
    fn coordinates(self) -> Option<Coordinates> {
        let (Number(latitude), Number(longitude)) = (self.latitude?, self.longitude?);
        let radius_km = self.accuracy_radius.map_or(RADIUS_UNSAID_KM, |radius| radius.0);
        let sound = (-90.0..=90.0).contains(&latitude)
            && (-180.0..=180.0).contains(&longitude)
            && (0.0..=20_100.0).contains(&radius_km);
        sound.then_some(Coordinates { latitude, longitude, radius_km })
    }
}

impl AsnRecord<'_> {
    fn fill(self, place: &mut Place) {
        let number = self.autonomous_system_number.map(|number| number.0);
        let sound =
            |number: &f64| number.fract() == 0.0 && (1.0..=4_294_967_295.0).contains(number);
        place.asn = number.filter(sound).map(|number| number as u32);
        place.organisation = self.autonomous_system_organization.map(Into::into);
    }
}

fn is_code(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn nowhere(network: NetworkClass) -> Place {
    Place { country: None, city: None, coordinates: None, asn: None, organisation: None, network }
}

/// What tells that a file was replaced: path, length and time of change.
type Stamp = (PathBuf, u64, Option<SystemTime>);

fn stamps(settings: &Settings) -> Vec<Stamp> {
    let entries = settings.lists.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let lists = entries.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut stamps: Vec<Stamp> = settings
        .city
        .iter()
        .chain(&settings.asn)
        .cloned()
        .chain(lists)
        .map(|path| match std::fs::metadata(&path) {
            Ok(metadata) => (path, metadata.len(), metadata.modified().ok()),
            Err(_) => (path, 0, None),
        })
        .collect();
    stamps.sort();
    stamps
}

const DAY_MS: u64 = 86_400_000;
/// Places kept per generation, about 200 bytes each.
const PLACES_MAX: u64 = 65_536;
/// The largest public database has about 150 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// For databases that do not say how far to trust a point.
const RADIUS_UNSAID_KM: f64 = 50.0;

#[cfg(test)]
#[path = "../../tests/fixtures/geo/make.rs"]
mod make;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::HandClock;

    const BUILT_S: u64 = 1_790_000_000;

    struct World {
        folder: tempfile::TempDir,
        clock: Arc<HandClock>,
        locator: Locator,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        make::write_built(folder.path(), BUILT_S);
        std::fs::create_dir(folder.path().join("lists")).unwrap();
        let clock = Arc::new(HandClock::at(UnixMs(BUILT_S as i64 * 1000)));
        let mut faults = Vec::new();
        let locator = Locator::open(settings(folder.path()), clock.clone(), &mut faults);
        assert_eq!(faults, []);
        World { folder, clock, locator: locator.unwrap() }
    }

    fn settings(folder: &Path) -> Settings {
        Settings {
            city: Some(folder.join("city.mmdb")),
            asn: Some(folder.join("asn.mmdb")),
            lists: Some(folder.join("lists")),
            age_max_days: 30,
        }
    }

    impl World {
        fn place(&self, client: &str) -> Arc<Place> {
            self.locator.place(client.parse().unwrap())
        }

        fn country(&self, client: &str) -> Option<String> {
            self.place(client).country.as_ref().map(ToString::to_string)
        }

        fn replace(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.folder.path().join(name), bytes).unwrap();
        }
    }

    #[test]
    fn an_address_has_country_city_point_network_and_class() {
        let world = world();
        let place = world.place("203.0.113.7");
        assert_eq!(place.country.as_deref(), Some("JP"));
        assert_eq!(place.city.as_deref(), Some("Tokyo"));
        assert_eq!(place.asn, Some(2516));
        assert_eq!(place.organisation.as_deref(), Some("KDDI CORPORATION"));
        assert_eq!(place.network, NetworkClass::Ordinary);
        assert_eq!(place.coordinates.unwrap().radius_km, 20.0);
        assert_eq!(world.place("198.51.100.9").network, NetworkClass::Hosting);
        assert_eq!(world.country("2001:db8:49::1").as_deref(), Some("DE"));
    }

    #[test]
    fn every_wrapping_of_an_ipv4_address_is_placed_as_that_address() {
        let world = world();
        let wrapped = [
            "::ffff:203.0.113.7",
            "2002:cb00:7107::1",
            "64:ff9b::203.0.113.7",
            "2001:0:4136:e378:8000:63bf:34ff:8ef8",
        ];
        for client in wrapped {
            assert_eq!(world.country(client).as_deref(), Some("JP"), "{client}");
        }
    }

    #[test]
    fn what_is_not_in_the_files_is_unknown_and_private_is_private() {
        let world = world();
        assert_eq!(*world.place("8.8.8.8"), nowhere(NetworkClass::Unknown));
        assert_eq!(*world.place("100.64.0.1"), nowhere(NetworkClass::Private));
        assert_eq!(*world.place("::203.0.113.7"), nowhere(NetworkClass::Private));
    }

    #[test]
    fn half_a_record_leaves_the_rest_unknown() {
        let world = world();
        let country_only = world.place("198.18.3.1");
        assert_eq!(country_only.country.as_deref(), Some("JP"));
        assert_eq!((&country_only.city, country_only.coordinates), (&None, None));
        let asn_only = world.place("198.18.4.1");
        assert_eq!((&asn_only.country, asn_only.asn), (&None, Some(3320)));
    }

    #[test]
    fn a_database_past_its_age_counts_as_missing() {
        let world = world();
        assert_eq!(world.country("203.0.113.7").as_deref(), Some("JP"));
        let generation = world.locator.generation(world.clock.now());
        world.clock.advance_ms(30 * DAY_MS as i64);
        assert!(!world.locator.city_age().unwrap().stale);
        world.clock.advance_ms(1);
        assert!(world.locator.city_age().unwrap().stale && world.locator.asn_age().unwrap().stale);
        assert_eq!(*world.place("203.0.113.7"), nowhere(NetworkClass::Unknown));
        assert_ne!(world.locator.generation(world.clock.now()), generation);
    }

    #[test]
    fn a_reload_takes_new_files_and_forgets_old_places() {
        let world = world();
        assert_eq!(world.place("203.0.113.7").network, NetworkClass::Ordinary);
        assert_eq!(world.locator.reload(), Ok(Changed::Nothing));
        world.replace("lists/mobile.txt", b"AS2516\n");
        assert_eq!(world.locator.reload(), Ok(Changed::Files(2)));
        assert_eq!(world.place("203.0.113.7").network, NetworkClass::Mobile);
    }

    #[test]
    fn a_broken_file_is_a_fault_and_the_last_good_one_stays() {
        let world = world();
        let whole = std::fs::read(world.folder.path().join("city.mmdb")).unwrap();
        for broken in [&whole[..whole.len() / 2], b"", b"not a database"] {
            world.replace("city.mmdb", broken);
            assert_eq!(world.locator.reload().unwrap_err().len(), 1);
            assert_eq!(world.country("203.0.113.7").as_deref(), Some("JP"));
        }
        std::fs::remove_file(world.folder.path().join("city.mmdb")).unwrap();
        assert!(world.locator.reload().is_err());
        assert_eq!(world.country("203.0.113.7").as_deref(), Some("JP"));
        world.replace("city.mmdb", &whole);
        assert!(world.locator.reload().is_ok());
    }

    #[test]
    fn flipped_bits_never_panic() {
        let world = world();
        let whole = std::fs::read(world.folder.path().join("city.mmdb")).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            world.replace("city.mmdb", &bytes);
            let mut faults = Vec::new();
            let settings = settings(world.folder.path());
            if let Some(locator) = Locator::open(settings, world.clock.clone(), &mut faults) {
                locator.place("203.0.113.7".parse().unwrap());
            }
        }
    }

    #[test]
    fn files_in_each_others_place_are_faults() {
        let world = world();
        let right = settings(world.folder.path());
        let swapped = Settings { city: right.asn, asn: right.city, ..right };
        let mut faults = Vec::new();
        assert!(Locator::open(swapped, world.clock.clone(), &mut faults).is_none());
        assert_eq!(faults.len(), 2);
        assert!(faults[0].message.contains("GeoLite2-ASN"));
    }

    #[test]
    fn files_written_now_are_fresh() {
        let folder = tempfile::tempdir().unwrap();
        make::write(folder.path());
        let settings = Settings { lists: None, ..settings(folder.path()) };
        let clock = Arc::new(crate::world::SystemClock);
        let locator = Locator::open(settings, clock, &mut Vec::new()).unwrap();
        assert!(!locator.city_age().unwrap().stale);
        assert_eq!(locator.place("198.18.1.1".parse().unwrap()).country.as_deref(), Some("TW"));
    }

    #[test]
    fn without_any_file_everything_public_is_unknown() {
        let clock = Arc::new(HandClock::at(UnixMs(0)));
        let locator = Locator::open(Settings::default(), clock, &mut Vec::new()).unwrap();
        let place = locator.place("203.0.113.7".parse().unwrap());
        assert_eq!(*place, nowhere(NetworkClass::Unknown));
    }
}
