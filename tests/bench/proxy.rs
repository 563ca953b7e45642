//! CPU time per request of the whole gateway against nginx as a plain TLS proxy, in one run; and of the bare stack.
//!
//! Needs nginx, wrk and h2load (Debian: nginx-light, wrk, nghttp2-client). The proxy under test is pinned to one core,
//! load and upstream to the other; rounds alternate, the table shows medians of the per-round ratios. Beside it stands
//! nginx with `auth_request`, which asks somebody before each request. Nothing here fails on a slow machine: it measures.

mod floor;
#[path = "../kit/mod.rs"]
mod kit;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Kit, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use stepgate::world::{Clock, SystemClock};

/// As in the gateway, so that the floor is what the gateway's stack costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const SECONDS: u32 = 3;
const IDLE_CONNECTIONS: usize = 400;
/// Where the upstream has 1 MiB.
const LARGE: &str = "/api/v5/market/history";
/// Asked with this, the program is the floor.
const FLOOR: &str = "floor";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, FLOOR, dir, port, upstream] =
        &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let address = |text: &str| text.parse().expect("an address");
        return floor::serve(Path::new(dir), address(port), address(upstream));
    }
    let rules = ordinary_rules(200);
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let upstream = free_port();
    let backend = Proxy {
        child: nginx(dir.path(), "upstream", &upstream_conf(dir.path(), upstream), "1"),
        port: upstream,
    };
    wait_for(upstream);
    let options = Options {
        upstream,
        policy: &rules,
        pack: include_str!("../../policies/okx.actions.toml"),
        extra: "",
        workers: 1,
        sms: false,
    };
    let kit = Kit::write(dir.path(), &options);
    let port = free_port();
    let config = fs::read_to_string(kit.config()).expect("the kit's configuration");
    let config = config.replacen("127.0.0.1:0", &port.to_string(), 1);
    fs::write(kit.config(), config).expect("the configuration can be written");
    let gateway = Proxy::gateway(&kit, port);
    let bare = Proxy::floor(&kit, upstream, free_port());
    let plain = Proxy::nginx(&kit, "plain", |port| plain_conf(&kit.dir, upstream, port));
    let asking = Proxy::nginx(&kit, "asking", |port| asking_conf(&kit.dir, upstream, port));
    let now = SystemClock.now().seconds();
    let load = Load::new(dir.path(), &kit.token("alice", "bench", now));

    // Before the loads: what they needed would be given to these.
    let (ours, theirs) = (gateway.idle_kb(&kit), plain.idle_kb(&kit));
    println!("CPU per request and its ratio to nginx (median of {ROUNDS} alternating rounds)");
    println!("gateway: full pipeline with JWT, geography, 200 rules; 1 worker each, TLS 1.3");
    println!("floor: the same listener and upstream pool with nothing between them");
    println!("auth_request: nginx that asks a trivial auth server, which is counted too\n");
    println!("| load | nginx µs | proxy | µs | ratio | min–max | req/s |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for case in Case::ALL {
        let proxies = [("gateway", &gateway), ("floor", &bare), ("auth_request", &asking)];
        rows(&load, case, proxies, &plain);
    }
    println!("\n| kB per idle TLS connection | gateway | nginx |");
    println!("| --- | --- | --- |");
    println!("| {IDLE_CONNECTIONS} connections | {ours:.1} | {theirs:.1} |");
    drop((gateway, bare, asking, plain, backend));
}

/// Rules of which only the first two look at ordinary traffic.
fn ordinary_rules(count: usize) -> String {
    let mut text = kit::POLICY.to_owned();
    for number in 0..count {
        text.push_str(&format!(
            "\n[[rule]]\nid = \"r{number}\"\non = \"withdrawal\"\nwhen = \"amount > {number}\"\nrequire = \"totp\"\n"
        ));
    }
    text
}

#[derive(Clone, Copy)]
enum Case {
    H1Get,
    H1Post,
    H2Get,
    H2Post,
    /// A connection for each request, and no session is taken up again.
    Handshake,
    H1Large,
    H2Large,
}

impl Case {
    const ALL: [Self; 7] = [
        Self::H1Get,
        Self::H1Post,
        Self::H2Get,
        Self::H2Post,
        Self::Handshake,
        Self::H1Large,
        Self::H2Large,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::H1Get => "h1 GET",
            Self::H1Post => "h1 POST 200 B",
            Self::H2Get => "h2 GET",
            Self::H2Post => "h2 POST 200 B",
            Self::Handshake => "h1 GET, full handshake",
            Self::H1Large => "h1 GET 1 MiB",
            Self::H2Large => "h2 GET 1 MiB",
        }
    }
}

