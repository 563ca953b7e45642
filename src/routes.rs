//! Writes that no action names, as they are seen in traffic: what a pack does not cover, made visible.
//!
//! Never grows with what clients send: parts of a path that look like ids are put together, long paths are cut, and a
//! site has at most `ROUTES_MAX` rows. Invariant: the counts of all rows together are the writes that were seen,
//! because a row that has to make room is added to the row `other`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::audit::record::rfc3339;
use crate::classify::Unclassified;
use crate::types::{SiteName, UnixMs};

/// One route as far as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSeen {
    pub site: SiteName,
    /// `POST`, `PUT`, `PATCH`, `DELETE`, or `other`.
    pub method: Arc<str>,
    /// As a pack would write it, with `{id}` for what looks like one; `other` for rows that made room.
    pub path: Arc<str>,
    /// What the pack said the last time.
    pub verdict: Unclassified,
    /// Below a prefix that the pack calls sensitive.
    pub sensitive: bool,
    pub count: u64,
    /// Let through to the exchange.
    pub passed: u64,
    /// Answered with a challenge.
    pub asked: u64,
    pub refused: u64,
    /// What came back for those that passed: `2xx`, `4xx`, …, or `none`.
    pub answers: BTreeMap<Arc<str>, u64>,
    #[serde(with = "rfc3339")]
    pub first: UnixMs,
    #[serde(with = "rfc3339")]
    pub last: UnixMs,
}

/// A write that no action names, and what the pack says of it.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub verdict: Unclassified,
    pub sensitive: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was let through, and this came back.
    Passed(Option<u16>),
    Asked,
    Refused,
}

/// The rows of all sites of one gateway.
#[derive(Default)]
pub struct Routes(Mutex<HashMap<SiteName, Table>>);

type Key = (Arc<str>, Arc<str>);

#[derive(Default)]
struct Table {
    rows: HashMap<Key, Row>,
}

struct Row {
    /// Since the gateway started.
    all: RouteSeen,
    /// What of it the audit log has not been told.
    untold: Option<RouteSeen>,
}

impl Routes {
    pub fn count(&self, site: &SiteName, write: &Write<'_>, ending: Ending, now: UnixMs) {
        let seen = RouteSeen::new(site, write, ending, now);
        let mut tables = self.lock();
        match tables.get_mut(site) {
            Some(table) => table.count(seen),
            None => tables.entry(site.clone()).or_default().count(seen),
        }
    }

    /// Every row, the most frequent first.
    pub fn all(&self) -> Vec<RouteSeen> {
        let tables = self.lock();
        let rows = tables.values().flat_map(|table| table.rows.values());
        sorted(rows.map(|row| row.all.clone()).collect())
    }

