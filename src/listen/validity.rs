//! From when until when a chain of certificates is valid, and for which names.
//!
//! Never reads a certificate's encoding itself: the verifier that clients use is asked at the beginning and at the end
//! of time, and names the bounds in its refusal. Invariant: a chain is valid only while all of it is.

use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use crate::types::UnixMs;

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub begins: UnixMs,
    pub ends: UnixMs,
}

impl Validity {
    /// The time that all certificates of the chain have in common. `None` if one of them cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let each = chain.iter().map(Self::of_one).collect::<Option<Vec<_>>>()?;
        let begins = each.iter().map(|one| one.begins).max()?;
        Some(Self { begins, ends: each.iter().map(|one| one.ends).min()? })
    }

    fn of_one(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = ParsedCertificate::try_from(certificate).ok()?;
        // Validity is looked at before anything else, so that no root is needed to be told of it.
        let refusal = |seconds| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
            let roots = RootCertStore::empty();
            verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], now, algorithms)
        };
        let begins = match refusal(0) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => unix_ms(not_before),
            _ => UnixMs(0), // valid in 1970 already
        };
        match refusal(END_OF_TIME_S) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(Self { begins, ends: unix_ms(not_after) }),
            _ => None,
        }
    }

    /// Whole days from `now` to the end; negative once it is over.
    pub fn days_left(self, now: UnixMs) -> i64 {
        self.ends.0.saturating_sub(now.0).div_euclid(DAY_MS)
    }

    pub fn is_over(self, now: UnixMs) -> bool {
        self.ends < now
    }

    pub fn has_begun(self, now: UnixMs) -> bool {
        self.begins <= now
    }

    /// `ends in 3 days`, or what else there is to say of it.
    pub fn say(self, now: UnixMs) -> String {
        let many = |days: i64| if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        if self.is_over(now) {
            return format!("ended {} ago", many(now.0.saturating_sub(self.ends.0) / DAY_MS));
        }
        if !self.has_begun(now) {
            let days = self.begins.0.saturating_sub(now.0) / DAY_MS;
            return format!("is not valid yet, but in {}", many(days));
        }
        format!("ends in {}", many(self.days_left(now)))
    }
}

/// The names that a leaf has. The verifier lists them when it is asked for one that nobody has.
pub(super) fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let (Ok(leaf), Ok(nobody)) =
        (ParsedCertificate::try_from(leaf), ServerName::try_from("nobody.invalid"))
    else {
        return Vec::new();
    };
    match verify_server_name(&leaf, &nobody) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => presented.iter().filter_map(|name| plain(name)).collect(),
        _ => Vec::new(),
    }
}

/// `DnsName("a.example")` and `IpAddress(127.0.0.1)` without what is around them.
fn plain(name: &str) -> Option<String> {
    let inside =
        name.strip_prefix("DnsName(").or(name.strip_prefix("IpAddress("))?.strip_suffix(')')?;
    Some(inside.trim_matches('"').to_owned())
}

fn unix_ms(time: UnixTime) -> UnixMs {
    UnixMs(i64::try_from(time.as_secs().saturating_mul(1000)).unwrap_or(i64::MAX))
}

/// Fewer days left than this are worth a warning.
pub const DAYS_WARN: i64 = 14;
const DAY_MS: i64 = 86_400_000;
/// After the year 9999, with which a certificate says that it does not end (RFC 5280 §4.1.2.5).
const END_OF_TIME_S: u64 = 300_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(begins: u64, ends: u64) -> CertificateDer<'static> {
        let names = ["a.example", "*.b.example", "127.0.0.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(begins), at(ends));
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        let chain = [certificate(1_000, 2_000_000_000), certificate(500, 1_900_000_000)];
        let expected = Validity { begins: UnixMs(1_000_000), ends: UnixMs(1_900_000_000_000) };
        assert_eq!(Validity::of(&chain), Some(expected));
        assert_eq!(Validity::of(&[CertificateDer::from(vec![1, 2, 3])]), None);
    }

    #[test]
    fn a_leaf_names_its_hosts() {
        let found = names(&certificate(0, 2_000_000_000));
        assert_eq!(found, ["a.example", "*.b.example", "127.0.0.1"]);
    }

    #[test]
    fn the_last_day_and_the_day_after_are_told_apart() {
        let day = |days: i64| UnixMs(days * DAY_MS);
        let validity = Validity { begins: day(10), ends: day(20) };
        assert_eq!(validity.say(UnixMs(day(19).0 - 1)), "ends in 1 day");
        assert_eq!(validity.say(day(20)), "ends in 0 days");
        assert_eq!(validity.say(UnixMs(day(20).0 + 1)), "ended 0 days ago");
        assert_eq!(validity.say(day(8)), "is not valid yet, but in 2 days");
        assert!(!validity.is_over(day(20)) && validity.is_over(day(21)));
    }
}
