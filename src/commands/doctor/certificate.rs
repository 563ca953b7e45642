//! The certificates that clients are shown: whole, in time, made for the sites' hosts.
//!
//! Never says whether clients trust their issuer: that is decided where the clients are.

use super::{Finding, Here};
use crate::assemble;
use crate::listen::certs::{self, Pair, Seen};
use crate::listen::validity::DAYS_WARN;

pub(super) const SUBJECT: &str = "certificate";

pub(super) fn examine(here: &Here) -> Vec<Finding> {
    let (mut findings, mut seen) = (Vec::new(), Vec::new());
    for pair in assemble::pairs(&here.config) {
        match certs::inspect(&pair) {
            Ok(found) => {
                findings.push(in_time(here, &pair, &found));
                seen.push(found);
            }
            Err(faults) => {
                let advice = "see [listen] certificate and key";
                findings.extend(faults.iter().map(|fault| Finding::of(SUBJECT, fault, advice)));
            }
        }
    }
    // With a file missing nobody can say which hosts it was for.
    if seen.len() == here.config.listen.tls.len() {
        findings.extend(here.config.sites.iter().flat_map(|site| {
            let bare = site.hosts.iter().filter(|host| !seen.iter().any(|it| it.covers(host)));
            bare.map(|host| uncovered(&site.name, host))
        }));
    }
    findings
}

fn in_time(here: &Here, pair: &Pair, seen: &Seen) -> Finding {
    let (name, now) = (pair.certificate.display(), here.now());
    let Some(validity) = seen.validity else {
        let what = format!("{name}: when it ends cannot be read");
        return Finding::warning(SUBJECT, what, "see that the file holds X.509 v3 certificates");
    };
    let names = if seen.names.is_empty() { "no name".to_owned() } else { seen.names.join(", ") };
    let what = format!("{name}: {names}, {}", validity.say(now));
    if validity.is_over(now) || !validity.has_begun(now) {
        let advice = "clients refuse it now: put a valid one in its place (it is taken into use \
                      without a restart), or set this machine's clock";
        return Finding::fault(SUBJECT, what, advice);
    }
    if validity.days_left(now) < DAYS_WARN {
        let advice = "renew it; a changed file is taken into use without a restart";
        return Finding::warning(SUBJECT, what, advice);
    }
    Finding::ok(SUBJECT, what)
}

fn uncovered(site: &str, host: &str) -> Finding {
    let what = format!("no certificate is made for `{host}` (site {site}): clients refuse it");
    let advice = "have one made with this name, or add another by [[listen.tls]]";
    Finding::fault(SUBJECT, what, advice)
}
