//! A real mail server (aiosmtpd, see `smtpd.py`): started, stopped and started again, and what it took.
//!
//! Never outlives the tests: it is killed when it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// What only this user may send with.
pub const CREDENTIALS: &str = "gateway:a-mail-password";

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Wrapped,
    Upgraded,
    Plain,
}

/// One server, running or not.
pub struct Smtp {
    pub port: u16,
    mode: Mode,
    dir: PathBuf,
    child: Option<Child>,
}

/// One mail as it was taken.
#[derive(Clone, Debug, Deserialize)]
pub struct Taken {
    pub to: Vec<String>,
    pub tls: bool,
    pub authenticated: bool,
    pub headers: Vec<(String, String)>,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Taken {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The path that its link leads to.
    pub fn link(&self) -> String {
        link_in(&self.text)
    }
}

/// The path of the one link in a text.
pub fn link_in(text: &str) -> String {
    let at = text.find("https://").unwrap_or_else(|| panic!("no link in {text}"));
    let link = text[at..].split_whitespace().next().unwrap();
    let path = link.strip_prefix("https://").unwrap();
    path[path.find('/').unwrap()..].to_owned()
}

impl Smtp {
    /// Not started yet; its certificate is the gateway's, which the kit's CA signed for `localhost`.
    pub fn new(dir: &Path, mode: Mode) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, mode, dir: dir.to_owned(), child: None }
    }

    /// The table of the configuration that sends through it.
    pub fn table(&self) -> String {
        let scheme = if self.mode == Mode::Wrapped { "smtps" } else { "smtp" };
        let secured = match self.mode {
            Mode::Plain => "",
            _ => "ca = \"ca.pem\"\ncredentials = \"file:secrets/mail\"\n",
        };
        format!(
            "[mail]\nprovider = \"smtp\"\nurl = \"{scheme}://localhost:{}\"\n\
             from = \"Example <notices@exchange.example>\"\n{secured}\n",
            self.port
        )
    }

    /// Starts it with what it has taken so far, and waits until it listens.
    pub fn start(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mode = match self.mode {
            Mode::Wrapped => "wrapped",
            Mode::Upgraded => "upgraded",
            Mode::Plain => "plain",
        };
        let child = Command::new(root.join("target/venv/bin/python"))
            .arg(root.join("tests/kit/smtpd.py"))
            .args([&self.port.to_string(), mode])
            .args(["gateway.pem", "gateway.key", "mails.jsonl"])
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.dir.join("smtpd.txt")).unwrap())
            .spawn()
            .expect("target/venv has Python: run `tests/tools/setup.sh`");
        self.child = Some(child);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = || std::fs::read_to_string(self.dir.join("smtpd.txt")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20), "no mail server: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _dead = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Everything that it took, oldest first.
    pub fn taken(&self) -> Vec<Taken> {
        let text = std::fs::read_to_string(self.dir.join("mails.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.stop();
    }
}