    /// What was seen since the last call, for the audit log; at most `TOLD_MAX` rows, the rest the next time.
    pub fn take_untold(&self) -> Vec<RouteSeen> {
        let mut tables = self.lock();
        let rows = tables.values_mut().flat_map(|table| table.rows.values_mut());
        let waiting = rows.filter(|row| row.untold.is_some()).take(TOLD_MAX);
        sorted(waiting.filter_map(|row| row.untold.take()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteName, Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&mut self, seen: RouteSeen) {
        let key = (seen.method.clone(), seen.path.clone());
        if !self.rows.contains_key(&key) && self.rows.len() >= ROUTES_MAX {
            self.make_room();
        }
        self.add(key, Row { untold: Some(seen.clone()), all: seen });
    }

    fn add(&mut self, key: Key, new: Row) {
        match self.rows.get_mut(&key) {
            Some(row) => row.add(new),
            None => drop(self.rows.insert(key, new)),
        }
    }

    /// The rarest row, of these the one not seen for longest, is added to `other`: names that somebody makes up, each
    /// for one request, push each other out and leave the routes that are in use.
    fn make_room(&mut self) {
        let rows = self.rows.iter().filter(|(_, row)| &*row.all.path != OTHER);
        let rarest = rows.min_by_key(|(_, row)| (row.all.count, row.all.last));
        let Some(key) = rarest.map(|(key, _)| key.clone()) else { return };
        if let Some(row) = self.rows.remove(&key) {
            let other =
                |seen: RouteSeen| RouteSeen { method: OTHER.into(), path: OTHER.into(), ..seen };
            let row = Row { all: other(row.all), untold: row.untold.map(other) };
            self.add((OTHER.into(), OTHER.into()), row);
        }
    }
}

impl Row {
    fn add(&mut self, new: Self) {
        self.all.add(&new.all);
        match (&mut self.untold, new.untold) {
            (Some(untold), Some(new)) => untold.add(&new),
            (untold @ None, new) => *untold = new,
            (Some(_), None) => {}
        }
    }
}

impl RouteSeen {
    fn new(site: &SiteName, write: &Write<'_>, ending: Ending, now: UnixMs) -> Self {
        let known = METHODS.into_iter().find(|method| *method == write.method);
        let class = |status: u16| CLASSES.get(usize::from(status / 100)).copied();
        let answer = match ending {
            Ending::Passed(status) => Some(status.and_then(class).unwrap_or("none")),
            Ending::Asked | Ending::Refused => None,
        };
        Self {
            site: site.clone(),
            method: known.unwrap_or(OTHER).into(),
            path: template(write.path).into(),
            verdict: write.verdict,
            sensitive: write.sensitive,
            count: 1,
            passed: u64::from(answer.is_some()),
            asked: u64::from(ending == Ending::Asked),
            refused: u64::from(ending == Ending::Refused),
            answers: answer.map(|class| (class.into(), 1)).into_iter().collect(),
            first: now,
            last: now,
        }
    }

    /// Adds another sight of the same route.
    fn add(&mut self, new: &Self) {
        if new.last >= self.last {
            (self.verdict, self.sensitive) = (new.verdict, new.sensitive);
        }
        self.count += new.count;
        self.passed += new.passed;
        self.asked += new.asked;
        self.refused += new.refused;
        for (class, count) in &new.answers {
            *self.answers.entry(class.clone()).or_default() += count;
        }
        self.first = self.first.min(new.first);
        self.last = self.last.max(new.last);
    }

    /// As a pack's `match` names it; none for what no pack can name.
    pub fn pattern(&self) -> Option<String> {
        let plain = |part: &str| {
            let inside = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            !matches!(part, "" | "." | "..") && inside.unwrap_or(part).bytes().all(letter)
        };
        let named = *self.method != *OTHER && self.path.strip_prefix('/')?.split('/').all(plain);
        named.then(|| format!("{} {}", self.method, self.path))
    }

    /// An action to be pasted into a pack. Without fields it binds an approval to every parameter.
    pub fn stub(&self) -> Option<String> {
        let pattern = self.pattern()?;
        let letter = |letter: char| {
            let letter = letter.to_ascii_lowercase();
            if letter.is_ascii_alphanumeric() { letter } else { '_' }
        };
        let words = pattern.split([' ', '/']).filter(|word| !word.is_empty());
        let words = words.filter(|word| !word.starts_with('{'));
        let name: Vec<String> = words.map(|word| word.chars().map(letter).collect()).collect();
        let name = name.join(".");
        Some(format!(
            "[[action]]\nname = \"{name}\"\nmatch = [\"{pattern}\"]\nbody = [\"json\", \"form\", \"none\"]\nsample = '{{}}'\n"
        ))
    }

    /// A path that this row counts, for asking a pack about it.
    pub fn example(&self) -> String {
        let part =
            |part: &str| if part.starts_with('{') { "1".to_owned() } else { part.to_owned() };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }
}

/// Rows of several logs or times as one row each, the most frequent first.
pub fn summed(rows: impl IntoIterator<Item = RouteSeen>) -> Vec<RouteSeen> {
    let mut sums: HashMap<(SiteName, Key), RouteSeen> = HashMap::new();
    for row in rows {
        let key = (row.site.clone(), (row.method.clone(), row.path.clone()));
        match sums.get_mut(&key) {
            Some(sum) => sum.add(&row),
            None => drop(sums.insert(key, row)),
        }
    }
    sorted(sums.into_values().collect())
}

fn sorted(mut rows: Vec<RouteSeen>) -> Vec<RouteSeen> {
    let words = |row: &RouteSeen| (row.site.clone(), row.path.clone(), row.method.clone());
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| words(a).cmp(&words(b))));
    rows
}

/// `/api/users/4821/keys` → `/api/users/{id}/keys`; a second id is `{id2}`.
fn template(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut ids = 0;
    let mut parts: Vec<String> = path
        .split('/')
        .take(PARTS_MAX)
        .map(|part| match is_id(part) {
            false => part.to_owned(),
            true => {
                ids += 1;
                if ids == 1 { "{id}".to_owned() } else { format!("{{id{ids}}}") }
            }
        })
        .collect();
    if path.split('/').nth(PARTS_MAX).is_some() {
        parts.push("…".to_owned());
    }
    parts.join("/")
}

/// Whether a part of a path looks like an id: digits, many digits among letters, very long, or nothing that a route
/// would be called.
pub fn is_id(part: &str) -> bool {
    let digits = part.chars().filter(char::is_ascii_digit).count();
    let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~ ".contains(c));
    digits >= 4 || (digits > 0 && digits == part.len()) || part.len() > PART_BYTES_MAX || !plain
}

