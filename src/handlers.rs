//! The command `handlers`: a running server's handlers are listed, paused, resumed.

use std::time::Duration;

use clap::Subcommand;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::cli::ConfigArgs;
use crate::exit::Failure;
use crate::print::say;
use crate::question;
use crate::words::Columns;

/// How long a server may take to write down that a handler is paused.
const ANSWER: Duration = Duration::from_secs(60);

/// What stands over the columns of a list.
const HEADS: [&str; 7] = ["NAME", "KIND", "TARGETS", "STATE", "SINCE", "LANES WAIT", "WHY"];

/// What can be done with handlers.
#[derive(Debug, Subcommand)]
pub enum HandlerCommand {
    /// List them: what they take, how they are and since when, and how many lanes wait for them
    List {
        /// Print JSON: {handlers}
        #[arg(long)]
        json: bool,
        /// Where the config of the server is.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Give a handler no packets until it is resumed, over restarts, too; they wait at their clients
    Pause(OneArgs),
    /// Let a paused handler go on; its packets come at once
    Resume(OneArgs),
}

/// One handler.
#[derive(Debug, clap::Args)]
pub struct OneArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print JSON: the handler as in `list`
    #[arg(long)]
    pub json: bool,
    /// Where the config of the server is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Does it.
///
/// # Errors
/// When no server runs, or it has no such handler.
pub fn handlers(command: &HandlerCommand) -> Result<(), Failure> {
    match command {
        HandlerCommand::List { json, config } => list(*json, config),
        HandlerCommand::Pause(one) => turn(one, "pause"),
        HandlerCommand::Resume(one) => turn(one, "resume"),
    }
}

fn list(in_json: bool, config: &ConfigArgs) -> Result<(), Failure> {
    let door = question::door(config)?;
    let found = question::ask(&door, Method::GET, "/v1/handlers", None, ANSWER)?;
    if in_json {
        return say(&format!("{found:#}"));
    }
    let handlers = found.get("handlers").and_then(Value::as_array).into_iter().flatten();
    say(&Columns::new(HEADS).rows(&handlers.map(row).collect::<Vec<_>>()))
}

fn turn(one: &OneArgs, what: &str) -> Result<(), Failure> {
    let door = question::door(&one.config)?;
    let name = utf8_percent_encode(&one.name, NON_ALPHANUMERIC);
    let path = format!("/v1/handlers/{name}/{what}");
    let user = rustix::process::getuid().as_raw();
    let body = json!({ "by": format!("paquebot handlers {what}, user id {user}") });
    let found = question::ask(&door, Method::POST, &path, Some(&body), ANSWER)?;
    if one.json {
        say(&format!("{found:#}"))
    } else {
        say(&Columns::new(HEADS).rows(&[row(&found)]))
    }
}

fn row(handler: &Value) -> [String; 7] {
    let text = |key: &str| handler.get(key).and_then(Value::as_str);
    let or_none = |key: &str| text(key).unwrap_or("-").to_owned();
    let targets = handler.get("targets").and_then(Value::as_array).into_iter().flatten();
    let targets: Vec<_> = targets.filter_map(Value::as_str).collect();
    let lanes = handler.get("waiting_lanes").and_then(Value::as_u64);
    let by = text("paused_by").map(|by| format!("paused by {by}"));
    let error = text("last_error").map(|error| format!("last error: {error}"));
    [
        or_none("name"),
        or_none("kind"),
        targets.join(" "),
        or_none("state"),
        or_none("since"),
        lanes.map_or_else(|| "?".to_owned(), |lanes| lanes.to_string()),
        by.into_iter().chain(error).collect::<Vec<_>>().join("; "),
    ]
}
