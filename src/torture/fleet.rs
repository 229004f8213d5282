//! The fleet: one server, the clients, the bad network between them, and who writes to whom.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::Drafter;
use super::member::Member;
use super::plan::{Plan, stream};
use super::post::{Entrance, Post};
use super::route::{ROUTES, Route};
use super::stage::Stage;
use super::tally;
use super::victim::Victim;
use super::writer::{Style, Writer};
use super::{proxy, receiver};
use crate::exit::{Code, Failure};

/// How each client is written to.
const WRITERS: [(Style, bool); 4] =
    [(Style::Single, false), (Style::Lines, false), (Style::Single, true), (Style::Single, false)];

/// Lanes end and begin again all the time.
const RETIRE_AFTER: &str = "2 s";

/// Any port: nobody else listens at these addresses, and no outgoing connection takes one.
const PORT: u16 = 7035;

/// Everything that is under torture, and what tortures it.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The server, then the clients.
    pub(super) victims: Vec<Victim>,
    /// Who writes.
    pub(super) writers: Vec<Writer>,
    /// Where the server's files are.
    pub(super) server_dir: PathBuf,
    /// The clients' ids.
    pub(super) clients: Vec<Arc<str>>,
}

impl Fleet {
    /// Writes the configs and opens the network; starts no process.
    pub(super) async fn prepare(
        stage: &Arc<Stage>,
        plan: &Plan,
        dir: &Path,
        receiver: &receiver::Receiver,
    ) -> Result<Self, Failure> {
        let mut blows = plan.blows.iter().cloned();
        let mut next = || blows.next().unwrap_or_default();
        let house = house();
        let server = SocketAddr::from((host(house, 0), PORT));
        let server_dir = dir.join("server");
        write_config(&server_dir, &server_config(server, receiver.address))?;
        let member = Member::new("server", &server_dir);
        let mut victims = vec![Victim::new(stage, member, next(), tally::KILL_SERVER)];
        let (mut writers, mut clients) = (Vec::new(), Vec::new());
        for at in 1..plan.blows.len() as u64 {
            let name: Arc<str> = format!("client-{at}").into();
            let client_dir = dir.join(&*name);
            let network = proxy::start(Arc::clone(stage), at, server).await?;
            let source = SocketAddr::from((host(house, at), PORT));
            write_config(&client_dir, &client_config(&name, network, source))?;
            let member = Member::new(&name, &client_dir);
            victims.push(Victim::new(stage, member, next(), tally::KILL_CLIENT));
            for (writer, (style, unix)) in WRITERS.into_iter().enumerate() {
                let writer = writer as u64;
                let entrance = match unix {
                    true => Entrance::Unix(client_dir.join("source.sock")),
                    false => Entrance::Tcp(source),
                };
                let chance = |what| stream(stage.seed, what, at << 32 | writer);
                let drafter = Drafter::new(Arc::clone(&name), writer, chance("drafts"));
                let journal = client_dir.join(format!("writer-{writer}.ndjson"));
                let (post, rng) = (Post::new(entrance), chance("bursts"));
                writers.push(Writer::new(stage, drafter, post, style, rng, &journal)?);
            }
            clients.push(name);
        }
        Ok(Self { victims, writers, server_dir, clients })
    }
}

/// Addresses of this machine that are used by this torture only: each process of this program that
/// runs at once has another number.
fn house() -> u32 {
    std::process::id()
}

/// An address of 127.0.0.0/8 away from 127.0.0.1, so that no port is taken while its owner is away.
fn host(house: u32, at: u64) -> Ipv4Addr {
    let [_, _, high, low] = house.to_be_bytes();
    let at = u8::try_from(at).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 64_u8.wrapping_add(at), high, low)
}

fn server_config(listen: SocketAddr, receiver: SocketAddr) -> String {
    let receiver = receiver.to_string();
    let handlers = ROUTES.iter().filter_map(|route| route.handler(&receiver));
    let handlers: String = handlers.collect();
    format!("[server]\nlisten = \"{listen}\"\ndata_dir = \"data\"\n{handlers}")
}

fn client_config(name: &str, server: SocketAddr, source: SocketAddr) -> String {
    let policies = ROUTES.iter().filter_map(Route::policy).collect::<String>();
    format!(
        "[client]\nid = \"{name}\"\ndata_dir = \"data\"\nservers = [\"{server}\"]\n\
         ping = \"1 s\"\nsilence = \"3 s\"\n\
         reconnect = {{ initial = \"20 ms\", max = \"1 s\" }}\n\
         [client.spool]\nmax_bytes = \"512 MiB\"\nretire_after = \"{RETIRE_AFTER}\"\n{policies}\
         [[client.source]]\nname = \"tcp\"\nkind = \"http\"\nlisten = \"{source}\"\n\
         [[client.source]]\nname = \"unix\"\nkind = \"http\"\nlisten = \"unix:source.sock\"\n"
    )
}

fn write_config(dir: &Path, config: &str) -> Result<(), Failure> {
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(dir.join("config.toml"), config));
    written.map_err(Failure::of(Code::Io, &dir.display().to_string()))
}
