//! Real `redis-server` processes: single, with sentinels, and as a Cluster; started, killed, paused and started again.
//!
//! Never outlives the tests: servers are killed when they are dropped, and by the kernel if the tests are killed first.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use ::redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, Value};
use tempfile::TempDir;

/// What may differ between two servers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TLS, with a certificate for `localhost` and `127.0.0.1`; clients must show one too. What the kit itself asks goes
    /// to another port without.
    pub tls: bool,
    /// `requirepass`.
    pub password: Option<String>,
    /// With an append-only file, synced at every write.
    pub aof: bool,
    /// `maxmemory` and its policy.
    pub maxmemory: Option<String>,
    pub policy: Option<String>,
    /// More lines of redis.conf, as arguments (`--name value`).
    pub more: Vec<String>,
}

/// One server, running or not.
pub struct Server {
    pub port: u16,
    dir: PathBuf,
    args: Vec<String>,
    options: Options,
    /// Where the kit asks; without TLS it is the same port.
    plain_port: u16,
    child: Mutex<Option<Child>>,
}

impl Server {
    fn new(dir: &Path, port: u16, options: &Options, more: &[String]) -> Self {
        let dir = dir.join(port.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut args = text(&["--bind", "127.0.0.1", "--dir", dir.to_str().unwrap()]);
        args.extend(text(&["--save", "", "--logfile", "log", "--daemonize", "no"]));
        args.extend(text(&["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]));
        let plain_port = if options.tls { free_port() } else { port };
        args.extend(text(&["--port", &plain_port.to_string()]));
        if options.tls {
            super::certificates(&dir);
            args.extend(text(&["--tls-port", &port.to_string()]));
            args.extend(text(&["--tls-cert-file", "gateway.pem", "--tls-key-file", "gateway.key"]));
            args.extend(text(&["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "yes"]));
        }
        if let Some(password) = &options.password {
            args.extend(text(&["--requirepass", password, "--masterauth", password]));
        }
        if options.aof {
            args.extend(text(&["--appendonly", "yes", "--appendfsync", "always"]));
        }
        for (name, value) in
            [("--maxmemory", &options.maxmemory), ("--maxmemory-policy", &options.policy)]
        {
            args.extend(value.iter().flat_map(|value| text(&[name, value])));
        }
        args.extend(options.more.iter().chain(more).cloned());
        let (options, child) = (options.clone(), Mutex::default());
        Self { port, dir, args, options, plain_port, child }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its certificates, its log and its data are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it, on the same port and the same data as before. Waits until it answers.
    pub fn start(&self) {
        self.spawn();
        let answers = || self.ask(&["PING"]).is_ok();
        within(Duration::from_secs(10), &format!("redis on {}", self.port), answers);
    }

    fn spawn(&self) {
        let mut child = self.child.lock().unwrap();
        assert!(child.is_none(), "it runs already");
        *child = Some(spawn(self.args.clone(), &self.dir));
    }

    /// As a power cut would: SIGKILL.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _dead = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Stops it in its tracks; its connections stay.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.lock().unwrap().as_ref().expect("it runs").id();
        let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(done.unwrap().success());
    }

    /// An own connection, as the `default` user.
    pub fn connection(&self) -> ::redis::RedisResult<::redis::Connection> {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = &self.options.password {
            login = login.set_password(password);
        }
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.plain_port);
        let client =
            ::redis::Client::open(address.into_connection_info()?.set_redis_settings(login))?;
        let connection = client.get_connection_with_timeout(Duration::from_millis(500))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection)
    }

    pub fn ask(&self, words: &[&str]) -> ::redis::RedisResult<Value> {
        let (name, rest) = words.split_first().unwrap();
        ::redis::cmd(name).arg(rest).query(&mut self.connection()?)
    }

    /// The same where an error is the test's fault; the answer as text.
    pub fn say(&self, words: &[&str]) -> String {
        let answer = self.ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        ::redis::from_redis_value::<Option<String>>(answer).unwrap_or_default().unwrap_or_default()
    }

    /// A line of `INFO`.
    pub fn info(&self, name: &str) -> String {
        let said = self.say(&["INFO", "everything"]);
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One server alone.
pub struct Single {
    pub server: Server,
    _dir: TempDir,
}

impl Single {
    pub fn start(options: &Options) -> Self {
        Self::start_in(TempDir::new().unwrap(), options)
    }

    fn start_in(dir: TempDir, options: &Options) -> Self {
        let server = Server::new(dir.path(), free_port(), options, &[]);
        server.start();
        Self { server, _dir: dir }
    }

    /// What `url` in `[store]` says for it.
    pub fn url(&self) -> String {
        let scheme = if self.server.options.tls { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.server.address())
    }
}

/// A server for all tests of this program that only need one; give each its own prefix.
pub fn shared() -> &'static Single {
    static SHARED: OnceLock<Single> = OnceLock::new();
    SHARED.get_or_init(|| Single::start_in(kept_dir(), &Options::default()))
}

/// The same behind sentinels.
pub fn shared_sentinel() -> &'static Sentinel {
    static SHARED: OnceLock<Sentinel> = OnceLock::new();
    SHARED.get_or_init(|| Sentinel::start_in(kept_dir(), &Options::default()))
}

/// The same as three masters of a Cluster.
pub fn shared_cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start_in(kept_dir(), &Options::default(), false))
}

/// Nobody removes it, so it lies where `cargo clean` finds it.
fn kept_dir() -> TempDir {
    let place = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    TempDir::new_in(place).unwrap()
}

/// A master with two replicas, watched by three sentinels.
pub struct Sentinel {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
    _dir: TempDir,
}

/// What the sentinels call the master.
pub const MASTER: &str = "main";

impl Sentinel {
    pub fn start(options: &Options) -> Self {
        Self::start_in(TempDir::new().unwrap(), options)
    }

    fn start_in(dir: TempDir, options: &Options) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let of = |words: &[String]| words.to_vec();
        let follow = of(&["--replicaof".into(), "127.0.0.1".into(), ports[0].to_string()]);
        let mut servers = vec![Server::new(dir.path(), ports[0], options, &[])];
        servers
            .extend(ports[1..].iter().map(|port| Server::new(dir.path(), *port, options, &follow)));
        servers.iter().for_each(Server::start);
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(dir.path(), ports[0], options)).collect();
        sentinels.iter().for_each(Server::start);
        let all = Self { servers, sentinels, _dir: dir };
        within(Duration::from_secs(20), "sentinels to know one another", || all.is_settled());
        all
    }

    /// Every sentinel knows both replicas and both other sentinels, and the replicas follow.
    pub fn is_settled(&self) -> bool {
        let knows = |sentinel: &Server| {
            let said = sentinel.say(&["INFO", "sentinel"]);
            said.contains("status=ok") && said.contains("slaves=2,sentinels=3")
        };
        let attached =
            self.master().is_some_and(|at| self.servers[at].info("connected_slaves") == "2");
        attached && self.sentinels.iter().all(knows)
    }

    /// The index of the server that all sentinels call the master.
    pub fn master(&self) -> Option<usize> {
        let ask = |sentinel: &Server| {
            let answer = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
            let (_, port): (String, u16) = ::redis::from_redis_value(answer).ok()?;
            self.servers.iter().position(|server| server.port == port)
        };
        let said: Vec<_> = self.sentinels.iter().filter_map(ask).collect();
        let first = *said.first()?;
        said.iter().all(|other| *other == first).then_some(first)
    }

    /// Orders a failover and waits for the new master.
    pub fn failover(&self) -> usize {
        let old = self.master().expect("there is a master");
        self.sentinels[0].say(&["SENTINEL", "FAILOVER", MASTER]);
        self.wait_for_other_master(old)
    }

    pub fn wait_for_other_master(&self, old: usize) -> usize {
        let is_new = || {
            self.master().filter(|new| *new != old && self.servers[*new].info("role") == "master")
        };
        within(Duration::from_secs(20), "another master", || is_new().is_some());
        self.master().unwrap()
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(Server::address).collect();
        let tls = self.servers[0].options.tls;
        format!("redis{}+sentinel://{}/{MASTER}", if tls { "s" } else { "" }, hosts.join(","))
    }
}

fn sentinel(dir: &Path, master: u16, options: &Options) -> Server {
    let port = free_port();
    let conf = dir.join(format!("sentinel-{port}.conf"));
    let password = options.password.as_ref();
    let auth =
        password.map_or_else(String::new, |it| format!("sentinel auth-pass {MASTER} {it}\n"));
    let text = format!(
        "port {port}\nbind 127.0.0.1\nlogfile sentinel-{port}.log\ndir {}\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n{auth}\
         sentinel down-after-milliseconds {MASTER} 800\n\
         sentinel failover-timeout {MASTER} 3000\nsentinel parallel-syncs {MASTER} 2\n",
        dir.display()
    );
    std::fs::write(&conf, text).unwrap();
    let args = vec![conf.display().to_string(), "--sentinel".to_owned()];
    let (dir, options, child) = (dir.to_owned(), Options::default(), Mutex::default());
    Server { port, dir, args, options, plain_port: port, child }
}

/// Three masters that share the slots, each with one replica if asked for.
pub struct Cluster {
    pub masters: Vec<Server>,
    pub replicas: Vec<Server>,
    _dir: TempDir,
}

impl Cluster {
    pub fn start(options: &Options, with_replicas: bool) -> Self {
        Self::start_in(TempDir::new().unwrap(), options, with_replicas)
    }

