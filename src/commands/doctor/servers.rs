//! The Redis store: whether every server can be reached and is set up so that nothing is thrown away or forgotten.
//!
//! Never changes a setting of a server. What the store itself refuses to start on is a fault here.

use super::store::SUBJECT;
use super::{Finding, Here};
use crate::store::StoreError;
use crate::store::redis::{ServerFacts, examine as ask_servers};

pub(super) async fn examine(here: &Here) -> Vec<Finding> {
    // A secret that cannot be read is the configuration's fault, and is said there.
    let Some(settings) = here.config.redis_settings(&mut Vec::new()) else { return Vec::new() };
    let asked = tokio::task::spawn_blocking(move || ask_servers(&settings)).await;
    let advice = "the gateway does not start before that is mended, there or in [store]";
    match asked {
        Ok(Ok(servers)) => servers.iter().flat_map(of_server).collect(),
        Ok(Err(StoreError::Unavailable(why))) => vec![Finding::fault(SUBJECT, why, advice)],
        Ok(Err(error)) => vec![Finding::fault(SUBJECT, error.to_string(), advice)],
        Err(_) => vec![Finding::fault(SUBJECT, "the examination broke off", advice)],
    }
}

fn of_server(server: &ServerFacts) -> Vec<Finding> {
    let name = &server.server;
    let mut findings = Vec::new();
    let mut note =
        |level: fn(&'static str, String, String) -> Finding, what: &str, advice: &str| {
            findings.push(level(SUBJECT, format!("{name}: {what}"), advice.to_owned()));
        };
    if major(&server.version) < VERSION_MIN {
        let what = format!("Redis {}; tried with 7.0 and later", server.version);
        note(Finding::warning, &what, "use Redis 7.0 or later");
    }
    if !server.aof_enabled {
        let what = "no append-only file: after a crash it is older than what was answered";
        note(Finding::warning, what, "set `appendonly yes` (and `appendfsync everysec`)");
    }
    if server.role == "master" && server.replicas == 0 {
        let what = "no replica: when it is down, guarded actions wait for it";
        note(Finding::warning, what, "attach a replica, with Sentinel or in a Cluster");
    }
    if server.replicas > 0 && server.min_replicas_to_write == Some(0) {
        let what = "a master that is cut off from its replicas goes on taking approvals";
        note(Finding::warning, what, "set `min-replicas-to-write 1` and `min-replicas-max-lag 10`");
    }
    if server.skew_ms.abs() > SKEW_FAULT_MS {
        let what =
            format!("its clock is {} ms from this machine's: no TOTP is taken", server.skew_ms);
        note(Finding::fault, &what, "set both clocks by NTP");
    } else if server.skew_ms.abs() > SKEW_WARNING_MS {
        let what = format!("its clock is {} ms from this machine's", server.skew_ms);
        note(Finding::warning, &what, "set both clocks by NTP");
    }
    if findings.is_empty() {
        let what = format!("{name}: Redis {}, {}, keeps everything", server.version, server.role);
        findings.push(Finding::ok(SUBJECT, what));
    }
    findings
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

const VERSION_MIN: u32 = 7;
/// As the store judges them.
const SKEW_WARNING_MS: i64 = 1_000;
const SKEW_FAULT_MS: i64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::Server;

    fn facts() -> ServerFacts {
        ServerFacts {
            server: Server { host: "redis-1".to_owned(), port: 6379 },
            version: "7.0.15".to_owned(),
            role: "master".to_owned(),
            clustered: false,
            maxmemory_policy: "noeviction".to_owned(),
            maxmemory: 0,
            aof_enabled: true,
            rdb_save: None,
            replicas: 1,
            min_replicas_to_write: Some(1),
            skew_ms: 2,
            round_trip_us: 200,
        }
    }

    fn said(server: &ServerFacts) -> Vec<String> {
        of_server(server).iter().map(Finding::line).collect()
    }

    #[test]
    fn a_server_that_keeps_everything_is_said_in_one_line() {
        let said = said(&facts());
        assert_eq!(
            said,
            ["ok    store         redis-1:6379: Redis 7.0.15, master, keeps everything"]
        );
    }

    #[test]
    fn what_a_server_may_lose_and_when_it_is_alone_is_said_with_what_to_do() {
        let poor = ServerFacts {
            version: "6.2.1".to_owned(),
            aof_enabled: false,
            replicas: 0,
            skew_ms: -1_500,
            ..facts()
        };
        assert_eq!(
            said(&poor).join("\n"),
            "warn  store         redis-1:6379: Redis 6.2.1; tried with 7.0 and later\n\
             \x20                   → use Redis 7.0 or later\n\
             warn  store         redis-1:6379: no append-only file: after a crash it is older than what was answered\n\
             \x20                   → set `appendonly yes` (and `appendfsync everysec`)\n\
             warn  store         redis-1:6379: no replica: when it is down, guarded actions wait for it\n\
             \x20                   → attach a replica, with Sentinel or in a Cluster\n\
             warn  store         redis-1:6379: its clock is -1500 ms from this machine's\n\
             \x20                   → set both clocks by NTP"
        );
        let cut = ServerFacts { min_replicas_to_write: Some(0), skew_ms: 6_000, ..facts() };
        assert_eq!(
            said(&cut).join("\n"),
            "warn  store         redis-1:6379: a master that is cut off from its replicas goes on taking approvals\n\
             \x20                   → set `min-replicas-to-write 1` and `min-replicas-max-lag 10`\n\
             FAULT store         redis-1:6379: its clock is 6000 ms from this machine's: no TOTP is taken\n\
             \x20                   → set both clocks by NTP"
        );
    }
}
