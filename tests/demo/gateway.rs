//! The gateway as the demo runs it: a child process, started like an operator would start it.
//!
//! Never reaches into it: configuration, command line and log file are all there is between the two. Invariant: the
//! child does not outlive the demo.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpStream;

use crate::workdir::Workdir;

/// How long it may take until both listeners answer.
const START_MAX: Duration = Duration::from_secs(20);

/// How long it may take to drain.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A running gateway.
pub struct Gateway {
    child: Child,
    log: PathBuf,
}

impl Gateway {
    /// Starts it and waits until its listeners answer.
    pub async fn start(
        workdir: &Workdir,
        public: SocketAddr,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        let log = workdir.path("gateway.log");
        let out = File::create(&log)?;
        let program = program()?;
        let child = Command::new(&program)
            .args(["serve", "-c"])
            .arg(workdir.path("stepgate.toml"))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut gateway = Self { child, log };
        let until = Instant::now() + START_MAX;
        for address in [public, admin] {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = gateway.child.try_wait()? {
                    bail!("the gateway ended at its start ({status}):\n{}", gateway.last_words());
                }
                if Instant::now() > until {
                    bail!("the gateway does not listen on {address}:\n{}", gateway.last_words());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(gateway)
    }

    /// Enrols all customers' factors through the admin interface.
    pub fn import_factors(&self, workdir: &Workdir) -> anyhow::Result<()> {
        let done = Command::new(program()?)
            .args(["factor", "-c"])
            .arg(workdir.path("stepgate.toml"))
            .arg("import")
            .arg(workdir.path("secrets/factors.jsonl"))
            .output()?;
        if !done.status.success() {
            bail!("factors were not imported: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }

    /// `Some` with its last words if it is gone.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the gateway ended ({status}):\n{}", self.last_words()))
    }

    /// Asks it to drain, then waits; what does not drain is killed.
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let until = Instant::now() + STOP_MAX;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Already gone is fine: then there is nothing to kill and nothing to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `STEPGATE_BIN`, else the binary that cargo built beside this example.
pub fn program() -> anyhow::Result<PathBuf> {
    let program = match std::env::var_os("STEPGATE_BIN") {
        Some(path) => path.into(),
        None => {
            let example = std::env::current_exe()?;
            let target = example.parent().and_then(|examples| examples.parent());
            target.context("the demo is not in a target directory")?.join("stepgate")
        }
    };
    if !program.is_file() {
        bail!(
            "{} is not there: `cargo build` makes it, or name another with STEPGATE_BIN",
            program.display()
        );
    }
    Ok(program)
}
