//! The config file: what this process is to do, typed and checked before anything starts.
//!
//! ```text
//! locate ─▶ document ─▶ section ─▶ entry ─▶ kind ─▶ Client, Server, Admin, Metrics
//!           (text)      (a table)  (a value) (what   └─▶ claim (what only one may have)
//!                        ▲ environment,       it must be)
//!                        │ expand
//!                        └ loading ─▶ problems (all of them, with line and column)
//! ```
//!
//! Decides what a file means together with the environment: defaults, limits, and which keys this
//! version has. Whoever holds a [`Config`] need not check it again: paths are absolute, limits are
//! within bounds, names are unique, and no two listeners want the same port.
//!
//! Never shows the first problem only: reading goes on after each, and [`Problems`] has them all.
//! Never touches the disk but to read the file and what `${file:…}` names, never opens a socket,
//! and never panics, whatever the file holds.
//!
//! Where INTERFACE.md is silent: `$${` stands for a plain `${`; a `${VAR:-default}` uses its default
//! for an empty variable, too, as shells do; a reference to a file leaves out the file's last line
//! break; names of sources and handlers have the grammar of client ids; relative paths in
//! overrides are relative to the file's folder, like those in the file.

mod address;
mod admin;
pub mod check;
mod claim;
mod client;
mod dead_letters;
mod describe;
mod destination;
mod document;
mod duration;
mod entry;
mod environment;
mod expand;
mod handler;
mod kind;
mod list;
mod loading;
mod locate;
mod packet;
mod policy;
mod problem;
mod problems;
mod program;
mod quantity;
mod recipe;
mod retry;
mod rotate;
mod section;
mod server;
mod size;
mod source;
mod spelling;
mod spool;
mod syntax;

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

pub use self::address::{Address, AddressError, Listen, Reach};
pub use self::admin::{Admin, Metrics};
pub use self::client::{ADMIN_SOCKET, Client};
pub use self::dead_letters::{DeadLetters, WhenDeadLettersFull};
pub use self::describe::schema;
pub use self::destination::Destination;
pub use self::document::{Place, Position};
pub use self::duration::{duration_in_words, parse_duration};
pub use self::environment::Environment;
pub use self::expand::ExpandError;
pub use self::handler::{FileFormat, Handler, HandlerKind, LogLevel};
pub use self::locate::{CONFIG_VARIABLE, Candidate, DEFAULT_PLACES, NotFound, locate};
pub use self::policy::Policy;
pub use self::problem::{Fault, Problem, Severity};
pub use self::problems::{Colour, Problems};
pub use self::program::{Program, ProgramMode};
pub use self::quantity::{QuantityError, QuantityFault};
pub use self::recipe::{OnError, Recipe};
pub use self::retry::RetryPolicy;
pub use self::rotate::Rotate;
pub use self::server::{Server, UnknownTarget};
pub use self::size::{parse_size, size_in_words};
pub use self::source::{Source, SourceKind};
pub use self::spool::{Spool, WhenFull};

use self::document::Document;
use self::loading::{Loading, Reported};
use self::section::Section;

/// What this process is to do. It has a client, a server or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that says so, absolute.
    pub path: PathBuf,
    /// The client's side, if there is one.
    pub client: Option<Client>,
    /// The server's side, if there is one.
    pub server: Option<Server>,
    /// The admin side over TCP; without it commands only come through `admin.sock`.
    pub admin: Option<Admin>,
    /// How metrics are bounded.
    pub metrics: Metrics,
}

/// A config that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// It.
    pub config: Config,
    /// What its owner should know; no errors among them.
    pub warnings: Problems,
}

/// Reads the config file at `path` with the overrides in `environment`.
///
/// # Errors
///
/// Every problem of the file and of the overrides, warnings included.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    let (document, unreadable) = Document::read(path);
    if let Some(problem) = unreadable {
        return Err(Problems::new(document, vec![problem]));
    }
    // Without a current folder nothing relative can be found, so the path stands as it is.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (config, problems) = read(&document, path, environment);
    let problems = Problems::new(document, problems);
    match config {
        Ok(config) if !problems.has_errors() => Ok(Loaded { config, warnings: problems }),
        _ => Err(problems),
    }
}

fn read(
    document: &Document,
    path: PathBuf,
    environment: &Environment,
) -> (Result<Config, Reported>, Vec<Problem>) {
    let folder = path.parent().unwrap_or(&path).to_owned();
    let (table, errors) = DeTable::parse_recoverable(&document.text);
    let loading = Loading::new(environment, folder);
    let config = read_root(&table, path, &loading);
    let problems = syntax::merge(document, loading.into_problems(), &errors);
    (config, problems)
}

fn read_root<'a>(
    table: &'a Spanned<DeTable<'a>>,
    path: PathBuf,
    loading: &'a Loading<'a>,
) -> Result<Config, Reported> {
    let mut root = Section::root(table.get_ref(), loading);
    let client = part(&mut root, "client", Client::read);
    let server = part(&mut root, "server", Server::read);
    let admin = part(&mut root, "admin", Admin::read);
    let metrics = root.table("metrics").and_then(Metrics::read);
    if let (Ok(None), Ok(None)) = (&client, &server) {
        let expected = "a [client] part, a [server] part or both".to_owned();
        root.complain("", Fault::Missing { expected });
    }
    root.finish();
    Ok(Config { path, client: client?, server: server?, admin: admin?, metrics: metrics? })
}

/// A part that a process may have or not: the file has its table, or the environment a key of it.
fn part<'a, T>(
    root: &mut Section<'a>,
    key: &'static str,
    read: impl Fn(Section<'a>) -> Result<T, Reported>,
) -> Result<Option<T>, Reported> {
    let there = root.has(key);
    let section = root.table(key)?;
    if there { read(section).map(Some) } else { Ok(None) }
}
