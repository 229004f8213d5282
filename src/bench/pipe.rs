//! The measured pipe: a server and a client of this program, each a process.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::child::Part;
use super::load::CLIENT_READY;
use super::report::Figures;
use crate::cli::{BenchArgs, BenchHandler, LoadArgs};
use crate::door::Door;
use crate::exit::{Code, Failure};

/// The two processes.
pub(super) struct Pipe {
    server: Part,
    client_config: std::path::PathBuf,
}

impl Pipe {
    /// Writes both configs under `dir` and starts the server.
    pub(super) fn start(dir: &Path, args: &BenchArgs) -> Result<Self, Failure> {
        let failed = || Failure::of::<std::io::Error>(Code::Io, "preparing the measurement");
        fs::create_dir_all(dir).map_err(failed())?;
        // Bound and let go of, so that the server can take it.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = port.map_err(failed())?;
        let handler = match args.handler {
            BenchHandler::Discard => "kind = \"discard\"",
            BenchHandler::File => "kind = \"file\"\npath = \"out.ndjson\"",
        };
        let server = format!(
            "[server]\nlisten = \"{address}\"\ndata_dir = \"server\"\n[[server.handler]]\nname = \
             \"bench\"\ntargets = [\"bench.>\"]\n{handler}\n"
        );
        let client =
            format!("[client]\nid = \"bench\"\ndata_dir = \"client\"\nservers = [\"{address}\"]\n");
        let (server_config, client_config) = (dir.join("server.toml"), dir.join("client.toml"));
        fs::write(&server_config, server).map_err(failed())?;
        fs::write(&client_config, client).map_err(failed())?;
        let server =
            Part::start("server", ["run".as_ref(), "-c".as_ref(), server_config.as_os_str()])?;
        Door::Unix(dir.join("server/admin.sock")).wait()?;
        Ok(Self { server, client_config })
    }

    /// Sends the load through and reads the figures of both processes.
    pub(super) fn measure(self, load: LoadArgs) -> Result<Figures, Failure> {
        let mut arguments = vec!["bench-part".into(), "client".into()];
        arguments.extend(["--config".into(), self.client_config.into_os_string()]);
        arguments.extend(load_arguments(load));
        let mut client = Part::start("client", arguments)?;
        let ready = client.line()?;
        debug_assert_eq!(ready, CLIENT_READY);
        let (server_before, client_before) = (self.server.usage()?, client.usage()?);
        let figures = client.line()?;
        let (server, client) = (self.server.usage()?, client.usage()?);
        let cpu_us = server.cpu_us - server_before.cpu_us + client.cpu_us - client_before.cpu_us;
        let disk_bytes = client.disk_bytes - client_before.disk_bytes;
        let mut figures = Figures::read(&figures, load.packets)?;
        figures.set_usage(load.packets, cpu_us, disk_bytes, client, server);
        Ok(figures)
    }
}

/// The arguments by which a part learns its load.
pub(super) fn load_arguments(load: LoadArgs) -> impl Iterator<Item = std::ffi::OsString> {
    let pairs = [
        ("--packets", load.packets),
        ("--size", load.size as u64),
        ("--in-flight", load.in_flight),
        ("--targets", load.targets),
    ];
    pairs.into_iter().flat_map(|(name, number)| [name.into(), number.to_string().into()])
}
