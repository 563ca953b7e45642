//! What operators see of the gateway as Prometheus metrics.
//!
//! Never puts a client's own words into a label without a bound: sites, actions and rules come from
//! files, routes of unclassified writes are cut, generalised and at most 1,000. Invariant: an
//! ordinary request costs a few additions to memory that no other core writes.
//!
//! How that is kept: request counters, the in-flight gauge and the latency histograms are spread
//! over shards, one cache line each, and every thread adds to its own; they are summed when
//! somebody scrapes. A family look-up (lock, hash, label strings) happens once per site: the
//! pipeline keeps the [`OrdinaryRequests`] of its site.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::routes::is_id;
use crate::store::Figures;
use crate::types::{ActionName, Factor, PolicyVersion, RuleId, SiteName};

mod sharded;
mod shared_store;
mod suspended;
mod texts;

use sharded::{Latency, Sharded};
use shared_store::SharedStore;
use suspended::Suspended;
use texts::Texts;

type Requests = Counter<u64, Sharded>;

/// Every metric of the gateway. Shared by reference; all methods are cheap and never wait.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Requests>,
    rules: Family<RuleLabels, Counter>,
    shadow_decisions: Family<ShadowLabels, Requests>,
    shadow_lines_skipped: Family<SiteLabels, Counter>,
    challenges: Family<ChallengeLabels, Counter>,
    store: Latency,
    upstream: Family<SiteLabels, Latency>,
    unclassified: Family<RouteLabels, Counter>,
    /// Routes that have a series of their own.
    routes: Mutex<HashSet<RouteLabels>>,
    audit_dropped: Gauge,
    audit_healthy: Gauge,
    sightings_dropped: Counter,
    connections: Gauge,
    tls_handshake_failures: Counter,
    geo_age: Family<DatabaseLabels, Gauge>,
    prices_age: Gauge,
    prices_polled: Family<ResultLabels, Counter>,
    prices_held_back: Gauge,
    policy_reload: Family<ResultLabels, Counter>,
    policy_info: Family<PolicyLabels, Gauge>,
    sms_sent: Family<SmsLabels, Counter>,
    texts: Texts,
    notices: Family<NoticeLabels, Counter>,
    messages_lost: Family<LostLabels, Counter>,
    in_flight: Gauge<i64, Sharded>,
    panics: Counter,
    shared_store: SharedStore,
    suspended: Suspended,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("stepgate"),
            requests: Family::default(),
            rules: Family::default(),
            shadow_decisions: Family::default(),
            shadow_lines_skipped: Family::default(),
            challenges: Family::default(),
            store: Latency::default(),
            upstream: Family::default(),
            unclassified: Family::default(),
            routes: Mutex::default(),
            audit_dropped: Gauge::default(),
            audit_healthy: Gauge::default(),
            sightings_dropped: Counter::default(),
            connections: Gauge::default(),
            tls_handshake_failures: Counter::default(),
            geo_age: Family::default(),
            prices_age: Gauge::default(),
            prices_polled: Family::default(),
            prices_held_back: Gauge::default(),
            policy_reload: Family::default(),
            policy_info: Family::default(),
            sms_sent: Family::default(),
            texts: Texts::default(),
            notices: Family::default(),
            messages_lost: Family::default(),
            in_flight: Gauge::default(),
            panics: Counter::default(),
            shared_store: SharedStore::default(),
            suspended: Suspended::default(),
        };
        metrics.register_traffic();
        metrics.register_health();
        metrics
    }
}

