//! `stepgate doctor` as a process, on real files and sockets: each thing that a gateway depends on is broken in turn.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::binary::{Binary, STEPGATE, said};
use crate::exchange::Exchange;
use crate::kit::{HOST, Kit, Options, geo};
use crate::world::OKX;

const POLICY: &str = r#"version = 1

[[rule]]
id = "remote-login"
on = "*"
when = "geo.new_country"
require = "totp or sms"

[[rule]]
id = "large"
on = "withdrawal"
when = "usd_value > 10_000"
require = "totp and sms"
"#;

const EXTRA: &str = r#"[prices]
file = "prices.toml"
age_max_s = 3600

[sms]
provider = "webhook"
url = "https://{tls}/sms"
credentials = "file:secrets/sms"
"#;

/// A working directory in which nothing is wrong, and everybody that it needs.
struct Patient {
    kit: Kit,
    exchange: Exchange,
    /// Speaks TLS: the key set and the SMS provider.
    tls: SocketAddr,
    listen: (SocketAddr, SocketAddr),
    _dir: TempDir,
}

impl Patient {
    async fn healthy() -> Self {
        let (dir, exchange) = (TempDir::new().unwrap(), Exchange::start().await);
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tls.local_addr().unwrap();
        let extra = EXTRA.replace("{tls}", &format!("localhost:{}", address.port()));
        let upstream = exchange.address;
        let (policy, pack) = (POLICY, OKX);
        let options = Options { upstream, policy, pack, extra: &extra, workers: 1, sms: false };
        let kit = Kit::write(dir.path(), &options);
        let listen = Binary::place(&kit);
        let patient = Self { kit, exchange, tls: address, listen, _dir: dir };
        patient.edit("workers = 1", "workers = 1\nconnections_max = 100");
        let keys = format!("https://localhost:{}/jwks", address.port());
        patient.edit("file:secrets/session.jwks", &keys);
        patient.put("prices.toml", "[usd]\nBTC = \"64250.5\"\n");
        patient.put("secrets/sms", "a-key-that-signs-messages");
        for secret in ["master.key", "admin.token", "sms", "../gateway.key"] {
            patient.allow(&format!("secrets/{secret}"), 0o600);
        }
        patient.certificate(days(-1), days(83), &[HOST, "localhost"]);
        patient.serve_tls(tls);
        patient
    }

    /// A provider and key server with the certificate that is there now.
    fn serve_tls(&self, listener: TcpListener) {
        let read = |name: &str| std::fs::read(self.path(name)).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read("gateway.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("gateway.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let jwks = std::fs::read_to_string(self.path("secrets/session.jwks")).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, jwks) = (acceptor.clone(), jwks.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let keys = |head: &str| match head.split(' ').nth(1) {
                            Some("/gone") => http(404, ""),
                            Some("/odd") => http(200, "<html>"),
                            _ => http(200, &jwks),
                        };
                        answer(stream, keys).await;
                    }
                });
            }
        });
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.kit.dir.join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn allow(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    /// Changes the configuration.
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.kit.config()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(self.kit.config(), text.replace(from, to)).unwrap();
    }

    /// Another upstream.
    fn in_front_of(&self, url: &str) {
        self.edit(&format!("http://{}", self.exchange.address), url);
    }

    /// A certificate of the kit's authority for the gateway.
    fn certificate(&self, begins: SystemTime, ends: SystemTime, names: &[&str]) {
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(names).unwrap();
        (leaf.not_before, leaf.not_after) = (begins.into(), ends.into());
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(params, authority)).unwrap();
        self.put("gateway.pem", &leaf.pem());
        self.put("gateway.key", &key.serialize_pem());
        self.put("ca.pem", &root.pem());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        doctor(&self.kit.dir, arguments, Some("ca.pem"))
    }

    /// What it finds, with its exit code held against it.
    fn findings(&self) -> Vec<Value> {
        let output = self.run(&["--json"]);
        let found: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
        let all = found["findings"].as_array().unwrap().clone();
        let faults = all.iter().filter(|finding| finding["level"] == "fault").count();
        assert_eq!(found["faults"], faults);
        assert_eq!(output.status.code(), Some(i32::from(faults > 0)), "{}", said(&output));
        all
    }

    /// Exactly one thing is wrong, and this is how it is said.
    fn only(&self, level: &str, subject: &str, what: &str, advice: &str) {
        let wrong: Vec<_> =
            self.findings().into_iter().filter(|finding| finding["level"] != "ok").collect();
        let [finding] = wrong.as_slice() else { panic!("not one: {wrong:#?}") };
        assert_eq!([&finding["subject"], &finding["level"]], [subject, level], "{finding:#}");
        let has = |key: &str, text: &str| finding[key].as_str().unwrap().contains(text);
        assert!(has("what", what), "{what} in {finding:#}");
        assert!(has("do", advice), "{advice} in {finding:#}");
    }

    /// Nothing is wrong, and this is said.
    fn fine(&self, subject: &str, what: &str) {
        let all = self.findings();
        assert!(all.iter().all(|finding| finding["level"] == "ok"), "{all:#?}");
        let said = |it: &Value| {
            it["subject"] == subject && it["what"].as_str().is_some_and(|text| text.contains(what))
        };
        assert!(all.iter().any(said), "{subject}: {what} in {all:#?}");
    }

    /// The output with what differs from run to run replaced.
    fn stable(&self, output: &Output) -> String {
        let mut text = said(output);
        let known = [
            (self.exchange.address.to_string(), "127.0.0.1:9000"),
            (format!("localhost:{}", self.tls.port()), "localhost:9100"),
            (self.listen.1.to_string(), "127.0.0.1:9443"),
        ];
        for (from, to) in known {
            text = text.replace(&from, to);
        }
        let line = |line: &str| match line.split_once(" GiB free") {
            Some((before, _)) => {
                format!("{} … GiB free", before.trim_end_matches(char::is_numeric).trim_end())
            }
            None => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// With 1,024 files open at most, and no root certificates but these.
fn doctor(dir: &Path, arguments: &[&str], roots: Option<&str>) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1024; exec \"$0\" doctor -c stepgate.toml \"$@\"", STEPGATE]);
    command.args(arguments).current_dir(dir);
    command.env("SSL_CERT_FILE", roots.unwrap_or("secrets/admin.token")).env_remove("SSL_CERT_DIR");
    command.output().unwrap()
}

