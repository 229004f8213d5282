//! The rig of the end-to-end tests: real processes of the real binary, on real disks and sockets.
//!
//! A `Broker` is a client and a server with their directories; its verbs start, kill, stop and ask
//! them. Everything waits for a condition, never for a time.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses some of the verbs, whose names are their docs"
)]

pub mod cutter;
pub mod destination;
pub mod hook;
pub mod hostile;
pub mod http;
pub mod python;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use http::{Connection, Reply};

/// How long any condition may take to come true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; fails the test with `what` when it never does.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens at, and that no connection is given by the system: those are higher.
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    loop {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let at = std::process::id().wrapping_mul(61).wrapping_add(asked) % 20_000;
        let port = 10_000 + u16::try_from(at).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Copies a directory's files, as a backup does; sockets are left out.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs the program to its end.
pub fn paquebot<const N: usize>(arguments: [&str; N]) -> Output {
    program().args(arguments).output().unwrap()
}

/// The program, with none of this machine's own settings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paquebot"));
    for (name, _) in std::env::vars() {
        if name.starts_with("PAQUEBOT_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// One running process.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(config: &Path) -> Self {
        let log = config.with_extension("log");
        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = program();
        command.args(["run", "-c"]).arg(config).env("PAQUEBOT_LOG", "info");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).spawn();
        Self { child: child.unwrap(), log }
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Any signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code().expect("an exit code, not a signal")
    }

    /// Its memory, in bytes, as the system counts it.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// What it has logged so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// A client and a server, each with its own config, directory and process.
pub struct Broker {
    // The processes end before their directory goes.
    pub client: Option<Process>,
    pub server: Option<Process>,
    pub dir: tempfile::TempDir,
    pub server_port: u16,
    pub source_port: u16,
    pub client_admin_port: u16,
    pub server_admin_port: u16,
}

/// The handlers of a broker that the test does not care about further: all to one file.
pub const ALL_TO_FILE: &str = r#"
[[server.handler]]
name = "all"
targets = [">"]
kind = "file"
path = "out.ndjson"
"#;

impl Broker {
    /// Writes both configs; starts nothing.
    pub fn new(handlers: &str) -> Self {
        Self::with("", "", handlers)
    }

    /// The same with further keys for `[client]` and `[server]`.
    pub fn with(client_keys: &str, server_keys: &str, handlers: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Self {
            dir,
            server_port: free_port(),
            source_port: free_port(),
            client_admin_port: free_port(),
            server_admin_port: free_port(),
            client: None,
            server: None,
        };
        let Self { server_port, source_port, client_admin_port, server_admin_port, .. } = broker;
        broker.write(
            "client.toml",
            &format!(
                "[client]\nid = \"till-1\"\ndata_dir = \"client\"\n\
                 servers = [\"127.0.0.1:{server_port}\"]\n\
                 reconnect = {{ initial = \"10 ms\", max = \"100 ms\" }}\n{client_keys}\n\
                 [[client.source]]\nname = \"local\"\nkind = \"http\"\n\
                 listen = \"127.0.0.1:{source_port}\"\n\
                 [admin]\nlisten = \"127.0.0.1:{client_admin_port}\"\n"
            ),
        );
        broker.write(
            "server.toml",
            &format!(
                "[server]\nlisten = \"127.0.0.1:{server_port}\"\ndata_dir = \"server\"\n\
                 {server_keys}\n{handlers}\n\
                 [admin]\nlisten = \"127.0.0.1:{server_admin_port}\"\n"
            ),
        );
        broker
    }

    /// Starts the client and waits until it is ready.
    pub fn start_client(&mut self) {
        self.client = Some(Process::start(&self.path("client.toml")));
        self.await_ready(self.client_admin_port);
    }

    /// Starts the server and waits until it is ready.
    pub fn start_server(&mut self) {
        self.server = Some(Process::start(&self.path("server.toml")));
        self.await_ready(self.server_admin_port);
    }

    /// SIGKILL to the client.
    pub fn kill_client(&mut self) {
        self.client.take().expect("a running client").kill();
    }

    /// SIGKILL to the server.
    pub fn kill_server(&mut self) {
        self.server.take().expect("a running server").kill();
    }

    /// SIGTERM to the client, which ends well.
    pub fn stop_client(&mut self) {
        assert_eq!(self.client.take().expect("a running client").stop(), 0);
    }

    /// SIGTERM to the server, which ends well.
    pub fn stop_server(&mut self) {
        assert_eq!(self.server.take().expect("a running server").stop(), 0);
    }

    /// Another machine with the same client id: with a directory of its own, for the same server.
    pub fn twin(&self) -> Self {
        let twin = Self::new("");
        let (own, port) = (twin.server_port, self.server_port);
        twin.edit("client.toml", &format!("127.0.0.1:{own}"), &format!("127.0.0.1:{port}"));
        Self { server_port: port, ..twin }
    }

    /// Changes a part of a file that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file}: no {from} in {text}");
        self.write(file, &text.replacen(from, to, 1));
    }

    /// Copies a directory of the broker to another place in it.
    pub fn back_up(&self, dir: &str, to: &str) {
        copy(&self.path(dir), &self.path(to));
    }

    /// Puts a backup in the place of a directory.
    pub fn restore(&self, dir: &str, from: &str) {
        fs::remove_dir_all(self.path(dir)).unwrap();
        copy(&self.path(from), &self.path(dir));
    }

    /// What the client has logged, over all its starts.
    pub fn client_log(&self) -> String {
        fs::read_to_string(self.path("client.log")).unwrap_or_default()
    }

    /// What the server has logged, over all its starts.
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Waits until the client has logged this.
    pub fn client_says(&self, what: &str) {
        until(&format!("the client says: {what}"), || self.client_log().contains(what));
    }

    /// Waits until the server has logged this.
    pub fn server_says(&self, what: &str) {
        until(&format!("the server says: {what}"), || self.server_log().contains(what));
    }

    /// The client's spool id.
    pub fn spool(&self) -> String {
        self.client_status()["spool"].as_str().unwrap().to_owned()
    }

    /// A kept-alive connection to the client's http source.
    pub fn connect(&self) -> Connection {
        Connection::open(self.source_port)
    }

    /// Posts one packet.
    pub fn post(&self, target: &str, data: &str) -> Reply {
        self.connect().post(target, data.as_bytes(), &[])
    }

    /// `/v1/status` of the client.
    pub fn client_status(&self) -> Value {
        http::get(self.client_admin_port, "/v1/status").json()["client"].clone()
    }

    /// `/v1/status` of the server.
    pub fn server_status(&self) -> Value {
        http::get(self.server_admin_port, "/v1/status").json()["server"].clone()
    }

    /// Packets that wait at the client.
    pub fn backlog(&self) -> u64 {
        self.client_status()["pending_packets"].as_u64().unwrap()
    }

    /// One sample of the client's or the server's metrics, by its exact name and labels.
    pub fn metric(&self, admin_port: u16, series: &str) -> Option<f64> {
        let text = http::get(admin_port, "/metrics").text();
        let sample = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        sample.map(|value| value.parse().unwrap())
    }

    /// Waits until nothing waits at the client any more.
    pub fn drain(&self) {
        until("the backlog is handled", || self.backlog() == 0);
    }

    /// The lines of a file handler's output, as JSON.
    pub fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        // The last one may be about to be written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The data of a file handler's output, by target and in its order.
    pub fn handled(&self, file: &str) -> BTreeMap<String, Vec<String>> {
        let mut handled: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.lines(file) {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            handled.entry(text("target")).or_default().push(text("data"));
        }
        handled
    }

    /// Bytes of all files below a directory.
    pub fn bytes_of(&self, dir: &str) -> u64 {
        fn bytes(dir: &Path) -> u64 {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
            // A file may go while it is counted.
            entries
                .map(|entry| match entry.metadata() {
                    Ok(facts) if facts.is_dir() => bytes(&entry.path()),
                    Ok(facts) => facts.len(),
                    Err(_) => 0,
                })
                .sum()
        }
        bytes(&self.path(dir))
    }

    /// A path in the broker's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in the broker's directory.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn await_ready(&self, admin_port: u16) {
        until("the process is ready", || {
            http::try_get(admin_port, "/readyz").is_some_and(|reply| reply.status == 200)
        });
    }
}
