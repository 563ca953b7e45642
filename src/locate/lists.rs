//! Network classes by list: files that operators drop into a folder, and a short table of
//! well-known networks.
//!
//! Never decides a request: a class is one fact among others. Each file is named after the class it
//! gives (`hosting.txt`, `relay.txt`, `mobile.txt`; `ordinary.txt` takes a network out of the
//! table) and holds one network (`203.0.113.0/24`) or one `AS64500` per line; `#` begins a comment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::NetworkClass;
use crate::fault::{Fault, Source, suggest};

/// What the lists say. The narrowest network that holds an address decides, before its ASN does.
#[derive(Debug, Default)]
pub(super) struct Lists {
    networks: HashMap<IpNet, NetworkClass>,
    asns: HashMap<u32, NetworkClass>,
    /// Prefix lengths that occur, longest first, so that a look-up tries only those.
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
}

impl Lists {
    /// Reads every `*.txt` of a folder; each fault goes to `faults` with its line.
    pub fn read(folder: &Path, faults: &mut Vec<Fault>) -> Self {
        let mut lists = Self::default();
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                faults.push(about(folder, format!("cannot read this folder: {error}")));
                return lists;
            }
        };
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        for (class, _) in CLASSES.iter().rev() {
            for path in files.iter().filter(|path| class_of(path) == Some(*class)) {
                match std::fs::read_to_string(path) {
                    Ok(text) => lists.add(*class, &Source::new(path, text), faults),
                    Err(error) => faults.push(about(path, format!("cannot read this: {error}"))),
                }
            }
        }
        faults
            .extend(files.iter().filter(|path| class_of(path).is_none()).map(|path| unnamed(path)));
        lists
    }

    /// The class of an address of this ASN; a known ASN that no list names is ordinary.
    pub fn class(&self, address: IpAddr, asn: Option<u32>) -> NetworkClass {
        if let Some(class) = self.by_network(address) {
            return class;
        }
        let Some(asn) = asn else { return NetworkClass::Unknown };
        self.asns.get(&asn).copied().unwrap_or_else(|| well_known(asn))
    }

    fn by_network(&self, address: IpAddr) -> Option<NetworkClass> {
        let lengths = if address.is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths.iter().find_map(|length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            self.networks.get(&network).copied()
        })
    }

    fn add(&mut self, class: NetworkClass, source: &Source, faults: &mut Vec<Fault>) {
        let mut start = 0;
        for line in source.text.split_inclusive('\n') {
            let entry = line.split('#').next().unwrap_or("").trim();
            let at = start + (line.len() - line.trim_start().len());
            start += line.len();
            if !entry.is_empty() && self.add_entry(class, entry).is_none() {
                let fault =
                    Fault::new(source, at..at + entry.len(), "not a network and not an ASN");
                faults
                    .push(fault.help("for example `203.0.113.0/24`, `2001:db8::/32` or `AS64500`"));
            }
        }
    }

    fn add_entry(&mut self, class: NetworkClass, entry: &str) -> Option<()> {
        if let Some(number) = entry.strip_prefix("AS").or_else(|| entry.strip_prefix("as")) {
            // `parse` alone would take a leading plus sign.
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            self.asns.insert(number.parse().ok().filter(|_| digits)?, class);
            return Some(());
        }
        let network = match entry.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => entry.parse::<IpNet>().ok()?.trunc(),
        };
        let lengths = match network {
            IpNet::V4(_) => &mut self.lengths_v4,
            IpNet::V6(_) => &mut self.lengths_v6,
        };
        if let Err(at) = lengths.binary_search_by(|known| network.prefix_len().cmp(known)) {
            lengths.insert(at, network.prefix_len());
        }
        self.networks.insert(network, class);
        Some(())
    }
}

fn class_of(path: &Path) -> Option<NetworkClass> {
    let stem = path.file_stem()?.to_str()?;
    CLASSES.iter().find(|(_, name)| *name == stem).map(|(class, _)| *class)
}

fn unnamed(path: &Path) -> Fault {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    let names = CLASSES.map(|(_, name)| name);
    let fault = about(path, format!("no network class is named `{stem}`"));
    fault.help(suggest(stem, names).unwrap_or_else(|| format!("one of: {}", names.join(", "))))
}

fn about(path: &Path, message: String) -> Fault {
    Fault::new(&Source::new(path, ""), 0..0, message)
}

fn well_known(asn: u32) -> NetworkClass {
    if RELAYS.contains(&asn) {
        NetworkClass::Relay
    } else if HOSTING.contains(&asn) {
        NetworkClass::Hosting
    } else {
        NetworkClass::Ordinary
    }
}