/// So many days and half an hour from now.
fn days(days: i64) -> SystemTime {
    #[allow(clippy::disallowed_methods)] // the process under test goes by the machine's clock
    let now = SystemTime::now() + Duration::from_secs(1_800);
    let distance = Duration::from_secs(days.unsigned_abs() * 86_400);
    if days < 0 { now - distance } else { now + distance }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads something, and answers it.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    say: impl Fn(&str) -> String + Send,
) {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).await.unwrap_or(0);
    if read > 0 {
        let said = say(&String::from_utf8_lossy(&head[..read]));
        let _ = stream.write_all(said.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Somebody who answers every connection with these bytes.
async fn speaker(bytes: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, |_| bytes.clone()).await;
        }
    });
    address
}

/// Somebody who takes connections and says nothing.
async fn silence() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    address
}

/// An address at which nobody is.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_wrong_every_dependency_is_said_to_be_fine() {
    let patient = Patient::healthy().await;
    let output = patient.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    insta::assert_snapshot!("doctor_finds_nothing", patient.stable(&output));
    assert_eq!(patient.exchange.seen().len(), 1);
    assert_eq!(patient.exchange.seen()[0].method, "HEAD");
    assert_eq!(patient.exchange.seen()[0].headers["host"], HOST);
    assert!(!patient.path("state/stepgate.db").exists(), "it makes no file");
    assert!(!patient.path("audit/stepgate.jsonl").exists(), "it makes no file");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_is_said_at_once_with_what_to_do() {
    let patient = Patient::healthy().await;
    let gone = patient.path("secrets/api-keys.toml");
    std::fs::remove_file(gone).unwrap();
    patient.put("state/stepgate.db", "this is not a store's file, though it is as long as one\n");
    geo::write_built(&patient.path("geo"), unix_s(days(-41)));
    patient.certificate(days(-40), days(-2), &["other.example"]);
    patient.in_front_of(&format!("http://{}", nobody().await));
    std::fs::remove_dir(patient.path("audit")).unwrap();
    patient.put("audit", "");
    patient.allow("secrets/master.key", 0o644);
    patient.edit("connections_max = 100", "connections_max = 10000");
    patient.edit("age_max_s = 3600", "age_max_s = 0");
    let prices = std::fs::File::options().append(true).open(patient.path("prices.toml")).unwrap();
    prices.set_modified(days(-1)).unwrap();
    let output = doctor(&patient.kit.dir, &[], None);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = patient.stable(&output);
    let upstream = std::fs::read_to_string(patient.kit.config()).unwrap();
    let upstream = upstream.lines().find_map(|line| line.strip_prefix("upstream = [\"http://"));
    let text = text.replace(upstream.unwrap().trim_end_matches("\"]"), "127.0.0.1:9001");
    let seconds = |line: &str| match line.split_once(": written ") {
        Some((before, after)) => {
            format!("{before}: written …{}", after.trim_start_matches(char::is_numeric))
        }
        None => line.to_owned(),
    };
    let text = text.lines().map(seconds).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("doctor_finds_much", text);
}