    fn start_in(dir: TempDir, options: &Options, with_replicas: bool) -> Self {
        let mut more: Vec<String> = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
            .map(str::to_owned)
            .to_vec();
        // One part that is gone must not stop the others.
        more.extend(["--cluster-require-full-coverage", "no"].map(str::to_owned));
        if options.tls {
            more.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
        }
        let server = |_| Server::new(dir.path(), free_port(), options, &more);
        let masters: Vec<_> = (0..3).map(server).collect();
        let replicas: Vec<_> = (0..if with_replicas { 3 } else { 0 }).map(server).collect();
        let all = Self { masters, replicas, _dir: dir };
        all.servers().for_each(Server::start);
        all.join();
        all
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.masters.iter().chain(&self.replicas)
    }

    fn join(&self) {
        let bounds = [0, 5_461, 10_923, 16_384];
        for (index, master) in self.masters.iter().enumerate() {
            let (from, to) = (bounds[index].to_string(), (bounds[index + 1] - 1).to_string());
            master.say(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
            master.say(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        let first = &self.masters[0];
        for server in self.servers().skip(1) {
            server.say(&["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string()]);
        }
        let count = self.servers().count();
        let knows_all = |server: &Server| {
            let said = server.say(&["CLUSTER", "INFO"]);
            said.contains("cluster_state:ok") && said.contains(&format!("known_nodes:{count}\r"))
        };
        within(Duration::from_secs(20), "a cluster", || self.servers().all(knows_all));
        for (replica, master) in self.replicas.iter().zip(&self.masters) {
            let id = master.say(&["CLUSTER", "MYID"]);
            replica.say(&["CLUSTER", "REPLICATE", &id]);
        }
        let follows = |replica: &Server| replica.info("master_link_status") == "up";
        within(Duration::from_secs(20), "replicas", || self.replicas.iter().all(follows));
    }

    /// The master that holds this key's slot, by the first division of slots.
    pub fn master_of(&self, key: &str) -> usize {
        let slot = self.masters[0].ask(&["CLUSTER", "KEYSLOT", key]).unwrap();
        let slot: u32 = ::redis::from_redis_value(slot).unwrap();
        (slot / 5_462).min(2) as usize
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.masters.iter().map(Server::address).collect();
        let tls = self.masters[0].options.tls;
        format!("redis{}+cluster://{}", if tls { "s" } else { "" }, hosts.join(","))
    }
}

/// A port that is free now, and so is the one ten thousand above it, for the bus of a Cluster. Below those that the
/// kernel gives out by itself, so that it is still free when a killed server comes back.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37) % 9_000;
    for _ in 0..9_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 11_000 + ((start + step) % 9_000) as u16;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
    panic!("no free port");
}

/// Polls until it is so.
pub fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let ends = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < ends, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

type Order = (Vec<String>, PathBuf, mpsc::Sender<Child>);

/// Starts servers from a thread that lives as long as the program: the kernel kills them when that thread ends, and
/// tests have threads of their own.
fn spawn(args: Vec<String>, dir: &Path) -> Child {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, ordered) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (args, dir, started) in ordered {
                started.send(exec(&args, &dir)).unwrap();
            }
        });
        Mutex::new(orders)
    });
    let (started, child) = mpsc::channel();
    orders.lock().unwrap().send((args, dir.to_owned(), started)).unwrap();
    child.recv().expect("redis-server can be started: is it installed?")
}

fn exec(args: &[String], dir: &Path) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "redis-server"]).args(args).current_dir(dir);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // What it says before it has a log, such as an option that it does not know.
    let errors = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        errors.lines().map_while(Result::ok).for_each(|it| eprintln!("{it}"))
    });
    child
}
