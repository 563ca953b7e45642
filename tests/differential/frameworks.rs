//! The real frameworks, each with the same application, as processes of their own on free ports.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Each framework with the words that start it; `{root}`, `{apps}`, `{port}` and `{dir}` are replaced.
const FRAMEWORKS: [(&str, &str); 6] = [
    ("express4", "{root}/venv/bin/node {apps}/express/app.js express4"),
    ("express5", "{root}/venv/bin/node {apps}/express/app.js express5"),
    (
        "flask",
        "{root}/venv/bin/gunicorn --chdir {apps}/python --bind 127.0.0.1:{port} --workers 1 --threads 24 --keep-alive 5 \
         --worker-tmp-dir {dir} --no-control-socket flask_app:app",
    ),
    (
        "fastapi",
        "{root}/venv/bin/uvicorn --app-dir {apps}/python --host 127.0.0.1 --port {port} --http httptools --no-access-log \
         fastapi_app:app",
    ),
    ("php", "{apps}/php/serve.sh"),
    (
        "sinatra",
        "puma --bind tcp://127.0.0.1:{port} --threads 24:24 --environment production --no-config {apps}/ruby/config.ru",
    ),
];

pub const COUNT: usize = FRAMEWORKS.len();

/// A running framework; all its processes are killed when dropped.
pub struct Framework {
    pub name: &'static str,
    pub address: SocketAddr,
    log: PathBuf,
    out: PathBuf,
    child: Child,
}

/// One line that an application wrote: what it executed, and for which request.
pub struct Ran {
    pub case: String,
    pub withdrawal: bool,
    pub line: String,
}

impl Framework {
    /// Starts all of them and waits until each answers.
    pub fn start_all(dir: &Path) -> Vec<Self> {
        let mut all: Vec<Self> =
            FRAMEWORKS.iter().map(|(name, words)| Self::start(dir, name, words)).collect();
        all.iter_mut().for_each(Self::wait);
        all
    }

    fn start(dir: &Path, name: &'static str, words: &str) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tree.join("target/frameworks");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port().to_string();
        let words = words
            .replace("{root}", &root.display().to_string())
            .replace("{apps}", &tree.join("tests/differential/apps").display().to_string())
            .replace("{port}", &port)
            .replace("{dir}", &dir.display().to_string());
        let mut words = words.split_whitespace();
        let (log, out) = (dir.join("ran.jsonl"), dir.join("out.txt"));
        File::create(&log).unwrap();
        let output = File::create(&out).unwrap();
        let child = Command::new(words.next().unwrap())
            .args(words)
            .envs([("PORT", port.as_str()), ("RACK_ENV", "production"), ("NODE_ENV", "production")])
            .envs([("LOG", &log), ("DIR", &dir), ("NODE_PATH", &root.join("node/node_modules"))])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name} does not start ({error}); `make differential` installs it")
            });
        Self { name, address, log, out, child }
    }

    fn wait(&mut self) {
        use std::io::{Read, Write};
        let begun = Instant::now();
        loop {
            let mut answer = String::new();
            if let Ok(mut stream) = TcpStream::connect(self.address) {
                let ask =
                    "GET /api/v5/market/ticker HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.write_all(ask.as_bytes());
                let _ = stream.read_to_string(&mut answer);
            }
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
            let said = || std::fs::read_to_string(&self.out).unwrap_or_default();
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(!ended, "{} ended: {}", self.name, said());
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} answers {answer:?}: {}",
                self.name,
                said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it executed since it started.
    pub fn ran(&self) -> Vec<Ran> {
        let bytes = std::fs::read(&self.log).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(Ran::read).collect()
    }

    /// How often it ran the withdrawal for each of these requests.
    pub fn withdrawals(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for ran in self.ran().into_iter().filter(|ran| ran.withdrawal) {
            *count.entry(ran.case).or_default() += 1;
        }
        count
    }

    fn written(&self) -> u64 {
        std::fs::metadata(&self.log).unwrap().len()
    }
}

impl Ran {
    /// What cannot be read counts as a withdrawal.
    fn read(line: &str) -> Self {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        let case = said["case"].as_str().unwrap_or_default().to_owned();
        Self { case, withdrawal: said["ran"] != "neighbour", line: line.to_owned() }
    }
}

/// Waits until no application has written anything for a while.
pub async fn settle(all: &[Framework]) {
    let sizes = || all.iter().map(Framework::written).collect::<Vec<_>>();
    let mut before = sizes();
    let mut quiet = 0;
    while quiet < 5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sizes();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        // Some leave their process group for another, whose id they write down.
        let left = self.log.with_file_name("group");
        let left = std::fs::read_to_string(left).ok().and_then(|id| id.trim().parse().ok());
        for id in left.into_iter().chain([self.child.id()]) {
            let group = format!("-{id}");
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
        let _ = self.child.wait();
    }
}