fn unix_s(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_read_ends_it() {
    let dir = TempDir::new().unwrap();
    let output = doctor(dir.path(), &[], None);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("FAULT configuration stepgate.toml: cannot read this file"));
    let patient = Patient::healthy().await;
    patient.edit("connections_max = 100", "conections_max = 100");
    let all = patient.findings();
    let misspelt = all.iter().find(|it| it["subject"] == "configuration").unwrap();
    assert_eq!(misspelt["level"], "fault", "{misspelt:#}");
    assert!(misspelt["what"].as_str().unwrap().contains("stepgate.toml:7:1: "), "{misspelt:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_files_do_not_keep_it_from_trying_the_rest() {
    let patient = Patient::healthy().await;
    patient.put("secrets/api-keys.toml", "[[key]]\n");
    let all = patient.findings();
    let of = |subject: &str| all.iter().filter(|it| it["subject"] == subject).count();
    assert!(of("configuration") > 0 && of("upstream") == 1 && of("certificate") == 1, "{all:#?}");
    assert_eq!(all.iter().filter(|it| it["level"] == "fault").count(), of("configuration"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_is_a_fault() {
    let patient = Patient::healthy().await;
    patient.put("state/stepgate.db", &"no store's file ".repeat(1_000));
    patient.only("fault", "store", "state/stepgate.db: ", "put back a backup");
    std::fs::remove_dir_all(patient.path("state")).unwrap();
    patient.put("state", "");
    patient.only("fault", "store", "state: not a folder", "write access");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_gateway_the_locked_store_is_as_it_should_be() {
    let patient = Patient::healthy().await;
    // The process that runs does not know the root certificate of the key server.
    let keys = format!("https://localhost:{}/jwks", patient.tls.port());
    patient.edit(&keys, "file:secrets/session.jwks");
    let mut gateway = Binary::start(&patient.kit, patient.listen).await;
    patient.fine("store", "in use by a running gateway");
    patient.fine("gateway", "running, and ready");
    assert!(gateway.stop());
    patient.fine("store", "whole, and the master key opens it");
    patient.fine("gateway", "none is running");

    let mut gateway = Binary::start(&patient.kit, patient.listen).await;
    gateway.kill();
    patient.fine("store", "the next start repairs it");
    let mut gateway = Binary::start(&patient.kit, patient.listen).await;
    assert!(gateway.stop());
    let other = "k1 CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\n";
    patient.put("secrets/master.key", other);
    let advice = "put the key that it was made with back";
    patient.only("fault", "store", "not in [store] master_key", advice);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_somebody_else_has_open_is_worth_a_warning() {
    let patient = Patient::healthy().await;
    let file = patient.path("state/stepgate.db");
    let held = stepgate::store::embedded::Embedded::open(&file, Default::default()).unwrap();
    patient.only("warning", "store", "in use, but no gateway answers at", "fuser -v state");
    drop(held);
    patient.fine("store", "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_that_is_not_ready_says_which_part_it_is() {
    let patient = Patient::healthy().await;
    let parts = r#"{"ready":false,"parts":{"audit":"ok","store":"no answer","geo":"ok"}}"#;
    let admin = speaker(http(503, parts)).await;
    patient.edit(&patient.listen.1.to_string(), &admin.to_string());
    patient.only("fault", "gateway", "its store is not ready: no answer", "log");
    let stranger = speaker(http(404, "")).await;
    patient.edit(&admin.to_string(), &stranger.to_string());
    patient.only("fault", "gateway", "answers 404 to /ready", "whether it is the gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn geoip_files_must_be_there_whole_and_young() {
    let patient = Patient::healthy().await;
    geo::write_built(&patient.path("geo"), unix_s(days(-29)));
    patient.fine("geoip", "geo/city.mmdb: built 28 days ago");
    patient.edit("asn = \"geo/asn.mmdb\"", "");
    geo::write_built(&patient.path("geo"), unix_s(days(-41)));
    patient.only("fault", "geoip", "built 40 days ago; older than 30 days", "geoipupdate");
    let whole = std::fs::read(patient.path("geo/city.mmdb")).unwrap();
    std::fs::write(patient.path("geo/city.mmdb"), &whole[..whole.len() / 2]).unwrap();
    patient.only("fault", "geoip", "city.mmdb: not a sound MaxMind", "fetch the file again");
    patient.edit("city = \"geo/city.mmdb\"", "");
    patient.only("warning", "geoip", "rules look at geo.new_country", "GeoLite2-City.mmdb");
    patient.put("policies/site.policy.toml", "version = 1\n");
    patient.fine("geoip", "not configured, and no rule looks at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_must_be_there_and_fresh() {
    let patient = Patient::healthy().await;
    let prices = std::fs::File::options().append(true).open(patient.path("prices.toml")).unwrap();
    prices.set_modified(days(-1)).unwrap();
    patient.only("fault", "prices", "older than 3600 s its prices count as", "what writes it");
    patient.edit("[prices]\nfile = \"prices.toml\"\nage_max_s = 3600\n", "");
    patient.only("warning", "prices", "rules look at usd_value", "[prices] file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_must_answer_with_prices() {
    let patient = Patient::healthy().await;
    let ticker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ticker.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = ticker.accept().await {
            let prices = |head: &str| match head.split(' ').nth(1) {
                Some("/prices") => http(200, r#"[{"symbol":"BTCUSDT","price":"64250.5"}]"#),
                Some("/odd") => http(200, "[]"),
                _ => http(404, ""),
            };
            answer(stream, prices).await;
        }
    });
    let lines = |path: &str| {
        format!(
            "url = \"http://{address}{path}\"\nsymbol = \"json[].symbol\"\n\
             price = \"json[].price\"\nusd = [\"USDT\"]\n"
        )
    };
    patient.edit("file = \"prices.toml\"\n", &lines("/prices"));
    patient.fine("prices", "prices of 2 assets");
    patient.edit("/prices\"", "/odd\"");
    patient.only("fault", "prices", "no instrument in the answer", "correct what [prices] says");
    patient.edit("/odd\"", "/gone\"");
    patient.only("fault", "prices", "status 404", "correct what [prices] says");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_be_in_time_and_made_for_the_sites_hosts() {
    let patient = Patient::healthy().await;
    // The key server keeps the certificate that it began with, so that only the gateway's is looked at.
    let roots = std::fs::read_to_string(patient.path("ca.pem")).unwrap();
    let made = |begins: i64, ends: i64, names: &[&str]| {
        patient.certificate(days(begins), days(ends), names);
        patient.put("ca.pem", &roots);
    };
    let both = [HOST, "localhost"];
    made(-1, 14, &both);
    patient.fine("certificate", "exchange.example, localhost, ends in 14 days");
    made(-1, 13, &both);
    patient.only("warning", "certificate", "ends in 13 days", "renew it");
    made(-90, -3, &both);
    patient.only("fault", "certificate", "ended 2 days ago", "put a valid one in its place");
    made(3, 90, &both);
    patient.only("fault", "certificate", "is not valid yet, but in 3 days", "clock");
    made(-1, 90, &[HOST]);
    patient.only("fault", "certificate", "`localhost` (site main)", "[[listen.tls]]");
    let key = std::fs::read_to_string(patient.path("gateway.key")).unwrap();
    made(-1, 90, &both);
    patient.put("gateway.key", &key);
    patient.only("fault", "certificate", "does not go with the key", "the one made for this key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_must_answer_whatever_its_status() {
    let patient = Patient::healthy().await;
    patient.exchange.will(crate::exchange::Reply::Answer(503, ""));
    patient.fine("upstream", "answers 503 to HEAD /");
    // Told the time by one of them, the clock is no matter of the other.
    let good = format!("http://{}", patient.exchange.address);
    let with = |url: String| patient.in_front_of(&format!("{good}\", \"{url}"));
    let restore = |url: String| patient.edit(&format!("\", \"{url}"), "");
    // Longer than a label may be, so that no name server is asked for it.
    let long = "a".repeat(64);
    let cases = [
        (format!("http://{}", nobody().await), "no connection", "start what should answer"),
        (format!("http://{}", silence().await), "no answer within 2 s", "firewall"),
        (
            format!("http://{}", speaker("220 mail\r\n".into()).await),
            "it does not answer in HTTP",
            "port",
        ),
        (
            format!("https://{}", patient.exchange.address),
            "the TLS handshake fails",
            "SSL_CERT_FILE",
        ),
        (format!("http://{long}.example"), "the name `aaa", "name servers"),
    ];
    for (url, what, advice) in cases {
        with(url.clone());
        patient.only("fault", "upstream", &format!("{url} (site main): {what}"), advice);
        restore(url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_behind_tls_is_asked_as_the_gateway_would_ask() {
    let patient = Patient::healthy().await;
    let url = format!("https://localhost:{}", patient.tls.port());
    let good = format!("http://{}", patient.exchange.address);
    patient.in_front_of(&format!("{good}\", \"{url}"));
    patient.fine("upstream", &format!("{url} (site main): answers 200"));
    patient.edit(&format!("{good}\", \"{url}"), &url);
    patient.edit("upstream = [", "upstream_h2 = true\nupstream = [");
    let all = patient.findings();
    let wrong = all.iter().find(|it| it["what"].as_str().unwrap().starts_with(&url)).unwrap();
    assert_eq!(wrong["level"], "fault", "it does not speak HTTP/2: {wrong:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_http2_is_asked_in_it() {
    let patient = Patient::healthy().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    patient.in_front_of(&format!("http://{}", listener.local_addr().unwrap()));
    patient.edit("upstream = [", "upstream_h2 = true\nupstream = [");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |request: http::Request<Incoming>| {
                assert_eq!(request.uri().authority().unwrap(), HOST);
                let mut answer = http::Response::new(Empty::<Bytes>::new());
                *answer.status_mut() = http::StatusCode::NO_CONTENT;
                Ok::<_, Infallible>(answer)
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    patient.fine("upstream", "answers 204 to HEAD /");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_host_needs_one_certificate_of_several() {
    let patient = Patient::healthy().await;
    for name in ["gateway.pem", "gateway.key"] {
        std::fs::copy(patient.path(name), patient.path(&format!("other-{name}"))).unwrap();
    }
    patient.allow("other-gateway.key", 0o600);
    patient.edit("\"localhost\"]", "\"localhost\", \"api.more.example\"]");
    patient.only("fault", "certificate", "`api.more.example` (site main)", "[[listen.tls]]");
    patient.certificate(days(-1), days(40), &["*.more.example"]);
    patient.edit(
        "[admin]",
        "[[listen.tls]]\ncertificate = \"other-gateway.pem\"\nkey = \"other-gateway.key\"\n\n[admin]",
    );
    let all = patient.findings();
    let seen: Vec<_> = all.iter().filter(|it| it["subject"] == "certificate").collect();
    assert!(seen.len() == 2 && seen.iter().all(|it| it["level"] == "ok"), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_must_be_reachable_and_hold_keys() {
    let patient = Patient::healthy().await;
    let keys = format!("https://localhost:{}/jwks", patient.tls.port());
    patient.fine("identity", &format!("{keys}: 1 key(s)"));
    for (path, what, advice) in [
        ("gone", "answers 404 instead of a key set", "why its server refuses"),
        ("odd", "answers, but not with a key set", "a JWKS document"),
    ] {
        let other = keys.replace("jwks", path);
        patient.edit(&keys, &other);
        patient.only("fault", "identity", what, advice);
        patient.edit(&other, &keys);
    }
    patient.edit(&keys, &format!("https://{}/jwks", nobody().await));
    patient.only("fault", "identity", "no connection", "the identity's `keys`");
    let patient = Patient::healthy().await;
    let sms = format!("https://localhost:{}/sms", patient.tls.port());
    patient.edit(&sms, &format!("http://{}", patient.exchange.address));
    patient.put("ca.pem", &std::fs::read_to_string(patient.path("gateway.pem")).unwrap());
    patient.only("fault", "identity", "the TLS handshake fails", "root certificates");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_opaque_sessions_must_be_reachable_and_is_asked_nothing() {
    let patient = Patient::healthy().await;
    let opaque =
        |url: &str| format!("kind = \"opaque\"\nfrom = [\"cookie:sid\"]\nintrospect = \"{url}\"\n");
    let there = format!("http://{}/introspect", patient.exchange.address);
    let text = std::fs::read_to_string(patient.kit.config()).unwrap();
    patient.put("stepgate.toml", &format!("{text}\n[[site.identity]]\n{}", opaque(&there)));
    patient.fine("identity", &format!("{there}: reachable"));
    assert!(patient.exchange.seen_at("/introspect").is_empty());
    patient.edit(&there, &format!("http://{}/introspect", nobody().await));
    patient.only("fault", "identity", "no connection", "the identity's `introspect`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sms_provider_must_be_reachable_and_is_sent_nothing() {
    let patient = Patient::healthy().await;
    let sms = format!("https://localhost:{}/sms", patient.tls.port());
    let local = format!("http://{}/sms", patient.exchange.address);
    patient.edit(&sms, &local);
    patient.fine("sms", "reachable (no message was sent)");
    assert!(patient.exchange.seen_at("/sms").is_empty());
    std::fs::rename(patient.path("secrets/sms"), patient.path("secrets/gone")).unwrap();
    patient.only("fault", "configuration", "cannot read this file", "stepgate check");
    std::fs::rename(patient.path("secrets/gone"), patient.path("secrets/sms")).unwrap();
    let dead = format!("http://{}/sms", nobody().await);
    patient.edit(&local, &dead);
    patient.only("fault", "sms", "no connection", "[sms] url");
    patient.edit("provider = \"webhook\"", "provider = \"log\"");
    patient.only("warning", "sms", "no customer gets a code", "webhook");
    let sms = format!(
        "[sms]\nprovider = \"log\"\nurl = \"{dead}\"\ncredentials = \"file:secrets/sms\"\n"
    );
    patient.edit(&sms, "");
    patient.only("warning", "sms", "nobody can meet large", "another factor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_found_by_the_upstreams_date() {
    let patient = Patient::healthy().await;
    let date = |at: SystemTime| {
        let at = jiff::Timestamp::try_from(at).unwrap();
        let date = at.strftime("%a, %d %b %Y %H:%M:%S GMT");
        http(200, "").replace("\r\n\r\n", &format!("\r\ndate: {date}\r\n\r\n"))
    };
    let now = days(0) - Duration::from_secs(1_800);
    let mut last = format!("http://{}", patient.exchange.address);
    let mut before = |url: String| {
        patient.edit(&last, &url);
        last = url;
    };
    let second = Duration::from_secs;
    before(format!("http://{}", speaker(date(now + second(3_600))).await));
    patient.only("fault", "clock", "codes of authenticator apps will be refused", "NTP");
    before(format!("http://{}", speaker(date(now - second(3_600))).await));
    patient.only("fault", "clock", " s ahead of http://127", "NTP");
    before(format!("http://{}", speaker(http(200, "")).await));
    patient.only("warning", "clock", "cannot be compared", "NTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_cannot_be_written_is_a_fault() {
    let patient = Patient::healthy().await;
    std::fs::remove_dir(patient.path("audit")).unwrap();
    patient.put("audit", "");
    patient.only("fault", "audit", "audit: not a folder", "it does not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_others_may_read_are_worth_a_warning() {
    let patient = Patient::healthy().await;
    for (secret, mode) in
        [("secrets/master.key", 0o640), ("secrets/admin.token", 0o604), ("gateway.key", 0o644)]
    {
        patient.allow(secret, mode);
        let what = format!("{secret}: its group or everybody has access to it (mode {mode:04o})");
        patient.only("warning", "secrets", &what, &format!("chmod 600 {secret}"));
        patient.allow(secret, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_open_files_than_connections_need_are_worth_a_warning() {
    let patient = Patient::healthy().await;
    patient.edit("connections_max = 100", "connections_max = 480");
    patient.fine("open files", "1024 may be open here");
    patient.edit("connections_max = 480", "connections_max = 481");
    patient.only("warning", "open files", "can need 1026", "LimitNOFILE=1026");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_says_in_its_log_that_a_certificate_is_about_to_end() {
    let patient = Patient::healthy().await;
    let log = || std::fs::read_to_string(patient.path("stderr.txt")).unwrap();
    let mut gateway = Binary::start(&patient.kit, patient.listen).await;
    assert!(!log().contains("gateway.pem"), "{}", log());
    assert!(gateway.stop());
    patient.certificate(days(-1), days(13), &[HOST, "localhost"]);
    let mut gateway = Binary::start(&patient.kit, patient.listen).await;
    assert!(log().contains("gateway.pem ends in 13 days"), "{}", log());
    patient.certificate(days(-1), days(9), &[HOST, "localhost"]);
    gateway.signal("HUP");
    for _ in 0..500 {
        if log().contains("gateway.pem ends in 9 days") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(log().contains("gateway.pem ends in 9 days"), "{}", log());
    assert!(gateway.stop());
}
