//! What `paquebot spool` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use paquebot_protocol::TargetPattern;

use crate::cli::ConfigArgs;

/// What can be done with a spool that no process uses.
#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// Verify every lane, tombstone and pending packet; nothing is written
    ///
    /// Ends with 65 when something is damaged, with 75 while a process holds the directory.
    Check {
        /// Which spool.
        #[command(flatten)]
        place: PlaceArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every lane: its target, what is pending, and how old it is; nothing is written
    List {
        /// Which spool.
        #[command(flatten)]
        place: PlaceArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write every pending packet to standard output, a line of JSON each; nothing is written to the
    /// spool
    Export {
        /// Which spool.
        #[command(flatten)]
        place: PlaceArgs,
        /// Packets to these targets alone
        #[arg(long, value_name = "PATTERN")]
        target: Option<TargetPattern>,
    },
    /// Put aside what is damaged, declare it, and go on without it, as `run` does by itself; says what
    /// it did
    Repair(PlaceArgs),
    /// Declare pending packets gone; the server learns of it
    Purge(PurgeArgs),
    /// Take over the pending packets of another, dead client's spool
    ///
    /// Every pending packet of DIR is stored here anew, in order, with the header
    /// `paquebot-adopted-from`, which has its former id. DIR keeps its packets, and gets a file
    /// `adopted` that says so: should its client come back, it reports that, and its packets come
    /// twice. Nothing is lost either way.
    Adopt(AdoptArgs),
}

/// Which spool.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The client's data directory [default: the config's client.data_dir]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What to purge.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Which spool.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Packets to these targets
    #[arg(long, value_name = "PATTERN", required_unless_present = "all", conflicts_with = "all")]
    pub target: Option<TargetPattern>,
    /// Every packet
    #[arg(long)]
    pub all: bool,
    /// Do it: without this it is only said what would go
    #[arg(long)]
    pub yes: bool,
}

/// What to adopt.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The other client's data directory
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// Which spool takes its packets.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Do it although it was adopted before: its packets come twice
    #[arg(long)]
    pub again: bool,
}