/// Classes that lists may give. One network in two files gets the class that stands first.
const CLASSES: [(NetworkClass, &str); 4] = [
    (NetworkClass::Relay, "relay"),
    (NetworkClass::Hosting, "hosting"),
    (NetworkClass::Mobile, "mobile"),
    (NetworkClass::Ordinary, "ordinary"),
];

/// Networks whose customers choose the exit: Cloudflare (WARP), Akamai's and Fastly's private-relay
/// exits.
const RELAYS: [u32; 3] = [13335, 36183, 54113];

/// Large hosting networks: people do not browse from them, tunnels and rented machines do.
const HOSTING: [u32; 30] = [
    8075, 8560, 8987, 9009, 12876, 14061, 14618, 16276, 16509, 20473, 24940, 26496, 28753, 31898,
    35540, 36351, 37963, 45090, 45102, 46606, 51167, 53667, 55990, 60068, 60781, 63949, 132203,
    136907, 212238, 396982,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lists(class: NetworkClass, text: &str) -> (Lists, Vec<Fault>) {
        let (mut lists, mut faults) = (Lists::default(), Vec::new());
        lists.add(class, &Source::new("list.txt", text), &mut faults);
        (lists, faults)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_narrowest_network_decides_before_the_asn() {
        let (mut lists, _) = lists(NetworkClass::Hosting, "203.0.113.0/24\nAS64500\n2001:db8::/32");
        lists.add_entry(NetworkClass::Mobile, "203.0.113.128/25").unwrap();
        lists.add_entry(NetworkClass::Relay, "203.0.113.200").unwrap();
        assert_eq!(lists.class(ip("203.0.113.7"), None), NetworkClass::Hosting);
        assert_eq!(lists.class(ip("203.0.113.129"), Some(64500)), NetworkClass::Mobile);
        assert_eq!(lists.class(ip("203.0.113.200"), None), NetworkClass::Relay);
        assert_eq!(lists.class(ip("192.0.2.1"), Some(64500)), NetworkClass::Hosting);
        assert_eq!(lists.class(ip("2001:db8:5::1"), None), NetworkClass::Hosting);
        assert_eq!(lists.class(ip("192.0.2.1"), None), NetworkClass::Unknown);
        assert_eq!(lists.class(ip("192.0.2.1"), Some(2516)), NetworkClass::Ordinary);
    }

    #[test]
    fn a_list_overrules_the_table_of_well_known_networks() {
        let (lists, _) = lists(NetworkClass::Ordinary, "AS24940 # our own office\n");
        assert_eq!(lists.class(ip("192.0.2.1"), Some(24940)), NetworkClass::Ordinary);
        assert_eq!(Lists::default().class(ip("192.0.2.1"), Some(24940)), NetworkClass::Hosting);
        assert_eq!(Lists::default().class(ip("192.0.2.1"), Some(36183)), NetworkClass::Relay);
    }

    #[test]
    fn every_faulty_line_is_named_with_its_place() {
        let text = "# head\n10.0.0.0/8\n  10.0.0.0/40 # too long\n\nAS\nASx1\nAS+5\nAS64500\n";
        let (lists, faults) = lists(NetworkClass::Mobile, text);
        let places: Vec<_> = faults.iter().map(Fault::position).collect();
        assert_eq!(places, [(3, 3), (5, 1), (6, 1), (7, 1)]);
        assert!(faults[0].render().contains("10.0.0.0/40"));
        assert_eq!(lists.asns.len(), 1);
    }

    #[test]
    fn a_network_in_two_files_gets_the_stricter_class_and_other_names_are_faults() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["relay", "mobile", "hosing"] {
            std::fs::write(folder.path().join(format!("{name}.txt")), "192.0.2.0/24").unwrap();
        }
        std::fs::write(folder.path().join("README.md"), "not a list").unwrap();
        let mut faults = Vec::new();
        let lists = Lists::read(folder.path(), &mut faults);
        assert_eq!(lists.class(ip("192.0.2.1"), None), NetworkClass::Relay);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].help.as_deref(), Some("did you mean `hosting`?"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_fault() {
        let mut faults = Vec::new();
        Lists::read(Path::new("/nowhere/at/all"), &mut faults);
        assert_eq!(faults.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC*") {
            let (lists, _) = lists(NetworkClass::Relay, &text);
            lists.class(ip("192.0.2.1"), Some(1));
        }
    }
}
