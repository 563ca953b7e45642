//! `stepgate status`: what a running gateway says of itself, for people.
//!
//! Never hides a refused reload: what is in force and what is in the files are then two things, and it says so.

use std::fmt::Write;

use crate::admin::{LastReload, Status};
use crate::prices;
use crate::suspension::Suspension;
use crate::types::UnixMs;

/// The status in a few lines.
pub fn render(status: &Status) -> String {
    let mut out = format!(
        "stepgate {}, up {} since {}\n\n",
        status.version,
        spell(status.uptime_s),
        at(status.started)
    );
    sites(&mut out, status);
    match &status.last_reload {
        None => out.push_str("\nno reload since the start\n"),
        Some(last) => reload(&mut out, last, status.sites_since),
    }
    if let Some(state) = &status.prices {
        prices(&mut out, state);
    }
    for stop in &status.sms_stops {
        let (scope, subject, until) = (stop.scope.word(), &stop.subject, at(stop.until));
        line(
            &mut out,
            &format!(
                "\nno text messages, {scope} {subject}: too few codes came back; until {until}"
            ),
        );
        line(&mut out, &format!("  `stepgate sms lift {subject}` lets them go on"));
    }
    suspensions(&mut out, &status.suspensions);
    out
}

fn suspensions(out: &mut String, suspensions: &[Suspension]) {
    for one in suspensions {
        let site = one.site.as_ref().map_or("all sites".to_owned(), |site| format!("site {site}"));
        let until =
            one.until.map_or("until it is resumed".to_owned(), |end| format!("until {}", at(end)));
        let when = format!("from {} {until}, ordered by {}", at(one.from), one.by);
        line(out, &format!("\nsuspended: {} on {site}, {when}", one.action));
        for (language, why) in &one.reasons {
            let told = if language.is_empty() { String::new() } else { format!(" ({language})") };
            line(out, &format!("  customers are told{told}: {why}"));
        }
        line(out, &format!("  `stepgate resume {}` lets it go on", one.id));
    }
}

fn prices(out: &mut String, state: &prices::State) {
    let since = state.as_of.map_or("never yet".to_owned(), at);
    line(out, &format!("\nprices: {} assets, ticker read {since}", state.assets));
    if let Some(error) = &state.error {
        line(out, &format!("  {} failures in a row since: {error}", state.failures));
    }
    if !state.held_back.is_empty() {
        let assets = state.held_back.join(", ");
        line(
            out,
            &format!("  fell too fast to be believed, and unreadable until they stay: {assets}"),
        );
    }
}

fn sites(out: &mut String, status: &Status) {
    let width = status.sites.iter().map(|site| site.site.len()).max().unwrap_or(0).max(4);
    line(out, &format!("{:width$}  {:16}  {:16}", "site", "policy", "shadow policy"));
    for site in &status.sites {
        let shadow = site.shadow_policy.as_deref().unwrap_or("-");
        line(out, &format!("{:width$}  {:16}  {shadow:16}", site.site, site.policy));
    }
    line(out, &format!("in force since {}", at(status.sites_since)));
}

fn reload(out: &mut String, last: &LastReload, since: UnixMs) {
    let when = format!("last reload {} (by {})", at(last.at), last.by);
    if last.ok {
        line(out, &format!("\n{when}: ok, {}", last.detail));
        return;
    }
    line(out, &format!("\n{when}: REFUSED, what is in force is of {}", at(since)));
    let faults: Vec<&str> = last.detail.split("\n\n").collect();
    for fault in faults.iter().take(FAULTS_SHOWN) {
        let words: Vec<&str> = fault.lines().map(str::trim).take(2).collect();
        line(out, &format!("  {}", words.join(" ")));
    }
    if let Some(more @ 1..) = faults.len().checked_sub(FAULTS_SHOWN) {
        line(out, &format!("  and {more} more"));
    }
    out.push_str("  `stepgate check` shows all of them with their lines\n");
    if !last.restart.is_empty() {
        line(out, &format!("needs a restart: {}", last.restart.join(", ")));
    }
}

fn line(out: &mut String, text: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

fn at(time: UnixMs) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`.
fn spell(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

const FAULTS_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::SiteStatus;

    fn status(last_reload: Option<LastReload>) -> Status {
        let site = |site: &str, shadow: Option<&str>| SiteStatus {
            site: site.into(),
            policy: "4eab33c0b9ba9ded".into(),
            shadow_policy: shadow.map(str::to_owned),
        };
        Status {
            version: "0.1.0".into(),
            started: UnixMs(1_795_176_000_000),
            uptime_s: 11_527,
            sites: vec![site("main", Some("0123456789abcdef")), site("api", None)],
            sites_since: UnixMs(1_795_179_600_000),
            last_reload,
            prices: None,
            sms_stops: vec![],
            suspensions: vec![],
        }
    }

    #[test]
    fn a_ticker_that_fails_is_told() {
        let state = prices::State {
            as_of: Some(UnixMs(1_795_176_000_000)),
            assets: 412,
            held_back: vec!["XYZ".into()],
            failures: 3,
            error: Some("it answered 500".into()),
        };
        let text = render(&Status { prices: Some(state), ..status(None) });
        assert!(
            text.ends_with(
                "prices: 412 assets, ticker read 2026-11-20 12:00:00 UTC\n  \
                 3 failures in a row since: it answered 500\n  \
                 fell too fast to be believed, and unreadable until they stay: XYZ\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn it_reads_well() {
        assert_eq!(
            render(&status(None)),
            "stepgate 0.1.0, up 3 h 12 min since 2026-11-20 12:00:00 UTC\n\n\
             site  policy            shadow policy\n\
             main  4eab33c0b9ba9ded  0123456789abcdef\n\
             api   4eab33c0b9ba9ded  -\n\
             in force since 2026-11-20 13:00:00 UTC\n\n\
             no reload since the start\n"
        );
    }

    #[test]
    fn a_refused_reload_is_said_with_its_first_faults() {
        let fault = "error: an unknown action\n --> p.policy.toml:4:6\n  |\n4 | on = \"x\"";
        let last = LastReload {
            at: UnixMs(1_795_183_200_000),
            ok: false,
            by: "SIGHUP".into(),
            detail: [fault; 7].join("\n\n"),
            restart: vec!["listen.address".into()],
        };
        let said = render(&status(Some(last)));
        assert!(
            said.contains("last reload 2026-11-20 14:00:00 UTC (by SIGHUP): REFUSED"),
            "{said}"
        );
        assert!(said.contains("what is in force is of 2026-11-20 13:00:00 UTC"), "{said}");
        assert!(said.contains("  error: an unknown action --> p.policy.toml:4:6\n"), "{said}");
        assert!(said.contains("and 2 more") && said.contains("restart: listen.address"), "{said}");
    }

    #[test]
    fn a_stop_says_what_it_is_of_and_what_lifts_it() {
        let stop = crate::stepup::budget::Stop {
            scope: crate::stepup::budget::Scope::Prefix,
            subject: "+49".into(),
            until: UnixMs(1_790_000_000_000),
        };
        let text = render(&Status { sms_stops: vec![stop], ..status(None) });
        for line in [
            "no text messages, prefix +49: too few codes came back; until 2026-09-21 14:13:20 UTC",
            "`stepgate sms lift +49` lets them go on",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