/// Every proxy is measured in every round, so that what else the machine does is spread over all of them.
fn rows(load: &Load, case: Case, proxies: [(&str, &Proxy); 3], plain: &Proxy) {
    load.run(case, plain.port, 1);
    for (_, proxy) in proxies {
        load.run(case, proxy.port, 1);
    }
    let (mut theirs, mut ours) = (vec![], proxies.map(|_| Column::default()));
    for _ in 0..ROUNDS {
        let (nginx, _) = measure(load, case, plain);
        theirs.push(nginx);
        for ((_, proxy), column) in proxies.iter().zip(&mut ours) {
            let (cpu, rate) = measure(load, case, proxy);
            column.cpu.push(cpu);
            column.ratios.push(cpu / nginx);
            column.rates.push(rate);
        }
    }
    let nginx = median(&mut theirs);
    for ((name, _), column) in proxies.iter().zip(ours) {
        println!("| {} | {nginx:.1} | {name} | {} |", case.name(), column.show());
    }
}

/// What the rounds said of one proxy.
#[derive(Default)]
struct Column {
    cpu: Vec<f64>,
    ratios: Vec<f64>,
    rates: Vec<f64>,
}

impl Column {
    fn show(mut self) -> String {
        let (low, high) =
            self.ratios.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        let (cpu, ratio) = (median(&mut self.cpu), median(&mut self.ratios));
        format!("{cpu:.1} | {ratio:.2} | {low:.2}–{high:.2} | {:.0}", median(&mut self.rates))
    }
}

/// Microseconds of CPU per request, and requests per second.
fn measure(load: &Load, case: Case, proxy: &Proxy) -> (f64, f64) {
    let (before, started) = (proxy.cpu_s(), Instant::now());
    let requests = load.run(case, proxy.port, SECONDS);
    let (cpu, elapsed) = (proxy.cpu_s() - before, started.elapsed().as_secs_f64());
    (cpu * 1e6 / requests as f64, requests as f64 / elapsed)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A proxy under test.
struct Proxy {
    child: Child,
    port: SocketAddr,
}

impl Proxy {
    fn gateway(kit: &Kit, port: SocketAddr) -> Self {
        let child = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_stepgate"), "serve", "-c"])
            .arg(kit.config())
            .env("STEPGATE_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        wait_for(port);
        Self { child, port }
    }

    /// This very program, which has the floor in it.
    fn floor(kit: &Kit, upstream: SocketAddr, port: SocketAddr) -> Self {
        let me = std::env::current_exe().expect("a program knows where it is");
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(me)
            .arg(FLOOR)
            .arg(&kit.dir)
            .args([port.to_string(), upstream.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("the floor starts");
        wait_for(port);
        Self { child, port }
    }

    fn nginx(kit: &Kit, name: &str, conf: impl Fn(SocketAddr) -> String) -> Self {
        let port = free_port();
        let child = nginx(&kit.dir, name, &conf(port), "0");
        wait_for(port);
        Self { child, port }
    }

    /// User and system time of the process and its children so far.
    fn cpu_s(&self) -> f64 {
        tree(self.child.id()).iter().map(|pid| cpu_of(*pid)).sum()
    }

    fn rss_kb(&self) -> f64 {
        let rss = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("");
            line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0.0)
        };
        tree(self.child.id()).iter().map(rss).sum()
    }

    /// Growth of resident memory per connection that has made one request and then does nothing.
    fn idle_kb(&self, kit: &Kit) -> f64 {
        let tls = client(kit);
        let warm: Vec<_> = (0..20).map(|_| open(self.port, &tls)).collect();
        let before = self.rss_kb();
        let held: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| open(self.port, &tls)).collect();
        std::thread::sleep(Duration::from_millis(500));
        let after = self.rss_kb();
        drop((warm, held));
        (after - before) / IDLE_CONNECTIONS as f64
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

type Held = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn client(kit: &Kit) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(kit.ca_pem.as_bytes()).expect("a CA")).expect("roots");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn open(port: SocketAddr, tls: &Arc<rustls::ClientConfig>) -> Held {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(tls.clone(), name).expect("a connection");
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(port).expect("open"));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("written");
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).expect("an answer");
    assert!(read > 0, "the proxy closed the connection");
    stream
}

/// wrk and h2load with their files.
struct Load {
    dir: PathBuf,
    token: String,
}