impl Metrics {
    fn register_traffic(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests by site, action, verdict", self.requests.clone());
        registry.register("rules", "Rules that spoke", self.rules.clone());
        registry.register(
            "shadow_decisions",
            "What a candidate policy would have said, beside what the live one did",
            self.shadow_decisions.clone(),
        );
        registry.register(
            "shadow_lines_skipped",
            "Requests that shadow rules or a candidate would have stopped and that were counted, not recorded",
            self.shadow_lines_skipped.clone(),
        );
        registry.register("challenges", "Challenge events by factor", self.challenges.clone());
        registry.register(
            "unclassified_writes",
            "Writes that no action names, by route",
            self.unclassified.clone(),
        );
        registry.register("sms_sent", "Text messages by provider", self.sms_sent.clone());
        self.texts.register(registry);
        self.suspended.register(registry);
        registry.register("notices", "What owners were told, and were not", self.notices.clone());
        registry.register(
            "messages_lost",
            "Text messages and mails that were given up",
            self.messages_lost.clone(),
        );
        registry.register_with_unit("store", "Store latency", Unit::Seconds, self.store.clone());
        registry.register_with_unit(
            "upstream",
            "Time to the head of the upstream's answer",
            Unit::Seconds,
            self.upstream.clone(),
        );
        registry.register("requests_in_flight", "Requests being served", self.in_flight.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
    }

    fn register_health(&mut self) {
        let registry = &mut self.registry;
        self.shared_store.register(registry);
        registry.register(
            "audit_dropped",
            "Audit records that are lost since the start",
            self.audit_dropped.clone(),
        );
        registry.register("audit_healthy", "1 if the audit log works", self.audit_healthy.clone());
        registry.register(
            "sightings_dropped",
            "Sightings that found the queue full",
            self.sightings_dropped.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed or took too long",
            self.tls_handshake_failures.clone(),
        );
        registry.register_with_unit(
            "geo_age",
            "Age of the geography databases",
            Unit::Seconds,
            self.geo_age.clone(),
        );
        registry.register_with_unit(
            "prices_age",
            "Age of the prices, -1 if there are none",
            Unit::Seconds,
            self.prices_age.clone(),
        );
        registry.register(
            "prices_polled",
            "Times the ticker was asked",
            self.prices_polled.clone(),
        );
        registry.register(
            "prices_held_back",
            "Assets whose price fell too fast to be believed",
            self.prices_held_back.clone(),
        );
        registry.register("policy_reload", "Reloads by result", self.policy_reload.clone());
        registry.register("policy_info", "The policy in force, always 1", self.policy_info.clone());
        registry.register("panics", "Tasks that panicked", self.panics.clone());
    }

    /// One request that is not ordinary (it has an action, or was not simply allowed).
    pub fn request(&self, site: &SiteName, action: &ActionName, verdict: &str) {
        let labels = RequestLabels {
            site: site.as_str().to_owned(),
            action: action.as_str().to_owned(),
            verdict: verdict.to_owned(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    pub fn suspensions(&self, in_force: usize) {
        self.suspended.in_force(in_force);
    }

    /// One request that was refused because its action is suspended.
    pub fn suspended(&self, site: &SiteName, action: &str) {
        self.suspended.refused(site.as_str(), action);
    }

    /// The counter of allowed ordinary requests of one site, looked up once and kept.
    pub fn ordinary(&self, site: &SiteName) -> OrdinaryRequests {
        let labels = RequestLabels {
            site: site.as_str().to_owned(),
            action: "ordinary".to_owned(),
            verdict: "allow".to_owned(),
        };
        let upstream = SiteLabels { site: site.as_str().to_owned() };
        OrdinaryRequests {
            requests: self.requests.get_or_create_owned(&labels),
            upstream: self.upstream.get_or_create_owned(&upstream),
        }
    }

    /// `shadow`: it spoke for the record only. `of`: the policy that it is a rule of.
    pub fn rule_spoke(
        &self,
        site: &SiteName,
        rule: &RuleId,
        outcome: &str,
        shadow: bool,
        of: PolicyKind,
    ) {
        let labels = RuleLabels {
            site: site.as_str().to_owned(),
            rule: rule.as_str().to_owned(),
            outcome: outcome.to_owned(),
            shadow,
            policy: of.word(),
        };
        self.rules.get_or_create(&labels).inc();
    }

    /// A request on which a candidate policy was asked too.
    pub fn shadow_decision(&self, site: &SiteName, live: &'static str, shadow: &'static str) {
        self.shadow_decisions.get_or_create(&ShadowLabels::new(site, live, shadow)).inc();
    }

    /// The counter of requests of one site that both policies allow, looked up once and kept.
    pub fn shadow_agreed(&self, site: &SiteName) -> ShadowAgreed {
        let labels = ShadowLabels::new(site, "allow", "allow");
        ShadowAgreed(self.shadow_decisions.get_or_create_owned(&labels))
    }

    /// What shadow rules or a candidate would have done was not recorded, because it was a moment before.
    pub fn shadow_line_skipped(&self, site: &SiteName) {
        let labels = SiteLabels { site: site.as_str().to_owned() };
        self.shadow_lines_skipped.get_or_create(&labels).inc();
    }

    /// `outcome`: `opened`, `sent`, `approved`, `failed`, `rejected`, `locked`, `expired`. A
    /// challenge is opened for no factor in particular.
    pub fn challenge(&self, factor: Option<Factor>, outcome: &'static str) {
        let labels = ChallengeLabels { factor: factor.map_or("any", Factor::word), outcome };
        self.challenges.get_or_create(&labels).inc();
    }

    pub fn store_took(&self, time: Duration) {
        self.store.observe(time);
    }

    /// For guarded requests; ordinary ones have it in [`OrdinaryRequests`].
    pub fn upstream_took(&self, site: &SiteName, time: Duration) {
        let labels = SiteLabels { site: site.as_str().to_owned() };
        self.upstream.get_or_create(&labels).observe(time);
    }

    /// A write that no action names. `route` is the method and path; parts that look like ids are
    /// put together.
    pub fn unclassified_write(&self, site: &SiteName, route: &str) {
        let site = site.as_str();
        let mut labels = RouteLabels { site: site.to_owned(), route: generalised(route) };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains(&labels) {
            if routes.len() < ROUTES_MAX {
                routes.insert(labels.clone());
            } else {
                labels.route = "other".to_owned();
            }
        }
        drop(routes);
        self.unclassified.get_or_create(&labels).inc();
    }

    /// A shared store's own figures, set before each scrape.
    pub fn shared_store(&self, figures: &Figures) {
        self.shared_store.set(figures);
    }

    /// The log's own figures, set before each scrape.
    pub fn audit(&self, dropped: u64, healthy: bool) {
        self.audit_dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        self.audit_healthy.set(i64::from(healthy));
    }

    pub fn sighting_dropped(&self) {
        self.sightings_dropped.inc();
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection(&self) -> Connection {
        self.connections.inc();
        Connection(self.connections.clone())
    }

    /// Counts a request as being served until the guard is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub fn tls_handshake_failed(&self) {
        self.tls_handshake_failures.inc();
    }

    /// `database`: `city` or `asn`. Set before each scrape.
    pub fn geo_age_s(&self, database: &'static str, seconds: u64) {
        let age = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.geo_age.get_or_create(&DatabaseLabels { database }).set(age);
    }

    /// `age_ms`: `None` if there are none. Set before each scrape.
    pub fn prices(&self, age_ms: Option<u64>, held_back: usize) {
        let seconds = age_ms.and_then(|ms| i64::try_from(ms / 1000).ok());
        self.prices_age.set(seconds.unwrap_or(-1));
        self.prices_held_back.set(i64::try_from(held_back).unwrap_or(i64::MAX));
    }

    pub fn prices_polled(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.prices_polled.get_or_create(&ResultLabels { result }).inc();
    }

    pub fn policy_reloaded(&self, ok: bool) {
        let result = if ok { "ok" } else { "refused" };
        self.policy_reload.get_or_create(&ResultLabels { result }).inc();
    }

    /// The policies in force, one per site, and the candidates beside them; replaces what was said before.
    pub fn policy_info(&self, versions: &[(SiteName, PolicyKind, PolicyVersion)]) {
        self.policy_info.clear();
        for (site, kind, version) in versions {
            let labels = PolicyLabels {
                site: site.as_str().to_owned(),
                policy: kind.word(),
                version: version.as_str().to_owned(),
            };
            self.policy_info.get_or_create(&labels).set(1);
        }
    }

    /// `result`: `taken`, `refused`, `failed`.
    pub fn sms_sent(&self, provider: &'static str, result: &'static str) {
        self.sms_sent.get_or_create(&SmsLabels { provider, result }).inc();
    }

    /// A code to this prefix was put into the outbox.
    pub fn sms_code_sent(&self, prefix: &str) {
        self.texts.sent(prefix);
    }

    /// A code to this prefix came back.
    pub fn sms_code_verified(&self, prefix: &str) {
        self.texts.verified(prefix);
    }

    /// `reason`: `number`, `account`, `range`, `prefix`, `overall`, `stopped`, `store`.
    pub fn sms_code_refused(&self, prefix: &str, reason: &'static str) {
        self.texts.refused(prefix, reason);
    }

    /// Nothing is sent to a country (`prefix`) or from a `range` any more.
    pub fn sms_stopped(&self, scope: &'static str) {
        self.texts.stopped(scope);
    }

    /// `about`: the kind of notice. `result`: `queued`, `quiet` (said already), `nobody` (no contact), `failed` (the store
    /// did not take it), `dropped` (the queue was full), `over_budget` (a text message of it was left out).
    pub fn notice(&self, about: &'static str, result: &'static str) {
        self.notices.get_or_create(&NoticeLabels { about, result }).inc();
    }

    /// `way`: `sms`, `mail`, `unknown`. `why`: `late`, `refused`, `unsendable`.
    pub fn message_lost(&self, way: &'static str, why: &'static str) {
        self.messages_lost.get_or_create(&LostLabels { way, why }).inc();
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// All metrics as OpenMetrics 1.0 text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail; if an encoder did, half a page is better than none.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Which of a site's two policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    Live,
    /// Observed, not enforced.
    Candidate,
}

impl PolicyKind {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Candidate => "candidate",
        }
    }
}

/// Counts requests that the live and the candidate policy both allow.
#[derive(Clone)]
pub struct ShadowAgreed(Requests);

impl ShadowAgreed {
    pub fn count(&self) {
        self.0.inc();
    }
}

/// What one ordinary request of one site is counted with.
#[derive(Clone)]
pub struct OrdinaryRequests {
    requests: Requests,
    upstream: Latency,
}

impl OrdinaryRequests {
    pub fn count(&self) {
        self.requests.inc();
    }
    pub fn upstream_took(&self, time: Duration) {
        self.upstream.observe(time);
    }
}

/// An open connection.
pub struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request being served.
pub struct InFlight(Gauge<i64, Sharded>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// `POST /api/v1/users/482/keys` → `POST /api/v1/users/*/keys`.
fn generalised(route: &str) -> String {
    let route = route.split(['?', '#']).next().unwrap_or_default();
    let part = |part: &str| if is_id(part) { "*".to_owned() } else { part.to_owned() };
    let parts: Vec<String> = route.split('/').take(ROUTE_PARTS_MAX).map(part).collect();
    parts.join("/")
}

const ROUTES_MAX: usize = 1_000;
const ROUTE_PARTS_MAX: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    site: String,
    action: String,
    verdict: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    site: String,
    rule: String,
    outcome: String,
    shadow: bool,
    policy: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    site: String,
    live: &'static str,
    shadow: &'static str,
}

impl ShadowLabels {
    fn new(site: &SiteName, live: &'static str, shadow: &'static str) -> Self {
        Self { site: site.as_str().to_owned(), live, shadow }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChallengeLabels {
    factor: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SiteLabels {
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    site: String,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabels {
    database: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    site: String,
    policy: &'static str,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SmsLabels {
    provider: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabels {
    way: &'static str,
    why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    about: &'static str,
    result: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) -> bool {
        let text = metrics.encode();
        text.lines().any(|found| found == line) || panic!("no `{line}` in\n{text}")
    }

    #[test]
    fn what_happened_is_in_the_text() {
        let (metrics, site) = (Metrics::default(), SiteName::new("main"));
        metrics.request(&site, &ActionName::new("withdrawal"), "require");
        metrics.rule_spoke(&site, &RuleId::new("large"), "require", true, PolicyKind::Live);
        metrics.shadow_decision(&site, "allow", "deny");
        metrics.shadow_agreed(&site).count();
        metrics.shadow_line_skipped(&site);
        metrics.challenge(Some(Factor::Sms), "approved");
        metrics.challenge(None, "opened");
        metrics.sms_sent("log", "taken");
        (0..4).for_each(|_| metrics.sms_code_sent("+49"));
        metrics.sms_code_verified("+49");
        metrics.sms_code_refused("+49", "overall");
        metrics.sms_stopped("range");
        metrics.notice("locked", "dropped");
        metrics.message_lost("mail", "late");
        metrics.policy_reloaded(false);
        metrics.audit(3, false);
        metrics.geo_age_s("city", 86_400);
        metrics.prices(Some(61_000), 2);
        metrics.prices_polled(false);
        metrics.sighting_dropped();
        metrics.tls_handshake_failed();
        metrics.panicked();
        metrics.shared_store(&Figures {
            calls: ["asked", "deadline", "broken", "refused", "skipped", "lost"].map(|it| (it, 3)),
            servers: 3,
            servers_connected: 2,
            view_fresh: true,
            clock_skew_ms: -7,
            ..Figures::default()
        });
        for line in [
            r#"stepgate_store_calls_total{outcome="skipped"} 3"#,
            r#"stepgate_store_servers{state="connected"} 2"#,
            "stepgate_store_view_fresh 1",
            "stepgate_store_clock_skew_milliseconds -7",
            r#"stepgate_requests_total{site="main",action="withdrawal",verdict="require"} 1"#,
            r#"stepgate_rules_total{site="main",rule="large",outcome="require",shadow="true",policy="live"} 1"#,
            r#"stepgate_shadow_decisions_total{site="main",live="allow",shadow="deny"} 1"#,
            r#"stepgate_shadow_decisions_total{site="main",live="allow",shadow="allow"} 1"#,
            r#"stepgate_shadow_lines_skipped_total{site="main"} 1"#,
            r#"stepgate_challenges_total{factor="sms",outcome="approved"} 1"#,
            r#"stepgate_challenges_total{factor="any",outcome="opened"} 1"#,
            r#"stepgate_sms_sent_total{provider="log",result="taken"} 1"#,
            r#"stepgate_sms_codes_total{prefix="+49",outcome="sent"} 4"#,
            r#"stepgate_sms_codes_total{prefix="+49",outcome="verified"} 1"#,
            r#"stepgate_sms_verified_percent{prefix="+49"} 25"#,
            r#"stepgate_sms_refused_total{prefix="+49",reason="overall"} 1"#,
            r#"stepgate_sms_stops_total{scope="range"} 1"#,
            r#"stepgate_notices_total{about="locked",result="dropped"} 1"#,
            r#"stepgate_messages_lost_total{way="mail",why="late"} 1"#,
            r#"stepgate_policy_reload_total{result="refused"} 1"#,
            "stepgate_audit_dropped 3",
            "stepgate_audit_healthy 0",
            r#"stepgate_geo_age_seconds{database="city"} 86400"#,
            "stepgate_prices_age_seconds 61",
            r#"stepgate_prices_polled_total{result="failed"} 1"#,
            "stepgate_prices_held_back 2",
            "stepgate_sightings_dropped_total 1",
            "stepgate_tls_handshake_failures_total 1",
            "stepgate_panics_total 1",
        ] {
            has(&metrics, line);
        }
    }

    #[test]
    fn ordinary_requests_of_many_threads_add_up() {
        let metrics = Metrics::default();
        let ordinary = metrics.ordinary(&SiteName::new("main"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        ordinary.count();
                        ordinary.upstream_took(Duration::from_micros(700));
                    }
                });
            }
        });
        has(
            &metrics,
            r#"stepgate_requests_total{site="main",action="ordinary",verdict="allow"} 8000"#,
        );
        has(&metrics, r#"stepgate_upstream_seconds_count{site="main"} 8000"#);
        has(&metrics, r#"stepgate_upstream_seconds_bucket{le="0.0005",site="main"} 0"#);
        has(&metrics, r#"stepgate_upstream_seconds_bucket{le="0.001",site="main"} 8000"#);
    }

    #[test]
    fn guards_count_down_wherever_they_are_dropped() {
        let metrics = Metrics::default();
        let (first, second) = (metrics.in_flight(), metrics.in_flight());
        has(&metrics, "stepgate_requests_in_flight 2");
        std::thread::spawn(move || drop(first)).join().unwrap();
        has(&metrics, "stepgate_requests_in_flight 1");
        drop(second);
        has(&metrics, "stepgate_requests_in_flight 0");
        drop(metrics.connection());
        has(&metrics, "stepgate_connections 0");
    }

    #[test]
    fn a_client_cannot_make_series_without_end() {
        let (metrics, site) = (Metrics::default(), SiteName::new("main"));
        for number in 0..3_000 {
            let letters: String = format!("{number:04}")
                .bytes()
                .map(|digit| char::from(b'a' + digit - b'0'))
                .collect();
            metrics.unclassified_write(&site, &format!("POST /x/{letters}"));
        }
        let text = metrics.encode();
        let series = text.lines().filter(|line| line.contains("unclassified_writes_total{"));
        assert_eq!(series.count(), ROUTES_MAX + 1);
        has(&metrics, r#"stepgate_unclassified_writes_total{site="main",route="other"} 2000"#);
    }

    #[test]
    fn ids_in_routes_are_put_together() {
        assert_eq!(generalised("POST /api/v5/users/48/keys?x=1"), "POST /api/v5/users/*/keys");
        assert_eq!(generalised("PUT /w/bc1q9348j2349"), "PUT /w/*");
        assert_eq!(generalised("PUT /a\"b\n/c"), "PUT /*/c");
        assert_eq!(generalised(&"/a".repeat(100)).matches('/').count(), ROUTE_PARTS_MAX - 1);
    }

    #[test]
    fn a_reload_replaces_the_policy_in_force() {
        let (metrics, site) = (Metrics::default(), SiteName::new("main"));
        let info = |kind, version| (site.clone(), kind, PolicyVersion::new(version));
        metrics.policy_info(&[info(PolicyKind::Live, "one")]);
        metrics.policy_info(&[info(PolicyKind::Live, "two"), info(PolicyKind::Candidate, "three")]);
        has(&metrics, r#"stepgate_policy_info{site="main",policy="live",version="two"} 1"#);
        has(&metrics, r#"stepgate_policy_info{site="main",policy="candidate",version="three"} 1"#);
        assert!(!metrics.encode().contains(r#"version="one""#));
    }
}
