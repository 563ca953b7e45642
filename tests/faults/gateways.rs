//! The gateways as processes: killed without a warning, started again until they run.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::binary::{STEPGATE, free_address};
use crate::kit::Kit;

pub struct Gateway {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub log: PathBuf,
    config: PathBuf,
    said: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Gateway {
    pub fn place(kit: &Kit, number: usize, store: &str) -> Self {
        let (address, admin) = (free_address(), free_address());
        let config = kit.config_of(number, store);
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
        let text = text.replacen("127.0.0.1:0", &admin.to_string(), 1);
        std::fs::write(&config, text).unwrap();
        let log = kit.dir.join(format!("audit/stepgate-{number}.jsonl"));
        let said = kit.dir.join(format!("stderr-{number}.txt"));
        Self { address, admin, log, config, said, child: Mutex::default() }
    }

    /// Starts it, again and again if its store is not there yet, until it listens.
    pub async fn start(&self) {
        let begun = Instant::now();
        loop {
            let mut child = self.spawn();
            loop {
                if TcpStream::connect(self.address).is_ok() {
                    *self.child.lock().unwrap() = Some(child);
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(60), "no start: {}", self.said());
                tokio::time::sleep(Duration::from_millis(10)).await;
                if child.try_wait().unwrap().is_some() {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn spawn(&self) -> Child {
        let said = std::fs::File::options().create(true).append(true).open(&self.said).unwrap();
        let mut command = Command::new(STEPGATE);
        command.args(["serve", "-c"]).arg(&self.config).stdout(Stdio::null()).stderr(said);
        command.spawn().unwrap()
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// SIGKILL: nothing is written, nothing is finished.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Whether it still runs, as it should.
    pub fn runs(&self) -> bool {
        let mut child = self.child.lock().unwrap();
        child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGTERM, then waits; whether it ended well.
    pub fn stop(&self) -> bool {
        let Some(mut child) = self.child.lock().unwrap().take() else { return false };
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        told.unwrap().success() && child.wait().unwrap().success()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}
