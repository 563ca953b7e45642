//! The Redis that the gateways share: real processes that are killed, paused, starved and started again.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::free_address;
use crate::check::Kind;

const MASTER: &str = "stepgate";

pub enum Servers {
    /// No Redis: one gateway on its own file.
    File,
    Single(Server),
    Sentinel {
        /// A master and two replicas; who is which changes.
        data: Vec<Server>,
        sentinels: Vec<Server>,
    },
}

impl Servers {
    pub async fn start(topology: &str, dir: &Path) -> Self {
        match topology {
            "file" => Self::File,
            "single" => Self::Single(Server::start(dir, "redis", &durable()).await),
            "sentinel" => Self::sentinel(dir).await,
            other => panic!("TOPOLOGY is single, sentinel or file, not {other}"),
        }
    }

    async fn sentinel(dir: &Path) -> Self {
        let mut data = vec![Server::start(dir, "data-0", &durable()).await];
        let port = data[0].address.port();
        for number in 1..3 {
            let follow = format!("{}replicaof 127.0.0.1 {port}\n", durable());
            data.push(Server::start(dir, &format!("data-{number}"), &follow).await);
        }
        let watch = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 5000\n\
             sentinel parallel-syncs {MASTER} 2\n"
        );
        let mut sentinels = Vec::new();
        for number in 0..3 {
            let name = format!("sentinel-{number}");
            sentinels.push(Server::start_as(dir, &name, &watch, &["--sentinel"]).await);
        }
        let servers = Self::Sentinel { data, sentinels };
        servers.until("two replicas and two other sentinels are known", |sentinel| {
            let said = sentinel.tell(&["sentinel", "master", MASTER]);
            let lines: Vec<&str> = said.lines().collect();
            let value = |name| lines.iter().position(|it| *it == name).map(|at| lines[at + 1]);
            (value("num-slaves"), value("num-other-sentinels")) == (Some("2"), Some("2"))
        });
        servers
    }

    /// Waits until every sentinel says so.
    fn until(&self, what: &str, so: impl Fn(&Server) -> bool) {
        let Self::Sentinel { sentinels, .. } = self else { return };
        let begun = Instant::now();
        while !sentinels.iter().all(&so) {
            assert!(begun.elapsed() < Duration::from_secs(40), "never: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::File => "file:state/stepgate.db".to_owned(),
            Self::Single(server) => format!("redis://{}", server.address),
            Self::Sentinel { sentinels, .. } => {
                let all: Vec<String> = sentinels.iter().map(|it| it.address.to_string()).collect();
                format!("redis+sentinel://{}/{MASTER}", all.join(","))
            }
        }
    }

    /// How many gateways can share it.
    pub fn gateways(&self) -> usize {
        if matches!(self, Self::File) { 1 } else { 3 }
    }

    /// What can be done to it.
    pub fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::File => &[],
            Self::Single(_) => &[Kind::StoreKilled, Kind::StorePaused, Kind::StoreFull],
            Self::Sentinel { .. } => &[Kind::MasterKilled],
        }
    }

    pub fn breaks(&mut self, kind: Kind) {
        let master = self.master();
        match (kind, self) {
            (Kind::StoreKilled, Self::Single(server)) => server.kill(),
            (Kind::StorePaused, Self::Single(server)) => server.signal("STOP"),
            (Kind::StoreFull, Self::Single(server)) => {
                server.tell(&["config", "set", "maxmemory", "1mb"]);
            }
            (Kind::MasterKilled, Self::Sentinel { data, .. }) => data[master].kill(),
            (kind, _) => panic!("{kind} is not for these servers"),
        }
    }

    /// Mended when this returns; a failover is over.
    pub async fn mends(&mut self, kind: Kind) {
        match (kind, &mut *self) {
            (Kind::StoreKilled, Self::Single(server)) => server.restart().await,
            (Kind::StorePaused, Self::Single(server)) => server.signal("CONT"),
            (Kind::StoreFull, Self::Single(server)) => {
                server.tell(&["config", "set", "maxmemory", "0"]);
            }
            (Kind::MasterKilled, Self::Sentinel { data, sentinels }) => {
                let dead = data.iter().position(|server| server.child.is_none()).unwrap();
                let port = data[dead].address.port().to_string();
                let so = |sentinel: &Server| !sentinel.master().ends_with(&port);
                let begun = Instant::now();
                while !sentinels.iter().all(so) {
                    assert!(begun.elapsed() < Duration::from_secs(40), "nobody took over");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                data[dead].restart().await;
            }
            (kind, _) => panic!("{kind} is not for these servers"),
        }
    }

    /// The place of the data server that is master now.
    fn master(&self) -> usize {
        let Self::Sentinel { data, sentinels } = self else { return 0 };
        let said = sentinels[0].master();
        let is_it = |server: &Server| said.ends_with(&server.address.port().to_string());
        data.iter().position(is_it).expect("one of ours is master")
    }
}

/// What was answered is on the disk.
fn durable() -> String {
    "appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n".to_owned()
}

/// One process.
pub struct Server {
    pub address: SocketAddr,
    config: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    async fn start(dir: &Path, name: &str, more: &str) -> Self {
        Self::start_as(dir, name, more, &[]).await
    }

    async fn start_as(dir: &Path, name: &str, more: &str, arguments: &[&str]) -> Self {
        let (dir, address) = (dir.join(name), free_address());
        std::fs::create_dir_all(&dir).unwrap();
        let config = dir.join("redis.conf");
        let own = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nlogfile {}\ndaemonize no\n",
            address.port(),
            dir.display(),
            dir.join("log.txt").display()
        );
        std::fs::write(&config, format!("{own}{more}")).unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { address, config, arguments, child: None };
        server.restart().await;
        server
    }

    async fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command.arg(&self.config).args(&self.arguments).stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() || self.tell(&["ping"]) != "PONG" {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} is silent", self.address);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let told = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(told.unwrap().success());
    }

    /// One command; what was answered.
    pub fn tell(&self, words: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Host and port of the master, as this sentinel knows it.
    fn master(&self) -> String {
        self.tell(&["sentinel", "get-master-addr-by-name", MASTER])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
