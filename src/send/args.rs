//! What `send` is told on the command line.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::{ConfigArgs, duration};

/// What to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The target id
    pub target: String,
    /// The data: text, @FILE, or - for standard input (the default); @@x is the text @x
    pub data: Option<String>,
    /// Send each line as a packet of its own
    #[arg(long)]
    pub lines: bool,
    /// Begin with this line; the lines keep their numbers, and their keys
    #[arg(long, requires = "lines", default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..), hide_default_value = true)]
    pub from_line: u64,
    /// A header of the packet; may be repeated
    #[arg(long = "header", value_name = "K=V")]
    pub headers: Vec<String>,
    /// The media type of the data
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// For how long the packet is worth sending; later it expires [default: as its policy says]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub ttl: Option<Duration>,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Stored)]
    pub wait: Wait,
    /// How long to wait, for room and for an answer, over several tries if need be
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "DURATION")]
    pub timeout: Duration,
    /// What tells this packet from every other: repeated with the same key, it is stored once. With
    /// --lines each line's number is added [default: drawn at random, and told when it is needed]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the whole answer as JSON, not the id alone
    #[arg(long)]
    pub json: bool,
    /// Where the config of the client is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The client's door: unix:/path or http://host:port [default: from the config]
    #[arg(long, env = "PAQUEBOT_CLIENT", value_name = "ADDRESS")]
    pub client: Option<String>,
}

/// What `send` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// Durable on this machine.
    Stored,
    /// Handled at the server.
    Handled,
}
