//! The command `handlers`: a running server's handlers are listed, paused, resumed.

use std::time::Duration;

use clap::Subcommand;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::cli::ConfigArgs;
use crate::exit::Failure;
use crate::question;

/// How long a server may take to write down that a handler is paused.
const ANSWER: Duration = Duration::from_secs(60);

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
        println!("{found:#}");
        return Ok(());
    }
    for handler in found.get("handlers").and_then(Value::as_array).into_iter().flatten() {
        println!("{}", in_words(handler));
    }
    Ok(())
}

fn turn(one: &OneArgs, what: &str) -> Result<(), Failure> {
    let door = question::door(&one.config)?;
    let name = utf8_percent_encode(&one.name, NON_ALPHANUMERIC);
    let path = format!("/v1/handlers/{name}/{what}");
    let user = rustix::process::getuid().as_raw();
    let body = json!({ "by": format!("paquebot handlers {what}, user id {user}") });
    let found = question::ask(&door, Method::POST, &path, Some(&body), ANSWER)?;
    if one.json {
        println!("{found:#}");
    } else {
        println!("{}", in_words(&found));
    }
    Ok(())
}

fn in_words(handler: &Value) -> String {
    let text = |key: &str| handler.get(key).and_then(Value::as_str);
    let targets = handler.get("targets").and_then(Value::as_array).into_iter().flatten();
    let targets: Vec<_> = targets.filter_map(Value::as_str).collect();
    let mut words = format!(
        "{}  {}  {}  {} since {}",
        text("name").unwrap_or("-"),
        text("kind").unwrap_or("-"),
        targets.join(" "),
        text("state").unwrap_or("-"),
        text("since").unwrap_or("-"),
    );
    if let Some(by) = text("paused_by") {
        words.push_str(&format!(" by {by}"));
    }
    let lanes = handler.get("waiting_lanes").and_then(Value::as_u64);
    if let Some(lanes) = lanes.filter(|lanes| *lanes > 0) {
        words.push_str(&format!("  lanes that wait: {lanes}"));
    }
    if let Some(error) = text("last_error") {
        words.push_str(&format!("  last error: {error}"));
    }
    words
}
