//! Slips in a configuration: read or refused, and nothing else.

use stepgate::config;
use stepgate::fault::Source;
use tempfile::TempDir;

use super::{Fate, number, slipped, stands, try_all};
use crate::kit::{Kit, Options, POLICY};
use crate::world::OKX;

#[test]
fn no_slip_in_a_configuration_makes_its_reading_panic() {
    let dir = TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let options = Options { upstream, policy: POLICY, pack: OKX, extra: "", workers: 1, sms: true };
    let kit = Kit::write(dir.path(), &options);
    let text = std::fs::read_to_string(kit.config()).unwrap();
    let mutants = slipped(&text, number("COUNT", 1000), 4);
    try_all("configuration", &text, mutants, |text| {
        match config::parse(&Source::new(kit.config(), text)) {
            // What is read is another configuration, or the same: both may be meant.
            Ok(_) => Fate::Same,
            Err(faults) => {
                assert!(!faults.is_empty(), "refused without a fault");
                faults.iter().for_each(stands);
                Fate::Refused
            }
        }
    });
}