impl Load {
    fn new(dir: &Path, token: &str) -> Self {
        let body = format!(r#"{{"instId":"BTC-USDT","note":"{}"}}"#, "x".repeat(165));
        let lua = format!(
            "wrk.method = \"POST\"\nwrk.body = '{body}'\nwrk.headers[\"Content-Type\"] = \"application/json\"\n"
        );
        fs::write(dir.join("post.lua"), lua).expect("written");
        fs::write(dir.join("post.json"), body).expect("written");
        Self { dir: dir.to_owned(), token: token.to_owned() }
    }

    /// Runs for some seconds; answers how many requests were answered.
    fn run(&self, case: Case, port: SocketAddr, seconds: u32) -> u64 {
        let path = match case {
            Case::H1Get | Case::H2Get | Case::Handshake => "/api/v5/market/ticker",
            Case::H1Post | Case::H2Post => "/api/v5/trade/order",
            Case::H1Large | Case::H2Large => LARGE,
        };
        let url = format!("https://localhost:{}{path}", port.port());
        let cookie = format!("Cookie: session={}", self.token);
        let from = format!("X-Forwarded-For: {}", kit::TOKYO);
        let mut command = Command::new("taskset");
        match case {
            Case::H1Get | Case::H1Post | Case::H1Large | Case::Handshake => {
                command.args(["-c", "1", "wrk", "-t1", "-c32", &format!("-d{seconds}s")]);
                command.args(["-H", &cookie, "-H", &from]);
                if matches!(case, Case::H1Post) {
                    command.arg("-s").arg(self.dir.join("post.lua"));
                }
                if matches!(case, Case::Handshake) {
                    command.args(["-H", "Connection: close"]);
                }
            }
            Case::H2Get | Case::H2Post | Case::H2Large => {
                command.args(["-c", "1", "h2load", "-t1", "-c8", "-m16", &format!("-D{seconds}")]);
                command.args(["-H", &cookie, "-H", &from]);
                if matches!(case, Case::H2Post) {
                    command.args(["-H", "Content-Type: application/json", "-d"]);
                    command.arg(self.dir.join("post.json"));
                }
            }
        }
        let output = command.arg(url).output().expect("the load generator runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        answered(&text).unwrap_or_else(|| panic!("no count in: {text}"))
    }
}

/// `N requests in` of wrk, `N succeeded` of h2load; a run with refused requests is no measurement.
fn answered(text: &str) -> Option<u64> {
    assert!(!text.contains("Non-2xx"), "refused requests: {text}");
    let before = |mark: &str| {
        let head = text.split(mark).next().filter(|head| head.len() < text.len())?;
        head.split_whitespace().next_back()?.parse().ok()
    };
    before(" requests in ").or_else(|| before(" succeeded"))
}

fn tree(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let below = children.split_whitespace().filter_map(|pid| pid.parse().ok()).flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5); two stand before the closing parenthesis. Linux counts 100 ticks a second.
    (ticks(11) + ticks(12)) / 100.0
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

fn wait_for(port: SocketAddr) {
    for _ in 0..200 {
        if TcpStream::connect(port).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing listens on {port}");
}

fn nginx(dir: &Path, name: &str, conf: &str, core: &str) -> Child {
    let file = dir.join(format!("{name}.conf"));
    fs::write(&file, conf).expect("written");
    let mut command = Command::new("taskset");
    command.args(["-c", core, "nginx", "-p"]).arg(dir).arg("-c").arg(file);
    command.args(["-e", "stderr"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nginx starts")
}

fn upstream_conf(dir: &Path, port: SocketAddr) -> String {
    let answer = format!(r#"{{"code":"0","data":"{}"}}"#, "x".repeat(277));
    let large = dir.join("large.json");
    fs::write(&large, "x".repeat(1024 * 1024)).expect("written");
    let large = large.display();
    format!(
        "daemon off; worker_processes 1; pid upstream.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; sendfile on; default_type application/json;\n\
         server {{ listen {port}; location / {{ return 200 '{answer}'; }}\n\
         location = {LARGE} {{ alias {large}; }} }} }}\n"
    )
}

fn plain_conf(dir: &Path, upstream: SocketAddr, port: SocketAddr) -> String {
    proxy_conf(dir, "plain", upstream, port, "", "")
}

/// What stands in front of an exchange today, at its cheapest: each request is first shown to a server that says yes.
fn asking_conf(dir: &Path, upstream: SocketAddr, port: SocketAddr) -> String {
    let yes = free_port();
    let servers = format!(
        "upstream yes {{ server {yes}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{ listen {yes}; location / {{ return 204; }} }}\n"
    );
    let asked = "location = /asked { internal; proxy_pass http://yes; proxy_http_version 1.1;\n\
         proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }\n\
         auth_request /asked;\n";
    proxy_conf(dir, "asking", upstream, port, &servers, asked)
}

/// nginx with TLS 1.3, which this version does not speak unless told to, and as many upstream connections as are used.
fn proxy_conf(
    dir: &Path,
    name: &str,
    upstream: SocketAddr,
    port: SocketAddr,
    servers: &str,
    inside: &str,
) -> String {
    let dir = dir.display();
    format!(
        "daemon off; worker_processes 1; pid {name}.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000;\n\
         client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n\
         upstream back {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}\n{servers}\
         server {{ listen {port} ssl http2; ssl_protocols TLSv1.3; ssl_certificate {dir}/gateway.pem; ssl_certificate_key {dir}/gateway.key;\n{inside}\
         location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }} }}\n"
    )
}
