//! The commands `run` and `check`: from a config file to a running process, and to an ordered stop.

use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ConfigArgs;
use crate::config::{self, Colour, Config, Environment, Loaded};
use crate::exit::{Code, Failure};
use crate::print::{remark, say};
use crate::telemetry;
use crate::wiring::Process;
use crate::words;

/// Whoever has no config is new here, as likely as not.
const TO_START_FROM: &str =
    "`paquebot init client` or `paquebot init server` prints one to start from";

/// Finds and reads the config.
///
/// # Errors
/// When there is none, or it has problems; all of them are in the message.
pub fn load(args: &ConfigArgs) -> Result<Loaded, Failure> {
    let environment = Environment::of_this_process();
    let path = find(args, &environment)?;
    let colour = if telemetry::colour() { Colour::Ansi } else { Colour::None };
    config::load(&path, &environment)
        .map_err(|problems| Failure::new(Code::Config, problems.render(colour)))
}

fn find(args: &ConfigArgs, environment: &Environment) -> Result<PathBuf, Failure> {
    let defaults = config::DEFAULT_PLACES.map(Path::new);
    config::locate(args.config.as_deref(), environment, &defaults)
        .map_err(|missing| Failure::new(Code::Config, format!("{missing}\n{TO_START_FROM}")))
}

/// `paquebot check`.
///
/// # Errors
/// When the config cannot be used, or has warnings that are denied.
pub fn check(args: &ConfigArgs, deny_warnings: bool) -> Result<(), Failure> {
    let Loaded { config, warnings } = load(args)?;
    if !warnings.is_empty() {
        let colour = if telemetry::colour() { Colour::Ansi } else { Colour::None };
        remark(warnings.render(colour).trim_end());
    }
    say(&config::check::report(&config, &warnings))?;
    if deny_warnings && !warnings.is_empty() {
        let found = words::counted(warnings.len() as u64, "warning", "warnings");
        let message = format!("expected no warning with --deny-warnings, found {found}");
        return Err(Failure::new(Code::Config, message));
    }
    Ok(())
}

/// `paquebot run`.
///
/// # Errors
/// When the config cannot be used, a store cannot be opened or an address not be bound.
pub fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let Loaded { config, warnings } = load(args)?;
    telemetry::log()?;
    for warning in warnings.iter() {
        tracing::warn!("{warning}");
    }
    tracing::info!(config = %config.path.display(), version = env!("CARGO_PKG_VERSION"), "starting");
    raise_open_files(&config);
    let system = actix_rt::System::new();
    system.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let failed = || Failure::of::<std::io::Error>(Code::Internal, "listening for signals failed");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed())?;
    let process = Process::start(config).await?;
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => tracing::warn!(
                "SIGHUP: a config cannot be reloaded in this version; nothing was changed"
            ),
        }
    };
    tracing::info!(signal = name, "stopping");
    process.stop().await
}

/// Files that a process has open beside its connections: stores, handlers' files, sources' files.
const OTHER_FILES: u64 = 256;

/// Thousands of connections want more open files than the usual soft limit.
fn raise_open_files(config: &Config) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Some(server) = &config.server else { return };
    let needed = server.max_connections.saturating_add(OTHER_FILES);
    if open_files < needed {
        tracing::warn!(
            open_files,
            needed,
            max_connections = server.max_connections,
            "this process may not open as many files as server.max_connections needs: connections \
             beyond that will wait; raise the hard limit (LimitNOFILE= of systemd, ulimits of a \
             container)"
        );
    }
}
