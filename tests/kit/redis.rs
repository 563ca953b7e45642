//! Real Redis servers for tests, on free ports of loopback, gone when the test program is.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

/// A server of a test's own; killed when dropped.
pub struct Running {
    pub server: Server,
    pub pid: u32,
    /// Waits for the end of its input, and ends the server then: so it does not outlive this program.
    watcher: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// One server for all tests that can share it; each store has a prefix of its own.
pub fn shared() -> Server {
    static SHARED: OnceLock<Running> = OnceLock::new();
    let folder = std::env::temp_dir();
    SHARED.get_or_init(|| start(free_port(), &folder, &["--save", ""])).server.clone()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("has an address").port()
}

/// Starts a server with these further arguments, and waits until it listens.
pub fn start(port: u16, folder: &Path, more: &[&str]) -> Running {
    let watch = "\"$@\" & echo $!; read _; kill -9 $! 2>/dev/null; wait";
    let mut watcher = Command::new("sh")
        .args(["-c", watch, "sh", "redis-server", "--bind", "127.0.0.1", "--dir"])
        .arg(folder)
        .args(["--port", &port.to_string(), "--logfile", "/dev/null"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let mut first = String::new();
    let output = watcher.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut first).expect("says the server's number");
    let pid = first.trim().parse().expect("a number");
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "redis-server listens on {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Running { server: Server { host: "127.0.0.1".to_owned(), port }, pid, watcher }
}