/// Rows of one site.
const ROUTES_MAX: usize = 1_000;
/// Rows that the audit log is told at once: fewer than its queue holds.
const TOLD_MAX: usize = 1_000;
/// The empty one before the first slash is one.
const PARTS_MAX: usize = 13;
const PART_BYTES_MAX: usize = 32;
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;

    const POST: Write<'_> =
        Write { method: "POST", path: "/a/b", verdict: Unclassified::Allow, sensitive: false };

    fn site() -> SiteName {
        SiteName::new("main")
    }

    fn count(routes: &Routes, path: &str, ending: Ending, now: i64) {
        routes.count(&site(), &Write { path, ..POST }, ending, UnixMs(now));
    }

    #[test]
    fn a_row_says_how_often_how_it_ended_and_when() {
        let routes = Routes::default();
        for (at, ending) in [
            Ending::Passed(Some(200)),
            Ending::Passed(Some(404)),
            Ending::Passed(Some(201)),
            Ending::Passed(None),
            Ending::Asked,
            Ending::Refused,
        ]
        .into_iter()
        .enumerate()
        {
            count(&routes, "/a/b?c=d", ending, i64::try_from(at).unwrap());
        }
        count(&routes, "/rare", Ending::Refused, 9);
        let all = routes.all();
        let [row, rare] = &all[..] else { panic!("{all:?}") };
        assert_eq!((&*row.method, &*row.path, &*rare.path), ("POST", "/a/b", "/rare"));
        assert_eq!((row.count, row.passed, row.asked, row.refused), (6, 4, 1, 1));
        let answers: Vec<_> = row.answers.iter().map(|(class, count)| (&**class, *count)).collect();
        assert_eq!(answers, [("2xx", 2), ("4xx", 1), ("none", 1)]);
        assert_eq!((row.first, row.last), (UnixMs(0), UnixMs(5)));
    }

    #[test]
    fn ids_are_put_together_and_long_paths_cut() {
        for (path, expected) in [
            ("/api/v5/users/48/keys", "/api/v5/users/{id}/keys"),
            ("/w/bc1q9348j2349/x/17", "/w/{id}/x/{id2}"),
            ("/a%2fb/c", "/{id}/c"),
            ("/orders/2f0c-9120", "/orders/{id}"),
            ("/", "/"),
        ] {
            assert_eq!(template(path), expected);
        }
        let long = template(&"/abc".repeat(1_000));
        assert!(long.ends_with("/…") && long.len() < 60, "{long}");
        assert!(template(&"x".repeat(5_000)).len() < 40);
    }

    #[test]
    fn made_up_names_neither_fill_the_table_nor_push_out_what_is_in_use() {
        let routes = Routes::default();
        for now in 0..2 {
            count(&routes, "/in/use", Ending::Passed(Some(200)), now);
        }
        let letters = |number: usize| -> String {
            format!("{number:04}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        for number in 0..3 * ROUTES_MAX {
            count(&routes, &format!("/x/{}", letters(number)), Ending::Refused, 5);
        }
        let all = routes.all();
        assert!(all.len() <= ROUTES_MAX + 1, "{}", all.len());
        assert!(all.iter().any(|row| &*row.path == "/in/use" && row.count == 2));
        assert_eq!(all.iter().map(|row| row.count).sum::<u64>(), 2 + 3 * ROUTES_MAX as u64);
        let other = all.iter().find(|row| &*row.path == OTHER).unwrap();
        assert!(other.stub().is_none() && other.count > ROUTES_MAX as u64);
        let made_up = Write { method: "BREW", ..POST };
        routes.count(&site(), &made_up, Ending::Refused, UnixMs(6));
        assert!(routes.all().iter().all(|row| &*row.method != "BREW"));
    }

    #[test]
    fn the_log_is_told_everything_once() {
        let routes = Routes::default();
        count(&routes, "/a", Ending::Asked, 1);
        count(&routes, "/a", Ending::Passed(Some(200)), 2);
        count(&routes, "/b", Ending::Refused, 3);
        let first = routes.take_untold();
        assert_eq!(first, routes.all());
        assert!(routes.take_untold().is_empty());
        count(&routes, "/a", Ending::Refused, 4);
        let second = routes.take_untold();
        assert!(second.len() == 1 && second[0].count == 1);
        assert_eq!(summed(first.into_iter().chain(second)), routes.all());
    }

    #[test]
    fn the_last_word_of_the_pack_counts() {
        let routes = Routes::default();
        count(&routes, "/a", Ending::Passed(Some(200)), 1);
        let denied = Write { verdict: Unclassified::Deny, sensitive: true, path: "/a", ..POST };
        routes.count(&site(), &denied, Ending::Refused, UnixMs(2));
        let all = routes.all();
        assert_eq!((all.len(), all[0].verdict, all[0].sensitive), (1, Unclassified::Deny, true));
    }

    #[test]
    fn every_stub_is_an_action_that_a_pack_can_hold() {
        let routes = Routes::default();
        let paths = ["/a/b", "/API/v5/x-y/z.json", "/users/48/keys/99", "/", "/a//b", "/a%20/b/.."];
        for path in paths {
            count(&routes, path, Ending::Refused, 1);
        }
        let stubs: Vec<String> = routes.all().iter().filter_map(RouteSeen::stub).collect();
        assert_eq!(stubs.len(), 3, "{stubs:?}");
        let pack = format!("version = 1\nexchange = \"x\"\n{}", stubs.join("\n"));
        let mut faults = Vec::new();
        let set = crate::classify::load(&[Source::new("stubs", pack.as_str())], &mut faults);
        assert!(set.is_some(), "{pack}\n{faults:?}");
    }
}
