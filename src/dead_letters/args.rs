//! What `paquebot dead-letters` takes.

use clap::{ArgGroup, Args, Subcommand};
use paquebot_protocol::{ClientId, PacketId, TargetPattern};

use crate::cli::ConfigArgs;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List them, in the order in which they came
    List {
        /// Which ones.
        #[command(flatten)]
        which: WhichArgs,
        /// So many at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Print JSON: {dead_letters, next}
        #[arg(long)]
        json: bool,
        /// Where the config of the server or client is.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show one with its data
    Show {
        /// The packet's id
        #[arg(value_name = "ID")]
        id: PacketId,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Where the config of the server or client is.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Give them to the handlers that take their targets now; those that are handled go
    ///
    /// Those of a client are stored again as new packets, at the end of what waits for their target.
    /// In order per client and target. One that is rejected stays; one that fails stays, and those of
    /// the same client and target behind it are left for another time. Ends with 0 when all were
    /// handled, with 65 when some were rejected or there is no such packet, with 75 when some failed or
    /// were left.
    Replay {
        /// Which ones.
        #[command(flatten)]
        chosen: ChosenArgs,
    },
    /// Remove them for good
    ///
    /// With --all it asks first on a terminal, and needs --yes where there is none.
    Discard {
        /// Which ones.
        #[command(flatten)]
        chosen: ChosenArgs,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Dead letters by what is known of them: those that everything said here fits.
#[derive(Debug, Clone, Default, Args)]
pub struct WhichArgs {
    /// Those of this handler, at the server
    #[arg(long, value_name = "NAME")]
    pub handler: Option<String>,
    /// Those of this client
    #[arg(long, value_name = "ID")]
    pub client: Option<ClientId>,
    /// Those to targets of this pattern
    #[arg(long, value_name = "PATTERN")]
    pub target: Option<TargetPattern>,
    /// Those last tried since then: an RFC 3339 time, or a duration before now ("1 h")
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Those last tried before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Dead letters that something is done to.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("meant").required(true).multiple(true)
    .args(["ids", "all", "handler", "client", "target", "since", "until"]))]
pub struct ChosenArgs {
    /// The packets' ids
    #[arg(value_name = "ID")]
    #[arg(conflicts_with_all = ["all", "handler", "client", "target", "since", "until", "limit"])]
    pub ids: Vec<PacketId>,
    /// All of them, or all that fit
    #[arg(long)]
    pub all: bool,
    /// Which ones.
    #[command(flatten)]
    pub which: WhichArgs,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the config of the server or client is.
    #[command(flatten)]
    pub config: ConfigArgs,
}
