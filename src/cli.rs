//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::bench::{BenchArgs, BenchPart};
use crate::config;
use crate::dead_letters::DeadLetterCommand;
use crate::handlers::HandlerCommand;
use crate::send::SendArgs;
use crate::spool::SpoolCommand;
use crate::top::TopArgs;

/// A store-and-forward broker: stored means stored, acknowledged means handled.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the parts that the config has: a client, a server, or both
    Run(ConfigArgs),
    /// Check the config and say what it guarantees
    #[command(alias = "validate")]
    Check {
        /// Where the config is.
        #[command(flatten)]
        config: ConfigArgs,
        /// End with 78 when there are warnings, too
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Hand a packet to the client on this machine
    Send(SendArgs),
    /// Show how a running process is
    Status {
        /// Where the config is.
        #[command(flatten)]
        config: ConfigArgs,
        /// Show all clients of a server, those that are away, too
        #[arg(long)]
        fleet: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch a running process, live on this terminal
    ///
    /// Asks over the same way as `status`. Keys: q quits, p lets the view stand still, ? shows the rest.
    Top(TopArgs),
    /// Tell where a packet is
    ///
    /// Asks the process whose config this is, client or server; each tells what its own store knows.
    /// Ends with 65 when it has never seen the packet.
    Trace(TraceArgs),
    /// Look whether this machine lets the program keep its promises
    ///
    /// Looks at every directory of the config (does fsync persist there? is there room?), at the
    /// process's limits, the clock and the way to the servers. Can be run beside a running process:
    /// it takes no lock and touches no store.
    #[command(after_help = DOCTOR_CODES)]
    Doctor {
        /// Where the config is.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON: an array of {subject, check, level, found, meaning}
        #[arg(long)]
        json: bool,
    },
    /// Look at a running server's or client's dead letters, try them again, or remove them
    #[command(alias = "dlq")]
    DeadLetters {
        /// What to do with them.
        #[command(subcommand)]
        command: DeadLetterCommand,
    },
    /// Look at a running server's handlers, pause one, or resume it
    Handlers {
        /// What to do with them.
        #[command(subcommand)]
        command: HandlerCommand,
    },
    /// Check the server's ledger, or back it up
    Ledger {
        /// What to do with it.
        #[command(subcommand)]
        command: LedgerCommand,
    },
    /// Look at a client's spool that no process uses, and mend it
    Spool {
        /// What to do with it.
        #[command(subcommand)]
        command: SpoolCommand,
    },
    /// Print a commented config to start from
    ///
    /// `paquebot init client > config.toml`: what is commented out shows the defaults.
    Init {
        /// For which side
        role: Role,
    },
    /// Print the JSON Schema of the config, or those of the admin side's answers
    Schema {
        /// The answers of the admin side, by their paths
        #[arg(long)]
        api: bool,
    },
    /// Print what a shell needs to complete commands and options
    ///
    /// For bash, in ~/.bashrc: `source <(paquebot completions bash)`
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual's page, or write one for each command
    Man {
        /// Write the pages of all commands into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Measure a real client and server on this machine
    Bench(BenchArgs),
    /// Break everything at random on this machine, and prove that nothing is lost or twice
    Torture(TortureArgs),
    /// A process that `bench` starts.
    #[command(hide = true)]
    BenchPart(BenchPart),
}

/// The side that a config is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Where packets come from: it keeps them and sends them on.
    Client,
    /// Where packets are handled.
    Server,
}

/// How `doctor` ends.
const DOCTOR_CODES: &str = "Exit codes: 0 nothing worse than a warning, 74 a problem was found (a \
    directory that cannot be written or does not keep what is written, a clock that is wrong, a \
    server that is none), 78 the config cannot be used.";

/// Where the config is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config file [default: $PAQUEBOT_CONFIG, ./config.toml, /etc/paquebot/config.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which packet to look for.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The packet id, as `send` and the http source give it
    pub id: String,
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with a ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Read all of a ledger that no process uses, and verify every byte; nothing is written
    ///
    /// Ends with 65 when something is damaged, with 75 while a process holds it.
    Check(LedgerCheckArgs),
    /// Copy the ledger to FILE, as it is at one moment, while its process runs or while none does
    ///
    /// FILE has the cursors, fences, files' lengths and totals, and no dead letters; those are
    /// files of the directory `dead-letters`, to be copied while no process runs. FILE is written
    /// under a temporary name, fsynced and renamed. To restore it, stop the server and put it in
    /// place of `ledger.redb`: packets that were handled since may be handled once more.
    Backup(LedgerBackupArgs),
}

/// Which ledger to check.
#[derive(Debug, Args)]
pub struct LedgerCheckArgs {
    /// The ledger's directory [default: the config's server.data_dir]
    pub dir: Option<PathBuf>,
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Move what is damaged to `quarantine`, with a report, and begin a new ledger in place of a
    /// damaged one: packets that it knew as handled may be handled once more
    #[arg(long)]
    pub set_aside: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which ledger to copy, and where to.
#[derive(Debug, Args)]
pub struct LedgerBackupArgs {
    /// The copy; one that is there is replaced
    pub file: PathBuf,
    /// The directory of a ledger that no process uses [default: the config's server.data_dir]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What to torture, and how long.
#[derive(Debug, Clone, Args)]
pub struct TortureArgs {
    /// How long faults happen; draining comes on top
    #[arg(long, default_value_t = 60, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub seconds: u64,
    /// What the plan of faults is drawn from [default: at random, and printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Clients, each with its own bad network
    #[arg(long, default_value_t = 4, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    pub clients: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads a duration, for an option or an HTTP query; the grammar is the config's.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).map_err(|error| error.to_string())
}
