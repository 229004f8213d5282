//! The measured pipe: a server and clients of this program, each a process.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use paquebot_actors::clock;
use serde_json::Value;

use super::args::{BenchArgs, BenchHandler, BenchSource, LoadArgs, Phase, name};
use super::child::Part;
use super::figures::Figures;
use super::load::{READY, add};
use super::log::LOG;
use super::progress::Progress;
use super::usage::Usage;
use crate::door::Door;
use crate::exit::{Code, Failure};

/// What a spool needs beside the packets of the load.
const SPOOL_SPARE_BYTES: u64 = 1024 * 1024 * 1024;

/// Where everything is, and what is measured.
pub(super) struct Pipe<'a> {
    dir: &'a Path,
    args: &'a BenchArgs,
    address: SocketAddr,
    /// Of each client that takes packets over HTTP.
    doors: Vec<SocketAddr>,
}

impl<'a> Pipe<'a> {
    /// Writes the configs under `dir`.
    pub(super) fn prepare(dir: &'a Path, args: &'a BenchArgs) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(failed())?;
        let (address, handler) = (
            free_address()?,
            match args.handler {
                BenchHandler::Discard => "kind = \"discard\"",
                BenchHandler::File => "kind = \"file\"\npath = \"out.ndjson\"",
            },
        );
        let server = format!(
            "[server]\nlisten = \"{address}\"\ndata_dir = \"server\"\n[[server.handler]]\nname = \
             \"bench\"\ntargets = [\"bench.>\"]\n{handler}\n"
        );
        fs::write(dir.join("server.toml"), server).map_err(failed())?;
        let mut pipe = Self { dir, args, address, doors: Vec::new() };
        for at in 0..args.clients {
            pipe.write_client(at)?;
        }
        Ok(pipe)
    }

    fn write_client(&mut self, at: u64) -> Result<(), Failure> {
        let Self { dir, args, address, .. } = self;
        let spool_bytes = args.packets.saturating_mul(args.size + 128) * 2 + SPOOL_SPARE_BYTES;
        let home = dir.join(format!("client-{at}"));
        fs::create_dir_all(&home).map_err(failed())?;
        let mut config = format!(
            "[client]\nid = \"bench-{at}\"\ndata_dir = \"spool\"\nservers = [\"{address}\"]\n\
             max_packet_bytes = \"{} B\"\nspool.max_bytes = \"{spool_bytes} B\"\n",
            args.size.max(1024 * 1024)
        );
        match args.source {
            BenchSource::Library => {}
            BenchSource::Http => {
                let door = free_address()?;
                config.push_str(&format!(
                    "[[client.source]]\nname = \"bench\"\nkind = \"http\"\nlisten = \"{door}\"\n"
                ));
                self.doors.push(door);
            }
            BenchSource::Tail => config.push_str(&format!(
                "[[client.source]]\nname = \"bench\"\nkind = \"tail\"\npaths = [\"{LOG}\"]\n\
                 start_at = \"beginning\"\nmax_line_bytes = \"{} B\"\ntarget = \"bench.0\"\n",
                args.size + 1
            )),
        }
        fs::write(home.join("client.toml"), config).map_err(failed())
    }

    /// Sends the load through and reads the figures of all processes.
    pub(super) fn measure(&self, progress: &Progress) -> Result<Figures, Failure> {
        let load = self.args.load();
        let server = self.start_server()?;
        let mut clients = self.start_clients(load)?;
        let before = (server.usage()?, used(&clients)?);
        let mut posters = Vec::new();
        for door in &self.doors {
            let mut arguments: Vec<OsString> =
                vec!["bench-part".into(), "poster".into(), "--to".into(), door.to_string().into()];
            arguments.extend(load_arguments(load));
            posters.push(Part::start("poster", arguments)?);
        }
        let mut figures = run(&mut clients, progress)?;
        for (poster, figures) in posters.iter_mut().zip(&mut figures) {
            // The spool is looked at a thousand times a second; whoever waits for answers knows.
            let posted = poster.line()?;
            for key in ["stored_seconds", "stored_us"] {
                add(figures, key, posted.get(key).cloned().unwrap_or_default());
            }
        }
        let mut all = Figures::read(&figures)?;
        all.set_usage(before, (server.usage()?, used(&clients)?));
        Ok(all)
    }

    /// Stores everything without a server, kills the clients, and lets new ones drain it.
    pub(super) fn measure_backlog(&self, progress: &Progress) -> Result<Figures, Failure> {
        let load = self.args.load();
        let mut clients = self.start_clients(load)?;
        let nothing = (Usage::default(), Usage::default());
        let mut growth = Figures::read(&run(&mut clients, progress)?)?;
        growth.set_usage(nothing, (Usage::default(), used(&clients)?));
        drop(clients);
        let killed = clock::instant();
        let mut clients = self.start_clients(LoadArgs { phase: Phase::Drain, ..load })?;
        let ready = killed.elapsed();
        let server = self.start_server()?;
        let mut end = Figures::read(&run(&mut clients, progress)?)?;
        end.set_usage(nothing, (server.usage()?, used(&clients)?));
        Ok(growth.then(end, ready))
    }

    fn start_server(&self) -> Result<Part, Failure> {
        let config = self.dir.join("server.toml");
        let server = Part::start("server", ["run".as_ref(), "-c".as_ref(), config.as_os_str()])?;
        Door::Unix(self.dir.join("server/admin.sock")).wait()?;
        Ok(server)
    }

    fn start_clients(&self, load: LoadArgs) -> Result<Vec<Part>, Failure> {
        let mut clients = Vec::new();
        for at in 0..self.args.clients {
            let config = self.dir.join(format!("client-{at}/client.toml"));
            let mut arguments: Vec<OsString> = vec!["bench-part".into(), "client".into()];
            arguments.extend(["--config".into(), config.into_os_string()]);
            arguments.extend(load_arguments(load));
            clients.push(Part::start("client", arguments)?);
        }
        for client in &mut clients {
            let ready = client.line()?;
            debug_assert_eq!(ready, READY);
        }
        Ok(clients)
    }
}

/// Tells clients to begin, and gives the figures of each.
fn run(clients: &mut [Part], progress: &Progress) -> Result<Vec<Value>, Failure> {
    clients.iter_mut().try_for_each(Part::begin)?;
    let shown = |stored, handled| progress.show(stored, handled);
    clients.iter_mut().map(|client| client.figures(shown)).collect()
}

/// What processes have used together, but for memory: of that the largest.
fn used(parts: &[Part]) -> Result<Usage, Failure> {
    parts.iter().try_fold(Usage::default(), |all, part| Ok(all.and(part.usage()?)))
}

/// The arguments by which a part learns its load.
pub(super) fn load_arguments(load: LoadArgs) -> impl Iterator<Item = OsString> {
    let mut pairs = vec![
        ("--packets", load.packets.to_string()),
        ("--warm-up", load.warm_up.to_string()),
        ("--size", load.size.to_string()),
        ("--in-flight", load.in_flight.to_string()),
        ("--targets", load.targets.to_string()),
        ("--phase", name(&load.phase)),
        ("--source", name(&load.source)),
    ];
    pairs.extend(load.seconds.map(|seconds| ("--seconds", seconds.to_string())));
    pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()])
}

/// Bound and let go of, so that somebody else can take it.
fn free_address() -> Result<SocketAddr, Failure> {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(failed())
}

fn failed() -> impl FnOnce(std::io::Error) -> Failure {
    Failure::of(Code::Io, "preparing the measurement")
}
