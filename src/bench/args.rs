//! The arguments of `bench`, and of the processes that it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// How many clients can be measured at once: each is a process with threads of its own.
const CLIENTS_MAX: u64 = 100;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// How many packets
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: u64,
    /// Send for so many seconds, however many packets that is
    #[arg(long, value_name = "N", conflicts_with_all = ["packets", "backlog"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// Send so many packets first, which are not measured
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "backlog")]
    pub warm_up: u64,
    /// Store all packets while there is no server, then start it: the backlog's growth and its end
    #[arg(long)]
    pub backlog: bool,
    /// The length of each, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16 * 1024 * 1024))]
    pub size: u64,
    /// Packets under way at once: made and not yet handled; with `--source http`, connections
    /// [default: 10000, of http 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub in_flight: Option<u64>,
    /// Targets that are sent to in turn
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub targets: u64,
    /// Clients that send at once, each a process; packets and those in flight are shared out
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    pub clients: u64,
    /// Where the packets come from
    #[arg(long, value_enum, default_value_t = BenchSource::Library)]
    pub source: BenchSource,
    /// What handles the packets
    #[arg(long, value_enum, default_value_t = BenchHandler::Discard)]
    pub handler: BenchHandler,
    /// Also run what is possible at most, alternately, and show the ratio: the plainest pipe with the
    /// same durability; with `--source http`, the same HTTP server with an empty handler
    #[arg(long)]
    pub ideal: bool,
    /// How often to run; figures are medians
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Where to put the stores [default: a new directory under the current one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// Packets under way at once, of all clients.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.unwrap_or(match self.source {
            BenchSource::Http => 64,
            BenchSource::Library | BenchSource::Tail => 10_000,
        })
    }

    /// What each client sends.
    pub(super) fn load(&self) -> LoadArgs {
        LoadArgs {
            packets: (self.packets / self.clients).max(1),
            seconds: self.seconds,
            warm_up: self.warm_up / self.clients,
            phase: if self.backlog { Phase::Store } else { Phase::Whole },
            size: self.size,
            in_flight: (self.in_flight() / self.clients).max(1),
            targets: self.targets,
            source: self.source,
        }
    }
}

/// How an option's value is written.
pub(super) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The sources that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchSource {
    /// Within the client's process, without HTTP between.
    Library,
    /// Posted over HTTP, one packet a request.
    Http,
    /// Lines of a log that grows.
    Tail,
}

/// The handlers that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchHandler {
    /// Keeps nothing.
    Discard,
    /// Writes ndjson, exactly once.
    File,
}

/// Which part of a packet's life is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// All of it, with a server.
    Whole,
    /// Up to "stored", without one.
    Store,
    /// From there on.
    Drain,
}

/// The processes of a measurement.
#[derive(Debug, Args)]
pub struct BenchPart {
    /// Which one.
    #[command(subcommand)]
    pub part: Part,
}

/// The processes of a measurement.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// A client.
    Client {
        /// Its config.
        #[arg(long)]
        config: PathBuf,
        /// What it sends.
        #[command(flatten)]
        load: LoadArgs,
    },
    /// Who posts to a source `http`.
    Poster {
        /// Where that is.
        #[arg(long)]
        to: SocketAddr,
        /// What it posts.
        #[command(flatten)]
        load: LoadArgs,
    },
    /// An HTTP server that answers as the source `http` does, and keeps nothing.
    EmptyHttp,
    /// The sending side of the ideal pipe.
    IdealSender {
        /// Where the receiver is.
        #[arg(long)]
        to: SocketAddr,
        /// The file that it appends to.
        #[arg(long)]
        file: PathBuf,
        /// What it sends.
        #[command(flatten)]
        load: LoadArgs,
    },
    /// The receiving side of the ideal pipe.
    IdealReceiver {
        /// The file that it appends to.
        #[arg(long)]
        file: PathBuf,
    },
}

/// What a measured process sends.
#[derive(Debug, Clone, Copy, Args)]
pub struct LoadArgs {
    /// How many packets.
    #[arg(long)]
    pub packets: u64,
    /// For how long, whatever the packets.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// How many packets come first, and are not measured.
    #[arg(long, default_value_t = 0)]
    pub warm_up: u64,
    /// Which part of a packet's life is measured.
    #[arg(long, value_enum)]
    pub phase: Phase,
    /// How long each is.
    #[arg(long)]
    pub size: u64,
    /// How many are under way at once.
    #[arg(long)]
    pub in_flight: u64,
    /// How many targets there are.
    #[arg(long)]
    pub targets: u64,
    /// Where they come from.
    #[arg(long, value_enum)]
    pub source: BenchSource,
}
