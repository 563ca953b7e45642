//! The gateway as its own process, on a kit's files: started, killed, told by signals, asked through its commands.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::kit::{HOST, Kit, TOKYO};

pub const STEPGATE: &str = env!("CARGO_BIN_EXE_stepgate");

/// The running process; killed when dropped.
pub struct Binary {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
}

impl Binary {
    /// Gives the kit's configuration two free ports, which stay the same over restarts.
    pub fn place(kit: &Kit) -> (SocketAddr, SocketAddr) {
        let text = std::fs::read_to_string(kit.config()).unwrap();
        let (address, admin) = (free_address(), free_address());
        let text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
        let text = text.replacen("127.0.0.1:0", &admin.to_string(), 1);
        std::fs::write(kit.config(), text).unwrap();
        (address, admin)
    }

    /// Starts it and waits until it answers.
    pub async fn start(kit: &Kit, (address, admin): (SocketAddr, SocketAddr)) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(kit.dir.join("stderr.txt"))
            .unwrap();
        let child = Command::new(STEPGATE)
            .args(["serve", "-c"])
            .arg(kit.config())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut binary = Self { address, admin, child };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(kit.dir.join("stderr.txt")).unwrap();
            assert!(binary.child.try_wait().unwrap().is_none(), "it ended: {}", said());
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not listen: {}", said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        binary
    }

    /// A client at home in Tokyo with this header.
    pub fn client(&self, kit: &Kit, name: &str, value: &str) -> Client {
        Client::new(self.address, &kit.ca_pem, HOST).from(TOKYO).with(name, value)
    }

    /// What it holds in memory.
    pub fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Files and sockets that it holds.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// SIGKILL: nothing is written, nothing is finished.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        self.child.wait().unwrap().success()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, in the kit's directory.
pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(STEPGATE).args(arguments).current_dir(dir).output().unwrap()
}

/// What a command said on both outputs.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An address below the range that the system gives to clients, so that it is still free after a restart.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
